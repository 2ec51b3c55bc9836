"""The same statements, direct on a database that only ever had the old model
and through pgtandem in every phase: the same rows, names, types, tags and
SQLSTATEs, or a refusal that says so."""

import psycopg
import pytest

import harness
import shop

FIXED = """
ALTER TABLE inovices ALTER created_at SET DEFAULT '2024-02-29 12:00Z';
UPDATE inovices SET created_at = DEFAULT"""

# Each script is a list of statements, run in this order; every one changes
# the tables for those that follow.
SCRIPTS = [
    # reads
    ["SELECT * FROM inovices ORDER BY id LIMIT 5"],
    ["SELECT i.*, p.amount FROM inovices i JOIN payments p ON p.inovice = i.id"
     " ORDER BY p.id"],
    ["SELECT inovices.id, public.inovices.amount FROM public.inovices"
     " WHERE inovices.id = 7"],
    ["SELECT amount + 1, upper(customr) AS c FROM inovices WHERE id IN"
     " (SELECT inovice FROM payments WHERE amount < 5) ORDER BY 1"],
    ["WITH inovices AS (SELECT 1 AS id) SELECT * FROM inovices"],
    ["WITH big AS (SELECT * FROM inovices WHERE amount > 90)"
     " SELECT count(*), sum(amount) FROM big"],
    ["SELECT id FROM inovices WHERE amount < 3 UNION ALL"
     " SELECT inovice FROM payments WHERE amount < 3 ORDER BY 1"],
    ["TABLE inovices ORDER BY id LIMIT 2"],
    ["SELECT x.a, x.b FROM inovices AS x(a, b) ORDER BY a LIMIT 3"],
    ["SELECT p.id, (SELECT amount FROM inovices i WHERE i.id = p.inovice)"
     " FROM payments p ORDER BY p.id"],
    ["SELECT p.id, l.amount FROM payments p, LATERAL (SELECT amount FROM"
     " inovices WHERE inovices.id = p.inovice) l ORDER BY 1"],
    ["SELECT phone, note, created_at FROM \"inovices\" WHERE id = 3"],
    ["SELECT row_to_json(i) FROM inovices i WHERE id = 4"],
    ["SELECT count(i) FROM inovices i"],
    ["SELECT sum(amount) OVER (ORDER BY id) FROM inovices LIMIT 3"],
    ["SELECT * FROM ONLY inovices WHERE id = 5"],
    ["SELECT id FROM inovices WHERE id = 6 FOR UPDATE"],
    ["SELECT i.id FROM inovices i JOIN payments p ON p.inovice = i.id"
     " WHERE i.id = 8 FOR SHARE OF i NOWAIT"],
    ["SELECT amount::text || ' dollars' FROM inovices /* inovices */"
     " WHERE id = 9 -- inovices"],
    ["SELECT nothing FROM inovices"],
    ["SELECT amount_cents FROM inovices"],
    ["SELECT amount / 0 FROM inovices WHERE id = 1"],
    ["CREATE TEMP TABLE copied AS SELECT * FROM inovices WHERE id < 4",
     "SELECT * FROM copied ORDER BY id"],
    ["COPY (SELECT id, amount FROM inovices WHERE id < 3 ORDER BY id)"
     " TO STDOUT"],
    # inserts
    ["INSERT INTO inovices (customr, amount, phone) VALUES"
     " ('ann', 12, '555-9001') RETURNING id, amount, phone, note"],
    ["INSERT INTO inovices (customr, amount) VALUES ('bob', 3.7), ('cy', '5')"],
    ["INSERT INTO inovices VALUES (1001, 'dee', 4, '555-9002', DEFAULT)"],
    ["INSERT INTO inovices AS x (id, customr, amount) VALUES"
     " (1002, 'eve', 1) RETURNING x.*"],
    ["INSERT INTO inovices (customr, amount) SELECT 'from ' || id, amount"
     " FROM payments WHERE id < 4 RETURNING customr"],
    ["INSERT INTO inovices (id, customr, amount) SELECT id + 5000, customr,"
     " amount FROM inovices WHERE id < 4"],
    ["INSERT INTO inovices (id, customr, amount) VALUES (1, 'dup', 1)"],
    ["INSERT INTO inovices (id, customr, amount) VALUES (1, 'dup', 1)"
     " ON CONFLICT DO NOTHING"],
    ["INSERT INTO inovices (id, customr, amount) VALUES (1, 'dup', 7)"
     " ON CONFLICT (id) DO UPDATE SET amount = inovices.amount +"
     " EXCLUDED.amount RETURNING id, amount"],
    ["INSERT INTO inovices (id, customr, amount) VALUES (1, 'dup', 7)"
     " ON CONFLICT ON CONSTRAINT inovices_pkey DO UPDATE SET customr ="
     " EXCLUDED.customr WHERE inovices.amount > 0 RETURNING *"],
    ["INSERT INTO inovices DEFAULT VALUES"],
    ["INSERT INTO inovices (customr) VALUES ('no amount')"],
    ["INSERT INTO inovices (customr, amount) VALUES ('a name that is far too"
     " long', 1)"],
    ["INSERT INTO inovices (customr, amount, note) VALUES ('x', 1, 'too long"
     " for a note')"],
    ["INSERT INTO inovices (customr, amount) VALUES ('x', 'words')"],
    ["INSERT INTO inovices (customr, amount) VALUES ('x', now())"],
    ["INSERT INTO inovices (customr, nothing) VALUES ('x', 1)"],
    ["INSERT INTO inovices (customr, amount) VALUES ('x', 99999999999)"],
    ["WITH v AS (SELECT 'with' AS c, 9 AS a) INSERT INTO inovices"
     " (customr, amount) SELECT c, a FROM v RETURNING customr, amount"],
    ["INSERT INTO payments (inovice, amount) SELECT id, amount FROM inovices"
     " WHERE id = 2 RETURNING inovice, amount"],
    # updates
    ["UPDATE inovices SET amount = amount + 10 WHERE id = 10"],
    ["UPDATE inovices SET amount = amount + 10, note = 'x' WHERE id IN"
     " (11, 12) RETURNING id, amount, note"],
    ["UPDATE inovices i SET customr = 'new ' || i.id FROM payments p WHERE"
     " p.inovice = i.id AND p.id < 4 RETURNING i.id, i.customr"],
    ["UPDATE inovices SET (amount, note) = (5, 'pair') WHERE id = 13"],
    ["UPDATE inovices SET (amount, note) = (SELECT p.amount, 'sub' FROM"
     " payments p WHERE p.id = 1) WHERE id = 14 RETURNING amount, note"],
    ["UPDATE inovices SET id = 2015 WHERE id = 15 RETURNING *"],
    ["UPDATE inovices SET id = id + 3000 WHERE id BETWEEN 20 AND 22"],
    ["UPDATE inovices SET note = DEFAULT, phone = NULL WHERE id = 16"],
    ["UPDATE inovices SET amount = 3.5 WHERE id = 17 RETURNING amount"],
    ["UPDATE inovices SET amount = 'words' WHERE id = 17"],
    ["UPDATE inovices SET amount = now() WHERE id = 17"],
    ["UPDATE inovices SET amount = true WHERE id = 17"],
    ["UPDATE inovices SET note = 'x', amount =  customr WHERE id = 17"],
    ["UPDATE inovices SET amount = 1.5 * length(customr) WHERE id = 17"
     " RETURNING amount"],
    ["INSERT INTO inovices (id, customr, amount) VALUES (17, 'x', 1)"
     " ON CONFLICT (id) DO UPDATE SET amount = inovices.customr"],
    ["UPDATE inovices SET note = 'far too long for it' WHERE id = 17"],
    ["UPDATE inovices SET id = 1 WHERE id = 18"],
    ["UPDATE inovices SET customr = NULL WHERE id = 18"],
    ["UPDATE inovices SET amount = NULL WHERE id = 18"],
    ["UPDATE inovices SET amount = (SELECT max(amount) FROM payments)"
     " WHERE id = 19 RETURNING amount"],
    ["UPDATE inovices SET amount = 0 WHERE false"],
    ["UPDATE payments SET amount = i.amount FROM inovices i WHERE i.id ="
     " payments.inovice AND payments.id = 5 RETURNING payments.amount"],
    # deletes
    ["DELETE FROM inovices WHERE id = 30"],
    ["DELETE FROM inovices WHERE id IN (31, 32) RETURNING *"],
    ["DELETE FROM inovices i USING payments p WHERE p.inovice = i.id AND"
     " p.id = 9 RETURNING i.id, p.id"],
    ["DELETE FROM inovices WHERE amount < 0"],
    # blocks, savepoints, several statements in one string
    ["BEGIN", "UPDATE inovices SET amount = 77 WHERE id = 40",
     "SELECT amount FROM inovices WHERE id = 40", "SAVEPOINT s",
     "DELETE FROM inovices WHERE id = 40", "ROLLBACK TO s",
     "INSERT INTO inovices (id, customr, amount) VALUES (40, 'dup', 1)",
     "ROLLBACK TO s", "SELECT id, amount FROM inovices WHERE id = 40",
     "COMMIT"],
    ["BEGIN", "DELETE FROM inovices", "SELECT count(*) FROM inovices",
     "ROLLBACK", "SELECT count(*) FROM inovices"],
    ["BEGIN ISOLATION LEVEL SERIALIZABLE",
     "UPDATE inovices SET amount = amount + 1 WHERE id = 41",
     "SELECT amount FROM inovices WHERE id = 41", "COMMIT"],
    ["UPDATE inovices SET amount = 1 WHERE id = 42; SELECT amount FROM"
     " inovices WHERE id = 42; DELETE FROM inovices WHERE id = 42;"],
    ["UPDATE inovices SET amount = 1 WHERE id = 43; SELECT 1/0"],
    ["SELECT amount FROM inovices WHERE id = 43"],
    ["DECLARE c CURSOR WITH HOLD FOR SELECT id, amount FROM inovices"
     " ORDER BY id", "FETCH 3 FROM c", "CLOSE c"],
    ["BEGIN", "TRUNCATE inovices", "SELECT count(*) FROM inovices",
     "ROLLBACK"],
    ["SELECT * FROM inovices ORDER BY id"],
    ["SELECT * FROM payments ORDER BY id"],
]


def outcomes(connection, statement, params=None):
    """What a client sees of one string: per result, tag, columns and rows; or
    the error's SQLSTATE."""
    seen = []
    try:
        cur = connection.cursor()
        if statement.startswith('COPY'):
            with cur.copy(statement) as copy:
                return [('copy', b''.join(map(bytes, copy)))]
        cur.execute(statement, params)
        while True:
            columns = rows = None
            if cur.description:
                columns = [(d.name, d.type_code, d.internal_size, d.precision)
                           for d in cur.description]
                rows = cur.fetchall()
            seen.append((cur.statusmessage, columns, rows))
            if not cur.nextset():
                return seen
    except psycopg.Error as e:
        seen.append(('error', e.sqlstate, e.diag.message_primary))
        return seen


def run(connection):
    return [(s, outcomes(connection, s)) for script in SCRIPTS for s in script]


def is_refusal(seen):
    return seen[-1][0] == 'error' and seen[-1][1] == '0A000' and (
        'pgtandem' in seen[-1][2])


def without_message(seen):
    return [o[:2] if o[0] == 'error' else o for o in seen]


def comparable(statement, seen):
    """Rows are in an order only where the statement asks for one."""
    def part(x):
        if 'ORDER BY' in statement.upper():
            return x
        if isinstance(x, bytes):
            return sorted(x.splitlines())
        return sorted(x, key=repr) if isinstance(x, list) else x

    return [o if o[0] == 'error' else (*o[:-1], part(o[-1]))
            for o in without_message(seen)]


def same(expected, got):
    """Fails with the (statement, outcomes) that are not as they are direct."""
    assert len(expected) == len(got)
    wrong = [(s, 'direct', a, 'through', b)
             for (s, a), (_, b) in zip(expected, got)
             if comparable(s, a) != comparable(s, b)]
    if wrong:
        pytest.fail('\n\n'.join('\n  '.join(str(x)[:500] for x in w)
                                for w in wrong), pytrace=False)


@pytest.fixture(scope='module')
def direct(postgres):
    shop.make(postgres, 'direct')
    postgres.execute(FIXED, 'direct')
    with postgres.connect('direct') as c:
        return run(c)


@pytest.mark.parametrize('phase', shop.PHASES)
def test_statements_give_what_they_give_direct(postgres, start_proxy, direct,
                                               phase):
    database = f'diff_{phase}'
    shop.make(postgres, database)
    postgres.execute(FIXED, database)
    proxy = start_proxy(postgres, shop.spec(database))
    proxy.advance('inovices_typo', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    with proxy.connect(database) as c:
        got = run(c)
    same(direct, got)
    if phase in ('dual_write', 'read_new', 'write_new'):
        result = proxy.verify('inovices_typo')
        assert (result['missing'], result['extra'], result['different']) == (
            0, 0, 0), result
        assert result['compared'] > 50


def transcript(port, database, names, messages):
    """The types and bodies that come back for raw messages, up to the last
    ReadyForQuery, with `names` instead of tables' OIDs."""
    wire = harness.Wire(port, dbname=database)
    syncs = sum(m[:1] in (b'S', b'Q') for m in messages)
    wire.raw(b''.join(messages))
    got = []
    for _ in range(syncs):
        got += wire.until('Z')
    wire.close()
    return [(k, named_origins(b, names) if k == 'T' else
             harness.error_fields(b).get('C') if k == 'E' else b)
            for k, b in got]


class TableNames(dict):
    """Of a database, by OID."""

    def __init__(self, postgres, database):
        super().__init__({0: None})
        self.postgres, self.database = postgres, database

    def __missing__(self, oid):
        name = self.postgres.execute(f'SELECT {oid}::regclass::text',
                                     self.database)[0][0]
        self[oid] = 'temporary' if name.startswith('pg_temp') else name
        return self[oid]


def named_origins(body, names):
    count, at, columns = int.from_bytes(body[:2], 'big'), 2, []
    for _ in range(count):
        end = body.index(b'\0', at)
        table = int.from_bytes(body[end + 1:end + 5], 'big')
        columns.append((body[at:end], names[table], body[end + 5:end + 19]))
        at = end + 19
    return columns


PIPELINES = {
    'an update without RETURNING, described': [
        harness.parse('UPDATE inovices SET amount = amount + $1 WHERE id = $2'),
        harness.describe('S'), harness.bind([b'5', b'50']),
        harness.describe(), harness.execute(), harness.SYNC],
    'an insert with RETURNING in binary': [
        harness.parse('INSERT INTO inovices (id, customr, amount) VALUES '
                      '($1, $2, $3) RETURNING id, amount', 's'),
        harness.describe('S', 's'),
        harness.bind([b'7001', b'x', b'5'], name='s', results=[1, 1]),
        harness.describe(), harness.execute(), harness.SYNC],
    'a row limit on a write with RETURNING': [
        harness.parse('UPDATE inovices SET amount = 1 WHERE id BETWEEN 51 AND '
                      '55 RETURNING id'),
        harness.bind([]), harness.execute(rows=2), harness.execute(rows=2),
        harness.execute(), harness.SYNC],
    'a row limit on a write without RETURNING': [
        harness.parse('UPDATE inovices SET amount = 1 WHERE id BETWEEN 51 AND '
                      '55'),
        harness.bind([]), harness.execute(rows=2), harness.SYNC],
    'several writes before one Sync, the last one fails': [
        harness.parse('DELETE FROM inovices WHERE id = 56'), harness.bind([]),
        harness.execute(),
        harness.parse('INSERT INTO inovices (id, customr, amount) VALUES '
                      "(1, 'dup', 1)"), harness.bind([]), harness.execute(),
        harness.parse('SELECT 1'), harness.bind([]), harness.execute(),
        harness.SYNC,
        harness.parse('SELECT count(*) FROM inovices WHERE id = 56'),
        harness.bind([]), harness.execute(), harness.SYNC],
    'a named statement run twice, then closed': [
        harness.parse('SELECT id, amount FROM inovices WHERE id = $1', 'n'),
        harness.describe('S', 'n'),
        harness.bind([b'57'], name='n'), harness.execute(),
        harness.bind([b'58'], name='n', results=[1]), harness.describe(),
        harness.execute(), harness.close('S', 'n'), harness.SYNC,
        harness.bind([b'58'], name='n'), harness.SYNC],
    'a simple string of several statements': [
        harness.message('Q', b'DELETE FROM inovices WHERE id = 60; SELECT id, '
                        b'amount FROM inovices WHERE id = 61; UPDATE inovices '
                        b'SET amount = 0 WHERE id = 61 RETURNING amount;\0')],
    'an empty query and a comment': [
        harness.message('Q', b'\0'),
        harness.message('Q', b'-- inovices\0')],
    'a flush in the middle': [
        harness.parse('UPDATE inovices SET note = $1 WHERE id = 62'),
        harness.describe('S'), harness.FLUSH, harness.bind([b'n']),
        harness.execute(), harness.FLUSH, harness.SYNC],
}


@pytest.mark.parametrize('phase', shop.PHASES)
def test_messages_are_those_of_a_direct_session(postgres, start_proxy, phase):
    shop.make(postgres, 'wire_direct')
    database = f'wire_{phase}'
    shop.make(postgres, database)
    proxy = start_proxy(postgres, shop.spec(database))
    proxy.advance('inovices_typo', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    tables = [TableNames(postgres, d) for d in (database, 'wire_direct')]
    for name, messages in PIPELINES.items():
        assert transcript(proxy.port, database, tables[0],
                          messages) == transcript(
            postgres.port, 'wire_direct', tables[1], messages), name

"""One migration on one instance: what clients keep, what the new table gets,
what the gates refuse."""

import concurrent.futures
import contextlib
import random
import subprocess
import threading
import time

import psycopg
import pytest

import harness
import shop


def clean(proxy, migration='inovices_typo'):
    result = proxy.verify(migration)
    assert (result['missing'], result['extra'], result['different']) == (
        0, 0, 0), result
    return result


def test_prepared_statements_survive_every_phase(postgres, start_proxy):
    shop.make(postgres, 'prepared')
    proxy = start_proxy(postgres, shop.spec('prepared'))
    wire = harness.Wire(proxy.port, dbname='prepared')
    wire.raw(harness.parse('SELECT id, amount FROM inovices WHERE id = $1',
                           'r') +
             harness.parse('UPDATE inovices SET amount = $1 WHERE id = $2',
                           'u', [23, 23]) +
             harness.parse('INSERT INTO inovices (id, customr, amount) VALUES '
                           '($1, $2, $3) RETURNING amount', 'i') +
             harness.parse('DELETE FROM inovices WHERE id = $1', 'd') +
             harness.SYNC)
    assert [k for k, _ in wire.until('Z')] == ['1'] * 4 + ['Z']

    def run(n):
        def one(name, *values):
            wire.raw(harness.bind([str(v).encode() for v in values],
                                  name=name) + harness.describe() +
                     harness.execute() + harness.SYNC)
            got = wire.until('Z')
            assert 'E' not in [k for k, _ in got], got
            return [b for k, b in got if k in 'DC'], [k for k, _ in got]
        assert one('u', n * 10, 1)[1] == ['2', 'n', 'C', 'Z']
        rows, kinds = one('r', 1)
        assert kinds == ['2', 'T', 'D', 'C', 'Z']
        assert str(n * 10).encode() in rows[0]
        assert one('i', 9000 + n, 'x', n)[1] == ['2', 'T', 'D', 'C', 'Z']
        assert one('d', 9000 + n)[0] == [b'DELETE 1\0']
    n = 0
    for move in (*shop.PHASES[1:6], 'back', 'back', 'back', 'back',
                 *shop.PHASES[2:]):
        n += 1
        run(n)
        if move == 'back':
            was = proxy.phase('inovices_typo')
            proxy.rollback('inovices_typo')
            if was == 'new_only':
                proxy.walked('inovices_typo')
        else:
            proxy.advance('inovices_typo', move)
    run(n + 1)
    wire.close()


def test_an_open_transaction_keeps_the_phase_it_began_in(postgres,
                                                         start_proxy):
    shop.make(postgres, 'pinned')
    proxy = start_proxy(postgres, shop.spec('pinned'),
                        top='barrier_timeout: 1s')
    proxy.advance('inovices_typo', 'expanded')
    with proxy.connect('pinned', autocommit=False) as c:
        c.execute('SELECT count(*) FROM inovices')
        with pytest.raises(psycopg.Error, match='barrier|wait'):
            proxy.console('ADVANCE inovices_typo TO dual_write')
        rows = proxy.console('SHOW BARRIER inovices_typo')
        assert rows, 'nobody is named'
        c.execute('INSERT INTO inovices (customr, amount) VALUES (%s, 1)',
                  ['pinned'])
        c.commit()

    def moved():
        # A second may be too short for this barrier, too.
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            proxy.advance('inovices_typo', 'dual_write')
            return True
    harness.wait_for('the move', moved)
    clean(proxy)
    assert postgres.execute("SELECT amount_cents FROM invoices WHERE customer"
                            " = 'pinned'", 'pinned') == [(100,)]


def test_an_advance_waits_for_the_barrier(postgres, start_proxy):
    shop.make(postgres, 'waits')
    proxy = start_proxy(postgres, shop.spec('waits'))
    proxy.advance('inovices_typo', 'expanded')
    with proxy.connect('waits', autocommit=False) as c:
        c.execute('UPDATE inovices SET amount = 1 WHERE id = 1')
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            moving = pool.submit(proxy.console,
                                 'ADVANCE inovices_typo TO dual_write')
            harness.wait_for('the barrier names the session', lambda: (
                proxy.console('SHOW BARRIER inovices_typo')))
            assert not moving.done()
            c.commit()
            moving.result(harness.PATIENCE_S)
    proxy.walked('inovices_typo')
    clean(proxy)


def test_gates_refuse_with_the_reason(postgres, start_proxy):
    shop.make(postgres, 'gates')
    proxy = start_proxy(postgres, shop.spec('gates'))

    def refused(command, *words):
        with pytest.raises(psycopg.Error) as e:
            proxy.console(command)
        text = ' '.join(filter(None, (e.value.diag.message_primary,
                                      e.value.diag.message_detail,
                                      e.value.diag.message_hint)))
        for word in ('inovices_typo', *words):
            assert word in text, text
    refused('ROLLBACK inovices_typo', 'planned')
    proxy.advance('inovices_typo', 'expanded')
    proxy.console('ADVANCE inovices_typo TO dual_write')
    proxy.walked('inovices_typo')
    postgres.execute('UPDATE invoices SET amount_cents = 1 WHERE id = 5; '
                     'DELETE FROM invoices WHERE id = 6; '
                     "INSERT INTO invoices (id, customer, amount_cents) "
                     "VALUES (-1, 'orphan', 1)", 'gates')
    result = proxy.verify('inovices_typo')
    assert (result['missing'], result['extra'], result['different']) == (
        1, 1, 1)
    kinds = {r['kind'] for r in proxy.console('SHOW FINDINGS inovices_typo')}
    assert kinds == {'missing', 'extra', 'different'}
    refused('ADVANCE inovices_typo TO read_new', '1 missing', 'REPAIR')
    proxy.console('REPAIR inovices_typo')
    clean(proxy)
    assert proxy.console('SHOW FINDINGS inovices_typo') == []
    proxy.advance('inovices_typo', 'read_new', 'write_new', 'new_only')
    with proxy.connect('gates') as c:
        c.execute('SELECT 1 FROM inovices')
    refused('ADVANCE inovices_typo TO contracted', 'quiet')
    for kind, name, ddl in (
            ('view', 'seen', 'CREATE VIEW seen AS SELECT id FROM inovices'),
            ('function', 'total', 'CREATE FUNCTION total(inovices[]) '
             "RETURNS integer LANGUAGE sql AS 'SELECT 1'"),
            ('table', 'kept', 'CREATE TABLE kept (id integer, old inovices)')):
        postgres.execute(ddl, 'gates')
        refused('ADVANCE inovices_typo TO contracted FORCE inovices_typo',
                name)
        assert proxy.phase('inovices_typo') == 'new_only'
        postgres.execute(f'DROP {kind} {name}', 'gates')
    proxy.advance('inovices_typo', 'contracted')
    refused('ROLLBACK inovices_typo', 'contracted')


def test_lossy_rows_are_named_and_need_to_be_accepted(postgres, start_proxy):
    shop.make(postgres, 'lossy')
    postgres.execute("UPDATE inovices SET phone = '(555) 12' WHERE id = 3",
                     'lossy')
    proxy = start_proxy(postgres, shop.spec('lossy'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    assert proxy.verify('inovices_typo')['lossy'] == 1
    with pytest.raises(psycopg.Error, match='lossy'):
        proxy.console('ADVANCE inovices_typo TO read_new')
    rows = proxy.console('SHOW FINDINGS inovices_typo')
    assert [(r['kind'], r['key']) for r in rows] == [('lossy', '3')] or (
        '3' in rows[0]['key'])


def test_what_the_new_table_gets(postgres, start_proxy):
    postgres.create_database('carried', shop.TABLE + shop.ROWS.format(rows=10)
                             + '''
        CREATE ROLE carried_app LOGIN; CREATE ROLE carried_reader;
        ALTER TABLE inovices ADD CHECK (amount >= 0);
        ALTER TABLE inovices ADD payment integer REFERENCES payments;
        COMMENT ON TABLE inovices IS 'misspelled';
        COMMENT ON COLUMN inovices.customr IS 'who';
        GRANT SELECT, INSERT, UPDATE, DELETE ON inovices TO carried_app;
        GRANT USAGE ON SEQUENCE inovices_id_seq TO carried_app;
        GRANT SELECT (id, customr) ON inovices TO carried_reader;''')
    proxy = start_proxy(postgres, shop.spec('carried'))
    for phase in shop.PHASES[1:]:
        proxy.advance('inovices_typo', phase)
        with proxy.connect('carried', user='carried_app') as c:
            got = c.execute('INSERT INTO inovices (customr, amount) VALUES '
                            '(%s, 5) RETURNING id', [phase]).fetchone()[0]
            assert c.execute("SELECT currval('inovices_id_seq'), lastval()"
                             ).fetchone() == (got, got)
            c.execute('UPDATE inovices SET amount = 6 WHERE id = %s', [got])
            c.execute('DELETE FROM inovices WHERE id = %s', [got - 1])
            with pytest.raises(psycopg.errors.CheckViolation):
                c.execute('UPDATE inovices SET amount = -1 WHERE id = %s',
                          [got])
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                c.execute('UPDATE inovices SET payment = 0 WHERE id = %s',
                          [got])
    one = lambda sql: postgres.execute(sql, 'carried')[0][0]  # noqa: E731
    assert one("SELECT obj_description('invoices'::regclass)") == 'misspelled'
    assert one("SELECT col_description('invoices'::regclass, 2)") == 'who'
    assert one("SELECT pg_get_serial_sequence('invoices', 'id')") == (
        'public.inovices_id_seq')
    assert one("SELECT has_column_privilege('carried_reader', 'invoices', "
               "'customer', 'SELECT') AND NOT has_column_privilege("
               "'carried_reader', 'invoices', 'amount_cents', 'SELECT')")
    assert one("SELECT count(*) FROM pg_index WHERE indrelid = "
               "'invoices'::regclass") >= 3
    postgres.execute('DROP OWNED BY carried_app, carried_reader; '
                     'DROP ROLE carried_app, carried_reader', 'carried')


KEYS = {
    'composite': ('a integer, b text, v integer, PRIMARY KEY (a, b)',
                  '[a, b]', "({n} % 10, 'b{n}', {n})", "a = {n} % 10 AND b = "
                  "'b{n}'"),
    'text': ('a text PRIMARY KEY, v integer', '[a]', "('k''{n}', {n})",
             "a = 'k''{n}'"),
    'uuid': ('a uuid PRIMARY KEY DEFAULT gen_random_uuid(), v integer', '[a]',
             "('00000000-0000-0000-0000-{n:012d}', {n})",
             "a = '00000000-0000-0000-0000-{n:012d}'"),
    'bigint identity': ('a bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY '
                        'KEY, v integer', '[a]', '({n}, {n})', 'a = {n}'),
    'identity always': ('a bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v '
                        'integer', '[a]', None, 'a = {n}'),
    'timestamp': ('a timestamptz PRIMARY KEY, v integer', '[a]',
                  "('2024-01-01'::timestamptz + {n} * interval '1 second', "
                  '{n})', "a = '2024-01-01'::timestamptz + {n} * interval "
                  "'1 second'"),
    'numeric': ('a numeric(20,5) PRIMARY KEY, v integer', '[a]',
                '({n}.12345, {n})', 'a = {n}.12345'),
    'domain': ('a code PRIMARY KEY, v integer', '[a]', "('c{n}', {n})",
               "a = 'c{n}'"),
    'domains': ('a integer, b code, v integer, PRIMARY KEY (b, a)', '[a, b]',
                "({n} % 10, 'c{n}', {n})", "a = {n} % 10 AND b = 'c{n}'"),
    'enum': ('a mood, b "char", v integer, PRIMARY KEY (a, b)', '[a, b]',
             "(CASE {n} % 2 WHEN 0 THEN 'so so' ELSE 'fine' END::mood,"
             " chr({n} + 32)::\"char\", {n})", "b = chr({n} + 32)::\"char\""),
    'bytes': ('a bytea, b date, v integer, PRIMARY KEY (a, b)', '[a, b]',
              "(decode('00ff', 'hex') || 'k{n}'::bytea, '2024-01-01'::date +"
              " {n}, {n})", "b = '2024-01-01'::date + {n}"),
    'odd types': ('a inet, b char(6), c integer[], v integer, PRIMARY KEY (a,'
                  ' b, c)', '[a, b, c]', "('10.0.0.{n}', 'x{n}', ARRAY[{n},"
                  " NULL], {n})", "a = '10.0.0.{n}'"),
}

KEY_TYPES = '''
CREATE DOMAIN code AS varchar(9) NOT NULL CHECK (VALUE LIKE 'c%');
CREATE TYPE mood AS ENUM ('so so', 'fine');
'''


@pytest.mark.parametrize('name', KEYS)
def test_keys_of_every_kind(postgres, start_proxy, name):
    columns, key, row, where = KEYS[name]
    database = 'key_' + name.replace(' ', '_')
    postgres.create_database(
        database, f'{KEY_TYPES}CREATE TABLE old_t ({columns})')
    names = key.strip('[]').split(', ')
    values = (lambda n: f"VALUES {row.format(n=n)}") if row else (
        lambda n: f'(v) VALUES ({n})')
    for n in range(1, 40):
        postgres.execute(f'INSERT INTO old_t {values(n)}', database)
    proxy = start_proxy(postgres, {'m.yaml': f'''
migration: keys
database: {database}
lenses:
  - kind: table
    old: public.old_t
    new: public.new_t
    key: {{{', '.join(f'{k}: new_{k}' for k in names)}}}
    columns:
      - old: v
        new: {{name: w, type: text}}
        forward: v::text
        reverse: w::integer
        bijective: true
'''})
    n = 40
    for phase in shop.PHASES[1:]:
        proxy.advance('keys', phase)
        with proxy.connect(database) as c:
            c.execute(f'INSERT INTO old_t {values(n)}')
            c.execute(f'INSERT INTO old_t {values(n + 1)} RETURNING *')
            got = c.execute(f'UPDATE old_t SET v = v + 1000 WHERE '
                            f'{where.format(n=n)} RETURNING v').fetchall()
            assert got == [(n + 1000,)]
            got = c.execute(f'DELETE FROM old_t WHERE '
                            f'{where.format(n=n + 1)}').rowcount
            assert got == 1
            assert c.execute(f'SELECT v FROM old_t WHERE {where.format(n=n)}'
                             ).fetchall() == [(n + 1000,)]
        if phase in ('dual_write', 'read_new', 'write_new'):
            clean(proxy, 'keys')
        n += 2
    assert postgres.execute('SELECT count(*) FROM new_t', database) == [(45,)]


def anomaly(postgres, start_proxy, database, phase):
    shop.make(postgres, database)
    proxy = start_proxy(postgres, shop.spec(database))
    proxy.advance('inovices_typo',
                  *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    first = proxy.connect(database, autocommit=False)
    second = proxy.connect(database, autocommit=False)
    return proxy, first, second


def in_background(run):
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


def wait_until_blocked(postgres, database):
    harness.wait_for('the second session waits', lambda: postgres.execute(
        'SELECT 1 FROM pg_stat_activity WHERE datname = '
        f"'{database}' AND wait_event_type = 'Lock'"))


@pytest.mark.parametrize('phase', ['dual_write', 'read_new', 'write_new'])
def test_two_updates_of_one_row_leave_both_models_equal(postgres, start_proxy,
                                                        phase):
    proxy, first, second = anomaly(postgres, start_proxy, f'two_{phase}',
                                   phase)
    update = 'UPDATE inovices SET amount = amount + 1 WHERE id = 5'
    first.execute(update)
    waiting = in_background(lambda: second.execute(update))
    wait_until_blocked(postgres, f'two_{phase}')
    first.commit()
    waiting.result(harness.PATIENCE_S)
    second.commit()
    assert postgres.execute('SELECT (SELECT amount FROM inovices WHERE id = 5)'
                            ', (SELECT amount_cents FROM invoices WHERE id = '
                            '5)', f'two_{phase}') == [(7, 700)]
    clean(proxy)


@pytest.mark.parametrize('phase', ['dual_write', 'write_new'])
def test_a_delete_that_waits_for_an_update_leaves_no_orphan(
        postgres, start_proxy, phase):
    database = f'orphan_{phase}'
    proxy, first, second = anomaly(postgres, start_proxy, database, phase)
    # As if the row had not been backfilled yet.
    target = 'invoices' if phase == 'dual_write' else 'inovices'
    postgres.execute(f'DELETE FROM {target} WHERE id = 5', database)
    first.execute('UPDATE inovices SET amount = 50 WHERE id = 5')
    waiting = in_background(
        lambda: second.execute('DELETE FROM inovices WHERE id = 5'))
    wait_until_blocked(postgres, database)
    first.commit()
    waiting.result(harness.PATIENCE_S)
    second.commit()
    assert postgres.execute('SELECT count(*) FROM invoices WHERE id = 5',
                            database) == [(0,)]
    clean(proxy)


def wait_for_work(done, errors):
    """Until each session has counted a round begun after now in `done`."""
    before = list(done)
    harness.wait_for('all sessions work', lambda: errors or all(
        now > then + 1 for now, then in zip(done, before)))


def test_sessions_that_move_money_while_the_phases_move(postgres,
                                                        start_proxy):
    """Eight sessions in simple and extended form; whatever the phase, every
    statement succeeds and the sum is what it was."""
    rows = 2000
    shop.make(postgres, 'money', rows)
    total = postgres.execute('SELECT sum(amount) FROM inovices', 'money')[0][0]
    proxy = start_proxy(postgres, shop.spec('money'))
    stop, errors, done = threading.Event(), [], [0] * 8

    def work(seed):
        rng = random.Random(seed)
        try:
            with proxy.connect('money', autocommit=False) as c:
                c.prepare_threshold = 2 if seed % 2 else None
                while not stop.is_set():
                    a, b = sorted(rng.sample(range(1, rows + 1), 2))
                    with c.transaction():
                        c.execute('UPDATE inovices SET amount = amount - 1 '
                                  'WHERE id = %s', [a])
                        c.execute('UPDATE inovices SET amount = amount + 1 '
                                  'WHERE id = %s', [b])
                    with c.transaction():
                        key = c.execute(
                            'INSERT INTO inovices (customr, amount) VALUES '
                            "('temporary', 0) RETURNING id").fetchone()[0]
                    with c.transaction():
                        c.execute('DELETE FROM inovices WHERE id = %s', [key])
                    if done[seed] % 50 == 0:
                        with c.transaction():
                            got = c.execute('SELECT sum(amount) FROM inovices'
                                            ).fetchone()[0]
                        if got != total:
                            raise AssertionError(f'{got} is not {total}')
                    done[seed] += 1
        except (psycopg.Error, AssertionError) as e:
            errors.append((seed, repr(e), proxy.phase('inovices_typo')))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    try:
        for move in ('expanded', 'dual_write', 'read_new', 'write_new', 'back',
                     'write_new', 'new_only', 'back', 'back', 'back',
                     'read_new', 'write_new', 'new_only', 'contracted'):
            if move == 'back':
                was = proxy.phase('inovices_typo')
                proxy.rollback('inovices_typo')
                if was == 'new_only':
                    proxy.walked('inovices_typo')
            else:
                proxy.advance('inovices_typo', move)
            wait_for_work(done, errors)
            if errors:
                break
    finally:
        stop.set()
        for t in threads:
            t.join(harness.PATIENCE_S)
    assert not errors, errors
    assert postgres.execute('SELECT sum(amount_cents), count(*) FROM invoices',
                            'money') == [(100 * total, rows)]


def test_a_verify_can_be_cancelled(postgres, start_proxy):
    shop.make(postgres, 'cancelled', 100000)
    proxy = start_proxy(postgres, shop.spec('cancelled'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    proxy.console('SET inovices_typo.rate = 5000')
    with psycopg.connect(host=str(proxy.dir), port=proxy.admin_port,
                         user='ops', dbname='pgtandem', autocommit=True) as c:
        with pytest.raises(psycopg.errors.QueryCanceled), \
                harness.cancelling(c):
            c.execute('VERIFY inovices_typo')


def test_a_walk_is_paused_and_goes_on(postgres, start_proxy):
    shop.make(postgres, 'paused', 50000)
    proxy = start_proxy(postgres, shop.spec('paused'))
    proxy.advance('inovices_typo', 'expanded')
    proxy.console('SET inovices_typo.rate = 5000')
    proxy.console('ADVANCE inovices_typo TO dual_write')

    def row():
        return proxy.console('SHOW BACKFILL inovices_typo')[0]
    harness.wait_for('a start', lambda: int(row()['rows_done'] or 0) > 0)
    proxy.console('BACKFILL inovices_typo PAUSE')
    harness.wait_for('the pause', lambda: row()['state'] == 'paused')
    at = row()['rows_done']
    time.sleep(1)
    assert row()['rows_done'] == at
    proxy.console('BACKFILL inovices_typo RESUME')
    proxy.console('SET inovices_typo.rate = 0')
    proxy.walked('inovices_typo')
    clean(proxy)


def test_search_path_and_temporary_tables_shadow(postgres, start_proxy):
    shop.make(postgres, 'shadow')
    postgres.execute('CREATE SCHEMA other; CREATE TABLE other.inovices '
                     "(id integer, word text); INSERT INTO other.inovices "
                     "VALUES (1, 'other')", 'shadow')
    proxy = start_proxy(postgres, shop.spec('shadow'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new',
                  'write_new', 'new_only')
    with proxy.connect('shadow') as c:
        ours = [(1, 1)]
        one = lambda: c.execute('SELECT * FROM inovices WHERE id = 1'  # noqa: E731
                                ).fetchall()
        assert c.execute('SELECT id, amount FROM inovices WHERE id = 1'
                         ).fetchall() == ours
        c.execute('SET search_path = other, public')
        assert one() == [(1, 'other')]
        c.execute("INSERT INTO inovices VALUES (2, 'more')")
        c.execute('BEGIN')
        c.execute('SET LOCAL search_path = public')
        assert len(one()[0]) == 6
        c.execute('ROLLBACK')
        assert one() == [(1, 'other')]
        c.execute("SELECT set_config('search_path', 'public', false)")
        assert len(one()[0]) == 6
        c.execute('CREATE TEMP TABLE inovices (id integer, kind text)')
        c.execute("INSERT INTO inovices VALUES (1, 'temporary')")
        assert one() == [(1, 'temporary')]
        c.execute('DROP TABLE pg_temp.inovices')
        assert len(one()[0]) == 6
        c.execute('CREATE TEMP TABLE inovices (id integer) ON COMMIT DROP')
        assert len(one()[0]) == 6
    with proxy.connect('shadow', options='-c search_path=other') as c:
        assert c.execute('SELECT word FROM inovices WHERE id = 1'
                         ).fetchall() == [('other',)]
    assert postgres.execute('SELECT count(*) FROM other.inovices',
                            'shadow') == [(2,)]


PLANS = [
    ('SELECT * FROM inovices WHERE id = 77',
     'SELECT * FROM invoices WHERE id = 77'),
    ("SELECT id FROM inovices WHERE customr = 'customer 9'",
     "SELECT id FROM invoices WHERE customer = 'customer 9'"),
    ("SELECT i.id FROM inovices i JOIN payments p ON p.inovice = i.id WHERE "
     'p.id = 3', 'SELECT i.id FROM invoices i JOIN payments p ON p.inovice = '
     'i.id WHERE p.id = 3'),
    ('SELECT id FROM inovices ORDER BY customr LIMIT 3',
     'SELECT id FROM invoices ORDER BY customer LIMIT 3'),
]


def test_reads_use_the_new_tables_indexes(postgres, start_proxy):
    shop.make(postgres, 'plans', 20000)
    proxy = start_proxy(postgres, shop.spec('plans'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new')
    postgres.execute('ANALYZE', 'plans')
    for old, new in PLANS:
        with proxy.connect('plans') as c:
            through = c.execute('EXPLAIN (COSTS OFF) ' + old).fetchall()
        direct = postgres.execute('EXPLAIN (COSTS OFF) ' + new, 'plans')
        through = [r[0].replace('Scan using invoices_pkey on invoices i ',
                                'Scan using invoices_pkey on invoices i ')
                   for r in through]
        assert any('Index' in line for line in through), through
        aliased = [line.replace(' on invoices i', ' on invoices')
                   .replace('i.', '').replace('invoices.', '')
                   for line in through]
        plain = [r[0].replace(' on invoices i', ' on invoices')
                 .replace('i.', '').replace('invoices.', '') for r in direct]
        assert aliased == plain, (through, direct)


def test_explain_rewrite_and_the_command_line_agree(postgres, start_proxy):
    shop.make(postgres, 'explained')
    proxy = start_proxy(postgres, shop.spec('explained'))
    sql = "SELECT amount FROM inovices WHERE customr = 'x'"
    literal = "'" + sql.replace("'", "''") + "'"
    for phase in shop.PHASES:
        rows = proxy.console(
            f'EXPLAIN REWRITE inovices_typo IN {phase} {literal}')
        text = list(rows[0].values())[0]
        printed = subprocess.run(
            [proxy.binary, 'rewrite', '-c', proxy.config, '-m',
             'inovices_typo', '-p', phase, sql], capture_output=True,
            text=True)
        assert printed.returncode == 0, printed.stderr
        assert printed.stdout.rstrip('\n') == text
        through = phase in ('read_new', 'write_new', 'new_only', 'contracted')
        assert ('invoices' in text) == through
    refused = subprocess.run(
        [proxy.binary, 'rewrite', '-c', proxy.config, '-m', 'inovices_typo',
         '-p', 'write_new', 'DROP TABLE inovices'], capture_output=True,
        text=True)
    assert refused.returncode == 1 and '0A000' in refused.stderr
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        proxy.console("EXPLAIN REWRITE inovices_typo IN write_new "
                      "'DROP TABLE inovices'")


def test_unsupported_statements_are_refused_before_anything_is_sent(
        postgres, start_proxy):
    shop.make(postgres, 'refused')
    proxy = start_proxy(postgres, shop.spec('refused'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    with proxy.connect('refused') as c:
        for sql in ('ALTER TABLE inovices ADD x integer',
                    'DROP TABLE inovices',
                    'MERGE INTO inovices USING payments p ON p.id = '
                    'inovices.id WHEN MATCHED THEN UPDATE SET id = p.id',
                    'WITH d AS (DELETE FROM inovices i USING payments p '
                    'WHERE p.id = i.id RETURNING p.*) SELECT * FROM d',
                    'INSERT INTO payments (amount) VALUES (1); '
                    'ALTER TABLE inovices ADD x integer',
                    'SELECT * FROM invoices'):
            with pytest.raises(psycopg.errors.FeatureNotSupported) as e:
                c.execute(sql)
            text = e.value.diag.message_primary + str(
                e.value.diag.message_detail)
            assert 'pgtandem' in text and 'inovices_typo' in text
            assert 'dual_write' in text
    assert postgres.execute('SELECT count(*) FROM payments',
                            'refused') == [(20,)]
    with proxy.connect('refused', autocommit=False) as c:
        c.execute('INSERT INTO payments (amount) VALUES (1)')
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            c.execute('DROP TABLE inovices')
        assert c.info.transaction_status.name == 'INERROR'
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            c.execute('SELECT 1')
        c.commit()
    assert postgres.execute('SELECT count(*) FROM payments',
                            'refused') == [(20,)]


def test_one_text_that_changes_what_names_mean_is_refused(postgres,
                                                          start_proxy):
    shop.make(postgres, 'mixed')
    postgres.execute('CREATE SCHEMA other; CREATE TABLE other.inovices '
                     "(id integer); INSERT INTO other.inovices VALUES (1)",
                     'mixed')
    proxy = start_proxy(postgres, shop.spec('mixed'))
    text = 'SET search_path = other, public; SELECT * FROM inovices'
    with proxy.connect('mixed') as c:
        c.execute(text)                         # nothing to rewrite yet
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new')
    with proxy.connect('mixed') as c:
        with pytest.raises(psycopg.errors.FeatureNotSupported,
                           match='pgtandem'):
            c.execute(text)
        c.execute('SET search_path = other, public')
        assert c.execute('SELECT * FROM inovices').fetchall() == [(1,)]


def test_a_rollback_to_a_savepoint_is_carried_unless_it_takes_back_names(
        postgres, start_proxy):
    shop.make(postgres, 'savepoints')
    postgres.execute('CREATE SCHEMA other; CREATE TABLE other.inovices '
                     "(id integer); INSERT INTO other.inovices VALUES (1)",
                     'savepoints')
    proxy = start_proxy(postgres, shop.spec('savepoints'))
    proxy.advance('inovices_typo', *shop.PHASES[1:5])
    text = ('SAVEPOINT a; UPDATE inovices SET amount = {0} WHERE id = 1;'
            ' ROLLBACK TO a; UPDATE inovices SET amount = {0} + 1 WHERE id ='
            ' 2; SELECT id FROM inovices WHERE amount IN ({0}, {0} + 1)')
    with proxy.connect('savepoints') as c:
        cur = c.execute('BEGIN;' + text.format(700001) + '; COMMIT')
        while cur.nextset() and not cur.description:
            pass
        assert cur.fetchall() == [(2,)]
    with proxy.connect('savepoints', autocommit=False) as c:
        c.execute('SAVEPOINT first')
        c.execute('SET LOCAL search_path = other')
        assert c.execute('SELECT * FROM inovices').fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            c.execute('ROLLBACK TO first; SELECT * FROM public.inovices')
        c.execute('ROLLBACK TO first')
        assert c.execute('SELECT * FROM inovices WHERE id = 1').fetchall()
        c.commit()
        c.execute(text.format(700003))
        assert len(c.execute('SELECT * FROM inovices WHERE id = 1'
                             ).fetchall()[0]) > 1
    clean(proxy, 'inovices_typo')


def reads_new(connection):
    """Does this session read from the new table?"""
    plan = connection.execute('EXPLAIN SELECT * FROM inovices').fetchall()
    return 'on invoices' in plan[0][0]


def test_a_share_of_the_sessions_reads_new(postgres, start_proxy):
    shop.make(postgres, 'share')
    proxy = start_proxy(postgres, shop.spec('share'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new')

    def share():
        connections = [proxy.connect('share') for _ in range(60)]
        try:
            first = [reads_new(c) for c in connections]
            again = [reads_new(c) for c in connections]
            return sum(first) if first == again else -1
        finally:
            for c in connections:
                c.close()
    for percent, low, high in ((0, 0, 0), (50, 12, 48), (100, 60, 60)):
        proxy.console(f'SET inovices_typo.read_percent = {percent}')
        harness.wait_for(f'{percent} percent',
                         lambda: low <= share() <= high)


def test_statements_are_refused_when_the_phase_cannot_be_confirmed(
        own_postgres, start_proxy):
    """The control connection is kept out; clients' connections live on."""
    shop.make(own_postgres, 'lease')
    own_postgres.execute('DROP ROLE IF EXISTS control; '
                         'CREATE ROLE control LOGIN SUPERUSER')
    proxy = start_proxy(own_postgres, shop.spec('lease'), top='lease: 1s',
                        control='user=control')
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    with proxy.connect('lease') as c:
        c.execute('UPDATE inovices SET amount = 5 WHERE id = 5')
        own_postgres.execute(
            'ALTER ROLE control NOLOGIN; SELECT pg_terminate_backend(pid) '
            "FROM pg_stat_activity WHERE usename = 'control'")

        def refused():
            try:
                c.execute('UPDATE inovices SET amount = 6 WHERE id = 5')
            except psycopg.errors.CannotConnectNow as e:
                return 'pgtandem' in e.diag.message_primary
        harness.wait_for('the refusal', refused)
        assert c.execute('SELECT count(*) FROM payments').fetchone() == (20,)
        own_postgres.execute('ALTER ROLE control LOGIN')
        harness.wait_for('the way back', lambda: not refused())
    clean(proxy)


def test_statements_wait_while_ddl_runs_and_then_go_on(postgres, start_proxy):
    """A long transaction on the old table keeps DDL from its lock; meanwhile
    statements of others wait at the proxy for a bounded time only."""
    shop.make(postgres, 'held')
    proxy = start_proxy(postgres, shop.spec('held'))
    proxy.advance('inovices_typo', 'expanded')
    blocker = postgres.connect('held', autocommit=False)
    blocker.execute('UPDATE inovices SET amount = 1 WHERE id = 1')
    waits, stop, errors = [], threading.Event(), []

    def work():
        try:
            with proxy.connect('held') as c:
                while not stop.is_set():
                    began = time.monotonic()
                    c.execute('UPDATE inovices SET amount = amount + 1 '
                              'WHERE id = 2')
                    waits.append(time.monotonic() - began)
                    time.sleep(0.01)
        except psycopg.Error as e:
            errors.append(e)
    worker = threading.Thread(target=work)
    worker.start()
    moving = in_background(
        lambda: proxy.console('ADVANCE inovices_typo TO dual_write'))
    harness.wait_for('statements that have waited', lambda: (
        errors or moving.done() or sum(w > 0.05 for w in waits) > 2))
    assert not moving.done()
    blocker.rollback()
    moving.result(harness.PATIENCE_S)
    stop.set()
    worker.join()
    assert not errors


def test_functions_of_a_mapping_are_found_under_any_search_path(
        postgres, start_proxy):
    """And what a client puts in front of them is not."""
    shop.make(postgres, 'mapped', 20)
    postgres.execute('''
        CREATE FUNCTION cents(integer) RETURNS bigint IMMUTABLE LANGUAGE sql
            AS 'SELECT $1::bigint * 100';
        CREATE DOMAIN dollars AS integer;
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.cents(integer) RETURNS bigint LANGUAGE sql
            AS 'SELECT 0::bigint';
        CREATE FUNCTION evil.replace(text, text, text) RETURNS text
            LANGUAGE sql AS $$SELECT 'evil'$$;
        CREATE FUNCTION evil.substr(text, integer) RETURNS text
            LANGUAGE sql AS $$SELECT 'evil'$$;
        CREATE DOMAIN evil.dollars AS text''', 'mapped')
    spec = shop.SPEC.format(database='mapped')
    spec = spec.replace('(amount * 100)::bigint', 'cents(amount)')
    spec = spec.replace('100)::integer', '100)::dollars')
    proxy = start_proxy(postgres, {'inovices_typo.yaml': spec})
    proxy.advance('inovices_typo', *shop.PHASES[1:4])
    amount = 6
    for phase in None, 'write_new', 'new_only':
        if phase:
            proxy.advance('inovices_typo', phase)
        for path in 'evil, pg_catalog', 'evil', 'public':
            amount += 1
            with proxy.connect('mapped',
                               options=f'-c search_path={path}'.replace(
                                   ', ', ',')) as c:
                c.execute("UPDATE public.inovices SET amount = %s, "
                          "phone = '555-12345' WHERE id = 3", [amount])
                assert c.execute('SELECT amount, phone FROM public.inovices '
                                 'WHERE id = 3').fetchall() == \
                    [(amount, '555-12345')]
    assert postgres.execute('SELECT amount_cents, phone_digits FROM invoices '
                            'WHERE id = 3', 'mapped') == [(1500, '55512345')]


def test_a_mapping_function_that_is_nowhere_is_refused(postgres, start_proxy):
    shop.make(postgres, 'unmapped', 20)
    spec = shop.SPEC.format(database='unmapped').replace('replace(', 'repl(')
    proxy = start_proxy(postgres, {'inovices_typo.yaml': spec})
    for command in ('SHOW PREFLIGHT inovices_typo',
                    'ADVANCE inovices_typo TO expanded'):
        with pytest.raises(psycopg.Error, match='function "repl" is neither '
                                                'in pg_catalog'):
            proxy.console(command)
    assert 'function "repl"' in proxy.log()


def test_each_database_of_an_instance_is_in_a_phase_of_its_own(
        postgres, start_proxy):
    """The same words mean something else in each, on one worker."""
    specs = {}
    for name in 'behind', 'ahead':
        shop.make(postgres, name)
        specs[f'{name}.yaml'] = shop.SPEC.replace(
            'inovices_typo', name).format(database=name)
    proxy = start_proxy(postgres, specs, workers=1)
    proxy.advance('ahead', *shop.PHASES[1:])
    sql = 'SELECT count(*) FROM inovices'
    for _ in range(2):
        for name in 'behind', 'ahead':
            with proxy.connect(name) as c:
                assert c.execute(sql).fetchone() == (100,)


def test_what_is_read_of_the_catalog_does_not_vanish_meanwhile(postgres,
                                                               start_proxy):
    """A function of the catalog opens the relation that the statement's
    snapshot has found: DDL in between would make it fail."""
    shop.make(postgres, 'catalog_reads')
    proxy = start_proxy(postgres, shop.spec('catalog_reads'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new',
                  'write_new', 'new_only')
    stop, failed, answers = threading.Event(), [], []

    def read(n):
        # A literal, a parameter, and one that the server keeps the plan of.
        with proxy.connect('catalog_reads') as c:
            c.prepare_threshold = 0 if n == 2 else None
            named = ("'inovices'", '%s', '%s')[n]
            while not stop.is_set():
                try:
                    answers.append(c.execute(
                        'SELECT pg_catalog.pg_get_indexdef(i.indexrelid, 1,'
                        ' false) FROM pg_catalog.pg_sleep(0.02),'
                        ' pg_catalog.pg_class r JOIN pg_catalog.pg_index i ON'
                        f' i.indrelid = r.oid WHERE r.relname = {named}'
                        ' AND i.indisprimary',
                        ['inovices'] if n else None).fetchall())
                except psycopg.Error as e:
                    failed.append(str(e))
                    return

    threads = [threading.Thread(target=read, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    try:
        proxy.advance('inovices_typo', 'contracted')
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failed
    assert set(map(tuple, answers)) == {(('id',),)}


def test_a_reload_may_end_what_the_keeper_is_looking_at(postgres,
                                                        start_proxy):
    """Under the sanitizers: what a migration was made of outlives it."""
    shop.make(postgres, 'reloads')
    proxy = start_proxy(postgres, shop.spec('reloads'))
    file = proxy.dir / 'migrations' / 'inovices_typo.yaml'
    text, stop = file.read_text(), threading.Event()

    def wake():
        with postgres.connect('reloads') as c:
            while not stop.is_set():
                c.execute('NOTIFY pgtandem')

    waker = threading.Thread(target=wake)
    waker.start()
    try:
        for _ in range(60):
            file.unlink()
            proxy.console('RELOAD')
            file.write_text(text)
            proxy.console('RELOAD')
    finally:
        stop.set()
        waker.join()
    assert proxy.phase('inovices_typo') == 'planned'
    assert proxy.alive()

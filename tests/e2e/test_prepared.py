"""Prepared statements in SQL: PREPARE, EXECUTE and DEALLOCATE on a relation
under migration, in every phase and over phase changes.  Each session is
compared, message by message, with one on a database of the old model alone."""

import pytest

import harness
import shop
from test_differential import FIXED, TableNames, named_origins

DOWN = ('new_only', 'write_new', 'read_new', 'dual_write')


class Pair:
    """The same messages to a direct session and to one through pgtandem."""

    def __init__(self, postgres, proxy, direct, through):
        self.wires = [harness.Wire(postgres.port, dbname=direct),
                      harness.Wire(proxy.port, dbname=through)]
        self.names = [TableNames(postgres, d) for d in (direct, through)]

    def send(self, *messages):
        """What came back from both must be the same; what it is."""
        syncs = sum(m[:1] in (b'S', b'Q') for m in messages)
        direct, through = (
            self.answers(w, n, messages, syncs)
            for w, n in zip(self.wires, self.names))
        assert through == direct, messages
        return direct

    def query(self, sql):
        return self.send(harness.message('Q', sql.encode() + b'\0'))

    @staticmethod
    def answers(wire, names, messages, syncs):
        wire.raw(b''.join(messages))
        got = [m for _ in range(syncs) for m in wire.until('Z')]
        return [(k, named_origins(b, names) if k == 'T' else
                 harness.error_fields(b).get('C') if k == 'E' else b)
                for k, b in got if k not in 'SN']

    def close(self):
        for wire in self.wires:
            wire.close()


@pytest.fixture
def shops(postgres, start_proxy):
    for name in ('prepared_direct', 'prepared_through'):
        shop.make(postgres, name)
        postgres.execute(FIXED, name)
    proxy = start_proxy(postgres, shop.spec('prepared_through'))
    pairs = []

    def pair():
        pairs.append(Pair(postgres, proxy, 'prepared_direct',
                          'prepared_through'))
        return pairs[-1]
    yield proxy, pair
    for p in pairs:
        p.close()


def phases(proxy):
    """Forward through all phases and back to the first, each time anew."""
    yield 'planned'
    for phase in shop.PHASES[1:-1]:
        proxy.advance('inovices_typo', phase)
        yield phase
    for phase in DOWN[1:]:
        proxy.rollback('inovices_typo')
        if phase == 'write_new':
            proxy.walked('inovices_typo')
        yield phase
    for phase in ('read_new', 'write_new', 'new_only', 'contracted'):
        proxy.advance('inovices_typo', phase)
        yield phase


MADE = [
    'PREPARE one (int) AS SELECT * FROM inovices WHERE id = $1',
    'prepare "Sum" as select sum(amount) from inovices where id < $1',
    'PREPARE add (int, int) AS UPDATE inovices SET amount = amount + $2'
    ' WHERE id = $1',
    'PREPARE given AS UPDATE inovices SET note = $2 WHERE id = $1'
    ' RETURNING id, note, amount',
    'PREPARE new AS INSERT INTO inovices (id, customr, amount, phone)'
    ' VALUES ($1, $2, $3, $4) RETURNING *',
    'PREPARE gone (int) AS DELETE FROM inovices WHERE id = $1',
    'PREPARE other AS SELECT count(*) FROM payments WHERE inovice = $1',
    'PREPARE wrong AS SELECT amount / 0 FROM inovices WHERE id = $1',
]


def work(pair, n):
    """Everything that MADE can do; n keeps keys apart."""
    pair.query('EXECUTE one (3)')
    pair.query('EXECUTE "Sum" (20)')
    pair.query('EXECUTE add (4, 1)')
    pair.query("EXECUTE given (5, 'n%d')" % n)
    pair.query("EXECUTE new (%d, 'c%d', '7', '555-0001')" % (9000 + n, n))
    pair.query('EXECUTE one (%d)' % (9000 + n))
    pair.query('EXECUTE gone (%d)' % (9000 + n))
    pair.query('EXECUTE other (3)')
    pair.query('EXECUTE wrong (3)')
    pair.query('EXECUTE one (nothing)')
    pair.query('EXECUTE one (1, 2)')
    pair.query('EXECUTE none')
    pair.query("BEGIN; EXECUTE add (6, 2); EXECUTE given (6, 'b'); COMMIT")
    pair.query("EXECUTE given (7, 'x'); SELECT id FROM inovices WHERE id = 7;"
               " EXECUTE one (7)")
    pair.query('CREATE TEMP TABLE t%d AS EXECUTE one (8)' % n)
    pair.query('TABLE t%d' % n)
    pair.query('BEGIN')
    pair.query("EXECUTE given (9, 'a string that is too long')")
    pair.query('EXECUTE one (9)')
    pair.query('ROLLBACK')


def extended(pair):
    """The same statements by the protocol's messages."""
    pair.send(harness.bind([b'10'], name='one', results=[1]),
              harness.describe(), harness.execute(), harness.SYNC)
    pair.send(harness.describe('S', 'given'),
              harness.bind([b'11', b'y'], name='given', results=[1, 0, 1]),
              harness.describe(), harness.execute(), harness.SYNC)
    pair.send(harness.bind([b'12', b'1'], name='add'), harness.describe(),
              harness.execute(rows=1), harness.SYNC)
    pair.send(harness.parse("EXECUTE given (13, 'z')"),
              harness.describe('S'), harness.bind([], results=[1]),
              harness.describe(), harness.execute(), harness.SYNC)
    pair.send(harness.parse('EXECUTE add (13, 1)'), harness.describe('S'),
              harness.bind([]), harness.describe(), harness.execute(),
              harness.SYNC)
    pair.send(harness.parse('EXECUTE one (14)', 'kept'), harness.bind(
        [], name='kept'), harness.execute(), harness.close('S', 'kept'),
        harness.SYNC)


def test_statements_outlive_phases(shops):
    proxy, open_pair = shops
    old = open_pair()
    for sql in MADE:
        old.query(sql)
    for n, _phase in enumerate(phases(proxy)):
        work(old, n)
        extended(old)
        fresh = open_pair()
        for sql in MADE:
            fresh.query(sql)
        work(fresh, 100 + n)
        extended(fresh)
        fresh.query('PREPARE one AS SELECT 1')
        fresh.query('DEALLOCATE one')
        fresh.query('EXECUTE one (1)')
        fresh.query('PREPARE one AS SELECT id FROM inovices WHERE id = 2')
        fresh.query('EXECUTE one')
        fresh.query('DEALLOCATE ALL')
        fresh.query('EXECUTE one')
    assert proxy.phase('inovices_typo') == 'contracted'


def test_statements_of_parse_are_executed_in_sql(shops):
    proxy, open_pair = shops
    old = open_pair()
    old.send(harness.parse('UPDATE inovices SET amount = $2 WHERE id = $1'
                           ' RETURNING id, amount', 'set'),
             harness.parse('DELETE FROM inovices WHERE id = $1', 'gone'),
             harness.parse("EXECUTE set (16, '16')", 'runs'),
             harness.SYNC)
    for n, _phase in enumerate(phases(proxy)):
        old.query("EXECUTE set (15, '%d')" % n)
        old.query('EXECUTE gone (%d)' % (50 + n))
        old.send(harness.describe('S', 'runs'), harness.bind([], name='runs'),
                 harness.describe(), harness.execute(), harness.SYNC)
        old.query('SELECT count(*) FROM inovices')


def test_a_prepare_in_a_text_of_several(shops):
    proxy, open_pair = shops
    for _phase in phases(proxy):
        p = open_pair()
        p.query('PREPARE a AS SELECT id FROM inovices WHERE id = 1; EXECUTE a;'
                ' DEALLOCATE a; PREPARE a AS UPDATE inovices SET note = $1'
                " WHERE id = 2 RETURNING note; EXECUTE a ('q'); EXECUTE a")
        p.query("EXECUTE a ('r')")
        p.query('BEGIN; PREPARE b AS DELETE FROM inovices WHERE id = $1;'
                ' ROLLBACK; SELECT 1/0; EXECUTE b (1)')
        p.query('EXECUTE b (-1)')
        p.query('SELECT 1/0; PREPARE c AS SELECT id FROM inovices')
        p.query('EXECUTE c')


def test_a_pipeline_of_prepare_and_execute(shops):
    proxy, open_pair = shops
    for _phase in phases(proxy):
        p = open_pair()
        run = (harness.bind([]), harness.describe(), harness.execute())
        p.send(harness.parse('PREPARE a AS UPDATE inovices SET note = $1 WHERE'
                             ' id = 17 RETURNING note'),
               *run, harness.parse("EXECUTE a ('p')"), *run, harness.SYNC)
        q = [harness.message('Q', sql + b'\0') for sql in (
            b'PREPARE b AS SELECT customr FROM inovices WHERE id = 18',
            b'EXECUTE b', b'DEALLOCATE b', b'EXECUTE b',
            b'PREPARE b AS DELETE FROM inovices WHERE id = -1', b'EXECUTE b')]
        p.send(*q)
        p.send(harness.parse('PREPARE b AS SELECT 1'), *run,
               harness.parse("EXECUTE a ('s')"), *run, harness.SYNC)


def test_one_that_cannot_be_prepared_again(shops, postgres):
    """A failure of what the client does not see is told as the answer to its
    own statement, in a transaction and outside one."""
    proxy, open_pair = shops
    wire = harness.Wire(proxy.port, dbname='prepared_through')
    wire.query('CREATE SCHEMA side; CREATE TABLE side.x (id int)')
    wire.query('PREPARE p AS SELECT i.id FROM inovices i LEFT JOIN side.x ON'
               ' x.id = i.id WHERE i.id = 1')
    assert [k for k, _ in wire.query('EXECUTE p')] == ['T', 'D', 'C', 'Z']
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new')
    wire.query('DROP TABLE side.x')
    for _ in range(2):
        got = wire.query('EXECUTE p')
        assert [k for k, _ in got] == ['E', 'Z']
        assert harness.error_fields(got[0][1])['C'] == '42P01'
    wire.query('BEGIN')
    got = wire.query('EXECUTE p')
    assert [k for k, _ in got] == ['E', 'Z'] and got[1][1] == b'E'
    wire.query('ROLLBACK')
    wire.query('CREATE TABLE side.x (id int)')
    assert [k for k, _ in wire.query('EXECUTE p')] == ['T', 'D', 'C', 'Z']
    wire.close()


def test_names_change_what_a_statement_means(shops):
    proxy, open_pair = shops
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new',
                  'write_new')
    p = open_pair()
    p.query('PREPARE a AS SELECT id FROM inovices WHERE id = 1')
    p.query('EXECUTE a')
    p.query('CREATE TEMP TABLE inovices (id int)')
    p.query('EXECUTE a')
    p.query('DROP TABLE pg_temp.inovices')
    p.query('EXECUTE a')


def test_a_statement_may_change_what_names_mean(shops):
    proxy, open_pair = shops
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new',
                  'write_new')
    p = open_pair()
    p.query('CREATE SCHEMA side')
    p.query('CREATE TABLE side.inovices (id int)')
    p.query("PREPARE look AS SELECT set_config('search_path', $1, false)")
    p.query('PREPARE a AS SELECT count(*) FROM inovices')
    p.query('EXECUTE a')
    p.query("EXECUTE look ('side')")
    p.query('EXECUTE a')
    p.query('SELECT count(*) FROM inovices')
    p.query("EXECUTE look ('public')")
    p.query('EXECUTE a')
    p.query('SELECT count(*) FROM inovices')


def test_an_execute_too_long_to_be_read_is_refused(shops):
    proxy, open_pair = shops
    proxy.advance('inovices_typo', 'expanded')
    wire = harness.Wire(proxy.port, dbname='prepared_through')
    wire.query('PREPARE p (text) AS UPDATE inovices SET note = left($1, 1)')
    proxy.advance('inovices_typo', 'dual_write')
    got = wire.query("EXECUTE p ('" + 'x' * 5_000_000 + "')")
    assert harness.error_fields(got[0][1])['C'] == '54001'
    assert wire.query("EXECUTE p ('x')")[0] == ('C', b'UPDATE 100\0')
    assert proxy.verify('inovices_typo')['different'] == 0
    wire.close()


def test_names_that_only_the_parser_reads_are_refused(shops):
    proxy, open_pair = shops
    wire = harness.Wire(proxy.port, dbname='prepared_through')
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    wire.query('PREPARE p AS SELECT id FROM inovices')
    got = wire.query('EXECUTE U&"p"')
    fields = harness.error_fields(got[0][1])
    assert fields['C'] == '0A000' and 'pgtandem' in fields['M']
    wire.close()


def test_one_from_before_there_was_a_migration(postgres, start_proxy):
    """Its text is known, even so; that of one within a longer text is not."""
    shop.make(postgres, 'prepared_before')
    proxy = start_proxy(postgres)
    wire = harness.Wire(proxy.port, dbname='prepared_before')
    wire.query('PREPARE p AS UPDATE inovices SET note = $1 WHERE id = 1')
    for name, text in shop.spec('prepared_before').items():
        (proxy.dir / 'migrations' / name).write_text(text)
    proxy.console('RELOAD')
    harness.wait_for('the migration', lambda: proxy.console('SHOW MIGRATIONS'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    assert wire.query("EXECUTE p ('x')")[0] == ('C', b'UPDATE 1\0')
    assert wire.query('EXECUTE q')[0][0] == 'E'
    assert proxy.verify('inovices_typo')['different'] == 0
    wire.close()


def test_one_whose_text_is_not_known_is_refused(postgres, start_proxy):
    shop.make(postgres, 'prepared_unknown')
    proxy = start_proxy(postgres)
    wire = harness.Wire(proxy.port, dbname='prepared_unknown')
    wire.query('SELECT 1; PREPARE p AS SELECT id FROM inovices')
    for name, text in shop.spec('prepared_unknown').items():
        (proxy.dir / 'migrations' / name).write_text(text)
    proxy.console('RELOAD')
    harness.wait_for('the migration', lambda: proxy.console('SHOW MIGRATIONS'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    fields = harness.error_fields(wire.query('EXECUTE p')[0][1])
    assert fields['C'] == '0A000' and 'not known' in fields['M']
    wire.query('DEALLOCATE ALL')
    fields = harness.error_fields(wire.query('EXECUTE p')[0][1])
    assert fields['C'] == '26000'
    wire.close()

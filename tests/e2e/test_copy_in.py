"""COPY ... FROM STDIN into a relation under migration, in every phase: the
messages of a direct session on a database of the old model alone, and the same
rows behind."""

import struct

import pytest

import harness
import shop
import test_s0
import test_s3
from harness import message

TABLE = '''
CREATE TABLE inovices (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customr varchar(20) NOT NULL,
    amount integer NOT NULL DEFAULT 7 CHECK (amount < 1000000),
    phone text,
    note varchar(10) DEFAULT 'none',
    size integer GENERATED ALWAYS AS (length(customr)) STORED,
    created_at timestamptz NOT NULL DEFAULT '2024-02-29 12:00Z',
    UNIQUE (customr, phone));
INSERT INTO inovices (customr, amount, phone)
SELECT 'customer ' || g, g, '555-' || lpad(g::text, 4, '0')
FROM generate_series(1, 50) g;
'''

HEADER = b'PGCOPY\n\xff\r\n\0' + struct.pack('!II', 0, 0)


def tuple_of(*fields):
    return struct.pack('!h', len(fields)) + b''.join(
        struct.pack('!i', -1) if f is None else
        struct.pack('!i', len(f)) + f for f in fields)


# What is sent, and with what it ends: 'c', or a failure's reason.
COPIES = [
    ('COPY inovices (customr, amount) FROM STDIN', [b'ann\t5\nbob\t6\n']),
    ('COPY inovices FROM STDIN',
     [b'901\tc\t1\t555-0901\tn\t2024-01-01 00:00Z\n',
      b'902\td\t2\t\\N\t\\N\t2024-01-01 00:00Z\n']),
    ('COPY public.inovices (customr, phone) FROM STDIN WITH (FORMAT csv, '
     'HEADER, NULL \'-\')', [b'customr,phone\n"a, ""b""",555-7001\nx,-\n']),
    ('COPY inovices (customr, phone) FROM STDIN WITH (FORMAT csv, HEADER '
     'match)', [b'phone,customr\na,b\n']),
    ('COPY inovices (id, customr, amount) FROM STDIN (FORMAT binary)',
     [HEADER, tuple_of(struct.pack('!i', 903), b'bin', struct.pack('!i', 3)),
      tuple_of(struct.pack('!i', 904), b'ary', struct.pack('!i', 4)),
      b'\xff\xff']),
    ('COPY inovices (customr, amount) FROM STDIN WHERE amount > 5 AND '
     'inovices.customr <> \'no\'', [b'w1\t5\nw2\t6\nno\t7\nw3\t8\n']),
    ('COPY inovices (customr) FROM STDIN', [b'']),
    ('COPY inovices (customr) FROM STDIN', [b'split ov', b'er mess', b'ages',
                                            b'\nend\n']),
    # failures: in the input, of constraints, by the client
    ('COPY inovices (customr, amount) FROM STDIN', [b'ok\t1\nbad\tword\n']),
    ('COPY inovices (customr, amount) FROM STDIN', [b'ok\t1\nmore\t2\t3\n']),
    ('COPY inovices (customr, amount) FROM STDIN', [b'ok\t1\nless\n']),
    ('COPY inovices (customr) FROM STDIN', [b'much too long for a name\n']),
    ('COPY inovices (id, customr) FROM STDIN', [b'905\tx\n1\tdup\n']),
    ('COPY inovices (customr, phone) FROM STDIN', [b'customer 1\t555-0001\n']),
    ('COPY inovices (customr, amount) FROM STDIN', [b'x\t1\n\\N\t1\n']),
    ('COPY inovices (customr, amount) FROM STDIN', [b'x\t1\ny\t9999999\n']),
    ('COPY inovices (customr, nothing) FROM STDIN', [b'x\t1\n']),
    ('COPY inovices (customr, customr) FROM STDIN', [b'x\t1\n']),
    ('COPY inovices (customr) FROM STDIN (FORMAT nothing)', [b'x\n']),
    ('COPY inovices (customr) FROM STDIN', [b'x\n', None]),
    ('COPY inovices (customr) FROM STDIN WHERE nothing > 1', [b'x\n']),
]


def without_origin(fields):
    """An error's fields, but where in the server's source it was raised."""
    return {k: v for k, v in fields.items() if k not in 'FLR'}


def copy_once(wire, sql, data):
    """Everything that a client sees of one COPY."""
    wire.send('Q', sql.encode() + b'\0')
    got = [wire.read()]
    while got[-1][0] in 'NS':
        got.append(wire.read())
    if got[-1][0] == 'G':
        for piece in data:
            if piece is not None:
                wire.send('d', piece)
        wire.raw(message('f', b'the client gave up\0') if data[-1] is None
                 else message('c'))
    if got[-1][0] != 'Z':
        got += wire.until('Z')
    return [(k, without_origin(harness.error_fields(b)) if k == 'E' else b)
            for k, b in got if k not in 'NS']


def rows(wire, table):
    return [b for k, b in wire.query(f'SELECT * FROM {table} ORDER BY id')
            if k == 'D']


def same_sequences(postgres, n, *databases):
    """A COPY that fails may have drawn more values direct, where rows are
    written some at a time."""
    for name in databases:
        postgres.execute(
            f"SELECT setval(c.oid, {1000 * n}) FROM pg_class c WHERE relkind"
            " = 'S' AND relnamespace = 'public'::regnamespace", name)


def comparable(answers):
    """Without what another INSERT than the client's says otherwise."""
    seen = []
    for kind, body in answers:
        if kind == 'E':
            body = dict(body)
            for field in 'DMnP':
                body.pop(field, None)
            body['W'] = body.get('W', '').split(': ')[0]
        seen.append((kind, body))
    return seen


# The same for a table whose columns change, with two that feed one new one.
BILLS = [
    ('COPY invoices (number, is_taxable) FROM STDIN', [b'a\tt\nb\tf\n']),
    ('COPY invoices FROM STDIN', [b'2901\tc\tf\t5\tf\t\\N\n',
                                  b'2902\td\tt\t6\tt\tnote\n']),
    ('COPY public.invoices (is_tax_inclusive, is_taxable, number) FROM STDIN '
     '(FORMAT csv)', [b'true,true,e\nfalse,true,f\n']),
    ('COPY invoices (id, number, is_taxable) FROM STDIN (FORMAT binary)',
     [HEADER, tuple_of(struct.pack('!i', 2903), b'bin', b'\1'), b'\xff\xff']),
    ('COPY invoices (number, is_taxable, amount) FROM STDIN WHERE is_taxable '
     'AND invoices.amount > 5', [b'w1\tt\t5\nw2\tt\t6\nw3\tf\t7\n']),
    ('COPY invoices (number, is_taxable) FROM STDIN', [b'g\tt\nh\tmaybe\n']),
    ('COPY invoices (number, is_taxable) FROM STDIN', [b'g\tt\nn1\tf\n']),
    ('COPY invoices (number, is_taxable) FROM STDIN', [b'g\tt\nh\t\\N\n']),
    ('COPY invoices (number, is_taxable, is_tax_inclusive) FROM STDIN',
     [b'g\tt\t\\N\n']),
    ('COPY invoices (number) FROM STDIN', [b'g\n']),
    ('COPY invoices (number, is_taxable, amount) FROM STDIN',
     [b'g\tt\t-1\n']),
    ('COPY invoices (number, is_taxable) FROM STDIN', [b'much too long\tt\n']),
    ('COPY invoices (number, tax_type) FROM STDIN', [b'g\tno_tax\n']),
    ('COPY invoices (number, is_taxable) FROM STDIN', [b'g\tt\n', None]),
]


def same_copies(postgres, proxy, databases, table, copies):
    direct = harness.Wire(postgres.port, dbname=databases[0])
    through = harness.Wire(proxy.port, dbname=databases[1])
    for n, (sql, data) in enumerate(copies, 1):
        same_sequences(postgres, n, *databases)
        expected = comparable(copy_once(direct, sql, data))
        assert comparable(copy_once(through, sql, data)) == expected, sql
        for wire in (direct, through):
            wire.query('BEGIN')
        assert comparable(copy_once(through, sql, data)) == comparable(
            copy_once(direct, sql, data)), sql
        for wire in (direct, through):
            wire.query('ROLLBACK')
        assert rows(through, table) == rows(direct, table), sql
    for wire in (direct, through):
        wire.close()


def same_models(proxy, migration, phase):
    if phase in ('dual_write', 'read_new', 'write_new'):
        result = proxy.verify(migration)
        assert (result['missing'], result['extra'], result['different']) == (
            0, 0, 0), result


@pytest.mark.parametrize('phase', shop.PHASES)
def test_copy_gives_what_it_gives_direct(postgres, start_proxy, phase):
    postgres.create_database('copy_direct', TABLE)
    database = f'copy_{phase}'
    postgres.create_database(database, TABLE)
    proxy = start_proxy(postgres, shop.spec(database))
    proxy.advance('inovices_typo', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    same_copies(postgres, proxy, ('copy_direct', database), 'inovices', COPIES)
    same_models(proxy, 'inovices_typo', phase)


def test_copy_of_one_table_with_two_shapes(postgres, start_proxy):
    test_s3.make(postgres, 'copy_columns')
    proxy = start_proxy(postgres, test_s3.spec('copy_columns'))
    for move in (*shop.PHASES[:6], 'back', *shop.PHASES[5:]):
        if move == 'back':
            proxy.rollback('tax_type')
        elif move != 'planned':
            proxy.advance('tax_type', move)
        postgres.execute(
            "DELETE FROM invoices WHERE id NOT IN (SELECT generate_series(1,"
            " 200))", 'copy_columns')
        test_s3.make(postgres, 'copy_bills')
        postgres.execute('DELETE FROM invoices WHERE id > 200', 'copy_bills')
        same_copies(postgres, proxy, ('copy_bills', 'copy_columns'),
                    'invoices', BILLS)
        same_models(proxy, 'tax_type', proxy.phase('tax_type'))


def test_copy_by_messages_and_in_a_string(postgres, start_proxy):
    postgres.create_database('copy_messages', TABLE)
    proxy = start_proxy(postgres, shop.spec('copy_messages'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new',
                  'write_new')
    wire = harness.Wire(proxy.port, dbname='copy_messages')
    wire.raw(harness.parse('COPY inovices (customr) FROM STDIN') +
             harness.bind([]) + harness.describe() + harness.execute() +
             harness.FLUSH)
    assert wire.until('G')[-1][1] == struct.pack('!bhh', 0, 1, 0)
    wire.send('d', b'one\ntwo\n')
    wire.raw(message('c') + harness.SYNC)
    assert ('C', b'COPY 2\0') in wire.until('Z')
    wire.send('Q', b'DELETE FROM inovices WHERE customr = \'one\'; COPY '
              b'inovices (customr) FROM STDIN; SELECT count(*) FROM inovices\0')
    wire.until('G')
    wire.send('d', b'three\n')
    wire.send('c')
    got = wire.until('Z')
    assert [b for k, b in got if k == 'C'] == [b'COPY 1\0', b'SELECT 1\0']
    # new shape
    wire.send('Q', b'COPY invoices (customer, amount_cents) FROM STDIN\0')
    wire.until('G')
    wire.send('d', b'four\t400\n')
    wire.send('c')
    assert ('C', b'COPY 1\0') in wire.until('Z')
    assert wire.query("SELECT amount FROM inovices WHERE customr = 'four'")[1][
        1].endswith(b'4')
    result = proxy.verify('inovices_typo')
    assert (result['missing'], result['extra'], result['different']) == (
        0, 0, 0), result
    wire.close()


def test_copy_needs_the_clients_own_rights(postgres, start_proxy):
    postgres.create_database('copy_rights', TABLE)
    postgres.execute('''
DO $$ BEGIN CREATE ROLE copier; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
ALTER ROLE copier LOGIN; ALTER ROLE reader LOGIN;
GRANT INSERT, SELECT ON inovices TO copier; GRANT SELECT ON inovices TO reader
''', 'copy_rights')
    proxy = start_proxy(postgres, shop.spec('copy_rights'))
    for phase in shop.PHASES[1:]:
        proxy.advance('inovices_typo', phase)
        for user, sqlstate in (('copier', None), ('reader', '42501')):
            wire = harness.Wire(proxy.port, dbname='copy_rights', user=user)
            got = copy_once(wire, 'COPY inovices (customr) FROM STDIN',
                            [phase.encode() + b'\n'])
            errors = [b['C'] for k, b in got if k == 'E']
            assert errors == ([sqlstate] if sqlstate else []), (phase, user)
            wire.close()


def test_a_cancelled_copy_leaves_nothing(postgres, start_proxy):
    postgres.create_database('copy_cancel', TABLE)
    proxy = start_proxy(postgres, shop.spec('copy_cancel'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    with proxy.connect('copy_cancel') as c:
        with pytest.raises(Exception) as e:
            with c.cursor().copy('COPY inovices (customr) FROM STDIN') as copy:
                copy.write('gone\n')
                c.cancel()
        assert e.value.sqlstate == '57014'
        assert c.execute("SELECT count(*) FROM inovices WHERE customr = "
                         "'gone'").fetchone() == (0,)
    assert proxy.verify('inovices_typo')['extra'] == 0


# The same for a table of which a column becomes another table's rows.
STAFF = [
    ('COPY employees (name, store_id) FROM STDIN', [b'ann\t1\nbob\t\\N\n']),
    ('COPY employees FROM STDIN', [b'2901\tc\t3\t5\n2902\td\t\\N\t6\n']),
    ('COPY public.employees (store_id, name) FROM STDIN (FORMAT csv)',
     [b'4,"e, f"\n,g\n']),
    ('COPY employees (id, name, store_id) FROM STDIN (FORMAT binary)',
     [HEADER, tuple_of(struct.pack('!i', 2903), b'bin', struct.pack('!i', 7)),
      tuple_of(struct.pack('!i', 2904), b'ary', None), b'\xff\xff']),
    ('COPY employees (name, store_id) FROM STDIN WHERE store_id > 5 AND '
     "employees.name <> 'no'", [b'a\t5\nb\t6\nno\t7\nc\t8\n']),
    ('COPY employees (name) FROM STDIN', [b'h\n']),
    ('COPY employees (name, store_id) FROM STDIN', [b'h\t1\ni\tmany\n']),
    ('COPY employees (name, store_id) FROM STDIN', [b'h\t1\n\\N\t1\n']),
    ('COPY employees (id, name, store_id) FROM STDIN', [b'1\th\t1\n']),
    ('COPY employees (name, store_id) FROM STDIN', [b'h\t1\n', None]),
    ('COPY employees (name, shop_id) FROM STDIN', [b'h\t1\n']),
]


def test_copy_fills_the_child_table(postgres, start_proxy):
    proxy = start_proxy(postgres, test_s0.make(postgres, 'copy_child', 60))
    for move in (*test_s0.ALL[:5], 'back', *test_s0.ALL[4:]):
        if move == 'back':
            proxy.rollback(test_s0.M)
            proxy.walked(test_s0.M)
        else:
            proxy.advance(test_s0.M, move)
        postgres.execute('DELETE FROM employees WHERE id > 60', 'copy_child')
        test_s0.make(postgres, 'copy_staff', 60)
        same_copies(postgres, proxy, ('copy_staff', 'copy_child'),
                    'employees', STAFF)
        same_models(proxy, test_s0.M, proxy.phase(test_s0.M))


def test_copy_of_the_child_tables_own_rows(postgres, start_proxy):
    proxy = start_proxy(postgres, test_s0.make(postgres, 'copy_rows', 30))
    proxy.advance(test_s0.M, *test_s0.ALL[:4])
    for n, phase in enumerate(test_s0.ALL[3:], 1):
        if phase != 'write_new':
            proxy.advance(test_s0.M, phase)
        wire = harness.Wire(proxy.port, dbname='copy_rows',
                            options='-c pgtandem.shape=new')
        wire.query(f"INSERT INTO employees VALUES (100{n}, 'x', 4)")
        got = copy_once(wire, 'COPY employeestores FROM STDIN',
                        [b'100%d\t9\n100%d\t6\n' % (n, n)])
        assert ('C', b'COPY 2\0') in got, got
        got = copy_once(wire, 'COPY employees FROM STDIN',
                        [b'200%d\tnew\t6\n' % n])
        assert ('C', b'COPY 1\0') in got, got
        wire.close()
        with proxy.connect('copy_rows') as c:
            assert c.execute(
                'SELECT store_id FROM employees WHERE id IN (%s, %s)'
                ' ORDER BY id', (1000 + n, 2000 + n)).fetchall() == [
                    (6,), (None,)]
        same_models(proxy, test_s0.M, proxy.phase(test_s0.M))

"""Where a result's columns come from: RowDescription's table and column
number, which drivers make statements of, are the old relation's in every
phase."""

import struct

import pytest

import harness
import shop
from test_differential import FIXED

QUERIES = [
    'SELECT * FROM inovices',
    'SELECT amount FROM inovices',
    'SELECT i.amount AS a, i.id, i.amount + 1, phone FROM inovices i',
    'SELECT public.inovices.amount FROM public.inovices',
    'TABLE inovices',
    'SELECT i FROM inovices i',
    'SELECT i.* FROM inovices AS i (a, b, c)',
    'SELECT c, b FROM inovices AS i (a, b, c)',
    'SELECT *, phone FROM inovices i JOIN payments p ON p.inovice = i.id',
    'SELECT p.*, i.amount FROM payments p JOIN inovices i ON i.id = p.id',
    'SELECT p.*, i.*, p.* FROM payments p JOIN inovices i ON i.id = p.id',
    'SELECT p.*, i.phone, q.* FROM payments p, inovices i, payments q',
    'SELECT p.amount, i.amount FROM payments p, inovices i',
    'SELECT * FROM payments p JOIN inovices i USING (id)',
    'SELECT * FROM inovices i JOIN payments p USING (id, amount)',
    'SELECT * FROM inovices i LEFT JOIN payments p USING (amount)',
    'SELECT * FROM payments p RIGHT JOIN inovices i USING (amount)',
    'SELECT * FROM payments p LEFT JOIN inovices i USING (amount)',
    'SELECT * FROM inovices i FULL JOIN payments p USING (amount)',
    'SELECT id, amount FROM inovices i JOIN payments p USING (id, amount)',
    'SELECT i.id, i.amount, p.amount FROM inovices i JOIN payments p'
    ' USING (id, amount)',
    'SELECT * FROM inovices NATURAL JOIN payments',
    'SELECT phone, id FROM inovices NATURAL JOIN payments',
    'SELECT j.* FROM (inovices i CROSS JOIN (SELECT 1 AS one) o) AS j',
    'SELECT j.amount, j.x FROM (inovices i JOIN (SELECT 1 AS id, 2 AS y) o'
    ' USING (id)) AS j (x)',
    'SELECT a.amount, b.amount FROM inovices a, inovices b',
    'SELECT x.amount, y FROM (SELECT id + 1 AS y, * FROM inovices) x',
    'SELECT n, * FROM (SELECT amount AS n, phone FROM inovices'
    ' GROUP BY 1, 2) x',
    'SELECT * FROM (SELECT DISTINCT ON (customr) amount, customr FROM'
    ' inovices ORDER BY customr) x',
    'WITH w AS (SELECT * FROM inovices) SELECT amount, w.* FROM w',
    'WITH w(a, b, c) AS (SELECT * FROM inovices), v AS (SELECT b, c FROM w)'
    ' SELECT c AS d, b FROM v AS u',
    'WITH inovices AS (SELECT 1 AS id, 2 AS amount) SELECT * FROM inovices',
    'WITH RECURSIVE w AS (SELECT id, amount FROM inovices UNION ALL'
    ' SELECT id, amount FROM w WHERE false) SELECT * FROM w',
    'SELECT amount FROM inovices UNION SELECT amount FROM payments',
    'SELECT amount FROM inovices UNION ALL SELECT amount FROM inovices',
    'SELECT (SELECT amount FROM inovices LIMIT 1), max(amount) FROM inovices',
    'SELECT amount, count(*) FROM inovices GROUP BY amount',
    'SELECT amount, sum(id) OVER () FROM inovices',
    'SELECT (i).amount, (amount), coalesce(amount, 1), amount::bigint,'
    ' customr FROM inovices i',
    'SELECT p.id, l.amount, l.* FROM payments p, LATERAL (SELECT amount,'
    ' phone, p.id AS pid, inovice FROM inovices WHERE id = p.inovice) l',
    'SELECT l.* FROM inovices i, LATERAL (SELECT amount, inovice, phone FROM'
    ' payments) l',
    'SELECT l.* FROM inovices i, LATERAL (SELECT phone FROM payments) l',
    'SELECT g, amount FROM inovices, generate_series(1, 2) g',
    'SELECT g.*, i.*, h.* FROM inovices i, generate_series(1, 2) g,'
    ' generate_series(1, 2) h',
    'SELECT v.*, amount FROM inovices, (VALUES (1, 2)) v',
    'SELECT id, amount FROM inovices FOR UPDATE',
    'SELECT amount FROM ONLY inovices TABLESAMPLE SYSTEM (100)',
    'SELECT amount, phone FROM inovices WHERE amount = 7 ORDER BY id',
    'SELECT id, sum(amount) FROM inovices GROUP BY id',
    "INSERT INTO inovices (customr, amount) VALUES ('z', 1) RETURNING *",
    "INSERT INTO inovices (customr, amount) VALUES ('z', 1)"
    ' RETURNING amount AS a, id + 1, inovices.phone',
    "INSERT INTO inovices AS x (id, customr, amount) VALUES (1, 'z', 1)"
    ' ON CONFLICT (id) DO UPDATE SET amount = 2 RETURNING x.*, amount',
    'UPDATE inovices SET amount = 2 WHERE id = 1 RETURNING *',
    'UPDATE inovices SET id = 1000 WHERE id = 2 RETURNING id, amount',
    'UPDATE inovices i SET amount = 2 FROM payments p WHERE p.id = i.id'
    ' RETURNING *, i.amount, p.amount',
    'UPDATE payments p SET amount = 2 FROM inovices i WHERE p.id = i.id'
    ' RETURNING p.*, i.amount, i.*',
    'DELETE FROM inovices WHERE id = 3 RETURNING amount, inovices.*',
    'DELETE FROM inovices USING payments p WHERE p.id = inovices.id'
    ' RETURNING p.id, phone',
    "WITH w AS (INSERT INTO inovices (customr, amount) VALUES ('y', 1)"
    ' RETURNING *) SELECT w.amount, w.* FROM w',
    'WITH w AS (DELETE FROM inovices RETURNING amount, id) SELECT * FROM w',
    'PREPARE p AS SELECT * FROM inovices WHERE id = 4; EXECUTE p',
    'SELECT 1 AS amount; SELECT amount FROM inovices; SELECT amount FROM'
    ' payments',
]


# Which table a row is of, told by the row itself.
TABLEOIDS = [
    'SELECT tableoid::regclass, id FROM inovices ORDER BY id LIMIT 2',
    'SELECT i.tableoid::regclass, * FROM inovices i ORDER BY id LIMIT 2',
    'SELECT p.tableoid::regclass, i.tableoid::regclass FROM payments p LEFT'
    ' JOIN inovices i ON i.id = p.id + 99 ORDER BY p.id',
    "SELECT count(*) FROM inovices WHERE tableoid = 'inovices'::regclass",
    'SELECT DISTINCT tableoid::regclass FROM inovices',
]


class Side:
    def __init__(self, server, port, database):
        self.wire = harness.Wire(port, dbname=database)
        self.server, self.database = server, database
        self.names = {0: None}

    def table(self, oid):
        if oid not in self.names:
            self.names[oid] = self.server.execute(
                f'SELECT {oid}::regclass::text', self.database)[0][0]
        return self.names[oid]

    def columns(self, body):
        at, got = 2, []
        for _ in range(int.from_bytes(body[:2], 'big')):
            end = body.index(b'\0', at)
            oid, number = struct.unpack('!Ih', body[end + 1:end + 7])
            got.append((body[at:end].decode(), self.table(oid), number))
            at = end + 19
        return got

    def seen(self, messages):
        return [self.columns(b) if k == 'T' else
                harness.error_fields(b)['M'] for k, b in messages
                if k in 'TE']

    def run(self, sql):
        self.wire.query('BEGIN')
        got = self.seen(self.wire.query(sql))
        self.wire.query('ROLLBACK; DEALLOCATE ALL')
        if ';' not in sql:
            self.wire.raw(harness.parse(sql) + harness.describe('S') +
                          harness.bind() + harness.describe('P') +
                          harness.SYNC)
            got += self.seen(self.wire.until('Z'))
        return got


    def rows(self, sql):
        return [b for k, b in self.wire.query(sql) if k in 'DE']


def compare(direct, through, queries):
    wrong = []
    for sql in queries:
        expected, got = direct.run(sql), through.run(sql)
        if expected != got:
            wrong.append(f'{sql}\n  direct:  {expected}\n  through: {got}')
    return wrong


@pytest.mark.parametrize('phase', shop.PHASES)
def test_columns_come_from_the_old_table(postgres, start_proxy, phase):
    database = f'origins_{phase}'
    for name in database, 'origins_direct':
        shop.make(postgres, name)
        postgres.execute(FIXED, name)
    proxy = start_proxy(postgres, shop.spec(database))
    proxy.advance('inovices_typo', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    direct = Side(postgres, postgres.port, 'origins_direct')
    through = Side(postgres, proxy.port, database)
    wrong = compare(direct, through,
                    QUERIES + ['SELECT tableoid AS t, id FROM inovices'])
    if wrong:
        pytest.fail('\n'.join(wrong), pytrace=False)
    for sql in TABLEOIDS:
        assert through.rows(sql) == direct.rows(sql), sql


STAFF = '''
CREATE TABLE stores (id int PRIMARY KEY, city text);
CREATE TABLE employees (id int PRIMARY KEY, name text, store_id int);
INSERT INTO employees VALUES (1, 'ann', 3), (2, 'bob', NULL);
'''
MOVED = '''
migration: moved
database: {database}
quiet_for: 1h
lenses:
  - kind: child
    old: public.employees
    key: [id]
    columns: [store_id]
    new:
      table: public.employeestores
      parent: {{employee_id: id}}
      columns: {{store_id: store_id}}
      when: store_id IS NOT NULL
'''
MOVED_QUERIES = [
    'SELECT * FROM employees', 'SELECT e.*, store_id FROM employees e',
    'SELECT * FROM stores NATURAL JOIN employees',
    'SELECT (e).* FROM employees e', 'SELECT (e).store_id FROM employees e',
    'SELECT (e).*, 1 FROM stores JOIN employees e USING (id)',
]


@pytest.mark.parametrize('phase', ['dual_write', 'read_new', 'write_new',
                                   'new_only'])
def test_columns_that_moved_come_from_the_old_table(postgres, start_proxy,
                                                    phase):
    database = f'moved_{phase}'
    for name in database, 'moved_direct':
        postgres.create_database(name, STAFF)
    proxy = start_proxy(postgres, {'moved.yaml': MOVED.format(
        database=database)})
    proxy.advance('moved', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    wrong = compare(Side(postgres, postgres.port, 'moved_direct'),
                    Side(postgres, proxy.port, database), MOVED_QUERIES)
    if wrong:
        pytest.fail('\n'.join(wrong), pytrace=False)


SHOP = '''
CREATE TABLE customers (id integer PRIMARY KEY, small smallint, nam text);
CREATE TABLE orders (id bigint PRIMARY KEY, small integer, what text);
'''
TWO = '''
migration: two
database: {database}
quiet_for: 1h
lenses:
  - kind: table
    old: public.customers
    new: public.buyers
    key: [id]
    columns: [{{old: nam, new: name}}]
  - kind: table
    old: public.orders
    new: public.sales
    key: [id]
    columns:
      - old: small
        new: {{name: large, type: bigint}}
        forward: (small * 2)::bigint
        reverse: (large / 2)::integer
'''


@pytest.mark.parametrize('phase', ['dual_write', 'read_new', 'contracted'])
def test_merged_columns_of_two_types_come_from_the_wider(postgres, start_proxy,
                                                         phase):
    database = f'two_types_{phase}'
    for name in database, 'two_types_direct':
        postgres.create_database(name, SHOP)
    proxy = start_proxy(postgres, {'two.yaml': TWO.format(database=database)})
    proxy.advance('two', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    wrong = compare(
        Side(postgres, postgres.port, 'two_types_direct'),
        Side(postgres, proxy.port, database),
        [f'SELECT {what} FROM {left} {kind} JOIN {right}{using}'
         for what in ('*', 'id', 'small')
         for left, right in (('customers', 'orders'), ('orders', 'customers'))
         for kind, using in (('', ' USING (id, small)'),
                             ('LEFT', ' USING (id, small)'),
                             ('RIGHT', ' USING (id, small)'),
                             ('FULL', ' USING (id, small)'),
                             ('NATURAL', ''), ('NATURAL LEFT', ''))])
    if wrong:
        pytest.fail('\n'.join(wrong), pytrace=False)

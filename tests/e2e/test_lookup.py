"""Conditions on a converted column use the new column's index, in every phase
that reads from the new model, and find what they find direct."""

import re

import psycopg
import pytest

import shop

ROWS = 100_000

TABLE = f'''
CREATE TABLE items (id integer PRIMARY KEY, amount integer, phone text,
                    mark char(4), note text);
CREATE TABLE orders (id integer PRIMARY KEY, amount integer, wide bigint,
                     rough float8, phone text, spelled text COLLATE "C");
INSERT INTO items SELECT g, CASE WHEN g % 1000 <> 7 THEN g / 2 - 10 END,
    CASE WHEN g % 1000 <> 8 THEN '0' || g / 3 END,
    CASE WHEN g % 1000 <> 9 THEN 'm' || g % 1000 END, 'note ' || g
    FROM generate_series(1, {ROWS}) g;
INSERT INTO orders SELECT g, g, g, g, '0' || g, '0' || g
    FROM generate_series(1, 20) g;
INSERT INTO orders VALUES (21, NULL, 99999999999, 'nan', 'x', 'x'),
    (22, 2147483647, -1, 1e300, '', '');
CREATE INDEX items_amount ON items (amount);
CREATE INDEX items_phone ON items (phone);
CREATE INDEX items_mark ON items (mark);
ANALYZE;
'''

SPEC = '''
migration: items
database: {database}
lenses:
  - kind: {kind}
    {tables}
    key: [id]
    columns:
      - old: amount
        new: {{name: cents, type: bigint}}
        forward: (amount * 100)::bigint
        reverse: (cents / 100)::integer
        bijective: true
        order: preserving
      - old: phone
        new: {{name: number, type: varchar(20)}}
        forward: "'+49' || substr(phone, 2)"
        reverse: "'0' || substr(number, 4)"
        bijective: true
      - old: mark
        new: {{name: tag, type: text}}
        forward: upper(mark)
        reverse: lower(tag)
        bijective: true
'''

# Statements, their parameters, and whether an index must be used.
LOOKUPS = [
    ('SELECT * FROM items WHERE amount = 500 ORDER BY id', (), True),
    ('SELECT i.*, o.id FROM items i, orders o WHERE i.amount = 500 AND '
     'o.id = 1 ORDER BY 1', (), True),
    ("SELECT id FROM items WHERE amount = '500' ORDER BY id", (), True),
    ('SELECT id FROM items WHERE amount = 500.0 ORDER BY id', (), True),
    ('SELECT id FROM items WHERE amount = 500.5 ORDER BY id', (), True),
    ('SELECT id FROM items WHERE amount = 99999999999', (), True),
    ('SELECT id FROM items WHERE amount = 2147483647', (), True),
    ('SELECT id FROM items WHERE amount = 5e2::float8 ORDER BY id', (), False),
    ('SELECT id FROM items WHERE amount = %s ORDER BY id', (500,), True),
    ('SELECT id FROM items WHERE amount = %s ORDER BY id', (2 ** 40,), True),
    ('SELECT id FROM items WHERE amount = %s ORDER BY id', ('500',), True),
    ('SELECT id FROM items WHERE amount = %s ORDER BY id', (500.0,), False),
    ('SELECT id FROM items WHERE amount = %s', (None,), False),
    ('SELECT id FROM items WHERE amount IN (1, 2, 3, -9, NULL) ORDER BY id',
     (), True),
    ("SELECT id FROM items WHERE amount IN ('1', '2') ORDER BY id", (), True),
    ('SELECT id FROM items WHERE amount IN (1, 2.5, 99999999999, 2147483647)'
     ' ORDER BY id', (), True),
    ('SELECT id FROM items WHERE amount = ANY(%s) ORDER BY id',
     ([1, 2, 500],), True),
    ('SELECT id FROM items WHERE amount = ANY(%s) ORDER BY id',
     ([1, None, 2 ** 40],), True),
    ('SELECT id FROM items WHERE amount = ANY(%s) ORDER BY id', ([],), False),
    ('SELECT id FROM items WHERE amount IS NULL ORDER BY id', (), True),
    ('SELECT amount FROM items ORDER BY amount LIMIT 5', (), True),
    ('SELECT amount, 1 FROM items i ORDER BY i.amount DESC LIMIT 300', (),
     True),
    ('SELECT amount FROM items ORDER BY 1 OFFSET 10 LIMIT 5', (), True),
    ('SELECT amount FROM items ORDER BY amount DESC NULLS LAST, id LIMIT 5',
     (), False),
    ('SELECT amount::text FROM items ORDER BY amount LIMIT 5', (), False),
    ('SELECT * FROM items WHERE amount = 77 ORDER BY amount, id LIMIT 1', (),
     True),
    ('SELECT count(*) FROM items ORDER BY amount LIMIT 1', (), False),
    ("SELECT * FROM items WHERE phone = '01234' ORDER BY id", (), True),
    ("SELECT id FROM items WHERE phone = '01234 ' ORDER BY id", (), True),
    ("SELECT id FROM items WHERE phone = %s ORDER BY id", ('01234',), True),
    ("SELECT id FROM items WHERE phone IN ('01', '02', %s) ORDER BY id",
     ('x',), True),
    ("SELECT id FROM items WHERE phone IN ('01', '" + 'x' * 100 + "') "
     'ORDER BY id', (), True),
    ("SELECT count(*) FROM items WHERE mark = 'm5'", (), True),
    ("SELECT count(*) FROM items WHERE mark = 'm5  '", (), True),
    ("SELECT count(*) FROM items WHERE mark = 'm5x and more'", (), True),
    ("SELECT count(*) FROM items WHERE mark = 'm5'::text", (), False),
    ('SELECT i.id, o.id FROM items i JOIN orders o ON o.amount = i.amount '
     'ORDER BY 1, 2', (), True),
    ('SELECT i.id, o.id FROM orders o LEFT JOIN items i ON i.amount = o.wide '
     'ORDER BY 1, 2', (), True),
    ('SELECT i.id, o.id FROM items i JOIN orders o ON i.amount = o.rough '
     'ORDER BY 1, 2', (), False),
    ('SELECT i.id, o.id FROM items i JOIN orders o ON i.phone = o.phone '
     'ORDER BY 1, 2', (), True),
    ('SELECT i.id, o.id FROM items i JOIN orders o ON i.phone = o.spelled '
     'ORDER BY 1, 2', (), False),
    ('SELECT a.id, b.id FROM items a JOIN items b ON a.amount = b.amount '
     'WHERE a.id IN (100, 200, 300) ORDER BY 1, 2', (), True),
    ('SELECT o.id FROM orders o WHERE EXISTS (SELECT FROM items i WHERE '
     'i.amount = o.amount + 1) ORDER BY 1', (), True),
]

WRITES = [
    ('UPDATE items SET note = %s WHERE amount = 501 RETURNING *', ('x',)),
    ('UPDATE items SET amount = amount + 1 WHERE amount = ANY(%s)',
     ([601, 602],)),
    ('UPDATE items i SET note = o.id FROM orders o WHERE i.amount = o.amount '
     'RETURNING i.id, o.id', ()),
    ('DELETE FROM items i USING orders o WHERE i.amount = o.amount AND '
     'o.id < 5', ()),
    ("DELETE FROM items WHERE phone = '0777'", ()),
]

KINDS = {
    'table': ('old: public.items\n    new: public.things', 'things'),
    'columns': ('table: public.items', 'items'),
}

PHASES = ('read_new', 'write_new', 'new_only', 'contracted')


def run(connection, statement, params):
    try:
        cursor = connection.execute(statement, params, prepare=True)
        rows = cursor.fetchall() if cursor.description else None
        return cursor.statusmessage, rows
    except psycopg.Error as e:
        return e.sqlstate


def has_seq_scan(connection, statement, params, relation):
    cursor = psycopg.ClientCursor(connection)
    plan = '\n'.join(
        row[0] for row in cursor.execute('EXPLAIN ' + statement, params))
    return bool(re.search(rf'Seq Scan on {relation}\b', plan)), plan


def everything(connection):
    connection.execute('SET enable_parallel_hash = off')
    seen = []
    for mode in ('force_custom_plan', 'force_generic_plan'):
        connection.execute(f'SET plan_cache_mode = {mode}')
        seen += [(s, p, run(connection, s, p)) for s, p, _ in LOOKUPS]
    connection.execute('BEGIN')
    seen += [(s, p, sort(run(connection, s, p))) for s, p in WRITES]
    seen.append(run(connection, 'SELECT * FROM items WHERE amount < 700 '
                    'ORDER BY id', ()))
    connection.execute('ROLLBACK')
    return seen


def sort(outcome):
    if isinstance(outcome, str) or outcome[1] is None:
        return outcome
    return outcome[0], sorted(outcome[1])


@pytest.fixture(scope='module')
def direct(postgres):
    postgres.create_database('lookup_direct', TABLE)
    with postgres.connect('lookup_direct') as c:
        return everything(c)


@pytest.mark.parametrize('kind', KINDS)
def test_the_new_columns_index_finds_what_the_old_one_did(
        postgres, start_proxy, direct, kind):
    database = 'lookup_' + kind
    tables, relation = KINDS[kind]
    postgres.create_database(database, TABLE)
    proxy = start_proxy(postgres, {'items.yaml': SPEC.format(
        database=database, kind=kind, tables=tables)})
    for phase in shop.PHASES[1:]:
        proxy.advance('items', phase)
        if phase not in PHASES:
            continue
        postgres.execute(f'VACUUM ANALYZE {relation}', database)
        with proxy.connect(database) as c:
            for got, expected in zip(everything(c), direct):
                assert got == expected, phase
            for statement, params, indexed in LOOKUPS:
                if not indexed:
                    continue
                scans, plan = has_seq_scan(c, statement, params, relation)
                assert not scans, (phase, statement, plan)
            if phase in ('new_only', 'contracted'):
                for statement, params in WRITES:
                    scans, plan = has_seq_scan(c, statement, params, relation)
                    assert not scans, (phase, statement, plan)

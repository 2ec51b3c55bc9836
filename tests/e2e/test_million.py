"""On a table of a million rows a statement of the old shape is planned as the
same statement written by hand against the new table."""

import pytest

import shop

ROWS = 1_000_000

TABLE = '''
CREATE TABLE items (id integer PRIMARY KEY, amount integer, phone text,
                    day date, note text);
CREATE INDEX items_amount ON items (amount);
CREATE INDEX items_phone ON items (phone);
CREATE INDEX items_day ON items (day);
CREATE TABLE few (id integer PRIMARY KEY, amount integer, phone text);
INSERT INTO few SELECT g, g * 1000, '0' || g FROM generate_series(1, 20) g;
CREATE TABLE many (id integer PRIMARY KEY, amount integer);
ALTER TABLE few SET (autovacuum_enabled = off);
ALTER TABLE many SET (autovacuum_enabled = off);
INSERT INTO many SELECT g, g FROM generate_series(1, 200000) g;
ANALYZE;
'''

SPEC = '''
migration: items
database: million
lenses:
  - kind: table
    old: public.items
    new: public.things
    key: [id]
    columns:
      - old: amount
        new: {name: cents, type: bigint}
        forward: (amount * 100)::bigint
        reverse: (cents / 100)::integer
        bijective: true
        order: preserving
      - old: phone
        new: {name: number, type: varchar(20)}
        forward: "'+49' || substr(phone, 2)"
        reverse: "'0' || substr(number, 4)"
        bijective: true
      - old: day
        new: {name: at, type: timestamp}
        forward: day::timestamp
        reverse: at::date
        bijective: true
        order: preserving
'''

# No statistics come between two plans that are compared.
FILL = f'''
ALTER TABLE things SET (autovacuum_enabled = off);
INSERT INTO things SELECT g, g * 100, '+49' || g, timestamp '2020-01-01' +
    g % 5000 * interval '1 day', 'note' FROM generate_series(1, {ROWS}) g;
VACUUM ANALYZE things;
'''

# The old shape, the new, and parameters.
PAIRS = [
    ('SELECT * FROM items WHERE amount = 500',
     'SELECT * FROM things WHERE cents = 50000', ()),
    ('SELECT id FROM items WHERE amount = %s',
     'SELECT id FROM things WHERE cents = %s::integer * 100', (500,)),
    ("SELECT id FROM items WHERE phone = '01234'",
     "SELECT id FROM things WHERE number = '+491234'", ()),
    ('SELECT id FROM items WHERE amount IN (5, 6, 7)',
     'SELECT id FROM things WHERE cents IN (500, 600, 700)', ()),
    ("SELECT id FROM items WHERE phone IN ('05', '06')",
     "SELECT id FROM things WHERE number IN ('+495', '+496')", ()),
    ('SELECT id FROM items WHERE amount = ANY(%s)',
     'SELECT id FROM things WHERE cents = ANY(%s::bigint[])', ([5, 6],)),
    ("SELECT count(*) FROM items WHERE day = '2020-05-05'",
     "SELECT count(*) FROM things WHERE at = '2020-05-05'", ()),
    ('SELECT id FROM items WHERE amount IS NULL',
     'SELECT id FROM things WHERE cents IS NULL', ()),
    ('SELECT i.id FROM few f JOIN items i ON i.amount = f.amount',
     'SELECT i.id FROM few f JOIN things i ON i.cents = f.amount * 100', ()),
    ('SELECT i.id FROM few f LEFT JOIN items i ON i.phone = f.phone',
     "SELECT i.id FROM few f LEFT JOIN things i ON i.number = '+49' || "
     'substr(f.phone, 2)', ()),
    ('SELECT id, amount FROM items ORDER BY amount LIMIT 10',
     'SELECT id, cents / 100 FROM things ORDER BY cents LIMIT 10', ()),
    ('SELECT id, amount FROM items ORDER BY amount DESC LIMIT 10',
     'SELECT id, cents / 100 FROM things ORDER BY cents DESC LIMIT 10', ()),
    ('SELECT id FROM items ORDER BY day DESC LIMIT 3',
     'SELECT id FROM things ORDER BY at DESC LIMIT 3', ()),
    ('SELECT id FROM items WHERE amount < 500',
     'SELECT id FROM things WHERE cents <= 50000', ()),
    ('SELECT id FROM items WHERE amount BETWEEN 500 AND 600.5',
     'SELECT id FROM things WHERE cents BETWEEN 50000 AND 60100', ()),
    ("SELECT id FROM items WHERE day >= '2033-09-07'",
     "SELECT id FROM things WHERE at >= '2033-09-07'", ()),
    ("SELECT id FROM items WHERE (amount, phone) = (500, '01234')",
     "SELECT id FROM things WHERE cents = 50000 AND number = '+491234'", ()),
    ('SELECT id FROM items i WHERE EXISTS (SELECT FROM few f WHERE '
     'f.amount = i.amount)',
     'SELECT id FROM things i WHERE EXISTS (SELECT FROM few f WHERE '
     'f.amount * 100 = i.cents)', ()),
    ('SELECT count(*) FROM items WHERE amount >= 1000',
     'SELECT count(*) FROM things WHERE cents >= 100000', ()),
    ('SELECT count(*) FROM items', 'SELECT count(*) FROM things', ()),
]

MODES = ('simple', 'force_custom_plan', 'force_generic_plan')
TYPES = {int: 'integer', str: 'text', list: 'integer[]'}


def nodes(plan):
    """A plan's nodes with their indexes, without their conditions."""
    return [(plan['Node Type'], plan.get('Join Type'),
             plan.get('Relation Name'), plan.get('Index Name'))] + [
        node for inner in plan.get('Plans', []) for node in nodes(inner)]


def literal(value):
    return f"'{set(value)}'" if isinstance(value, list) else repr(value)


def explain(connection, statement, params, mode):
    values = [literal(p) for p in params]
    if mode == 'simple':
        query = statement
        for value in values:
            query = query.replace('%s', value, 1)
    else:
        connection.execute(f'SET plan_cache_mode = {mode}')
        for n in range(len(params)):
            statement = statement.replace('%s', f'${n + 1}', 1)
        types = ', '.join(TYPES[type(p)] for p in params)
        connection.execute('PREPARE p' + (f'({types})' if params else '') +
                           f' AS {statement}')
        query = 'EXECUTE p' + (f"({', '.join(values)})" if params else '')
    row = connection.execute('EXPLAIN (FORMAT JSON) ' + query).fetchone()
    if mode != 'simple':
        connection.execute('DEALLOCATE p')
    return nodes(row[0][0]['Plan'])


@pytest.fixture(scope='module')
def filled(postgres):
    postgres.create_database('million', TABLE)


def test_plans_are_those_of_the_new_shape(postgres, start_proxy, filled):
    proxy = start_proxy(postgres, {'items.yaml': SPEC})
    for phase in shop.PHASES[1:6]:
        proxy.advance('items', phase)
    for statement in FILL.strip().split(';\n'):
        postgres.execute(statement, 'million')
    with proxy.connect('million') as c:
        for old, new, params in PAIRS:
            for mode in MODES:
                assert (explain(c, old, params, mode) ==
                        explain(c, new, params, mode)), (mode, old)
        joined = ('SELECT count(*) FROM items i JOIN many m '
                  'ON m.amount = i.amount')
        assert 'Gather' in (node[0] for node in explain(c, joined, (),
                                                        'simple'))

"""Several relations under migration at once: lenses of one migration, and
migrations of one database in phases of their own."""

import psycopg
import pytest

import shop
from test_differential import outcomes, same

TABLES = '''
CREATE TABLE shopers (
    id serial PRIMARY KEY, nam varchar(20) NOT NULL UNIQUE,
    credit integer NOT NULL DEFAULT 0);
CREATE TABLE purchses (
    id serial PRIMARY KEY, shoper integer NOT NULL, price integer NOT NULL,
    sold_at timestamptz NOT NULL DEFAULT '2024-02-29 12:00Z');
CREATE TABLE prices (id integer PRIMARY KEY, price integer);
INSERT INTO shopers (nam, credit)
    SELECT 'shoper ' || g, g FROM generate_series(1, 30) g;
INSERT INTO purchses (shoper, price)
    SELECT 1 + g % 30, g * 3 FROM generate_series(1, 90) g;
INSERT INTO prices SELECT g, g FROM generate_series(1, 5) g;
'''

SHOPPERS = '''\
  - kind: table
    old: public.shopers
    new: public.shoppers
    key: [id]
    columns:
      - {old: nam, new: name}
      - old: credit
        new: {name: credit_cents, type: bigint}
        forward: (credit * 100)::bigint
        reverse: (credit_cents / 100)::integer
        bijective: true
'''

PURCHASES = '''\
  - kind: table
    old: public.purchses
    new: public.purchases
    key: {id: purchase_id}
    columns:
      - {old: shoper, new: shopper_id}
      - old: price
        new: {name: price_cents, type: bigint}
        forward: (price * 100)::bigint
        reverse: (price_cents / 100)::integer
        bijective: true
'''

# Every statement changes what those behind it see.
SCRIPTS = [
    ["SELECT s.nam, sum(p.price) FROM shopers s JOIN purchses p ON p.shoper ="
     " s.id GROUP BY s.id HAVING sum(p.price) > 100 ORDER BY 1"],
    ["SELECT p.*, s.* FROM purchses p LEFT JOIN shopers s ON s.id = p.shoper"
     " AND s.credit > 20 ORDER BY p.id LIMIT 40"],
    ["SELECT * FROM shopers NATURAL JOIN purchses ORDER BY id LIMIT 3"],
    ["SELECT nam FROM shopers WHERE EXISTS (SELECT FROM purchses WHERE shoper"
     " = shopers.id AND price > 260) ORDER BY 1"],
    ["SELECT id, credit FROM shopers UNION ALL SELECT id, price FROM purchses"
     " ORDER BY 1, 2 LIMIT 9"],
    ["INSERT INTO purchses (shoper, price) SELECT id, credit + 7 FROM shopers"
     " WHERE credit < 4 RETURNING id, shoper, price"],
    ["INSERT INTO shopers (nam, credit) SELECT 'of ' || p.id, p.price FROM"
     " purchses p JOIN prices r USING (id) RETURNING nam, credit"],
    ["UPDATE shopers s SET credit = credit + p.price FROM purchses p WHERE"
     " p.shoper = s.id AND p.id = 50 RETURNING s.id, s.credit, p.price"],
    ["UPDATE purchses SET price = (SELECT credit FROM shopers WHERE id ="
     " purchses.shoper) WHERE id BETWEEN 60 AND 63 RETURNING id, price"],
    ["DELETE FROM purchses USING shopers s WHERE s.id = shoper AND s.credit ="
     " 12 RETURNING purchses.id, s.nam"],
    ["SELECT s.id, p.id FROM shopers s JOIN purchses p ON p.shoper = s.id"
     " WHERE p.price < 30 ORDER BY 1, 2 FOR UPDATE"],
    ["SELECT s.id FROM shopers s JOIN purchses p ON p.shoper = s.id"
     " WHERE p.price < 30 ORDER BY 1 FOR SHARE OF s"],
    ["UPDATE prices SET price = s.credit FROM shopers s, purchses p WHERE"
     " s.id = p.shoper AND p.id = 45 AND prices.id = 1 RETURNING prices.*"],
    ["BEGIN", "UPDATE shopers SET credit = 5 WHERE id = 20",
     "UPDATE purchses SET price = 6 WHERE id = 20",
     "SELECT s.credit, p.price FROM shopers s JOIN purchses p USING (id)"
     " WHERE id = 20", "ROLLBACK"],
    ["UPDATE shopers SET credit = 8 WHERE id = 21; DELETE FROM purchses WHERE"
     " shoper = 21; SELECT count(*) FROM shopers JOIN purchses USING (id)"],
    ["INSERT INTO shopers (id, nam) VALUES (1, 'twice')"],
    ["INSERT INTO purchses (id, shoper, price) VALUES (1, 1, 1) ON CONFLICT"
     " (id) DO UPDATE SET price = EXCLUDED.price + purchses.price"
     " RETURNING id, price"],
    ["UPDATE purchses SET price = NULL WHERE id = 2"],
    ["BEGIN", "TRUNCATE purchses, shopers", "SELECT count(*) FROM shopers",
     "SELECT count(*) FROM purchses", "ROLLBACK"],
    ["BEGIN", "TRUNCATE prices, shopers", "SELECT count(*) FROM purchses",
     "ROLLBACK"],
    ["SELECT * FROM shopers ORDER BY id"],
    ["SELECT * FROM purchses ORDER BY id"],
]


def run(connection):
    return [(s, outcomes(connection, s)) for script in SCRIPTS for s in script]


def spec(name, database, *lenses):
    return (f'migration: {name}\ndatabase: {database}\nlenses:\n' +
            ''.join(lenses))


def equal(proxy, migration):
    if proxy.phase(migration) in ('dual_write', 'read_new', 'write_new'):
        result = proxy.verify(migration)
        assert (result['missing'], result['extra'], result['different']) == (
            0, 0, 0), result
        assert result['compared'] > 30


@pytest.fixture(scope='module')
def direct(postgres):
    postgres.create_database('several_direct', TABLES)
    with postgres.connect('several_direct') as c:
        return [run(c) for _ in range(2)]


@pytest.mark.parametrize('phase', shop.PHASES)
def test_two_lenses_of_one_migration(postgres, start_proxy, direct, phase):
    database = f'lenses_{phase}'
    postgres.create_database(database, TABLES)
    proxy = start_proxy(postgres, {'m.yaml': spec('both', database, SHOPPERS,
                                                  PURCHASES)})
    proxy.advance('both', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    with proxy.connect(database) as c:
        same(direct[0], run(c))
        equal(proxy, 'both')
        if phase == 'planned' or phase == 'contracted':
            return
        proxy.rollback('both')
        if phase == 'new_only':
            proxy.walked('both')
        same(direct[1], run(c))
        equal(proxy, 'both')


STEPS = [(a, b) for a in shop.PHASES for b in shop.PHASES
         if abs(shop.PHASES.index(a) - shop.PHASES.index(b)) in (1, 4)]


@pytest.mark.parametrize('first, second', STEPS)
def test_two_migrations_in_phases_of_their_own(postgres, start_proxy, direct,
                                               first, second):
    database = f'migrations_{first}_{second}'
    postgres.create_database(database, TABLES)
    proxy = start_proxy(postgres, {
        'a.yaml': spec('first', database, SHOPPERS),
        'b.yaml': spec('second', database, PURCHASES)})
    proxy.advance('first', *shop.PHASES[1:shop.PHASES.index(first) + 1])
    proxy.advance('second', *shop.PHASES[1:shop.PHASES.index(second) + 1])
    with proxy.connect(database) as c:
        same(direct[0], run(c))
    equal(proxy, 'first')
    equal(proxy, 'second')


def test_a_relation_is_under_one_migration_at_a_time(postgres, start_proxy):
    postgres.create_database('claimed', TABLES)
    with pytest.raises(AssertionError, match='under migration twice'):
        start_proxy(postgres, {
            'a.yaml': spec('first', 'claimed', SHOPPERS),
            'b.yaml': spec('second', 'claimed', SHOPPERS)})


def test_more_tables_than_one_would_think(postgres, start_proxy):
    """Their names are more than a word has bits."""
    numbers = range(40)
    postgres.create_database('forty', ''.join(
        f'CREATE TABLE t{i} (id integer PRIMARY KEY, n integer);'
        f'INSERT INTO t{i} VALUES (1, {i});' for i in numbers))
    lenses = [f'  - {{kind: table, old: t{i}, new: u{i}, key: [id],'
              ' columns: [{old: n, new: m}]}\n' for i in numbers]
    names = [f'm{at}' for at in range(0, 40, 20)]
    proxy = start_proxy(postgres, {
        f'{name}.yaml': spec(name, 'forty', *lenses[int(name[1:]):][:20])
        for name in names})
    sums = 'SELECT ' + ' + '.join(f'(SELECT n FROM t{i})' for i in (
        0, 7, 31, 39))
    with proxy.connect('forty') as c:
        for phase in shop.PHASES[1:]:
            for name in names:
                proxy.advance(name, phase)
            before = c.execute(sums).fetchone()[0]
            for i in numbers:
                assert c.execute(
                    f'UPDATE t{i} SET n = n + 1 RETURNING n').rowcount == 1
            assert c.execute(sums).fetchone()[0] == before + 4
        with pytest.raises(psycopg.errors.UndefinedTable):
            c.execute('SELECT n FROM t40')
        c.execute('CREATE TEMP TABLE t39 (n text)')
        c.execute('INSERT INTO t39 VALUES (0)')
        assert c.execute('SELECT n FROM t39').fetchone()[0] == '0'
        assert c.execute('SELECT n FROM t38').fetchone()[0] == 38 + 6


def test_one_that_does_not_fit_yet_leaves_the_others_alone(postgres,
                                                           start_proxy):
    """In `planned` nothing rests on it: its statements pass, its moves say
    why they cannot be made, and what mends the table mends it."""
    database = 'several_unfit'
    shop.make(postgres, database)
    postgres.execute('''
CREATE TABLE goods (id integer PRIMARY KEY, price integer,
    twice integer GENERATED ALWAYS AS (price * 2) STORED);
INSERT INTO goods VALUES (1, 5)''', database)
    unfit = f'''
migration: goods
database: {database}
lenses:
  - kind: table
    old: public.goods
    new: public.articles
    key: [id]
    columns:
      - old: price
        new: {{name: cents, type: bigint}}
        forward: (price * 100)::bigint
        reverse: (cents / 100)::integer
'''
    proxy = start_proxy(postgres, {**shop.spec(database),
                                   'goods.yaml': unfit})
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    with proxy.connect(database) as c:
        assert c.execute('SELECT price, twice FROM goods').fetchall() == [
            (5, 10)]
        c.execute("INSERT INTO inovices (customr, amount) VALUES ('x', 7)")
    assert postgres.execute("SELECT amount_cents FROM invoices WHERE"
                            " customer = 'x'", database) == [(700,)]
    for command in ('SHOW PREFLIGHT goods', 'ADVANCE goods TO expanded'):
        with pytest.raises(psycopg.Error, match='twice'):
            proxy.console(command)
    assert proxy.phase('goods') == 'planned'
    postgres.execute('ALTER TABLE goods DROP COLUMN twice', database)
    proxy.advance('goods', 'expanded', 'dual_write')
    with proxy.connect(database) as c:
        c.execute('INSERT INTO goods VALUES (2, 6)')
    assert postgres.execute('SELECT cents FROM articles ORDER BY id',
                            database) == [(500,), (600,)]


def test_reload_tells_of_one_that_does_not_fit(postgres, start_proxy):
    database = 'several_reload'
    shop.make(postgres, database)
    proxy = start_proxy(postgres, shop.spec(database))
    more = proxy.dir / 'migrations' / 'more.yaml'
    more.write_text(f'''
migration: more
database: {database}
lenses: [{{kind: table, old: public.nowhere, new: public.there, key: [id]}}]
''')
    with pytest.raises(psycopg.Error, match='nowhere'):
        proxy.console('RELOAD')
    assert [row['name'] for row in proxy.console('SHOW MIGRATIONS')] == [
        'inovices_typo']

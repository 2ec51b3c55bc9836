"""Who may do what: pgtandem's own objects give nobody a right that they have
not on the old relation, and take none away."""

import psycopg
import pytest

import shop
import test_merge
import test_s0
import test_s3

ROLES = ('stranger', 'reader', 'peeper', 'inserter', 'adder', 'updater',
         'changer', 'deleter')

# Per kind: database, tables, spec, migration, relation, a column that carries
# over and one that is converted, values for an INSERT.
KINDS = {
    'table': (shop.TABLE + shop.ROWS.format(rows=20) +
              "UPDATE inovices SET created_at = '2020-01-01';", shop.SPEC,
              'inovices_typo', 'inovices', 'note', 'amount',
              "(id, customr, amount) VALUES (900, 'x', 1)"),
    'child': (test_s0.TABLES + test_s0.ROWS.format(rows=20), test_s0.SPEC,
              'many_stores', 'employees', 'name', 'store_id',
              "(id, name, store_id) VALUES (900, 'x', 1)"),
    'columns': (test_s3.TABLES, test_s3.SPEC, 'tax_type', 'invoices', 'note',
                'is_taxable',
                "(id, number, is_taxable) VALUES (900, 'x', true)"),
    'merge': (test_merge.TABLES, test_merge.SPEC, 'members', 'profiles',
              'note', 'stars', "(id, bio, stars) VALUES (900, 'x', 1)"),
}

GRANTS = '''
GRANT SELECT ON {t} TO reader;
GRANT SELECT (id, {plain}) ON {t} TO peeper;
GRANT INSERT ON {t} TO inserter;
GRANT INSERT, SELECT ON {t} TO adder;
GRANT SELECT, UPDATE ({plain}) ON {t} TO updater;
GRANT SELECT, UPDATE ({moved}) ON {t} TO changer;
GRANT SELECT, DELETE ON {t} TO deleter;
'''

STATEMENTS = [
    'SELECT * FROM {t} ORDER BY id LIMIT 2',
    'SELECT id, {plain} FROM {t} ORDER BY id LIMIT 2',
    'SELECT {moved} FROM {t} WHERE id = 35',
    'SELECT count(*) FROM {t}',
    'SELECT id FROM {t} WHERE id = 3 FOR UPDATE',
    'INSERT INTO {t} {values}',
    'INSERT INTO {t} {values} RETURNING id',
    'UPDATE {t} SET {plain} = NULL',
    'UPDATE {t} SET {plain} = {plain} WHERE id = 3',
    'UPDATE {t} SET {moved} = {moved} WHERE id = 3',
    'UPDATE {t} SET {moved} = DEFAULT',
    'UPDATE {t} SET id = id WHERE id = 3',
    'DELETE FROM {t}',
    'DELETE FROM {t} WHERE id = 3',
    'TRUNCATE {t}',
    'LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE',
]


@pytest.fixture(scope='module', autouse=True)
def roles(postgres):
    for role in ROLES:
        postgres.execute(f'''DO $$ BEGIN CREATE ROLE {role} LOGIN;
            EXCEPTION WHEN duplicate_object THEN NULL; END $$''')


@pytest.fixture(params=KINDS)
def kind(request, postgres):
    tables, spec, migration, table, plain, moved, values = KINDS[request.param]
    words = {'t': table, 'plain': plain, 'moved': moved, 'values': values}
    name = 'rights_' + request.param
    lossy = 'lossy: accept'
    if request.param == 'merge':
        text = spec.format(name)
    else:
        text = spec.format(database=name, lossy=lossy)
    for database in (name, name + '_direct'):
        postgres.create_database(database, tables + GRANTS.format(**words))
    return name, {f'{migration}.yaml': text}, migration, words


def digest(postgres, database):
    """Every row of the models, as their owner sees it."""
    with postgres.connect(database) as c:
        tables = c.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND"
            " relnamespace = 'public'::regnamespace ORDER BY 1").fetchall()
        return {t: c.execute(f'SELECT x::text FROM {t} x ORDER BY 1').fetchall()
                for t, in tables}


VALUES = {'bigint': '999999', 'text': "'1'", 'boolean': 'true', 'name': "'a'",
          'integer': '3', 'tid': "'(0,1)'", 'regclass': "'pg_class'",
          'anyelement': '1', 'oid': '1', 'jsonb': "'{}'", 'text[]': "'{a}'",
          'numeric': '1', 'smallint': '1::smallint'}

FUNCTIONS = '''
SELECT p.proname, pg_catalog.format_type(p.prorettype, NULL),
    ARRAY(SELECT pg_catalog.format_type(t, NULL)
          FROM unnest(p.proargtypes) WITH ORDINALITY AS x(t, n) ORDER BY n)
FROM pg_proc p WHERE p.pronamespace = 'pgtandem'::regnamespace'''

RELATIONS = '''
SELECT c.oid::regclass::text, (SELECT quote_ident(attname) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum = 1) FROM pg_class c
WHERE relnamespace = 'pgtandem'::regnamespace AND relkind IN ('r', 'v')'''


def attacks(postgres, database):
    """What a stranger may think of, on all that is in schema pgtandem."""
    with postgres.connect(database) as c:
        for name, returns, types in c.execute(FUNCTIONS).fetchall():
            if returns == 'trigger':
                yield f'''DROP TABLE IF EXISTS mine.t;
                    CREATE TABLE mine.t AS SELECT 3 AS id, 3 AS employee_id,
                    3 AS store_id;
                    CREATE TRIGGER t AFTER UPDATE ON mine.t FOR EACH ROW
                    EXECUTE FUNCTION pgtandem."{name}"();
                    UPDATE mine.t SET id = 777, employee_id = 777'''
                continue
            values = ', '.join(f'CAST({VALUES.get(t, "NULL")} AS {t})'
                               if t != 'anyelement' else '1' for t in types)
            yield f'SELECT pgtandem."{name}"({values})'
        for name, column in c.execute(RELATIONS).fetchall():
            yield f'SELECT * FROM {name}'
            yield f'SELECT count(*) FROM {name}'
            yield f'UPDATE {name} SET {column} = {column}'
            yield f'DELETE FROM {name}'
            yield f'INSERT INTO {name} ({column}) VALUES (DEFAULT)'


def attack(c, sql):
    """The rows that it shows."""
    try:
        cur = c.execute(sql)
    except psycopg.Error:
        return []
    while cur.nextset():
        pass
    return cur.fetchall() if cur.description else []


def test_a_stranger_reads_and_changes_nothing(postgres, start_proxy, kind):
    database, specs, migration, words = kind
    proxy = start_proxy(postgres, specs)
    postgres.execute('CREATE SCHEMA mine AUTHORIZATION stranger', database)
    for phase in shop.PHASES[1:]:
        proxy.advance(migration, phase)
        # so that a model that is no longer written has something else to say
        proxy.connect(database).execute(
            'UPDATE {t} SET {plain} = {plain} || 1 WHERE id IN (3, 35)'
            .format(**words))
        before = digest(postgres, database)
        with postgres.connect(database, user='stranger') as c:
            for sql in list(attacks(postgres, database)):
                rows = attack(c, sql)
                if sql.startswith('SELECT *'):
                    assert rows == [], (phase, sql)
                if sql.startswith('SELECT count'):
                    assert rows in ([], [(0,)]), (phase, sql)
            c.execute('DROP TABLE IF EXISTS mine.t')
        assert digest(postgres, database) == before, phase


# Whose rights do not reach the columns that pgtandem needs besides: README's
# limits.
LIMITED = {'peeper', 'inserter', 'changer'}


def outcome(c, sql):
    c.execute('BEGIN')
    try:
        cur = c.execute(sql)
        return (cur.statusmessage,
                cur.fetchall() if cur.description else None)
    except psycopg.Error as e:
        return e.sqlstate
    finally:
        c.execute('ROLLBACK')


def is_right(role, sql, got, want):
    if got == want or got == '0A000':
        return True
    # beside the other half, an INSERT into a merge's is an UPDATE
    limited = role in LIMITED or sql.startswith('INSERT INTO profiles')
    return limited and got == '42501'


def test_each_role_gets_what_it_gets_direct(postgres, start_proxy, kind):
    database, specs, migration, words = kind
    proxy = start_proxy(postgres, specs)
    wrong = []
    for phase in shop.PHASES:
        if phase != 'planned':
            proxy.advance(migration, phase)
        for role in ROLES:
            with postgres.connect(database + '_direct', user=role) as d, \
                    proxy.connect(database, user=role) as c:
                for sql in STATEMENTS:
                    sql = sql.format(**words)
                    got, want = outcome(c, sql), outcome(d, sql)
                    if not is_right(role, sql, got, want):
                        wrong.append((phase, role, sql, want, got))
    assert not wrong, '\n'.join(map(str, wrong))

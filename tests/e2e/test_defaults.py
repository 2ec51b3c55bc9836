"""Defaults, identities and types that the server's catalog says in an unusual
place."""

import psycopg
import pytest

TABLES = '''
CREATE DOMAIN three AS integer DEFAULT 3;
CREATE TABLE given (id integer PRIMARY KEY, a three, b three DEFAULT 8,
                    c three NOT NULL DEFAULT NULL, d three);
CREATE TABLE counted (id integer PRIMARY KEY, note text,
                      n integer GENERATED ALWAYS AS IDENTITY)'''
SPEC = '''
migration: {0}
database: {0}
lenses:
  - {{kind: table, old: public.given, new: public.given_new, key: [id],
     columns: [{{old: d, new: dd}}{1}]}}
  - {{kind: table, old: public.counted, new: public.counted_new, key: [id],
     columns: [{{old: note, new: notes}}]}}
'''
CONVERTED = (', {old: a, new: {name: aa, type: bigint}, forward: "a::bigint",'
             ' reverse: "aa::integer", bijective: true}')


@pytest.mark.parametrize('more', ['', CONVERTED], ids=['renamed', 'converted'])
def test_a_default_is_the_columns_and_then_its_domains(postgres, start_proxy,
                                                       more):
    name = 'defaults_converted' if more else 'defaults'
    postgres.create_database(name, TABLES)
    proxy = start_proxy(postgres, {f'{name}.yaml': SPEC.format(name, more)})
    proxy.advance(name, 'expanded', 'dual_write')
    for n, phase in enumerate(('read_new', 'write_new', 'new_only',
                               'contracted'), 1):
        proxy.advance(name, phase)
        with proxy.connect(name) as c:
            assert c.execute('INSERT INTO given (id, c) VALUES (%s, 1)'
                             ' RETURNING *', [n]).fetchall() == [
                                 (n, 3, 8, 1, 3)]
            with pytest.raises(psycopg.errors.NotNullViolation):
                c.execute('INSERT INTO given (id) VALUES (77)')
            assert c.execute(
                'UPDATE given SET a = 5, b = 5, d = 5 WHERE id = %s', [n]
            ).rowcount == 1
            assert c.execute(
                'UPDATE given SET a = DEFAULT, b = DEFAULT, d = DEFAULT'
                ' WHERE id = %s RETURNING *', [n]).fetchall() == [
                    (n, 3, 8, 1, 3)], phase


def test_an_identity_beside_the_key_is_not_changed_where_old_cannot_follow(
        postgres, start_proxy):
    name = 'counted'
    postgres.create_database(name, TABLES)
    proxy = start_proxy(postgres, {f'{name}.yaml': SPEC.format(name, '')})
    proxy.advance(name, 'expanded', 'dual_write', 'read_new')
    again = 'UPDATE counted SET n = DEFAULT RETURNING n'
    with proxy.connect(name) as c:
        c.execute('INSERT INTO counted VALUES (1)')
        assert c.execute(again).fetchall() == [(2,)]
    proxy.advance(name, 'write_new')
    with proxy.connect(name) as c:
        for write in (again, again.replace('counted', 'counted_new'),
                      'INSERT INTO counted_new VALUES (1) ON CONFLICT (id)'
                      ' DO UPDATE SET n = 7'):
            with pytest.raises(psycopg.errors.FeatureNotSupported,
                               match='always generate'):
                c.execute(write)
    result = proxy.verify(name)
    assert not (result['missing'] or result['different']), result
    proxy.advance(name, 'new_only')
    with proxy.connect(name) as c:
        assert c.execute(again).fetchall() == [(3,)]


MOVED = '''
CREATE TYPE place AS (x integer, y integer);
CREATE DOMAIN spot AS place CHECK ((VALUE).x > 0);
CREATE DOMAIN number AS integer NOT NULL DEFAULT 3;
CREATE TABLE firms (name text PRIMARY KEY);
INSERT INTO firms VALUES ('acme');
CREATE TABLE shops (id integer PRIMARY KEY, note text, here spot, n number,
                    firm text REFERENCES firms, sign text);
CREATE UNIQUE INDEX shop_signs ON shops (sign);
INSERT INTO shops VALUES (1, 'a', '(1,2)', 5, 'acme', 's')'''
SPLIT = '''
migration: moved
database: moved
lenses:
  - kind: child
    old: public.shops
    key: [id]
    columns: [here, n, firm, sign]
    new:
      table: public.places
      parent: {shop: id}
      columns: {here: here, n: n, firm: firm, label: sign}
'''
REFERRED = ('Key (name)=(acme) is still referenced from table "shops".', 'shops',
            'shops_firm_fkey')

TAKEN = ('Key (sign)=(s) already exists.', 'shops', 'shop_signs')


def test_composite_types_and_domains_that_take_no_null_move_to_a_child(
        postgres, start_proxy):
    postgres.create_database('moved', MOVED)
    proxy = start_proxy(postgres, {'moved.yaml': SPLIT})
    proxy.advance('moved', 'expanded', 'dual_write', 'read_new')
    for n, phase in enumerate(('write_new', 'new_only', 'contracted'), 2):
        proxy.advance('moved', phase)
        with proxy.connect('moved') as c:
            assert c.execute("INSERT INTO shops (id, here) VALUES (%s, '(1,1)')"
                             ' RETURNING *', [n]).fetchall() == [
                                 (n, None, '(1,1)', 3, None, None)]
            assert c.execute("UPDATE shops SET here = '(7,1)', note = 'b'"
                             ' WHERE id = %s RETURNING *', [n]).fetchall() == [
                                 (n, 'b', '(7,1)', 3, None, None)]
            assert c.execute('UPDATE shops SET n = n + 1 WHERE id = %s'
                             ' RETURNING here, n', [n]).fetchall() == [
                                 ('(7,1)', 4)]
            c.commit()
            for wrong in ("here = '(0,1)'", 'n = NULL'):
                with pytest.raises(psycopg.errors.IntegrityError):
                    c.execute(f'UPDATE shops SET {wrong} WHERE id = %s', [n])
                c.rollback()
            with pytest.raises(psycopg.errors.ForeignKeyViolation) as error:
                c.execute('DELETE FROM firms')
            diag = error.value.diag
            assert (diag.message_detail, diag.table_name,
                    diag.constraint_name) == REFERRED, phase
            c.rollback()
            with pytest.raises(psycopg.errors.UniqueViolation) as error:
                c.execute("UPDATE shops SET sign = 's' WHERE id = %s", [n])
            diag = error.value.diag
            assert (diag.message_detail, diag.table_name,
                    diag.constraint_name) == TAKEN, phase
    with proxy.connect('moved') as c:
        assert c.execute('SELECT id, here, n FROM shops ORDER BY id'
                         ).fetchall() == [(1, '(1,2)', 5), (2, '(7,1)', 4),
                                          (3, '(7,1)', 4), (4, '(7,1)', 4)]

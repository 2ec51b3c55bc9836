"""Example S0: each employee's store, a column, becomes a table of its own that
says who works where."""

import random
import threading
import time

import psycopg
import pytest

import harness

TABLES = '''
CREATE TABLE stores (id int PRIMARY KEY, city text);
INSERT INTO stores SELECT g, 'city ' || g FROM generate_series(1, 20) g;
CREATE TABLE employees (
    id serial PRIMARY KEY,
    name text NOT NULL,
    store_id int CONSTRAINT works_at REFERENCES stores,
    salary int NOT NULL DEFAULT 10);
CREATE INDEX ON employees (store_id);
'''

ROWS = '''
INSERT INTO employees (name, store_id)
SELECT 'employee ' || g, NULLIF(g % 21, 0) FROM generate_series(1, {rows}) g;
ANALYZE;
'''

SPEC = '''
migration: many_stores
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
      pick: [store_id]
'''

M = 'many_stores'
ALL = ('expanded', 'dual_write', 'read_new', 'write_new', 'new_only',
       'contracted')


def make(postgres, database, rows=100):
    postgres.create_database(database, TABLES + ROWS.format(rows=rows))
    return {'many_stores.yaml': SPEC.format(database=database)}


def in_child(postgres, database):
    return postgres.execute('SELECT * FROM employeestores ORDER BY 1, 2',
                            database)


def clean(proxy):
    counts = proxy.verify(M)
    assert counts['compared'] > 0
    assert not any(v for k, v in counts.items() if k != 'compared'), counts


def work(c, base):
    """Statements of the old shape with all that they answer."""
    got = []

    def run(sql, *values):
        cur = c.execute(sql, values)
        got.append((cur.statusmessage,
                    [(d.name, d.type_code) for d in cur.description or ()],
                    sorted(cur.fetchall(), key=repr)
                    if cur.description else None))
    run('SELECT * FROM employees WHERE id = 5')
    run('SELECT e.*, s.city FROM employees e JOIN stores s ON s.id = '
        'e.store_id WHERE e.id < 30 ORDER BY e.id')
    run('SELECT store_id, count(*) FROM employees GROUP BY store_id '
        'ORDER BY store_id')
    run("INSERT INTO employees (id, name, store_id) VALUES (%s, 'new', 3)",
        base)
    run("INSERT INTO employees (id, name) VALUES (%s, 'none'), (%s, 'nobody')"
        ' RETURNING *', base + 1, base + 2)
    run('UPDATE employees SET store_id = 7 WHERE id = %s', base + 1)
    run('UPDATE employees SET store_id = store_id + 1, salary = salary + 1 '
        'WHERE id IN (%s, 5, 6) RETURNING id, store_id, salary', base)
    run('UPDATE employees SET store_id = NULL WHERE id = 6 RETURNING *')
    run("UPDATE employees SET name = 'other' WHERE store_id = 4 "
        'RETURNING id')
    run('UPDATE employees SET store_id = s.id FROM stores s WHERE s.city = '
        "'city 9' AND employees.id = 8 RETURNING employees.*, s.id")
    run('SELECT id, store_id FROM employees WHERE store_id = 9 ORDER BY id '
        'FOR UPDATE')
    run("INSERT INTO employees (id, name, store_id) VALUES (%s, 'up', 12) "
        'ON CONFLICT (id) DO UPDATE SET store_id = EXCLUDED.store_id, '
        "name = 'upserted' RETURNING id, store_id, name", base)
    run("INSERT INTO employees (id, name, store_id) VALUES (%s, 'up', 14) "
        "ON CONFLICT (id) DO UPDATE SET name = 'kept'", base)
    run("INSERT INTO employees (id, name, store_id) VALUES (%s, 'up', 15) "
        'ON CONFLICT DO NOTHING', base)
    run('SELECT * FROM employees WHERE id = %s', base)
    run('UPDATE employees SET id = %s WHERE id = %s', base + 9, base)
    run('UPDATE employees SET id = %s WHERE id = %s RETURNING *', base,
        base + 9)
    run('UPDATE employees SET (name, store_id) = (\'pair\', 2) WHERE id = %s '
        'RETURNING *', base)
    run('UPDATE employees SET store_id = (SELECT max(id) FROM stores) '
        'WHERE id = %s RETURNING store_id', base)
    run('DELETE FROM employees WHERE id = %s RETURNING *', base)
    run('DELETE FROM employees WHERE id = 11')
    run('SELECT * FROM employees ORDER BY id')
    return got


def both(postgres, proxy, database, direct, base):
    """The same work on the migrated database and on one that is not."""
    with postgres.connect(direct) as c:
        expected = work(c, base)
    with proxy.connect(database) as c:
        got = work(c, base)
    for e, g in zip(expected, got):
        assert e == g


def test_reads_and_synced_writes(postgres, start_proxy):
    make(postgres, 's0_plain')
    proxy = start_proxy(postgres, make(postgres, 's0'))
    base = 1000
    for phase in ('planned', 'expanded', 'dual_write', 'read_new'):
        if phase != 'planned':
            proxy.advance(M, phase)
        both(postgres, proxy, 's0', 's0_plain', base)
        base += 10
        if phase in ('dual_write', 'read_new'):
            clean(proxy)
            assert in_child(postgres, 's0') == postgres.execute(
                'SELECT id, store_id FROM employees WHERE store_id IS NOT '
                'NULL ORDER BY 1', 's0')
    for phase in ('dual_write', 'expanded'):
        proxy.rollback(M)
        assert proxy.phase(M) == phase
        both(postgres, proxy, 's0', 's0_plain', base)
        base += 10
    assert in_child(postgres, 's0') == []
    proxy.rollback(M)
    assert postgres.execute("SELECT to_regclass('employeestores')",
                            's0') == [(None,)]
    both(postgres, proxy, 's0', 's0_plain', base)


def test_writes_through_the_lens(postgres, start_proxy):
    make(postgres, 's0_lens_plain')
    proxy = start_proxy(postgres, make(postgres, 's0_lens'))
    proxy.advance(M, 'expanded', 'dual_write', 'read_new')
    base = 1000
    for phase in ('write_new', 'new_only', 'write_new', 'read_new',
                  'write_new', 'new_only', 'contracted'):
        if ALL.index(phase) > ALL.index(proxy.phase(M)):
            proxy.advance(M, phase)
        else:
            proxy.rollback(M)
            if phase == 'write_new':
                proxy.walked(M)
        both(postgres, proxy, 's0_lens', 's0_lens_plain', base)
        base += 10
        if phase in ('write_new', 'read_new'):
            clean(proxy)
    expected = postgres.execute(
        'SELECT id, store_id FROM employees WHERE store_id IS NOT NULL '
        'ORDER BY 1', 's0_lens_plain')
    assert in_child(postgres, 's0_lens') == expected
    with pytest.raises(psycopg.errors.UndefinedColumn):
        postgres.execute('SELECT store_id FROM employees', 's0_lens')


def test_a_session_of_the_new_shape(postgres, start_proxy):
    """It sees employees without the column, and stores beside them."""
    proxy = start_proxy(postgres, make(postgres, 's0_new', 30))
    proxy.advance(M, 'expanded', 'dual_write', 'read_new')
    new = {'options': '-c pgtandem.shape=new'}
    with proxy.connect('s0_new', **new) as c:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            c.execute('SELECT * FROM employees')
    base = 1000
    for phase in ('write_new', 'new_only', 'contracted'):
        proxy.advance(M, phase)
        with proxy.connect('s0_new', **new) as c:
            assert c.execute('SELECT * FROM employees WHERE id = 3'
                             ).fetchall() == [(3, 'employee 3', 10)]
            with pytest.raises(psycopg.errors.UndefinedColumn):
                c.execute('SELECT store_id FROM employees')
            assert c.execute("INSERT INTO employees VALUES (%s, 'new', 5) "
                             'RETURNING *', [base]).fetchall() == [
                                 (base, 'new', 5)]
            c.execute('INSERT INTO employeestores VALUES (%s, 4)', [base])
            c.execute('UPDATE employees SET salary = 6 WHERE id = %s', [base])
            assert c.execute(
                'SELECT e.*, s.store_id FROM employees e JOIN employeestores '
                's ON s.employee_id = e.id WHERE e.id = %s', [base]
                ).fetchall() == [(base, 'new', 6, 4)]
            c.execute('DELETE FROM employees WHERE id = 4')
        with proxy.connect('s0_new') as c:
            assert c.execute('SELECT * FROM employees WHERE id = %s', [base]
                             ).fetchall() == [(base, 'new', 4, 6)]
        if phase == 'write_new':
            clean(proxy)
        base += 1


def plan(c, sql):
    return '\n'.join(r[0] for r in
                     c.execute('EXPLAIN (COSTS OFF) ' + sql).fetchall())


def test_a_condition_on_the_column_uses_the_childs_index(postgres,
                                                         start_proxy):
    proxy = start_proxy(postgres, make(postgres, 's0_plans', 20000))
    proxy.advance(M, 'expanded', 'dual_write', 'read_new')
    postgres.execute('ANALYZE', 's0_plans')
    with proxy.connect('s0_plans') as c:
        text = plan(c, 'SELECT * FROM employees WHERE store_id = 3 '
                       'AND id < 50')
        assert 'Seq Scan' not in text, text
        text = plan(c, 'SELECT * FROM employees WHERE id = 7')
        assert 'Seq Scan' not in text, text


class Crew:
    """Sessions that move, fire and hire, until they are told to stop."""

    def __init__(self, proxy, database, sessions=8):
        self.proxy, self.database = proxy, database
        self.stop, self.errors = threading.Event(), []
        self.new = threading.Event()       # may the new shape be spoken?
        self.spoken = False                # there may be several stores
        self.speaking = [False] * sessions
        self.sessions, self.done = sessions, [0] * sessions
        self.threads = [threading.Thread(target=self.run, args=(n,))
                        for n in range(sessions)]
        for t in self.threads:
            t.start()

    def old_shape(self, c, r, n):
        who, store = r.randrange(1, 60), r.randrange(1, 20)
        what = r.randrange(7)
        if what == 0:
            c.execute("INSERT INTO employees (name, store_id) VALUES "
                      "('hired', %s)", [store])
        elif what == 1:
            c.execute("DELETE FROM employees WHERE id = (SELECT max(id) FROM "
                      "employees WHERE name = 'hired')")
        elif what == 2:
            c.execute('UPDATE employees SET store_id = NULL WHERE id = %s',
                      [who])
        elif what == 3:
            with c.transaction():
                got = c.execute('SELECT store_id FROM employees WHERE id = '
                                '%s FOR UPDATE', [who]).fetchone()
                c.execute('UPDATE employees SET store_id = %s WHERE id = %s '
                          'AND store_id IS NOT DISTINCT FROM %s',
                          [store, who, got[0]])
        elif what == 4:
            got = c.execute('UPDATE employees SET store_id = %s WHERE id = '
                            '%s RETURNING store_id', [store, who]).fetchone()
            assert got in ((store,), None) or self.spoken, got
        elif what == 5:
            c.execute('UPDATE employees SET salary = salary + 1 WHERE '
                      'store_id = %s', [store])
        else:
            c.execute('UPDATE employees SET store_id = 1 + mod(store_id, '
                      '20), salary = salary + 1 WHERE id = %s', [who])

    def new_shape(self, c, r, n):
        who, store = r.randrange(1, 60), r.randrange(1, 20)
        what = r.randrange(3)
        if what == 0:
            c.execute('UPDATE employeestores SET store_id = %s WHERE '
                      'employee_id = %s', [store, who])
        elif what == 1:
            c.execute('INSERT INTO employeestores SELECT id, %s FROM '
                      'employees e WHERE id = %s AND store_id IS NULL '
                      'ON CONFLICT DO NOTHING', [store, who])
        else:
            c.execute('DELETE FROM employeestores WHERE employee_id = %s',
                      [who])

    def run(self, n):
        r = random.Random(n)
        with self.proxy.connect(self.database) as c:
            while not self.stop.is_set():
                try:
                    self.speaking[n] = True
                    if self.new.is_set() and r.random() < 0.3:
                        self.new_shape(c, r, n)
                    else:
                        self.speaking[n] = False
                        self.old_shape(c, r, n)
                    self.done[n] += 1
                except psycopg.errors.UniqueViolation:
                    pass        # two have put one into the same store
                except Exception as e:
                    self.errors.append(e)
                finally:
                    self.speaking[n] = False

    def speak_new(self, allowed):
        """Waits until nobody is in the middle of a statement."""
        if allowed:
            self.spoken = True
            self.new.set()
            return
        self.new.clear()
        while any(self.speaking):
            time.sleep(0.01)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        assert all(self.done), self.done


def single(postgres, database):
    """Employees with several stores: the first stays."""
    return postgres.execute(
        'SELECT employee_id FROM employeestores GROUP BY 1 '
        'HAVING count(*) > 1', database)


def test_eight_sessions_while_the_phases_go_forward_and_back(postgres,
                                                             start_proxy):
    proxy = start_proxy(postgres, make(postgres, 's0_crew', 60))
    crew = Crew(proxy, 's0_crew')
    try:
        for phase in ('expanded', 'dual_write', 'read_new', 'write_new',
                      'new_only', 'write_new', 'read_new', 'dual_write',
                      'read_new', 'write_new', 'new_only'):
            back = ALL.index(phase) < ALL.index(proxy.phase(M)) \
                if proxy.phase(M) in ALL else False
            if back:
                crew.speak_new(False)
                for (who,) in single(postgres, 's0_crew'):
                    with proxy.connect('s0_crew') as c:
                        c.execute(
                            'DELETE FROM employeestores WHERE employee_id = '
                            '%s AND store_id <> (SELECT min(store_id) FROM '
                            'employeestores x WHERE x.employee_id = %s)',
                            [who, who])
                proxy.rollback(M)
                if phase == 'write_new':
                    proxy.walked(M)
            else:
                proxy.advance(M, phase)
            if phase in ('write_new', 'new_only'):
                crew.speak_new(True)
            time.sleep(1.5)
            assert not crew.errors, (phase, crew.errors[:3])
            if phase in ('dual_write', 'read_new', 'write_new'):
                counts = proxy.verify(M)
                assert not any(counts[k] for k in
                               ('missing', 'extra', 'different')), (phase,
                                                                    counts)
    finally:
        crew.end()
    assert not crew.errors, crew.errors[:3]


def test_a_role_with_rights_on_the_old_relation_alone(postgres, start_proxy):
    make(postgres, 's0_role_plain', 30)
    proxy = start_proxy(postgres, make(postgres, 's0_role', 30))
    postgres.execute('DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN')
    grants = ('GRANT SELECT, INSERT, UPDATE, DELETE ON employees TO clerk; '
              'GRANT SELECT ON stores TO clerk; '
              'GRANT USAGE ON employees_id_seq TO clerk')
    postgres.execute(grants, 's0_role')
    postgres.execute(grants, 's0_role_plain')
    base = 1000
    try:
        for phase in ALL:
            proxy.advance(M, phase)
            with postgres.connect('s0_role_plain', user='clerk') as c:
                expected = work(c, base)
            with proxy.connect('s0_role', user='clerk') as c:
                assert work(c, base) == expected, phase
            base += 10
    finally:
        for database in ('s0_role', 's0_role_plain'):
            postgres.execute('DROP OWNED BY clerk', database)


def second(proxy, database, sql, first_sql):
    """What a statement gives that waits for another's transaction."""
    with proxy.connect(database, autocommit=False) as a, \
            proxy.connect(database) as b:
        a.execute(first_sql)
        got = []

        def run():
            cur = b.execute(sql)
            got.append((cur.rowcount,
                        cur.fetchall() if cur.description else None))
        waiter = threading.Thread(target=run)
        waiter.start()
        harness.wait_for(sql, lambda: proxy.postgres.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            f"AND datname = '{database}'"))
        a.commit()
        waiter.join()
        return got[0]


def test_a_statement_that_has_waited_sees_what_is_true_then(postgres,
                                                            start_proxy):
    proxy = start_proxy(postgres, make(postgres, 's0_wait', 30))
    for phase in ALL:
        proxy.advance(M, phase)
        with proxy.connect('s0_wait') as c:
            c.execute('UPDATE employees SET store_id = 3 WHERE id = 5')
            c.execute('INSERT INTO employees (id, name, store_id) VALUES '
                      "(500, 'w', 3) ON CONFLICT DO NOTHING")
        add = 'UPDATE employees SET store_id = store_id + 1 WHERE id = 5'
        assert second(proxy, 's0_wait', add + ' RETURNING store_id', add) == (
            1, [(5,)]), phase
        assert second(proxy, 's0_wait', 'SELECT store_id FROM employees '
                      'WHERE id = 5 FOR UPDATE', add) == (1, [(6,)]), phase
        assert second(proxy, 's0_wait', 'UPDATE employees SET salary = 0 '
                      'WHERE id = 5 AND store_id = 6', add)[0] == 0, phase
        assert second(proxy, 's0_wait', 'DELETE FROM employees WHERE id = '
                      '500 RETURNING store_id', 'UPDATE employees SET '
                      'store_id = 9 WHERE id = 500') == (1, [(9,)]), phase
        if phase in ('dual_write', 'read_new', 'write_new'):
            clean(proxy)


def test_an_action_that_no_child_can_take_is_refused(postgres, start_proxy):
    specs = make(postgres, 's0_actions', 10)
    action = ('ALTER TABLE employees DROP CONSTRAINT works_at, ADD CONSTRAINT '
              'works_at FOREIGN KEY (store_id) REFERENCES stores ON DELETE ')
    proxy = start_proxy(postgres, specs)
    postgres.execute(action + 'CASCADE', 's0_actions')
    with pytest.raises(psycopg.Error, match='works_at.*ON DELETE CASCADE'):
        proxy.console(f'ADVANCE {M}')
    postgres.execute(action + 'SET NULL', 's0_actions')
    proxy.advance(M, 'expanded', 'dual_write')
    proxy.walked(M)
    proxy.advance(M, 'read_new')
    with psycopg.connect(host='127.0.0.1', port=proxy.port, user='postgres',
                         dbname='s0_actions', autocommit=True) as c:
        c.execute('DELETE FROM stores WHERE id = 3')
        assert c.execute('SELECT store_id FROM employees WHERE id = 3'
                         ).fetchone() == (None,)
    clean(proxy)


def test_a_users_trigger_fires_once(postgres, start_proxy):
    """And sees the value that the column gets, as long as it is there."""
    specs = make(postgres, 's0_fires', 10)
    specs['many_stores.yaml'] = specs['many_stores.yaml'].replace(
        'quiet_for: 1h', 'quiet_for: 1h\ntriggers: ignore')
    postgres.execute('''
CREATE TABLE fired (id int, store int, was int);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
INSERT INTO fired VALUES (NEW.id, NEW.store_id, OLD.store_id); RETURN NEW;
END $$;
CREATE TRIGGER note_it BEFORE UPDATE ON employees FOR EACH ROW
EXECUTE FUNCTION note_it()''', 's0_fires')
    proxy = start_proxy(postgres, specs)
    for n, phase in enumerate(ALL[:4], 1):
        proxy.advance(M, phase)
        postgres.execute('TRUNCATE fired', 's0_fires')
        with proxy.connect('s0_fires') as c:
            for sql in ('UPDATE employees SET store_id = %s WHERE id = 3',
                        'UPDATE employees SET (store_id, salary) = (%s, 7) '
                        'WHERE id = 4 RETURNING *',
                        'INSERT INTO employees (id, name, store_id) VALUES '
                        "(5, 'x', %s) ON CONFLICT (id) DO UPDATE SET "
                        'store_id = EXCLUDED.store_id'):
                c.execute(sql, [n])
        assert postgres.execute('SELECT * FROM fired', 's0_fires') == [
            (i, n, n - 1 or i) for i in (3, 4, 5)], phase
        clean_after(proxy, phase)


def clean_after(proxy, phase):
    if phase in ('dual_write', 'read_new', 'write_new'):
        clean(proxy)


@pytest.mark.parametrize('reference', [
    '', 'REFERENCES employees', 'REFERENCES employees ON UPDATE RESTRICT',
    'REFERENCES employees ON DELETE CASCADE',
    'REFERENCES employees ON UPDATE CASCADE'])
def test_a_child_table_of_the_teams_own(postgres, start_proxy, reference):
    """Its foreign key does what the team wants of it, or there is none."""
    direct = 's0_own_plain'
    make(postgres, direct)
    specs = make(postgres, 's0_own')
    specs['many_stores.yaml'] += f'''
expand: |
  CREATE TABLE employeestores (
    store_id int NOT NULL REFERENCES stores, since timestamptz DEFAULT now(),
    employee_id int NOT NULL {reference}, PRIMARY KEY (employee_id, store_id))
'''
    proxy = start_proxy(postgres, specs)
    base = 1000
    for phase in ALL[:3] + ('write_new', 'new_only', 'write_new', 'new_only',
                            'contracted'):
        if ALL.index(phase) > ALL.index(proxy.phase(M) if base > 1000
                                        else 'expanded') or base == 1000:
            proxy.advance(M, phase)
        else:
            proxy.rollback(M)
            proxy.walked(M)
        both(postgres, proxy, 's0_own', direct, base)
        base += 10
        clean_after(proxy, phase)

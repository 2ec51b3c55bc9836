"""Two tables become one: `people` and their `profiles` are `members`."""

import concurrent.futures
import random
import re
import threading

import psycopg
import pytest

import harness
import shop
from test_differential import is_refusal, outcomes, same, without_message

TABLES = '''
CREATE TABLE people (
    id serial PRIMARY KEY,
    nam varchar(20) NOT NULL,
    email text UNIQUE,
    age integer CHECK (age IS NOT NULL AND age > 0),
    note varchar(10) DEFAULT 'none');
CREATE TABLE profiles (
    id integer PRIMARY KEY,
    bio varchar(20) NOT NULL,
    stars integer NOT NULL DEFAULT 3 CHECK (stars >= 0),
    note text);
CREATE INDEX people_nam ON people (nam);
CREATE TABLE visits (id integer PRIMARY KEY, person integer);
INSERT INTO people (nam, email, age)
    SELECT 'person ' || g, g || '@x', g FROM generate_series(1, 60) g;
INSERT INTO profiles (id, bio, stars, note)
    SELECT g, 'bio ' || g, g, 'n' FROM generate_series(31, 90) g;
INSERT INTO visits SELECT g, g * 3 FROM generate_series(1, 30) g;
SELECT setval('people_id_seq', 1000);
'''

SPEC = '''
migration: members
database: {0}
lenses:
  - kind: merge
    old: [public.people, public.profiles]
    new: public.members
    key: [id]
    columns:
      - {{old: nam, new: name}}
      - {{old: note, new: profile_note, from: public.profiles}}
      - {{old: note, new: note, from: public.people}}
      - old: stars
        new: {{name: points, type: bigint}}
        forward: (stars * 10)::bigint
        reverse: (points / 10)::integer
        bijective: true
'''

# Every statement changes what those behind it see.
SCRIPTS = [
    "SELECT * FROM people ORDER BY id",
    "SELECT * FROM profiles ORDER BY id",
    "SELECT p.*, f.* FROM people p JOIN profiles f USING (id) ORDER BY id",
    "SELECT p.id, f.id FROM people p FULL JOIN profiles f ON f.id = p.id"
    " ORDER BY 1, 2",
    "SELECT id FROM people EXCEPT SELECT id FROM profiles ORDER BY 1",
    "SELECT count(*), sum(stars) FROM profiles WHERE stars > 40",
    "SELECT id FROM profiles WHERE id IN (10, 40) FOR UPDATE",
    "SELECT v.id, p.nam FROM visits v LEFT JOIN people p ON p.id = v.person"
    " ORDER BY 1",
    # inserts: into an empty row, beside the other half, twice
    "INSERT INTO people (nam, age) VALUES ('ann', 5) RETURNING *",
    "INSERT INTO people (id, nam, age) VALUES (80, 'beside', 5) RETURNING *",
    "INSERT INTO people (id, nam, age) VALUES (80, 'twice', 5)",
    "INSERT INTO profiles (id, bio) VALUES (5, 'beside') RETURNING *",
    "INSERT INTO profiles (id, bio) VALUES (5, 'twice')",
    "INSERT INTO profiles VALUES (2000, 'alone', 7, 'x')",
    "INSERT INTO profiles (id, bio) SELECT id, nam FROM people WHERE id < 4"
    " RETURNING id, bio, stars",
    "INSERT INTO profiles (id, bio) VALUES (5, 'no') ON CONFLICT DO NOTHING",
    "INSERT INTO profiles (id, bio) VALUES (6, 'yes') ON CONFLICT (id) DO"
    " NOTHING RETURNING id",
    "INSERT INTO profiles (id) VALUES (7)",
    "INSERT INTO profiles (id, bio, stars) VALUES (7, 'x', NULL)",
    "INSERT INTO profiles (id, bio, stars) VALUES (7, 'x', -1)",
    "INSERT INTO profiles (bio) VALUES ('x')",
    "INSERT INTO profiles (id, bio) VALUES (7, 'far too long for this column')",
    "INSERT INTO people (nam, age, email) VALUES ('dup', 3, '9@x')",
    "INSERT INTO people (nam) VALUES ('no age')",
    "INSERT INTO people (id, nam, age) VALUES (99, 'x', 1), (99, 'y', 2)",
    "INSERT INTO people (nam, age) VALUES ('one', 1), ('two', 2)",
    # upserts
    "INSERT INTO people (id, nam, age) VALUES (3, 'x', 1) ON CONFLICT (id) DO"
    " UPDATE SET age = people.age + excluded.age RETURNING *",
    "INSERT INTO people (id, nam, age, note) VALUES (83, 'x', 1, 'beside'),"
    " (84, 'y', 2, NULL) ON CONFLICT (id) DO UPDATE SET age = 99 RETURNING *",
    "INSERT INTO profiles AS p (id, bio) VALUES (8, 'a'), (35, 'b'), (95, 'c')"
    " ON CONFLICT ON CONSTRAINT profiles_pkey DO UPDATE SET (bio, stars) ="
    " (excluded.bio || '!', p.stars + 1) WHERE p.stars < 36 RETURNING *",
    "INSERT INTO profiles (id, bio) VALUES (36, 'a') ON CONFLICT (id) DO"
    " UPDATE SET bio = excluded.bio WHERE profiles.stars < 0",
    "INSERT INTO profiles (id, bio) VALUES (9, 'a'), (9, 'b') ON CONFLICT (id)"
    " DO UPDATE SET bio = excluded.bio",
    "INSERT INTO profiles (id, bio) VALUES (37, 'a') ON CONFLICT (id) DO"
    " UPDATE SET stars = NULL",
    "INSERT INTO profiles (id, bio) VALUES (37, 'a') ON CONFLICT (id) DO"
    " UPDATE SET stars = DEFAULT, id = excluded.id RETURNING *",
    "INSERT INTO profiles (id, bio) VALUES (38, 'a') ON CONFLICT (id) DO"
    " UPDATE SET stars = 'many'",
    # updates of one half
    "UPDATE people SET nam = 'new', age = age + 1 WHERE id = 40 RETURNING *",
    "UPDATE profiles SET stars = stars + 1 WHERE id BETWEEN 38 AND 42",
    "UPDATE profiles SET stars = NULL WHERE id = 40",
    "UPDATE profiles SET bio = NULL WHERE id = 40",
    "UPDATE people SET nam = NULL WHERE id = 40",
    "UPDATE people SET age = 0 WHERE id = 40",
    "UPDATE people SET nam = 'nobody' WHERE id = 70",
    "UPDATE people p SET note = f.bio FROM profiles f WHERE f.id = p.id AND"
    " p.id = 41 RETURNING p.id, p.note, f.bio",
    "UPDATE profiles SET note = DEFAULT, stars = DEFAULT WHERE id = 43"
    " RETURNING *",
    "UPDATE people SET email = '3@x' WHERE id = 44",
    # deletes of one half, of both
    "DELETE FROM people WHERE id = 10",
    "DELETE FROM people WHERE id = 50 RETURNING *",
    "DELETE FROM profiles WHERE id = 51 RETURNING id, stars",
    "DELETE FROM people WHERE id = 85",
    "DELETE FROM profiles USING visits v WHERE v.person = profiles.id AND"
    " v.id = 12 RETURNING profiles.id, v.id",
    "DELETE FROM people p WHERE EXISTS (SELECT FROM profiles f WHERE f.id ="
    " p.id AND f.stars > 57)",
    "DELETE FROM people WHERE false",
    "WITH d AS (DELETE FROM people WHERE id IN (11, 46) RETURNING id, nam)"
    " SELECT * FROM d ORDER BY id",
    "WITH i AS (INSERT INTO profiles (id, bio) VALUES (12, 'in with') RETURNING"
    " id, stars) INSERT INTO visits SELECT id + 100, stars FROM i",
    "WITH u AS (UPDATE people SET age = age + 1 WHERE id = 47 RETURNING *)"
    " SELECT u.age, f.stars FROM u JOIN profiles f USING (id)",
    "BEGIN; DELETE FROM people; SELECT count(*) FROM people; SELECT count(*)"
    " FROM profiles; ROLLBACK",
    "BEGIN; DELETE FROM people WHERE id = 52; INSERT INTO people (id, nam, age)"
    " VALUES (52, 'again', 1); SELECT * FROM people WHERE id = 52; COMMIT",
    "SELECT * FROM people ORDER BY id",
    "SELECT * FROM profiles ORDER BY id",
]

COPIES = [
    ('COPY people (id, nam, age) FROM STDIN', '800\tnew\t4\n86\tbeside\t4\n'),
    ('COPY profiles (id, bio) FROM STDIN', '800\tbeside\n801\talone\n'),
    ('COPY profiles (id, bio) FROM STDIN', '802\tfirst\n800\ttwice\n'),
    ('COPY profiles (id, bio) FROM STDIN', '803\tfirst\n804\t\\N\n'),
    ('COPY profiles (id, bio, stars) FROM STDIN', '805\tx\t-4\n'),
    ('COPY people (nam, age) FROM STDIN', 'by default\t4\n'),
]

# Carried while the old tables are written, refused through the lens.
REFUSED = [
    "UPDATE people SET id = id + 5000 WHERE id = 20",
    "TRUNCATE people",
    "INSERT INTO people (id, nam, age) VALUES (1, 'x', 1), (2, 'y', 2) ON"
    " CONFLICT DO NOTHING",
    "WITH d AS (DELETE FROM people WHERE id = 21 RETURNING id) DELETE FROM"
    " profiles USING d WHERE profiles.id = d.id",
]


def make(postgres, database):
    postgres.create_database(database, TABLES)


def spec(database):
    return {'members.yaml': SPEC.format(database)}


def copied(connection, statement, data):
    try:
        with connection.cursor() as cur:
            with cur.copy(statement) as copy:
                copy.write(data)
            return [cur.statusmessage]
    except psycopg.Error as e:
        return [('error', e.sqlstate, e.diag.constraint_name,
                 e.diag.table_name)]


def run(connection):
    first = [(s, outcomes(connection, s)) for s in SCRIPTS]
    copies = [(s + d, copied(connection, s, d)) for s, d in COPIES]
    return first + copies + [(s, outcomes(connection, s))
                             for s in SCRIPTS[-2:]]


def clean(proxy):
    if proxy.phase('members') in ('dual_write', 'read_new', 'write_new'):
        result = proxy.verify('members')
        assert (result['missing'], result['extra'], result['different']) == (
            0, 0, 0), result
        assert result['compared'] > 60, result


@pytest.fixture(scope='module')
def direct(postgres):
    make(postgres, 'merge_direct')
    with postgres.connect('merge_direct') as c:
        return [run(c) for _ in range(2)]


@pytest.mark.parametrize('phase', shop.PHASES)
def test_statements_give_what_they_give_direct(postgres, start_proxy, direct,
                                               phase):
    database = f'merge_{phase}'
    make(postgres, database)
    proxy = start_proxy(postgres, spec(database))
    proxy.advance('members', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    with proxy.connect(database) as c:
        same(direct[0], run(c))
        clean(proxy)
        if phase not in ('planned', 'contracted'):
            proxy.rollback('members')
            if phase == 'new_only':
                proxy.walked('members')
        same(direct[1], run(c))
        clean(proxy)
        for statement in REFUSED:
            got = outcomes(c, statement)
            assert is_refusal(got) or proxy.phase('members') in (
                'planned', 'expanded', 'dual_write', 'read_new'), (
                statement, got)
        clean(proxy)


# What two sessions do to the halves of one row: the second waits for the
# first, or not, and both do what they do on two tables.
PAIRS = {
    'both halves of a new row': (
        "INSERT INTO people (id, nam, age) VALUES (500, 'a', 1)",
        "INSERT INTO profiles (id, bio) VALUES (500, 'b')"),
    'one half is deleted, the other updated': (
        "DELETE FROM people WHERE id = 40",
        "UPDATE profiles SET stars = stars + 1 WHERE id = 40"),
    'both halves are deleted': (
        "DELETE FROM people WHERE id = 41",
        "DELETE FROM profiles WHERE id = 41"),
    'one half is deleted, the other inserted': (
        "DELETE FROM people WHERE id = 5",
        "INSERT INTO profiles (id, bio) VALUES (5, 'b')"),
    'one row is deleted twice': (
        "DELETE FROM people WHERE id = 42",
        "DELETE FROM people WHERE id = 42"),
    'what is deleted has changed meanwhile': (
        "UPDATE people SET age = 1000 WHERE id = 43",
        "DELETE FROM people WHERE id = 43 AND age < 100"),
    'what is deleted has only now come to fit': (
        "UPDATE people SET age = age + 1 WHERE id = 44",
        "DELETE FROM people WHERE id = 44 AND age < 100 RETURNING age"),
    'one half is inserted twice': (
        "INSERT INTO profiles (id, bio) VALUES (6, 'b')",
        "INSERT INTO profiles (id, bio) VALUES (6, 'c')"),
    'one half is updated, the other too': (
        "UPDATE people SET age = age + 1 WHERE id = 45",
        "UPDATE profiles SET stars = stars + 1 WHERE id = 45"),
}


def two_sessions(connect, pair):
    """The first's transaction is open while the second's statement is sent."""
    with connect(autocommit=False) as one, connect() as two, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        seen = [outcomes(one, pair[0])]
        second = pool.submit(outcomes, two, pair[1])
        concurrent.futures.wait([second], 0.3)
        one.commit()
        return seen + [second.result(harness.PATIENCE_S)]


@pytest.mark.parametrize('phase', shop.PHASES[2:6])
def test_two_sessions_and_the_halves_of_one_row(postgres, start_proxy, phase):
    database = f'halves_{phase}'
    make(postgres, database)
    make(postgres, 'halves_direct')
    proxy = start_proxy(postgres, spec(database))
    proxy.advance('members', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    for name, pair in PAIRS.items():
        want = two_sessions(lambda **k: postgres.connect('halves_direct', **k),
                            pair)
        got = two_sessions(lambda **k: proxy.connect(database, **k), pair)
        assert [without_message(s) for s in got] == [
            without_message(s) for s in want], name
    clean(proxy)
    for table in ('people', 'profiles'):
        with proxy.connect(database) as c:
            assert (c.execute(f'SELECT * FROM {table} ORDER BY id').fetchall()
                    == postgres.execute(f'SELECT * FROM {table} ORDER BY id',
                                        'halves_direct')), table


def test_a_half_is_locked_in_old_first_before_the_barrier(postgres,
                                                          start_proxy):
    """One session is still at read_new, the other writes new already: both
    want the row."""
    make(postgres, 'merge_window')
    proxy = start_proxy(postgres, spec('merge_window'))
    proxy.advance('members', *shop.PHASES[1:4])
    with proxy.connect('merge_window', autocommit=False) as one, \
            proxy.connect('merge_window') as two, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        one.execute('SELECT id FROM people WHERE id = 32 FOR UPDATE')
        move = pool.submit(proxy.move, 'ADVANCE members TO write_new')
        harness.wait_for('write_new is announced',
                         lambda: proxy.phase('members') == 'write_new')
        harness.wait_for('the worker knows', lambda: '_cut' in str(two.execute(
            'EXPLAIN DELETE FROM people WHERE id = 32').fetchall()))
        cut = pool.submit(two.execute, "DELETE FROM people WHERE id BETWEEN 32"
                          " AND 33 AND nam <> 'x'")
        harness.wait_for('it waits', lambda: postgres.execute(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query LIKE 'DELETE FROM%'", 'merge_window'))
        one.execute('UPDATE people SET age = 7 WHERE id = 32')
        one.commit()
        assert cut.result(harness.PATIENCE_S).statusmessage == 'DELETE 2'
        move.result(harness.PATIENCE_S)
    clean(proxy)
    with proxy.connect('merge_window') as c:
        assert [c.execute(f'SELECT count(*) FROM {t} WHERE id IN (32, 33)'
                          ).fetchone() for t in ('people', 'profiles')
                ] == [(0,), (2,)]


class Worker(threading.Thread):
    """Works on keys of its own, in both halves, and checks what it reads."""

    def __init__(self, proxy, database, number):
        super().__init__()
        self.connect = lambda: proxy.connect(database, autocommit=False)
        self.keys = range(10000 * (number + 1), 10000 * (number + 1) + 12)
        self.random = random.Random(number)
        self.rows = {'people': {}, 'profiles': {}}
        self.steps, self.failure = 0, None
        self.stopping = threading.Event()

    def run(self):
        try:
            with self.connect() as c:
                while not self.stopping.is_set():
                    self.step(c)
                    c.commit()
                    self.look(c)
                    c.commit()
                    self.steps += 1
        except Exception as e:  # noqa: BLE001
            self.failure = e

    COLUMNS = {'people': ('nam', 'age'), 'profiles': ('bio', 'stars')}

    def step(self, c):
        table = self.random.choice(list(self.rows))
        text, number = self.COLUMNS[table]
        rows, key = self.rows[table], self.random.choice(self.keys)
        value = self.random.randrange(1, 99)
        if key not in rows:
            c.execute(f'INSERT INTO {table} (id, {text}, {number}) VALUES (%s,'
                      ' %s, %s)', [key, f'v{value}', value])
            rows[key] = (f'v{value}', value)
        elif self.random.random() < 0.5:
            c.execute(f'UPDATE {table} SET {number} = {number} + 1 WHERE id ='
                      ' %s', [key])
            rows[key] = (rows[key][0], rows[key][1] + 1)
        else:
            got = c.execute(f'DELETE FROM {table} WHERE id = %s RETURNING '
                            f'{text}, {number}', [key]).fetchall()
            assert got == [rows.pop(key)], got

    def look(self, c):
        for table, rows in self.rows.items():
            got = c.execute(f'SELECT id, {", ".join(self.COLUMNS[table])} FROM'
                            f' {table} WHERE id BETWEEN %s AND %s',
                            [self.keys[0], self.keys[-1]]).fetchall()
            assert {r[0]: r[1:] for r in got} == rows, (table, got, rows)


def test_all_phases_and_back_under_load(postgres, start_proxy):
    make(postgres, 'merge_load')
    proxy = start_proxy(postgres, spec('merge_load'))
    workers = [Worker(proxy, 'merge_load', n) for n in range(3)]
    for w in workers:
        w.start()

    def busy():
        before = [w.steps for w in workers]
        harness.wait_for('all sessions work', lambda: all(
            w.failure or w.steps > n + 5 for w, n in zip(workers, before)))
        assert not any(w.failure for w in workers), [
            w.failure for w in workers]
    try:
        for move in (*shop.PHASES[1:6], 'back', 'back', 'back', 'back', 'back',
                     *shop.PHASES[1:]):
            if move == 'back':
                was = proxy.phase('members')
                proxy.rollback('members')
                if was == 'new_only':
                    proxy.walked('members')
            else:
                proxy.advance('members', move)
            busy()
            clean(proxy)
    finally:
        for w in workers:
            w.stopping.set()
        for w in workers:
            w.join()
    assert not any(w.failure for w in workers), [w.failure for w in workers]
    people = postgres.execute('SELECT id, name, age FROM members WHERE id >='
                              ' 10000 AND name IS NOT NULL', 'merge_load')
    assert {r[0]: r[1:] for r in people} == {
        k: v for w in workers for k, v in w.rows['people'].items()}
    profiles = postgres.execute('SELECT id, bio, points FROM members WHERE id'
                                ' >= 10000 AND bio IS NOT NULL', 'merge_load')
    assert {r[0]: r[1:] for r in profiles} == {
        k: (b, s * 10) for w in workers
        for k, (b, s) in w.rows['profiles'].items()}


def test_writes_of_the_new_relation_reach_both_halves(postgres, start_proxy):
    make(postgres, 'merge_new')
    proxy = start_proxy(postgres, spec('merge_new'))
    proxy.advance('members', *shop.PHASES[1:5])
    with proxy.connect('merge_new') as c:
        c.execute("INSERT INTO members (id, name, age, bio, points) VALUES"
                  " (700, 'n', 4, 'b', 50), (701, 'm', 4, NULL, NULL)")
        c.execute("UPDATE members SET age = 9, points = 70 WHERE id = 40")
        c.execute("UPDATE members SET bio = NULL, points = NULL, profile_note"
                  " = NULL WHERE id = 41")
        c.execute("UPDATE members SET id = 702 WHERE id = 42")
        c.execute("DELETE FROM members WHERE id = 43")
        with pytest.raises(psycopg.errors.CheckViolation):
            c.execute("INSERT INTO members (id) VALUES (703)")
    clean(proxy)
    assert postgres.execute(
        "SELECT p.id, p.age, f.stars FROM people p FULL JOIN profiles f USING"
        " (id) WHERE coalesce(p.id, f.id) IN (40, 41, 42, 43, 700, 701, 702)"
        " ORDER BY 1", 'merge_new') == [
            (40, 9, 7), (41, 41, None), (700, 4, 5), (701, 4, None),
            (702, 42, 42)]


@pytest.mark.parametrize('change, message', [
    ('ALTER TABLE profiles ALTER bio DROP NOT NULL, ALTER stars DROP NOT NULL',
     'no column that tells whether its row is there'),
    ('ALTER TABLE profiles RENAME note TO age', 'both old tables make a'
     ' column "age"|does not exist'),
    ('ALTER TABLE profiles ADD FOREIGN KEY (id) REFERENCES people NOT VALID',
     'foreign key'),
    ('ALTER TABLE people ADD visit integer REFERENCES visits ON DELETE'
     ' CASCADE', 'has an action'),
])
def test_what_cannot_be_merged_is_said(postgres, start_proxy, change, message):
    postgres.create_database('merge_no', TABLES + change)
    try:
        proxy = start_proxy(postgres, spec('merge_no'))
        proxy.console('ADVANCE members TO expanded')
    except (AssertionError, psycopg.Error) as e:
        text = str(e)
    assert re.search(message, text), text

"""A table and the one that extends it become one: `users` and their
`user_profiles`, whose key is a foreign key to the first."""

import pytest

import shop
from test_differential import outcomes, same, without_message
from test_merge import two_sessions

TABLES = '''
CREATE TABLE plans (id integer PRIMARY KEY);
INSERT INTO plans SELECT generate_series(1, 9);
CREATE TABLE users (
    id serial PRIMARY KEY,
    nam varchar(20) NOT NULL,
    email text UNIQUE,
    plan integer REFERENCES plans ON DELETE SET NULL,
    age integer NOT NULL DEFAULT 18 CHECK (age > 0));
CREATE TABLE user_profiles (
    user_id integer PRIMARY KEY REFERENCES users {actions},
    bio varchar(20) NOT NULL,
    stars integer DEFAULT 3 CHECK (stars >= 0));
CREATE TABLE orders (
    id serial PRIMARY KEY,
    usr integer REFERENCES users ON DELETE SET NULL ON UPDATE CASCADE,
    payer text REFERENCES users (email) ON UPDATE CASCADE,
    amount integer);
INSERT INTO users (nam, email, plan, age)
    SELECT 'user ' || g, g || '@x', g % 9 + 1, g
    FROM generate_series(1, 60) g;
INSERT INTO user_profiles SELECT g, 'bio ' || g, g
    FROM generate_series(31, 60) g;
INSERT INTO orders (usr, payer, amount)
    SELECT g, g || '@x', g FROM generate_series(1, 60, 4) g;
SELECT setval('users_id_seq', 1000);
'''

SPEC = '''
migration: members
database: {0}
lenses:
  - kind: merge
    old: [public.users, {{table: public.user_profiles, key: [user_id]}}]
    new: public.members
    key: [{{id: member_id}}]
    columns:
      - {{old: nam, new: name}}
      - old: stars
        new: {{name: points, type: bigint}}
        forward: (stars * 10)::bigint
        reverse: (points / 10)::integer
        bijective: true
'''

ACTIONS = {'cascade': 'ON DELETE CASCADE ON UPDATE CASCADE', 'plain': ''}

SCRIPTS = [
    "SELECT * FROM users ORDER BY id",
    "SELECT * FROM user_profiles ORDER BY user_id",
    "SELECT u.nam, p.bio FROM users u LEFT JOIN user_profiles p ON p.user_id"
    " = u.id ORDER BY u.id",
    # the follower needs the leader
    "INSERT INTO user_profiles (user_id, bio) VALUES (5, 'beside') RETURNING *",
    "INSERT INTO user_profiles (user_id, bio) VALUES (5, 'twice')",
    "INSERT INTO user_profiles (user_id, bio) VALUES (777, 'nobody')",
    "INSERT INTO user_profiles VALUES (6, 'with', 4), (778, 'nobody', 3)",
    "INSERT INTO user_profiles (user_id, bio, stars) VALUES (7, 'x', -1)",
    "INSERT INTO user_profiles (user_id) VALUES (777)",
    "INSERT INTO user_profiles (user_id, bio) SELECT id, nam FROM users WHERE"
    " id BETWEEN 8 AND 10 RETURNING bio",
    "INSERT INTO user_profiles (user_id, bio) VALUES (6, 'x') ON CONFLICT DO"
    " NOTHING",
    # the leader is as a table is
    "INSERT INTO users (nam) VALUES ('new') RETURNING *",
    "INSERT INTO users (id, nam) VALUES (5, 'twice')",
    "INSERT INTO users (nam, email) VALUES ('dup', '9@x')",
    "INSERT INTO users (nam, plan) VALUES ('no such plan', 99)",
    "INSERT INTO users (id, nam) VALUES (4, 'upsert') ON CONFLICT (id) DO"
    " UPDATE SET nam = excluded.nam, age = users.age + 100 RETURNING *",
    "INSERT INTO users (nam, email) VALUES ('by email', '8@x') ON CONFLICT"
    " (email) DO UPDATE SET nam = excluded.nam RETURNING id, nam",
    "INSERT INTO users (nam, email) VALUES ('a', '8@x'), ('b', '9@x') ON"
    " CONFLICT DO NOTHING",
    "INSERT INTO users (id, nam) VALUES (3, 'a') ON CONFLICT ON CONSTRAINT"
    " users_pkey DO NOTHING",
    "UPDATE users SET nam = NULL WHERE id = 3",
    "UPDATE users SET age = 0 WHERE id = 3",
    "UPDATE user_profiles SET bio = NULL WHERE user_id = 40",
    "UPDATE user_profiles SET stars = stars + 1 WHERE user_id IN (40, 41)"
    " RETURNING *",
    "UPDATE users SET plan = 3 WHERE id = 40 RETURNING plan",
    # foreign keys of others, and their actions
    "INSERT INTO orders (usr) VALUES (776)",
    "INSERT INTO orders (usr, payer) VALUES (12, '12@x') RETURNING id",
    "DELETE FROM users WHERE id = 12",
    "UPDATE users SET email = 'new@x' WHERE id = 13",
    "SELECT * FROM orders ORDER BY id",
    "DELETE FROM plans WHERE id = 4",
    "SELECT id, plan FROM users ORDER BY id",
    # deletes
    "DELETE FROM user_profiles WHERE user_id = 42 RETURNING *",
    "DELETE FROM user_profiles WHERE user_id = 42",
    "DELETE FROM users WHERE id = 14 RETURNING *",
    "DELETE FROM users WHERE id = 44",
    "DELETE FROM users WHERE id IN (46, 47) RETURNING nam",
    "BEGIN; DELETE FROM user_profiles WHERE user_id = 48; DELETE FROM users"
    " WHERE id = 48; COMMIT",
    "DELETE FROM users u USING user_profiles p WHERE p.user_id = u.id AND"
    " p.stars = 50",
    "SELECT count(*) FROM users; SELECT count(*) FROM user_profiles",
    "SELECT usr, payer FROM orders ORDER BY id",
    "SELECT * FROM users ORDER BY id",
    "SELECT * FROM user_profiles ORDER BY user_id",
]

# Of the key: with ON UPDATE CASCADE the profile goes with it.
MOVES = [
    "UPDATE users SET id = 3051 WHERE id = 51",
    "UPDATE users SET id = 3015 WHERE id = 15 RETURNING id, nam",
    "UPDATE users SET id = 52 WHERE id = 53",
    "SELECT * FROM user_profiles ORDER BY user_id",
    "SELECT usr FROM orders ORDER BY id",
    "UPDATE users SET id = 51 WHERE id = 3051",
    "UPDATE users SET id = 15 WHERE id = 3015",
]


def scripts(actions):
    return SCRIPTS + (MOVES if actions == 'cascade' else [])


def run(connection, actions):
    return [(s, outcomes(connection, s)) for s in scripts(actions)]


def make(postgres, database, actions):
    postgres.create_database(
        database, TABLES.format(actions=ACTIONS[actions]))


def clean(proxy):
    if proxy.phase('members') in ('dual_write', 'read_new', 'write_new'):
        result = proxy.verify('members')
        assert (result['missing'], result['extra'], result['different']) == (
            0, 0, 0), result
        assert result['compared'] > 60, result


@pytest.fixture(scope='module', params=ACTIONS)
def direct(postgres, request):
    database = f'tied_direct_{request.param}'
    make(postgres, database, request.param)
    with postgres.connect(database) as c:
        return request.param, [run(c, request.param) for _ in range(2)]


@pytest.mark.parametrize('phase', shop.PHASES)
def test_statements_give_what_they_give_direct(postgres, start_proxy, direct,
                                               phase):
    actions, expected = direct
    database = f'tied_{actions}_{phase}'
    make(postgres, database, actions)
    proxy = start_proxy(postgres, {'members.yaml': SPEC.format(database)})
    proxy.advance('members', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    with proxy.connect(database) as c:
        same(expected[0], run(c, actions))
        clean(proxy)
        if phase not in ('planned', 'contracted'):
            proxy.rollback('members')
            if phase == 'new_only':
                proxy.walked('members')
        same(expected[1], run(c, actions))
        clean(proxy)


# The second session waits for the first one's transaction, or not.
PAIRS = {
    'a profile of a user who goes': (
        "DELETE FROM users WHERE id = 20",
        "INSERT INTO user_profiles (user_id, bio) VALUES (20, 'late')"),
    'a user goes who gets a profile': (
        "INSERT INTO user_profiles (user_id, bio) VALUES (21, 'first')",
        "DELETE FROM users WHERE id = 21"),
    'a user goes whose profile changes': (
        "UPDATE user_profiles SET stars = 9 WHERE user_id = 55",
        "DELETE FROM users WHERE id = 55"),
    'a profile changes of a user who goes': (
        "DELETE FROM users WHERE id = 56",
        "UPDATE user_profiles SET stars = 9 WHERE user_id = 56"),
    'a profile goes, and its user': (
        "DELETE FROM user_profiles WHERE user_id = 57",
        "DELETE FROM users WHERE id = 57"),
}


@pytest.mark.parametrize('phase', shop.PHASES[2:6])
@pytest.mark.parametrize('actions', ACTIONS)
def test_two_sessions_and_one_user(postgres, start_proxy, phase, actions):
    database, other = f'ties_{actions}_{phase}', f'ties_direct_{actions}'
    make(postgres, database, actions)
    make(postgres, other, actions)
    proxy = start_proxy(postgres, {'members.yaml': SPEC.format(database)})
    proxy.advance('members', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    for name, pair in PAIRS.items():
        want = two_sessions(lambda **k: postgres.connect(other, **k), pair)
        got = two_sessions(lambda **k: proxy.connect(database, **k), pair)
        assert [without_message(s) for s in got] == [
            without_message(s) for s in want], name
    clean(proxy)


def test_what_cannot_hang_together_is_said(postgres, start_proxy):
    postgres.create_database('tied_no', TABLES.format(actions='') + '''
        CREATE TABLE likes (profile integer REFERENCES user_profiles);
        ALTER TABLE user_profiles ADD plan integer REFERENCES plans
            ON DELETE CASCADE;''')
    proxy = start_proxy(postgres, {'members.yaml': SPEC.format(
        'tied_no').replace('{old: nam', '{old: plan, new: profile_plan, from:'
                           ' public.user_profiles}\n      - {old: nam')})
    found = {row['what']: row['severity']
             for row in proxy.console('SHOW PREFLIGHT members')}
    assert [what for what in found if found[what] == 'blocks'] == [
        'foreign key likes_profile_fkey of public.likes points at'
        ' public.user_profiles',
        'foreign key user_profiles_plan_fkey of public.user_profiles has an'
        ' action'], found

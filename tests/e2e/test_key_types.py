"""Keys whose type has operators of its own: those of an extension, and those
that take values of different looks for one."""

import psycopg
import pytest

import harness

PHASES = ('expanded', 'dual_write', 'read_new', 'write_new', 'new_only',
          'contracted')
# a type of a key, and values; the last two are one to it
KEYS = {
    'citext': ('a', 'b', 'c', 'C'),
    'tools.ltree': ('a', 'a.b', 'c', 'c'),
    'numeric': ('1', '2', '3.0', '3.00'),
    'double precision': ('1', '2', '0', '-0'),
    'interval': ('1 h', '2 h', '1 d', '24 h'),
    'text COLLATE loose': ('a', 'b', 'c', 'C'),
    'jsonb': ('1', '[]', '{"a": 1.0}', '{"a": 1.00}'),
    'cube': ('1', '(2,3)', '(4),(4)', '(4)'),
}
SETUP = '''
CREATE SCHEMA tools;
CREATE EXTENSION citext;
CREATE EXTENSION cube;
CREATE EXTENSION ltree SCHEMA tools;
CREATE COLLATION loose
    (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
'''
TABLE = '''
CREATE TABLE t{n} (k {type} PRIMARY KEY, word text, whole integer);
CREATE TABLE r{n} (id integer PRIMARY KEY,
                   k {type} REFERENCES t{n} ON UPDATE CASCADE);
INSERT INTO t{n} VALUES ('{0}', 'one', 1), ('{1}', 'two', 2), ('{2}', 'x', 3);
INSERT INTO r{n} VALUES (1, '{2}');
'''
LENS = {
    'renamed': '''
  - kind: table
    old: public.t{n}
    new: public.new_t{n}
    key: [k]
    columns:
      - {{old: word, new: words}}
''',
    'converted': '''
  - kind: table
    old: public.t{n}
    new: public.new_t{n}
    key: [k]
    columns:
      - {{old: whole, new: {{name: big, type: bigint}}, forward: whole * 10,
          reverse: big / 10}}
''',
    'columns': '''
  - kind: columns
    table: public.t{n}
    key: [k]
    columns:
      - {{old: whole, new: {{name: big, type: bigint}}, forward: whole * 10,
          reverse: big / 10}}
''',
    'child': '''
  - kind: child
    old: public.t{n}
    key: [k]
    columns: [word]
    new:
      table: public.new_t{n}
      parent: {{key: k}}
      columns: {{word: word}}
      when: word IS NOT NULL
''',
}
# What makes the keys look otherwise, too.
WRITES = (
    "UPDATE t{n} SET k = '{3}', word = 'changed' WHERE word = 'x'",
    "UPDATE t{n} SET k = '{2}' WHERE k = '{3}'",
    "UPDATE t{n} SET k = '{3}' WHERE k = '{2}'",
    "INSERT INTO t{n} VALUES ('{2}', 'new', 7) ON CONFLICT (k) DO UPDATE"
    " SET k = EXCLUDED.k, whole = EXCLUDED.whole",
    "DELETE FROM t{n} WHERE k = '{1}'",
    "INSERT INTO t{n} VALUES ('{1}', 'again', 8)",
    "INSERT INTO t{n} VALUES ('{3}', 'twice', 8)",
    "UPDATE t{n} SET whole = whole + 1 WHERE k >= '{2}'",
    "UPDATE t{n} SET k = '{3}'::{bare} WHERE k = '{2}'::{bare}",
    "UPDATE t{n} SET word = 'x' WHERE k = '{2}'",
)
READS = ('SELECT *, k::text AS looks FROM t{n} ORDER BY k',
         'SELECT *, k::text AS looks FROM r{n} ORDER BY id')

MERGE = '''
migration: members
database: {0}
lenses:
  - kind: merge
    old: [public.people, public.profiles]
    new: public.members
    key: [k]
'''
LOOKS_SETUP = '''
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN narrow AS numeric(5,2);
CREATE DOMAIN tight AS narrow CHECK (value > 0);
CREATE DOMAIN wide AS citext;
CREATE DOMAIN wider AS wide;
'''
MERGED = '''
CREATE TABLE people (k {0} PRIMARY KEY, nam text NOT NULL);
CREATE TABLE profiles (k {0} PRIMARY KEY, bio text NOT NULL);
'''
# Keys of a merge, and whether equal ones are the same.
LOOKS = {
    'citext': False, 'numeric': False, 'text COLLATE loose': False,
    'integer[]': False, 'interval': False, 'wider': False,
    'numeric(5,2)': True, 'character(3)': True, 'uuid': True, 'mood': True,
    'text COLLATE "C"': True, 'tight': True,
}


@pytest.fixture(scope='module')
def server():
    """Its database `made` has all the tables; a test works on copies."""
    server = harness.Postgres(("search_path = 'public, tools'",))
    try:
        server.create_database('made', SETUP + ''.join(
            TABLE.format(*values, type=kind, n=n)
            for n, (kind, values) in enumerate(KEYS.items())))
        yield server
    finally:
        server.destroy()


def spec(kind):
    return (f'migration: {kind}\ndatabase: {kind}\nquiet_for: 1h\nlenses:' +
            ''.join(LENS[kind].format(n=n) for n in range(len(KEYS))))


def run(connection, sql):
    try:
        cursor = connection.execute(sql)
        rows = cursor.fetchall() if cursor.description else None
        return cursor.statusmessage, rows
    except psycopg.Error as why:
        return why.sqlstate, why.diag.message_primary, why.diag.table_name


def once(direct, through, phase):
    for n, (kind, values) in enumerate(KEYS.items()):
        for sql in WRITES:
            for text in (sql, *READS):
                text = text.format(*values, n=n, bare=kind.split()[0])
                got = run(through, text)
                if got[0] == '0A000' and 'SET k' in text:
                    continue  # of what kind child refuses; nothing is done
                assert got == run(direct, text), (phase, text)


def off_the_path(direct, through, phase):
    """The schema of the key's operators is not on the client's path."""
    sql = 'SELECT k::text, word FROM t1 ORDER BY word'
    through.execute('SET search_path = public')
    assert run(through, sql) == run(direct, sql), phase


@pytest.mark.parametrize('kind', LENS)
def test_a_key_is_found_and_changed_by_the_operators_of_its_type(
        server, start_proxy, kind):
    for database in 'direct', kind:
        server.copy_database('made', database)
    proxy = start_proxy(server, {f'{kind}.yaml': spec(kind)})
    for phase in PHASES:
        proxy.advance(kind, phase)
        with server.connect('direct') as direct, \
                proxy.connect(kind) as through:
            once(direct, through, phase)
            off_the_path(direct, through, phase)
        if phase in ('dual_write', 'read_new', 'write_new'):
            got = proxy.verify(kind)
            assert not (got['missing'] or got['extra'] or
                        got['different']), got


def refusal(postgres, database):
    """What a merge is refused with, or None."""
    proxy = None
    try:
        proxy = harness.Proxy(postgres, {'m.yaml': MERGE.format(database)})
        proxy.console('ADVANCE members TO expanded')
    except (AssertionError, psycopg.Error) as why:
        return str(why)
    finally:
        if proxy is not None:
            proxy.destroy()


def test_a_merge_has_a_key_whose_equal_values_are_the_same(server):
    server.create_database('looks', SETUP + LOOKS_SETUP)
    for n, (kind, same) in enumerate(LOOKS.items()):
        name = f'looks_{n}'
        server.copy_database('looks', name)
        server.execute(MERGED.format(kind), name)
        said = refusal(server, name)
        assert (said is None) == same, (kind, said)
        assert same or 'may look different' in said, (kind, said)

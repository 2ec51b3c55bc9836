"""Conditions on converted columns of many types, with values of many types on
the other side, find what they find direct, or fail as they do."""

import psycopg
import pytest

import shop

TABLE = '''
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE feeling AS ENUM ('low', 'middle', 'high');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN tall AS bigint CHECK (VALUE < 100000);
CREATE EXTENSION citext;
CREATE TABLE goods (
    id integer PRIMARY KEY, small smallint, big bigint, price numeric(8,2),
    whole integer, flag boolean, code char(3), word varchar(10), tag uuid,
    day date, at timestamp, zoned timestamptz, mood mood, size positive,
    plain text);
INSERT INTO goods SELECT g, g % 100, g * 1000000007::bigint, g / 4.0, g % 300,
    g % 2 = 0, 'c' || g % 10, 'w' || g % 200,
    ('00000000-0000-0000-0000-' || lpad((g % 500)::text, 12, '0'))::uuid,
    date '2020-01-01' + g % 400, timestamp '2020-01-01' + g * interval '1 h',
    timestamptz '2020-01-01 UTC' + g * interval '1 h',
    (enum_range(NULL::mood))[1 + g % 3], 1 + g % 50, 'P' || g % 97
    FROM generate_series(1, 600) g;
INSERT INTO goods VALUES (0);
INSERT INTO goods VALUES
    (2001, 32767, 92233720368547758, 999999.99, 2147483, NULL, '', '');
CREATE TABLE other (id integer PRIMARY KEY, small smallint, whole integer,
    big bigint, num numeric, rough float8, word text, code char(5),
    strict text COLLATE "C", name name, size positive, day date, at timestamp,
    loose citext);
INSERT INTO other SELECT g, g, g, g * 1000000007::bigint, g * 0.25, g, 'w' || g,
    'c' || g, 'w' || g, 'w' || g, g, date '2020-01-01' + g,
    timestamp '2020-01-01' + g * interval '1 h', 'W' || g
    FROM generate_series(1, 20) g;
INSERT INTO other VALUES (0);
INSERT INTO other VALUES
    (21, 32767, 2147483647, 9223372036854775807, 'nan', 'nan', '', '', '', '',
     2147483647, 'infinity', 'infinity', ''),
    (22, -32768, -2147483648, -9223372036854775808, 1e30, '-infinity', 'x',
     'x', 'x', 'x', 1, '-infinity', '-infinity', 'x');
CREATE INDEX ON goods (small);
CREATE INDEX ON goods (whole);
CREATE INDEX ON goods (word);
ANALYZE;
'''

SPEC = '''
migration: goods
database: {database}
lenses:
  - kind: table
    old: public.goods
    new: public.wares
    key: [id]
    columns:
      - old: small
        new: {{name: small_x, type: integer}}
        forward: small * 300 - 7
        reverse: ((small_x + 7) / 300)::smallint
        bijective: true
        order: preserving
      - old: big
        new: {{name: big_x, type: bigint}}
        forward: big * 100
        reverse: big_x / 100
        bijective: true
        order: preserving
      - old: price
        new: {{name: cents, type: bigint}}
        forward: (price * 100)::bigint
        reverse: (cents / 100.0)::numeric(8,2)
        bijective: true
        order: preserving
      - old: whole
        new: {{name: whole_x, type: bigint}}
        forward: (whole * 1000)::bigint
        reverse: (whole_x / 1000)::integer
        bijective: true
        order: preserving
      - old: flag
        new: {{name: yes, type: char(1)}}
        forward: CASE WHEN flag THEN 'Y' WHEN NOT flag THEN 'N' END
        reverse: yes = 'Y'
        bijective: true
      - old: code
        new: {{name: code_x, type: varchar(3)}}
        forward: upper(code)
        reverse: lower(code_x)
        bijective: true
      - old: word
        new: {{name: word_x, type: text}}
        forward: "'<' || word || '>'"
        reverse: substr(word_x, 2, length(word_x) - 2)
        bijective: true
      - old: tag
        new: {{name: tag_x, type: text}}
        forward: tag::text
        reverse: tag_x::uuid
        bijective: true
      - old: day
        new: {{name: day_x, type: timestamp}}
        forward: day + time '12:00'
        reverse: day_x::date
        bijective: true
        order: preserving
      - old: at
        new: {{name: at_x, type: timestamptz}}
        forward: at AT TIME ZONE 'UTC'
        reverse: at_x AT TIME ZONE 'UTC'
        bijective: true
        order: preserving
      - old: zoned
        new: {{name: zoned_x, type: timestamp}}
        forward: zoned AT TIME ZONE 'UTC'
        reverse: zoned_x AT TIME ZONE 'UTC'
        bijective: true
        order: preserving
      - old: mood
        new: {{name: feeling, type: public.feeling}}
        forward: (enum_range(NULL::feeling))[array_position(enum_range(NULL::mood), mood)]
        reverse: (enum_range(NULL::mood))[array_position(enum_range(NULL::feeling), feeling)]
        bijective: true
        order: preserving
      - old: size
        new: {{name: size_x, type: public.tall}}
        forward: (size * 10)::tall
        reverse: (size_x / 10)::positive
        bijective: true
        order: preserving
      - old: plain
        new: {{name: plain_x, type: public.citext}}
        forward: (plain || '!')::citext
        reverse: left(plain_x::text, -1)
        bijective: true
'''

# Conditions, to stand behind SELECT count(*), min(id), max(id) FROM goods g
# WHERE.
CONDITIONS = '''
small = 5
small = 5.0
small = 5.5
small = 40000
small = 99999999999
small = '5'
small = ' 5 '
small = '5.0'
small = 'x'
small = 1e400
small = 'nan'::numeric
small = 5::float4
small = 'nan'::float8
small = 5::oid
small IN (1, '2')
small IN ('1', '2', 3.5)
small IN (1, 99999999999)
small IN (1, NULL)
small IN (NULL, NULL)
small IN ('40000', 1)
small IN ('40000', 1::int)
small = ANY ('{1,2}')
small = ANY ('{1,2,99999999}')
small = ANY ('{1,2,99999999}'::int[])
small = ANY ('{1,2,NULL}'::numeric[])
small = ANY ('{{1,2},{3,4}}'::int[])
small = ANY (NULL::int[])
small = ANY (ARRAY[1, 2.5])
small = ANY (ARRAY['1', '2'])
small = ANY (ARRAY[]::int[])
big = 5
big = 5000000035
big = '5000000035'
big = 5000000035.0
big = 9223372036854775807
big = 9223372036854775808
big = '9223372036854775808'
big IN ('5000000035', 1)
big IN (1, '5000000035')
big IN ('5000000035', 6000000042, 1.5)
big = 5000000035::float8
price = 2.5
price = '2.5'
price = 2.50000
price = 2.505
price = 10
price = 1e100
price = 'nan'
price = 'infinity'
price = 2.5::float8
price IN ('2.5', 10)
price IN (10, '2.5')
price IN ('2.5', '2.75', 3)
price IN (2.5, 2.751)
price = ANY ('{2.5,nan,NULL}')
whole = 2147483
whole = 2147484
whole = 2147483647
whole = -2147483648
whole = 2147483648
whole = '2147483648'
whole = - -5
whole = 10 - 5
whole = 1/0
whole = 5 % 0
id = -1 AND whole = 1 / (id + 1)
whole = id
whole + 0 = 5
whole = g.small
whole = ROW(5)
whole = '5'::text
whole = true
whole = NULL
whole = NULL::int
whole IS NULL
whole IS NOT NULL
NOT whole = 5
(whole = 5) IS NOT TRUE
whole = 5 OR small = 7
whole = 5 IS TRUE
whole IS NOT DISTINCT FROM 5
whole IS NOT DISTINCT FROM NULL
whole IS DISTINCT FROM 5
(whole, small) = (5, 5)
(whole, small) IN ((5, 5), (6, 6))
(whole, small) IN ((5, '5'), ('6', 6), (99999999999, 1))
(whole, small) = ANY (SELECT o.whole, o.small FROM other o)
(whole, small) > (290, 90)
whole < 5
whole <= 5
whole > 290
whole >= 290
5 > whole
whole < 5.5
whole <= 5.5
whole > 5.5
whole >= 298.5
whole < 99999999999
whole > -99999999999
whole > 99999999999
whole < -99999999999
whole < '5'
whole < 'x'
whole < 5::float8
whole < 'nan'::float8
whole < 'nan'::numeric
whole >= 'nan'::numeric
whole > '-infinity'::numeric
whole < 2147484
whole < 2147483647
whole >= 2147484
whole BETWEEN 5 AND 7
whole BETWEEN 7 AND 5
whole BETWEEN SYMMETRIC 7 AND 5
whole BETWEEN 5.5 AND 7.5
whole BETWEEN '5' AND 7
whole BETWEEN -99999999999 AND 5
whole BETWEEN 5 AND 99999999999
whole BETWEEN NULL AND 5
whole NOT BETWEEN 5 AND 7
whole BETWEEN 5 AND 7 AND small BETWEEN 5 AND 7
small < 5
small < 5.5
small >= 98
small > 32766
small > 32767
small < 40000
big < 5000000035
big <= 5000000035
big > 599000013993
big > 9223372036854775807
big < 9223372036854775807
price < 2.5
price <= 2.5
price < 2.505
price <= 2.505
price > 2.505
price >= 2.505
price > 999999.985
price >= 999999.995
price < 1e100
price <= 'infinity'
price < 'nan'
price > '-infinity'
price BETWEEN 2.499 AND 2.751
price BETWEEN '2.5' AND 3
flag = true
flag = 't'
flag = 'yes'
flag = 'maybe'
flag
NOT flag
flag IS TRUE
flag IS UNKNOWN
flag IN (true, 'no')
code = 'c5'
code = 'c5 '
code = 'c5   '
code = 'c5xx'
code = 'c5'::text
code = 'c5 '::text
code = 'c5 '::varchar
code = 'c5 '::char(10)
code = 'c5'::name
code = 'C5'
code IN ('c1', 'c2   ')
code IN ('c1', 'c2   '::text)
code IN ('c1 ', 'c2   '::char(7))
code = ANY ('{c1,"c2  "}')
code = ANY (ARRAY['c1', 'c2  '])
code = ANY ('{c1,"c2  "}'::char(4)[])
code = ''
code = '   '
word = 'w5'
word = 'w5 '
word = 'w5'::text
word = 'w5'::varchar(2)
word = 'w50'::varchar(2)
word = 'w5'::name
word = 'w5'::char(2)
word = 'w5 '::char(3)
word = 'w5'::citext
word = 'W5'::citext
word = 'w5' COLLATE "C"
word COLLATE "C" = 'w5'
word IN ('w1', 'w2' COLLATE "C")
word IN ('w1', 'w2'::varchar)
word IN ('w1', 'w2'::name)
word IN ('w1', 'W2'::citext)
word = ANY ('{w1,w2}')
word = ANY ('{w1,w2}'::name[])
word = ANY ('{W1,w2}'::citext[])
word = ANY (ARRAY['w1', 'w2']::varchar[])
word = ''
word < 'w2'
tag = '00000000-0000-0000-0000-000000000005'
tag = '{00000000-0000-0000-0000-000000000005}'
tag = '0000000000000000000000000000000A'
tag = 'x'
tag IN ('00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000006'::uuid)
tag = ANY ('{00000000-0000-0000-0000-000000000005}')
day = '2020-02-01'
day = date '2020-02-01'
day = timestamp '2020-02-01'
day = timestamp '2020-02-01 12:00'
day = timestamptz '2020-02-01'
day = 'infinity'
day = '5874897-12-31'
day = 'today'
day IN ('2020-02-01', timestamp '2020-02-02 00:00')
day IN ('2020-02-01 10:00', date '2020-02-02')
day < '2020-02-01'
day <= '2020-02-01'
day > '2021-02-01'
day < timestamp '2020-02-01 12:00'
day <= timestamp '2020-02-01 12:00'
day < 'infinity'
day > '-infinity'
day > '294277-01-01'
day < '294277-01-01'
day BETWEEN '2020-02-01' AND '2020-02-07'
day BETWEEN '2020-02-01' AND date '2020-02-01' + 5
at = '2020-01-01 05:00'
at = timestamp '2020-01-01 05:00'
at = timestamptz '2020-01-01 05:00 UTC'
at = date '2020-01-02'
at IN ('2020-01-02', date '2020-01-03')
at IN ('2020-01-02 05:00', date '2020-01-03')
at = 'infinity'
at < '2020-01-01 05:00'
at < date '2020-01-02'
at < timestamptz '2020-01-02'
at < 'infinity'
at >= '2020-03-01'
zoned = '2020-01-01 05:00 UTC'
zoned = timestamptz '2020-01-01 05:00+00'
zoned = date '2020-01-02'
zoned < '2020-01-01 05:00 UTC'
zoned < timestamp '2020-01-01 05:00'
zoned BETWEEN '2020-01-01 05:00 UTC' AND '2020-01-01 07:00+00'
mood = 'ok'
mood = 'ok'::mood
mood = 'none'
mood = 'ok'::text
mood IN ('ok', 'sad')
mood IN ('ok', 'sad'::mood)
mood = ANY ('{ok,sad}')
mood = ANY ('{ok,sad}'::mood[])
mood < 'ok'
mood <= 'ok'
mood > 'ok'::mood
mood BETWEEN 'ok' AND 'happy'
size = 5
size = '5'
size = '-5'
size = -5
size = 5::positive
size = 99999999999
size = 2147483647
size IN (5, 6)
size IN (5, '-6')
size IN ('5', '6')
size = ANY ('{5,6}')
size = ANY ('{5,-6}')
size = ANY ('{5,6}'::positive[])
size < 5
size <= 5.5
size > 45
size < 99999
size BETWEEN 5 AND 7
size BETWEEN '5' AND '7'
size BETWEEN -5 AND 3
plain = 'P5'
plain = 'p5'
plain = 'P5'::text
plain = 'p5'::citext
plain IN ('P5', 'p6')
plain < 'P5'
whole IN (SELECT whole FROM other)
whole IN (SELECT big FROM other)
whole IN (SELECT num FROM other)
whole IN (SELECT rough FROM other)
whole NOT IN (SELECT whole FROM other WHERE whole IS NOT NULL)
whole NOT IN (SELECT whole FROM other)
whole = ANY (SELECT whole FROM other)
whole = (SELECT whole FROM other WHERE id = 5)
whole = (SELECT whole FROM other WHERE id = 0)
whole = (SELECT whole FROM other)
whole = (SELECT whole FROM other WHERE false)
whole = (SELECT big FROM other WHERE id = 21)
whole < (SELECT num FROM other WHERE id = 21)
whole = (SELECT o.whole FROM other o WHERE o.id = g.small)
word IN (SELECT word FROM other)
word IN (SELECT code FROM other)
word IN (SELECT strict FROM other)
word IN (SELECT name FROM other)
word IN (SELECT loose FROM other)
EXISTS (SELECT FROM other o WHERE o.whole = g.whole)
EXISTS (SELECT FROM other o WHERE o.big = g.whole)
EXISTS (SELECT FROM other o WHERE o.num = g.whole)
EXISTS (SELECT FROM other o WHERE o.rough = g.whole)
EXISTS (SELECT FROM other o WHERE whole = g.whole)
EXISTS (SELECT FROM other o WHERE o.word = g.word)
EXISTS (SELECT FROM other o WHERE o.strict = g.word)
EXISTS (SELECT FROM other o WHERE o.num > g.price)
EXISTS (SELECT FROM other o WHERE price = o.num)
EXISTS (SELECT FROM other o WHERE g.day = o.day)
EXISTS (SELECT FROM other o WHERE g.day < o.at AND o.id = 5)
EXISTS (SELECT FROM goods h WHERE h.whole = g.small AND h.id < 100)
EXISTS (SELECT FROM other o WHERE o.size = g.size AND g.whole = 5)
NOT EXISTS (SELECT FROM other o WHERE o.whole = g.whole)
'''.strip().split('\n')

STATEMENTS = '''
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (whole)
SELECT count(*), min(whole) FROM goods g LEFT JOIN other o USING (whole)
SELECT count(*), min(whole) FROM goods g RIGHT JOIN other o USING (whole)
SELECT count(*), min(whole) FROM goods g FULL JOIN other o USING (whole)
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (whole, small)
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (big)
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (size)
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (word)
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (code)
SELECT count(*), min(g.id) FROM goods g JOIN other o USING (day)
SELECT count(*), min(g.id) FROM goods g JOIN goods h USING (whole)
SELECT count(*), min(id) FROM goods g NATURAL JOIN other o
SELECT * FROM goods g NATURAL JOIN (SELECT whole, small FROM other) o ORDER BY g.id LIMIT 5
SELECT * FROM goods g JOIN other o USING (whole) ORDER BY g.id LIMIT 5
SELECT * FROM goods g JOIN other o USING (whole) AS u ORDER BY g.id LIMIT 5
SELECT u.*, g.id FROM goods g JOIN other o USING (whole) AS u ORDER BY g.id LIMIT 5
SELECT g.*, o.* FROM goods g JOIN other o USING (whole) WHERE whole = 5 ORDER BY g.id
SELECT * FROM other o JOIN goods g USING (whole) WHERE g.whole = 5 ORDER BY g.id
SELECT * FROM goods g JOIN other o USING (whole) WHERE o.whole = 5 ORDER BY g.id
SELECT min(whole), max(whole) FROM goods
SELECT min(whole) FROM goods
SELECT max(whole) FROM goods WHERE small = 5
SELECT min(whole) FROM goods WHERE whole > 5
SELECT max(g.price), min(g.price) FROM goods g
SELECT max(day) FROM goods
SELECT max(mood) FROM goods
SELECT max(size), pg_typeof(max(size)) FROM goods
SELECT max(whole) AS m, pg_typeof(min(at)) FROM goods
SELECT max(whole) FROM goods WHERE false
SELECT max(whole) FILTER (WHERE small = 5) FROM goods
SELECT max(DISTINCT whole) FROM goods
SELECT max(whole) OVER () FROM goods LIMIT 1
SELECT small, max(whole) FROM goods GROUP BY small ORDER BY small LIMIT 5
SELECT (SELECT max(whole) FROM goods h WHERE h.whole < g.whole) FROM goods g WHERE g.id = 5
SELECT (SELECT max(g.whole) FROM other) FROM goods g
SELECT count(*) FROM goods HAVING max(whole) > 5
SELECT DISTINCT whole FROM goods ORDER BY whole LIMIT 5
SELECT whole, count(*) FROM goods GROUP BY whole ORDER BY whole LIMIT 5
SELECT whole FROM goods ORDER BY whole DESC NULLS LAST, id LIMIT 5
SELECT whole FROM goods ORDER BY whole DESC, id LIMIT 5
SELECT whole FROM goods ORDER BY whole USING < LIMIT 5
SELECT price FROM goods WHERE price > 5 ORDER BY price, id FETCH FIRST 5 ROWS ONLY
SELECT price FROM goods WHERE price > 5 ORDER BY price FETCH FIRST 3 ROWS WITH TIES
SELECT size FROM goods ORDER BY size, id LIMIT 3
SELECT mood, id FROM goods ORDER BY mood, id LIMIT 3
SELECT id FROM goods WHERE whole BETWEEN 5 AND 6 ORDER BY whole, id LIMIT 3
UPDATE goods SET plain = 'x' WHERE whole BETWEEN 5 AND 7
UPDATE goods SET plain = 'x' WHERE whole IN (SELECT whole FROM other)
UPDATE goods g SET plain = 'x' FROM other o WHERE g.whole = o.whole AND o.small < 5
UPDATE goods SET whole = whole + 1 WHERE whole < 3
UPDATE goods SET plain = 'y' WHERE mood = 'ok' AND size < 5
DELETE FROM goods WHERE big < 5000000035
DELETE FROM goods g WHERE EXISTS (SELECT FROM other o WHERE o.whole = g.whole)
DELETE FROM goods g USING other o WHERE g.price = o.num
DELETE FROM goods WHERE (whole, small) = (5, 5)
INSERT INTO other (id, whole) SELECT id + 100, whole FROM goods WHERE whole > 295
WITH w AS (SELECT * FROM goods WHERE whole = 5) SELECT count(*), min(size) FROM w
SELECT count(*) FROM (SELECT * FROM goods WHERE whole < 5) s WHERE s.small > 2
SELECT id FROM goods WHERE whole < 2 UNION SELECT id FROM other WHERE whole < 3 ORDER BY 1
SELECT count(*) FROM other o, LATERAL (SELECT * FROM goods g WHERE g.whole = o.whole) l
SELECT count(*) FROM other o LEFT JOIN goods g ON g.whole = o.whole AND g.whole < 5
SELECT count(*) FROM other o LEFT JOIN goods g ON g.whole < o.whole AND o.id < 5
SELECT count(*) FROM goods g FULL JOIN other o ON g.whole = o.whole
SELECT id FROM goods WHERE whole = 5 ORDER BY id FOR UPDATE
SELECT id FROM goods WHERE whole < 2 ORDER BY id FOR UPDATE
'''.strip().split('\n')

# A parameter's type is what the condition makes of it, or what the driver says.
PARAMETERS = [
    ('whole = %s', (5,)), ('whole = %s', (2 ** 40,)), ('whole = %s', ('5',)),
    ('whole = %s', (5.5,)), ('whole = %s', (None,)), ('whole = %s', ('x',)),
    ('whole = %s::int', (5,)), ('whole = %s::numeric', (5,)),
    ('whole IN (%s, 5)', (99999999999,)), ('big IN (%s, 5)', ('5000000035',)),
    ('price IN (%s, 5)', ('2.5',)), ('price = ANY(%s)', ([2.5, 3],)),
    ('price IN (5, %s)', ('2.5',)), ('word IN (%s, %s)', ('w1', 'w2')),
    ('whole < %s', (5,)), ('whole < %s', (2 ** 40,)), ('whole < %s', ('5',)),
    ('whole BETWEEN %s AND %s', (5, 7)), ('whole < %s', (None,)),
    ('whole BETWEEN %s AND %s', ('5', '7')), ('whole < %s', (5.5,)),
    ('day = %s', ('2020-02-01',)), ('day < %s', ('2020-02-01',)),
    ('mood = %s', ('ok',)), ('mood IN (%s, %s)', ('ok', 'sad')),
    ('mood = ANY(%s::mood[])', (['ok', 'sad'],)), ('size = %s', (5,)),
    ('size = %s', ('-5',)), ('size IN (%s, 7)', ('5',)),
    ('tag = %s', ('00000000-0000-0000-0000-000000000005',)),
    ('flag = %s', (True,)), ('code = %s', ('c5',)), ('code = %s', ('c5 ',)),
    ('(whole, small) = (%s, %s)', (5, 5)),
    ('whole IS NOT DISTINCT FROM %s', (5,)),
    ('whole IS NOT DISTINCT FROM %s', (None,)),
    ('whole = (SELECT whole FROM other WHERE id = %s)', (5,)),
]

COUNT = 'SELECT count(*), min(id), max(id) FROM goods g WHERE '

PHASES = ('read_new', 'write_new', 'new_only', 'contracted')


def run(connection, statement, params=None):
    try:
        cursor = connection.execute(statement, params)
        rows = cursor.fetchall() if cursor.description else None
        return cursor.statusmessage, rows
    except psycopg.Error as e:
        return e.sqlstate, e.diag.message_primary, e.diag.statement_position


def undone(connection, statement):
    connection.execute('BEGIN')
    seen = run(connection, statement)
    connection.execute('ROLLBACK')
    return seen


def conditions(connection):
    connection.execute('SET jit = off; SET enable_seqscan = off')
    return [(c, run(connection, COUNT + c)) for c in CONDITIONS]


def statements(connection):
    seen = [(s, undone(connection, s)) for s in STATEMENTS]
    for mode in ('force_custom_plan', 'force_generic_plan'):
        connection.execute(f'SET plan_cache_mode = {mode}')
        seen += [(c, p, run(connection, COUNT + c, p)) for c, p in PARAMETERS]
    return seen


@pytest.fixture(scope='module')
def direct(postgres):
    postgres.create_database('types_direct', TABLE)
    with postgres.connect('types_direct') as c:
        return statements(c) + conditions(c)


def test_what_stands_beside_it_decides_how_it_is_compared(
        postgres, start_proxy, direct):
    postgres.create_database('types', TABLE)
    proxy = start_proxy(postgres,
                        {'goods.yaml': SPEC.format(database='types')})
    for phase in shop.PHASES[1:]:
        proxy.advance('goods', phase)
        if phase not in PHASES:
            continue
        with proxy.connect('types') as c:
            seen = statements(c)
            if phase == 'read_new':
                seen += conditions(c)
        differences = [(phase, got, expected)
                       for got, expected in zip(seen, direct)
                       if got != expected]
        assert not differences, '\n'.join(map(str, differences))

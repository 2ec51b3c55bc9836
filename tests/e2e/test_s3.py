"""S3, two booleans become one enumeration in the same table: the old columns
are NOT NULL and go in the end, the new one is added, filled and kept; rows in
the invalid state (not taxable, yet tax inclusive) become `no_tax`."""

import random
import threading

import psycopg
import pytest

import harness
import shop

TABLES = '''
CREATE TABLE invoices (
    id serial PRIMARY KEY,
    number varchar(12) NOT NULL UNIQUE,
    is_taxable boolean NOT NULL,
    amount integer NOT NULL DEFAULT 1,
    is_tax_inclusive boolean NOT NULL DEFAULT false,
    note text,
    twice integer GENERATED ALWAYS AS (amount * 2) STORED,
    CHECK (amount >= 0));
CREATE INDEX invoices_taxable ON invoices (is_taxable, is_tax_inclusive);
INSERT INTO invoices (number, is_taxable, is_tax_inclusive, amount, note)
    SELECT 'n' || g, g % 2 = 0, g % 4 = 0, g, 'note ' || g
    FROM generate_series(1, 200) g;
INSERT INTO invoices (id, number, is_taxable, is_tax_inclusive)
    VALUES (901, 'bad 1', false, true), (902, 'bad 2', false, true);
SELECT setval('invoices_id_seq', 1000);
'''

SPEC = '''
migration: tax_type
database: {database}
quiet_for: 1h
{lossy}
lenses:
  - kind: columns
    table: public.invoices
    key: [id]
    columns:
      - old: [is_taxable, is_tax_inclusive]
        new: {{name: tax_type, type: tax_type, not_null: true}}
        forward: |
          CASE WHEN NOT is_taxable THEN 'no_tax' WHEN is_tax_inclusive
               THEN 'tax_inclusive' ELSE 'tax_exclusive' END::tax_type
        reverse: {{is_taxable: "tax_type <> 'no_tax'",
                   is_tax_inclusive: "tax_type = 'tax_inclusive'"}}
expand: |
  CREATE TYPE tax_type AS ENUM ('no_tax', 'tax_inclusive', 'tax_exclusive')
'''


def make(postgres, database):
    postgres.create_database(database, TABLES)


def spec(database, lossy='lossy: accept'):
    return {'tax_type.yaml': SPEC.format(database=database, lossy=lossy)}


def columns(postgres, database):
    rows = postgres.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'invoices'::regclass"
        " AND attnum > 0 AND NOT attisdropped ORDER BY attnum", database)
    return [r[0] for r in rows]


def test_walk(postgres, start_proxy):
    make(postgres, 's3_walk')
    proxy = start_proxy(postgres, spec('s3_walk'))
    old = ['id', 'number', 'is_taxable', 'amount', 'is_tax_inclusive', 'note',
           'twice']
    with proxy.connect('s3_walk') as c:
        for phase in shop.PHASES:
            if phase != 'planned':
                proxy.advance('tax_type', phase)
            print(phase)
            cur = c.execute('SELECT * FROM invoices WHERE id = 3')
            assert [d.name for d in cur.description] == old
            cur = c.execute(
                "INSERT INTO invoices VALUES (DEFAULT, %s, true, 7, true)"
                " RETURNING *", [phase])
            assert cur.fetchone()[1:] == (phase, True, 7, True, None, 14)
            cur = c.execute('UPDATE invoices SET is_taxable = false WHERE'
                            ' number = %s RETURNING *', [phase])
            row = cur.fetchone()
            assert row[2] is False
            c.execute('DELETE FROM invoices WHERE id = %s', [row[0]])
    assert columns(postgres, 's3_walk') == [
        'id', 'number', 'amount', 'note', 'twice', 'tax_type']


def clean(proxy):
    result = proxy.verify('tax_type')
    assert (result['missing'], result['extra'], result['different']) == (
        0, 0, 0), result
    return result


def test_invalid_rows_stop_the_migration(postgres, start_proxy):
    make(postgres, 's3_lossy')
    proxy = start_proxy(postgres, spec('s3_lossy', ''))
    proxy.advance('tax_type', 'expanded', 'dual_write')
    assert proxy.verify('tax_type')['lossy'] == 2
    with pytest.raises(psycopg.Error, match='2 rows cannot be expressed') as e:
        proxy.console('ADVANCE tax_type TO read_new')
    assert '(901)' in e.value.diag.message_detail
    proxy.rollback('tax_type')
    proxy.rollback('tax_type')
    assert columns(postgres, 's3_lossy') == [
        'id', 'number', 'is_taxable', 'amount', 'is_tax_inclusive', 'note',
        'twice']


class Application(threading.Thread):
    """One session of the old application: it keeps what it has written and
    looks, after every step, whether that is what it reads.  What it does not
    write is a valid state: an invalid one reads as no_tax from read_new on."""

    STATES = [(False, False), (True, False), (True, True)]

    def __init__(self, proxy, database, name, **how):
        super().__init__()
        self.proxy, self.database, self.who = proxy, database, name
        self.how = how
        self.random = random.Random(name)
        self.rows, self.steps, self.failure = {}, 0, None
        self.stopping = threading.Event()

    def run(self):
        try:
            with self.proxy.connect(self.database, autocommit=False) as c:
                c.prepare_threshold = self.how.get('prepare', 5)
                while not self.stopping.is_set():
                    self.step(c)
                    c.commit()
                    self.look(c)
                    c.commit()
                    self.steps += 1
        except Exception as e:  # noqa: BLE001
            self.failure = e

    def step(self, c):
        state = self.random.choice(self.STATES)
        what = self.random.choice(
            ['insert', 'update', 'one', 'other', 'upsert', 'delete', 'wrong'])
        if what == 'insert' or len(self.rows) < 3:
            number = f'{self.who}{self.steps}'
            row = c.execute(
                'INSERT INTO invoices (number, is_taxable, is_tax_inclusive)'
                ' VALUES (%s, %s, %s) RETURNING *', [number, *state]).fetchone()
            assert row[1:] == (number, state[0], 1, state[1], None, 2)
            self.rows[number] = state
            return
        number = self.random.choice(list(self.rows))
        was = self.rows[number]
        if what == 'update':
            c.execute('UPDATE invoices SET is_taxable = %s, is_tax_inclusive ='
                      ' %s WHERE number = %s', [*state, number])
            self.rows[number] = state
        elif what == 'one':
            new = (True, not was[1])
            got = c.execute('UPDATE invoices SET is_taxable = true,'
                            ' is_tax_inclusive = NOT is_tax_inclusive WHERE'
                            ' number = %s RETURNING is_taxable,'
                            ' is_tax_inclusive', [number])
            assert got.fetchall() == [new]
            self.rows[number] = new
        elif what == 'other':
            c.execute('UPDATE invoices SET amount = amount + 1, note = %s'
                      ' WHERE number = %s', [what, number])
        elif what == 'upsert':
            c.execute('INSERT INTO invoices (number, is_taxable,'
                      ' is_tax_inclusive) VALUES (%s, %s, %s) ON CONFLICT'
                      ' (number) DO UPDATE SET is_taxable ='
                      ' EXCLUDED.is_taxable, is_tax_inclusive ='
                      ' EXCLUDED.is_tax_inclusive', [number, *state])
            self.rows[number] = state
        elif what == 'delete':
            assert c.execute('DELETE FROM invoices WHERE number = %s', [number]
                             ).statusmessage == 'DELETE 1'
            del self.rows[number]
        else:
            with pytest.raises(psycopg.errors.NotNullViolation):
                c.execute('UPDATE invoices SET is_taxable = NULL, note = %s'
                          ' WHERE number = %s', ['x', number])
            c.rollback()

    def look(self, c):
        cur = c.execute('SELECT * FROM invoices WHERE number LIKE %s',
                        [self.who + '%'])
        assert [d.name for d in cur.description] == OLD
        got = {r[1]: (r[2], r[4]) for r in cur}
        assert got == self.rows, (got, self.rows)


OLD = ['id', 'number', 'is_taxable', 'amount', 'is_tax_inclusive', 'note',
       'twice']


def test_a_column_of_the_tables_row_type_stops_the_migration(postgres,
                                                             start_proxy):
    make(postgres, 's3_rowtype')
    postgres.execute('CREATE TABLE kept (bill invoices, more invoices[])',
                     's3_rowtype')
    proxy = start_proxy(postgres, spec('s3_rowtype'))
    with pytest.raises(psycopg.Error, match='bill of public.kept has the row'
                       ' type of public.invoices'):
        proxy.console('ADVANCE tax_type TO expanded')
    assert proxy.phase('tax_type') == 'planned'


def test_all_phases_and_back_under_load(postgres, start_proxy):
    make(postgres, 's3')
    proxy = start_proxy(postgres, spec('s3'))
    sessions = [Application(proxy, 's3', name, prepare=prepare)
                for name, prepare in (('x-', 0), ('y-', 5), ('z-', None))]
    for s in sessions:
        s.start()

    def busy():
        """Every session has got on, in this phase."""
        before = [s.steps for s in sessions]
        harness.wait_for('all sessions work', lambda: all(
            s.failure or s.steps > n + 5 for s, n in zip(sessions, before)))
        assert not any(s.failure for s in sessions), [
            s.failure for s in sessions]
    try:
        busy()
        for move in (*shop.PHASES[1:6], *['back'] * 5, *shop.PHASES[1:4],
                     'back', *shop.PHASES[3:5], 'back', 'back',
                     *shop.PHASES[3:]):
            if move == 'back':
                proxy.rollback('tax_type')
            else:
                proxy.advance('tax_type', move)
            busy()
            phase = proxy.phase('tax_type')
            if phase == 'write_new':
                proxy.walked('tax_type')
            if phase in ('dual_write', 'read_new', 'write_new'):
                assert clean(proxy)['compared'] > 200
    finally:
        for s in sessions:
            s.stopping.set()
        for s in sessions:
            s.join()
    assert not any(s.failure for s in sessions), [s.failure for s in sessions]
    assert columns(postgres, 's3') == [
        'id', 'number', 'amount', 'note', 'twice', 'tax_type']


def test_the_new_shape_in_its_own_session(postgres, start_proxy):
    make(postgres, 's3_new')
    proxy = start_proxy(postgres, spec('s3_new'))
    new = ['id', 'number', 'amount', 'note', 'twice', 'tax_type']
    with proxy.connect('s3_new') as c, proxy.connect(
            's3_new', options='-c pgtandem.shape=new') as n:
        for phase in shop.PHASES[1:]:
            proxy.advance('tax_type', phase)
            if phase in shop.PHASES[1:4]:
                with pytest.raises(psycopg.errors.FeatureNotSupported):
                    n.execute('SELECT * FROM invoices')
                continue
            cur = n.execute("INSERT INTO invoices (number, tax_type) VALUES"
                            " (%s, 'tax_inclusive') RETURNING *", [phase])
            assert [d.name for d in cur.description] == new
            assert cur.fetchone()[5] == 'tax_inclusive'
            assert c.execute('SELECT is_taxable, is_tax_inclusive FROM invoices'
                             ' WHERE number = %s', [phase]
                             ).fetchall() == [(True, True)]
            c.execute('UPDATE invoices SET is_taxable = false WHERE number ='
                      ' %s', [phase])
            assert n.execute('SELECT * FROM invoices WHERE number = %s',
                             [phase]).fetchone()[5] == 'no_tax'
            n.execute("UPDATE invoices SET tax_type = 'tax_exclusive' WHERE"
                      " number = %s", [phase])
            assert c.execute('SELECT is_taxable, is_tax_inclusive FROM invoices'
                             ' WHERE number = %s', [phase]
                             ).fetchall() == [(True, False)]
            n.execute('SET pgtandem.shape = old')
            cur = n.execute('SELECT * FROM invoices LIMIT 1')
            assert [d.name for d in cur.description] == OLD
            n.execute('SET pgtandem.shape = new')
            if phase == 'write_new':
                clean(proxy)


def in_background(proxy, command):
    """The move waits for a transaction: it ends when that does."""
    errors = []

    def run():
        try:
            proxy.console(command)
        except psycopg.Error as e:
            errors.append(e)
    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


STEPS = [('advance', phase) for phase in shop.PHASES[1:6]] + [
    ('rollback', None)] * 5


def test_sessions_of_adjacent_phases_write_the_same_rows(postgres,
                                                         start_proxy):
    """One transaction stays at the phase that it began in while the other is
    at the next; what either writes is there for both, in both models."""
    make(postgres, 's3_pairs')
    proxy = start_proxy(postgres, spec('s3_pairs'))
    with proxy.connect('s3_pairs') as behind, proxy.connect(
            's3_pairs') as ahead:
        for number, (step, phase) in enumerate(STEPS):
            with behind.transaction():
                behind.execute('SELECT count(*) FROM invoices').fetchone()
                was = proxy.console('SHOW MIGRATION tax_type')
                thread, errors = in_background(
                    proxy, f'ADVANCE tax_type TO {phase}'
                    if step == 'advance' else 'ROLLBACK tax_type')
                harness.wait_for('the move is announced', lambda: (
                    proxy.console('SHOW MIGRATION tax_type') != was
                    or not thread.is_alive()))
                behind.execute(
                    'INSERT INTO invoices (number, is_taxable,'
                    ' is_tax_inclusive) VALUES (%s, true, true),'
                    ' (%s, false, false)', [f'b{number}', f'c{number}'])
                behind.execute('UPDATE invoices SET is_tax_inclusive = NOT'
                               ' is_tax_inclusive WHERE id = 2')
                ahead.execute(
                    'INSERT INTO invoices (number, is_taxable) VALUES (%s,'
                    ' true)', [f'a{number}'])
                ahead.execute('UPDATE invoices SET is_taxable = NOT is_taxable,'
                              ' is_tax_inclusive = false WHERE id = 4')
            thread.join()
            assert not errors, (step, phase, errors)
            both = ("SELECT number, is_taxable, is_tax_inclusive FROM invoices"
                    f" WHERE number IN ('a{number}', 'b{number}', 'c{number}')"
                    " ORDER BY 1")
            for c in behind, ahead:
                assert c.execute(both).fetchall() == [
                    (f'a{number}', True, False), (f'b{number}', True, True),
                    (f'c{number}', False, False)], (step, phase)
            want = [(2, True, number % 2 == 0),
                    (4, number % 2 == 1, False)]
            for c in behind, ahead:
                assert c.execute(
                    'SELECT id, is_taxable, is_tax_inclusive FROM invoices'
                    ' WHERE id IN (2, 4) ORDER BY 1').fetchall() == want
            now = proxy.phase('tax_type')
            if now == 'write_new' and step == 'rollback':
                proxy.walked('tax_type')
            if now == 'dual_write' and step == 'advance':
                proxy.walked('tax_type')
            if now in ('dual_write', 'read_new', 'write_new'):
                clean(proxy)


RICH = '''
CREATE TABLE kinds (kind text PRIMARY KEY);
INSERT INTO kinds VALUES ('a'), ('b');
CREATE TABLE seen (id integer, what text);
CREATE TABLE goods (
    id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    code varchar(5) UNIQUE,
    kind text NOT NULL DEFAULT 'a' REFERENCES kinds,
    price integer NOT NULL DEFAULT 1 CONSTRAINT positive CHECK (price > 0),
    amount integer NOT NULL DEFAULT 1,
    CONSTRAINT sane CHECK (price * amount < 1000));
CREATE INDEX goods_kind ON goods (kind, id);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO seen VALUES (NEW.id, TG_OP); RETURN NEW; END$$;
CREATE TRIGGER see AFTER INSERT OR UPDATE ON goods
    FOR EACH ROW EXECUTE FUNCTION see();
INSERT INTO goods (code, kind, price) VALUES ('x', 'a', 5), ('y', 'b', 6),
    (NULL, 'b', 7);
DELETE FROM seen;
'''

RICH_SPEC = '''
migration: goods
database: {database}
quiet_for: 1h
lenses:
  - kind: columns
    table: goods
    key: [id]
    columns:
      - {{old: code, new: sku}}
      - {{old: kind, new: sort}}
      - old: price
        new: {{name: cents, type: bigint}}
        forward: (price * 100)::bigint
        reverse: (cents / 100)::integer
        bijective: true
'''

WRONG = [
    ("INSERT INTO goods (code) VALUES ('x')", '23505', 'goods_code_key'),
    ("UPDATE goods SET code = 'y' WHERE code = 'x'", '23505',
     'goods_code_key'),
    ("UPDATE goods SET code = 'too long' WHERE code = 'x'", '22001', None),
    ('UPDATE goods SET price = 0', '23514', 'positive'),
    ('UPDATE goods SET price = 500, amount = 2', '23514', 'sane'),
    ('UPDATE goods SET amount = 900', '23514', 'sane'),
    ("UPDATE goods SET kind = 'c'", '23503', 'goods_kind_fkey'),
    ('UPDATE goods SET kind = NULL', '23502', None),
    ('INSERT INTO goods (price) VALUES (NULL)', '23502', None),
    ("DELETE FROM kinds WHERE kind = 'b'", '23503', None),
]


def test_constraints_and_triggers_go_along(postgres, start_proxy):
    postgres.create_database('s3_rich', RICH)
    proxy = start_proxy(postgres, {
        'goods.yaml': RICH_SPEC.format(database='s3_rich')})
    moves = [*shop.PHASES[:6], *['back'] * 5, *shop.PHASES[1:]]
    with proxy.connect('s3_rich') as c:
        for n, move in enumerate(moves):
            if move == 'back':
                proxy.rollback('goods')
            elif move != 'planned':
                proxy.advance('goods', move)
            phase = proxy.phase('goods')
            if phase in ('dual_write', 'write_new'):
                proxy.walked('goods')
            for sql, state, constraint in WRONG:
                with pytest.raises(psycopg.Error) as e:
                    c.execute(sql)
                assert e.value.sqlstate == state, (phase, sql, e.value)
                if constraint:
                    assert e.value.diag.constraint_name == constraint, (
                        phase, sql, e.value.diag.message_primary)
            assert postgres.execute('SELECT count(*) FROM seen', 's3_rich') == [
                (2 if n else 0,)], 'the walk fires no trigger'
            postgres.execute('DELETE FROM seen', 's3_rich')
            row = c.execute(
                "INSERT INTO goods (code, kind, price) VALUES (%s, 'b', 8)"
                ' RETURNING *', [f'n{n}']).fetchone()
            assert row[1:] == (f'n{n}', 'b', 8, 1)
            c.execute("UPDATE goods SET kind = DEFAULT, price = price + 1"
                      " WHERE code = %s", [f'n{n}'])
            assert c.execute('SELECT * FROM goods WHERE code = %s', [f'n{n}']
                             ).fetchall() == [(row[0], f'n{n}', 'a', 9, 1)]
            assert postgres.execute('SELECT what FROM seen', 's3_rich') == [
                ('INSERT',), ('UPDATE',)]
    assert postgres.execute(
        "SELECT count(*) FILTER (WHERE attname IN ('sku', 'sort', 'cents')),"
        " count(*) FROM pg_attribute WHERE attrelid = 'goods'::regclass AND"
        " attnum > 0 AND NOT attisdropped", 's3_rich') == [(3, 5)]
    assert postgres.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'goods'::regclass"
        " ORDER BY 1", 's3_rich') == [
            (x,) for x in ('goods_code_key', 'goods_kind_fkey', 'goods_pkey',
                           'positive', 'sane')]


def test_a_move_that_fails_takes_back_what_ran_ahead(postgres, start_proxy):
    """Rows that the new column's NOT NULL refuses stop the move, and bind
    nobody afterwards."""
    postgres.create_database('s3_ahead', '''
        CREATE TABLE things (id integer PRIMARY KEY, a integer UNIQUE,
            CONSTRAINT small CHECK (a < 100));
        INSERT INTO things VALUES (1, 1), (2, NULL)''')
    proxy = start_proxy(postgres, {'things.yaml': '''
migration: things
database: s3_ahead
quiet_for: 1h
lenses:
  - kind: columns
    table: things
    key: [id]
    columns:
      - old: a
        new: {name: b, type: bigint, not_null: true}
        forward: a::bigint
        reverse: b::integer
        bijective: true
'''})
    proxy.advance('things', 'expanded', 'dual_write')
    names = ("SELECT conname FROM pg_constraint WHERE conrelid ="
             " 'things'::regclass ORDER BY 1")
    before = postgres.execute(names, 's3_ahead')
    assert before == [('small',), ('things_a_key',), ('things_a_key_new',),
                      ('things_pkey',)]
    with pytest.raises(psycopg.errors.CheckViolation):
        proxy.console('ADVANCE things TO read_new')
    assert postgres.execute(names, 's3_ahead') == before
    with proxy.connect('s3_ahead') as c:
        c.execute('INSERT INTO things VALUES (3, NULL)')
        c.execute('UPDATE things SET a = id WHERE a IS NULL')
    proxy.advance('things', 'read_new')
    assert postgres.execute(names, 's3_ahead') == [
        ('small',), ('small_new',), ('things_a_key',), ('things_a_key_new',),
        ('things_pkey',)]


def test_a_second_change_of_the_table_waits_for_the_firsts_file_to_go(
        postgres, start_proxy):
    make(postgres, 's3_again')
    proxy = start_proxy(postgres, spec('s3_again'))
    proxy.advance('tax_type', *shop.PHASES[1:])
    files = proxy.dir / 'migrations'
    (files / 'rate.yaml').write_text('''
migration: rate
database: s3_again
lenses:
  - kind: columns
    table: public.invoices
    key: [id]
    columns:
      - {old: tax_type, new: {name: tax_code, type: text, not_null: true},
         forward: "tax_type::text", reverse: "tax_code::tax_type", bijective: true}
''')
    proxy.console('RELOAD')
    with pytest.raises(psycopg.Error, match='migration tax_type serves another'
                       ' old shape'):
        proxy.console('ADVANCE rate TO expanded')
    (files / 'tax_type.yaml').unlink()
    proxy.console('RELOAD')
    with proxy.connect('s3_again') as c:
        rows = c.execute('SELECT id, tax_type::text FROM invoices ORDER BY id'
                         ).fetchall()
        for phase in shop.PHASES[1:]:
            proxy.advance('rate', phase)
            assert c.execute('SELECT id, tax_type::text FROM invoices ORDER BY'
                             ' id').fetchall() == rows, phase
            c.execute("UPDATE invoices SET tax_type = 'no_tax' WHERE id = 1")
            rows[0] = (rows[0][0], 'no_tax')

"""Foreign keys of, to and within a table under migration: what they refuse and
what they do is the same in every phase, forward and back."""

import concurrent.futures
import contextlib

import psycopg
import pytest

import harness

TABLES = '''
CREATE TABLE customers (id int PRIMARY KEY, name text);
INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 9) g;
CREATE TABLE inovices (
    id int PRIMARY KEY,
    number text UNIQUE,
    amount integer NOT NULL,
    customr int REFERENCES customers ON DELETE SET NULL,
    parent int REFERENCES inovices);
CREATE TABLE payments (
    id int PRIMARY KEY,
    inovice int REFERENCES inovices ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE notes (
    id int PRIMARY KEY,
    inovice int CONSTRAINT "a note's" REFERENCES inovices
        ON DELETE SET NULL ON UPDATE CASCADE);
CREATE TABLE refunds (
    id int PRIMARY KEY,
    inovice int REFERENCES inovices DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE letters (
    id int PRIMARY KEY,
    number text REFERENCES inovices (number) ON DELETE RESTRICT);
COMMENT ON CONSTRAINT "a note's" ON notes IS 'it''s';
INSERT INTO inovices SELECT g, 'n' || g, g, 1 + g % 9, NULLIF(g / 10, 0)
FROM generate_series(1, 40) g;
INSERT INTO payments SELECT g, g FROM generate_series(1, 30) g;
INSERT INTO notes SELECT g, g FROM generate_series(1, 30) g;
INSERT INTO refunds SELECT g, 20 + g FROM generate_series(1, 3) g;
INSERT INTO letters SELECT g, 'n' || 24 + g FROM generate_series(1, 3) g;
'''

SPEC = '''
migration: typo
database: {database}
quiet_for: 1h
lenses:
  - kind: table
    old: public.inovices
    new: public.invoices
    key: [id]
    columns:
      - {{old: number, new: no}}
      - {{old: customr, new: customer}}
      - {{old: parent, new: parent_id}}
      - old: amount
        new: {{name: amount_cents, type: bigint}}
        forward: (amount * 100)::bigint
        reverse: (amount_cents / 100)::integer
'''

# In a transaction each, rolled back at the end.
SCRIPTS = [
    ['DELETE FROM inovices WHERE id = 15'],
    ['DELETE FROM inovices WHERE id = 2'],
    ['DELETE FROM inovices WHERE id = 21', 'SET CONSTRAINTS ALL IMMEDIATE'],
    ['DELETE FROM inovices WHERE id = 21', 'DELETE FROM refunds WHERE'
     ' inovice = 21', 'SET CONSTRAINTS ALL IMMEDIATE'],
    ['DELETE FROM inovices WHERE id = 25'],
    ['DELETE FROM inovices WHERE id IN (1, 10, 11, 12, 13, 14, 15, 16, 17,'
     ' 18, 19) RETURNING id, customr'],
    ['INSERT INTO inovices VALUES (91, \'x\', 1, 1, 92), (92, \'y\', 1, 1,'
     ' NULL)', 'INSERT INTO payments VALUES (91, 92)'],
    ['INSERT INTO inovices VALUES (91, \'x\', 1, 1, 93)'],
    ['INSERT INTO inovices VALUES (91, \'x\', 1, 77, NULL)'],
    ['INSERT INTO payments VALUES (91, 99)'],
    ['INSERT INTO refunds VALUES (91, 99)', 'INSERT INTO inovices VALUES'
     ' (99, NULL, 1)', 'SET CONSTRAINTS ALL IMMEDIATE'],
    ['INSERT INTO refunds VALUES (91, 99)', 'SET CONSTRAINTS ALL IMMEDIATE'],
    ['UPDATE inovices SET id = 1015 WHERE id = 15'],
    ['UPDATE inovices SET id = 1001 WHERE id = 1'],
    ['UPDATE inovices SET number = \'other\' WHERE id = 25'],
    ['DELETE FROM customers WHERE id = 3'],
    ['DELETE FROM customers'],
    ['UPDATE inovices SET customr = 77 WHERE id = 3'],
]
STATE = ['SELECT * FROM inovices ORDER BY id',
         'SELECT * FROM payments ORDER BY id',
         'SELECT * FROM notes ORDER BY id', 'SELECT * FROM refunds ORDER BY id']


def run(connection, script, state=tuple(STATE)):
    """What each statement gives, and then the tables."""
    got = []
    try:
        for sql in script:
            cur = connection.execute(sql)
            got.append((cur.statusmessage,
                        cur.fetchall() if cur.description else None))
        for sql in state:
            got.append(connection.execute(sql).fetchall())
    except psycopg.Error as e:
        d = e.diag
        got.append((d.sqlstate, d.table_name, d.constraint_name))
    connection.rollback()
    return got


def targets(connection):
    """Which table each foreign key points at, and is it validated?"""
    return {name: (relation, target, valid) for relation, name, target, valid
            in connection.execute(
                'SELECT conrelid::regclass::text, conname,'
                ' confrelid::regclass::text, convalidated FROM pg_constraint'
                " WHERE contype = 'f' ORDER BY 1, 2").fetchall()}


@pytest.fixture
def sides(postgres, start_proxy):
    for name in ("foreign_direct", "foreign_keys"):
        postgres.create_database(name, TABLES)
    proxy = start_proxy(postgres, {'typo.yaml': SPEC.format(
        database='foreign_keys')})
    direct = postgres.connect('foreign_direct', autocommit=False)
    through = proxy.connect('foreign_keys', autocommit=False)
    yield proxy, direct, through
    direct.close()
    through.close()


def compare(direct, through, phase):
    for script in SCRIPTS:
        want, got = run(direct, script), run(through, script)
        assert want == got, (phase, script)


def test_every_phase_keeps_what_foreign_keys_promise(postgres, sides):
    proxy, direct, through = sides
    warnings = proxy.console('SHOW PREFLIGHT typo')
    assert not [w for w in warnings if w['severity'] == 'blocks'], warnings
    seen = postgres.connect('foreign_keys')
    before = targets(seen)
    assert len(before) == 6
    compare(direct, through, 'planned')
    for phase in ('expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only'):
        proxy.advance('typo', phase)
        compare(direct, through, phase)
        keys = targets(seen)
        assert all(valid for _, _, valid in keys.values()), phase
        to_new = [k for k in keys if keys[k][1] == 'invoices']
        if phase in ('write_new', 'new_only'):
            assert sorted(to_new) == [
                "a note's", 'invoices_parent_fkey', 'letters_number_fkey',
                'payments_inovice_fkey', 'refunds_inovice_fkey']
        else:
            assert not to_new
        assert (phase == 'new_only') == ('inovices_customr_fkey' not in keys)
    for phase in ('write_new', 'read_new', 'dual_write', 'expanded',
                  'planned'):
        proxy.rollback('typo')
        if phase == 'write_new':
            proxy.walked('typo')
        assert proxy.phase('typo') == phase
        compare(direct, through, f'back in {phase}')
    assert targets(seen) == before
    assert seen.execute(
        "SELECT obj_description(oid) FROM pg_constraint WHERE conname ="
        " 'a note''s'").fetchone() == ("it's",)
    proxy.advance('typo', 'expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only', 'contracted')
    compare(direct, through, 'contracted')
    assert seen.execute('SELECT count(*) FROM pgtandem.foreign_key'
                        ).fetchone() == (0,)
    seen.close()


def raced(connect):
    """One session refers to a row, another deletes it meanwhile: what the
    second gets, for a key that cascades and for one that refuses."""
    got = []
    for refer in ('INSERT INTO payments VALUES (900, 35)',
                  'INSERT INTO refunds VALUES (900, 36)'):
        row = refer[-3:-1]
        with connect() as first, connect() as second:
            first.execute('SET CONSTRAINTS ALL IMMEDIATE')
            first.execute(refer)
            second.execute("SET lock_timeout = '200ms'")
            second.execute('SAVEPOINT s')
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second.execute(f'DELETE FROM inovices WHERE id = {row}')
            second.execute('ROLLBACK TO s')
            second.execute('SET lock_timeout = 0')
            first.commit()
            try:
                second.execute(f'DELETE FROM inovices WHERE id = {row}')
                second.execute('SET CONSTRAINTS ALL IMMEDIATE')
                got.append(second.execute(
                    'SELECT id FROM payments WHERE id = 900').fetchall())
            except psycopg.Error as e:
                got.append(e.diag.constraint_name)
            second.rollback()
            second.execute('DELETE FROM payments WHERE id = 900')
            second.execute('DELETE FROM refunds WHERE id = 900')
    return got


def test_a_row_that_is_being_referred_to_cannot_go(postgres, sides):
    proxy, direct, _ = sides
    want = raced(lambda: postgres.connect('foreign_direct', autocommit=False))
    assert want == [[], 'refunds_inovice_fkey']
    for phase in ('expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only'):
        proxy.advance('typo', phase)
        assert want == raced(lambda: proxy.connect(
            'foreign_keys', autocommit=False)), phase


BOTH = '''
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers VALUES (1), (2), (3);
CREATE TABLE inovices (id int PRIMARY KEY, amount int,
    customr int REFERENCES customers, parent int REFERENCES inovices);
CREATE TABLE paymnts (id int PRIMARY KEY, inovice int NOT NULL
    REFERENCES inovices ON DELETE CASCADE, amount int);
CREATE TABLE reminders (id int PRIMARY KEY, inovice int
    REFERENCES inovices, paymnt int REFERENCES paymnts ON DELETE SET NULL);
INSERT INTO inovices SELECT g, g, 1 + g % 2 FROM generate_series(1, 20) g;
INSERT INTO paymnts SELECT g, g, g FROM generate_series(1, 20) g;
INSERT INTO reminders SELECT g, g, g + 5 FROM generate_series(1, 5) g;
'''

BOTH_SPEC = '''
migration: both
database: foreign_both
quiet_for: 1h
lenses:
  - kind: table
    old: public.paymnts
    new: public.payments
    key: [id]
    columns:
      - {old: inovice, new: invoice}
  - kind: table
    old: public.inovices
    new: public.invoices
    key: {id: invoice_id}
    columns:
      - {old: customr, new: customer}
'''

BOTH_SCRIPTS = [
    ['DELETE FROM inovices WHERE id = 15'],
    ['DELETE FROM inovices WHERE id = 3'],
    ['DELETE FROM paymnts WHERE id IN (7, 8)'],
    ['INSERT INTO inovices VALUES (50, 1, 1)',
     'INSERT INTO paymnts VALUES (50, 50, 1), (51, 50, 2)',
     'INSERT INTO reminders VALUES (50, 50, 51)',
     'UPDATE paymnts SET inovice = 2 WHERE inovice = 50',
     'DELETE FROM reminders WHERE id = 50',
     'DELETE FROM inovices WHERE id = 50'],
    ['INSERT INTO paymnts VALUES (60, 99, 1)'],
    ['UPDATE inovices SET customr = 9 WHERE id = 1'],
    ['DELETE FROM customers WHERE id = 3'],
    # Rows that refer stand before those that they refer to, and the other
    # way round when they go: foreign keys are looked at in the end.
    ['WITH c AS (INSERT INTO customers VALUES (9)) INSERT INTO inovices'
     ' VALUES (70, 1, 9)'],
    ['WITH i AS (INSERT INTO inovices VALUES (70, 1, 1)) INSERT INTO paymnts'
     ' VALUES (70, 70, 1), (71, 70, 2)',
     'WITH i AS (INSERT INTO inovices VALUES (72)) UPDATE paymnts SET inovice'
     ' = 72 WHERE id = 70',
     'WITH d AS (DELETE FROM paymnts WHERE id IN (70, 71)) DELETE FROM'
     ' inovices WHERE id IN (70, 72)'],
    ['WITH r AS (DELETE FROM reminders WHERE id = 1), p AS (DELETE FROM'
     ' paymnts WHERE id = 1) DELETE FROM inovices WHERE id = 1'],
    ['WITH r AS (DELETE FROM reminders WHERE id = 1), p AS (INSERT INTO'
     ' paymnts VALUES (80, 81, 1)) DELETE FROM inovices WHERE id IN (1, 2)'],
    ['WITH i AS (INSERT INTO inovices VALUES (70)) INSERT INTO paymnts'
     ' VALUES (70, 71, 1)'],
    ['SELECT i.id, p.amount, r.id FROM inovices i JOIN paymnts p ON p.inovice'
     ' = i.id LEFT JOIN reminders r ON r.paymnt = p.id ORDER BY i.id'],
]


# A row before the one of the same table that it refers to.
EARLY = ['INSERT INTO inovices VALUES (70, 1, 1, 71), (71, 1, 1), (72, 1, 1,'
         ' 71)']


def both(connection, scripts=tuple(BOTH_SCRIPTS)):
    return [run(connection, [*script, *(f'TABLE {t} ORDER BY id' for t in (
        'inovices', 'paymnts', 'reminders'))], []) for script in scripts]


@contextlib.contextmanager
def open_transaction(connection):
    connection.execute('SELECT 1')
    try:
        yield
    finally:
        connection.rollback()


def test_both_ends_of_a_foreign_key_before_the_barrier(postgres, start_proxy):
    """While a transaction of read_new is still there, and of write_new."""
    for name in ('foreign_both', 'foreign_both_direct'):
        postgres.create_database(name, BOTH)
    proxy = start_proxy(postgres, {'both.yaml': BOTH_SPEC})
    proxy.advance('both', 'expanded', 'dual_write', 'read_new')

    def enters(phase):
        harness.wait_for(f'{phase} is announced',
                         lambda: proxy.phase('both') == phase)

    with postgres.connect('foreign_both_direct', autocommit=False) as direct:
        want, early = both(direct), both(direct, [EARLY])
    with concurrent.futures.ThreadPoolExecutor() as pool, \
            proxy.connect('foreign_both', autocommit=False) as first, \
            proxy.connect('foreign_both', autocommit=False) as second, \
            proxy.connect('foreign_both', autocommit=False) as through:
        with open_transaction(first):
            move = pool.submit(proxy.move, 'ADVANCE both TO write_new')
            enters('write_new')
            assert want == both(through)
            assert early == both(through, [EARLY])
        move.result()
        last = epoch(postgres)
        with open_transaction(second):
            with open_transaction(first):
                move = pool.submit(proxy.move, 'ROLLBACK both')
                harness.wait_for('old is locked first again',
                                 lambda: epoch(postgres) > last)
                assert want == both(through)
                assert early == both(through, [EARLY])
                second.rollback()
                second.execute('SELECT 1')
            enters('read_new')
            assert want == both(through)
        move.result()
    got = proxy.verify('both')
    assert (got['missing'], got['extra'], got['different']) == (0, 0, 0), got


def epoch(postgres):
    return postgres.execute('SELECT epoch FROM pgtandem.migration',
                            'foreign_both')[0][0]


def test_both_ends_of_a_foreign_key_may_migrate(postgres, start_proxy):
    for name in ('foreign_both', 'foreign_both_direct'):
        postgres.create_database(name, BOTH)
    proxy = start_proxy(postgres, {'both.yaml': BOTH_SPEC})
    direct = postgres.connect('foreign_both_direct', autocommit=False)
    through = proxy.connect('foreign_both', autocommit=False)
    seen = postgres.connect('foreign_both')
    before, want = targets(seen), both(direct)
    for phase in ('expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only'):
        proxy.advance('both', phase)
        assert want == both(through), phase
        assert all(valid for _, _, valid in targets(seen).values()), phase
    # Nothing that stands still holds anybody up.
    assert {(relation, target) for relation, target, _ in
            targets(seen).values()} == {
        ('invoices', 'customers'), ('invoices', 'invoices'),
        ('payments', 'invoices'), ('reminders', 'invoices'),
        ('reminders', 'payments')}
    for phase in ('write_new', 'read_new', 'dual_write', 'expanded',
                  'planned'):
        proxy.rollback('both')
        if phase == 'write_new':
            proxy.walked('both')
        assert want == both(through), f'back in {phase}'
    assert targets(seen) == before
    proxy.advance('both', 'expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only', 'contracted')
    assert want == both(through)
    for c in (direct, through, seen):
        c.close()


def load(connection):
    """Rows before those that they refer to, as what loads test data does it;
    then a key that changes, and what foreign keys say again."""
    tables = ('inovices', 'payments', 'customers')
    connection.execute('; '.join(f'ALTER TABLE {t} DISABLE TRIGGER ALL'
                                 for t in tables))
    connection.execute("INSERT INTO inovices VALUES (801, 'l', 1, 81, 802)")
    connection.execute('INSERT INTO payments VALUES (801, 802)')
    connection.execute("INSERT INTO inovices VALUES (803, 'm', 2, 1, NULL)")
    connection.execute('UPDATE inovices SET id = 802 WHERE id = 803')
    connection.execute("INSERT INTO customers VALUES (81, 'late')")
    cur = connection.execute('ALTER TABLE inovices ENABLE TRIGGER ALL')
    got = [cur.statusmessage, cur.nextset()]
    connection.execute('; '.join(f'ALTER TABLE {t} ENABLE TRIGGER ALL'
                                 for t in tables))
    connection.execute('UPDATE inovices SET id = 804 WHERE id = 801')
    connection.commit()
    for sql in STATE:
        got.append(connection.execute(sql).fetchall())
    for sql in ('INSERT INTO inovices VALUES (805, NULL, 1, 99)',
                'DELETE FROM customers'):
        got += run(connection, [sql])
    connection.execute('DELETE FROM payments WHERE inovice > 800')
    connection.execute('DELETE FROM inovices WHERE id > 800')
    connection.execute('DELETE FROM customers WHERE id = 81')
    connection.commit()
    return got


def test_triggers_are_disabled_for_both_models(sides):
    proxy, direct, through = sides
    want = load(direct)
    for phase in ('expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only', 'contracted'):
        proxy.advance('typo', phase)
        if phase == 'expanded':
            continue
        assert load(through) == want, phase
        if phase in ('dual_write', 'read_new', 'write_new'):
            row = proxy.verify('typo')
            assert row['missing'] + row['extra'] + row['different'] == 0, row


def test_a_prepared_disable_of_triggers_is_refused(sides):
    proxy, _, through = sides
    proxy.advance('typo', 'expanded', 'dual_write')
    with pytest.raises(psycopg.errors.FeatureNotSupported,
                       match='prepared statement'):
        through.execute('ALTER TABLE inovices DISABLE TRIGGER ALL',
                        prepare=True)


CONVERTED = '''
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers SELECT generate_series(1, 9);
CREATE TABLE payments (
    id int PRIMARY KEY,
    payer int REFERENCES customers ON DELETE CASCADE ON UPDATE CASCADE,
    payee int REFERENCES customers, keeper int, note text);
INSERT INTO payments SELECT g, g, NULLIF(g, 3), g FROM generate_series(1, 9) g;
'''
CONVERTED_SPEC = '''
migration: converted
database: {database}
quiet_for: 1h
lenses:
  - kind: table
    old: public.payments
    new: public.payment
    key: [id]
    columns:
      - {{old: payer, new: {{name: payer_id, type: bigint}},
         forward: "payer::bigint", reverse: "payer_id::integer"}}
      - {{old: payee, new: {{name: payee_id, type: bigint}},
         forward: {forward}, reverse: {reverse}}}
      - {{old: keeper, new: {{name: keeper_id, type: bigint}},
         forward: {forward_keeper}, reverse: keeper_id / 10}}
'''
CONVERTED_SCRIPTS = [
    ['DELETE FROM customers WHERE id = 3'],
    ['DELETE FROM customers WHERE id = 4'],
    ['INSERT INTO payments VALUES (10, 99)'],
    ['UPDATE payments SET payee = 99 WHERE id = 1'],
    ['UPDATE customers SET id = 30 WHERE id = 3'],
    ['INSERT INTO customers VALUES (10)',
     'INSERT INTO payments VALUES (10, 10, 10)'],
]


def test_a_whole_number_in_another_type_keeps_its_foreign_key(postgres,
                                                              start_proxy):
    for name in ('foreign_cast', 'foreign_cast_direct'):
        postgres.create_database(name, CONVERTED)
    proxy = start_proxy(postgres, {'converted.yaml': CONVERTED_SPEC.format(
        database='foreign_cast', forward='payee', reverse='payee_id',
        forward_keeper='keeper * 10')})
    direct = postgres.connect('foreign_cast_direct', autocommit=False)
    through = proxy.connect('foreign_cast', autocommit=False)
    for phase in ('expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only', 'contracted'):
        proxy.advance('converted', phase)
        for script in CONVERTED_SCRIPTS:
            script = [*script, 'TABLE payments ORDER BY id']
            assert run(direct, script, []) == run(through, script, []), \
                (phase, script)
    direct.close()
    through.close()


def test_another_converted_column_cannot_follow_its_foreign_key(postgres,
                                                                start_proxy):
    """Rows that the key's action changes in old alone would stay in new."""
    postgres.create_database('foreign_converted', CONVERTED + '''
ALTER TABLE payments ADD FOREIGN KEY (keeper) REFERENCES customers
    ON DELETE SET NULL;''')
    proxy = start_proxy(postgres, {'converted.yaml': CONVERTED_SPEC.format(
        database='foreign_converted', forward='payee * 10',
        reverse='payee_id / 10', forward_keeper='keeper * 10')})
    found = {row['what']: row['severity'] for row in
             proxy.console('SHOW PREFLIGHT converted')}
    assert {column: found[f'foreign key payments_{column}_fkey of '
                          'public.payments']
            for column in ('payer', 'keeper')} == {
        'payer': 'warning', 'keeper': 'blocks'}
    assert [found[what] for what in found
            if what.startswith('left out: payments_payee_fkey')] == ['blocks']
    with pytest.raises(psycopg.Error, match='payments_keeper_fkey'):
        proxy.advance('converted', 'expanded')


def test_triggers_disabled_while_a_move_back_waits_come_on_again(sides):
    proxy, _, through = sides
    proxy.advance('typo', 'expanded', 'dual_write', 'read_new', 'write_new',
                  'new_only')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        through.execute('SELECT 1 FROM customers')  # at new_only from now on
        back = pool.submit(proxy.rollback, 'typo')
        harness.wait_for('the move to be announced',
                         lambda: proxy.phase('typo') == 'write_new')
        through.execute('ALTER TABLE inovices DISABLE TRIGGER ALL')
        through.commit()
        back.result(harness.PATIENCE_S)
    proxy.walked('typo')
    through.execute('INSERT INTO inovices VALUES (900, NULL, 1, 99)')
    through.execute('UPDATE inovices SET id = 901 WHERE id = 900')
    through.commit()
    row = proxy.verify('typo')
    assert row['compared'] > 0
    assert row['missing'] + row['extra'] + row['different'] == 0, row

"""What a lens makes in a real database, without a proxy: the objects of each
move, sync of a key inside a client's transaction, and the walker."""

import contextlib
import json
import os
import random
import subprocess
import threading
import time

import psycopg
import pytest

import harness
import shop

TOOL = os.environ.get('LENS_TOOL') or next(
    (path for build in ('build-asan', 'build')
     if (path := harness.ROOT / build / 'tests/tools/lens_tool').exists()),
    'lens_tool')
PHASES = list(shop.PHASES)


class Lens:
    """A database with a migration that is moved by hand."""

    def __init__(self, postgres, folder, database, tables, spec):
        self.postgres, self.database = postgres, database
        self.name = spec.split('migration:')[1].split()[0]
        self.spec = folder / f'{self.name}.yaml'
        self.spec.write_text(spec)
        postgres.create_database(database, tables)
        self.c = postgres.connect(database)
        self.c.execute(self.tool('state'))
        # As during a move, so that both directions are synced.
        self.c.execute("INSERT INTO pgtandem.migration (name, phase,"
                       " pending_from, epoch, spec_text, spec_hash) VALUES"
                       " (%s, 'read_new', 'write_new', 1, '', '')",
                       (self.name,))
        self.moves = {}

    def words(self, *words):
        return [str(w) for w in (
            TOOL, self.spec, self.postgres.conninfo(
                self.database, options='-c search_path=pg_catalog'), *words)]

    def tool(self, *words):
        done = subprocess.run(self.words(*words), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def move(self, *phases):
        """From each phase to the next; the steps that were run."""
        steps = []
        for start, end in zip(phases, phases[1:]):
            for when in ('before', 'after'):
                with self.c.transaction():
                    for step in self.tool('ddl', start, end, when):
                        self.c.execute(step['sql'])
                        steps.append(step)
        return steps

    def walk(self, job='fill', direction='to_new', *rate):
        done = self.tool('walk', job, direction, *rate)
        assert done['state'] == 'done', done
        return done

    def rows(self, sql, *params):
        return self.c.execute(sql, params or None).fetchall()

    def value(self, sql, *params):
        return self.rows(sql, *params)[0][0]

    def findings(self):
        return self.rows('SELECT kind, key, detail FROM pgtandem.finding'
                         ' ORDER BY kind, key_values')

    def equal(self):
        """Does the target say what the source says?"""
        return self.rows('SELECT id, customr, amount * 100::bigint, phone,'
                         ' note FROM inovices ORDER BY id') == self.rows(
                         'SELECT id, customer, amount_cents, phone, note'
                         ' FROM invoices ORDER BY id')


TABLE = '''
CREATE TABLE stores (id int PRIMARY KEY);
INSERT INTO stores VALUES (1), (2);
CREATE TABLE inovices (
    id serial PRIMARY KEY,
    customr text NOT NULL,
    amount integer NOT NULL DEFAULT 5 CHECK (amount >= 0),
    phone text UNIQUE,
    note varchar(10) DEFAULT 'it''s',
    store_id int REFERENCES stores ON DELETE SET NULL);
CREATE INDEX ON inovices (amount);
CREATE INDEX ON inovices (lower(customr), note DESC) WHERE note <> 'amount';
COMMENT ON COLUMN inovices.note IS 'a "note"';
INSERT INTO inovices (customr, amount, phone)
SELECT 'customer ' || g, g, 'phone ' || g FROM generate_series(1, 500) g;
'''

SPEC = '''
migration: typo
database: any
lenses:
  - kind: table
    old: public.inovices
    new: public.invoices
    key: [id]
    columns:
      - {old: customr, new: customer}
      - old: amount
        new: {name: amount_cents, type: bigint}
        forward: (amount * 100)::bigint
        reverse: (amount_cents / 100)::integer
        bijective: true
'''


@pytest.fixture
def make(postgres, tmp_path):
    made = []

    def make(database, tables=TABLE, spec=SPEC, server=postgres):
        made.append(Lens(server, tmp_path, database, tables, spec))
        return made[-1]
    yield make
    for lens in made:
        lens.c.close()


# The objects of a move.

def test_expand_makes_a_table_like_the_old_one(make):
    lens = make('lens_expand')
    lens.c.execute('''
        DROP ROLE IF EXISTS lens_app; CREATE ROLE lens_app;
        GRANT SELECT, INSERT ON inovices TO lens_app;
        GRANT UPDATE (customr, amount) ON inovices TO lens_app''')
    steps = lens.move('planned', 'expanded')
    assert not [s for s in steps if s['what'].startswith('left out')]
    columns = lens.rows(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull"
        " FROM pg_attribute WHERE attrelid = 'invoices'::regclass"
        " AND attnum > 0 ORDER BY attnum")
    assert columns == [
        ('id', 'integer', True), ('customer', 'text', True),
        ('amount_cents', 'bigint', True), ('phone', 'text', False),
        ('note', 'character varying(10)', False),
        ('store_id', 'integer', False)]
    assert lens.value("SELECT col_description('invoices'::regclass, 5)") == (
        'a "note"')
    constraints = lens.rows(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'invoices'::regclass ORDER BY contype, conname")
    assert constraints == [
        ('invoices_amount_cents_check',
         'CHECK ((((amount_cents / 100))::integer >= 0))'),
        ('invoices_store_id_fkey', 'FOREIGN KEY (store_id) REFERENCES'
         ' stores(id) ON DELETE SET NULL'),
        ('invoices_pkey', 'PRIMARY KEY (id)'),
        ('invoices_phone_key', 'UNIQUE (phone)')]
    indexes = [row[0] for row in lens.rows(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'invoices'"
        " ORDER BY indexname")]
    assert indexes[0].endswith('USING btree (amount_cents)')
    assert indexes[1].endswith(
        "(lower(customer), note DESC) WHERE ((note)::text <> 'amount'::text)")
    assert lens.rows(
        "SELECT has_table_privilege('lens_app', 'invoices', 'INSERT'),"
        " has_column_privilege('lens_app', 'invoices', 'amount_cents',"
        " 'UPDATE'), has_column_privilege('lens_app', 'invoices', 'note',"
        " 'UPDATE')") == [(True, True, False)]
    lens.c.execute('DROP OWNED BY lens_app; DROP ROLE lens_app')


def test_every_move_back_leaves_what_was_before(make):
    lens = make('lens_back')
    objects = ("SELECT string_agg(x, ',' ORDER BY x) FROM (SELECT"
               " oid::regclass::text FROM pg_class WHERE relnamespace IN"
               " ('public'::regnamespace, 'pgtandem'::regnamespace) UNION ALL"
               " SELECT oid::regproc::text FROM pg_proc WHERE pronamespace ="
               " 'pgtandem'::regnamespace UNION ALL SELECT tgname FROM"
               " pg_trigger WHERE NOT tgisinternal) AS t (x)")
    seen = []
    for phase, end in zip(PHASES, PHASES[1:-1]):
        seen.append(lens.value(objects))
        lens.move(phase, end)
        if end == 'dual_write':
            lens.walk()
    for phase, end in zip(PHASES[-2::-1], PHASES[-3::-1]):
        lens.move(phase, end)
        assert lens.value(objects) == seen.pop(), (phase, end)
    assert lens.value('SELECT count(*) FROM inovices') == 500


def test_a_table_that_was_there_before_is_not_dropped(make):
    lens = make('lens_there', TABLE + '''
        CREATE TABLE invoices (id int PRIMARY KEY, customer text NOT NULL,
            amount_cents bigint NOT NULL, phone text, note varchar(10),
            store_id int, paid boolean NOT NULL DEFAULT false);''')
    lens.move('planned', 'expanded', 'planned')
    assert lens.value("SELECT to_regclass('invoices')") is not None


def test_a_serial_column_keeps_its_sequence_to_the_end(make):
    lens = make('lens_serial')
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.move('dual_write', 'read_new', 'write_new', 'new_only', 'contracted')
    assert lens.value('SELECT count(*) FROM inovices') == 0
    assert lens.value("SELECT pg_get_serial_sequence('invoices', 'id')") == (
        'public.inovices_id_seq')
    assert lens.value("INSERT INTO invoices (customer, amount_cents)"
                      " VALUES ('a', 1) RETURNING id") == 501


DESCRIPTION = """
    SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull,
        a.attidentity, pg_get_expr(d.adbin, d.adrelid),
        col_description(a.attrelid, a.attnum)
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid
        AND d.adnum = a.attnum
    WHERE a.attrelid = 'inovices'::regclass AND a.attnum > 0 ORDER BY 2"""
INDEXES = """
    SELECT indexrelid::regclass::text, indisprimary, pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid = 'inovices'::regclass ORDER BY 1"""
CHECKS = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'inovices'::regclass AND contype <> 'f' ORDER BY 1"""


@pytest.mark.parametrize('identity', [False, True])
def test_contract_leaves_what_the_catalog_says(make, identity):
    lens = make(f'lens_husk_{int(identity)}', TABLE.replace(
        'id serial', 'id int GENERATED ALWAYS AS IDENTITY') if identity
        else TABLE)
    lens.c.execute('''
        DROP ROLE IF EXISTS lens_husk; CREATE ROLE lens_husk;
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO lens_husk;
        GRANT ALL ON inovices TO lens_husk''')
    before = [lens.rows(q) for q in (DESCRIPTION, INDEXES, CHECKS)]
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.move('dual_write', 'read_new', 'write_new', 'new_only', 'contracted')
    assert before == [lens.rows(q) for q in (DESCRIPTION, INDEXES, CHECKS)]
    assert lens.rows('TABLE inovices') == []
    for sql in ("INSERT INTO inovices (customr) VALUES ('a')",
                'DELETE FROM inovices', 'TRUNCATE inovices'):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState,
                           match='has carried inovices to public.invoices'):
            lens.c.execute(sql)
    assert lens.value("SELECT relacl::text FROM pg_class WHERE oid ="
                      " 'inovices'::regclass") == '{}'
    lens.c.execute('SET ROLE lens_husk')
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        lens.c.execute('TABLE inovices')
    lens.c.execute('RESET ROLE; DROP OWNED BY lens_husk; DROP ROLE lens_husk')


def test_what_contract_leaves_has_the_names_that_it_had(make):
    """Not those that PostgreSQL would give, which others may have by then;
    and statistics stay behind."""
    lens = make('lens_names', TABLE + '''
        CREATE INDEX inovices_phone_idx ON inovices (customr);
        CREATE INDEX inovices_customr_idx ON inovices (phone);
        CREATE UNIQUE INDEX a_name_of_its_own ON inovices (id, amount);
        ALTER TABLE inovices ADD CONSTRAINT spaced EXCLUDE USING btree
            (id WITH =) WHERE (amount > 0);
        CREATE STATISTICS inovices_stat ON customr, phone FROM inovices;
        CREATE TABLE other (id int); CREATE INDEX inovices_id_amount_idx
            ON other (id)''')
    before = [lens.rows(q) for q in (DESCRIPTION, INDEXES, CHECKS)]
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.move('dual_write', 'read_new', 'write_new', 'new_only', 'contracted')
    assert before == [lens.rows(q) for q in (DESCRIPTION, INDEXES, CHECKS)]


def test_contract_leaves_nothing_if_nothing_is_wanted(make):
    lens = make('lens_no_husk', spec=SPEC.replace(
        'database: any', 'database: any\nhusk: none'))
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.move('dual_write', 'read_new', 'write_new', 'new_only', 'contracted')
    assert lens.value("SELECT to_regclass('inovices')") is None


@pytest.mark.parametrize('kind', ['ALWAYS', 'BY DEFAULT'])
def test_an_identity_goes_on_where_the_old_one_stood(make, kind):
    lens = make('lens_identity', TABLE.replace(
        'id serial PRIMARY KEY',
        f'id int GENERATED {kind} AS IDENTITY (INCREMENT 10) PRIMARY KEY'))
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    assert lens.equal()
    last = lens.value('SELECT max(id) FROM invoices')
    insert = ("INSERT INTO {} DEFAULT VALUES RETURNING id")
    shape = insert.format('pgtandem.typo_1_shape')
    assert lens.value(shape) == last + 10
    lens.move('dual_write', 'read_new', 'write_new', 'new_only', 'contracted')
    assert lens.value(shape) == last + 20
    assert lens.value("INSERT INTO invoices (customer, amount_cents)"
                      " VALUES ('a', 1) RETURNING id") == last + 30
    assert lens.rows("SELECT attidentity FROM pg_attribute WHERE attrelid ="
                     " 'invoices'::regclass AND attname = 'id'") == [
                         (kind[0].lower() if kind[0] == 'A' else 'd',)]


def test_a_table_may_have_two_identities(make):
    lens = make('lens_identities', TABLE.replace(
        'id serial PRIMARY KEY',
        'id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,'
        ' turn bigint GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1)'))
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.move('dual_write', 'read_new', 'write_new', 'new_only', 'contracted')
    assert lens.rows("INSERT INTO invoices (customer, amount_cents)"
                     " VALUES ('a', 1) RETURNING id, turn") == [(501, -501)]
    assert lens.rows("SELECT attname::text, attidentity::text"
                     " FROM pg_attribute WHERE attrelid = 'inovices'::regclass"
                     " AND attidentity <> '' ORDER BY 1") == [
                         ('id', 'a'), ('turn', 'd')]


def test_the_shape_types_a_row_and_the_lens_stores_it(make):
    lens = make('lens_views')
    lens.move('planned', 'expanded')
    insert = '''
        WITH r AS (INSERT INTO pgtandem.typo_1_shape (customr, amount, note)
                   VALUES (%s, %s, %s) RETURNING *)
        INSERT INTO pgtandem.typo_1_lens AS inovices
            (id, customr, phone, note, store_id, "new.amount_cents")
        SELECT id, customr, phone, note, store_id, (amount * 100)::bigint
        FROM r RETURNING id, amount, note'''
    assert lens.rows(insert, 'a', 7, 'n') == [(501, 7, 'n')]
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        lens.rows(insert, 'a', 7, 'longer than ten')
    lens.c.execute('UPDATE pgtandem.typo_1_lens SET "new.amount_cents" = 900,'
                   " customr = 'b' WHERE amount = 7")
    assert lens.rows('SELECT customer, amount_cents FROM invoices') == [
        ('b', 900)]


# Sync of one key, inside a client's transaction.

FUNCTION = {
    'update': "UPDATE inovices SET amount = {amount} WHERE id = 7"
              " RETURNING pgtandem.typo_1_to_new(1, id)",
    'delete': "DELETE FROM inovices WHERE id = 7"
              " RETURNING pgtandem.typo_1_to_new(1, id)",
}
# The same as one statement: what must not be done.
MIRROR = {
    'update': "WITH w AS (UPDATE inovices SET amount = {amount} WHERE id = 7"
              " RETURNING *), i AS (INSERT INTO invoices (id, customer,"
              " amount_cents, phone, note) SELECT id, customr, amount * 100,"
              " phone, note FROM w ON CONFLICT (id) DO NOTHING)"
              " UPDATE invoices SET amount_cents = w.amount * 100 FROM w"
              " WHERE invoices.id = w.id",
    'delete': "WITH w AS (DELETE FROM inovices WHERE id = 7 RETURNING id)"
              " DELETE FROM invoices USING w WHERE invoices.id = w.id",
}


def interleave(lens, first, second):
    """Runs `second` while `first` is not committed and holds the row."""
    one = lens.postgres.connect(lens.database, autocommit=False)
    two = lens.postgres.connect(lens.database)
    one.execute(first)
    pid = two.info.backend_pid
    waiter = threading.Thread(target=two.execute, args=(second,))
    waiter.start()
    harness.wait_for('the second waits', lambda: lens.value(
        'SELECT cardinality(pg_blocking_pids(%s)) > 0', pid))
    one.commit()
    waiter.join()
    one.close()
    two.close()


@pytest.mark.parametrize('how, correct', [(MIRROR, False), (FUNCTION, True)])
def test_two_updates_of_a_row_that_is_not_yet_copied(make, how, correct):
    lens = make('lens_updates')
    lens.move('planned', 'expanded', 'dual_write')
    interleave(lens, how['update'].format(amount=111),
               how['update'].format(amount=222))
    assert lens.value('SELECT amount FROM inovices WHERE id = 7') == 222
    copied = lens.value('SELECT amount_cents FROM invoices WHERE id = 7')
    assert copied == (22200 if correct else 11100)


@pytest.mark.parametrize('how, correct', [(MIRROR, False), (FUNCTION, True)])
def test_a_delete_that_waits_for_an_update(make, how, correct):
    lens = make('lens_delete')
    lens.move('planned', 'expanded', 'dual_write')
    interleave(lens, how['update'].format(amount=111), how['delete'])
    assert lens.value('SELECT count(*) FROM inovices WHERE id = 7') == 0
    orphans = lens.value('SELECT count(*) FROM invoices WHERE id = 7')
    assert orphans == (0 if correct else 1)


ODD_NAMES = ['"Odd ""one"""', '"With space"', 'ÄPFEL', 'Plain_1']


@pytest.mark.parametrize('name', ODD_NAMES)
def test_a_function_without_a_schema_is_found_beside_the_table(make, name):
    """Whatever its name, and whatever search_path is when it runs."""
    lens = make('lens_functions', TABLE + f'''
        CREATE FUNCTION {name}(integer) RETURNS integer IMMUTABLE LANGUAGE sql
            AS $$ SELECT $1 * 10 $$''', SPEC.replace(
        '(amount * 100)::bigint', f"'{name}(amount) * 10::bigint'"))
    lens.move('planned', 'expanded', 'dual_write')
    lens.c.execute('SET search_path = pg_catalog')
    lens.walk()
    assert lens.rows('SELECT amount_cents FROM public.invoices WHERE id = 7'
                     ) == [(700,)]


# The index on gate() comes first and stops a sync that has found no row of its
# key, so that the walker's row is there before the sync's own is.
GATE = '''
CREATE FUNCTION gate(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_setting('test.gate', true) = 'on' THEN
        PERFORM pg_advisory_xact_lock(1);
    END IF;
    RETURN $1;
END $$;
ALTER TABLE invoices DROP CONSTRAINT invoices_pkey,
    DROP CONSTRAINT invoices_phone_key;
CREATE INDEX invoices_gate ON invoices (gate(id));
ALTER TABLE invoices ADD UNIQUE (phone);
ALTER TABLE invoices ADD PRIMARY KEY (id);
SELECT pg_advisory_lock(1)'''
WALKER = ('INSERT INTO invoices (id, customer, amount_cents, phone, note)'
          ' SELECT id, customr, amount * 100, phone, note FROM inovices'
          ' WHERE id = 7 ON CONFLICT DO NOTHING')


def test_a_row_that_the_walker_copies_meanwhile_is_no_violation(make):
    lens = make('lens_race')
    lens.move('planned', 'expanded', 'dual_write')
    lens.c.execute(GATE)
    client = lens.postgres.connect(lens.database, autocommit=False)
    client.execute("SET test.gate = 'on'")
    failed = []

    def write():
        try:
            client.execute(FUNCTION['update'].format(amount=111))
            client.commit()
        except psycopg.Error as e:
            failed.append(e)
    writer = threading.Thread(target=write)
    writer.start()
    harness.wait_for('the sync waits', lambda: lens.rows(
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
    walker = lens.postgres.connect(lens.database, autocommit=False)
    walker.execute(WALKER)
    lens.c.execute('SELECT pg_advisory_unlock(1)')
    harness.wait_for('the sync waits for the walker', lambda: lens.value(
        'SELECT %s = ANY(pg_blocking_pids(%s))', walker.info.backend_pid,
        client.info.backend_pid))
    walker.commit()
    writer.join()
    client.close()
    walker.close()
    assert not failed
    assert lens.value('SELECT amount_cents FROM invoices WHERE id = 7') == (
        11100)


def test_sync_follows_inserts_upserts_and_changed_keys(make):
    lens = make('lens_sync')
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.c.execute("INSERT INTO inovices (customr) SELECT 'n' || g FROM"
                   " generate_series(1, 5) g"
                   " RETURNING pgtandem.typo_1_to_new(1, id)")
    lens.c.execute("INSERT INTO inovices (id, customr) VALUES (3, 'x')"
                   " ON CONFLICT (id) DO UPDATE SET amount = 77"
                   " RETURNING pgtandem.typo_1_to_new(1, id)")
    assert lens.equal()
    lens.c.execute('UPDATE inovices SET id = id + 1000 WHERE id < 10')
    assert lens.equal()
    lens.c.execute("SET session_replication_role = replica;"
                   " UPDATE inovices SET id = id + 5000 WHERE id > 1000;"
                   " RESET session_replication_role")
    assert lens.equal()
    lens.c.execute("UPDATE invoices SET amount_cents = 4200 WHERE id = 20"
                   " RETURNING pgtandem.typo_1_to_old(1, id)")
    lens.c.execute("UPDATE invoices SET id = -id WHERE id = 21")
    assert lens.equal()
    assert lens.value('SELECT pgtandem.typo_1_lock_old(20)')


def test_a_client_without_rights_on_the_new_table_syncs(make):
    lens = make('lens_rights')
    lens.move('planned', 'expanded', 'dual_write')
    lens.c.execute('DROP ROLE IF EXISTS lens_plain; CREATE ROLE lens_plain;'
                   ' GRANT SELECT, UPDATE ON inovices TO lens_plain')
    with lens.c.transaction():
        lens.c.execute("SET LOCAL ROLE lens_plain; SET LOCAL search_path = ''")
        lens.c.execute('UPDATE public.inovices SET amount = 3 WHERE id = 1'
                       ' RETURNING pgtandem.typo_1_to_new(1, id)')
    assert lens.value('SELECT amount_cents FROM invoices') == 300
    lens.c.execute('DROP OWNED BY lens_plain; DROP ROLE lens_plain')


def test_a_statement_of_two_epochs_ago_is_fenced_off(make):
    lens = make('lens_fence')
    lens.move('planned', 'expanded')
    lens.c.execute('UPDATE pgtandem.migration SET epoch = 5')
    lens.c.execute('SELECT pgtandem.typo_1_to_new(4, 1)')
    with pytest.raises(psycopg.errors.CannotConnectNow):
        lens.c.execute('SELECT pgtandem.typo_1_to_new(3, 1)')


def test_a_refused_row_is_an_error_or_a_finding(make):
    lens = make('lens_refused')
    lens.move('planned', 'expanded')
    lens.c.execute("ALTER TABLE invoices ADD CHECK (customer <> 'bad')")
    insert = ("INSERT INTO inovices (customr) VALUES ('bad')"
              " RETURNING pgtandem.typo_1_to_new(1, id)")
    with pytest.raises(psycopg.errors.CheckViolation):
        lens.c.execute(insert)
    lens.c.execute("UPDATE pgtandem.migration SET on_violation = 'quarantine'")
    lens.c.execute(insert)
    assert [f[:2] for f in lens.findings()] == [('violation', '502')]
    lens.c.execute("UPDATE pgtandem.migration SET on_violation = 'fail'")
    back = ("INSERT INTO invoices (customer, amount_cents, phone)"
            " VALUES ('a', 1, 'phone 1')"
            " RETURNING pgtandem.typo_1_to_old(1, id)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        lens.c.execute(back)
    lens.c.execute('UPDATE pgtandem.migration SET old_stale = true')
    lens.c.execute(back)
    assert len(lens.findings()) == 2


# The walker.

def test_a_fill_copies_mends_and_sweeps(make):
    lens = make('lens_fill')
    lens.move('planned', 'expanded', 'dual_write')
    lens.c.execute("INSERT INTO invoices (id, customer, amount_cents) VALUES"
                   " (5, 'stale', 1), (9000, 'orphan', 2), (-4, 'orphan', 3)")
    done = lens.walk()
    assert lens.equal()
    assert (done['compared'], done['missing'], done['extra'],
            done['different']) == (500, 0, 0, 0)
    assert done['inserted'] == 499 and done['swept'] == 2
    lens.c.execute('INSERT INTO inovices (customr) VALUES (1)')
    again = lens.walk()
    assert again == done, 'a walk that is done is not walked again'


def test_a_value_that_is_equal_but_not_the_same_is_different(make):
    lens = make('lens_images', '''
        CREATE TABLE inovices (a text, b uuid, n numeric, j json, p point,
            f float8, x xml, PRIMARY KEY (a, b));
        INSERT INTO inovices SELECT E'"k\\\\ey", {' || g, gen_random_uuid(),
            g + 0.10, '{"a" : 1}', point(g, g), 0, '<a/>'
        FROM generate_series(1, 50) g;''', '''
migration: typo
database: any
lenses:
  - kind: table
    old: public.inovices
    new: public.invoices
    key: [a, b]
    columns:
      - {old: n, new: number}
''')
    lens.move('planned', 'expanded', 'dual_write')
    assert lens.walk()['different'] == 0
    assert lens.value('SELECT count(*) FROM invoices') == 50
    for change in ("number = number + 0.00", "number = trim_scale(number)",
                   """j = '{"a": 1}'""", "p = point(p[0] + 1e-9, p[1])",
                   "f = '-0'", "x = '<a></a>'"):
        lens.c.execute(f'UPDATE invoices SET {change} WHERE a LIKE %s',
                       (r'%{7',))
        found = lens.walk('verify')['different']
        assert found == (0 if '+ 0.00' in change else 1), change
        lens.walk('repair')
        assert lens.walk('verify')['different'] == 0, change
    assert lens.findings() == []


def test_verify_names_what_it_finds_and_repair_mends_it(make):
    lens = make('lens_verify', spec=SPEC.replace(
        'reverse: (amount_cents / 100)::integer',
        'reverse: (least(amount_cents, 45000) / 100)::integer').replace(
        'bijective: true', ''))
    lens.move('planned', 'expanded', 'dual_write')
    assert lens.walk()['lossy'] == 50
    lens.c.execute("DELETE FROM pgtandem.finding; DELETE FROM invoices"
                   " WHERE id = 3; UPDATE invoices SET note = NULL WHERE"
                   " id = 4; INSERT INTO invoices (id, customer, amount_cents)"
                   " VALUES (1000, 'extra', 5)")
    done = lens.walk('verify')
    assert (done['compared'], done['missing'], done['extra'],
            done['different'], done['lossy']) == (500, 1, 1, 1, 50)
    found = {f[0]: (f[1], json.loads(f[2])) for f in lens.findings()}
    assert found['missing'][0] == '3' and not found['missing'][1]['target']
    assert found['extra'][0] == '1000' and not found['extra'][1]['source']
    key, images = found['different']
    assert (key, images['source']['note'], images['target']['note']) == (
        '4', "it's", None)
    assert found['lossy'][1]['comes_back_as']['amount'] == 450
    repaired = lens.walk('repair')
    assert (repaired['synced'], repaired['swept']) == (2, 1)
    assert lens.equal() and {f[0] for f in lens.findings()} == {'lossy'}


def test_rows_that_the_target_refuses_are_named_and_passed_over(make):
    lens = make('lens_refuse')
    lens.move('planned', 'expanded', 'dual_write')
    lens.c.execute('ALTER TABLE invoices ADD CHECK (amount_cents % 7000 > 0)')
    done = lens.walk()
    bad = [(str(g),) for g in range(70, 501, 70)]
    assert done['violations'] == len(bad)
    assert done['missing'] == len(bad) and done['inserted'] == 500 - len(bad)
    assert sorted(lens.rows("SELECT key FROM pgtandem.finding WHERE kind ="
                            " 'violation'")) == sorted(bad)
    lens.c.execute('ALTER TABLE invoices DROP CONSTRAINT'
                   ' invoices_amount_cents_check1')
    assert lens.walk('repair')['synced'] == len(bad)
    done = lens.walk('verify')
    assert (done['missing'], done['violations']) == (0, 0) and lens.equal()


def test_unique_values_that_changed_places_find_their_way_back(make):
    lens = make('lens_places')
    lens.move('planned', 'expanded', 'dual_write')
    lens.walk()
    lens.move('dual_write', 'read_new', 'write_new', 'new_only')
    lens.c.execute("UPDATE invoices SET phone = 'none' WHERE id = 1;"
                   "UPDATE invoices SET phone = 'phone 1' WHERE id = 2;"
                   "UPDATE invoices SET phone = 'phone 2' WHERE id = 3")
    lens.move('new_only', 'write_new')
    done = lens.walk('fill', 'to_old')
    assert done['violations'] == 0 and lens.equal()


def test_the_walker_waits_for_a_row_that_a_client_holds(make):
    lens = make('lens_held')
    lens.move('planned', 'expanded', 'dual_write')
    with lens.postgres.connect(lens.database, autocommit=False) as holder:
        holder.execute("INSERT INTO invoices (id, customer, amount_cents)"
                       " VALUES (250, 'held', 1)")
        walker = subprocess.Popen(lens.words('walk', 'fill', 'to_new'),
                                  stdout=subprocess.PIPE, text=True)
        harness.wait_for('all that can be copied is', lambda: lens.value(
            'SELECT count(*) FROM invoices') == 249)
        assert walker.poll() is None
        holder.rollback()
    done = json.loads(walker.communicate(timeout=harness.PATIENCE_S)[0])
    assert done['state'] == 'done' and lens.equal()


def test_a_walk_waits_for_old_transactions_before_it_sweeps(make):
    lens = make('lens_drain')
    lens.move('planned', 'expanded', 'dual_write')
    with lens.postgres.connect(lens.database, autocommit=False) as old:
        old.execute('SELECT 1')
        walker = subprocess.Popen(lens.words('walk', 'fill', 'to_new'),
                                  stdout=subprocess.PIPE, text=True)
        harness.wait_for('it drains', lambda: lens.rows(
            "SELECT FROM pgtandem.walk WHERE mode = 'drain'"))
        time.sleep(0.5)
        assert lens.rows("SELECT mode FROM pgtandem.walk") == [('drain',)]
        old.execute("PREPARE TRANSACTION 'drained'")
    time.sleep(0.5)
    assert lens.rows("SELECT mode FROM pgtandem.walk")[0][0] in (
        'drain', 'verify', 'verify_target')
    lens.c.execute("ROLLBACK PREPARED 'drained'")
    assert json.loads(walker.communicate(timeout=harness.PATIENCE_S)[0]
                      )['state'] == 'done'


def write_as_a_client(lens, stop, seed, errors):
    """Random dual writes in transactions, each kind at every place."""
    rand = random.Random(seed)
    with lens.postgres.connect(lens.database) as c:
        while not stop.is_set():
            kind, key = rand.randrange(4), rand.randrange(1, 30000)
            sql = (
                "UPDATE inovices SET amount = amount + 1, note = now()::time"
                "::varchar(8) WHERE id = %s",
                "DELETE FROM inovices WHERE id = %s",
                "INSERT INTO inovices (id, customr) VALUES (%s, 'again')"
                " ON CONFLICT (id) DO UPDATE SET amount = inovices.amount + 5",
                "UPDATE inovices SET id = id + 100000 WHERE id = %s",
            )[kind] + ' RETURNING pgtandem.typo_1_to_new(1, id)'
            try:
                with c.transaction(force_rollback=rand.random() < 0.2):
                    c.execute(sql, (key,))
                    if rand.random() < 0.1:
                        time.sleep(0.005)
            except psycopg.errors.UniqueViolation:
                pass
            except psycopg.Error as e:
                errors.append(e)
                return


@contextlib.contextmanager
def writers(lens, n=4):
    stop, errors = threading.Event(), []
    threads = [threading.Thread(target=write_as_a_client,
                                args=(lens, stop, seed, errors))
               for seed in range(n)]
    for t in threads:
        t.start()
    yield
    stop.set()
    for t in threads:
        t.join()
    assert not errors


BUSY = TABLE.replace('500', '20000')


def test_a_fill_among_writers_ends_equal(make):
    lens = make('lens_busy', BUSY)
    lens.move('planned', 'expanded', 'dual_write')
    lens.c.execute("INSERT INTO invoices (id, customer, amount_cents) SELECT"
                   " g, 'stale', g FROM generate_series(100, 25000, 100) g")
    with writers(lens):
        done = lens.walk('fill', 'to_new', 8000)
    assert (done['missing'], done['extra'], done['different']) == (0, 0, 0)
    assert lens.equal()
    assert lens.walk('verify')['compared'] > 0 and lens.findings() == []


def test_a_walk_that_is_killed_goes_on_where_it_stood(make):
    lens = make('lens_killed', BUSY)
    lens.move('planned', 'expanded', 'dual_write')
    stood = 0
    with writers(lens, 2):
        for _ in range(3):
            walker = subprocess.Popen(
                lens.words('walk', 'fill', 'to_new', 2000),
                stdout=subprocess.DEVNULL)
            done = harness.wait_for('it goes on', lambda: lens.rows(
                "SELECT rows_done FROM pgtandem.walk WHERE mode = 'mend' AND"
                " rows_done > %s", stood))
            walker.kill()
            walker.wait()
            assert done[0][0] > stood
            stood = done[0][0]
        done = lens.walk()
    assert done['inserted'] >= stood / 2
    assert lens.equal()


def test_a_walk_outlives_its_backend_and_its_server(own_postgres, make):
    lens = make('lens_restart', BUSY, server=own_postgres)
    lens.move('planned', 'expanded', 'dual_write')
    walker = subprocess.Popen(lens.words('walk', 'fill', 'to_new', 5000),
                              stdout=subprocess.PIPE, text=True)

    def done():
        return lens.rows("SELECT rows_done FROM pgtandem.walk WHERE"
                         " mode = 'mend' AND rows_done > 2000")
    harness.wait_for('a part of the walk', done)
    lens.c.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE datname = 'lens_restart' AND pid <>"
                   " pg_backend_pid()")
    own_postgres.restart('immediate')
    lens.c = own_postgres.connect('lens_restart')
    done = json.loads(walker.communicate(timeout=harness.PATIENCE_S)[0])
    assert done['state'] == 'done', done
    assert lens.equal() and lens.findings() == []

"""S1, a misspelled table: `inovices` becomes `invoices`, with a renamed
column, integer dollars that become bigint cents, and telephone numbers that
get one format, some of which nobody can normalise.  All phases and back, while
an application that knows only the old model goes on."""

import random
import threading

import psycopg
import pytest

import harness
import shop

TABLES = '''
CREATE TABLE inovices (
    id serial PRIMARY KEY,
    customr varchar(20) NOT NULL,
    amount integer NOT NULL CHECK (amount >= 0),
    phone text,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX inovices_customr ON inovices (customr);
INSERT INTO inovices (customr, amount, phone)
    SELECT 'customer ' || g, g, '555-' || lpad(g::text, 4, '0')
    FROM generate_series(1, 400) g;
INSERT INTO inovices (id, customr, amount, phone) VALUES
    (1001, 'bob', 10, 'ask Bob'),
    (1002, 'nobody', 11, NULL),
    (1003, 'empty', 12, ''),
    (1004, 'abroad', 13, '+44 20 7946 0018'),
    (1005, 'plus', 14, '+15550199'),
    (1006, 'brackets', 15, '(555) 0200'),
    (1007, 'spaces', 16, ' 555 0201 ');
SELECT setval('inovices_id_seq', 2000);
'''

# What is no number of seven digits stays as it is written.
SPEC = '''
migration: inovices_typo
database: {database}
{more}
quiet_for: 1h
lenses:
  - kind: table
    old: public.inovices
    new: public.invoices
    key: [id]
    columns:
      - {{old: customr, new: customer}}
      - old: amount
        new: {{name: amount_cents, type: bigint}}
        forward: (amount * 100)::bigint
        reverse: (amount_cents / 100)::integer
        bijective: true
      - old: phone
        new: {{name: phone, type: text}}
        forward: |
          CASE WHEN phone ~ '^[ (]*555[ )-]*[0-9]{{4}} *$'
               THEN '+1' || regexp_replace(phone, '[^0-9]', '', 'g')
               ELSE phone END
        reverse: |
          CASE WHEN phone ~ '^[+]1555[0-9]{{4}}$'
               THEN '555-' || right(phone, 4) ELSE phone END
'''

# These come back in another form.
LOSSY = {'1005': '555-0199', '1006': '555-0200', '1007': '555-0201'}


def make(postgres, database):
    postgres.create_database(database, TABLES)


def spec(database, more=''):
    return {'s1.yaml': SPEC.format(database=database, more=more)}


def clean(proxy):
    result = proxy.verify('inovices_typo')
    assert (result['missing'], result['extra'], result['different']) == (
        0, 0, 0), result


def test_numbers_that_come_back_changed_stop_the_migration(postgres,
                                                           start_proxy):
    """They are named, and the operator decides: here, that one format is what
    the migration is for."""
    make(postgres, 's1_lossy')
    proxy = start_proxy(postgres, spec('s1_lossy'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    assert proxy.verify('inovices_typo')['lossy'] == len(LOSSY)
    with pytest.raises(psycopg.Error, match='3 rows cannot be expressed') as e:
        proxy.console('ADVANCE inovices_typo TO read_new')
    assert all(f'({key})' in e.value.diag.message_detail for key in LOSSY)
    found = {r['key']: r for r in proxy.console('SHOW FINDINGS inovices_typo')}
    assert {r['kind'] for r in found.values()} == {'lossy'}
    assert [k for k in found if any(x in k for x in LOSSY)] == list(found)
    proxy.rollback('inovices_typo')
    proxy.rollback('inovices_typo')
    (proxy.dir / 'migrations' / 's1.yaml').write_text(
        spec('s1_lossy', 'lossy: accept')['s1.yaml'])
    proxy.console('RELOAD')
    proxy.advance('inovices_typo', *shop.PHASES[1:4])
    with proxy.connect('s1_lossy') as c:
        rows = c.execute('SELECT id::text, phone FROM inovices WHERE id > 1000'
                         ' ORDER BY id').fetchall()
    assert dict(rows) == {
        '1001': 'ask Bob', '1002': None, '1003': '',
        '1004': '+44 20 7946 0018', **LOSSY}


class Application(threading.Thread):
    """One session of the old application: it keeps what it has written and
    looks, after every step, whether that is what it reads."""

    PHONES = ['555-1234', 'ask Bob', '', None, '+44 1', '555-12345']

    def __init__(self, proxy, database, name):
        super().__init__()
        self.proxy, self.database, self.who = proxy, database, name
        self.random = random.Random(name)
        self.rows, self.steps, self.failure = {}, 0, None
        self.stopping = threading.Event()

    def run(self):
        try:
            with self.proxy.connect(self.database, autocommit=False) as c:
                while not self.stopping.is_set():
                    self.step(c)
                    c.commit()
                    self.look(c)
                    c.commit()
                    self.steps += 1
        except Exception as e:  # noqa: BLE001
            self.failure = e

    def step(self, c):
        amount, phone = self.random.randrange(999), self.random.choice(
            self.PHONES)
        what = self.random.choice(
            ['insert', 'update', 'raise', 'move', 'delete', 'wrong'])
        if what == 'insert' or len(self.rows) < 3:
            key, = c.execute(
                'INSERT INTO inovices (customr, amount, phone) VALUES (%s, %s,'
                ' %s) RETURNING id', [self.who, amount, phone]).fetchone()
            self.rows[key] = (amount, phone)
            return
        key = self.random.choice(list(self.rows))
        was = self.rows[key]
        if what == 'update':
            c.execute('UPDATE inovices SET amount = %s, phone = %s WHERE id ='
                      ' %s', [amount, phone, key])
            self.rows[key] = (amount, phone)
        elif what == 'raise':
            got = c.execute('UPDATE inovices SET amount = amount + 1 WHERE'
                            ' id = %s RETURNING amount, phone', [key])
            assert got.fetchall() == [(was[0] + 1, was[1])]
            self.rows[key] = (was[0] + 1, was[1])
        elif what == 'move':
            new, = c.execute("UPDATE inovices SET id = nextval("
                             "'inovices_id_seq') WHERE id = %s RETURNING id",
                             [key]).fetchone()
            self.rows[new] = self.rows.pop(key)
        elif what == 'delete':
            assert c.execute('DELETE FROM inovices WHERE id = %s', [key]
                             ).statusmessage == 'DELETE 1'
            del self.rows[key]
        else:
            with pytest.raises(psycopg.errors.CheckViolation):
                c.execute('UPDATE inovices SET amount = -1 WHERE id = %s',
                          [key])
            c.rollback()

    def look(self, c):
        got = c.execute('SELECT id, amount, phone FROM inovices WHERE customr'
                        ' = %s', [self.who]).fetchall()
        assert {r[0]: r[1:] for r in got} == self.rows, (got, self.rows)


def test_all_phases_and_back_under_load(postgres, start_proxy):
    make(postgres, 's1')
    proxy = start_proxy(postgres, spec('s1', 'lossy: accept'))
    sessions = [Application(proxy, 's1', f'worker {n}') for n in range(4)]
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
        for move in (*shop.PHASES[1:6], 'back', 'back', 'back', 'back', 'back',
                     *shop.PHASES[1:4], 'back', *shop.PHASES[3:]):
            if move == 'back':
                was = proxy.phase('inovices_typo')
                proxy.rollback('inovices_typo')
                if was == 'new_only':
                    proxy.walked('inovices_typo')
            else:
                proxy.advance('inovices_typo', move)
            busy()
            if proxy.phase('inovices_typo') in ('dual_write', 'read_new'):
                clean(proxy)
    finally:
        for s in sessions:
            s.stopping.set()
        for s in sessions:
            s.join()
    assert not any(s.failure for s in sessions), [s.failure for s in sessions]
    rows = dict((r[0], r[1:]) for r in postgres.execute(
        "SELECT id, amount_cents, phone FROM invoices WHERE customer LIKE"
        " 'worker %'", 's1'))
    normal = {'555-1234': '+15551234'}
    assert rows == {k: (a * 100, normal.get(p, p))
                    for s in sessions for k, (a, p) in s.rows.items()}
    assert postgres.execute(
        "SELECT count(*), sum(amount_cents) FROM invoices WHERE customer LIKE"
        " 'customer %' AND phone LIKE '+1555____'", 's1') == [(400, 8020000)]
    assert postgres.execute('SELECT count(*) FROM inovices', 's1') == [(0,)]

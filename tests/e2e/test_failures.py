"""Clients that die, backends that are terminated, a server that restarts:
nothing half-written, the walk goes on, verify is clean."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import psycopg

import harness
import shop


def clean(proxy):
    result = proxy.verify('inovices_typo')
    assert (result['missing'], result['extra'], result['different']) == (
        0, 0, 0), result
    return result


def blocked_backend(postgres, database):
    """The pid of the backend of `database` that waits for a lock."""
    def find():
        rows = postgres.execute(
            'SELECT pid FROM pg_stat_activity WHERE datname = '
            f"'{database}' AND wait_event_type = 'Lock'")
        return rows[0][0] if rows else None
    return harness.wait_for('a backend that waits for a lock', find)


def hold_new_row(postgres, database, key):
    """A session that keeps a row of the new table locked, so that a sync of
    it waits between the write and the end of its statement."""
    holder = postgres.connect(database, autocommit=False)
    holder.execute('SELECT 1 FROM invoices WHERE id = %s FOR UPDATE', [key])
    return holder


def both(postgres, database, key):
    return postgres.execute(
        f'SELECT (SELECT amount FROM inovices WHERE id = {key}), '
        f'(SELECT amount_cents FROM invoices WHERE id = {key})', database)[0]


def test_a_backend_terminated_between_a_write_and_its_sync_leaves_nothing(
        postgres, start_proxy):
    shop.make(postgres, 'terminated')
    proxy = start_proxy(postgres, shop.spec('terminated'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    before = both(postgres, 'terminated', 7)
    with hold_new_row(postgres, 'terminated', 7) as holder:
        errors = []

        def write():
            try:
                with proxy.connect('terminated') as c:
                    c.execute('UPDATE inovices SET amount = 999 WHERE id = 7')
            except psycopg.Error as e:
                errors.append(e)
        writer = threading.Thread(target=write)
        writer.start()
        pid = blocked_backend(postgres, 'terminated')
        postgres.execute(f'SELECT pg_terminate_backend({pid})')
        writer.join(harness.PATIENCE_S)
        assert len(errors) == 1
        # psycopg keeps no SQLSTATE of an error that ends the connection.
        assert 'administrator command' in str(errors[0]), errors
        holder.rollback()
    assert both(postgres, 'terminated', 7) == before
    clean(proxy)


def test_a_client_killed_in_the_middle_of_a_dual_write_leaves_nothing(
        postgres, start_proxy):
    shop.make(postgres, 'killed')
    proxy = start_proxy(postgres, shop.spec('killed'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    before = both(postgres, 'killed', 7)
    with hold_new_row(postgres, 'killed', 7) as holder:
        client = subprocess.Popen(
            [sys.executable, '-c', 'import psycopg, sys\n'
             'c = psycopg.connect(sys.argv[1])\n'
             'c.execute("UPDATE inovices SET amount = 1 WHERE id = 6")\n'
             'c.execute("UPDATE inovices SET amount = 999 WHERE id = 7")\n'
             'c.commit()', proxy.conninfo('killed')])
        blocked_backend(postgres, 'killed')
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        holder.rollback()
    harness.wait_for('the session is gone from the server', lambda: (
        postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE datname"
                         " = 'killed' AND xact_start IS NOT NULL")
        == [(0,)]))
    assert both(postgres, 'killed', 7) == before
    assert both(postgres, 'killed', 6) == (6, 600)
    clean(proxy)


def test_a_walk_resumes_after_the_server_restarts_under_it(own_postgres,
                                                           start_proxy):
    rows = 200000
    shop.make(own_postgres, 'restarted', rows)
    proxy = start_proxy(own_postgres, shop.spec('restarted'))
    proxy.console('SET inovices_typo.rate = 20000')
    proxy.advance('inovices_typo', 'expanded')
    proxy.console('ADVANCE inovices_typo TO dual_write')

    def state():
        return proxy.console('SHOW BACKFILL inovices_typo')[0]
    harness.wait_for('a part of the walk',
                     lambda: int(state()['rows_done'] or 0) > 20000)
    own_postgres.restart('immediate')
    copied = own_postgres.execute('SELECT count(*) FROM invoices',
                                  'restarted')[0][0]
    assert 0 < copied < rows
    stored = own_postgres.execute(
        "SELECT max(rows_done) FROM pgtandem.walk", 'restarted')[0][0]
    assert stored > 0

    def goes_on():
        with contextlib.suppress(psycopg.Error):
            return int(state()['rows_done'] or 0) > stored
    harness.wait_for('the walk goes on', goes_on)
    proxy.console('SET inovices_typo.rate = 0')
    proxy.walked('inovices_typo')
    assert clean(proxy)['compared'] >= rows


def test_a_walk_resumes_after_pgtandem_is_killed(postgres, start_proxy):
    rows = 100000
    shop.make(postgres, 'sigkill', rows)
    proxy = start_proxy(postgres, shop.spec('sigkill'))
    proxy.console('SET inovices_typo.rate = 20000')
    proxy.advance('inovices_typo', 'expanded')
    proxy.console('ADVANCE inovices_typo TO dual_write')
    harness.wait_for('a part of the walk', lambda: int(proxy.console(
        'SHOW BACKFILL inovices_typo')[0]['rows_done'] or 0) > 20000)
    proxy.kill()
    proxy.start()
    assert proxy.phase('inovices_typo') == 'dual_write'
    proxy.console('SET inovices_typo.rate = 0')
    proxy.walked('inovices_typo')
    assert clean(proxy)['compared'] >= rows


def test_clients_hear_of_a_server_that_goes_away(own_postgres, start_proxy):
    proxy = start_proxy(own_postgres)
    wire = harness.Wire(proxy.port)
    own_postgres.stop('immediate')
    try:
        # PostgreSQL in its haste sends a warning before it is gone.
        kind, body = wire.until('E')[-1]
        assert harness.error_fields(body)['C'] in ('57P01', '57P02', '08006')
        try:
            harness.Wire(proxy.port)
            raise AssertionError('logged in without a server')
        except EOFError:
            pass
        refused = harness.Wire(proxy.port, startup=False)
        refused.raw(b'\0\0\0\x17\0\3\0\0user\0postgres\0\0')
        kind, body = refused.read()
        assert kind == 'E'
        assert harness.error_fields(body)['C'] == '08006'
        assert 'pgtandem' in harness.error_fields(body)['M']
    finally:
        own_postgres.start()

    def served():
        with contextlib.suppress(EOFError):
            return harness.Wire(proxy.port).query('SELECT 1')[-1][0] == 'Z'
    harness.wait_for('a client is served', served)


def readiness(proxy):
    url = f'http://127.0.0.1:{proxy.admin_port}/readyz'
    try:
        with urllib.request.urlopen(url, timeout=harness.PATIENCE_S) as r:
            return r.status
    except urllib.error.HTTPError as e:
        return e.code


def test_it_is_not_ready_while_its_database_is_away(own_postgres,
                                                    start_proxy):
    shop.make(own_postgres, 'away')
    proxy = start_proxy(own_postgres, shop.spec('away'), top='lease: 1s')
    harness.wait_for('ready', lambda: readiness(proxy) == 200)
    own_postgres.stop()
    try:
        harness.wait_for('not ready', lambda: readiness(proxy) == 503)
    finally:
        own_postgres.start()
    harness.wait_for('ready again', lambda: readiness(proxy) == 200)

"""The admin port: logins, commands by psql and by drivers, cancel, pages."""
import base64
import hashlib
import hmac
import os
import socket
import struct
import subprocess
import urllib.error
import urllib.request

import psycopg
import pytest

import harness
import shop


def secret(password, iterations=4096):
    """As PostgreSQL stores it."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac('sha256', password.encode(), salt, iterations)

    def keyed(text):
        return hmac.new(salted, text, 'sha256').digest()

    def b64(data):
        return base64.b64encode(data).decode()
    stored = hashlib.sha256(keyed(b'Client Key')).digest()
    return (f'SCRAM-SHA-256${iterations}:{b64(salt)}${b64(stored)}:'
            f'{b64(keyed(b"Server Key"))}')


@pytest.fixture
def console(postgres, start_proxy):
    """A proxy with a migration and an admin user."""
    shop.make(postgres, 'console')
    proxy = start_proxy(postgres, shop.spec('console'), start=False)
    text = proxy.config.read_text().replace(
        f'socket: {proxy.dir}',
        f'socket: {proxy.dir}, users: {{ops: "{secret("pencil")}"}}')
    proxy.config.write_text(text)
    proxy.start()
    return proxy


def tcp(proxy, user='ops', password='pencil', **more):
    return psycopg.connect(host='127.0.0.1', port=proxy.admin_port, user=user,
                           password=password, dbname='pgtandem', **more)


def page(proxy, path, method='GET'):
    request = urllib.request.Request(
        f'http://127.0.0.1:{proxy.admin_port}{path}', method=method)
    try:
        with urllib.request.urlopen(request, timeout=harness.PATIENCE_S) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def raw(proxy, data, seconds=harness.PATIENCE_S):
    """What a peer that sends these bytes gets, up to the end."""
    with socket.create_connection(('127.0.0.1', proxy.admin_port),
                                  seconds) as s:
        s.sendall(data)
        got = b''
        while True:
            try:
                part = s.recv(65536)
            except ConnectionResetError:
                return got
            if not part:
                return got
            got += part


def test_a_password_lets_in_and_nothing_else_does(console):
    with tcp(console) as c:
        assert c.execute('SHOW VERSION').fetchone()[0].startswith('pgtandem')
    for user, password in ('ops', 'wrong'), ('nobody', 'pencil'):
        with pytest.raises(psycopg.OperationalError,
                           match='password authentication failed'):
            tcp(console, user, password)


def test_without_users_tcp_is_refused_with_the_reason(postgres, start_proxy):
    proxy = start_proxy(postgres)
    with pytest.raises(psycopg.OperationalError, match='admin.users'):
        tcp(proxy)


def test_psql_is_the_console(console):
    out = subprocess.run(
        ['psql', '-X', '-At', '-h', console.dir, '-p',
         str(console.admin_port), '-d', 'pgtandem', '-c',
         'show migrations; SHOW VERSION', '-c', 'SHOW MIGRATON x'],
        capture_output=True, text=True)
    assert out.stdout.splitlines()[0].startswith(
        'inovices_typo|console|planned|')
    assert out.stdout.splitlines()[1].startswith('pgtandem ')
    assert 'Did you mean "SHOW MIGRATION"' in out.stderr
    assert '     ^' in out.stderr and out.returncode == 1


def test_help_lists_what_works_and_all_of_it_answers(console):
    for row in console.console('SHOW HELP'):
        command = row['command']
        if command.startswith('SHOW'):
            text = command.replace(' m', ' inovices_typo')
            console.console(text)


def test_drivers_prepare_begin_and_roll_back(console):
    with tcp(console) as c:
        for _ in range(8):
            c.execute('SHOW VERSION', prepare=True)
        with pytest.raises(psycopg.errors.SyntaxError) as e:
            c.execute('SHOW NOTHING')
        assert e.value.diag.statement_position == '6'
        c.rollback()
        with c.pipeline():
            a, b = c.execute('SHOW VERSION'), c.execute('SHOW MIGRATIONS')
            assert a.fetchone() and b.fetchone()
        with pytest.raises(psycopg.errors.SyntaxError):
            c.execute('SHOW MIGRATION %s', ('inovices_typo',))


def test_nothing_runs_when_one_command_of_a_text_is_wrong(console):
    with tcp(console, autocommit=True) as c:
        cursor = psycopg.ClientCursor(c)
        with pytest.raises(psycopg.errors.SyntaxError):
            cursor.execute('ADVANCE inovices_typo; SHOW NOTHING')
    assert console.phase('inovices_typo') == 'planned'


def test_contracted_with_force_wants_the_name_twice(console):
    with tcp(console, autocommit=True) as c:
        for command in ('ADVANCE inovices_typo TO contracted FORCE',
                        'ADVANCE inovices_typo TO contracted FORCE other'):
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                c.execute(command)
    assert console.phase('inovices_typo') == 'planned'


def test_a_long_command_tells_its_progress_and_can_be_cancelled(
        console, postgres):
    console.advance('inovices_typo', 'expanded', 'dual_write')
    notices = []
    console.console('ADVANCE inovices_typo TO read_new', notices)
    assert any('read_new' in n for n in notices)
    assert any(e['to'] == 'read_new' and e['who'].startswith('ops at ')
               for e in console.console('SHOW EVENTS inovices_typo'))
    # A transaction of the earlier phase keeps the barrier of the next move.
    with psycopg.connect(console.conninfo('console')) as old, \
            tcp(console, autocommit=True) as c:
        old.execute('SELECT count(*) FROM inovices')
        with pytest.raises(psycopg.errors.QueryCanceled), \
                harness.cancelling(c):
            c.execute('ADVANCE inovices_typo TO write_new')
        assert c.execute('SHOW VERSION').fetchone()


def test_pages(console):
    assert page(console, '/healthz') == (200, 'ok\n')
    assert page(console, '/readyz') == (200, 'ready\n')
    status, text = page(console, '/metrics')
    assert status == 200
    assert ('pgtandem_migration_phase{migration="inovices_typo",'
            'database="console"} 0') in text
    samples = [s for s in text.splitlines() if not s.startswith('#')]
    names = [s.rsplit(' ', 1)[0] for s in samples]
    assert len(names) == len(set(names))
    for sample in samples:
        float(sample.rsplit(' ', 1)[1])
    status, text = page(console, '/')
    assert status == 200 and 'aria-current="step"' in text
    assert '<script' not in text and 'http://' not in text
    assert page(console, '/nothing')[0] == 404
    assert page(console, '/', 'POST')[0] == 405
    assert page(console, '/healthz', 'HEAD') == (200, '')


@pytest.mark.parametrize('data', [
    b'\0\0\0\3', b'\x7f\xff\xff\xff1234', b'\xff' * 100, b'\0\1\0\0aaaa',
    struct.pack('!ii', 8, 131072), struct.pack('!iiii', 16, 80877102, 1, 5),
    struct.pack('!ii', 18, 196608) + b'user\0ops\0\0' +
    b'p' + struct.pack('!i', 0x40000000),
    b'HELLO\r\n\r\n',
])
def test_garbage_ends_its_connection_only(console, data):
    raw(console, data)
    assert console.console('SHOW VERSION')


def test_a_crowd_is_refused_and_the_others_stay(console):
    crowd = []
    with pytest.raises(psycopg.OperationalError, match='too many'):
        for _ in range(100):
            crowd.append(tcp(console, autocommit=True))
    assert crowd[0].execute('SHOW VERSION').fetchone()
    for c in crowd:
        c.close()


def test_reload_keeps_everything_when_the_file_is_wrong(console):
    good = console.config.read_text()
    console.config.write_text(good + 'nothing: 1\n')
    with pytest.raises(psycopg.Error, match='nothing'):
        console.console('RELOAD')
    console.config.write_text(good.replace('ops:', 'admin:'))
    console.console('RELOAD')
    with tcp(console, 'admin') as c:
        assert c.execute('SHOW VERSION').fetchone()
    with pytest.raises(psycopg.OperationalError):
        tcp(console, 'ops')


def test_a_second_daemon_ends_before_it_takes_a_client(console):
    second = subprocess.run([console.binary, 'serve', '-c', console.config],
                            capture_output=True, text=True,
                            timeout=harness.PATIENCE_S)
    assert second.returncode == 1 and 'listen' in second.stderr
    with tcp(console) as c:
        assert c.execute('SHOW VERSION').fetchone()


def test_shutdown_ends_in_order(console):
    console.console('SHUTDOWN')
    assert console.process.wait(harness.PATIENCE_S) == 0


@pytest.mark.parametrize('arguments, status', [
    (['--version'], 0), (['--help'], 0), ([], 2), (['nothing'], 2),
    (['serve'], 2), (['check', '-x'], 2), (['check', '-c', '/nowhere'], 1),
    (['rewrite', '-c', 'x', '-m', 'm', '-p', 'nothing', 'SELECT 1'], 2),
])
def test_exit_codes(console, arguments, status):
    run = subprocess.run([console.binary, *arguments], capture_output=True,
                         text=True)
    assert run.returncode == status, run.stderr
    assert (run.stderr == '') == (status == 0)


def test_check_prints_settings_and_ddl_and_changes_nothing(
        postgres, start_proxy):
    shop.make(postgres, 'checked')
    proxy = start_proxy(postgres, shop.spec('checked'), start=False)
    proxy.log_path.touch()
    run = subprocess.run([proxy.binary, 'check', '-c', proxy.config],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 'barrier_timeout: 5m' in run.stdout
    assert 'CREATE TABLE public.invoices' in run.stdout
    with psycopg.connect(postgres.conninfo('checked')) as c:
        assert c.execute("SELECT to_regnamespace('pgtandem')").fetchone() == (
            None,)

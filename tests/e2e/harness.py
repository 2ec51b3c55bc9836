"""Real parts for the end-to-end tests: a PostgreSQL of the tests' own, a
pgtandem before it, its console, and a client that speaks raw messages."""

import contextlib
import os
import pathlib
import pwd
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import psycopg

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENTS = pathlib.Path('/usr/lib/postgresql/15/bin')
PGBIN = pathlib.Path(os.environ.get('PGTANDEM_TEST_PG_BIN') or CLIENTS)
PLAIN = ROOT / 'build' / 'pgtandem'
SANITIZED = ROOT / 'build-asan' / 'pgtandem'


# Ports above those of deploy/quickstart and below those that the kernel gives to
# connections.  A process takes them a block at a time and none twice, and holds
# the block by a name that nobody else can have meanwhile: a port stays its own
# while what listens there starts again.
FIRST_PORT, BLOCK, BLOCKS = 17000, 200, 75
_held = []


def _ports():
    for n in range(BLOCKS):
        n = (os.getpid() + n) % BLOCKS
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f'\0pgtandem-test-ports-{n}')
        except OSError:
            name.close()
            continue
        _held.append(name)
        yield from range(FIRST_PORT + n * BLOCK, FIRST_PORT + (n + 1) * BLOCK)
    raise RuntimeError('no ports are left')


_own_ports = _ports()


def free_port():
    for port in _own_ports:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(('127.0.0.1', port))
            return port


def unprivileged():
    """Words before a command that make it run as a plain user, and that user:
    PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return [], None
    for name in ('postgres', 'nobody'):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return ['setpriv', f'--reuid={user.pw_uid}',
                    f'--regid={user.pw_gid}', '--init-groups'], user
    raise RuntimeError('no unprivileged user to run PostgreSQL as')


# Nothing that works takes as long, on a machine however slow.
PATIENCE_S = 300


def wait_for(what, check, seconds=PATIENCE_S, every=0.05):
    """Returns what `check` returns once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = check()
        if got:
            return got
        time.sleep(every)
    raise AssertionError(f'{what}: not within {seconds} s')


@contextlib.contextmanager
def cancelling(connection):
    """Cancels what it does in the block, again and again: a cancel that comes
    before the statement does nothing."""
    ended = threading.Event()

    def cancel():
        while not ended.wait(0.5):
            connection.cancel()
    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        yield
    finally:
        ended.set()
        canceller.join()


# To find tests that depend on plans: with a number in PGTANDEM_TEST_PLANS each
# database plans in a way of its own.
PLANNER = ('enable_seqscan', 'enable_indexscan', 'enable_indexonlyscan',
           'enable_bitmapscan', 'enable_hashjoin', 'enable_mergejoin',
           'enable_nestloop', 'enable_hashagg', 'enable_sort',
           'enable_material')

# Of memory: what the servers of a whole run have in their folders at once, and
# as much again for all else.
PLENTY = 12 << 30

# Of a daemon: a machine that stops for seconds is not what is tested.
SETTINGS = {'lease': '5m', 'hold_timeout': '5m', 'barrier_timeout': '5m'}


def planner_settings(database):
    seed = os.environ.get('PGTANDEM_TEST_PLANS')
    chosen = random.Random(f'{seed} {database}')
    # What is off costs so much that everything would be compiled.
    return [f'ALTER DATABASE {database} SET {name} = off'
            for name in PLANNER if seed and chosen.random() < 0.3] + [
                f'ALTER DATABASE {database} SET jit = off'] * bool(seed)


def roomy_memory():
    """The folder of shared memory, if there is plenty: making and dropping a
    database is hundreds of files, which cost several times as much on a disk."""
    memory, free = pathlib.Path('/dev/shm'), 0
    for line in open('/proc/meminfo'):
        if line.startswith('MemAvailable:'):
            free = int(line.split()[1]) * 1024
    if memory.is_dir():
        free = min(free, shutil.disk_usage(memory).free)
        return memory if free >= PLENTY else None
    return None


class Postgres:
    """One cluster in a temporary folder, superuser `postgres`, trust."""

    def __init__(self, settings=(), certificates=None, hba=None,
                 programs=PGBIN):
        self.programs = programs
        self.prefix, self.user = unprivileged()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='pgtandem-pg-',
                                                 dir=roomy_memory()))
        self.port = free_port()
        self.host = '127.0.0.1'
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self._run(self.programs / 'initdb', '-D', self.data, '-U', 'postgres',
                  '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '-N')
        lines = ["listen_addresses = '127.0.0.1'", f'port = {self.port}',
                 f"unix_socket_directories = '{self.dir}'", 'fsync = off',
                 'synchronous_commit = off', 'shared_buffers = 64MB',
                 'max_connections = 200', 'max_wal_size = 1GB',
                 'max_prepared_transactions = 4', 'wal_level = logical',
                 *settings,
                 *os.environ.get('PGTANDEM_TEST_SETTINGS', '').split(';')]
        if certificates:
            for name in ('server.crt', 'server.key', 'ca.crt'):
                self._place(name, (certificates / name).read_bytes(), 0o600)
            lines += ['ssl = on', "ssl_cert_file = 'server.crt'",
                      "ssl_key_file = 'server.key'", "ssl_ca_file = 'ca.crt'"]
        with open(self.data / 'postgresql.conf', 'a') as f:
            f.write('\n'.join(lines) + '\n')
        if hba:
            self._place('pg_hba.conf', hba.encode(), 0o600)
        self.start()

    def version(self):
        """180004 is 18.4."""
        with self.connect() as c:
            return c.info.server_version

    @property
    def data(self):
        return self.dir / 'data'

    def _place(self, name, content, mode):
        path = self.data / name
        path.write_bytes(content)
        path.chmod(mode)
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _run(self, *words):
        done = subprocess.run([*self.prefix, *map(str, words)], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, cwd='/')
        if done.returncode:
            raise RuntimeError(f'{words}: {done.stdout}')
        return done.stdout

    def start(self):
        # pg_ctl's child keeps the pipe open: give it a file.
        with open(self.dir / 'ctl.log', 'ab') as log:
            subprocess.run([*self.prefix, self.programs / 'pg_ctl', '-D', self.data,
                            '-w', '-t', str(PATIENCE_S), '-l',
                            self.dir / 'log', 'start'],
                           check=True, stdout=log, stderr=log, cwd='/')

    def stop(self, mode='fast'):
        self._run(self.programs / 'pg_ctl', '-D', self.data, '-m', mode, '-t',
                  PATIENCE_S, 'stop')

    def restart(self, mode='immediate'):
        self.stop(mode)
        self.start()

    def destroy(self):
        with contextlib.suppress(RuntimeError):
            self.stop('immediate')
        shutil.rmtree(self.dir, ignore_errors=True)

    def conninfo(self, dbname='postgres', **more):
        return psycopg.conninfo.make_conninfo(
            **{'host': self.host, 'port': self.port, 'user': 'postgres',
               'dbname': dbname, **more})

    def connect(self, dbname='postgres', autocommit=True, **more):
        return psycopg.connect(self.conninfo(dbname, **more),
                               autocommit=autocommit)

    def execute(self, sql, dbname='postgres'):
        """Runs statements; the rows of the last one that has any."""
        with self.connect(dbname) as c:
            cur = c.execute(sql)
            rows = []
            while True:
                if cur.description:
                    rows = cur.fetchall()
                if not cur.nextset():
                    return rows

    def drop_database(self, name):
        force = ' WITH (FORCE)' if self.version() >= 130000 else ''
        self.execute(f'DROP DATABASE IF EXISTS {name}{force}')

    def create_database(self, name, sql='', template='template1'):
        self.drop_database(name)
        self.execute(f'CREATE DATABASE {name} TEMPLATE {template}')
        self.vary_plans(name)
        if sql:
            self.execute(sql, name)

    def copy_database(self, template, name):
        def copied():
            # Backends of sessions that have ended may still be there.
            with contextlib.suppress(psycopg.errors.ObjectInUse):
                self.create_database(name, template=template)
                return True
        wait_for(f'a copy of {template}', copied)

    def vary_plans(self, database):
        for statement in planner_settings(database):
            self.execute(statement)


class Proxy:
    """A running pgtandem with its own folder, configuration and console.

    `specs` maps file names to YAML texts.  `top`, `listen` and `server` add
    to the configuration (YAML flow texts)."""

    def __init__(self, postgres, specs=None, top='', listen='', server=None,
                 binary=None, start=True, control='user=postgres',
                 descriptors=None, workers=2):
        self.postgres = postgres
        self.binary = binary or os.environ.get('PGTANDEM') or (
            SANITIZED if SANITIZED.exists() else PLAIN)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='pgtandem-'))
        self.port, self.admin_port = free_port(), free_port()
        self.log_path = self.dir / 'log'
        self.process = None
        self.descriptors = descriptors
        (self.dir / 'migrations').mkdir()
        for name, text in (specs or {}).items():
            (self.dir / 'migrations' / name).write_text(text)
        server = server or (f'{{host: {postgres.host}, port: {postgres.port}, '
                            'tls: {mode: disable}}')
        self.config = self.dir / 'pgtandem.yaml'
        top = '\n'.join([top] + [f'{name}: {value}' for name, value in
                                 SETTINGS.items() if f'{name}:' not in top])
        self.config.write_text(f'''\
listen:
  - {{address: 127.0.0.1, port: {self.port}{listen}}}
server: {server}
admin: {{address: 127.0.0.1, port: {self.admin_port}, socket: {self.dir}}}
control: "{control}"
workers: {workers}
migrations: migrations/*.yaml
{top}
''')
        if start:
            self.start()

    def start(self):
        log = open(self.log_path, 'ab')
        self.process = subprocess.Popen(
            [self.binary, 'serve', '-c', self.config], stderr=log, stdout=log,
            env={**os.environ, 'ASAN_OPTIONS': 'detect_leaks=1',
                 'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1'},
            preexec_fn=self.descriptors and (lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (self.descriptors,) * 2)))
        log.close()

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f'pgtandem ended: {self.log()}')
            with contextlib.suppress(psycopg.OperationalError):
                return bool(self.console('SHOW VERSION'))
        wait_for('pgtandem answers', ready)

    def log(self):
        return self.log_path.read_text(errors='replace')

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=PATIENCE_S):
        """Ends it and returns its exit status; 0 unless it had to be killed
        or the sanitizers found something."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def destroy(self):
        """Stops it; complains when it did not end in order."""
        was_running = self.process is not None
        status, log = self.stop(), self.log()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert 'Sanitizer' not in log and 'runtime error' not in log, log
        assert not was_running or status == 0, (status, log[-4000:])

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def conninfo(self, dbname='postgres', **more):
        return psycopg.conninfo.make_conninfo(
            **{'host': '127.0.0.1', 'port': self.port, 'user': 'postgres',
               'dbname': dbname, **more})

    def connect(self, dbname='postgres', autocommit=True, **more):
        return psycopg.connect(self.conninfo(dbname, **more),
                               autocommit=autocommit)

    def console(self, command, notices=None):
        """One console command; its rows as dictionaries."""
        with psycopg.connect(host=str(self.dir), port=self.admin_port,
                             user='ops', dbname='pgtandem',
                             autocommit=True) as c:
            if notices is not None:
                c.add_notice_handler(
                    lambda d: notices.append(d.message_primary))
            cur = c.execute(command)
            if not cur.description:
                return []
            names = [d.name for d in cur.description]
            return [dict(zip(names, row)) for row in cur.fetchall()]

    def phase(self, migration):
        for row in self.console('SHOW MIGRATIONS'):
            if row['name'] == migration:
                return row['phase']
        raise AssertionError(f'no migration {migration}')

    def move(self, command):
        """A move that has found no lock in time has changed nothing and may be
        told again, as it says."""
        def done():
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                self.console(command)
                return True
        wait_for(command, done)

    def advance(self, migration, *phases, seconds=PATIENCE_S):
        for phase in phases:
            force = f' FORCE {migration}' if phase == 'contracted' else ''
            self.move(f'ADVANCE {migration} TO {phase}{force}')
            if phase == 'dual_write':
                self.walked(migration, seconds)

    def rollback(self, migration):
        self.move(f'ROLLBACK {migration}')

    def walked(self, migration, seconds=PATIENCE_S):
        """Waits for the walk to be complete; its last row."""
        def complete():
            row = self.console(f'SHOW BACKFILL {migration}')[0]
            assert row['state'] != 'failed', row
            return row if row['state'] == 'complete' else None
        return wait_for(f'the walk of {migration}', complete, seconds)

    def verify(self, migration):
        """VERIFY's row with the counts as numbers."""
        row = self.console(f'VERIFY {migration}')[0]
        return {k: int(v) for k, v in row.items()}

    def cpu_s(self):
        """CPU seconds used so far, by all threads."""
        stat = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text()
        fields = stat.rsplit(')')[1].split()
        return ((int(fields[11]) + int(fields[12])) /
                os.sysconf('SC_CLK_TCK'))

    def memory_kb(self):
        for line in open(f'/proc/{self.process.pid}/status'):
            if line.startswith('VmRSS'):
                return int(line.split()[1])
        raise AssertionError('no VmRSS')


class Wire:
    """A client that sends and reads raw protocol messages."""

    def __init__(self, port, host='127.0.0.1', user='postgres', dbname=None,
                 timeout=PATIENCE_S, startup=True, **params):
        self.sock = socket.create_connection((host, port), timeout)
        self.rest = b''
        if startup:
            words = {'user': user, 'database': dbname or user, **params}
            body = b''.join(k.encode() + b'\0' + v.encode() + b'\0'
                            for k, v in words.items()) + b'\0'
            self.raw(struct.pack('!II', len(body) + 8, 196608) + body)
            self.greeting = self.until('Z')

    def raw(self, data):
        self.sock.sendall(data)

    def send(self, kind, body=b''):
        self.raw(message(kind, body))

    def query(self, sql):
        self.send('Q', sql.encode() + b'\0')
        return self.until('Z')

    def _need(self, n):
        while len(self.rest) < n:
            got = self.sock.recv(65536)
            if not got:
                raise EOFError
            self.rest += got

    def read(self):
        """One message: its type and body."""
        self._need(5)
        kind, length = chr(self.rest[0]), struct.unpack('!I', self.rest[1:5])[0]
        self._need(length + 1)
        body, self.rest = self.rest[5:length + 1], self.rest[length + 1:]
        return kind, body

    def until(self, kind):
        got = []
        while True:
            got.append(self.read())
            if got[-1][0] == kind:
                return got

    def close(self):
        self.sock.close()


def message(kind, body=b''):
    return kind.encode() + struct.pack('!I', len(body) + 4) + body


def parse(sql, name='', types=()):
    return message('P', name.encode() + b'\0' + sql.encode() + b'\0' +
                   struct.pack(f'!H{len(types)}I', len(types), *types))


def bind(values=(), portal='', name='', results=()):
    body = portal.encode() + b'\0' + name.encode() + b'\0'
    body += struct.pack('!HH', 0, len(values))
    for v in values:
        body += (struct.pack('!i', -1) if v is None else
                 struct.pack('!i', len(v)) + v)
    return message('B', body + struct.pack(f'!H{len(results)}H', len(results),
                                           *results))


def describe(kind='P', name=''):
    return message('D', kind.encode() + name.encode() + b'\0')


def execute(portal='', rows=0):
    return message('E', portal.encode() + b'\0' + struct.pack('!I', rows))


def close(kind='S', name=''):
    return message('C', kind.encode() + name.encode() + b'\0')


SYNC = message('S')
FLUSH = message('H')


def error_fields(body):
    """An ErrorResponse's fields by their letters."""
    return {chr(f[0]): f[1:].decode() for f in body.split(b'\0') if f}


def make_certificates(folder):
    """A CA, a server certificate for 127.0.0.1 and localhost, a client's."""
    def openssl(*words):
        subprocess.run(['openssl', *words], check=True, cwd=folder,
                       capture_output=True)
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
            '-subj', '/CN=test authority', '-keyout', 'ca.key',
            '-out', 'ca.crt')
    for name, subject, extension in (
            ('server', '/CN=localhost',
             'subjectAltName=DNS:localhost,IP:127.0.0.1'),
            ('client', '/CN=postgres', 'extendedKeyUsage=clientAuth')):
        openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', subject,
                '-keyout', f'{name}.key', '-out', f'{name}.csr')
        (folder / f'{name}.ext').write_text(extension + '\n')
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.crt',
                '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
                '-extfile', f'{name}.ext', '-out', f'{name}.crt')
        (folder / f'{name}.key').chmod(0o600)

"""Hostile input on every side: the daemon lives, its memory stays flat, and a
bystander sees no stall over 100 ms."""

import contextlib
import os
import pathlib
import socket
import struct
import threading
import time

import psycopg
import pytest

import harness
import shop

pytestmark = pytest.mark.alone

STALL_S = 0.1
PROC = pathlib.Path('/proc')
# What the sanitizers cost must not count as a stall.
BINARY = harness.PLAIN


@pytest.fixture(scope='module')
def proxy(postgres):
    shop.make(postgres, 'hostile')
    started = harness.Proxy(postgres, shop.spec('hostile'), binary=BINARY,
                            top='login_timeout: 3s')
    started.advance('inovices_typo', 'expanded', 'dual_write', 'read_new')
    yield started
    started.destroy()


def waited_s(folders):
    """Seconds that tasks have been ready to run while the machine did
    something else."""
    waited = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            waited += int((folder / 'schedstat').read_text().split()[1])
    return waited / 1e9


class Bystander(threading.Thread):
    """Measures, until it is stopped, the slowest round trip of sessions of its
    own, some on each of the workers' loops; without the time that the machine
    gave to others, as it may have other things to do."""

    def __init__(self, proxy):
        super().__init__()
        self.stopped = threading.Event()
        self.slowest, self.error = 0.0, None
        self.tasks = list(PROC.glob(f'{proxy.process.pid}/task/*'))
        self.tasks.append(PROC / 'thread-self')
        self.wires = [harness.Wire(proxy.port, dbname='hostile')
                      for _ in range(6)]
        self.start()

    def round_trip(self, wire, tasks):
        waited, began = waited_s(tasks), time.monotonic()
        wire.query('SELECT 1')
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took - waited_s(tasks) + waited)

    def run(self):
        try:
            pids = [wire.query('SELECT pg_backend_pid()')[1][1][6:].decode()
                    for wire in self.wires]
            while not self.stopped.is_set():
                for wire, pid in zip(self.wires, pids):
                    self.round_trip(wire, [*self.tasks, PROC / pid])
                time.sleep(0.002)
        except (OSError, EOFError) as e:
            self.error = e

    def stop(self):
        self.stopped.set()
        self.join()
        for wire in self.wires:
            wire.close()


def stall_s(proxy, attack):
    """How long a bystander had to wait while `attack` ran."""
    bystander = Bystander(proxy)
    try:
        attack()
        time.sleep(0.05)
    finally:
        bystander.stop()
    assert bystander.error is None, bystander.error
    return bystander.slowest


def unharmed(proxy, attack, growth_kb=40960):
    """A loop that is held up is so each time; a machine that has other things
    to do is not."""
    stalls = []
    while not stalls or min(stalls) >= STALL_S:
        assert len(stalls) < 6, stalls
        before = proxy.memory_kb()
        stalls.append(stall_s(proxy, attack))
        assert proxy.alive(), proxy.log()[-4000:]
        with proxy.connect('hostile') as c:
            assert c.execute('SELECT id FROM inovices WHERE id = 1'
                             ).fetchall() == [(1,)]
        assert proxy.memory_kb() - before < growth_kb


MEGABYTE = 1 << 20
STATEMENTS = {
    'a megabyte of additions':
        'SELECT ' + '1+' * (MEGABYTE // 2) + '1 FROM {}',
    'nested parentheses':
        'SELECT ' + '(' * 100000 + '1' + ')' * 100000 + ' FROM {}',
    'nested subselects':
        'SELECT * FROM ' + '(SELECT * FROM ' * 20000 + '{}'
        + ') AS x' * 20000,
    'nested comments': 'SELECT ' + '/*' * 20000 + '*/' * 20000 + ' 1 FROM {}',
    '100,000 UNIONs': 'SELECT 1 FROM {}' + ' UNION SELECT 1' * 100000,
    'a megabyte of NOT': 'SELECT ' + 'NOT ' * (MEGABYTE // 4) + 'true FROM {}',
    'a megabyte of minus signs':
        'SELECT ' + '- ' * (MEGABYTE // 2) + '1 FROM {}',
    'nested CASE': 'SELECT ' + 'CASE WHEN ' * 20000 + 'true'
                   + ' THEN true END' * 20000 + ' FROM {}',
    'a long AND chain':
        'SELECT 1 FROM {} WHERE ' + 'true AND ' * 100000 + 'true',
    'nested array brackets':
        'SELECT ' + 'ARRAY[' * 50000 + '1' + ']' * 50000 + ' FROM {}',
    'a chain of casts': 'SELECT 1' + '::int' * 150000 + ' FROM {}',
    'a chain of joins': 'SELECT 1 FROM {}' + ' CROSS JOIN payments' * 50000,
    'a quote that is never closed': "SELECT 'x FROM {}" + 'y' * MEGABYTE,
}


@pytest.mark.parametrize('table', ['inovices', 'payments'])
@pytest.mark.parametrize('name', STATEMENTS)
def test_statements_that_eat_stack_or_time(proxy, name, table):
    sql = STATEMENTS[name].format(table)

    def attack():
        # Most of these the server itself refuses; pgtandem need only live
        # and answer.  The server's own stack is not what is tested.
        wire = harness.Wire(proxy.port, dbname='hostile')
        if table == 'inovices':
            answer = wire.query(sql)
            states = [harness.error_fields(b)['C'] for k, b in answer
                      if k == 'E']
            assert states or any(k == 'C' for k, _ in answer)
            wire.raw(harness.parse(sql) + harness.SYNC)
            assert wire.until('Z')
        else:
            # What names nothing under migration passes unparsed.
            wire.raw(harness.message('Q', b'SELECT length($x$' + sql.encode()
                                     + b'$x$)\0'))
            answer = wire.until('Z')
            assert [k for k, _ in answer] == ['T', 'D', 'C', 'Z']
        wire.close()
    unharmed(proxy, attack)


def test_a_large_ordinary_insert_is_carried(proxy, postgres):
    rows = 5000
    values = ', '.join(f"({10000 + i}, 'bulk {i}', {i})" for i in range(rows))

    def attack():
        with proxy.connect('hostile') as c:
            c.execute('DELETE FROM inovices WHERE id >= 10000')
            c.execute('INSERT INTO inovices (id, customr, amount) VALUES '
                      + values)
    unharmed(proxy, attack)
    assert postgres.execute('SELECT count(*) FROM invoices WHERE id >= 10000',
                            'hostile') == [(rows,)]


@pytest.mark.parametrize('kind', ['Q', 'P', 'B', 'd', 'X', '\x7f'])
@pytest.mark.parametrize('length', [0, 1, 2, 3, 0x80000000, 0xffffffff,
                                    1 << 30])
def test_message_lengths_that_cannot_be(proxy, kind, length):
    def attack():
        wire = harness.Wire(proxy.port, dbname='hostile')
        wire.raw(kind.encode('latin1') + struct.pack('!I', length) + b'x' * 64)
        if length < 4 or length >= 0x80000000:
            with pytest.raises((EOFError, ConnectionResetError)):
                while True:
                    wire.read()
        wire.close()
    unharmed(proxy, attack)


STARTUPS = {
    'garbage': os.urandom(4096),
    'nothing': b'',
    'a web browser': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'a negative length': b'\xff\xff\xff\xff\0\3\0\0',
    'a length of four': b'\0\0\0\4',
    'a length of a gigabyte': b'\x40\0\0\0\0\3\0\0' + b'x' * 100,
    'parameters without an end': struct.pack('!II', 20, 196608) + b'userpostgres',
    'version 2': struct.pack('!II', 16, 131072) + b'user\0x\0\0',
    'a cancel that is too short': struct.pack('!II', 8, 80877102),
    'SSLRequest again and again': struct.pack('!II', 8, 80877103) * 50,
}


@pytest.mark.parametrize('name', STARTUPS)
def test_start_ups_that_are_none(proxy, name):
    def attack():
        sockets = []
        for _ in range(20):
            s = socket.create_connection(('127.0.0.1', proxy.port))
            s.sendall(STARTUPS[name])
            sockets.append(s)
        for s in sockets:
            got = b'x'
            with contextlib.suppress(ConnectionResetError):
                while got:
                    got = s.recv(4096)
            s.close()
    unharmed(proxy, attack)


def test_bytes_behind_an_ssl_request_are_not_taken_for_encrypted(
        postgres, start_proxy, certificates):
    proxy = start_proxy(postgres, listen=(
        f', tls: {{mode: allow, cert: {certificates}/server.crt, '
        f'key: {certificates}/server.key}}'))
    stuffed = (struct.pack('!II', 8, 80877103) +
               struct.pack('!II', 23, 196608) + b'user\0postgres\0\0')
    with socket.create_connection(('127.0.0.1', proxy.port)) as s:
        s.sendall(stuffed)
        got = b''
        with contextlib.suppress(ConnectionResetError):
            while True:
                more = s.recv(4096)
                if not more:
                    break
                got += more
    # Either refused at once, or "S" and then the handshake fails.
    assert b'R' not in got[1:2] and b'Z' not in got
    assert psycopg.connect(proxy.conninfo(sslmode='require')).info.dbname


class Malicious:
    """A server that answers as a test tells it to."""

    def __init__(self, serve):
        self.listener = socket.socket()
        self.listener.bind(('127.0.0.1', 0))
        self.listener.listen(20)
        self.host, self.port = self.listener.getsockname()
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self.one, args=(peer,),
                                 daemon=True).start()

    def one(self, peer):
        with contextlib.suppress(OSError), peer:
            self.serve(peer)

    def close(self):
        self.listener.close()


def greet(peer):
    peer.recv(4096)
    peer.sendall(harness.message('R', struct.pack('!I', 0)) +
                 harness.message('Z', b'I'))


ANSWERS = {
    'a length of zero': b'D\0\0\0\0',
    'a length of three': b'T\0\0\0\3',
    'a negative length': b'D\xff\xff\xff\xf0',
    'a gigabyte claimed': b'D\x3f\xff\xff\xff' + b'x' * 1000,
    'a type that is none': b'\xff\0\0\0\4',
    'an error without SQLSTATE': harness.message('E', b'Mwrong\0\0'),
    'an error without an end': harness.message('E', b'SERROR\0C42'),
    'a row that lies': harness.message('D', b'\0\5\0\0\0\1x'),
    'columns that lie': harness.message('T', b'\xff\xffa\0'),
    'a ready that is too long': harness.message('Z', b'IIII'),
    'answers that nobody asked for': harness.message('C', b'SELECT 1\0') * 100,
    'nothing, and closed': b'',
}


@pytest.mark.parametrize('name', ANSWERS)
def test_a_server_that_answers_with_malformed_messages(
        postgres, start_proxy, name):
    def serve(peer):
        greet(peer)
        peer.recv(4096)
        peer.sendall(ANSWERS[name])
        time.sleep(0.3)
    server = Malicious(serve)
    proxy = start_proxy(postgres, server=(
        f'{{host: 127.0.0.1, port: {server.port}, tls: {{mode: disable}}}}'))
    for _ in range(5):
        wire = harness.Wire(proxy.port)
        wire.send('Q', b'SELECT 1\0')
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                wire.read()
        wire.close()
    assert proxy.alive()
    server.close()


def refuses_login(postgres, start_proxy, serve, tls):
    """A login through a proxy whose server misbehaves fails, and no more."""
    server = Malicious(serve)
    proxy = start_proxy(postgres, server=(
        f'{{host: 127.0.0.1, port: {server.port}, tls: {{mode: {tls}}}}}'))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(proxy.conninfo(connect_timeout=harness.PATIENCE_S))
    assert proxy.alive()
    server.close()


LOGINS = {
    'an error without fields': harness.message('E', b'\0'),
    'an unknown authentication': harness.message('R', b'\0\0\0\x63'),
    'a short authentication': harness.message('R', b'\0'),
    'garbage': b'\x00' * 100,
    'a SASL offer without an end': harness.message('R', b'\0\0\0\x0aSCRAM'),
}


@pytest.mark.parametrize('name', LOGINS)
def test_a_server_that_answers_a_login_with_nonsense(postgres, start_proxy,
                                                     name):
    def serve(peer):
        peer.recv(4096)
        peer.sendall(LOGINS[name])
        time.sleep(0.3)
    refuses_login(postgres, start_proxy, serve, 'disable')


def test_bytes_stuffed_behind_the_servers_answer_to_ssl(postgres,
                                                        start_proxy):
    def serve(peer):
        if struct.unpack('!II', peer.recv(8))[1] == 80877103:
            peer.sendall(b'S' + harness.message('R', struct.pack('!I', 0)) +
                         harness.message('Z', b'I'))
        time.sleep(0.3)
    refuses_login(postgres, start_proxy, serve, 'require')


def test_a_login_that_never_ends_is_cut_off(proxy):
    began = time.monotonic()
    with socket.create_connection(('127.0.0.1', proxy.port), 30) as s:
        with contextlib.suppress(ConnectionResetError):
            for byte in struct.pack('!II', 100, 196608):
                s.sendall(bytes([byte]))
                time.sleep(0.05)
            while s.recv(4096):
                pass
    assert time.monotonic() - began > 1


def test_a_client_that_reads_one_byte_a_second(proxy):
    """200 MB of result for a client that hardly reads: what it has not read
    stays with the server, not in memory."""
    def attack():
        wire = harness.Wire(proxy.port, dbname='hostile')
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send('Q', b"SELECT repeat('x', 1000) FROM "
                  b'generate_series(1, 200000)\0')
        for _ in range(4):
            wire.sock.recv(1)
            time.sleep(1)
        wire.close()
    unharmed(proxy, attack, growth_kb=20480)


def test_a_client_that_sends_without_reading(proxy):
    def attack():
        wire = harness.Wire(proxy.port, dbname='hostile')
        wire.sock.settimeout(2)
        with contextlib.suppress(TimeoutError, socket.timeout):
            for _ in range(20000):
                wire.send('Q', b"SELECT repeat('x', 10000)\0")
        wire.close()
    unharmed(proxy, attack, growth_kb=20480)


def test_more_clients_than_descriptors(postgres, start_proxy):
    """Out of descriptors, the listeners rest: no storm in the log, no CPU
    burnt, and clients are served again once others have gone."""
    proxy = start_proxy(postgres, binary=BINARY, descriptors=80)
    sockets = []
    with contextlib.suppress(OSError):
        for _ in range(200):
            sockets.append(socket.create_connection(
                ('127.0.0.1', proxy.port), 5))
    time.sleep(2)
    used = proxy.cpu_s()
    time.sleep(2)
    assert proxy.cpu_s() - used < 1
    assert len(proxy.log()) < 100000
    for s in sockets:
        s.close()

    def served():
        with contextlib.suppress(OSError, EOFError):
            wire = harness.Wire(proxy.port)
            answer = wire.query('SELECT 1')
            wire.close()
            return answer[-1][0] == 'Z'
    harness.wait_for('a client is served', served)

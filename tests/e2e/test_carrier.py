"""What passes through untouched: everything that a session can do."""

import concurrent.futures
import os
import signal
import socket
import struct

import psycopg
import pytest

import harness


@pytest.fixture(scope='module')
def proxy(postgres):
    started = harness.Proxy(postgres)
    yield started
    started.destroy()


def same(postgres, proxy, messages, dbname='postgres'):
    """The whole answer to raw messages, byte for byte as direct."""
    got = []
    for port in (postgres.port, proxy.port):
        wire = harness.Wire(port, dbname=dbname)
        wire.raw(b''.join(messages))
        answer = []
        for _ in range(sum(m[:1] in (b'S', b'Q', b'F') for m in messages)):
            answer += wire.until('Z')
        wire.close()
        got.append(answer)
    assert got[0] == got[1]


MESSAGES = {
    'a simple query': [harness.message('Q', b'SELECT 1, 2 UNION SELECT 3, 4\0')],
    'several statements': [harness.message(
        'Q', b'SELECT 1; SELECT 2; CREATE TEMP TABLE t (a int); SELECT 1/0; '
        b'SELECT 3\0')],
    'an empty string': [harness.message('Q', b'\0')],
    'a syntax error': [harness.message('Q', b'SELEKT 1\0')],
    'parse, bind, describe, execute': [
        harness.parse('SELECT $1::int + 1'), harness.describe('S'),
        harness.bind([b'41']), harness.describe(), harness.execute(),
        harness.SYNC],
    'a portal with a row limit': [
        harness.parse('SELECT generate_series(1, 5)'), harness.bind(),
        harness.execute(rows=2), harness.execute(rows=2),
        harness.execute(rows=2), harness.SYNC],
    'an error skips to Sync': [
        harness.parse('SELECT 1/0'), harness.bind(), harness.execute(),
        harness.parse('SELECT 2'), harness.bind(), harness.execute(),
        harness.SYNC, harness.message('Q', b'SELECT 3\0')],
    'a function call': [harness.message('F', struct.pack(
        '!IHHHiIH', 1598, 0, 0, 0, 0, 0, 0)[:10] + b'\0\0')],
    'a copy out': [harness.message(
        'Q', b'COPY (SELECT generate_series(1, 3)) TO STDOUT\0')],
    'notices': [harness.message(
        'Q', b"DO $$BEGIN RAISE NOTICE 'here'; END$$\0")],
    'settings that are reported': [harness.message(
        'Q', b"SET application_name = 'x'; SET DateStyle = 'SQL, DMY'\0")],
    'close of what is not there': [harness.close('S', 'none'),
                                   harness.close('P', 'none'), harness.SYNC],
}


@pytest.mark.parametrize('name', MESSAGES)
def test_messages_come_back_byte_for_byte(postgres, proxy, name):
    same(postgres, proxy, MESSAGES[name])


def test_copy_in_and_its_failure(proxy):
    with proxy.connect() as c:
        c.execute('CREATE TEMP TABLE t (a int, b text)')
        with c.cursor().copy('COPY t FROM STDIN') as copy:
            for i in range(50000):
                copy.write_row((i, 'x' * (i % 50)))
        assert c.execute('SELECT count(*) FROM t').fetchone() == (50000,)
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            with c.cursor().copy('COPY t FROM STDIN') as copy:
                copy.write('not a number\tx\n')
        assert c.execute('SELECT count(*) FROM t').fetchone() == (50000,)


def test_pipeline_mode(proxy):
    with proxy.connect() as c, c.pipeline() as p:
        cursors = [c.execute('SELECT %s::int', [i]) for i in range(500)]
        p.sync()
        assert [cur.fetchone()[0] for cur in cursors] == list(range(500))


def test_notifications_arrive_between_statements(postgres, proxy):
    with proxy.connect() as c:
        c.execute('LISTEN here')
        postgres.execute("NOTIFY here, 'there'")
        got = next(c.notifies())
        assert (got.channel, got.payload) == ('here', 'there')


def test_cancel(proxy):
    with proxy.connect() as c:
        with pytest.raises(psycopg.errors.QueryCanceled), \
                harness.cancelling(c):
            c.execute('SELECT pg_sleep(600)')
        assert c.execute('SELECT 1').fetchone() == (1,)


def test_start_up_parameters_reach_the_server(proxy):
    with proxy.connect(application_name='here',
                       options='-c search_path=x,y -c work_mem=5MB') as c:
        assert c.execute("SELECT current_setting('application_name'), "
                         "current_setting('search_path'), "
                         "current_setting('work_mem')"
                         ).fetchone() == ('here', 'x,y', '5MB')


def test_errors_at_login_are_the_servers(postgres, proxy):
    for more in ({'dbname': 'nowhere'}, {'user': 'nobody_here'}):
        texts = []
        for side in (postgres, proxy):
            with pytest.raises(psycopg.OperationalError) as e:
                psycopg.connect(side.conninfo(**more))
            texts.append(str(e.value).split('FATAL')[1])
        assert texts[0] == texts[1]


def test_ssl_and_gss_requests_are_answered_no(proxy):
    for code in (80877103, 80877104):
        with socket.create_connection(('127.0.0.1', proxy.port), 5) as s:
            s.sendall(struct.pack('!II', 8, code))
            assert s.recv(10) == b'N'


def test_a_replication_connection_passes(postgres, proxy):
    wire = harness.Wire(proxy.port, replication='database', dbname='postgres')
    answer = wire.query('IDENTIFY_SYSTEM')
    assert [k for k, _ in answer] == ['T', 'D', 'C', 'Z']
    wire.close()


def test_a_client_that_half_closes_still_gets_its_answer(proxy):
    wire = harness.Wire(proxy.port)
    wire.send('Q', b'SELECT 1 FROM pg_sleep(0.3)\0')
    wire.sock.shutdown(socket.SHUT_WR)
    assert [k for k, _ in wire.until('Z')] == ['T', 'D', 'C', 'Z']
    wire.close()


def test_a_client_that_vanishes_frees_its_backend(postgres, proxy):
    wire = harness.Wire(proxy.port, application_name='vanishing')
    count = ("SELECT count(*) FROM pg_stat_activity WHERE application_name = "
             "'vanishing'")
    assert postgres.execute(count) == [(1,)]
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                         struct.pack('ii', 1, 0))
    wire.close()
    harness.wait_for('the backend is gone',
                     lambda: postgres.execute(count) == [(0,)])


def test_a_result_of_100_mb_passes_whole(proxy):
    wire = harness.Wire(proxy.port)
    wire.send('Q', b"SELECT repeat('x', 1000000) FROM generate_series(1, 100)"
              b'\0')
    answer = wire.until('Z')
    assert sum(len(b) for k, b in answer if k == 'D') == 100 * 1000006
    wire.close()


def test_a_value_of_200_mb_passes_both_ways(proxy):
    size = 200_000_000
    with proxy.connect() as c:
        got = c.execute('SELECT length(%s::text)', ['x' * size]).fetchone()
        assert got == (size,)


def test_many_clients_at_once(proxy):
    def one(i):
        with proxy.connect() as c:
            return [c.execute('SELECT %s::int * 2', [i + k]).fetchone()[0]
                    for k in range(20)]
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        for i, got in enumerate(pool.map(one, range(100))):
            assert got == [2 * (i + k) for k in range(20)]


def test_sigterm_lets_running_transactions_end(postgres, start_proxy):
    proxy = start_proxy(postgres)
    busy, idle = proxy.connect(), harness.Wire(proxy.port)
    busy.autocommit = False
    busy.execute('CREATE TABLE drained (a int)')
    proxy.signal(signal.SIGTERM)
    kind, body = idle.read()
    assert kind == 'E' and harness.error_fields(body)['C'] == '57P01'
    busy.execute('INSERT INTO drained VALUES (1)')
    busy.commit()
    assert proxy.process.wait(harness.PATIENCE_S) == 0
    assert postgres.execute('SELECT * FROM drained') == [(1,)]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', proxy.port), 5)


def test_sighup_rereads_the_configuration(postgres, start_proxy):
    proxy = start_proxy(postgres, top='log: {level: info, format: text}')
    text = proxy.config.read_text()
    proxy.config.write_text(text.replace('level: info', 'level: debug'))
    proxy.signal(signal.SIGHUP)

    def level():
        rows = proxy.console('SHOW CONFIG')
        return {r['name']: r['value'] for r in rows}['log.level']
    harness.wait_for('the new level', lambda: level() == 'debug')
    proxy.config.write_text(text.replace('level: info', 'level: loud'))
    proxy.signal(signal.SIGHUP)
    harness.wait_for('a complaint', lambda: 'loud' in proxy.log())
    assert level() == 'debug'
    with proxy.connect() as c:
        assert c.execute('SELECT 1').fetchone() == (1,)


def test_the_log_can_be_json(postgres, start_proxy):
    import json
    proxy = start_proxy(postgres, top='log: {level: info, format: json}')
    lines = [json.loads(line) for line in proxy.log().splitlines()]
    assert lines and all('message' in entry for entry in lines)
    assert os.path.exists(proxy.config)

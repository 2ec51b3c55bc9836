"""What each combination of TLS on the two legs and channel binding gives: a
login, or a clear refusal."""

import psycopg
import pytest

import harness

HBA = '''
local all all trust
host all plain 127.0.0.1/32 trust
hostssl all sure 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
host all all 127.0.0.1/32 scram-sha-256
'''


@pytest.fixture(scope='module')
def secure(certificates):
    server = harness.Postgres(certificates=certificates, hba=HBA.replace(
        'host all all 127', 'host all postgres 127.0.0.1/32 trust\n'
        'host all all 127', 1))
    server.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
    server.execute('CREATE ROLE plain LOGIN')
    yield server
    server.destroy()


def make(start_proxy, secure, certificates, client, server, **more):
    tls = (f', tls: {{mode: {client}, cert: {certificates}/server.crt, '
           f'key: {certificates}/server.key{more.get("listen", "")}}}'
           if client != 'off' else '')
    return start_proxy(secure, listen=tls, server=(
        f'{{host: {more.get("host", "127.0.0.1")}, port: {secure.port}, '
        f'tls: {{mode: {server}{more.get("root", "")}}}}}'))


def login(proxy, **more):
    with psycopg.connect(proxy.conninfo(user='app', password='secret',
                                        **more)) as c:
        return c.execute('SELECT 1').fetchone() == (1,)


# client TLS, server TLS, channel_binding: None is a login, else a part of
# the refusal's text
MATRIX = [
    ('off', 'disable', 'disable', None),
    ('off', 'disable', 'prefer', None),
    ('off', 'disable', 'require', 'channel binding required'),
    ('off', 'require', 'disable', None),
    ('off', 'require', 'prefer', None),
    ('off', 'require', 'require', 'channel binding required'),
    ('require', 'disable', 'disable', None),
    ('require', 'disable', 'prefer', None),
    ('require', 'disable', 'require', 'channel binding'),
    ('require', 'require', 'disable', None),
    ('require', 'require', 'prefer', 'pgtandem'),
    ('require', 'require', 'require', 'channel binding'),
]


@pytest.mark.parametrize('client,server,binding,refusal', MATRIX)
def test_tls_matrix(start_proxy, secure, certificates, client, server,
                    binding, refusal):
    proxy = make(start_proxy, secure, certificates, client, server)
    sslmode = 'disable' if client == 'off' else 'require'
    if refusal is None:
        assert login(proxy, sslmode=sslmode, channel_binding=binding)
    else:
        with pytest.raises(psycopg.OperationalError, match=refusal):
            login(proxy, sslmode=sslmode, channel_binding=binding)


@pytest.mark.parametrize('client,sslmode,works', [
    ('off', 'prefer', True), ('off', 'require', False),
    ('allow', 'disable', True), ('allow', 'require', True),
    ('require', 'disable', False), ('require', 'verify-full', True)])
def test_client_modes(start_proxy, secure, certificates, client, sslmode,
                      works):
    proxy = make(start_proxy, secure, certificates, client, 'disable')

    def attempt():
        with psycopg.connect(proxy.conninfo(
                user='plain', sslmode=sslmode,
                sslrootcert=str(certificates / 'ca.crt'))) as c:
            return c.execute('SELECT 1').fetchone() == (1,)
    if works:
        assert attempt()
    else:
        with pytest.raises(psycopg.OperationalError):
            attempt()


@pytest.mark.parametrize('mode,ca,host,works', [
    ('verify-ca', True, '127.0.0.1', True),
    ('verify-full', True, '127.0.0.1', True),
    ('verify-full', True, 'localhost', True),
    ('verify-ca', False, '127.0.0.1', False),
    ('prefer', False, '127.0.0.1', True),
    ('allow', False, '127.0.0.1', True)])
def test_server_modes(start_proxy, secure, certificates, tmp_path, mode, ca,
                      host, works):
    if not ca and mode.startswith('verify'):
        harness.make_certificates(tmp_path)     # another authority
        root = f', root_cert: {tmp_path}/ca.crt'
    else:
        root = f', root_cert: {certificates}/ca.crt' if ca else ''
    if not works:
        proxy = harness.Proxy(secure, server=(
            f'{{host: {host}, port: {secure.port}, '
            f'tls: {{mode: {mode}{root}}}}}'))
        try:
            with pytest.raises(psycopg.OperationalError, match='pgtandem'):
                login(proxy, sslmode='disable')
        finally:
            proxy.destroy()
        return
    proxy = make(start_proxy, secure, certificates, 'off', mode, host=host,
                 root=root)
    assert login(proxy, sslmode='disable')


@pytest.mark.parametrize('shown', [True, False])
def test_client_certificates_are_asked_for(start_proxy, secure, certificates,
                                           shown):
    proxy = make(start_proxy, secure, certificates, 'require', 'disable',
                 listen=f', client_ca: {certificates}/ca.crt')
    more = {'sslcert': str(certificates / 'client.crt'),
            'sslkey': str(certificates / 'client.key')} if shown else {
                'sslcert': '/nowhere', 'sslkey': '/nowhere'}

    def attempt():
        with psycopg.connect(proxy.conninfo(user='plain', sslmode='require',
                                            **more)) as c:
            return c.execute('SELECT 1').fetchone() == (1,)
    if shown:
        assert attempt()
    else:
        with pytest.raises(psycopg.OperationalError):
            attempt()


def test_a_large_result_and_a_copy_survive_tls_on_both_legs(
        start_proxy, secure, certificates):
    proxy = make(start_proxy, secure, certificates, 'require', 'require')
    with psycopg.connect(proxy.conninfo(user='plain', sslmode='require')) as c:
        rows = c.execute("SELECT repeat(chr(65 + g % 26), 5000) FROM "
                         'generate_series(1, 4000) g').fetchall()
        assert len(rows) == 4000 and rows[26][0] == 'B' * 5000
        c.execute('CREATE TEMP TABLE t (v text)')
        with c.cursor().copy('COPY t FROM STDIN') as copy:
            for _ in range(4000):
                copy.write('z' * 1000 + '\n')
        assert c.execute('SELECT count(*), sum(length(v)) FROM t'
                         ).fetchone() == (4000, 4000000)


def test_a_cancel_reaches_the_server_over_tls(start_proxy, secure,
                                              certificates):
    proxy = make(start_proxy, secure, certificates, 'allow', 'require')
    with psycopg.connect(proxy.conninfo(user='plain')) as c:
        with pytest.raises(psycopg.errors.QueryCanceled), \
                harness.cancelling(c):
            c.execute('SELECT pg_sleep(600)')

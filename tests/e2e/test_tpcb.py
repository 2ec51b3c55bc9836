"""pgbench's own TPC-B-like script, unmodified, in its three modes at once,
while pgbench_accounts becomes accounts: no failed transaction, and the money
adds up."""

import re
import subprocess

import harness

SPEC = '''
migration: accounts
database: tpcb
quiet_for: 1h
lenses:
  - kind: table
    old: public.pgbench_accounts
    new: public.accounts
    key: [aid]
    columns:
      - old: abalance
        new: {name: balance_cents, type: bigint}
        forward: (abalance::bigint * 100)
        reverse: (balance_cents / 100)::integer
        bijective: true
      - {old: filler, new: note}
'''
MODES = ('simple', 'extended', 'prepared')
SCALE = 10
# Transactions a second of each client program: the machine has other things
# to do as well, three walks over a million rows among them.
RATE = '40'
WALK_S = 6 * harness.PATIENCE_S


def start_clients(proxy, folder):
    clients = {}
    for mode in MODES:
        out = open(folder / f'{mode}.out', 'w')
        clients[mode] = subprocess.Popen(
            [harness.CLIENTS / 'pgbench', '-n', '-c', '8', '-j', '1', '-M', mode,
             '-T', '3600', '-P', '5', '-R', RATE, '-h', '127.0.0.1', '-p', str(proxy.port),
             '-U', 'postgres', 'tpcb'], stdout=out, stderr=out)
        out.close()
    return clients


def stop_clients(clients, folder):
    """Interrupts the clients; their output.  pgbench ends at once on SIGINT,
    so what it printed until then is what there is."""
    alive = [client.poll() is None for client in clients.values()]
    for client in clients.values():
        client.terminate()
    for client in clients.values():
        client.wait(harness.PATIENCE_S)
    assert all(alive), output(folder)
    return output(folder)


def output(folder):
    return {m: (folder / f'{m}.out').read_text() for m in MODES}


def check_clients(clients, folder):
    for mode, text in output(folder).items():
        assert clients[mode].poll() is None, (mode, text[-2000:])
        assert not re.search(r'error|fatal|abort', text, re.I), text[-2000:]


def progressed(folder):
    """Each client's number of progress lines with transactions in them."""
    return {m: len(re.findall(r'^progress: .* [1-9][0-9.]* tps', t, re.M))
            for m, t in output(folder).items()}


def totals(postgres, accounts):
    return postgres.execute(
        f'SELECT (SELECT {accounts}), '
        '(SELECT sum(tbalance) FROM pgbench_tellers), '
        '(SELECT sum(bbalance) FROM pgbench_branches), '
        '(SELECT coalesce(sum(delta), 0) FROM pgbench_history), '
        '(SELECT count(*) FROM pgbench_history)', 'tpcb')[0]


def test_accounts_are_migrated_under_tpcb_with_a_rollback_from_each_phase(
        postgres, start_proxy, tmp_path):
    postgres.create_database('tpcb')
    subprocess.run([harness.CLIENTS / 'pgbench', '-i', '-q', '-s', str(SCALE),
                    '-h', '127.0.0.1', '-p', str(postgres.port),
                    '-U', 'postgres', 'tpcb'], check=True, capture_output=True)
    proxy = start_proxy(postgres, {'accounts.yaml': SPEC},
                        binary=harness.PLAIN)
    clients = start_clients(proxy, tmp_path)
    try:
        for move in ('expanded', 'back', 'expanded', 'dual_write', 'back',
                     'dual_write', 'read_new', 'back', 'read_new', 'write_new',
                     'back', 'write_new', 'new_only', 'back', 'new_only',
                     'contracted'):
            if move == 'back':
                was = proxy.phase('accounts')
                proxy.rollback('accounts')
                assert proxy.phase('accounts') != was
                if was == 'new_only':
                    proxy.walked('accounts', WALK_S)
            else:
                proxy.advance('accounts', move, seconds=WALK_S)
                assert proxy.phase('accounts') == move
            check_clients(clients, tmp_path)
        seen = progressed(tmp_path)
        harness.wait_for('transactions after the last move', lambda: all(
            n >= seen[m] + 2 for m, n in progressed(tmp_path).items()))
        check_clients(clients, tmp_path)
    finally:
        text = stop_clients(clients, tmp_path)
    for mode in MODES:
        assert not re.search(r'[1-9]\d* failed', text[mode]), text[mode]
    assert postgres.execute('SELECT count(*) FROM pgbench_accounts',
                            'tpcb') == [(0,)]
    assert postgres.execute('SELECT count(*) FROM accounts',
                            'tpcb') == [(SCALE * 100000,)]
    cents, tellers, branches, deltas, count = totals(
        postgres, 'sum(balance_cents) FROM accounts')
    assert count > 1000
    assert cents == 100 * tellers == 100 * branches == 100 * deltas

"""A walk slows down while the application's statements are slower than they
were before it, says so, and goes on when they have recovered."""

import contextlib
import threading
import time

import pytest

import harness
import shop


class Application(threading.Thread):
    """Statements on the old table, one after the other, that take so long."""

    def __init__(self, proxy, database, seconds):
        super().__init__(daemon=True)
        self.proxy, self.database, self.seconds = proxy, database, seconds
        self.stopped, self.done = False, 0

    def run(self):
        with self.proxy.connect(self.database) as c:
            while not self.stopped:
                c.execute('SELECT amount, pg_sleep(%s) FROM inovices '
                          'WHERE id = 1', [self.seconds])
                self.done += 1


@contextlib.contextmanager
def used(proxy, database, seconds):
    applications = [Application(proxy, database, seconds) for _ in range(6)]
    for a in applications:
        a.start()
    yield applications
    for a in applications:
        a.stopped = True
    for a in applications:
        a.join()


def braking(proxy):
    """SHOW BACKFILL's row, if the walk waits for the application."""
    row = proxy.console('SHOW BACKFILL inovices_typo')[0]
    return row if 'its statements' in (row['error'] or '') else None


def ended_unbraked(proxy):
    assert not braking(proxy)
    return proxy.console('SHOW BACKFILL inovices_typo')[0]['state'] == (
        'complete')


@pytest.mark.parametrize('percent', [300, 0])
def test_a_walk_slows_down_while_statements_are_slow(
        postgres, start_proxy, percent):
    database = f'brake_{percent}'
    shop.make(postgres, database, 30000)
    proxy = start_proxy(postgres, shop.spec(database),
                        top=f'walk: {{latency_percent: {percent}}}')
    proxy.advance('inovices_typo', 'expanded')
    # Ten seconds, in which 20 slow statements must have been seen.
    proxy.console('SET inovices_typo.rate = 3000')
    with used(proxy, database, 0.002) as applications:
        began = time.monotonic()
        harness.wait_for('a while of fast statements', lambda: (
            time.monotonic() - began > 7 and
            sum(a.done for a in applications) > 400))
        proxy.console('ADVANCE inovices_typo TO dual_write')
        for a in applications:
            a.seconds = 1
        if percent == 0:
            proxy.console('SET inovices_typo.rate = 10000')
            harness.wait_for('the end', lambda: ended_unbraked(proxy))
            return
        row = harness.wait_for('the brake', lambda: braking(proxy))
        assert row['state'] == 'waiting'
        assert 'ms before the walk' in row['error']
        for a in applications:
            a.seconds = 0.002
        proxy.console('SET inovices_typo.rate = 0')
        proxy.walked('inovices_typo')
    stats = {r['name']: r['value'] for r in proxy.console('SHOW STATS')}
    assert int(stats['pgtandem_timed_statements_total']) > 200
    assert int(stats['pgtandem_timed_p99_microseconds']) > 2000

"""Takes the tables of a script to a phase, and looks at them afterwards."""

import contextlib
import threading
import time

from body import harness

PHASES = ('expanded', 'dual_write', 'read_new', 'write_new', 'new_only',
          'contracted')
# `prelock` is write_new while a transaction of read_new is still there, and
# `returned` is dual_write on the way back from new_only.
STATES = PHASES + ('prelock', 'returned')
LAST = {'prelock': 'read_new', 'returned': 'new_only'}
VERIFIED = ('dual_write', 'read_new', 'write_new', 'prelock', 'returned')


def move(proxy, migrations, state):
    last = LAST.get(state, state)
    for name in migrations:
        proxy.advance(name, *PHASES[:PHASES.index(last) + 1])
        if state == 'returned':
            for _ in range(3):
                proxy.rollback(name)
                if proxy.phase(name) == 'write_new':
                    proxy.walked(name)


@contextlib.contextmanager
def before_barrier(proxy, database, migrations):
    """write_new while a session is still at read_new."""
    with proxy.connect(database, autocommit=True) as held:
        held.execute('BEGIN')
        moves = [threading.Thread(target=go, args=(proxy, name))
                 for name in migrations]
        for one in moves:
            one.start()
        for name in migrations:
            harness.wait_for('write_new is entered',
                             lambda: proxy.phase(name) == 'write_new')
        time.sleep(0.5)  # until the workers know
        yield
        held.execute('COMMIT')
    for one in moves:
        one.join()


def go(proxy, name):
    """A move that is not tired of waiting."""
    while True:
        try:
            return proxy.console(f'ADVANCE {name} TO write_new')
        except harness.psycopg.errors.ObjectInUse:
            pass


def at(proxy, database, migrations, state):
    """What the statements of a state run in."""
    return before_barrier(proxy, database, migrations) \
        if state == 'prelock' else contextlib.nullcontext()


def unequal(proxy, migrations, state):
    """What VERIFY finds between the models."""
    if state not in VERIFIED:
        return []
    found = []
    for name in migrations:
        row = proxy.verify(name)
        if row['missing'] or row['extra'] or row['different']:
            found.append(f'{row} ' + '; '.join(
                ' '.join(str(v) for v in r.values())
                for r in proxy.console(f'SHOW FINDINGS {name}')[:5]))
    return found

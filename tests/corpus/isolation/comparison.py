"""Runs the permutations of a spec on a database that only ever had the old
model, direct, and through pgtandem with the spec's tables under migration, in
each phase and while it moves, and says where they differ."""

import collections
import contextlib
import dataclasses
import pathlib
import re
import sys
import threading
import time

import psycopg

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent),
                str(pathlib.Path(__file__).resolve().parents[2] / 'e2e')]

import harness  # noqa: E402
import migrate  # noqa: E402
import spec as specs  # noqa: E402
import tester  # noqa: E402

# `prelock` is write_new while a session is still at read_new.
PHASES = ('dual_write', 'read_new', 'prelock', 'write_new', 'new_only',
          'contracted')
# Moves in the middle of a permutation, each forward and back.
MOVES = (('dual_write', 'read_new'), ('read_new', 'write_new'),
         ('write_new', 'new_only'))
MIGRATION = 'isolation'


def first_difference(direct, through):
    """What differs first: its kind and a text; None if nothing does."""
    refused = [s for s, results in through.results if is_refused(results)]
    if refused:
        return 'refused', refused[0]
    expected = {}
    for step, a in direct.results:
        expected.setdefault(step, []).append(a)
    for step, b in through.results:
        if not expected.get(step):
            break
        a = expected[step].pop(0)
        if not same(a, b):
            return ('result', f'{step}\n      direct  {a}\n'
                    f'      through {b}')
    if through.stuck != direct.stuck:
        return 'stuck', through.stuck or f'only direct: {direct.stuck}'
    a, b = direct.between_launches(), through.between_launches()
    if a != b:
        step, x, y = next((s, x, y) for (s, x), (_, y) in zip(a, b) if x != y)
        return ('blocking', f'after {step}\n      direct  {x}\n'
                f'      through {y}')
    return None


def is_refused(results):
    return any(r[0] == 'error' and r[1] == '0A000' and 'pgtandem' in r[2]
               for r in results)


def same(a, b):
    return [settled(r) for r in a] == [settled(r) for r in b]


def settled(r):
    if r[0] == 'rows' and r[1] == ['QUERY PLAN']:
        return r[:2]
    if r[0] == 'rows':
        return (r[0], r[1], sorted(r[2], key=repr), r[3])
    if r[0] == 'error':
        return (r[0], r[1], tester.settled(r[2]).replace('_new', ''))
    return r


@dataclasses.dataclass
class Difference:
    number: int
    steps: str
    kind: str
    text: str


def server():
    return harness.Postgres(['autovacuum = off',
                             'max_prepared_transactions = 10'])


class Run:
    """One spec.  `counts` and `differences` are by phase, or by move."""

    def __init__(self, postgres, text, variant, most=40, only=None):
        self.postgres, self.spec = postgres, specs.read(text)
        self.variant = variant
        self.tend = ('VACUUM ANALYZE' if re.search('vacuum', text, re.I)
                     else 'ANALYZE' if re.search('analyze', text, re.I)
                     else '')
        every = list(enumerate(self.spec.all_permutations()))
        self.permutations = (every[::max(1, -(-len(every) // most))]
                             if only is None else [every[only]])
        self.counts, self.differences = {}, {}

    def outcomes(self, side, database, but=(), moving=None):
        """Of all permutations; `moving` gives each its moment."""
        store = migrate.Store(self.postgres, database, but)
        store.tend = self.tend
        t = tester.Tester(self.spec, side.conninfo(database),
                          self.postgres.conninfo(database),
                          90 if moving else 30)
        got = []
        try:
            for number, p in self.permutations:
                with (moving(number, p) if moving
                      else contextlib.nullcontext()) as moment:
                    got.append(t.run(p, moment))
                store.restore()
        finally:
            t.close()
        return got

    def run(self, phases=PHASES, moves=False):
        migrate.setup(self.postgres, 'direct', self.spec)
        self.direct = self.outcomes(self.postgres, 'direct')
        migrate.setup(self.postgres, 'through', self.spec)
        self.moved = migrate.tables(self.postgres, 'through')
        if not self.moved:
            return
        self.proxy = harness.Proxy(self.postgres, {
            'isolation.yaml': migrate.migration(
                MIGRATION, 'through', self.moved,
                self.variant == 'converted')})
        try:
            self.proxy.advance(MIGRATION, 'expanded')
            if moves:
                self.move()
            else:
                self.walk(phases)
        finally:
            self.postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = 'through' AND pid <> pg_backend_pid()")
            self.proxy.destroy()

    def walk(self, phases):
        for phase in PHASES[:1 + max(map(PHASES.index, phases))]:
            if phase == 'prelock' and phase not in phases:
                continue
            with contextlib.ExitStack() as stack:
                if phase == 'prelock':
                    stack.enter_context(before_barrier(self.proxy))
                elif self.proxy.phase(MIGRATION) != phase:
                    self.proxy.advance(MIGRATION, phase)
                if phase in phases:
                    but = ([t.name for t in self.moved]
                           if phase == 'contracted' else ())
                    self.compare(phase, self.outcomes(self.proxy, 'through',
                                                      but))

    def move(self):
        self.proxy.advance(MIGRATION, 'dual_write')
        for before, after in MOVES:
            if self.proxy.phase(MIGRATION) != before:
                self.proxy.advance(MIGRATION, before)
            self.compare(f'{before} <-> {after}', self.outcomes(
                self.proxy, 'through',
                moving=lambda n, p: self.moving(n, p, before, after)))

    @contextlib.contextmanager
    def moving(self, number, permutation, before, after):
        """A move, forward or back, in the middle of a permutation: where every
        session begins its transaction in its setup, after the first one's."""
        back = self.proxy.phase(MIGRATION) == after
        to = before if back else after
        place = ('setup', 1)
        if not all('begin' in s.setup.lower() for s in self.spec.sessions):
            place = ('step', number % len(permutation))
        move = threading.Thread(target=go, args=(self.proxy, to, back))

        def moment(*at):
            if at == place:
                earlier = epoch(self.proxy)
                move.start()
                # It may first need a lock that the permutation has.
                with contextlib.suppress(AssertionError):
                    harness.wait_for('the move begins', lambda:
                                     epoch(self.proxy) != earlier, 1)
                time.sleep(0.2)  # until the workers know
        yield moment
        move.join()
        if before == 'write_new' and back:
            self.proxy.walked(MIGRATION)

    def compare(self, place, through):
        counts = self.counts.setdefault(place, collections.Counter())
        for (number, p), a, b in zip(self.permutations, self.direct, through):
            difference = first_difference(a, b)
            counts[difference[0] if difference else 'same'] += 1
            if difference:
                self.differences.setdefault(place, []).append(Difference(
                    number, ' '.join(t.step for t in p), *difference))


def epoch(proxy):
    return proxy.console('SHOW MIGRATIONS')[0]['epoch']


def go(proxy, phase, back=False):
    """A move that is not tired of waiting."""
    while True:
        try:
            return proxy.console(f'ROLLBACK {MIGRATION}' if back else
                                 f'ADVANCE {MIGRATION} TO {phase}')
        except psycopg.errors.ObjectInUse:
            pass


@contextlib.contextmanager
def before_barrier(proxy):
    """write_new while a session is still at read_new."""
    with proxy.connect('through', autocommit=True) as held:
        held.execute('BEGIN')
        move = threading.Thread(target=go, args=(proxy, 'write_new'))
        move.start()
        harness.wait_for('write_new is entered',
                         lambda: proxy.phase(MIGRATION) == 'write_new')
        time.sleep(0.5)
        yield
        held.execute('COMMIT')
    move.join()

"""Random scripts in every phase: what a run consists of."""

import concurrent.futures
import copy
import time

import statements
from choices import Choices, shrink
from compare import PHASES, Difference, Pair, harness
from scripts import Statement

LOOK_EVERY = 10     # scripts, at the tables' contents
START_OVER = 120    # scripts, from the first rows


def at_once(what, each):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(what, each))


def only_new(schema, postgres, make_proxy, model):
    """Its migration walked to the end, what is left is the new model."""
    proxy = make_proxy(postgres, {'model.yaml': schema.spec_for(model)})
    proxy.advance(schema.migration_of(model), *PHASES[1:])
    proxy.stop()


def prepare(schema, postgres, make_proxy, phases=PHASES):
    """A pair of databases for each phase, behind one proxy."""
    phases = [p for p in phases if p in schema.phases(PHASES)]
    names = {p: (f'{schema.name}_direct_{p}', f'{schema.name}_{p}')
             for p in phases}
    model = f'{schema.name}_model'
    postgres.create_database(model, schema.ddl)
    for direct, moving in names.values():
        postgres.copy_database(model, moving)
        postgres.copy_database(model, direct)
    if schema.new_shape:
        only_new(schema, postgres, make_proxy, model)
        for direct, _ in names.values():
            postgres.copy_database(model, direct)
    moving = [m for _, m in names.values()]
    if schema.before:
        proxy = make_proxy(postgres, {f'{m}-before.yaml': schema.spec_before(m)
                                      for m in moving})
        at_once(lambda m: proxy.advance(schema.migration_before(m),
                                        *PHASES[1:]), moving)
        for m in moving:
            (proxy.dir / 'migrations' / f'{m}.yaml').write_text(
                schema.spec_for(m))
        proxy.console('RELOAD')
    else:
        proxy = make_proxy(postgres, {f'{m}.yaml': schema.spec_for(m)
                                      for m in moving})
    at_once(lambda p: proxy.advance(schema.migration_of(names[p][1]),
                                    *PHASES[1:PHASES.index(p) + 1]), phases)
    return proxy, [Pair(schema, p, postgres, proxy, *names[p])
                   for p in phases]


def shrunk(pair, choices, found):
    """The simplest script that differs in the same way from the first rows,
    or the one that was found."""
    best = [found, False]

    def fails(simpler):
        script = statements.script_of(pair.schema, Choices(given=simpler))
        pair.start_over()
        try:
            pair.run(script)
        except Difference as d:
            if d.kind() != found.kind():
                return False
            best[:] = d, True
            return True
        return False
    if fails(choices):
        shrink(choices, fails, 400)
    pair.start_over()
    return best


def replayed(pair, seeds):
    """The first script of several after which the tables differ, and how."""
    pair.start_over()
    for seed in seeds:
        script, _ = statements.random_script(pair.schema, seed)
        try:
            pair.run(script)
            pair.tables(Statement)
        except Difference as d:
            again = ' ; '.join(s.sql for s in script)
            return f'seed {seed} makes the tables differ: {again}\n{d}'
    return 'replayed without a difference'


class Run:
    def __init__(self, schema, pairs, seed, say=print, keep_going=0):
        self.schema, self.pairs, self.seed = schema, pairs, seed
        self.say, self.keep_going = say, keep_going
        self.found, self.seen = [], set()

    def report(self, pair, seed, choices, found):
        key = str(found.kind())
        if key in self.seen:
            pair.start_over()
            return
        self.seen.add(key)
        counts, refused = copy.deepcopy((pair.counts, pair.refused))
        text = f'{self.schema.name}, {pair.phase}, seed {seed}'
        best, again = shrunk(pair, choices, found)
        if again:
            text += f':\n{best}'
        else:
            first = seed - (seed - self.seed) % START_OVER
            text += (f' (only after what came before):\n{best}\n  ' +
                     replayed(pair, range(first, seed + 1)))
        pair.counts, pair.refused = counts, refused
        pair.start_over()
        self.found.append(text)
        self.say(text + '\n')

    def one(self, pair, seed, i):
        if i % START_OVER == 0:
            pair.start_over()
        script, choices = statements.random_script(self.schema, seed)
        try:
            pair.run(script)
            if i % LOOK_EVERY == LOOK_EVERY - 1:
                choices = []
                pair.tables(Statement)
        except Difference as found:
            self.report(pair, seed, choices, found)

    def run(self, count, seconds=None):
        """`count` statements in each phase; the differences found."""
        end = time.monotonic() + seconds if seconds else None
        for i in range(count):
            done = min(sum(p.counts.values()) for p in self.pairs)
            if done >= count or (end and time.monotonic() > end):
                break
            for pair in self.pairs:
                self.one(pair, self.seed + i, i)
            if self.found and len(self.found) > self.keep_going:
                break
        return self.found

    def refusals(self):
        """What was refused, a line for each phase and kind of statement."""
        lines = []
        for pair in self.pairs:
            for kind, words in sorted(pair.refused.items()):
                n, of = sum(words.values()), pair.counts[kind]
                lines.append(f'{pair.phase:10} {kind:13} {n:5} of {of:5}  ' +
                             '; '.join(f'{w} ({c})' for w, c in sorted(
                                 words.items(), key=lambda x: -x[1])[:3]))
        return lines

    def total(self):
        done = sum(sum(p.counts.values()) for p in self.pairs)
        refused = sum(sum(w.values()) for p in self.pairs
                      for w in p.refused.values())
        return done, refused


def verify(schema, proxy, pairs):
    """The two models against each other, where both are kept."""
    for pair in pairs:
        if pair.phase in ('dual_write', 'read_new', 'write_new'):
            got = proxy.verify(schema.migration_of(pair.moving_db))
            assert (got['missing'], got['extra'], got['different']) == (
                0, 0, 0), (pair.phase, got)


__all__ = ['Run', 'prepare', 'verify', 'PHASES', 'harness']

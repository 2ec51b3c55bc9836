"""Reads PostgreSQL's isolation specs: setup, teardown, sessions with steps,
permutations with markers (the format is told in src/test/isolation/README)."""

import dataclasses
import itertools
import re

TOKEN = re.compile(r'''
    (?P<space>\s+|\#[^\n]*)
  | \{(?P<block>[^}]*)\}
  | (?P<word>[A-Za-z_\200-\377][A-Za-z_0-9\200-\377$]*)
  | "(?P<quoted>(?:[^"\n]|"")*)"
  | (?P<number>[0-9]+)
  | (?P<sign>[(),*])
''', re.VERBOSE)
KEYWORDS = {'setup', 'teardown', 'session', 'step', 'permutation', 'notices'}


@dataclasses.dataclass
class Marker:
    """What must be before a step may be told as complete: `step` is None for
    the asterisk; `notices` counts what the other step's session is sent."""
    step: str = None
    notices: int = None


@dataclasses.dataclass
class Turn:
    """A step in a permutation."""
    step: str
    markers: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Session:
    name: str
    setup: str = ''
    teardown: str = ''
    steps: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Spec:
    setups: list = dataclasses.field(default_factory=list)
    teardown: str = ''
    sessions: list = dataclasses.field(default_factory=list)
    permutations: list = dataclasses.field(default_factory=list)

    def session_of(self, step):
        return next(s for s in self.sessions if step in s.steps)

    def sql_of(self, step):
        return self.session_of(step).steps[step]

    def all_permutations(self):
        """Those that the file names, or every interleaving."""
        if self.permutations:
            return self.permutations
        names = [list(s.steps) for s in self.sessions]
        whose = [i for i, steps in enumerate(names) for _ in steps]
        return [self._interleave(names, order)
                for order in orderings(whose)]

    @staticmethod
    def _interleave(names, order):
        left = [iter(steps) for steps in names]
        return [Turn(next(left[i])) for i in order]


def orderings(whose):
    """The distinct orders of a list, the first session's steps first."""
    if not whose:
        yield []
    for first in sorted(set(whose)):
        rest = list(whose)
        rest.remove(first)
        for tail in orderings(rest):
            yield [first, *tail]


def tokens(text):
    at = 0
    while at < len(text):
        m = TOKEN.match(text, at)
        if not m:
            raise ValueError(f'cannot read: {text[at:at + 40]!r}')
        at = m.end()
        kind = m.lastgroup
        if kind == 'word' and m['word'] in KEYWORDS:
            yield 'keyword', m['word']
        elif kind == 'word':
            yield 'name', m['word']
        elif kind == 'quoted':
            yield 'name', m['quoted'].replace('""', '"')
        elif kind != 'space':
            yield kind, m[kind]
    yield 'end', ''


class Reader:
    def __init__(self, text):
        self.tokens = list(tokens(text))

    def peek(self):
        return self.tokens[0]

    def take(self, kind, value=None):
        got = self.tokens[0]
        if got[0] != kind or (value is not None and got[1] != value):
            raise ValueError(f'expected {value or kind}, not {got[1]!r}')
        return self.tokens.pop(0)[1]

    def takes(self, kind, value=None):
        if self.peek()[0] != kind or value not in (None, self.peek()[1]):
            return None
        return self.take(kind)


def read(text):
    r, spec = Reader(text), Spec()
    while r.takes('keyword', 'setup'):
        spec.setups.append(r.take('block'))
    if r.takes('keyword', 'teardown'):
        spec.teardown = r.take('block')
    while r.takes('keyword', 'session'):
        spec.sessions.append(read_session(r))
    while r.takes('keyword', 'permutation'):
        spec.permutations.append(read_permutation(r))
    r.take('end')
    return spec


def read_session(r):
    session = Session(r.take('name'))
    if r.takes('keyword', 'setup'):
        session.setup = r.take('block')
    while r.takes('keyword', 'step'):
        name = r.take('name')
        session.steps[name] = r.take('block')
    if r.takes('keyword', 'teardown'):
        session.teardown = r.take('block')
    return session


def read_permutation(r):
    turns = []
    while r.peek()[0] == 'name':
        turns.append(Turn(r.take('name')))
        if r.takes('sign', '('):
            turns[-1].markers = read_markers(r)
    return turns


def read_markers(r):
    markers = []
    for _ in itertools.count():
        if r.takes('sign', '*'):
            markers.append(Marker())
        else:
            markers.append(Marker(r.take('name')))
            if r.takes('keyword', 'notices'):
                markers[-1].notices = int(r.take('number'))
        if r.takes('sign', ')'):
            return markers
        r.take('sign', ',')

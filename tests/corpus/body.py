"""Runs the statements of a script on two sides and says what differs."""

import collections
import dataclasses
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'random'))

import compare  # noqa: E402
import ways  # noqa: E402
from compare import harness  # noqa: E402

SAVEPOINT = 'corpus_savepoint'
CONTROL = ('begin', 'start', 'commit', 'end', 'rollback', 'abort', 'prepare',
           'savepoint', 'release', 'set')

# Whose rows are not compared, and why: they are not the same on two databases
# of one model either, or they are about the catalog, where both models show.
INCOMPARABLE = [(why, re.compile(words, re.I)) for why, words in (
    ('random', r'\brandom\b|\btablesample|gen_random_uuid'),
    ('time', r'\bnow\s*\(|current_time|current_date|clock_timestamp|'
             r'statement_timestamp|localtime|transaction_timestamp|timeofday|'
             r"'now'|'today'|'tomorrow'|'yesterday'"),
    ('plan', r'\bexplain(\b|_)'),
    ('transaction numbers', r'\bxmin\b|\bxmax\b|\btxid_|pg_current_xact|'
                            r'pg_snapshot|pg_export_snapshot'),
    ('catalog', r'\bpg_(?!catalog|temp|typeof|sleep|input|get_keywords|lsn)'
                r'[a-z_]+|information_schema|\bregclass\b|\boid\b|'
                r'obj_description|format_type|to_reg|relname|'
                r'query_to_xml|schema_to_xml|database_to_xml'),
    ('places of rows', r'\bctid\b|\btableoid\b|currtid'),
)]
# In errors: numbers that each database gives out by itself.
OWN_NUMBERS = re.compile(r'(?<=pg_temp_)\d+|(?<=operator )\d{5,}')
WHOLE_TABLE_ROWS = re.compile(r'\blimit\b|\bfetch\b|\bmove\b|\bdistinct on\b',
                              re.I)


def why_incomparable(text):
    for why, words in INCOMPARABLE:
        if words.search(text):
            return why
    return None


def top_level(text):
    """The text outside parentheses and quotes."""
    text = re.sub(r"'(?:[^']|'')*'|--[^\n]*", ' ', text)
    before = None
    while before != text:
        before, text = text, re.sub(r'\([^()]*\)', ' ', text)
    return text.lower()


def refusal(messages):
    """What pgtandem refused and why, without names."""
    for kind, what in messages:
        if kind == 'E' and what['C'] == '0A000' and 'pgtandem' in what['M']:
            m = re.match(r'pgtandem: (.*) on relation .* in phase \w+$',
                         what['M'])
            return re.sub(r'"[^"]*"', '"..."', f'{m.group(1)} '
                          f'({what.get("D")})' if m else what['M'])
    return None


class Talker(compare.Side):
    """A session that also answers COPY FROM STDIN, and keeps its status."""

    def __init__(self, port, postgres, database):
        self.port = port
        super().__init__(port, postgres, database)
        self.status = 'I'

    def again(self, user='postgres'):
        self.wire.close()
        self.wire = harness.Wire(self.port, user=user, dbname=self.database)
        self.status = 'I'

    def type_name(self, oid):
        """Types made in a transaction are not seen from outside it."""
        name = super().type_name(oid)
        return 'unseen' if name == oid and oid >= compare.FIRST_USER_OID \
            else name

    def read(self, kind, body, origins):
        if kind == 'N':
            fields = harness.error_fields(body)
            return kind, (fields['C'], fields['M'])
        kind, what = super().read(kind, body, origins)
        if kind == 'E':
            what = {f: OWN_NUMBERS.sub('N', v) for f, v in what.items()}
        return kind, what

    def send(self, text, data=b''):
        """One simple query; everything that came back."""
        self.wire.send('Q', text.encode(errors='surrogateescape') + b'\0')
        return self.collect(not compare.FETCHES.match(ways.bare(text)), data)

    def collect(self, origins, data=b''):
        got = []
        while True:
            kind, body = self.wire.read()
            if kind == 'G':
                for piece in (data, b''):
                    self.wire.send('d' if piece else 'c', piece)
                    data = b''
            if kind not in 'SA':
                got.append(self.read(kind, body, origins))
            if kind == 'Z':
                self.status = body.decode()
                return got


def connects(command, variables, sides):
    """\\c: sessions of another user, or new ones."""
    if not re.match(r'\\(c|connect)\b', command) or not variables.active():
        return False
    words = command.split() + ['-', '-']
    for side in sides:
        side.again(words[2] if words[2] != '-' else 'postgres')
    return True


@dataclasses.dataclass
class Finding:
    place: str
    text: str
    pair: tuple
    kind: str

    def __str__(self):
        one, other = self.pair
        return (f'{self.place}: {self.kind}\n    {self.text}\n'
                f'    direct:  {one}\n    through: {other}')


class Body:
    """One script on both sides of a pair."""

    def __init__(self, name, direct, through, variables, way='simple'):
        self.name, self.direct, self.through = name, direct, through
        self.variables, self.ways = variables, ways.WAYS[way]
        self.counts = collections.Counter()
        self.refused, self.findings = collections.Counter(), []
        self.samples = {}
        self.hides = False  # values of columns that are converted

    def close(self):
        for side in self.direct, self.through:
            side.close()

    def both(self, text):
        return [side.send(text) for side in (self.direct, self.through)]

    def run(self, items, compared=True):
        for i, item in enumerate(items):
            if not item.text:
                self.psql(item.command)
            elif not self.variables.active():
                continue
            elif compared:
                self.one(i, item)
            else:
                self.both(self.variables.fill(item.text))

    def psql(self, command):
        if not connects(command, self.variables, (self.direct, self.through)):
            self.variables.run(command)

    def one(self, i, item):
        text = self.variables.fill(item.text)
        if item.command.startswith(r'\gdesc'):
            return
        words = item.words()
        saved = self.through.status == 'T' and words[0] not in CONTROL
        if saved:
            self.both(f'SAVEPOINT {SAVEPOINT}')
        place = f'{self.name}, statement {i}'
        if not item.command.startswith(r'\g') and \
                self.one_way(i, place, text, saved):
            self.settle(saved)
            return
        self.counts['statements'] += 1
        through = self.through.send(text, item.data)
        why = refusal(through)
        if why:
            self.step_over(text, why, saved)
            return
        direct = self.direct.send(text, item.data)
        self.compare(place, text, direct, through)
        self.settle(saved)
        if item.command.startswith(r'\gset'):
            self.keep(item.command, direct)

    def one_way(self, i, place, text, saved):
        """Did it go one of the other ways, without an error?"""
        for way in self.ways:
            through = way(self.through, text, i)
            if through is None:
                continue
            self.counts['statements'] += 1
            why = refusal(through)
            if why:
                self.step_over(text, why, saved)
                return True
            direct = way(self.direct, text, i)
            self.compare(f'{place}, {way.__name__}', text, direct, through)
            if all(kind != 'E' for kind, _ in direct + through):
                return True
            for side in self.direct, self.through:
                if side.status != 'I':
                    side.send(f'ROLLBACK TO {SAVEPOINT}' if saved
                              else 'ROLLBACK')
        return False

    def prepare(self, items):
        """The queries that have no error now; their names."""
        for side in self.direct, self.through:
            side.send('ROLLBACK')
        self.prepared = {}
        for i, item in enumerate(items):
            text = self.variables.fill(item.text)
            if not (ways.is_query(text) and ways.is_one(text)):
                continue
            name = f'corpus_{i}'
            through = ways.prepare(self.through, text, name)
            if refusal(through):
                continue
            direct = ways.prepare(self.direct, text, name)
            self.counts['statements'] += 1
            self.compare(f'{self.name}, prepared {i}', text, direct, through)
            if all(kind != 'E' for kind, _ in direct + through):
                self.prepared[name] = (i, text)

    def run_prepared(self, phase):
        for name, (i, text) in self.prepared.items():
            through = ways.run_prepared(self.through, name, i)
            why = refusal(through)
            self.counts['statements'] += 1
            if why:
                self.step_over(text, why, False)
                continue
            direct = ways.run_prepared(self.direct, name, i)
            self.compare(f'{self.name}, prepared {i} in {phase}', text, direct,
                         through)

    def step_over(self, text, why, saved):
        """Nothing of a refused statement is done on the other side."""
        self.counts['refused'] += 1
        self.refused[why] += 1
        self.samples.setdefault(why, []).append(' '.join(text.split()))
        if saved:
            self.both(f'ROLLBACK TO {SAVEPOINT}')
            self.both(f'RELEASE {SAVEPOINT}')
        elif self.through.status == 'E':
            self.direct.send('SELECT the other side has failed')

    def settle(self, saved):
        if self.direct.status != self.through.status:
            self.both('ROLLBACK')
        elif saved and self.direct.status == 'T':
            self.both(f'RELEASE {SAVEPOINT}')

    def keep(self, command, direct):
        """\\gset: the columns of a row become variables."""
        prefix = command[5:].strip()
        columns = [m for k, m in direct if k == 'T']
        rows = [m for k, m in direct if k == 'D']
        if not columns or len(rows) != 1:
            return
        at = 2
        for name, *_ in columns[0][::2]: # each is followed by its origin
            size = int.from_bytes(rows[0][at:at + 4], 'big', signed=True)
            at += 4
            self.variables.values[prefix + name] = \
                rows[0][at:at + max(size, 0)].decode()
            at += max(size, 0)

    def compare(self, place, text, direct, through):
        ordered = 'order by' in top_level(text)
        why = why_incomparable(text)
        if why:
            direct, through = ([m for m in side if m[0] not in 'DdN']
                               for side in (direct, through))
        elif not ordered:
            direct, through = map(ways.all_rows if self.ways else
                                  compare.in_any_order, (direct, through))
        direct = compare.without_detail(direct, through, self.may_hide)
        pair = compare.difference(direct, through)
        if not pair:
            self.counts[f'rows not compared ({why})' if why else 'equal'] += 1
            return
        kind = self.kind_of(text, ordered, direct, through)
        self.counts[kind] += 1
        self.findings.append(Finding(place, text, pair, kind))

    def may_hide(self, error):
        return self.hides and error['C'].startswith('23')

    def kind_of(self, text, ordered, direct, through):
        """Some differences may be the machine's or the server's own choice:
        who is in time, how ties are ordered, and which rows a limit leaves."""
        if any(m[0] == 'E' and m[1]['C'] == '57014' for m in direct + through):
            return 'out of time'
        same = [compare.in_any_order(side) for side in (direct, through)]
        if ordered and not compare.difference(*same):
            return 'order of ties?'
        if WHOLE_TABLE_ROWS.search(text):
            less = [[m[0] if m[0] == 'D' else m for m in side]
                    for side in (direct, through)]
            if not compare.difference(*less):
                return 'which rows of a limit?'
        return 'different'

    def contents(self, tables):
        """What the tables hold in the end."""
        for table in tables:
            text = f'SELECT * FROM {table}'
            self.counts['statements'] += 1
            self.compare(f'{self.name}, at the end', text, *self.both(text))

    def note(self, text, what):
        self.counts['different'] += 1
        self.findings.append(Finding(f'{self.name}, at the end', text,
                                     ('equal', what), 'different'))

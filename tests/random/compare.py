"""Runs scripts on two sides, direct and through pgtandem, and says where the
answers differ."""

import pathlib
import re
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'e2e'))

import harness  # noqa: E402

FIRST_USER_OID = 16384
COPY_SIGNATURE = b'PGCOPY\n\xff\r\n\0'
# Which of the rows an error is of.
FAILING_ROW = re.compile(
    r'Failing row contains \(([^,)]*)|Key \([^)]*\)=\((.*)\) ')
# Its columns come, through the lens, from the new table.
FETCHES = re.compile(r'\s*FETCH\b', re.I)
# Not compared: where in the server's source, and what called what.
ERROR_FIELDS = 'CMDHPstcnd'


def error_of(body):
    """The fields that a client may look at.  Left out is what is known to
    differ: pgtandem says in a hint that it was the one that found a syntax error;
    and what stands for a table is not one to PostgreSQL, which so has no advice
    about names that an alias hides; and of queries in WITH that go round in a
    circle another one is pointed at, where pgtandem has added one."""
    fields = harness.error_fields(body)
    if fields.get('H', '').startswith(('pgtandem reads statements',
                                       'Perhaps you meant')):
        del fields['H']
    if fields['M'].startswith('mutual recursion between WITH items'):
        fields.pop('P', None)
    if fields['C'] == '42P01' and 'FROM-clause entry' in fields['M']:
        fields['M'] = fields['M'].replace('invalid reference to',
                                          'missing')
        fields.pop('H', None)
    return {f: fields[f] for f in ERROR_FIELDS if f in fields}


class Side:
    """One session, and how its database calls its own types."""

    def __init__(self, port, postgres, database):
        self.wire = harness.Wire(port, dbname=database)
        self.postgres, self.database = postgres, database
        self.types, self.tables = {}, {0: None}

    def type_name(self, oid):
        if oid < FIRST_USER_OID:
            return oid
        if oid not in self.types:
            self.types = dict(self.postgres.execute(
                f'SELECT oid::bigint, typname FROM pg_type '
                f'WHERE oid >= {FIRST_USER_OID}', self.database))
        return self.types.get(oid, oid)

    def table_name(self, oid):
        if oid not in self.tables:
            name = self.postgres.execute(f'SELECT {oid}::regclass::text',
                                         self.database)[0][0]
            temporary = name.isdigit() or name.startswith('pg_temp')
            self.tables[oid] = 'temporary' if temporary else name
        return self.tables[oid]

    def columns(self, body, origins):
        count, at, got = int.from_bytes(body[:2], 'big'), 2, []
        for _ in range(count):
            end = body.index(b'\0', at)
            table, number, oid, size, modifier, form = struct.unpack(
                '!IhIhiH', body[end + 1:end + 19])
            got.append((body[at:end].decode(), self.type_name(oid), size,
                        modifier, form))
            if origins:
                got.append((self.table_name(table), number))
            at = end + 19
        return got

    def read(self, kind, body, origins):
        """A message as it is compared."""
        if kind == 'T':
            return kind, self.columns(body, origins)
        if kind == 't':
            oids = struct.unpack(f'!{len(body[2:]) // 4}I', body[2:])
            return kind, [self.type_name(o) for o in oids]
        if kind == 'E':
            return kind, error_of(body)
        return kind, body

    def answers(self, origins=True):
        return [self.read(k, b, origins) for k, b in self.wire.until('Z')
                if k not in 'NSA']

    def simple(self, sql):
        self.wire.send('Q', sql.encode() + b'\0')
        return self.answers(not FETCHES.match(sql))

    def copy_in(self, statement):
        self.wire.send('Q', statement.sql.encode() + b'\0')
        got = []
        while not got or got[-1][0] not in 'GZ':
            got.append(self.wire.read())
        if got[-1][0] == 'G':
            self.wire.raw(harness.message('d', statement.data) +
                          harness.message('c'))
            got += self.wire.until('Z')
        return [self.read(k, b, True) for k, b in got if k not in 'NSA']

    def bind(self, statement, name):
        params = statement.params
        body = b'\0' + name.encode() + b'\0' + struct.pack('!H', len(params))
        body += b''.join(struct.pack('!H', p.binary) for p in params)
        body += struct.pack('!H', len(params))
        body += b''.join(struct.pack('!i', len(p.value)) + p.value
                         for p in params)
        body += struct.pack('!HH', 1, statement.binary)
        return harness.message('B', body)

    def extended(self, statement):
        name = 'named' if statement.named else ''
        parse = (harness.parse(statement.sql, name,
                               [p.oid for p in statement.params]) +
                 harness.describe('S', name))
        run = self.bind(statement, name) + harness.describe('P')
        if statement.portion:
            run += harness.execute(rows=statement.portion) * 2
        run += harness.execute() + harness.SYNC
        if not statement.named:
            self.wire.raw(parse + run)
            return self.answers(not FETCHES.match(statement.sql))
        self.wire.raw(parse + harness.SYNC)
        got = self.answers()
        for _ in range(2):
            self.wire.raw(run)
            got += self.answers()
        self.wire.raw(harness.close('S', name) + harness.SYNC)
        return got + self.answers()

    def run(self, statement):
        if statement.data is not None:
            return self.copy_in(statement)
        got = self.extended(statement) if statement.extended \
            else self.simple(statement.sql)
        return got if statement.ordered else in_any_order(got)

    def clean(self):
        self.simple('ROLLBACK')
        self.simple('DEALLOCATE ALL')

    def close(self):
        self.wire.close()


def without_header(messages):
    """The same, the header of a binary COPY cut from its first row."""
    out = []
    for kind, what in messages:
        if kind == 'd' and what.startswith(COPY_SIGNATURE):
            header = len(COPY_SIGNATURE) + 8
            out.append(('header', what[:header]))
            what = what[header:]
        out.append((kind, what))
    return out


def in_any_order(messages):
    """The same, each run of rows sorted, and left out where an error ends it:
    which rows come before the one at fault is as open."""
    out, rows = [], []
    for m in without_header(messages):
        if m[0] in 'Dd':
            rows.append(m)
            continue
        if m[0] == 'E':
            rows = []
        out += sorted(rows) + [m]
        rows = []
    return out + sorted(rows)


def refusal(messages):
    """pgtandem's own words, if it refused."""
    for kind, what in messages:
        if kind == 'E' and what['C'] == '0A000' and 'pgtandem' in what['M']:
            return what['M']
    return None


def without_detail(direct, through, may_hide):
    """The direct answers without the details that may be kept back, where that
    is what was done."""
    got = list(direct)
    for i, (one, other) in enumerate(zip(direct, through)):
        if (one[0] == other[0] == 'E' and 'D' in one[1] and
                'D' not in other[1] and may_hide(one[1])):
            got[i] = 'E', {f: v for f, v in one[1].items() if f != 'D'}
    return got


PHASES = ('planned', 'expanded', 'dual_write', 'read_new', 'write_new',
          'new_only', 'contracted')


def hides_detail(table, phase, detail, new_shape):
    at = PHASES.index(phase)
    if not detail.startswith('Failing row contains ('):
        named = detail.partition('(')[2].partition(')=(')[0].split(', ')
        return ((at >= PHASES.index('write_new') or table.kind == 'chain') and
                any(n in table.converted for n in named))
    # A row with a comma in a value cannot be cut.
    if table.kind == 'columns' and (new_shape or
                                    1 <= at < PHASES.index('write_new')):
        return detail.count(', ') != len(table.columns) - 1
    if new_shape:
        return False
    return at >= PHASES.index('write_new') or table.kind == 'chain'


def is_of_another_row(one, other):
    """The same error, of another one of the rows that are written, whose order
    nobody has asked for?"""
    if not one[0] == other[0] == 'E':
        return False
    rows = [FAILING_ROW.match(m[1].get('D', '')) for m in (one, other)]
    return all(rows) and rows[0].groups() != rows[1].groups() and (
        {**one[1], 'D': ''} == {**other[1], 'D': ''})


def difference(direct, through):
    """The first pair of messages that are not the same; None if all are."""
    for one, other in zip(direct, through):
        if one != other and not is_of_another_row(one, other):
            return one, other
    if len(direct) != len(through):
        return ([k for k, _ in direct], [k for k, _ in through])
    return None


class Difference(Exception):
    def __init__(self, script, at, direct, through):
        self.script, self.at = script, at
        self.pair = difference(direct, through)
        self.direct, self.through = direct, through

    def kind(self):
        """What must stay the same while it is shrunk."""
        one, other = self.pair
        if one[0] == 'E' and other[0] == 'E':
            return ('E', one[1]['C'], other[1]['C'],
                    [f for f in ERROR_FIELDS
                     if one[1].get(f) != other[1].get(f)])
        if other[0] == 'E':
            return other[0], other[1]['C'], one[0]
        return one[0], other[0], self.script[self.at].kind

    def __str__(self):
        lines = []
        for i, s in enumerate(self.script):
            how = 'simple' if not s.extended else 'extended' + (
                ', named' if s.named else '') + (
                ', binary' if s.binary else '') + (
                f', {s.portion} rows at a time' if s.portion else '')
            if s.data is not None:
                how += f', data {s.data!r}'
            params = ''.join(f'\n        ${n} = {p.value!r} (type {p.oid}, '
                             f'{"binary" if p.binary else "text"})'
                             for n, p in enumerate(s.params, 1))
            mark = '->' if i == self.at else '  '
            lines.append(f'  {mark} {s.sql}    [{how}]{params}')
        one, other = self.pair
        return '\n'.join([*lines, f'     direct:  {one}',
                          f'     through: {other}'])


class Pair:
    """A database direct, and one like it through pgtandem in some phase."""

    def __init__(self, schema, phase, postgres, proxy, direct_db, moving_db):
        self.schema, self.phase = schema, phase
        self.postgres, self.moving_db = postgres, moving_db
        self.direct = Side(postgres.port, postgres, direct_db)
        self.through = Side(proxy.port, postgres, moving_db)
        self.refused, self.counts = {}, {}
        if schema.new_shape:
            self.through.simple('SET pgtandem.shape = new')

    def close(self):
        self.direct.close()
        self.through.close()

    def may_hide(self, error):
        """Would the error's detail show values that the lens converts?  It
        could not tell them."""
        table = next((t for t in self.schema.tables
                      if t.name == error.get('t')), None)
        return (table is not None and table.moving and
                hides_detail(table, self.phase, error['D'],
                             self.schema.new_shape))

    def start_over(self):
        """Both to the same rows, whatever was before."""
        for side in self.direct, self.through:
            side.clean()
            for statement in self.schema.rows.strip().split(';\n'):
                got = side.simple(statement)
                assert all(k != 'E' for k, _ in got), (self.phase, statement, got)

    def note_refused(self, statement, words):
        entry = self.refused.setdefault(statement.kind, {})
        words = words.split('): ', 1)[-1]
        entry[words] = entry.get(words, 0) + 1

    def step_over(self):
        """Nothing of a refused statement was done: sequences follow."""
        for side in self.direct, self.through:
            side.clean()
        for table in self.schema.tables:
            if not table.sequence:
                continue
            name = (table.sequence if table.sequence != 'id' else
                    f'{table.name}_id_seq')
            got = self.direct.simple(f'SELECT last_value FROM {name}')
            value = int(got[1][1][6:])
            self.postgres.execute(f"SELECT setval('{name}', {value})",
                                  self.moving_db)

    def run(self, script):
        """Raises Difference.  Refused statements end a script."""
        for at, statement in enumerate(script):
            self.counts[statement.kind] = self.counts.get(
                statement.kind, 0) + 1
            through = self.through.run(statement)
            words = refusal(through)
            if words:
                self.note_refused(statement, words)
                self.step_over()
                return
            direct = without_detail(self.direct.run(statement), through,
                                    self.may_hide)
            if difference(direct, through):
                raise Difference(script, at, direct, through)
            if statement.data is not None and direct[-2][0] == 'E':
                # Rows that wait to be written together have drawn from
                # sequences already.
                self.step_over()

    def tables(self, statement):
        """Do both sides hold the same rows?"""
        script = [statement(f'SELECT * FROM {t.name} ORDER BY id', 'contents',
                            True) for t in self.schema.tables]
        self.run(script)

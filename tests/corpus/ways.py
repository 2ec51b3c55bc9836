"""The ways in which a statement can reach the server, harsher than psql's.

Each way is a function of a side, the statement and a number (which chooses
between formats and row limits); it gives the messages that came back, or None
where the statement cannot go that way."""

import re

import compare
from compare import harness

LITERAL = re.compile(r'''
    (?P<space>\s+ | --[^\n]* | /\*.*?\*/)
  | (?P<string>'(?:[^']|'')*')
  | (?P<number>\b\d+(?:\.\d+)?\b(?!\.))
  | (?P<other>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$
              | \b[eEbBxXnN]'(?:[^'\\]|\\.|'')*' | "(?:[^"]|"")*"
              | \w+ | [<>=!]+ | .)''', re.X | re.S)
BEFORE_NUMBER = re.compile(r'[<>=!]+$|(between|and|limit|offset|\+|\*|/)$', re.I)
BEFORE_STRING = re.compile(
    r'([<>=!]+|[,(|~]|between|and|or|then|else|when|like|ilike|values|select|'
    r'where|not|in)$', re.I)
WRITES = re.compile(r'\b(insert|update|delete|merge|into)\b', re.I)
QUERY = re.compile(r'\s*\(*\s*(select|values|table|with)\b', re.I)
COPIES = re.compile(r'\s*copy\b', re.I)


def bare(text):
    """Without comments, strings and the last semicolon."""
    return LITERAL.sub(lambda m: ' ' if m.lastgroup in ('space', 'string') or
                       m.group()[0] == '$' else m.group(), text).strip()


def is_query(text):
    return bool(QUERY.match(bare(text)) and not WRITES.search(bare(text)))


def with_parameters(text):
    """The text with $1... where literals stood, and their values."""
    out, values, before = [], [], ''
    if re.search(r'\$\d', text):
        return text, values
    for m in LITERAL.finditer(text):
        kind, part = m.lastgroup, m.group()
        if kind == 'tag':
            kind = 'other'
        if kind == 'space':
            out.append(part)
            continue
        place = {'number': BEFORE_NUMBER, 'string': BEFORE_STRING}.get(kind)
        if place and place.match(before):
            values.append(part if kind == 'number' else
                          part[1:-1].replace("''", "'"))
            part = f'${len(values)}'
        out.append(part)
        before = part
    return ''.join(out), values


def encoded(text):
    return text.encode(errors='surrogateescape')


def bound(values, binary, name=''):
    return harness.bind([encoded(v) for v in values], name=name,
                        results=[binary])


def described(side, text, values, number):
    """Parse, Describe, Bind, Describe and Execute, in portions, with results
    in binary for every second one."""
    run = harness.execute()
    if is_query(text):
        run = harness.execute(rows=number % 3) * (2 if number % 3 else 1) + \
            (run if number % 3 else b'')
    side.wire.raw(parsed(text) + harness.describe('S') +
                  bound(values, number % 2) + harness.describe('P') + run +
                  harness.SYNC)
    return side.collect(not compare.FETCHES.match(bare(text)))


def parsed(text, name=''):
    return harness.message('P', encoded(name) + b'\0' + encoded(text) +
                           b'\0\0\0')


def is_one(text):
    return ';' not in bare(text) and not COPIES.match(bare(text))


def extended(side, text, number):
    return described(side, text, [], number) if is_one(text) else None


def parameters(side, text, number):
    sql, values = with_parameters(text)
    return described(side, sql, values, number) \
        if values and is_one(text) else None


def cursor(side, text, number):
    """Two rows, the others, and, where it can be, all again from behind."""
    if not is_query(text) or not is_one(text):
        return None
    back = not re.search(r'\bfor\b.*\b(update|share)\b', bare(text), re.I)
    begins = side.status == 'I'
    scroll = 'SCROLL' if back else 'NO SCROLL'
    steps = (['BEGIN'] if begins else []) + \
        [f'DECLARE corpus {scroll} CURSOR FOR {text}', 'FETCH 2 FROM corpus',
         'FETCH ALL FROM corpus'] + \
        (['FETCH BACKWARD ALL FROM corpus'] if back else []) + \
        ['CLOSE corpus'] + (['COMMIT'] if begins else [])
    got = []
    for step in steps:
        got += side.send(step)
        if got[-2][0] == 'E':
            break
    if begins and side.status != 'I':
        side.send('ROLLBACK')
    return got


def prepare(side, text, name):
    side.wire.raw(parsed(text, name) + harness.describe('S', name) +
                  harness.SYNC)
    return side.collect(True)


def run_prepared(side, name, number):
    """The second of every two is described again."""
    side.wire.raw((harness.describe('S', name) if number % 2 else b'') +
                  bound([], number % 2, name) + harness.describe('P') +
                  harness.execute() + harness.SYNC)
    return side.collect(True)


# Tried in this order until direct use has no error.
WAYS = {'simple': (), 'extended': (extended,),
        'parameters': (parameters, extended), 'cursor': (cursor,),
        'prepared': ()}


def all_rows(messages):
    """Rows of one statement that came in several portions, put together."""
    rows = [m for m in messages if m[0] in 'Dd']
    return sorted(rows) + [m for m in messages if m[0] not in 'Dds']

"""Random scripts: statements that go together, mostly one, or a transaction."""

import dataclasses
import struct

from expressions import VALUES, Relation, quoted


@dataclasses.dataclass
class Statement:
    sql: str
    kind: str                # for the share of refusals
    ordered: bool = False    # do its rows come in a given order?
    params: list = dataclasses.field(default_factory=list)
    extended: bool = False
    named: bool = False      # prepared, and run twice
    binary: bool = False     # results
    portion: int = 0         # rows asked for at a time
    data: bytes = None       # of COPY FROM STDIN


# What COPY FROM reads, by kind of column.
READ = {
    'amount': ('1', '7', '-2', '13'), 'name': ('customer 3', 'new', ''),
    'phone': ('555-0001', '555-0033', '555-0021'), 'note': ('n1', 'n2', 'x y'),
    'number': ('n3', 'n33', 'n34'), 'store': ('1', '7', '99'),
    'time': ('2024-01-01 03:00Z', '2024-02-29 12:00Z'),
    'cents': ('100', '700'), 'digits': ('5550001', '5550033'),
    'tax': VALUES['tax'], 'email': ('u3@x', 'u30@x'), 'code': ('c3', 'c31', 'c32'),
    'price': VALUES['numeric'], 'date': VALUES['date'],
    'array': VALUES['array'][:3], 'json': ('{}', '3'),
    'enum': VALUES['enum'], 'size': ('1', '2', '0'), 'bytea': ('abc', 'd'),
    'grade': VALUES['char'],
}
LOCKS = ('ACCESS SHARE', 'ROW EXCLUSIVE', 'SHARE', 'ACCESS EXCLUSIVE')
BEGINS = ('BEGIN', 'START TRANSACTION', 'BEGIN ISOLATION LEVEL REPEATABLE READ',
          'BEGIN ISOLATION LEVEL SERIALIZABLE', 'BEGIN READ ONLY')


class Scripts:
    """Needs self.statement() and what it is made of."""

    def script(self):
        return self.c.weighted(
            (60, self.alone), (20, self.block), (4, self.together),
            (4, self.controlled), (3, self.cursor), (3, self.current_of),
            (2, self.held), (3, self.copy_to), (4, self.copy_from),
            (4, self.prepared), (3, self.kept), (2, self.emptied),
            (1, self.locked), (1, self.shadowed), (1, self.elsewhere))()

    def alone(self):
        return [self.statement()]

    def block(self):
        c = self.c
        begin = c.weighted((10, BEGINS[0]), *((1, b) for b in BEGINS[1:]))
        made = [Statement(begin, 'begin')]
        for _ in range(1 + c.draw(3)):
            save = c.chance(40)
            if save:
                made.append(Statement('SAVEPOINT s', 'savepoint'))
            made.append(self.statement())
            if save:
                made.append(Statement(c.pick((
                    'ROLLBACK TO s', 'RELEASE s')), 'savepoint'))
        return [*made, Statement(c.pick(('COMMIT', 'ROLLBACK')), 'end')]

    # Several statements in one string.

    def part(self):
        return self.statement(simple_only=True).sql

    def together(self):
        parts = [self.part() for _ in range(2 + self.c.draw(2))]
        return [Statement('; '.join(parts), 'together')]

    def controlled(self):
        form = self.c.pick((
            ('BEGIN', 0, 'COMMIT'), (0, 'COMMIT', 0),
            ('BEGIN', 0, 'SAVEPOINT s', 0, 'ROLLBACK TO s', 0, 'COMMIT'),
            ('BEGIN', 0, 'ROLLBACK', 0), ('BEGIN', 0), (0, 'ROLLBACK', 0),
            ('BEGIN', 0, 'COMMIT AND CHAIN', 0, 'ROLLBACK')))
        parts = [p or self.part() for p in form]
        return [Statement('; '.join(parts), 'controlled'),
                Statement('ROLLBACK', 'end')]

    # Cursors.

    def cursor(self):
        c = self.c
        sql, ordered = self.select()
        if not ordered:
            return [Statement('BEGIN', 'begin'),
                    Statement(f'DECLARE k CURSOR FOR {sql}', 'declare'),
                    Statement('FETCH ALL FROM k', 'fetch'),
                    Statement('ROLLBACK', 'end')]
        moves = [Statement(c.pick((
            'FETCH 2 FROM k', 'FETCH ALL IN k', 'MOVE 1 IN k', 'FETCH LAST k',
            'FETCH BACKWARD 2 FROM k', 'FETCH ABSOLUTE 2 FROM k',
            'FETCH PRIOR FROM k')), 'fetch', True)
            for _ in range(1 + c.draw(3))]
        return [Statement('BEGIN', 'begin'),
                Statement(f'DECLARE k SCROLL CURSOR FOR {sql}', 'declare'),
                *moves, Statement('ROLLBACK', 'end')]

    def current_of(self):
        """Of one row, whichever way it is found."""
        c, table = self.c, self.written_table()
        name = self.table_name(table)
        lock = c.pick(('', ' FOR UPDATE', ' FOR NO KEY UPDATE'))
        sets = ', '.join(self.assignments(table, [
            Relation(table.name, dict(table.columns), table)]))
        write = c.pick((f'DELETE FROM {name}', f'UPDATE {name} SET {sets}'))
        made = [
            Statement('BEGIN', 'begin'),
            Statement(f'DECLARE k CURSOR FOR SELECT * FROM {name} WHERE id = '
                      f'{1 + c.draw(9)}{lock}', 'declare'),
            Statement('FETCH k', 'fetch'),
            Statement(f'{write} WHERE CURRENT OF k', 'current_of')]
        return [*made, Statement(f'SELECT * FROM {name}', 'select'),
                Statement('ROLLBACK', 'end')]

    def held(self):
        sql, ordered = self.select()
        return [Statement('BEGIN', 'begin'),
                Statement(f'DECLARE k CURSOR WITH HOLD FOR {sql}', 'declare'),
                Statement('COMMIT', 'end'),
                Statement('FETCH ALL FROM k', 'fetch', ordered),
                Statement('CLOSE k', 'close')]

    # COPY.

    def copy_to(self):
        c = self.c
        sql, ordered = self.select()
        made = Statement(f'COPY ({sql}) TO STDOUT', 'copy', ordered)
        if c.chance(40):
            table = self.written_table()
            some = self.some_columns(table)
            listed = f' ({", ".join(some)})' if some and c.chance(50) else ''
            made.sql = f'COPY {self.table_name(table)}{listed} TO STDOUT'
            made.ordered = False
        made.sql += c.weighted((5, ''), (2, ' (FORMAT csv, HEADER)'),
                               (2, ' (FORMAT binary)'), (1, ' WITH CSV'),
                               (1, " (DELIMITER '|', NULL 'none')"))
        return [made]

    def read_value(self, kind):
        """As text; None is NULL."""
        c = self.c
        if kind == 'key':
            return str(c.draw(20) + 200 * c.chance(60))
        if kind in ('taxable', 'inclusive'):
            return None  # both or none: left to their defaults
        if c.chance(8):
            return None
        return c.pick(READ[kind])

    def copy_from(self):
        c, table = self.c, self.written_table()
        names = [n for n in self.some_columns(table, table.needed)
                 if table.written[n] not in ('taxable', 'inclusive') or
                 n in table.needed]
        kinds = [table.written[n] for n in names]
        if c.chance(60):
            rows = [[self.flag(c.draw(2), 0) if k == 'taxable' else
                     self.read_value(k) for k in kinds]]
        else:
            # COPY looks for duplicates in many rows at a time, after it has
            # looked at each alone: only one of several may be wrong.
            rows = [['true' if k == 'taxable' else
                     str(200 + c.draw(20)) if k == 'key' else READ[k][0]
                     for k in kinds] for _ in range(2 + c.draw(2))]
        where = ''
        if c.chance(15):
            where = ' WHERE ' + self.condition(
                [Relation(table.name, dict(table.columns), table)], 0)
        how, data = c.weighted((4, ('', as_text)),
                               (2, (' (FORMAT csv)', as_csv)),
                               (2, (' (FORMAT binary)', as_binary)))
        return [Statement(f'COPY {self.table_name(table)} '
                          f'({", ".join(names)}) FROM STDIN{how}{where}',
                          'copy_from', data=data(rows, kinds))]

    # Others.

    def prepared(self):
        """Its parameters' types are found out, or said."""
        c = self.c
        self.params = given = []
        made = self.statement(simple_only=True, keep=True)
        self.params = None
        types = ''
        if given and c.chance(30):
            types = f' ({", ".join(["unknown"] * len(given))})'
        for p in given:
            if p.binary:
                p.value = str(struct.unpack('!i', p.value)[0]).encode() \
                    if p.oid == 23 else p.value
        values = ', '.join(quoted(p.value.decode()) for p in given)
        values = f' ({values})' if given else ''
        return [Statement(f'PREPARE p{types} AS {made.sql}', 'prepare'),
                Statement(f'EXECUTE p{values}', 'execute', made.ordered),
                Statement('DEALLOCATE p', 'deallocate')]

    def kept(self):
        sql, _ = self.select()
        table = self.table_name(self.written_table())
        text = self.c.weighted(
            (3, f'CREATE TEMP TABLE kept AS {sql}'),
            (1, f'SELECT * INTO TEMP kept FROM {table} WHERE id > 3'),
            (1, f'CREATE TEMP TABLE kept AS TABLE {table} WITH NO DATA'))
        return [Statement('BEGIN', 'begin'), Statement(text, 'create_as'),
                Statement('TABLE kept', 'select'),
                Statement('ROLLBACK', 'end')]

    def emptied(self):
        table = self.written_table()
        return [Statement('BEGIN', 'begin'),
                Statement(f'TRUNCATE {self.table_name(table)}', 'truncate'),
                self.statement(), Statement('ROLLBACK', 'end')]

    def locked(self):
        table = self.table_name(self.written_table())
        return [Statement('BEGIN', 'begin'),
                Statement(f'LOCK TABLE {table} IN {self.c.pick(LOCKS)} MODE',
                          'lock'),
                self.statement(), Statement('ROLLBACK', 'end')]

    def shadowed(self):
        """A temporary table comes before the one of that name."""
        table = self.written_table()
        columns = ', '.join(f'{n} text' for n in table.columns)
        return [Statement('BEGIN', 'begin'),
                Statement(f'CREATE TEMP TABLE {table.name} ({columns})',
                          'create'),
                self.statement(), Statement(f'TABLE {table.name}', 'select'),
                Statement('ROLLBACK', 'end')]

    def elsewhere(self):
        return [Statement('BEGIN', 'begin'),
                Statement(self.c.pick((
                    'SET LOCAL search_path = pg_catalog',
                    "SET LOCAL search_path = 'public'",
                    "SELECT set_config('search_path', 'nowhere', true)")),
                    'set'),
                self.statement(), Statement('ROLLBACK', 'end')]


def as_text(rows, kinds):
    def text(v):
        return '\\N' if v is None else v.replace('\\', '\\\\')
    return ''.join('\t'.join(map(text, r)) + '\n' for r in rows).encode()


def as_csv(rows, kinds):
    def text(v):
        return '' if v is None else '"' + v.replace('"', '""') + '"'
    return ''.join(','.join(map(text, r)) + '\n' for r in rows).encode()


def as_binary(rows, kinds):
    """What is neither a number nor text is NULL."""
    numbers = ('key', 'amount', 'store', 'size')
    texts = ('name', 'phone', 'note', 'number', 'email', 'code', 'grade')

    def field(v, kind):
        if kind == 'taxable':
            return struct.pack('!ib', 1, v == 'true')
        if v is None or kind not in (*numbers, *texts):
            return struct.pack('!i', -1)
        data = struct.pack('!i', int(v)) if kind in numbers else v.encode()
        return struct.pack('!i', len(data)) + data
    out = b'PGCOPY\n\xff\r\n\0' + struct.pack('!ii', 0, 0)
    for row in rows:
        out += struct.pack('!h', len(row))
        out += b''.join(field(v, k) for v, k in zip(row, kinds))
    return out + struct.pack('!h', -1)

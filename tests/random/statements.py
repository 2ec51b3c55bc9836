"""Random statements and short scripts: what a client sends, in order."""

from choices import Choices
from expressions import Relation, quoted
from queries import Queries
from scripts import Scripts, Statement


WRONG = ("'no time'", "'none'", "'no day'", "'{x'", "'angry'", "'\\xzz'",
         "ARRAY[1, 2]", "'ok'::text", "'no_tax'::text")


class Generator(Scripts, Queries):
    def __init__(self, schema, choices):
        self.schema, self.c = schema, choices
        self.tables = schema.tables
        self.params, self.ctes, self.names = None, {}, 0
        self.state = 0  # of the flags of a row
        self.wrong = False  # is there a mistake in the statement already?
        self.outer, self.visible, self.merged = [], set(), set()

    def number(self, prefix):
        self.names += 1
        return f'{prefix}{self.names}'

    # What may be assigned, by kind of column.

    def assigned(self, kind, scope, depth=1):
        """A value of a column, from `scope`; or DEFAULT."""
        c = self.c
        forms = {
            'key': [(6, lambda: str(1 + c.draw(40))),
                    (1, lambda: f"{self.literal('int')} + 200")],
            'amount': [
                (6, lambda: self.literal('int')),
                (4, lambda: f"({self.expression('int', scope, depth)}) % 999"),
                (1, lambda: '3.7'), (1, lambda: "'12'"), (1, lambda: '5::bigint'),
                (1, lambda: 'NULL')],
            'name': [
                (6, lambda: quoted(f'customer {c.draw(9)}')),
                (3, lambda: f"COALESCE(left({self.expression('text', scope, depth)}, 20), 'none')"),
                (1, lambda: f"'n' || {self.literal('int')}"),
                (1, lambda: 'NULL'),
                (1, lambda: "'a name that is too long for it'"),
                (1, lambda: "'padded              '")],
            'phone': [
                (6, lambda: quoted(f'555-{c.draw(40):04d}')),
                (2, lambda: 'NULL'), (1, lambda: "'555-' || '0007'")],
            'note': [
                (6, lambda: quoted(f'n{c.draw(4)}')), (2, lambda: 'NULL'),
                (2, lambda: f"left({self.expression('text', scope, depth)}, 10)"),
                (1, lambda: "'longer than ten'"), (1, lambda: '12')],
            'number': [
                (6, lambda: quoted(f'n{c.draw(40)}')),
                (1, lambda: 'NULL'), (1, lambda: "'longer than twelve'")],
            # Inclusive of a tax that there is none of is what the new model
            # cannot say: never written.
            'taxable': [(1, lambda: self.flag(c.draw(3), 0))],
            'inclusive': [(1, lambda: self.flag(self.state, 1))],
            'cents': [
                (6, lambda: f'{c.draw(20)}00'), (1, lambda: 'NULL'),
                (1, lambda: "'1200'"), (1, lambda: '300::numeric')],
            'digits': [
                (6, lambda: quoted(f'555{c.draw(40):04d}')),
                (2, lambda: 'NULL'), (1, lambda: "'555' || '0007'")],
            'tax': [
                (6, lambda: self.untyped('tax')), (1, lambda: 'NULL'),
                (1, lambda: "'none'"), (1, lambda: "'no_tax'::text")],
            'email': [
                (6, lambda: quoted(f'u{c.draw(40)}@x')), (2, lambda: 'NULL'),
                (1, lambda: "'longer than twelve'"),
                (2, lambda: f"left({self.expression('text', scope, depth)}, 12)")],
            'code': [
                (8, lambda: quoted(f'c{c.draw(40)}')), (1, lambda: 'NULL'),
                (1, lambda: "'longer than 8'"),
                (2, lambda: f"left({self.expression('text', scope, depth)}, 8)")],
            'price': [
                (6, lambda: self.untyped('numeric')),
                (2, lambda: self.literal('int')), (1, lambda: '2.505'),
                (1, lambda: '12345678.9'), (1, lambda: 'NULL'),
                (1, lambda: "'none'"), (1, lambda: "1.25::real"),
                (2, lambda: f"({self.expression('int', scope, depth)}) % 99 * 0.5")],
            'date': [
                (6, lambda: self.untyped('date')), (1, lambda: 'NULL'),
                (1, lambda: "timestamptz '2024-01-03 12:00Z'"),
                (1, lambda: "date '2024-01-01' + 3"), (1, lambda: "'no day'")],
            'array': [
                (6, lambda: self.untyped('array')), (1, lambda: 'NULL'),
                (2, lambda: f"ARRAY['x', {self.literal('text')}]"),
                (1, lambda: "'{x'"), (1, lambda: "ARRAY[1, 2]")],
            'json': [
                (6, lambda: self.untyped('json')), (1, lambda: 'NULL'),
                (2, lambda: "jsonb_build_object('k', 2)"),
                (1, lambda: "'{x'")],
            'enum': [
                (6, lambda: self.untyped('enum')), (1, lambda: 'NULL'),
                (1, lambda: "'angry'"), (1, lambda: "'ok'::mood"),
                (1, lambda: "'ok'::text")],
            'size': [
                (6, lambda: str(1 + c.draw(9))), (1, lambda: 'NULL'),
                (1, lambda: '0'), (2, lambda: self.literal('int'))],
            'bytea': [
                (6, lambda: self.untyped('bytea')), (1, lambda: 'NULL'),
                (1, lambda: "decode('0a0b', 'hex')"), (1, lambda: "'\\xzz'")],
            'grade': [
                (6, lambda: self.untyped('char')), (1, lambda: 'NULL'),
                (1, lambda: "'long'"), (1, lambda: "'g3  '")],
            'store': [
                (8, lambda: str(1 + c.draw(12))), (2, lambda: 'NULL'),
                (2, lambda: f"1 + abs({self.expression('int', scope, depth)}) % 12")],
            'time': [
                (6, lambda: self.literal('time')),
                (2, lambda: "'2024-05-06 07:08Z'"),
                (1, lambda: self.expression('time', scope, depth)),
                (1, lambda: "'no time'")],
        }[kind]
        made = c.weighted(*forms)()
        if made in WRONG:
            # Which of two mistakes is found first is not told by the text.
            made, self.wrong = ('NULL' if self.wrong else made), True
        return made

    def flag(self, state, which):
        """One of two flags: neither, the first, both."""
        self.state = state
        return 'true' if state > which else 'false'

    def assigned_or_default(self, table, column, scope, depth=1):
        if table.written[column] not in ('key', 'taxable', 'inclusive') and (
                self.c.chance(8)):
            return 'DEFAULT'
        return self.assigned(table.written[column], scope, depth)

    def written_table(self):
        return self.c.weighted(*((6 if t.moving else 1, t)
                                 for t in self.tables if t.written))

    def some_columns(self, table, needed=()):
        got = [n for n in table.written if n in needed or self.c.chance(45)]
        if set(got) & set(table.together):
            got = [n for n in table.written
                   if n in got or n in table.together]
        return got

    # Writes.

    def target_table(self, table):
        """Its text and how the statement calls it."""
        text = self.table_name(table)
        if self.c.chance(35):
            alias = self.number('t')
            as_ = f'{text} AS {alias}'
            return as_, Relation(alias, dict(table.columns), table)
        return text, Relation(table.name, dict(table.columns), table,
                              (table.name, f'"{table.name}"'))

    def returning(self, target, scope):
        c = self.c
        if not c.chance(50):
            return ''
        if len(scope) > 1 and target.table.kind == 'child':
            scope = [target]  # what comes from other tables is not told
            if c.chance(50):
                return f' RETURNING {target.alias}.*'
            return ' RETURNING ' + ', '.join(
                self.target(self.expression(k, scope, 1), i)
                for i, k in enumerate(self.kinds()))
        return ' RETURNING ' + c.weighted(
            (4, lambda: '*'), (1, lambda: f'{target.alias}.*'),
            (4, lambda: ', '.join(self.target(self.expression(k, scope, 1), i)
                                  for i, k in enumerate(self.kinds()))),
            (1, lambda: f'{target.alias}.*, 1 AS one'),
            (1, lambda: f'{target.alias}'))()

    def write_with(self):
        """WITH in front of a write."""
        self.ctes = {}
        if not self.c.chance(12):
            return ''
        self.visible = set()
        return self.with_clause(1)

    def insert(self):
        c, table = self.c, self.written_table()
        with_ = self.write_with()
        text, target = self.target_table(table)
        columns = self.some_columns(table, table.needed)
        if c.chance(5):
            missed = table.needed[:1 + c.draw(2)]
            columns = [n for n in columns if n not in missed]
        listed = f' ({", ".join(self.column_name(n) for n in columns)})'
        if not columns or c.chance(8):
            names = list(table.written)
            columns = names[:1 + c.draw(len(names))]
            listed = ''
        if c.chance(3) and len(table.needed) < 2:
            listed, source = '', ' DEFAULT VALUES'
        elif c.chance(30):
            source = self.insert_select(table, columns)
        else:
            rows = [', '.join(self.assigned_or_default(table, n, [])
                              for n in columns)
                    for _ in range(c.weighted((6, 1), (2, 2), (1, 3)))]
            source = f' VALUES ({"), (".join(rows)})'
        return (f'{with_}INSERT INTO {text}{listed}{source}'
                f'{self.on_conflict(table, target)}'
                f'{self.returning(target, [target])}')

    def insert_select(self, table, columns):
        """In the order of a key, as rows draw from sequences."""
        self.outer, self.visible, self.merged = [], set(), set()
        text, source = self.base_table(alias_percent=100, suffix=False)
        if 'id' not in source.columns:
            values = ', '.join(self.assigned(table.written[n], [])
                               for n in columns)
            return f' VALUES ({values})'
        values = ', '.join(self.assigned(table.written[n], [source])
                           for n in columns)
        return (f' SELECT {values} FROM {text}'
                f'{self.where([source], 1, 80)} ORDER BY {source.alias}.id'
                f' LIMIT {1 + self.c.draw(3)}')

    def on_conflict(self, table, target):
        c = self.c
        if not c.chance(25):
            return ''
        where = c.weighted(
            (3, f' ({", ".join(c.pick(table.unique))})'),
            (1, f' ON CONSTRAINT {c.pick(table.constraints)}'), (1, ''))
        if where == '' or c.chance(30):
            return f' ON CONFLICT{where} DO NOTHING'
        excluded = Relation('excluded', dict(table.columns))
        scope = [target, excluded]
        sets = ', '.join(self.assignments(table, scope))
        guard = ''
        if c.chance(25):
            guard = f' WHERE {self.condition(scope, 0)}'
        return f' ON CONFLICT{where} DO UPDATE SET {sets}{guard}'

    def assignments(self, table, scope):
        """Of no column twice."""
        c = self.c
        columns = self.some_columns(table)
        if not c.chance(10):
            columns = [n for n in columns if table.written[n] != 'key']
        columns = columns or [list(table.written)[-1]]
        parts = []
        if len(columns) > 1 and c.chance(15):
            two, columns = columns[:2], columns[2:]
            values = ', '.join(self.assigned(table.written[n], scope)
                               for n in two)
            row = c.pick((f'({values})', f'ROW({values})', f'(SELECT {values})'))
            parts.append(f'({", ".join(two)}) = {row}')
        for n in columns:
            parts.append(f'{self.column_name(n)} = '
                         f'{self.assigned_or_default(table, n, scope)}')
        return parts

    def one_row(self):
        """A relation of at most one row, to join a write with: with more it
        would be left open which of them counts."""
        c = self.c
        alias = self.number('o')
        if c.chance(30):
            return (f'(VALUES ({c.draw(9)}, {quoted("n1")})) AS {alias} (n, w)',
                    Relation(alias, {'n': 'int', 'w': 'text'}), 'true')
        table = c.pick(self.tables)
        return (f'{self.table_name(table)} AS {alias}',
                Relation(alias, dict(table.columns), table),
                f'{alias}.id = {1 + c.draw(9)}')

    def write_scope(self, target, keyword):
        """FROM or USING: its text, scope, and the condition on it."""
        if not self.c.chance(25):
            return '', [target], ''
        text, other, condition = self.one_row()
        return f' {keyword} {text}', [target, other], condition

    def write_where(self, scope, condition):
        self.outer, self.visible, self.merged = [], {r.alias for r in scope}, \
            set()
        parts = [condition] if condition else []
        if self.c.chance(75):
            parts.append(f'{scope[0].alias}.id = {1 + self.c.draw(20)}')
        if self.c.chance(50) or not parts:
            parts.append(self.condition(scope, 1))
        return ' WHERE ' + ' AND '.join(f'({p})' for p in parts)

    def update(self):
        table = self.written_table()
        with_ = self.write_with()
        text, target = self.target_table(table)
        from_, scope, condition = self.write_scope(target, 'FROM')
        sets = ', '.join(self.assignments(table, scope))
        return (f'{with_}UPDATE {text} SET {sets}{from_}'
                f'{self.write_where(scope, condition)}'
                f'{self.returning(target, scope)}')

    def delete(self):
        table = self.written_table()
        with_ = self.write_with()
        text, target = self.target_table(table)
        using, scope, condition = self.write_scope(target, 'USING')
        return (f'{with_}DELETE FROM {text}{using}'
                f'{self.write_where(scope, condition)}'
                f'{self.returning(target, scope)}')

    def write_in_with(self):
        c = self.c
        name = self.number('w')
        write = c.pick((self.insert, self.update, self.delete))()
        rows = ' RETURNING ' in write.rpartition(')')[2]
        if rows and c.chance(15):
            return f'COPY ({write}) TO STDOUT'
        if not rows:
            table = self.table_name(c.pick(self.tables))
            return (f'WITH {name} AS ({write}) '
                    f'SELECT count(*) AS n FROM {table}')
        return f'WITH {name} AS ({write}) ' + c.pick((
            f'SELECT * FROM {name}', f'SELECT count(*) AS n FROM {name}',
            f'SELECT 1 AS one', f'SELECT to_json({name}) FROM {name}',
            *self.counted(name)))

    def counted(self, name):
        other = self.tables[-1]
        column = next((n for n, k in other.written.items() if k == 'amount'),
                      None)
        return () if column is None else (
            f'INSERT INTO {other.name} ({column}) SELECT count(*) FROM '
            f'{name}',)

    def whole_row(self):
        """A relation's row as a value."""
        c, table = self.c, self.written_table()
        some = next(n for n in table.columns if n != 'id')
        row = c.pick(('t', 't.*'))
        group = c.pick(('', '', ' GROUP BY t.id', f' GROUP BY t.{some}'))
        aggregates = ('count({})', 'array_agg({} ORDER BY t.id)',
                      'json_agg({} ORDER BY t.id)')
        value = c.pick(aggregates if group and 't.id' not in group else (
            *aggregates, 'to_json({})', '{}::text', '{} IS NULL', '{}',
            'pg_typeof({})::text', 'coalesce({}, NULL)', 'ARRAY[{}]', '{} = {}',
            'row_to_json(({}))', '(SELECT to_jsonb({}))')).format(row, row)
        if row == 't' and not group and c.chance(20):
            value = c.pick((f'(t).{some}', '(t).*'))
        join = c.pick(('', '', f' LEFT JOIN {self.table_name(table)} AS u'
                       ' ON u.id = t.id + 1',
                       f' RIGHT JOIN {self.tables[-1].name} AS p ON p.id = t.id'))
        return (f'SELECT {value} AS v FROM {self.table_name(table)} AS t'
                f'{join}{group}')

    def merge(self):
        table = self.written_table()
        text, target = self.target_table(table)
        source, other, _ = self.one_row()
        sets = ', '.join(self.assignments(table, [target, other]))
        columns = self.some_columns(table, table.needed)
        values = ', '.join(self.assigned_or_default(table, n, [other])
                           for n in columns)
        then = self.c.pick((
            f'MATCHED THEN UPDATE SET {sets}', 'MATCHED THEN DELETE',
            f'NOT MATCHED THEN INSERT ({", ".join(columns)}) VALUES ({values})',
            'MATCHED THEN DO NOTHING'))
        return (f'MERGE INTO {text} USING {source} ON {target.alias}.id = '
                f'{1 + self.c.draw(20)} WHEN {then}')

    def without_partner(self, table, name):
        """A foreign key is looked at when the statement ends, or, where its
        column moves, with each row."""
        store = [n for n, k in table.written.items() if k == 'store']
        if not store:
            return []
        first = next(iter(table.needed))
        return [f'UPDATE {name} SET {store[0]} = 99 WHERE id = 2',
                f"INSERT INTO {name} ({first}, {store[0]}) VALUES ('n1', 99)",
                f'UPDATE {name} SET {store[0]} = 99',
                f"INSERT INTO {name} ({first}, {store[0]}) VALUES ('n1', 1), "
                "('n2', 99) RETURNING id"]

    # Mistakes on purpose: one in a statement, so that there is one answer.

    def mistake(self):
        c, table = self.c, self.written_table()
        name = self.table_name(table)
        amount = [n for n, k in table.written.items()
                  if k in ('amount', 'key')][-1]
        return c.pick((
            *self.without_partner(table, name),
            f'SELECT nothing FROM {name}',
            f'SELECT x.id FROM {name} AS t',
            f'SELECT {table.name}.id FROM {name} AS t',
            f'SELECT id, FROM {name}',
            f'SELECT {amount} / 0 FROM {name}',
            f"SELECT id FROM {name} WHERE {amount} = 'words'",
            f"SELECT count(*) FROM {name} WHERE id = '7x'::integer",
            f'SELECT id FROM {name} GROUP BY {amount}',
            f'SELECT sum({amount}) FROM {name} WHERE sum(id) > 1',
            f'SELECT upper({amount}, 3) FROM {name}',
            f'SELECT id FROM {name} UNION SELECT now()',
            f'INSERT INTO {name} (nothing) VALUES (1)',
            f'INSERT INTO {name} (id, id) VALUES (1, 2)',
            f'INSERT INTO {name} (id) VALUES (1, 2)',
            f"INSERT INTO {name} ({amount}) VALUES ('words')",
            f'INSERT INTO {name} ({amount}) VALUES (now())',
            f'UPDATE {name} SET nothing = 1',
            f'UPDATE {name} SET {amount} = true WHERE id = 2',
            f"UPDATE {name} SET {amount} = 'words' WHERE id = 2",
            f'UPDATE {name} SET {amount} = 1, {amount} = 2',
            f'UPDATE {name} SET {amount} = 1 RETURNING nothing',
            f'UPDATE {name} SET {amount} = 3000000000 WHERE id = 2',
            f'UPDATE {name} SET id = 1 WHERE id = 2',
            f'UPDATE {name} SET id = NULL WHERE id = 2',
            f'DELETE FROM {name} WHERE nothing = 1',
            f'DELETE FROM {name} WHERE {amount} = 1 / (id - id)',
            f'SELECT id FROM {name} FOR UPDATE OF nothing',
            f'SELECT count(*) FROM {name} FOR UPDATE',
            f'SELECT (SELECT id FROM {name})',
            f'SELECT * FROM nowhere.{table.name}',
            f'SELECT * FROM {name} JOIN {name} ON true',
        ))

    # Statements and scripts.

    def statement(self, simple_only=False, keep=False):
        """`keep`: the parameters are somebody else's, and stay."""
        c = self.c
        kind = c.weighted((45, 'select'), (15, 'insert'), (18, 'update'),
                          (9, 'delete'), (6, 'mistake'), (3, 'write_in_with'),
                          (2, 'whole_row'), (1, 'merge'))
        made = Statement('', kind)
        if not simple_only and c.chance(50):
            made.extended, made.binary = True, c.chance(30)
            made.named = c.chance(20)
            if c.chance(70):
                self.params = made.params
        if kind != 'select' and self.schema.new_shape:
            made.binary = False  # a row would show OIDs of types
        self.names, self.ctes, self.wrong = 0, {}, False
        self.outer, self.visible, self.merged = [], set(), set()
        if kind == 'select':
            made.sql, made.ordered = self.select()
        else:
            made.sql = getattr(self, kind)()
        if not keep:
            self.params = None
        if made.extended and (made.ordered or (
                kind == 'insert' and ' RETURNING ' in made.sql)):
            made.portion = c.weighted((8, 0), (1, 1), (1, 2))
        return made


def script_of(schema, choices):
    return Generator(schema, choices).script()


def random_script(schema, seed):
    choices = Choices(seed)
    return script_of(schema, choices), choices.made

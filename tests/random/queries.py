"""Random SELECTs, VALUES and TABLE, with the kinds of their columns."""

from expressions import Expressions, Relation

JOINS = ('JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN', 'CROSS JOIN',
         'NATURAL JOIN', 'INNER JOIN', 'LEFT OUTER JOIN')
AGGREGATES = {
    'int': ('count(*)::integer', 'sum({int})::integer', 'max({int})',
            'min({int})', 'count(DISTINCT {text})::integer',
            'count({int}) FILTER (WHERE {bool})',
            'length(string_agg({text}, \',\'))'),
    'text': ('max({text})', 'min({text})', 'bool_or({bool})::text',
             'array_agg(DISTINCT {int} ORDER BY {same})::text'),
    'time': ('max({time})', 'min({time})'),
}
WINDOWS = {
    'int': ('sum({int}) OVER ({window})', 'rank() OVER ({window})',
            'count(*) OVER ({window})', 'dense_rank() OVER ({window})',
            'max({int}) FILTER (WHERE {bool}) OVER ({window})'),
    'text': ('max({text}) OVER ({window})', 'min({text}) OVER ({window})'),
    'time': ('max({time}) OVER ({window})',),
}


class Queries(Expressions):
    """Needs self.tables, self.ctes (name: columns) and self.number()."""

    # Relations.

    def table_name(self, table):
        name = table.name
        half = len(name) // 2
        unicode = (f'U&"{name[:half]}\\{ord(name[half]):04x}'
                   f'{name[half + 1:]}"')
        return self.c.weighted(
            (14, name), (3, f'public.{name}'), (2, f'"{name}"'),
            (1, unicode), (1, name.upper()), (1, f'"public" . "{name}"'),
            (1, f'public.{name} /* {name} */'))

    def base_table(self, alias_percent=60, suffix=True):
        c, table = self.c, self.c.pick(self.tables)
        text, columns = self.table_name(table), dict(table.columns)
        if suffix:
            text = c.weighted((12, text), (1, f'ONLY {text}'),
                              (1, f'{text} *'), (1, f'ONLY ({text})'))
        if not c.chance(alias_percent):
            used = table.name in self.visible
            if not used:
                self.visible.add(table.name)
                spelled = (table.name, f'public.{table.name}',
                           f'"{table.name}"')
                return text, Relation(table.name, columns, table, spelled)
        alias = self.number('t')
        as_ = c.pick((' AS ', ' '))
        if c.chance(15):
            n = 1 + c.draw(len(columns))
            names = [f'c{i}' for i in range(n)]
            kinds = list(columns.values())
            rest = list(columns.items())[n:]
            return (f'{text}{as_}{alias} ({", ".join(names)})',
                    Relation(alias, {**dict(zip(names, kinds)), **dict(rest)},
                             table))
        return f'{text}{as_}{alias}', Relation(alias, columns, table)

    def sampled_table(self):
        table, alias = self.c.pick(self.tables), self.number('s')
        return (f'{self.table_name(table)} {alias} TABLESAMPLE '
                f'{self.c.pick(("BERNOULLI (100)", "SYSTEM (100) REPEATABLE (3)"))}',
                Relation(alias, dict(table.columns), table))

    def derived_table(self, scope, depth):
        kinds = self.kinds()
        alias = self.number('d')
        lateral = self.c.chance(30)
        sql = self.query(scope if lateral else self.outer, depth - 1, kinds)
        if self.c.chance(20):
            names = [f'x{i}' for i in range(len(kinds))]
            return (f'{"LATERAL " if lateral else ""}({sql}) AS {alias} '
                    f'({", ".join(names)})',
                    Relation(alias, dict(zip(names, kinds))))
        return (f'{"LATERAL " if lateral else ""}({sql}) {alias}',
                Relation(alias, {f'k{i}': k for i, k in enumerate(kinds)}))

    def function_table(self, scope):
        alias = self.number('f')
        return self.c.weighted(
            (2, (f'generate_series(1, 3) AS {alias} (n)', {'n': 'int'})),
            (1, (f"unnest(ARRAY['a', 'n1']) {alias} (w)", {'w': 'text'})),
            (1, (f'ROWS FROM (generate_series(1, 3), '
                 f"unnest(ARRAY['a', 'b'])) AS {alias} (n, w)",
                 {'n': 'int', 'w': 'text'})),
        ) + (alias,)

    def relation(self, scope, depth):
        c = self.c
        forms = [(10, lambda: self.base_table()),
                 (1, lambda: self.sampled_table())]

        def function():
            text, columns, alias = self.function_table(scope)
            return text, Relation(alias, columns)

        def cte():
            name = c.pick(sorted(self.ctes))
            alias = self.number('w')
            return f'{name} {alias}', Relation(alias, self.ctes[name])
        forms.append((1, function))
        if self.ctes:
            forms.append((4, cte))
        if depth > 0:
            forms.append((3, lambda: self.derived_table(scope, depth)))
        return c.weighted(*forms)()

    def join(self, left, scope, right_sql, right, depth):
        c, how = self.c, self.c.pick(JOINS)
        shared = [n for n, k in right.columns.items()
                  if sum(n in r.columns for r in scope) == 1 and
                  all(r.columns.get(n, k) == k for r in scope)]
        if how == 'CROSS JOIN':
            return f'{left} {how} {right_sql}'
        if how == 'NATURAL JOIN' and shared:
            self.merged |= set(shared)
            return f'{left} {how} {right_sql}'
        if how == 'NATURAL JOIN':
            how = 'JOIN'
        if shared and c.chance(25):
            name = c.pick(shared)
            self.merged.add(name)
            return f'{left} {how} {right_sql} USING ({name})'
        kind = c.pick(('int', 'text'))
        condition = (f'{self.column(scope, kind)} = '
                     f'{self.column([right], kind)}')
        if how != 'FULL JOIN' and c.chance(25):
            condition += f' AND {self.condition([*scope, right], depth - 1)}'
        if 'LATERAL' in right_sql and how in ('RIGHT JOIN', 'FULL JOIN'):
            how = 'LEFT JOIN'
        return f'{left} {how} {right_sql} ON {condition}'

    def from_clause(self, depth):
        """Its text and relations."""
        c = self.c
        text, first = self.relation(self.outer, depth)
        scope = [first]
        for _ in range(c.weighted((6, 0), (4, 1), (1, 2))):
            more, relation = self.relation([*self.outer, *scope], depth)
            if c.chance(30):
                text = f'{text}, {more}'
                scope.append(relation)
                continue
            # What stands before a comma is out of a JOIN's sight.
            if ', ' in text and 'JOIN' not in text:
                text = f'{text}, {more}'
            else:
                text = self.join(text, scope, more, relation, depth)
            scope.append(relation)
        return text, scope

    # Queries.

    def kinds(self):
        return [self.any_kind() for _ in range(1 + self.c.draw(3))]

    def query(self, outer, depth, kinds, one=False):
        """A query that yields these kinds; `one`: at most one row."""
        before = self.outer, self.visible, self.merged
        self.outer, self.visible, self.merged = outer, set(
            r.alias for r in outer), set()
        try:
            return self.body(depth, kinds, one)
        finally:
            self.outer, self.visible, self.merged = before

    def body(self, depth, kinds, one):
        c = self.c
        if one:
            return self.aggregated(depth, kinds, group=False)
        forms = [(10, lambda: self.plain(depth, kinds)),
                 (3, lambda: self.aggregated(depth, kinds, group=True)),
                 (1, lambda: self.values(kinds))]
        if depth > 0:
            forms.append((2, lambda: self.set_operation(depth, kinds)))
        return c.weighted(*forms)()

    def scope(self, relations):
        return [*relations, *self.outer]

    def where(self, scope, depth, percent=60):
        if not self.c.chance(percent):
            return ''
        return f' WHERE {self.condition(scope, depth)}'

    def target(self, text, i):
        return f'{text} {self.c.pick(("AS ", ""))}k{i}'

    def plain(self, depth, kinds):
        c = self.c
        text, relations = self.from_clause(depth)
        scope = self.scope(relations)
        window = c.chance(15)
        outputs = [self.windowed(k, scope, depth) if window and c.chance(60)
                   else self.expression(k, scope, depth) for k in kinds]
        targets = ', '.join(self.target(o, i) for i, o in enumerate(outputs))
        distinct = 'DISTINCT ' if not window and c.chance(10) else ''
        return (f'SELECT {distinct}{targets} FROM {text}'
                f'{self.where(scope, depth)}')

    def fill(self, template, scope, depth):
        got = {'same': ''}
        for kind in ('int', 'text', 'time'):
            got[kind] = self.expression(kind, scope, depth - 1) \
                if '{' + kind + '}' in template else ''
        got['same'] = got['int']
        got['bool'] = self.condition(scope, depth - 1) \
            if '{bool}' in template else ''
        got['window'] = self.window(scope, depth) \
            if '{window}' in template else ''
        return template.format(**got)

    def windowed(self, kind, scope, depth):
        text = self.fill(self.c.pick(WINDOWS[kind]), scope, depth)
        return f'({text})::integer' if kind == 'int' else text

    def window(self, scope, depth):
        c, parts = self.c, []
        if c.chance(50):
            parts.append('PARTITION BY ' +
                         self.expression(self.any_kind(), scope, depth - 1))
        if c.chance(60):
            parts.append('ORDER BY ' +
                         self.expression('text', scope, depth - 1) +
                         c.pick(('', ' DESC', ' NULLS FIRST')))
            parts.append(c.pick(('', 'RANGE UNBOUNDED PRECEDING',
                                 'GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW')))
        return ' '.join(p for p in parts if p)

    def aggregated(self, depth, kinds, group):
        c = self.c
        text, relations = self.from_clause(depth)
        scope = self.scope(relations)
        outputs = [self.fill(c.pick(AGGREGATES[k]), scope, depth)
                   for k in kinds]
        if not group:
            targets = ', '.join(f'({o}) AS k{i}'
                                for i, o in enumerate(outputs))
            return f'SELECT {targets} FROM {text}{self.where(scope, depth)}'
        keys = [self.column(relations, self.any_kind())
                for _ in range(1 + c.draw(2))]
        # A constant is no column, and a number would be a position.
        keys = [k for k in keys if k[0].isalpha() or k[0] == '"']
        by = c.weighted((6, '{}'), (1, 'ROLLUP ({})'), (1, 'CUBE ({})'),
                        (1, 'GROUPING SETS (({}), ())')).format(
                            ', '.join(keys))
        if not keys:
            by = '()'
        targets = ', '.join(self.target(o, i) for i, o in enumerate(outputs))
        having = ''
        if c.chance(25):
            having = ' HAVING ' + self.fill('count({int}) > 1', scope, depth)
        return (f'SELECT {targets} FROM {text}{self.where(scope, depth)}'
                f' GROUP BY {by}{having}')

    def values(self, kinds):
        rows = [', '.join(self.typed_literal(k) for k in kinds)
                for _ in range(1 + self.c.draw(3))]
        alias = self.number('v')
        names = ', '.join(f'k{i}' for i in range(len(kinds)))
        if self.c.chance(30):
            return f'VALUES ({"), (".join(rows)})'
        return (f'SELECT * FROM (VALUES ({"), (".join(rows)})) AS {alias} '
                f'({names})')

    def typed_literal(self, kind):
        text = self.literal(kind)
        return f'{text}::text' if kind == 'text' else text

    def set_operation(self, depth, kinds):
        c = self.c
        how = c.pick(('UNION ALL', 'UNION', 'INTERSECT', 'EXCEPT',
                      'INTERSECT ALL', 'EXCEPT ALL'))
        sides = [self.query(self.outer, depth - 1, kinds) for _ in range(2)]
        if how != 'UNION ALL' or c.chance(50):
            sides = [f'({s})' for s in sides]
        return f' {how} '.join(sides)

    # The statement's own query.

    def with_clause(self, depth):
        """WITH ... and what it defines stays in self.ctes."""
        c, parts, recursive = self.c, [], False
        for _ in range(1 + c.draw(2)):
            name = self.number('w')
            if c.chance(10):
                name = c.pick(self.tables).name
            if c.chance(20):
                recursive = True
                parts.append(self.recursive(name))
                self.ctes[name] = {'n': 'int', 'w': 'text'}
                continue
            kinds = self.kinds()
            names = [f'k{i}' for i in range(len(kinds))]
            sql = self.query([], depth - 1, kinds)
            hint = c.pick(('', '', 'MATERIALIZED ', 'NOT MATERIALIZED '))
            parts.append(f'{name} ({", ".join(names)}) AS {hint}({sql})')
            self.ctes[name] = dict(zip(names, kinds))
        return f'WITH {"RECURSIVE " if recursive else ""}{", ".join(parts)} '

    def recursive(self, name):
        table = self.c.pick(self.tables)
        return (f'{name} (n, w) AS (SELECT id, \'{table.name}\'::text FROM '
                f'{self.table_name(table)} WHERE id < {self.c.draw(6)} UNION '
                f'SELECT r.n + 1, upper(r.w) FROM {name} AS r, {self.table_name(table)} AS o '
                f'WHERE r.n + 1 = o.id AND r.n < 9)')

    def select(self, depth=2):
        """A whole SELECT: its text, and is its order given?"""
        c = self.c
        self.ctes = {}
        with_ = self.with_clause(depth) if c.chance(20) else ''
        text, ordered = c.weighted(
            (8, self.free_select), (3, self.star_select),
            (2, self.distinct_on), (2, self.locking_select),
            (1, self.table_select))(depth)
        return with_ + text, ordered

    def free_select(self, depth):
        kinds = self.kinds()
        text = self.query([], depth, kinds)
        order = ', '.join(str(i + 1) + self.c.pick(('', ' DESC', ' NULLS FIRST'))
                          for i in range(len(kinds)))
        return self.ordered(text, order)

    def ordered(self, text, order):
        """Only what is ordered by everything may be cut."""
        c = self.c
        if not c.chance(50):
            return text, False
        text = f'{text} ORDER BY {order}'
        if c.chance(40):
            text += c.weighted((3, f' LIMIT {c.draw(6)}'),
                               (1, f' OFFSET {c.draw(4)}'),
                               (1, f' LIMIT 3 OFFSET {c.draw(3)}'),
                               (1, f' FETCH FIRST {1 + c.draw(3)} ROWS ONLY'),
                               (1, ' FETCH FIRST 2 ROWS WITH TIES'))
        return text, True

    def star_select(self, depth):
        c = self.c
        self.outer, self.visible, self.merged = [], set(), set()
        text, relations = self.from_clause(depth)
        stars = c.weighted(
            (4, '*'), (2, ', '.join(f'{r.spelled[-1]}.*' for r in relations)),
            (1, f'{relations[0].alias}'), (1, f'({relations[0].alias}).*'),
            (1, f'{relations[0].alias}.*, 1 AS one'))
        where = self.where(relations, depth)
        tables = [r for r in relations if r.table and 'id' in r.columns]
        if len(tables) == len(relations) and not self.merged:
            ids = ', '.join(f'{r.alias}.id' for r in relations)
            return self.ordered(f'SELECT {stars} FROM {text}{where}', ids)
        return f'SELECT {stars} FROM {text}{where}', False

    def distinct_on(self, depth):
        self.outer, self.visible, self.merged = [], set(), set()
        text, r = self.base_table(suffix=False)
        if 'id' not in r.columns:
            return f'SELECT * FROM {text}', False
        key = self.column([r], self.any_kind())
        if key[0] in "'$-0123456789tEU":
            key = f'{r.alias}.id'
        return (f'SELECT DISTINCT ON ({key}) {r.alias}.*, {key} AS again FROM '
                f'{text}{self.where([r], depth)} ORDER BY {key}, {r.alias}.id',
                True)

    def locking_select(self, depth):
        c = self.c
        self.outer, self.visible, self.merged = [], set(), set()
        text, relations = self.from_clause(0)
        of = ''
        tables = [r for r in relations if r.table]
        if len(relations) > 1 and tables:
            of = f' OF {c.pick(tables).alias}'
        lock = c.pick(('FOR UPDATE', 'FOR NO KEY UPDATE', 'FOR SHARE',
                       'FOR KEY SHARE'))
        wait = c.pick(('', '', ' NOWAIT', ' SKIP LOCKED'))
        outputs = ', '.join(self.target(self.expression(k, relations, 1), i)
                            for i, k in enumerate(self.kinds()))
        return (f'SELECT {outputs} FROM {text}{self.where(relations, depth)}'
                f' {lock}{of}{wait}', False)

    def table_select(self, depth):
        return f'TABLE {self.table_name(self.c.pick(self.tables))}', False

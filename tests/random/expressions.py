"""Random expressions over a scope of relations, by kind of value.

Kinds: int, text, time, bool.  Nothing here may fail at run time by itself, or
depend on the order in which rows are visited: two right answers that differ
would look like a mistake."""

import struct

OIDS = {'int': 23, 'text': 25, 'time': 1184, 'bool': 16}
WORDS = ('a', 'none', 'n1', 'n2', 'customer 3', 'customer 5', '555-0003', '',
         "it's", 'ümlaut')
# Conditions on columns of other types, and what can be compared with them.
SPECIAL = {
    'numeric': ('{c} > {v}', '{c} = {v}', '{c} * 2 <> {v}', '{c} IN ({v}, 3)',
                '{c} BETWEEN 0 AND {v}', '{c} = ANY (ARRAY[{v}::numeric])'),
    'date': ('{c} > {v}', 'extract(dow FROM {c}) = 1', '{c} = {v}',
             "{c} + 1 < {v}", "{c} < now()"),
    'array': ('{c} @> {v}', "'x' = ANY ({c})", 'array_length({c}, 1) = 2',
              "{c}[1] = 'x'", '{c} = {v}', "{c} || 't1'::text <> {v}"),
    'json': ("{c}->>'k' = '1'", '{c} @> {v}', "{c} ? 'k'", '{c} = {v}'),
    'enum': ('{c} = {v}', '{c} < {v}', "{c} IN ({v}, 'ok')"),
    'tax': ('{c} = {v}', '{c} < {v}', "{c} IN ({v}, 'no_tax')"),
    'bytea': ('{c} = {v}', 'length({c}) > 1'),
    'char': ('{c} = {v}', "{c} LIKE 'g%'", "{c} || '.' <> {v}"),
}
VALUES = {
    'numeric': ('1.25', '2.5', '0', '12.50', '-3'),
    'date': ('2024-01-05', '2024-01-09', '1999-12-31'),
    'array': ('{x}', '{x,t1}', '{}', '{NULL,"a b"}'),
    'json': ('{"k": 1}', '{}', '[1, 2]', '"text"'),
    'enum': ('ok', 'sad', 'happy'),
    'tax': ('no_tax', 'tax_inclusive', 'tax_exclusive'),
    'bytea': ('\\x0102', '\\x', 'abc'),
    'char': ('g1', 'g2 ', ''),
}
TIMES = ('2024-01-01 03:00Z', '2024-02-29 12:00Z', '1999-12-31 23:59:59.5Z')


class Relation:
    """Something with columns, by the name that the statement knows it by."""

    def __init__(self, alias, columns, table=None, spelled=None):
        self.alias, self.columns, self.table = alias, columns, table
        self.spelled = spelled or (alias,)  # names that may qualify a column


class Parameter:
    def __init__(self, value, oid, binary):
        self.value, self.oid, self.binary = value, oid, binary


def quoted(text):
    if '\\' in text:
        return "E'" + text.replace('\\', '\\\\').replace("'", "''") + "'"
    return "'" + text.replace("'", "''") + "'"


class Expressions:
    """Needs self.c (choices), self.params (None: no parameters) and
    self.query(scope, depth, kinds)."""

    def literal(self, kind):
        c = self.c
        if kind == 'int':
            value = c.draw(20) - (4 if c.chance(20) else 0)
            return self.parameter(kind, str(value)) or str(value)
        if kind == 'bool':
            return c.pick(('true', 'false', 'NULL::boolean'))
        value = c.pick(WORDS if kind == 'text' else TIMES)
        given = self.parameter(kind, value)
        if given:
            return given
        if kind == 'time':
            return f'timestamptz {quoted(value)}'
        return c.weighted(
            (8, lambda: quoted(value)),
            (1, lambda: f'{quoted(value)}::text'),
            (1, lambda: "E'" + value.replace("'", "\\'") + "'"),
            (1, lambda: f'$q${value}$q$'),
            (1, lambda: f"U&{quoted(value)}"))()

    def parameter(self, kind, value):
        """Perhaps the value as $n."""
        c = self.c
        if self.params is None or not c.chance(40):
            return None
        declared = c.chance(50)
        binary = declared and kind in ('int', 'text') and c.chance(50)
        data = value.encode()
        if binary and kind == 'int':
            data = struct.pack('!i', int(value))
        self.params.append(Parameter(data, OIDS[kind] if declared else 0,
                                     binary))
        text = f'${len(self.params)}'
        return text if declared or c.chance(60) else f'{text}::' + {
            'int': 'integer', 'text': 'text', 'time': 'timestamptz'}[kind]

    def untyped(self, kind):
        """A value whose type PostgreSQL finds out."""
        value = self.c.pick(VALUES[kind])
        if self.params is None or not self.c.chance(40):
            return quoted(value)
        self.params.append(Parameter(value.encode(), 0, False))
        return f'${len(self.params)}'

    def specials(self, scope):
        return [(r, n, k) for r in scope for n, k in r.columns.items()
                if k in SPECIAL]

    def special_condition(self, scope):
        relation, name, kind = self.c.pick(self.specials(scope))
        return self.c.pick(SPECIAL[kind]).format(
            c=f'{self.c.pick(relation.spelled)}.{name}', v=self.untyped(kind))

    def special_text(self, scope):
        relation, name, _ = self.c.pick(self.specials(scope))
        return f'{relation.alias}.{name}::text'

    def columns_of(self, scope, kind):
        return [(r, name) for r in scope for name, k in r.columns.items()
                if k == kind]

    def column_name(self, name):
        if name[0] == '"':
            return name
        return self.c.weighted((12, name), (1, f'"{name}"'),
                               (1, name.upper()), (1, f'U&"{name}"'))

    def column(self, scope, kind):
        found = self.columns_of(scope, kind)
        if not found:
            return self.literal(kind)
        relation, name = self.c.pick(found)
        alone = sum(name in r.columns for r in scope) == 1
        spelled = self.column_name(name)
        if alone and self.c.chance(30):
            return spelled
        return f'{self.c.pick(relation.spelled)}.{spelled}'

    def expression(self, kind, scope, depth=2):
        c = self.c
        if depth <= 0 or not c.chance(45):
            return self.column(scope, kind) if c.chance(75) \
                else self.literal(kind)
        return getattr(self, kind + '_expression')(scope, depth - 1)

    def any_kind(self):
        return self.c.pick(('int', 'text', 'time'))

    def shared(self, kind, scope, depth):
        """Forms that any kind has."""
        def e(k=kind):
            return self.expression(k, scope, depth)
        return [
            (3, lambda: f'COALESCE({e()}, {e()})'),
            (3, lambda: f"CASE WHEN {self.condition(scope, depth)} THEN {e()}"
                        f" ELSE {e()} END"),
            (1, lambda: f"CASE {self.expression('int', scope, depth)} WHEN "
                        f"{self.literal('int')} THEN {e()} END"),
            (1, lambda: f'NULLIF({e()}, {e()})'),
            (1, lambda: f'GREATEST({e()}, {e()})'),
            (3, lambda: f'({self.query(scope, depth, [kind], one=True)})'),
            (1, lambda: f'(ARRAY[{e()}, {e()}])[{1 + self.c.draw(2)}]'),
        ]

    def int_expression(self, scope, depth):
        def e():
            return self.expression('int', scope, depth)
        return self.c.weighted(
            (4, lambda: f'{e()} + {e()}'),
            (3, lambda: f'({e()} - {e()})'),
            (2, lambda: f'{e()} * {self.c.draw(5)}'),
            (2, lambda: f"length({self.expression('text', scope, depth)})"),
            (1, lambda: f'-({e()})'),
            (1, lambda: f'abs({e()})'),
            (1, lambda: f'{e()} % 7'),
            # A column's cast to its own type comes from the column to
            # PostgreSQL, which is not followed: an expression's does not.
            (1, lambda: f'CAST({e()} + 0 AS integer)'),
            (1, lambda: f'({e()})::bigint::integer'),
            *self.shared('int', scope, depth))()

    def text_expression(self, scope, depth):
        def e():
            return self.expression('text', scope, depth)
        return self.c.weighted(
            (4, lambda: f'upper({e()})'),
            (3, lambda: f'{e()} || {e()}'),
            (2, lambda: f"({self.expression('int', scope, depth)})::text"),
            (2, lambda: f'left({e()}, {self.c.draw(6)})'),
            (1, lambda: f'substring({e()} from 2 for 3)'),
            (1, lambda: f"concat({e()}, {self.expression('int', scope, depth)})"),
            (1, lambda: f'CAST({e()} AS varchar(5))'),
            (1, lambda: f'replace({e()}, {self.literal("text")}, \'-\')'),
            *self.row_texts(scope),
            *([(2, lambda: self.special_text(scope))]
              if self.specials(scope) else []),
            *self.shared('text', scope, depth))()

    def row_texts(self, scope):
        """A relation as a value."""
        tables = [r for r in scope if r.table]
        if not tables:
            return []
        return [
            (1, lambda: f'{self.c.pick(tables).alias}::text'),
            (1, lambda: f'row_to_json({self.c.pick(tables).alias})::text'),
        ]

    def time_expression(self, scope, depth):
        def e():
            return self.expression('time', scope, depth)
        return self.c.weighted(
            (3, lambda: f"{e()} + interval '1 day'"),
            (1, lambda: f"date_trunc('hour', {e()}, 'UTC')"),
            *self.shared('time', scope, depth))()

    def bool_expression(self, scope, depth):
        return f'({self.condition(scope, depth)})'

    def condition(self, scope, depth=2):
        c = self.c
        kind = self.any_kind()
        operator = c.pick(('=', '<', '>=', '<>', '<=', '>'))

        def e(k=kind):
            return self.expression(k, scope, depth - 1)

        def sub(kinds):
            return self.query(scope, depth - 1, kinds)
        forms = [
            (8, lambda: f'{e()} {operator} {e()}'),
            (3, lambda: f'{e()} IS {c.pick(("NULL", "NOT NULL"))}'),
            (3, lambda: f'{e()} IN ({", ".join(self.literal(kind) for _ in range(1 + c.draw(3)))})'),
            (2, lambda: f'{e()} BETWEEN {self.literal(kind)} AND {e()}'),
            (2, lambda: f"{e('text')} LIKE {quoted(c.pick(('c%', '%3', 'n_', '%')))}"),
            (1, lambda: f'{e()} IS DISTINCT FROM {e()}'),
            (1, lambda: f'{e()} = ANY (ARRAY[{self.literal(kind)}, {e()}])'),
            (1, lambda: f'({e()}, {e("int")}) {operator} ({e()}, {e("int")})'),
        ]
        if self.specials(scope):
            forms.append((8, lambda: self.special_condition(scope)))
        if depth > 0:
            forms += [
                (3, lambda: f'{self.condition(scope, depth - 1)} AND {self.condition(scope, depth - 1)}'),
                (2, lambda: f'({self.condition(scope, depth - 1)} OR {self.condition(scope, depth - 1)})'),
                (1, lambda: f'NOT ({self.condition(scope, depth - 1)})'),
                (3, lambda: f'{e()} {c.pick(("", "NOT "))}IN ({sub([kind])})'),
                (3, lambda: f'{c.pick(("", "NOT "))}EXISTS ({sub([kind])})'),
                (1, lambda: f'{e()} {operator} {c.pick(("ANY", "ALL"))} ({sub([kind])})'),
                (1, lambda: f'({e()}, {e("int")}) IN ({sub([kind, "int"])})'),
                (1, lambda: self.expression('bool', scope, depth - 1)),
            ]
        return c.weighted(*forms)()

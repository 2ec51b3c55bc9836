"""A migration for tables that others have made."""

import dataclasses
import itertools
import json
import re

MOST_LENSES = 30
SAME_TABLE = ('columns', 'child', 'split')  # kinds that keep the old one
KEY = 'corpus_key'  # what a table without a key gets

# type: the new type, forward and reverse (of `c`), one-to-one?
CONVERSIONS = {
    'smallint': ('integer', '{c}::integer', '{c}::smallint', True),
    'integer': ('bigint', '{c}::bigint', '{c}::integer', True),
    'bigint': ('numeric', '{c}::numeric', '{c}::bigint', True),
    'numeric': ('text', '{c}::text', '{c}::numeric', False),
    'real': ('double precision', '{c}::double precision', '{c}::real', False),
    'boolean': ('integer', '{c}::integer', '{c}::boolean', True),
    'text': ('text', "'x' || {c}", 'substr({c}, 2)', True),
    'character varying': ('text', "'x' || {c}", 'substr({c}, 2)', True),
    'name': ('text', "'x' || {c}::text", 'substr({c}, 2)::name', True),
    'date': ('timestamp', '{c}::timestamp', '{c}::date', True),
    'json': ('text', '{c}::text', '{c}::json', False),
    'jsonb': ('text', '{c}::text', '{c}::jsonb', False),
}
TABLES = r'''
SELECT c.oid::regclass::text, n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
  AND n.nspname !~ '^pg_|^information_schema$'
  AND NOT EXISTS (SELECT FROM pg_inherits i
                  WHERE c.oid IN (i.inhrelid, i.inhparent))
ORDER BY 1'''
ALL = r'''
SELECT c.oid::regclass::text, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_|^information_schema$|^pgtandem$'
ORDER BY 1'''
COLUMNS = r'''
SELECT attname::text, format_type(atttypid, NULL),
       attgenerated <> '' OR attidentity <> '' OR EXISTS (
           SELECT FROM pg_depend d, pg_attrdef x, pg_attribute g
           WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = x.oid
             AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
             AND g.attrelid = x.adrelid AND g.attnum = x.adnum
             AND g.attgenerated <> '')
FROM pg_attribute a
WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum'''
# Columns that cannot go into another table: named together with others.
TOGETHER = r'''
SELECT a.attname::text
FROM pg_attribute a
WHERE a.attrelid = '{table}'::regclass AND (
    EXISTS (SELECT FROM pg_index i
            WHERE i.indrelid = a.attrelid AND a.attnum = ANY (i.indkey) AND
                  (i.indnatts > 1 AND i.indisunique OR
                   i.indpred IS NOT NULL OR i.indexprs IS NOT NULL))
    OR EXISTS (SELECT FROM pg_constraint c
               WHERE c.conrelid = a.attrelid AND a.attnum = ANY (c.conkey) AND
                     cardinality(c.conkey) > 1)
    OR EXISTS (SELECT FROM pg_depend d
               WHERE d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND
                     d.classid = 'pg_attrdef'::regclass))'''
ORDERED = ('integer', 'bigint', 'smallint', 'numeric', 'real', 'boolean',
           'double precision', 'text', 'name', 'character', 'date',
           'character varying', 'timestamp with time zone')
KEYS = r'''
SELECT array_agg(a.attname::text ORDER BY k.n), i.indexrelid::regclass::text
FROM pg_index i, unnest(i.indkey[0:i.indnkeyatts - 1])
         WITH ORDINALITY AS k(attnum, n), pg_attribute a
WHERE i.indrelid = '{table}'::regclass AND i.indisunique
  AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND a.attrelid = i.indrelid AND a.attnum = k.attnum
GROUP BY i.indexrelid, i.indisprimary
HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC LIMIT 1'''


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def in_yaml(name):
    return json.dumps(name if re.fullmatch(r'[A-Za-z_]\w*', name)
                      else quoted(name))


@dataclasses.dataclass
class Table:
    sql: str       # as a regclass is shown
    schema: str
    name: str
    key: list
    index: str     # of the key
    columns: list  # name, type, computed?
    together: set  # of them, those that must stay with others

    def in_order(self):
        """The rows in the order that a walk of the key copies them in."""
        name = self.index.rsplit('.', 1)[-1]
        return (f'CLUSTER {self.sql} USING {name};'
                f'ALTER TABLE {self.sql} SET WITHOUT CLUSTER')

    def entry(self, i, name, kind, convert):
        """What becomes of a column: every third stays as it is."""
        new = f'{name}_neu'
        if convert and i % 3 and kind in CONVERSIONS:
            to, forward, reverse, one_to_one = CONVERSIONS[kind]
            return (f'{{old: {in_yaml(name)}, '
                    f'new: {{name: {in_yaml(new)}, type: {to}}}, '
                    f'forward: {json.dumps(forward.format(c=quoted(name)))}, '
                    f'reverse: {json.dumps(reverse.format(c=quoted(new)))}' +
                    (', bijective: true}' if one_to_one else '}'))
        return f'{{old: {in_yaml(name)}, new: {in_yaml(new)}}}'

    def movable(self):
        return [(name, of) for name, of, computed in self.columns
                if name not in self.key and not computed and
                name not in self.together]

    def moved(self, kind):
        """The columns that go into a table of their own, and how: one of
        them as rows, or several as the other half of a row."""
        columns = self.movable()
        if kind == 'split':
            return [n for n, _ in columns[::2]], ''
        rows = [n for n, of in columns if of in ORDERED][-1:]
        return rows, ''.join(
            f'      when: {json.dumps(quoted(n) + " IS NOT NULL")}\n'
            f'      pick: [{json.dumps(quoted(n + "_neu"))}]\n' for n in rows)

    def child(self, kind):
        names, more = self.moved(kind)
        if not names:
            return ''
        where = in_yaml(self.schema)[1:-1] + '.'
        return (f'  - kind: child\n'
                f'    old: "{where}{in_yaml(self.name)[1:]}\n'
                f'    key: [{", ".join(map(in_yaml, self.key))}]\n'
                f'    columns: [{", ".join(map(in_yaml, names))}]\n'
                f'    new:\n'
                f'      table: "{where}{in_yaml(self.name + "_teil")[1:]}\n'
                f'      parent: {{' + ', '.join(
                    f'{in_yaml(k + "_von")}: {in_yaml(k)}' for k in self.key) +
                f'}}\n      columns: {{' + ', '.join(
                    f'{in_yaml(n + "_neu")}: {json.dumps(quoted(n))}'
                    for n in names) + f'}}\n{more}')

    def lens(self, kind):
        if kind in ('child', 'split'):
            return self.child(kind)
        convert = kind != 'rename'
        entries = [self.entry(i, name, of, convert) for i, (name, of, computed)
                   in enumerate(self.columns)
                   if name not in self.key and not computed and
                   (i % 3 if convert else i % 2 == 0)]
        where = in_yaml(self.schema)[1:-1] + '.'
        place = ['kind: columns', f'table: "{where}{in_yaml(self.name)[1:]}'] \
            if kind == 'columns' else \
            ['kind: table', f'old: "{where}{in_yaml(self.name)[1:]}',
             f'new: "{where}{in_yaml(self.name + "_neu")[1:]}']
        lines = place + [f'key: [{", ".join(map(in_yaml, self.key))}]']
        if entries:
            lines += ['columns:', *(f'  - {e}' for e in entries)]
        return '  - ' + '\n    '.join(lines) + '\n' \
            if entries or kind != 'columns' else ''


class Model:
    """The tables of one database, as they are on both sides."""

    def __init__(self, execute, add_keys):
        self.execute, self.add_keys = execute, add_keys

    def tables(self, mentioned):
        """Those whose name `mentioned` says yes to, each with a key."""
        found = []
        for sql, schema, name in self.execute(TABLES):
            if mentioned(name):
                key = self.execute(KEYS.format(table=quote(sql)))
                key, index = key[0] if key else (None, None)
                columns = self.execute(COLUMNS.format(table=quote(sql)))
                together = self.execute(TOGETHER.format(table=quote(sql)))
                found.append(Table(sql, schema, name, key, index,
                                   columns, {n for n, in together}))
        return found

    def give_key(self, table):
        """DDL that gives a table a key: columns that are one as it is filled
        now, or one more column."""
        filled = self.execute(f'SELECT count(*) FROM {table.sql}')[0][0]
        names = [n for n, _, _ in table.columns] if filled > 1 and \
            not self.add_keys else []
        for width in (1, 2):
            for some in itertools.combinations(names[:6], width):
                if self.is_key(table, some, filled):
                    return f'ADD PRIMARY KEY ({", ".join(map(quoted, some))})'
        return f'ADD COLUMN {KEY} bigserial PRIMARY KEY'

    def is_key(self, table, names, rows):
        row = ', '.join(map(quoted, names))
        try:
            return self.execute(
                f'SELECT count(*) FROM (SELECT DISTINCT {row} FROM '
                f'{table.sql} WHERE ROW({row}) IS NOT NULL) AS t'
            )[0][0] == rows
        except Exception:
            return False  # a type that has no "="


def quote(text):
    return text.replace("'", "''")


def specs(database, tables, kind):
    """Texts of the migrations, by their names."""
    lenses = [text for text in (t.lens(kind) for t in tables) if text]
    texts = {}
    for at in range(0, len(lenses), MOST_LENSES):
        name = f'{database}_{at // MOST_LENSES}'
        texts[name] = (f'migration: {name}\ndatabase: {database}\n'
                       'quiet_for: 1h\nlossy: accept\ntriggers: ignore\n'
                       'lenses:\n' + ''.join(lenses[at:at + MOST_LENSES]))
    return texts

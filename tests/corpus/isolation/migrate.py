"""Puts the tables of a spec under a migration: what its setup has made is read
from the catalog and every plain table becomes a lens with other names, or
other types, for what is not in the way."""

import dataclasses
import re

# Old type: new type, forward, reverse of a converted column.
CONVERSIONS = {
    'integer': ('bigint', '({c}::bigint * 10)', '({n} / 10)::integer'),
    'text': ('text', "'~' || {c}", 'substr({n}, 2)'),
    'numeric': ('numeric', '{c} + 1000', '{n} - 1000'),
}

TABLES = '''
SELECT c.oid::int8, c.relname FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
  AND NOT c.relispartition AND c.relpersistence = 'p'
  AND NOT EXISTS (SELECT FROM pg_inherits AS i
                  WHERE c.oid IN (i.inhrelid, i.inhparent))
  AND NOT EXISTS (SELECT FROM pg_trigger AS t
                  WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
ORDER BY c.relname'''

COLUMNS = '''
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnum = ANY (SELECT unnest(k.conkey) FROM pg_constraint AS k
                       WHERE k.conrelid = a.attrelid AND k.contype = 'p'),
       a.attgenerated <> '' OR a.atthasdef OR EXISTS (
           SELECT FROM pg_constraint AS k
           WHERE k.contype = 'f' AND
                 (k.conrelid = a.attrelid AND a.attnum = ANY (k.conkey) OR
                  k.confrelid = a.attrelid AND a.attnum = ANY (k.confkey)))
       OR EXISTS (SELECT FROM pg_depend AS d JOIN pg_attrdef AS e
                  ON d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
                  WHERE d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
FROM pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum > 0
AND NOT a.attisdropped ORDER BY a.attnum'''


@dataclasses.dataclass
class Table:
    name: str
    columns: list       # (name, type, of the key, must keep its type)

    @property
    def new(self):
        return self.name + '_new'

    @property
    def key(self):
        return [c[0] for c in self.columns if c[2]]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def with_keys(postgres, database):
    """Gives tables without a primary key one, behind their columns; a table
    under migration needs it."""
    for oid, name in postgres.execute(TABLES, database):
        if not any(c[2] for c in postgres.execute(COLUMNS.format(oid=oid),
                                                  database)):
            postgres.execute(f'ALTER TABLE {quoted(name)} ADD COLUMN'
                             ' row_key serial PRIMARY KEY', database)


def tables(postgres, database):
    return [Table(name, postgres.execute(COLUMNS.format(oid=oid), database))
            for oid, name in postgres.execute(TABLES, database)]


def lens(table, convert):
    lines = [f"  - kind: table\n    old: public.{quoted(table.name)!r}"
             f"\n    new: public.{quoted(table.new)!r}"
             f"\n    key: [{', '.join(map(repr, table.key))}]"]
    lines[0] = lines[0].replace('public.\'"', "'public.\"")
    changed = []
    for name, kind, of_key, fixed in table.columns:
        if of_key:
            continue
        new = name + '_n'
        if convert and not fixed and kind in CONVERSIONS:
            kind, forward, reverse = CONVERSIONS[kind]
            names = {'c': quoted(name), 'n': quoted(new)}
            changed.append(
                f'      - old: {name}\n        new: {{name: {new}, type: {kind}}}\n'
                f'        forward: "{escaped(forward.format(**names))}"\n'
                f'        reverse: "{escaped(reverse.format(**names))}"\n'
                '        bijective: true')
        else:
            changed.append(f'      - {{old: {name}, new: {new}}}')
    if changed:
        lines.append('    columns:')
    return '\n'.join(lines + changed)


def escaped(text):
    return text.replace('\\', '\\\\').replace('"', '\\"')


def migration(name, database, moved, convert):
    return (f'migration: {name}\ndatabase: {database}\nquiet_for: 1h\n'
            'lenses:\n' + '\n'.join(lens(t, convert) for t in moved) + '\n')


class Store:
    """The data as it is now, to come back to after each permutation."""

    def __init__(self, postgres, database, but=()):
        self.postgres, self.database = postgres, database
        names = [r[0] for r in postgres.execute(
            "SELECT relname FROM pg_class WHERE relnamespace ="
            " 'public'::regnamespace AND relkind = 'r'", database)
            if r[0] not in but]
        sql = ['DROP SCHEMA IF EXISTS saved CASCADE; CREATE SCHEMA saved']
        back = ['SET session_replication_role = replica']
        if names:
            back.append('TRUNCATE ' + ', '.join(map(quoted, names)) +
                        ' CASCADE')
        for n in names:
            sql.append(f'CREATE TABLE saved.{quoted(n)} AS SELECT * FROM'
                       f' ONLY {quoted(n)} ORDER BY ctid')
            columns = ', '.join(quoted(r[0]) for r in postgres.execute(
                'SELECT attname FROM pg_attribute WHERE attrelid ='
                f" '{quoted(n)}'::regclass AND attnum > 0 AND NOT attisdropped"
                " AND attgenerated = '' ORDER BY attnum", database))
            back.append(f'INSERT INTO {quoted(n)} ({columns}) OVERRIDING SYSTEM'
                        f' VALUE SELECT {columns} FROM saved.{quoted(n)}'
                        if columns else 'SELECT')
        for name, last, called in self.sequences():
            back.append(f"SELECT setval('{quoted(name)}', {last}, {called})")
        back.append('SET session_replication_role = origin')
        postgres.execute(';'.join(sql), database)
        self.back = ';'.join(back)
        self.tend = ''

    def sequences(self):
        names = self.postgres.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'S' AND"
            " relnamespace = 'public'::regnamespace", self.database)
        return [(n, *self.postgres.execute(
            f'SELECT last_value, is_called FROM {quoted(n)}',
            self.database)[0]) for n, in names]

    def restore(self):
        self.postgres.execute(self.back, self.database)
        if self.tend:
            self.postgres.execute(self.tend, self.database)


def setup(postgres, database, spec):
    """The database as the spec wants it, with keys."""
    postgres.create_database(database)
    for block in spec.setups:
        block = re.sub(r'CREATE (ROLE|USER) (\w+);',
                       r"DO $$ BEGIN CREATE \1 \2; EXCEPTION WHEN"
                       r' duplicate_object THEN NULL; END $$;', block)
        postgres.execute(block, database)
    with_keys(postgres, database)

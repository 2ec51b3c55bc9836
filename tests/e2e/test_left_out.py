"""What refuses rows of the old model and has no twin in the new one stops the
migration, unless its file says that the new model may do without."""

import re

import psycopg
import pytest

TABLE = '''
CREATE TABLE parents (id integer PRIMARY KEY, nam varchar(20) UNIQUE);
INSERT INTO parents VALUES (1, 'ann');
CREATE TABLE circles (
    id integer PRIMARY KEY,
    nam varchar(20) CONSTRAINT known REFERENCES parents (nam),
    x integer NOT NULL,
    y integer NOT NULL,
    CONSTRAINT apart EXCLUDE USING btree (x WITH =),
    CONSTRAINT placed CHECK (x > 0),
    UNIQUE (x, id));
CREATE UNIQUE INDEX mirrored ON circles (abs(x));
CREATE INDEX halved ON circles ((x / 2));
INSERT INTO circles VALUES (1, 'ann', 1, 1), (2, NULL, 2, 2);
'''

COLUMNS = '''
      - {old: nam, new: {name: name, type: text}, forward: "nam || '!'",
         reverse: "left(name, -1)"}
      - {old: x, new: {name: wide, type: bigint}, forward: (x * 10)::bigint,
         reverse: (wide / 10)::integer, bijective: true}
'''

KINDS = {
    'table': '''
  - kind: table
    old: public.circles
    new: public.rings
    key: [id]
    columns:''' + COLUMNS,
    'columns': '''
  - kind: columns
    table: public.circles
    key: [id]
    columns:''' + COLUMNS,
    'child': '''
  - kind: child
    old: public.circles
    key: [id]
    columns: [{old: nam, reverse: "left(name, -1)"}]
    new:
      table: public.names
      parent: {circle: id}
      columns: {name: {type: text, forward: "nam || '!'"}}
      when: nam IS NOT NULL
''',
}

LOST = {
    'table': ['apart', 'known', 'mirrored'],
    'columns': ['apart', 'known', 'mirrored'],
    'child': ['known'],
}


def started(postgres, start_proxy, kind, more=''):
    database = f'left_out_{kind}{len(more)}'
    postgres.create_database(database, TABLE)
    spec = (f'migration: m\ndatabase: {database}\nquiet_for: 1h\n{more}'
            f'lenses:{KINDS[kind]}')
    return start_proxy(postgres, {'m.yaml': spec})


def left_out(proxy, severity):
    """The names, each behind "left out:" and perhaps more words."""
    said = [row['what'] for row in proxy.console('SHOW PREFLIGHT m')
            if row['severity'] == severity]
    return sorted(name for name in ('apart', 'known', 'mirrored', 'halved')
                  for what in said
                  if re.match(rf'left out: (\w+ )*{name}\b', what))


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_lost_stops_the_migration(postgres, start_proxy, kind):
    proxy = started(postgres, start_proxy, kind)
    assert left_out(proxy, 'blocks') == LOST[kind]
    with pytest.raises(psycopg.Error) as refused:
        proxy.move('ADVANCE m TO expanded')
    for name in LOST[kind]:
        assert name in str(refused.value)
    assert 'leave_out' in str(refused.value)


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_named_may_be_lost(postgres, start_proxy, kind):
    proxy = started(postgres, start_proxy, kind,
                    f"leave_out: [{', '.join(LOST[kind])}]\n")
    assert left_out(proxy, 'blocks') == []
    assert left_out(proxy, 'warning') == LOST[kind]
    proxy.advance('m', 'expanded')

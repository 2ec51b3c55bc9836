"""S3, two booleans become one enumeration in the same table: the old columns
are NOT NULL and go in the end, the new one is added, filled and kept; rows in
the invalid state (not taxable, yet tax inclusive) become `no_tax`."""

import threading
import time

import psycopg
import pytest

import harness
import shop

TABLES = '''
CREATE TABLE invoices (
    id serial PRIMARY KEY,
    number varchar(12) NOT NULL UNIQUE,
    is_taxable boolean NOT NULL,
    amount integer NOT NULL DEFAULT 1,
    is_tax_inclusive boolean NOT NULL DEFAULT false,
    note text,
    twice integer GENERATED ALWAYS AS (amount * 2) STORED,
    CHECK (amount >= 0));
CREATE INDEX invoices_taxable ON invoices (is_taxable, is_tax_inclusive);
INSERT INTO invoices (number, is_taxable, is_tax_inclusive, amount, note)
    SELECT 'n' || g, g % 2 = 0, g % 4 = 0, g, 'note ' || g
    FROM generate_series(1, 200) g;
INSERT INTO invoices (id, number, is_taxable, is_tax_inclusive)
    VALUES (901, 'bad 1', false, true), (902, 'bad 2', false, true);
SELECT setval('invoices_id_seq', 1000);
'''

SPEC = '''
migration: tax_type
database: {database}
quiet_for: 1h
{lossy}
lenses:
  - kind: columns
    table: public.invoices
    key: [id]
    columns:
      - old: [is_taxable, is_tax_inclusive]
        new: {{name: tax_type, type: tax_type, not_null: true}}
        forward: |
          CASE WHEN NOT is_taxable THEN 'no_tax' WHEN is_tax_inclusive
               THEN 'tax_inclusive' ELSE 'tax_exclusive' END::tax_type
        reverse: {{is_taxable: "tax_type <> 'no_tax'",
                   is_tax_inclusive: "tax_type = 'tax_inclusive'"}}
expand: |
  CREATE TYPE tax_type AS ENUM ('no_tax', 'tax_inclusive', 'tax_exclusive')
'''


def make(postgres, database):
    postgres.create_database(database, TABLES)


def spec(database, lossy='lossy: accept'):
    return {'tax_type.yaml': SPEC.format(database=database, lossy=lossy)}


def columns(postgres, database):
    rows = postgres.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'invoices'::regclass"
        " AND attnum > 0 AND NOT attisdropped ORDER BY attnum", database)
    return [r[0] for r in rows]


def test_walk(postgres, start_proxy):
    make(postgres, 's3_walk')
    proxy = start_proxy(postgres, spec('s3_walk'))
    old = ['id', 'number', 'is_taxable', 'amount', 'is_tax_inclusive', 'note',
           'twice']
    with proxy.connect('s3_walk') as c:
        for phase in shop.PHASES:
            if phase != 'planned':
                proxy.advance('tax_type', phase)
            print(phase)
            cur = c.execute('SELECT * FROM invoices WHERE id = 3')
            assert [d.name for d in cur.description] == old
            cur = c.execute(
                "INSERT INTO invoices VALUES (DEFAULT, %s, true, 7, true)"
                " RETURNING *", [phase])
            assert cur.fetchone()[1:] == (phase, True, 7, True, None, 14)
            cur = c.execute('UPDATE invoices SET is_taxable = false WHERE'
                            ' number = %s RETURNING *', [phase])
            row = cur.fetchone()
            assert row[2] is False
            c.execute('DELETE FROM invoices WHERE id = %s', [row[0]])
    assert columns(postgres, 's3_walk') == [
        'id', 'number', 'amount', 'note', 'twice', 'tax_type']

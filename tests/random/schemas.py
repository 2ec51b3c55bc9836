"""The example schemas that statements are made for: what the direct database
is made of, the migration, and what the generator may say about each table."""

from model import Schema, Table
from schemas_moved import CHAIN, EMAILS, MEMBERS, SPLIT
from schemas_types import GOODS
import schemas_new

SHOP = Schema(
    name='shop',
    migration='typo',
    ddl='''
CREATE TABLE inovices (
    id serial PRIMARY KEY,
    customr varchar(20) NOT NULL,
    amount integer NOT NULL,
    phone text,
    note varchar(10) DEFAULT 'none',
    created_at timestamptz NOT NULL DEFAULT '2024-02-29 12:00Z',
    UNIQUE (customr, phone),
    CONSTRAINT small CHECK (amount > -100000));
CREATE INDEX inovices_customr ON inovices (customr);
CREATE TABLE payments (id serial PRIMARY KEY, inovice integer, amount integer);
''',
    rows='''
TRUNCATE inovices;
TRUNCATE payments;
INSERT INTO inovices (id, customr, amount, phone, note, created_at)
SELECT g, 'customer ' || g % 7, g * 3 % 17,
       CASE WHEN g % 5 > 0 THEN '555-' || lpad(g::text, 4, '0') END,
       CASE WHEN g % 4 > 0 THEN 'n' || g % 3 END,
       '2024-01-01 00:00Z'::timestamptz + g * interval '1 hour'
FROM generate_series(1, 14) g;
INSERT INTO payments (id, inovice, amount)
SELECT g, 1 + g % 6, CASE WHEN g % 4 > 0 THEN g END
FROM generate_series(1, 9) g;
SELECT setval('inovices_id_seq', 100), setval('payments_id_seq', 100)
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
lenses:
  - kind: table
    old: public.inovices
    new: public.invoices
    key: [id]
    columns:
      - {{old: customr, new: customer}}
      - old: amount
        new: {{name: amount_cents, type: bigint}}
        forward: (amount * 100)::bigint
        reverse: (amount_cents / 100)::integer
        bijective: true
      - old: phone
        new: {{name: phone_digits, type: text}}
        forward: replace(phone, '-', '')
        reverse: left(phone_digits, 3) || '-' || substr(phone_digits, 4)
''',
    tables=[
        Table('inovices',
              {'id': 'int', 'customr': 'text', 'amount': 'int',
               'phone': 'text', 'note': 'text', 'created_at': 'time'},
              {'id': 'key', 'customr': 'name', 'amount': 'amount',
               'phone': 'phone', 'note': 'note', 'created_at': 'time'},
              needed=('customr', 'amount'),
              unique=(('id',), ('customr', 'phone')),
              constraints=('inovices_pkey', 'inovices_customr_phone_key'),
              converted=('amount', 'phone')),
        Table('payments',
              {'id': 'int', 'inovice': 'int', 'amount': 'int'},
              {'id': 'key', 'inovice': 'amount', 'amount': 'amount'},
              unique=(('id',),), constraints=('payments_pkey',),
              moving=False),
    ])

TAXES = Schema(
    name='taxes',
    migration='tax_type',
    ddl='''
CREATE TABLE invoices (
    id serial PRIMARY KEY,
    number varchar(12) NOT NULL UNIQUE,
    is_taxable boolean NOT NULL,
    amount integer NOT NULL DEFAULT 1,
    is_tax_inclusive boolean NOT NULL DEFAULT false,
    note text,
    twice integer GENERATED ALWAYS AS (amount * 2) STORED,
    CONSTRAINT small CHECK (amount > -1000));
CREATE TABLE payments (id serial PRIMARY KEY, invoice integer, amount integer);
''',
    rows='''
TRUNCATE invoices;
TRUNCATE payments;
INSERT INTO invoices (id, number, is_taxable, is_tax_inclusive, amount, note)
SELECT g, 'n' || g, g % 3 > 0, g % 3 > 1, g * 3 % 11,
       CASE WHEN g % 4 > 0 THEN 'note ' || g % 3 END
FROM generate_series(1, 14) g;
INSERT INTO payments (id, invoice, amount)
SELECT g, 1 + g % 6, CASE WHEN g % 4 > 0 THEN g END
FROM generate_series(1, 9) g;
SELECT setval('invoices_id_seq', 100), setval('payments_id_seq', 100)
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
lossy: accept
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
''',
    tables=[
        Table('invoices',
              {'id': 'int', 'number': 'text', 'is_taxable': 'bool',
               'amount': 'int', 'is_tax_inclusive': 'bool', 'note': 'text',
               'twice': 'int'},
              {'id': 'key', 'number': 'number', 'is_taxable': 'taxable',
               'amount': 'amount', 'is_tax_inclusive': 'inclusive',
               'note': 'note'},
              needed=('number', 'is_taxable'),
              unique=(('id',), ('number',)),
              constraints=('invoices_pkey', 'invoices_number_key'),
              together=('is_taxable', 'is_tax_inclusive'), kind='columns',
              converted=('is_taxable', 'is_tax_inclusive')),
        Table('payments',
              {'id': 'int', 'invoice': 'int', 'amount': 'int'},
              {'id': 'key', 'invoice': 'amount', 'amount': 'amount'},
              unique=(('id',),), constraints=('payments_pkey',),
              moving=False),
    ])

STAFF = Schema(
    name='staff',
    migration='many_stores',
    ddl='''
CREATE TABLE stores (id int PRIMARY KEY, city text);
INSERT INTO stores SELECT g, 'city ' || g FROM generate_series(1, 12) g;
CREATE TABLE employees (
    id serial PRIMARY KEY,
    name text NOT NULL,
    store_id int CONSTRAINT works_at REFERENCES stores,
    salary int NOT NULL DEFAULT 10);
CREATE INDEX ON employees (store_id);
''',
    rows='''
TRUNCATE employees;
INSERT INTO employees (id, name, store_id, salary)
SELECT g, 'employee ' || g % 9, NULLIF(g % 6, 0), g * 3 % 11
FROM generate_series(1, 14) g;
SELECT setval('employees_id_seq', 100)
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
lenses:
  - kind: child
    old: public.employees
    key: [id]
    columns: [store_id]
    new:
      table: public.employeestores
      parent: {{employee_id: id}}
      columns: {{store_id: store_id}}
      when: store_id IS NOT NULL
      pick: [store_id]
''',
    tables=[
        Table('employees',
              {'id': 'int', 'name': 'text', 'store_id': 'int',
               'salary': 'int'},
              {'id': 'key', 'name': 'note', 'store_id': 'store',
               'salary': 'amount'},
              needed=('name',), unique=(('id',),),
              constraints=('employees_pkey',), kind='child',
              converted=('store_id',)),
        Table('stores', {'id': 'int', 'city': 'text'}, {}, moving=False,
              sequence=''),
    ])

SCHEMAS = {s.name: s for s in (
    SHOP, TAXES, STAFF, EMAILS, SPLIT, MEMBERS, CHAIN, GOODS,
    schemas_new.shop(SHOP), schemas_new.taxes(TAXES))}

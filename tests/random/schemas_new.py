"""The examples again, their statements in the shape of the new model."""

import dataclasses

from model import Schema, Table


def of(schema, rows, tables):
    return dataclasses.replace(schema, name=f'{schema.name}_new', rows=rows,
                               tables=[*tables, schema.tables[-1]],
                               new_shape=True)


def shop(schema):
    return of(schema, '''
DELETE FROM invoices;
TRUNCATE payments;
INSERT INTO invoices (id, customer, amount_cents, phone_digits, note,
                      created_at)
SELECT g, 'customer ' || g % 7, g * 3 % 17 * 100,
       CASE WHEN g % 5 > 0 THEN '555' || lpad(g::text, 4, '0') END,
       CASE WHEN g % 4 > 0 THEN 'n' || g % 3 END,
       '2024-01-01 00:00Z'::timestamptz + g * interval '1 hour'
FROM generate_series(1, 14) g;
INSERT INTO payments (id, inovice, amount)
SELECT g, 1 + g % 6, CASE WHEN g % 4 > 0 THEN g END
FROM generate_series(1, 9) g;
SELECT setval('inovices_id_seq', 100), setval('payments_id_seq', 100)
''', [
        Table('invoices',
              {'id': 'int', 'customer': 'text', 'amount_cents': 'int',
               'phone_digits': 'text', 'note': 'text', 'created_at': 'time'},
              {'id': 'key', 'customer': 'name', 'amount_cents': 'cents',
               'phone_digits': 'digits', 'note': 'note',
               'created_at': 'time'},
              needed=('customer', 'amount_cents'),
              unique=(('id',), ('customer', 'phone_digits')),
              constraints=('invoices_pkey',), sequence='inovices_id_seq')])


def taxes(schema):
    return of(schema, '''
DELETE FROM invoices;
TRUNCATE payments;
INSERT INTO invoices (id, number, tax_type, amount, note)
SELECT g, 'n' || g, (ARRAY['no_tax', 'tax_inclusive', 'tax_exclusive'])
       [1 + g % 3]::tax_type, g * 3 % 11,
       CASE WHEN g % 4 > 0 THEN 'note ' || g % 3 END
FROM generate_series(1, 14) g;
INSERT INTO payments (id, invoice, amount)
SELECT g, 1 + g % 6, CASE WHEN g % 4 > 0 THEN g END
FROM generate_series(1, 9) g;
SELECT setval('invoices_id_seq', 100), setval('payments_id_seq', 100)
''', [
        Table('invoices',
              {'id': 'int', 'number': 'text', 'amount': 'int', 'note': 'text',
               'twice': 'int', 'tax_type': 'tax'},
              {'id': 'key', 'number': 'number', 'amount': 'amount',
               'note': 'note', 'tax_type': 'tax'},
              needed=('number', 'tax_type'), unique=(('id',), ('number',)),
              constraints=('invoices_pkey', 'invoices_number_key'),
              kind='columns')])

"""The example schemas that statements are made for: what the direct database
is made of, the migration, and what the generator may say about each table."""

import dataclasses


@dataclasses.dataclass
class Table:
    name: str
    columns: dict      # name: kind, in order
    written: dict      # name: kind of what may be assigned
    needed: tuple = () # columns that an INSERT must name
    unique: tuple = () # lists of columns that ON CONFLICT may name
    constraints: tuple = ()
    moving: bool = True


@dataclasses.dataclass
class Schema:
    name: str
    ddl: str
    rows: str          # fills the tables; run again to start over
    spec: str
    migration: str
    tables: list

    def spec_for(self, database):
        return self.spec.format(database=database,
                                migration=self.migration_of(database))

    def migration_of(self, database):
        return f'{self.migration}_{database}'


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
              constraints=('inovices_pkey', 'inovices_customr_phone_key')),
        Table('payments',
              {'id': 'int', 'inovice': 'int', 'amount': 'int'},
              {'id': 'key', 'inovice': 'amount', 'amount': 'amount'},
              unique=(('id',),), constraints=('payments_pkey',),
              moving=False),
    ])

SCHEMAS = {s.name: s for s in (SHOP,)}

"""Tables whose columns move: to rows of another table (several or at most one),
of two tables to one, and twice in a row."""

from model import Schema, Table

EMAILS = Schema(
    name='emails',
    migration='user_emails',
    ddl='''
CREATE TABLE users (
    id serial PRIMARY KEY,
    name varchar(10) NOT NULL,
    email varchar(12),
    note text DEFAULT 'none');
CREATE INDEX ON users (email);
CREATE TABLE visits (id serial PRIMARY KEY, visitor integer, note text);
''',
    rows='''
DELETE FROM users;
TRUNCATE visits;
INSERT INTO users (id, name, email, note)
SELECT g, 'n' || g % 5, CASE WHEN g % 4 > 0 THEN 'u' || g || '@x' END,
       'n' || g % 3 FROM generate_series(1, 14) g;
INSERT INTO visits (id, visitor, note)
SELECT g, 1 + g % 6, 'u' || g || '@x' FROM generate_series(1, 9) g;
SELECT setval('users_id_seq', 100), setval('visits_id_seq', 100)
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
expand: |
  CREATE TABLE public.user_emails (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      user_id int NOT NULL REFERENCES public.users ON DELETE CASCADE
          ON UPDATE CASCADE,
      email text NOT NULL,
      is_primary boolean NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp());
  CREATE INDEX ON public.user_emails (email);
  CREATE INDEX ON public.user_emails (user_id)
lenses:
  - kind: child
    old: public.users
    key: [id]
    columns: [{{old: email, reverse: email}}]
    new:
      table: public.user_emails
      parent: {{user_id: id}}
      columns: {{email: email, is_primary: "true"}}
      when: email IS NOT NULL
      pick: [is_primary DESC, id]
''',
    tables=[
        Table('users',
              {'id': 'int', 'name': 'text', 'email': 'text', 'note': 'text'},
              {'id': 'key', 'name': 'note', 'email': 'email',
               'note': 'note'},
              needed=('name',), unique=(('id',),),
              constraints=('users_pkey',), kind='child',
              converted=('email',)),
        Table('visits', {'id': 'int', 'visitor': 'int', 'note': 'text'},
              {'id': 'key', 'visitor': 'amount', 'note': 'note'},
              unique=(('id',),), constraints=('visits_pkey',), moving=False),
    ])

SPLIT = Schema(
    name='split',
    migration='addresses',
    ddl='''
CREATE TABLE users (
    id serial PRIMARY KEY,
    name text NOT NULL,
    street varchar(10) NOT NULL DEFAULT 'nowhere',
    city text,
    zip integer,
    note text DEFAULT 'none');
CREATE INDEX ON users (city);
CREATE TABLE visits (id serial PRIMARY KEY, visitor integer, note text);
''',
    rows='''
DELETE FROM users;
TRUNCATE visits;
INSERT INTO users (id, name, street, city, zip, note)
SELECT g, 'n' || g % 5, 's' || g % 3, CASE WHEN g % 4 > 0 THEN 'c' || g % 3 END,
       g % 6, 'n' || g % 3 FROM generate_series(1, 14) g;
INSERT INTO visits (id, visitor, note)
SELECT g, 1 + g % 6, 'c' || g % 3 FROM generate_series(1, 9) g;
SELECT setval('users_id_seq', 100), setval('visits_id_seq', 100)
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
lenses:
  - kind: child
    old: public.users
    key: [id]
    columns: [street, city, {{old: zip, reverse: zip_code::integer}}]
    new:
      table: public.addresses
      parent: {{user_id: id}}
      columns:
        street: street
        town: city
        zip_code: {{type: text, forward: zip::text}}
''',
    tables=[
        Table('users',
              {'id': 'int', 'name': 'text', 'street': 'text', 'city': 'text',
               'zip': 'int', 'note': 'text'},
              {'id': 'key', 'name': 'note', 'street': 'note', 'city': 'note',
               'zip': 'amount', 'note': 'note'},
              needed=('name',), unique=(('id',),),
              constraints=('users_pkey',), kind='child',
              converted=('street', 'city', 'zip')),
        Table('visits', {'id': 'int', 'visitor': 'int', 'note': 'text'},
              {'id': 'key', 'visitor': 'amount', 'note': 'note'},
              unique=(('id',),), constraints=('visits_pkey',), moving=False),
    ])

MEMBERS = Schema(
    name='members',
    migration='members',
    ddl='''
CREATE TABLE people (
    id serial PRIMARY KEY,
    nam varchar(20) NOT NULL,
    age integer CHECK (age > 0),
    note varchar(10) DEFAULT 'none');
CREATE TABLE profiles (
    id integer PRIMARY KEY,
    bio varchar(20) NOT NULL,
    stars integer NOT NULL DEFAULT 3,
    note text);
CREATE TABLE visits (id serial PRIMARY KEY, visitor integer, note text);
''',
    rows='''
DELETE FROM people;
DELETE FROM profiles;
TRUNCATE visits;
INSERT INTO people (id, nam, age, note)
SELECT g, 'customer ' || g % 7, g, 'n' || g % 3 FROM generate_series(1, 12) g;
INSERT INTO profiles (id, bio, stars, note)
SELECT g, 'customer ' || g % 5, g % 4, 'n' || g % 3
FROM generate_series(5, 18) g;
INSERT INTO visits (id, visitor, note)
SELECT g, 1 + g % 6, 'n' || g % 3 FROM generate_series(1, 9) g;
SELECT setval('people_id_seq', 100), setval('visits_id_seq', 100)
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
lenses:
  - kind: merge
    old: [public.people, public.profiles]
    new: public.members
    key: [id]
    columns:
      - {{old: nam, new: name}}
      - {{old: note, new: profile_note, from: public.profiles}}
      - {{old: note, new: note, from: public.people}}
      - old: stars
        new: {{name: points, type: bigint}}
        forward: (stars * 10)::bigint
        reverse: (points / 10)::integer
        bijective: true
''',
    tables=[
        Table('people',
              {'id': 'int', 'nam': 'text', 'age': 'int', 'note': 'text'},
              {'id': 'key', 'nam': 'name', 'age': 'amount', 'note': 'note'},
              needed=('nam',), unique=(('id',),),
              constraints=('people_pkey',), kind='merge', converted=('id',)),
        Table('profiles',
              {'id': 'int', 'bio': 'text', 'stars': 'int', 'note': 'text'},
              {'id': 'key', 'bio': 'name', 'stars': 'amount',
               'note': 'note'},
              needed=('id', 'bio'), unique=(('id',),),
              constraints=('profiles_pkey',), kind='merge',
              converted=('id',), sequence=''),
        Table('visits', {'id': 'int', 'visitor': 'int', 'note': 'text'},
              {'id': 'key', 'visitor': 'amount', 'note': 'note'},
              unique=(('id',),), constraints=('visits_pkey',), moving=False),
    ])

CHAIN = Schema(
    name='chain',
    migration='bills',
    ddl='''
CREATE TABLE inovices (
    id serial PRIMARY KEY,
    customr varchar(20) NOT NULL,
    amount integer NOT NULL,
    phone text,
    note varchar(10) DEFAULT 'none',
    UNIQUE (customr, phone));
CREATE TABLE payments (id serial PRIMARY KEY, inovice integer, amount integer);
''',
    rows='''
DELETE FROM inovices;
TRUNCATE payments;
INSERT INTO inovices (id, customr, amount, phone, note)
SELECT g, 'customer ' || g % 7, g * 3 % 17,
       CASE WHEN g % 5 > 0 THEN '555-' || lpad(g::text, 4, '0') END,
       CASE WHEN g % 4 > 0 THEN 'n' || g % 3 END
FROM generate_series(1, 14) g;
INSERT INTO payments (id, inovice, amount)
SELECT g, 1 + g % 6, CASE WHEN g % 4 > 0 THEN g END
FROM generate_series(1, 9) g;
SELECT setval('inovices_id_seq', 100), setval('payments_id_seq', 100)
''',
    before='''
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
''',
    spec='''
migration: {migration}
database: {database}
quiet_for: 1h
lenses:
  - kind: table
    old: public.invoices
    new: public.bills
    key: {{id: bill_id}}
    columns:
      - old: amount_cents
        new: {{name: amount, type: "numeric(12,2)"}}
        forward: amount_cents / 100.0
        reverse: (amount * 100)::bigint
        bijective: true
      - old: phone
        new: {{name: phone_digits, type: text}}
        forward: replace(phone, '-', '')
        reverse: left(phone_digits, 3) || '-' || substr(phone_digits, 4)
''',
    tables=[
        Table('inovices',
              {'id': 'int', 'customr': 'text', 'amount': 'int',
               'phone': 'text', 'note': 'text'},
              {'id': 'key', 'customr': 'name', 'amount': 'amount',
               'phone': 'phone', 'note': 'note'},
              needed=('customr', 'amount'),
              unique=(('id',), ('customr', 'phone')),
              constraints=('inovices_pkey', 'inovices_customr_phone_key'),
              kind='chain', converted=('amount', 'phone')),
        Table('payments',
              {'id': 'int', 'inovice': 'int', 'amount': 'int'},
              {'id': 'key', 'inovice': 'amount', 'amount': 'amount'},
              unique=(('id',),), constraints=('payments_pkey',),
              moving=False),
    ])

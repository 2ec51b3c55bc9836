"""The misspelled table of example S1, as the tests need it."""

TABLE = '''
CREATE TABLE inovices (
    id serial PRIMARY KEY,
    customr varchar(20) NOT NULL,
    amount integer NOT NULL,
    phone text,
    note varchar(10) DEFAULT 'none',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (customr, phone));
CREATE INDEX inovices_customr ON inovices (customr);
CREATE TABLE payments (id serial PRIMARY KEY, inovice integer, amount integer);
'''

SPEC = '''
migration: inovices_typo
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
'''

ROWS = '''
INSERT INTO inovices (customr, amount, phone)
SELECT 'customer ' || g, g, '555-' || lpad(g::text, 4, '0')
FROM generate_series(1, {rows}) g;
INSERT INTO payments (inovice, amount)
SELECT 1 + g % {rows}, g FROM generate_series(1, 20) g;
'''

PHASES = ('planned', 'expanded', 'dual_write', 'read_new', 'write_new',
          'new_only', 'contracted')


def make(postgres, database, rows=100):
    postgres.create_database(database, TABLE + ROWS.format(rows=rows))


def spec(database):
    return {'inovices_typo.yaml': SPEC.format(database=database)}

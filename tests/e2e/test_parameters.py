"""The types that the server finds for parameters which the client leaves open,
in every position, are those of direct use in every phase; and so are the
result's columns, for each kind of lens."""

import pathlib
import sys

import pytest

import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'random'))

from compare import Side  # noqa: E402

PHASES = ('planned', 'expanded', 'dual_write', 'read_new', 'write_new',
          'new_only', 'contracted')

DDL = '''
CREATE TABLE stores (id integer PRIMARY KEY, town varchar(30));
CREATE TABLE bills (
    id bigserial PRIMARY KEY,
    number varchar(12) NOT NULL UNIQUE,
    store integer,
    amount integer NOT NULL,
    rate numeric(6, 2),
    code char(4),
    paid boolean NOT NULL DEFAULT false,
    due date,
    tags text[],
    data jsonb);
INSERT INTO stores VALUES (1, 'a');
INSERT INTO bills (number, store, amount) VALUES ('b1', 1, 5);
'''

TABLE = '''
migration: {0}
database: {0}
lenses:
  - kind: table
    old: public.bills
    new: public.invoices
    key: {{id: invoice_id}}
    columns:
'''

COLUMNS = '''
      - old: amount
        new: {name: amount_cents, type: bigint}
        forward: (amount * 100)::bigint
        reverse: (amount_cents / 100)::integer
        bijective: true
      - old: rate
        new: {name: rate_text, type: text}
        forward: rate::text
        reverse: rate_text::numeric
      - old: code
        new: {name: code_up, type: text}
        forward: upper(code)
        reverse: lower(code_up)
      - old: paid
        new: {name: state, type: text}
        forward: CASE WHEN paid THEN 'paid' ELSE 'open' END
        reverse: state = 'paid'
      - old: due
        new: {name: due_at, type: timestamp}
        forward: due::timestamp
        reverse: due_at::date
'''

IN_PLACE = '''
migration: {0}
database: {0}
lenses:
  - kind: columns
    table: public.bills
    key: [id]
    columns:
'''

CHILD = '''
migration: {0}
database: {0}
lenses:
  - kind: child
    old: public.bills
    key: [id]
    columns: [store]
    new:
      table: public.billstores
      parent: {{bill_id: id}}
      columns: {{store: store}}
      when: store IS NOT NULL
      pick: [store]
'''

SPECS = {'table': TABLE.rstrip() + COLUMNS.replace('{', '{{').replace('}', '}}'),
         'columns': IN_PLACE.rstrip() + COLUMNS.replace('{', '{{').replace('}', '}}'),
         'child': CHILD}

STATEMENTS = '''
SELECT * FROM bills WHERE id = $1
SELECT id FROM bills WHERE amount = $1
SELECT id FROM bills WHERE $1 = amount AND rate = $2 AND code = $3 AND paid = $4 AND due = $5 AND store = $6
SELECT id FROM bills WHERE amount IN ($1, $2) AND code IN ($3) AND store IN ($4, 5)
SELECT id FROM bills WHERE amount = ANY($1) AND code = ANY ($2) AND due = ANY($3) AND store = ANY($4)
SELECT id FROM bills WHERE amount <> ALL($1) AND paid
SELECT id FROM bills WHERE amount BETWEEN $1 AND $2 OR due > $3 OR rate < $4
SELECT id FROM bills WHERE code LIKE $1 AND number ~ $2
SELECT id FROM bills WHERE paid IS NOT DISTINCT FROM $1 AND store IS DISTINCT FROM $2
SELECT id FROM bills WHERE (amount, store) = ($1, $2)
SELECT id FROM bills WHERE (amount, due) < ($1, $2)
SELECT amount + $1, rate * $2, code || $3, due - $4, due + $5 FROM bills
SELECT coalesce(amount, $1), greatest(rate, $2), nullif(due, $3), coalesce(store, $4) FROM bills
SELECT CASE WHEN $1 THEN amount ELSE $2 END, CASE paid WHEN $3 THEN 1 END FROM bills
SELECT $1, $2::text, amount FROM bills
SELECT $1::integer + amount, cast($2 AS numeric) + rate FROM bills
SELECT abs($1), round(rate, $2), substr(code, $3), to_char(due, $4) FROM bills
SELECT id FROM bills ORDER BY amount LIMIT $1 OFFSET $2
SELECT amount, count(*) FILTER (WHERE rate > $1) FROM bills GROUP BY amount HAVING sum(amount) > $2
SELECT lag(amount, $1, $2) OVER (ORDER BY id) FROM bills
SELECT id FROM bills WHERE amount = (SELECT max(amount) FROM bills WHERE code = $1) AND EXISTS (SELECT FROM stores s WHERE s.id = store AND s.id = $2)
SELECT b.id, s.town FROM bills b JOIN stores s ON s.id = b.store AND b.amount > $1 WHERE s.town = $2
SELECT * FROM (SELECT amount AS a, due FROM bills) x WHERE a = $1 AND due = $2
WITH w AS (SELECT amount, rate FROM bills WHERE paid = $1) SELECT * FROM w WHERE amount = $2 AND rate = $3
SELECT amount FROM bills UNION SELECT $1
SELECT $1 UNION SELECT amount FROM bills
SELECT amount FROM bills UNION ALL VALUES ($1)
SELECT id FROM bills, generate_series(1, $1) g WHERE amount = g
SELECT id FROM bills WHERE $1 = ANY(tags) AND data @> $2 AND data ->> $3 = $4
SELECT amount, $1 FROM bills FOR UPDATE
INSERT INTO bills (number, store, amount, rate, code, paid, due) VALUES ($1, $2, $3, $4, $5, $6, $7)
INSERT INTO bills VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
INSERT INTO bills (number, amount) VALUES ($1, $2), ($3, $4) RETURNING id, amount + $5, code = $6
INSERT INTO bills (number, amount) VALUES ($1, $2 + 1), ('x', abs($3))
INSERT INTO bills (number, amount, due) VALUES ($1, coalesce($2, 5), $3::text::date)
INSERT INTO bills (number, amount, code) SELECT $1, $2, $3
INSERT INTO bills (number, amount, rate) SELECT town, id, $1 FROM stores WHERE id = $2
INSERT INTO bills (number, amount, store) SELECT number, amount + $1, $2 FROM bills WHERE amount > $3
INSERT INTO bills (number, amount) VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET amount = $3, rate = $4 WHERE bills.amount > $5 AND bills.due = $6
INSERT INTO bills (number, amount) VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET amount = bills.amount + $3, store = $4 RETURNING *
INSERT INTO bills (number, amount) VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET (amount, paid) = ($3, $4)
INSERT INTO bills (number, amount) VALUES ($1, $2) ON CONFLICT DO NOTHING
INSERT INTO bills (number, amount) VALUES ($1::varchar, $2::smallint)
WITH v(a, b) AS (VALUES ($1, $2)) INSERT INTO bills (number, amount) SELECT a, b::integer FROM v
UPDATE bills SET amount = $1, rate = $2, code = $3, paid = $4, due = $5, store = $6, number = $7 WHERE id = $8
UPDATE bills SET amount = amount + $1, rate = rate * $2 WHERE amount = $3
UPDATE bills SET (amount, due) = ($1, $2), tags = $3, data = $4 WHERE store = $5
UPDATE bills SET (amount, rate) = (SELECT $1, $2::numeric) WHERE id = $3
UPDATE bills SET amount = (SELECT id + $1 FROM stores WHERE town = $2)
UPDATE bills SET amount = CASE WHEN $1 THEN $2 ELSE amount END, paid = $3 OR paid
UPDATE bills SET paid = $1 IS NULL, code = coalesce($2, code)
UPDATE bills b SET amount = s.id + $1 FROM stores s WHERE s.id = b.store AND s.town = $2 RETURNING b.amount = $3, $4
UPDATE bills SET amount = $1 WHERE amount = ANY($2) RETURNING amount * $3
UPDATE bills SET id = $1 WHERE id = $2
UPDATE bills SET amount = DEFAULT, store = $1 WHERE due = $2
DELETE FROM bills WHERE amount = $1 AND paid = $2
DELETE FROM bills WHERE store = $1 RETURNING code || $2, $3
DELETE FROM bills b USING stores s WHERE s.id = b.store AND b.due < $1 AND s.town = $2
UPDATE bills SET amount = $2 WHERE id = $1
UPDATE bills SET number = $3, amount = $1 WHERE rate = $2
SELECT $2, amount FROM bills WHERE amount = $1 AND store = $3
UPDATE bills SET amount = $1, store = $1
INSERT INTO bills (number, amount, store) VALUES ($1, $2, $2)
UPDATE bills SET amount = $1::text
UPDATE bills SET due = $1 + 1
SELECT id FROM bills WHERE amount = $1 OR amount = $1 + 1
SELECT id FROM bills WHERE id = $1 AND code = upper($2)
DECLARE c CURSOR FOR SELECT id FROM bills WHERE amount = $1
'''.strip().splitlines()


def described(side, sql):
    side.wire.raw(harness.parse(sql) + harness.describe('S') + harness.SYNC)
    return side.answers()


@pytest.mark.parametrize('kind', sorted(SPECS))
def test_parameters_have_the_types_of_direct_use(postgres, start_proxy, kind):
    names = {p: f'params_{kind}_{p}' for p in PHASES}
    for name in ('params_direct', *names.values()):
        postgres.create_database(name, DDL)
    proxy = start_proxy(postgres, {f'{n}.yaml': SPECS[kind].format(n)
                                   for n in names.values()})
    direct = Side(postgres.port, postgres, 'params_direct')
    wrong = []
    for phase, name in names.items():
        proxy.advance(name, *PHASES[1:PHASES.index(phase) + 1])
        through = Side(proxy.port, postgres, name)
        for sql in STATEMENTS:
            want, got = described(direct, sql), described(through, sql)
            if got != want:
                wrong.append(f'{kind} {phase} {sql}\n  direct:  {want}\n'
                             f'  through: {got}')
        through.close()
    direct.close()
    if wrong:
        pytest.fail('\n'.join(wrong), pytrace=False)

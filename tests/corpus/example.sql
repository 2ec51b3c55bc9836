-- A corpus of the tests' own: tests/e2e/test_corpus.py runs it.
CREATE TABLE customers (id integer PRIMARY KEY, name text, spent numeric(8,2));
CREATE TABLE orders (customer integer, article text, count smallint);
INSERT INTO customers VALUES (1, 'Ada', 12.50), (2, 'Ben', NULL), (3, 'Cy', 0);
COPY orders FROM stdin;
1	ink; black	2
1	paper	\N
3	pens	7
\.
\set least 2
SELECT name, article FROM customers JOIN orders ON id = customer ORDER BY 1, 2;
SELECT count(*) AS many FROM orders WHERE count >= :least \gset
SELECT :many AS many, /* of /* all */ ; */ $q$ it's; $q$ AS text;
\if :many
SELECT customer, sum(count) FROM orders GROUP BY customer \g
\else
SELECT 'not here' FROM nowhere;
\endif
\d customers
BEGIN;
INSERT INTO customers VALUES (4, 'Di', 1) RETURNING *;
UPDATE orders SET count = count + 1 WHERE article LIKE 'p%';
MERGE INTO customers USING orders ON id = customer WHEN MATCHED THEN DELETE;
SAVEPOINT one;
INSERT INTO customers VALUES (4, 'Dora', 1);
ROLLBACK TO one;
DELETE FROM customers WHERE name ~ '^B' \; SELECT * FROM customers;
COMMIT;
COPY orders FROM stdin;
4	"quoted"	1
x	bad	1
\.
SELECT customers FROM customers ORDER BY id;
SELECT nothing FROM customers;
CREATE FUNCTION best() RETURNS text BEGIN ATOMIC
    SELECT CASE WHEN true THEN 'a' ELSE 'b' END; SELECT 'c';
END;
SELECT best(), now();
SELECT * FROM orders LIMIT 2;

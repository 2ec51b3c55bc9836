// A shop on pgx, which caches prepared statements and speaks binary; see
// ../rounds.py.  With APP_BLIND in the environment it does not look into the
// catalog.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

const tables = `
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE inovices (
	id serial PRIMARY KEY,
	number varchar(12) NOT NULL UNIQUE,
	customr integer NOT NULL REFERENCES customers,
	amount integer NOT NULL CHECK (amount >= 0),
	phone text,
	note varchar(10) DEFAULT 'none',
	tags text[] NOT NULL DEFAULT '{}',
	more jsonb,
	due timestamptz NOT NULL);
CREATE INDEX ON inovices (customr, due);
CREATE TABLE payments (
	id serial PRIMARY KEY,
	inovice integer NOT NULL REFERENCES inovices ON DELETE CASCADE,
	amount integer NOT NULL);
INSERT INTO customers (name) SELECT 'customer ' || g FROM generate_series(1, 5) g`

var ctx = context.Background()

type round struct {
	db    *pgx.Conn
	n     int
	reads []string
}

// What both a connection and a transaction can do.
type querier interface {
	Query(context.Context, string, ...interface{}) (pgx.Rows, error)
	Exec(context.Context, string, ...interface{}) (pgconn.CommandTag, error)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (r *round) note(what string, values ...interface{}) {
	r.reads = append(r.reads, strings.ReplaceAll(
		what+" "+fmt.Sprintf("%v", values), "\n", " "))
}

func collect(rows pgx.Rows, err error) []string {
	must(err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		values, err := rows.Values()
		must(err)
		for i, v := range values {
			if t, ok := v.(time.Time); ok {
				values[i] = t.UTC()
			}
		}
		all = append(all, fmt.Sprintf("%v", values))
	}
	must(rows.Err())
	return append(all, string(rows.CommandTag()))
}

func (r *round) query(q querier, what, sql string, values ...interface{}) {
	r.note(what, collect(q.Query(ctx, sql, values...)))
}

func (r *round) name(k int) string { return fmt.Sprintf("%d-%d", r.n, k) }
func (r *round) mine() string      { return fmt.Sprintf("%d-%%", r.n) }
func (r *round) due(k int) time.Time {
	return time.Date(2024, 1, 1+r.n+k, 12, 0, 0, 0, time.UTC)
}

func (r *round) create() {
	var id, amount int32
	must(r.db.QueryRow(ctx, `INSERT INTO inovices (number, customr, amount,
		phone, tags, more, due) VALUES ($1, $2, $3, $4, $5, $6, $7)
		RETURNING id, amount`, r.name(0), 1+r.n%5, r.n,
		fmt.Sprintf("555-%04d", r.n%10000), []string{"a", "b"},
		map[string]int{"n": r.n}, r.due(0)).Scan(&id, &amount))
	r.note("created", id, amount)
	batch := &pgx.Batch{}
	for k := 1; k < 6; k++ {
		batch.Queue(`INSERT INTO inovices (number, customr, amount, due)
			VALUES ($1, $2, $3, $4) RETURNING id, note`,
			r.name(k), k, k*10, r.due(k))
		batch.Queue(`INSERT INTO payments (inovice, amount) SELECT id, $2
			FROM inovices WHERE number = $1`, r.name(k), k)
	}
	batch.Queue(`SELECT count(*) FROM inovices WHERE number LIKE $1`, r.mine())
	results := r.db.SendBatch(ctx, batch)
	for k := 0; k < batch.Len(); k++ {
		r.note("batch", collect(results.Query()))
	}
	must(results.Close())
	n, err := r.db.CopyFrom(ctx, pgx.Identifier{"inovices"},
		[]string{"number", "customr", "amount", "phone", "due"},
		pgx.CopyFromRows([][]interface{}{
			{r.name(6), 1, 6, "555-0006", r.due(6)},
			{r.name(7), 2, 7, nil, r.due(7)},
		}))
	must(err)
	r.note("copied", n)
	r.query(r.db, "upsert", `INSERT INTO inovices AS i (number, customr, amount,
		due) VALUES ($1, 3, $2, $3), ($4, 4, $5, $3) ON CONFLICT (number)
		DO UPDATE SET amount = i.amount + excluded.amount, note = 'twice'
		RETURNING id, amount, note`, r.name(7), 70, r.due(7), r.name(8), 80)
}

func (r *round) read() {
	r.query(r.db, "all", `SELECT * FROM inovices WHERE number LIKE $1
		ORDER BY id`, r.mine())
	r.query(r.db, "any", `SELECT number, phone FROM inovices WHERE amount =
		ANY($1) AND number LIKE $2 ORDER BY id`, []int32{10, 20, 30}, r.mine())
	r.query(r.db, "phone", `SELECT count(*) FROM inovices WHERE phone = $1 OR
		phone IS NULL`, "555-0006")
	r.query(r.db, "join", `SELECT c.name, i.number, p.amount FROM customers c
		JOIN inovices i ON i.customr = c.id LEFT JOIN payments p ON p.inovice =
		i.id WHERE i.number LIKE $1 ORDER BY i.id, p.id`, r.mine())
	r.query(r.db, "group", `SELECT customr, sum(amount), array_agg(number ORDER
		BY id), max(due) FROM inovices WHERE number LIKE $1 GROUP BY customr
		HAVING sum(amount) > $2 ORDER BY customr`, r.mine(), 5)
	r.query(r.db, "page", `SELECT number, amount, rank() OVER (ORDER BY amount,
		id) FROM inovices WHERE number LIKE $1 ORDER BY due DESC, id LIMIT $2
		OFFSET $3`, r.mine(), 3, 2)
	r.query(r.db, "more", `SELECT tags[1], more->>'n', to_jsonb(i)->'amount'
		FROM inovices i WHERE number = $1`, r.name(0))
	r.query(r.db, "simple", `SELECT id, amount FROM inovices WHERE number LIKE
		$1 ORDER BY id`, pgx.QuerySimpleProtocol(true), r.mine())
}

func (r *round) failed(tx pgx.Tx, what, sql string, values ...interface{}) {
	inner, err := tx.Begin(ctx) // a savepoint
	must(err)
	_, err = inner.Exec(ctx, sql, values...)
	var e *pgconn.PgError
	if errors.As(err, &e) {
		r.note(what, e.Code)
	} else {
		r.note(what, "accepted", err)
	}
	must(inner.Rollback(ctx))
}

func (r *round) write() {
	r.query(r.db, "update", `UPDATE inovices SET amount = amount + $1, note =
		$2 WHERE number LIKE $3 AND amount > 20`, 5, "raised", r.mine())
	tx, err := r.db.Begin(ctx)
	must(err)
	r.query(tx, "locked", `SELECT id, amount FROM inovices WHERE number LIKE $1
		ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`, r.mine())
	r.failed(tx, "unique", `UPDATE inovices SET number = $1 WHERE number = $2`,
		r.name(1), r.name(2))
	r.failed(tx, "check", `UPDATE inovices SET amount = $1 WHERE number = $2`,
		-1, r.name(2))
	r.failed(tx, "long", `UPDATE inovices SET note = $1 WHERE number = $2`,
		"far too long", r.name(2))
	r.failed(tx, "key", `UPDATE inovices SET customr = $1 WHERE number = $2`,
		77, r.name(2))
	r.failed(tx, "referred", `DELETE FROM customers WHERE id = $1`, 1)
	r.query(tx, "from", `UPDATE inovices i SET amount = i.amount + p.amount,
		tags = i.tags || $1 FROM payments p WHERE p.inovice = i.id AND i.number
		= $2 RETURNING i.*`, []string{"paid"}, r.name(4))
	must(tx.Commit(ctx))
	tx, err = r.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	must(err)
	_, err = tx.Exec(ctx, `UPDATE inovices SET note = 'undone' WHERE number
		LIKE $1`, r.mine())
	must(err)
	must(tx.Rollback(ctx))
	r.query(r.db, "several", `WITH gone AS (DELETE FROM payments WHERE inovice
		IN (SELECT id FROM inovices WHERE number = $1) RETURNING inovice)
		DELETE FROM inovices WHERE id IN (SELECT inovice FROM gone)
		RETURNING number, amount`, r.name(5))
}

func (r *round) catalog() {
	r.query(r.db, "columns", `SELECT column_name, data_type, is_nullable
		FROM information_schema.columns WHERE table_name = $1 ORDER BY
		ordinal_position`, "inovices")
	r.query(r.db, "class", `SELECT $1::regclass::text, relkind = 'r' FROM
		pg_class WHERE oid = $1::regclass`, "inovices")
}

func (r *round) print() {
	for _, line := range r.reads {
		fmt.Fprintf(os.Stderr, "%d\t%s\n", r.n, line)
	}
	digest := sha256.Sum256([]byte(strings.Join(r.reads, "\n")))
	fmt.Printf("%d %x\n", r.n, digest[:8])
}

func do(db *pgx.Conn, n int) {
	r := &round{db: db, n: n}
	if os.Getenv("APP_BLIND") == "" {
		r.catalog()
	}
	r.create()
	r.read()
	r.write()
	r.read()
	r.query(db, "deleted", `DELETE FROM inovices WHERE number LIKE $1`,
		fmt.Sprintf("%d-%%", n-3))
	r.query(db, "left", `SELECT (SELECT count(*) FROM inovices), count(*) FROM
		payments`)
	r.print()
}

func main() {
	db, err := pgx.Connect(ctx, os.Args[2]+"?sslmode=disable")
	must(err)
	defer db.Close(ctx)
	if os.Args[1] == "setup" {
		_, err = db.Exec(ctx, tables)
		must(err)
		return
	}
	first, err := strconv.Atoi(os.Args[3])
	must(err)
	stop := make(chan bool)
	if os.Args[4] == "-" {
		go func() {
			bufio.NewReader(os.Stdin).ReadByte()
			close(stop)
		}()
	} else {
		count, err := strconv.Atoi(os.Args[4])
		must(err)
		for n := first; n < first+count; n++ {
			do(db, n)
		}
		close(stop)
	}
	for n := first; ; n++ {
		select {
		case <-stop:
			fmt.Println("done")
			return
		default:
			do(db, n)
			time.Sleep(500 * time.Millisecond)
		}
	}
}

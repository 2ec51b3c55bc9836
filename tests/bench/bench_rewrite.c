/*
 * What planning one statement costs, in CPU: microseconds and, for what is
 * hostile, milliseconds.
 *
 *	bench_rewrite tests/cases/inovices.schema [NAME]
 *
 * Planned each time, and taken from the cache; with a name, that statement
 * alone.  The times are medians.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rewrite/cache.h"
#include "rewrite/rewrite.h"
#include "tests/cases/model.h"

struct statement {
	const char *name;
	enum phase phase;
	const char *before, *unit;
	size_t n;
	const char *after;
};

/* clang-format off */
static const struct statement statements[] = {
	{"mentions nothing", PHASE_READ_NEW, "SELECT abalance FROM pgbench_accounts WHERE aid = $1", "", 0, ""},
	{"select by key, passed", PHASE_PLANNED, "SELECT * FROM inovices WHERE id = $1", "", 0, ""},
	{"select by key, through", PHASE_READ_NEW, "SELECT * FROM inovices WHERE id = $1", "", 0, ""},
	{"select by column, through", PHASE_READ_NEW, "SELECT * FROM inovices WHERE amount = $1", "", 0, ""},
	{"join of three, through", PHASE_READ_NEW, "SELECT i.id, c.name, p.paid_at FROM inovices i JOIN customers c ON c.id = i.customer_id LEFT JOIN payments p ON p.invoice_id = i.id WHERE i.amount > $1 ORDER BY i.id LIMIT 10", "", 0, ""},
	{"update, synced", PHASE_DUAL_WRITE, "UPDATE inovices SET amount = amount + $1 WHERE id = $2", "", 0, ""},
	{"update, through the lens", PHASE_WRITE_NEW, "UPDATE inovices SET amount = amount + $1 WHERE id = $2", "", 0, ""},
	{"insert of one row, synced", PHASE_DUAL_WRITE, "INSERT INTO inovices (customr, amount) VALUES ($1, $2)", "", 0, ""},
	{"insert of one row, lens", PHASE_WRITE_NEW, "INSERT INTO inovices (customr, amount) VALUES ($1, $2)", "", 0, ""},
	{"insert of 100 rows, synced", PHASE_DUAL_WRITE, "INSERT INTO inovices (customr, amount) VALUES ('a', 1)", ", ('customer', 12)", 99, ""},
	{"insert of 100 rows, lens", PHASE_WRITE_NEW, "INSERT INTO inovices (customr, amount) VALUES ('a', 1)", ", ('customer', 12)", 99, ""},
	{"insert of 3 MB, synced", PHASE_DUAL_WRITE, "INSERT INTO inovices (customr, amount) VALUES ('a', 1)", ",\n('a customer with a long name', 12345)", 77000, ""},
	{"insert of 1 MB, lens", PHASE_WRITE_NEW, "INSERT INTO inovices (customr, amount) VALUES ('a', 1)", ",\n('customer', 12345)", 50000, ""},
	{"1+1+1 of 1 MB", PHASE_READ_NEW, "SELECT 1", "+1", 500000, " FROM inovices"},
	{"1+1+1, unrelated", PHASE_READ_NEW, "SELECT 'inovices', 1", "+1", 500000, ""},
	{"operators at the bound", PHASE_READ_NEW, "SELECT 1", "+1", 19900, " FROM inovices"},
	{"parentheses", PHASE_READ_NEW, "SELECT ", "(", 1000000, "1 FROM inovices"},
	{"subselects", PHASE_READ_NEW, "SELECT * FROM inovices WHERE id IN ", "(SELECT ", 100000, ""},
	{"subselects at the bound", PHASE_READ_NEW, "SELECT * FROM inovices WHERE id IN (1", ", (SELECT 1)", 4900, ")"},
	{"nested comments of 1 MB", PHASE_READ_NEW, "SELECT 1 FROM inovices ", "/*", 500000, ""},
	{"100,000 UNIONs", PHASE_READ_NEW, "SELECT id FROM inovices", " UNION SELECT 1", 100000, ""},
	{"column names at the bound", PHASE_READ_NEW, "SELECT 1", ", inovicez", 79000, " FROM inovices"},
	{"operators, all that may be", PHASE_READ_NEW, "SELECT 1", ", 1+1+1+1+1", 24000, " FROM inovices"},
	{"constants at the bound", PHASE_DUAL_WRITE, "INSERT INTO inovices VALUES (1, -2, 'abc', NULL)", ",\n(1, -2, 'abcdefgh, ijklmnop', NULL)", 49900, ""},
	{"nulls at the bound", PHASE_READ_NEW, "SELECT 1", ", NULL", 199000, " FROM inovices"},
	{"nulls of 4 MB", PHASE_READ_NEW, "SELECT 1", ", NULL", 490000, " FROM inovices"},
	{"the name 400,000 times", PHASE_READ_NEW, "SELECT 1", ", inovices", 400000, " FROM inovices"},
};
/* clang-format on */

static char *text_of(const struct statement *s)
{
	size_t unit = strlen(s->unit);
	char *text =
	    malloc(strlen(s->before) + unit * s->n + strlen(s->after) + 1);
	char *out = stpcpy(text, s->before);

	for (size_t i = 0; i < s->n; i++)
		out = mempcpy(out, s->unit, unit);
	strcpy(out, s->after);
	return text;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

enum { ROUNDS = 5 };

static int compare_times(const void *left, const void *right)
{
	const double *l = left, *r = right;

	return (*l > *r) - (*l < *r);
}

static double median(double *took)
{
	qsort(took, ROUNDS, sizeof(*took), compare_times);
	return took[ROUNDS / 2];
}

static double plan_us(const struct rewrite_request *req, unsigned times,
		      struct arena *a, const struct plan **ret)
{
	double took[ROUNDS];

	for (unsigned round = 0; round < ROUNDS; round++) {
		double start = now_us();

		for (unsigned i = 0; i < times; i++) {
			arena_reset(a);
			*ret = rewrite_plan(req, a);
		}
		took[round] = (now_us() - start) / times;
	}
	return median(took);
}

static double cached_us(const struct rewrite_request *req, unsigned times)
{
	struct cache *cache = cache_create(1000);
	double took[ROUNDS];

	for (unsigned round = 0; round < ROUNDS; round++) {
		double start = now_us();

		for (unsigned i = 0; i < times; i++)
			planned_unref(cache_get(cache, req));
		took[round] = (now_us() - start) / times;
	}
	cache_free(cache);
	return median(took);
}

static void measure(const struct model *model, const struct statement *s)
{
	static const char *const kinds[] = {"?", "pass", "edit", "refuse"};
	struct arena keep, a;
	char *sql = text_of(s);
	struct rewrite_request req = {
	    .sql = sql, .len = strlen(sql), .read_new = true};
	bool large = req.len > 10000;
	const struct plan *plan = NULL;
	double us;

	arena_init(&keep);
	arena_init(&a);
	req.rules = model_rules(model, s->phase, false, 0, &keep);
	us = plan_us(&req, large ? 1 : 5000, &a, &plan);
	printf("%-28s %8zu bytes  %-6s %-5s %10.2f us", s->name, req.len,
	       kinds[plan->kind], plan->refusal.sqlstate, us);
	if (!large)
		printf("   cached %6.2f us", cached_us(&req, 20000));
	printf("\n");
	arena_free(&a);
	arena_free(&keep);
	free(sql);
}

int main(int argc, char **argv)
{
	const struct model *model;
	struct arena a;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: bench_rewrite SCHEMA_FILE [NAME]\n");
		return 2;
	}
	arena_init(&a);
	model = model_read(argv[1], &a);
	for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++)
		if (argc == 2 || strcmp(argv[2], statements[i].name) == 0)
			measure(model, &statements[i]);
	arena_free(&a);
	return 0;
}

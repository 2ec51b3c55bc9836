#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/ruleset.h"

#define SIXTY "n23456789_123456789_123456789_123456789_123456789_123456789_"

/* Old and new names of one lens each, all in schema public. */
/* clang-format off */
static const struct relation relations[] = {
	{.schema = "public", .name = "inovices"},
	{.schema = "public", .name = "invoices"},
	{.schema = "public", .name = "Orders"},
	{.schema = "shop", .name = "orders"},
	{.schema = "public", .name = "odd \"one\""},
	{.schema = "public", .name = "a$b"},
	{.schema = "public", .name = SIXTY "123"},
	{.schema = "public", .name = "r\303\251sum"},
};
/* clang-format on */

enum { LENSES = sizeof(relations) / sizeof(*relations) / 2 };

static struct lens lenses[LENSES];
static const struct lens *lens_list[LENSES];
static const struct spec specs[] = {{.name = "one"}, {.name = "two"}};

static bool build(struct arena *a, size_t n_migrations,
		  const struct ruleset **ret, struct problem *p)
{
	const struct rule_migration m[] = {
	    {.spec = &specs[0], .n_lenses = LENSES, .lenses = lens_list},
	    {.spec = &specs[1], .n_lenses = 1, .lenses = lens_list + 1},
	};
	const struct ruleset_input in = {.serial = 9,
					 .database = "shop",
					 .n_migrations = n_migrations,
					 .migrations = m};

	for (size_t i = 0; i < LENSES; i++) {
		lenses[i].old = &relations[2 * i];
		lenses[i].new = &relations[2 * i + 1];
		lens_list[i] = &lenses[i];
	}
	return ruleset_build(&in, a, ret, p);
}

/* clang-format off */
static const struct {
	const char *sql;
	bool mentions;
} texts[] = {
	{"SELECT * FROM inovices", true},
	{"inovices", true},
	{"select*from InoVICES;", true},
	{"SELECT * FROM public.inovices", true},
	{"SELECT * FROM \"inovices\"", true},
	{"SELECT 'it''s \"' FROM inovices", true},
	{"SELECT $x$ $x$inovices", true},
	{"/* ' */ TABLE inovices", true},
	{"SELECT * FROM old_inovices", false},
	{"SELECT * FROM inovices2", false},
	{"SELECT * FROM inovices\303\251", false},
	{"SELECT * FROM \303\251inovices", false},
	{"SELECT * FROM inovice", false},
	{"SELECT * FROM \"Orders\"", true},
	{"SELECT * FROM ORDERS", true},		/* shop.orders */
	{"SELECT * FROM \"ORDERS\"", true},	/* a false yes */
	{"SELECT * FROM \"odd \"\"one\"\"\"", true},
	{"SELECT * FROM \"odd \"one\"", false},
	{"SELECT * FROM A$B, c", true},
	{"SELECT * FROM a$bc", false},
	{"SELECT * FROM " SIXTY "123", true},
	{"SELECT * FROM " SIXTY "123456", true},	/* cut by the server */
	{"SELECT * FROM " SIXTY "12", false},
	{"SELECT * FROM r\303\251sum", true},
	{"SELECT * FROM R\303\251SUM", true},
	{"SELECT * FROM U&\"\\0069novices\"", true},
	{"SELECT * FROM u&\"x\"", true},
	{"SELECT a&b FROM c", false},
	{"SELECT u & \"b\" FROM c", false},
	{"SELECT 1", false},
	{"", false},
	{"i", false},
	{"\"", false},
	{"&", false},
	{"u&", false},
};
/* clang-format on */

static void the_filter_never_says_a_false_no(void **state)
{
	const struct ruleset *r;
	struct problem p;
	struct arena a;

	arena_init(&a);
	assert_true(build(&a, 1, &r, &p));
	assert_int_equal(r->n_names, 2 * LENSES);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (ruleset_mentions(r, texts[i].sql, strlen(texts[i].sql)) !=
		    texts[i].mentions)
			fail_msg("%s", texts[i].sql);
	/* The length is the end, not a NUL. */
	assert_false(ruleset_mentions(r, "inovices", 7));
	assert_true(ruleset_mentions(r, "\0 inovices", 10));
	arena_free(&a);
}

static void a_ruleset_without_migrations_mentions_nothing(void **state)
{
	const struct ruleset *r;
	struct problem p;
	struct arena a;

	arena_init(&a);
	assert_true(build(&a, 0, &r, &p));
	assert_false(ruleset_mentions(r, "inovices", 8));
	assert_null(ruleset_probe_sql(r, &a));
	arena_free(&a);
}

static void one_relation_belongs_to_one_migration(void **state)
{
	const struct ruleset *r;
	struct problem p;
	struct arena a;

	arena_init(&a);
	assert_false(build(&a, 2, &r, &p));
	assert_string_equal(p.message, "public.Orders is under migration "
				       "twice, in one and two");
	arena_free(&a);
}

/* clang-format off */
static const struct {
	const char *sql;
	bool may;
} changes[] = {
	{"SET search_path = a, b", true},
	{"set local SEARCH_PATH to a", true},
	{"SET \"search_path\" = a", true},
	{"SET SCHEMA 'a'", true},
	{"SELECT pg_catalog.set_config('x', 'y', false)", true},
	{"SET ROLE bob", true},
	{"SET SESSION AUTHORIZATION bob", true},
	{"RESET ALL", true},
	{"SET pgtandem.shape = new", true},
	{"SET \"pgtandem\".\"shape\" TO 'new'", true},
	{"DISCARD ALL", true},
	{"CREATE TEMP TABLE inovices (a int)", true},
	{"CREATE TABLE inovices (a int)", true},
	{"SELECT 1 AS a INTO TEMPORARY inovices", true},
	{"DROP TABLE app.inovices", true},
	{"ALTER TABLE x RENAME TO inovices", true},
	{"ROLLBACK TO SAVEPOINT a", true},
	{"ROLLBACK/**/TO a", true},
	{"SET U&\"search\\005fpath\" = a", true},
	{"SELECT 1; SET search_path = a", true},
	{"SELECT 1;RESET search_path", true},
	{"ROLLBACK", false},
	{"BEGIN", false},
	{"COMMIT", false},
	{"SELECT abalance FROM pgbench_accounts WHERE aid = 5", false},
	{"INSERT INTO inovices (template, roles) VALUES ('x')", false},
	{"UPDATE inovices SET amount = 1, temperature = 3", false},
	{"SELECT * FROM information_schema.tables", false},
	{"SELECT attempt, droplet, recreate FROM a", false},
	{"SAVEPOINT a", false},
	{"SET statement_timeout = 5", false},
	{"", false},
};
/* clang-format on */

static void what_may_change_names_is_seen(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
		if (sql_may_change_names(changes[i].sql,
					 strlen(changes[i].sql)) !=
		    changes[i].may)
			fail_msg("%s", changes[i].sql);
}

static void a_probe_asks_for_every_name(void **state)
{
	const struct ruleset *r;
	struct problem p;
	struct arena a;
	const char *sql;

	arena_init(&a);
	assert_true(build(&a, 1, &r, &p));
	sql = ruleset_probe_sql(r, &a);
	assert_non_null(strstr(sql, "(0, 'public'::pg_catalog.name, "
				    "'inovices'::pg_catalog.name), (1, "));
	assert_non_null(strstr(sql, "(4, 'public'::pg_catalog.name, "
				    "'odd \"one\"'::pg_catalog.name)"));
	assert_int_equal(ruleset_probe_mask("00110", 5), 6);
	assert_true(ruleset_probe_mask("10110", 5) == (RULESET_NEW_SHAPE | 6));
	assert_int_equal(ruleset_probe_mask("", 0), 0);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_filter_never_says_a_false_no),
	    cmocka_unit_test(a_ruleset_without_migrations_mentions_nothing),
	    cmocka_unit_test(one_relation_belongs_to_one_migration),
	    cmocka_unit_test(what_may_change_names_is_seen),
	    cmocka_unit_test(a_probe_asks_for_every_name),
	};

	return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}

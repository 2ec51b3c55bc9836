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
	assert_string_equal(
	    p.message,
	    "public.Orders is under migration twice, in one and two: put "
	    "its columns into one lens, or begin the second when the first "
	    "is contracted");
	arena_free(&a);
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
	assert_non_null(strstr(sql, "'{\"public\",\"public\","));
	assert_non_null(strstr(sql, "'{\"inovices\",\"invoices\","));
	assert_non_null(strstr(sql, ",\"odd \\\\\"one\\\\\"\","));
	arena_free(&a);
}

static void an_answer_says_what_is_hidden(void **state)
{
	struct session_names n;

	assert_false(ruleset_probe_read("", 0, &n));
	assert_false(ruleset_probe_read("00000", 5, &n));
	assert_true(ruleset_probe_read("00110", 5, &n));
	assert_false(n.new_shape || names_hide(&n, 0) || names_hide(&n, 3));
	assert_true(names_hide(&n, 1) && names_hide(&n, 2));
	assert_true(ruleset_probe_read("10000", 5, &n));
	assert_true(n.new_shape);
	assert_false(names_hide(&n, 0) || names_hide(NULL, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_ruleset_without_migrations_mentions_nothing),
	    cmocka_unit_test(one_relation_belongs_to_one_migration),
	    cmocka_unit_test(an_answer_says_what_is_hidden),
	    cmocka_unit_test(a_probe_asks_for_every_name),
	};

	return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}

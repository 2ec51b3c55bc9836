#include "rewrite/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct relation old = {.schema = "public", .name = "inovices"};
static const struct relation new = {.schema = "shop", .name = "invoices"};
static const struct lens lens = {.old = &old, .new = &new};
static const struct rule_migration migration = {.phase = PHASE_NEW_ONLY};
static const struct rule_name name = {
    .shape = SHAPE_OLD, .rule = &migration, .through = &lens};
static const struct ruleset rules = {
    .n_migrations = 1,
    .migrations = &migration,
    .n_names = 1,
    .names = &name,
};

/* clang-format off */
static const struct {
	const char *said, *told;
} cases[] = {
	{"no privileges were granted for \"invoices\"",
	 "no privileges were granted for \"inovices\""},
	{"analyzing \"shop.invoices\"", "analyzing \"public.inovices\""},
	{"vacuuming \"d.shop.invoices\"", "vacuuming \"d.public.inovices\""},
	{"\"invoices\" and \"invoices\"", "\"inovices\" and \"inovices\""},
	{"\"other.invoices\"", "\"other.invoices\""},
	{"\"old_invoices\"", "\"old_invoices\""},
	{"\"workshop.invoices\"", "\"workshop.invoices\""},
	{"all invoices are gone", "all invoices are gone"},
	{"a \"quote that does not end", "a \"quote that does not end"},
	{"", ""},
};
/* clang-format on */

static const char *tell(const struct plan *plan, const char *said,
			const char *context, struct arena *a)
{
	struct error_names e = {
	    .sqlstate = "00000", .message = said, .context = context};

	plan_map_notice(plan, &rules, &e, a);
	return e.message;
}

static void quoted_names_are_the_old_ones(void **state)
{
	const struct plan plan = {.old_shape = 1};
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(tell(&plan, cases[i].said, NULL, &a),
				    cases[i].told);
	arena_free(&a);
}

static void what_a_function_of_the_clients_says_stays(void **state)
{
	const struct plan plan = {.old_shape = 1};
	struct arena a;

	arena_init(&a);
	assert_string_equal(tell(&plan, "see \"invoices\"",
				 "PL/pgSQL function f() line 1 at RAISE", &a),
			    "see \"invoices\"");
	arena_free(&a);
}

static void the_new_shape_is_told_its_own_names(void **state)
{
	const struct plan plan = {.old_shape = 0};
	struct arena a;

	arena_init(&a);
	assert_string_equal(tell(&plan, "see \"invoices\"", NULL, &a),
			    "see \"invoices\"");
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(quoted_names_are_the_old_ones),
	    cmocka_unit_test(what_a_function_of_the_clients_says_stays),
	    cmocka_unit_test(the_new_shape_is_told_its_own_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

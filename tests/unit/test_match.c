#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/match.h"

/* clang-format off */
static const struct {
	const char *old, *collation, *new;
	const char *literal; /* NULL: it cannot be looked up */
} pairs[] = {
	{"integer", NULL, "bigint", "pg_catalog.int4"},
	{"integer", NULL, "int8", "pg_catalog.int4"},
	{"bigint", NULL, "numeric(12,2)", "pg_catalog.int8"},
	{"character varying(12)", NULL, "text", "pg_catalog.text"},
	{"character(3)", NULL, "varchar(3)", "pg_catalog.bpchar"},
	{"timestamp(3) without time zone", NULL, "timestamptz",
	 "pg_catalog.timestamp"},
	{"uuid", NULL, "bytea", "pg_catalog.uuid"},
	/* 1.0 = 1.00, unless the column has a scale */
	{"numeric", NULL, "bigint", NULL},
	{"numeric(8,2)", NULL, "bigint", "pg_catalog.numeric"},
	/* -0 = 0; a collation may ignore case; a domain may be anything */
	{"double precision", NULL, "bigint", NULL},
	{"text", "public.ci", "text", NULL},
	{"public.citext", NULL, "text", NULL},
	{"integer[]", NULL, "bigint", NULL},
	/* json has no "="; whether another type has is not known */
	{"text", NULL, "json", NULL},
	{"text", NULL, "public.status", NULL},
	{"text", NULL, "text[]", NULL},
};
/* clang-format on */

static void only_exact_types_are_looked_up(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		const struct column old = {.type = pairs[i].old,
					   .collation = pairs[i].collation};
		const struct column new = {.type = pairs[i].new};
		const char *text[] = {"", ""};
		unsigned column[] = {0};
		const struct lens_new made = {
		    .column = &new, .forward = {1, text, column, true, {0}}};
		const struct match *m = match_make(&old, &made, true, &a);

		if (pairs[i].literal == NULL)
			assert_null(m);
		else
			assert_string_equal(m->type->literal, pairs[i].literal);
	}
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_exact_types_are_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

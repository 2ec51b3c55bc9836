#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/lens/match.h"
#include "rewrite/lens/template.h"

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

/* clang-format off */
static const struct {
	const char *old, *forward, *new;
	const char *low, *high; /* NULL: it may fail anywhere */
	bool total, ranges;
} forwards[] = {
	{"integer", "(v * 100)::bigint", "bigint",
	 "'-21474836'::pg_catalog.int4", "'21474836'::pg_catalog.int4",
	 false, true},
	{"integer", "v::bigint * 100", "bigint",
	 "'-2147483648'::pg_catalog.int4", "'2147483647'::pg_catalog.int4",
	 false, true},
	{"integer", "v", "smallint",
	 "'-32768'::pg_catalog.int4", "'32767'::pg_catalog.int4", false, true},
	{"integer", "v + 7", "integer",
	 "'-2147483648'::pg_catalog.int4", "'2147483640'::pg_catalog.int4",
	 false, true},
	{"smallint", "v * 3 - 7", "integer",
	 "'-32768'::pg_catalog.int4", "'32767'::pg_catalog.int4", false, true},
	{"bigint", "v * 1000", "bigint",
	 "'-9223372036854775'::pg_catalog.int8",
	 "'9223372036854775'::pg_catalog.int8", false, true},
	{"integer", "v * 100.0", "numeric(12,2)", NULL, NULL, false, false},
	{"integer", "v::numeric * 100", "numeric(6,2)",
	 "'-99'::pg_catalog.int4", "'99'::pg_catalog.int4", false, true},
	{"numeric(8,2)", "(v * 100)::bigint", "bigint",
	 "-999999.99", "999999.99", false, true},
	{"numeric(8,2)", "(v * 10000)::integer", "integer",
	 NULL, NULL, false, false},
	{"integer", "-v", "integer", NULL, NULL, false, false},
	{"integer", "v / 2", "integer", NULL, NULL, false, false},
	{"integer", "v * v", "bigint", NULL, NULL, false, false},
	{"text", "lower(v)", "text", NULL, NULL, true, false},
	{"text", "'+49' || substr(v, 2)", "varchar(20)",
	 NULL, NULL, true, false},
	{"text", "substr(v, 2, -1)", "text", NULL, NULL, false, false},
	{"text", "split_part(v, ',', 1)", "text", NULL, NULL, false, false},
	{"text", "v::integer::text", "text", NULL, NULL, false, false},
	{"text", "lower(v)", "bytea", NULL, NULL, false, false},
	{"boolean", "CASE WHEN v THEN 'Y' ELSE 'N' END", "char(1)",
	 NULL, NULL, true, false},
	{"uuid", "replace(v::text, '-', '')", "text", NULL, NULL, true, false},
	{"date", "v::timestamp", "timestamp without time zone",
	 NULL, NULL, true, true},
	{"timestamp without time zone", "v AT TIME ZONE 'UTC'",
	 "timestamp with time zone", NULL, NULL, true, true},
	{"timestamp without time zone", "v AT TIME ZONE 'Europe/Berlin'",
	 "timestamp with time zone", NULL, NULL, false, false},
};
/* clang-format on */

static void same_text(const char *left, const char *right)
{
	if (right == NULL)
		assert_null(left);
	else
		assert_string_equal(left, right);
}

static void where_a_forward_may_fail_is_known_or_it_may_anywhere(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < sizeof(forwards) / sizeof(*forwards); i++) {
		const struct column old = {.name = "v",
					   .type = forwards[i].old};
		const struct column new = {.type = forwards[i].new};
		struct lens_new made = {.column = &new};
		const struct match *m;
		struct problem p;

		assert_true(template_parse(forwards[i].forward, &old, 1, NULL,
					   &a, &made.forward, &p));
		m = match_make(&old, &made, true, &a);
		assert_non_null(m);
		same_text(m->low, forwards[i].low);
		same_text(m->high, forwards[i].high);
		assert_int_equal(m->total, forwards[i].total);
		assert_int_equal(m->ranges, forwards[i].ranges);
	}
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		where_a_forward_may_fail_is_known_or_it_may_anywhere),
	    cmocka_unit_test(only_exact_types_are_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "rewrite/text/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "rewrite/rewrite.h"

static const struct rule_name name = {
    .schema = "public",
    .name = "inovices",
    .shape = SHAPE_OLD,
};
static struct ruleset rules = {
    .n_names = 1,
    .names = &name,
    .max_statement_bytes = 4 << 20,
};

/* before, n times unit, after */
static char *repeat(const char *before, const char *unit, size_t n,
		    const char *after)
{
	size_t len = strlen(unit);
	char *text = malloc(strlen(before) + n * len + strlen(after) + 1);
	char *out = stpcpy(text, before);

	for (size_t i = 0; i < n; i++)
		out = mempcpy(out, unit, len);
	strcpy(out, after);
	return text;
}

struct shape_case {
	const char *before, *unit;
	size_t n;
	const char *after;
	bool over;
};

static const struct shape_case cases[] = {
    {"select * from inovices", "", 1, "", false},
    {"select 1", "+1", 500000, " from inovices", true},
    {"select ", "- ", 500000, "1 from inovices", true},
    {"select ", "not ", 250000, "true from inovices", true},
    {"select ", "(", 500000, "1 from inovices", true},
    {"select ", "(", 150, "1 from inovices", false},
    {"select * from inovices where id in (select ", "(select ", 100000, "1",
     true},
    {"select 1 from inovices ", "/*", 9, "", true},
    {"select 1 from inovices ", "/* a */ ", 100000, "", false},
    {"select 1 from inovices ", "/*", 400000, "", true},
    {"select id from inovices", " union select 1", 100000, "", true},
    {"select 1 from inovices", " join b on true", 50000, "", true},
    {"select 1", ", null", 200000, " from inovices", true},
    {"select a", "[1]", 100000, " from inovices", true},
    {"select a", ".a", 100000, " from inovices", true},
    {"select 1", "::int", 100000, " from inovices", true},
    {"select 1 from inovices", ";select 1", 100000, "", true},
    {"select 1", ",1", 900000, " from inovices", true},
    {"select 1", ", a", 100000, " from inovices", true},
    {"select 1", ", null", 199000, " from inovices", false},
    {"select 1 from inovices where id in (1", ", (select 1)", 6000, ")", true},
    {"insert into inovices values (1, -2, 'abc', null)",
     ",\n(1, -2, 'abcdefgh, ijklmnop', null)", 49000, "", false},
    {"select 1 from inovices where a = 1", " or a = 1", 5000, "", false},
    {"select 1 from inovices where id in (1", ",1", 199000, ")", false},
    {"select 'a", "aaaaaaaaaa", 500000, "' from inovices", true},
};

static void each_bound_holds_and_lets_real_statements_pass(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct shape_case *c = &cases[i];
		char *sql = repeat(c->before, c->unit, c->n, c->after);
		struct limits l;

		limits_scan(sql, strlen(sql), &rules, &l);
		if (l.over != c->over)
			fail_msg("%s%s...: %s", c->before, c->unit,
				 l.problem.detail);
		assert_int_equal(l.any_named, 1);
		if (l.over)
			assert_string_equal(l.problem.sqlstate, "54001");
		free(sql);
	}
}

/* Of this thread's own: other programs' time does not count. */
static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The scan itself must not stall the thread: half a second is far beyond what
 * it takes even under a sanitizer, far below anything quadratic. */
static void the_scan_takes_linear_time(void **state)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct shape_case *c = &cases[i];
		char *sql = repeat(c->before, c->unit, c->n, c->after);
		double start = now_ms();
		struct limits l;

		limits_scan(sql, strlen(sql), &rules, &l);
		assert_true(now_ms() - start < 500);
		free(sql);
	}
}

static void names_are_found_where_names_stand(void **state)
{
	static const struct {
		const char *sql;
		bool named, unicode, strings;
	} texts[] = {
	    {"select * from Inovices", true, false, false},
	    {"select * from \"inovices\"", true, false, false},
	    {"select 'inovices'", false, false, true},
	    {"select 1 -- inovices", false, false, false},
	    {"select 1 /* inovices */", false, false, false},
	    {"select U&\"inovices\"", false, true, false},
	    {"do $$ delete from inovices $$", false, false, true},
	    {"select inovices_id", false, false, false},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct limits l;

		limits_scan(texts[i].sql, strlen(texts[i].sql), &rules, &l);
		assert_int_equal(l.any_named, texts[i].named);
		assert_int_equal(l.unicode, texts[i].unicode);
		assert_int_equal(l.strings, texts[i].strings);
	}
}

static int index_names(void **state)
{
	struct arena *a = calloc(1, sizeof(*a));

	rules.index = name_index_make(&name, 1, a);
	*state = a;
	return 0;
}

static int forget_names(void **state)
{
	arena_free(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_bound_holds_and_lets_real_statements_pass),
	    cmocka_unit_test(the_scan_takes_linear_time),
	    cmocka_unit_test(names_are_found_where_names_stand),
	};

	return cmocka_run_group_tests(tests, index_names, forget_names);
}

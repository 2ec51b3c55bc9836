#include "rewrite/prepared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const verbs[] = {
    [PREPARED_MAKES] = "makes",		[PREPARED_RUNS] = "runs",
    [PREPARED_USES] = "uses",		[PREPARED_DROPS] = "drops",
    [PREPARED_DROPS_ALL] = "drops all",
};

/* "0 makes p, 2 runs q" */
static void check(const char *sql, const char *expected)
{
	struct prepared_uses u;
	char said[512] = "";
	size_t at = 0;
	struct arena a;

	arena_init(&a);
	prepared_scan(sql, strlen(sql), &a, &u);
	for (size_t i = 0; i < u.n; i++)
		at += (size_t)snprintf(said + at, sizeof(said) - at,
				       "%s%u %s %s", i ? ", " : "", u.v[i].at,
				       verbs[u.v[i].verb],
				       u.v[i].name ? u.v[i].name : "-");
	assert_string_equal(said, expected);
	assert_true(u.n == 0 || prepared_mentions(sql, strlen(sql)));
	arena_free(&a);
}

static void first_words_tell(void **state)
{
	check("PREPARE p AS SELECT 1", "0 makes p");
	check("prepare P (int, text) as select $1", "0 makes p");
	check("PREPARE TRANSACTION 'x'", "");
	check("/* x */ EXECUTE \"P \"\"q\"(1)", "0 runs P \"q");
	check("EXECUTE U&\"p\"", "0 runs -");
	check("DEALLOCATE p", "0 drops p");
	check("DEALLOCATE PREPARE p", "0 drops p");
	check("DEALLOCATE ALL; DISCARD ALL; DISCARD PLANS",
	      "0 drops all -, 1 drops all -");
	check("EXPLAIN ANALYZE EXECUTE p (1)", "0 uses p");
	check("EXPLAIN (COSTS OFF) EXECUTE p", "0 uses p");
	check("CREATE TEMP TABLE t (a) AS EXECUTE p", "0 uses p");
	check("GRANT EXECUTE ON FUNCTION f() TO x", "");
	check("CREATE TRIGGER t AFTER INSERT ON x EXECUTE FUNCTION f()", "");
	check("SELECT 'EXECUTE p'", "");
	check("", "");
}

static void statements_are_counted_as_the_server_does(void **state)
{
	check(";; PREPARE p AS SELECT ';' ;\n; EXECUTE p; -- ;\nDEALLOCATE p;",
	      "0 makes p, 1 runs p, 2 drops p");
	check("CREATE RULE r AS ON INSERT TO x DO (SELECT 1; SELECT 2); "
	      "EXECUTE p",
	      "1 runs p");
}

static void statements_have_their_bytes(void **state)
{
	static const char sql[] = " SELECT 1; PREPARE p AS SELECT 2 ; ";
	struct prepared_uses u;
	struct arena a;

	arena_init(&a);
	prepared_scan(sql, sizeof(sql) - 1, &a, &u);
	assert_int_equal(u.n, 1);
	assert_int_equal(u.n_statements, 2);
	assert_int_equal(u.v[0].to - u.v[0].from, 21);
	assert_memory_equal(sql + u.v[0].from, "PREPARE p AS SELECT 2", 21);
	arena_free(&a);
}

static void bodies_make_numbers_unsure(void **state)
{
	static const char sql[] = "CREATE FUNCTION f() RETURNS int BEGIN "
				  "ATOMIC SELECT 1; END; EXECUTE p";
	struct prepared_uses u;
	struct arena a;

	arena_init(&a);
	prepared_scan(sql, sizeof(sql) - 1, &a, &u);
	assert_true(u.unsure);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(first_words_tell),
	    cmocka_unit_test(statements_are_counted_as_the_server_does),
	    cmocka_unit_test(statements_have_their_bytes),
	    cmocka_unit_test(bodies_make_numbers_unsure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

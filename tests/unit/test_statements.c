#include "daemon/net/statements.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct statement *make(const char *name)
{
	return statement_create(name, strlen(name), "select 1", 8, 0, NULL);
}

static void a_name_finds_its_statement(void **state)
{
	struct statements t;
	char name[16];

	(void)state;
	statements_init(&t);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		assert_null(statements_put(&t, make(name)));
	}
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		assert_string_equal(
		    statements_find(&t, name, strlen(name))->name, name);
	}
	assert_null(statements_find(&t, "s", 1));
	assert_null(statements_find(&t, "", 0));
	statements_free(&t);
}

static void putting_gives_back_what_was_replaced(void **state)
{
	struct statements t;
	struct statement *first = make("a"), *second = make("a"), *before;

	(void)state;
	statements_init(&t);
	assert_null(statements_put(&t, make("b")));
	assert_null(statements_put(&t, first));
	before = statements_put(&t, second);
	assert_ptr_equal(before, first);
	assert_ptr_equal(statements_find(&t, "a", 1), second);
	assert_int_equal(t.n, 2);
	statement_unref(before);
	statements_free(&t);
}

static void taking_leaves_the_others(void **state)
{
	struct statements t;
	struct statement *s;

	(void)state;
	statements_init(&t);
	assert_null(statements_put(&t, make("a")));
	assert_null(statements_put(&t, make("b")));
	assert_null(statements_put(&t, make("")));
	s = statements_take(&t, "a", 1);
	assert_string_equal(s->name, "a");
	statement_unref(s);
	assert_null(statements_take(&t, "a", 1));
	assert_non_null(statements_find(&t, "b", 1));
	assert_non_null(statements_find(&t, "", 0));
	statements_free(&t);
}

static void clearing_keeps_the_unnamed_one(void **state)
{
	struct statements t;

	(void)state;
	statements_init(&t);
	assert_null(statements_put(&t, make("a")));
	assert_null(statements_put(&t, make("")));
	statements_clear(&t);
	assert_null(statements_find(&t, "a", 1));
	assert_non_null(statements_find(&t, "", 0));
	statements_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_finds_its_statement),
	    cmocka_unit_test(putting_gives_back_what_was_replaced),
	    cmocka_unit_test(taking_leaves_the_others),
	    cmocka_unit_test(clearing_keeps_the_unnamed_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

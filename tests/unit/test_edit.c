#include "rewrite/text/edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char sql[] = "SELECT a FROM t";

static void edits_are_applied_in_the_order_of_the_text(void **state)
{
	struct plan plan = {0};
	struct edits e;
	struct arena a;

	arena_init(&a);
	edits_init(&e, &a);
	edit_insert(&e, 15, " AS u");
	edit_replace(&e, 14, 15, "(x)");
	edit_insert(&e, 15, " WHERE 1");
	edit_replace(&e, 7, 8, "");
	edit_insert(&e, 7, "b");
	assert_true(edits_apply(&e, sql, strlen(sql), &plan));
	assert_string_equal(plan.text, "SELECT b FROM (x) AS u WHERE 1");
	assert_int_equal(plan.len, strlen(plan.text));
	arena_free(&a);
}

static void the_map_says_what_stands_where(void **state)
{
	struct plan plan = {0};
	struct edits e;
	struct arena a;

	arena_init(&a);
	edits_init(&e, &a);
	edit_replace(&e, 14, 15, "new");
	edit_insert(&e, 7, "x, ");
	assert_true(edits_apply(&e, sql, strlen(sql), &plan));
	assert_int_equal(plan.n_edits, 2);
	assert_int_equal(plan.edits[0].from, 7);
	assert_int_equal(plan.edits[0].removed, 0);
	assert_int_equal(plan.edits[0].at, 7);
	assert_int_equal(plan.edits[0].added, 3);
	assert_int_equal(plan.edits[1].from, 14);
	assert_int_equal(plan.edits[1].removed, 1);
	assert_int_equal(plan.edits[1].at, 17);
	assert_memory_equal(plan.text + plan.edits[1].at, "new", 3);
	arena_free(&a);
}

static void a_copy_holds_what_is_edited_inside_it(void **state)
{
	static const char text[] = "SET a = b + (t) WHERE c";
	struct arena a;
	struct edits e;
	struct plan plan = {0};

	arena_init(&a);
	edits_init(&e, &a);
	edit_insert(&e, 0, "CHECK ");
	edit_copy(&e, 0, 8, 15);
	edit_insert(&e, 0, "; ");
	edit_insert(&e, 8, "CAST(");
	edit_replace(&e, 13, 14, "new");
	edit_insert(&e, 14, " x");
	edit_insert(&e, 15, " AS int)");
	assert_true(edits_apply(&e, text, strlen(text), &plan));
	assert_string_equal(plan.text,
			    "CHECK b + (new x); SET a = CAST(b + (new x) AS "
			    "int) WHERE c");
	assert_int_equal(plan.edits[1].source, 8);
	assert_true(plan.edits[1].verbatim);
	assert_int_equal(plan.edits[2].source, 13);
	assert_false(plan.edits[2].verbatim);
	assert_int_equal(plan.edits[3].source, PLAN_OURS);
	arena_free(&a);
}

static void a_copy_holds_the_copies_inside_it(void **state)
{
	static const char text[] = "SET a = (b = c) WHERE d";
	struct arena a;
	struct edits e;
	struct plan plan = {0};

	arena_init(&a);
	edits_init(&e, &a);
	edit_copy(&e, 0, 8, 15);
	edit_insert(&e, 14, " AND f(");
	edit_copy(&e, 14, 13, 14);
	edit_insert(&e, 14, ")");
	assert_true(edits_apply(&e, text, strlen(text), &plan));
	assert_string_equal(plan.text,
			    "(b = c AND f(c))SET a = (b = c AND f(c)) WHERE d");
	arena_free(&a);
}

static void overlapping_edits_are_refused(void **state)
{
	struct plan plan = {0};
	struct edits e;
	struct arena a;

	arena_init(&a);
	edits_init(&e, &a);
	edit_replace(&e, 0, 8, "x");
	edit_replace(&e, 7, 9, "y");
	assert_false(edits_apply(&e, sql, strlen(sql), &plan));
	assert_null(plan.text);
	edits_init(&e, &a);
	edit_replace(&e, 10, 16, "behind the end");
	assert_false(edits_apply(&e, sql, strlen(sql), &plan));
	arena_free(&a);
}

static void many_edits_keep_everything_between_them(void **state)
{
	char text[4001], want[6001];
	struct plan plan = {0};
	struct edits e;
	struct arena a;

	arena_init(&a);
	edits_init(&e, &a);
	memset(text, 'a', 4000);
	text[4000] = '\0';
	for (unsigned i = 0; i < 2000; i++) {
		memcpy(want + 3 * i, "bca", 3);
		edit_replace(&e, 2 * (1999 - i), 2 * (1999 - i) + 1, "bc");
	}
	want[6000] = '\0';
	assert_true(edits_apply(&e, text, 4000, &plan));
	assert_string_equal(plan.text, want);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(edits_are_applied_in_the_order_of_the_text),
	    cmocka_unit_test(the_map_says_what_stands_where),
	    cmocka_unit_test(a_copy_holds_what_is_edited_inside_it),
	    cmocka_unit_test(a_copy_holds_the_copies_inside_it),
	    cmocka_unit_test(overlapping_edits_are_refused),
	    cmocka_unit_test(many_edits_keep_everything_between_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

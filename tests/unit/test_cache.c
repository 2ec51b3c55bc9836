#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/cache.h"

static unsigned planned_count;

/* In place of the real one: a text with "read" in it depends on the side, one
 * with "huge" makes a large plan. */
const struct plan *rewrite_plan(const struct rewrite_request *req,
				struct arena *a)
{
	struct plan *plan = arena_alloc(a, sizeof(*plan));

	planned_count++;
	plan->kind = PLAN_PASS;
	plan->reads_new = memmem(req->sql, req->len, "read", 4) != NULL;
	if (memmem(req->sql, req->len, "huge", 4) != NULL)
		arena_alloc(a, 600 * 1024);
	return plan;
}

static const struct ruleset rules = {.serial = 1}, later = {.serial = 2};

static struct planned *get(struct cache *c, const char *sql,
			   const struct ruleset *r, bool new_shape,
			   bool read_new)
{
	static const struct session_names names = {.new_shape = true};
	const struct rewrite_request req = {.sql = sql,
					    .len = strlen(sql),
					    .rules = r,
					    .names = new_shape ? &names : NULL,
					    .read_new = read_new};

	return cache_get(c, &req);
}

static struct planned *get_flags(struct cache *c, const char *sql,
				 unsigned flags)
{
	const struct rewrite_request req = {
	    .sql = sql, .len = strlen(sql), .rules = &rules, .flags = flags};

	return cache_get(c, &req);
}

/* How many plans these make in a fresh cache. */
static void a_text_is_planned_once_per_key(void **state)
{
	struct cache *c = cache_create(100);
	struct planned *first = get(c, "SELECT 1", &rules, false, false);
	struct planned *again = get(c, "SELECT 1", &rules, false, true);
	struct planned *others[] = {
	    get(c, "SELECT 2", &rules, false, false),
	    get(c, "SELECT 1", &later, false, false),
	    get(c, "SELECT 1", &rules, true, false),
	    get(c, "read", &rules, false, false),
	    get(c, "read", &rules, false, true),
	    get_flags(c, "SELECT 1", REQUEST_WIDE),
	};
	struct cache_stats stats;

	assert_ptr_equal(first, again);
	assert_string_equal(first->sql, "SELECT 1");
	assert_int_equal(first->serial, 1);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		assert_ptr_not_equal(first, others[i]);
		planned_unref(others[i]);
	}
	assert_ptr_not_equal(others[3], others[4]);
	planned_unref(get(c, "read", &rules, false, false));
	cache_get_stats(c, &stats);
	assert_int_equal(stats.hits, 2);
	assert_int_equal(stats.misses, 7);
	assert_int_equal(stats.entries, 7);
	planned_unref(first);
	planned_unref(again);
	cache_free(c);
}

static void the_least_recently_used_goes_first(void **state)
{
	struct cache *c = cache_create(3);
	struct planned *held = get(c, "a", &rules, false, false);
	struct cache_stats stats;

	planned_unref(get(c, "b", &rules, false, false));
	planned_unref(get(c, "c", &rules, false, false));
	planned_unref(get(c, "a", &rules, false, false));
	planned_unref(get(c, "d", &rules, false, false)); /* b goes */
	cache_get_stats(c, &stats);
	assert_int_equal(stats.entries, 3);
	planned_count = 0;
	planned_unref(get(c, "c", &rules, false, false));
	planned_unref(get(c, "a", &rules, false, false));
	planned_unref(get(c, "d", &rules, false, false));
	assert_int_equal(planned_count, 0);
	planned_unref(get(c, "b", &rules, false, false));
	assert_int_equal(planned_count, 1);
	for (int i = 0; i < 3; i++) {
		char text[8];

		snprintf(text, sizeof(text), "x%d", i);
		planned_unref(get(c, text, &rules, false, false));
	}
	assert_string_equal(held->sql, "a"); /* gone, but held */
	planned_unref(held);
	cache_free(c);
}

static void large_texts_and_plans_are_not_kept(void **state)
{
	struct cache *c = cache_create(10);
	char *text = malloc(70 * 1024);
	struct cache_stats stats;

	memset(text, 'x', 70 * 1024);
	text[70 * 1024 - 1] = '\0';
	planned_unref(get(c, text, &rules, false, false));
	text[64 * 1024] = '\0';
	planned_unref(get(c, text, &rules, false, false));
	cache_get_stats(c, &stats);
	assert_int_equal(stats.entries, 1);
	assert_true(stats.bytes >= 64 * 1024);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, 16, "huge %d", i);
		planned_unref(get(c, text, &rules, false, false));
	}
	cache_get_stats(c, &stats);
	assert_true(stats.bytes <= 64 * 1024 * 1024);
	free(text);
	cache_free(c);
}

static void a_cache_of_nothing_still_plans(void **state)
{
	struct cache *c = cache_create(0);
	struct planned *p = get(c, "SELECT 1", &rules, false, false);
	struct planned *q = get(c, "SELECT 1", &rules, false, false);

	assert_ptr_not_equal(p, q);
	planned_ref(p);
	planned_unref(p);
	assert_int_equal(p->plan->kind, PLAN_PASS);
	planned_unref(p);
	planned_unref(q);
	cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_text_is_planned_once_per_key),
	    cmocka_unit_test(the_least_recently_used_goes_first),
	    cmocka_unit_test(large_texts_and_plans_are_not_kept),
	    cmocka_unit_test(a_cache_of_nothing_still_plans),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}

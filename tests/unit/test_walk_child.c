#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/lens/walk_sql.h"
#include "tests/unit/staff.h"

struct fixture {
	struct arena a;
	struct walk_sql to[2];
};

static int set_up(void **state)
{
	static struct fixture f;
	const struct lens *l;

	arena_init(&f.a);
	l = staff_lens(&f.a);
	if (l == NULL)
		return -1;
	walk_sql_make(l, WALK_TO_NEW, &f.a, &f.to[WALK_TO_NEW]);
	walk_sql_make(l, WALK_TO_OLD, &f.a, &f.to[WALK_TO_OLD]);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	arena_free(&f->a);
	return 0;
}

static void every_text_parses(void **state)
{
	struct fixture *f = *state;

	for (int d = 0; d < 2; d++) {
		const struct walk_sql *s = &f->to[d];
		const char *const texts[] = {
		    s->set_path,    s->count,	       s->target_count,
		    s->next,	    s->target_next,    s->rest,
		    s->target_rest, s->newest,	       s->target_is_empty,
		    s->insert_all,  s->insert_missing, s->differing,
		    s->stale,	    s->extra,	       s->compare,
		    s->lock_source, s->upsert_keys,    s->lock_target,
		    s->delete_keys, s->recheck,	       s->recheck_lossy};

		for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
			if (texts[i] != NULL)
				staff_parses(texts[i]);
	}
}

/* There is no unique key of the child's rows that an INSERT could stumble on,
 * and an UPDATE of old is not an INSERT at all. */
static void nothing_is_copied_without_a_lock(void **state)
{
	struct fixture *f = *state;

	for (int d = 0; d < 2; d++) {
		assert_null(f->to[d].insert_all);
		assert_null(f->to[d].insert_missing);
		assert_non_null(f->to[d].differing);
		assert_non_null(f->to[d].lock_source);
	}
}

/* The parent's row is locked in either direction: child rows come and go. */
static void a_key_is_locked_by_its_parent(void **state)
{
	struct fixture *f = *state;

	for (int d = 0; d < 2; d++)
		assert_non_null(
		    strstr(f->to[d].lock_source, "FROM public.employees AS s"));
}

static void what_a_key_has_is_set_by_the_lens_functions(void **state)
{
	struct fixture *f = *state;

	assert_non_null(strstr(f->to[WALK_TO_NEW].upsert_keys,
			       "pgtandem.stores_1_set_new("));
	assert_non_null(strstr(f->to[WALK_TO_OLD].upsert_keys,
			       "pgtandem.stores_1_set_old("));
}

static void both_directions_look_at_the_moved_column(void **state)
{
	struct fixture *f = *state;

	for (int d = 0; d < 2; d++) {
		assert_non_null(strstr(f->to[d].differing, "store_id"));
		assert_non_null(strstr(f->to[d].compare, "store_id"));
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(every_text_parses),
	    CASE(nothing_is_copied_without_a_lock),
	    CASE(a_key_is_locked_by_its_parent),
	    CASE(what_a_key_has_is_set_by_the_lens_functions),
	    CASE(both_directions_look_at_the_moved_column),
	};
#undef CASE

	return cmocka_run_group_tests(tests, NULL, NULL);
}

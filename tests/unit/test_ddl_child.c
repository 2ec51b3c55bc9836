#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/ddl/ddl.h"
#include "tests/unit/staff.h"

struct fixture {
	struct arena a;
	const struct lens *lens;
};

static int set_up(void **state)
{
	static struct fixture f;

	arena_init(&f.a);
	f.lens = staff_lens(&f.a);
	*state = &f;
	return f.lens == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	arena_free(&f->a);
	return 0;
}

/* How many steps of the move, in both its parts, have this text. */
static size_t count(struct fixture *f, enum phase from, enum phase to,
		    bool generated, const char *part)
{
	struct ddl_list list;
	size_t n = 0;

	for (int before = 0; before < 2; before++) {
		ddl_for_move(f->lens, from, to, before, generated, &f->a,
			     &list);
		for (size_t i = 0; i < list.n; i++)
			n += strstr(list.steps[i].sql, part) != NULL;
	}
	return n;
}

static void every_step_parses(void **state)
{
	struct fixture *f = *state;
	struct ddl_list list;

	for (unsigned i = 0; i < 4U * (PHASE_COUNT - 1); i++) {
		enum phase from = (enum phase)(i / 4 + (i & 1));
		enum phase to = (enum phase)(i / 4 + !(i & 1));

		if (from == PHASE_CONTRACTED) /* nothing leads back from it */
			continue;
		ddl_for_move(f->lens, from, to, (i & 2) != 0, true, &f->a,
			     &list);
		for (size_t n = 0; n < list.n; n++) {
			staff_parses(list.steps[n].sql);
			assert_true(list.steps[n].what[0] != '\0');
		}
	}
}

static void expanded_makes_the_child_table(void **state)
{
	assert_true(count(*state, PHASE_PLANNED, PHASE_EXPANDED, true,
			  "CREATE TABLE public.employeestores") == 1);
	assert_true(count(*state, PHASE_PLANNED, PHASE_EXPANDED, true,
			  "employee_id integer NOT NULL") == 1);
}

static void a_manual_model_is_not_touched(void **state)
{
	assert_true(count(*state, PHASE_PLANNED, PHASE_EXPANDED, false,
			  "CREATE TABLE public.employeestores") == 0);
	assert_true(count(*state, PHASE_NEW_ONLY, PHASE_CONTRACTED, false,
			  "DROP COLUMN") == 0);
}

static void contracted_drops_what_has_moved(void **state)
{
	assert_true(count(*state, PHASE_NEW_ONLY, PHASE_CONTRACTED, true,
			  "DROP COLUMN") == 1);
	assert_true(count(*state, PHASE_NEW_ONLY, PHASE_CONTRACTED, true,
			  "DROP TABLE public.employees") == 0);
}

static void back_in_planned_nothing_is_left(void **state)
{
	assert_true(count(*state, PHASE_EXPANDED, PHASE_PLANNED, true,
			  "DROP TABLE") == 1);
}

/* What it has in schema pgtandem stands in rewrite/lens/lens_child.h. */
static void the_functions_that_the_header_lists_are_made(void **state)
{
	static const char *const names[] = {
	    "stores_1_read_3",	"stores_1_pick_3",   "stores_1_stash",
	    "stores_1_put",	"stores_1_free",     "stores_1_set_new",
	    "stores_1_set_old", "stores_1_give_new",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		size_t n = 0;

		for (unsigned p = 0; p < PHASE_CONTRACTED; p++)
			n += count(f, (enum phase)p, (enum phase)(p + 1), true,
				   arena_fmt(&f->a, "FUNCTION pgtandem.%s(",
					     names[i]));
		if (n == 0)
			fail_msg("no phase makes %s", names[i]);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(every_step_parses),
	    CASE(expanded_makes_the_child_table),
	    CASE(a_manual_model_is_not_touched),
	    CASE(contracted_drops_what_has_moved),
	    CASE(back_in_planned_nothing_is_left),
	    CASE(the_functions_that_the_header_lists_are_made),
	};
#undef CASE

	return cmocka_run_group_tests(tests, NULL, NULL);
}

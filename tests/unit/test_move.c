#include "daemon/phase/move.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "daemon/phase/walks.h"

static const struct move *find(unsigned from, unsigned to)
{
	return move_find((enum phase)from, (enum phase)to);
}

static void a_move_goes_to_a_neighbour_and_back(void **state)
{
	for (unsigned from = 0; from < PHASE_COUNT; from++)
		for (unsigned to = 0; to < PHASE_COUNT; to++) {
			bool forward = to == from + 1;
			bool back = to + 1 == from && from != PHASE_CONTRACTED;
			const struct move *mv = find(from, to);

			assert_int_equal(mv != NULL, forward || back);
			if (mv == NULL)
				continue;
			assert_int_equal(mv->from, from);
			assert_int_equal(mv->to, to);
		}
}

/* Where writes or reads change sides, nobody may be two phases apart. */
static void only_expanded_is_entered_without_a_barrier(void **state)
{
	for (unsigned p = 0; p + 1 < PHASE_COUNT; p++) {
		const struct move *forward = find(p, p + 1);
		const struct move *back = find(p + 1, p);

		assert_int_equal(forward->barrier, p != PHASE_PLANNED);
		if (back != NULL)
			assert_true(back->barrier);
	}
}

static void
old_rows_are_locked_first_on_the_way_to_write_new_alone(void **state)
{
	for (unsigned from = 0; from < PHASE_COUNT; from++)
		for (unsigned to = 0; to < PHASE_COUNT; to++) {
			const struct move *mv = find(from, to);

			if (mv != NULL)
				assert_int_equal(mv->prelock,
						 from == PHASE_READ_NEW &&
						     to == PHASE_WRITE_NEW);
		}
}

static bool has_gate(const struct move *mv, gate_fn gate)
{
	for (size_t i = 0; i < MOVE_GATES && mv->gates[i] != NULL; i++)
		if (mv->gates[i] == gate)
			return true;
	return false;
}

/* Nothing is read, and nothing is written first, that is not filled and equal
 * to what the sessions before have seen. */
static void sides_change_only_when_both_are_equal(void **state)
{
	assert_true(
	    has_gate(find(PHASE_DUAL_WRITE, PHASE_READ_NEW), gate_equal));
	assert_true(
	    has_gate(find(PHASE_READ_NEW, PHASE_WRITE_NEW), gate_equal));
	assert_true(
	    has_gate(find(PHASE_WRITE_NEW, PHASE_NEW_ONLY), gate_equal));
	assert_true(
	    has_gate(find(PHASE_WRITE_NEW, PHASE_READ_NEW), gate_equal));
	assert_true(
	    has_gate(find(PHASE_NEW_ONLY, PHASE_CONTRACTED), gate_quiet));
}

/* From new_only on old is not written; on the way back it is filled again. */
static void a_side_that_was_not_written_is_filled(void **state)
{
	assert_true(find(PHASE_WRITE_NEW, PHASE_NEW_ONLY)->stale);
	assert_true(find(PHASE_NEW_ONLY, PHASE_WRITE_NEW)->fill);
	assert_true(find(PHASE_EXPANDED, PHASE_DUAL_WRITE)->fill);
}

static void a_walk_goes_from_the_side_that_is_written_first(void **state)
{
	/* clang-format off */
	static const struct {
		enum phase phase;
		bool kept;
		enum walk_direction d;
	} cases[] = {
		{PHASE_PLANNED, false, 0},
		{PHASE_EXPANDED, false, 0},
		{PHASE_DUAL_WRITE, true, WALK_TO_NEW},
		{PHASE_READ_NEW, true, WALK_TO_NEW},
		{PHASE_WRITE_NEW, true, WALK_TO_OLD},
		{PHASE_NEW_ONLY, false, 0},
		{PHASE_CONTRACTED, false, 0},
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum walk_direction d;
		bool kept = walk_direction_of(cases[i].phase, &d);

		assert_int_equal(kept, cases[i].kept);
		if (kept)
			assert_int_equal(d, cases[i].d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_move_goes_to_a_neighbour_and_back),
	    cmocka_unit_test(only_expanded_is_entered_without_a_barrier),
	    cmocka_unit_test(
		old_rows_are_locked_first_on_the_way_to_write_new_alone),
	    cmocka_unit_test(sides_change_only_when_both_are_equal),
	    cmocka_unit_test(a_side_that_was_not_written_is_filled),
	    cmocka_unit_test(a_walk_goes_from_the_side_that_is_written_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

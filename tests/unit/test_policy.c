#include "rewrite/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void every_policy_cell_is_decided(void **state)
{
	for (unsigned p = 0; p < PHASE_COUNT; p++)
		for (unsigned s = 0; s < SHAPE_COUNT; s++)
			for (unsigned u = 0; u < USE_COUNT; u++) {
				assert_int_not_equal(
				    policy_action(LENS_TABLE, p, s, u),
				    ACT_UNSET);
				assert_int_not_equal(
				    policy_action(LENS_COLUMNS, p, s, u),
				    ACT_UNSET);
			}
}

static void every_use_has_words(void **state)
{
	for (unsigned u = 0; u < USE_COUNT; u++)
		assert_non_null(use_what(u));
}

static void planned_carries_the_old_shape_as_it_is(void **state)
{
	for (unsigned u = 0; u < USE_COUNT; u++)
		assert_int_equal(
		    policy_action(LENS_TABLE, PHASE_PLANNED, SHAPE_OLD, u),
		    ACT_PASS);
	assert_false(
	    policy_needs_rewriting(LENS_TABLE, PHASE_PLANNED, SHAPE_OLD));
	assert_true(
	    policy_needs_rewriting(LENS_TABLE, PHASE_DUAL_WRITE, SHAPE_OLD));
}

/* A write that is neither synced nor on the only model loses data. */
static void no_write_passes_while_both_models_are_kept(void **state)
{
	static const enum use writes[] = {
	    USE_WRITE, USE_CTE_WRITE, USE_MERGE, USE_COPY_IN, USE_TRUNCATE,
	};

	for (unsigned p = PHASE_DUAL_WRITE; p <= PHASE_WRITE_NEW; p++)
		for (unsigned s = 0; s < SHAPE_COUNT; s++)
			for (size_t i = 0; i < sizeof(writes) / sizeof(*writes);
			     i++)
				assert_int_not_equal(
				    policy_action(LENS_TABLE, p, s, writes[i]),
				    ACT_PASS);
}

static void reads_move_before_writes(void **state)
{
	assert_int_equal(
	    policy_action(LENS_TABLE, PHASE_READ_NEW, SHAPE_OLD, USE_READ),
	    ACT_THROUGH_SHARE);
	assert_int_equal(
	    policy_action(LENS_TABLE, PHASE_READ_NEW, SHAPE_OLD, USE_LOCK),
	    ACT_PASS);
	assert_int_equal(
	    policy_action(LENS_TABLE, PHASE_READ_NEW, SHAPE_OLD, USE_WRITE),
	    ACT_SYNC);
	assert_int_equal(
	    policy_action(LENS_TABLE, PHASE_WRITE_NEW, SHAPE_OLD, USE_WRITE),
	    ACT_LENS_SYNC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_policy_cell_is_decided),
	    cmocka_unit_test(every_use_has_words),
	    cmocka_unit_test(planned_carries_the_old_shape_as_it_is),
	    cmocka_unit_test(no_write_passes_while_both_models_are_kept),
	    cmocka_unit_test(reads_move_before_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

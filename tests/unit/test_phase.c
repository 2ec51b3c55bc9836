#include "config/phase.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void phases_stand_in_the_order_of_a_migration(void **state)
{
	static const char *const order[] = {
	    "planned",	 "expanded", "dual_write", "read_new",
	    "write_new", "new_only", "contracted",
	};

	assert_int_equal(PHASE_COUNT, sizeof(order) / sizeof(order[0]));
	for (unsigned i = 0; i < PHASE_COUNT; i++)
		assert_string_equal(phase_name((enum phase)i), order[i]);
}

static void every_phase_is_found_by_its_name_in_any_case(void **state)
{
	for (unsigned i = 0; i < PHASE_COUNT; i++) {
		const char *name = phase_name((enum phase)i);
		char upper[32] = "";
		enum phase found;

		for (size_t j = 0; name[j] != '\0'; j++)
			upper[j] = name[j] == '_' ? '_' : name[j] - 32;
		assert_true(phase_from_name(name, strlen(name), &found));
		assert_int_equal(found, i);
		assert_true(phase_from_name(upper, strlen(upper), &found));
		assert_int_equal(found, i);
		assert_true(phase_what((enum phase)i)[0] != '\0');
	}
}

static void no_other_name_is_a_phase(void **state)
{
	static const char *const others[] = {
	    "", "plan", "plannedx", "dual-write", "new only", " planned",
	};
	enum phase found = PHASE_COUNT;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(
		    phase_from_name(others[i], strlen(others[i]), &found));
	assert_int_equal(found, PHASE_COUNT);
}

static void a_name_ends_where_its_length_says(void **state)
{
	enum phase found;

	assert_true(phase_from_name("read_new;", 8, &found));
	assert_int_equal(found, PHASE_READ_NEW);
	assert_false(phase_from_name("read_new", 4, &found));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(phases_stand_in_the_order_of_a_migration),
	    cmocka_unit_test(every_phase_is_found_by_its_name_in_any_case),
	    cmocka_unit_test(no_other_name_is_a_phase),
	    cmocka_unit_test(a_name_ends_where_its_length_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "config/problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void setting_a_problem_empties_what_was_there(void **state)
{
	struct problem p;

	memset(&p, 'x', sizeof(p));
	assert_false(problem_set(&p, "0A000", "%s is %d", "x", 7));
	assert_string_equal(p.sqlstate, "0A000");
	assert_string_equal(p.message, "x is 7");
	assert_string_equal(p.detail, "");
	assert_string_equal(p.hint, "");
	assert_int_equal(p.position, 0);
}

static void a_long_text_is_cut_and_ends(void **state)
{
	struct problem p;

	problem_set(&p, "0A000", "%2000s", "m");
	problem_detail(&p, "%2000s", "d");
	problem_hint(&p, "%2000s", "h");
	assert_int_equal(strlen(p.message), sizeof(p.message) - 1);
	assert_int_equal(strlen(p.detail), sizeof(p.detail) - 1);
	assert_int_equal(strlen(p.hint), sizeof(p.hint) - 1);
}

/* Length of the text without a broken character at its end. */
static size_t whole_characters(const char *s)
{
	size_t i = 0;

	while (s[i] != '\0') {
		unsigned char c = (unsigned char)s[i];
		size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

		if (strlen(s + i) < n)
			break;
		i += n;
	}
	return i;
}

static void the_cut_never_splits_a_character(void **state)
{
	static const char *const characters[] = {"\303\244", "\342\202\254",
						 "\360\237\220\230"};

	for (size_t pad = 500; pad < 520; pad++) {
		for (size_t c = 0; c < 3; c++) {
			struct problem p;

			problem_set(&p, "0A000", "%*s%s%s%s", (int)pad, "",
				    characters[c], characters[c],
				    characters[c]);
			assert_int_equal(whole_characters(p.message),
					 strlen(p.message));
			/* No more than one character is lost to the cut. */
			assert_true(strlen(p.message) >= 500);
		}
	}
}

static void printing_names_what_there_is(void **state)
{
	char text[200];
	struct problem p;

	problem_set(&p, "0A000", "cannot");
	problem_print(&p, text, sizeof(text));
	assert_string_equal(text, "cannot");
	problem_hint(&p, "do this");
	problem_print(&p, text, sizeof(text));
	assert_string_equal(text, "cannot\nHINT: do this");
	problem_detail(&p, "because");
	problem_print(&p, text, sizeof(text));
	assert_string_equal(text, "cannot\nDETAIL: because\nHINT: do this");
	problem_print(&p, text, 10);
	assert_string_equal(text, "cannot\nDE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(setting_a_problem_empties_what_was_there),
	    cmocka_unit_test(a_long_text_is_cut_and_ends),
	    cmocka_unit_test(the_cut_never_splits_a_character),
	    cmocka_unit_test(printing_names_what_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "config/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void memory_is_zeroed_and_aligned_at_every_size(void **state)
{
	struct arena a;

	arena_init(&a);
	for (size_t n = 0; n < 3000; n += 7) {
		unsigned char *p = arena_alloc(&a, n);

		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xFF, n);
	}
	arena_free(&a);
}

static void pieces_do_not_overlap(void **state)
{
	unsigned char *pieces[500];
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < 500; i++) {
		pieces[i] = arena_alloc(&a, i + 1);
		memset(pieces[i], (int)i & 0xFF, i + 1);
	}
	for (size_t i = 0; i < 500; i++) {
		for (size_t j = 0; j <= i; j++)
			assert_int_equal(pieces[i][j], i & 0xFF);
	}
	arena_free(&a);
}

static void what_is_larger_than_a_block_gets_its_own(void **state)
{
	struct arena a;
	char *large;

	arena_init(&a);
	arena_alloc(&a, 10);
	large = arena_alloc(&a, 3 * 1024 * 1024);
	memset(large, 1, 3 * 1024 * 1024);
	assert_true(a.used >= 3 * 1024 * 1024);
	arena_free(&a);
}

static void a_reset_keeps_the_first_block_and_zeroes_again(void **state)
{
	struct arena_block *first;
	struct arena a;
	char *p;

	arena_init(&a);
	p = memset(arena_alloc(&a, 100), 1, 100);
	first = a.blocks;
	arena_alloc(&a, 100000);
	assert_ptr_not_equal(a.blocks, first);
	arena_reset(&a);
	assert_ptr_equal(a.blocks, first);
	assert_int_equal(a.used, 0);
	assert_ptr_equal(arena_alloc(&a, 100), p);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	arena_free(&a);
}

static void a_freed_arena_is_as_new(void **state)
{
	struct arena a;

	arena_init(&a);
	arena_free(&a);
	arena_str(&a, "again");
	arena_free(&a);
	assert_null(a.blocks);
	assert_int_equal(a.used, 0);
}

static void texts_are_copied_with_a_nul(void **state)
{
	struct arena a;

	arena_init(&a);
	assert_string_equal(arena_dup(&a, "abcdef", 3), "abc");
	assert_string_equal(arena_dup(&a, NULL, 0), "");
	assert_string_equal(arena_str(&a, "whole"), "whole");
	assert_string_equal(arena_fmt(&a, "%d of %s", 3, "four"), "3 of four");
	assert_int_equal(strlen(arena_fmt(&a, "%10000s", "x")), 10000);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_is_zeroed_and_aligned_at_every_size),
	    cmocka_unit_test(pieces_do_not_overlap),
	    cmocka_unit_test(what_is_larger_than_a_block_gets_its_own),
	    cmocka_unit_test(a_reset_keeps_the_first_block_and_zeroes_again),
	    cmocka_unit_test(a_freed_arena_is_as_new),
	    cmocka_unit_test(texts_are_copied_with_a_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

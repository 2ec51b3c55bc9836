#include "proto/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_bytes(const struct buf *b, const void *want, size_t n)
{
	assert_false(b->failed);
	assert_int_equal(buf_len(b), n);
	if (n > 0)
		assert_memory_equal(buf_bytes(b), want, n);
}

static void check_invariant(const struct buf *b)
{
	assert_true(b->start <= b->end && b->end <= b->cap);
	assert_true(b->limit == 0 || b->cap <= b->limit);
	assert_int_equal(b->data == NULL, b->cap == 0);
}

static void a_new_buffer_owns_nothing(void **state)
{
	struct buf b;

	buf_init(&b, 100);
	check_bytes(&b, "", 0);
	check_invariant(&b);
	assert_null(buf_bytes(&b));
	buf_free(&b);
	assert_int_equal(b.limit, 100);
}

static void integers_go_out_in_network_order(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	buf_put_u8(&b, 0xfe);
	buf_put_u16(&b, 0x0102);
	buf_put_u32(&b, 0xa0b0c0d0);
	check_bytes(&b, "\xfe\x01\x02\xa0\xb0\xc0\xd0", 7);
	buf_free(&b);
}

static void a_buffer_fills_its_limit_to_the_last_byte(void **state)
{
	struct buf b;

	buf_init(&b, 1000);
	for (int i = 0; i < 1000; i++)
		buf_put_u8(&b, (uint8_t)i);
	assert_false(b.failed);
	assert_int_equal(buf_len(&b), 1000);
	check_invariant(&b);
	buf_put_u8(&b, 0);
	assert_true(b.failed);
	buf_free(&b);
}

static void after_a_failure_every_write_does_nothing(void **state)
{
	struct buf b;

	buf_init(&b, 8);
	buf_put_u32(&b, 1);
	buf_put(&b, "too long", 8);
	assert_true(b.failed);
	buf_put_u8(&b, 1);
	buf_put_cstr(&b, "");
	buf_put_fmt(&b, "%d", 1);
	assert_null(buf_reserve(&b, 0));
	buf_message_end(&b, buf_message_begin(&b, 'Z'));
	assert_int_equal(buf_len(&b), 4);
	buf_clear(&b);
	buf_put_u8(&b, 7);
	check_bytes(&b, "\x07", 1);
	buf_free(&b);
}

static void sizes_that_cannot_be_had_fail_and_allocate_nothing(void **state)
{
	static const size_t sizes[] = {101, SIZE_MAX / 2, SIZE_MAX - 1,
				       SIZE_MAX};
	struct buf b;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		buf_init(&b, 100);
		buf_put_u8(&b, 1);
		buf_drain(&b, 1);
		assert_null(buf_reserve(&b, sizes[i]));
		assert_true(b.failed);
		assert_int_equal(b.cap, 100);
		buf_free(&b);
	}
	buf_init(&b, 0);
	buf_put_u8(&b, 1);
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_true(b.failed);
	buf_free(&b);
}

static void room_is_made_by_moving_before_growing(void **state)
{
	struct buf b;
	size_t cap;

	buf_init(&b, 0);
	buf_put(&b, "0123456789", 10);
	assert_non_null(buf_reserve(&b, b.cap - b.end));
	buf_added(&b, b.cap - b.end);
	cap = b.cap;
	buf_drain(&b, cap - 3);
	memcpy(b.data + b.start, "abc", 3);
	buf_put(&b, "def", 3);
	check_bytes(&b, "abcdef", 6);
	assert_int_equal(b.start, 0);
	assert_int_equal(b.cap, cap);
	buf_free(&b);
}

static void growth_doubles_up_to_the_limit(void **state)
{
	struct buf b;
	size_t cap;

	buf_init(&b, 3000);
	buf_put_u8(&b, 0);
	for (cap = b.cap; cap < 3000; cap = b.cap) {
		while (b.cap == cap)
			buf_put_u8(&b, 0);
		assert_int_equal(b.cap, cap * 2 < 3000 ? cap * 2 : 3000);
	}
	buf_free(&b);
}

static void steady_traffic_allocates_nothing(void **state)
{
	struct buf b;
	uint8_t *data;
	size_t cap;

	buf_init(&b, 0);
	buf_put(&b, "0123456789", 10);
	data = b.data;
	cap = b.cap;
	for (int i = 0; i < 10000; i++) {
		buf_put(&b, "0123456789", 10);
		buf_drain(&b, 10);
	}
	assert_ptr_equal(b.data, data);
	assert_int_equal(b.cap, cap);
	check_bytes(&b, "0123456789", 10);
	buf_drain(&b, 10);
	assert_int_equal(b.end, 0);
	buf_free(&b);
}

static void shrinking_frees_only_what_is_empty_and_large(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	buf_put_u8(&b, 1);
	buf_shrink(&b, 0);
	check_bytes(&b, "\x01", 1);
	buf_drain(&b, 1);
	buf_shrink(&b, b.cap);
	assert_non_null(b.data);
	buf_shrink(&b, b.cap - 1);
	check_invariant(&b);
	assert_null(b.data);
	buf_put_u8(&b, 2);
	check_bytes(&b, "\x02", 1);
	buf_free(&b);
}

static void formatted_text_is_whole_at_any_length(void **state)
{
	struct buf b;
	char want[601];

	memset(want, '7', sizeof(want) - 1);
	want[600] = 0;
	for (int n = 1; n <= 600; n += 13) {
		buf_init(&b, 0);
		buf_put_fmt(&b, "%.*s|%d", n, want, n);
		assert_memory_equal(buf_bytes(&b), want, (size_t)n);
		assert_int_equal(buf_bytes(&b)[n], '|');
		assert_int_equal(buf_len(&b), n + (n < 10    ? 2
						   : n < 100 ? 3
							     : 4));
		buf_free(&b);
	}
}

static void a_message_carries_its_own_length(void **state)
{
	struct buf b;
	size_t mark;

	buf_init(&b, 0);
	mark = buf_message_begin(&b, 'C');
	buf_put_cstr(&b, "SET");
	buf_message_end(&b, mark);
	mark = buf_message_begin(&b, 0);
	buf_put_u16(&b, 9);
	buf_message_end(&b, mark);
	check_bytes(&b, "C\0\0\0\x08SET\0\0\0\0\x06\0\x09", 15);
	buf_free(&b);
}

static void a_message_may_be_moved_while_it_is_written(void **state)
{
	static char junk[250];
	struct buf b;
	size_t mark;

	buf_init(&b, 0);
	buf_put(&b, junk, sizeof(junk));
	buf_put_u8(&b, 'x');
	buf_drain(&b, sizeof(junk));
	mark = buf_message_begin(&b, 'd');
	for (int i = 0; i < 1000; i++)
		buf_put_u8(&b, 'y');
	buf_message_end(&b, mark);
	assert_int_equal(buf_len(&b), 1 + 1 + 4 + 1000);
	assert_memory_equal(buf_bytes(&b), "xd\0\0\x03\xecyy", 8);
	buf_free(&b);
}

/* One random step on a buffer and on its model, a plain array. */
static void step_both(struct buf *b, uint8_t *model, size_t *len)
{
	size_t n = (size_t)rand() % 300;

	if (rand() % 2) {
		n = n < *len ? n : *len;
		buf_drain(b, n);
		memmove(model, model + n, *len - n);
		*len -= n;
		return;
	}
	if (*len + n > b->limit)
		return;
	for (size_t i = 0; i < n; i++)
		model[*len + i] = (uint8_t)rand();
	buf_put(b, model + *len, n);
	*len += n;
}

static void any_order_of_puts_and_drains_keeps_the_bytes(void **state)
{
	uint8_t model[4000];
	size_t len = 0;
	struct buf b;

	srand(1);
	buf_init(&b, sizeof(model));
	for (int i = 0; i < 20000; i++) {
		step_both(&b, model, &len);
		check_invariant(&b);
		check_bytes(&b, model, len);
	}
	buf_free(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_buffer_owns_nothing),
	    cmocka_unit_test(integers_go_out_in_network_order),
	    cmocka_unit_test(a_buffer_fills_its_limit_to_the_last_byte),
	    cmocka_unit_test(after_a_failure_every_write_does_nothing),
	    cmocka_unit_test(
		sizes_that_cannot_be_had_fail_and_allocate_nothing),
	    cmocka_unit_test(room_is_made_by_moving_before_growing),
	    cmocka_unit_test(growth_doubles_up_to_the_limit),
	    cmocka_unit_test(steady_traffic_allocates_nothing),
	    cmocka_unit_test(shrinking_frees_only_what_is_empty_and_large),
	    cmocka_unit_test(formatted_text_is_whole_at_any_length),
	    cmocka_unit_test(a_message_carries_its_own_length),
	    cmocka_unit_test(a_message_may_be_moved_while_it_is_written),
	    cmocka_unit_test(any_order_of_puts_and_drains_keeps_the_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

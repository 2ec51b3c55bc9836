#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/buf.h"

#define BYTES(s) s, sizeof(s) - 1
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { PEEK, NEXT, STARTUP };

/* What each way of cutting says to the same bytes; max_body is 8. */
static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	enum frame_result says[3];
} cases[] = {
    {"nothing", BYTES(""), {FRAME_MORE, FRAME_MORE, FRAME_MORE}},
    {"a type alone", BYTES("Q"), {FRAME_MORE, FRAME_MORE, FRAME_MORE}},
    {"a cut length", BYTES("Q\0\0\0"), {FRAME_MORE, FRAME_MORE, FRAME_BAD}},
    {"length 0", BYTES("Q\0\0\0\0"), {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
    {"length 3", BYTES("Q\0\0\0\3"), {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
    {"length 4", BYTES("S\0\0\0\4"), {FRAME_OK, FRAME_OK, FRAME_BAD}},
    {"a body to come", BYTES("Q\0\0\0\5"), {FRAME_OK, FRAME_MORE, FRAME_BAD}},
    {"body 8 of 8",
     BYTES("Q\0\0\0\x0c"
	   "12345678"),
     {FRAME_OK, FRAME_OK, FRAME_BAD}},
    {"body 9 of 8", BYTES("Q\0\0\0\x0d"), {FRAME_OK, FRAME_BAD, FRAME_BAD}},
    {"just under 1 GiB",
     BYTES("d\x40\0\0\3"),
     {FRAME_OK, FRAME_BAD, FRAME_BAD}},
    {"more than PostgreSQL can hold",
     BYTES("d\x40\0\0\4"),
     {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
    {"the largest length",
     BYTES("d\x7f\xff\xff\xff"),
     {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
    {"a negative length",
     BYTES("d\xff\xff\xff\xff"),
     {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
    {"the most negative length",
     BYTES("d\x80\0\0\0"),
     {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
    {"SSLRequest",
     BYTES("\0\0\0\x08\x04\xd2\x16\x2f"),
     {FRAME_OK, FRAME_BAD, FRAME_OK}},
    {"SSLRequest, cut",
     BYTES("\0\0\0\x08\x04\xd2\x16"),
     {FRAME_OK, FRAME_BAD, FRAME_MORE}},
    {"a start-up packet without a code",
     BYTES("\0\0\0\7\0\0\0"),
     {FRAME_OK, FRAME_BAD, FRAME_BAD}},
    {"the longest start-up packet",
     BYTES("\0\0\x27\x14\0"),
     {FRAME_OK, FRAME_BAD, FRAME_MORE}},
    {"a longer start-up packet",
     BYTES("\0\0\x27\x15\0"),
     {FRAME_OK, FRAME_BAD, FRAME_BAD}},
    {"a TLS hello",
     BYTES("\x16\x03\x01\x02\0\x01\0"),
     {FRAME_OK, FRAME_BAD, FRAME_BAD}},
    {"HTTP", BYTES("GET / HTTP/1.1\r\n"), {FRAME_BAD, FRAME_BAD, FRAME_BAD}},
};

static void every_claimed_length_is_judged_by_its_header(void **state)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		const uint8_t *p = (const uint8_t *)cases[i].bytes;
		size_t len = cases[i].len;
		struct frame f;

		print_message("# %s\n", cases[i].name);
		assert_int_equal(frame_peek(p, len, &f), cases[i].says[PEEK]);
		assert_int_equal(frame_next(p, len, 8, &f),
				 cases[i].says[NEXT]);
		assert_int_equal(frame_next_startup(p, len, &f),
				 cases[i].says[STARTUP]);
	}
}

static void a_frame_borrows_the_bytes_behind_its_header(void **state)
{
	const uint8_t *p = (const uint8_t *)"Z\0\0\0\5I\0\0\0\4";
	const uint8_t *ssl = (const uint8_t *)"\0\0\0\x08\x04\xd2\x16\x2f";
	struct frame f;

	assert_int_equal(frame_next(p, 10, 100, &f), FRAME_OK);
	assert_int_equal(f.type, 'Z');
	assert_int_equal(f.size, 6);
	assert_int_equal(f.body_len, 1);
	assert_ptr_equal(f.body, p + 5);
	assert_int_equal(frame_next_startup(ssl, 8, &f), FRAME_OK);
	assert_int_equal(f.type, 0);
	assert_int_equal(f.size, 8);
	assert_int_equal(f.body_len, 4);
	assert_ptr_equal(f.body, ssl + 4);
}

static void what_is_not_a_message_leaves_the_result_alone(void **state)
{
	static const struct frame before = {.type = 'x', .size = 77};
	struct frame f = before;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const uint8_t *p = (const uint8_t *)cases[i].bytes;

		if (frame_next(p, cases[i].len, 8, &f) == FRAME_OK ||
		    frame_next_startup(p, cases[i].len, &f) == FRAME_OK)
			f = before;
		assert_memory_equal(&f, &before, sizeof(f));
	}
}

/* Bodies of every length from 0 to 40, with bodies that look like headers. */
static void put_stream(struct buf *b)
{
	for (uint8_t n = 0; n <= 40; n++) {
		size_t mark = buf_message_begin(b, (char)('A' + n % 26));

		for (uint8_t i = 0; i < n; i++)
			buf_put_u8(b, n % 3 ? i : 0);
		buf_message_end(b, mark);
	}
}

/* Takes all whole messages out of `in` and writes them down in `out`. */
static void take_messages(struct buf *in, struct buf *out)
{
	struct frame f;

	while (frame_next(buf_bytes(in), buf_len(in), 1000, &f) == FRAME_OK) {
		buf_put_u8(out, '<');
		buf_put_u8(out, (uint8_t)f.type);
		buf_put(out, f.body, f.body_len);
		buf_put_u8(out, '>');
		buf_drain(in, f.size);
	}
}

/* The stream in pieces of 1 to `most` bytes, or cut once at -most. */
static void feed(const struct buf *stream, int most, struct buf *out)
{
	struct buf in;
	size_t at = 0, len = buf_len(stream);

	buf_init(&in, 0);
	while (at < len) {
		size_t n = most > 0  ? 1 + (size_t)rand() % (size_t)most
			   : at == 0 ? (size_t)-most
				     : len;

		n = n < len - at ? n : len - at;
		buf_put(&in, buf_bytes(stream) + at, n);
		at += n;
		take_messages(&in, out);
	}
	assert_int_equal(buf_len(&in), 0);
	buf_free(&in);
}

static void any_split_of_a_stream_gives_the_same_messages(void **state)
{
	struct buf stream, want, got;

	srand(1);
	buf_init(&stream, 0);
	buf_init(&want, 0);
	buf_init(&got, 0);
	put_stream(&stream);
	feed(&stream, -(int)buf_len(&stream), &want);
	assert_int_equal(buf_len(&want), buf_len(&stream) - 2 * 41);
	for (int most = 1 - (int)buf_len(&stream); most < 200; most++) {
		if (most == 0)
			continue;
		buf_clear(&got);
		feed(&stream, most, &got);
		assert_int_equal(buf_len(&got), buf_len(&want));
		assert_memory_equal(buf_bytes(&got), buf_bytes(&want),
				    buf_len(&want));
	}
	buf_free(&stream);
	buf_free(&want);
	buf_free(&got);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_claimed_length_is_judged_by_its_header),
	    cmocka_unit_test(a_frame_borrows_the_bytes_behind_its_header),
	    cmocka_unit_test(what_is_not_a_message_leaves_the_result_alone),
	    cmocka_unit_test(any_split_of_a_stream_gives_the_same_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "proto/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/again.h"

#define BYTES(s) s, sizeof(s) - 1
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A body in memory of its own, so that reading past it is found. */
static struct frame frame_of(const void *body, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, body, len);
	return (struct frame){'?', (uint32_t)len + 5, copy, (uint32_t)len};
}

static void frame_free(struct frame *f)
{
	free((void *)f->body);
}

/* The body of the one message that was written to `b`. */
static struct frame frame_in(const struct buf *b, char type)
{
	struct frame f;

	assert_false(b->failed);
	assert_int_equal(type
			     ? frame_next(buf_bytes(b), buf_len(b), 65536, &f)
			     : frame_next_startup(buf_bytes(b), buf_len(b), &f),
			 FRAME_OK);
	assert_int_equal(f.type, type);
	assert_int_equal(f.size, buf_len(b));
	return f;
}

static void check_mstr(struct mstr got, const char *want)
{
	if (!want) {
		assert_null(got.s);
		return;
	}
	assert_non_null(got.s);
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.s, want, got.len);
}

/* Decodes a body; if it is taken, what comes out must be the same again. */
static bool taken(char key, const void *body, size_t len)
{
	const struct again *a = again_find(key);
	struct frame f = frame_of(body, len);
	struct buf out;
	bool ok;

	assert_non_null(a);
	buf_init(&out, 0);
	ok = a->run(&f, &out);
	if (ok) {
		assert_true(buf_len(&out) >= len);
		assert_memory_equal(buf_bytes(&out) + buf_len(&out) - len,
				    f.body, len);
	} else {
		assert_int_equal(buf_len(&out), 0);
	}
	buf_free(&out);
	frame_free(&f);
	return ok;
}

/* -- bodies that fit -- */

#define V3	    "\0\3\0\0"
#define COLUMN_TAIL "\0\0\x40\0\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"

static const struct {
	char key;
	const char *name;
	const char *body;
	size_t len;
} good[] = {
    {'0', "without parameters", BYTES(V3 "\0")},
    {'0', "with a user", BYTES(V3 "user\0ann\0\0")},
    {'0', "3.2 with an option", BYTES("\0\3\0\2user\0a\0_pq_.x\0001\0\0")},
    {'0', "with an empty value", BYTES(V3 "options\0\0user\0a\0\0")},
    {'0', "SSLRequest", BYTES("\x04\xd2\x16\x2f")},
    {'0', "GSSENCRequest", BYTES("\x04\xd2\x16\x30")},
    {'0', "CancelRequest", BYTES("\x04\xd2\x16\x2e\0\0\1\2KEY!")},
    {'Q', "of nothing", BYTES("\0")},
    {'Q', "of a statement", BYTES("select 1\0")},
    {'P', "unnamed", BYTES("\0select 1\0\0\0")},
    {'P', "with types", BYTES("s1\0select $1\0\0\2\0\0\0\x17\0\0\0\x19")},
    {'B', "of nothing", BYTES("\0\0\0\0\0\0\0\0")},
    {'B', "of values and formats",
     BYTES("p\0s\0\0\1\0\1\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"
	   "\0\2\0\0\0\1")},
    {'t', "a statement", BYTES("Ss1\0")},
    {'t', "the unnamed portal", BYTES("P\0")},
    {'x', "all rows", BYTES("\0\0\0\0\0")},
    {'x', "some rows", BYTES("p1\0\0\0\1\0")},
    {'p', "a password", BYTES("secret\0")},
    {'p', "an empty password", BYTES("\0")},
    {'s', "with data", BYTES("SCRAM-SHA-256\0\0\0\0\7n,,n=,r")},
    {'s', "with empty data", BYTES("SCRAM-SHA-256\0\0\0\0\0")},
    {'s', "without data", BYTES("SCRAM-SHA-256\0\xff\xff\xff\xff")},
    {'R', "ok", BYTES("\0\0\0\0")},
    {'R', "salt", BYTES("\0\0\0\5salt")},
    {'K', "of 3.0", BYTES("\0\0\1\2KEY!")},
    {'K', "of 3.2", BYTES("\0\0\1\2this key has thirty-two bytes...")},
    {'S', "a parameter", BYTES("TimeZone\0UTC\0")},
    {'S', "an empty parameter", BYTES("search_path\0\0")},
    {'E', "without fields", BYTES("\0")},
    {'E', "with fields", BYTES("SFEHLER\0VERROR\0C42P01\0Mno\0?x\0\0")},
    {'T', "of no column", BYTES("\0\0")},
    {'T', "of two columns", BYTES("\0\2id\0" COLUMN_TAIL "\0" COLUMN_TAIL)},
    {'D', "of no column", BYTES("\0\0")},
    {'D', "of a value, a NULL and an empty value",
     BYTES("\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0")},
};

static void what_is_decoded_and_encoded_again_is_the_same(void **state)
{
	for (size_t i = 0; i < COUNT(good); i++) {
		print_message("# %c %s\n", good[i].key, good[i].name);
		assert_true(taken(good[i].key, good[i].body, good[i].len));
	}
}

static void every_decoder_has_a_body_that_fits(void **state)
{
	for (size_t i = 0; i < again_count; i++) {
		size_t n = 0;

		for (size_t k = 0; k < COUNT(good); k++)
			n += good[k].key == again_table[i].key;
		assert_true(n > 0);
	}
}

static void a_body_cut_short_anywhere_is_refused(void **state)
{
	for (size_t i = 0; i < COUNT(good); i++) {
		if (again_find(good[i].key)->open_ended)
			continue;
		print_message("# %c %s\n", good[i].key, good[i].name);
		for (size_t len = 0; len < good[i].len; len++)
			assert_false(taken(good[i].key, good[i].body, len));
	}
}

static void a_body_with_a_byte_too_many_is_refused(void **state)
{
	static const char more[] = {0, 1, 'S', (char)0xff};
	char body[128];

	for (size_t i = 0; i < COUNT(good) * sizeof(more); i++) {
		size_t k = i / sizeof(more);
		size_t len = good[k].len;

		/* A longer key is a key. */
		if (again_find(good[k].key)->open_ended ||
		    strcmp(good[k].name, "CancelRequest") == 0)
			continue;
		memcpy(body, good[k].body, len);
		body[len] = more[i % sizeof(more)];
		assert_false(taken(good[k].key, body, len + 1));
	}
}

/* -- bodies that do not -- */

static const struct {
	char key;
	const char *name;
	const char *body;
	size_t len;
} bad[] = {
    {'0', "protocol 2", BYTES("\0\2\0\0\0")},
    {'0', "protocol 4", BYTES("\0\4\0\0\0")},
    {'0', "an unknown request", BYTES("\x04\xd2\x16\x31")},
    {'0', "a name without a value", BYTES(V3 "user\0")},
    {'0', "bytes behind the end", BYTES(V3 "user\0a\0\0x\0")},
    {'0', "a cancel key of three bytes", BYTES("\x04\xd2\x16\x2e\0\0\1\2KEY")},
    {'Q', "a NUL inside", BYTES("select\0 1\0")},
    {'P', "more types than bytes", BYTES("\0\0\xff\xff\0\0\0\x17")},
    {'B', "more formats than bytes", BYTES("\0\0\xff\xff\0\0")},
    {'B', "more values than bytes", BYTES("\0\0\0\0\xff\xff\0\0\0\0\0\0")},
    {'B', "a value of length -2", BYTES("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0")},
    {'B', "a value of 2 GiB", BYTES("\0\0\0\0\0\1\x7f\xff\xff\xff\0\0")},
    {'t', "an unknown kind", BYTES("Xs1\0")},
    {'s', "data of length -2", BYTES("M\0\xff\xff\xff\xfe")},
    {'s', "data beyond the end", BYTES("M\0\0\0\0\3ab")},
    {'R', "a code of three bytes", BYTES("\0\0\0")},
    {'K', "a cancel key of three bytes", BYTES("\0\0\1\2KEY")},
    {'E', "a field without an end", BYTES("SERROR")},
    {'E', "no end", BYTES("SERROR\0")},
    {'T', "more columns than bytes",
     BYTES("\xff\xff"
	   "a\0" COLUMN_TAIL)},
    {'D', "more columns than bytes", BYTES("\xff\xff\0\0\0\1a")},
    {'D', "a value of length -2", BYTES("\0\1\xff\xff\xff\xfe")},
    {'D', "a value beyond the end", BYTES("\0\1\0\0\0\2a")},
};

static void what_does_not_fit_exactly_is_refused(void **state)
{
	for (size_t i = 0; i < COUNT(bad); i++) {
		print_message("# %c %s\n", bad[i].key, bad[i].name);
		assert_false(taken(bad[i].key, bad[i].body, bad[i].len));
	}
}

static void a_key_has_up_to_256_bytes(void **state)
{
	static const struct {
		char key;
		const char *head;
		size_t len;
	} heads[] = {
	    {'K', BYTES("\0\0\1\2")},
	    {'0', BYTES("\x04\xd2\x16\x2e\0\0\1\2")},
	};
	char body[8 + 257] = {0};

	for (size_t i = 0; i < COUNT(heads); i++) {
		size_t len = heads[i].len;

		memcpy(body, heads[i].head, len);
		assert_true(taken(heads[i].key, body, len + 4));
		assert_true(taken(heads[i].key, body, len + 256));
		assert_false(taken(heads[i].key, body, len + 257));
	}
}

static void bytes_turned_at_random_are_refused_or_the_same_again(void **state)
{
	char body[128];

	srand(1);
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < COUNT(good); i++) {
			size_t at = (size_t)rand() % good[i].len;

			memcpy(body, good[i].body, good[i].len);
			body[at] = (char)rand();
			(void)taken(good[i].key, body, good[i].len);
		}
	}
}

/* -- what the fields say -- */

static void a_startup_packet_names_its_parameters(void **state)
{
	static const char body[] =
	    "\0\3\0\0database\0shop\0user\0ann\0application_name\0psql\0"
	    "replication\0true\0user\0bob\0";
	struct frame f = frame_of(body, sizeof(body));
	struct msg_startup m;
	struct mstr value;

	assert_true(msg_startup_decode(&f, &m));
	assert_int_equal(m.code, STARTUP_V3);
	check_mstr(m.user, "bob");
	check_mstr(m.database, "shop");
	check_mstr(m.application_name, "psql");
	check_mstr(m.replication, "true");
	assert_true(msg_startup_param(&m, "user", &value));
	check_mstr(value, "bob");
	assert_false(msg_startup_param(&m, "use", &value));
	assert_false(msg_startup_param(&m, "users", &value));
	assert_false(msg_startup_param(&m, "", &value));
	frame_free(&f);
}

static void a_request_without_parameters_has_none(void **state)
{
	struct frame f = frame_of("\x04\xd2\x16\x2f", 4);
	struct msg_startup m;
	struct mstr value;

	assert_true(msg_startup_decode(&f, &m));
	assert_int_equal(m.code, STARTUP_SSL);
	check_mstr(m.user, "");
	assert_false(msg_startup_param(&m, "user", &value));
	frame_free(&f);
}

static void a_bind_tells_where_its_result_formats_are(void **state)
{
	static const char body[] = "p\0st\0\0\1\0\1\0\1\0\0\0\2ab\0\2\0\0\0\1";
	struct frame f = frame_of(body, sizeof(body) - 1);
	struct msg_bind m;

	assert_true(msg_bind_decode(&f, &m));
	check_mstr(m.portal, "p");
	check_mstr(m.statement, "st");
	assert_int_equal(m.formats_at, 17);
	assert_int_equal(m.n_result_formats, 2);
	assert_memory_equal(m.result_formats, "\0\0\0\1", 4);
	frame_free(&f);
}

static void an_error_gives_its_untranslated_severity_and_fields(void **state)
{
	static const char body[] =
	    "SFEHLER\0VERROR\0C23505\0Mdup\0Dkey\0Htry\0P7\0spublic\0tt\0cc\0"
	    "nt_pkey\0Fnbtinsert.c\0";
	struct frame f = frame_of(body, sizeof(body));
	struct msg_error m;

	assert_true(msg_error_decode(&f, &m));
	check_mstr(m.severity, "ERROR");
	check_mstr(m.sqlstate, "23505");
	check_mstr(m.message, "dup");
	check_mstr(m.detail, "key");
	check_mstr(m.hint, "try");
	check_mstr(m.position, "7");
	check_mstr(m.schema, "public");
	check_mstr(m.table, "t");
	check_mstr(m.column, "c");
	check_mstr(m.constraint, "t_pkey");
	frame_free(&f);
}

static void an_error_of_an_old_server_gives_the_severity_it_has(void **state)
{
	struct frame f = frame_of(BYTES("SFATAL\0\0"));
	struct msg_error m;

	assert_true(msg_error_decode(&f, &m));
	check_mstr(m.severity, "FATAL");
	check_mstr(m.sqlstate, NULL);
	frame_free(&f);
}

static void hidden_columns_begin_where_the_cut_says(void **state)
{
	static const struct {
		uint16_t hidden;
		bool ok;
		uint32_t row_at, description_at;
	} cuts[] = {
	    {0, true, 16, 46}, {1, true, 12, 25},    {2, true, 2, 2},
	    {3, false, 0, 0},  {65535, false, 0, 0},
	};
	struct frame row =
	    frame_of(BYTES("\0\2\0\0\0\6abcdef\xff\xff\xff\xff"));
	struct frame description =
	    frame_of(BYTES("\0\2some\0" COLUMN_TAIL "ab\0" COLUMN_TAIL));
	uint16_t n = 0;
	uint32_t at = 0;

	for (size_t i = 0; i < COUNT(cuts); i++) {
		assert_int_equal(
		    msg_data_row_cut(&row, cuts[i].hidden, &n, &at),
		    cuts[i].ok);
		if (cuts[i].ok)
			assert_int_equal(at, cuts[i].row_at);
		assert_int_equal(msg_row_description_cut(
				     &description, cuts[i].hidden, &n, &at),
				 cuts[i].ok);
		if (cuts[i].ok)
			assert_int_equal(at, cuts[i].description_at);
		assert_int_equal(n, 2);
	}
	frame_free(&row);
	frame_free(&description);
}

static void a_value_is_found_by_its_column(void **state)
{
	static const char *const values[] = {"first", NULL, "", "last"};
	struct buf b;
	struct frame f;
	struct mstr v;

	buf_init(&b, 0);
	msg_put_text_row(&b, 4, values);
	f = frame_in(&b, 'D');
	for (uint16_t i = 0; i < 4; i++) {
		assert_true(msg_data_row_value(&f, i, &v));
		check_mstr(v, values[i]);
	}
	assert_false(msg_data_row_value(&f, 4, &v));
	buf_free(&b);
}

/* -- encode, then decode -- */

static void put_a_query(struct buf *b)
{
	msg_put_query(b, "select 1; junk", 8);
}

static void put_a_parse(struct buf *b)
{
	msg_put_parse(b, "s", "select $1; junk", 9, 1,
		      (const uint8_t *)"\0\0\0\x17");
}

static void put_a_parse_without_types(struct buf *b)
{
	msg_put_parse(b, "", "", 0, 0, NULL);
}

static void put_a_bind(struct buf *b)
{
	msg_put_bind_empty(b, "p", "s");
}

static void put_a_describe(struct buf *b)
{
	msg_put_describe(b, 'S', "s");
}

static void put_a_close(struct buf *b)
{
	msg_put_close(b, 'P', "p");
}

static void put_an_execute(struct buf *b)
{
	msg_put_execute(b, "p", 0x01020304);
}

static void put_a_cancel(struct buf *b)
{
	msg_put_cancel(b, 258, (const uint8_t *)"KEY!", 4);
}

static void put_a_request(struct buf *b)
{
	msg_put_startup_code(b, STARTUP_GSSENC);
}

static void put_a_fault(struct buf *b)
{
	msg_put_error(b, 'E',
		      &(struct msg_fault){.severity = "ERROR",
					  .sqlstate = "0A000",
					  .message = "no",
					  .hint = "ask",
					  .position = 4294967295});
}

static void put_an_auth(struct buf *b)
{
	msg_put_auth(b, AUTH_OK, NULL, 0);
}

static void put_an_offer(struct buf *b)
{
	msg_put_sasl_offer(b, "SCRAM-SHA-256");
}

static void put_a_key(struct buf *b)
{
	msg_put_key(b, 258, (const uint8_t *)"KEY!", 4);
}

static void put_a_parameter(struct buf *b)
{
	msg_put_parameter(b, "TimeZone", "UTC");
}

static void put_columns(struct buf *b)
{
	static const char *const names[] = {"name", "phase"};

	msg_put_text_columns(b, 2, names);
}

static void put_a_row(struct buf *b)
{
	static const char *const values[] = {"a", NULL};

	msg_put_text_row(b, 2, values);
}

static void put_a_ready(struct buf *b)
{
	msg_put_ready(b, 'T');
}

static void put_a_complete(struct buf *b)
{
	msg_put_complete(b, "SHOW");
}

static void put_a_sync(struct buf *b)
{
	msg_put_simple(b, 'S');
}

static const struct {
	void (*put)(struct buf *b);
	char key; /* 0: there is nothing that decodes it */
	char type;
	const char *body;
	size_t len;
} written[] = {
    {put_a_query, 'Q', 'Q', BYTES("select 1\0")},
    {put_a_parse, 'P', 'P', BYTES("s\0select $1\0\0\1\0\0\0\x17")},
    {put_a_parse_without_types, 'P', 'P', BYTES("\0\0\0\0")},
    {put_a_bind, 'B', 'B', BYTES("p\0s\0\0\0\0\0\0\0")},
    {put_a_describe, 't', 'D', BYTES("Ss\0")},
    {put_a_close, 't', 'C', BYTES("Pp\0")},
    {put_an_execute, 'x', 'E', BYTES("p\0\1\2\3\4")},
    {put_a_cancel, '0', 0, BYTES("\x04\xd2\x16\x2e\0\0\1\2KEY!")},
    {put_a_request, '0', 0, BYTES("\x04\xd2\x16\x30")},
    {put_a_fault, 'E', 'E',
     BYTES("SERROR\0VERROR\0C0A000\0Mno\0Hask\0P4294967295\0\0")},
    {put_an_auth, 'R', 'R', BYTES("\0\0\0\0")},
    {put_an_offer, 'R', 'R', BYTES("\0\0\0\x0aSCRAM-SHA-256\0\0")},
    {put_a_key, 'K', 'K', BYTES("\0\0\1\2KEY!")},
    {put_a_parameter, 'S', 'S', BYTES("TimeZone\0UTC\0")},
    {put_columns, 'T', 'T',
     BYTES("\0\2name\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
	   "phase\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")},
    {put_a_row, 'D', 'D', BYTES("\0\2\0\0\0\1a\xff\xff\xff\xff")},
    {put_a_ready, 0, 'Z', BYTES("T")},
    {put_a_complete, 0, 'C', BYTES("SHOW\0")},
    {put_a_sync, 0, 'S', BYTES("")},
};

static void what_is_written_is_what_the_protocol_says(void **state)
{
	for (size_t i = 0; i < COUNT(written); i++) {
		struct buf b;
		struct frame f;

		print_message("# %c\n", written[i].type);
		buf_init(&b, 0);
		written[i].put(&b);
		f = frame_in(&b, written[i].type);
		assert_int_equal(f.body_len, written[i].len);
		assert_memory_equal(f.body, written[i].body, f.body_len);
		if (written[i].key)
			assert_true(taken(written[i].key, f.body, f.body_len));
		buf_free(&b);
	}
}

static void a_newer_protocol_is_answered_with_what_is_known(void **state)
{
	static const struct {
		const char *body;
		size_t len;
		const char *answer;
		size_t answer_len;
	} talks[] = {
	    {BYTES("\0\3\0\0user\0a\0\0"), BYTES("")},
	    {BYTES("\0\3\0\2user\0a\0\0"), BYTES("\0\3\0\0\0\0\0\0")},
	    {BYTES("\0\3\0\0_pq_.a\0on\0user\0a\0_pq_.b\0\0\0"),
	     BYTES("\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b\0")},
	};

	for (size_t i = 0; i < COUNT(talks); i++) {
		struct frame f = frame_of(talks[i].body, talks[i].len);
		struct msg_startup m;
		struct frame answer;
		struct buf b;

		buf_init(&b, 0);
		assert_true(msg_startup_decode(&f, &m));
		msg_put_negotiate(&b, &m);
		if (talks[i].answer_len == 0) {
			assert_int_equal(buf_len(&b), 0);
		} else {
			answer = frame_in(&b, 'v');
			assert_int_equal(answer.body_len, talks[i].answer_len);
			assert_memory_equal(answer.body, talks[i].answer,
					    answer.body_len);
		}
		buf_free(&b);
		frame_free(&f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_decoded_and_encoded_again_is_the_same),
	    cmocka_unit_test(every_decoder_has_a_body_that_fits),
	    cmocka_unit_test(a_body_cut_short_anywhere_is_refused),
	    cmocka_unit_test(a_body_with_a_byte_too_many_is_refused),
	    cmocka_unit_test(what_does_not_fit_exactly_is_refused),
	    cmocka_unit_test(a_key_has_up_to_256_bytes),
	    cmocka_unit_test(
		bytes_turned_at_random_are_refused_or_the_same_again),
	    cmocka_unit_test(a_startup_packet_names_its_parameters),
	    cmocka_unit_test(a_request_without_parameters_has_none),
	    cmocka_unit_test(a_bind_tells_where_its_result_formats_are),
	    cmocka_unit_test(
		an_error_gives_its_untranslated_severity_and_fields),
	    cmocka_unit_test(
		an_error_of_an_old_server_gives_the_severity_it_has),
	    cmocka_unit_test(hidden_columns_begin_where_the_cut_says),
	    cmocka_unit_test(a_value_is_found_by_its_column),
	    cmocka_unit_test(what_is_written_is_what_the_protocol_says),
	    cmocka_unit_test(a_newer_protocol_is_answered_with_what_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

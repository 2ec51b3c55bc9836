/*
 * Decoding runs over a cursor that fails once and stays failed: a decoder
 * takes all its fields in a row and asks reader_done() at the end.
 */
#include "proto/message.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Between a column's name and the next one in a RowDescription: table Oid,
 * attribute number, type Oid, type length, type modifier, format. */
#define COLUMN_TAIL_SIZE (4 + 2 + 4 + 2 + 4 + 2)

#define NO_VALUE UINT32_MAX /* the length -1: NULL, or absent */
#define KEY_MIN	 4	    /* a cancel key's size, protocol 3.0 and 3.2 */
#define KEY_MAX	 256
#define TEXT_OID 25

/* -- the cursor -- */

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};

static struct reader reader_of(const struct frame *f)
{
	return (struct reader){f->body, f->body + f->body_len, false};
}

static bool reader_done(const struct reader *r)
{
	return !r->failed && r->at == r->end;
}

static size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

/* The next n bytes, or NULL (and failed) if there are fewer. */
static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->failed || n > reader_left(r)) {
		r->failed = true;
		return NULL;
	}
	r->at += n;
	return p;
}

static uint8_t take_u8(struct reader *r)
{
	const uint8_t *p = take(r, 1);

	return p ? p[0] : 0;
}

static uint16_t take_u16(struct reader *r)
{
	const uint8_t *p = take(r, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static uint32_t take_u32(struct reader *r)
{
	const uint8_t *p = take(r, 4);

	if (!p)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static struct mstr take_cstr(struct reader *r)
{
	const uint8_t *nul = NULL;
	struct mstr s;

	if (!r->failed && r->at < r->end)
		nul = memchr(r->at, 0, reader_left(r));
	if (!nul) {
		r->failed = true;
		return (struct mstr){"", 0};
	}
	s = (struct mstr){(const char *)r->at, (uint32_t)(nul - r->at)};
	r->at = nul + 1;
	return s;
}

/* An Int32 length, -1 for none (then .s is NULL), and that many bytes. */
static struct mstr take_value(struct reader *r)
{
	uint32_t len = take_u32(r);

	if (len == NO_VALUE)
		return (struct mstr){NULL, 0};
	return (struct mstr){(const char *)take(r, len), len};
}

static const uint8_t *take_rest(struct reader *r, uint32_t *ret_len)
{
	*ret_len = (uint32_t)reader_left(r);
	return take(r, *ret_len);
}

static bool mstr_is(struct mstr s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.s, text, s.len) == 0;
}

/* -- from the client: start-up -- */

static bool take_param(struct reader *r, struct mstr *ret_name,
		       struct mstr *ret_value)
{
	*ret_name = take_cstr(r);
	if (ret_name->len == 0)
		return false;
	*ret_value = take_cstr(r);
	return !r->failed;
}

static void take_cancel(struct reader *r, struct msg_startup *m)
{
	m->cancel_pid = take_u32(r);
	m->cancel_key = take_rest(r, &m->cancel_key_len);
	if (m->cancel_key_len < KEY_MIN || m->cancel_key_len > KEY_MAX)
		r->failed = true;
}

/* The empty name that stops the walk must be the packet's last byte. */
static void take_params(struct reader *r, struct msg_startup *m)
{
	struct mstr name, value;

	m->params = r->at;
	m->params_len = (uint32_t)reader_left(r);
	while (take_param(r, &name, &value)) {
		if (mstr_is(name, "user"))
			m->user = value;
		else if (mstr_is(name, "database"))
			m->database = value;
		else if (mstr_is(name, "application_name"))
			m->application_name = value;
		else if (mstr_is(name, "replication"))
			m->replication = value;
	}
}

bool msg_startup_decode(const struct frame *f, struct msg_startup *ret)
{
	static const struct mstr none = {"", 0};
	struct reader r = reader_of(f);
	struct msg_startup m = {
	    .user = none,
	    .database = none,
	    .application_name = none,
	    .replication = none,
	};

	m.code = take_u32(&r);
	if (m.code == STARTUP_CANCEL)
		take_cancel(&r, &m);
	else if (m.code >> 16 == STARTUP_V3 >> 16)
		take_params(&r, &m);
	else if (m.code != STARTUP_SSL && m.code != STARTUP_GSSENC)
		return false;
	if (!reader_done(&r))
		return false;
	*ret = m;
	return true;
}

static struct reader params_of(const struct msg_startup *m)
{
	struct reader r = {m->params, m->params, false};

	if (m->params)
		r.end += m->params_len;
	return r;
}

bool msg_startup_param(const struct msg_startup *m, const char *name,
		       struct mstr *ret)
{
	struct reader r = params_of(m);
	struct mstr key, value;
	bool found = false;

	while (take_param(&r, &key, &value)) {
		if (!mstr_is(key, name))
			continue;
		*ret = value;
		found = true;
	}
	return found;
}

/* -- from the client: statements -- */

bool msg_query_decode(const struct frame *f, struct msg_query *ret)
{
	struct reader r = reader_of(f);
	struct msg_query m = {.sql = take_cstr(&r)};

	if (!reader_done(&r))
		return false;
	*ret = m;
	return true;
}

bool msg_parse_decode(const struct frame *f, struct msg_parse *ret)
{
	struct reader r = reader_of(f);
	struct msg_parse m;

	m.name = take_cstr(&r);
	m.sql = take_cstr(&r);
	m.n_types = take_u16(&r);
	m.types = take(&r, (size_t)m.n_types * 4);
	if (!reader_done(&r))
		return false;
	*ret = m;
	return true;
}

bool msg_bind_decode(const struct frame *f, struct msg_bind *ret)
{
	struct reader r = reader_of(f);
	struct msg_bind m;
	uint16_t n;

	m.portal = take_cstr(&r);
	m.statement = take_cstr(&r);
	take(&r, (size_t)take_u16(&r) * 2);
	n = take_u16(&r);
	while (n-- > 0 && !r.failed)
		take_value(&r);
	m.formats_at = (uint32_t)(r.at - f->body);
	m.n_result_formats = take_u16(&r);
	m.result_formats = take(&r, (size_t)m.n_result_formats * 2);
	if (!reader_done(&r))
		return false;
	*ret = m;
	return true;
}

bool msg_target_decode(const struct frame *f, struct msg_target *ret)
{
	struct reader r = reader_of(f);
	struct msg_target m;

	m.kind = (char)take_u8(&r);
	m.name = take_cstr(&r);
	if (!reader_done(&r) || (m.kind != 'S' && m.kind != 'P'))
		return false;
	*ret = m;
	return true;
}

bool msg_execute_decode(const struct frame *f, struct msg_execute *ret)
{
	struct reader r = reader_of(f);
	struct msg_execute m;

	m.portal = take_cstr(&r);
	m.max_rows = take_u32(&r);
	if (!reader_done(&r))
		return false;
	*ret = m;
	return true;
}

/* -- from the client: authentication -- */

bool msg_password_decode(const struct frame *f, struct mstr *ret)
{
	struct reader r = reader_of(f);
	struct mstr password = take_cstr(&r);

	if (!reader_done(&r))
		return false;
	*ret = password;
	return true;
}

bool msg_sasl_initial_decode(const struct frame *f,
			     struct msg_sasl_initial *ret)
{
	struct reader r = reader_of(f);
	struct msg_sasl_initial m;
	struct mstr data;

	m.mechanism = take_cstr(&r);
	data = take_value(&r);
	if (!reader_done(&r))
		return false;
	m.data = (const uint8_t *)data.s;
	m.data_len = data.len;
	*ret = m;
	return true;
}

/* -- from the server -- */

bool msg_auth_decode(const struct frame *f, struct msg_auth *ret)
{
	struct reader r = reader_of(f);
	struct msg_auth m;

	m.code = take_u32(&r);
	m.data = take_rest(&r, &m.data_len);
	if (!reader_done(&r))
		return false;
	*ret = m;
	return true;
}

bool msg_key_decode(const struct frame *f, struct msg_key *ret)
{
	struct reader r = reader_of(f);
	struct msg_key m;

	m.pid = take_u32(&r);
	m.key = take_rest(&r, &m.key_len);
	if (!reader_done(&r) || m.key_len < KEY_MIN || m.key_len > KEY_MAX)
		return false;
	*ret = m;
	return true;
}

bool msg_parameter_decode(const struct frame *f, struct mstr *ret_name,
			  struct mstr *ret_value)
{
	struct reader r = reader_of(f);
	struct mstr name = take_cstr(&r);
	struct mstr value = take_cstr(&r);

	if (!reader_done(&r))
		return false;
	*ret_name = name;
	*ret_value = value;
	return true;
}

/* The fields of an error that are looked at; all others are only carried. */
static const struct {
	uint8_t code;
	size_t at; /* of a struct mstr in struct msg_error */
} error_fields[] = {
    {'V', offsetof(struct msg_error, severity)},
    {'C', offsetof(struct msg_error, sqlstate)},
    {'M', offsetof(struct msg_error, message)},
    {'D', offsetof(struct msg_error, detail)},
    {'H', offsetof(struct msg_error, hint)},
    {'P', offsetof(struct msg_error, position)},
    {'s', offsetof(struct msg_error, schema)},
    {'t', offsetof(struct msg_error, table)},
    {'c', offsetof(struct msg_error, column)},
    {'n', offsetof(struct msg_error, constraint)},
    {'W', offsetof(struct msg_error, context)},
};

static void error_set(struct msg_error *m, uint8_t code, struct mstr value)
{
	size_t n = sizeof(error_fields) / sizeof(error_fields[0]);

	for (size_t i = 0; i < n; i++)
		if (error_fields[i].code == code)
			*(struct mstr *)((char *)m + error_fields[i].at) =
			    value;
}

bool msg_error_decode(const struct frame *f, struct msg_error *ret)
{
	struct reader r = reader_of(f);
	struct msg_error m = {.fields = f->body, .fields_len = f->body_len};
	struct mstr localized = {NULL, 0};
	uint8_t code;

	while ((code = take_u8(&r)) != 0) {
		struct mstr value = take_cstr(&r);

		error_set(&m, code, value);
		if (code == 'S')
			localized = value;
	}
	if (!reader_done(&r))
		return false;
	/* 'V' is never translated, but servers before 9.6 do not send it. */
	if (!m.severity.s)
		m.severity = localized;
	*ret = m;
	return true;
}

static void take_column(struct reader *r)
{
	take_cstr(r);
	take(r, COLUMN_TAIL_SIZE);
}

static void take_datum(struct reader *r)
{
	take_value(r);
}

/* Walks a counted list of columns to its end, to know that all of it fits. */
static bool columns_cut(const struct frame *f,
			void (*take_one)(struct reader *), uint16_t hidden,
			uint16_t *ret_columns, uint32_t *ret_at)
{
	struct reader r = reader_of(f);
	uint16_t n = take_u16(&r);
	uint32_t at = f->body_len;

	if (hidden > n)
		return false;
	for (uint16_t i = 0; i < n && !r.failed; i++) {
		if (i == n - hidden)
			at = (uint32_t)(r.at - f->body);
		take_one(&r);
	}
	if (!reader_done(&r))
		return false;
	*ret_columns = n;
	*ret_at = at;
	return true;
}

bool msg_row_description_cut(const struct frame *f, uint16_t hidden,
			     uint16_t *ret_columns, uint32_t *ret_at)
{
	return columns_cut(f, take_column, hidden, ret_columns, ret_at);
}

bool msg_data_row_cut(const struct frame *f, uint16_t hidden,
		      uint16_t *ret_columns, uint32_t *ret_at)
{
	return columns_cut(f, take_datum, hidden, ret_columns, ret_at);
}

bool msg_data_row_value(const struct frame *f, uint16_t column,
			struct mstr *ret)
{
	struct reader r = reader_of(f);
	uint16_t n = take_u16(&r);
	struct mstr found = {NULL, 0};

	if (column >= n)
		return false;
	for (uint16_t i = 0; i < n && !r.failed; i++) {
		struct mstr value = take_value(&r);

		if (i == column)
			found = value;
	}
	if (!reader_done(&r))
		return false;
	*ret = found;
	return true;
}

/* -- to the server -- */

void msg_put_query(struct buf *b, const char *sql, size_t len)
{
	size_t mark = buf_message_begin(b, 'Q');

	buf_put(b, sql, len);
	buf_put_u8(b, 0);
	buf_message_end(b, mark);
}

void msg_put_parse(struct buf *b, const char *name, const char *sql, size_t len,
		   uint16_t n_types, const uint8_t *types)
{
	size_t mark = buf_message_begin(b, 'P');

	buf_put_cstr(b, name);
	buf_put(b, sql, len);
	buf_put_u8(b, 0);
	buf_put_u16(b, n_types);
	buf_put(b, types, (size_t)n_types * 4);
	buf_message_end(b, mark);
}

void msg_put_bind_empty(struct buf *b, const char *portal, const char *stmt)
{
	size_t mark = buf_message_begin(b, 'B');

	buf_put_cstr(b, portal);
	buf_put_cstr(b, stmt);
	buf_put_u16(b, 0); /* parameter formats */
	buf_put_u16(b, 0); /* parameters */
	buf_put_u16(b, 0); /* result formats */
	buf_message_end(b, mark);
}

static void put_target(struct buf *b, char type, char kind, const char *name)
{
	size_t mark = buf_message_begin(b, type);

	buf_put_u8(b, (uint8_t)kind);
	buf_put_cstr(b, name);
	buf_message_end(b, mark);
}

void msg_put_describe(struct buf *b, char kind, const char *name)
{
	put_target(b, 'D', kind, name);
}

void msg_put_close(struct buf *b, char kind, const char *name)
{
	put_target(b, 'C', kind, name);
}

void msg_put_execute(struct buf *b, const char *portal, uint32_t max_rows)
{
	size_t mark = buf_message_begin(b, 'E');

	buf_put_cstr(b, portal);
	buf_put_u32(b, max_rows);
	buf_message_end(b, mark);
}

void msg_put_simple(struct buf *b, char type)
{
	buf_message_end(b, buf_message_begin(b, type));
}

void msg_put_cancel(struct buf *b, uint32_t pid, const uint8_t *key,
		    size_t key_len)
{
	size_t mark = buf_message_begin(b, 0);

	buf_put_u32(b, STARTUP_CANCEL);
	buf_put_u32(b, pid);
	buf_put(b, key, key_len);
	buf_message_end(b, mark);
}

void msg_put_startup_code(struct buf *b, uint32_t code)
{
	size_t mark = buf_message_begin(b, 0);

	buf_put_u32(b, code);
	buf_message_end(b, mark);
}

/* -- to the client -- */

static void put_field(struct buf *b, char code, const char *value)
{
	if (!value)
		return;
	buf_put_u8(b, (uint8_t)code);
	buf_put_cstr(b, value);
}

void msg_put_error(struct buf *b, char type, const struct msg_fault *e)
{
	size_t mark = buf_message_begin(b, type);
	char position[sizeof("4294967295")];

	put_field(b, 'S', e->severity);
	put_field(b, 'V', e->severity);
	put_field(b, 'C', e->sqlstate);
	put_field(b, 'M', e->message);
	put_field(b, 'D', e->detail);
	put_field(b, 'H', e->hint);
	if (e->position > 0) {
		snprintf(position, sizeof(position), "%u", e->position);
		put_field(b, 'P', position);
	}
	buf_put_u8(b, 0);
	buf_message_end(b, mark);
}

void msg_put_ready(struct buf *b, char status)
{
	size_t mark = buf_message_begin(b, 'Z');

	buf_put_u8(b, (uint8_t)status);
	buf_message_end(b, mark);
}

void msg_put_complete(struct buf *b, const char *tag)
{
	size_t mark = buf_message_begin(b, 'C');

	buf_put_cstr(b, tag);
	buf_message_end(b, mark);
}

void msg_put_auth(struct buf *b, uint32_t code, const void *data, size_t len)
{
	size_t mark = buf_message_begin(b, 'R');

	buf_put_u32(b, code);
	buf_put(b, data, len);
	buf_message_end(b, mark);
}

void msg_put_sasl_offer(struct buf *b, const char *mechanism)
{
	size_t mark = buf_message_begin(b, 'R');

	buf_put_u32(b, AUTH_SASL);
	buf_put_cstr(b, mechanism);
	buf_put_u8(b, 0); /* the end of the list */
	buf_message_end(b, mark);
}

void msg_put_key(struct buf *b, uint32_t pid, const uint8_t *key,
		 size_t key_len)
{
	size_t mark = buf_message_begin(b, 'K');

	assert(key_len >= KEY_MIN && key_len <= KEY_MAX);
	buf_put_u32(b, pid);
	buf_put(b, key, key_len);
	buf_message_end(b, mark);
}

static bool is_option(struct mstr name)
{
	return strncmp(name.s, "_pq_.", 5) == 0;
}

void msg_put_negotiate(struct buf *b, const struct msg_startup *m)
{
	struct mstr name, value;
	struct reader r = params_of(m);
	uint32_t n = 0;
	size_t mark;

	while (take_param(&r, &name, &value))
		n += is_option(name);
	if (n == 0 && m->code <= STARTUP_V3)
		return;
	mark = buf_message_begin(b, 'v');
	/* Servers send the whole number here, not the minor one alone. */
	buf_put_u32(b, STARTUP_V3);
	buf_put_u32(b, n);
	r = params_of(m);
	while (take_param(&r, &name, &value))
		if (is_option(name))
			buf_put_cstr(b, name.s);
	buf_message_end(b, mark);
}

void msg_put_parameter(struct buf *b, const char *name, const char *value)
{
	size_t mark = buf_message_begin(b, 'S');

	buf_put_cstr(b, name);
	buf_put_cstr(b, value);
	buf_message_end(b, mark);
}

void msg_put_text_columns(struct buf *b, uint16_t n, const char *const *names)
{
	size_t mark = buf_message_begin(b, 'T');

	buf_put_u16(b, n);
	for (uint16_t i = 0; i < n; i++) {
		buf_put_cstr(b, names[i]);
		buf_put_u32(b, 0); /* of no table */
		buf_put_u16(b, 0);
		buf_put_u32(b, TEXT_OID);
		buf_put_u16(b, UINT16_MAX); /* -1: of variable length */
		buf_put_u32(b, UINT32_MAX); /* -1: no modifier */
		buf_put_u16(b, 0);	    /* text format */
	}
	buf_message_end(b, mark);
}

void msg_put_text_row(struct buf *b, uint16_t n, const char *const *values)
{
	size_t mark = buf_message_begin(b, 'D');

	buf_put_u16(b, n);
	for (uint16_t i = 0; i < n; i++) {
		size_t len = values[i] ? strlen(values[i]) : 0;

		/* Longer is no Int32; the buffer refuses it at the end. */
		buf_put_u32(b, values[i] ? (uint32_t)len : NO_VALUE);
		buf_put(b, values[i], len);
	}
	buf_message_end(b, mark);
}

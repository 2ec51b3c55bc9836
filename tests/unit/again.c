#include "tests/unit/again.h"

#include <assert.h>
#include <string.h>

#include "proto/message.h"

/* Through a C string: a decoded string must really end where it says. */
static void put_mstr(struct buf *b, struct mstr s)
{
	assert(strlen(s.s) == s.len);
	buf_put_cstr(b, s.s);
}

static bool again_startup(const struct frame *f, struct buf *out)
{
	struct msg_startup m;
	struct mstr user;
	size_t mark;

	if (!msg_startup_decode(f, &m))
		return false;
	if (m.code == STARTUP_CANCEL) {
		msg_put_cancel(out, m.cancel_pid, m.cancel_key,
			       m.cancel_key_len);
		return true;
	}
	if (!m.params) {
		msg_put_startup_code(out, m.code);
		return true;
	}
	if (msg_startup_param(&m, "user", &user))
		assert(user.s == m.user.s && user.len == m.user.len);
	else
		assert(m.user.len == 0);
	mark = buf_message_begin(out, 0);
	buf_put_u32(out, m.code);
	buf_put(out, m.params, m.params_len);
	buf_message_end(out, mark);
	return true;
}

static bool again_query(const struct frame *f, struct buf *out)
{
	struct msg_query m;

	if (!msg_query_decode(f, &m))
		return false;
	msg_put_query(out, m.sql.s, m.sql.len);
	return true;
}

static bool again_parse(const struct frame *f, struct buf *out)
{
	struct msg_parse m;

	if (!msg_parse_decode(f, &m))
		return false;
	msg_put_parse(out, m.name.s, m.sql.s, m.sql.len, m.n_types, m.types);
	return true;
}

static bool again_bind(const struct frame *f, struct buf *out)
{
	struct msg_bind m;
	size_t mark, names;

	if (!msg_bind_decode(f, &m))
		return false;
	names = m.portal.len + m.statement.len + 2;
	mark = buf_message_begin(out, 'B');
	put_mstr(out, m.portal);
	put_mstr(out, m.statement);
	buf_put(out, f->body + names, m.formats_at - names);
	buf_put_u16(out, m.n_result_formats);
	buf_put(out, m.result_formats, (size_t)m.n_result_formats * 2);
	buf_message_end(out, mark);
	return true;
}

static bool again_target(const struct frame *f, struct buf *out)
{
	struct msg_target m;

	if (!msg_target_decode(f, &m))
		return false;
	msg_put_describe(out, m.kind, m.name.s);
	return true;
}

static bool again_execute(const struct frame *f, struct buf *out)
{
	struct msg_execute m;

	if (!msg_execute_decode(f, &m))
		return false;
	msg_put_execute(out, m.portal.s, m.max_rows);
	return true;
}

static bool again_password(const struct frame *f, struct buf *out)
{
	struct mstr password;
	size_t mark;

	if (!msg_password_decode(f, &password))
		return false;
	mark = buf_message_begin(out, 'p');
	put_mstr(out, password);
	buf_message_end(out, mark);
	return true;
}

static bool again_sasl_initial(const struct frame *f, struct buf *out)
{
	struct msg_sasl_initial m;
	size_t mark;

	if (!msg_sasl_initial_decode(f, &m))
		return false;
	mark = buf_message_begin(out, 'p');
	put_mstr(out, m.mechanism);
	buf_put_u32(out, m.data ? m.data_len : UINT32_MAX);
	buf_put(out, m.data, m.data_len);
	buf_message_end(out, mark);
	return true;
}

static bool again_auth(const struct frame *f, struct buf *out)
{
	struct msg_auth m;

	if (!msg_auth_decode(f, &m))
		return false;
	msg_put_auth(out, m.code, m.data, m.data_len);
	return true;
}

static bool again_key(const struct frame *f, struct buf *out)
{
	struct msg_key m;

	if (!msg_key_decode(f, &m))
		return false;
	msg_put_key(out, m.pid, m.key, m.key_len);
	return true;
}

static bool again_parameter(const struct frame *f, struct buf *out)
{
	struct mstr name, value;

	if (!msg_parameter_decode(f, &name, &value))
		return false;
	msg_put_parameter(out, name.s, value.s);
	return true;
}

/* A field stands behind its letter and ends at its NUL. */
static void check_field(struct mstr s, const char *letters)
{
	if (s.s)
		assert(strchr(letters, s.s[-1]) && strlen(s.s) == s.len);
}

static bool again_error(const struct frame *f, struct buf *out)
{
	struct msg_error m;
	size_t mark;

	if (!msg_error_decode(f, &m))
		return false;
	check_field(m.severity, "VS");
	check_field(m.sqlstate, "C");
	check_field(m.message, "M");
	check_field(m.detail, "D");
	check_field(m.hint, "H");
	check_field(m.position, "P");
	check_field(m.schema, "s");
	check_field(m.table, "t");
	check_field(m.column, "c");
	check_field(m.constraint, "n");
	mark = buf_message_begin(out, 'E');
	buf_put(out, m.fields, m.fields_len);
	buf_message_end(out, mark);
	return true;
}

typedef bool cut_columns(const struct frame *, uint16_t, uint16_t *,
			 uint32_t *);

/*
 * Cuts `hidden` columns off as a session does, and asks the decoder whether
 * the rest is a message of its own.
 */
static void check_cut(const struct frame *f, cut_columns *cut, uint16_t hidden)
{
	struct buf b;
	struct frame shorter;
	uint16_t n, left;
	uint32_t at;
	size_t mark;

	if (!cut(f, hidden, &n, &at))
		return;
	buf_init(&b, 0);
	mark = buf_message_begin(&b, f->type);
	buf_put_u16(&b, n - hidden);
	buf_put(&b, f->body + 2, at - 2);
	buf_message_end(&b, mark);
	assert(frame_next(buf_bytes(&b), buf_len(&b), UINT32_MAX, &shorter) ==
	       FRAME_OK);
	assert(cut(&shorter, 0, &left, &at));
	assert(left == n - hidden && at == shorter.body_len);
	buf_free(&b);
}

static bool again_columns(const struct frame *f, struct buf *out)
{
	uint16_t n;
	uint32_t at;
	size_t mark;

	if (!msg_row_description_cut(f, 0, &n, &at))
		return false;
	check_cut(f, msg_row_description_cut, 1);
	check_cut(f, msg_row_description_cut, n);
	mark = buf_message_begin(out, 'T');
	buf_put_u16(out, n);
	buf_put(out, f->body + 2, at - 2);
	buf_message_end(out, mark);
	return true;
}

/* Value by value; of very many, the first (each call walks the row). */
static bool again_row(const struct frame *f, struct buf *out)
{
	uint16_t n, i;
	uint32_t at = 2;
	size_t mark;

	if (!msg_data_row_cut(f, 0, &n, &at))
		return false;
	check_cut(f, msg_data_row_cut, 1);
	check_cut(f, msg_data_row_cut, n);
	mark = buf_message_begin(out, 'D');
	buf_put_u16(out, n);
	for (i = 0, at = 2; i < n && i < 64; i++) {
		struct mstr v;

		assert(msg_data_row_value(f, i, &v));
		buf_put_u32(out, v.s ? v.len : UINT32_MAX);
		buf_put(out, v.s, v.len);
		at += 4 + v.len;
	}
	buf_put(out, f->body + at, f->body_len - at);
	buf_message_end(out, mark);
	return true;
}

const struct again again_table[] = {
    {'0', false, "start-up packet", again_startup},
    {'Q', false, "Query", again_query},
    {'P', false, "Parse", again_parse},
    {'B', false, "Bind", again_bind},
    {'t', false, "Describe", again_target},
    {'x', false, "Execute", again_execute},
    {'p', false, "PasswordMessage", again_password},
    {'s', false, "SASLInitialResponse", again_sasl_initial},
    {'R', true, "Authentication", again_auth},
    {'K', true, "BackendKeyData", again_key},
    {'S', false, "ParameterStatus", again_parameter},
    {'E', false, "ErrorResponse", again_error},
    {'T', false, "RowDescription", again_columns},
    {'D', false, "DataRow", again_row},
};
const size_t again_count = sizeof(again_table) / sizeof(again_table[0]);

const struct again *again_find(char key)
{
	for (size_t i = 0; i < again_count; i++)
		if (again_table[i].key == key)
			return &again_table[i];
	return NULL;
}

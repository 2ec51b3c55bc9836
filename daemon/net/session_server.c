/*
 * Messages from the server: each answers the head of what is owed, or nobody
 * in particular, or cannot be.
 *
 * What the client may see as it came is not copied: runs of such bytes go
 * from the read buffer to the socket.  Rows with hidden columns are shortened
 * in place.
 */
#include "daemon/net/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/net/origins.h"
#include "daemon/net/session_prepared.h"
#include "rewrite/cache.h"

enum {
	HEADER = 5,
	/* PostgreSQL makes no message above 1 GiB; only rows that must be
	 * shortened and errors are kept whole. */
	WHOLE_MAX = 1 << 30,
	NOTICE_MAX = 1 << 14, /* a longer one is not the server's own */
};

enum handled { HANDLED = 1, HANDLED_MORE, HANDLED_BAD };

static void server_malformed(struct session *s, const struct frame *f)
{
	char detail[160];
	struct reply *head = replies_head(&s->replies);

	snprintf(
	    detail, sizeof(detail),
	    "Message type 0x%02x, length %u, while reply kind %d was owed.",
	    (unsigned char)f->type, f->body_len + 4,
	    head == NULL ? 0 : head->kind);
	session_fatal(s, "08P01",
		      "pgtandem: the server sent an invalid message", detail,
		      NULL);
}

/* A Parse or Close that did not happen: the table is as it was before. */
static void statement_undo(struct session *s, struct reply *r, bool failed)
{
	struct statement *now;

	if (r->kind == REPLY_CLOSE) {
		now = statements_put(&s->statements, r->statement);
		r->statement = now;
		return;
	}
	if (r->fate != FATE_FORWARD) {
		r->statement->lost = true;
		return;
	}
	now = statements_find(&s->statements, r->statement->name,
			      strlen(r->statement->name));
	if (now != r->statement)
		return;
	statement_unref(
	    statements_take(&s->statements, now->name, strlen(now->name)));
	/* A failed Parse has dropped the unnamed statement before. */
	if (r->before == NULL || (failed && r->before->name[0] == '\0'))
		return;
	statement_unref(statements_put(&s->statements, r->before));
	r->before = NULL;
}

void reply_left(void *arg, struct reply *r, bool done, bool failed)
{
	struct session *s = arg;
	bool changes = r->kind == REPLY_PARSE || r->kind == REPLY_CLOSE ||
		       r->fate == FATE_PROBE;

	if (r->statement != NULL && changes && !done)
		statement_undo(s, r, failed);
	if (r->planned != NULL && r->sent_ns != 0 && done)
		plan_count_time(s, r->planned->plan, r->sent_ns);
	statement_unref(r->statement);
	statement_unref(r->before);
	if (r->planned != NULL)
		planned_unref(r->planned);
	free(r->refusal);
	again_free_messages(r->messages);
	prepared_left(s, r);
	if (r->fate == FATE_PROBE && r->last && s->state == SESSION_READY)
		probe_over(s, done);
}

/* Our own reason in place of the server's complaint about the poison. */
static void put_refusal(struct session *s, const struct problem *p)
{
	struct msg_fault f = {
	    .severity = "ERROR",
	    .sqlstate = p->sqlstate,
	    .message = p->message,
	    .detail = p->detail[0] != '\0' ? p->detail : NULL,
	    .hint = p->hint[0] != '\0' ? p->hint : NULL,
	    .position = p->position,
	};
	struct gather *g = &s->worker->to_client;

	msg_put_error(gather_made(g), 'E', &f);
	gather_made_done(g);
	counter_add(&s->worker->count.errors_made, 1);
}

/* Which field of struct error_names a field code stands for, or NULL. */
static const char **error_name(struct error_names *e, char code)
{
	switch (code) {
	case 'M':
		return &e->message;
	case 'D':
		return &e->detail;
	case 'H':
		return &e->hint;
	case 'W':
		return &e->context;
	case 's':
		return &e->schema;
	case 't':
		return &e->table;
	case 'c':
		return &e->column;
	case 'n':
		return &e->constraint;
	case 'C':
		return &e->sqlstate;
	default:
		return NULL;
	}
}

static void put_position(struct buf *b, const struct planned *planned,
			 const char *value)
{
	uint32_t at =
	    plan_map_position(planned->plan, planned->sql, planned->len,
			      (uint32_t)strtoul(value, NULL, 10));

	if (at == 0)
		return;
	buf_put_u8(b, 'P');
	buf_put_fmt(b, "%u", at);
	buf_put_u8(b, 0);
}

/* What a statement names is told in its own words; what it does not, in those
 * of the old model, unless the session knows the new one. */
static void map_names(const struct session *s, const struct plan *plan,
		      struct error_names *names, struct arena *a)
{
	uint64_t but = s->new_shape;

	if (s->db == NULL)
		return;
	if (plan != NULL && (plan->kind == PLAN_EDIT || plan->writes != 0)) {
		plan_map_error(plan, s->db->rules, names, a);
		but |= plan->migrations;
	}
	rules_map_error(s->db->rules, but, names, a);
}

/* What the error names now, and did not as it came. */
static void put_added(struct buf *b, const struct msg_error *e,
		      struct error_names *names)
{
	const struct {
		char code;
		bool came;
	} fields[] = {
	    {'s', e->schema.s != NULL},
	    {'t', e->table.s != NULL},
	    {'c', e->column.s != NULL},
	    {'n', e->constraint.s != NULL},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		const char *value = *error_name(names, fields[i].code);

		if (fields[i].came || value == NULL)
			continue;
		buf_put_u8(b, (uint8_t)fields[i].code);
		buf_put_cstr(b, value);
	}
}

/* The server's error or notice in the client's words: positions and names;
 * all other fields as they came. */
static void put_mapped(struct session *s, const struct reply *head,
		       const struct msg_error *e, char type)
{
	const struct planned *planned = head->planned;
	bool moved = planned != NULL && planned->plan->kind == PLAN_EDIT &&
		     prepared_runs(head->prepared) == NULL;
	struct gather *g = &s->worker->to_client;
	struct buf *b = gather_made(g);
	size_t mark = buf_message_begin(b, type);
	const char *at = (const char *)e->fields;
	const char *end = at + e->fields_len;
	struct arena a;
	struct error_names names = {
	    .sqlstate = e->sqlstate.s,
	    .message = e->message.s,
	    .detail = e->detail.s,
	    .hint = e->hint.s,
	    .context = e->context.s,
	    .schema = e->schema.s,
	    .table = e->table.s,
	    .column = e->column.s,
	    .constraint = e->constraint.s,
	};

	arena_init(&a);
	if (type == 'N')
		plan_map_notice(planned->plan, s->db->rules, &names, &a);
	else
		map_names(s, planned != NULL ? planned->plan : NULL, &names,
			  &a);
	while (at < end && *at != '\0') {
		const char **name = error_name(&names, *at);
		const char *value = at + 1;

		if (*at == 'P' && moved) { /* not of EXECUTE's own text */
			put_position(b, planned, value);
		} else if (name == NULL || *name != NULL) {
			buf_put_u8(b, (uint8_t)*at);
			buf_put_cstr(b, name != NULL ? *name : value);
		}
		at = value + strlen(value) + 1;
	}
	put_added(b, e, &names);
	buf_put_u8(b, 0);
	buf_message_end(b, mark);
	gather_made_done(g);
	arena_free(&a);
}

static bool error_is_fatal(const struct msg_error *e)
{
	return e->severity.s != NULL && (strcmp(e->severity.s, "FATAL") == 0 ||
					 strcmp(e->severity.s, "PANIC") == 0);
}

/* An error of a probe that has its own Sync is the probe's own affair. */
static void probe_error(struct session *s, const struct reply *head,
			const struct msg_error *e)
{
	struct problem *p = problem_create(e->sqlstate.s);

	snprintf(p->message, sizeof(p->message), "pgtandem: %s: %s",
		 head->statement != NULL ? "preparing a statement again"
					 : "asking what names mean here",
		 e->message.s == NULL ? "" : e->message.s);
	free(s->probe_failed);
	s->probe_failed = p;
}

void query_statement(struct reply *r)
{
	const struct plan *plan = r->planned == NULL ? NULL : r->planned->plan;

	bool own = plan != NULL && plan->kind == PLAN_EDIT &&
		   r->at < plan->n_stmts && prepared_runs(r->prepared) == NULL;

	r->hidden = own ? plan->stmts[r->at].hidden : 0;
	r->silent = own && plan->stmts[r->at].silent;
	r->ours = own && plan->stmts[r->at].ours;
	r->origins = own ? plan->stmts[r->at].origins : NULL;
	prepared_results(r);
}

/* The server could not read it either, and did not come to the poison. */
static bool is_own_fault(const struct reply *head, const struct msg_error *e)
{
	static const char poison[] = "\"pgtandem\"";

	return head->planned != NULL && head->planned->plan->unread &&
	       e->message.s != NULL &&
	       memmem(e->message.s, e->message.len, poison,
		      sizeof(poison) - 1) == NULL;
}

static enum handled server_error(struct session *s, const struct frame *f)
{
	struct reply *head = replies_head(&s->replies);
	struct msg_error e;

	if (!msg_error_decode(f, &e) || e.sqlstate.s == NULL ||
	    e.severity.s == NULL)
		return HANDLED_BAD;
	if (error_is_fatal(&e))
		s->told_fatal = true;
	if (head != NULL && !s->told_fatal && again_begin(s, head, &e))
		return HANDLED;
	if (head == NULL || s->told_fatal)
		gather_ref(&s->worker->to_client, f->body - HEADER, f->size);
	else if (head->fate == FATE_PROBE && head->own_sync)
		probe_error(s, head, &e);
	else if (head->refusal != NULL && !is_own_fault(head, &e))
		put_refusal(s, head->refusal);
	else if (head->refusal == NULL &&
		 (head->planned != NULL || s->db != NULL))
		put_mapped(s, head, &e, 'E');
	else
		gather_ref(&s->worker->to_client, f->body - HEADER, f->size);
	replies_failed(&s->replies);
	return HANDLED;
}

/* A notice about a statement that was edited is about what was sent. */
static bool server_notice(struct session *s, const struct frame *f, size_t have,
			  enum handled *ret)
{
	const struct reply *head = replies_head(&s->replies);
	struct msg_error e;

	if (f->type != 'N' || f->size > NOTICE_MAX || s->db == NULL ||
	    head == NULL || head->planned == NULL)
		return false;
	*ret = HANDLED_MORE;
	if (have < f->size)
		return true;
	*ret = HANDLED_BAD;
	if (!msg_error_decode(f, &e))
		return true;
	put_mapped(s, head, &e, 'N');
	*ret = HANDLED;
	return true;
}

static void store_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void store_u32(uint8_t *p, uint32_t v)
{
	store_u16(p, (uint16_t)(v >> 16));
	store_u16(p + 2, (uint16_t)v);
}

/* Cuts the hidden columns off a RowDescription or DataRow, where it lies. */
static enum handled server_cut(struct session *s, const struct frame *f,
			       uint8_t *at, uint8_t hidden)
{
	uint16_t columns;
	uint32_t end;
	bool ok = f->type == 'T'
		      ? msg_row_description_cut(f, hidden, &columns, &end)
		      : msg_data_row_cut(f, hidden, &columns, &end);

	if (!ok || columns < hidden)
		return HANDLED_BAD;
	store_u32(at + 1, end + 4);
	store_u16(at + HEADER, (uint16_t)(columns - hidden));
	gather_ref(&s->worker->to_client, at, HEADER + end);
	return HANDLED;
}

/* Where the columns that the client sees come from, told where it lies. */
static enum handled server_tell_origins(const struct frame *f, uint8_t *at,
					const struct reply *head)
{
	uint16_t columns;
	uint32_t end;

	if (!msg_row_description_cut(f, head->hidden, &columns, &end))
		return HANDLED_BAD;
	origins_apply(head->origins, at + HEADER,
		      (uint16_t)(columns - head->hidden));
	return HANDLED;
}

/* A statement of the head is complete: what its tag says about others. */
static void server_tag(struct session *s, const struct frame *f,
		       struct reply *head)
{
	const char *tag = (const char *)f->body;

	if ((tag[0] == 'P' || tag[0] == 'D') && f->body_len >= 4 &&
	    tag[f->body_len - 1] == '\0' && head->fate == FATE_FORWARD)
		prepared_completed(s, head, tag);
}

/* NoData in place of a RowDescription that the client must not see. */
static void put_no_data(struct session *s)
{
	struct gather *g = &s->worker->to_client;

	msg_put_simple(gather_made(g), 'n');
	gather_made_done(g);
}

/* Is the message looked into, so that all of it must be there? */
static bool server_wants_whole(const struct reply *head, const struct frame *f)
{
	switch (f->type) {
	case 'E':
	case 'Z':
	case 'S':
	case 'C':
	case 'I':
	case 'n':
	case '1':
	case '2':
	case '3':
	case 's':
		return true;
	case 'T':
	case 'D':
		return head != NULL &&
		       (head->hidden > 0 || head->fate == FATE_PROBE ||
			(f->type == 'T' && head->origins != NULL));
	default:
		return false;
	}
}

/* Messages of edited or injected statements that the client sees otherwise
 * than they came; false: forward it. */
static bool server_shows_otherwise(struct session *s, struct reply *head,
				   const struct frame *f, uint8_t *at,
				   enum handled *ret)
{
	bool rows = f->type == 'T' || f->type == 'D';

	*ret = HANDLED;
	if (head->fate == FATE_PROBE && f->type == 'D')
		probe_row(s, f);
	if (head->fate != FATE_FORWARD || (head->ours && f->type == 'C'))
		return true;
	if (!rows)
		return false;
	if (head->silent) {
		if (f->type == 'T' && head->kind != REPLY_QUERY)
			put_no_data(s);
		return true;
	}
	if (f->type == 'T' && head->origins != NULL)
		*ret = server_tell_origins(f, at, head);
	if (head->hidden > 0 && *ret == HANDLED)
		*ret = server_cut(s, f, at, head->hidden);
	return head->hidden > 0 || *ret != HANDLED;
}

static void server_parameter(struct session *s, const struct frame *f)
{
	struct mstr name, value;

	if (!msg_parameter_decode(f, &name, &value))
		return;
	if (strcmp(name.s, "application_name") == 0) {
		free(s->application);
		s->application = strndup(value.s, value.len);
	} else if (strcmp(name.s, "search_path") == 0) {
		s->names_known = false;
	}
	plan_note_parameter(s, name.s, value.s);
}

/* Forwards, drops or changes a message for the client. */
static enum handled server_show(struct session *s, struct reply *head,
				const struct frame *f, uint8_t *at, size_t have)
{
	enum handled h;
	bool whole = have >= f->size;
	size_t n = whole ? f->size : have;

	if (head != NULL && server_shows_otherwise(s, head, f, at, &h)) {
		if (!whole) {
			s->from_server.remaining = f->size - (uint32_t)n;
			s->from_server.mode = STREAM_DROP;
		}
		return h;
	}
	gather_ref(&s->worker->to_client, at, n);
	if (!whole) {
		s->from_server.remaining = f->size - (uint32_t)n;
		s->from_server.mode = STREAM_FORWARD;
	}
	return HANDLED;
}

/* After it has been shown: what it changes. */
static void server_account(struct session *s, struct reply *head,
			   const struct frame *f, enum reply_step step)
{
	if (f->type == 'S')
		server_parameter(s, f);
	if (step == STEP_STRAY)
		replies_stray(&s->replies);
	if (f->type == 'Z')
		s->tx = (char)f->body[0];
	if (head == NULL)
		return;
	if (f->type == 'G')
		replies_copy_started(&s->replies);
	if (f->type == 'C')
		server_tag(s, f, head);
	if (head->kind == REPLY_QUERY && (f->type == 'C' || f->type == 'I')) {
		head->at++;
		query_statement(head);
	}
	if (step == STEP_LAST)
		replies_done(&s->replies);
	if (s->wait == WAIT_REPLIES && s->replies.count < REPLIES_MAX / 2)
		client_go_on(s, WAIT_REPLIES);
	if (f->type == 'Z')
		session_unpin_if_idle(s);
}

/* A message begins at `at`, of which `have` bytes were read. */
static enum handled server_message(struct session *s, const struct frame *f,
				   uint8_t *at, size_t have)
{
	enum reply_step step = replies_step(&s->replies, f->type);
	struct reply *head = step == STEP_FORWARD || step == STEP_LAST
				 ? replies_head(&s->replies)
				 : NULL;
	enum handled h;

	if (step == STEP_BAD || (f->type == 'Z' && f->body_len != 1))
		return HANDLED_BAD;
	if (server_notice(s, f, have, &h))
		return h;
	if (f->type == 'N' || f->type == 'A' || f->type == 'S')
		head = NULL;
	if (server_wants_whole(head, f) && have < f->size)
		return f->size > WHOLE_MAX ? HANDLED_BAD : HANDLED_MORE;
	if (step == STEP_ERROR)
		return server_error(s, f);
	if (step == STEP_LAST && head != NULL && head->again) {
		again_send(s);
		return HANDLED;
	}
	if (head != NULL)
		head->shown = true;
	h = server_show(s, head, f, at, have);
	if (h == HANDLED)
		server_account(s, head, f, step);
	return h;
}

static size_t server_stream(struct session *s, uint8_t *bytes, size_t len)
{
	struct stream *st = &s->from_server;
	size_t n = len < st->remaining ? len : st->remaining;

	if (st->mode == STREAM_FORWARD)
		gather_ref(&s->worker->to_client, bytes, n);
	st->remaining -= (uint32_t)n;
	return n;
}

size_t server_data(struct session *s, uint8_t *bytes, size_t len)
{
	size_t used = 0;
	struct frame f;
	enum handled h;

	if (s->state == SESSION_PIPE) {
		gather_ref(&s->worker->to_client, bytes, len);
		return len;
	}
	while (used < len && s->state == SESSION_READY) {
		if (s->from_server.remaining > 0) {
			used += server_stream(s, bytes + used, len - used);
			continue;
		}
		switch (frame_peek(bytes + used, len - used, &f)) {
		case FRAME_MORE:
			return used;
		case FRAME_BAD:
			f = (struct frame){.type = (char)bytes[used]};
			server_malformed(s, &f);
			return len;
		case FRAME_OK:
			break;
		}
		h = server_message(s, &f, bytes + used, len - used);
		if (h == HANDLED_MORE)
			return used;
		if (h == HANDLED_BAD) {
			server_malformed(s, &f);
			return len;
		}
		used += f.size <= len - used ? f.size : len - used;
	}
	return used;
}

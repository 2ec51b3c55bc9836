/*
 * Messages from the client: each is forwarded as it came, or in another text,
 * or waits; what it will be answered is entered into the queue of replies.
 *
 * A message that pgtandem need not look into is streamed, however long it is.
 * Texts are looked into up to max_statement_bytes and a little; a longer one
 * is streamed too, in pieces that are searched for names under migration: if
 * one turns up, the rest goes out as zeros, which the server refuses as an
 * invalid message before it runs anything, and the client is told why.
 */
#include "daemon/net/session_client.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/net/session_prepared.h"
#include "rewrite/cache.h"
#include "rewrite/prepared.h"

enum {
	TEXT_SLACK = 64 * 1024, /* names, types, header beside the text */
	/* Zeros at the end of a blanked message: more than the fields behind
	 * its text could take in and still be valid. */
	BLANK_MIN = 8,
};

const char client_poison[] = PLAN_POISON;

void client_wait(struct session *s, enum session_wait why)
{
	assert(s->wait == WAIT_NOTHING);
	s->wait = why;
	conn_pause(s->client);
	if (why == WAIT_HOLD) {
		counter_add(&s->worker->count.held, 1);
		session_unpin_if_idle(s);
	}
}

void client_go_on(struct session *s, enum session_wait from)
{
	if (s->wait != from || from == WAIT_NOTHING)
		return;
	if (from == WAIT_HOLD)
		counter_add(&s->worker->count.held, (uint64_t)-1);
	s->wait = WAIT_NOTHING;
	if (!conn_is_crowded(s->server))
		conn_resume(s->client);
}

enum handled client_forward(struct session *s, const struct frame *f,
			    uint8_t *at, size_t have)
{
	size_t n = have < f->size ? have : f->size;

	gather_ref(&s->worker->to_server, at, n);
	s->from_client.remaining = f->size - (uint32_t)n;
	s->from_client.mode = STREAM_FORWARD;
	return HANDLED;
}

/* EXECUTE names no relation; what it runs may be of another phase. */
static bool names_anything(const struct session *s, const void *piece, size_t n)
{
	return ruleset_mentions(s->db->rules, piece, n) ||
	       (s->made_by_sql && prepared_mentions(piece, n));
}

/* Does this piece name anything, alone or together with the end of the one
 * before? */
static bool scan_piece(struct session *s, const uint8_t *bytes, size_t n)
{
	uint8_t seam[2 * SCAN_OVERLAP];
	size_t tail = s->scan_tail_len;
	size_t head = n < SCAN_OVERLAP ? n : SCAN_OVERLAP;

	memcpy(seam, s->scan_tail, tail);
	memcpy(seam + tail, bytes, head);
	if (names_anything(s, seam, tail + head) || names_anything(s, bytes, n))
		return true;
	if (n >= SCAN_OVERLAP) {
		memcpy(s->scan_tail, bytes + n - SCAN_OVERLAP, SCAN_OVERLAP);
		s->scan_tail_len = SCAN_OVERLAP;
		return false;
	}
	n = tail + head < SCAN_OVERLAP ? tail + head : SCAN_OVERLAP;
	memmove(s->scan_tail, seam + tail + head - n, n);
	s->scan_tail_len = n;
	return false;
}

static void scan_refuse(struct session *s)
{
	struct reply *r = replies_tail(&s->replies);

	counter_add(&s->worker->count.refused, 1);
	s->from_client.mode = STREAM_BLANK;
	if (r == NULL || r->refusal != NULL ||
	    (r->kind != REPLY_QUERY && r->kind != REPLY_PARSE))
		return;
	r->refusal = problem_create("54001");
	problem_set(r->refusal, "54001",
		    "pgtandem: the statement is too long to be rewritten");
	problem_detail(r->refusal,
		       "It names a relation under migration and is longer "
		       "than max_statement_bytes.");
	problem_hint(r->refusal, "Use shorter statements, or COPY.");
}

static size_t stream_scan(struct session *s, uint8_t *bytes, size_t len)
{
	struct stream *st = &s->from_client;
	size_t n = len < st->remaining ? len : st->remaining;

	/* The last piece is never too short to be blanked. */
	if (n < st->remaining && st->remaining - n < BLANK_MIN) {
		if (st->remaining <= BLANK_MIN)
			return 0;
		n = st->remaining - BLANK_MIN;
	}
	if (st->mode == STREAM_SCAN && scan_piece(s, bytes, n))
		scan_refuse(s);
	if (st->mode == STREAM_BLANK)
		memset(bytes, 0, n);
	return n;
}

/* Returns how many bytes were used; 0: more must come first. */
static size_t client_stream(struct session *s, uint8_t *bytes, size_t len)
{
	struct stream *st = &s->from_client;
	size_t n = len < st->remaining ? len : st->remaining;

	if (st->mode == STREAM_SCAN || st->mode == STREAM_BLANK)
		n = stream_scan(s, bytes, len);
	gather_ref(&s->worker->to_server, bytes, n);
	st->remaining -= (uint32_t)n;
	return n;
}

/* Only the header goes now: the body is streamed and searched. */
enum handled client_scan(struct session *s, const struct frame *f, uint8_t *at)
{
	if (s->scan_tail == NULL)
		s->scan_tail = malloc(SCAN_OVERLAP);
	if (s->scan_tail == NULL)
		abort();
	s->scan_tail_len = 0;
	gather_ref(&s->worker->to_server, at, CLIENT_HEADER);
	s->from_client.remaining = f->body_len;
	s->from_client.mode = STREAM_SCAN;
	return HANDLED;
}

/* May the text be looked into whole?  If not and more must come, MORE. */
bool client_text_is_long(const struct session *s, const struct frame *f)
{
	size_t limit =
	    s->db == NULL
		? CLIENT_SMALL
		: (size_t)s->db->rules->max_statement_bytes + TEXT_SLACK;

	return f->size > limit;
}

/* In a failed transaction the server refuses by itself, with its own words; a
 * text of several statements might leave the transaction first. */
static bool refusal_is_moot(const struct session *s, const char *sql,
			    size_t len)
{
	const char *end = memchr(sql, ';', len);

	return s->tx == 'E' && s->replies.count == 0 &&
	       (end == NULL || end == sql + len - 1);
}

enum verdict client_refusal_unless_moot(const struct session *s,
					struct mstr sql, enum verdict v,
					struct outcome *o)
{
	if (v != VERDICT_REFUSE || !refusal_is_moot(s, sql.s, sql.len))
		return v;
	free(o->refusal);
	o->refusal = NULL;
	return VERDICT_PASS;
}

void client_note_refused(struct session *s, struct reply *r,
			 struct problem *refusal)
{
	counter_add(&s->worker->count.refused, 1);
	if (r != NULL)
		r->refusal = refusal;
	else
		free(refusal);
}

/* What becomes of the replies to the (first) statement of a plan. */
const struct plan_stmt *client_plan_first(const struct planned *planned)
{
	static const struct plan_stmt plain;

	if (planned == NULL || planned->plan->kind != PLAN_EDIT ||
	    planned->plan->n_stmts == 0)
		return &plain;
	return &planned->plan->stmts[0];
}

/* The server is not listening: a failed sequence, or COPY data expected. */
bool client_is_unheard(const struct session *s)
{
	return s->replies.skipping || s->replies.copy_in;
}

void client_note_statement(struct session *s)
{
	s->statements_seen++;
	counter_add(&s->worker->count.statements, 1);
}

/* What a reply to an edited text needs; takes over `planned`. */
void client_reply_plan(struct reply *r, struct planned *planned)
{
	const struct plan_stmt *first = client_plan_first(planned);

	if (planned == NULL)
		return;
	if (r == NULL) {
		planned_unref(planned);
		return;
	}
	r->planned = planned;
	r->hidden = first->hidden;
	r->silent = first->silent;
	r->ours = first->ours;
	r->origins = first->origins;
	if (r->kind == REPLY_QUERY || r->kind == REPLY_EXECUTE)
		r->sent_ns = uv_hrtime();
}

/* The plan of a text and whether it may run now. */
enum verdict client_text_verdict(struct session *s, struct mstr sql,
				 unsigned flags, struct outcome *ret)
{
	enum verdict v = plan_text(s, sql.s, sql.len, flags, ret), admit;

	if (ret->planned == NULL || v == VERDICT_WAIT || v == VERDICT_REFUSE)
		return v;
	admit = plan_admit(s, ret->planned->plan, &ret->refusal);
	if (admit == VERDICT_WAIT) {
		planned_unref(ret->planned);
		ret->planned = NULL;
	}
	return admit == VERDICT_PASS ? v : admit;
}

/* The server reads all of a text before it runs any of it. */
const char *client_poison_of(const struct planned *planned)
{
	return planned != NULL && planned->plan->unread ? planned->plan->text
							: client_poison;
}

static void query_poison(struct session *s, struct reply *r,
			 const struct planned *planned, struct problem *refusal)
{
	struct gather *g = &s->worker->to_server;
	const char *poison = client_poison_of(planned);

	msg_put_query(gather_made(g), poison, strlen(poison));
	gather_made_done(g);
	client_note_refused(s, r, refusal);
}

/* A text's verdict, and what it does with prepared statements. */
static enum verdict query_verdict(struct session *s, struct mstr sql,
				  struct outcome *o, struct prepared **ret)
{
	enum verdict v, look;

	*o = (struct outcome){0};
	*ret = NULL;
	v = s->db == NULL ? VERDICT_PASS : client_text_verdict(s, sql, 0, o);
	if (v == VERDICT_WAIT || v == VERDICT_REFUSE)
		return v;
	look = prepared_look(s, sql.s, sql.len, ret, &o->refusal);
	if (look == VERDICT_WAIT && o->planned != NULL)
		planned_unref(o->planned);
	return look == VERDICT_PASS ? v : look;
}

static enum handled query_known(struct session *s, const struct frame *f,
				uint8_t *at, struct mstr sql)
{
	struct gather *g = &s->worker->to_server;
	struct outcome o;
	struct prepared *prepared;
	enum verdict v = query_verdict(s, sql, &o, &prepared);
	struct reply *r;

	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	v = client_refusal_unless_moot(s, sql, v, &o);
	plan_note_names(s, sql.s, sql.len);
	client_note_statement(s);
	r = replies_push(&s->replies, REPLY_QUERY, FATE_FORWARD);
	if (o.planned != NULL)
		plan_count_use(s, o.planned->plan, v == VERDICT_REFUSE);
	if (prepared_runs(prepared) != NULL)
		plan_count_use(s, prepared_runs(prepared)->plan, false);
	if (v == VERDICT_REFUSE) {
		query_poison(s, r, o.planned, o.refusal);
	} else if (v == VERDICT_EDIT && o.planned != NULL) {
		msg_put_query(gather_made(g), o.planned->plan->text,
			      o.planned->plan->len);
		gather_made_done(g);
	} else {
		gather_ref(g, at, f->size);
	}
	client_reply_plan(r, o.planned);
	prepared_expect(s, r, prepared);
	return HANDLED;
}

static enum handled client_query(struct session *s, const struct frame *f,
				 uint8_t *at, size_t have)
{
	struct msg_query m;
	bool whole = have >= f->size;

	if (!client_is_unheard(s) && s->db != NULL) {
		if (client_text_is_long(s, f)) {
			client_note_statement(s);
			replies_push(&s->replies, REPLY_QUERY, FATE_FORWARD);
			return client_scan(s, f, at);
		}
		if (!whole)
			return HANDLED_MORE;
	}
	if (!client_is_unheard(s) && whole && msg_query_decode(f, &m))
		return query_known(s, f, at, m.sql);
	client_note_statement(s);
	replies_push(&s->replies, REPLY_QUERY, FATE_FORWARD);
	return client_forward(s, f, at, have);
}

static enum handled client_sync(struct session *s, const struct frame *f,
				uint8_t *at, size_t have)
{
	replies_push(&s->replies, REPLY_SYNC, FATE_FORWARD);
	s->executed = 0;
	return client_forward(s, f, at, have);
}

static enum handled client_call(struct session *s, const struct frame *f,
				uint8_t *at, size_t have)
{
	replies_push(&s->replies, REPLY_CALL, FATE_FORWARD);
	return client_forward(s, f, at, have);
}

static enum handled client_copy_end(struct session *s, const struct frame *f,
				    uint8_t *at, size_t have)
{
	replies_copy_ended(&s->replies);
	return client_forward(s, f, at, have);
}

static enum handled client_terminate(struct session *s, const struct frame *f,
				     uint8_t *at, size_t have)
{
	s->terminated = true;
	return client_forward(s, f, at, have);
}

typedef enum handled (*client_fn)(struct session *s, const struct frame *f,
				  uint8_t *at, size_t have);

/* Types that are not here are forwarded: the server knows what to say. */
static const client_fn handlers[128] = {
    ['B'] = client_bind,      ['C'] = client_close,    ['D'] = client_describe,
    ['E'] = client_execute,   ['F'] = client_call,     ['H'] = client_forward,
    ['P'] = client_parse,     ['Q'] = client_query,    ['S'] = client_sync,
    ['X'] = client_terminate, ['c'] = client_copy_end, ['d'] = client_forward,
    ['f'] = client_copy_end,
};

/* Those that an owed PREPARE may change: they wait for it. */
static const bool depends_on_prepared[128] = {
    ['B'] = true, ['C'] = true, ['D'] = true, ['P'] = true, ['Q'] = true,
};

static enum handled client_message(struct session *s, const struct frame *f,
				   uint8_t *at, size_t have)
{
	unsigned char type = (unsigned char)f->type;
	client_fn fn = type < 128 ? handlers[type] : NULL;

	if (replies_full(&s->replies)) {
		client_wait(s, WAIT_REPLIES);
		return HANDLED_WAIT;
	}
	if (s->pin == NULL && s->worker->paused && type != 'X') {
		client_wait(s, WAIT_PAUSE);
		return HANDLED_WAIT;
	}
	session_pin(s);
	if (s->prepares_owed > 0 && type < 128 && depends_on_prepared[type] &&
	    !client_is_unheard(s)) {
		prepared_wait(s);
		return HANDLED_WAIT;
	}
	return fn == NULL ? client_forward(s, f, at, have) : fn(s, f, at, have);
}

static void client_malformed(struct session *s)
{
	session_fatal(s, "08P01",
		      "pgtandem: the client sent an invalid message", NULL,
		      NULL);
}

/* Cuts one message, or a part of a long one, off the front; 0: more is needed
 * or it waits. */
static size_t client_next(struct session *s, uint8_t *bytes, size_t len)
{
	struct frame f;

	if (s->from_client.remaining > 0)
		return client_stream(s, bytes, len);
	switch (frame_peek(bytes, len, &f)) {
	case FRAME_MORE:
		return 0;
	case FRAME_BAD:
		client_malformed(s);
		return 0;
	case FRAME_OK:
		break;
	}
	switch (client_message(s, &f, bytes, len)) {
	case HANDLED:
		break;
	case HANDLED_BAD:
		client_malformed(s);
		return 0;
	case HANDLED_MORE:
	case HANDLED_WAIT:
		return 0;
	}
	return f.size - s->from_client.remaining;
}

size_t client_data(struct session *s, uint8_t *bytes, size_t len)
{
	size_t used = 0, n;

	if (s->state == SESSION_PIPE) {
		gather_ref(&s->worker->to_server, bytes, len);
		return len;
	}
	while (used < len && s->state == SESSION_READY &&
	       s->wait == WAIT_NOTHING) {
		n = client_next(s, bytes + used, len - used);
		if (n == 0)
			break;
		used += n;
	}
	return used;
}

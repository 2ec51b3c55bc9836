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
#include "daemon/net/session.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "rewrite/cache.h"

enum {
	HEADER = 5,
	TEXT_SLACK = 64 * 1024, /* names, types, header beside the text */
	SMALL_MESSAGE = 64 * 1024,
	/* Zeros at the end of a blanked message: more than the fields behind
	 * its text could take in and still be valid. */
	BLANK_MIN = 8,
};

/* Surely a syntax error: the server fails, and so does its transaction. */
static const char poison[] = "pgtandem refused";
static const char poison_name[] = "pgtandem.refused";

enum handled {
	HANDLED = 1,
	HANDLED_MORE, /* all of the message must be there */
	HANDLED_WAIT, /* it stays; client_go_on brings it again */
	HANDLED_BAD,
};

/* --- waiting ----------------------------------------------------------------
 */

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

/* --- forwarding
 * --------------------------------------------------------------- */

static enum handled client_forward(struct session *s, const struct frame *f,
				   uint8_t *at, size_t have)
{
	size_t n = have < f->size ? have : f->size;

	gather_ref(&s->worker->to_server, at, n);
	s->from_client.remaining = f->size - (uint32_t)n;
	s->from_client.mode = STREAM_FORWARD;
	return HANDLED;
}

/* --- long texts
 * ----------------------------------------------------------------- */

/* Does this piece name anything, alone or together with the end of the one
 * before? */
static bool scan_piece(struct session *s, const uint8_t *bytes, size_t n)
{
	uint8_t seam[2 * SCAN_OVERLAP];
	size_t tail = s->scan_tail_len;
	size_t head = n < SCAN_OVERLAP ? n : SCAN_OVERLAP;
	const struct ruleset *rules = s->db->rules;

	memcpy(seam, s->scan_tail, tail);
	memcpy(seam + tail, bytes, head);
	if (ruleset_mentions(rules, (const char *)seam, tail + head) ||
	    ruleset_mentions(rules, (const char *)bytes, n))
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
static enum handled client_scan(struct session *s, const struct frame *f,
				uint8_t *at)
{
	if (s->scan_tail == NULL)
		s->scan_tail = malloc(SCAN_OVERLAP);
	if (s->scan_tail == NULL)
		abort();
	s->scan_tail_len = 0;
	gather_ref(&s->worker->to_server, at, HEADER);
	s->from_client.remaining = f->body_len;
	s->from_client.mode = STREAM_SCAN;
	return HANDLED;
}

/* May the text be looked into whole?  If not and more must come, MORE. */
static bool text_is_long(const struct session *s, const struct frame *f)
{
	size_t limit =
	    s->db == NULL
		? SMALL_MESSAGE
		: (size_t)s->db->rules->max_statement_bytes + TEXT_SLACK;

	return f->size > limit;
}

/* --- refusing
 * -------------------------------------------------------------------- */

/* In a failed transaction the server refuses by itself, with its own words; a
 * text of several statements might leave the transaction first. */
static bool refusal_is_moot(const struct session *s, const char *sql,
			    size_t len)
{
	const char *end = memchr(sql, ';', len);

	return s->tx == 'E' && s->replies.count == 0 &&
	       (end == NULL || end == sql + len - 1);
}

static enum verdict refusal_unless_moot(const struct session *s,
					struct mstr sql, enum verdict v,
					struct outcome *o)
{
	if (v != VERDICT_REFUSE || !refusal_is_moot(s, sql.s, sql.len))
		return v;
	free(o->refusal);
	o->refusal = NULL;
	return VERDICT_PASS;
}

static void note_refused(struct session *s, struct reply *r,
			 struct problem *refusal)
{
	counter_add(&s->worker->count.refused, 1);
	if (r != NULL)
		r->refusal = refusal;
	else
		free(refusal);
}

/* Fails the client's extended-protocol sequence at this place. */
static void inject_poison(struct session *s, struct problem *refusal)
{
	struct gather *g = &s->worker->to_server;

	msg_put_parse(gather_made(g), poison_name, poison, sizeof(poison) - 1,
		      0, NULL);
	gather_made_done(g);
	note_refused(s, replies_push(&s->replies, REPLY_PARSE, FATE_SWALLOW),
		     refusal);
}

/* --- DEALLOCATE in SQL
 * -------------------------------------------------------------- */

static bool skip_word(const char **at, const char *end, const char *word)
{
	size_t n = strlen(word);

	while (*at < end && isspace((unsigned char)**at))
		(*at)++;
	if ((size_t)(end - *at) < n || strncasecmp(*at, word, n) != 0)
		return false;
	if (*at + n < end &&
	    (isalnum((unsigned char)(*at)[n]) || (*at)[n] == '_'))
		return false;
	*at += n;
	return true;
}

/* An identifier as the parser folds it; 0 if there is none. */
static size_t read_name(const char *at, const char *end, char *ret, size_t size)
{
	bool quoted;
	size_t n = 0;

	while (at < end && isspace((unsigned char)*at))
		at++;
	quoted = at < end && *at == '"';
	for (at += quoted; at < end && n + 1 < size; at++) {
		if (quoted && *at == '"' && (at + 1 == end || at[1] != '"'))
			break;
		if (quoted && *at == '"')
			at++;
		if (!quoted && !isalnum((unsigned char)*at) && *at != '_' &&
		    *at != '$' && !(*at & 0x80))
			break;
		ret[n++] = quoted ? *at : (char)tolower((unsigned char)*at);
	}
	ret[n] = '\0';
	return n;
}

/* The prepared statement that a text deallocates, borrowed; or NULL. */
static struct statement *deallocated(const struct session *s, const char *sql,
				     size_t len)
{
	const char *at = sql, *end = sql + len;
	char name[256];
	size_t n;

	if (s->statements.n == 0 || !skip_word(&at, end, "deallocate"))
		return NULL;
	skip_word(&at, end, "prepare");
	n = read_name(at, end, name, sizeof(name));
	return n == 0 ? NULL : statements_find(&s->statements, name, n);
}

/* --- portals
 * -------------------------------------------------------------------------- */

static struct portal *portal_find(const struct session *s, struct mstr name)
{
	struct portal *p = s->portals;

	while (p != NULL && (strlen(p->name) != name.len ||
			     memcmp(p->name, name.s, name.len) != 0))
		p = p->next;
	return p;
}

static void portal_forget(struct session *s, struct mstr name)
{
	struct portal *p = portal_find(s, name), **at = &s->portals;

	if (p == NULL)
		return;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (p->planned != NULL)
		planned_unref(p->planned);
	statement_unref(p->deallocates);
	free(p->name);
	free(p);
}

static void portal_remember(struct session *s, struct mstr name,
			    struct planned *planned, struct statement *target)
{
	struct portal *p;

	portal_forget(s, name);
	if (planned == NULL && target == NULL)
		return;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		abort();
	p->name = strndup(name.s, name.len);
	if (planned != NULL)
		p->planned = planned_ref(planned);
	if (target != NULL)
		p->deallocates = statement_ref(target);
	p->next = s->portals;
	s->portals = p;
}

/* What becomes of the replies to the (first) statement of a plan. */
static const struct plan_stmt *plan_first(const struct planned *planned)
{
	static const struct plan_stmt plain;

	if (planned == NULL || planned->plan->kind != PLAN_EDIT ||
	    planned->plan->n_stmts == 0)
		return &plain;
	return &planned->plan->stmts[0];
}

/* --- Query
 * ------------------------------------------------------------------------------
 */

/* The server is not listening: a failed sequence, or COPY data expected. */
static bool server_is_deaf(const struct session *s)
{
	return s->replies.skipping || s->replies.copy_in;
}

static void note_statement(struct session *s)
{
	s->statements_seen++;
	counter_add(&s->worker->count.statements, 1);
}

/* What a reply to an edited text needs; takes over `planned`. */
static void reply_plan(struct reply *r, struct planned *planned)
{
	const struct plan_stmt *first = plan_first(planned);

	if (planned == NULL)
		return;
	if (r == NULL) {
		planned_unref(planned);
		return;
	}
	r->planned = planned;
	r->hidden = first->hidden;
	r->silent = first->silent;
	if (r->kind == REPLY_QUERY || r->kind == REPLY_EXECUTE)
		r->sent_ns = uv_hrtime();
}

/* The plan of a text and whether it may run now. */
static enum verdict text_verdict(struct session *s, struct mstr sql,
				 struct outcome *ret)
{
	enum verdict v = plan_text(s, sql.s, sql.len, ret), admit;

	if (ret->planned == NULL || v == VERDICT_WAIT || v == VERDICT_REFUSE)
		return v;
	admit = plan_admit(s, ret->planned->plan, &ret->refusal);
	if (admit == VERDICT_WAIT) {
		planned_unref(ret->planned);
		ret->planned = NULL;
	}
	return admit == VERDICT_PASS ? v : admit;
}

static struct reply *query_expect(struct session *s, struct mstr sql)
{
	struct reply *r = replies_push(&s->replies, REPLY_QUERY, FATE_FORWARD);
	struct statement *gone = deallocated(s, sql.s, sql.len);

	if (r != NULL && gone != NULL)
		r->statement = statement_ref(gone);
	return r;
}

static void query_poison(struct session *s, struct reply *r,
			 struct problem *refusal)
{
	struct gather *g = &s->worker->to_server;

	msg_put_query(gather_made(g), poison, sizeof(poison) - 1);
	gather_made_done(g);
	note_refused(s, r, refusal);
}

static enum handled query_with_rules(struct session *s, const struct frame *f,
				     uint8_t *at, struct mstr sql)
{
	struct gather *g = &s->worker->to_server;
	struct outcome o;
	enum verdict v = text_verdict(s, sql, &o);
	struct reply *r;

	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	v = refusal_unless_moot(s, sql, v, &o);
	plan_note_names(s, sql.s, sql.len);
	note_statement(s);
	r = query_expect(s, sql);
	if (o.planned != NULL)
		plan_count_use(s, o.planned->plan, v == VERDICT_REFUSE);
	if (v == VERDICT_REFUSE) {
		query_poison(s, r, o.refusal);
	} else if (v == VERDICT_EDIT) {
		msg_put_query(gather_made(g), o.planned->plan->text,
			      o.planned->plan->len);
		gather_made_done(g);
	} else {
		gather_ref(g, at, f->size);
	}
	reply_plan(r, o.planned);
	return HANDLED;
}

static enum handled client_query(struct session *s, const struct frame *f,
				 uint8_t *at, size_t have)
{
	struct msg_query m;
	bool whole = have >= f->size;

	if (!server_is_deaf(s) && s->db != NULL) {
		if (text_is_long(s, f)) {
			note_statement(s);
			replies_push(&s->replies, REPLY_QUERY, FATE_FORWARD);
			return client_scan(s, f, at);
		}
		if (!whole)
			return HANDLED_MORE;
		if (msg_query_decode(f, &m))
			return query_with_rules(s, f, at, m.sql);
	}
	note_statement(s);
	if (whole && msg_query_decode(f, &m))
		query_expect(s, m.sql);
	else
		replies_push(&s->replies, REPLY_QUERY, FATE_FORWARD);
	return client_forward(s, f, at, have);
}

/* --- Parse
 * --------------------------------------------------------------------------------
 */

static void parse_expect(struct session *s, struct statement *st,
			 struct problem *refusal, struct planned *planned)
{
	struct reply *r = replies_push(&s->replies, REPLY_PARSE, FATE_FORWARD);

	if (refusal != NULL)
		note_refused(s, r, refusal);
	if (r == NULL) {
		statement_unref(st);
		return;
	}
	if (planned != NULL)
		r->planned = planned_ref(planned);
	r->statement = statement_ref(st);
	r->before = statements_put(&s->statements, st);
}

static void put_parse(struct session *s, const struct statement *st,
		      const char *sql, size_t len)
{
	struct gather *g = &s->worker->to_server;

	msg_put_parse(gather_made(g), st->name, sql, len, st->n_types,
		      st->types);
	gather_made_done(g);
}

/* Takes over the outcome's plan. */
static void statement_plan(struct session *s, struct statement *st,
			   const struct outcome *o)
{
	if (st->now != NULL)
		planned_unref(st->now);
	st->now = o->planned;
	st->mentions = o->mentions;
	st->serial = s->db == NULL ? 0 : s->db->rules->serial;
	st->hidden = s->hidden;
}

static enum handled parse_with_rules(struct session *s, const struct frame *f,
				     uint8_t *at, const struct msg_parse *m)
{
	struct outcome o;
	enum verdict v = text_verdict(s, m->sql, &o);
	struct statement *st;

	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	v = refusal_unless_moot(s, m->sql, v, &o);
	st = statement_create(m->name.s, m->name.len, m->sql.s, m->sql.len,
			      m->n_types, m->types);
	st->changes_names = sql_may_change_names(m->sql.s, m->sql.len);
	statement_plan(s, st, &o);
	if (v == VERDICT_EDIT) {
		st->sent = planned_ref(o.planned);
		put_parse(s, st, o.planned->plan->text, o.planned->plan->len);
	} else if (v == VERDICT_REFUSE) {
		if (o.planned != NULL)
			plan_count_use(s, o.planned->plan, true);
		put_parse(s, st, poison, sizeof(poison) - 1);
	} else {
		gather_ref(&s->worker->to_server, at, f->size);
	}
	parse_expect(s, st, o.refusal, o.planned);
	return HANDLED;
}

/* A text that is too long to be kept; its name may be all that is known. */
static enum handled parse_long(struct session *s, const struct frame *f,
			       uint8_t *at, size_t have)
{
	const char *name = (const char *)f->body;
	size_t body = have - HEADER;
	size_t len = strnlen(name, body);
	struct statement *st;

	if (len == body)
		return HANDLED_BAD;
	st = statement_create(name, len, NULL, 0, 0, NULL);
	if (s->db != NULL)
		st->names_hash = plan_names_hash(s);
	parse_expect(s, st, NULL, NULL);
	return s->db != NULL ? client_scan(s, f, at)
			     : client_forward(s, f, at, have);
}

static enum handled client_parse(struct session *s, const struct frame *f,
				 uint8_t *at, size_t have)
{
	struct msg_parse m;

	if (server_is_deaf(s)) {
		replies_push(&s->replies, REPLY_PARSE, FATE_FORWARD);
		return client_forward(s, f, at, have);
	}
	if (text_is_long(s, f))
		return have < f->size && have < SMALL_MESSAGE
			   ? HANDLED_MORE
			   : parse_long(s, f, at, have);
	if (have < f->size)
		return HANDLED_MORE;
	if (!msg_parse_decode(f, &m)) {
		replies_push(&s->replies, REPLY_PARSE, FATE_FORWARD);
		return client_forward(s, f, at, have);
	}
	if (s->db != NULL)
		return parse_with_rules(s, f, at, &m);
	parse_expect(s,
		     statement_create(m.name.s, m.name.len, m.sql.s, m.sql.len,
				      m.n_types, m.types),
		     NULL, NULL);
	return client_forward(s, f, at, have);
}

/* --- preparing again
 * ------------------------------------------------------------------------ */

static struct problem *unknown_text_problem(void)
{
	struct problem *p = problem_create("0A000");

	problem_set(p, "0A000",
		    "pgtandem: a prepared statement cannot be carried over a "
		    "change of migrations");
	problem_detail(p, "Its text was too long to be kept, and it may name a "
			  "relation under migration.");
	problem_hint(p, "Prepare the statement again.");
	return p;
}

static bool statement_is_current(const struct session *s,
				 const struct statement *st)
{
	return st->serial == s->db->rules->serial && !s->sql_prepared &&
	       (!st->mentions || (s->hidden_known && st->hidden == s->hidden));
}

/* The statement's plan under the pinned snapshot, in st->now. */
static enum verdict statement_look(struct session *s, struct statement *st,
				   struct problem **ret_refusal)
{
	struct outcome o = {0};
	enum verdict v;

	if (s->db == NULL) {
		statement_plan(s, st, &o);
		return VERDICT_PASS;
	}
	if (st->sql == NULL) {
		if (st->names_hash == plan_names_hash(s))
			return VERDICT_PASS;
		*ret_refusal = unknown_text_problem();
		return VERDICT_REFUSE;
	}
	if (statement_is_current(s, st))
		return VERDICT_PASS;
	v = plan_text(s, st->sql, st->len, &o);
	*ret_refusal = o.refusal;
	if (v == VERDICT_PASS || v == VERDICT_EDIT)
		statement_plan(s, st, &o);
	else if (o.planned != NULL)
		planned_unref(o.planned);
	return v == VERDICT_EDIT ? VERDICT_PASS : v;
}

static bool statement_text_differs(const struct statement *st)
{
	const struct plan *now = st->now == NULL ? NULL : st->now->plan;
	const struct plan *sent = st->sent == NULL ? NULL : st->sent->plan;

	if (now != NULL && now->kind != PLAN_EDIT)
		now = NULL;
	if (now == NULL || sent == NULL)
		return now != sent;
	return now->len != sent->len ||
	       memcmp(now->text, sent->text, now->len) != 0;
}

/* Closes it and parses the text of today under the same name, unseen. */
static void statement_prepare_again(struct session *s, struct statement *st)
{
	struct gather *g = &s->worker->to_server;
	bool edit = st->now != NULL && st->now->plan->kind == PLAN_EDIT;
	struct reply *r;

	msg_put_close(gather_made(g), 'S', st->name);
	gather_made_done(g);
	replies_push(&s->replies, REPLY_CLOSE, FATE_SWALLOW);
	put_parse(s, st, edit ? st->now->plan->text : st->sql,
		  edit ? st->now->plan->len : st->len);
	r = replies_push(&s->replies, REPLY_PARSE, FATE_SWALLOW);
	if (r != NULL)
		r->statement = statement_ref(st);
	if (r != NULL && edit)
		r->planned = planned_ref(st->now);
	if (st->sent != NULL)
		planned_unref(st->sent);
	st->sent = edit ? planned_ref(st->now) : NULL;
	st->lost = false;
	counter_add(&s->worker->count.reprepared, 1);
}

/* May the statement run now?  PASS; WAIT with nothing sent; or REFUSE, then
 * the poison has been sent. */
static enum verdict statement_check(struct session *s, struct statement *st)
{
	struct problem *refusal = NULL;
	enum verdict v = statement_look(s, st, &refusal);

	if (v == VERDICT_PASS && st->now != NULL)
		v = plan_admit(s, st->now->plan, &refusal);
	if (v == VERDICT_REFUSE)
		inject_poison(s, refusal);
	return v;
}

/* --- Bind -------------------------------------------------------------- */

/* The names at the front of a Bind, of which not all may be there. */
static bool bind_names(const struct frame *f, size_t have, struct mstr *portal,
		       struct mstr *name)
{
	const char *at = (const char *)f->body;
	size_t len = have - HEADER < f->body_len ? have - HEADER : f->body_len;
	const char *end = at + len, *nul;

	nul = memchr(at, '\0', len);
	if (nul == NULL)
		return false;
	*portal = (struct mstr){at, (uint32_t)(nul - at)};
	at = nul + 1;
	nul = memchr(at, '\0', (size_t)(end - at));
	if (nul == NULL)
		return false;
	*name = (struct mstr){at, (uint32_t)(nul - at)};
	return true;
}

/* The same Bind with result formats that fit the server's columns. */
static void put_bind(struct session *s, const struct frame *f,
		     const struct msg_bind *m, const struct plan_stmt *stmt)
{
	struct gather *g = &s->worker->to_server;
	struct buf *b = gather_made(g);
	size_t mark = buf_message_begin(b, 'B');
	unsigned n = stmt->silent ? 0 : m->n_result_formats;
	unsigned more = n < 2 ? 0 : stmt->hidden;

	buf_put(b, f->body, m->formats_at);
	buf_put_u16(b, (uint16_t)(n + more));
	buf_put(b, m->result_formats, (size_t)n * 2);
	for (unsigned i = 0; i < more; i++)
		buf_put_u16(b, 0);
	buf_message_end(b, mark);
	gather_made_done(g);
}

static struct reply *bind_expect(struct session *s, const struct statement *st)
{
	struct reply *r = replies_push(&s->replies, REPLY_BIND, FATE_FORWARD);

	if (r != NULL && st != NULL && st->now != NULL)
		r->planned = planned_ref(st->now);
	return r;
}

/* The statement that a portal of this one will deallocate, borrowed. */
static struct statement *bind_deallocates(const struct session *s,
					  const struct statement *st)
{
	return st->sql == NULL ? NULL : deallocated(s, st->sql, st->len);
}

static enum handled bind_statement(struct session *s, const struct frame *f,
				   uint8_t *at, size_t have,
				   struct statement *st, struct mstr portal)
{
	const struct plan_stmt *first;
	struct msg_bind m;
	enum verdict v;

	/* An edited statement's Bind is written anew: all of it is needed,
	 * and that is known before anything is sent. */
	if (have < f->size && have < SMALL_MESSAGE)
		return HANDLED_MORE;
	v = statement_check(s, st);
	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	if (v == VERDICT_REFUSE) {
		portal_forget(s, portal);
		bind_expect(s, NULL);
		return client_forward(s, f, at, have);
	}
	first = plan_first(st->now);
	if ((first->silent || first->hidden > 0) && have < f->size)
		return HANDLED_MORE;
	if (st->lost || statement_text_differs(st))
		statement_prepare_again(s, st);
	if (st->changes_names && s->db != NULL)
		plan_names_changed(s);
	portal_remember(s, portal, st->now, bind_deallocates(s, st));
	bind_expect(s, st);
	if ((!first->silent && first->hidden == 0) || !msg_bind_decode(f, &m))
		return client_forward(s, f, at, have);
	put_bind(s, f, &m, first);
	return HANDLED;
}

static enum handled client_bind(struct session *s, const struct frame *f,
				uint8_t *at, size_t have)
{
	struct mstr portal, name;
	struct statement *st;

	if (server_is_deaf(s)) {
		replies_push(&s->replies, REPLY_BIND, FATE_FORWARD);
		return client_forward(s, f, at, have);
	}
	if (!bind_names(f, have, &portal, &name)) {
		if (have < f->size && have < SMALL_MESSAGE)
			return HANDLED_MORE;
		return HANDLED_BAD;
	}
	st = statements_find(&s->statements, name.s, name.len);
	if (st != NULL)
		return bind_statement(s, f, at, have, st, portal);
	portal_forget(s, portal);
	replies_push(&s->replies, REPLY_BIND, FATE_FORWARD);
	return client_forward(s, f, at, have);
}

/* --- Describe, Execute, Close ------------------------------------------- */

static enum handled describe_statement(struct session *s, const struct frame *f,
				       uint8_t *at, struct mstr name)
{
	struct statement *st =
	    statements_find(&s->statements, name.s, name.len);
	enum verdict v = st == NULL ? VERDICT_PASS : statement_check(s, st);
	struct reply *r;

	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	if (v == VERDICT_PASS && st != NULL &&
	    (st->lost || statement_text_differs(st)))
		statement_prepare_again(s, st);
	r = replies_push(&s->replies, REPLY_DESCRIBE_STATEMENT, FATE_FORWARD);
	if (v == VERDICT_PASS && st != NULL && st->now != NULL)
		reply_plan(r, planned_ref(st->now));
	gather_ref(&s->worker->to_server, at, f->size);
	return HANDLED;
}

static enum handled client_describe(struct session *s, const struct frame *f,
				    uint8_t *at, size_t have)
{
	struct msg_target m;
	struct portal *p;
	struct reply *r;

	if (have < f->size && f->size < SMALL_MESSAGE)
		return HANDLED_MORE;
	if (have < f->size || !msg_target_decode(f, &m))
		return HANDLED_BAD;
	if (m.kind == 'S' && !server_is_deaf(s))
		return describe_statement(s, f, at, m.name);
	r = replies_push(
	    &s->replies,
	    m.kind == 'S' ? REPLY_DESCRIBE_STATEMENT : REPLY_DESCRIBE_PORTAL,
	    FATE_FORWARD);
	p = m.kind == 'P' ? portal_find(s, m.name) : NULL;
	if (p != NULL && p->planned != NULL)
		reply_plan(r, planned_ref(p->planned));
	return client_forward(s, f, at, have);
}

/* Runs a portal of an edited statement; true if the message was written
 * anew. */
static bool execute_portal(struct session *s, const struct portal *p,
			   const struct msg_execute *m, struct reply *r)
{
	struct gather *g = &s->worker->to_server;
	bool silent;

	if (p->deallocates != NULL && r != NULL)
		r->statement = statement_ref(p->deallocates);
	if (p->planned == NULL)
		return false;
	silent = plan_first(p->planned)->silent;
	plan_count_use(s, p->planned->plan, false);
	reply_plan(r, planned_ref(p->planned));
	if (!silent || m->max_rows == 0)
		return false;
	/* The client's limit is on rows that it does not see. */
	msg_put_execute(gather_made(g), p->name, 0);
	gather_made_done(g);
	return true;
}

static enum handled client_execute(struct session *s, const struct frame *f,
				   uint8_t *at, size_t have)
{
	struct msg_execute m;
	struct portal *p;
	struct reply *r;

	if (have < f->size && f->size < SMALL_MESSAGE)
		return HANDLED_MORE;
	if (have < f->size || !msg_execute_decode(f, &m))
		return HANDLED_BAD;
	note_statement(s);
	r = replies_push(&s->replies, REPLY_EXECUTE, FATE_FORWARD);
	p = portal_find(s, m.portal);
	if (p != NULL && execute_portal(s, p, &m, r))
		return HANDLED;
	return client_forward(s, f, at, have);
}

static enum handled client_close(struct session *s, const struct frame *f,
				 uint8_t *at, size_t have)
{
	struct msg_target m;
	struct reply *r;

	if (have < f->size && f->size < SMALL_MESSAGE)
		return HANDLED_MORE;
	if (have < f->size || !msg_target_decode(f, &m))
		return HANDLED_BAD;
	r = replies_push(&s->replies, REPLY_CLOSE, FATE_FORWARD);
	if (m.kind == 'P')
		portal_forget(s, m.name);
	else if (r != NULL)
		r->statement =
		    statements_take(&s->statements, m.name.s, m.name.len);
	return client_forward(s, f, at, have);
}

/* --- messages without names ---------------------------------------------- */

static enum handled client_sync(struct session *s, const struct frame *f,
				uint8_t *at, size_t have)
{
	replies_push(&s->replies, REPLY_SYNC, FATE_FORWARD);
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

/* --- one message -----------------------------------------------------------
 */

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

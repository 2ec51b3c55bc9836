/*
 * The extended query protocol from the client: Parse, Bind, Describe, Execute,
 * Close.
 *
 * Every statement's text is remembered as the client gave it.  When one is
 * used under a snapshot in which its text would be another, it is closed and
 * prepared again before the message goes out, unseen.
 */
#include "daemon/net/session_client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/net/session_prepared.h"
#include "rewrite/cache.h"
#include "rewrite/prepared.h"

static const char poison_name[] = "pgtandem.refused";

/* Fails the client's extended-protocol sequence at this place. */
static void inject_poison(struct session *s, struct problem *refusal)
{
	struct gather *g = &s->worker->to_server;

	msg_put_parse(gather_made(g), poison_name, client_poison,
		      strlen(client_poison), 0, NULL);
	gather_made_done(g);
	client_note_refused(
	    s, replies_push(&s->replies, REPLY_PARSE, FATE_SWALLOW), refusal);
}

static struct portal *portal_find(const struct session *s, struct mstr name)
{
	struct portal *p = s->portals;

	while (p != NULL && (strlen(p->name) != name.len ||
			     memcmp(p->name, name.s, name.len) != 0))
		p = p->next;
	return p;
}

void portal_free(struct portal *p)
{
	if (p->planned != NULL)
		planned_unref(p->planned);
	prepared_unref(p->prepared);
	again_free_messages(p->bind);
	free(p->name);
	free(p);
}

static void portal_forget(struct session *s, struct mstr name)
{
	struct portal *p = portal_find(s, name), **at = &s->portals;

	if (p == NULL)
		return;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	portal_free(p);
}

/* Takes over `prepared`.  Returns it, or NULL if there is nothing to
 * remember. */
static struct portal *portal_remember(struct session *s, struct mstr name,
				      struct planned *planned,
				      struct prepared *prepared)
{
	struct portal *p;

	portal_forget(s, name);
	if (planned == NULL && prepared == NULL)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		abort();
	p->name = strndup(name.s, name.len);
	if (planned != NULL)
		p->planned = planned_ref(planned);
	p->prepared = prepared;
	p->next = s->portals;
	s->portals = p;
	return p;
}

static void parse_expect(struct session *s, struct statement *st,
			 struct problem *refusal, struct planned *planned)
{
	struct reply *r = replies_push(&s->replies, REPLY_PARSE, FATE_FORWARD);

	if (refusal != NULL)
		client_note_refused(s, r, refusal);
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
	st->names_serial = s->names_serial;
}

static void statement_set_runs(struct statement *st, struct planned *runs)
{
	if (st->runs != NULL)
		planned_unref(st->runs);
	st->runs = runs == NULL ? NULL : planned_ref(runs);
}

/* A text's verdict, and what it does with prepared statements. */
static enum verdict parse_verdict(struct session *s, const struct msg_parse *m,
				  struct outcome *o, struct prepared **ret)
{
	enum verdict look,
	    v = client_text_verdict(
		s, m->sql,
		plan_type_flags(m->n_types, m->types) | REQUEST_ALONE, o);

	if (v == VERDICT_WAIT || v == VERDICT_REFUSE)
		return v;
	look = prepared_look(s, m->sql.s, m->sql.len, ret, &o->refusal);
	if (look == VERDICT_WAIT && o->planned != NULL)
		planned_unref(o->planned);
	return look == VERDICT_PASS ? v : look;
}

static enum handled parse_with_rules(struct session *s, const struct frame *f,
				     uint8_t *at, const struct msg_parse *m)
{
	struct outcome o;
	struct prepared *prepared = NULL;
	enum verdict v = parse_verdict(s, m, &o, &prepared);
	struct statement *st;

	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	v = client_refusal_unless_moot(s, m->sql, v, &o);
	st = statement_create(m->name.s, m->name.len, m->sql.s, m->sql.len,
			      m->n_types, m->types);
	st->names_effect = sql_names_effect(m->sql.s, m->sql.len);
	st->uses_prepared = prepared_mentions(m->sql.s, m->sql.len);
	statement_set_runs(st, prepared_runs(prepared));
	prepared_unref(prepared);
	statement_plan(s, st, &o);
	if (v == VERDICT_EDIT) {
		st->sent = planned_ref(o.planned);
		put_parse(s, st, o.planned->plan->text, o.planned->plan->len);
	} else if (v == VERDICT_REFUSE) {
		if (o.planned != NULL)
			plan_count_use(s, o.planned->plan, true);
		put_parse(s, st, client_poison_of(o.planned),
			  strlen(client_poison_of(o.planned)));
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
	size_t body = have - CLIENT_HEADER;
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

enum handled client_parse(struct session *s, const struct frame *f, uint8_t *at,
			  size_t have)
{
	struct msg_parse m;
	struct statement *st;

	if (client_is_unheard(s)) {
		replies_push(&s->replies, REPLY_PARSE, FATE_FORWARD);
		return client_forward(s, f, at, have);
	}
	if (client_text_is_long(s, f))
		return have < f->size && have < CLIENT_SMALL
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
	st = statement_create(m.name.s, m.name.len, m.sql.s, m.sql.len,
			      m.n_types, m.types);
	st->uses_prepared = prepared_mentions(m.sql.s, m.sql.len);
	parse_expect(s, st, NULL, NULL);
	return client_forward(s, f, at, have);
}

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
	return st->serial == s->db->rules->serial &&
	       (!st->mentions ||
		(s->names_known && st->names_serial == s->names_serial));
}

enum verdict statement_look(struct session *s, struct statement *st,
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
	v = plan_text(s, st->sql, st->len,
		      plan_type_flags(st->n_types, st->types), &o);
	*ret_refusal = o.refusal;
	if (v == VERDICT_PASS || v == VERDICT_EDIT)
		statement_plan(s, st, &o);
	else if (o.planned != NULL)
		planned_unref(o.planned);
	return v == VERDICT_EDIT ? VERDICT_PASS : v;
}

/* Would the server be sent different texts, or find other types by them? */
static bool plans_differ(const struct planned *a, const struct planned *b)
{
	const struct plan *now = a == NULL ? NULL : a->plan;
	const struct plan *sent = b == NULL ? NULL : b->plan;

	if (now != NULL && now->kind != PLAN_EDIT)
		now = NULL;
	if (sent != NULL && sent->kind != PLAN_EDIT)
		sent = NULL;
	if (now == NULL || sent == NULL)
		return now != sent;
	return now->len != sent->len || now->row_types != sent->row_types ||
	       memcmp(now->text, sent->text, now->len) != 0;
}

bool statement_is_stale(const struct statement *st)
{
	return st->lost || plans_differ(st->now, st->sent);
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

/* May the statement run now?  PASS; WAIT with nothing of the message sent; or
 * REFUSE, then the client_poison has been sent.  *ret is owned. */
static enum verdict statement_check(struct session *s, struct statement *st,
				    struct prepared **ret)
{
	struct problem *refusal = NULL;
	enum verdict v;

	if (st->by_sql) {
		v = prepared_ready(s, st, &refusal);
	} else {
		v = statement_look(s, st, &refusal);
		if (v == VERDICT_PASS && st->now != NULL)
			v = plan_admit(s, st->now->plan, &refusal);
	}
	*ret = NULL;
	if (v == VERDICT_PASS && st->uses_prepared)
		v = prepared_look(s, st->sql, st->len, ret, &refusal);
	if (v == VERDICT_REFUSE)
		inject_poison(s, refusal);
	return v;
}

/* What the server shows of it is that of another, if it is an EXECUTE. */
static struct planned *statement_results(const struct statement *st,
					 const struct prepared *prepared)
{
	struct planned *runs = prepared_runs(prepared);

	return runs != NULL ? runs : st->now;
}

/* The server has the text of today, and for an EXECUTE the columns of what it
 * runs today, which it has looked up when it parsed it. */
static void statement_refresh(struct session *s, struct statement *st,
			      const struct prepared *prepared)
{
	struct planned *runs = prepared_runs(prepared);

	if (st->by_sql ||
	    (!statement_is_stale(st) && !plans_differ(st->runs, runs)))
		return;
	statement_prepare_again(s, st);
	statement_set_runs(st, runs);
}

/* The names at the front of a Bind, of which not all may be there. */
static bool bind_names(const struct frame *f, size_t have, struct mstr *portal,
		       struct mstr *name)
{
	const char *at = (const char *)f->body;
	size_t len = have - CLIENT_HEADER < f->body_len ? have - CLIENT_HEADER
							: f->body_len;
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
static void put_bind(struct buf *b, const struct frame *f,
		     const struct msg_bind *m, const struct plan_stmt *stmt)
{
	size_t mark = buf_message_begin(b, 'B');
	unsigned n = stmt->silent ? 0 : m->n_result_formats;
	unsigned more = n < 2 ? 0 : stmt->hidden;

	buf_put(b, f->body, m->formats_at);
	buf_put_u16(b, (uint16_t)(n + more));
	buf_put(b, m->result_formats, (size_t)n * 2);
	for (unsigned i = 0; i < more; i++)
		buf_put_u16(b, 0);
	buf_message_end(b, mark);
}

/* The Bind as it goes out is kept in `p` too, if it may be sent again. */
static void bind_keep(const struct session *s, struct portal *p,
		      const struct frame *f, const struct msg_bind *m)
{
	if (p == NULL || p->planned == NULL || !again_keeps_bind(s, p->planned))
		return;
	p->bind = malloc(sizeof(*p->bind));
	if (p->bind == NULL)
		abort();
	buf_init(p->bind, 2 * (size_t)f->size + CLIENT_SMALL);
	put_bind(p->bind, f, m, client_plan_first(p->planned));
}

static struct reply *bind_expect(struct session *s, const struct statement *st)
{
	struct reply *r = replies_push(&s->replies, REPLY_BIND, FATE_FORWARD);

	if (r != NULL && st != NULL && st->now != NULL)
		r->planned = planned_ref(st->now);
	return r;
}

static enum handled bind_statement(struct session *s, const struct frame *f,
				   uint8_t *at, size_t have,
				   struct statement *st, struct mstr portal)
{
	const struct plan_stmt *first;
	struct gather *g = &s->worker->to_server;
	struct prepared *prepared;
	struct portal *p;
	struct msg_bind m;
	enum verdict v;
	bool whole;

	/* An edited statement's Bind is written anew: all of it is needed,
	 * and that is known before anything is sent. */
	if (have < f->size && have < CLIENT_SMALL)
		return HANDLED_MORE;
	v = statement_check(s, st, &prepared);
	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	if (v == VERDICT_REFUSE) {
		portal_forget(s, portal);
		bind_expect(s, NULL);
		return client_forward(s, f, at, have);
	}
	first = client_plan_first(statement_results(st, prepared));
	if ((first->silent || first->hidden > 0) && have < f->size) {
		prepared_unref(prepared);
		return HANDLED_MORE;
	}
	statement_refresh(s, st, prepared);
	plan_note_effect(s, st->names_effect);
	p = portal_remember(s, portal, statement_results(st, prepared),
			    prepared);
	bind_expect(s, st);
	whole = have >= f->size && msg_bind_decode(f, &m);
	if (whole)
		bind_keep(s, p, f, &m);
	if ((!first->silent && first->hidden == 0) || !whole)
		return client_forward(s, f, at, have);
	put_bind(gather_made(g), f, &m, first);
	gather_made_done(g);
	return HANDLED;
}

enum handled client_bind(struct session *s, const struct frame *f, uint8_t *at,
			 size_t have)
{
	struct mstr portal, name;
	struct statement *st;

	if (client_is_unheard(s)) {
		replies_push(&s->replies, REPLY_BIND, FATE_FORWARD);
		return client_forward(s, f, at, have);
	}
	if (!bind_names(f, have, &portal, &name)) {
		if (have < f->size && have < CLIENT_SMALL)
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

static enum handled describe_statement(struct session *s, const struct frame *f,
				       uint8_t *at, struct mstr name)
{
	struct statement *st =
	    statements_find(&s->statements, name.s, name.len);
	struct prepared *prepared = NULL;
	enum verdict v =
	    st == NULL ? VERDICT_PASS : statement_check(s, st, &prepared);
	struct planned *results;
	struct reply *r;

	if (v == VERDICT_WAIT)
		return HANDLED_WAIT;
	if (v == VERDICT_PASS && st != NULL)
		statement_refresh(s, st, prepared);
	results = st == NULL ? NULL : statement_results(st, prepared);
	r = replies_push(&s->replies, REPLY_DESCRIBE_STATEMENT, FATE_FORWARD);
	if (v == VERDICT_PASS && results != NULL)
		client_reply_plan(r, planned_ref(results));
	prepared_unref(prepared);
	gather_ref(&s->worker->to_server, at, f->size);
	return HANDLED;
}

enum handled client_describe(struct session *s, const struct frame *f,
			     uint8_t *at, size_t have)
{
	struct msg_target m;
	struct portal *p;
	struct reply *r;

	if (have < f->size && f->size < CLIENT_SMALL)
		return HANDLED_MORE;
	if (have < f->size || !msg_target_decode(f, &m))
		return HANDLED_BAD;
	if (m.kind == 'S' && !client_is_unheard(s))
		return describe_statement(s, f, at, m.name);
	r = replies_push(
	    &s->replies,
	    m.kind == 'S' ? REPLY_DESCRIBE_STATEMENT : REPLY_DESCRIBE_PORTAL,
	    FATE_FORWARD);
	p = m.kind == 'P' ? portal_find(s, m.name) : NULL;
	if (p != NULL && p->planned != NULL)
		client_reply_plan(r, planned_ref(p->planned));
	return client_forward(s, f, at, have);
}

/* Runs a portal of an edited statement; true if the message was written
 * anew. */
static bool execute_portal(struct session *s, struct portal *p,
			   const struct msg_execute *m, struct reply *r)
{
	struct gather *g = &s->worker->to_server;
	bool silent;

	if (p->planned == NULL) {
		prepared_expect(s, r, prepared_ref(p->prepared));
		return false;
	}
	silent = client_plan_first(p->planned)->silent;
	plan_count_use(s, p->planned->plan, false);
	client_reply_plan(r, planned_ref(p->planned));
	again_keep_execute(s, p, silent ? 0 : m->max_rows, r);
	prepared_expect(s, r, prepared_ref(p->prepared));
	if (!silent || m->max_rows == 0)
		return false;
	/* The client's limit is on rows that it does not see. */
	msg_put_execute(gather_made(g), p->name, 0);
	gather_made_done(g);
	return true;
}

enum handled client_execute(struct session *s, const struct frame *f,
			    uint8_t *at, size_t have)
{
	struct msg_execute m;
	struct portal *p;
	struct reply *r;

	if (have < f->size && f->size < CLIENT_SMALL)
		return HANDLED_MORE;
	if (have < f->size || !msg_execute_decode(f, &m))
		return HANDLED_BAD;
	client_note_statement(s);
	s->executed++;
	r = replies_push(&s->replies, REPLY_EXECUTE, FATE_FORWARD);
	p = portal_find(s, m.portal);
	if (p != NULL && execute_portal(s, p, &m, r))
		return HANDLED;
	return client_forward(s, f, at, have);
}

enum handled client_close(struct session *s, const struct frame *f, uint8_t *at,
			  size_t have)
{
	struct msg_target m;
	struct reply *r;

	if (have < f->size && f->size < CLIENT_SMALL)
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

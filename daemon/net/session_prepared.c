/*
 * Prepared statements in SQL: PREPARE, EXECUTE, DEALLOCATE.
 *
 * They share their names with those of Parse, and so one table
 * (daemon/net/statements.h), where such a statement is kept with its PREPARE
 * as the client wrote it.  A text that runs one whose text would be another
 * by now waits while the server is made to forget it and to prepare it again,
 * unseen.  What an EXECUTE shows is cut as what it runs.
 *
 * PREPARE is in the table once the server has said so; until then the client's
 * next message waits (session.prepares_owed).
 */
#include "daemon/net/session_prepared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/net/session_client.h"
#include "rewrite/cache.h"
#include "rewrite/prepared.h"

static const char again_name[] = "pgtandem.prepare";

struct step {
	enum prepared_verb verb;
	uint32_t at;		     /* the statement's number in the text */
	struct statement *statement; /* owned reference: made or dropped */
	struct planned *planned;     /* owned reference: what is run, or NULL */
};

struct prepared {
	unsigned refs;
	size_t n;
	struct step steps[];
};

struct prepared *prepared_ref(struct prepared *p)
{
	if (p != NULL)
		p->refs++;
	return p;
}

void prepared_unref(struct prepared *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	for (size_t i = 0; i < p->n; i++) {
		statement_unref(p->steps[i].statement);
		if (p->steps[i].planned != NULL)
			planned_unref(p->steps[i].planned);
	}
	free(p);
}

struct planned *prepared_runs(const struct prepared *p)
{
	if (p == NULL || p->n != 1 || p->steps[0].verb != PREPARED_RUNS)
		return NULL;
	return p->steps[0].planned;
}

/* 1. Preparing one again. */

static struct reply *expect(struct session *s, enum reply_kind kind,
			    struct statement *st)
{
	struct reply *r = replies_push(&s->replies, kind, FATE_PROBE);

	if (r == NULL)
		return NULL;
	r->own_sync = s->again_syncs;
	if (st != NULL)
		r->statement = statement_ref(st);
	if (st != NULL && st->now != NULL)
		r->planned = planned_ref(st->now);
	return r;
}

/* PREPARE as a statement of its own, under a name that is not the client's;
 * where an earlier one has failed it may still be there. */
static struct reply *put_prepare(struct session *s, struct buf *b,
				 struct statement *st, const char *sql,
				 size_t len)
{
	msg_put_close(b, 'S', again_name);
	expect(s, REPLY_CLOSE, NULL);
	msg_put_parse(b, again_name, sql, len, 0, NULL);
	expect(s, REPLY_PARSE, st);
	msg_put_bind_empty(b, again_name, again_name);
	expect(s, REPLY_BIND, st);
	msg_put_execute(b, again_name, 0);
	expect(s, REPLY_EXECUTE, st);
	msg_put_close(b, 'P', again_name);
	expect(s, REPLY_CLOSE, NULL);
	msg_put_close(b, 'S', again_name);
	return expect(s, REPLY_CLOSE, NULL);
}

/*
 * As with a probe (session_plan.c): outside an extended-protocol sequence of
 * the client's this has a Sync of its own, so that its failure is told in
 * answer to the client's message and not beside it.
 */
static void prepare_again(struct session *s, struct statement *st)
{
	struct gather *g = &s->worker->to_server;
	struct buf *b = gather_made(g);
	const struct plan *now = st->now == NULL ? NULL : st->now->plan;
	bool edit = now != NULL && now->kind == PLAN_EDIT;
	const char *sql = edit ? now->text : st->sql;
	size_t len = edit ? now->len : st->len;
	struct reply *last;

	s->again_syncs = !s->replies.open;
	msg_put_close(b, 'S', st->name);
	expect(s, REPLY_CLOSE, NULL);
	if (st->by_sql) {
		last = put_prepare(s, b, st, sql, len);
	} else {
		msg_put_parse(b, st->name, sql, len, st->n_types, st->types);
		last = expect(s, REPLY_PARSE, st);
	}
	if (s->again_syncs)
		last = expect(s, REPLY_SYNC, NULL);
	if (last != NULL)
		last->last = true;
	msg_put_simple(b, s->again_syncs ? 'S' : 'H');
	gather_made_done(g);
	if (st->sent != NULL)
		planned_unref(st->sent);
	st->sent = edit ? planned_ref(st->now) : NULL;
	st->lost = false; /* unless one of these replies fails */
	counter_add(&s->worker->count.reprepared, 1);
}

enum verdict prepared_ready(struct session *s, struct statement *st,
			    struct problem **ret_refusal)
{
	enum verdict v;

	if (s->probe_failed != NULL) {
		*ret_refusal = s->probe_failed;
		s->probe_failed = NULL;
		return VERDICT_REFUSE;
	}
	v = statement_look(s, st, ret_refusal);
	if (v == VERDICT_PASS && st->now != NULL)
		v = plan_admit(s, st->now->plan, ret_refusal);
	if (v != VERDICT_PASS || !statement_is_stale(st))
		return v;
	/* A failed transaction prepares nothing, and runs nothing. */
	if (s->tx == 'E' && s->replies.count == 0)
		return VERDICT_PASS;
	client_wait(s, WAIT_PROBE);
	prepare_again(s, st);
	return VERDICT_WAIT;
}

/* 2. What a text does. */

struct look {
	struct session *s;
	const char *sql;
	const struct prepared_uses *uses;
	struct prepared *out;
	struct problem **refusal;
};

static struct problem *refuse(const char *what, const char *detail,
			      const char *hint)
{
	struct problem *p = problem_create("0A000");

	problem_set(p, "0A000", "pgtandem: %s", what);
	problem_detail(p, "%s", detail);
	problem_hint(p, "%s", hint);
	return p;
}

static struct problem *unknown_problem(void)
{
	return refuse(
	    "EXECUTE of a statement that is not known to pgtandem",
	    "This session has prepared statements whose texts were "
	    "not kept, and what is under migration has changed since.",
	    "Run DEALLOCATE ALL, and prepare the statements again.");
}

static struct problem *together_problem(void)
{
	return refuse("this text with EXECUTE cannot be carried as one",
		      "Where its statements begin and end, or what names mean "
		      "in each, is not certain.",
		      "Send the statements one by one.");
}

static bool touches(const struct planned *planned)
{
	return planned != NULL && planned->plan->migrations != 0;
}

static bool is_uncertain(const struct look *k)
{
	return k->uses->n_statements > 1 &&
	       (k->uses->unsure || k->s->lexing != 0);
}

/* The statement that the name means behind what the text has done so far;
 * `ret_made`: an earlier statement of the text makes it. */
static struct statement *find(const struct look *k, const char *name,
			      bool *ret_made)
{
	*ret_made = false;
	for (size_t i = k->out->n; i-- > 0;) {
		const struct step *step = &k->out->steps[i];

		if (step->verb == PREPARED_DROPS_ALL)
			return NULL;
		if (step->statement == NULL ||
		    strcmp(step->statement->name, name) != 0)
			continue;
		*ret_made = step->verb == PREPARED_MAKES;
		return *ret_made ? step->statement : NULL;
	}
	return statements_find(&k->s->statements, name, strlen(name));
}

static struct step *add_step(const struct look *k,
			     const struct prepared_use *use)
{
	struct step *step = &k->out->steps[k->out->n++];

	*step = (struct step){.verb = use->verb, .at = use->at};
	return step;
}

static enum verdict look_made(const struct look *k,
			      const struct prepared_use *use)
{
	size_t len = use->to - use->from;
	struct step *step = add_step(k, use);
	struct statement *st = statement_create(
	    use->name, strlen(use->name), k->sql + use->from, len, 0, NULL);
	enum verdict v;

	st->by_sql = true;
	st->names_effect = sql_names_effect(st->sql, st->len);
	step->statement = st;
	v = statement_look(k->s, st, k->refusal);
	if (v != VERDICT_PASS)
		return v;
	if (touches(st->now) && is_uncertain(k)) {
		*k->refusal = together_problem();
		return VERDICT_REFUSE;
	}
	if (st->now != NULL && st->now->plan->kind == PLAN_EDIT)
		st->sent = planned_ref(st->now);
	return VERDICT_PASS;
}

static bool is_unknown(const struct session *s)
{
	return s->unknown_prepared && s->db != NULL &&
	       plan_names_hash(s) != s->unknown_hash &&
	       plan_has_moved(s) != NULL;
}

static enum verdict look_run(const struct look *k,
			     const struct prepared_use *use)
{
	struct session *s = k->s;
	bool made, several = k->uses->n_statements > 1;
	struct statement *st = find(k, use->name, &made);
	enum verdict v = VERDICT_PASS;

	if (st == NULL && is_unknown(s)) {
		*k->refusal = unknown_problem();
		return VERDICT_REFUSE;
	}
	if (st == NULL)
		return VERDICT_PASS;
	if (!made)
		v = prepared_ready(s, st, k->refusal);
	if (v != VERDICT_PASS)
		return v;
	if (several && touches(st->now) &&
	    (is_uncertain(k) || (!made && statement_is_stale(st)) ||
	     sql_names_effect(k->sql, strlen(k->sql)) != 0)) {
		*k->refusal = together_problem();
		return VERDICT_REFUSE;
	}
	plan_note_effect(s, st->names_effect);
	if (use->verb == PREPARED_RUNS && touches(st->now))
		add_step(k, use)->planned = planned_ref(st->now);
	return VERDICT_PASS;
}

static enum verdict look_dropped(const struct look *k,
				 const struct prepared_use *use)
{
	bool made;
	struct statement *st = find(k, use->name, &made);

	if (st != NULL)
		add_step(k, use)->statement = statement_ref(st);
	return VERDICT_PASS;
}

static enum verdict look_at(const struct look *k,
			    const struct prepared_use *use)
{
	if (use->name == NULL && use->verb != PREPARED_DROPS_ALL) {
		if (k->s->db == NULL || plan_has_moved(k->s) == NULL)
			return VERDICT_PASS;
		*k->refusal =
		    refuse("a prepared statement's name cannot be read",
			   "It is written as U&\"...\", or is missing.",
			   "Write it as a plain or a quoted identifier.");
		return VERDICT_REFUSE;
	}
	switch (use->verb) {
	case PREPARED_MAKES:
		return look_made(k, use);
	case PREPARED_RUNS:
	case PREPARED_USES:
		return look_run(k, use);
	case PREPARED_DROPS:
		return look_dropped(k, use);
	case PREPARED_DROPS_ALL:
		add_step(k, use);
		return VERDICT_PASS;
	}
	abort();
}

static enum verdict look(struct session *s, const char *sql,
			 const struct prepared_uses *uses,
			 struct prepared **ret, struct problem **ret_refusal)
{
	struct look k = {
	    .s = s, .sql = sql, .uses = uses, .refusal = ret_refusal};
	enum verdict v = VERDICT_PASS;

	k.out = calloc(1, sizeof(*k.out) + uses->n * sizeof(struct step));
	if (k.out == NULL)
		abort();
	k.out->refs = 1;
	for (size_t i = 0; i < uses->n && v == VERDICT_PASS; i++)
		v = look_at(&k, &uses->v[i]);
	if (v == VERDICT_PASS && k.out->n > 0) {
		*ret = k.out;
		return v;
	}
	prepared_unref(k.out);
	return v;
}

enum verdict prepared_look(struct session *s, const char *sql, size_t len,
			   struct prepared **ret, struct problem **ret_refusal)
{
	struct prepared_uses uses;
	enum verdict v = VERDICT_PASS;
	struct arena a;

	*ret = NULL;
	if (s->db == NULL && s->statements.n == 0 &&
	    (len == 0 || strchr("pPdD \t\r\n/-;", *sql) == NULL))
		return VERDICT_PASS;
	if (!prepared_mentions(sql, len))
		return VERDICT_PASS;
	arena_init(&a);
	prepared_scan(sql, len, &a, &uses);
	if (uses.n > 0)
		v = look(s, arena_dup(&a, sql, len), &uses, ret, ret_refusal);
	arena_free(&a);
	return v;
}

/* 3. What it is answered. */

static const struct step *step_at(const struct prepared *p, uint32_t at,
				  enum prepared_verb verb)
{
	for (size_t i = 0; p != NULL && i < p->n; i++)
		if (p->steps[i].at == at && p->steps[i].verb == verb)
			return &p->steps[i];
	return NULL;
}

static bool makes_any(const struct prepared *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->steps[i].verb == PREPARED_MAKES)
			return true;
	return false;
}

void prepared_expect(struct session *s, struct reply *r, struct prepared *p)
{
	struct planned *runs = prepared_runs(p);

	if (r == NULL || p == NULL) {
		prepared_unref(p);
		return;
	}
	r->prepared = p;
	s->prepares_owed += makes_any(p);
	if (runs != NULL && r->planned == NULL)
		client_reply_plan(r, planned_ref(runs));
	prepared_results(r);
}

void prepared_results(struct reply *r)
{
	const struct step *step = step_at(r->prepared, r->at, PREPARED_RUNS);
	const struct plan_stmt *first;

	if (step == NULL)
		return;
	first = client_plan_first(step->planned);
	r->hidden = first->hidden;
	r->silent = first->silent;
	r->origins = first->origins;
}

void prepared_left(struct session *s, struct reply *r)
{
	if (r->fate == FATE_FORWARD && r->prepared != NULL &&
	    makes_any(r->prepared)) {
		s->prepares_owed--;
		if (s->state == SESSION_READY)
			client_go_on(s, WAIT_PREPARED);
	}
	prepared_unref(r->prepared);
}

static void forget(struct session *s, const struct statement *st)
{
	size_t len = strlen(st->name);

	if (statements_find(&s->statements, st->name, len) == st)
		statement_unref(statements_take(&s->statements, st->name, len));
}

void prepared_completed(struct session *s, const struct reply *r,
			const char *tag)
{
	const struct step *step;

	if (strcmp(tag, "PREPARE") == 0) {
		step = step_at(r->prepared, r->at, PREPARED_MAKES);
		if (step != NULL)
			statement_unref(statements_put(
			    &s->statements, statement_ref(step->statement)));
		s->made_by_sql |= step != NULL && touches(step->statement->now);
		s->unknown_prepared |= step == NULL;
		if (step == NULL)
			s->unknown_hash =
			    s->db == NULL ? 0 : plan_names_hash(s);
	} else if (strcmp(tag, "DEALLOCATE") == 0) {
		step = step_at(r->prepared, r->at, PREPARED_DROPS);
		if (step != NULL)
			forget(s, step->statement);
	} else if (strcmp(tag, "DISCARD ALL") == 0 ||
		   strcmp(tag, "DEALLOCATE ALL") == 0) {
		s->unknown_prepared = false;
		s->made_by_sql = false;
		statements_clear(&s->statements);
		replies_keep_parsed(&s->replies, &s->statements);
	}
}

void prepared_wait(struct session *s)
{
	struct gather *g = &s->worker->to_server;

	client_wait(s, WAIT_PREPARED);
	if (!s->replies.open)
		return;
	msg_put_simple(gather_made(g), 'H');
	gather_made_done(g);
}

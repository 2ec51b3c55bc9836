/*
 * What becomes of a text: asks the worker's statement cache, after it knows
 * what the names under migration mean in this session, and applies what the
 * snapshot says about when it may run.
 *
 * The question (a "probe") is injected as a hidden statement the first time a
 * text mentions such a name, and again after anything that may have changed
 * the answer; the client's message waits for it.
 */
#include "daemon/net/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "rewrite/cache.h"

static const char probe_name[] = "pgtandem.probe";

enum { USAGE_TELL_MS = 1000 }; /* per session: who uses the old shape */

struct problem *problem_create(const char *sqlstate)
{
	struct problem *p = calloc(1, sizeof(*p));

	if (p == NULL)
		abort();
	problem_set(p, sqlstate, "pgtandem");
	return p;
}

static struct problem *problem_copy(const struct problem *from)
{
	struct problem *p = problem_create(from->sqlstate);

	*p = *from;
	return p;
}

/* What is hidden are positions in the ruleset's names: another list of names
 * is another question. */
void plan_snapshot_pinned(struct session *s)
{
	if (plan_names_hash(s) == s->names_hash)
		return;
	s->names_known = false;
	s->new_shape = 0;
}

void plan_note_names(struct session *s, const char *sql, size_t len)
{
	plan_note_effect(s, sql_names_effect(sql, len));
}

/* Does it, with what the transaction has done so far? */
static bool changes_names(const struct session *s, unsigned effect)
{
	return effect & NAMES_CHANGE ||
	       (effect & NAMES_UNDO && s->names_change);
}

void plan_note_effect(struct session *s, unsigned effect)
{
	if (s->db != NULL && changes_names(s, effect))
		plan_names_changed(s);
}

/* At once, and again when the transaction ends: it may undo the change. */
void plan_names_changed(struct session *s)
{
	s->names_known = false;
	s->names_change = true;
}

uint64_t plan_names_hash(const struct session *s)
{
	return s->db->probe_hash;
}

static struct reply *probe_expect(struct session *s, enum reply_kind kind)
{
	return replies_push(&s->replies, kind, FATE_PROBE);
}

/*
 * Inside an extended-protocol sequence of the client's the question must not
 * bring a Sync, which would end the client's implicit transaction; outside it
 * must, or a statement that may not run in a pipeline (VACUUM) would fail.
 */
static void probe_send(struct session *s)
{
	static const enum reply_kind owed[] = {
	    REPLY_CLOSE, REPLY_PARSE, REPLY_BIND, REPLY_EXECUTE,
	    REPLY_CLOSE, REPLY_CLOSE, REPLY_SYNC};
	struct gather *g = &s->worker->to_server;
	struct buf *b = gather_made(g);
	bool sync = !s->replies.open;
	size_t n = sizeof(owed) / sizeof(owed[0]) - !sync;
	const char *sql = s->db->probe_sql;
	struct reply *r;

	/* One that has failed (a timeout) has left it there. */
	msg_put_close(b, 'S', probe_name);
	msg_put_parse(b, probe_name, sql, strlen(sql), 0, NULL);
	msg_put_bind_empty(b, probe_name, probe_name);
	msg_put_execute(b, probe_name, 0);
	msg_put_close(b, 'P', probe_name);
	msg_put_close(b, 'S', probe_name);
	msg_put_simple(b, sync ? 'S' : 'H');
	gather_made_done(g);
	for (size_t i = 0; i < n; i++) {
		r = probe_expect(s, owed[i]);
		if (r == NULL)
			continue;
		r->own_sync = sync;
		r->last = i + 1 == n;
	}
}

/* Statements keep the number of the answer that they were looked at with. */
static void names_set(struct session *s, const struct session_names *names)
{
	if (session_names_same(names, s->names))
		return;
	s->names_serial++;
	if (names == NULL) {
		free(s->names);
		s->names = NULL;
		return;
	}
	if (s->names == NULL)
		s->names = malloc(sizeof(*s->names));
	if (s->names == NULL)
		abort();
	*s->names = *names;
}

static void names_take(struct session *s, const char *answer, size_t len)
{
	struct session_names names;

	names_set(s, ruleset_probe_read(answer, len, &names) ? &names : NULL);
}

void probe_row(struct session *s, const struct frame *f)
{
	struct mstr answer;

	if (!msg_data_row_value(f, 0, &answer) || answer.s == NULL)
		return;
	names_take(s, answer.s, answer.len);
	s->names_hash = plan_names_hash(s);
	s->names_known = true;
}

void probe_over(struct session *s, bool done)
{
	(void)done;
	client_go_on(s, WAIT_PROBE);
}

/* Is the mask known, or is there nobody to ask?  PASS, REFUSE or WAIT. */
static enum verdict plan_know_names(struct session *s,
				    struct problem **ret_refusal)
{
	if (s->names_known)
		return VERDICT_PASS;
	if (s->probe_failed != NULL) {
		*ret_refusal = s->probe_failed;
		s->probe_failed = NULL;
		return VERDICT_REFUSE;
	}
	names_set(s, NULL);
	/* A failed transaction answers nothing.  Then names are taken to be
	 * ours: the statement fails unless it leaves the transaction first. */
	if (s->db->probe_sql == NULL || (s->tx == 'E' && s->replies.count == 0))
		return VERDICT_PASS;
	client_wait(s, WAIT_PROBE);
	probe_send(s);
	return VERDICT_WAIT;
}

/* A session is on one side of every percentage for its whole life. */
static bool plan_reads_new(const struct session *s)
{
	const struct ruleset *rules = s->db->rules;

	for (size_t i = 0; i < rules->n_migrations; i++)
		if (rules->migrations[i].phase == PHASE_READ_NEW &&
		    s->read_share >= rules->migrations[i].read_percent)
			return false;
	return true;
}

static void plan_count_cache(struct session *s)
{
	struct cache_stats stats;
	struct counters *c = &s->worker->count;

	cache_get_stats(s->worker->cache, &stats);
	counter_set(&c->cache_hits, stats.hits);
	counter_set(&c->cache_misses, stats.misses);
	counter_set(&c->cache_entries, stats.entries);
}

const struct rule_migration *plan_has_moved(const struct session *s)
{
	const struct ruleset *rules = s->db->rules;

	for (size_t i = 0; i < rules->n_migrations; i++)
		if (rules->migrations[i].phase != PHASE_PLANNED)
			return &rules->migrations[i];
	return NULL;
}

static enum verdict plan_decide(struct session *s, struct planned *planned,
				struct problem **ret_refusal)
{
	switch (planned->plan->kind) {
	case PLAN_PASS:
		return VERDICT_PASS;
	case PLAN_EDIT:
		counter_add(&s->worker->count.rewritten, 1);
		return VERDICT_EDIT;
	case PLAN_REFUSE:
		break;
	}
	*ret_refusal = problem_copy(&planned->plan->refusal);
	return VERDICT_REFUSE;
}

/*
 * "SET search_path = x; SELECT ... FROM inovices" as one text: the names were
 * looked up before the first statement, and mean something else in the second.
 */
static bool names_change_within(const struct session *s, const char *sql,
				size_t len, const struct plan *plan)
{
	return plan->kind != PLAN_REFUSE && plan->n_stmts > 1 &&
	       plan_has_moved(s) != NULL &&
	       changes_names(s, sql_names_effect(sql, len));
}

static struct problem *names_change_problem(const struct rule_migration *m)
{
	struct problem *p = problem_create("0A000");

	problem_set(p, "0A000",
		    "pgtandem: migration %s (phase %s): one text both names a "
		    "relation under migration and may change what names mean",
		    m->spec->name, phase_name(m->phase));
	problem_detail(p, "A statement in it may set search_path or the role, "
			  "or make or drop a temporary relation.");
	problem_hint(p, "Send the statements one by one, or qualify the "
			"relation's name and leave the setting out.");
	return p;
}

void plan_note_parameter(struct session *s, const char *name, const char *value)
{
	/* Those whose characters may have ASCII bytes behind their first. */
	static const char *const wide[] = {
	    "SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB",
	};
	unsigned flag = 0;
	bool on = false;

	if (strcmp(name, "standard_conforming_strings") == 0) {
		flag = REQUEST_BACKSLASHES;
		on = strcmp(value, "off") == 0;
	} else if (strcmp(name, "client_encoding") == 0) {
		flag = REQUEST_WIDE;
		for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
			on |= strcmp(value, wide[i]) == 0;
	}
	s->lexing = on ? s->lexing | flag : s->lexing & ~flag;
}

static bool is_number_oid(uint32_t oid)
{
	static const uint32_t oids[] = {
	    20 /* int8 */,    21 /* int2 */,	23 /* int4 */,
	    700 /* float4 */, 701 /* float8 */, 1700 /* numeric */,
	};

	for (size_t i = 0; i < sizeof(oids) / sizeof(oids[0]); i++)
		if (oid == oids[i])
			return true;
	return false;
}

unsigned plan_type_flags(uint16_t n, const uint8_t *types)
{
	unsigned flags = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t *t = types + 4 * i;
		uint32_t oid = (uint32_t)t[0] << 24 | (uint32_t)t[1] << 16 |
			       (uint32_t)t[2] << 8 | t[3];

		if (oid != 0)
			flags |= is_number_oid(oid)
				     ? REQUEST_TYPED
				     : REQUEST_TYPED | REQUEST_TYPED_OTHER;
	}
	return flags;
}

static struct problem *hold_problem(void)
{
	struct problem *p = problem_create("57P03");

	problem_set(p, "57P03",
		    "pgtandem: the statement was held too long by a phase "
		    "move");
	problem_detail(p, "DDL on the relation that it names is under way.");
	problem_hint(p, "Try again; SHOW BARRIER on the console says what the "
			"move waits for.");
	return p;
}

/* Does the newest snapshot still hold statements of this database? */
static bool hold_is_over(const struct session *s)
{
	const struct snapshot *now = s->worker->current->snapshot;
	const struct snapshot_database *db;

	if (now == s->pin->snapshot)
		return false;
	db = snapshot_find(now, s->database);
	return db == NULL || db->held == 0;
}

/* Waits until the hold is over, or hold_timeout: then *ret_expired. */
static enum verdict hold_wait(struct session *s, bool *ret_expired)
{
	*ret_expired = s->hold_expired;
	s->hold_expired = false;
	if (hold_is_over(s)) {
		session_deadline_in(s, 0);
		*ret_expired = false;
		return VERDICT_PASS;
	}
	if (*ret_expired)
		return VERDICT_PASS;
	if (s->deadline == 0)
		session_deadline_in(s, session_settings(s)->hold_timeout_ms);
	client_wait(s, WAIT_HOLD);
	return VERDICT_WAIT;
}

static enum verdict plan_hold(struct session *s, struct problem **ret_refusal)
{
	bool expired;
	enum verdict v = hold_wait(s, &expired);

	if (!expired)
		return v;
	*ret_refusal = hold_problem();
	return VERDICT_REFUSE;
}

/*
 * A statement that only reads the catalogs waits too: functions like
 * pg_get_indexdef open the relation that the statement's snapshot has found,
 * and fail when DDL drops it in between.  When its time is over it runs.
 */
static enum verdict plan_hold_catalog(struct session *s, const char *sql,
				      size_t len)
{
	bool expired;

	if (s->db->held == 0 || !sql_names_catalog(sql, len))
		return VERDICT_PASS;
	return hold_wait(s, &expired);
}

enum verdict plan_text(struct session *s, const char *sql, size_t len,
		       unsigned flags, struct outcome *ret)
{
	struct rewrite_request req = {
	    .sql = sql,
	    .len = len,
	    .rules = s->db->rules,
	    .flags = s->lexing | flags,
	};
	struct planned *planned;
	enum verdict v;

	*ret = (struct outcome){0};
	if (!ruleset_mentions(s->db->rules, sql, len))
		return plan_hold_catalog(s, sql, len);
	ret->mentions = true;
	v = plan_know_names(s, &ret->refusal);
	if (v != VERDICT_PASS)
		return v;
	req.names = s->names;
	req.read_new = plan_reads_new(s);
	planned = cache_get(s->worker->cache, &req);
	plan_count_cache(s);
	if (names_change_within(s, sql, len, planned->plan)) {
		planned_unref(planned);
		ret->refusal = names_change_problem(plan_has_moved(s));
		return VERDICT_REFUSE;
	}
	if (planned->plan->kind == PLAN_PASS &&
	    planned->plan->migrations == 0) {
		planned_unref(planned);
		return plan_hold_catalog(s, sql, len);
	}
	ret->planned = planned;
	return plan_decide(s, planned, &ret->refusal);
}

static struct problem *lease_problem(void)
{
	struct problem *p = problem_create("57P03");

	problem_set(p, "57P03",
		    "pgtandem: the phase of a migration cannot be confirmed "
		    "with the database now");
	problem_detail(p, "The statement names a relation under migration, and "
			  "the lease on its phase has run out.");
	problem_hint(p, "Try again; the log says why the control connection "
			"is away.");
	return p;
}

enum verdict plan_admit(struct session *s, const struct plan *plan,
			struct problem **ret_refusal)
{
	if (plan->migrations == 0)
		return VERDICT_PASS;
	if (s->db->lease != NULL &&
	    atomic_load(&s->db->lease->fresh_until_ns) < uv_hrtime()) {
		*ret_refusal = lease_problem();
		return VERDICT_REFUSE;
	}
	if (plan->migrations & s->db->held)
		return plan_hold(s, ret_refusal);
	if (s->deadline != 0) {
		session_deadline_in(s, 0);
		s->hold_expired = false;
	}
	return VERDICT_PASS;
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The entry of this user and application, or the one longest unused. */
static struct usage_app *usage_app(struct usage *u, const char *user,
				   const char *application)
{
	struct usage_app *oldest = &u->apps[0];

	for (size_t i = 0; i < u->n_apps; i++) {
		struct usage_app *a = &u->apps[i];

		if (strncmp(a->user, user, sizeof(a->user) - 1) == 0 &&
		    strncmp(a->application, application,
			    sizeof(a->application) - 1) == 0)
			return a;
		if (a->last_ms < oldest->last_ms)
			oldest = a;
	}
	if (u->n_apps < USAGE_APPS)
		oldest = &u->apps[u->n_apps++];
	memset(oldest, 0, sizeof(*oldest));
	snprintf(oldest->user, sizeof(oldest->user), "%s", user);
	snprintf(oldest->application, sizeof(oldest->application), "%s",
		 application);
	return oldest;
}

static void usage_count(struct session *s, struct usage *u,
			const struct plan *plan, uint64_t bit, uint64_t now)
{
	if (!(plan->old_shape & bit)) {
		atomic_fetch_add_explicit(&u->new_shape, 1,
					  memory_order_relaxed);
		return;
	}
	atomic_fetch_add_explicit(
	    plan->writes & bit ? &u->old_writes : &u->old_reads, 1,
	    memory_order_relaxed);
	atomic_store_explicit(&u->last_old_ms, now, memory_order_relaxed);
	if (now < s->usage_told_ms + USAGE_TELL_MS) {
		s->usage_untold++;
		return;
	}
	uv_mutex_lock(&u->lock);
	struct usage_app *a = usage_app(u, s->user, s->application);
	a->count += 1 + s->usage_untold;
	a->last_ms = now;
	uv_mutex_unlock(&u->lock);
	s->usage_untold = 0;
	s->usage_told_ms = now;
}

void plan_count_use(struct session *s, const struct plan *plan, bool refused)
{
	uint64_t now = wall_ms();

	s->new_shape |= plan->new_shape;
	if (s->db == NULL || s->db->usage == NULL)
		return;
	for (size_t i = 0; i < s->db->rules->n_migrations; i++) {
		uint64_t bit = (uint64_t)1 << i;

		if (!(plan->migrations & bit))
			continue;
		if (refused)
			atomic_fetch_add(&s->db->usage[i]->refused, 1);
		else
			usage_count(s, s->db->usage[i], plan, bit, now);
	}
}

void plan_count_time(struct session *s, const struct plan *plan,
		     uint64_t sent_ns)
{
	unsigned long long us = (uv_hrtime() - sent_ns) / 1000, worst;

	latency_add(&s->worker->latency, us);
	counter_add(&s->worker->count.timed, 1);
	counter_add(&s->worker->count.timed_us, us);
	if (s->db == NULL || s->db->usage == NULL)
		return;
	for (size_t i = 0; i < s->db->rules->n_migrations; i++) {
		if (!(plan->migrations & ((uint64_t)1 << i)))
			continue;
		worst = atomic_load(&s->db->usage[i]->slowest_us);
		while (us > worst &&
		       !atomic_compare_exchange_weak(
			   &s->db->usage[i]->slowest_us, &worst, us))
			;
	}
}

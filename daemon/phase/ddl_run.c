#include "daemon/phase/ddl_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/phase/db.h"
#include "daemon/phase/snapshot_make.h"

enum {
	LOCK_MS = 500,	/* one attempt */
	TRY_MS = 30000, /* all attempts together */
	PAUSE_MS = 250, /* after the first attempt; doubles */
	PAUSE_MAX_MS = 2000,
	QUIET_LOOK_MS = 10,
	QUIET_MS = 500, /* for reads of the catalog to end */
};

/* Which text of the specification belongs to a move, and at which end. */
static const char *spec_text(const struct spec *spec, enum phase from,
			     enum phase to, bool before)
{
	if (from == PHASE_PLANNED && to == PHASE_EXPANDED && before)
		return spec->expand;
	if (from == PHASE_WRITE_NEW && to == PHASE_NEW_ONLY && before)
		return spec->relax;
	if (from == PHASE_NEW_ONLY && to == PHASE_CONTRACTED && !before)
		return spec->contract;
	return NULL;
}

static void append(struct ddl_list *list, const struct ddl_list *more,
		   struct arena *a)
{
	struct ddl_step *all =
	    arena_alloc(a, (list->n + more->n + 1) * sizeof(*all));

	if (list->n)
		memcpy(all, list->steps, list->n * sizeof(*all));
	if (more->n)
		memcpy(all + list->n, more->steps, more->n * sizeof(*all));
	list->steps = all;
	list->n += more->n;
}

void ddl_collect(const struct spec *spec, const struct lens *const *lenses,
		 enum phase from, enum phase to, bool before, struct arena *a,
		 struct ddl_list *ret)
{
	const char *text = spec_text(spec, from, to, before);
	struct ddl_step own = {
	    .what = "the specification's own statements",
	    .sql = text,
	    .once = to == PHASE_EXPANDED,
	    .locks_source = to != PHASE_EXPANDED,
	};
	struct ddl_list list = {0};

	if (text)
		append(&list, &(struct ddl_list){1, &own}, a);
	for (size_t i = 0; i < spec->n_lenses; i++) {
		struct ddl_list more = {0};

		ddl_for_move(lenses[i], from, to, before,
			     spec->ddl == DDL_GENERATED, a, &more);
		append(&list, &more, a);
	}
	*ret = list;
}

static void hold(struct job *j, bool held)
{
	struct problem ignored;

	uv_mutex_lock(&j->control->lock);
	if (j->m->held != held) {
		j->m->held = held;
		/* Logged there; the statements only wait a little less. */
		if (!snapshot_publish(j->control, &ignored))
			j->m->held = false;
	}
	uv_mutex_unlock(&j->control->lock);
}

/* What one wait may take, of two for which statements are held. */
static uint64_t patience_ms(const struct job *j, uint64_t most_ms)
{
	uint64_t half = j->settings->hold_timeout_ms / 2;

	return half < most_ms ? half : most_ms;
}

static bool begin(struct job *j, struct problem *p)
{
	const char *schema =
	    quote_name(j->spec->lenses[0].old.schema, &j->arena);

	/* The operator's texts and expressions mean what they mean in the
	 * schema of the old model. */
	return db_exec(j->db,
		       arena_fmt(&j->arena,
				 "BEGIN; SET LOCAL lock_timeout = %" PRIu64
				 "; SET LOCAL search_path ="
				 " %s, public",
				 patience_ms(j, LOCK_MS) + 1, schema),
		       p);
}

/* Has this very text been run already?  A way back leaves what it has made. */
static bool step_was_run(struct job *j, const struct ddl_step *step, bool *ret,
			 struct problem *p)
{
	const char *const params[] = {j->m->name, step->sql};
	int64_t n;

	if (!db_number(j->db,
		       "SELECT pg_catalog.count(*) FROM pgtandem.made WHERE"
		       " migration = $1 AND lens = 0 AND relation = $2",
		       2, params, 0, &n, p))
		return false;
	*ret = n > 0;
	return true;
}

static bool step_note(struct job *j, const struct ddl_step *step,
		      struct problem *p)
{
	const char *const params[] = {j->m->name, step->sql};
	PGresult *r =
	    db_query(j->db, p,
		     "INSERT INTO pgtandem.made (migration, lens, relation)"
		     " VALUES ($1, 0, $2) ON CONFLICT (migration, lens)"
		     " DO UPDATE SET relation = excluded.relation",
		     2, params);

	PQclear(r);
	return r;
}

static bool step_run(struct job *j, const struct ddl_step *step,
		     struct problem *p);

static bool step_run_once(struct job *j, const struct ddl_step *step,
			  struct problem *p)
{
	struct ddl_step alone = *step;
	bool done;

	alone.once = false;
	if (!step_was_run(j, step, &done, p))
		return false;
	return done || (step_run(j, &alone, p) && step_note(j, step, p));
}

static bool step_run(struct job *j, const struct ddl_step *step,
		     struct problem *p)
{
	struct problem was;

	if (step->once)
		return step_run_once(j, step, p);
	if (db_exec(j->db, step->sql, p)) {
		if (PQtransactionStatus(j->db) == PQTRANS_INTRANS)
			return true;
		problem_set(p, "2D000", "it must not end the transaction");
	}
	was = *p;
	problem_set(p, was.sqlstate,
		    "pgtandem: migration %s (phase %s): "
		    "%s: %s",
		    j->m->name, phase_name(j->row.phase), step->what,
		    was.message);
	problem_detail(p, "%s", was.detail);
	problem_hint(p, "%s", was.hint);
	return false;
}

static bool attempt(struct job *j, const struct ddl_list *list,
		    ddl_last_fn last, void *arg, struct problem *p)
{
	bool ok = begin(j, p);

	for (size_t i = 0; ok && i < list->n; i++)
		ok = list->steps[i].ahead || step_run(j, &list->steps[i], p);
	ok = ok && db_exec(j->db, "SET LOCAL search_path = pg_catalog", p) &&
	     (last == NULL || last(j, arg, p)) && db_exec(j->db, "COMMIT", p);
	db_rollback(j->db);
	return ok;
}

/* 55P03 lock not available, 40P01 deadlock detected. */
static bool try_again(const struct problem *p)
{
	return strcmp(p->sqlstate, "55P03") == 0 ||
	       strcmp(p->sqlstate, "40P01") == 0;
}

/* The transactions that hold a lock on any relation of the migration. */
static void blockers(struct job *j, struct problem *p)
{
	static const char sql[] =
	    "SELECT string_agg(DISTINCT format('pid %s %s (%s) since %s',"
	    " a.pid, a.usename, a.application_name, a.xact_start), '; ')"
	    " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
	    " WHERE l.locktype = 'relation' AND l.granted"
	    " AND l.relation::bigint = ANY ($1::bigint[])"
	    " AND a.pid <> pg_backend_pid()";
	char oids[512] = "{";
	size_t len = 1;
	const char *const params[] = {oids};
	struct problem ignored;
	PGresult *r;

	for (size_t i = 0; i < j->spec->n_lenses && len < 480; i++)
		len += (size_t)snprintf(
		    oids + len, sizeof(oids) - len, "%s%u,%u", i ? "," : "",
		    j->lenses[i]->old->oid, j->lenses[i]->new->oid);
	snprintf(oids + len, sizeof(oids) - len, "}");
	r = db_query(j->db, &ignored, sql, 1, params);
	if (r && db_text(r, 0, 0))
		problem_detail(p, "Locks are held by %s", db_text(r, 0, 0));
	PQclear(r);
}

static bool too_late(struct job *j, struct problem *p)
{
	problem_set(p, "55P03",
		    "pgtandem: migration %s (phase %s): no lock "
		    "was to be had within %d s; nothing was changed",
		    j->m->name, phase_name(j->row.phase), TRY_MS / 1000);
	blockers(j, p);
	problem_hint(p, "End those transactions, or wait, and give the "
			"command again.");
	return false;
}

static bool any_locks(const struct ddl_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->steps[i].locks_source && !list->steps[i].ahead)
			return true;
	return false;
}

/*
 * Reads of the catalog that are under way may have found a relation that is
 * about to be dropped, and would fail when they come to open it: they are
 * given time to end, before any lock is taken.  New ones are held.
 */
static bool catalog_quiet(struct job *j, struct problem *p)
{
	static const char sql[] =
	    "SELECT count(*) FROM pg_stat_activity"
	    " WHERE datname = current_database() AND state = 'active'"
	    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
	    " AND NOT (application_name = '" DB_APPLICATION "'"
	    "  AND usename = session_user)"
	    " AND query ~* '\\m(pg_|information_schema)'";
	uint64_t begun_ms = uv_hrtime() / 1000000;
	uint64_t wait_ms = patience_ms(j, QUIET_MS);
	int64_t n;

	do {
		if (!job_sleep(j, QUIET_LOOK_MS, p) ||
		    !db_number(j->db, sql, 0, NULL, 0, &n, p))
			return false;
	} while (n > 0 && uv_hrtime() / 1000000 - begun_ms < wait_ms);
	return true;
}

/*
 * Statements are held only while an attempt waits for its locks, so that one
 * long transaction of the application does not stop all others.
 */
static bool try_until_had(struct job *j, const struct ddl_list *list,
			  ddl_last_fn last, void *arg, struct problem *p)
{
	uint64_t begun_ms = uv_hrtime() / 1000000;
	bool locks = any_locks(list);
	unsigned pause = PAUSE_MS;

	for (;;) {
		hold(j, locks);
		if (locks && !catalog_quiet(j, p))
			return false;
		if (attempt(j, list, last, arg, p))
			return true;
		if (!try_again(p))
			return false;
		hold(j, false);
		if (uv_hrtime() / 1000000 - begun_ms > TRY_MS)
			return too_late(j, p);
		job_notice(j, "locks are taken, trying again in %u ms", pause);
		if (!job_sleep(j, pause, p))
			return false;
		pause = pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause * 2;
	}
}

/* A step ahead of the others, in a transaction of its own if it can be. */
static bool run_ahead(struct job *j, const struct ddl_step *step,
		      struct problem *p)
{
	struct ddl_step own = *step;
	bool ok;

	if (step->alone)
		return db_exec(j->db, step->sql, p);
	own.ahead = false;
	ok = try_until_had(j, &(struct ddl_list){1, &own}, NULL, NULL, p);
	hold(j, false);
	return ok;
}

static bool run_all_ahead(struct job *j, const struct ddl_list *list,
			  struct problem *p)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->steps[i].ahead && !run_ahead(j, &list->steps[i], p))
			return false;
	return true;
}

/* The move does not take place: nothing of it may bind a client. */
static void undo_ahead(struct job *j, const struct ddl_list *list)
{
	struct problem p;

	for (size_t i = list->n; i > 0; i--) {
		struct ddl_step undo = {.what = list->steps[i - 1].what,
					.sql = list->steps[i - 1].undo,
					.locks_source = true};

		if (undo.sql == NULL)
			continue;
		if (!try_until_had(j, &(struct ddl_list){1, &undo}, NULL, NULL,
				   &p))
			job_notice(j, "WARNING: not taken back: %s: %s",
				   undo.what, p.message);
		hold(j, false);
	}
}

bool ddl_run(struct job *j, const struct ddl_list *list, ddl_last_fn last,
	     void *arg, struct problem *p)
{
	bool ok =
	    run_all_ahead(j, list, p) && try_until_had(j, list, last, arg, p);

	if (!ok) {
		hold(j, false);
		undo_ahead(j, list);
		return false;
	}
	/* What waits goes on by the new state, when there is one. */
	ok = job_refresh(j, p);
	hold(j, false);
	return ok;
}

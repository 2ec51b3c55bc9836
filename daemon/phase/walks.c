#include "daemon/phase/walks.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"
#include "daemon/phase/snapshot_make.h"

enum {
	LOOK_MS = 50,
	SAY_EVERY_MS = 3000,
	SUMMARY = 200,
	/* Applications whose rows are in demand have dozens of backends that
	 * wait for each other at any time: that alone is no reason to wait. */
	MAX_WAITERS = 64,
};

/* Owns everything that a walker borrows. */
struct walk_run {
	struct database *database;
	struct settings *settings;
	struct arena arena;
	char *conninfo;
	struct walker *walker;
	enum walk_direction direction;
	uint64_t epoch; /* the fill is of this visit of the phase */
	atomic_bool ended;
	bool written; /* its end is in the state */
	struct brake_watch watch;
};

/* Indexed by phase; 0 is WALK_TO_NEW, so the other table says whether. */
static const bool kept_equal[PHASE_COUNT] = {
    [PHASE_DUAL_WRITE] = true,
    [PHASE_READ_NEW] = true,
    [PHASE_WRITE_NEW] = true,
};

static const enum walk_direction directions[PHASE_COUNT] = {
    [PHASE_DUAL_WRITE] = WALK_TO_NEW,
    [PHASE_READ_NEW] = WALK_TO_NEW,
    [PHASE_WRITE_NEW] = WALK_TO_OLD,
};

bool walk_direction_of(enum phase phase, enum walk_direction *ret)
{
	if (kept_equal[phase])
		*ret = directions[phase];
	return kept_equal[phase];
}

bool walk_is_due(const struct state_row *row)
{
	if (row->pending || row->filled)
		return false;
	return row->phase == PHASE_DUAL_WRITE ||
	       (row->phase == PHASE_WRITE_NEW && row->old_stale);
}

bool walk_result_is_equal(const struct walk_result *r)
{
	return r->missing == 0 && r->extra == 0 && r->different == 0 &&
	       r->violations == 0;
}

static void on_end(void *arg, enum walk_state state)
{
	struct walk_run *r = arg;

	log_debug("walk ended: %s", walk_state_name(state));
	atomic_store(&r->ended, true);
	database_wake(r->database);
}

static bool on_overloaded(void *arg, char ret_how[WALK_HOW])
{
	struct walk_run *r = arg;
	struct control *c = r->database->control;
	struct latency_counts now;

	uv_mutex_lock(&c->lock);
	if (c->server == NULL) {
		uv_mutex_unlock(&c->lock);
		return false;
	}
	server_get_latency(c->server, &now);
	uv_mutex_unlock(&c->lock);
	if (!brake_is_on(&r->watch, &now))
		return false;
	snprintf(ret_how, WALK_HOW,
		 "its statements take %" PRIu64 " ms (p99), %" PRIu64
		 " ms before the walk",
		 r->watch.now_us / 1000, r->watch.before_us / 1000);
	return true;
}

static bool is_running(const struct walk_run *r)
{
	return r != NULL && !atomic_load(&r->ended);
}

void walks_note_latency(struct control *c)
{
	struct latency_counts now;
	bool busy = false;

	uv_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n_databases; i++)
		for (size_t m = 0; m < c->databases[i]->n_migrations; m++)
			busy |=
			    is_running(c->databases[i]->migrations[m]->walk);
	if (c->server != NULL && !busy) {
		server_get_latency(c->server, &now);
		brake_note(&c->brake, &now, uv_hrtime() / 1000000);
	}
	uv_mutex_unlock(&c->lock);
}

void walk_run_free(struct walk_run *r)
{
	if (!r)
		return;
	walker_free(r->walker);
	settings_unref(r->settings);
	arena_free(&r->arena);
	free(r->conninfo);
	free(r);
}

/* What the request borrows is copied into the run's own lifetime. */
static bool run_prepare(struct migration *m, struct walk_run *r,
			struct walk_request *req, struct problem *p)
{
	struct control *c = m->database->control;
	const struct spec *spec;
	struct latency_counts now;
	bool ok;

	uv_mutex_lock(&c->lock);
	r->settings = settings_ref(c->settings);
	spec = m->spec;
	ok = lenses_compile(spec, m->sources, &r->arena, &req->lenses, p);
	req->rate = m->row.rate;
	req->paused = m->row.paused;
	if (c->server != NULL) {
		server_get_latency(c->server, &now);
		brake_begin(&r->watch, &c->brake, &now,
			    r->settings->walk.latency_percent);
	}
	uv_mutex_unlock(&c->lock);
	req->migration = arena_str(&r->arena, m->name);
	req->n_lenses = spec->n_lenses;
	ok = ok && db_conninfo(r->settings, m->database->name, &r->conninfo, p);
	req->conninfo = r->conninfo;
	return ok;
}

static bool run_create(struct migration *m, enum walk_job job,
		       enum walk_direction d, bool restart,
		       struct walk_run **ret, struct problem *p)
{
	struct walk_run *r = calloc(1, sizeof(*r));
	struct walk_request req = {
	    .job = job,
	    .direction = d,
	    .restart = restart,
	    .max_waiters = MAX_WAITERS,
	    .overloaded = on_overloaded,
	    .on_end = on_end,
	    .arg = r,
	};

	if (!r)
		abort();
	arena_init(&r->arena);
	r->database = m->database;
	r->direction = d;
	if (!run_prepare(m, r, &req, p)) {
		if (r->settings)
			settings_unref(r->settings);
		arena_free(&r->arena);
		free(r->conninfo);
		free(r);
		return false;
	}
	if (job != WALK_JOB_FILL)
		req.paused = false;
	r->walker = walker_create(&req);
	*ret = r;
	return true;
}

/* With m->walking held. */
static struct walk_run *walk_replace(struct migration *m, struct walk_run *next)
{
	struct control *c = m->database->control;
	struct walk_run *was;

	uv_mutex_lock(&c->lock);
	was = m->walk;
	m->walk = next;
	uv_mutex_unlock(&c->lock);
	return was;
}

static bool fill_start(struct migration *m, const struct state_row *row,
		       bool restart, struct problem *p)
{
	enum walk_direction d;
	struct walk_run *r;

	if (!walk_direction_of(row->phase, &d) ||
	    !run_create(m, WALK_JOB_FILL, d, restart, &r, p))
		return false;
	r->epoch = row->epoch;
	walk_run_free(walk_replace(m, r));
	log_info("migration %s (phase %s): the walk from %s begins", m->name,
		 phase_name(row->phase),
		 d == WALK_TO_NEW ? "old to new" : "new to old");
	walker_spawn(r->walker);
	return true;
}

static void summarise(const struct walk_result *w, char ret[SUMMARY])
{
	snprintf(ret, SUMMARY,
		 "%" PRIu64 " rows compared, %" PRIu64 " missing, %" PRIu64
		 " extra, %" PRIu64 " different, %" PRIu64 " lossy, %" PRIu64
		 " refused",
		 w->compared, w->missing, w->extra, w->different, w->lossy,
		 w->violations);
}

/* The end of a fill, in one transaction with its verify's result. */
static bool fill_write(struct migration *m, PGconn *db,
		       const struct state_row *row, const struct walk_result *w,
		       struct problem *p)
{
	struct state_row next = *row;
	char summary[SUMMARY];
	struct state_event e = {.what = "walk complete",
				.detail = summary,
				.who = m->database->control->instance,
				.from = row->phase,
				.to = row->phase};
	bool ok;

	summarise(w, summary);
	next.filled = true;
	if (walk_result_is_equal(w))
		next.old_stale = false;
	ok = db_exec(db, "BEGIN", p) &&
	     state_change(db, m->name, row, &next, &e, p) &&
	     state_verified(db, m->name, row->epoch, walk_result_is_equal(w),
			    w->lossy, summary, p) &&
	     db_exec(db, "COMMIT", p);
	db_rollback(db);
	if (ok)
		log_info("migration %s (phase %s): walk complete: %s", m->name,
			 phase_name(row->phase), summary);
	return ok;
}

static bool fill_ended(struct migration *m, struct walk_run *r, PGconn *db,
		       const struct state_row *row, struct problem *p)
{
	struct walk_progress w;

	walker_get_progress(r->walker, &w);
	if (w.state == WALK_FAILED)
		log_error("migration %s (phase %s): the walk failed: %s; "
			  "BACKFILL %s START begins it again",
			  m->name, phase_name(row->phase), w.error, m->name);
	r->written =
	    w.state != WALK_DONE ||
	    (fill_write(m, db, row, &w.result, p) && migration_adopt(m, db, p));
	return r->written;
}

static bool tend(struct migration *m, PGconn *db, bool mover, struct problem *p)
{
	struct control *c = m->database->control;
	struct walk_run *r;
	struct state_row row;
	bool busy;

	uv_mutex_lock(&c->lock);
	row = m->row;
	r = m->walk;
	busy = (m->busy && !mover) || m->gone;
	uv_mutex_unlock(&c->lock);
	if (busy || !walk_is_due(&row))
		return true;
	if (!r || r->epoch != row.epoch)
		return fill_start(m, &row, false, p);
	if (atomic_load(&r->ended) && !r->written)
		return fill_ended(m, r, db, &row, p);
	return true;
}

bool walks_tend(struct migration *m, PGconn *db, bool mover, struct problem *p)
{
	bool ok;

	/* A mover that stops the walk holds this: look again later. */
	if (uv_mutex_trylock(&m->walking) != 0)
		return true;
	ok = tend(m, db, mover, p);
	uv_mutex_unlock(&m->walking);
	return ok;
}

void walks_stop(struct job *j)
{
	uv_mutex_lock(&j->m->walking);
	walk_run_free(walk_replace(j->m, NULL));
	uv_mutex_unlock(&j->m->walking);
}

bool walks_restart(struct job *j, struct problem *p)
{
	bool ok;

	uv_mutex_lock(&j->m->walking);
	ok = fill_start(j->m, &j->row, true, p);
	uv_mutex_unlock(&j->m->walking);
	return ok;
}

void walks_pause(struct migration *m, bool paused)
{
	struct control *c = m->database->control;

	uv_mutex_lock(&c->lock);
	if (m->walk && paused)
		walker_pause(m->walk->walker);
	if (m->walk && !paused)
		walker_resume(m->walk->walker);
	uv_mutex_unlock(&c->lock);
}

void walks_set_rate(struct migration *m, uint64_t rate)
{
	struct control *c = m->database->control;

	uv_mutex_lock(&c->lock);
	if (m->walk)
		walker_set_rate(m->walk->walker, rate);
	uv_mutex_unlock(&c->lock);
}

bool walks_progress(struct migration *m, struct walk_progress *ret)
{
	struct control *c = m->database->control;
	bool any;

	uv_mutex_lock(&c->lock);
	any = m->walk;
	if (any)
		walker_get_progress(m->walk->walker, ret);
	uv_mutex_unlock(&c->lock);
	return any;
}

static void say_progress(struct job *j, const struct walk_progress *w)
{
	job_notice(
	    j,
	    "%s: %" PRIu64 " of about %" PRIu64 " rows, %" PRIu64 " rows/s%s%s",
	    walk_mode_name(w->mode), w->rows_done, w->rows_total, w->rows_per_s,
	    w->waiting_for[0] ? ", waiting for " : "", w->waiting_for);
}

/* Until the walker has ended, or the operator does not want it any more. */
static bool run_watch(struct job *j, struct walk_run *r, struct problem *p)
{
	struct walk_progress w;
	unsigned waited = 0;

	while (!atomic_load(&r->ended)) {
		if (!job_sleep(j, LOOK_MS, p))
			return false;
		waited += LOOK_MS;
		if (waited % SAY_EVERY_MS != 0)
			continue;
		walker_get_progress(r->walker, &w);
		say_progress(j, &w);
	}
	walker_get_progress(r->walker, &w);
	if (w.state == WALK_DONE)
		return true;
	problem_set(p, "58000",
		    "pgtandem: migration %s (phase %s): the walk "
		    "did not come to its end: %s",
		    j->m->name, phase_name(j->row.phase),
		    w.error[0] ? w.error : "stopped");
	problem_hint(p, "Mend what it says, and give the command again.");
	return false;
}

bool walks_run(struct job *j, enum walk_job job, enum walk_direction d,
	       struct walk_result *ret, struct problem *p)
{
	struct walk_progress w;
	struct walk_run *r;
	bool ok;

	if (!run_create(j->m, job, d, true, &r, p))
		return false;
	walker_spawn(r->walker);
	ok = run_watch(j, r, p);
	if (ok) {
		walker_get_progress(r->walker, &w);
		*ret = w.result;
	}
	walk_run_free(r);
	return ok;
}

static bool nothing_to_compare(struct job *j, struct problem *p)
{
	problem_set(p, "55000",
		    "pgtandem: migration %s (phase %s): there are "
		    "no two models to compare",
		    j->m->name, phase_name(j->row.phase));
	problem_hint(p, "Both are kept equal from dual_write to write_new.");
	return false;
}

bool walks_verify(struct job *j, struct walk_result *ret, struct problem *p)
{
	struct state_row next = j->row;
	char summary[SUMMARY];
	struct state_event e = {.who = job_who(j),
				.what = "verify",
				.detail = summary,
				.from = j->row.phase,
				.to = j->row.phase};
	enum walk_direction d;
	bool ok;

	if (!walk_direction_of(j->row.phase, &d))
		return nothing_to_compare(j, p);
	if (!walks_run(j, WALK_JOB_VERIFY, d, ret, p))
		return false;
	summarise(ret, summary);
	job_notice(j, "verified: %s", summary);
	/* After a repair: what the fill had left unequal is equal now. */
	if (j->row.filled && walk_result_is_equal(ret))
		next.old_stale = false;
	ok =
	    db_exec(j->db, "BEGIN", p) &&
	    state_change(j->db, j->m->name, &j->row, &next, &e, p) &&
	    state_verified(j->db, j->m->name, j->row.epoch,
			   walk_result_is_equal(ret), ret->lossy, summary, p) &&
	    db_exec(j->db, "COMMIT", p);
	db_rollback(j->db);
	return ok && job_refresh(j, p);
}

/*
 * The states of a walk, and who changes them:
 *
 *	ready   -> running	run
 *	running -> paused	keep_pace, by walker_pause
 *	running -> waiting	walk_wait_for: locks, lag, load, old
 *				transactions, the server
 *	paused, waiting -> running
 *	any     -> stopped	by walker_stop
 *	running -> done, failed	run
 *
 * A lost connection has one way back: connect, read the stored positions, and
 * go on from there.  So nothing that is kept in memory has to survive it.
 */
#include "daemon/phase/walker_part.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"

enum {
	START_BATCH = 1000,
	LOOK_EVERY_MS = 500, /* at the server's pressure */
	PRESSED_MS = 2000,   /* longest wait for others' locks, per batch */
	MIN_RETRY_MS = 50,
	MAX_RETRY_MS = 5000,
};

static const char *const mode_names[] = {
#define X(id, name, what) [(id)] = (name),
    WALK_MODES(X)
#undef X
};

static const char *const job_names[] = {
#define X(id, name) [(id)] = (name),
    WALK_JOBS(X)
#undef X
};

static const char *const state_names[] = {
#define X(id, name) [(id)] = (name),
    WALK_STATES(X)
#undef X
};

const char *walk_mode_name(enum walk_mode m)
{
	return mode_names[m];
}

const char *walk_job_name(enum walk_job j)
{
	return job_names[j];
}

const char *walk_state_name(enum walk_state s)
{
	return state_names[s];
}

/* The modes of a job are walked in the order of the enum. */
static const bool has_mode[WALK_JOB_COUNT][WALK_MODE_COUNT] = {
    [WALK_JOB_FILL] =
	{
	    [WALK_MEND_KEYS] = true,
	    [WALK_MEND] = true,
	    [WALK_DRAIN] = true,
	    [WALK_SWEEP] = true,
	    [WALK_VERIFY] = true,
	    [WALK_VERIFY_TARGET] = true,
	},
    [WALK_JOB_VERIFY] =
	{
	    [WALK_VERIFY] = true,
	    [WALK_VERIFY_TARGET] = true,
	},
    [WALK_JOB_NEWEST] = {[WALK_VERIFY] = true},
    [WALK_JOB_REPAIR] = {[WALK_RETRY] = true},
};

static enum walk_mode next_mode(enum walk_job job, enum walk_mode from)
{
	while (from < WALK_MODE_COUNT && !has_mode[job][from])
		from++;
	return from;
}

void walk_lens_reset(struct walker *w, struct lens_walk *lw)
{
	walk_key_clear(&lw->last);
	lw->mode = next_mode(w->req.job, 0);
	lw->done = false;
	lw->rows_done = lw->rows_total = 0;
	lw->result = (struct walk_result){0};
}

/* 1. Time, and what others see. */

uint64_t walk_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool walk_sleep(struct walker *w, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	if (!atomic_load(&w->stop))
		pthread_cond_timedwait(&w->woken, &w->lock, &until);
	pthread_mutex_unlock(&w->lock);
	return !atomic_load(&w->stop);
}

static void wake(struct walker *w)
{
	pthread_mutex_lock(&w->lock);
	pthread_cond_broadcast(&w->woken);
	pthread_mutex_unlock(&w->lock);
}

static void enter(struct walker *w, enum walk_state s)
{
	pthread_mutex_lock(&w->lock);
	w->progress.state = s;
	w->progress.waiting_for[0] = '\0';
	pthread_mutex_unlock(&w->lock);
}

void walk_wait_for(struct walker *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pthread_mutex_lock(&w->lock);
	w->progress.state = WALK_WAITING;
	vsnprintf(w->progress.waiting_for, sizeof(w->progress.waiting_for), fmt,
		  args);
	pthread_mutex_unlock(&w->lock);
	va_end(args);
}

void walk_go_on(struct walker *w)
{
	enter(w, WALK_RUNNING);
}

static void add_result(struct walk_result *sum, const struct walk_result *r)
{
	sum->compared += r->compared;
	sum->missing += r->missing;
	sum->extra += r->extra;
	sum->different += r->different;
	sum->lossy += r->lossy;
	sum->inserted += r->inserted;
	sum->synced += r->synced;
	sum->swept += r->swept;
	sum->violations += r->violations;
}

/* Rows per second since the oldest sample, at most ten seconds ago. */
static uint64_t measure_rate(struct walker *w)
{
	uint64_t now = walk_now_ms(), ms;

	if (w->n_samples == 0 || now - w->samples[0].ms >= 1000) {
		if (w->n_samples < WALK_SAMPLES)
			w->n_samples++;
		memmove(w->samples + 1, w->samples,
			(w->n_samples - 1) * sizeof(w->samples[0]));
		w->samples[0].ms = now;
		w->samples[0].rows = w->processed;
	}
	ms = now - w->samples[w->n_samples - 1].ms;
	if (ms == 0)
		return 0;
	return (w->processed - w->samples[w->n_samples - 1].rows) * 1000 / ms;
}

static void print_position(const struct lens_walk *lw, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "%u:", lw->lens->number);

	for (size_t i = 0; lw->last.set && i < lw->sql.n_key; i++) {
		if (used >= size)
			return;
		used += (size_t)snprintf(out + used, size - used, "%s %s",
					 i > 0 ? "," : "", lw->last.v[i]);
	}
}

static void show(struct walker *w, const struct lens_walk *at)
{
	struct walk_progress *g = &w->progress;
	uint64_t rate = measure_rate(w);

	pthread_mutex_lock(&w->lock);
	g->mode = at->mode;
	g->rows_per_s = rate;
	g->rows_done = g->rows_total = 0;
	g->result = (struct walk_result){0};
	for (size_t i = 0; i < w->req.n_lenses; i++) {
		const struct lens_walk *lw = &w->lenses[i];

		add_result(&g->result, &lw->result);
		if (lw->mode != at->mode)
			continue;
		g->rows_done += lw->rows_done;
		g->rows_total += lw->rows_total;
	}
	g->eta_s =
	    rate > 0 ? (int64_t)((g->rows_total - g->rows_done) / rate) : -1;
	print_position(at, g->position, sizeof(g->position));
	pthread_mutex_unlock(&w->lock);
}

/* 2. Pace. */

static bool wait_while_paused(struct walker *w)
{
	if (!atomic_load(&w->paused))
		return !atomic_load(&w->stop);
	enter(w, WALK_PAUSED);
	while (atomic_load(&w->paused))
		if (!walk_sleep(w, 1000))
			return false;
	w->n_samples = 0;
	walk_go_on(w);
	return true;
}

static const char pressure_sql[] =
    "SELECT COALESCE((SELECT (1000 * EXTRACT(epoch FROM"
    " pg_catalog.max(replay_lag)))::pg_catalog.int8"
    " FROM pg_catalog.pg_stat_replication), 0),"
    " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks"
    " WHERE NOT granted)";

enum pressure { PRESSURE_NONE, PRESSURE_LAG, PRESSURE_OTHER, PRESSURE_UNKNOWN };

static enum pressure look_at_pressure(struct walker *w)
{
	enum pressure result = PRESSURE_NONE;
	int64_t lag, waiters;
	char how[WALK_HOW];
	PGresult *r;

	r = walk_ask(w, pressure_sql, 0, NULL);
	if (r == NULL)
		return PRESSURE_UNKNOWN;
	lag = db_int(r, 0, 0);
	waiters = db_int(r, 0, 1);
	PQclear(r);
	if (lag > (int64_t)w->req.max_lag_ms) {
		walk_wait_for(w, "replication lag of %" PRId64 " s",
			      lag / 1000);
		result = PRESSURE_LAG;
	} else if (waiters > (int64_t)w->req.max_waiters) {
		walk_wait_for(w, "%" PRId64 " backends that wait for locks",
			      waiters);
		result = PRESSURE_OTHER;
	} else if (w->req.overloaded && w->req.overloaded(w->req.arg, how)) {
		walk_wait_for(w, "the application: %s", how);
		result = PRESSURE_OTHER;
	}
	return result;
}

/* Replicas are waited for until they are back; the application's own troubles
 * may have other causes, and only slow the walk down. */
static enum walk_outcome wait_for_pressure(struct walker *w)
{
	uint64_t began = walk_now_ms();
	enum pressure p;

	if (began - w->looked_ms < LOOK_EVERY_MS)
		return OUTCOME_OK;
	while ((p = look_at_pressure(w)) != PRESSURE_NONE) {
		if (p == PRESSURE_UNKNOWN)
			return walk_failed(w);
		if (p == PRESSURE_OTHER && walk_now_ms() - began > PRESSED_MS)
			break;
		if (!walk_sleep(w, 200))
			return OUTCOME_STOPPED;
	}
	w->looked_ms = walk_now_ms();
	walk_go_on(w);
	return OUTCOME_OK;
}

static bool wait_for_rate(struct walker *w)
{
	uint64_t now;

	while ((now = walk_now_ms()) < w->next_ms &&
	       atomic_load(&w->rate) > 0 && !atomic_load(&w->paused))
		if (!walk_sleep(w, w->next_ms - now))
			return false;
	return !atomic_load(&w->stop);
}

static enum walk_outcome keep_pace(struct walker *w)
{
	if (!wait_for_rate(w) || !wait_while_paused(w))
		return OUTCOME_STOPPED;
	return wait_for_pressure(w);
}

/* A batch of `rows` took `ms`: the next one should take batch_ms, and at a
 * capped rate there are to be a few in a second. */
static void adapt(struct walker *w, uint64_t rows, uint64_t ms)
{
	uint64_t rate = atomic_load(&w->rate), size = w->size;

	if (rows == 0)
		return;
	size = rows < size ? size : size * w->req.batch_ms / (ms ? ms : 1);
	if (size > 2 * (uint64_t)w->size)
		size = 2 * (uint64_t)w->size;
	if (size < WALK_MIN_BATCH)
		size = w->size < WALK_MIN_BATCH ? 2 * (uint64_t)w->size
						: WALK_MIN_BATCH;
	if (size > WALK_MAX_BATCH)
		size = WALK_MAX_BATCH;
	if (rate > 0 && size > rate / 5)
		size = rate / 5 > 0 ? rate / 5 : 1;
	w->size = (unsigned)size;
	w->next_ms = rate > 0 ? walk_now_ms() - ms + rows * 1000 / rate : 0;
}

/* 3. The walk. */

/* What follows a failed batch: smaller, later, or not at all. */
static enum walk_outcome recover(struct walker *w, struct lens_walk *lw,
				 const struct batch *b,
				 enum walk_outcome outcome, unsigned *tries)
{
	uint64_t ms = MIN_RETRY_MS << (*tries < 7 ? *tries : 7);

	if (outcome == OUTCOME_DATA && b->rows == 0)
		return OUTCOME_FATAL;
	if (outcome == OUTCOME_DATA && b->rows == 1)
		return walk_skip_row(w, lw, b);
	if ((outcome == OUTCOME_DATA || outcome == OUTCOME_BUSY) && b->rows > 1)
		w->size = (unsigned)(b->rows / 2);
	if (outcome == OUTCOME_DATA)
		return OUTCOME_OK;
	if (outcome != OUTCOME_BUSY && outcome != OUTCOME_FULL)
		return outcome;
	(*tries)++;
	walk_wait_for(w, "%s",
		      outcome == OUTCOME_BUSY
			  ? "locks"
			  : "the server, which lacks something");
	if (!walk_sleep(w, ms < MAX_RETRY_MS ? ms : MAX_RETRY_MS))
		return OUTCOME_STOPPED;
	walk_go_on(w);
	return OUTCOME_OK;
}

static enum walk_outcome step(struct walker *w, struct lens_walk *lw,
			      struct batch *b, unsigned *tries)
{
	enum walk_outcome outcome = keep_pace(w);
	uint64_t began = walk_now_ms();

	b->rows = 0;
	if (outcome == OUTCOME_OK)
		outcome = walk_batch(w, lw, b);
	if (outcome == OUTCOME_OK) {
		*tries = 0;
		w->processed += b->rows;
		adapt(w, b->rows, walk_now_ms() - began);
	} else if (outcome != OUTCOME_END) {
		outcome = recover(w, lw, b, outcome, tries);
	}
	show(w, lw);
	return outcome;
}

static enum walk_outcome walk_mode(struct walker *w, struct lens_walk *lw)
{
	enum walk_outcome outcome = walk_begin_mode(w, lw);
	struct batch b = {.rows = 0};
	unsigned tries = 0;

	show(w, lw);
	while (outcome == OUTCOME_OK)
		outcome = step(w, lw, &b, &tries);
	walk_key_clear(&b.upto);
	return outcome == OUTCOME_END ? walk_end_mode(w, lw) : outcome;
}

/* The mode is complete: stored at once, so that it is not walked again. */
static enum walk_outcome complete_mode(struct walker *w, struct lens_walk *lw)
{
	enum walk_mode next = next_mode(w->req.job, lw->mode + 1);

	lw->rows_total = lw->rows_done;
	lw->done = next == WALK_MODE_COUNT;
	if (!lw->done) {
		lw->mode = next;
		lw->rows_done = lw->rows_total = 0;
	}
	walk_key_clear(&lw->last);
	return walk_begin(w) &&
		       walk_store(w, lw, lw->done ? "done" : "running") &&
		       walk_commit(w)
		   ? OUTCOME_OK
		   : walk_failed(w);
}

/* One mode for all lenses.  A drain is one for all of them. */
static enum walk_outcome walk_all(struct walker *w, enum walk_mode mode)
{
	enum walk_outcome outcome = OUTCOME_OK;
	bool drained = false;

	for (size_t i = 0; i < w->req.n_lenses && outcome == OUTCOME_OK; i++) {
		struct lens_walk *lw = &w->lenses[i];

		if (lw->done || lw->mode != mode)
			continue;
		if (mode != WALK_DRAIN) {
			outcome = walk_mode(w, lw);
		} else if (!drained) {
			show(w, lw);
			outcome = walk_drain(w);
			drained = true;
		}
		if (outcome == OUTCOME_OK || outcome == OUTCOME_END)
			outcome = complete_mode(w, lw);
	}
	return outcome;
}

static enum walk_outcome walk_job(struct walker *w)
{
	enum walk_outcome outcome = OUTCOME_OK;

	if (!walk_load(w))
		return walk_failed(w);
	for (enum walk_mode m = 0; m < WALK_MODE_COUNT; m++) {
		outcome = walk_all(w, m);
		if (outcome != OUTCOME_OK)
			return outcome;
	}
	show(w, &w->lenses[w->req.n_lenses - 1]);
	return outcome;
}

/* Connects and walks until something final happens. */
static enum walk_outcome run(struct walker *w)
{
	enum walk_outcome outcome;
	uint64_t ms = MIN_RETRY_MS, done;

	for (;;) {
		if (!wait_while_paused(w))
			return OUTCOME_STOPPED;
		done = w->processed;
		outcome = walk_connect(w);
		if (outcome == OUTCOME_OK) {
			walk_go_on(w);
			outcome = walk_job(w);
		}
		if (outcome == OUTCOME_OK || outcome == OUTCOME_FATAL ||
		    outcome == OUTCOME_DATA || outcome == OUTCOME_STOPPED)
			return outcome;
		walk_disconnect(w);
		if (w->processed > done)
			ms = MIN_RETRY_MS;
		walk_wait_for(w, "%s",
			      outcome == OUTCOME_BUSY
				  ? "another walker or its locks"
				  : "the server");
		log_warn("walk of %s: %s: %s; trying again", w->req.migration,
			 w->problem.sqlstate, w->problem.message);
		if (!walk_sleep(w, ms))
			return OUTCOME_STOPPED;
		ms = ms * 2 < MAX_RETRY_MS ? ms * 2 : MAX_RETRY_MS;
	}
}

/* 4. Life. */

static enum walk_state end_state(enum walk_outcome outcome)
{
	if (outcome == OUTCOME_OK)
		return WALK_DONE;
	return outcome == OUTCOME_STOPPED ? WALK_STOPPED : WALK_FAILED;
}

bool walker_run(struct walker *w, struct problem *p)
{
	enum walk_state state = end_state(run(w));

	if (state == WALK_STOPPED)
		problem_set(&w->problem, "57014", "the walk was stopped");
	if (state != WALK_DONE) {
		*p = w->problem;
		walk_store_end(w, state);
	}
	walk_disconnect(w);
	enter(w, state);
	if (w->req.on_end != NULL)
		w->req.on_end(w->req.arg, state);
	return state == WALK_DONE;
}

static void *run_thread(void *arg)
{
	struct walker *w = arg;
	struct problem p;

	if (!walker_run(w, &p))
		log_warn("walk of %s ended: %s: %s", w->req.migration,
			 p.sqlstate, p.message);
	return NULL;
}

void walker_spawn(struct walker *w)
{
	assert(!w->spawned);
	if (pthread_create(&w->thread, NULL, run_thread, w) != 0)
		abort();
	w->spawned = true;
}

static void init_locks(struct walker *w)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->woken, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&w->lock, NULL);
}

static unsigned or_else(unsigned given, unsigned otherwise)
{
	return given > 0 ? given : otherwise;
}

static void init_lenses(struct walker *w)
{
	w->lenses =
	    arena_alloc(&w->arena, w->req.n_lenses * sizeof(*w->lenses));
	for (size_t i = 0; i < w->req.n_lenses; i++) {
		struct lens_walk *lw = &w->lenses[i];
		bool to_new = w->req.direction == WALK_TO_NEW;

		lw->lens = w->req.lenses[i];
		assert(lw->lens->n_key <= WALK_MAX_KEY);
		lw->source_ref = to_new ? lw->lens->old_ref : lw->lens->new_ref;
		lw->target_ref = to_new ? lw->lens->new_ref : lw->lens->old_ref;
		walk_lens_reset(w, lw);
		walk_sql_make(lw->lens, w->req.direction, &w->arena, &lw->sql);
	}
}

struct walker *walker_create(const struct walk_request *req)
{
	struct walker *w = calloc(1, sizeof(*w));

	if (w == NULL)
		abort();
	assert(req->n_lenses > 0);
	w->req = *req;
	w->req.batch_ms = or_else(req->batch_ms, 100);
	w->req.max_lag_ms = or_else(req->max_lag_ms, 10000);
	w->req.max_waiters = or_else(req->max_waiters, 8);
	w->req.newest = or_else(req->newest, 1000);
	w->restart = req->restart || req->job != WALK_JOB_FILL;
	w->size = START_BATCH;
	w->progress.state = req->paused ? WALK_PAUSED : WALK_READY;
	w->progress.direction = req->direction;
	w->progress.eta_s = -1;
	atomic_init(&w->paused, req->paused);
	atomic_init(&w->rate, req->rate);
	arena_init(&w->arena);
	init_lenses(w);
	w->progress.mode = w->lenses[0].mode;
	init_locks(w);
	return w;
}

void walker_free(struct walker *w)
{
	if (w == NULL)
		return;
	walker_stop(w);
	if (w->spawned)
		pthread_join(w->thread, NULL);
	for (size_t i = 0; i < w->req.n_lenses; i++)
		walk_key_clear(&w->lenses[i].last);
	pthread_cond_destroy(&w->woken);
	pthread_mutex_destroy(&w->lock);
	arena_free(&w->arena);
	free(w);
}

/* 5. Use, from any thread. */

void walker_stop(struct walker *w)
{
	atomic_store(&w->stop, true);
	wake(w);
}

void walker_pause(struct walker *w)
{
	atomic_store(&w->paused, true);
	wake(w);
}

void walker_resume(struct walker *w)
{
	atomic_store(&w->paused, false);
	wake(w);
}

void walker_set_rate(struct walker *w, uint64_t rows_per_s)
{
	atomic_store(&w->rate, rows_per_s);
	wake(w);
}

void walker_get_progress(struct walker *w, struct walk_progress *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->progress;
	ret->rate = atomic_load(&w->rate);
	pthread_mutex_unlock(&w->lock);
}

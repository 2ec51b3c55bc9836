/*
 * One walk of one migration: backfill, sweep, verify, repair.
 *
 * Owns one control connection (blocking libpq) while it runs, and the rows of
 * pgtandem.walk that say how far it has come.  Walks the key in order in
 * batches, each its own short transaction in which the position is stored, so
 * that a walk that was cut off (process, server, connection) goes on where it
 * stood when the same job is run again.  Knows nothing of phases, gates or
 * epochs: the control side decides when a walk may run.
 *
 * Invariant: at any instant the stored position says that everything up to it
 * has been done in the stored mode.
 */
#ifndef DAEMON_PHASE_WALKER_H
#define DAEMON_PHASE_WALKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/problem.h"
#include "rewrite/lens/lens.h"
#include "rewrite/lens/walk_sql.h"

/* X(constant, name, what it does) in the order of a whole fill. */
#define WALK_MODES(X) \
	X(WALK_MEND_KEYS, "mend_keys", "syncs the keys that the target has") \
	X(WALK_MEND, "mend", \
	  "inserts what the target lacks, syncs what differs") \
	X(WALK_DRAIN, "drain", \
	  "waits for the transactions that ran meanwhile") \
	X(WALK_SWEEP, "sweep", "deletes target rows that the source lacks") \
	X(WALK_VERIFY, "verify", "compares every source row with its target") \
	X(WALK_VERIFY_TARGET, "verify_target", \
	  "looks for rows only in the target") \
	X(WALK_RETRY, "repair", "syncs the keys of the findings")

enum walk_mode {
#define X(id, name, what) id,
	WALK_MODES(X)
#undef X
	    WALK_MODE_COUNT
};

/* X(constant, name in pgtandem.walk.job) */
#define WALK_JOBS(X) \
	X(WALK_JOB_FILL, "fill")     /* mend_keys ... verify_target */ \
	X(WALK_JOB_VERIFY, "verify") /* verify, verify_target */ \
	X(WALK_JOB_NEWEST, "newest") /* verify of the last `newest` keys */ \
	X(WALK_JOB_REPAIR, "repair") /* repair of the open findings */

enum walk_job {
#define X(id, name) id,
	WALK_JOBS(X)
#undef X
	    WALK_JOB_COUNT
};

/* X(constant, name in pgtandem.walk.state and SHOW BACKFILL) */
#define WALK_STATES(X) \
	X(WALK_READY, "ready") \
	X(WALK_RUNNING, "running") \
	X(WALK_PAUSED, "paused") \
	X(WALK_WAITING, "waiting") /* see walk_progress.waiting_for */ \
	X(WALK_STOPPED, "stopped") /* by walker_stop; can be run again */ \
	X(WALK_DONE, "done") \
	X(WALK_FAILED, "failed") /* see walk_progress.error */

enum walk_state {
#define X(id, name) id,
	WALK_STATES(X)
#undef X
	    WALK_STATE_COUNT
};

enum { WALK_HOW = 96 };

struct walk_result {
	uint64_t compared; /* source rows, of verify */
	uint64_t missing, extra, different, lossy;
	uint64_t inserted, synced, swept; /* rows of mend, sweep, repair */
	uint64_t violations; /* rows that the target refuses: findings */
};

/*
 * What to walk.  Everything that it points at is borrowed for the walker's
 * life.
 */
struct walk_request {
	const char *conninfo; /* libpq: host, port, dbname and user */
	const char *migration;
	enum walk_job job;
	enum walk_direction direction;
	size_t n_lenses;
	const struct lens *const *lenses; /* all of the migration */
	unsigned newest;      /* WALK_JOB_NEWEST: keys per lens; 0: 1000 */
	bool restart;	      /* forget a stored position: from the start.
			       * Jobs other than a fill always do. */
	uint64_t rate;	      /* rows per second; 0: no limit */
	bool paused;	      /* starts paused */
	unsigned batch_ms;    /* time that one batch should take; 0: 100 */
	unsigned max_lag_ms;  /* replication lag to wait at; 0: 10000 */
	unsigned max_waiters; /* backends waiting for locks to wait at; 0: 8 */
	/*
	 * WALK_DRAIN.  `drain_begin` is called once when the mend has ended,
	 * then `drained` about five times a second until it returns true:
	 * has every transaction that ran at drain_begin ended?  NULL: the
	 * walker looks for itself at pg_stat_activity and pg_prepared_xacts.
	 * A resumed walk begins its drain anew.  Both are called on the
	 * walker's thread.
	 */
	void (*drain_begin)(void *arg);
	bool (*drained)(void *arg);
	/* The application suffers, and how: do not start another batch yet.
	 * Or NULL. */
	bool (*overloaded)(void *arg, char ret_how[WALK_HOW]);
	/* The walk is over, called last on the walker's thread.  Or NULL. */
	void (*on_end)(void *arg, enum walk_state state);
	void *arg;
};

/* A copy of where a walk stands, for people and gates. */
struct walk_progress {
	enum walk_state state;
	enum walk_mode mode;
	enum walk_direction direction;
	uint64_t rows_done, rows_total; /* of this mode, all lenses; the total
					 * is an estimate until its end */
	uint64_t rows_per_s;		/* over the last ten seconds */
	int64_t eta_s;			/* of this mode; -1: not known */
	uint64_t rate;			/* the cap in force; 0: none */
	/* "replication lag of 12 s"; "" if not waiting */
	char waiting_for[128];
	char position[256]; /* "2: 1000, x": lens and last key */
	char error[1024];   /* the last one, also when it is being retried */
	struct walk_result result;
};

struct walker;

/* Life.  Nothing is connected before it runs. */
struct walker *walker_create(const struct walk_request *req)
    __attribute__((returns_nonnull));
/* Runs in the caller's thread until the job is done, stopped or failed.
 * Connection losses are not failures: it tries again until stopped.  False
 * with `p` filled when it failed or was stopped (57014). */
bool walker_run(struct walker *w, struct problem *p)
    __attribute__((warn_unused_result));
/* The same in a thread of its own; once per walker. */
void walker_spawn(struct walker *w);
/* Stops, joins and frees.  Never from the walker's own callbacks. */
void walker_free(struct walker *w);

/* Use, from any thread. */
void walker_stop(struct walker *w); /* ends after the current batch */
void walker_pause(struct walker *w);
void walker_resume(struct walker *w);
void walker_set_rate(struct walker *w, uint64_t rows_per_s);

/* Inspect, from any thread. */
void walker_get_progress(struct walker *w, struct walk_progress *ret);
const char *walk_mode_name(enum walk_mode m);
const char *walk_state_name(enum walk_state s);
const char *walk_job_name(enum walk_job j);

#endif

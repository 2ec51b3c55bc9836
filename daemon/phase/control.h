/*
 * The control side: state in the target databases, phases, the walker.
 *
 * Owns the control connections (libpq), one per database with migrations,
 * every phase change, every walk, and the making of snapshots.  Functions
 * block and are called from command threads (console) or from main; none is
 * ever called from a worker's loop.  All are safe to call concurrently; a
 * second mover of one migration is refused.
 */
#ifndef DAEMON_PHASE_CONTROL_H
#define DAEMON_PHASE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/phase.h"
#include "config/problem.h"
#include "config/settings.h"
#include "daemon/net/server.h"

struct control;

/* How a long command speaks while it runs, and hears that it should stop. */
struct progress {
	void (*notice)(void *arg, const char *text); /* may be NULL */
	bool (*cancelled)(void *arg);		     /* may be NULL */
	void *arg;
	const char *user; /* of the console, for the event log; or NULL */
};

/* Life.  Reads or creates the state of every migration; a database that is
 * away is retried in the background (its migrations' statements are refused
 * until their phase is known).  Fails on a contradiction between specification
 * and state. `ret_first` is the snapshot to start the server with. */
bool control_start(struct settings *settings, struct control **ret,
		   struct snapshot **ret_first, struct problem *p)
    __attribute__((warn_unused_result));
/* From here on snapshots are published to this server, walks that were
 * running resume, leases are kept. */
void control_attach(struct control *c, struct server *s);
/* New settings after SIGHUP or RELOAD. Takes over the reference if true. */
bool control_reload(struct control *c, struct settings *settings,
		    struct problem *p) __attribute__((warn_unused_result));
void control_stop(struct control *c); /* stops walks, joins, frees */

/* A database whose lease has run out, so that its statements on relations
 * under migration are refused, in `a`; NULL: none. */
const char *control_find_stale(struct control *c, struct arena *a);

/* Moves.  `to` is PHASE_COUNT for the next one.  Several steps are made one
 * by one, each with its gate. */
bool control_advance(struct control *c, const char *migration, enum phase to,
		     bool force, const struct progress *pg, struct problem *p)
    __attribute__((warn_unused_result));
bool control_rollback(struct control *c, const char *migration,
		      const struct progress *pg, struct problem *p)
    __attribute__((warn_unused_result));

/* The walker. */
enum walk_command { WALK_START, WALK_PAUSE, WALK_RESUME };
bool control_walk(struct control *c, const char *migration,
		  enum walk_command what, struct problem *p)
    __attribute__((warn_unused_result));
struct verify_result {
	uint64_t compared, missing, extra, different, lossy;
};
bool control_verify(struct control *c, const char *migration,
		    const struct progress *pg, struct verify_result *ret,
		    struct problem *p) __attribute__((warn_unused_result));
bool control_repair(struct control *c, const char *migration,
		    const struct progress *pg, uint64_t *ret_repaired,
		    struct problem *p) __attribute__((warn_unused_result));

/* SET m.rate (rows per second, 0: no limit), SET m.read_percent (0..100). */
bool control_set(struct control *c, const char *migration, const char *name,
		 const char *value, struct problem *p)
    __attribute__((warn_unused_result));

/*
 * Inspect.  Each writes rows through `row`, in the columns that
 * control_columns() names for that view.  Values are text or NULL.
 */
enum control_view {
	VIEW_MIGRATIONS, /* name, database, phase, epoch, verified,
			  * findings, old_use_last */
	VIEW_MIGRATION,	 /* name, value: everything on one migration */
	VIEW_BACKFILL,	 /* state, rows_done, rows_total, rows_per_s,
			  * eta_s, mode, position, error; one row, its
			  * state "complete" once gates may rely on it */
	VIEW_BARRIER,	 /* who, what, since, query */
	VIEW_FINDINGS,	 /* kind, relation, key, detail, seen_at */
	VIEW_EVENTS,	 /* at, who, what, from, to, epoch, detail */
	VIEW_PREFLIGHT,	 /* severity, what, detail, hint */
	VIEW_DDL,	 /* move, step, sql: what each move would run */
	VIEW_COUNT
};
const char *const *control_columns(enum control_view v, size_t *ret_n);
typedef void (*control_row_fn)(void *arg, const char *const *values);
bool control_view(struct control *c, enum control_view v, const char *migration,
		  control_row_fn row, void *arg, struct problem *p)
    __attribute__((warn_unused_result));

/* EXPLAIN REWRITE: what a text would become in a phase (PHASE_COUNT: the
 * current one).  The texts live in `a`; ret_refusal is set if it is refused
 * (then *ret_text is NULL). */
bool control_explain(struct control *c, const char *migration, enum phase phase,
		     const char *sql, struct arena *a, const char **ret_text,
		     struct problem *ret_refusal, struct problem *p)
    __attribute__((warn_unused_result));

#endif

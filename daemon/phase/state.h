/*
 * The state of migrations, as schema pgtandem of their database keeps it.
 *
 * The row of a migration changes only by compare-and-swap on its epoch, in
 * one transaction with the event that tells of it and the NOTIFY that wakes
 * the other instances.  An instance keeps nothing of its own.
 */
#ifndef DAEMON_PHASE_STATE_H
#define DAEMON_PHASE_STATE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/phase.h"
#include "config/problem.h"
#include "config/spec.h"

/* One row of pgtandem.migration, but for its texts. */
struct state_row {
	enum phase phase;
	uint64_t epoch;
	bool pending;	 /* entered, but its barrier or what follows it
			  * is still owed */
	enum phase from; /* pending: where the move came from */
	bool prelock;	 /* see rewrite/ruleset.h */
	bool old_stale;	 /* old is behind new and may not be read */
	bool filled;	 /* the walk that this phase needs is complete */
	bool paused;	 /* the walk is held by the operator */
	bool verified;	 /* compared since the phase was entered ... */
	bool clean;	 /* ... and nothing was found */
	uint64_t lossy;	 /* rows that the last verify found so */
	unsigned read_percent;
	uint64_t rate; /* rows per second of a walk; 0: no limit */
	char spec_hash[17];
};

/* Who did what, for the event log. */
struct state_event {
	const char *who;    /* this instance */
	const char *what;   /* "advance", "rollback", "verify", ... */
	const char *detail; /* or NULL */
	enum phase from, to;
};

/* Makes or upgrades the schema; safe to run at the same time elsewhere. */
bool state_prepare(PGconn *db, struct problem *p)
    __attribute__((warn_unused_result));

/* Reads a migration's row; *ret_found is false when there is none. */
bool state_read(PGconn *db, const char *migration, struct state_row *ret,
		bool *ret_found, struct problem *p)
    __attribute__((warn_unused_result));
/* Adds the row, in `planned`, epoch 1; nothing if it is there. */
bool state_enrol(PGconn *db, const struct spec *spec, const char *who,
		 struct problem *p) __attribute__((warn_unused_result));
/* Takes a changed specification; the row must be in `planned`. */
bool state_respecify(PGconn *db, const struct spec *spec, const char *who,
		     struct problem *p) __attribute__((warn_unused_result));

/*
 * Replaces the row `was` by `next` and logs the event; inside the caller's
 * transaction, which is lost if another changed the row meanwhile (40001).
 * What state_set changes, and what was verified, is left alone.
 */
bool state_change(PGconn *db, const char *migration,
		  const struct state_row *was, const struct state_row *next,
		  const struct state_event *event, struct problem *p)
    __attribute__((warn_unused_result));
/* The event alone. */
bool state_log(PGconn *db, const char *migration, uint64_t epoch,
	       const struct state_event *event, struct problem *p)
    __attribute__((warn_unused_result));

/* What an operator sets at any time, also while a move is under way. */
enum state_setting { STATE_RATE, STATE_READ_PERCENT, STATE_PAUSED };
bool state_set(PGconn *db, const char *migration, enum state_setting what,
	       const char *value, struct problem *p)
    __attribute__((warn_unused_result));

/* The old relations' descriptions, a JSON array with one for each lens. */
bool state_describe(PGconn *db, const char *migration, const char *json,
		    struct problem *p) __attribute__((warn_unused_result));
/* Of lens `number` (from 1); NULL if there is none.  The caller frees it. */
bool state_description(PGconn *db, const char *migration, unsigned number,
		       char **ret, struct problem *p)
    __attribute__((warn_unused_result));

/* What a verify found, as a line for people. */
bool state_verified(PGconn *db, const char *migration, uint64_t epoch,
		    bool clean, uint64_t lossy, const char *summary,
		    struct problem *p) __attribute__((warn_unused_result));

#endif

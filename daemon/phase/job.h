/*
 * One command on one migration: its connection, its view of the state and the
 * lenses, and the right to change something.
 *
 * Lives on the command's thread from job_begin to job_end.  An exclusive job
 * is the only one of its migration in the database: in this instance by
 * migration.busy, among instances by an advisory lock that goes with the
 * connection.
 */
#ifndef DAEMON_PHASE_JOB_H
#define DAEMON_PHASE_JOB_H

#include "daemon/phase/control.h"
#include "daemon/phase/migration.h"
#include "rewrite/lens/lens.h"

struct job {
	struct control *control;	 /* borrowed */
	struct migration *m;		 /* borrowed */
	struct settings *settings;	 /* owned reference */
	const struct spec *spec;	 /* in settings */
	struct arena arena;		 /* owned: lenses and texts */
	PGconn *db;			 /* owned */
	const struct progress *progress; /* borrowed; may be NULL */
	bool exclusive;
	struct state_row row;		  /* as of the last job_refresh */
	const struct lens *const *lenses; /* likewise */
};

/* `what` is what an exclusive job does ("advance"), for the one that comes
 * too late; NULL: a job that only looks.  A failure leaves nothing behind. */
bool job_begin(struct control *c, const char *migration, const char *what,
	       const struct progress *pg, struct job *ret, struct problem *p)
    __attribute__((warn_unused_result));
void job_end(struct job *j);

/* Adopts the state and catalog, and reads the row again; the lenses stay. */
bool job_look(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));
/* The same and the lenses, which cost memory until job_end. */
bool job_refresh(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));

/* Who does it, for the event log: "ops at host:pid", or the instance. */
const char *job_who(struct job *j);

void job_notice(struct job *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool job_cancelled(struct job *j);
/* Sleeps; false with `p` filled (57014) when the operator cancelled. */
bool job_sleep(struct job *j, unsigned ms, struct problem *p)
    __attribute__((warn_unused_result));

#endif

/*
 * The walks that phases need, and those that commands ask for.
 *
 * A fill (mend, sweep, verify) runs in the background while a migration is in
 * `dual_write` without being filled, or back in `write_new` with a stale old
 * model.  The keeper starts it, also after a restart, and writes down its
 * end; so a mover needs only to change the state.  A verify or a repair runs
 * while its command waits.
 */
#ifndef DAEMON_PHASE_WALKS_H
#define DAEMON_PHASE_WALKS_H

#include "daemon/phase/job.h"
#include "daemon/phase/walker.h"

struct walk_run;

/* Stops, joins and frees; NULL is allowed. Never with control.lock held. */
void walk_run_free(struct walk_run *r);

/* The side that a phase writes first; false when neither is kept equal. */
bool walk_direction_of(enum phase phase, enum walk_direction *ret);
/* Does a phase as it stands need a fill that is not complete? */
bool walk_is_due(const struct state_row *row);

/* Starts what is due and writes down what has ended.  The keeper leaves a
 * migration alone while a mover is at work on it; a mover that waits for the
 * walk calls this itself. */
bool walks_tend(struct migration *m, PGconn *db, bool mover, struct problem *p)
    __attribute__((warn_unused_result));
/* Ends the background walk of a job's migration, if any. */
void walks_stop(struct job *j);
/* Starts the fill from the beginning. */
bool walks_restart(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));
void walks_pause(struct migration *m, bool paused);
void walks_set_rate(struct migration *m, uint64_t rate);

/* False when there is no walk, ended or running. */
bool walks_progress(struct migration *m, struct walk_progress *ret);

/* Runs a walk while its command waits, with notices; the findings it made
 * are in the state afterwards. */
bool walks_run(struct job *j, enum walk_job job, enum walk_direction d,
	       struct walk_result *ret, struct problem *p)
    __attribute__((warn_unused_result));
/* WALK_JOB_VERIFY, with the result written down for the gates. */
bool walks_verify(struct job *j, struct walk_result *ret, struct problem *p)
    __attribute__((warn_unused_result));

/* How the application's statements do while no walk runs; now and then. */
void walks_note_latency(struct control *c);

/* Do both models say the same, lossy rows set aside? */
bool walk_result_is_equal(const struct walk_result *r);

#endif

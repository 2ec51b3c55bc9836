/*
 * The barrier: every transaction that began at an earlier epoch is gone
 * (design section 4).
 *
 * Three halves, in this order: no session of this instance runs by an earlier
 * snapshot; no other instance holds the lock of an earlier epoch; then no
 * backend and no prepared transaction of the database is older than that
 * moment, pgtandem's own control connections excepted.
 *
 * Waiting changes nothing.  When the time is over the migration stays where
 * it is, its move marked as pending: neighbouring phases are safe together
 * for any length of time, ADVANCE goes on waiting, and ROLLBACK takes the
 * move back.
 */
#ifndef DAEMON_PHASE_BARRIER_H
#define DAEMON_PHASE_BARRIER_H

#include "daemon/phase/job.h"

/* Waits until nobody is at an epoch before the current one: needed before the
 * next one is announced, or three would live at once. */
bool barrier_settle(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));
/* The same, and then for all older transactions of the database. */
bool barrier_pass(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));

/* Rows of VIEW_BARRIER: who, what, since, query. */
bool barrier_show(struct job *j, control_row_fn row, void *arg,
		  struct problem *p) __attribute__((warn_unused_result));

#endif

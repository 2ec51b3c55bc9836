/*
 * DDL of a move: which statements, and how they are run.
 *
 * Everything that a move runs before (or after) its announcement is one
 * transaction, together with the change of the state, so that a mover that
 * dies leaves either all of it or nothing.  What would take long there, and
 * can be had while statements go on, is run ahead of it, step by step; a move
 * that fails takes it back, and one that is given again finds it.  Locks are
 * asked for with a short lock_timeout, because everybody who comes later queues
 * behind a waiting strong lock; meanwhile new statements on the migration wait
 * at the proxy, for a bounded time.
 */
#ifndef DAEMON_PHASE_DDL_RUN_H
#define DAEMON_PHASE_DDL_RUN_H

#include "daemon/phase/job.h"
#include "rewrite/ddl/ddl.h"

/* The specification's own text, then what is generated for each lens. */
void ddl_collect(const struct spec *spec, const struct lens *const *lenses,
		 enum phase from, enum phase to, bool before, struct arena *a,
		 struct ddl_list *ret);

/* Runs in the same transaction, after the statements. */
typedef bool (*ddl_last_fn)(struct job *j, void *arg, struct problem *p);

/* Tries until the locks are had, the time is over (55P03 names who holds
 * them), or a statement fails.  `last` may be called several times. */
bool ddl_run(struct job *j, const struct ddl_list *list, ddl_last_fn last,
	     void *arg, struct problem *p) __attribute__((warn_unused_result));

#endif

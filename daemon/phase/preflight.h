/*
 * Preflight: what is in the database that a migration could trip over, and
 * what becomes of it (design sections 9 and 13).
 *
 * Each check is one query of a table; it changes nothing.
 */
#ifndef DAEMON_PHASE_PREFLIGHT_H
#define DAEMON_PHASE_PREFLIGHT_H

#include "daemon/phase/job.h"

/* Rows of VIEW_PREFLIGHT: severity, what, detail, hint. */
bool preflight_show(struct job *j, control_row_fn row, void *arg,
		    struct problem *p) __attribute__((warn_unused_result));

/* False with the reasons when anything `blocks`; warnings become notices. */
bool preflight_gate(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));

/* What in the database still depends on the old relations, as a list; the
 * arena's, "" if nothing does. */
bool preflight_dependents(struct job *j, const char **ret, struct problem *p)
    __attribute__((warn_unused_result));

#endif

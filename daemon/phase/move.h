/*
 * Moves from phase to phase, as a table; control_advance and control_rollback
 * are in move.c.
 */
#ifndef DAEMON_PHASE_MOVE_H
#define DAEMON_PHASE_MOVE_H

#include "config/phase.h"
#include "daemon/phase/gate.h"

enum { MOVE_GATES = 5 };

struct move {
	enum phase from, to;
	gate_fn gates[MOVE_GATES]; /* in order; NULL ends */
	bool barrier;  /* earlier transactions end before it is complete */
	bool prelock;  /* until then, lock old rows first (design 4) */
	bool fill;     /* makes a walk due */
	bool stale;    /* old is not written any more */
	bool describe; /* the old relations' descriptions are stored */
};

/* NULL when there is no such move. */
const struct move *move_find(enum phase from, enum phase to);

#endif

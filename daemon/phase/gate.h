/*
 * Gates: what must hold before a move may be made (design section 3).
 *
 * Each says yes, or refuses with the reason, the numbers and what to do.  A
 * gate may take long (a verify) and tells of it in notices; it changes
 * nothing but what a verify writes down.
 */
#ifndef DAEMON_PHASE_GATE_H
#define DAEMON_PHASE_GATE_H

#include "daemon/phase/job.h"

struct gate_request {
	struct job *job;
	bool force; /* skips what cannot corrupt data: the quiet period */
	bool wait;  /* one of several moves: wait for the walk of the last */
};

typedef bool (*gate_fn)(struct gate_request *g, struct problem *p);

bool gate_in_turn(struct gate_request *g, struct problem *p);
bool gate_preflight(struct gate_request *g, struct problem *p);
bool gate_columns_gone(struct gate_request *g, struct problem *p);
bool gate_fits(struct gate_request *g, struct problem *p);
bool gate_new_usable(struct gate_request *g, struct problem *p);
bool gate_filled(struct gate_request *g, struct problem *p);
bool gate_equal(struct gate_request *g, struct problem *p);
bool gate_no_findings(struct gate_request *g, struct problem *p);
bool gate_foreign_keys(struct gate_request *g, struct problem *p);
bool gate_quiet(struct gate_request *g, struct problem *p);
bool gate_no_dependents(struct gate_request *g, struct problem *p);
bool gate_old_can_hold(struct gate_request *g, struct problem *p);

#endif

/*
 * Does the application suffer from a walk?  Its statements on relations under
 * migration, as the proxy times them, against those of the minute before.
 *
 * Pure: knows counts and times, no thread and no socket.  The control side
 * notes samples while no walk runs; a walk asks before each batch.
 */
#ifndef DAEMON_PHASE_BRAKE_H
#define DAEMON_PHASE_BRAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/latency.h"

enum {
	BRAKE_SAMPLES = 31, /* a minute, one every two seconds */
	BRAKE_EVERY_MS = 2000,
	BRAKE_KNOWN = 100,     /* statements that make a p99 worth the name */
	BRAKE_ENOUGH = 20,     /* to look again */
	BRAKE_FLOOR_US = 5000, /* nobody suffers below */
};

/* The time before a walk: zeroed at first. */
struct brake {
	struct {
		uint64_t ms;
		struct latency_counts counts;
	} sample[BRAKE_SAMPLES]; /* the newest first */
	size_t n;
};

/* A walk's own; zeroed: never on. */
struct brake_watch {
	uint64_t before_us, limit_us; /* p99; 0: not known, no limit */
	uint64_t now_us;	      /* p99 of the last look */
	bool slow;
	struct latency_counts last;
};

/* A sample of a time without a walk; too early a one is left out. */
void brake_note(struct brake *b, const struct latency_counts *now, uint64_t ms);
/* `percent`: of the p99 before, that the walk may raise it to; 0: any. */
void brake_begin(struct brake_watch *w, const struct brake *b,
		 const struct latency_counts *now, unsigned percent);
/* Are statements slower than the limit since the last look? */
bool brake_is_on(struct brake_watch *w, const struct latency_counts *now);

#endif

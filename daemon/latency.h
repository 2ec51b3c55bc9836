/*
 * How long statements take: a histogram with buckets that grow by a fourth of
 * a power of two, so that a percentile is at most a fifth too high.
 *
 * `struct latency` has one writer, who pays one addition per statement, and
 * any number of readers; `struct latency_counts` is a copy of one moment.
 */
#ifndef DAEMON_LATENCY_H
#define DAEMON_LATENCY_H

#include <stdint.h>

enum { LATENCY_BUCKETS = 128 }; /* the last one: 62 minutes and more */

struct latency {
	_Atomic uint64_t count[LATENCY_BUCKETS];
};

struct latency_counts {
	uint64_t count[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t us);
/* Adds what `l` says now to `ret`. */
void latency_collect(const struct latency *l, struct latency_counts *ret);

/* What came between two moments. */
void latency_since(const struct latency_counts *now,
		   const struct latency_counts *before,
		   struct latency_counts *ret);
uint64_t latency_total(const struct latency_counts *c);
/* Microseconds that `percent` of the statements did not exceed; 0 if there
 * were none. */
uint64_t latency_percentile(const struct latency_counts *c, unsigned percent);

#endif

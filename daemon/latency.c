#include "daemon/latency.h"

#include <stdatomic.h>

/* Four buckets from each power of two to the next. */
static unsigned bucket_of(uint64_t us)
{
	unsigned power, i;

	if (us < 4)
		return (unsigned)us;
	power = 63 - (unsigned)__builtin_clzll(us);
	i = 4 * (power - 1) + (unsigned)((us >> (power - 2)) & 3);
	return i < LATENCY_BUCKETS ? i : LATENCY_BUCKETS - 1;
}

/* The longest time in a bucket. */
static uint64_t bucket_end(unsigned i)
{
	if (i < 4)
		return i;
	return ((uint64_t)(4 + i % 4 + 1) << (i / 4 - 1)) - 1;
}

void latency_add(struct latency *l, uint64_t us)
{
	_Atomic uint64_t *c = &l->count[bucket_of(us)];

	atomic_store_explicit(c,
			      atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void latency_collect(const struct latency *l, struct latency_counts *ret)
{
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		ret->count[i] +=
		    atomic_load_explicit(&l->count[i], memory_order_relaxed);
}

void latency_since(const struct latency_counts *now,
		   const struct latency_counts *before,
		   struct latency_counts *ret)
{
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		ret->count[i] = now->count[i] - before->count[i];
}

uint64_t latency_total(const struct latency_counts *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
		n += c->count[i];
	return n;
}

uint64_t latency_percentile(const struct latency_counts *c, unsigned percent)
{
	uint64_t total = latency_total(c), seen = 0;

	for (unsigned i = 0; i < LATENCY_BUCKETS && total > 0; i++) {
		seen += c->count[i];
		if (seen * 100 >= total * percent)
			return bucket_end(i);
	}
	return 0;
}

#include "daemon/phase/brake.h"

#include <string.h>

void brake_note(struct brake *b, const struct latency_counts *now, uint64_t ms)
{
	if (b->n > 0 && ms - b->sample[0].ms < BRAKE_EVERY_MS)
		return;
	if (b->n < BRAKE_SAMPLES)
		b->n++;
	memmove(&b->sample[1], &b->sample[0],
		(b->n - 1) * sizeof(b->sample[0]));
	b->sample[0].ms = ms;
	b->sample[0].counts = *now;
}

void brake_begin(struct brake_watch *w, const struct brake *b,
		 const struct latency_counts *now, unsigned percent)
{
	struct latency_counts before;

	*w = (struct brake_watch){.last = *now};
	if (percent == 0 || b->n < 2)
		return;
	latency_since(&b->sample[0].counts, &b->sample[b->n - 1].counts,
		      &before);
	if (latency_total(&before) < BRAKE_KNOWN)
		return;
	w->before_us = latency_percentile(&before, 99);
	w->limit_us = w->before_us * percent / 100;
	if (w->limit_us < BRAKE_FLOOR_US)
		w->limit_us = BRAKE_FLOOR_US;
}

bool brake_is_on(struct brake_watch *w, const struct latency_counts *now)
{
	struct latency_counts since;

	if (w->limit_us == 0)
		return false;
	latency_since(now, &w->last, &since);
	if (latency_total(&since) < BRAKE_ENOUGH)
		return w->slow;
	w->last = *now;
	w->now_us = latency_percentile(&since, 99);
	w->slow = w->now_us > w->limit_us;
	return w->slow;
}

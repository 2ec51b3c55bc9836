#include "daemon/phase/brake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void take(struct latency *l, struct latency_counts *now, unsigned n,
		 uint64_t us)
{
	for (unsigned i = 0; i < n; i++)
		latency_add(l, us);
	*now = (struct latency_counts){0};
	latency_collect(l, now);
}

static void a_percentile_is_at_most_a_quarter_too_high(void **state)
{
	(void)state;
	for (uint64_t us = 0; us < 1u << 30; us = us * 9 / 8 + 1) {
		struct latency l = {0};
		struct latency_counts c;
		uint64_t p;

		take(&l, &c, 1, us);
		p = latency_percentile(&c, 99);
		assert_true(p >= us && p <= us + us / 4);
	}
}

static void a_percentile_leaves_out_the_slowest(void **state)
{
	struct latency l = {0};
	struct latency_counts c;

	(void)state;
	take(&l, &c, 0, 0);
	assert_int_equal(latency_percentile(&c, 99), 0);
	take(&l, &c, 99, 10);
	take(&l, &c, 1, 1000000);
	assert_in_range(latency_percentile(&c, 99), 10, 12);
	assert_true(latency_percentile(&c, 100) >= 1000000);
}

static void slower_statements_put_the_brake_on_and_faster_ones_off(void **state)
{
	struct latency l = {0};
	struct latency_counts now;
	struct brake b = {.n = 0};
	struct brake_watch w;

	(void)state;
	take(&l, &now, 0, 0);
	brake_note(&b, &now, 1000);
	take(&l, &now, 200, 10000);
	brake_note(&b, &now, 1500); /* too early */
	brake_begin(&w, &b, &now, 300);
	assert_int_equal(w.limit_us, 0);
	brake_note(&b, &now, 4000);
	brake_begin(&w, &b, &now, 300);
	assert_in_range(w.before_us, 10000, 12500);
	take(&l, &now, 50, 20000);
	assert_false(brake_is_on(&w, &now));
	take(&l, &now, 50, 90000);
	assert_true(brake_is_on(&w, &now));
	take(&l, &now, 5, 100); /* too few to tell */
	assert_true(brake_is_on(&w, &now));
	take(&l, &now, 20, 100);
	assert_false(brake_is_on(&w, &now));
	brake_begin(&w, &b, &now, 0);
	take(&l, &now, 50, 900000);
	assert_false(brake_is_on(&w, &now));
}

static void fast_statements_may_get_slower(void **state)
{
	struct latency l = {0};
	struct latency_counts now;
	struct brake b = {.n = 0};
	struct brake_watch w;

	(void)state;
	take(&l, &now, 0, 0);
	brake_note(&b, &now, 0);
	take(&l, &now, 200, 100);
	brake_note(&b, &now, 2000);
	brake_begin(&w, &b, &now, 300);
	take(&l, &now, 50, 4000);
	assert_false(brake_is_on(&w, &now));
	take(&l, &now, 50, 7000);
	assert_true(brake_is_on(&w, &now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_percentile_is_at_most_a_quarter_too_high),
	    cmocka_unit_test(a_percentile_leaves_out_the_slowest),
	    cmocka_unit_test(
		slower_statements_put_the_brake_on_and_faster_ones_off),
	    cmocka_unit_test(fast_statements_may_get_slower),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "daemon/net/replies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/*
 * A script is what happens to one queue, one letter each: lower case and
 * digits come from the server, upper case is sent to it.
 *
 *   sent      P B D(statement) O(portal) E C(lose) S(ync) Q F(call) Y(copy end)
 *   from it   1 2 3 t T n d(ata row) c(omplete) i(empty) s(uspended) e(rror)
 *             g(copy in) h(copy out) z(ready) v(call result) N(otice)
 *
 * Each server letter must be accepted, unless '!' stands before it.
 */
struct script {
	const char *what;
	const char *steps;
	unsigned owed; /* entries left at the end */
	bool skipping;
	unsigned dropped; /* entries that left unanswered */
};

static const struct script scripts[] = {
    {"a query is owed its ReadyForQuery", "QTdczQ", 1, false, 0},
    {"several statements in one query", "QTdcciz", 0, false, 0},
    {"an error keeps the query's ReadyForQuery", "Qez", 0, false, 0},
    {"an extended sequence", "PBDES12t", 3, false, 0},
    {"its answers in order", "PBDES12!DTdcz", 0, false, 0},
    {"a portal described and suspended", "PBOES12Tdsz", 0, false, 0},
    {"an error drops up to the Sync", "PBES1ez", 0, false, 2},
    {"and not the sequence behind it", "PBESPBES1ez12cz", 0, false, 2},
    {"without a Sync the server skips", "PBe", 0, true, 2},
    {"what is sent then is owed nothing", "PBePBEQSz", 0, false, 2},
    {"a commit that fails at Sync", "PBES12cez", 0, false, 0},
    {"copy in by query", "QgYcz", 0, false, 0},
    {"copy in, all sent at once", "QYQgczTdcz", 0, false, 1},
    {"copy in, extended: the early Sync is ignored", "PBES12gYScz", 0, false,
     1},
    {"copy in, all sent at once, extended", "PBESYS12gcz", 0, false, 2},
    {"copy in that the server ends", "PBES12geYSz", 0, false, 2},
    {"copy in by query that the server ends", "QgeYz", 0, false, 0},
    {"a copy end that nobody waits for", "QYTdczQTdcz", 0, false, 0},
    {"copy out", "Qhcz", 0, false, 0},
    {"function call", "Fvz", 0, false, 0},
    {"close", "CS3z", 0, false, 0},
    {"notices at any time", "NQNTNdNcNzN", 0, false, 0},
    {"nothing is owed: a ready is wrong", "!zQTdcz!z", 0, false, 0},
    {"a bind's answer to a parse is wrong", "P!2!z!c", 1, false, 0},
    {"an error that nobody asked for", "e", 0, false, 0},
};

static void on_leave(void *arg, struct reply *r, bool done, bool failed)
{
	unsigned *dropped = arg;

	(void)r;
	if (!done && !failed)
		(*dropped)++;
	if (failed)
		(*dropped)++;
}

static enum reply_kind kind_of(char c)
{
	static const char letters[] = "PBDOECSQF";
	const char *at = strchr(letters, c);

	return at == NULL ? 0 : (enum reply_kind)(at - letters + 1);
}

/* The server's letters in scripts, as message types. */
static char type_of(char c)
{
	static const char letters[] = "dcieghzv", types[] = "DCIEGHZV";
	const char *at = strchr(letters, c);

	return at == NULL ? c : types[at - letters];
}

static void server_says(struct replies *r, char type, bool wrong)
{
	enum reply_step step = replies_step(r, type);

	assert_int_equal(step == STEP_BAD, wrong);
	if (step == STEP_LAST)
		replies_done(r);
	if (step == STEP_ERROR)
		replies_failed(r);
	if (step == STEP_STRAY)
		replies_stray(r);
	if (type == 'G')
		replies_copy_started(r);
}

static void run_script(const struct script *script)
{
	struct replies r;
	unsigned dropped = 0;
	bool wrong = false;

	replies_init(&r, on_leave, &dropped);
	for (const char *at = script->steps; *at != '\0'; at++) {
		if (*at == '!') {
			wrong = true;
			continue;
		}
		if (*at == 'Y')
			replies_copy_ended(&r);
		else if (!wrong && kind_of(*at) != 0)
			(void)replies_push(&r, kind_of(*at), FATE_FORWARD);
		else
			server_says(&r, type_of(*at), wrong);
		wrong = false;
		replies_check(&r);
	}
	assert_int_equal(r.count, script->owed);
	assert_int_equal(r.skipping, script->skipping);
	assert_int_equal(dropped, script->dropped);
	replies_free(&r);
}

static void the_server_answers_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		print_message("# %s: %s\n", scripts[i].what, scripts[i].steps);
		run_script(&scripts[i]);
	}
}

static void a_sync_that_a_failed_copy_answers_is_a_stray(void **state)
{
	struct replies r;
	unsigned dropped = 0;

	(void)state;
	replies_init(&r, on_leave, &dropped);
	(void)replies_push(&r, REPLY_EXECUTE, FATE_FORWARD);
	(void)replies_push(&r, REPLY_SYNC, FATE_FORWARD);
	replies_copy_started(&r);
	assert_int_equal(r.count, 1);
	replies_failed(&r);
	assert_int_equal(replies_step(&r, 'Z'), STEP_STRAY);
	replies_stray(&r);
	assert_int_equal(replies_step(&r, 'Z'), STEP_BAD);
	replies_free(&r);
}

static void the_ring_grows_and_keeps_the_order(void **state)
{
	struct replies r;
	unsigned dropped = 0;

	(void)state;
	replies_init(&r, on_leave, &dropped);
	for (uint32_t i = 0; i < 1000; i++) {
		replies_push(&r, REPLY_PARSE, FATE_FORWARD)->at = i;
		if (i % 3 == 0)
			replies_done(&r);
	}
	for (uint32_t i = 334; i < 1000; i++) {
		assert_int_equal(replies_head(&r)->at, i);
		replies_done(&r);
	}
	assert_null(replies_head(&r));
	replies_shrink(&r);
	assert_null(r.ring);
	replies_free(&r);
}

/* An Execute fails unseen: its ReadyForQuery comes, then it goes out again with
 * a Bind before it. */
static void an_execute_is_sent_again(void **state)
{
	static const char answers[] = "2DCZ";
	struct replies r;
	unsigned dropped = 0;

	(void)state;
	replies_init(&r, on_leave, &dropped);
	(void)replies_push(&r, REPLY_EXECUTE, FATE_FORWARD);
	(void)replies_push(&r, REPLY_SYNC, FATE_FORWARD);
	assert_int_equal(replies_step(&r, 'Z'), STEP_BAD);
	replies_head(&r)->again = true;
	assert_int_equal(replies_step(&r, 'Z'), STEP_LAST);
	replies_head(&r)->again = false;
	assert_int_equal(replies_push_first(&r, REPLY_BIND, FATE_SWALLOW)->fate,
			 FATE_SWALLOW);
	for (const char *at = answers; *at != '\0'; at++)
		server_says(&r, *at, false);
	assert_int_equal(r.count, 0);
	assert_int_equal(dropped, 0);
	replies_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_server_answers_in_order),
	    cmocka_unit_test(a_sync_that_a_failed_copy_answers_is_a_stray),
	    cmocka_unit_test(an_execute_is_sent_again),
	    cmocka_unit_test(the_ring_grows_and_keeps_the_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

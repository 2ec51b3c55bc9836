/*
 * Console commands: text in, command and arguments or the exact error out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/admin/command.h"

/* One parsed command as "GRAMMAR; m=...; ...", which is what is compared. */
static void describe(const struct command *c, char *ret, size_t size)
{
	static const struct {
		const char *name;
		enum command_word bit;
	} words[] = {{"FORCE", WORD_FORCE},
		     {"START", WORD_START},
		     {"PAUSE", WORD_PAUSE},
		     {"RESUME", WORD_RESUME}};
	FILE *f = fmemopen(ret, size, "w");

	fprintf(f, "%s", c->def->grammar);
	if (c->migration)
		fprintf(f, "; m=%s", c->migration);
	if (c->again)
		fprintf(f, "; again=%s", c->again);
	if (c->phase != PHASE_COUNT)
		fprintf(f, "; phase=%s", phase_name(c->phase));
	if (c->number)
		fprintf(f, "; n=%s", c->number);
	if (c->sql)
		fprintf(f, "; sql=%s", c->sql);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (c->words & words[i].bit)
			fprintf(f, "; %s", words[i].name);
	fclose(f);
}

/* clang-format off */
static const struct {
	const char *text, *want;
} good[] = {
	{"SHOW HELP", "SHOW HELP"},
	{"  show\n\thelp ;", "SHOW HELP"},
	{"SHOW MIGRATIONS", "SHOW MIGRATIONS"},
	{"show migration inv", "SHOW MIGRATION m; m=inv"},
	{"SHOW MIGRATION INV", "SHOW MIGRATION m; m=inv"},
	{"SHOW MIGRATION \"inv\"", "SHOW MIGRATION m; m=inv"},
	{"SHOW MIGRATION \"a\"\"b\"", "SHOW MIGRATION m; m=a\"b"},
	{"SHOW /* what /* nested */ */ STATS -- the end", "SHOW STATS"},
	{"SHOW MIGRATION show", "SHOW MIGRATION m; m=show"},
	{"EXPLAIN REWRITE inv 'SELECT ''x'''",
	 "EXPLAIN REWRITE m [IN phase] 'SQL'; m=inv; sql=SELECT 'x'"},
	{"explain rewrite inv in WRITE_NEW $q$a $$ ; b$q$",
	 "EXPLAIN REWRITE m [IN phase] 'SQL'; m=inv; phase=write_new; "
	 "sql=a $$ ; b"},
	{"EXPLAIN REWRITE inv $$$$",
	 "EXPLAIN REWRITE m [IN phase] 'SQL'; m=inv; sql="},
	{"ADVANCE inv", "ADVANCE m [TO phase] [FORCE [m]]; m=inv"},
	{"ADVANCE inv TO dual_write",
	 "ADVANCE m [TO phase] [FORCE [m]]; m=inv; phase=dual_write"},
	{"ADVANCE inv FORCE", "ADVANCE m [TO phase] [FORCE [m]]; m=inv; FORCE"},
	{"ADVANCE inv TO contracted FORCE inv",
	 "ADVANCE m [TO phase] [FORCE [m]]; m=inv; again=inv; "
	 "phase=contracted; FORCE"},
	{"ADVANCE to TO expanded",
	 "ADVANCE m [TO phase] [FORCE [m]]; m=to; phase=expanded"},
	{"ROLLBACK inv", "ROLLBACK m; m=inv"},
	{"ROLLBACK", "ROLLBACK"},
	{"BACKFILL inv", "BACKFILL m [START|PAUSE|RESUME]; m=inv"},
	{"BACKFILL inv START", "BACKFILL m [START|PAUSE|RESUME]; m=inv; START"},
	{"BACKFILL inv PAUSE", "BACKFILL m [START|PAUSE|RESUME]; m=inv; PAUSE"},
	{"BACKFILL inv resume",
	 "BACKFILL m [START|PAUSE|RESUME]; m=inv; RESUME"},
	{"SET inv.rate = 100", "SET m.rate = n; m=inv; n=100"},
	{"SET inv . rate=0", "SET m.rate = n; m=inv; n=0"},
	{"SET inv.read_percent = 10", "SET m.read_percent = n; m=inv; n=10"},
	{"VERIFY inv", "VERIFY m; m=inv"},
	{"REPAIR inv", "REPAIR m; m=inv"},
	{"PAUSE", "PAUSE"},
	{"SHUTDOWN;;", "SHUTDOWN"},
};

static const struct {
	const char *text, *message;
	unsigned position;
	const char *detail, *hint;
} bad[] = {
	{"SHOW MIGRATON inv", "syntax error at or near \"MIGRATON\"", 6,
	 "Expected HELP, MIGRATIONS, MIGRATION, PREFLIGHT, BACKFILL, BARRIER, "
	 "FINDINGS, EVENTS, DDL, CLIENTS, STATS, CONFIG or VERSION.",
	 "Did you mean \"SHOW MIGRATION\"?  SHOW HELP lists all commands."},
	{"SHOW MIGRATION", "syntax error at end of input", 15,
	 "Expected a migration's name.", "SHOW HELP lists all commands."},
	{"PAUSE; RESUM", "syntax error at or near \"RESUM\"", 8,
	 NULL, "Did you mean \"RESUME\"?  SHOW HELP lists all commands."},
	{"SHOW HELP me", "syntax error at or near \"me\"", 11,
	 "Expected the end of the command.", "SHOW HELP lists all commands."},
	{"SELECT 1", "syntax error at or near \"SELECT\"", 1, NULL,
	 "SHOW HELP lists all commands."},
	{"ADVANCE inv TO dual", "syntax error at or near \"dual\"", 16,
	 "Expected a phase (planned, expanded, dual_write, read_new, write_new, "
	 "new_only, contracted).",
	 "SHOW HELP lists all commands."},
	{"ADVANCE inv IN expanded", "syntax error at or near \"IN\"", 13,
	 "Expected TO, FORCE or the end of the command.", NULL},
	{"EXPLAIN REWRITE inv", "syntax error at end of input", 20,
	 "Expected IN or a statement in quotes ('...' or $$...$$).", NULL},
	{"SET inv.rate = fast", "syntax error at or near \"fast\"", 16,
	 "Expected a whole number.", NULL},
	{"SET inv.rate", "syntax error at end of input", 13, "Expected =.",
	 NULL},
	{"SHOW MIGRATION 'inv'", "syntax error at or near \"'inv'\"", 16,
	 "Expected a migration's name.", NULL},
	{"EXPLAIN REWRITE inv 'abc", "unterminated quoted string", 21, "", ""},
	{"EXPLAIN REWRITE inv $x$abc$$", "unterminated dollar-quoted string",
	 21, "", ""},
	{"SHOW \"x", "unterminated quoted identifier", 6, "", ""},
	{"SHOW /* /* */", "unterminated /* comment", 6, "", ""},
	/* Positions count characters, not bytes. */
	{"SHOW /* \xc3\xa9\xc3\xa9 */ X", "syntax error at or near \"X\"", 15,
	 NULL, NULL},
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void commands_are_read_with_their_arguments(void **state)
{
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < COUNT(good); i++) {
		const struct command *c;
		struct problem p = {0};
		char have[512];
		size_t n;

		if (!command_parse(good[i].text, strlen(good[i].text), &a, &c,
				   &n, &p))
			fail_msg("%s: %s", good[i].text, p.message);
		assert_int_equal(n, 1);
		describe(c, have, sizeof(have));
		assert_string_equal(have, good[i].want);
	}
	arena_free(&a);
}

static void mistakes_are_told_exactly(void **state)
{
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < COUNT(bad); i++) {
		const struct command *c;
		struct problem p = {0};
		size_t n;

		if (command_parse(bad[i].text, strlen(bad[i].text), &a, &c, &n,
				  &p))
			fail_msg("accepted: %s", bad[i].text);
		assert_string_equal(p.sqlstate, "42601");
		assert_string_equal(p.message, bad[i].message);
		assert_int_equal(p.position, bad[i].position);
		if (bad[i].detail)
			assert_string_equal(p.detail, bad[i].detail);
		if (bad[i].hint)
			assert_string_equal(p.hint, bad[i].hint);
	}
	arena_free(&a);
}

static void several_commands_are_read_in_order(void **state)
{
	static const char text[] = ";PAUSE;; SHOW STATS ; RESUME";
	const struct command *c;
	struct problem p;
	struct arena a;
	size_t n;

	arena_init(&a);
	assert_true(command_parse(text, strlen(text), &a, &c, &n, &p));
	assert_int_equal(n, 3);
	assert_string_equal(c[0].def->grammar, "PAUSE");
	assert_string_equal(c[1].def->grammar, "SHOW STATS");
	assert_string_equal(c[1].text, "SHOW STATS");
	assert_int_equal(c[1].position, 10);
	assert_string_equal(c[2].def->grammar, "RESUME");
	assert_true(command_parse(" ; /**/ ;", 9, &a, &c, &n, &p));
	assert_int_equal(n, 0);
	arena_free(&a);
}

/* Each row's grammar, with its placeholders filled in, is that row. */
static void every_row_of_the_table_can_be_typed(void **state)
{
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < command_count; i++) {
		const struct command_def *d = &command_table[i];
		char text[128];
		const struct command *c;
		struct problem p;
		size_t n, len = strcspn(d->grammar, "[");

		/* The optional part of EXPLAIN stands in the middle. */
		snprintf(text, sizeof(text), "%.*s%s", (int)len, d->grammar,
			 strstr(d->grammar, "'SQL'") ? "'SQL'" : "");
		if (strstr(text, "= n"))
			memcpy(strstr(text, "= n"), "= 1", 3);
		if (!command_parse(text, strlen(text), &a, &c, &n, &p))
			fail_msg("%s: %s", text, p.message);
		assert_ptr_equal(c->def, d);
		assert_non_null(d->run);
		assert_true(d->help[0] && d->tag[0]);
	}
	arena_free(&a);
}

static void hostile_texts_are_bounded(void **state)
{
	size_t len = COMMAND_MAX_SQL;
	char *text = malloc(len + 1);
	const struct command *c;
	struct problem p;
	struct arena a;
	size_t n;

	assert_non_null(text);
	for (const char *fill = ";x'\"$-/*("; *fill; fill++) {
		arena_init(&a);
		memset(text, *fill, len);
		(void)!command_parse(text, len, &a, &c, &n, &p);
		arena_free(&a);
	}
	arena_init(&a);
	assert_false(command_parse(text, len + 1, &a, &c, &n, &p));
	assert_string_equal(p.sqlstate, "54000");
	arena_free(&a);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(commands_are_read_with_their_arguments),
	    cmocka_unit_test(mistakes_are_told_exactly),
	    cmocka_unit_test(several_commands_are_read_in_order),
	    cmocka_unit_test(every_row_of_the_table_can_be_typed),
	    cmocka_unit_test(hostile_texts_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

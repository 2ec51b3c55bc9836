#include "rewrite/text/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "rewrite/ruleset.h"

#define SIXTY "n23456789_123456789_123456789_123456789_123456789_123456789_"

/* clang-format off */
static const struct rule_name few[] = {
	{.schema = "public", .name = "inovices"},
	{.schema = "public", .name = "invoices"},
	{.schema = "public", .name = "Orders"},
	{.schema = "shop", .name = "orders"},
	{.schema = "public", .name = "odd \"one\""},
	{.schema = "public", .name = "a$b"},
	{.schema = "public", .name = SIXTY "123"},
	{.schema = "public", .name = "r\303\251sum"},
};
/* clang-format on */

enum { FEW = sizeof(few) / sizeof(*few), MANY = 1000 };

/* clang-format off */
static const struct {
	const char *sql;
	bool mentions;
} texts[] = {
	{"SELECT * FROM inovices", true},
	{"inovices", true},
	{"select*from InoVICES;", true},
	{"SELECT * FROM public.inovices", true},
	{"SELECT * FROM \"inovices\"", true},
	{"SELECT 'it''s \"' FROM inovices", true},
	{"SELECT $x$ $x$inovices", true},
	{"/* ' */ TABLE inovices", true},
	{"SELECT * FROM old_inovices", false},
	{"SELECT * FROM inovices2", false},
	{"SELECT * FROM inovices\303\251", false},
	{"SELECT * FROM \303\251inovices", false},
	{"SELECT * FROM inovice", false},
	{"SELECT * FROM \"Orders\"", true},
	{"SELECT * FROM ORDERS", true},		/* shop.orders */
	{"SELECT * FROM \"ORDERS\"", true},	/* a false yes */
	{"SELECT * FROM \"odd \"\"one\"\"\"", true},
	{"SELECT * FROM \"odd \"one\"", false},
	{"SELECT * FROM A$B, c", true},
	{"SELECT * FROM a$bc", false},
	{"SELECT * FROM " SIXTY "123", true},
	{"SELECT * FROM " SIXTY "123456", true},	/* cut by the server */
	{"SELECT * FROM " SIXTY "12", false},
	{"SELECT * FROM r\303\251sum", true},
	{"SELECT * FROM R\303\251SUM", true},
	{"SELECT * FROM U&\"\\0069novices\"", true},
	{"SELECT * FROM u&\"x\"", true},
	{"SELECT a&b FROM c", false},
	{"SELECT u & \"b\" FROM c", false},
	{"SELECT 1", false},
	{"", false},
	{"i", false},
	{"\"", false},
	{"&", false},
	{"u&", false},
};
/* clang-format on */

static void check_texts(const struct filter *f)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (filter_finds(f, texts[i].sql, strlen(texts[i].sql)) !=
		    texts[i].mentions)
			fail_msg("%s", texts[i].sql);
	/* The length is the end, not a NUL. */
	assert_false(filter_finds(f, "inovices", 7));
	assert_true(filter_finds(f, "\0 inovices", 10));
}

static void the_filter_never_says_a_false_no(void **state)
{
	struct arena a;

	arena_init(&a);
	check_texts(filter_make(few, FEW, &a));
	arena_free(&a);
}

/* Those of `few` behind others, which no text has. */
static struct rule_name *make_many(struct arena *a)
{
	struct rule_name *many = arena_alloc(a, MANY * sizeof(*many));

	for (size_t i = 0; i < MANY - FEW; i++)
		many[i].name = arena_fmt(a, "table_%zu", i);
	memcpy(many + MANY - FEW, few, sizeof(few));
	return many;
}

static void many_names_are_found_as_few_are(void **state)
{
	const struct filter *f;
	struct arena a;
	char text[32];

	arena_init(&a);
	f = filter_make(make_many(&a), MANY, &a);
	check_texts(f);
	for (size_t i = 0; i < 2 * MANY; i++) {
		snprintf(text, sizeof(text), "table TABLE_%zu;", i);
		assert_int_equal(filter_finds(f, text, strlen(text)),
				 i < MANY - FEW);
	}
	arena_free(&a);
}

static bool index_has(const struct name_index *x, const char *word, size_t name)
{
	for (uint16_t i = name_index_find(x, word, strlen(word));
	     i != NAME_NONE; i = x->next[i])
		if (i == name)
			return true;
	return false;
}

static void a_word_is_looked_up_as_it_stands(void **state)
{
	struct name_index x;
	struct arena a;

	arena_init(&a);
	x = name_index_make(make_many(&a), MANY, &a);
	assert_true(index_has(&x, "table_7", 7));
	assert_true(index_has(&x, "Table_7", 7));
	assert_true(index_has(&x, "\"table_7\"", 7));
	assert_true(index_has(&x, "\"odd \"\"one\"\"\"", MANY - FEW + 4));
	assert_false(index_has(&x, "table_7", 8));
	x = name_index_make(few, 0, &a);
	assert_int_equal(name_index_find(&x, "table_7", 7), NAME_NONE);
	arena_free(&a);
}

/* clang-format off */
static const struct {
	const char *sql;
	unsigned effect;
} changes[] = {
	{"SET search_path = a, b", NAMES_CHANGE},
	{"set local SEARCH_PATH to a", NAMES_CHANGE},
	{"SET \"search_path\" = a", NAMES_CHANGE},
	{"SET SCHEMA 'a'", NAMES_CHANGE},
	{"SELECT pg_catalog.set_config('x', 'y', false)", NAMES_CHANGE},
	{"SET ROLE bob", NAMES_CHANGE},
	{"SET SESSION AUTHORIZATION bob", NAMES_CHANGE},
	{"RESET ALL", NAMES_CHANGE},
	{"SET pgtandem.shape = new", NAMES_CHANGE},
	{"SET \"pgtandem\".\"shape\" TO 'new'", NAMES_CHANGE},
	{"DISCARD ALL", NAMES_CHANGE},
	{"CREATE TEMP TABLE inovices (a int)", NAMES_CHANGE},
	{"CREATE TABLE inovices (a int)", NAMES_CHANGE},
	{"SELECT 1 AS a INTO TEMPORARY inovices", NAMES_CHANGE},
	{"DROP TABLE app.inovices", NAMES_CHANGE},
	{"ALTER TABLE x RENAME TO inovices", NAMES_CHANGE},
	{"ALTER TABLE x DISABLE TRIGGER ALL", 0},
	{"alter table only \"a;b\" enable trigger user; SELECT 1", 0},
	{"ALTER TABLE \"x disable trigger;\" RENAME TO inovices", NAMES_CHANGE},
	{"ALTER TRIGGER t ON x RENAME TO u", NAMES_CHANGE},
	{"ALTER TABLE x DISABLE TRIGGER t; ALTER TABLE t RENAME TO x",
	 NAMES_CHANGE},
	{"ALTER TABLE x /* disable trigger ; */ RENAME TO y", NAMES_CHANGE},
	{"ALTER TABLE \"trigger\" SET SCHEMA y", NAMES_CHANGE},
	{"ALTER TABLE \"trigger\" OWNER TO y", NAMES_CHANGE},
	{"ROLLBACK TO SAVEPOINT a", NAMES_UNDO},
	{"ROLLBACK/**/TO a", NAMES_UNDO},
	{"ROLLBACK TO a; SET ROLE b", NAMES_UNDO | NAMES_CHANGE},
	{"SET U&\"search\\005fpath\" = a", NAMES_CHANGE},
	{"SET u&\"\\+000053earch_p\\0061th\" = a", NAMES_CHANGE},
	{"SELECT U&\"set\\005fconfig\"('x', 'y', true)", NAMES_CHANGE},
	{"SET U&\"pgtandem\\002eshape\" = new", NAMES_CHANGE},
	{"SET U&\"s!0065arch_path\" UESCAPE '!' = a", NAMES_CHANGE},
	{"SELECT U&\"\\0061mount\" FROM U&\"in\\006fvices\"", 0},
	{"SELECT U&\"\\", 0},
	{"SELECT U&\"\\+00", 0},
	{"SELECT U&\"", 0},
	{"SELECT 1; SET search_path = a", NAMES_CHANGE},
	{"SELECT 1;RESET search_path", NAMES_CHANGE},
	{"ROLLBACK", 0},
	{"BEGIN", 0},
	{"COMMIT", 0},
	{"SELECT abalance FROM pgbench_accounts WHERE aid = 5", 0},
	{"INSERT INTO inovices (template, roles) VALUES ('x')", 0},
	{"UPDATE inovices SET amount = 1, temperature = 3", 0},
	{"SELECT * FROM information_schema.tables", 0},
	{"SELECT attempt, droplet, recreate FROM a", 0},
	{"SAVEPOINT a", 0},
	{"SET statement_timeout = 5", 0},
	{"", 0},
};
/* clang-format on */

static void what_may_change_names_is_seen(void **state)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
		if (sql_names_effect(changes[i].sql, strlen(changes[i].sql)) !=
		    changes[i].effect)
			fail_msg("%s", changes[i].sql);
}

static void what_may_read_the_catalogs_is_seen(void **state)
{
	static const char *const reads[] = {
	    "SELECT * FROM pg_class",
	    "SELECT pg_catalog.pg_get_indexdef(1)",
	    "TABLE PG_INDEX",
	    "TABLE \"pg_index\"",
	    "pg_",
	    "SELECT 1 FROM information_schema.columns",
	    "table INFORMATION_SCHEMA.tables",
	    "information_schema",
	};
	static const char *const others[] = {
	    "",
	    "pg",
	    "p",
	    "SELECT 1",
	    "SELECT apg_class FROM t",
	    "SELECT pgx_a",
	    "information_schem",
	    "my_information_schema",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
		if (!sql_names_catalog(reads[i], strlen(reads[i])))
			fail_msg("%s", reads[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (sql_names_catalog(others[i], strlen(others[i])))
			fail_msg("%s", others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_filter_never_says_a_false_no),
	    cmocka_unit_test(many_names_are_found_as_few_are),
	    cmocka_unit_test(a_word_is_looked_up_as_it_stands),
	    cmocka_unit_test(what_may_change_names_is_seen),
	    cmocka_unit_test(what_may_read_the_catalogs_is_seen),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}

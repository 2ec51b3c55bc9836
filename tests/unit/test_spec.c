#include "config/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/schema.h"

#define HEAD "migration: m\ndatabase: d\nlenses:\n"
#define TABLE_LENS \
	HEAD "  - kind: table\n    old: public.a\n    new: public.b\n" \
	     "    key: [id]\n"
#define COLUMNS TABLE_LENS "    columns:\n"
#define SPEC_KEYS \
	"migration, database, lossy, guard, old_use, on_violation, ddl, " \
	"triggers, husk, quiet_for, leave_out, expand, relax, contract, " \
	"lenses"

/* clang-format off */
static const struct {
	const char *text;
	const char *message;	/* behind "m.yaml:" */
} bad[] = {
	{ "",
	  "1: empty; expected a mapping" },
	{ "database: d\n",
	  "1: key \"migration\" is missing; expected text" },
	{ "migration: M\n"
	  "database: d\n"
	  "lenses: []\n",
	  "1: migration: \"M\" is not a migration's name; expected a-z, "
	  "then a-z, 0-9, _" },
	{ "migration: 1a\n",
	  "1: migration: \"1a\" is not a migration's name; expected a-z, "
	  "then a-z, 0-9, _" },
	{ "migration: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
	  "1: migration: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" is "
	  "longer than 40 characters" },
	{ "migration: m\n",
	  "1: key \"database\" is missing; expected a name" },
	{ "migration: m\n"
	  "database: d\n",
	  "1: key \"lenses\" is missing; expected a list of lenses, at "
	  "least one" },
	{ "migration: m\n"
	  "database: "
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddd\n"
	  "lenses: []",
	  "2: database: "
	  "\"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dd...\" is longer than 63 bytes, PostgreSQL's limit for a name" },
	{ "migration: m\n"
	  "database: d\n"
	  "lenses: []\n",
	  "3: lenses: is an empty list; expected a list of lenses, at "
	  "least one" },
	{ HEAD
	  "  - a\n",
	  "4: lenses[0]: \"a\" is not a mapping with key kind" },
	{ HEAD
	  "  - {old: a}\n",
	  "4: lenses[0]: key \"kind\" is missing; expected one of table, "
	  "columns, child, merge" },
	{ HEAD
	  "  - {kind: tabel}\n",
	  "4: lenses[0].kind: \"tabel\" is not one of table, columns, "
	  "child, merge" },
	{ HEAD
	  "  - {kind: table, old: a}\n",
	  "4: lenses[0]: key \"new\" is missing; expected a table's name, "
	  "or schema.name" },
	{ HEAD
	  "  - {kind: table, old: a, new: b}\n",
	  "4: lenses[0]: key \"key\" is missing; expected a list of "
	  "columns, or a mapping of old to new ones" },
	{ HEAD
	  "  - {kind: table, old: a, new: a, key: id}\n",
	  "4: lenses[0].new: is the old table; kind columns changes a "
	  "table in place" },
	{ HEAD
	  "  - {kind: table, old: a.b.c, new: d, key: id}\n",
	  "4: lenses[0].old: \"a.b.c\" is not a table's name, or "
	  "schema.name" },
	{ HEAD
	  "  - {kind: table, old: .c, new: d, key: id}\n",
	  "4: lenses[0].old: has an empty name" },
	{ HEAD
	  "  - {kind: table, old: '\"a', new: d, key: id}\n",
	  "4: lenses[0].old: has unmatched double quotes; expected name "
	  "or \"name\"" },
	{ HEAD
	  "  - {kind: table, old: pgtandem.x, new: d, key: id}\n",
	  "4: lenses[0].old: schema pgtandem is not the application's; "
	  "its relations cannot be migrated" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: []}\n",
	  "4: lenses[0].key: is an empty list; expected a list of "
	  "columns, or a mapping of old to new ones" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: [[a]]}\n",
	  "4: lenses[0].key[0]: is a list; expected a column, or a "
	  "mapping of an old to a new one" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: [id, id]}\n",
	  "4: lenses[0].key: \"id\" is given twice" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: {id: x, b: x}}\n",
	  "4: lenses[0].key: \"b\" is given twice" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: a.id}\n",
	  "4: lenses[0].key: \"a.id\" is not a name alone; expected no "
	  "table or schema before it, and double quotes around a name "
	  "with a dot" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: {id: }}\n",
	  "4: lenses[0].key.id: is empty; expected a name" },
	{ HEAD
	  "  - {kind: table, old: a, new: d, key: id, when: x}\n",
	  "4: lenses[0].when: unknown key; known here: kind, old, new, "
	  "key, columns" },
	{ TABLE_LENS
	  "  - kind: table\n"
	  "    old: public.a\n"
	  "    new: public.b\n"
	  "    key: [id]\n",
	  "8: lenses[1]: maps a table that the lens in line 4 maps" },
	{ TABLE_LENS
	  "  - {kind: table, old: z, new: b, key: id}\n",
	  "8: lenses[1]: maps a table that the lens in line 4 maps" },
	{ COLUMNS
	  "      - x\n",
	  "9: lenses[0].columns[0]: is \"x\"; expected a mapping with "
	  "keys old, new, forward, reverse, bijective, order" },
	{ COLUMNS
	  "      - {old: x}\n",
	  "9: lenses[0].columns[0]: key \"new\" is missing; expected a "
	  "column's name, or a mapping with keys name, type, not_null, "
	  "default" },
	{ COLUMNS
	  "      - {old: x, new: y, forwrd: z}\n",
	  "9: lenses[0].columns[0].forwrd: unknown key; known here: old, "
	  "new, forward, reverse, bijective, order" },
	{ COLUMNS
	  "      - {old: x, new: {type: bigint}}\n",
	  "9: lenses[0].columns[0].new: key \"name\" is missing; expected "
	  "a name" },
	{ COLUMNS
	  "      - {old: x, new: {name: y, type: bigint}}\n",
	  "9: lenses[0].columns[0]: a new type needs both forward and "
	  "reverse" },
	{ COLUMNS
	  "      - {old: x, new: y, forward: z}\n",
	  "9: lenses[0].columns[0]: forward and reverse are given "
	  "together or not at all; reverse is missing" },
	{ COLUMNS
	  "      - {old: x, new: y, reverse: z}\n",
	  "9: lenses[0].columns[0]: forward and reverse are given "
	  "together or not at all; forward is missing" },
	{ COLUMNS
	  "      - {old: [x, y], new: z}\n",
	  "9: lenses[0].columns[0]: several old columns need both forward "
	  "and reverse" },
	{ COLUMNS
	  "      - {old: [x, y], new: z, forward: f, reverse: g}\n",
	  "9: lenses[0].columns[0].reverse: is one SQL text for 2 old "
	  "columns; expected a mapping with keys x, y" },
	{ COLUMNS
	  "      - {old: [x, y], new: z, forward: f, reverse: {x: 1}}\n",
	  "9: lenses[0].columns[0].reverse: column \"y\" is missing" },
	{ COLUMNS
	  "      - {old: [x, y], new: z, forward: f, reverse: {x: 1, q: "
	  "2}}\n",
	  "9: lenses[0].columns[0].reverse.q: is not among the old "
	  "columns x, y" },
	{ COLUMNS
	  "      - {old: [x, x], new: z, forward: f, reverse: {x: 1}}\n",
	  "9: lenses[0].columns[0].old[1]: \"x\" is given twice" },
	{ COLUMNS
	  "      - {old: x, new: y}\n"
	  "      - {old: x, new: z}\n",
	  "10: lenses[0].columns[1]: \"x\" is already mapped in line 9" },
	{ COLUMNS
	  "      - {old: x, new: y}\n"
	  "      - {old: z, new: y}\n",
	  "10: lenses[0].columns[1]: \"y\" is already mapped in line 9" },
	{ COLUMNS
	  "      - {old: id, new: y}\n",
	  "9: lenses[0].columns[0]: \"id\" is already mapped in line 7" },
	{ COLUMNS
	  "      - {old: x, new: id}\n",
	  "9: lenses[0].columns[0]: \"id\" is already mapped in line 7" },
	{ COLUMNS
	  "      - {old: x, new: [y]}\n",
	  "9: lenses[0].columns[0].new: is a list; expected a column's "
	  "name, or a mapping with keys name, type, not_null, default" },
	{ COLUMNS
	  "      - {old: x, new: y, bijective: yes}\n",
	  "9: lenses[0].columns[0].bijective: \"yes\" is not true or false" },
	{ COLUMNS
	  "      - {old: x, new: {name: y, not_null: 1}}\n",
	  "9: lenses[0].columns[0].new.not_null: \"1\" is not true or false" },
	{ COLUMNS
	  "      - {old: x, new: y, forward: \"  \", reverse: x}\n",
	  "9: lenses[0].columns[0].forward: is empty; expected SQL" },
	{ COLUMNS
	  "      - {old: {a: b}, new: y}\n",
	  "9: lenses[0].columns[0].old: is a mapping; expected a "
	  "name, or a list of them" },
	{ COLUMNS
	  "      - {old: \"a\\tb\", new: y}\n",
	  "9: lenses[0].columns[0].old: has a control character; expected "
	  "a name" },
	{ COLUMNS
	  "      - {old: "
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxx, new: y}\n",
	  "9: lenses[0].columns[0].old: "
	  "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xx...\" is longer than 63 bytes, PostgreSQL's limit for a name" },
	{ COLUMNS
	  "      - {old: x, new: y, forward: [a]}\n",
	  "9: lenses[0].columns[0].forward: is a list; expected SQL" },
	{ HEAD
	  "  - {kind: columns, table: a, key: [id], columns: [{old: x, "
	  "new: x, forward: a, reverse: b}]}\n",
	  "4: lenses[0].columns[0]: new column \"x\" is an old one too; "
	  "in the same table it needs a name of its own" },
	{ HEAD
	  "  - {kind: columns, table: a, key: [id], columns: []}\n",
	  "4: lenses[0].columns: is an empty list; expected a list with "
	  "at least one entry" },
	{ HEAD
	  "  - {kind: columns, table: a, key: {id: x}, columns: [{old: x, "
	  "new: y}]}\n",
	  "4: lenses[0].key: \"id\" has another name on the new side; "
	  "expected the same, for it is the same table" },
	{ "migration: m\ndatabase: d\non_violation: quarantine\nlenses:\n"
	  "  - {kind: columns, table: a, key: [id], columns: [{old: x, "
	  "new: y}]}\n",
	  "3: on_violation: quarantine cannot be had with kind columns: both "
	  "models are one row, which the table's constraints accept or refuse "
	  "as a whole" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: c}}\n",
	  "4: lenses[0].new: key \"parent\" is missing; expected a "
	  "mapping of the child table's columns to key columns" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: a, parent: {a_id: id}, columns: {s: s}}}\n",
	  "4: lenses[0].new.table: is the old table; expected another" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: c, parent: {a_id: x}, columns: {s: s}}}\n",
	  "4: lenses[0].new.parent: \"x\" is not a key column" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id, j], columns: [s], new: "
	  "{table: c, parent: {a_id: id}, columns: {s: s}}}\n",
	  "4: lenses[0].new.parent: has 1 of 2 key columns; expected all" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: c, parent: [id], columns: {s: s}}}\n",
	  "4: lenses[0].new.parent: is a list; expected a mapping of the "
	  "child table's columns to key columns" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: c, parent: {x: id}, columns: [s]}}\n",
	  "4: lenses[0].new.columns: is a list; expected a mapping of the "
	  "child table's columns to SQL over the old columns" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: c, parent: {x: id}, columns: {s: {tpe: x}}}}\n",
	  "4: lenses[0].new.columns.s.tpe: unknown key; known here: type, "
	  "not_null, default, forward" },
	{ HEAD
	  "  - {kind: child, old: a, key: [id], columns: [s], new: "
	  "{table: c, parent: {x: id}, columns: {s: s}, pick: {a: b}}}\n",
	  "4: lenses[0].new.pick: is a mapping; expected an ORDER BY "
	  "item, or a list of them" },
	{ HEAD
	  "  - {kind: child, old: a, key: id, columns: [{old: [a, b]}], "
	  "new: {table: c, parent: {x: id}, columns: {s: s}}}\n",
	  "4: lenses[0].columns[0]: names 2 old columns; expected one an "
	  "entry" },
	{ HEAD
	  "  - {kind: child, old: a, key: id, columns: [s, s], new: "
	  "{table: c, parent: {x: id}, columns: {s: s}}}\n",
	  "4: lenses[0].columns[1]: \"s\" is already mapped in line 4" },
	{ TABLE_LENS
	  "  - {kind: merge, old: [c, a], new: d, key: id}\n",
	  "8: lenses[1]: maps a table that the lens in line 4 maps" },
	{ HEAD
	  "  - {kind: merge, old: a, new: c, key: id}\n",
	  "4: lenses[0].old: \"a\" is not a list of two tables' names, the "
	  "second one's or {table, key} where its key has other names" },
	{ HEAD
	  "  - {kind: merge, old: [a, {table: b, key: [x, y]}], new: c, "
	  "key: id}\n",
	  "4: lenses[0].old: the second table's key has 2 columns; expected 1, "
	  "as under key" },
	{ HEAD
	  "  - {kind: merge, old: [a, {table: b}], new: c, key: id}\n",
	  "4: lenses[0].old[1]: key \"key\" is missing; expected a "
	  "name, or a list of them" },
	{ HEAD
	  "  - {kind: merge, old: [a, a], new: c, key: id}\n",
	  "4: lenses[0].old: names one table twice; expected two" },
	{ HEAD
	  "  - {kind: merge, old: [a, b], new: b, key: id}\n",
	  "4: lenses[0].new: is one of the old tables; expected another" },
	{ HEAD
	  "  - {kind: merge, old: [a, b], new: c, key: id, columns: "
	  "[{old: x, new: y, from: z}]}\n",
	  "4: lenses[0].columns[0].from: is not one of the two old tables" },
	{ TABLE_LENS
	  "lossy: yes\n",
	  "8: lossy: \"yes\" is not one of refuse, accept" },
	{ TABLE_LENS
	  "guard: on\n",
	  "8: guard: \"on\" is not one of off, capture, reject" },
	{ TABLE_LENS
	  "quiet_for: 7\n",
	  "8: quiet_for: \"7\" is not a duration from 0s to 366d (a whole "
	  "number of ms, s, m, h or d)" },
	{ TABLE_LENS
	  "quiet_for: 400d\n",
	  "8: quiet_for: \"400d\" is not a duration from 0s to 366d (a "
	  "whole number of ms, s, m, h or d)" },
	{ TABLE_LENS
	  "ddl: auto\n",
	  "8: ddl: \"auto\" is not one of generated, manual" },
	{ TABLE_LENS
	  "expand:\n",
	  "8: expand: is empty; expected SQL" },
	{ TABLE_LENS
	  "expand: [a]\n",
	  "8: expand: is a list; expected SQL" },
	{ TABLE_LENS
	  "old_use: fail\n",
	  "8: old_use: \"fail\" is not one of translate, warn, error" },
	{ TABLE_LENS
	  "triggers: keep\n",
	  "8: triggers: \"keep\" is not one of move, ignore" },
	{ TABLE_LENS
	  "on_violation: x\n",
	  "8: on_violation: \"x\" is not one of fail, quarantine" },
	{ TABLE_LENS
	  "hooks: x\n",
	  "8: hooks: unknown key; known here: "
	  SPEC_KEYS },
};
/* clang-format on */

static void
every_mistake_is_told_with_line_key_and_what_was_expected(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct spec *spec = NULL;
		struct problem p = {0};
		struct arena a;

		arena_init(&a);
		assert_false(spec_parse("m.yaml", bad[i].text,
					strlen(bad[i].text), &a, &spec, &p));
		assert_null(spec);
		assert_string_equal(p.sqlstate, "F0000");
		assert_memory_equal(p.message, "m.yaml:", 7);
		assert_string_equal(p.message + 7, bad[i].message);
		arena_free(&a);
	}
}

static const struct spec *parse(struct arena *a, const char *text)
{
	const struct spec *spec = NULL;
	struct problem p = {0};

	if (!spec_parse_any("m.yaml", text, strlen(text), a, &spec, &p))
		fail_msg("%s", p.message);
	return spec;
}

static void what_is_not_given_has_its_default(void **state)
{
	const struct spec *s;
	struct arena a;

	arena_init(&a);
	s = parse(&a, TABLE_LENS);
	assert_string_equal(s->file, "m.yaml");
	assert_string_equal(s->name, "m");
	assert_int_equal(s->name_line, 1);
	assert_string_equal(s->database, "d");
	assert_false(s->lossy_accept);
	assert_int_equal(s->guard, GUARD_OFF);
	assert_int_equal(s->old_use, OLD_USE_TRANSLATE);
	assert_int_equal(s->on_violation, VIOLATION_FAIL);
	assert_int_equal(s->ddl, DDL_GENERATED);
	assert_int_equal(s->triggers, TRIGGERS_MOVE);
	assert_int_equal(s->husk, HUSK_KEEP);
	assert_int_equal(s->quiet_for_ms, 7ULL * 86400000);
	assert_null(s->expand);
	assert_null(s->relax);
	assert_null(s->contract);
	assert_int_equal(s->n_lenses, 1);
	assert_int_equal(s->lenses[0].n_columns, 0);
	assert_int_equal(s->lenses[0].line, 4);
	assert_string_equal(s->text, TABLE_LENS);
	arena_free(&a);
}

static void what_is_given_is_read(void **state)
{
	const struct spec *s;
	struct arena a;

	arena_init(&a);
	s = parse(&a, TABLE_LENS
		  "lossy: accept\nguard: capture\nold_use: error\n"
		  "on_violation: quarantine\nddl: manual\ntriggers: ignore\n"
		  "husk: none\n"
		  "quiet_for: 90m\nexpand: |\n\n  SELECT 1;\n  SELECT 2\n\n"
		  "relax: a\ncontract: b\n");
	assert_true(s->lossy_accept);
	assert_int_equal(s->guard, GUARD_CAPTURE);
	assert_int_equal(s->old_use, OLD_USE_ERROR);
	assert_int_equal(s->on_violation, VIOLATION_QUARANTINE);
	assert_int_equal(s->ddl, DDL_MANUAL);
	assert_int_equal(s->triggers, TRIGGERS_IGNORE);
	assert_int_equal(s->husk, HUSK_NONE);
	assert_int_equal(s->quiet_for_ms, 90 * 60000);
	assert_string_equal(s->expand, "SELECT 1;\nSELECT 2");
	assert_string_equal(s->relax, "a");
	assert_string_equal(s->contract, "b");
	arena_free(&a);
}

static void a_key_has_four_forms(void **state)
{
	static const struct {
		const char *written, *old, *new;
	} forms[] = {
	    {"id", "id", "id"},
	    {"[id]", "id", "id"},
	    {"[a, b]", "a b", "a b"},
	    {"{id: invoice_id}", "id", "invoice_id"},
	    {"[a, {b: c}, {d: e, f: g}]", "a b d f", "a c e g"},
	    {"['\"a.b\"', {'\"x\"\"y\"': Zed}]", "a.b x\"y", "a.b Zed"},
	};
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const struct spec *s = parse(
		    &a,
		    arena_fmt(
			&a, HEAD "  - {kind: table, old: a, new: b, key: %s}\n",
			forms[i].written));
		const char *old = "", *new = "";

		for (size_t j = 0; j < s->lenses[0].n_key; j++) {
			const struct spec_key *k = &s->lenses[0].key[j];

			old =
			    arena_fmt(&a, "%s%s%s", old, j ? " " : "", k->old);
			new =
			    arena_fmt(&a, "%s%s%s", new, j ? " " : "", k->new);
		}
		assert_string_equal(old, forms[i].old);
		assert_string_equal(new, forms[i].new);
	}
	arena_free(&a);
}

static void a_relation_is_public_unless_it_says_otherwise(void **state)
{
	static const struct {
		const char *written, *schema, *name;
	} names[] = {
	    {"a", "public", "a"},
	    {"s.a", "s", "a"},
	    {"createdAt", "public", "createdAt"},
	    {"'\"a.b\".c'", "a.b", "c"},
	    {"'s.\"x\"\"y\"'", "s", "x\"y"},
	};
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct spec *s = parse(
		    &a,
		    arena_fmt(&a,
			      HEAD
			      "  - {kind: table, old: %s, new: z.z, key: id}\n",
			      names[i].written));

		assert_string_equal(s->lenses[0].old.schema, names[i].schema);
		assert_string_equal(s->lenses[0].old.name, names[i].name);
	}
	arena_free(&a);
}

static void columns_have_short_and_long_forms(void **state)
{
	const struct spec_column *c;
	const struct spec *s;
	struct arena a;

	arena_init(&a);
	s = parse(&a, COLUMNS
		  "      - {old: customr, new: customer}\n"
		  "      - old: amount\n"
		  "        new: {name: cents, type: bigint, not_null: false,\n"
		  "              default: \"0\"}\n"
		  "        forward: (amount * 100)::bigint\n"
		  "        reverse: (cents / 100)::integer\n"
		  "        bijective: true\n"
		  "      - old: [a, b]\n"
		  "        new: {name: c}\n"
		  "        forward: a + b\n"
		  "        reverse: {b: \"c - 1\", a: \"1\"}\n");
	assert_int_equal(s->lenses[0].n_columns, 3);
	c = &s->lenses[0].columns[0];
	assert_int_equal(c->n_old, 1);
	assert_string_equal(c->old[0], "customr");
	assert_string_equal(c->new_name, "customer");
	assert_null(c->new_type);
	assert_null(c->forward);
	assert_null(c->reverse);
	assert_false(c->bijective);
	assert_false(c->new_not_null_given);
	assert_int_equal(c->line, 9);
	c = &s->lenses[0].columns[1];
	assert_string_equal(c->new_name, "cents");
	assert_string_equal(c->new_type, "bigint");
	assert_true(c->new_not_null_given);
	assert_false(c->new_not_null);
	assert_string_equal(c->new_default, "0");
	assert_string_equal(c->forward, "(amount * 100)::bigint");
	assert_string_equal(c->reverse[0], "(cents / 100)::integer");
	assert_true(c->bijective);
	c = &s->lenses[0].columns[2];
	assert_int_equal(c->n_old, 2);
	assert_string_equal(c->old[1], "b");
	assert_string_equal(c->reverse[0], "1");
	assert_string_equal(c->reverse[1], "c - 1");
	arena_free(&a);
}

static void a_columns_lens_is_in_one_table(void **state)
{
	const struct spec *s;
	struct arena a;

	arena_init(&a);
	s = parse(&a, HEAD
		  "  - kind: columns\n    table: shop.invoices\n"
		  "    key: [id]\n    columns:\n"
		  "      - old: [is_taxable, is_tax_inclusive]\n"
		  "        new: {name: tax_type, type: tax_type, "
		  "not_null: true}\n"
		  "        forward: f(is_taxable, is_tax_inclusive)\n"
		  "        reverse: {is_taxable: x, is_tax_inclusive: y}\n");
	assert_int_equal(s->lenses[0].kind, LENS_COLUMNS);
	assert_string_equal(s->lenses[0].old.schema, "shop");
	assert_string_equal(s->lenses[0].old.name, "invoices");
	assert_string_equal(s->lenses[0].new.name, "invoices");
	assert_true(s->lenses[0].columns[0].new_not_null);
	arena_free(&a);
}

static void a_child_lens_has_parent_when_and_pick(void **state)
{
	const struct spec_lens *l;
	struct arena a;

	arena_init(&a);
	l = parse(&a, HEAD
		  "  - kind: child\n    old: public.employees\n"
		  "    key: [id]\n"
		  "    columns: [store_id, {old: e, reverse: lower(email)}]\n"
		  "    new:\n      table: public.employeestores\n"
		  "      parent: {employee_id: id}\n"
		  "      columns:\n        store_id: store_id\n"
		  "        email: {type: citext, not_null: true, "
		  "forward: e}\n"
		  "      when: store_id IS NOT NULL\n"
		  "      pick: [is_primary DESC, store_id]\n")
		->lenses;
	assert_int_equal(l->kind, LENS_CHILD);
	assert_string_equal(l->new.name, "employeestores");
	assert_int_equal(l->n_columns, 2);
	assert_string_equal(l->columns[0].old[0], "store_id");
	assert_null(l->columns[0].reverse);
	assert_null(l->columns[0].new_name);
	assert_string_equal(l->columns[1].reverse[0], "lower(email)");
	assert_int_equal(l->n_parent, 1);
	assert_string_equal(l->parent[0].new, "employee_id");
	assert_string_equal(l->parent[0].old, "id");
	assert_int_equal(l->n_child, 2);
	assert_string_equal(l->child[0].new_name, "store_id");
	assert_string_equal(l->child[0].forward, "store_id");
	assert_string_equal(l->child[1].new_type, "citext");
	assert_true(l->child[1].new_not_null);
	assert_string_equal(l->when, "store_id IS NOT NULL");
	assert_int_equal(l->n_pick, 2);
	assert_string_equal(l->pick[0], "is_primary DESC");
	arena_free(&a);
}

static void a_merge_lens_has_two_old_tables(void **state)
{
	const struct spec_lens *l;
	struct arena a;

	arena_init(&a);
	l = parse(&a, HEAD "  - kind: merge\n    old: [a, s.b]\n    new: c\n"
			   "    key: [id]\n    columns:\n"
			   "      - {old: note, new: a_note, from: a}\n"
			   "      - {old: note, new: b_note, from: s.b}\n")
		->lenses;
	assert_int_equal(l->kind, LENS_MERGE);
	assert_string_equal(l->old.name, "a");
	assert_string_equal(l->old2.schema, "s");
	assert_string_equal(l->old2.name, "b");
	assert_string_equal(l->columns[1].from.name, "b");
	assert_int_equal(l->half, 1);
	assert_int_equal(l[1].half, 2);
	assert_string_equal(l[1].old.name, "b");
	assert_string_equal(l[1].old2.name, "a");
	assert_string_equal(l[1].new.name, "c");
	arena_free(&a);
}

static void a_merge_may_call_its_second_key_otherwise(void **state)
{
	const struct spec_lens *l;
	struct arena a;

	arena_init(&a);
	l = parse(&a, HEAD "  - kind: merge\n"
			   "    old: [a, {table: b, key: [a_id, day]}]\n"
			   "    new: c\n    key: [{id: cid}, day]\n")
		->lenses;
	assert_string_equal(l[0].key[0].old, "id");
	assert_string_equal(l[0].key[0].new, "cid");
	assert_string_equal(l[1].key[0].old, "a_id");
	assert_string_equal(l[1].key[0].new, "cid");
	assert_string_equal(l[1].key[1].old, "day");
	assert_string_equal(l[1].old.name, "b");
	arena_free(&a);
}

static void the_hash_is_fnv_1a_of_the_text(void **state)
{
	const struct spec *s, *other;
	struct arena a;

	arena_init(&a);
	s = parse(&a, TABLE_LENS);
	other = parse(&a, TABLE_LENS " ");
	assert_string_equal(s->hash, "4e453312a0ef70de");
	assert_string_not_equal(s->hash, other->hash);
	arena_free(&a);
}

/* Limits: each is refused in one sentence and at no cost. */

static void check_refused(const char *text, size_t len, const char *message)
{
	const struct spec *spec;
	struct problem p = {0};
	struct arena a;

	arena_init(&a);
	assert_false(spec_parse("m.yaml", text, len, &a, &spec, &p));
	assert_string_equal(p.message, message);
	arena_free(&a);
}

static void a_huge_file_is_refused(void **state)
{
	size_t len = 1024 * 1024 + 1;
	char *text = malloc(len);

	memset(text, ' ', len);
	check_refused(text, len,
		      "m.yaml: larger than 1 MiB, the most that is read");
	check_refused(text, len - 1, "m.yaml:1: empty; expected a mapping");
	free(text);
}

static void a_million_brackets_or_keys_are_refused(void **state)
{
	static const struct {
		const char *unit, *message;
	} floods[] = {
	    {"[", "m.yaml:1: nested deeper than 16 levels, the most that "
		  "are read"},
	    {"- ", "m.yaml:1: nested deeper than 16 levels, the most that "
		   "are read"},
	    {"{a: ", "m.yaml:1: nested deeper than 16 levels, the most "
		     "that are read"},
	    {"- a\n", "m.yaml:20000: more than 20000 values, the most that "
		      "are read"},
	};
	size_t len = 1024 * 1024;
	char *text = malloc(len);

	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		size_t n = strlen(floods[i].unit);

		for (size_t j = 0; j + n <= len; j += n)
			memcpy(text + j, floods[i].unit, n);
		check_refused(text, len / n * n, floods[i].message);
	}
	free(text);
}

static void an_alias_bomb_is_refused_at_its_first_anchor(void **state)
{
	static const char bomb[] =
	    "a: &a [x, x, x, x, x, x, x, x, x]\n"
	    "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
	    "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n";

	check_refused(bomb, sizeof(bomb) - 1,
		      "m.yaml:1: anchors and aliases (& and *) are not "
		      "supported; quote text that starts with them");
}

static void nul_bytes_are_refused(void **state)
{
	check_refused("migration: a\0b\n", 15,
		      "m.yaml:1: control characters are not allowed; expected "
		      "UTF-8 text");
}

/* Whatever becomes of a good file's text, it ends in an answer. */
static const char whole[] =
    COLUMNS "      - {old: [a, b], new: {name: c, type: \"x\303\244\"}, "
	    "forward: |-\n          a\n        , reverse: {a: 'q', b: q}}\n"
	    "      - {old: x, new: y}\nquiet_for: 5s # note\nexpand: >\n  a\n";

static void try_text(const char *text, size_t len)
{
	const struct spec *spec;
	struct problem p;
	struct arena a;

	arena_init(&a);
	p.sqlstate[0] = '\0';
	if (!spec_parse_any("m.yaml", text, len, &a, &spec, &p))
		assert_int_equal(strlen(p.sqlstate), 5);
	arena_free(&a);
}

static void every_truncated_file_gets_an_answer(void **state)
{
	for (size_t len = 0; len < sizeof(whole); len++) {
		char *copy = malloc(len + 1); /* no byte past its end */

		memcpy(copy, whole, len);
		try_text(copy, len);
		free(copy);
	}
}

static void every_changed_byte_gets_an_answer(void **state)
{
	static const char bytes[] = "\t\n\0\xFF\"'{[]}:-#&*!|>%@`\x80 ";
	char copy[sizeof(whole)];

	for (size_t i = 0; i < sizeof(whole) - 1; i++) {
		for (size_t j = 0; j < sizeof(bytes) - 1; j++) {
			memcpy(copy, whole, sizeof(whole));
			copy[i] = bytes[j];
			try_text(copy, sizeof(whole) - 1);
		}
	}
}

static void every_key_is_described(void **state)
{
	struct schema_rows rows = {0};
	struct arena a;
	size_t n = 0;

	arena_init(&a);
	rows.arena = &a;
	spec_describe(&rows);
	for (const struct schema_row *r = rows.first; r != NULL; r = r->next) {
		assert_true(r->name[0] && r->value[0] && r->what[0]);
		n++;
	}
	assert_int_equal(n, rows.n);
	assert_true(n > 40);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		every_mistake_is_told_with_line_key_and_what_was_expected),
	    cmocka_unit_test(what_is_not_given_has_its_default),
	    cmocka_unit_test(what_is_given_is_read),
	    cmocka_unit_test(a_key_has_four_forms),
	    cmocka_unit_test(a_relation_is_public_unless_it_says_otherwise),
	    cmocka_unit_test(columns_have_short_and_long_forms),
	    cmocka_unit_test(a_columns_lens_is_in_one_table),
	    cmocka_unit_test(a_child_lens_has_parent_when_and_pick),
	    cmocka_unit_test(a_merge_lens_has_two_old_tables),
	    cmocka_unit_test(a_merge_may_call_its_second_key_otherwise),
	    cmocka_unit_test(the_hash_is_fnv_1a_of_the_text),
	    cmocka_unit_test(a_huge_file_is_refused),
	    cmocka_unit_test(a_million_brackets_or_keys_are_refused),
	    cmocka_unit_test(an_alias_bomb_is_refused_at_its_first_anchor),
	    cmocka_unit_test(nul_bytes_are_refused),
	    cmocka_unit_test(every_truncated_file_gets_an_answer),
	    cmocka_unit_test(every_changed_byte_gets_an_answer),
	    cmocka_unit_test(every_key_is_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

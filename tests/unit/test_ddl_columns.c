#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/ddl/ddl.h"

static const char *const id[] = {"id"};
static const char *const code[] = {"code"};
static const char *const price[] = {"price"};

/* clang-format off */
static const struct column columns[] = {
	{.name = "id", .type = "integer", .type_oid = 23, .not_null = true,
	 .typmod = -1, .statistics = -1},
	{.name = "code", .type = "text", .type_oid = 25, .typmod = -1,
	 .statistics = -1, .not_null = true, .default_expr = "'x'::text"},
	{.name = "price", .type = "integer", .type_oid = 23, .typmod = -1,
	 .statistics = -1},
};

static const struct constraint constraints[] = {
	{.name = "goods_pkey", .kind = CONSTRAINT_PRIMARY, .n_columns = 1,
	 .columns = id, .definition = "PRIMARY KEY (id)"},
	{.name = "u", .kind = CONSTRAINT_UNIQUE, .n_columns = 1,
	 .columns = code, .definition = "UNIQUE (code) DEFERRABLE"},
	{.name = "n", .kind = CONSTRAINT_UNIQUE, .n_columns = 1,
	 .columns = code, .definition = "UNIQUE NULLS NOT DISTINCT (code)"},
	{.name = "c", .kind = CONSTRAINT_CHECK, .n_columns = 1,
	 .columns = price, .definition = "CHECK ((price > 0))"},
	{.name = "v", .kind = CONSTRAINT_CHECK, .n_columns = 1,
	 .columns = price, .definition = "CHECK ((price < 9)) NOT VALID"},
	{.name = "f", .kind = CONSTRAINT_FOREIGN, .n_columns = 1,
	 .columns = code, .definition =
	 "FOREIGN KEY (code) REFERENCES public.codes(code)"},
};

static const struct index indexes[] = {
	{.name = "plain", .n_columns = 1, .columns = price, .definition =
	 "CREATE INDEX plain ON public.goods USING btree (price)"},
	{.name = "partly", .unique = true, .n_columns = 1, .columns = code,
	 .definition = "CREATE UNIQUE INDEX partly ON public.goods USING btree "
	 "(code) WHERE (price > 3)"},
};
/* clang-format on */

static const struct relation old = {
    .schema = "public",
    .name = "goods",
    .kind = 'r',
    .owner = "owner",
    .n_columns = 3,
    .columns = columns,
    .n_constraints = 6,
    .constraints = constraints,
    .n_indexes = 2,
    .indexes = indexes,
};

static const char spec_text[] = "migration: goods\n"
				"database: shop\n"
				"lenses:\n"
				"  - kind: columns\n"
				"    table: public.goods\n"
				"    key: [id]\n"
				"    columns:\n"
				"      - {old: code, new: sku}\n"
				"      - old: price\n"
				"        new: {name: cents, type: bigint}\n"
				"        forward: (price * 100)::bigint\n"
				"        reverse: (cents / 100)::integer\n";

struct fixture {
	struct arena a;
	const struct lens *lens;
};

static int set_up(void **state)
{
	static struct fixture f;
	const struct spec *spec;
	struct problem p;

	arena_init(&f.a);
	if (!spec_parse("m.yaml", spec_text, strlen(spec_text), &f.a, &spec,
			&p) ||
	    !lens_compile(spec, 1, &old, NULL, &f.a, &f.lens, &p))
		return -1;
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	arena_free(&f->a);
	return 0;
}

static struct ddl_list move(struct fixture *f, enum phase from, enum phase to)
{
	struct ddl_list list;

	ddl_for_move(f->lens, from, to, true, true, &f->a, &list);
	return list;
}

static const struct ddl_step *find(const struct ddl_list *list,
				   const char *part)
{
	for (size_t i = 0; i < list->n; i++)
		if (strstr(list->steps[i].sql, part) != NULL)
			return &list->steps[i];
	return NULL;
}

static const struct ddl_step *has(const struct ddl_list *list, const char *part)
{
	const struct ddl_step *step = find(list, part);

	if (step == NULL)
		fail_msg("no step has: %s", part);
	return step;
}

static void indexes_are_built_while_statements_go_on(void **state)
{
	struct ddl_list list = move(*state, PHASE_EXPANDED, PHASE_DUAL_WRITE);
	const struct ddl_step *step =
	    has(&list, "INDEX CONCURRENTLY IF NOT EXISTS plain_new ON "
		       "public.goods USING btree (cents)");

	assert_true(step->ahead);
	assert_true(step->alone);
	assert_false(step->locks_source);
	has(&list, "UNIQUE INDEX CONCURRENTLY IF NOT EXISTS u_new ON "
		   "public.goods (sku)");
	step = has(&list, "UNIQUE USING INDEX u_new DEFERRABLE");
	assert_false(step->ahead);
}

static void an_unusual_constraint_builds_its_own_index(void **state)
{
	struct ddl_list list = move(*state, PHASE_EXPANDED, PHASE_DUAL_WRITE);

	assert_false(
	    has(&list, "n_new UNIQUE NULLS NOT DISTINCT (sku)")->ahead);
}

static void constraints_are_validated_while_statements_go_on(void **state)
{
	struct ddl_list list = move(*state, PHASE_DUAL_WRITE, PHASE_READ_NEW);
	static const char *const names[] = {"pgtandem_not_null_sku", "c_new",
					    "f_new"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct ddl_step *step = has(&list, names[i]);

		assert_true(step->ahead);
		assert_true(step->locks_source);
		assert_non_null(strstr(step->sql, "NOT VALID"));
		assert_non_null(strstr(step->undo, "NOT k.convalidated"));
		step++;
		assert_true(step->ahead);
		assert_false(step->locks_source);
		assert_non_null(strstr(step->sql, "VALIDATE CONSTRAINT"));
	}
}

static void not_null_is_set_when_a_check_has_proved_it(void **state)
{
	struct ddl_list list = move(*state, PHASE_DUAL_WRITE, PHASE_READ_NEW);
	const struct ddl_step *set = has(&list, "SET NOT NULL");

	assert_false(set->ahead);
	assert_true(set > has(&list, "VALIDATE CONSTRAINT "
				     "pgtandem_not_null_sku"));
	assert_non_null(strstr(
	    set->sql, "DROP CONSTRAINT IF EXISTS pgtandem_not_null_sku"));
}

static void what_was_not_valid_is_not_validated(void **state)
{
	struct ddl_list list = move(*state, PHASE_DUAL_WRITE, PHASE_READ_NEW);

	has(&list, "CONSTRAINT v_new CHECK");
	assert_null(find(&list, "VALIDATE CONSTRAINT v_new"));
}

static void the_way_back_restores_what_was_relaxed(void **state)
{
	struct ddl_list relax = move(*state, PHASE_WRITE_NEW, PHASE_NEW_ONLY);
	struct ddl_list list = move(*state, PHASE_WRITE_NEW, PHASE_READ_NEW);

	has(&relax, "DROP CONSTRAINT IF EXISTS c");
	has(&relax, "DROP INDEX IF EXISTS public.partly");
	has(&relax, "ALTER COLUMN code DROP NOT NULL");
	assert_null(find(&relax, "DROP CONSTRAINT IF EXISTS u"));
	assert_true(has(&list, "VALIDATE CONSTRAINT c")->ahead);
	has(&list, "UNIQUE INDEX CONCURRENTLY IF NOT EXISTS partly ON "
		   "public.goods USING btree (code) WHERE (price > 3)");
	has(&list, "ALTER COLUMN code SET DEFAULT 'x'::text");
	has(&list, "ALTER COLUMN code SET NOT NULL");
}

static void twins_take_the_names_over(void **state)
{
	struct ddl_list list = move(*state, PHASE_NEW_ONLY, PHASE_CONTRACTED);

	assert_true(has(&list, "RENAME CONSTRAINT c_new TO c") >
		    has(&list, "DROP COLUMN IF EXISTS price"));
	has(&list, "ALTER INDEX public.plain_new RENAME TO plain");
}

static void only_steps_ahead_are_alone_or_undone(void **state)
{
	static const enum phase moves[][2] = {
	    {PHASE_EXPANDED, PHASE_DUAL_WRITE},
	    {PHASE_DUAL_WRITE, PHASE_READ_NEW},
	    {PHASE_READ_NEW, PHASE_WRITE_NEW},
	    {PHASE_WRITE_NEW, PHASE_NEW_ONLY},
	    {PHASE_NEW_ONLY, PHASE_CONTRACTED},
	    {PHASE_WRITE_NEW, PHASE_READ_NEW},
	};

	for (size_t m = 0; m < sizeof(moves) / sizeof(*moves); m++) {
		struct ddl_list list = move(*state, moves[m][0], moves[m][1]);

		for (size_t i = 0; i < list.n; i++) {
			const struct ddl_step *step = &list.steps[i];

			assert_true(step->ahead || !step->alone);
			assert_true(step->ahead || step->undo == NULL);
			assert_int_equal(
			    strstr(step->sql, "CONCURRENTLY") != NULL,
			    step->alone);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(indexes_are_built_while_statements_go_on),
	    cmocka_unit_test(an_unusual_constraint_builds_its_own_index),
	    cmocka_unit_test(constraints_are_validated_while_statements_go_on),
	    cmocka_unit_test(not_null_is_set_when_a_check_has_proved_it),
	    cmocka_unit_test(what_was_not_valid_is_not_validated),
	    cmocka_unit_test(the_way_back_restores_what_was_relaxed),
	    cmocka_unit_test(twins_take_the_names_over),
	    cmocka_unit_test(only_steps_ahead_are_alone_or_undone),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

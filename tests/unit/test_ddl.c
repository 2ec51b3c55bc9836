#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/ddl/ddl.h"

static const char *const id[] = {"id"};
static const char *const amount[] = {"amount"};
static const char *const parent[] = {"parent"};
static const char *const expression[] = {NULL};

/* clang-format off */
static const struct column columns[] = {
	{.name = "id", .type = "integer", .type_oid = 23, .not_null = true,
	 .typmod = -1, .statistics = -1, .sequence = "public.inovices_id_seq",
	 .default_expr = "nextval('public.inovices_id_seq'::regclass)"},
	{.name = "customr", .type = "text", .type_oid = 25, .typmod = -1,
	 .statistics = 500, .storage = 'e', .comment = "it's"},
	{.name = "amount", .type = "integer", .type_oid = 23, .typmod = -1,
	 .statistics = -1, .default_expr = "5"},
	{.name = "parent", .type = "integer", .type_oid = 23, .typmod = -1,
	 .statistics = -1},
};

static const struct constraint constraints[] = {
	{.name = "inovices_pkey", .kind = CONSTRAINT_PRIMARY, .n_columns = 1,
	 .columns = id, .definition = "PRIMARY KEY (id)"},
	{.name = "c", .kind = CONSTRAINT_CHECK, .n_columns = 1,
	 .columns = amount, .definition =
	 "CHECK (((amount > 0) AND (customr <> 'amount'::amount)))"},
	{.name = "here", .kind = CONSTRAINT_CHECK, .n_columns = 0, .definition =
	 "CHECK (((tableoid)::integer <> 0))"},
	{.name = "f", .kind = CONSTRAINT_FOREIGN, .n_columns = 1,
	 .columns = parent, .definition =
	 "FOREIGN KEY (parent) REFERENCES public.inovices(id)"},
	{.name = "g", .kind = CONSTRAINT_FOREIGN, .n_columns = 1,
	 .columns = parent, .definition = "FOREIGN KEY (parent, customr) "
	 "REFERENCES public.customrs(id, customr) ON DELETE SET NULL (customr)"},
};

static const struct index indexes[] = {
	{.name = "plain", .n_columns = 1, .columns = amount, .definition =
	 "CREATE INDEX plain ON public.inovices USING btree (amount DESC)"},
	{.name = "computed", .n_columns = 1, .columns = expression,
	 .definition = "CREATE UNIQUE INDEX computed ON public.inovices "
	 "USING btree (abs(amount))"},
	{.name = "carried", .n_columns = 1, .columns = expression,
	 .definition = "CREATE INDEX carried ON public.inovices "
	 "USING gin (lower(customr) gin_trgm_ops) WHERE (id > 3)"},
};

static const struct grant grants[] = {
	{.grantee = "app", .privilege = "SELECT", .grantable = true},
	{.grantee = NULL, .privilege = "UPDATE", .column = "amount"},
	{.grantee = "Owner", .privilege = "DELETE"},
};
/* clang-format on */

static const struct relation old = {
    .schema = "public",
    .name = "inovices",
    .kind = 'r',
    .owner = "Owner",
    .replica_identity = 'f',
    .n_columns = 4,
    .columns = columns,
    .n_constraints = 5,
    .constraints = constraints,
    .n_indexes = 3,
    .indexes = indexes,
    .n_grants = 3,
    .grants = grants,
};

static const char spec_text[] =
    "migration: typo\n"
    "database: shop\n"
    "lenses:\n"
    "  - kind: table\n"
    "    old: public.inovices\n"
    "    new: public.invoices\n"
    "    key: [id]\n"
    "    columns:\n"
    "      - {old: customr, new: customer}\n"
    "      - old: amount\n"
    "        new: {name: amount_cents, type: bigint}\n"
    "        forward: (amount * 100)::bigint\n"
    "        reverse: (amount_cents / 100)::integer\n";

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

static struct ddl_list move(struct fixture *f, enum phase from, enum phase to,
			    bool before, bool generated)
{
	struct ddl_list list;

	ddl_for_move(f->lens, from, to, before, generated, &f->a, &list);
	return list;
}

static const char *find(const struct ddl_list *list, const char *part)
{
	for (size_t i = 0; i < list->n; i++)
		if (strstr(list->steps[i].sql, part) != NULL)
			return list->steps[i].sql;
	return NULL;
}

static void has(struct fixture *f, const char *part)
{
	struct ddl_list list =
	    move(f, PHASE_PLANNED, PHASE_EXPANDED, true, true);

	if (find(&list, part) == NULL)
		fail_msg("no step has: %s", part);
}

static void lacks(struct fixture *f, const char *part)
{
	struct ddl_list list =
	    move(f, PHASE_PLANNED, PHASE_EXPANDED, true, true);
	const char *found = find(&list, part);

	if (found != NULL)
		fail_msg("a step has %s: %s", part, found);
}

static void columns_are_made_like_the_old_ones(void **state)
{
	has(*state, "id integer NOT NULL DEFAULT "
		    "nextval('public.inovices_id_seq'::regclass)");
	has(*state, "COLUMN customer SET STORAGE EXTERNAL");
	has(*state, "COLUMN customer SET STATISTICS 500");
	has(*state, "COMMENT ON COLUMN public.invoices.customer IS 'it''s'");
	has(*state, "REPLICA IDENTITY FULL");
}

static void a_check_is_computed_back_and_literals_stay(void **state)
{
	has(*state, "ADD CHECK (((CAST(((amount_cents / 100)::integer) AS "
		    "integer) > 0) AND (customer <> 'amount'::amount)))");
}

static void a_check_of_the_table_itself_is_left_out(void **state)
{
	has(*state, "left out: here of public.inovices");
	lacks(*state, "ADD CHECK ((tableoid");
}

static void a_foreign_key_keeps_the_other_tables_names(void **state)
{
	has(*state, "ADD FOREIGN KEY (parent, customer) REFERENCES "
		    "public.customrs(id, customr) ON DELETE SET NULL "
		    "(customer)");
}

static void a_foreign_key_to_itself_comes_with_write_new(void **state)
{
	struct ddl_list list;

	lacks(*state, "ADD FOREIGN KEY (parent) REFERENCES");
	list = move(*state, PHASE_READ_NEW, PHASE_WRITE_NEW, false, true);
	assert_non_null(find(&list, "'f', 'FOREIGN KEY (parent) REFERENCES "
				    "public.invoices(id)', true)"));
}

static void references_move_by_their_columns_names(void **state)
{
	struct ddl_list list =
	    move(*state, PHASE_WRITE_NEW, PHASE_READ_NEW, false, true);

	assert_non_null(find(&list, "move_references('typo', 1, "
				    "'public.invoices', 'public.inovices', "
				    "pg_catalog.jsonb_object(ARRAY['id', 'id', "
				    "'customer', 'customr'"));
}

static void an_index_follows_its_columns_unless_it_computes(void **state)
{
	has(*state, "CREATE INDEX ON public.invoices USING btree "
		    "(amount_cents DESC)");
	has(*state, "CREATE INDEX ON public.invoices USING gin "
		    "(lower(customer) gin_trgm_ops) WHERE (id > 3)");
	has(*state, "left out: computed of public.inovices");
	lacks(*state, "CREATE UNIQUE INDEX ON");
}

static void privileges_follow_their_columns(void **state)
{
	has(*state, "OWNER TO \"Owner\"");
	has(*state, "GRANT SELECT ON public.invoices TO app WITH GRANT OPTION");
	has(*state, "GRANT UPDATE (amount_cents) ON public.invoices TO PUBLIC");
	lacks(*state, "GRANT DELETE ON public.invoices TO \"Owner\"");
}

static void functions_pin_their_search_path(void **state)
{
	struct fixture *f = *state;
	struct ddl_list list =
	    move(f, PHASE_PLANNED, PHASE_EXPANDED, true, true);
	size_t functions = 0;

	for (size_t i = 0; i < list.n; i++) {
		const char *sql = list.steps[i].sql;

		if (strstr(sql, "CREATE OR REPLACE FUNCTION") == NULL ||
		    strstr(sql, "copy_row") != NULL)
			continue;
		functions++;
		assert_non_null(strstr(sql, "SET search_path = pg_catalog"));
		assert_non_null(strstr(sql, "SECURITY DEFINER"));
	}
	assert_int_equal(functions, 7);
}

/* COPY's triggers are the client's: its rights, its search_path. */
static void rows_of_copy_are_written_as_the_client(void **state)
{
	static const char *const views[] = {"_copy_old", "_copy_both",
					    "_copy_lens"};
	struct ddl_list list =
	    move(*state, PHASE_PLANNED, PHASE_EXPANDED, true, true);

	for (size_t i = 0; i < sizeof(views) / sizeof(*views); i++) {
		const char *sql = find(&list, views[i]);

		assert_non_null(sql);
		assert_null(strstr(sql, "SECURITY DEFINER"));
		assert_non_null(strstr(sql, "OVERRIDING SYSTEM VALUE"));
	}
	list = move(*state, PHASE_READ_NEW, PHASE_WRITE_NEW, true, true);
	assert_non_null(find(&list, "_copy_new"));
}

static void manual_leaves_the_models_alone(void **state)
{
	static const struct {
		enum phase from, to;
		bool before;
	} moves[] = {
	    {PHASE_PLANNED, PHASE_EXPANDED, true},
	    {PHASE_WRITE_NEW, PHASE_NEW_ONLY, false},
	    {PHASE_NEW_ONLY, PHASE_CONTRACTED, false},
	    {PHASE_EXPANDED, PHASE_PLANNED, false},
	};
	static const char *const models[] = {"CREATE TABLE", "DROP TABLE",
					     "ALTER SEQUENCE", "CREATE INDEX"};

	for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
		struct ddl_list list = move(*state, moves[i].from, moves[i].to,
					    moves[i].before, false);

		assert_true(list.n > 0);
		for (size_t m = 0; m < sizeof(models) / sizeof(*models); m++)
			assert_null(find(&list, models[m]));
	}
}

static void a_move_that_needs_nothing_runs_nothing(void **state)
{
	assert_int_equal(
	    move(*state, PHASE_DUAL_WRITE, PHASE_READ_NEW, true, true).n, 0);
	assert_int_equal(
	    move(*state, PHASE_DUAL_WRITE, PHASE_READ_NEW, false, true).n, 0);
	assert_int_equal(
	    move(*state, PHASE_PLANNED, PHASE_CONTRACTED, false, true).n, 0);
}

static void live_relations_are_held_while_they_are_locked(void **state)
{
	struct ddl_list list =
	    move(*state, PHASE_EXPANDED, PHASE_DUAL_WRITE, true, true);
	bool held = false;

	for (size_t i = 0; i < list.n; i++) {
		held |= list.steps[i].locks_source;
		assert_int_equal(list.steps[i].locks_source,
				 strstr(list.steps[i].sql, "TRIGGER") != NULL);
	}
	assert_true(held);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(columns_are_made_like_the_old_ones),
	    CASE(a_check_is_computed_back_and_literals_stay),
	    CASE(a_check_of_the_table_itself_is_left_out),
	    CASE(a_foreign_key_keeps_the_other_tables_names),
	    CASE(a_foreign_key_to_itself_comes_with_write_new),
	    CASE(references_move_by_their_columns_names),
	    CASE(an_index_follows_its_columns_unless_it_computes),
	    CASE(privileges_follow_their_columns),
	    CASE(functions_pin_their_search_path),
	    CASE(rows_of_copy_are_written_as_the_client),
	    CASE(manual_leaves_the_models_alone),
	    CASE(a_move_that_needs_nothing_runs_nothing),
	    CASE(live_relations_are_held_while_they_are_locked),
	};
#undef CASE

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "rewrite/lens/lens_child.h"
#include "rewrite/rewrite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off */
static const struct column old_columns[] = {
	{.name = "id", .type = "integer"}, {.name = "customr", .type = "text"},
	{.name = "amount", .type = "integer"},
};
static const struct column new_columns[] = {
	{.name = "invoice_id", .type = "integer"},
	{.name = "customer", .type = "text"},
	{.name = "amount_cents", .type = "bigint"},
};
static const char *const old_key[] = {"id"}, *const new_key[] = {"invoice_id"};
static const char *const old_names[] = {"customr", "id"};
static const char *const new_names[] = {"customer", "invoice_id"};
static const char *const old_amount[] = {"amount"};
static const char *const new_amount[] = {"amount_cents"};
static const struct constraint old_constraints[] = {
	{.name = "inovices_pkey", .kind = 'p', .n_columns = 1, .columns = old_key},
	{.name = "inovices_u", .kind = 'u', .n_columns = 2, .columns = old_names},
	{.name = "positive", .kind = 'c', .n_columns = 1, .columns = old_amount},
	{.name = "amount_unique", .kind = 'u', .n_columns = 1, .columns = old_amount},
};
static const struct constraint new_constraints[] = {
	{.name = "invoices_customer_key", .kind = 'u', .n_columns = 2, .columns = new_names},
	{.name = "invoices_pkey", .kind = 'p', .n_columns = 1, .columns = new_key},
	{.name = "cents_positive", .kind = 'c', .n_columns = 1, .columns = new_amount},
	{.name = "only_new", .kind = 'c', .n_columns = 1, .columns = new_key},
	{.name = "cents_unique", .kind = 'u', .n_columns = 1, .columns = new_amount},
};
static const char *const expression[] = {NULL};
static const struct index old_indexes[] = {
	{.name = "inovices_upper", .unique = true, .n_columns = 1, .columns = expression,
	 .definition = "CREATE UNIQUE INDEX inovices_upper ON public.inovices USING btree (upper(customr))"},
	{.name = "inovices_lower", .unique = true, .n_columns = 1, .columns = expression,
	 .definition = "CREATE UNIQUE INDEX inovices_lower ON public.inovices USING btree (lower(customr))"},
};
static const struct index new_indexes[] = {
	{.name = "invoices_lower_idx", .unique = true, .n_columns = 1, .columns = expression,
	 .definition = "CREATE UNIQUE INDEX invoices_lower_idx ON shop.invoices USING btree (lower(customer))"},
};
static const struct relation old_relation = {
	.schema = "public", .name = "inovices", .n_columns = 3,
	.columns = old_columns, .n_constraints = 4,
	.constraints = old_constraints, .n_indexes = 2,
	.indexes = old_indexes,
};
static const struct relation new_relation = {
	.schema = "shop", .name = "invoices", .n_columns = 3,
	.columns = new_columns, .n_constraints = 5,
	.constraints = new_constraints, .n_indexes = 1,
	.indexes = new_indexes,
};
static const char *const pieces[] = {"", " * 100"};
static const unsigned amount_column[] = {2};
static const struct lens_new news[] = {
	{.column = &new_columns[0], .carried = true, .old_index = 0},
	{.column = &new_columns[1], .carried = true, .old_index = 1},
	{.column = &new_columns[2],
	 .forward = {.n = 1, .text = pieces, .column = amount_column}},
};
static const struct lens_old olds[] = {
	{.column = &old_columns[0], .carried = true, .new_index = 0},
	{.column = &old_columns[1], .carried = true, .new_index = 1},
	{.column = &old_columns[2]},
};
/* clang-format on */

static const struct lens lens = {
    .migration = "typo",
    .number = 1,
    .old = &old_relation,
    .new = &new_relation,
    .n_old = 3,
    .olds = olds,
    .n_new = 3,
    .news = news,
};
static const struct lens *const lenses[] = {&lens};
static const struct rule_migration migration = {
    .phase = PHASE_WRITE_NEW,
    .n_lenses = 1,
    .lenses = lenses,
};
static const struct rule_name name = {
    .shape = SHAPE_OLD, .rule = &migration, .through = &lens};
static const struct ruleset rules = {
    .n_migrations = 1,
    .migrations = &migration,
    .n_names = 1,
    .names = &name,
};

/* What the server says of the new model, and what the client is told. */
struct error_case {
	struct error_names in, out;
};

/* clang-format off */
static const struct error_case cases[] = {
	{{.message = "duplicate key value violates unique constraint \"invoices_pkey\"",
	  .detail = "Key (invoice_id)=(5) already exists.",
	  .schema = "shop", .table = "invoices", .constraint = "invoices_pkey"},
	 {.message = "duplicate key value violates unique constraint \"inovices_pkey\"",
	  .detail = "Key (id)=(5) already exists.",
	  .schema = "public", .table = "inovices", .constraint = "inovices_pkey"}},
	{{.message = "duplicate key value violates unique constraint \"invoices_customer_key\"",
	  .detail = "Key (customer, invoice_id)=(a, 5) already exists.",
	  .schema = "shop", .table = "invoices", .constraint = "invoices_customer_key"},
	 {.message = "duplicate key value violates unique constraint \"inovices_u\"",
	  .detail = "Key (customr, id)=(a, 5) already exists.",
	  .schema = "public", .table = "inovices", .constraint = "inovices_u"}},
	{{.message = "null value in column \"customer\" of relation \"invoices\" violates not-null constraint",
	  .schema = "shop", .table = "invoices", .column = "customer"},
	 {.message = "null value in column \"customr\" of relation \"inovices\" violates not-null constraint",
	  .schema = "public", .table = "inovices", .column = "customr"}},
	{{.message = "null value in column \"amount_cents\" of relation \"invoices\" violates not-null constraint",
	  .schema = "shop", .table = "invoices", .column = "amount_cents"},
	 {.message = "null value in column \"amount\" of relation \"inovices\" violates not-null constraint",
	  .schema = "public", .table = "inovices", .column = "amount"}},
	{{.message = "new row for relation \"invoices\" violates check constraint \"cents_positive\"",
	  .schema = "shop", .table = "invoices", .constraint = "cents_positive"},
	 {.message = "new row for relation \"inovices\" violates check constraint \"positive\"",
	  .schema = "public", .table = "inovices", .constraint = "positive"}},
	{{.message = "new row for relation \"invoices\" violates check constraint \"only_new\"",
	  .schema = "shop", .table = "invoices", .constraint = "only_new"},
	 {.message = "new row for relation \"inovices\" violates check constraint \"only_new\"",
	  .schema = "public", .table = "inovices", .constraint = "only_new"}},
	{{.message = "column \"nosuch\" of relation \"typo_1_lens\" does not exist"},
	 {.message = "column \"nosuch\" of relation \"inovices\" does not exist"}},
	{{.message = "column \"x\" of relation \"typo_1_shape\" does not exist"},
	 {.message = "column \"x\" of relation \"inovices\" does not exist"}},
	/* what is the client's own word, or data, stays */
	{{.sqlstate = "42703", .message = "column \"amount_cents\" does not exist"},
	 {.message = "column \"amount_cents\" does not exist"}},
	{{.sqlstate = "42703", .message = "column \"new.amount_cents\" does not exist"},
	 {.message = "column \"amount\" does not exist"}},
	{{.sqlstate = "42803", .message = "column \"i.new.amount_cents\" must appear in GROUP BY"},
	 {.message = "column \"i.amount\" must appear in GROUP BY"}},
	{{.sqlstate = "22P02", .message = "invalid input syntax for type integer: \"invoices\""},
	 {.message = "invalid input syntax for type integer: \"invoices\""}},
	{{.sqlstate = "42501", .message = "permission denied for table invoices"},
	 {.message = "permission denied for table inovices"}},
	/* values of converted columns are not shown, unless the constraint is
	 * the new model's alone */
	{{.sqlstate = "23514", .message = "m", .detail = "Failing row contains (1, a, -100).",
	  .table = "invoices", .constraint = "cents_positive"},
	 {.message = "m", .table = "inovices", .constraint = "positive"}},
	{{.sqlstate = "23502", .message = "m", .detail = "Failing row contains (1, null, 100).",
	  .table = "invoices", .column = "customer"},
	 {.message = "m", .table = "inovices", .column = "customr"}},
	{{.sqlstate = "23505", .message = "m", .detail = "Key (amount_cents)=(100) already exists.",
	  .table = "invoices", .constraint = "cents_unique"},
	 {.message = "m", .table = "inovices", .constraint = "amount_unique"}},
	{{.sqlstate = "23P01", .message = "m",
	  .detail = "Key (customer)=(a) conflicts with existing key (customer)=(b).",
	  .table = "invoices"},
	 {.message = "m", .table = "inovices",
	  .detail = "Key (customr)=(a) conflicts with existing key (customr)=(b)."}},
	{{.sqlstate = "23505", .message = "unique constraint \"invoices_lower_idx\"",
	  .detail = "Key (lower(customer))=(a) already exists.",
	  .table = "invoices", .constraint = "invoices_lower_idx"},
	 {.message = "unique constraint \"inovices_lower\"",
	  .table = "inovices", .constraint = "inovices_lower"}},
	{{.sqlstate = "23503", .message = "update or delete on table \"invoices\" violates foreign key constraint \"f\" on table \"payments\"",
	  .detail = "Key (invoice_id)=(1) is still referenced from table \"payments\".",
	  .table = "payments", .constraint = "f"},
	 {.message = "update or delete on table \"inovices\" violates foreign key constraint \"f\" on table \"payments\"",
	  .detail = "Key (id)=(1) is still referenced from table \"payments\".",
	  .table = "payments", .constraint = "f"}},
	/* our functions are nobody's business; what they set off is */
	{{.message = "m", .context = "SQL statement \"INSERT\n\"x\"\"\nPL/pgSQL function pgtandem.typo_1_to_new(bigint,integer) line 14 at SQL statement"},
	 {.message = "m"}},
	{{.message = "m", .context = "PL/pgSQL function f() line 1 at RAISE\nSQL statement \"INSERT\"\nPL/pgSQL function pgtandem.typo_1_to_new(bigint,integer) line 14 at SQL statement\nPL/pgSQL function g() line 2"},
	 {.message = "m", .context = "PL/pgSQL function f() line 1 at RAISE\nPL/pgSQL function g() line 2"}},
	{{.message = "m", .context = "SQL statement \"INSERT\nINTO x\"\nPL/pgSQL function pgtandem.typo_1_copy_old() line 5 at SQL statement\nCOPY typo_1_copy_old, line 2: \"7\""},
	 {.message = "m", .context = "COPY inovices, line 2: \"7\""}},
	{{.message = "m", .context = "PL/pgSQL function f() line 1 at RAISE"},
	 {.message = "m", .context = "PL/pgSQL function f() line 1 at RAISE"}},
	{{.message = "relation \"other\" says \"invoice_id", .table = "other",
	  .schema = "shop", .column = "customer"},
	 {.message = "relation \"other\" says \"invoice_id", .table = "other",
	  .schema = "shop", .column = "customer"}},
};
/* clang-format on */

static void check_text(const char *got, const char *want)
{
	assert_int_equal(got == NULL, want == NULL);
	if (want != NULL)
		assert_string_equal(got, want);
}

static void errors_speak_of_the_old_model(void **state)
{
	struct plan plan = {.kind = PLAN_EDIT, .old_shape = 1};
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct error_names *want = &cases[i].out;
		struct error_names e = cases[i].in;

		if (e.sqlstate == NULL)
			e.sqlstate = "23505";
		plan_map_error(&plan, &rules, &e, &a);
		check_text(e.message, want->message);
		check_text(e.detail, want->detail);
		check_text(e.context, want->context);
		check_text(e.schema, want->schema);
		check_text(e.table, want->table);
		check_text(e.column, want->column);
		check_text(e.constraint, want->constraint);
	}
	arena_free(&a);
}

static void a_row_of_both_models_is_cut(void **state)
{
	static const struct {
		enum phase phase;
		const char *in, *out;
	} rows[] = {
	    {PHASE_PLANNED, "Failing row contains (1, a, 2).",
	     "Failing row contains (1, a, 2)."},
	    {PHASE_EXPANDED, "Failing row contains (1, a, 2, null).",
	     "Failing row contains (1, a, 2)."},
	    {PHASE_READ_NEW, "Failing row contains (1, a, 2, 200).",
	     "Failing row contains (1, a, 2)."},
	    {PHASE_READ_NEW, "Failing row contains (1, a, b, 2, 200).", NULL},
	    {PHASE_READ_NEW, "Failing row contains (1, 2).", NULL},
	    {PHASE_WRITE_NEW, "Failing row contains (1, a, 2, 200).", NULL},
	};
	struct plan plan = {.kind = PLAN_EDIT, .old_shape = 1};
	struct rule_migration at = migration;
	struct lens both = lens;
	const struct rule_name own = {
	    .shape = SHAPE_OLD, .rule = &at, .through = &both};
	const struct ruleset of_both = {.n_names = 1, .names = &own};
	struct arena a;

	arena_init(&a);
	both.kind = LENS_COLUMNS;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct error_names e = {.sqlstate = "23502",
					.table = "invoices",
					.detail = rows[i].in};

		at.phase = rows[i].phase;
		plan_map_error(&plan, &of_both, &e, &a);
		check_text(e.detail, rows[i].out);
	}
	arena_free(&a);
}

static void a_writer_of_the_new_shape_does_not_see_old_columns(void **state)
{
	struct plan plan = {.kind = PLAN_EDIT, .migrations = 1};
	const struct rule_name *const shared = &(struct rule_name){
	    .shape = SHAPE_OLD,
	    .shared = true,
	    .rule = &migration,
	    .through = &(struct lens){
		.migration = "typo",
		.number = 1,
		.kind = LENS_COLUMNS,
		.old = &old_relation,
		.new = &old_relation,
		.n_old = 3,
		.olds = (struct lens_old[]){olds[0],
					    olds[1],
					    {.column = &old_columns[2],
					     .reverse = {.n = 1,
							 .text = pieces,
							 .column =
							     amount_column}}},
		.n_new = 3,
		.news = news}};
	const struct ruleset of_both = {.n_names = 1, .names = shared};
	struct error_names e = {
	    .sqlstate = "23502",
	    .message = "null value in column \"amount\" of relation "
		       "\"inovices\" violates not-null constraint",
	    .detail = "Failing row contains (1, a, null, null).",
	    .table = "inovices",
	    .column = "amount"};
	struct arena a;

	arena_init(&a);
	plan_map_error(&plan, &of_both, &e, &a);
	check_text(e.column, "amount_cents");
	check_text(e.message, "null value in column \"amount_cents\" of "
			      "relation \"inovices\" violates not-null "
			      "constraint");
	check_text(e.detail, "Failing row contains (1, a, null).");
	arena_free(&a);
}

/* The column customr has become the rows of a table. */
static void errors_of_a_child_are_those_of_the_column(void **state)
{
	static const char *const names[] = {"name"}, *const old[] = {"customr"};
	const struct constraint own = {
	    .name = "child_fk", .kind = 'f', .n_columns = 1, .columns = names};
	const struct constraint works = {
	    .name = "works_at", .kind = 'f', .n_columns = 1, .columns = old};
	const struct relation rows = {
	    .name = "rows", .n_constraints = 1, .constraints = &own};
	const struct relation before = {.schema = "public",
					.name = "inovices",
					.n_constraints = 1,
					.constraints = &works};
	const struct column column = {.name = "name"};
	const struct child_column columns = {
	    .column = &column, .plain = true, .old_index = 1};
	const struct lens_child child = {
	    .relation = &rows, .n_columns = 1, .columns = &columns};
	struct plan plan = {.kind = PLAN_EDIT, .old_shape = 1};
	struct lens moved = lens;
	const struct rule_name name_of = {
	    .shape = SHAPE_OLD, .rule = &migration, .through = &moved};
	const struct ruleset of_child = {.n_names = 1, .names = &name_of};
	struct error_names e = {
	    .sqlstate = "23503",
	    .message = "insert or update on table \"rows\" violates foreign "
		       "key constraint \"child_fk\"",
	    .detail = "Key (name)=(x) is not present in table \"names\".",
	    .schema = "shop",
	    .table = "rows",
	    .constraint = "child_fk"};
	struct arena a;

	arena_init(&a);
	moved.kind = LENS_CHILD;
	moved.child = &child;
	moved.old = &before;
	plan_map_error(&plan, &of_child, &e, &a);
	check_text(e.message, "insert or update on table \"inovices\" violates "
			      "foreign key constraint \"works_at\"");
	check_text(e.detail,
		   "Key (customr)=(x) is not present in table \"names\".");
	check_text(e.schema, "public");
	check_text(e.table, "inovices");
	check_text(e.constraint, "works_at");
	arena_free(&a);
}

static void errors_of_the_new_shape_stay(void **state)
{
	struct plan plan = {.kind = PLAN_EDIT};
	struct error_names e = cases[0].in;
	struct arena a;

	e.sqlstate = "23505";
	arena_init(&a);
	plan_map_error(&plan, &rules, &e, &a);
	assert_string_equal(e.table, "invoices");
	assert_string_equal(e.message, cases[0].in.message);
	arena_free(&a);
}

static void positions_count_characters(void **state)
{
	/* é is two bytes: "é FROM t WHERE" -> "é FROM (xx) WHERE ü" */
	static const char sql[] = "\303\251 FROM t WHERE";
	static const struct plan_edit edits[] = {
	    {.from = 8, .removed = 1, .at = 8, .added = 4, .source = 8},
	    {.from = 15, .at = 18, .added = 3, .source = PLAN_OURS},
	};
	static const struct plan plan = {
	    .kind = PLAN_EDIT,
	    .text = "\303\251 FROM (xx) WHERE \303\274",
	    .len = 21,
	    .n_edits = 2,
	    .edits = edits,
	};
	static const struct {
		uint32_t sent, client;
	} places[] = {
	    {0, 0}, {1, 1}, {2, 2}, {7, 7}, {8, 8}, {10, 8}, {12, 9}, {13, 10},
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		assert_int_equal(
		    plan_map_position(&plan, sql, strlen(sql), places[i].sent),
		    places[i].client);
	assert_int_equal(plan_map_position(&plan, sql, strlen(sql), 19), 0);
}

static void a_position_behind_what_was_taken_out_is_its_beginning(void **state)
{
	static const struct plan_edit edits[] = {
	    {.from = 7, .removed = 7, .at = 7, .source = PLAN_OURS},
	};
	static const char sql[] = "SELECT public.t.a";
	const struct plan plan = {.kind = PLAN_EDIT,
				  .text = "SELECT t.a",
				  .len = 10,
				  .n_edits = 1,
				  .edits = edits};

	(void)state;
	assert_int_equal(plan_map_position(&plan, sql, strlen(sql), 1), 1);
	assert_int_equal(plan_map_position(&plan, sql, strlen(sql), 8), 8);
	assert_int_equal(plan_map_position(&plan, sql, strlen(sql), 10), 17);
}

static void positions_of_a_text_that_passed_stay(void **state)
{
	static const struct plan plan = {.kind = PLAN_PASS};

	assert_int_equal(plan_map_position(&plan, "SELECT", 6, 4), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(errors_speak_of_the_old_model),
	    cmocka_unit_test(a_row_of_both_models_is_cut),
	    cmocka_unit_test(
		a_writer_of_the_new_shape_does_not_see_old_columns),
	    cmocka_unit_test(errors_of_a_child_are_those_of_the_column),
	    cmocka_unit_test(errors_of_the_new_shape_stay),
	    cmocka_unit_test(positions_count_characters),
	    cmocka_unit_test(
		a_position_behind_what_was_taken_out_is_its_beginning),
	    cmocka_unit_test(positions_of_a_text_that_passed_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

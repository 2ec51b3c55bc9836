#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/lens/lens.h"
#include "rewrite/lens/template.h"

/* clang-format off */
static const struct column old_columns[] = {
	{.name = "id", .type = "integer", .attnum = 1, .not_null = true,
	 .typmod = -1, .sequence = "public.inovices_id_seq",
	 .default_expr = "nextval('public.inovices_id_seq'::regclass)"},
	{.name = "customr", .type = "text", .attnum = 2, .typmod = -1},
	{.name = "amount", .type = "integer", .attnum = 3, .not_null = true,
	 .typmod = -1, .default_expr = "7"},
	{.name = "Phone No", .type = "character varying(12)", .attnum = 4,
	 .typmod = 16},
	{.name = "order", .type = "integer", .attnum = 5, .typmod = -1},
};
/* clang-format on */

static const char *const id_only[] = {"id"};
/* clang-format off */
static const struct constraint old_constraints[] = {
	{.name = "inovices_pkey", .kind = CONSTRAINT_PRIMARY,
	 .definition = "PRIMARY KEY (id)", .n_columns = 1, .columns = id_only},
};
/* clang-format on */

static const struct relation old_relation = {
    .schema = "public",
    .name = "inovices",
    .kind = 'r',
    .n_columns = 5,
    .columns = old_columns,
    .n_constraints = 1,
    .constraints = old_constraints,
};

static const char *const col_customr[] = {"customr"};
static const char *const col_amount[] = {"amount"};
static const char *const col_phone[] = {"Phone No"};
static const char *const reverse_amount[] = {"(amount_cents / 100)::integer"};
static const char *const reverse_phone[] = {"'0' || phone"};
static const char *const reverse_junk[] = {"nothing"};
static const struct spec_key key_id[] = {{"id", "id"}};

/* clang-format off */
static const struct spec_column entries[] = {
	{.n_old = 1, .old = col_customr, .new_name = "customer", .line = 5},
	{.n_old = 1, .old = col_amount, .new_name = "amount_cents",
	 .new_type = "bigint", .forward = "(amount * 100)::bigint",
	 .reverse = reverse_amount, .bijective = true, .line = 6},
	{.n_old = 1, .old = col_phone, .new_name = "phone",
	 .new_type = "varchar(11)", .forward = "substr(\"Phone No\", 2)",
	 .reverse = reverse_phone, .line = 9},
};
/* clang-format on */

struct fixture {
	struct arena arena;
	struct spec_lens in;
	struct spec spec;
	struct spec_column columns[4];
	struct problem problem;
	const struct lens *lens;
};

static int set_up(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	arena_init(&f.arena);
	memcpy(f.columns, entries, sizeof(entries));
	f.in = (struct spec_lens){.kind = LENS_TABLE,
				  .old = {"public", "inovices"},
				  .new = {"public", "invoices"},
				  .n_key = 1,
				  .key = key_id,
				  .n_columns = 3,
				  .columns = f.columns,
				  .line = 3};
	f.spec = (struct spec){
	    .file = "m.yaml", .name = "m", .n_lenses = 1, .lenses = &f.in};
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	arena_free(&f->arena);
	return 0;
}

static void compile(struct fixture *f, const struct relation *new)
{
	if (!lens_compile(&f->spec, 1, &old_relation, new, &f->arena, &f->lens,
			  &f->problem))
		fail_msg("%s %s", f->problem.message, f->problem.detail);
}

static void refuses(struct fixture *f, const struct relation *new,
		    const char *message)
{
	assert_false(lens_compile(&f->spec, 1, &old_relation, new, &f->arena,
				  &f->lens, &f->problem));
	if (strstr(f->problem.message, message) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", message,
			 f->problem.message);
}

static void a_new_relation_is_worked_out_from_the_old(void **state)
{
	struct fixture *f = *state;
	const struct column *c;

	compile(f, NULL);
	c = f->lens->new->columns;
	assert_int_equal(f->lens->n_new, 5);
	assert_string_equal(c[0].default_expr, old_columns[0].default_expr);
	assert_string_equal(c[0].sequence, old_columns[0].sequence);
	assert_true(c[0].not_null);
	assert_string_equal(c[1].name, "customer");
	assert_string_equal(c[1].type, "text");
	assert_false(c[1].not_null);
	assert_string_equal(c[2].name, "amount_cents");
	assert_string_equal(c[2].type, "bigint");
	assert_true(c[2].not_null);
	assert_string_equal(c[2].default_expr,
			    "((CAST(7 AS integer) * 100)::bigint)");
	assert_string_equal(c[3].name, "phone");
	assert_null(c[3].default_expr);
	assert_string_equal(c[4].name, "order");
	assert_int_equal(c[4].attnum, 5);
	assert_string_equal(f->lens->new_ref, "public.invoices");
	assert_string_equal(f->lens->to_new_ref, "pgtandem.m_1_to_new");
}

static void mappings_read_as_sql_with_a_prefix(void **state)
{
	struct fixture *f = *state;
	struct arena *a = &f->arena;

	compile(f, NULL);
	assert_string_equal(lens_forward(f->lens, 0, "o.", a), "o.id");
	assert_string_equal(lens_forward(f->lens, 1, "o.", a), "o.customr");
	assert_string_equal(lens_forward(f->lens, 2, "o.", a),
			    "CAST(((o.amount * 100)::bigint) AS bigint)");
	assert_string_equal(lens_forward(f->lens, 3, "", a),
			    "CAST((substr(\"Phone No\", 2)) AS "
			    "character varying)");
	assert_string_equal(lens_forward(f->lens, 4, "o.", a), "o.\"order\"");
	assert_string_equal(lens_reverse(f->lens, 1, "n.", a), "n.customer");
	assert_string_equal(lens_reverse(f->lens, 2, "n.", a),
			    "CAST(((n.amount_cents / 100)::integer) AS "
			    "integer)");
	assert_string_equal(lens_reverse(f->lens, 3, "", a),
			    "CAST(('0' || phone) AS character varying(12))");
	assert_true(f->lens->olds[2].bijective);
	assert_false(f->lens->olds[3].bijective);
}

static void an_existing_relation_is_compared(void **state)
{
	struct fixture *f = *state;
	struct column c[] = {
	    {.name = "phone", .type = "character varying(11)"},
	    {.name = "order", .type = "bigint"},
	    {.name = "id", .type = "integer", .not_null = true},
	    {.name = "note", .type = "text"},
	    {.name = "customer", .type = "text"},
	    {.name = "amount_cents", .type = "bigint", .not_null = true},
	};
	const struct relation new = {.schema = "public",
				     .name = "invoices",
				     .n_columns = 6,
				     .columns = c};

	compile(f, &new);
	assert_true(f->lens->news[3].extra);
	assert_null(lens_forward(f->lens, 3, "", &f->arena));
	assert_false(f->lens->news[1].carried);
	assert_string_equal(lens_forward(f->lens, 1, "o.", &f->arena),
			    "CAST((o.\"order\") AS bigint)");
	assert_string_equal(lens_reverse(f->lens, 4, "n.", &f->arena),
			    "CAST((n.\"order\") AS integer)");
	assert_int_equal(f->lens->key[0].new_index, 2);
	c[3].not_null = true;
	refuses(f, &new, "needs a default");
	c[3].default_expr = "''";
	compile(f, &new);
	c[5].type = "integer";
	refuses(f, &new, "is integer, not bigint");
	c[5].type = "int8";
	compile(f, &new);
	c[5].name = "cents";
	refuses(f, &new, "\"amount_cents\" does not exist");
	c[5].name = "amount_cents";
	c[1].name = "sequence";
	refuses(f, &new, "\"order\" has no place");
	c[1].name = "order";
	c[2].type = "bigint";
	refuses(f, &new, "key column \"id\" must be carried");
}

static void a_specification_that_cannot_work_is_refused(void **state)
{
	struct fixture *f = *state;
	static const struct spec_key key_amount[] = {{"amount", "amount"}};
	static const struct spec_key key_none[] = {{"nr", "nr"}};
	static const struct spec_key key_order[] = {{"order", "order"}};

	f->columns[1].reverse = NULL;
	f->columns[1].bijective = false;
	refuses(f, NULL, "m.yaml:6: column \"amount\" has no way back");
	f->columns[1] = entries[1];
	f->columns[1].reverse = reverse_junk;
	refuses(f, NULL, "column \"nothing\" does not exist");
	assert_non_null(strstr(f->problem.detail,
			       "id, customer, amount_cents, phone, order"));
	f->columns[1] = entries[1];
	f->columns[1].new_name = "id";
	refuses(f, NULL, "\"id\" of public.invoices is made twice");
	f->columns[1] = entries[1];
	f->columns[1].new_type = "bigint) + CAST(NULL AS int";
	refuses(f, NULL, "not a type name");
	f->columns[1] = entries[1];
	f->columns[1].forward = "amount * id";
	refuses(f, NULL, "bijective forward");
	f->columns[1] = entries[1];
	f->columns[1].bijective = false;
	f->columns[1].order = ORDER_PRESERVING;
	refuses(f, NULL, "order: preserving is for what is bijective");
	f->columns[1] = entries[1];
	f->in.key = key_amount;
	refuses(f, NULL, "key column \"amount\" must be carried");
	f->in.key = key_none;
	refuses(f, NULL, "key column \"nr\" does not exist");
	f->in.key = key_order;
	refuses(f, NULL, "key column \"order\" may be NULL");
	f->in.key = key_id;
}

static void a_key_may_be_renamed(void **state)
{
	struct fixture *f = *state;
	static const struct spec_key key[] = {{"id", "invoice_id"}};

	f->in.key = key;
	compile(f, NULL);
	assert_string_equal(f->lens->new->columns[0].name, "invoice_id");
	assert_string_equal(lens_forward(f->lens, 0, "", &f->arena), "id");
	assert_string_equal(lens_reverse(f->lens, 0, "", &f->arena),
			    "invoice_id");
}

static void several_old_columns_make_one_new(void **state)
{
	static const char *const two[] = {"customr", "order"};
	static const char *const back[] = {"split_part(\"both\", '/', 1)",
					   "split_part(\"both\", '/', 2)::int"};
	struct fixture *f = *state;

	f->columns[0] =
	    (struct spec_column){.n_old = 2,
				 .old = two,
				 .new_name = "both",
				 .new_type = "text",
				 .forward = "customr || '/' || \"order\"",
				 .reverse = back};
	compile(f, NULL);
	assert_int_equal(f->lens->n_new, 4);
	assert_string_equal(f->lens->new->columns[1].name, "both");
	assert_false(f->lens->new->columns[1].not_null);
	assert_string_equal(lens_forward(f->lens, 1, "r.", &f->arena),
			    "CAST((r.customr || '/' || r.\"order\") AS text)");
	assert_string_equal(lens_reverse(f->lens, 4, "", &f->arena),
			    "CAST((split_part(\"both\", '/', 2)::int) AS "
			    "integer)");
}

/* clang-format off */
static const struct {
	const char *expression;
	const char *refusal;	/* NULL: `joined` comes out */
	const char *joined;	/* each column becomes <name> */
} expressions[] = {
	{"amount", NULL, "<amount>"},
	{"  amount\n", NULL, "<amount>"},
	{"AMOUNT + \"amount\"", NULL, "<amount> + <amount>"},
	{"\"Phone No\"IS NULL", NULL, "<Phone No> IS NULL"},
	{"NOT\"amount\"::bool", NULL, "NOT <amount>::bool"},
	{"'amount' || /* amount */ customr", NULL,
	 "'amount' || /* amount */ <customr>"},
	{"amount -- last\n + 1", NULL, "<amount> -- last\n + 1"},
	{"CASE WHEN amount > 0 THEN 'a' ELSE customr END::text", NULL,
	 "CASE WHEN <amount> > 0 THEN 'a' ELSE <customr> END::text"},
	{"amount) + (amount", NULL, "<amount>) + (<amount>"},
	{"amount&id", NULL, "<amount>&<id>"},
	{"$tag$amount$tag$ || $$id$$", NULL, "$tag$amount$tag$ || $$id$$"},
	{"E'\\' amount' || customr", NULL, "E'\\' amount' || <customr>"},
	{"coalesce(customr, string_agg)", "\"string_agg\" does not exist", 0},
	{"amount -- last", "syntax error", NULL},
	{"amount /* open", "unterminated", NULL},
	{"", "syntax error", NULL},
	{"amount, id", "not one SQL expression", NULL},
	{"amount), (id", "not one SQL expression", NULL},
	{"amount) FROM inovices WHERE (true", "not one SQL expression", NULL},
	{"amount); DROP TABLE x; SELECT (1", "not one SQL expression", NULL},
	{"amount) UNION SELECT (1", "not one SQL expression", NULL},
	{"(SELECT 1)", "a subquery", NULL},
	{"EXISTS (SELECT 1)", "a subquery", NULL},
	{"ARRAY(SELECT 1)", "a subquery", NULL},
	{"amount + $1", "a parameter", NULL},
	{"count(*)", "an aggregate", NULL},
	{"sum(amount) FILTER (WHERE true)", "an aggregate", NULL},
	{"array_agg(amount ORDER BY id)", "an aggregate", NULL},
	{"sum(amount) OVER ()", "a window function", NULL},
	{"inovices.amount", "a qualified column", NULL},
	{"inovices.*", "*", NULL},
	{"*", "*", NULL},
	{"U&\"amount\"", "Unicode", NULL},
	{"inovices", "\"inovices\" does not exist", NULL},
};
/* clang-format on */

static void expressions_are_cut_at_their_columns(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"<id>", "<customr>", "<amount>",
					    "<Phone No>", "<order>"};

	for (size_t i = 0; i < sizeof(expressions) / sizeof(*expressions);
	     i++) {
		const char *values[8], *text = expressions[i].expression;
		struct template t;
		bool ok = template_parse(text, old_columns, 5, NULL, &f->arena,
					 &t, &f->problem);

		if (ok != (expressions[i].refusal == NULL))
			fail_msg("%s: %s", text,
				 ok ? "not refused" : f->problem.message);
		if (!ok && !strstr(f->problem.message, expressions[i].refusal))
			fail_msg("%s: %s", text, f->problem.message);
		for (size_t j = 0; ok && j < t.n; j++)
			values[j] = names[t.column[j]];
		if (ok)
			assert_string_equal(
			    template_join(&t, values, &f->arena),
			    expressions[i].joined);
	}
}

/* clang-format off */
static const struct known_name known_functions[] = {
	{"substr", "pg_catalog"}, {"to cents", "Shop"}, {"left", "pg_catalog"},
};
static const struct known_name known_types[] = {
	{"text", "pg_catalog"}, {"money", "pg_catalog"}, {"cents", "Shop"},
	{"date", "pg_catalog"},
};
static const struct known_names known = {
	3, 4, known_functions, known_types,
};

static const struct {
	const char *expression, *joined; /* NULL: refused */
} known_expressions[] = {
	{"substr(customr, 3)", "pg_catalog.substr(<customr>, 3)"},
	{"SUBSTR (customr, 3)::text[]",
	 "pg_catalog.SUBSTR (<customr>, 3)::pg_catalog.text[]"},
	{"\"to cents\"(amount+left('1',1)::int)",
	 "\"Shop\".\"to cents\"(<amount>+pg_catalog.left('1',1)::int)"},
	{"CAST(amount AS cents)", "CAST(<amount> AS \"Shop\".cents)"},
	{"money(amount)", "pg_catalog.money(<amount>)"},
	{"date '2024-01-01' + amount",
	 "pg_catalog.date '2024-01-01' + <amount>"},
	{"other.f(amount)::other.t", "other.f(<amount>)::other.t"},
	{"substring(customr FROM 1) || trim(customr)",
	 "substring(<customr> FROM 1) || trim(<customr>)"},
	{"extract(year FROM now_of(1))", NULL},
	{"coalesce(amount, 0)::numeric(8, 2)",
	 "coalesce(<amount>, 0)::numeric(8, 2)"},
	{"amount::dollars", NULL},
	{"\"Substr\"(customr, 1)", NULL},
};
/* clang-format on */

static void functions_and_types_get_their_schemas(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"<id>", "<customr>", "<amount>",
					    "<Phone No>", "<order>"};

	for (size_t i = 0;
	     i < sizeof(known_expressions) / sizeof(*known_expressions); i++) {
		const char *values[8], *text = known_expressions[i].expression;
		struct template t;
		bool ok = template_parse(text, old_columns, 5, &known,
					 &f->arena, &t, &f->problem);

		if (ok != (known_expressions[i].joined != NULL))
			fail_msg("%s: %s", text,
				 ok ? "not refused" : f->problem.message);
		for (size_t j = 0; ok && j < t.n; j++)
			values[j] = names[t.column[j]];
		if (ok)
			assert_string_equal(
			    template_join(&t, values, &f->arena),
			    known_expressions[i].joined);
	}
}

static void deep_expressions_are_refused_not_followed(void **state)
{
	struct fixture *f = *state;
	char text[TEMPLATE_MAX_BYTES + 8] = "1";
	struct template t;

	for (size_t i = 1; i + 2 < TEMPLATE_MAX_BYTES; i += 2)
		memcpy(text + i, "+1", 3);
	assert_false(template_parse(text, old_columns, 5, NULL, &f->arena, &t,
				    &f->problem));
	assert_non_null(strstr(f->problem.message, "deep"));
}

/* clang-format off */
static const struct {
	const char *left, *right;
	bool same;
} types[] = {
	{"integer", "int", true},
	{"int4", "pg_catalog.int4", true},
	{"character varying(20)", "varchar(20)", true},
	{"varchar(20)", "varchar(21)", false},
	{"varchar(20)", "varchar", false},
	{"timestamp(3) with time zone", "timestamptz(3)", true},
	{"public.tax_type", "tax_type", true},
	{"public.tax_type", "shop.tax_type", false},
	{"integer[]", "int[]", true},
	{"integer[]", "integer", false},
	{"numeric(10,2)", "decimal(10, 2)", true},
	{"bigint", "integer", false},
	{"text; DROP TABLE x", "text", false},
};
/* clang-format on */

static void types_are_the_same_by_meaning(void **state)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (type_same(types[i].left, types[i].right) != types[i].same)
			fail_msg("%s, %s", types[i].left, types[i].right);
}

/* clang-format off */
static const struct {
	const char *name, *quoted;
} names[] = {
	{"invoices", "invoices"},
	{"_a1", "_a1"},
	{"Invoices", "\"Invoices\""},
	{"in voices", "\"in voices\""},
	{"a\"b", "\"a\"\"b\""},
	{"1a", "\"1a\""},
	{"", "\"\""},
	{"a$b", "\"a$b\""},
	{"r\303\251sum\303\251", "\"r\303\251sum\303\251\""},
	{"select", "\"select\""},	/* reserved */
	{"between", "\"between\""},	/* a column's name, quoted all the same */
	{"left", "\"left\""},		/* a type's or function's name */
	{"value", "value"},		/* unreserved */
	{"zone", "zone"},
	{"abort", "abort"},
};
/* clang-format on */

static void names_are_quoted_as_the_server_does(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_string_equal(quote_name(names[i].name, &f->arena),
				    names[i].quoted);
	assert_string_equal(quote_qualified("a", "B", &f->arena), "a.\"B\"");
	assert_string_equal(quote_text("it's", &f->arena), "'it''s'");
	assert_string_equal(quote_text("a\\'b", &f->arena), "E'a\\\\''b'");
}

static void a_length_is_left_to_the_assignment(void **state)
{
	struct arena *a = &((struct fixture *)*state)->arena;

	assert_string_equal(type_before_assignment("varchar(3)", a),
			    "character varying");
	assert_string_equal(type_before_assignment("character(3)[]", a),
			    "bpchar[]");
	assert_string_equal(type_before_assignment("bit", a), "bit varying");
	assert_string_equal(type_before_assignment("varchar", a), "varchar");
	assert_string_equal(type_before_assignment("numeric(9,2)", a),
			    "numeric(9,2)");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_new_relation_is_worked_out_from_the_old),
	    TEST(mappings_read_as_sql_with_a_prefix),
	    TEST(an_existing_relation_is_compared),
	    TEST(a_specification_that_cannot_work_is_refused),
	    TEST(a_key_may_be_renamed),
	    TEST(several_old_columns_make_one_new),
	    TEST(expressions_are_cut_at_their_columns),
	    TEST(functions_and_types_get_their_schemas),
	    TEST(deep_expressions_are_refused_not_followed),
	    TEST(types_are_the_same_by_meaning),
	    TEST(names_are_quoted_as_the_server_does),
	    TEST(a_length_is_left_to_the_assignment),
	};

	return cmocka_run_group_tests_name("lens", tests, NULL, NULL);
}

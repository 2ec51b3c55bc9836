#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/lens/lens.h"
#include "rewrite/lens/lens_child.h"

/* clang-format off */
static const struct column columns[] = {
	{.name = "id", .type = "integer", .attnum = 1, .not_null = true,
	 .typmod = -1},
	{.name = "name", .type = "text", .attnum = 2, .typmod = -1},
	{.name = "store_id", .type = "integer", .attnum = 3, .typmod = -1},
};

static const char *const id[] = {"id"};
static const char *const store[] = {"store_id"};
static const char *const both[] = {"name", "store_id"};
static const char *const none[] = {NULL};
static const struct constraint primary = {
	.name = "pk", .kind = CONSTRAINT_PRIMARY,
	.definition = "PRIMARY KEY (id)", .n_columns = 1, .columns = id};

#define CONSTRAINT(KIND, TEXT, N, COLUMNS)                                     \
	.constraint = {.name = "c",                                            \
		       .kind = (KIND),                                         \
		       .definition = (TEXT),                                   \
		       .n_columns = (N),                                       \
		       .columns = (COLUMNS)}
#define INDEX(TEXT, UNIQUE, N, COLUMNS)                                        \
	.index = {.name = "x",                                                 \
		  .definition = (TEXT),                                        \
		  .unique = (UNIQUE),                                          \
		  .n_columns = (N),                                            \
		  .columns = (COLUMNS)}

/* What the old relation has besides, and what is said of it; NULL: nothing. */
static const struct promise {
	struct constraint constraint;
	struct index index;
	const char *said;
} promises[] = {
    {CONSTRAINT(CONSTRAINT_CHECK, "CHECK ((store_id > 0))", 1, store)},
    {CONSTRAINT(CONSTRAINT_UNIQUE, "UNIQUE (store_id)", 1, store)},
    {CONSTRAINT(CONSTRAINT_UNIQUE, "UNIQUE (name, store_id)", 2, both),
     .said = "c of public.employees is about columns that move and others"},
    {CONSTRAINT(CONSTRAINT_CHECK, "CHECK ((store_id > 0) OR (name IS NULL))", 2,
		both),
     .said = "c of public.employees"},
    {CONSTRAINT(CONSTRAINT_CHECK, "CHECK ((store_id IS NOT NULL))", 1, store),
     .said = "c of public.employees"},
    {CONSTRAINT(CONSTRAINT_FOREIGN,
		"FOREIGN KEY (store_id) REFERENCES stores(id) "
		"ON DELETE SET NULL",
		1, store)},
    {CONSTRAINT(CONSTRAINT_FOREIGN,
		"FOREIGN KEY (store_id) REFERENCES stores(id) "
		"ON DELETE CASCADE",
		1, store),
     .said = "ON DELETE SET NULL or none"},
    {INDEX("CREATE INDEX x ON e USING btree (name, store_id)", false, 2, both)},
    {INDEX("CREATE UNIQUE INDEX x ON e USING btree (store_id)", true, 1,
	   store)},
    {INDEX("CREATE UNIQUE INDEX x ON e USING btree (store_id) "
	   "WHERE (store_id > 3)",
	   true, 1, store),
     .said = "x of public.employees"},
    {INDEX("CREATE UNIQUE INDEX x ON e USING btree (abs(store_id))", true, 1,
	   none),
     .said = "x of public.employees"},
    {INDEX("CREATE UNIQUE INDEX x ON e USING btree (my_store_id(id))", true, 1,
	   none)},
};

static const struct spec_column moved[] = {
	{.n_old = 1, .old = store, .line = 8},
};
static const struct spec_column of_child[] = {
	{.new_name = "store_id", .forward = "store_id", .line = 12},
};
static const struct spec_key key_id[] = {{"id", "id"}};
static const struct spec_key parent[] = {{"id", "employee_id"}};
static const char *const pick[] = {"store_id"};
/* clang-format on */

struct fixture {
	struct arena arena;
	struct spec_lens in;
	struct spec spec;
	struct constraint constraints[2];
	struct relation old;
	struct problem problem;
	const struct lens *lens;
};

static void fill(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	arena_init(&f->arena);
	f->in = (struct spec_lens){
	    .kind = LENS_CHILD,
	    .old = {"public", "employees"},
	    .new = {"public", "employeestores"},
	    .n_key = 1,
	    .key = key_id,
	    .n_columns = 1,
	    .columns = moved,
	    .n_parent = 1,
	    .parent = parent,
	    .n_child = 1,
	    .child = of_child,
	    .when = "store_id IS NOT NULL",
	    .n_pick = 1,
	    .pick = pick,
	    .line = 5,
	};
	f->spec = (struct spec){
	    .file = "m.yaml", .name = "m", .n_lenses = 1, .lenses = &f->in};
	f->constraints[0] = primary;
	f->old = (struct relation){.schema = "public",
				   .name = "employees",
				   .kind = 'r',
				   .n_columns = 3,
				   .columns = columns,
				   .n_constraints = 1,
				   .constraints = f->constraints};
}

static bool compile(struct fixture *f)
{
	return lens_compile(&f->spec, 1, &f->old, NULL, &f->arena, &f->lens,
			    &f->problem);
}

static void what_neither_table_can_promise_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(promises) / sizeof(*promises); i++) {
		const struct promise *p = &promises[i];
		struct fixture f;

		fill(&f);
		f.constraints[1] = p->constraint;
		f.old.n_constraints += p->constraint.name != NULL;
		f.old.indexes = &p->index;
		f.old.n_indexes = p->index.name != NULL;
		if (p->said == NULL) {
			if (!compile(&f))
				fail_msg("%zu: %s", i, f.problem.message);
		} else {
			assert_false(compile(&f));
			if (strstr(f.problem.message, p->said) == NULL)
				fail_msg("%zu: %s", i, f.problem.message);
		}
		arena_free(&f.arena);
	}
}

static void a_column_generated_from_what_moves_is_refused(void **state)
{
	struct column of_moved[3];
	struct fixture f;

	fill(&f);
	memcpy(of_moved, columns, sizeof(of_moved));
	of_moved[1].generated = 's';
	of_moved[1].default_expr = "(store_id)::text";
	f.old.columns = of_moved;
	assert_false(compile(&f));
	assert_non_null(strstr(f.problem.message, "\"name\" of public"));
	of_moved[1].default_expr = "(id)::text";
	assert_true(compile(&f));
	arena_free(&f.arena);
}

static void a_row_is_picked_in_the_specifications_order(void **state)
{
	struct fixture f;

	fill(&f);
	assert_true(compile(&f));
	assert_string_equal(child_order(f.lens, "c", &f.arena),
			    "c.store_id, c.ctid");
	assert_string_equal(child_when(f.lens, "s.", &f.arena),
			    "(s.store_id IS NOT NULL) IS TRUE");
	assert_string_equal(child_join(f.lens, "c", "e", &f.arena),
			    "c.employee_id = e.id");
	assert_false(f.lens->child->single);
	assert_true(f.lens->child->cascades);
	arena_free(&f.arena);
}

static void the_child_is_read_in_three_ways(void **state)
{
	struct fixture f;

	fill(&f);
	f.in.n_pick = 0;
	assert_true(compile(&f));
	assert_true(f.lens->child->single);
	assert_string_equal(
	    child_derived(f.lens, false, "", CHILD_JOIN, &f.arena),
	    "(SELECT e.id, e.name, c.store_id AS store_id FROM "
	    "public.employees AS e LEFT JOIN public.employeestores AS c ON "
	    "c.employee_id = e.id)");
	assert_string_equal(
	    child_derived(f.lens, true, "", CHILD_FUNCTIONS, &f.arena),
	    "(SELECT e.id, e.name, pgtandem.m_1_pick_3(e.id) AS store_id FROM "
	    "ONLY public.employees AS e)");
	assert_string_equal(
	    child_derived(f.lens, false, "", CHILD_SUBSELECT, &f.arena),
	    "(SELECT e.id, e.name, (SELECT c.store_id FROM "
	    "public.employeestores AS c WHERE c.employee_id = e.id ORDER BY "
	    "c.ctid LIMIT 1) AS store_id FROM public.employees AS e)");
	arena_free(&f.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_neither_table_can_promise_is_refused),
	    cmocka_unit_test(a_column_generated_from_what_moves_is_refused),
	    cmocka_unit_test(a_row_is_picked_in_the_specifications_order),
	    cmocka_unit_test(the_child_is_read_in_three_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

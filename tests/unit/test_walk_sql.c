#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <pg_query.h>

#include "rewrite/lens/walk_sql.h"

static const char *const key_columns[] = {"a", "B"};

/* clang-format off */
static const struct column columns[] = {
	{.name = "a", .type = "text", .type_oid = 25, .not_null = true,
	 .typmod = -1},
	{.name = "B", .type = "uuid", .type_oid = 2950, .not_null = true,
	 .typmod = -1},
	{.name = "n", .type = "numeric(10,2)", .type_oid = 1700,
	 .typmod = 655366},
	{.name = "t", .type = "text", .type_oid = 25, .typmod = -1},
	{.name = "g", .type = "text", .type_oid = 25, .typmod = -1,
	 .generated = 's', .default_expr = "upper(t)"},
};

static const struct constraint constraints[] = {
	{.name = "p", .kind = CONSTRAINT_PRIMARY, .n_columns = 2,
	 .columns = key_columns, .definition = "PRIMARY KEY (a, \"B\")"},
};
/* clang-format on */

static const struct relation old = {
    .schema = "public",
    .name = "Old",
    .kind = 'r',
    .owner = "o",
    .n_columns = 5,
    .columns = columns,
    .n_constraints = 1,
    .constraints = constraints,
};

#define HEAD \
	"migration: m\ndatabase: d\nlenses:\n  - kind: table\n" \
	"    old: public.Old\n    new: public.new\n    key: {a: a, B: b}\n"

static const char carried[] = HEAD;
static const char converted[] =
    HEAD "    columns:\n"
	 "      - {old: t, new: t}\n"
	 "      - old: n\n"
	 "        new: {name: cents, type: bigint}\n"
	 "        forward: (n * 100)::bigint\n"
	 "        reverse: cents / 100.0\n";

struct fixture {
	struct arena a;
	struct walk_sql sql;
};

static int set_up(void **state)
{
	static struct fixture f;

	arena_init(&f.a);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	arena_free(&f->a);
	return 0;
}

static void make(struct fixture *f, const char *text, enum walk_direction d)
{
	const struct lens *lens;
	const struct spec *spec;
	struct problem p;

	if (!spec_parse("m.yaml", text, strlen(text), &f->a, &spec, &p) ||
	    !lens_compile(spec, 1, &old, NULL, &f->a, &lens, &p))
		fail_msg("%s %s", p.message, p.detail);
	walk_sql_make(lens, d, &f->a, &f->sql);
}

static void parses(const char *sql)
{
	PgQueryParseResult r = pg_query_parse(sql);

	if (r.error != NULL)
		fail_msg("%s: %s", r.error->message, sql);
	pg_query_free_parse_result(r);
}

static void every_text_parses(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++) {
		const struct walk_sql *s = &f->sql;

		make(f, i & 1 ? carried : converted,
		     i & 2 ? WALK_TO_NEW : WALK_TO_OLD);
		const char *const texts[] = {
		    s->set_path,    s->count,	       s->target_count,
		    s->next,	    s->target_next,    s->rest,
		    s->target_rest, s->newest,	       s->target_is_empty,
		    s->insert_all,  s->insert_missing, s->differing,
		    s->stale,	    s->extra,	       s->compare,
		    s->lock_source, s->upsert_keys,    s->lock_target,
		    s->delete_keys, s->recheck};

		for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++)
			parses(texts[t]);
		if (s->recheck_lossy != NULL)
			parses(s->recheck_lossy);
	}
}

static void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("%s is not in: %s", part, text);
}

static void a_composite_key_is_compared_as_a_row(void **state)
{
	struct fixture *f = *state;

	make(f, carried, WALK_TO_NEW);
	assert_int_equal(f->sql.n_key, 2);
	assert_has(f->sql.insert_missing,
		   "ROW(s.a, s.\"B\") > ROW($1::pg_catalog.text::text, "
		   "$2::pg_catalog.text::uuid)");
	assert_has(f->sql.insert_missing,
		   "ROW(s.a, s.\"B\") <= ROW($3::pg_catalog.text::text, "
		   "$4::pg_catalog.text::uuid)");
	assert_has(f->sql.insert_missing, "ON CONFLICT (a, b) DO NOTHING");
}

static void the_other_direction_changes_the_sides(void **state)
{
	struct fixture *f = *state;

	make(f, converted, WALK_TO_OLD);
	assert_has(f->sql.lock_source, "FROM public.new AS s");
	assert_has(f->sql.upsert_keys, "INSERT INTO public.\"Old\" AS t");
	assert_has(f->sql.upsert_keys, "s.cents / 100.0");
}

static void values_that_only_seem_equal_differ(void **state)
{
	struct fixture *f = *state;

	make(f, carried, WALK_TO_NEW);
	assert_has(f->sql.differing, "s.t IS DISTINCT FROM t.t");
	assert_has(f->sql.differing,
		   "pg_catalog.record_image_ne(ROW(s.n), ROW(t.n))");
}

static void a_generated_column_is_not_written(void **state)
{
	struct fixture *f = *state;

	make(f, carried, WALK_TO_NEW);
	assert_has(f->sql.insert_missing, "(a, b, n, t) OVERRIDING");
	assert_null(strstr(f->sql.upsert_keys, "g = excluded.g"));
}

static void only_a_conversion_can_be_lossy(void **state)
{
	struct fixture *f = *state;

	make(f, carried, WALK_TO_NEW);
	assert_null(f->sql.recheck_lossy);
	make(f, converted, WALK_TO_NEW);
	assert_non_null(f->sql.recheck_lossy);
	assert_has(f->sql.compare, "m.cents / 100.0");
}

static void names_are_looked_up_where_the_old_relation_is(void **state)
{
	struct fixture *f = *state;

	make(f, carried, WALK_TO_NEW);
	assert_string_equal(f->sql.set_path,
			    "SET search_path = pg_catalog, pg_temp");
	make(f, converted, WALK_TO_NEW);
	assert_string_equal(f->sql.set_path,
			    "SET search_path = pg_catalog, public, pg_temp");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(every_text_parses),
	    CASE(a_composite_key_is_compared_as_a_row),
	    CASE(the_other_direction_changes_the_sides),
	    CASE(values_that_only_seem_equal_differ),
	    CASE(a_generated_column_is_not_written),
	    CASE(only_a_conversion_can_be_lossy),
	    CASE(names_are_looked_up_where_the_old_relation_is),
	};
#undef CASE

	return cmocka_run_group_tests(tests, NULL, NULL);
}

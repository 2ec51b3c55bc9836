#include "tests/unit/staff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <pg_query.h>

static const char *const id[] = {"id"};

/* clang-format off */
static const struct column columns[] = {
	{.name = "id", .type = "integer", .type_oid = 23, .attnum = 1,
	 .not_null = true, .typmod = -1, .statistics = -1},
	{.name = "name", .type = "text", .type_oid = 25, .attnum = 2,
	 .typmod = -1, .statistics = -1},
	{.name = "store_id", .type = "integer", .type_oid = 23, .attnum = 3,
	 .typmod = -1, .statistics = -1},
};
static const struct constraint constraints[] = {
	{.name = "employees_pkey", .kind = CONSTRAINT_PRIMARY, .n_columns = 1,
	 .columns = id, .definition = "PRIMARY KEY (id)"},
};
/* clang-format on */

static const struct relation old = {
    .schema = "public",
    .name = "employees",
    .kind = 'r',
    .owner = "o",
    .n_columns = 3,
    .columns = columns,
    .n_constraints = 1,
    .constraints = constraints,
};

static const char text[] = "migration: stores\n"
			   "database: d\n"
			   "lenses:\n"
			   "  - kind: child\n"
			   "    old: public.employees\n"
			   "    key: [id]\n"
			   "    columns: [store_id]\n"
			   "    new:\n"
			   "      table: public.employeestores\n"
			   "      parent: {employee_id: id}\n"
			   "      columns: {store_id: store_id}\n"
			   "      when: store_id IS NOT NULL\n"
			   "      pick: [store_id]\n";

const struct lens *staff_lens(struct arena *a)
{
	const struct spec *spec;
	const struct lens *l;
	struct problem p;

	if (spec_parse("m.yaml", text, strlen(text), a, &spec, &p) &&
	    lens_compile(spec, 1, &old, NULL, a, &l, &p))
		return l;
	print_error("%s %s\n", p.message, p.detail);
	return NULL;
}

void staff_parses(const char *sql)
{
	PgQueryParseResult r = pg_query_parse(sql);

	if (r.error != NULL)
		fail_msg("%s: %s", r.error->message, sql);
	pg_query_free_parse_result(r);
}

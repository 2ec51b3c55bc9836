#include "daemon/phase/catalog_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COLUMNS "\"columns\": [{\"name\": \"id\", \"type\": \"integer\"}]"

/* The server answers NULL for the definition of what is gone meanwhile. */
static void what_is_dropped_while_it_is_read_is_left_out(void **state)
{
	static const char json[] =
	    "{\"schema\": \"public\", \"name\": \"t\", " COLUMNS
	    ", \"constraints\": ["
	    "{\"name\": \"gone\", \"kind\": \"f\", \"definition\": null,"
	    " \"columns\": [\"id\"]},"
	    "{\"name\": \"t_pkey\", \"kind\": \"p\","
	    " \"definition\": \"PRIMARY KEY (id)\", \"columns\": [\"id\"]}],"
	    "\"indexes\": [{\"name\": \"gone\", \"definition\": null,"
	    " \"columns\": [\"id\"]}]}";
	const struct relation *r;
	struct problem p;
	struct arena a;

	arena_init(&a);
	assert_true(catalog_json_read(json, &a, &r, &p));
	assert_int_equal(r->n_constraints, 1);
	assert_string_equal(r->constraints[0].name, "t_pkey");
	assert_string_equal(r->constraints[0].columns[0], "id");
	assert_int_equal(r->n_indexes, 0);
	arena_free(&a);
}

static void what_is_no_description_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "[",
	    "{}",
	    "{\"schema\": \"public\", \"name\": \"t\"}",
	};
	const struct relation *r;
	struct problem p;
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_false(catalog_json_read(bad[i], &a, &r, &p));
		assert_string_equal(p.sqlstate, "XX001");
	}
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_dropped_while_it_is_read_is_left_out),
	    cmocka_unit_test(what_is_no_description_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

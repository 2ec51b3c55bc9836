#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "rewrite/lens/chain.h"

/* clang-format off */
static const struct column columns[] = {
	{.name = "id", .type = "integer", .attnum = 1, .not_null = true,
	 .typmod = -1},
	{.name = "nam", .type = "text", .attnum = 2, .typmod = -1},
	{.name = "amount", .type = "integer", .attnum = 3, .typmod = -1},
	{.name = "phone", .type = "text", .attnum = 4, .typmod = -1},
};
static const char *const id_only[] = {"id"};
static const struct constraint keys[] = {
	{.name = "k", .kind = CONSTRAINT_PRIMARY,
	 .definition = "PRIMARY KEY (id)", .n_columns = 1, .columns = id_only},
};
static const struct relation oldest = {
	.schema = "public", .name = "a", .kind = 'r', .n_columns = 4,
	.columns = columns, .n_constraints = 1, .constraints = keys,
};

static const char first_spec[] =
	"migration: first\n"
	"database: d\n"
	"lenses:\n"
	"  - kind: table\n"
	"    old: public.a\n"
	"    new: public.b\n"
	"    key: [id]\n"
	"    columns:\n"
	"      - {old: nam, new: name}\n"
	"      - old: amount\n"
	"        new: {name: cents, type: bigint}\n"
	"        forward: amount * 100\n"
	"        reverse: cents / 100\n"
	"        bijective: true\n";

#define SECOND_SPEC(key, more) \
	"migration: second\n" \
	"database: d\n" \
	"lenses:\n" \
	"  - kind: table\n" \
	"    old: public.b\n" \
	"    new: public.c\n" \
	"    key: " key "\n" \
	"    columns:\n" more

static const char second_spec[] = SECOND_SPEC("{id: no}",
	"      - old: cents\n"
	"        new: {name: euro, type: numeric}\n"
	"        forward: cents / 100.0 + cents\n"
	"        reverse: euro * 100\n"
	"      - old: phone\n"
	"        new: {name: digits, type: text}\n"
	"        forward: replace(phone, '-', '')\n"
	"        reverse: ('+' || digits)\n");
/* clang-format on */

static const struct lens *compile(const char *text, const struct relation *old,
				  struct arena *a)
{
	const struct spec *spec;
	const struct lens *l = NULL;
	struct problem p;

	if (!spec_parse("m.yaml", text, strlen(text), a, &spec, &p) ||
	    !lens_compile(spec, 1, old, NULL, a, &l, &p))
		fail_msg("%s", p.message);
	return l;
}

/* The relation between, with a key and, perhaps, a column of its own. */
static const struct relation *between(const struct lens *first, bool more,
				      struct arena *a)
{
	struct relation *r = arena_alloc(a, sizeof(*r));
	struct column *c = arena_alloc(a, (first->n_new + 1) * sizeof(*c));

	memcpy(c, first->new->columns, first->n_new * sizeof(*c));
	c[first->n_new] = (struct column){
	    .name = "extra", .type = "integer", .attnum = 9, .typmod = -1};
	*r = *first->new;
	r->columns = c;
	r->n_columns = first->n_new + more;
	r->constraints = keys;
	r->n_constraints = 1;
	return r;
}

static unsigned new_index(const struct lens *l, const char *name)
{
	for (unsigned i = 0; i < l->n_new; i++)
		if (strcmp(l->news[i].column->name, name) == 0)
			return i;
	fail_msg("no column %s", name);
	return 0;
}

static void two_lenses_become_one(void **state)
{
	const struct lens *first, *second, *l;
	struct problem p;
	struct arena a;

	arena_init(&a);
	first = compile(first_spec, &oldest, &a);
	second = compile(second_spec, between(first, false, &a), &a);
	assert_true(chain_compose(first, second, &a, &l, &p));
	assert_string_equal(lens_reverse(l, 0, "n.", &a), "n.no");
	assert_string_equal(lens_reverse(l, 1, "n.", &a), "n.name");
	assert_string_equal(
	    lens_reverse(l, 2, "n.", &a),
	    "CAST((CAST((n.euro * 100) AS bigint) / 100) AS integer)");
	assert_string_equal(lens_reverse(l, 3, "n.", &a),
			    "CAST((('+' || n.digits)) AS text)");
	assert_string_equal(
	    lens_forward(l, new_index(l, "euro"), "o.", &a),
	    "CAST((CAST((o.amount * 100) AS bigint) / 100.0 + CAST((o.amount * "
	    "100) AS bigint)) AS numeric)");
	assert_string_equal(lens_forward(l, new_index(l, "no"), "o.", &a),
			    "o.id");
	assert_int_equal(l->n_key, 1);
	assert_int_equal(l->key[0].old_index, 0);
	assert_int_equal(l->key[0].new_index, new_index(l, "no"));
	assert_string_equal(l->lens_ref, "pgtandem.first_1_lens2");
	assert_string_equal(l->old_ref, "public.b");
	assert_string_equal(l->new_ref, "public.c");
	assert_string_equal(l->to_old_ref, "pgtandem.second_1_to_old");
	arena_free(&a);
}

static void a_column_of_the_one_between_is_left_to_its_default(void **state)
{
	const struct lens *first, *second, *l;
	struct problem p;
	struct arena a;

	arena_init(&a);
	first = compile(first_spec, &oldest, &a);
	second = compile(second_spec, between(first, true, &a), &a);
	assert_true(chain_compose(first, second, &a, &l, &p));
	assert_true(l->news[new_index(l, "extra")].extra);
	arena_free(&a);
}

static void what_no_lens_can_say_is_refused(void **state)
{
	static const char with_extra[] =
	    SECOND_SPEC("[id]", "      - old: [cents, extra]\n"
				"        new: {name: sum, type: bigint}\n"
				"        forward: cents + extra\n"
				"        reverse: {cents: sum, extra: '0'}\n");
	const struct lens *first, *second, *l;
	struct problem p;
	struct arena a;

	arena_init(&a);
	first = compile(first_spec, &oldest, &a);
	second = compile(with_extra, between(first, true, &a), &a);
	assert_false(chain_compose(first, second, &a, &l, &p));
	assert_string_equal(p.sqlstate, "0A000");
	assert_non_null(strstr(p.message, "\"extra\""));
	arena_free(&a);
}

static void beside_the_first_its_writes_sync_on(void **state)
{
	const struct lens *first, *second, *l;
	struct problem p;
	struct arena a;

	arena_init(&a);
	first = compile(first_spec, &oldest, &a);
	second = compile(second_spec, between(first, false, &a), &a);
	assert_true(chain_beside(first, second, &a, &l, &p));
	assert_string_equal(l->lens_ref, first->lens_ref);
	assert_string_equal(l->new_ref, "public.b");
	assert_string_equal(l->old_ref, "public.c");
	assert_string_equal(l->to_old_ref, "pgtandem.second_1_to_new");
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_lenses_become_one),
	    cmocka_unit_test(
		a_column_of_the_one_between_is_left_to_its_default),
	    cmocka_unit_test(what_no_lens_can_say_is_refused),
	    cmocka_unit_test(beside_the_first_its_writes_sync_on),
	};

	return cmocka_run_group_tests_name("chain", tests, NULL, NULL);
}

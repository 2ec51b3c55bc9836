#include "daemon/net/origins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/buf.h"
#include "rewrite/rewrite.h"

enum { OLD = 100, NEW = 200, OTHER = 300 };

/* The new relation's columns 1 and 3 are the old one's 1 and 2. */
static const int16_t own_columns[] = {0, 1, 0, 2};
static const struct plan_own own = {
    .from = NEW, .table = OLD, .n = 4, .columns = own_columns};

/* clang-format off */
#define ANY    {0}
#define MANY   {.many = true}
#define ID     {.name = "id", .table = OLD, .column = 1}
#define NAME   {.name = "name", .table = OLD, .column = 2}
#define UNSURE {.name = "name", .table = OLD, .column = 2, .unsure = true}
/* clang-format on */

/* Columns as "name table.number", one after the other. */
struct example {
	const char *what;
	struct plan_origin columns[6];
	size_t n;
	const char *sent, *shown;
};

/* clang-format off */
static const struct example examples[] = {
	{"a converted column has the old one's number",
	 {ID, NAME, ANY}, 3,
	 "id 200.1, name 0.0, sum 0.0", "id 100.1, name 100.2, sum 0.0"},
	{"an unsure one only where the server names nothing",
	 {UNSURE, UNSURE, UNSURE}, 3,
	 "name 300.1, name 0.0, name 200.3",
	 "name 300.1, name 100.2, name 100.2"},
	{"behind columns that are not known",
	 {MANY, ID, NAME}, 3,
	 "a 300.1, b 300.2, id 200.1, name 0.0",
	 "a 300.1, b 300.2, id 100.1, name 100.2"},
	{"before them, and behind none",
	 {NAME, MANY, NAME}, 3, "name 0.0, name 0.0",
	 "name 100.2, name 100.2"},
	{"between two such runs, by their names",
	 {MANY, ID, NAME, MANY}, 4,
	 "id 300.1, name 300.2, id 200.1, name 0.0, id 300.1, name 300.2",
	 "id 300.1, name 300.2, id 100.1, name 100.2, id 300.1, name 300.2"},
	{"what is not known, where the new relation is told",
	 {MANY}, 1,
	 "x 200.3, y 200.2, z 200.9, w 300.3",
	 "x 100.2, y 200.2, z 200.9, w 300.3"},
	{"a message with other columns than the plan's stays",
	 {ID, NAME}, 2, "id 200.1", "id 200.1"},
};
/* clang-format on */

static void put_columns(struct buf *b, const char *text)
{
	char column[20];
	unsigned table, number, n = 1;
	int len;

	for (const char *c = text; *c != '\0'; c++)
		n += *c == ',';
	buf_put_u16(b, (uint16_t)n);
	for (;
	     sscanf(text, " %19s %u.%u%n", column, &table, &number, &len) == 3;
	     text += text[len] == ',' ? len + 1 : len) {
		buf_put_cstr(b, column);
		buf_put_u32(b, table);
		buf_put_u16(b, (uint16_t)number);
		buf_put(b, "\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 12);
	}
}

static struct plan_origins origins_of(const struct example *e)
{
	struct plan_origins o = {
	    .n = e->n, .columns = e->columns, .n_own = 1, .own = &own};

	while (o.first_many < o.n && !o.columns[o.first_many].many)
		o.first_many++;
	while (o.after_many < o.n && !o.columns[o.n - 1 - o.after_many].many)
		o.after_many++;
	return o;
}

static void columns_are_told_as_the_old_model_has_them(void **state)
{
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		const struct example *e = &examples[i];
		struct plan_origins o = origins_of(e);
		struct buf sent, shown;

		buf_init(&sent, 4096);
		buf_init(&shown, 4096);
		put_columns(&sent, e->sent);
		put_columns(&shown, e->shown);
		origins_apply(&o, sent.data, sent.data[1]);
		if (memcmp(buf_bytes(&sent), buf_bytes(&shown),
			   buf_len(&shown)) != 0)
			fail_msg("%s", e->what);
		buf_free(&sent);
		buf_free(&shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(columns_are_told_as_the_old_model_has_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

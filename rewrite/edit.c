/*
 * Edits are gathered in any order, sorted once, and applied in one pass.
 * At one place insertions come before what is replaced there, in the order in
 * which they were made.
 */
#include "rewrite/edit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void edits_init(struct edits *e, struct arena *a)
{
	*e = (struct edits){.a = a};
}

void edit_replace(struct edits *e, uint32_t from, uint32_t to, const char *text)
{
	assert(from <= to);
	if (e->n == e->room) {
		size_t room = e->room ? 2 * e->room : 8;
		struct edit *v = arena_alloc(e->a, room * sizeof(*v));

		if (e->n > 0)
			memcpy(v, e->v, e->n * sizeof(*v));
		e->v = v;
		e->room = room;
	}
	e->v[e->n] = (struct edit){.from = from,
				   .removed = to - from,
				   .order = (uint32_t)e->n,
				   .text = text};
	e->n++;
}

void edit_insert(struct edits *e, uint32_t at, const char *text)
{
	edit_replace(e, at, at, text);
}

static int compare_edits(const void *left, const void *right)
{
	const struct edit *l = left, *r = right;

	if (l->from != r->from)
		return l->from < r->from ? -1 : 1;
	if ((l->removed == 0) != (r->removed == 0))
		return l->removed == 0 ? -1 : 1;
	return l->order < r->order ? -1 : l->order > r->order;
}

/* The length of the text to come; 0 when edits overlap or leave the text. */
static size_t measure(const struct edits *e, size_t len)
{
	size_t sum = len, end = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct edit *edit = &e->v[i];

		if (edit->from < end || edit->from + edit->removed > len)
			return 0;
		end = (size_t)edit->from + edit->removed;
		sum = sum - edit->removed + strlen(edit->text);
	}
	return sum;
}

bool edits_apply(struct edits *e, const char *sql, size_t len, struct plan *ret)
{
	struct plan_edit *map;
	size_t total, done = 0;
	char *text, *out;

	qsort(e->v, e->n, sizeof(*e->v), compare_edits);
	total = measure(e, len);
	if (total == 0)
		return false;
	map = arena_alloc(e->a, e->n * sizeof(*map));
	out = text = arena_alloc(e->a, total + 1);
	for (size_t i = 0; i < e->n; i++) {
		const struct edit *edit = &e->v[i];

		out = mempcpy(out, sql + done, edit->from - done);
		map[i] =
		    (struct plan_edit){.from = edit->from,
				       .removed = edit->removed,
				       .at = (uint32_t)(out - text),
				       .added = (uint32_t)strlen(edit->text)};
		out = stpcpy(out, edit->text);
		done = (size_t)edit->from + edit->removed;
	}
	memcpy(out, sql + done, len - done);
	text[total] = '\0';
	ret->text = text;
	ret->len = total;
	ret->n_edits = e->n;
	ret->edits = map;
	return true;
}

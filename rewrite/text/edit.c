/*
 * Edits are gathered in any order, sorted once, and applied in one pass.
 * At one place insertions come before what is replaced there, in the order in
 * which they were made.  A copy holds the edits inside its range, whenever
 * they were made.
 */
#include "rewrite/text/edit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COPIES = 4 }; /* one in another */

void edits_init(struct edits *e, struct arena *a)
{
	*e = (struct edits){.a = a};
}

static void add(struct edits *e, struct edit edit)
{
	if (e->n == e->room) {
		size_t room = e->room ? 2 * e->room : 8;
		struct edit *v = arena_alloc(e->a, room * sizeof(*v));

		if (e->n > 0)
			memcpy(v, e->v, e->n * sizeof(*v));
		e->v = v;
		e->room = room;
	}
	edit.order = (uint32_t)e->n;
	e->v[e->n++] = edit;
}

void edit_replace(struct edits *e, uint32_t from, uint32_t to, const char *text)
{
	assert(from <= to);
	add(e, (struct edit){.from = from, .removed = to - from, .text = text});
}

void edit_insert(struct edits *e, uint32_t at, const char *text)
{
	edit_replace(e, at, at, text);
}

void edit_copy(struct edits *e, uint32_t at, uint32_t from, uint32_t to)
{
	assert(from < to && (at <= from || at >= to));
	add(e, (struct edit){.from = at, .copy_from = from, .copy_to = to});
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

/* Do edits overlap, or reach behind the text? */
static bool is_sound(const struct edits *e, size_t len)
{
	size_t end = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct edit *edit = &e->v[i];

		if (edit->from < end || edit->from + edit->removed > len)
			return false;
		end = (size_t)edit->from + edit->removed;
	}
	return true;
}

/* The text and its map; both NULL while they are only measured. */
struct output {
	const char *sql;
	char *text;
	size_t len;
	struct plan_edit *map;
	size_t n;
};

static void put(struct output *o, const char *text, size_t len)
{
	if (o->text != NULL)
		memcpy(o->text + o->len, text, len);
	o->len += len;
}

/* `piece` but for its place in what is sent. */
static void put_piece(struct output *o, struct plan_edit piece,
		      const char *text)
{
	piece.at = (uint32_t)o->len;
	if (o->map != NULL)
		o->map[o->n] = piece;
	o->n++;
	put(o, text, piece.added);
}

static void put_edit(struct output *o, const struct edit *edit)
{
	put_piece(o,
		  (struct plan_edit){
		      .from = edit->from,
		      .removed = edit->removed,
		      .added = (uint32_t)strlen(edit->text),
		      .source = edit->removed > 0 ? edit->from : PLAN_OURS},
		  edit->text);
}

/* The client's bytes [from, to), once more, at `at`. */
static void put_verbatim(struct output *o, uint32_t at, uint32_t from,
			 uint32_t to)
{
	if (from < to)
		put_piece(o,
			  (struct plan_edit){.from = at,
					     .added = to - from,
					     .source = from,
					     .verbatim = true},
			  o->sql + from);
}

/* The first edit at or behind a byte. */
static size_t find_edit(const struct edits *e, uint32_t from)
{
	size_t low = 0, high = e->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (e->v[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What is put around the range, at its very ends, is not in it. */
static bool is_inside(const struct edit *edit, const struct edit *copy)
{
	return edit != copy &&
	       (edit->removed > 0 || edit->from > copy->copy_from) &&
	       edit->from + edit->removed <= copy->copy_to;
}

/* At `at`, where the outermost copy stands; `depth`: in how many others. */
static void put_copy(struct output *o, const struct edits *e,
		     const struct edit *copy, uint32_t at, unsigned depth)
{
	uint32_t done = copy->copy_from;

	for (size_t i = find_edit(e, copy->copy_from);
	     i < e->n && e->v[i].from < copy->copy_to; i++) {
		const struct edit *edit = &e->v[i];

		if (!is_inside(edit, copy))
			continue;
		put_verbatim(o, at, done, edit->from);
		done = edit->from + edit->removed;
		if (edit->text == NULL) {
			if (depth < MOST_COPIES)
				put_copy(o, e, edit, at, depth + 1);
			continue;
		}
		put_piece(
		    o,
		    (struct plan_edit){
			.from = at,
			.added = (uint32_t)strlen(edit->text),
			.source = edit->removed > 0 ? edit->from : PLAN_OURS},
		    edit->text);
	}
	put_verbatim(o, at, done, copy->copy_to);
}

static void put_all(struct output *o, const struct edits *e, size_t len)
{
	size_t done = 0;

	o->len = o->n = 0;
	for (size_t i = 0; i < e->n; i++) {
		const struct edit *edit = &e->v[i];

		put(o, o->sql + done, edit->from - done);
		if (edit->text == NULL)
			put_copy(o, e, edit, edit->from, 0);
		else
			put_edit(o, edit);
		done = (size_t)edit->from + edit->removed;
	}
	put(o, o->sql + done, len - done);
}

bool edits_apply(struct edits *e, const char *sql, size_t len, struct plan *ret)
{
	struct output o = {.sql = sql};

	qsort(e->v, e->n, sizeof(*e->v), compare_edits);
	if (!is_sound(e, len))
		return false;
	put_all(&o, e, len);
	o.map = arena_alloc(e->a, (o.n + 1) * sizeof(*o.map));
	o.text = arena_alloc(e->a, o.len + 1);
	put_all(&o, e, len);
	o.text[o.len] = '\0';
	ret->text = o.text;
	ret->len = o.len;
	ret->n_edits = o.n;
	ret->edits = o.map;
	return true;
}

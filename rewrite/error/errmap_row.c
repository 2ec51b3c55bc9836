/*
 * Rows that the server shows in an error's detail, and columns of the other
 * model in a table that is both.
 */
#include "rewrite/error/errmap.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

bool row_is_same(const struct lens *l)
{
	if (l->n_old != l->n_new)
		return false;
	for (size_t i = 0; i < l->n_old; i++)
		if (!l->olds[i].carried || l->olds[i].new_index != i)
			return false;
	return true;
}

/* Such a table has its old columns, then those that were added. */
static size_t count_both(const struct lens *l)
{
	size_t n = l->n_old;

	for (size_t i = 0; i < l->n_new; i++)
		n += !l->news[i].carried;
	return n;
}

static bool is_in_old(const struct lens *l, size_t column)
{
	return column < l->n_old;
}

static bool is_in_new(const struct lens *l, size_t column)
{
	return column >= l->n_old || l->olds[column].carried;
}

/* The values of one model's columns; NULL where they cannot be told apart, as
 * they are not quoted. */
static const char *row_of(const struct lens *l, const char *row,
			  bool (*is_in)(const struct lens *, size_t),
			  struct arena *a)
{
	static const char begin[] = "Failing row contains (";
	size_t len = strlen(row), n = 0;
	struct sqltext out;
	char *rest, *value;

	if (strncmp(row, begin, strlen(begin)) != 0 ||
	    strcmp(row + len - 2, ").") != 0)
		return NULL;
	rest = arena_dup(a, row + strlen(begin), len - 2 - strlen(begin));
	sqltext_begin(&out, a);
	for (value = rest; value != NULL; value = rest, n++) {
		rest = strstr(value, ", ");
		if (rest != NULL) {
			*rest = '\0';
			rest += 2;
		}
		if (is_in(l, n))
			sqltext_item(&out, ", ", "%s", value);
	}
	return n == count_both(l) ? arena_fmt(a, "%s%s).", begin, out.s) : NULL;
}

const char *row_of_old(const struct lens *l, enum phase phase, const char *row,
		       struct arena *a)
{
	if (row_is_same(l))
		return row;
	if (l->kind == LENS_CHILD && phase < PHASE_WRITE_NEW)
		return row;
	if (l->kind == LENS_COLUMNS && phase < PHASE_WRITE_NEW)
		return row_of(l, row, is_in_old, a);
	return NULL;
}

/* The new column that an old one is made of alone, or NULL. */
static const char *new_column(const struct lens *l, const char *name)
{
	for (size_t i = 0; i < l->n_old; i++) {
		const struct lens_old *o = &l->olds[i];

		if (strcmp(o->column->name, name) != 0)
			continue;
		if (o->carried || o->reverse.n == 0)
			return NULL;
		for (size_t k = 1; k < o->reverse.n; k++)
			if (o->reverse.column[k] != o->reverse.column[0])
				return NULL;
		return l->news[o->reverse.column[0]].column->name;
	}
	return NULL;
}

/* The new model's column number `column` of such a table, or NULL. */
static const struct column *column_in_new(const struct lens *l, size_t column)
{
	if (column < l->n_old)
		return l->olds[column].carried
			   ? l->news[l->olds[column].new_index].column
			   : NULL;
	column -= l->n_old;
	for (size_t i = 0; i < l->n_new; i++)
		if (!l->news[i].carried && column-- == 0)
			return l->news[i].column;
	return NULL;
}

/* The first of the new model's columns that may not be NULL and is, as the
 * row that is shown has them; or NULL. */
static const char *first_missed(const struct lens *l, const char *row)
{
	const char *value = strchr(row, '(');

	for (size_t n = 0; value != NULL; n++) {
		const struct column *c = column_in_new(l, n);

		value += n == 0 ? 1 : 2;
		if (c != NULL && c->not_null &&
		    (strncmp(value, "null, ", 6) == 0 ||
		     strcmp(value, "null).") == 0))
			return c->name;
		value = strstr(value, ", ");
	}
	return NULL;
}

/* NULL makes NULL: the old column comes first in the table. */
static void name_new_column(const struct lens *l, struct error_names *e,
			    struct arena *a)
{
	const char *name = e->column ? new_column(l, e->column) : NULL;
	const char *first = NULL;

	if (name == NULL)
		return;
	if (e->detail != NULL && row_of(l, e->detail, is_in_new, a) != NULL)
		first = first_missed(l, e->detail);
	if (first != NULL)
		name = first;
	e->column = name;
	e->message = arena_fmt(a,
			       "null value in column \"%s\" of relation "
			       "\"%s\" violates not-null constraint",
			       name, l->old->name);
}

void row_map_new(const struct lens *l, struct error_names *e, struct arena *a)
{
	if (e->sqlstate == NULL || e->table == NULL ||
	    strcmp(e->table, l->old->name) != 0)
		return;
	if (strcmp(e->sqlstate, "23502") == 0)
		name_new_column(l, e, a);
	else if (strcmp(e->sqlstate, "23514") != 0)
		return;
	if (e->detail != NULL)
		e->detail = row_of(l, e->detail, is_in_new, a);
}

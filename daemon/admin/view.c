#include "daemon/admin/view.h"

#include <string.h>

static void grow(struct view_rows *v)
{
	size_t cap = v->cap > 0 ? v->cap * 2 : 16;
	const char *const **rows = arena_alloc(v->arena, cap * sizeof(*rows));

	if (v->n > 0)
		memcpy(rows, v->rows, v->n * sizeof(*rows));
	v->rows = rows;
	v->cap = cap;
}

static void on_row(void *arg, const char *const *values)
{
	struct view_rows *v = arg;
	const char **row = arena_alloc(v->arena, v->n_columns * sizeof(*row));

	for (size_t i = 0; i < v->n_columns; i++)
		row[i] = values[i] ? arena_str(v->arena, values[i]) : NULL;
	if (v->n == v->cap)
		grow(v);
	v->rows[v->n++] = row;
}

bool view_collect(struct control *c, enum control_view v, const char *migration,
		  struct arena *a, struct view_rows *ret, struct problem *p)
{
	*ret = (struct view_rows){.arena = a};
	ret->columns = control_columns(v, &ret->n_columns);
	return control_view(c, v, migration, on_row, ret, p);
}

const char *view_get(const struct view_rows *v, size_t row, const char *column)
{
	for (size_t i = 0; i < v->n_columns; i++)
		if (strcmp(v->columns[i], column) == 0)
			return v->rows[row][i];
	return NULL;
}

bool view_find(const struct view_rows *v, const char *column, const char *value,
	       size_t *ret_row)
{
	for (size_t i = 0; i < v->n; i++) {
		const char *have = view_get(v, i, column);

		if (have && strcmp(have, value) == 0) {
			*ret_row = i;
			return true;
		}
	}
	return false;
}

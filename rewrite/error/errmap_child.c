/*
 * Errors about a child table, told as those of the columns that moved to it.
 */
#include "rewrite/error/errmap.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

/* The old column that a child's column holds as it is, or NULL. */
static const char *plain_column(const struct lens *l, const char *name)
{
	for (size_t i = 0; name != NULL && i < l->child->n_columns; i++) {
		const struct child_column *c = &l->child->columns[i];

		if (c->plain && strcmp(c->column->name, name) == 0)
			return l->olds[c->old_index].column->name;
	}
	return NULL;
}

static bool same_columns(const struct lens *l, const struct constraint *child,
			 const struct constraint *old)
{
	if (child->kind != old->kind || child->n_columns != old->n_columns)
		return false;
	for (size_t i = 0; i < old->n_columns; i++) {
		const char *name = plain_column(l, child->columns[i]);

		if (name == NULL || old->columns[i] == NULL ||
		    strcmp(name, old->columns[i]) != 0)
			return false;
	}
	return true;
}

/* What a unique index says that no constraint has made. */
static struct constraint as_constraint(const struct index *x)
{
	return (struct constraint){
	    .name = x->name,
	    .kind = CONSTRAINT_UNIQUE,
	    .n_columns = x->n_columns,
	    .columns = x->columns,
	};
}

static bool find_own(const struct relation *child, const char *name,
		     struct constraint *ret)
{
	const struct constraint *k = relation_find_constraint(child, name);

	if (k != NULL) {
		*ret = *k;
		return true;
	}
	for (size_t i = 0; i < child->n_indexes; i++)
		if (child->indexes[i].unique &&
		    strcmp(child->indexes[i].name, name) == 0) {
			*ret = as_constraint(&child->indexes[i]);
			return true;
		}
	return false;
}

/* Of several it could be any: then the error stays the child's. */
static bool find_old(const struct lens *l, const struct constraint *child,
		     struct constraint *ret)
{
	size_t found = 0;

	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (same_columns(l, child, &l->old->constraints[i])) {
			*ret = l->old->constraints[i];
			found++;
		}
	for (size_t i = 0; i < l->old->n_indexes; i++) {
		struct constraint old = as_constraint(&l->old->indexes[i]);

		if (l->old->indexes[i].unique && same_columns(l, child, &old)) {
			*ret = old;
			found++;
		}
	}
	return found == 1;
}

/* The text, with what stands in double quotes as `from` called `to`. */
static const char *rename_in(const char *text, const char *from, const char *to,
			     struct arena *a)
{
	const char *quoted = arena_fmt(a, "\"%s\"", from), *next;
	struct sqltext out;

	if (text == NULL)
		return NULL;
	sqltext_begin(&out, a);
	while ((next = strstr(text, quoted)) != NULL) {
		sqltext_put(&out, "%.*s\"%s\"", (int)(next - text), text, to);
		text = next + strlen(quoted);
	}
	return arena_fmt(a, "%s%s", out.s, text);
}

/* "... is still referenced from table": the key is the other table's. */
static const char *old_reference(const struct lens *l, const char *detail,
				 struct arena *a)
{
	static const char from[] = " is still referenced from table \"";
	const char *tail = strstr(detail, from), *next;

	if (tail == NULL)
		return NULL;
	while ((next = strstr(tail + 1, from)) != NULL)
		tail = next;
	return arena_fmt(a, "%.*s%s%s\".", (int)(tail - detail), detail, from,
			 l->old->name);
}

/* Key (a, b)=(...) with the old columns' names. */
static const char *old_key(const struct lens *l, const char *detail,
			   const struct constraint *old, struct arena *a)
{
	const char *values = detail == NULL ? NULL : strstr(detail, ")=(");
	struct sqltext names;

	if (values == NULL || strncmp(detail, "Key (", 5) != 0)
		return detail;
	if (old->kind == CONSTRAINT_FOREIGN &&
	    old_reference(l, detail, a) != NULL)
		return old_reference(l, detail, a);
	sqltext_begin(&names, a);
	for (size_t i = 0; i < old->n_columns; i++)
		sqltext_item(&names, ", ", "%s", old->columns[i]);
	return arena_fmt(a, "Key (%s%s", names.s, values);
}

/* TRUNCATE of a table that a column refers to. */
static bool map_truncate(const struct lens *l, struct error_names *e,
			 struct arena *a)
{
	const char *child = l->child->relation->name;

	if (e->sqlstate == NULL || strcmp(e->sqlstate, "0A000") != 0 ||
	    e->detail == NULL || e->hint == NULL ||
	    strstr(e->detail, arena_fmt(a, "Table \"%s\" references \"",
					child)) != e->detail)
		return false;
	e->detail = rename_in(e->detail, child, l->old->name, a);
	e->hint = rename_in(e->hint, child, l->old->name, a);
	return true;
}

bool child_map_error(const struct lens *l, struct error_names *e,
		     struct arena *a)
{
	const struct relation *child = l->child->relation;
	struct constraint own, old;

	if (map_truncate(l, e, a))
		return true;
	if (e->table == NULL || e->constraint == NULL ||
	    strcmp(e->table, child->name) != 0)
		return false;
	if (!find_own(child, e->constraint, &own) || !find_old(l, &own, &old))
		return false;
	e->message = rename_in(e->message, child->name, l->old->name, a);
	e->message = rename_in(e->message, e->constraint, old.name, a);
	e->detail = old_key(l, e->detail, &old, a);
	e->schema = l->old->schema;
	e->table = l->old->name;
	e->constraint = old.name;
	return true;
}

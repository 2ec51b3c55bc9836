/*
 * What a column must not be for it to move to a child table.
 *
 * What the old relation promises of the columns that move alone, the child
 * table promises too (ddl_child_table.c).  What it promises of them together
 * with others, no constraint of one table can: the migration is refused, and
 * names it.
 */
#include <string.h>

#include "rewrite/lens/lens_compile.h"
#include "rewrite/text/filter.h"

static bool moves(const struct lens_compile *c, const char *name)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (strcmp(c->in->columns[i].old[0], name) == 0)
			return true;
	return false;
}

static size_t count_moving(const struct lens_compile *c,
			   const char *const *columns, size_t n)
{
	size_t moving = 0;

	for (size_t i = 0; i < n; i++)
		moving += columns[i] != NULL && moves(c, columns[i]);
	return moving;
}

static bool mentions_moving(const struct lens_compile *c, const char *sql)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (text_names(sql, c->in->columns[i].old[0]))
			return true;
	return false;
}

/* The row that refers to what is deleted goes with it, or falls back on a
 * default: the child's row cannot do that for the parent's. */
static bool check_action(const struct lens_compile *c,
			 const struct constraint *k)
{
	if (k->kind != CONSTRAINT_FOREIGN ||
	    (!strstr(k->definition, "ON DELETE CASCADE") &&
	     !strstr(k->definition, "ON DELETE SET DEFAULT")))
		return true;
	return lens_fail(
	    c, c->in->line,
	    "column \"%s\" cannot move: no foreign key of a child "
	    "table does for %s.%s what its %s does (%s); give that ON "
	    "DELETE SET NULL or none",
	    k->columns[0], c->old->schema, c->old->name, k->name,
	    k->definition);
}

static bool fail_mixed(const struct lens_compile *c, const char *name,
		       const char *definition)
{
	return lens_fail(
	    c, c->in->line,
	    "columns cannot move: %s of %s.%s is about columns that "
	    "move and others, or says more than which columns it is "
	    "about, and neither table alone can promise that (%s); "
	    "drop it, or move all of its columns",
	    name, c->old->schema, c->old->name, definition);
}

/* Where there is no row, nothing is checked. */
static bool asks_for_a_value(const struct lens_compile *c,
			     const struct constraint *k)
{
	return k->kind == CONSTRAINT_CHECK && c->in->when != NULL &&
	       strcasestr(k->definition, "null") != NULL;
}

static bool check_constraint(const struct lens_compile *c,
			     const struct constraint *k)
{
	size_t moving = count_moving(c, k->columns, k->n_columns);

	if (moving == 0)
		return true;
	if (moving < k->n_columns || asks_for_a_value(c, k))
		return fail_mixed(c, k->name, k->definition);
	return check_action(c, k);
}

static bool check_index(const struct lens_compile *c, const struct index *x)
{
	const char *columns = strstr(x->definition, " USING ");

	if (!x->unique || columns == NULL || !mentions_moving(c, columns))
		return true;
	if (count_moving(c, x->columns, x->n_columns) == x->n_columns &&
	    strstr(x->definition, " WHERE ") == NULL)
		return true;
	return fail_mixed(c, x->name, x->definition);
}

static bool check_column(const struct lens_compile *c,
			 const struct spec_column *e)
{
	const struct column *column = relation_find_column(c->old, e->old[0]);

	if (column == NULL)
		return lens_fail(c, e->line,
				 "column \"%s\" does not exist in %s.%s",
				 e->old[0], c->old->schema, c->old->name);
	if (column->generated || column->identity)
		return lens_fail(c, e->line,
				 "column \"%s\" is generated: it cannot move",
				 e->old[0]);
	return true;
}

static bool check_generated(const struct lens_compile *c)
{
	for (size_t i = 0; i < c->old->n_columns; i++) {
		const struct column *column = &c->old->columns[i];

		if (column->generated && column->default_expr != NULL &&
		    mentions_moving(c, column->default_expr))
			return lens_fail(
			    c, c->in->line,
			    "columns cannot move: \"%s\" of %s.%s is "
			    "generated from what moves (%s); drop it, "
			    "or generate it from what stays",
			    column->name, c->old->schema, c->old->name,
			    column->default_expr);
	}
	return true;
}

bool child_check_old(const struct lens_compile *c)
{
	const struct relation *old = c->old;

	for (size_t i = 0; i < c->in->n_columns; i++)
		if (!check_column(c, &c->in->columns[i]))
			return false;
	for (size_t i = 0; i < old->n_constraints; i++)
		if (!check_constraint(c, &old->constraints[i]))
			return false;
	for (size_t i = 0; i < old->n_indexes; i++)
		if (!check_index(c, &old->indexes[i]))
			return false;
	return check_generated(c);
}

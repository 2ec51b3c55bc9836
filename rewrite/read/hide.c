/*
 * Kind columns: both models in one table.  While it has the columns of both,
 * each shape sees its own, in reads by a derived table and in writes by a view
 * that PostgreSQL updates by itself (L_old, L_new):
 *
 *   FROM bills        FROM (SELECT id, is_taxable FROM bills) AS bills
 *
 *   UPDATE bills      UPDATE L_old AS bills
 *
 *   COPY bills TO     COPY bills (id, is_taxable) TO
 *
 * What the other model's columns become, a trigger on the table says
 * (ddl_columns.c); a write is synced as far as its epoch is checked.
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/text/sqltext.h"
#include "rewrite/write/write_child.h"

const struct relation *hide_shown(const struct statement *st, unsigned name)
{
	const struct lens *l = statement_lens(st, name);

	return statement_shape(st, name) == SHAPE_OLD ? l->old : l->new;
}

static const char *column_list(const struct statement *st, unsigned name,
			       bool generated)
{
	const struct relation *r = hide_shown(st, name);
	struct sqltext t;

	sqltext_begin(&t, st->a);
	for (size_t i = 0; i < r->n_columns; i++)
		if (generated || !r->columns[i].generated)
			sqltext_item(&t, ", ", "%s",
				     quote_name(r->columns[i].name, st->a));
	return t.s;
}

const char *hide_derived(const struct statement *st, const struct ref *ref,
			 const char *sample)
{
	return arena_fmt(st->a, "(SELECT %s%s FROM %s%s%s)",
			 column_list(st, ref->name, true),
			 system_columns(st, ref), ref->var->inh ? "" : "ONLY ",
			 statement_lens(st, ref->name)->old_ref, sample);
}

/* ON CONSTRAINT is of the table, not of the view: its columns instead. */
static bool hide_constraint(struct statement *st, const struct ref *target)
{
	const struct relation *r = hide_shown(st, target->name);
	const InsertStmt *insert = (const InsertStmt *)st->node;
	const InferClause *infer =
	    IsA(insert, InsertStmt) && insert->onConflictClause != NULL
		? insert->onConflictClause->infer
		: NULL;
	const struct constraint *c;
	struct sqltext t;

	if (infer == NULL || infer->conname == NULL)
		return true;
	c = relation_find_unique(r, infer->conname);
	if (c == NULL)
		return statement_refuse(
		    st, target->name, "ON CONSTRAINT with this name",
		    "The write runs on a view that hides the other model's "
		    "columns.",
		    "Name the columns of a unique constraint.");
	sqltext_begin(&t, st->a);
	for (size_t k = 0; k < c->n_columns; k++)
		sqltext_item(&t, ", ", "%s", quote_name(c->columns[k], st->a));
	write_name_columns(st, infer, t.s);
	return true;
}

static bool moves_key(const struct statement *st, const struct lens *l)
{
	const UpdateStmt *update = (const UpdateStmt *)st->node;
	const InsertStmt *insert = (const InsertStmt *)st->node;

	if (IsA(update, UpdateStmt))
		return child_sets_key(l, update->targetList);
	return IsA(insert, InsertStmt) && insert->onConflictClause != NULL &&
	       child_sets_key(l, insert->onConflictClause->targetList);
}

bool write_hide(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	enum shape shape = statement_shape(st, target->name);
	const char *view =
	    shape == SHAPE_OLD ? l->old_view_ref : l->new_view_ref;
	const char *alias = quote_name(ref_alias(target), st->a);

	if (target->direct)
		return hide_direct(st, target);
	/* A child's new shape, whose old columns its view hides. */
	if (write_is_current_of(st->node) || IsA(st->node, MergeStmt))
		return statement_refuse(
		    st, target->name,
		    IsA(st->node, MergeStmt) ? "MERGE" : "WHERE CURRENT OF",
		    "The write runs on a view that hides the other model's "
		    "columns.",
		    "Name the row by its key.");
	statement_replace(st, span_of_relation(st, target->var),
			  target->var->alias != NULL
			      ? view
			      : arena_fmt(st->a, "%s AS %s", view, alias));
	if (!hide_constraint(st, target))
		return false;
	if (target->action != ACT_HIDE_SYNC)
		return true;
	if (l->child != NULL && moves_key(st, l))
		return statement_refuse(
		    st, target->name, "SET of the key",
		    "The child table's rows follow only when the statement "
		    "ends.",
		    "Wait for phase new_only, or use the old shape.");
	return write_sync_rows(st, target);
}

/* The server would find the other model's columns. */
static bool check_list(struct statement *st, const CopyStmt *copy,
		       unsigned name)
{
	ListCell *cell;

	foreach (cell, copy->attlist) {
		const char *column = strVal(lfirst(cell));

		if (relation_find_column(hide_shown(st, name), column) != NULL)
			continue;
		problem_set(&st->plan->refusal, "42703",
			    "column \"%s\" of relation \"%s\" does not exist",
			    column, copy->relation->relname);
		return false;
	}
	return true;
}

bool copy_hide(struct statement *st, const CopyStmt *copy, unsigned name)
{
	struct span span = span_of_relation(st, copy->relation);

	if (copy->attlist != NIL)
		return check_list(st, copy, name);
	statement_insert_after(
	    st, span.end - 1,
	    arena_fmt(st->a, " (%s)", column_list(st, name, false)));
	return true;
}

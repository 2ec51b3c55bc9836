/*
 * Writes through the lens (design section 8).  The client's text keeps its
 * order; what is inserted around it lets PostgreSQL do the rest:
 *
 *   INSERT INTO old (a) SOURCE ON CONFLICT ... RETURNING ...
 *     WITH "pgtandem.row" AS (INSERT INTO L_shape (a) SOURCE RETURNING *)
 *     INSERT INTO L_lens AS old (...) SELECT forward(r) FROM "pgtandem.row" r
 *     ON CONFLICT ... RETURNING ...
 *   UPDATE old SET ...   UPDATE L_lens AS old SET ... (write_set.c)
 *   DELETE FROM old      DELETE FROM L_lens AS old
 */
#include "rewrite/write/write_lens.h"

#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/write/write_child.h"

bool lens_is_converted(const struct lens *l)
{
	for (size_t i = 0; i < l->n_old; i++)
		if (!l->olds[i].carried)
			return true;
	for (size_t i = 0; i < l->n_new; i++)
		if (!l->news[i].carried && !l->news[i].extra)
			return true;
	return false;
}

int lens_find_old(const struct lens *l, const char *name)
{
	for (size_t i = 0; i < l->n_old; i++)
		if (strcmp(l->olds[i].column->name, name) == 0)
			return (int)i;
	return -1;
}

bool lens_has_same_column(const struct lens *l, const char *name)
{
	int old = lens_find_old(l, name);

	return old >= 0 && l->olds[old].carried &&
	       strcmp(l->news[l->olds[old].new_index].column->name, name) == 0;
}

const char *old_default(const struct lens *l, unsigned old, struct arena *a)
{
	const struct column *c = l->olds[old].column;

	if (c->default_expr != NULL)
		return arena_fmt(a, "(%s)", c->default_expr);
	if (c->identity != 0 && c->sequence != NULL)
		return arena_fmt(a, "pg_catalog.nextval(%s)",
				 quote_text(c->sequence, a));
	return c->type_default != NULL ? arena_fmt(a, "(%s)", c->type_default)
				       : "NULL";
}

bool column_same_default(const struct column *old, const struct column *new)
{
	if (old->identity != new->identity ||
	    (old->default_expr == NULL) != (new->default_expr == NULL))
		return false;
	return old->default_expr == NULL ||
	       strcmp(old->default_expr, new->default_expr) == 0;
}

bool lens_only_renames(const struct lens *l)
{
	if (l->kind != LENS_TABLE || lens_is_converted(l) ||
	    l->n_new != l->n_old)
		return false;
	for (size_t i = 0; i < l->n_old; i++)
		if (l->olds[i].new_index != i ||
		    strcmp(l->olds[i].column->name, l->news[i].column->name) !=
			0 ||
		    !column_same_default(l->olds[i].column, l->news[i].column))
			return false;
	return true;
}

const char *lens_view_column(const struct lens *l, unsigned new_index,
			     struct arena *a)
{
	const struct lens_new *n = &l->news[new_index];
	bool own = n->carried && l->olds[n->old_index].carried &&
		   l->olds[n->old_index].new_index == new_index;

	return quote_name(own ? l->olds[n->old_index].column->name
			      : arena_fmt(a, "new.%s", n->column->name),
			  a);
}

static const char *as_alias(const struct statement *st,
			    const struct ref *target, const char *relation)
{
	return arena_fmt(st->a, "%s AS %s", relation,
			 quote_name(ref_alias(target), st->a));
}

/* The view that stands for the target. */
static const char *view_ref(const struct statement *st,
			    const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	if (l->half == NULL || IsA(st->node, UpdateStmt))
		return l->lens_ref;
	if (IsA(st->node, InsertStmt))
		return lens_fills(l) ? l->half->fill_ref : l->lens_ref;
	return lens_cuts(l) ? l->half->cut_ref : l->lens_ref;
}

const char *lens_as_alias(const struct statement *st, const struct ref *target)
{
	return as_alias(st, target, view_ref(st, target));
}

bool lens_refuse(struct statement *st, const struct ref *target,
		 const char *clause, const char *hint)
{
	return statement_refuse(
	    st, target->name, clause,
	    "The write runs on "
	    "the new relation, where this has no counterpart.",
	    hint);
}

bool lens_finish(struct statement *st, const struct ref *target,
		 enum shape names)
{
	const char *call = NULL;

	if (statement_lens(st, target->name)->child != NULL)
		return child_finish(st, target);
	if (target->action == ACT_LENS_SYNC) {
		bool trigger = write_sync_by_trigger(st, target);

		if (!write_check_upsert(st, target) ||
		    (trigger && !write_check_alone(st, target)))
			return false;
		if (!trigger)
			call = write_sync_call(st, target, SYNC_TO_OLD, names);
	}
	return write_edit_returning(st, target, SHAPE_OLD, true, call);
}

/* A child's row is computed from its own values, under its parent's lock.
 * With FROM the condition would be asked of rows that are not joined: there
 * the parent's own version alone tells of a change. */
static bool locks_first(const struct statement *st)
{
	return st->stashed && IsA(st->node, UpdateStmt) &&
	       ((const UpdateStmt *)st->node)->fromClause == NIL;
}

/*
 * WHERE CURRENT OF is for tables alone: the cursor, over a derived table, is
 * one over the new relation for PostgreSQL, and so the write goes there.
 */
static bool direct_write(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	bool renames = lens_only_renames(l);
	struct span span = span_of_relation(st, target->var);

	if (!renames && write_returning(st->node) != NIL)
		return lens_refuse(st, target,
				   "RETURNING beside WHERE CURRENT OF",
				   "Name the row by its key.");
	statement_replace(st, span,
			  target->var->alias != NULL
			      ? l->new_ref
			      : as_alias(st, target, l->new_ref));
	return lens_finish(st, target, SHAPE_NEW);
}

/* UPDATE and DELETE: the relation and its alias; ONLY goes, since the old
 * relation has no children. */
static bool write_rows(struct statement *st, const struct ref *target)
{
	if (write_is_current_of(st->node) &&
	    statement_lens(st, target->name)->child != NULL)
		return child_write_current(st, target);
	if (write_is_current_of(st->node))
		return half_check_current_of(st, target) &&
		       direct_write(st, target);
	statement_replace(st, span_of_relation(st, target->var),
			  target->var->alias != NULL
			      ? view_ref(st, target)
			      : lens_as_alias(st, target));
	if (statement_prelocks(st, target->name) || locks_first(st))
		write_add_lock(st, target, SHAPE_OLD);
	return lens_finish(st, target, SHAPE_OLD);
}

/* PostgreSQL 15 and 16 merge into tables alone. */
static bool lens_merge(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	if (span_find_word(st, span_of_relation(st, target->var).end,
			   "returning") < st->end)
		return statement_refuse(
		    st, target->name, "MERGE ... RETURNING",
		    "It is not in PostgreSQL 15's grammar, and is not read.",
		    "Use INSERT, UPDATE and DELETE.");
	if (l->child != NULL)
		return child_merge(st, target);
	if (!lens_only_renames(l))
		return statement_refuse(
		    st, target->name, "MERGE",
		    "It would have to write through the lens, where MERGE "
		    "cannot.",
		    "Use INSERT ... ON CONFLICT, or UPDATE and INSERT.");
	statement_replace(st, span_of_relation(st, target->var),
			  target->var->alias != NULL
			      ? l->new_ref
			      : as_alias(st, target, l->new_ref));
	return true;
}

/* One past the SET list that starts at token i. */
static size_t set_end(const struct statement *st, size_t i)
{
	for (; i < st->end; i++) {
		if (st->tokens->v[i].depth > st->depth)
			continue;
		if (token_is_clause(st, i, "where") ||
		    token_is_clause(st, i, "returning"))
			return i;
		if (token_is_clause(st, i, "from") &&
		    !token_is(st->tokens, i - 1, "distinct"))
			return i;
	}
	return st->end;
}

struct span set_list(const struct statement *st, const List *targets)
{
	const ResTarget *first = linitial(targets);
	size_t i = tokens_find(st->tokens, (uint32_t)first->location);

	if (st->tokens->v[i].depth > st->depth) /* (a, b) = */
		i--;
	return (struct span){i, set_end(st, i)};
}

/* In front of the write, or of the query of WITH that it is. */
static struct check_place check_before(const struct statement *st, size_t word,
				       const WithClause *with)
{
	struct check_place place = {st->tokens->v[word].from,
				    with != NULL ? ", " : "WITH ",
				    " ",
				    {0, 0}};

	if (st->part == NULL)
		return place;
	place.at = st->tokens->v[part_head(st).first].from;
	place.before = "";
	place.behind = ", ";
	if (with != NULL)
		place.with = (struct span){st->first, word};
	return place;
}

static bool lens_update(struct statement *st, const struct ref *target)
{
	const UpdateStmt *update = (const UpdateStmt *)st->node;
	size_t word = span_of_relation(st, target->var).first - 1;
	const struct check_place check =
	    check_before(st, word, update->withClause);

	return write_set(st, target, update->targetList,
			 set_list(st, update->targetList), &check) &&
	       write_rows(st, target);
}

bool write_lens(struct statement *st, const struct ref *target)
{
	if (!half_check_write(st, target))
		return false;
	if (IsA(st->node, InsertStmt))
		return lens_insert(st, target);
	if (IsA(st->node, UpdateStmt))
		return lens_update(st, target);
	if (IsA(st->node, MergeStmt))
		return lens_merge(st, target);
	return write_rows(st, target);
}

/*
 * ON CONFLICT through the lens: what the client infers an index from, as the
 * columns of L_lens.
 */
#include "rewrite/write/write_lens.h"

#include <string.h>

#include "rewrite/text/sqltext.h"
#include "rewrite/write/write_child.h"

/* What stands for an old column in a unique index: its name in L_lens, the
 * converted column where one stands for one, or NULL. */
static const char *conflict_name(const struct statement *st,
				 const struct lens *l, unsigned old)
{
	if (l->olds[old].carried)
		return quote_name(l->olds[old].column->name, st->a);
	for (unsigned j = 0; j < l->n_new; j++) {
		const struct lens_new *n = &l->news[j];

		if (!n->carried && !n->extra && l->olds[old].bijective &&
		    n->bijective && n->forward.n > 0 &&
		    n->forward.column[0] == old)
			return quote_name(
			    arena_fmt(st->a, "new.%s", n->column->name), st->a);
	}
	return NULL;
}

static bool refuse_conflict(struct statement *st, const struct ref *target)
{
	return lens_refuse(
	    st, target, "ON CONFLICT with a converted column",
	    "Say bijective: true in the specification if it is.");
}

/* One column of ON CONFLICT (...), whose end is token `end`. */
static bool conflict_column(struct statement *st, const struct ref *target,
			    const IndexElem *elem, size_t end, size_t *token)
{
	const struct lens *l = statement_lens(st, target->name);
	int old = elem->name != NULL ? lens_find_old(l, elem->name) : -1;
	size_t at = *token;
	const char *name;

	while (*token < end && !(st->tokens->v[*token].punct == ',' &&
				 st->tokens->v[*token].depth == st->depth + 1))
		(*token)++;
	(*token)++;
	if (old < 0 || l->olds[old].carried)
		return elem->name != NULL || !lens_is_converted(l) ||
		       lens_refuse(st, target,
				   "ON CONFLICT with an "
				   "expression",
				   "Name the columns.");
	if (elem->opclass != NIL)
		return lens_refuse(st, target,
				   "ON CONFLICT with an operator class of a "
				   "converted column",
				   "Name the column alone.");
	name = conflict_name(st, l, (unsigned)old);
	if (name == NULL)
		return refuse_conflict(st, target);
	statement_replace(st, (struct span){at, span_name_end(st, at)}, name);
	return true;
}

void write_name_columns(struct statement *st, const InferClause *infer,
			const char *columns)
{
	size_t at = tokens_find(st->tokens, (uint32_t)infer->location);

	while (at < st->end && !token_is(st->tokens, at, "constraint"))
		at++;
	statement_replace(st, (struct span){at - 1, span_name_end(st, at + 1)},
			  arena_fmt(st->a, "(%s)", columns));
}

/* ON CONSTRAINT: the columns of the old relation's unique constraint. */
static bool conflict_constraint(struct statement *st, const struct ref *target,
				const InferClause *infer)
{
	const struct lens *l = statement_lens(st, target->name);
	const struct constraint *c =
	    relation_find_unique(l->old, infer->conname);
	struct sqltext t;

	if (c == NULL)
		return lens_refuse(st, target, "ON CONSTRAINT with this name",
				   "Name the columns of a unique constraint.");
	sqltext_begin(&t, st->a);
	for (size_t k = 0; k < c->n_columns; k++) {
		int old = lens_find_old(l, c->columns[k]);
		const char *name =
		    old < 0 ? NULL : conflict_name(st, l, (unsigned)old);

		if (name == NULL)
			return refuse_conflict(st, target);
		sqltext_item(&t, ", ", "%s", name);
	}
	write_name_columns(st, infer, t.s);
	return true;
}

/* ON CONFLICT (...) WHERE: PostgreSQL compares it with the index's predicate,
 * in which a converted column is computed back. */
static bool conflict_predicate(struct statement *st, const struct ref *target,
			       size_t at)
{
	const struct lens *l = statement_lens(st, target->name);

	for (; at < st->end && !token_is(st->tokens, at, "do"); at++)
		for (size_t i = 0; i < l->n_old; i++)
			if (!l->olds[i].carried &&
			    (st->tokens->v[at].kind == TOKEN_UNICODE ||
			     token_spells(st->sql, &st->tokens->v[at],
					  l->olds[i].column->name)))
				return lens_refuse(
				    st, target,
				    "ON CONFLICT ... WHERE of a converted "
				    "column",
				    "Leave the index predicate "
				    "out.");
	return true;
}

static bool has_moved(const struct lens *l, const char *const *columns,
		      size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int old = columns[i] ? lens_find_old(l, columns[i]) : -1;

		if (old >= 0 && !l->olds[old].carried)
			return true;
	}
	return false;
}

/* Where a unique column has moved, it is not the row's own insertion that
 * finds the other one. */
static bool unique_moves(const struct lens *l)
{
	for (size_t i = 0; i < l->old->n_constraints; i++) {
		const struct constraint *c = &l->old->constraints[i];

		if ((c->kind == CONSTRAINT_UNIQUE ||
		     c->kind == CONSTRAINT_EXCLUSION) &&
		    has_moved(l, c->columns, c->n_columns))
			return true;
	}
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (l->old->indexes[i].unique &&
		    has_moved(l, l->old->indexes[i].columns,
			      l->old->indexes[i].n_columns))
			return true;
	return false;
}

static bool infers_column(const InferClause *infer, const char *column)
{
	ListCell *cell;

	foreach (cell, infer->indexElems) {
		const IndexElem *elem = lfirst(cell);

		if (elem->name != NULL && strcmp(elem->name, column) == 0)
			return true;
	}
	return false;
}

/* Could this be the index that is meant, and has it no twin? (ddl_model.c) */
static bool infers_lost(const struct lens *l, const struct index *x,
			const InferClause *infer)
{
	bool partial = strstr(x->definition, " WHERE ") != NULL;

	for (size_t i = 0; i < x->n_columns; i++)
		if (x->columns[i] == NULL ||
		    !infers_column(infer, x->columns[i]))
			return false;
	return x->unique && has_moved(l, x->columns, x->n_columns) &&
	       (partial ? infer->whereClause != NULL
			: strstr(x->definition, "_ops") != NULL);
}

static bool refuse_lost_index(struct statement *st, const struct ref *target,
			      const InferClause *infer)
{
	const struct lens *l = statement_lens(st, target->name);

	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (infers_lost(l, &l->old->indexes[i], infer))
			return lens_refuse(
			    st, target,
			    "ON CONFLICT with an index of a converted column "
			    "that the new relation has no twin of",
			    "Make a plain unique index of the columns.");
	return true;
}

static bool lens_infer(struct statement *st, const struct ref *target,
		       const InferClause *infer)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t token, end;
	ListCell *cell;

	if (infer == NULL)
		return l->child == NULL || !unique_moves(l) ||
		       lens_refuse(st, target,
				   "ON CONFLICT without its columns",
				   "Name the columns of a unique "
				   "constraint that has not moved.");
	if (infer->conname != NULL)
		return conflict_constraint(st, target, infer);
	if (!refuse_lost_index(st, target, infer))
		return false;
	token = tokens_find(st->tokens, (uint32_t)infer->location) + 1;
	end = span_closing(st, token - 1);
	if (infer->whereClause != NULL && !conflict_predicate(st, target, end))
		return false;
	foreach (cell, infer->indexElems)
		if (!conflict_column(st, target, lfirst(cell), end, &token))
			return false;
	return true;
}

bool lens_on_conflict(struct statement *st, const struct ref *target,
		      const OnConflictClause *clause, size_t source)
{
	const struct check_place check = {
	    st->tokens->v[source].to, ", ", "", {0, 0}};

	if (clause == NULL || (lens_fills(statement_lens(st, target->name)) &&
			       clause->action != ONCONFLICT_UPDATE))
		return true;
	if (statement_lens(st, target->name)->child != NULL) {
		if (!write_check_upsert(st, target))
			return false;
		child_excluded(st, target, source,
			       span_find_word(st, source, "returning"));
	}
	return lens_infer(st, target, clause->infer) &&
	       (clause->targetList == NIL ||
		write_set(st, target, clause->targetList,
			  set_list(st, clause->targetList), &check));
}

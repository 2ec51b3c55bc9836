/*
 * Writes through a merge's lens, where they differ from those through a table
 * lens (rewrite/ddl/ddl_merge.c has the other side of it):
 *
 *   INSERT   INSERT INTO L_fill AS old (...) SELECT ... ON CONFLICT (key)
 *            DO UPDATE SET <this half> WHERE L_claim(old.marker IS NULL, key)
 *   ... ON CONFLICT DO NOTHING
 *            the same WHERE old.marker IS NULL
 *   ... ON CONFLICT DO UPDATE SET a = X WHERE c
 *            the client's clause with
 *            SET (a, <rest of the half>) = (SELECT CASE WHEN old.marker IS NULL
 *            THEN excluded.a ELSE X END, ...) WHERE old.marker IS NULL OR (c)
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/text/sqltext.h"
#include "rewrite/write/write_set.h"

static bool is_key_column(const struct lens *l, const char *name)
{
	for (size_t i = 0; i < l->n_key; i++)
		if (strcmp(l->old->columns[l->key[i].old_index].name, name) ==
		    0)
			return true;
	return false;
}

static bool is_key_constraint(const struct lens *l, const struct constraint *k)
{
	if (k == NULL || k->n_columns != l->n_key)
		return false;
	for (size_t i = 0; i < k->n_columns; i++)
		if (!is_key_column(l, k->columns[i]))
			return false;
	return true;
}

static bool infers_key(const struct lens *l, const InferClause *infer)
{
	ListCell *cell;

	if (infer == NULL) /* is there nothing else to conflict with? */
		return relation_count_unique(l->old) == 1;
	if (infer->conname != NULL)
		return is_key_constraint(
		    l, relation_find_unique(l->old, infer->conname));
	foreach (cell, infer->indexElems) {
		const char *name = lfirst_node(IndexElem, cell)->name;

		if (name == NULL || !is_key_column(l, name))
			return false;
	}
	return infer->whereClause == NULL &&
	       (size_t)list_length(infer->indexElems) == l->n_key;
}

/* One command cannot insert a key and then find it there. */
static bool is_one_row(const InsertStmt *insert)
{
	const SelectStmt *source = (const SelectStmt *)insert->selectStmt;

	return source == NULL || list_length(source->valuesLists) == 1;
}

static bool check_conflict(struct statement *st, const struct ref *target,
			   const InsertStmt *insert)
{
	const struct lens *l = statement_lens(st, target->name);
	const OnConflictClause *clause = insert->onConflictClause;

	if (clause == NULL || !lens_fills(l))
		return true;
	if (!infers_key(l, clause->infer))
		return statement_refuse(
		    st, target->name,
		    "ON CONFLICT with anything but the columns of the key",
		    "The row may be there with the other old table's half "
		    "alone.",
		    "Name the key's columns.");
	if (clause->action == ONCONFLICT_UPDATE)
		return write_check_upsert(st, target);
	return is_one_row(insert) ||
	       statement_refuse(st, target->name,
				"ON CONFLICT for more than one row of VALUES",
				"Two of them might have one key.",
				"Insert the rows one by one.");
}

/* All parts of a statement see the rows as they were before it, and a row is
 * written by one of them only. */
static bool check_alone(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t at = 0, at_other = 0;

	return (write_beside(st, target, l, &at) == NULL &&
		write_beside(st, target, l->half->other, &at_other) == NULL) ||
	       statement_refuse(
		   st, target->name, "a write beside another one",
		   "Both may write the two halves of one row of the new "
		   "relation, which one statement cannot.",
		   "Use two statements.");
}

bool half_check_write(struct statement *st, const struct ref *target)
{
	const struct lens_half *half = statement_lens(st, target->name)->half;

	if (half == NULL)
		return true;
	if (!check_alone(st, target))
		return false;
	if (IsA(st->node, InsertStmt))
		return check_conflict(st, target, (const InsertStmt *)st->node);
	return !write_sync_by_trigger(st, target) ||
	       (half->link == HALF_LEADS && half->moves) ||
	       statement_refuse(
		   st, target->name, "UPDATE of a key column",
		   "The other old table's half of the row has the same key, "
		   "and would move with it.",
		   "INSERT the row under its new key and DELETE the old one.");
}

bool half_check_current_of(struct statement *st, const struct ref *target)
{
	return statement_lens(st, target->name)->half == NULL ||
	       statement_refuse(st, target->name, "WHERE CURRENT OF",
				"The cursor's row has the other old table's "
				"half too.",
				"Name the row by its key.");
}

/* A new column by its name in L_lens. */
static const char *view_name(const struct lens *l, unsigned new,
			     struct arena *a)
{
	const struct lens_new *n = &l->news[new];

	return quote_name(n->carried ? l->old->columns[n->old_index].name
				     : arena_fmt(a, "new.%s", n->column->name),
			  a);
}

static bool is_set(const struct lens *l, unsigned new)
{
	const struct lens_new *n = &l->news[new];

	return !n->extra && n->column->generated == 0 &&
	       !(n->carried &&
		 is_key_column(l, l->old->columns[n->old_index].name));
}

const char *half_missing(const struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	return lens_fills(l) && IsA(st->node, InsertStmt)
		   ? arena_fmt(st->a, "%s.%s IS NULL",
			       quote_name(ref_alias(target), st->a),
			       view_name(l, l->half->marker, st->a))
		   : NULL;
}

/* The name of the first column that may not be NULL and is, over r, where the
 * marker is. */
static const char *first_null(const struct set *s, unsigned marker)
{
	struct sqltext t;

	sqltext_begin(&t, s->st->a);
	for (unsigned i = 0; i < marker; i++) {
		const char *name = s->l->olds[i].column->name;

		if (s->l->olds[i].column->not_null && set_find(s, i) != NULL)
			sqltext_put(&t, "CASE WHEN r.%s IS NULL THEN %s ELSE ",
				    quote_name(name, t.a),
				    quote_text(name, t.a));
	}
	sqltext_put(&t, "%s", quote_text(s->l->olds[marker].column->name, t.a));
	for (unsigned i = 0; i < marker; i++)
		if (s->l->olds[i].column->not_null && set_find(s, i) != NULL)
			sqltext_put(&t, " END");
	return t.s;
}

const char *half_kept(const struct set *s, unsigned old, const char *value)
{
	struct arena *a = s->st->a;

	if (s->missing == NULL ||
	    s->l->olds[old].new_index != s->l->half->marker)
		return value;
	return arena_fmt(a, "pgtandem.required(%s, %s, %s, %s)", value,
			 quote_text(s->l->old->schema, a),
			 quote_text(s->l->old->name, a), first_null(s, old));
}

const char *set_or_fill(const struct set *s, const char *goal,
			const char *value)
{
	return s->missing == NULL
		   ? value
		   : arena_fmt(s->st->a,
			       "CASE WHEN %s THEN excluded.%s ELSE %s END",
			       s->missing, goal, value);
}

static bool is_made_of(const struct lens_new *n, unsigned old)
{
	for (size_t i = 0; i < n->forward.n; i++)
		if (n->forward.column[i] == old)
			return true;
	return n->carried && n->old_index == old;
}

static bool is_assigned(const struct set *s, unsigned new)
{
	for (size_t i = 0; i < s->n; i++)
		if (is_made_of(&s->l->news[new], (unsigned)s->v[i].old))
			return true;
	return false;
}

void set_fill_goals(const struct set *s, struct sqltext *goals,
		    struct sqltext *values)
{
	const char *alias = quote_name(ref_alias(s->target), goals->a);

	for (unsigned i = 0; i < s->l->n_new; i++) {
		const char *name = view_name(s->l, i, goals->a);

		if (!is_set(s->l, i) || is_assigned(s, i))
			continue;
		sqltext_item(goals, ", ", "%s", name);
		sqltext_item(
		    values, ", ", "%s",
		    set_or_fill(s, name,
				arena_fmt(goals->a, "%s.%s", alias, name)));
	}
}

/* The client's condition is of rows that have the half. */
static void half_condition(struct statement *st, const struct ref *target,
			   size_t source)
{
	size_t where = span_find_word(st, source + 1, "where");
	size_t end = span_find_word(st, source + 1, "returning");

	if (where >= end)
		return;
	statement_insert_after(
	    st, where, arena_fmt(st->a, " %s OR (", half_missing(st, target)));
	statement_insert_after(st, end - 1, ")");
}

const char *half_fill_clause(const struct lens *l, const char *alias,
			     bool or_nothing, struct arena *a)
{
	const char *missing;
	struct sqltext keys, values, sets;

	sqltext_begin(&keys, a);
	sqltext_begin(&values, a);
	sqltext_begin(&sets, a);
	for (size_t i = 0; i < l->n_key; i++) {
		const char *key = view_name(l, l->key[i].new_index, a);

		sqltext_item(&keys, ", ", "%s", key);
		sqltext_item(&values, ", ", "%s.%s", alias, key);
	}
	for (unsigned i = 0; i < l->n_new; i++)
		if (is_set(l, i))
			sqltext_item(&sets, ", ", "%s = excluded.%s",
				     view_name(l, i, a), view_name(l, i, a));
	missing = arena_fmt(a, "%s.%s IS NULL", alias,
			    view_name(l, l->half->marker, a));
	if (!or_nothing)
		missing = arena_fmt(a, "%s(%s, %s)", l->half->claim_ref,
				    missing, values.s);
	return arena_fmt(a, " ON CONFLICT (%s) DO UPDATE SET %s WHERE %s",
			 keys.s, sets.s, missing);
}

const char *half_on_conflict(const struct statement *st,
			     const struct ref *target)
{
	const InsertStmt *insert = (const InsertStmt *)st->node;
	const OnConflictClause *clause = insert->onConflictClause;

	if (clause != NULL && clause->action == ONCONFLICT_UPDATE)
		return ""; /* the client's own */
	return half_fill_clause(statement_lens(st, target->name),
				quote_name(ref_alias(target), st->a),
				clause != NULL, st->a);
}

void half_edit_clause(struct statement *st, const struct ref *target,
		      size_t source)
{
	const InsertStmt *insert = (const InsertStmt *)st->node;
	struct span clause = {source + 1,
			      span_find_word(st, source + 1, "returning")};

	if (insert->onConflictClause == NULL)
		return;
	if (insert->onConflictClause->action == ONCONFLICT_UPDATE)
		half_condition(st, target, source);
	else
		statement_replace(st, clause, "");
}

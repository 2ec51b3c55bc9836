/*
 * Writes through a merge's lens, where they differ from those through a table
 * lens (rewrite/ddl_merge.c has the other side of it):
 *
 *   INSERT   INSERT INTO L_fill AS old (...) SELECT ... ON CONFLICT (key)
 *            DO UPDATE SET <this half> WHERE L_claim(old.marker IS NULL, key)
 *   ... ON CONFLICT DO NOTHING
 *            the same WHERE old.marker IS NULL
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/sqltext.h"

static bool is_key_column(const struct lens *l, const char *name)
{
	for (size_t i = 0; i < l->n_key; i++)
		if (strcmp(l->old->columns[l->key[i].old_index].name, name) ==
		    0)
			return true;
	return false;
}

/* Is there nothing else that an INSERT could conflict with? */
static bool has_only_key(const struct lens *l)
{
	size_t unique = 0;

	for (size_t i = 0; i < l->old->n_constraints; i++)
		unique += l->old->constraints[i].kind == CONSTRAINT_PRIMARY ||
			  l->old->constraints[i].kind == CONSTRAINT_UNIQUE ||
			  l->old->constraints[i].kind == CONSTRAINT_EXCLUSION;
	for (size_t i = 0; i < l->old->n_indexes; i++)
		unique += l->old->indexes[i].unique;
	return unique == 1;
}

static bool infers_key(const struct lens *l, const InferClause *infer)
{
	ListCell *cell;

	if (infer == NULL)
		return has_only_key(l);
	foreach (cell, infer->indexElems) {
		const char *name = lfirst_node(IndexElem, cell)->name;

		if (name == NULL || !is_key_column(l, name))
			return false;
	}
	return infer->conname == NULL && infer->whereClause == NULL &&
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
	if (clause->action == ONCONFLICT_UPDATE)
		return statement_refuse(
		    st, target->name, "ON CONFLICT DO UPDATE",
		    "The row may be there with the other old table's half "
		    "alone.",
		    "UPDATE, and INSERT ... ON CONFLICT DO NOTHING where no "
		    "row was there.");
	if (!infers_key(l, clause->infer))
		return statement_refuse(
		    st, target->name,
		    "ON CONFLICT with anything but the columns of the key",
		    "The row may be there with the other old table's half "
		    "alone.",
		    "Name the key's columns.");
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

	for (size_t i = 0; i < st->found.n_refs; i++) {
		const struct ref *r = st->found.refs[i];
		const struct lens *other =
		    r->is_target ? statement_lens(st, r->name) : NULL;

		if (r != target && (other == l || other == l->half->other))
			return statement_refuse(
			    st, target->name, "a write beside another one",
			    "Both may write the two halves of one row of the "
			    "new relation, which one statement cannot.",
			    "Use two statements.");
	}
	return true;
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

	return half_fill_clause(statement_lens(st, target->name),
				quote_name(ref_alias(target), st->a),
				insert->onConflictClause != NULL, st->a);
}

void half_drop_clause(struct statement *st, const InsertStmt *insert,
		      size_t source)
{
	struct span clause = {source + 1,
			      span_find_word(st, source + 1, "returning")};

	if (insert->onConflictClause != NULL)
		statement_replace(st, clause, "");
}

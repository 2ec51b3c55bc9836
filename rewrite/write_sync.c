/*
 * Writes on the source of the phase, kept as the client wrote them, with the
 * function that syncs each row's key appended to RETURNING as a hidden column
 * (design section 5).
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/sqltext.h"

List *write_returning(const Node *write)
{
	if (IsA(write, InsertStmt))
		return ((const InsertStmt *)write)->returningList;
	if (IsA(write, UpdateStmt))
		return ((const UpdateStmt *)write)->returningList;
	if (IsA(write, DeleteStmt))
		return ((const DeleteStmt *)write)->returningList;
	return NIL;
}

static const char *key_name(const struct lens *l, size_t i, enum shape shape)
{
	return shape == SHAPE_OLD ? l->olds[l->key[i].old_index].column->name
				  : l->news[l->key[i].new_index].column->name;
}

static const char *key_list(const struct statement *st,
			    const struct ref *target, enum shape names)
{
	const struct lens *l = statement_lens(st, target->name);
	const char *alias = quote_name(ref_alias(target), st->a);
	struct sqltext keys;

	sqltext_begin(&keys, st->a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&keys, ", ", "%s.%s", alias,
			     quote_name(key_name(l, i, names), st->a));
	return keys.s;
}

void write_append_sync(struct statement *st, const struct ref *target,
		       enum sync_side side, enum shape names)
{
	const struct lens *l = statement_lens(st, target->name);
	const struct rule_migration *m = statement_migration(st, target->name);
	bool asked = write_returning(st->node) != NIL;

	statement_insert_after(
	    st, st->end - 1,
	    arena_fmt(st->a, "%s%s(%llu, %s)", asked ? ", " : " RETURNING ",
		      side == SYNC_TO_NEW ? l->to_new_ref : l->to_old_ref,
		      (unsigned long long)m->epoch,
		      key_list(st, target, names)));
	if (st->explained)
		return;
	st->result->hidden = 1;
	st->result->silent = !asked;
}

void write_add_lock(struct statement *st, const struct ref *target,
		    enum shape names)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t from = span_of_relation(st, target->var).end;
	size_t where = span_find_word(st, from, "where");
	size_t end = span_find_word(st, from, "returning");
	const char *call = arena_fmt(st->a, "%s(%s)", l->lock_old_ref,
				     key_list(st, target, names));

	if (where >= end) {
		statement_insert_after(st, end - 1,
				       arena_fmt(st->a, " WHERE %s", call));
		return;
	}
	statement_insert_before(st, where + 1, "(");
	statement_insert_after(st, end - 1, arena_fmt(st->a, ") AND %s", call));
}

static bool sets_key(const struct lens *l, enum shape shape,
		     const UpdateStmt *update)
{
	ListCell *cell;

	foreach (cell, update->targetList) {
		const ResTarget *target = lfirst(cell);

		for (size_t i = 0; i < l->n_key; i++)
			if (strcmp(target->name, key_name(l, i, shape)) == 0)
				return true;
	}
	return false;
}

/* An UPDATE of key columns has the old key to sync as well, which RETURNING
 * cannot give: a trigger on the source does both. */
bool write_sync_by_trigger(const struct statement *st, const struct ref *target)
{
	return IsA(st->node, UpdateStmt) &&
	       sets_key(statement_lens(st, target->name),
			statement_name(st, target->name)->shape,
			(const UpdateStmt *)st->node);
}

bool write_sync(struct statement *st, const struct ref *target)
{
	const struct rule_migration *m = statement_migration(st, target->name);
	enum shape shape = statement_name(st, target->name)->shape;

	if (shape == SHAPE_NEW && m->prelock && !IsA(st->node, InsertStmt) &&
	    !st->found.current_of) /* which cannot stand beside AND */
		write_add_lock(st, target, shape);
	if (!write_sync_by_trigger(st, target))
		write_append_sync(
		    st, target, shape == SHAPE_OLD ? SYNC_TO_NEW : SYNC_TO_OLD,
		    shape);
	return true;
}

/*
 * Writes on the source of the phase, kept as the client wrote them, with the
 * function that syncs each row's key appended to RETURNING as a hidden column
 * (design section 5).
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/write/write_set.h"

bool write_is_current_of(const Node *write)
{
	const Node *where = NULL;

	if (IsA(write, UpdateStmt))
		where = ((const UpdateStmt *)write)->whereClause;
	else if (IsA(write, DeleteStmt))
		where = ((const DeleteStmt *)write)->whereClause;
	return where != NULL && IsA(where, CurrentOfExpr);
}

static const char *key_name(const struct lens *l, size_t i, enum shape shape)
{
	if (shape == SHAPE_NEW && l->child != NULL)
		return l->child->columns[l->child->parent[i]].column->name;
	return shape == SHAPE_OLD ? l->olds[l->key[i].old_index].column->name
				  : l->news[l->key[i].new_index].column->name;
}

static const char *key_list(const struct statement *st,
			    const struct ref *target, enum shape names)
{
	const struct lens *l = statement_lens(st, target->name);
	const char *alias = quote_name(ref_alias(target), st->a);
	struct sqltext keys;

	if (l->child != NULL && statement_name(st, target->name)->shared)
		names = SHAPE_OLD; /* and not the child table's */
	sqltext_begin(&keys, st->a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&keys, ", ", "%s.%s", alias,
			     quote_name(key_name(l, i, names), st->a));
	return keys.s;
}

/* Of a merge: with the leader's row that of the follower goes. */
static bool concerns_both(const struct statement *st, const struct lens *l,
			  enum shape names)
{
	return l->half != NULL &&
	       (names == SHAPE_NEW ||
		(l->half->link == HALF_LEADS && IsA(st->node, DeleteStmt)));
}

/* Where an inserted row is: ", inovices.ctid". */
static const char *place(const struct statement *st, const struct ref *target)
{
	bool view = target->action == ACT_LENS_SYNC;

	if (!IsA(st->node, InsertStmt) ||
	    !lens_tells_place(statement_lens(st, target->name)))
		return "";
	return arena_fmt(st->a, ", %s.%s", quote_name(ref_alias(target), st->a),
			 view ? "\"pgtandem.ctid\"" : "ctid");
}

/* A query of WITH that writes. */
static bool writes_in_with(const struct tokens *t)
{
	static const char *const words[] = {"insert", "update", "delete",
					    "merge"};

	for (size_t i = 1; i < t->n; i++) {
		bool begins = token_is_punct(t, i - 1, '(') ||
			      token_is_punct(t, i - 1, ')');

		for (size_t k = 0; begins && t->v[i].depth > 0 &&
				   k < sizeof(words) / sizeof(*words);
		     k++)
			if (token_is(t, i, words[k]))
				return true;
	}
	return false;
}

/* May what a foreign key of the mirror asks for come later in the statement? */
static bool syncs_late(const struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	bool itself = false;

	if (l->kind == LENS_COLUMNS)
		return false;
	for (size_t i = 0; i < l->old->n_constraints; i++)
		itself |= lens_is_to_itself(l, &l->old->constraints[i]);
	return (itself && statement_prelocks(st, target->name)) ||
	       writes_in_with(st->tokens);
}

/* L_to_new or L_to_old, as it is or for the statement's end. */
static const char *sync_function(const struct statement *st,
				 const struct ref *target, const struct lens *l,
				 enum sync_side side)
{
	const char *ref = side == SYNC_TO_NEW ? l->to_new_ref : l->to_old_ref;

	return syncs_late(st, target) ? lens_late_ref(ref, st->a) : ref;
}

const char *write_sync_call(const struct statement *st,
			    const struct ref *target, enum sync_side side,
			    enum shape names)
{
	const struct lens *l = statement_lens(st, target->name);
	const char *keys = arena_fmt(
	    st->a, "%llu, %s%s",
	    (unsigned long long)statement_migration(st, target->name)->epoch,
	    key_list(st, target, names), place(st, target));

	if (side == SYNC_TO_OLD && concerns_both(st, l, names))
		return arena_fmt(
		    st->a, "pg_catalog.concat(%s(%s), %s(%s))",
		    sync_function(st, target, l, side), keys,
		    sync_function(st, target, l->half->other, side), keys);
	return arena_fmt(st->a, "%s(%s)", sync_function(st, target, l, side),
			 keys);
}

static bool sets_key(const struct lens *l, enum shape shape,
		     const List *targets)
{
	ListCell *cell;

	foreach (cell, targets) {
		const ResTarget *target = lfirst(cell);

		for (size_t i = 0; i < l->n_key; i++)
			if (strcmp(target->name, key_name(l, i, shape)) == 0)
				return true;
	}
	return false;
}

/* Is what it does to the row in the way of those who only keep its key? */
static bool takes_key(const struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	return l->child == NULL &&
	       (IsA(st->node, DeleteStmt) ||
		sets_key(l, statement_shape(st, target->name),
			 ((const UpdateStmt *)st->node)->targetList));
}

void write_add_lock(struct statement *st, const struct ref *target,
		    enum shape names)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t from = span_of_relation(st, target->var).end;
	size_t where = span_find_word(st, from, "where");
	size_t end = span_find_word(st, from, "returning");
	const char *keys = arena_fmt(st->a, "%s%s", key_list(st, target, names),
				     takes_key(st, target) ? ", true" : "");
	const char *call = arena_fmt(st->a, "%s(%s)", l->lock_old_ref, keys);

	if (concerns_both(st, l, names))
		call = arena_fmt(st->a, "%s AND %s(%s)", call,
				 l->half->other->lock_old_ref, keys);
	if (where >= end) {
		statement_insert_after(st, end - 1,
				       arena_fmt(st->a, " WHERE %s", call));
		return;
	}
	statement_insert_before(st, where + 1, "(");
	statement_insert_after(st, end - 1, arena_fmt(st->a, ") AND %s", call));
}

/* An UPDATE of key columns has the old key to sync as well, which RETURNING
 * cannot give: a trigger on the source does both. */
bool write_sync_by_trigger(const struct statement *st, const struct ref *target)
{
	return IsA(st->node, UpdateStmt) &&
	       statement_lens(st, target->name)->kind != LENS_COLUMNS &&
	       sets_key(statement_lens(st, target->name),
			statement_shape(st, target->name),
			((const UpdateStmt *)st->node)->targetList);
}

const struct ref *write_beside(const struct statement *st,
			       const struct ref *target, const struct lens *l,
			       size_t *at)
{
	while (*at < st->found.n_refs) {
		const struct ref *other = st->found.refs[(*at)++];

		if (other->is_target && other != target &&
		    statement_lens(st, other->name) == l)
			return other;
	}
	return NULL;
}

/* The trigger runs at the end of the statement: too late where another write
 * in it takes a unique value that this one has given up. */
bool write_check_alone(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t at = 0;

	return write_beside(st, target, l, &at) == NULL ||
	       statement_refuse(st, target->name,
				"UPDATE of a key column beside another write",
				"The rows of both could not be kept equal one "
				"after the other.",
				"Use two statements.");
}

/* Does ON CONFLICT look for the key, so that EXCLUDED's is the row's own? */
static bool infers_key(const struct lens *l, enum shape shape,
		       const InferClause *infer)
{
	const struct relation *r = shape == SHAPE_OLD ? l->old
				   : l->child	      ? l->child->relation
						      : l->new;

	if (infer == NULL) /* which DO UPDATE needs: the server says so */
		return true;
	for (size_t k = 0; k < l->n_key; k++) {
		const char *key = key_name(l, k, shape);
		bool found = false;
		ListCell *cell;

		foreach (cell, infer->indexElems) {
			const char *name = lfirst_node(IndexElem, cell)->name;

			found |= name != NULL && strcmp(name, key) == 0;
		}
		for (size_t i = 0; infer->conname && i < r->n_constraints; i++)
			for (size_t c = 0; c < r->constraints[i].n_columns; c++)
				found |= strcmp(r->constraints[i].name,
						infer->conname) == 0 &&
					 strcmp(r->constraints[i].columns[c],
						key) == 0;
		if (!found)
			return false;
	}
	return true;
}

/* Is the value EXCLUDED's, or the row's, of the same column? */
static bool is_same_column(const ResTarget *set, const char *relation)
{
	const Node *value = set->val;
	const ColumnRef *c = (const ColumnRef *)value;

	if (IsA(value, MultiAssignRef)) {
		const MultiAssignRef *multi = (const MultiAssignRef *)value;
		const RowExpr *row = (const RowExpr *)multi->source;

		if (!IsA(row, RowExpr) || list_length(row->args) < multi->colno)
			return false;
		c = list_nth(row->args, multi->colno - 1);
	}
	return IsA(c, ColumnRef) && list_length(c->fields) == 2 &&
	       IsA(lsecond(c->fields), String) &&
	       strcmp(strVal(linitial(c->fields)), relation) == 0 &&
	       strcmp(strVal(lsecond(c->fields)), set->name) == 0;
}

/* Neither the trigger alone, which does not see what is inserted, nor the
 * function before it, which may meet the former key's mirror, could follow. */
bool write_check_upsert(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	enum shape shape = statement_shape(st, target->name);
	const InsertStmt *insert = (const InsertStmt *)st->node;
	const OnConflictClause *clause =
	    IsA(insert, InsertStmt) && l->kind != LENS_COLUMNS
		? insert->onConflictClause
		: NULL;
	ListCell *cell;

	foreach (cell, clause != NULL ? clause->targetList : NIL) {
		const ResTarget *set = lfirst(cell);
		bool is_key = false;

		for (size_t i = 0; i < l->n_key; i++)
			is_key |= strcmp(set->name, key_name(l, i, shape)) == 0;
		if (!is_key || is_same_column(set, ref_alias(target)) ||
		    (is_same_column(set, "excluded") &&
		     infers_key(l, shape, clause->infer)))
			continue;
		return statement_refuse(
		    st, target->name, "ON CONFLICT DO UPDATE of a key column",
		    "The row's former key could not be told.",
		    "Leave the key out of SET.");
	}
	return true;
}

bool write_sync_rows(struct statement *st, const struct ref *target)
{
	enum shape shape = statement_shape(st, target->name);

	return write_edit_returning(
	    st, target, shape, false,
	    write_sync_call(st, target,
			    shape == SHAPE_OLD ? SYNC_TO_NEW : SYNC_TO_OLD,
			    shape));
}

/* The old row could not follow. */
static bool check_always_list(struct statement *st, const struct ref *target,
			      const List *targets)
{
	const struct lens *l = statement_lens(st, target->name);
	const ListCell *cell;

	foreach (cell, targets) {
		const char *name = lfirst_node(ResTarget, cell)->name;

		for (unsigned i = 0; i < l->n_new; i++)
			if (l->news[i].carried &&
			    strcmp(l->news[i].column->name, name) == 0 &&
			    set_has_always(st, target,
					   (int)l->news[i].old_index))
				return statement_refuse(
				    st, target->name,
				    "SET of a column that the old relation "
				    "always generates",
				    "Its row there could not be kept equal.",
				    "Wait for phase new_only.");
	}
	return true;
}

static bool check_always(struct statement *st, const struct ref *target)
{
	const InsertStmt *insert = (const InsertStmt *)st->node;
	const MergeStmt *merge = (const MergeStmt *)st->node;
	const ListCell *cell;

	if (IsA(st->node, UpdateStmt))
		return check_always_list(
		    st, target, ((const UpdateStmt *)st->node)->targetList);
	if (IsA(insert, InsertStmt) && insert->onConflictClause != NULL)
		return check_always_list(st, target,
					 insert->onConflictClause->targetList);
	if (!IsA(merge, MergeStmt))
		return true;
	foreach (cell, merge->mergeWhenClauses) {
		const MergeWhenClause *when = lfirst(cell);

		if (when->commandType == CMD_UPDATE &&
		    !check_always_list(st, target, when->targetList))
			return false;
	}
	return true;
}

/* The key's former value could not be told beside rows that keep theirs. */
static bool check_merge_keys(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	const MergeStmt *merge = (const MergeStmt *)st->node;
	ListCell *cell;

	foreach (cell, merge->mergeWhenClauses) {
		const MergeWhenClause *when = lfirst(cell);

		if (when->commandType == CMD_UPDATE &&
		    sets_key(l, statement_shape(st, target->name),
			     when->targetList))
			return statement_refuse(
			    st, target->name, "SET of the key in MERGE",
			    "The row's former key could not be told.",
			    "Use UPDATE.");
	}
	return true;
}

/* What the stand-in that was read leaves out.  Its columns may be the
 * target's as it is, and others' only where these are as they were. */
static bool check_merge_list(struct statement *st, size_t returning)
{
	const char *why = NULL;

	if (st->part != NULL || st->nested)
		why = "in WITH or COPY";
	for (size_t i = 0; i < st->found.n_refs; i++)
		if (ref_is_replaced(st->found.refs[i]))
			why = "beside a relation that is replaced";
	for (size_t i = returning; i < st->end; i++)
		if (token_is(st->tokens, i, "select") ||
		    token_is(st->tokens, i, "table") ||
		    st->tokens->v[i].kind == TOKEN_UNICODE)
			why = "with a subquery";
	return why == NULL ||
	       statement_refuse(st, st->found.refs[0]->name,
				arena_fmt(st->a, "MERGE ... RETURNING %s", why),
				"It is not in PostgreSQL 15's grammar, and is "
				"not read.",
				"Return plain columns, or use INSERT, UPDATE "
				"and DELETE.");
}

/*
 * PostgreSQL 17 computes RETURNING for each row that MERGE inserts, updates or
 * deletes, behind its write, as other writes do.
 */
static bool sync_merge(struct statement *st, const struct ref *target)
{
	enum shape shape = statement_shape(st, target->name);
	size_t returning = span_find_word(
	    st, span_of_relation(st, target->var).end, "returning");

	if (!check_merge_keys(st, target))
		return false;
	if (returning >= st->end)
		return write_sync_rows(st, target);
	if (!check_merge_list(st, returning))
		return false;
	write_add_returned(
	    st, write_sync_call(st, target,
				shape == SHAPE_OLD ? SYNC_TO_NEW : SYNC_TO_OLD,
				shape));
	return true;
}

bool write_sync(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	enum shape shape = statement_shape(st, target->name);

	if (!write_check_upsert(st, target) ||
	    (shape == SHAPE_NEW && !check_always(st, target)))
		return false;
	if (IsA(st->node, MergeStmt))
		return sync_merge(st, target);
	/* A child's writer holds its parent's lock, as its old row's does. */
	if (shape == SHAPE_NEW &&
	    (statement_prelocks(st, target->name) || l->child != NULL) &&
	    !IsA(st->node, InsertStmt) &&
	    !write_is_current_of(st->node)) /* it cannot stand beside AND */
		write_add_lock(st, target, shape);
	if (write_sync_by_trigger(st, target))
		return write_check_alone(st, target);
	return write_sync_rows(st, target);
}

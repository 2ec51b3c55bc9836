/*
 * Kind columns: writes that go to the table itself.
 *
 * The views that hide the other model's columns (hide.c) take no MERGE and no
 * WHERE CURRENT OF, have no system columns, and no identity or generated
 * columns whose DEFAULT could be set.  Such a write stays on the table, which
 * is the session's own model but for columns that it does not see: `*` and
 * whole rows are spelled out, INSERT gets its list, and a statement that
 * spells the name of a hidden column anywhere is refused.
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

/* The views have neither, whose next value this would be. */
static bool sets_made_column(const struct relation *r, const List *targets)
{
	ListCell *cell;

	foreach (cell, targets) {
		const ResTarget *set = lfirst(cell);
		const struct column *c = relation_find_column(r, set->name);

		if (c != NULL && (c->identity != 0 || c->generated != 0) &&
		    IsA(set->val, SetToDefault))
			return true;
	}
	return false;
}

bool hide_is_direct(const struct statement *st, const struct ref *target)
{
	const Node *write = target->write;
	const struct relation *r = hide_shown(st, target->name);

	if (statement_lens(st, target->name)->kind != LENS_COLUMNS)
		return false;
	return IsA(write, MergeStmt) || write_is_current_of(write) ||
	       system_column_is_named(st, target) ||
	       (IsA(write, UpdateStmt) &&
		sets_made_column(r, ((const UpdateStmt *)write)->targetList));
}

static bool refuse(struct statement *st, unsigned name, const char *clause,
		   const char *hint)
{
	return statement_refuse(
	    st, name, clause,
	    "This write goes to the table itself, which has the columns of "
	    "both models.",
	    hint);
}

static bool is_hidden(const struct statement *st, unsigned name, size_t token)
{
	const struct lens *l = statement_lens(st, name);
	const struct relation *shown = hide_shown(st, name);
	const struct relation *other = shown == l->old ? l->new : l->old;
	const struct token *t = &st->tokens->v[token];

	if (t->kind == TOKEN_UNICODE)
		return true;
	for (size_t i = 0; i < other->n_columns; i++)
		if (relation_find_column(shown, other->columns[i].name) ==
			NULL &&
		    token_spells(st->sql, t, other->columns[i].name))
			return true;
	return false;
}

static bool check_names(struct statement *st, unsigned name, size_t from)
{
	for (size_t i = from; i < st->end; i++)
		if (is_hidden(st, name, i))
			return refuse(st, name,
				      "the name of a column of the other model "
				      "in this statement",
				      "Give it another name here.");
	return true;
}

/* COPY FROM's WHERE is of the table, and so is its row. */
static bool check_where(struct statement *st, const CopyStmt *copy,
			unsigned name)
{
	const char *relation = copy->relation->relname;
	size_t where = span_find_word(
	    st, span_of_relation(st, copy->relation).end, "where");

	for (size_t i = where; i < st->end; i++)
		if (token_spells(st->sql, &st->tokens->v[i], relation) &&
		    !token_is_punct(st->tokens, i + 1, '.') &&
		    relation_find_column(hide_shown(st, name), relation) ==
			NULL)
			return refuse(st, name,
				      "COPY FROM with the whole row in WHERE",
				      "Name the columns.");
	return check_names(st, name, where);
}

bool copy_in_hide(struct statement *st, const CopyStmt *copy, unsigned name,
		  enum action action)
{
	if ((copy->whereClause != NULL && !check_where(st, copy, name)) ||
	    !copy_hide(st, copy, name))
		return false;
	if (action == ACT_HIDE_SYNC)
		copy_fence(st, copy, name);
	return true;
}

/* "(a, b)": the first n columns; NULL if there are not so many. */
static const char *insert_list(const struct statement *st,
			       const struct ref *target, int n)
{
	const struct relation *r = hide_shown(st, target->name);
	struct sqltext t;

	if (n > (int)r->n_columns)
		return NULL;
	sqltext_begin(&t, st->a);
	for (int i = 0; i < n; i++)
		sqltext_item(&t, ", ", "%s",
			     quote_name(r->columns[i].name, st->a));
	return arena_fmt(st->a, " (%s)", t.s);
}

static bool has_star(const List *values)
{
	ListCell *cell;

	foreach (cell, values) {
		const ColumnRef *c = lfirst(cell);

		if (IsA(c, ColumnRef) && IsA(llast(c->fields), A_Star))
			return true;
	}
	return false;
}

/* Behind token `at`, for these values. */
static bool add_list(struct statement *st, const struct ref *target, size_t at,
		     const List *values)
{
	const char *list = has_star(values)
			       ? NULL
			       : insert_list(st, target, list_length(values));

	if (list == NULL)
		return refuse(st, target->name, "INSERT without a column list",
			      "List the columns.");
	statement_insert_after(st, at, list);
	return true;
}

static bool direct_insert(struct statement *st, const struct ref *target)
{
	const InsertStmt *insert = (const InsertStmt *)st->node;
	const SelectStmt *source = (const SelectStmt *)insert->selectStmt;
	size_t last = span_of_relation(st, target->var).end - 1;

	if (insert->cols != NIL || source == NULL)
		return true;
	if (source->valuesLists == NIL)
		return refuse(st, target->name, "INSERT without a column list",
			      "List the columns.");
	if (target->var->alias != NULL)
		last = span_name_end(st, last + 2) - 1;
	return add_list(st, target, last, linitial(source->valuesLists));
}

/* WHEN NOT MATCHED THEN INSERT VALUES (...) */
static bool merge_lists(struct statement *st, const struct ref *target,
			const MergeStmt *merge)
{
	size_t at = st->first;
	ListCell *cell;

	foreach (cell, merge->mergeWhenClauses) {
		const MergeWhenClause *when = lfirst(cell);

		if (when->commandType != CMD_INSERT)
			continue;
		do
			at = span_find_word(st, at + 1, "insert");
		while (at < st->end && !token_is(st->tokens, at - 1, "then"));
		if (when->targetList == NIL && when->values != NIL &&
		    !add_list(st, target, at, when->values))
			return false;
	}
	return true;
}

/*
 * What RETURNING does for other writes: every row that is merged meets the
 * function, which is computed once.
 */
static void merge_fence(struct statement *st, const struct ref *target)
{
	const struct rule_migration *m = statement_migration(st, target->name);
	size_t using =
	    span_find_word(st, span_of_relation(st, target->var).end, "using");
	size_t when = span_find_word(st, using, "when");
	size_t on = using;

	/* The last ON of the level is MERGE's own; those of joins stand before.
	 */
	for (size_t at = using; at < when; at++)
		if (st->tokens->v[at].depth == st->depth &&
		    token_is_clause(st, at, "on"))
			on = at;
	statement_insert_before(
	    st, on,
	    arena_fmt(st->a,
		      "CROSS JOIN (SELECT WHERE pgtandem.copy_is_at(%s, %llu))"
		      " AS \"pgtandem.fence\" ",
		      quote_text(m->spec->name, st->a),
		      (unsigned long long)m->epoch));
}

static bool direct_merge(struct statement *st, const struct ref *target)
{
	const MergeStmt *merge = (const MergeStmt *)st->node;

	if (span_find_word(st, span_of_relation(st, target->var).end,
			   "returning") < st->end)
		return refuse(st, target->name, "MERGE ... RETURNING",
			      "Use INSERT, UPDATE and DELETE.");
	if (!merge_lists(st, target, merge))
		return false;
	if (target->action == ACT_HIDE_SYNC)
		merge_fence(st, target);
	return true;
}

bool hide_direct(struct statement *st, const struct ref *target)
{
	enum shape shape = statement_shape(st, target->name);

	if (!check_names(st, target->name, st->first))
		return false;
	if (IsA(st->node, MergeStmt))
		return direct_merge(st, target);
	if (IsA(st->node, InsertStmt) && !direct_insert(st, target))
		return false;
	return write_edit_returning(
	    st, target, shape, true,
	    target->action == ACT_HIDE_SYNC
		? write_sync_call(
		      st, target,
		      shape == SHAPE_OLD ? SYNC_TO_NEW : SYNC_TO_OLD, shape)
		: NULL);
}

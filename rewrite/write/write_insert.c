/*
 * INSERT through the lens.
 */
#include "rewrite/write/write_lens.h"

#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/write/write_child.h"
#include "rewrite/write/write_set.h"

/* Can L_lens take the client's row as it is? */
static bool is_plain_insert(const struct lens *l)
{
	if (lens_is_converted(l) || l->half != NULL)
		return false;
	for (size_t i = 0; i < l->n_old; i++)
		if (!column_same_default(l->olds[i].column,
					 l->news[l->olds[i].new_index].column))
			return false;
	return true;
}

/* An upsert may meet a row: until the barrier of write_new has passed, the old
 * one is locked first. */
static bool locks_old(const struct statement *st, const struct ref *target)
{
	const InsertStmt *insert = (const InsertStmt *)st->node;

	return statement_prelocks(st, target->name) &&
	       insert->onConflictClause != NULL &&
	       insert->onConflictClause->action == ONCONFLICT_UPDATE;
}

/* What is to be done for each row that is inserted, before it is. */
static const char *before_row(const struct statement *st,
			      const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	struct sqltext keys, calls;

	sqltext_begin(&keys, st->a);
	sqltext_begin(&calls, st->a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    &keys, ", ", "r.%s",
		    quote_name(l->olds[l->key[i].old_index].column->name,
			       st->a));
	if (locks_old(st, target))
		sqltext_item(&calls, " AND ", "%s(%s)", l->lock_old_ref,
			     keys.s);
	if (l->half != NULL && l->half->link == HALF_FOLLOWS)
		sqltext_item(&calls, " AND ", "%s(%s)", l->half->present_ref,
			     keys.s);
	return calls.len ? arena_fmt(st->a, " WHERE %s", calls.s) : "";
}

/* Where the row is both models' and old is kept, it has the client's own old
 * values. */
static void put_old_values(const struct statement *st, const struct ref *target,
			   struct sqltext *names, struct sqltext *values)
{
	const struct lens *l = statement_lens(st, target->name);

	if ((l->kind != LENS_COLUMNS && l->kind != LENS_CHILD) ||
	    target->action != ACT_LENS_SYNC)
		return;
	for (size_t i = 0; i < l->n_old; i++) {
		const char *name = l->olds[i].column->name;

		if (l->olds[i].carried)
			continue;
		sqltext_item(
		    names, ", ", "%s",
		    quote_name(arena_fmt(st->a, "old.%s", name), st->a));
		sqltext_item(values, ", ", "r.%s", quote_name(name, st->a));
	}
}

/* Which of several NOT NULL columns is named goes by their order, and those
 * that stay are the table's own to check. */
static const char *unless(const struct sqltext *missed, const char *value,
			  const char *required, struct arena *a)
{
	return missed->len == 0
		   ? required
		   : arena_fmt(a, "CASE WHEN %s THEN %s ELSE %s END", missed->s,
			       value, required);
}

static bool is_checked_by_table(const struct lens_old *old)
{
	return old->carried && old->column->not_null &&
	       old->column->generated == 0;
}

/* The client's row, as r. */
static const char *client_row(const struct statement *st, const struct lens *l)
{
	bool required = false;
	struct sqltext t, missed;

	sqltext_begin(&t, st->a);
	sqltext_begin(&missed, st->a);
	for (unsigned i = 0; i < l->n_old; i++) {
		const char *name = quote_name(l->olds[i].column->name, st->a);
		const char *value = arena_fmt(st->a, "r.%s", name);

		if (is_checked_by_table(&l->olds[i]))
			sqltext_item(&missed, " OR ", "%s IS NULL", value);
		if (old_is_required(l, i)) {
			required = true;
			value = arena_fmt(
			    st->a, "%s AS %s",
			    unless(&missed, value,
				   old_required(l, i, value, st->a), st->a),
			    name);
		}
		sqltext_item(&t, ", ", "%s", value);
	}
	if (!required)
		return part_name(st, "row");
	return arena_fmt(st->a, "(SELECT %s FROM %s AS r)", t.s,
			 part_name(st, "row"));
}

/* INSERT INTO L_lens AS old (...) SELECT ... FROM "pgtandem.row" AS r */
static const char *row_insert(const struct statement *st,
			      const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	bool always = false;
	int stash = l->child != NULL ? child_stash_column(l, NIL) : -1;
	struct sqltext names, values;

	sqltext_begin(&names, st->a);
	sqltext_begin(&values, st->a);
	for (unsigned i = 0; i < l->n_new; i++) {
		const struct lens_new *n = &l->news[i];

		if (n->extra || n->column->generated != 0)
			continue;
		always |= n->column->identity == 'a' ||
			  (n->carried &&
			   l->olds[n->old_index].column->identity == 'a');
		sqltext_item(&names, ", ", "%s", lens_view_column(l, i, st->a));
		sqltext_item(&values, ", ", "%s",
			     stash >= 0 && n->old_index == (unsigned)stash
				 ? child_insert_stash(l, "r", stash, st->a)
				 : lens_forward(l, i, "r.", st->a));
	}
	put_old_values(st, target, &names, &values);
	return arena_fmt(st->a,
			 " INSERT INTO %s (%s)%s SELECT "
			 "%s FROM %s AS r%s%s",
			 lens_as_alias(st, target), names.s,
			 always ? " OVERRIDING SYSTEM VALUE" : "", values.s,
			 client_row(st, l), before_row(st, target),
			 lens_fills(l) ? half_on_conflict(st, target) : "");
}

/* The last token of the INSERT's source. */
static size_t source_last(const struct statement *st, const InsertStmt *insert,
			  size_t from)
{
	if (insert->onConflictClause != NULL)
		return tokens_find(
			   st->tokens,
			   (uint32_t)insert->onConflictClause->location) -
		       1;
	return span_find_word(st, from, "returning") - 1;
}

static bool take_overriding(struct statement *st, const struct ref *target,
			    const InsertStmt *insert, size_t from)
{
	size_t at;

	if (insert->override == OVERRIDING_NOT_SET)
		return true;
	if (insert->override == OVERRIDING_USER_VALUE)
		return lens_refuse(st, target, "OVERRIDING USER VALUE",
				   "Leave the identity column out.");
	at = span_find_word(st, from, "overriding");
	statement_replace(st, (struct span){at, at + 3}, "");
	return true;
}

/* How many columns a query surely has; -1 where a star stands for some. */
static int query_width(const SelectStmt *query)
{
	ListCell *cell;

	while (query->larg != NULL)
		query = query->larg;
	if (query->valuesLists != NIL)
		return list_length(linitial(query->valuesLists));
	foreach (cell, query->targetList) {
		const Node *value = lfirst_node(ResTarget, cell)->val;
		const List *fields =
		    IsA(value, ColumnRef) ? ((const ColumnRef *)value)->fields
		    : IsA(value, A_Indirection)
			? ((const A_Indirection *)value)->indirection
			: NIL;

		if (fields != NIL && IsA(llast(fields), A_Star))
			return -1;
	}
	return list_length(query->targetList);
}

/* Does the client give a value for this column, other than DEFAULT? */
static bool gives_value(const InsertStmt *insert, const struct column *c,
			size_t position)
{
	const SelectStmt *source = (const SelectStmt *)insert->selectStmt;
	int at = (int)position;
	ListCell *cell;

	if (source == NULL)
		return false;
	if (insert->cols != NIL)
		at = -1;
	foreach (cell, insert->cols)
		if (strcmp(lfirst_node(ResTarget, cell)->name, c->name) == 0)
			at = foreach_current_index(cell);
	if (at < 0)
		return false;
	if (source->valuesLists == NIL)
		return insert->cols != NIL || query_width(source) < 0 ||
		       at < query_width(source);
	foreach (cell, source->valuesLists) {
		const List *row = lfirst(cell);

		if (at < list_length(row) &&
		    !IsA(list_nth(row, at), SetToDefault))
			return true;
	}
	return false;
}

/* Is it unknown which columns the client gives? */
static bool hides_columns(const InsertStmt *insert)
{
	const SelectStmt *source = (const SelectStmt *)insert->selectStmt;

	return source != NULL && insert->cols == NIL && query_width(source) < 0;
}

/* L_shape has no identity columns; what they refuse is refused here. */
static bool check_identity(struct statement *st, const struct ref *target,
			   const InsertStmt *insert)
{
	const struct lens *l = statement_lens(st, target->name);
	struct problem *p = &st->plan->refusal;

	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;

		if ((c->identity != 'a' && c->generated == 0) ||
		    (c->generated == 0 &&
		     insert->override == OVERRIDING_SYSTEM_VALUE) ||
		    !gives_value(insert, c, i))
			continue;
		if (hides_columns(insert))
			return lens_refuse(st, target,
					   "INSERT of * where a column is "
					   "always generated",
					   "Name the columns.");
		problem_set(p, "428C9",
			    "cannot insert a non-DEFAULT value "
			    "into column \"%s\"",
			    c->name);
		set_always_detail(p, c);
		if (c->generated == 0)
			problem_hint(
			    p, "Use OVERRIDING SYSTEM VALUE to override.");
		return false;
	}
	return true;
}

static struct span insert_target(const struct statement *st,
				 const struct ref *target)
{
	struct span span = span_of_relation(st, target->var);

	if (target->var->alias != NULL)
		span.end = span_name_end(st, span.end + 1);
	return span;
}

/* The write's own WITH goes where its source goes. */
static bool check_own_with(struct statement *st, const struct ref *target,
			   const InsertStmt *insert, size_t source)
{
	if (st->part == NULL || insert->withClause == NULL)
		return true;
	for (size_t i = source + 1; i < st->end; i++)
		if (token_is(st->tokens, i, "select") ||
		    token_is(st->tokens, i, "table"))
			return lens_refuse(
			    st, target,
			    "WITH in WITH before an INSERT with a query in "
			    "ON CONFLICT or RETURNING",
			    "Move the inner query to the outer WITH.");
	return true;
}

/* Constants of ON CONFLICT are cast before those of several VALUES. */
static const char *conflict_first(const struct statement *st,
				  const struct ref *target,
				  const InsertStmt *insert)
{
	const SelectStmt *source = (const SelectStmt *)insert->selectStmt;

	return insert->onConflictClause == NULL || source == NULL ||
		       list_length(source->valuesLists) < 2
		   ? ""
		   : write_check_first(st, target,
				       insert->onConflictClause->targetList);
}

/* The client's row is made by a query of WITH in front of the write's. */
static void begin_row(struct statement *st, const struct ref *target,
		      const InsertStmt *insert)
{
	const char *name =
	    arena_fmt(st->a, "%s%s", conflict_first(st, target, insert),
		      part_name(st, "row"));
	struct span span = insert_target(st, target);

	if (st->part != NULL)
		statement_replace(st, part_head(st),
				  arena_fmt(st->a, "%s AS (", name));
	else
		statement_insert_before(
		    st, span.first - 2,
		    arena_fmt(st->a, "%s%s AS (",
			      insert->withClause ? ", " : "WITH ", name));
	statement_replace(st, span,
			  statement_lens(st, target->name)->shape_ref);
}

static bool insert_rows(struct statement *st, const struct ref *target,
			const InsertStmt *insert, size_t source)
{
	if (!check_own_with(st, target, insert, source) ||
	    !take_overriding(st, target, insert,
			     insert_target(st, target).end) ||
	    !check_identity(st, target, insert))
		return false;
	st->stashed = statement_lens(st, target->name)->child != NULL;
	begin_row(st, target, insert);
	statement_insert_after(st, source, " RETURNING *)");
	if (!lens_on_conflict(st, target, insert->onConflictClause, source))
		return false;
	if (lens_fills(statement_lens(st, target->name)))
		half_edit_clause(st, target, source);
	if (st->part != NULL)
		statement_insert_after(
		    st, source,
		    arena_fmt(st->a, ", %s",
			      statement_text(st, part_head(st))));
	statement_insert_after(st, source, row_insert(st, target));
	return lens_finish(st, target, SHAPE_OLD);
}

/* Might the client's row have more columns than the old relation?  L_lens has
 * more too, which it must not reach. */
static bool may_be_too_wide(const struct lens *l, const InsertStmt *insert)
{
	const SelectStmt *source = (const SelectStmt *)insert->selectStmt;
	int width;

	if (source == NULL || insert->cols != NIL)
		return false;
	width = query_width(source);
	return width < 0 || (size_t)width > l->n_old;
}

bool lens_insert(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	const InsertStmt *insert = (const InsertStmt *)st->node;
	struct span span = insert_target(st, target);
	size_t source = source_last(st, insert, span.end);

	if (!is_plain_insert(l) || locks_old(st, target) ||
	    may_be_too_wide(l, insert))
		return insert_rows(st, target, insert, source);
	statement_replace(st, span, lens_as_alias(st, target));
	return lens_on_conflict(st, target, insert->onConflictClause, source) &&
	       lens_finish(st, target, SHAPE_OLD);
}

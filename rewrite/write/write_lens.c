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
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
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

const char *old_default(const struct lens *l, unsigned old, struct arena *a)
{
	const struct column *c = l->olds[old].column;

	if (c->default_expr != NULL)
		return arena_fmt(a, "(%s)", c->default_expr);
	if (c->identity != 0 && c->sequence != NULL)
		return arena_fmt(a, "pg_catalog.nextval(%s)",
				 quote_text(c->sequence, a));
	return "NULL";
}

static bool same_default(const struct column *old, const struct column *new)
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
		    !same_default(l->olds[i].column, l->news[i].column))
			return false;
	return true;
}

/* Can L_lens take the client's row as it is? */
static bool is_plain_insert(const struct lens *l)
{
	if (lens_is_converted(l) || l->half != NULL)
		return false;
	for (size_t i = 0; i < l->n_old; i++)
		if (!same_default(l->olds[i].column,
				  l->news[l->olds[i].new_index].column))
			return false;
	return true;
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

static const char *lens_as_alias(const struct statement *st,
				 const struct ref *target)
{
	return as_alias(st, target, view_ref(st, target));
}

static bool refuse_clause(struct statement *st, const struct ref *target,
			  const char *clause, const char *hint)
{
	return statement_refuse(
	    st, target->name, clause,
	    "The write runs on "
	    "the new relation, where this has no counterpart.",
	    hint);
}

/* What follows the write's own clauses in every form; `names` says whose
 * names the relation's columns have. */
static bool finish(struct statement *st, const struct ref *target,
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
		return refuse_clause(st, target,
				     "RETURNING beside WHERE CURRENT OF",
				     "Name the row by its key.");
	statement_replace(st, span,
			  target->var->alias != NULL
			      ? l->new_ref
			      : as_alias(st, target, l->new_ref));
	return finish(st, target, SHAPE_NEW);
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
	return finish(st, target, SHAPE_OLD);
}

/* PostgreSQL 15 and 16 merge into tables alone, and no MERGE is read here that
 * would return its rows. */
static bool lens_merge(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

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

static struct span set_list(const struct statement *st, const List *targets)
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
	return refuse_clause(
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
		       refuse_clause(st, target,
				     "ON CONFLICT with an "
				     "expression",
				     "Name the columns.");
	name = conflict_name(st, l, (unsigned)old);
	if (name == NULL)
		return refuse_conflict(st, target);
	statement_replace(st, (struct span){at, span_name_end(st, at)}, name);
	return true;
}

/* ON CONSTRAINT: the columns of the old relation's unique constraint. */
static bool conflict_constraint(struct statement *st, const struct ref *target,
				const InferClause *infer)
{
	const struct lens *l = statement_lens(st, target->name);
	const struct constraint *c =
	    relation_find_unique(l->old, infer->conname);
	size_t at = tokens_find(st->tokens, (uint32_t)infer->location);
	struct sqltext t;

	if (c == NULL)
		return refuse_clause(
		    st, target, "ON CONSTRAINT with this name",
		    "Name the columns of a unique constraint.");
	while (at < st->end && !token_is(st->tokens, at, "constraint"))
		at++;
	sqltext_begin(&t, st->a);
	for (size_t k = 0; k < c->n_columns; k++) {
		int old = lens_find_old(l, c->columns[k]);
		const char *name =
		    old < 0 ? NULL : conflict_name(st, l, (unsigned)old);

		if (name == NULL)
			return refuse_conflict(st, target);
		sqltext_item(&t, ", ", "%s", name);
	}
	statement_replace(st, (struct span){at - 1, span_name_end(st, at + 1)},
			  arena_fmt(st->a, "(%s)", t.s));
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
				return refuse_clause(
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

static bool lens_infer(struct statement *st, const struct ref *target,
		       const InferClause *infer)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t token, end;
	ListCell *cell;

	if (infer == NULL)
		return l->child == NULL || !unique_moves(l) ||
		       refuse_clause(st, target,
				     "ON CONFLICT without its columns",
				     "Name the columns of a unique "
				     "constraint that has not moved.");
	if (infer->conname != NULL)
		return conflict_constraint(st, target, infer);
	token = tokens_find(st->tokens, (uint32_t)infer->location) + 1;
	end = span_closing(st, token - 1);
	if (infer->whereClause != NULL && !conflict_predicate(st, target, end))
		return false;
	foreach (cell, infer->indexElems)
		if (!conflict_column(st, target, lfirst(cell), end, &token))
			return false;
	return true;
}

/* `source` is the token that the client's row ends with. */
static bool lens_on_conflict(struct statement *st, const struct ref *target,
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
		return refuse_clause(st, target, "OVERRIDING USER VALUE",
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
			return refuse_clause(st, target,
					     "INSERT of * where a column is "
					     "always generated",
					     "Name the columns.");
		problem_set(p, "428C9",
			    "cannot insert a non-DEFAULT value "
			    "into column \"%s\"",
			    c->name);
		problem_detail(
		    p,
		    c->generated != 0
			? "Column \"%s\" is a "
			  "generated column."
			: "Column \"%s\" is an "
			  "identity column defined as GENERATED ALWAYS.",
		    c->name);
		problem_hint(p,
			     "pgtandem writes relation \"%s\" through "
			     "migration \"%s\".",
			     l->old->name, l->migration);
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
			return refuse_clause(
			    st, target,
			    "WITH in WITH before an INSERT with a query in "
			    "ON CONFLICT or RETURNING",
			    "Move the inner query to the outer WITH.");
	return true;
}

/* The client's row is made by a query of WITH in front of the write's. */
static void begin_row(struct statement *st, const struct ref *target,
		      const InsertStmt *insert)
{
	const char *name = part_name(st, "row");
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
	return finish(st, target, SHAPE_OLD);
}

static bool lens_insert(struct statement *st, const struct ref *target)
{
	const InsertStmt *insert = (const InsertStmt *)st->node;
	struct span span = insert_target(st, target);
	size_t source = source_last(st, insert, span.end);

	if (!is_plain_insert(statement_lens(st, target->name)) ||
	    locks_old(st, target))
		return insert_rows(st, target, insert, source);
	statement_replace(st, span, lens_as_alias(st, target));
	return lens_on_conflict(st, target, insert->onConflictClause, source) &&
	       finish(st, target, SHAPE_OLD);
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

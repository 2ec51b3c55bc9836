/*
 * RETURNING: what the client asked for, and the sync function behind it.
 *
 * The function's result is one more column, which the proxy cuts.  Where it
 * cannot, since the rows go into the client's own query or into COPY, a column
 * of the client's computes it on the way:
 *
 *   RETURNING id   RETURNING CASE WHEN sync IS NULL THEN id ELSE id END AS id
 *
 * The function always gives NULL; both arms are there because the result then
 * keeps the type's modifiers.  A write in WITH runs to its end and computes
 * every RETURNING column of each row, whether or not anything reads it.
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

struct returning {
	struct statement *st;
	const struct ref *target;
	enum shape names;
	bool stars;	  /* have to be spelled out */
	bool first;	  /* the call comes before all else */
	const char *call; /* that a column of the client's computes, or NULL */
	const ResTarget *carrier; /* that column */
	const char *carrier_name; /* or NULL: it is a star */
};

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

static const char *with_call(const struct returning *r, const char *value)
{
	return arena_fmt(r->st->a, "CASE WHEN %s IS NULL THEN %s ELSE %s END",
			 r->call, value, value);
}

/* The target's columns, as the client's model has them: L_lens has more. */
static const char *target_columns(const struct returning *r, const char *by,
				  bool carries)
{
	const struct lens *l = statement_lens(r->st, r->target->name);
	const struct relation *shown = r->names == SHAPE_OLD ? l->old : l->new;
	const char *alias =
	    quote_name(by ? by : ref_alias(r->target), r->st->a);
	struct sqltext t;

	sqltext_begin(&t, r->st->a);
	for (size_t i = 0; i < shown->n_columns; i++) {
		const char *name = quote_name(shown->columns[i].name, r->st->a);
		const char *column = arena_fmt(r->st->a, "%s.%s", alias, name);

		if (carries && i == (r->first ? 0 : shown->n_columns - 1))
			sqltext_item(&t, ", ", "%s AS %s", with_call(r, column),
				     name);
		else
			sqltext_item(&t, ", ", "%s", column);
	}
	return t.s;
}

/* Puts ", b.*" for each item; false where `*` cannot be spelled out. */
static bool put_from_stars(struct sqltext *t, const Node *item, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;
	const char *name = from_name(item);

	if (name != NULL) {
		sqltext_put(t, ", %s.*", quote_name(name, t->a));
		return true;
	}
	return IsA(item, JoinExpr) && depth < 100 && !join->isNatural &&
	       join->usingClause == NIL && join->alias == NULL &&
	       put_from_stars(t, join->larg, depth + 1) &&
	       put_from_stars(t, join->rarg, depth + 1);
}

static bool star_everything(const struct returning *r, bool carries,
			    size_t token)
{
	const Node *write = r->st->node;
	struct sqltext t;
	List *from = NIL;
	ListCell *cell;

	sqltext_begin(&t, r->st->a);
	sqltext_put(&t, "%s", target_columns(r, NULL, carries));
	if (IsA(write, UpdateStmt))
		from = ((const UpdateStmt *)write)->fromClause;
	else if (IsA(write, DeleteStmt))
		from = ((const DeleteStmt *)write)->usingClause;
	foreach (cell, from)
		if (!put_from_stars(&t, lfirst(cell), 0))
			return statement_refuse(
			    r->st, r->target->name,
			    "RETURNING * beside such a join",
			    "Its columns have no name that each has alone.",
			    "List the columns.");
	statement_replace(r->st, (struct span){token, token + 1}, t.s);
	return true;
}

static bool is_star(const ResTarget *item)
{
	const ColumnRef *c = (const ColumnRef *)item->val;

	return IsA(c, ColumnRef) && IsA(llast(c->fields), A_Star);
}

/* By which name `*` (NULL), alias.*, OLD.* or NEW.* shows the target. */
static bool is_target_star(const struct returning *r, const ResTarget *item,
			   const char **ret_name)
{
	const ColumnRef *c = (const ColumnRef *)item->val;
	const struct found *f = &r->st->found;
	int n;

	if (!is_star(item))
		return false;
	*ret_name = NULL;
	n = list_length(c->fields);
	if (n == 1)
		return true;
	*ret_name = strVal(list_nth(c->fields, n - 2));
	for (size_t i = 0; i < f->n_columns; i++)
		if (f->columns[i].node == c && f->columns[i].returned)
			return f->columns[i].ref == r->target;
	return strcmp(*ret_name, ref_alias(r->target)) == 0;
}

static bool spell_star(const struct returning *r, const ResTarget *item,
		       const char *name)
{
	const ColumnRef *c = (const ColumnRef *)item->val;
	int n = list_length(c->fields);
	size_t at = tokens_find(r->st->tokens, (uint32_t)c->location);
	bool carries = item == r->carrier;

	if (n == 1)
		return star_everything(r, carries, at);
	for (; n > 2; n--) /* the schema is cut elsewhere */
		at = span_name_end(r->st, at) + 1;
	statement_replace(r->st,
			  (struct span){at, span_name_end(r->st, at) + 2},
			  target_columns(r, name, carries));
	return true;
}

/* The name of a cast or CASE is that of what is in it, if that has a proper
 * one (parse_target.c, FigureColname). */
static const Node *step_in(const Node *value, const char **ret_otherwise)
{
	const TypeCast *cast = (const TypeCast *)value;
	const CaseExpr *choice = (const CaseExpr *)value;
	const char *name = NULL;

	if (IsA(value, CollateClause))
		return ((const CollateClause *)value)->arg;
	if (IsA(value, TypeCast))
		name = strVal(llast(cast->typeName->names));
	if (IsA(value, CaseExpr))
		name = "case";
	if (name == NULL)
		return NULL;
	if (*ret_otherwise == NULL)
		*ret_otherwise = name;
	return IsA(value, TypeCast) ? cast->arg
				    : (const Node *)choice->defresult;
}

static const char *last_name(const List *fields)
{
	for (int i = list_length(fields) - 1; i >= 0; i--)
		if (IsA(list_nth(fields, i), String))
			return strVal(list_nth(fields, i));
	return NULL;
}

/* The column's name in the result; NULL where it is not told here. */
static const char *result_name(const Node *value)
{
	const char *otherwise = NULL;
	const Node *next;

	while (value != NULL && (next = step_in(value, &otherwise)) != NULL)
		value = next;
	if (value == NULL || IsA(value, CaseExpr) || IsA(value, A_Const) ||
	    IsA(value, ParamRef) ||
	    (IsA(value, A_Expr) &&
	     ((const A_Expr *)value)->kind != AEXPR_NULLIF) ||
	    IsA(value, BoolExpr) || IsA(value, NullTest))
		return otherwise != NULL ? otherwise : "?column?";
	if (IsA(value, ColumnRef))
		return last_name(((const ColumnRef *)value)->fields);
	if (IsA(value, FuncCall))
		return last_name(((const FuncCall *)value)->funcname);
	if (IsA(value, CoalesceExpr))
		return "coalesce";
	return NULL;
}

/* A column by itself is the best carrier, then any value whose column has a
 * known name, then the last column of a star. */
static int carrier_rank(const struct returning *r, const ResTarget *item)
{
	const char *name;

	if (is_star(item))
		return is_target_star(r, item, &name) ? 1 : 0;
	if (item->name == NULL && result_name(item->val) == NULL)
		return 0;
	return IsA(item->val, ColumnRef) ? 3 : 2;
}

static bool find_carrier(struct returning *r)
{
	int best = 0;
	ListCell *cell;

	foreach (cell, write_returning(r->st->node)) {
		const ResTarget *item = lfirst(cell);
		int rank = carrier_rank(r, item);

		if (r->first && foreach_current_index(cell) > 0)
			break;
		if (rank == 0 || rank < best)
			continue;
		best = rank;
		r->carrier = item;
	}
	if (best == 0)
		return statement_refuse(
		    r->st, r->target->name,
		    "such a RETURNING list in WITH or COPY",
		    "No column of it can carry the call that keeps both "
		    "models equal.",
		    "Return a column of the relation too.");
	if (best > 1)
		r->carrier_name = r->carrier->name != NULL
				      ? r->carrier->name
				      : result_name(r->carrier->val);
	return true;
}

/* The item's value, without its name. */
static struct span item_value(const struct returning *r, const ResTarget *item)
{
	const struct statement *st = r->st;
	size_t first = tokens_find(st->tokens, (uint32_t)item->location);
	size_t end = first;

	while (end < st->end && !(token_is_punct(st->tokens, end, ',') &&
				  st->tokens->v[end].depth == st->depth))
		end++;
	if (item->name == NULL)
		return (struct span){first, end};
	end -= st->tokens->v[end - 1].kind == TOKEN_STRING ? 3 : 1;
	if (token_is(st->tokens, end - 1, "as"))
		end--;
	return (struct span){first, end};
}

static void carry(const struct returning *r)
{
	struct statement *st = r->st;
	struct span value = item_value(r, r->carrier);
	uint32_t from = st->tokens->v[value.first].from;
	uint32_t to = st->tokens->v[value.end - 1].to;

	statement_insert_before(
	    st, value.first,
	    arena_fmt(st->a, "CASE WHEN %s IS NULL THEN ", r->call));
	edit_insert(st->edits, to, " ELSE ");
	edit_copy(st->edits, to, from, to);
	edit_insert(st->edits, to,
		    r->carrier->name != NULL
			? st->tokens->v[value.end].from == to ? " END " : " END"
			: arena_fmt(st->a, " END AS %s",
				    quote_name(r->carrier_name, st->a)));
}

/* A write that returns nothing.  PostgreSQL refuses to copy from it, or to
 * read from it by its name in WITH, and must go on to. */
static bool add_list(struct statement *st, const struct ref *target,
		     const char *call)
{
	if (st->part == NULL && st->nested)
		return true;
	if (st->part != NULL && st->found.read_in_vain == target->cte)
		return statement_refuse(
		    st, target->name, "a read from a write in WITH",
		    "The write has no RETURNING clause.", "Add one.");
	statement_insert_after(st, st->end - 1,
			       arena_fmt(st->a, " RETURNING %s", call));
	if (st->part == NULL && !st->explained) {
		st->result->hidden = 1;
		st->result->silent = true;
	}
	return true;
}

void write_add_returned(struct statement *st, const char *call)
{
	statement_insert_after(st, st->end - 1, arena_fmt(st->a, ", %s", call));
	if (!st->explained)
		st->result->hidden = 1;
}

static bool edit_items(const struct returning *r)
{
	ListCell *cell;

	foreach (cell, write_returning(r->st->node)) {
		const ResTarget *item = lfirst(cell);
		const char *name;

		if ((r->stars || item == r->carrier) &&
		    is_target_star(r, item, &name) &&
		    !spell_star(r, item, name))
			return false;
		if (item == r->carrier && r->carrier_name != NULL)
			carry(r);
	}
	return true;
}

static bool edit_returning(struct returning *r, const char *call)
{
	struct statement *st = r->st;
	bool cut = st->part == NULL && !st->nested;

	if (call != NULL && write_returning(st->node) == NIL)
		return add_list(st, r->target, call);
	if (call != NULL && (!cut || r->first)) {
		r->call = call;
		if (!find_carrier(r))
			return false;
	}
	if (!edit_items(r))
		return false;
	if (call != NULL && r->call == NULL)
		write_add_returned(st, call);
	return true;
}

bool write_edit_returning(struct statement *st, const struct ref *target,
			  enum shape names, bool stars, const char *call)
{
	struct returning r = {
	    .st = st, .target = target, .names = names, .stars = stars};

	return edit_returning(&r, call);
}

bool write_edit_returning_first(struct statement *st, const struct ref *target,
				const char *call)
{
	struct returning r = {.st = st,
			      .target = target,
			      .names = SHAPE_OLD,
			      .stars = true,
			      .first = true};

	return edit_returning(&r, call);
}

/*
 * Conditions on converted columns, said again for the new column, so that its
 * index is used (rewrite/lens/match.h):
 *
 *   WHERE amount = X
 *   WHERE amount = X AND L_match_2(inovices."new.amount_cents", X)
 *
 * Only conditions that stand alone or beside AND, in WHERE or ON: there a
 * condition that is true whenever they are changes nothing.  The derived table
 * of a read then shows the new column, and a star is spelled out, so that it
 * does not; L_lens has the column anyway.  Added at the end of WHERE or ON:
 * parameters get their types, and mistakes are reported, where the client's
 * own condition stands.
 *
 * X is copied, so it is taken only if it is made of constants, parameters,
 * columns, casts and arithmetic.  Whatever is in doubt is left as it is.
 */
#include "rewrite/read/lookup.h"

#include <string.h>

#include "rewrite/lens/match.h"
#include "rewrite/text/sqltext.h"

static bool is_plain_list(const List *list, unsigned depth);

/* Can it stand twice? */
static bool is_plain(const Node *node, unsigned depth)
{
	const A_Expr *e = (const A_Expr *)node;

	if (node == NULL || depth > LOOKUP_MAX_DEPTH)
		return false;
	if (IsA(node, A_Const) || IsA(node, ParamRef))
		return true;
	if (IsA(node, ColumnRef))
		return !IsA(llast(((const ColumnRef *)node)->fields), A_Star);
	if (IsA(node, TypeCast))
		return is_plain(((const TypeCast *)node)->arg, depth + 1);
	if (IsA(node, A_ArrayExpr))
		return is_plain_list(((const A_ArrayExpr *)node)->elements,
				     depth + 1);
	return IsA(node, A_Expr) && e->kind == AEXPR_OP &&
	       strchr("+-*/%", *strVal(llast(e->name))) != NULL &&
	       (e->lexpr == NULL || is_plain(e->lexpr, depth + 1)) &&
	       is_plain(e->rexpr, depth + 1);
}

static bool is_plain_list(const List *list, unsigned depth)
{
	ListCell *cell;

	foreach (cell, list)
		if (!is_plain(lfirst(cell), depth))
			return false;
	return true;
}

/* NULL, or in quotes: what has no type by itself. */
static bool is_untyped(const Node *node)
{
	const A_Const *c = (const A_Const *)node;

	return IsA(node, A_Const) &&
	       (c->isnull || nodeTag(&c->val) == T_String);
}

static bool all_untyped(const List *list)
{
	ListCell *cell;

	foreach (cell, list)
		if (!is_untyped(lfirst(cell)))
			return false;
	return true;
}

static bool all_typed(const List *list)
{
	ListCell *cell;

	foreach (cell, list)
		if (is_untyped(lfirst(cell)))
			return false;
	return true;
}

/* AND function(new column, before X behind) at the end of the clause. */
static void add_call(struct lookup *k, const struct column_found *c, size_t at,
		     const char *function, struct span x, const char *before,
		     const char *behind)
{
	struct statement *st = k->st;
	size_t last = lookup_clause_end(st, at) - 1;

	if (!lookup_show(k, c))
		return;
	statement_insert_after(st, last,
			       arena_fmt(st->a, " AND %s(%s, %s",
					 match_ref(lookup_lens(k, c->ref),
						   function, c->new, st->a),
					 lookup_column(k, c), before));
	edit_copy(st->edits, st->tokens->v[last].to,
		  st->tokens->v[x.first].from, st->tokens->v[x.end - 1].to);
	edit_insert(st->edits, st->tokens->v[last].to,
		    arena_fmt(st->a, "%s)", behind));
}

static bool is_null(const Node *node)
{
	return IsA(node, A_Const) && ((const A_Const *)node)->isnull;
}

/* function(new column, X) */
static void add_value(struct lookup *k, const struct column_found *c,
		      const Node *value, const char *function, size_t at,
		      struct span x)
{
	if (!is_plain(value, 0) || IsA(value, A_ArrayExpr) || is_null(value))
		return;
	if (is_untyped(value))
		add_call(k, c, at, function, x, "CAST(",
			 arena_fmt(k->st->a, " AS %s)",
				   lookup_match(k, c)->type->literal));
	else
		add_call(k, c, at, function, x, "", "");
}

/* column = ANY (X) */
static void add_any(struct lookup *k, const struct column_found *c,
		    const Node *value, size_t at)
{
	struct statement *st = k->st;
	size_t open = at + 2; /* = ANY ( */
	struct span x = {open + 1, span_closing(st, open)};

	if (!token_is_punct(st->tokens, open, '(') || !is_plain(value, 0) ||
	    is_null(value))
		return;
	if (is_untyped(value))
		add_call(k, c, at, "match_any", x, "CAST(",
			 arena_fmt(st->a, " AS %s[])",
				   lookup_match(k, c)->type->literal));
	else
		add_call(k, c, at, "match_any", x, "", "");
}

/* column IN (X, Y): the column's type has a say in what they are read as. */
static void add_in(struct lookup *k, const struct column_found *c,
		   const List *values, size_t at)
{
	const char *literal = lookup_match(k, c)->type->literal;
	struct statement *st = k->st;
	struct span x = {at + 2, span_closing(st, at + 1)};

	if (!token_is_punct(st->tokens, at + 1, '(') ||
	    !is_plain_list(values, 0))
		return;
	if (all_untyped(values))
		add_call(k, c, at, "match_any", x, "CAST(ARRAY[",
			 arena_fmt(st->a, "] AS %s[])", literal));
	else
		add_call(
		    k, c, at, "match_any", x,
		    all_typed(values)
			? "ARRAY["
			: arena_fmt(st->a, "ARRAY[CAST(NULL AS %s), ", literal),
		    "]");
}

/* Two columns that the same lens converts in the same way. */
static bool add_same(struct lookup *k, const struct column_found *left,
		     const struct column_found *right, size_t at)
{
	struct statement *st = k->st;

	if (lookup_lens(k, left->ref) != lookup_lens(k, right->ref) ||
	    left->new != right->new || !lookup_show(k, left) ||
	    !lookup_show(k, right))
		return false;
	statement_insert_after(
	    st, lookup_clause_end(st, at) - 1,
	    arena_fmt(st->a, " AND %s OPERATOR(pg_catalog.=) %s",
		      lookup_column(k, left), lookup_column(k, right)));
	return true;
}

/* left = right, whose tokens are these. */
static void look_at_equal(struct lookup *k, const Node *left, const Node *right,
			  size_t at, struct span l, struct span r)
{
	struct column_found found_left, found_right;
	bool has_left = lookup_find(k, left, &found_left);
	bool has_right = lookup_find(k, right, &found_right);

	if (has_left && has_right && found_left.ref != found_right.ref &&
	    add_same(k, &found_left, &found_right, at))
		return;
	if (has_left)
		add_value(k, &found_left, right, "match", at, r);
	if (has_right)
		add_value(k, &found_right, left, "match", at, l);
}

static void add_range(struct lookup *k, const Node *column, const Node *value,
		      const char *function, size_t at, struct span x)
{
	struct column_found c;

	if (lookup_find(k, column, &c) && lookup_match(k, &c)->ranges)
		add_value(k, &c, value, function, at, x);
}

/* column < X, X > column */
static void look_at_order(struct lookup *k, const A_Expr *e, size_t at)
{
	bool less = *strVal(linitial(e->name)) == '<';

	add_range(k, e->lexpr, e->rexpr, less ? "upto" : "from", at,
		  lookup_right(k->st, at));
	add_range(k, e->rexpr, e->lexpr, less ? "from" : "upto", at,
		  lookup_left(k->st, at));
}

/* column BETWEEN X AND Y */
static void look_at_between(struct lookup *k, const A_Expr *e, size_t at)
{
	const List *bounds = (const List *)e->rexpr;
	size_t first = at;
	struct span x;

	if (token_is(k->st->tokens, first + 1, "asymmetric"))
		first++;
	x = lookup_right(k->st, first);
	add_range(k, e->lexpr, linitial(bounds), "from", at, x);
	add_range(k, e->lexpr, lsecond(bounds), "upto", at,
		  lookup_right(k->st, x.end));
}

/* The elements of (a, b) that begins at token `open`. */
static bool split_row(const struct statement *st, size_t open, const List *row,
		      struct span *spans)
{
	size_t end, from = open + 1;
	int n = 0;

	if (!token_is_punct(st->tokens, open, '('))
		return false;
	end = span_closing(st, open);
	for (size_t i = from; i <= end; i++) {
		if (i < end &&
		    !(token_is_punct(st->tokens, i, ',') &&
		      st->tokens->v[i].depth == st->tokens->v[open].depth + 1))
			continue;
		if (n == list_length(row))
			return false;
		spans[n++] = (struct span){from, i};
		from = i + 1;
	}
	return n == list_length(row);
}

/* (a, b) = (X, Y) */
static void look_at_rows(struct lookup *k, const A_Expr *e, size_t at)
{
	const List *left = ((const RowExpr *)e->lexpr)->args;
	const List *right = ((const RowExpr *)e->rexpr)->args;
	size_t n = (size_t)list_length(left);
	struct span *l = arena_alloc(k->st->a, (n + 1) * sizeof(*l));
	struct span *r = arena_alloc(k->st->a, (n + 1) * sizeof(*r));

	if (list_length(right) != (int)n ||
	    !split_row(k->st, lookup_left(k->st, at).first, left, l) ||
	    !split_row(k->st, at + 1, right, r))
		return;
	for (size_t i = 0; i < n; i++)
		look_at_equal(k, list_nth(left, (int)i),
			      list_nth(right, (int)i), at, l[i], r[i]);
}

static bool is_row(const Node *node)
{
	return node != NULL && IsA(node, RowExpr);
}

static void look_at_symbol(struct lookup *k, const A_Expr *e, const char *name,
			   size_t at)
{
	static const char *const orders[] = {"<", "<=", ">", ">="};
	struct statement *st = k->st;

	if (strcmp(name, "=") == 0 && is_row(e->lexpr) && is_row(e->rexpr))
		look_at_rows(k, e, at);
	else if (strcmp(name, "=") == 0)
		look_at_equal(k, e->lexpr, e->rexpr, at, lookup_left(st, at),
			      lookup_right(st, at));
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
		if (strcmp(name, orders[i]) == 0)
			look_at_order(k, e, at);
}

static void look_at_operator(struct lookup *k, const A_Expr *e)
{
	struct statement *st = k->st;
	size_t at = tokens_find(st->tokens, (uint32_t)e->location);
	const char *name = strVal(linitial(e->name));
	bool equal = strcmp(name, "=") == 0;
	struct column_found c;

	if (e->kind == AEXPR_BETWEEN)
		look_at_between(k, e, at);
	else if (e->kind == AEXPR_IN && equal && IsA(e->rexpr, List) &&
		 lookup_find(k, e->lexpr, &c))
		add_in(k, &c, (const List *)e->rexpr, at);
	/* not OPERATOR(=) */
	if (list_length(e->name) != 1 ||
	    st->tokens->v[at].kind != TOKEN_OPERATOR)
		return;
	if (e->kind == AEXPR_OP)
		look_at_symbol(k, e, name, at);
	else if (e->kind == AEXPR_OP_ANY && equal &&
		 lookup_find(k, e->lexpr, &c))
		add_any(k, &c, e->rexpr, at);
}

/* column IS NULL */
static void look_at_null(struct lookup *k, const NullTest *test)
{
	struct statement *st = k->st;
	struct column_found c;
	size_t at;

	if (test->nulltesttype != IS_NULL ||
	    !lookup_find(k, (const Node *)test->arg, &c) ||
	    !lookup_lens(k, c.ref)->news[c.new].forward.strict ||
	    !lookup_show(k, &c))
		return;
	at = tokens_find(st->tokens, (uint32_t)test->location);
	statement_insert_after(
	    st, lookup_clause_end(st, at) - 1,
	    arena_fmt(st->a, " AND %s IS NULL", lookup_column(k, &c)));
}

static void look_at(struct lookup *k, const Node *condition, unsigned depth)
{
	const BoolExpr *bool_expr = (const BoolExpr *)condition;
	ListCell *cell;

	if (condition == NULL || depth > LOOKUP_MAX_DEPTH)
		return;
	if (IsA(condition, A_Expr))
		look_at_operator(k, (const A_Expr *)condition);
	else if (IsA(condition, NullTest))
		look_at_null(k, (const NullTest *)condition);
	else if (IsA(condition, BoolExpr) && bool_expr->boolop == AND_EXPR)
		foreach (cell, bool_expr->args)
			look_at(k, lfirst(cell), depth + 1);
}

static void look_at_joins(struct lookup *k, const Node *item, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;

	if (!IsA(item, JoinExpr) || depth > LOOKUP_MAX_DEPTH)
		return;
	look_at_joins(k, join->larg, depth + 1);
	look_at_joins(k, join->rarg, depth + 1);
	k->join = join;
	look_at(k, join->quals, 0);
	k->join = NULL;
}

static void open_level(struct lookup *k)
{
	if (IsA(k->statement, SelectStmt)) {
		const SelectStmt *s = (const SelectStmt *)k->statement;

		k->from = s->fromClause;
		k->results = s->targetList;
		k->where = s->whereClause;
	} else if (IsA(k->statement, UpdateStmt)) {
		const UpdateStmt *s = (const UpdateStmt *)k->statement;

		k->from = s->fromClause;
		k->results = s->returningList;
		k->where = s->whereClause;
	} else {
		const DeleteStmt *s = (const DeleteStmt *)k->statement;

		k->from = s->usingClause;
		k->results = s->returningList;
		k->where = s->whereClause;
	}
}

static void look_at_level(struct lookup *k)
{
	ListCell *cell;

	if (!lookup_is_plain(k))
		return;
	foreach (cell, k->from)
		look_at_joins(k, lfirst(cell), 0);
	look_at(k, k->where, 0);
	if (IsA(k->statement, SelectStmt))
		lookup_order(k, (const SelectStmt *)k->statement);
}

/* Has any relation a column to look up? */
static bool has_match(const struct statement *st)
{
	for (size_t r = 0; r < st->found.n_refs; r++) {
		const struct lens *l =
		    statement_lens(st, st->found.refs[r]->name);

		for (size_t i = 0; i < l->n_new; i++)
			if (l->news[i].match != NULL)
				return true;
	}
	return false;
}

void lookup_add(struct statement *st)
{
	size_t n = st->found.n_scopes;
	struct lookup *all;

	if (n == 0 || !has_match(st))
		return;
	all = arena_alloc(st->a, n * sizeof(*all));
	for (size_t i = 0; i < n; i++) {
		all[i] =
		    (struct lookup){.st = st,
				    .statement = st->found.scopes[i].statement,
				    .level = st->found.scopes[i].level,
				    .others = all};
		open_level(&all[i]);
	}
	for (size_t i = 0; i < n; i++)
		look_at_level(&all[i]);
	for (size_t i = 0; i < n; i++)
		if (all[i].any_shown)
			lookup_spell_stars(&all[i]);
}

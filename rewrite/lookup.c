/*
 * Conditions on converted columns, said again for the new column, so that its
 * index is used (rewrite/match.h):
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
#include "rewrite/lookup.h"

#include <string.h>

#include "rewrite/match.h"
#include "rewrite/sqltext.h"

enum { MAX_DEPTH = 100 }; /* of ANDs, joins and operators looked into */

static const struct lens *lens_of(const struct lookup *k, const struct ref *r)
{
	return statement_lens(k->st, r->name);
}

static bool is_through(const struct ref *r)
{
	return r->action == ACT_THROUGH || r->action == ACT_LENS ||
	       r->action == ACT_LENS_SYNC;
}

/* 1. The level: can its columns be told apart, its stars be spelled out? */

static bool is_star(const Node *node)
{
	return IsA(node, ColumnRef) &&
	       IsA(llast(((const ColumnRef *)node)->fields), A_Star);
}

static bool is_bare_star(const Node *node)
{
	return is_star(node) &&
	       list_length(((const ColumnRef *)node)->fields) == 1;
}

/* What `*` shows of the old shape. */
static const char *old_columns(const struct lookup *k, const struct ref *r)
{
	const struct lens *l = lens_of(k, r);
	const char *alias = quote_name(ref_alias(r), k->st->a);
	struct sqltext t;

	sqltext_begin(&t, k->st->a);
	for (size_t i = 0; i < l->n_old; i++)
		sqltext_item(&t, ", ", "%s.%s", alias,
			     quote_name(l->olds[i].column->name, k->st->a));
	return t.s;
}

static bool is_ref(const struct ref *r, const Node *item)
{
	if (IsA(item, RangeTableSample))
		return r->sample == (const RangeTableSample *)item;
	return r->var == (const RangeVar *)item;
}

/* Beside others, schema.relation may have another's name. */
static bool is_qualified(const Node *item)
{
	const RangeVar *var = (const RangeVar *)item;

	return IsA(item, RangeVar) && var->schemaname && var->alias == NULL;
}

/* The columns of a FROM item, for `*`. */
static bool put_item(const struct lookup *k, struct sqltext *t,
		     const Node *item)
{
	const char *name = from_name(item);
	bool alone = list_length(k->from) == 1 && linitial(k->from) == item;

	if (name == NULL || (is_qualified(item) && !alone))
		return false;
	for (const struct ref *r = k->level->refs; r != NULL; r = r->next)
		if (r->shown != NULL && is_ref(r, item)) {
			sqltext_item(t, ", ", "%s", old_columns(k, r));
			return true;
		}
	sqltext_item(t, ", ", "%s.*", quote_name(name, t->a));
	return true;
}

/* Joins without USING, NATURAL or an alias show the columns of both sides, in
 * order. */
static bool put_items(const struct lookup *k, struct sqltext *t,
		      const Node *item, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;

	if (!IsA(item, JoinExpr))
		return put_item(k, t, item);
	return depth < MAX_DEPTH && join->usingClause == NIL &&
	       put_items(k, t, join->larg, depth + 1) &&
	       put_items(k, t, join->rarg, depth + 1);
}

/* What `*` stands for, or NULL. */
static const char *spell_star(const struct lookup *k)
{
	struct sqltext t;
	ListCell *cell;

	sqltext_begin(&t, k->st->a);
	foreach (cell, k->from)
		if (!put_items(k, &t, lfirst(cell), 0))
			return NULL;
	return t.s;
}

static bool has_bare_star(const List *results)
{
	ListCell *cell;

	foreach (cell, results)
		if (is_bare_star(lfirst_node(ResTarget, cell)->val))
			return true;
	return false;
}

static bool is_result(const struct lookup *k, const ColumnRef *node)
{
	ListCell *cell;

	foreach (cell, k->results)
		if (lfirst_node(ResTarget, cell)->val == (const Node *)node)
			return true;
	return false;
}

/* A NATURAL join, or one with an alias, hides what is looked for. */
static bool is_plain_from(const Node *item, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;

	return !IsA(item, JoinExpr) ||
	       (depth < MAX_DEPTH && !join->isNatural && join->alias == NULL &&
		is_plain_from(join->larg, depth + 1) &&
		is_plain_from(join->rarg, depth + 1));
}

static bool is_plain_level(const struct lookup *k)
{
	ListCell *cell;

	foreach (cell, k->from)
		if (!is_plain_from(lfirst(cell), 0))
			return false;
	return true;
}

/* May the derived table show a further column, without anyone seeing it? */
static bool can_show(const struct lookup *k, const struct ref *r)
{
	const struct found *f = &k->st->found;
	bool select = IsA(k->statement, SelectStmt);

	if (r->var->alias != NULL && r->var->alias->colnames != NIL)
		return false;
	for (const struct ref *o = k->level->refs; o != NULL; o = o->next)
		if (system_column_is_shown(k->st, o))
			return false; /* its stars are spelled out already */
	if (has_bare_star(k->results) && (!select || spell_star(k) == NULL))
		return false;
	for (size_t i = 0; i < f->n_columns; i++) {
		const struct column_use *use = &f->columns[i];

		if (use->ref != r)
			continue;
		if (use->kind == COLUMN_WHOLE_ROW ||
		    (use->kind == COLUMN_STAR &&
		     !(select && is_result(k, use->node))))
			return false;
	}
	return true;
}

bool lookup_show(struct lookup *k, const struct column_found *c)
{
	bool *shown = (bool *)c->ref->shown;

	if (c->ref->is_target)
		return true;
	if (shown == NULL) {
		if (!can_show(k, c->ref))
			return false;
		shown = arena_alloc(k->st->a, lens_of(k, c->ref)->n_new);
		c->ref->shown = shown;
	}
	shown[c->new] = true;
	k->any_shown = true;
	return true;
}

static const struct ref *star_ref(const struct lookup *k, const ColumnRef *c)
{
	const char *name =
	    strVal(list_nth(c->fields, list_length(c->fields) - 2));

	for (const struct ref *r = k->level->refs; r != NULL; r = r->next)
		if (r->shown != NULL && strcmp(ref_alias(r), name) == 0)
			return r;
	return NULL;
}

static void spell_stars(const struct lookup *k)
{
	struct statement *st = k->st;
	ListCell *cell;

	foreach (cell, k->results) {
		const Node *val = lfirst_node(ResTarget, cell)->val;
		const ColumnRef *c = (const ColumnRef *)val;
		const struct ref *r;
		size_t at;

		if (!is_star(val))
			continue;
		at = tokens_find(st->tokens, (uint32_t)c->location);
		if (is_bare_star(val)) {
			statement_replace(st, (struct span){at, at + 1},
					  spell_star(k));
			continue;
		}
		r = star_ref(k, c);
		if (r == NULL)
			continue;
		/* the schema is cut elsewhere */
		for (int n = list_length(c->fields); n > 2; n--)
			at = span_name_end(st, at) + 1;
		statement_replace(st,
				  (struct span){at, span_name_end(st, at) + 2},
				  old_columns(k, r));
	}
}

/* 2. The places: tokens of a condition and of the clause that it stands in. */

/* Words that begin what follows a condition. */
static bool is_ending_word(const struct statement *st, size_t i)
{
	static const char *const words[] = {
	    "where",	 "group", "having", "window", "union",
	    "intersect", "order", "limit",  "except", "offset",
	    "fetch",	 "for",	  "join",   "on",     "returning",
	};
	static const char *const join_words[] = {
	    "left", "right", "full", "inner", "cross", "natural",
	};

	for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++)
		if (token_is_clause(st, i, words[w]))
			return true;
	for (size_t w = 0; w < sizeof(join_words) / sizeof(*join_words); w++)
		if (token_is_clause(st, i, join_words[w]))
			return !token_is_punct(st->tokens, i + 1, '(');
	return token_is_clause(st, i, "with") &&
	       !token_is(st->tokens, i + 1, "time");
}

static bool is_end(const struct statement *st, size_t i, unsigned depth)
{
	const struct token *t = &st->tokens->v[i];

	return t->depth < depth ||
	       (t->depth == depth &&
		(t->punct == ',' || t->punct == ';' || is_ending_word(st, i)));
}

/* One past the WHERE or ON clause around token i. */
static size_t clause_end(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;

	for (; i > st->first; i--) {
		const struct token *t = &st->tokens->v[i];

		if (t->depth < depth)
			depth = t->depth;
		if (t->depth == depth && (token_is_clause(st, i, "where") ||
					  token_is_clause(st, i, "on")))
			break;
	}
	for (i++; i < st->end; i++)
		if (is_end(st, i, depth))
			break;
	return i;
}

/* What stands on the left, or the right, of the operator at token i; it has no
 * AND of its own. */
static struct span left_of(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;
	size_t first = i;

	while (!(st->tokens->v[first - 1].depth < depth ||
		 (st->tokens->v[first - 1].depth == depth &&
		  (token_is(st->tokens, first - 1, "and") ||
		   token_is(st->tokens, first - 1, "where") ||
		   token_is(st->tokens, first - 1, "on")))))
		first--;
	return (struct span){first, i};
}

static struct span right_of(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;
	size_t end = i + 1;

	while (end < st->end && !is_end(st, end, depth) &&
	       !(st->tokens->v[end].depth == depth &&
		 token_is(st->tokens, end, "and")))
		end++;
	return (struct span){i + 1, end};
}

/* 3. The conditions. */

static bool in_using(const Node *item, const char *name, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;
	ListCell *cell;

	if (!IsA(item, JoinExpr))
		return false;
	foreach (cell, join->usingClause)
		if (strcmp(strVal(lfirst(cell)), name) == 0)
			return true;
	return depth > MAX_DEPTH || in_using(join->larg, name, depth + 1) ||
	       in_using(join->rarg, name, depth + 1);
}

static bool is_merged(const struct lookup *k, const char *name)
{
	ListCell *cell;

	foreach (cell, k->from)
		if (in_using(lfirst(cell), name, 0))
			return true;
	return false;
}

static bool has_item(const Node *item, const struct ref *r, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;

	if (!IsA(item, JoinExpr))
		return is_ref(r, item);
	return depth < MAX_DEPTH && (has_item(join->larg, r, depth + 1) ||
				     has_item(join->rarg, r, depth + 1));
}

/* ON sees the two sides of its join, and nothing else of the level. */
static bool is_in_sight(const struct lookup *k, const struct ref *r)
{
	return k->join == NULL || has_item((const Node *)k->join, r, 0);
}

/* May `c` be a column of r, as far as the names before it say? */
static bool names_ref(const struct lookup *k, const ColumnRef *c,
		      const struct ref *r)
{
	int n = list_length(c->fields);

	if (n == 1)
		return is_in_sight(k, r) &&
		       !is_merged(k, strVal(linitial(c->fields)));
	if (n > 3 ||
	    strcmp(strVal(list_nth(c->fields, n - 2)), ref_alias(r)) != 0)
		return false;
	return n == 2 || (r->var->alias == NULL &&
			  strcmp(strVal(linitial(c->fields)),
				 statement_name(k->st, r->name)->schema) == 0);
}

/* A column by which another one of the level has the same name is ambiguous:
 * the server says so of the client's own condition. */
bool lookup_find(const struct lookup *k, const Node *node,
		 struct column_found *ret)
{
	const ColumnRef *c = (const ColumnRef *)node;

	if (node == NULL || !IsA(node, ColumnRef) || is_star(node))
		return false;
	for (struct ref *r = k->level->refs; r != NULL; r = r->next) {
		const struct lens *l = lens_of(k, r);
		int old = lens_find_old(l, strVal(llast(c->fields)));
		int new = old < 0 ? -1 : match_find_new(l, (unsigned)old);

		if (new < 0 || !is_through(r) || !names_ref(k, c, r))
			continue;
		*ret = (struct column_found){.ref = r, .new = (unsigned)new};
		return true;
	}
	return false;
}

static bool is_plain_list(const List *list, unsigned depth);

/* Can it stand twice? */
static bool is_plain(const Node *node, unsigned depth)
{
	const A_Expr *e = (const A_Expr *)node;

	if (node == NULL || depth > MAX_DEPTH)
		return false;
	if (IsA(node, A_Const) || IsA(node, ParamRef))
		return true;
	if (IsA(node, ColumnRef))
		return !is_star(node);
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

const char *lookup_column(const struct lookup *k, const struct column_found *c)
{
	const char *name = lens_of(k, c->ref)->news[c->new].column->name;

	return arena_fmt(
	    k->st->a, "%s.%s", quote_name(ref_alias(c->ref), k->st->a),
	    quote_name(arena_fmt(k->st->a, "new.%s", name), k->st->a));
}

/* AND function(new column, before X behind) at the end of the clause. */
static void add_call(struct lookup *k, const struct column_found *c, size_t at,
		     const char *function, struct span x, const char *before,
		     const char *behind)
{
	struct statement *st = k->st;
	size_t last = clause_end(st, at) - 1;

	if (!lookup_show(k, c))
		return;
	statement_insert_after(
	    st, last,
	    arena_fmt(st->a, " AND %s(%s, %s",
		      match_ref(lens_of(k, c->ref), function, c->new, st->a),
		      lookup_column(k, c), before));
	edit_copy(st->edits, st->tokens->v[last].to,
		  st->tokens->v[x.first].from, st->tokens->v[x.end - 1].to);
	edit_insert(st->edits, st->tokens->v[last].to,
		    arena_fmt(st->a, "%s)", behind));
}

/* column = X */
static void add_equal(struct lookup *k, const struct column_found *c,
		      const Node *value, size_t at, struct span x)
{
	const struct match_type *type =
	    lens_of(k, c->ref)->news[c->new].match->type;

	if (!is_plain(value, 0) || IsA(value, A_ArrayExpr) ||
	    (IsA(value, A_Const) && ((const A_Const *)value)->isnull))
		return;
	if (is_untyped(value))
		add_call(k, c, at, "match", x, "CAST(",
			 arena_fmt(k->st->a, " AS %s)", type->literal));
	else
		add_call(k, c, at, "match", x, "", "");
}

/* column = ANY (X) */
static void add_any(struct lookup *k, const struct column_found *c,
		    const Node *value, size_t at)
{
	const struct match_type *type =
	    lens_of(k, c->ref)->news[c->new].match->type;
	struct statement *st = k->st;
	size_t open = at + 2; /* = ANY ( */
	struct span x = {open + 1, span_closing(st, open)};

	if (!token_is_punct(st->tokens, open, '(') || !is_plain(value, 0) ||
	    (IsA(value, A_Const) && ((const A_Const *)value)->isnull))
		return;
	if (is_untyped(value))
		add_call(k, c, at, "match_any", x, "CAST(",
			 arena_fmt(st->a, " AS %s[])", type->literal));
	else
		add_call(k, c, at, "match_any", x, "", "");
}

/* column IN (X, Y): the column's type has a say in what they are read as. */
static void add_in(struct lookup *k, const struct column_found *c,
		   const List *values, size_t at)
{
	const struct match_type *type =
	    lens_of(k, c->ref)->news[c->new].match->type;
	struct statement *st = k->st;
	struct span x = {at + 2, span_closing(st, at + 1)};

	if (!token_is_punct(st->tokens, at + 1, '(') ||
	    !is_plain_list(values, 0))
		return;
	if (all_untyped(values))
		add_call(k, c, at, "match_any", x, "CAST(ARRAY[",
			 arena_fmt(st->a, "] AS %s[])", type->literal));
	else
		add_call(k, c, at, "match_any", x,
			 all_typed(values)
			     ? "ARRAY["
			     : arena_fmt(st->a, "ARRAY[CAST(NULL AS %s), ",
					 type->literal),
			 "]");
}

/* Two columns that the same lens converts in the same way. */
static bool add_same(struct lookup *k, const struct column_found *left,
		     const struct column_found *right, size_t at)
{
	struct statement *st = k->st;

	if (lens_of(k, left->ref) != lens_of(k, right->ref) ||
	    left->new != right->new || !lookup_show(k, left) ||
	    !lookup_show(k, right))
		return false;
	statement_insert_after(
	    st, clause_end(st, at) - 1,
	    arena_fmt(st->a, " AND %s OPERATOR(pg_catalog.=) %s",
		      lookup_column(k, left), lookup_column(k, right)));
	return true;
}

static void look_at_equal(struct lookup *k, const A_Expr *e, size_t at)
{
	struct column_found left, right;
	bool has_left = lookup_find(k, e->lexpr, &left);
	bool has_right = lookup_find(k, e->rexpr, &right);

	if (has_left && has_right && left.ref != right.ref &&
	    add_same(k, &left, &right, at))
		return;
	if (has_left)
		add_equal(k, &left, e->rexpr, at, right_of(k->st, at));
	if (has_right)
		add_equal(k, &right, e->lexpr, at, left_of(k->st, at));
}

static void look_at_operator(struct lookup *k, const A_Expr *e)
{
	struct statement *st = k->st;
	size_t at = tokens_find(st->tokens, (uint32_t)e->location);
	struct column_found c;

	if (list_length(e->name) != 1 ||
	    strcmp(strVal(linitial(e->name)), "=") != 0)
		return;
	if (e->kind == AEXPR_IN) {
		if (IsA(e->rexpr, List) && lookup_find(k, e->lexpr, &c))
			add_in(k, &c, (const List *)e->rexpr, at);
		return;
	}
	if (st->tokens->v[at].kind != TOKEN_OPERATOR) /* OPERATOR(=) */
		return;
	if (e->kind == AEXPR_OP)
		look_at_equal(k, e, at);
	else if (e->kind == AEXPR_OP_ANY && lookup_find(k, e->lexpr, &c))
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
	    !lens_of(k, c.ref)->news[c.new].forward.strict ||
	    !lookup_show(k, &c))
		return;
	at = tokens_find(st->tokens, (uint32_t)test->location);
	statement_insert_after(
	    st, clause_end(st, at) - 1,
	    arena_fmt(st->a, " AND %s IS NULL", lookup_column(k, &c)));
}

static void look_at(struct lookup *k, const Node *condition, unsigned depth)
{
	const BoolExpr *bool_expr = (const BoolExpr *)condition;
	ListCell *cell;

	if (condition == NULL || depth > MAX_DEPTH)
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

	if (!IsA(item, JoinExpr) || depth > MAX_DEPTH)
		return;
	look_at_joins(k, join->larg, depth + 1);
	look_at_joins(k, join->rarg, depth + 1);
	k->join = join;
	look_at(k, join->quals, 0);
	k->join = NULL;
}

/* Its parts; false for what has no conditions. */
static bool open_statement(struct lookup *k, const Node **ret_where)
{
	if (IsA(k->statement, SelectStmt)) {
		const SelectStmt *s = (const SelectStmt *)k->statement;

		k->from = s->fromClause;
		k->results = s->targetList;
		*ret_where = s->whereClause;
	} else if (IsA(k->statement, UpdateStmt)) {
		const UpdateStmt *s = (const UpdateStmt *)k->statement;

		k->from = s->fromClause;
		k->results = s->returningList;
		*ret_where = s->whereClause;
	} else {
		const DeleteStmt *s = (const DeleteStmt *)k->statement;

		k->from = s->usingClause;
		k->results = s->returningList;
		*ret_where = s->whereClause;
	}
	return is_plain_level(k);
}

/* Has any of its relations a column to look up? */
static bool has_match(const struct statement *st, const struct level *level)
{
	for (const struct ref *r = level->refs; r != NULL; r = r->next) {
		const struct lens *l = statement_lens(st, r->name);

		for (size_t i = 0; is_through(r) && i < l->n_new; i++)
			if (l->news[i].match != NULL)
				return true;
	}
	return false;
}

void lookup_add(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_scopes; i++) {
		const struct scope_found *s = &st->found.scopes[i];
		struct lookup k = {
		    .st = st, .statement = s->statement, .level = s->level};
		const Node *where = NULL;
		ListCell *cell;

		if (!has_match(st, s->level) || !open_statement(&k, &where))
			continue;
		foreach (cell, k.from)
			look_at_joins(&k, lfirst(cell), 0);
		look_at(&k, where, 0);
		if (IsA(k.statement, SelectStmt))
			lookup_order(&k, (const SelectStmt *)k.statement);
		if (k.any_shown)
			spell_stars(&k);
	}
}

/*
 * Which converted column a column reference is, by the query levels around it.
 */
#include "rewrite/read/lookup.h"

#include <string.h>

#include "rewrite/lens/match.h"

const struct lens *lookup_lens(const struct lookup *k, const struct ref *r)
{
	return statement_lens(k->st, r->name);
}

static bool is_through(const struct ref *r)
{
	return r->action == ACT_THROUGH || r->action == ACT_LENS ||
	       r->action == ACT_LENS_SYNC;
}

static bool in_using(const Node *item, const char *name, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;
	ListCell *cell;

	if (!IsA(item, JoinExpr))
		return false;
	foreach (cell, join->usingClause)
		if (strcmp(strVal(lfirst(cell)), name) == 0)
			return true;
	return depth > LOOKUP_MAX_DEPTH ||
	       in_using(join->larg, name, depth + 1) ||
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
		return lookup_is_item(r, item);
	return depth < LOOKUP_MAX_DEPTH &&
	       (has_item(join->larg, r, depth + 1) ||
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
static bool find_here(struct lookup *k, const ColumnRef *c,
		      struct column_found *ret)
{
	for (struct ref *r = k->level->refs; r != NULL; r = r->next) {
		const struct lens *l = lookup_lens(k, r);
		int old = lens_find_old(l, strVal(llast(c->fields)));
		int new = old < 0 ? -1 : match_find_new(l, (unsigned)old);

		if (new < 0 || !is_through(r) || !names_ref(k, c, r))
			continue;
		*ret = (struct column_found){k, r, (unsigned)new};
		return true;
	}
	return false;
}

/* May a FROM item have this name? */
static bool may_be_named(const Node *item, const char *name, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;
	const char *known;

	if (IsA(item, JoinExpr))
		return depth > LOOKUP_MAX_DEPTH || join->alias != NULL ||
		       may_be_named(join->larg, name, depth + 1) ||
		       may_be_named(join->rarg, name, depth + 1);
	known = from_name(item);
	return known == NULL || strcmp(known, name) == 0;
}

static bool hides(const struct lookup *k, const char *name)
{
	ListCell *cell;

	foreach (cell, k->from)
		if (may_be_named(lfirst(cell), name, 0))
			return true;
	return false;
}

static bool has_subquery(const Node *item, const Node *query, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;

	if (IsA(item, RangeSubselect))
		return ((const RangeSubselect *)item)->subquery == query;
	return IsA(item, JoinExpr) &&
	       (depth > LOOKUP_MAX_DEPTH ||
		has_subquery(join->larg, query, depth + 1) ||
		has_subquery(join->rarg, query, depth + 1));
}

/* Does the inner query stand in an expression of the outer one that may name
 * any of its columns?  Not in FROM, whose items do not see each other; not
 * where rows are grouped; and not in an UPDATE, whose SET list is checked
 * where there are the old columns alone. */
static bool sees(const struct lookup *outer, const struct lookup *inner)
{
	const SelectStmt *s = (const SelectStmt *)outer->statement;
	ListCell *cell;

	foreach (cell, outer->from)
		if (has_subquery(lfirst(cell), inner->statement, 0))
			return false;
	return IsA(s, DeleteStmt) ||
	       (IsA(s, SelectStmt) && s->groupClause == NIL &&
		s->havingClause == NULL);
}

static struct lookup *level_above(const struct lookup *k)
{
	for (size_t i = 0; i < k->st->found.n_scopes; i++)
		if (k->others[i].level == k->level->up)
			return &k->others[i];
	return NULL;
}

/* Of the levels around, only by the relation's name. */
bool lookup_find(const struct lookup *k, const Node *node,
		 struct column_found *ret)
{
	const ColumnRef *c = (const ColumnRef *)node;
	struct lookup *at = (struct lookup *)k;

	if (node == NULL || !IsA(node, ColumnRef) ||
	    IsA(llast(c->fields), A_Star))
		return false;
	while (!find_here(at, c, ret)) {
		struct lookup *above = level_above(at);
		int n = list_length(c->fields);

		if (above == NULL || n != 2 ||
		    hides(at, strVal(linitial(c->fields))) ||
		    !sees(above, at) || !lookup_is_plain(above))
			return false;
		at = above;
	}
	return true;
}

const struct match *lookup_match(const struct lookup *k,
				 const struct column_found *c)
{
	return lookup_lens(k, c->ref)->news[c->new].match;
}

const char *lookup_column(const struct lookup *k, const struct column_found *c)
{
	const char *name = lookup_lens(k, c->ref)->news[c->new].column->name;

	return arena_fmt(
	    k->st->a, "%s.%s", quote_name(ref_alias(c->ref), k->st->a),
	    quote_name(arena_fmt(k->st->a, "new.%s", name), k->st->a));
}

/*
 * ORDER BY a converted column, LIMIT: where the mapping keeps the order, the
 * new column is what is sorted by, and its index gives the first rows.
 *
 *   ORDER BY amount LIMIT 10   ORDER BY inovices."new.amount_cents" LIMIT 10
 *
 * The rows come in the same order, equal ones too: one-to-one.  Without LIMIT
 * an index is seldom worth it.
 *
 * A bare name means the result column of that name before it means the
 * relation's (SELECT, "ORDER BY Clause"); so it is taken only where no other
 * result can have it.
 */
#include "rewrite/read/lookup.h"

#include <string.h>

static const char *only_name(const ColumnRef *c)
{
	return list_length(c->fields) == 1 && IsA(linitial(c->fields), String)
		   ? strVal(linitial(c->fields))
		   : NULL;
}

static bool is_same(const struct column_found *left,
		    const struct column_found *right)
{
	return left->ref == right->ref && left->new == right->new;
}

/* May this result have the name, and not be the column itself?  `1 + 1` has no
 * name, but a cast has its column's. */
static bool takes_name(const struct lookup *k, const ResTarget *target,
		       const char *name, const struct column_found *column)
{
	const Node *val = target->val;
	const ColumnRef *c = (const ColumnRef *)val;
	struct column_found found;

	if (target->name != NULL && strcmp(target->name, name) != 0)
		return false;
	if (!IsA(val, ColumnRef))
		return target->name != NULL ||
		       !(IsA(val, A_Const) || IsA(val, ParamRef) ||
			 IsA(val, A_Expr));
	if (IsA(llast(c->fields), A_Star))
		return list_length(k->from) != 1 ||
		       IsA(linitial(k->from), JoinExpr);
	if (target->name == NULL && strcmp(strVal(llast(c->fields)), name) != 0)
		return false;
	return !lookup_find(k, val, &found) || !is_same(&found, column);
}

static bool is_free(const struct lookup *k, const char *name,
		    const struct column_found *column)
{
	ListCell *cell;

	foreach (cell, k->results)
		if (takes_name(k, lfirst(cell), name, column))
			return false;
	return true;
}

/* ORDER BY 2: the result at that place. */
static const Node *result_at(const struct lookup *k, const A_Const *place)
{
	ListCell *cell;
	int left;

	if (place->isnull || nodeTag(&place->val) != T_Integer)
		return NULL;
	left = place->val.ival.ival;
	foreach (cell, k->results) {
		const Node *val = lfirst_node(ResTarget, cell)->val;

		if (IsA(val, ColumnRef) &&
		    IsA(llast(((const ColumnRef *)val)->fields), A_Star))
			return NULL;
		if (--left == 0)
			return val;
	}
	return NULL;
}

/* The column that an item sorts by, if it is one to look for. */
static bool find_item(const struct lookup *k, const Node *item,
		      struct column_found *ret)
{
	const char *name;

	if (IsA(item, A_Const)) {
		item = result_at(k, (const A_Const *)item);
		return item != NULL && lookup_find(k, item, ret);
	}
	if (!lookup_find(k, item, ret))
		return false;
	name = only_name((const ColumnRef *)item);
	return name == NULL || is_free(k, name, ret);
}

/* The tokens of a column with at most its relation, or of a number. */
static bool item_span(const struct lookup *k, const Node *item,
		      struct span *ret)
{
	const ColumnRef *c = (const ColumnRef *)item;
	size_t first, end;

	if (IsA(item, A_Const)) {
		first = tokens_find(
		    k->st->tokens, (uint32_t)((const A_Const *)item)->location);
		*ret = (struct span){first, first + 1};
		return true;
	}
	if (list_length(c->fields) > 2) /* its schema is cut elsewhere */
		return false;
	first = tokens_find(k->st->tokens, (uint32_t)c->location);
	end = span_name_end(k->st, first);
	if (list_length(c->fields) == 2)
		end = span_name_end(k->st, end + 1);
	*ret = (struct span){first, end};
	return true;
}

void lookup_order(struct lookup *k, const SelectStmt *select)
{
	ListCell *cell;

	if (select->limitCount == NULL || select->distinctClause != NIL ||
	    select->groupClause != NIL || select->havingClause != NULL)
		return;
	foreach (cell, select->sortClause) {
		const SortBy *sort = lfirst(cell);
		struct column_found c;
		struct span span;

		if (sort->sortby_dir == SORTBY_USING ||
		    !find_item(k, sort->node, &c) ||
		    !statement_lens(k->st, c.ref->name)->news[c.new].ordered ||
		    !item_span(k, sort->node, &span) || !lookup_show(k, &c))
			continue;
		statement_replace(k->st, span, lookup_column(k, &c));
	}
}

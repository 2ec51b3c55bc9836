/*
 * GROUP BY the key alone.
 *
 * A query over a table may select columns that it does not group by, if it
 * groups by the table's primary key (SELECT, "GROUP BY Clause").  A derived
 * table has no primary key, so that the columns which the query names are
 * added to its GROUP BY list.  They depend on the key: the groups stay.
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

/* What an item stands for: itself, or the SELECT list's item whose place or
 * name it is. */
static const Node *resolve_item(const SelectStmt *select, const Node *item)
{
	const ColumnRef *c = (const ColumnRef *)item;
	const A_Const *place = (const A_Const *)item;
	ListCell *cell;

	if (IsA(item, A_Const) && !place->isnull &&
	    nodeTag(&place->val) == T_Integer && place->val.ival.ival >= 1 &&
	    place->val.ival.ival <= list_length(select->targetList))
		return lfirst_node(ResTarget,
				   list_nth_cell(select->targetList,
						 place->val.ival.ival - 1))
		    ->val;
	if (!IsA(item, ColumnRef) || list_length(c->fields) != 1)
		return item;
	foreach (cell, select->targetList) {
		const ResTarget *target = lfirst(cell);

		if (target->name != NULL &&
		    strcmp(target->name, strVal(linitial(c->fields))) == 0)
			return target->val;
	}
	return item;
}

/* Is this `name`, `alias.name` or `schema.relation.name`?  The bare one, if it
 * is not the relation's own, is one joined with it or an error. */
static bool is_column(const struct ref *ref, const Node *item, const char *name)
{
	const ColumnRef *c = (const ColumnRef *)item;
	int n;

	if (!IsA(item, ColumnRef) || IsA(llast(c->fields), A_Star) ||
	    strcmp(strVal(llast(c->fields)), name) != 0)
		return false;
	n = list_length(c->fields);
	return n == 1 ||
	       strcmp(strVal(list_nth(c->fields, n - 2)), ref_alias(ref)) == 0;
}

/* inovices AS t(a, b): the first columns have other names here. */
static const char *name_here(const struct ref *ref, const struct relation *r,
			     const char *column)
{
	const Alias *alias = ref->var->alias;
	size_t i = 0;

	while (i < r->n_columns && strcmp(r->columns[i].name, column) != 0)
		i++;
	return alias != NULL && i < (size_t)list_length(alias->colnames)
		   ? strVal(list_nth(alias->colnames, (int)i))
		   : column;
}

static const Node *find_item(const struct ref *ref, const SelectStmt *select,
			     const char *name)
{
	ListCell *cell;

	foreach (cell, select->groupClause) {
		const Node *item = lfirst(cell);

		if (is_column(ref, item, name) ||
		    is_column(ref, resolve_item(select, item), name))
			return item;
	}
	return NULL;
}

/* The item of the list that is the key's first column, if the list has all of
 * the key's. */
static const Node *find_key(const struct lens *l, const struct ref *ref,
			    const struct relation *shown,
			    const SelectStmt *select)
{
	const Node *first = NULL;

	for (size_t i = 0; i < l->n_key; i++) {
		const Node *item = find_item(
		    ref, select,
		    name_here(ref, shown,
			      l->olds[l->key[i].old_index].column->name));

		if (item == NULL)
			return NULL;
		first = first == NULL ? item : first;
	}
	return first;
}

static int item_location(const Node *item)
{
	return IsA(item, A_Const) ? ((const A_Const *)item)->location
				  : ((const ColumnRef *)item)->location;
}

static bool is_row(const struct ref *ref, const Node *item)
{
	const ColumnRef *c = (const ColumnRef *)item;

	return IsA(item, ColumnRef) && list_length(c->fields) == 1 &&
	       IsA(linitial(c->fields), String) &&
	       strcmp(strVal(linitial(c->fields)), ref_alias(ref)) == 0;
}

bool group_is_by_key(const struct lens *l, const struct ref *ref,
		     const SelectStmt *select)
{
	ListCell *cell;

	foreach (cell, select->groupClause)
		if (is_row(ref, lfirst(cell)))
			return false;
	return find_key(l, ref, l->old, select) != NULL;
}

/* Is its row, or alias.*, used anywhere? */
static bool has_whole_row(const struct statement *st, const struct ref *ref)
{
	for (size_t i = 0; i < st->found.n_columns; i++) {
		const struct column_use *use = &st->found.columns[i];

		if (use->ref == ref &&
		    (use->kind == COLUMN_WHOLE_ROW || use->kind == COLUMN_STAR))
			return true;
	}
	return false;
}

static bool has_star(const SelectStmt *select)
{
	ListCell *cell;

	foreach (cell, select->targetList) {
		const Node *val = lfirst_node(ResTarget, cell)->val;

		if (IsA(val, ColumnRef) &&
		    IsA(llast(((const ColumnRef *)val)->fields), A_Star))
			return true;
	}
	return false;
}

static bool is_spelled(const struct statement *st, const char *name)
{
	for (size_t i = st->first; i < st->end; i++)
		if (st->tokens->v[i].kind == TOKEN_UNICODE ||
		    token_spells(st->sql, &st->tokens->v[i], name))
			return true;
	return false;
}

/* Types without equality can be in no GROUP BY list. */
static bool can_group_by(const struct column *c)
{
	static const char *const types[] = {
	    "json", "xml",  "point",   "line",	 "lseg",
	    "box",  "path", "polygon", "circle",
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(c->type, types[i]) == 0)
			return false;
	return true;
}

static void group_by_columns(struct statement *st, const struct ref *ref,
			     const SelectStmt *select)
{
	const struct lens *l = statement_lens(st, ref->name);
	const char *alias = quote_name(ref_alias(ref), st->a);
	const struct relation *shown =
	    ref->action == ACT_HIDE ? hide_shown(st, ref->name) : l->old;
	const Node *key = find_key(l, ref, shown, select);
	bool star = has_star(select) || has_whole_row(st, ref);
	struct sqltext t;

	if (key == NULL)
		return;
	sqltext_begin(&t, st->a);
	for (size_t i = 0; i < shown->n_columns; i++) {
		const struct column *c = &shown->columns[i];
		const char *name = name_here(ref, shown, c->name);

		if (can_group_by(c) && (star || is_spelled(st, name)) &&
		    !find_item(ref, select, name))
			sqltext_put(&t, "%s.%s, ", alias,
				    quote_name(name, st->a));
	}
	if (*t.s != '\0')
		statement_insert_before(
		    st, tokens_find(st->tokens, (uint32_t)item_location(key)),
		    t.s);
}

void read_groups(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_groups; i++) {
		const struct grouping *g = &st->found.groups[i];

		for (const struct ref *r = g->level->refs; r; r = r->next)
			if (r->action == ACT_THROUGH || r->action == ACT_HIDE)
				group_by_columns(st, r, g->select);
	}
}

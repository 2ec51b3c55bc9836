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

#include "rewrite/sqltext.h"

/* Is this item `key`, `alias.key` or `schema.relation.key`?  The bare one
 * could be another relation's, if there is one. */
static bool is_key_item(const struct ref *ref, const Node *item,
			const char *key, bool alone)
{
	const ColumnRef *c = (const ColumnRef *)item;
	int n;

	if (!IsA(item, ColumnRef) || IsA(llast(c->fields), A_Star) ||
	    strcmp(strVal(llast(c->fields)), key) != 0)
		return false;
	n = list_length(c->fields);
	if (n == 1)
		return alone;
	return strcmp(strVal(list_nth(c->fields, n - 2)), ref_alias(ref)) == 0;
}

static const Node *find_item(const struct ref *ref, const List *items,
			     const char *name, bool alone)
{
	ListCell *cell;

	foreach(cell, items)
		if (is_key_item(ref, lfirst(cell), name, alone))
			return lfirst(cell);
	return NULL;
}

/* The item of the list that is the key's first column, if the list has all of
 * the key's. */
static const ColumnRef *find_key(const struct lens *l, const struct ref *ref,
				 const List *items, bool alone)
{
	const Node *first = NULL;

	for (size_t i = 0; i < l->n_key; i++) {
		const Node *item = find_item(ref, items,
			l->olds[l->key[i].old_index].column->name, alone);

		if (item == NULL)
			return NULL;
		first = first == NULL ? item : first;
	}
	return (const ColumnRef *)first;
}

static bool has_star(const SelectStmt *select)
{
	ListCell *cell;

	foreach(cell, select->targetList) {
		const Node *val = lfirst_node(ResTarget, cell)->val;

		if (IsA(val, ColumnRef) && IsA(llast(
			((const ColumnRef *)val)->fields), A_Star))
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
		"json", "xml", "point", "line", "lseg", "box", "path",
		"polygon", "circle",
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
	const Node *source = linitial(select->fromClause);
	bool alone = list_length(select->fromClause) == 1 &&
		(IsA(source, RangeVar) || IsA(source, RangeTableSample));
	const char *alias = quote_name(ref_alias(ref), st->a);
	const ColumnRef *key = find_key(l, ref, select->groupClause, alone);
	bool star = has_star(select);
	struct sqltext t;

	if (key == NULL)
		return;
	sqltext_begin(&t, st->a);
	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;

		if (can_group_by(c) && (star || is_spelled(st, c->name)) &&
		    !find_item(ref, select->groupClause, c->name, alone))
			sqltext_put(&t, "%s.%s, ", alias,
				    quote_name(c->name, st->a));
	}
	if (*t.s != '\0')
		statement_insert_before(st, tokens_find(st->tokens, (uint32_t)
					key->location), t.s);
}

void read_groups(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_groups; i++) {
		const struct grouping *g = &st->found.groups[i];

		for (const struct ref *r = g->level->refs; r; r = r->next)
			if (r->action == ACT_THROUGH)
				group_by_columns(st, r, g->select);
	}
}

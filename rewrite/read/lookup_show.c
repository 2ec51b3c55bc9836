/*
 * The new columns that a read's derived table shows so that they can be looked
 * up: may it, unseen, and what its stars become then.
 */
#include "rewrite/read/lookup.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

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
	const struct lens *l = lookup_lens(k, r);
	const char *alias = quote_name(ref_alias(r), k->st->a);
	struct sqltext t;

	sqltext_begin(&t, k->st->a);
	for (size_t i = 0; i < l->n_old; i++)
		sqltext_item(&t, ", ", "%s.%s", alias,
			     quote_name(l->olds[i].column->name, k->st->a));
	return t.s;
}

bool lookup_is_item(const struct ref *r, const Node *item)
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
		if (r->shown != NULL && lookup_is_item(r, item)) {
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
	return depth < LOOKUP_MAX_DEPTH && join->usingClause == NIL &&
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
	       (depth < LOOKUP_MAX_DEPTH && !join->isNatural &&
		join->alias == NULL && is_plain_from(join->larg, depth + 1) &&
		is_plain_from(join->rarg, depth + 1));
}

bool lookup_is_plain(const struct lookup *k)
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

bool lookup_show(const struct lookup *k, const struct column_found *c)
{
	bool *shown = (bool *)c->ref->shown;

	if (c->ref->is_target)
		return true;
	if (shown == NULL) {
		if (!can_show(c->level, c->ref))
			return false;
		shown = arena_alloc(k->st->a, lookup_lens(k, c->ref)->n_new);
		c->ref->shown = shown;
	}
	shown[c->new] = true;
	c->level->any_shown = true;
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

void lookup_spell_stars(const struct lookup *k)
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

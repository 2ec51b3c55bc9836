/*
 * Columns that every table has: ctid, xmin, tableoid and the like.
 *
 * Where the rows come from another table only tableoid can be given, and is
 * the old one's, or its husk's: tableoid::regclass prints what it printed.
 *
 * Kind columns: ctid, xmin, tableoid and the like.  A row of either model is
 * the same row of the same table, so that they are what they always were.
 *
 * Writes have them from the table (hide_direct.c) or from L_lens.  Reads have
 * them as further columns of the derived table; what shows all of its columns,
 * `*` and whole rows, is spelled out then:
 *
 *   SELECT ctid, *   FROM (SELECT id, n, ctid FROM bills) AS bills
 *          ctid, bills.id, bills.n
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

bool system_column_is_named(const struct statement *st, const struct ref *ref)
{
	for (size_t i = 0; i < st->found.n_columns; i++)
		if (st->found.columns[i].kind == COLUMN_SYSTEM &&
		    st->found.columns[i].ref == ref)
			return true;
	return false;
}

bool system_column_is_shown(const struct statement *st, const struct ref *ref)
{
	return !ref->is_target && system_column_is_named(st, ref);
}

/* The old relation's, as long as the catalog has it; or 0. */
static uint32_t table_number(const struct statement *st, unsigned name)
{
	const struct rule_name *n = statement_name(st, name);
	const struct relation *old = n->through->old;
	enum phase phase = st->req->rules->migrations[n->migration].phase;

	if (n->through->child != NULL || old->kind != 'r')
		return 0; /* a partition's rows have the partition's */
	if (old->husk != 0 || phase == PHASE_CONTRACTED)
		return old->husk;
	return old->oid;
}

const char *system_columns(const struct statement *st, const struct ref *ref)
{
	struct sqltext t;

	sqltext_begin(&t, st->a);
	for (size_t i = 0; i < st->found.n_columns; i++) {
		const struct column_use *use = &st->found.columns[i];
		const char *name;

		if (use->kind != COLUMN_SYSTEM || use->ref != ref)
			continue;
		name = strVal(llast(use->node->fields));
		if (strstr(t.s, name) != NULL)
			continue;
		if (statement_lens(st, ref->name)->kind == LENS_COLUMNS ||
		    ref->action == ACT_HIDE)
			sqltext_put(&t, ", %s", name);
		else
			sqltext_put(&t, ", CAST(%u AS pg_catalog.oid) AS %s",
				    table_number(st, ref->name), name);
	}
	return t.s;
}

static bool refuse(struct statement *st, const struct ref *ref)
{
	return statement_refuse(
	    st, ref->name, "a system column beside such a query",
	    "What shows all columns would show it too, and cannot be spelled "
	    "out here.",
	    "Use the key, or list the columns.");
}

static bool is_given(const struct statement *st, const struct column_use *use)
{
	const struct ref *ref = use->ref;
	const char *name = strVal(llast(use->node->fields));

	if (statement_lens(st, ref->name)->kind == LENS_COLUMNS)
		return true;
	/* What stays of a table whose columns move is itself; of another's rows
	 * the table's number can be told. */
	return !ref->is_target &&
	       (ref->action == ACT_HIDE || (strcmp(name, "tableoid") == 0 &&
					    table_number(st, ref->name) != 0));
}

bool system_column(struct statement *st, const struct column_use *use)
{
	const struct ref *ref = use->ref;

	if (!is_given(st, use))
		return statement_refuse(
		    st, ref->name, "a system column",
		    "The rows come from the new relation: their ctid, "
		    "xmin and the like are not those of the old one.",
		    "Use the key.");
	if (ref->is_target)
		return true;
	/* Of several tables it might be any's. */
	if (list_length(use->node->fields) == 1 &&
	    ref->level->refs->next != NULL)
		return refuse(st, ref);
	return true;
}

static const struct ref *find_ref(const struct level *level, const Node *item)
{
	if (IsA(item, RangeTableSample))
		item = ((const RangeTableSample *)item)->relation;
	for (const struct ref *r = level->refs; r != NULL; r = r->next)
		if ((const Node *)r->var == item)
			return r;
	return NULL;
}

/* Beside others, schema.relation may have another's name. */
static bool is_schema_qualified(const Node *item)
{
	const RangeVar *var = (const RangeVar *)item;

	return IsA(item, RangeVar) && var->schemaname && var->alias == NULL;
}

/* Puts "a.*" for each FROM item, or the columns of one that shows more;
 * false where that would not be what `*` is. */
static bool put_stars(const struct statement *st, const struct level *level,
		      const Node *item, unsigned depth, struct sqltext *t)
{
	const JoinExpr *join = (const JoinExpr *)item;
	const char *name = from_name(item);
	const struct ref *ref = find_ref(level, item);

	if (IsA(item, JoinExpr))
		return depth < 100 && !join->isNatural &&
		       join->usingClause == NIL && join->alias == NULL &&
		       put_stars(st, level, join->larg, depth + 1, t) &&
		       put_stars(st, level, join->rarg, depth + 1, t);
	if (name == NULL || is_schema_qualified(item))
		return false;
	if (ref != NULL && system_column_is_shown(st, ref))
		sqltext_item(t, ", ", "%s", row_columns(st, ref));
	else
		sqltext_item(t, ", ", "%s.*", quote_name(name, st->a));
	return true;
}

/* Does a join under one name, or by common names, show all columns? */
static bool joins_plainly(const Node *item, unsigned depth)
{
	const JoinExpr *join = (const JoinExpr *)item;

	return !IsA(item, JoinExpr) ||
	       (depth < 100 && !join->isNatural && join->alias == NULL &&
		joins_plainly(join->larg, depth + 1) &&
		joins_plainly(join->rarg, depth + 1));
}

static bool is_star(const Node *value)
{
	const ColumnRef *c = (const ColumnRef *)value;

	return IsA(c, ColumnRef) && list_length(c->fields) == 1 &&
	       IsA(linitial(c->fields), A_Star);
}

static bool spell_star(struct statement *st, const struct level *level,
		       const List *from, const ColumnRef *star)
{
	size_t at;
	struct sqltext t;
	ListCell *cell;

	if (star->location < 0) /* TABLE bills */
		return false;
	at = tokens_find(st->tokens, (uint32_t)star->location);
	sqltext_begin(&t, st->a);
	foreach (cell, from)
		if (!put_stars(st, level, lfirst(cell), 0, &t))
			return false;
	statement_replace(st, (struct span){at, at + 1}, t.s);
	return true;
}

static bool spell_select(struct statement *st, const struct level *level,
			 const SelectStmt *select)
{
	ListCell *cell;

	if (select->groupClause != NIL)
		return false;
	foreach (cell, select->fromClause)
		if (!joins_plainly(lfirst(cell), 0))
			return false;
	foreach (cell, select->targetList) {
		const Node *value = lfirst_node(ResTarget, cell)->val;

		if (is_star(value) && !spell_star(st, level, select->fromClause,
						  (const ColumnRef *)value))
			return false;
	}
	return true;
}

/* In the FROM of a write, nothing may show all columns. */
static bool is_listed(const List *results)
{
	ListCell *cell;

	foreach (cell, results) {
		const ColumnRef *c =
		    (const ColumnRef *)lfirst_node(ResTarget, cell)->val;

		if (IsA(c, ColumnRef) && IsA(llast(c->fields), A_Star))
			return false;
	}
	return true;
}

static const struct scope_found *find_scope(const struct statement *st,
					    const struct level *level)
{
	for (size_t i = 0; i < st->found.n_scopes; i++)
		if (st->found.scopes[i].level == level)
			return &st->found.scopes[i];
	return NULL;
}

static bool spell_level(struct statement *st, const struct ref *ref)
{
	const struct scope_found *scope = find_scope(st, ref->level);

	if (scope == NULL)
		return false;
	return IsA(scope->statement, SelectStmt)
		   ? spell_select(st, ref->level,
				  (const SelectStmt *)scope->statement)
		   : is_listed(write_returning(scope->statement));
}

/* The first of its level that shows any. */
static bool is_first(const struct statement *st, const struct ref *ref)
{
	for (const struct ref *r = ref->level->refs; r != ref; r = r->next)
		if (system_column_is_shown(st, r))
			return false;
	return true;
}

bool system_columns_spell(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_refs; i++) {
		const struct ref *ref = st->found.refs[i];

		if ((ref->action == ACT_THROUGH || ref->action == ACT_HIDE) &&
		    system_column_is_shown(st, ref) && is_first(st, ref) &&
		    !spell_level(st, ref))
			return refuse(st, ref);
	}
	return true;
}

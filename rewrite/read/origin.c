#include "rewrite/read/origin.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/read/origin_part.h"

/* 1. Names. */

static bool is_star(const Node *field)
{
	return IsA(field, A_Star);
}

static const char *field_name(const ColumnRef *c, int i)
{
	return strVal(list_nth(c->fields, i));
}

static int16_t system_number(const char *name)
{
	static const char *const names[] = {"ctid", "xmin", "cmin",
					    "xmax", "cmax", "tableoid"};

	for (int16_t i = 0; i < 6; i++)
		if (strcmp(names[i], name) == 0)
			return (int16_t)(-1 - i);
	return 0;
}

/* `relation` or schema.relation, as the client calls it. */
static const struct source *find_source(const struct scope *scope,
					const char *schema, const char *name)
{
	bool returned = schema == NULL &&
			(strcmp(name, "old") == 0 || strcmp(name, "new") == 0);

	for (; scope != NULL; scope = scope->up) {
		for (const struct source *s = scope->first; s != NULL;
		     s = s->next)
			if (strcmp(s->alias, name) == 0 &&
			    (schema == NULL ||
			     (s->schema != NULL &&
			      strcmp(s->schema, schema) == 0)))
				return s;
		if (returned && scope->returned != NULL)
			return scope->returned;
	}
	return NULL;
}

static struct plan_origin of_source(const struct source *s, const char *name)
{
	const struct plan_origin *c = fields_find(&s->columns, name);
	int16_t number = system_number(name);

	if (c != NULL)
		return *c;
	if (number != 0 && s->table != 0)
		return (struct plan_origin){
		    .name = name, .table = s->table, .column = number};
	return (struct plan_origin){.name = name};
}

static bool knows_all(const struct scope *scope)
{
	for (const struct source *s = scope->first; s != NULL; s = s->next)
		for (size_t i = 0; i < s->columns.n; i++)
			if (s->columns.v[i].many)
				return false;
	return true;
}

/* One level's column of this name; at once where two have it, for then the
 * server refuses the statement. */
static const struct plan_origin *find_in(const struct scope *scope,
					 const char *name)
{
	const struct plan_origin *c = fields_find(&scope->merged, name);

	for (const struct source *s = scope->first; c == NULL && s != NULL;
	     s = s->next)
		c = fields_find(&s->columns, name);
	return c;
}

/* A system column without a relation's name can be only one relation's. */
static uint32_t only_table(const struct scope *scope)
{
	return scope->first != NULL && scope->first->next == NULL
		   ? scope->first->table
		   : 0;
}

static struct plan_origin of_bare(const struct scope *scope, const char *name)
{
	const struct source *row = find_source(scope, NULL, name);
	bool unsure = false;

	if (system_number(name) != 0)
		return (struct plan_origin){.name = name,
					    .table = only_table(scope),
					    .column = system_number(name)};
	for (; scope != NULL; scope = scope->up) {
		const struct plan_origin *c = find_in(scope, name);
		struct plan_origin out;

		if (c != NULL) {
			out = *c;
			out.unsure |= unsure || scope->natural;
			return out;
		}
		unsure |= !knows_all(scope);
	}
	/* The row of a relation is its column 0. */
	return (struct plan_origin){
	    .name = name, .table = row ? row->table : 0, .unsure = unsure};
}

static struct plan_origin of_column(const ColumnRef *c,
				    const struct scope *scope)
{
	int n = list_length(c->fields);
	const char *name = field_name(c, n - 1);
	const struct source *s;

	if (n == 1)
		return of_bare(scope, name);
	s = find_source(scope, n > 2 ? field_name(c, n - 3) : NULL,
			field_name(c, n - 2));
	return s != NULL ? of_source(s, name)
			 : (struct plan_origin){.name = name};
}

/* 2. Lists of results. */

static void add_star(const struct origins *o, const ColumnRef *c,
		     const struct scope *scope, struct fields *ret)
{
	int n = list_length(c->fields);
	const struct source *s;

	if (n == 1) {
		fields_add_all(o, ret, &scope->star);
		return;
	}
	s = find_source(scope, n > 2 ? field_name(c, n - 3) : NULL,
			field_name(c, n - 2));
	if (s != NULL)
		fields_add_all(o, ret, &s->columns);
	else
		fields_add_many(o, ret); /* of a composite column */
}

/* (alias).column is alias.column, unless a column has that name, and so is
 * (alias).*.  Unsure where not all columns are known. */
static const struct source *row_source(const A_Indirection *ind,
				       const struct scope *scope,
				       bool *ret_unsure)
{
	const ColumnRef *c = (const ColumnRef *)ind->arg;
	const char *name;
	const struct source *s;

	*ret_unsure = false;
	if (!IsA(c, ColumnRef) || list_length(c->fields) != 1 ||
	    list_length(ind->indirection) != 1 || is_star(linitial(c->fields)))
		return NULL;
	name = field_name(c, 0);
	s = find_source(scope, NULL, name);
	for (; s != NULL && scope != NULL; scope = scope->up) {
		if (find_in(scope, name) != NULL)
			return NULL;
		*ret_unsure |= !knows_all(scope);
	}
	return s;
}

/* Unsure, they are looked for by their names (daemon/net/origins.c). */
static void add_fields(const struct origins *o, const A_Indirection *ind,
		       const struct scope *scope, struct fields *ret)
{
	bool unsure;
	const struct source *s = row_source(ind, scope, &unsure);

	if (s == NULL || unsure)
		fields_add_many(o, ret);
	if (s != NULL)
		fields_add_all(o, ret, &s->columns);
	if (s != NULL && unsure)
		fields_add_many(o, ret);
}

static bool of_row(const A_Indirection *ind, const struct scope *scope,
		   struct plan_origin *ret)
{
	bool unsure;
	const struct source *s = IsA(linitial(ind->indirection), String)
				     ? row_source(ind, scope, &unsure)
				     : NULL;

	if (s == NULL)
		return false;
	*ret = of_source(s, strVal(linitial(ind->indirection)));
	ret->unsure |= unsure;
	return true;
}

static void add_result(const struct origins *o, const ResTarget *target,
		       const struct scope *scope, struct fields *ret)
{
	const Node *val = target->val;
	struct plan_origin column = {0};

	if (IsA(val, ColumnRef)) {
		const ColumnRef *c = (const ColumnRef *)val;

		if (is_star(llast(c->fields))) {
			add_star(o, c, scope, ret);
			return;
		}
		column = of_column(c, scope);
	} else if (IsA(val, A_Indirection)) {
		const A_Indirection *ind = (const A_Indirection *)val;

		if (is_star(llast(ind->indirection))) {
			add_fields(o, ind, scope, ret);
			return;
		}
		if (!of_row(ind, scope, &column))
			column.name = NULL;
	}
	if (target->name != NULL)
		column.name = target->name;
	fields_add(o, ret, &column);
}

static struct fields results(const struct origins *o, const List *list,
			     const struct scope *scope)
{
	struct fields out = {0};
	ListCell *cell;

	foreach (cell, list)
		add_result(o, lfirst_node(ResTarget, cell), scope, &out);
	return out;
}

/* 3. Queries. */

static struct fields unknown(const struct origins *o)
{
	struct fields out = {0};

	fields_add_many(o, &out);
	return out;
}

/* The rows of several queries come from no table. */
static struct fields without_origin(const struct origins *o,
				    const struct fields *f)
{
	struct fields out = {0};

	fields_add_all(o, &out, f);
	for (size_t i = 0; i < out.n; i++)
		out.v[i].table = 0;
	return out;
}

static struct fields values(const struct origins *o, const List *rows)
{
	struct fields out = {0};
	int n = list_length(linitial(rows));

	for (int i = 1; i <= n; i++)
		fields_add(o, &out,
			   &(struct plan_origin){
			       .name = arena_fmt(o->st->a, "column%d", i)});
	return out;
}

static const struct with *add_with(struct origins *o, const struct with *up,
				   const WithClause *clause,
				   const struct scope *scope)
{
	ListCell *cell;

	if (clause == NULL)
		return up;
	foreach (cell, clause->ctes) {
		const CommonTableExpr *cte = lfirst(cell);
		struct with *w = arena_alloc(o->st->a, sizeof(*w));
		struct fields f;

		*w = (struct with){.up = up, .name = cte->ctename};
		w->columns = unknown(o); /* to itself */
		f = query_fields(o, cte->ctequery, clause->recursive ? w : up,
				 scope);
		w->columns = fields_rename(o, &f, cte->aliascolnames);
		up = w;
	}
	return up;
}

static struct fields select_fields(struct origins *o, const SelectStmt *s,
				   const struct with *with,
				   const struct scope *up)
{
	struct scope scope = {.up = up};
	struct fields first;
	ListCell *cell;

	scope.with = add_with(o, with, s->withClause, up);
	if (s->op != SETOP_NONE) {
		first = query_fields(o, (Node *)s->larg, scope.with, up);
		return without_origin(o, &first);
	}
	if (s->valuesLists != NIL)
		return values(o, s->valuesLists);
	foreach (cell, s->fromClause)
		from_add(o, &scope, lfirst(cell));
	return results(o, s->targetList, &scope);
}

static struct fields write_fields(struct origins *o, const Node *write,
				  const RangeVar *target,
				  const WithClause *clause, const List *from,
				  const struct with *with,
				  const struct scope *up)
{
	struct scope scope = {.up = up};
	ListCell *cell;

	scope.with = add_with(o, with, clause, up);
	from_add_target(o, &scope, target);
	if (o->st->req->rules->server_version >= SERVER_RETURNING_OLD)
		scope.returned = scope.first;
	foreach (cell, from)
		from_add(o, &scope, lfirst(cell));
	return results(o, write_returning(write), &scope);
}

static struct fields any_query(struct origins *o, Node *query,
			       const struct with *with, const struct scope *up)
{
	const InsertStmt *insert = (const InsertStmt *)query;
	const UpdateStmt *update = (const UpdateStmt *)query;
	const DeleteStmt *delete = (const DeleteStmt *)query;

	if (IsA(query, SelectStmt))
		return select_fields(o, (const SelectStmt *)query, with, up);
	if (IsA(query, InsertStmt))
		return write_fields(o, query, insert->relation,
				    insert->withClause, NIL, with, up);
	if (IsA(query, UpdateStmt))
		return write_fields(o, query, update->relation,
				    update->withClause, update->fromClause,
				    with, up);
	if (IsA(query, DeleteStmt))
		return write_fields(o, query, delete->relation,
				    delete->withClause, delete->usingClause,
				    with, up);
	return unknown(o);
}

struct fields query_fields(struct origins *o, Node *query,
			   const struct with *with, const struct scope *up)
{
	struct fields out;

	if (o->depth >= ORIGIN_DEPTH)
		return unknown(o);
	o->depth++;
	out = any_query(o, query, with, up);
	o->depth--;
	return out;
}

/* 4. What the plan keeps. */

static bool tells_any(const struct fields *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].many || f->v[i].table != 0)
			return true;
	return false;
}

static const int16_t *own_columns(const struct lens *l, uint32_t *ret_table,
				  size_t *ret_n, struct arena *a)
{
	bool husk = l->old->husk != 0;
	size_t n = 0;
	int16_t *columns;

	for (size_t i = 0; i < l->n_new; i++)
		if ((size_t)l->news[i].column->attnum > n)
			n = (size_t)l->news[i].column->attnum;
	columns = arena_alloc(a, (n + 1) * sizeof(*columns));
	for (size_t i = 0; i < l->n_new; i++) {
		const struct lens_new *c = &l->news[i];

		if (c->carried && c->column->attnum > 0)
			columns[c->column->attnum] =
			    husk ? (int16_t)(c->old_index + 1)
				 : l->olds[c->old_index].column->attnum;
	}
	*ret_table = husk ? l->old->husk : l->old->oid;
	*ret_n = n + 1;
	return columns;
}

/* The new relation stands only for the old one, and not for itself. */
static bool stands_for_old(const struct statement *st,
			   const struct relation *new)
{
	for (size_t i = 0; i < st->found.n_refs; i++) {
		const struct ref *r = st->found.refs[i];

		if (!ref_is_replaced(r) &&
		    strcmp(r->var->relname, new->name) == 0)
			return false;
	}
	return true;
}

static void add_own(const struct statement *st, struct plan_origins *out,
		    struct plan_own *own, const struct ref *ref)
{
	const struct lens *l = statement_lens(st, ref->name);
	struct plan_own *to = &own[out->n_own];

	if (l->new->oid == 0 || l->new->oid == l->old->oid ||
	    !stands_for_old(st, l->new))
		return;
	for (size_t i = 0; i < out->n_own; i++)
		if (own[i].from == l->new->oid)
			return;
	to->from = l->new->oid;
	to->columns = own_columns(l, &to->table, &to->n, st->a);
	out->n_own++;
}

/* A child's columns that hold what moved. */
static void add_child(const struct statement *st, struct plan_origins *out,
		      struct plan_own *own, const struct ref *ref)
{
	const struct lens *l = statement_lens(st, ref->name);
	struct plan_own *to = &own[out->n_own];
	int16_t *columns;

	if (l->child == NULL || l->child->relation->oid == 0 ||
	    !stands_for_old(st, l->child->relation))
		return;
	to->from = l->child->relation->oid;
	to->table = l->old->oid;
	to->n = 1;
	for (size_t i = 0; i < l->child->n_columns; i++)
		if ((size_t)l->child->columns[i].column->attnum >= to->n)
			to->n = (size_t)l->child->columns[i].column->attnum + 1;
	to->columns = columns = arena_alloc(st->a, to->n * sizeof(*columns));
	for (size_t i = 0; i < l->child->n_columns; i++) {
		const struct child_column *c = &l->child->columns[i];

		if (c->plain && c->column->attnum > 0)
			columns[c->column->attnum] =
			    l->olds[c->old_index].column->attnum;
	}
	out->n_own++;
}

static const struct plan_origins *keep(const struct origins *o,
				       const struct fields *f)
{
	const struct statement *st = o->st;
	struct plan_origins *out = arena_alloc(st->a, sizeof(*out));
	struct plan_own *own =
	    arena_alloc(st->a, 2 * st->found.n_refs * sizeof(*own));

	out->n = f->n;
	out->columns = f->v;
	while (out->first_many < f->n && !f->v[out->first_many].many)
		out->first_many++;
	while (out->after_many < f->n && !f->v[f->n - 1 - out->after_many].many)
		out->after_many++;
	for (size_t i = 0; i < st->found.n_refs; i++)
		if (ref_is_replaced(st->found.refs[i])) {
			add_own(st, out, own, st->found.refs[i]);
			add_child(st, out, own, st->found.refs[i]);
		}
	out->own = own;
	out->n_among = o->among.n;
	out->among = o->among.v;
	return out;
}

void origin_plan(struct statement *st)
{
	struct origins o = {.st = st};
	struct fields f;
	bool any = false;

	for (size_t i = 0; i < st->found.n_refs; i++)
		any |= ref_loses_origin(st->found.refs[i]);
	if (!any || st->explained || st->nested)
		return;
	f = query_fields(&o, st->node, NULL, NULL);
	if (tells_any(&f))
		st->result->origins = keep(&o, &f);
}

/*
 * The FROM side of origin.c: which columns each item has, and what `*` makes
 * of them together.
 */
#include "rewrite/read/origin_part.h"

#include <string.h>

void fields_add(const struct origins *o, struct fields *f,
		const struct plan_origin *column)
{
	if (f->n == f->room) {
		size_t room = f->room ? 2 * f->room : 8;
		struct plan_origin *v =
		    arena_alloc(o->st->a, room * sizeof(*v));

		if (f->n > 0)
			memcpy(v, f->v, f->n * sizeof(*v));
		f->v = v;
		f->room = room;
	}
	f->v[f->n++] = *column;
}

void fields_add_all(const struct origins *o, struct fields *f,
		    const struct fields *more)
{
	for (size_t i = 0; i < more->n; i++)
		fields_add(o, f, &more->v[i]);
}

void fields_add_many(const struct origins *o, struct fields *f)
{
	fields_add(o, f, &(struct plan_origin){.many = true});
}

const struct plan_origin *fields_find(const struct fields *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].name != NULL && strcmp(f->v[i].name, name) == 0)
			return &f->v[i];
	return NULL;
}

static bool any_many(const struct fields *f, size_t n)
{
	for (size_t i = 0; i < n && i < f->n; i++)
		if (f->v[i].many)
			return true;
	return false;
}

struct fields fields_rename(const struct origins *o, const struct fields *f,
			    const List *names)
{
	size_t n = (size_t)list_length(names);
	struct fields out = {0};
	ListCell *cell;

	if (n > f->n || any_many(f, n)) {
		if (n > 0)
			fields_add_many(o, &out);
		else
			out = *f;
		return out;
	}
	fields_add_all(o, &out, f);
	foreach (cell, names)
		out.v[foreach_current_index(cell)].name = strVal(lfirst(cell));
	return out;
}

static struct source *source_add(const struct origins *o, struct scope *scope,
				 const char *alias, const struct fields *f)
{
	struct source *s = arena_alloc(o->st->a, sizeof(*s));

	s->alias = alias;
	s->columns = *f;
	if (scope->last != NULL)
		scope->last->next = s;
	else
		scope->first = s;
	scope->last = s;
	return s;
}

/* The columns as the old relation has them, or, where that is gone, its
 * husk, whose columns are numbered anew. */
static void relation_fields(const struct origins *o, const struct relation *r,
			    struct source *s)
{
	s->table = r->husk != 0 ? r->husk : r->oid;
	for (size_t i = 0; i < r->n_columns; i++)
		fields_add(o, &s->columns,
			   &(struct plan_origin){
			       .name = r->columns[i].name,
			       .table = s->table,
			       .type = r->columns[i].type_oid,
			       .column = r->husk != 0 ? (int16_t)(i + 1)
						      : r->columns[i].attnum});
}

static const struct ref *find_ref(const struct origins *o, const RangeVar *var)
{
	for (size_t i = 0; i < o->st->found.n_refs; i++)
		if (o->st->found.refs[i]->var == var)
			return o->st->found.refs[i];
	return NULL;
}

/* What a write in WITH returns is computed around the call that syncs. */
bool ref_loses_origin(const struct ref *ref)
{
	return ref_is_replaced(ref) || (ref->is_target && ref->cte != NULL);
}

static struct source *add_relation(const struct origins *o, struct scope *scope,
				   const RangeVar *var)
{
	const struct ref *ref = find_ref(o, var);
	const Alias *alias = var->alias;
	struct source *s =
	    source_add(o, scope, alias ? alias->aliasname : var->relname,
		       &(struct fields){0});

	if (ref != NULL && ref_loses_origin(ref)) {
		relation_fields(o, hide_shown(o->st, ref->name), s);
		if (alias == NULL)
			s->schema = statement_name(o->st, ref->name)->schema;
	} else {
		fields_add_many(o, &s->columns);
	}
	if (alias != NULL)
		s->columns = fields_rename(o, &s->columns, alias->colnames);
	return s;
}

static const struct with *find_with(const struct with *with,
				    const RangeVar *var)
{
	if (var->schemaname != NULL)
		return NULL;
	while (with != NULL && strcmp(with->name, var->relname) != 0)
		with = with->up;
	return with;
}

static void add_range(const struct origins *o, struct scope *scope,
		      const RangeVar *var)
{
	const struct with *with = find_with(scope->with, var);
	const Alias *alias = var->alias;
	struct fields columns;

	if (with == NULL) {
		fields_add_all(o, &scope->star,
			       &add_relation(o, scope, var)->columns);
		return;
	}
	columns =
	    fields_rename(o, &with->columns, alias ? alias->colnames : NIL);
	source_add(o, scope, alias ? alias->aliasname : var->relname, &columns);
	fields_add_all(o, &scope->star, &columns);
}

void from_add_target(struct origins *o, struct scope *scope,
		     const RangeVar *var)
{
	fields_add_all(o, &scope->star, &add_relation(o, scope, var)->columns);
}

static void add_named(const struct origins *o, struct scope *scope,
		      const Alias *alias, const struct fields *f)
{
	struct fields columns =
	    fields_rename(o, f, alias ? alias->colnames : NIL);

	source_add(o, scope, alias ? alias->aliasname : "", &columns);
	fields_add_all(o, &scope->star, &columns);
}

static void add_unknown(const struct origins *o, struct scope *scope,
			const Alias *alias)
{
	struct fields many = {0};

	fields_add_many(o, &many);
	add_named(o, scope, alias, &many);
}

static void add_subquery(struct origins *o, struct scope *scope,
			 const RangeSubselect *sub)
{
	struct fields f = query_fields(o, sub->subquery, scope->with,
				       sub->lateral ? scope : scope->up);

	add_named(o, scope, sub->alias, &f);
}

static void take_out(const struct origins *o, struct fields *f,
		     const struct fields *names)
{
	struct fields rest = {0};

	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].name == NULL ||
		    fields_find(names, f->v[i].name) == NULL)
			fields_add(o, &rest, &f->v[i]);
	*f = rest;
}

/* Of whole numbers, by which can hold which; 0: another type, or not known. */
static unsigned whole_rank(const struct plan_origin *c)
{
	static const uint32_t oids[] = {21 /* int2 */, 23 /* int4 */,
					20 /* int8 */};

	for (unsigned i = 0; i < 3; i++)
		if (oids[i] == c->type)
			return i + 1;
	return 0;
}

/* It is shown as the other side's type, and so computed. */
static bool is_widened(const struct plan_origin *c,
		       const struct plan_origin *other)
{
	return c != NULL && other != NULL && whole_rank(c) > 0 &&
	       whole_rank(c) < whole_rank(other);
}

/* Both sides are this column; PostgreSQL shows the one that is never NULL for
 * want of a partner, and an expression if neither is, or if it has to be cast;
 * then an inner join's other side.  Where other types than whole numbers
 * differ it may be that one too, which the server then says. */
static struct plan_origin merged_column(JoinType type, const char *name,
					const struct fields *left,
					const struct fields *right)
{
	const struct plan_origin *from =
	    fields_find(type == JOIN_RIGHT ? right : left, name);
	const struct plan_origin *other =
	    fields_find(type == JOIN_RIGHT ? left : right, name);
	struct plan_origin out = {.name = name};

	if (is_widened(from, other))
		from = type == JOIN_INNER ? other : NULL;
	if (from != NULL && type != JOIN_FULL) {
		out = *from;
		out.unsure = true;
	}
	return out;
}

static void merge_columns(const struct origins *o, const JoinExpr *join,
			  const struct fields *left, const struct fields *right,
			  struct fields *ret)
{
	ListCell *cell;

	foreach (cell, join->usingClause) {
		struct plan_origin c = merged_column(
		    join->jointype, strVal(lfirst(cell)), left, right);

		fields_add(o, ret, &c);
	}
	if (!join->isNatural)
		return;
	for (size_t i = 0; i < left->n; i++) {
		const char *name = left->v[i].name;
		struct plan_origin c;

		if (name == NULL || fields_find(right, name) == NULL)
			continue;
		c = merged_column(join->jointype, name, left, right);
		fields_add(o, ret, &c);
	}
}

/* The join's `*`, of those of its sides. */
static struct fields join_star(struct origins *o, const JoinExpr *join,
			       struct scope *scope, struct fields left,
			       struct fields right)
{
	struct fields star = {0}, merged = {0};

	if (join->isNatural &&
	    (any_many(&left, left.n) || any_many(&right, right.n))) {
		scope->natural = true;
		fields_add_many(o, &star);
		if (join->jointype != JOIN_RIGHT)
			fields_add_all(o, &o->among, &left);
		if (join->jointype != JOIN_LEFT)
			fields_add_all(o, &o->among, &right);
		return star;
	}
	merge_columns(o, join, &left, &right, &merged);
	take_out(o, &left, &merged);
	take_out(o, &right, &merged);
	/* A column that stands in a side of which not all is known is taken
	 * out there by nobody: the side may have any number of columns. */
	fields_add_all(o, &star, &merged);
	fields_add_all(o, &star, &left);
	fields_add_all(o, &star, &right);
	fields_add_all(o, &scope->merged, &merged);
	if (join->join_using_alias != NULL)
		source_add(o, scope, join->join_using_alias->aliasname,
			   &merged);
	return star;
}

static struct fields side_star(struct origins *o, struct scope *scope,
			       Node *side)
{
	struct fields outer = scope->star, star;

	scope->star = (struct fields){0};
	from_add(o, scope, side);
	star = scope->star;
	scope->star = outer;
	return star;
}

static void add_join(struct origins *o, struct scope *scope,
		     const JoinExpr *join)
{
	struct source *last = scope->last;
	struct fields merged = scope->merged;
	struct fields left = side_star(o, scope, join->larg);
	struct fields right = side_star(o, scope, join->rarg);
	struct fields star = join_star(o, join, scope, left, right);

	if (join->alias == NULL) {
		fields_add_all(o, &scope->star, &star);
		return;
	}
	scope->last = last; /* an alias hides what is in the join */
	if (last != NULL)
		last->next = NULL;
	else
		scope->first = NULL;
	scope->merged = merged;
	add_named(o, scope, join->alias, &star);
}

void from_add(struct origins *o, struct scope *scope, Node *item)
{
	if (o->depth >= ORIGIN_DEPTH) {
		add_unknown(o, scope, NULL);
		return;
	}
	o->depth++;
	if (IsA(item, RangeVar))
		add_range(o, scope, (const RangeVar *)item);
	else if (IsA(item, RangeTableSample))
		from_add(o, scope, ((const RangeTableSample *)item)->relation);
	else if (IsA(item, RangeSubselect))
		add_subquery(o, scope, (const RangeSubselect *)item);
	else if (IsA(item, JoinExpr))
		add_join(o, scope, (const JoinExpr *)item);
	else if (IsA(item, RangeFunction))
		add_unknown(o, scope, ((const RangeFunction *)item)->alias);
	else
		add_unknown(o, scope, NULL);
	o->depth--;
}

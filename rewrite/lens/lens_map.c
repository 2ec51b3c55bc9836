/*
 * The mappings of a lens: every new column comes from the entry that names
 * it, or from the old column that is carried over by its name, or is an
 * extra one; every old column has one way back.
 */
#include "rewrite/lens/lens_compile.h"

#include <string.h>

#include "rewrite/lens/match.h"
#include "rewrite/lens/template.h"

void lens_tie(const struct lens_compile *c, unsigned old, unsigned new)
{
	c->news[new].carried = c->news[new].bijective = true;
	c->news[new].old_index = old;
	c->olds[old].carried = c->olds[old].bijective = true;
	c->olds[old].new_index = new;
	c->has_way_back[old] = true;
}

/* A plain column whose types differ: an explicit cast both ways. */
static void cast_both_ways(const struct lens_compile *c, unsigned old,
			   unsigned new, bool bijective)
{
	template_of_column(old, c->a, &c->news[new].forward);
	template_of_column(new, c->a, &c->olds[old].reverse);
	c->news[new].bijective = c->olds[old].bijective = bijective;
	c->has_way_back[old] = true;
}

static bool map_plain(const struct lens_compile *c, unsigned line, unsigned old,
		      unsigned new, bool bijective)
{
	if (c->has_way_back[old])
		return lens_fail(c, line, "column \"%s\" has two ways back",
				 c->old->columns[old].name);
	if (!type_same(c->old->columns[old].type, c->new->columns[new].type))
		cast_both_ways(c, old, new, bijective);
	else if (lens_is_in_place(c) && strcmp(c->old->columns[old].name,
					       c->new->columns[new].name) != 0)
		cast_both_ways(c, old, new, true);
	else
		lens_tie(c, old, new);
	return true;
}

static bool names_only(const struct template *t, unsigned column)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->column[i] != column)
			return false;
	return t->n > 0;
}

static bool map_reverse(const struct lens_compile *c,
			const struct spec_column *e, size_t i, unsigned new)
{
	unsigned old = (unsigned)lens_find_column(c->old, e->old[i]);
	struct lens_old *o = &c->olds[old];

	if (c->has_way_back[old])
		return lens_fail(c, e->line, "column \"%s\" has two ways back",
				 e->old[i]);
	if (!template_parse(e->reverse[i], c->new->columns, c->new->n_columns,
			    c->known, c->a, &o->reverse, c->p))
		return lens_fail_again(c, e->line);
	if (e->bijective && !names_only(&o->reverse, new))
		return lens_fail(c, e->line,
				 "a bijective reverse names the new "
				 "column and no other");
	o->bijective = e->bijective;
	c->has_way_back[old] = true;
	return true;
}

static bool map_entry(const struct lens_compile *c, const struct spec_column *e,
		      unsigned new)
{
	unsigned old = (unsigned)lens_find_column(c->old, e->old[0]);
	struct lens_new *n = &c->news[new];

	if (e->new_type != NULL &&
	    !type_same(e->new_type, c->new->columns[new].type))
		return lens_fail(c, e->line,
				 "column \"%s\" of %s.%s is %s, not %s",
				 e->new_name, c->new->schema, c->new->name,
				 c->new->columns[new].type, e->new_type);
	if (entry_is_plain(e))
		return map_plain(c, e->line, old, new, e->bijective);
	if (e->forward == NULL)
		template_of_column(old, c->a, &n->forward);
	else if (!template_parse(e->forward, c->old->columns, c->old->n_columns,
				 c->known, c->a, &n->forward, c->p))
		return lens_fail_again(c, e->line);
	if (e->bijective && !names_only(&n->forward, old))
		return lens_fail(c, e->line,
				 "a bijective forward names the old "
				 "column and no other");
	n->bijective = e->bijective;
	for (size_t i = 0; e->reverse != NULL && i < e->n_old; i++)
		if (e->reverse[i] != NULL && !map_reverse(c, e, i, new))
			return false;
	return true;
}

static int carried_from(const struct lens_compile *c, const char *new)
{
	for (size_t i = 0; i < c->old->n_columns; i++) {
		const char *name =
		    lens_carried_name(c, c->old->columns[i].name);

		if (name != NULL && strcmp(name, new) == 0)
			return (int)i;
	}
	return NOWHERE;
}

static bool map_new(const struct lens_compile *c, unsigned new)
{
	const struct column *column = &c->new->columns[new];
	const struct spec_column *e = lens_entry_of_new(c, column->name);
	int old;

	if (e != NULL)
		return map_entry(c, e, new);
	old = carried_from(c, column->name);
	if (old != NOWHERE)
		return map_plain(c, c->in->line, (unsigned)old, new, false);
	c->news[new].extra = true;
	return true;
}

static bool check_old(const struct lens_compile *c, unsigned old)
{
	const struct column *column = &c->old->columns[old];

	for (size_t i = 0; i < c->in->n_columns; i++)
		if (!c->has_way_back[old] &&
		    entry_uses_old(&c->in->columns[i], column->name))
			return lens_fail(c, c->in->columns[i].line,
					 "column \"%s\" "
					 "has no way back: reverse is needed",
					 column->name);
	if (!c->has_way_back[old])
		return lens_fail(c, c->in->line,
				 "column \"%s\" has no place in %s.%s",
				 column->name, c->new->schema, c->new->name);
	return true;
}

static bool check_extra(const struct lens_compile *c, unsigned new)
{
	const struct column *column = &c->new->columns[new];

	if (!c->news[new].extra || !column->not_null ||
	    column->default_expr != NULL || column->identity)
		return true;
	return lens_fail(c, c->in->line,
			 "column \"%s\" of %s.%s is not in the "
			 "lens: it needs a default, or to be nullable",
			 column->name, c->new->schema, c->new->name);
}

static bool sorts_alike(const struct lens_compile *c, const char *new)
{
	const struct spec_column *e = lens_entry_of_new(c, new);

	return e != NULL && e->order == ORDER_PRESERVING;
}

/* In a table that is both models: PostgreSQL sees through the cast. */
static bool only_renames(const struct lens_old *o, const struct lens_new *n)
{
	return template_is_bare(&o->reverse) &&
	       type_same(o->column->type, n->column->type);
}

/* Which new columns can be looked up by the old one's value. */
static void find_matches(const struct lens_compile *c)
{
	for (unsigned i = 0; i < c->new->n_columns; i++) {
		struct lens_new *n = &c->news[i];
		const struct lens_old *o;

		if (n->carried || n->extra || !n->bijective)
			continue;
		o = &c->olds[n->forward.column[0]];
		if (!o->carried && o->bijective && !only_renames(o, n))
			n->match =
			    match_make(o->column, n,
				       sorts_alike(c, n->column->name), c->a);
		n->ordered = n->match != NULL && n->forward.strict &&
			     sorts_alike(c, n->column->name);
	}
}

/* Both sides' columns, mapped to nothing yet. */
void lens_begin_columns(struct lens_compile *c)
{
	c->olds = arena_alloc(c->a, c->old->n_columns * sizeof(*c->olds));
	c->news = arena_alloc(c->a, c->new->n_columns * sizeof(*c->news));
	c->has_way_back = arena_alloc(c->a, c->old->n_columns);
	for (unsigned i = 0; i < c->old->n_columns; i++)
		c->olds[i].column = &c->old->columns[i];
	for (unsigned i = 0; i < c->new->n_columns; i++)
		c->news[i].column = &c->new->columns[i];
}

bool lens_compile_columns(struct lens_compile *c)
{
	lens_begin_columns(c);
	for (unsigned i = 0; i < c->new->n_columns; i++) {
		c->news[i].wanted =
		    c->wanted == NULL ? c->news[i].column
				      : relation_find_column(
					    c->wanted, c->news[i].column->name);
		if (!map_new(c, i))
			return false;
	}
	for (unsigned i = 0; i < c->old->n_columns; i++)
		if (!check_old(c, i))
			return false;
	for (unsigned i = 0; i < c->new->n_columns; i++)
		if (!check_extra(c, i))
			return false;
	find_matches(c);
	return true;
}

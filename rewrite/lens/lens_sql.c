/*
 * SQL of a lens: names of its objects, and its mappings over a row.
 */
#include "rewrite/lens/lens.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/template.h"
#include "rewrite/text/sqltext.h"

const char *lens_own_ref(const struct lens *l, const char *what,
			 struct arena *a)
{
	return quote_qualified(
	    "pgtandem", arena_fmt(a, "%s_%u_%s", l->migration, l->number, what),
	    a);
}

/* The template over `side`'s columns, each behind `prefix`. */
static const char *fill(const struct template *t, const struct relation *side,
			const char *prefix, const char *type, struct arena *a)
{
	const char **names = arena_alloc(a, (t->n + 1) * sizeof(*names));

	for (size_t i = 0; i < t->n; i++)
		names[i] =
		    arena_fmt(a, "%s%s", prefix,
			      quote_name(side->columns[t->column[i]].name, a));
	return arena_fmt(a, "CAST((%s) AS %s)", template_join(t, names, a),
			 type);
}

const char *lens_forward(const struct lens *l, unsigned new_index,
			 const char *prefix, struct arena *a)
{
	const struct lens_new *n = &l->news[new_index];

	if (n->extra)
		return NULL;
	if (n->carried)
		return arena_fmt(
		    a, "%s%s", prefix,
		    quote_name(l->old->columns[n->old_index].name, a));
	return fill(&n->forward, l->old, prefix,
		    type_before_assignment(n->column->type, a), a);
}

const char *lens_reverse(const struct lens *l, unsigned old_index,
			 const char *prefix, struct arena *a)
{
	const struct lens_old *o = &l->olds[old_index];

	if (o->carried)
		return arena_fmt(
		    a, "%s%s", prefix,
		    quote_name(l->new->columns[o->new_index].name, a));
	if (l->child != NULL)
		return child_reverse(l, child_find_moved(l, old_index), prefix,
				     a);
	return fill(&o->reverse, l->new, prefix, o->column->type, a);
}

static bool is_whole(const struct column *c)
{
	return type_same(c->type, "smallint") ||
	       type_same(c->type, "integer") || type_same(c->type, "bigint");
}

/* Is it the value of this column, or an error? */
static bool is_column(const struct template *t, unsigned column)
{
	if (template_is_bare(t))
		return t->column[0] == column;
	return t->n == 1 && t->column[0] == column && t->sure.bounded &&
	       t->sure.factor == 1 && t->sure.add == 0;
}

bool lens_keeps_value(const struct lens *l, unsigned old_index)
{
	const struct lens_old *o = &l->olds[old_index];

	if (o->carried)
		return true;
	if (l->child != NULL)
		return false;
	for (unsigned i = 0; i < l->n_new; i++)
		if (!l->news[i].carried && !l->news[i].extra &&
		    (type_same(l->news[i].column->type, o->column->type) ||
		     (is_whole(l->news[i].column) && is_whole(o->column))) &&
		    is_column(&l->news[i].forward, old_index) &&
		    is_column(&o->reverse, i))
			return true;
	return false;
}

const char *lens_columns(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (unsigned i = 0; i < l->n_old; i++) {
		const char *name = quote_name(l->olds[i].column->name, a);
		const char *value = lens_reverse(l, i, "", a);

		if (strcmp(name, value) == 0)
			sqltext_item(&t, ", ", "%s", name);
		else
			sqltext_item(&t, ", ", "%s AS %s", value, name);
	}
	return t.s;
}

const char *copy_view(const struct lens *l, const char *what, struct arena *a)
{
	return quote_qualified(
	    "pgtandem",
	    arena_fmt(a, "%s_%u_copy_%s", l->migration, l->number, what), a);
}

const char *lens_ref_with(const char *ref, const char *suffix, struct arena *a)
{
	size_t len = strlen(ref);

	return ref[len - 1] == '"'
		   ? arena_fmt(a, "%.*s%s\"", (int)(len - 1), ref, suffix)
		   : arena_fmt(a, "%s%s", ref, suffix);
}

const char *lens_late_ref(const char *ref, struct arena *a)
{
	return lens_ref_with(ref, "_late", a);
}

bool lens_is_to_itself(const struct lens *l, const struct constraint *k)
{
	return constraint_refers_to(k, l->old_ref);
}

bool lens_tells_place(const struct lens *l)
{
	if (l->kind != LENS_TABLE)
		return false;
	for (size_t i = 0; i < l->old->n_grants; i++)
		if (l->old->grants[i].column != NULL)
			return false;
	return true;
}

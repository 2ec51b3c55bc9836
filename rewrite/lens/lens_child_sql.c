/*
 * SQL of a child lens: its mappings, and the old shape over both tables.
 */
#include "rewrite/lens/lens_child.h"

#include <stdlib.h>
#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/lens/template.h"
#include "rewrite/text/sqltext.h"

const struct child_moved *child_find_moved(const struct lens *l, unsigned old)
{
	for (size_t i = 0; i < l->child->n_moved; i++)
		if (l->child->moved[i].old_index == old)
			return &l->child->moved[i];
	return NULL;
}

const char *child_refers_to(const struct lens *l, size_t i, struct arena *a)
{
	const char *table =
	    constraint_target(&l->child->relation->constraints[i], a);

	return table != NULL && strcmp(table, l->old->name) != 0 ? table : NULL;
}

bool child_depends_on(const struct lens *l, unsigned old)
{
	for (size_t i = 0; i < l->child->n_columns; i++)
		if (l->child->columns[i].mapped &&
		    template_names(&l->child->columns[i].forward, old))
			return true;
	return l->child->has_when && template_names(&l->child->when, old);
}

static const char *join(const struct template *t, const struct relation *side,
			const char *prefix, struct arena *a)
{
	const char **quoted = arena_alloc(a, (t->n + 1) * sizeof(*quoted));

	for (size_t i = 0; i < t->n; i++)
		quoted[i] =
		    arena_fmt(a, "%s%s", prefix,
			      quote_name(side->columns[t->column[i]].name, a));
	return template_join(t, quoted, a);
}

const char *child_forward(const struct lens *l, size_t column,
			  const char *prefix, struct arena *a)
{
	const struct child_column *c = &l->child->columns[column];
	const char *text = join(&c->forward, l->old, prefix, a);

	if (c->plain)
		return text;
	return arena_fmt(a, "CAST((%s) AS %s)", text,
			 type_before_assignment(c->column->type, a));
}

const char *child_reverse(const struct lens *l, const struct child_moved *m,
			  const char *prefix, struct arena *a)
{
	const char *text = join(&m->reverse, l->child->relation, prefix, a);

	if (m->plain)
		return text;
	if (!template_is_bare(&m->reverse))
		text = arena_fmt(a, "CASE WHEN %s%s IS NOT NULL THEN %s END",
				 prefix, child_parent(l, 0, a), text);
	return arena_fmt(a, "CAST((%s) AS %s)", text,
			 l->olds[m->old_index].column->type);
}

const char *child_when(const struct lens *l, const char *prefix,
		       struct arena *a)
{
	if (!l->child->has_when)
		return "true";
	return arena_fmt(a, "(%s) IS TRUE",
			 join(&l->child->when, l->old, prefix, a));
}

const char *child_order(const struct lens *l, const char *alias,
			struct arena *a)
{
	const char *prefix = arena_fmt(a, "%s.", alias);
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->child->n_pick; i++)
		sqltext_item(
		    &t, ", ", "%s%s",
		    join(&l->child->pick[i].by, l->child->relation, prefix, a),
		    l->child->pick[i].order);
	sqltext_item(&t, ", ", "%s.ctid", alias);
	return t.s;
}

const char *child_parent(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->child->columns[l->child->parent[i]].column->name,
			  a);
}

static const char *old_key(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->old->columns[l->key[i].old_index].name, a);
}

/* An extension's type has its own, which the client's path may not find. */
static const char *key_equals(const struct lens *l, size_t i, struct arena *a)
{
	const char *schema = l->old->columns[l->key[i].old_index].equals_schema;

	return schema == NULL
		   ? "="
		   : arena_fmt(a, "OPERATOR(%s.=)", quote_name(schema, a));
}

const char *child_join(const struct lens *l, const char *child, const char *old,
		       struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, " AND ", "%s.%s %s %s.%s", child,
			     child_parent(l, i, a), key_equals(l, i, a), old,
			     old_key(l, i, a));
	return t.s;
}

const char *child_differ(const struct lens *l, const char *old,
			 const char *child, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->child->n_columns; i++) {
		const struct child_column *c = &l->child->columns[i];
		const char *made, *is;

		if (!c->mapped)
			continue;
		made = child_forward(l, i, old, a);
		if (!c->plain)
			made = arena_fmt(a, "CAST(%s AS %s)", made,
					 c->column->type);
		is =
		    arena_fmt(a, "%s%s", child, quote_name(c->column->name, a));
		sqltext_item(&t, " OR ", "%s",
			     mapping_differ_one(c->column, is, made, a));
	}
	return t.len > 0 ? t.s : "false";
}

static const char *column_ref(const struct lens *l, const char *what,
			      const struct child_moved *m, struct arena *a)
{
	return quote_qualified("pgtandem",
			       arena_fmt(a, "%s_%u_%s_%u", l->migration,
					 l->number, what, m->old_index + 1),
			       a);
}

const char *child_pick_ref(const struct lens *l, const struct child_moved *m,
			   struct arena *a)
{
	return column_ref(l, "pick", m, a);
}

const char *child_read_ref(const struct lens *l, const struct child_moved *m,
			   struct arena *a)
{
	return column_ref(l, "read", m, a);
}

const char *child_given_ref(const struct lens *l, const struct child_moved *m,
			    struct arena *a)
{
	return column_ref(l, "given", m, a);
}

const char *child_picked(const struct lens *l, const struct child_moved *m,
			 const char *alias, struct arena *a)
{
	const char *type = l->olds[m->old_index].column->type, *call;
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "%s.%s", alias, old_key(l, i, a));
	call = arena_fmt(a, "%s(%s)", child_pick_ref(l, m, a), t.s);
	if (strchr(type, '(') == NULL)
		return call;
	return arena_fmt(a, "CAST(%s AS %s)", call, type); /* its length */
}

static const char *subselect(const struct lens *l, const struct child_moved *m,
			     struct arena *a)
{
	return arena_fmt(
	    a, "(SELECT %s FROM %s AS c WHERE %s ORDER BY %s LIMIT 1)",
	    child_reverse(l, m, "c.", a), l->child->ref,
	    child_join(l, "c", "e", a), child_order(l, "c", a));
}

static const char *moved_value(const struct lens *l,
			       const struct child_moved *m,
			       enum child_access access, struct arena *a)
{
	switch (access) {
	case CHILD_JOIN:
		return child_reverse(l, m, "c.", a);
	case CHILD_FUNCTIONS:
		return child_picked(l, m, "e", a);
	case CHILD_SUBSELECT:
		return subselect(l, m, a);
	}
	abort();
}

static const char *derived_columns(const struct lens *l,
				   enum child_access access, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (unsigned i = 0; i < l->n_old; i++) {
		const char *name = quote_name(l->olds[i].column->name, a);
		const struct child_moved *m = child_find_moved(l, i);

		if (m == NULL)
			sqltext_item(&t, ", ", "e.%s", name);
		else
			sqltext_item(&t, ", ", "%s AS %s",
				     moved_value(l, m, access, a), name);
	}
	return t.s;
}

const char *child_derived(const struct lens *l, bool only, const char *sample,
			  enum child_access access, struct arena *a)
{
	const struct lens_child *c = l->child;
	const char *from = arena_fmt(a, "(SELECT %s FROM %s%s AS e%s",
				     derived_columns(l, access, a),
				     only ? "ONLY " : "", l->old_ref, sample);

	if (access != CHILD_JOIN)
		return arena_fmt(a, "%s)", from);
	if (c->single)
		return arena_fmt(a, "%s LEFT JOIN %s AS c ON %s)", from, c->ref,
				 child_join(l, "c", "e", a));
	return arena_fmt(
	    a,
	    "%s LEFT JOIN %s AS c ON %s AND c.ctid = (SELECT p.ctid FROM %s "
	    "AS p WHERE %s ORDER BY %s LIMIT 1))",
	    from, c->ref, child_join(l, "c", "e", a), c->ref,
	    child_join(l, "p", "e", a), child_order(l, "p", a));
}

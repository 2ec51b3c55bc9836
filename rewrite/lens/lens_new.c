/*
 * The new side of a lens, while its relation does not exist: what the
 * specification makes of the old columns.
 */
#include "rewrite/lens/lens_compile.h"

#include <assert.h>
#include <string.h>

#include "rewrite/lens/template.h"

/* The default of a converted column: the old columns' defaults, mapped; in
 * parentheses, since DEFAULT takes no operator in words bare.  Without any
 * default on the old side there is none on the new. */
static const char *map_default(const struct lens_compile *c,
			       const struct template *forward)
{
	const char **values =
	    arena_alloc(c->a, (forward->n + 1) * sizeof(*values));
	bool any = false;

	for (size_t i = 0; i < forward->n; i++) {
		const struct column *o = &c->old->columns[forward->column[i]];
		const char *text = o->generated ? NULL : o->default_expr;

		any |= text != NULL;
		values[i] = arena_fmt(c->a, "CAST(%s AS %s)",
				      text == NULL ? "NULL" : text, o->type);
	}
	if (!any)
		return NULL;
	return arena_fmt(c->a, "(%s)", template_join(forward, values, c->a));
}

static bool derive_converted(const struct lens_compile *c,
			     const struct spec_column *e, struct column *new)
{
	const struct column *old = relation_find_column(c->old, e->old[0]);
	struct template forward;

	*new = (struct column){.name = e->new_name,
			       .type = e->new_type ? e->new_type : old->type,
			       .typmod = -1,
			       .comment = old->comment,
			       .not_null = e->new_not_null,
			       .storage = 0,
			       .statistics = -1};
	if (e->new_type == NULL)
		new->collation = old->collation;
	if (!e->new_not_null_given) {
		new->not_null = true;
		for (size_t i = 0; i < e->n_old; i++)
			new->not_null &=
			    relation_find_column(c->old, e->old[i])->not_null;
	}
	if (e->new_default != NULL) {
		new->default_expr = arena_fmt(c->a, "(%s)", e->new_default);
		return true;
	}
	if (e->forward == NULL)
		template_of_column((unsigned)(old - c->old->columns), c->a,
				   &forward);
	else if (!template_parse(e->forward, c->old->columns, c->old->n_columns,
				 c->known, c->a, &forward, c->p))
		return lens_fail_again(c, e->line);
	new->default_expr = map_default(c, &forward);
	return true;
}

/* A new column that only has another name.  While both relations live, they
 * draw from one sequence; so an identity becomes a default. */
static void carry(const struct lens_compile *c, const struct column *old,
		  const char *name, struct column *new)
{
	*new = *old;
	new->name = name;
	if (lens_is_in_place(c) || !old->identity || old->sequence == NULL)
		return;
	new->identity = 0;
	new->default_expr = arena_fmt(c->a, "nextval(%s::regclass)",
				      quote_text(old->sequence, c->a));
}

static bool derive_entry(const struct lens_compile *c,
			 const struct spec_column *e, struct column *new)
{
	const struct column *old = relation_find_column(c->old, e->old[0]);

	if (lens_is_in_place(c) || !entry_is_plain(e) ||
	    (e->new_type != NULL && !type_same(e->new_type, old->type)))
		return derive_converted(c, e, new);
	carry(c, old, e->new_name, new);
	if (e->new_not_null_given)
		new->not_null = e->new_not_null;
	if (e->new_default != NULL)
		new->default_expr = arena_fmt(c->a, "(%s)", e->new_default);
	return true;
}

/* The new name of an old column that is carried, with an entry or without;
 * NULL if it is not. */
static const char *renamed(const struct lens_compile *c, const char *old)
{
	const char *name = lens_carried_name(c, old);

	for (size_t i = 0;
	     name == NULL && !lens_is_in_place(c) && i < c->in->n_columns;
	     i++) {
		const struct spec_column *e = &c->in->columns[i];

		if (entry_is_plain(e) && e->new_type == NULL &&
		    entry_uses_old(e, old))
			name = e->new_name;
	}
	return name;
}

/* A carried generated column is generated from the same columns' new names;
 * that needs them all to be carried. */
static bool derive_generated(const struct lens_compile *c, struct column *new)
{
	const char **names;
	struct template t;

	if (!new->generated)
		return true;
	if (!template_parse(new->default_expr, c->old->columns,
			    c->old->n_columns, NULL, c->a, &t, c->p))
		return lens_fail_again(c, c->in->line);
	names = arena_alloc(c->a, (t.n + 1) * sizeof(*names));
	for (size_t i = 0; i < t.n; i++) {
		const char *from = c->old->columns[t.column[i]].name;
		const char *to = renamed(c, from);

		if (to == NULL)
			return lens_fail(
			    c, c->in->line,
			    "generated column \"%s\" "
			    "is computed from \"%s\", which is "
			    "converted: give it an entry of its own",
			    new->name, from);
		names[i] = quote_name(to, c->a);
	}
	new->default_expr = template_join(&t, names, c->a);
	return true;
}

/* An added column stands behind those that were there. */
static bool derive_added(const struct lens_compile *c, struct column *columns,
			 size_t *n)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (!derive_entry(c, &c->in->columns[i], &columns[(*n)++]))
			return false;
	return true;
}

/* The new columns that stand where old column `at` stood. */
static bool derive_at(const struct lens_compile *c, const struct column *at,
		      struct column *columns, size_t *n)
{
	const char *name = lens_carried_name(c, at->name);

	assert(at->name != NULL);
	if (name != NULL) {
		carry(c, at, name, &columns[*n]);
		return derive_generated(c, &columns[(*n)++]);
	}
	for (size_t i = 0; !lens_is_in_place(c) && i < c->in->n_columns; i++) {
		const struct spec_column *e = &c->in->columns[i];

		if (strcmp(e->old[0], at->name) != 0)
			continue;
		if (!derive_entry(c, e, &columns[*n]) ||
		    !derive_generated(c, &columns[*n]))
			return false;
		(*n)++;
	}
	return true;
}

bool lens_derive_new(struct lens_compile *c)
{
	size_t most = c->old->n_columns + c->in->n_columns, n = 0;
	struct column *columns = arena_alloc(c->a, most * sizeof(*columns));
	struct relation *new = arena_alloc(c->a, sizeof(*new));

	for (size_t i = 0; i < c->old->n_columns; i++)
		if (!derive_at(c, &c->old->columns[i], columns, &n))
			return false;
	if (lens_is_in_place(c) && !derive_added(c, columns, &n))
		return false;
	*new = (struct relation){.schema = c->in->new.schema,
				 .name = c->in->new.name,
				 .kind = 'r',
				 .owner = c->old->owner,
				 .comment = c->old->comment,
				 .replica_identity = c->old->replica_identity,
				 .row_security = c->old->row_security,
				 .rows = -1,
				 .n_columns = n,
				 .columns = columns};
	for (size_t i = 0; i < n; i++) {
		columns[i].attnum = (int16_t)(i + 1);
		if (lens_find_column(new, columns[i].name) != (int)i)
			return lens_fail(c, c->in->line,
					 "column \"%s\" of %s.%s is made twice",
					 columns[i].name, new->schema,
					 new->name);
	}
	c->new = new;
	return true;
}

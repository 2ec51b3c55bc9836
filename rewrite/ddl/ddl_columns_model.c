/*
 * Kind columns: the columns themselves come and go.
 */
#include <string.h>

#include "rewrite/ddl/ddl_columns.h"

static void add_column(struct ddl_build *b, size_t i)
{
	const struct column *c = b->l->news[i].wanted;
	const char *name = quote_name(c->name, b->a);

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "ALTER TABLE %s ADD COLUMN %s %s%s%s",
			  b->l->old_ref, name, c->type,
			  c->collation ? " COLLATE " : "",
			  c->collation ? c->collation : ""),
		"add column %s to %s", name, b->l->old_ref);
	if (c->comment != NULL)
		ddl_add(b, DDL_NO_LOCK,
			arena_fmt(b->a, "COMMENT ON COLUMN %s.%s IS %s",
				  b->l->old_ref, name,
				  quote_text(c->comment, b->a)),
			"comment on column %s", name);
}

static bool is_made_of(const struct lens *l, size_t i, const char *old)
{
	const struct template *t = &l->news[i].forward;

	for (size_t k = 0; columns_is_added(l, i) && k < t->n; k++)
		if (strcmp(l->old->columns[t->column[k]].name, old) == 0)
			return true;
	return false;
}

/* Rights on an old column alone are rights on what is made of it. */
static void grant_columns(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t g = 0; g < l->old->n_grants; g++) {
		const struct grant *x = &l->old->grants[g];

		for (size_t i = 0; x->column != NULL && i < l->n_new; i++)
			if (is_made_of(l, i, x->column))
				ddl_add(b, DDL_NO_LOCK,
					arena_fmt(
					    b->a, "GRANT %s (%s) ON %s TO %s%s",
					    x->privilege,
					    columns_new(l, i, b->a), l->old_ref,
					    x->grantee
						? quote_name(x->grantee, b->a)
						: "PUBLIC",
					    x->grantable ? " WITH GRANT OPTION"
							 : ""),
					"privileges of column %s",
					columns_new(l, i, b->a));
	}
}

void ddl_columns_add(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i))
			add_column(b, i);
	grant_columns(b);
}

void ddl_columns_drop_new(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i))
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s DROP COLUMN"
					  " IF EXISTS %s",
					  l->old_ref, columns_new(l, i, b->a)),
				"drop column %s of %s", columns_new(l, i, b->a),
				l->old_ref);
}

/* What a writer of the new shape gets who leaves a new column out. */
void ddl_columns_defaults(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i) &&
		    l->news[i].wanted->default_expr != NULL)
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s ALTER COLUMN %s"
					  " SET DEFAULT %s",
					  l->old_ref, columns_new(l, i, b->a),
					  l->news[i].wanted->default_expr),
				"default of column %s",
				columns_new(l, i, b->a));
}

void ddl_columns_drop_old(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_old; i++) {
		if (l->olds[i].carried)
			continue;
		if (l->olds[i].column->sequence != NULL)
			ddl_add(
			    b, DDL_NO_LOCK,
			    arena_fmt(b->a, "ALTER SEQUENCE %s OWNED BY NONE",
				      l->olds[i].column->sequence),
			    "sequence %s stays", l->olds[i].column->sequence);
		ddl_forget_column(b, l->olds[i].column->name);
		ddl_add(
		    b, DDL_LOCKS_SOURCE,
		    arena_fmt(b->a, "ALTER TABLE %s DROP COLUMN IF EXISTS %s",
			      l->old_ref, columns_old(l, i, b->a)),
		    "drop column %s of %s", columns_old(l, i, b->a),
		    l->old_ref);
	}
}

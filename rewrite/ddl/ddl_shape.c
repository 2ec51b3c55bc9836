/*
 * L_shape: a view without rows that has the old relation's columns and
 * defaults, on which PostgreSQL reads what a client gives.
 */
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/text/sqltext.h"

const char *ddl_old_default(const struct column *c, struct arena *a)
{
	if (c->generated)
		return NULL;
	if (c->identity && c->sequence != NULL)
		return arena_fmt(a,
				 "pg_catalog.nextval(%s::"
				 "pg_catalog.regclass)",
				 quote_text(c->sequence, a));
	return c->default_expr;
}

static const char *shape_columns(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;

		sqltext_item(&t, ", ", "CAST(NULL AS %s)%s%s AS %s", c->type,
			     c->collation ? " COLLATE " : "",
			     c->collation ? c->collation : "",
			     quote_name(c->name, a));
	}
	return t.s;
}

void ddl_add_shape(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	sqltext_put(&t,
		    "DROP VIEW IF EXISTS %s;\n"
		    "CREATE VIEW %s AS SELECT %s WHERE false;\n",
		    l->shape_ref, l->shape_ref, shape_columns(l, b->a));
	for (size_t i = 0; i < l->n_old; i++) {
		const char *value = ddl_old_default(l->olds[i].column, b->a);

		if (value != NULL)
			sqltext_put(&t,
				    "ALTER VIEW %s ALTER COLUMN %s"
				    " SET DEFAULT %s;\n",
				    l->shape_ref,
				    quote_name(l->olds[i].column->name, b->a),
				    value);
	}
	sqltext_put(&t,
		    "CREATE TRIGGER keep_row INSTEAD OF INSERT OR UPDATE"
		    " ON %s"
		    " FOR EACH ROW EXECUTE FUNCTION pgtandem.keep_row();\n"
		    "GRANT SELECT, INSERT, UPDATE ON %s TO PUBLIC",
		    l->shape_ref, l->shape_ref);
	ddl_add(b, DDL_NO_LOCK, t.s, "create view %s", l->shape_ref);
}

/* A client needs no right on an identity's sequence to insert into its table,
 * but the shape draws from it in the client's name. */
void ddl_grant_sequences(struct ddl_build *b)
{
	const struct relation *old = b->l->old;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < old->n_columns; i++)
		for (size_t g = 0;
		     old->columns[i].identity && old->columns[i].sequence &&
		     g < old->n_grants;
		     g++)
			if (strcmp(old->grants[g].privilege, "INSERT") == 0)
				sqltext_item(
				    &t, ";\n",
				    "GRANT USAGE ON SEQUENCE %s TO %s",
				    old->columns[i].sequence,
				    old->grants[g].grantee
					? quote_name(old->grants[g].grantee,
						     b->a)
					: "PUBLIC");
	if (t.len > 0)
		ddl_add(b, DDL_NO_LOCK, t.s,
			"let those who insert draw from identity sequences");
}

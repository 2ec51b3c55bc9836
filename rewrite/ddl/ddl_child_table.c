/*
 * The child table, made from the columns that move, and their own end.
 *
 * All that makes the table is one step that does nothing where the table is:
 * the specification's own text, which runs before, may have made it.
 *
 * While a write of the new model alone would break what the old columns
 * promise, the promises are taken back: NOT NULL and checks on entry to
 * write_new, foreign keys on entry to new_only, when the old columns are no
 * longer written.  They return on the way back, when write_new is left.
 */
#include <string.h>

#include "rewrite/ddl/ddl_names.h"
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

static bool is_moved(const struct lens *l, const char *name)
{
	for (size_t i = 0; i < l->child->n_moved; i++)
		if (name != NULL &&
		    strcmp(l->olds[l->child->moved[i].old_index].column->name,
			   name) == 0)
			return true;
	return false;
}

static bool names_moved(const struct lens *l, const char *const *columns,
			size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_moved(l, columns[i]))
			return true;
	return false;
}

static bool names_only_moved(const struct lens *l, const char *const *columns,
			     size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_moved(l, columns[i]))
			return false;
	return n > 0;
}

/* A column of the primary key of many rows: it is never NULL. */
static bool is_of_key(const struct lens *l, const struct child_column *c)
{
	return c->plain &&
	       (l->child->has_when || l->olds[c->old_index].column->not_null);
}

static bool has_key(const struct lens *l)
{
	bool any = l->child->single;

	for (size_t i = 0; i < l->child->n_columns; i++)
		any |= is_of_key(l, &l->child->columns[i]);
	return any;
}

static const char *columns(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->child->n_columns; i++) {
		const struct child_column *c = &l->child->columns[i];

		sqltext_item(&t, ", ", "%s %s", quote_name(c->column->name, a),
			     c->column->type);
		if (c->column->collation != NULL)
			sqltext_put(&t, " COLLATE %s", c->column->collation);
		if (c->column->not_null)
			sqltext_put(&t, " NOT NULL");
		if (c->column->default_expr != NULL)
			sqltext_put(&t, " DEFAULT %s", c->column->default_expr);
	}
	return t.s;
}

static const char *key_columns(const struct lens *l, bool all, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "%s", child_parent(l, i, a));
	for (size_t i = 0; all && i < l->child->n_columns; i++)
		if (is_of_key(l, &l->child->columns[i]))
			sqltext_put(
			    &t, ", %s",
			    quote_name(l->child->columns[i].column->name, a));
	return t.s;
}

static const char *old_key(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    &t, ", ", "%s",
		    quote_name(l->old->columns[l->key[i].old_index].name, a));
	return t.s;
}

/* Where the old column becomes NULL, the child's row goes. */
static const char *with_actions(const char *definition, struct arena *a)
{
	static const char action[] = "ON DELETE SET NULL";
	const char *at = strstr(definition, action);

	return at == NULL ? definition
			  : arena_fmt(a, "%.*sON DELETE CASCADE%s",
				      (int)(at - definition), definition,
				      at + sizeof(action) - 1);
}

static void put_constraint(struct ddl_build *b, const struct constraint *k,
			   struct sqltext *t)
{
	const struct lens *l = b->l;
	bool only = names_only_moved(l, k->columns, k->n_columns);
	struct renamed r = {0};

	if (!names_moved(l, k->columns, k->n_columns))
		return;
	if (!only) {
		ddl_leave_out(
		    b, k->name,
		    "%s of %s, %s: it is about columns of both tables", k->name,
		    l->old_ref, k->definition);
		return;
	}
	if (k->kind == CONSTRAINT_FOREIGN)
		names_in_foreign_key(l, k->definition, t->a, &r);
	else
		names_in_definition(l, k->definition, t->a, &r);
	if (r.lost != NULL || r.converted != NULL)
		ddl_leave_out(
		    b, k->name,
		    "%s of %s, %s: no column of the new table is this one "
		    "alone",
		    k->name, l->old_ref, k->definition);
	else
		sqltext_put(t, "\tALTER TABLE %s ADD %s;\n", l->child->ref,
			    k->kind == CONSTRAINT_FOREIGN
				? with_actions(r.text, t->a)
				: r.text);
}

static void put_index(struct ddl_build *b, const struct index *x,
		      struct sqltext *t)
{
	const struct lens *l = b->l;
	const char *method;
	struct renamed r;

	if (!names_moved(l, x->columns, x->n_columns))
		return;
	names_in_index(l, x->definition, t->a, &method, &r);
	if (!names_only_moved(l, x->columns, x->n_columns) || r.lost != NULL ||
	    r.converted != NULL || strstr(x->definition, " WHERE ") != NULL)
		ddl_leave_out(
		    b, x->unique ? x->name : NULL,
		    "%s of %s, %s: it is not about columns alone that move",
		    x->name, l->old_ref, x->definition);
	else
		sqltext_put(t, "\tCREATE %sINDEX ON %s USING %s%s;\n",
			    x->unique ? "UNIQUE " : "", l->child->ref, method,
			    r.text);
}

/* Who may write the old relation may have its write make, change and delete a
 * child row. */
static void put_grants(const struct lens *l, struct sqltext *t)
{
	sqltext_put(t, "\tALTER TABLE %s OWNER TO %s;\n", l->child->ref,
		    quote_name(l->old->owner, t->a));
	for (size_t i = 0; i < l->old->n_grants; i++) {
		const struct grant *g = &l->old->grants[i];
		bool read = strcmp(g->privilege, "SELECT") == 0;

		if (g->column != NULL && read && !is_moved(l, g->column))
			continue;
		if (!read && strcmp(g->privilege, "INSERT") != 0 &&
		    strcmp(g->privilege, "UPDATE") != 0)
			continue;
		sqltext_put(
		    t, "\tGRANT %s ON %s TO %s;\n",
		    read ? "SELECT" : "SELECT, INSERT, UPDATE, DELETE",
		    l->child->ref,
		    g->grantee ? quote_name(g->grantee, t->a) : "PUBLIC");
	}
}

static const char *table_body(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct arena *a = b->a;
	struct sqltext t;

	sqltext_begin(&t, a);
	sqltext_put(&t, "\tCREATE TABLE %s (%s);\n", l->child->ref,
		    columns(l, a));
	if (has_key(l))
		sqltext_put(&t, "\tALTER TABLE %s ADD PRIMARY KEY (%s);\n",
			    l->child->ref,
			    key_columns(l, !l->child->single, a));
	else
		sqltext_put(&t, "\tCREATE INDEX ON %s (%s);\n", l->child->ref,
			    key_columns(l, false, a));
	sqltext_put(&t,
		    "\tALTER TABLE %s ADD FOREIGN KEY (%s) REFERENCES %s (%s)"
		    " ON UPDATE CASCADE ON DELETE CASCADE;\n",
		    l->child->ref, key_columns(l, false, a), l->old_ref,
		    old_key(l, a));
	for (size_t i = 0; i < l->old->n_constraints; i++)
		put_constraint(b, &l->old->constraints[i], &t);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		put_index(b, &l->old->indexes[i], &t);
	put_grants(l, &t);
	return t.s;
}

void ddl_child_create_table(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *body;

	if (l->child->relation->oid != 0)
		return;
	body = table_body(b);
	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a,
		      "DO LANGUAGE plpgsql $pgtandem$BEGIN\n"
		      "IF pg_catalog.to_regclass(%s) IS NULL THEN\n%s"
		      "\tINSERT INTO pgtandem.made (migration, lens, relation)"
		      " VALUES (%s, %u, %s) ON CONFLICT (migration, lens)"
		      " DO UPDATE SET relation = excluded.relation;\n"
		      "END IF;\nEND$pgtandem$",
		      quote_text(l->child->ref, b->a), body,
		      quote_text(l->migration, b->a), l->number,
		      quote_text(l->child->ref, b->a)),
	    "create table %s, unless it is there", l->child->ref);
}

/* A table that was there before, or that the specification's own text made,
 * is not ours. */
void ddl_child_drop_table(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *name = quote_text(l->migration, b->a);

	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a,
		      "DO LANGUAGE plpgsql $pgtandem$BEGIN IF EXISTS (SELECT"
		      " FROM pgtandem.made WHERE migration = %s AND lens = %u"
		      " AND relation = %s) THEN DROP TABLE %s; DELETE FROM"
		      " pgtandem.made WHERE migration = %s AND lens = %u;"
		      " END IF; END$pgtandem$",
		      name, l->number, quote_text(l->child->ref, b->a),
		      l->child->ref, name, l->number),
	    "drop table %s, if pgtandem made it", l->child->ref);
}

/* Takes back, or returns, what the old columns promise. */

static void drop_constraints(struct ddl_build *b, enum constraint_kind kind)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->old->n_constraints; i++) {
		const struct constraint *k = &l->old->constraints[i];

		if (k->kind == kind && names_moved(l, k->columns, k->n_columns))
			ddl_drop_constraint(b, k->name);
	}
}

void ddl_child_relax(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->child->n_moved; i++) {
		const struct column *c =
		    l->olds[l->child->moved[i].old_index].column;

		if (c->not_null)
			ddl_drop_not_null(b, c->name);
	}
	drop_constraints(b, CONSTRAINT_CHECK);
}

static void change_defaults(struct ddl_build *b, bool set)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->child->n_moved; i++) {
		const struct column *c =
		    l->olds[l->child->moved[i].old_index].column;

		if (c->default_expr != NULL)
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s ALTER COLUMN %s %s%s",
					  l->old_ref, quote_name(c->name, b->a),
					  set ? "SET DEFAULT " : "DROP DEFAULT",
					  set ? c->default_expr : ""),
				"the default of %s.%s %s", l->old_ref, c->name,
				set ? "returns" : "goes");
	}
}

/* Writes of the old shape have it from L_shape, and those of the new shape
 * must not have it. */
void ddl_child_drop_defaults(struct ddl_build *b)
{
	change_defaults(b, false);
}

void ddl_child_set_defaults(struct ddl_build *b)
{
	change_defaults(b, true);
}

void ddl_child_drop_foreign_keys(struct ddl_build *b)
{
	drop_constraints(b, CONSTRAINT_FOREIGN);
}

static void restore_constraint(struct ddl_build *b, const struct constraint *k)
{
	const struct lens *l = b->l;

	if ((k->kind != CONSTRAINT_FOREIGN && k->kind != CONSTRAINT_CHECK) ||
	    !names_moved(l, k->columns, k->n_columns))
		return;
	ddl_promise(b, k->name, k->definition);
}

void ddl_child_restore(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->child->n_moved; i++) {
		const struct column *c =
		    l->olds[l->child->moved[i].old_index].column;

		if (c->not_null) {
			ddl_promise_not_null(b, c->name);
			ddl_set_not_null(b, c->name);
		}
	}
	for (size_t i = 0; i < l->old->n_constraints; i++)
		restore_constraint(b, &l->old->constraints[i]);
}

void ddl_child_drop_columns(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < l->child->n_moved; i++) {
		const char *name =
		    l->olds[l->child->moved[i].old_index].column->name;

		ddl_forget_column(b, name);
		sqltext_item(&t, ", ", "DROP COLUMN IF EXISTS %s",
			     quote_name(name, b->a));
	}
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "ALTER TABLE %s %s", l->old_ref, t.s),
		"drop the columns of %s that have moved", l->old_ref);
}

/*
 * Kind columns: what the old columns promise, and the new ones after them.
 *
 * A constraint or an index over old columns has a twin over the new ones,
 * called <name>_new until it takes the name over.
 */
#include <string.h>

#include "rewrite/ddl/ddl_columns.h"
#include "rewrite/ddl/ddl_names.h"
#include "rewrite/text/sqltext.h"

enum { NAME_BYTES = 63 };

static const char *twin_name(const char *name, struct arena *a)
{
	return arena_fmt(a, "%.*s_new", NAME_BYTES - 4, name);
}

static bool uses_replaced(const struct lens *l, size_t n,
			  const char *const *columns, bool *ret_all)
{
	bool any = false;

	*ret_all = true;
	for (size_t i = 0; i < n; i++) {
		const struct lens_old *o = NULL;

		for (size_t k = 0; columns[i] != NULL && k < l->n_old; k++)
			if (strcmp(l->olds[k].column->name, columns[i]) == 0)
				o = &l->olds[k];
		if (o != NULL && !o->carried)
			any = true;
		else
			*ret_all = false;
	}
	return any;
}

static bool is_of_old(const struct lens *l, const struct constraint *k)
{
	bool all;

	return uses_replaced(l, k->n_columns, k->columns, &all);
}

/* A column that an expression or a condition of an index names is not in the
 * list of its columns. */
static bool index_is_of_old(const struct lens *l, const struct index *x,
			    struct renamed *ret, const char **ret_method,
			    struct arena *a)
{
	names_in_index(l, x->definition, a, ret_method, ret);
	return ret->converted != NULL || ret->lost != NULL;
}

static void add_index_twin(struct ddl_build *b, const struct index *x)
{
	const struct lens *l = b->l;
	const char *method;
	struct renamed r;
	bool plain = strstr(x->definition, "_ops") == NULL &&
		     strstr(x->definition, " WHERE ") == NULL;

	if (!index_is_of_old(l, x, &r, &method, b->a))
		return;
	for (size_t i = 0; i < x->n_columns; i++)
		plain &= x->columns[i] != NULL;
	if (r.lost != NULL || !plain || strcmp(method, "btree") != 0) {
		ddl_leave_out(
		    b, x->unique ? x->name : NULL,
		    "an index like %s of %s: no new column stands for "
		    "a column of it alone, or it computes",
		    x->name, l->old_ref);
		return;
	}
	ddl_build_index(b, twin_name(x->name, b->a), x->unique,
			arena_fmt(b->a, "USING btree%s", r.text));
}

static const char *as_unique(const char *definition, struct arena *a)
{
	static const char primary[] = "PRIMARY KEY ";

	return strncmp(definition, primary, sizeof(primary) - 1) == 0
		   ? arena_fmt(a, "UNIQUE %s", definition + sizeof(primary) - 1)
		   : definition;
}

static void add_unique_twin(struct ddl_build *b, const struct constraint *k)
{
	struct renamed r;

	names_in_definition(b->l, k->definition, b->a, &r);
	if (r.lost != NULL || k->kind == CONSTRAINT_EXCLUSION) {
		ddl_leave_out(b, k->name,
			      "a constraint like %s of %s, %s: no new column "
			      "stands for a column of it alone",
			      k->name, b->l->old_ref, k->definition);
		return;
	}
	ddl_add_unique(b, twin_name(k->name, b->a), as_unique(r.text, b->a));
}

static bool is_unique(const struct constraint *k)
{
	return k->kind == CONSTRAINT_PRIMARY || k->kind == CONSTRAINT_UNIQUE ||
	       k->kind == CONSTRAINT_EXCLUSION;
}

/* The new columns are NULL yet, and nothing writes them. */
void ddl_columns_index(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_unique(&l->old->constraints[i]) &&
		    is_of_old(l, &l->old->constraints[i]))
			add_unique_twin(b, &l->old->constraints[i]);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		add_index_twin(b, &l->old->indexes[i]);
}

/* What only holds once every row is filled. */
static void add_twin(struct ddl_build *b, const struct constraint *k)
{
	const struct lens *l = b->l;
	struct renamed r;

	if (k->kind == CONSTRAINT_CHECK)
		names_in_check(l, k->definition, b->a, &r);
	else
		names_in_foreign_key(l, k->definition, b->a, &r);
	if (r.lost != NULL ||
	    (k->kind == CONSTRAINT_FOREIGN && !ddl_keeps_values(l, k))) {
		ddl_leave_out(b, k->name,
			      "a constraint like %s of %s, %s: no new column "
			      "stands for a column of it alone",
			      k->name, b->l->old_ref, k->definition);
		return;
	}
	ddl_promise(b, twin_name(k->name, b->a), r.text);
}

void ddl_columns_constrain(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i) && l->news[i].wanted->not_null) {
			ddl_promise_not_null(b, l->news[i].column->name);
			ddl_set_not_null(b, l->news[i].column->name);
		}
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (!is_unique(&l->old->constraints[i]) &&
		    is_of_old(l, &l->old->constraints[i]))
			add_twin(b, &l->old->constraints[i]);
}

void ddl_columns_unconstrain(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i))
			ddl_drop_not_null(b, l->news[i].column->name);
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (!is_unique(&l->old->constraints[i]) &&
		    is_of_old(l, &l->old->constraints[i]))
			ddl_drop_constraint(
			    b, twin_name(l->old->constraints[i].name, b->a));
}

/* In new_only an old column keeps what it has, or is NULL: what is unique in
 * old columns alone stays so. */
static bool is_relaxed(const struct lens *l, const struct constraint *k)
{
	bool all;

	return uses_replaced(l, k->n_columns, k->columns, &all) &&
	       !(all && (k->kind == CONSTRAINT_UNIQUE ||
			 k->kind == CONSTRAINT_EXCLUSION));
}

static bool index_is_relaxed(const struct lens *l, const struct index *x,
			     struct arena *a)
{
	const char *method;
	struct renamed r;
	bool all;

	return x->unique && index_is_of_old(l, x, &r, &method, a) &&
	       !(uses_replaced(l, x->n_columns, x->columns, &all) && all &&
		 strstr(x->definition, " WHERE ") == NULL);
}

static void drop_default(struct ddl_build *b, const char *column)
{
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT",
			  b->l->old_ref, quote_name(column, b->a)),
		"column %s has no default", column);
}

void ddl_columns_relax(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_relaxed(l, &l->old->constraints[i]))
			ddl_drop_constraint(b, l->old->constraints[i].name);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (index_is_relaxed(l, &l->old->indexes[i], b->a))
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a, "DROP INDEX IF EXISTS %s",
					  quote_qualified(
					      l->old->schema,
					      l->old->indexes[i].name, b->a)),
				"drop index %s", l->old->indexes[i].name);
	for (size_t i = 0; i < l->n_old; i++)
		if (!l->olds[i].carried) {
			ddl_drop_not_null(b, l->olds[i].column->name);
			drop_default(b, l->olds[i].column->name);
		}
}

static void restore_column(struct ddl_build *b, const struct column *c)
{
	if (c->not_null) {
		ddl_promise_not_null(b, c->name);
		ddl_set_not_null(b, c->name);
	}
	if (c->default_expr != NULL)
		ddl_add(b, DDL_LOCKS_SOURCE,
			arena_fmt(b->a,
				  "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT"
				  " %s",
				  b->l->old_ref, quote_name(c->name, b->a),
				  c->default_expr),
			"default of column %s", c->name);
}

/* "CREATE UNIQUE INDEX name ON table USING ..." as it was. */
static void restore_index(struct ddl_build *b, const struct index *x)
{
	const char *rest = strstr(x->definition, " USING ");

	if (rest != NULL)
		ddl_build_index(b, x->name, x->unique, rest + 1);
}

void ddl_columns_restore(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_old; i++)
		if (!l->olds[i].carried)
			restore_column(b, l->olds[i].column);
	for (size_t i = 0; i < l->old->n_constraints; i++) {
		const struct constraint *k = &l->old->constraints[i];

		if (!is_relaxed(l, k))
			continue;
		if (is_unique(k))
			ddl_add_unique(b, k->name, k->definition);
		else
			ddl_promise(b, k->name, k->definition);
	}
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (index_is_relaxed(l, &l->old->indexes[i], b->a))
			restore_index(b, &l->old->indexes[i]);
}

/* The twin takes the name of what went. */
static void rename_twin(struct ddl_build *b, const char *kind, const char *name)
{
	const struct lens *l = b->l;
	const char *twin = quote_name(twin_name(name, b->a), b->a);
	bool index = strcmp(kind, "INDEX") == 0;
	const char *is_there =
	    index ? arena_fmt(
			b->a, "pg_catalog.to_regclass(%s) IS NOT NULL",
			quote_text(
			    arena_fmt(b->a, "%s.%s",
				      quote_name(l->old->schema, b->a), twin),
			    b->a))
		  : arena_fmt(b->a,
			      "EXISTS (SELECT FROM pg_catalog.pg_constraint"
			      " AS k WHERE k.conrelid ="
			      " %s::pg_catalog.regclass AND"
			      " pg_catalog.quote_ident(k.conname) = %s)",
			      quote_text(l->old_ref, b->a),
			      quote_text(twin, b->a));
	const char *rename =
	    index ? arena_fmt(b->a, "ALTER INDEX %s.%s RENAME TO %s",
			      quote_name(l->old->schema, b->a), twin,
			      quote_name(name, b->a))
		  : arena_fmt(b->a, "ALTER TABLE %s RENAME CONSTRAINT %s TO %s",
			      l->old_ref, twin, quote_name(name, b->a));

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "DO LANGUAGE plpgsql %s",
			  quote_text(arena_fmt(b->a,
					       "BEGIN IF %s THEN %s; END IF;"
					       " END",
					       is_there, rename),
				     b->a)),
		"%s takes its name over", twin);
}

void ddl_columns_rename_twins(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *method;
	struct renamed r;

	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_of_old(l, &l->old->constraints[i]))
			rename_twin(b, "CONSTRAINT",
				    l->old->constraints[i].name);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (index_is_of_old(l, &l->old->indexes[i], &r, &method, b->a))
			rename_twin(b, "INDEX", l->old->indexes[i].name);
}

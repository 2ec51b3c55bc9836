/*
 * Kind columns: what the moves do to the one table that is both models.
 *
 *   expanded     every session hides what is not its own; then the new columns
 *                are added
 *   dual_write   a trigger makes the new columns of the old
 *   read_new     the new columns have their constraints
 *   write_new    the trigger makes the old columns of the new
 *   new_only     no trigger; the old columns may be NULL and have no
 *                constraints that rows without them would break
 *   contracted   the old columns are gone
 *
 * Here: the views that hide one model from the other, the functions that check
 * a write's epoch, and what goes when they are not needed.  The trigger is in
 * ddl_columns_keep.c, the columns in ddl_columns_model.c, constraints and
 * indexes over them in ddl_columns_twin.c.
 */
#include "rewrite/ddl/ddl_columns.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

bool columns_is_added(const struct lens *l, size_t i)
{
	return !l->news[i].carried && !l->news[i].extra;
}

const char *columns_new(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->news[i].column->name, a);
}

const char *columns_old(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->olds[i].column->name, a);
}

static void add_view(struct ddl_build *b, const char *view, const char *columns)
{
	const char *body =
	    ddl_view_rights(view, ddl_table_grants(b->l, view, b->a), b->a);

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP VIEW IF EXISTS %s;\n"
			  "CREATE VIEW %s AS SELECT %s FROM %s AS n;\n"
			  "DO LANGUAGE plpgsql %s",
			  view, view, columns, b->l->old_ref,
			  quote_text(body, b->a)),
		"create view %s", view);
}

static const char *columns_of(const struct relation *r, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < r->n_columns; i++)
		sqltext_item(&t, ", ", "n.%s",
			     quote_name(r->columns[i].name, a));
	return t.s;
}

/* An UPDATE of a view takes DEFAULT for the view's own, not for the table's.
 * An identity's stays the table's: see write_hide. */
static void add_defaults(struct ddl_build *b, const char *view,
			 const struct relation *r, bool wanted)
{
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < r->n_columns; i++) {
		const struct column *c = &r->columns[i];
		const char *value = c->default_expr;

		if (wanted && columns_is_added(b->l, i))
			value = b->l->news[i].wanted->default_expr;
		if (value != NULL && !c->generated)
			sqltext_item(&t, ";\n",
				     "ALTER VIEW %s ALTER COLUMN %s"
				     " SET DEFAULT %s",
				     view, quote_name(c->name, b->a), value);
	}
	if (t.len > 0)
		ddl_add(b, DDL_NO_LOCK, t.s, "defaults of view %s", view);
}

void ddl_child_hide(struct ddl_build *b)
{
	add_view(b, b->l->new_view_ref, columns_of(b->l->new, b->a));
	add_defaults(b, b->l->new_view_ref, b->l->new, false);
}

void ddl_columns_hide(struct ddl_build *b)
{
	add_view(b, b->l->old_view_ref, columns_of(b->l->old, b->a));
	add_defaults(b, b->l->old_view_ref, b->l->old, false);
}

static const char system_columns[] =
    ", n.ctid AS ctid, n.xmin AS xmin, n.cmin AS cmin, n.xmax AS xmax,"
    " n.cmax AS cmax, n.tableoid AS tableoid";

/* L_lens, with the stored old columns as "old.x" while there are any, and the
 * system columns, which are those of the old model's rows. */
static void add_lens(struct ddl_build *b, bool stored)
{
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (unsigned i = 0; i < l->n_old; i++)
		sqltext_item(&t, ", ", "%s AS %s", ddl_lens_value(l, i, b->a),
			     columns_old(l, i, b->a));
	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i))
			sqltext_item(
			    &t, ", ", "n.%s AS %s", columns_new(l, i, b->a),
			    quote_name(arena_fmt(b->a, "new.%s",
						 l->news[i].column->name),
				       b->a));
	for (size_t i = 0; stored && i < l->n_old; i++)
		if (!l->olds[i].carried)
			sqltext_item(
			    &t, ", ", "n.%s AS %s", columns_old(l, i, b->a),
			    quote_name(arena_fmt(b->a, "old.%s",
						 l->olds[i].column->name),
				       b->a));
	sqltext_put(&t, "%s", system_columns);
	add_view(b, l->lens_ref, t.s);
}

static void add_fence(struct ddl_build *b, const char *ref)
{
	const char *name = quote_text(b->l->migration, b->a);

	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a,
		      "CREATE OR REPLACE FUNCTION %s(pg_catalog.int8, %s)"
		      " RETURNS pg_catalog.text LANGUAGE plpgsql VOLATILE"
		      " SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
		      " AS $pgtandem$\nDECLARE\n\tv_epoch pg_catalog.int8;\n"
		      "BEGIN\n\tSELECT m.epoch INTO v_epoch"
		      " FROM pgtandem.migration AS m WHERE m.name = %s;\n"
		      "\tIF v_epoch > $1 + 1 THEN\n"
		      "\tRAISE EXCEPTION USING ERRCODE = '57P03', MESSAGE ="
		      " pg_catalog.format('pgtandem: migration %%s is at epoch"
		      " %%s, this statement was made at %%s', %s, v_epoch, $1),"
		      " HINT = 'Run the transaction again.';\n\tEND IF;\n"
		      "\tRETURN NULL;\nEND\n$pgtandem$",
		      ref, ddl_key_types(b->l, b->a), name, name),
	    "create function %s", ref);
}

void ddl_columns_objects(struct ddl_build *b)
{
	ddl_add_shape(b);
	ddl_grant_sequences(b);
	add_view(b, b->l->new_view_ref, columns_of(b->l->new, b->a));
	add_defaults(b, b->l->new_view_ref, b->l->new, true);
	add_lens(b, true);
	add_fence(b, b->l->to_new_ref);
	add_fence(b, b->l->to_old_ref);
	ddl_create_matches(b);
}

/* Nobody reads or writes the old columns at new_only: they go before the next
 * epoch, at which the new shape sees the table as it is. */
void ddl_columns_lens_alone(struct ddl_build *b)
{
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "DROP VIEW IF EXISTS %s", b->l->old_view_ref),
		"drop view %s", b->l->old_view_ref);
	add_lens(b, false);
}

void ddl_columns_drop_views(struct ddl_build *b)
{
	ddl_drop_matches(b);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "DROP VIEW IF EXISTS %s, %s, %s",
			  b->l->lens_ref, b->l->shape_ref, b->l->new_view_ref),
		"drop views %s, %s and %s", b->l->lens_ref, b->l->shape_ref,
		b->l->new_view_ref);
}

static void drop_functions(struct ddl_build *b, const char *view)
{
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP VIEW IF EXISTS %s;\n"
			  "DROP FUNCTION IF EXISTS %s, %s",
			  view, b->l->to_new_ref, b->l->to_old_ref),
		"drop what hides the columns of %s", b->l->old_ref);
}

void ddl_columns_unhide_old(struct ddl_build *b)
{
	drop_functions(b, b->l->old_view_ref);
}

void ddl_columns_unhide_new(struct ddl_build *b)
{
	drop_functions(b, b->l->new_view_ref);
}

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
 * The trigger fires before the row is stored (the table's own triggers fire
 * once, and a row has one version), last of all (its name begins with ~), and
 * ALWAYS.  Who wrote which columns is told by the mode it is in:
 *
 *   old      writers of the old shape alone: new := forward(old)
 *   window   read_new beside write_new.  At read_new the old columns are
 *            written, at write_new the new ones, and in an INSERT the old ones
 *            too (rewrite/write_lens.c); an UPDATE that changed new columns is
 *            one through the lens.  The new shape is not served yet.
 *   new      everybody writes the new columns: old := reverse(new), where the
 *            row is inserted or what reverse computes with was changed, so
 *            that a value that only the old column can express stays
 */
#include <string.h>

#include "rewrite/ddl_names.h"
#include "rewrite/ddl_part.h"
#include "rewrite/mapping.h"
#include "rewrite/sqltext.h"

enum { NAME_BYTES = 63 };

static const char *keep_ref(const struct lens *l, struct arena *a)
{
	return quote_qualified(
	    "pgtandem", arena_fmt(a, "%s_%u_keep", l->migration, l->number), a);
}

static const char *trigger_name(const struct lens *l, struct arena *a)
{
	return quote_name(
	    arena_fmt(a, "~pgtandem_%s_%u", l->migration, l->number), a);
}

static bool is_added(const struct lens *l, size_t i)
{
	return !l->news[i].carried && !l->news[i].extra;
}

static const char *new_column(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->news[i].column->name, a);
}

static const char *old_column(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->olds[i].column->name, a);
}

/* 1. The views that hide one model from the other. */

/* For servers whose views run with their owner's rights. */
static const char *view_grants(const struct lens *l, const char *view,
			       struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	sqltext_put(&t, "GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s;",
		    view, quote_name(l->old->owner, a));
	for (size_t i = 0; i < l->old->n_grants; i++) {
		const struct grant *g = &l->old->grants[i];

		if (g->column == NULL &&
		    strstr("SELECT INSERT UPDATE DELETE", g->privilege) != NULL)
			sqltext_put(
			    &t, " GRANT %s ON %s TO %s;", g->privilege, view,
			    g->grantee ? quote_name(g->grantee, a) : "PUBLIC");
	}
	return t.s;
}

static void add_view(struct ddl_build *b, const char *view, const char *columns)
{
	const char *body =
	    ddl_view_rights(view, view_grants(b->l, view, b->a), b->a);

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

		if (wanted && is_added(b->l, i))
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
		sqltext_item(&t, ", ", "%s AS %s",
			     lens_reverse(l, i, "n.", b->a),
			     old_column(l, i, b->a));
	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			sqltext_item(
			    &t, ", ", "n.%s AS %s", new_column(l, i, b->a),
			    quote_name(arena_fmt(b->a, "new.%s",
						 l->news[i].column->name),
				       b->a));
	for (size_t i = 0; stored && i < l->n_old; i++)
		if (!l->olds[i].carried)
			sqltext_item(
			    &t, ", ", "n.%s AS %s", old_column(l, i, b->a),
			    quote_name(arena_fmt(b->a, "old.%s",
						 l->olds[i].column->name),
				       b->a));
	sqltext_put(&t, "%s", system_columns);
	add_view(b, l->lens_ref, t.s);
}

/* 2. The functions: the epoch's, and the trigger's. */

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

static const char *make_new(const struct lens *l, size_t i, struct arena *a)
{
	return arena_fmt(a, "NEW.%s := %s;", new_column(l, i, a),
			 lens_forward(l, (unsigned)i, "NEW.", a));
}

static const char *make_all_new(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			sqltext_item(&t, "\n\t", "%s", make_new(l, i, a));
	return t.s;
}

static const char *changed(const struct column *c, struct arena *a)
{
	const char *name = quote_name(c->name, a);

	return mapping_differ_one(c, arena_fmt(a, "NEW.%s", name),
				  arena_fmt(a, "OLD.%s", name), a);
}

static const char *any_changed(const struct template *t,
			       const struct relation *side, struct arena *a)
{
	struct sqltext out;

	sqltext_begin(&out, a);
	for (size_t i = 0; i < t->n; i++)
		sqltext_item(&out, " OR ", "%s",
			     changed(&side->columns[t->column[i]], a));
	return out.len > 0 ? out.s : "false";
}

static const char *make_changed_new(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			sqltext_put(&t, "\n\tIF %s THEN %s END IF;",
				    any_changed(&l->news[i].forward, l->old, a),
				    make_new(l, i, a));
	return t.s;
}

/* `always`: of a row that is inserted. */
static const char *make_old(const struct lens *l, bool always, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (unsigned i = 0; i < l->n_old; i++) {
		const char *set;

		if (l->olds[i].carried)
			continue;
		set = arena_fmt(a, "NEW.%s := %s;", old_column(l, i, a),
				lens_reverse(l, i, "NEW.", a));
		if (always)
			sqltext_put(&t, "\n\t%s", set);
		else
			sqltext_put(&t, "\n\tIF %s THEN %s END IF;",
				    any_changed(&l->olds[i].reverse, l->new, a),
				    set);
	}
	return t.s;
}

static const char *added_changed(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			sqltext_item(&t, " OR ", "%s",
				     changed(l->news[i].column, a));
	return t.s;
}

/* The walker says what becomes of both sides itself. */
static void add_keep(struct ddl_build *b, const char *body)
{
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a,
		      "CREATE OR REPLACE FUNCTION %s() RETURNS trigger"
		      " LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
		      " SET search_path = %s%s AS $pgtandem$\nBEGIN\n"
		      "\tIF pg_catalog.current_setting('pgtandem.walk', true) ="
		      " 'on' AND session_user = current_user THEN"
		      " RETURN NEW; END IF;\n\t%s\n\tRETURN NEW;\nEND\n"
		      "$pgtandem$",
		      keep_ref(b->l, b->a), mapping_search_path(b->l, b->a),
		      ddl_pins(b->l), body),
	    "say what the other model's columns become");
}

void ddl_columns_keep_old(struct ddl_build *b)
{
	add_keep(b, make_all_new(b->l, b->a));
}

void ddl_columns_keep_window(struct ddl_build *b)
{
	add_keep(b,
		 arena_fmt(b->a,
			   "IF TG_OP = 'INSERT' THEN %s\n"
			   "\tELSIF %s THEN %s\n\tELSE %s\n\tEND IF;",
			   make_all_new(b->l, b->a), added_changed(b->l, b->a),
			   make_old(b->l, false, b->a),
			   make_changed_new(b->l, b->a)));
}

void ddl_columns_keep_new(struct ddl_build *b)
{
	add_keep(b, arena_fmt(b->a,
			      "IF TG_OP = 'INSERT' THEN %s\n\tELSE %s\n"
			      "\tEND IF;",
			      make_old(b->l, true, b->a),
			      make_old(b->l, false, b->a)));
}

void ddl_columns_trigger(struct ddl_build *b)
{
	const char *trigger = trigger_name(b->l, b->a);
	const char *table = b->l->old_ref;

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "DROP TRIGGER IF EXISTS %s ON %s;\n"
			  "CREATE TRIGGER %s BEFORE INSERT OR UPDATE ON %s"
			  " FOR EACH ROW EXECUTE FUNCTION %s();\n"
			  "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
			  trigger, table, trigger, table, keep_ref(b->l, b->a),
			  table, trigger),
		"create trigger %s on %s", trigger, table);
}

void ddl_columns_drop_trigger(struct ddl_build *b)
{
	const char *trigger = trigger_name(b->l, b->a);

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "DROP TRIGGER IF EXISTS %s ON %s;\n"
			  "DROP FUNCTION IF EXISTS %s()",
			  trigger, b->l->old_ref, keep_ref(b->l, b->a)),
		"drop trigger %s", trigger);
}

/* 3. The new columns. */

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

	for (size_t k = 0; is_added(l, i) && k < t->n; k++)
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
					    new_column(l, i, b->a), l->old_ref,
					    x->grantee
						? quote_name(x->grantee, b->a)
						: "PUBLIC",
					    x->grantable ? " WITH GRANT OPTION"
							 : ""),
					"privileges of column %s",
					new_column(l, i, b->a));
	}
}

static const char *twin_name(const char *name, struct arena *a)
{
	return quote_name(arena_fmt(a, "%.*s_new", NAME_BYTES - 4, name), a);
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
		ddl_leave_out(b,
			      "an index like %s: no new column stands for "
			      "a column of it alone, or it computes",
			      x->name);
		return;
	}
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "CREATE %sINDEX %s ON %s USING btree%s",
			  x->unique ? "UNIQUE " : "", twin_name(x->name, b->a),
			  l->old_ref, r.text),
		"create an index like %s", x->name);
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
		ddl_leave_out(b,
			      "a constraint like %s, %s: no new column "
			      "stands for a column of it alone",
			      k->name, k->definition);
		return;
	}
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "ALTER TABLE %s ADD CONSTRAINT %s %s",
			  b->l->old_ref, twin_name(k->name, b->a),
			  as_unique(r.text, b->a)),
		"add a constraint like %s", k->name);
}

static bool is_unique(const struct constraint *k)
{
	return k->kind == CONSTRAINT_PRIMARY || k->kind == CONSTRAINT_UNIQUE ||
	       k->kind == CONSTRAINT_EXCLUSION;
}

void ddl_columns_add(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			add_column(b, i);
	grant_columns(b);
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_unique(&l->old->constraints[i]) &&
		    is_of_old(l, &l->old->constraints[i]))
			add_unique_twin(b, &l->old->constraints[i]);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		add_index_twin(b, &l->old->indexes[i]);
}

void ddl_columns_drop_new(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s DROP COLUMN"
					  " IF EXISTS %s",
					  l->old_ref, new_column(l, i, b->a)),
				"drop column %s of %s", new_column(l, i, b->a),
				l->old_ref);
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
	    (k->kind == CONSTRAINT_FOREIGN && r.converted == NULL)) {
		ddl_leave_out(b,
			      "a constraint like %s, %s: no new column "
			      "stands for a column of it alone",
			      k->name, k->definition);
		return;
	}
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s;\n"
			  "ALTER TABLE %s ADD CONSTRAINT %s %s",
			  l->old_ref, twin_name(k->name, b->a), l->old_ref,
			  twin_name(k->name, b->a), r.text),
		"add a constraint like %s", k->name);
}

void ddl_columns_constrain(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i) && l->news[i].wanted->not_null)
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s ALTER COLUMN %s"
					  " SET NOT NULL",
					  l->old_ref, new_column(l, i, b->a)),
				"column %s must not be NULL",
				new_column(l, i, b->a));
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (!is_unique(&l->old->constraints[i]) &&
		    is_of_old(l, &l->old->constraints[i]))
			add_twin(b, &l->old->constraints[i]);
}

void ddl_columns_unconstrain(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i))
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s ALTER COLUMN %s"
					  " DROP NOT NULL",
					  l->old_ref, new_column(l, i, b->a)),
				"column %s may be NULL",
				new_column(l, i, b->a));
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (!is_unique(&l->old->constraints[i]) &&
		    is_of_old(l, &l->old->constraints[i]))
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s DROP CONSTRAINT"
					  " IF EXISTS %s",
					  l->old_ref,
					  twin_name(l->old->constraints[i].name,
						    b->a)),
				"drop the constraint like %s",
				l->old->constraints[i].name);
}

/* What a writer of the new shape gets who leaves a new column out. */
void ddl_columns_defaults(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_new; i++)
		if (is_added(l, i) && l->news[i].wanted->default_expr != NULL)
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s ALTER COLUMN %s"
					  " SET DEFAULT %s",
					  l->old_ref, new_column(l, i, b->a),
					  l->news[i].wanted->default_expr),
				"default of column %s", new_column(l, i, b->a));
}

/* 4. The old columns' end. */

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

void ddl_columns_relax(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_relaxed(l, &l->old->constraints[i]))
			ddl_add(
			    b, DDL_LOCKS_SOURCE,
			    arena_fmt(
				b->a,
				"ALTER TABLE %s DROP CONSTRAINT"
				" IF EXISTS %s",
				l->old_ref,
				quote_name(l->old->constraints[i].name, b->a)),
			    "drop constraint %s", l->old->constraints[i].name);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (index_is_relaxed(l, &l->old->indexes[i], b->a))
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a, "DROP INDEX IF EXISTS %s",
					  quote_qualified(
					      l->old->schema,
					      l->old->indexes[i].name, b->a)),
				"drop index %s", l->old->indexes[i].name);
	for (size_t i = 0; i < l->n_old; i++)
		if (!l->olds[i].carried)
			ddl_add(b, DDL_LOCKS_SOURCE,
				arena_fmt(b->a,
					  "ALTER TABLE %s ALTER COLUMN %s DROP"
					  " NOT NULL, ALTER COLUMN %s DROP"
					  " DEFAULT",
					  l->old_ref, old_column(l, i, b->a),
					  old_column(l, i, b->a)),
				"column %s may be NULL",
				old_column(l, i, b->a));
}

static void restore_column(struct ddl_build *b, size_t i)
{
	const struct column *c = b->l->olds[i].column;
	const char *name = quote_name(c->name, b->a);
	struct sqltext t;

	sqltext_begin(&t, b->a);
	if (c->default_expr != NULL)
		sqltext_item(&t, ", ", "ALTER COLUMN %s SET DEFAULT %s", name,
			     c->default_expr);
	if (c->not_null)
		sqltext_item(&t, ", ", "ALTER COLUMN %s SET NOT NULL", name);
	if (t.len > 0)
		ddl_add(
		    b, DDL_LOCKS_SOURCE,
		    arena_fmt(b->a, "ALTER TABLE %s %s", b->l->old_ref, t.s),
		    "column %s as it was", name);
}

static void restore_constraint(struct ddl_build *b, const struct constraint *k)
{
	const char *name = quote_text(k->name, b->a);
	const char *add =
	    arena_fmt(b->a, "ALTER TABLE %s ADD CONSTRAINT %s %s",
		      b->l->old_ref, quote_name(k->name, b->a), k->definition);
	const char *body = arena_fmt(
	    b->a,
	    "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k"
	    " WHERE k.conrelid = %s::pg_catalog.regclass AND k.conname = %s)"
	    " THEN %s; END IF; END",
	    quote_text(b->l->old_ref, b->a), name, add);

	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a, "DO LANGUAGE plpgsql %s", quote_text(body, b->a)),
	    "constraint %s, if it was dropped", k->name);
}

static void restore_index(struct ddl_build *b, const struct index *x)
{
	const char *body = arena_fmt(
	    b->a,
	    "BEGIN IF pg_catalog.to_regclass(%s) IS NULL THEN %s; END IF; END",
	    quote_text(quote_qualified(b->l->old->schema, x->name, b->a), b->a),
	    x->definition);

	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a, "DO LANGUAGE plpgsql %s", quote_text(body, b->a)),
	    "index %s, if it was dropped", x->name);
}

void ddl_columns_restore(struct ddl_build *b)
{
	const struct lens *l = b->l;

	for (size_t i = 0; i < l->n_old; i++)
		if (!l->olds[i].carried)
			restore_column(b, i);
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_relaxed(l, &l->old->constraints[i]))
			restore_constraint(b, &l->old->constraints[i]);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (index_is_relaxed(l, &l->old->indexes[i], b->a))
			restore_index(b, &l->old->indexes[i]);
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

/* The twin takes the name of what went. */
static void rename_twin(struct ddl_build *b, const char *kind, const char *name)
{
	const struct lens *l = b->l;
	const char *twin = twin_name(name, b->a);
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

void ddl_columns_drop_old(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *method;
	struct renamed r;

	for (size_t i = 0; i < l->n_old; i++) {
		if (l->olds[i].carried)
			continue;
		if (l->olds[i].column->sequence != NULL)
			ddl_add(
			    b, DDL_NO_LOCK,
			    arena_fmt(b->a, "ALTER SEQUENCE %s OWNED BY NONE",
				      l->olds[i].column->sequence),
			    "sequence %s stays", l->olds[i].column->sequence);
		ddl_add(
		    b, DDL_LOCKS_SOURCE,
		    arena_fmt(b->a, "ALTER TABLE %s DROP COLUMN IF EXISTS %s",
			      l->old_ref, old_column(l, i, b->a)),
		    "drop column %s of %s", old_column(l, i, b->a), l->old_ref);
	}
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (is_of_old(l, &l->old->constraints[i]))
			rename_twin(b, "CONSTRAINT",
				    l->old->constraints[i].name);
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (index_is_of_old(l, &l->old->indexes[i], &r, &method, b->a))
			rename_twin(b, "INDEX", l->old->indexes[i].name);
}

/* 5. What is pgtandem's own goes. */

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

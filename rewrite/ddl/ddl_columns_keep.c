/*
 * Kind columns: the trigger that makes one model's columns of the other's.
 *
 * The trigger fires before the row is stored (the table's own triggers fire
 * once, and a row has one version), last of all (its name begins with ~), and
 * ALWAYS.  Who wrote which columns is told by the mode it is in:
 *
 *   old      writers of the old shape alone: new := forward(old)
 *   window   read_new beside write_new.  At read_new the old columns are
 *            written, at write_new the new ones, and in an INSERT the old ones
 *            too (rewrite/write/write_lens.c); an UPDATE that changed new
 * columns is one through the lens.  The new shape is not served yet. new
 * everybody writes the new columns: old := reverse(new), where the row is
 * inserted or what reverse computes with was changed, so that a value that only
 * the old column can express stays
 */
#include "rewrite/ddl/ddl_columns.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

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

static const char *make_new(const struct lens *l, size_t i, struct arena *a)
{
	return arena_fmt(a, "NEW.%s := %s;", columns_new(l, i, a),
			 lens_forward(l, (unsigned)i, "NEW.", a));
}

static const char *make_all_new(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_new; i++)
		if (columns_is_added(l, i))
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
		if (columns_is_added(l, i))
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
		set = arena_fmt(a, "NEW.%s := %s;", columns_old(l, i, a),
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
		if (columns_is_added(l, i))
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
		      "$pgtandem$;\n"
		      "REVOKE ALL ON FUNCTION %s() FROM PUBLIC",
		      keep_ref(b->l, b->a), mapping_search_path(b->l, b->a),
		      ddl_pins(b->l), body, keep_ref(b->l, b->a)),
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

/*
 * Who may call what pgtandem has in the database.
 *
 * The functions that sync a row or lock it run with their owner's rights and
 * stand in clients' statements, so that everybody may call them.  Called by
 * hand they would let a role without any right on either model copy rows, or
 * have them deleted for want of a counterpart.  So they ask what the server
 * asks of a writer, and whether theirs is the direction of the phase.
 *
 * Triggers fire for whoever has changed a row, a foreign key's action among
 * them, and call twins of the functions that ask nothing and that nobody else
 * may call.  Nor may others put pgtandem's trigger functions on tables of their
 * own.
 *
 * Views show and take what the client itself may see and write from PostgreSQL
 * 15 on.  Before, a view runs with its owner's rights, and has the old
 * relation's grants.
 */
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

const char *ddl_unasked(const char *ref, struct arena *a)
{
	return lens_ref_with(ref, "_unasked", a);
}

static const char *may_write(const char *relation, struct arena *a)
{
	const char *oid =
	    arena_fmt(a, "%s::pg_catalog.regclass", quote_text(relation, a));

	return arena_fmt(a,
			 "pg_catalog.has_table_privilege(v_role, %s,"
			 " 'INSERT, UPDATE, DELETE') OR"
			 " pg_catalog.has_any_column_privilege(v_role, %s,"
			 " 'INSERT, UPDATE')",
			 oid, oid);
}

/* A function that runs with its owner's rights has another current_user. */
const char ddl_role[] =
    "\tv_role pg_catalog.name := coalesce(nullif("
    "pg_catalog.current_setting('role'), 'none'), session_user);\n";

static const char *ask(const struct lens *l, const char *condition,
		       struct arena *a)
{
	const char *message =
	    arena_fmt(a, "permission denied for table %s", l->old->name);

	return arena_fmt(a,
			 "\tIF NOT (%s) THEN\n\tRAISE EXCEPTION USING"
			 " ERRCODE = '42501', MESSAGE = %s;\n\tEND IF;\n",
			 condition, quote_text(message, a));
}

const char *ddl_ask_writer_of_new(const struct lens *l, struct arena *a)
{
	return ask(l, may_write(l->new_ref, a), a);
}

const char *ddl_ask_writer(const struct lens *l, struct arena *a)
{
	const char *other = l->child != NULL ? l->child->ref : l->new_ref;

	return ask(l,
		   arena_fmt(a, "%s OR %s", may_write(l->old_ref, a),
			     may_write(other, a)),
		   a);
}

const char *ddl_is_due(enum walk_direction d)
{
	return d == WALK_TO_NEW
		   ? "ARRAY[m.phase, m.pending_from] OPERATOR(pg_catalog.&&)"
		     " ARRAY['dual_write', 'read_new']"
		   : "ARRAY[m.phase, m.pending_from] OPERATOR(pg_catalog.&&)"
		     " ARRAY['write_new']";
}

const char *ddl_ask_due(const struct lens *l, struct arena *a)
{
	return arena_fmt(
	    a,
	    "\tIF NOT v_due THEN\n\tRAISE EXCEPTION USING ERRCODE = '55000',"
	    " MESSAGE = %s;\n\tEND IF;\n",
	    quote_text(arena_fmt(a,
				 "pgtandem: migration %s is in a phase in "
				 "which nothing is synced that way",
				 l->migration),
		       a));
}

void ddl_keep_to_ourselves(struct ddl_build *b, const char *ref,
			   const char *types)
{
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "REVOKE ALL ON FUNCTION %s(%s) FROM PUBLIC",
			  ref, types),
		"keep function %s to ourselves", ref);
}

const char *ddl_new_name(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(arena_fmt(a, "new.%s", l->news[i].column->name), a);
}

static bool is_made_of(const struct lens_new *n, const struct lens *l,
		       const char *old)
{
	for (size_t i = 0; !n->carried && !n->extra && i < n->forward.n; i++)
		if (strcmp(l->old->columns[n->forward.column[i]].name, old) ==
		    0)
			return true;
	return false;
}

/* "new.x" has the rights of what x is made of. */
static void put_column_grant(struct sqltext *t, const struct lens *l,
			     const struct grant *g)
{
	sqltext_put(t, "%s", quote_name(g->column, t->a));
	for (size_t n = 0; l->child == NULL && n < l->n_new; n++)
		if (is_made_of(&l->news[n], l, g->column))
			sqltext_put(t, ", %s", ddl_new_name(l, n, t->a));
}

static const char *grants(const struct lens *l, const char *view, bool columns,
			  struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	sqltext_put(&t, "GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s;",
		    view, quote_name(l->old->owner, a));
	for (size_t i = 0; i < l->old->n_grants; i++) {
		const struct grant *g = &l->old->grants[i];

		if (strstr("SELECT INSERT UPDATE DELETE", g->privilege) ==
			NULL ||
		    (g->column != NULL && !columns))
			continue;
		sqltext_put(&t, " GRANT %s", g->privilege);
		if (g->column != NULL) {
			sqltext_put(&t, " (");
			put_column_grant(&t, l, g);
			sqltext_put(&t, ")");
		}
		sqltext_put(&t, " ON %s TO %s;", view,
			    g->grantee ? quote_name(g->grantee, a) : "PUBLIC");
	}
	return t.s;
}

const char *ddl_old_grants(const struct lens *l, const char *view,
			   struct arena *a)
{
	return grants(l, view, true, a);
}

const char *ddl_table_grants(const struct lens *l, const char *view,
			     struct arena *a)
{
	return grants(l, view, false, a);
}

const char *ddl_view_rights(const char *view, const char *grants,
			    struct arena *a)
{
	return arena_fmt(
	    a,
	    "BEGIN IF pg_catalog.current_setting('server_version_num')"
	    "::pg_catalog.int4 >= 150000 THEN"
	    " ALTER VIEW %s SET (security_invoker = true);"
	    " GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO PUBLIC;"
	    " ELSE %s END IF; END",
	    view, view, grants);
}

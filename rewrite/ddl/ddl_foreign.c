/*
 * Foreign keys while two models live.
 *
 *                 that point at the model     of a model to itself     of old
 *   read_new      at old                      on old                   there
 *   write_new     at new                      on new                   there
 *   new_only      at new                      on new                   dropped
 *
 * Of a merge whose one half follows the other by a foreign key, that is "of a
 * model to itself": in new it is a trigger that the leader's half is there.
 *
 * Each change is made behind the barrier, when every writer writes the same
 * model first; both have the same keys then, so nothing that was satisfied
 * becomes a violation.  What is added is validated afterwards, while the
 * application runs (daemon/phase/foreign.c).
 *
 * From new_only on the rows of old stand still: its foreign keys would refuse
 * changes of other tables for the sake of rows that nobody sees.
 */
#include <string.h>

#include "rewrite/ddl/ddl_names.h"
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/text/sqltext.h"

/* A jsonb object: each carried column's name on the one side and the other. */
static const char *carried_columns(const struct lens *l, bool to_new,
				   struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_old; i++) {
		const char *old = l->olds[i].column->name, *new;

		if (!l->olds[i].carried)
			continue;
		new = l->new->columns[l->olds[i].new_index].name;
		sqltext_item(&t, ", ", "%s, %s",
			     quote_text(to_new ? old : new, a),
			     quote_text(to_new ? new : old, a));
	}
	return arena_fmt(
	    a, "pg_catalog.jsonb_object(ARRAY[%s]::pg_catalog.text[])", t.s);
}

/* pgtandem.<what>(migration, lens, relation<more>) */
static const char *call(const struct ddl_build *b, const char *what,
			const char *relation, const char *more)
{
	return arena_fmt(b->a, "SELECT pgtandem.%s(%s, %u, %s%s)", what,
			 quote_text(b->l->migration, b->a), b->l->number,
			 quote_text(relation, b->a), more);
}

static void move_references(struct ddl_build *b, bool to_new)
{
	const struct lens *l = b->l;
	const char *from = to_new ? l->old_ref : l->new_ref;
	const char *to = to_new ? l->new_ref : l->old_ref;

	ddl_add(b, DDL_LOCKS_SOURCE,
		call(b, "move_references", from,
		     arena_fmt(b->a, ", %s, %s", quote_text(to, b->a),
			       carried_columns(l, to_new, b->a))),
		"foreign keys that point at %s point at %s", from, to);
}

/* "FOREIGN KEY (a) REFERENCES s.old(b) ..." in the new one's names, or NULL
 * where columns are converted. */
static const char *to_itself(const struct lens *l, const char *definition,
			     struct arena *a)
{
	static const char references[] = ") REFERENCES ";
	struct renamed r;
	const char *table, *rest;

	names_in_definition(l, definition, a, &r);
	if (r.converted != NULL || r.lost != NULL)
		return NULL;
	table = strstr(r.text, references) + sizeof(references) - 1;
	rest = table + strlen(l->old_ref);
	return arena_fmt(a, "%.*s%s%s", (int)(table - r.text), r.text,
			 l->new_ref, rest);
}

static bool is_validated(const struct constraint *k)
{
	static const char suffix[] = " NOT VALID";
	size_t len = strlen(k->definition), n = sizeof(suffix) - 1;

	return len < n || strcmp(k->definition + len - n, suffix) != 0;
}

/* inovices_parent_fkey becomes invoices_parent_fkey. */
static const char *name_in_new(const struct lens *l, const char *name,
			       struct arena *a)
{
	size_t n = strlen(l->old->name);

	return strncmp(name, l->old->name, n) == 0
		   ? arena_fmt(a, "%s%s", l->new->name, name + n)
		   : name;
}

static void add_to_itself(struct ddl_build *b, const struct constraint *k)
{
	const char *definition = to_itself(b->l, k->definition, b->a);
	const char *name;

	if (definition == NULL) {
		ddl_leave_out(b, k->name,
			      "%s of %s, %s: it has a converted column",
			      k->name, b->l->old_ref, k->definition);
		return;
	}
	name = name_in_new(b->l, k->name, b->a);
	ddl_add(b, DDL_LOCKS_SOURCE,
		call(b, "add_foreign_key", b->l->new_ref,
		     arena_fmt(b->a, ", %s, %s, %s", quote_text(name, b->a),
			       quote_text(definition, b->a),
			       is_validated(k) ? "true" : "false")),
		"add to %s: %s", b->l->new_ref, definition);
}

bool ddl_is_tie(const struct lens *l, const struct constraint *k)
{
	return l->half != NULL && l->half->link == HALF_FOLLOWS &&
	       l->half->tie == k;
}

static void relax(struct ddl_build *b, const char *on, const char *to)
{
	ddl_add(b, DDL_LOCKS_SOURCE,
		call(b, "relax_foreign_keys", on,
		     arena_fmt(b->a, ", %s", quote_text(to, b->a))),
		"drop foreign keys of %s to %s", on, to);
}

static const char *leader_trigger(const struct lens *l, struct arena *a)
{
	return quote_name(
	    arena_fmt(a, "%.40s_%u_leads",
		      l->new->columns[l->half->marker].name, l->number),
	    a);
}

/* Not a check: INSERT ... ON CONFLICT would ask it of a row that only fills a
 * half of one that is there. */
static void tie_new(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *trigger = leader_trigger(l, b->a);

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(
		    b->a,
		    "DROP TRIGGER IF EXISTS %s ON %s;\n"
		    "CREATE CONSTRAINT TRIGGER %s AFTER INSERT OR UPDATE ON %s"
		    " FOR EACH ROW WHEN (NEW.%s IS NULL)"
		    " EXECUTE FUNCTION pgtandem.refuse_half(%s)",
		    trigger, l->new_ref, trigger, l->new_ref,
		    quote_name(l->new->columns[l->half->marker].name, b->a),
		    quote_text(l->old_ref, b->a)),
		"every row of %s has the half of %s", l->new_ref, l->old_ref);
}

static void untie_new(struct ddl_build *b)
{
	const struct lens *l = b->l;

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "DROP TRIGGER IF EXISTS %s ON %s",
			  leader_trigger(l, b->a), l->new_ref),
		"a row of %s may be there before the half of %s", l->new_ref,
		l->old_ref);
}

static bool leads(const struct lens *l)
{
	return l->half != NULL && l->half->link == HALF_LEADS;
}

static bool any_to_itself(const struct lens *l)
{
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (lens_is_to_itself(l, &l->old->constraints[i]))
			return true;
	return false;
}

void ddl_references_to_new(struct ddl_build *b)
{
	const struct relation *old = b->l->old;

	if (leads(b->l))
		relax(b, b->l->half->other->old_ref, b->l->old_ref);
	move_references(b, true);
	if (leads(b->l))
		tie_new(b);
	if (!any_to_itself(b->l))
		return;
	relax(b, b->l->old_ref, b->l->old_ref);
	for (size_t i = 0; i < old->n_constraints; i++)
		if (lens_is_to_itself(b->l, &old->constraints[i]))
			add_to_itself(b, &old->constraints[i]);
}

void ddl_references_to_old(struct ddl_build *b)
{
	const char *body = arena_fmt(
	    b->a,
	    "DECLARE v_name name; BEGIN FOR v_name IN SELECT k.conname"
	    " FROM pg_catalog.pg_constraint AS k WHERE k.contype = 'f'"
	    " AND k.conrelid = %s::pg_catalog.regclass AND k.confrelid ="
	    " k.conrelid LOOP EXECUTE pg_catalog.format('ALTER TABLE %%s DROP"
	    " CONSTRAINT %%I', %s, v_name); END LOOP; END",
	    quote_text(b->l->new_ref, b->a), quote_text(b->l->new_ref, b->a));

	if (leads(b->l))
		untie_new(b);
	move_references(b, false);
	if (any_to_itself(b->l))
		ddl_add(b, DDL_LOCKS_SOURCE,
			arena_fmt(b->a, "DO LANGUAGE plpgsql %s",
				  quote_text(body, b->a)),
			"drop foreign keys of %s to itself", b->l->new_ref);
	ddl_add(b, DDL_LOCKS_SOURCE,
		call(b, "restore_foreign_keys", b->l->old_ref, ""),
		"foreign keys of %s that were dropped return", b->l->old_ref);
}

void ddl_relax_old(struct ddl_build *b)
{
	const struct relation *old = b->l->old;
	bool any = false;

	for (size_t i = 0; i < old->n_constraints; i++)
		any |= old->constraints[i].kind == CONSTRAINT_FOREIGN;
	if (any)
		ddl_add(b, DDL_LOCKS_SOURCE,
			call(b, "relax_foreign_keys", b->l->old_ref, ", NULL"),
			"drop foreign keys of %s, whose rows stand still",
			b->l->old_ref);
}

void ddl_forget_foreign_keys(struct ddl_build *b)
{
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DELETE FROM pgtandem.foreign_key"
			  " WHERE migration = %s AND lens = %u",
			  quote_text(b->l->migration, b->a), b->l->number),
		"forget the foreign keys of %s", b->l->old_ref);
}

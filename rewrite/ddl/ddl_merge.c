/*
 * What a merge has besides: each of its two lenses leads to one half of the
 * new relation's rows.
 *
 * DELETE of a half is a DELETE of L_cut, a view whose trigger sets the half
 * NULL, or deletes a row that has nothing else; so its tag and what it returns
 * are those of a DELETE.  The view locks the rows that it shows, since a
 * trigger of its kind runs behind the choice of rows: the condition is looked
 * at again on what a concurrent writer has left.
 *
 * INSERT into a half may find the row there with the other one: it is an
 * INSERT ... ON CONFLICT into L_fill, whose condition L_claim is true where
 * this half is missing, and raises what the old relation's key would have
 * raised.  What old has NOT NULL is looked at by L_shape.
 *
 * Where the second's foreign key ties it to the first, each row has the first
 * half: what is done to that is done to the row, as to a table's.  DELETE of it
 * takes the other half with it (ON DELETE CASCADE) or is refused because of
 * it, and INSERT of the other one asks L_present for it.
 *
 * All but L_present run with the client's rights.
 */
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

static const char *marker_name(const struct lens *l, unsigned marker,
			       struct arena *a)
{
	return quote_name(l->new->columns[marker].name, a);
}

/* "n.id = OLD.id": OLD is a row of the view, in the old columns' names. */
static const char *key_of_row(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    &t, " AND ", "t.%s = OLD.%s",
		    quote_name(l->new->columns[l->key[i].new_index].name, a),
		    quote_name(l->old->columns[l->key[i].old_index].name, a));
	return t.s;
}

/* The values of the key's columns of `row`, as a violation's DETAIL says. */
static const char *key_texts(const struct lens *l, const char *row,
			     struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    &t, ", ", "%s%s::pg_catalog.text", row,
		    quote_name(l->old->columns[l->key[i].old_index].name, a));
	return t.s;
}

static const char *key_names(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "%s",
			     l->old->columns[l->key[i].old_index].name);
	return t.s;
}

/* As the foreign key between the two old tables would say it. */
static const char *raise_tie(const struct lens *l, const char *message,
			     const char *values, const char *detail,
			     struct arena *a)
{
	const struct lens *follower =
	    l->half->link == HALF_FOLLOWS ? l : l->half->other;

	return arena_fmt(
	    a,
	    "\tRAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',"
	    " MESSAGE = %s, DETAIL = pg_catalog.concat(%s,"
	    " pg_catalog.concat_ws(', ', %s), %s), SCHEMA = %s, TABLE = %s,"
	    " CONSTRAINT = %s;\n",
	    quote_text(message, a),
	    quote_text(arena_fmt(a, "Key (%s)=(", key_names(l, a)), a), values,
	    quote_text(detail, a), quote_text(follower->old->schema, a),
	    quote_text(follower->old->name, a),
	    quote_text(l->half->tie->name, a));
}

/* Of the leader, where its key may not be given up while the other has it. */
static const char *cut_leader(const struct lens *l, struct arena *a)
{
	const char *key = key_of_row(l, a);
	const char *follower = l->half->other->old->name;

	return arena_fmt(
	    a,
	    "\tDELETE FROM %s AS t WHERE %s AND t.%s IS NULL;\n"
	    "\tIF FOUND THEN\n\tRETURN OLD;\n\tEND IF;\n"
	    "\tPERFORM FROM %s AS t WHERE %s;\n"
	    "\tIF NOT FOUND THEN\n\tRETURN NULL;\n\tEND IF;\n%s",
	    l->new_ref, key, marker_name(l, l->half->other_marker, a),
	    l->new_ref, key,
	    raise_tie(l,
		      arena_fmt(a,
				"update or delete on table \"%s\" violates "
				"foreign key constraint \"%s\" on table "
				"\"%s\"",
				l->old->name, l->half->tie->name, follower),
		      key_texts(l, "OLD.", a),
		      arena_fmt(a, ") is still referenced from table \"%s\".",
				follower),
		      a));
}

static const char *cut_half(const struct lens *l, struct arena *a)
{
	const char *marker = marker_name(l, l->half->marker, a);
	const char *other = marker_name(l, l->half->other_marker, a);
	const char *key = key_of_row(l, a);
	struct mapping m;

	mapping_make(l, WALK_TO_NEW, a, &m);
	return arena_fmt(a,
			 "\tUPDATE %s AS t %s WHERE %s AND t.%s IS NOT NULL"
			 " AND t.%s IS NOT NULL;\n"
			 "\tIF FOUND THEN\n\tRETURN OLD;\n\tEND IF;\n"
			 "\tDELETE FROM %s AS t WHERE %s AND t.%s IS NOT NULL;"
			 "\n\tIF FOUND THEN\n\tRETURN OLD;\n\tEND IF;\n"
			 "\tRETURN NULL;\n",
			 l->new_ref, mapping_cut_half(&m), key, marker, other,
			 l->new_ref, key, marker);
}

/* Who deletes one half may have no right to write the other: so the row is cut
 * with the view's owner's rights, by those who may delete from old. */
static void add_cut(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *marker = marker_name(l, l->half->marker, b->a);
	const char *function = lens_own_ref(l, "cut_row", b->a);

	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a,
		"DROP VIEW IF EXISTS %s;\n"
		"CREATE VIEW %s AS SELECT %s FROM %s AS n"
		" WHERE n.%s IS NOT NULL FOR UPDATE OF n;\n"
		"CREATE OR REPLACE FUNCTION %s() RETURNS trigger"
		" LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
		" SET search_path = %s AS $pgtandem$\n"
		"#variable_conflict use_column\n"
		"BEGIN\n%sEND\n$pgtandem$;\n"
		"REVOKE ALL ON FUNCTION %s() FROM PUBLIC;\n"
		"CREATE TRIGGER cut INSTEAD OF DELETE ON %s"
		" FOR EACH ROW EXECUTE FUNCTION %s();\n"
		"%s;\n%s",
		l->half->cut_ref, l->half->cut_ref, ddl_lens_columns(l, b->a),
		l->new_ref, marker, function, mapping_key_path(l, b->a),
		l->half->link == HALF_LEADS ? cut_leader(l, b->a)
					    : cut_half(l, b->a),
		function, l->half->cut_ref, function,
		ddl_late_trigger("late", "DELETE", l->half->cut_ref, b->a),
		ddl_old_grants(l, l->half->cut_ref, b->a)),
	    "create view %s", l->half->cut_ref);
}

static const char *view_rights(const struct ddl_build *b, const char *view)
{
	const char *grants = ddl_old_grants(b->l, view, b->a);

	return quote_text(ddl_view_rights(view, grants, b->a), b->a);
}

static void add_fill(struct ddl_build *b)
{
	const struct lens *l = b->l;

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP VIEW IF EXISTS %s;\n"
			  "CREATE VIEW %s AS SELECT %s FROM %s AS n;\n"
			  "DO LANGUAGE plpgsql %s",
			  l->half->fill_ref, l->half->fill_ref,
			  ddl_lens_columns(l, b->a), l->new_ref,
			  view_rights(b, l->half->fill_ref)),
		"create view %s", l->half->fill_ref);
}

/* "IF NEW.a IS NULL THEN RAISE ...": as the old relation would, in order. */
const char *ddl_half_nulls(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;

		if (!c->not_null || c->generated)
			continue;
		sqltext_put(
		    &t,
		    "\tIF NEW.%s IS NULL THEN\n\tRAISE EXCEPTION USING"
		    " ERRCODE = 'not_null_violation', MESSAGE = %s,"
		    " SCHEMA = %s, TABLE = %s, COLUMN = %s;\n\tEND IF;\n",
		    quote_name(c->name, a),
		    quote_text(arena_fmt(a,
					 "null value in column \"%s\" of "
					 "relation \"%s\" violates not-null "
					 "constraint",
					 c->name, l->old->name),
			       a),
		    quote_text(l->old->schema, a), quote_text(l->old->name, a),
		    quote_text(c->name, a));
	}
	return t.s;
}

/* Of several triggers the first by name goes first: before keep_row. */
static void add_null_checks(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *function = lens_own_ref(l, "whole", b->a);

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s() RETURNS trigger"
			  " LANGUAGE plpgsql SET search_path = pg_catalog,"
			  " pg_temp AS $pgtandem$\nBEGIN\n%s\tRETURN NEW;\n"
			  "END\n$pgtandem$;\n"
			  "CREATE TRIGGER check_nulls INSTEAD OF INSERT ON %s"
			  " FOR EACH ROW EXECUTE FUNCTION %s()",
			  function, ddl_half_nulls(l, b->a), l->shape_ref,
			  function),
		"not-null constraints of %s for inserted rows", l->old_ref);
}

/* The old relation's constraint on the key. */
static const char *key_constraint(const struct lens *l)
{
	const struct relation *old = l->old;
	const char *name = old->name;

	for (size_t i = 0; i < old->n_constraints; i++) {
		const struct constraint *k = &old->constraints[i];
		size_t found = 0;

		if (k->kind != CONSTRAINT_PRIMARY &&
		    k->kind != CONSTRAINT_UNIQUE)
			continue;
		for (size_t c = 0; c < k->n_columns; c++)
			for (size_t n = 0; n < l->n_key; n++)
				found +=
				    strcmp(k->columns[c],
					   old->columns[l->key[n].old_index]
					       .name) == 0;
		if (found == l->n_key && k->n_columns == l->n_key)
			name = k->name;
		if (name == k->name && k->kind == CONSTRAINT_PRIMARY)
			break;
	}
	return name;
}

static void add_claim(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *name = key_constraint(l);
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a,
		"CREATE OR REPLACE FUNCTION %s(pg_catalog.bool, %s)"
		" RETURNS pg_catalog.bool LANGUAGE plpgsql VOLATILE"
		" SET search_path = pg_catalog, pg_temp AS $pgtandem$\n"
		"BEGIN\n\tIF $1 THEN\n\tRETURN true;\n\tEND IF;\n"
		"\tRAISE EXCEPTION USING ERRCODE = 'unique_violation',"
		" MESSAGE = %s, DETAIL = pg_catalog.concat(%s,"
		" pg_catalog.concat_ws(', ', %s), ') already exists.'),"
		" SCHEMA = %s, TABLE = %s, CONSTRAINT = %s;\nEND\n$pgtandem$",
		l->half->claim_ref, ddl_key_types(l, b->a),
		quote_text(arena_fmt(b->a,
				     "duplicate key value violates unique "
				     "constraint \"%s\"",
				     name),
			   b->a),
		quote_text(arena_fmt(b->a, "Key (%s)=(", key_names(l, b->a)),
			   b->a),
		ddl_arguments_as_text(l, 2, b->a),
		quote_text(l->old->schema, b->a),
		quote_text(l->old->name, b->a), quote_text(name, b->a)),
	    "create function %s", l->half->claim_ref);
}

/* Foreign keys are looked after with their owner's rights. */
static void add_present(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const struct lens *leader = l->half->other;
	struct sqltext where;

	sqltext_begin(&where, b->a);
	for (size_t i = 0; i < l->n_key; i++) {
		const char *key = l->new->columns[l->key[i].new_index].name;

		sqltext_item(&where, " AND ", "t.%s = $%zu",
			     quote_name(key, b->a), i + 1);
	}
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a,
		"CREATE OR REPLACE FUNCTION %s(%s) RETURNS pg_catalog.bool"
		" LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
		" SET search_path = %s AS $pgtandem$\n"
		"DECLARE\n%sBEGIN\n%s"
		"\tPERFORM FROM %s AS t WHERE %s AND t.%s IS NOT NULL"
		" FOR KEY SHARE;\n"
		"\tIF FOUND THEN\n\tRETURN true;\n\tEND IF;\n%sEND\n$pgtandem$",
		l->half->present_ref, ddl_key_types(l, b->a),
		mapping_key_path(l, b->a), ddl_role,
		ddl_ask_writer_of_new(l, b->a), l->new_ref, where.s,
		marker_name(l, l->half->other_marker, b->a),
		raise_tie(l,
			  arena_fmt(b->a,
				    "insert or update on table \"%s\" violates "
				    "foreign key constraint \"%s\"",
				    l->old->name, l->half->tie->name),
			  ddl_arguments_as_text(l, 1, b->a),
			  arena_fmt(b->a, ") is not present in table \"%s\".",
				    leader->old->name),
			  b->a)),
	    "create function %s", l->half->present_ref);
}

void ddl_create_cut(struct ddl_build *b)
{
	if (b->l->half == NULL)
		return;
	add_null_checks(b);
	if (lens_fills(b->l)) {
		add_fill(b);
		add_claim(b);
	}
	if (lens_cuts(b->l))
		add_cut(b);
	if (b->l->half->link == HALF_FOLLOWS)
		add_present(b);
}

void ddl_drop_cut(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *types;

	if (l->half == NULL)
		return;
	types = ddl_key_types(l, b->a);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP VIEW IF EXISTS %s, %s;\n"
			  "DROP FUNCTION IF EXISTS %s(), %s();\n"
			  "DROP FUNCTION IF EXISTS %s(pg_catalog.bool, %s),"
			  " %s(%s)",
			  l->half->cut_ref, l->half->fill_ref,
			  lens_own_ref(l, "cut_row", b->a),
			  lens_own_ref(l, "whole", b->a), l->half->claim_ref,
			  types, l->half->present_ref, types),
		"drop views %s and %s", l->half->cut_ref, l->half->fill_ref);
}

/* What old has NOT NULL is NULL in the new relation only where its whole half
 * is missing; and a row has one half at least, or old could not tell of it. */
void ddl_check_halves(struct ddl_build *b)
{
	const struct lens *l = b->l;

	if (l->half != NULL && l->half->second)
		ddl_add(
		    b, DDL_NO_LOCK,
		    arena_fmt(b->a,
			      "ALTER TABLE %s ADD CONSTRAINT %s CHECK"
			      " (%s IS NOT NULL OR %s IS NOT NULL)",
			      l->new_ref,
			      quote_name(lens_one_half_check(l, b->a), b->a),
			      marker_name(l, l->half->marker, b->a),
			      marker_name(l, l->half->other_marker, b->a)),
		    "a row of %s has one half at least", l->new_ref);
	for (unsigned i = 0; l->half != NULL && i < l->n_new; i++) {
		const char *column = marker_name(l, i, b->a);

		if (!l->half->required[i] || i == l->half->marker)
			continue;
		ddl_add(
		    b, DDL_NO_LOCK,
		    arena_fmt(b->a,
			      "ALTER TABLE %s ADD CONSTRAINT %s CHECK"
			      " (%s IS NULL OR %s IS NOT NULL)",
			      l->new_ref,
			      quote_name(lens_half_check(l, i, b->a), b->a),
			      marker_name(l, l->half->marker, b->a), column),
		    "%s.%s is not null where %s.%s has a row", l->new_ref,
		    column, l->old->schema, l->old->name);
	}
}

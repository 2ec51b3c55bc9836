/*
 * What belongs to a child lens: the child table, the objects of the lens
 * (their names and purposes are in rewrite/lens/lens_child.h), and what becomes
 * of the columns that move.
 *
 * Everyone who changes child rows for a key holds the lock of its old row:
 * a write of the old shape has just written it, the walker has locked it, and
 * a write on the child table locks it first (L_lock_old, and the trigger for
 * INSERT).  So the functions may look which row is picked, and then change it.
 *
 * L_put and L_drop run with the rights of the client, since what they write
 * is the client's to say; so do L_read and L_pick.
 */
#include <string.h>

#include "rewrite/ddl/ddl_names.h"
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

/* "c.parent = $1 AND ...", arguments numbered from `first`. */
static const char *parent_is(const struct lens *l, const char *alias,
			     size_t first, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, " AND ", "%s.%s = $%zu", alias,
			     child_parent(l, i, a), first + i);
	return t.s;
}

static const char *old_key(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->old->columns[l->key[i].old_index].name, a);
}

static const char *key_is(const struct lens *l, const char *alias, size_t first,
			  struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, " AND ", "%s.%s = $%zu", alias,
			     old_key(l, i, a), first + i);
	return t.s;
}

/* "$2, $3": the key as arguments from `first` on. */
static const char *key_arguments(const struct lens *l, size_t first,
				 struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "$%zu", first + i);
	return t.s;
}

static const char *moved_name(const struct lens *l, size_t i, struct arena *a)
{
	return quote_name(l->olds[l->child->moved[i].old_index].column->name,
			  a);
}

static const char *moved_type(const struct lens *l, size_t i)
{
	return l->olds[l->child->moved[i].old_index].column->type;
}

/* 1. The functions' common parts. */

#define PICKED_ID "\"pgtandem.id\""

/* Finds the picked row of the key in $first... and locks it: its place and
 * `columns` go into `into`. */
const char *child_find_picked(const struct lens *l, size_t first,
			      const char *columns, const char *into,
			      struct arena *a)
{
	return arena_fmt(a,
			 "SELECT c.ctid%s INTO %s FROM %s AS c"
			 " WHERE %s ORDER BY %s LIMIT 1 FOR UPDATE;\n",
			 columns, into, l->child->ref,
			 parent_is(l, "c", first, a), child_order(l, "c", a));
}

static const char *forward_list(const struct lens *l, bool names,
				struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->child->n_columns; i++)
		if (l->child->columns[i].mapped)
			sqltext_put(
			    &t, ", %s",
			    names ? quote_name(
					l->child->columns[i].column->name, a)
				  : child_forward(l, i, "s.", a));
	return t.s;
}

static const char *set_list(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->child->n_columns; i++)
		if (l->child->columns[i].mapped)
			sqltext_item(
			    &t, ", ", "%s = %s",
			    quote_name(l->child->columns[i].column->name, a),
			    child_forward(l, i, "s.", a));
	return t.s;
}

static const char *parents(const struct lens *l, const char *prefix,
			   struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "%s%s", prefix, child_parent(l, i, a));
	return t.s;
}

/* Gives the picked row, whose place is in "pgtandem.id", what the old row
 * says; `source` gives the old columns. */
const char *child_give(const struct lens *l, const char *source, size_t first,
		       struct arena *a)
{
	const char *when = child_when(l, "s.", a), *ref = l->child->ref;
	const char *set = set_list(l, a), *update = "";

	if (*set != '\0')
		update =
		    arena_fmt(a,
			      "ELSE\n\tUPDATE %s AS t SET %s FROM %s AS s"
			      " WHERE t.ctid = \"pgtandem.id\" AND (%s);\n",
			      ref, set, source, child_differ(l, "s.", "t.", a));
	return arena_fmt(
	    a,
	    "IF NOT EXISTS (SELECT FROM %s AS s WHERE %s) THEN\n"
	    "\tDELETE FROM %s AS t WHERE t.ctid = \"pgtandem.id\";\n"
	    "ELSIF \"pgtandem.id\" IS NULL THEN\n"
	    "\tINSERT INTO %s (%s%s) SELECT %s%s FROM %s AS s;\n"
	    "%sEND IF;\n",
	    source, when, ref, ref, parents(l, "", a), forward_list(l, true, a),
	    key_arguments(l, first, a), forward_list(l, false, a), source,
	    update);
}

/* The old row of the key as it is stored. */
static const char *stored(const struct lens *l, size_t first, struct arena *a)
{
	return arena_fmt(a, "(SELECT * FROM %s AS e WHERE %s)", l->old_ref,
			 key_is(l, "e", first, a));
}

/* 2. Reads. */

static void add_picks(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *keys = ddl_key_types(l, b->a);

	for (size_t i = 0; i < l->child->n_moved; i++) {
		const struct child_moved *m = &l->child->moved[i];
		const char *read = child_read_ref(l, m, b->a);

		ddl_add_function(
		    b, read, keys, moved_type(l, i), "VOLATILE",
		    arena_fmt(b->a,
			      "BEGIN\nRETURN (SELECT %s FROM %s AS c WHERE %s"
			      " ORDER BY %s LIMIT 1);\nEND",
			      child_reverse(l, m, "c.", b->a), l->child->ref,
			      parent_is(l, "c", 1, b->a),
			      child_order(l, "c", b->a)));
		ddl_add(b, DDL_NO_LOCK,
			arena_fmt(b->a,
				  "CREATE OR REPLACE FUNCTION %s(%s) RETURNS "
				  "%s LANGUAGE plpgsql STABLE AS $pgtandem$\n"
				  "BEGIN\nRETURN %s(%s);\nEND\n$pgtandem$",
				  child_pick_ref(l, m, b->a), keys,
				  moved_type(l, i), read,
				  key_arguments(l, 1, b->a)),
			"create function %s", child_pick_ref(l, m, b->a));
	}
}

/* What the picked row says, of a type that has no default of its own: an INSERT
 * through the view would take it for the column's. */
static const char *lens_value(const struct lens *l, const struct child_moved *m,
			      struct arena *a)
{
	const struct column *c = l->olds[m->old_index].column;
	const char *value = child_picked(l, m, "e", a);

	return c->type_default == NULL
		   ? value
		   : arena_fmt(a, "CAST(%s AS %s)", value, c->base_type);
}

/* `both` while the columns that move are there: "old.x" is x itself. */
static void add_lens(struct ddl_build *b, bool both)
{
	const struct lens *l = b->l;
	const char *rights = ddl_view_rights(
	    l->lens_ref, ddl_old_grants(l, l->lens_ref, b->a), b->a);
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (unsigned i = 0; i < l->n_old; i++) {
		const struct child_moved *m = child_find_moved(l, i);
		const char *name = quote_name(l->olds[i].column->name, b->a);

		if (m == NULL)
			sqltext_item(&t, ", ", "e.%s", name);
		else
			sqltext_item(&t, ", ", "%s AS %s",
				     lens_value(l, m, b->a), name);
	}
	for (size_t i = 0; both && i < l->child->n_moved; i++)
		sqltext_put(
		    &t, ", e.%s AS %s", moved_name(l, i, b->a),
		    quote_name(
			arena_fmt(
			    b->a, "old.%s",
			    l->olds[l->child->moved[i].old_index].column->name),
			b->a));
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP VIEW IF EXISTS %s;\n"
			  "CREATE VIEW %s AS SELECT %s FROM %s AS e;\n"
			  "DO LANGUAGE plpgsql %s",
			  l->lens_ref, l->lens_ref, t.s, l->old_ref,
			  quote_text(rights, b->a)),
		"create view %s", l->lens_ref);
}

void ddl_child_lens_alone(struct ddl_build *b)
{
	add_lens(b, false);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "DROP VIEW IF EXISTS %s", b->l->new_view_ref),
		"drop view %s", b->l->new_view_ref);
}

/* 3. Sync. */

#define DECLARE_ID "DECLARE\n\t\"pgtandem.id\" pg_catalog.tid;\nBEGIN\n"

static void add_set_new(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *ref = l->child->set_new_ref;

	ddl_add_function(
	    b, ref, ddl_key_types(l, b->a), "pg_catalog.void",
	    "VOLATILE SECURITY DEFINER",
	    arena_fmt(b->a,
		      DECLARE_ID "%sDELETE FROM %s AS t WHERE %s AND"
				 " t.ctid <> \"pgtandem.id\";\n%sEND",
		      child_find_picked(l, 1, "", PICKED_ID, b->a),
		      l->child->ref, parent_is(l, "t", 1, b->a),
		      child_give(l, stored(l, 1, b->a), 1, b->a)));
	ddl_keep_to_ourselves(b, ref, ddl_key_types(l, b->a));
}

/* Waits for the old row, and then looks at the child's rows. */
static void add_set_old(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *ref = l->child->set_old_ref;
	struct sqltext set, values, names, differ;

	sqltext_begin(&set, b->a);
	sqltext_begin(&names, b->a);
	sqltext_begin(&values, b->a);
	sqltext_begin(&differ, b->a);
	for (size_t i = 0; i < l->child->n_moved; i++) {
		const char *name = moved_name(l, i, b->a);
		const char *value = arena_fmt(b->a, "v.%s", name);

		sqltext_item(&names, ", ", "%s", name);
		sqltext_item(&values, ", ", "%s AS %s",
			     child_reverse(l, &l->child->moved[i], "c.", b->a),
			     name);
		sqltext_item(&set, ", ", "%s = %s", name, value);
		sqltext_item(&differ, " OR ", "%s",
			     mapping_differ_one(
				 l->olds[l->child->moved[i].old_index].column,
				 arena_fmt(b->a, "t.%s", name), value, b->a));
	}
	ddl_add_function(
	    b, ref, ddl_key_types(l, b->a), "pg_catalog.void",
	    "VOLATILE SECURITY DEFINER",
	    arena_fmt(
		b->a,
		"BEGIN\nPERFORM FROM %s AS e WHERE %s FOR NO KEY UPDATE;\n"
		"UPDATE %s AS t SET %s FROM (SELECT %s FROM (VALUES (1)) AS"
		" one LEFT JOIN (SELECT * FROM %s AS c WHERE %s ORDER BY %s"
		" LIMIT 1) AS c ON true) AS v WHERE %s AND (%s);\nEND",
		l->old_ref, key_is(l, "e", 1, b->a), l->old_ref, set.s,
		values.s, l->child->ref, parent_is(l, "c", 1, b->a),
		child_order(l, "c", b->a), key_is(l, "t", 1, b->a), differ.s));
	ddl_keep_to_ourselves(b, ref, ddl_key_types(l, b->a));
}

/*
 * As the old shape writes: the picked row alone, unless the old row is gone.
 * Where other rows stay, which only a session at write_new can have made, the
 * one that is picked now may be another.
 */
static void add_give_new(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *ref = l->child->give_new_ref;

	ddl_add_function(
	    b, ref, ddl_key_types(l, b->a), "pg_catalog.void",
	    "VOLATILE SECURITY DEFINER",
	    arena_fmt(
		b->a,
		DECLARE_ID
		"IF NOT EXISTS (SELECT FROM %s AS e WHERE %s) THEN\n"
		"\tDELETE FROM %s AS t WHERE %s;\n\tRETURN;\nEND IF;\n"
		"%s%sIF EXISTS (SELECT FROM %s AS c WHERE %s OFFSET 1)"
		" AND 'write_new' = (SELECT m.phase FROM pgtandem.migration"
		" AS m WHERE m.name = %s) THEN\n\tPERFORM %s(%s);\n"
		"END IF;\nEND",
		l->old_ref, key_is(l, "e", 1, b->a), l->child->ref,
		parent_is(l, "t", 1, b->a),
		child_find_picked(l, 1, "", PICKED_ID, b->a),
		child_give(l, stored(l, 1, b->a), 1, b->a), l->child->ref,
		parent_is(l, "c", 1, b->a), quote_text(l->migration, b->a),
		l->child->set_old_ref, key_arguments(l, 1, b->a)));
	ddl_keep_to_ourselves(b, ref, ddl_key_types(l, b->a));
}

static void add_lock_as(struct ddl_build *b, const char *ref, const char *ask)
{
	const struct lens *l = b->l;

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(
		    b->a,
		    "CREATE OR REPLACE FUNCTION %s(%s) RETURNS pg_catalog.bool"
		    " LANGUAGE plpgsql VOLATILE COST 100000 SECURITY DEFINER"
		    " SET search_path = %s AS $pgtandem$\n"
		    "DECLARE\n%sBEGIN\n%s"
		    "\tPERFORM FROM %s AS e WHERE %s FOR NO KEY UPDATE;\n"
		    "\tPERFORM FROM %s AS c WHERE %s FOR UPDATE;\n"
		    "\tRETURN true;\nEND\n$pgtandem$",
		    ref, ddl_key_types(l, b->a), mapping_key_path(l, b->a),
		    ddl_role, ask, l->old_ref, key_is(l, "e", 1, b->a),
		    l->child->ref, parent_is(l, "c", 1, b->a)),
		"create function %s", ref);
}

static void add_lock_old(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *unasked = ddl_unasked(l->lock_old_ref, b->a);

	add_lock_as(b, l->lock_old_ref, ddl_ask_writer(l, b->a));
	add_lock_as(b, unasked, "");
	ddl_keep_to_ourselves(b, unasked, ddl_key_types(l, b->a));
}

void ddl_child_create_objects(struct ddl_build *b)
{
	const struct lens *l = b->l;

	ddl_add_shape(b);
	ddl_grant_sequences(b);
	add_picks(b);
	ddl_child_hide(b);
	add_lens(b, true);
	add_set_new(b);
	add_set_old(b);
	add_give_new(b);
	ddl_add_sync(b, WALK_TO_NEW, l->to_new_ref,
		     arena_fmt(b->a, "PERFORM %s(%s);", l->child->give_new_ref,
			       key_arguments(l, 2, b->a)),
		     l->child->ref);
	ddl_add_sync(b, WALK_TO_OLD, l->to_old_ref,
		     arena_fmt(b->a, "PERFORM %s(%s);", l->child->set_old_ref,
			       key_arguments(l, 2, b->a)),
		     l->old_ref);
	add_lock_old(b);
	ddl_child_create_writes(b);
}

void ddl_child_drop_views(struct ddl_build *b)
{
	const struct lens *l = b->l;

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "DROP VIEW IF EXISTS %s, %s, %s", l->lens_ref,
			  l->new_view_ref, l->shape_ref),
		"drop views %s and %s", l->lens_ref, l->shape_ref);
}

void ddl_child_drop_syncs(struct ddl_build *b)
{
	const struct lens *l = b->l;

	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a,
		"DROP FUNCTION IF EXISTS %s, %s, %s, %s, %s, %s, %s, %s, %s",
		l->to_new_ref, l->to_old_ref, ddl_unasked(l->to_new_ref, b->a),
		ddl_unasked(l->to_old_ref, b->a),
		lens_late_ref(l->to_new_ref, b->a),
		lens_late_ref(l->to_old_ref, b->a), l->child->set_new_ref,
		l->child->set_old_ref, l->child->give_new_ref),
	    "drop the functions that sync %s_%u", l->migration, l->number);
}

void ddl_child_drop_functions(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	sqltext_put(&t, "%s, %s, %s, %s, %s, %s", l->lock_old_ref,
		    ddl_unasked(l->lock_old_ref, b->a), l->child->stash_ref,
		    l->child->put_ref, l->child->free_ref, l->child->drop_ref);
	for (size_t i = 0; i < l->child->n_moved; i++) {
		const struct child_moved *m = &l->child->moved[i];

		sqltext_put(&t, ", %s, %s, %s", child_pick_ref(l, m, b->a),
			    child_read_ref(l, m, b->a),
			    child_given_ref(l, m, b->a));
	}
	ddl_child_drop_syncs(b);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "DROP FUNCTION IF EXISTS %s", t.s),
		"drop the functions of %s_%u", l->migration, l->number);
}

/* 4. Triggers. */

/* Triggers fire by name: this one before those of foreign keys,
 * "RI_ConstraintTrigger_...", which refuse a key's change while rows refer to
 * it. */
static const char *trigger_name(const struct lens *l, const char *what,
				struct arena *a)
{
	return quote_name(
	    arena_fmt(a, "PGTANDEM_%s_%u_%s", l->migration, l->number, what),
	    a);
}

static const char *old_keys(const struct lens *l, const char *prefix,
			    struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "%s%s", prefix, old_key(l, i, a));
	return t.s;
}

static void add_trigger(struct ddl_build *b, const char *what, const char *when,
			const char *relation, const char *body)
{
	const char *function = lens_own_ref(b->l, what, b->a);
	const char *name = trigger_name(b->l, what, b->a);

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s() RETURNS trigger"
			  " LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
			  " SET search_path = %s AS $pgtandem$\n"
			  "BEGIN\n%s\nEND\n$pgtandem$;\n"
			  "REVOKE ALL ON FUNCTION %s() FROM PUBLIC;\n"
			  "DROP TRIGGER IF EXISTS %s ON %s;\n"
			  "CREATE TRIGGER %s %s ON %s FOR EACH ROW"
			  " EXECUTE FUNCTION %s();\n"
			  "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
			  function, mapping_key_path(b->l, b->a), body,
			  function, name, relation, name, when, relation,
			  function, relation, name),
		"create trigger %s on %s", name, relation);
}

static const char *moving(const struct lens *l, const char *is, struct arena *a)
{
	return arena_fmt(a, "set_config('pgtandem.%s_%u_moving', %s, true)",
			 l->migration, l->number, is);
}

/*
 * A changed key: the child's rows go along, as far as the foreign key has not
 * taken them, and the statement's other changes are synced, which no hidden
 * column does then.  Once old is stale, it has nothing to say.  Until then old
 * says what the rows have: their own trigger is told to keep still.
 */
static void add_moved_old(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext move, was;

	sqltext_begin(&move, b->a);
	sqltext_begin(&was, b->a);
	for (size_t i = 0; i < l->n_key; i++) {
		const char *parent = child_parent(l, i, b->a);
		const char *key = old_key(l, i, b->a);

		sqltext_item(&move, ", ", "%s = NEW.%s", parent, key);
		sqltext_item(&was, " AND ", "t.%s = OLD.%s", parent, key);
	}
	add_trigger(
	    b, "moved_old",
	    arena_fmt(b->a, "AFTER UPDATE OF %s", old_keys(l, "", b->a)),
	    l->old_ref,
	    arena_fmt(b->a,
		      "IF ROW(%s) <> ROW(%s) THEN\n\tPERFORM %s;\n"
		      "\tUPDATE %s AS t SET %s WHERE %s;\n\tPERFORM %s;\n"
		      "END IF;\n"
		      "IF NOT (SELECT m.old_stale FROM pgtandem.migration"
		      " AS m WHERE m.name = %s) THEN\n"
		      "\tPERFORM %s(NULL, %s);\nEND IF;\nRETURN NULL;",
		      old_keys(l, "OLD.", b->a), old_keys(l, "NEW.", b->a),
		      moving(l, "'yes'", b->a), l->child->ref, move.s, was.s,
		      moving(l, "''", b->a), quote_text(l->migration, b->a),
		      ddl_unasked(l->to_new_ref, b->a),
		      old_keys(l, "NEW.", b->a)));
}

void ddl_child_create_triggers(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *to_old = ddl_unasked(l->to_old_ref, b->a);

	add_moved_old(b);
	add_trigger(
	    b, "moved_new",
	    arena_fmt(b->a, "AFTER UPDATE OF %s", parents(l, "", b->a)),
	    l->child->ref,
	    arena_fmt(b->a,
		      "IF current_setting('pgtandem.%s_%u_moving',"
		      " true) = 'yes' THEN\n\tRETURN NULL;\nEND IF;\n"
		      "PERFORM %s(NULL, %s);\nPERFORM %s(NULL, %s);\n"
		      "RETURN NULL;",
		      l->migration, l->number, to_old, parents(l, "OLD.", b->a),
		      to_old, parents(l, "NEW.", b->a)));
	add_trigger(b, "held", "BEFORE INSERT", l->child->ref,
		    arena_fmt(b->a, "PERFORM %s(%s);\nRETURN NEW;",
			      ddl_unasked(l->lock_old_ref, b->a),
			      parents(l, "NEW.", b->a)));
	ddl_create_late(b, l->old_ref);
	ddl_create_late(b, l->child->ref);
}

void ddl_child_drop_triggers(struct ddl_build *b)
{
	static const char *const whats[] = {"moved_old", "moved_new", "held"};
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < sizeof(whats) / sizeof(*whats); i++)
		sqltext_item(&t, ";\n",
			     "DROP TRIGGER IF EXISTS %s ON %s;\n"
			     "DROP FUNCTION IF EXISTS %s",
			     trigger_name(l, whats[i], b->a),
			     i == 0 ? l->old_ref : l->child->ref,
			     lens_own_ref(l, whats[i], b->a));
	ddl_add(b, DDL_LOCKS_SOURCE, t.s, "drop triggers of %s_%u",
		l->migration, l->number);
	ddl_drop_late(b, l->old_ref);
	ddl_drop_late(b, l->child->ref);
}

void ddl_child_empty_table(struct ddl_build *b)
{
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "TRUNCATE TABLE ONLY %s", b->l->child->ref),
		"empty table %s", b->l->child->ref);
}

/*
 * Writes through a child lens: what carries a new value from the place where
 * PostgreSQL computes it, on the locked row, to where the child's row can be
 * written, behind the old row's own write (rewrite/lens/lens_child.h).
 *
 * The values travel as text in settings of the transaction, one for each
 * column: '-' for one that is not given, '' for NULL, '!' for one that may not
 * be NULL and is, where another column of the table may be named first; else
 * '=' and the value.
 * Others hold the key that the row had, and how it is written: 'i' by an
 * INSERT, 'u' by an UPDATE, which may change the key.
 */
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

static const struct column *moved_column(const struct lens *l, size_t i)
{
	return l->olds[l->child->moved[i].old_index].column;
}

/* 'pgtandem.many_stores_1_k' */
static const char *setting(const struct lens *l, const char *what,
			   struct arena *a)
{
	return arena_fmt(a, "'pgtandem.%s_%u_%s'", l->migration, l->number,
			 what);
}

static const char *value_setting(const struct lens *l, size_t i,
				 struct arena *a)
{
	return setting(l, arena_fmt(a, "%zu", i + 1), a);
}

static const char *key_setting(const struct lens *l, size_t i, struct arena *a)
{
	return setting(l, arena_fmt(a, "k%zu", i + 1), a);
}

static const char *arguments(size_t first, size_t n, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < n; i++)
		sqltext_item(&t, ", ", "$%zu", first + i);
	return t.s;
}

static void add_function(struct ddl_build *b, const char *ref,
			 const char *types, const char *returns,
			 const char *body)
{
	ddl_add_function(b, ref, types, returns, "VOLATILE", body);
}

static void put_not_null(const struct lens *l, size_t i, const char *condition,
			 struct sqltext *t)
{
	const char *name = quote_text(moved_column(l, i)->name, t->a);
	const char *relation = quote_text(l->old->name, t->a);

	sqltext_put(t,
		    "IF %s"
		    " THEN\n\tRAISE EXCEPTION USING ERRCODE = '23502', MESSAGE"
		    " = pg_catalog.format('null value in column \"%%s\" of"
		    " relation \"%%s\" violates not-null constraint', %s, %s),"
		    " SCHEMA = %s, TABLE = %s, COLUMN = %s;\nEND IF;\n",
		    condition, name, relation, quote_text(l->old->schema, t->a),
		    relation, name);
}

/* A column that is not written has NULL there, which a domain may not take. */
static const char *argument_type(const struct column *c)
{
	return c->base_type != NULL ? c->base_type : c->type;
}

/* (value anyelement, which text, key..., moved...) */
static void add_stash(struct ddl_build *b)
{
	const struct lens *l = b->l;
	size_t first = 3 + l->n_key;
	struct sqltext types, body;

	sqltext_begin(&types, b->a);
	sqltext_begin(&body, b->a);
	sqltext_put(&types, "pg_catalog.anyelement, pg_catalog.text, %s",
		    ddl_key_types(l, b->a));
	sqltext_put(&body, "BEGIN\n");
	for (size_t i = 0; i < l->child->n_moved; i++) {
		sqltext_put(&types, ", %s", argument_type(moved_column(l, i)));
		if (moved_column(l, i)->not_null)
			put_not_null(
			    l, i,
			    arena_fmt(b->a,
				      "pg_catalog.substr($2, %zu, 1) = '1' AND"
				      " $%zu IS NULL",
				      i + 1, first + i),
			    &body);
	}
	sqltext_put(&body,
		    "PERFORM pg_catalog.set_config(%s,"
		    " pg_catalog.substr($2, %zu), true)",
		    setting(l, "how", b->a), l->child->n_moved + 1);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_put(&body,
			    ",\n\tpg_catalog.set_config(%s,"
			    " $%zu::pg_catalog.text, true)",
			    key_setting(l, i, b->a), i + 3);
	for (size_t i = 0; i < l->child->n_moved; i++)
		sqltext_put(&body,
			    ",\n\tpg_catalog.set_config(%s, CASE"
			    " pg_catalog.substr($2, %zu, 1) WHEN '0' THEN '-'"
			    " WHEN '2' THEN '!' ELSE COALESCE('=' ||"
			    " $%zu::pg_catalog.text, '') END, true)",
			    value_setting(l, i, b->a), i + 1, first + i);
	sqltext_put(&body, ";\nRETURN $1;\nEND");
	add_function(b, l->child->stash_ref, types.s, "pg_catalog.anyelement",
		     body.s);
}

/* The value as stashed, of the column's type. */
static const char *stashed(const struct lens *l, size_t i, struct arena *a)
{
	const char *value = arena_fmt(a, "pg_catalog.current_setting(%s)",
				      value_setting(l, i, a));

	return arena_fmt(a,
			 "CASE WHEN pg_catalog.left(%s, 1) = '=' THEN"
			 " pg_catalog.substr(%s, 2)::%s END",
			 value, value, moved_column(l, i)->type);
}

static void add_given(struct ddl_build *b)
{
	for (size_t i = 0; i < b->l->child->n_moved; i++)
		add_function(
		    b, child_given_ref(b->l, &b->l->child->moved[i], b->a), "",
		    moved_column(b->l, i)->type,
		    arena_fmt(b->a, "BEGIN\nRETURN %s;\nEND",
			      stashed(b->l, i, b->a)));
}

#define PICKED "\"pgtandem.row\""

/* The old columns with the new values, for the key in $3...: of the old
 * relation only what the mapping names, for the rest may not be there. */
static const char *new_values(const struct lens *l, struct arena *a)
{
	struct sqltext t, keys;

	sqltext_begin(&t, a);
	sqltext_begin(&keys, a);
	for (unsigned i = 0; i < l->n_old; i++)
		if (l->olds[i].carried && child_depends_on(l, i))
			sqltext_item(&t, ", ", "e.%s",
				     quote_name(l->olds[i].column->name, a));
	for (size_t i = 0; i < l->child->n_moved; i++)
		sqltext_item(&t, ", ",
			     "CAST(CASE WHEN pg_catalog.current_setting(%s)"
			     " <> '-' THEN %s ELSE %s.\"pgtandem.%zu\" END"
			     " AS %s) AS %s",
			     value_setting(l, i, a), stashed(l, i, a), PICKED,
			     i + 1, moved_column(l, i)->type,
			     quote_name(moved_column(l, i)->name, a));
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    &keys, " AND ", "e.%s = $%zu",
		    quote_name(l->old->columns[l->key[i].old_index].name, a),
		    i + 3);
	return arena_fmt(a, "(SELECT %s FROM %s AS e WHERE %s)", t.s,
			 l->old_ref, keys.s);
}

static const char *former_key(const struct lens *l, size_t i, struct arena *a)
{
	return arena_fmt(a, "pg_catalog.current_setting(%s)::%s",
			 key_setting(l, i, a),
			 l->old->columns[l->key[i].old_index].type);
}

/* The row's key has become another, or was made another by a trigger of the
 * database: the child's rows go along.  A row that is new has none. */
static const char *follow_key(const struct lens *l, struct arena *a)
{
	struct sqltext differ, set, was;

	sqltext_begin(&differ, a);
	sqltext_begin(&set, a);
	sqltext_begin(&was, a);
	for (size_t i = 0; i < l->n_key; i++) {
		const char *parent = child_parent(l, i, a);
		const char *value = former_key(l, i, a);

		sqltext_item(&differ, " OR ", "$%zu <> %s", i + 3, value);
		sqltext_item(&set, ", ", "%s = $%zu", parent, i + 3);
		sqltext_item(&was, " AND ", "t.%s = %s", parent, value);
	}
	return arena_fmt(
	    a,
	    "IF %s THEN\n\tIF pg_catalog.current_setting(%s) <> 'u' THEN\n"
	    "\tRAISE EXCEPTION USING ERRCODE = '0A000', MESSAGE ="
	    " 'pgtandem: something in the database has changed the key of"
	    " a row while it was inserted',"
	    " HINT = 'Look for a trigger that sets it.';\n\tEND IF;\n"
	    "\tUPDATE %s AS t SET %s WHERE %s;\nEND IF;\n",
	    differ.s, setting(l, "how", a), l->child->ref, set.s, was.s);
}

/* (epoch, to_old, key...).  The picked row is in a record: a variable of its
 * own could not be of a domain that takes no NULL, and one of a composite type
 * cannot be in a list. */
static void add_put(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext now, missed;

	sqltext_begin(&now, b->a);
	sqltext_begin(&missed, b->a);
	for (size_t i = 0; i < l->child->n_moved; i++) {
		if (moved_column(l, i)->not_null)
			put_not_null(
			    l, i,
			    arena_fmt(b->a,
				      "pg_catalog.current_setting(%s) = '!'",
				      value_setting(l, i, b->a)),
			    &missed);
		sqltext_put(&now, ", %s AS \"pgtandem.%zu\"",
			    child_reverse(l, &l->child->moved[i], "c.", b->a),
			    i + 1);
	}
	add_function(
	    b, l->child->put_ref,
	    arena_fmt(b->a, "pg_catalog.int8, pg_catalog.bool, %s",
		      ddl_key_types(l, b->a)),
	    "pg_catalog.text",
	    arena_fmt(b->a,
		      "DECLARE\n\t\"pgtandem.id\" pg_catalog.tid;\n"
		      "\t" PICKED " record;\nBEGIN\n"
		      "PERFORM pgtandem.fence(%s, $1);\n"
		      "%s%s%s\"pgtandem.id\" := " PICKED ".ctid;\n"
		      "%sIF $2 THEN\n\tPERFORM %s(NULL, %s);\nEND IF;\n"
		      "RETURN NULL;\nEND",
		      quote_text(l->migration, b->a), missed.s,
		      follow_key(l, b->a),
		      child_find_picked(l, 3, now.s, PICKED, b->a),
		      child_give(l, new_values(l, b->a), 3, b->a),
		      l->to_old_ref, arguments(3, l->n_key, b->a)));
}

/* (to_old, key...): STABLE, so that it sees what the statement saw when it
 * began. */
static void add_free(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext differ, is;

	sqltext_begin(&differ, b->a);
	sqltext_begin(&is, b->a);
	for (size_t i = 0; i < l->n_key; i++) {
		sqltext_item(&differ, " OR ", "$%zu <> %s", i + 2,
			     former_key(l, i, b->a));
		sqltext_item(
		    &is, " AND ", "e.%s = $%zu",
		    quote_name(l->old->columns[l->key[i].old_index].name, b->a),
		    i + 2);
	}
	ddl_add_function(
	    b, l->child->free_ref,
	    arena_fmt(b->a, "pg_catalog.bool, %s", ddl_key_types(l, b->a)),
	    "pg_catalog.bool", "STABLE",
	    arena_fmt(b->a,
		      "BEGIN\nIF (%s) AND EXISTS (SELECT FROM %s AS e WHERE"
		      " %s) THEN\n\tRAISE EXCEPTION USING ERRCODE = '0A000',"
		      " MESSAGE = 'pgtandem: an UPDATE that gives one row the"
		      " key that another had is not supported', DETAIL = 'The"
		      " child table''s foreign key follows at the end of the"
		      " statement, and could not tell the rows apart.',"
		      " HINT = 'Change the keys one by one.';\nEND IF;\n"
		      "RETURN $1;\nEND",
		      differ.s, l->old_ref, is.s));
}

/* (epoch, key...) */
static void add_drop(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext where;

	sqltext_begin(&where, b->a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&where, " AND ", "c.%s = $%zu",
			     child_parent(l, i, b->a), i + 2);
	add_function(
	    b, l->child->drop_ref,
	    arena_fmt(b->a, "pg_catalog.int8, %s", ddl_key_types(l, b->a)),
	    "pg_catalog.text",
	    arena_fmt(b->a,
		      "BEGIN\nPERFORM pgtandem.fence(%s, $1);\n"
		      "DELETE FROM %s AS c WHERE %s;\nRETURN NULL;\n"
		      "END",
		      quote_text(l->migration, b->a), l->child->ref, where.s));
}

void ddl_child_create_writes(struct ddl_build *b)
{
	add_stash(b);
	add_given(b);
	add_put(b);
	add_free(b);
	add_drop(b);
}

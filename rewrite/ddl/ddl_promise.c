/*
 * What a table's columns promise: NOT NULL, checks, foreign keys, unique
 * indexes.  Taken back, or given while statements go on.
 *
 * A promise that the server has to read the whole table for is made in two
 * steps, ahead of the move that needs it: NOT VALID, which takes a moment, and
 * VALIDATE, beside which rows are read and written.  NOT NULL has no such form;
 * PostgreSQL believes a check that says the same.  Indexes are built
 * CONCURRENTLY, and a unique constraint takes its index over.
 */
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"

enum { NAME_BYTES = 63 };

static const char *path(const struct ddl_build *b)
{
	return arena_fmt(b->a, "SET LOCAL search_path = %s;\n",
			 mapping_search_path(b->l, b->a));
}

static const char *is_there(const struct ddl_build *b, const char *name,
			    const char *condition)
{
	return arena_fmt(b->a,
			 "EXISTS (SELECT FROM pg_catalog.pg_constraint AS k"
			 " WHERE k.conrelid = %s::pg_catalog.regclass AND"
			 " k.conname = %s%s)",
			 quote_text(b->l->old_ref, b->a),
			 quote_text(name, b->a), condition);
}

static const char *do_if(const struct ddl_build *b, const char *condition,
			 const char *sql)
{
	const char *body =
	    arena_fmt(b->a, "BEGIN IF %s THEN %s; END IF; END", condition, sql);

	return arena_fmt(b->a, "DO LANGUAGE plpgsql %s",
			 quote_text(body, b->a));
}

static const char *drop(const struct ddl_build *b, const char *name)
{
	return arena_fmt(b->a, "ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
			 b->l->old_ref, quote_name(name, b->a));
}

void ddl_drop_constraint(struct ddl_build *b, const char *name)
{
	ddl_add(b, DDL_LOCKS_SOURCE, drop(b, name), "drop constraint %s of %s",
		name, b->l->old_ref);
}

/* As the old model has it: rows that were there may break it. */
static bool is_not_valid(const char *definition)
{
	static const char not_valid[] = " NOT VALID";
	size_t len = strlen(definition), tail = sizeof(not_valid) - 1;

	return len > tail && strcmp(definition + len - tail, not_valid) == 0;
}

void ddl_promise(struct ddl_build *b, const char *name, const char *definition)
{
	bool never = is_not_valid(definition);
	const char *add = arena_fmt(
	    b->a, "ALTER TABLE %s ADD CONSTRAINT %s %s%s", b->l->old_ref,
	    quote_name(name, b->a), definition, never ? "" : " NOT VALID");

	ddl_ahead(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a, "%s%s", path(b),
		      do_if(b, arena_fmt(b->a, "NOT %s", is_there(b, name, "")),
			    add)),
	    do_if(b, is_there(b, name, " AND NOT k.convalidated"),
		  drop(b, name)),
	    "constraint %s of %s, for rows to come", name, b->l->old_ref);
	if (never)
		return;
	ddl_ahead(b, DDL_NO_LOCK,
		  arena_fmt(b->a, "ALTER TABLE %s VALIDATE CONSTRAINT %s",
			    b->l->old_ref, quote_name(name, b->a)),
		  NULL, "constraint %s of %s, for the rows that are there",
		  name, b->l->old_ref);
}

static const char *not_null_name(const struct ddl_build *b, const char *column)
{
	return arena_fmt(b->a, "%.*s", NAME_BYTES,
			 arena_fmt(b->a, "pgtandem_not_null_%s", column));
}

void ddl_promise_not_null(struct ddl_build *b, const char *column)
{
	ddl_promise(b, not_null_name(b, column),
		    arena_fmt(b->a, "CHECK (%s IS NOT NULL)",
			      quote_name(column, b->a)));
}

void ddl_set_not_null(struct ddl_build *b, const char *column)
{
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "ALTER TABLE %s ALTER COLUMN %s SET NOT NULL,"
			  " DROP CONSTRAINT IF EXISTS %s",
			  b->l->old_ref, quote_name(column, b->a),
			  quote_name(not_null_name(b, column), b->a)),
		"column %s must not be NULL", column);
}

void ddl_drop_not_null(struct ddl_build *b, const char *column)
{
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL,"
			  " DROP CONSTRAINT IF EXISTS %s",
			  b->l->old_ref, quote_name(column, b->a),
			  quote_name(not_null_name(b, column), b->a)),
		"column %s may be NULL", column);
}

/* What a build that failed has left. */
static void drop_invalid(struct ddl_build *b, const char *index)
{
	const char *condition = arena_fmt(
	    b->a,
	    "EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indexrelid"
	    " = pg_catalog.to_regclass(%s) AND NOT i.indisvalid)",
	    quote_text(index, b->a));

	ddl_ahead(b, DDL_NO_LOCK,
		  do_if(b, condition, arena_fmt(b->a, "DROP INDEX %s", index)),
		  NULL, "drop %s if its build has failed", index);
}

void ddl_build_index(struct ddl_build *b, const char *name, bool unique,
		     const char *definition)
{
	const char *index = quote_qualified(b->l->old->schema, name, b->a);

	drop_invalid(b, index);
	ddl_ahead(b, DDL_ALONE,
		  arena_fmt(b->a,
			    "CREATE %sINDEX CONCURRENTLY IF NOT EXISTS %s ON %s"
			    " %s",
			    unique ? "UNIQUE " : "", quote_name(name, b->a),
			    b->l->old_ref, definition),
		  NULL, "build index %s", name);
}

static void add_unless_there(struct ddl_build *b, const char *name,
			     const char *definition)
{
	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    do_if(b, arena_fmt(b->a, "NOT %s", is_there(b, name, "")),
		  arena_fmt(b->a, "ALTER TABLE %s ADD CONSTRAINT %s %s",
			    b->l->old_ref, quote_name(name, b->a), definition)),
	    "constraint %s of %s", name, b->l->old_ref);
}

void ddl_add_unique(struct ddl_build *b, const char *name,
		    const char *definition)
{
	static const char unique[] = "UNIQUE (";
	const char *rest = strstr(definition, " DEFERRABLE");
	const char *columns = definition + sizeof(unique) - 2;

	/* Another form than "UNIQUE (a, b)" is built by the constraint. */
	if (strncmp(definition, unique, sizeof(unique) - 1) != 0) {
		add_unless_there(b, name, definition);
		return;
	}
	if (rest == NULL)
		rest = definition + strlen(definition);
	ddl_build_index(
	    b, name, true,
	    arena_fmt(b->a, "%.*s", (int)(rest - columns), columns));
	add_unless_there(b, name,
			 arena_fmt(b->a, "UNIQUE USING INDEX %s%s",
				   quote_name(name, b->a), rest));
}

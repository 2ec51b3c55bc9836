/*
 * Syncs that wait for the end of the client's statement.
 *
 * A foreign key of the mirror is looked at when the sync of one row ends, and
 * not when the client's statement does.  What else that statement writes may
 * come later: a row that is referred to, or the end of one that refers.  So
 * where a statement has several writes, or may insert a row before the one that
 * it refers to, its rows are synced by L_to_new_late and L_to_old_late: a row
 * that a foreign key refuses is remembered in a setting of the transaction, and
 * a trigger behind the statement (pgtandem.sync_later, rewrite/ddl/ddl_state.c)
 * syncs what is there, again and again as long as that is of use.
 *
 * While a move is not complete, a row that is gone waits in any case:
 * an action of a foreign key that its end sets off in old might take rows away
 * that the statement is still about to delete.  Later its unique values are
 * free at once.
 *
 * While a sync runs, the setting is empty: what foreign keys do meanwhile ends
 * statements of their own.  Others pay for the trigger's condition alone; these
 * pay for a subtransaction with each row.
 */
#include "rewrite/ddl/ddl_names.h"
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

static const char *arguments(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key + (l->kind == LENS_TABLE); i++)
		sqltext_put(&t, ", $%zu", i + 2);
	return t.s;
}

/* What sync_later calls, in schema pgtandem. */
static const char *function_name(const struct lens *l, enum walk_direction d,
				 struct arena *a)
{
	return quote_text(
	    arena_fmt(a, "%s_%u_%s_unasked", l->migration, l->number,
		      d == WALK_TO_NEW ? "to_new" : "to_old"),
	    a);
}

/* Is there a row to sync?  Of a child lens there need be none. */
static const char *is_there(const struct lens *l, enum walk_direction d,
			    struct arena *a)
{
	struct mapping m;

	if (l->child != NULL)
		return "true";
	mapping_make(l, d, a, &m);
	return arena_fmt(
	    a,
	    "EXISTS (SELECT FROM %s AS s WHERE %s) OR NOT EXISTS"
	    " (SELECT FROM pgtandem.migration AS m WHERE m.name = %s"
	    " AND m.pending_from IN ('read_new', 'write_new')"
	    " AND m.phase IN ('read_new', 'write_new'))",
	    m.source_rows, ddl_key_is_argument(&m, "s", true, 2),
	    quote_text(l->migration, a));
}

void ddl_add_late_sync(struct ddl_build *b, enum walk_direction d,
		       const char *ref)
{
	const struct lens *l = b->l;
	const char *late = lens_late_ref(ref, b->a);

	ddl_add_function(
	    b, late, ddl_sync_arguments(b->l, b->a), "pg_catalog.text",
	    "VOLATILE SECURITY DEFINER",
	    arena_fmt(
		b->a,
		"DECLARE\n\tv_later pg_catalog.text := coalesce("
		"pg_catalog.current_setting('pgtandem.later', true), '');\n"
		"\tv_done pg_catalog.bool := false;\n"
		"BEGIN\n"
		"\tPERFORM pg_catalog.set_config('pgtandem.later', '', true);\n"
		"\tPERFORM pgtandem.fence(%s, $1);\n"
		"\tIF %s THEN\n\tBEGIN\n\tPERFORM %s($1%s);\n"
		"\tv_done := true;\n"
		"\tEXCEPTION WHEN foreign_key_violation THEN\n"
		"\tv_done := false;\n\tEND;\n\tEND IF;\n"
		"\tIF NOT v_done THEN\n"
		"\tv_later := pg_catalog.concat_ws(',', nullif(v_later, ''),"
		" pg_catalog.json_build_array(%s, %s));\n\tEND IF;\n"
		"\tPERFORM pg_catalog.set_config('pgtandem.later', v_later,"
		" true);\n\tRETURN NULL;\nEND",
		quote_text(l->migration, b->a), is_there(l, d, b->a), ref,
		arguments(l, b->a), function_name(l, d, b->a),
		ddl_arguments_as_text(l, 2, b->a)));
}

const char *ddl_late_trigger(const char *trigger, const char *events,
			     const char *relation, struct arena *a)
{
	return arena_fmt(
	    a,
	    "CREATE TRIGGER %s AFTER %s ON %s FOR EACH STATEMENT"
	    " WHEN (pg_catalog.current_setting('pgtandem.later', true)"
	    " OPERATOR(pg_catalog.<>) '')"
	    " EXECUTE FUNCTION pgtandem.sync_later()",
	    trigger, events, relation);
}

void ddl_create_late(struct ddl_build *b, const char *relation)
{
	const char *trigger = names_late_trigger(b->l, b->a);

	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a,
		      "DROP TRIGGER IF EXISTS %s ON %s;\n%s;\n"
		      "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
		      trigger, relation,
		      ddl_late_trigger(trigger, "INSERT OR UPDATE OR DELETE",
				       relation, b->a),
		      relation, trigger),
	    "create trigger %s on %s", trigger, relation);
}

void ddl_drop_late(struct ddl_build *b, const char *relation)
{
	const char *trigger = names_late_trigger(b->l, b->a);

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "DROP TRIGGER IF EXISTS %s ON %s", trigger,
			  relation),
		"drop trigger %s on %s", trigger, relation);
}

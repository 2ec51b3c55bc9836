/*
 * What belongs to a lens in schema pgtandem: its views, functions and
 * triggers (their names and purposes are in rewrite/lens/lens.h).
 *
 * The functions run inside clients' transactions, with whatever role,
 * isolation level, search_path and session_replication_role the client has
 * set.  So they are SECURITY DEFINER (a client need not have rights on both
 * models), pin their search_path, qualify every name, and name arguments by
 * number, since a name might be a column's.  The triggers are ENABLE ALWAYS.
 * Settings that change how values are written as text (DateStyle, TimeZone,
 * ...) are pinned only for lenses that convert such types: each costs time in
 * every call.
 *
 * Sync of one key is correct only in a fresh snapshot taken while the source
 * row is locked.  A VOLATILE function gets that for each of its statements in
 * READ COMMITTED, and its caller holds the lock: it has just written the row.
 */
#include <string.h>

#include "rewrite/ddl/ddl_names.h"
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

/* 1. The lens. */

/* A domain's default would be given to a column that no INSERT can fill. */
const char *ddl_lens_value(const struct lens *l, unsigned i, struct arena *a)
{
	const struct column *c = l->olds[i].column;
	const char *value = lens_reverse(l, i, "n.", a);

	return l->olds[i].carried || c->type_default == NULL
		   ? value
		   : arena_fmt(a, "CAST(%s AS %s)", value, c->base_type);
}

const char *ddl_lens_columns(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_old; i++)
		sqltext_item(&t, ", ", "%s AS %s",
			     ddl_lens_value(l, (unsigned)i, a),
			     quote_name(l->olds[i].column->name, a));
	for (size_t i = 0; i < l->n_new; i++)
		if (!l->news[i].carried && !l->news[i].extra)
			sqltext_item(&t, ", ", "n.%s AS %s",
				     quote_name(l->news[i].column->name, a),
				     ddl_new_name(l, i, a));
	return t.s;
}

/* Of a merge, the rows that have this half; the check option keeps an UPDATE
 * from taking its marker away. */
static const char *half_rows(const struct lens *l, struct arena *a)
{
	return l->half == NULL
		   ? ""
		   : arena_fmt(
			 a,
			 " WHERE n.%s IS NOT NULL WITH LOCAL CHECK"
			 " OPTION",
			 quote_name(l->new->columns[l->half->marker].name, a));
}

/* A view's column of a domain has the domain's default, where its table's
 * column may have another one. */
static const char *domain_defaults(const struct lens *l, struct arena *a)
{
	enum { FIRST_USER_OID = 16384 };
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;

		if (l->olds[i].carried && c->type_oid >= FIRST_USER_OID &&
		    c->default_expr != NULL && c->generated == 0)
			sqltext_put(&t,
				    ";\nALTER VIEW %s ALTER COLUMN %s"
				    " SET DEFAULT %s",
				    l->lens_ref, quote_name(c->name, a),
				    c->default_expr);
	}
	return t.s;
}

static void add_lens_of(struct ddl_build *b, const struct lens *l)
{
	const char *body = ddl_view_rights(
	    l->lens_ref, ddl_old_grants(l, l->lens_ref, b->a), b->a);

	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a,
		"DROP VIEW IF EXISTS %s;\n"
		"CREATE VIEW %s AS SELECT %s%s FROM %s AS n%s;\n"
		"DO LANGUAGE plpgsql %s%s",
		l->lens_ref, l->lens_ref, ddl_lens_columns(l, b->a),
		l->kind == LENS_TABLE ? ", n.ctid AS \"pgtandem.ctid\"" : "",
		l->new_ref, half_rows(l, b->a), quote_text(body, b->a),
		domain_defaults(l, b->a)),
	    "create view %s", l->lens_ref);
}

static void add_lenses(struct ddl_build *b)
{
	add_lens_of(b, b->l);
	for (size_t i = 0; i < b->l->n_earlier; i++)
		add_lens_of(b, b->l->earlier[i]);
}

/* 2. The functions. */

static bool text_is_unsteady(const char *type)
{
	static const char *const prefixes[] = {
	    "date", "time", "interval", "real", "double", "bytea",
	};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		if (strncmp(type, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

/* The control connections' own values (daemon/phase/db.c), so that the walker
 * and the functions agree. */
const char *ddl_pins(const struct lens *l)
{
	bool needed = false;

	for (size_t i = 0; i < l->n_old; i++)
		needed |= !l->olds[i].carried &&
			  text_is_unsteady(l->olds[i].column->type);
	for (size_t i = 0; i < l->n_new; i++)
		needed |= !l->news[i].carried && !l->news[i].extra &&
			  text_is_unsteady(l->news[i].column->type);
	for (size_t i = 0; i < l->n_key; i++)
		needed |=
		    text_is_unsteady(l->old->columns[l->key[i].old_index].type);
	return needed ? " SET DateStyle = 'ISO' SET TimeZone = 'UTC'"
			" SET IntervalStyle = 'iso_8601' SET "
			"extra_float_digits = 3"
			" SET bytea_output = 'hex'"
		      : "";
}

const char *ddl_key_types(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "%s",
			     l->old->columns[l->key[i].old_index].type);
	return t.s;
}

/* "s.k = $2 AND ...", arguments numbered from `first`. */
const char *ddl_key_is_argument(const struct mapping *m, const char *alias,
				bool source, size_t first)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, " AND ", "%s.%s = $%zu", alias,
			     source ? mapping_source_key(m, i)
				    : mapping_target_key(m, i),
			     first + i);
	return t.s;
}

const char *ddl_arguments_as_text(const struct lens *l, size_t first,
				  struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&t, ", ", "$%zu::pg_catalog.text", first + i);
	return t.s;
}

/* Whether a merge's row goes, or one half of it, must be asked of a row that
 * nobody can change. */
static const char *lock_half(const struct mapping *m)
{
	if (m->l->half == NULL || m->d == WALK_TO_OLD)
		return "";
	return arena_fmt(m->a, "PERFORM FROM %s AS t WHERE %s FOR UPDATE;\n\t",
			 m->target_ref, ddl_key_is_argument(m, "t", false, 2));
}

/*
 * An inserted row is looked for where it is: SERIALIZABLE remembers the reading
 * of an index, which an INSERT by itself does not do, and takes sessions that
 * only insert for ones that read what the others write.
 */
static const char *sync_at(const struct mapping *m)
{
	if (m->l->kind != LENS_TABLE)
		return "";
	return arena_fmt(
	    m->a,
	    "IF $%zu IS NOT NULL THEN\n\t%s;\n"
	    "\tIF FOUND THEN\n\tRETURN NULL;\n\tEND IF;\n\tEND IF;\n\t",
	    m->l->n_key + 2,
	    mapping_upsert(m, arena_fmt(m->a, "WHERE s.ctid = $%zu AND %s",
					m->l->n_key + 2,
					ddl_key_is_argument(m, "s", true, 2))));
}

/*
 * Until write_new's barrier has passed, other tables' foreign keys point at
 * old, and who has inserted a row that refers to this one keeps its key.
 */
static const char *sync_referred(const struct mapping *m)
{
	const char *key = ddl_key_is_argument(m, "t", false, 2);
	bool updates = false;

	for (size_t i = 0; i < m->target->n_columns; i++)
		updates |= mapping_is_updated(m, i);
	if (m->d != WALK_TO_OLD || relation_count_unique(m->target) < 2 ||
	    !updates)
		return "";
	return arena_fmt(m->a,
			 "IF v_prelock THEN\n\t%s;\n"
			 "\tIF FOUND OR %s THEN\n\tRETURN NULL;\n\tEND IF;\n"
			 "\tEND IF;\n\t",
			 mapping_update(m, key), mapping_is_equal(m, key));
}

/* The upsert does nothing when the target is equal already; asking whether
 * there is something to delete then costs less than telling the two apart. */
static const char *sync_key(const struct mapping *m)
{
	return arena_fmt(
	    m->a, "%s%s%s;\n\tIF NOT FOUND THEN\n\t%s%s;\n\tEND IF;",
	    sync_referred(m), sync_at(m),
	    mapping_upsert(m, arena_fmt(m->a, "WHERE %s",
					ddl_key_is_argument(m, "s", true, 2))),
	    lock_half(m),
	    mapping_delete(m,
			   arena_fmt(m->a, "WHERE %s",
				     ddl_key_is_argument(m, "t", false, 2))));
}

/* Is a row that the target refuses a finding, and not an error? */
static const char *is_lenient(enum walk_direction d)
{
	return d == WALK_TO_NEW
		   ? "m.on_violation = 'quarantine'"
		   : "m.on_violation = 'quarantine' OR m.old_stale";
}

/*
 * The sync of a row that must be accepted.
 *
 * ON CONFLICT arbitrates by the key alone: while the walker inserts the same
 * row, another unique index of the target may refuse it first.  A fresh
 * snapshot then sees the walker's row, so the sync is tried again; a real
 * violation stays one.  Each try is a subtransaction, which makes a sync half
 * as expensive again, so there are none where the key's index is alone.  (The
 * new relation may not be there yet; then its indexes are those of the old.
 * One that is made later stands behind the key's, and those are asked in the
 * order in which they were made.)
 */
static const char *strict_sync(const struct lens *l, const char *sync,
			       struct arena *a)
{
	if (relation_count_unique(l->old) < 2 &&
	    relation_count_unique(l->new) < 2)
		return arena_fmt(a,
				 "\tIF v_lenient IS NOT TRUE THEN\n\t%s\n"
				 "\tRETURN NULL;\n\tEND IF;\n",
				 sync);
	return arena_fmt(a,
			 "\tFOR v_try IN 1 .. 5 LOOP\n"
			 "\tEXIT WHEN v_lenient IS TRUE;\n\tBEGIN\n\t%s\n"
			 "\tRETURN NULL;\n\tEXCEPTION WHEN unique_violation"
			 " OR exclusion_violation THEN\n"
			 "\tIF v_try = 5 THEN\n\tRAISE;\n\tEND IF;\n"
			 "\tEND;\n\tEND LOOP;\n",
			 sync);
}

const char *ddl_sync_arguments(const struct lens *l, struct arena *a)
{
	return arena_fmt(
	    a, "pg_catalog.int8, %s%s", ddl_key_types(l, a),
	    l->kind == LENS_TABLE ? ", pg_catalog.tid DEFAULT NULL" : "");
}

static void add_sync_as(struct ddl_build *b, enum walk_direction d,
			const char *ref, const char *sync, const char *target,
			bool asked)
{
	const char *name = quote_text(b->l->migration, b->a);

	ddl_add_function(
	    b, ref, ddl_sync_arguments(b->l, b->a), "pg_catalog.text",
	    "VOLATILE SECURITY DEFINER",
	    arena_fmt(
		b->a,
		"DECLARE\n\tv_epoch pg_catalog.int8;\n"
		"\tv_lenient pg_catalog.bool;\n\tv_prelock pg_catalog.bool;\n"
		"\tv_due pg_catalog.bool;\n%s"
		"BEGIN\n\tSELECT m.epoch, %s, m.prelock, %s"
		" INTO v_epoch, v_lenient, v_prelock, v_due\n"
		"\tFROM pgtandem.migration AS m WHERE m.name = %s;\n"
		"\tIF v_epoch > $1 + 1 THEN\n"
		"\tRAISE EXCEPTION USING ERRCODE = '57P03', MESSAGE ="
		" pg_catalog.format('pgtandem: migration %%s is at epoch %%s,"
		" this statement was made at %%s', %s, v_epoch, $1),"
		" HINT = 'Run the transaction again.';\n\tEND IF;\n"
		"%s%s%s\tBEGIN\n\t%s\n"
		"\tEXCEPTION WHEN integrity_constraint_violation OR"
		" data_exception OR raise_exception THEN\n"
		"\tPERFORM pgtandem.note_finding(%s, %u, 'violation', %s,"
		" ARRAY[%s], SQLSTATE || ': ' || SQLERRM);\n"
		"\tEND;\n\tRETURN NULL;\nEND",
		asked ? ddl_role : "", is_lenient(d), ddl_is_due(d), name, name,
		asked ? ddl_ask_due(b->l, b->a) : "",
		asked ? ddl_ask_writer(b->l, b->a) : "",
		strict_sync(b->l, sync, b->a), sync, name, b->l->number,
		quote_text(target, b->a),
		ddl_arguments_as_text(b->l, 2, b->a)));
}

void ddl_add_sync(struct ddl_build *b, enum walk_direction d, const char *ref,
		  const char *sync, const char *target)
{
	const char *unasked = ddl_unasked(ref, b->a);

	add_sync_as(b, d, ref, sync, target, true);
	add_sync_as(b, d, unasked, sync, target, false);
	ddl_add_late_sync(b, d, ref);
	ddl_keep_to_ourselves(
	    b, unasked,
	    arena_fmt(b->a, "pg_catalog.int8, %s%s", ddl_key_types(b->l, b->a),
		      b->l->kind == LENS_TABLE ? ", pg_catalog.tid" : ""));
}

static void add_sync(struct ddl_build *b, enum walk_direction d,
		     const char *ref)
{
	struct mapping m;

	mapping_make(b->l, d, b->a, &m);
	ddl_add_sync(b, d, ref, sync_key(&m), m.target_ref);
}

/* The strength of the write that follows: true for one that takes the key. */
static void add_lock_old(struct ddl_build *b)
{
	struct mapping m;
	const char *key;

	mapping_make(b->l, WALK_TO_NEW, b->a, &m);
	key = ddl_key_is_argument(&m, "s", true, 1);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s(%s, pg_catalog.bool "
			  "DEFAULT false)"
			  " RETURNS pg_catalog.bool"
			  " LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
			  " SET search_path = %s AS $pgtandem$\n"
			  "DECLARE\n%sBEGIN\n%s\tIF $%zu THEN\n"
			  "\tPERFORM FROM %s AS s WHERE %s FOR UPDATE;\n"
			  "\tELSE\n"
			  "\tPERFORM FROM %s AS s WHERE %s FOR NO KEY UPDATE;\n"
			  "\tEND IF;\n"
			  "\tRETURN true;\nEND\n$pgtandem$",
			  b->l->lock_old_ref, ddl_key_types(b->l, b->a),
			  mapping_key_path(b->l, b->a), ddl_role,
			  ddl_ask_writer(b->l, b->a), b->l->n_key + 1,
			  b->l->old_ref, key, b->l->old_ref, key),
		"create function %s", b->l->lock_old_ref);
}

void ddl_create_objects(struct ddl_build *b)
{
	ddl_add_shape(b);
	ddl_grant_sequences(b);
	add_lenses(b);
	ddl_create_cut(b);
	add_sync(b, WALK_TO_NEW, b->l->to_new_ref);
	add_sync(b, WALK_TO_OLD, b->l->to_old_ref);
	add_lock_old(b);
	ddl_create_copies(b);
}

void ddl_drop_views(struct ddl_build *b)
{
	ddl_drop_matches(b);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "DROP VIEW IF EXISTS %s, %s", b->l->lens_ref,
			  b->l->shape_ref),
		"drop views %s and %s", b->l->lens_ref, b->l->shape_ref);
	ddl_drop_cut(b);
	for (size_t i = 0; i < b->l->n_earlier; i++)
		ddl_add(b, DDL_NO_LOCK,
			arena_fmt(b->a, "DROP VIEW IF EXISTS %s",
				  b->l->earlier[i]->lens_ref),
			"drop view %s", b->l->earlier[i]->lens_ref);
}

/* The lenses of earlier migrations that lead to the relation about to go:
 * from write_new on theirs lead past it. */
void ddl_drop_earlier_views(struct ddl_build *b)
{
	const char *body = arena_fmt(
	    b->a,
	    "DECLARE v_view pg_catalog.regclass; BEGIN FOR v_view IN"
	    " SELECT DISTINCT r.ev_class::pg_catalog.regclass"
	    " FROM pg_catalog.pg_depend AS d"
	    " JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid"
	    " JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class"
	    " WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
	    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	    " AND d.refobjid = %s::pg_catalog.regclass"
	    " AND c.relnamespace = 'pgtandem'::pg_catalog.regnamespace"
	    " LOOP EXECUTE pg_catalog.format('DROP VIEW %%s', v_view);"
	    " END LOOP; END",
	    quote_text(b->l->old_ref, b->a));

	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a, "DO LANGUAGE plpgsql %s", quote_text(body, b->a)),
	    "drop earlier migrations' views of %s", b->l->old_ref);
}

void ddl_drop_functions(struct ddl_build *b)
{
	const struct lens *l = b->l;

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP FUNCTION IF EXISTS %s, %s, %s, %s, %s, %s, %s",
			  l->to_new_ref, l->to_old_ref, l->lock_old_ref,
			  ddl_unasked(l->to_new_ref, b->a),
			  ddl_unasked(l->to_old_ref, b->a),
			  lens_late_ref(l->to_new_ref, b->a),
			  lens_late_ref(l->to_old_ref, b->a)),
		"drop the functions of %s_%u", l->migration, l->number);
}

/* 3. The triggers that follow a changed key. */

static const char *key_columns(const struct mapping *m)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, ", ", "%s", mapping_source_key(m, i));
	return t.s;
}

/*
 * The mirror of a row whose key has changed is changed too, and not put in the
 * place of another: who waits for its lock goes on with the row that it has
 * become.  This is not to be mirrored back.  A merge's row may be two, and
 * GENERATED ALWAYS takes no value.
 */
static const char *move_key(const struct mapping *m)
{
	struct sqltext set, was, becomes, same, changed;

	sqltext_begin(&set, m->a);
	sqltext_begin(&was, m->a);
	sqltext_begin(&becomes, m->a);
	sqltext_begin(&same, m->a);
	sqltext_begin(&changed, m->a);
	for (size_t i = 0; i < m->l->n_key; i++) {
		const char *source = mapping_source_key(m, i);
		const char *target = mapping_target_key(m, i);

		if (m->l->half != NULL ||
		    mapping_key_column(m, i)->identity == 'a')
			return "";
		sqltext_item(&set, ", ", "%s = NEW.%s", target, source);
		sqltext_item(&was, " AND ", "t.%s = OLD.%s", target, source);
		sqltext_item(&becomes, " AND ", "o.%s = NEW.%s", target,
			     source);
		sqltext_item(&same, " AND ", "t.%s = NEW.%s", target, source);
		sqltext_item(&changed, " OR ", "%s",
			     mapping_differ_one(
				 mapping_key_column(m, i),
				 arena_fmt(m->a, "OLD.%s", source),
				 arena_fmt(m->a, "NEW.%s", source), m->a));
	}
	return arena_fmt(
	    m->a,
	    "IF pg_catalog.current_setting('pgtandem.moving', true) = 'on'"
	    " THEN\n\tRETURN NULL;\n\tEND IF;\n\tIF %s THEN\n"
	    "\tPERFORM pg_catalog.set_config('pgtandem.moving', 'on', true);\n"
	    "\tUPDATE %s AS t SET %s WHERE %s AND (%s OR NOT EXISTS"
	    " (SELECT FROM %s AS o WHERE %s));\n"
	    "\tPERFORM pg_catalog.set_config('pgtandem.moving', 'off', true);"
	    "\n\tEND IF;\n\t",
	    changed.s, m->target_ref, set.s, was.s, same.s, m->target_ref,
	    becomes.s);
}

/*
 * An UPDATE whose SET names a key column is synced by this trigger alone, so
 * it runs even where the key keeps its value (an object mapper sets every
 * column): it has no WHEN.
 * No epoch goes with its calls: it is there only while it is right that it
 * runs.
 */
static void add_moved(struct ddl_build *b, enum walk_direction d)
{
	bool to_new = d == WALK_TO_NEW;
	const char *function =
	    lens_own_ref(b->l, to_new ? "moved_old" : "moved_new", b->a);
	const char *sync =
	    ddl_unasked(to_new ? b->l->to_new_ref : b->l->to_old_ref, b->a);
	const char *trigger = names_moved_trigger(b->l, b->a);
	struct mapping m;

	mapping_make(b->l, d, b->a, &m);
	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(
		b->a,
		"CREATE OR REPLACE FUNCTION %s() RETURNS trigger"
		" LANGUAGE plpgsql VOLATILE SECURITY DEFINER"
		" SET search_path = %s AS $pgtandem$\n"
		"BEGIN\n\t%sPERFORM %s(NULL, %s);\n\tPERFORM %s(NULL, %s);\n"
		"\tRETURN NULL;\nEND\n$pgtandem$;\n"
		"REVOKE ALL ON FUNCTION %s() FROM PUBLIC;\n"
		"DROP TRIGGER IF EXISTS %s ON %s;\n"
		"CREATE TRIGGER %s AFTER UPDATE OF %s ON %s FOR EACH ROW"
		" EXECUTE FUNCTION %s();\n"
		"ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
		function, mapping_key_path(b->l, b->a), move_key(&m), sync,
		mapping_source_keys(&m, "OLD."), sync,
		mapping_source_keys(&m, "NEW."), function, trigger,
		m.source_ref, trigger, key_columns(&m), m.source_ref, function,
		m.source_ref, trigger),
	    "create trigger %s on %s", trigger, m.source_ref);
}

void ddl_create_triggers(struct ddl_build *b)
{
	add_moved(b, WALK_TO_NEW);
	add_moved(b, WALK_TO_OLD);
	ddl_create_late(b, b->l->old_ref);
	ddl_create_late(b, b->l->new_ref);
}

/* A session that was still at new_only, where the key trigger was not there
 * to be kept, may have disabled all. */
void ddl_enable_triggers(struct ddl_build *b)
{
	const char *trigger = names_moved_trigger(b->l, b->a);

	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a,
		      "ALTER TABLE %s ENABLE ALWAYS TRIGGER %s,"
		      " ENABLE ALWAYS TRIGGER %s",
		      b->l->new_ref, trigger, names_late_trigger(b->l, b->a)),
	    "enable trigger %s on %s", trigger, b->l->new_ref);
}

void ddl_drop_triggers(struct ddl_build *b)
{
	const char *trigger = names_moved_trigger(b->l, b->a);

	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a,
			  "DROP TRIGGER IF EXISTS %s ON %s;\n"
			  "DROP TRIGGER IF EXISTS %s ON %s;\n"
			  "DROP FUNCTION IF EXISTS %s, %s",
			  trigger, b->l->old_ref, trigger, b->l->new_ref,
			  lens_own_ref(b->l, "moved_old", b->a),
			  lens_own_ref(b->l, "moved_new", b->a)),
		"drop triggers %s", trigger);
	ddl_drop_late(b, b->l->old_ref);
	ddl_drop_late(b, b->l->new_ref);
}

/* 4. The data that pgtandem has copied. */

void ddl_empty_new(struct ddl_build *b)
{
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "TRUNCATE TABLE ONLY %s", b->l->new_ref),
		"empty table %s", b->l->new_ref);
}

void ddl_forget_walk(struct ddl_build *b)
{
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a,
		"DELETE FROM pgtandem.walk WHERE migration = %s AND lens = %u;"
		"\nDELETE FROM pgtandem.finding"
		" WHERE migration = %s AND lens = %u",
		quote_text(b->l->migration, b->a), b->l->number,
		quote_text(b->l->migration, b->a), b->l->number),
	    "forget earlier walks and findings");
}

void ddl_forget_column(struct ddl_build *b, const char *name)
{
	ddl_add(
	    b, DDL_LOCKS_SOURCE,
	    arena_fmt(b->a, "SELECT pgtandem.forget_column(%s, %s)",
		      quote_text(b->l->old_ref, b->a), quote_text(name, b->a)),
	    "drop what an ended migration has left on %s of %s", name,
	    b->l->old_ref);
}

void ddl_add_function(struct ddl_build *b, const char *ref,
		      const char *arguments, const char *returns,
		      const char *kind, const char *body)
{
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a,
		      "CREATE OR REPLACE FUNCTION %s(%s) RETURNS %s"
		      " LANGUAGE plpgsql %s SET search_path = %s%s"
		      " AS $pgtandem$\n#variable_conflict use_column\n"
		      "%s\n$pgtandem$",
		      ref, arguments, returns, kind,
		      mapping_search_path(b->l, b->a), ddl_pins(b->l), body),
	    "create function %s", ref);
}

#include "daemon/phase/preflight.h"

#include <stdio.h>
#include <string.h>

#include "daemon/phase/db.h"
#include "rewrite/ddl/ddl.h"

/*
 * Every check gets the old relation's oid ($1), the key's columns ($2, a
 * text array), its name ($3), the new relation's schema ($4) and name ($5),
 * `triggers: ignore` ($6), whether nothing has begun ($7), the columns
 * that are not converted ($8), whether its rows go to another table as a
 * whole ($9) and, of a merge, how it hangs together with the other old one
 * ($10: alone, leads or follows; else empty), the foreign key that makes it so
 * ($11) and its relation ($12), whether that deletes ($13) and moves ($14) with
 * the leader's row, and the columns whose values are the same in the new one
 * ($15); and gives rows of severity, what, detail and hint.  `old`
 * is pg_class's row; in_place: it is the new relation too.
 */
#define OLD \
	"WITH given AS (SELECT $1::oid AS oid, $2::text[] AS key," \
	" $3::text AS name, $4::text AS new_schema, $5::text AS new_name," \
	" $6::bool AS ignored, $7::bool AS planned, $8::text[] AS carried," \
	" $9::bool AS leaves, $10::text AS merged, $11::text AS tie," \
	" $12::oid AS tied, $13::bool AS deletes, $14::bool AS moves," \
	" $15::text[] AS kept)," \
	" old AS (SELECT c.*, g.key, g.name, g.new_schema, g.new_name," \
	" g.ignored, g.planned, g.carried, g.leaves, g.merged, g.tie," \
	" g.tied, g.deletes, g.moves AS moves_key, g.kept," \
	" c.oid::regclass::text AS ref," \
	" c.oid IS NOT DISTINCT FROM to_regclass(format('%I.%I'," \
	" g.new_schema, g.new_name)) AS in_place" \
	" FROM given g JOIN pg_class c ON c.oid = g.oid) "

static const char *const checks[] = {
    /* An ordinary table. */
    OLD
    "SELECT 'blocks', ref || ' is not an ordinary table', CASE relkind"
    " WHEN 'p' THEN 'it is partitioned' WHEN 'v' THEN 'it is a view'"
    " WHEN 'm' THEN 'it is a materialized view'"
    " WHEN 'f' THEN 'it is a foreign table'"
    " ELSE 'its kind is ' || relkind::text END,"
    " 'Only ordinary tables can be migrated.' FROM old WHERE relkind <> 'r'",
    OLD "SELECT 'blocks', ref || ' is part of an inheritance tree',"
	" string_agg(i.inhparent::regclass || ' is the parent of ' ||"
	" i.inhrelid::regclass, ', '),"
	" 'Detach it: rows of children have no key of their own here.'"
	" FROM old JOIN pg_inherits i ON old.oid IN (i.inhparent, i.inhrelid)"
	" GROUP BY ref",
    OLD "SELECT 'blocks', t.tgrelid::regclass || ' is what an earlier"
	" migration has left', obj_description(t.tgrelid, 'pg_class'),"
	" format('DROP TABLE %s', t.tgrelid::regclass) FROM old"
	" JOIN pg_trigger t ON t.tgname = 'pgtandem_husk' AND t.tgrelid IN"
	" (old.oid, to_regclass(format('%I.%I', new_schema, new_name)))",
    OLD "SELECT 'blocks', ref || ' is temporary', NULL,"
	" 'Name a permanent table.' FROM old WHERE relpersistence = 't'",

    /* The key identifies a row. */
    OLD "SELECT 'blocks', format('key column %I of %s may be null',"
	" a.attname, ref), NULL, format('ALTER TABLE %s ALTER %I SET NOT NULL',"
	" ref, a.attname) FROM old JOIN pg_attribute a ON a.attrelid = old.oid"
	" WHERE a.attname = ANY (key) AND NOT a.attnotnull",
    OLD "SELECT 'blocks', format('the key of %s (%s) is not unique', ref,"
	" array_to_string(key, ', ')), 'no valid, immediate unique index has"
	" exactly these columns', 'Create one, or name a key that has one.'"
	" FROM old WHERE NOT EXISTS (SELECT FROM pg_index i"
	"  WHERE i.indrelid = old.oid AND i.indisunique AND i.indisvalid"
	"  AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL"
	"  AND (SELECT array_agg(a.attname::text ORDER BY a.attname)"
	"   FROM pg_attribute a WHERE a.attrelid = old.oid"
	"   AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) ="
	"   (SELECT array_agg(k ORDER BY k COLLATE \"C\")"
	"   FROM unnest(key) k))",

    /* What the control role may do. */
    OLD "SELECT 'blocks', format('control role %s may not act as the owner"
	" of %s', current_user, ref), format('the owner is %s', relowner::"
	"regrole), format('GRANT %s TO %s', relowner::regrole, current_user)"
	" FROM old WHERE NOT pg_has_role(current_user, relowner, 'USAGE')",
    OLD "SELECT 'blocks', format('control role %s may not create in schema"
	" %I', current_user, new_schema), NULL, format('GRANT CREATE ON SCHEMA"
	" %I TO %s', new_schema, current_user) FROM old"
	" WHERE NOT has_schema_privilege(new_schema, 'CREATE')",
    OLD "SELECT 'blocks', format('control role %s may not see other"
	" sessions'' transactions', current_user), 'barriers wait for them',"
	" format('GRANT pg_read_all_stats TO %s', current_user)"
	" FROM old WHERE NOT pg_has_role(current_user, 'pg_read_all_stats',"
	" 'USAGE')",
    OLD "SELECT 'blocks', 'PostgreSQL ' || current_setting('server_version')"
	" || ' is too old', NULL, 'Version 12 or later is needed.' FROM old"
	" WHERE current_setting('server_version_num')::int < 120000",

    /* What acts on rows inside the server. */
    OLD "SELECT 'blocks', ref || ' has row security', string_agg("
	" p.polname, ', '), 'Its policies would not hold on the new model:"
	" not supported yet.' FROM old LEFT JOIN pg_policy p"
	" ON p.polrelid = old.oid WHERE relrowsecurity GROUP BY ref",
    OLD "SELECT 'blocks', format('rule %I on %s', r.rulename, ref), NULL,"
	" 'Rules change what a statement does behind the proxy: drop it.'"
	" FROM old JOIN pg_rewrite r ON r.ev_class = old.oid"
	" WHERE r.rulename <> '_RETURN'",
    OLD "SELECT CASE WHEN ignored OR in_place THEN 'warning' ELSE 'blocks'"
	" END,"
	" format('trigger %I on %s', t.tgname, ref), pg_get_triggerdef(t.oid),"
	" CASE WHEN in_place THEN 'It goes on firing; what it does with the"
	" old columns must be gone before contracted.' WHEN ignored THEN 'It "
	"fires on old only; nothing fires on new.'"
	" ELSE 'Triggers are not moved yet: `triggers: ignore` leaves it on"
	" old, where it also fires for rows synced from new.' END"
	" FROM old JOIN pg_trigger t ON t.tgrelid = old.oid"
	" JOIN pg_proc p ON p.oid = t.tgfoid"
	" WHERE NOT t.tgisinternal"
	" AND p.pronamespace::regnamespace::text <> 'pgtandem'",
    OLD "SELECT CASE WHEN moves THEN 'warning' ELSE 'blocks' END,"
	" format('foreign key %I of %s points at %s', k.conname,"
	" k.conrelid::regclass, ref), pg_get_constraintdef(k.oid), CASE WHEN"
	" moves THEN 'It points at the new model from write_new on, and at"
	" the old again on the way back.' ELSE 'It has a converted column:"
	" drop it for the time of the migration.' END FROM old"
	" JOIN pg_constraint k ON k.confrelid = old.oid AND k.contype = 'f',"
	" LATERAL (SELECT bool_and(a.attname = ANY (carried)) AS moves"
	"  FROM pg_attribute a WHERE a.attrelid = old.oid AND (a.attnum ="
	"  ANY (k.confkey) OR (k.conrelid = old.oid AND a.attnum ="
	"  ANY (k.conkey)))) AS m WHERE k.conparentid = 0"
	" AND (leaves OR NOT moves) AND (k.conname, k.conrelid) IS DISTINCT"
	" FROM (tie, tied)",
    OLD "SELECT DISTINCT 'blocks', format('control role %s may not act as"
	" the owner of %s', current_user, k.conrelid::regclass),"
	" 'it has a foreign key that points at ' || ref,"
	" format('GRANT %s TO %s', c.relowner::regrole, current_user)"
	" FROM old JOIN pg_constraint k ON k.confrelid = old.oid"
	"  AND k.contype = 'f' JOIN pg_class c ON c.oid = k.conrelid"
	" WHERE leaves AND NOT pg_has_role(current_user, c.relowner, 'USAGE')",
    OLD "SELECT CASE WHEN converted THEN 'blocks' ELSE 'warning' END,"
	" format('foreign key %I of %s', k.conname, ref),"
	" pg_get_constraintdef(k.oid) || CASE WHEN acts AND NOT converted THEN"
	" ' (its action changes rows behind the proxy: old and new both have"
	" it)' ELSE '' END,"
	" CASE WHEN (k.conname, k.conrelid) = (tie, tied) THEN 'In the new"
	" table it is a trigger.' WHEN converted THEN 'It has a"
	" converted column, so that its action would change old alone: drop it"
	" for the time of the migration.' ELSE 'The new model gets the"
	" same.' END"
	" FROM old JOIN pg_constraint k"
	" ON k.conrelid = old.oid AND k.contype = 'f',"
	" LATERAL (SELECT k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN"
	"  ('c', 'n', 'd') AS acts, leaves AND NOT bool_and(a.attname ="
	"  ANY (kept)) AS converted FROM pg_attribute a"
	"  WHERE a.attrelid = old.oid AND a.attnum = ANY (k.conkey)) AS c"
	" WHERE k.confrelid <> old.oid AND (acts OR NOT converted)",

    /* A row of a merge may be there without its half. */
    OLD "SELECT 'blocks', format('foreign key %I of %s points at %s',"
	" k.conname, k.conrelid::regclass, ref), pg_get_constraintdef(k.oid),"
	" 'A row of the new table may be there without this half of it: drop"
	" the constraint for the time of the migration.' FROM old"
	" JOIN pg_constraint k ON k.confrelid = old.oid AND k.contype = 'f'"
	" WHERE merged IN ('alone', 'follows')",
    OLD "SELECT 'blocks', format('foreign key %I of %s has an action',"
	" k.conname, ref), pg_get_constraintdef(k.oid), 'It would change both"
	" halves of a row of the new table: drop it, or its action, for the"
	" time of the migration.' FROM old JOIN pg_constraint k"
	" ON k.conrelid = old.oid AND k.contype = 'f',"
	" LATERAL (SELECT bool_or(a.attname = ANY (key)) AS of_key,"
	"  bool_or(a.attnotnull) AS needed FROM pg_attribute a"
	"  WHERE a.attrelid = old.oid AND a.attnum = ANY (k.conkey)) AS c"
	" WHERE merged <> '' AND (k.conname, k.conrelid) IS DISTINCT FROM"
	" (tie, tied) AND (k.confdeltype = 'd' OR k.confupdtype IN ('n', 'd')"
	"  OR (k.confdeltype = 'n' AND c.needed)"
	"  OR (k.confdeltype = 'c' AND NOT (merged = 'leads' AND deletes))"
	"  OR (k.confupdtype = 'c' AND c.of_key AND NOT"
	"   (merged = 'leads' AND moves_key)))",

    /* A table that stays, as another one, changes its row type. */
    OLD "SELECT 'blocks', format('column %I of %s has the row type of %s',"
	" a.attname, c.oid::regclass, ref), NULL, 'Its values would get the"
	" new columns and lose the old ones: give it a type of its own.'"
	" FROM old JOIN pg_type t ON t.oid = old.reltype JOIN pg_attribute a"
	" ON a.atttypid IN (t.oid, t.typarray) AND NOT a.attisdropped"
	" JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN"
	" ('r', 'p', 'm', 'c') WHERE NOT leaves AND planned",

    /* What reads or names the old model. */
    OLD "SELECT DISTINCT 'warning', format('%s %s reads %s', CASE v.relkind"
	" WHEN 'm' THEN 'materialized view' ELSE 'view' END, v.oid::regclass,"
	" ref), NULL, 'It goes on reading old: redefine it over the new model"
	" in write_new; contracted is refused until then.' FROM old"
	" JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass"
	"  AND d.refobjid = old.oid AND d.classid = 'pg_rewrite'::regclass"
	" JOIN pg_rewrite r ON r.oid = d.objid"
	" JOIN pg_class v ON v.oid = r.ev_class"
	" WHERE v.oid <> old.oid AND v.relnamespace::regnamespace::text <>"
	" 'pgtandem'",
    OLD
    "SELECT 'warning', format('function %s names %s', f.oid::"
    "regprocedure, name), NULL, 'Calls of it are not seen by the proxy:"
    " what it writes is not synced, and from new_only on it misses what is"
    " written to new. Change it.' FROM old JOIN pg_proc f"
    " ON f.prosrc ~* ('\\m' || regexp_replace(name, '(\\W)', '\\\\\\1', 'g')"
    " || '\\M') WHERE f.pronamespace::regnamespace::text NOT IN"
    " ('pg_catalog', 'information_schema', 'pgtandem')",
    OLD "SELECT 'warning', format('publication %I has %s', p.pubname, ref),"
	" CASE WHEN p.puballtables THEN 'it has all tables' END,"
	" 'Subscribers see the new model as a table of its own: add it there"
	" and to the publication.' FROM old JOIN pg_publication p"
	" ON p.puballtables OR EXISTS (SELECT FROM pg_publication_rel x"
	"  WHERE x.prpubid = p.oid AND x.prrelid = old.oid)",
    OLD "SELECT 'warning', format('%I.%I exists already', new_schema,"
	" new_name), NULL, 'The move into expanded takes it as the new model if"
	" it fits, or fails.' FROM old WHERE planned AND "
	"to_regclass(format('%I.%I',"
	" new_schema, new_name)) IS NOT NULL AND to_regclass(format('%I.%I',"
	" new_schema, new_name)) <> old.oid",
};

/* Arrays travel as text: {"a","b\"c"}. */
static const char *array_add(struct job *j, const char *all, const char *name)
{
	char *quoted = arena_alloc(&j->arena, 2 * strlen(name) + 1);
	char *to = quoted;

	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			*to++ = '\\';
		*to++ = *name;
	}
	return arena_fmt(&j->arena, "%s%s\"%s\"", all, all[0] ? "," : "",
			 quoted);
}

static const char *key_array(struct job *j, const struct spec_lens *l)
{
	const char *all = "";

	for (size_t i = 0; i < l->n_key; i++)
		all = array_add(j, all, l->key[i].old);
	return arena_fmt(&j->arena, "{%s}", all);
}

static const char *carried_array(struct job *j, const struct lens *l)
{
	const char *all = "";

	for (size_t i = 0; i < l->n_old; i++)
		if (l->olds[i].carried)
			all = array_add(j, all, l->olds[i].column->name);
	return arena_fmt(&j->arena, "{%s}", all);
}

static const char *kept_array(struct job *j, const struct lens *l)
{
	const char *all = "";

	for (unsigned i = 0; i < l->n_old; i++)
		if (lens_keeps_value(l, i))
			all = array_add(j, all, l->olds[i].column->name);
	return arena_fmt(&j->arena, "{%s}", all);
}

static const char *const links[] = {
    [HALF_ALONE] = "alone",
    [HALF_LEADS] = "leads",
    [HALF_FOLLOWS] = "follows",
};

static bool lens_check(struct job *j, unsigned i, control_row_fn row, void *arg,
		       struct problem *p)
{
	const struct spec_lens *l = &j->spec->lenses[i];
	const struct lens_half *half = j->lenses[i]->half;
	bool tied = half && half->tie;
	char oid[16], tied_oid[16] = "0";
	const char *const params[] = {
	    oid,
	    key_array(j, l),
	    l->old.name,
	    l->new.schema ? l->new.schema : l->old.schema,
	    l->new.name ? l->new.name : l->old.name,
	    j->spec->triggers == TRIGGERS_IGNORE ? "t" : "f",
	    j->row.phase == PHASE_PLANNED ? "t" : "f",
	    carried_array(j, j->lenses[i]),
	    l->kind == LENS_TABLE || l->half ? "t" : "f",
	    half ? links[half->link] : "",
	    tied ? half->tie->name : "",
	    tied_oid,
	    tied && half->deletes ? "t" : "f",
	    tied && half->moves ? "t" : "f",
	    kept_array(j, j->lenses[i]),
	};

	snprintf(oid, sizeof(oid), "%u", j->lenses[i]->old->oid);
	if (tied)
		snprintf(tied_oid, sizeof(tied_oid), "%u",
			 half->link == HALF_FOLLOWS ? j->lenses[i]->old->oid
						    : half->other->old->oid);
	for (size_t k = 0; k < sizeof(checks) / sizeof(checks[0]); k++) {
		PGresult *r =
		    db_query(j->db, p, checks[k],
			     sizeof(params) / sizeof(*params), params);

		if (!r)
			return false;
		for (int n = 0; n < PQntuples(r); n++)
			row(arg, (const char *const[]){
				     db_text(r, n, 0), db_text(r, n, 1),
				     db_text(r, n, 2), db_text(r, n, 3)});
		PQclear(r);
	}
	return true;
}

static bool is_acknowledged(const struct spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->n_leave_out; i++)
		if (strcmp(spec->leave_out[i], name) == 0)
			return true;
	return false;
}

static void loss_show(struct job *j, const struct ddl_step *step,
		      control_row_fn row, void *arg)
{
	bool blocks = j->row.phase == PHASE_PLANNED &&
		      !is_acknowledged(j->spec, step->loses);
	const char *hint =
	    arena_fmt(&j->arena,
		      "From new_only on it keeps no row out: give the new "
		      "model what does, under `expand`, or do without; and "
		      "name it in %s under `leave_out`.",
		      j->spec->file);

	row(arg, (const char *const[]){blocks ? "blocks" : "warning",
				       step->what, NULL, blocks ? hint : NULL});
}

/* What refuses rows of the old model and has no twin in the new one. */
static void losses_show(struct job *j, const struct lens *l, control_row_fn row,
			void *arg)
{
	bool generated = j->spec->ddl == DDL_GENERATED;
	struct ddl_list list;

	for (int at = 2 * PHASE_PLANNED; at < 2 * PHASE_CONTRACTED; at++) {
		enum phase from = at / 2;

		ddl_for_move(l, from, from + 1, at % 2 == 0, generated,
			     &j->arena, &list);
		for (size_t i = 0; i < list.n; i++)
			if (list.steps[i].loses != NULL)
				loss_show(j, &list.steps[i], row, arg);
	}
}

bool preflight_show(struct job *j, control_row_fn row, void *arg,
		    struct problem *p)
{
	struct problem misfit;

	uv_mutex_lock(&j->control->lock);
	misfit = j->m->misfit;
	uv_mutex_unlock(&j->control->lock);
	if (misfit.message[0])
		row(arg, (const char *const[]){
			     "blocks", misfit.message,
			     misfit.detail[0] ? misfit.detail : NULL,
			     misfit.hint[0] ? misfit.hint : NULL});
	for (unsigned i = 0; i < j->spec->n_lenses; i++) {
		if (!lens_check(j, i, row, arg, p))
			return false;
		losses_show(j, j->lenses[i], row, arg);
	}
	return true;
}

struct gate {
	struct job *job;
	struct problem *p;
	unsigned blocks;
	const char *reasons;
	const char *hint;
};

static void on_row(void *arg, const char *const *v)
{
	struct gate *g = arg;
	struct arena *a = &g->job->arena;

	if (strcmp(v[0], "blocks") != 0) {
		job_notice(g->job, "%s: %s", v[0], v[1]);
		return;
	}
	g->reasons =
	    arena_fmt(a, "%s%s%s%s%s", g->reasons, g->blocks ? "; " : "", v[1],
		      v[2] ? ": " : "", v[2] ? v[2] : "");
	if (!g->hint && v[3])
		g->hint = arena_str(a, v[3]);
	g->blocks++;
}

bool preflight_gate(struct job *j, struct problem *p)
{
	struct gate g = {.job = j, .p = p, .reasons = ""};

	if (!preflight_show(j, on_row, &g, p))
		return false;
	if (g.blocks == 0)
		return true;
	problem_set(p, "55000",
		    "pgtandem: migration %s (phase %s): preflight "
		    "found %u thing%s in the way",
		    j->m->name, phase_name(j->row.phase), g.blocks,
		    g.blocks == 1 ? "" : "s");
	problem_detail(p, "%s", g.reasons);
	problem_hint(p, "%s%sSHOW PREFLIGHT %s lists all.",
		     g.hint ? g.hint : "", g.hint ? " " : "", j->m->name);
	return false;
}

/* Of the columns in $2, which are all that goes, if there are any there. */
#define GOING \
	" AND ($2::text[] = '{}' OR d.refobjsubid IN (SELECT a.attnum FROM" \
	" pg_attribute a WHERE a.attrelid = $1::oid" \
	" AND a.attname = ANY ($2::text[])))"

static const char *going_array(struct job *j, const struct lens *l)
{
	const char *all = "";

	for (size_t i = 0; l->kind != LENS_TABLE && i < l->n_old; i++)
		if (!l->olds[i].carried)
			all = array_add(j, all, l->olds[i].column->name);
	return arena_fmt(&j->arena, "{%s}", all);
}

/* Not what goes with the table by itself, nor what pgtandem made.  Where the
 * table goes, so does its row type. */
static const char dependents_sql[] =
    "SELECT string_agg(DISTINCT what, ', ') FROM ("
    "SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS what"
    " FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass"
    " AND d.refobjid = $1::oid AND d.deptype = 'n'" GOING
    " AND d.classid <> 'pg_rewrite'::regclass"
    " AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS ("
    "  SELECT FROM pg_constraint k WHERE k.oid = d.objid"
    "  AND k.conrelid = $1::oid))"
    " AND NOT (d.classid = 'pg_class'::regclass AND d.objid = $1::oid)"
    " AND NOT (d.classid = 'pg_proc'::regclass AND EXISTS ("
    "  SELECT FROM pg_proc f WHERE f.oid = d.objid"
    "  AND f.pronamespace::regnamespace::text = 'pgtandem'))"
    " AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS ("
    "  SELECT FROM pg_attrdef f WHERE f.oid = d.objid"
    "  AND f.adrelid = $1::oid))"
    " UNION ALL "
    "SELECT format('view %s', v.oid::regclass) FROM pg_depend d"
    " JOIN pg_rewrite r ON r.oid = d.objid"
    " JOIN pg_class v ON v.oid = r.ev_class"
    " WHERE d.classid = 'pg_rewrite'::regclass"
    " AND d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid" GOING
    " AND v.oid <> $1::oid"
    " AND v.relnamespace::regnamespace::text <> 'pgtandem'"
    " UNION ALL "
    "SELECT pg_describe_object(d.classid, d.objid, d.objsubid)"
    " FROM pg_class c JOIN pg_type t ON t.oid = c.reltype"
    " JOIN pg_depend d ON d.refobjid IN (t.oid, t.typarray)"
    " WHERE c.oid = $1::oid AND $2::text[] = '{}' AND d.deptype = 'n'"
    " AND d.refclassid = 'pg_type'::regclass"
    " AND NOT (d.classid = 'pg_proc'::regclass AND EXISTS ("
    "  SELECT FROM pg_proc f WHERE f.oid = d.objid"
    "  AND f.pronamespace::regnamespace::text = 'pgtandem'))) x";

bool preflight_dependents(struct job *j, const char **ret, struct problem *p)
{
	const char *all = "";

	for (unsigned i = 0; i < j->spec->n_lenses; i++) {
		char oid[16];
		const char *const params[] = {oid,
					      going_array(j, j->lenses[i])};
		PGresult *r;

		snprintf(oid, sizeof(oid), "%u", j->lenses[i]->old->oid);
		r = db_query(j->db, p, dependents_sql, 2, params);
		if (!r)
			return false;
		if (db_text(r, 0, 0))
			all = arena_fmt(&j->arena, "%s%s%s", all,
					all[0] ? ", " : "", db_text(r, 0, 0));
		PQclear(r);
	}
	*ret = all;
	return true;
}

#include "daemon/phase/catalog_load.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/phase/db.h"

/*
 * Under search_path = pg_catalog the server's printing functions qualify
 * everything else, so that the texts mean the same wherever they are run.
 * json_agg of no rows is NULL, which the reader takes for an empty list.
 */
/* Of a column's type below its domains: may values that it takes for equal
 * look different, and where is its "=", if not in pg_catalog? */
#define BASE_TYPE \
	"WITH RECURSIVE below(oid, kind, base, mod, base_mod) AS (" \
	"SELECT t.oid, t.typtype, t.typbasetype, a.atttypmod, t.typtypmod" \
	" UNION ALL SELECT u.oid, u.typtype, u.typbasetype, d.base_mod," \
	"  u.typtypmod FROM below d JOIN pg_type u ON u.oid = d.base" \
	"  WHERE d.kind = 'd')" \
	"SELECT NOT (d.kind = 'e' OR (d.mod >= 0 AND d.oid IN (" \
	"'bpchar'::regtype, 'numeric'::regtype, 'bit'::regtype," \
	"'varbit'::regtype)) OR d.oid IN ('bool'::regtype, 'bytea'::regtype," \
	"'\"char\"'::regtype, 'name'::regtype, 'int8'::regtype," \
	"'int2'::regtype, 'int4'::regtype, 'text'::regtype, 'oid'::regtype," \
	"'money'::regtype, 'varchar'::regtype, 'date'::regtype," \
	"'time'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype," \
	"'timetz'::regtype, 'uuid'::regtype, 'macaddr'::regtype," \
	"'macaddr8'::regtype, 'pg_lsn'::regtype))" \
	" OR EXISTS (SELECT FROM pg_collation l WHERE l.oid = a.attcollation" \
	"  AND NOT l.collisdeterministic) AS loose," \
	"(SELECT nullif(s.nspname, 'pg_catalog') FROM pg_opclass o" \
	"  JOIN pg_amop p ON p.amopfamily = o.opcfamily AND p.amopstrategy = " \
	"3" \
	"  AND p.amoplefttype = o.opcintype AND p.amoprighttype = o.opcintype" \
	"  JOIN pg_operator q ON q.oid = p.amopopr" \
	"  JOIN pg_namespace s ON s.oid = q.oprnamespace" \
	"  WHERE o.opcintype = d.oid AND o.opcdefault" \
	"  AND o.opcmethod = (SELECT m.oid FROM pg_am m" \
	"  WHERE m.amname = 'btree')) AS equals_schema" \
	" FROM below d WHERE d.kind <> 'd'"

static const char columns_sql[] =
    "(SELECT json_agg(json_build_object("
    "'name', a.attname,"
    "'type', format_type(a.atttypid, a.atttypmod),"
    "'type_oid', a.atttypid::bigint,"
    "'typmod', a.atttypmod,"
    "'attnum', a.attnum,"
    "'not_null', a.attnotnull,"
    "'identity', nullif(a.attidentity::text, ''),"
    "'generated', nullif(a.attgenerated::text, ''),"
    "'default', pg_get_expr(d.adbin, d.adrelid),"
    "'type_default', pg_get_expr(t.typdefaultbin, 0),"
    "'base_type', CASE WHEN t.typtype = 'd' THEN"
    "  format_type(t.typbasetype, t.typtypmod) END,"
    "'collation', (SELECT quote_ident(cn.nspname) || '.' ||"
    "  quote_ident(co.collname) FROM pg_collation co"
    "  JOIN pg_namespace cn ON cn.oid = co.collnamespace"
    "  WHERE co.oid = a.attcollation AND a.attcollation <> t.typcollation),"
    "'comment', col_description(c.oid, a.attnum),"
    "'sequence', CASE WHEN c.relkind IN ('r', 'p') THEN"
    "  pg_get_serial_sequence(quote_ident(n.nspname) || '.' ||"
    "  quote_ident(c.relname), a.attname) END,"
    "'storage', a.attstorage::text,"
    "'statistics', coalesce(a.attstattarget, -1),"
    "'loose', b.loose, 'equals_schema', b.equals_schema) ORDER BY a.attnum)"
    " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    " CROSS JOIN LATERAL (" BASE_TYPE ") b"
    " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid"
    "  AND d.adnum = a.attnum"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)";

/* In the order in which they were made: it is that of what foreign keys do, and
 * one may take the rows away that another would complain of. */
static const char constraints_sql[] =
    "(SELECT json_agg(json_build_object("
    "'name', k.name, 'kind', k.kind, 'definition', k.definition,"
    "'columns', k.columns, 'deferrable', k.is_deferrable,"
    "'deferred', k.is_deferred, 'index', k.index) ORDER BY k.kind = 'p' DESC, "
    "k.made, k.name)"
    " FROM (SELECT k.oid::bigint AS made,"
    "  k.conname::text AS name, k.contype::text AS kind,"
    "  pg_get_constraintdef(k.oid) AS definition,"
    "  (SELECT json_agg(a.attname ORDER BY x.n)"
    "  FROM unnest(k.conkey) WITH ORDINALITY AS x(num, n)"
    "  JOIN pg_attribute a ON a.attrelid = k.conrelid"
    "  AND a.attnum = x.num) AS columns,"
    "  k.condeferrable AS is_deferrable, k.condeferred AS is_deferred,"
    "  CASE WHEN k.contype <> 'f' THEN k.conindid::bigint END AS index"
    "  FROM pg_constraint k WHERE k.conrelid = c.oid"
    "  AND k.contype IN ('p', 'u', 'c', 'f', 'x')%s) k)";

/* Foreign keys that are dropped for a while belong to the old model all the
 * same: errors are told in their names. */
static const char relaxed_sql[] =
    " UNION ALL "
    "SELECT NULL, f.name, 'f', f.definition, to_json(f.columns),"
    "  f.is_deferrable, f.is_deferred, NULL FROM pgtandem.foreign_key f"
    "  WHERE f.state = 'relaxed' AND f.relation ="
    "  format('%I.%I', n.nspname, c.relname)";

static const char indexes_sql[] =
    "(SELECT json_agg(json_build_object("
    "'name', ic.relname,"
    "'definition', pg_get_indexdef(i.indexrelid),"
    "'unique', i.indisunique,"
    "'oid', i.indexrelid::bigint,"
    "'columns', (SELECT json_agg(a.attname ORDER BY x.n)"
    "  FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS x(num, n)"
    "  LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid"
    "  AND a.attnum = x.num AND x.num > 0"
    "  WHERE x.n <= i.indnkeyatts)) ORDER BY ic.relname)"
    " FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid"
    " WHERE i.indrelid = c.oid AND i.indisvalid AND NOT EXISTS ("
    "  SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid"
    "  AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')))";

static const char grants_sql[] =
    "(SELECT json_agg(json_build_object("
    "'grantee', CASE WHEN g.grantee <> 0 THEN g.role END,"
    "'privilege', g.privilege_type,"
    "'grantable', g.is_grantable,"
    "'column', g.col) ORDER BY g.col NULLS FIRST, g.role,"
    " g.privilege_type) FROM ("
    "SELECT NULL::name AS col, e.grantee, e.privilege_type,"
    "  e.is_grantable, pg_get_userbyid(e.grantee) AS role"
    "  FROM aclexplode(c.relacl) e"
    " UNION ALL "
    "SELECT a.attname, e.grantee, e.privilege_type, e.is_grantable,"
    "  pg_get_userbyid(e.grantee)"
    "  FROM pg_attribute a, aclexplode(a.attacl) e"
    "  WHERE a.attrelid = c.oid AND a.attnum > 0"
    "  AND NOT a.attisdropped) g)";

/*
 * Names that the expressions, $3, may hold, as an array that is looked up in
 * the catalog's indexes: their words, folded, and whatever stands between two
 * double quotes.  A few too many, but not the thousands that there are.
 */
#define WORDS \
	"((string_to_array(translate($3, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ' ||" \
	" E' ()[]{}<>=~!@#%^&|+-*/?,.;:`''\"\\n\\r\\t\\f\\x0b\\\\'," \
	" 'abcdefghijklmnopqrstuvwxyz' || repeat(' ', 40)), ' ') ||" \
	" string_to_array($3, '\"') ||" \
	" string_to_array(replace(replace(replace($3, '\"\"', E'\\x01')," \
	" '\"', E'\\x02'), E'\\x01', '\"'), E'\\x02'))::name[])"

static const char known_sql[] =
    "CASE WHEN $3::text IS NOT NULL THEN json_build_object('functions',"
    " (SELECT json_agg(json_build_array(f.name, f.schema)) FROM ("
    "SELECT p.proname AS name,"
    "  CASE WHEN bool_or(p.pronamespace = 'pg_catalog'::regnamespace)"
    "  THEN 'pg_catalog' ELSE n.nspname END AS schema FROM pg_proc p"
    "  WHERE p.pronamespace IN (n.oid, 'pg_catalog'::regnamespace)"
    "  AND p.prokind = 'f' AND p.proname = ANY (" WORDS ")"
    "  GROUP BY p.proname) f),"
    "'types', (SELECT json_agg(json_build_array(f.name, f.schema)) FROM ("
    "SELECT t.typname AS name,"
    "  CASE WHEN bool_or(t.typnamespace = 'pg_catalog'::regnamespace)"
    "  THEN 'pg_catalog' ELSE n.nspname END AS schema FROM pg_type t"
    "  WHERE t.typnamespace IN (n.oid, 'pg_catalog'::regnamespace)"
    "  AND t.typname = ANY (" WORDS ")"
    "  GROUP BY t.typname) f)) END";

char *catalog_expressions(const struct spec_lens *l)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort();
	for (size_t i = 0; i < l->n_columns; i++) {
		const struct spec_column *c = &l->columns[i];

		fprintf(out, "%s ", c->forward ? c->forward : "");
		for (size_t k = 0; c->reverse && k < c->n_old; k++)
			fprintf(out, "%s ", c->reverse[k]);
	}
	for (size_t i = 0; i < l->n_child; i++)
		if (l->child[i].forward)
			fprintf(out, "%s ", l->child[i].forward);
	for (size_t i = 0; i < l->n_pick; i++)
		fprintf(out, "%s ", l->pick[i]);
	if (l->when)
		fprintf(out, "%s ", l->when);
	if (fclose(out) != 0)
		abort();
	return text;
}

/* `pgtandem check` looks at databases that have no state yet. */
static bool constraints_text(PGconn *db, char **ret, struct problem *p)
{
	int64_t known;

	if (!db_number(db,
		       "SELECT (to_regclass('pgtandem.foreign_key')"
		       " IS NOT NULL)::int",
		       0, NULL, 0, &known, p))
		return false;
	if (asprintf(ret, constraints_sql, known ? relaxed_sql : "") < 0)
		abort();
	return true;
}

bool catalog_load(PGconn *db, const char *schema, const char *name,
		  const char *expressions, char **ret, struct problem *p)
{
	const char *const params[] = {schema, name, expressions};
	char *sql = NULL, *constraints;
	PGresult *r;

	if (!constraints_text(db, &constraints, p))
		return false;
	if (asprintf(&sql,
		     "SELECT json_build_object('schema', n.nspname,"
		     "'name', c.relname, 'oid', c.oid::bigint,"
		     "'kind', c.relkind::text,"
		     "'owner', pg_get_userbyid(c.relowner),"
		     "'comment', obj_description(c.oid, 'pg_class'),"
		     "'replica_identity', c.relreplident::text,"
		     "'row_security', c.relrowsecurity,"
		     "'rows', c.reltuples,"
		     "'columns', %s, 'constraints', %s, 'indexes', %s,"
		     "'grants', %s, 'known', %s)::text FROM pg_class c"
		     " JOIN pg_namespace n ON n.oid = c.relnamespace"
		     " WHERE n.nspname = $1 AND c.relname = $2"
		     " AND NOT EXISTS (SELECT FROM pg_trigger t"
		     "  WHERE t.tgrelid = c.oid"
		     "  AND t.tgname = 'pgtandem_husk')",
		     columns_sql, constraints, indexes_sql, grants_sql,
		     known_sql) < 0)
		abort();
	free(constraints);
	r = db_query(db, p, sql, 3, params);
	free(sql);
	if (!r)
		return false;
	*ret = PQntuples(r) > 0 ? strdup(PQgetvalue(r, 0, 0)) : NULL;
	PQclear(r);
	return true;
}

static const char prints_sql[] =
    "SELECT CASE WHEN c.oid IS NULL THEN 'gone' ELSE"
    " concat_ws(' ', c.oid, c.xmin,"
    " (SELECT sum(a.xmin::text::bigint + a.attnum)"
    "  FROM pg_attribute a WHERE a.attrelid = c.oid),"
    " (SELECT concat(count(*), '.', sum(d.xmin::text::bigint))"
    "  FROM pg_attrdef d WHERE d.adrelid = c.oid),"
    " (SELECT concat(count(*), '.', sum(k.xmin::text::bigint))"
    "  FROM pg_constraint k WHERE k.conrelid = c.oid),"
    " (SELECT concat(count(*), '.', sum(i.xmin::text::bigint))"
    "  FROM pg_index i WHERE i.indrelid = c.oid)) END,"
    " CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid"
    "  AND t.tgname = 'pgtandem_husk') THEN c.oid::bigint END"
    " FROM json_array_elements($1::json) WITH ORDINALITY AS g(given, i)"
    " LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)"
    " ON n.nspname = g.given ->> 0 AND c.relname = g.given ->> 1"
    " ORDER BY g.i";

/* One query for all: there may be hundreds, every second. */
bool catalog_fingerprints(PGconn *db, const struct spec_name *relations,
			  size_t n, struct catalog_print *ret,
			  struct problem *p)
{
	json_t *list = json_array();
	const char *params[1];
	char *text;
	PGresult *r;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(
		    list,
		    json_pack("[ss]", relations[i].schema, relations[i].name));
	params[0] = text = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (!text)
		abort();
	r = db_query(db, p, prints_sql, 1, params);
	free(text);
	if (!r)
		return false;
	assert((size_t)PQntuples(r) == n);
	for (size_t i = 0; i < n; i++) {
		ret[i].text = strdup(PQgetvalue(r, (int)i, 0));
		ret[i].husk = (uint32_t)db_int(r, (int)i, 1);
	}
	PQclear(r);
	return true;
}

/*
 * What is left of the old relation in `contracted`: a table with its name and
 * its description, and never a row.
 *
 * Statements that name the old relation are carried by the proxy and do not
 * reach it.  Object mappers read the catalog before they send any, by
 * statements that hold the name as a value if at all: those find the husk,
 * with its columns, types, defaults, checks, keys and indexes.
 *
 * Whoever comes past the proxy must not take it for an empty table: it belongs
 * to the control role, nobody has a right on it, and a trigger refuses writes.
 * Only a superuser can read it, and sees its comment.
 *
 * It is made before the old relation is dropped, in a schema of its own, where
 * its indexes and their constraints get the names that the old ones have, and
 * then put in its place.
 */
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/text/sqltext.h"

#define HUSK_SCHEMA "pgtandem_husk"

static const char *husk_ref(const struct ddl_build *b)
{
	return quote_qualified(HUSK_SCHEMA, b->l->old->name, b->a);
}

/*
 * LIKE copies indexes in the order in which they were made, and names the
 * copies anew.  Renamed twice, as one may have got the name of another.
 */
static const char *names_again(const struct ddl_build *b)
{
	static const char made[] =
	    "(SELECT i.indexrelid, pg_catalog.row_number() OVER (ORDER BY"
	    " i.indexrelid) AS n FROM pg_catalog.pg_index AS i"
	    " WHERE i.indrelid = %s::pg_catalog.regclass)";
	const char *body = arena_fmt(
	    b->a,
	    "DECLARE v_was pg_catalog.name; v_n pg_catalog.int8; BEGIN"
	    " FOR v_was, v_n IN SELECT c.relname, m.n FROM %s AS m JOIN"
	    " pg_catalog.pg_class AS c ON c.oid = m.indexrelid LOOP EXECUTE"
	    " pg_catalog.format('ALTER INDEX " HUSK_SCHEMA ".%%I RENAME TO"
	    " %%I', v_was, v_n); END LOOP;"
	    " FOR v_was, v_n IN SELECT c.relname, m.n FROM %s AS m JOIN"
	    " pg_catalog.pg_class AS c ON c.oid = m.indexrelid LOOP EXECUTE"
	    " pg_catalog.format('ALTER INDEX " HUSK_SCHEMA ".%%I RENAME TO"
	    " %%I', v_n, v_was); END LOOP; END",
	    arena_fmt(b->a, made, quote_text(husk_ref(b), b->a)),
	    arena_fmt(b->a, made, quote_text(b->l->old_ref, b->a)));

	return arena_fmt(b->a, "DO LANGUAGE plpgsql %s",
			 quote_text(body, b->a));
}

/* Statistics are of rows. */
void ddl_make_husk(struct ddl_build *b)
{
	if (!b->l->husk)
		return;
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE SCHEMA " HUSK_SCHEMA ";\n"
			  "CREATE TABLE %s (LIKE %s INCLUDING ALL"
			  " EXCLUDING IDENTITY EXCLUDING STATISTICS);\n%s",
			  husk_ref(b), b->l->old_ref, names_again(b)),
		"describe %s once more", b->l->old_ref);
}

static const char *identity_again(const struct ddl_build *b)
{
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < b->l->n_old; i++) {
		const struct column *c = b->l->olds[i].column;

		if (c->identity)
			sqltext_put(
			    &t,
			    "ALTER TABLE %s ALTER COLUMN %s ADD GENERATED %s"
			    " AS IDENTITY;\n",
			    b->l->old_ref, quote_name(c->name, b->a),
			    c->identity == 'a' ? "ALWAYS" : "BY DEFAULT");
	}
	return t.s;
}

/* Rights that ALTER DEFAULT PRIVILEGES gave away go, too. */
static const char *no_rights(const struct ddl_build *b)
{
	const char *body = arena_fmt(
	    b->a,
	    "DECLARE v_to pg_catalog.text; BEGIN FOR v_to IN SELECT DISTINCT"
	    " CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE"
	    " pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END"
	    " FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode("
	    "COALESCE(c.relacl, pg_catalog.acldefault('r', c.relowner))) AS g"
	    " WHERE c.oid = %s::pg_catalog.regclass LOOP EXECUTE"
	    " pg_catalog.format('REVOKE ALL ON TABLE %%s FROM %%s', %s, v_to);"
	    " END LOOP; END",
	    quote_text(b->l->old_ref, b->a), quote_text(b->l->old_ref, b->a));

	return arena_fmt(b->a, "DO LANGUAGE plpgsql %s",
			 quote_text(body, b->a));
}

void ddl_place_husk(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char *comment =
	    arena_fmt(b->a,
		      "pgtandem: migration %s has carried this table to %s;"
		      " only its description is left",
		      l->migration, l->new_ref);

	if (!l->husk)
		return;
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a,
		      "ALTER TABLE %s SET SCHEMA %s;\n"
		      "DROP SCHEMA " HUSK_SCHEMA ";\n%s"
		      "COMMENT ON TABLE %s IS %s;\n"
		      "CREATE TRIGGER pgtandem_husk BEFORE INSERT OR UPDATE OR"
		      " DELETE OR TRUNCATE ON %s FOR EACH STATEMENT EXECUTE"
		      " FUNCTION pgtandem.refuse_husk(%s, %s);\n"
		      "ALTER TABLE %s ENABLE ALWAYS TRIGGER pgtandem_husk;\n%s",
		      husk_ref(b), quote_name(l->old->schema, b->a),
		      identity_again(b), l->old_ref, quote_text(comment, b->a),
		      l->old_ref, quote_text(l->migration, b->a),
		      quote_text(l->new_ref, b->a), l->old_ref, no_rights(b)),
	    "leave the description of %s, without rows or rights", l->old_ref);
}

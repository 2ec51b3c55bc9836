/*
 * The functions of rewrite/match.h.  They stay after `contracted`, as the
 * views do.
 *
 * They run with the client's rights and settings: what they compute is
 * compared with what the client's own condition computes.  For the planner to
 * see through L_match_N it must be SQL, without settings of its own, and use
 * each argument in the cheapest way.
 */
#include "rewrite/ddl_part.h"
#include "rewrite/match.h"
#include "rewrite/template.h"

/* Does a value of this type need another way?  Folded to a constant while the
 * statement is planned: CASE gives a NULL of the type and the collation. */
static void add_other(struct ddl_build *b, unsigned new)
{
	const struct match_type *type = b->l->news[new].match;
	const char *ref = match_ref(b->l, "other", new, b->a);

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s(anyelement)"
			  " RETURNS pg_catalog.bool LANGUAGE plpgsql IMMUTABLE"
			  " AS $pgtandem$\nBEGIN\n"
			  "\tRETURN pg_catalog.pg_typeof($1)"
			  " OPERATOR(pg_catalog.<>) ALL"
			  " ('%s'::pg_catalog.regtype[])%s;\n"
			  "END\n$pgtandem$",
			  ref, type->others,
			  type->is_text ? " OR pg_catalog.pg_collation_for($1)"
					  " IS DISTINCT FROM '\"default\"'"
					: ""),
		"create function %s", ref);
}

/* forward(X), or NULL where there is none.  What is not an error of the data
 * (no memory, a cancelled statement) stays one. */
static void add_forward(struct ddl_build *b, unsigned new)
{
	const struct lens_new *n = &b->l->news[new];
	const char **names =
	    arena_alloc(b->a, (n->forward.n + 1) * sizeof(*names));
	const char *ref = match_ref(b->l, "forward", new, b->a);
	const char *old = b->l->olds[n->forward.column[0]].column->type;

	for (size_t i = 0; i < n->forward.n; i++)
		names[i] = "v";
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s(anyelement)"
			  " RETURNS %s LANGUAGE plpgsql STABLE"
			  " AS $pgtandem$\nDECLARE\n\tv %s;\nBEGIN\n"
			  "\tv := CAST($1 AS %s);\n"
			  "\tRETURN CAST((%s) AS %s);\n"
			  "EXCEPTION WHEN data_exception OR"
			  " feature_not_supported OR"
			  " integrity_constraint_violation OR"
			  " raise_exception THEN\n"
			  "\tRETURN NULL;\nEND\n$pgtandem$",
			  ref, n->column->type, old, old,
			  template_join(&n->forward, names, b->a),
			  type_before_assignment(n->column->type, b->a)),
		"create function %s", ref);
}

static void add_match(struct ddl_build *b, unsigned new)
{
	const char *ref = match_ref(b->l, "match", new, b->a);

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s(%s, anyelement)"
			  " RETURNS pg_catalog.bool LANGUAGE sql STABLE"
			  " AS $pgtandem$ SELECT"
			  " %s(CASE WHEN true THEN NULL ELSE $2 END)"
			  " OR $1 OPERATOR(pg_catalog.=) %s($2) $pgtandem$",
			  ref, b->l->news[new].column->type,
			  match_ref(b->l, "other", new, b->a),
			  match_ref(b->l, "forward", new, b->a)),
		"create function %s", ref);
}

static void add_match_any(struct ddl_build *b, unsigned new)
{
	const char *all = match_ref(b->l, "forward_all", new, b->a);
	const char *any = match_ref(b->l, "match_any", new, b->a);
	const char *type = b->l->news[new].column->type;

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s(anyarray)"
			  " RETURNS %s[] LANGUAGE sql STABLE"
			  " AS $pgtandem$ SELECT pg_catalog.array_agg(%s(e))"
			  " FROM pg_catalog.unnest($1) AS e $pgtandem$",
			  all, type, match_ref(b->l, "forward", new, b->a)),
		"create function %s", all);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "CREATE OR REPLACE FUNCTION %s(%s, anyarray)"
			  " RETURNS pg_catalog.bool LANGUAGE sql STABLE"
			  " AS $pgtandem$ SELECT"
			  " %s(CASE WHEN true THEN NULL ELSE $2[1] END)"
			  " OR $1 OPERATOR(pg_catalog.=) ANY (%s($2))"
			  " $pgtandem$",
			  any, type, match_ref(b->l, "other", new, b->a), all),
		"create function %s", any);
}

void ddl_create_matches(struct ddl_build *b)
{
	for (unsigned i = 0; i < b->l->n_new; i++) {
		if (b->l->news[i].match == NULL)
			continue;
		add_other(b, i);
		add_forward(b, i);
		add_match(b, i);
		add_match_any(b, i);
	}
}

void ddl_drop_matches(struct ddl_build *b)
{
	static const char *const functions[] = {
	    "match_any", "match", "forward_all", "forward", "other",
	};

	for (unsigned i = 0; i < b->l->n_new; i++)
		for (size_t f = 0; b->l->news[i].match != NULL &&
				   f < sizeof(functions) / sizeof(*functions);
		     f++)
			ddl_add(
			    b, DDL_NO_LOCK,
			    arena_fmt(b->a, "DROP FUNCTION IF EXISTS %s",
				      match_ref(b->l, functions[f], i, b->a)),
			    "drop function %s",
			    match_ref(b->l, functions[f], i, b->a));
}

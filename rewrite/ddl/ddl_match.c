/*
 * The functions of rewrite/lens/match.h.  They stay after `contracted`, as the
 * views do.
 *
 * They run with the client's rights and settings: what they compute is
 * compared with what the client's own condition computes.  For the planner to
 * see through L_match_N it must be SQL, without settings of its own, and use
 * each argument in the cheapest way.
 *
 * PARALLEL SAFE is what catches no error: a block that does needs a
 * subtransaction.  The planner asks for it before it sees through anything.
 */
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/match.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/template.h"

/* One new column while its functions are made. */
struct making {
	struct ddl_build *b;
	unsigned new;
	const struct lens_new *n;
	const struct match *m;
	const char *old, *type;
};

static const char *ref_of(const struct making *k, const char *what)
{
	return match_ref(k->b->l, what, k->new, k->b->a);
}

static void add_function(const struct making *k, const char *what,
			 const char *arguments, const char *returns,
			 const char *kind, const char *body)
{
	const char *ref = ref_of(k, what);

	ddl_add(k->b, DDL_NO_LOCK,
		arena_fmt(k->b->a,
			  "CREATE OR REPLACE FUNCTION %s(%s) RETURNS %s"
			  " LANGUAGE %s AS $pgtandem$%s$pgtandem$",
			  ref, arguments, returns, kind, body),
		"create function %s(%s)", ref, arguments);
}

static void add_sql(const struct making *k, const char *what,
		    const char *arguments, const char *returns, bool safe,
		    const char *expression)
{
	add_function(k, what, arguments, returns,
		     safe ? "sql STABLE PARALLEL SAFE" : "sql STABLE",
		     arena_fmt(k->b->a, " SELECT %s ", expression));
}

/* forward(value), as what is assigned to the new column. */
static const char *forward_of(const struct making *k, const char *value)
{
	struct arena *a = k->b->a;
	const char **names =
	    arena_alloc(a, (k->n->forward.n + 1) * sizeof(*names));

	for (size_t i = 0; i < k->n->forward.n; i++)
		names[i] = value;
	return arena_fmt(a, "CAST((%s) AS %s)",
			 template_join(&k->n->forward, names, a),
			 type_before_assignment(k->type, a));
}

/* Does a value of this type need another way?  Folded to a constant while the
 * statement is planned: CASE gives a NULL of the type and the collation. */
static void add_other(const struct making *k)
{
	const struct match_type *type = k->m->type;

	add_function(
	    k, "other", "anyelement", "pg_catalog.bool",
	    "plpgsql IMMUTABLE PARALLEL SAFE",
	    arena_fmt(k->b->a,
		      "\nBEGIN\n\tRETURN pg_catalog.pg_typeof($1)"
		      " OPERATOR(pg_catalog.<>) ALL"
		      " ('%s'::pg_catalog.regtype[])%s;\nEND\n",
		      type->others,
		      type->is_text ? " OR pg_catalog.pg_collation_for($1)"
				      " IS DISTINCT FROM '\"default\"'"
				    : ""));
}

static const char *is_other(const struct making *k, const char *value)
{
	return arena_fmt(k->b->a, "%s(CASE WHEN true THEN NULL ELSE %s END)",
			 ref_of(k, "other"), value);
}

/* forward(X), or NULL where there is none.  What is not an error of the data
 * (no memory, a cancelled statement) stays one. */
static void add_forward(const struct making *k)
{
	static const char clamped_date[] =
	    "CASE WHEN pg_catalog.isfinite(CAST($1 AS pg_catalog.date)) THEN"
	    " LEAST(CAST($1 AS pg_catalog.date), '294276-12-31')"
	    " ELSE CAST($1 AS pg_catalog.date) END";
	struct arena *a = k->b->a;

	if (k->m->total) {
		add_sql(k, "forward", "anyelement", k->type, true,
			forward_of(
			    k, k->m->is_date
				   ? clamped_date
				   : arena_fmt(a, "CAST($1 AS %s)", k->old)));
		return;
	}
	add_function(k, "forward", "anyelement", k->type, "plpgsql STABLE",
		     arena_fmt(a,
			       "\nDECLARE\n\tv %s;\nBEGIN\n"
			       "\tv := CAST($1 AS %s);\n\tRETURN %s;\n"
			       "EXCEPTION WHEN data_exception OR"
			       " feature_not_supported OR"
			       " integrity_constraint_violation OR"
			       " raise_exception THEN\n"
			       "\tRETURN NULL;\nEND\n",
			       k->old, k->old, forward_of(k, "v")));
}

static void add_match(const struct making *k)
{
	struct arena *a = k->b->a;

	add_sql(k, "match", arena_fmt(a, "%s, anyelement", k->type),
		"pg_catalog.bool", k->m->total,
		arena_fmt(a, "%s OR $1 OPERATOR(pg_catalog.=) %s($2)",
			  is_other(k, "$2"), ref_of(k, "forward")));
}

static void add_match_any(const struct making *k)
{
	struct arena *a = k->b->a;
	const char *all = ref_of(k, "forward_all");

	add_sql(k, "forward_all", "anyarray", arena_fmt(a, "%s[]", k->type),
		k->m->total,
		arena_fmt(a,
			  "pg_catalog.array_agg(%s(e))"
			  " FROM pg_catalog.unnest($1) AS e",
			  ref_of(k, "forward")));
	add_sql(k, "match_any", arena_fmt(a, "%s, anyarray", k->type),
		"pg_catalog.bool", k->m->total,
		arena_fmt(a, "%s OR $1 OPERATOR(pg_catalog.=) ANY (%s($2))",
			  is_other(k, "$2[1]"), all));
}

/* new <= forward(X), and new >= it. */
static void add_ranges(const struct making *k)
{
	static const char *const names[] = {"upto", "from"};
	struct arena *a = k->b->a;

	for (int i = 0; i < 2 && k->m->ranges; i++)
		add_sql(k, names[i], arena_fmt(a, "%s, anyelement", k->type),
			"pg_catalog.bool", true,
			k->m->low != NULL
			    ? "true"
			    : arena_fmt(a,
					"%s OR $1 OPERATOR(pg_catalog.%s)"
					" %s($2)",
					is_other(k, "$2"), i == 0 ? "<=" : ">=",
					ref_of(k, "forward")));
}

/* Whole numbers: a function for each type of X, so that what does not fail
 * can be told by comparing it with numbers. */
static void add_typed_ranges(const struct making *k, const char *x)
{
	static const char *const names[] = {"upto", "from"};
	struct arena *a = k->b->a;
	const char *value =
	    arena_fmt(a, "CAST(LEAST(GREATEST($2, %s), %s) AS %s)", k->m->low,
		      k->m->high, k->old);

	for (int i = 0; i < 2 && k->m->ranges; i++)
		add_sql(k, names[i], arena_fmt(a, "%s, %s", k->type, x),
			"pg_catalog.bool", true,
			arena_fmt(a, "$1 OPERATOR(pg_catalog.%s) %s",
				  i == 0 ? "<=" : ">=", forward_of(k, value)));
}

static void add_typed(const struct making *k, const char *x)
{
	struct arena *a = k->b->a;

	add_sql(
	    k, "forward", x, k->type, true,
	    arena_fmt(a,
		      "CASE WHEN $1 OPERATOR(pg_catalog.>=) %s"
		      " AND $1 OPERATOR(pg_catalog.<=) %s THEN %s END",
		      k->m->low, k->m->high,
		      forward_of(k, arena_fmt(a, "CAST($1 AS %s)", k->old))));
	add_sql(k, "match", arena_fmt(a, "%s, %s", k->type, x),
		"pg_catalog.bool", true,
		arena_fmt(a, "$1 OPERATOR(pg_catalog.=) %s($2)",
			  ref_of(k, "forward")));
	add_sql(k, "forward_all", arena_fmt(a, "%s[]", x),
		arena_fmt(a, "%s[]", k->type), true,
		arena_fmt(a,
			  "pg_catalog.array_agg(%s(e))"
			  " FROM pg_catalog.unnest($1) AS e",
			  ref_of(k, "forward")));
	add_sql(k, "match_any", arena_fmt(a, "%s, %s[]", k->type, x),
		"pg_catalog.bool", true,
		arena_fmt(a, "$1 OPERATOR(pg_catalog.=) ANY (%s($2))",
			  ref_of(k, "forward_all")));
	add_typed_ranges(k, x);
}

/* An oid would be taken for any of the others. */
static void add_not_typed(const struct making *k)
{
	static const char *const names[] = {"match", "upto", "from"};
	struct arena *a = k->b->a;

	for (int i = 0; i < (k->m->ranges ? 3 : 1); i++)
		add_sql(k, names[i],
			arena_fmt(a, "%s, pg_catalog.oid", k->type),
			"pg_catalog.bool", true, "true");
	add_sql(k, "match_any", arena_fmt(a, "%s, pg_catalog.oid[]", k->type),
		"pg_catalog.bool", true, "true");
}

static void add_all(const struct making *k)
{
	static const char *const numbers[] = {
	    "pg_catalog.int2",
	    "pg_catalog.int4",
	    "pg_catalog.int8",
	    "pg_catalog.numeric",
	};

	add_other(k);
	add_forward(k);
	add_match(k);
	add_match_any(k);
	add_ranges(k);
	if (k->m->low == NULL)
		return;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		add_typed(k, numbers[i]);
	add_not_typed(k);
}

void ddl_create_matches(struct ddl_build *b)
{
	for (unsigned i = 0; i < b->l->n_new; i++) {
		const struct lens_new *n = &b->l->news[i];
		struct making k = {
		    .b = b,
		    .new = i,
		    .n = n,
		    .m = n->match,
		    .type = n->column->type,
		};

		if (n->match == NULL)
			continue;
		k.old = b->l->olds[n->forward.column[0]].column->type;
		add_all(&k);
	}
}

/* Whatever types they are for. */
void ddl_drop_matches(struct ddl_build *b)
{
	static const char *const functions[] = {
	    "from",	   "upto",    "match_any", "match",
	    "forward_all", "forward", "other",
	};
	const struct lens *l = b->l;
	struct sqltext names;

	sqltext_begin(&names, b->a);
	for (unsigned i = 0; i < l->n_new; i++)
		for (size_t f = 0; l->news[i].match != NULL &&
				   f < sizeof(functions) / sizeof(*functions);
		     f++)
			sqltext_item(
			    &names, ", ", "%s",
			    quote_text(match_name(l, functions[f], i, b->a),
				       b->a));
	if (names.len == 0)
		return;
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DO LANGUAGE plpgsql $pgtandem$\nDECLARE\n"
			  "\tv_function pg_catalog.regprocedure;\nBEGIN\n"
			  "\tFOR v_function IN SELECT oid FROM"
			  " pg_catalog.pg_proc WHERE pronamespace ="
			  " 'pgtandem'::pg_catalog.regnamespace"
			  " AND proname IN (%s) LOOP\n"
			  "\tEXECUTE pg_catalog.format('DROP FUNCTION %%s',"
			  " v_function);\n\tEND LOOP;\nEND\n$pgtandem$",
			  names.s),
		"drop the functions that look converted columns up");
}

/*
 * What a ruleset is made of: the names of all lenses, and what serves each of
 * them when the new relation of one migration is the old one of another.
 */
#include "rewrite/ruleset.h"

#include <string.h>

#include "rewrite/lens/chain.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

static bool same_relation(const struct rule_name *l, const struct rule_name *r)
{
	return strcmp(l->schema, r->schema) == 0 &&
	       strcmp(l->name, r->name) == 0;
}

/* The names gathered so far, and where each comes from. */
struct gather {
	const struct ruleset_input *in;
	struct arena *a;
	const struct rule_migration *migrations; /* the ruleset's own */
	struct rule_name *names;
	size_t n;
	struct problem *problem;
};

/*
 * A relation that one migration has made and another carries on is the later
 * one's as soon as the earlier one has ended; until then the later one waits.
 */
static bool give_way(struct gather *g, struct rule_name *had,
		     const struct rule_name *name)
{
	const struct rule_migration *m = g->in->migrations;
	const struct rule_name *made = had->shape == SHAPE_NEW ? had : name;
	const struct rule_name *taken = had->shape == SHAPE_NEW ? name : had;

	if (had->shape == SHAPE_NEW && name->shape == SHAPE_NEW &&
	    had->migration == name->migration)
		return true; /* a merge: the first half speaks for both */
	if (made->shape == SHAPE_NEW && taken->shape == SHAPE_OLD &&
	    made->migration != taken->migration) {
		if (m[made->migration].phase == PHASE_CONTRACTED) {
			*had = *taken;
			return true;
		}
		if (m[taken->migration].phase == PHASE_PLANNED) {
			*had = *made;
			return true;
		}
	}
	return problem_set(
	    g->problem, "F0000",
	    "%s.%s is under migration twice, in %s and %s: put its columns "
	    "into one lens, or begin the second when the first is contracted",
	    name->schema, name->name, m[had->migration].spec->name,
	    m[name->migration].spec->name);
}

static bool add_name(struct gather *g, struct rule_name name)
{
	for (size_t i = 0; i < g->n; i++)
		if (same_relation(&g->names[i], &name))
			return give_way(g, &g->names[i], &name);
	if (g->n == NAME_SET_MOST)
		return problem_set(g->problem, "54000",
				   "more than %d "
				   "relations are under migration in one "
				   "database",
				   NAME_SET_MOST);
	g->names[g->n++] = name;
	return true;
}

/* Is the old relation's name one of the new shape too? */
static const bool keeps_name[] = {
    [LENS_TABLE] = false,
    [LENS_COLUMNS] = true,
    [LENS_CHILD] = true,
    [LENS_MERGE] = false,
};

static bool add_lens(struct gather *g, unsigned migration, unsigned lens)
{
	const struct lens *l = g->in->migrations[migration].lenses[lens];
	const struct relation *new = l->child ? l->child->relation : l->new;

	if (!add_name(g, (struct rule_name){.schema = l->old->schema,
					    .name = l->old->name,
					    .shape = SHAPE_OLD,
					    .shared = keeps_name[l->kind],
					    .migration = migration,
					    .lens = lens}))
		return false;
	return l->kind == LENS_COLUMNS ||
	       add_name(g, (struct rule_name){.schema = new->schema,
					      .name = new->name,
					      .shape = SHAPE_NEW,
					      .migration = migration,
					      .lens = lens});
}

/* The name by which a lens's new relation is migrated on, or NULL: not the
 * lens's own, where the relation has kept its name. */
static const struct rule_name *find_next(const struct gather *g,
					 const struct lens *l)
{
	const struct rule_name made = {.schema = l->new->schema,
				       .name = l->new->name};

	for (size_t i = 0; i < g->n; i++)
		if (g->names[i].shape == SHAPE_OLD &&
		    same_relation(&g->names[i], &made) &&
		    !same_relation(&made,
				   &(struct rule_name){.schema = l->old->schema,
						       .name = l->old->name}))
			return &g->names[i];
	return NULL;
}

/* One step along the chain; false at its end. */
static bool serve_next(struct gather *g, struct rule_name *n)
{
	const struct rule_name *next = n->rule->phase == PHASE_CONTRACTED
					   ? find_next(g, n->through)
					   : NULL;
	const struct rule_migration *m;
	struct rule_migration *as;
	const struct lens *with;
	struct problem p;
	bool ok;

	if (next == NULL)
		return false;
	m = &g->migrations[next->migration];
	if (m->phase < PHASE_DUAL_WRITE &&
	    !(m->phase == PHASE_EXPANDED &&
	      m->lenses[next->lens]->kind != LENS_TABLE))
		return false;
	with = m->lenses[next->lens];
	as = arena_alloc(g->a, sizeof(*as));
	*as = *m;
	n->rule = as;
	n->decider = next->migration;
	if (m->phase < PHASE_WRITE_NEW) {
		as->phase = PHASE_WRITE_NEW;
		as->prelock = false;
		ok = chain_beside(n->through, with, g->a, &n->through, &p);
	} else {
		ok = chain_compose(n->through, with, g->a, &n->through, &p);
	}
	if (!ok)
		n->broken = arena_str(g->a, p.message);
	return ok && m->phase == PHASE_CONTRACTED;
}

/* The chain is as long as there are migrations, at most. */
static void serve(struct gather *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct rule_name *n = &g->names[i];
		size_t left = g->in->n_migrations;

		n->decider = n->migration;
		n->rule = &g->migrations[n->migration];
		n->through = n->rule->lenses[n->lens];
		while (n->shape == SHAPE_OLD && left-- > 0 && serve_next(g, n))
			;
		if (n->shape == SHAPE_OLD)
			n->columns = lens_columns(n->through, g->a);
	}
}

const struct relation *rule_relation(const struct ruleset *r,
				     const struct rule_name *n)
{
	const struct lens *l = r->migrations[n->migration].lenses[n->lens];

	if (n->shape == SHAPE_OLD)
		return l->old;
	return l->child != NULL ? l->child->relation : l->new;
}

static size_t count_indexes(const struct ruleset *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_names; i++) {
		const struct relation *own = rule_relation(r, &r->names[i]);
		const struct lens *l = r->names[i].through;

		n += own->n_indexes + own->n_constraints;
		if (l->child != NULL)
			n += l->child->relation->n_constraints;
	}
	return n;
}

/* From new_only on the old relation no longer refers to these, and TRUNCATE ...
 * CASCADE of one has to take it along. */
static size_t add_targets(const struct rule_name *n, struct rule_name *all,
			  size_t at, struct arena *a)
{
	const struct lens *l = n->through;

	if (n->shape != SHAPE_OLD || l->child == NULL ||
	    n->rule->phase < PHASE_NEW_ONLY)
		return at;
	for (size_t i = 0; i < l->child->relation->n_constraints; i++) {
		all[at].name = child_refers_to(l, i, a);
		at += all[at].name != NULL;
	}
	return at;
}

/* What a text has to mention to be parsed: the relations, and their indexes
 * (a constraint's has its name), which DROP INDEX names alone. */
static size_t add_indexes(struct ruleset *r, struct arena *a)
{
	size_t n = r->n_names;
	struct rule_name *all =
	    arena_alloc(a, (n + count_indexes(r) + 1) * sizeof(*all));

	if (n > 0)
		memcpy(all, r->names, n * sizeof(*all));
	for (size_t i = 0; i < r->n_names; i++) {
		const struct relation *own = rule_relation(r, &r->names[i]);

		for (size_t k = 0; k < own->n_indexes; k++)
			all[n++].name = own->indexes[k].name;
		for (size_t k = 0; k < own->n_constraints; k++)
			if (constraint_has_index(&own->constraints[k]))
				all[n++].name = own->constraints[k].name;
		n = add_targets(&r->names[i], all, n, a);
	}
	r->names = all;
	return n;
}

/* Each lens has two at most. */
static size_t most_names(const struct ruleset_input *in)
{
	size_t n = 1;

	for (size_t i = 0; i < in->n_migrations; i++)
		n += 2 * in->migrations[i].n_lenses;
	return n;
}

bool ruleset_build(const struct ruleset_input *in, struct arena *a,
		   const struct ruleset **ret, struct problem *p)
{
	size_t n = in->n_migrations;
	struct ruleset *r = arena_alloc(a, sizeof(*r));
	struct rule_migration *migrations =
	    arena_alloc(a, (n + 1) * sizeof(*migrations));
	struct gather g = {
	    .in = in, .a = a, .migrations = migrations, .problem = p};

	if (n > RULESET_MAX_MIGRATIONS)
		return problem_set(p, "54000",
				   "more than %d migrations in one database",
				   RULESET_MAX_MIGRATIONS);
	g.names = arena_alloc(a, most_names(in) * sizeof(*g.names));
	for (unsigned i = 0; i < n; i++)
		for (unsigned j = 0; j < in->migrations[i].n_lenses; j++)
			if (!add_lens(&g, i, j))
				return false;
	if (n > 0)
		memcpy(migrations, in->migrations, n * sizeof(*migrations));
	serve(&g);
	*r = (struct ruleset){.serial = in->serial,
			      .database = arena_str(a, in->database),
			      .n_migrations = n,
			      .migrations = migrations,
			      .n_names = g.n,
			      .names = g.names,
			      .max_statement_bytes = in->max_statement_bytes,
			      .server_version = in->server_version
						    ? in->server_version
						    : SERVER_15};
	n = add_indexes(r, a);
	r->filter = filter_make(r->names, n, a);
	r->index = name_index_make(r->names, n, a);
	*ret = r;
	return true;
}

bool ruleset_mentions(const struct ruleset *r, const char *sql, size_t len)
{
	return r->n_names > 0 && filter_finds(r->filter, sql, len);
}

/*
 * Per name: `at` is its home schema's place in the path as it is in force,
 * pg_temp and pg_catalog included; whatever relation of that name has an
 * earlier place is what the name means.  Everything is qualified, operators
 * too: the path is the very thing that cannot be trusted here.
 */
/* clang-format off */
static const char probe[] =
	"SELECT CASE WHEN pg_catalog.lower(pg_catalog.current_setting("
	"'pgtandem.shape', true)) OPERATOR(pg_catalog.=) 'new' "
	"THEN '1' ELSE '0' END OPERATOR(pg_catalog.||) "
	"pg_catalog.string_agg(CASE WHEN h.at IS NULL OR EXISTS ("
	"SELECT 1 FROM pg_catalog.pg_class AS c "
	"JOIN pg_catalog.pg_namespace AS s "
	"ON s.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"WHERE c.relname OPERATOR(pg_catalog.=) n.name "
	"AND pg_catalog.array_position(h.path, s.nspname) "
	"OPERATOR(pg_catalog.<) h.at) "
	"THEN '1' ELSE '0' END, '' ORDER BY n.i) "
	"FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.name[]), "
	"pg_catalog.unnest(%s::pg_catalog.name[])) "
	"WITH ORDINALITY AS n(home, name, i), LATERAL (SELECT p.path, "
	"pg_catalog.array_position(p.path, n.home) AS at "
	"FROM (SELECT pg_catalog.current_schemas(true) AS path) AS p) AS h";
/* clang-format on */

/* An array of names as its text: thousands cost the server no tree. */
static void array_item(struct sqltext *t, const char *name)
{
	sqltext_put(t, "%s\"", t->len == 0 ? "{" : ",");
	for (; *name != '\0'; name++)
		sqltext_put(t, "%s%c", strchr("\\\"", *name) ? "\\" : "",
			    *name);
	sqltext_put(t, "\"");
}

const char *ruleset_probe_sql(const struct ruleset *r, struct arena *a)
{
	struct sqltext schemas, names;

	if (r->n_names == 0)
		return NULL;
	sqltext_begin(&schemas, a);
	sqltext_begin(&names, a);
	for (size_t i = 0; i < r->n_names; i++) {
		array_item(&schemas, r->names[i].schema);
		array_item(&names, r->names[i].name);
	}
	sqltext_put(&schemas, "}");
	sqltext_put(&names, "}");
	return arena_fmt(a, probe, quote_text(schemas.s, a),
			 quote_text(names.s, a));
}

bool ruleset_probe_read(const char *answer, size_t len,
			struct session_names *ret)
{
	bool any;

	memset(ret, 0, sizeof(*ret));
	any = ret->new_shape = len > 0 && answer[0] == '1';
	for (size_t i = 1; i < len && i <= NAME_SET_MOST; i++) {
		if (answer[i] != '1')
			continue;
		name_set_add(&ret->hidden, i - 1);
		any = true;
	}
	return any;
}

enum shape rule_name_shape(const struct rule_name *n,
			   const struct session_names *session)
{
	return n->shared && session != NULL && session->new_shape ? SHAPE_NEW
								  : n->shape;
}

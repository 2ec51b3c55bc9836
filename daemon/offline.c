#include "daemon/offline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"
#include "daemon/phase/catalog_load.h"
#include "daemon/phase/db.h"
#include "daemon/phase/ddl_run.h"
#include "daemon/phase/snapshot_make.h"
#include "daemon/phase/state.h"
#include "rewrite/rewrite.h"
#include "rewrite/ruleset.h"

/* One migration, as its database shows it now. */
struct view {
	const struct spec *spec;
	PGconn *db;		     /* owned */
	struct state_row state;	     /* planned, if there is none yet */
	struct lens_source *sources; /* owned, one for each lens */
	struct arena arena;	     /* owned */
	const struct lens *const *lenses;
};

static void print_problem(const char *what, const struct problem *p)
{
	char text[sizeof(*p) + 32];

	problem_print(p, text, sizeof(text));
	fprintf(stderr, "%s%s: %s\n", what, p->sqlstate, text);
}

static void view_close(struct view *v)
{
	for (size_t i = 0; v->sources && i < v->spec->n_lenses; i++) {
		free(v->sources[i].old_json);
		free(v->sources[i].new_json);
	}
	free(v->sources);
	arena_free(&v->arena);
	PQfinish(v->db);
}

/* False when the database cannot be reached or forbids it. */
static bool view_open(const struct settings *s, const struct spec *spec,
		      struct view *ret, struct problem *p)
{
	*ret = (struct view){.spec = spec};
	arena_init(&ret->arena);
	if (db_connect(s, spec->database, &ret->db, p) &&
	    db_exec(ret->db, "SET default_transaction_read_only = on", p))
		return true;
	view_close(ret);
	return false;
}

/* The state's schema is there from the daemon's first start on. */
static bool read_state(struct view *v, struct problem *p)
{
	bool found = false;
	int64_t there;

	v->state = (struct state_row){
	    .phase = PHASE_PLANNED, .epoch = 1, .read_percent = 100};
	if (!db_number(v->db,
		       "SELECT (pg_catalog.to_regclass('pgtandem.migration') "
		       "IS NOT NULL)::integer",
		       0, NULL, 0, &there, p))
		return false;
	return !there || state_read(v->db, v->spec->name, &v->state, &found, p);
}

/* From `expanded` on the old model's description is the state's. */
static bool load_old(struct view *v, unsigned i, struct problem *p)
{
	const struct spec_lens *l = &v->spec->lenses[i];
	char **ret = &v->sources[i].old_json;
	char *expressions = catalog_expressions(l);
	bool ok = true;

	if (v->state.phase != PHASE_PLANNED)
		ok = state_description(v->db, v->spec->name, i + 1, ret, p);
	if (ok && !*ret)
		ok = catalog_load(v->db, l->old.schema, l->old.name,
				  expressions, ret, p);
	free(expressions);
	if (ok && !*ret)
		return problem_set(p, "42P01",
				   "%s:%u: relation %s.%s does not exist in "
				   "database %s",
				   v->spec->file, l->line, l->old.schema,
				   l->old.name, v->spec->database);
	return ok;
}

static bool load(struct view *v, struct problem *p)
{
	v->sources = calloc(v->spec->n_lenses, sizeof(*v->sources));
	if (!v->sources)
		return problem_set(p, "53200", "out of memory");
	if (!read_state(v, p))
		return false;
	for (unsigned i = 0; i < v->spec->n_lenses; i++) {
		const struct spec_lens *l = &v->spec->lenses[i];

		if (!load_old(v, i, p) ||
		    !catalog_load(v->db, l->new.schema, l->new.name, NULL,
				  &v->sources[i].new_json, p))
			return false;
	}
	return lenses_compile(v->spec, v->sources, &v->arena, &v->lenses, p);
}

/* -- check -- */

static void print_settings(const struct settings *s)
{
	const struct setting_value *values;
	struct arena a;
	size_t n;

	arena_init(&a);
	n = settings_list(s, &a, &values);
	for (size_t i = 0; i < n; i++)
		printf("%s: %s\n", values[i].name, values[i].value);
	arena_free(&a);
}

static void print_steps(struct view *v, enum phase from, enum phase to,
			bool before)
{
	struct ddl_list list;

	ddl_collect(v->spec, v->lenses, from, to, before, &v->arena, &list);
	if (list.n == 0)
		return;
	printf("\n-- %s, %s -> %s, %s\n", v->spec->name, phase_name(from),
	       phase_name(to),
	       before ? "before the move is announced"
		      : "once every transaction of the earlier phase is over");
	for (size_t i = 0; i < list.n; i++)
		printf("-- %s\n%s;\n", list.steps[i].what, list.steps[i].sql);
}

static void print_moves(struct view *v)
{
	for (int i = 0; i + 1 < PHASE_COUNT; i++) {
		print_steps(v, (enum phase)i, (enum phase)(i + 1), true);
		print_steps(v, (enum phase)i, (enum phase)(i + 1), false);
	}
	/* There is no way back from contracted. */
	for (int i = PHASE_NEW_ONLY; i > 0; i--) {
		print_steps(v, (enum phase)i, (enum phase)(i - 1), true);
		print_steps(v, (enum phase)i, (enum phase)(i - 1), false);
	}
}

/* A database that is away is said, and is not a mistake of the files. */
static bool check_spec(const struct settings *s, const struct spec *spec)
{
	struct problem p;
	struct view v;
	bool ok;

	if (!view_open(s, spec, &v, &p)) {
		printf("\n-- %s: file %s is well formed; its DDL is not known, "
		       "database %s cannot be reached\n",
		       spec->name, spec->file, spec->database);
		print_problem("warning: ", &p);
		return true;
	}
	ok = load(&v, &p);
	if (ok) {
		printf("\n-- %s: phase %s\n", spec->name,
		       phase_name(v.state.phase));
		print_moves(&v);
	} else {
		print_problem("", &p);
	}
	view_close(&v);
	return ok;
}

bool offline_check(const char *config)
{
	struct settings *s;
	struct problem p;
	bool ok = true;

	if (!settings_read(config, &s, &p)) {
		print_problem("", &p);
		return false;
	}
	print_settings(s);
	fflush(stdout);
	for (size_t i = 0; i < s->n_specs; i++)
		ok &= check_spec(s, s->specs[i]);
	settings_unref(s);
	return ok;
}

/* -- rewrite -- */

static bool print_plan(const struct view *v, const struct ruleset *rules,
		       const char *sql, struct arena *a)
{
	struct rewrite_request req = {
	    .sql = sql, .len = strlen(sql), .rules = rules, .read_new = true};
	const struct plan *plan = rewrite_plan(&req, a);

	switch (plan->kind) {
	case PLAN_PASS:
		printf("%s\n", sql);
		return true;
	case PLAN_EDIT:
		printf("%.*s\n", (int)plan->len, plan->text);
		return true;
	case PLAN_REFUSE:
		print_problem("refused: ", &plan->refusal);
		return false;
	}
	return false;
}

static bool rewrite_in(struct view *v, const struct settings *s,
		       enum phase phase, const char *sql, struct problem *p)
{
	struct rule_migration rule;
	struct ruleset_input in = {
	    .serial = 1,
	    .database = v->spec->database,
	    .max_statement_bytes = s->max_statement_bytes,
	    .server_version =
		v->db != NULL ? (unsigned)PQserverVersion(v->db) : 0,
	    .n_migrations = 1,
	    .migrations = &rule,
	};
	const struct ruleset *rules;

	if (!load(v, p))
		return false;
	rule_fill(v->spec, &v->state, v->lenses, &rule);
	if (phase != PHASE_COUNT)
		rule.phase = phase;
	if (!ruleset_build(&in, &v->arena, &rules, p))
		return false;
	p->message[0] = '\0'; /* a refusal tells of itself */
	return print_plan(v, rules, sql, &v->arena);
}

static const struct spec *find_spec(const struct settings *s, const char *name,
				    struct problem *p)
{
	for (size_t i = 0; i < s->n_specs; i++)
		if (strcmp(s->specs[i]->name, name) == 0)
			return s->specs[i];
	problem_set(p, "42704", "%s names no migration \"%s\"", s->file, name);
	return NULL;
}

static bool rewrite_with(const struct settings *s, const char *migration,
			 enum phase phase, const char *sql, struct problem *p)
{
	const struct spec *spec = find_spec(s, migration, p);
	struct view v;
	bool ok;

	if (!spec || !view_open(s, spec, &v, p))
		return false;
	ok = rewrite_in(&v, s, phase, sql, p);
	view_close(&v);
	return ok;
}

bool offline_rewrite(const char *config, const char *migration,
		     enum phase phase, const char *sql)
{
	struct settings *s;
	struct problem p = {0};
	bool ok;

	if (!settings_read(config, &s, &p)) {
		print_problem("", &p);
		return false;
	}
	ok = rewrite_with(s, migration, phase, sql, &p);
	if (!ok && p.message[0])
		print_problem("", &p);
	settings_unref(s);
	return ok;
}

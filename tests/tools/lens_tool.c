/*
 * What a specification makes of a real database, for the end-to-end tests: a
 * lens without a proxy.  Prints JSON.
 *
 *   lens_tool SPEC CONNINFO state
 *	the state schema's statements
 *   lens_tool SPEC CONNINFO ddl FROM TO before|after
 *	the steps of a move: [{"what", "sql", "locks_source"}]
 *   lens_tool SPEC CONNINFO sql to_new|to_old
 *	the walker's statements by name
 *   lens_tool SPEC CONNINFO walk JOB to_new|to_old [ROWS_PER_SECOND]
 *	runs a walk: its state, error and result
 *
 * All work on the first lens of the specification.
 */
#include <inttypes.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/spec.h"
#include "daemon/phase/catalog_json.h"
#include "daemon/phase/catalog_load.h"
#include "daemon/phase/walker.h"
#include "rewrite/ddl/ddl.h"
#include "rewrite/lens/walk_sql.h"

struct tool {
	struct arena a;
	const char *conninfo;
	const struct spec *spec;
	const struct lens *lens;
};

static void stop(const struct problem *p)
{
	char text[2048];

	problem_print(p, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
	exit(1);
}

static const struct relation *load(PGconn *db, const struct spec_name *name,
				   struct arena *a)
{
	const struct relation *r = NULL;
	struct problem p;
	char *json;

	if (!catalog_load(db, name->schema, name->name, NULL, &json, &p) ||
	    (json != NULL && !catalog_json_read(json, a, &r, &p)))
		stop(&p);
	free(json);
	return r;
}

static void compile(struct tool *t, const char *file)
{
	const struct relation *old, *new;
	struct problem p;
	PGconn *db;

	if (!spec_read(file, &t->a, &t->spec, &p))
		stop(&p);
	db = PQconnectdb(t->conninfo);
	PQclear(PQexec(db, "SET search_path = pg_catalog"));
	old = load(db, &t->spec->lenses[0].old, &t->a);
	new = load(db, &t->spec->lenses[0].new, &t->a);
	PQfinish(db);
	if (old == NULL)
		problem_set(&p, "42P01", "no old relation");
	if (old == NULL ||
	    !lens_compile(t->spec, 1, old, new, &t->a, &t->lens, &p))
		stop(&p);
}

static void print(json_t *j)
{
	char *text = json_dumps(j, JSON_INDENT(1) | JSON_ENCODE_ANY);

	puts(text);
	free(text);
	json_decref(j);
}

static enum phase phase_of(const char *name)
{
	enum phase p;

	if (phase_from_name(name, strlen(name), &p))
		return p;
	fprintf(stderr, "no phase %s\n", name);
	exit(2);
}

static json_t *ddl(struct tool *t, char **args)
{
	struct ddl_list list;
	json_t *all = json_array();

	ddl_for_move(t->lens, phase_of(args[0]), phase_of(args[1]),
		     strcmp(args[2], "before") == 0, true, &t->a, &list);
	for (size_t i = 0; i < list.n; i++)
		json_array_append_new(
		    all,
		    json_pack("{s:s, s:s, s:b}", "what", list.steps[i].what,
			      "sql", list.steps[i].sql, "locks_source",
			      (int)list.steps[i].locks_source));
	return all;
}

static enum walk_direction direction_of(const char *name)
{
	return strcmp(name, "to_old") == 0 ? WALK_TO_OLD : WALK_TO_NEW;
}

static json_t *sql(struct tool *t, char **args)
{
	struct walk_sql s;

	walk_sql_make(t->lens, direction_of(args[0]), &t->a, &s);
#define TEXT(name) #name, s.name
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s,"
	    " s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s,"
	    " s:s?}",
	    TEXT(set_path), TEXT(count), TEXT(target_count), TEXT(next),
	    TEXT(target_next), TEXT(rest), TEXT(target_rest), TEXT(newest),
	    TEXT(target_is_empty), TEXT(insert_all), TEXT(insert_missing),
	    TEXT(differing), TEXT(stale), TEXT(extra), TEXT(compare),
	    TEXT(lock_source), TEXT(upsert_keys), TEXT(lock_target),
	    TEXT(delete_keys), TEXT(recheck), TEXT(recheck_lossy));
#undef TEXT
}

static enum walk_job job_of(const char *name)
{
	for (enum walk_job j = 0; j < WALK_JOB_COUNT; j++)
		if (strcmp(walk_job_name(j), name) == 0)
			return j;
	fprintf(stderr, "no job %s\n", name);
	exit(2);
}

static json_t *walk(struct tool *t, char **args)
{
	struct walk_request req = {
	    .conninfo = t->conninfo,
	    .migration = t->spec->name,
	    .job = job_of(args[0]),
	    .direction = direction_of(args[1]),
	    .n_lenses = 1,
	    .lenses = &t->lens,
	    .rate = args[2] ? strtoull(args[2], NULL, 10) : 0,
	};
	struct walker *w = walker_create(&req);
	struct walk_progress g;
	struct problem p = {.message = ""};
	bool ok = walker_run(w, &p);

	walker_get_progress(w, &g);
	walker_free(w);
#define NUMBER(name) #name, (json_int_t)g.result.name
	return json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
			 " s:I, s:I, s:I}",
			 "ok", (int)ok, "state", walk_state_name(g.state),
			 "error", p.message, "rows_done",
			 (json_int_t)g.rows_done, NUMBER(compared),
			 NUMBER(missing), NUMBER(extra), NUMBER(different),
			 NUMBER(lossy), NUMBER(inserted), NUMBER(synced),
			 NUMBER(swept), NUMBER(violations));
#undef NUMBER
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int min_args;
		json_t *(*run)(struct tool *t, char **args);
	} commands[] = {
	    {"ddl", 3, ddl},
	    {"sql", 1, sql},
	    {"walk", 2, walk},
	};
	struct tool t = {.conninfo = argc > 2 ? argv[2] : NULL};

	arena_init(&t.a);
	if (argc == 4 && strcmp(argv[3], "state") == 0) {
		print(json_string(ddl_state_schema()));
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (argc < 4 + commands[i].min_args ||
		    strcmp(argv[3], commands[i].name) != 0)
			continue;
		compile(&t, argv[1]);
		print(commands[i].run(&t, argv + 4));
		arena_free(&t.a);
		return 0;
	}
	fprintf(stderr, "usage: see the top of tests/tools/lens_tool.c\n");
	return 2;
}

/*
 * Runs the statement cases: text files of SQL in and SQL out.
 *
 *	run_cases [--update | --sent] FILE...
 *
 * A file is read from top to bottom:
 *
 *	-- schema: FILE			relative to this file (model.h)
 *	-- phase: read_new dual_write	what follows holds in each of these
 *	-- session: hides NAME | reads_old | prelock | new_shape | backslashes |
 *wide | typed | typed_other | alone	until the next phase
 *	-- note: anything
 *	-- case: a sentence
 *	the client's text
 *	-- differs: [phases: ]why	(rarely) not as on the old model alone
 *	-- becomes: cut 1 silent	or just "-- becomes:"
 *	what is sent; {NAME} as the schema file defines it
 *	-- passes:			(instead) sent as it is
 *	-- refused: 0A000 part of the message	(instead)
 *
 * "cut 1 silent" says what is done to the result of each statement, separated
 * by slashes: hidden columns cut, rows not shown at all.
 *
 * Beside what the file says, each case must keep the properties listed in
 * `properties`.  --update writes what came out into the file, for review by
 * `git diff`; --sent prints what comes out in every phase as lines of JSON,
 * for check_against_server and kinds_table.
 */
#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pg_query.h>

#include "config/arena.h"
#include "rewrite/rewrite.h"
#include "rewrite/text/newer.h"
#include "tests/cases/model.h"
#include "tests/cases/setup.h"

enum mode { MODE_TEST, MODE_UPDATE, MODE_SENT };

struct test_case {
	const char *file, *name, *phase;
	const char *differs; /* on a server, and why; or NULL */
	const char *sql;
	const char *expected; /* from its directive on, expanded */
	struct rewrite_request req;
	const struct ruleset *planned;
	const struct plan *plan;
	const char *actual; /* as `expected` would say it */
};

struct run {
	enum mode mode;
	const char *path;
	struct arena arena; /* of the file */
	const struct model *model;
	const char *phases;
	bool reads_old, prelock, new_shape;
	unsigned flags;
	unsigned server;   /* its major version; 0: the usual */
	const char *hides; /* names, or "" */
	unsigned count, failed;
	FILE *updated; /* --update */
};

/* What came out, in the words of the file. */

static const char *render_results(const struct plan *plan, struct arena *a)
{
	const char *text = "";
	bool any = false;

	for (size_t i = 0; i < plan->n_stmts; i++) {
		const struct plan_stmt *s = &plan->stmts[i];

		any |= s->hidden > 0 || s->silent || s->ours;
		text = arena_fmt(a, "%s%scut %u%s%s", text, i ? " / " : " ",
				 s->hidden, s->silent ? " silent" : "",
				 s->ours ? " ours" : "");
	}
	return any ? text : "";
}

static const char *render(const struct plan *plan, struct arena *a)
{
	switch (plan->kind) {
	case PLAN_PASS:
		return "-- passes:";
	case PLAN_EDIT:
		return arena_fmt(a, "-- becomes:%s\n%s",
				 render_results(plan, a), plan->text);
	case PLAN_REFUSE:
		return arena_fmt(a, "-- refused: %s %s", plan->refusal.sqlstate,
				 plan->refusal.message);
	}
	abort();
}

/* A refusal's message need only be contained. */
static bool is_as_expected(const struct test_case *t)
{
	static const char refused[] = "-- refused: ";
	size_t n = sizeof(refused) - 1;

	if (strcmp(t->actual, t->expected) == 0)
		return true;
	return strncmp(t->expected, refused, n) == 0 &&
	       strlen(t->expected) > n + 6 &&
	       strncmp(t->actual, t->expected, n + 6) == 0 &&
	       strstr(t->actual, t->expected + n + 6) != NULL;
}

/* The properties that hold for every case: NULL, or what is wrong. */

static const char *text_parses_again(const struct test_case *t)
{
	PgQuerySplitResult split;
	const char *wrong = NULL, *stand_in;
	struct arena a;

	if (t->plan->kind != PLAN_EDIT)
		return NULL;
	arena_init(&a);
	stand_in = newer_stand_in(t->plan->text, t->plan->len,
				  t->req.rules->server_version, &a);
	split = pg_query_split_with_parser(stand_in ? stand_in : t->plan->text);
	arena_free(&a);
	if (split.error != NULL)
		wrong = "the text sent does not parse";
	else if ((size_t)split.n_stmts != t->plan->n_stmts)
		wrong = "n_stmts is not the number of statements";
	pg_query_free_split_result(split);
	return wrong;
}

static uint32_t count_chars(const char *s, size_t bytes)
{
	uint32_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (s[i] & 0xc0) != 0x80;
	return n;
}

/* Are these bytes equal, and does each character's place lead back?  That of
 * the first one leads to what was taken out before it. */
static bool unedited_maps(const struct test_case *t, size_t from, size_t at,
			  size_t len, size_t taken_out)
{
	for (size_t i = 0; i < len; i++) {
		size_t back = from + i - (i == 0 ? taken_out : 0);
		uint32_t sent = count_chars(t->plan->text, at + i) + 1;
		uint32_t client = count_chars(t->sql, back) + 1;

		if (t->plan->text[at + i] != t->sql[from + i])
			return false;
		if ((t->sql[from + i] & 0xc0) != 0x80 &&
		    plan_map_position(t->plan, t->sql, t->req.len, sent) !=
			client)
			return false;
	}
	return true;
}

/* What stands for something of the client's leads to its first byte, a copy
 * to what it copies, what was inserted nowhere. */
static bool added_maps(const struct test_case *t, const struct plan_edit *e)
{
	for (size_t i = 0; i < e->added; i++) {
		const char *sent = t->plan->text + e->at + i;
		size_t source = e->source + (e->verbatim ? i : 0);
		uint32_t client = e->source == PLAN_OURS
				      ? 0
				      : count_chars(t->sql, source) + 1;

		if (e->verbatim && *sent != t->sql[source])
			return false;
		if ((*sent & 0xc0) != 0x80 &&
		    plan_map_position(
			t->plan, t->sql, t->req.len,
			count_chars(t->plan->text, e->at + i) + 1) != client)
			return false;
	}
	return e->source == PLAN_OURS || e->verbatim || e->source == e->from ||
	       e->removed == 0;
}

static const char *positions_lead_back(const struct test_case *t)
{
	const struct plan *plan = t->plan;
	size_t from = 0, at = 0, taken_out = 0;

	if (plan->kind != PLAN_EDIT)
		return NULL;
	for (size_t i = 0; i < plan->n_edits; i++) {
		const struct plan_edit *e = &plan->edits[i];

		if (e->from < from || e->at < at ||
		    e->from - from != e->at - at)
			return "the edits are not in order";
		if (!unedited_maps(t, from, at, e->from - from, taken_out))
			return "an unedited byte does not lead back";
		if (!added_maps(t, e))
			return "a byte of ours does not lead to its edit";
		from = e->from + e->removed;
		at = e->at + e->added;
		taken_out = e->added == 0 ? e->removed : 0;
	}
	if (plan->len - at != t->req.len - from ||
	    !unedited_maps(t, from, at, plan->len - at, taken_out))
		return "the end does not lead back";
	return NULL;
}

static const char *planned_changes_nothing(const struct test_case *t)
{
	struct rewrite_request req = t->req;
	const char *wrong = NULL;
	struct arena a;

	arena_init(&a);
	req.rules = t->planned;
	if (rewrite_plan(&req, &a)->kind == PLAN_EDIT)
		wrong = "it is edited in planned";
	arena_free(&a);
	return wrong;
}

static const char *the_answer_is_repeated(const struct test_case *t)
{
	const char *wrong = NULL;
	struct arena a;

	arena_init(&a);
	if (strcmp(render(rewrite_plan(&t->req, &a), &a),
		   render(t->plan, &a)) != 0)
		wrong = "planned again, it is something else";
	arena_free(&a);
	return wrong;
}

static const char *edits_say_what_they_touch(const struct test_case *t)
{
	const struct plan *p = t->plan;

	if (p->kind == PLAN_EDIT && p->migrations == 0)
		return "edited, but no migration is touched";
	if ((p->writes | p->old_shape) & ~p->migrations)
		return "it writes what it does not touch";
	return NULL;
}

/* clang-format off */
static const char *(*const properties[])(const struct test_case *) = {
	text_parses_again,
	positions_lead_back,
	planned_changes_nothing,
	the_answer_is_repeated,
	edits_say_what_they_touch,
};
/* clang-format on */

static void print_lines(const char *head, const char *text)
{
	printf("# %s\n", head);
	while (*text != '\0') {
		printf("#   %.*s\n", (int)strcspn(text, "\n"), text);
		text = next_line(text);
	}
}

static void report(struct run *r, const struct test_case *t)
{
	const char *wrong = NULL;
	bool same = is_as_expected(t);

	for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++)
		if (wrong == NULL)
			wrong = properties[i](t);
	r->count++;
	r->failed += !same || wrong != NULL;
	printf("%sok %u - %s: %s\n", same && !wrong ? "" : "not ", r->count,
	       t->phase, t->name);
	if (wrong != NULL)
		print_lines(wrong, t->actual);
	if (!same) {
		print_lines("expected", t->expected);
		print_lines("but it is", t->actual);
	}
}

/* --sent: what a case needs to be run on a server. */
static void print_sent(const struct run *r, const struct test_case *t)
{
	const struct plan *plan = t->plan;
	json_t *cut = json_array(), *line;

	for (size_t i = 0; i < plan->n_stmts; i++)
		json_array_append_new(
		    cut, json_pack("[ibb]", plan->stmts[i].hidden,
				   plan->stmts[i].silent, plan->stmts[i].ours));
	line = json_pack("{ss ss ss ss so sb ss? si}", "case", t->name, "phase",
			 t->phase, "sql", t->sql, "sent",
			 plan->kind == PLAN_EDIT ? plan->text : t->sql, "cut",
			 cut, "old_shape", plan->old_shape != 0, "differs",
			 t->differs, "server", (int)r->server);
	if (plan->kind == PLAN_REFUSE) {
		json_decref(line);
		line = json_pack("{ss ss ss ss}", "refused", t->name, "phase",
				 t->phase, "message", plan->refusal.message,
				 "detail", plan->refusal.detail);
	}
	if (*r->hides == '\0' && !r->new_shape) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(line);
}

/* Reading. */

/* clang-format off */
static const char *const directives[] = {
	"schema", "phase", "session", "note", "case",
	"differs", "becomes", "passes", "refused",
};
/* clang-format on */

enum { DIRECTIVES = sizeof(directives) / sizeof(*directives), ANSWERS = 3 };

/* The lines up to the next of the first `n` directives, or the last ones. */
static const char *skip_to(const char *line, size_t first, size_t n,
			   struct arena *a)
{
	for (; *line != '\0'; line = next_line(line))
		for (size_t i = first; i < first + n; i++)
			if (directive(line, directives[i], a) != NULL)
				return line;
	return line;
}

static const char *trimmed(const char *from, const char *to, struct arena *a)
{
	while (to > from && (to[-1] == '\n' || to[-1] == ' '))
		to--;
	return arena_dup(a, from, (size_t)(to - from));
}

static const struct session_names *
session_names(const struct run *r, const struct ruleset *rules, struct arena *a)
{
	struct session_names *names = arena_alloc(a, sizeof(*names));

	names->new_shape = r->new_shape;
	for (size_t i = 0; i < rules->n_names; i++)
		if (strstr(r->hides, rules->names[i].name) != NULL)
			name_set_add(&names->hidden, i);
	return names;
}

static void run_in_phase(struct run *r, struct test_case *t, enum phase phase,
			 struct arena *a)
{
	const struct ruleset *rules =
	    model_rules(r->model, phase, r->prelock, r->server * 10000, a);

	t->phase = phase_name(phase);
	t->planned =
	    model_rules(r->model, PHASE_PLANNED, false, r->server * 10000, a);
	t->req = (struct rewrite_request){.sql = t->sql,
					  .len = strlen(t->sql),
					  .rules = rules,
					  .names = session_names(r, rules, a),
					  .read_new = !r->reads_old,
					  .flags = r->flags};
	t->plan = rewrite_plan(&t->req, a);
	t->actual = render(t->plan, a);
	if (r->mode == MODE_TEST)
		report(r, t);
	else if (r->mode == MODE_SENT)
		print_sent(r, t);
}

/* A refusal that is as expected stays as short as it was written; a new one
 * does not say the phase, for there may be several. */
static void write_answer(struct run *r, const struct test_case *t,
			 struct arena *a)
{
	const char *text = model_contract(
	    r->model, is_as_expected(t) ? t->expected : t->actual, a);
	const char *phase = strstr(text, " while migration ");
	int len = t->plan->kind == PLAN_REFUSE && phase != NULL
		      ? (int)(phase - text)
		      : (int)strlen(text);

	fprintf(r->updated, "%.*s\n\n", len, text);
}

static void run_case(struct run *r, struct test_case *t)
{
	const char *at = r->phases;
	enum phase phase;
	struct arena a;
	bool everywhere = r->mode == MODE_SENT && !r->prelock;

	arena_init(&a);
	for (unsigned p = 0; everywhere && p < PHASE_COUNT; p++)
		run_in_phase(r, t, (enum phase)p, &a);
	while (!everywhere && *at != '\0') {
		size_t len = strcspn(at, " ");

		if (!phase_from_name(at, len, &phase))
			errx(1, "%s: no phase %s", r->path, at);
		run_in_phase(r, t, phase, &a);
		at += len + strspn(at + len, " ");
	}
	if (r->mode == MODE_UPDATE)
		write_answer(r, t, &a);
	arena_free(&a);
}

/* One case from its directive on; returns what follows it. */
static const char *read_case(struct run *r, const char *line, const char *name)
{
	struct arena *a = &r->arena;
	const char *sql = next_line(line);
	const char *sql_end =
	    skip_to(sql, DIRECTIVES - ANSWERS - 1, ANSWERS + 1, a);
	const char *answer = skip_to(sql_end, DIRECTIVES - ANSWERS, ANSWERS, a);
	const char *end =
	    skip_to(next_line(answer), 0, DIRECTIVES - ANSWERS, a);
	struct test_case t = {.file = r->path,
			      .name = name,
			      .differs = directive(sql_end, "differs", a)};

	if (r->model == NULL || r->phases == NULL)
		errx(1, "%s: a case before schema and phase", r->path);
	t.sql = trimmed(sql, sql_end, a);
	t.expected = model_expand(r->model, trimmed(answer, end, a), a);
	if (r->mode == MODE_UPDATE)
		fwrite(line, 1, (size_t)(answer - line), r->updated);
	run_case(r, &t);
	return end;
}

/* clang-format off */
static const struct {
	const char *name;
	unsigned flag;
} session_flags[] = {
	{"backslashes", REQUEST_BACKSLASHES},
	{"wide",        REQUEST_WIDE},
	{"typed",       REQUEST_TYPED},
	{"typed_other", REQUEST_TYPED | REQUEST_TYPED_OTHER},
	{"alone",       REQUEST_ALONE},
};
/* clang-format on */

static bool read_flag(struct run *r, const char *rest)
{
	for (size_t i = 0; i < sizeof(session_flags) / sizeof(*session_flags);
	     i++) {
		if (strcmp(rest, session_flags[i].name) != 0)
			continue;
		r->flags |= session_flags[i].flag;
		return true;
	}
	return false;
}

static void read_session(struct run *r, const char *rest)
{
	if (strncmp(rest, "hides ", 6) == 0)
		r->hides = rest + 6;
	else if (strcmp(rest, "reads_old") == 0)
		r->reads_old = true;
	else if (strcmp(rest, "prelock") == 0)
		r->prelock = true;
	else if (strcmp(rest, "new_shape") == 0)
		r->new_shape = true;
	else if (strncmp(rest, "server ", 7) == 0)
		r->server = (unsigned)strtoul(rest + 7, NULL, 10);
	else if (!read_flag(r, rest))
		errx(1, "%s: session: %s", r->path, rest);
}

static void read_line(struct run *r, const char *line)
{
	struct arena *a = &r->arena;
	const char *rest;

	if ((rest = directive(line, "schema", a)) != NULL) {
		const char *slash = strrchr(r->path, '/');

		r->model = model_read(
		    arena_fmt(a, "%.*s%s",
			      slash == NULL ? 0 : (int)(slash + 1 - r->path),
			      r->path, rest),
		    a);
		if (r->mode == MODE_SENT)
			setup_print(r->model, a);
	}
	if ((rest = directive(line, "phase", a)) != NULL) {
		r->phases = rest;
		r->reads_old = r->prelock = r->new_shape = false;
		r->flags = r->server = 0;
		r->hides = "";
	}
	if ((rest = directive(line, "session", a)) != NULL)
		read_session(r, rest);
}

static void run_file(struct run *r)
{
	char *updated = NULL;
	size_t size = 0;
	const char *line, *name;

	arena_init(&r->arena);
	line = read_file(r->path, &r->arena);
	r->updated = open_memstream(&updated, &size);
	while (*line != '\0') {
		name = directive(line, "case", &r->arena);
		if (name != NULL) {
			line = read_case(r, line, name);
			continue;
		}
		read_line(r, line);
		fwrite(line, 1, (size_t)(next_line(line) - line), r->updated);
		line = next_line(line);
	}
	fclose(r->updated);
	if (r->mode == MODE_UPDATE) {
		FILE *f = fopen(r->path, "w");

		if (f == NULL || fwrite(updated, 1, size, f) != size ||
		    fclose(f) != 0)
			err(1, "%s", r->path);
	}
	free(updated);
	arena_free(&r->arena);
}

int main(int argc, char **argv)
{
	struct run r = {.mode = MODE_TEST};
	int first = 1;

	if (argc > 1 && strcmp(argv[1], "--update") == 0)
		r.mode = MODE_UPDATE, first++;
	else if (argc > 1 && strcmp(argv[1], "--sent") == 0)
		r.mode = MODE_SENT, first++;
	for (int i = first; i < argc; i++) {
		r.path = argv[i];
		r.model = NULL;
		r.phases = NULL;
		run_file(&r);
	}
	if (r.mode == MODE_TEST)
		printf("1..%u\n", r.count);
	rewrite_thread_end();
	return r.failed > 0;
}

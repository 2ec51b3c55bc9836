/*
 * Life of the control side, and the commands that are neither moves (move.c)
 * nor views (views.c).
 */
#include "daemon/phase/control.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/phase/configure.h"
#include "daemon/phase/db.h"
#include "daemon/phase/job.h"
#include "daemon/phase/keeper.h"
#include "daemon/phase/snapshot_make.h"
#include "daemon/phase/walks.h"
#include "rewrite/rewrite.h"

static struct control *control_create(void)
{
	struct control *c = calloc(1, sizeof(*c));
	char host[64] = "";

	if (!c)
		abort();
	gethostname(host, sizeof(host) - 1);
	snprintf(c->instance, sizeof(c->instance), "%s:%ld", host,
		 (long)getpid());
	uv_mutex_init(&c->lock);
	uv_mutex_init(&c->configuring);
	return c;
}

bool control_start(struct settings *settings, struct control **ret,
		   struct snapshot **ret_first, struct problem *p)
{
	struct control *c = control_create();
	bool ok = configure(c, settings, p);

	if (ok) {
		uv_mutex_lock(&c->lock);
		ok = snapshot_make(c, ret_first, p);
		uv_mutex_unlock(&c->lock);
	}
	if (!ok) {
		control_stop(c);
		return false;
	}
	*ret = c;
	return true;
}

void control_attach(struct control *c, struct server *s)
{
	struct problem p;

	uv_mutex_lock(&c->lock);
	c->server = s;
	/* What a keeper has seen since the first snapshot was made. */
	if (!snapshot_publish(c, &p))
		log_error("%s", p.message);
	uv_mutex_unlock(&c->lock);
}

bool control_reload(struct control *c, struct settings *settings,
		    struct problem *p)
{
	if (!configure(c, settings, p))
		return false;
	/* configure holds a reference of its own. */
	settings_unref(settings);
	return true;
}

void control_stop(struct control *c)
{
	uv_mutex_lock(&c->lock);
	c->stopping = true;
	uv_mutex_unlock(&c->lock);
	for (size_t i = 0; i < c->n_databases; i++)
		keeper_join(c->databases[i]);
	for (size_t i = 0; i < c->n_databases; i++)
		database_free(c->databases[i]);
	free(c->databases);
	if (c->settings)
		settings_unref(c->settings);
	uv_mutex_destroy(&c->configuring);
	uv_mutex_destroy(&c->lock);
	free(c);
}

/* -- the walker -- */

static bool walk_start(struct job *j, struct problem *p)
{
	if (j->row.filled &&
	    (j->row.phase == PHASE_DUAL_WRITE || j->row.old_stale)) {
		problem_set(p, "55000",
			    "pgtandem: migration %s (phase %s): "
			    "its walk is complete",
			    j->m->name, phase_name(j->row.phase));
		problem_hint(p,
			     "VERIFY %s compares again, REPAIR %s syncs "
			     "what it finds.",
			     j->m->name, j->m->name);
		return false;
	}
	if (!walk_is_due(&j->row)) {
		problem_set(p, "55000",
			    "pgtandem: migration %s (phase %s): "
			    "there is nothing to fill in this phase",
			    j->m->name, phase_name(j->row.phase));
		problem_hint(p, "A walk belongs to dual_write, and to "
				"write_new after a ROLLBACK from new_only.");
		return false;
	}
	return walks_restart(j, p);
}

static bool walk_pause(struct job *j, bool paused, struct problem *p)
{
	if (!state_set(j->db, j->m->name, STATE_PAUSED, paused ? "t" : "f", p))
		return false;
	walks_pause(j->m, paused);
	return job_look(j, p);
}

bool control_walk(struct control *c, const char *migration,
		  enum walk_command what, struct problem *p)
{
	struct job j;
	bool ok = false;

	/* A start changes what a mover relies on; the others do not. */
	if (!job_begin(c, migration, what == WALK_START ? "BACKFILL" : NULL,
		       NULL, &j, p))
		return false;
	switch (what) {
	case WALK_START:
		ok = walk_start(&j, p);
		break;
	case WALK_PAUSE:
	case WALK_RESUME:
		ok = walk_pause(&j, what == WALK_PAUSE, p);
		break;
	}
	job_end(&j);
	return ok;
}

bool control_verify(struct control *c, const char *migration,
		    const struct progress *pg, struct verify_result *ret,
		    struct problem *p)
{
	struct walk_result r;
	struct job j;
	bool ok;

	if (!job_begin(c, migration, "VERIFY", pg, &j, p))
		return false;
	ok = walks_verify(&j, &r, p);
	if (ok)
		*ret = (struct verify_result){
		    .compared = r.compared,
		    .missing = r.missing,
		    .extra = r.extra,
		    .different = r.different,
		    .lossy = r.lossy,
		};
	job_end(&j);
	return ok;
}

const char *control_find_stale(struct control *c, struct arena *a)
{
	const char *stale = NULL;

	uv_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n_databases && stale == NULL; i++) {
		struct database *d = c->databases[i];

		if (d->n_migrations > 0 &&
		    atomic_load(&d->lease.fresh_until_ns) < uv_hrtime())
			stale = arena_str(a, d->name);
	}
	uv_mutex_unlock(&c->lock);
	return stale;
}

static bool repair(struct job *j, uint64_t *ret, struct problem *p)
{
	struct state_event e = {.who = job_who(j),
				.what = "repair",
				.from = j->row.phase,
				.to = j->row.phase};
	struct walk_result r;
	enum walk_direction d;

	if (!walk_direction_of(j->row.phase, &d)) {
		problem_set(p, "55000",
			    "pgtandem: migration %s (phase %s): "
			    "there are no two models to repair",
			    j->m->name, phase_name(j->row.phase));
		return false;
	}
	if (!walks_run(j, WALK_JOB_REPAIR, d, &r, p))
		return false;
	*ret = r.inserted + r.synced + r.swept;
	e.detail = arena_fmt(&j->arena, "%" PRIu64 " rows", *ret);
	return state_log(j->db, j->m->name, j->row.epoch, &e, p);
}

bool control_repair(struct control *c, const char *migration,
		    const struct progress *pg, uint64_t *ret_repaired,
		    struct problem *p)
{
	struct job j;
	bool ok;

	if (!job_begin(c, migration, "REPAIR", pg, &j, p))
		return false;
	ok = repair(&j, ret_repaired, p);
	job_end(&j);
	return ok;
}

/* -- SET -- */

static const struct set {
	const char *name;
	enum state_setting what;
	uint64_t max;
	const char *expects;
} sets[] = {
    {"rate", STATE_RATE, 1000000000, "rows per second, 0 for no limit"},
    {"read_percent", STATE_READ_PERCENT, 100, "a number from 0 to 100"},
};

static const struct set *set_find(const char *name)
{
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (strcmp(sets[i].name, name) == 0)
			return &sets[i];
	return NULL;
}

static bool set_read(const struct set *s, const char *value, uint64_t *ret,
		     struct problem *p)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(value, &end, 10);
	if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0 &&
	    n <= s->max) {
		*ret = n;
		return true;
	}
	return problem_set(p, "22023", "pgtandem: %s is %s, not \"%s\"",
			   s->name, s->expects, value);
}

bool control_set(struct control *c, const char *migration, const char *name,
		 const char *value, struct problem *p)
{
	const struct set *s = set_find(name);
	char text[24];
	struct job j;
	uint64_t n = 0;
	bool ok;

	if (!s) {
		problem_set(p, "42704",
			    "pgtandem: a migration has no setting "
			    "\"%s\"",
			    name);
		problem_hint(p, "There are rate and read_percent.");
		return false;
	}
	if (!set_read(s, value, &n, p) ||
	    !job_begin(c, migration, NULL, NULL, &j, p))
		return false;
	snprintf(text, sizeof(text), "%" PRIu64, n);
	ok = state_set(j.db, j.m->name, s->what, text, p);
	if (ok && s->what == STATE_RATE)
		walks_set_rate(j.m, n);
	ok = ok && job_look(&j, p);
	job_end(&j);
	return ok;
}

/* -- EXPLAIN REWRITE -- */

/* One migration alone, as if it stood in that phase and nothing shadowed its
 * names. */
static bool explain(struct job *j, enum phase phase, const char *sql,
		    struct arena *a, const char **ret_text,
		    struct problem *ret_refusal, struct problem *p)
{
	struct state_row row = j->row;
	struct rule_migration rule;
	struct ruleset_input in = {
	    .serial = 1,
	    .database = j->m->database->name,
	    .max_statement_bytes = j->settings->max_statement_bytes,
	    .server_version = (unsigned)PQserverVersion(j->db),
	    .n_migrations = 1,
	    .migrations = &rule,
	};
	struct rewrite_request req = {
	    .sql = sql, .len = strlen(sql), .read_new = true};
	const struct plan *plan;

	if (phase != PHASE_COUNT)
		row.phase = phase;
	rule_fill(j->spec, &row, j->lenses, &rule);
	if (!ruleset_build(&in, &j->arena, &req.rules, p))
		return false;
	plan = rewrite_plan(&req, &j->arena);
	*ret_text = NULL;
	switch (plan->kind) {
	case PLAN_PASS:
		*ret_text = arena_str(a, sql);
		break;
	case PLAN_EDIT:
		*ret_text = arena_str(a, plan->text);
		break;
	case PLAN_REFUSE:
		*ret_refusal = plan->refusal;
		break;
	}
	return true;
}

bool control_explain(struct control *c, const char *migration, enum phase phase,
		     const char *sql, struct arena *a, const char **ret_text,
		     struct problem *ret_refusal, struct problem *p)
{
	struct job j;
	bool ok;

	if (!job_begin(c, migration, NULL, NULL, &j, p))
		return false;
	ok = explain(&j, phase, sql, a, ret_text, ret_refusal, p);
	job_end(&j);
	return ok;
}

#include "daemon/phase/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"
#include "daemon/phase/snapshot_make.h"

enum { CLAIM_TRIES = 20, CLAIM_PAUSE_MS = 50 };

static bool claim(struct job *j, const char *what, struct problem *p)
{
	struct migration *m = j->m;
	const char *other;

	uv_mutex_lock(&j->control->lock);
	other = m->busy;
	if (!other)
		m->busy = what;
	uv_mutex_unlock(&j->control->lock);
	j->exclusive = !other;
	if (!other)
		return true;
	problem_set(p, "55006", "pgtandem: migration %s: %s is at work on it",
		    m->name, other);
	problem_hint(p, "Wait for it, or cancel it where it was started.");
	return false;
}

static void unclaim(struct job *j)
{
	if (!j->exclusive)
		return;
	uv_mutex_lock(&j->control->lock);
	j->m->busy = NULL;
	uv_mutex_unlock(&j->control->lock);
	database_wake(j->m->database);
}

/* Epochs count from 1, so that 0 is free for the mover. A mover that has just
 * gone leaves its lock until the server has seen that it is gone. */
static bool claim_everywhere(struct job *j, struct problem *p)
{
	const char *const params[] = {j->m->name};
	int64_t got = 0;

	for (unsigned i = 0; i < CLAIM_TRIES && !got; i++) {
		if (i > 0 && !job_sleep(j, CLAIM_PAUSE_MS, p))
			return false;
		if (!db_number(j->db,
			       "SELECT pg_try_advisory_lock(hashtext("
			       "'pgtandem.' || $1), 0)::int",
			       1, params, 0, &got, p))
			return false;
	}
	if (got)
		return true;
	problem_set(p, "55006",
		    "pgtandem: migration %s: another instance is "
		    "at work on it",
		    j->m->name);
	problem_hint(p,
		     "SHOW EVENTS %s says what was done; wait for it, or "
		     "cancel it where it was started.",
		     j->m->name);
	return false;
}

bool job_begin(struct control *c, const char *migration, const char *what,
	       const struct progress *pg, struct job *ret, struct problem *p)
{
	struct job j = {.control = c, .progress = pg};

	j.m = migration_find(c, migration, p);
	if (!j.m || (what && !claim(&j, what, p)))
		return false;
	arena_init(&j.arena);
	uv_mutex_lock(&c->lock);
	j.settings = settings_ref(c->settings);
	j.spec = j.m->spec;
	uv_mutex_unlock(&c->lock);
	if (!db_connect(j.settings, j.m->database->name, &j.db, p)) {
		migration_problem(j.m, p);
	} else if ((!what || claim_everywhere(&j, p)) && job_refresh(&j, p)) {
		*ret = j;
		return true;
	}
	job_end(&j);
	return false;
}

void job_end(struct job *j)
{
	PQfinish(j->db);
	unclaim(j);
	settings_unref(j->settings);
	arena_free(&j->arena);
}

bool job_look(struct job *j, struct problem *p)
{
	if (!migration_adopt(j->m, j->db, p))
		return false;
	uv_mutex_lock(&j->control->lock);
	j->row = j->m->row;
	uv_mutex_unlock(&j->control->lock);
	return true;
}

bool job_refresh(struct job *j, struct problem *p)
{
	bool ok;

	if (!job_look(j, p))
		return false;
	uv_mutex_lock(&j->control->lock);
	ok = lenses_compile(j->spec, j->m->sources, &j->arena, &j->lenses, p) &&
	     lenses_find_earlier(j->m, &j->arena, &j->lenses, p);
	uv_mutex_unlock(&j->control->lock);
	return ok;
}

const char *job_who(struct job *j)
{
	const char *user = j->progress != NULL ? j->progress->user : NULL;

	return user != NULL ? arena_fmt(&j->arena, "%s at %s", user,
					j->control->instance)
			    : j->control->instance;
}

void job_notice(struct job *j, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_info("migration %s: %s", j->m->name, text);
	if (j->progress && j->progress->notice)
		j->progress->notice(j->progress->arg, text);
}

bool job_cancelled(struct job *j)
{
	bool stopping;

	uv_mutex_lock(&j->control->lock);
	stopping = j->control->stopping;
	uv_mutex_unlock(&j->control->lock);
	return stopping || (j->progress && j->progress->cancelled &&
			    j->progress->cancelled(j->progress->arg));
}

bool job_sleep(struct job *j, unsigned ms, struct problem *p)
{
	if (job_cancelled(j))
		return problem_set(p, "57014",
				   "pgtandem: migration %s: "
				   "cancelled",
				   j->m->name);
	uv_sleep(ms);
	return true;
}

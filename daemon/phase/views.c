/*
 * What operators see: the rows of control_view.
 *
 * Every view is a row of one table: its columns, and the function that writes
 * its rows.  A view looks and changes nothing.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/phase/barrier.h"
#include "daemon/phase/control.h"
#include "daemon/phase/db.h"
#include "daemon/phase/ddl_run.h"
#include "daemon/phase/job.h"
#include "daemon/phase/preflight.h"
#include "daemon/phase/walks.h"

enum { MAX_COLUMNS = 8 };

struct out {
	control_row_fn row;
	void *arg;
};

/* Every row of a query with as many columns as the view. */
static bool show_query(struct job *j, const struct out *o, const char *sql,
		       struct problem *p)
{
	const char *const params[] = {j->m->name};
	const char *values[MAX_COLUMNS];
	PGresult *r = db_query(j->db, p, sql, 1, params);

	if (!r)
		return false;
	for (int i = 0; i < PQntuples(r); i++) {
		for (int k = 0; k < PQnfields(r) && k < MAX_COLUMNS; k++)
			values[k] = db_text(r, i, k);
		o->row(o->arg, values);
	}
	PQclear(r);
	return true;
}

static bool show_findings(struct job *j, const struct out *o, struct problem *p)
{
	return show_query(j, o,
			  "SELECT kind, relation, key, detail, seen_at"
			  " FROM pgtandem.finding WHERE migration = $1"
			  " ORDER BY id",
			  p);
}

static bool show_events(struct job *j, const struct out *o, struct problem *p)
{
	return show_query(j, o,
			  "SELECT at, who, what, from_phase, to_phase, epoch,"
			  " detail FROM pgtandem.event WHERE migration = $1"
			  " ORDER BY id",
			  p);
}

static bool show_barrier(struct job *j, const struct out *o, struct problem *p)
{
	return barrier_show(j, o->row, o->arg, p);
}

static bool show_preflight(struct job *j, const struct out *o,
			   struct problem *p)
{
	return preflight_show(j, o->row, o->arg, p);
}

static void show_steps(struct job *j, const struct out *o, enum phase from,
		       enum phase to, bool before)
{
	const char *move =
	    arena_fmt(&j->arena, "%s to %s%s", phase_name(from), phase_name(to),
		      before ? "" : ", after the barrier");
	struct ddl_list list;

	ddl_collect(j->spec, j->lenses, from, to, before, &j->arena, &list);
	for (size_t i = 0; i < list.n; i++)
		o->row(o->arg, (const char *const[]){move, list.steps[i].what,
						     list.steps[i].sql});
}

static bool show_ddl(struct job *j, const struct out *o, struct problem *p)
{
	for (int from = 0; from + 1 < PHASE_COUNT; from++) {
		show_steps(j, o, from, from + 1, true);
		show_steps(j, o, from, from + 1, false);
	}
	for (int from = PHASE_NEW_ONLY; from > 0; from--) {
		show_steps(j, o, from, from - 1, true);
		show_steps(j, o, from, from - 1, false);
	}
	return true;
}

static const char *number(struct job *j, uint64_t n)
{
	return arena_fmt(&j->arena, "%" PRIu64, n);
}

static const char *or_null(const char *s)
{
	return s[0] ? s : NULL;
}

/* A walk that this process does not know, as the state tells of it. */
static bool show_stored_walk(struct job *j, const struct out *o,
			     struct problem *p)
{
	const char *const params[] = {j->m->name};
	PGresult *r =
	    db_query(j->db, p,
		     "SELECT sum(rows_done), sum(rows_total), max(mode),"
		     " max(state), max(error) FROM pgtandem.walk"
		     " WHERE migration = $1 AND job = 'fill'",
		     1, params);
	const char *state;

	if (!r)
		return false;
	state = j->row.filled ? "complete" : db_text(r, 0, 3);
	o->row(o->arg,
	       (const char *const[]){state ? state : "none",
				     db_text(r, 0, 0) ? db_text(r, 0, 0) : "0",
				     db_text(r, 0, 1) ? db_text(r, 0, 1) : "0",
				     "0", j->row.filled ? "0" : NULL,
				     db_text(r, 0, 2), NULL, db_text(r, 0, 4)});
	PQclear(r);
	return true;
}

/* The walk has ended for gates when its end is in the state, not before. */
static const char *walk_state_shown(const struct job *j,
				    const struct walk_progress *w)
{
	if (j->row.filled)
		return "complete";
	return walk_state_name(w->state == WALK_DONE ? WALK_RUNNING : w->state);
}

/* What a walk has got over is no news once it is complete. */
static const char *walk_trouble(const struct job *j,
				const struct walk_progress *w)
{
	if (j->row.filled)
		return NULL;
	return w->error[0] ? w->error : or_null(w->waiting_for);
}

static bool show_backfill(struct job *j, const struct out *o, struct problem *p)
{
	struct walk_progress w;

	if (!walks_progress(j->m, &w))
		return show_stored_walk(j, o, p);
	o->row(o->arg, (const char *const[]){
			   walk_state_shown(j, &w), number(j, w.rows_done),
			   number(j, w.rows_total), number(j, w.rows_per_s),
			   w.eta_s < 0 ? NULL : number(j, (uint64_t)w.eta_s),
			   walk_mode_name(w.mode), or_null(w.position),
			   walk_trouble(j, &w)});
	return true;
}

__attribute__((format(printf, 4, 5))) static void
say(struct job *j, const struct out *o, const char *name, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	o->row(o->arg, (const char *const[]){name, arena_str(&j->arena, text)});
}

static const char *yes_no(bool b)
{
	return b ? "yes" : "no";
}

static const char *moment(uint64_t ms, char ret[32])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(ret, 32, "%Y-%m-%d %H:%M:%S+00", &tm);
	return ms ? ret : "never";
}

static void say_apps(struct job *j, const struct out *o)
{
	struct usage *u = j->m->usage;
	char at[32];

	uv_mutex_lock(&u->lock);
	for (size_t i = 0; i < u->n_apps; i++)
		say(j, o, "old shape used by",
		    "%s (%s): %llu statements, last "
		    "at %s",
		    u->apps[i].user, u->apps[i].application, u->apps[i].count,
		    moment(u->apps[i].last_ms, at));
	uv_mutex_unlock(&u->lock);
}

static void say_usage(struct job *j, const struct out *o)
{
	struct usage *u = j->m->usage;
	char at[32];

	say(j, o, "old-shape reads", "%llu", atomic_load(&u->old_reads));
	say(j, o, "old-shape writes", "%llu", atomic_load(&u->old_writes));
	say(j, o, "new-shape statements", "%llu", atomic_load(&u->new_shape));
	say(j, o, "refused", "%llu", atomic_load(&u->refused));
	say(j, o, "errors", "%llu", atomic_load(&u->errors));
	say(j, o, "slowest statement", "%llu us", atomic_load(&u->slowest_us));
	say(j, o, "old shape last used", "%s",
	    moment(atomic_load(&u->last_old_ms), at));
	say_apps(j, o);
}

static void say_misfit(struct job *j, const struct out *o)
{
	struct problem misfit;

	uv_mutex_lock(&j->control->lock);
	misfit = j->m->misfit;
	uv_mutex_unlock(&j->control->lock);
	if (misfit.message[0])
		say(j, o, "does not fit", "%s", misfit.message);
}

static void say_state(struct job *j, const struct out *o)
{
	const struct state_row *row = &j->row;

	say(j, o, "migration", "%s", j->m->name);
	say(j, o, "database", "%s", j->m->database->name);
	say(j, o, "phase", "%s", phase_name(row->phase));
	say(j, o, "what it means", "%s", phase_what(row->phase));
	say(j, o, "epoch", "%" PRIu64, row->epoch);
	if (row->pending)
		say(j, o, "pending",
		    "the move from %s is not complete: "
		    "ADVANCE or ROLLBACK",
		    phase_name(row->from));
	say(j, o, "specification", "%s", j->spec->file);
	say(j, o, "specification hash", "%s", row->spec_hash);
	for (size_t i = 0; i < j->spec->n_lenses; i++)
		say(j, o, "lens", "%s to %s", j->lenses[i]->old_ref,
		    j->lenses[i]->new_ref);
	say(j, o, "read_percent", "%u", row->read_percent);
	say(j, o, "rate", "%" PRIu64, row->rate);
	say(j, o, "walk complete", "%s", yes_no(row->filled));
	say(j, o, "walk paused", "%s", yes_no(row->paused));
	say(j, o, "old is stale", "%s", yes_no(row->old_stale));
	say(j, o, "verified in this phase", "%s",
	    !row->verified ? "no"
	    : row->clean   ? "clean"
			   : "differences");
	say_misfit(j, o);
}

static bool show_migration(struct job *j, const struct out *o,
			   struct problem *p)
{
	say_state(j, o);
	if (!show_query(
		j, o,
		"SELECT v.name, v.value FROM pgtandem.migration m,"
		" LATERAL (VALUES"
		" ('phase entered', m.entered_at::text),"
		" ('verified at', coalesce(m.verified_at::text,"
		"  'never')),"
		" ('verified', coalesce(m.verified_summary, '')),"
		" ('findings', (SELECT count(*)::text"
		"  FROM pgtandem.finding f WHERE f.migration = m.name)),"
		" ('old shape last used, all instances',"
		"  coalesce(m.last_old_use::text, 'never'))"
		") AS v(name, value) WHERE m.name = $1",
		p))
		return false;
	say_usage(j, o);
	return true;
}

/* One database's migrations; what only it knows is NULL while it is away. */
static const char list_sql[] =
    "SELECT CASE WHEN verified_at IS NULL THEN 'never'"
    " WHEN verified_epoch <> epoch THEN 'at epoch ' || verified_epoch"
    "  || CASE WHEN verified_clean THEN ': clean' ELSE ': differences' END"
    " WHEN verified_clean THEN 'clean' ELSE 'differences' END,"
    " (SELECT count(*) FROM pgtandem.finding f WHERE f.migration = m.name),"
    " date_trunc('second', greatest(last_old_use, CASE WHEN $2 <> '0'"
    "  THEN to_timestamp($2::bigint / 1000.0) END))"
    " FROM pgtandem.migration m WHERE name = $1";

static void list_one(struct migration *m, PGconn *db, const struct out *o)
{
	char epoch[24], used[24];
	const char *const params[] = {m->name, used};
	struct problem ignored;
	struct state_row row;
	PGresult *r;
	bool known;

	uv_mutex_lock(&m->database->control->lock);
	row = m->row;
	uv_mutex_unlock(&m->database->control->lock);
	snprintf(epoch, sizeof(epoch), "%" PRIu64, row.epoch);
	snprintf(used, sizeof(used), "%llu",
		 atomic_load(&m->usage->last_old_ms));
	r = db ? db_query(db, &ignored, list_sql, 2, params) : NULL;
	known = r && PQntuples(r) > 0;
	o->row(o->arg, (const char *const[]){m->name, m->database->name,
					     phase_name(row.phase), epoch,
					     known ? db_text(r, 0, 0) : NULL,
					     known ? db_text(r, 0, 1) : NULL,
					     known ? db_text(r, 0, 2) : NULL});
	PQclear(r);
}

/* The i-th of a database; the arrays may grow between two calls. */
static struct migration *nth(struct control *c, size_t d, size_t i,
			     bool *ret_end)
{
	struct migration *m = NULL;

	uv_mutex_lock(&c->lock);
	*ret_end = d >= c->n_databases;
	if (!*ret_end && i < c->databases[d]->n_migrations)
		m = c->databases[d]->migrations[i];
	uv_mutex_unlock(&c->lock);
	return m;
}

static PGconn *connect_quietly(struct control *c, const char *database)
{
	struct problem ignored;
	struct settings *s;
	PGconn *db;
	bool ok;

	uv_mutex_lock(&c->lock);
	s = settings_ref(c->settings);
	uv_mutex_unlock(&c->lock);
	ok = db_connect(s, database, &db, &ignored);
	settings_unref(s);
	return ok ? db : NULL;
}

static bool show_list(struct control *c, const struct out *o)
{
	bool end = false;

	for (size_t d = 0; !end; d++) {
		struct migration *m = nth(c, d, 0, &end);
		PGconn *db = m ? connect_quietly(c, m->database->name) : NULL;

		for (size_t i = 0; m; m = nth(c, d, ++i, &end))
			if (!m->gone)
				list_one(m, db, o);
		PQfinish(db);
	}
	return true;
}

struct view {
	const char *columns[MAX_COLUMNS + 1];
	bool (*show)(struct job *j, const struct out *o, struct problem *p);
};

/* clang-format off */
static const struct view views[VIEW_COUNT] = {
	[VIEW_MIGRATIONS] = {
		{ "name", "database", "phase", "epoch", "verified", "findings",
		  "old_use_last" },
		NULL },		/* the only one that is not of one migration */
	[VIEW_MIGRATION] = { { "name", "value" }, show_migration },
	[VIEW_BACKFILL] = {
		{ "state", "rows_done", "rows_total", "rows_per_s", "eta_s",
		  "mode", "position", "error" },
		show_backfill },
	[VIEW_BARRIER] = {
		{ "who", "what", "since", "query" }, show_barrier },
	[VIEW_FINDINGS] = {
		{ "kind", "relation", "key", "detail", "seen_at" },
		show_findings },
	[VIEW_EVENTS] = {
		{ "at", "who", "what", "from", "to", "epoch", "detail" },
		show_events },
	[VIEW_PREFLIGHT] = {
		{ "severity", "what", "detail", "hint" }, show_preflight },
	[VIEW_DDL] = { { "move", "step", "sql" }, show_ddl },
};
/* clang-format on */

const char *const *control_columns(enum control_view v, size_t *ret_n)
{
	size_t n = 0;

	while (views[v].columns[n])
		n++;
	*ret_n = n;
	return views[v].columns;
}

bool control_view(struct control *c, enum control_view v, const char *migration,
		  control_row_fn row, void *arg, struct problem *p)
{
	const struct out o = {row, arg};
	struct job j;
	bool ok;

	if (!views[v].show)
		return show_list(c, &o);
	if (!job_begin(c, migration, NULL, NULL, &j, p))
		return false;
	ok = views[v].show(&j, &o, p);
	job_end(&j);
	return ok;
}

/*
 * A specification may change while its migration is in `planned`; from
 * `expanded` on objects made from it are in the database, and it is refused.
 * One whose models are both in use may not go away: its statements would pass
 * unsynced.
 *
 * A changed one becomes a migration of its own in memory, beside the old one
 * until both change places under the lock; so snapshots never see half of
 * either.
 */
#include "daemon/phase/configure.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"
#include "daemon/phase/keeper.h"
#include "daemon/phase/snapshot_make.h"

struct plan {
	struct control *control;
	struct settings *settings;
	size_t n;		     /* settings->n_specs */
	struct migration **kept;     /* the same as before, or NULL */
	struct migration **made;     /* new or changed, or NULL */
	struct database **databases; /* of each */
	size_t n_fresh;
	struct database **fresh; /* databases that were not known */
};

static struct database *database_known(struct plan *pl, const char *name)
{
	for (size_t i = 0; i < pl->control->n_databases; i++)
		if (strcmp(pl->control->databases[i]->name, name) == 0)
			return pl->control->databases[i];
	for (size_t i = 0; i < pl->n_fresh; i++)
		if (strcmp(pl->fresh[i]->name, name) == 0)
			return pl->fresh[i];
	return NULL;
}

static struct database *database_of(struct plan *pl, const char *name)
{
	struct database *d = database_known(pl, name);

	if (d)
		return d;
	d = database_create(pl->control, name);
	pl->fresh[pl->n_fresh++] = d;
	return d;
}

static struct migration *migration_known(const struct database *d,
					 const char *name)
{
	for (size_t i = 0; i < d->n_migrations; i++)
		if (!d->migrations[i]->gone &&
		    strcmp(d->migrations[i]->name, name) == 0)
			return d->migrations[i];
	return NULL;
}

static const struct spec *spec_find(const struct settings *s, const char *name,
				    const char *database)
{
	for (size_t i = 0; i < s->n_specs; i++)
		if (strcmp(s->specs[i]->name, name) == 0 &&
		    strcmp(s->specs[i]->database, database) == 0)
			return s->specs[i];
	return NULL;
}

/* Are both models in use, so that nothing may go by unsynced? */
static bool phase_is_under_way(enum phase phase)
{
	return phase >= PHASE_DUAL_WRITE && phase < PHASE_CONTRACTED;
}

static bool must_stay(const char *name, const char *database, enum phase phase,
		      struct problem *p)
{
	problem_set(p, "55000",
		    "pgtandem: migration %s stands in %s in "
		    "database %s, but no specification names it",
		    name, phase_name(phase), database);
	problem_hint(p, "Put its file back, or ROLLBACK it to expanded, or "
			"ADVANCE it to contracted first.");
	return false;
}

static bool busy(const struct migration *m, struct problem *p)
{
	problem_set(p, "55006", "pgtandem: migration %s: %s is at work on it",
		    m->name, m->busy);
	problem_hint(p, "RELOAD when it has ended.");
	return false;
}

/* What is in force now: nothing of it may be at work, nor get lost. */
static bool known_check(struct plan *pl, struct problem *p)
{
	struct control *c = pl->control;

	for (size_t d = 0; d < c->n_databases; d++) {
		for (size_t i = 0; i < c->databases[d]->n_migrations; i++) {
			struct migration *m = c->databases[d]->migrations[i];

			if (m->gone)
				continue;
			if (m->busy)
				return busy(m, p);
			if (!spec_find(pl->settings, m->name,
				       m->database->name) &&
			    phase_is_under_way(m->row.phase))
				return must_stay(m->name, m->database->name,
						 m->row.phase, p);
		}
	}
	return true;
}

static bool changed_too_late(const struct spec *spec,
			     const struct state_row *row, struct problem *p)
{
	problem_set(p, "55000",
		    "pgtandem: migration %s (phase %s): its "
		    "specification has changed since it was planned",
		    spec->name, phase_name(row->phase));
	problem_detail(p, "%s has hash %s, the state of database %s has %s.",
		       spec->file, spec->hash, spec->database, row->spec_hash);
	problem_hint(p, "Put the earlier text back (it is in spec_text of "
			"pgtandem.migration), or ROLLBACK to planned with it "
			"before changing it.");
	return false;
}

/* Reads or makes the row of a specification, and checks its hash. */
static bool row_prepare(struct control *c, PGconn *db, const struct spec *spec,
			struct problem *p)
{
	struct state_row row;
	bool found;

	if (!state_enrol(db, spec, c->instance, p) ||
	    !state_read(db, spec->name, &row, &found, p))
		return false;
	if (!found || strcmp(row.spec_hash, spec->hash) == 0)
		return true;
	if (row.phase != PHASE_PLANNED)
		return changed_too_late(spec, &row, p);
	log_info("migration %s (phase planned): new specification, hash %s",
		 spec->name, spec->hash);
	return state_respecify(db, spec, c->instance, p);
}

/* Migrations that the database knows and nobody configures. */
static bool orphans_check(struct plan *pl, PGconn *db, const char *database,
			  struct problem *p)
{
	PGresult *r = db_query(db, p,
			       "SELECT name, phase FROM pgtandem.migration"
			       " ORDER BY name",
			       0, NULL);
	bool ok = true;

	for (int i = 0; ok && i < PQntuples(r); i++) {
		const char *name = PQgetvalue(r, i, 0);
		const char *text = PQgetvalue(r, i, 1);
		enum phase phase;

		if (phase_from_name(text, strlen(text), &phase) &&
		    phase_is_under_way(phase) &&
		    !spec_find(pl->settings, name, database))
			ok = must_stay(name, database, phase, p);
	}
	ok = ok && r;
	PQclear(r);
	return ok;
}

/* At the start there is nobody to tell but the log, and other migrations to
 * serve; who reloads is told. */
static bool fits_or_starts(const struct plan *pl, const struct migration *m,
			   struct problem *p)
{
	if (m->unfit && pl->control->server != NULL) {
		*p = m->misfit;
		return false;
	}
	return true;
}

/* Everything of one database that is new or changed. */
static bool database_prepare(struct plan *pl, struct database *d, PGconn *db,
			     struct problem *p)
{
	if (!state_prepare(db, p))
		return false;
	for (size_t i = 0; i < pl->n; i++) {
		const struct spec *spec = pl->settings->specs[i];

		if (pl->databases[i] != d || pl->kept[i])
			continue;
		pl->made[i] = migration_create(d, pl->settings, spec);
		if (!row_prepare(pl->control, db, spec, p) ||
		    !migration_adopt(pl->made[i], db, p) ||
		    !fits_or_starts(pl, pl->made[i], p))
			return false;
	}
	return orphans_check(pl, db, d->name, p);
}

static bool is_to_prepare(const struct plan *pl, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (pl->databases[k] == pl->databases[i] && !pl->kept[k])
			return false; /* together with an earlier one */
	return !pl->kept[i];
}

static bool databases_prepare(struct plan *pl, struct problem *p)
{
	for (size_t i = 0; i < pl->n; i++) {
		struct database *d = pl->databases[i];
		PGconn *db;
		bool ok;

		if (!is_to_prepare(pl, i))
			continue;
		if (!db_connect(pl->settings, d->name, &db, p)) {
			struct problem was = *p;

			problem_set(p, was.sqlstate,
				    "pgtandem: database %s "
				    "cannot be reached: %s",
				    d->name, was.message);
			problem_hint(p, "The phases of its migrations are "
					"kept there: it must be up when "
					"pgtandem starts.");
			return false;
		}
		ok = database_prepare(pl, d, db, p);
		PQfinish(db);
		if (!ok)
			return false;
	}
	return true;
}

static void *grown(void *list, size_t n)
{
	void *more = realloc(list, n * sizeof(void *));

	if (!more)
		abort();
	return more;
}

static bool is_kept(const struct plan *pl, const struct migration *m)
{
	for (size_t i = 0; i < pl->n; i++)
		if (pl->kept[i] == m)
			return true;
	return false;
}

/* The same text, of the new settings. */
static void migration_take_spec(struct migration *m, struct settings *settings,
				size_t spec)
{
	struct settings *was = m->settings;

	m->spec = settings->specs[spec];
	m->settings = settings_ref(settings);
	settings_unref(was);
}

/* With control.lock held: from here nothing fails. */
static void migrations_install(struct plan *pl)
{
	struct control *c = pl->control;
	uint64_t lease_until =
	    uv_hrtime() + pl->settings->lease_ms * UINT64_C(1000000);

	for (size_t i = 0; i < c->n_databases; i++)
		for (size_t k = 0; k < c->databases[i]->n_migrations; k++) {
			struct migration *m = c->databases[i]->migrations[k];

			/* The first snapshot without it is the next one. */
			if (!is_kept(pl, m) && !m->gone)
				m->serial = c->serial + 1;
			m->gone = !is_kept(pl, m);
		}
	c->databases = grown(c->databases, c->n_databases + pl->n_fresh + 1);
	for (size_t i = 0; i < pl->n_fresh; i++) {
		/* Its state has just been read: a first lease from now on. */
		atomic_store(&pl->fresh[i]->lease.fresh_until_ns, lease_until);
		c->databases[c->n_databases++] = pl->fresh[i];
	}
	for (size_t i = 0; i < pl->n; i++) {
		struct database *d = pl->databases[i];

		if (pl->kept[i]) {
			migration_take_spec(pl->kept[i], pl->settings, i);
			continue;
		}
		d->migrations = grown(d->migrations, d->n_migrations + 1);
		d->migrations[d->n_migrations++] = pl->made[i];
		/* The first snapshot that knows it is the next one. */
		pl->made[i]->serial = c->serial + 1;
		pl->made[i] = NULL;
	}
}

/* The adopting locks keep `spec` still for those who read it there. */
static bool install(struct plan *pl, struct problem *p)
{
	struct control *c = pl->control;
	struct settings *was;
	bool ok;

	for (size_t i = 0; i < pl->n; i++)
		if (pl->kept[i])
			uv_mutex_lock(&pl->kept[i]->adopting);
	uv_mutex_lock(&c->lock);
	was = c->settings;
	c->settings = settings_ref(pl->settings);
	migrations_install(pl);
	ok = snapshot_publish(c, p);
	uv_mutex_unlock(&c->lock);
	for (size_t i = 0; i < pl->n; i++)
		if (pl->kept[i])
			uv_mutex_unlock(&pl->kept[i]->adopting);
	if (was)
		settings_unref(was);
	for (size_t i = 0; i < pl->n_fresh; i++)
		keeper_start(pl->fresh[i]);
	return ok;
}

static void plan_make(struct plan *pl)
{
	for (size_t i = 0; i < pl->n; i++) {
		const struct spec *spec = pl->settings->specs[i];
		struct migration *m;

		pl->databases[i] = database_of(pl, spec->database);
		m = migration_known(pl->databases[i], spec->name);
		if (m && strcmp(m->spec->hash, spec->hash) == 0)
			pl->kept[i] = m;
	}
}

static void plan_free(struct plan *pl, bool installed)
{
	for (size_t i = 0; i < pl->n; i++)
		if (pl->made[i])
			migration_free(pl->made[i]);
	for (size_t i = 0; !installed && i < pl->n_fresh; i++)
		database_free(pl->fresh[i]);
	free(pl->kept);
	free(pl->made);
	free(pl->databases);
	free(pl->fresh);
}

bool configure(struct control *c, struct settings *settings, struct problem *p)
{
	size_t n = settings->n_specs;
	struct plan pl = {
	    .control = c,
	    .settings = settings,
	    .n = n,
	    .kept = calloc(n + 1, sizeof(void *)),
	    .made = calloc(n + 1, sizeof(void *)),
	    .databases = calloc(n + 1, sizeof(void *)),
	    .fresh = calloc(n + 1, sizeof(void *)),
	};
	bool ok;

	if (!pl.kept || !pl.made || !pl.databases || !pl.fresh)
		abort();
	uv_mutex_lock(&c->configuring);
	plan_make(&pl);
	uv_mutex_lock(&c->lock);
	ok = known_check(&pl, p);
	uv_mutex_unlock(&c->lock);
	ok = ok && databases_prepare(&pl, p);
	if (ok && !install(&pl, p))
		log_error("reload: %s", p->message);
	plan_free(&pl, ok);
	uv_mutex_unlock(&c->configuring);
	return ok;
}

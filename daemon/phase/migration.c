#include "daemon/phase/migration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/catalog_load.h"
#include "daemon/phase/db.h"
#include "daemon/phase/snapshot_make.h"
#include "daemon/phase/walks.h"

static void *zeroed(size_t n, size_t size)
{
	void *all = calloc(n ? n : 1, size);

	if (!all)
		abort();
	return all;
}

static void sources_free(struct lens_source *sources, size_t n)
{
	for (size_t i = 0; sources && i < n; i++) {
		free(sources[i].old_json);
		free(sources[i].new_json);
		free(sources[i].fingerprint);
	}
	free(sources);
}

struct migration *migration_create(struct database *d,
				   struct settings *settings,
				   const struct spec *spec)
{
	struct migration *m = zeroed(1, sizeof(*m));

	m->database = d;
	snprintf(m->name, sizeof(m->name), "%s", spec->name);
	m->spec = spec;
	m->settings = settings_ref(settings);
	m->usage = zeroed(1, sizeof(*m->usage));
	uv_mutex_init(&m->usage->lock);
	uv_mutex_init(&m->adopting);
	uv_mutex_init(&m->walking);
	return m;
}

void migration_free(struct migration *m)
{
	walk_run_free(m->walk);
	sources_free(m->sources, m->n_lenses);
	uv_mutex_destroy(&m->walking);
	uv_mutex_destroy(&m->adopting);
	uv_mutex_destroy(&m->usage->lock);
	free(m->usage);
	settings_unref(m->settings);
	free(m);
}

struct database *database_create(struct control *c, const char *name)
{
	struct database *d = zeroed(1, sizeof(*d));

	d->control = c;
	snprintf(d->name, sizeof(d->name), "%s", name);
	uv_cond_init(&d->wake);
	return d;
}

void database_free(struct database *d)
{
	for (size_t i = 0; i < d->n_migrations; i++)
		migration_free(d->migrations[i]);
	free(d->migrations);
	uv_cond_destroy(&d->wake);
	free(d);
}

void database_wake(struct database *d)
{
	uv_mutex_lock(&d->control->lock);
	d->awake = true;
	uv_cond_signal(&d->wake);
	uv_mutex_unlock(&d->control->lock);
}

static struct migration *find_in(const struct database *d, const char *name)
{
	for (size_t i = 0; i < d->n_migrations; i++)
		if (!d->migrations[i]->gone &&
		    strcmp(d->migrations[i]->name, name) == 0)
			return d->migrations[i];
	return NULL;
}

struct migration *migration_find(struct control *c, const char *name,
				 struct problem *p)
{
	struct migration *m = NULL;

	uv_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n_databases && !m; i++)
		m = find_in(c->databases[i], name);
	uv_mutex_unlock(&c->lock);
	if (m)
		return m;
	problem_set(p, "42704", "pgtandem: there is no migration \"%s\"", name);
	problem_hint(p, "SHOW MIGRATIONS lists them; RELOAD reads new "
			"specifications.");
	return NULL;
}

void migration_problem(const struct migration *m, struct problem *p)
{
	struct problem was = *p;

	problem_set(p, was.sqlstate, "pgtandem: migration %s (phase %s): %s",
		    m->name, phase_name(m->row.phase), was.message);
	problem_detail(p, "%s", was.detail);
	problem_hint(p, "%s", was.hint);
}

static char *copied(const char *s)
{
	return s ? strdup(s) : NULL;
}

/* With the names that the specification's expressions may mean. */
static bool old_load(PGconn *db, const struct spec_lens *l, char **ret,
		     struct problem *p)
{
	char *expressions = catalog_expressions(l);
	bool ok =
	    catalog_load(db, l->old.schema, l->old.name, expressions, ret, p);

	free(expressions);
	return ok;
}

/*
 * Is the old relation as the state describes it?  One that is both models has
 * more columns than the old one from `expanded` on, and in the end fewer; one
 * that stays while its columns move is altered from write_new on, for the new
 * model's sake.
 */
static bool is_stored(const struct spec_lens *l, const struct state_row *row)
{
	if (l->kind == LENS_COLUMNS)
		return row->phase != PHASE_PLANNED;
	if (l->kind == LENS_CHILD)
		return row->phase >= PHASE_WRITE_NEW ||
		       (row->pending && row->from == PHASE_WRITE_NEW);
	return row->phase == PHASE_CONTRACTED && !row->pending;
}

static bool source_load(PGconn *db, const struct spec *spec, unsigned i,
			bool stored, struct lens_source *ret, struct problem *p)
{
	const struct spec_lens *l = &spec->lenses[i];

	if (!stored && !old_load(db, l, &ret->old_json, p))
		return false;
	if (!ret->old_json &&
	    !state_description(db, spec->name, i + 1, &ret->old_json, p))
		return false;
	if (l->kind == LENS_COLUMNS)
		return !stored || old_load(db, l, &ret->new_json, p);
	return catalog_load(db, l->new.schema, l->new.name, NULL,
			    &ret->new_json, p);
}

static char *fingerprint(const struct spec_lens *l, bool stored,
			 const char *old, const char *new)
{
	bool in_place = l->kind == LENS_COLUMNS;
	char *text;

	if (asprintf(&text, "%s | %s%s", stored && !in_place ? "stored" : old,
		     in_place ? "same" : new, stored ? "c" : "") < 0)
		abort();
	return text;
}

/* Of each lens the old relation and the new one. */
static bool sources_fingerprint(PGconn *db, const struct spec *spec,
				const struct state_row *row,
				struct lens_source *ret, struct problem *p)
{
	size_t n = spec->n_lenses;
	struct spec_name *relations = zeroed(2 * n, sizeof(*relations));
	struct catalog_print *prints = zeroed(2 * n, sizeof(*prints));
	bool ok;

	for (size_t i = 0; i < n; i++) {
		relations[2 * i] = spec->lenses[i].old;
		relations[2 * i + 1] = spec->lenses[i].new;
	}
	ok = catalog_fingerprints(db, relations, 2 * n, prints, p);
	for (size_t i = 0; ok && i < n; i++) {
		ret[i].fingerprint = fingerprint(
		    &spec->lenses[i], is_stored(&spec->lenses[i], row),
		    prints[2 * i].text, prints[2 * i + 1].text);
		if (row->phase == PHASE_CONTRACTED)
			ret[i].husk = prints[2 * i].husk;
	}
	for (size_t i = 0; i < 2 * n; i++)
		free(prints[i].text);
	free(prints);
	free(relations);
	return ok;
}

/* The sources as they are now; *ret_changed if any differs from the held. */
static bool sources_load(const struct migration *m, PGconn *db,
			 const struct state_row *row, struct lens_source *next,
			 bool *ret_changed, struct problem *p)
{
	*ret_changed = !m->sources;
	if (!sources_fingerprint(db, m->spec, row, next, p))
		return false;
	for (unsigned i = 0; i < m->spec->n_lenses; i++) {
		const struct lens_source *was =
		    m->sources ? &m->sources[i] : NULL;
		bool stored = is_stored(&m->spec->lenses[i], row);

		*ret_changed |= was && was->husk != next[i].husk;
		if (was && strcmp(was->fingerprint, next[i].fingerprint) == 0) {
			next[i].old_json = copied(was->old_json);
			next[i].new_json = copied(was->new_json);
			continue;
		}
		*ret_changed = true;
		if (!source_load(db, m->spec, i, stored, &next[i], p))
			return false;
	}
	return true;
}

static bool sources_compile(const struct spec *spec,
			    const struct lens_source *sources,
			    struct problem *p)
{
	const struct lens *const *lenses;
	struct arena a;
	bool ok;

	arena_init(&a);
	ok = lenses_compile(spec, sources, &a, &lenses, p);
	arena_free(&a);
	return ok;
}

/* What the last fitting descriptions said, but with the fingerprints of now,
 * so that the same misfit is told once. */
static void sources_keep(const struct migration *m, struct lens_source *next)
{
	for (unsigned i = 0; i < m->spec->n_lenses; i++) {
		free(next[i].old_json);
		free(next[i].new_json);
		next[i].old_json = copied(m->sources[i].old_json);
		next[i].new_json = copied(m->sources[i].new_json);
	}
}

static void sources_without_new(const struct migration *m,
				struct lens_source *next)
{
	for (unsigned i = 0; i < m->spec->n_lenses; i++) {
		free(next[i].new_json);
		next[i].new_json = NULL;
	}
}

/*
 * A catalog that does not fit the lens any more, or in `planned` not yet,
 * must not stop statements that do not mind: they go on by the description
 * that fitted, and the next move is refused with the reason (gate.c).
 */
static bool sources_fit(struct migration *m, const struct state_row *row,
			struct lens_source *next, bool *ret_unfit,
			struct problem *ret_misfit, struct problem *p)
{
	*ret_unfit = false;
	if (sources_compile(m->spec, next, ret_misfit)) {
		ret_misfit->message[0] = '\0';
		return true;
	}
	log_error("migration %s (phase %s): the catalog does not fit the "
		  "specification: %s",
		  m->name, phase_name(row->phase), ret_misfit->message);
	if (row->phase == PHASE_PLANNED) {
		sources_without_new(m, next);
		*ret_unfit = !sources_compile(m->spec, next, p);
		return true;
	}
	if (m->sources && row->epoch == m->row.epoch) {
		sources_keep(m, next);
		return true;
	}
	*p = *ret_misfit;
	return false;
}

static bool install(struct migration *m, const struct state_row *row,
		    struct lens_source *next, bool unfit,
		    const struct problem *misfit, struct problem *p)
{
	struct control *c = m->database->control;
	struct lens_source *was;
	size_t n_was;
	bool ok;

	uv_mutex_lock(&c->lock);
	was = m->sources;
	n_was = m->n_lenses;
	if (row->epoch != m->row.epoch)
		m->serial = c->serial + 1;
	m->row = *row;
	m->sources = next;
	m->n_lenses = m->spec->n_lenses;
	m->unfit = unfit;
	if (misfit)
		m->misfit = *misfit;
	ok = snapshot_publish(c, p);
	uv_mutex_unlock(&c->lock);
	sources_free(was, n_was);
	return ok;
}

/* Field by field: the padding between them is anybody's guess. */
static bool rows_equal(const struct state_row *a, const struct state_row *b)
{
	return a->phase == b->phase && a->epoch == b->epoch &&
	       a->pending == b->pending && a->from == b->from &&
	       a->prelock == b->prelock && a->old_stale == b->old_stale &&
	       a->filled == b->filled && a->paused == b->paused &&
	       a->verified == b->verified && a->clean == b->clean &&
	       a->lossy == b->lossy && a->rate == b->rate &&
	       a->read_percent == b->read_percent &&
	       strcmp(a->spec_hash, b->spec_hash) == 0;
}

/* Is it another server than before? */
static bool note_version(struct database *d, PGconn *db)
{
	bool changed;

	uv_mutex_lock(&d->control->lock);
	changed = d->server_version != PQserverVersion(db);
	d->server_version = PQserverVersion(db);
	uv_mutex_unlock(&d->control->lock);
	return changed;
}

static bool adopt(struct migration *m, PGconn *db, struct problem *p)
{
	bool upgraded = note_version(m->database, db);
	struct lens_source *next;
	struct state_row row;
	struct problem misfit;
	bool found, changed, unfit = m->unfit;

	if (!state_read(db, m->name, &row, &found, p))
		return false;
	if (!found) {
		problem_set(p, "55000",
			    "pgtandem: migration %s is not in the "
			    "state of database %s any more",
			    m->name, m->database->name);
		problem_hint(p, "RELOAD plans it anew.");
		return false;
	}
	next = zeroed(m->spec->n_lenses, sizeof(*next));
	if (sources_load(m, db, &row, next, &changed, p) &&
	    (!changed || sources_fit(m, &row, next, &unfit, &misfit, p))) {
		if (changed || upgraded || !rows_equal(&row, &m->row))
			return install(m, &row, next, unfit,
				       changed ? &misfit : NULL, p);
		sources_free(next, m->spec->n_lenses);
		return true;
	}
	sources_free(next, m->spec->n_lenses);
	return false;
}

bool migration_adopt(struct migration *m, PGconn *db, struct problem *p)
{
	bool ok;

	uv_mutex_lock(&m->adopting);
	ok = adopt(m, db, p);
	uv_mutex_unlock(&m->adopting);
	return ok;
}

bool migration_fits(struct migration *m, PGconn *db, struct problem *p)
{
	size_t n = m->spec->n_lenses;
	struct lens_source *now = zeroed(n, sizeof(*now));
	struct state_row row;
	bool ok = true;

	uv_mutex_lock(&m->database->control->lock);
	row = m->row;
	uv_mutex_unlock(&m->database->control->lock);
	for (unsigned i = 0; ok && i < n; i++)
		ok = source_load(db, m->spec, i,
				 m->spec->lenses[i].kind == LENS_COLUMNS &&
				     is_stored(&m->spec->lenses[i], &row),
				 &now[i], p);
	ok = ok && sources_compile(m->spec, now, p);
	sources_free(now, n);
	return ok;
}

#include "daemon/phase/gate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/spec_types.h"
#include "daemon/phase/db.h"
#include "daemon/phase/foreign.h"
#include "daemon/phase/preflight.h"
#include "daemon/phase/walks.h"
#include "rewrite/lens/lens_child.h"

enum { LOOK_MS = 200, SAY_EVERY_MS = 3000 };

/* "pgtandem: migration m (phase p): " and the reason; 55000 is
 * object_not_in_prerequisite_state. */
__attribute__((format(printf, 3, 4))) static bool
shut(struct job *j, struct problem *p, const char *fmt, ...)
{
	char reason[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	return problem_set(p, "55000", "pgtandem: migration %s (phase %s): %s",
			   j->m->name, phase_name(j->row.phase), reason);
}

bool gate_preflight(struct gate_request *g, struct problem *p)
{
	return preflight_gate(g->job, p);
}

/* Is there such a relation between a migration and what a lens migrates?
 * With control.lock held. */
typedef bool in_the_way(const struct migration *m, const struct spec_lens *l);

/* It makes that, and has not ended. */
static bool is_making(const struct migration *m, const struct spec_lens *l)
{
	for (size_t i = 0; i < m->spec->n_lenses; i++)
		if (m->spec->lenses[i].new.name &&
		    spec_name_is(&m->spec->lenses[i].new, &l->old))
			return m->row.phase != PHASE_CONTRACTED ||
			       m->row.pending;
	return false;
}

/* It serves another old shape under that name. */
static bool is_serving(const struct migration *m, const struct spec_lens *l)
{
	for (size_t i = 0; i < m->spec->n_lenses; i++)
		if (spec_name_is(&m->spec->lenses[i].old, &l->old))
			return m->row.phase != PHASE_PLANNED;
	return false;
}

/* The name of another migration of the database that is in this one's way, in
 * the job's arena; NULL if there is none. */
static const char *find_in_way(struct job *j, in_the_way *is)
{
	const struct database *d = j->m->database;
	const char *name = NULL;

	uv_mutex_lock(&j->control->lock);
	for (size_t i = 0; !name && i < d->n_migrations; i++)
		for (size_t k = 0; !name && k < j->spec->n_lenses; k++)
			if (!d->migrations[i]->gone &&
			    d->migrations[i] != j->m &&
			    is(d->migrations[i], &j->spec->lenses[k]))
				name = arena_str(&j->arena,
						 d->migrations[i]->name);
	uv_mutex_unlock(&j->control->lock);
	return name;
}

/* A table that has kept its name has one old shape at a time. */
static bool has_name_alone(struct job *j, struct problem *p)
{
	const char *name = find_in_way(j, is_serving);

	if (!name)
		return true;
	shut(j, p,
	     "migration %s serves another old shape of a table under the name "
	     "that this one migrates",
	     name);
	problem_hint(p,
		     "Once %s is contracted and nobody uses its old shape any "
		     "more, take its file away and RELOAD.",
		     name);
	return false;
}

/* Two migrations of one relation stand in a row, never side by side. */
bool gate_in_turn(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	const char *name = find_in_way(j, is_making);

	if (!name)
		return has_name_alone(j, p);
	shut(j, p,
	     "migration %s, which makes what this one migrates on, has "
	     "not ended",
	     name);
	problem_hint(p, "ADVANCE %s TO contracted first.", name);
	return false;
}

bool gate_fits(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	struct problem misfit;

	uv_mutex_lock(&j->control->lock);
	misfit = j->m->misfit;
	uv_mutex_unlock(&j->control->lock);
	if (!misfit.message[0])
		return true;
	shut(j, p, "the catalog does not fit the specification any more");
	problem_detail(p, "%s", misfit.message);
	problem_hint(p, "%s%sBring the relations back to what %s says.",
		     misfit.hint, misfit.hint[0] ? " " : "", j->spec->file);
	return false;
}

static bool columns_are_key(const struct lens *l, const char *const *columns,
			    size_t n)
{
	if (n != l->n_key)
		return false;
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < n &&
		       (!columns[i] ||
			strcmp(l->new->columns[l->key[k].new_index].name,
			       columns[i]) != 0))
			k++;
		if (k == n)
			return false;
	}
	return true;
}

static bool new_has_key(const struct lens *l)
{
	for (size_t i = 0; i < l->new->n_constraints; i++) {
		const struct constraint *c = &l->new->constraints[i];

		if ((c->kind == CONSTRAINT_PRIMARY ||
		     c->kind == CONSTRAINT_UNIQUE) &&
		    !c->deferrable &&
		    columns_are_key(l, c->columns, c->n_columns))
			return true;
	}
	for (size_t i = 0; i < l->new->n_indexes; i++) {
		const struct index *x = &l->new->indexes[i];

		if (x->unique && !strstr(x->definition, " WHERE ") &&
		    columns_are_key(l, x->columns, x->n_columns))
			return true;
	}
	return false;
}

/* A move to planned, where nobody hides anything: what the team has added to
 * the one table, the team takes away. */
bool gate_columns_gone(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;

	for (size_t i = 0; i < j->spec->n_lenses; i++) {
		const struct lens *l = j->lenses[i];

		if (l->kind != LENS_COLUMNS || j->spec->ddl != DDL_MANUAL ||
		    l->new->oid == 0) /* worked out: they are not there */
			continue;
		shut(j, p, "%s has its new columns still", l->old_ref);
		problem_hint(p, "Drop them; every session hides them now.");
		return false;
	}
	return true;
}

/* A move to dual_write: the new model is there, and can be synced to. */
bool gate_new_usable(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;

	if (!gate_fits(g, p))
		return false;
	for (size_t i = 0; i < j->spec->n_lenses; i++) {
		const struct lens *l = j->lenses[i];

		const struct relation *new =
		    l->child ? l->child->relation : l->new;

		if (new->oid == 0) { /* worked out, not loaded */
			shut(j, p, "the new model %s does not exist",
			     l->child ? l->child->ref : l->new_ref);
			problem_hint(p,
				     "Create it as SHOW DDL %s says, or "
				     "ROLLBACK and ADVANCE again.",
				     j->m->name);
			return false;
		}
		if ((l->kind == LENS_TABLE || l->kind == LENS_MERGE) &&
		    !new_has_key(l)) {
			shut(j, p, "%s has no unique index on its key",
			     l->new_ref);
			problem_hint(p, "Create one: each sync finds its row "
					"by the key.");
			return false;
		}
	}
	return true;
}

static bool fill_unfinished(struct job *j, struct problem *p)
{
	struct walk_progress w;

	if (!walks_progress(j->m, &w)) {
		shut(j, p,
		     "the walk that makes both models equal has not "
		     "begun");
	} else if (w.state == WALK_FAILED) {
		shut(j, p, "the walk that makes both models equal has failed");
		problem_detail(p, "%s", w.error);
		problem_hint(p,
			     "Mend what it says; BACKFILL %s START begins "
			     "it again.",
			     j->m->name);
		return false;
	} else {
		shut(j, p,
		     "the walk that makes both models equal is not "
		     "complete: %s, %s, %" PRIu64 " of about %" PRIu64 " rows",
		     walk_state_name(w.state), walk_mode_name(w.mode),
		     w.rows_done, w.rows_total);
	}
	problem_hint(p, "SHOW BACKFILL %s shows its progress.", j->m->name);
	return false;
}

static bool fill_wait(struct job *j, struct problem *p)
{
	struct walk_progress w;
	unsigned waited = 0;

	while (!j->row.filled) {
		if (!walks_tend(j->m, j->db, true, p) || !job_look(j, p))
			return false;
		if (walks_progress(j->m, &w) && w.state == WALK_FAILED)
			return fill_unfinished(j, p);
		if (waited % SAY_EVERY_MS == 0 && walks_progress(j->m, &w))
			job_notice(j,
				   "waiting for the walk: %s, %" PRIu64
				   " of about %" PRIu64 " rows, %" PRIu64
				   " rows/s",
				   walk_mode_name(w.mode), w.rows_done,
				   w.rows_total, w.rows_per_s);
		if (!j->row.filled && !job_sleep(j, LOOK_MS, p))
			return false;
		waited += LOOK_MS;
	}
	return true;
}

/* The walk of this phase is complete; in write_new only after a way back. */
bool gate_filled(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;

	if (!gate_fits(g, p))
		return false;
	if (!walk_is_due(&j->row))
		return true;
	return g->wait ? fill_wait(j, p) : fill_unfinished(j, p);
}

static bool differ(struct job *j, const struct walk_result *r,
		   struct problem *p)
{
	uint64_t n = r->missing + r->extra + r->different + r->violations;

	shut(j, p,
	     "old and new differ in %" PRIu64 " rows: %" PRIu64
	     " missing, %" PRIu64 " extra, %" PRIu64 " different, %" PRIu64
	     " refused; %" PRIu64 " compared",
	     n, r->missing, r->extra, r->different, r->violations, r->compared);
	problem_hint(p,
		     "SHOW FINDINGS %s names rows; REPAIR %s syncs them; "
		     "then VERIFY %s, and give the command again.",
		     j->m->name, j->m->name, j->m->name);
	return false;
}

/*
 * Equal since the phase was entered; compared now if it has not been.  Where
 * rows may be lossy, an old value that was never written since differs from
 * what its new value says, and yet both are right: then the other direction
 * decides.
 */
bool gate_equal(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	struct walk_result r;

	if (j->row.verified && j->row.clean)
		return true;
	job_notice(j, "comparing all rows of both models");
	if (!walks_verify(j, &r, p))
		return false;
	if (walk_result_is_equal(&r))
		return true;
	if (j->row.phase != PHASE_WRITE_NEW || !j->spec->lossy_accept)
		return differ(j, &r, p);
	if (!walks_run(j, WALK_JOB_VERIFY, WALK_TO_NEW, &r, p))
		return false;
	return walk_result_is_equal(&r) || differ(j, &r, p);
}

/* The first few keys that one model cannot express, for messages. */
static const char *misfits(struct job *j)
{
	const char *const params[] = {j->m->name};
	struct problem ignored;
	const char *keys = "";
	PGresult *r =
	    db_query(j->db, &ignored,
		     "SELECT string_agg(format('%s (%s)', relation, key), ', ')"
		     " FROM (SELECT relation, key FROM pgtandem.finding"
		     " WHERE migration = $1 AND kind IN ('lossy', 'violation')"
		     " ORDER BY id LIMIT 10) f",
		     1, params);

	if (r && db_text(r, 0, 0))
		keys = arena_str(&j->arena, db_text(r, 0, 0));
	PQclear(r);
	return keys;
}

static bool misfit_shut(struct job *j, uint64_t n, const char *model,
			struct problem *p)
{
	shut(j, p, "%" PRIu64 " row%s cannot be expressed in the %s model", n,
	     n == 1 ? "" : "s", model);
	problem_detail(p, "Among them: %s", misfits(j));
	problem_hint(p,
		     "SHOW FINDINGS %s says why. Change them; what only "
		     "comes back different, `lossy: accept` in the "
		     "specification allows before the migration begins.",
		     j->m->name);
	return false;
}

bool gate_no_findings(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	const char *const params[] = {j->m->name};
	int64_t n;

	if (j->row.lossy > 0 && !j->spec->lossy_accept &&
	    j->row.phase == PHASE_DUAL_WRITE)
		return misfit_shut(j, j->row.lossy, "new", p);
	if (!db_number(j->db,
		       "SELECT count(*) FROM pgtandem.finding"
		       " WHERE migration = $1 AND kind <> 'lossy'",
		       1, params, 0, &n, p))
		return false;
	if (n == 0)
		return true;
	shut(j, p, "%" PRId64 " finding%s open", n, n == 1 ? " is" : "s are");
	problem_hint(p,
		     "SHOW FINDINGS %s names them; mend the rows, then "
		     "REPAIR %s and VERIFY %s.",
		     j->m->name, j->m->name, j->m->name);
	return false;
}

/* From new_only on a foreign key is all that its rows have. */
bool gate_foreign_keys(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	struct problem why;

	if (foreign_validate(j, &why))
		return true;
	shut(j, p, "a foreign key that moved to the new model does not hold");
	problem_detail(p, "%s %s", why.message, why.detail);
	problem_hint(p, "Mend the rows, and give the command again.");
	return false;
}

static uint64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Milliseconds without old shape: since its last use, as the state and this
 * instance know it, but no longer than the phase. */
static bool quiet_ms(struct job *j, uint64_t *ret, struct problem *p)
{
	const char *const params[] = {j->m->name};
	uint64_t seen = atomic_load(&j->m->usage->last_old_ms);
	uint64_t now = wall_ms();
	int64_t stored;

	if (!db_number(j->db,
		       "SELECT (extract(epoch FROM clock_timestamp() -"
		       " greatest(last_old_use, entered_at)) * 1000)::bigint"
		       " FROM pgtandem.migration WHERE name = $1",
		       1, params, 0, &stored, p))
		return false;
	*ret = stored > 0 ? (uint64_t)stored : 0;
	if (seen && (now <= seen || now - seen < *ret))
		*ret = now > seen ? now - seen : 0;
	return true;
}

bool gate_quiet(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	uint64_t quiet;

	if (!quiet_ms(j, &quiet, p))
		return false;
	if (quiet >= j->spec->quiet_for_ms)
		return true;
	if (g->force) {
		job_notice(j,
			   "forced: the old shape was used, or this phase "
			   "entered, %" PRIu64 " s ago",
			   quiet / 1000);
		return true;
	}
	shut(j, p,
	     "the old shape was used, or this phase entered, %" PRIu64
	     " s ago; quiet_for asks for %" PRIu64 " s",
	     quiet / 1000, j->spec->quiet_for_ms / 1000);
	problem_hint(p,
		     "SHOW MIGRATION %s says who uses it. ADVANCE %s FORCE "
		     "goes on: old-shape statements keep working through "
		     "the lens.",
		     j->m->name, j->m->name);
	return false;
}

bool gate_no_dependents(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	const char *all;

	if (!preflight_dependents(j, &all, p))
		return false;
	if (!all[0])
		return true;
	shut(j, p, "the old model cannot be dropped: something depends on it");
	problem_detail(p, "%s", all);
	problem_hint(p, "Drop these, or redefine them over the new model.");
	return false;
}

/* What an old model that nobody writes lacks is no finding. */
static bool findings_forget(struct job *j, struct problem *p)
{
	const char *const params[] = {j->m->name};
	PGresult *r = db_query(j->db, p,
			       "DELETE FROM pgtandem.finding WHERE migration ="
			       " $1 AND kind NOT IN ('lossy', 'violation')",
			       1, params);

	PQclear(r);
	return r;
}

/* Of several child rows the old model would lose all but one: nobody has
 * accepted that. */
static bool accepts_lossy(const struct job *j)
{
	for (size_t i = 0; i < j->spec->n_lenses; i++)
		if (j->spec->lenses[i].kind == LENS_CHILD)
			return false;
	return j->spec->lossy_accept;
}

/*
 * A way back to where old is written again: can it hold every row?  Where old
 * is current the same walk says whether both are equal, for gate_equal; from
 * new_only, where it is not, only what it cannot express counts.
 */
bool gate_old_can_hold(struct gate_request *g, struct problem *p)
{
	struct job *j = g->job;
	struct walk_result r;
	uint64_t n;
	bool ok;

	job_notice(j, "looking for rows that the old model cannot express");
	if (j->row.phase == PHASE_WRITE_NEW)
		ok = walks_verify(j, &r, p);
	else
		ok = walks_run(j, WALK_JOB_VERIFY, WALK_TO_OLD, &r, p) &&
		     findings_forget(j, p);
	if (!ok)
		return false;
	n = r.violations + (accepts_lossy(j) ? 0 : r.lossy);
	return n == 0 || misfit_shut(j, n, "old", p);
}

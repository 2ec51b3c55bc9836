/*
 * How a migration moves.
 *
 *   steady(A)  --announce-->  pending(A to B)  --complete-->  steady(B)
 *
 * announce   gates; then, in one transaction: the DDL that must come before,
 *            the old relations' descriptions, the state (phase B, epoch + 1,
 *            pending_from A), its event and NOTIFY.  Then a snapshot at the
 *            new epoch is published.
 * complete   the barrier; then, in one transaction: the DDL that may only
 *            come after, and pending_from is cleared.
 *
 * A mover that dies, a barrier whose time is over, or a lock that is not to
 * be had leaves the migration steady or pending, never between.  Sessions at
 * A and at B are safe together for any time, so pending may last: ADVANCE (or
 * ROLLBACK, if the move was one) goes on with `complete`; the opposite command
 * announces the way back from there.
 *
 * Invariant: an epoch is announced only when nobody is before the current one
 * any more (barrier_settle), so at most two epochs, and two neighbouring
 * phases, live at once.
 *
 * write_new has two epochs: with `prelock`, while sessions at read_new may
 * live beside it, and without.  Forward the second is announced when the
 * barrier has passed; backward the first is announced again beforehand.
 */
#include "daemon/phase/move.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/barrier.h"
#include "daemon/phase/db.h"
#include "daemon/phase/ddl_run.h"
#include "daemon/phase/foreign.h"
#include "daemon/phase/walks.h"

/* clang-format off */
static const struct move moves[] = {
	{ PHASE_PLANNED, PHASE_EXPANDED,
	  { gate_in_turn, gate_preflight },
	  .describe = true },
	{ PHASE_EXPANDED, PHASE_DUAL_WRITE,
	  { gate_new_usable },
	  .barrier = true, .fill = true, .describe = true },
	{ PHASE_DUAL_WRITE, PHASE_READ_NEW,
	  { gate_filled, gate_equal, gate_no_findings },
	  .barrier = true, .describe = true },
	{ PHASE_READ_NEW, PHASE_WRITE_NEW,
	  { gate_fits, gate_equal, gate_no_findings },
	  .barrier = true, .prelock = true, .describe = true },
	{ PHASE_WRITE_NEW, PHASE_NEW_ONLY,
	  { gate_filled, gate_equal, gate_no_findings, gate_foreign_keys },
	  .barrier = true, .stale = true },
	{ PHASE_NEW_ONLY, PHASE_CONTRACTED,
	  { gate_quiet, gate_no_dependents },
	  .barrier = true },

	{ PHASE_NEW_ONLY, PHASE_WRITE_NEW,
	  { gate_old_can_hold },
	  .barrier = true, .fill = true, .stale = true },
	{ PHASE_WRITE_NEW, PHASE_READ_NEW,
	  { gate_filled, gate_old_can_hold, gate_equal },
	  .barrier = true },
	{ PHASE_READ_NEW, PHASE_DUAL_WRITE,
	  { NULL },
	  .barrier = true },
	{ PHASE_DUAL_WRITE, PHASE_EXPANDED,
	  { NULL },
	  .barrier = true },
	{ PHASE_EXPANDED, PHASE_PLANNED,
	  { gate_columns_gone },
	  .barrier = true },
};
/* clang-format on */

const struct move *move_find(enum phase from, enum phase to)
{
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		if (moves[i].from == from && moves[i].to == to)
			return &moves[i];
	return NULL;
}

static bool is_back(const struct move *mv)
{
	return mv->to < mv->from;
}

/* Where both models are one table, what is added to it waits until everybody
 * hides it. */
static bool has_barrier(const struct job *j, const struct move *mv)
{
	bool in_place = false;

	for (size_t i = 0; i < j->spec->n_lenses; i++)
		in_place |= j->spec->lenses[i].kind == LENS_COLUMNS;
	return mv->barrier || in_place;
}

/* What a change of the state is made of, for ddl_run's last step. */
struct change {
	const struct move *move;
	struct state_row next;
	const char *what;
	const char *detail;
	const char *description; /* or NULL */
	bool check;		 /* the catalog must fit as the DDL leaves it */
};

static bool change_write(struct job *j, void *arg, struct problem *p)
{
	const struct change *ch = arg;
	struct state_event e = {
	    .who = job_who(j),
	    .what = ch->what,
	    .detail = ch->detail,
	    .from = ch->move->from,
	    .to = ch->move->to,
	};

	if (ch->check && !migration_fits(j->m, j->db, p))
		return false;
	if (ch->description &&
	    !state_describe(j->db, j->m->name, ch->description, p))
		return false;
	return state_change(j->db, j->m->name, &j->row, &ch->next, &e, p);
}

/* The old relations as they are now, one JSON text for each lens. */
static const char *describe(struct job *j)
{
	const char *all = "[";

	uv_mutex_lock(&j->control->lock);
	for (size_t i = 0; i < j->m->n_lenses; i++)
		all = arena_fmt(&j->arena, "%s%s%s", all, i ? "," : "",
				j->m->sources[i].old_json);
	uv_mutex_unlock(&j->control->lock);
	return arena_fmt(&j->arena, "%s]", all);
}

/* What is about to be done; how names are looked up meanwhile is no news. */
static void say_steps(struct job *j, const struct ddl_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (strncmp(list->steps[i].sql, "SET LOCAL", 9) != 0)
			job_notice(j, "%s", list->steps[i].what);
}

static bool announce(struct job *j, const struct move *mv, const char *detail,
		     struct problem *p)
{
	struct change ch = {.move = mv,
			    .next = j->row,
			    .detail = detail,
			    .what = is_back(mv) ? "rollback" : "advance",
			    .check = mv->to != PHASE_PLANNED};
	struct ddl_list list;

	if (!barrier_settle(j, p))
		return false;
	ddl_collect(j->spec, j->lenses, mv->from, mv->to, true, &j->arena,
		    &list);
	say_steps(j, &list);
	ch.next.phase = mv->to;
	ch.next.epoch++;
	ch.next.pending = has_barrier(j, mv);
	ch.next.from = mv->from;
	ch.next.prelock = mv->prelock;
	ch.next.filled =
	    !mv->fill && mv->to >= PHASE_DUAL_WRITE && j->row.filled;
	ch.next.old_stale = mv->stale;
	if (mv->describe)
		ch.description = describe(j);
	if (!ddl_run(j, &list, change_write, &ch, p))
		return false;
	atomic_store(&j->m->usage->slowest_us, 0); /* of this phase */
	job_notice(j, "%s announced, epoch %" PRIu64, phase_name(mv->to),
		   j->row.epoch);
	return true;
}

/* What the move has added; the gate into new_only insists. */
static void validate(struct job *j)
{
	struct problem p;

	if (!foreign_validate(j, &p))
		job_notice(j, "WARNING: %s %s", p.message, p.detail);
}

static bool complete(struct job *j, const struct move *mv, struct problem *p)
{
	struct change ch = {.move = mv, .what = "complete", .next = j->row};
	struct ddl_list list;

	if (!barrier_pass(j, p))
		return false;
	ddl_collect(j->spec, j->lenses, mv->from, mv->to, false, &j->arena,
		    &list);
	say_steps(j, &list);
	ch.next.pending = false;
	if (ch.next.prelock) {
		ch.next.prelock = false;
		ch.next.epoch++;
	}
	if (!ddl_run(j, &list, change_write, &ch, p))
		return false;
	validate(j);
	return true;
}

/* Sessions at write_new lock old rows first again, before others at read_new
 * may live beside them: as if write_new had only just been announced. */
static bool prelock_again(struct job *j, struct problem *p)
{
	const struct move *mv = move_find(PHASE_READ_NEW, PHASE_WRITE_NEW);
	struct change ch = {.move = mv, .what = "prelock", .next = j->row};
	const struct ddl_list none = {0};

	if (!barrier_settle(j, p))
		return false;
	ch.next.epoch++;
	ch.next.prelock = true;
	ch.next.pending = true;
	ch.next.from = mv->from;
	return ddl_run(j, &none, change_write, &ch, p);
}

/* Differences that came with the move show best in the newest rows. */
static void verify_newest(struct job *j)
{
	struct problem p;
	struct walk_result r;
	enum walk_direction d;

	if (!walk_direction_of(j->row.phase, &d) || walk_is_due(&j->row))
		return;
	if (!walks_run(j, WALK_JOB_NEWEST, d, &r, &p))
		job_notice(j, "the newest rows could not be compared: %s",
			   p.message);
	else if (!walk_result_is_equal(&r))
		job_notice(j,
			   "WARNING: of the newest %" PRIu64 " rows, %" PRIu64
			   " differ; VERIFY %s",
			   r.compared, r.missing + r.extra + r.different,
			   j->m->name);
}

static bool gates_pass(struct job *j, const struct move *mv, bool force,
		       bool wait, struct problem *p)
{
	struct gate_request g = {.job = j, .force = force, .wait = wait};

	for (size_t i = 0; i < MOVE_GATES && mv->gates[i]; i++)
		if (!mv->gates[i](&g, p))
			return false;
	return true;
}

static bool move_make(struct job *j, const struct move *mv, bool force,
		      bool wait, struct problem *p)
{
	if (!gates_pass(j, mv, force, wait, p))
		return false;
	walks_stop(j);
	if (mv->from == PHASE_WRITE_NEW && mv->to == PHASE_READ_NEW &&
	    !j->row.prelock && !prelock_again(j, p))
		return false;
	if (!announce(j, mv, force ? "forced" : NULL, p) ||
	    (has_barrier(j, mv) && !complete(j, mv, p)))
		return false;
	job_notice(j, "now in %s: %s", phase_name(j->row.phase),
		   phase_what(j->row.phase));
	verify_newest(j);
	return true;
}

/* Goes on with a move that was announced and not completed. */
static bool pending_finish(struct job *j, struct problem *p)
{
	const struct move *mv = move_find(j->row.from, j->row.phase);

	if (!mv)
		return problem_set(p, "XX001",
				   "pgtandem: migration %s (phase "
				   "%s): the state names a move from %s that "
				   "does not exist",
				   j->m->name, phase_name(j->row.phase),
				   phase_name(j->row.from));
	job_notice(j, "going on with the move from %s to %s",
		   phase_name(mv->from), phase_name(mv->to));
	return complete(j, mv, p);
}

static bool final(struct job *j, struct problem *p)
{
	problem_set(p, "55000",
		    "pgtandem: migration %s is in %s, which is "
		    "final",
		    j->m->name, phase_name(j->row.phase));
	problem_hint(p,
		     "Old-shape statements go on through the lens; when "
		     "none is left, remove %s and RELOAD.",
		     j->spec->file);
	return false;
}

static bool behind(struct job *j, enum phase to, struct problem *p)
{
	problem_set(p, "22023", "pgtandem: migration %s (phase %s) is past %s",
		    j->m->name, phase_name(j->row.phase), phase_name(to));
	problem_hint(p, "ROLLBACK %s goes one phase back.", j->m->name);
	return false;
}

static bool advance(struct job *j, enum phase to, bool force, struct problem *p)
{
	bool forward = j->row.pending && j->row.from < j->row.phase;
	bool several;

	if (to != PHASE_COUNT && to < j->row.phase)
		return behind(j, to, p);
	if (j->row.pending && !pending_finish(j, p))
		return false;
	if (to == PHASE_COUNT && forward)
		return true;
	if (to == PHASE_COUNT && j->row.phase == PHASE_CONTRACTED)
		return final(j, p);
	if (to == PHASE_COUNT)
		to = j->row.phase + 1;
	several = to > j->row.phase + 1;
	if (to == j->row.phase)
		job_notice(j, "in %s already", phase_name(to));
	while (j->row.phase < to) {
		const struct move *mv =
		    move_find(j->row.phase, j->row.phase + 1);

		if (!move_make(j, mv, force, several, p))
			return false;
	}
	return true;
}

static bool rollback(struct job *j, struct problem *p)
{
	const struct move *mv;

	if (j->row.pending && j->row.from > j->row.phase)
		return pending_finish(j, p);
	if (j->row.phase == PHASE_CONTRACTED)
		return final(j, p);
	if (j->row.phase == PHASE_PLANNED) {
		problem_set(p, "55000",
			    "pgtandem: migration %s is in planned: "
			    "there is nothing to take back",
			    j->m->name);
		return false;
	}
	mv = move_find(j->row.phase, j->row.phase - 1);
	return move_make(j, mv, false, false, p);
}

/* A failed command is part of the history, if the database can be told. */
static void log_failure(struct job *j, const char *what,
			const struct problem *p)
{
	struct problem ignored;
	struct state_event e = {.who = job_who(j),
				.what = what,
				.detail = p->message,
				.from = j->row.phase,
				.to = j->row.phase};

	log_warn("%s", p->message);
	if (!state_log(j->db, j->m->name, j->row.epoch, &e, &ignored))
		log_warn("migration %s: no event could be written: %s",
			 j->m->name, ignored.message);
}

bool control_advance(struct control *c, const char *migration, enum phase to,
		     bool force, const struct progress *pg, struct problem *p)
{
	struct job j;
	bool ok;

	if (!job_begin(c, migration, "ADVANCE", pg, &j, p))
		return false;
	ok = advance(&j, to, force, p);
	if (!ok)
		log_failure(&j, "advance refused", p);
	job_end(&j);
	return ok;
}

bool control_rollback(struct control *c, const char *migration,
		      const struct progress *pg, struct problem *p)
{
	struct job j;
	bool ok;

	if (!job_begin(c, migration, "ROLLBACK", pg, &j, p))
		return false;
	ok = rollback(&j, p);
	if (!ok)
		log_failure(&j, "rollback refused", p);
	job_end(&j);
	return ok;
}

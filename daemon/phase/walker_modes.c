/*
 * What each mode does with one batch: a transaction that finds the next keys,
 * works on them, stores the position and commits.
 *
 * Rows are copied only by statements that began after the locks on their
 * source rows were taken (READ COMMITTED gives each statement a snapshot of
 * its own), except by the bulk insert, which yields to whatever a writer has
 * put into the target.  Locks are taken as a client's write and its sync take
 * them: source first, then target, each in key order.
 */
#include "daemon/phase/walker_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/phase/db.h"

/* 1. Parameters. */

/* The batch's range, as the statements of walk_sql.h take it. */
static PGresult *ask_range(struct walker *w, const struct lens_walk *lw,
			   const struct batch *b, const char *sql)
{
	const char *params[2 * WALK_MAX_KEY];
	size_t n = lw->sql.n_key;

	for (size_t i = 0; i < n; i++) {
		params[i] = lw->last.set ? lw->last.v[i] : NULL;
		params[n + i] = b->upto.v[i];
	}
	return walk_ask(w, sql, 2 * (int)n, params);
}

/* The rows of a result for which column `flag` is true; all if it is -1. */
static size_t array_size(const PGresult *r, int column, int flag)
{
	size_t size = 3;

	for (int row = 0; row < PQntuples(r); row++)
		if (flag < 0 || db_bool(r, row, flag))
			size += 2 * (size_t)PQgetlength(r, row, column) + 3;
	return size;
}

/* A column of keys as an array's text, every element quoted. */
static char *key_array(const PGresult *r, int column, int flag)
{
	char *text = malloc(array_size(r, column, flag)), *out = text;

	if (text == NULL)
		abort();
	*out++ = '{';
	for (int row = 0; row < PQntuples(r); row++) {
		if (flag >= 0 && !db_bool(r, row, flag))
			continue;
		if (out > text + 1)
			*out++ = ',';
		*out++ = '"';
		for (const char *s = PQgetvalue(r, row, column); *s; s++) {
			if (*s == '"' || *s == '\\')
				*out++ = '\\';
			*out++ = *s;
		}
		*out++ = '"';
	}
	*out++ = '}';
	*out = '\0';
	return text;
}

static PGresult *ask_keys(struct walker *w, const struct lens_walk *lw,
			  const PGresult *keys, int flag, const char *sql)
{
	char *arrays[WALK_MAX_KEY];
	PGresult *r;

	for (size_t i = 0; i < lw->sql.n_key; i++)
		arrays[i] = key_array(keys, (int)i, flag);
	r = walk_ask(w, sql, (int)lw->sql.n_key, (const char *const *)arrays);
	for (size_t i = 0; i < lw->sql.n_key; i++)
		free(arrays[i]);
	return r;
}

static uint64_t rows_of(const PGresult *r)
{
	return strtoull(PQcmdTuples((PGresult *)r), NULL, 10);
}

/* 2. Sync of a set of keys, in the open transaction. */

static bool tell_keys(struct walker *w, const struct lens_walk *lw,
		      const PGresult *keys, const char *sql, uint64_t *ret_n)
{
	PGresult *r = ask_keys(w, lw, keys, -1, sql);

	if (r == NULL)
		return false;
	*ret_n = rows_of(r);
	PQclear(r);
	return true;
}

/* Keys whose source row is gone.  A target row is locked before it is asked
 * whether the source has it: a writer that has just made one waits for us, or
 * is seen. */
static bool delete_keys(struct walker *w, struct lens_walk *lw,
			const PGresult *keys)
{
	uint64_t locked, deleted;

	if (!tell_keys(w, lw, keys, lw->sql.lock_target, &locked) ||
	    !tell_keys(w, lw, keys, lw->sql.delete_keys, &deleted))
		return false;
	lw->result.swept += deleted;
	return true;
}

static bool sync_keys(struct walker *w, struct lens_walk *lw,
		      const PGresult *keys)
{
	PGresult *locked;
	uint64_t synced = 0;
	bool ok = true;

	if (PQntuples(keys) == 0)
		return true;
	locked = ask_keys(w, lw, keys, -1, lw->sql.lock_source);
	if (locked == NULL)
		return false;
	if (PQntuples(locked) > 0)
		ok = tell_keys(w, lw, locked, lw->sql.upsert_keys, &synced);
	if (ok && PQntuples(locked) < PQntuples(keys))
		ok = delete_keys(w, lw, keys);
	lw->result.synced += synced;
	PQclear(locked);
	return ok;
}

/* Keys that a query on the batch's range finds, synced. */
static bool sync_found(struct walker *w, struct lens_walk *lw,
		       const struct batch *b, const char *find)
{
	PGresult *keys = ask_range(w, lw, b, find);
	bool ok;

	if (keys == NULL)
		return false;
	ok = sync_keys(w, lw, keys);
	PQclear(keys);
	return ok;
}

/* 3. The modes' work on one batch. */

static bool mend_keys(struct walker *w, struct lens_walk *lw,
		      const struct batch *b)
{
	return sync_found(w, lw, b, lw->sql.stale);
}

static bool insert(struct walker *w, struct lens_walk *lw,
		   const struct batch *b, const char *sql, uint64_t *ret_n)
{
	PGresult *r = ask_range(w, lw, b, sql);

	if (r == NULL)
		return false;
	*ret_n = rows_of(r);
	PQclear(r);
	lw->result.inserted += *ret_n;
	return true;
}

/*
 * Where the target has nothing, a plain insert does all there is to do; if a
 * writer comes between, its key is met (23505) and the batch begins anew.
 */
static bool insert_into_nothing(struct walker *w, struct lens_walk *lw,
				const struct batch *b, bool *ret_all)
{
	PGresult *r = ask_range(w, lw, b, lw->sql.target_is_empty);
	uint64_t n;

	*ret_all = false;
	if (r == NULL)
		return false;
	*ret_all = db_bool(r, 0, 0);
	PQclear(r);
	if (!*ret_all || insert(w, lw, b, lw->sql.insert_all, &n))
		return true;
	*ret_all = false;
	if (strcmp(w->problem.sqlstate, "23505") != 0)
		return false;
	db_rollback(w->db);
	return walk_begin(w);
}

/*
 * If as many rows were inserted as the source has, there was none that could
 * differ: what a writer adds meanwhile, it has put into the target itself.
 * Otherwise the inserted rows are let go of before source rows are locked.
 */
static bool mend(struct walker *w, struct lens_walk *lw, const struct batch *b)
{
	uint64_t inserted;
	bool all;

	if (lw->sql.insert_missing == NULL)
		return sync_found(w, lw, b, lw->sql.differing);
	if (!insert_into_nothing(w, lw, b, &all))
		return false;
	if (all)
		return true;
	if (!insert(w, lw, b, lw->sql.insert_missing, &inserted))
		return false;
	if (inserted == b->rows)
		return true;
	if (inserted > 0 && (!walk_commit(w) || !walk_begin(w)))
		return false;
	return sync_found(w, lw, b, lw->sql.differing);
}

static bool sweep(struct walker *w, struct lens_walk *lw, const struct batch *b)
{
	return sync_found(w, lw, b, lw->sql.extra);
}

static void count_finding(struct walk_result *r, enum finding_kind kind)
{
	uint64_t *const counts[FINDING_KINDS] = {
	    [FINDING_MISSING] = &r->missing,
	    [FINDING_EXTRA] = &r->extra,
	    [FINDING_DIFFERENT] = &r->different,
	    [FINDING_LOSSY] = &r->lossy,
	};

	(*counts[kind])++;
}

static enum finding_kind kind_of(const char *name)
{
	static const struct {
		const char *name;
		enum finding_kind kind;
	} kinds[] = {
	    {"missing", FINDING_MISSING},
	    {"extra", FINDING_EXTRA},
	    {"different", FINDING_DIFFERENT},
	    {"lossy", FINDING_LOSSY},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	return FINDING_DIFFERENT;
}

/* One row of a recheck: keys, kind, and the two images as JSON. */
static bool note_row(struct walker *w, struct lens_walk *lw, const PGresult *r,
		     int row)
{
	int n = (int)lw->sql.n_key;
	enum finding_kind kind = kind_of(PQgetvalue(r, row, n));
	const char *source = db_text(r, row, n + 1);
	const char *target = db_text(r, row, n + 2);
	bool lossy = kind == FINDING_LOSSY;
	struct walk_key key = {0};
	char *detail = NULL;
	bool ok;

	if (asprintf(&detail, "{\"%s\": %s, \"%s\": %s}",
		     lossy ? "row" : "source", source ? source : "null",
		     lossy ? "comes_back_as" : "target",
		     target ? target : "null") < 0)
		abort();
	walk_key_set(&key, lw->sql.n_key, r, row);
	count_finding(&lw->result, kind);
	ok = walk_note(w, lw, kind, &key, detail);
	walk_key_clear(&key);
	free(detail);
	return ok;
}

static bool note_found(struct walker *w, struct lens_walk *lw,
		       const PGresult *keys, int flag, const char *recheck)
{
	PGresult *r = ask_keys(w, lw, keys, flag, recheck);
	bool ok = r != NULL;

	for (int row = 0; ok && row < PQntuples(r); row++)
		ok = note_row(w, lw, r, row);
	PQclear(r);
	return ok;
}

/* Found once is not found: a fresh transaction looks at these keys again. */
static bool verify(struct walker *w, struct lens_walk *lw,
		   const struct batch *b)
{
	PGresult *keys = ask_range(w, lw, b, lw->sql.compare);
	int n = (int)lw->sql.n_key;
	bool ok = true;

	if (keys == NULL)
		return false;
	lw->result.compared += b->rows;
	if (PQntuples(keys) > 0)
		ok = walk_commit(w) && walk_begin(w) &&
		     note_found(w, lw, keys, n, lw->sql.recheck) &&
		     note_found(w, lw, keys, n + 1, lw->sql.recheck) &&
		     (lw->sql.recheck_lossy == NULL ||
		      note_found(w, lw, keys, n + 2, lw->sql.recheck_lossy));
	PQclear(keys);
	return ok;
}

static bool verify_target(struct walker *w, struct lens_walk *lw,
			  const struct batch *b)
{
	PGresult *keys = ask_range(w, lw, b, lw->sql.extra);
	bool ok = true;

	if (keys == NULL)
		return false;
	if (PQntuples(keys) > 0)
		ok = walk_commit(w) && walk_begin(w) &&
		     note_found(w, lw, keys, -1, lw->sql.recheck);
	PQclear(keys);
	return ok;
}

/* 4. Findings that are mended one by one. */

/* One row of `r` alone: keys and the finding's id. */
static PGresult *one_row(const PGresult *r, int row)
{
	PGresult *one = PQcopyResult(r, PG_COPYRES_ATTRS);

	for (int i = 0; one != NULL && i < PQnfields(r); i++)
		if (!PQsetvalue(one, 0, i, PQgetvalue(r, row, i),
				PQgetlength(r, row, i)))
			abort();
	if (one == NULL)
		abort();
	return one;
}

/* A finding is closed when its key's rows are equal. */
static bool repair(struct walker *w, struct lens_walk *lw, const PGresult *key)
{
	return walk_begin(w) && sync_keys(w, lw, key) &&
	       walk_close_finding(w, PQgetvalue(key, 0, (int)lw->sql.n_key)) &&
	       walk_commit(w);
}

static bool settle(struct walker *w, struct lens_walk *lw, const PGresult *key)
{
	PGresult *r;
	bool ok;

	if (!walk_begin(w))
		return false;
	r = ask_keys(w, lw, key, -1, lw->sql.recheck);
	ok = r != NULL &&
	     (PQntuples(r) > 0 ||
	      walk_close_finding(w, PQgetvalue(key, 0, (int)lw->sql.n_key)));
	PQclear(r);
	return ok && walk_commit(w);
}

typedef bool (*finding_fn)(struct walker *w, struct lens_walk *lw,
			   const PGresult *key);

/* Each in a transaction of its own; what the data refuses stays open. */
static enum walk_outcome each_finding(struct walker *w, struct lens_walk *lw,
				      const PGresult *all, finding_fn act,
				      uint64_t *ret_closed)
{
	for (int row = 0; row < PQntuples(all); row++) {
		PGresult *one = one_row(all, row);
		struct walk_result before = lw->result;
		enum walk_outcome outcome = OUTCOME_OK;

		if (atomic_load(&w->stop))
			outcome = OUTCOME_STOPPED;
		else if (act(w, lw, one))
			(*ret_closed)++;
		else {
			outcome = walk_failed(w);
			lw->result = before;
		}
		PQclear(one);
		if (outcome != OUTCOME_OK && outcome != OUTCOME_DATA)
			return outcome;
	}
	return OUTCOME_OK;
}

static enum walk_outcome each_open(struct walker *w, struct lens_walk *lw,
				   bool only_violations, finding_fn act,
				   uint64_t *ret_closed)
{
	PGresult *all = walk_findings(w, lw, only_violations);
	enum walk_outcome outcome;

	if (all == NULL)
		return walk_failed(w);
	*ret_closed = 0;
	outcome = each_finding(w, lw, all, act, ret_closed);
	PQclear(all);
	return outcome;
}

/* A row may be refused because another that is still stale has its unique
 * value, so one success may make way for the next. */
static enum walk_outcome repair_open(struct walker *w, struct lens_walk *lw,
				     bool only_violations)
{
	enum walk_outcome outcome;
	uint64_t closed = 0;

	do
		outcome = each_open(w, lw, only_violations, repair, &closed);
	while (outcome == OUTCOME_OK && closed > 0);
	return outcome;
}

/* 5. One batch. */

static const struct {
	bool over_target; /* whose keys are walked */
	bool (*work)(struct walker *w, struct lens_walk *lw,
		     const struct batch *b);
} modes[WALK_MODE_COUNT] = {
    [WALK_MEND_KEYS] = {true, mend_keys},
    [WALK_MEND] = {false, mend},
    [WALK_SWEEP] = {true, sweep},
    [WALK_VERIFY] = {false, verify},
    [WALK_VERIFY_TARGET] = {true, verify_target},
};

static PGresult *ask_next(struct walker *w, const struct lens_walk *lw,
			  const char *sql)
{
	const char *params[WALK_MAX_KEY + 1];
	size_t n = lw->sql.n_key;
	char size[12];

	snprintf(size, sizeof(size), "%u", w->size);
	for (size_t i = 0; i < n; i++)
		params[i] = lw->last.set ? lw->last.v[i] : NULL;
	params[n] = size;
	return walk_ask(w, sql, (int)n + 1, params);
}

/* No rows: the end. */
static bool find_batch(struct walker *w, const struct lens_walk *lw,
		       struct batch *ret)
{
	bool target = modes[lw->mode].over_target;
	PGresult *r =
	    ask_next(w, lw, target ? lw->sql.target_next : lw->sql.next);

	if (r != NULL && PQntuples(r) == 0) {
		PQclear(r);
		r = ask_next(w, lw,
			     target ? lw->sql.target_rest : lw->sql.rest);
	}
	if (r == NULL)
		return false;
	ret->rows = 0;
	if (PQntuples(r) > 0) {
		ret->rows = (uint64_t)db_int(r, 0, (int)lw->sql.n_key);
		walk_key_set(&ret->upto, lw->sql.n_key, r, 0);
	}
	PQclear(r);
	return true;
}

/* Stores that the batch is done, in the open transaction, and commits. */
static bool finish_batch(struct walker *w, struct lens_walk *lw,
			 const struct batch *b)
{
	struct walk_key was = lw->last;
	uint64_t done = lw->rows_done;

	lw->last = b->upto;
	lw->rows_done += b->rows;
	if (lw->rows_total < lw->rows_done)
		lw->rows_total = lw->rows_done;
	if (!walk_store(w, lw, "running") || !walk_commit(w)) {
		lw->last = was;
		lw->rows_done = done;
		return false;
	}
	lw->last = was;
	walk_key_copy(&lw->last, &b->upto, lw->sql.n_key);
	return true;
}

enum walk_outcome walk_batch(struct walker *w, struct lens_walk *lw,
			     struct batch *b)
{
	struct walk_result before = lw->result;

	b->rows = 0;
	if (modes[lw->mode].work == NULL)
		return OUTCOME_END;
	if (!walk_begin(w) || !find_batch(w, lw, b))
		return walk_failed(w);
	if (b->rows == 0)
		return walk_commit(w) ? OUTCOME_END : walk_failed(w);
	if (modes[lw->mode].work(w, lw, b) && finish_batch(w, lw, b))
		return OUTCOME_OK;
	lw->result = before;
	return walk_failed(w);
}

/* The one row of a batch that the data refuses: a finding, and on. */
enum walk_outcome walk_skip_row(struct walker *w, struct lens_walk *lw,
				const struct batch *b)
{
	struct problem why = w->problem;
	char detail[1600];

	if (lw->noted[FINDING_VIOLATION] >= WALK_MAX_NOTED) {
		problem_set(&w->problem, why.sqlstate,
			    "more than %d rows "
			    "cannot be mapped, the last one: %s",
			    WALK_MAX_NOTED, why.message);
		problem_hint(&w->problem,
			     "SHOW FINDINGS %s lists them; mend "
			     "the rows or the mapping.",
			     w->req.migration);
		return OUTCOME_FATAL;
	}
	snprintf(detail, sizeof(detail), "%s: %s%s%s", why.sqlstate,
		 why.message, why.detail[0] ? ". " : "", why.detail);
	if (walk_begin(w) &&
	    walk_note(w, lw, FINDING_VIOLATION, &b->upto, detail) &&
	    finish_batch(w, lw, b))
		return OUTCOME_OK;
	return walk_failed(w);
}

/* 6. A mode's beginning and end. */

/* Behind the last key but so many: only the newest are compared. */
static bool start_at_newest(struct walker *w, struct lens_walk *lw)
{
	char n[12];
	const char *const params[] = {n};
	PGresult *r;

	snprintf(n, sizeof(n), "%u", w->req.newest);
	r = walk_ask(w, lw->sql.newest, 1, params);
	if (r == NULL)
		return false;
	if (PQntuples(r) > 0)
		walk_key_set(&lw->last, lw->sql.n_key, r, 0);
	lw->rows_total = w->req.newest;
	PQclear(r);
	return true;
}

static bool count_rows(struct walker *w, struct lens_walk *lw)
{
	int64_t n;

	if (!db_number(w->db,
		       modes[lw->mode].over_target ? lw->sql.target_count
						   : lw->sql.count,
		       0, NULL, 0, &n, &w->problem))
		return false;
	lw->rows_total = n > 0 ? (uint64_t)n : 0;
	return true;
}

/* What an earlier comparison has found is no longer known to be so. */
static bool forget_compared(struct walker *w, struct lens_walk *lw)
{
	struct walk_result *r = &lw->result;

	r->compared = r->missing = r->extra = r->different = r->lossy = 0;
	memset(lw->noted, 0, sizeof(lw->noted));
	return w->req.job == WALK_JOB_NEWEST || walk_forget_findings(w, lw);
}

static bool begin_mode(struct walker *w, struct lens_walk *lw)
{
	if (lw->last.set || modes[lw->mode].work == NULL)
		return true;
	if (w->req.job == WALK_JOB_NEWEST)
		return forget_compared(w, lw) && start_at_newest(w, lw);
	return count_rows(w, lw) &&
	       (lw->mode != WALK_VERIFY || forget_compared(w, lw));
}

enum walk_outcome walk_begin_mode(struct walker *w, struct lens_walk *lw)
{
	return walk_exec(w, lw->sql.set_path) && begin_mode(w, lw)
		   ? OUTCOME_OK
		   : walk_failed(w);
}

enum walk_outcome walk_end_mode(struct walker *w, struct lens_walk *lw)
{
	enum walk_outcome outcome = OUTCOME_OK;
	uint64_t closed = 0;

	switch (lw->mode) {
	case WALK_MEND:
		outcome = repair_open(w, lw, true);
		break;
	case WALK_RETRY:
		outcome = repair_open(w, lw, false);
		break;
	case WALK_VERIFY:
	case WALK_VERIFY_TARGET:
		outcome = each_open(w, lw, true, settle, &closed);
		break;
	case WALK_MEND_KEYS:
	case WALK_DRAIN:
	case WALK_SWEEP:
	case WALK_MODE_COUNT:
		break;
	}
	if (outcome != OUTCOME_OK)
		return outcome;
	return walk_count_violations(w, lw) ? OUTCOME_OK : walk_failed(w);
}

/* 7. Waiting for the transactions that ran when the mend ended. */

/*
 * As CREATE INDEX CONCURRENTLY does it: by the virtual transaction ids that
 * every backend holds a lock on, which any role may see.  A transaction that
 * was prepared meanwhile has none any more, but is older than `xmax`.
 */
static const char drain_begin[] =
    "SELECT COALESCE(pg_catalog.array_agg(l.virtualtransaction), '{}'),"
    " pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
    "::pg_catalog.text::pg_catalog.int8 & 4294967295"
    " FROM pg_catalog.pg_locks AS l"
    " JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid"
    " WHERE l.locktype = 'virtualxid' AND l.granted"
    " AND l.pid <> pg_catalog.pg_backend_pid()"
    " AND a.datname = pg_catalog.current_database()"
    " AND a.backend_type IS DISTINCT FROM 'autovacuum worker'";

static const char drain_look[] =
    "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks"
    " WHERE locktype = 'virtualxid' AND granted"
    " AND virtualtransaction = ANY ($1::pg_catalog.text[])),"
    " (SELECT pg_catalog.min(pid) FROM pg_catalog.pg_locks"
    " WHERE locktype = 'virtualxid' AND granted"
    " AND virtualtransaction = ANY ($1::pg_catalog.text[])),"
    " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts"
    " WHERE database = pg_catalog.current_database() AND"
    " pg_catalog.age(transaction) >"
    " pg_catalog.age($2::pg_catalog.text::pg_catalog.xid))";

static enum walk_outcome look_for_old(struct walker *w, const PGresult *old)
{
	const char *const params[] = {PQgetvalue(old, 0, 0),
				      PQgetvalue(old, 0, 1)};
	PGresult *r = walk_ask(w, drain_look, 2, params);
	int64_t running, prepared;

	if (r == NULL)
		return walk_failed(w);
	running = db_int(r, 0, 0);
	prepared = db_int(r, 0, 2);
	if (running + prepared > 0)
		walk_wait_for(w, "%d old transactions (%d prepared; pid %s)",
			      (int)(running + prepared), (int)prepared,
			      running > 0 ? PQgetvalue(r, 0, 1) : "none");
	PQclear(r);
	return running + prepared > 0 ? OUTCOME_OK : OUTCOME_END;
}

static enum walk_outcome drain_ourselves(struct walker *w)
{
	PGresult *old = walk_ask(w, drain_begin, 0, NULL);
	enum walk_outcome outcome;

	if (old == NULL)
		return walk_failed(w);
	while ((outcome = look_for_old(w, old)) == OUTCOME_OK)
		if (!walk_sleep(w, 200)) {
			outcome = OUTCOME_STOPPED;
			break;
		}
	PQclear(old);
	return outcome;
}

enum walk_outcome walk_drain(struct walker *w)
{
	enum walk_outcome outcome = OUTCOME_END;

	if (w->req.drained == NULL)
		outcome = drain_ourselves(w);
	else {
		if (w->req.drain_begin != NULL)
			w->req.drain_begin(w->req.arg);
		while (!w->req.drained(w->req.arg)) {
			walk_wait_for(w, "old transactions");
			if (!walk_sleep(w, 200)) {
				outcome = OUTCOME_STOPPED;
				break;
			}
		}
	}
	walk_go_on(w);
	return outcome;
}

#include "daemon/phase/walker_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"

/*
 * A commit that is lost in a crash takes its position with it, so it need not
 * wait for the disk.  A lock that is not had soon is better asked for again:
 * shorter than the server's deadlock_timeout, so that in a deadlock with a
 * client it is the walker that gives way.
 */
static const char session_setup[] =
    "SET synchronous_commit = off; SET lock_timeout = '300ms';"
    " SET idle_in_transaction_session_timeout = '60s'";

/* 1. Keys. */

static char *keep(const char *s)
{
	char *copy = strdup(s);

	if (copy == NULL)
		abort();
	return copy;
}

void walk_key_clear(struct walk_key *key)
{
	for (size_t i = 0; i < WALK_MAX_KEY; i++)
		free(key->v[i]);
	*key = (struct walk_key){0};
}

void walk_key_set(struct walk_key *key, size_t n, const PGresult *r, int row)
{
	walk_key_clear(key);
	key->set = true;
	for (size_t i = 0; i < n; i++)
		key->v[i] = keep(PQgetvalue(r, row, (int)i));
}

void walk_key_copy(struct walk_key *to, const struct walk_key *from, size_t n)
{
	walk_key_clear(to);
	to->set = from->set;
	for (size_t i = 0; from->set && i < n; i++)
		to->v[i] = keep(from->v[i]);
}

/* 2. Statements and what their failures mean. */

/* By the start of the SQLSTATE; the longest first. */
static const struct {
	const char *state;
	enum walk_outcome outcome;
} classes[] = {
    {"40001", OUTCOME_BUSY}, /* serialization_failure */
    {"40P01", OUTCOME_BUSY}, /* deadlock_detected */
    {"55P03", OUTCOME_BUSY}, /* lock_not_available */
    {"57014", OUTCOME_BUSY}, /* query_canceled */
    {"25P03", OUTCOME_LOST}, /* idle_in_transaction_session_timeout */
    {"57P", OUTCOME_LOST},   /* the server is going or coming */
    {"08", OUTCOME_LOST},
    {"53", OUTCOME_FULL}, /* disk, memory, connections */
    {"58", OUTCOME_FULL}, /* input and output */
    {"22", OUTCOME_DATA},
    {"23", OUTCOME_DATA},
    {"44", OUTCOME_DATA}, /* with_check_option_violation */
    {"P0", OUTCOME_DATA}, /* raised by a mapping's function */
};

static enum walk_outcome class_of(const struct walker *w)
{
	if (PQstatus(w->db) != CONNECTION_OK)
		return OUTCOME_LOST;
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (strncmp(w->problem.sqlstate, classes[i].state,
			    strlen(classes[i].state)) == 0)
			return classes[i].outcome;
	return OUTCOME_FATAL;
}

enum walk_outcome walk_failed(struct walker *w)
{
	enum walk_outcome outcome = class_of(w);

	pthread_mutex_lock(&w->lock);
	snprintf(w->progress.error, sizeof(w->progress.error), "%s: %s",
		 w->problem.sqlstate, w->problem.message);
	pthread_mutex_unlock(&w->lock);
	log_debug("walk of %s: %s: %s", w->req.migration, w->problem.sqlstate,
		  w->problem.message);
	db_rollback(w->db);
	return outcome;
}

bool walk_exec(struct walker *w, const char *sql)
{
	return db_exec(w->db, sql, &w->problem);
}

PGresult *walk_ask(struct walker *w, const char *sql, int n,
		   const char *const *params)
{
	return db_query(w->db, &w->problem, sql, n, params);
}

static bool tell(struct walker *w, const char *sql, int n,
		 const char *const *params)
{
	PGresult *r = walk_ask(w, sql, n, params);

	PQclear(r);
	return r != NULL;
}

bool walk_begin(struct walker *w)
{
	return walk_exec(w, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
}

bool walk_commit(struct walker *w)
{
	return walk_exec(w, "COMMIT");
}

/* 3. The connection. */

static void on_notice(void *arg, const char *message)
{
	log_debug("walk: %s", message);
}

/* One walker at a time for a migration's job, whatever the instance. */
static bool take_turn(struct walker *w, bool *ret_ours)
{
	const char *const params[] = {w->req.migration,
				      walk_job_name(w->req.job)};
	PGresult *r = walk_ask(w,
			       "SELECT pg_catalog.pg_try_advisory_lock("
			       "pg_catalog.hashtextextended("
			       "'pgtandem walk ' || $1 || ' ' || $2, 0))",
			       2, params);

	if (r == NULL)
		return false;
	*ret_ours = db_bool(r, 0, 0);
	PQclear(r);
	return true;
}

enum walk_outcome walk_connect(struct walker *w)
{
	bool ours = false;

	w->db = PQconnectdb(w->req.conninfo);
	if (PQstatus(w->db) != CONNECTION_OK) {
		db_problem(w->db, NULL, &w->problem);
		return walk_failed(w);
	}
	PQsetNoticeProcessor(w->db, on_notice, NULL);
	if (!walk_exec(w, session_setup) || !take_turn(w, &ours))
		return walk_failed(w);
	if (ours)
		return OUTCOME_OK;
	problem_set(&w->problem, "55P03", "another walker is at work on %s",
		    w->req.migration);
	return walk_failed(w);
}

void walk_disconnect(struct walker *w)
{
	PQfinish(w->db);
	w->db = NULL;
}

/* 4. Positions. */

static const char *direction_name(const struct walker *w)
{
	return w->req.direction == WALK_TO_NEW ? "to_new" : "to_old";
}

static enum walk_mode mode_from_name(const char *name)
{
	for (enum walk_mode m = 0; m < WALK_MODE_COUNT; m++)
		if (strcmp(walk_mode_name(m), name) == 0)
			return m;
	return 0;
}

/* Names in walk.result, in the order of the struct. */
static const char *const result_names[] = {
    "compared", "missing", "extra", "different",  "lossy",
    "inserted", "synced",  "swept", "violations",
};

enum { RESULTS = sizeof(result_names) / sizeof(*result_names) };

static void result_fields(struct walk_result *r, uint64_t *ret[RESULTS])
{
	uint64_t *const fields[RESULTS] = {
	    &r->compared, &r->missing, &r->extra, &r->different,  &r->lossy,
	    &r->inserted, &r->synced,  &r->swept, &r->violations,
	};

	memcpy(ret, fields, sizeof(fields));
}

static bool load_key(struct walker *w, struct lens_walk *lw, const char *array)
{
	char sql[WALK_MAX_KEY * 16 + 32] = "SELECT ";
	PGresult *r;

	walk_key_clear(&lw->last);
	if (array == NULL)
		return true;
	for (size_t i = 0; i < lw->sql.n_key; i++)
		snprintf(sql + strlen(sql), 40, "%s($1::text[])[%zu]",
			 i > 0 ? ", " : "", i + 1);
	r = walk_ask(w, sql, 1, &array);
	if (r == NULL)
		return false;
	walk_key_set(&lw->last, lw->sql.n_key, r, 0);
	PQclear(r);
	return true;
}

static bool load_lens(struct walker *w, struct lens_walk *lw, const PGresult *r)
{
	uint64_t *fields[RESULTS];

	lw->mode = mode_from_name(PQgetvalue(r, 0, 0));
	lw->done = strcmp(PQgetvalue(r, 0, 1), "done") == 0;
	lw->rows_done = (uint64_t)db_int(r, 0, 3);
	lw->rows_total = (uint64_t)db_int(r, 0, 4);
	result_fields(&lw->result, fields);
	for (int i = 0; i < RESULTS; i++)
		*fields[i] = (uint64_t)db_int(r, 0, 5 + i);
	return load_key(w, lw, db_text(r, 0, 2));
}

static bool load_stored(struct walker *w, struct lens_walk *lw)
{
	char number[12],
	    sql[512] = "SELECT mode, state, last, rows_done, rows_total";
	const char *const params[] = {w->req.migration, number,
				      walk_job_name(w->req.job),
				      direction_name(w)};
	PGresult *r;
	bool ok = true;

	snprintf(number, sizeof(number), "%u", lw->lens->number);
	for (size_t i = 0; i < RESULTS; i++)
		snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql),
			 ", result->>'%s'", result_names[i]);
	snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql),
		 " FROM pgtandem.walk WHERE migration = $1 AND"
		 " lens = $2::int AND job = $3 AND direction = $4");
	r = walk_ask(w, sql, 4, params);
	if (r == NULL)
		return false;
	if (PQntuples(r) > 0)
		ok = load_lens(w, lw, r);
	else
		walk_lens_reset(w, lw);
	PQclear(r);
	return ok;
}

bool walk_load(struct walker *w)
{
	const char *const params[] = {w->req.migration,
				      walk_job_name(w->req.job)};

	if (w->restart && !tell(w,
				"DELETE FROM pgtandem.walk WHERE"
				" migration = $1 AND job = $2",
				2, params))
		return false;
	w->restart = false;
	for (size_t i = 0; i < w->req.n_lenses; i++)
		if (!load_stored(w, &w->lenses[i]))
			return false;
	return true;
}

static void print_result(struct walk_result *r, char *out, size_t size)
{
	uint64_t *fields[RESULTS];
	size_t used = 0;

	result_fields(r, fields);
	for (size_t i = 0; i < RESULTS; i++)
		used += (size_t)snprintf(
		    out + used, size - used, "%c\"%s\":%" PRIu64,
		    i == 0 ? '{' : ',', result_names[i], *fields[i]);
	snprintf(out + used, size - used, "}");
}

/* "ARRAY[$9, $10]", or NULL for the start. */
static void print_key_params(const struct lens_walk *lw, size_t first,
			     char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "ARRAY[");

	for (size_t i = 0; i < lw->sql.n_key; i++)
		used +=
		    (size_t)snprintf(out + used, size - used, "%s$%zu::text",
				     i > 0 ? ", " : "", first + i);
	snprintf(out + used, size - used, "]");
}

enum { STORED = 9 }; /* parameters before the key's */

bool walk_store(struct walker *w, struct lens_walk *lw, const char *state)
{
	char number[12], done[24], total[24], result[512];
	char key[WALK_MAX_KEY * 16], sql[1024 + sizeof(key)];
	const char *params[STORED + WALK_MAX_KEY] = {
	    w->req.migration,
	    number,
	    walk_job_name(w->req.job),
	    direction_name(w),
	    walk_mode_name(lw->mode),
	    state,
	    done,
	    total,
	    result,
	};

	snprintf(number, sizeof(number), "%u", lw->lens->number);
	snprintf(done, sizeof(done), "%" PRIu64, lw->rows_done);
	snprintf(total, sizeof(total), "%" PRIu64, lw->rows_total);
	print_result(&lw->result, result, sizeof(result));
	strcpy(key, "NULL");
	if (lw->last.set)
		print_key_params(lw, STORED + 1, key, sizeof(key));
	for (size_t i = 0; lw->last.set && i < lw->sql.n_key; i++)
		params[STORED + i] = lw->last.v[i];
	snprintf(sql, sizeof(sql),
		 "INSERT INTO pgtandem.walk AS w (migration, lens, job,"
		 " direction, mode, state, rows_done, rows_total, result, last)"
		 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, %s)"
		 " ON CONFLICT (migration, lens, job, direction) DO UPDATE SET"
		 " mode = excluded.mode, state = excluded.state,"
		 " rows_done = excluded.rows_done,"
		 " rows_total = excluded.rows_total,"
		 " result = excluded.result, last = excluded.last,"
		 " updated = pg_catalog.now(), error = NULL",
		 key);
	return tell(w, sql, STORED + (lw->last.set ? (int)lw->sql.n_key : 0),
		    params);
}

void walk_store_end(struct walker *w, enum walk_state state)
{
	const char *const params[] = {
	    w->req.migration,
	    walk_job_name(w->req.job),
	    direction_name(w),
	    walk_state_name(state),
	    state == WALK_FAILED ? w->problem.message : NULL,
	};

	if (w->db == NULL || PQstatus(w->db) != CONNECTION_OK)
		return;
	if (!tell(w,
		  "UPDATE pgtandem.walk SET state = $4, error = $5,"
		  " updated = pg_catalog.now() WHERE migration = $1 AND"
		  " job = $2 AND direction = $3 AND state <> 'done'",
		  5, params))
		log_warn("walk of %s: its end could not be stored: %s",
			 w->req.migration, w->problem.message);
}

/* 5. Findings. */

static const char *const kind_names[] = {
    [FINDING_MISSING] = "missing",     [FINDING_EXTRA] = "extra",
    [FINDING_DIFFERENT] = "different", [FINDING_LOSSY] = "lossy",
    [FINDING_VIOLATION] = "violation",
};

bool walk_note(struct walker *w, struct lens_walk *lw, enum finding_kind kind,
	       const struct walk_key *key, const char *detail)
{
	char number[12], keys[WALK_MAX_KEY * 16], sql[256 + sizeof(keys)];
	bool in_source = kind != FINDING_EXTRA && kind != FINDING_VIOLATION;
	const char *params[5 + WALK_MAX_KEY] = {
	    w->req.migration, number,
	    kind_names[kind], in_source ? lw->source_ref : lw->target_ref,
	    detail,
	};

	if (lw->noted[kind]++ >= WALK_MAX_NOTED)
		return true;
	snprintf(number, sizeof(number), "%u", lw->lens->number);
	print_key_params(lw, 6, keys, sizeof(keys));
	for (size_t i = 0; i < lw->sql.n_key; i++)
		params[5 + i] = key->v[i];
	snprintf(sql, sizeof(sql),
		 "SELECT pgtandem.note_finding($1, $2, $3,"
		 " $4, %s, $5)",
		 keys);
	return tell(w, sql, 5 + (int)lw->sql.n_key, params);
}

static void lens_params(const struct walker *w, const struct lens_walk *lw,
			char number[12], const char *ret[2])
{
	snprintf(number, 12, "%u", lw->lens->number);
	ret[0] = w->req.migration;
	ret[1] = number;
}

bool walk_forget_findings(struct walker *w, struct lens_walk *lw)
{
	const char *params[2];
	char number[12];

	lens_params(w, lw, number, params);
	return tell(w,
		    "DELETE FROM pgtandem.finding WHERE migration = $1 AND"
		    " lens = $2::int AND kind <> 'violation'",
		    2, params);
}

PGresult *walk_findings(struct walker *w, struct lens_walk *lw,
			bool only_violations)
{
	const char *params[2];
	char number[12], sql[WALK_MAX_KEY * 24 + 256] = "SELECT ";

	lens_params(w, lw, number, params);
	for (size_t i = 0; i < lw->sql.n_key; i++)
		snprintf(sql + strlen(sql), 32, "key_values[%u], ",
			 (unsigned)i + 1);
	snprintf(sql + strlen(sql), 256,
		 "id FROM pgtandem.finding"
		 " WHERE migration = $1 AND lens = $2::int AND %s ORDER BY id",
		 only_violations ? "kind = 'violation'" : "kind <> 'lossy'");
	return walk_ask(w, sql, 2, params);
}

bool walk_close_finding(struct walker *w, const char *id)
{
	return tell(w, "DELETE FROM pgtandem.finding WHERE id = $1::int8", 1,
		    &id);
}

bool walk_count_violations(struct walker *w, struct lens_walk *lw)
{
	const char *params[2];
	char number[12];
	int64_t n;

	lens_params(w, lw, number, params);
	if (!db_number(w->db,
		       "SELECT pg_catalog.count(*) FROM"
		       " pgtandem.finding WHERE migration = $1 AND"
		       " lens = $2::int AND kind = 'violation'",
		       2, params, 0, &n, &w->problem))
		return false;
	lw->result.violations = (uint64_t)n;
	return true;
}

#include "daemon/phase/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/phase/db.h"
#include "rewrite/ddl/ddl.h"

/* Two instances that start at once must not both create the schema: the key
 * is any number that nobody else uses ("pgtandem" in ASCII). */
#define PREPARE_LOCK "8098936438155210093"

static const char columns[] =
    "phase, epoch, pending_from, prelock, old_stale, filled, paused,"
    " verified_epoch = epoch, coalesce(verified_clean, false),"
    " read_percent, rate, spec_hash, coalesce(verified_lossy, 0)";

bool state_prepare(PGconn *db, struct problem *p)
{
	bool ok = db_exec(db,
			  "BEGIN; SET LOCAL client_min_messages = warning;"
			  " SELECT pg_advisory_xact_lock(" PREPARE_LOCK ")",
			  p) &&
		  db_exec(db, ddl_state_schema(), p) &&
		  db_exec(db, "COMMIT", p);

	db_rollback(db);
	if (!ok && strcmp(p->sqlstate, "42501") == 0)
		problem_hint(p,
			     "The control role must be allowed to create "
			     "schema pgtandem: GRANT CREATE ON DATABASE %s "
			     "TO %s.",
			     PQdb(db), PQuser(db));
	return ok;
}

static bool phase_read(const char *name, enum phase *ret, struct problem *p)
{
	if (phase_from_name(name, strlen(name), ret))
		return true;
	problem_set(p, "XX001",
		    "pgtandem: the state names a phase \"%s\" that "
		    "this version does not know",
		    name);
	problem_hint(p, "A newer pgtandem has written it: run that one.");
	return false;
}

static bool row_read(const PGresult *r, struct state_row *ret,
		     struct problem *p)
{
	struct state_row row = {0};

	row.pending = !PQgetisnull(r, 0, 2);
	if (!phase_read(PQgetvalue(r, 0, 0), &row.phase, p) ||
	    (row.pending && !phase_read(PQgetvalue(r, 0, 2), &row.from, p)))
		return false;
	row.epoch = (uint64_t)db_int(r, 0, 1);
	row.prelock = db_bool(r, 0, 3);
	row.old_stale = db_bool(r, 0, 4);
	row.filled = db_bool(r, 0, 5);
	row.paused = db_bool(r, 0, 6);
	row.verified = db_bool(r, 0, 7);
	row.clean = row.verified && db_bool(r, 0, 8);
	row.read_percent = (unsigned)db_int(r, 0, 9);
	row.rate = (uint64_t)db_int(r, 0, 10);
	snprintf(row.spec_hash, sizeof(row.spec_hash), "%s",
		 PQgetvalue(r, 0, 11));
	row.lossy = (uint64_t)db_int(r, 0, 12);
	*ret = row;
	return true;
}

bool state_read(PGconn *db, const char *migration, struct state_row *ret,
		bool *ret_found, struct problem *p)
{
	char sql[512];
	PGresult *r;
	bool ok = true;

	snprintf(sql, sizeof(sql),
		 "SELECT %s FROM pgtandem.migration WHERE name = $1", columns);
	r = db_query(db, p, sql, 1, &migration);
	if (!r)
		return false;
	*ret_found = PQntuples(r) > 0;
	if (*ret_found)
		ok = row_read(r, ret, p);
	PQclear(r);
	return ok;
}

static const char *violation_name(const struct spec *spec)
{
	return spec->on_violation == VIOLATION_QUARANTINE ? "quarantine"
							  : "fail";
}

bool state_enrol(PGconn *db, const struct spec *spec, const char *who,
		 struct problem *p)
{
	const char *const params[] = {spec->name, spec->text, spec->hash, who,
				      violation_name(spec)};
	PGresult *r = db_query(
	    db, p,
	    "WITH made AS (INSERT INTO pgtandem.migration"
	    " (name, phase, epoch, spec_text, spec_hash, on_violation)"
	    " VALUES ($1, 'planned', 1, $2, $3, $5)"
	    " ON CONFLICT (name) DO NOTHING RETURNING name)"
	    "INSERT INTO pgtandem.event (who, migration, what, to_phase, epoch)"
	    " SELECT $4, name, 'plan', 'planned', 1 FROM made",
	    5, params);

	PQclear(r);
	return r;
}

bool state_respecify(PGconn *db, const struct spec *spec, const char *who,
		     struct problem *p)
{
	const char *const params[] = {spec->name, spec->text, spec->hash, who,
				      violation_name(spec)};
	PGresult *r = db_query(
	    db, p,
	    "WITH changed AS (UPDATE pgtandem.migration"
	    " SET spec_text = $2, spec_hash = $3, on_violation = $5"
	    " WHERE name = $1 AND phase = 'planned' RETURNING epoch)"
	    "INSERT INTO pgtandem.event (who, migration, what, to_phase,"
	    " epoch, detail) SELECT $4, $1, 'new specification', 'planned',"
	    " epoch, 'hash ' || $3 FROM changed",
	    5, params);

	PQclear(r);
	return r;
}

static const char *flag(bool b)
{
	return b ? "t" : "f";
}

static bool row_write(PGconn *db, const char *migration,
		      const struct state_row *was, const struct state_row *next,
		      struct problem *p)
{
	char was_epoch[24], epoch[24];
	const char *const params[] = {
	    migration,
	    was_epoch,
	    phase_name(next->phase),
	    epoch,
	    next->pending ? phase_name(next->from) : NULL,
	    flag(next->prelock),
	    flag(next->old_stale),
	    flag(next->filled),
	    flag(next->phase != was->phase),
	};
	PGresult *r;
	bool ok;

	snprintf(was_epoch, sizeof(was_epoch), "%" PRIu64, was->epoch);
	snprintf(epoch, sizeof(epoch), "%" PRIu64, next->epoch);
	r = db_query(db, p,
		     "UPDATE pgtandem.migration SET phase = $3, epoch = $4,"
		     " pending_from = $5, prelock = $6, old_stale = $7,"
		     " filled = $8, changed_at = now(),"
		     " entered_at = CASE WHEN $9 THEN now()"
		     " ELSE entered_at END WHERE name = $1 AND epoch = $2",
		     9, params);
	if (!r)
		return false;
	ok = strcmp(PQcmdTuples(r), "1") == 0;
	PQclear(r);
	if (!ok) {
		problem_set(p, "40001",
			    "pgtandem: migration %s was moved by "
			    "another instance meanwhile",
			    migration);
		problem_hint(p,
			     "SHOW EVENTS %s says by whom; look at SHOW "
			     "MIGRATION and give the command again.",
			     migration);
	}
	return ok;
}

bool state_log(PGconn *db, const char *migration, uint64_t epoch,
	       const struct state_event *event, struct problem *p)
{
	char number[24];
	const char *const params[] = {event->who,
				      migration,
				      event->what,
				      phase_name(event->from),
				      phase_name(event->to),
				      number,
				      event->detail};
	PGresult *r;

	snprintf(number, sizeof(number), "%" PRIu64, epoch);
	r = db_query(db, p,
		     "INSERT INTO pgtandem.event (who, migration, what,"
		     " from_phase, to_phase, epoch, detail)"
		     " VALUES ($1, $2, $3, $4, $5, $6, $7)",
		     7, params);
	PQclear(r);
	return r;
}

static bool announce(PGconn *db, const char *migration, struct problem *p)
{
	PGresult *r =
	    db_query(db, p, "SELECT pg_notify('pgtandem', $1)", 1, &migration);

	PQclear(r);
	return r;
}

bool state_change(PGconn *db, const char *migration,
		  const struct state_row *was, const struct state_row *next,
		  const struct state_event *event, struct problem *p)
{
	return row_write(db, migration, was, next, p) &&
	       (!event || state_log(db, migration, next->epoch, event, p)) &&
	       announce(db, migration, p);
}

bool state_set(PGconn *db, const char *migration, enum state_setting what,
	       const char *value, struct problem *p)
{
	static const char *const sql[] = {
	    [STATE_RATE] = "UPDATE pgtandem.migration SET rate = $2"
			   " WHERE name = $1",
	    [STATE_READ_PERCENT] = "UPDATE pgtandem.migration"
				   " SET read_percent = $2"
				   " WHERE name = $1",
	    [STATE_PAUSED] = "UPDATE pgtandem.migration SET paused = $2"
			     " WHERE name = $1",
	};
	const char *const params[] = {migration, value};
	PGresult *r = db_query(db, p, sql[what], 2, params);

	PQclear(r);
	return r && announce(db, migration, p);
}

bool state_describe(PGconn *db, const char *migration, const char *json,
		    struct problem *p)
{
	const char *const params[] = {migration, json};
	PGresult *r = db_query(db, p,
			       "UPDATE pgtandem.migration"
			       " SET old_description = $2 WHERE name = $1",
			       2, params);

	PQclear(r);
	return r;
}

bool state_description(PGconn *db, const char *migration, unsigned number,
		       char **ret, struct problem *p)
{
	char position[12];
	const char *const params[] = {migration, position};
	PGresult *r;

	snprintf(position, sizeof(position), "%u", number - 1);
	r = db_query(db, p,
		     "SELECT old_description -> $2::int FROM pgtandem.migration"
		     " WHERE name = $1 AND old_description IS NOT NULL",
		     2, params);
	if (!r)
		return false;
	*ret = PQntuples(r) > 0 && db_text(r, 0, 0) ? strdup(db_text(r, 0, 0))
						    : NULL;
	PQclear(r);
	return true;
}

bool state_verified(PGconn *db, const char *migration, uint64_t epoch,
		    bool clean, uint64_t lossy, const char *summary,
		    struct problem *p)
{
	char number[24], count[24];
	const char *const params[] = {migration, number, flag(clean), summary,
				      count};
	PGresult *r;

	snprintf(number, sizeof(number), "%" PRIu64, epoch);
	snprintf(count, sizeof(count), "%" PRIu64, lossy);
	r = db_query(db, p,
		     "UPDATE pgtandem.migration SET verified_at = now(),"
		     " verified_epoch = $2, verified_clean = $3,"
		     " verified_summary = $4, verified_lossy = $5"
		     " WHERE name = $1 AND epoch = $2",
		     5, params);
	PQclear(r);
	return r;
}

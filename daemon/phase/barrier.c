#include "daemon/phase/barrier.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"

enum { LOOK_MS = 25, SAY_EVERY_MS = 5000, MAX_CLIENTS = 4096 };

/* Who a barrier that began at $1 waits for.  What a role may not see has no
 * times; preflight asks for pg_read_all_stats. */
static const char older_sql[] =
    "SELECT format('%s@%s (%s), pid %s', usename,"
    " coalesce(host(client_addr), 'local'), application_name, pid),"
    " 'transaction', xact_start, left(query, 200)"
    " FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND xact_start < $1"
    " AND NOT (application_name = '" DB_APPLICATION "'"
    "  AND usename = session_user) AND pid <> pg_backend_pid()"
    " UNION ALL "
    "SELECT format('%s, gid %L', owner, gid), 'prepared transaction',"
    " prepared, 'COMMIT PREPARED or ROLLBACK PREPARED ends it'"
    " FROM pg_prepared_xacts WHERE database = current_database()"
    " AND prepared < $1 ORDER BY 3";

/* Nobody may hold the lock of the epoch before this one. */
static bool instances_left(struct job *j, bool *ret, struct problem *p)
{
	char epoch[24];
	const char *const params[] = {j->m->name, epoch};
	int64_t free_now;

	snprintf(epoch, sizeof(epoch), "%" PRIu64, j->row.epoch - 1);
	if (!db_number(j->db,
		       "SELECT CASE WHEN pg_try_advisory_lock("
		       "hashtext('pgtandem.' || $1), $2::bigint::int)"
		       " THEN pg_advisory_unlock(hashtext('pgtandem.' || $1),"
		       " $2::bigint::int)::int ELSE 0 END",
		       2, params, 0, &free_now, p))
		return false;
	*ret = !free_now;
	return true;
}

static bool sessions_left(struct job *j)
{
	struct control *c = j->control;
	struct server *server;
	uint64_t serial;

	uv_mutex_lock(&c->lock);
	server = c->server;
	serial = j->m->serial;
	uv_mutex_unlock(&c->lock);
	return server && server_oldest_serial(server) < serial;
}

static bool timed_out(struct job *j, const char *who, struct problem *p)
{
	bool back = j->row.pending && j->row.from > j->row.phase;

	problem_set(p, "55006",
		    "pgtandem: migration %s (phase %s): waited "
		    "%" PRIu64 " s for earlier transactions to end",
		    j->m->name, phase_name(j->row.phase),
		    j->settings->barrier_timeout_ms / 1000);
	problem_detail(p, "Still there: %s", who);
	problem_hint(p, "SHOW BARRIER %s names them. %s %s goes on waiting%s.",
		     j->m->name, back ? "ROLLBACK" : "ADVANCE", j->m->name,
		     back ? "" : "; ROLLBACK takes the move back");
	return false;
}

/* One wait: sleeps, says so now and then, ends at the barrier's time-out. */
static bool wait_more(struct job *j, uint64_t since_ms, const char *who,
		      struct problem *p)
{
	uint64_t waited = uv_hrtime() / 1000000 - since_ms;

	if (waited > j->settings->barrier_timeout_ms)
		return timed_out(j, who, p);
	if (waited / SAY_EVERY_MS != (waited + LOOK_MS) / SAY_EVERY_MS)
		job_notice(j, "waiting for earlier transactions: %s", who);
	return job_sleep(j, LOOK_MS, p);
}

bool barrier_settle(struct job *j, struct problem *p)
{
	uint64_t since_ms = uv_hrtime() / 1000000;
	bool others = true;

	while (sessions_left(j))
		if (!wait_more(j, since_ms,
			       "sessions of this instance at an "
			       "earlier epoch",
			       p))
			return false;
	database_wake(j->m->database);
	for (;;) {
		if (!instances_left(j, &others, p))
			return false;
		if (!others)
			return true;
		if (!wait_more(j, since_ms, "an instance at an earlier epoch",
			       p))
			return false;
	}
}

static void waiting_set(struct job *j, const char *since)
{
	uv_mutex_lock(&j->control->lock);
	snprintf(j->m->waiting_since, sizeof(j->m->waiting_since), "%s", since);
	uv_mutex_unlock(&j->control->lock);
}

static bool now_read(PGconn *db, char ret[40], struct problem *p)
{
	PGresult *r = db_query(db, p, "SELECT clock_timestamp()", 0, NULL);

	if (!r)
		return false;
	snprintf(ret, 40, "%s", PQgetvalue(r, 0, 0));
	PQclear(r);
	return true;
}

static bool transactions_end(struct job *j, const char *since,
			     struct problem *p)
{
	uint64_t since_ms = uv_hrtime() / 1000000;
	char who[300];

	for (;;) {
		PGresult *r = db_query(j->db, p, older_sql, 1, &since);
		int n;

		if (!r)
			return false;
		n = PQntuples(r);
		if (n > 0)
			snprintf(who, sizeof(who), "%d; the oldest: %s", n,
				 PQgetvalue(r, 0, 0));
		PQclear(r);
		if (n == 0)
			return true;
		if (!wait_more(j, since_ms, who, p))
			return false;
	}
}

bool barrier_pass(struct job *j, struct problem *p)
{
	char since[40];
	bool ok;

	if (!barrier_settle(j, p) || !now_read(j->db, since, p))
		return false;
	waiting_set(j, since);
	ok = transactions_end(j, since, p);
	waiting_set(j, "");
	return ok;
}

/* The sessions of this instance that are at an earlier epoch. */
static void clients_show(struct job *j, control_row_fn row, void *arg)
{
	struct control *c = j->control;
	struct client_info *all;
	struct server *server;
	uint64_t serial;
	size_t n;

	uv_mutex_lock(&c->lock);
	server = c->server;
	serial = j->m->serial;
	uv_mutex_unlock(&c->lock);
	all = server ? malloc(MAX_CLIENTS * sizeof(*all)) : NULL;
	if (!all)
		return;
	n = server_list_clients(server, all, MAX_CLIENTS);
	for (size_t i = 0; i < n; i++) {
		const struct client_info *f = &all[i];
		char who[320];

		if (!f->serial || f->serial >= serial ||
		    strcmp(f->database, j->m->database->name) != 0)
			continue;
		snprintf(who, sizeof(who),
			 "client %" PRIu64 ": %s@%s (%s), "
			 "pid %u",
			 f->id, f->user, f->address, f->application,
			 f->backend_pid);
		row(arg,
		    (const char *const[]){who, "session at an earlier epoch",
					  NULL, f->state});
	}
	free(all);
}

bool barrier_show(struct job *j, control_row_fn row, void *arg,
		  struct problem *p)
{
	char since[40];
	const char *params[] = {since};
	PGresult *r;

	uv_mutex_lock(&j->control->lock);
	snprintf(since, sizeof(since), "%s", j->m->waiting_since);
	uv_mutex_unlock(&j->control->lock);
	clients_show(j, row, arg);
	/* None under way: the ones that a barrier begun now would wait for. */
	if (!since[0] && !now_read(j->db, since, p))
		return false;
	r = db_query(j->db, p, older_sql, 1, params);
	if (!r)
		return false;
	for (int i = 0; i < PQntuples(r); i++)
		row(arg,
		    (const char *const[]){db_text(r, i, 0), db_text(r, i, 1),
					  db_text(r, i, 2), db_text(r, i, 3)});
	PQclear(r);
	return true;
}

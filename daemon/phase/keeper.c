#include "daemon/phase/keeper.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/phase/db.h"
#include "daemon/phase/walks.h"

enum {
	LOOK_MS = 1000,	 /* state and catalog */
	SWAP_MS = 25,	 /* while a lock waits to be swapped */
	NOTIFY_MS = 100, /* between looks at the connection's socket */
	USAGE_MS = 5000, /* old use may be forgotten that long */
	RETRY_MAX_MS = 10000,
};

struct keeper {
	struct database *d;
	PGconn *db; /* NULL while away */
	uint64_t lease_ms, usage_at_ms;
	unsigned retry_ms;
	bool troubled; /* told once per outage */
};

static uint64_t now_ms(void)
{
	return uv_hrtime() / 1000000;
}

static bool stopping(struct database *d)
{
	bool is;

	uv_mutex_lock(&d->control->lock);
	is = d->control->stopping;
	uv_mutex_unlock(&d->control->lock);
	return is;
}

/* The i-th migration that is configured and has its server; NULL at the end.
 * The array may grow meanwhile, its elements stay. */
static struct migration *nth(struct database *d, size_t i, bool *ret_gone)
{
	struct migration *m = NULL;

	uv_mutex_lock(&d->control->lock);
	if (i < d->n_migrations) {
		m = d->migrations[i];
		*ret_gone = m->gone;
	}
	uv_mutex_unlock(&d->control->lock);
	return m;
}

static bool lock_call(struct keeper *k, const char *function,
		      const struct migration *m, uint64_t epoch, bool *ret,
		      struct problem *p)
{
	char sql[160], number[24];
	const char *const params[] = {m->name, number};
	int64_t got;

	snprintf(sql, sizeof(sql),
		 "SELECT %s(hashtext('pgtandem.' || $1), $2::bigint::int)::int",
		 function);
	snprintf(number, sizeof(number), "%" PRIu64, epoch);
	if (!db_number(k->db, sql, 2, params, 0, &got, p))
		return false;
	*ret = got;
	return true;
}

/* Takes the lock of the epoch in force; lets go of the earlier one once no
 * session of this instance runs by it. *ret_owed: look again soon. */
static bool lock_swap(struct keeper *k, struct migration *m, bool *ret_owed,
		      struct problem *p)
{
	struct control *c = k->d->control;
	struct server *server;
	uint64_t epoch, serial;
	bool got = true, gone;

	uv_mutex_lock(&c->lock);
	server = c->server;
	epoch = m->row.epoch;
	serial = m->serial;
	uv_mutex_unlock(&c->lock);
	if (m->locked_epoch == epoch)
		return true;
	if (m->locked_epoch && server &&
	    server_oldest_serial(server) < serial) {
		*ret_owed = true;
		return true;
	}
	if (!lock_call(k, "pg_try_advisory_lock_shared", m, epoch, &got, p))
		return false;
	if (!got) {
		*ret_owed = true;
		return true;
	}
	if (m->locked_epoch && !lock_call(k, "pg_advisory_unlock_shared", m,
					  m->locked_epoch, &gone, p))
		return false;
	m->locked_epoch = epoch;
	return true;
}

/* A specification that was changed or taken away: its lock goes when no
 * session runs by it any more. */
static bool lock_drop(struct keeper *k, struct migration *m, bool *ret_owed,
		      struct problem *p)
{
	struct control *c = k->d->control;
	uint64_t serial;
	struct server *server;
	bool had;

	uv_mutex_lock(&c->lock);
	server = c->server;
	serial = m->serial;
	uv_mutex_unlock(&c->lock);
	if (!m->locked_epoch)
		return true;
	if (server && server_oldest_serial(server) < serial) {
		*ret_owed = true;
		return true;
	}
	if (!lock_call(k, "pg_advisory_unlock_shared", m, m->locked_epoch, &had,
		       p))
		return false;
	m->locked_epoch = 0;
	return true;
}

static bool locks_swap(struct keeper *k, bool *ret_owed, struct problem *p)
{
	struct migration *m;
	bool gone;

	*ret_owed = false;
	for (size_t i = 0; (m = nth(k->d, i, &gone)); i++)
		if (!(gone ? lock_drop : lock_swap)(k, m, ret_owed, p))
			return false;
	return true;
}

/* The last use of the old shape, kept for the quiet period. */
static bool usage_keep(struct keeper *k, struct migration *m, struct problem *p)
{
	uint64_t last_ms = atomic_load(&m->usage->last_old_ms);
	char number[24];
	const char *const params[] = {m->name, number};
	PGresult *r;

	if (last_ms == m->usage_kept_ms)
		return true;
	snprintf(number, sizeof(number), "%" PRIu64, last_ms);
	/* A mover holds the row while its DDL waits for locks: the lease must
	 * not wait with it. */
	r = db_query(
	    k->db, p,
	    "UPDATE pgtandem.migration SET last_old_use ="
	    " greatest(last_old_use, to_timestamp($2::bigint / 1000.0))"
	    " WHERE name IN (SELECT name FROM pgtandem.migration"
	    "  WHERE name = $1 FOR UPDATE SKIP LOCKED)",
	    2, params);
	if (r && strcmp(PQcmdTuples(r), "1") == 0)
		m->usage_kept_ms = last_ms;
	PQclear(r);
	return r;
}

static bool usages_keep(struct keeper *k, struct problem *p)
{
	struct migration *m;
	bool gone;

	if (now_ms() < k->usage_at_ms)
		return true;
	k->usage_at_ms = now_ms() + USAGE_MS;
	for (size_t i = 0; (m = nth(k->d, i, &gone)); i++)
		if (!usage_keep(k, m, p))
			return false;
	return true;
}

/* The state as it stands now is what this instance runs by. */
static bool states_adopt(struct keeper *k, struct problem *p)
{
	struct migration *m;
	bool gone;

	for (size_t i = 0; (m = nth(k->d, i, &gone)); i++)
		if (!gone && !migration_adopt(m, k->db, p))
			return false;
	return true;
}

/*
 * Do the phases that this instance runs by still stand?  One question, however
 * many migrations there are: reading what else may have changed takes longer,
 * and the lease must not run out meanwhile.
 */
static bool states_stand(struct keeper *k, bool *ret, struct problem *p)
{
	json_t *held = json_array();
	struct migration *m;
	const char *params[1];
	char *text;
	int64_t differ;
	bool gone, ok;

	for (size_t i = 0; (m = nth(k->d, i, &gone)); i++) {
		uv_mutex_lock(&k->d->control->lock);
		if (!gone)
			json_array_append_new(
			    held, json_pack("[sI]", m->name,
					    (json_int_t)m->row.epoch));
		uv_mutex_unlock(&k->d->control->lock);
	}
	params[0] = text = json_dumps(held, JSON_COMPACT);
	json_decref(held);
	if (!text)
		abort();
	ok = db_number(k->db,
		       "SELECT count(*) FROM json_array_elements($1::json)"
		       " AS h(held) LEFT JOIN pgtandem.migration m"
		       " ON m.name = h.held ->> 0"
		       " WHERE (m.epoch = (h.held ->> 1)::bigint) IS NOT TRUE",
		       1, params, 1, &differ, p);
	free(text);
	*ret = ok && differ == 0;
	return ok;
}

static void lease_extend(struct keeper *k, uint64_t begun_ns)
{
	atomic_store(&k->d->lease.fresh_until_ns,
		     begun_ns + k->lease_ms * UINT64_C(1000000));
}

static bool walks_look(struct keeper *k, struct problem *p)
{
	struct migration *m;
	bool gone;

	walks_note_latency(k->d->control);
	for (size_t i = 0; (m = nth(k->d, i, &gone)); i++)
		if (!gone && !walks_tend(m, k->db, false, p))
			return false;
	return true;
}

static void lease_settings(struct keeper *k)
{
	uv_mutex_lock(&k->d->control->lock);
	k->lease_ms = k->d->control->settings->lease_ms;
	uv_mutex_unlock(&k->d->control->lock);
}

static bool look(struct keeper *k, bool *ret_owed, struct problem *p)
{
	uint64_t begun_ns = uv_hrtime();
	bool stand;

	lease_settings(k);
	if (!states_stand(k, &stand, p))
		return false;
	/* From before the question was asked: an answer may be late. */
	if (stand)
		lease_extend(k, begun_ns);
	begun_ns = uv_hrtime();
	if (!states_adopt(k, p))
		return false;
	lease_extend(k, begun_ns);
	return locks_swap(k, ret_owed, p) && usages_keep(k, p) &&
	       walks_look(k, p);
}

/* True when there was a notification: somebody changed the state. */
static bool notified(struct keeper *k)
{
	bool any = false;
	PGnotify *n;

	if (!k->db || !PQconsumeInput(k->db))
		return true;
	while ((n = PQnotifies(k->db))) {
		any = true;
		PQfreemem(n);
	}
	return any;
}

/* Sleeps until something is to be done, or the time is over. */
static void rest(struct keeper *k, uint64_t ms)
{
	struct database *d = k->d;
	struct control *c = d->control;
	uint64_t until = now_ms() + ms;
	bool awake = false;

	while (!awake && now_ms() < until) {
		uint64_t left = until - now_ms();

		uv_mutex_lock(&c->lock);
		if (!d->awake && !c->stopping)
			uv_cond_timedwait(
			    &d->wake, &c->lock,
			    (left < NOTIFY_MS ? left : NOTIFY_MS) *
				UINT64_C(1000000));
		awake = d->awake || c->stopping;
		d->awake = false;
		uv_mutex_unlock(&c->lock);
		awake = awake || (k->db && notified(k));
	}
}

static void disconnect(struct keeper *k)
{
	struct migration *m;
	bool gone;

	PQfinish(k->db);
	k->db = NULL;
	for (size_t i = 0; (m = nth(k->d, i, &gone)); i++)
		m->locked_epoch = 0;
}

static bool reconnect(struct keeper *k, struct problem *p)
{
	struct settings *s;
	bool ok;

	uv_mutex_lock(&k->d->control->lock);
	s = settings_ref(k->d->control->settings);
	uv_mutex_unlock(&k->d->control->lock);
	ok = db_connect(s, k->d->name, &k->db, p);
	settings_unref(s);
	if (!ok)
		return false;
	/* A query that hangs must not outlast a few leases. */
	return db_exec(k->db, "SET statement_timeout = '15s'; LISTEN pgtandem",
		       p);
}

static void on_trouble(struct keeper *k, const struct problem *p)
{
	if (!k->troubled)
		log_error("database %s: %s; statements on its relations under "
			  "migration are refused after the lease until this "
			  "is mended",
			  k->d->name, p->message);
	k->troubled = true;
	if (k->db && PQstatus(k->db) != CONNECTION_OK)
		disconnect(k);
	k->retry_ms = k->retry_ms ? k->retry_ms * 2 : 100;
	if (k->retry_ms > RETRY_MAX_MS)
		k->retry_ms = RETRY_MAX_MS;
}

static void on_well(struct keeper *k)
{
	if (k->troubled)
		log_info("database %s: control connection is well again",
			 k->d->name);
	k->troubled = false;
	k->retry_ms = 0;
}

static uint64_t pause_ms(const struct keeper *k, bool owed)
{
	uint64_t third = k->lease_ms / 3;

	if (k->retry_ms)
		return k->retry_ms;
	if (owed)
		return SWAP_MS;
	return third && third < LOOK_MS ? third : LOOK_MS;
}

static void keeper_run(void *arg)
{
	struct keeper k = {.d = arg};
	struct problem p;

	while (!stopping(k.d)) {
		bool owed = false;

		if ((k.db || reconnect(&k, &p)) && look(&k, &owed, &p))
			on_well(&k);
		else
			on_trouble(&k, &p);
		rest(&k, pause_ms(&k, owed));
	}
	if (k.db) {
		k.usage_at_ms = 0;
		if (!usages_keep(&k, &p))
			log_warn("database %s: %s", k.d->name, p.message);
		disconnect(&k);
	}
}

void keeper_start(struct database *d)
{
	d->keeping = uv_thread_create(&d->keeper, keeper_run, d) == 0;
	if (!d->keeping)
		log_error("database %s: no thread for its keeper", d->name);
}

void keeper_join(struct database *d)
{
	if (!d->keeping)
		return;
	database_wake(d);
	uv_thread_join(&d->keeper);
	d->keeping = false;
}

#include "daemon/phase/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"

/* An object of the operator's own schema must never be found in place of a
 * catalog's; the rest keeps texts of dates and numbers the same everywhere. */
#define PINNED \
	"-c search_path=pg_catalog -c DateStyle=ISO -c TimeZone=UTC " \
	"-c IntervalStyle=iso_8601 -c extra_float_digits=3 " \
	"-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 " \
	"-c default_transaction_isolation=read\\ committed " \
	"-c default_transaction_read_only=off"

enum { MAX_PARAMETERS = 20 };

struct parameters {
	size_t n;
	const char *keywords[MAX_PARAMETERS];
	const char *values[MAX_PARAMETERS];
};

static const char *sslmode_name(enum server_tls mode)
{
	static const char *const names[] = {
		[SERVER_TLS_DISABLE] = "disable",
		[SERVER_TLS_ALLOW] = "allow",
		[SERVER_TLS_PREFER] = "prefer",
		[SERVER_TLS_REQUIRE] = "require",
		[SERVER_TLS_VERIFY_CA] = "verify-ca",
		[SERVER_TLS_VERIFY_FULL] = "verify-full",
	};

	return mode ? names[mode] : NULL;
}

static void add(struct parameters *ps, const char *keyword, const char *value)
{
	if (!value || !value[0])
		return;
	ps->keywords[ps->n] = keyword;
	ps->values[ps->n++] = value;
}

/* The operator's own `options` come first, so that ours win. */
static bool options_make(const char *conninfo, char **ret, struct problem *p)
{
	char *error = NULL;
	PQconninfoOption *all = PQconninfoParse(conninfo, &error);
	const char *theirs = "";

	if (!all) {
		problem_set(p, "22023", "pgtandem: setting \"control\": %s",
			    error ? error : "out of memory");
		problem_hint(p, "It is a libpq connection string without host "
				"and port, such as user=pgtandem.");
		PQfreemem(error);
		return false;
	}
	for (const PQconninfoOption *o = all; o->keyword; o++)
		if (strcmp(o->keyword, "options") == 0 && o->val)
			theirs = o->val;
	if (asprintf(ret, "%s " PINNED, theirs) < 0)
		abort();
	PQconninfoFree(all);
	return true;
}

static void on_notice(void *arg, const char *message)
{
	log_debug("control connection: %.*s", (int)strcspn(message, "\n"),
		  message);
}

bool db_connect(const struct settings *s, const char *database, PGconn **ret,
		struct problem *p)
{
	struct parameters ps = { 0 };
	const char *conninfo = s->control ? s->control : "";
	char port[8], timeout[24], *options;
	PGconn *db;

	if (!options_make(conninfo, &options, p))
		return false;
	snprintf(port, sizeof(port), "%u", s->server.port);
	snprintf(timeout, sizeof(timeout), "%llu",
		 (unsigned long long)(s->server.connect_timeout_ms + 999) / 1000);
	/* Only the first dbname is expanded, and what follows it overrides. */
	add(&ps, "dbname", conninfo);
	add(&ps, "host", s->server.host);
	add(&ps, "port", port);
	add(&ps, "sslmode", sslmode_name(s->server.tls_mode));
	add(&ps, "sslrootcert", s->server.root_cert);
	add(&ps, "sslcert", s->server.cert);
	add(&ps, "sslkey", s->server.key);
	add(&ps, "connect_timeout", timeout);
	add(&ps, "application_name", DB_APPLICATION);
	add(&ps, "client_encoding", "UTF8");
	add(&ps, "tcp_user_timeout", "20000");
	add(&ps, "options", options);
	add(&ps, "dbname", database);
	db = PQconnectdbParams(ps.keywords, ps.values, 1);
	free(options);
	if (PQstatus(db) != CONNECTION_OK) {
		db_problem(db, NULL, p);
		PQfinish(db);
		return false;
	}
	PQsetNoticeProcessor(db, on_notice, NULL);
	*ret = db;
	return true;
}

void db_problem(PGconn *db, const PGresult *r, struct problem *p)
{
	const char *message = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY)
				: NULL;
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *detail = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL)
			       : NULL;
	const char *hint = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_HINT)
			     : NULL;

	if (!message)
		message = r ? PQresultErrorMessage(r) : PQerrorMessage(db);
	problem_set(p, state && strlen(state) == 5 ? state : "08006", "%.*s",
		    (int)strcspn(message, "\n"), message);
	if (detail)
		problem_detail(p, "%s", detail);
	if (hint)
		problem_hint(p, "%s", hint);
}

PGresult *db_query(PGconn *db, struct problem *p, const char *sql, int n,
		   const char *const *params)
{
	PGresult *r = PQexecParams(db, sql, n, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return r;
	db_problem(db, r, p);
	PQclear(r);
	return NULL;
}

bool db_exec(PGconn *db, const char *sql, struct problem *p)
{
	PGresult *r = PQexec(db, sql);
	ExecStatusType status = PQresultStatus(r);
	bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
		  status == PGRES_EMPTY_QUERY;

	if (!ok)
		db_problem(db, r, p);
	PQclear(r);
	return ok;
}

bool db_number(PGconn *db, const char *sql, int n, const char *const *params,
	       int64_t none, int64_t *ret, struct problem *p)
{
	PGresult *r = db_query(db, p, sql, n, params);

	if (!r)
		return false;
	*ret = PQntuples(r) == 0 || PQgetisnull(r, 0, 0) ? none
							  : db_int(r, 0, 0);
	PQclear(r);
	return true;
}

const char *db_text(const PGresult *r, int row, int column)
{
	return PQgetisnull(r, row, column) ? NULL : PQgetvalue(r, row, column);
}

int64_t db_int(const PGresult *r, int row, int column)
{
	return strtoll(PQgetvalue(r, row, column), NULL, 10);
}

bool db_bool(const PGresult *r, int row, int column)
{
	return PQgetvalue(r, row, column)[0] == 't';
}

void db_rollback(PGconn *db)
{
	PGTransactionStatusType t = PQtransactionStatus(db);

	if (t == PQTRANS_INTRANS || t == PQTRANS_INERROR)
		PQclear(PQexec(db, "ROLLBACK"));
}

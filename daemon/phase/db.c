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
	"-c default_transaction_isolation=read\\\\ committed " \
	"-c default_transaction_read_only=off"

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

/* One `keyword='value'`; what comes later in the string wins. */
static void put(FILE *out, const char *keyword, const char *value)
{
	if (!value || !value[0])
		return;
	fprintf(out, "%s='", keyword);
	for (const char *s = value; *s; s++) {
		if (*s == '\'' || *s == '\\')
			fputc('\\', out);
		fputc(*s, out);
	}
	fputs("' ", out);
}

static void put_number(FILE *out, const char *keyword, unsigned long long n)
{
	fprintf(out, "%s=%llu ", keyword, n);
}

/* The operator's keywords; their `options` come first, so that ours win. */
static bool put_control(FILE *out, const char *conninfo, struct problem *p)
{
	char *error = NULL, *options = NULL;
	PQconninfoOption *all = PQconninfoParse(conninfo, &error);

	if (!all) {
		problem_set(p, "22023", "pgtandem: setting \"control\": %s",
			    error ? error : "out of memory");
		problem_hint(p, "It is a libpq connection string without host "
				"and port, such as user=pgtandem.");
		PQfreemem(error);
		return false;
	}
	for (const PQconninfoOption *o = all; o->keyword; o++) {
		if (strcmp(o->keyword, "options") == 0)
			options = o->val;
		else
			put(out, o->keyword, o->val);
	}
	fprintf(out, "options='");
	for (const char *s = options ? options : ""; *s; s++)
		fprintf(out, *s == '\'' || *s == '\\' ? "\\%c" : "%c", *s);
	fprintf(out, " %s' ", PINNED);
	PQconninfoFree(all);
	return true;
}

bool db_conninfo(const struct settings *s, const char *database, char **ret,
		 struct problem *p)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool ok = put_control(out, s->control ? s->control : "", p);

	put(out, "host", s->server.host);
	put_number(out, "port", s->server.port);
	put(out, "sslmode", sslmode_name(s->server.tls_mode));
	put(out, "sslrootcert", s->server.root_cert);
	put(out, "sslcert", s->server.cert);
	put(out, "sslkey", s->server.key);
	put_number(out, "connect_timeout",
		   (s->server.connect_timeout_ms + 999) / 1000);
	put(out, "application_name", DB_APPLICATION);
	put(out, "client_encoding", "UTF8");
	put_number(out, "tcp_user_timeout", 20000);
	put(out, "dbname", database);
	fclose(out);
	if (!ok) {
		free(text);
		return false;
	}
	*ret = text;
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
	char *conninfo;
	PGconn *db;

	if (!db_conninfo(s, database, &conninfo, p))
		return false;
	db = PQconnectdb(conninfo);
	free(conninfo);
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
	const char *message =
	    r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *detail =
	    r ? PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL) : NULL;
	const char *hint =
	    r ? PQresultErrorField(r, PG_DIAG_MESSAGE_HINT) : NULL;

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
	*ret =
	    PQntuples(r) == 0 || PQgetisnull(r, 0, 0) ? none : db_int(r, 0, 0);
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

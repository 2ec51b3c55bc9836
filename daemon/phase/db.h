/*
 * A control connection: libpq with the settings' server, a pinned search_path
 * and errors told as problems.
 *
 * Straight-line and blocking; a connection belongs to the thread that opened
 * it.  Knows nothing of migrations.
 */
#ifndef DAEMON_PHASE_DB_H
#define DAEMON_PHASE_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/problem.h"
#include "config/settings.h"

/* application_name of every control connection; barriers leave them out. */
#define DB_APPLICATION "pgtandem"

/* The connection string with everything that db_connect gives, for those who
 * connect by themselves.  The caller frees it. */
bool db_conninfo(const struct settings *s, const char *database, char **ret,
		 struct problem *p) __attribute__((warn_unused_result));
bool db_connect(const struct settings *s, const char *database, PGconn **ret,
		struct problem *p) __attribute__((warn_unused_result));

/* One statement with text parameters (NULL is NULL). NULL on failure, with
 * `p` filled from the server's error fields; else the caller clears it. */
PGresult *db_query(PGconn *db, struct problem *p, const char *sql, int n,
		   const char *const *params)
    __attribute__((warn_unused_result));
/* Any number of statements, no parameters, results dropped. */
bool db_exec(PGconn *db, const char *sql, struct problem *p)
    __attribute__((warn_unused_result));
/* The first column of the first row as a number; `none` if there is no row
 * or it is NULL. */
bool db_number(PGconn *db, const char *sql, int n, const char *const *params,
	       int64_t none, int64_t *ret, struct problem *p)
    __attribute__((warn_unused_result));

/* NULL when the field is NULL; borrowed until PQclear. */
const char *db_text(const PGresult *r, int row, int column);
int64_t db_int(const PGresult *r, int row, int column); /* 0 when NULL */
bool db_bool(const PGresult *r, int row, int column);

/* Fills `p` from a failed result, or from the connection if r is NULL. */
void db_problem(PGconn *db, const PGresult *r, struct problem *p);
/* Ends an open transaction, whatever its state. */
void db_rollback(PGconn *db);

#endif

/*
 * What can be asked without a running daemon: `check` and `rewrite`.
 *
 * Looks into the database, if it is there, and changes nothing in it.
 * Answers go to standard output, what is wrong to standard error.
 */
#ifndef DAEMON_OFFLINE_H
#define DAEMON_OFFLINE_H

#include <stdbool.h>

#include "config/phase.h"

/* Configuration and specifications; the settings in force; the DDL of every
 * move, where the database can be reached. */
bool offline_check(const char *config);

/* What `sql` is sent as; `phase` PHASE_COUNT is the current one. */
bool offline_rewrite(const char *config, const char *migration,
		     enum phase phase, const char *sql);

#endif

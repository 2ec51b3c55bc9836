/*
 * The JSON form of a relation's description.
 *
 * The server itself makes it (catalog_load.c); the state keeps the old
 * relation's from `expanded` on, because in `contracted` it is the only record
 * left; a snapshot reads it into its own arena.  So there is one form and one
 * reader, and no description is shared between two lifetimes.
 */
#ifndef DAEMON_PHASE_CATALOG_JSON_H
#define DAEMON_PHASE_CATALOG_JSON_H

#include <stdbool.h>

#include "config/arena.h"
#include "config/problem.h"
#include "rewrite/catalog.h"

bool catalog_json_read(const char *json, struct arena *a,
		       const struct relation **ret, struct problem *p)
    __attribute__((warn_unused_result));

#endif

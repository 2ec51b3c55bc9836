/*
 * What the server knows about a relation, in the JSON form of catalog_json.h.
 */
#ifndef DAEMON_PHASE_CATALOG_LOAD_H
#define DAEMON_PHASE_CATALOG_LOAD_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/problem.h"
#include "config/spec.h"

/*
 * The caller frees *ret, which is NULL when there is no such relation, or only
 * what a contracted migration has left of one (rewrite/ddl/ddl_husk.c).  With
 * `expressions` (or NULL) it says where the functions and types are that they
 * may name.
 */
bool catalog_load(PGconn *db, const char *schema, const char *name,
		  const char *expressions, char **ret, struct problem *p)
    __attribute__((warn_unused_result));
/* All mapping expressions of a lens; the caller frees them. */
char *catalog_expressions(const struct spec_lens *l);

struct catalog_print {
	char *text; /* changes whenever catalog_load's may have changed, but for
		     * the estimated number of rows; the caller frees it */
	uint32_t husk; /* the Oid, if it is what a migration has left; or 0 */
};

/* Of each of n relations; cheap enough for every second.  On failure `ret` has
 * nothing. */
bool catalog_fingerprints(PGconn *db, const struct spec_name *relations,
			  size_t n, struct catalog_print *ret,
			  struct problem *p)
    __attribute__((warn_unused_result));

#endif

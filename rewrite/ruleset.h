/*
 * Everything that the rewriting of one database's statements depends on: its
 * migrations' compiled lenses, phases and epochs, and the names to look for.
 *
 * Immutable; a part of the daemon's snapshot, shared by all workers.  A new
 * phase or a change of the catalog is a new ruleset with a higher serial.
 */
#ifndef REWRITE_RULESET_H
#define REWRITE_RULESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/phase.h"
#include "config/spec.h"
#include "rewrite/text/filter.h"
#include "rewrite/lens/lens.h"
#include "rewrite/text/name_set.h"

enum { RULESET_MAX_MIGRATIONS = 64 };

/* What a server of that version, and each later one, knows. */
enum {
	SERVER_15 = 150000,
	SERVER_NUMBERS = 160000, /* 0x1F and 1_000 */
	SERVER_MERGE_RETURNING = 170000,
	SERVER_RETURNING_OLD = 180000, /* OLD and NEW in RETURNING */
};

enum shape { SHAPE_OLD, SHAPE_NEW, SHAPE_COUNT };

struct rule_migration {
	const struct spec *spec;
	enum phase phase;
	uint64_t epoch;
	unsigned read_percent; /* read_new: share of sessions that read new */
	bool prelock;	       /* write_new before its barrier has passed: lock
				* the old rows first (design section 4) */
	size_t n_lenses;
	const struct lens *const *lenses;
};

/* A relation name that statements are searched for. */
struct rule_name {
	const char *schema;
	const char *name; /* as stored: folded or exact */
	enum shape shape;
	bool shared;	    /* both shapes have it: the session says which */
	unsigned migration; /* index into migrations */
	unsigned lens;	    /* index into that migration's lenses */

	/* What serves it: its own migration and lens, or, where its new
	 * relation is migrated on, what the two make together
	 * (rewrite/lens/chain.h). */
	unsigned decider; /* index of the migration whose phase decides */
	const struct rule_migration *rule; /* as `decider` says it here */
	const struct lens *through;
	const char *columns; /* lens_columns of `through` */
	const char *broken;  /* why nothing can serve it; or NULL */
};

struct ruleset {
	uint64_t serial; /* unique in this process: the cache's key */
	const char *database;
	size_t n_migrations;
	const struct rule_migration *migrations;
	size_t n_names;
	/* Their index is a name_set's.  Behind them stand the relations'
	 * indexes, of which there is the name alone. */
	const struct rule_name *names;
	struct name_index index; /* of both */
	uint32_t max_statement_bytes;
	unsigned server_version; /* 180004 is 18.4 */
	const struct filter *filter;
};

struct ruleset_input {
	uint64_t serial;
	const char *database;
	uint32_t max_statement_bytes;
	unsigned server_version; /* 0: not known; as 15 */
	size_t n_migrations;
	const struct rule_migration *migrations;
};

/*
 * Copies the input's arrays into `a`; what they point at is borrowed and must
 * live as long.  Fails when two migrations claim one relation, except that
 * what one has made another may carry on: as long as the first is not
 * `contracted` the second must be `planned`, and is left alone.
 */
bool ruleset_build(const struct ruleset_input *in, struct arena *a,
		   const struct ruleset **ret, struct problem *p)
    __attribute__((warn_unused_result));

/* The relation of the name's own lens. */
const struct relation *rule_relation(const struct ruleset *r,
				     const struct rule_name *n);

/* May this text name a relation under migration, or an index of one?  See
 * rewrite/text/filter.h.
 * Identifiers with Unicode escapes (U&"...") always count. */
bool ruleset_mentions(const struct ruleset *r, const char *sql, size_t len);

/*
 * A query that asks a session which shape it speaks and which of the ruleset's
 * bare names mean something else there (another schema comes first in
 * search_path, a temporary table shadows): one row, one text column, a
 * character 0 (old) or 1 (new), then n_names characters 0 (ours) or 1
 * (hidden).  NULL when there are no names.
 */
const char *ruleset_probe_sql(const struct ruleset *r, struct arena *a);
/* False: it is the usual answer, for which NULL stands. */
bool ruleset_probe_read(const char *answer, size_t len,
			struct session_names *ret);

/* The shape that a name has for this session. */
enum shape rule_name_shape(const struct rule_name *n,
			   const struct session_names *session);

#endif

/*
 * Snapshots: from what is held in memory to what the workers run by.
 *
 * A snapshot owns all that it speaks of: the relations are read from their
 * JSON and the lenses compiled anew into its arena, so that nothing is shared
 * between one snapshot and the next but counters and leases.
 */
#ifndef DAEMON_PHASE_SNAPSHOT_MAKE_H
#define DAEMON_PHASE_SNAPSHOT_MAKE_H

#include "daemon/phase/migration.h"
#include "rewrite/lens/lens.h"

/* All lenses of a specification into `a`. */
bool lenses_compile(const struct spec *spec, const struct lens_source *sources,
		    struct arena *a, const struct lens *const **ret,
		    struct problem *p) __attribute__((warn_unused_result));

/* With control.lock held: gives each of the migration's lenses the older
 * relations that are served through it.  `*lenses` is replaced by a copy. */
bool lenses_find_earlier(const struct migration *m, struct arena *a,
			 const struct lens *const **lenses, struct problem *p)
    __attribute__((warn_unused_result));

/* What the state row means for statements. */
void rule_fill(const struct spec *spec, const struct state_row *row,
	       const struct lens *const *lenses, struct rule_migration *ret);

/* With control.lock held. The caller owns the reference. */
bool snapshot_make(struct control *c, struct snapshot **ret, struct problem *p)
    __attribute__((warn_unused_result));
/* With control.lock held: makes one and gives it to the server, if there is
 * one yet; failure is logged, and the last one stays in force. */
bool snapshot_publish(struct control *c, struct problem *p)
    __attribute__((warn_unused_result));

#endif

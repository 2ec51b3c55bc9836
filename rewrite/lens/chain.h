/*
 * Two migrations in a row: what the first one made, the second one carries on.
 *
 * The first is `contracted`, and statements of its old shape still come; where
 * the relation that they are served from is itself under migration, two lenses
 * become one.  Pure; the ruleset decides which one a name gets.
 *
 *   second's phase          old shape of the first is served
 *   planned, expanded       through the first lens, as before
 *   dual_write, read_new    through the first lens, and its writes sync the
 *                           second's new relation (chain_beside)
 *   from write_new on       through both at once (chain_compose)
 */
#ifndef REWRITE_CHAIN_H
#define REWRITE_CHAIN_H

#include <stdbool.h>

#include "config/arena.h"
#include "config/problem.h"
#include "rewrite/lens/lens.h"

/*
 * The lens from first's old relation to second's new one.  Its key is
 * second's; its old_ref is the relation that syncs keep equal beside the new
 * one, which is second's old.  Refused: what one lens cannot say, with the
 * reason.
 */
bool chain_compose(const struct lens *first, const struct lens *second,
		   struct arena *a, const struct lens **ret, struct problem *p)
    __attribute__((warn_unused_result));

/* The first lens, with second's key, and with second's sync to new where a
 * write through a lens has that to old: the source is between the two. */
bool chain_beside(const struct lens *first, const struct lens *second,
		  struct arena *a, const struct lens **ret, struct problem *p)
    __attribute__((warn_unused_result));

#endif

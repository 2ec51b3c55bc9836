/*
 * The parts of telling a server's error in the client's terms
 * (plan_map_error): pure, fields are replaced by texts in the arena.
 */
#ifndef REWRITE_ERRMAP_H
#define REWRITE_ERRMAP_H

#include <stdbool.h>

#include "config/arena.h"
#include "config/phase.h"
#include "rewrite/lens/lens.h"
#include "rewrite/rewrite.h"

/* An error about a child lens's table, told as one about the old relation
 * where that has the constraint.  False: it is about something else. */
bool child_map_error(const struct lens *l, struct error_names *e,
		     struct arena *a);

/* Is a row of the new relation shown as one of the old one would be? */
bool row_is_same(const struct lens *l);
/* "Failing row contains (...)." of a write of the old shape: what that row
 * would be in the old relation; NULL if it cannot be told from this. */
const char *row_of_old(const struct lens *l, enum phase phase, const char *row,
		       struct arena *a);
/* An error in a table that is both models, for a writer of the new shape. */
void row_map_new(const struct lens *l, struct error_names *e, struct arena *a);

#endif

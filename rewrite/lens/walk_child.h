/*
 * The walker's statements for a child lens; known to walk_sql.c alone.
 */
#ifndef REWRITE_WALK_CHILD_H
#define REWRITE_WALK_CHILD_H

#include "rewrite/lens/walk_sql.h"

/* As walk_sql_make; what copies without a lock is left out (NULL). */
void walk_child_make(const struct lens *l, enum walk_direction d,
		     struct arena *a, struct walk_sql *ret);

#endif

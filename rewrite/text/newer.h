/*
 * Statements in the grammar of servers newer than the parser.
 *
 * Owns the stand-in: a text of the same length, with everything at the same
 * bytes, that PostgreSQL 15's parser reads and that names the same relations
 * and columns.  What the engine makes of the stand-in's tree is done to the
 * client's text.
 *
 *   16  0x1F, 0o17, 0b11, 1_000          a decimal number of the same value
 *   17  WHEN NOT MATCHED BY SOURCE       WHEN MATCHED
 *       WHEN NOT MATCHED BY TARGET       WHEN NOT MATCHED
 *       MERGE ... RETURNING list         nothing: who plans MERGE looks there
 */
#ifndef REWRITE_TEXT_NEWER_H
#define REWRITE_TEXT_NEWER_H

#include <stddef.h>

#include "config/arena.h"

/* NULL: there is nothing in it that this server would read otherwise. */
char *newer_stand_in(const char *sql, size_t len, unsigned server_version,
		     struct arena *a);

#endif

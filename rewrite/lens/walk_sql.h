/*
 * The walker's statements for one lens and direction, made once per walk.
 *
 * Keys travel as text parameters, one per key column, cast to the key's type
 * in the statement, so that the walker needs no knowledge of types.  In every
 * text, "source" is old for WALK_TO_NEW and new for WALK_TO_OLD.
 *
 * Let k be the number of key columns.  Parameters are numbered from $1:
 *
 *   range   k values `after` (all NULL: from the start), then k values `upto`
 *           (all NULL: to the end); the row comparisons use the key's index,
 *           if the statement is planned with its parameters' values (as an
 *           unnamed statement is)
 *   keys    k arrays (text form), one element per row
 *
 * Those that copy rows must not run in one statement with those that lock:
 * each needs a snapshot that is newer than the locks (READ COMMITTED).
 */
#ifndef REWRITE_WALK_SQL_H
#define REWRITE_WALK_SQL_H

#include "config/arena.h"
#include "rewrite/lens/lens.h"

enum walk_direction { WALK_TO_NEW, WALK_TO_OLD };

struct walk_sql {
	size_t n_key;
	/* Run first in a session: mapping expressions are resolved as in the
	 * lens's functions. */
	const char *set_path;

	/* (): number of rows, estimated where counting would take long */
	const char *count, *target_count;
	/* (k after or NULL, batch size): the last key of the next batch if that
	 * is full, k text columns and the number of its rows */
	const char *next, *target_next;
	/* The same for the last batch, which is not full; no row: the end */
	const char *rest, *target_rest;
	/* (n): the key before the last n source rows, k text columns; no row:
	 * there are no more than n */
	const char *newest;

	/* The next three copy without a lock.  NULL where only a lock keeps
	 * the target right: then `differing` finds what is missing too. */
	/* (range): has the target no row there? */
	const char *target_is_empty;
	/* (range): bulk insert of all, which fails (23505) if one is there; it
	 * costs a third less than the next */
	const char *insert_all;
	/* (range): bulk insert of what is missing; the command's count tells
	 * how many were.  NULL: nothing can be */
	const char *insert_missing;
	/* (range): keys of source rows missing in the target or different from
	 * it, k text columns */
	const char *differing;
	/* (range): keys of target rows that the source does not have or has
	 * different */
	const char *stale;
	/* (range): keys of target rows that the source does not have */
	const char *extra;
	/* (range): k text columns, three booleans: the keys of source rows that
	 * are missing in the target, or different there, or lossy:
	 * reverse(forward(row)) is not the row */
	const char *compare;

	/* Sync of a set of keys, in this order, in one transaction. */
	/* (keys): locks these source rows FOR SHARE, in key order; the keys of
	 * those that there are */
	const char *lock_source;
	/* (keys of those): makes the target's rows equal */
	const char *upsert_keys;
	/* (keys): locks these target rows FOR UPDATE, in key order */
	const char *lock_target;
	/* (keys): deletes those that the source does not have */
	const char *delete_keys;

	/* (keys): those that still differ: k text columns, kind (missing, extra
	 * or different), the source's row mapped and the target's, as JSON */
	const char *recheck;
	/* (keys): those that are still lossy: k text columns, kind (lossy), the
	 * source's row and what would come back.  NULL: nothing is converted.
	 */
	const char *recheck_lossy;
};

void walk_sql_make(const struct lens *l, enum walk_direction d, struct arena *a,
		   struct walk_sql *ret);

#endif

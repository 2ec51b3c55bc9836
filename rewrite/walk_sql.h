/*
 * The walker's statements for one lens and direction, made once per walk.
 *
 * Each is prepared on a control connection.  Keys travel as text parameters,
 * one per key column, cast to the key's type in the statement, so that the
 * walker needs no knowledge of types.  In every text, "source" is old for
 * WALK_TO_NEW and new for WALK_TO_OLD.
 *
 * Let k be the number of key columns.  Parameters are numbered from $1.
 */
#ifndef REWRITE_WALK_SQL_H
#define REWRITE_WALK_SQL_H

#include "config/arena.h"
#include "rewrite/lens.h"

enum walk_direction { WALK_TO_NEW, WALK_TO_OLD };

struct walk_sql {
	size_t n_key;
	/* (): estimated or exact number of source rows */
	const char *count;
	/* (batch size int): the last key of the first batch, k text columns */
	const char *first;
	/* (k after, batch size): the last key of the next batch; no row: end */
	const char *next;
	/* The same two over the target relation, for sweep and verify. */
	const char *target_first, *target_next;
	/* (k after or all NULL, k upto): bulk insert of what is missing */
	const char *insert_missing;
	/* (same range): keys of source rows missing in the target or different
	 * from it, k text columns */
	const char *differing;
	/* (same range): keys of target rows that the source does not have */
	const char *extra;
	/* (same range): keys of source rows whose reverse(forward(row)) is not
	 * the row */
	const char *lossy;
	/* (same range): number of source rows */
	const char *count_range;
	/* (k text[] arrays): lock these source rows FOR SHARE in key order */
	const char *lock_keys;
	/* (k text[] arrays): make the target equal to the source for these */
	const char *sync_keys;
	/* (k values): what both sides have, two json columns: source mapped
	 * forward, and target; NULL where there is no row */
	const char *images;
};

void walk_sql_make(const struct lens *l, enum walk_direction d,
		   struct arena *a, struct walk_sql *ret);

#endif

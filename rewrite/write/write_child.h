/*
 * What write_lens.c, write_set.c and ddl_copy.c ask about a child lens; known
 * to them alone.
 */
#ifndef REWRITE_WRITE_CHILD_H
#define REWRITE_WRITE_CHILD_H

#include "rewrite/statement.h"

/* Does a SET of this old column change the child's row? */
bool child_is_touched(const struct lens *l, unsigned old);
bool child_sets_key(const struct lens *l, const List *targets);

/* The old column whose assignment carries the stash: none that the client
 * assigns; -1 if there is none. */
int child_stash_column(const struct lens *l, const List *targets);

/* L_stash(column, which, key..., values).  `how` is 'u', or 'i' for an
 * INSERT. */
#define CHILD_HERE "\001"
struct child_value {
	const char *text; /* NULL if none is given; CHILD_HERE for the one
			   * between `open` and `close` */
	/* "the row lacks a value that is asked for before this one"; or "" */
	const char *missed;
};
struct stash_frame {
	const char *open, *close;
};
/* `values`: one for each moved column. */
void child_stash_frame(const struct lens *l, const char *alias, int column,
		       char how, const struct child_value *values,
		       struct arena *a, struct stash_frame *ret);
/* The same for a new row of the old shape, which is named `row`. */
const char *child_insert_stash(const struct lens *l, const char *row,
			       int column, struct arena *a);

/* Columns that have moved, in an expression over the table itself: the picked
 * row's.  False, refused: `alone` does not hold, so that a name may be
 * another's. */
bool child_pick_names(struct statement *st, const struct ref *target,
		      struct span value, bool alone);
/* UPDATE or DELETE WHERE CURRENT OF. */
bool child_write_current(struct statement *st, const struct ref *target);

/* MERGE: as it is, where it leaves alone what moves. */
bool child_merge(struct statement *st, const struct ref *target);

/* EXCLUDED.moved among the tokens of ON CONFLICT. */
void child_excluded(struct statement *st, const struct ref *target, size_t from,
		    size_t end);

/* RETURNING, when the rest of the statement is done. */
bool child_finish(struct statement *st, const struct ref *target);

#endif

/*
 * A SET list through the lens, cut into its assignments; known to write_set*.c
 * and write_check.c alone.
 */
#ifndef REWRITE_WRITE_SET_H
#define REWRITE_WRITE_SET_H

#include "rewrite/text/sqltext.h"
#include "rewrite/statement.h"

enum { COLUMN_UNKNOWN = -1 };

struct assignment {
	const ResTarget *target;
	int old;	/* column, or COLUMN_UNKNOWN */
	int new;	/* the one converted column it feeds */
	size_t n_feeds; /* how many converted columns */
	bool carried;
	bool shared;	   /* a column it feeds has another feeder */
	struct span value; /* its tokens */
};

/* One `a = X` or `(a, b) = ...` of the list. */
struct item {
	size_t first_assignment, n;
	struct span all, names, value; /* tokens */
	bool row;		       /* = (X, Y) or ROW(X, Y) */
	bool subselect;		       /* = (SELECT ...) */
};

struct set {
	struct statement *st;
	const struct ref *target;
	const struct lens *l;
	bool grouped; /* the whole list is one assignment of a row */
	bool direct;  /* it is the new relation's own SET list */
	size_t n;
	struct assignment *v;
	size_t n_items;
	struct item *items;
	int stash; /* child lens: the column that carries the stash */
	/* Upsert of a merge's half: "the row is there without it"; or NULL. */
	const char *missing;
};

/*
 * write_set_child.c, for a child lens.  Do any of the assignments
 * [first, first + n) change the child's row?
 */
bool set_touches_child(const struct set *s, size_t first, size_t n);
/* May one that stays and one that moves both be NULL, where neither may? */
bool set_may_miss_two(const struct set *s);
/* Finds the column that carries what is put away; where no assignment does,
 * adds one. */
bool set_begin_stash(struct set *s, const List *targets, struct span list);
/* What stands around one value, cast, that is put away. */
void set_child_frame(const struct set *s, const struct assignment *a,
		     const char *cast_open, const char *cast_close,
		     const char **ret_open, const char **ret_close);
/* Further targets, and their values over r, of the assignments' row. */
void set_child_goals(const struct set *s, size_t first, size_t n,
		     struct sqltext *goals, struct sqltext *mappings);
/* WHERE CURRENT OF: columns that have moved are looked up. */
bool set_child_current(const struct set *s);

/*
 * write_half.c, for a merge's.  A row that is there without this half gets
 * what the client would insert.
 */
/* The goal's value then, or what the client assigns. */
const char *set_or_fill(const struct set *s, const char *goal,
			const char *value);
/* The value of a carried column, over r: refused where NULL would end the
 * half, since an upsert writes no view with a check. */
const char *half_kept(const struct set *s, unsigned old, const char *value);
/* The half's columns that the client does not assign. */
void set_fill_goals(const struct set *s, struct sqltext *goals,
		    struct sqltext *values);

/*
 * write_set_cut.c.  Fills the assignments with the columns that they name and
 * feed; false when one names no column.
 */
bool set_find_columns(struct set *s, const List *targets);
/* Cuts the list into its items, and these into their values' tokens. */
bool set_cut(struct set *s, struct span list);
/* Can the new model have these assignments? */
bool set_check(struct set *s);
/* The assignment of this old column, or NULL. */
const struct assignment *set_find(const struct set *s, unsigned old);
/* Is the new column computed from old ones? */
bool set_is_converted(const struct lens *l, unsigned new);
/* DETAIL, in the server's words, of a value given to a column that is always
 * generated. */
void set_always_detail(struct problem *p, const struct column *c);
/* Is old column `old` an identity whose value, once the row is there, nobody
 * can give the old relation, and has that to follow the write? */
bool set_has_always(const struct statement *st, const struct ref *target,
		    int old);
/* Is the value the word DEFAULT? */
bool set_is_default(const struct set *s, const struct assignment *a);
/* Always false. */
bool set_refuse(struct set *s, const char *clause, const char *hint);

/*
 * write_set_value.c.  The target's own name, quoted; what stands before and
 * behind a value to give it the old column's type.
 */
const char *set_old_name(const struct set *s, const struct assignment *a);
const char *set_cast_open(const struct set *s, unsigned old);
const char *set_cast_close(const struct set *s, unsigned old);
/* The same with the mapping. */
void set_value_frame(const struct set *s, const struct assignment *a,
		     const char **ret_open, const char **ret_close);
/* DEFAULT means the old column's. */
void set_replace_default(const struct set *s, const struct assignment *a);
/* ", old.other AS other" for each column that the mapping needs and that is
 * not assigned. */
void set_put_others(const struct set *s, struct sqltext *t, bool *done,
		    unsigned new);
/* These; or, where there are none, a condition that makes a subselect one of
 * each row. */
const char *set_of_each_row(const struct set *s, const char *others);

/*
 * write_check.c: where an explicit cast could accept what an assignment
 * refuses, puts the client's own assignments, on L_shape and never run, into
 * a WITH query at that place.
 */
void write_check(const struct set *s, const struct check_place *place);

#endif

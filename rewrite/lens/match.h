/*
 * Looking a converted column up by its old value, through the new column's
 * index.
 *
 * A condition `amount = X` on the old shape is one on an expression of the
 * new column, which no index helps.  Where the mapping is one-to-one, it
 * implies `amount_cents = forward(X)`.  That is said by calling a function of
 * the lens, which the planner inlines, so that the new column's index is used:
 *
 *   L_match_N(new, anyelement)	    new = forward(X)
 *   L_match_any_N(new, anyarray)   new = ANY (forward of each element)
 *
 *   L_upto_N(new, anyelement)	    new <= forward(X), which `amount < X` and
 *				    `amount <= X` imply where forward keeps
 *				    the order
 *   L_from_N(new, anyelement)	    new >= forward(X)
 *
 * (N is the new column's number, from 1.)  They are true whenever the client's
 * condition is, and say nothing more: it stays beside them.
 *
 *   - forward(X) may fail where the client's condition is only false (X is out
 *     of the type's range, or what the mapping makes of it is): L_forward_N
 *     then gives NULL.  Where it is known when that is (rewrite/lens/sure.h),
 *it is an expression that the planner inlines too, and parallel workers may
 *     compute; otherwise it has to catch the error.
 *   - "=" may take different values for equal (bigint and double precision, a
 *     collation that ignores case): L_other_N tells by the type of X, while
 *     the statement is planned, and then the functions are just true.  Whole
 *     numbers have a function for each type instead.
 *
 * Owns which columns can be looked up; ddl_match.c makes the functions,
 * lookup.c calls them.
 */
#ifndef REWRITE_MATCH_H
#define REWRITE_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "rewrite/lens/lens.h"

/* An old type whose "=" with some others is identity. */
struct match_type {
	const char *name;    /* as format_type prints it, without a modifier */
	const char *literal; /* what a string in quotes beside "=" is read as */
	const char *others;  /* types that X may have, as an array's text */
	bool needs_modifier; /* numeric: 1.0 is not 1.00 without a scale */
	bool is_text;	     /* has a collation */
};

/* How values of an old column are looked up in a new one. */
struct match {
	const struct match_type *type; /* the old column's */
	/* Whole numbers between which forward(X) does not fail, as texts; or
	 * NULL. */
	const char *low, *high;
	bool total;   /* forward(X) does not fail at all */
	bool is_date; /* ... where X is in a timestamp's range */
	bool ranges;  /* x <= X implies new <= forward(X) */
};

/* How the old column is looked up in a new one that is made of it one-to-one;
 * NULL if it cannot be.  `preserving`: as the specification says.  For
 * lens_compile. */
const struct match *match_make(const struct column *old,
			       const struct lens_new *new, bool preserving,
			       struct arena *a);

/* The new column by which this old one can be looked up, or -1. */
int match_find_new(const struct lens *l, unsigned old);

/* L_<what>_N; pgtandem.L_<what>_N, quoted. */
const char *match_name(const struct lens *l, const char *what, unsigned new,
		       struct arena *a);
const char *match_ref(const struct lens *l, const char *what, unsigned new,
		      struct arena *a);

#endif

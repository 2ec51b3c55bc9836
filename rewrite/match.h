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
 * (N is the new column's number, from 1.)  They are true whenever the client's
 * condition is, and say nothing more: it stays beside them.
 *
 *   - forward(X) may fail where the client's condition is only false (X is out
 *     of the type's range, or what the mapping makes of it is): L_forward_N
 *     then gives NULL.
 *   - "=" may take different values for equal (bigint and double precision, a
 *     collation that ignores case): L_other_N tells by the type of X, while
 *     the statement is planned, and then the functions are just true.
 *
 * Owns which columns can be looked up; ddl_match.c makes the functions,
 * lookup.c calls them.
 */
#ifndef REWRITE_MATCH_H
#define REWRITE_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "rewrite/lens.h"

/* An old type whose "=" with some others is identity. */
struct match_type {
	const char *name;    /* as format_type prints it, without a modifier */
	const char *literal; /* what a string in quotes beside "=" is read as */
	const char *others;  /* types that X may have, as an array's text */
	bool needs_modifier; /* numeric: 1.0 is not 1.00 without a scale */
	bool is_text;	     /* has a collation */
};

/* How values of the old column are looked up in a new one that is made of it
 * one-to-one; NULL if they cannot be.  For lens_compile. */
const struct match_type *match_type_of(const struct column *old,
				       const struct column *new,
				       struct arena *a);

/* The new column by which this old one can be looked up, or -1. */
int match_find_new(const struct lens *l, unsigned old);

/* pgtandem.L_<what>_N, quoted. */
const char *match_ref(const struct lens *l, const char *what, unsigned new,
		      struct arena *a);

#endif

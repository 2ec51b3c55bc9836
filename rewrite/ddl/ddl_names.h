/*
 * Definitions that PostgreSQL printed (pg_get_constraintdef,
 * pg_get_indexdef), told in the new relation's column names.
 *
 * Works on words, not on a tree: the server prints names in one way only
 * (keywords in capitals, names bare or quoted as quote_name does, types
 * behind "::"), which the functions here rely on.
 */
#ifndef REWRITE_DDL_NAMES_H
#define REWRITE_DDL_NAMES_H

#include <stdbool.h>

#include "config/arena.h"
#include "rewrite/lens/lens.h"

struct renamed {
	const char *text;      /* with the new names */
	const char *converted; /* an old column it names that is converted, or
				* NULL */
	const char *lost;      /* one that no new column stands for alone */
	bool of_table;	       /* it names "tableoid" */
};

/* `definition` from its start. */
void names_in_definition(const struct lens *l, const char *definition,
			 struct arena *a, struct renamed *ret);
/* The same for a check: a converted column is computed back by its reverse. */
void names_in_check(const struct lens *l, const char *definition,
		    struct arena *a, struct renamed *ret);
/* What follows the access method in an index definition: "(a, lower(b))..." */
void names_in_index(const struct lens *l, const char *definition,
		    struct arena *a, const char **ret_method,
		    struct renamed *ret);
/* A foreign key: the referenced columns are another table's and stay. */
void names_in_foreign_key(const struct lens *l, const char *definition,
			  struct arena *a, struct renamed *ret);

/* The new column that stands for an old one: the carried one, or the only one
 * that is made of it and nothing else.  NULL if there is none. */
const char *names_of_old(const struct lens *l, const char *old,
			 bool *ret_converted);

/* The trigger, on both relations from `dual_write` to `write_new`, that follows
 * a changed key. */
const char *names_moved_trigger(const struct lens *l, struct arena *a);
/* The one behind their statements (rewrite/ddl/ddl_late.c). */
const char *names_late_trigger(const struct lens *l, struct arena *a);

#endif

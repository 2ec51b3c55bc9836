/*
 * What the writes through the lens share; known to write_lens.c,
 * write_insert.c, write_conflict.c and write_check.c alone.
 */
#ifndef REWRITE_WRITE_LENS_H
#define REWRITE_WRITE_LENS_H

#include "rewrite/statement.h"

/* Always false. */
bool lens_refuse(struct statement *st, const struct ref *target,
		 const char *clause, const char *hint);
/* The view that stands for the target, under the client's name for it. */
const char *lens_as_alias(const struct statement *st, const struct ref *target);
/* What follows the write's own clauses in every form; `names` says whose
 * names the relation's columns have. */
bool lens_finish(struct statement *st, const struct ref *target,
		 enum shape names);
/* Have both the same default, or none? */
bool column_same_default(const struct column *old, const struct column *new);
/* The tokens of a SET list. */
struct span set_list(const struct statement *st, const List *targets);

/* write_insert.c */
bool lens_insert(struct statement *st, const struct ref *target);
/* write_conflict.c; `source` is the token that the client's row ends with. */
bool lens_on_conflict(struct statement *st, const struct ref *target,
		      const OnConflictClause *clause, size_t source);

/* write_check.c: a query for WITH that assigns the constants among these, and
 * ", "; or "". */
const char *write_check_first(const struct statement *st,
			      const struct ref *target, const List *targets);

#endif

/*
 * What origin.c and origin_from.c share: the columns that a FROM clause brings
 * into scope, as far as they are known.
 */
#ifndef REWRITE_ORIGIN_PART_H
#define REWRITE_ORIGIN_PART_H

#include "rewrite/statement.h"

/* Columns in order; one of them may stand for any number (`many`). */
struct fields {
	struct plan_origin *v; /* in the arena */
	size_t n, room;
};

/* What `alias.column` finds. */
struct source {
	const char *alias;
	const char *schema; /* of a relation without an alias; or NULL */
	uint32_t table;	    /* one under migration; or 0 */
	struct fields columns;
	struct source *next;
};

/* A WITH query. */
struct with {
	const struct with *up;
	const char *name;
	struct fields columns;
};

struct scope {
	const struct scope *up;
	const struct with *with;
	struct source *first, *last;
	struct fields merged;	       /* by USING */
	struct fields star;	       /* what `*` is */
	bool natural;		       /* joins on columns that are not known */
	const struct source *returned; /* what OLD and NEW are; or NULL */
};

struct origins {
	const struct statement *st;
	unsigned depth;
	struct fields among; /* of joins on columns that are not known */
};

enum { ORIGIN_DEPTH = 100 }; /* of queries in queries; then: not known */

/* origin_from.c */
bool ref_loses_origin(const struct ref *ref);
void fields_add(const struct origins *o, struct fields *f,
		const struct plan_origin *column);
void fields_add_all(const struct origins *o, struct fields *f,
		    const struct fields *more);
void fields_add_many(const struct origins *o, struct fields *f);
/* The first of this name, or NULL. */
const struct plan_origin *fields_find(const struct fields *f, const char *name);
/* Gives the first columns other names, in a copy. */
struct fields fields_rename(const struct origins *o, const struct fields *f,
			    const List *names);
void from_add(struct origins *o, struct scope *scope, Node *item);
void from_add_target(struct origins *o, struct scope *scope,
		     const RangeVar *var);

/* origin.c: the columns of a query; `up` is what it sees around it. */
struct fields query_fields(struct origins *o, Node *query,
			   const struct with *with, const struct scope *up);

#endif

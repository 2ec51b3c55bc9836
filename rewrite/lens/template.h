/*
 * Mapping expressions and type names, as the specification writes them.
 *
 * Owns the reading of an expression: it is parsed once, refused if it holds
 * what a row-by-row mapping cannot have, and cut where it names a column
 * (struct template, rewrite/lens/lens.h).  Knows nothing of lenses.
 */
#ifndef REWRITE_TEMPLATE_H
#define REWRITE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/problem.h"
#include "rewrite/catalog.h"
#include "rewrite/lens/lens.h"

/* Longest expression, in bytes, and deepest nesting of its tree: far beyond
 * what a person writes, far below what would endanger the stack. */
enum { TEMPLATE_MAX_BYTES = 16384, TEMPLATE_MAX_DEPTH = 1000 };

/*
 * Cuts `expression` at the columns that it names.  Refuses: what does not
 * parse as one expression, a column that is not among these (the message
 * lists the known ones), qualified names, subqueries, `*`, parameters,
 * DEFAULT, window functions and what only an aggregate can have.
 *
 * The text may stand in a client's statement, under the client's search_path:
 * with `known`, functions and types get their schemas, and those that are not
 * known are refused.  NULL leaves them as they are.
 */
bool template_parse(const char *expression, const struct column *columns,
		    size_t n_columns, const struct known_names *known,
		    struct arena *a, struct template *ret, struct problem *p)
    __attribute__((warn_unused_result));

/* Is it one column and nothing else, not even a cast? */
bool template_is_bare(const struct template *t);
/* Does it name this column, and how often? */
bool template_names(const struct template *t, unsigned column);
size_t template_count(const struct template *t, unsigned column);

/* The template of one column alone. */
void template_of_column(unsigned column, struct arena *a, struct template *ret);

/* The text with column i of the template replaced by replacement[i]. */
const char *template_join(const struct template *t,
			  const char *const *replacement, struct arena *a);

/* Does `text` read as one type name (and nothing more)? */
bool type_check(const char *text, struct problem *p)
    __attribute__((warn_unused_result));

/* Do two texts mean one type, modifiers included?  "int" is "integer"; a bare
 * name is the same as one with a schema. False for what is no type name. */
bool type_same(const char *left, const char *right);

/*
 * The type to which a value is cast before it is assigned to a column of type
 * `text`.  An explicit cast to varchar(n), char(n), bit(n) or varbit(n) cuts
 * silently where an assignment raises 22001 or 22026; these lose their length
 * here, so that the assignment that follows finds the value whole.
 */
const char *type_before_assignment(const char *text, struct arena *a);

#endif

/*
 * What a mapping expression of one column surely does, told from its tree:
 * whether it can fail, and whether it keeps the order.
 *
 * Knows the built-in functions and types that it speaks of, and says nothing
 * of others: "no" means "not surely".
 */
#ifndef REWRITE_SURE_H
#define REWRITE_SURE_H

#include <postgres.h>
#include <nodes/parsenodes.h>

#include "rewrite/lens/lens.h"

/* For an expression over these columns, of which it names one. */
void sure_find(const Node *node, const struct column *columns, size_t n_columns,
	       struct sure *ret);
/* The same for the column alone. */
void sure_of_column(const struct column *column, struct sure *ret);

/* Narrows it to where a cast of the result to `type` cannot fail either;
 * false if that is not known. */
bool sure_cast(struct sure *s, const char *type);

#endif

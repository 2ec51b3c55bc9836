/*
 * Converted columns that are looked for by the new one, in one query level;
 * known to lookup.c and lookup_order.c alone.
 */
#ifndef REWRITE_LOOKUP_H
#define REWRITE_LOOKUP_H

#include "rewrite/statement.h"

struct lookup {
	struct statement *st;
	const Node *statement;
	const struct level *level;
	const List *from;
	const List *results;  /* SELECT list, or RETURNING */
	const JoinExpr *join; /* whose ON is looked at; NULL: WHERE */
	bool any_shown;
};

/* A converted column that the client names. */
struct column_found {
	struct ref *ref;
	unsigned new;
};

/* The one that this column reference is, if it can be looked for. */
bool lookup_find(const struct lookup *k, const Node *node,
		 struct column_found *ret);

/* Has the derived table show the new column; false if that would be seen. */
bool lookup_show(struct lookup *k, const struct column_found *c);

/* alias."new.amount_cents" */
const char *lookup_column(const struct lookup *k, const struct column_found *c);

/* lookup_order.c */
void lookup_order(struct lookup *k, const SelectStmt *select);

#endif

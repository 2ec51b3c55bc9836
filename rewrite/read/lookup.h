/*
 * Converted columns that are looked for by the new one, in one query level;
 * known to the files lookup*.c alone.
 */
#ifndef REWRITE_LOOKUP_H
#define REWRITE_LOOKUP_H

#include "rewrite/statement.h"

enum { LOOKUP_MAX_DEPTH = 100 }; /* of ANDs, joins and operators looked into */

struct lookup {
	struct statement *st;
	const Node *statement;
	const struct level *level;
	struct lookup *others; /* all of the statement's, by number */
	const List *from;
	const List *results; /* SELECT list, or RETURNING */
	const Node *where;
	const JoinExpr *join; /* whose ON is looked at; NULL: WHERE */
	bool any_shown;
};

/* A converted column that the client names. */
struct column_found {
	struct lookup *level; /* that its relation stands in */
	struct ref *ref;
	unsigned new;
};

/* lookup_level.c */
const struct lens *lookup_lens(const struct lookup *k, const struct ref *r);
const struct match *lookup_match(const struct lookup *k,
				 const struct column_found *c);
/* The one that this column reference is, if it can be looked for. */
bool lookup_find(const struct lookup *k, const Node *node,
		 struct column_found *ret);
/* alias."new.amount_cents" */
const char *lookup_column(const struct lookup *k, const struct column_found *c);

/* lookup_show.c */
/* Can its columns be told apart, its stars be spelled out? */
bool lookup_is_plain(const struct lookup *k);
/* Is it this FROM item? */
bool lookup_is_item(const struct ref *r, const Node *item);
/* Has the derived table show the new column; false if that would be seen. */
bool lookup_show(const struct lookup *k, const struct column_found *c);
void lookup_spell_stars(const struct lookup *k);

/* lookup_place.c */
/* One past the WHERE or ON clause around token i. */
size_t lookup_clause_end(const struct statement *st, size_t i);
/* What stands on the left, or the right, of the operator at token i; it has no
 * AND of its own. */
struct span lookup_left(const struct statement *st, size_t i);
struct span lookup_right(const struct statement *st, size_t i);

/* lookup_order.c */
void lookup_order(struct lookup *k, const SelectStmt *select);

#endif

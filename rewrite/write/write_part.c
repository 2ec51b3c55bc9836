/*
 * A write that is not a statement of its own: a query of the client's WITH, or
 * what COPY (...) copies.  The rest of write_*.c handles it as if it were one;
 * here is what it is a part of.
 *
 * What such a write needs beside it must stand in the same WITH, since
 * PostgreSQL allows writes nowhere deeper:
 *
 *   x (a, b) AS (INSERT INTO old SOURCE RETURNING ...)
 *     "pgtandem.row.1" AS (INSERT INTO L_shape SOURCE RETURNING *),
 *     x (a, b) AS (INSERT INTO L_lens ... FROM "pgtandem.row.1" AS r
 *     RETURNING ...)
 */
#include "rewrite/statement.h"

/* The bracket around the query behind "name (columns) AS". */
static size_t open_bracket(const struct statement *st,
			   const CommonTableExpr *cte)
{
	size_t i =
	    span_name_end(st, tokens_find(st->tokens, (uint32_t)cte->location));

	if (token_is_punct(st->tokens, i, '('))
		i = span_closing(st, i) + 1;
	while (i < st->end && !token_is_punct(st->tokens, i, '('))
		i++;
	return i;
}

void write_part(const struct statement *st, const struct ref *target,
		struct statement *ret)
{
	size_t open = st->first;

	*ret = *st;
	ret->node = (Node *)target->write;
	if (target->cte != NULL) {
		ret->part = target;
		open = open_bracket(st, target->cte);
	} else if (st->nested) {
		while (open < st->end && !token_is_punct(st->tokens, open, '('))
			open++;
	} else {
		return;
	}
	ret->first = open + 1;
	ret->end = span_closing(st, open);
	ret->depth = st->tokens->v[open].depth + 1U;
}

struct span part_head(const struct statement *part)
{
	return (struct span){
	    tokens_find(part->tokens, (uint32_t)part->part->cte->location),
	    part->first};
}

const char *part_name(const struct statement *st, const char *what)
{
	if (st->part == NULL)
		return arena_fmt(st->a, "\"pgtandem.%s\"", what);
	return arena_fmt(st->a, "\"pgtandem.%s.%u\"", what, st->part->number);
}

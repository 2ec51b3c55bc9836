/*
 * Where a statement's result columns come from.
 *
 * A RowDescription names, for each column that is a plain reference, the
 * table and its column's number; drivers make UPDATEs of them.  What stands
 * for a relation under migration has the new one's, or none where a column is
 * converted.  So the query is read here as far as PostgreSQL itself follows a
 * column: through aliases, `*`, joins, subqueries and WITH
 * (markTargetListOrigin in its parse_target.c).
 */
#ifndef REWRITE_ORIGIN_H
#define REWRITE_ORIGIN_H

struct statement;

/* Fills in the result's origins, if it has any that the server cannot know;
 * for a query whose references are decided. */
void origin_plan(struct statement *st);

#endif

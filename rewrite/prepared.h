/*
 * What a text does with prepared statements in SQL: PREPARE, EXECUTE and
 * DEALLOCATE, told by the words that its statements begin with.
 *
 * Owns the reading of these words, with our own lexer: an EXECUTE names no
 * relation, so that the parser does not see it.  Knows no session.
 */
#ifndef REWRITE_PREPARED_H
#define REWRITE_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"

enum prepared_verb {
	PREPARED_MAKES = 1, /* PREPARE name */
	PREPARED_RUNS,	    /* EXECUTE name */
	PREPARED_USES,	    /* EXPLAIN or CREATE TABLE AS of such */
	PREPARED_DROPS,	    /* DEALLOCATE name */
	PREPARED_DROPS_ALL, /* DEALLOCATE ALL, DISCARD ALL */
};

struct prepared_use {
	enum prepared_verb verb;
	uint32_t at;	   /* the statement's number in the text, from 0 */
	uint32_t from, to; /* its bytes */
	const char *name;  /* as the server knows it; NULL for DROPS_ALL, and
			    * where only the parser could tell (U&"") */
};

struct prepared_uses {
	size_t n;
	const struct prepared_use *v; /* in the arena */
	size_t n_statements;
	bool unsure; /* a body with BEGIN ATOMIC: numbers may be wrong */
};

/* Is one of the words in the text at all?  Never a false no; linear. */
bool prepared_mentions(const char *sql, size_t len);
void prepared_scan(const char *sql, size_t len, struct arena *a,
		   struct prepared_uses *ret);

#endif

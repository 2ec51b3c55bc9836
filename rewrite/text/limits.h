/*
 * Bounds on a text before the parser sees it (design section 10).
 *
 * Owns the decision that a text is too large or too deep to be parsed here.
 * The parser grows its stack on the heap and our walks are iterative, so what
 * is bounded is time and memory: the lexer is quadratic in nested comments,
 * the parser linear in the tokens.  The numbers are such that no statement
 * takes much over a tenth of a second, and an INSERT of two megabytes passes.
 */
#ifndef REWRITE_LIMITS_H
#define REWRITE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/problem.h"
#include "rewrite/ruleset.h"

enum {
	LIMIT_TOKENS = 1000000,	  /* of which most must be punctuation: */
	LIMIT_CONSTANTS = 200000, /* NULL, TRUE, FALSE and DEFAULT too; a node
				   * of the tree each, twice */
	LIMIT_WORDS = 80000,	  /* names and keywords cost most */
	LIMIT_SELECTS = 5000,
	LIMIT_NESTING = 200, /* ( and [ */
	LIMIT_COMMENT_NESTING = 8,
	LIMIT_CHAIN = 20000,	  /* words and operators in one run that no
				   * comma breaks: 1+1+1, UNION, JOIN */
	LIMIT_OPERATORS = 100000, /* in the whole text; not the sign of a
				   * constant */
	LIMIT_STATEMENTS = 10000,
};

struct limits {
	size_t n_tokens;
	struct name_set named; /* those that stand in the text */
	bool any_named;
	bool unicode;		/* a U&"" may spell any of the names */
	bool strings;		/* a string, maybe a body of code, may */
	bool over;		/* `problem` says which limit */
	struct problem problem; /* 54001 */
};

/* Linear, on any bytes; stops at the first limit that the text is over, but
 * for `named`, which is always of the whole text. */
void limits_scan(const char *sql, size_t len, const struct ruleset *rules,
		 struct limits *ret);

#endif

/*
 * Cuts console text into tokens, by PostgreSQL's lexical rules as far as the
 * console needs them: words, "identifiers", 'texts' with '' for a quote,
 * $tag$texts$tag$, numbers, comments.
 */
#ifndef DAEMON_ADMIN_LEX_H
#define DAEMON_ADMIN_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/problem.h"

enum { LEX_MAX_TOKENS = 16000 };

enum token_kind {
	TOKEN_WORD = 1,	  /* value: folded to lower case */
	TOKEN_IDENTIFIER, /* value: between the double quotes */
	TOKEN_NUMBER,
	TOKEN_TEXT, /* value: between the quotes */
	TOKEN_SIGN, /* one character */
	TOKEN_SEMICOLON,
	TOKEN_END,
};

struct token {
	enum token_kind kind;
	const char *at; /* as written; borrowed from the text */
	size_t len;
	size_t position; /* in characters from 1 */
	const char *value;
};

/* All tokens of a text, the last one TOKEN_END.  Fails with 42601 on an
 * unterminated quote or comment and on too many tokens. */
bool lex_text(const char *text, size_t len, struct arena *a,
	      const struct token **ret, size_t *ret_n, struct problem *p)
    __attribute__((warn_unused_result));

#endif

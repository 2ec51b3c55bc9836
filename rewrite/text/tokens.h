/*
 * A statement's text as tokens with their byte ranges.
 *
 * Owns our own lexer, which cuts a text exactly as PostgreSQL 15's does
 * (documentation, section 4.1), with the numbers of 16, which are errors there,
 * but knows no keyword, builds nothing and takes linear time on any bytes.  The
 * parser's tree says where a node begins; these tokens say where it ends.
 */
#ifndef REWRITE_TOKENS_H
#define REWRITE_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"

enum token_kind {
	TOKEN_END = 1,
	TOKEN_NAME,    /* bare: a keyword or an identifier */
	TOKEN_QUOTED,  /* "..." */
	TOKEN_UNICODE, /* U&"..." */
	TOKEN_STRING,  /* any kind of string or bit string */
	TOKEN_NUMBER,
	TOKEN_PARAM, /* $1 */
	TOKEN_OPERATOR,
	TOKEN_PUNCT, /* ( ) [ ] , ; . : .. :: or an unknown byte */
};

struct token {
	uint32_t from, to; /* bytes [from, to) */
	uint16_t depth;	   /* open ( and [ around it; its own not counted */
	uint8_t kind;	   /* enum token_kind */
	char punct;	   /* TOKEN_PUNCT: its first byte; else 0 */
};

struct lexer {
	const char *sql;
	size_t len, at;
	unsigned depth;		/* of ( and [ */
	unsigned comment_depth; /* deepest nesting of comments so far */
	bool unterminated;	/* a string or comment has no end */
};

void lexer_start(struct lexer *s, const char *sql, size_t len);
/* At the end of the text it gives TOKEN_END, again and again. */
void lexer_next(struct lexer *s, struct token *ret);

/* How many tokens a text has. */
size_t tokens_count(const char *sql, size_t len);

struct tokens {
	const char *sql;
	size_t n;	       /* without the TOKEN_END that follows */
	const struct token *v; /* n + 1 */
};

/* `n` is the number of tokens that the text is known to have. */
void tokens_scan(const char *sql, size_t len, size_t n, struct arena *a,
		 struct tokens *ret);
/* The first token that starts at or behind a byte; n if there is none. */
size_t tokens_find(const struct tokens *t, size_t from);

/* Can an unquoted name have this byte in it, not as its first? */
bool byte_is_name(int c);
/* Bare word, in any case; `word` in small letters. */
bool token_is(const struct tokens *t, size_t i, const char *word);
static inline bool token_is_punct(const struct tokens *t, size_t i, char c)
{
	return i <= t->n && t->v[i].punct == c;
}
/* Does an identifier token, folded or unquoted, spell this name?  False for
 * U&"": only the parser decodes those. */
bool token_spells(const char *sql, const struct token *token, const char *name);

#endif

#include "daemon/admin/lex.h"

#include <stdint.h>
#include <string.h>

struct lexer {
	const char *at, *end;
	size_t position; /* of `at`, in characters from 1 */
	struct arena *arena;
	struct problem *problem;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Bytes above 127 belong to words, as in PostgreSQL. */
static bool starts_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (unsigned char)c > 127;
}

static bool continues_word(char c)
{
	return starts_word(c) || is_digit(c) || c == '$';
}

/* Moves on by n bytes, counting characters: UTF-8's continuation bytes do not
 * begin one. */
static void advance(struct lexer *x, size_t n)
{
	const char *to = x->at + n;

	for (; x->at < to; x->at++)
		x->position += ((unsigned char)*x->at & 0xc0) != 0x80;
}

static bool looking_at(const struct lexer *x, const char *two)
{
	return x->end - x->at >= 2 && x->at[0] == two[0] && x->at[1] == two[1];
}

static bool unterminated(struct lexer *x, const char *what)
{
	problem_set(x->problem, "42601", "unterminated %s", what);
	x->problem->position = (uint32_t)x->position;
	return false;
}

/* PostgreSQL's block comments nest. */
static bool skip_block_comment(struct lexer *x)
{
	struct lexer start = *x;
	size_t depth = 0;

	do {
		if (x->at == x->end)
			return unterminated(&start, "/* comment");
		if (looking_at(x, "/*")) {
			depth++;
			advance(x, 2);
		} else if (looking_at(x, "*/")) {
			depth--;
			advance(x, 2);
		} else {
			advance(x, 1);
		}
	} while (depth > 0);
	return true;
}

static bool skip_blank(struct lexer *x)
{
	while (x->at < x->end) {
		if (is_space(*x->at)) {
			advance(x, 1);
		} else if (looking_at(x, "--")) {
			while (x->at < x->end && *x->at != '\n')
				advance(x, 1);
		} else if (looking_at(x, "/*")) {
			if (!skip_block_comment(x))
				return false;
		} else {
			break;
		}
	}
	return true;
}

/* The bytes of a quoted token, both quotes included; 0 if it has no end.  The
 * quote doubled stands for itself. */
static size_t quoted_len(const struct lexer *x)
{
	for (const char *at = x->at + 1; at < x->end; at++) {
		if (*at != *x->at)
			continue;
		if (at + 1 == x->end || at[1] != *x->at)
			return (size_t)(at + 1 - x->at);
		at++;
	}
	return 0;
}

static bool take_quoted(struct lexer *x, struct token *t, const char *what)
{
	size_t n = 0;
	char *value;

	t->len = quoted_len(x);
	if (t->len == 0)
		return unterminated(x, what);
	value = arena_alloc(x->arena, t->len);
	for (size_t i = 1; i < t->len - 1; i++) {
		value[n++] = x->at[i];
		i += x->at[i] == *x->at;
	}
	t->value = value;
	return true;
}

/* The length of a $tag$ at `at`, or 0 if there is none. */
static size_t dollar_tag(const struct lexer *x)
{
	const char *at = x->at + 1;

	if (at < x->end && is_digit(*at))
		return 0;
	while (at < x->end && *at != '$' && continues_word(*at))
		at++;
	return at < x->end && *at == '$' ? (size_t)(at + 1 - x->at) : 0;
}

static bool take_dollar_text(struct lexer *x, struct token *t, size_t tag)
{
	const char *body = x->at + tag;
	const char *close = memmem(body, (size_t)(x->end - body), x->at, tag);

	if (!close)
		return unterminated(x, "dollar-quoted string");
	t->kind = TOKEN_TEXT;
	t->value = arena_dup(x->arena, body, (size_t)(close - body));
	t->len = (size_t)(close + tag - x->at);
	return true;
}

static void take_word(struct lexer *x, struct token *t)
{
	char *value;

	while (x->at + t->len < x->end && continues_word(x->at[t->len]))
		t->len++;
	value = arena_dup(x->arena, x->at, t->len);
	for (char *c = value; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	t->value = value;
}

static bool take_token(struct lexer *x, struct token *t)
{
	char c = *x->at;
	size_t tag = c == '$' ? dollar_tag(x) : 0;

	if (tag > 0)
		return take_dollar_text(x, t, tag);
	if (c == '\'') {
		t->kind = TOKEN_TEXT;
		return take_quoted(x, t, "quoted string");
	}
	if (c == '"') {
		t->kind = TOKEN_IDENTIFIER;
		return take_quoted(x, t, "quoted identifier");
	}
	t->len = 1;
	t->kind = c == ';' ? TOKEN_SEMICOLON : TOKEN_SIGN;
	if (starts_word(c)) {
		t->kind = TOKEN_WORD;
		take_word(x, t);
		return true;
	}
	if (is_digit(c)) {
		t->kind = TOKEN_NUMBER;
		while (x->at + t->len < x->end && is_digit(x->at[t->len]))
			t->len++;
	}
	t->value = arena_dup(x->arena, x->at, t->len);
	return true;
}

bool lex_text(const char *text, size_t len, struct arena *a,
	      const struct token **ret, size_t *ret_n, struct problem *p)
{
	struct lexer x = {text, text + len, 1, a, p};
	size_t max = len < LEX_MAX_TOKENS ? len + 1 : LEX_MAX_TOKENS;
	size_t n = 0;
	struct token *tokens = arena_alloc(a, max * sizeof(*tokens));

	for (;;) {
		struct token *t = &tokens[n];

		if (!skip_blank(&x))
			return false;
		*t = (struct token){
		    .kind = TOKEN_END, .at = x.at, .position = x.position};
		n++;
		if (x.at == x.end)
			break;
		if (!take_token(&x, t))
			return false;
		advance(&x, t->len);
		if (n == max)
			return problem_set(p, "54001",
					   "more than %d words in one text",
					   LEX_MAX_TOKENS);
	}
	*ret = tokens;
	*ret_n = n;
	return true;
}

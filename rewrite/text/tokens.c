/*
 * The lexer: one function per kind of token, chosen by the first byte.
 */
#include "rewrite/text/tokens.h"

#include <string.h>

void lexer_start(struct lexer *s, const char *sql, size_t len)
{
	*s = (struct lexer){.sql = sql, .len = len};
}

static int byte_at(const struct lexer *s, size_t at)
{
	return at < s->len ? (unsigned char)s->sql[at] : -1;
}

static bool is_space(int c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       c >= 0x80;
}

bool byte_is_name(int c)
{
	return is_name_start(c) || is_digit(c) || c == '$';
}

static bool is_operator(int c)
{
	return c > 0 && strchr("~!@#^&|`?+-*/%<>=", c) != NULL;
}

static size_t line_comment_end(const struct lexer *s, size_t at)
{
	while (at < s->len && s->sql[at] != '\n' && s->sql[at] != '\r')
		at++;
	return at;
}

static size_t block_comment_end(struct lexer *s, size_t at)
{
	unsigned depth = 0;

	do {
		int c = byte_at(s, at), next = byte_at(s, at + 1);

		if (c < 0) {
			s->unterminated = true;
			return s->len;
		}
		if (c == '/' && next == '*') {
			at += 2;
			if (++depth > s->comment_depth)
				s->comment_depth = depth;
		} else if (c == '*' && next == '/') {
			at += 2;
			depth--;
		} else {
			at++;
		}
	} while (depth > 0);
	return at;
}

static void skip_space(struct lexer *s)
{
	for (;;) {
		int c = byte_at(s, s->at), next = byte_at(s, s->at + 1);

		if (is_space(c))
			s->at++;
		else if (c == '-' && next == '-')
			s->at = line_comment_end(s, s->at);
		else if (c == '/' && next == '*')
			s->at = block_comment_end(s, s->at);
		else
			return;
	}
}

/* A string goes on behind white space with a line break (section 4.1.2.1):
 * the byte of the next part's quote, or 0. */
static size_t continuation(const struct lexer *s, size_t at)
{
	bool broken = false;

	for (;;) {
		int c = byte_at(s, at);

		if (c == '\n' || c == '\r')
			broken = true;
		if (is_space(c))
			at++;
		else if (c == '-' && byte_at(s, at + 1) == '-')
			at = line_comment_end(s, at);
		else
			return broken && c == '\'' ? at : 0;
	}
}

/* `at` is behind the opening quote; gives one past the closing one. */
static size_t quoted_end(struct lexer *s, size_t at, char quote, bool escapes)
{
	for (; at < s->len; at++) {
		if (escapes && s->sql[at] == '\\') {
			at++;
			continue;
		}
		if (s->sql[at] != quote)
			continue;
		if (byte_at(s, at + 1) == quote) {
			at++;
			continue;
		}
		size_t more = quote == '\'' ? continuation(s, at + 1) : 0;

		if (more == 0)
			return at + 1;
		at = more;
	}
	s->unterminated = true;
	return s->len;
}

/* $tag$ ... $tag$ from its first $; 0 if there is no such tag. */
static size_t dollar_end(struct lexer *s, size_t at)
{
	size_t tag_end = at + 1, tag_len;
	const char *end;

	if (is_name_start(byte_at(s, tag_end)))
		while (byte_is_name(byte_at(s, tag_end)) &&
		       s->sql[tag_end] != '$')
			tag_end++;
	if (byte_at(s, tag_end) != '$')
		return 0;
	tag_len = tag_end + 1 - at;
	end = memmem(s->sql + at + tag_len, s->len - at - tag_len, s->sql + at,
		     tag_len);
	if (end != NULL)
		return (size_t)(end - s->sql) + tag_len;
	s->unterminated = true;
	return s->len;
}

/* Digits with a single _ between them, as PostgreSQL 16 has them. */
static size_t digits_end(const struct lexer *s, size_t at,
			 bool (*is_one)(int c))
{
	while (is_one(byte_at(s, at)) ||
	       (byte_at(s, at) == '_' && is_one(byte_at(s, at + 1))))
		at++;
	return at;
}

static bool is_hex(int c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* 0x1F, 0o17, 0b11; or `at`. */
static size_t radix_end(const struct lexer *s, size_t at)
{
	int radix = byte_at(s, at + 1) | 0x20;
	size_t end = at;

	if (byte_at(s, at) == '0' &&
	    (radix == 'x' || radix == 'o' || radix == 'b'))
		end = digits_end(s, at + 2, is_hex);
	return end > at + 2 ? end : at;
}

static size_t number_end(const struct lexer *s, size_t at)
{
	size_t e = radix_end(s, at);

	if (e > at)
		return e;
	at = digits_end(s, at, is_digit);
	if (byte_at(s, at) == '.' && byte_at(s, at + 1) != '.')
		at = digits_end(s, at + 1, is_digit);
	if (byte_at(s, at) != 'e' && byte_at(s, at) != 'E')
		return at;
	e = at + 1;
	if (byte_at(s, e) == '+' || byte_at(s, e) == '-')
		e++;
	if (!is_digit(byte_at(s, e)))
		return at;
	return digits_end(s, e, is_digit);
}

/* Section 4.1.3: comments end an operator; a trailing + or - belongs to it
 * only beside certain other bytes. */
static size_t operator_end(const struct lexer *s, size_t at)
{
	size_t end = at;

	while (is_operator(byte_at(s, end))) {
		int c = byte_at(s, end), next = byte_at(s, end + 1);

		if (end > at &&
		    ((c == '-' && next == '-') || (c == '/' && next == '*')))
			break;
		end++;
	}
	for (size_t i = at; i < end; i++)
		if (strchr("~!@#^&|`?%", s->sql[i]) != NULL)
			return end;
	while (end > at + 1 &&
	       (s->sql[end - 1] == '+' || s->sql[end - 1] == '-'))
		end--;
	return end;
}

/* A bare name, or a string or name with a prefix. */
static size_t name_end(struct lexer *s, size_t at, enum token_kind *ret_kind)
{
	int c = byte_at(s, at) | 0x20, next = byte_at(s, at + 1);

	*ret_kind = TOKEN_STRING;
	if (next == '\'' && (c == 'e' || c == 'b' || c == 'x' || c == 'n'))
		return quoted_end(s, at + 2, '\'', c == 'e');
	if (c == 'u' && next == '&' && byte_at(s, at + 2) == '\'')
		return quoted_end(s, at + 3, '\'', false);
	if (c == 'u' && next == '&' && byte_at(s, at + 2) == '"') {
		*ret_kind = TOKEN_UNICODE;
		return quoted_end(s, at + 3, '"', false);
	}
	*ret_kind = TOKEN_NAME;
	while (byte_is_name(byte_at(s, at)))
		at++;
	return at;
}

static size_t dollar_token_end(struct lexer *s, size_t at,
			       enum token_kind *ret_kind)
{
	size_t end;

	if (is_digit(byte_at(s, at + 1))) {
		*ret_kind = TOKEN_PARAM;
		for (end = at + 1; is_digit(byte_at(s, end));)
			end++;
		return end;
	}
	end = dollar_end(s, at);
	*ret_kind = end != 0 ? TOKEN_STRING : TOKEN_PUNCT;
	return end != 0 ? end : at + 1;
}

static size_t token_end(struct lexer *s, size_t at, enum token_kind *ret_kind)
{
	int c = byte_at(s, at), next = byte_at(s, at + 1);

	if (is_name_start(c))
		return name_end(s, at, ret_kind);
	if (is_digit(c) || (c == '.' && is_digit(next))) {
		*ret_kind = TOKEN_NUMBER;
		return number_end(s, at);
	}
	if (c == '\'') {
		*ret_kind = TOKEN_STRING;
		return quoted_end(s, at + 1, '\'', false);
	}
	if (c == '"') {
		*ret_kind = TOKEN_QUOTED;
		return quoted_end(s, at + 1, '"', false);
	}
	if (c == '$')
		return dollar_token_end(s, at, ret_kind);
	if (is_operator(c)) {
		*ret_kind = TOKEN_OPERATOR;
		return operator_end(s, at);
	}
	*ret_kind = TOKEN_PUNCT;
	return (c == ':' || c == '.') && next == c ? at + 2 : at + 1;
}

static uint16_t clamp_depth(unsigned depth)
{
	return depth < UINT16_MAX ? (uint16_t)depth : UINT16_MAX;
}

void lexer_next(struct lexer *s, struct token *ret)
{
	enum token_kind kind = TOKEN_END;
	size_t from;

	skip_space(s);
	from = s->at;
	*ret = (struct token){.from = (uint32_t)from,
			      .to = (uint32_t)from,
			      .depth = clamp_depth(s->depth),
			      .kind = TOKEN_END};
	if (from >= s->len)
		return;
	s->at = token_end(s, from, &kind);
	if (s->at > s->len) /* a backslash was the last byte */
		s->at = s->len;
	ret->to = (uint32_t)s->at;
	ret->kind = (uint8_t)kind;
	if (kind != TOKEN_PUNCT)
		return;
	ret->punct = s->sql[from];
	if (ret->punct == '(' || ret->punct == '[') {
		s->depth++;
	} else if ((ret->punct == ')' || ret->punct == ']') && s->depth > 0) {
		s->depth--;
		ret->depth = clamp_depth(s->depth);
	}
}

size_t tokens_count(const char *sql, size_t len)
{
	struct lexer s;
	struct token t;
	size_t n = 0;

	lexer_start(&s, sql, len);
	for (lexer_next(&s, &t); t.kind != TOKEN_END; lexer_next(&s, &t))
		n++;
	return n;
}

void tokens_scan(const char *sql, size_t len, size_t n, struct arena *a,
		 struct tokens *ret)
{
	struct token *v = arena_alloc(a, (n + 1) * sizeof(*v));
	struct lexer s;
	size_t i = 0;

	lexer_start(&s, sql, len);
	do
		lexer_next(&s, &v[i]);
	while (v[i].kind != TOKEN_END && i++ < n);
	*ret = (struct tokens){.sql = sql, .n = n, .v = v};
}

size_t tokens_find(const struct tokens *t, size_t from)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (t->v[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool folds_to(const char *sql, const struct token *token,
		     const char *word)
{
	size_t i = token->from;

	/* The server cuts names at 63 bytes. */
	for (; i < token->to && i - token->from < 63; i++, word++)
		if (lower(sql[i]) != *word)
			return false;
	return *word == '\0';
}

bool token_is(const struct tokens *t, size_t i, const char *word)
{
	return i < t->n && t->v[i].kind == TOKEN_NAME &&
	       folds_to(t->sql, &t->v[i], word);
}

bool token_spells(const char *sql, const struct token *token, const char *name)
{
	size_t i = token->from + 1;

	if (token->kind == TOKEN_NAME)
		return folds_to(sql, token, name);
	if (token->kind != TOKEN_QUOTED)
		return false;
	for (; i + 1 < token->to; i++, name++) {
		if (sql[i] != *name)
			return false;
		if (sql[i] == '"')
			i++;
	}
	return *name == '\0';
}

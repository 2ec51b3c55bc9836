#include "rewrite/text/newer.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewrite/ruleset.h"
#include "rewrite/text/tokens.h"

struct newer {
	const struct tokens *tokens;
	char *text; /* the stand-in; NULL as long as it is the same */
	size_t len;
	struct arena *a;
};

static char *text_at(struct newer *n, size_t at)
{
	if (n->text == NULL)
		n->text = arena_dup(n->a, n->tokens->sql, n->len);
	return n->text + at;
}

static void blank(struct newer *n, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		const struct token *t = &n->tokens->v[i];

		memset(text_at(n, t->from), ' ', t->to - t->from);
	}
}

static int radix_of(const char *digits)
{
	static const char letters[] = "xob";
	static const int radixes[] = {16, 8, 2};
	const char *at = digits[0] == '0' && digits[1] != '\0'
			     ? strchr(letters, digits[1] | 0x20)
			     : NULL;

	return at != NULL && *at != '\0' ? radixes[at - letters] : 10;
}

/* Too large for 64 bits is too large for a place in a list, too. */
static void number(struct newer *n, const struct token *t)
{
	size_t len = t->to - t->from, used = 0;
	char *digits = arena_alloc(n->a, len + 1), *end;
	char *shown = arena_alloc(n->a, len + 32);
	int radix;

	for (size_t i = t->from; i < t->to; i++)
		if (n->tokens->sql[i] != '_')
			digits[used++] = n->tokens->sql[i];
	radix = radix_of(digits);
	if (radix == 10 && used == len)
		return;
	if (radix == 10) {
		memset(shown, '0', len - used);
		memcpy(shown + len - used, digits, used);
	} else {
		snprintf(shown, len + 32, "%0*llu", (int)len,
			 strtoull(digits + 2, &end, radix));
	}
	if (strlen(shown) > len || *shown == '.')
		memset(shown, '9', len);
	memcpy(text_at(n, t->from), shown, len);
}

/* NOT MATCHED BY SOURCE, from its NOT on. */
static void matched(struct newer *n, size_t i)
{
	const struct tokens *t = n->tokens;

	if (!token_is(t, i + 1, "matched") || !token_is(t, i + 2, "by"))
		return;
	if (token_is(t, i + 3, "source"))
		blank(n, i, i + 1);
	else if (!token_is(t, i + 3, "target"))
		return;
	blank(n, i + 2, i + 4);
}

/* What MERGE says from token i on. */
static void merge(struct newer *n, size_t i)
{
	const struct tokens *t = n->tokens;
	unsigned depth = t->v[i].depth;
	size_t returning = SIZE_MAX;

	for (i++; i < t->n && t->v[i].depth >= depth; i++) {
		if (t->v[i].depth > depth)
			continue;
		if (t->v[i].punct == ';')
			break;
		if (token_is(t, i, "not"))
			matched(n, i);
		if (token_is(t, i, "returning") && returning == SIZE_MAX)
			returning = i;
	}
	if (returning < i)
		blank(n, returning, i);
}

char *newer_stand_in(const char *sql, size_t len, unsigned server_version,
		     struct arena *a)
{
	struct tokens tokens;
	struct newer n = {.tokens = &tokens, .len = len, .a = a};

	if (server_version < SERVER_NUMBERS)
		return NULL;
	tokens_scan(sql, len, tokens_count(sql, len), a, &tokens);
	for (size_t i = 0; i < tokens.n; i++) {
		if (tokens.v[i].kind == TOKEN_NUMBER)
			number(&n, &tokens.v[i]);
		else if (server_version >= SERVER_MERGE_RETURNING &&
			 token_is(&tokens, i, "merge") &&
			 token_is(&tokens, i + 1, "into"))
			merge(&n, i);
	}
	return n.text;
}

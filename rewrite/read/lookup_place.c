/*
 * Where the parts of a condition stand: tokens of it and of the clause around
 * it.
 */
#include "rewrite/read/lookup.h"

/* Words that begin what follows a condition. */
static bool is_ending_word(const struct statement *st, size_t i)
{
	static const char *const words[] = {
	    "where",	 "group", "having", "window", "union",
	    "intersect", "order", "limit",  "except", "offset",
	    "fetch",	 "for",	  "join",   "on",     "returning",
	};
	static const char *const join_words[] = {
	    "left", "right", "full", "inner", "cross", "natural",
	};

	for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++)
		if (token_is_clause(st, i, words[w]))
			return true;
	for (size_t w = 0; w < sizeof(join_words) / sizeof(*join_words); w++)
		if (token_is_clause(st, i, join_words[w]))
			return !token_is_punct(st->tokens, i + 1, '(');
	return token_is_clause(st, i, "with") &&
	       !token_is(st->tokens, i + 1, "time");
}

static bool is_end(const struct statement *st, size_t i, unsigned depth)
{
	const struct token *t = &st->tokens->v[i];

	return t->depth < depth ||
	       (t->depth == depth &&
		(t->punct == ',' || t->punct == ';' || is_ending_word(st, i)));
}

/* One past the WHERE or ON clause around token i. */
size_t lookup_clause_end(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;

	for (; i > st->first; i--) {
		const struct token *t = &st->tokens->v[i];

		if (t->depth < depth)
			depth = t->depth;
		if (t->depth == depth && (token_is_clause(st, i, "where") ||
					  token_is_clause(st, i, "on")))
			break;
	}
	for (i++; i < st->end; i++)
		if (is_end(st, i, depth))
			break;
	return i;
}

/* What stands on the left, or the right, of the operator at token i; it has no
 * AND of its own. */
struct span lookup_left(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;
	size_t first = i;

	while (!(st->tokens->v[first - 1].depth < depth ||
		 (st->tokens->v[first - 1].depth == depth &&
		  (token_is(st->tokens, first - 1, "and") ||
		   token_is(st->tokens, first - 1, "where") ||
		   token_is(st->tokens, first - 1, "on")))))
		first--;
	return (struct span){first, i};
}

struct span lookup_right(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;
	size_t end = i + 1;

	while (end < st->end && !is_end(st, end, depth) &&
	       !(st->tokens->v[end].depth == depth &&
		 token_is(st->tokens, end, "and")))
		end++;
	return (struct span){i + 1, end};
}

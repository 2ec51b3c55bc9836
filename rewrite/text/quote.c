/*
 * Names and strings as SQL writes them.
 *
 * A name goes bare only where PostgreSQL's quote_identifier would leave it
 * bare, so that what pgtandem generates reads like what the server prints.
 */
#include "rewrite/lens/lens.h"

#include <string.h>

enum keyword_category {
	UNRESERVED_KEYWORD,
	COL_NAME_KEYWORD,
	TYPE_FUNC_NAME_KEYWORD,
	RESERVED_KEYWORD,
};

struct keyword {
	const char *name;
	enum keyword_category category;
};

/* PostgreSQL's own list, in ASCII order. */
static const struct keyword keywords[] = {
#define PG_KEYWORD(name, value, category, label) {name, category},
#include <parser/kwlist.h>
#undef PG_KEYWORD
};

enum { KEYWORDS = sizeof(keywords) / sizeof(keywords[0]) };

static bool is_keyword_to_quote(const char *name)
{
	size_t low = 0, high = KEYWORDS;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, keywords[middle].name);

		if (order == 0)
			return keywords[middle].category != UNRESERVED_KEYWORD;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

static bool is_plain(const char *name)
{
	if (!(*name == '_' || (*name >= 'a' && *name <= 'z')))
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (!(*c == '_' || (*c >= 'a' && *c <= 'z') ||
		      (*c >= '0' && *c <= '9')))
			return false;
	return true;
}

/* `s` between two `quote`s, with each character of `doubled` written twice. */
static const char *enclose(const char *before, char quote, const char *doubled,
			   const char *s, struct arena *a)
{
	char *text = arena_alloc(a, strlen(before) + 2 * strlen(s) + 3);
	char *out = stpcpy(text, before);

	*out++ = quote;
	for (; *s != '\0'; s++) {
		if (strchr(doubled, *s) != NULL)
			*out++ = *s;
		*out++ = *s;
	}
	*out++ = quote;
	*out = '\0';
	return text;
}

const char *quote_name(const char *name, struct arena *a)
{
	if (is_plain(name) && !is_keyword_to_quote(name))
		return arena_str(a, name);
	return enclose("", '"', "\"", name, a);
}

const char *quote_qualified(const char *schema, const char *name,
			    struct arena *a)
{
	return arena_fmt(a, "%s.%s", quote_name(schema, a),
			 quote_name(name, a));
}

const char *quote_text(const char *s, struct arena *a)
{
	if (strchr(s, '\\') != NULL)
		return enclose("E", '\'', "'\\", s, a);
	return enclose("", '\'', "'", s, a);
}

/*
 * The name pre-filter looks at every byte once, for the rarest letter of each
 * name, and knows nothing of strings, comments or quotes: a scanner that gets
 * the lexical state wrong once misses a name.  A name under migration is found
 * wherever its bytes stand between bytes that cannot belong to a name; that is
 * more than the parser will find, never less:
 *
 *   - an unquoted name is folded, so a name in lower case is compared without
 *     regard to case; one with upper case letters can only stand in quotes;
 *   - a double quote within a name is written twice;
 *   - a name of 60 bytes or more may be the beginning of a longer one that
 *     the server cuts to 63 bytes, whole characters;
 *   - `$` counts as an end of a name, for $tag$ may touch one;
 *   - U&"..." can spell any name.
 *
 * Where there are many names, looking for the letters of each takes long: then
 * the text is cut into words, and those are looked up.  What cannot be told by
 * a word, because a name has other bytes or may have been cut, is still looked
 * for by its letters.
 */
#include "rewrite/text/filter.h"

#include <string.h>

#include "rewrite/ruleset.h"

enum { BYTES = 256, CUT_FROM = 60, MANY_NAMES = 32, HASHED_BYTES = 32 };

/* clang-format off */
static const bool name_bytes[BYTES] = {
	['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true,
	['_'] = true, [0x80 ... 0xff] = true,
};
/* clang-format on */

static bool is_name_byte(unsigned char c)
{
	return name_bytes[c];
}

static unsigned char fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

struct needle {
	const char *bytes;
	size_t len;
	bool exact;  /* has upper case: compared byte for byte */
	size_t rare; /* index of the byte that is looked for */
	bool word_before, word_after; /* its ends are name bytes */
	uint16_t next; /* the next with this rare byte, or NAME_NONE */
};

struct filter {
	bool stop[BYTES];      /* some needle's rare byte, or & */
	bool by_words;	       /* for names that are words */
	uint16_t first[BYTES]; /* index of a needle, or NAME_NONE */
	struct name_index words;
	struct needle needles[]; /* of the names, in their order */
};

/* May a name begin at `at`, as far as the byte before it says? */
static bool starts_word(const unsigned char *s, size_t at)
{
	return at == 0 || !is_name_byte(s[at - 1]);
}

static bool ends_word(const unsigned char *s, size_t at, size_t len)
{
	return at == len || !is_name_byte(s[at]);
}

bool text_names(const char *text, const char *name)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t len = strlen(text), n = strlen(name);

	for (const char *at = text; (at = strcasestr(at, name)) != NULL; at++)
		if (starts_word(bytes, (size_t)(at - text)) &&
		    ends_word(bytes, (size_t)(at - text) + n, len))
			return true;
	return false;
}

static bool same_folded(const unsigned char *s, const char *lower, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fold(s[i]) != (unsigned char)lower[i])
			return false;
	return true;
}

/* Does the needle stand where its rare byte is at `rare_at`? */
static bool needle_at(const struct needle *n, const unsigned char *s,
		      size_t rare_at, size_t len)
{
	size_t at = rare_at - n->rare;

	if (rare_at < n->rare)
		return false;
	if (len - at < n->len || (n->word_before && !starts_word(s, at)))
		return false;
	if (n->exact ? memcmp(s + at, n->bytes, n->len) != 0
		     : !same_folded(s + at, n->bytes, n->len))
		return false;
	return !n->word_after || n->len >= CUT_FROM ||
	       ends_word(s, at + n->len, len);
}

/* Is this the & of U&"? */
static bool is_unicode_name(const unsigned char *s, size_t at, size_t len)
{
	return s[at] == '&' && at > 0 && at + 1 < len &&
	       fold(s[at - 1]) == 'u' && s[at + 1] == '"';
}

static bool letters_find(const struct filter *f, const unsigned char *s,
			 size_t len)
{
	for (size_t at = 0; at < len; at++) {
		if (!f->stop[s[at]])
			continue;
		if (is_unicode_name(s, at, len))
			return true;
		for (unsigned i = f->first[s[at]]; i != NAME_NONE;
		     i = f->needles[i].next)
			if (needle_at(&f->needles[i], s, at, len))
				return true;
	}
	return false;
}

static bool is_needle(const struct filter *f, const unsigned char *word,
		      size_t len)
{
	uint16_t i = name_index_find(&f->words, (const char *)word, len);

	for (; i != NAME_NONE; i = f->words.next[i]) {
		const struct needle *n = &f->needles[i];

		if (n->len == len &&
		    (n->exact ? memcmp(word, n->bytes, len) == 0
			      : same_folded(word, n->bytes, len)))
			return true;
	}
	return false;
}

static bool words_find(const struct filter *f, const unsigned char *s,
		       size_t len)
{
	for (size_t at = 0, from; at < len; at++) {
		if (!is_name_byte(s[at]))
			continue;
		for (from = at; at < len && is_name_byte(s[at]);)
			at++;
		if (is_needle(f, s + from, at - from))
			return true;
	}
	return false;
}

bool filter_finds(const struct filter *f, const char *sql, size_t len)
{
	const unsigned char *s = (const unsigned char *)sql;

	return letters_find(f, s, len) ||
	       (f->by_words && words_find(f, s, len));
}

/* The byte that the scan stops least often for: letters of SQL texts, the
 * frequent first; what is not here counts as frequent. */
static size_t rarest(const char *bytes, size_t len)
{
	static const char order[] = "etaoinsrlcdmu_pfgbhywvkjxqz";
	ptrdiff_t best = -1;
	size_t index = 0;

	for (size_t i = 0; i < len; i++) {
		const char *c = strchr(order, fold((unsigned char)bytes[i]));

		if (c == NULL || c - order <= best)
			continue;
		best = c - order;
		index = i;
	}
	return index;
}

static void needle_make(struct needle *n, const char *name, struct arena *a)
{
	char *bytes = arena_alloc(a, 2 * strlen(name) + 1), *out = bytes;

	for (const char *c = name; *c != '\0'; c++) {
		if (*c == '"')
			*out++ = '"';
		*out++ = *c;
		n->exact |= *c >= 'A' && *c <= 'Z';
	}
	n->bytes = bytes;
	n->len = (size_t)(out - bytes);
	n->rare = rarest(n->bytes, n->len);
	n->word_before = is_name_byte((unsigned char)bytes[0]);
	n->word_after = is_name_byte((unsigned char)out[-1]);
}

static bool is_word(const struct needle *n)
{
	for (size_t i = 0; i < n->len; i++)
		if (!is_name_byte((unsigned char)n->bytes[i]))
			return false;
	return n->len < CUT_FROM;
}

/* By its rare byte, in both cases. */
static void needle_add(struct filter *f, size_t i)
{
	struct needle *n = &f->needles[i];
	unsigned char low, up;

	low = up = fold((unsigned char)n->bytes[n->rare]);
	if (low >= 'a' && low <= 'z')
		up = (unsigned char)(low - ('a' - 'A'));
	n->next = f->first[low];
	f->first[low] = f->first[up] = (uint16_t)i;
	f->stop[low] = f->stop[up] = true;
}

const struct filter *filter_make(const struct rule_name *names, size_t n,
				 struct arena *a)
{
	struct filter *f =
	    arena_alloc(a, sizeof(*f) + n * sizeof(f->needles[0]));

	memset(f->first, 0xff, sizeof(f->first)); /* NAME_NONE */
	f->stop['&'] = true;
	f->words = name_index_make(names, n, a);
	f->by_words = n > MANY_NAMES;
	for (size_t i = 0; i < n; i++) {
		needle_make(&f->needles[i], names[i].name, a);
		if (!f->by_words || !is_word(&f->needles[i]))
			needle_add(f, i);
	}
	return f;
}

/* FNV-1a.  Names are cut at 63 bytes: the beginning tells enough. */
static uint32_t name_hash(const char *word, size_t len)
{
	uint32_t h = 0x811c9dc5;

	for (size_t i = 0, n = 0; i < len && n < HASHED_BYTES; i++) {
		if (word[i] == '"')
			continue;
		h = (h ^ fold((unsigned char)word[i])) * 0x01000193;
		n++;
	}
	return h;
}

struct name_index name_index_make(const struct rule_name *names, size_t n,
				  struct arena *a)
{
	struct name_index x = {.mask = 15};
	uint16_t *first, *next;

	while (x.mask < 2 * n)
		x.mask = 2 * x.mask + 1;
	first = arena_alloc(a, (x.mask + 1) * sizeof(*first));
	next = arena_alloc(a, (n + 1) * sizeof(*next));
	memset(first, 0xff, (x.mask + 1) * sizeof(*first)); /* NAME_NONE */
	for (size_t i = n; i-- > 0;) {
		uint32_t at =
		    name_hash(names[i].name, strlen(names[i].name)) & x.mask;

		next[i] = first[at];
		first[at] = (uint16_t)i;
	}
	x.first = first;
	x.next = next;
	return x;
}

uint16_t name_index_find(const struct name_index *x, const char *word,
			 size_t len)
{
	return x->first[name_hash(word, len) & x->mask];
}

/* Words that may change what a bare name means, by their first letter.
 * CREATE, ALTER and DROP make, move and unmake what stands in the way. */
enum { MOST_WORDS = 4 };
/* clang-format off */
static const char *const changing_words['z' - 'a' + 1][MOST_WORDS] = {
	['a' - 'a'] = {"alter", "authorization"},
	['c' - 'a'] = {"create"},
	['d' - 'a'] = {"discard", "drop"},
	['p' - 'a'] = {"pgtandem"}, /* .shape */
	['r' - 'a'] = {"role", "reset", "rollback"},
	['s' - 'a'] = {"search_path", "set_config", "schema"},
	['t' - 'a'] = {"temp", "temporary"},
};
/* clang-format on */

static bool word_at(const char *word, const unsigned char *s, size_t at,
		    size_t len)
{
	size_t n = strlen(word);

	return len - at >= n && same_folded(s + at, word, n) &&
	       ends_word(s, at + n, len);
}

static bool word_follows(const char *word, const unsigned char *s, size_t at,
			 size_t len)
{
	for (; at < len; at++)
		if (starts_word(s, at) && word_at(word, s, at, len))
			return true;
	return false;
}

/* One past the name in double quotes at `at`; len if nothing closes it. */
static size_t quoted_end(const unsigned char *s, size_t at, size_t len)
{
	for (at++; at < len; at++)
		if (s[at] == '"')
			return at + 1;
	return len;
}

/* ALTER TABLE x DISABLE TRIGGER ALL, as what loads test data sends it for
 * many tables in one text: nothing gets another name. */
static bool only_switches(const unsigned char *s, size_t at, size_t len)
{
	bool trigger = false;

	while (at < len && s[at] != ';') {
		if (s[at] == '"') {
			at = quoted_end(s, at, len);
			continue;
		}
		if (!is_name_byte(s[at]) &&
		    (s[at] == '\0' || strchr(" \t\r\n.,*", s[at]) == NULL))
			return false;
		if (starts_word(s, at) && word_at("rename", s, at, len))
			return false;
		trigger |= starts_word(s, at) && word_at("trigger", s, at, len);
		at++;
	}
	return trigger;
}

/* ROLLBACK alone ends the transaction, which the session sees; ROLLBACK TO
 * takes back a SET inside it. */
static unsigned names_effect_at(const unsigned char *s, size_t at, size_t len)
{
	const char *const *words = changing_words[fold(s[at]) - 'a'];

	for (size_t i = 0; i < MOST_WORDS && words[i] != NULL; i++) {
		if (!word_at(words[i], s, at, len))
			continue;
		if (strcmp(words[i], "alter") == 0)
			return only_switches(s, at, len) ? 0 : NAMES_CHANGE;
		if (strcmp(words[i], "rollback") != 0)
			return NAMES_CHANGE;
		return word_follows("to", s, at, len) ? NAMES_UNDO : 0;
	}
	return 0;
}

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return fold(c) >= 'a' && fold(c) <= 'f' ? fold(c) - 'a' + 10 : -1;
}

/* One character of a name, maybe \0061 or \+000061; '?' if not of ASCII. */
static unsigned char unicode_byte(const unsigned char *s, size_t *at,
				  size_t len)
{
	unsigned long c = s[(*at)++];
	size_t digits = 4;

	if (c != '\\' || *at == len)
		return fold((unsigned char)c);
	if (s[*at] == '+') {
		digits = 6;
		(*at)++;
	}
	for (c = 0; digits > 0 && *at < len && hex_digit(s[*at]) >= 0; digits--)
		c = c * 16 + (unsigned long)hex_digit(s[(*at)++]);
	return c > 0 && c < 128 ? fold((unsigned char)c) : '?';
}

/* U&"search\005fpath", whose & is at `at`: its words, written out. */
static unsigned unicode_effect(const unsigned char *s, size_t at, size_t len)
{
	unsigned char name[64];
	size_t n = 0;

	for (at += 2; at < len && s[at] != '"' && n < sizeof(name);)
		name[n++] = unicode_byte(s, &at, len);
	return n > 0 && name[0] >= 'a' && name[0] <= 'z'
		   ? names_effect_at(name, 0, n)
		   : 0;
}

unsigned sql_names_effect(const char *sql, size_t len)
{
	const unsigned char *s = (const unsigned char *)sql;
	bool after_name = false, unicode = false;
	unsigned effect = 0;

	for (size_t at = 0; at < len && !(effect & NAMES_CHANGE); at++) {
		bool before = after_name;

		after_name = is_name_byte(s[at]);
		if (is_unicode_name(s, at, len)) {
			unicode = true;
			effect |= unicode_effect(s, at, len);
		}
		if (!before && fold(s[at]) >= 'a' && fold(s[at]) <= 'z')
			effect |= names_effect_at(s, at, len);
	}
	/* By another escape character a name may be anything. */
	if (unicode && word_follows("uescape", s, 0, len))
		effect |= NAMES_CHANGE;
	return effect;
}

bool sql_names_catalog(const char *sql, size_t len)
{
	static const char system[] = "pg_", standard[] = "information_schema";
	const unsigned char *s = (const unsigned char *)sql;

	for (size_t at = 0; at + 3 <= len; at++) {
		if (!starts_word(s, at))
			continue;
		if (same_folded(s + at, system, sizeof(system) - 1) ||
		    (len - at >= sizeof(standard) - 1 &&
		     same_folded(s + at, standard, sizeof(standard) - 1)))
			return true;
	}
	return false;
}

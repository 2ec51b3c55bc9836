#include "rewrite/prepared.h"

#include <string.h>
#include <strings.h>

#include "rewrite/text/tokens.h"

enum { NAME_BYTES = 63 }; /* where the server cuts names */

static bool is_word_at(const char *sql, size_t len, size_t at, const char *word)
{
	size_t n = strlen(word);

	return n <= len - at && strncasecmp(sql + at, word, n) == 0;
}

bool prepared_mentions(const char *sql, size_t len)
{
	for (size_t at = 0; at < len; at++)
		switch (sql[at] | 0x20) {
		case 'p':
			if (is_word_at(sql, len, at, "prepare"))
				return true;
			break;
		case 'e':
			if (is_word_at(sql, len, at, "execute"))
				return true;
			break;
		case 'd':
			if (is_word_at(sql, len, at, "deallocate") ||
			    is_word_at(sql, len, at, "discard"))
				return true;
			break;
		}
	return false;
}

/* One run through the text: the few tokens that tell, of one statement. */
struct scan {
	const char *sql;
	struct lexer lexer;
	struct token t;	   /* the next token */
	struct token last; /* the one before it */
	struct arena *a;
	struct prepared_uses *out;
	struct prepared_use *v; /* room for `room` */
	size_t room;
};

static void next(struct scan *s)
{
	s->last = s->t;
	lexer_next(&s->lexer, &s->t);
}

static bool is(const struct scan *s, const char *word)
{
	size_t n = strlen(word);

	return s->t.kind == TOKEN_NAME && s->t.to - s->t.from == n &&
	       strncasecmp(s->sql + s->t.from, word, n) == 0;
}

static bool at_end(const struct scan *s)
{
	return s->t.kind == TOKEN_END || (s->t.punct == ';' && s->t.depth == 0);
}

static bool accept(struct scan *s, const char *word)
{
	bool found = is(s, word);

	if (found)
		next(s);
	return found;
}

/* A name cut within a character of several bytes ends before it. */
static const char *cut_name(char *name, size_t len)
{
	if (len <= NAME_BYTES)
		return name;
	len = NAME_BYTES;
	while (len > 0 && (name[len] & 0xc0) == 0x80)
		len--;
	name[len] = '\0';
	return name;
}

static const char *name_here(struct scan *s)
{
	bool quoted = s->t.kind == TOKEN_QUOTED;
	size_t from = s->t.from + quoted, to = s->t.to - quoted, n = 0;
	char *name;

	if (!quoted && s->t.kind != TOKEN_NAME)
		return NULL;
	name = arena_alloc(s->a, to - from + 1);
	for (size_t i = from; i < to; i++) {
		char c = s->sql[i];

		name[n++] =
		    !quoted && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
		if (quoted && c == '"')
			i++;
	}
	name[n] = '\0';
	return cut_name(name, n);
}

static void add(struct scan *s, enum prepared_verb verb, const char *name)
{
	struct prepared_use *more;

	if (s->out->n == s->room) {
		s->room = s->room ? 2 * s->room : 4;
		more = arena_alloc(s->a, s->room * sizeof(*more));
		if (s->out->n > 0)
			memcpy(more, s->v, s->out->n * sizeof(*more));
		s->v = more;
		s->out->v = more;
	}
	s->v[s->out->n++] = (struct prepared_use){
	    .verb = verb,
	    .at = (uint32_t)s->out->n_statements,
	    .name = name,
	};
}

/* EXPLAIN ... EXECUTE p, CREATE TABLE t ... AS EXECUTE p */
static void find_execute(struct scan *s, bool behind_as)
{
	bool as = !behind_as;

	for (; !at_end(s); next(s)) {
		if (as && s->t.depth == 0 && accept(s, "execute")) {
			add(s, PREPARED_USES, name_here(s));
			return;
		}
		as = !behind_as || is(s, "as");
	}
}

/* CREATE FUNCTION ... BEGIN ATOMIC ...; END */
static void find_body(struct scan *s)
{
	for (; !at_end(s); next(s))
		if (is(s, "begin"))
			s->out->unsure = true;
}

static void read_first_words(struct scan *s)
{
	if (accept(s, "prepare")) {
		if (!is(s, "transaction"))
			add(s, PREPARED_MAKES, name_here(s));
	} else if (accept(s, "execute")) {
		add(s, PREPARED_RUNS, name_here(s));
	} else if (accept(s, "deallocate")) {
		accept(s, "prepare");
		if (is(s, "all"))
			add(s, PREPARED_DROPS_ALL, NULL);
		else
			add(s, PREPARED_DROPS, name_here(s));
	} else if (accept(s, "discard")) {
		if (is(s, "all"))
			add(s, PREPARED_DROPS_ALL, NULL);
	} else if (accept(s, "explain")) {
		find_execute(s, false);
	} else if (accept(s, "create")) {
		accept(s, "or");
		accept(s, "replace");
		if (is(s, "function") || is(s, "procedure"))
			find_body(s);
		else
			find_execute(s, true);
	}
}

static void scan_statement(struct scan *s)
{
	size_t known = s->out->n;
	uint32_t from = s->t.from;

	read_first_words(s);
	while (!at_end(s))
		next(s);
	if (s->out->n > known) {
		s->v[known].from = from;
		s->v[known].to = s->last.to;
	}
	s->out->n_statements++;
}

void prepared_scan(const char *sql, size_t len, struct arena *a,
		   struct prepared_uses *ret)
{
	struct scan s = {.sql = sql, .a = a, .out = ret};

	*ret = (struct prepared_uses){0};
	lexer_start(&s.lexer, sql, len);
	next(&s);
	while (s.t.kind != TOKEN_END) {
		if (at_end(&s))
			next(&s); /* nothing stands before it */
		else
			scan_statement(&s);
	}
}

/*
 * The bounds scan: one pass of the lexer, a counter per limit.
 */
#include "rewrite/text/limits.h"

#include <string.h>

#include "rewrite/text/tokens.h"

struct count {
	size_t tokens, constants, words, selects, operators, statements;
	unsigned depth;
	uint32_t chain[LIMIT_NESTING + 2]; /* per depth */
	uint32_t longest;
};

static bool is_sign(const char *sql, const struct token *t, char before)
{
	return t->to - t->from == 1 &&
	       (sql[t->from] == '-' || sql[t->from] == '+') &&
	       (before == ',' || before == '(');
}

static void count_punct(struct count *c, const struct token *t)
{
	uint32_t *chain = &c->chain[c->depth];

	switch (t->punct) {
	case ',':
		*chain = 0;
		break;
	case ';':
		*chain = 0;
		c->statements++;
		break;
	case '(':
	case '[':
		(*chain)++;
		c->depth = t->depth + 1U;
		if (c->depth <= LIMIT_NESTING)
			c->chain[c->depth] = 0;
		break;
	case ')':
	case ']':
		c->depth = t->depth;
		break;
	default: /* a byte, not one of our enums: . :: : */
		(*chain)++;
		break;
	}
}

static bool is_word(const char *sql, const struct token *t, const char *word)
{
	size_t len = strlen(word);

	return t->to - t->from == len &&
	       strncasecmp(sql + t->from, word, len) == 0;
}

static void count_name(struct count *c, const char *sql, const struct token *t)
{
	static const char *const constants[] = {
	    "null",
	    "true",
	    "false",
	    "default",
	};

	c->chain[c->depth]++;
	for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++)
		if (is_word(sql, t, constants[i])) {
			c->constants++;
			return;
		}
	c->words++;
	c->selects += is_word(sql, t, "select");
}

static void count_token(struct count *c, const char *sql, const struct token *t,
			char before)
{
	c->tokens++;
	if (c->depth > LIMIT_NESTING)
		return;
	if (t->kind == TOKEN_PUNCT) {
		count_punct(c, t);
	} else if (t->kind == TOKEN_NAME || t->kind == TOKEN_QUOTED ||
		   t->kind == TOKEN_UNICODE) {
		count_name(c, sql, t);
	} else if (t->kind == TOKEN_STRING || t->kind == TOKEN_NUMBER ||
		   t->kind == TOKEN_PARAM) {
		c->constants++;
	} else if (t->kind == TOKEN_OPERATOR && !is_sign(sql, t, before)) {
		c->chain[c->depth]++;
		c->operators++;
	}
	if (c->depth <= LIMIT_NESTING && c->chain[c->depth] > c->longest)
		c->longest = c->chain[c->depth];
}

static void note_names(struct limits *l, const struct ruleset *rules,
		       const char *sql, const struct token *t)
{
	const struct name_index *x = &rules->index;

	for (uint16_t i = name_index_find(x, sql + t->from, t->to - t->from);
	     i != NAME_NONE; i = x->next[i]) {
		if (!token_spells(sql, t, rules->names[i].name))
			continue;
		if (i < rules->n_names)
			name_set_add(&l->named, i);
		l->any_named = true;
	}
}

static void over(struct limits *l, const char *what, size_t is, size_t most)
{
	if (l->over)
		return;
	l->over = true;
	problem_set(&l->problem, "54001",
		    "pgtandem: statement on a relation "
		    "under migration is too complex");
	problem_detail(&l->problem, "It has %s %zu; at most %zu are taken.",
		       what, is, most);
	problem_hint(&l->problem,
		     "Split the statement.  Statements that name "
		     "no relation under migration are not limited.");
}

static void judge(struct limits *l, const struct count *c,
		  const struct lexer *s)
{
	if (c->tokens > LIMIT_TOKENS)
		over(l, "a number of words and signs of", c->tokens,
		     LIMIT_TOKENS);
	if (c->constants > LIMIT_CONSTANTS)
		over(l, "a number of constants of", c->constants,
		     LIMIT_CONSTANTS);
	if (c->words > LIMIT_WORDS)
		over(l, "a number of names and keywords of", c->words,
		     LIMIT_WORDS);
	if (c->selects > LIMIT_SELECTS)
		over(l, "a number of SELECTs of", c->selects, LIMIT_SELECTS);
	if (c->depth > LIMIT_NESTING)
		over(l, "parentheses nested to", c->depth, LIMIT_NESTING);
	if (c->longest > LIMIT_CHAIN)
		over(l, "a run of words and operators of", c->longest,
		     LIMIT_CHAIN);
	if (c->operators > LIMIT_OPERATORS)
		over(l, "a number of operators of", c->operators,
		     LIMIT_OPERATORS);
	if (c->statements > LIMIT_STATEMENTS)
		over(l, "a number of statements of", c->statements,
		     LIMIT_STATEMENTS);
	if (s->comment_depth > LIMIT_COMMENT_NESTING)
		over(l, "comments nested to", s->comment_depth,
		     LIMIT_COMMENT_NESTING);
}

void limits_scan(const char *sql, size_t len, const struct ruleset *rules,
		 struct limits *ret)
{
	struct count c = {0};
	struct lexer s;
	struct token t;
	char before = '(';

	memset(ret, 0, sizeof(*ret));
	if (len > rules->max_statement_bytes)
		over(ret, "a length in bytes of", len,
		     rules->max_statement_bytes);
	lexer_start(&s, sql, len);
	for (lexer_next(&s, &t); t.kind != TOKEN_END; lexer_next(&s, &t)) {
		count_token(&c, sql, &t, before);
		before = t.punct;
		if (t.kind == TOKEN_QUOTED || t.kind == TOKEN_NAME)
			note_names(ret, rules, sql, &t);
		ret->unicode |= t.kind == TOKEN_UNICODE;
		ret->strings |= t.kind == TOKEN_STRING;
	}
	ret->n_tokens = c.tokens;
	judge(ret, &c, &s);
}

/*
 * The parser walks the grammar texts of the table against the tokens, with
 * one token of look-ahead.  The row that gets furthest into a statement tells
 * what was expected there.
 */
#include "daemon/admin/command.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/admin/lex.h"

enum { EXPECTED_MAX = 64, WORD_MAX = 32 };

/* One word of a grammar text. */
struct item {
	const char *s;
	size_t len;
};

struct match {
	const struct token *token; /* next */
	struct command *command;
	struct expectation *expected;
};

/* What was wanted at the furthest token that any row reached. */
struct expectation {
	const struct token *at;
	size_t n;
	struct item items[EXPECTED_MAX];
};

static void match_failed(struct match *m, struct item wanted)
{
	struct expectation *e = m->expected;

	if (m->token < e->at)
		return;
	if (m->token > e->at)
		e->n = 0;
	e->at = m->token;
	for (size_t i = 0; i < e->n; i++)
		if (e->items[i].len == wanted.len &&
		    memcmp(e->items[i].s, wanted.s, wanted.len) == 0)
			return;
	if (e->n < EXPECTED_MAX)
		e->items[e->n++] = wanted;
}

/* -- arguments -- */

static bool is_name(const struct token *t)
{
	return t->kind == TOKEN_WORD || t->kind == TOKEN_IDENTIFIER;
}

static bool take_migration(const struct token *t, struct command *c)
{
	if (!is_name(t))
		return false;
	*(c->migration ? &c->again : &c->migration) = t->value;
	return true;
}

static bool take_phase(const struct token *t, struct command *c)
{
	return is_name(t) &&
	       phase_from_name(t->value, strlen(t->value), &c->phase);
}

static bool take_number(const struct token *t, struct command *c)
{
	c->number = t->value;
	return t->kind == TOKEN_NUMBER;
}

static bool take_sql(const struct token *t, struct command *c)
{
	c->sql = t->value;
	return t->kind == TOKEN_TEXT;
}

/* clang-format off */
static const struct argument {
	const char *name;		/* in grammar texts */
	const char *what;		/* in messages */
	bool (*take)(const struct token *t, struct command *c);
} arguments[] = {
	{"m",     "a migration's name",                       take_migration},
	{"phase", "a phase (planned, expanded, dual_write, read_new, "
		  "write_new, new_only, contracted)",         take_phase},
	{"n",     "a whole number",                           take_number},
	{"'SQL'", "a statement in quotes ('...' or $$...$$)", take_sql},
};

static const struct {
	const char *word;
	enum command_word bit;
} flag_words[] = {
	{"FORCE",  WORD_FORCE},
	{"START",  WORD_START},
	{"PAUSE",  WORD_PAUSE},
	{"RESUME", WORD_RESUME},
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool item_is(struct item it, const char *s)
{
	return strlen(s) == it.len && memcmp(it.s, s, it.len) == 0;
}

static const struct argument *item_argument(struct item it)
{
	for (size_t i = 0; i < COUNT(arguments); i++)
		if (item_is(it, arguments[i].name))
			return &arguments[i];
	return NULL;
}

/* -- walking a grammar text -- */

static struct item next_item(const char **g)
{
	const char *s = *g + strspn(*g, " ");
	size_t len = strcspn(s, " []|.=");

	if (len == 0 && *s)
		len = 1; /* one of the signs */
	*g = s + len;
	return (struct item){s, len};
}

static bool match_item(struct match *m, struct item it)
{
	const struct token *t = m->token;
	const struct argument *arg = item_argument(it);

	if (arg ? !arg->take(t, m->command)
		: (t->kind != TOKEN_WORD && t->kind != TOKEN_SIGN) ||
		      t->len != it.len ||
		      strncasecmp(t->at, it.s, it.len) != 0) {
		match_failed(m, it);
		return false;
	}
	m->token++;
	return true;
}

/* Moves *g behind the rest of an alternative that was not taken; true if
 * another one follows, false behind the closing bracket. */
static bool skip_alternative(const char **g)
{
	int depth = 0;

	for (;;) {
		struct item it = next_item(g);

		assert(it.len > 0);
		if (item_is(it, "["))
			depth++;
		else if (item_is(it, "|") && depth == 0)
			return true;
		else if (item_is(it, "]") && depth-- == 0)
			return false;
	}
}

static bool match_sequence(struct match *m, const char **g);

static void set_flag(struct command *c, struct item it)
{
	for (size_t i = 0; i < COUNT(flag_words); i++)
		if (item_is(it, flag_words[i].word))
			c->words |= flag_words[i].bit;
}

/* Behind "[": the alternative whose first word fits has to fit as a whole. */
static bool match_group(struct match *m, const char **g)
{
	do {
		struct item first = next_item(g);

		if (!match_item(m, first))
			continue;
		set_flag(m->command, first);
		if (!match_sequence(m, g))
			return false;
		while (g[0][-1] == '|' && skip_alternative(g))
			;
		return true;
	} while (skip_alternative(g));
	return true;
}

/* Up to the end of the text, or behind a "|" or "]". */
static bool match_sequence(struct match *m, const char **g)
{
	for (;;) {
		struct item it = next_item(g);

		if (it.len == 0 || item_is(it, "|") || item_is(it, "]"))
			return true;
		if (item_is(it, "[")) {
			if (!match_group(m, g))
				return false;
		} else if (!match_item(m, it)) {
			return false;
		}
	}
}

static bool match_row(struct match *m, const struct command_def *def)
{
	const char *g = def->grammar;
	size_t position = m->token->position;

	*m->command = (struct command){
	    .def = def, .phase = PHASE_COUNT, .position = position};
	if (!match_sequence(m, &g))
		return false;
	if (m->token->kind == TOKEN_SEMICOLON || m->token->kind == TOKEN_END)
		return true;
	match_failed(m, (struct item){";", 1});
	return false;
}

/* -- telling what is wrong -- */

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Edits between two words, without regard to case; WORD_MAX if one is too
 * long to be a command's. */
static size_t word_distance(const char *a, size_t a_len, struct item b)
{
	size_t row[WORD_MAX + 1];

	if (a_len > WORD_MAX || b.len > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= b.len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			bool same = strncasecmp(&a[i - 1], &b.s[j - 1], 1) == 0;
			size_t here = smallest(row[j] + 1, row[j - 1] + 1,
					       diagonal + !same);

			diagonal = row[j];
			row[j] = here;
		}
	}
	return row[b.len];
}

/* The expected keyword that was probably meant, or NULL. */
static const struct item *nearest_word(const struct expectation *e)
{
	/* A third of the letters may be wrong. */
	size_t best = e->at->len / 3 + 1;
	const struct item *ret = NULL;

	if (e->at->kind != TOKEN_WORD)
		return NULL;
	for (size_t i = 0; i < e->n; i++) {
		size_t d =
		    item_argument(e->items[i])
			? WORD_MAX
			: word_distance(e->at->at, e->at->len, e->items[i]);

		if (d < best) {
			best = d;
			ret = &e->items[i];
		}
	}
	return ret;
}

static void tell_expected(const struct expectation *e, struct problem *p)
{
	char list[sizeof(p->detail) - 16];
	size_t used = 0;

	for (size_t i = 0; i < e->n && used < sizeof(list); i++) {
		const struct argument *arg = item_argument(e->items[i]);
		const char *sep = i == 0 ? "" : i + 1 < e->n ? ", " : " or ";
		const char *what = arg ? arg->what : e->items[i].s;
		int len = arg ? (int)strlen(what) : (int)e->items[i].len;

		if (e->items[i].s[0] == ';') {
			what = "the end of the command";
			len = (int)strlen(what);
		}
		used += (size_t)snprintf(list + used, sizeof(list) - used,
					 "%s%.*s", sep, len, what);
	}
	problem_detail(p, "Expected %s.", list);
}

static bool tell_mistake(const struct token *first, const struct expectation *e,
			 struct problem *p)
{
	const struct token *t = e->at;
	const struct item *meant = nearest_word(e);
	/* Only as much as fits: a quoted token may be a megabyte. */
	int shown = t->len < 60 ? (int)t->len : 60;

	if (t->kind == TOKEN_END)
		problem_set(p, "42601", "syntax error at end of input");
	else
		problem_set(p, "42601", "syntax error at or near \"%.*s\"",
			    shown, t->at);
	p->position = (uint32_t)t->position;
	tell_expected(e, p);
	if (meant)
		problem_hint(p,
			     "Did you mean \"%.*s%.*s\"?  "
			     "SHOW HELP lists all commands.",
			     (int)(t->at - first->at), first->at,
			     (int)meant->len, meant->s);
	else
		problem_hint(p, "SHOW HELP lists all commands.");
	return false;
}

/* From the first word to the end of the last one. */
static const char *statement_text(const struct token *first,
				  const struct token *end, struct arena *a)
{
	const char *to = end[-1].at + end[-1].len;

	return arena_dup(a, first->at, (size_t)(to - first->at));
}

static bool parse_statement(const struct token **t, struct command *c,
			    struct arena *a, struct problem *p)
{
	struct expectation expected = {.at = *t};

	for (size_t i = 0; i < command_count; i++) {
		struct match m = {*t, c, &expected};

		if (match_row(&m, &command_table[i])) {
			c->text = statement_text(*t, m.token, a);
			*t = m.token;
			return true;
		}
	}
	return tell_mistake(*t, &expected, p);
}

bool command_parse(const char *text, size_t len, struct arena *a,
		   const struct command **ret, size_t *ret_n, struct problem *p)
{
	const struct token *t;
	struct command *commands;
	size_t n_tokens, n = 0, max;

	if (len > COMMAND_MAX_SQL)
		return problem_set(p, "54000",
				   "text of %zu bytes is longer than %d", len,
				   COMMAND_MAX_SQL);
	if (!lex_text(text, len, a, &t, &n_tokens, p))
		return false;
	max = n_tokens < COMMAND_MAX_STATEMENTS ? n_tokens
						: COMMAND_MAX_STATEMENTS;
	commands = arena_alloc(a, max * sizeof(*commands));
	for (; t->kind != TOKEN_END; t += t->kind == TOKEN_SEMICOLON) {
		if (t->kind == TOKEN_SEMICOLON)
			continue;
		if (n == max)
			return problem_set(p, "54001",
					   "more than %d commands in one text",
					   COMMAND_MAX_STATEMENTS);
		if (!parse_statement(&t, &commands[n++], a, p))
			return false;
	}
	*ret = commands;
	*ret_n = n;
	return true;
}

const char *const *command_columns(const struct command_def *d, size_t *ret_n)
{
	size_t n = 0;

	if (d->view != VIEW_COUNT)
		return control_columns(d->view, ret_n);
	while (d->columns && d->columns[n])
		n++;
	*ret_n = n;
	return d->columns;
}

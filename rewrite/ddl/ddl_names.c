#include "rewrite/ddl/ddl_names.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

struct scan {
	const struct lens *l;
	struct arena *a;
	struct sqltext out;
	const char *at, *end;
	bool computed; /* a converted column may be computed back */
	struct renamed *found;
};

static bool is_word_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       c == '"' || (c & 0x80);
}

static bool is_word_byte(char c)
{
	return (is_word_start(c) && c != '"') || (c >= '0' && c <= '9') ||
	       c == '$';
}

/* One past a token that is quoted by q, doubled inside it. */
static const char *quoted_end(const char *s, const char *end, char q)
{
	for (s++; s < end; s++) {
		if (*s != q)
			continue;
		if (s + 1 == end || s[1] != q)
			return s + 1;
		s++;
	}
	return end;
}

static const char *word_end(const char *s, const char *end)
{
	if (*s == '"')
		return quoted_end(s, end, '"');
	while (s < end && is_word_byte(*s))
		s++;
	return s;
}

static void copy(struct scan *s, const char *to)
{
	sqltext_put(&s->out, "%.*s", (int)(to - s->at), s->at);
	s->at = to;
}

const char *names_of_old(const struct lens *l, const char *old,
			 bool *ret_converted)
{
	const char *name = NULL;
	size_t o = 0, n_made = 0;

	while (strcmp(l->olds[o].column->name, old) != 0)
		o++;
	*ret_converted = !l->olds[o].carried;
	if (l->olds[o].carried)
		return l->new->columns[l->olds[o].new_index].name;
	if (l->child != NULL) {
		const struct child_moved *m = child_find_moved(l, (unsigned)o);

		*ret_converted = !m->plain;
		return m->plain ? l->child->columns[m->column].column->name
				: NULL;
	}
	for (size_t i = 0; i < l->n_new; i++) {
		const struct lens_new *n = &l->news[i];
		size_t of_old = 0;

		if (n->carried || n->extra)
			continue;
		for (size_t c = 0; c < n->forward.n; c++)
			of_old += n->forward.column[c] == o;
		n_made += of_old > 0;
		if (of_old > 0 && of_old == n->forward.n)
			name = n->column->name;
	}
	return n_made == 1 ? name : NULL;
}

/* Words that go on with a type's name behind its first. */
static bool continues_type(const char *word, size_t len)
{
	static const char *const words[] = {
	    "varying", "precision", "without", "with", "time", "zone",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strlen(words[i]) == len && !strncmp(words[i], word, len))
			return true;
	return false;
}

/* Behind "::": copies "pg_catalog.timestamp(3) without time zone". */
static void skip_type(struct scan *s)
{
	const char *p = s->at;

	p = word_end(p, s->end);
	while (p + 1 < s->end && *p == '.')
		p = word_end(p + 1, s->end);
	copy(s, p);
	if (p < s->end && *p == '(') {
		while (p < s->end && *p != ')')
			p++;
		copy(s, p < s->end ? p + 1 : p);
	}
	for (;;) {
		const char *word = s->at, *after;

		while (word < s->end && *word == ' ')
			word++;
		after = word_end(word, s->end);
		if (word == s->end ||
		    !continues_type(word, (size_t)(after - word)))
			return;
		copy(s, after);
	}
}

static void put_column(struct scan *s, const char *old, const char *after)
{
	const struct column *c = relation_find_column(s->l->old, old);
	bool converted;
	const char *new = names_of_old(s->l, old, &converted);

	if (converted && s->computed) {
		sqltext_put(
		    &s->out, "%s",
		    lens_reverse(s->l, (unsigned)(c - s->l->old->columns), "",
				 s->a));
		s->at = after;
		return;
	}
	if (converted)
		s->found->converted = old;
	if (new == NULL)
		s->found->lost = old;
	sqltext_put(&s->out, "%s", quote_name(new ? new : old, s->a));
	s->at = after;
}

/* A word: a column's name unless it is a function's or a part of a longer
 * name. */
static void take_word(struct scan *s)
{
	const char *after = word_end(s->at, s->end);
	const char *word = arena_dup(s->a, s->at, (size_t)(after - s->at));

	if (after < s->end && *after == '.') {
		copy(s, word_end(after + 1, s->end));
		return;
	}
	if (strcmp(word, "tableoid") == 0)
		s->found->of_table = true;
	for (size_t i = 0;
	     i < s->l->n_old && !(after < s->end && *after == '('); i++) {
		const char *name = s->l->olds[i].column->name;

		if (strcmp(quote_name(name, s->a), word) == 0) {
			put_column(s, name, after);
			return;
		}
	}
	copy(s, after);
}

static const char *rename_part(const struct lens *l, const char *from,
			       const char *to, bool computed, struct arena *a,
			       struct renamed *found)
{
	struct scan s = {.l = l,
			 .a = a,
			 .at = from,
			 .end = to,
			 .computed = computed,
			 .found = found};

	sqltext_begin(&s.out, a);
	while (s.at < s.end) {
		if (*s.at == '\'')
			copy(&s, quoted_end(s.at, s.end, '\''));
		else if (s.at + 2 < s.end && !strncmp(s.at, "::", 2)) {
			copy(&s, s.at + 2);
			skip_type(&s);
		} else if (is_word_start(*s.at))
			take_word(&s);
		else
			copy(&s, s.at + 1);
	}
	return s.out.s;
}

void names_in_definition(const struct lens *l, const char *definition,
			 struct arena *a, struct renamed *ret)
{
	*ret = (struct renamed){0};
	ret->text = rename_part(l, definition, definition + strlen(definition),
				false, a, ret);
}

void names_in_check(const struct lens *l, const char *definition,
		    struct arena *a, struct renamed *ret)
{
	*ret = (struct renamed){0};
	ret->text = rename_part(l, definition, definition + strlen(definition),
				true, a, ret);
}

void names_in_index(const struct lens *l, const char *definition,
		    struct arena *a, const char **ret_method,
		    struct renamed *ret)
{
	static const char using[] = " USING ";
	const char *method = strstr(definition, using) + sizeof(using) - 1;
	const char *rest = strchr(method, ' ');

	*ret_method = arena_dup(a, method, (size_t)(rest - method));
	names_in_definition(l, rest, a, ret);
}

void names_in_foreign_key(const struct lens *l, const char *definition,
			  struct arena *a, struct renamed *ret)
{
	const char *references = strstr(definition, ") REFERENCES ");
	const char *end = definition + strlen(definition);
	const char *actions = strchr(references + 1, ')') + 1;
	const char *ours, *actions_text;

	*ret = (struct renamed){0};
	ours = rename_part(l, definition, references, false, a, ret);
	actions_text = rename_part(l, actions, end, false, a, ret);
	ret->text = arena_fmt(a, "%s%.*s%s", ours, (int)(actions - references),
			      references, actions_text);
}

const char *names_moved_trigger(const struct lens *l, struct arena *a)
{
	return quote_name(
	    arena_fmt(a, "pgtandem_%s_%u_moved", l->migration, l->number), a);
}

const char *names_late_trigger(const struct lens *l, struct arena *a)
{
	return quote_name(
	    arena_fmt(a, "pgtandem_%s_%u_late", l->migration, l->number), a);
}

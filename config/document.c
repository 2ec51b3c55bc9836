#include "config/document.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct builder {
	const char *file;
	const char *text;
	size_t len;
	struct arena *arena;
	struct problem *problem;
	yaml_parser_t parser;
	struct node *root;
	struct node *open; /* innermost list or map; NULL: none */
	struct node *last[DOCUMENT_MAX_DEPTH]; /* newest child of each open */
	const char *key;		       /* read, waiting for its value */
	unsigned key_line;
	unsigned depth, n_nodes, n_documents;
};

static bool fail(struct builder *b, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct builder *b, unsigned line, const char *fmt, ...)
{
	char what[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	problem_set(b->problem, "F0000", "%s:%u: %s", b->file, line, what);
	return false;
}

static bool fail_large(const char *file, struct problem *p)
{
	return problem_set(
	    p, "54000", "%s: larger than 1 MiB, the most that is read", file);
}

/* One byte more than allowed is asked for, so that "too large" is seen
 * without trusting the size that the file system gives. */
static bool read_all(FILE *f, const char *file, struct arena *a,
		     const char **ret_text, size_t *ret_len, struct problem *p)
{
	char *text = malloc(DOCUMENT_MAX_BYTES + 1);
	size_t len;
	bool ok = true;

	if (text == NULL)
		abort();
	len = fread(text, 1, DOCUMENT_MAX_BYTES + 1, f);
	if (ferror(f))
		ok = problem_set(p, "58030", "%s: cannot be read: %s", file,
				 strerror(errno));
	else if (len > DOCUMENT_MAX_BYTES)
		ok = fail_large(file, p);
	else {
		*ret_text = arena_dup(a, text, len);
		*ret_len = len;
	}
	free(text);
	return ok;
}

bool document_load(const char *file, struct arena *a, const char **ret_text,
		   size_t *ret_len, struct problem *p)
{
	FILE *f = fopen(file, "re");
	bool ok;

	if (f == NULL)
		return problem_set(p, "58P01", "%s: cannot be opened: %s", file,
				   strerror(errno));
	ok = read_all(f, file, a, ret_text, ret_len, p);
	fclose(f);
	return ok;
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7F;
}

const char *text_quote(const char *text, struct arena *a)
{
	size_t len = strlen(text), most = 60;
	bool cut = len > most;
	char *copy;

	if (cut)
		len = most;
	while (cut && len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
		len--;
	copy = arena_dup(a, text, len);
	for (size_t i = 0; i < len; i++) {
		if (is_control(copy[i]))
			copy[i] = ' ';
	}
	return arena_fmt(a, "\"%s%s\"", copy, cut ? "..." : "");
}

const struct node *node_get(const struct node *map, const char *key)
{
	const struct node *n;

	for (n = map->first; n != NULL; n = n->next) {
		if (n->key != NULL && strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

/* At most DOCUMENT_MAX_DEPTH deep: the builder made the tree. */
const char *node_path(const struct node *n, struct arena *a)
{
	const char *above;

	if (n->parent == NULL)
		return "";
	above = node_path(n->parent, a);
	if (n->key == NULL)
		return arena_fmt(a, "%s[%u]", above, n->index);
	return arena_fmt(a, "%s%s%s", above, above[0] ? "." : "", n->key);
}

static unsigned line_of(const yaml_mark_t *mark)
{
	return (unsigned)mark->line + 1;
}

/* Whether a line is indented with a tab: YAML's messages never say so. */
static bool line_has_tab_indent(const struct builder *b, size_t line)
{
	const char *s = b->text, *end = b->text + b->len;

	while (line > 0 && s < end) {
		if (*s++ == '\n')
			line--;
	}
	while (s < end && *s == ' ')
		s++;
	return s < end && *s == '\t';
}

static unsigned line_of_offset(const struct builder *b, size_t offset)
{
	unsigned line = 1;

	for (size_t i = 0; i < offset && i < b->len; i++)
		line += b->text[i] == '\n';
	return line;
}

static bool fail_not_yaml(struct builder *b)
{
	const yaml_parser_t *y = &b->parser;
	unsigned line = line_of(&y->problem_mark);

	if (line_has_tab_indent(b, y->problem_mark.line))
		return fail(b, line, "indented with a tab; expected spaces");
	if (y->context != NULL && y->context_mark.line != y->problem_mark.line)
		fail(b, line, "not YAML: %s, %s that starts in line %u",
		     y->problem, y->context, line_of(&y->context_mark));
	else
		fail(b, line, "not YAML: %s in column %zu", y->problem,
		     y->problem_mark.column + 1);
	problem_hint(b->problem,
		     "A value needs quotes if it has \": \" or "
		     "\" #\" in it, or starts with one of %s.",
		     "[]{}&*!|>'\"%@`");
	return false;
}

/* libyaml's diagnosis, as one message. */
static bool fail_syntax(struct builder *b)
{
	const yaml_parser_t *y = &b->parser;

	if (y->error == YAML_MEMORY_ERROR)
		return problem_set(b->problem, "53200", "%s: out of memory",
				   b->file);
	if (y->error == YAML_READER_ERROR)
		return fail(b, line_of_offset(b, y->problem_offset),
			    "%s; expected UTF-8 text", y->problem);
	return fail_not_yaml(b);
}

/* Appends a node to the innermost list or map, or makes it the root; NULL
 * (and the problem) if there are too many. */
static struct node *add_node(struct builder *b, enum node_kind kind,
			     unsigned line)
{
	struct node *n, *open = b->open;

	if (++b->n_nodes > DOCUMENT_MAX_NODES) {
		fail(b, line, "more than %d values, the most that are read",
		     DOCUMENT_MAX_NODES);
		return NULL;
	}
	n = arena_alloc(b->arena, sizeof(*n));
	n->kind = kind;
	n->line = b->key ? b->key_line : line;
	n->parent = open;
	n->key = b->key;
	b->key = NULL;
	if (open == NULL) {
		b->root = n;
		return n;
	}
	n->index = open->n++;
	if (open->first == NULL)
		open->first = n;
	else
		b->last[b->depth - 1]->next = n;
	b->last[b->depth - 1] = n;
	return n;
}

static bool expects_key(const struct builder *b)
{
	return b->open != NULL && b->open->kind == NODE_MAP && b->key == NULL;
}

static bool on_key(struct builder *b, const yaml_event_t *e, const char *key)
{
	const struct node *first = node_get(b->open, key);
	unsigned line = line_of(&e->start_mark);

	if (strlen(key) > DOCUMENT_MAX_KEY)
		return fail(b, line, "a key longer than %d bytes",
			    DOCUMENT_MAX_KEY);
	for (const char *c = key; *c != '\0'; c++) {
		if (is_control(*c))
			return fail(b, line, "a key with a control character");
	}
	if (first != NULL)
		return fail(b, line, "duplicate key \"%s\" (first in line %u)",
			    key, first->line);
	b->key = key;
	b->key_line = line;
	return true;
}

static bool on_scalar(struct builder *b, const yaml_event_t *e)
{
	const char *value = (const char *)e->data.scalar.value;
	size_t len = e->data.scalar.length;
	unsigned line = line_of(&e->start_mark);
	struct node *n;
	char *text;

	if (memchr(value, '\0', len) != NULL)
		return fail(b, line, "text with a NUL character");
	if (e->data.scalar.tag != NULL)
		return fail(b, line, "tags (\"%.40s\") are not supported",
			    (const char *)e->data.scalar.tag);
	text = arena_dup(b->arena, value, len);
	if (expects_key(b))
		return on_key(b, e, text);
	n = add_node(b, NODE_TEXT, line);
	if (n == NULL)
		return false;
	n->text = text;
	return true;
}

static bool on_open(struct builder *b, const yaml_event_t *e,
		    enum node_kind kind, const yaml_char_t *tag)
{
	unsigned line = line_of(&e->start_mark);
	struct node *n;

	if (tag != NULL)
		return fail(b, line, "tags (\"%.40s\") are not supported",
			    (const char *)tag);
	if (expects_key(b))
		return fail(b, line,
			    "a list or mapping as a key; "
			    "expected text");
	if (b->depth == DOCUMENT_MAX_DEPTH)
		return fail(b, line,
			    "nested deeper than %d levels, the most "
			    "that are read",
			    DOCUMENT_MAX_DEPTH);
	n = add_node(b, kind, line);
	if (n == NULL)
		return false;
	b->open = n;
	b->depth++;
	return true;
}

static void on_close(struct builder *b)
{
	/* The parents are ours and not const; the tree hides that. */
	b->open = (struct node *)b->open->parent;
	b->depth--;
}

static bool on_document(struct builder *b, const yaml_event_t *e)
{
	if (++b->n_documents > 1)
		return fail(b, line_of(&e->start_mark),
			    "a second document (\"---\"); expected one");
	return true;
}

static bool has_anchor(const yaml_event_t *e)
{
	return (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
	       (e->type == YAML_SEQUENCE_START_EVENT &&
		e->data.sequence_start.anchor) ||
	       (e->type == YAML_MAPPING_START_EVENT &&
		e->data.mapping_start.anchor);
}

static bool on_event(struct builder *b, const yaml_event_t *e)
{
	if (e->type == YAML_ALIAS_EVENT || has_anchor(e))
		return fail(b, line_of(&e->start_mark),
			    "anchors and aliases (& and *) are not supported; "
			    "quote text that starts with them");
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document(b, e);
	case YAML_SCALAR_EVENT:
		return on_scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, e, NODE_LIST, e->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, e, NODE_MAP, e->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		on_close(b);
		return true;
	case YAML_NO_EVENT:
	case YAML_ALIAS_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return true;
	}
	return true;
}

static bool read_events(struct builder *b)
{
	yaml_event_t e;
	bool ok, at_end = false;

	while (!at_end) {
		if (!yaml_parser_parse(&b->parser, &e))
			return fail_syntax(b);
		at_end = e.type == YAML_STREAM_END_EVENT;
		ok = on_event(b, &e);
		yaml_event_delete(&e);
		if (!ok)
			return false;
	}
	return true;
}

bool document_parse(const char *file, const char *text, size_t len,
		    struct arena *a, const struct node **ret, struct problem *p)
{
	struct builder b = {
	    .file = file,
	    .text = text,
	    .len = len,
	    .arena = a,
	    .problem = p,
	};
	bool ok;

	if (len > DOCUMENT_MAX_BYTES)
		return fail_large(file, p);
	if (!yaml_parser_initialize(&b.parser))
		return problem_set(p, "53200", "%s: out of memory", file);
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text,
				     len);
	ok = read_events(&b);
	yaml_parser_delete(&b.parser);
	if (!ok)
		return false;
	if (b.root == NULL)
		return fail(&b, 1, "empty; expected a mapping");
	*ret = b.root;
	return true;
}

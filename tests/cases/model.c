#include "tests/cases/model.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *read_file(const char *path, struct arena *a)
{
	FILE *f = fopen(path, "r");
	char *text;
	long size;

	if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
		err(1, "%s", path);
	rewind(f);
	text = arena_alloc(a, (size_t)size + 1);
	if (fread(text, 1, (size_t)size, f) != (size_t)size)
		err(1, "%s", path);
	fclose(f);
	return text;
}

const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line == '\n' ? line + 1 : line;
}

const char *directive(const char *line, const char *word, struct arena *a)
{
	size_t len = strlen(word);

	if (strncmp(line, "-- ", 3) != 0 || strncmp(line + 3, word, len) != 0 ||
	    line[3 + len] != ':')
		return NULL;
	line += 4 + len;
	line += strspn(line, " ");
	return arena_dup(a, line, strcspn(line, "\n"));
}

static bool starts_directive(const char *line, struct arena *a)
{
	return directive(line, "spec", a) || directive(line, "relation", a) ||
	       directive(line, "define", a) || directive(line, "base", a);
}

/* The lines up to the next directive. */
static const char *block_end(const char *line, struct arena *a)
{
	while (*line != '\0' && !starts_directive(line, a))
		line = next_line(line);
	return line;
}

/* Takes a name, quoted or bare, off the front. */
static const char *take_name(const char **at, struct arena *a)
{
	const char *s = *at;
	size_t len;

	if (*s == '"') {
		len = strcspn(s + 1, "\"");
		*at = s + len + 2;
		return arena_dup(a, s + 1, len);
	}
	len = strcspn(s, " ,.)\n");
	*at = s + len;
	return arena_dup(a, s, len);
}

/* What stands behind " word " in a column's line; cuts the line there. */
static const char *cut_clause(char *line, const char *word)
{
	char *at = strstr(line, word);

	if (at == NULL)
		return NULL;
	*at = '\0';
	return at + strlen(word);
}

/* What the catalog would say of a type: its oid, and how a length is kept in
 * the modifier. */
/* clang-format off */
static const struct {
	const char *name;
	uint32_t oid;
	int32_t add;
} types[] = {
	{"boolean", 16, 0}, {"bigint", 20, 0}, {"integer", 23, 0},
	{"text", 25, 0}, {"jsonb", 3802, 0}, {"uuid", 2950, 0},
	{"character varying", 1043, 4}, {"character", 1042, 4},
	{"bit varying", 1562, 0}, {"bit", 1560, 0}, {"numeric", 1700, 4},
	{"timestamp without time zone", 1114, 0}, {"text[]", 1009, 0},
};
/* clang-format on */

static void set_type(struct column *c, const char *text)
{
	size_t len = strcspn(text, "(");

	c->type = text;
	c->typmod = -1;
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (strncmp(text, types[i].name, len) != 0 ||
		    types[i].name[len] != '\0')
			continue;
		c->type_oid = types[i].oid;
		if (text[len] == '(')
			c->typmod = atoi(text + len + 1) + types[i].add;
	}
}

/* The one that a serial's default names, or that an identity makes. */
static void set_sequence(const struct relation *r, struct column *c,
			 struct arena *a)
{
	static const char call[] = "nextval('";
	const char *name;

	if (c->identity)
		c->sequence = quote_qualified(
		    r->schema, arena_fmt(a, "%s_%s_seq", r->name, c->name), a);
	if (c->default_expr == NULL ||
	    strncmp(c->default_expr, call, sizeof(call) - 1) != 0)
		return;
	name = c->default_expr + sizeof(call) - 1;
	c->sequence = arena_dup(a, name, strcspn(name, "'"));
}

static void read_column(const char *line, const struct relation *r,
			struct column *c, struct arena *a)
{
	const char *text, *identity;
	char *rest;

	c->name = take_name(&line, a);
	rest = arena_str(a, line + strspn(line, " "));
	text = cut_clause(rest, " generated always as ");
	c->generated = text != NULL ? 's' : 0;
	c->default_expr = text != NULL ? text : cut_clause(rest, " default ");
	identity = cut_clause(rest, " identity ");
	c->identity = identity != NULL ? identity[0] : 0;
	c->not_null = cut_clause(rest, " not null") != NULL;
	set_type(c, rest);
	c->statistics = -1;
	set_sequence(r, c, a);
}

static const struct key_line {
	const char *begins, *suffix, *clause;
	enum constraint_kind kind;
} key_lines[] = {
    {"primary key (", "pkey", "PRIMARY KEY ", CONSTRAINT_PRIMARY},
    {"unique (", "key", "UNIQUE ", CONSTRAINT_UNIQUE},
    {"foreign key (", "fkey", "FOREIGN KEY ", CONSTRAINT_FOREIGN},
};

static const struct key_line *find_key_line(const char *line)
{
	for (size_t i = 0; i < sizeof(key_lines) / sizeof(*key_lines); i++)
		if (strncmp(line, key_lines[i].begins,
			    strlen(key_lines[i].begins)) == 0)
			return &key_lines[i];
	return NULL;
}

/* "primary key (a, b)": what stands behind the words is the server's. */
static void read_key(const char *line, struct relation *r, struct arena *a)
{
	const struct key_line *key = find_key_line(line);
	struct constraint *c =
	    (struct constraint *)&r->constraints[r->n_constraints++];
	const char **columns = arena_alloc(a, 16 * sizeof(*columns));

	c->kind = key->kind;
	c->name = arena_fmt(a, "%s_%s", r->name, key->suffix);
	c->definition = arena_fmt(a, "%s%s", key->clause, strchr(line, '('));
	c->columns = columns;
	line = strchr(line, '(') + 1;
	while (*line != ')' && *line != '\0') {
		columns[c->n_columns++] = take_name(&line, a);
		line += strspn(line, ", ");
	}
}

static const char *read_relation(struct model *m, const char *name,
				 const char *body)
{
	struct relation *r = &m->relations[m->n_relations++];
	const char *end = block_end(body, m->a);
	struct column *columns = arena_alloc(m->a, 64 * sizeof(*columns));

	r->schema = take_name(&name, m->a);
	name++;
	r->name = take_name(&name, m->a);
	r->kind = 'r';
	r->owner = "postgres";
	r->replica_identity = 'd';
	r->rows = -1;
	r->columns = columns;
	r->constraints = arena_alloc(m->a, 8 * sizeof(*r->constraints));
	for (; body < end; body = next_line(body)) {
		const char *line = arena_dup(m->a, body, strcspn(body, "\n"));

		if (find_key_line(line) != NULL) {
			read_key(line, r, m->a);
			continue;
		}
		if (*line == '\0')
			continue;
		columns[r->n_columns].attnum = (int16_t)(r->n_columns + 1);
		read_column(line, r, &columns[r->n_columns++], m->a);
	}
	return end;
}

static const char *read_spec(struct model *m, const char *path,
			     const char *body)
{
	const char *end = block_end(body, m->a);
	struct problem p;

	if (!spec_parse(path, body, (size_t)(end - body), m->a,
			&m->specs[m->n_specs++], &p))
		errx(1, "%s: %s %s", path, p.message, p.detail);
	return end;
}

static const char *read_base(struct model *m, const char *body)
{
	const char *end = block_end(body, m->a);

	m->base = arena_dup(m->a, body, (size_t)(end - body));
	return end;
}

static void read_define(struct model *m, const char *rest)
{
	struct define *d = &m->defines[m->n_defines++];
	size_t len = strcspn(rest, " ");

	d->name = arena_fmt(m->a, "{%.*s}", (int)len, rest);
	d->text = rest + len + strlen(" = ");
}

static const struct relation *find_relation(const struct model *m,
					    const struct spec_name *name)
{
	for (size_t i = 0; i < m->n_relations; i++)
		if (strcmp(m->relations[i].schema, name->schema) == 0 &&
		    strcmp(m->relations[i].name, name->name) == 0)
			return &m->relations[i];
	return NULL;
}

/* One lens, or both halves of a merge with its first. */
static bool compile_lens(struct model *m, const struct spec *s, unsigned j,
			 const struct lens **ret, struct problem *p)
{
	const struct spec_lens *l = &s->lenses[j];
	const struct relation *old[2] = {find_relation(m, &l->old), NULL};
	const struct relation *new = find_relation(m, &l->new);

	if (l->half == 2)
		return true;
	if (l->half == 0)
		return lens_compile(s, j + 1, old[0], new, m->a, ret, p);
	old[1] = find_relation(m, &l->old2);
	return lens_compile_merge(s, j + 1, old, new, m->a, ret, p);
}

static void compile_lenses(struct model *m, size_t i, const char *path)
{
	const struct spec *s = m->specs[i];
	struct problem p;

	m->lenses[i] = arena_alloc(m->a, s->n_lenses * sizeof(**m->lenses));
	for (unsigned j = 0; j < s->n_lenses; j++)
		if (!compile_lens(m, s, j, &m->lenses[i][j], &p))
			errx(1, "%s: %s %s", path, p.message, p.detail);
}

const struct model *model_read(const char *path, struct arena *a)
{
	struct model *m = arena_alloc(a, sizeof(*m));
	const char *line = read_file(path, a), *rest;

	m->a = a;
	m->base = "";
	while (*line != '\0') {
		const char *body = next_line(line);

		if (m->n_specs == MODEL_MOST || m->n_defines == MODEL_MOST ||
		    m->n_relations == MODEL_MOST)
			errx(1, "%s: too much of something", path);
		if (directive(line, "spec", a) != NULL)
			line = read_spec(m, path, body);
		else if ((rest = directive(line, "relation", a)) != NULL)
			line = read_relation(m, rest, body);
		else if (directive(line, "base", a) != NULL)
			line = read_base(m, body);
		else if ((rest = directive(line, "define", a)) != NULL)
			read_define(m, rest), line = body;
		else
			line = body;
	}
	for (size_t i = 0; i < m->n_specs; i++)
		compile_lenses(m, i, path);
	return m;
}

const struct ruleset *model_rules(const struct model *m, enum phase phase,
				  bool prelock, unsigned server_version,
				  struct arena *a)
{
	struct rule_migration migrations[MODEL_MOST] = {0};
	const struct ruleset_input in = {.serial = 1,
					 .database = "shop",
					 .max_statement_bytes = 4 << 20,
					 .server_version = server_version,
					 .n_migrations = m->n_specs,
					 .migrations = migrations};
	const struct ruleset *rules;
	struct problem p;

	for (size_t i = 0; i < m->n_specs; i++)
		migrations[i] =
		    (struct rule_migration){.spec = m->specs[i],
					    .phase = phase,
					    .epoch = 7,
					    .read_percent = 100,
					    .prelock = prelock,
					    .n_lenses = m->specs[i]->n_lenses,
					    .lenses = m->lenses[i]};
	if (!ruleset_build(&in, a, &rules, &p))
		errx(1, "%s", p.message);
	return rules;
}

/* Every `from` becomes `to`. */
static const char *replace(const char *text, const char *from, const char *to,
			   struct arena *a)
{
	const char *at = strstr(text, from);

	if (at == NULL)
		return text;
	return arena_fmt(a, "%.*s%s%s", (int)(at - text), text, to,
			 replace(at + strlen(from), from, to, a));
}

const char *model_expand(const struct model *m, const char *text,
			 struct arena *a)
{
	for (size_t i = 0; i < m->n_defines; i++)
		text = replace(text, m->defines[i].name, m->defines[i].text, a);
	return text;
}

const char *model_contract(const struct model *m, const char *text,
			   struct arena *a)
{
	for (size_t i = 0; i < m->n_defines; i++)
		text = replace(text, m->defines[i].text, m->defines[i].name, a);
	return text;
}

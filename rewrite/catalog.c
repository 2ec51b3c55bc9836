#include "rewrite/catalog.h"

#include <string.h>

const struct column *relation_find_column(const struct relation *r,
					  const char *name)
{
	for (size_t i = 0; i < r->n_columns; i++)
		if (strcmp(r->columns[i].name, name) == 0)
			return &r->columns[i];
	return NULL;
}

bool constraint_has_index(const struct constraint *c)
{
	return c->kind != CONSTRAINT_CHECK && c->kind != CONSTRAINT_FOREIGN;
}

/* One name of "s.\"my table\"(id)", without its quotes. */
static const char *read_name(const char **at, struct arena *a)
{
	char *name = arena_alloc(a, strlen(*at) + 1), *end = name;
	bool quoted = **at == '"';

	for (*at += quoted; **at != '\0'; (*at)++) {
		if (quoted && **at == '"' && *++*at != '"')
			break;
		if (!quoted && strchr(".( ", **at) != NULL)
			break;
		*end++ = **at;
	}
	*end = '\0';
	return name;
}

/* "s.\"my table\"(id) ...", or NULL if it is no foreign key. */
static const char *referred(const struct constraint *c)
{
	static const char references[] = ") REFERENCES ";

	const char *at = c->kind == CONSTRAINT_FOREIGN
			     ? strstr(c->definition, references)
			     : NULL;

	return at == NULL ? NULL : at + strlen(references);
}

bool constraint_refers_to(const struct constraint *c, const char *ref)
{
	const char *at = referred(c);
	size_t len = strlen(ref);

	return at != NULL && strncmp(at, ref, len) == 0 && at[len] == '(';
}

const char *constraint_target(const struct constraint *c, struct arena *a)
{
	const char *at = referred(c), *name;

	if (at == NULL)
		return NULL;
	name = read_name(&at, a);
	if (*at != '.')
		return name;
	at++;
	return read_name(&at, a);
}

const struct constraint *relation_find_unique(const struct relation *r,
					      const char *name)
{
	for (size_t i = 0; i < r->n_constraints; i++) {
		const struct constraint *c = &r->constraints[i];

		if (strcmp(c->name, name) == 0 &&
		    (c->kind == CONSTRAINT_PRIMARY ||
		     c->kind == CONSTRAINT_UNIQUE))
			return c;
	}
	return NULL;
}

size_t relation_count_unique(const struct relation *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_constraints; i++)
		n += r->constraints[i].kind == CONSTRAINT_PRIMARY ||
		     r->constraints[i].kind == CONSTRAINT_UNIQUE ||
		     r->constraints[i].kind == CONSTRAINT_EXCLUSION;
	for (size_t i = 0; i < r->n_indexes; i++)
		n += r->indexes[i].unique;
	return n;
}

const struct constraint *relation_find_constraint(const struct relation *r,
						  const char *name)
{
	for (size_t i = 0; i < r->n_constraints; i++)
		if (strcmp(r->constraints[i].name, name) == 0)
			return &r->constraints[i];
	return NULL;
}

/*
 * What a lens asks of its specification and of both relations: entries that
 * speak of columns that there are, and a key that is carried and unique.
 */
#include "rewrite/lens/lens_compile.h"

#include <string.h>

#include "rewrite/lens/template.h"

static bool check_entry(const struct lens_compile *c,
			const struct spec_column *e)
{
	for (size_t i = 0; i < e->n_old; i++)
		if (lens_find_column(c->old, e->old[i]) == NOWHERE)
			return lens_fail(
			    c, e->line, "column \"%s\" does not exist in %s.%s",
			    e->old[i], c->old->schema, c->old->name);
	if (lens_entry_of_new(c, e->new_name) != e)
		return lens_fail(c, e->line, "column \"%s\" is made twice",
				 e->new_name);
	if (e->forward == NULL && e->n_old > 1)
		return lens_fail(c, e->line,
				 "column \"%s\" is made of several: "
				 "forward is needed",
				 e->new_name);
	if (e->bijective && e->n_old > 1)
		return lens_fail(c, e->line,
				 "column \"%s\" is made of several: it "
				 "cannot be bijective",
				 e->new_name);
	if (e->order == ORDER_PRESERVING && !e->bijective)
		return lens_fail(
		    c, e->line,
		    "column \"%s\": order: preserving is for what is "
		    "bijective",
		    e->new_name);
	if (e->new_type != NULL && !type_check(e->new_type, c->p))
		return lens_fail_again(c, e->line);
	return true;
}

bool lens_check_entries(const struct lens_compile *c)
{
	for (size_t i = 0; i < c->in->n_columns; i++) {
		const struct spec_column *e = &c->in->columns[i];

		if (lens_find_column(c->new, e->new_name) == NOWHERE)
			return lens_fail(
			    c, e->line, "column \"%s\" does not exist in %s.%s",
			    e->new_name, c->new->schema, c->new->name);
	}
	return true;
}

/* Do these columns, in any order, make the key? */
static bool is_key(const struct lens_compile *c, size_t n,
		   const char *const *columns)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; columns[i] && j < c->in->n_key; j++)
			found += strcmp(columns[i], c->in->key[j].old) == 0;
	return n == c->in->n_key && found == n;
}

static bool has_unique_key(const struct lens_compile *c)
{
	for (size_t i = 0; i < c->old->n_constraints; i++) {
		const struct constraint *k = &c->old->constraints[i];

		if ((k->kind == CONSTRAINT_PRIMARY ||
		     k->kind == CONSTRAINT_UNIQUE) &&
		    !k->deferrable && is_key(c, k->n_columns, k->columns))
			return true;
	}
	for (size_t i = 0; i < c->old->n_indexes; i++) {
		const struct index *x = &c->old->indexes[i];

		if (x->unique && strstr(x->definition, " WHERE ") == NULL &&
		    is_key(c, x->n_columns, x->columns))
			return true;
	}
	return false;
}

bool lens_compile_key(const struct lens_compile *c, struct lens_key *key)
{
	for (size_t i = 0; i < c->in->n_key; i++) {
		const struct spec_key *k = &c->in->key[i];
		int old = lens_find_column(c->old, k->old);

		if (old == NOWHERE)
			return lens_fail(c, c->in->line,
					 "key column \"%s\" does "
					 "not exist in %s.%s",
					 k->old, c->old->schema, c->old->name);
		if (!c->olds[old].carried || lens_find_column(c->new, k->new) !=
						 (int)c->olds[old].new_index)
			return lens_fail(
			    c, c->in->line,
			    "key column \"%s\" must "
			    "be carried to \"%s\" with the same type",
			    k->old, k->new);
		if (!c->old->columns[old].not_null)
			return lens_fail(
			    c, c->in->line,
			    "key column \"%s\" may be NULL in %s.%s", k->old,
			    c->old->schema, c->old->name);
		key[i].old_index = (unsigned)old;
		key[i].new_index = c->olds[old].new_index;
	}
	if (!has_unique_key(c))
		return lens_fail(c, c->in->line,
				 "%s.%s has no primary key or "
				 "unique index on exactly the key's columns",
				 c->old->schema, c->old->name);
	return true;
}

bool lens_check_input(const struct lens_compile *c)
{
	if (!lens_is_in_place(c) &&
	    strcmp(c->in->old.schema, c->in->new.schema) == 0 &&
	    strcmp(c->in->old.name, c->in->new.name) == 0)
		return lens_fail(c, c->in->line,
				 "old and new are one relation");
	if (c->in->n_key == 0)
		return lens_fail(c, c->in->line, "a lens needs a key");
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (!check_entry(c, &c->in->columns[i]))
			return false;
	return true;
}

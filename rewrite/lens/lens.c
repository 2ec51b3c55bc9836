/*
 * How a lens is compiled:
 *
 *   1. the new side (lens_new.c): the columns of the relation, or, while it
 *      does not exist, what the specification makes of the old ones;
 *   2. the mappings (lens_map.c): a new column comes from the entry that names
 * it, or from the old column that is carried over by its name, or is an extra
 * one; carried columns are tied to each other, the expressions of the others
 *      are cut (rewrite/lens/template.h);
 *   3. the checks (lens_check.c): every old column has one way back, every
 * extra column does without the lens, and the key is carried and unique.
 */
#include "rewrite/lens/lens.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/lens_compile.h"

bool lens_fail(const struct lens_compile *c, unsigned line, const char *fmt,
	       ...)
{
	char message[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	return problem_set(c->p, "F0000", "%s:%u: %s", c->spec->file, line,
			   message);
}

bool lens_fail_again(const struct lens_compile *c, unsigned line)
{
	struct problem inner = *c->p;

	lens_fail(c, line, "%s", inner.message);
	problem_detail(c->p, "%s", inner.detail);
	return false;
}

bool lens_is_in_place(const struct lens_compile *c)
{
	return c->in->kind == LENS_COLUMNS;
}

int lens_find_column(const struct relation *r, const char *name)
{
	const struct column *column = relation_find_column(r, name);

	return column == NULL ? NOWHERE : (int)(column - r->columns);
}

const struct spec_column *lens_entry_of_new(const struct lens_compile *c,
					    const char *name)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (strcmp(c->in->columns[i].new_name, name) == 0)
			return &c->in->columns[i];
	return NULL;
}

bool entry_uses_old(const struct spec_column *e, const char *old)
{
	for (size_t i = 0; i < e->n_old; i++)
		if (strcmp(e->old[i], old) == 0)
			return true;
	return false;
}

static bool is_replaced(const struct lens_compile *c, const char *column)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (entry_uses_old(&c->in->columns[i], column))
			return true;
	return false;
}

const char *lens_carried_name(const struct lens_compile *c, const char *old)
{
	if (is_replaced(c, old))
		return NULL;
	for (size_t i = 0; i < c->in->n_key; i++)
		if (strcmp(c->in->key[i].old, old) == 0)
			return c->in->key[i].new;
	return old;
}

bool entry_is_plain(const struct spec_column *e)
{
	return e->n_old == 1 && e->forward == NULL && e->reverse == NULL;
}

/* Both models in one table. */

static bool has_added(const struct lens_compile *c, const struct relation *live)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (lens_find_column(live, c->in->columns[i].new_name) !=
		    NOWHERE)
			return true;
	return false;
}

/* The table as it stands, without the columns that will go. */
static const struct relation *without_old(const struct lens_compile *c,
					  const struct relation *live)
{
	struct relation *new = arena_alloc(c->a, sizeof(*new));
	struct column *columns =
	    arena_alloc(c->a, (live->n_columns + 1) * sizeof(*columns));

	*new = *live;
	new->n_columns = 0;
	new->columns = columns;
	for (size_t i = 0; i < live->n_columns; i++)
		if (!is_replaced(c, live->columns[i].name))
			columns[new->n_columns++] = live->columns[i];
	return new;
}

static bool check_in_place(const struct lens_compile *c)
{
	for (size_t i = 0; i < c->old->n_columns; i++) {
		const struct column *o = &c->old->columns[i];

		if (is_replaced(c, o->name) && (o->generated || o->identity))
			return lens_fail(
			    c, c->in->line,
			    "column \"%s\" is %s: it cannot be "
			    "replaced in its own table",
			    o->name,
			    o->generated ? "generated" : "an identity");
	}
	if (!has_added(c, c->old))
		return true;
	return lens_fail(c, c->in->line,
			 "a new column is in %s.%s already, before the phase "
			 "expanded adds it",
			 c->old->schema, c->old->name);
}

/* `live` is the table once the old model's description is a stored one.  What
 * the new columns are to be is worked out in any case. */
static bool compile_in_place(struct lens_compile *c,
			     const struct relation *live)
{
	if (!check_in_place(c) || !lens_derive_new(c))
		return false;
	c->wanted = c->new;
	if (live != NULL && has_added(c, live))
		c->new = without_old(c, live);
	return true;
}

/* Before the specification's own statements have run, what they make is not
 * known. */
static const struct known_names *known_names(const struct lens_compile *c,
					     const struct relation *new)
{
	bool made = new != NULL && (!lens_is_in_place(c) || has_added(c, new));

	if (c->spec->expand != NULL && !made)
		return NULL;
	return new != NULL &&new->known != NULL ? new->known : c->old->known;
}

static void name_objects(struct lens *l, struct arena *a)
{
	l->old_ref = quote_qualified(l->old->schema, l->old->name, a);
	l->new_ref = quote_qualified(l->new->schema, l->new->name, a);
	l->shape_ref = lens_own_ref(l, "shape", a);
	l->lens_ref = lens_own_ref(l, "lens", a);
	l->to_new_ref = lens_own_ref(l, "to_new", a);
	l->to_old_ref = lens_own_ref(l, "to_old", a);
	l->lock_old_ref = lens_own_ref(l, "lock_old", a);
	l->old_view_ref = lens_own_ref(l, "old", a);
	l->new_view_ref = lens_own_ref(l, "new", a);
}

void lens_fill(struct lens *l, const struct lens_compile *c, unsigned number,
	       const struct lens_key *key)
{
	*l = (struct lens){
	    .migration = c->spec->name,
	    .husk = c->spec->husk == HUSK_KEEP && c->spec->ddl == DDL_GENERATED,
	    .number = number,
	    .depth = 1,
	    .kind = c->in->kind,
	    .old = c->old,
	    .new = c->new,
	    .child = l->child,
	    .n_old = c->old->n_columns,
	    .olds = c->olds,
	    .n_new = c->new->n_columns,
	    .news = c->news,
	    .n_key = c->in->n_key,
	    .key = key};
	name_objects(l, c->a);
}

/* The old relation is the new one too, without the columns that move. */
static bool compile_child(struct lens_compile *c, unsigned number,
			  struct lens *ret)
{
	const struct lens_child *child;

	if (!lens_child_compile(c, number, &child))
		return false;
	ret->child = child;
	lens_begin_columns(c);
	for (unsigned i = 0; i < c->new->n_columns; i++)
		lens_tie(
		    c,
		    (unsigned)lens_find_column(c->old, c->new->columns[i].name),
		    i);
	return true;
}

bool lens_compile(const struct spec *spec, unsigned number,
		  const struct relation *old, const struct relation *new,
		  struct arena *a, const struct lens **ret, struct problem *p)
{
	const struct spec_lens *in = &spec->lenses[number - 1];
	struct lens_compile c = {
	    .spec = spec, .in = in, .old = old, .new = new, .a = a, .p = p};
	struct lens_key *key = arena_alloc(a, (in->n_key + 1) * sizeof(*key));
	struct lens *l = arena_alloc(a, sizeof(*l));

	assert(in->kind != LENS_MERGE);
	if (in->kind == LENS_CHILD) {
		if (!compile_child(&c, number, l) || !lens_compile_key(&c, key))
			return false;
		lens_fill(l, &c, number, key);
		*ret = l;
		return true;
	}
	c.known = known_names(&c, new);
	if (!lens_check_input(&c) ||
	    (lens_is_in_place(&c) ? !compile_in_place(&c, new)
				  : new == NULL && !lens_derive_new(&c)) ||
	    !lens_check_entries(&c) || !lens_compile_columns(&c) ||
	    !lens_compile_key(&c, key))
		return false;
	lens_fill(l, &c, number, key);
	*ret = l;
	return true;
}

/*
 * A merge: two old relations, each with its half of the new one.
 */
#include <string.h>

#include "rewrite/lens/lens_compile.h"
#include "rewrite/text/sqltext.h"

static bool is_from(const struct spec_name *from, const struct relation *r)
{
	return from->name == NULL || (strcmp(from->schema, r->schema) == 0 &&
				      strcmp(from->name, r->name) == 0);
}

/* Leaves a half with the entries that are its own. */
static bool take_entries(struct lens_compile *c, const struct relation *other)
{
	const struct spec_lens *all = c->in;
	struct spec_lens *own = arena_alloc(c->a, sizeof(*own));
	struct spec_column *columns =
	    arena_alloc(c->a, (all->n_columns + 1) * sizeof(*columns));

	*own = *all;
	own->n_columns = 0;
	own->columns = columns;
	for (size_t i = 0; i < all->n_columns; i++) {
		const struct spec_column *e = &all->columns[i];
		bool here = lens_find_column(c->old, e->old[0]) != NOWHERE;
		bool there = lens_find_column(other, e->old[0]) != NOWHERE;

		if (e->from.name == NULL && here && there)
			return lens_fail(c, e->line,
					 "both %s.%s and %s.%s have a column "
					 "\"%s\": say which with from",
					 c->old->schema, c->old->name,
					 other->schema, other->name, e->old[0]);
		if (e->from.name == NULL ? here || !there
					 : is_from(&e->from, c->old))
			columns[own->n_columns++] = *e;
	}
	c->in = own;
	return true;
}

static bool is_key_of_new(const struct lens_compile *c, const char *name)
{
	for (size_t i = 0; i < c->in->n_key; i++)
		if (strcmp(c->in->key[i].new, name) == 0)
			return true;
	return false;
}

/* A half may be missing: its columns are NULL then, whatever their defaults.
 */
static void join_half(const struct lens_compile *c, bool with_key,
		      struct column *columns, size_t *n)
{
	for (size_t i = 0; i < c->new->n_columns; i++) {
		bool key = is_key_of_new(c, c->new->columns[i].name);
		struct column *to = &columns[*n];

		if (key && !with_key)
			continue;
		*to = c->new->columns[i];
		to->attnum = (int16_t)(++*n);
		if (key)
			continue;
		to->not_null = false;
		if (!to->generated)
			to->default_expr = NULL;
		to->identity = 0;
	}
}

/* The new relation has the first one's columns, then the second's. */
static bool join_new(struct lens_compile half[2])
{
	const struct lens_compile *c = &half[0];
	struct relation *new = arena_alloc(c->a, sizeof(*new));
	struct column *columns = arena_alloc(
	    c->a, (half[0].new->n_columns + half[1].new->n_columns) *
		      sizeof(*columns));
	size_t n = 0;

	join_half(&half[0], true, columns, &n);
	join_half(&half[1], false, columns, &n);
	*new = *half[0].new;
	new->n_columns = n;
	new->columns = columns;
	for (size_t i = 0; i < n; i++)
		if (lens_find_column(new, columns[i].name) != (int)i)
			return lens_fail(
			    c, c->in->line,
			    "both old tables make a column \"%s\" of "
			    "%s.%s: rename one (old, new, from)",
			    columns[i].name, new->schema, new->name);
	half[0].new = half[1].new = new;
	return true;
}

/* A column of N that tells whether there is a row of this half. */
static bool find_marker(const struct lens_compile *c, const struct lens *l,
			unsigned *ret)
{
	for (unsigned i = 0; i < l->n_old; i++) {
		const struct column *old = l->olds[i].column, *new;

		if (!l->olds[i].carried || !old->not_null || old->generated)
			continue;
		new = &l->new->columns[l->olds[i].new_index];
		if (is_key_of_new(c, new->name) || new->default_expr != NULL ||
		    new->identity)
			continue;
		*ret = l->olds[i].new_index;
		return true;
	}
	lens_fail(c, c->in->line,
		  "%s.%s has no column that tells whether its row is there",
		  l->old->schema, l->old->name);
	problem_detail(c->p, "It takes a column that is NOT NULL, not of the "
			     "key, not converted, and without a default in "
			     "the new table.");
	problem_hint(c->p, "Add one to the old table, or make one NOT NULL.");
	return false;
}

/* The new relation has one key where the old ones have two. */
static bool check_looks(const struct lens_compile *c, const struct lens *l)
{
	for (size_t i = 0; i < l->n_key; i++) {
		const struct column *key =
		    &l->old->columns[l->key[i].old_index];

		if (!key->loose)
			continue;
		lens_fail(c, c->in->line,
			  "key column \"%s\" of %s.%s, %s, may look "
			  "different in the two old tables",
			  key->name, l->old->schema, l->old->name, key->type);
		problem_detail(c->p, "Values of this type that are equal need "
				     "not be the same, and the new table has "
				     "one for both.");
		return false;
	}
	return true;
}

static bool check_halves(const struct lens_compile *c, const struct lens *first,
			 const struct lens *second)
{
	for (unsigned i = 0; i < first->n_new; i++) {
		const char *name = first->new->columns[i].name;

		if (first->news[i].extra || second->news[i].extra ||
		    is_key_of_new(c, name))
			continue;
		return lens_fail(c, c->in->line,
				 "column \"%s\" of %s.%s is made of both old "
				 "tables",
				 name, first->new->schema, first->new->name);
	}
	if (!check_looks(c, first))
		return false;
	for (size_t i = 0; i < first->n_key; i++)
		if (first->key[i].new_index != second->key[i].new_index ||
		    second->old->columns[second->key[i].old_index].identity)
			return lens_fail(
			    c, c->in->line,
			    "the key of %s.%s must be that of %s.%s, "
			    "and no identity",
			    second->old->schema, second->old->name,
			    first->old->schema, first->old->name);
	return true;
}

/* Which columns of the joined relation the half alone would have NOT NULL;
 * none where the relation is there already. */
static const bool *required(const struct relation *alone,
			    const struct relation *joined, struct arena *a)
{
	bool *all = arena_alloc(a, joined->n_columns + 1);

	for (size_t i = 0; i < joined->n_columns; i++) {
		const struct column *c =
		    relation_find_column(alone, joined->columns[i].name);

		all[i] = alone != joined && c != NULL && c->not_null &&
			 !joined->columns[i].not_null;
	}
	return all;
}

const char *lens_half_check(const struct lens *l, unsigned new_index,
			    struct arena *a)
{
	return arena_fmt(a, "%.40s_%u_given", l->new->columns[new_index].name,
			 l->number);
}

const char *lens_one_half_check(const struct lens *l, struct arena *a)
{
	return arena_fmt(a, "%.40s_one_half", l->new->name);
}

bool lens_fills(const struct lens *l)
{
	return l->half != NULL && l->half->link != HALF_LEADS;
}

bool lens_cuts(const struct lens *l)
{
	return l->half != NULL &&
	       !(l->half->link == HALF_LEADS && l->half->deletes);
}

/* "(a, b)": the columns of a foreign key of `from`'s key, in its order, by
 * their names in `to`; NULL if it has others. */
static const char *tied_columns(const struct constraint *k,
				const struct lens *from, const struct lens *to,
				struct arena *a)
{
	struct sqltext t;
	size_t found = 0;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < k->n_columns; i++)
		for (size_t n = 0; n < from->n_key; n++) {
			const struct column *c =
			    &from->old->columns[from->key[n].old_index];

			if (strcmp(k->columns[i], c->name) != 0)
				continue;
			c = &to->old->columns[to->key[n].old_index];
			sqltext_item(&t, ", ", "%s", quote_name(c->name, a));
			found++;
		}
	return found == k->n_columns && found == from->n_key
		   ? arena_fmt(a, "(%s)", t.s)
		   : NULL;
}

/* What stands behind "REFERENCES leader(key)" in the definition of such a
 * foreign key; NULL if it is another one. */
static const char *tie_actions(const struct constraint *k,
			       const struct lens *from, const struct lens *to,
			       struct arena *a)
{
	static const char references[] = ") REFERENCES ";
	const char *columns, *target, *rest;

	if (k->kind != CONSTRAINT_FOREIGN || k->deferrable)
		return NULL;
	columns = tied_columns(k, from, to, a);
	rest = strstr(k->definition, references);
	if (columns == NULL || rest == NULL)
		return NULL;
	rest += sizeof(references) - 1;
	target = arena_fmt(a, "%s%s", to->old_ref, columns);
	if (strncmp(rest, target, strlen(target)) != 0)
		return NULL;
	rest += strlen(target);
	return strstr(rest, "SET ") != NULL || strstr(rest, "NOT VALID") != NULL
		   ? NULL
		   : rest;
}

static void tie_to(struct lens_half *follower, struct lens_half *leader,
		   const struct constraint *k, const char *actions)
{
	follower->link = HALF_FOLLOWS;
	leader->link = HALF_LEADS;
	follower->tie = leader->tie = k;
	follower->deletes = leader->deletes =
	    strstr(actions, "ON DELETE CASCADE") != NULL;
	follower->moves = leader->moves =
	    strstr(actions, "ON UPDATE CASCADE") != NULL;
}

static void find_tie(struct lens *l[2], struct lens_half *h[2], struct arena *a)
{
	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < l[i]->old->n_constraints; k++) {
			const struct constraint *c = &l[i]->old->constraints[k];
			const char *actions = tie_actions(c, l[i], l[1 - i], a);

			if (actions == NULL || h[i]->link != HALF_ALONE)
				continue;
			tie_to(h[i], h[1 - i], c, actions);
		}
}

static void tie_halves(struct lens *l[2], const unsigned marker[2],
		       const struct relation *const alone[2], struct arena *a)
{
	struct lens_half *h[2];

	for (int i = 0; i < 2; i++) {
		h[i] = arena_alloc(a, sizeof(*h[i]));
		*h[i] = (struct lens_half){
		    .marker = marker[i],
		    .other_marker = marker[1 - i],
		    .other = l[1 - i],
		    .second = i == 1,
		    .required = required(alone[i], l[i]->new, a),
		    .rows_ref = arena_fmt(
			a, "(SELECT * FROM %s WHERE %s IS NOT NULL)",
			l[i]->new_ref,
			quote_name(l[i]->new->columns[marker[i]].name, a)),
		    .fill_ref = lens_own_ref(l[i], "fill", a),
		    .cut_ref = lens_own_ref(l[i], "cut", a),
		    .claim_ref = lens_own_ref(l[i], "claim", a),
		    .present_ref = lens_own_ref(l[i], "present", a),
		};
		l[i]->half = h[i];
	}
	find_tie(l, h, a);
}

/* Both sides are known. */
static bool compile_half(struct lens_compile *c, unsigned number,
			 struct lens **ret)
{
	struct lens_key *key =
	    arena_alloc(c->a, (c->in->n_key + 1) * sizeof(*key));
	struct lens *l = arena_alloc(c->a, sizeof(*l));

	if (!lens_check_entries(c) || !lens_compile_columns(c) ||
	    !lens_compile_key(c, key))
		return false;
	lens_fill(l, c, number, key);
	*ret = l;
	return true;
}

bool lens_compile_merge(const struct spec *spec, unsigned number,
			const struct relation *const old[2],
			const struct relation *new, struct arena *a,
			const struct lens *ret[2], struct problem *p)
{
	struct lens_compile c[2];
	struct lens *l[2];
	unsigned marker[2];
	const struct relation *alone[2];

	for (int i = 0; i < 2; i++) {
		c[i] = (struct lens_compile){
		    .spec = spec,
		    .in = &spec->lenses[number - 1 + (unsigned)i],
		    .old = old[i],
		    .new = new,
		    .a = a,
		    .p = p};
		if (!take_entries(&c[i], old[1 - i]) ||
		    !lens_check_input(&c[i]) ||
		    (new == NULL && !lens_derive_new(&c[i])))
			return false;
	}
	alone[0] = c[0].new;
	alone[1] = c[1].new;
	if (new == NULL && !join_new(c))
		return false;
	for (int i = 0; i < 2; i++)
		if (!compile_half(&c[i], number + (unsigned)i, &l[i]) ||
		    !find_marker(&c[i], l[i], &marker[i]))
			return false;
	if (!check_halves(&c[0], l[0], l[1]))
		return false;
	tie_halves(l, marker, alone, a);
	ret[0] = l[0];
	ret[1] = l[1];
	return true;
}

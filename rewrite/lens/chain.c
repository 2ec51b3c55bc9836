#include "rewrite/lens/chain.h"

#include <string.h>

#include "rewrite/text/sqltext.h"
#include "rewrite/lens/template.h"

struct chain {
	const struct lens *first, *second;
	struct arena *a;
	struct problem *p;
};

static bool fail(const struct chain *c, const char *column, const char *why)
{
	problem_set(c->p, "0A000",
		    "migration \"%s\" cannot be read through migration "
		    "\"%s\": column \"%s\" of %s %s",
		    c->first->migration, c->second->migration, column,
		    c->first->new_ref, why);
	return false;
}

/* The two may have described the relation between them at two times: its
 * columns are told apart by name. */
static int in_second(const struct chain *c, unsigned first_new)
{
	const struct relation *r = c->second->old;
	const struct column *found =
	    relation_find_column(r, c->first->new->columns[first_new].name);

	return found == NULL ? -1 : (int)(found - r->columns);
}

static int in_first(const struct chain *c, unsigned second_old)
{
	const struct relation *r = c->first->new;
	const struct column *found =
	    relation_find_column(r, c->second->old->columns[second_old].name);

	return found == NULL ? -1 : (int)(found - r->columns);
}

/* A template while it is put together. */
struct joiner {
	struct sqltext piece;
	const char **text;
	unsigned *column;
	size_t n;
};

static void joiner_begin(struct joiner *j, size_t most, struct arena *a)
{
	sqltext_begin(&j->piece, a);
	j->text = arena_alloc(a, (most + 1) * sizeof(*j->text));
	j->column = arena_alloc(a, (most + 1) * sizeof(*j->column));
	j->n = 0;
}

static void put_column(struct joiner *j, unsigned column)
{
	j->text[j->n] = j->piece.s;
	j->column[j->n++] = column;
	sqltext_begin(&j->piece, j->piece.a);
}

/* The inner expression in the place of a column, as that column's type. */
static void put_value(struct joiner *j, const struct template *t,
		      const char *type)
{
	sqltext_put(&j->piece, "CAST((");
	for (size_t i = 0; i < t->n; i++) {
		sqltext_put(&j->piece, "%s", t->text[i]);
		put_column(j, t->column[i]);
	}
	sqltext_put(&j->piece, "%s) AS %s)", t->text[t->n], type);
}

static void joiner_end(struct joiner *j, struct template *ret)
{
	j->text[j->n] = j->piece.s;
	*ret =
	    (struct template){.n = j->n, .text = j->text, .column = j->column};
}

/* What a new column is made of: second's expression, with first's in the place
 * of the columns that stand between. */
static bool join_forward(const struct chain *c, const struct template *outer,
			 struct template *ret)
{
	struct joiner j;
	size_t most = 0;

	for (size_t i = 0; i < outer->n; i++) {
		int at = in_first(c, outer->column[i]);

		most += at < 0 ? 0 : c->first->news[at].forward.n + 1;
	}
	joiner_begin(&j, most, c->a);
	for (size_t i = 0; i < outer->n; i++) {
		int at = in_first(c, outer->column[i]);
		const struct lens_new *n = at < 0 ? NULL : &c->first->news[at];

		if (n == NULL || n->extra)
			return fail(
			    c, c->second->old->columns[outer->column[i]].name,
			    "is converted together with others, and has no "
			    "counterpart in the oldest model");
		sqltext_put(&j.piece, "%s", outer->text[i]);
		if (n->carried)
			put_column(&j, n->old_index);
		else
			put_value(
			    &j, &n->forward,
			    type_before_assignment(n->column->type, c->a));
	}
	sqltext_put(&j.piece, "%s", outer->text[outer->n]);
	joiner_end(&j, ret);
	return true;
}

/* The same the other way, for an old column. */
static bool join_reverse(const struct chain *c, const struct template *outer,
			 struct template *ret)
{
	struct joiner j;
	size_t most = 0;

	for (size_t i = 0; i < outer->n; i++) {
		int at = in_second(c, outer->column[i]);

		if (at < 0)
			return fail(
			    c, c->first->new->columns[outer->column[i]].name,
			    "is gone");
		most += c->second->olds[at].reverse.n + 1;
	}
	joiner_begin(&j, most, c->a);
	for (size_t i = 0; i < outer->n; i++) {
		const struct lens_old *o =
		    &c->second->olds[in_second(c, outer->column[i])];

		sqltext_put(&j.piece, "%s", outer->text[i]);
		if (o->carried)
			put_column(&j, o->new_index);
		else
			put_value(&j, &o->reverse, o->column->type);
	}
	sqltext_put(&j.piece, "%s", outer->text[outer->n]);
	joiner_end(&j, ret);
	return true;
}

/* Is second's new column made of nothing that the oldest model has? */
static bool is_extra(const struct chain *c, const struct lens_new *n)
{
	const struct template *t = &n->forward;
	int at;

	if (n->extra)
		return true;
	if (n->carried) {
		at = in_first(c, n->old_index);
		return at < 0 || c->first->news[at].extra;
	}
	for (size_t i = 0; i < t->n; i++) {
		at = in_first(c, t->column[i]);
		if (at >= 0 && !c->first->news[at].extra)
			return false;
	}
	return true;
}

static bool join_new(const struct chain *c, const struct lens_new *outer,
		     struct lens_new *ret)
{
	const struct lens_new *n;

	*ret = (struct lens_new){.column = outer->column};
	ret->extra = is_extra(c, outer);
	if (ret->extra)
		return true;
	if (!outer->carried) {
		ret->bijective = outer->bijective;
		for (size_t i = 0; i < outer->forward.n; i++) {
			int at = in_first(c, outer->forward.column[i]);

			ret->bijective &=
			    at >= 0 && c->first->news[at].bijective;
		}
		return join_forward(c, &outer->forward, &ret->forward);
	}
	n = &c->first->news[in_first(c, outer->old_index)];
	ret->carried = n->carried;
	ret->old_index = n->old_index;
	ret->forward = n->forward;
	ret->bijective = n->bijective;
	return true;
}

static bool join_old(const struct chain *c, const struct lens_old *inner,
		     struct lens_old *ret)
{
	const struct lens_old *o;
	int at;

	*ret = (struct lens_old){.column = inner->column};
	if (!inner->carried) {
		ret->bijective = inner->bijective;
		for (size_t i = 0; i < inner->reverse.n; i++) {
			at = in_second(c, inner->reverse.column[i]);
			ret->bijective &=
			    at >= 0 && c->second->olds[at].bijective;
		}
		return join_reverse(c, &inner->reverse, &ret->reverse);
	}
	at = in_second(c, inner->new_index);
	if (at < 0)
		return fail(c, c->first->new->columns[inner->new_index].name,
			    "is gone");
	o = &c->second->olds[at];
	ret->carried = o->carried;
	ret->new_index = o->new_index;
	ret->reverse = o->reverse;
	ret->bijective = o->bijective;
	return true;
}

/* Second's key, told in first's old columns; the other index is first's new
 * column's. */
static bool join_key(const struct chain *c, struct lens_key *ret)
{
	for (size_t i = 0; i < c->second->n_key; i++) {
		unsigned between = c->second->key[i].old_index;
		int at = in_first(c, between);

		if (at < 0 || !c->first->news[at].carried)
			return fail(c, c->second->old->columns[between].name,
				    "is of the key, and not carried over from "
				    "the oldest model");
		ret[i].old_index = c->first->news[at].old_index;
		ret[i].new_index = (unsigned)at;
	}
	return true;
}

static bool chain_begin(struct chain *c, struct lens **ret,
			struct lens_key **ret_key)
{
	if (c->first->kind != LENS_TABLE || c->second->kind != LENS_TABLE) {
		problem_set(c->p, "0A000",
			    "migration \"%s\" cannot be read through "
			    "migration \"%s\": both must be of kind table",
			    c->first->migration, c->second->migration);
		return false;
	}
	*ret = arena_alloc(c->a, sizeof(**ret));
	**ret = *c->first;
	*ret_key =
	    arena_alloc(c->a, c->second->n_key * sizeof(struct lens_key));
	(*ret)->n_key = c->second->n_key;
	(*ret)->key = *ret_key;
	return join_key(c, *ret_key);
}

static const char *lens_view(const struct lens *l, struct arena *a)
{
	return quote_qualified(
	    "pgtandem",
	    arena_fmt(a, "%s_%u_lens%u", l->migration, l->number, l->depth), a);
}

bool chain_compose(const struct lens *first, const struct lens *second,
		   struct arena *a, const struct lens **ret, struct problem *p)
{
	struct chain c = {.first = first, .second = second, .a = a, .p = p};
	struct lens_old *olds = arena_alloc(a, first->n_old * sizeof(*olds));
	struct lens_new *news = arena_alloc(a, second->n_new * sizeof(*news));
	struct lens_key *key;
	struct lens *l;

	if (!chain_begin(&c, &l, &key))
		return false;
	for (size_t i = 0; i < second->n_key; i++)
		key[i].new_index = second->key[i].new_index;
	for (size_t i = 0; i < first->n_old; i++)
		if (!join_old(&c, &first->olds[i], &olds[i]))
			return false;
	for (size_t i = 0; i < second->n_new; i++)
		if (!join_new(&c, &second->news[i], &news[i]))
			return false;
	l->depth = first->depth + 1;
	l->olds = olds;
	l->later = second;
	l->new = second->new;
	l->n_new = second->n_new;
	l->news = news;
	l->new_ref = second->new_ref;
	l->old_ref = second->old_ref;
	l->lens_ref = lens_view(l, a);
	l->to_old_ref = second->to_old_ref;
	l->lock_old_ref = second->lock_old_ref;
	*ret = l;
	return true;
}

bool chain_beside(const struct lens *first, const struct lens *second,
		  struct arena *a, const struct lens **ret, struct problem *p)
{
	struct chain c = {.first = first, .second = second, .a = a, .p = p};
	struct lens_key *key;
	struct lens *l;

	if (!chain_begin(&c, &l, &key))
		return false;
	l->old_ref = second->new_ref;
	l->to_old_ref = second->to_new_ref;
	*ret = l;
	return true;
}

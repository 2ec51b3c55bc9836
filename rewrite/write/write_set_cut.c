/*
 * What a SET list assigns: its items, the columns that they feed, and whether
 * a lens can have them.
 */
#include "rewrite/write/write_set.h"

#include <string.h>

#include "rewrite/lens/template.h"
#include "rewrite/write/write_child.h"

bool set_refuse(struct set *s, const char *clause, const char *hint)
{
	return statement_refuse(s->st, s->target->name, clause,
				"The column is converted by the lens.", hint);
}

/* The comma, or the end, behind the token i, at its depth. */
static size_t item_end(const struct statement *st, size_t i, size_t end)
{
	unsigned depth = st->tokens->v[i].depth;

	while (i < end && !(st->tokens->v[i].punct == ',' &&
			    st->tokens->v[i].depth == depth))
		i++;
	return i;
}

static size_t find_equals(const struct statement *st, size_t i, size_t end)
{
	unsigned depth = st->tokens->v[i].depth;

	while (i < end && !(st->tokens->v[i].kind == TOKEN_OPERATOR &&
			    st->tokens->v[i].depth == depth))
		i++;
	return i;
}

/* Cuts (X, Y) into the values of the item's assignments. */
static bool cut_row(struct set *s, struct item *item, const RowExpr *row)
{
	const struct statement *st = s->st;
	size_t open = item->value.first, close, at;

	if (token_is(st->tokens, open, "row"))
		open++;
	close = item->value.end - 1;
	if (list_length(row->args) != (int)item->n ||
	    span_closing(st, open) != close)
		return set_refuse(s, "a row of this form in SET",
				  "Assign the columns one by one.");
	at = open + 1;
	for (size_t i = 0; i < item->n; i++) {
		size_t end = item_end(st, at, close);

		s->v[item->first_assignment + i].value = (struct span){at, end};
		at = end + 1;
	}
	return true;
}

/* One item at token `at`, whose first target is assignment `n`. */
static bool cut_item(struct set *s, size_t at, size_t end, size_t n)
{
	const struct statement *st = s->st;
	const MultiAssignRef *multi =
	    (const MultiAssignRef *)s->v[n].target->val;
	struct item *item = &s->items[s->n_items++];
	size_t equals = find_equals(st, at, end);

	item->first_assignment = n;
	item->names = (struct span){at, equals};
	item->value = (struct span){equals + 1, item_end(st, equals + 1, end)};
	item->all = (struct span){at, item->value.end};
	item->n = 1;
	s->v[n].value = item->value;
	if (!IsA(multi, MultiAssignRef))
		return true;
	item->n = (size_t)multi->ncolumns;
	item->row = IsA(multi->source, RowExpr);
	item->subselect = !item->row;
	if (item->row)
		return cut_row(s, item, (const RowExpr *)multi->source);
	return IsA(multi->source, SubLink) ||
	       set_refuse(s, "a source of this form in SET",
			  "Assign the columns one by one.");
}

bool set_cut(struct set *s, struct span list)
{
	size_t at = list.first;

	for (size_t n = 0; n < s->n;) {
		if (!cut_item(s, at, list.end, n))
			return false;
		n += s->items[s->n_items - 1].n;
		at = s->items[s->n_items - 1].all.end + 1;
	}
	return true;
}

bool set_is_converted(const struct lens *l, unsigned new)
{
	return !l->news[new].carried && !l->news[new].extra &&
	       l->news[new].column->generated == 0;
}

const struct assignment *set_find(const struct set *s, unsigned old)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].old == (int)old)
			return &s->v[i];
	return NULL;
}

static bool has_other_feeder(const struct set *s, unsigned new,
			     const struct assignment *a)
{
	const struct template *t = &s->l->news[new].forward;

	for (size_t i = 0; i < t->n; i++) {
		const struct assignment *other = set_find(s, t->column[i]);

		if (other != NULL && other != a)
			return true;
	}
	return false;
}

static void find_feeds(struct set *s, struct assignment *a)
{
	a->old = lens_find_old(s->l, a->target->name);
	if (a->old == COLUMN_UNKNOWN)
		return;
	a->carried = s->l->olds[a->old].carried;
	if (s->l->child != NULL)
		a->n_feeds = child_is_touched(s->l, (unsigned)a->old);
	for (unsigned j = 0; j < s->l->n_new; j++) {
		if (!set_is_converted(s->l, j) ||
		    !template_names(&s->l->news[j].forward, (unsigned)a->old))
			continue;
		a->new = (int)j;
		a->n_feeds++;
	}
}

static void find_sharing(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct assignment *a = &s->v[i];

		for (size_t k = 0; s->l->child != NULL && k < s->n; k++)
			a->shared |= k != i && s->v[k].n_feeds > 0;
		for (unsigned j = 0; a->n_feeds > 0 && j < s->l->n_new; j++)
			a->shared |= set_is_converted(s->l, j) &&
				     template_names(&s->l->news[j].forward,
						    (unsigned)a->old) &&
				     has_other_feeder(s, j, a);
	}
}

bool set_is_default(const struct set *s, const struct assignment *a)
{
	return a->value.end == a->value.first + 1 &&
	       token_is(s->st->tokens, a->value.first, "default");
}

bool set_find_columns(struct set *s, const List *targets)
{
	bool known = true;
	ListCell *cell;

	s->v =
	    arena_alloc(s->st->a, (size_t)list_length(targets) * sizeof(*s->v));
	s->items = arena_alloc(
	    s->st->a, (size_t)list_length(targets) * sizeof(*s->items));
	foreach (cell, targets) {
		s->v[s->n].target = lfirst(cell);
		find_feeds(s, &s->v[s->n]);
		known &= s->v[s->n++].old != COLUMN_UNKNOWN;
	}
	find_sharing(s);
	return known;
}

void set_always_detail(struct problem *p, const struct column *c)
{
	if (c->generated != 0)
		problem_detail(p, "Column \"%s\" is a generated column.",
			       c->name);
	else
		problem_detail(p,
			       "Column \"%s\" is an identity column defined "
			       "as GENERATED ALWAYS.",
			       c->name);
}

bool set_has_always(const struct statement *st, const struct ref *target,
		    int old)
{
	const struct lens *l = statement_lens(st, target->name);

	if (old < 0 || l->old->columns[old].identity != 'a' ||
	    (target->action != ACT_LENS_SYNC && target->action != ACT_SYNC) ||
	    (l->kind != LENS_TABLE && l->kind != LENS_MERGE))
		return false;
	for (size_t i = 0; i < l->n_key; i++)
		if (l->key[i].old_index == (unsigned)old)
			return false;
	return true;
}

/* L_lens knows nothing of the old relation's always-generated columns. */
static bool check_generated(struct set *s, const struct assignment *a)
{
	const struct lens_old *o = &s->l->olds[a->old];
	const struct column *new =
	    o->carried ? s->l->news[o->new_index].column : NULL;
	struct problem *p = &s->st->plan->refusal;

	if (o->column->identity != 'a' && o->column->generated == 0)
		return true;
	if (set_is_default(s, a) && set_has_always(s->st, s->target, a->old))
		return set_refuse(s, "SET of a column that is always generated",
				  "Wait for phase new_only.");
	if (set_is_default(s, a))
		return (o->column->generated == 0 &&
			(new == NULL || new->identity != 'a')) ||
		       set_refuse(s, "SET of a generated column",
				  "Leave it out.");
	problem_set(p, "428C9", "column \"%s\" can only be updated to DEFAULT",
		    o->column->name);
	set_always_detail(p, o->column);
	return false;
}

/* Two values for one new column would be computed, and one assigned. */
static bool check_twice(struct set *s, const struct assignment *a)
{
	if (a->n_feeds == 0 || set_find(s, (unsigned)a->old) == a)
		return true;
	problem_set(&s->st->plan->refusal, "42601",
		    "multiple assignments to same column \"%s\"",
		    a->target->name);
	return false;
}

bool set_check(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct assignment *a = &s->v[i];

		if (!check_generated(s, a) || !check_twice(s, a))
			return false;
		if (a->n_feeds == 0 && a->carried)
			continue;
		if (a->n_feeds == 0)
			return set_refuse(s,
					  "SET of a column that the new model "
					  "does not have",
					  "Leave it out.");
		if (a->target->indirection != NIL)
			return set_refuse(s,
					  "SET of an element or a field of a "
					  "column",
					  "Assign the whole column.");
	}
	return true;
}

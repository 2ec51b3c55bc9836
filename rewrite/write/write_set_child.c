/*
 * SET of columns that have moved to a child table: what puts their values away
 * (rewrite/lens/lens_child.h), and, while the old row keeps them too, gives
 * them to it in the same assignment:
 *
 *   store_id = X    ("old.store_id", id) = (SELECT r.store_id, L_stash(...)
 *                   FROM (SELECT CAST(X AS integer) AS store_id) AS r)
 */
#include "rewrite/write/write_set.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/write/write_child.h"

/* Does any of the assignments [first, first + n) change the child's row? */
bool set_touches_child(const struct set *s, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		if (s->v[i].n_feeds > 0)
			return true;
	return false;
}

/* A column that stays, may not be NULL, and is looked at before this one. */
static bool is_asked_before(const struct set *s, const struct assignment *a,
			    unsigned moved)
{
	const struct column *c = s->l->olds[a->old].column;

	return a->old < (int)moved && c->not_null && c->generated == 0 &&
	       child_find_moved(s->l, (unsigned)a->old) == NULL;
}

/* Of both NULL, the table itself names it: see given_mark. */
static const char *missed_before(const struct set *s, unsigned moved)
{
	struct sqltext t;

	sqltext_begin(&t, s->st->a);
	for (size_t i = 0; s->l->olds[moved].column->not_null && i < s->n; i++)
		if (is_asked_before(s, &s->v[i], moved))
			sqltext_item(&t, " OR ", "r.%s IS NULL",
				     quote_name(s->v[i].target->name, t.a));
	return t.s;
}

static bool is_surely_given(const struct assignment *a)
{
	const Node *value = a->target->val;

	while (IsA(value, TypeCast))
		value = ((const TypeCast *)value)->arg;
	return IsA(value, A_Const) && !((const A_Const *)value)->isnull;
}

bool set_may_miss_two(const struct set *s)
{
	bool found = false;

	for (size_t i = 0; i < s->n_items; i++)
		if (s->items[i].subselect)
			return false;
	for (size_t i = 0; i < s->n; i++) {
		unsigned old = (unsigned)s->v[i].old;

		if (s->v[i].target->indirection != NIL)
			return false;
		if (child_find_moved(s->l, old) == NULL ||
		    !s->l->olds[old].column->not_null)
			continue;
		for (size_t k = 0; k < s->n; k++)
			found |= is_asked_before(s, &s->v[k], old) &&
				 !is_surely_given(&s->v[k]);
	}
	return found;
}

/* Per moved column: those of the assignments [first, first + n). */
static const struct child_value *child_values(const struct set *s, size_t first,
					      size_t n, const char *here)
{
	const struct lens *l = s->l;
	struct child_value *values =
	    arena_alloc(s->st->a, l->child->n_moved * sizeof(*values));

	for (size_t k = 0; k < l->child->n_moved; k++) {
		unsigned old = l->child->moved[k].old_index;

		values[k].missed = s->grouped ? missed_before(s, old) : "";
		for (size_t i = first; i < first + n; i++)
			if (s->v[i].old == (int)old)
				values[k].text =
				    here ? here
					 : arena_fmt(
					       s->st->a, "r.%s",
					       quote_name(s->v[i].target->name,
							  s->st->a));
	}
	return values;
}

void set_child_frame(const struct set *s, const struct assignment *a,
		     const char *cast_open, const char *cast_close,
		     const char **ret_open, const char **ret_close)
{
	struct arena *arena = s->st->a;
	struct stash_frame frame;

	child_stash_frame(
	    s->l, quote_name(ref_alias(s->target), arena), s->stash, 'u',
	    child_values(s, (size_t)(a - s->v), 1, CHILD_HERE), arena, &frame);
	*ret_open = arena_fmt(arena, "%s%s", frame.open, cast_open);
	*ret_close = arena_fmt(arena, "%s%s", cast_close, frame.close);
}

static const char *stash_name(const struct set *s)
{
	return quote_name(s->l->olds[s->stash].column->name, s->st->a);
}

/* What the old row has of it: L_lens shows the child's by its own name. */
static const char *kept_name(const struct set *s, const char *name)
{
	if (!write_is_current_of(s->st->node))
		name = arena_fmt(s->st->a, "old.%s", name);
	return quote_name(name, s->st->a);
}

void set_child_goals(const struct set *s, size_t first, size_t n,
		     struct sqltext *goals, struct sqltext *mappings)
{
	struct stash_frame frame;

	child_stash_frame(s->l, quote_name(ref_alias(s->target), goals->a),
			  s->stash, 'u', child_values(s, first, n, NULL),
			  goals->a, &frame);
	sqltext_item(goals, ", ", "%s", stash_name(s));
	sqltext_item(mappings, ", ", "%s%s", frame.open, frame.close);
	if (s->target->action != ACT_LENS_SYNC)
		return;
	for (size_t i = first; i < first + n; i++) {
		const char *name = s->v[i].target->name;

		if (s->v[i].carried)
			continue;
		sqltext_item(goals, ", ", "%s", kept_name(s, name));
		sqltext_item(mappings, ", ", "r.%s",
			     quote_name(name, goals->a));
	}
}

/* An upsert that meets a row puts away what it would have inserted. */
bool set_begin_stash(struct set *s, const List *targets, struct span list)
{
	bool upsert = IsA(s->st->node, InsertStmt);
	struct stash_frame frame;

	s->stash = child_stash_column(s->l, targets);
	if (!set_touches_child(s, 0, s->n) && !upsert &&
	    !child_sets_key(s->l, targets))
		return true;
	if (s->stash < 0)
		return statement_refuse(
		    s->st, s->target->name, "SET of every column",
		    "Some have moved to the child table, whose row is written "
		    "beside one that stays as it is.",
		    "Use two UPDATE statements.");
	s->st->stashed = true;
	if (set_touches_child(s, 0, s->n))
		return true;
	child_stash_frame(s->l, quote_name(ref_alias(s->target), s->st->a),
			  s->stash, 'u', child_values(s, 0, 0, NULL), s->st->a,
			  &frame);
	edit_insert(s->st->edits, s->st->tokens->v[list.first].from,
		    arena_fmt(s->st->a, "%s = %s%s, ", stash_name(s),
			      frame.open, frame.close));
	return true;
}

/* The write of WHERE CURRENT OF goes to the table itself, which may not have
 * the columns any more. */
bool set_child_current(const struct set *s)
{
	const UpdateStmt *update = (const UpdateStmt *)s->st->node;

	if (!write_is_current_of(s->st->node))
		return true;
	for (size_t i = 0; i < s->n; i++)
		if (!child_pick_names(s->st, s->target, s->v[i].value,
				      update->fromClause == NIL))
			return false;
	return true;
}

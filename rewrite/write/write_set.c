/*
 * SET through the lens: UPDATE's and ON CONFLICT DO UPDATE's.
 *
 * A carried column keeps its name in L_lens and its assignment as it is.  A
 * converted one becomes "new.x" = forward(value), where the value is first
 * given the old column's type as an assignment would:
 *
 *   amount = X
 *     "new.amount_cents" = CAST((CAST(X AS integer) * 100) ...
 *     where the mapping names the column once, else
 *     "new.x" = (SELECT forward(r) FROM (SELECT CAST(X AS integer) AS amount,
 *                old.other AS other) AS r)
 *
 *   (a, b) = (X, Y)
 *     one assignment for each
 *
 *   (a, b) = (SELECT)
 *     ("new.a", b) = (SELECT forward(r), ... FROM (SELECT) ...)
 *
 * Where assigned columns share a new one, the whole list becomes one
 *   (targets) = (SELECT mappings FROM (SELECT values) AS r)
 * so that each value is computed once and the client's text keeps its order.
 *
 * The list is cut into its assignments in write_set_cut.c, the text around one
 * value is made in write_set_value.c.  A cast is not an assignment: see
 * write_check.c.
 */
#include "rewrite/write/write_set.h"

#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/template.h"
#include "rewrite/write/write_child.h"

enum { MOST_ASSIGNMENTS = 1600 }; /* a relation's columns */

static bool is_simple(const struct assignment *a)
{
	return a->n_feeds == 0 ||
	       (a->n_feeds == 1 && !a->carried && !a->shared);
}

/* The new relation's own name where L_lens is not what is written. */
static const char *new_name(const struct set *s, unsigned new)
{
	const char *name = s->l->news[new].column->name;

	return quote_name(
	    s->direct ? name : arena_fmt(s->st->a, "new.%s", name), s->st->a);
}

static const char *carried_name(const struct set *s, const struct assignment *a)
{
	return s->direct ? new_name(s, s->l->olds[a->old].new_index)
			 : set_old_name(s, a);
}

static const char *goal(const struct set *s, const struct assignment *a)
{
	if (a->n_feeds > 0 && s->l->child != NULL)
		return quote_name(s->l->olds[s->stash].column->name, s->st->a);
	return a->n_feeds == 0 ? carried_name(s, a)
			       : new_name(s, (unsigned)a->new);
}

static void edit_single(const struct set *s, const struct item *item)
{
	const struct assignment *a = &s->v[item->first_assignment];
	const char *open, *close;

	set_replace_default(s, a);
	if (a->n_feeds == 0 && !s->direct)
		return;
	set_value_frame(s, a, &open, &close);
	statement_replace(s->st, item->names, goal(s, a));
	if (a->n_feeds == 0)
		return;
	statement_insert_before(s->st, a->value.first, open);
	statement_insert_after(s->st, a->value.end - 1, close);
}

/* (a, b) = (X, Y) as a = X, b = Y. */
static void edit_row(const struct set *s, const struct item *item)
{
	const char *before = "", *open, *close = "";
	size_t from = item->all.first;

	for (size_t i = 0; i < item->n; i++) {
		const struct assignment *a = &s->v[item->first_assignment + i];

		set_replace_default(s, a);
		set_value_frame(s, a, &open, &close);
		statement_replace(
		    s->st, (struct span){from, a->value.first},
		    arena_fmt(s->st->a, "%s%s = %s", before, goal(s, a), open));
		before = arena_fmt(s->st->a, "%s, ", close);
		from = a->value.end;
	}
	statement_replace(s->st, (struct span){from, item->all.end}, close);
}

static bool is_all_carried(const struct set *s, const struct item *item)
{
	for (size_t i = 0; i < item->n; i++)
		if (s->v[item->first_assignment + i].n_feeds > 0)
			return false;
	return true;
}

static bool is_fed(const struct set *s, unsigned new, size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++)
		if (s->v[i].n_feeds > 0 && set_is_converted(s->l, new) &&
		    template_names(&s->l->news[new].forward,
				   (unsigned)s->v[i].old))
			return true;
	return false;
}

/* The columns that n assignments set, their mappings over r, and what these
 * need besides. */
static void put_goals(const struct set *s, size_t first, size_t n,
		      struct sqltext *goals, struct sqltext *mappings,
		      struct sqltext *rest)
{
	bool *done = arena_alloc(goals->a, s->l->n_old);

	for (size_t i = first; i < first + n; i++) {
		const char *name = set_old_name(s, &s->v[i]);

		if (!s->v[i].carried)
			continue;
		sqltext_item(goals, ", ", "%s", carried_name(s, &s->v[i]));
		sqltext_item(
		    mappings, ", ", "%s",
		    set_or_fill(s, carried_name(s, &s->v[i]),
				half_kept(s, (unsigned)s->v[i].old,
					  arena_fmt(goals->a, "r.%s", name))));
	}
	if (s->l->child != NULL && set_touches_child(s, first, n))
		set_child_goals(s, first, n, goals, mappings);
	for (unsigned j = 0; j < s->l->n_new; j++) {
		if (!is_fed(s, j, first, n))
			continue;
		sqltext_item(goals, ", ", "%s", new_name(s, j));
		sqltext_item(
		    mappings, ", ", "%s",
		    set_or_fill(s, new_name(s, j),
				lens_forward(s->l, j, "r.", goals->a)));
		set_put_others(s, rest, done, j);
	}
	if (s->missing != NULL)
		set_fill_goals(s, goals, mappings);
}

/* A subselect that finds no row assigns NULLs, which have to be mapped too:
 * hence the outer join. */
static void edit_subselect(const struct set *s, const struct item *item)
{
	struct arena *arena = s->st->a;
	struct sqltext goals, mappings, values, names, rest;

	sqltext_begin(&goals, arena);
	sqltext_begin(&mappings, arena);
	sqltext_begin(&values, arena);
	sqltext_begin(&names, arena);
	sqltext_begin(&rest, arena);
	put_goals(s, item->first_assignment, item->n, &goals, &mappings, &rest);
	for (size_t i = 0; i < item->n; i++) {
		const struct assignment *a = &s->v[item->first_assignment + i];
		const char *name = set_old_name(s, a);
		unsigned old = (unsigned)a->old;

		sqltext_item(&names, ", ", "%s", name);
		sqltext_item(&values, ", ", "%s\"pgtandem.s\".%s%s AS %s",
			     set_cast_open(s, old), name,
			     set_cast_close(s, old), name);
	}
	statement_replace(s->st, item->names,
			  arena_fmt(arena, "(%s)", goals.s));
	statement_insert_before(
	    s->st, item->value.first,
	    arena_fmt(arena,
		      "(SELECT %s FROM (SELECT %s%s FROM (VALUES (1)) AS "
		      "\"pgtandem.one\" LEFT JOIN ",
		      mappings.s, values.s, rest.s));
	statement_insert_after(
	    s->st, item->value.end - 1,
	    arena_fmt(arena, " AS \"pgtandem.s\"(%s) ON true) AS r)", names.s));
}

/*
 * The row as the old model has it, under the name that the client calls it by:
 * what is in its values finds that before the new relation's own.
 */
static const char *old_row(const struct set *s, const char *others)
{
	const char *alias = quote_name(ref_alias(s->target), s->st->a);
	const char *prefix = arena_fmt(s->st->a, "%s.", alias);
	struct sqltext t;

	sqltext_begin(&t, s->st->a);
	for (unsigned i = 0; i < s->l->n_old; i++)
		sqltext_item(&t, ", ", "%s AS %s",
			     lens_reverse(s->l, i, prefix, t.a),
			     quote_name(s->l->olds[i].column->name, t.a));
	return arena_fmt(s->st->a, "%s FROM (SELECT %s) AS %s", others, t.s,
			 alias);
}

/* Assignments [first, first + n), whose tokens `list` has, as one of a row. */
static void edit_together(const struct set *s, size_t first, size_t n,
			  struct span list)
{
	struct arena *arena = s->st->a;
	struct sqltext goals, mappings, rest;
	const char *before;
	size_t from = list.first;

	sqltext_begin(&goals, arena);
	sqltext_begin(&mappings, arena);
	sqltext_begin(&rest, arena);
	put_goals(s, first, n, &goals, &mappings, &rest);
	before = arena_fmt(arena, "(%s) = (SELECT %s FROM (SELECT ", goals.s,
			   mappings.s);
	for (size_t i = first; i < first + n; i++) {
		const struct assignment *a = &s->v[i];
		unsigned old = (unsigned)a->old;

		set_replace_default(s, a);
		statement_replace(
		    s->st, (struct span){from, a->value.first},
		    arena_fmt(arena, "%s%s", before, set_cast_open(s, old)));
		before = arena_fmt(arena, "%s AS %s, ", set_cast_close(s, old),
				   set_old_name(s, a));
		from = a->value.end;
	}
	before = arena_fmt(
	    arena, "%.*s%s) AS r)", (int)strlen(before) - 2, before,
	    s->direct ? old_row(s, rest.s) : set_of_each_row(s, rest.s));
	if (from < list.end)
		statement_replace(s->st, (struct span){from, list.end}, before);
	else
		statement_insert_after(s->st, from - 1, before);
}

/* Where the old row keeps what has moved, it gets the value as well: once
 * computed, it goes both ways. */
static bool goes_both_ways(const struct set *s, const struct item *item)
{
	return s->l->child != NULL && s->target->action == ACT_LENS_SYNC &&
	       set_touches_child(s, item->first_assignment, item->n);
}

static void edit_items(const struct set *s)
{
	for (size_t i = 0; i < s->n_items; i++) {
		const struct item *item = &s->items[i];

		if (!item->subselect && goes_both_ways(s, item))
			edit_together(s, item->first_assignment, item->n,
				      item->all);
		else if (item->n == 1 && !item->row && !item->subselect)
			edit_single(s, item);
		else if (item->row)
			edit_row(s, item);
		else if (!is_all_carried(s, item))
			edit_subselect(s, item);
	}
}

/* A constant or a parameter, maybe cast; DEFAULT. */
static bool is_constant(const Node *value)
{
	while (IsA(value, TypeCast))
		value = ((const TypeCast *)value)->arg;
	return IsA(value, A_Const) || IsA(value, ParamRef) ||
	       IsA(value, SetToDefault) || IsA(value, SQLValueFunction);
}

/* The new relation has no columns of the old names: if none is named, the
 * values can stay where they are. */
static bool is_constant_list(const struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct assignment *a = &s->v[i];

		if (!is_simple(a) || !is_constant(a->target->val) ||
		    (a->n_feeds > 0 && s->l->news[a->new].forward.n != 1))
			return false;
	}
	return true;
}

/* Does a subselect's item share no new column with another item? */
static bool is_closed(const struct set *s, const struct item *item)
{
	size_t first = item->first_assignment, end = first + item->n;

	if (s->l->child != NULL && set_touches_child(s, first, item->n))
		return !set_touches_child(s, 0, first) &&
		       !set_touches_child(s, end, s->n - end);
	for (unsigned j = 0; j < s->l->n_new; j++)
		if (is_fed(s, j, first, item->n) &&
		    (is_fed(s, j, 0, first) || is_fed(s, j, end, s->n - end)))
			return false;
	return true;
}

/* Values from a subselect cannot be told apart for the others' sake. */
static bool check_subselects(struct set *s)
{
	for (size_t i = 0; i < s->n_items; i++)
		if (s->items[i].subselect &&
		    (s->grouped || !is_closed(s, &s->items[i])))
			return set_refuse(s,
					  "SET from a subselect beside columns "
					  "that feed the same new column",
					  "Use two UPDATE statements.");
	for (size_t i = 0; s->grouped && i < s->n; i++)
		if (s->v[i].target->indirection != NIL)
			return set_refuse(
			    s,
			    "SET of an element or a field "
			    "beside columns that feed the same new "
			    "column",
			    "Use two UPDATE statements.");
	return true;
}

static bool needs_group(const struct set *s)
{
	for (size_t i = 0; i < s->n_items; i++) {
		const struct item *item = &s->items[i];

		for (size_t k = 0; !item->subselect && k < item->n; k++)
			if (!is_simple(&s->v[item->first_assignment + k]))
				return true;
	}
	return false;
}

/* L_lens has no such column, and the server says so; the new relation might. */
static bool refuse_unknown(struct set *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].old == COLUMN_UNKNOWN)
			problem_set(&s->st->plan->refusal, "42703",
				    "column \"%s\" of relation \"%s\" does "
				    "not exist",
				    s->v[i].target->name, s->l->old->name);
	return false;
}

bool write_set(struct statement *st, const struct ref *target,
	       const List *targets, struct span list,
	       const struct check_place *check)
{
	struct set s = {
	    .st = st, .target = target, .l = statement_lens(st, target->name)};

	s.direct = write_is_current_of(st->node) && s.l->child == NULL &&
		   !lens_only_renames(s.l);

	if (list_length(targets) > MOST_ASSIGNMENTS)
		return set_refuse(&s, "so long a SET list", "Shorten it.");
	if (!set_find_columns(&s, targets))
		return !s.direct || refuse_unknown(&s);
	if (!set_cut(&s, list) || !set_check(&s) ||
	    (s.l->child != NULL && !set_begin_stash(&s, targets, list)))
		return false;
	s.missing = half_missing(st, target);
	s.grouped = needs_group(&s) || (s.direct && !is_constant_list(&s)) ||
		    s.missing != NULL ||
		    (s.l->child != NULL && set_may_miss_two(&s));
	if (!check_subselects(&s) ||
	    (s.l->child != NULL && !set_child_current(&s)))
		return false;
	if (s.grouped)
		edit_together(&s, 0, s.n, list);
	else
		edit_items(&s);
	write_check(&s, check);
	return true;
}

/*
 * SET through the lens: UPDATE's and ON CONFLICT DO UPDATE's.
 *
 * A carried column keeps its name in L_lens and its assignment as it is.  A
 * converted one becomes "new.x" = forward(value), where the value is first
 * given the old column's type as an assignment would:
 *
 *   amount = X          "new.amount_cents" = CAST((CAST(X AS integer) * 100)
 * ... where the mapping names the column once, else "new.x" = (SELECT
 * forward(r) FROM (SELECT CAST(X AS integer) AS amount, old.other AS other) AS
 * r) (a, b) = (X, Y)     one assignment for each (a, b) = (SELECT)   ("new.a",
 * b) = (SELECT forward(r), ... FROM (SELECT)...)
 *
 * Where assigned columns share a new one, the whole list becomes one
 *   (targets) = (SELECT mappings FROM (SELECT values) AS r)
 * so that each value is computed once and the client's text keeps its order.
 *
 * A cast is not an assignment: see write_check.c.
 */
#include "rewrite/write/write_set.h"

#include <stdlib.h>
#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/template.h"
#include "rewrite/write/write_child.h"

enum { UNKNOWN = -1, MOST_ASSIGNMENTS = 1600 }; /* a relation's columns */

static bool refuse(struct set *s, const char *clause, const char *hint)
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
		return refuse(s, "a row of this form in SET",
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
	       refuse(s, "a source of this form in SET",
		      "Assign the columns one by one.");
}

static bool cut_items(struct set *s, struct span list)
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

static bool uses(const struct template *t, unsigned old)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->column[i] == old)
			return true;
	return false;
}

static size_t count_uses(const struct template *t, unsigned old)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->column[i] == old;
	return n;
}

static bool is_converted(const struct lens *l, unsigned new)
{
	return !l->news[new].carried && !l->news[new].extra &&
	       l->news[new].column->generated == 0;
}

static const struct assignment *find_assignment(const struct set *s,
						unsigned old)
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
		const struct assignment *other =
		    find_assignment(s, t->column[i]);

		if (other != NULL && other != a)
			return true;
	}
	return false;
}

static void find_feeds(struct set *s, struct assignment *a)
{
	a->old = lens_find_old(s->l, a->target->name);
	if (a->old == UNKNOWN)
		return;
	a->carried = s->l->olds[a->old].carried;
	if (s->l->child != NULL)
		a->n_feeds = child_is_touched(s->l, (unsigned)a->old);
	for (unsigned j = 0; j < s->l->n_new; j++) {
		if (!is_converted(s->l, j) ||
		    !uses(&s->l->news[j].forward, (unsigned)a->old))
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
			a->shared |=
			    is_converted(s->l, j) &&
			    uses(&s->l->news[j].forward, (unsigned)a->old) &&
			    has_other_feeder(s, j, a);
	}
}

bool set_is_default(const struct set *s, const struct assignment *a)
{
	return a->value.end == a->value.first + 1 &&
	       token_is(s->st->tokens, a->value.first, "default");
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
	if (set_is_default(s, a))
		return (o->column->generated == 0 &&
			(new == NULL || new->identity != 'a')) ||
		       refuse(s, "SET of a generated column", "Leave it out.");
	problem_set(p, "428C9", "column \"%s\" can only be updated to DEFAULT",
		    o->column->name);
	problem_hint(p,
		     "pgtandem writes relation \"%s\" through migration "
		     "\"%s\".",
		     s->l->old->name, s->l->migration);
	return false;
}

/* Two values for one new column would be computed, and one assigned. */
static bool check_twice(struct set *s, const struct assignment *a)
{
	if (a->n_feeds == 0 || find_assignment(s, (unsigned)a->old) == a)
		return true;
	problem_set(&s->st->plan->refusal, "42601",
		    "multiple assignments to same column \"%s\"",
		    a->target->name);
	return false;
}

static bool check_assignments(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct assignment *a = &s->v[i];

		if (!check_generated(s, a) || !check_twice(s, a))
			return false;
		if (a->n_feeds == 0 && a->carried)
			continue;
		if (a->n_feeds == 0)
			return refuse(s,
				      "SET of a column that the new model "
				      "does not have",
				      "Leave it out.");
		if (a->target->indirection != NIL)
			return refuse(s,
				      "SET of an element or a field of a "
				      "column",
				      "Assign the whole column.");
	}
	return true;
}

static bool is_simple(const struct assignment *a)
{
	return a->n_feeds == 0 ||
	       (a->n_feeds == 1 && !a->carried && !a->shared);
}

static const char *old_name(const struct set *s, const struct assignment *a)
{
	return quote_name(a->target->name, s->st->a);
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
			 : old_name(s, a);
}

static const char *goal(const struct set *s, const struct assignment *a)
{
	if (a->n_feeds > 0 && s->l->child != NULL)
		return quote_name(s->l->olds[s->stash].column->name, s->st->a);
	return a->n_feeds == 0 ? carried_name(s, a)
			       : new_name(s, (unsigned)a->new);
}

/*
 * What stands around a value to give it the old column's type as assigning
 * it does.  A cast to a type with a length cuts what an assignment refuses
 * (22001); the types' own length functions do as an assignment does.
 */
static const struct cutting_type {
	const char *before; /* the length, as format_type prints it */
	const char *name;
	long header; /* typmod = length + header */
} cutting_types[] = {
    {"character varying(", "\"varchar\"", 4},
    {"character(", "bpchar", 4},
    {"bit(", "\"bit\"", 0},
    {"bit varying(", "varbit", 0},
};

static const struct cutting_type *cutting_type(const struct column *c,
					       long *ret_typmod)
{
	char *end;

	for (size_t i = 0; i < sizeof(cutting_types) / sizeof(*cutting_types);
	     i++) {
		const struct cutting_type *t = &cutting_types[i];
		size_t len = strlen(t->before);

		if (strncmp(c->type, t->before, len) != 0)
			continue;
		*ret_typmod = strtol(c->type + len, &end, 10) + t->header;
		if (strcmp(end, ")") == 0)
			return t;
	}
	return NULL;
}

static bool is_null(const struct set *s, const struct assignment *a)
{
	const Node *value = a->target->val;

	return (IsA(value, A_Const) && ((const A_Const *)value)->isnull) ||
	       (set_is_default(s, a) &&
		s->l->olds[a->old].column->default_expr == NULL);
}

/* A NOT NULL column must be looked at here, unless one before it is violated:
 * that is the one that is named. */
static bool must_require(const struct set *s, unsigned old)
{
	if (!old_is_required(s->l, old))
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].old >= 0 && s->v[i].old < (int)old &&
		    s->l->olds[s->v[i].old].column->not_null &&
		    is_null(s, &s->v[i]))
			return false;
	return true;
}

static const char *cast_before(const struct set *s, unsigned old)
{
	const struct cutting_type *type;
	long typmod;

	type = cutting_type(s->l->olds[old].column, &typmod);
	return type == NULL
		   ? "CAST("
		   : arena_fmt(s->st->a, "pg_catalog.%s(CAST(", type->name);
}

static const char *cast_behind(const struct set *s, unsigned old)
{
	const struct column *c = s->l->olds[old].column;
	const struct cutting_type *type;
	long typmod;

	type = cutting_type(c, &typmod);
	if (type == NULL)
		return arena_fmt(s->st->a, " AS %s)", c->type);
	return arena_fmt(s->st->a, " AS pg_catalog.%s), %ld, false)",
			 type->name, typmod);
}

/* What stands before and behind a value, cut where the value goes. */
static void cast_around(const struct set *s, unsigned old,
			const char **ret_open, const char **ret_close)
{
	static const char place[] = "\001";
	const char *open = cast_before(s, old), *close = cast_behind(s, old);
	char *text, *cut;

	if (must_require(s, old)) {
		text = arena_str(
		    s->st->a, old_required(s->l, old,
					   arena_fmt(s->st->a, "%s%s%s", open,
						     place, close),
					   s->st->a));
		cut = strstr(text, place);
		*cut = '\0';
		open = text;
		close = cut + 1;
	}
	*ret_open = open;
	*ret_close = close;
}

static const char *cast_open(const struct set *s, unsigned old)
{
	const char *open, *close;

	cast_around(s, old, &open, &close);
	return open;
}

static const char *cast_close(const struct set *s, unsigned old)
{
	const char *open, *close;

	cast_around(s, old, &open, &close);
	return close;
}

/* DEFAULT means the old column's. */
static void replace_default(const struct set *s, const struct assignment *a)
{
	if (set_is_default(s, a))
		statement_replace(
		    s->st, a->value,
		    old_default(s->l, (unsigned)a->old, s->st->a));
}

/* ", old.other AS other" for each column that the mapping needs and that is
 * not assigned. */
static void put_others(const struct set *s, struct sqltext *t, bool *done,
		       unsigned new)
{
	const struct template *f = &s->l->news[new].forward;
	const char *alias = quote_name(ref_alias(s->target), t->a);

	for (size_t i = 0; i < f->n; i++) {
		const char *name =
		    quote_name(s->l->olds[f->column[i]].column->name, t->a);

		if (done[f->column[i]] ||
		    find_assignment(s, f->column[i]) != NULL)
			continue;
		done[f->column[i]] = true;
		sqltext_put(t, ", %s.%s AS %s", alias, name, name);
	}
}

/*
 * A subselect that names nothing of the row around it is computed once for all
 * rows: not what random() or nextval() in SET means.  The condition is always
 * true, and names the row; not needed where a column of it is named anyway.
 */
static const char *of_each_row(const struct set *s, const char *others)
{
	unsigned key = s->l->key[0].old_index;

	return *others != '\0'
		   ? others
		   : arena_fmt(
			 s->st->a, " WHERE %s.%s IS NOT NULL",
			 quote_name(ref_alias(s->target), s->st->a),
			 quote_name(s->l->olds[key].column->name, s->st->a));
}

static const char *others(const struct set *s, unsigned new)
{
	bool *done = arena_alloc(s->st->a, s->l->n_old);
	struct sqltext t;

	sqltext_begin(&t, s->st->a);
	put_others(s, &t, done, new);
	return of_each_row(s, t.s);
}

/* The mapping as text before and behind the value's place in it. */
static void inline_mapping(const struct set *s, const struct assignment *a,
			   const char **ret_open, const char **ret_close)
{
	static const char place[] = "\001";
	const struct lens_new *n = &s->l->news[a->new];
	const char *alias = quote_name(ref_alias(s->target), s->st->a);
	const char **names =
	    arena_alloc(s->st->a, (n->forward.n + 1) * sizeof(*names));
	char *text, *cut;

	for (size_t i = 0; i < n->forward.n; i++)
		names[i] =
		    n->forward.column[i] == (unsigned)a->old
			? place
			: arena_fmt(
			      s->st->a, "%s.%s", alias,
			      quote_name(
				  s->l->olds[n->forward.column[i]].column->name,
				  s->st->a));
	text = arena_str(s->st->a, template_join(&n->forward, names, s->st->a));
	cut = strstr(text, place);
	*cut = '\0';
	*ret_open = arena_fmt(s->st->a, "CAST((%s%s", text,
			      cast_open(s, (unsigned)a->old));
	*ret_close = arena_fmt(
	    s->st->a, "%s%s) AS %s)", cast_close(s, (unsigned)a->old), cut + 1,
	    type_before_assignment(n->column->type, s->st->a));
}

static void value_frame(const struct set *s, const struct assignment *a,
			const char **ret_open, const char **ret_close)
{
	struct arena *arena = s->st->a;

	*ret_open = *ret_close = "";
	if (a->n_feeds == 0)
		return;
	if (s->l->child != NULL) {
		set_child_frame(s, a, cast_open(s, (unsigned)a->old),
				cast_close(s, (unsigned)a->old), ret_open,
				ret_close);
		return;
	}
	if (count_uses(&s->l->news[a->new].forward, (unsigned)a->old) == 1 &&
	    !old_is_required(s->l, (unsigned)a->old)) {
		inline_mapping(s, a, ret_open, ret_close);
		return;
	}
	*ret_open = arena_fmt(arena, "(SELECT %s FROM (SELECT %s",
			      lens_forward(s->l, (unsigned)a->new, "r.", arena),
			      cast_open(s, (unsigned)a->old));
	*ret_close = arena_fmt(arena, "%s AS %s%s) AS r)",
			       cast_close(s, (unsigned)a->old), old_name(s, a),
			       others(s, (unsigned)a->new));
}

static void edit_single(const struct set *s, const struct item *item)
{
	const struct assignment *a = &s->v[item->first_assignment];
	const char *open, *close;

	replace_default(s, a);
	if (a->n_feeds == 0 && !s->direct)
		return;
	value_frame(s, a, &open, &close);
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

		replace_default(s, a);
		value_frame(s, a, &open, &close);
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
		if (s->v[i].n_feeds > 0 && is_converted(s->l, new) &&
		    uses(&s->l->news[new].forward, (unsigned)s->v[i].old))
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
		const char *name = old_name(s, &s->v[i]);

		if (!s->v[i].carried)
			continue;
		sqltext_item(goals, ", ", "%s", carried_name(s, &s->v[i]));
		sqltext_item(mappings, ", ", "%s",
			     set_or_fill(s, carried_name(s, &s->v[i]),
					 arena_fmt(goals->a, "r.%s", name)));
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
		put_others(s, rest, done, j);
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
		const char *name = old_name(s, a);
		unsigned old = (unsigned)a->old;

		sqltext_item(&names, ", ", "%s", name);
		sqltext_item(&values, ", ", "%s\"pgtandem.s\".%s%s AS %s",
			     cast_open(s, old), name, cast_close(s, old), name);
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

		replace_default(s, a);
		statement_replace(
		    s->st, (struct span){from, a->value.first},
		    arena_fmt(arena, "%s%s", before, cast_open(s, old)));
		before = arena_fmt(arena, "%s AS %s, ", cast_close(s, old),
				   old_name(s, a));
		from = a->value.end;
	}
	before =
	    arena_fmt(arena, "%.*s%s) AS r)", (int)strlen(before) - 2, before,
		      s->direct ? old_row(s, rest.s) : of_each_row(s, rest.s));
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
			return refuse(s,
				      "SET from a subselect beside columns "
				      "that feed the same new column",
				      "Use two UPDATE statements.");
	for (size_t i = 0; s->grouped && i < s->n; i++)
		if (s->v[i].target->indirection != NIL)
			return refuse(s,
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

/* Fills the assignments; false when one names no column. */
static bool find_columns(struct set *s, const List *targets)
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
		known &= s->v[s->n++].old != UNKNOWN;
	}
	find_sharing(s);
	return known;
}

/* L_lens has no such column, and the server says so; the new relation might. */
static bool refuse_unknown(struct set *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->v[i].old == UNKNOWN)
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
		return refuse(&s, "so long a SET list", "Shorten it.");
	if (!find_columns(&s, targets))
		return !s.direct || refuse_unknown(&s);
	if (!cut_items(&s, list) || !check_assignments(&s) ||
	    (s.l->child != NULL && !set_begin_stash(&s, targets, list)))
		return false;
	s.missing = half_missing(st, target);
	s.grouped = needs_group(&s) || (s.direct && !is_constant_list(&s)) ||
		    s.missing != NULL;
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

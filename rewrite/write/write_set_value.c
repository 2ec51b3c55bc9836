/*
 * One value of a SET list: its cast to the old column's type, as an
 * assignment makes it, and the mapping around it.
 */
#include "rewrite/write/write_set.h"

#include <stdlib.h>
#include <string.h>

#include "rewrite/lens/mapping.h"
#include "rewrite/lens/template.h"

const char *set_old_name(const struct set *s, const struct assignment *a)
{
	return quote_name(a->target->name, s->st->a);
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
	const struct column *c = s->l->olds[a->old].column;
	const Node *value = a->target->val;

	return (IsA(value, A_Const) && ((const A_Const *)value)->isnull) ||
	       (set_is_default(s, a) && c->default_expr == NULL &&
		c->type_default == NULL);
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

const char *set_cast_open(const struct set *s, unsigned old)
{
	const char *open, *close;

	cast_around(s, old, &open, &close);
	return open;
}

const char *set_cast_close(const struct set *s, unsigned old)
{
	const char *open, *close;

	cast_around(s, old, &open, &close);
	return close;
}

void set_replace_default(const struct set *s, const struct assignment *a)
{
	if (set_is_default(s, a))
		statement_replace(
		    s->st, a->value,
		    old_default(s->l, (unsigned)a->old, s->st->a));
}

void set_put_others(const struct set *s, struct sqltext *t, bool *done,
		    unsigned new)
{
	const struct template *f = &s->l->news[new].forward;
	const char *alias = quote_name(ref_alias(s->target), t->a);

	for (size_t i = 0; i < f->n; i++) {
		const char *name =
		    quote_name(s->l->olds[f->column[i]].column->name, t->a);

		if (done[f->column[i]] || set_find(s, f->column[i]) != NULL)
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
const char *set_of_each_row(const struct set *s, const char *others)
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
	set_put_others(s, &t, done, new);
	return set_of_each_row(s, t.s);
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
			      set_cast_open(s, (unsigned)a->old));
	*ret_close = arena_fmt(
	    s->st->a, "%s%s) AS %s)", set_cast_close(s, (unsigned)a->old),
	    cut + 1, type_before_assignment(n->column->type, s->st->a));
}

void set_value_frame(const struct set *s, const struct assignment *a,
		     const char **ret_open, const char **ret_close)
{
	struct arena *arena = s->st->a;

	*ret_open = *ret_close = "";
	if (a->n_feeds == 0)
		return;
	if (s->l->child != NULL) {
		set_child_frame(s, a, set_cast_open(s, (unsigned)a->old),
				set_cast_close(s, (unsigned)a->old), ret_open,
				ret_close);
		return;
	}
	if (template_count(&s->l->news[a->new].forward, (unsigned)a->old) ==
		1 &&
	    !old_is_required(s->l, (unsigned)a->old)) {
		inline_mapping(s, a, ret_open, ret_close);
		return;
	}
	*ret_open = arena_fmt(arena, "(SELECT %s FROM (SELECT %s",
			      lens_forward(s->l, (unsigned)a->new, "r.", arena),
			      set_cast_open(s, (unsigned)a->old));
	*ret_close = arena_fmt(arena, "%s AS %s%s) AS r)",
			       set_cast_close(s, (unsigned)a->old),
			       set_old_name(s, a), others(s, (unsigned)a->new));
}

/*
 * How a lens is compiled:
 *
 *   1. the new side: the columns of the relation, or, while it does not
 *      exist, what the specification makes of the old ones;
 *   2. the mappings: a new column comes from the entry that names it, or from
 *      the old column that is carried over by its name, or is an extra one;
 *      carried columns are tied to each other, the expressions of the others
 *      are cut (rewrite/lens/template.h);
 *   3. the checks: every old column has one way back, every extra column does
 *      without the lens, and the key is carried and unique.
 */
#include "rewrite/lens/lens.h"

#include <stdarg.h>
#include <stdio.h>
#include <assert.h>
#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/lens_compile.h"
#include "rewrite/lens/match.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/template.h"

/* Problems of a specification name its place in the file. */
__attribute__((format(printf, 3, 4))) bool
lens_fail(const struct lens_compile *c, unsigned line, const char *fmt, ...)
{
	char message[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	return problem_set(c->p, "F0000", "%s:%u: %s", c->spec->file, line,
			   message);
}

/* The same for a problem that was found further down. */
static bool fail_again(const struct lens_compile *c, unsigned line)
{
	struct problem inner = *c->p;

	lens_fail(c, line, "%s", inner.message);
	problem_detail(c->p, "%s", inner.detail);
	return false;
}

/* Both models are one table, so that no column only gets another name. */
static bool in_place(const struct lens_compile *c)
{
	return c->in->kind == LENS_COLUMNS;
}

int lens_find_column(const struct relation *r, const char *name)
{
	const struct column *column = relation_find_column(r, name);

	return column == NULL ? NOWHERE : (int)(column - r->columns);
}

/* The entry that makes this new column, or NULL. */
static const struct spec_column *entry_of_new(const struct lens_compile *c,
					      const char *name)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (strcmp(c->in->columns[i].new_name, name) == 0)
			return &c->in->columns[i];
	return NULL;
}

static bool entry_uses(const struct spec_column *e, const char *old)
{
	for (size_t i = 0; i < e->n_old; i++)
		if (strcmp(e->old[i], old) == 0)
			return true;
	return false;
}

/* The new name of an old column that no entry speaks of; NULL if one does. */
static const char *carried_name(const struct lens_compile *c, const char *old)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (entry_uses(&c->in->columns[i], old))
			return NULL;
	for (size_t i = 0; i < c->in->n_key; i++)
		if (strcmp(c->in->key[i].old, old) == 0)
			return c->in->key[i].new;
	return old;
}

static bool has_reverse(const struct spec_column *e)
{
	return e->reverse != NULL;
}

/* An entry without expressions is a rename, or a cast both ways. */
static bool is_plain_entry(const struct spec_column *e)
{
	return e->n_old == 1 && e->forward == NULL && !has_reverse(e);
}

static bool check_entry(const struct lens_compile *c,
			const struct spec_column *e)
{
	for (size_t i = 0; i < e->n_old; i++)
		if (lens_find_column(c->old, e->old[i]) == NOWHERE)
			return lens_fail(
			    c, e->line, "column \"%s\" does not exist in %s.%s",
			    e->old[i], c->old->schema, c->old->name);
	if (entry_of_new(c, e->new_name) != e)
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
		return fail_again(c, e->line);
	return true;
}

/* 1. The new side, while it does not exist. */

/* The default of a converted column: the old columns' defaults, mapped; in
 * parentheses, since DEFAULT takes no operator in words bare.  Without any
 * default on the old side there is none on the new. */
static const char *map_default(const struct lens_compile *c,
			       const struct template *forward)
{
	const char **values =
	    arena_alloc(c->a, (forward->n + 1) * sizeof(*values));
	bool any = false;

	for (size_t i = 0; i < forward->n; i++) {
		const struct column *o = &c->old->columns[forward->column[i]];
		const char *text = o->generated ? NULL : o->default_expr;

		any |= text != NULL;
		values[i] = arena_fmt(c->a, "CAST(%s AS %s)",
				      text == NULL ? "NULL" : text, o->type);
	}
	if (!any)
		return NULL;
	return arena_fmt(c->a, "(%s)", template_join(forward, values, c->a));
}

static bool derive_converted(const struct lens_compile *c,
			     const struct spec_column *e, struct column *new)
{
	const struct column *old = relation_find_column(c->old, e->old[0]);
	struct template forward;

	*new = (struct column){.name = e->new_name,
			       .type = e->new_type ? e->new_type : old->type,
			       .typmod = -1,
			       .comment = old->comment,
			       .not_null = e->new_not_null,
			       .storage = 0,
			       .statistics = -1};
	if (e->new_type == NULL)
		new->collation = old->collation;
	if (!e->new_not_null_given) {
		new->not_null = true;
		for (size_t i = 0; i < e->n_old; i++)
			new->not_null &=
			    relation_find_column(c->old, e->old[i])->not_null;
	}
	if (e->new_default != NULL) {
		new->default_expr = arena_fmt(c->a, "(%s)", e->new_default);
		return true;
	}
	if (e->forward == NULL)
		template_of_column((unsigned)(old - c->old->columns), c->a,
				   &forward);
	else if (!template_parse(e->forward, c->old->columns, c->old->n_columns,
				 c->known, c->a, &forward, c->p))
		return fail_again(c, e->line);
	new->default_expr = map_default(c, &forward);
	return true;
}

/* A new column that only has another name.  While both relations live, they
 * draw from one sequence; so an identity becomes a default. */
static void carry(const struct lens_compile *c, const struct column *old,
		  const char *name, struct column *new)
{
	*new = *old;
	new->name = name;
	if (in_place(c) || !old->identity || old->sequence == NULL)
		return;
	new->identity = 0;
	new->default_expr = arena_fmt(c->a, "nextval(%s::regclass)",
				      quote_text(old->sequence, c->a));
}

static bool derive_entry(const struct lens_compile *c,
			 const struct spec_column *e, struct column *new)
{
	const struct column *old = relation_find_column(c->old, e->old[0]);

	if (in_place(c) || !is_plain_entry(e) ||
	    (e->new_type != NULL && !type_same(e->new_type, old->type)))
		return derive_converted(c, e, new);
	carry(c, old, e->new_name, new);
	if (e->new_not_null_given)
		new->not_null = e->new_not_null;
	if (e->new_default != NULL)
		new->default_expr = arena_fmt(c->a, "(%s)", e->new_default);
	return true;
}

/* The new name of an old column that is carried, with an entry or without;
 * NULL if it is not. */
static const char *renamed(const struct lens_compile *c, const char *old)
{
	const char *name = carried_name(c, old);

	for (size_t i = 0; name == NULL && !in_place(c) && i < c->in->n_columns;
	     i++) {
		const struct spec_column *e = &c->in->columns[i];

		if (is_plain_entry(e) && e->new_type == NULL &&
		    entry_uses(e, old))
			name = e->new_name;
	}
	return name;
}

/* A carried generated column is generated from the same columns' new names;
 * that needs them all to be carried. */
static bool derive_generated(const struct lens_compile *c, struct column *new)
{
	const char **names;
	struct template t;

	if (!new->generated)
		return true;
	if (!template_parse(new->default_expr, c->old->columns,
			    c->old->n_columns, NULL, c->a, &t, c->p))
		return fail_again(c, c->in->line);
	names = arena_alloc(c->a, (t.n + 1) * sizeof(*names));
	for (size_t i = 0; i < t.n; i++) {
		const char *from = c->old->columns[t.column[i]].name;
		const char *to = renamed(c, from);

		if (to == NULL)
			return lens_fail(
			    c, c->in->line,
			    "generated column \"%s\" "
			    "is computed from \"%s\", which is "
			    "converted: give it an entry of its own",
			    new->name, from);
		names[i] = quote_name(to, c->a);
	}
	new->default_expr = template_join(&t, names, c->a);
	return true;
}

/* An added column stands behind those that were there. */
static bool derive_added(const struct lens_compile *c, struct column *columns,
			 size_t *n)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (!derive_entry(c, &c->in->columns[i], &columns[(*n)++]))
			return false;
	return true;
}

/* The new columns that stand where old column `at` stood. */
static bool derive_at(const struct lens_compile *c, const struct column *at,
		      struct column *columns, size_t *n)
{
	const char *name = carried_name(c, at->name);

	assert(at->name != NULL);
	if (name != NULL) {
		carry(c, at, name, &columns[*n]);
		return derive_generated(c, &columns[(*n)++]);
	}
	for (size_t i = 0; !in_place(c) && i < c->in->n_columns; i++) {
		const struct spec_column *e = &c->in->columns[i];

		if (strcmp(e->old[0], at->name) != 0)
			continue;
		if (!derive_entry(c, e, &columns[*n]) ||
		    !derive_generated(c, &columns[*n]))
			return false;
		(*n)++;
	}
	return true;
}

bool lens_derive_new(struct lens_compile *c)
{
	size_t most = c->old->n_columns + c->in->n_columns, n = 0;
	struct column *columns = arena_alloc(c->a, most * sizeof(*columns));
	struct relation *new = arena_alloc(c->a, sizeof(*new));

	for (size_t i = 0; i < c->old->n_columns; i++)
		if (!derive_at(c, &c->old->columns[i], columns, &n))
			return false;
	if (in_place(c) && !derive_added(c, columns, &n))
		return false;
	*new = (struct relation){.schema = c->in->new.schema,
				 .name = c->in->new.name,
				 .kind = 'r',
				 .owner = c->old->owner,
				 .comment = c->old->comment,
				 .replica_identity = c->old->replica_identity,
				 .row_security = c->old->row_security,
				 .rows = -1,
				 .n_columns = n,
				 .columns = columns};
	for (size_t i = 0; i < n; i++) {
		columns[i].attnum = (int16_t)(i + 1);
		if (lens_find_column(new, columns[i].name) != (int)i)
			return lens_fail(c, c->in->line,
					 "column \"%s\" of %s.%s is made twice",
					 columns[i].name, new->schema,
					 new->name);
	}
	c->new = new;
	return true;
}

/* 2. The mappings. */

static void tie(const struct lens_compile *c, unsigned old, unsigned new)
{
	c->news[new].carried = c->news[new].bijective = true;
	c->news[new].old_index = old;
	c->olds[old].carried = c->olds[old].bijective = true;
	c->olds[old].new_index = new;
	c->has_way_back[old] = true;
}

/* A plain column whose types differ: an explicit cast both ways. */
static void cast_both_ways(const struct lens_compile *c, unsigned old,
			   unsigned new, bool bijective)
{
	template_of_column(old, c->a, &c->news[new].forward);
	template_of_column(new, c->a, &c->olds[old].reverse);
	c->news[new].bijective = c->olds[old].bijective = bijective;
	c->has_way_back[old] = true;
}

static bool map_plain(const struct lens_compile *c, unsigned line, unsigned old,
		      unsigned new, bool bijective)
{
	if (c->has_way_back[old])
		return lens_fail(c, line, "column \"%s\" has two ways back",
				 c->old->columns[old].name);
	if (!type_same(c->old->columns[old].type, c->new->columns[new].type))
		cast_both_ways(c, old, new, bijective);
	else if (in_place(c) && strcmp(c->old->columns[old].name,
				       c->new->columns[new].name) != 0)
		cast_both_ways(c, old, new, true);
	else
		tie(c, old, new);
	return true;
}

static bool names_only(const struct template *t, unsigned column)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->column[i] != column)
			return false;
	return t->n > 0;
}

static bool map_reverse(const struct lens_compile *c,
			const struct spec_column *e, size_t i, unsigned new)
{
	unsigned old = (unsigned)lens_find_column(c->old, e->old[i]);
	struct lens_old *o = &c->olds[old];

	if (c->has_way_back[old])
		return lens_fail(c, e->line, "column \"%s\" has two ways back",
				 e->old[i]);
	if (!template_parse(e->reverse[i], c->new->columns, c->new->n_columns,
			    c->known, c->a, &o->reverse, c->p))
		return fail_again(c, e->line);
	if (e->bijective && !names_only(&o->reverse, new))
		return lens_fail(c, e->line,
				 "a bijective reverse names the new "
				 "column and no other");
	o->bijective = e->bijective;
	c->has_way_back[old] = true;
	return true;
}

static bool map_entry(const struct lens_compile *c, const struct spec_column *e,
		      unsigned new)
{
	unsigned old = (unsigned)lens_find_column(c->old, e->old[0]);
	struct lens_new *n = &c->news[new];

	if (e->new_type != NULL &&
	    !type_same(e->new_type, c->new->columns[new].type))
		return lens_fail(c, e->line,
				 "column \"%s\" of %s.%s is %s, not %s",
				 e->new_name, c->new->schema, c->new->name,
				 c->new->columns[new].type, e->new_type);
	if (is_plain_entry(e))
		return map_plain(c, e->line, old, new, e->bijective);
	if (e->forward == NULL)
		template_of_column(old, c->a, &n->forward);
	else if (!template_parse(e->forward, c->old->columns, c->old->n_columns,
				 c->known, c->a, &n->forward, c->p))
		return fail_again(c, e->line);
	if (e->bijective && !names_only(&n->forward, old))
		return lens_fail(c, e->line,
				 "a bijective forward names the old "
				 "column and no other");
	n->bijective = e->bijective;
	for (size_t i = 0; has_reverse(e) && i < e->n_old; i++)
		if (e->reverse[i] != NULL && !map_reverse(c, e, i, new))
			return false;
	return true;
}

static int carried_from(const struct lens_compile *c, const char *new)
{
	for (size_t i = 0; i < c->old->n_columns; i++) {
		const char *name = carried_name(c, c->old->columns[i].name);

		if (name != NULL && strcmp(name, new) == 0)
			return (int)i;
	}
	return NOWHERE;
}

static bool map_new(const struct lens_compile *c, unsigned new)
{
	const struct column *column = &c->new->columns[new];
	const struct spec_column *e = entry_of_new(c, column->name);
	int old;

	if (e != NULL)
		return map_entry(c, e, new);
	old = carried_from(c, column->name);
	if (old != NOWHERE)
		return map_plain(c, c->in->line, (unsigned)old, new, false);
	c->news[new].extra = true;
	return true;
}

/* 3. The checks. */

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

static bool check_old(const struct lens_compile *c, unsigned old)
{
	const struct column *column = &c->old->columns[old];

	for (size_t i = 0; i < c->in->n_columns; i++)
		if (!c->has_way_back[old] &&
		    entry_uses(&c->in->columns[i], column->name))
			return lens_fail(c, c->in->columns[i].line,
					 "column \"%s\" "
					 "has no way back: reverse is needed",
					 column->name);
	if (!c->has_way_back[old])
		return lens_fail(c, c->in->line,
				 "column \"%s\" has no place in %s.%s",
				 column->name, c->new->schema, c->new->name);
	return true;
}

static bool check_extra(const struct lens_compile *c, unsigned new)
{
	const struct column *column = &c->new->columns[new];

	if (!c->news[new].extra || !column->not_null ||
	    column->default_expr != NULL || column->identity)
		return true;
	return lens_fail(c, c->in->line,
			 "column \"%s\" of %s.%s is not in the "
			 "lens: it needs a default, or to be nullable",
			 column->name, c->new->schema, c->new->name);
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
	if (!in_place(c) && strcmp(c->in->old.schema, c->in->new.schema) == 0 &&
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

static bool sorts_alike(const struct lens_compile *c, const char *new)
{
	const struct spec_column *e = entry_of_new(c, new);

	return e != NULL && e->order == ORDER_PRESERVING;
}

/* In a table that is both models: PostgreSQL sees through the cast. */
static bool only_renames(const struct lens_old *o, const struct lens_new *n)
{
	return o->reverse.n == 1 && o->reverse.text[0][0] == '\0' &&
	       o->reverse.text[1][0] == '\0' &&
	       type_same(o->column->type, n->column->type);
}

/* Which new columns can be looked up by the old one's value. */
static void find_matches(const struct lens_compile *c)
{
	for (unsigned i = 0; i < c->new->n_columns; i++) {
		struct lens_new *n = &c->news[i];
		const struct lens_old *o;

		if (n->carried || n->extra || !n->bijective)
			continue;
		o = &c->olds[n->forward.column[0]];
		if (!o->carried && o->bijective && !only_renames(o, n))
			n->match =
			    match_make(o->column, n,
				       sorts_alike(c, n->column->name), c->a);
		n->ordered = n->match != NULL && n->forward.strict &&
			     sorts_alike(c, n->column->name);
	}
}

/* Both sides' columns, mapped to nothing yet. */
static void begin_columns(struct lens_compile *c)
{
	c->olds = arena_alloc(c->a, c->old->n_columns * sizeof(*c->olds));
	c->news = arena_alloc(c->a, c->new->n_columns * sizeof(*c->news));
	c->has_way_back = arena_alloc(c->a, c->old->n_columns);
	for (unsigned i = 0; i < c->old->n_columns; i++)
		c->olds[i].column = &c->old->columns[i];
	for (unsigned i = 0; i < c->new->n_columns; i++)
		c->news[i].column = &c->new->columns[i];
}

bool lens_compile_columns(struct lens_compile *c)
{
	begin_columns(c);
	for (unsigned i = 0; i < c->new->n_columns; i++) {
		c->news[i].wanted =
		    c->wanted == NULL ? c->news[i].column
				      : relation_find_column(
					    c->wanted, c->news[i].column->name);
		if (!map_new(c, i))
			return false;
	}
	for (unsigned i = 0; i < c->old->n_columns; i++)
		if (!check_old(c, i))
			return false;
	for (unsigned i = 0; i < c->new->n_columns; i++)
		if (!check_extra(c, i))
			return false;
	find_matches(c);
	return true;
}

/* 4. Both models in one table. */

static bool has_added(const struct lens_compile *c, const struct relation *live)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (lens_find_column(live, c->in->columns[i].new_name) !=
		    NOWHERE)
			return true;
	return false;
}

static bool is_replaced(const struct lens_compile *c, const char *column)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (entry_uses(&c->in->columns[i], column))
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
	bool made = new != NULL && (!in_place(c) || has_added(c, new));

	if (c->spec->expand != NULL && !made)
		return NULL;
	return new != NULL &&new->known != NULL ? new->known : c->old->known;
}

const char *lens_own_ref(const struct lens *l, const char *what,
			 struct arena *a)
{
	return quote_qualified(
	    "pgtandem", arena_fmt(a, "%s_%u_%s", l->migration, l->number, what),
	    a);
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

	if (!lens_child_compile(c->spec, number, c->old, c->new, c->a, &child,
				&c->new, c->p))
		return false;
	ret->child = child;
	begin_columns(c);
	for (unsigned i = 0; i < c->new->n_columns; i++)
		tie(c,
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
	    (in_place(&c) ? !compile_in_place(&c, new)
			  : new == NULL && !lens_derive_new(&c)) ||
	    !lens_check_entries(&c) || !lens_compile_columns(&c) ||
	    !lens_compile_key(&c, key))
		return false;
	lens_fill(l, &c, number, key);
	*ret = l;
	return true;
}

/* The template over `side`'s columns, each behind `prefix`. */
static const char *fill(const struct template *t, const struct relation *side,
			const char *prefix, const char *type, struct arena *a)
{
	const char **names = arena_alloc(a, (t->n + 1) * sizeof(*names));

	for (size_t i = 0; i < t->n; i++)
		names[i] =
		    arena_fmt(a, "%s%s", prefix,
			      quote_name(side->columns[t->column[i]].name, a));
	return arena_fmt(a, "CAST((%s) AS %s)", template_join(t, names, a),
			 type);
}

const char *lens_forward(const struct lens *l, unsigned new_index,
			 const char *prefix, struct arena *a)
{
	const struct lens_new *n = &l->news[new_index];

	if (n->extra)
		return NULL;
	if (n->carried)
		return arena_fmt(
		    a, "%s%s", prefix,
		    quote_name(l->old->columns[n->old_index].name, a));
	return fill(&n->forward, l->old, prefix,
		    type_before_assignment(n->column->type, a), a);
}

const char *lens_reverse(const struct lens *l, unsigned old_index,
			 const char *prefix, struct arena *a)
{
	const struct lens_old *o = &l->olds[old_index];

	if (o->carried)
		return arena_fmt(
		    a, "%s%s", prefix,
		    quote_name(l->new->columns[o->new_index].name, a));
	if (l->child != NULL)
		return child_reverse(l, child_find_moved(l, old_index), prefix,
				     a);
	return fill(&o->reverse, l->new, prefix, o->column->type, a);
}

const char *lens_columns(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (unsigned i = 0; i < l->n_old; i++) {
		const char *name = quote_name(l->olds[i].column->name, a);
		const char *value = lens_reverse(l, i, "", a);

		if (strcmp(name, value) == 0)
			sqltext_item(&t, ", ", "%s", name);
		else
			sqltext_item(&t, ", ", "%s AS %s", value, name);
	}
	return t.s;
}

const char *copy_view(const struct lens *l, const char *what, struct arena *a)
{
	return quote_qualified(
	    "pgtandem",
	    arena_fmt(a, "%s_%u_copy_%s", l->migration, l->number, what), a);
}

bool lens_tells_place(const struct lens *l)
{
	if (l->kind != LENS_TABLE)
		return false;
	for (size_t i = 0; i < l->old->n_grants; i++)
		if (l->old->grants[i].column != NULL)
			return false;
	return true;
}

#include "rewrite/lens/lens_child.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "rewrite/lens/lens_compile.h"
#include "rewrite/lens/template.h"

static bool parse(const struct lens_compile *c, unsigned line,
		  const char *expression, const struct relation *side,
		  struct template *ret)
{
	return template_parse(expression, side->columns, side->n_columns,
			      c->old->known, c->a, ret, c->p) ||
	       lens_fail_again(c, line);
}

static const struct spec_column *moved_entry(const struct lens_compile *c,
					     const char *name)
{
	for (size_t i = 0; i < c->in->n_columns; i++)
		if (strcmp(c->in->columns[i].old[0], name) == 0)
			return &c->in->columns[i];
	return NULL;
}

/* 1. The old relation without what moves. */

static bool keeps_all(const struct lens_compile *c, const char *const *columns,
		      size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i] != NULL && moved_entry(c, columns[i]) != NULL)
			return false;
	return true;
}

static const struct relation *what_stays(const struct lens_compile *c)
{
	const struct relation *old = c->old;
	struct relation *r = arena_alloc(c->a, sizeof(*r));
	struct column *columns =
	    arena_alloc(c->a, (old->n_columns + 1) * sizeof(*columns));
	struct constraint *constraints =
	    arena_alloc(c->a, (old->n_constraints + 1) * sizeof(*constraints));
	struct index *indexes =
	    arena_alloc(c->a, (old->n_indexes + 1) * sizeof(*indexes));

	*r = *old;
	r->n_columns = r->n_constraints = r->n_indexes = 0;
	r->columns = columns;
	r->constraints = constraints;
	r->indexes = indexes;
	for (size_t i = 0; i < old->n_columns; i++)
		if (moved_entry(c, old->columns[i].name) == NULL)
			columns[r->n_columns++] = old->columns[i];
	for (size_t i = 0; i < old->n_constraints; i++)
		if (keeps_all(c, old->constraints[i].columns,
			      old->constraints[i].n_columns))
			constraints[r->n_constraints++] = old->constraints[i];
	for (size_t i = 0; i < old->n_indexes; i++)
		if (keeps_all(c, old->indexes[i].columns,
			      old->indexes[i].n_columns))
			indexes[r->n_indexes++] = old->indexes[i];
	return r;
}

/* 2. The child table, while it does not exist. */

/* The type of an expression that says it itself; of any other, where the
 * specification makes the table, something that will do until it is there. */
static const char *type_of(const struct lens_compile *c, const char *expression)
{
	const char *cast = expression ? strrchr(expression, ':') : NULL;
	struct problem ignored;

	if (expression == NULL)
		return c->spec->expand != NULL ? "text" : NULL;
	if (strcasecmp(expression, "true") == 0 ||
	    strcasecmp(expression, "false") == 0)
		return "boolean";
	if (cast != NULL && cast > expression && cast[-1] == ':' &&
	    type_check(cast + 1, &ignored))
		return cast + 1;
	return c->spec->expand != NULL ? "text" : NULL;
}

static bool derive_column(const struct lens_compile *c,
			  const struct spec_column *e, struct column *ret)
{
	const char *type = e->new_type ? e->new_type : type_of(c, e->forward);
	struct template forward = {0};
	const struct column *from = NULL;

	if (e->forward != NULL &&
	    !parse(c, e->line, e->forward, c->old, &forward))
		return false;
	if (e->forward != NULL && template_is_bare(&forward))
		from = &c->old->columns[forward.column[0]];
	if (from == NULL && type == NULL)
		return lens_fail(
		    c, e->line,
		    "column \"%s\" needs a type: its forward is not "
		    "a column alone",
		    e->new_name);
	if (e->new_type != NULL && !type_check(e->new_type, c->p))
		return lens_fail(c, e->line, "\"%s\" is no type", e->new_type);
	*ret = (struct column){
	    .name = e->new_name,
	    .type = e->new_type == NULL && from ? from->type : type,
	    .type_oid = e->new_type == NULL && from ? from->type_oid : 0,
	    .collation = e->new_type == NULL && from ? from->collation : NULL,
	    .typmod = -1,
	    .not_null = e->new_not_null_given ? e->new_not_null
			: from		      ? from->not_null
					      : false,
	    .default_expr =
		e->new_default ? arena_fmt(c->a, "(%s)", e->new_default) : NULL,
	    .statistics = -1,
	};
	return true;
}

static bool derive_child(struct lens_compile *c)
{
	size_t n = 0, most = c->in->n_parent + c->in->n_child;
	struct column *columns = arena_alloc(c->a, most * sizeof(*columns));
	struct relation *r = arena_alloc(c->a, sizeof(*r));

	for (size_t i = 0; i < c->in->n_parent; i++) {
		const struct column *key =
		    relation_find_column(c->old, c->in->parent[i].old);

		if (key == NULL)
			return lens_fail(c, c->in->line,
					 "key column \"%s\" does not exist in "
					 "%s.%s",
					 c->in->parent[i].old, c->old->schema,
					 c->old->name);
		columns[n++] = (struct column){.name = c->in->parent[i].new,
					       .type = key->type,
					       .type_oid = key->type_oid,
					       .typmod = key->typmod,
					       .collation = key->collation,
					       .not_null = true,
					       .statistics = -1};
	}
	for (size_t i = 0; i < c->in->n_child; i++)
		if (!derive_column(c, &c->in->child[i], &columns[n++]))
			return false;
	for (size_t i = 0; i < n; i++)
		columns[i].attnum = (int16_t)(i + 1);
	*r = (struct relation){.schema = c->in->new.schema,
			       .name = c->in->new.name,
			       .kind = 'r',
			       .owner = c->old->owner,
			       .replica_identity = 'd',
			       .rows = -1,
			       .n_columns = n,
			       .columns = columns};
	c->new = r;
	return true;
}

/* 3. The mappings. */

static bool map_parents(const struct lens_compile *c, unsigned *parent)
{
	for (size_t k = 0; k < c->in->n_key; k++) {
		const struct spec_key *pair = c->in->parent;
		int at;

		while (strcmp(pair->old, c->in->key[k].old) != 0)
			pair++; /* config/ has checked that it is there */
		at = lens_find_column(c->new, pair->new);
		if (at < 0)
			return lens_fail(
			    c, c->in->line,
			    "column \"%s\" does not exist in %s.%s", pair->new,
			    c->new->schema, c->new->name);
		parent[k] = (unsigned)at;
		c->child_columns[at].parent = true;
	}
	return true;
}

static bool map_column(const struct lens_compile *c,
		       const struct spec_column *e)
{
	int at = lens_find_column(c->new, e->new_name);
	struct child_column *column = at < 0 ? NULL : &c->child_columns[at];
	const struct column *from;

	if (column == NULL)
		return lens_fail(c, e->line,
				 "column \"%s\" does not exist in %s.%s",
				 e->new_name, c->new->schema, c->new->name);
	if (column->parent || column->mapped)
		return lens_fail(c, e->line, "column \"%s\" is made twice",
				 e->new_name);
	if (e->new_type != NULL &&
	    !type_same(e->new_type, column->column->type))
		return lens_fail(c, e->line,
				 "column \"%s\" of %s.%s is %s, not %s",
				 e->new_name, c->new->schema, c->new->name,
				 column->column->type, e->new_type);
	if (e->forward == NULL)
		return true;
	if (!parse(c, e->line, e->forward, c->old, &column->forward))
		return false;
	column->mapped = true;
	if (!template_is_bare(&column->forward))
		return true;
	from = &c->old->columns[column->forward.column[0]];
	column->old_index = column->forward.column[0];
	column->plain = moved_entry(c, from->name) != NULL &&
			type_same(from->type, column->column->type);
	return true;
}

static bool map_columns(const struct lens_compile *c)
{
	for (size_t i = 0; i < c->in->n_child; i++)
		if (!map_column(c, &c->in->child[i]))
			return false;
	for (size_t i = 0; i < c->new->n_columns; i++) {
		const struct child_column *column = &c->child_columns[i];

		if (column->parent || column->mapped ||
		    !column->column->not_null || column->column->identity ||
		    column->column->default_expr != NULL)
			continue;
		return lens_fail(
		    c, c->in->line,
		    "column \"%s\" of %s.%s is not in the lens: it "
		    "needs a forward, a default, or to be nullable",
		    column->column->name, c->new->schema, c->new->name);
	}
	return true;
}

static bool map_back(const struct lens_compile *c, const struct spec_column *e,
		     struct child_moved *ret)
{
	ret->old_index = (unsigned)lens_find_column(c->old, e->old[0]);
	if (e->reverse != NULL && e->reverse[0] != NULL) {
		if (!parse(c, e->line, e->reverse[0], c->new, &ret->reverse))
			return false;
		ret->plain =
		    template_is_bare(&ret->reverse) &&
		    type_same(c->new->columns[ret->reverse.column[0]].type,
			      c->old->columns[ret->old_index].type);
		if (ret->plain)
			ret->column = ret->reverse.column[0];
		return true;
	}
	for (unsigned i = 0; i < c->new->n_columns; i++) {
		if (!c->child_columns[i].plain ||
		    c->child_columns[i].old_index != ret->old_index)
			continue;
		template_of_column(i, c->a, &ret->reverse);
		ret->plain = true;
		ret->column = i;
		return true;
	}
	return lens_fail(c, e->line,
			 "column \"%s\" has no way back: reverse is needed",
			 e->old[0]);
}

static bool map_moved(const struct lens_compile *c, struct child_moved *moved)
{
	size_t n = 0;

	for (size_t i = 0; i < c->old->n_columns; i++) {
		const struct spec_column *e =
		    moved_entry(c, c->old->columns[i].name);

		if (e != NULL && !map_back(c, e, &moved[n++]))
			return false;
	}
	return true;
}

/* Cuts ASC, DESC, NULLS FIRST and NULLS LAST off the end of an item. */
static const char *cut_order(char *item, struct arena *a)
{
	static const char *const words[] = {"asc", "desc", "nulls first",
					    "nulls last"};
	const char *order = "";

	for (size_t i = 0; i < sizeof(words) / sizeof(*words);) {
		size_t len = strlen(item), n = strlen(words[i]);

		while (len > 0 && strchr(" \t\n", item[len - 1]) != NULL)
			item[--len] = '\0';
		if (len <= n || strcasecmp(item + len - n, words[i]) != 0 ||
		    strchr(" \t\n)", item[len - n - 1]) == NULL) {
			i++;
			continue;
		}
		order = arena_fmt(a, " %s%s", words[i], order);
		item[len - n] = '\0';
		i = 0;
	}
	return order;
}

/* While the specification's own text has not yet made the table, not all of
 * its columns are known. */
static bool map_pick(const struct lens_compile *c, struct child_pick *pick,
		     size_t *ret_n)
{
	bool known = c->new->oid != 0 || c->spec->expand == NULL;

	*ret_n = 0;
	for (size_t i = 0; i < c->in->n_pick; i++) {
		char *item = arena_str(c->a, c->in->pick[i]);

		pick[*ret_n].order = cut_order(item, c->a);
		if (parse(c, c->in->line, item, c->new, &pick[*ret_n].by))
			(*ret_n)++;
		else if (known)
			return false;
	}
	return true;
}

/* 4. What the child table's constraints promise. */

static bool are_parents(const struct lens_compile *c,
			const char *const *columns, size_t n)
{
	if (n != c->in->n_parent)
		return false;
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < n && (columns[i] == NULL ||
				 strcmp(c->in->parent[k].new, columns[i]) != 0))
			k++;
		if (k == n)
			return false;
	}
	return true;
}

static bool is_single(const struct lens_compile *c)
{
	const struct relation *r = c->new;

	if (r->oid == 0 && r->n_constraints == 0)
		return c->in->n_pick == 0;
	for (size_t i = 0; i < r->n_constraints; i++)
		if ((r->constraints[i].kind == CONSTRAINT_PRIMARY ||
		     r->constraints[i].kind == CONSTRAINT_UNIQUE) &&
		    !r->constraints[i].deferrable &&
		    are_parents(c, r->constraints[i].columns,
				r->constraints[i].n_columns))
			return true;
	for (size_t i = 0; i < r->n_indexes; i++)
		if (r->indexes[i].unique &&
		    strstr(r->indexes[i].definition, " WHERE ") == NULL &&
		    are_parents(c, r->indexes[i].columns,
				r->indexes[i].n_columns))
			return true;
	return false;
}

/* Does a foreign key of the child's rows to their parents say one of these? */
static bool has_action(const struct lens_compile *c, const char *one,
		       const char *other)
{
	const struct relation *r = c->new;
	const char *old = quote_qualified(c->old->schema, c->old->name, c->a);

	if (r->oid == 0 && r->n_constraints == 0) /* as expand makes it */
		return true;
	for (size_t i = 0; i < r->n_constraints; i++) {
		const struct constraint *k = &r->constraints[i];

		if (are_parents(c, k->columns, k->n_columns) &&
		    constraint_refers_to(k, old) &&
		    (strstr(k->definition, one) != NULL ||
		     strstr(k->definition, other) != NULL))
			return true;
	}
	return false;
}

static const char *own_ref(const struct lens_compile *c, unsigned number,
			   const char *what)
{
	return quote_qualified(
	    "pgtandem",
	    arena_fmt(c->a, "%s_%u_%s", c->spec->name, number, what), c->a);
}

static bool compile_all(struct lens_compile *c, unsigned number,
			struct lens_child *ret)
{
	const struct relation *child = c->new;
	size_t n = child != NULL ? child->n_columns : 0;
	unsigned *parent = arena_alloc(c->a, c->in->n_key * sizeof(*parent));
	struct child_moved *moved =
	    arena_alloc(c->a, c->in->n_columns * sizeof(*moved));
	struct child_pick *pick =
	    arena_alloc(c->a, (c->in->n_pick + 1) * sizeof(*pick));

	assert(child != NULL);
	c->child_columns = arena_alloc(c->a, n * sizeof(*c->child_columns));
	for (size_t i = 0; i < n; i++)
		c->child_columns[i].column = &child->columns[i];
	*ret = (struct lens_child){.has_when = c->in->when != NULL};
	if (!map_parents(c, parent) || !map_columns(c) ||
	    !map_moved(c, moved) || !map_pick(c, pick, &ret->n_pick) ||
	    (ret->has_when &&
	     !parse(c, c->in->line, c->in->when, c->old, &ret->when)))
		return false;
	ret->relation = c->new;
	ret->ref = quote_qualified(c->new->schema, c->new->name, c->a);
	ret->n_columns = n;
	ret->columns = c->child_columns;
	ret->parent = parent;
	ret->n_moved = c->in->n_columns;
	ret->moved = moved;
	ret->pick = pick;
	ret->single = is_single(c);
	ret->cascades = has_action(c, "ON DELETE CASCADE", "ON DELETE CASCADE");
	ret->acts = has_action(c, "ON DELETE CASCADE", "ON UPDATE CASCADE");
	ret->stash_ref = own_ref(c, number, "stash");
	ret->put_ref = own_ref(c, number, "put");
	ret->free_ref = own_ref(c, number, "free");
	ret->drop_ref = own_ref(c, number, "drop");
	ret->set_new_ref = own_ref(c, number, "set_new");
	ret->set_old_ref = own_ref(c, number, "set_old");
	ret->give_new_ref = own_ref(c, number, "give_new");
	return true;
}

bool lens_child_compile(struct lens_compile *c, unsigned number,
			const struct lens_child **ret)
{
	struct lens_child *made = arena_alloc(c->a, sizeof(*made));

	if (!child_check_old(c) || (c->new == NULL && !derive_child(c)) ||
	    !compile_all(c, number, made))
		return false;
	c->new = what_stays(c);
	*ret = made;
	return true;
}

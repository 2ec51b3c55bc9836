/*
 * The views that COPY FROM writes into, where the rows of a relation under
 * migration must reach both models or the other one.
 *
 * COPY takes a view that has an INSTEAD OF INSERT trigger and does the rest as
 * on a table: it reads the columns' types, applies defaults, counts rows, and
 * names lines in errors.  The view reads nothing; its trigger does to each row
 * what the rewriting does to an INSERT of it.  The trigger runs with the
 * client's rights, and COPY sets identity columns as OVERRIDING SYSTEM VALUE
 * does.
 *
 *   L_copy_old   old shape, into old, synced to new     (dual_write, read_new)
 *   L_copy_both  old shape, into new, synced to old     (write_new)
 *   L_copy_lens  old shape, into new                    (from new_only on)
 *   L_copy_new   new shape, into new, synced to old     (write_new); of a child
 *                lens, into the child table
 */
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/lens_child.h"
#include "rewrite/write/write_child.h"

/* The rows of one of these views, on their way. */
struct copy {
	const struct ddl_build *b;
	const struct relation *shape;
	const char *name;	/* of the view and its function, quoted */
	const char *into;	/* qualified */
	const char *sync;	/* "function(NULL", before the key; or NULL */
	const char *const *key; /* names in `into`, quoted */
	struct sqltext columns, values;
	struct sqltext first; /* statements before the row is written */
	const char *conflict; /* "ON CONFLICT ..." or "" */
};

static const char *copied_rows(const struct copy *c)
{
	const struct lens *l = c->b->l;
	struct sqltext keys;

	if (c->sync == NULL)
		return "";
	sqltext_begin(&keys, c->b->a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_put(&keys, ", i.%s", c->key[i]);
	if (lens_tells_place(l))
		sqltext_put(
		    &keys, ", i.%s",
		    c->into == l->lens_ref ? "\"pgtandem.ctid\"" : "ctid");
	return arena_fmt(c->b->a, " RETURNING %s%s) INTO v_synced", c->sync,
			 keys.s);
}

static void put_view(struct sqltext *t, const struct copy *c)
{
	struct arena *a = c->b->a;
	struct sqltext columns;

	sqltext_begin(&columns, a);
	for (size_t i = 0; i < c->shape->n_columns; i++) {
		const struct column *k = &c->shape->columns[i];

		if (k->generated == 0)
			sqltext_item(&columns, ", ",
				     "CAST(NULL AS %s)%s%s AS %s", k->type,
				     k->collation ? " COLLATE " : "",
				     k->collation ? k->collation : "",
				     quote_name(k->name, a));
	}
	sqltext_put(t,
		    "DROP VIEW IF EXISTS %s;\n"
		    "CREATE VIEW %s AS SELECT %s WHERE false;\n",
		    c->name, c->name, columns.s);
	for (size_t i = 0; i < c->shape->n_columns; i++) {
		const char *value = ddl_old_default(&c->shape->columns[i], a);

		if (value != NULL)
			sqltext_put(t,
				    "ALTER VIEW %s ALTER COLUMN %s"
				    " SET DEFAULT %s;\n",
				    c->name,
				    quote_name(c->shape->columns[i].name, a),
				    value);
	}
}

static void add_copy(struct ddl_build *b, const struct copy *c)
{
	struct sqltext t;

	sqltext_begin(&t, b->a);
	put_view(&t, c);
	sqltext_put(&t,
		    "CREATE OR REPLACE FUNCTION %s() RETURNS trigger"
		    " LANGUAGE plpgsql AS $pgtandem$\n"
		    "#variable_conflict use_column\n"
		    "DECLARE\n\tv_synced pg_catalog.text;\n"
		    "BEGIN\n%s\tINSERT INTO %s AS i (%s)"
		    " OVERRIDING SYSTEM VALUE VALUES (%s)%s%s;\n"
		    "\tRETURN NEW;\nEND\n$pgtandem$;\n"
		    "CREATE TRIGGER copy_row INSTEAD OF INSERT ON %s"
		    " FOR EACH ROW EXECUTE FUNCTION %s();\n"
		    "GRANT SELECT, INSERT ON %s TO PUBLIC",
		    c->name, c->first.s, c->into, c->columns.s, c->values.s,
		    c->conflict, copied_rows(c), c->name, c->name, c->name);
	ddl_add(b, DDL_NO_LOCK, t.s, "create view %s", c->name);
}

static const char **key_names(const struct ddl_build *b, bool of_new)
{
	const struct lens *l = b->l;
	const char **names = arena_alloc(b->a, l->n_key * sizeof(*names));

	for (size_t i = 0; i < l->n_key; i++)
		names[i] = quote_name(
		    of_new ? l->news[l->key[i].new_index].column->name
			   : l->olds[l->key[i].old_index].column->name,
		    b->a);
	return names;
}

static void begin(struct copy *c, const struct ddl_build *b, const char *what,
		  const struct relation *shape)
{
	*c = (struct copy){
	    .b = b,
	    .shape = shape,
	    .name = copy_view(b->l, what, b->a),
	    .conflict = "",
	};
	sqltext_begin(&c->columns, b->a);
	sqltext_begin(&c->values, b->a);
	sqltext_begin(&c->first, b->a);
}

static const char *call(const char *function, struct arena *a)
{
	return arena_fmt(a, "%s(NULL", function);
}

static void put_straight(struct copy *c)
{
	for (size_t i = 0; i < c->shape->n_columns; i++) {
		const struct column *k = &c->shape->columns[i];
		const char *name = quote_name(k->name, c->b->a);

		if (k->generated != 0)
			continue;
		sqltext_item(&c->columns, ", ", "%s", name);
		sqltext_item(&c->values, ", ", "NEW.%s", name);
	}
}

/* A row of a merge's new relation has both, each with its function. */
static const char *both_halves(const struct copy *c)
{
	const struct lens *l = c->b->l;
	struct sqltext t;

	sqltext_begin(&t, c->b->a);
	sqltext_put(&t, "%s", c->sync);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_put(&t, ", i.%s", c->key[i]);
	sqltext_put(&t, "), %s", call(l->half->other->to_old_ref, c->b->a));
	return t.s;
}

/* Into the relation whose shape it has. */
static void add_straight(struct ddl_build *b, const char *what, bool of_new)
{
	const struct lens *l = b->l;
	struct copy c;

	begin(&c, b, what, of_new ? l->new : l->old);
	c.into = of_new ? l->new_ref : l->old_ref;
	c.sync = call(of_new ? l->to_old_ref : l->to_new_ref, b->a);
	c.key = key_names(b, of_new);
	if (of_new && l->half != NULL)
		c.sync = both_halves(&c);
	put_straight(&c);
	add_copy(b, &c);
}

/* The child table's own rows. */
static void add_children(struct ddl_build *b)
{
	const struct lens *l = b->l;
	const char **names = arena_alloc(b->a, l->n_key * sizeof(*names));
	struct copy c;

	begin(&c, b, "new", l->child->relation);
	c.into = l->child->ref;
	c.sync = call(l->to_old_ref, b->a);
	for (size_t i = 0; i < l->n_key; i++)
		names[i] = child_parent(l, i, b->a);
	c.key = names;
	put_straight(&c);
	add_copy(b, &c);
}

/* Old columns that are not stored, or will not be, are asked for here. */
static void put_required(struct copy *c)
{
	struct arena *a = c->b->a;

	for (unsigned i = 0; i < c->b->l->n_old; i++) {
		const char *name;

		if (!old_is_required(c->b->l, i))
			continue;
		name = arena_fmt(a, "NEW.%s",
				 quote_name(c->b->l->olds[i].column->name, a));
		sqltext_put(&c->first, "\t%s := %s;\n", name,
			    old_required(c->b->l, i, name, a));
	}
}

/* Where one table is both models and old is kept, it has the client's own old
 * values. */
static void put_old_values(struct copy *c)
{
	const struct lens *l = c->b->l;
	struct arena *a = c->b->a;

	for (size_t i = 0; i < l->n_old; i++) {
		const char *name = l->olds[i].column->name;

		if (l->olds[i].carried ||
		    (l->kind != LENS_COLUMNS && l->child == NULL))
			continue;
		sqltext_item(&c->columns, ", ", "%s",
			     quote_name(arena_fmt(a, "old.%s", name), a));
		sqltext_item(&c->values, ", ", "NEW.%s", quote_name(name, a));
	}
}

/* What a row of a half is asked before it is written, and where it goes. */
static void put_half(struct copy *c)
{
	const struct lens *l = c->b->l;
	struct sqltext keys;

	sqltext_put(&c->first, "%s", ddl_half_nulls(l, c->b->a));
	if (!lens_fills(l))
		return;
	c->into = l->half->fill_ref;
	c->conflict = half_fill_clause(l, "i", false, c->b->a);
	if (l->half->link != HALF_FOLLOWS)
		return;
	sqltext_begin(&keys, c->b->a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(&keys, ", ", "NEW.%s", c->key[i]);
	sqltext_put(&c->first, "\tPERFORM %s(%s);\n", l->half->present_ref,
		    keys.s);
}

/* Through the lens, as an INSERT of all columns. */
static void add_through(struct ddl_build *b, const char *what, const char *sync)
{
	const struct lens *l = b->l;
	int stash = l->child != NULL ? child_stash_column(l, NIL) : -1;
	struct copy c;

	begin(&c, b, what, l->old);
	c.into = l->lens_ref;
	c.sync = sync != NULL ? call(sync, b->a) : NULL;
	if (l->child != NULL)
		c.sync =
		    arena_fmt(b->a, "%s, %s", call(l->child->put_ref, b->a),
			      sync != NULL ? "true" : "false");
	c.key = key_names(b, false);
	for (unsigned i = 0; i < l->n_new; i++) {
		if (l->news[i].extra || l->news[i].column->generated != 0)
			continue;
		sqltext_item(&c.columns, ", ", "%s",
			     lens_view_column(l, i, b->a));
		sqltext_item(
		    &c.values, ", ", "%s",
		    stash >= 0 && l->news[i].old_index == (unsigned)stash
			? child_insert_stash(l, "NEW", stash, b->a)
			: lens_forward(l, i, "NEW.", b->a));
	}
	put_required(&c);
	if (l->half != NULL)
		put_half(&c);
	if (sync != NULL)
		put_old_values(&c);
	add_copy(b, &c);
}

void ddl_create_copies(struct ddl_build *b)
{
	if (b->l->kind != LENS_TABLE && b->l->kind != LENS_MERGE)
		return;
	add_straight(b, "old", false);
	add_through(b, "both", b->l->to_old_ref);
	add_through(b, "lens", NULL);
}

void ddl_create_lens_copies(struct ddl_build *b)
{
	add_through(b, "both", b->l->to_old_ref);
	add_through(b, "lens", NULL);
}

/* Where only the old relation's rows are copied yet. */
void ddl_create_copy_old(struct ddl_build *b)
{
	add_straight(b, "old", false);
}

/* By then the relation is there, with its defaults. */
void ddl_create_copy_new(struct ddl_build *b)
{
	if (b->l->child != NULL)
		add_children(b);
	else if (b->l->kind == LENS_TABLE ||
		 (b->l->half != NULL && !b->l->half->second))
		add_straight(b, "new", true);
}

static void drop(struct ddl_build *b, const char *what)
{
	const char *name = copy_view(b->l, what, b->a);

	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a,
			  "DROP VIEW IF EXISTS %s;\n"
			  "DROP FUNCTION IF EXISTS %s()",
			  name, name),
		"drop view %s", name);
}

void ddl_drop_copy_new(struct ddl_build *b)
{
	drop(b, "new");
}

void ddl_drop_synced_copies(struct ddl_build *b)
{
	drop(b, "old");
	drop(b, "both");
	drop(b, "new");
}

void ddl_drop_copies(struct ddl_build *b)
{
	ddl_drop_synced_copies(b);
	drop(b, "lens");
}

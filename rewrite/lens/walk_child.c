/*
 * The walker's statements for a child lens (rewrite/lens/walk_sql.h).
 *
 * To new, the source's rows are the old relation's and the target's the
 * child's, of which a key has any number: a key is different unless its rows
 * are exactly the one, or none, that the old row says.  Old rows are locked
 * before any is copied: a child's row that is missing cannot be arbitrated by
 * an index.
 *
 * To old, source and target are the same row of the old relation: what the
 * child's picked row says, and the old columns.  Nothing can be missing or
 * extra.  A key with several child rows, or one that the old columns would not
 * bring back, is lossy.
 */
#include "rewrite/lens/lens_child.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/walk_child.h"

struct walk {
	const struct lens *l;
	struct arena *a;
};

static const char *type(const struct walk *w, size_t i)
{
	return w->l->old->columns[w->l->key[i].old_index].type;
}

/* Key column i on either side, quoted. */
static const char *name(const struct walk *w, size_t i, bool child)
{
	return child
		   ? child_parent(w->l, i, w->a)
		   : quote_name(w->l->old->columns[w->l->key[i].old_index].name,
				w->a);
}

static const char *names(const struct walk *w, const char *prefix, bool child)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, ", ", "%s%s", prefix, name(w, i, child));
	return t.s;
}

static const char *as_text(const struct walk *w, const char *prefix, bool child)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, ", ", "%s%s::pg_catalog.text", prefix,
			     name(w, i, child));
	return t.s;
}

static const char *params(const struct walk *w, size_t first)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, ", ", "$%zu::%s", first + i, type(w, i));
	return t.s;
}

static const char *behind(const struct walk *w, const char *keys,
			  const char *operator, size_t first)
{
	return arena_fmt(w->a, "($%zu::%s IS NULL OR ROW(%s) %s ROW(%s))",
			 first, type(w, 0), keys, operator, params(w, first));
}

static const char *in_range(const struct walk *w, const char *prefix,
			    bool child)
{
	const char *keys = names(w, prefix, child);

	return arena_fmt(w->a, "%s AND %s", behind(w, keys, ">", 1),
			 behind(w, keys, "<=", w->l->n_key + 1));
}

static const char *given(const struct walk *w)
{
	struct sqltext arrays, columns;

	sqltext_begin(&arrays, w->a);
	sqltext_begin(&columns, w->a);
	for (size_t i = 0; i < w->l->n_key; i++) {
		sqltext_item(&arrays, ", ", "pg_catalog.unnest($%zu::%s[])",
			     i + 1, type(w, i));
		sqltext_item(&columns, ", ", "k%zu", i + 1);
	}
	return arena_fmt(w->a, "ROWS FROM (%s) AS u(%s)", arrays.s, columns.s);
}

static const char *given_keys(const struct walk *w, bool as_text)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, ", ", "u.k%zu%s", i + 1,
			     as_text ? "::pg_catalog.text" : "");
	return t.s;
}

static const char *is_given(const struct walk *w, const char *prefix,
			    bool child)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, " AND ", "%s%s = u.k%zu", prefix,
			     name(w, i, child), i + 1);
	return t.s;
}

static const char *relation(const struct walk *w, bool child)
{
	return child ? w->l->child->ref : w->l->old_ref;
}

/* 1. Batches, over either table. */

static const char *make_count(const struct walk *w, bool child)
{
	const char *ref = relation(w, child);

	return arena_fmt(w->a,
			 "SELECT CASE WHEN c.reltuples > 1000000"
			 " THEN c.reltuples::pg_catalog.int8"
			 " ELSE (SELECT pg_catalog.count(*) FROM %s) END"
			 " FROM pg_catalog.pg_class AS c"
			 " WHERE c.oid = %s::pg_catalog.regclass",
			 ref, quote_text(ref, w->a));
}

static const char *make_next(const struct walk *w, bool child)
{
	const char *bare = names(w, "x.", child);
	size_t size = w->l->n_key + 1;

	return arena_fmt(
	    w->a,
	    "SELECT %s, $%zu::pg_catalog.int8 FROM (SELECT %s FROM %s AS x"
	    " WHERE %s ORDER BY %s OFFSET $%zu::pg_catalog.int8 - 1"
	    " LIMIT 1) AS r",
	    as_text(w, "r.", child), size, bare, relation(w, child),
	    behind(w, bare, ">", 1), bare, size);
}

static const char *descending(const struct walk *w, bool child)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, ", ", "r.%s DESC", name(w, i, child));
	return t.s;
}

static const char *make_rest(const struct walk *w, bool child)
{
	const char *bare = names(w, "x.", child);

	return arena_fmt(
	    w->a,
	    "SELECT %s, r.\"pgtandem.n\" FROM (SELECT %s,"
	    " pg_catalog.count(*) OVER () AS \"pgtandem.n\" FROM (SELECT %s "
	    "FROM %s AS x WHERE %s ORDER BY %s"
	    " LIMIT $%zu::pg_catalog.int8) AS x) AS r ORDER BY %s LIMIT 1",
	    as_text(w, "r.", child), bare, bare, relation(w, child),
	    behind(w, bare, ">", 1), bare, w->l->n_key + 1,
	    descending(w, child));
}

static const char *make_newest(const struct walk *w)
{
	return arena_fmt(w->a,
			 "SELECT %s FROM %s AS r ORDER BY %s"
			 " OFFSET $1::pg_catalog.int8 LIMIT 1",
			 as_text(w, "r.", false), w->l->old_ref,
			 descending(w, false));
}

/* A batch of no rows: there is nothing to walk over. */
static const char *make_none(const struct walk *w)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_put(&t, "$%zu::%s::pg_catalog.text, ", i + 1,
			    type(w, i));
	return arena_fmt(w->a, "SELECT %s$%zu::pg_catalog.int8 WHERE false",
			 t.s, w->l->n_key + 1);
}

static const char *make_lock(const struct walk *w, bool child,
			     const char *strength)
{
	return arena_fmt(w->a,
			 "SELECT %s FROM %s AS s JOIN %s ON %s"
			 " ORDER BY %s FOR %s OF s",
			 as_text(w, "s.", child), relation(w, child), given(w),
			 is_given(w, "s.", child), names(w, "s.", child),
			 strength);
}

static const char *make_sync(const struct walk *w, const char *function)
{
	return arena_fmt(w->a, "SELECT %s(%s) FROM %s", function,
			 given_keys(w, false), given(w));
}

/* 2. To new. */

static const char *source_in_range(const struct walk *w)
{
	return arena_fmt(w->a, "(SELECT * FROM %s AS r WHERE %s) AS s",
			 w->l->old_ref, in_range(w, "r.", false));
}

/* How many rows the key of s has, and how many as they should be. */
static const char *counts(const struct walk *w)
{
	return arena_fmt(w->a,
			 "CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n,"
			 " pg_catalog.count(*) FILTER (WHERE NOT (%s)) AS same"
			 " FROM %s AS t WHERE %s) AS \"pgtandem.c\"",
			 child_differ(w->l, "s.", "t.", w->a), w->l->child->ref,
			 child_join(w->l, "t", "s", w->a));
}

#define COUNT "\"pgtandem.c\".n"
#define SAME  "\"pgtandem.c\".same"

static const char *make_differing(const struct walk *w)
{
	return arena_fmt(w->a,
			 "SELECT %s FROM %s %s WHERE NOT CASE WHEN %s"
			 " THEN " COUNT " = 1 AND " SAME " = 1"
			 " ELSE " COUNT " = 0 END ORDER BY %s",
			 as_text(w, "s.", false), source_in_range(w), counts(w),
			 child_when(w->l, "s.", w->a), names(w, "s.", false));
}

/* Keys of child rows that no old row says, or, with `differ`, not so. */
static const char *make_stale(const struct walk *w, bool differ)
{
	return arena_fmt(
	    w->a,
	    "SELECT DISTINCT %s FROM %s AS t WHERE %s AND NOT EXISTS (SELECT"
	    " FROM %s AS s WHERE %s AND %s%s)",
	    as_text(w, "t.", true), w->l->child->ref, in_range(w, "t.", true),
	    w->l->old_ref, child_join(w->l, "t", "s", w->a),
	    child_when(w->l, "s.", w->a),
	    differ ? arena_fmt(w->a, " AND NOT (%s)",
			       child_differ(w->l, "s.", "t.", w->a))
		   : "");
}

/* The child row that s would have, of which m is made back. */
static const char *forward_row(const struct walk *w)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->child->n_columns; i++) {
		const struct child_column *c = &w->l->child->columns[i];
		const char *column = quote_name(c->column->name, w->a);

		if (c->mapped)
			sqltext_item(&t, ", ", "CAST(%s AS %s) AS %s",
				     child_forward(w->l, i, "s.", w->a),
				     c->column->type, column);
		else if (!c->parent)
			sqltext_item(&t, ", ", "CAST(NULL AS %s) AS %s",
				     c->column->type, column);
	}
	for (size_t i = 0; i < w->l->n_key; i++)
		sqltext_item(&t, ", ", "s.%s AS %s", name(w, i, false),
			     name(w, i, true));
	return arena_fmt(w->a,
			 "LEFT JOIN LATERAL (SELECT %s) AS"
			 " \"pgtandem.m\" ON %s",
			 t.s, child_when(w->l, "s.", w->a));
}

/* Do the moved columns at `left` differ from what the child row at `child`
 * gives back? */
static const char *moved_differ(const struct walk *w, const char *left,
				const char *child)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->child->n_moved; i++) {
		const struct child_moved *m = &w->l->child->moved[i];
		const struct column *c = w->l->olds[m->old_index].column;

		sqltext_item(&t, " OR ", "%s",
			     mapping_differ_one(
				 c,
				 arena_fmt(w->a, "%s%s", left,
					   quote_name(c->name, w->a)),
				 child_reverse(w->l, m, child, w->a), w->a));
	}
	return t.s;
}

#define MADE "\"pgtandem.m\"."

static const char *make_compare_new(const struct walk *w)
{
	const char *when = child_when(w->l, "s.", w->a);

	return arena_fmt(
	    w->a,
	    "SELECT * FROM (SELECT %s, %s AND " COUNT " = 0 AS"
	    " \"pgtandem.m\", %s AND " COUNT " > 0 AND (" COUNT " > 1 OR " SAME
	    " = 0) AS \"pgtandem.d\", %s AS \"pgtandem.l\" FROM %s %s %s) AS r"
	    " WHERE r.\"pgtandem.m\" OR r.\"pgtandem.d\" OR"
	    " r.\"pgtandem.l\"",
	    as_text(w, "s.", false), when, when, moved_differ(w, "s.", MADE),
	    source_in_range(w), counts(w), forward_row(w));
}

static const char *json(const struct walk *w, const char *columns)
{
	return arena_fmt(w->a,
			 "(SELECT pg_catalog.row_to_json(\"pgtandem.row\")"
			 " FROM (SELECT %s) AS \"pgtandem.row\")",
			 columns);
}

static const char *moved_list(const struct walk *w, const char *prefix)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->child->n_moved; i++)
		sqltext_item(
		    &t, ", ", "%s%s", prefix,
		    quote_name(w->l->olds[w->l->child->moved[i].old_index]
				   .column->name,
			       w->a));
	return t.s;
}

/* What the child row at `prefix` gives back, as the moved columns. */
static const char *reverse_list(const struct walk *w, const char *prefix)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (size_t i = 0; i < w->l->child->n_moved; i++) {
		const struct child_moved *m = &w->l->child->moved[i];

		sqltext_item(
		    &t, ", ", "%s AS %s", child_reverse(w->l, m, prefix, w->a),
		    quote_name(w->l->olds[m->old_index].column->name, w->a));
	}
	return t.s;
}

static const char *make_recheck_new(const struct walk *w)
{
	const char *when = child_when(w->l, "s.", w->a);

	return arena_fmt(
	    w->a,
	    "SELECT %s, CASE WHEN s.%s IS NULL OR NOT (%s) THEN 'extra'"
	    " WHEN " COUNT " = 0 THEN 'missing' ELSE 'different' END,"
	    " CASE WHEN s.%s IS NOT NULL THEN %s END,"
	    " (SELECT pg_catalog.json_agg(t) FROM %s AS t WHERE %s)"
	    " FROM %s LEFT JOIN %s AS s ON %s"
	    " CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS n,"
	    " pg_catalog.count(*) FILTER (WHERE NOT (%s)) AS same"
	    " FROM %s AS t WHERE %s) AS \"pgtandem.c\""
	    " WHERE NOT CASE WHEN s.%s IS NOT NULL AND %s"
	    " THEN " COUNT " = 1 AND " SAME " = 1 ELSE " COUNT " = 0 END",
	    given_keys(w, true), name(w, 0, false), when, name(w, 0, false),
	    json(w, moved_list(w, "s.")), w->l->child->ref,
	    is_given(w, "t.", true), given(w), w->l->old_ref,
	    is_given(w, "s.", false), child_differ(w->l, "s.", "t.", w->a),
	    w->l->child->ref, is_given(w, "t.", true), name(w, 0, false), when);
}

static const char *make_lossy_new(const struct walk *w)
{
	return arena_fmt(w->a,
			 "SELECT %s, 'lossy', %s, %s FROM %s JOIN %s AS s ON"
			 " %s %s WHERE %s",
			 given_keys(w, true), json(w, moved_list(w, "s.")),
			 json(w, reverse_list(w, MADE)), given(w),
			 w->l->old_ref, is_given(w, "s.", false),
			 forward_row(w), moved_differ(w, "s.", MADE));
}

static const char *make_delete(const struct walk *w)
{
	return arena_fmt(w->a,
			 "DELETE FROM %s AS t USING %s WHERE %s AND NOT EXISTS"
			 " (SELECT FROM %s AS s WHERE %s AND %s)",
			 w->l->child->ref, given(w), is_given(w, "t.", true),
			 w->l->old_ref, child_join(w->l, "t", "s", w->a),
			 child_when(w->l, "s.", w->a));
}

static void make_to_new(const struct walk *w, struct walk_sql *ret)
{
	ret->count = make_count(w, false);
	ret->target_count = make_count(w, true);
	ret->next = make_next(w, false);
	ret->target_next = make_next(w, true);
	ret->rest = make_rest(w, false);
	ret->target_rest = make_rest(w, true);
	ret->newest = make_newest(w);
	ret->differing = make_differing(w);
	ret->stale = make_stale(w, true);
	ret->extra = make_stale(w, false);
	ret->compare = make_compare_new(w);
	ret->lock_source = make_lock(w, false, "NO KEY UPDATE");
	ret->upsert_keys = make_sync(w, w->l->child->set_new_ref);
	ret->lock_target = make_lock(w, true, "UPDATE");
	ret->delete_keys = make_delete(w);
	ret->recheck = make_recheck_new(w);
	ret->recheck_lossy = make_lossy_new(w);
}

/* 3. To old. */

/* The picked row c of old row s, and how many there are. */
static const char *picked(const struct walk *w)
{
	return arena_fmt(
	    w->a,
	    "LEFT JOIN LATERAL (SELECT * FROM %s AS t WHERE %s ORDER BY %s"
	    " LIMIT 1) AS c ON true CROSS JOIN LATERAL (SELECT"
	    " pg_catalog.count(*) AS n FROM %s AS t WHERE %s) AS"
	    " \"pgtandem.c\"",
	    w->l->child->ref, child_join(w->l, "t", "s", w->a),
	    child_order(w->l, "t", w->a), w->l->child->ref,
	    child_join(w->l, "t", "s", w->a));
}

/* The old row that s and c make, as m: would it make c again? */
static const char *old_row(const struct walk *w)
{
	struct sqltext t;

	sqltext_begin(&t, w->a);
	for (unsigned i = 0; i < w->l->n_old; i++) {
		const struct child_moved *m = child_find_moved(w->l, i);
		const char *column =
		    quote_name(w->l->olds[i].column->name, w->a);

		if (m == NULL)
			sqltext_item(&t, ", ", "s.%s", column);
		else
			sqltext_item(&t, ", ", "%s AS %s",
				     child_reverse(w->l, m, "c.", w->a),
				     column);
	}
	return arena_fmt(
	    w->a, "CROSS JOIN LATERAL (SELECT %s) AS \"pgtandem.m\"", t.s);
}

/* NOT NULL of the old columns included. */
static const char *is_lossy_old(const struct walk *w)
{
	struct sqltext nulls;

	sqltext_begin(&nulls, w->a);
	for (size_t i = 0; i < w->l->child->n_moved; i++) {
		const struct child_moved *m = &w->l->child->moved[i];
		const struct column *c = w->l->olds[m->old_index].column;

		if (c->not_null)
			sqltext_put(&nulls, " OR " MADE "%s IS NULL",
				    quote_name(c->name, w->a));
	}
	return arena_fmt(w->a,
			 "(" COUNT " > 1 OR (%s) <> (" COUNT " > 0) OR (" COUNT
			 " > 0 AND (%s))%s)",
			 child_when(w->l, MADE, w->a),
			 child_differ(w->l, MADE, "c.", w->a), nulls.s);
}

static const char *make_differing_old(const struct walk *w)
{
	return arena_fmt(w->a, "SELECT %s FROM %s %s WHERE %s ORDER BY %s",
			 as_text(w, "s.", false), source_in_range(w), picked(w),
			 moved_differ(w, "s.", "c."), names(w, "s.", false));
}

static const char *make_compare_old(const struct walk *w)
{
	return arena_fmt(
	    w->a,
	    "SELECT * FROM (SELECT %s, false AS \"pgtandem.m\", %s AS"
	    " \"pgtandem.d\", %s AS \"pgtandem.l\" FROM %s %s %s) AS r"
	    " WHERE r.\"pgtandem.d\" OR r.\"pgtandem.l\"",
	    as_text(w, "s.", false), moved_differ(w, "s.", "c."),
	    is_lossy_old(w), source_in_range(w), picked(w), old_row(w));
}

static const char *make_recheck_old(const struct walk *w)
{
	return arena_fmt(w->a,
			 "SELECT %s, 'different', %s, %s FROM %s JOIN %s AS s"
			 " ON %s %s WHERE %s",
			 given_keys(w, true), json(w, reverse_list(w, "c.")),
			 json(w, moved_list(w, "s.")), given(w), w->l->old_ref,
			 is_given(w, "s.", false), picked(w),
			 moved_differ(w, "s.", "c."));
}

static const char *make_lossy_old(const struct walk *w)
{
	return arena_fmt(
	    w->a,
	    "SELECT %s, 'lossy', (SELECT pg_catalog.json_agg(t) FROM %s AS t"
	    " WHERE %s), %s FROM %s JOIN %s AS s ON %s %s %s WHERE %s",
	    given_keys(w, true), w->l->child->ref, is_given(w, "t.", true),
	    json(w, moved_list(w, MADE)), given(w), w->l->old_ref,
	    is_given(w, "s.", false), picked(w), old_row(w), is_lossy_old(w));
}

static void make_to_old(const struct walk *w, struct walk_sql *ret)
{
	ret->count = ret->target_count = make_count(w, false);
	ret->next = make_next(w, false);
	ret->rest = make_rest(w, false);
	ret->target_next = ret->target_rest = make_none(w);
	ret->newest = make_newest(w);
	ret->differing = make_differing_old(w);
	ret->compare = make_compare_old(w);
	ret->lock_source = ret->lock_target =
	    make_lock(w, false, "NO KEY UPDATE");
	ret->upsert_keys = ret->delete_keys =
	    make_sync(w, w->l->child->set_old_ref);
	ret->recheck = make_recheck_old(w);
	ret->recheck_lossy = make_lossy_old(w);
}

void walk_child_make(const struct lens *l, enum walk_direction d,
		     struct arena *a, struct walk_sql *ret)
{
	const struct walk w = {l, a};

	*ret = (struct walk_sql){
	    .n_key = l->n_key,
	    .set_path =
		arena_fmt(a, "SET search_path = %s", mapping_search_path(l, a)),
	};
	if (d == WALK_TO_NEW)
		make_to_new(&w, ret);
	else
		make_to_old(&w, ret);
}

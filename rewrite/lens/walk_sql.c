/*
 * Both sides of a comparison are cut to the same range of keys before they
 * are joined: the planner does not carry a range from one side of a join to
 * the other, and would read the other side's index from its beginning.
 *
 * Result columns have names that no column of a relation is likely to have,
 * so that a key called "n" is not mistaken for one.
 */
#include "rewrite/lens/walk_sql.h"

#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/lens/walk_child.h"

/* Above this many rows an estimate of their number is good enough. */
#define COUNTED_AT_MOST "1000000"

/* "$1::pg_catalog.text::integer, ...": the key's parameters from number `first`
 * on. */
static const char *key_params(const struct mapping *m, size_t first)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, ", ", "$%zu::pg_catalog.text::%s", first + i,
			     mapping_key_column(m, i)->type);
	return t.s;
}

/* "r.k1::pg_catalog.text, ...": keys as the walker holds them. */
static const char *keys_as_text(const struct mapping *m, const char *alias,
				bool source)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, ", ", "%s.%s::pg_catalog.text", alias,
			     source ? mapping_source_key(m, i)
				    : mapping_target_key(m, i));
	return t.s;
}

/* Condition on alias r: behind the key in $first.. (or all NULL).  NULL is
 * sent as text, since a domain may not take it. */
static const char *behind(const struct mapping *m, const char *keys,
			  const char *operator, size_t first)
{
	return arena_fmt(m->a,
			 "($%zu::pg_catalog.text IS NULL OR ROW(%s) %s "
			 "ROW(%s))",
			 first, keys, operator, key_params(m, first));
}

static const char *in_range(const struct mapping *m, const char *keys)
{
	return arena_fmt(m->a, "%s AND %s", behind(m, keys, ">", 1),
			 behind(m, keys, "<=", m->l->n_key + 1));
}

static const char *source_in_range(const struct mapping *m)
{
	return arena_fmt(m->a, "(SELECT * FROM %s AS r WHERE %s) AS s",
			 m->source_rows,
			 in_range(m, mapping_source_keys(m, "r.")));
}

static const char *target_in_range(const struct mapping *m)
{
	return arena_fmt(m->a, "(SELECT * FROM %s AS r WHERE %s) AS t",
			 m->target_rows,
			 in_range(m, mapping_target_keys(m, "r.")));
}

/* "ROWS FROM (pg_catalog.unnest($1::integer[]), ...) AS u(k1, ...)" */
static const char *given_keys(const struct mapping *m)
{
	struct sqltext arrays, names;

	sqltext_begin(&arrays, m->a);
	sqltext_begin(&names, m->a);
	for (size_t i = 0; i < m->l->n_key; i++) {
		sqltext_item(&arrays, ", ", "pg_catalog.unnest($%zu::%s[])",
			     i + 1, mapping_key_column(m, i)->type);
		sqltext_item(&names, ", ", "k%zu", i + 1);
	}
	return arena_fmt(m->a, "ROWS FROM (%s) AS u(%s)", arrays.s, names.s);
}

static const char *is_given(const struct mapping *m, const char *alias,
			    bool source)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, " AND ", "%s.%s = u.k%zu", alias,
			     source ? mapping_source_key(m, i)
				    : mapping_target_key(m, i),
			     i + 1);
	return t.s;
}

static const char *source_value(const struct mapping *m, size_t i)
{
	return mapping_typed_value(m, i, "s.");
}

/* Counting a small relation is cheap and exact; the statistics of a large one
 * are good enough. */
static const char *make_count(const struct mapping *m, const char *ref,
			      const char *rows)
{
	return arena_fmt(m->a,
			 "SELECT CASE WHEN c.reltuples > " COUNTED_AT_MOST
			 " THEN c.reltuples::pg_catalog.int8"
			 " ELSE (SELECT pg_catalog.count(*) FROM %s AS r) END"
			 " FROM pg_catalog.pg_class AS c"
			 " WHERE c.oid = %s::pg_catalog.regclass",
			 rows, quote_text(ref, m->a));
}

static const char *descending(const struct mapping *m, bool source)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, ", ", "r.%s DESC",
			     source ? mapping_source_key(m, i)
				    : mapping_target_key(m, i));
	return t.s;
}

/* Only the index is read, and nothing kept. */
static const char *make_next(const struct mapping *m, bool source)
{
	const char *bare = source ? mapping_source_keys(m, "x.")
				  : mapping_target_keys(m, "x.");
	size_t size = m->l->n_key + 1;

	return arena_fmt(
	    m->a,
	    "SELECT %s, $%zu::pg_catalog.int8 FROM (SELECT %s FROM %s AS x"
	    " WHERE %s ORDER BY %s OFFSET $%zu::pg_catalog.int8 - 1"
	    " LIMIT 1) AS r",
	    keys_as_text(m, "r", source), size, bare,
	    source ? m->source_rows : m->target_rows, behind(m, bare, ">", 1),
	    bare, size);
}

static const char *make_rest(const struct mapping *m, bool source)
{
	const char *bare = source ? mapping_source_keys(m, "x.")
				  : mapping_target_keys(m, "x.");

	return arena_fmt(
	    m->a,
	    "SELECT %s, r.\"pgtandem.n\" FROM (SELECT %s,"
	    " pg_catalog.count(*) OVER () AS \"pgtandem.n\" FROM (SELECT %s "
	    "FROM %s AS x WHERE %s ORDER BY %s"
	    " LIMIT $%zu::pg_catalog.int8) AS x) AS r ORDER BY %s LIMIT 1",
	    keys_as_text(m, "r", source), bare, bare,
	    source ? m->source_rows : m->target_rows, behind(m, bare, ">", 1),
	    bare, m->l->n_key + 1, descending(m, source));
}

static const char *make_newest(const struct mapping *m)
{
	return arena_fmt(m->a,
			 "SELECT %s FROM %s AS r ORDER BY %s"
			 " OFFSET $1::pg_catalog.int8 LIMIT 1",
			 keys_as_text(m, "r", true), m->source_rows,
			 descending(m, true));
}

static const char *make_is_empty(const struct mapping *m)
{
	return arena_fmt(m->a,
			 "SELECT NOT EXISTS (SELECT FROM %s AS t"
			 " WHERE %s)",
			 m->target_rows,
			 in_range(m, mapping_target_keys(m, "t.")));
}

static const char *make_insert(const struct mapping *m)
{
	return arena_fmt(m->a,
			 "INSERT INTO %s AS t (%s) OVERRIDING SYSTEM VALUE"
			 " SELECT %s FROM %s AS s WHERE %s",
			 m->target_ref, mapping_columns(m), mapping_values(m),
			 m->source_rows,
			 in_range(m, mapping_source_keys(m, "s.")));
}

static const char *make_insert_missing(const struct mapping *m)
{
	return arena_fmt(m->a, "%s ON CONFLICT (%s) %s", make_insert(m),
			 mapping_target_keys(m, ""),
			 mapping_on_conflict_missing(m));
}

/* One row may be both. */
static const char *both_in_range(const struct mapping *m)
{
	if (m->l->kind == LENS_COLUMNS)
		return arena_fmt(m->a,
				 "%s CROSS JOIN LATERAL (SELECT s.*) AS t",
				 source_in_range(m));
	return arena_fmt(m->a, "%s LEFT JOIN %s ON %s", source_in_range(m),
			 target_in_range(m), mapping_join(m));
}

static const char *make_differing(const struct mapping *m)
{
	return arena_fmt(
	    m->a,
	    "SELECT %s FROM %s"
	    " WHERE t.%s IS NULL OR %s ORDER BY %s",
	    keys_as_text(m, "s", true), both_in_range(m),
	    mapping_target_key(m, 0),
	    mapping_differ(m, source_value, mapping_target_value, false),
	    mapping_source_keys(m, "s."));
}

static const char *make_of_target(const struct mapping *m,
				  const char *or_differ)
{
	return arena_fmt(m->a,
			 "SELECT %s FROM %s LEFT JOIN %s ON %s"
			 " WHERE s.%s IS NULL%s ORDER BY %s",
			 keys_as_text(m, "t", false), target_in_range(m),
			 source_in_range(m), mapping_join(m),
			 mapping_source_key(m, 0), or_differ,
			 mapping_target_keys(m, "t."));
}

/* The source's row s mapped, as relation `m` with the target's columns. */
static const char *mapped_row(const struct mapping *m)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++)
		if (m->d == WALK_TO_OLD || !m->l->news[i].extra)
			sqltext_item(
			    &t, ", ", "%s AS %s", source_value(m, i),
			    quote_name(m->target->columns[i].name, m->a));
	return arena_fmt(m->a, "CROSS JOIN LATERAL (SELECT %s) AS m", t.s);
}

/* Does what comes back from m differ from s?  NULL: nothing is converted. */
static const char *is_lossy(const struct mapping *m)
{
	struct mapping back;
	struct sqltext t;

	mapping_make(m->l, m->d == WALK_TO_NEW ? WALK_TO_OLD : WALK_TO_NEW,
		     m->a, &back);
	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < back.target->n_columns; i++) {
		const struct column *c = &back.target->columns[i];
		bool carried = back.d == WALK_TO_OLD ? m->l->olds[i].carried
						     : m->l->news[i].carried;

		if (carried || !mapping_is_written(&back, i))
			continue;
		sqltext_item(
		    &t, " OR ", "%s",
		    mapping_differ_one(
			c, arena_fmt(m->a, "s.%s", quote_name(c->name, m->a)),
			mapping_typed_value(&back, i, "m."), m->a));
	}
	return t.len > 0 ? t.s : NULL;
}

static const char *own_value(const struct mapping *m, size_t i)
{
	return mapping_typed_value(m, i, "t.");
}

static const char *source_column(const struct mapping *m, size_t i)
{
	return arena_fmt(m->a, "s.%s",
			 quote_name(m->target->columns[i].name, m->a));
}

/*
 * Are source s and target t not two images of one thing?  Where both are in
 * one row, an old value that the new one cannot express stays beside it until
 * it is written: so the row is as it should be if either says what the other
 * is.
 */
static const char *differ(const struct mapping *m)
{
	const char *there =
	    mapping_differ(m, source_value, mapping_target_value, false);
	struct mapping back;

	if (m->l->kind != LENS_COLUMNS || m->d == WALK_TO_NEW)
		return there;
	mapping_make(m->l, WALK_TO_NEW, m->a, &back);
	return arena_fmt(
	    m->a, "(%s) AND (%s)", there,
	    mapping_differ(&back, own_value, source_column, false));
}

static const char *make_compare(const struct mapping *m, const char *lossy)
{
	return arena_fmt(
	    m->a,
	    "SELECT * FROM (SELECT %s, t.%s IS NULL AS \"pgtandem.m\","
	    " t.%s IS NOT NULL AND (%s) AS \"pgtandem.d\","
	    " %s AS \"pgtandem.l\" FROM %s %s) AS r"
	    " WHERE r.\"pgtandem.m\" OR r.\"pgtandem.d\""
	    " OR r.\"pgtandem.l\"",
	    keys_as_text(m, "s", true), mapping_target_key(m, 0),
	    mapping_target_key(m, 0), differ(m), lossy ? lossy : "false",
	    both_in_range(m), lossy ? mapped_row(m) : "");
}

static const char *make_lock(const struct mapping *m, bool source,
			     const char *strength)
{
	const char *alias = source ? "s" : "t";

	return arena_fmt(m->a,
			 "SELECT %s FROM %s AS %s JOIN %s ON %s"
			 " ORDER BY %s FOR %s OF %s",
			 keys_as_text(m, alias, source),
			 source ? m->source_rows : m->target_rows, alias,
			 given_keys(m), is_given(m, alias, source),
			 source ? mapping_source_keys(m, "s.")
				: mapping_target_keys(m, "t."),
			 strength, alias);
}

/* The alias is no column's name: that would come first. */
static const char *json(const struct mapping *m, const char *columns)
{
	return arena_fmt(m->a,
			 "(SELECT pg_catalog.row_to_json("
			 "\"pgtandem.row\") FROM (SELECT %s)"
			 " AS \"pgtandem.row\")",
			 columns);
}

/* A row of JSON: the mapped columns under the target's names. */
static const char *image(const struct mapping *m, mapping_side_fn side)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++)
		if (mapping_is_written(m, i))
			sqltext_item(
			    &t, ", ", "%s AS %s", side(m, i),
			    quote_name(m->target->columns[i].name, m->a));
	return json(m, t.s);
}

static const char *make_recheck(const struct mapping *m)
{
	const char *sk = mapping_source_key(m, 0);
	const char *tk = mapping_target_key(m, 0);
	struct sqltext keys;

	sqltext_begin(&keys, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&keys, ", ", "u.k%zu::pg_catalog.text", i + 1);
	return arena_fmt(
	    m->a,
	    "SELECT %s, CASE WHEN s.%s IS NULL THEN 'extra'"
	    " WHEN t.%s IS NULL THEN 'missing' ELSE 'different' END,"
	    " CASE WHEN s.%s IS NOT NULL THEN %s END,"
	    " CASE WHEN t.%s IS NOT NULL THEN %s END"
	    " FROM %s LEFT JOIN %s AS s ON %s LEFT JOIN %s AS t ON %s"
	    " WHERE (s.%s IS NULL) <> (t.%s IS NULL)"
	    " OR (s.%s IS NOT NULL AND t.%s IS NOT NULL AND (%s))",
	    keys.s, sk, tk, sk, image(m, source_value), tk,
	    image(m, mapping_target_value), given_keys(m), m->source_rows,
	    is_given(m, "s", true), m->target_rows, is_given(m, "t", false), sk,
	    tk, sk, tk, differ(m));
}

/* The converted source columns as they are, and as they would come back. */
static const char *make_recheck_lossy(const struct mapping *m,
				      const char *lossy)
{
	struct sqltext is, would_be;
	struct mapping back;

	if (lossy == NULL)
		return NULL;
	mapping_make(m->l, m->d == WALK_TO_NEW ? WALK_TO_OLD : WALK_TO_NEW,
		     m->a, &back);
	sqltext_begin(&is, m->a);
	sqltext_begin(&would_be, m->a);
	for (size_t i = 0; i < back.target->n_columns; i++) {
		const char *name =
		    quote_name(back.target->columns[i].name, m->a);

		if (!mapping_is_written(&back, i))
			continue;
		sqltext_item(&is, ", ", "s.%s", name);
		sqltext_item(&would_be, ", ", "%s AS %s",
			     mapping_typed_value(&back, i, "m."), name);
	}
	return arena_fmt(m->a,
			 "SELECT %s, 'lossy', %s, %s"
			 " FROM %s JOIN %s AS s ON %s %s WHERE %s",
			 keys_as_text(m, "s", true), json(m, is.s),
			 json(m, would_be.s), given_keys(m), m->source_rows,
			 is_given(m, "s", true), mapped_row(m), lossy);
}

static void make_sync(const struct mapping *m, struct walk_sql *ret)
{
	const char *in_keys = arena_fmt(m->a, "JOIN %s ON %s WHERE true",
					given_keys(m), is_given(m, "s", true));
	const char *of_keys = arena_fmt(m->a, "USING %s WHERE %s",
					given_keys(m), is_given(m, "t", false));

	ret->lock_source = make_lock(m, true, "SHARE");
	ret->upsert_keys = mapping_upsert(m, in_keys);
	ret->lock_target = make_lock(m, false, "UPDATE");
	ret->delete_keys = mapping_delete(m, of_keys);
}

/* "a = forward(t), ..." of the columns that are made of others. */
static const char *make_assignments(const struct mapping *m)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++) {
		bool carried = m->d == WALK_TO_NEW ? m->l->news[i].carried
						   : m->l->olds[i].carried;

		if (!carried && mapping_is_written(m, i))
			sqltext_item(
			    &t, ", ", "%s = %s",
			    quote_name(m->target->columns[i].name, m->a),
			    mapping_value(m, i, "t."));
	}
	return t.s;
}

/* Lets the keep trigger stand by, and those of the application, if there are
 * any for UPDATE: for them nothing happens. */
static const char *quiet_session(const struct mapping *m)
{
	const char *body = arena_fmt(
	    m->a,
	    "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_trigger AS g"
	    " WHERE g.tgrelid = %s::pg_catalog.regclass AND NOT g.tgisinternal"
	    " AND g.tgenabled = 'O' AND g.tgtype & 16 <> 0)"
	    " THEN PERFORM pg_catalog.set_config("
	    "'session_replication_role', 'replica', false); END IF; END",
	    quote_text(m->source_ref, m->a));

	return arena_fmt(m->a,
			 "; SET pgtandem.walk = 'on'; DO LANGUAGE plpgsql %s",
			 quote_text(body, m->a));
}

/* One row is both: nothing is inserted, nothing deleted. */
static void make_in_place(const struct mapping *m, struct walk_sql *ret)
{
	const char *nothing =
	    arena_fmt(m->a, "SELECT %s FROM %s WHERE false",
		      keys_as_text(m, "s", true), source_in_range(m));

	ret->set_path =
	    arena_fmt(m->a, "%s%s", ret->set_path, quiet_session(m));
	ret->insert_missing = NULL;
	ret->stale = nothing;
	ret->extra = nothing;
	ret->lock_source = make_lock(m, true, "NO KEY UPDATE");
	ret->upsert_keys = arena_fmt(
	    m->a, "UPDATE %s AS t SET %s FROM %s WHERE %s AND (%s)",
	    m->target_ref, make_assignments(m), given_keys(m),
	    is_given(m, "t", false),
	    mapping_differ(m, own_value, mapping_target_value, false));
	ret->delete_keys =
	    arena_fmt(m->a, "SELECT FROM %s WHERE false", given_keys(m));
}

void walk_sql_make(const struct lens *l, enum walk_direction d, struct arena *a,
		   struct walk_sql *ret)
{
	struct mapping m;
	const char *lossy;

	if (l->child != NULL) {
		walk_child_make(l, d, a, ret);
		return;
	}
	mapping_make(l, d, a, &m);
	lossy = is_lossy(&m);
	*ret = (struct walk_sql){
	    .n_key = l->n_key,
	    .set_path =
		arena_fmt(a, "SET search_path = %s", mapping_search_path(l, a)),
	    .count = make_count(&m, m.source_ref, m.source_rows),
	    .target_count = make_count(&m, m.target_ref, m.target_rows),
	    .next = make_next(&m, true),
	    .target_next = make_next(&m, false),
	    .rest = make_rest(&m, true),
	    .target_rest = make_rest(&m, false),
	    .newest = make_newest(&m),
	    .target_is_empty = make_is_empty(&m),
	    .insert_all = l->half != NULL && d == WALK_TO_NEW
			      ? make_insert_missing(&m)
			      : make_insert(&m),
	    .insert_missing = make_insert_missing(&m),
	    .differing = make_differing(&m),
	    .stale = make_of_target(
		&m, arena_fmt(a, " OR %s",
			      mapping_differ(&m, source_value,
					     mapping_target_value, false))),
	    .extra = make_of_target(&m, ""),
	    .compare = make_compare(&m, lossy),
	    .recheck = make_recheck(&m),
	    .recheck_lossy = make_recheck_lossy(&m, lossy),
	};
	make_sync(&m, ret);
	if (l->kind == LENS_COLUMNS)
		make_in_place(&m, ret);
}

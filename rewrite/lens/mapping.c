#include "rewrite/lens/mapping.h"

#include <string.h>

#include "rewrite/text/sqltext.h"

void mapping_make(const struct lens *l, enum walk_direction d, struct arena *a,
		  struct mapping *ret)
{
	bool to_new = d == WALK_TO_NEW;
	const char *new_rows = l->half != NULL ? l->half->rows_ref : l->new_ref;

	*ret = (struct mapping){.l = l,
				.d = d,
				.a = a,
				.source = to_new ? l->old : l->new,
				.target = to_new ? l->new : l->old,
				.source_ref = to_new ? l->old_ref : l->new_ref,
				.target_ref = to_new ? l->new_ref : l->old_ref,
				.source_rows = to_new ? l->old_ref : new_rows,
				.target_rows = to_new ? new_rows : l->old_ref};
}

static const char *key_name(const struct mapping *m, size_t i, bool old)
{
	const struct lens_key *k = &m->l->key[i];

	return quote_name(old ? m->l->old->columns[k->old_index].name
			      : m->l->new->columns[k->new_index].name,
			  m->a);
}

const char *mapping_source_key(const struct mapping *m, size_t i)
{
	return key_name(m, i, m->d == WALK_TO_NEW);
}

const char *mapping_target_key(const struct mapping *m, size_t i)
{
	return key_name(m, i, m->d != WALK_TO_NEW);
}

const struct column *mapping_key_column(const struct mapping *m, size_t i)
{
	return &m->l->old->columns[m->l->key[i].old_index];
}

static const char *keys(const struct mapping *m, const char *prefix, bool old)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, ", ", "%s%s", prefix, key_name(m, i, old));
	return t.s;
}

const char *mapping_source_keys(const struct mapping *m, const char *prefix)
{
	return keys(m, prefix, m->d == WALK_TO_NEW);
}

const char *mapping_target_keys(const struct mapping *m, const char *prefix)
{
	return keys(m, prefix, m->d != WALK_TO_NEW);
}

const char *mapping_join(const struct mapping *m)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->l->n_key; i++)
		sqltext_item(&t, " AND ", "t.%s = s.%s",
			     mapping_target_key(m, i),
			     mapping_source_key(m, i));
	return t.s;
}

bool mapping_is_written(const struct mapping *m, size_t i)
{
	if (m->target->columns[i].generated)
		return false;
	return m->d == WALK_TO_OLD || !m->l->news[i].extra;
}

bool mapping_is_key(const struct mapping *m, size_t i)
{
	for (size_t k = 0; k < m->l->n_key; k++)
		if (i == (m->d == WALK_TO_NEW ? m->l->key[k].new_index
					      : m->l->key[k].old_index))
			return true;
	return false;
}

/* PostgreSQL lets nobody update an identity column that is always generated,
 * so its value is that of the insert. */
bool mapping_is_updated(const struct mapping *m, size_t i)
{
	return mapping_is_written(m, i) && !mapping_is_key(m, i) &&
	       m->target->columns[i].identity != 'a';
}

const char *mapping_value(const struct mapping *m, size_t i, const char *prefix)
{
	return m->d == WALK_TO_NEW
		   ? lens_forward(m->l, (unsigned)i, prefix, m->a)
		   : lens_reverse(m->l, (unsigned)i, prefix, m->a);
}

const char *mapping_typed_value(const struct mapping *m, size_t i,
				const char *prefix)
{
	const char *value = mapping_value(m, i, prefix);

	if (m->d == WALK_TO_OLD || m->l->news[i].carried)
		return value;
	return arena_fmt(m->a, "CAST(%s AS %s)", value,
			 m->target->columns[i].type);
}

const char *mapping_columns(const struct mapping *m)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++)
		if (mapping_is_written(m, i))
			sqltext_item(
			    &t, ", ", "%s",
			    quote_name(m->target->columns[i].name, m->a));
	return t.s;
}

const char *mapping_values(const struct mapping *m)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++)
		if (mapping_is_written(m, i))
			sqltext_item(&t, ", ", "%s", mapping_value(m, i, "s."));
	return t.s;
}

/* Built-in types whose "=" is identity.  Text is among them as long as no
 * collation of its own is given, which might be one that takes 'a' for 'A'. */
static bool has_exact_equality(const struct column *c)
{
	static const uint32_t exact[] = {
	    16 /* bool */,   17 /* bytea */,	   18 /* "char" */,
	    19 /* name */,   20 /* int8 */,	   21 /* int2 */,
	    23 /* int4 */,   25 /* text */,	   26 /* oid */,
	    790 /* money */, 1043 /* varchar */,   1082 /* date */,
	    1083 /* time */, 1114 /* timestamp */, 1184 /* timestamptz */,
	    2950 /* uuid */,
	};

	for (size_t i = 0; i < sizeof(exact) / sizeof(*exact); i++)
		if (exact[i] == c->type_oid)
			return c->collation == NULL;
	return false;
}

const char *mapping_differ_one(const struct column *c, const char *left,
			       const char *right, struct arena *a)
{
	if (has_exact_equality(c))
		return arena_fmt(a, "%s IS DISTINCT FROM %s", left, right);
	return arena_fmt(a, "pg_catalog.record_image_ne(ROW(%s), ROW(%s))",
			 left, right);
}

const char *mapping_differ(const struct mapping *m, mapping_side_fn left,
			   mapping_side_fn right, bool only_updated)
{
	struct sqltext exact, left_image, right_image;

	sqltext_begin(&exact, m->a);
	sqltext_begin(&left_image, m->a);
	sqltext_begin(&right_image, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++) {
		const struct column *c = &m->target->columns[i];

		if (!mapping_is_written(m, i) || mapping_is_key(m, i) ||
		    (only_updated && !mapping_is_updated(m, i)))
			continue;
		if (has_exact_equality(c)) {
			sqltext_item(&exact, " OR ", "%s",
				     mapping_differ_one(c, left(m, i),
							right(m, i), m->a));
			continue;
		}
		sqltext_item(&left_image, ", ", "%s", left(m, i));
		sqltext_item(&right_image, ", ", "%s", right(m, i));
	}
	if (left_image.len > 0)
		sqltext_item(&exact, " OR ",
			     "pg_catalog.record_image_ne("
			     "ROW(%s), ROW(%s))",
			     left_image.s, right_image.s);
	return exact.len > 0 ? exact.s : "false";
}

const char *mapping_target_value(const struct mapping *m, size_t i)
{
	return arena_fmt(m->a, "t.%s",
			 quote_name(m->target->columns[i].name, m->a));
}

static const char *source_value(const struct mapping *m, size_t i)
{
	return mapping_value(m, i, "s.");
}

static const char *typed_source_value(const struct mapping *m, size_t i)
{
	return mapping_typed_value(m, i, "s.");
}

static const char *excluded_value(const struct mapping *m, size_t i)
{
	return arena_fmt(m->a, "excluded.%s",
			 quote_name(m->target->columns[i].name, m->a));
}

/* "a = excluded.a, ...": what an UPDATE may set; "" if there is nothing. */
static const char *set_list(const struct mapping *m, mapping_side_fn value)
{
	struct sqltext t;

	sqltext_begin(&t, m->a);
	for (size_t i = 0; i < m->target->n_columns; i++)
		if (mapping_is_updated(m, i))
			sqltext_item(
			    &t, ", ", "%s = %s",
			    quote_name(m->target->columns[i].name, m->a),
			    value(m, i));
	return t.s;
}

/* "DO UPDATE SET ... WHERE ...", or "DO NOTHING" if the key is all there is. */
static const char *on_conflict(const struct mapping *m)
{
	const char *sets = set_list(m, excluded_value);

	if (*sets == '\0')
		return "DO NOTHING";
	return arena_fmt(
	    m->a, "DO UPDATE SET %s WHERE %s", sets,
	    mapping_differ(m, mapping_target_value, excluded_value, true));
}

static const char *differ_now(const struct mapping *m)
{
	return mapping_differ(m, mapping_target_value, typed_source_value,
			      true);
}

const char *mapping_update(const struct mapping *m, const char *key)
{
	return arena_fmt(m->a,
			 "UPDATE %s AS t SET %s FROM %s AS s WHERE %s AND %s"
			 " AND (%s)",
			 m->target_ref, set_list(m, source_value),
			 m->source_rows, key, mapping_join(m), differ_now(m));
}

const char *mapping_is_equal(const struct mapping *m, const char *key)
{
	return arena_fmt(m->a,
			 "EXISTS (SELECT FROM %s AS t, %s AS s WHERE %s AND %s"
			 " AND (%s) IS NOT TRUE)",
			 m->target_ref, m->source_rows, key, mapping_join(m),
			 differ_now(m));
}

const char *mapping_upsert(const struct mapping *m, const char *from_where)
{
	return arena_fmt(
	    m->a,
	    "INSERT INTO %s AS t (%s) OVERRIDING SYSTEM VALUE SELECT %s"
	    " FROM %s AS s %s ON CONFLICT (%s) %s",
	    m->target_ref, mapping_columns(m), mapping_values(m),
	    m->source_rows, from_where, mapping_target_keys(m, ""),
	    on_conflict(m));
}

static const char *marker_name(const struct mapping *m, unsigned marker)
{
	return quote_name(m->l->new->columns[marker].name, m->a);
}

static const char *null_value(const struct mapping *m, size_t i)
{
	return "NULL";
}

const char *mapping_cut_half(const struct mapping *m)
{
	return arena_fmt(m->a, "SET %s", set_list(m, null_value));
}

const char *mapping_on_conflict_missing(const struct mapping *m)
{
	if (m->l->half == NULL || m->d == WALK_TO_OLD)
		return "DO NOTHING";
	return arena_fmt(m->a, "DO UPDATE SET %s WHERE t.%s IS NULL",
			 set_list(m, excluded_value),
			 marker_name(m, m->l->half->marker));
}

/* The row goes if there is nothing else in it, or else its half does.  Its
 * lock is held: both parts of the statement see the same other half. */
static const char *delete_half(const struct mapping *m, const char *using_where)
{
	static const char using[] = "USING ";
	const struct lens_half *h = m->l->half;
	const char *from = using_where;

	if (strncmp(using_where, using, strlen(using)) == 0)
		from = arena_fmt(m->a, "FROM %s", using_where + strlen(using));
	return arena_fmt(
	    m->a,
	    "WITH \"pgtandem.cut\" AS (UPDATE %s AS t %s %s AND t.%s IS NOT "
	    "NULL"
	    " AND t.%s IS NOT NULL AND NOT EXISTS (SELECT FROM %s AS s"
	    " WHERE %s)) DELETE FROM %s AS t %s AND t.%s IS NOT NULL"
	    " AND t.%s IS NULL AND NOT EXISTS (SELECT FROM %s AS s WHERE %s)",
	    m->target_ref, mapping_cut_half(m), from, marker_name(m, h->marker),
	    marker_name(m, h->other_marker), m->source_rows, mapping_join(m),
	    m->target_ref, using_where, marker_name(m, h->marker),
	    marker_name(m, h->other_marker), m->source_rows, mapping_join(m));
}

const char *mapping_delete(const struct mapping *m, const char *using_where)
{
	/* The leader's row goes with all it has, as in old at the end of the
	 * statement. */
	if (m->l->half != NULL && m->d == WALK_TO_NEW &&
	    m->l->half->link != HALF_LEADS)
		return delete_half(m, using_where);
	return arena_fmt(m->a,
			 "DELETE FROM %s AS t %s AND NOT EXISTS"
			 " (SELECT FROM %s AS s WHERE %s)",
			 m->target_ref, using_where, m->source_rows,
			 mapping_join(m));
}

/* The schema that a type's text begins with, quoted as it is there; NULL: one
 * of pg_catalog. */
static const char *type_schema(const char *type, struct arena *a)
{
	bool quoted = false;

	for (const char *c = type; *c != '\0'; c++) {
		quoted ^= *c == '"';
		if (!quoted && *c == '(')
			break;
		if (!quoted && *c == '.')
			return arena_fmt(a, "%.*s", (int)(c - type), type);
	}
	return NULL;
}

/* A key is looked for and put in order by the operators of its type, which for
 * one of an extension stand where the extension does. */
static const char *key_schemas(const struct lens *l, struct arena *a)
{
	struct sqltext t;
	const char *schema;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++) {
		schema =
		    type_schema(l->new->columns[l->key[i].new_index].type, a);
		if (schema != NULL)
			sqltext_item(&t, "", ", %s", schema);
	}
	return t.s;
}

const char *mapping_key_path(const struct lens *l, struct arena *a)
{
	return arena_fmt(a, "pg_catalog%s, pg_temp", key_schemas(l, a));
}

const char *mapping_search_path(const struct lens *l, struct arena *a)
{
	bool converted = false;

	for (size_t i = 0; i < l->n_old; i++)
		converted |= !l->olds[i].carried;
	for (size_t i = 0; i < l->n_new; i++)
		converted |= !l->news[i].carried && !l->news[i].extra;
	return arena_fmt(a, "pg_catalog%s%s%s, pg_temp", converted ? ", " : "",
			 converted ? quote_name(l->old->schema, a) : "",
			 key_schemas(l, a));
}

bool old_is_required(const struct lens *l, unsigned old)
{
	return l->kind == LENS_COLUMNS && !l->olds[old].carried &&
	       l->olds[old].column->not_null;
}

const char *old_required(const struct lens *l, unsigned old, const char *value,
			 struct arena *a)
{
	return arena_fmt(a, "pgtandem.required(%s, %s, %s, %s)", value,
			 quote_text(l->old->schema, a),
			 quote_text(l->old->name, a),
			 quote_text(l->olds[old].column->name, a));
}

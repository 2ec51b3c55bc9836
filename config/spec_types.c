#include "config/spec_types.h"

#include <assert.h>
#include <string.h>

enum { NAME_BYTES = 63, MAX_COLUMNS = 1600 }; /* PostgreSQL's own limits */

/* Arrays are filled here, then stored with their count. */
static void set_array(const struct field *f, void *base, const void *items,
		      size_t n)
{
	assert(f->size == sizeof(items));
	memcpy(field_member(f, base), &items, sizeof(items));
	memcpy((char *)base + f->count_offset, &n, sizeof(n));
}

static bool check_count(const struct schema_reader *r, const struct node *n,
			const char *expected)
{
	if (n->n == 0)
		return schema_fail_expected(r, n, expected);
	if (n->n > MAX_COLUMNS)
		return schema_fail(r, n, "has %u entries; at most %d", n->n,
				   MAX_COLUMNS);
	return true;
}

static bool fail_twice(const struct schema_reader *r, const struct node *n,
		       const char *text)
{
	return schema_fail(r, n, "%s is given twice",
			   text_quote(text, r->arena));
}

/* Names */

/* Reads one part of a name; stops behind it.  NULL if the quotes are wrong. */
static const char *parse_part(const char **s, struct arena *a)
{
	const char *c = *s;
	char *part = arena_alloc(a, strlen(c) + 1);
	size_t len = 0;
	bool quoted = *c == '"';

	c += quoted;
	for (; *c != '\0'; c++) {
		if (quoted && *c == '"' && *++c != '"') {
			*s = c;
			return part;
		}
		if (!quoted && *c == '.')
			break;
		if (!quoted && *c == '"')
			return NULL;
		part[len++] = *c;
	}
	*s = c;
	return quoted ? NULL : part;
}

static bool check_part(const struct schema_reader *r, const struct node *n,
		       const char *part)
{
	if (part == NULL)
		return schema_fail(r, n,
				   "has unmatched double quotes; "
				   "expected name or \"name\"");
	if (part[0] == '\0')
		return schema_fail(r, n, "has an empty name");
	if (strlen(part) > NAME_BYTES)
		return schema_fail(r, n,
				   "%s is longer than %d bytes, "
				   "PostgreSQL's limit for a name",
				   text_quote(part, r->arena), NAME_BYTES);
	for (const char *c = part; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7F)
			return schema_fail(r, n,
					   "has a control character; "
					   "expected a name");
	}
	return true;
}

/* `text` may be the node's key instead of its value. */
static bool parse_name(const struct schema_reader *r, const struct node *n,
		       const char *text, const char **ret)
{
	const char *rest = text, *part = parse_part(&rest, r->arena);

	if (!check_part(r, n, part))
		return false;
	if (*rest != '\0') {
		schema_fail(r, n,
			    "%s is not a name alone; expected no table or "
			    "schema before it, and double quotes around a "
			    "name with a dot",
			    text_quote(text, r->arena));
		return false;
	}
	*ret = part;
	return true;
}

static bool get_name(const struct schema_reader *r, const struct node *n,
		     const char **ret)
{
	const char *text;

	return schema_get_text(r, n, "a name", &text) &&
	       parse_name(r, n, text, ret);
}

static const char *accepts_name(const struct field *f, struct arena *a)
{
	return "a name";
}

static bool read_name(struct schema_reader *r, const struct field *f,
		      const struct node *n, void *base)
{
	return get_name(r, n, field_member(f, base));
}

/* Relations */

bool spec_name_is(const struct spec_name *a, const struct spec_name *b)
{
	return strcmp(a->schema, b->schema) == 0 &&
	       strcmp(a->name, b->name) == 0;
}

static bool check_schema(const struct schema_reader *r, const struct node *n,
			 const char *schema)
{
	static const char *const taken[] = {
	    "pgtandem",
	    "pg_catalog",
	    "information_schema",
	    "pg_toast",
	};

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (strcmp(schema, taken[i]) == 0)
			return schema_fail(r, n,
					   "schema %s is not the "
					   "application's; its relations "
					   "cannot be migrated",
					   schema);
	}
	return true;
}

static bool get_relation(const struct schema_reader *r, const struct node *n,
			 struct spec_name *ret)
{
	static const char expected[] = "a table's name, or schema.name";
	const char *text, *rest, *first, *second = NULL;

	if (!schema_get_text(r, n, expected, &text))
		return false;
	rest = text;
	first = parse_part(&rest, r->arena);
	if (!check_part(r, n, first))
		return false;
	if (*rest == '.') {
		rest++;
		second = parse_part(&rest, r->arena);
		if (!check_part(r, n, second))
			return false;
	}
	if (*rest != '\0')
		return schema_fail_expected(r, n, expected);
	ret->schema = second ? first : "public";
	ret->name = second ? second : first;
	return check_schema(r, n, ret->schema);
}

static const char *accepts_relation(const struct field *f, struct arena *a)
{
	return "a table's name, or schema.name";
}

static bool read_relation(struct schema_reader *r, const struct field *f,
			  const struct node *n, void *base)
{
	return get_relation(r, n, field_member(f, base));
}

static const char *accepts_two_relations(const struct field *f, struct arena *a)
{
	return "a list of two tables' names, the second one's or {table, key} "
	       "where its key has other names";
}

/* The second table of two, where it does not call its key as the lens does. */
static const struct field second_table_fields[] = {
    {"table", &spec_type_relation, AT(struct spec_lens, old2), .required = true,
     .what = "the second old table"},
    {"key", &spec_type_names, AT_LIST(struct spec_lens, key2, char *),
     .required = true,
     .what = "its names of the key's columns, in their order"},
    {0},
};

static bool read_two_relations(struct schema_reader *r, const struct field *f,
			       const struct node *n, void *base)
{
	struct spec_lens *lens = base;

	if (n->kind != NODE_LIST || n->n != 2)
		return schema_fail_expected(r, n,
					    accepts_two_relations(f, NULL));
	if (!get_relation(r, n->first, &lens->old))
		return false;
	if (n->first->next->kind == NODE_MAP)
		return schema_read(r, second_table_fields, n->first->next,
				   lens);
	return get_relation(r, n->first->next, &lens->old2);
}

/* One or several */

typedef bool get_item(const struct schema_reader *r, const struct node *n,
		      const char **ret);

static bool read_texts(struct schema_reader *r, const struct field *f,
		       const struct node *n, void *base, get_item *get,
		       const char *expected)
{
	size_t count = n->kind == NODE_LIST ? n->n : 1;
	const struct node *item = n->kind == NODE_LIST ? n->first : n;
	const char **texts;

	if (n->kind == NODE_MAP)
		return schema_fail_expected(r, n, expected);
	if (n->kind == NODE_LIST && !check_count(r, n, expected))
		return false;
	texts = arena_alloc(r->arena, count * sizeof(*texts));
	for (size_t i = 0; i < count; i++, item = item->next) {
		if (!get(r, item, &texts[i]))
			return false;
		for (size_t j = 0; j < i; j++) {
			if (strcmp(texts[i], texts[j]) == 0)
				return fail_twice(r, item, texts[i]);
		}
	}
	set_array(f, base, texts, count);
	return true;
}

static const char *accepts_names(const struct field *f, struct arena *a)
{
	return "a name, or a list of them";
}

static bool read_names(struct schema_reader *r, const struct field *f,
		       const struct node *n, void *base)
{
	return read_texts(r, f, n, base, get_name, accepts_names(f, NULL));
}

static const char *accepts_sqls(const struct field *f, struct arena *a)
{
	return "an ORDER BY item, or a list of them";
}

static bool read_sqls(struct schema_reader *r, const struct field *f,
		      const struct node *n, void *base)
{
	return read_texts(r, f, n, base, schema_get_sql, accepts_sqls(f, NULL));
}

/* Keys */

static const char *accepts_key(const struct field *f, struct arena *a)
{
	return "a list of columns, or a mapping of old to new ones";
}

static size_t count_pairs(const struct node *n)
{
	size_t count = 0;

	if (n->kind == NODE_TEXT)
		return 1;
	if (n->kind == NODE_MAP)
		return n->n;
	for (const struct node *item = n->first; item; item = item->next)
		count += item->kind == NODE_MAP ? item->n : 1;
	return count;
}

/* Adds what a text (both sides) or a mapping (old: new) says. */
static bool add_pairs(const struct schema_reader *r, const struct node *n,
		      struct spec_key **next)
{
	const struct node *item;

	if (n->kind == NODE_LIST)
		return schema_fail_expected(r, n,
					    "a column, or a mapping of "
					    "an old to a new one");
	if (n->kind == NODE_TEXT) {
		if (!get_name(r, n, &(*next)->old))
			return false;
		(*next)->new = (*next)->old;
		(*next)++;
		return true;
	}
	for (item = n->first; item != NULL; item = item->next, (*next)++) {
		if (!parse_name(r, item, item->key, &(*next)->old) ||
		    !get_name(r, item, &(*next)->new))
			return false;
	}
	return true;
}

static bool check_pairs(const struct schema_reader *r, const struct node *n,
			const struct spec_key *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(pairs[i].old, pairs[j].old) == 0 ||
			    strcmp(pairs[i].new, pairs[j].new) == 0)
				return fail_twice(r, n, pairs[i].old);
		}
	}
	return true;
}

static bool read_pairs(const struct schema_reader *r, const struct field *f,
		       const struct node *n, struct spec_key *pairs,
		       size_t count)
{
	struct spec_key *next = pairs;
	const struct node *item;

	if (n->kind == NODE_LIST) {
		for (item = n->first; item != NULL; item = item->next) {
			if (!add_pairs(r, item, &next))
				return false;
		}
	} else if (!add_pairs(r, n, &next)) {
		return false;
	}
	return check_pairs(r, n, pairs, count);
}

static bool read_key(struct schema_reader *r, const struct field *f,
		     const struct node *n, void *base)
{
	size_t count = count_pairs(n);
	struct spec_key *pairs;

	if (count == 0)
		return schema_fail_expected(r, n, accepts_key(f, NULL));
	if (count > 32)
		return schema_fail(r, n,
				   "has %zu columns; at most 32, "
				   "PostgreSQL's limit for an index",
				   count);
	pairs = arena_alloc(r->arena, count * sizeof(*pairs));
	if (!read_pairs(r, f, n, pairs, count))
		return false;
	set_array(f, base, pairs, count);
	return true;
}

static const char *accepts_parent(const struct field *f, struct arena *a)
{
	return "a mapping of the child table's columns to key columns";
}

/* As a key, but written from the new side. */
static bool read_parent(struct schema_reader *r, const struct field *f,
			const struct node *n, void *base)
{
	struct spec_key *pairs;
	const struct node *item = n->first;

	if (n->kind != NODE_MAP)
		return schema_fail_expected(r, n, accepts_parent(f, NULL));
	if (!check_count(r, n, accepts_parent(f, NULL)))
		return false;
	pairs = arena_alloc(r->arena, n->n * sizeof(*pairs));
	for (size_t i = 0; i < n->n; i++, item = item->next) {
		if (!parse_name(r, item, item->key, &pairs[i].new) ||
		    !get_name(r, item, &pairs[i].old))
			return false;
	}
	set_array(f, base, pairs, n->n);
	return check_pairs(r, n, pairs, n->n);
}

/* Columns */

/* clang-format off */
static const struct field new_fields[] = {
	{ "name", &spec_type_name, AT(struct spec_column, new_name),
	  .required = true, .what = "the new column" },
	{ "type", &schema_sql, AT(struct spec_column, new_type),
	  .what = "its type; needs forward and reverse. "
	          "Not given: the old column's" },
	{ "not_null", &schema_bool, AT(struct spec_column, new_not_null),
	  .what = "whether it is NOT NULL. Not given: as the old column" },
	{ "default", &schema_sql, AT(struct spec_column, new_default),
	  .what = "its default. Not given: the old one, mapped" },
	{ 0 },
};
static const struct field moved_fields[] = {
	{ "old", &spec_type_names, AT_LIST(struct spec_column, old, char *),
	  .required = true, .what = "the old column" },
	{ "reverse", &spec_type_reverse, AT(struct spec_column, reverse),
	  .what = "SQL over the child's columns that gives it" },
	{ 0 },
};
static const struct field child_fields[] = {
	{ "type", &schema_sql, AT(struct spec_column, new_type),
	  .what = "the column's type" },
	{ "not_null", &schema_bool, AT(struct spec_column, new_not_null),
	  .what = "whether it is NOT NULL" },
	{ "default", &schema_sql, AT(struct spec_column, new_default),
	  .what = "its default" },
	{ "forward", &schema_sql, AT(struct spec_column, forward),
	  .what = "SQL over the old columns that gives it" },
	{ 0 },
};
/* clang-format on */

static const char *accepts_new(const struct field *f, struct arena *a)
{
	return "a column's name, or a mapping with keys name, type, not_null, "
	       "default";
}

static bool read_new(struct schema_reader *r, const struct field *f,
		     const struct node *n, void *base)
{
	struct spec_column *column = base;

	if (n->kind == NODE_LIST)
		return schema_fail_expected(r, n, accepts_new(f, NULL));
	if (n->kind == NODE_TEXT)
		return get_name(r, n, &column->new_name);
	column->new_not_null_given = node_get(n, "not_null") != NULL;
	return schema_read(r, new_fields, n, column);
}

static const char *accepts_reverse(const struct field *f, struct arena *a)
{
	return "SQL, or a mapping of each old column to SQL";
}

static const char *join_names(const char *const *names, size_t n,
			      struct arena *a)
{
	const char *text = "";

	for (size_t i = 0; i < n; i++)
		text = arena_fmt(a, "%s%s%s", text, i ? ", " : "", names[i]);
	return text;
}

static bool read_reverse_map(struct schema_reader *r, const struct node *n,
			     const struct spec_column *column,
			     const char **texts)
{
	for (const struct node *item = n->first; item; item = item->next) {
		const char *name;
		size_t i = 0;

		if (!parse_name(r, item, item->key, &name))
			return false;
		while (i < column->n_old && strcmp(column->old[i], name) != 0)
			i++;
		if (i == column->n_old)
			return schema_fail(
			    r, item,
			    "is not among the old "
			    "columns %s",
			    join_names(column->old, column->n_old, r->arena));
		if (!schema_get_sql(r, item, &texts[i]))
			return false;
	}
	for (size_t i = 0; i < column->n_old; i++) {
		if (texts[i] == NULL)
			return schema_fail(r, n, "column \"%s\" is missing",
					   column->old[i]);
	}
	return true;
}

static bool read_reverse(struct schema_reader *r, const struct field *f,
			 const struct node *n, void *base)
{
	struct spec_column *column = base;
	const char **texts;

	assert(column->n_old > 0);
	texts = arena_alloc(r->arena, column->n_old * sizeof(*texts));
	if (n->kind == NODE_MAP) {
		if (!read_reverse_map(r, n, column, texts))
			return false;
	} else if (column->n_old > 1) {
		return schema_fail(
		    r, n,
		    "is one SQL text for %zu old columns; "
		    "expected a mapping with keys %s",
		    column->n_old,
		    join_names(column->old, column->n_old, r->arena));
	} else if (!schema_get_sql(r, n, texts)) {
		return false;
	}
	column->reverse = texts;
	return true;
}

static const char *accepts_moved(const struct field *f, struct arena *a)
{
	return "a list of columns";
}

static bool read_moved_one(struct schema_reader *r, const struct node *n,
			   struct spec_column *column)
{
	const char **name = arena_alloc(r->arena, sizeof(*name));

	column->line = n->line;
	if (n->kind != NODE_TEXT) {
		if (!schema_read(r, moved_fields, n, column))
			return false;
		if (column->n_old == 1)
			return true;
		return schema_fail(r, n,
				   "names %zu old columns; expected one "
				   "an entry",
				   column->n_old);
	}
	column->n_old = 1;
	column->old = name;
	return get_name(r, n, name);
}

static bool read_moved(struct schema_reader *r, const struct field *f,
		       const struct node *n, void *base)
{
	const struct node *item = n->first;
	struct spec_column *columns;

	if (n->kind != NODE_LIST)
		return schema_fail_expected(r, n, accepts_moved(f, NULL));
	if (!check_count(r, n, accepts_moved(f, NULL)))
		return false;
	columns = arena_alloc(r->arena, n->n * sizeof(*columns));
	for (size_t i = 0; i < n->n; i++, item = item->next) {
		if (!read_moved_one(r, item, &columns[i]))
			return false;
	}
	set_array(f, base, columns, n->n);
	return true;
}

static const char *accepts_child(const struct field *f, struct arena *a)
{
	return "a mapping of the child table's columns to SQL over the old "
	       "columns";
}

static bool read_child_one(struct schema_reader *r, const struct node *n,
			   struct spec_column *column)
{
	column->line = n->line;
	if (!parse_name(r, n, n->key, &column->new_name))
		return false;
	if (n->kind != NODE_MAP)
		return schema_get_sql(r, n, &column->forward);
	column->new_not_null_given = node_get(n, "not_null") != NULL;
	return schema_read(r, child_fields, n, column);
}

static bool read_child(struct schema_reader *r, const struct field *f,
		       const struct node *n, void *base)
{
	const struct node *item = n->first;
	struct spec_column *columns;

	if (n->kind != NODE_MAP)
		return schema_fail_expected(r, n, accepts_child(f, NULL));
	if (!check_count(r, n, accepts_child(f, NULL)))
		return false;
	columns = arena_alloc(r->arena, n->n * sizeof(*columns));
	for (size_t i = 0; i < n->n; i++, item = item->next) {
		if (!read_child_one(r, item, &columns[i]))
			return false;
	}
	set_array(f, base, columns, n->n);
	return true;
}

/* clang-format off */
const struct value_type spec_type_name = { read_name, accepts_name, NULL };
const struct value_type spec_type_relation = {
	read_relation, accepts_relation, NULL };
const struct value_type spec_type_two_relations = {
	read_two_relations, accepts_two_relations, NULL };
const struct value_type spec_type_names = { read_names, accepts_names, NULL };
const struct value_type spec_type_sqls = { read_sqls, accepts_sqls, NULL };
const struct value_type spec_type_key = { read_key, accepts_key, NULL };
const struct value_type spec_type_parent = {
	read_parent, accepts_parent, NULL };
const struct value_type spec_type_new = { read_new, accepts_new, NULL };
const struct value_type spec_type_reverse = {
	read_reverse, accepts_reverse, NULL };
const struct value_type spec_type_moved = { read_moved, accepts_moved, NULL };
const struct value_type spec_type_child = { read_child, accepts_child, NULL };
/* clang-format on */

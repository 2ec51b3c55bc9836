#include "config/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *describe_node(const struct node *n, struct arena *a)
{
	switch (n->kind) {
	case NODE_TEXT:
		return n->text[0] ? text_quote(n->text, a) : "empty";
	case NODE_LIST:
		return n->n > 0 ? "a list" : "an empty list";
	case NODE_MAP:
		return n->n > 0 ? "a mapping" : "an empty mapping";
	}
	return "";
}

bool schema_fail(const struct schema_reader *r, const struct node *n,
		 const char *fmt, ...)
{
	const char *path = node_path(n, r->arena);
	char what[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	problem_set(r->problem, "F0000", "%s:%u: %s%s%s", r->file, n->line,
		    path, path[0] ? ": " : "", what);
	return false;
}

bool schema_fail_expected(const struct schema_reader *r, const struct node *n,
			  const char *expected)
{
	const char *found = describe_node(n, r->arena);

	if (n->kind == NODE_TEXT && n->text[0] != '\0')
		return schema_fail(r, n, "%s is not %s", found, expected);
	return schema_fail(r, n, "is %s; expected %s", found, expected);
}

bool schema_get_text(const struct schema_reader *r, const struct node *n,
		     const char *expected, const char **ret)
{
	if (n->kind != NODE_TEXT || n->text[0] == '\0') {
		schema_fail_expected(r, n, expected);
		return false; /* for the compiler, which cannot see it */
	}
	*ret = n->text;
	return true;
}

void *field_member(const struct field *f, void *base)
{
	return (char *)base + f->offset;
}

static const void *member_of(const struct field *f, const void *base)
{
	return (const char *)base + f->offset;
}

static void set_text(const struct field *f, void *base, const char *text)
{
	assert(f->size == sizeof(text));
	memcpy(field_member(f, base), &text, sizeof(text));
}

const char *field_text(const struct field *f, const void *base)
{
	const char *text;

	assert(f->size == sizeof(text));
	memcpy(&text, member_of(f, base), sizeof(text));
	return text;
}

/* Members are unsigned integers, or enums, of the size that they have. */
static void set_number(const struct field *f, void *base, uint64_t value)
{
	void *m = field_member(f, base);

	switch (f->size) {
	case sizeof(bool):
		*(bool *)m = value != 0;
		break;
	case sizeof(uint16_t):
		*(uint16_t *)m = (uint16_t)value;
		break;
	case sizeof(uint32_t):
		memcpy(m, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
		break;
	case sizeof(uint64_t):
		*(uint64_t *)m = value;
		break;
	default:
		assert(!"a number's size");
	}
}

static uint64_t get_number(const struct field *f, const void *base)
{
	const void *m = member_of(f, base);
	uint32_t value;

	if (f->size == sizeof(bool))
		return *(const bool *)m;
	if (f->size == sizeof(uint16_t))
		return *(const uint16_t *)m;
	if (f->size == sizeof(uint64_t))
		return *(const uint64_t *)m;
	assert(f->size == sizeof(value));
	memcpy(&value, m, sizeof(value));
	return value;
}

/* Text */

static const char *accepts_text(const struct field *f, struct arena *a)
{
	return "text";
}

static bool read_text(struct schema_reader *r, const struct field *f,
		      const struct node *n, void *base)
{
	const char *text, *wrong;

	if (!schema_get_text(r, n, f->type->accepts(f, r->arena), &text))
		return false;
	wrong = f->check ? f->check(text) : NULL;
	if (wrong != NULL)
		return schema_fail(r, n, "%s %s", text_quote(text, r->arena),
				   wrong);
	set_text(f, base, text);
	return true;
}

static void list_text(struct schema_rows *rows, const char *name,
		      const struct field *f, const void *base)
{
	const char *text = field_text(f, base);

	schema_add_row(rows, name, text ? text : "", f->what);
}

static const char *accepts_sql(const struct field *f, struct arena *a)
{
	return "SQL";
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool schema_get_sql(const struct schema_reader *r, const struct node *n,
		    const char **ret)
{
	const char *text;
	size_t len;

	if (!schema_get_text(r, n, "SQL", &text))
		return false;
	while (is_blank(*text))
		text++;
	len = strlen(text);
	while (len > 0 && is_blank(text[len - 1]))
		len--;
	if (len == 0)
		return schema_fail(r, n, "is empty; expected SQL");
	*ret = arena_dup(r->arena, text, len);
	return true;
}

static bool read_sql(struct schema_reader *r, const struct field *f,
		     const struct node *n, void *base)
{
	return schema_get_sql(r, n, field_member(f, base));
}

/* Paths */

const char *schema_resolve(const struct schema_reader *r, const char *path)
{
	const char *slash = strrchr(r->file, '/');

	if (path[0] == '/' || slash == NULL)
		return path;
	return arena_fmt(r->arena, "%.*s%s", (int)(slash + 1 - r->file),
			 r->file, path);
}

static const char *accepts_path(const struct field *f, struct arena *a)
{
	return "a path";
}

static bool read_path(struct schema_reader *r, const struct field *f,
		      const struct node *n, void *base)
{
	if (!read_text(r, f, n, base))
		return false;
	set_text(f, base, schema_resolve(r, field_text(f, base)));
	return true;
}

static bool read_file(struct schema_reader *r, const struct field *f,
		      const struct node *n, void *base)
{
	if (!read_path(r, f, n, base))
		return false;
	if (access(field_text(f, base), R_OK) != 0)
		return schema_fail(r, n, "%s cannot be read: %s",
				   text_quote(field_text(f, base), r->arena),
				   strerror(errno));
	return true;
}

/* True or false */

static const char *accepts_bool(const struct field *f, struct arena *a)
{
	return "true or false";
}

static bool read_bool(struct schema_reader *r, const struct field *f,
		      const struct node *n, void *base)
{
	const char *text;

	assert(f->size == sizeof(bool));
	if (!schema_get_text(r, n, "true or false", &text))
		return false;
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return schema_fail_expected(r, n, "true or false");
	*(bool *)field_member(f, base) = text[0] == 't';
	return true;
}

static void list_bool(struct schema_rows *rows, const char *name,
		      const struct field *f, const void *base)
{
	bool on = *(const bool *)member_of(f, base);

	schema_add_row(rows, name, on ? "true" : "false", f->what);
}

/* Numbers */

/* Digits only; false when there is none or they overflow. */
static bool parse_digits(const char **s, uint64_t *ret)
{
	uint64_t value = 0;
	const char *c = *s;

	while (*c >= '0' && *c <= '9') {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *c++ - '0', &value))
			return false;
	}
	if (c == *s)
		return false;
	*s = c;
	*ret = value;
	return true;
}

static const char *accepts_number(const struct field *f, struct arena *a)
{
	return arena_fmt(a, "a number from %llu to %llu",
			 (unsigned long long)f->min,
			 (unsigned long long)f->max);
}

static bool read_number(struct schema_reader *r, const struct field *f,
			const struct node *n, void *base)
{
	const char *expected = accepts_number(f, r->arena), *text;
	uint64_t value;

	if (!schema_get_text(r, n, expected, &text))
		return false;
	if (!parse_digits(&text, &value) || *text != '\0' || value < f->min ||
	    value > f->max)
		return schema_fail_expected(r, n, expected);
	set_number(f, base, value);
	return true;
}

static void list_number(struct schema_rows *rows, const char *name,
			const struct field *f, const void *base)
{
	unsigned long long value = get_number(f, base);

	schema_add_row(rows, name, arena_fmt(rows->arena, "%llu", value),
		       f->what);
}

/* Durations */

static const struct {
	const char *name;
	uint64_t ms;
} units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
enum { N_UNITS = sizeof(units) / sizeof(units[0]) };

static const char *format_duration(uint64_t ms, struct arena *a)
{
	unsigned i = 0;

	if (ms == 0)
		return "0s";
	while (ms % units[i].ms != 0)
		i++;
	return arena_fmt(a, "%llu%s", (unsigned long long)(ms / units[i].ms),
			 units[i].name);
}

static bool parse_duration(const char *s, uint64_t *ret_ms)
{
	uint64_t value;

	if (!parse_digits(&s, &value))
		return false;
	for (unsigned i = 0; i < N_UNITS; i++) {
		if (strcmp(s, units[i].name) == 0)
			return !__builtin_mul_overflow(value, units[i].ms,
						       ret_ms);
	}
	return false;
}

static uint64_t unit_of(const struct field *f)
{
	return f->unit_ms ? f->unit_ms : 1;
}

static const char *accepts_duration(const struct field *f, struct arena *a)
{
	return arena_fmt(
	    a, "a duration from %s to %s (a whole number of %s)",
	    format_duration(f->min, a), format_duration(f->max, a),
	    f->unit_ms == 1000 ? "s, m, h or d" : "ms, s, m, h or d");
}

static bool read_duration(struct schema_reader *r, const struct field *f,
			  const struct node *n, void *base)
{
	const char *expected = accepts_duration(f, r->arena), *text;
	uint64_t ms;

	if (!schema_get_text(r, n, expected, &text))
		return false;
	if (!parse_duration(text, &ms) || ms < f->min || ms > f->max ||
	    ms % unit_of(f) != 0)
		return schema_fail_expected(r, n, expected);
	set_number(f, base, ms / unit_of(f));
	return true;
}

static void list_duration(struct schema_rows *rows, const char *name,
			  const struct field *f, const void *base)
{
	uint64_t ms = get_number(f, base) * unit_of(f);

	schema_add_row(rows, name, format_duration(ms, rows->arena), f->what);
}

/* Choices */

static const char *accepts_choice(const struct field *f, struct arena *a)
{
	const char *text = "one of ", *comma = "";

	for (const struct choice *c = f->choices; c->name != NULL; c++) {
		text = arena_fmt(a, "%s%s%s", text, comma, c->name);
		comma = ", ";
	}
	return text;
}

static bool read_choice(struct schema_reader *r, const struct field *f,
			const struct node *n, void *base)
{
	const char *expected = accepts_choice(f, r->arena), *text;

	if (!schema_get_text(r, n, expected, &text))
		return false;
	for (const struct choice *c = f->choices; c->name != NULL; c++) {
		if (strcmp(c->name, text) == 0) {
			set_number(f, base, c->value);
			return true;
		}
	}
	return schema_fail_expected(r, n, expected);
}

static void list_choice(struct schema_rows *rows, const char *name,
			const struct field *f, const void *base)
{
	const struct choice *c = f->choices;
	uint64_t value = get_number(f, base);

	while (c->name != NULL && c->value != value)
		c++;
	schema_add_row(rows, name, c->name ? c->name : "", f->what);
}

/* Mappings */

static const char *known_keys(const struct field *fields, struct arena *a)
{
	const char *text = "", *comma = "";

	for (const struct field *f = fields; f->key != NULL; f++) {
		text = arena_fmt(a, "%s%s%s", text, comma, f->key);
		comma = ", ";
	}
	return text;
}

static const struct field *find_field(const struct field *fields,
				      const char *key)
{
	for (const struct field *f = fields; f->key != NULL; f++) {
		if (strcmp(f->key, key) == 0)
			return f;
	}
	return NULL;
}

static const char *accepts_map(const struct field *f, struct arena *a)
{
	return arena_fmt(a, "a mapping with keys %s", known_keys(f->fields, a));
}

static bool check_keys(struct schema_reader *r, const struct field *fields,
		       const struct node *map)
{
	const char *known = known_keys(fields, r->arena);
	const struct node *n;

	if (map->kind != NODE_MAP)
		return schema_fail(r, map,
				   "is %s; expected a mapping with "
				   "keys %s",
				   describe_node(map, r->arena), known);
	for (n = map->first; n != NULL; n = n->next) {
		if (find_field(fields, n->key) == NULL)
			return schema_fail(r, n, "unknown key; known here: %s",
					   known);
	}
	return true;
}

/* A key that is not given is read from its fallback, as though written; a
 * map from an empty one, so that the fallbacks in it count. */
static bool read_absent(struct schema_reader *r, const struct field *f,
			const struct node *map, void *base)
{
	struct node n = {
	    .kind = f->type == &schema_map ? NODE_MAP : NODE_TEXT,
	    .line = map->line,
	    .parent = map,
	    .key = f->key,
	    .text = f->fallback,
	};

	if (f->required)
		return schema_fail(r, map,
				   "key \"%s\" is missing; expected "
				   "%s",
				   f->key, f->type->accepts(f, r->arena));
	if (f->fallback == NULL && f->type != &schema_map)
		return true;
	return f->type->read(r, f, &n, base);
}

bool schema_read(struct schema_reader *r, const struct field *fields,
		 const struct node *map, void *base)
{
	if (!check_keys(r, fields, map))
		return false;
	for (const struct field *f = fields; f->key != NULL; f++) {
		const struct node *n = node_get(map, f->key);
		bool ok = n ? f->type->read(r, f, n, base)
			    : read_absent(r, f, map, base);

		if (!ok)
			return false;
	}
	return true;
}

static bool read_map(struct schema_reader *r, const struct field *f,
		     const struct node *n, void *base)
{
	if (!schema_read(r, f->fields, n, base))
		return false;
	return f->finish == NULL || f->finish(r, n, base);
}

static const char *join(const char *prefix, const char *key, struct arena *a)
{
	return arena_fmt(a, "%s%s%s", prefix, prefix[0] ? "." : "", key);
}

static void list_map(struct schema_rows *rows, const char *name,
		     const struct field *f, const void *base)
{
	schema_list_rows(rows, name, f->fields, base);
}

/* Lists of mappings */

static const char *accepts_list(const struct field *f, struct arena *a)
{
	return f->min > 0 ? "a list with at least one entry" : "a list";
}

static bool read_list(struct schema_reader *r, const struct field *f,
		      const struct node *list, void *base)
{
	const struct node *n = list->first;
	char *items;
	size_t count = list->n;

	if (list->kind != NODE_LIST || count < f->min)
		return schema_fail_expected(r, list, accepts_list(f, r->arena));
	if (f->max != 0 && count > f->max)
		return schema_fail(r, list, "has %zu entries; at most %llu",
				   count, (unsigned long long)f->max);
	items = arena_alloc(r->arena, count * f->item_size);
	for (size_t i = 0; i < count; i++, n = n->next) {
		void *item = items + i * f->item_size;

		if (!schema_read(r, f->fields, n, item) ||
		    (f->finish != NULL && !f->finish(r, n, item)))
			return false;
	}
	set_text(f, base, items);
	memcpy((char *)base + f->count_offset, &count, sizeof(count));
	return true;
}

static void list_list(struct schema_rows *rows, const char *name,
		      const struct field *f, const void *base)
{
	const char *items = field_text(f, base);
	size_t count;

	memcpy(&count, (const char *)base + f->count_offset, sizeof(count));
	for (size_t i = 0; i < count; i++)
		schema_list_rows(rows,
				 arena_fmt(rows->arena, "%s[%zu]", name, i),
				 f->fields, items + i * f->item_size);
}

/* Listing */

void schema_add_row(struct schema_rows *rows, const char *name,
		    const char *value, const char *what)
{
	struct schema_row *row = arena_alloc(rows->arena, sizeof(*row));

	*row = (struct schema_row){.name = name, .value = value, .what = what};
	if (rows->last != NULL)
		rows->last->next = row;
	else
		rows->first = row;
	rows->last = row;
	rows->n++;
}

/* What a key accepts, and what it is when it is not given. */
static void describe(struct schema_rows *rows, const char *name,
		     const struct field *f)
{
	struct arena *a = rows->arena;
	const char *accepts = f->type->accepts(f, a);

	if (f->required)
		accepts = arena_fmt(a, "%s; required", accepts);
	else if (f->fallback != NULL)
		accepts = arena_fmt(a, "%s; default %s", accepts, f->fallback);
	schema_add_row(rows, name, accepts, f->what);
	if (f->fields == NULL)
		return;
	if (f->type == &schema_list)
		name = arena_fmt(a, "%s[]", name);
	schema_list_rows(rows, name, f->fields, NULL);
}

void schema_list_rows(struct schema_rows *rows, const char *prefix,
		      const struct field *fields, const void *base)
{
	for (const struct field *f = fields; f->key != NULL; f++) {
		const char *name = join(prefix, f->key, rows->arena);

		if (base == NULL)
			describe(rows, name, f);
		else if (f->type->list != NULL)
			f->type->list(rows, name, f, base);
	}
}

/* clang-format off */
const struct value_type schema_text = { read_text, accepts_text, list_text };
const struct value_type schema_sql = { read_sql, accepts_sql, list_text };
const struct value_type schema_path = { read_path, accepts_path, list_text };
const struct value_type schema_file = { read_file, accepts_path, list_text };
const struct value_type schema_bool = { read_bool, accepts_bool, list_bool };
const struct value_type schema_number = {
	read_number, accepts_number, list_number };
const struct value_type schema_duration = {
	read_duration, accepts_duration, list_duration };
const struct value_type schema_choice = {
	read_choice, accepts_choice, list_choice };
const struct value_type schema_map = { read_map, accepts_map, list_map };
const struct value_type schema_list = { read_list, accepts_list, list_list };
/* clang-format on */

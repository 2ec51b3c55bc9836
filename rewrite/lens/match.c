#include "rewrite/lens/match.h"

#include <stdio.h>
#include <string.h>

#include "rewrite/lens/sure.h"
#include "rewrite/lens/template.h"

/* clang-format off */
#define INTEGERS "{int2,int4,int8,numeric}"
#define TEXTS "{text,varchar}"

/* Built-in types whose "=" with the others takes nothing else for equal than
 * what a cast of X to the type gives; and whose cast back changes nothing. */
static const struct match_type types[] = {
	{.name = "smallint", .literal = "pg_catalog.int2", .others = INTEGERS},
	{.name = "integer", .literal = "pg_catalog.int4", .others = INTEGERS},
	{.name = "bigint", .literal = "pg_catalog.int8", .others = INTEGERS},
	{.name = "numeric", .literal = "pg_catalog.numeric",
	 .others = INTEGERS, .needs_modifier = true},
	{.name = "text", .literal = "pg_catalog.text", .others = TEXTS,
	 .is_text = true},
	{.name = "character varying", .literal = "pg_catalog.text",
	 .others = TEXTS, .is_text = true},
	{.name = "character", .literal = "pg_catalog.bpchar",
	 .others = "{bpchar}", .needs_modifier = true, .is_text = true},
	{.name = "boolean", .literal = "pg_catalog.bool", .others = "{bool}"},
	{.name = "uuid", .literal = "pg_catalog.uuid", .others = "{uuid}"},
	{.name = "date", .literal = "pg_catalog.date", .others = "{date}"},
	{.name = "timestamp without time zone",
	 .literal = "pg_catalog.timestamp", .others = "{timestamp}"},
	{.name = "timestamp with time zone",
	 .literal = "pg_catalog.timestamptz", .others = "{timestamptz}"},
	{.name = "time without time zone", .literal = "pg_catalog.time",
	 .others = "{time}"},
	{.name = "bytea", .literal = "pg_catalog.bytea", .others = "{bytea}"},
};

/* New types that are compared: their operators are in pg_catalog. */
static const char *const comparable[] = {
	"smallint", "integer", "bigint", "numeric", "real",
	"double precision", "text", "character varying", "character",
	"boolean", "uuid", "date", "timestamp without time zone",
	"timestamp with time zone", "time without time zone",
	"time with time zone", "interval", "bytea", "inet", "cidr",
	"macaddr", "jsonb",
};
/* clang-format on */

/* The type without its modifier, which may stand in its middle. */
static const char *base_type(const char *type, struct arena *a)
{
	const char *open = strchr(type, '('), *close = strchr(type, ')');

	if (open == NULL || close == NULL)
		return type;
	return arena_fmt(a, "%.*s%s", (int)(open - type), type, close + 1);
}

/* A cast to these takes any string. */
static bool is_string(const char *type, struct arena *a)
{
	const char *base = base_type(type, a);

	return type_same(base, "text") ||
	       type_same(base, "character varying") ||
	       type_same(base, "character");
}

/* As PostgreSQL reads a number of that size. */
static const char *bound_type(int64_t number)
{
	return number < INT32_MIN || number > INT32_MAX ? "int8" : "int4";
}

static const struct match_type *find_type(const struct column *c,
					  struct arena *a)
{
	const char *base = base_type(c->type, a);

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (type_same(base, types[i].name))
			return types[i].needs_modifier && base == c->type
				   ? NULL
				   : &types[i];
	return NULL;
}

static bool is_comparable(const struct column *c, struct arena *a)
{
	const char *base = base_type(c->type, a);

	for (size_t i = 0; i < sizeof(comparable) / sizeof(*comparable); i++)
		if (type_same(base, comparable[i]))
			return true;
	return false;
}

static bool is_bare(const struct template *t)
{
	return t->n == 1 && t->text[0][0] == '\0' && t->text[1][0] == '\0';
}

/* The greatest value of a numeric(precision,scale), or NULL. */
static const char *greatest(const char *type, struct arena *a)
{
	static const char nines[] = "99999999999999999999";
	int precision, scale = 0;

	if (sscanf(type, "numeric(%d,%d)", &precision, &scale) < 1 ||
	    precision - scale >= (int)sizeof(nines) ||
	    scale >= (int)sizeof(nines))
		return NULL;
	return arena_fmt(a, "%.*s.%.*s", precision - scale, nines, scale,
			 nines);
}

static void set_bounds(const struct column *old, const struct sure *s,
		       struct match *m, struct arena *a)
{
	if (!s->scaled) {
		m->low = arena_fmt(a, "'%lld'::pg_catalog.%s",
				   (long long)s->low, bound_type(s->low));
		m->high = arena_fmt(a, "'%lld'::pg_catalog.%s",
				    (long long)s->high, bound_type(s->high));
		return;
	}
	m->high = greatest(old->type, a);
	if (m->high != NULL)
		m->low = arena_fmt(a, "-%s", m->high);
}

const struct match *match_make(const struct column *old,
			       const struct lens_new *new, bool preserving,
			       struct arena *a)
{
	struct match *m = arena_alloc(a, sizeof(*m));
	struct sure s = new->forward.sure;

	if (is_bare(&new->forward))
		sure_of_column(old, &s);
	*m = (struct match){.type = find_type(old, a)};
	if (old->collation != NULL || m->type == NULL ||
	    !is_comparable(new->column, a))
		return NULL;
	m->is_date = type_same(old->type, "date");
	m->total = s.time != NULL ? type_same(s.time, new->column->type)
				  : s.total && is_string(new->column->type, a);
	if (sure_cast(&s, new->column->type))
		set_bounds(old, &s, m, a);
	m->ranges = preserving && ((m->total && s.time != NULL) ||
				   (m->low != NULL && s.rising));
	return m;
}

int match_find_new(const struct lens *l, unsigned old)
{
	for (unsigned i = 0; i < l->n_new; i++)
		if (l->news[i].match != NULL &&
		    l->news[i].forward.column[0] == old)
			return (int)i;
	return -1;
}

const char *match_name(const struct lens *l, const char *what, unsigned new,
		       struct arena *a)
{
	return arena_fmt(a, "%s_%u_%s_%u", l->migration, l->number, what,
			 new + 1);
}

const char *match_ref(const struct lens *l, const char *what, unsigned new,
		      struct arena *a)
{
	return quote_qualified("pgtandem", match_name(l, what, new, a), a);
}

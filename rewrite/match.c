#include "rewrite/match.h"

#include <string.h>

#include "rewrite/template.h"

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

/* New types that are compared: their "=" is in pg_catalog. */
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

const struct match_type *match_type_of(const struct column *old,
				       const struct column *new,
				       struct arena *a)
{
	if (old->collation != NULL || !is_comparable(new, a))
		return NULL;
	return find_type(old, a);
}

int match_find_new(const struct lens *l, unsigned old)
{
	for (unsigned i = 0; i < l->n_new; i++)
		if (l->news[i].match != NULL &&
		    l->news[i].forward.column[0] == old)
			return (int)i;
	return -1;
}

const char *match_ref(const struct lens *l, const char *what, unsigned new,
		      struct arena *a)
{
	return quote_qualified(
	    "pgtandem",
	    arena_fmt(a, "%s_%u_%s_%u", l->migration, l->number, what, new + 1),
	    a);
}

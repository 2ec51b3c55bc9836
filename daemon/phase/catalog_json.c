#include "daemon/phase/catalog_json.h"

#include <jansson.h>

/* A member as text in the arena; NULL when missing or null. */
static const char *text(const json_t *o, const char *key, struct arena *a)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? arena_str(a, s) : NULL;
}

static char letter(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s[0] : 0;
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* A member array of names; a null stands for an expression. */
static const char *const *names(const json_t *o, const char *key,
				struct arena *a, size_t *ret_n)
{
	const json_t *list = json_object_get(o, key);
	size_t n = json_array_size(list);
	const char **all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		all[i] = s ? arena_str(a, s) : NULL;
	}
	*ret_n = n;
	return all;
}

static void column_read(const json_t *o, struct arena *a, struct column *c)
{
	c->name = text(o, "name", a);
	c->type = text(o, "type", a);
	c->type_oid = (uint32_t)number(o, "type_oid");
	c->typmod = (int32_t)number(o, "typmod");
	c->attnum = (int16_t)number(o, "attnum");
	c->not_null = flag(o, "not_null");
	c->identity = letter(o, "identity");
	c->generated = letter(o, "generated");
	c->default_expr = text(o, "default", a);
	c->type_default = text(o, "type_default", a);
	c->base_type = text(o, "base_type", a);
	c->collation = text(o, "collation", a);
	c->comment = text(o, "comment", a);
	c->sequence = text(o, "sequence", a);
	c->storage = letter(o, "storage");
	c->statistics = (int32_t)number(o, "statistics");
	c->loose = flag(o, "loose");
	c->equals_schema = text(o, "equals_schema", a);
}

static void constraint_read(const json_t *o, struct arena *a,
			    struct constraint *c)
{
	c->name = text(o, "name", a);
	c->kind = (enum constraint_kind)letter(o, "kind");
	c->definition = text(o, "definition", a);
	c->columns = names(o, "columns", a, &c->n_columns);
	c->deferrable = flag(o, "deferrable");
	c->deferred = flag(o, "deferred");
	c->index = (uint32_t)number(o, "index");
}

static void index_read(const json_t *o, struct arena *a, struct index *i)
{
	i->name = text(o, "name", a);
	i->definition = text(o, "definition", a);
	i->unique = flag(o, "unique");
	i->oid = (uint32_t)number(o, "oid");
	i->columns = names(o, "columns", a, &i->n_columns);
}

static void grant_read(const json_t *o, struct arena *a, struct grant *g)
{
	g->grantee = text(o, "grantee", a);
	g->privilege = text(o, "privilege", a);
	g->grantable = flag(o, "grantable");
	g->column = text(o, "column", a);
}

static void columns_read(const json_t *o, struct arena *a, struct relation *r)
{
	const json_t *list = json_object_get(o, "columns");
	size_t n = json_array_size(list);
	struct column *all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++)
		column_read(json_array_get(list, i), a, &all[i]);
	r->n_columns = n;
	r->columns = all;
}

/* A constraint or an index that is dropped while the catalog is read may still
 * be listed, but the server has no definition of it any more: it is gone. */
static void constraints_read(const json_t *o, struct arena *a,
			     struct relation *r)
{
	const json_t *list = json_object_get(o, "constraints");
	size_t n = json_array_size(list);
	struct constraint *all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		constraint_read(json_array_get(list, i), a,
				&all[r->n_constraints]);
		r->n_constraints += all[r->n_constraints].definition != NULL;
	}
	r->constraints = all;
}

static void indexes_read(const json_t *o, struct arena *a, struct relation *r)
{
	const json_t *list = json_object_get(o, "indexes");
	size_t n = json_array_size(list);
	struct index *all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		index_read(json_array_get(list, i), a, &all[r->n_indexes]);
		r->n_indexes += all[r->n_indexes].definition != NULL;
	}
	r->indexes = all;
}

static void grants_read(const json_t *o, struct arena *a, struct relation *r)
{
	const json_t *list = json_object_get(o, "grants");
	size_t n = json_array_size(list);
	struct grant *all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++)
		grant_read(json_array_get(list, i), a, &all[i]);
	r->n_grants = n;
	r->grants = all;
}

/* Pairs of a name and its schema. */
static const struct known_name *pairs_read(const json_t *o, const char *key,
					   struct arena *a, size_t *ret_n)
{
	const json_t *list = json_object_get(o, key);
	size_t n = json_array_size(list);
	struct known_name *all = arena_alloc(a, (n + 1) * sizeof(*all));

	for (size_t i = 0; i < n; i++) {
		const json_t *pair = json_array_get(list, i);
		const char *name = json_string_value(json_array_get(pair, 0));
		const char *schema = json_string_value(json_array_get(pair, 1));

		all[i].name = arena_str(a, name ? name : "");
		all[i].schema = arena_str(a, schema ? schema : "");
	}
	*ret_n = n;
	return all;
}

static void known_read(const json_t *o, struct arena *a, struct relation *r)
{
	const json_t *known = json_object_get(o, "known");
	struct known_names *names = arena_alloc(a, sizeof(*names));

	if (!json_is_object(known))
		return;
	names->functions =
	    pairs_read(known, "functions", a, &names->n_functions);
	names->types = pairs_read(known, "types", a, &names->n_types);
	r->known = names;
}

bool catalog_json_read(const char *json, struct arena *a,
		       const struct relation **ret, struct problem *p)
{
	json_error_t error;
	json_t *o = json_loads(json, 0, &error);
	struct relation *r = arena_alloc(a, sizeof(*r));

	if (!o)
		return problem_set(p, "XX001",
				   "pgtandem: a stored description of a "
				   "relation cannot be read: %s",
				   error.text);
	r->schema = text(o, "schema", a);
	r->name = text(o, "name", a);
	r->oid = (uint32_t)number(o, "oid");
	r->kind = letter(o, "kind");
	r->owner = text(o, "owner", a);
	r->comment = text(o, "comment", a);
	r->replica_identity = letter(o, "replica_identity");
	r->row_security = flag(o, "row_security");
	r->rows = json_number_value(json_object_get(o, "rows"));
	columns_read(o, a, r);
	constraints_read(o, a, r);
	indexes_read(o, a, r);
	grants_read(o, a, r);
	known_read(o, a, r);
	json_decref(o);
	if (!r->schema || !r->name || r->n_columns == 0)
		return problem_set(p, "XX001",
				   "pgtandem: a stored description of a "
				   "relation has no name or no columns");
	*ret = r;
	return true;
}

/*
 * What the server says beside a result, in the client's terms: only names of
 * relations, for notices show no values.  What the client's own functions
 * say, which a context tells, is theirs.
 */
#include <string.h>

#include "rewrite/error/errmap.h"
#include "rewrite/text/sqltext.h"

/* Is this what stands in quotes, invoices, shop.invoices or d.shop.invoices? */
static bool is_new(const struct lens *l, const char *name, size_t len)
{
	const char *table = l->new->name, *schema = l->new->schema;
	size_t n = strlen(table), m = strlen(schema);

	if (len < n || memcmp(name + len - n, table, n) != 0)
		return false;
	if (len == n)
		return true;
	len -= n;
	return name[len - 1] == '.' && len > m &&
	       memcmp(name + len - 1 - m, schema, m) == 0 &&
	       (len == m + 1 || name[len - 2 - m] == '.');
}

static void put_old(const struct lens *l, const char *name, size_t len,
		    struct sqltext *t)
{
	size_t n = strlen(l->new->name), m = strlen(l->new->schema);

	if (len > n) /* the database, and the other schema */
		sqltext_put(t, "%.*s%s.", (int)(len - n - m - 1), name,
			    l->old->schema);
	sqltext_put(t, "%s", l->old->name);
}

/* Each quoted word that is the new relation becomes the old one. */
static const char *tell(const struct lens *l, const char *text, struct arena *a)
{
	const char *open, *close;
	struct sqltext t;

	sqltext_begin(&t, a);
	while ((open = strchr(text, '"')) != NULL &&
	       (close = strchr(open + 1, '"')) != NULL) {
		const char *name = open + 1;
		size_t len = (size_t)(close - name);

		sqltext_put(&t, "%.*s", (int)(name - text), text);
		if (is_new(l, name, len))
			put_old(l, name, len, &t);
		else
			sqltext_put(&t, "%.*s", (int)len, name);
		sqltext_put(&t, "\"");
		text = close + 1;
	}
	sqltext_put(&t, "%s", text);
	return t.s;
}

void plan_map_notice(const struct plan *plan, const struct ruleset *rules,
		     struct error_names *e, struct arena *a)
{
	if (e->context != NULL || e->message == NULL)
		return;
	for (size_t i = 0; i < rules->n_names; i++) {
		const struct rule_name *n = &rules->names[i];

		if (n->shape == SHAPE_OLD && n->through != NULL &&
		    (plan->old_shape >> n->migration & 1))
			e->message = tell(n->through, e->message, a);
	}
}

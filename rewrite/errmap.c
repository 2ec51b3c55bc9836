/*
 * Positions and names in the server's errors, told in the client's terms.
 */
#include "rewrite/rewrite.h"

#include <string.h>

#include "rewrite/sqltext.h"

/* The byte of a character, counted from 1, in UTF-8. */
static size_t byte_of_character(const char *s, size_t len, uint32_t position)
{
	size_t at = 0;

	while (at < len && --position > 0)
		for (at++; at < len && (s[at] & 0xc0) == 0x80;)
			at++;
	return at;
}

static uint32_t character_of_byte(const char *s, size_t at)
{
	uint32_t position = 1;

	for (size_t i = 0; i < at; i++)
		position += (s[i] & 0xc0) != 0x80;
	return position;
}

/* Of a byte that an edit added. */
static uint32_t position_in(const struct plan_edit *e, const char *sql,
			    size_t at)
{
	if (e->source == PLAN_OURS)
		return 0;
	return character_of_byte(sql,
				 e->source + (e->verbatim ? at - e->at : 0));
}

uint32_t plan_map_position(const struct plan *plan, const char *sql, size_t len,
			   uint32_t position)
{
	size_t at, back;

	if (plan->kind != PLAN_EDIT || position == 0)
		return position;
	at = byte_of_character(plan->text, plan->len, position);
	back = at;
	for (size_t i = 0; i < plan->n_edits; i++) {
		const struct plan_edit *e = &plan->edits[i];

		if (at < e->at)
			break;
		if (at < (size_t)e->at + e->added)
			return position_in(e, sql, at);
		/* What stands behind a schema that was taken out begins, to
		 * the client, with the schema. */
		back = at == e->at
			   ? e->from
			   : at - e->at - e->added + e->from + e->removed;
	}
	return back <= len ? character_of_byte(sql, back) : 0;
}

/* The old column that stands behind a new one alone, or NULL. */
static const char *map_column(const struct lens *l, const char *name)
{
	if (strncmp(name, "new.", 4) == 0)
		name += 4;
	for (size_t i = 0; i < l->n_new; i++) {
		const struct lens_new *n = &l->news[i];

		if (strcmp(n->column->name, name) != 0 || n->extra)
			continue;
		if (n->carried)
			return l->olds[n->old_index].column->name;
		for (size_t k = 1; k < n->forward.n; k++)
			if (n->forward.column[k] != n->forward.column[0])
				return NULL;
		return n->forward.n > 0
			   ? l->olds[n->forward.column[0]].column->name
			   : NULL;
	}
	return NULL;
}

static const char *generated_name(const struct lens *l, const char *what,
				  struct arena *a)
{
	return arena_fmt(a, "%s_%u_%s", l->migration, l->number, what);
}

/* L_lens2 and its like. */
static bool ends_view(const struct lens *l, const char *name, struct arena *a)
{
	const char *view = arena_fmt(a, "lens%u", l->depth);

	return strcmp(name, generated_name(l, view, a)) == 0;
}

static bool is_copy(const struct lens *l, const char *name, struct arena *a)
{
	const char *prefix = generated_name(l, "copy_", a);

	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static const char *map_relation(const struct lens *l, const char *name,
				struct arena *a)
{
	return strcmp(name, l->new->name) == 0 ||
		       strcmp(name, generated_name(l, "lens", a)) == 0 ||
		       (l->depth > 1 && ends_view(l, name, a)) ||
		       strcmp(name, generated_name(l, "shape", a)) == 0 ||
		       is_copy(l, name, a) ||
		       strcmp(name, generated_name(l, "old", a)) == 0 ||
		       strcmp(name, generated_name(l, "new", a)) == 0
		   ? l->old->name
		   : NULL;
}

/* Are these the same columns, the first of new, the second of old? */
static bool same_columns(const struct lens *l, const char *const *new,
			 size_t n_new, const char *const *old, size_t n_old)
{
	if (n_new != n_old)
		return false;
	for (size_t i = 0; i < n_new; i++) {
		const char *name = new[i] ? map_column(l, new[i]) : NULL;

		if (name == NULL || old[i] == NULL || strcmp(name, old[i]) != 0)
			return false;
	}
	return true;
}

static const char *old_constraint(const struct lens *l,
				  const struct constraint *new)
{
	for (size_t i = 0; i < l->old->n_constraints; i++) {
		const struct constraint *c = &l->old->constraints[i];

		if (c->kind == new->kind &&
		    same_columns(l, new->columns, new->n_columns, c->columns,
				 c->n_columns))
			return c->name;
	}
	return NULL;
}

static const char *old_index(const struct lens *l, const struct index *new)
{
	for (size_t i = 0; i < l->old->n_indexes; i++) {
		const struct index *x = &l->old->indexes[i];

		if (x->unique == new->unique &&
		    same_columns(l, new->columns, new->n_columns, x->columns,
				 x->n_columns))
			return x->name;
	}
	return NULL;
}

static const char *map_constraint(const struct lens *l, const char *name)
{
	for (size_t i = 0; i < l->new->n_constraints; i++)
		if (strcmp(l->new->constraints[i].name, name) == 0)
			return old_constraint(l, &l->new->constraints[i]);
	for (size_t i = 0; i < l->new->n_indexes; i++)
		if (strcmp(l->new->indexes[i].name, name) == 0)
			return old_index(l, &l->new->indexes[i]);
	return NULL;
}

/* A word in double quotes: what it names is said by the word before it. */
static const char *map_word(const struct lens *l, const char *before,
			    size_t before_len, const char *word,
			    struct arena *a)
{
	static const char column[] = "column ";
	size_t n = sizeof(column) - 1;
	const char *mapped;

	if (before_len >= n && memcmp(before + before_len - n, column, n) == 0)
		return map_column(l, word);
	mapped = map_relation(l, word, a);
	return mapped != NULL ? mapped : map_constraint(l, word);
}

/* Key (invoice_id, customer)=(...): the columns are not quoted. */
static const char *map_key(const struct lens *l, const char *text,
			   struct arena *a)
{
	const char *end = strstr(text, ")=(");
	char *columns, *rest, *column;
	struct sqltext out;

	if (strncmp(text, "Key (", 5) != 0 || end == NULL)
		return text;
	columns = arena_dup(a, text + 5, (size_t)(end - text - 5));
	sqltext_begin(&out, a);
	for (rest = columns; (column = strsep(&rest, ",")) != NULL;) {
		const char *old = map_column(l, column + (*column == ' '));

		sqltext_item(&out, ", ", "%s",
			     old != NULL ? old : column + (*column == ' '));
	}
	return arena_fmt(a, "Key (%s%s", out.s, end);
}

static const char *map_text(const struct lens *l, const char *text,
			    struct arena *a)
{
	struct sqltext out;
	const char *open, *close, *at = text;

	if (text == NULL)
		return NULL;
	sqltext_begin(&out, a);
	while ((open = strchr(at, '"')) != NULL &&
	       (close = strchr(open + 1, '"')) != NULL) {
		const char *word =
		    arena_dup(a, open + 1, (size_t)(close - open - 1));
		const char *mapped =
		    map_word(l, text, (size_t)(open - text), word, a);

		sqltext_put(&out, "%.*s\"%s\"", (int)(open - at), at,
			    mapped != NULL ? mapped : word);
		at = close + 1;
	}
	sqltext_put(&out, "%s", at);
	return map_key(l, out.s, a);
}

/* The start of the line that holds `at`. */
static const char *line_start(const char *text, const char *at)
{
	while (at > text && at[-1] != '\n')
		at--;
	return at;
}

/*
 * COPY inovices_typo_1_copy_old, line 2: ... is COPY inovices, line 2: ...; and
 * what our trigger adds above it for an error in its INSERT is left out.
 */
static const char *map_context(const struct lens *l, const char *text,
			       struct arena *a)
{
	const char *prefix =
	    arena_fmt(a, "COPY %s", generated_name(l, "copy_", a));
	const char *copy = text, *rest, *own;

	while ((copy = strstr(copy, prefix)) != NULL && copy > text &&
	       copy[-1] != '\n')
		copy++;
	if (copy == NULL || (rest = strchr(copy, ',')) == NULL)
		return text;
	own = strstr(text, arena_fmt(a, "PL/pgSQL function pgtandem.%s",
				     generated_name(l, "copy_", a)));
	if (own == NULL || own > copy)
		own = copy;
	else if (own > text)
		own = line_start(text, own - 1);
	return arena_fmt(a, "%.*sCOPY %s%s", (int)(own - text), text,
			 l->old->name, rest);
}

static void map_error(const struct lens *l, struct error_names *e,
		      struct arena *a)
{
	const char *table = e->table ? map_relation(l, e->table, a) : NULL;
	const char *column = e->column ? map_column(l, e->column) : NULL;
	const char *constraint =
	    e->constraint ? map_constraint(l, e->constraint) : NULL;

	e->message = map_text(l, e->message, a);
	e->detail = map_text(l, e->detail, a);
	if (e->context != NULL)
		e->context = map_context(l, e->context, a);
	if (constraint != NULL)
		e->constraint = constraint;
	if (table == NULL)
		return;
	e->table = table;
	if (e->schema != NULL)
		e->schema = l->old->schema;
	if (column != NULL)
		e->column = column;
}

/* For the new shape: only what hides the old columns is not the client's. */
static const char *map_view(const struct lens *l, const char *text,
			    struct arena *a)
{
	const char *view = arena_fmt(a, "\"%s\"", generated_name(l, "new", a));
	const char *at = text == NULL ? NULL : strstr(text, view);

	if (at == NULL)
		return text;
	return arena_fmt(a, "%.*s\"%s\"%s", (int)(at - text), text,
			 l->old->name, at + strlen(view));
}

void plan_map_error(const struct plan *plan, const struct ruleset *rules,
		    struct error_names *e, struct arena *a)
{
	for (size_t i = 0; i < rules->n_names; i++) {
		const struct rule_name *n = &rules->names[i];

		if (n->shape == SHAPE_OLD &&
		    (plan->old_shape >> n->migration & 1))
			map_error(n->through, e, a);
		else if (n->shared && (plan->migrations >> n->migration & 1))
			e->message = map_view(n->through, e->message, a);
	}
}

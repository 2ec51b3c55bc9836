/*
 * Names in the server's errors, told in the client's terms.
 */
#include "rewrite/rewrite.h"

#include <string.h>

#include "rewrite/ddl/ddl_names.h"
#include "rewrite/error/errmap.h"
#include "rewrite/text/sqltext.h"

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
	if (l->half != NULL &&
	    (strcmp(name, generated_name(l, "fill", a)) == 0 ||
	     strcmp(name, generated_name(l, "cut", a)) == 0))
		return l->old->name;
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

/* Of a merge: "marker IS NULL OR (the old check)". */
static bool is_check_of_half(const struct lens *l, const struct constraint *new,
			     const struct constraint *old)
{
	const char *columns[64];
	size_t n = 0;

	if (l->half == NULL || new->kind != CONSTRAINT_CHECK ||
	    new->n_columns > sizeof(columns) / sizeof(*columns))
		return false;
	for (size_t i = 0; i < new->n_columns; i++)
		if (new->columns[i] == NULL ||
		    strcmp(new->columns[i],
			   l->new->columns[l->half->marker].name) != 0)
			columns[n++] = new->columns[i];
	return n < new->n_columns &&same_columns(l, columns, n, old->columns,
						 old->n_columns);
}

static bool same_definition(const struct lens *l, const struct constraint *new,
			    const struct constraint *old, struct arena *a)
{
	struct renamed told;

	if (new->definition == NULL || old->definition == NULL)
		return false;
	if (old->kind == CONSTRAINT_CHECK)
		names_in_check(l, old->definition, a, &told);
	else
		names_in_definition(l, old->definition, a, &told);
	return told.text != NULL && strcmp(told.text, new->definition) == 0;
}

/* Of several on the same columns, the one of the same name or definition. */
static const char *old_constraint(const struct lens *l,
				  const struct constraint *new, struct arena *a)
{
	const struct constraint *found = NULL, *same = NULL;
	size_t n = 0;

	for (size_t i = 0; i < l->old->n_constraints; i++) {
		const struct constraint *c = &l->old->constraints[i];

		if (c->kind != new->kind ||
		    !(same_columns(l, new->columns, new->n_columns, c->columns,
				   c->n_columns) ||
		      is_check_of_half(l, new, c)))
			continue;
		n++;
		found = c;
		if (strcmp(c->name, new->name) == 0 ||
		    (same == NULL && same_definition(l, new, c, a)))
			same = c;
	}
	if (n > 1)
		found = same;
	return found != NULL ? found->name : NULL;
}

/* " (lower(note)) WHERE ...": what follows the access method. */
static const char *index_tail(const struct index *x)
{
	static const char using[] = " USING ";
	const char *at = x->definition ? strstr(x->definition, using) : NULL;

	return at != NULL ? strchr(at + strlen(using), ' ') : NULL;
}

static bool same_index(const struct lens *l, const struct index *new,
		       const struct index *old, struct arena *a)
{
	const char *tail = index_tail(new), *method;
	struct renamed told;

	if (new->unique != old->unique)
		return false;
	if (same_columns(l, new->columns, new->n_columns, old->columns,
			 old->n_columns))
		return true;
	if (tail == NULL || index_tail(old) == NULL)
		return false;
	names_in_index(l, old->definition, a, &method, &told);
	return told.text != NULL && strcmp(told.text, tail) == 0;
}

static const char *old_index(const struct lens *l, const struct index *new,
			     struct arena *a)
{
	for (size_t i = 0; i < l->old->n_indexes; i++)
		if (same_index(l, new, &l->old->indexes[i], a))
			return l->old->indexes[i].name;
	return NULL;
}

static const struct index *find_index(const struct relation *r,
				      const char *name)
{
	for (size_t i = 0; i < r->n_indexes; i++)
		if (strcmp(r->indexes[i].name, name) == 0)
			return &r->indexes[i];
	return NULL;
}

static const char *map_constraint(const struct lens *l, const char *name,
				  struct arena *a)
{
	const struct constraint *c = relation_find_constraint(l->new, name);
	const struct index *x = find_index(l->new, name);

	if (c != NULL)
		return old_constraint(l, c, a);
	return x != NULL ? old_index(l, x, a) : NULL;
}

/* Do the columns hold the same values in both models? */
static bool are_carried(const struct lens *l, const char *const *names,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		if (names[i] == NULL)
			return false;
		while (k < l->n_new &&
		       strcmp(l->news[k].column->name, names[i]) != 0)
			k++;
		if (k == l->n_new || !l->news[k].carried)
			return false;
	}
	return true;
}

/* An expression that the old relation's index has, letter by letter, so that
 * no column in it is converted or renamed. */
static bool is_unchanged(const struct lens *l, const struct index *new)
{
	const char *tail = index_tail(new);

	for (size_t i = 0; tail != NULL && i < l->old->n_indexes; i++) {
		const char *old = index_tail(&l->old->indexes[i]);

		if (old != NULL && strcmp(old, tail) == 0)
			return true;
	}
	return false;
}

/* Is the whole row shown for something that the client's model has, too? */
static bool is_about_row(const struct lens *l, const struct error_names *e)
{
	if (strcmp(e->sqlstate, "23502") == 0)
		return true;
	return strcmp(e->sqlstate, "23514") == 0 && e->constraint != NULL &&
	       (relation_find_constraint(l->new, e->constraint) != NULL ||
		relation_find_constraint(l->old, e->constraint) != NULL);
}

/* Does the detail show values that the client's model does not have?  Where
 * the constraint is the new model's alone, they are what there is to say. */
static bool shows_new_values(const struct lens *l, const struct error_names *e)
{
	const struct constraint *c;
	const struct index *x;

	if (e->constraint == NULL)
		return false;
	c = relation_find_constraint(l->new, e->constraint);
	if (c != NULL)
		return !are_carried(l, c->columns, c->n_columns);
	x = find_index(l->new, e->constraint);
	return x != NULL && !are_carried(l, x->columns, x->n_columns) &&
	       !is_unchanged(l, x);
}

/* amount_cents, new.amount_cents, inovices.new.amount_cents */
static const char *map_column_word(const struct lens *l,
				   const struct error_names *e,
				   const char *word, struct arena *a)
{
	const char *own = strstr(word, ".new."), *mapped;

	if (own != NULL) {
		mapped = map_column(l, own + 1);
		return mapped == NULL
			   ? NULL
			   : arena_fmt(a, "%.*s.%s", (int)(own - word), word,
				       mapped);
	}
	return strcmp(e->sqlstate, "42703") != 0 ||
		       strncmp(word, "new.", 4) == 0
		   ? map_column(l, word)
		   : NULL;
}

/* A word in double quotes: what it names is said by the word before it.  A
 * column that does not exist has the client's own name. */
static const char *map_word(const struct lens *l, const struct error_names *e,
			    const char *before, size_t before_len,
			    const char *word, struct arena *a)
{
	static const char column[] = "column ";
	size_t n = sizeof(column) - 1;
	const char *mapped;

	if (before_len >= n && memcmp(before + before_len - n, column, n) == 0)
		return map_column_word(l, e, word, a);
	mapped = map_relation(l, word, a);
	return mapped != NULL ? mapped : map_constraint(l, word, a);
}

/* "invoice_id, customer", not quoted. */
static const char *map_columns(const struct lens *l, const char *text,
			       size_t len, struct arena *a)
{
	char *rest = arena_dup(a, text, len), *column;
	struct sqltext out;

	sqltext_begin(&out, a);
	while ((column = strsep(&rest, ",")) != NULL) {
		const char *old = map_column(l, column + (*column == ' '));

		sqltext_item(&out, ", ", "%s",
			     old != NULL ? old : column + (*column == ' '));
	}
	return out.s;
}

/* Key (invoice_id, customer)=(...) conflicts with existing key (...)=(...). */
static const char *map_keys(const struct lens *l, const char *text,
			    struct arena *a)
{
	const char *at = text, *open, *end;
	struct sqltext out;

	if (strncmp(text, "Key (", 5) != 0)
		return text;
	sqltext_begin(&out, a);
	while ((open = strstr(at, "ey (")) != NULL &&
	       (end = strstr(open, ")=(")) != NULL) {
		open += strlen("ey (");
		sqltext_put(&out, "%.*s%s", (int)(open - at), at,
			    map_columns(l, open, (size_t)(end - open), a));
		at = end;
	}
	return arena_fmt(a, "%s%s", out.s, at);
}

static const char *map_words(const struct lens *l, const struct error_names *e,
			     const char *text, struct arena *a)
{
	struct sqltext out;
	const char *open, *close, *at = text;

	sqltext_begin(&out, a);
	while ((open = strchr(at, '"')) != NULL &&
	       (close = strchr(open + 1, '"')) != NULL) {
		const char *word =
		    arena_dup(a, open + 1, (size_t)(close - open - 1));
		const char *mapped =
		    map_word(l, e, text, (size_t)(open - text), word, a);

		sqltext_put(&out, "%.*s\"%s\"", (int)(open - at), at,
			    mapped != NULL ? mapped : word);
		at = close + 1;
	}
	return arena_fmt(a, "%s%s", out.s, at);
}

/* permission denied for table invoices */
static const char *map_last_word(const struct lens *l, const char *text,
				 struct arena *a)
{
	const char *space = strrchr(text, ' ');
	const char *mapped =
	    space != NULL ? map_relation(l, space + 1, a) : NULL;

	return mapped == NULL ? text
			      : arena_fmt(a, "%.*s%s", (int)(space + 1 - text),
					  text, mapped);
}

/* Errors of the data quote values, and RAISE says what it likes. */
static bool quotes_names(const char *sqlstate)
{
	static const char *const classes[] = {"0A", "23", "24",
					      "42", "44", "55"};

	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return false;
}

static void map_texts(const struct lens *l, enum phase phase,
		      struct error_names *e, const char *table, struct arena *a)
{
	if (!quotes_names(e->sqlstate))
		return;
	if (table != NULL && e->detail != NULL && is_about_row(l, e))
		e->detail = row_of_old(l, phase, e->detail, a);
	else if (table != NULL && e->detail != NULL && shows_new_values(l, e))
		e->detail = NULL;
	if (e->detail != NULL)
		e->detail = map_keys(l, map_words(l, e, e->detail, a), a);
	/* What to do about a TRUNCATE; advice on names is about the text. */
	if (e->hint != NULL && strcmp(e->sqlstate, "0A000") == 0)
		e->hint = map_words(l, e, e->hint, a);
	if (e->message == NULL)
		return;
	e->message = map_words(l, e, e->message, a);
	if (strcmp(e->sqlstate, "42501") == 0)
		e->message = map_last_word(l, e->message, a);
}

/* An error about another relation, or about the old one itself: a foreign key
 * between it and ours names both. */
static void map_foreign(const struct lens *l, struct error_names *e,
			struct arena *a)
{
	if (strcmp(e->sqlstate, "23503") != 0)
		return;
	if (e->message != NULL)
		e->message = map_words(l, e, e->message, a);
	if (e->detail == NULL)
		return;
	if (strstr(e->detail, "still referenced") != NULL)
		e->detail = map_keys(l, e->detail, a);
	e->detail = map_words(l, e, e->detail, a);
}

/* COPY inovices_typo_1_copy_old, line 2: ... is COPY inovices, line 2: ... */
static const char *map_context(const struct lens *l, const char *text,
			       struct arena *a)
{
	const char *prefix =
	    arena_fmt(a, "COPY %s", generated_name(l, "copy_", a));
	const char *copy = text, *rest;

	while ((copy = strstr(copy, prefix)) != NULL && copy > text &&
	       copy[-1] != '\n')
		copy++;
	if (copy == NULL || (rest = strchr(copy, ',')) == NULL)
		return text;
	return arena_fmt(a, "%.*sCOPY %s%s", (int)(copy - text), text,
			 l->old->name, rest);
}

static void map_error(const struct lens *l, enum phase phase,
		      struct error_names *e, struct arena *a)
{
	const char *table = e->table ? map_relation(l, e->table, a) : NULL;
	const char *column = e->column ? map_column(l, e->column) : NULL;
	const char *constraint =
	    e->constraint ? map_constraint(l, e->constraint, a) : NULL;

	if (e->context != NULL)
		e->context = map_context(l, e->context, a);
	if (e->table != NULL && table == NULL) {
		map_foreign(l, e, a);
		return;
	}
	map_texts(l, phase, e, table, a);
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

static void map_new(const struct lens *l, enum phase phase,
		    struct error_names *e, struct arena *a)
{
	e->message = map_view(l, e->message, a);
	if (l->kind == LENS_COLUMNS && phase < PHASE_CONTRACTED)
		row_map_new(l, e, a);
}

/*
 * Where an error arose in a function of ours, the lines about it and about the
 * statement that it ran are cut; those of the client's own triggers, inside
 * that, stay.  Lines in another language are all left out, but for COPY's,
 * which have the client's data.
 */
static const char *cut_context(const char *context, struct arena *a)
{
	static const char ours[] = "PL/pgSQL function pgtandem.";
	static const char ran[] = "SQL statement \"";
	struct sqltext out;
	const char *at, *next;

	if (context == NULL || strstr(context, "pgtandem.") == NULL)
		return context;
	sqltext_begin(&out, a);
	for (at = context; (next = strstr(at, ours)) != NULL;) {
		const char *cut = next, *statement = at, *more;

		while ((more = strstr(statement, ran)) != NULL && more < next) {
			cut = more;
			statement = more + 1;
		}
		sqltext_put(&out, "%.*s", (int)(cut - at), at);
		at = next + strcspn(next, "\n");
		at += *at == '\n';
	}
	if (at == context)
		return strstr(context, "COPY ") != NULL ? context : NULL;
	sqltext_put(&out, "%s", at);
	while (out.len > 0 && out.s[out.len - 1] == '\n')
		out.s[--out.len] = '\0';
	return out.len > 0 ? out.s : NULL;
}

static bool is_state(const struct error_names *e, const char *sqlstate)
{
	return e->sqlstate != NULL && strcmp(e->sqlstate, sqlstate) == 0;
}

static bool not_null(const struct lens *l, const char *column,
		     struct error_names *e, struct arena *a)
{
	e->sqlstate = "23502";
	e->message = arena_fmt(a,
			       "null value in column \"%s\" of relation "
			       "\"%s\" violates not-null constraint",
			       column, l->old->name);
	e->schema = l->old->schema;
	e->table = l->old->name;
	e->column = column;
	e->detail = NULL; /* of the new row */
	e->constraint = NULL;
	return true;
}

/* Two rows of one INSERT have one key, and the clause is not the client's. */
static bool inserted_twice(const struct plan *plan, const struct lens *l,
			   struct error_names *e, struct arena *a)
{
	const char *name = l->old->name;

	if (plan == NULL || plan->text == NULL ||
	    strstr(plan->text, l->half->claim_ref) == NULL)
		return false;
	for (size_t i = 0; i < l->old->n_constraints; i++)
		if (l->old->constraints[i].kind == CONSTRAINT_PRIMARY)
			name = l->old->constraints[i].name;
	e->sqlstate = "23505";
	e->message = arena_fmt(a,
			       "duplicate key value violates unique "
			       "constraint \"%s\"",
			       name);
	e->hint = NULL; /* of ON CONFLICT */
	e->schema = l->old->schema;
	e->table = l->old->name;
	e->constraint = name;
	return true;
}

/* The one half of a row has gone that was there: whose, the statement tells
 * if it writes one of the two old tables alone. */
static bool is_others_half(const struct plan *plan, const struct rule_name *n)
{
	bool second = n->through->half->second;

	return plan != NULL && (plan->halves[!second] >> n->migration & 1) &&
	       !(plan->halves[second] >> n->migration & 1);
}

/* What a merge's relation cannot have NOT NULL is a check there, and the
 * column that tells whether a half is there is the view's condition. */
static bool map_half(const struct plan *plan, const struct rule_name *n,
		     struct error_names *e, struct arena *a)
{
	const struct lens *l = n->through;
	const char *view = generated_name(l, "lens", a);
	const char *marker =
	    l->olds[l->news[l->half->marker].old_index].column->name;

	if (is_state(e, "21000") && e->message != NULL &&
	    strncmp(e->message, "ON CONFLICT", 11) == 0)
		return inserted_twice(plan, l, e, a);
	if (is_state(e, "44000") && e->message != NULL &&
	    strstr(e->message, arena_fmt(a, "\"%s\"", view)) != NULL)
		return not_null(l, marker, e, a);
	if (!is_state(e, "23514") || e->constraint == NULL)
		return false;
	if (strcmp(e->constraint, lens_one_half_check(l, a)) == 0)
		return !is_others_half(plan, n) && not_null(l, marker, e, a);
	for (unsigned i = 0; i < l->n_new; i++) {
		const char *column = map_column(l, l->new->columns[i].name);

		if (column != NULL &&
		    strcmp(e->constraint, lens_half_check(l, i, a)) == 0)
			return not_null(l, column, e, a);
	}
	return false;
}

static void map_old(const struct plan *plan, const struct rule_name *n,
		    struct error_names *e, struct arena *a)
{
	const struct lens *l = n->through;

	if (n->rule->phase == PHASE_PLANNED ||
	    (l->child != NULL && child_map_error(l, e, a)))
		return;
	if (l->half == NULL || !map_half(plan, n, e, a))
		map_error(l, n->rule->phase, e, a);
}

void plan_map_error(const struct plan *plan, const struct ruleset *rules,
		    struct error_names *e, struct arena *a)
{
	for (size_t i = 0; i < rules->n_names; i++) {
		const struct rule_name *n = &rules->names[i];

		if (n->shape == SHAPE_OLD &&
		    (plan->old_shape >> n->migration & 1))
			map_old(plan, n, e, a);
		else if (n->shared && (plan->migrations >> n->migration & 1))
			map_new(n->through, n->rule->phase, e, a);
	}
	e->context = cut_context(e->context, a);
}

/* Errors of the data of relations, and of TRUNCATE, which may be of one that
 * the statement does not name. */
static bool is_of_others(const struct error_names *e)
{
	return e->sqlstate != NULL && (strncmp(e->sqlstate, "23", 2) == 0 ||
				       strcmp(e->sqlstate, "0A000") == 0);
}

/* Another relation of the same name, in another schema? */
static bool is_namesake(const struct lens *l, const struct error_names *e)
{
	return e->table != NULL && e->schema != NULL &&
	       strcmp(e->table, l->new->name) == 0 &&
	       strcmp(e->schema, l->new->schema) != 0;
}

void rules_map_error(const struct ruleset *rules, uint64_t but,
		     struct error_names *e, struct arena *a)
{
	if (!is_of_others(e))
		return;
	for (size_t i = 0; i < rules->n_names; i++) {
		const struct rule_name *n = &rules->names[i];

		if (n->shape == SHAPE_OLD && !(but >> n->migration & 1) &&
		    n->rule->phase >= PHASE_DUAL_WRITE &&
		    !is_namesake(n->through, e))
			map_old(NULL, n, e, a);
	}
}

/*
 * The new relation, made like the old one, and the old one's end.
 *
 * Names of constraints and indexes are left to PostgreSQL, which derives them
 * from the new relation's and steps aside where one is taken.
 *
 * Sequences: while both models live, both draw from the old model's.  A serial
 * column's sequence only changes its owner, on entry to new_only.  An identity
 * column's belongs to its column for good: the new column draws from it by a
 * default, and gets an identity of its own, under the old sequence's name and
 * going on where that stood, in the transaction that drops the old relation.
 */
#include <string.h>

#include "rewrite/ddl/ddl_names.h"
#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"
#include "rewrite/text/sqltext.h"

/* The old column of which this new one is the continuation, or NULL. */
static const struct column *carried_from(const struct lens *l, size_t i)
{
	return l->news[i].carried ? l->olds[l->news[i].old_index].column : NULL;
}

static const char *column_default(const struct lens *l, size_t i,
				  struct arena *a)
{
	const struct column *from = carried_from(l, i);
	const struct column *c = l->news[i].column;

	if (from != NULL && from->identity)
		return ddl_old_default(from, a);
	return c->default_expr;
}

static const char *column_definition(const struct lens *l, size_t i,
				     struct arena *a)
{
	const struct column *c = l->news[i].column;
	const char *value = column_default(l, i, a);
	struct sqltext t;

	sqltext_begin(&t, a);
	sqltext_put(&t, "%s %s", quote_name(c->name, a), c->type);
	if (c->collation != NULL)
		sqltext_put(&t, " COLLATE %s", c->collation);
	if (c->not_null)
		sqltext_put(&t, " NOT NULL");
	if (c->generated)
		sqltext_put(&t, " GENERATED ALWAYS AS (%s) STORED", value);
	else if (value != NULL)
		sqltext_put(&t, " DEFAULT %s", value);
	return t.s;
}

static void add_table(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < l->n_new; i++)
		sqltext_item(&t, ",\n\t", "%s", column_definition(l, i, b->a));
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a,
		      "CREATE TABLE %s (\n\t%s\n);\n"
		      "INSERT INTO pgtandem.made (migration, lens, relation)"
		      " VALUES (%s, %u, %s) ON CONFLICT (migration, lens)"
		      " DO UPDATE SET relation = excluded.relation",
		      l->new_ref, t.s, quote_text(l->migration, b->a),
		      l->number, quote_text(l->new_ref, b->a)),
	    "create table %s", l->new_ref);
}

static const char *storage_name(char storage)
{
	return storage == 'e' ? "EXTERNAL" : storage == 'm' ? "MAIN" : NULL;
}

static void add_column_options(struct ddl_build *b)
{
	const struct lens *l = b->l;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	for (size_t i = 0; i < l->n_new; i++) {
		const struct column *c = l->news[i].column;
		const char *name = quote_name(c->name, b->a);

		if (carried_from(l, i) && storage_name(c->storage) != NULL)
			sqltext_item(&t, ";\n",
				     "ALTER TABLE %s ALTER COLUMN "
				     "%s SET STORAGE %s",
				     l->new_ref, name,
				     storage_name(c->storage));
		if (c->statistics >= 0)
			sqltext_item(&t, ";\n",
				     "ALTER TABLE %s ALTER COLUMN "
				     "%s SET STATISTICS %d",
				     l->new_ref, name, (int)c->statistics);
		if (c->comment != NULL)
			sqltext_item(&t, ";\n",
				     "COMMENT ON COLUMN %s.%s IS "
				     "%s",
				     l->new_ref, name,
				     quote_text(c->comment, b->a));
	}
	if (l->old->comment != NULL)
		sqltext_item(&t, ";\n", "COMMENT ON TABLE %s IS %s", l->new_ref,
			     quote_text(l->old->comment, b->a));
	if (t.len > 0)
		ddl_add(b, DDL_NO_LOCK, t.s,
			"set comments, storage and statistics of %s",
			l->new_ref);
}

static void leave_out_constraint(struct ddl_build *b,
				 const struct constraint *k, const char *why)
{
	ddl_leave_out(b, k->name, "%s of %s, %s: %s", k->name, b->l->old_ref,
		      k->definition, why);
}

/* A converted column carries an index or a unique constraint over only where
 * the definition is a plain list of columns: an expression means something
 * else there, and what computes the old value back may not be immutable. */
static const char *why_not(const struct renamed *r, bool plain)
{
	if (r->lost != NULL)
		return "no new column stands for a column of it alone";
	if (r->of_table)
		return "it is about the table that a row is in; add one like "
		       "it under expand";
	if (r->converted != NULL && !plain)
		return "it computes with a converted column; add one like it "
		       "under expand";
	return NULL;
}

bool ddl_keeps_values(const struct lens *l, const struct constraint *k)
{
	for (size_t i = 0; i < k->n_columns; i++) {
		const struct column *c =
		    relation_find_column(l->old, k->columns[i]);

		if (!lens_keeps_value(l, (unsigned)(c - l->old->columns)))
			return false;
	}
	return true;
}

/* Those to itself come with write_new: rows are copied one by one, and one may
 * come before the one that it refers to. */
static void add_foreign_key(struct ddl_build *b, const struct constraint *k)
{
	const struct lens *l = b->l;
	struct renamed r;
	const char *why;

	names_in_foreign_key(l, k->definition, b->a, &r);
	why = why_not(&r, ddl_keeps_values(l, k));
	if (why != NULL) {
		leave_out_constraint(b, k, why);
		return;
	}
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "ALTER TABLE %s ADD %s", l->new_ref, r.text),
		"add to %s: %s", l->new_ref, r.text);
}

/* "CHECK (x)", of rows that have the half. */
static const char *check_of_half(const struct lens *l, const char *text,
				 struct arena *a)
{
	static const char check[] = "CHECK ";
	const char *from = text + strlen(check);
	const char *end = strrchr(text, ')') + 1;

	return arena_fmt(a, "%s(%s IS NULL OR %.*s)%s", check,
			 quote_name(l->new->columns[l->half->marker].name, a),
			 (int)(end - from), from, end);
}

static void add_constraint(struct ddl_build *b, const struct constraint *k)
{
	bool plain =
	    k->kind == CONSTRAINT_PRIMARY || k->kind == CONSTRAINT_UNIQUE;
	struct renamed r;
	const char *why;

	if (k->kind == CONSTRAINT_CHECK)
		names_in_check(b->l, k->definition, b->a, &r);
	else
		names_in_definition(b->l, k->definition, b->a, &r);
	why = why_not(&r, plain);
	if (why != NULL) {
		leave_out_constraint(b, k, why);
		return;
	}
	if (k->kind == CONSTRAINT_CHECK && b->l->half != NULL)
		r.text = check_of_half(b->l, r.text, b->a);
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "ALTER TABLE %s ADD %s", b->l->new_ref, r.text),
		"add to %s: %s", b->l->new_ref, r.text);
}

/* The first half of a merge has made the key. */
static bool is_made(const struct lens *l, const struct constraint *k)
{
	size_t found = 0;

	if (l->half == NULL || !l->half->second)
		return false;
	for (size_t i = 0; i < k->n_columns; i++)
		for (size_t n = 0; n < l->n_key; n++)
			found +=
			    strcmp(k->columns[i],
				   l->old->columns[l->key[n].old_index].name) ==
			    0;
	return k->kind == CONSTRAINT_PRIMARY ||
	       (k->kind == CONSTRAINT_UNIQUE && found == k->n_columns);
}

/* Columns alone, by an access method that every type has, in the order of the
 * type itself. */
static bool is_plain_index(const struct index *x, const char *method)
{
	for (size_t i = 0; i < x->n_columns; i++)
		if (x->columns[i] == NULL)
			return false;
	return strcmp(method, "btree") == 0 &&
	       strstr(x->definition, "_ops") == NULL &&
	       strstr(x->definition, " WHERE ") == NULL;
}

static void add_index(struct ddl_build *b, const struct index *x)
{
	const char *method, *why;
	struct renamed r;

	names_in_index(b->l, x->definition, b->a, &method, &r);
	why = why_not(&r, is_plain_index(x, method));
	if (why != NULL) {
		ddl_leave_out(b, x->unique ? x->name : NULL, "%s of %s, %s: %s",
			      x->name, b->l->old_ref, x->definition, why);
		return;
	}
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "CREATE %sINDEX ON %s USING %s%s",
			  x->unique ? "UNIQUE " : "", b->l->new_ref, method,
			  r.text),
		"create an index on %s: %s%s", b->l->new_ref, method, r.text);
}

/* Those of one index, or with 0 those that have none. */
static void add_of_index(struct ddl_build *b, uint32_t oid)
{
	const struct relation *old = b->l->old;

	for (size_t i = 0; i < old->n_constraints; i++)
		if (old->constraints[i].kind != CONSTRAINT_FOREIGN &&
		    old->constraints[i].index == oid &&
		    !is_made(b->l, &old->constraints[i]))
			add_constraint(b, &old->constraints[i]);
	for (size_t i = 0; i < old->n_indexes; i++)
		if (old->indexes[i].oid == oid)
			add_index(b, &old->indexes[i]);
}

static uint32_t next_index(const struct relation *r, uint32_t last)
{
	uint32_t next = UINT32_MAX;

	for (size_t i = 0; i < r->n_constraints; i++)
		if (r->constraints[i].index > last &&
		    r->constraints[i].index < next)
			next = r->constraints[i].index;
	for (size_t i = 0; i < r->n_indexes; i++)
		if (r->indexes[i].oid > last && r->indexes[i].oid < next)
			next = r->indexes[i].oid;
	return next;
}

/* Of several that a row would break, PostgreSQL tells the oldest index. */
static void add_constraints(struct ddl_build *b)
{
	const struct relation *old = b->l->old;

	for (uint32_t oid = 0; oid != UINT32_MAX; oid = next_index(old, oid))
		add_of_index(b, oid);
	for (size_t i = 0; i < old->n_constraints; i++)
		if (old->constraints[i].kind == CONSTRAINT_FOREIGN &&
		    !ddl_is_tie(b->l, &old->constraints[i]) &&
		    !lens_is_to_itself(b->l, &old->constraints[i]))
			add_foreign_key(b, &old->constraints[i]);
}

static void add_grant(struct ddl_build *b, struct sqltext *t,
		      const struct grant *g)
{
	const char *to = g->grantee ? quote_name(g->grantee, b->a) : "PUBLIC";
	const char *option = g->grantable ? " WITH GRANT OPTION" : "";
	const char *column = NULL;
	bool converted;

	if (g->grantee && strcmp(g->grantee, b->l->old->owner) == 0)
		return;
	if (g->column == NULL) {
		sqltext_item(t, ";\n", "GRANT %s ON %s TO %s%s", g->privilege,
			     b->l->new_ref, to, option);
		return;
	}
	column = names_of_old(b->l, g->column, &converted);
	if (column == NULL) {
		ddl_leave_out(b, NULL,
			      "%s (%s) on %s to %s: no new column stands "
			      "for it alone",
			      g->privilege, g->column, b->l->old_ref, to);
		return;
	}
	sqltext_item(t, ";\n", "GRANT %s (%s) ON %s TO %s%s", g->privilege,
		     quote_name(column, b->a), b->l->new_ref, to, option);
}

static void add_rights(struct ddl_build *b)
{
	const struct relation *old = b->l->old;
	struct sqltext t;

	sqltext_begin(&t, b->a);
	sqltext_put(&t, "ALTER TABLE %s OWNER TO %s", b->l->new_ref,
		    quote_name(old->owner, b->a));
	for (size_t i = 0; i < old->n_grants; i++)
		add_grant(b, &t, &old->grants[i]);
	ddl_add(b, DDL_NO_LOCK, t.s, "owner and privileges of %s",
		b->l->new_ref);
	if (!old->row_security)
		return;
	ddl_add(b, DDL_NO_LOCK,
		arena_fmt(b->a, "ALTER TABLE %s ENABLE ROW LEVEL SECURITY",
			  b->l->new_ref),
		"row security of %s", b->l->new_ref);
	ddl_leave_out(b, NULL,
		      "the policies of %s: write them anew under expand",
		      b->l->old_ref);
}

static void add_replica_identity(struct ddl_build *b)
{
	const char *what = b->l->old->replica_identity == 'f'	? "FULL"
			   : b->l->old->replica_identity == 'n' ? "NOTHING"
								: NULL;

	if (b->l->old->replica_identity == 'i')
		ddl_leave_out(b, NULL,
			      "the replica identity of %s, an index: set "
			      "it under expand",
			      b->l->old_ref);
	if (what != NULL)
		ddl_add(b, DDL_NO_LOCK,
			arena_fmt(b->a, "ALTER TABLE %s REPLICA IDENTITY %s",
				  b->l->new_ref, what),
			"replica identity of %s", b->l->new_ref);
}

void ddl_create_new(struct ddl_build *b)
{
	bool second = b->l->half != NULL && b->l->half->second;

	if (b->l->new->oid != 0)
		return;
	if (!second)
		add_table(b);
	add_column_options(b);
	add_constraints(b);
	ddl_check_halves(b);
	if (!second)
		add_replica_identity(b);
	add_rights(b);
}

/* Only what was made here is dropped: a table that was there before, or that
 * the specification's own text made, is not ours. */
void ddl_drop_new(struct ddl_build *b)
{
	const char *name = quote_text(b->l->migration, b->a);
	const struct lens_half *half = b->l->half;
	unsigned number = half ? half->other->number : b->l->number;
	const char *body = arena_fmt(
	    b->a,
	    "BEGIN IF EXISTS (SELECT FROM pgtandem.made WHERE migration ="
	    " %s AND lens = %u AND relation = %s) THEN DROP TABLE %s;"
	    " DELETE FROM pgtandem.made WHERE migration = %s AND"
	    " lens = %u; END IF; END",
	    name, number, quote_text(b->l->new_ref, b->a), b->l->new_ref, name,
	    number);

	if (half != NULL && !half->second)
		return; /* the other half's views stand on it */
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(b->a, "DO LANGUAGE plpgsql %s", quote_text(body, b->a)),
	    "drop table %s, if pgtandem made it", b->l->new_ref);
}

/* A sequence can only be owned by a column in its own schema; old and new may
 * stand in two.  The catalog's text has the schema first, quoted alike. */
static bool is_in_schema(const char *sequence, const char *schema,
			 struct arena *a)
{
	const char *prefix = arena_fmt(a, "%s.", quote_name(schema, a));

	return strncmp(sequence, prefix, strlen(prefix)) == 0;
}

/* The sequence is that of whichever column owns it now. */
static const char *serial_sequence(const struct lens *l, size_t old)
{
	const struct column *c = l->olds[old].column;
	const struct column *new =
	    l->olds[old].carried ? &l->new->columns[l->olds[old].new_index]
				 : NULL;

	if (c->identity || (new != NULL &&new->identity))
		return NULL;
	return c->sequence || new == NULL ? c->sequence : new->sequence;
}

static void own_sequences(struct ddl_build *b, bool by_new)
{
	const struct lens *l = b->l;
	const struct relation *r = by_new ? l->new : l->old;

	for (size_t i = 0; i < l->n_old; i++) {
		const char *sequence = serial_sequence(l, i);
		const char *name = l->olds[i].column->name, *owner = "NONE";
		bool converted;

		if (sequence == NULL)
			continue;
		if (by_new)
			name = names_of_old(l, name, &converted);
		if (name != NULL && is_in_schema(sequence, r->schema, b->a))
			owner = arena_fmt(b->a, "%s.%s",
					  by_new ? l->new_ref : l->old_ref,
					  quote_name(name, b->a));
		ddl_add(b, DDL_NO_LOCK,
			arena_fmt(b->a, "ALTER SEQUENCE %s OWNED BY %s",
				  sequence, owner),
			"sequence %s is owned by %s", sequence, owner);
	}
}

void ddl_sequences_to_new(struct ddl_build *b)
{
	own_sequences(b, true);
}

void ddl_sequences_to_old(struct ddl_build *b)
{
	own_sequences(b, false);
}

/* A view that draws from its identity's sequence: without, and again. */
static void view_default(const struct lens *l, const char *view,
			 struct sqltext *without, struct sqltext *with)
{
	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;
		const char *name = quote_name(c->name, with->a);

		if (!c->identity || c->sequence == NULL)
			continue;
		sqltext_put(without,
			    "ALTER VIEW IF EXISTS %s ALTER COLUMN %s"
			    " DROP DEFAULT; ",
			    view, name);
		sqltext_put(with,
			    "ALTER VIEW IF EXISTS %s ALTER COLUMN %s"
			    " SET DEFAULT"
			    " pg_catalog.nextval(%s::pg_catalog.regclass); ",
			    view, name, quote_text(c->sequence, with->a));
	}
}

static void shape_default(const struct lens *l, struct sqltext *without,
			  struct sqltext *with)
{
	view_default(l, l->shape_ref, without, with);
	view_default(l, copy_view(l, "lens", with->a), without, with);
}

/* What is done for each identity column around DROP TABLE. */
struct handed {
	struct sqltext declare, before, after;
	size_t n;
};

/* What the old relation's identity column `i` of the new one comes from; NULL
 * if it is none, or has been handed over. */
static const struct column *identity_of(const struct lens *l, size_t i)
{
	const struct column *from = carried_from(l, i);

	return from == NULL || !from->identity || from->sequence == NULL ||
		       l->news[i].column->identity
		   ? NULL
		   : from;
}

static void hand_over_column(const struct lens *l, const struct column *old,
			     const struct column *new, struct handed *h)
{
	struct arena *a = h->before.a;
	const char *column = quote_name(new->name, a);
	const char *sequence = quote_text(old->sequence, a);
	const char *identity = arena_fmt(
	    a,
	    "ALTER TABLE %s ALTER COLUMN %s"
	    " ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %s START ",
	    l->new_ref, column, old->identity == 'a' ? "ALWAYS" : "BY DEFAULT",
	    old->sequence);
	const char *next = arena_fmt(a, "v_next%zu", ++h->n);
	const char *seq = arena_fmt(a, "v_seq%zu", h->n);

	sqltext_put(&h->declare,
		    "%s pg_catalog.int8; %s pg_catalog.pg_sequence; ", next,
		    seq);
	sqltext_put(&h->before,
		    " ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT;"
		    " SELECT * INTO %s FROM pg_catalog.pg_sequence WHERE"
		    " seqrelid = %s::pg_catalog.regclass;"
		    " %s := pg_catalog.nextval(%s);"
		    " SELECT CASE WHEN %s.seqincrement > 0"
		    " THEN GREATEST(%s, pg_catalog.max(n.%s) + 1)"
		    " ELSE LEAST(%s, pg_catalog.min(n.%s) - 1) END"
		    " INTO %s FROM %s AS n;",
		    l->new_ref, column, seq, sequence, next, sequence, seq,
		    next, column, next, column, next, l->new_ref);
	sqltext_put(&h->after,
		    " EXECUTE %s || %s.seqstart"
		    " || ' INCREMENT ' || %s.seqincrement"
		    " || ' MINVALUE ' || %s.seqmin"
		    " || ' MAXVALUE ' || %s.seqmax"
		    " || ' CACHE ' || %s.seqcache || CASE WHEN %s.seqcycle"
		    " THEN ' CYCLE)' ELSE ' NO CYCLE)' END;"
		    " PERFORM pg_catalog.setval(%s, %s, false);",
		    quote_text(identity, a), seq, seq, seq, seq, seq, seq,
		    sequence, next);
}

/*
 * The identities' turn.  The shapes' defaults go first: that waits for every
 * statement that is drawing from a sequence, and keeps new ones out, so that
 * the value taken is the last.
 */
static const char *hand_over_identities(const struct lens *l, struct arena *a)
{
	struct sqltext without, with;
	struct handed h = {.n = 0};

	sqltext_begin(&h.declare, a);
	sqltext_begin(&h.before, a);
	sqltext_begin(&h.after, a);
	for (size_t i = 0; i < l->n_new; i++)
		if (identity_of(l, i) != NULL)
			hand_over_column(l, identity_of(l, i),
					 l->news[i].column, &h);
	if (h.n == 0)
		return NULL;
	sqltext_begin(&without, a);
	sqltext_begin(&with, a);
	shape_default(l, &without, &with);
	for (size_t i = 0; i < l->n_earlier; i++)
		shape_default(l->earlier[i], &without, &with);
	return arena_fmt(a, "DECLARE %sBEGIN %s%s DROP TABLE %s;%s %s END",
			 h.declare.s, without.s, h.before.s, l->old_ref,
			 h.after.s, with.s);
}

/* The client's rights on the sequences go with them. */
static const char *identity_grants(const struct lens *l, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t c = 0; c < l->n_new; c++) {
		const struct column *old = identity_of(l, c);

		for (size_t i = 0; old != NULL && i < l->old->n_grants; i++) {
			const struct grant *g = &l->old->grants[i];

			if (strcmp(g->privilege, "INSERT") == 0)
				sqltext_put(
				    &t, ";\nGRANT USAGE ON SEQUENCE %s TO %s",
				    old->sequence,
				    g->grantee ? quote_name(g->grantee, a)
					       : "PUBLIC");
		}
	}
	return t.s;
}

void ddl_drop_old(struct ddl_build *b)
{
	const char *body = hand_over_identities(b->l, b->a);

	if (body == NULL) {
		ddl_add(b, DDL_LOCKS_SOURCE,
			arena_fmt(b->a, "DROP TABLE %s", b->l->old_ref),
			"drop table %s", b->l->old_ref);
		return;
	}
	ddl_add(b, DDL_LOCKS_SOURCE,
		arena_fmt(b->a, "DO LANGUAGE plpgsql %s%s",
			  quote_text(body, b->a), identity_grants(b->l, b->a)),
		"drop table %s, its identity goes on in %s", b->l->old_ref,
		b->l->new_ref);
}

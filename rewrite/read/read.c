/*
 * Reads: a relation in FROM becomes a derived table that shows the old shape
 * over the new model, with the old names, types and order, so that *, whole
 * rows and the RowDescription stay the same.  PostgreSQL flattens it (design
 * section 7).
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

/* By the name that it has in L_lens. */
static void put_new_column(struct sqltext *t, const struct lens *l,
			   unsigned new)
{
	const char *name = l->news[new].column->name;

	sqltext_item(t, ", ", "%s AS %s", quote_name(name, t->a),
		     quote_name(arena_fmt(t->a, "new.%s", name), t->a));
}

/* What makes the new row the mirror of the old one beside it. */
static void put_same_key(struct sqltext *t, const struct lens *l,
			 const struct lens *kept)
{
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    t, " AND ", "%s = \"pgtandem.%u\"",
		    quote_name(l->news[l->key[i].new_index].column->name, t->a),
		    kept->key[i].old_index);
}

/* Of a merge's rows, those that have this half. */
static const char *conditions(const struct lens *l, const struct lens *beside,
			      struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	if (l->half != NULL)
		sqltext_item(
		    &t, " AND ", "%s IS NOT NULL",
		    quote_name(l->news[l->half->marker].column->name, a));
	if (beside != NULL)
		put_same_key(&t, l, beside);
	return t.len > 0 ? arena_fmt(a, " WHERE %s", t.s) : "";
}

/*
 * Until the barrier of write_new has passed, others lock old rows: a locking
 * clause on the derived table then locks both, the old one first, for it
 * stands first.  A function in WHERE would not know its strength, NOWAIT or
 * SKIP LOCKED, and would lock rows that LIMIT leaves out.
 *
 * The old columns have other names here: the new row's are bare.
 */
static const char *beside_old(const struct lens *l, const struct lens *kept,
			      const char *derived, struct arena *a)
{
	struct sqltext names;

	sqltext_begin(&names, a);
	for (size_t i = 0; i < kept->n_old; i++)
		sqltext_item(&names, ", ", "\"pgtandem.%zu\"", i);
	return arena_fmt(a,
			 "(SELECT \"pgtandem.new\".* FROM %s AS "
			 "\"pgtandem.old\" (%s), LATERAL %s AS "
			 "\"pgtandem.new\")",
			 l->old_ref, names.s, derived);
}

const char *read_derived(const struct statement *st, unsigned name,
			 const bool *shown, const char *more, bool only,
			 const char *sample, bool lock)
{
	const struct lens *l = statement_lens(st, name);
	const struct lens *kept = l->later != NULL ? l->later : l;
	const char *derived;
	struct sqltext columns;

	sqltext_begin(&columns, st->a);
	sqltext_put(&columns, "%s", statement_name(st, name)->columns);
	for (unsigned i = 0; shown != NULL && i < l->n_new; i++)
		if (shown[i])
			put_new_column(&columns, l, i);
	derived = arena_fmt(st->a, "(SELECT %s%s FROM %s%s%s%s)", columns.s,
			    more, only ? "ONLY " : "", l->new_ref, sample,
			    conditions(l, lock ? kept : NULL, st->a));
	return lock ? beside_old(l, kept, derived, st->a) : derived;
}

/* TABLESAMPLE stands behind the alias, but belongs to the new relation: its
 * text moves into the derived table. */
static const char *take_sample(struct statement *st,
			       const RangeTableSample *sample)
{
	size_t method, open;
	struct span span;

	if (sample == NULL)
		return "";
	method = tokens_find(st->tokens, (uint32_t)sample->location);
	for (open = method;
	     open < st->end && !token_is_punct(st->tokens, open, '(');)
		open++;
	span = (struct span){method - 1, span_closing(st, open) + 1};
	if (sample->repeatable != NULL)
		span.end = span_closing(st, span.end + 1) + 1;
	statement_replace(st, span, "");
	return arena_fmt(st->a, " %s", statement_text(st, span));
}

/* What WHERE CURRENT OF can find of a cursor that locks nothing: a scan of this
 * one table. */
static bool is_scanned_alone(const struct statement *st, const struct ref *ref)
{
	const SelectStmt *select = (const SelectStmt *)st->node;

	return st->cursor && IsA(select, SelectStmt) &&
	       list_length(select->fromClause) == 1 &&
	       linitial(select->fromClause) == ref->var;
}

static enum child_access child_access(const struct statement *st,
				      const struct ref *ref)
{
	if (ref->use == USE_LOCK)
		return CHILD_FUNCTIONS;
	return is_scanned_alone(st, ref) ? CHILD_SUBSELECT : CHILD_JOIN;
}

bool read_through(struct statement *st, const struct ref *ref)
{
	struct span span = span_of_relation(st, ref->var);
	bool lock = ref->use == USE_LOCK && statement_prelocks(st, ref->name);
	const char *sample = take_sample(st, ref->sample);
	const struct lens *l = statement_lens(st, ref->name);
	const char *text;

	if (ref->action == ACT_HIDE)
		text = hide_derived(st, ref, sample);
	else if (l->child != NULL)
		text = child_derived(l, !ref->var->inh, sample,
				     child_access(st, ref), st->a);
	else
		text = read_derived(st, ref->name, ref->shown,
				    system_columns(st, ref), !ref->var->inh,
				    sample, lock);

	if (ref->var->alias == NULL)
		text = arena_fmt(st->a, "%s AS %s", text,
				 quote_name(ref->var->relname, st->a));
	if (span.first > st->first &&
	    token_is(st->tokens, span.first - 1, "table")) {
		/* TABLE t, short for SELECT * FROM t; but its `*` stands
		 * nowhere, as far as errors tell. */
		span.first--;
		edit_insert(st->edits, st->tokens->v[span.first].from,
			    arena_fmt(st->a, "SELECT * FROM %s", text));
		text = "";
	}
	statement_replace(st, span, text);
	return true;
}

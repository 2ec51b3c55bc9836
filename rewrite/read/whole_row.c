/*
 * Whole rows: a relation's name, or alias.*, as a value.
 *
 * The row of a derived table is an anonymous record with the old columns:
 * to_json, count, IS NULL, comparisons and text come out the same.  Where the
 * type could show (a result column, an array, a function of the row type) it
 * is cast to the old relation's row type, which lives as long as that does:
 *
 *   i   CASE WHEN i.key IS NULL THEN NULL ELSE CAST(i.* AS public.old) END
 *
 * where the condition is for the row that an outer join leaves empty.  The row
 * of L_lens has more columns than the old relation; from its own a row like
 * the client's is made:
 *
 *   i   (SELECT CAST(i AS public.old) FROM (SELECT i.a, i.b) AS i)
 *
 * Both keep the name that a result column would have.
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

static bool is_any_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Functions that see a row's columns, and not its type. */
static bool is_typeless_call(const struct statement *st,
			     const struct column_use *use, const FuncCall *call)
{
	static const char *const names[] = {
	    "count",
	    "row_to_json",
	    "to_json",
	    "to_jsonb",
	    "json_agg",
	    "jsonb_agg",
	    "json_build_array",
	    "jsonb_build_array",
	    "json_build_object",
	    "jsonb_build_object",
	    "json_object_agg",
	    "jsonb_object_agg",
	    "concat",
	    "concat_ws",
	    "format",
	    "num_nulls",
	    "num_nonnulls",
	};
	const char *name = strVal(llast(call->funcname));
	int n = list_length(call->funcname);

	if (n == 1 && list_length(call->args) == 1 &&
	    lens_find_old(statement_lens(st, use->ref->name), name) >= 0)
		return true; /* amount(i) is i.amount */
	return (n == 1 ||
		strcmp(strVal(linitial(call->funcname)), "pg_catalog") == 0) &&
	       is_any_of(name, names, sizeof(names) / sizeof(*names));
}

static bool is_text_type(const TypeName *type)
{
	static const char *const names[] = {"text", "varchar", "bpchar"};

	return type->arrayBounds == NIL &&
	       is_any_of(strVal(llast(type->names)), names,
			 sizeof(names) / sizeof(*names));
}

/* A constant or a parameter beside a row takes the row's type. */
static bool has_no_type(const Node *operand)
{
	return operand != NULL &&
	       (IsA(operand, ParamRef) ||
		(IsA(operand, A_Const) && !((const A_Const *)operand)->isnull));
}

static bool takes_type(const A_Expr *e)
{
	ListCell *cell;

	if (has_no_type(e->lexpr) || has_no_type(e->rexpr))
		return true;
	if (e->rexpr != NULL && IsA(e->rexpr, List))
		foreach (cell, (const List *)e->rexpr)
			if (has_no_type(lfirst(cell)))
				return true;
	return false;
}

static bool is_comparison(const A_Expr *e)
{
	static const char *const names[] = {"=", "<>", "!=", "<",
					    ">", "<=", ">="};

	return e->kind == AEXPR_DISTINCT || e->kind == AEXPR_NOT_DISTINCT ||
	       ((e->kind == AEXPR_OP || e->kind == AEXPR_IN) &&
		list_length(e->name) == 1 &&
		is_any_of(strVal(linitial(e->name)), names,
			  sizeof(names) / sizeof(*names)));
}

/* array_to_json(array_agg(i)), to_json(ROW(i, 1)): an array or a row of rows,
 * of which only the columns are seen. */
static bool is_gathered(const struct column_use *use)
{
	static const char *const names[] = {
	    "array_to_json",	  "row_to_json",       "to_json",
	    "to_jsonb",		  "json_agg",	       "jsonb_agg",
	    "json_build_array",	  "json_build_object", "jsonb_build_array",
	    "jsonb_build_object",
	};
	const FuncCall *call = (const FuncCall *)use->parent;
	const FuncCall *around = (const FuncCall *)use->around;

	if (around == NULL || !IsA(around, FuncCall) ||
	    list_length(around->funcname) != 1 ||
	    !is_any_of(strVal(linitial(around->funcname)), names,
		       sizeof(names) / sizeof(*names)))
		return false;
	return IsA(call, RowExpr) || IsA(call, A_ArrayExpr) ||
	       IsA(call, CoalesceExpr) ||
	       (IsA(call, FuncCall) && list_length(call->funcname) == 1 &&
		strcmp(strVal(linitial(call->funcname)), "array_agg") == 0);
}

/* inovices AS t(a, b): the row's type keeps the columns' own names. */
static bool is_renamed(const struct ref *ref)
{
	return ref->var->alias != NULL && ref->var->alias->colnames != NIL;
}

/* Can the row's type show where it stands? */
static bool type_shows(const struct statement *st, const struct column_use *use)
{
	const Node *parent = use->parent;

	if (parent == NULL)
		return true;
	if (is_renamed(use->ref) && (IsA(parent, FuncCall) || is_gathered(use)))
		return true;
	if (is_gathered(use))
		return false;
	if (IsA(parent, FuncCall))
		return !is_typeless_call(st, use, (const FuncCall *)parent);
	if (IsA(parent, TypeCast))
		return !is_text_type(((const TypeCast *)parent)->typeName);
	if (IsA(parent, A_Expr))
		return !is_comparison((const A_Expr *)parent) ||
		       takes_type((const A_Expr *)parent);
	/* The last: GROUP BY, DISTINCT ON. */
	return !IsA(parent, NullTest) && !IsA(parent, A_Indirection) &&
	       !IsA(parent, SortBy) && !IsA(parent, WindowDef) &&
	       !IsA(parent, GroupingSet) && !IsA(parent, SubLink) &&
	       !IsA(parent, SelectStmt);
}

/* (i).amount, but not (i).* */
static bool is_field(const struct column_use *use)
{
	const A_Indirection *of = (const A_Indirection *)use->parent;

	return of != NULL && IsA(of, A_Indirection) &&
	       IsA(linitial(of->indirection), String);
}

static bool has_row_type(const struct statement *st, unsigned name)
{
	const struct rule_name *n = statement_name(st, name);
	const struct rule_migration *own =
	    &st->req->rules->migrations[n->migration];
	const struct lens *l = own->lenses[n->lens];

	if (own->phase < PHASE_CONTRACTED)
		return l->kind != LENS_COLUMNS;
	return l->kind == LENS_TABLE && l->husk;
}

/* A chain's old_ref is another relation (rewrite/lens/chain.h).  What the
 * server has prepared does not follow the name to the husk. */
static const char *row_type(const struct statement *st, const struct lens *l)
{
	st->plan->row_types += l->old->husk != 0 ? l->old->husk : l->old->oid;
	return quote_qualified(l->old->schema, l->old->name, st->a);
}

static bool is_aggregated(const struct column_use *use)
{
	static const char *const names[] = {
	    "count",	       "json_agg",	   "jsonb_agg",
	    "json_object_agg", "jsonb_object_agg", "array_agg",
	};
	const FuncCall *call = (const FuncCall *)use->parent;

	return call != NULL && IsA(call, FuncCall) &&
	       is_any_of(strVal(llast(call->funcname)), names,
			 sizeof(names) / sizeof(*names));
}

/* Grouped by its key, a derived table's columns can be selected one by one
 * (group.c), (i).a and (i).* too, but not its row. */
static bool is_grouped(const struct statement *st, const struct column_use *use)
{
	const struct ref *ref = use->ref;

	return !is_aggregated(use) &&
	       (use->parent == NULL || !IsA(use->parent, A_Indirection)) &&
	       ref->level->grouped != NULL &&
	       group_is_by_key(statement_lens(st, ref->name), ref,
			       ref->level->grouped);
}

/* Where one table is both models, the session's own. */
static bool is_hidden(const struct ref *ref)
{
	return ref->action == ACT_HIDE || ref->action == ACT_HIDE_SYNC;
}

static const struct relation *shown(const struct statement *st,
				    const struct ref *ref)
{
	return is_hidden(ref) ? hide_shown(st, ref->name)
			      : statement_lens(st, ref->name)->old;
}

/* inovices AS t(a, b): the first columns have other names here. */
static const char *name_here(const struct ref *ref, const struct relation *r,
			     size_t i)
{
	const Alias *alias = ref->var->alias;

	return alias != NULL && i < (size_t)list_length(alias->colnames)
		   ? strVal(list_nth(alias->colnames, (int)i))
		   : r->columns[i].name;
}

/* A column that has moved to the child table, where the write goes to the
 * table itself (rewrite/write/write_child.c); or NULL. */
static const struct child_moved *moved(const struct statement *st,
				       const struct ref *ref, unsigned old)
{
	const struct lens *l = statement_lens(st, ref->name);

	return ref->is_target && l->child != NULL &&
		       write_is_current_of(st->node)
		   ? child_find_moved(l, old)
		   : NULL;
}

static const char *listed(const struct statement *st, const struct ref *ref,
			  bool named)
{
	const struct relation *r = shown(st, ref);
	const char *alias = quote_name(ref_alias(ref), st->a);
	struct sqltext t;

	sqltext_begin(&t, st->a);
	for (unsigned i = 0; i < r->n_columns; i++) {
		const struct child_moved *m = moved(st, ref, i);
		const char *name = quote_name(name_here(ref, r, i), st->a);

		if (m == NULL)
			sqltext_item(&t, ", ", "%s.%s", alias, name);
		else
			sqltext_item(&t, ", ", "%s%s%s",
				     child_picked(statement_lens(st, ref->name),
						  m, alias, st->a),
				     named ? " AS " : "", named ? name : "");
	}
	return t.s;
}

const char *row_columns(const struct statement *st, const struct ref *ref)
{
	return listed(st, ref, false);
}

/* The use's own tokens; a schema in front is cut elsewhere. */
static void replace(struct statement *st, const struct column_use *use,
		    const char *text)
{
	size_t first = tokens_find(st->tokens, (uint32_t)use->node->location);
	int n = list_length(use->node->fields);

	for (; n > 2; n--)
		first = span_name_end(st, first) + 1;
	statement_replace(
	    st,
	    (struct span){first, span_name_end(st, first) +
				     (use->kind == COLUMN_STAR ? 2 : 0)},
	    text);
}

/* The columns, put together anew. */
static const char *made_row(const struct statement *st,
			    const struct column_use *use, bool typed)
{
	const struct lens *l = statement_lens(st, use->ref->name);
	const char *alias = quote_name(ref_alias(use->ref), st->a);

	return arena_fmt(st->a, "(SELECT %s%s%s%s%s FROM (SELECT %s) AS %s)",
			 typed ? "CAST(" : "", alias, typed ? " AS " : "",
			 typed ? row_type(st, l) : "", typed ? ")" : "",
			 listed(st, use->ref, true), alias);
}

static void replace_derived(struct statement *st, const struct column_use *use,
			    bool typed)
{
	const struct lens *l = statement_lens(st, use->ref->name);
	const char *alias = quote_name(ref_alias(use->ref), st->a);
	const char *row =
	    typed ? arena_fmt(st->a, "CAST(%s.* AS %s)", alias, row_type(st, l))
		  : made_row(st, use, false);

	replace(
	    st, use,
	    arena_fmt(
		st->a, "CASE WHEN %s.%s IS NULL THEN NULL ELSE %s END", alias,
		quote_name(name_here(use->ref, l->old, l->key[0].old_index),
			   st->a),
		row));
}

static bool refuse(struct statement *st, const struct column_use *use,
		   const char *detail, const char *hint)
{
	return statement_refuse(st, use->ref->name, "a whole row", detail,
				hint);
}

static bool refuse_unsure(struct statement *st, const struct column_use *use)
{
	return refuse(st, use,
		      "It might be a column of another relation, whose name "
		      "the relation's is.",
		      "Write alias.* for the row, or list the columns.");
}

static bool refuse_type(struct statement *st, const struct column_use *use)
{
	return refuse(st, use,
		      "Its type would not be the old relation's row type.",
		      "List the columns, or write alias.*.");
}

static bool derived_row(struct statement *st, const struct column_use *use)
{
	bool shows = type_shows(st, use),
	     typed = has_row_type(st, use->ref->name);
	bool grouped = is_grouped(st, use);

	bool shown = system_column_is_shown(st, use->ref);

	if (!shows && !grouped && (!shown || is_field(use)))
		return true;
	if (shown && use->parent != NULL && IsA(use->parent, A_Indirection))
		return refuse(st, use,
			      "It would have the system columns that are named "
			      "beside it.",
			      "List the columns.");
	if (!use->is_sure && use->kind == COLUMN_WHOLE_ROW)
		return refuse_unsure(st, use);
	if (shows && !typed)
		return refuse_type(st, use);
	replace_derived(st, use, typed);
	return true;
}

static bool target_row(struct statement *st, const struct column_use *use)
{
	bool shows = type_shows(st, use),
	     typed = has_row_type(st, use->ref->name);

	if (is_field(use) ||
	    (is_hidden(use->ref) && !use->ref->direct && !shows))
		return true;
	if (!use->is_sure && use->kind == COLUMN_WHOLE_ROW)
		return refuse_unsure(st, use);
	if (!typed && (shows || IsA(use->parent, A_Indirection)))
		return refuse_type(st, use);
	replace(st, use, made_row(st, use, typed));
	return true;
}

/* Where alias.* is not a value, but several. */
static bool is_list(const struct column_use *use)
{
	return use->kind == COLUMN_STAR && use->parent != NULL &&
	       (IsA(use->parent, ResTarget) || IsA(use->parent, RowExpr) ||
		IsA(use->parent, SelectStmt)); /* VALUES */
}

bool whole_row(struct statement *st, const struct column_use *use)
{
	if (use->kind == COLUMN_WHOLE_ROW &&
	    relation_find_column(shown(st, use->ref), ref_alias(use->ref)))
		return true; /* a column */
	if (is_list(use)) {
		if ((use->ref->is_target &&
		     (!is_hidden(use->ref) || use->ref->direct)) ||
		    system_column_is_shown(st, use->ref))
			replace(st, use, row_columns(st, use->ref));
		return true;
	}
	return use->ref->is_target ? target_row(st, use) : derived_row(st, use);
}

bool row_type_check(struct statement *st)
{
	unsigned name = st->found.type_of;
	bool in_place;

	if (!st->found.has_type_of || (statement_shape(st, name) != SHAPE_OLD &&
				       !statement_name(st, name)->shared))
		return true;
	in_place = statement_lens(st, name)->kind == LENS_COLUMNS;
	if (in_place ? statement_action(st, name, USE_READ) == ACT_PASS
		     : has_row_type(st, name))
		return true;
	statement_note(st, name, false);
	return statement_refuse(
	    st, name, "a cast to the row type",
	    in_place ? "The type has the columns of both models."
		     : "The type has gone with the old relation.",
	    "List the columns.");
}

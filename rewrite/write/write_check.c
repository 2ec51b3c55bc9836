/*
 * The check of a SET list: PostgreSQL itself makes the assignment casts.
 *
 * Through the lens a converted column's value is cast to the old type with
 * CAST, which knows more casts than an assignment does (boolean to integer)
 * and refuses others with another SQLSTATE.  So the client's assignments stand
 * in the statement a second time, on the view that has the old types:
 *
 *   WITH "pgtandem.check" AS (UPDATE L_shape AS old SET amount = X
 *       [FROM the client's] WHERE false)
 *   UPDATE L_lens AS old SET "new.amount_cents" = ...
 *
 * It is analysed, and never run for a row.  Parameters that the client did not
 * declare get the types that they have in direct use, because it comes first
 * and in the client's order: FROM, WHERE, SET.
 *
 * Left out where CAST cannot differ, as in most statements there are.
 */
#include "rewrite/write/write_lens.h"
#include "rewrite/write/write_set.h"

#include <stdlib.h>
#include <string.h>

#include "rewrite/text/sqltext.h"

enum { MAX_OPERATORS = 1000 }; /* of one value, before it is checked anyway */

enum family { FAMILY_OTHER, FAMILY_STRING, FAMILY_NUMBER };

/* Every type can be assigned to a string, and every number to a number. */
static const struct {
	const char *type; /* as format_type prints it, without a length */
	enum family family;
} families[] = {
    {"text", FAMILY_STRING},	  {"character varying", FAMILY_STRING},
    {"character", FAMILY_STRING}, {"bpchar", FAMILY_STRING},
    {"smallint", FAMILY_NUMBER},  {"integer", FAMILY_NUMBER},
    {"bigint", FAMILY_NUMBER},	  {"numeric", FAMILY_NUMBER},
    {"real", FAMILY_NUMBER},	  {"double precision", FAMILY_NUMBER},
};

static enum family family_of(const struct column *c)
{
	size_t len = strcspn(c->type, "(");

	if (c->type[len] == '(' && c->type[strlen(c->type) - 1] != ')')
		return FAMILY_OTHER; /* an array */
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (strlen(families[i].type) == len &&
		    memcmp(families[i].type, c->type, len) == 0)
			return families[i].family;
	return FAMILY_OTHER;
}

/* The old column that a name in the list surely means, or NULL. */
static const struct column *column_of(const struct set *s, const ColumnRef *c)
{
	int n = list_length(c->fields), old;

	if (n > 2 || !IsA(llast(c->fields), String))
		return NULL;
	if (n == 2 &&
	    strcmp(strVal(linitial(c->fields)), ref_alias(s->target)) != 0 &&
	    (!IsA(s->st->node, InsertStmt) ||
	     strcmp(strVal(linitial(c->fields)), "excluded") != 0))
		return NULL;
	old = lens_find_old(s->l, strVal(llast(c->fields)));
	return old < 0 ? NULL : s->l->olds[old].column;
}

static bool is_arithmetic(const A_Expr *e)
{
	const char *name;

	if (e->kind != AEXPR_OP || list_length(e->name) != 1)
		return false;
	name = strVal(linitial(e->name));
	return strlen(name) == 1 && strchr("+-*/%", *name) != NULL;
}

bool type_is_number(const TypeName *type)
{
	static const char *const names[] = {"int2",   "int4",	"int8",
					    "float4", "float8", "numeric"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (type->names != NIL && type->arrayBounds == NIL &&
		    strcmp(strVal(llast(type->names)), names[i]) == 0)
			return true;
	return false;
}

/* A constant, a parameter, a column or a cast that is a number, whatever the
 * rest of the statement is. */
static bool is_number(const struct set *s, const Node *node)
{
	const A_Const *constant = (const A_Const *)node;
	const struct column *c;

	if (IsA(node, A_Const))
		return !constant->isnull && (IsA(&constant->val, Integer) ||
					     IsA(&constant->val, Float));
	if (IsA(node, ParamRef))
		return (s->st->flags & REQUEST_TYPED_OTHER) == 0;
	if (IsA(node, TypeCast))
		return type_is_number(((const TypeCast *)node)->typeName);
	if (!IsA(node, ColumnRef))
		return false;
	c = column_of(s, (const ColumnRef *)node);
	return c != NULL && family_of(c) == FAMILY_NUMBER;
}

/* Numbers, with + - * / % between them.  Goes down the left side in a loop: a
 * long sum leans to it. */
static bool is_computed(const struct set *s, const Node *node)
{
	for (unsigned i = 0; i < MAX_OPERATORS; i++) {
		const A_Expr *e = (const A_Expr *)node;

		if (!IsA(node, A_Expr))
			return is_number(s, node);
		if (!is_arithmetic(e))
			return false;
		if (e->lexpr == NULL) {
			node = e->rexpr;
			continue;
		}
		if (IsA(e->rexpr, A_Expr)) {
			const A_Expr *right = (const A_Expr *)e->rexpr;

			if (!is_arithmetic(right) ||
			    (right->lexpr && !is_number(s, right->lexpr)) ||
			    !is_number(s, right->rexpr))
				return false;
		} else if (!is_number(s, e->rexpr)) {
			return false;
		}
		node = e->lexpr;
	}
	return false;
}

/* Does it take the column's type, or have it already? */
static bool is_of_type(const struct set *s, const Node *node,
		       const struct column *column)
{
	const A_Const *constant = (const A_Const *)node;
	const struct column *c;

	if (IsA(node, A_Const))
		return constant->isnull || IsA(&constant->val, String);
	if (IsA(node, ParamRef))
		return (s->st->flags & REQUEST_TYPED) == 0;
	if (!IsA(node, ColumnRef))
		return false;
	c = column_of(s, (const ColumnRef *)node);
	return c != NULL && strcmp(c->type, column->type) == 0;
}

static const Node *value_of(const struct assignment *a)
{
	const MultiAssignRef *multi = (const MultiAssignRef *)a->target->val;

	if (!IsA(multi, MultiAssignRef))
		return (const Node *)multi;
	if (!IsA(multi->source, RowExpr))
		return multi->source;
	return list_nth(((const RowExpr *)multi->source)->args,
			multi->colno - 1);
}

/* Is a carried column cast as well, for it is assigned along with others? */
static bool is_cast(const struct set *s, const struct item *item)
{
	bool fed = s->grouped;

	for (size_t i = 0; item->subselect && i < item->n; i++)
		fed |= s->v[item->first_assignment + i].n_feeds > 0;
	return fed;
}

static bool could_differ(const struct set *s, const struct item *item,
			 const struct assignment *a)
{
	const struct column *c = s->l->olds[a->old].column;
	const Node *value = value_of(a);
	enum family family = family_of(c);

	if ((a->n_feeds == 0 && !is_cast(s, item)) || family == FAMILY_STRING ||
	    set_is_default(s, a))
		return false;
	return !is_of_type(s, value, c) &&
	       (family != FAMILY_NUMBER || !is_computed(s, value));
}

static bool is_needed(const struct set *s)
{
	/* What names a column of the new relation would find it. */
	if (s->direct && s->grouped)
		return true;
	for (size_t i = 0; i < s->n_items; i++) {
		const struct item *item = &s->items[i];

		for (size_t k = 0; k < item->n; k++)
			if (could_differ(s, item,
					 &s->v[item->first_assignment + k]))
				return true;
	}
	return false;
}

struct check {
	const struct set *s;
	uint32_t at;
};

static void put(const struct check *c, const char *text)
{
	edit_insert(c->s->st->edits, c->at, text);
}

/* The client's text with the edits inside it. */
static void put_copy(const struct check *c, struct span span)
{
	const struct token *tokens = c->s->st->tokens->v;

	edit_copy(c->s->st->edits, c->at, tokens[span.first].from,
		  tokens[span.end - 1].to);
}

static void put_value(const struct check *c, const struct assignment *a)
{
	if (set_is_default(c->s, a))
		put(c, "DEFAULT");
	else
		put_copy(c, a->value);
}

static void put_item(const struct check *c, const struct item *item)
{
	const struct assignment *first = &c->s->v[item->first_assignment];

	if (first->n_feeds == 0 && !item->row && !item->subselect)
		put_copy(c, item->names); /* may have subscripts */
	else
		put(c, statement_text(c->s->st, item->names));
	put(c, " = ");
	if (item->subselect)
		put_copy(c, item->value);
	else if (!item->row)
		put_value(c, first);
	for (size_t i = 0; item->row && i < item->n; i++) {
		put(c, i == 0 ? "ROW(" : ", ");
		put_value(c, &first[i]);
	}
	if (item->row)
		put(c, ")");
}

static bool has_parameters(const struct statement *st, struct span span)
{
	for (size_t i = span.first; i < span.end; i++)
		if (st->tokens->v[i].kind == TOKEN_PARAM)
			return true;
	return false;
}

/* One past the clause that starts at token i. */
static size_t clause_end(const struct statement *st, size_t i)
{
	size_t where = span_find_word(st, i, "where");
	size_t returning = span_find_word(st, i, "returning");

	return where < returning ? where : returning;
}

/* UPDATE's FROM, for the names in the list, and WHERE, for the types that it
 * gives to parameters. */
static void put_clauses(const struct check *c, struct span list)
{
	const struct statement *st = c->s->st;
	const UpdateStmt *update = (const UpdateStmt *)st->node;
	size_t at = list.end;

	if (update->fromClause != NIL) {
		size_t end = clause_end(st, at);

		put(c, " FROM ");
		put_copy(c, (struct span){at + 1, end});
		at = end;
	}
	put(c, " WHERE ");
	if (update->whereClause == NULL || write_is_current_of(st->node) ||
	    !has_parameters(st, list))
		return;
	put(c, "(");
	put_copy(c, (struct span){at + 1, clause_end(st, at + 1)});
	put(c, ") AND ");
}

void write_check(const struct set *s, const struct check_place *place)
{
	const struct check c = {s, place->at};
	struct arena *a = s->st->a;
	struct span list = {s->items[0].all.first,
			    s->items[s->n_items - 1].all.end};

	if (!is_needed(s))
		return;
	put(&c, place->before);
	put(&c, arena_fmt(a, "%s AS (", part_name(s->st, "check")));
	if (place->with.end > 0) {
		put_copy(&c, place->with);
		put(&c, " ");
	}
	put(&c, arena_fmt(a, "UPDATE %s AS %s SET ", s->l->shape_ref,
			  quote_name(ref_alias(s->target), a)));
	for (size_t i = 0; i < s->n_items; i++) {
		if (i > 0)
			put(&c, ", ");
		put_item(&c, &s->items[i]);
	}
	if (IsA(s->st->node, InsertStmt))
		put(&c, arena_fmt(a, " FROM %s AS excluded WHERE ",
				  s->l->shape_ref));
	else
		put_clauses(&c, list);
	put(&c, "false)");
	put(&c, place->behind);
}

/* "character varying(10)", of no more bytes than that? */
static bool is_short(const char *type, const char *value)
{
	const char *length = strchr(type, '(');

	return length == NULL || strlen(value) <= strtoul(length + 1, NULL, 10);
}

/* A constant that can be assigned, but may be too long or too large, which
 * PostgreSQL finds when it plans: its text, or NULL. */
static const char *may_not_fit(const struct column *c, const Node *value,
			       struct arena *a)
{
	const A_Const *constant = (const A_Const *)value;
	enum family family = family_of(c);

	if (!IsA(value, A_Const) || constant->isnull)
		return NULL;
	if (IsA(&constant->val, String))
		return family == FAMILY_STRING &&
			       !is_short(c->type, strVal(&constant->val))
			   ? quote_text(strVal(&constant->val), a)
			   : NULL;
	if (family != FAMILY_NUMBER)
		return NULL;
	if (IsA(&constant->val, Float))
		return castNode(Float, &constant->val)->fval;
	return IsA(&constant->val, Integer)
		   ? arena_fmt(a, "%d", intVal(&constant->val))
		   : NULL;
}

const char *write_check_first(const struct statement *st,
			      const struct ref *target, const List *targets)
{
	const struct lens *l = statement_lens(st, target->name);
	struct sqltext t;
	ListCell *cell;

	sqltext_begin(&t, st->a);
	foreach (cell, targets) {
		const ResTarget *set = lfirst_node(ResTarget, cell);
		int old = lens_find_old(l, set->name);
		const char *value =
		    old < 0 || set->indirection != NIL
			? NULL
			: may_not_fit(l->olds[old].column, set->val, st->a);

		if (value != NULL)
			sqltext_item(&t, ", ", "%s = %s",
				     quote_name(set->name, st->a), value);
	}
	return t.len == 0
		   ? ""
		   : arena_fmt(st->a, "%s AS (UPDATE %s SET %s WHERE false), ",
			       part_name(st, "first"), l->shape_ref, t.s);
}

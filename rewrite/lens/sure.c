/*
 * Whole numbers: an expression of +, - and * with constants, and of casts
 * between number types, is factor * v + add.  Each step's type has bounds,
 * which bound v; between them nothing overflows.
 */
#include "rewrite/lens/sure.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewrite/lens/template.h"

enum { MAX_DEPTH = 50, MAX_DIGITS = 18 /* that an int64_t surely holds */ };

/* Number types, each wider than the ones before it. */
enum width { SMALLINT, INTEGER, BIGINT, NUMERIC, NO_NUMBER };

/* clang-format off */
static const struct {
	const char *name, *parsed; /* as format_type and the parser have it */
	int64_t low, high;
} numbers[] = {
	[SMALLINT] = {"smallint", "int2", INT16_MIN, INT16_MAX},
	[INTEGER]  = {"integer", "int4", INT32_MIN, INT32_MAX},
	[BIGINT]   = {"bigint", "int8", INT64_MIN, INT64_MAX},
	[NUMERIC]  = {"numeric", "numeric", 0, 0},
};
/* clang-format on */

struct line {
	enum width width;
	int64_t factor, add;
};

struct look {
	const struct column *columns;
	size_t n_columns;
	struct sure *sure;
};

static const struct column *column_of(const struct look *k, const Node *node)
{
	const ColumnRef *c = (const ColumnRef *)node;

	for (size_t i = 0; IsA(node, ColumnRef) && i < k->n_columns; i++)
		if (strcmp(k->columns[i].name, strVal(llast(c->fields))) == 0)
			return &k->columns[i];
	return NULL;
}

static enum width width_of(const char *type)
{
	for (int i = SMALLINT; i < NUMERIC; i++)
		if (type_same(type, numbers[i].name))
			return (enum width)i;
	return NO_NUMBER;
}

/* numeric(precision,scale): 10 to the number of digits before the point, and
 * those behind it; false for any other type. */
static bool digits_of(const char *type, int64_t *ret_bound, int *ret_scale)
{
	int precision, scale = 0;

	if (sscanf(type, "numeric(%d,%d)", &precision, &scale) < 1 ||
	    scale < 0 || precision - scale < 1 ||
	    precision - scale > MAX_DIGITS)
		return false;
	*ret_bound = 1;
	for (int i = scale; i < precision; i++)
		*ret_bound *= 10;
	*ret_scale = scale;
	return true;
}

/* Bounds v so that low <= factor * v + add <= high. */
static bool bound(const struct line *l, int64_t low, int64_t high,
		  struct sure *s)
{
	if (l->factor == 0)
		return low <= l->add && l->add <= high;
	if (l->factor < 0 || __builtin_sub_overflow(low, l->add, &low) ||
	    __builtin_sub_overflow(high, l->add, &high))
		return false;
	low = low / l->factor + (low > 0 && low % l->factor != 0);
	high = high / l->factor - (high < 0 && high % l->factor != 0);
	if (s->scaled) /* not every v is a whole number */
		return low <= s->low && s->high <= high;
	s->low = low > s->low ? low : s->low;
	s->high = high < s->high ? high : s->high;
	return s->low <= s->high;
}

static bool bound_by(const struct line *l, enum width width, struct sure *s)
{
	return width == NUMERIC ||
	       bound(l, numbers[width].low, numbers[width].high, s);
}

static bool line_of_column(const struct column *c, struct sure *s,
			   struct line *ret)
{
	int64_t most;
	int scale;

	*ret = (struct line){.width = width_of(c->type), .factor = 1};
	if (ret->width != NO_NUMBER) {
		s->low = numbers[ret->width].low;
		s->high = numbers[ret->width].high;
		return true;
	}
	ret->width = NUMERIC;
	if (!digits_of(c->type, &most, &scale))
		return false;
	s->low = -most;
	s->high = most;
	s->scaled = true;
	return true;
}

static bool line_of_constant(const A_Const *c, struct line *ret)
{
	char *end;

	if (c->isnull)
		return false;
	*ret = (struct line){.width = INTEGER};
	if (nodeTag(&c->val) == T_Integer) {
		ret->add = c->val.ival.ival;
		return true;
	}
	if (nodeTag(&c->val) != T_Float)
		return false;
	errno = 0;
	ret->width = BIGINT;
	ret->add = strtoll(c->val.fval.fval, &end, 10);
	return *end == '\0' && errno == 0;
}

/* The operator, if it is one of a single character and of PostgreSQL's own. */
static char operator_of(const A_Expr *e)
{
	const char *name = strVal(llast(e->name));

	if (e->kind != AEXPR_OP || strlen(name) != 1 ||
	    (list_length(e->name) == 2 &&
	     strcmp(strVal(linitial(e->name)), "pg_catalog") != 0))
		return '\0';
	return *name;
}

static bool combine(char symbol, const struct line *l, const struct line *r,
		    struct line *ret)
{
	ret->width = l->width > r->width ? l->width : r->width;
	if (symbol == '+')
		return !__builtin_add_overflow(l->factor, r->factor,
					       &ret->factor) &&
		       !__builtin_add_overflow(l->add, r->add, &ret->add);
	if (symbol == '-')
		return !__builtin_sub_overflow(l->factor, r->factor,
					       &ret->factor) &&
		       !__builtin_sub_overflow(l->add, r->add, &ret->add);
	if (symbol != '*' || (l->factor != 0 && r->factor != 0))
		return false;
	if (l->factor == 0)
		return !__builtin_mul_overflow(l->add, r->factor,
					       &ret->factor) &&
		       !__builtin_mul_overflow(l->add, r->add, &ret->add);
	return combine(symbol, r, l, ret);
}

static enum width cast_width(const TypeName *type)
{
	const char *name = strVal(llast(type->names));

	if (type->typmods != NIL || type->arrayBounds != NIL || type->setof ||
	    (list_length(type->names) == 2 &&
	     strcmp(strVal(linitial(type->names)), "pg_catalog") != 0))
		return NO_NUMBER;
	for (int i = SMALLINT; i <= NUMERIC; i++)
		if (strcmp(name, numbers[i].parsed) == 0)
			return (enum width)i;
	return NO_NUMBER;
}

static bool line_of(const struct look *k, const Node *node, unsigned depth,
		    struct line *ret)
{
	const A_Expr *e = (const A_Expr *)node;
	const TypeCast *cast = (const TypeCast *)node;
	const struct column *c;
	struct line left = {.width = SMALLINT}, right;

	if (node == NULL || depth > MAX_DEPTH)
		return false;
	c = column_of(k, node);
	if (c != NULL)
		return line_of_column(c, k->sure, ret);
	if (IsA(node, A_Const))
		return line_of_constant((const A_Const *)node, ret);
	if (IsA(node, TypeCast)) {
		enum width width = cast_width(cast->typeName);

		if (width == NO_NUMBER ||
		    !line_of(k, cast->arg, depth + 1, ret))
			return false;
		ret->width = width;
		return bound_by(ret, width, k->sure);
	}
	return IsA(node, A_Expr) && operator_of(e) != '\0' &&
	       (e->lexpr == NULL ? operator_of(e) != '*'
				 : line_of(k, e->lexpr, depth + 1, &left)) &&
	       line_of(k, e->rexpr, depth + 1, &right) &&
	       combine(operator_of(e), &left, &right, ret) &&
	       bound_by(ret, ret->width, k->sure);
}

/* Texts.  Built-in functions of strings and small numbers that take any; with
 * them the number of arguments that may be anything, the others being
 * constants. */
/* clang-format off */
static const struct {
	const char *name;
	int free;
} total_functions[] = {
	{"btrim", 2}, {"initcap", 1}, {"left", 1}, {"lower", 1}, {"ltrim", 2},
	{"replace", 3}, {"reverse", 1}, {"right", 1}, {"rtrim", 2},
	{"substr", 1}, {"translate", 3}, {"upper", 1},
};
/* clang-format on */

static bool is_total(const struct look *k, const Node *node, unsigned depth);

/* substr() takes no negative length. */
static bool is_count(const Node *node, bool negative)
{
	const A_Const *c = (const A_Const *)node;

	return IsA(node, A_Const) && !c->isnull &&
	       nodeTag(&c->val) == T_Integer &&
	       (negative || c->val.ival.ival >= 0);
}

static bool is_total_call(const struct look *k, const FuncCall *call,
			  unsigned depth)
{
	const char *name = strVal(llast(call->funcname));
	ListCell *cell;

	if (list_length(call->funcname) == 2 &&
	    strcmp(strVal(linitial(call->funcname)), "pg_catalog") != 0)
		return false;
	for (size_t i = 0;
	     i < sizeof(total_functions) / sizeof(*total_functions); i++) {
		if (strcmp(total_functions[i].name, name) != 0)
			continue;
		foreach (cell, call->args)
			if (foreach_current_index(cell) <
				    total_functions[i].free
				? !is_total(k, lfirst(cell), depth)
				: !is_count(lfirst(cell), *name != 's'))
				return false;
		return true;
	}
	return false;
}

static bool is_total_case(const struct look *k, const CaseExpr *c,
			  unsigned depth)
{
	ListCell *cell;

	foreach (cell, c->args) {
		const CaseWhen *when = lfirst(cell);

		if (!is_total(k, (const Node *)when->expr, depth) ||
		    !is_total(k, (const Node *)when->result, depth))
			return false;
	}
	return (c->arg == NULL || is_total(k, (const Node *)c->arg, depth)) &&
	       (c->defresult == NULL ||
		is_total(k, (const Node *)c->defresult, depth));
}

/* Of strings and truth values; what is none of them PostgreSQL would not have
 * taken, or it is a number. */
static bool is_total_operator(const struct look *k, const A_Expr *e,
			      unsigned depth)
{
	static const char *const names[] = {"||", "=", "<>", "~~", "!~~"};

	const char *name = strVal(llast(e->name));

	if ((e->kind != AEXPR_OP && e->kind != AEXPR_LIKE) ||
	    list_length(e->name) != 1 || e->lexpr == NULL)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], name) == 0)
			return is_total(k, e->lexpr, depth) &&
			       is_total(k, e->rexpr, depth) &&
			       (e->kind == AEXPR_OP || IsA(e->rexpr, A_Const));
	return false;
}

static bool is_string_type(const char *type)
{
	return type_same(type, "text") ||
	       strncmp(type, "character varying", 17) == 0 ||
	       strncmp(type, "character(", 10) == 0;
}

static bool is_total_column(const struct column *c)
{
	return c->collation == NULL &&
	       (is_string_type(c->type) || type_same(c->type, "boolean") ||
		type_same(c->type, "uuid"));
}

static bool is_total_cast(const struct look *k, const TypeCast *cast,
			  unsigned depth)
{
	const TypeName *type = cast->typeName;
	const char *name = strVal(llast(type->names));

	return type->arrayBounds == NIL && !type->setof &&
	       (list_length(type->names) == 1 ||
		strcmp(strVal(linitial(type->names)), "pg_catalog") == 0) &&
	       (strcmp(name, "text") == 0 || strcmp(name, "varchar") == 0) &&
	       is_total(k, cast->arg, depth);
}

static bool is_total(const struct look *k, const Node *node, unsigned depth)
{
	const BoolExpr *b = (const BoolExpr *)node;
	const struct column *c;
	ListCell *cell;

	if (node == NULL || ++depth > MAX_DEPTH)
		return false;
	c = column_of(k, node);
	if (c != NULL)
		return is_total_column(c);
	if (IsA(node, A_Const))
		return ((const A_Const *)node)->isnull ||
		       nodeTag(&((const A_Const *)node)->val) == T_String;
	if (IsA(node, TypeCast))
		return is_total_cast(k, (const TypeCast *)node, depth);
	if (IsA(node, FuncCall))
		return is_total_call(k, (const FuncCall *)node, depth);
	if (IsA(node, A_Expr))
		return is_total_operator(k, (const A_Expr *)node, depth);
	if (IsA(node, CaseExpr))
		return is_total_case(k, (const CaseExpr *)node, depth);
	if (IsA(node, NullTest))
		return is_total(k, (const Node *)((const NullTest *)node)->arg,
				depth);
	if (!IsA(node, BoolExpr))
		return false;
	foreach (cell, b->args)
		if (!is_total(k, lfirst(cell), depth))
			return false;
	return true;
}

static const char *const timestamp = "timestamp without time zone",
			 *const timestamptz = "timestamp with time zone";

/* Times: day::timestamp, at AT TIME ZONE 'UTC'.  The type that comes out, or
 * NULL. */
static const char *type_of_time(const struct look *k, const Node *node)
{
	const TypeCast *cast = (const TypeCast *)node;
	const FuncCall *call = (const FuncCall *)node;
	const struct column *c;
	const A_Const *zone;

	if (IsA(node, TypeCast)) {
		c = column_of(k, cast->arg);
		return c != NULL && type_same(c->type, "date") &&
			       cast->typeName->typmods == NIL &&
			       strcmp(strVal(llast(cast->typeName->names)),
				      "timestamp") == 0
			   ? timestamp
			   : NULL;
	}
	if (!IsA(node, FuncCall) || list_length(call->args) != 2 ||
	    list_length(call->funcname) != 2 ||
	    strcmp(strVal(linitial(call->funcname)), "pg_catalog") != 0 ||
	    strcmp(strVal(llast(call->funcname)), "timezone") != 0)
		return NULL;
	zone = linitial(call->args);
	c = column_of(k, lsecond(call->args));
	if (!IsA(zone, A_Const) || zone->isnull ||
	    nodeTag(&zone->val) != T_String ||
	    strcmp(zone->val.sval.sval, "UTC") != 0 || c == NULL)
		return NULL;
	return type_same(c->type, timestamp)	 ? timestamptz
	       : type_same(c->type, timestamptz) ? timestamp
						 : NULL;
}

void sure_find(const Node *node, const struct column *columns, size_t n_columns,
	       struct sure *ret)
{
	struct look k = {columns, n_columns, ret};
	struct line line;

	*ret = (struct sure){.total = is_total(&k, node, 0),
			     .time = type_of_time(&k, node)};
	ret->bounded = line_of(&k, node, 0, &line) && line.factor != 0;
	if (!ret->bounded)
		return;
	ret->factor = line.factor;
	ret->add = line.add;
	ret->rising = line.factor > 0;
}

void sure_of_column(const struct column *column, struct sure *ret)
{
	struct line line;

	*ret = (struct sure){
	    .total = is_total_column(column),
	    .time = type_same(column->type, "date") ? timestamp : NULL,
	    .factor = 1,
	};
	ret->bounded = ret->rising = line_of_column(column, ret, &line);
}

bool sure_cast(struct sure *s, const char *type)
{
	const struct line line = {.factor = s->factor, .add = s->add};
	enum width width = width_of(type);
	int64_t most;
	int scale;

	if (!s->bounded)
		return false;
	if (width != NO_NUMBER)
		return bound_by(&line, width, s);
	if (s->scaled) /* not a number is a numeric, too */
		return false;
	if (digits_of(type, &most, &scale))
		return bound(&line, -(most - 1), most - 1, s);
	return type_same(type, "numeric");
}

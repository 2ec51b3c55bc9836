#include "rewrite/lens/template.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <pg_query.h>
#include <pg_query/pg_query_internal.h>
#include <nodes/nodeFuncs.h>
#include <nodes/parsenodes.h>

#include "rewrite/lens/sure.h"
#include "rewrite/text/sqltext.h"
#include "rewrite/text/tokens.h"

/* One parse: the tree lives in the parser's memory until parse_end. */
struct parse {
	MemoryContext context;
	List *tree;
};

static bool parse_begin(const char *sql, struct parse *ret, struct problem *p)
{
	PgQueryInternalParsetreeAndError result;

	ret->context = pg_query_enter_memory_context();
	result = pg_query_raw_parse(sql);
	free(result.stderr_buffer);
	ret->tree = result.tree;
	if (result.error == NULL)
		return true;
	problem_set(p, "42601", "%s", result.error->message);
	pg_query_free_error(result.error);
	pg_query_exit_memory_context(ret->context);
	return false;
}

static void parse_end(struct parse *parse)
{
	pg_query_exit_memory_context(parse->context);
}

/* The one expression of a bare "SELECT expression", or NULL. */
static Node *sole_expression(const List *tree)
{
	const SelectStmt *select;
	const ResTarget *target;
	const RawStmt *raw;

	if (list_length(tree) != 1)
		return NULL;
	raw = linitial(tree);
	if (!IsA(raw->stmt, SelectStmt))
		return NULL;
	select = (const SelectStmt *)raw->stmt;
	if (list_length(select->targetList) != 1 || select->op != SETOP_NONE ||
	    select->distinctClause || select->intoClause ||
	    select->fromClause || select->whereClause || select->groupClause ||
	    select->havingClause || select->windowClause ||
	    select->valuesLists || select->sortClause || select->limitOffset ||
	    select->limitCount || select->lockingClause || select->withClause)
		return NULL;
	target = linitial(select->targetList);
	return target->name == NULL && target->indirection == NIL ? target->val
								  : NULL;
}

/* A column's place in the expression, in bytes, or that of a name which gets
 * its schema there. */
struct cut {
	size_t from, to;
	unsigned column;
	const char *schema; /* NULL: a column */
};

enum { MAX_CUTS = TEMPLATE_MAX_BYTES / 2 };

struct walk {
	const char *expression;
	int offset; /* of the expression in the parsed text */
	const struct column *columns;
	size_t n_columns;
	const struct known_names *known; /* or NULL */
	struct cut *cuts;		 /* MAX_CUTS */
	size_t n_cuts;
	unsigned depth;
	struct problem *problem;
};

/* One past the identifier that starts at `at`; `at` itself for U&"", whose
 * UESCAPE clause may stand anywhere behind it. */
static size_t identifier_end(const char *s, size_t at)
{
	size_t end = at;

	if (s[at] != '"') {
		while (byte_is_name((unsigned char)s[end]))
			end++;
		return strncmp(s + end, "&\"", 2) == 0 ? at : end;
	}
	for (end++; s[end] != '\0'; end++) {
		if (s[end] != '"')
			continue;
		if (s[end + 1] != '"')
			return end + 1;
		end++;
	}
	return at;
}

static void list_columns(const struct walk *w, struct problem *p)
{
	char names[512] = "";
	size_t used = 0;

	for (size_t i = 0; i < w->n_columns; i++) {
		const char *name = w->columns[i].name;
		size_t len = strlen(name);

		if (used + len + 6 > sizeof(names)) {
			memcpy(names + used, ", ...", sizeof(", ..."));
			break;
		}
		if (used > 0)
			used = (size_t)(stpcpy(names + used, ", ") - names);
		memcpy(names + used, name, len + 1);
		used += len;
	}
	problem_detail(p, "The columns here are: %s.", names);
}

/* All these return true: a tree walk ends at the first true. */
static bool refuse(struct walk *w, const char *what)
{
	problem_set(w->problem, "0A000",
		    "a mapping expression cannot have %s: %.200s", what,
		    w->expression);
	return true;
}

/* The identifier at a place in the parsed text. */
static bool take_name(struct walk *w, int location, unsigned column,
		      const char *schema)
{
	struct cut *cut = &w->cuts[w->n_cuts];

	if (w->n_cuts == MAX_CUTS)
		return refuse(w, "so many names");
	assert(location >= w->offset);
	cut->column = column;
	cut->schema = schema;
	cut->from = (size_t)(location - w->offset);
	cut->to = identifier_end(w->expression, cut->from);
	if (cut->to == cut->from)
		return refuse(w, "a name with Unicode escapes (U&\"\")");
	w->n_cuts++;
	return false;
}

static bool take_column(struct walk *w, const ColumnRef *ref)
{
	Node *field = linitial(ref->fields);
	unsigned i;

	if (IsA(field, A_Star) || IsA(llast(ref->fields), A_Star))
		return refuse(w, "*");
	if (list_length(ref->fields) != 1)
		return refuse(w, "a qualified column name (write it bare)");
	for (i = 0; i < w->n_columns; i++)
		if (strcmp(w->columns[i].name, strVal(field)) == 0)
			break;
	if (i == w->n_columns) {
		problem_set(w->problem, "42703",
			    "column \"%s\" does not exist: %.200s",
			    strVal(field), w->expression);
		list_columns(w, w->problem);
		return true;
	}
	return take_name(w, ref->location, i, NULL);
}

static const char *find_schema(const struct known_name *names, size_t n,
			       const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].schema;
	return NULL;
}

static bool take_known(struct walk *w, const char *schema, const char *name,
		       int location, const char *sqlstate, const char *what)
{
	if (schema != NULL)
		return take_name(w, location, 0, schema);
	problem_set(w->problem, sqlstate,
		    "%s \"%s\" is neither in pg_catalog nor in the old "
		    "relation's schema (write its schema in front of it): "
		    "%.200s",
		    what, name, w->expression);
	return true;
}

static bool take_type(struct walk *w, const TypeName *type)
{
	const struct known_names *k = w->known;
	const char *name;

	if (k == NULL || list_length(type->names) != 1)
		return false; /* keywords such as integer have their schema */
	name = strVal(linitial(type->names));
	return take_known(w, find_schema(k->types, k->n_types, name), name,
			  type->location, "42704", "type");
}

/* A type's name may be called like a function. */
static bool take_function(struct walk *w, const FuncCall *call)
{
	const struct known_names *k = w->known;
	const char *name, *schema;

	if (k == NULL || list_length(call->funcname) != 1)
		return false; /* nor need those of SQL's own syntax anything */
	name = strVal(linitial(call->funcname));
	schema = find_schema(k->functions, k->n_functions, name);
	if (schema == NULL)
		schema = find_schema(k->types, k->n_types, name);
	return take_known(w, schema, name, call->location, "42883", "function");
}

static bool check_call(struct walk *w, const FuncCall *call)
{
	if (call->over != NULL)
		return refuse(w, "a window function");
	if (call->agg_filter != NULL || call->agg_within_group ||
	    call->agg_star || call->agg_distinct || call->agg_order != NIL)
		return refuse(w, "an aggregate");
	return false;
}

/* clang-format off */
static const struct {
	NodeTag tag;
	const char *what;
} refused_nodes[] = {
	{T_SubLink, "a subquery"},
	{T_SelectStmt, "a subquery"},
	{T_ParamRef, "a parameter"},
	{T_SetToDefault, "DEFAULT"},
	{T_GroupingFunc, "GROUPING"},
	{T_CurrentOfExpr, "CURRENT OF"},
};
/* clang-format on */

static bool visit(Node *node, struct walk *w)
{
	bool stop = false;

	if (node == NULL)
		return false;
	for (size_t i = 0; i < sizeof(refused_nodes) / sizeof(*refused_nodes);
	     i++)
		if (nodeTag(node) == refused_nodes[i].tag)
			return refuse(w, refused_nodes[i].what);
	if (IsA(node, ColumnRef))
		return take_column(w, (const ColumnRef *)node);
	if (IsA(node, FuncCall))
		stop = check_call(w, (const FuncCall *)node) ||
		       take_function(w, (const FuncCall *)node);
	if (IsA(node, TypeName))
		stop = take_type(w, (const TypeName *)node);
	if (++w->depth > TEMPLATE_MAX_DEPTH)
		stop = refuse(w, "such deep nesting");
	if (!stop)
		stop = raw_expression_tree_walker(node, visit, w);
	w->depth--;
	return stop;
}

static int compare_cuts(const void *left, const void *right)
{
	const struct cut *l = left, *r = right;

	return (l->from > r->from) - (l->from < r->from);
}

/* Puts the schemas into the expression; only the columns' cuts are left. */
static void qualify(struct walk *w, struct arena *a)
{
	size_t n = 0, done = 0;
	struct sqltext t;

	qsort(w->cuts, w->n_cuts, sizeof(*w->cuts), compare_cuts);
	sqltext_begin(&t, a);
	for (size_t i = 0; i < w->n_cuts; i++) {
		struct cut cut = w->cuts[i];

		sqltext_put(&t, "%.*s", (int)(cut.from - done),
			    w->expression + done);
		if (cut.schema != NULL)
			sqltext_put(&t, "%s.", quote_name(cut.schema, a));
		else
			w->cuts[n++] =
			    (struct cut){.from = t.len,
					 .to = t.len + cut.to - cut.from,
					 .column = cut.column};
		sqltext_put(&t, "%.*s", (int)(cut.to - cut.from),
			    w->expression + cut.from);
		done = cut.to;
	}
	sqltext_put(&t, "%s", w->expression + done);
	w->expression = t.s;
	w->n_cuts = n;
}

/* A quoted name may touch a word ("x"AND); its replacement must not. */
static const char *piece(const char *s, size_t from, size_t to, bool first,
			 bool last, struct arena *a)
{
	bool before =
	    !first && from < to && byte_is_name((unsigned char)s[from]);
	bool after =
	    !last && from < to && byte_is_name((unsigned char)s[to - 1]);

	return arena_fmt(a, "%s%.*s%s", before ? " " : "", (int)(to - from),
			 s + from, after ? " " : "");
}

static void cut_text(struct walk *w, struct arena *a, struct template *ret)
{
	size_t n = w->n_cuts, at = 0;
	const char **text = arena_alloc(a, (n + 1) * sizeof(*text));
	unsigned *column = arena_alloc(a, (n + 1) * sizeof(*column));

	for (size_t i = 0; i < n; i++) {
		text[i] =
		    piece(w->expression, at, w->cuts[i].from, i == 0, false, a);
		column[i] = w->cuts[i].column;
		at = w->cuts[i].to;
	}
	text[n] =
	    piece(w->expression, at, strlen(w->expression), n == 0, true, a);
	ret->n = n;
	ret->text = text;
	ret->column = column;
}

static bool is_implicit_row(const Node *node)
{
	return IsA(node, RowExpr) &&
	       ((const RowExpr *)node)->row_format == COERCE_IMPLICIT_CAST;
}

static const char *trim(const char *s, struct arena *a)
{
	static const char space[] = " \t\r\n\f";
	size_t len;

	s += strspn(s, space);
	len = strlen(s);
	while (len > 0 && strchr(space, s[len - 1]) != NULL)
		len--;
	return arena_dup(a, s, len);
}

/* Built-in functions of one value and constants that are strict. */
static const char *const strict_functions[] = {
    "abs",	 "btrim",	   "ceil",	 "date",      "floor",
    "left",	 "lower",	   "lpad",	 "ltrim",     "md5",
    "reverse",	 "regexp_replace", "replace",	 "right",     "round",
    "rpad",	 "rtrim",	   "split_part", "substr",    "substring",
    "timezone",	 "to_char",	   "to_date",	 "to_number", "to_timestamp",
    "translate", "trunc",	   "upper",
};

static bool is_strict_function(const FuncCall *call)
{
	const char *name = strVal(llast(call->funcname));

	if (list_length(call->funcname) > 1 &&
	    strcmp(strVal(linitial(call->funcname)), "pg_catalog") != 0)
		return false;
	for (size_t i = 0;
	     i < sizeof(strict_functions) / sizeof(*strict_functions); i++)
		if (strcmp(strict_functions[i], name) == 0)
			return true;
	return false;
}

static bool is_strict(const Node *node, unsigned depth);

/* "||" of strings is strict, of an array and an element it is not. */
static bool is_strict_operator(const A_Expr *e, unsigned depth)
{
	bool left = is_strict(e->lexpr, depth);
	bool right = is_strict(e->rexpr, depth);

	if (e->kind != AEXPR_OP)
		return false;
	if (strcmp(strVal(llast(e->name)), "||") != 0)
		return left || right;
	return (left && (right || IsA(e->rexpr, A_Const))) ||
	       (right && IsA(e->lexpr, A_Const));
}

/* Is it surely NULL when its columns are?  What is made of constants alone is
 * not. */
static bool is_strict(const Node *node, unsigned depth)
{
	ListCell *cell;

	if (node == NULL || depth > 50)
		return false;
	if (IsA(node, ColumnRef))
		return true;
	if (IsA(node, TypeCast))
		return is_strict(((const TypeCast *)node)->arg, depth + 1);
	if (IsA(node, A_Expr))
		return is_strict_operator((const A_Expr *)node, depth + 1);
	if (IsA(node, FuncCall) && is_strict_function((const FuncCall *)node))
		foreach (cell, ((const FuncCall *)node)->args)
			if (is_strict(lfirst(cell), depth + 1))
				return true;
	return false;
}

bool template_parse(const char *expression, const struct column *columns,
		    size_t n_columns, const struct known_names *known,
		    struct arena *a, struct template *ret, struct problem *p)
{
	static const char before[] = "SELECT (";
	struct walk w = {.expression = trim(expression, a),
			 .offset = sizeof(before) - 1,
			 .columns = columns,
			 .n_columns = n_columns,
			 .known = known,
			 .problem = p};
	struct parse parse;
	Node *node;
	bool ok;

	if (strlen(w.expression) > TEMPLATE_MAX_BYTES)
		return problem_set(p, "54001",
				   "a mapping expression may have "
				   "%d bytes at most",
				   TEMPLATE_MAX_BYTES);
	if (!parse_begin(arena_fmt(a, "%s%s)", before, w.expression), &parse,
			 p)) {
		problem_detail(p, "In the mapping expression %.300s",
			       w.expression);
		return false;
	}
	node = sole_expression(parse.tree);
	if (node == NULL || is_implicit_row(node)) {
		parse_end(&parse);
		return problem_set(p, "42601",
				   "this is not one SQL expression: %.200s",
				   w.expression);
	}
	w.cuts = malloc(MAX_CUTS * sizeof(*w.cuts));
	if (w.cuts == NULL)
		abort();
	ok = !visit(node, &w);
	if (ok) {
		qualify(&w, a);
		cut_text(&w, a, ret);
		ret->strict = is_strict(node, 0);
		sure_find(node, columns, n_columns, &ret->sure);
	}
	parse_end(&parse);
	free(w.cuts);
	return ok;
}

void template_of_column(unsigned column, struct arena *a, struct template *ret)
{
	const char **text = arena_alloc(a, 2 * sizeof(*text));
	unsigned *columns = arena_alloc(a, sizeof(*columns));

	text[0] = text[1] = "";
	columns[0] = column;
	*ret = (struct template){
	    .n = 1, .text = text, .column = columns, .strict = true};
}

bool template_is_bare(const struct template *t)
{
	return t->n == 1 && t->text[0][0] == '\0' && t->text[1][0] == '\0';
}

size_t template_count(const struct template *t, unsigned column)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->column[i] == column;
	return n;
}

bool template_names(const struct template *t, unsigned column)
{
	return template_count(t, column) > 0;
}

const char *template_join(const struct template *t,
			  const char *const *replacement, struct arena *a)
{
	size_t len = strlen(t->text[t->n]);
	char *text, *out;

	for (size_t i = 0; i < t->n; i++)
		len += strlen(t->text[i]) + strlen(replacement[i]);
	out = text = arena_alloc(a, len + 1);
	for (size_t i = 0; i < t->n; i++)
		out = stpcpy(stpcpy(out, t->text[i]), replacement[i]);
	memcpy(out, t->text[t->n], strlen(t->text[t->n]) + 1);
	return text;
}

/* The type of "CAST(NULL AS text)", in the parse's memory, or NULL. */
static const TypeName *parsed_type(const List *tree)
{
	const Node *node = sole_expression(tree);
	const TypeCast *cast = (const TypeCast *)node;
	const TypeName *type;

	if (node == NULL || !IsA(node, TypeCast) || !IsA(cast->arg, A_Const) ||
	    !((const A_Const *)cast->arg)->isnull)
		return NULL;
	type = cast->typeName;
	return type->setof || type->pct_type ? NULL : type;
}

static bool type_parse(const char *text, struct parse *ret,
		       const TypeName **ret_type, struct problem *p)
{
	static const char before[] = "SELECT CAST(NULL AS ";
	char sql[256];
	size_t len = strlen(text);

	if (len + sizeof(before) + 1 > sizeof(sql)) {
		problem_set(p, "42601", "this type name is too long: %.200s",
			    text);
		return false;
	}
	memcpy(stpcpy(stpcpy(sql, before), text), ")", sizeof(")"));
	if (!parse_begin(sql, ret, p)) {
		problem_detail(p, "In the type name %.200s", text);
		return false;
	}
	*ret_type = parsed_type(ret->tree);
	if (*ret_type != NULL)
		return true;
	parse_end(ret);
	return problem_set(p, "42601", "this is not a type name: %.200s", text);
}

bool type_check(const char *text, struct problem *p)
{
	const TypeName *type;
	struct parse parse;

	if (!type_parse(text, &parse, &type, p))
		return false;
	parse_end(&parse);
	return true;
}

static bool same_type_names(const List *left, const List *right)
{
	return strcmp(strVal(llast(left)), strVal(llast(right))) == 0 &&
	       (list_length(left) < 2 || list_length(right) < 2 ||
		strcmp(strVal(linitial(left)), strVal(linitial(right))) == 0);
}

bool type_same(const char *left, const char *right)
{
	struct parse l, r;
	const TypeName *lt, *rt;
	struct problem p;
	bool same;

	if (strcmp(left, right) == 0)
		return true;
	if (!type_parse(left, &l, &lt, &p))
		return false;
	if (!type_parse(right, &r, &rt, &p)) {
		parse_end(&l);
		return false;
	}
	same = same_type_names(lt->names, rt->names) &&
	       equal(lt->typmods, rt->typmods) &&
	       list_length(lt->arrayBounds) == list_length(rt->arrayBounds);
	parse_end(&r);
	parse_end(&l);
	return same;
}

/* clang-format off */
static const struct {
	const char *name;	/* the parser's */
	const char *without_length;
} cutting_types[] = {
	{"varchar", "character varying"},
	{"bpchar", "bpchar"},
	{"bit", "bit varying"},
	{"varbit", "bit varying"},
};
/* clang-format on */

const char *type_before_assignment(const char *text, struct arena *a)
{
	const char *result = text, *name;
	const TypeName *type;
	struct parse parse;
	struct problem p;

	if (!type_parse(text, &parse, &type, &p))
		return text;
	name = strVal(llast(type->names));
	for (size_t i = 0; type->typmods != NIL &&
			   i < sizeof(cutting_types) / sizeof(*cutting_types);
	     i++)
		if (strcmp(name, cutting_types[i].name) == 0)
			result = arena_fmt(a, "%s%s",
					   cutting_types[i].without_length,
					   type->arrayBounds ? "[]" : "");
	parse_end(&parse);
	return result;
}

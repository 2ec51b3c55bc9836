/*
 * Everything that is not SELECT, INSERT, UPDATE, DELETE or MERGE.
 *
 * Some utility statements hold a query, which is planned as if it stood alone
 * (EXPLAIN, PREPARE, COPY (...), DECLARE, CREATE TABLE AS) or counted as one
 * use (CREATE VIEW).  Some hold a list of relations (utility_list.c).  In the
 * others only the names matter: the parser's tree has a shape for each of
 * them, so their tokens are searched instead, and a table says what a mention
 * counts as.
 */
#include "rewrite/statement.h"

#include <string.h>

#include <catalog/pg_class.h>

#include "rewrite/sqltext.h"

/* clang-format off */
static const struct {
	NodeTag tag;
	enum use use;		/* USE_COUNT: names in it do not matter */
} uses[] = {
	{T_TransactionStmt, USE_COUNT},
	{T_VariableSetStmt, USE_COUNT},
	{T_VariableShowStmt, USE_COUNT},
	{T_DiscardStmt, USE_COUNT},
	{T_DeallocateStmt, USE_COUNT},
	{T_ExecuteStmt, USE_COUNT},
	{T_FetchStmt, USE_COUNT},
	{T_ClosePortalStmt, USE_COUNT},
	{T_ListenStmt, USE_COUNT},
	{T_UnlistenStmt, USE_COUNT},
	{T_NotifyStmt, USE_COUNT},
	{T_CheckPointStmt, USE_COUNT},
	{T_LoadStmt, USE_COUNT},
	{T_ConstraintsSetStmt, USE_COUNT},
	{T_CallStmt, USE_COUNT},
	{T_GrantRoleStmt, USE_COUNT},
	{T_ReindexStmt, USE_TEND},
	{T_ClusterStmt, USE_TEND},
	{T_CommentStmt, USE_TEND},
	{T_DoStmt, USE_CODE},
	{T_CreateFunctionStmt, USE_CODE},
	{T_ViewStmt, USE_VIEW},
};
/* clang-format on */

static enum use utility_use(const Node *node)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (uses[i].tag == nodeTag(node))
			return uses[i].use;
	return USE_DDL;
}

/* PREPARE p (text): what Parse says with a message. */
static void unwrap_prepare(struct statement *st)
{
	const PrepareStmt *s = (const PrepareStmt *)st->node;
	ListCell *cell;

	foreach (cell, s->argtypes)
		st->flags |= type_is_number(lfirst(cell))
				 ? REQUEST_TYPED
				 : REQUEST_TYPED | REQUEST_TYPED_OTHER;
	st->node = s->query;
}

/* A relation that a statement makes: nothing, unless it is named like one
 * under migration and would take its place. */
static bool check_created(struct statement *st, const RangeVar *var)
{
	int name;

	if (var == NULL || var->relpersistence == RELPERSISTENCE_TEMP)
		return true;
	name = walk_match(st->req, var);
	if (name < 0 ||
	    statement_action(st, (unsigned)name, USE_DDL) == ACT_PASS)
		return true;
	statement_note(st, (unsigned)name, true);
	return statement_refuse_use(st, (unsigned)name, USE_DDL);
}

static bool unwrap_table_as(struct statement *st)
{
	const CreateTableAsStmt *s = (const CreateTableAsStmt *)st->node;

	if (s->objtype == OBJECT_MATVIEW)
		st->forced = USE_VIEW;
	if (!check_created(st, s->into->rel))
		return false;
	st->node = s->query;
	return true;
}

static bool unwrap_view(struct statement *st)
{
	const ViewStmt *s = (const ViewStmt *)st->node;

	if (!check_created(st, s->view))
		return false;
	st->forced = USE_VIEW;
	st->node = s->query;
	return true;
}

bool utility_unwrap(struct statement *st)
{
	for (;;) {
		if (IsA(st->node, ExplainStmt)) {
			st->explained = true;
			st->node = ((const ExplainStmt *)st->node)->query;
		} else if (IsA(st->node, DeclareCursorStmt)) {
			st->cursor =
			    !(((const DeclareCursorStmt *)st->node)->options &
			      CURSOR_OPT_HOLD);
			st->node = ((const DeclareCursorStmt *)st->node)->query;
		} else if (IsA(st->node, PrepareStmt)) {
			unwrap_prepare(st);
		} else if (IsA(st->node, CopyStmt) &&
			   ((const CopyStmt *)st->node)->query != NULL) {
			st->nested = true;
			st->node = ((const CopyStmt *)st->node)->query;
		} else if (IsA(st->node, CreateTableAsStmt)) {
			if (!unwrap_table_as(st))
				return false;
		} else if (IsA(st->node, ViewStmt)) {
			if (!unwrap_view(st))
				return false;
		} else if (IsA(st->node, SelectStmt) &&
			   ((const SelectStmt *)st->node)->intoClause) {
			return check_created(
			    st,
			    ((const SelectStmt *)st->node)->intoClause->rel);
		} else {
			return true;
		}
	}
}

/* What COPY of a whole relation gives: all columns but the generated ones. */
static const char *copied_columns(const struct lens *l, struct arena *a)
{
	bool generated = false;
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_old; i++) {
		const struct column *c = l->olds[i].column;

		generated |= c->generated != 0;
		if (c->generated == 0)
			sqltext_item(&t, ", ", "%s", quote_name(c->name, a));
	}
	return generated ? t.s : "*";
}

/* COPY inovices (a, b) TO: the list moves in front of FROM. */
static bool copy_through(struct statement *st, const CopyStmt *copy,
			 unsigned name)
{
	struct span span = span_of_relation(st, copy->relation);
	const char *derived = arena_fmt(
	    st->a, "%s AS %s", read_derived(st, name, NULL, false, "", false),
	    quote_name(copy->relation->relname, st->a));

	if (token_is(st->tokens, span.first - 1, "binary"))
		return statement_refuse(st, name, "COPY BINARY",
					"A query cannot be copied so.",
					"Write WITH (FORMAT binary).");
	if (copy->attlist == NIL) {
		statement_replace(
		    st, span,
		    arena_fmt(st->a, "(SELECT %s FROM %s)",
			      copied_columns(statement_lens(st, name), st->a),
			      derived));
		return true;
	}
	span.end++; /* the list's parenthesis */
	statement_replace(st, span, "(SELECT ");
	span.first = span_closing(st, span.end - 1);
	span.end = span.first + 1;
	statement_replace(st, span, arena_fmt(st->a, " FROM %s)", derived));
	return true;
}

static bool plan_copy(struct statement *st)
{
	const CopyStmt *copy = (const CopyStmt *)st->node;
	int name = walk_match(st->req, copy->relation);
	enum use use = copy->is_from ? USE_COPY_IN : USE_READ;
	enum action action;

	if (name < 0)
		return true;
	statement_note(st, (unsigned)name, copy->is_from);
	if (!statement_decide(st, (unsigned)name, use, &action))
		return false;
	st->plan->reads_new |= action == ACT_THROUGH_SHARE;
	if (action == ACT_THROUGH ||
	    (action == ACT_THROUGH_SHARE && st->req->read_new))
		return copy_through(st, copy, (unsigned)name);
	return true;
}

/* Is the name at token i the rule's relation, by its schema or by the
 * session's own resolution? */
static bool is_mention(const struct statement *st, size_t i, unsigned name)
{
	const struct rule_name *n = statement_name(st, name);
	const struct token *v = st->tokens->v;

	if (v[i].kind == TOKEN_UNICODE) /* not decoded here: assume it is */
		return true;
	if (!token_spells(st->sql, &v[i], n->name))
		return false;
	if (i > st->first + 1 && token_is_punct(st->tokens, i - 1, '.'))
		return token_spells(st->sql, &v[i - 2], n->schema);
	return (st->req->hidden >> name & 1) == 0;
}

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

/* Does a string (a function's body) hold the name as a word? */
static bool string_mentions(const struct statement *st, const struct token *t,
			    const char *name)
{
	size_t len = strlen(name);

	for (size_t at = t->from + 1U; at + len < t->to; at++)
		if (strncasecmp(st->sql + at, name, len) == 0 &&
		    !is_word_byte(st->sql[at - 1]) &&
		    !is_word_byte(st->sql[at + len]))
			return true;
	return false;
}

static bool statement_mentions(const struct statement *st, unsigned name,
			       bool in_strings)
{
	const struct token *v = st->tokens->v;

	for (size_t i = st->first; i < st->end; i++) {
		if (is_mention(st, i, name))
			return true;
		if (in_strings && v[i].kind == TOKEN_STRING &&
		    string_mentions(st, &v[i], statement_name(st, name)->name))
			return true;
	}
	return false;
}

/* CREATE TEMPORARY TABLE inovices makes another relation. */
static bool is_temporary(const Node *node)
{
	return IsA(node, CreateStmt) &&
	       ((const CreateStmt *)node)->relation->relpersistence ==
		   RELPERSISTENCE_TEMP;
}

static bool plan_mentions(struct statement *st, enum use use)
{
	enum action action;

	for (unsigned i = 0; i < st->req->rules->n_names; i++) {
		if (!statement_mentions(st, i, use == USE_CODE))
			continue;
		statement_note(st, i, true);
		if (!statement_decide(st, i, use, &action))
			return false;
	}
	return true;
}

bool utility_plan(struct statement *st)
{
	enum use use = utility_use(st->node);

	if (IsA(st->node, CopyStmt))
		return plan_copy(st);
	if (utility_lists_relations(st->node))
		return utility_plan_list(st);
	if (use == USE_COUNT || is_temporary(st->node))
		return true;
	return plan_mentions(st, use);
}

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

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

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

/* COPY BINARY inovices TO: with a query it is an option. */
static void move_binary(struct statement *st, size_t word)
{
	size_t last = st->end - 1;

	statement_replace(st, (struct span){word, word + 1}, "");
	if (token_is_punct(st->tokens, last, ')'))
		statement_insert_before(st, last, ", FORMAT binary");
	else
		statement_insert_after(st, last, " BINARY");
}

/* [USING] DELIMITERS 'x', which a query cannot have. */
static void rename_delimiters(struct statement *st, size_t from)
{
	size_t at = span_find_word(st, from, "delimiters");
	size_t first = at;

	if (at >= st->end)
		return;
	if (token_is(st->tokens, at - 1, "using"))
		first--;
	if (token_is(st->tokens, at + 2, "with"))
		statement_replace(st, (struct span){at + 2, at + 3}, "");
	statement_replace(st, (struct span){first, at + 1}, "DELIMITER");
}

/* In the server's words: COPY has them neither way. */
static bool check_copied(struct statement *st, const struct relation *r,
			 const CopyStmt *copy)
{
	struct problem *p = &st->plan->refusal;
	ListCell *cell;

	foreach (cell, copy->attlist) {
		const char *name = strVal(lfirst(cell));
		const struct column *c = relation_find_column(r, name);

		if (c == NULL || c->generated == 0)
			continue;
		problem_set(p, "42P10", "column \"%s\" is a generated column",
			    name);
		problem_detail(p, "Generated columns cannot be used in COPY.");
		return false;
	}
	return true;
}

/* COPY inovices (a, b) TO: the list moves in front of FROM. */
static bool copy_through(struct statement *st, const CopyStmt *copy,
			 unsigned name)
{
	struct span span = span_of_relation(st, copy->relation);
	const struct lens *l = statement_lens(st, name);
	const char *derived =
	    arena_fmt(st->a, "%s AS %s",
		      l->child != NULL
			  ? child_derived(l, false, "", CHILD_JOIN, st->a)
			  : read_derived(st, name, NULL, "", false, "", false),
		      quote_name(copy->relation->relname, st->a));

	if (!check_copied(st, l->old, copy))
		return false;
	if (token_is(st->tokens, span.first - 1, "binary"))
		move_binary(st, span.first - 1);
	rename_delimiters(st, span.end);
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

static bool refuse_copy(struct statement *st, unsigned name, const char *what,
			const char *hint)
{
	return statement_refuse(
	    st, name, what,
	    "Its rows are written by a trigger of pgtandem, one by one, where "
	    "this has no counterpart.",
	    hint);
}

static bool grants_columns(const struct relation *r)
{
	for (size_t i = 0; i < r->n_grants; i++)
		if (r->grants[i].column != NULL &&
		    strcmp(r->grants[i].privilege, "INSERT") == 0)
			return true;
	return false;
}

static bool copy_in_check(struct statement *st, const CopyStmt *copy,
			  unsigned name)
{
	const struct rule_name *n = statement_name(st, name);
	const struct lens *l = statement_lens(st, name);
	const struct relation *r = statement_shape(st, name) == SHAPE_OLD
				       ? l->old
				   : l->child != NULL ? l->child->relation
						      : l->new;
	ListCell *cell;

	if (n->decider != n->migration)
		return refuse_copy(st, name, "COPY FROM", "Use INSERT.");
	if (grants_columns(r))
		return refuse_copy(st, name,
				   "COPY FROM where INSERT is granted on "
				   "single columns",
				   "Use INSERT, or GRANT it on the table.");
	foreach (cell, copy->options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, "freeze") == 0)
			return refuse_copy(st, name, "COPY FROM with FREEZE",
					   "Leave FREEZE out.");
	return check_copied(st, r, copy);
}

/* WHERE: inovices.id is id, for the view has another name.  False: the row
 * itself, or a system column. */
static bool copy_in_where(struct statement *st, const char *relation,
			  size_t where)
{
	const struct token *v = st->tokens->v;
	size_t first;

	for (size_t i = where; i < st->end; i++) {
		if (token_is(st->tokens, i, "tableoid"))
			return false;
		if (!token_spells(st->sql, &v[i], relation))
			continue;
		if (!token_is_punct(st->tokens, i + 1, '.'))
			return false;
		first = token_is_punct(st->tokens, i - 1, '.') ? i - 2 : i;
		edit_replace(st->edits, v[first].from, v[i + 2].from, "");
	}
	return true;
}

/* Behind the client's own condition, if there is one. */
void copy_fence(struct statement *st, const CopyStmt *copy, unsigned name)
{
	const struct rule_migration *m = statement_migration(st, name);
	size_t where = span_find_word(
	    st, span_of_relation(st, copy->relation).end, "where");
	const char *fence = arena_fmt(st->a, "pgtandem.copy_is_at(%s, %llu)",
				      quote_text(m->spec->name, st->a),
				      (unsigned long long)m->epoch);

	if (copy->whereClause == NULL) {
		statement_insert_after(st, st->end - 1,
				       arena_fmt(st->a, " WHERE %s", fence));
		return;
	}
	statement_insert_before(st, where + 1, "(");
	statement_insert_after(st, st->end - 1,
			       arena_fmt(st->a, ") AND %s", fence));
}

/* The rows go into one of the lens's views for it (rewrite/ddl/ddl_copy.c). */
static bool copy_in(struct statement *st, const CopyStmt *copy, unsigned name,
		    enum action action)
{
	struct span span = span_of_relation(st, copy->relation);
	size_t where = span_find_word(st, span.end, "where");
	const char *what = action == ACT_LENS			    ? "lens"
			   : action == ACT_LENS_SYNC		    ? "both"
			   : statement_shape(st, name) == SHAPE_OLD ? "old"
								    : "new";

	if (!copy_in_check(st, copy, name))
		return false;
	if (copy->whereClause != NULL &&
	    !copy_in_where(st, copy->relation->relname, where + 1))
		return refuse_copy(st, name,
				   "COPY FROM with the whole row or a system "
				   "column in WHERE",
				   "Name the columns.");
	statement_replace(st, span,
			  copy_view(statement_lens(st, name), what, st->a));
	if (action != ACT_LENS)
		copy_fence(st, copy, name);
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
	if (copy->is_from && (action == ACT_HIDE || action == ACT_HIDE_SYNC))
		return copy_in_hide(st, copy, (unsigned)name, action);
	if (copy->is_from && action != ACT_PASS)
		return copy_in(st, copy, (unsigned)name, action);
	st->plan->reads_new |= action == ACT_THROUGH_SHARE;
	if (action == ACT_THROUGH_SHARE && !st->req->read_new)
		action = statement_action(st, (unsigned)name, USE_BESIDE);
	if (action == ACT_HIDE)
		return copy_hide(st, copy, (unsigned)name);
	if (action == ACT_THROUGH || action == ACT_THROUGH_SHARE)
		return copy_through(st, copy, (unsigned)name);
	return true;
}

/* Has the name at token i a schema's before it? */
static bool has_schema(const struct statement *st, size_t i)
{
	return i > st->first + 1 && token_is_punct(st->tokens, i - 1, '.');
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
	if (has_schema(st, i))
		return token_spells(st->sql, &v[i - 2], n->schema);
	return !names_hide(st->req->names, name);
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

/* DROP INDEX and its like name an index without its table; CREATE INDEX may
 * give its name to another. */
static bool is_of_index(const Node *node)
{
	if (IsA(node, IndexStmt))
		return true;
	if (IsA(node, DropStmt))
		return ((const DropStmt *)node)->removeType == OBJECT_INDEX;
	if (IsA(node, RenameStmt))
		return ((const RenameStmt *)node)->renameType == OBJECT_INDEX;
	if (IsA(node, AlterTableStmt))
		return ((const AlterTableStmt *)node)->objtype == OBJECT_INDEX;
	return IsA(node, AlterObjectDependsStmt) &&
	       ((const AlterObjectDependsStmt *)node)->objectType ==
		   OBJECT_INDEX;
}

/* The path may find another index of that name first: whoever means that one
 * is told to say so. */
static bool statement_has_index(const struct statement *st,
				const struct relation *r, const char *index)
{
	const struct token *v = st->tokens->v;

	for (size_t i = st->first; i < st->end; i++)
		if (token_spells(st->sql, &v[i], index) &&
		    (!has_schema(st, i) ||
		     token_spells(st->sql, &v[i - 2], r->schema)))
			return true;
	return false;
}

static bool names_index_of(const struct statement *st, const struct relation *r)
{
	bool any = false;

	for (size_t i = 0; i < r->n_indexes; i++)
		any |= statement_has_index(st, r, r->indexes[i].name);
	for (size_t i = 0; i < r->n_constraints; i++)
		any |= constraint_has_index(&r->constraints[i]) &&
		       statement_has_index(st, r, r->constraints[i].name);
	return any;
}

static bool plan_index(struct statement *st)
{
	const struct ruleset *rules = st->req->rules;
	enum action action;

	for (unsigned i = 0; i < rules->n_names; i++) {
		if (!names_index_of(st, rule_relation(rules, &rules->names[i])))
			continue;
		statement_note(st, i, true);
		if (!statement_decide(st, i, USE_DDL, &action))
			return false;
	}
	return true;
}

/* COMMENT ON COLUMN t.a: kinds that keep the table have not kept it. */
static bool tends_gone_column(const struct statement *st, unsigned name)
{
	const CommentStmt *s = (const CommentStmt *)st->node;

	return IsA(s, CommentStmt) && s->objtype == OBJECT_COLUMN &&
	       statement_shape(st, name) == SHAPE_OLD &&
	       statement_migration(st, name)->phase == PHASE_CONTRACTED &&
	       !lens_has_same_column(statement_lens(st, name),
				     strVal(llast(castNode(List, s->object))));
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
		if (tends_gone_column(st, i))
			return statement_refuse_use(st, i, use);
	}
	return true;
}

static bool decide_definition(struct statement *st, const RangeVar *var,
			      bool only_shared)
{
	int name = walk_match(st->req, var);
	enum action action;

	if (name < 0 ||
	    (only_shared && !statement_name(st, (unsigned)name)->shared))
		return true;
	statement_note(st, (unsigned)name, true);
	return statement_decide(st, (unsigned)name, USE_DDL, &action);
}

/* A child's rows are the relation's too.  LIKE has the old columns of one that
 * keeps its own. */
static bool plan_temporary(struct statement *st)
{
	const CreateStmt *create = (const CreateStmt *)st->node;
	ListCell *cell;

	foreach (cell, create->inhRelations)
		if (!decide_definition(st, lfirst_node(RangeVar, cell), false))
			return false;
	foreach (cell, create->tableElts)
		if (IsA(lfirst(cell), TableLikeClause) &&
		    !decide_definition(
			st, lfirst_node(TableLikeClause, cell)->relation, true))
			return false;
	return true;
}

static bool plan_call(struct statement *st)
{
	walk_statement(st->req, (Node *)((const CallStmt *)st->node)->funccall,
		       false, st->a, &st->found);
	return texts_check(st);
}

bool utility_plan(struct statement *st)
{
	enum use use = utility_use(st->node);

	if (IsA(st->node, CallStmt))
		return plan_call(st);
	if (IsA(st->node, CopyStmt))
		return plan_copy(st);
	if (utility_lists_relations(st->node))
		return utility_plan_list(st);
	if (utility_switches_triggers(st->node))
		return utility_plan_switch(st);
	if (use == USE_COUNT)
		return true;
	if (is_of_index(st->node) && !plan_index(st))
		return false;
	if (is_temporary(st->node))
		return plan_temporary(st);
	return plan_mentions(st, use);
}

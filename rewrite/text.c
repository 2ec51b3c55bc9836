/*
 * Statements in strings: ts_stat('SELECT ...'), query_to_xml, crosstab, and
 * any function of the team's own that runs what it is given.  The server runs
 * them as they stand, so where the old relation is not what they should use,
 * they are refused; but a query that one of PostgreSQL's own functions runs is
 * rewritten like any other.
 *
 * A string counts as a statement if it parses as one that uses a relation
 * under migration.  What comes as a parameter or is put together is not seen.
 */
#include "rewrite/statement.h"

#include <string.h>

#include <pg_query.h>
#include <pg_query/pg_query_internal.h>

/* Functions that only look at a text. */
/* clang-format off */
static const char *const looking[] = {
	"btrim", "concat", "concat_ws", "format", "hashtext", "left", "length",
	"lower", "md5", "pg_notify", "quote_literal", "replace", "right",
	"sha256", "strpos", "substr", "substring", "to_json", "to_jsonb",
	"to_tsvector", "upper",
};

/* Those that run a query, in the session's own names, and nothing else. */
static const char *const running[] = {
	"query_to_xml", "query_to_xml_and_xmlschema", "query_to_xmlschema",
	"ts_rewrite", "ts_stat",
};

/* Those that read the relation that they are told the name of. */
static const char *const reading[] = {
	"table_to_xml", "table_to_xml_and_xmlschema",
};
/* clang-format on */

static bool is_one_of(const FuncCall *call, const char *const *names, size_t n)
{
	const char *name = strVal(llast(call->funcname));

	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static bool refuse_if(struct statement *st, unsigned name, enum use use)
{
	return statement_action(st, name, use) != ACT_REFUSE ||
	       statement_refuse_use(st, name, use);
}

static bool check_found(struct statement *st, const struct found *found)
{
	for (size_t i = 0; i < found->n_refs; i++) {
		const struct ref *ref = found->refs[i];

		if (!refuse_if(st, ref->name,
			       ref->is_target ? USE_CODE : USE_TEXT))
			return false;
	}
	return true;
}

/* What EXPLAIN, which shows no rows, holds is run by EXPLAIN ANALYZE. */
static Node *without_explain(Node *node)
{
	return IsA(node, ExplainStmt) ? ((ExplainStmt *)node)->query : node;
}

static bool check_statements(struct statement *st, const List *tree)
{
	struct found *found = arena_alloc(st->a, sizeof(*found));
	ListCell *cell;

	foreach (cell, tree) {
		walk_statement(
		    st->req, without_explain(lfirst_node(RawStmt, cell)->stmt),
		    false, st->a, found);
		if (!check_found(st, found))
			return false;
	}
	return true;
}

/* The string's token, if it says what it says without escapes. */
static bool is_plain_text(const struct statement *st, const struct text_use *t,
			  struct span *ret)
{
	size_t at = tokens_find(st->tokens, (uint32_t)t->location);

	*ret = (struct span){at, at + 1};
	return strchr(t->text, '\\') == NULL && at < st->end &&
	       strcmp(statement_text(st, *ret), quote_text(t->text, st->a)) ==
		   0;
}

static bool is_query(const List *tree)
{
	return list_length(tree) == 1 &&
	       IsA(linitial_node(RawStmt, tree)->stmt, SelectStmt);
}

/* Is it run by a function that is known, so that it can be rewritten? */
static bool rewrite_text(struct statement *st, const struct text_use *t,
			 const List *tree)
{
	struct rewrite_request req = *st->req;
	const struct plan *plan;
	struct span span;

	if (!is_one_of(t->call, running, sizeof(running) / sizeof(*running)) ||
	    !is_query(tree) || !is_plain_text(st, t, &span))
		return false;
	req.sql = t->text;
	req.len = strlen(t->text);
	plan = rewrite_plan(&req, st->a);
	if (plan->kind == PLAN_REFUSE || plan->writes != 0)
		return false;
	statement_note_plan(st, plan);
	if (plan->kind == PLAN_EDIT)
		statement_replace(st, span, quote_text(plan->text, st->a));
	return true;
}

static bool check_text(struct statement *st, const struct text_use *t,
		       const char *text)
{
	MemoryContext context = pg_query_enter_memory_context();
	PgQueryInternalParsetreeAndError result = pg_query_raw_parse(text);
	bool fine = result.error != NULL || rewrite_text(st, t, result.tree) ||
		    check_statements(st, result.tree);

	free(result.stderr_buffer);
	if (result.error != NULL)
		pg_query_free_error(result.error);
	pg_query_exit_memory_context(context);
	return fine;
}

/* "inovices", for a regclass. */
static bool check_name(struct statement *st, const struct text_use *t)
{
	return check_text(st, t, arena_fmt(st->a, "TABLE %s", t->text));
}

bool texts_check(struct statement *st)
{
	for (const struct text_use *t = st->found.texts; t != NULL;
	     t = t->next) {
		if (is_one_of(t->call, looking,
			      sizeof(looking) / sizeof(*looking)))
			continue;
		if (is_one_of(t->call, reading,
			      sizeof(reading) / sizeof(*reading))
			? !check_name(st, t)
			: !check_text(st, t, t->text))
			return false;
	}
	return true;
}

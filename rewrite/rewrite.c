/*
 * The engine, from the outside in:
 *
 *   1. pre-filter: does the text name anything under migration at all?
 *   2. limits: one scan with our own lexer; too large or too deep is refused
 *   3. parse, in the parser library's memory, dropped at the end; a text in
 *      newer grammar by its stand-in (text/newer.h)
 *   4. per statement: unwrap (utility.c), find what it uses (walk.c), look up
 *      what the phase does to each use (policy.c), edit (read.c, write_*.c)
 *   5. apply the edits, and parse what came out
 *
 * All that a plan keeps is in the caller's arena.
 */
#include "rewrite/rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <postgres.h>
#include <pg_query.h>
#include <pg_query/pg_query_internal.h>

#include "rewrite/text/filter.h"
#include "rewrite/text/limits.h"
#include "rewrite/read/origin.h"
#include "rewrite/statement.h"
#include "rewrite/text/newer.h"

struct text {
	const struct rewrite_request *req;
	const char *sql;
	size_t len;
	struct arena *a;
	struct limits limits;
	struct tokens tokens;
	struct edits edits;
	struct plan *plan;
};

static bool refs_decide(struct statement *st);
static bool refs_edit(struct statement *st);

/* READ becomes BESIDE where the statement also writes or locks rows of the
 * same migration, and in a cursor, which WHERE CURRENT OF may name. */
static uint64_t strong_uses(const struct statement *st)
{
	uint64_t strong = 0;

	for (size_t i = 0; i < st->found.n_refs; i++) {
		const struct ref *ref = st->found.refs[i];

		if (ref->use != USE_READ)
			strong |= UINT64_C(1)
				  << statement_name(st, ref->name)->decider;
	}
	return strong;
}

static bool ref_decide(struct statement *st, struct ref *ref)
{
	if (!statement_decide(st, ref->name, ref->use, &ref->action))
		return false;
	if (ref->action == ACT_THROUGH_SHARE) {
		st->plan->reads_new = true;
		ref->action = st->req->read_new
				  ? ACT_THROUGH
				  : statement_action(st, ref->name, USE_BESIDE);
	}
	return true;
}

static bool refs_decide(struct statement *st)
{
	uint64_t strong = strong_uses(st);

	for (size_t i = 0; i < st->found.n_refs; i++) {
		struct ref *ref = st->found.refs[i];
		unsigned migration = statement_name(st, ref->name)->decider;

		statement_note(st, ref->name, ref->is_target);
		if (st->forced != USE_COUNT)
			ref->use = st->forced;
		else if (ref->use == USE_READ &&
			 (st->cursor || (strong >> migration & 1)))
			ref->use = USE_BESIDE;
		if (!ref_decide(st, ref))
			return false;
		ref->direct =
		    ref->is_target &&
		    (ref->action == ACT_HIDE || ref->action == ACT_HIDE_SYNC) &&
		    hide_is_direct(st, ref);
	}
	return true;
}

static bool write_edit(struct statement *st, const struct ref *target)
{
	struct statement part;

	write_part(st, target, &part);
	if (target->action == ACT_HIDE || target->action == ACT_HIDE_SYNC)
		return write_hide(&part, target);
	return target->action == ACT_SYNC ? write_sync(&part, target)
					  : write_lens(&part, target);
}

static bool ref_edit(struct statement *st, const struct ref *ref)
{
	switch (ref->action) {
	case ACT_PASS:
		return true;
	case ACT_HIDE:
		return ref->is_target ? write_edit(st, ref)
				      : read_through(st, ref);
	case ACT_THROUGH:
		return read_through(st, ref);
	case ACT_HIDE_SYNC:
	case ACT_SYNC:
	case ACT_LENS:
	case ACT_LENS_SYNC:
		return write_edit(st, ref);
	case ACT_UNSET:
	case ACT_SYNC_MERGE:
	case ACT_THROUGH_SHARE: /* decided */
	case ACT_BOTH:		/* of relations in a list */
	case ACT_BOTH_BEFORE:
	case ACT_OTHER:
	case ACT_REFUSE:
		break;
	}
	abort();
}

/* alias.* of a write's RETURNING list is spelled out in write_returning.c. */
static bool is_returned(const struct ref *target, const ColumnRef *node)
{
	ListCell *cell;

	foreach (cell, write_returning(target->write))
		if (lfirst_node(ResTarget, cell)->val == (const Node *)node)
			return true;
	return false;
}

/* schema.relation.column: the relation has only an alias now. */
static void cut_schema(struct statement *st, const ColumnRef *node)
{
	size_t first = tokens_find(st->tokens, (uint32_t)node->location);
	size_t at = first;

	for (int n = list_length(node->fields); n > 2; n--)
		at = span_name_end(st, at) + 1;
	edit_replace(st->edits, st->tokens->v[first].from,
		     st->tokens->v[at].from, "");
}

/*
 * OLD and NEW of a write through a lens are rows of the view that it is sent
 * to: with the same columns, and some more.  What is not one statement on one
 * row there has other rows.
 */
static bool returned_check(struct statement *st, const struct column_use *use)
{
	const struct ref *ref = use->ref;
	enum lens_kind kind = statement_lens(st, ref->name)->kind;
	bool hides = ref->action == ACT_HIDE || ref->action == ACT_HIDE_SYNC;

	if ((hides || kind == LENS_TABLE || kind == LENS_COLUMNS) &&
	    (use->kind == COLUMN_RETURNED ||
	     (use->kind == COLUMN_STAR && is_returned(ref, use->node))))
		return true;
	return statement_refuse(
	    st, ref->name, "such a use of OLD or NEW in RETURNING",
	    "The row is written through the lens, where this is another one.",
	    "Name a column of it, or SELECT it beside the write.");
}

static bool column_check(struct statement *st, const struct column_use *use)
{
	const struct ref *ref = use->ref;

	if (use->returned)
		return returned_check(st, use);
	switch (use->kind) {
	case COLUMN_SYSTEM:
		return system_column(st, use);
	case COLUMN_STAR:
		if (ref->is_target && is_returned(ref, use->node))
			return true;
		return whole_row(st, use);
	case COLUMN_WHOLE_ROW:
		return whole_row(st, use);
	case COLUMN_QUALIFIED:
		cut_schema(st, use->node);
		return true;
	case COLUMN_RETURNED: /* checked */
		break;
	}
	abort();
}

static bool columns_check(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_columns; i++)
		if (ref_is_replaced(st->found.columns[i].ref) &&
		    !column_check(st, &st->found.columns[i]))
			return false;
	return true;
}

static bool refs_edit(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_refs; i++)
		if (!ref_edit(st, st->found.refs[i]))
			return false;
	read_groups(st);
	return true;
}

static bool is_query(const Node *node)
{
	return IsA(node, SelectStmt) || IsA(node, InsertStmt) ||
	       IsA(node, UpdateStmt) || IsA(node, DeleteStmt) ||
	       IsA(node, MergeStmt);
}

bool statement_plan_query(struct statement *st)
{
	walk_statement(st->req, st->node, st->nested, st->a, &st->found);
	if (st->found.over) {
		problem_set(&st->plan->refusal, "54001",
			    "pgtandem: statement "
			    "on a relation under migration is too complex");
		problem_detail(&st->plan->refusal,
			       "It names relations under "
			       "migration in more than %d places, or refers "
			       "to them by their rows in more than %d.",
			       WALK_MAX_REFS, WALK_MAX_COLUMNS);
		return false;
	}
	if (!texts_check(st) || !refs_decide(st) || !row_type_check(st) ||
	    !columns_check(st) || !system_columns_spell(st) ||
	    !child_check_writes(st))
		return false;
	lookup_add(st);
	origin_plan(st);
	return refs_edit(st);
}

/* The client's statement, and ours beside it. */
static void count_statement(struct plan *plan, enum aside aside)
{
	struct plan_stmt *at = (struct plan_stmt *)plan->stmts + plan->n_stmts;

	plan->n_stmts += aside == ASIDE_NONE ? 1 : 2;
	if (aside == ASIDE_BEHIND)
		at[1].ours = true;
	if (aside == ASIDE_BEFORE) {
		at[1] = at[0];
		at[0] = (struct plan_stmt){.ours = true};
	}
}

static bool plan_statement(struct text *t, const RawStmt *raw)
{
	struct plan_stmt *results = (struct plan_stmt *)t->plan->stmts;
	uint32_t from = (uint32_t)raw->stmt_location;
	uint32_t to = raw->stmt_len > 0 ? from + (uint32_t)raw->stmt_len
					: (uint32_t)t->len;
	struct statement st = {
	    .req = t->req,
	    .sql = t->sql,
	    .a = t->a,
	    .tokens = &t->tokens,
	    .first = tokens_find(&t->tokens, from),
	    .end = tokens_find(&t->tokens, to),
	    .edits = &t->edits,
	    .plan = t->plan,
	    .result = &results[t->plan->n_stmts],
	    .node = raw->stmt,
	    .flags = t->req->flags,
	    .forced = USE_COUNT,
	};

	if (!utility_unwrap(&st))
		return false;
	if (is_query(st.node) ? !statement_plan_query(&st) : !utility_plan(&st))
		return false;
	count_statement(t->plan, st.aside);
	return true;
}

static bool plan_statements(struct text *t, const List *tree)
{
	size_t most = 2 * (size_t)list_length(tree) + 1;
	ListCell *cell;

	t->plan->stmts = arena_alloc(t->a, most * sizeof(*t->plan->stmts));
	tokens_scan(t->sql, t->len, t->limits.n_tokens, t->a, &t->tokens);
	edits_init(&t->edits, t->a);
	foreach (cell, tree)
		if (!plan_statement(t, lfirst_node(RawStmt, cell)))
			return false;
	return true;
}

struct parse {
	MemoryContext context;
	PgQueryInternalParsetreeAndError result;
};

static bool parse_begin(const char *sql, struct parse *ret)
{
	ret->context = pg_query_enter_memory_context();
	ret->result = pg_query_raw_parse(sql);
	return ret->result.error == NULL;
}

static void parse_end(struct parse *parse)
{
	free(parse->result.stderr_buffer);
	if (parse->result.error != NULL)
		pg_query_free_error(parse->result.error);
	pg_query_exit_memory_context(parse->context);
}

/* As it is, or what can stand for it. */
static bool text_parse_begin(const struct text *t, const char *sql, size_t len,
			     struct parse *ret)
{
	const char *stand_in;

	if (parse_begin(sql, ret))
		return true;
	stand_in =
	    newer_stand_in(sql, len, t->req->rules->server_version, t->a);
	if (stand_in == NULL)
		return false;
	parse_end(ret);
	return parse_begin(stand_in, ret);
}

static void our_bug(struct plan *plan, const char *what, const char *text)
{
	plan->kind = PLAN_REFUSE;
	plan->text = NULL;
	plan->len = 0;
	problem_set(&plan->refusal, "XX000",
		    "pgtandem: this statement could "
		    "not be rewritten: %s",
		    what);
	problem_detail(&plan->refusal, "%.900s", text);
	problem_hint(&plan->refusal,
		     "This is a fault of pgtandem; please "
		     "report the statement.  Another form of it may work.");
}

/* What was made must be what the server reads, or nothing is sent. */
static void apply_edits(struct text *t)
{
	struct parse parse;

	if (t->edits.n == 0) {
		t->plan->kind = PLAN_PASS;
		return;
	}
	t->plan->kind = PLAN_EDIT;
	if (!edits_apply(&t->edits, t->sql, t->len, t->plan)) {
		our_bug(t->plan, "two edits overlap", t->sql);
		return;
	}
	if (!text_parse_begin(t, t->plan->text, t->plan->len, &parse))
		our_bug(t->plan, parse.result.error->message, t->plan->text);
	parse_end(&parse);
}

/* May the text name it, as far as tokens tell? */
static bool is_named(const struct text *t, size_t i)
{
	return t->limits.unicode || name_set_has(&t->limits.named, i);
}

/* The first word's tokens of a definition, where they are not read. */
static bool is_definition(const struct text *t)
{
	static const char *const words[] = {"alter", "create", "drop"};
	struct tokens tokens;

	tokens_scan(t->sql, t->len, t->limits.n_tokens, t->a, &tokens);
	for (size_t i = 0; i < tokens.n; i++)
		for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++)
			if ((i == 0 || tokens.v[i - 1].punct == ';') &&
			    token_is(&tokens, i, words[w]))
				return true;
	return false;
}

static bool needs_reading(const struct text *t, const struct rule_name *n,
			  bool definition)
{
	const struct rule_migration *m =
	    &t->req->rules->migrations[n->migration];
	enum lens_kind kind = m->lenses[n->lens]->kind;
	enum shape shape = rule_name_shape(n, t->req->names);

	if (shape != SHAPE_OLD && !n->shared)
		return false;
	return policy_needs_rewriting(kind, m->phase, shape) ||
	       (definition &&
		policy_action(kind, m->phase, shape, USE_DDL) != ACT_PASS);
}

/*
 * The server may know newer syntax than the parser, so that a text that does
 * not parse is sent where nothing would have to be done to it.  Elsewhere the
 * server is asked whether it reads it: if not, its error is the client's.  Of
 * what only breaks off it could not tell, with the poison behind.
 */
static void refuse_unparsed(struct text *t, const PgQueryError *error)
{
	static const char at_end[] = "syntax error at end of input";
	struct problem *p = &t->plan->refusal;
	bool definition = is_definition(t);
	uint32_t position =
	    error->cursorpos > 0 ? (uint32_t)error->cursorpos : 0;

	t->plan->kind = PLAN_PASS;
	for (unsigned i = 0; i < t->req->rules->n_names; i++) {
		const struct rule_name *n = &t->req->rules->names[i];

		if (!is_named(t, i) || !needs_reading(t, n, definition))
			continue;
		t->plan->kind = PLAN_REFUSE;
		if (strcmp(error->message, at_end) == 0) {
			problem_set(p, "42601", "%s", at_end);
			p->position = position;
			return;
		}
		t->plan->unread = true;
		t->plan->text = arena_fmt(t->a, "%s\n;" PLAN_POISON, t->sql);
		t->plan->len = strlen(t->plan->text);
		problem_set(p, "0A000",
			    "pgtandem: a statement on relation \"%s\" is not "
			    "in PostgreSQL 15's grammar: %s",
			    n->name, error->message);
		problem_detail(
		    p,
		    "Relation \"%s\" is under migration \"%s\", so that "
		    "the statement has to be read.",
		    n->name,
		    t->req->rules->migrations[n->migration].spec->name);
		problem_hint(p, "Say it without what is newer.");
		p->position = position;
		return;
	}
}

/* Where the text may name something that has to be rewritten: the name that
 * it spells, or, as escapes may spell it, any. */
static const struct rule_name *rewritten_name(const struct text *t)
{
	const struct ruleset *rules = t->req->rules;
	const struct rule_name *any = NULL;

	for (unsigned i = 0; i < rules->n_names; i++) {
		const struct rule_name *n = &rules->names[i];
		const struct rule_migration *m =
		    &rules->migrations[n->migration];
		enum shape shape = rule_name_shape(n, t->req->names);

		if (!policy_needs_rewriting(m->lenses[n->lens]->kind, m->phase,
					    shape) ||
		    (shape == SHAPE_NEW && m->phase < PHASE_WRITE_NEW))
			continue;
		if (text_names(t->sql, n->name))
			return n;
		if (strpbrk(n->name, "\"") || strcasestr(t->sql, "u&\""))
			any = n;
	}
	return any;
}

static const char *find_wide(const char *s)
{
	while (*s != '\0' && (unsigned char)*s < 0x80)
		s++;
	return *s != '\0' ? s : NULL;
}

/* Where strings and characters end depends on settings of the session, for
 * which neither our lexer nor the parser has a place. */
static bool refuse_unreadable(struct text *t)
{
	struct problem *p = &t->plan->refusal;
	bool backslash = (t->req->flags & REQUEST_BACKSLASHES) != 0 &&
			 strchr(t->sql, '\\') != NULL;
	bool wide =
	    (t->req->flags & REQUEST_WIDE) != 0 && find_wide(t->sql) != NULL;
	const struct rule_name *name;

	if ((!backslash && !wide) || (name = rewritten_name(t)) == NULL)
		return false;
	t->plan->kind = PLAN_REFUSE;
	problem_set(p, "0A000",
		    backslash ? "pgtandem: a statement with a backslash "
				"cannot be read while "
				"standard_conforming_strings is off"
			      : "pgtandem: a statement with characters "
				"outside ASCII cannot be read in this "
				"client_encoding");
	problem_detail(p,
		       "It mentions relation \"%s\", which is under "
		       "migration \"%s\", and has to be read to be "
		       "rewritten.",
		       name->name,
		       t->req->rules->migrations[name->migration].spec->name);
	problem_hint(p, backslash
			    ? "SET standard_conforming_strings = on and write "
			      "E'...' where a backslash is an escape, or pass "
			      "the value as a parameter."
			    : "SET client_encoding = UTF8, or pass the value "
			      "as a parameter.");
	return true;
}

static void plan_text(struct text *t)
{
	struct parse parse;

	if (!text_parse_begin(t, t->sql, t->len, &parse))
		refuse_unparsed(t, parse.result.error);
	else if (plan_statements(t, parse.result.tree))
		apply_edits(t);
	else
		t->plan->kind = PLAN_REFUSE;
	parse_end(&parse);
}

const struct plan *rewrite_plan(const struct rewrite_request *req,
				struct arena *a)
{
	struct plan *plan = arena_alloc(a, sizeof(*plan));
	struct text t = {.req = req, .a = a, .plan = plan};

	plan->kind = PLAN_PASS;
	t.len = strnlen(req->sql, req->len);
	if (!ruleset_mentions(req->rules, req->sql, t.len))
		return plan;
	if (req->flags & (REQUEST_BACKSLASHES | REQUEST_WIDE)) {
		t.sql = arena_dup(a, req->sql, t.len);
		if (refuse_unreadable(&t))
			return plan;
	}
	limits_scan(req->sql, t.len, req->rules, &t.limits);
	if (!t.limits.any_named && !t.limits.unicode &&
	    (t.limits.over || !t.limits.strings))
		return plan;
	if (t.limits.over) {
		plan->kind = PLAN_REFUSE;
		plan->refusal = t.limits.problem;
		return plan;
	}
	t.sql = arena_dup(a, req->sql, t.len);
	plan_text(&t);
	return plan;
}

void rewrite_thread_end(void)
{
	/* Of other threads the library takes care when they end. */
	if (gettid() == getpid())
		pg_query_exit();
}

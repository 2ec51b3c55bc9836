/*
 * What the parts of the engine share: who a reference is, where its tokens
 * are, how an edit is noted, how a refusal reads.
 */
#include "rewrite/statement.h"

#include <string.h>

const struct rule_name *statement_name(const struct statement *st,
				       unsigned name)
{
	return &st->req->rules->names[name];
}

const struct rule_migration *statement_migration(const struct statement *st,
						 unsigned name)
{
	return statement_name(st, name)->rule;
}

const struct lens *statement_lens(const struct statement *st, unsigned name)
{
	return statement_name(st, name)->through;
}

enum shape statement_shape(const struct statement *st, unsigned name)
{
	return rule_name_shape(statement_name(st, name), st->req->names);
}

bool statement_prelocks(const struct statement *st, unsigned name)
{
	return statement_migration(st, name)->prelock &&
	       statement_lens(st, name)->kind != LENS_COLUMNS;
}

/* In a table that is both models the trigger takes who writes the new columns
 * for a statement through the lens while others may still write the old. */
static bool comes_too_early(const struct statement *st, unsigned name)
{
	const struct rule_migration *m = statement_migration(st, name);

	return statement_shape(st, name) == SHAPE_NEW &&
	       (m->phase < PHASE_WRITE_NEW ||
		(m->phase == PHASE_WRITE_NEW && m->prelock &&
		 statement_lens(st, name)->kind == LENS_COLUMNS));
}

static enum action policy_of(const struct statement *st, unsigned name,
			     enum use use)
{
	enum phase phase = statement_migration(st, name)->phase;

	if (statement_name(st, name)->broken != NULL)
		return ACT_REFUSE;
	if (phase == PHASE_WRITE_NEW && comes_too_early(st, name))
		phase = PHASE_READ_NEW;
	/* What stays of it, seen without the columns that move. */
	if (statement_lens(st, name)->kind == LENS_CHILD &&
	    statement_name(st, name)->shared &&
	    statement_shape(st, name) == SHAPE_NEW)
		return policy_action(LENS_COLUMNS, phase, SHAPE_NEW, use);
	return policy_action(statement_lens(st, name)->kind, phase,
			     statement_shape(st, name), use);
}

enum action statement_action(const struct statement *st, unsigned name,
			     enum use use)
{
	enum action action = policy_of(st, name, use);

	if (action != ACT_SYNC_MERGE)
		return action;
	return st->req->rules->server_version >= SERVER_MERGE_RETURNING &&
		       !statement_prelocks(st, name)
		   ? ACT_SYNC
		   : ACT_REFUSE;
}

static void note_migrations(struct statement *st, uint64_t bits)
{
	for (unsigned i = 0; i < st->req->rules->n_migrations; i++)
		if (bits >> i & ~st->plan->migrations >> i & 1)
			st->plan->epoch_sum +=
			    st->req->rules->migrations[i].epoch;
	st->plan->migrations |= bits;
}

void statement_note_plan(struct statement *st, const struct plan *inner)
{
	note_migrations(st, inner->migrations);
	st->plan->old_shape |= inner->old_shape;
	st->plan->new_shape |= inner->new_shape;
	st->plan->reads_new |= inner->reads_new;
	st->plan->halves[0] |= inner->halves[0];
	st->plan->halves[1] |= inner->halves[1];
}

void statement_note(struct statement *st, unsigned name, bool writes)
{
	const struct rule_name *n = statement_name(st, name);
	uint64_t own = UINT64_C(1) << n->migration;
	uint64_t bits = own | UINT64_C(1) << n->decider;

	note_migrations(st, bits);
	if (statement_shape(st, name) == SHAPE_OLD)
		st->plan->old_shape |= own;
	else
		st->plan->new_shape |= own;
	if (writes)
		st->plan->writes |= bits;
	if (writes && n->through->half != NULL)
		st->plan->halves[n->through->half->second] |= own;
}

bool statement_refuse(struct statement *st, unsigned name, const char *clause,
		      const char *detail, const char *hint)
{
	const struct rule_name *n = statement_name(st, name);
	const struct rule_migration *m =
	    &st->req->rules->migrations[n->decider];
	struct problem *p = &st->plan->refusal;

	problem_set(p, "0A000",
		    "pgtandem: %s on relation \"%s\" is not "
		    "supported while migration \"%s\" is in phase %s",
		    clause, n->name, m->spec->name, phase_name(m->phase));
	problem_detail(p, "%s", detail);
	problem_hint(p, "%s", hint);
	return false;
}

/* clang-format off */
static const struct {
	const char *detail, *hint;
} use_texts[USE_COUNT] = {
	[USE_CTE_WRITE] = {
		"The rows that it writes could not be kept equal in both models.",
		"Run the write as a statement of its own."},
	[USE_TRUNCATE] = {
		"The rows of the new relation have another old relation's half too.",
		"DELETE the rows."},
	[USE_GRANT] = {
		"It would hold for the other old relation's half of the new one too.",
		"GRANT or REVOKE on the server, on each relation by itself."},
	[USE_MERGE] = {
		"MERGE cannot return the rows that it writes before PostgreSQL 17, so that they could not be kept equal in both models.",
		"Use INSERT ... ON CONFLICT, or UPDATE and INSERT."},
	[USE_COPY_IN] = {
		"COPY FROM cannot return the rows that it writes, so that they could not be kept equal in both models.",
		"Use INSERT, or COPY into a temporary table and INSERT ... SELECT from it."},
	[USE_TEND] = {
		"The old relation is gone, and what it had may have no counterpart.",
		"Name the new relation."},
	[USE_LOCK_TABLE] = {
		"The old relation is no longer the one that is written.",
		"Lock the rows with SELECT ... FOR UPDATE, or use an advisory lock."},
	[USE_VIEW] = {
		"A view would keep today's text in later phases.",
		"Create it before the migration starts, or over the new relation once the phase is new_only."},
	[USE_CODE] = {
		"What runs inside the server cannot be rewritten.",
		"Send the statements by themselves, or name the new relation once the phase is write_new."},
	[USE_TEXT] = {
		"What runs inside the server cannot be rewritten, and the old relation is no longer current.",
		"Send the query by itself, or name the new relation in it."},
	[USE_SWITCH] = {
		"What keeps both models equal are triggers too.",
		"SET session_replication_role, or wait until the migration has ended."},
	[USE_DDL] = {
		"The definition of a relation under migration must not change.",
		"Wait until the migration has ended, or ROLLBACK it to planned."},
};
/* clang-format on */

bool statement_refuse_use(struct statement *st, unsigned name, enum use use)
{
	if (statement_name(st, name)->broken != NULL)
		return statement_refuse(
		    st, name, use_what(use), statement_name(st, name)->broken,
		    "Name the relation that came after it.");
	if (comes_too_early(st, name))
		return statement_refuse(
		    st, name, use_what(use),
		    "The new relation is not in use before phase "
		    "write_new.",
		    "Name the old relation.");
	return statement_refuse(
	    st, name, use_what(use),
	    use_texts[use].detail ? use_texts[use].detail : "",
	    use_texts[use].hint ? use_texts[use].hint : "");
}

static bool refuse_old_use(struct statement *st, unsigned name, enum use use)
{
	return statement_refuse(
	    st, name, use_what(use),
	    "The specification says old_use: error: the old shape is no "
	    "longer served.",
	    "Name the new relation.");
}

static bool is_legacy(const struct rule_migration *m)
{
	return m->phase >= PHASE_NEW_ONLY && m->spec->old_use == OLD_USE_ERROR;
}

bool statement_decide(struct statement *st, unsigned name, enum use use,
		      enum action *ret)
{
	const struct rule_migration *m = statement_migration(st, name);
	const struct rule_migration *own =
	    &st->req->rules->migrations[statement_name(st, name)->migration];

	*ret = statement_action(st, name, use);
	if (*ret == ACT_REFUSE)
		return statement_refuse_use(st, name, use);
	if (statement_shape(st, name) == SHAPE_OLD &&
	    (is_legacy(m) || is_legacy(own)))
		return refuse_old_use(st, name, use);
	return true;
}

size_t span_name_end(const struct statement *st, size_t i)
{
	if (st->tokens->v[i].kind == TOKEN_UNICODE &&
	    token_is(st->tokens, i + 1, "uescape"))
		return i + 3;
	return i + 1;
}

static bool is_star(const struct statement *st, size_t i)
{
	const struct token *t = &st->tokens->v[i];

	return i < st->end && t->kind == TOKEN_OPERATOR &&
	       t->to - t->from == 1 && st->sql[t->from] == '*';
}

struct span span_of_relation(const struct statement *st, const RangeVar *var)
{
	size_t first = tokens_find(st->tokens, (uint32_t)var->location);
	size_t end = span_name_end(st, first);

	while (token_is_punct(st->tokens, end, '.') && end < st->end)
		end = span_name_end(st, end + 1);
	if (is_star(st, end))
		end++;
	if (var->inh || first < st->first + 1)
		return (struct span){first, end};
	if (token_is_punct(st->tokens, first - 1, '('))
		return (struct span){first - 2, end + 1};
	return (struct span){first - 1, end};
}

size_t span_closing(const struct statement *st, size_t i)
{
	unsigned depth = st->tokens->v[i].depth;

	for (i++; i < st->end; i++)
		if (st->tokens->v[i].depth == depth)
			return i;
	return st->end;
}

bool token_is_clause(const struct statement *st, size_t i, const char *word)
{
	return token_is(st->tokens, i, word) &&
	       !token_is_punct(st->tokens, i - 1, '.') &&
	       !token_is(st->tokens, i - 1, "as");
}

size_t span_find_word(const struct statement *st, size_t i, const char *word)
{
	while (i < st->end && (st->tokens->v[i].depth > st->depth ||
			       !token_is_clause(st, i, word)))
		i++;
	return i;
}

/* Would this byte and a word beside it become one token? */
static bool sticks(const struct statement *st, uint32_t at)
{
	unsigned char c = (unsigned char)st->sql[at];

	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c >= 0x80 ||
	       (c != '\0' && strchr("_$\"'.", c) != NULL);
}

static bool is_word(char c)
{
	return c != '\0' && strchr(" ,()", c) == NULL;
}

static const char *spaced(const struct statement *st, uint32_t from,
			  uint32_t to, const char *text)
{
	size_t len = strlen(text);
	bool before = from > 0 && is_word(*text) && sticks(st, from - 1);
	bool after = (len == 0 ? from > 0 && sticks(st, from - 1)
			       : is_word(text[len - 1])) &&
		     sticks(st, to);

	if (!before && !after)
		return text;
	return arena_fmt(st->a, "%s%s%s", before ? " " : "", text,
			 after ? " " : "");
}

void statement_replace(struct statement *st, struct span span, const char *text)
{
	uint32_t from = st->tokens->v[span.first].from;
	uint32_t to = st->tokens->v[span.end - 1].to;

	edit_replace(st->edits, from, to, spaced(st, from, to, text));
}

void statement_insert_before(struct statement *st, size_t token,
			     const char *text)
{
	uint32_t at = st->tokens->v[token].from;

	edit_insert(st->edits, at, spaced(st, at, at, text));
}

void statement_insert_after(struct statement *st, size_t token,
			    const char *text)
{
	uint32_t at = st->tokens->v[token].to;

	edit_insert(st->edits, at, spaced(st, at, at, text));
}

const char *statement_text(const struct statement *st, struct span span)
{
	uint32_t from = st->tokens->v[span.first].from;

	return arena_dup(st->a, st->sql + from,
			 st->tokens->v[span.end - 1].to - from);
}

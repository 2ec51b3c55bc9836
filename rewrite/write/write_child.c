/*
 * Writes through a child lens (design section 8).  They run on the old
 * relation, which stays, by L_lens; a new value of a column that has moved is
 * remembered where it is computed, and given to the child's row when the old
 * row is written (rewrite/lens/lens_child.h):
 *
 *   UPDATE old SET moved = X WHERE C RETURNING a
 *     UPDATE L_lens AS old SET id = L_stash(old.id, '1', old.id, CAST(X AS t))
 *     WHERE (C) AND L_lock_old(old.id)
 *     RETURNING CASE WHEN L_put(epoch, old.id) IS NULL THEN a ELSE a END AS a
 *
 * So the row is always written, and the value is that of the locked version.
 */
#include "rewrite/write/write_child.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"
#include "rewrite/text/sqltext.h"

static bool is_set(const struct lens *l, const List *targets, unsigned old)
{
	ListCell *cell;

	foreach (cell, targets)
		if (strcmp(lfirst_node(ResTarget, cell)->name,
			   l->olds[old].column->name) == 0)
			return true;
	return false;
}

bool child_sets_key(const struct lens *l, const List *targets)
{
	for (size_t i = 0; i < l->n_key; i++)
		if (is_set(l, targets, l->key[i].old_index))
			return true;
	return false;
}

bool child_is_touched(const struct lens *l, unsigned old)
{
	return !l->olds[old].carried || child_depends_on(l, old);
}

static bool can_carry(const struct lens *l, const List *targets, unsigned old)
{
	const struct column *c = l->olds[old].column;

	return l->olds[old].carried && c->identity != 'a' &&
	       c->generated == 0 && !is_set(l, targets, old);
}

int child_stash_column(const struct lens *l, const List *targets)
{
	for (size_t i = 0; i < l->n_key; i++)
		if (can_carry(l, targets, l->key[i].old_index))
			return (int)l->key[i].old_index;
	for (unsigned i = 0; i < l->n_old; i++)
		if (can_carry(l, targets, i))
			return (int)i;
	return -1;
}

static const char *keys(const struct lens *l, const char *alias,
			struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (size_t i = 0; i < l->n_key; i++)
		sqltext_item(
		    &t, ", ", "%s.%s", alias,
		    quote_name(l->olds[l->key[i].old_index].column->name, a));
	return t.s;
}

/* Is a column missed that the table looks at by itself, before this one? */
static const char *is_missed_before(const struct lens *l, unsigned old,
				    const char *row, struct arena *a)
{
	struct sqltext t;

	sqltext_begin(&t, a);
	for (unsigned i = 0; i < old; i++)
		if (l->olds[i].carried && l->olds[i].column->not_null &&
		    l->olds[i].column->generated == 0)
			sqltext_item(&t, " OR ", "%s.%s IS NULL", row,
				     quote_name(l->olds[i].column->name, a));
	return t.s;
}

/* The mark of a moved column that is given: 2 where NULL is not allowed, and
 * it is another column that is named for that. */
static const char *given_mark(const struct child_value *value, struct arena *a)
{
	return *value->missed == '\0'
		   ? "1"
		   : arena_fmt(a,
			       "' || CASE WHEN (%s) AND %s IS NULL THEN '2'"
			       " ELSE '1' END || '",
			       value->missed, value->text);
}

void child_stash_frame(const struct lens *l, const char *alias, int column,
		       char how, const struct child_value *values,
		       struct arena *a, struct stash_frame *ret)
{
	struct sqltext which, before, after;
	bool found = false;

	sqltext_begin(&which, a);
	sqltext_begin(&before, a);
	sqltext_begin(&after, a);
	for (size_t i = 0; i < l->child->n_moved; i++) {
		const char *text = values[i].text ? values[i].text : "NULL";

		sqltext_put(&which, "%s",
			    values[i].text ? given_mark(&values[i], a) : "0");
		if (strcmp(text, CHILD_HERE) == 0)
			found = true;
		else
			sqltext_put(found ? &after : &before, ", %s", text);
	}
	ret->open =
	    arena_fmt(a, "%s(%s.%s, '%s%c', %s%s%s", l->child->stash_ref, alias,
		      quote_name(l->olds[column].column->name, a), which.s, how,
		      keys(l, alias, a), before.s, found ? ", " : "");
	ret->close = arena_fmt(a, "%s)", after.s);
}

const char *child_insert_stash(const struct lens *l, const char *row,
			       int column, struct arena *a)
{
	struct child_value *values =
	    arena_alloc(a, l->child->n_moved * sizeof(*values));
	struct stash_frame frame;

	for (size_t i = 0; i < l->child->n_moved; i++) {
		unsigned old = l->child->moved[i].old_index;
		const struct column *c = l->olds[old].column;

		values[i].text =
		    arena_fmt(a, "%s.%s", row, quote_name(c->name, a));
		values[i].missed =
		    c->not_null ? is_missed_before(l, old, row, a) : "";
	}
	child_stash_frame(l, row, column, 'i', values, a, &frame);
	return arena_fmt(a, "%s%s", frame.open, frame.close);
}

/* EXCLUDED.moved is what is stashed just then: L_lens would show the picked
 * row's. */
void child_excluded(struct statement *st, const struct ref *target, size_t from,
		    size_t end)
{
	const struct lens *l = statement_lens(st, target->name);

	for (size_t i = from; i + 2 < end; i++) {
		if (!token_spells(st->sql, &st->tokens->v[i], "excluded") ||
		    !token_is_punct(st->tokens, i + 1, '.'))
			continue;
		for (size_t k = 0; k < l->child->n_moved; k++) {
			const struct child_moved *m = &l->child->moved[k];

			if (token_spells(st->sql, &st->tokens->v[i + 2],
					 l->olds[m->old_index].column->name))
				statement_replace(
				    st, (struct span){i, i + 3},
				    arena_fmt(st->a, "%s()",
					      child_given_ref(l, m, st->a)));
		}
	}
}

static bool moves_key(const struct lens *l, const Node *write)
{
	return IsA(write, UpdateStmt) &&
	       child_sets_key(l, ((const UpdateStmt *)write)->targetList);
}

static const char *put_call(const struct statement *st,
			    const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	const char *key = keys(l, quote_name(ref_alias(target), st->a), st->a);
	const char *to_old = target->action == ACT_LENS_SYNC ? "true" : "false";

	if (l->child->acts && moves_key(l, st->node))
		to_old = arena_fmt(st->a, "%s(%s, %s)", l->child->free_ref,
				   to_old, key);
	return arena_fmt(
	    st->a, "%s(%llu, %s, %s)", l->child->put_ref,
	    (unsigned long long)statement_migration(st, target->name)->epoch,
	    to_old, key);
}

static const char *drop_call(const struct statement *st,
			     const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	return arena_fmt(
	    st->a, "%s(%llu, %s)", l->child->drop_ref,
	    (unsigned long long)statement_migration(st, target->name)->epoch,
	    keys(l, quote_name(ref_alias(target), st->a), st->a));
}

static const struct child_moved *spells_moved(const struct statement *st,
					      const struct lens *l, size_t at)
{
	const struct token *v = &st->tokens->v[at];

	for (size_t k = 0; k < l->child->n_moved; k++) {
		const struct child_moved *m = &l->child->moved[k];

		if (token_spells(st->sql, v,
				 l->olds[m->old_index].column->name))
			return m;
	}
	return NULL;
}

static bool refuse_current(struct statement *st, const struct ref *target,
			   const char *clause)
{
	return statement_refuse(st, target->name, clause,
				"The write runs on the table itself, where "
				"WHERE CURRENT OF finds the row, and the "
				"column has moved to another.",
				"Name the row by its key.");
}

bool child_pick_names(struct statement *st, const struct ref *target,
		      struct span value, bool alone)
{
	const struct lens *l = statement_lens(st, target->name);
	const char *alias = quote_name(ref_alias(target), st->a);

	for (size_t i = value.first; i < value.end; i++)
		alone &= !token_is(st->tokens, i, "select");
	for (size_t i = value.first; i < value.end; i++) {
		const struct child_moved *m = spells_moved(st, l, i);
		size_t first = i;

		if (m == NULL)
			continue;
		if (i >= value.first + 2 &&
		    token_is_punct(st->tokens, i - 1, '.'))
			first = i - 2;
		if (!alone || token_is_punct(st->tokens, first, ')'))
			return refuse_current(st, target,
					      "WHERE CURRENT OF beside such "
					      "an expression");
		statement_replace(st, (struct span){first, i + 1},
				  child_picked(l, m, alias, st->a));
	}
	return true;
}

/* RETURNING can show what stays alone. */
static bool check_current(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	size_t at = span_find_word(st, st->first, "returning");

	for (; at < st->end; at++)
		if (spells_moved(st, l, at) != NULL ||
		    (st->tokens->v[at].kind == TOKEN_OPERATOR &&
		     st->sql[st->tokens->v[at].from] == '*') ||
		    (token_spells(st->sql, &st->tokens->v[at],
				  ref_alias(target)) &&
		     !token_is_punct(st->tokens, at + 1, '.')))
			return refuse_current(st, target,
					      "RETURNING of a column that has "
					      "moved beside WHERE CURRENT OF");
	return true;
}

bool child_write_current(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);
	const char *alias = quote_name(ref_alias(target), st->a);

	if (!check_current(st, target))
		return false;
	statement_replace(
	    st, span_of_relation(st, target->var),
	    target->var->alias != NULL
		? l->old_ref
		: arena_fmt(st->a, "%s AS %s", l->old_ref, alias));
	return child_finish(st, target);
}

static bool refuse_merge(struct statement *st, const struct ref *target,
			 const char *clause)
{
	return statement_refuse(st, target->name, clause,
				"MERGE writes the table alone, and would "
				"leave the child table behind.",
				"Use INSERT ... ON CONFLICT, or UPDATE and "
				"INSERT.");
}

static bool merges_alone(struct statement *st, const struct ref *target,
			 const MergeWhenClause *when)
{
	const struct lens *l = statement_lens(st, target->name);
	ListCell *cell;

	if (when->commandType == CMD_INSERT)
		return refuse_merge(st, target, "INSERT in MERGE");
	if (when->commandType == CMD_DELETE && !l->child->cascades)
		return refuse_merge(st, target, "DELETE in MERGE");
	if (when->commandType != CMD_UPDATE)
		return true;
	foreach (cell, when->targetList) {
		int old = lens_find_old(l, lfirst_node(ResTarget, cell)->name);

		if (old >= 0 && child_is_touched(l, (unsigned)old))
			return refuse_merge(st, target,
					    "SET of such a column in MERGE");
	}
	return !child_sets_key(l, when->targetList) ||
	       refuse_merge(st, target, "SET of the key in MERGE");
}

/* May the text read what moves?  By another relation's name it does not. */
static bool reads_moved(const struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	for (size_t i = 0; i < st->found.n_columns; i++)
		if (st->found.columns[i].ref == target)
			return true;
	for (size_t i = st->first; i < st->end; i++)
		if (spells_moved(st, l, i) != NULL &&
		    (!token_is_punct(st->tokens, i - 1, '.') ||
		     token_spells(st->sql, &st->tokens->v[i - 2],
				  ref_alias(target))))
			return true;
	return false;
}

bool child_merge(struct statement *st, const struct ref *target)
{
	const MergeStmt *merge = (const MergeStmt *)st->node;
	ListCell *cell;

	foreach (cell, merge->mergeWhenClauses)
		if (!merges_alone(st, target, lfirst(cell)))
			return false;
	return !reads_moved(st, target) ||
	       refuse_merge(st, target, "MERGE that reads a column that moves");
}

/* Does the client say which key its rows get? */
static bool takes_key(const struct lens *l, const Node *write)
{
	const InsertStmt *insert = (const InsertStmt *)write;

	if (!IsA(write, InsertStmt))
		return moves_key(l, write);
	return insert->cols == NIL || child_sets_key(l, insert->cols);
}

static bool takes_key_beside(const struct statement *st,
			     const struct ref *target, const struct lens *l)
{
	const struct ref *other;
	size_t at = 0;

	while ((other = write_beside(st, target, l, &at)) != NULL)
		if (takes_key(l, other->write))
			return true;
	return false;
}

bool child_check_writes(struct statement *st)
{
	for (size_t i = 0; i < st->found.n_refs; i++) {
		const struct ref *target = st->found.refs[i];
		const struct lens *l = statement_lens(st, target->name);

		if (!target->is_target || target->action == ACT_PASS ||
		    l->child == NULL || !l->child->acts)
			continue;
		if ((IsA(target->write, DeleteStmt) ||
		     moves_key(l, target->write)) &&
		    takes_key_beside(st, target, l))
			return statement_refuse(
			    st, target->name,
			    "a write that gives a key to a row beside one "
			    "that takes it from another",
			    "The child table's foreign key follows at the end "
			    "of the statement, and could not tell the rows "
			    "apart.",
			    "Use two statements.");
	}
	return true;
}

bool child_finish(struct statement *st, const struct ref *target)
{
	const struct lens *l = statement_lens(st, target->name);

	if (st->stashed)
		return write_edit_returning_first(st, target,
						  put_call(st, target));
	return write_edit_returning(
	    st, target, SHAPE_OLD, true,
	    IsA(st->node, DeleteStmt) && !l->child->cascades
		? drop_call(st, target)
		: NULL);
}

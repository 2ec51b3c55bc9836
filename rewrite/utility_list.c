/*
 * Statements on a list of whole relations, whatever their rows: TRUNCATE, LOCK
 * TABLE, VACUUM, ANALYZE, GRANT and REVOKE.
 *
 * While both models live they are meant for both: the other relation is put
 * into the list beside the one that is named.  LOCK TABLE takes its locks in
 * the list's order, which is the order in which writers of the phase take
 * theirs.
 */
#include "rewrite/statement.h"

#include <string.h>

#include "rewrite/lens/lens_child.h"

/* One relation of the list. */
struct listed {
	unsigned name;
	enum use use;
	const RangeVar *var;
	const List *columns; /* of ANALYZE t (a, b) */
	enum action action;
};

static bool has_identity(const struct lens *l)
{
	bool any = false;

	for (size_t i = 0; i < l->n_old; i++)
		any |= l->olds[i].column->identity != 0;
	return any;
}

/* RESTART IDENTITY restarts the sequences that a relation owns: an identity's
 * is the old relation's until `contracted`. */
static bool restarts_old(const struct statement *st, const struct listed *r)
{
	return r->use == USE_TRUNCATE &&
	       has_identity(statement_lens(st, r->name)) &&
	       statement_migration(st, r->name)->phase == PHASE_NEW_ONLY &&
	       ((const TruncateStmt *)st->node)->restart_seqs;
}

static const char *other_relation(const struct statement *st,
				  const struct listed *r)
{
	const struct lens *l = statement_lens(st, r->name);

	const char *only = r->var->inh ? "" : "ONLY ";

	if (statement_shape(st, r->name) == SHAPE_OLD)
		return arena_fmt(st->a, "%s%s", only,
				 l->child ? l->child->ref : l->new_ref);
	if (l->half == NULL)
		return arena_fmt(st->a, "%s%s", only, l->old_ref);
	return arena_fmt(st->a, "%s%s, %s%s", only, l->old_ref, only,
			 l->half->other->old_ref);
}

/* ANALYZE of some columns analyzes all of the other relation's. */
static bool check_columns(struct statement *st, const struct listed *r)
{
	const struct lens *l = statement_lens(st, r->name);
	ListCell *cell;

	foreach (cell, r->columns)
		if (lens_find_old(l, strVal(lfirst(cell))) < 0)
			return statement_refuse(
			    st, r->name, "ANALYZE of an unknown column",
			    "The old relation has no such column.",
			    "Leave the columns out.");
	return true;
}

/* Two migrations in a row: the name's own relation has been dropped. */
static bool is_gone(const struct statement *st, const struct listed *r)
{
	return statement_name(st, r->name)->decider !=
	       statement_name(st, r->name)->migration;
}

static bool both_instead(struct statement *st, const struct listed *r,
			 struct span span)
{
	const struct lens *l = statement_lens(st, r->name);

	statement_replace(st, span,
			  arena_fmt(st->a, "%s, %s%s", other_relation(st, r),
				    r->var->inh ? "" : "ONLY ", l->old_ref));
	return check_columns(st, r);
}

static bool listed_edit(struct statement *st, const struct listed *r)
{
	struct span span = span_of_relation(st, r->var);
	const char *other = other_relation(st, r);

	if (r->columns != NIL)
		span.end = span_closing(st, span.end) + 1;
	if (is_gone(st, r) &&
	    (r->action == ACT_BOTH || r->action == ACT_BOTH_BEFORE))
		return both_instead(st, r, span);
	switch (r->action) {
	case ACT_BOTH:
		statement_insert_after(st, span.end - 1,
				       arena_fmt(st->a, ", %s", other));
		return true;
	case ACT_BOTH_BEFORE:
		statement_insert_before(st, span.first,
					arena_fmt(st->a, "%s, ", other));
		return true;
	case ACT_OTHER:
		statement_replace(st, span, other);
		return check_columns(st, r);
	case ACT_PASS:
	case ACT_UNSET:
	case ACT_SYNC:
	case ACT_SYNC_MERGE:
	case ACT_THROUGH:
	case ACT_THROUGH_SHARE:
	case ACT_LENS:
	case ACT_LENS_SYNC:
	case ACT_HIDE:
	case ACT_HIDE_SYNC:
	case ACT_REFUSE:
		break;
	}
	return true;
}

/* Is every privilege of the statement one on columns? */
static bool names_columns_alone(const GrantStmt *grant)
{
	ListCell *cell;

	foreach (cell, grant->privileges)
		if (lfirst_node(AccessPriv, cell)->cols == NIL)
			return false;
	return grant->privileges != NIL;
}

/* Columns that do not move to a child table are the old one's alone. */
static bool is_of_old_alone(const struct statement *st, const struct listed *r)
{
	return r->use == USE_GRANT &&
	       statement_lens(st, r->name)->child != NULL &&
	       names_columns_alone((const GrantStmt *)st->node);
}

/* Kinds that keep the table: it has new columns, and in the end the old ones no
 * more; then all of it is analyzed. */
static bool analyze_kept(struct statement *st, const struct listed *r)
{
	const struct lens *l = statement_lens(st, r->name);
	enum phase phase = statement_migration(st, r->name)->phase;
	struct span list = span_of_relation(st, r->var);
	ListCell *cell;
	bool same = true;

	if (statement_shape(st, r->name) != SHAPE_OLD ||
	    phase == PHASE_PLANNED || !statement_name(st, r->name)->shared)
		return true;
	if (!check_columns(st, r))
		return false;
	foreach (cell, r->columns)
		same &= lens_has_same_column(l, strVal(lfirst(cell)));
	if (same || phase != PHASE_CONTRACTED)
		return true;
	list.first = list.end;
	list.end = span_closing(st, list.end) + 1;
	statement_replace(st, list, "");
	return true;
}

static bool list_one(struct statement *st, const RangeVar *var, enum use use,
		     const List *columns)
{
	int match = var == NULL ? -1 : walk_match(st->req, var);
	struct listed r = {
	    .name = (unsigned)match,
	    .use = use,
	    .var = var,
	    .columns = columns,
	};

	if (match < 0)
		return true;
	statement_note(st, r.name, use != USE_LOCK_TABLE);
	if (!statement_decide(st, r.name, use, &r.action))
		return false;
	if (r.action == ACT_OTHER && restarts_old(st, &r))
		r.action = ACT_BOTH;
	if (is_of_old_alone(st, &r))
		r.action = ACT_PASS;
	if (r.action == ACT_PASS)
		return analyze_kept(st, &r);
	return listed_edit(st, &r);
}

static bool plan_relations(struct statement *st, const List *relations,
			   enum use use)
{
	ListCell *cell;

	foreach (cell, relations)
		if (!list_one(st, lfirst(cell), use, NIL))
			return false;
	return true;
}

static bool plan_vacuum(struct statement *st)
{
	ListCell *cell;

	foreach (cell, ((const VacuumStmt *)st->node)->rels) {
		const VacuumRelation *r = lfirst(cell);

		if (!list_one(st, r->relation, USE_MAINTAIN, r->va_cols))
			return false;
	}
	return true;
}

static bool grants_insert(const GrantStmt *grant)
{
	bool any = grant->privileges == NIL;
	ListCell *cell;

	foreach (cell, grant->privileges) {
		const char *name = lfirst_node(AccessPriv, cell)->priv_name;

		any |= name == NULL || strcmp(name, "insert") == 0;
	}
	return any && grant->is_grant;
}

static bool check_grant_columns(struct statement *st, unsigned name)
{
	const struct lens *l = statement_lens(st, name);
	const GrantStmt *grant = (const GrantStmt *)st->node;
	ListCell *cell, *column;

	foreach (cell, grant->privileges)
		foreach (column, lfirst_node(AccessPriv, cell)->cols)
			if (!lens_has_same_column(l, strVal(lfirst(column))) ||
			    (l->child != NULL && !names_columns_alone(grant)))
				return statement_refuse(
				    st, name, "a privilege on this column",
				    "The column has another name or another "
				    "type in the new relation.",
				    "GRANT or REVOKE on each relation by "
				    "itself, on the server.");
	return true;
}

static bool check_grant(struct statement *st, unsigned name)
{
	if (!check_grant_columns(st, name))
		return false;
	if (statement_lens(st, name)->kind == LENS_COLUMNS ||
	    !has_identity(statement_lens(st, name)) ||
	    !grants_insert((const GrantStmt *)st->node))
		return true;
	return statement_refuse(
	    st, name, "GRANT INSERT",
	    "Who inserts through the lens needs the sequence of its identity "
	    "column too.",
	    "GRANT USAGE on the sequence and INSERT on both relations, on the "
	    "server.");
}

/* Is a privilege to reach the new model as well?  Kind columns: the columns
 * beside the old ones. */
static bool grants_both(const struct statement *st, unsigned name)
{
	enum action action = statement_action(st, name, USE_GRANT);

	if (action == ACT_BOTH || action == ACT_OTHER)
		return true;
	return statement_lens(st, name)->kind == LENS_COLUMNS &&
	       statement_shape(st, name) == SHAPE_OLD &&
	       statement_action(st, name, USE_READ) != ACT_PASS;
}

static bool plan_grant(struct statement *st)
{
	const GrantStmt *grant = (const GrantStmt *)st->node;
	ListCell *cell;
	int name;

	if (grant->objtype != OBJECT_TABLE ||
	    grant->targtype != ACL_TARGET_OBJECT)
		return true;
	foreach (cell, grant->objects) {
		name = walk_match(st->req, lfirst(cell));
		if (name < 0)
			continue;
		if (grants_both(st, (unsigned)name) &&
		    !check_grant(st, (unsigned)name))
			return false;
	}
	return plan_relations(st, grant->objects, USE_GRANT);
}

static bool lists_target(const struct statement *st, const struct lens *l)
{
	const TruncateStmt *truncate = (const TruncateStmt *)st->node;
	bool any = false;
	ListCell *cell;

	for (size_t i = 0; i < l->child->relation->n_constraints; i++) {
		const char *table = child_refers_to(l, i, st->a);

		foreach (cell, truncate->relations)
			any |= table != NULL &&
			       strcmp(lfirst_node(RangeVar, cell)->relname,
				      table) == 0;
	}
	return any;
}

/* A foreign key that has gone to the child table: CASCADE empties that alone,
 * where it emptied the old relation. */
static void truncate_referring(struct statement *st)
{
	const TruncateStmt *truncate = (const TruncateStmt *)st->node;
	const RangeVar *last = llast(truncate->relations);

	for (unsigned i = 0; i < st->req->rules->n_names; i++) {
		const struct lens *l = statement_lens(st, i);

		if (truncate->behavior != DROP_CASCADE || l->child == NULL ||
		    statement_name(st, i)->shape != SHAPE_OLD ||
		    statement_shape(st, i) != SHAPE_OLD ||
		    statement_migration(st, i)->phase < PHASE_NEW_ONLY ||
		    !lists_target(st, l))
			continue;
		statement_note(st, i, true);
		statement_insert_after(st, span_of_relation(st, last).end - 1,
				       arena_fmt(st->a, ", %s", l->old_ref));
	}
}

static bool plan_truncate(struct statement *st)
{
	truncate_referring(st);
	return plan_relations(st, ((const TruncateStmt *)st->node)->relations,
			      USE_TRUNCATE);
}

bool utility_lists_relations(const Node *node)
{
	return IsA(node, TruncateStmt) || IsA(node, LockStmt) ||
	       IsA(node, VacuumStmt) || IsA(node, GrantStmt);
}

bool utility_plan_list(struct statement *st)
{
	if (IsA(st->node, TruncateStmt))
		return plan_truncate(st);
	if (IsA(st->node, LockStmt))
		return plan_relations(st,
				      ((const LockStmt *)st->node)->relations,
				      USE_LOCK_TABLE);
	if (IsA(st->node, VacuumStmt))
		return plan_vacuum(st);
	return plan_grant(st);
}

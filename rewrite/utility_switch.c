/*
 * ALTER TABLE ... DISABLE or ENABLE TRIGGER ALL (or USER), as what loads test
 * data or a dump sends it, so that rows may come before those they refer to.
 *
 * While both models live, the foreign keys of both are enforced by triggers,
 * and the trigger that follows a changed key (rewrite/ddl/ddl_lens.c) must stay
 * on: a statement of ours does the same to the other relation, and both turn
 * that trigger on again.
 */
#include "rewrite/statement.h"

#include "rewrite/ddl/ddl_names.h"

static bool is_switch(AlterTableType type)
{
	return type == AT_EnableTrigAll || type == AT_DisableTrigAll ||
	       type == AT_EnableTrigUser || type == AT_DisableTrigUser;
}

bool utility_switches_triggers(const Node *node)
{
	const AlterTableStmt *alter = (const AlterTableStmt *)node;
	ListCell *cell;

	if (!IsA(node, AlterTableStmt) || alter->objtype != OBJECT_TABLE)
		return false;
	foreach (cell, alter->cmds)
		if (!is_switch(lfirst_node(AlterTableCmd, cell)->subtype))
			return false;
	return true;
}

static bool refuse_alone(struct statement *st, unsigned name)
{
	return statement_refuse(
	    st, name, "DISABLE or ENABLE TRIGGER as a prepared statement",
	    "It is sent as two statements, one for each model.",
	    "Send it as a simple query.");
}

/* The same for the other relation: ALTER TABLE new DISABLE TRIGGER ALL, ... */
static void switch_both(struct statement *st, unsigned name, struct span span,
			bool behind)
{
	const struct lens *l = statement_lens(st, name);
	const char *keep = arena_fmt(st->a,
				     ", ENABLE ALWAYS TRIGGER %s"
				     ", ENABLE ALWAYS TRIGGER %s",
				     names_moved_trigger(l, st->a),
				     names_late_trigger(l, st->a));
	const char *what = statement_text(st, (struct span){span.end, st->end});
	const char *other =
	    arena_fmt(st->a, "ALTER TABLE %s %s%s", l->new_ref, what, keep);

	if (behind) {
		statement_insert_after(st, st->end - 1,
				       arena_fmt(st->a, "%s; %s", keep, other));
		st->aside = ASIDE_BEHIND;
		return;
	}
	statement_insert_before(st, st->first, arena_fmt(st->a, "%s; ", other));
	statement_insert_after(st, st->end - 1, keep);
	st->aside = ASIDE_BEFORE;
}

bool utility_plan_switch(struct statement *st)
{
	const AlterTableStmt *alter = (const AlterTableStmt *)st->node;
	int match = walk_match(st->req, alter->relation);
	unsigned name = (unsigned)match;
	struct span span;
	enum action action;

	if (match < 0)
		return true;
	statement_note(st, name, true);
	if (statement_name(st, name)->decider !=
	    statement_name(st, name)->migration)
		return statement_refuse_use(st, name, USE_DDL);
	if (!statement_decide(st, name, USE_SWITCH, &action))
		return false;
	span = span_of_relation(st, alter->relation);
	if (action == ACT_OTHER)
		statement_replace(st, span, statement_lens(st, name)->new_ref);
	if (action != ACT_BOTH && action != ACT_BOTH_BEFORE)
		return true;
	if (st->req->flags & REQUEST_ALONE)
		return refuse_alone(st, name);
	switch_both(st, name, span, action == ACT_BOTH);
	return true;
}

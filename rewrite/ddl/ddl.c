/*
 * Which parts a move is made of, as one table.
 *
 * Forward, the database is made ready before the epoch is raised, and what
 * only an older epoch needs is taken away after the barrier; backward the
 * same, so that every phase finds what it needs while a session is at it or
 * next to it.
 *
 * Triggers that follow a changed key exist from dual_write to write_new: in
 * `expanded` they would let constraints of the new model fail a client.
 */
#include "rewrite/ddl/ddl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rewrite/ddl/ddl_part.h"
#include "rewrite/lens/mapping.h"

enum { OURS, MODEL };	/* whose: MODEL is left out for ddl: manual */
enum { BEFORE, AFTER }; /* the epoch is raised; the barrier passed */

struct part {
	enum phase from, to;
	int when, whose;
	void (*add)(struct ddl_build *b);
};

/* Parts of one move run in the order in which they stand here. */
/* clang-format off */
static const struct part parts[] = {
	{PHASE_PLANNED,    PHASE_EXPANDED,   BEFORE, MODEL, ddl_create_new},
	{PHASE_PLANNED,    PHASE_EXPANDED,   BEFORE, OURS,  ddl_create_objects},
	/* by what the table turned out to be */
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_create_matches},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_forget_walk},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_create_triggers},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_copy_new},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  AFTER,  MODEL, ddl_references_to_new},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  MODEL, ddl_relax_old},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  OURS,  ddl_drop_triggers},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  OURS,  ddl_drop_synced_copies},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  MODEL, ddl_sequences_to_new},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  MODEL, ddl_make_husk},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  OURS,  ddl_drop_earlier_views},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  MODEL, ddl_drop_old},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  MODEL, ddl_place_husk},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  OURS,  ddl_drop_functions},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  OURS,  ddl_forget_foreign_keys},

	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_drop_copies},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_drop_views},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_drop_functions},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  MODEL, ddl_drop_new},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_drop_triggers},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_drop_matches},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_empty_new},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_forget_walk},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   AFTER,  OURS,  ddl_drop_copy_new},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   AFTER,  MODEL, ddl_references_to_old},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, MODEL, ddl_sequences_to_old},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_copies},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_copy_new},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_forget_walk},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_triggers},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  AFTER,  OURS,  ddl_enable_triggers},
};

static const struct part child_parts[] = {
	{PHASE_PLANNED,    PHASE_EXPANDED,   BEFORE, MODEL, ddl_child_create_table},
	{PHASE_PLANNED,    PHASE_EXPANDED,   BEFORE, OURS,  ddl_child_create_objects},
	{PHASE_PLANNED,    PHASE_EXPANDED,   BEFORE, OURS,  ddl_create_copy_old},
	/* again, by what the table turned out to be */
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_child_create_objects},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_create_lens_copies},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_forget_walk},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_child_create_triggers},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  BEFORE, MODEL, ddl_child_relax},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_copy_new},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  AFTER,  MODEL, ddl_child_drop_defaults},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  OURS,  ddl_child_drop_triggers},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  OURS,  ddl_drop_synced_copies},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  MODEL, ddl_child_drop_foreign_keys},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  OURS,  ddl_child_lens_alone},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  MODEL, ddl_child_drop_columns},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  OURS,  ddl_child_drop_syncs},

	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_drop_copies},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_child_drop_views},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_child_drop_functions},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  MODEL, ddl_child_drop_table},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_child_drop_triggers},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_child_empty_table},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_forget_walk},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_forget_walk},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_child_create_triggers},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_copy_old},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_lens_copies},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_copy_new},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   BEFORE, MODEL, ddl_child_set_defaults},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   AFTER,  OURS,  ddl_drop_copy_new},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   AFTER,  MODEL, ddl_child_restore},
};

static const struct part columns_parts[] = {
	{PHASE_PLANNED,    PHASE_EXPANDED,   BEFORE, OURS,  ddl_columns_hide},
	{PHASE_PLANNED,    PHASE_EXPANDED,   AFTER,  MODEL, ddl_columns_add},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, MODEL, ddl_columns_index},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_columns_objects},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_create_lens_copies},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_forget_walk},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_columns_keep_old},
	{PHASE_EXPANDED,   PHASE_DUAL_WRITE, BEFORE, OURS,  ddl_columns_trigger},
	{PHASE_DUAL_WRITE, PHASE_READ_NEW,   BEFORE, MODEL, ddl_columns_constrain},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_columns_keep_window},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  AFTER,  OURS,  ddl_columns_keep_new},
	{PHASE_READ_NEW,   PHASE_WRITE_NEW,  AFTER,  MODEL, ddl_columns_defaults},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   BEFORE, OURS,  ddl_columns_drop_trigger},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   BEFORE, MODEL, ddl_columns_relax},
	{PHASE_WRITE_NEW,  PHASE_NEW_ONLY,   AFTER,  OURS,  ddl_drop_synced_copies},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, BEFORE, OURS,  ddl_columns_lens_alone},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, BEFORE, MODEL, ddl_columns_drop_old},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, BEFORE, MODEL, ddl_columns_rename_twins},
	{PHASE_NEW_ONLY,   PHASE_CONTRACTED, AFTER,  OURS,  ddl_columns_unhide_new},

	{PHASE_EXPANDED,   PHASE_PLANNED,    BEFORE, OURS,  ddl_drop_copies},
	{PHASE_EXPANDED,   PHASE_PLANNED,    BEFORE, OURS,  ddl_columns_drop_views},
	{PHASE_EXPANDED,   PHASE_PLANNED,    BEFORE, MODEL, ddl_columns_drop_new},
	{PHASE_EXPANDED,   PHASE_PLANNED,    AFTER,  OURS,  ddl_columns_unhide_old},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_columns_drop_trigger},
	{PHASE_DUAL_WRITE, PHASE_EXPANDED,   AFTER,  OURS,  ddl_forget_walk},
	{PHASE_READ_NEW,   PHASE_DUAL_WRITE, AFTER,  MODEL, ddl_columns_unconstrain},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   BEFORE, MODEL, ddl_columns_restore},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   BEFORE, OURS,  ddl_columns_keep_window},
	{PHASE_WRITE_NEW,  PHASE_READ_NEW,   AFTER,  OURS,  ddl_columns_keep_old},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_forget_walk},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_create_lens_copies},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_columns_keep_new},
	{PHASE_NEW_ONLY,   PHASE_WRITE_NEW,  BEFORE, OURS,  ddl_columns_trigger},
};
/* clang-format on */

static struct ddl_step *next_step(struct ddl_build *b)
{
	struct ddl_step *more;

	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 16;
		more = arena_alloc(b->a, b->cap * sizeof(*more));
		if (b->n > 0)
			memcpy(more, b->steps, b->n * sizeof(*more));
		b->steps = more;
	}
	return &b->steps[b->n++];
}

__attribute__((format(printf, 2, 0))) static const char *
say(struct arena *a, const char *fmt, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, args);
	return arena_str(a, text);
}

void ddl_add(struct ddl_build *b, enum ddl_lock lock, const char *sql,
	     const char *what, ...)
{
	va_list args;

	va_start(args, what);
	*next_step(b) = (struct ddl_step){
	    .what = say(b->a, what, args),
	    .sql = sql,
	    .locks_source = lock == DDL_LOCKS_SOURCE,
	};
	va_end(args);
}

void ddl_ahead(struct ddl_build *b, enum ddl_lock lock, const char *sql,
	       const char *undo, const char *what, ...)
{
	va_list args;

	va_start(args, what);
	*next_step(b) = (struct ddl_step){
	    .what = say(b->a, what, args),
	    .sql = sql,
	    .locks_source = lock == DDL_LOCKS_SOURCE,
	    .ahead = true,
	    .alone = lock == DDL_ALONE,
	    .undo = undo,
	};
	va_end(args);
}

void ddl_leave_out(struct ddl_build *b, const char *loses, const char *what,
		   ...)
{
	const char *said;
	va_list args;

	va_start(args, what);
	said = arena_fmt(b->a, "left out: %s", say(b->a, what, args));
	va_end(args);
	ddl_add(
	    b, DDL_NO_LOCK,
	    arena_fmt(
		b->a, "DO LANGUAGE plpgsql %s",
		quote_text(arena_fmt(b->a, "BEGIN RAISE NOTICE '%%', %s; END",
				     quote_text(said, b->a)),
			   b->a)),
	    "%s", said);
	b->steps[b->n - 1].loses = loses;
}

static const struct {
	const struct part *parts;
	size_t n;
} kinds[] = {
    [LENS_TABLE] = {parts, sizeof(parts) / sizeof(*parts)},
    [LENS_CHILD] = {child_parts, sizeof(child_parts) / sizeof(*child_parts)},
    [LENS_COLUMNS] = {columns_parts,
		      sizeof(columns_parts) / sizeof(*columns_parts)},
    [LENS_MERGE] = {parts, sizeof(parts) / sizeof(*parts)},
};

void ddl_for_move(const struct lens *l, enum phase from, enum phase to,
		  bool before, bool generated, struct arena *a,
		  struct ddl_list *ret)
{
	struct ddl_build b = {.l = l, .a = a};
	bool any = false;

	for (size_t i = 0; i < kinds[l->kind].n; i++) {
		const struct part *p = &kinds[l->kind].parts[i];

		if (p->from != from || p->to != to ||
		    (p->when == BEFORE) != before ||
		    (p->whose == MODEL && !generated))
			continue;
		if (!any)
			ddl_add(&b, DDL_NO_LOCK,
				arena_fmt(a, "SET LOCAL search_path = %s",
					  mapping_search_path(l, a)),
				"look names up as the mapping does");
		any = true;
		p->add(&b);
	}
	ret->n = b.n;
	ret->steps = b.steps;
}

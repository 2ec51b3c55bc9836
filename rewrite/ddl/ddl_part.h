/*
 * The parts that rewrite/ddl/ddl.c puts moves together from; private to ddl*.c.
 *
 * Each appends steps to a build.  Nothing here decides when it is run.
 */
#ifndef REWRITE_DDL_PART_H
#define REWRITE_DDL_PART_H

#include <stdbool.h>
#include <stddef.h>

#include "rewrite/ddl/ddl.h"
#include "rewrite/lens/walk_sql.h"

struct ddl_build {
	const struct lens *l;
	struct arena *a;
	size_t n, cap;
	struct ddl_step *steps; /* in a */
};

enum ddl_lock {
	DDL_NO_LOCK,
	DDL_LOCKS_SOURCE,
	DDL_ALONE, /* no lock, and not in a transaction: ddl_ahead */
};

void ddl_add(struct ddl_build *b, enum ddl_lock lock, const char *sql,
	     const char *what, ...) __attribute__((format(printf, 4, 5)));
/* A step ahead of the move; `undo` takes it back, or is NULL. */
void ddl_ahead(struct ddl_build *b, enum ddl_lock lock, const char *sql,
	       const char *undo, const char *what, ...)
    __attribute__((format(printf, 5, 6)));
/* A step that only says what is not done, and why; `loses` as in the step. */
void ddl_leave_out(struct ddl_build *b, const char *loses, const char *what,
		   ...) __attribute__((format(printf, 3, 4)));

/* ddl_model.c: the new relation, the old one's end. */
void ddl_create_new(struct ddl_build *b);
void ddl_drop_new(struct ddl_build *b);
void ddl_sequences_to_new(struct ddl_build *b);
void ddl_sequences_to_old(struct ddl_build *b);
void ddl_drop_old(struct ddl_build *b);

/* Have the columns of a constraint the same values in the new model? */
bool ddl_keeps_values(const struct lens *l, const struct constraint *k);

/* ddl_foreign.c: foreign keys of and to both. */
void ddl_references_to_new(struct ddl_build *b);
void ddl_references_to_old(struct ddl_build *b);
void ddl_relax_old(struct ddl_build *b);
void ddl_forget_foreign_keys(struct ddl_build *b);
/* ddl_lens.c: "alias.k = $first AND ...", of the source or the target. */
struct mapping;
const char *ddl_key_is_argument(const struct mapping *m, const char *alias,
				bool source, size_t first);
/* "$first::pg_catalog.text, ...": a function's arguments for the key. */
const char *ddl_arguments_as_text(const struct lens *l, size_t first,
				  struct arena *a);
/* The types that a function which syncs one row takes: the epoch, the key and,
 * of kind table, where the row was found. */
const char *ddl_sync_arguments(const struct lens *l, struct arena *a);
/* A PL/pgSQL function under the mapping's search_path and pins; `kind` is
 * "VOLATILE SECURITY DEFINER" and the like. */
void ddl_add_function(struct ddl_build *b, const char *ref,
		      const char *arguments, const char *returns,
		      const char *kind, const char *body);
/* What an ended migration has left on a column that goes. */
void ddl_forget_column(struct ddl_build *b, const char *name);
/* Of a merge: PL/pgSQL that looks for NULLs that old would not have in NEW. */
const char *ddl_half_nulls(const struct lens *l, struct arena *a);
/* Of a merge: the follower's foreign key to the leader. */
bool ddl_is_tie(const struct lens *l, const struct constraint *k);

/* ddl_rights.c: who may call what.  "v_role ..." for a DECLARE, and PL/pgSQL
 * that ends the call of a role that may write neither model, or, by v_due, of a
 * sync that is not of the phase; the twin that triggers call. */
extern const char ddl_role[];
const char *ddl_ask_writer(const struct lens *l, struct arena *a);
const char *ddl_ask_writer_of_new(const struct lens *l, struct arena *a);
const char *ddl_is_due(enum walk_direction d);
const char *ddl_ask_due(const struct lens *l, struct arena *a);
const char *ddl_unasked(const char *ref, struct arena *a);
void ddl_keep_to_ourselves(struct ddl_build *b, const char *ref,
			   const char *types);
/* Body of a DO: the view checks the client's own rights, or, on servers before
 * PostgreSQL 15, has `grants` (SQL): those of the old relation, for a view that
 * has its columns and L_lens's. */
const char *ddl_view_rights(const char *view, const char *grants,
			    struct arena *a);
const char *ddl_old_grants(const struct lens *l, const char *view,
			   struct arena *a);
/* Without those of single columns, for a view that has others. */
const char *ddl_table_grants(const struct lens *l, const char *view,
			     struct arena *a);
/* "new.x", quoted: L_lens's column for a new one. */
const char *ddl_new_name(const struct lens *l, size_t i, struct arena *a);

/* ddl_late.c: the sync `ref` of that direction for statements of several
 * writes; the trigger that ends those of a relation, and its text for a view.
 */
void ddl_add_late_sync(struct ddl_build *b, enum walk_direction d,
		       const char *ref);
void ddl_create_late(struct ddl_build *b, const char *relation);
void ddl_drop_late(struct ddl_build *b, const char *relation);
const char *ddl_late_trigger(const char *trigger, const char *events,
			     const char *relation, struct arena *a);

/* ddl_husk.c: what the catalog still says of old when it is gone. */
void ddl_make_husk(struct ddl_build *b);
void ddl_place_husk(struct ddl_build *b);

/* ddl_lens.c: what is pgtandem's own. */
void ddl_create_objects(struct ddl_build *b);
/* ddl_copy.c: the views of COPY FROM. */
void ddl_create_copies(struct ddl_build *b);
void ddl_create_lens_copies(struct ddl_build *b); /* those into new alone */
void ddl_create_copy_old(struct ddl_build *b);
void ddl_create_copy_new(struct ddl_build *b);
void ddl_drop_copy_new(struct ddl_build *b);
void ddl_drop_synced_copies(struct ddl_build *b);
void ddl_drop_copies(struct ddl_build *b);
/* ddl_match.c: the functions of rewrite/lens/match.h. */
void ddl_create_matches(struct ddl_build *b);
void ddl_drop_matches(struct ddl_build *b);
void ddl_add_shape(struct ddl_build *b);
void ddl_grant_sequences(struct ddl_build *b);
const char *ddl_key_types(const struct lens *l, struct arena *a);
const char *ddl_pins(const struct lens *l);
void ddl_drop_views(struct ddl_build *b);
/* L_lens's select list over the new relation n; old column i of it. */
const char *ddl_lens_value(const struct lens *l, unsigned i, struct arena *a);
const char *ddl_lens_columns(const struct lens *l, struct arena *a);
/* ddl_merge.c: what a merge has besides, and how it is put together. */
void ddl_create_cut(struct ddl_build *b);
void ddl_drop_cut(struct ddl_build *b);
void ddl_check_halves(struct ddl_build *b);
void ddl_drop_earlier_views(struct ddl_build *b);
void ddl_drop_functions(struct ddl_build *b);
void ddl_create_triggers(struct ddl_build *b);
void ddl_enable_triggers(struct ddl_build *b);
void ddl_drop_triggers(struct ddl_build *b);
void ddl_empty_new(struct ddl_build *b);
void ddl_forget_walk(struct ddl_build *b);

/* ddl_lens.c, for kinds that make some of its objects their own way. */
void ddl_add_shape(struct ddl_build *b);
void ddl_grant_sequences(struct ddl_build *b);
/* L_to_new or L_to_old; `sync` are plpgsql statements that sync the key $2...
 * to relation `target`. */
void ddl_add_sync(struct ddl_build *b, enum walk_direction d, const char *ref,
		  const char *sync, const char *target);
/* " SET DateStyle = ..." where values that are converted need it. */
const char *ddl_pins(const struct lens *l);
const char *ddl_key_types(const struct lens *l, struct arena *a);

/* ddl_child.c: the same parts for a child lens. */
void ddl_child_create_table(struct ddl_build *b);
void ddl_child_create_objects(struct ddl_build *b);
/* Finds the picked row of the key in $first..., into "pgtandem.id", and locks
 * it; and then gives it what a row of `source` says. */
const char *child_find_picked(const struct lens *l, size_t first,
			      const char *columns, const char *into,
			      struct arena *a);
const char *child_give(const struct lens *l, const char *source, size_t first,
		       struct arena *a);
/* ddl_child_write.c */
void ddl_child_create_writes(struct ddl_build *b);
void ddl_child_create_triggers(struct ddl_build *b);
void ddl_child_drop_triggers(struct ddl_build *b);
void ddl_child_drop_views(struct ddl_build *b);
void ddl_child_drop_functions(struct ddl_build *b);
void ddl_child_drop_syncs(struct ddl_build *b);
void ddl_child_empty_table(struct ddl_build *b);
void ddl_child_drop_table(struct ddl_build *b);
void ddl_child_relax(struct ddl_build *b);
void ddl_child_drop_defaults(struct ddl_build *b);
void ddl_child_set_defaults(struct ddl_build *b);
void ddl_child_drop_foreign_keys(struct ddl_build *b);
void ddl_child_restore(struct ddl_build *b);
/* ddl_columns.c: the view of what stays. */
void ddl_child_hide(struct ddl_build *b);
void ddl_child_lens_alone(struct ddl_build *b);
void ddl_child_drop_columns(struct ddl_build *b);

/*
 * ddl_promise.c: constraints of the old relation.  Those ahead of a move are
 * there when its other steps run.  `definition` as pg_get_constraintdef prints
 * it, or what stands behind the table in CREATE INDEX.
 */
void ddl_drop_constraint(struct ddl_build *b, const char *name);
void ddl_promise(struct ddl_build *b, const char *name, const char *definition);
void ddl_promise_not_null(struct ddl_build *b, const char *column);
void ddl_set_not_null(struct ddl_build *b, const char *column);
void ddl_drop_not_null(struct ddl_build *b, const char *column);
void ddl_build_index(struct ddl_build *b, const char *name, bool unique,
		     const char *definition);
void ddl_add_unique(struct ddl_build *b, const char *name,
		    const char *definition);

/* ddl_columns*.c: one table that is both models. */
void ddl_columns_hide(struct ddl_build *b);
void ddl_columns_add(struct ddl_build *b);
void ddl_columns_objects(struct ddl_build *b);
void ddl_columns_keep_old(struct ddl_build *b);
void ddl_columns_keep_window(struct ddl_build *b);
void ddl_columns_keep_new(struct ddl_build *b);
void ddl_columns_trigger(struct ddl_build *b);
void ddl_columns_drop_trigger(struct ddl_build *b);
void ddl_columns_constrain(struct ddl_build *b);
void ddl_columns_unconstrain(struct ddl_build *b);
void ddl_columns_defaults(struct ddl_build *b);
void ddl_columns_relax(struct ddl_build *b);
void ddl_columns_restore(struct ddl_build *b);
void ddl_columns_lens_alone(struct ddl_build *b);
void ddl_columns_drop_old(struct ddl_build *b);
void ddl_columns_rename_twins(struct ddl_build *b);
void ddl_columns_index(struct ddl_build *b);
void ddl_columns_drop_views(struct ddl_build *b);
void ddl_columns_drop_new(struct ddl_build *b);
void ddl_columns_unhide_old(struct ddl_build *b);
void ddl_columns_unhide_new(struct ddl_build *b);

/* The default that gives an old column's next value: its own, or its
 * identity's; NULL if it has none. */
const char *ddl_old_default(const struct column *c, struct arena *a);

#endif

/*
 * The child part of a lens: old columns that become 0..n rows of a table.
 *
 * Owns what is compiled of `kind: child`: which columns of the child table
 * hold the key, what the others are made of, when there is a row, and which
 * of several the old shape shows (the first in `pick` order: the picked row).
 *
 * Objects of a child lens in schema pgtandem besides those of
 * rewrite/lens/lens.h:
 *
 *   L_read_<n>  function (key...): old column n of the picked row, in a
 *               snapshot of its own.
 *   L_pick_<n>  the same for queries.  It is said to be STABLE, so that the
 *               planner may flatten a view that calls it, and reads through
 *               L_read_<n>: a row that was waited for is looked at anew with
 *               the child rows that there are then.
 *   L_stash     function (value, which, key..., moved...) returns value:
 *               remembers what an UPDATE or INSERT gives to the columns that
 *               moved, until the row's RETURNING; `which` has a 1 for each
 *               column that is given.
 *   L_given_<n> function (): what is stashed, which EXCLUDED means.
 *   L_put       function (epoch, to_old, key...): computed before what else
 *               RETURNING has, gives the picked row what was stashed.
 *   L_free      function (to_old, key...) returns to_old: refuses a changed key
 *               that another row had when the statement began, since the
 *               foreign key would take this row's child rows for that one's.
 *   L_drop      function (epoch, key...): deletes the key's rows, where no
 *               foreign key does that.
 *   L_set_new   function (key...): the walker's sync of one key, after which
 *               the child table has exactly the rows that old says.
 *   L_set_old   the same to the old columns.
 *   L_give_new  function (key...): gives the picked row what old says.
 */
#ifndef REWRITE_LENS_CHILD_H
#define REWRITE_LENS_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/problem.h"
#include "config/spec.h"
#include "rewrite/lens/lens.h"

struct child_column {
	const struct column *column;
	bool parent;		 /* holds a key column */
	bool mapped;		 /* has a forward; else it keeps its own */
	bool plain;		 /* is a moved column, and that is this one */
	unsigned old_index;	 /* plain: which */
	struct template forward; /* over the old columns */
};

struct child_moved {
	unsigned old_index;
	bool plain;		 /* is a child column, and that is it */
	unsigned column;	 /* plain: which */
	struct template reverse; /* over the child's columns */
};

struct child_pick {
	struct template by; /* over the child's columns */
	const char *order;  /* " DESC NULLS LAST", or "" */
};

struct lens_child {
	const struct relation *relation; /* planned: as expand makes it */
	const char *ref;		 /* "public.employeestores" */
	size_t n_columns;
	const struct child_column *columns;
	const unsigned *parent; /* the column of each key column */
	size_t n_moved;
	const struct child_moved *moved; /* in the order of the old columns */
	bool has_when;
	struct template when; /* over the old columns */
	size_t n_pick;
	const struct child_pick *pick;
	bool single;   /* a unique key: at most one row of each parent */
	bool cascades; /* a foreign key deletes rows with their parent's */
	bool acts;     /* ... or moves them: at the end of the statement */
	const char *stash_ref, *put_ref, *free_ref, *drop_ref;
	const char *set_new_ref, *set_old_ref, *give_new_ref;
};

/* The moved column that is this old column, or NULL. */
const struct child_moved *child_find_moved(const struct lens *l, unsigned old);
/* The table, without its schema, that foreign key number i of the child's
 * relation refers to, other than the parents; or NULL. */
const char *child_refers_to(const struct lens *l, size_t i, struct arena *a);
/* Does a child column or `when` depend on this old column? */
bool child_depends_on(const struct lens *l, unsigned old);

/* SQL.  `prefix` stands before each column's name ("c." gives c.store_id). */
const char *child_forward(const struct lens *l, size_t column,
			  const char *prefix, struct arena *a);
/* The moved column, of its type; `prefix` ends in a dot.  NULL where there is
 * no row, also if the expression makes something of nothing. */
const char *child_reverse(const struct lens *l, const struct child_moved *m,
			  const char *prefix, struct arena *a);
/* "(store_id IS NOT NULL) IS TRUE", or "true". */
const char *child_when(const struct lens *l, const char *prefix,
		       struct arena *a);
/* "c.store_id, c.ctid": what the picked row is the first of. */
const char *child_order(const struct lens *l, const char *alias,
			struct arena *a);
/* The child's column of key column i, quoted. */
const char *child_parent(const struct lens *l, size_t i, struct arena *a);
/* "c.employee_id = e.id AND ..." */
const char *child_join(const struct lens *l, const char *child, const char *old,
		       struct arena *a);
/* L_pick_<n> or L_read_<n> of a moved column. */
const char *child_pick_ref(const struct lens *l, const struct child_moved *m,
			   struct arena *a);
const char *child_read_ref(const struct lens *l, const struct child_moved *m,
			   struct arena *a);
const char *child_given_ref(const struct lens *l, const struct child_moved *m,
			    struct arena *a);
/* "pgtandem.L_pick_2(e.id)" */
const char *child_picked(const struct lens *l, const struct child_moved *m,
			 const char *alias, struct arena *a);

/* Do the columns made of the old row at `old` ("s.") differ from those of the
 * child row at `child` ("t.")? */
const char *child_differ(const struct lens *l, const char *old,
			 const char *child, struct arena *a);

/* How the picked row is had beside its old row. */
enum child_access {
	CHILD_JOIN,
	CHILD_FUNCTIONS, /* L_pick: rows can be locked */
	CHILD_SUBSELECT, /* for a cursor of which WHERE CURRENT OF may ask: only
			  * the old row is scanned */
};

/* The old shape over the new model, as a FROM item without an alias. */
const char *child_derived(const struct lens *l, bool only, const char *sample,
			  enum child_access access, struct arena *a);

#endif

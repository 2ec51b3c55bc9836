/*
 * A lens: a specification made fast and checked against the catalog.
 *
 * Owns the compiled mapping between an old and a new relation, in the arena
 * it was compiled into.  Knows nothing of phases, statements or sessions.
 *
 * Names in the database that belong to a lens, all in schema pgtandem, where
 * L is <migration>_<position of the lens, from 1>:
 *
 *   L_shape    view: the old columns, in order, typed, with the old defaults;
 *              reads no table.  An INSTEAD OF trigger hands each row back, so
 *              INSERT ... RETURNING * gives the client's row after
 *              PostgreSQL's own name resolution, type inference, assignment
 *              casts and defaults, and writes nothing.  An UPDATE of it, which
 *              finds no row, checks the client's SET list in the same way.
 *   L_lens     view over the new relation, automatically updatable: the old
 *              columns, in order, then each converted new column as
 *              "new.<column>", so that an UPDATE can set it.
 *   L_to_new   function (epoch bigint, key...) returns text: sync of one key
 *              from old to new; called from a write's RETURNING list.
 *   L_to_old   the same from new to old.
 *   L_lock_old function (key...) returns boolean: locks the old row, true.
 *   L_lens2    the same over the new relation of a migration that carries on
 *              what this one made; L_lens3, ... (rewrite/lens/chain.h)
 *   L_match_N, L_match_any_N, L_upto_N, L_from_N, L_forward_N,
 *   L_forward_all_N, L_other_N
 *              functions to look new column N up by an old value
 *              (rewrite/lens/match.h).
 *   L_copy_old, L_copy_both, L_copy_lens, L_copy_new
 *              views that COPY FROM writes into (rewrite/ddl/ddl_copy.c).
 *   L_old, L_new  kind columns: views over the one table that have the old
 *              columns, or the new ones, and are automatically updatable.
 *   L_fill     merge: L_lens with the rows that do not have this half, for
 *              INSERT, which may meet one
 *   L_cut      merge: the old columns of this half's rows, locked; a DELETE
 *              of it sets the half NULL, or deletes a row that has no other
 *   L_claim    merge: function (boolean, key...) returns boolean: true where
 *              an INSERT may fill a row's half, else a unique violation
 *   L_present  merge whose halves hang together: function (key...) returns
 *              boolean: true where the leader's row is there, which it locks
 *              as a foreign key does, else a foreign key violation
 *   L_moved    trigger functions that sync both keys when an UPDATE changes
 *              the key (PostgreSQL before 18 does not RETURN the old one).
 *
 * A child lens, whose old relation stays and loses columns, has more; they are
 * told in rewrite/lens/lens_child.h.
 */
#ifndef REWRITE_LENS_H
#define REWRITE_LENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/problem.h"
#include "config/spec.h"
#include "rewrite/catalog.h"

struct match;

/* What an expression of one column surely does (rewrite/lens/sure.h). */
struct sure {
	bool total;	  /* it gives a string, and cannot fail */
	const char *time; /* it gives this type, keeps the order, and cannot
			   * fail, if dates are in a timestamp's range; or
			   * NULL */
	bool rising;	  /* bounded: of two values, the greater one gives no
			   * less */
	/* It is factor * v + add, and can fail only where v is not between
	 * low and high; v may have digits behind the point. */
	bool bounded, scaled;
	int64_t factor, add, low, high;
};

/*
 * A mapping expression, cut where it names a column: text[0] col[0] text[1]
 * ... col[n-1] text[n].  Columns are indexes into the source side's columns.
 */
/* clang-format off */
struct template {
	size_t n;
	const char *const *text;	/* n + 1 pieces */
	const unsigned *column;		/* n */
	bool strict;			/* surely NULL if a column is */
	struct sure sure;
};
/* clang-format on */

/* How one old column is had from the new relation. */
struct lens_old {
	const struct column *column;
	bool carried;	    /* a new column of the same type, only renamed */
	unsigned new_index; /* carried: which */
	struct template reverse; /* over the new columns; cast to the type */
	bool bijective;		 /* one new column, one-to-one */
};

/* How one new column is had from the old relation. */
struct lens_new {
	const struct column *column;
	bool carried;
	bool extra;		 /* not in the lens: default only, never read */
	unsigned old_index;	 /* carried: which */
	struct template forward; /* over the old columns; cast to the type */
	bool bijective;
	const struct match *match; /* how it is looked up, or NULL */
	bool ordered;		   /* ... and sorts as the old column does */
	/* The column as the specification makes it, whatever has become of it
	 * so far; NULL: an extra one.  Differs from `column` in a table that
	 * is both models. */
	const struct column *wanted;
};

/*
 * What a foreign key from the one old table's key to the other's makes of the
 * halves: a row that has the follower's has the leader's too, so that the
 * leader's rows are all there are.
 */
enum half_link { HALF_ALONE, HALF_LEADS, HALF_FOLLOWS };

/*
 * Merge: one half of the new relation's rows.  A row of this half's old table
 * is there where `marker`, which that has NOT NULL, is not NULL in the new
 * one.
 */
struct lens_half {
	unsigned marker;       /* new column of this half */
	unsigned other_marker; /* of the other half */
	const struct lens *other;
	bool second; /* of the two: the first one's moves make the table */
	const bool *required;  /* per new column: not null in its half */
	const char *rows_ref;  /* "(SELECT * FROM new WHERE marker ...)" */
	const char *fill_ref;  /* pgtandem.L_fill */
	const char *cut_ref;   /* pgtandem.L_cut */
	const char *claim_ref; /* pgtandem.L_claim */
	enum half_link link;
	const struct constraint *tie; /* the follower's foreign key, or NULL */
	bool deletes, moves;	      /* it is ON DELETE, ON UPDATE CASCADE */
	const char *present_ref;      /* follower: pgtandem.L_present */
};

struct lens_key {
	unsigned old_index, new_index; /* carried columns */
};

struct lens_child;

struct lens {
	const char *migration;
	unsigned number; /* from 1 */
	unsigned depth;	 /* 1; two in a row: 2, ... (rewrite/lens/chain.h) */
	enum lens_kind kind;
	bool husk; /* contract leaves a description of old */
	const struct relation *old;
	/* planned: as expand will make it.  Of a child lens: the old one
	 * without the columns that move. */
	const struct relation *new;
	const struct lens_child *child; /* NULL: not a child lens */
	size_t n_old;			/* == old->n_columns */
	const struct lens_old *olds;
	size_t n_new; /* == new->n_columns */
	const struct lens_new *news;
	size_t n_key;
	const struct lens_key *key;
	const struct lens_half *half; /* merge; else NULL */
	const struct lens *later; /* two in a row: whose old is kept; or NULL */
	/* Qualified and quoted, ready to stand in a statement. */
	const char *old_ref, *new_ref; /* "public.inovices" */
	const char *shape_ref, *lens_ref;
	const char *to_new_ref, *to_old_ref, *lock_old_ref;
	const char *old_view_ref, *new_view_ref; /* kind columns */
	/* Older relations that are served through this one, each by the lens
	 * that leads from it to `new`; known to those who move phases. */
	size_t n_earlier;
	const struct lens *const *earlier;
};

/*
 * Compiles lens number `number` (from 1) of a specification.  `new` is NULL
 * while the relation does not exist: then its columns are worked out from the
 * old ones and the specification, as expand will make them.  Everything is
 * checked here that can be without a server: columns exist, the key is
 * usable, every new column has a source, expressions parse and name only
 * columns of their side and no subquery, aggregate or parameter.
 */
bool lens_compile(const struct spec *spec, unsigned number,
		  const struct relation *old, const struct relation *new,
		  struct arena *a, const struct lens **ret, struct problem *p)
    __attribute__((warn_unused_result));

/* The same for a merge, whose two lenses have the numbers `number` and the
 * next.  The new relation is worked out from both old ones. */
bool lens_compile_merge(const struct spec *spec, unsigned number,
			const struct relation *const old[2],
			const struct relation *new, struct arena *a,
			const struct lens *ret[2], struct problem *p)
    __attribute__((warn_unused_result));

/* "pgtandem.L_<what>", quoted. */
const char *lens_own_ref(const struct lens *l, const char *what,
			 struct arena *a);

/* May its row be there with the other half alone, which an INSERT then fills?
 */
bool lens_fills(const struct lens *l);
/* The clause of such an INSERT: it fills what is missing, and else raises what
 * the old relation's key would have raised, or does nothing. */
const char *half_fill_clause(const struct lens *l, const char *alias,
			     bool or_nothing, struct arena *a);
/* Does a DELETE of its row leave the other half, or refuse because of it? */
bool lens_cuts(const struct lens *l);

/* The name of the new relation's constraint that a column of its half is not
 * null. */
const char *lens_half_check(const struct lens *l, unsigned new_index,
			    struct arena *a);
/* ... and that a row has one half at least. */
const char *lens_one_half_check(const struct lens *l, struct arena *a);

/*
 * What a column is made of, each column of the other side with `prefix` before
 * its quoted name ("o." gives o.amount; prefix may be ""): the bare column if
 * it is carried, else CAST((expression) AS type).  Forward leaves the length
 * of varchar(n), char(n), bit(n) to the assignment that follows, since a cast
 * would cut silently; reverse has the exact old type.  NULL for an extra
 * column.  A carried column may be generated on either side
 * (column->generated): then it can be read but not assigned.
 */
const char *lens_forward(const struct lens *l, unsigned new_index,
			 const char *prefix, struct arena *a);
const char *lens_reverse(const struct lens *l, unsigned old_index,
			 const char *prefix, struct arena *a);

/* Is there a new column that always holds what this old one does: the same
 * column, one that it is only copied to, or a whole number in another type for
 * such? */
bool lens_keeps_value(const struct lens *l, unsigned old_index);

/* "id, customer AS customr, ...": the old columns, in order, as a SELECT list
 * over the new relation. */
const char *lens_columns(const struct lens *l, struct arena *a);
/* A name of its own made longer: "pgtandem.L_to_new" + suffix. */
const char *lens_ref_with(const char *ref, const char *suffix, struct arena *a);
/* L_to_new or L_to_old for statements of several writes, whose foreign keys
 * wait for the statement's end (rewrite/ddl/ddl_late.c). */
const char *lens_late_ref(const char *ref, struct arena *a);
/* A foreign key of the old relation that points at it. */
bool lens_is_to_itself(const struct lens *l, const struct constraint *k);
/* May a statement tell the functions that sync a row its place, as `ctid` or
 * L_lens's "pgtandem.ctid"?  Not where a client may read some columns only. */
bool lens_tells_place(const struct lens *l);
/* The name in L_lens of a new column that is not extra, quoted: the old
 * column's, or "new.<column>". */
const char *lens_view_column(const struct lens *l, unsigned new_index,
			     struct arena *a);
/* L_copy_<what>, qualified and quoted. */
const char *copy_view(const struct lens *l, const char *what, struct arena *a);

/* An identifier as PostgreSQL's quote_ident writes it. */
const char *quote_name(const char *name, struct arena *a);
const char *quote_qualified(const char *schema, const char *name,
			    struct arena *a);
/* A string literal, E'' when it has a backslash. */
const char *quote_text(const char *s, struct arena *a);

#endif

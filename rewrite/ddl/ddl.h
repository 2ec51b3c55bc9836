/*
 * The statements that a phase move runs in the database, made from a lens.
 *
 * Texts only: daemon/phase/ runs them, with a short lock_timeout and retries,
 * holding new statements at the proxy meanwhile.  Every object that they make
 * is named in rewrite/lens/lens.h.
 */
#ifndef REWRITE_DDL_H
#define REWRITE_DDL_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "config/phase.h"
#include "rewrite/lens/lens.h"

struct ddl_step {
	const char *what; /* for a person: "create table public.invoices" */
	const char *sql;
	bool once;	   /* not again after a way back: nothing undoes it */
	bool locks_source; /* takes a strong lock on a live relation: hold
			    * statements meanwhile */
	bool ahead;	   /* by itself, committed before the other steps of the
			    * move, which may not follow: it can be run again */
	bool alone;	   /* ... and not in a transaction */
	const char *loses; /* the constraint or unique index that gets no
			    * twin, and keeps no row out any more; or NULL */
	const char *undo;  /* of a step ahead of a move that fails; or NULL */
};

struct ddl_list {
	size_t n;
	const struct ddl_step *steps; /* in this order; but for those ahead, one
				       * transaction */
};

/*
 * What a move from `from` to its neighbour `to` runs, for one lens, excluding
 * the specification's own texts.  `generated` false leaves out what belongs
 * to the models (ddl: manual) and keeps what is pgtandem's own.
 * `before` true: run before the epoch is raised; false: after the barrier.
 */
void ddl_for_move(const struct lens *l, enum phase from, enum phase to,
		  bool before, bool generated, struct arena *a,
		  struct ddl_list *ret);

/* The state schema, its tables and shared functions; idempotent. */
const char *ddl_state_schema(void);

#endif

/*
 * What each phase does to each use of each shape: one table per kind of lens.
 *
 * Knows nothing of SQL; the uses are found by rewrite/walk.c and
 * rewrite/utility.c, the actions are carried out by rewrite/read/read.c,
 * write_sync.c, write_lens.c and utility.c.
 */
#ifndef REWRITE_POLICY_H
#define REWRITE_POLICY_H

#include "config/phase.h"
#include "rewrite/ruleset.h"

/* clang-format off */
/* How a statement uses a relation under migration: X(constant, in words) */
#define USES(X) \
	X(USE_READ,      "a read") \
	X(USE_BESIDE,    "a read beside a write or a row lock") \
	X(USE_LOCK,      "a read that locks rows") \
	X(USE_WRITE,     "INSERT, UPDATE or DELETE") \
	X(USE_CTE_WRITE, "a write inside WITH or COPY") \
	X(USE_MERGE,     "MERGE") \
	X(USE_COPY_IN,   "COPY FROM") \
	X(USE_TRUNCATE,  "TRUNCATE") \
	X(USE_TEND,      "REINDEX, CLUSTER or COMMENT") \
	X(USE_LOCK_TABLE, "LOCK TABLE") \
	X(USE_MAINTAIN,  "VACUUM or ANALYZE") \
	X(USE_VIEW,      "the definition of a view") \
	X(USE_CODE,      "a function body or DO block") \
	X(USE_DDL,       "a change of the data definition") \
	X(USE_GRANT,     "GRANT or REVOKE") \
	X(USE_SWITCH,    "DISABLE or ENABLE TRIGGER") \
	X(USE_TEXT,      "a query in a text for a function")
/* clang-format on */

enum use {
#define X(id, what) id,
	USES(X)
#undef X
	    USE_COUNT
};

enum action {
	ACT_UNSET,	   /* a cell that nobody decided */
	ACT_PASS,	   /* as the client wrote it */
	ACT_SYNC,	   /* with the sync function appended */
	ACT_SYNC_MERGE,	   /* the same, where the server returns what MERGE
			    * writes; else refused */
	ACT_THROUGH,	   /* read through the lens */
	ACT_THROUGH_SHARE, /* where the session is in read_percent; where it
			    * is not, as a read beside a write */
	ACT_LENS,	   /* write through the lens */
	ACT_LENS_SYNC,	   /* and sync to old */
	ACT_HIDE,	   /* without the other model's columns */
	ACT_HIDE_SYNC,	   /* the same, as a write that is synced */
	ACT_BOTH,	   /* the other relation too, behind it */
	ACT_BOTH_BEFORE,   /* the other relation too, before it */
	ACT_OTHER,	   /* the other relation instead */
	ACT_REFUSE,
};

enum action policy_action(enum lens_kind k, enum phase p, enum shape s,
			  enum use u);
/* "a read that locks rows", for messages. */
const char *use_what(enum use u);
/* Does any statement of this shape need more than to be carried? */
bool policy_needs_rewriting(enum lens_kind k, enum phase p, enum shape s);

#endif

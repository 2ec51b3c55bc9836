/*
 * The policy of the phases (design sections 3, 5, 7, 8): one table per kind of
 * lens, one row per phase, one column per use.
 */
#include "rewrite/policy.h"

#include <assert.h>

enum { /* short names, so that the table can be read */
       PASS = ACT_PASS,
       SYNC = ACT_SYNC,
       MSYN = ACT_SYNC_MERGE,
       THRU = ACT_THROUGH,
       SHARE = ACT_THROUGH_SHARE,
       LENS = ACT_LENS,
       LSYN = ACT_LENS_SYNC,
       HIDE = ACT_HIDE,
       HSYN = ACT_HIDE_SYNC,
       BOTH = ACT_BOTH,
       NBOTH = ACT_BOTH_BEFORE,
       OTHER = ACT_OTHER,
       NO = ACT_REFUSE,
};

/* clang-format off */
#define COLUMNS(read, beside, lock, write, cte, merge, copy, trunc, tend, \
		lockt, maint, view, code, ddl, grant, switch_, text) \
	{ [USE_READ] = (read), [USE_BESIDE] = (beside), [USE_LOCK] = (lock), \
	  [USE_WRITE] = (write), [USE_CTE_WRITE] = (cte), [USE_MERGE] = (merge), \
	  [USE_COPY_IN] = (copy), [USE_TRUNCATE] = (trunc), [USE_TEND] = (tend), \
	  [USE_LOCK_TABLE] = (lockt), [USE_MAINTAIN] = (maint), [USE_VIEW] = (view), \
	  [USE_CODE] = (code), [USE_DDL] = (ddl), [USE_GRANT] = (grant), \
	  [USE_SWITCH] = (switch_), [USE_TEXT] = (text) }

typedef unsigned char policy_table[PHASE_COUNT][SHAPE_COUNT][USE_COUNT];

static const policy_table table_policy = {
	/*                        read   beside lock  write cte   merge copy  trunc  tend  lockt  maint  view  code  ddl   grant  switch text */
	[PHASE_PLANNED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, PASS, PASS, PASS,  PASS),
	},
	[PHASE_EXPANDED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  NO,   PASS, NO,   BOTH, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_DUAL_WRITE] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, SYNC, SYNC, MSYN, SYNC, BOTH,  PASS, BOTH,  BOTH,  NO,   NO,   NO,   BOTH, BOTH,  PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_READ_NEW] = {
		[SHAPE_OLD] = COLUMNS(SHARE, PASS, PASS, SYNC, SYNC, MSYN, SYNC, BOTH,  PASS, BOTH,  BOTH,  NO,   NO,   NO,   BOTH, BOTH,  PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_WRITE_NEW] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LSYN, LSYN, NO,   LSYN, BOTH,  PASS, NBOTH, BOTH,  NO,   NO,   NO,   BOTH, NBOTH, PASS),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, SYNC, SYNC, MSYN, SYNC, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_NEW_ONLY] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, LENS, LENS, OTHER, PASS, OTHER, OTHER, NO,   NO,   NO,   BOTH, OTHER, NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_CONTRACTED] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, LENS, LENS, OTHER, NO,   OTHER, OTHER, NO,   NO,   NO,   OTHER, OTHER, NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
	},
};

/* The old relation stays in use: what tends, locks or empties it is about it. */
static const policy_table child_policy = {
	/*                        read   beside lock  write cte   merge copy  trunc  tend  lockt  maint  view  code  ddl   grant  switch text */
	[PHASE_PLANNED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, PASS, PASS, PASS,  PASS),
	},
	[PHASE_EXPANDED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, BOTH,  PASS, PASS,  PASS,  NO,   PASS, NO,   BOTH, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_DUAL_WRITE] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, SYNC, SYNC, LENS, SYNC, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   BOTH, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_READ_NEW] = {
		[SHAPE_OLD] = COLUMNS(SHARE, PASS, PASS, SYNC, SYNC, LENS, SYNC, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   BOTH, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_WRITE_NEW] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LSYN, LSYN, LENS, LSYN, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   BOTH, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, SYNC, SYNC, NO,   SYNC, NO,    PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_NEW_ONLY] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, LENS, LENS, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   BOTH, NO,    NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_CONTRACTED] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, LENS, LENS, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   BOTH, NO,    NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
	},
};

/* One table is both models: what concerns it as a whole passes. */
static const policy_table columns_policy = {
	/*                        read   beside lock  write cte   merge copy  trunc  tend  lockt  maint  view  code  ddl   grant  switch text */
	[PHASE_PLANNED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, PASS, PASS, PASS,  PASS),
	},
	[PHASE_EXPANDED] = {
		[SHAPE_OLD] = COLUMNS(HIDE,  HIDE, HIDE, HIDE, HIDE, HIDE, HIDE, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    NO),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_DUAL_WRITE] = {
		[SHAPE_OLD] = COLUMNS(HIDE,  HIDE, HIDE, HSYN, HSYN, HSYN, HSYN, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    NO),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_READ_NEW] = {
		[SHAPE_OLD] = COLUMNS(SHARE, HIDE, HIDE, HSYN, HSYN, HSYN, HSYN, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    NO),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_WRITE_NEW] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LSYN, LSYN, LSYN, LSYN, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    NO),
		[SHAPE_NEW] = COLUMNS(HIDE,  HIDE, HIDE, HSYN, HSYN, HSYN, HSYN, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_NEW_ONLY] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, LENS, LENS, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    NO),
		[SHAPE_NEW] = COLUMNS(HIDE,  HIDE, HIDE, HIDE, HIDE, HIDE, HIDE, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_CONTRACTED] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, LENS, LENS, PASS,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
	},
};

/* TRUNCATE, GRANT and REVOKE of one half would reach the other. */
static const policy_table merge_policy = {
	/*                        read   beside lock  write cte   merge copy  trunc  tend  lockt  maint  view  code  ddl   grant  switch text */
	[PHASE_PLANNED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, PASS, PASS, PASS,  PASS),
	},
	[PHASE_EXPANDED] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  NO,   PASS, NO,   NO, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_DUAL_WRITE] = {
		[SHAPE_OLD] = COLUMNS(PASS,  PASS, PASS, SYNC, SYNC, MSYN, SYNC, NO,    PASS, BOTH,  BOTH,  NO,   NO,   NO,   NO, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_READ_NEW] = {
		[SHAPE_OLD] = COLUMNS(SHARE, PASS, PASS, SYNC, SYNC, MSYN, SYNC, NO,    PASS, BOTH,  BOTH,  NO,   NO,   NO,   NO, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(NO,    NO,   NO,   NO,   NO,   NO,   NO,   NO,    PASS, NO,    PASS,  NO,   PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_WRITE_NEW] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LSYN, LSYN, NO,   LSYN, NO,    PASS, NBOTH, BOTH,  NO,   NO,   NO,   NO, NO,    PASS),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, SYNC, SYNC, MSYN, SYNC, BOTH,  PASS, PASS,  PASS,  NO,   NO,   NO,   PASS, NO,    PASS),
	},
	[PHASE_NEW_ONLY] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, NO,   LENS, NO,    PASS, OTHER, OTHER, NO,   NO,   NO,   NO, NO,    NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, NO,   PASS, NO,    PASS),
	},
	[PHASE_CONTRACTED] = {
		[SHAPE_OLD] = COLUMNS(THRU,  THRU, THRU, LENS, LENS, NO,   LENS, NO,    NO,   OTHER, OTHER, NO,   NO,   NO,   NO, NO,    NO),
		[SHAPE_NEW] = COLUMNS(PASS,  PASS, PASS, PASS, PASS, PASS, PASS, PASS,  PASS, PASS,  PASS,  PASS, PASS, PASS, PASS, PASS,  PASS),
	},
};

static const policy_table *const policies[] = {
	[LENS_TABLE] = &table_policy,
	[LENS_COLUMNS] = &columns_policy,
	[LENS_CHILD] = &child_policy,
	[LENS_MERGE] = &merge_policy,
};

static const char *const whats[USE_COUNT] = {
#define X(id, what) [id] = (what),
	USES(X)
#undef X
};
/* clang-format on */

enum action policy_action(enum lens_kind k, enum phase p, enum shape s,
			  enum use u)
{
	enum action action = (*policies[k])[p][s][u];

	assert(action != ACT_UNSET);
	return action;
}

const char *use_what(enum use u)
{
	return whats[u];
}

bool policy_needs_rewriting(enum lens_kind k, enum phase p, enum shape s)
{
	return policy_action(k, p, s, USE_READ) != ACT_PASS ||
	       policy_action(k, p, s, USE_WRITE) != ACT_PASS;
}

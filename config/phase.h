/*
 * The phases of a migration, in order, as one table.
 *
 * Parser, names, console, help and tests all read it.  What each phase does
 * to a statement is in rewrite/policy.c; what a move into it needs is in
 * daemon/phase/.
 */
#ifndef CONFIG_PHASE_H
#define CONFIG_PHASE_H

#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
/* X(constant, name, what it is, in a person's words) */
#define PHASES(X) \
	X(PHASE_PLANNED,    "planned",    "only the old model; traffic is observed") \
	X(PHASE_EXPANDED,   "expanded",   "the new model exists and is empty") \
	X(PHASE_DUAL_WRITE, "dual_write", "writes go to old, and are synced to new") \
	X(PHASE_READ_NEW,   "read_new",   "reads come from new; writes as before") \
	X(PHASE_WRITE_NEW,  "write_new",  "writes go to new, and are synced to old") \
	X(PHASE_NEW_ONLY,   "new_only",   "old is no longer written") \
	X(PHASE_CONTRACTED, "contracted", "old is dropped")

enum phase {
#define X(id, name, what) id,
	PHASES(X)
#undef X
	PHASE_COUNT
};
/* clang-format on */

const char *phase_name(enum phase p);
const char *phase_what(enum phase p);
/* By name, case-insensitive; false if there is none. */
bool phase_from_name(const char *name, size_t len, enum phase *ret)
    __attribute__((warn_unused_result));

#endif

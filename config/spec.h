/*
 * A migration's specification, as its YAML file says it.
 *
 * Immutable once read; lives in the arena of the configuration that read it.
 * Knows names and texts only: whether the relations exist and what their
 * columns are is the catalog's and the lens compiler's business
 * (rewrite/lens/lens.h).
 */
#ifndef CONFIG_SPEC_H
#define CONFIG_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/problem.h"

enum lens_kind { LENS_TABLE = 1, LENS_COLUMNS, LENS_CHILD, LENS_MERGE };
enum old_use { OLD_USE_TRANSLATE = 1, OLD_USE_WARN, OLD_USE_ERROR };
enum column_order { ORDER_ANY = 1, ORDER_PRESERVING };
enum guard_mode { GUARD_OFF = 1, GUARD_CAPTURE, GUARD_REJECT };
enum violation_mode { VIOLATION_FAIL = 1, VIOLATION_QUARANTINE };
enum ddl_mode { DDL_GENERATED = 1, DDL_MANUAL };
enum trigger_mode { TRIGGERS_MOVE = 1, TRIGGERS_IGNORE };
enum husk_mode { HUSK_KEEP = 1, HUSK_NONE };

/* Names are the catalog's, not folded: `createdAt` is a column "createdAt".
 * A part may stand in double quotes, as in SQL, if it has a dot or a quote. */
struct spec_name { /* schema.name; schema "public" if bare */
	const char *schema;
	const char *name;
};

struct spec_key {
	const char *old;
	const char *new;
};

/*
 * One entry under `columns:`; what the lens does to a set of old columns.
 * A child lens has two lists: `columns` are the old columns that move (one
 * old, its reverse or NULL, no new), `child` the columns of the child table
 * (no old, new and forward).
 */
struct spec_column {
	size_t n_old;
	const char *const *old; /* at least one; `child`: none */
	const char *new_name;	/* NULL in a child lens's `columns` */
	const char *new_type;	/* NULL: as the old column's */
	bool new_not_null;	/* `not_null: true` under new */
	bool new_not_null_given;
	const char *new_default;    /* NULL: the old default, mapped */
	const char *forward;	    /* SQL over old columns; NULL: the column */
	const char *const *reverse; /* n_old texts, over new columns; or NULL */
	bool bijective;
	enum column_order order;
	struct spec_name from; /* merge: the old table; or empty */
	unsigned line;	       /* in the file, for messages */
};

/*
 * A merge lens stands in the list twice, once for each of its old tables; both
 * have all entries of `columns`.
 */
struct spec_lens {
	enum lens_kind kind;
	struct spec_name old;  /* columns: the one table */
	struct spec_name old2; /* merge: the other one; else empty */
	unsigned half;	       /* merge: 1 or 2; else 0 */
	struct spec_name new;  /* columns: as old */
	size_t n_key;
	const struct spec_key *key;
	size_t n_key2; /* merge: what the second table calls it; 0: the same */
	const char *const *key2;
	size_t n_columns;
	const struct spec_column *columns;
	/* What follows is a child lens's. */
	size_t n_parent;
	const struct spec_key *parent; /* child column `new` holds `old` */
	size_t n_child;
	const struct spec_column *child;
	const char *when; /* SQL: a child row exists; or NULL */
	size_t n_pick;
	const char *const *pick; /* ORDER BY items: the row old shows */
	unsigned line;
};

struct spec {
	const char *file; /* path as found, for messages */
	unsigned name_line;
	const char *name; /* [a-z][a-z0-9_]*, at most 40 bytes */
	const char *database;
	bool lossy_accept;
	enum guard_mode guard;
	enum old_use old_use;
	enum violation_mode on_violation;
	enum ddl_mode ddl;
	enum trigger_mode triggers;
	enum husk_mode husk;
	uint64_t quiet_for_ms;
	size_t n_leave_out;
	const char *const *leave_out; /* constraints and indexes */
	const char *expand; /* SQL run before the generated; or NULL */
	const char *relax;
	const char *contract;
	size_t n_lenses;
	const struct spec_lens *lenses;
	const char *text; /* the whole file, for the state */
	char hash[17];	  /* of text: 64-bit FNV-1a in hex */
};

enum { SPEC_NAME_BYTES = 40, SPEC_MAX_LENSES = 32 };

/* Reads one migration file.  On failure nothing but `p` is written; the
 * message names file, line, key and what was expected. */
bool spec_read(const char *file, struct arena *a, const struct spec **ret,
	       struct problem *p) __attribute__((warn_unused_result));
/* The same from memory; `file` is used in messages only. */
bool spec_parse(const char *file, const char *text, size_t len, struct arena *a,
		const struct spec **ret, struct problem *p)
    __attribute__((warn_unused_result));
/* The same, and does not refuse the kinds of lens that nothing else of
 * pgtandem can handle yet. */
bool spec_parse_any(const char *file, const char *text, size_t len,
		    struct arena *a, const struct spec **ret, struct problem *p)
    __attribute__((warn_unused_result));

/* Adds every key of a migration file: settings_describe_spec. */
struct schema_rows;
void spec_describe(struct schema_rows *rows);

#endif

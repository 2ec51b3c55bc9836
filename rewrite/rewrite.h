/*
 * The one door: SQL in, plan out.
 *
 * Owns the decision what becomes of a statement: carried as it is, edited, or
 * refused with a reason.  A pure function of the request: no sockets, no
 * clock, no session.  Never crashes, never takes more than linear time in the
 * text (bounds are checked by a scan before the parser sees it), never
 * returns an edited text that does not parse again.
 *
 * How a statement is edited (design sections 5, 7, 8):
 *   read           FROM old -> FROM (SELECT ... FROM new) AS old
 *   synced write   RETURNING ..., pgtandem.L_to_new(epoch, key) appended
 *   ... in WITH    RETURNING CASE WHEN pgtandem.L_to_new(epoch, key) IS NULL
 *                  THEN id ELSE id END AS id
 *   lens insert    WITH r AS (INSERT INTO L_shape ... RETURNING *)
 *                  INSERT INTO L_lens ... SELECT forward(r) FROM r ...
 *   lens update    [WITH c AS (UPDATE L_shape SET ... WHERE false)]
 *                  UPDATE L_lens AS old SET "new.x" = forward(...) ...
 *   lens delete    DELETE FROM L_lens AS old ...
 *   ... of a cursor's row, and MERGE: on the new relation itself, if it can be
 */
#ifndef REWRITE_REWRITE_H
#define REWRITE_REWRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "config/problem.h"
#include "rewrite/ruleset.h"

struct rewrite_request {
	const char *sql; /* need not be NUL-terminated */
	size_t len;
	const struct ruleset *rules;
	const struct session_names *names; /* borrowed; NULL: the usual */
	bool read_new;			   /* this session is in read_percent */
	unsigned flags;			   /* of enum request_flag */
};

/* What the text alone does not say. */
enum request_flag {
	REQUEST_BACKSLASHES = 1, /* standard_conforming_strings is off */
	REQUEST_WIDE = 2,	 /* client_encoding has characters that hold
				  * ASCII bytes */
	REQUEST_TYPED = 4,	 /* Parse gives a parameter a type */
	REQUEST_TYPED_OTHER = 8, /* one that is not a number's */
	REQUEST_ALONE = 16,	 /* one statement, as Parse takes it */
};

/* Surely a syntax error, whatever whole statements stand before it. */
#define PLAN_POISON "pgtandem refused"

enum plan_kind {
	PLAN_PASS = 1, /* send the client's text */
	PLAN_EDIT,     /* send plan->text */
	PLAN_REFUSE,   /* send nothing of it; plan->refusal says why */
};

/* Where a result column comes from: table and column are numbers that direct
 * use would show; a table of 0 leaves what the server says. */
struct plan_origin {
	const char *name; /* as the result has it; NULL: any */
	uint32_t table;
	int16_t column;
	uint32_t type; /* oid of the old column's; 0: not known */
	bool many;     /* any number of columns that are not known */
	bool unsure; /* only where the server names the new relation, or none */
};

/* The new relation's columns: number i is `table`'s columns[i], or 0. */
struct plan_own {
	uint32_t from, table;
	size_t n;
	const int16_t *columns;
};

struct plan_origins {
	size_t n;
	const struct plan_origin *columns;
	size_t first_many, after_many; /* columns before the first that stands
					* for many, and behind the last */
	size_t n_own;
	const struct plan_own *own;
	/* What may be among the columns of one that stands for many, where the
	 * server names no table. */
	size_t n_among;
	const struct plan_origin *among;
};

/* One statement of the text; statements are separated as the parser does. */
struct plan_stmt {
	uint8_t hidden; /* trailing result columns to cut */
	bool silent;	/* the client asked for no rows: show none,
			 * NoData on Describe, no row limit to the server */
	bool ours;	/* not of the client's text: nothing of it is shown */
	const struct plan_origins *origins; /* of what is left; or NULL */
};

enum { PLAN_OURS = UINT32_MAX }; /* no byte of the client's text */

/* sent[at, at + added) stands where text[from, from + removed) stood. */
struct plan_edit {
	uint32_t from, removed; /* bytes of the client's text */
	uint32_t at, added;	/* bytes of the sent text */
	uint32_t source;	/* the client's byte that it stands for,
				 * or PLAN_OURS */
	bool verbatim;		/* it is a copy of text[source, ...) */
};

struct plan {
	enum plan_kind kind;
	const char *text; /* PLAN_EDIT, or `unread`: NUL-terminated */
	size_t len;
	size_t n_stmts; /* of the text sent; also for PLAN_PASS when it was
			 * parsed */
	const struct plan_stmt *stmts;
	size_t n_edits;
	const struct plan_edit *edits; /* in order of the text */
	uint64_t migrations;	       /* bit i: touches rules->migrations[i] */
	uint64_t old_shape;	       /* bit i: with its old shape */
	uint64_t new_shape;	       /* bit i: with its new shape */
	uint64_t writes;	       /* bit i: writes it */
	uint64_t halves[2];	/* bit i: writes the first, the second old
				 * table of its merge */
	bool reads_new;		/* depends on request->read_new */
	uint64_t epoch_sum;	/* of the epochs of `migrations` */
	bool unread;		/* refused because it does not parse:
				 * `text` has PLAN_POISON behind it, and
				 * fails at its own fault if the server
				 * finds one */
	uint64_t row_types;	/* PLAN_EDIT: the sum of the OIDs of the
				 * tables to whose rows it casts, which
				 * the same text finds by their names */
	struct problem refusal; /* PLAN_REFUSE */
};

/*
 * Plans one text (a Query's, or a Parse's).  Everything that it returns lives
 * in `a`.  A text that mentions nothing under migration, or that does not
 * parse and needs no rewriting, gives PLAN_PASS.
 */
const struct plan *rewrite_plan(const struct rewrite_request *req,
				struct arena *a)
    __attribute__((returns_nonnull));

/* Position of an error in the sent text, in characters from 1, as a position
 * in the client's text: of what was replaced, if it lies in a replacement; of
 * what was copied; 0 if it lies in text that was only added.
 * `sql` is the client's text. */
uint32_t plan_map_position(const struct plan *plan, const char *sql, size_t len,
			   uint32_t position);

/*
 * Errors that name the new model, told in the old one's words (for old-shape
 * statements): fields are replaced by texts in `a`, and what becomes NULL is
 * left out: values of the new model that the proxy cannot convert back (as
 * PostgreSQL does with those that a role may not see), and the context of
 * pgtandem's own functions.
 */
struct error_names {
	const char *sqlstate;
	const char *message, *detail, *hint, *context;
	const char *schema, *table, *column, *constraint;
};
void plan_map_error(const struct plan *plan, const struct ruleset *rules,
		    struct error_names *e, struct arena *a);
/* The same for relations that the statement does not name, but for those of
 * the migrations `but`: a foreign key of one, or to one, may refuse it. */
void rules_map_error(const struct ruleset *rules, uint64_t but,
		     struct error_names *e, struct arena *a);
/* notice.c: the message of a NOTICE, WARNING or INFO, in the same way. */
void plan_map_notice(const struct plan *plan, const struct ruleset *rules,
		     struct error_names *e, struct arena *a);

/* Releases what the parser library keeps per thread; call when a thread that
 * planned ends. */
void rewrite_thread_end(void);

#endif

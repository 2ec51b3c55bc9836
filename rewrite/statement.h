/*
 * One statement of a text while it is being planned: what the parts of the
 * engine hand to each other.  Known to rewrite/ alone.
 *
 * Every function that may refuse returns false after it has filled the
 * plan's refusal; nothing is undone then, for the whole plan is dropped.
 */
#ifndef REWRITE_STATEMENT_H
#define REWRITE_STATEMENT_H

#include <postgres.h>
#include <nodes/parsenodes.h>

#include "rewrite/text/edit.h"
#include "rewrite/policy.h"
#include "rewrite/rewrite.h"
#include "rewrite/text/tokens.h"
#include "rewrite/walk.h"

enum aside { ASIDE_NONE, ASIDE_BEFORE, ASIDE_BEHIND };

struct statement {
	const struct rewrite_request *req;
	const char *sql; /* NUL-terminated copy */
	struct arena *a;
	const struct tokens *tokens;
	size_t first, end;   /* its tokens: [first, end) */
	struct edits *edits; /* of the whole text */
	struct plan *plan;
	struct plan_stmt *result;
	Node *node;	 /* without EXPLAIN, COPY, CTAS, ... */
	unsigned flags;	 /* of enum request_flag: the request's, and what
			  * PREPARE says of its parameters */
	bool explained;	 /* its result rows are a plan's text */
	bool nested;	 /* COPY (...): its result cannot be cut */
	enum use forced; /* USE_COUNT, or what every reference in
			  * it counts as (CREATE VIEW) */
	bool cursor;	 /* a write may name its current row later */
	struct found found;
	unsigned depth;	  /* of the brackets around the node's own clauses */
	bool stashed;	  /* by a write through a child lens */
	enum aside aside; /* a statement of ours, to be sent with it */
	const struct ref *part; /* a write in WITH (write_part.c); or NULL */
};

/* A run of tokens, [first, end). */
struct span {
	size_t first, end;
};

/* Inspect: what a reference is to. */
const struct rule_name *statement_name(const struct statement *st,
				       unsigned name);
const struct rule_migration *statement_migration(const struct statement *st,
						 unsigned name);
const struct lens *statement_lens(const struct statement *st, unsigned name);

/* Which of both the session means by it. */
enum shape statement_shape(const struct statement *st, unsigned name);

/* What the phase makes of this use of it. */
enum action statement_action(const struct statement *st, unsigned name,
			     enum use use);

/* The same, or false: the policy, or `old_use: error`, refuses it. */
bool statement_decide(struct statement *st, unsigned name, enum use use,
		      enum action *ret);

/* Have old rows to be locked first?  Where both models are one row, it is. */
bool statement_prelocks(const struct statement *st, unsigned name);

/* Notes in the plan that the statement uses this name. */
void statement_note(struct statement *st, unsigned name, bool writes);
/* And all that a query in one of its strings uses, which writes nothing. */
void statement_note_plan(struct statement *st, const struct plan *inner);

/* SQLSTATE 0A000; `clause` is what stands in the way, `hint` what to do.
 * Always false. */
bool statement_refuse(struct statement *st, unsigned name, const char *clause,
		      const char *detail, const char *hint);
/* The same, for a use that the policy refuses. */
bool statement_refuse_use(struct statement *st, unsigned name, enum use use);

/* Tokens.  The relation with ONLY, parentheses and `*`, without its alias. */
struct span span_of_relation(const struct statement *st, const RangeVar *var);
/* One past the name at token i, with its UESCAPE. */
size_t span_name_end(const struct statement *st, size_t i);
/* The bracket that closes the one at token i; st->end if none does. */
size_t span_closing(const struct statement *st, size_t i);
/* Is token i, not the statement's first, this reserved word?  Not where any
 * word is a name: o.where, AS returning. */
bool token_is_clause(const struct statement *st, size_t i, const char *word);
/* The first `word` outside the node's parentheses from token i on; st->end if
 * there is none. */
size_t span_find_word(const struct statement *st, size_t i, const char *word);

/* Edits, keeping words apart. */
void statement_replace(struct statement *st, struct span span,
		       const char *text);
void statement_insert_before(struct statement *st, size_t token,
			     const char *text);
void statement_insert_after(struct statement *st, size_t token,
			    const char *text);
/* The client's own bytes of a span. */
const char *statement_text(const struct statement *st, struct span span);

/* read.c: a relation in FROM becomes a derived table over the new model. */
const char *read_derived(const struct statement *st, unsigned name,
			 const bool *shown, const char *more, bool only,
			 const char *sample, bool lock_old);
bool read_through(struct statement *st, const struct ref *ref);
/* lookup.c: conditions on the new columns, beside those on converted ones. */
void lookup_add(struct statement *st);
/* hide.c: one table that is both models. */
/* The table as the session's shape has it. */
const struct relation *hide_shown(const struct statement *st, unsigned name);
const char *hide_derived(const struct statement *st, const struct ref *ref,
			 const char *sample);
bool write_hide(struct statement *st, const struct ref *target);
bool copy_hide(struct statement *st, const CopyStmt *copy, unsigned name);
/* hide_direct.c: the table itself is written, where no view can be. */
bool copy_in_hide(struct statement *st, const CopyStmt *copy, unsigned name,
		  enum action action);
bool hide_is_direct(const struct statement *st, const struct ref *target);
bool hide_direct(struct statement *st, const struct ref *target);
/* system_column.c: one table that is both models. */
/* Can it be given at all? */
bool system_column(struct statement *st, const struct column_use *use);
/* Does the statement name one of this relation's? */
bool system_column_is_named(const struct statement *st, const struct ref *ref);
/* Does the derived table that stands for it show any? */
bool system_column_is_shown(const struct statement *st, const struct ref *ref);
/* ", ctid, xmin": those that are named of it. */
const char *system_columns(const struct statement *st, const struct ref *ref);
/* Spells out each `*` that would show them, or refuses. */
bool system_columns_spell(struct statement *st);
/* group.c: GROUP BY the key alone, over such derived tables. */
void read_groups(struct statement *st);
bool group_is_by_key(const struct lens *l, const struct ref *ref,
		     const SelectStmt *select);
/* whole_row.c: the relation's row, or alias.*, of one that is replaced. */
bool whole_row(struct statement *st, const struct column_use *use);
/* "a.x, a.y": the columns of a relation that has the client's names. */
const char *row_columns(const struct statement *st, const struct ref *ref);
/* Refuses a cast to a row type that is no more. */
bool row_type_check(struct statement *st);

/* text.c: refuses statements that a function runs, as far as they stand in
 * the client's own. */
bool texts_check(struct statement *st);

/* write_sync.c */
enum sync_side { SYNC_TO_NEW, SYNC_TO_OLD };
/* Appends the sync function, unless a trigger does its work. */
bool write_sync(struct statement *st, const struct ref *target);
/* Appends it in any case. */
bool write_sync_rows(struct statement *st, const struct ref *target);
/* L_to_x(epoch, alias.key...); `names` says whose names the key columns have
 * in the statement. */
const char *write_sync_call(const struct statement *st,
			    const struct ref *target, enum sync_side side,
			    enum shape names);
/* AND L_lock_old(alias.key...) in WHERE of UPDATE and DELETE. */
void write_add_lock(struct statement *st, const struct ref *target,
		    enum shape names);
/* Does the write name a key column in SET, so that the trigger on the source
 * syncs it? */
bool write_sync_by_trigger(const struct statement *st,
			   const struct ref *target);

/* The next write on this lens beside the target's, from reference *at on, and
 * sets *at behind it; NULL if there is none. */
const struct ref *write_beside(const struct statement *st,
			       const struct ref *target, const struct lens *l,
			       size_t *at);
/* Refuses such a write beside another. */
bool write_check_alone(struct statement *st, const struct ref *target);
bool write_is_current_of(const Node *write); /* WHERE CURRENT OF */

/* write_part.c: a write inside WITH or COPY as a statement of its own. */
void write_part(const struct statement *st, const struct ref *target,
		struct statement *ret);
/* In such a part: the tokens "name (columns) AS (" in front of it. */
struct span part_head(const struct statement *part);
/* A name for a query that is put into WITH: `what` alone in a statement. */
const char *part_name(const struct statement *st, const char *what);

/* write_returning.c */
List *write_returning(const Node *write);
/*
 * The list, or none, becomes one that shows what the client's showed and
 * computes `call` (unless it is NULL) for each row: in a hidden column, or,
 * where none can be cut, in a column of the client's.  `names` says whose
 * columns `*` means, `stars` that it cannot stay.
 */
bool write_edit_returning(struct statement *st, const struct ref *target,
			  enum shape names, bool stars, const char *call);

/* Behind a list that is not looked at, in a hidden column. */
void write_add_returned(struct statement *st, const char *call);

/* The same for a write on L_lens whose call must be computed before anything
 * else that the list has. */
bool write_edit_returning_first(struct statement *st, const struct ref *target,
				const char *call);

/* Refuses an upsert whose key cannot be followed. */
bool write_check_upsert(struct statement *st, const struct ref *target);

/* write_conflict.c: ON CONFLICT ON CONSTRAINT becomes ON CONFLICT (columns). */
void write_name_columns(struct statement *st, const InferClause *infer,
			const char *columns);

/* write_lens.c, write_set.c, write_check.c */
bool write_lens(struct statement *st, const struct ref *target);
/* Where a WITH query can be put, and what it needs around it there. */
struct check_place {
	uint32_t at;
	const char *before, *behind;
	struct span with; /* the write's own WITH, which it needs too; or {} */
};
/* The SET list `targets` of a write on L_lens; `list` are its tokens. */
bool write_set(struct statement *st, const struct ref *target,
	       const List *targets, struct span list,
	       const struct check_place *check);
bool lens_is_converted(const struct lens *l); /* any column is */
/* Is the new relation the old one under another name? */
bool lens_only_renames(const struct lens *l);
/* The index of an old column, or -1. */
int lens_find_old(const struct lens *l, const char *name);
/* Has the new relation this column, as the old one has it? */
bool lens_has_same_column(const struct lens *l, const char *name);
/* write_check.c */
bool type_is_number(const TypeName *type);
/* What DEFAULT means for an old column: its default's text, or NULL. */
const char *old_default(const struct lens *l, unsigned old, struct arena *a);

/* write_child.c: refuses a row deleted, or its key changed, beside another
 * that gets its key. */
bool child_check_writes(struct statement *st);

/*
 * write_half.c: INSERT into one half of a merge's row.  The client's ON
 * CONFLICT clause goes, and the one that fills a row's half stands instead.
 */
bool half_check_write(struct statement *st, const struct ref *target);
/* INSERT that may fill a half: "the row is there without it"; else NULL. */
const char *half_missing(const struct statement *st, const struct ref *target);
bool half_check_current_of(struct statement *st, const struct ref *target);
const char *half_on_conflict(const struct statement *st,
			     const struct ref *target);
void half_edit_clause(struct statement *st, const struct ref *target,
		      size_t source);

/* utility.c: everything but SELECT, INSERT, UPDATE, DELETE and MERGE; finds
 * the statement inside EXPLAIN, COPY, DECLARE and such. */
bool utility_plan(struct statement *st);
/* Refuses, when it is run, a COPY FROM that was planned at an older epoch. */
void copy_fence(struct statement *st, const CopyStmt *copy, unsigned name);
bool utility_unwrap(struct statement *st);
/* utility_list.c: TRUNCATE, LOCK, VACUUM, ANALYZE, GRANT and REVOKE. */
bool utility_lists_relations(const Node *node);
bool utility_plan_list(struct statement *st);
/* utility_switch.c: ALTER TABLE ... DISABLE or ENABLE TRIGGER ALL or USER. */
bool utility_switches_triggers(const Node *node);
bool utility_plan_switch(struct statement *st);

/* rewrite.c: SELECT and writes, after utility_unwrap. */
bool statement_plan_query(struct statement *st);

#endif

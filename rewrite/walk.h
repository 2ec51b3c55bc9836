/*
 * What a statement's tree uses: relations under migration, and the column
 * references that matter once such a relation is replaced.
 *
 * Resolves names as PostgreSQL does as far as relations go: WITH names by
 * their scope, qualified names, and the session's own hidden names.  Decides
 * nothing.  Iterative: the depth of a tree costs heap, never stack.
 */
#ifndef REWRITE_WALK_H
#define REWRITE_WALK_H

#include <postgres.h>
#include <nodes/parsenodes.h>

#include "config/arena.h"
#include "rewrite/policy.h"
#include "rewrite/rewrite.h"

/* More places than this in one statement are refused: every column reference
 * is compared with the relations around it. */
enum { WALK_MAX_REFS = 100, WALK_MAX_COLUMNS = 10000 };

/* One query level: what its FROM, or its target, brings into scope. */
struct level {
	const struct level *up;
	struct ref *refs;	   /* those under migration */
	bool has_relation;	   /* any plain relation at all */
	bool has_others;	   /* FROM items whose columns are not known: */
	const Node *first_other;   /* from inside it none of them is seen */
	bool has_old, has_new;	   /* a FROM item is called so */
	const struct ref *target;  /* of a write; or NULL */
	const SelectStmt *grouped; /* with GROUP BY; or NULL */
};

/* A place where a relation under migration stands. */
struct ref {
	unsigned name; /* index into rules->names */
	enum use use;
	enum action action; /* ACT_UNSET until decided */
	bool is_target;	    /* of INSERT, UPDATE, DELETE, MERGE: */
	const Node *write;
	const CommonTableExpr *cte; /* which stands in WITH; or NULL */
	unsigned number;	    /* of such a write, from 1; or 0 */
	const RangeVar *var;
	const RangeTableSample *sample; /* TABLESAMPLE around it, or NULL */
	bool direct;	   /* hidden columns: the table itself is written */
	const bool *shown; /* per new column: the derived table shows it as
			    * "new.<name>", or NULL: none */
	const struct level *level;
	struct ref *next; /* of the same level */
};

enum column_kind {
	COLUMN_SYSTEM = 1, /* ctid, xmin, ... that `ref` may have to give */
	COLUMN_WHOLE_ROW,  /* the relation's alias as a value */
	COLUMN_STAR,	   /* alias.* */
	COLUMN_QUALIFIED,  /* schema.relation.column or schema.relation.* */
	COLUMN_RETURNED,   /* old.column or new.column in RETURNING */
};

struct column_use {
	enum column_kind kind;
	bool is_sure;  /* no other relation can have a column of this name */
	bool returned; /* by the name OLD or NEW */
	const Node *parent; /* what it stands in, lists aside; or NULL */
	const Node *around; /* what that stands in; or NULL */
	const ColumnRef *node;
	const struct ref *ref;
};

/* A SELECT with GROUP BY over relations under migration. */
struct grouping {
	const SelectStmt *select;
	const struct level *level;
};

/* A SELECT, UPDATE or DELETE with relations under migration in its FROM, as
 * its target, or in a query around it; not all, if there are very many. */
struct scope_found {
	const Node *statement;
	const struct level *level;
};

/* A string that a function is given and that spells a name under migration:
 * it may be a statement. */
struct text_use {
	const FuncCall *call;
	const char *text;
	int location; /* of the string */
	const struct text_use *next;
};

struct found {
	size_t n_refs;
	struct ref *refs[WALK_MAX_REFS];
	size_t n_columns, columns_room;
	struct column_use *columns;
	size_t n_groups;
	struct grouping groups[WALK_MAX_REFS];
	size_t n_scopes;
	struct scope_found scopes[WALK_MAX_REFS];
	unsigned n_with_writes;
	/* A write in WITH that is read from, and has no RETURNING; or NULL */
	const CommonTableExpr *read_in_vain;
	bool has_type_of; /* a cast to the row type of a relation: */
	unsigned type_of; /* the last one; index into rules->names */
	const struct text_use *texts;
	bool over; /* one of the bounds was reached */
};

/* `nested`: the statement is not run by itself (COPY (...) TO), so that a
 * write in it is as one in WITH.  Everything found lives in `a`. */
void walk_statement(const struct rewrite_request *req, Node *statement,
		    bool nested, struct arena *a, struct found *ret);

/* The index of the name that a relation has, or -1.  `WITH` is not looked
 * at: a target is never one of its names. */
int walk_match(const struct rewrite_request *req, const RangeVar *var);

/* Does something else stand in its place? */
bool ref_is_replaced(const struct ref *r);

/* The name by which `name.*` gives a FROM item's columns, or NULL. */
const char *from_name(const Node *item);

/* The name by which a query refers to it. */
const char *ref_alias(const struct ref *r);

#endif

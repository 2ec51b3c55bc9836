/*
 * What the database says about the relations that a lens needs.
 *
 * Plain data, filled by daemon/catalog_load.c over the control connection (or
 * by a test from a text), immutable afterwards.  The old relation's
 * description is kept in the state from `expanded` on and comes from there
 * once the relation is gone.
 *
 * All names are as stored in pg_catalog (unquoted); all texts are as the
 * server's own functions print them under `search_path = pg_catalog`.
 */
#ifndef REWRITE_CATALOG_H
#define REWRITE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"

struct column {
	const char *name;
	const char *type; /* format_type(atttypid, atttypmod), qualified */
	uint32_t type_oid;
	int32_t typmod; /* -1: none */
	int16_t attnum;
	bool not_null;
	char identity;		   /* 'a' always, 'd' by default, 0 none */
	char generated;		   /* 's' stored, 0 none */
	const char *default_expr;  /* pg_get_expr, or NULL; generated too */
	const char *type_default;  /* of a domain; what is taken without one */
	const char *base_type;	   /* of that domain */
	const char *collation;	   /* qualified; NULL: the type's own */
	const char *comment;	   /* or NULL */
	const char *sequence;	   /* owned, qualified, quoted; or NULL */
	char storage;		   /* attstorage */
	int32_t statistics;	   /* attstattarget; -1 default */
	bool loose;		   /* its equal values may look different */
	const char *equals_schema; /* of its "="; NULL: pg_catalog */
};

enum constraint_kind {
	CONSTRAINT_PRIMARY = 'p',
	CONSTRAINT_UNIQUE = 'u',
	CONSTRAINT_CHECK = 'c',
	CONSTRAINT_FOREIGN = 'f',
	CONSTRAINT_EXCLUSION = 'x',
};

struct constraint {
	const char *name;
	enum constraint_kind kind;
	const char *definition; /* pg_get_constraintdef */
	size_t n_columns;
	const char *const *columns; /* names, in key order */
	bool deferrable, deferred;
	uint32_t index; /* oid of the one that it makes; or 0 */
};

struct index { /* those not made by a constraint */
	const char *name;
	const char *definition; /* pg_get_indexdef */
	bool unique;
	size_t n_columns;
	const char *const *columns; /* names; NULL for an expression */
	uint32_t oid;
};

struct grant {		     /* one row of aclexplode */
	const char *grantee; /* role name; NULL: PUBLIC */
	const char *privilege;
	bool grantable;
	const char *column; /* NULL: the table */
};

/* A name in pg_catalog or, if there is none there, beside the relation. */
struct known_name {
	const char *name, *schema;
};

/* The functions and types that the specification's expressions may mean. */
struct known_names {
	size_t n_functions, n_types;
	const struct known_name *functions, *types;
};

struct relation {
	const char *schema;
	const char *name;
	uint32_t oid;
	uint32_t husk; /* oid of what contract has left of it; or 0 */
	char kind;     /* relkind: 'r', 'p', 'v', ... */
	const char *owner;
	const char *comment;
	char replica_identity;
	bool row_security;
	double rows; /* reltuples; -1 unknown */
	size_t n_columns;
	const struct column *columns; /* in attnum order, dropped left out */
	size_t n_constraints;
	const struct constraint *constraints;
	size_t n_indexes;
	const struct index *indexes;
	size_t n_grants;
	const struct grant *grants;
	const struct known_names *known; /* NULL: nobody asked */
};

/* NULL if there is none. */
const struct column *relation_find_column(const struct relation *r,
					  const char *name);
const struct constraint *relation_find_constraint(const struct relation *r,
						  const char *name);
/* PRIMARY KEY, UNIQUE, EXCLUDE: of the constraint's own name. */
bool constraint_has_index(const struct constraint *c);
/* Is it a foreign key to the table that is written so, qualified and quoted? */
bool constraint_refers_to(const struct constraint *c, const char *ref);
/* The name, without its schema, of the table that a foreign key refers to; in
 * `a`, or NULL if it is no foreign key. */
const char *constraint_target(const struct constraint *c, struct arena *a);
/* A primary key or a unique constraint; NULL if there is none. */
const struct constraint *relation_find_unique(const struct relation *r,
					      const char *name);
/* How many constraints and indexes keep two rows apart. */
size_t relation_count_unique(const struct relation *r);

#endif

/*
 * The prepared statements of one session, as the server knows them by name.
 *
 * Owns what is needed to prepare one again from the client's own text after a
 * phase change.  Entries are shared by reference count between the table and
 * the replies that are still owed for them.  Knows no socket and no message.
 */
#ifndef DAEMON_NET_STATEMENTS_H
#define DAEMON_NET_STATEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct planned;

struct statement {
	unsigned refs;
	char *name; /* owned; "" is the unnamed one */
	char *sql;  /* owned; NULL: too long to be kept */
	size_t len;
	uint16_t n_types;
	uint8_t *types;		/* owned: Oids, network order */
	struct planned *sent;	/* owned reference: the plan that the server's
				 * text is from; NULL: the client's text */
	struct planned *now;	/* owned reference: its plan under `serial` */
	uint64_t serial;	/* of the ruleset that it was looked at with */
	uint64_t names_hash;	/* sql NULL: of names that it is free of */
	unsigned names_serial;	/* the session's answer then */
	unsigned names_effect;	/* running it may change what names mean */
	bool mentions;		/* its plan depends on names */
	bool lost;		/* preparing it again failed: try anew */
	bool by_sql;		/* made by PREPARE: that is its `sql` */
	bool uses_prepared;	/* its text may make, run or drop others */
	struct planned *runs;	/* owned reference: what this EXECUTE ran when
				 * the server parsed it */
	struct statement *next; /* in its bucket */
};

struct statements {
	struct statement *unnamed;  /* owned reference, or NULL */
	struct statement **buckets; /* owned; NULL while empty */
	size_t n, n_buckets;	    /* n_buckets is a power of two */
};

/* Life. */
void statements_init(struct statements *t);
void statements_free(struct statements *t);
/* Copies everything; one reference.  `sql` may be NULL. */
struct statement *statement_create(const char *name, size_t name_len,
				   const char *sql, size_t len,
				   uint16_t n_types, const uint8_t *types);
struct statement *statement_ref(struct statement *s);
void statement_unref(struct statement *s); /* NULL is fine */

/* Use.  References move: put takes one and gives back the one that it
 * replaces (or NULL), take gives the table's. */
struct statement *statements_put(struct statements *t, struct statement *s);
struct statement *statements_take(struct statements *t, const char *name,
				  size_t len);
void statements_clear(struct statements *t); /* DEALLOCATE ALL */

/* Inspect: borrowed, or NULL. */
struct statement *statements_find(const struct statements *t, const char *name,
				  size_t len);

#endif

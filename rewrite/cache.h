/*
 * The statement cache of one worker: the same text, ruleset, hidden names,
 * flags and read side are planned once.
 *
 * Owns its entries, each with its own arena; bounded by a count and by bytes
 * (64 MiB), the least recently used goes first.  An entry that a session holds
 * (a prepared statement, a statement in flight) outlives its place in the
 * cache.  Used by one thread only.
 */
#ifndef REWRITE_CACHE_H
#define REWRITE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "rewrite/rewrite.h"

struct cache;

/* A planned text with its references. */
struct planned {
	const struct plan *plan; /* owned by the entry */
	const char *sql;	 /* owned: the client's text, NUL-terminated */
	size_t len;
	uint64_t serial; /* of the ruleset it was planned with */
};

struct cache_stats {
	uint64_t hits, misses, entries, bytes;
};

struct cache *cache_create(size_t max_entries);
void cache_free(struct cache *c); /* no entry may be held any more */

/* Never fails: a miss plans.  The caller owns one reference.  Texts over 64
 * KiB are planned but not kept. */
struct planned *cache_get(struct cache *c, const struct rewrite_request *req);
struct planned *planned_ref(struct planned *p);
void planned_unref(struct planned *p);

void cache_get_stats(const struct cache *c, struct cache_stats *ret);

#endif

/*
 * A hash table of planned texts, and a list of them by last use.
 *
 * Every entry has one reference while the cache keeps it and one for each
 * holder; the last to let go frees it, arena and all.  A plan depends on the
 * read side only if it says so (plan->reads_new); one that does not serves
 * both, found under either.
 */
#include "rewrite/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_TEXT = 64 * 1024,	      /* longer texts are not kept */
	MAX_BYTES = 64 * 1024 * 1024, /* of all entries together */
};

struct entry {
	struct planned planned; /* what holders see; first */
	struct arena arena;	/* owned: plan and text */
	unsigned refs;
	uint64_t hash;
	const struct session_names *names; /* in the arena; or NULL */
	unsigned flags;
	bool read_new;
	size_t bytes;
	struct entry *same_bucket;
	struct entry *newer, *older; /* by last use */
};

struct cache {
	size_t max_entries;
	size_t n_buckets; /* a power of two */
	struct entry **buckets;
	struct entry *newest, *oldest;
	struct cache_stats stats;
};

struct cache *cache_create(size_t max_entries)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->max_entries = max_entries;
	c->n_buckets = 16;
	while (c->n_buckets < max_entries)
		c->n_buckets *= 2;
	c->buckets = calloc(c->n_buckets, sizeof(*c->buckets));
	if (c->buckets == NULL)
		abort();
	return c;
}

static struct entry *entry_of(struct planned *p)
{
	return (struct entry *)p;
}

struct planned *planned_ref(struct planned *p)
{
	entry_of(p)->refs++;
	return p;
}

void planned_unref(struct planned *p)
{
	struct entry *e = entry_of(p);
	struct arena arena;

	assert(e->refs > 0);
	if (--e->refs > 0)
		return;
	arena = e->arena; /* the entry itself lives in it */
	arena_free(&arena);
}

/* Word-wise multiply and fold; texts come from clients, but a worker's own
 * client can only slow down its own lookups, and chains are short by count. */
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t len)
{
	const unsigned char *b = bytes;
	uint64_t word;

	for (; len >= sizeof(word); b += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, b, sizeof(word));
		h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	word = len;
	memcpy(&word, b, len);
	h = (h ^ word ^ ((uint64_t)len << 56)) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

static uint64_t hash_request(const struct rewrite_request *req)
{
	uint64_t h = req->rules->serial * 31;

	if (req->names != NULL)
		h = hash_bytes(h + req->names->new_shape, &req->names->hidden,
			       sizeof(req->names->hidden));
	return hash_bytes(h, req->sql, req->len);
}

static bool entry_matches(const struct entry *e, uint64_t hash,
			  const struct rewrite_request *req)
{
	return e->hash == hash && e->planned.len == req->len &&
	       e->planned.serial == req->rules->serial &&
	       session_names_same(e->names, req->names) &&
	       e->flags == req->flags &&
	       (!e->planned.plan->reads_new || e->read_new == req->read_new) &&
	       memcmp(e->planned.sql, req->sql, req->len) == 0;
}

static struct entry **bucket_of(const struct cache *c, uint64_t hash)
{
	return &c->buckets[hash & (c->n_buckets - 1)];
}

static struct entry *find(const struct cache *c, uint64_t hash,
			  const struct rewrite_request *req)
{
	struct entry *e = *bucket_of(c, hash);

	while (e != NULL && !entry_matches(e, hash, req))
		e = e->same_bucket;
	return e;
}

static void list_remove(struct cache *c, struct entry *e)
{
	*(e->newer != NULL ? &e->newer->older : &c->newest) = e->older;
	*(e->older != NULL ? &e->older->newer : &c->oldest) = e->newer;
}

static void list_add(struct cache *c, struct entry *e)
{
	e->newer = NULL;
	e->older = c->newest;
	*(c->newest != NULL ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
}

static void evict(struct cache *c, struct entry *e)
{
	struct entry **link = bucket_of(c, e->hash);

	while (*link != e)
		link = &(*link)->same_bucket;
	*link = e->same_bucket;
	list_remove(c, e);
	c->stats.entries--;
	c->stats.bytes -= e->bytes;
	planned_unref(&e->planned);
}

static void keep(struct cache *c, struct entry *e)
{
	struct entry **bucket = bucket_of(c, e->hash);

	while (c->oldest != NULL && (c->stats.entries >= c->max_entries ||
				     c->stats.bytes + e->bytes > MAX_BYTES))
		evict(c, c->oldest);
	e->same_bucket = *bucket;
	*bucket = e;
	list_add(c, e);
	c->stats.entries++;
	c->stats.bytes += e->bytes;
	e->refs++;
}

static const struct session_names *names_keep(const struct session_names *names,
					      struct arena *a)
{
	struct session_names *kept;

	if (names == NULL)
		return NULL;
	kept = arena_alloc(a, sizeof(*kept));
	*kept = *names;
	return kept;
}

static struct entry *plan_entry(const struct rewrite_request *req,
				uint64_t hash)
{
	struct arena arena;
	struct entry *e;

	arena_init(&arena);
	e = arena_alloc(&arena, sizeof(*e));
	e->planned.sql = arena_dup(&arena, req->sql, req->len);
	e->planned.len = req->len;
	e->planned.serial = req->rules->serial;
	e->planned.plan = rewrite_plan(req, &arena);
	e->hash = hash;
	e->names = names_keep(req->names, &arena);
	e->flags = req->flags;
	e->read_new = req->read_new;
	e->refs = 1;
	e->bytes = arena.used;
	e->arena = arena;
	return e;
}

struct planned *cache_get(struct cache *c, const struct rewrite_request *req)
{
	uint64_t hash = hash_request(req);
	struct entry *e = find(c, hash, req);

	if (e != NULL) {
		c->stats.hits++;
		if (e != c->newest) {
			list_remove(c, e);
			list_add(c, e);
		}
		return planned_ref(&e->planned);
	}
	c->stats.misses++;
	e = plan_entry(req, hash);
	if (req->len <= MAX_TEXT && e->bytes <= MAX_BYTES / 64 &&
	    c->max_entries > 0)
		keep(c, e);
	return &e->planned;
}

void cache_free(struct cache *c)
{
	while (c->oldest != NULL)
		evict(c, c->oldest);
	free(c->buckets);
	free(c);
}

void cache_get_stats(const struct cache *c, struct cache_stats *ret)
{
	*ret = c->stats;
}

/*
 * What all workers agree on at one moment: settings and, per database, the
 * ruleset with its phases and epochs.
 *
 * Immutable but for its reference count, and the counters and the lease that
 * it points at.  The control side makes a new one for every change and
 * publishes it (server_publish); a session takes a reference when a
 * transaction begins and keeps it to the transaction's end, which pins the
 * epoch (design section 4).
 *
 * Lifetime: a snapshot outlives every plan made from its rulesets that a
 * session still executes; plans in the statement cache copy what they need.
 */
#ifndef DAEMON_SNAPSHOT_H
#define DAEMON_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "config/arena.h"
#include "config/settings.h"
#include "rewrite/ruleset.h"

enum { USAGE_APPS = 32 };

/* Who used what, per migration; lives as long as the process. */
struct usage {
	atomic_ullong old_reads, old_writes, new_shape, refused, errors;
	atomic_ullong slowest_us;  /* statement on this migration, this phase */
	atomic_ullong last_old_ms; /* wall clock, ms since 1970; 0 never */
	uv_mutex_t lock;	   /* for apps */
	size_t n_apps;
	struct usage_app {
		char user[64], application[64];
		unsigned long long count, last_ms;
	} apps[USAGE_APPS]; /* old shape, oldest last_ms reused */
};

/* Shared with the control side: statements on relations under migration are
 * refused with 57P03 after this moment of uv_hrtime (design section 4). */
struct lease {
	atomic_ullong fresh_until_ns;
};

struct snapshot_database {
	const char *name;
	const struct ruleset *rules; /* a serial of its own, ever higher */
	uint64_t held;	       /* bit i: hold new statements on migrations[i] */
	struct usage **usage;  /* n_migrations; borrowed, process lifetime */
	struct lease *lease;   /* borrowed, process lifetime */
	const char *probe_sql; /* ruleset_probe_sql, or NULL */
	uint64_t probe_hash;   /* of probe_sql; 1 if there is none */
};

struct snapshot {
	atomic_uint refs;
	uint64_t serial; /* 1, 2, ...; every published one is higher */
	struct settings *settings; /* owned reference */
	struct arena arena;	   /* owned: everything below */
	size_t n_databases;
	struct snapshot_database *databases;
};

/* One reference; the arena is ready, n_databases is 0.  Takes over a
 * reference to `settings`. */
struct snapshot *snapshot_create(struct settings *settings, uint64_t serial);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* frees at the last */
/* NULL when the database has no migration. */
const struct snapshot_database *snapshot_find(const struct snapshot *s,
					      const char *database);

#endif

/*
 * The inside of a walker; private to walker*.c.
 *
 *   walker.c        life, pace, progress, the order of modes and lenses
 *   walker_modes.c  what each mode does with one batch of keys
 *   walker_store.c  the connection, stored positions, findings, error classes
 *
 * Everything but `stop`, `paused`, `rate` and what `lock` guards belongs to
 * the thread that runs the walk.
 */
#ifndef DAEMON_PHASE_WALKER_PART_H
#define DAEMON_PHASE_WALKER_PART_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "config/arena.h"
#include "daemon/phase/walker.h"

enum {
	WALK_MAX_KEY = 32,    /* PostgreSQL's own limit for an index */
	WALK_MIN_BATCH = 100, /* rows, while nothing is in the way */
	WALK_MAX_BATCH = 10000,
	WALK_MAX_NOTED = 1000, /* findings written per lens and walk and kind;
				* more are only counted */
};

/* What became of a statement, as far as the walk is concerned. */
enum walk_outcome {
	OUTCOME_OK = 1,
	OUTCOME_END,  /* no more keys in this mode */
	OUTCOME_BUSY, /* locks: try again, smaller */
	OUTCOME_FULL, /* the server lacks something: wait */
	OUTCOME_DATA, /* a row that the target refuses */
	OUTCOME_LOST, /* the connection is gone */
	OUTCOME_FATAL,
	OUTCOME_STOPPED,
};

struct walk_key {
	bool set;	       /* false: before the first */
	char *v[WALK_MAX_KEY]; /* owned */
};

enum finding_kind {
	FINDING_MISSING,
	FINDING_EXTRA,
	FINDING_DIFFERENT,
	FINDING_LOSSY,
	FINDING_VIOLATION,
	FINDING_KINDS
};

/* One lens's part of the walk. */
struct lens_walk {
	const struct lens *lens;
	struct walk_sql sql;
	const char *source_ref, *target_ref; /* borrowed from the lens */
	enum walk_mode mode; /* the first that is not complete */
	bool done;	     /* all modes of the job are */
	struct walk_key last;
	uint64_t rows_done, rows_total; /* of `mode` */
	struct walk_result result;
	unsigned noted[FINDING_KINDS];
};

/* The keys in (lens_walk.last, upto]. */
struct batch {
	struct walk_key upto;
	uint64_t rows;
};

enum { WALK_SAMPLES = 11 };

struct walker {
	struct walk_request req;
	struct arena arena;
	struct lens_walk *lenses; /* req.n_lenses */
	PGconn *db;		  /* NULL while not connected */
	struct problem problem;	  /* of the last failed statement */
	bool restart;		  /* forget what is stored, once */
	unsigned size;		  /* rows of the next batch */
	uint64_t next_ms;	  /* rate: no batch before */
	uint64_t looked_ms;	  /* pressure: last look at the server */
	uint64_t processed;	  /* rows of all modes in this process */
	struct {
		uint64_t ms, rows;
	} samples[WALK_SAMPLES];
	size_t n_samples;
	pthread_t thread;
	bool spawned;

	atomic_bool stop, paused;
	atomic_ullong rate;
	pthread_mutex_t lock;
	pthread_cond_t woken;	       /* one of the three above changed */
	struct walk_progress progress; /* guarded by lock */
};

/* walker.c */
uint64_t walk_now_ms(void);
/* Sleeps; false when the walk is to stop. */
bool walk_sleep(struct walker *w, uint64_t ms);
__attribute__((format(printf, 2, 3))) void walk_wait_for(struct walker *w,
							 const char *fmt, ...);
void walk_go_on(struct walker *w); /* no longer waiting */
/* Nothing is done yet: also after a crash that took the first position. */
void walk_lens_reset(struct walker *w, struct lens_walk *lw);

/* walker_modes.c: one batch of the lens's mode; OUTCOME_END completes it. */
enum walk_outcome walk_begin_mode(struct walker *w, struct lens_walk *lw);
enum walk_outcome walk_batch(struct walker *w, struct lens_walk *lw,
			     struct batch *b);
enum walk_outcome walk_end_mode(struct walker *w, struct lens_walk *lw);
enum walk_outcome walk_skip_row(struct walker *w, struct lens_walk *lw,
				const struct batch *b);
enum walk_outcome walk_drain(struct walker *w);

/* walker_store.c.  Those that return bool fill w->problem on failure. */
enum walk_outcome walk_connect(struct walker *w);
void walk_disconnect(struct walker *w);
/* Ends the transaction and says what w->problem means. */
enum walk_outcome walk_failed(struct walker *w);
bool walk_exec(struct walker *w, const char *sql);
PGresult *walk_ask(struct walker *w, const char *sql, int n,
		   const char *const *params);
bool walk_begin(struct walker *w);
bool walk_commit(struct walker *w);
/* Reads where each lens stands, or forgets it. */
bool walk_load(struct walker *w);
/* Stores where it stands, in the open transaction. */
bool walk_store(struct walker *w, struct lens_walk *lw, const char *state);
/* The end of the walk, for all lenses; as far as that is still possible. */
void walk_store_end(struct walker *w, enum walk_state state);
bool walk_note(struct walker *w, struct lens_walk *lw, enum finding_kind kind,
	       const struct walk_key *key, const char *detail);
bool walk_forget_findings(struct walker *w, struct lens_walk *lw);
/* Keys of the open findings, k columns and the id; only violations, or all. */
PGresult *walk_findings(struct walker *w, struct lens_walk *lw,
			bool only_violations);
bool walk_close_finding(struct walker *w, const char *id);
bool walk_count_violations(struct walker *w, struct lens_walk *lw);

void walk_key_set(struct walk_key *key, size_t n, const PGresult *r, int row);
void walk_key_copy(struct walk_key *to, const struct walk_key *from, size_t n);
void walk_key_clear(struct walk_key *key);

#endif

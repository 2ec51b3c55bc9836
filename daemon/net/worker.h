/*
 * One worker: a thread, its event loop, its listening sockets and its
 * sessions.
 *
 * Everything here belongs to the worker's thread but the mailbox (under
 * `lock`) and the atomics, which others only read.
 */
#ifndef DAEMON_NET_WORKER_H
#define DAEMON_NET_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "daemon/latency.h"
#include "daemon/net/gather.h"
#include "daemon/net/server.h"
#include "daemon/net/tls.h"
#include "daemon/snapshot.h"
#include "rewrite/cache.h"

struct conn;
struct session;
struct worker;
TAILQ_HEAD(conn_list, conn);
TAILQ_HEAD(session_list, session);

/* Work that another thread asks of a worker. */
struct task {
	void (*run)(struct worker *w, void *arg);
	void *arg;
	struct task *next;
};

/* Counters with one writer: plain arithmetic, relaxed stores. */
#define COUNTERS(X) \
	X(clients) \
	X(clients_total) \
	X(refused_logins) \
	X(statements) \
	X(rewritten) \
	X(refused) \
	X(held) \
	X(bytes_in) \
	X(bytes_out) \
	X(cache_hits) \
	X(cache_misses) \
	X(cache_entries) \
	X(reprepared) \
	X(timed) \
	X(timed_us) \
	X(errors_made)

struct counters {
#define X(name) _Atomic uint64_t name;
	COUNTERS(X)
#undef X
};

static inline void counter_add(_Atomic uint64_t *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(c, memory_order_relaxed);

	atomic_store_explicit(c, v + n, memory_order_relaxed);
}

static inline void counter_set(_Atomic uint64_t *c, uint64_t v)
{
	atomic_store_explicit(c, v, memory_order_relaxed);
}

/* A snapshot that running transactions use. */
struct pin {
	struct snapshot *snapshot; /* owned reference */
	unsigned sessions;
	LIST_ENTRY(pin) link;
};
LIST_HEAD(pin_list, pin);

enum {
	WORKER_BUFFER = 64 * 1024, /* one read; also what is left of one */
	WORKER_TICK_MS = 100,	   /* how exact deadlines are */
};

struct listener;

struct worker {
	struct server *server; /* borrowed */
	unsigned number;
	uv_loop_t loop;
	uv_thread_t thread;
	uv_async_t wake;
	uv_timer_t tick; /* runs while `timed` is not empty */
	uv_mutex_t lock; /* for tasks */
	struct task *tasks, **tasks_end;
	struct pin *current;  /* owned: sessions counts this one too */
	struct pin_list pins; /* current and what transactions use */
	_Atomic uint64_t oldest_serial; /* the lowest of pins */
	struct tls_setup *tls;		/* owned reference */
	struct listener *listeners;	/* owned array */
	size_t n_listeners;
	struct session_list sessions;
	struct session_list timed; /* those with a deadline */
	struct cache *cache;
	uint64_t next_id;
	uint8_t *plain;		   /* WORKER_BUFFER: what sessions see */
	uint8_t *cipher;	   /* WORKER_BUFFER: before TLS */
	bool delivering;	   /* `plain` is in use */
	struct conn_list resuming; /* connections that wait for it */
	struct gather to_client, to_server;
	struct counters count;
	struct latency latency; /* statements on relations under migration */
	bool paused;		/* console PAUSE */
	bool draining;
	bool stopping; /* close all, leave the loop */
};

/* Life: called by server.c, in this order. */
void worker_init(struct worker *w, struct server *s, unsigned number,
		 struct snapshot *first, struct tls_setup *tls);
/* Listens on a bound socket (taken over); before worker_run. */
bool worker_listen(struct worker *w, size_t index, int fd, bool is_pipe,
		   struct problem *p) __attribute__((warn_unused_result));
bool worker_run(struct worker *w) __attribute__((warn_unused_result));
void worker_join(struct worker *w);
void worker_free(struct worker *w);

/* From any thread: runs task->run on the worker's thread; `task` must live
 * until then. */
void worker_post(struct worker *w, struct task *task);

/* On the worker's own thread. */
void worker_adopt(struct worker *w, struct snapshot *next,
		  struct tls_setup *tls); /* takes over both */
void worker_pause(struct worker *w, bool paused);
void worker_drain(struct worker *w);	  /* no new clients; idle ones go */
void worker_stop(struct worker *w);	  /* everything closes; the loop ends */
struct pin *worker_pin(struct worker *w); /* the current snapshot */
void worker_unpin(struct worker *w, struct pin *p);
/* ms of the loop's clock; 0 takes the deadline off. */
void worker_set_deadline(struct worker *w, struct session *s, uint64_t at);
void worker_session_gone(struct worker *w, struct session *s);

#endif

/*
 * All workers together, as the control side and the console see them.
 *
 * Owns the worker threads; each worker owns one event loop, its listening
 * sockets (SO_REUSEPORT) and its sessions, and shares nothing with another
 * but immutable snapshots.  Every function here may be called from any
 * thread and does not wait for a worker unless it says so.
 */
#ifndef DAEMON_NET_SERVER_H
#define DAEMON_NET_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/problem.h"
#include "daemon/latency.h"
#include "daemon/snapshot.h"

struct server;

/* Binds all listening sockets and starts the workers with this snapshot
 * (takes over the caller's reference).  On failure nothing runs. */
bool server_start(struct snapshot *first, struct server **ret,
		  struct problem *p) __attribute__((warn_unused_result));

/* Gives all workers a new snapshot (takes over the reference).  Sessions
 * between transactions use it from their next statement on; statements held
 * under the old one are looked at again. */
void server_publish(struct server *s, struct snapshot *next);

/* The lowest snapshot serial that any worker or any running transaction still
 * uses.  A barrier's local half is `server_oldest_serial() >= mine`. */
uint64_t server_oldest_serial(struct server *s);

/* The sessions that use a serial below `below`, for SHOW BARRIER: number of
 * rows written to ret (at most max). */
struct client_info {
	unsigned worker;
	uint64_t id; /* unique in this process */
	char user[64], database[64], application[64], address[64];
	char state[16];	      /* the session's state machine's name */
	char tx;	      /* 'I', 'T', 'E' */
	uint32_t backend_pid; /* 0: not known yet */
	bool client_tls, server_tls;
	uint64_t serial;       /* pinned snapshot; 0: none */
	uint64_t connected_ms; /* wall clock */
	uint64_t statements;
};
size_t server_list_clients(struct server *s, struct client_info *ret,
			   size_t max); /* waits for the workers */

struct server_stats {
	uint64_t clients, clients_total, refused_logins;
	uint64_t statements, rewritten, refused, held; /* held: now */
	uint64_t bytes_in, bytes_out; /* from clients, to clients */
	uint64_t cache_hits, cache_misses, cache_entries;
	uint64_t reprepared;
	uint64_t timed, timed_us; /* statements on relations under migration,
				   * from sent to done */
	uint64_t p50_us, p99_us;  /* of them, since the start */
	uint64_t errors_made;	  /* ErrorResponses that pgtandem made itself */
};
void server_get_stats(struct server *s, struct server_stats *ret);
/* How long those statements took, of all workers; from any thread. */
void server_get_latency(const struct server *s, struct latency_counts *ret);

/* Holds every new transaction (console PAUSE), and lets go of them. */
void server_pause(struct server *s);
void server_resume(struct server *s);

/* Stops listening, lets running transactions end (idle sessions are told
 * 57P01), closes what is left after timeout_ms, and joins the workers. */
void server_drain(struct server *s, uint64_t timeout_ms);
void server_free(struct server *s); /* after drain */

#endif

/*
 * Listening sockets: made and bound once, listened on by every worker.
 *
 * TCP: one socket per worker on the same address (SO_REUSEPORT), the kernel
 * spreads connections.  Unix: one bound socket, each worker listens on a
 * duplicate of it.
 */
#ifndef DAEMON_NET_LISTENER_H
#define DAEMON_NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "config/problem.h"
#include "config/settings.h"

struct worker;

struct listener {
	uv_poll_t poll;
	uv_timer_t rest;       /* while there are no descriptors left */
	int fd;		       /* owned */
	struct worker *worker; /* borrowed */
	size_t index;	       /* into settings->listen */
	bool is_pipe;
	bool open;
};

/* A bound socket, not yet listening; the caller closes it or hands it on. */
bool listener_bind(const struct listen_setting *l, int *ret_fd,
		   struct problem *p) __attribute__((warn_unused_result));
/* The socket's path: <directory>/.s.PGSQL.<port>. */
void listener_path(const struct listen_setting *l, char *ret, size_t size);

bool listener_open(struct listener *l, struct worker *w, size_t index, int fd,
		   bool is_pipe, struct problem *p)
    __attribute__((warn_unused_result));
void listener_close(struct listener *l); /* idempotent */

#endif

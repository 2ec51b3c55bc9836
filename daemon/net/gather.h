/*
 * What one wakeup wants to write to one connection, collected so that it goes
 * out in a single system call.
 *
 * Segments either borrow from the read buffer (forwarded bytes, not copied)
 * or own bytes in `made` (messages that pgtandem writes).  One pair per
 * worker; empty between wakeups.
 */
#ifndef DAEMON_NET_GATHER_H
#define DAEMON_NET_GATHER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/buf.h"

struct conn;

enum { GATHER_SEGMENTS = 128 };

struct gather {
	struct {
		const uint8_t *at; /* borrowed; NULL: made[offset...] */
		size_t offset;
		size_t len;
	} segment[GATHER_SEGMENTS];
	unsigned n;
	size_t bytes;
	struct buf made;
	size_t made_used; /* bytes of `made` that are in segments */
	struct conn *to;  /* borrowed while n > 0 */
};

void gather_init(struct gather *g);
void gather_free(struct gather *g);

/* Use: every batch begins with gather_to and ends with gather_flush. */
void gather_to(struct gather *g, struct conn *c);
void gather_ref(struct gather *g, const void *bytes, size_t len);
struct buf *gather_made(struct gather *g); /* write messages here, then */
void gather_made_done(struct gather *g);   /* take them in */
void gather_flush(struct gather *g);

#endif

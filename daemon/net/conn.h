/*
 * One socket, TCP or Unix, with or without TLS.
 *
 * Owns the handle, the TLS filter, bytes that its owner could not use yet and
 * bytes that the socket did not take yet.  Must never know what the bytes
 * mean.  The owner is told of events through one table and cannot tell whether
 * TLS is there.
 *
 * Reading goes into buffers of the worker, shared by all its connections;
 * only what the owner leaves is kept, in `held`.  Writing tries the socket
 * first and queues the rest.  conn_close is idempotent; the last close
 * callback frees.  An owner that closed a connection hears `gone` and nothing
 * else.
 */
#ifndef DAEMON_NET_CONN_H
#define DAEMON_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "proto/buf.h"

struct conn;
struct tls;
struct worker;

struct conn_ops {
	/* Plain bytes, writable in place until it returns the number used;
	 * the rest comes again, with more behind it, or at conn_resume. */
	size_t (*data)(void *owner, uint8_t *bytes, size_t len);
	void (*secured)(void *owner); /* the TLS handshake is done */
	void (*drained)(void *owner); /* few bytes are queued again */
	void (*eof)(void *owner);     /* the peer will send no more */
	void (*failed)(void *owner, const char *why);
	void (*gone)(void *owner); /* closed; about to be freed */
};

struct conn {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} h;
	struct worker *worker;	    /* borrowed */
	const struct conn_ops *ops; /* borrowed with owner until gone */
	void *owner;
	struct tls *tls;    /* owned; NULL: plain */
	struct buf held;    /* plain bytes not used yet */
	struct buf flying;  /* given to uv_write */
	struct buf waiting; /* behind `flying` */
	uv_write_t write_req;
	uv_shutdown_t shutdown_req;
	TAILQ_ENTRY(conn) later; /* in worker->resuming */
	const char *broken;	 /* writing failed; why */
	bool is_pipe;
	bool want_read; /* the owner wants to hear of bytes */
	bool reading;	/* uv_read_start is in force */
	bool resuming;	/* in the worker's list of that name */
	bool eof;	/* seen, maybe not told yet */
	bool eof_told;
	bool writing;	   /* `flying` is under way */
	bool crowded;	   /* over the high mark; tells drained */
	bool finishing;	   /* close once all is written */
	bool half_closing; /* shut down once all is written */
	bool shut;	   /* uv_shutdown was asked for */
	bool closing;
};

enum {
	CONN_HIGH = 256 * 1024, /* queued bytes: stop the other side */
	CONN_LOW = 64 * 1024,	/* and let it go on */
};

/* Life.  The handle is initialised, not connected. */
struct conn *conn_create(struct worker *w, bool is_pipe,
			 const struct conn_ops *ops, void *owner);
/* Takes over an accepted socket; on failure it stays the caller's. */
bool conn_open(struct conn *c, int fd) __attribute__((warn_unused_result));
void conn_tune(struct conn *c, unsigned keepalive_s); /* TCP options */
void conn_close(struct conn *c);  /* at once; drops what is queued */
void conn_finish(struct conn *c); /* once what is queued is written */

/* Use. */
void conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n);
void conn_half_close(struct conn *c); /* no more writing after the queue */
void conn_pause(struct conn *c);      /* tell nothing until conn_resume */
void conn_resume(struct conn *c);     /* tells held bytes at once */
/* Starts the handshake; takes over `t`.  `first` are encrypted bytes that were
 * read already. */
void conn_secure(struct conn *c, struct tls *t, const void *first, size_t len);

/* Inspect. */
static inline size_t conn_queued(const struct conn *c)
{
	return buf_len(&c->flying) + buf_len(&c->waiting);
}

static inline bool conn_is_crowded(const struct conn *c)
{
	return c->crowded;
}

#endif

/*
 * Reading:  socket -> [cipher -> TLS ->] plain -> ops->data -> held
 * Writing:  conn_write [-> TLS] -> socket, else waiting -> flying -> socket
 *
 * Closing:
 *   open -> finishing    conn_finish: what is queued is still written
 *   open, finishing -> closing    conn_close
 *   closing -> freed     on_closed, the only free
 */
#include "daemon/net/conn.h"

#include <assert.h>
#include <openssl/bio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/net/tls.h"
#include "daemon/net/worker.h"

enum {
	HELD_COPY = 16 * 1024, /* above, read behind it instead of copying */
	TLS_RECORD = 16 * 1024,
};

static void conn_run_resuming(struct worker *w);
static void conn_send(struct conn *c);

struct conn *conn_create(struct worker *w, bool is_pipe,
			 const struct conn_ops *ops, void *owner)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	c->worker = w;
	c->ops = ops;
	c->owner = owner;
	c->is_pipe = is_pipe;
	c->want_read = true;
	if (is_pipe)
		uv_pipe_init(&w->loop, &c->h.pipe, 0);
	else
		uv_tcp_init(&w->loop, &c->h.tcp);
	c->h.handle.data = c;
	return c;
}

bool conn_open(struct conn *c, int fd)
{
	return (c->is_pipe ? uv_pipe_open(&c->h.pipe, fd)
			   : uv_tcp_open(&c->h.tcp, fd)) == 0;
}

void conn_tune(struct conn *c, unsigned keepalive_s)
{
	if (c->is_pipe)
		return;
	uv_tcp_nodelay(&c->h.tcp, 1);
	if (keepalive_s > 0)
		uv_tcp_keepalive(&c->h.tcp, 1, keepalive_s);
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;

	c->ops->gone(c->owner);
	tls_free(c->tls);
	buf_free(&c->held);
	buf_free(&c->flying);
	buf_free(&c->waiting);
	free(c); /* the only free of a conn */
}

void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	c->reading = false;
	if (c->resuming)
		TAILQ_REMOVE(&c->worker->resuming, c, later);
	c->resuming = false;
	uv_close(&c->h.handle, on_closed);
}

static void conn_fail(struct conn *c, const char *why)
{
	if (!c->closing)
		c->ops->failed(c->owner, why);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct conn *c = req->handle->data;

	(void)status;
	if (c->finishing)
		conn_close(c);
}

/* What was asked for behind the last byte. */
static void conn_written(struct conn *c)
{
	if (c->closing || c->shut || !(c->finishing || c->half_closing))
		return;
	c->shut = true;
	if (uv_shutdown(&c->shutdown_req, &c->h.stream, on_shutdown) != 0 &&
	    c->finishing)
		conn_close(c);
}

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = req->handle->data;

	c->writing = false;
	buf_free(&c->flying);
	if (c->closing)
		return;
	if (status < 0) {
		if (c->finishing)
			conn_close(c);
		else
			conn_fail(c, uv_strerror(status));
		return;
	}
	conn_send(c);
	if (c->crowded && conn_queued(c) <= CONN_LOW) {
		c->crowded = false;
		if (!c->finishing)
			c->ops->drained(c->owner);
	}
}

/* Sends `waiting`; its memory flies, so that it may not move meanwhile. */
static void conn_send(struct conn *c)
{
	uv_buf_t b;
	int rc;

	if (c->writing)
		return;
	if (buf_len(&c->waiting) == 0) {
		conn_written(c);
		return;
	}
	c->flying = c->waiting;
	buf_init(&c->waiting, 0);
	b.base = (char *)(uintptr_t)buf_bytes(&c->flying);
	b.len = buf_len(&c->flying);
	rc = uv_write(&c->write_req, &c->h.stream, &b, 1, on_written);
	if (rc == 0)
		c->writing = true;
	else
		c->broken = uv_strerror(rc);
}

/* Tries the socket with what nothing is queued before; returns how many bytes
 * it took. */
static size_t conn_try(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
	int rc;

	if (c->writing || buf_len(&c->waiting) > 0)
		return 0;
	rc = uv_try_write(&c->h.stream, bufs, n);
	if (rc >= 0)
		return (size_t)rc;
	if (rc != UV_EAGAIN)
		c->broken = uv_strerror(rc);
	return 0;
}

static void conn_write_raw(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
	size_t taken = conn_try(c, bufs, n);

	for (unsigned i = 0; i < n && c->broken == NULL; i++) {
		if (taken >= bufs[i].len) {
			taken -= bufs[i].len;
			continue;
		}
		buf_put(&c->waiting, bufs[i].base + taken, bufs[i].len - taken);
		taken = 0;
	}
	if (c->waiting.failed)
		c->broken = "out of memory";
	if (c->broken != NULL)
		return;
	conn_send(c);
	if (conn_queued(c) > CONN_HIGH)
		c->crowded = true;
}

/* Moves what TLS wants to send to the socket. */
static void conn_flush_tls(struct conn *c)
{
	uv_buf_t b;
	char *bytes;
	long n = BIO_get_mem_data(c->tls->out, &bytes);

	if (n <= 0)
		return;
	b.base = bytes;
	b.len = (size_t)n;
	conn_write_raw(c, &b, 1);
	(void)BIO_reset(c->tls->out);
}

/* Small segments share a record: each record costs the peer a decryption. */
static enum tls_result conn_encrypt(struct conn *c, const uv_buf_t *bufs,
				    unsigned n)
{
	uint8_t record[TLS_RECORD];
	size_t used = 0;
	enum tls_result r = TLS_OK;

	for (unsigned i = 0; i < n && r == TLS_OK; i++) {
		if (used + bufs[i].len > sizeof(record)) {
			r = tls_write(c->tls, record, used);
			used = 0;
		}
		if (r == TLS_OK && bufs[i].len > sizeof(record)) {
			r = tls_write(c->tls, bufs[i].base, bufs[i].len);
		} else if (r == TLS_OK) {
			memcpy(record + used, bufs[i].base, bufs[i].len);
			used += bufs[i].len;
		}
	}
	return r == TLS_OK ? tls_write(c->tls, record, used) : r;
}

void conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
	if (c->closing || c->finishing || c->shut || c->broken != NULL)
		return;
	if (c->tls == NULL) {
		conn_write_raw(c, bufs, n);
		return;
	}
	if (conn_encrypt(c, bufs, n) != TLS_OK)
		c->broken = tls_reason(c->tls);
	else
		conn_flush_tls(c);
}

void conn_half_close(struct conn *c)
{
	if (c->closing || c->half_closing || c->finishing)
		return;
	c->half_closing = true;
	if (c->tls != NULL && c->tls->secured) {
		tls_shutdown(c->tls);
		conn_flush_tls(c);
	}
	if (!c->writing)
		conn_written(c);
}

void conn_finish(struct conn *c)
{
	if (c->closing || c->finishing)
		return;
	conn_half_close(c);
	c->finishing = true;
	conn_pause(c);
	if (c->broken != NULL ||
	    (c->shut && !c->writing && !uv_is_writable(&c->h.stream)))
		conn_close(c);
	else if (!c->writing)
		conn_written(c);
}

/* Room for `size` more plain bytes behind those held. */
static uint8_t *conn_room(struct conn *c, size_t *ret_size)
{
	size_t held = buf_len(&c->held);
	uint8_t *room;

	if (held <= HELD_COPY) {
		*ret_size = WORKER_BUFFER - held;
		return c->worker->plain + held;
	}
	room = buf_reserve(&c->held, WORKER_BUFFER);
	*ret_size = room == NULL ? 0 : WORKER_BUFFER;
	return room;
}

/* `n` bytes were read where conn_room said. */
static void conn_deliver(struct conn *c, size_t n)
{
	size_t held = buf_len(&c->held), used;

	assert(!c->worker->delivering);
	c->worker->delivering = true;
	if (held <= HELD_COPY) {
		if (held > 0)
			memcpy(c->worker->plain, buf_bytes(&c->held), held);
		buf_clear(&c->held);
		used = c->ops->data(c->owner, c->worker->plain, held + n);
		assert(used <= held + n);
		if (!c->closing && used < held + n)
			buf_put(&c->held, c->worker->plain + used,
				held + n - used);
	} else {
		buf_added(&c->held, n);
		used = c->ops->data(c->owner, c->held.data + c->held.start,
				    held + n);
		buf_drain(&c->held, used);
	}
	c->worker->delivering = false;
	if (buf_len(&c->held) == 0)
		buf_free(&c->held);
	if (c->held.failed)
		c->broken = "out of memory";
}

static void conn_tell_eof(struct conn *c)
{
	if (!c->eof || c->eof_told || c->closing || !c->want_read)
		return;
	c->eof_told = true;
	c->ops->eof(c->owner);
}

static void conn_handshake(struct conn *c)
{
	enum tls_result r = tls_handshake(c->tls);

	conn_flush_tls(c);
	if (r == TLS_OK)
		c->ops->secured(c->owner);
	else if (r != TLS_MORE)
		conn_fail(c, tls_reason(c->tls));
}

/* Turns encrypted bytes that were fed into plain ones, as long as the owner
 * wants them. */
static void conn_pump(struct conn *c)
{
	enum tls_result r = TLS_OK;
	size_t n, size;
	uint8_t *room;

	if (!c->tls->secured)
		conn_handshake(c);
	while (r == TLS_OK && c->tls->secured && c->want_read && !c->closing) {
		room = conn_room(c, &size);
		if (room == NULL) {
			conn_fail(c, "out of memory");
			return;
		}
		r = tls_read(c->tls, room, size, &n);
		if (r == TLS_OK)
			conn_deliver(c, n);
	}
	if (c->closing)
		return;
	if (r == TLS_BAD)
		conn_fail(c, tls_reason(c->tls));
	else if (r == TLS_EOF)
		c->eof = true;
	conn_flush_tls(c); /* alerts, key updates */
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;
	size_t size = WORKER_BUFFER;

	(void)suggested;
	buf->base =
	    (char *)(c->tls != NULL ? c->worker->cipher : conn_room(c, &size));
	buf->len = size;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (n == 0 || c->closing)
		return;
	if (n < 0 && n != UV_EOF) {
		conn_fail(
		    c, n == UV_ENOBUFS ? "out of memory" : uv_strerror((int)n));
		return;
	}
	if (n == UV_EOF) {
		c->eof = true;
		uv_read_stop(stream);
		c->reading = false;
	} else if (c->tls != NULL) {
		tls_feed(c->tls, buf->base, (size_t)n);
		conn_pump(c);
	} else {
		conn_deliver(c, (size_t)n);
	}
	if (c->broken != NULL)
		conn_fail(c, c->broken);
	conn_tell_eof(c);
	conn_run_resuming(c->worker);
}

static void conn_start_reading(struct conn *c)
{
	int rc;

	if (c->reading || c->eof || c->closing || !c->want_read)
		return;
	rc = uv_read_start(&c->h.stream, on_alloc, on_read);
	if (rc != 0)
		conn_fail(c, uv_strerror(rc));
	else
		c->reading = true;
}

/* What waited while the owner did not want to hear of it, then the socket. */
static void conn_go_on(struct conn *c)
{
	if (buf_len(&c->held) > 0)
		conn_deliver(c, 0);
	if (c->tls != NULL && c->want_read && !c->closing)
		conn_pump(c);
	if (c->broken != NULL && !c->closing)
		conn_fail(c, c->broken);
	conn_start_reading(c);
	conn_tell_eof(c);
}

/* The worker's buffers are in use during a delivery: connections that are
 * resumed from inside one have their turn behind it. */
static void conn_run_resuming(struct worker *w)
{
	struct conn *c;

	while ((c = TAILQ_FIRST(&w->resuming)) != NULL) {
		TAILQ_REMOVE(&w->resuming, c, later);
		c->resuming = false;
		if (c->want_read && !c->closing && !c->finishing)
			conn_go_on(c);
	}
}

void conn_pause(struct conn *c)
{
	c->want_read = false;
	if (c->reading) {
		uv_read_stop(&c->h.stream);
		c->reading = false;
	}
}

void conn_resume(struct conn *c)
{
	if (c->closing || c->finishing)
		return;
	c->want_read = true;
	if (c->resuming)
		return;
	if (c->worker->delivering) {
		TAILQ_INSERT_TAIL(&c->worker->resuming, c, later);
		c->resuming = true;
		return;
	}
	conn_go_on(c);
	conn_run_resuming(c->worker);
}

void conn_secure(struct conn *c, struct tls *t, const void *first, size_t len)
{
	assert(c->tls == NULL);
	c->tls = t;
	tls_feed(t, first, len);
	conn_handshake(c);
}

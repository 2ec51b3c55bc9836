#include "daemon/net/dial.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/net/worker.h"

struct dial {
	struct worker *worker;	     /* borrowed */
	dial_done_fn done;	     /* NULL: cancelled or told */
	void *owner;		     /* borrowed until then */
	struct addrinfo *list;	     /* owned: what the name resolved to */
	const struct addrinfo *next; /* of list: to be tried */
	struct conn *conn;	     /* the attempt under way */
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	uint16_t port;
	unsigned keepalive_s;
	unsigned refs; /* callbacks that will still come */
	char why[160];
};

static void dial_try_next(struct dial *d);

static void dial_release(struct dial *d)
{
	if (--d->refs > 0)
		return;
	if (d->list != NULL)
		uv_freeaddrinfo(d->list);
	free(d);
}

static void dial_tell(struct dial *d, struct conn *c)
{
	dial_done_fn done = d->done;

	d->done = NULL;
	if (done != NULL)
		done(d->owner, c, d->why);
}

static void dial_conn_gone(void *owner)
{
	dial_release(owner);
}

/* An attempt neither reads nor writes: only `gone` can happen to it. */
static const struct conn_ops dial_ops = {
    .gone = dial_conn_gone,
};

static void dial_abandon(struct dial *d)
{
	struct conn *c = d->conn;

	d->conn = NULL;
	d->refs++; /* until dial_conn_gone */
	conn_close(c);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct dial *d = req->data;
	struct conn *c = d->conn;

	if (d->done == NULL || c == NULL) {
		/* cancelled: dial_cancel has closed the connection */
	} else if (status != 0) {
		snprintf(d->why, sizeof(d->why), "%s", uv_strerror(status));
		dial_abandon(d);
		dial_try_next(d);
	} else {
		d->conn = NULL;
		conn_tune(c, d->keepalive_s);
		dial_tell(d, c);
	}
	dial_release(d);
}

static void dial_failed_now(uv_handle_t *timer)
{
	struct dial *d = timer->data;

	dial_tell(d, NULL);
	free(timer);
	dial_release(d);
}

/* Tells the owner of a failure from the loop, never from inside a call. */
static void dial_fail_later(struct dial *d)
{
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	if (timer == NULL)
		abort();
	uv_timer_init(&d->worker->loop, timer);
	timer->data = d;
	d->refs++;
	uv_close((uv_handle_t *)timer, dial_failed_now);
}

static void dial_try(struct dial *d, const struct sockaddr *addr)
{
	int rc;

	d->conn = conn_create(d->worker, false, &dial_ops, d);
	d->connect.data = d;
	rc = uv_tcp_connect(&d->connect, &d->conn->h.tcp, addr, on_connected);
	if (rc == 0) {
		d->refs++;
		return;
	}
	snprintf(d->why, sizeof(d->why), "%s", uv_strerror(rc));
	dial_abandon(d);
	dial_try_next(d);
}

static void dial_try_next(struct dial *d)
{
	const struct addrinfo *a = d->next;

	if (a == NULL) {
		dial_fail_later(d);
		return;
	}
	d->next = a->ai_next;
	dial_try(d, a->ai_addr);
}

static void on_resolved(uv_getaddrinfo_t *req, int status,
			struct addrinfo *list)
{
	struct dial *d = req->data;

	d->list = list;
	d->next = list;
	if (status != 0)
		snprintf(d->why, sizeof(d->why),
			 "its name cannot be resolved: %s",
			 uv_strerror(status));
	if (d->done != NULL)
		dial_try_next(d);
	dial_release(d);
}

static void dial_resolve(struct dial *d, const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char port[8];

	snprintf(port, sizeof(port), "%u", d->port);
	d->resolve.data = d;
	if (uv_getaddrinfo(&d->worker->loop, &d->resolve, on_resolved, host,
			   port, &hints) == 0) {
		d->refs++;
		return;
	}
	snprintf(d->why, sizeof(d->why), "its name cannot be resolved");
	dial_fail_later(d);
}

static void dial_pipe(struct dial *d, const char *directory)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/.s.PGSQL.%u", directory, d->port);
	d->conn = conn_create(d->worker, true, &dial_ops, d);
	d->connect.data = d;
	d->refs++;
	uv_pipe_connect(&d->connect, &d->conn->h.pipe, path, on_connected);
}

struct dial *dial_start(struct worker *w, const struct settings *settings,
			dial_done_fn done, void *owner)
{
	struct dial *d = calloc(1, sizeof(*d));
	const char *host = settings->server.host;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a;

	if (d == NULL)
		abort();
	d->worker = w;
	d->done = done;
	d->owner = owner;
	d->port = settings->server.port;
	d->keepalive_s = settings->tcp_keepalive_s;
	d->refs = 1; /* this call */
	if (host[0] == '/')
		dial_pipe(d, host);
	else if (uv_ip4_addr(host, d->port, &a.v4) == 0 ||
		 uv_ip6_addr(host, d->port, &a.v6) == 0)
		dial_try(d, &a.any);
	else
		dial_resolve(d, host);
	d->refs--; /* every path above has a callback to come */
	return d;
}

void dial_cancel(struct dial *d)
{
	d->done = NULL;
	if (d->conn != NULL)
		dial_abandon(d);
	else
		uv_cancel((uv_req_t *)&d->resolve);
}

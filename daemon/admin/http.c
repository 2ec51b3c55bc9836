#include "daemon/admin/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/admin/http_status.h"
#include "daemon/admin/metrics.h"
#include "daemon/admin/view.h"
#include "daemon/log.h"

enum {
	MAX_PAGE = 8 << 20,
	MAX_CONNECTIONS = 32,
	IDLE_S = 10,
	/* libmicrohttpd 0.9.75 keeps a lock when its own limit is met, and
	 * stands still: connections are counted here instead. */
	NEVER_MET = 1000000,
};

struct http {
	struct admin *admin;	   /* borrowed */
	struct MHD_Daemon *daemon; /* owned */
	atomic_uint open;	   /* connections */
};

/* -- the pages: each fills the body and returns the status code -- */

static unsigned say_problem(struct buf *b, const struct problem *p)
{
	buf_clear(b);
	buf_put_fmt(b, "%s\n", p->message);
	return MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned page_metrics(struct admin *a, struct buf *b)
{
	struct problem p;

	if (!metrics_write(a, b, &p))
		return say_problem(b, &p);
	return MHD_HTTP_OK;
}

static unsigned page_health(struct admin *a, struct buf *b)
{
	buf_put_fmt(b, "ok\n");
	return MHD_HTTP_OK;
}

/* Ready: takes clients, and knows the phase of every migration, now. */
static unsigned page_ready(struct admin *a, struct buf *b)
{
	struct view_rows v;
	struct problem p;
	struct arena arena;
	const char *stale;
	unsigned ret = MHD_HTTP_OK;

	if (atomic_load(&a->stopping)) {
		buf_put_fmt(b, "shutting down\n");
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	}
	arena_init(&arena);
	if (!view_collect(a->control, VIEW_MIGRATIONS, NULL, &arena, &v, &p)) {
		ret = say_problem(b, &p);
		v.n = 0;
	}
	for (size_t i = 0; i < v.n; i++) {
		if (view_get(&v, i, "phase"))
			continue;
		buf_put_fmt(b, "phase of migration %s is not known\n",
			    view_get(&v, i, "name"));
		ret = MHD_HTTP_SERVICE_UNAVAILABLE;
	}
	stale = control_find_stale(a->control, &arena);
	if (ret == MHD_HTTP_OK && stale != NULL) {
		buf_put_fmt(b, "database %s does not answer\n", stale);
		ret = MHD_HTTP_SERVICE_UNAVAILABLE;
	}
	if (ret == MHD_HTTP_OK)
		buf_put_fmt(b, "ready\n");
	arena_free(&arena);
	return ret;
}

static unsigned page_status(struct admin *a, struct buf *b)
{
	http_status_write(a, b);
	return MHD_HTTP_OK;
}

#define PLAIN "text/plain; charset=utf-8"

/* clang-format off */
static const struct page {
	const char *path, *type;
	unsigned (*fill)(struct admin *a, struct buf *b);
} pages[] = {
	{"/",        "text/html; charset=utf-8", page_status},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
	{"/healthz", PLAIN, page_health},
	{"/readyz",  PLAIN, page_ready},
};

static const char *const headers[][2] = {
	{"Cache-Control", "no-store"},
	{"Content-Security-Policy",
	 "default-src 'none'; style-src 'unsafe-inline'; "
	 "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
};
/* clang-format on */

/* -- serving -- */

static enum MHD_Result send_body(struct MHD_Connection *conn, unsigned status,
				 const char *type, struct buf *b)
{
	struct MHD_Response *r;
	enum MHD_Result ret;

	if (b->failed) {
		buf_clear(b);
		buf_put_fmt(b, "the page is too large\n");
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		type = PLAIN;
	}
	r = MHD_create_response_from_buffer(buf_len(b), (void *)buf_bytes(b),
					    MHD_RESPMEM_MUST_COPY);
	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type", type);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		MHD_add_response_header(r, headers[i][0], headers[i][1]);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, HEAD");
	ret = MHD_queue_response(conn, status, r);
	MHD_destroy_response(r);
	return ret;
}

static const struct page *find_page(const char *path)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (strcmp(pages[i].path, path) == 0)
			return &pages[i];
	return NULL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn,
				  const char *path, const char *method,
				  const char *version, const char *upload,
				  size_t *upload_len, void **state)
{
	struct http *h = arg;
	const struct page *page = find_page(path);
	const char *type = PLAIN;
	enum MHD_Result ret;
	unsigned status;
	struct buf b;

	buf_init(&b, MAX_PAGE);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		status = MHD_HTTP_METHOD_NOT_ALLOWED;
		buf_put_fmt(&b, "these pages are read only\n");
	} else if (!page) {
		status = MHD_HTTP_NOT_FOUND;
		buf_put_fmt(&b, "there is /, /metrics, /healthz, /readyz\n");
	} else {
		status = page->fill(h->admin, &b);
		type = status == MHD_HTTP_OK ? page->type : PLAIN;
	}
	ret = send_body(conn, status, type, &b);
	buf_free(&b);
	return ret;
}

static void on_connection(void *arg, struct MHD_Connection *conn, void **state,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		atomic_fetch_sub(&h->open, 1);
}

bool http_start(struct admin *a, struct http **ret, struct problem *p)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return problem_set(p, "53200", "out of memory");
	h->admin = a;
	/* A thread per connection: a page waits for the database, and health
	 * checks must not wait behind it. */
	h->daemon = MHD_start_daemon(
	    MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
		MHD_USE_POLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC,
	    0, NULL, NULL, on_request, h, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)NEVER_MET, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)IDLE_S, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
	    MHD_OPTION_END);
	if (!h->daemon) {
		free(h);
		return problem_set(p, "58000", "cannot start the HTTP pages");
	}
	*ret = h;
	return true;
}

void http_adopt(struct http *h, int fd)
{
	struct sockaddr_storage from = {0};
	socklen_t len = sizeof(from);

	if (atomic_load(&h->open) >= MAX_CONNECTIONS) {
		log_warn("http: connection refused, %d are open",
			 MAX_CONNECTIONS);
		close(fd);
		return;
	}
	if (getpeername(fd, (struct sockaddr *)&from, &len) != 0) {
		close(fd);
		return;
	}
	atomic_fetch_add(&h->open, 1);
	/* On failure it has closed the socket itself. */
	if (MHD_add_connection(h->daemon, fd, (struct sockaddr *)&from, len) ==
	    MHD_YES)
		return;
	atomic_fetch_sub(&h->open, 1);
	log_warn("http: connection not taken: %s", strerror(errno));
}

void http_stop(struct http *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}

/*
 * A new connection is an arrival until its first byte is there: a start-up
 * packet begins with the high byte of a length below 10000, so 0, and an HTTP
 * request with a capital letter.  The byte is only peeked at, because the
 * HTTP library reads the socket itself.
 */
#include "daemon/admin/console.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/admin/console_conn.h"
#include "daemon/admin/http.h"
#include "daemon/log.h"

enum {
	MAX_REFUSED = 16, /* connections that are being told so */
	MAX_ARRIVALS = 64,
	DEFAULT_PORT = 6433,
	REST_MS = 100,
};

/* -- arrivals -- */

struct arrival {
	struct console *console;
	struct arrival *next; /* in the console's list */
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned open_handles;
	int fd; /* owned */
	bool local, decided;
	char address[64];
};

static void free_if_done(struct console *c)
{
	if (!c->stopping || c->n_arrivals > 0 || c->n_conns > 0 ||
	    c->n_listener_handles > 0)
		return;
	http_stop(c->http);
	free(c);
}

static void hand_over(struct arrival *r)
{
	struct console *c = r->console;
	char first = '\0';

	if (c->stopping || !r->decided || recv(r->fd, &first, 1, MSG_PEEK) <= 0)
		close(r->fd);
	else if (first >= 'A' && first <= 'Z')
		http_adopt(c->http, r->fd);
	else if (c->n_conns >= CONSOLE_MAX_CONNS + MAX_REFUSED)
		close(r->fd);
	else
		console_conn_open(c, r->fd, r->local, r->address);
}

static void on_arrival_closed(uv_handle_t *h)
{
	struct arrival *r = h->data, **at;
	struct console *c = r->console;

	if (--r->open_handles > 0)
		return;
	for (at = &c->arrivals; *at != r; at = &(*at)->next)
		;
	*at = r->next;
	c->n_arrivals--;
	/* Only now is the loop done with the descriptor. */
	hand_over(r);
	free(r);
	free_if_done(c);
}

static void close_arrival(struct arrival *r)
{
	if (uv_is_closing((uv_handle_t *)&r->poll))
		return;
	uv_close((uv_handle_t *)&r->poll, on_arrival_closed);
	uv_close((uv_handle_t *)&r->timer, on_arrival_closed);
}

static void on_arrival_readable(uv_poll_t *h, int status, int events)
{
	struct arrival *r = h->data;

	r->decided = status == 0;
	close_arrival(r);
}

static void on_arrival_timeout(uv_timer_t *h)
{
	close_arrival(h->data);
}

static void begin_arrival(struct console *c, int fd, bool local,
			  const char *address)
{
	struct settings *s = admin_settings(c->admin);
	struct arrival *r = calloc(1, sizeof(*r));

	if (!r || uv_poll_init(c->loop, &r->poll, fd) != 0) {
		close(fd);
		free(r);
		settings_unref(s);
		return;
	}
	uv_timer_init(c->loop, &r->timer);
	r->console = c;
	r->fd = fd;
	r->local = local;
	snprintf(r->address, sizeof(r->address), "%s", address);
	r->poll.data = r;
	r->timer.data = r;
	r->open_handles = 2;
	r->next = c->arrivals;
	c->arrivals = r;
	c->n_arrivals++;
	uv_poll_start(&r->poll, UV_READABLE, on_arrival_readable);
	uv_timer_start(&r->timer, on_arrival_timeout, s->login_timeout_ms, 0);
	settings_unref(s);
}

/* -- listening -- */

static void address_text(const struct sockaddr_storage *from, socklen_t len,
			 char *ret, size_t size)
{
	char host[48], port[8];

	if (from->ss_family == AF_UNIX ||
	    getnameinfo((const struct sockaddr *)from, len, host, sizeof(host),
			port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(ret, size, "[local]");
	else
		snprintf(ret, size, "%s:%s", host, port);
}

static void on_listener_readable(uv_poll_t *h, int status, int events);

static void on_rested(uv_timer_t *h)
{
	struct listener *l = h->data;

	uv_poll_start(&l->poll, UV_READABLE, on_listener_readable);
}

/* Out of descriptors, a connection that cannot be accepted would wake the
 * loop without end. */
static void rest(struct listener *l)
{
	log_warn("console: cannot accept: %s", strerror(errno));
	uv_poll_stop(&l->poll);
	uv_timer_start(&l->rest, on_rested, REST_MS, 0);
}

static void on_listener_readable(uv_poll_t *h, int status, int events)
{
	struct listener *l = h->data;
	struct console *c = h->loop->data;
	struct sockaddr_storage from = {0};
	socklen_t len = sizeof(from);
	char address[64];
	int fd;

	if (status < 0)
		return;
	fd = accept4(l->fd, (struct sockaddr *)&from, &len,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			rest(l);
		return;
	}
	if (c->n_arrivals >= MAX_ARRIVALS) {
		close(fd);
		return;
	}
	address_text(&from, len, address, sizeof(address));
	begin_arrival(c, fd, l->local, address);
}

static bool listen_on(struct console *c, struct listener *l, int fd)
{
	if (listen(fd, SOMAXCONN) != 0 ||
	    uv_poll_init(c->loop, &l->poll, fd) != 0)
		return false;
	l->fd = fd;
	uv_timer_init(c->loop, &l->rest);
	l->poll.data = l;
	l->rest.data = l;
	c->n_listener_handles += 2;
	uv_poll_start(&l->poll, UV_READABLE, on_listener_readable);
	return true;
}

static bool listen_tcp(struct console *c, const struct settings *s,
		       struct problem *p)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE};
	struct addrinfo *list;
	char port[8];
	int fd, one = 1, err;

	snprintf(port, sizeof(port), "%u", s->admin.port);
	err = getaddrinfo(s->admin.address, port, &hints, &list);
	if (err)
		return problem_set(p, "F0000", "admin address %s: %s",
				   s->admin.address, gai_strerror(err));
	fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(fd, list->ai_addr, list->ai_addrlen) == 0 &&
	    listen_on(c, &c->listeners[0], fd)) {
		freeaddrinfo(list);
		return true;
	}
	problem_set(p, "58000", "cannot listen on admin address %s:%s: %s",
		    s->admin.address, port, strerror(errno));
	freeaddrinfo(list);
	if (fd >= 0)
		close(fd);
	return false;
}

/* A socket file that nobody listens on is a crashed daemon's. */
static bool remove_stale(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool taken;

	if (fd < 0)
		return false;
	taken = connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 ||
		errno == EAGAIN;
	close(fd);
	if (!taken)
		unlink(at->sun_path);
	return !taken;
}

static bool listen_unix(struct console *c, const struct settings *s,
			struct problem *p)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	unsigned port = s->admin.port ? s->admin.port : DEFAULT_PORT;
	int fd, n = snprintf(at.sun_path, sizeof(at.sun_path), "%s/.s.PGSQL.%u",
			     s->admin.socket, port);

	if (n >= (int)sizeof(at.sun_path))
		return problem_set(p, "F0000", "admin socket path too long: %s",
				   s->admin.socket);
	if (mkdir(s->admin.socket, 0755) != 0 && errno != EEXIST)
		return problem_set(p, "58000", "cannot create %s: %s",
				   s->admin.socket, strerror(errno));
	if (!remove_stale(&at))
		return problem_set(p, "55006", "another process listens on %s",
				   at.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    /* As PostgreSQL's: who may log in is asked of the peer. */
	    chmod(at.sun_path, 0777) == 0 &&
	    listen_on(c, &c->listeners[1], fd)) {
		snprintf(c->listeners[1].path, sizeof(c->listeners[1].path),
			 "%s", at.sun_path);
		return true;
	}
	problem_set(p, "58000", "cannot listen on %s: %s", at.sun_path,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

static bool listen_all(struct console *c, struct problem *p)
{
	struct settings *s = admin_settings(c->admin);
	bool ok = (!s->admin.port || listen_tcp(c, s, p)) &&
		  (!s->admin.socket || listen_unix(c, s, p));

	settings_unref(s);
	return ok;
}

/* -- life -- */

bool console_start(struct admin *a, uv_loop_t *loop, struct console **ret,
		   struct problem *p)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return problem_set(p, "53200", "out of memory");
	c->admin = a;
	c->loop = loop;
	loop->data = c;
	c->listeners[0].fd = -1;
	c->listeners[1].fd = -1;
	c->listeners[1].local = true;
	if (RAND_bytes(c->seed, sizeof(c->seed)) != 1) {
		free(c);
		return problem_set(p, "58000", "no random numbers");
	}
	if (!http_start(a, &c->http, p)) {
		free(c);
		return false;
	}
	if (!listen_all(c, p)) {
		console_stop(c);
		return false;
	}
	*ret = c;
	return true;
}

static void on_listener_closed(uv_handle_t *h)
{
	struct listener *l = h->data;
	struct console *c = h->loop->data;

	c->n_listener_handles--;
	if (h == (uv_handle_t *)&l->poll) {
		close(l->fd);
		if (l->path[0])
			unlink(l->path);
	}
	free_if_done(c);
}

void console_stop(struct console *c)
{
	bool empty = c->n_listener_handles + c->n_conns + c->n_arrivals == 0;

	c->stopping = true;
	for (size_t i = 0; i < 2; i++) {
		struct listener *l = &c->listeners[i];

		if (l->fd < 0)
			continue;
		uv_close((uv_handle_t *)&l->poll, on_listener_closed);
		uv_close((uv_handle_t *)&l->rest, on_listener_closed);
	}
	for (struct arrival *r = c->arrivals; r; r = r->next)
		close_arrival(r);
	for (struct console_conn *n = c->conns; n; n = n->next) {
		if (n->task)
			task_cancel(n->task);
		console_conn_fatal(n, "57P01",
				   "terminating connection: pgtandem is "
				   "shutting down",
				   NULL);
	}
	if (empty)
		free_if_done(c);
}

void console_cancel(struct console *c, uint32_t id, const uint8_t *key,
		    size_t key_len)
{
	for (struct console_conn *n = c->conns; n; n = n->next)
		if (n->id == id && key_len == CANCEL_KEY && n->task &&
		    CRYPTO_memcmp(n->key, key, CANCEL_KEY) == 0)
			task_cancel(n->task);
}

void console_conn_gone(struct console_conn *conn)
{
	struct console *c = conn->console;
	struct console_conn **at = &c->conns;

	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	c->n_conns--;
	free_if_done(c);
}

#include "daemon/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net/session.h"
#include "daemon/net/worker.h"

enum {
	LISTEN_BACKLOG = 1024,
	ACCEPT_AT_ONCE = 8, /* clients per wake-up: the others wait, too */
	REST_MS = 100,
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
};

void listener_path(const struct listen_setting *l, char *ret, size_t size)
{
	snprintf(ret, size, "%s/.s.PGSQL.%u", l->socket, l->port);
}

static bool address_parse(const struct listen_setting *l, union address *a,
			  socklen_t *ret_len)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, l->address, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(l->port);
		*ret_len = sizeof(a->v4);
		return true;
	}
	if (inet_pton(AF_INET6, l->address, &a->v6.sin6_addr) == 1) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(l->port);
		*ret_len = sizeof(a->v6);
		return true;
	}
	return false;
}

static bool bind_tcp(const struct listen_setting *l, int *ret_fd,
		     struct problem *p)
{
	union address a;
	socklen_t len;
	int fd, on = 1;

	if (!address_parse(l, &a, &len))
		return problem_set(p, "F0000",
				   "cannot listen on \"%s\": not a numeric "
				   "address",
				   l->address);
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return problem_set(p, "58000", "cannot make a socket: %s",
				   strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (a.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a.any, len) == 0) {
		*ret_fd = fd;
		return true;
	}
	problem_set(p, "58000", "cannot listen on %s port %u: %s", l->address,
		    l->port, strerror(errno));
	close(fd);
	return false;
}

/* A socket file that nobody answers on is left over from a crash. */
static void remove_stale(const union address *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, &a->any, sizeof(a->local)) != 0 &&
	    errno == ECONNREFUSED)
		unlink(a->local.sun_path);
	close(fd);
}

static bool bind_unix(const struct listen_setting *l, int *ret_fd,
		      struct problem *p)
{
	union address a;
	char path[512];
	int fd;

	memset(&a, 0, sizeof(a));
	a.local.sun_family = AF_UNIX;
	listener_path(l, path, sizeof(path));
	if (strlen(path) >= sizeof(a.local.sun_path))
		return problem_set(p, "F0000", "socket path %s is too long",
				   path);
	memcpy(a.local.sun_path, path, strlen(path) + 1);
	remove_stale(&a);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, &a.any, sizeof(a.local)) == 0 &&
	    chmod(path, 0777) == 0) {
		*ret_fd = fd;
		return true;
	}
	problem_set(p, "58000", "cannot listen on %s: %s", path,
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

bool listener_bind(const struct listen_setting *l, int *ret_fd,
		   struct problem *p)
{
	return l->socket != NULL ? bind_unix(l, ret_fd, p)
				 : bind_tcp(l, ret_fd, p);
}

static void on_readable(uv_poll_t *h, int status, int events);

static void on_rested(uv_timer_t *h)
{
	struct listener *l = h->data;

	uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* Out of descriptors, a client that cannot be accepted would wake the loop
 * without end. */
static void rest(struct listener *l)
{
	log_warn("cannot accept a client: %s; trying again in %d ms. Raise "
		 "the limit on open files (LimitNOFILE)",
		 strerror(errno), REST_MS);
	uv_poll_stop(&l->poll);
	uv_timer_start(&l->rest, on_rested, REST_MS, 0);
}

static void on_readable(uv_poll_t *h, int status, int events)
{
	struct listener *l = h->data;
	int fd;

	for (int i = 0; i < ACCEPT_AT_ONCE && status == 0; i++) {
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			session_accept(l->worker, l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM)
			rest(l);
		return;
	}
}

bool listener_open(struct listener *l, struct worker *w, size_t index, int fd,
		   bool is_pipe, struct problem *p)
{
	int rc;

	l->worker = w;
	l->index = index;
	l->is_pipe = is_pipe;
	l->fd = fd;
	if (listen(fd, LISTEN_BACKLOG) != 0)
		return problem_set(p, "58000", "cannot listen: %s",
				   strerror(errno));
	rc = uv_poll_init(&w->loop, &l->poll, fd);
	if (rc != 0)
		return problem_set(p, "58000", "cannot listen: %s",
				   uv_strerror(rc));
	uv_timer_init(&w->loop, &l->rest);
	l->poll.data = l;
	l->rest.data = l;
	l->open = true;
	uv_poll_start(&l->poll, UV_READABLE, on_readable);
	return true;
}

static void on_poll_closed(uv_handle_t *h)
{
	struct listener *l = h->data;

	close(l->fd);
}

void listener_close(struct listener *l)
{
	if (!l->open)
		return;
	l->open = false;
	uv_poll_stop(&l->poll);
	uv_close((uv_handle_t *)&l->poll, on_poll_closed);
	uv_close((uv_handle_t *)&l->rest, NULL);
}

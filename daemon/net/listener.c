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

enum { LISTEN_BACKLOG = 1024 };

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

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *l = stream->data;

	if (status < 0) {
		log_warn("cannot accept a client: %s", uv_strerror(status));
		return;
	}
	session_accept(l->worker, l);
}

bool listener_open(struct listener *l, struct worker *w, size_t index, int fd,
		   bool is_pipe, struct problem *p)
{
	int rc;

	l->worker = w;
	l->index = index;
	l->is_pipe = is_pipe;
	if (is_pipe) {
		uv_pipe_init(&w->loop, &l->h.pipe, 0);
		rc = uv_pipe_open(&l->h.pipe, fd);
	} else {
		uv_tcp_init(&w->loop, &l->h.tcp);
		rc = uv_tcp_open(&l->h.tcp, fd);
	}
	l->h.handle.data = l;
	l->open = true;
	if (rc == 0)
		rc = uv_listen(&l->h.stream, LISTEN_BACKLOG, on_connection);
	if (rc == 0)
		return true;
	return problem_set(p, "58000", "cannot listen: %s", uv_strerror(rc));
}

void listener_close(struct listener *l)
{
	if (!l->open)
		return;
	l->open = false;
	uv_close(&l->h.handle, NULL);
}

/*
 * A session's states.
 *
 *   START       the client's first packets      login_client_data
 *     -> CLIENT_TLS   SSLRequest or direct TLS        login_start_tls
 *     -> CONNECT      StartupMessage, CancelRequest   login_connect
 *   CLIENT_TLS  handshake with the client
 *     -> START        done                            login_client_secured
 *   CONNECT     dialling the server
 *     -> SERVER_ASK   connected, TLS wanted           on_dialled
 *     -> AUTH, CANCEL connected, no TLS wanted        login_talk
 *   SERVER_ASK  SSLRequest sent, one byte to come
 *     -> SERVER_TLS   'S'                             login_server_answer
 *     -> AUTH, CANCEL 'N' and TLS is not a must       login_talk
 *   SERVER_TLS  handshake with the server
 *     -> AUTH, CANCEL done                            login_server_secured
 *   AUTH        start-up sent, authentication relayed
 *     -> CONNECT      refused, once more without or with TLS  login_retry
 *     -> READY, PIPE  first ReadyForQuery             login_done
 *   CANCEL      CancelRequest sent, the server's close to come
 *   READY       messages both ways; `wait` says what the client waits for
 *   PIPE        a replication connection: bytes both ways
 *     -> CLOSING      from any state                  session_close
 *   CLOSING     the client's queue is written, then both are gone and freed
 *
 * Invariants are in session_check.
 */
#include "daemon/net/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/net/dial.h"
#include "daemon/net/listener.h"
#include "daemon/net/session_prepared.h"
#include "rewrite/cache.h"

enum { CLOSING_MS = 5000 }; /* to take what is queued, then cut off */

#define TO(state) (1u << (state))

static const char *const state_names[] = {[SESSION_NONE] = "none",
#define X(id, name) [id] = (name),
					  SESSION_STATES(X)
#undef X
};

/* clang-format off */
static const uint16_t allowed[] = {
	[SESSION_NONE]       = TO(SESSION_START),
	[SESSION_START]      = TO(SESSION_CLIENT_TLS) | TO(SESSION_CONNECT),
	[SESSION_CLIENT_TLS] = TO(SESSION_START),
	[SESSION_CONNECT]    = TO(SESSION_SERVER_ASK) | TO(SESSION_AUTH) |
			       TO(SESSION_CANCEL),
	[SESSION_SERVER_ASK] = TO(SESSION_SERVER_TLS) | TO(SESSION_AUTH) |
			       TO(SESSION_CANCEL) | TO(SESSION_CONNECT),
	[SESSION_SERVER_TLS] = TO(SESSION_AUTH) | TO(SESSION_CANCEL) |
			       TO(SESSION_CONNECT),
	[SESSION_AUTH]       = TO(SESSION_CONNECT) | TO(SESSION_READY) |
			       TO(SESSION_PIPE),
	[SESSION_CANCEL]     = 0,
	[SESSION_READY]      = 0,
	[SESSION_PIPE]       = 0,
	[SESSION_CLOSING]    = 0,
};
/* clang-format on */

void session_check(const struct session *s)
{
	bool early = s->state < SESSION_READY;

	assert((s->pin != NULL) || s->db == NULL);
	assert(s->wait == WAIT_NOTHING || s->state == SESSION_READY);
	replies_check(&s->replies);
	if (s->state == SESSION_CLOSING)
		return;
	assert(s->client != NULL);
	assert(early == (s->login != NULL));
	assert((s->dial != NULL) == (s->state == SESSION_CONNECT));
	assert((s->server != NULL) == (s->state >= SESSION_SERVER_ASK));
}

void session_enter(struct session *s, enum session_state to)
{
	assert(to == SESSION_CLOSING || (allowed[s->state] & TO(to)));
	log_debug("session %llu: %s -> %s", (unsigned long long)s->id,
		  state_names[s->state], state_names[to]);
	s->state = to;
	session_check(s);
}

const struct settings *session_settings(const struct session *s)
{
	return s->worker->current->snapshot->settings;
}

void session_deadline_in(struct session *s, uint64_t ms)
{
	uint64_t at = ms == 0 ? 0 : uv_now(&s->worker->loop) + ms;

	worker_set_deadline(s->worker, s, at);
}

void session_begin(struct session *s)
{
	gather_to(&s->worker->to_client, s->client);
	gather_to(&s->worker->to_server, s->server);
}

void session_flush(struct session *s)
{
	struct worker *w = s->worker;

	counter_add(&w->count.bytes_out, w->to_client.bytes);
	gather_flush(&w->to_client);
	gather_flush(&w->to_server);
	if (s->state == SESSION_CLOSING)
		return;
	if (s->client->broken != NULL) {
		session_close(s);
		return;
	}
	if (s->server == NULL)
		return;
	/* A broken server is heard of by reading: it may have said why. */
	if (conn_is_crowded(s->server) || s->server->broken != NULL)
		conn_pause(s->client);
	if (conn_is_crowded(s->client))
		conn_pause(s->server);
}

bool session_is_idle(const struct session *s)
{
	return s->state == SESSION_READY && s->tx == 'I' &&
	       s->replies.count == 0 && !s->replies.skipping &&
	       s->from_client.remaining == 0;
}

void session_pin(struct session *s)
{
	if (s->pin != NULL)
		return;
	s->pin = worker_pin(s->worker);
	s->db = snapshot_find(s->pin->snapshot, s->database);
	if (s->db != NULL)
		plan_snapshot_pinned(s);
}

static void portals_free(struct session *s)
{
	struct portal *p, *next;

	for (p = s->portals; p != NULL; p = next) {
		next = p->next;
		portal_free(p);
	}
	s->portals = NULL;
}

static void session_unpin(struct session *s)
{
	if (s->pin == NULL)
		return;
	worker_unpin(s->worker, s->pin);
	s->pin = NULL;
	s->db = NULL;
	portals_free(s); /* no portal outlives its transaction */
}

void session_unpin_if_idle(struct session *s)
{
	if (!session_is_idle(s))
		return;
	if (s->names_change) {
		s->names_change = false;
		s->names_known = false;
	}
	session_unpin(s);
	replies_shrink(&s->replies);
	if (s->draining)
		session_drain(s);
}

/* Who connects, for SHOW CLIENTS: "127.0.0.1:5000" or "unix". */
static char *peer_name(struct conn *c)
{
	struct sockaddr_storage a;
	int len = sizeof(a), port;
	char host[64] = "", text[80];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a;

	if (c->is_pipe)
		return strdup("unix");
	if (uv_tcp_getpeername(&c->h.tcp, (struct sockaddr *)&a, &len) != 0)
		return strdup("unknown");
	if (a.ss_family == AF_INET6) {
		uv_ip6_name(v6, host, sizeof(host));
		port = ntohs(v6->sin6_port);
	} else {
		uv_ip4_name(v4, host, sizeof(host));
		port = ntohs(v4->sin_port);
	}
	snprintf(text, sizeof(text), "%s:%d", host, port);
	return strdup(text);
}

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void session_accept(struct worker *w, struct listener *l, int fd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		abort();
	s->worker = w;
	s->id = w->next_id++ << 8 | w->number;
	s->listen_index = l->index;
	s->tx = 'I';
	s->connected_ms = wall_ms();
	s->read_share = (unsigned)(s->id * 0x9e3779b97f4a7c15 >> 33) % 100;
	replies_init(&s->replies, reply_left, s);
	statements_init(&s->statements);
	TAILQ_INSERT_TAIL(&w->sessions, s, link);
	counter_add(&w->count.clients, 1);
	counter_add(&w->count.clients_total, 1);
	s->client = conn_create(w, l->is_pipe, &session_client_ops, s);
	login_begin(s);
	if (!conn_open(s->client, fd)) {
		close(fd);
		session_close(s);
		return;
	}
	conn_tune(s->client, session_settings(s)->tcp_keepalive_s);
	s->address = peer_name(s->client);
	session_deadline_in(s, session_settings(s)->login_timeout_ms);
	conn_resume(s->client);
}

static void session_free_if_gone(struct session *s)
{
	if (s->client != NULL || s->server != NULL)
		return;
	worker_session_gone(s->worker, s);
	counter_add(&s->worker->count.clients, (uint64_t)-1);
	log_debug("session %llu: gone", (unsigned long long)s->id);
	login_free(s);
	free(s->user);
	free(s->database);
	free(s->application);
	free(s->address);
	free(s->probe_failed);
	free(s->names);
	free(s->scan_tail);
	free(s); /* the only free of a session */
}

/* The server learns that its client has gone, at a message's boundary. */
static void session_leave_server(struct session *s)
{
	static const char terminate[] = {'X', 0, 0, 0, 4};
	uv_buf_t b =
	    uv_buf_init((char *)(uintptr_t)terminate, sizeof(terminate));

	if (s->server == NULL)
		return;
	if (s->state == SESSION_READY && s->from_client.remaining == 0 &&
	    !s->terminated && !s->server->eof) {
		conn_write(s->server, &b, 1);
		conn_finish(s->server);
	} else {
		conn_close(s->server);
	}
}

void session_close(struct session *s)
{
	if (s->state == SESSION_CLOSING)
		return;
	/* What is collected for the client goes before the last goodbye. */
	gather_flush(&s->worker->to_client);
	gather_flush(&s->worker->to_server);
	if (s->wait == WAIT_HOLD)
		counter_add(&s->worker->count.held, (uint64_t)-1);
	s->wait = WAIT_NOTHING;
	session_leave_server(s);
	s->state = SESSION_CLOSING;
	if (s->dial != NULL)
		dial_cancel(s->dial);
	s->dial = NULL;
	replies_free(&s->replies);
	statements_free(&s->statements);
	session_unpin(s);
	session_deadline_in(s, CLOSING_MS);
	session_check(s);
	conn_finish(s->client);
}

void session_fatal(struct session *s, const char *sqlstate, const char *message,
		   const char *detail, const char *hint)
{
	struct msg_fault f = {
	    .severity = "FATAL",
	    .sqlstate = sqlstate,
	    .message = message,
	    .detail = detail,
	    .hint = hint,
	};
	struct gather *g = &s->worker->to_client;

	log_info("session %llu: %s@%s from %s: %s%s%s",
		 (unsigned long long)s->id, s->user ? s->user : "?",
		 s->database ? s->database : "?", s->address, message,
		 detail ? ": " : "", detail ? detail : "");
	if (!s->told_fatal && s->from_server.remaining == 0) {
		if (g->n == 0)
			gather_to(g, s->client);
		msg_put_error(gather_made(g), 'E', &f);
		gather_made_done(g);
		counter_add(&s->worker->count.errors_made, 1);
	}
	s->told_fatal = true;
	session_close(s);
}

static size_t on_client_data(void *owner, uint8_t *bytes, size_t len)
{
	struct session *s = owner;
	size_t used;

	session_begin(s);
	if (s->state == SESSION_READY || s->state == SESSION_PIPE)
		used = client_data(s, bytes, len);
	else if (s->state == SESSION_CLOSING)
		used = len;
	else
		used = login_client_data(s, bytes, len);
	counter_add(&s->worker->count.bytes_in, used);
	session_flush(s);
	return used;
}

static size_t on_server_data(void *owner, uint8_t *bytes, size_t len)
{
	struct session *s = owner;
	size_t used;

	session_begin(s);
	if (s->state == SESSION_READY || s->state == SESSION_PIPE)
		used = server_data(s, bytes, len);
	else if (s->state == SESSION_CLOSING)
		used = len;
	else
		used = login_server_data(s, bytes, len);
	session_flush(s);
	return used;
}

static void on_client_secured(void *owner)
{
	login_client_secured(owner);
}

static void on_server_secured(void *owner)
{
	login_server_secured(owner);
}

static void on_client_drained(void *owner)
{
	struct session *s = owner;

	if (s->server != NULL && s->state != SESSION_CLOSING)
		conn_resume(s->server);
}

static void on_server_drained(void *owner)
{
	struct session *s = owner;

	if (s->wait == WAIT_NOTHING && s->state != SESSION_CLOSING)
		conn_resume(s->client);
}

/* A client that says no more may still wait for answers: the server hears the
 * same, answers what it has, and closes. */
static void on_client_eof(void *owner)
{
	struct session *s = owner;

	s->client_eof = true;
	if (s->state == SESSION_PIPE ||
	    (s->state == SESSION_READY && s->replies.count > 0 &&
	     buf_len(&s->client->held) == 0 && s->from_client.remaining == 0))
		conn_half_close(s->server);
	else
		session_close(s);
}

static void on_client_failed(void *owner, const char *why)
{
	struct session *s = owner;

	log_debug("session %llu: client: %s", (unsigned long long)s->id, why);
	if (s->state == SESSION_CLIENT_TLS)
		log_info("session %llu: TLS with the client at %s failed: %s",
			 (unsigned long long)s->id, s->address, why);
	session_close(s);
	conn_close(s->client);
}

static void session_server_lost(struct session *s, const char *why)
{
	if (s->state == SESSION_CLOSING) {
		conn_close(s->server);
		return;
	}
	if (s->login != NULL && login_server_lost(s, why))
		return;
	if (s->told_fatal || s->terminated || s->cancel || s->client_eof ||
	    s->state == SESSION_PIPE)
		session_close(s);
	else
		session_fatal(s, "08006",
			      "pgtandem: the server closed the connection "
			      "unexpectedly",
			      why,
			      "The server may have ended or restarted; its log "
			      "says more.");
}

static void on_server_eof(void *owner)
{
	session_server_lost(owner, "end of file");
}

static void on_server_failed(void *owner, const char *why)
{
	session_server_lost(owner, why);
}

static void on_client_gone(void *owner)
{
	struct session *s = owner;

	s->client = NULL;
	session_free_if_gone(s);
}

static void on_server_gone(void *owner)
{
	struct session *s = owner;

	s->server = NULL;
	session_free_if_gone(s);
}

const struct conn_ops session_client_ops = {
    .data = on_client_data,
    .secured = on_client_secured,
    .drained = on_client_drained,
    .eof = on_client_eof,
    .failed = on_client_failed,
    .gone = on_client_gone,
};

const struct conn_ops session_server_ops = {
    .data = on_server_data,
    .secured = on_server_secured,
    .drained = on_server_drained,
    .eof = on_server_eof,
    .failed = on_server_failed,
    .gone = on_server_gone,
};

void session_snapshot_changed(struct session *s)
{
	if (s->wait == WAIT_HOLD)
		client_go_on(s, WAIT_HOLD);
}

void session_unpaused(struct session *s)
{
	if (s->wait == WAIT_PAUSE)
		client_go_on(s, WAIT_PAUSE);
}

void session_drain(struct session *s)
{
	s->draining = true;
	if (s->state < SESSION_READY || session_is_idle(s))
		session_fatal(s, "57P01",
			      "pgtandem: terminating connection because "
			      "pgtandem is shutting down",
			      NULL, NULL);
}

void session_kill(struct session *s)
{
	session_drain(s);
	session_close(s);
	if (s->server != NULL)
		conn_close(s->server);
	if (s->client != NULL)
		conn_close(s->client);
}

void session_tick(struct session *s, uint64_t now)
{
	if (s->deadline == 0 || now < s->deadline)
		return;
	worker_set_deadline(s->worker, s, 0);
	if (s->state == SESSION_CLOSING) {
		if (s->server != NULL)
			conn_close(s->server);
		if (s->client != NULL)
			conn_close(s->client);
	} else if (s->wait == WAIT_HOLD) {
		s->hold_expired = true;
		client_go_on(s, WAIT_HOLD);
	} else if (s->login != NULL) {
		counter_add(&s->worker->count.refused_logins, 1);
		session_fatal(s, "08006",
			      s->state == SESSION_CONNECT
				  ? "pgtandem: the server cannot be reached "
				    "in time"
				  : "pgtandem: the login took too long",
			      NULL, NULL);
	}
}

struct session *session_next(struct session *s)
{
	return TAILQ_NEXT(s, link);
}

struct session *session_next_timed(struct session *s)
{
	return TAILQ_NEXT(s, timed_link);
}

void session_move_deadline(struct session *s, struct session_list *timed,
			   uint64_t at)
{
	if (s->deadline != 0 && at == 0)
		TAILQ_REMOVE(timed, s, timed_link);
	if (s->deadline == 0 && at != 0)
		TAILQ_INSERT_TAIL(timed, s, timed_link);
	s->deadline = at;
}

void session_unlink(struct session *s)
{
	TAILQ_REMOVE(&s->worker->sessions, s, link);
}

static void copy_text(char *ret, size_t size, const char *s)
{
	snprintf(ret, size, "%s", s == NULL ? "" : s);
}

void session_info(const struct session *s, struct client_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->worker = s->worker->number;
	ret->id = s->id;
	copy_text(ret->user, sizeof(ret->user), s->user);
	copy_text(ret->database, sizeof(ret->database), s->database);
	copy_text(ret->application, sizeof(ret->application), s->application);
	copy_text(ret->address, sizeof(ret->address), s->address);
	copy_text(ret->state, sizeof(ret->state), state_names[s->state]);
	if (session_is_idle(s))
		copy_text(ret->state, sizeof(ret->state), "idle");
	if (s->wait == WAIT_HOLD || s->wait == WAIT_PAUSE)
		copy_text(ret->state, sizeof(ret->state), "held");
	ret->tx = s->tx;
	ret->backend_pid = s->backend_pid;
	ret->client_tls = s->client_tls;
	ret->server_tls = s->server_tls;
	ret->serial = s->pin == NULL ? 0 : s->pin->snapshot->serial;
	ret->connected_ms = s->connected_ms;
	ret->statements = s->statements_seen;
}

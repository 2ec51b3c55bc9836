/*
 * From a client's first byte to the server's first ReadyForQuery: TLS on both
 * legs, the start-up packet, authentication, cancel requests.
 *
 * pgtandem knows no password: authentication is relayed as it is.  The one
 * thing taken out is SCRAM-SHA-256-PLUS, since it binds to a TLS connection
 * and ours are two.
 */
#include "daemon/net/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/net/dial.h"

enum {
	AUTH_MESSAGE_MAX = 64 * 1024, /* PostgreSQL's own bound on tokens */
	ERROR_MESSAGE_MAX = 1024 * 1024,
	TLS_HANDSHAKE_RECORD = 0x16,
	STARTUP_MAX = 10000,
};

void login_begin(struct session *s)
{
	s->login = calloc(1, sizeof(*s->login));
	if (s->login == NULL)
		abort();
	buf_init(&s->login->packet, STARTUP_MAX);
	session_enter(s, SESSION_START);
}

void login_free(struct session *s)
{
	if (s->login == NULL)
		return;
	buf_free(&s->login->packet);
	free(s->login);
	s->login = NULL;
}

static void login_refuse(struct session *s, const char *sqlstate,
			 const char *message, const char *detail,
			 const char *hint)
{
	counter_add(&s->worker->count.refused_logins, 1);
	session_fatal(s, sqlstate, message, detail, hint);
}

static SSL_CTX *login_client_context(const struct session *s)
{
	const struct tls_setup *t = s->worker->tls;

	return s->listen_index < t->n_listen ? t->listen[s->listen_index]
					     : NULL;
}

static bool login_tls_required(const struct session *s)
{
	const struct settings *set = session_settings(s);

	return s->listen_index < set->n_listen &&
	       set->listen[s->listen_index].tls.mode == CLIENT_TLS_REQUIRE;
}

static void login_answer_byte(struct session *s, char answer)
{
	struct gather *g = &s->worker->to_client;

	buf_put_u8(gather_made(g), (uint8_t)answer);
	gather_made_done(g);
	gather_flush(g);
	gather_to(g, s->client);
}

static void login_start_tls(struct session *s, const uint8_t *first, size_t len)
{
	struct tls *t = tls_accept(login_client_context(s), len > 0);

	session_enter(s, SESSION_CLIENT_TLS);
	conn_secure(s->client, t, first, len);
}

void login_client_secured(struct session *s)
{
	s->client_tls = true;
	session_enter(s, SESSION_START);
}

static void login_ssl_request(struct session *s, size_t behind)
{
	if (s->login->asked_tls || s->client_tls) {
		login_refuse(s, "08P01", "pgtandem: a second SSLRequest", NULL,
			     NULL);
		return;
	}
	s->login->asked_tls = true;
	if (login_client_context(s) == NULL) {
		login_answer_byte(s, 'N');
		return;
	}
	/* A man in the middle may have put them there (CVE-2021-23222). */
	if (behind > 0) {
		login_refuse(s, "08P01",
			     "pgtandem: received unencrypted data after "
			     "SSLRequest",
			     NULL, NULL);
		return;
	}
	login_answer_byte(s, 'S');
	login_start_tls(s, NULL, 0);
}

static void login_gss_request(struct session *s)
{
	if (s->login->asked_gss) {
		login_refuse(s, "08P01", "pgtandem: a second GSSENCRequest",
			     NULL, NULL);
		return;
	}
	s->login->asked_gss = true;
	login_answer_byte(s, 'N');
}

static char *login_copy(struct mstr m)
{
	return strndup(m.s == NULL ? "" : m.s, m.len);
}

/* walsender's own words for a boolean, and "database". */
static bool replication_asked(struct mstr value)
{
	static const char *const off[] = {"", "off", "false", "no", "0"};

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		if (value.s == NULL || strcasecmp(value.s, off[i]) == 0)
			return false;
	return true;
}

static void on_dialled(void *owner, struct conn *c, const char *why);

static void login_connect(struct session *s)
{
	const struct settings *set = session_settings(s);
	uint64_t now = uv_now(&s->worker->loop);
	uint64_t ms = set->server.connect_timeout_ms;

	if (s->login->until == 0)
		s->login->until = s->deadline;
	if (s->login->until > now + ms)
		session_deadline_in(s, ms);
	s->dial = dial_start(s->worker, set, on_dialled, s);
	session_enter(s, SESSION_CONNECT);
}

static void login_startup(struct session *s, const struct frame *f,
			  const struct msg_startup *m)
{
	if (m->code == STARTUP_CANCEL) {
		s->cancel = true;
	} else if (login_tls_required(s) && !s->client_tls) {
		login_refuse(s, "28000", "pgtandem: TLS is required here",
			     "The listener's tls mode is `require`.",
			     "Connect with sslmode=require.");
		return;
	} else if (m->user.len == 0) {
		login_refuse(s, "28000",
			     "pgtandem: the start-up packet names no user",
			     NULL, NULL);
		return;
	}
	s->user = login_copy(m->user);
	s->database = login_copy(m->database.len > 0 ? m->database : m->user);
	s->application = login_copy(m->application_name);
	s->replication = replication_asked(m->replication);
	/* The length field is in front of the body in the read buffer. */
	buf_put(&s->login->packet, f->body - 4, f->size);
	s->login->want_tls =
	    session_settings(s)->server.tls_mode >= SERVER_TLS_PREFER;
	login_connect(s);
}

static void login_packet(struct session *s, const struct frame *f,
			 size_t behind)
{
	struct msg_startup m;

	if (!msg_startup_decode(f, &m)) {
		login_refuse(s, "08P01", "pgtandem: invalid start-up packet",
			     NULL, NULL);
		return;
	}
	switch (m.code) {
	case STARTUP_SSL:
		login_ssl_request(s, behind);
		break;
	case STARTUP_GSSENC:
		login_gss_request(s);
		break;
	default:
		login_startup(s, f, &m);
		break;
	}
}

static size_t login_first_data(struct session *s, uint8_t *bytes, size_t len)
{
	struct frame f;

	if (bytes[0] == TLS_HANDSHAKE_RECORD && !s->login->asked_tls &&
	    !s->client_tls && login_client_context(s) != NULL) {
		login_start_tls(s, bytes, len);
		return len;
	}
	switch (frame_next_startup(bytes, len, &f)) {
	case FRAME_MORE:
		return 0;
	case FRAME_BAD:
		login_refuse(s, "08P01",
			     "pgtandem: this is no PostgreSQL start-up packet",
			     NULL, NULL);
		return len;
	case FRAME_OK:
		break;
	}
	login_packet(s, &f, len - f.size);
	return f.size;
}

/* libpq says 'y' where it could have bound to TLS but was not offered to: the
 * server would take the missing offer for an attack, with less to say. */
static bool login_check_sasl(struct session *s, const struct frame *f)
{
	const char *mechanism = (const char *)f->body;
	size_t len = strnlen(mechanism, f->body_len);
	const uint8_t *data = f->body + len + 1 + 4;

	s->login->sasl_seen = true;
	if (!s->login->plus_removed || len + 6 > f->body_len ||
	    strcmp(mechanism, "SCRAM-SHA-256") != 0 || data[0] != 'y')
		return true;
	login_refuse(s, "28000",
		     "pgtandem: SCRAM channel binding cannot span two TLS "
		     "connections",
		     "Client and server both use TLS, the client wants channel "
		     "binding, and pgtandem stands between them.",
		     "Connect with channel_binding=disable, or use TLS on one "
		     "side of pgtandem only.");
	return false;
}

/* Answers to authentication requests go through; anything else waits until
 * the server is ready. */
static size_t login_auth_client(struct session *s, uint8_t *bytes, size_t len)
{
	size_t used = 0;
	struct frame f;
	enum frame_result r = FRAME_OK;

	while (used < len && s->state == SESSION_AUTH) {
		if (bytes[used] != 'p') {
			conn_pause(s->client);
			return used;
		}
		r = frame_next(bytes + used, len - used, AUTH_MESSAGE_MAX, &f);
		if (r != FRAME_OK)
			break;
		if (!s->login->sasl_seen && !login_check_sasl(s, &f))
			return used;
		gather_ref(&s->worker->to_server, bytes + used, f.size);
		used += f.size;
	}
	if (r == FRAME_BAD)
		login_refuse(s, "08P01",
			     "pgtandem: invalid message during the login", NULL,
			     NULL);
	return used;
}

size_t login_client_data(struct session *s, uint8_t *bytes, size_t len)
{
	size_t used = 0;

	while (s->state == SESSION_START && used < len) {
		size_t n = login_first_data(s, bytes + used, len - used);

		if (n == 0)
			return used;
		used += n;
	}
	if (s->state == SESSION_AUTH)
		return used + login_auth_client(s, bytes + used, len - used);
	if (s->state != SESSION_START && s->state != SESSION_CLIENT_TLS &&
	    s->state != SESSION_CLOSING)
		conn_pause(s->client);
	return used;
}

/* The start-up packet, at last: from here on the server answers the client. */
static void login_talk(struct session *s)
{
	struct buf *packet = &s->login->packet;
	uv_buf_t b = uv_buf_init((char *)(uintptr_t)buf_bytes(packet),
				 (unsigned)buf_len(packet));

	conn_write(s->server, &b, 1);
	session_enter(s, s->cancel ? SESSION_CANCEL : SESSION_AUTH);
	if (s->state == SESSION_AUTH)
		conn_resume(s->client);
}

static void on_dialled(void *owner, struct conn *c, const char *why)
{
	struct session *s = owner;
	char detail[256];
	static const uint8_t ask[] = {0, 0, 0, 8, 4, 210, 22, 47};
	uv_buf_t b = uv_buf_init((char *)(uintptr_t)ask, sizeof(ask));
	const struct settings *set = session_settings(s);

	s->dial = NULL;
	worker_set_deadline(s->worker, s, s->login->until);
	if (c == NULL) {
		snprintf(detail, sizeof(detail), "%s port %u: %s",
			 set->server.host, set->server.port, why);
		login_refuse(s, "08006",
			     "pgtandem: the server cannot be reached", detail,
			     NULL);
		return;
	}
	c->ops = &session_server_ops;
	c->owner = s;
	s->server = c;
	/* As libpq: no TLS over a Unix socket. */
	if (s->login->want_tls && !c->is_pipe) {
		session_enter(s, SESSION_SERVER_ASK);
		conn_write(c, &b, 1);
	} else {
		login_talk(s);
	}
	conn_resume(c);
}

static size_t login_server_answer(struct session *s, const uint8_t *bytes,
				  size_t len)
{
	const struct settings *set = session_settings(s);

	if (bytes[0] == 'S' && len == 1) {
		session_enter(s, SESSION_SERVER_TLS);
		conn_secure(s->server,
			    tls_connect(s->worker->tls, set->server.host), NULL,
			    0);
		return len;
	}
	if (bytes[0] == 'N' && len == 1 &&
	    set->server.tls_mode == SERVER_TLS_PREFER) {
		s->login->second_try = true;
		login_talk(s);
		return len;
	}
	if (len > 1 && bytes[0] == 'S')
		login_refuse(s, "08P01",
			     "pgtandem: received unencrypted data after the "
			     "server's SSL response",
			     NULL, NULL);
	else if (bytes[0] == 'N')
		login_refuse(
		    s, "08006", "pgtandem: the server does not support TLS",
		    "The setting `server.tls.mode` requires it.", NULL);
	else
		login_refuse(s, "08P01",
			     "pgtandem: the server gave no valid answer to "
			     "SSLRequest",
			     NULL, NULL);
	return len;
}

void login_server_secured(struct session *s)
{
	s->server_tls = true;
	login_talk(s);
}

/* A connection that is no longer the session's: it only has to go. */
static void stray_gone(void *owner)
{
	(void)owner;
}

static const struct conn_ops stray_ops = {.gone = stray_gone};

/* libpq's `prefer` and `allow`: once more, the other way about TLS, as long as
 * nothing of the server's has reached the client. */
static bool login_retry(struct session *s)
{
	enum server_tls mode = session_settings(s)->server.tls_mode;

	if (s->login->second_try || s->login->answered || s->cancel ||
	    s->server == NULL || s->server->is_pipe ||
	    (mode != SERVER_TLS_PREFER && mode != SERVER_TLS_ALLOW))
		return false;
	s->login->second_try = true;
	s->login->want_tls = mode == SERVER_TLS_ALLOW;
	s->server->ops = &stray_ops;
	conn_close(s->server);
	s->server = NULL;
	s->server_tls = false;
	conn_pause(s->client);
	gather_flush(&s->worker->to_server);
	login_connect(s);
	return true;
}

bool login_server_lost(struct session *s, const char *why)
{
	char detail[320];
	bool tls = s->state == SESSION_SERVER_TLS;

	if (login_retry(s))
		return true;
	if (s->told_fatal || s->cancel)
		return false;
	snprintf(detail, sizeof(detail), "%s%s", tls ? "TLS handshake: " : "",
		 why);
	login_refuse(s, "08006",
		     tls ? "pgtandem: no TLS connection to the server"
			 : "pgtandem: the server closed the connection during "
			   "the login",
		     detail, NULL);
	return true;
}

/* Writes the offer again without the mechanism that cannot work; true if it
 * was there. */
static bool login_put_offer(struct buf *b, const struct frame *f)
{
	static const char plus[] = "SCRAM-SHA-256-PLUS";
	const char *at = (const char *)f->body + 4;
	const char *end = (const char *)f->body + f->body_len;
	size_t mark = buf_message_begin(b, 'R');
	bool found = false;

	buf_put_u32(b, AUTH_SASL);
	while (at < end) {
		size_t len = strnlen(at, (size_t)(end - at));

		if (len + 1 == sizeof(plus) && memcmp(at, plus, len) == 0)
			found = true;
		else
			buf_put(b, at, len + ((size_t)(end - at) > len));
		at += len + 1;
	}
	buf_message_end(b, mark);
	return found;
}

static uint32_t load_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static bool login_auth_request(struct session *s, const struct frame *f)
{
	struct gather *g = &s->worker->to_client;

	if (f->body_len < 4)
		return false;
	if (load_u32(f->body) != AUTH_SASL || !s->server_tls) {
		gather_ref(g, f->body - 5, f->size);
		return true;
	}
	s->login->plus_removed = login_put_offer(gather_made(g), f);
	gather_made_done(g);
	return true;
}

static void login_parameter(struct session *s, const struct frame *f)
{
	struct mstr name, value;

	if (!msg_parameter_decode(f, &name, &value))
		return;
	plan_note_parameter(s, name.s, value.s);
	if (strcmp(name.s, "application_name") != 0)
		return;
	free(s->application);
	s->application = login_copy(value);
}

static void login_done(struct session *s, char tx)
{
	s->tx = tx;
	login_free(s);
	session_deadline_in(s, 0);
	session_enter(s, s->replication ? SESSION_PIPE : SESSION_READY);
	if (s->worker->draining)
		session_drain(s);
	else
		conn_resume(s->client);
}

/* One whole message of the server's; false: it cannot be. */
static bool login_server_message(struct session *s, const struct frame *f)
{
	struct gather *g = &s->worker->to_client;
	struct msg_error e;

	switch (f->type) {
	case 'R':
		s->login->answered = true;
		return login_auth_request(s, f);
	case 'E':
		if (!msg_error_decode(f, &e) || e.sqlstate.s == NULL)
			return false;
		/* "no pg_hba.conf entry ... no encryption" and its like. */
		if (strcmp(e.sqlstate.s, "28000") == 0 && login_retry(s))
			return true;
		s->told_fatal = true;
		break;
	case 'K':
		if (f->body_len < 8)
			return false;
		s->backend_pid = load_u32(f->body);
		break;
	case 'S':
		login_parameter(s, f);
		break;
	case 'Z':
		if (f->body_len != 1)
			return false;
		break;
	case 'N':
	case 'v':
		break;
	default:
		return false;
	}
	s->login->answered = true;
	gather_ref(g, f->body - 5, f->size);
	if (f->type == 'Z')
		login_done(s, (char)f->body[0]);
	return true;
}

static size_t login_auth_server(struct session *s, uint8_t *bytes, size_t len)
{
	size_t used = 0;
	struct frame f;

	while (used < len && s->state == SESSION_AUTH) {
		enum frame_result r =
		    frame_next(bytes + used, len - used, ERROR_MESSAGE_MAX, &f);

		if (r == FRAME_MORE)
			return used;
		if (r == FRAME_BAD || !login_server_message(s, &f)) {
			login_refuse(s, "08P01",
				     "pgtandem: the server sent an invalid "
				     "message during the login",
				     NULL, NULL);
			return len;
		}
		used += f.size;
	}
	/* A second try has a new connection: the rest belongs to nobody. */
	if (s->state == SESSION_CONNECT)
		return len;
	if (s->state == SESSION_READY || s->state == SESSION_PIPE)
		used += server_data(s, bytes + used, len - used);
	return used;
}

size_t login_server_data(struct session *s, uint8_t *bytes, size_t len)
{
	if (s->state == SESSION_SERVER_ASK)
		return login_server_answer(s, bytes, len);
	if (s->state == SESSION_AUTH)
		return login_auth_server(s, bytes, len);
	return len; /* a CancelRequest has no answer */
}

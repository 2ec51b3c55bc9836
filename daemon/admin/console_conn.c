/*
 * A console connection's life:
 *
 *   STARTUP -----> SASL_FIRST --> SASL_FINAL --> READY <--> BUSY
 *      |   (peer)                                  ^
 *      +-------------------------------------------+
 *   any -> ENDING -> CLOSED      any -> CLOSED
 *
 *   STARTUP     reply_startup; the login timer runs up to READY
 *   SASL_FIRST  reply_sasl_first     SASL_FINAL  reply_sasl_final
 *   READY       console_query_message; no task
 *   BUSY        a task runs; what the client sends meanwhile waits in `in`,
 *               reading stops while that is much
 *   ENDING      `out` is sent, nothing is read any more; the timer bounds it
 *   CLOSED      handles close; a task that still runs keeps the connection
 *               (and `wake`) until it has ended, as a server process would
 */
#include "daemon/admin/console_conn.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/message.h"

enum {
	LOGIN_MAX_BODY = 4096,
	QUERY_MAX_BODY = COMMAND_MAX_SQL + 4096,
	READ_CHUNK = 16 << 10,
	READ_AHEAD = 64 << 10, /* while a command runs */
	IN_LIMIT = QUERY_MAX_BODY + READ_AHEAD + READ_CHUNK,
	OUT_LIMIT = 128 << 20,
	ENDING_MS = 2000,
};

static void free_if_gone(struct console_conn *c)
{
	if (c->open_handles > 0)
		return;
	assert(!c->task);
	console_conn_gone(c);
	console_query_free(c);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->sending);
	free(c);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct console_conn *c = h->data;

	c->open_handles--;
	free_if_gone(c);
}

static void close_handle(uv_handle_t *h)
{
	if (!uv_is_closing(h))
		uv_close(h, on_handle_closed);
}

void console_conn_close(struct console_conn *c)
{
	console_conn_enter(c, CONSOLE_CLOSED);
	close_handle(&c->socket.handle);
	close_handle((uv_handle_t *)&c->login);
	if (!c->task)
		close_handle((uv_handle_t *)&c->wake);
}

/* -- sending -- */

static void send_more(struct console_conn *c);

static void on_sent(uv_write_t *req, int status)
{
	struct console_conn *c = req->data;

	c->writing = false;
	buf_clear(&c->sending);
	if (status < 0)
		console_conn_close(c);
	else
		send_more(c);
}

static void send_more(struct console_conn *c)
{
	struct buf empty = c->sending;
	uv_buf_t bytes;

	if (c->state == CONSOLE_CLOSED || c->writing)
		return;
	if (c->out.failed) {
		log_warn("console: %s does not read its results", c->address);
		console_conn_close(c);
		return;
	}
	if (buf_len(&c->out) == 0) {
		if (c->state == CONSOLE_ENDING)
			console_conn_close(c);
		return;
	}
	c->sending = c->out;
	c->out = empty;
	bytes = uv_buf_init((char *)buf_bytes(&c->sending),
			    (unsigned)buf_len(&c->sending));
	c->writing = true;
	if (uv_write(&c->write, &c->socket.stream, &bytes, 1, on_sent) != 0) {
		c->writing = false;
		console_conn_close(c);
	}
}

void console_conn_fatal(struct console_conn *c, const char *sqlstate,
			const char *message, const char *hint)
{
	struct msg_fault fault = {.severity = "FATAL",
				  .sqlstate = sqlstate,
				  .message = message,
				  .hint = hint};

	if (c->state == CONSOLE_ENDING || c->state == CONSOLE_CLOSED)
		return;
	msg_put_error(&c->out, 'E', &fault);
	console_conn_enter(c, CONSOLE_ENDING);
	send_more(c);
}

/* -- login -- */

static void put_parameters(struct console_conn *c)
{
	/* The major version is that of the protocol's features: psql and
	 * drivers choose what they dare to use by it. */
	static const char *const parameters[][2] = {
	    {"server_version", "15.0 (pgtandem " PGTANDEM_VERSION ")"},
	    {"server_encoding", "UTF8"},
	    {"client_encoding", "UTF8"},
	    {"DateStyle", "ISO, MDY"},
	    {"IntervalStyle", "postgres"},
	    {"TimeZone", "UTC"},
	    {"integer_datetimes", "on"},
	    {"standard_conforming_strings", "on"},
	    {"is_superuser", "off"},
	};

	for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		msg_put_parameter(&c->out, parameters[i][0], parameters[i][1]);
	msg_put_parameter(&c->out, "session_authorization", c->user);
}

static void welcome(struct console_conn *c)
{
	size_t mark;

	uv_timer_stop(&c->login);
	msg_put_auth(&c->out, AUTH_OK, NULL, 0);
	put_parameters(c);
	mark = buf_message_begin(&c->out, 'K');
	buf_put_u32(&c->out, c->id);
	buf_put(&c->out, c->key, CANCEL_KEY);
	buf_message_end(&c->out, mark);
	msg_put_ready(&c->out, 'I');
	log_info("console: %s logged in from %s", c->user, c->address);
	console_conn_enter(c, CONSOLE_READY);
}

static void refuse_login(struct console_conn *c, const char *sqlstate,
			 const char *why, const char *hint)
{
	char message[256];

	log_warn("console: login of \"%s\" from %s refused: %s", c->user,
		 c->address, why);
	snprintf(message, sizeof(message), "%s for user \"%s\"", why, c->user);
	console_conn_fatal(c, sqlstate, message, hint);
}

/* The operating system knows who is at the other end. */
static void login_peer(struct console_conn *c)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	uv_os_fd_t fd;

	if (uv_fileno(&c->socket.handle, &fd) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	    (peer.uid == 0 || peer.uid == geteuid()))
		welcome(c);
	else
		refuse_login(c, "28000", "peer authentication failed",
			     "On the unix socket only root and the user that "
			     "runs pgtandem may log in.");
}

/* Unknown users are led through the same exchange as known ones, with the
 * same iteration count, so that nobody learns who exists. */
static void find_secret(struct console_conn *c, const struct settings *s,
			struct scram_secret *ret)
{
	unsigned iterations = SCRAM_MOCK_ITERATIONS;

	for (size_t i = 0; i < s->admin.n_users; i++) {
		const struct admin_user *u = &s->admin.users[i];

		if (!scram_secret_parse(u->secret, ret)) {
			log_error("console: the secret of user %s is not a "
				  "SCRAM-SHA-256 secret; set admin.users.%s",
				  u->name, u->name);
			continue;
		}
		if (strcmp(u->name, c->user) == 0)
			return;
		iterations = ret->iterations;
	}
	scram_secret_mock(c->user, c->console->seed, iterations, ret);
}

static void login_scram(struct console_conn *c)
{
	static const char mechanisms[] = SCRAM_MECHANISM "\0";
	struct settings *s = admin_settings(c->console->admin);
	char nonce[SCRAM_NONCE + 1];
	struct scram_secret secret;

	if (s->admin.n_users == 0) {
		refuse_login(c, "28000", "no admin users are configured, none",
			     "Set admin.users in the configuration, or "
			     "connect through the unix socket.");
	} else if (!scram_make_nonce(nonce)) {
		refuse_login(c, "58000", "no random numbers", NULL);
	} else {
		find_secret(c, s, &secret);
		scram_begin(&c->scram, &secret, nonce);
		msg_put_auth(&c->out, AUTH_SASL, mechanisms,
			     sizeof(mechanisms));
		console_conn_enter(c, CONSOLE_SASL_FIRST);
	}
	settings_unref(s);
}

static void bad_login_message(struct console_conn *c)
{
	console_conn_fatal(c, "08P01", "malformed SASL message", NULL);
}

static void reply_sasl_first(struct console_conn *c, const struct frame *f)
{
	static const char mechanism[] = SCRAM_MECHANISM;
	/* The name with its NUL, then the length of what follows. */
	const size_t head = sizeof(mechanism) + 4;
	char reply[SCRAM_MAX_MESSAGE];

	if (f->type != 'p' || f->body_len < head ||
	    memcmp(f->body, mechanism, sizeof(mechanism)) != 0 ||
	    scram_first(&c->scram, (const char *)f->body + head,
			f->body_len - head, reply) != SCRAM_OK) {
		bad_login_message(c);
		return;
	}
	msg_put_auth(&c->out, AUTH_SASL_CONTINUE, reply, strlen(reply));
	console_conn_enter(c, CONSOLE_SASL_FINAL);
}

static void reply_sasl_final(struct console_conn *c, const struct frame *f)
{
	char reply[SCRAM_MAX_MESSAGE];
	enum scram_result r = SCRAM_BAD;

	if (f->type == 'p')
		r = scram_final(&c->scram, (const char *)f->body, f->body_len,
				reply);
	switch (r) {
	case SCRAM_BAD:
		bad_login_message(c);
		return;
	case SCRAM_WRONG:
		refuse_login(c, "28P01", "password authentication failed",
			     NULL);
		return;
	case SCRAM_OK:
		msg_put_auth(&c->out, AUTH_SASL_FINAL, reply, strlen(reply));
		welcome(c);
		return;
	}
}

/* Told when the client wants a later minor version than 3.0. */
static void negotiate(struct console_conn *c, uint32_t code)
{
	size_t mark;

	if (code == STARTUP_V3)
		return;
	mark = buf_message_begin(&c->out, 'v');
	buf_put_u32(&c->out, STARTUP_V3);
	buf_put_u32(&c->out, 0);
	buf_message_end(&c->out, mark);
}

static void begin_session(struct console_conn *c, const struct msg_startup *m)
{
	if (m->code >> 16 != STARTUP_V3 >> 16) {
		console_conn_fatal(c, "0A000", "unsupported protocol version",
				   "pgtandem's console speaks version 3.0.");
		return;
	}
	if (m->user.len == 0 || m->user.len >= sizeof(c->user)) {
		console_conn_fatal(c, "28000",
				   "no user name in the startup "
				   "packet, or one that is too long",
				   NULL);
		return;
	}
	if (c->console->n_conns > CONSOLE_MAX_CONNS) {
		console_conn_fatal(c, "53300", "too many console connections",
				   NULL);
		return;
	}
	memcpy(c->user, m->user.s, m->user.len);
	negotiate(c, m->code);
	if (c->local)
		login_peer(c);
	else
		login_scram(c);
}

static void reply_startup(struct console_conn *c, const struct frame *f)
{
	struct msg_startup m;

	if (!msg_startup_decode(f, &m)) {
		console_conn_fatal(c, "08P01", "malformed startup packet",
				   NULL);
		return;
	}
	switch (m.code) {
	case STARTUP_SSL:
	case STARTUP_GSSENC:
		buf_put_u8(&c->out, 'N');
		return;
	case STARTUP_CANCEL:
		console_cancel(c->console, m.cancel_pid, m.cancel_key,
			       m.cancel_key_len);
		console_conn_close(c);
		return;
	default:
		begin_session(c, &m);
		return;
	}
}

/* -- receiving -- */

static enum frame_result next_frame(struct console_conn *c, struct frame *f)
{
	const uint8_t *data = buf_len(&c->in) > 0 ? buf_bytes(&c->in) : NULL;

	if (!data)
		return FRAME_MORE;
	if (c->state == CONSOLE_STARTUP)
		return frame_next_startup(data, buf_len(&c->in), f);
	return frame_next(
	    data, buf_len(&c->in),
	    c->state == CONSOLE_READY ? QUERY_MAX_BODY : LOGIN_MAX_BODY, f);
}

static void handle_frame(struct console_conn *c, const struct frame *f)
{
	switch (c->state) {
	case CONSOLE_STARTUP:
		reply_startup(c, f);
		return;
	case CONSOLE_SASL_FIRST:
		reply_sasl_first(c, f);
		return;
	case CONSOLE_SASL_FINAL:
		reply_sasl_final(c, f);
		return;
	case CONSOLE_READY:
		console_query_message(c, f);
		return;
	case CONSOLE_BUSY:
	case CONSOLE_ENDING:
	case CONSOLE_CLOSED:
		assert(!"no frame is taken in this state");
		return;
	}
}

static bool takes_frames(const struct console_conn *c)
{
	return c->state >= CONSOLE_STARTUP && c->state <= CONSOLE_READY;
}

void console_conn_step(struct console_conn *c)
{
	struct frame f;

	while (takes_frames(c)) {
		enum frame_result r = next_frame(c, &f);

		if (r == FRAME_MORE)
			break;
		if (r == FRAME_BAD) {
			console_conn_fatal(c, "08P01",
					   "invalid length of a message", NULL);
			break;
		}
		handle_frame(c, &f);
		buf_drain(&c->in, f.size);
	}
	send_more(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct console_conn *c = h->data;
	uint8_t *room = buf_reserve(&c->in, READ_CHUNK);

	*ret = uv_buf_init((char *)room, room ? READ_CHUNK : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
	struct console_conn *c = stream->data;

	if (n < 0) {
		console_conn_close(c);
		return;
	}
	buf_added(&c->in, (size_t)n);
	if (c->state == CONSOLE_ENDING)
		buf_clear(&c->in);
	else if (c->state == CONSOLE_BUSY && buf_len(&c->in) > READ_AHEAD)
		uv_read_stop(stream);
	else
		console_conn_step(c);
}

void console_conn_enter(struct console_conn *c, enum console_state to)
{
	if (c->state == CONSOLE_CLOSED)
		return;
	if (c->state == CONSOLE_BUSY && to == CONSOLE_READY)
		uv_read_start(&c->socket.stream, on_alloc, on_read);
	c->state = to;
	if (to == CONSOLE_ENDING)
		uv_timer_start(&c->login, c->login.timer_cb, ENDING_MS, 0);
}

/* -- opening -- */

static void on_timeout(uv_timer_t *h)
{
	struct console_conn *c = h->data;

	if (c->state == CONSOLE_ENDING)
		console_conn_close(c);
	else
		console_conn_fatal(c, "57014",
				   "canceling authentication due to timeout",
				   NULL);
}

static void on_wake(uv_async_t *h)
{
	struct console_conn *c = h->data;

	console_query_woken(c);
	if (c->state != CONSOLE_CLOSED)
		console_conn_step(c);
	else if (!c->task)
		close_handle((uv_handle_t *)h);
}

static bool open_socket(struct console_conn *c, int fd)
{
	uv_loop_t *loop = c->console->loop;

	if (c->local) {
		uv_pipe_init(loop, &c->socket.pipe, 0);
		return uv_pipe_open(&c->socket.pipe, fd) == 0;
	}
	uv_tcp_init(loop, &c->socket.tcp);
	if (uv_tcp_open(&c->socket.tcp, fd) != 0)
		return false;
	/* A client that vanished without a word must not keep a place. */
	uv_tcp_keepalive(&c->socket.tcp, 1, 60);
	return true;
}

static void open_handles(struct console_conn *c, uint64_t login_timeout_ms)
{
	uv_loop_t *loop = c->console->loop;

	uv_timer_init(loop, &c->login);
	uv_async_init(loop, &c->wake, on_wake);
	c->socket.handle.data = c;
	c->login.data = c;
	c->wake.data = c;
	c->write.data = c;
	c->open_handles = 3;
	uv_timer_start(&c->login, on_timeout, login_timeout_ms, 0);
}

void console_conn_open(struct console *console, int fd, bool local,
		       const char *address)
{
	struct settings *s = admin_settings(console->admin);
	struct console_conn *c = calloc(1, sizeof(*c));
	bool ok;

	if (!c)
		abort();
	c->console = console;
	c->local = local;
	c->state = CONSOLE_STARTUP;
	c->id = ++console->last_id;
	snprintf(c->address, sizeof(c->address), "%s", address);
	buf_init(&c->in, IN_LIMIT);
	buf_init(&c->out, OUT_LIMIT);
	buf_init(&c->sending, OUT_LIMIT);
	arena_init(&c->batch);
	c->next = console->conns;
	console->conns = c;
	console->n_conns++;
	ok = open_socket(c, fd);
	open_handles(c, s->login_timeout_ms);
	settings_unref(s);
	if (!ok)
		close(fd);
	if (!ok || RAND_bytes(c->key, sizeof(c->key)) != 1 ||
	    uv_read_start(&c->socket.stream, on_alloc, on_read) != 0)
		console_conn_close(c);
}

/*
 * One client and its one server connection.
 *
 * Owns both connections (until their close callbacks), what the server still
 * owes, the prepared statements, and the pin of a snapshot while a
 * transaction runs.  The struct is shared by the session*.c files and looked
 * into by nobody else.
 *
 *   session.c		states, closing, deadlines, what the worker asks
 *   session_login.c	from the first byte to the first ReadyForQuery
 *   session_client.c	messages from the client
 *   session_extended.c	the extended query protocol from the client
 *   session_server.c	messages from the server
 *   session_again.c	statements that are sent again, unseen
 *   session_plan.c	what becomes of a text: plans, probes, holds
 *   session_prepared.c	PREPARE, EXECUTE and DEALLOCATE in SQL
 */
#ifndef DAEMON_NET_SESSION_H
#define DAEMON_NET_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "config/problem.h"
#include "daemon/net/conn.h"
#include "daemon/net/replies.h"
#include "daemon/net/server.h"
#include "daemon/net/statements.h"
#include "daemon/net/worker.h"
#include "proto/frame.h"
#include "proto/message.h"

struct dial;
struct listener;

/* X(constant, name shown to people) */
#define SESSION_STATES(X) \
	X(SESSION_START, "start") \
	X(SESSION_CLIENT_TLS, "client_tls") \
	X(SESSION_CONNECT, "connect") \
	X(SESSION_SERVER_ASK, "server_ask") \
	X(SESSION_SERVER_TLS, "server_tls") \
	X(SESSION_AUTH, "login") \
	X(SESSION_CANCEL, "cancel") \
	X(SESSION_READY, "active") \
	X(SESSION_PIPE, "replication") \
	X(SESSION_CLOSING, "closing")

enum session_state {
	SESSION_NONE, /* before the first session_enter */
#define X(id, name) id,
	SESSION_STATES(X)
#undef X
};

/* Why the client's next message is not looked at yet (SESSION_READY). */
enum session_wait {
	WAIT_NOTHING,
	WAIT_PROBE,    /* for the answer to an injected question */
	WAIT_HOLD,     /* for DDL on a migration to end */
	WAIT_PAUSE,    /* for the console's RESUME */
	WAIT_REPLIES,  /* too many answers are owed */
	WAIT_AGAIN,    /* for its statement to be sent again */
	WAIT_PREPARED, /* for the answer to a PREPARE */
};

/* The rest of a message that is longer than what was read of it. */
enum stream_mode {
	STREAM_FORWARD = 1,
	STREAM_DROP,
	STREAM_SCAN,  /* forward while it names nothing */
	STREAM_BLANK, /* forward zeros: the server will refuse it */
};

enum { SCAN_OVERLAP = 256 }; /* above any spelling of a name */

struct stream {
	uint32_t remaining; /* bytes; 0: between messages */
	enum stream_mode mode;
};

/* What only matters until the first ReadyForQuery; freed then. */
struct login {
	struct buf packet; /* the client's start-up packet */
	bool asked_tls, asked_gss;
	bool plus_removed; /* SCRAM-SHA-256-PLUS was offered by the server */
	bool sasl_seen;	   /* the client has answered an offer */
	bool answered;	   /* the server has sent something */
	bool second_try;   /* server tls mode allow, prefer */
	bool want_tls;	   /* of this try */
	uint64_t until;	   /* the login's deadline while connecting */
};

struct portal {
	char *name;		   /* owned */
	struct planned *planned;   /* owned reference, or NULL */
	struct prepared *prepared; /* owned reference, or NULL */
	struct buf *bind;	   /* owned: the Bind as sent, or NULL */
	struct portal *next;
};

struct session {
	struct worker *worker; /* borrowed */
	uint64_t id;
	enum session_state state;
	enum session_wait wait;
	struct conn *client, *server; /* owned until gone */
	struct dial *dial;	      /* owned while connecting */
	struct login *login;	      /* owned; NULL after it */
	size_t listen_index;
	TAILQ_ENTRY(session) link, timed_link;
	uint64_t deadline; /* ms of the loop; 0: none */

	char *user, *database, *application, *address; /* owned or NULL */
	uint32_t backend_pid;
	uint64_t connected_ms;
	uint64_t statements_seen;

	char tx; /* of the last ReadyForQuery */
	bool client_tls, server_tls;
	bool cancel; /* a CancelRequest, nothing else */
	bool replication;
	bool client_eof;
	bool terminated; /* the client said Terminate */
	bool told_fatal; /* the client has had a last word */
	bool draining;
	struct stream from_client, from_server;
	struct replies replies;
	struct statements statements;
	struct portal *portals; /* owned: only those to know of */
	unsigned executed;	/* Executes since the last Sync */

	/* session_prepared.c */
	unsigned prepares_owed; /* replies that a PREPARE hangs on */
	bool again_syncs;	/* the one that is being prepared again */
	bool made_by_sql;	/* there are some of what is migrated */
	bool unknown_prepared;	/* there are some whose text is not known, */
	uint64_t unknown_hash;	/* free of the names of this probe */

	struct pin *pin;		    /* owned while a transaction runs */
	const struct snapshot_database *db; /* of pin; NULL: no migration */

	/* session_plan.c */
	uint64_t new_shape; /* migrations whose new shape it uses */
	/* What names mean here, and a number that changes with it. */
	struct session_names *names; /* owned; or NULL */
	unsigned names_serial;
	uint64_t names_hash; /* of the probe that said so */
	bool names_known;
	bool names_change; /* the transaction may change them */
	unsigned lexing;   /* settings that change how a text is
			    * read: of enum request_flag */
	bool hold_expired;
	struct problem *probe_failed; /* owned: why, to be told */
	unsigned read_share;	      /* 0..99, against read_percent */
	uint64_t usage_told_ms;	      /* when apps were last written */
	unsigned usage_untold;	      /* statements since */
	uint8_t *scan_tail;	      /* owned: SCAN_OVERLAP bytes, or NULL */
	size_t scan_tail_len;
};

/* Life (for listener.c). */
void session_accept(struct worker *w, struct listener *l, int fd);

/* What a worker asks of its sessions. */
void session_snapshot_changed(struct session *s);
void session_unpaused(struct session *s);
void session_drain(struct session *s);
void session_kill(struct session *s);
void session_tick(struct session *s, uint64_t now);
struct session *session_next(struct session *s);
struct session *session_next_timed(struct session *s);
void session_move_deadline(struct session *s, struct session_list *timed,
			   uint64_t at);
void session_unlink(struct session *s);
void session_info(const struct session *s, struct client_info *ret);

/* session.c */
extern const struct conn_ops session_client_ops, session_server_ops;
void session_enter(struct session *s, enum session_state to);
void session_check(const struct session *s);
const struct settings *session_settings(const struct session *s);
void session_deadline_in(struct session *s, uint64_t ms); /* 0: none */
/* Both sides close; what is queued for the client is still written. */
void session_close(struct session *s);
/* Tells the client why, as FATAL, then session_close. */
void session_fatal(struct session *s, const char *sqlstate, const char *message,
		   const char *detail, const char *hint);
void session_begin(struct session *s); /* before handling events: gathers */
void session_flush(struct session *s); /* after it: writes, back-pressure */
bool session_is_idle(const struct session *s);
void session_pin(struct session *s);
void session_unpin_if_idle(struct session *s);

/* session_login.c */
void login_begin(struct session *s);
size_t login_client_data(struct session *s, uint8_t *bytes, size_t len);
size_t login_server_data(struct session *s, uint8_t *bytes, size_t len);
void login_client_secured(struct session *s);
void login_server_secured(struct session *s);
bool login_server_lost(struct session *s, const char *why); /* tries again? */
void login_free(struct session *s);

/* session_client.c */
size_t client_data(struct session *s, uint8_t *bytes, size_t len);
/* The client's held bytes may be looked at again. */
void client_go_on(struct session *s, enum session_wait from);
void client_wait(struct session *s, enum session_wait why);

/* session_server.c */
size_t server_data(struct session *s, uint8_t *bytes, size_t len);
void reply_left(void *arg, struct reply *r, bool done, bool failed);
/* What the plan says about the statement of a Query being answered. */
void query_statement(struct reply *r);

/* session_extended.c */
void portal_free(struct portal *p);

/* session_again.c */
/* Is a Bind of this plan worth keeping, to be sent again? */
bool again_keeps_bind(const struct session *s, const struct planned *planned);
/* The portal's Execute goes out and `r` is its reply: takes over its Bind. */
void again_keep_execute(struct session *s, struct portal *p, uint32_t max_rows,
			struct reply *r);
/* The head has failed: will it be sent again at its ReadyForQuery? */
bool again_begin(struct session *s, struct reply *head,
		 const struct msg_error *e);
/* That is here: the head goes out once more. */
void again_send(struct session *s);
void again_free_messages(struct buf *b); /* NULL is allowed */

/* session_plan.c */
enum verdict {
	VERDICT_PASS = 1, /* send the client's text */
	VERDICT_EDIT,	  /* send planned->plan->text */
	VERDICT_REFUSE,	  /* poison; ret_refusal says why */
	VERDICT_WAIT,	  /* leave the message; it comes again */
};
struct outcome {
	struct planned *planned; /* owned, or NULL; also with PASS: a
				  * plan that touches a migration */
	struct problem *refusal; /* owned, or NULL */
	bool mentions;		 /* depends on what names mean here */
};
/* What becomes of a text now; only `mentions` is set with WAIT.  `flags` are
 * of its parameters. */
enum verdict plan_text(struct session *s, const char *sql, size_t len,
		       unsigned flags, struct outcome *ret)
    __attribute__((warn_unused_result));
/* What the engine is told of a Parse's parameter types. */
unsigned plan_type_flags(uint16_t n, const uint8_t *types);
/* A ParameterStatus came. */
void plan_note_parameter(struct session *s, const char *name,
			 const char *value);
/* May a plan run now: lease, hold.  PASS, REFUSE or WAIT. */
enum verdict plan_admit(struct session *s, const struct plan *plan,
			struct problem **ret_refusal)
    __attribute__((warn_unused_result));
void plan_note_names(struct session *s, const char *sql, size_t len);
void plan_names_changed(struct session *s);
/* The same for a text with these bits (rewrite/text/filter.h). */
void plan_note_effect(struct session *s, unsigned effect);
uint64_t plan_names_hash(const struct session *s);
/* A migration whose statements are rewritten, or NULL. */
const struct rule_migration *plan_has_moved(const struct session *s);
void plan_count_use(struct session *s, const struct plan *plan, bool refused);
void plan_count_time(struct session *s, const struct plan *plan,
		     uint64_t sent_ns);
void plan_snapshot_pinned(struct session *s);
void probe_row(struct session *s, const struct frame *f);
void probe_over(struct session *s, bool done);
struct problem *problem_create(const char *sqlstate);

#endif

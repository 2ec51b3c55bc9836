/*
 * What the files that read the client's messages share: session_client.c
 * (forwarding, long texts, Query) and session_extended.c (Parse to Close).
 *
 * A handler gets a message of which `have` bytes were read, at `at`; until it
 * returns HANDLED it has sent nothing and remembered nothing, so that it may
 * be called again with the same message.
 */
#ifndef DAEMON_NET_SESSION_CLIENT_H
#define DAEMON_NET_SESSION_CLIENT_H

#include "daemon/net/session.h"

enum handled {
	HANDLED = 1,
	HANDLED_MORE, /* all of the message must be there */
	HANDLED_WAIT, /* it stays; client_go_on brings it again */
	HANDLED_BAD,
};

enum {
	CLIENT_HEADER = 5,
	CLIENT_SMALL = 64 * 1024, /* messages that are waited for whole */
};

/* Surely a syntax error: the server fails, and so does its transaction. */
extern const char client_poison[];
/* What is sent in place of a refused text. */
const char *client_poison_of(const struct planned *planned);

/* Sends the message as it came, now or as it comes. */
enum handled client_forward(struct session *s, const struct frame *f,
			    uint8_t *at, size_t have);
/* Sends it as it comes while it names nothing under migration. */
enum handled client_scan(struct session *s, const struct frame *f, uint8_t *at);
/* Is it too long to be looked into whole? */
bool client_text_is_long(const struct session *s, const struct frame *f);
/* Does the server ignore messages: a failed sequence, or COPY data due? */
bool client_is_unheard(const struct session *s);

/* The plan of a text and whether it may run now. */
enum verdict client_text_verdict(struct session *s, struct mstr sql,
				 unsigned flags, struct outcome *ret);
/* PASS instead of REFUSE where the server will refuse by itself. */
enum verdict client_refusal_unless_moot(const struct session *s,
					struct mstr sql, enum verdict v,
					struct outcome *o);
/* Counts it; the reply (or nobody, if NULL) owns the refusal from here on. */
void client_note_refused(struct session *s, struct reply *r,
			 struct problem *refusal);
void client_note_statement(struct session *s);
/* What a reply to an edited text needs; takes over `planned`. */
void client_reply_plan(struct reply *r, struct planned *planned);
/* What becomes of the replies to the (first) statement of a plan. */
const struct plan_stmt *client_plan_first(const struct planned *planned);

/* session_extended.c */
/* The statement's plan under the pinned snapshot, in st->now. */
enum verdict statement_look(struct session *s, struct statement *st,
			    struct problem **ret_refusal);
/* Has the server another text than st->now says? */
bool statement_is_stale(const struct statement *st);
enum handled client_parse(struct session *s, const struct frame *f, uint8_t *at,
			  size_t have);
enum handled client_bind(struct session *s, const struct frame *f, uint8_t *at,
			 size_t have);
enum handled client_describe(struct session *s, const struct frame *f,
			     uint8_t *at, size_t have);
enum handled client_execute(struct session *s, const struct frame *f,
			    uint8_t *at, size_t have);
enum handled client_close(struct session *s, const struct frame *f, uint8_t *at,
			  size_t have);

#endif

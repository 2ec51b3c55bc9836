/*
 * Prepared statements in SQL, as the other session*.c files see them: what a
 * text does with them, and what becomes of it when the server has answered.
 */
#ifndef DAEMON_NET_SESSION_PREPARED_H
#define DAEMON_NET_SESSION_PREPARED_H

#include "daemon/net/session.h"

/* What the statements of one text do with prepared statements; shared by
 * reference count between a portal and its replies.  NULL is allowed. */
struct prepared;
struct prepared *prepared_ref(struct prepared *p);
void prepared_unref(struct prepared *p);

/* What a text does; *ret is owned, and NULL if it does nothing of the kind.
 * WAIT: something that it runs is being prepared again. */
enum verdict prepared_look(struct session *s, const char *sql, size_t len,
			   struct prepared **ret, struct problem **ret_refusal)
    __attribute__((warn_unused_result));
/* Has the server today's text of a statement?  WAIT: soon. */
enum verdict prepared_ready(struct session *s, struct statement *st,
			    struct problem **ret_refusal)
    __attribute__((warn_unused_result));
/* The plan of what a text that is one EXECUTE runs, borrowed, or NULL. */
struct planned *prepared_runs(const struct prepared *p);

/* The reply to such a text: takes over `p`, and the reply NULL is fine. */
void prepared_expect(struct session *s, struct reply *r, struct prepared *p);
/* What it cuts from the rows of the statement that is being answered. */
void prepared_results(struct reply *r);
void prepared_completed(struct session *s, const struct reply *r,
			const char *tag);
void prepared_left(struct session *s, struct reply *r);

/* Leaves the client's message until a PREPARE has been answered. */
void prepared_wait(struct session *s);

#endif

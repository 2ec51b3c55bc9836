/*
 * Statements that are sent again, unseen.
 *
 * A write that pgtandem syncs locks rows of both models, so it may meet a
 * deadlock, or above READ COMMITTED a serialization error, that the client's
 * own statement would not have met.  Where the statement is a transaction of
 * its own and the client has seen nothing of what it did, it goes out once
 * more when the server is ready for it:
 *
 *	Query                             the same text
 *	Bind, Execute, Sync, and nothing  the same Bind, whose answer the client
 *	else before or behind that Sync   has, then Execute and Sync
 *
 * Meanwhile the client's next messages wait (WAIT_AGAIN).
 */
#include "daemon/net/session.h"

#include <stdlib.h>
#include <string.h>

#include "rewrite/cache.h"

enum {
	TRIES_MAX = 5,	       /* of one statement */
	BIND_MAX = 256 * 1024, /* parameters above it are not kept */
};

void again_free_messages(struct buf *b)
{
	if (b == NULL)
		return;
	buf_free(b);
	free(b);
}

static bool plan_writes_alone(const struct planned *planned)
{
	return planned != NULL && planned->plan->kind != PLAN_REFUSE &&
	       planned->plan->writes != 0 && planned->plan->n_stmts == 1;
}

bool again_keeps_bind(const struct session *s, const struct planned *planned)
{
	return s->executed == 0 && plan_writes_alone(planned);
}

void again_keep_execute(struct session *s, struct portal *p, uint32_t max_rows,
			struct reply *r)
{
	if (r == NULL || p->bind == NULL || s->executed != 1 ||
	    buf_len(p->bind) > BIND_MAX)
		return;
	msg_put_execute(p->bind, p->name, max_rows);
	if (p->bind->failed)
		return;
	r->messages = p->bind;
	p->bind = NULL;
}

/* A function or trigger of ours stands in the error's context, or it is a
 * deadlock of a statement that has one. */
static bool error_may_be_ours(const struct msg_error *e,
			      const struct planned *planned)
{
	bool deadlock = strcmp(e->sqlstate.s, "40P01") == 0;

	if (!deadlock && strcmp(e->sqlstate.s, "40001") != 0)
		return false;
	return (deadlock && planned->plan->kind == PLAN_EDIT) ||
	       (e->context.s != NULL &&
		strstr(e->context.s, "pgtandem.") != NULL);
}

/* Is the head all that the server still has of this client? */
static bool head_is_alone(const struct session *s, const struct reply *head)
{
	const struct replies *r = &s->replies;

	if (head->kind == REPLY_QUERY)
		return r->count == 1;
	return head->kind == REPLY_EXECUTE && head->messages != NULL &&
	       r->count == 2 && replies_tail(r)->kind == REPLY_SYNC;
}

bool again_begin(struct session *s, struct reply *head,
		 const struct msg_error *e)
{
	if (!plan_writes_alone(head->planned) || head->refusal != NULL ||
	    head->shown || head->tries >= TRIES_MAX || s->tx != 'I' ||
	    (head->kind == REPLY_QUERY && head->prepared != NULL) ||
	    s->wait != WAIT_NOTHING || !head_is_alone(s, head) ||
	    !error_may_be_ours(e, head->planned))
		return false;
	head->again = true;
	client_wait(s, WAIT_AGAIN);
	return true;
}

static void send_query(struct session *s, struct reply *head)
{
	struct buf *b = gather_made(&s->worker->to_server);
	const struct planned *planned = head->planned;

	if (planned->plan->kind == PLAN_EDIT)
		msg_put_query(b, planned->plan->text, planned->plan->len);
	else
		msg_put_query(b, planned->sql, planned->len);
	head->at = 0;
	query_statement(head);
}

static void send_execute(struct session *s, const struct reply *head)
{
	struct buf *b = gather_made(&s->worker->to_server);
	struct planned *planned = planned_ref(head->planned);

	buf_put(b, buf_bytes(head->messages), buf_len(head->messages));
	msg_put_simple(b, 'S');
	replies_push_first(&s->replies, REPLY_BIND, FATE_SWALLOW)->planned =
	    planned;
}

void again_send(struct session *s)
{
	struct reply *head = replies_head(&s->replies);

	head->again = false;
	head->tries++;
	if (head->kind == REPLY_QUERY)
		send_query(s, head);
	else
		send_execute(s, head);
	gather_made_done(&s->worker->to_server);
	client_go_on(s, WAIT_AGAIN);
}

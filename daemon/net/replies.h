/*
 * What the server still owes one session, in order.
 *
 * Owns one entry per message sent to the server that yields an answer, the
 * client's and the injected ones alike, and is the only thing that decides
 * what a server message answers and what becomes of it.  Pure: knows types of
 * messages, never their bytes, and no socket.
 *
 * Rules that it holds (PostgreSQL documentation, "Message Flow"):
 * - an error in the extended protocol drops what is owed up to the next Sync;
 *   if that has not been sent yet, what is sent before it is owed nothing;
 * - while a COPY reads from the client, Sync and Flush are ignored by the
 *   server, and any other message than CopyData ends the COPY;
 * - an error in a Query or FunctionCall leaves its ReadyForQuery owed.
 */
#ifndef DAEMON_NET_REPLIES_H
#define DAEMON_NET_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct plan_origins;
struct planned;
struct prepared;
struct problem;
struct statement;
struct statements;

enum reply_kind {
	REPLY_PARSE = 1,
	REPLY_BIND,
	REPLY_DESCRIBE_STATEMENT,
	REPLY_DESCRIBE_PORTAL,
	REPLY_EXECUTE,
	REPLY_CLOSE,
	REPLY_SYNC,
	REPLY_QUERY,
	REPLY_CALL,
	REPLY_COPY_END, /* owes nothing: a CopyDone or CopyFail */
};

enum reply_fate {
	FATE_FORWARD = 1, /* the client's: it sees the answer */
	FATE_SWALLOW,	  /* injected: the client sees errors only */
	FATE_PROBE,	  /* injected: the session reads the answer */
};

struct reply {
	uint8_t kind;	/* enum reply_kind */
	uint8_t fate;	/* enum reply_fate */
	uint8_t hidden; /* trailing columns to cut from its rows */
	bool silent;	/* show no rows, NoData on Describe */
	bool ours;	/* a statement that the client did not send */
	bool last;	/* FATE_PROBE: nothing follows of it */
	bool own_sync;	/* FATE_PROBE: ends with its own Sync */
	bool shown;	/* the client has seen something of it */
	bool again;	/* failed unseen: to be sent again at its 'Z' */
	uint8_t tries;
	uint32_t at;		 /* REPLY_QUERY: statements completed so far */
	uint64_t sent_ns;	 /* 0: not timed */
	struct planned *planned; /* owned reference, or NULL */
	const struct plan_origins *origins; /* of its rows, of a plan that
					     * it holds; or NULL */
	struct problem *refusal;   /* owned: instead of the server's error */
	struct buf *messages;	   /* owned: REPLY_EXECUTE, to send it again */
	struct prepared *prepared; /* owned reference, or NULL */
	struct statement *statement; /* owned reference, or NULL */
	struct statement *before;    /* owned: what `statement` replaced */
};

/* Called for each entry that leaves; releases what it owns.  `done` false: it
 * was dropped unanswered, or `failed` with an error of its own. */
typedef void (*reply_leave_fn)(void *arg, struct reply *r, bool done,
			       bool failed);

struct replies {
	struct reply *ring;	   /* owned */
	uint32_t head, count, cap; /* cap is a power of two */
	bool skipping;		   /* the server ignores all up to a Sync */
	bool copy_in;		   /* the server reads COPY data */
	bool open;		   /* extended messages without a Sync behind */
	uint32_t doubtful;	   /* Syncs that a failed COPY may answer yet */
	reply_leave_fn leave;	   /* borrowed with arg until replies_free */
	void *arg;
};

enum reply_step {
	STEP_FORWARD = 1, /* nobody's in particular, or part of head's */
	STEP_LAST,	  /* completes the head: call replies_done */
	STEP_ERROR,	  /* call replies_failed after showing it */
	STEP_STRAY,	  /* a Sync's answer given up for lost: forward */
	STEP_BAD,	  /* the server may not send this here */
};

enum { REPLIES_MAX = 65536 }; /* owed at once; then the client must wait */

/* Life. */
void replies_init(struct replies *r, reply_leave_fn leave, void *arg);
void replies_free(struct replies *r);
void replies_shrink(struct replies *r); /* when empty: back to small */

/* Use.  replies_push gives a zeroed entry to fill in, or NULL when the server
 * will not answer this message (then nothing is owed, forward it). */
struct reply *replies_push(struct replies *r, enum reply_kind kind,
			   enum reply_fate fate);
/* The same in front of all others: for a message that is sent now, while
 * nothing sent before it is owed an answer. */
struct reply *replies_push_first(struct replies *r, enum reply_kind kind,
				 enum reply_fate fate)
    __attribute__((returns_nonnull));
/* The server sent a message of this type: what is it to the head? */
enum reply_step replies_step(const struct replies *r, char type)
    __attribute__((warn_unused_result));
void replies_done(struct replies *r);	      /* STEP_LAST dealt with */
void replies_failed(struct replies *r);	      /* STEP_ERROR dealt with */
void replies_stray(struct replies *r);	      /* STEP_STRAY dealt with */
void replies_copy_started(struct replies *r); /* CopyInResponse came */
void replies_copy_ended(struct replies *r);   /* CopyDone, CopyFail sent */
/* The youngest entry, or NULL. */
struct reply *replies_tail(const struct replies *r);
/* Puts the statements of Parses that are still owed back into a table that was
 * cleared by an earlier command. */
void replies_keep_parsed(const struct replies *r, struct statements *t);

/* Inspect. */
static inline struct reply *replies_head(const struct replies *r)
{
	return r->count == 0 ? NULL : &r->ring[r->head & (r->cap - 1)];
}

static inline bool replies_full(const struct replies *r)
{
	return r->count >= REPLIES_MAX;
}

void replies_check(const struct replies *r); /* asserts the invariants */

#endif

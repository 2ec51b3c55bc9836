/*
 * One console connection, and the list of them.  Shared by the files of the
 * console only.
 *
 * console.c accepts and keeps the list; console_conn.c owns the socket, the
 * buffers and the login; console_query.c answers what a logged-in client
 * asks.
 */
#ifndef DAEMON_ADMIN_CONSOLE_CONN_H
#define DAEMON_ADMIN_CONSOLE_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/arena.h"
#include "daemon/admin/admin.h"
#include "daemon/admin/command.h"
#include "daemon/admin/task.h"
#include "daemon/admin/scram.h"
#include "proto/buf.h"
#include "proto/frame.h"

enum { CANCEL_KEY = 4, CONSOLE_MAX_CONNS = 64 };

enum console_state {
	CONSOLE_STARTUP = 1, /* waits for a start-up packet */
	CONSOLE_SASL_FIRST,  /* waits for SASLInitialResponse */
	CONSOLE_SASL_FINAL,  /* waits for SASLResponse */
	CONSOLE_READY,	     /* waits for the next message */
	CONSOLE_BUSY,	     /* a command runs */
	CONSOLE_ENDING,	     /* sends what is left, then closes */
	CONSOLE_CLOSED,	     /* waits for its handles and its command */
};

/* A statement or portal of the extended protocol. */
struct prepared {
	struct prepared *next; /* owned */
	struct arena arena;    /* owned: everything below */
	const char *name;
	const char *text;
	const struct command *command; /* NULL: empty text */
};

struct console_conn {
	struct console *console;   /* borrowed */
	struct console_conn *next; /* in the console's list */
	enum console_state state;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	uv_timer_t login; /* runs until the login is done */
	uv_async_t wake;  /* the task has something to say */
	unsigned open_handles;
	bool local; /* on the unix socket */
	char address[64];
	char user[64];
	uint32_t id; /* BackendKeyData's process id */
	uint8_t key[CANCEL_KEY];
	struct buf in, out, sending;
	uv_write_t write;
	bool writing;
	struct scram scram;
	/* The commands of one simple query, and how many have been run. */
	struct arena batch;
	const struct command *commands;
	size_t n_commands, done;
	/* The extended protocol. */
	bool extended;			       /* the task is an Execute's */
	bool skip_to_sync;		       /* after an error, up to Sync */
	struct prepared *statements, *portals; /* owned */
	bool in_tx;			       /* a driver said BEGIN */
	struct task *task; /* owned; BUSY, or CLOSED and not over */
};

struct console {
	struct admin *admin; /* borrowed */
	uv_loop_t *loop;     /* borrowed */
	struct http *http;   /* owned */
	struct listener {
		uv_poll_t poll;
		uv_timer_t rest; /* runs while out of descriptors */
		int fd;		 /* -1: none */
		bool local;
		char path[108];	    /* of the unix socket, or "" */
	} listeners[2];		    /* TCP, unix */
	struct arrival *arrivals;   /* owned list */
	struct console_conn *conns; /* owned list */
	unsigned n_arrivals, n_conns, n_listener_handles;
	uint32_t last_id;
	uint8_t seed[SCRAM_HASH]; /* for users who do not exist */
	bool stopping;
};

/* console.c: the cancel request's target, and a connection's end. */
void console_cancel(struct console *c, uint32_t id, const uint8_t *key,
		    size_t key_len);
void console_conn_gone(struct console_conn *c);

/* console_conn.c.  Takes over the accepted socket. */
void console_conn_open(struct console *c, int fd, bool local,
		       const char *address);
void console_conn_close(struct console_conn *c); /* idempotent */
void console_conn_enter(struct console_conn *c, enum console_state to);
/* Handles what has been received, then sends what has been written. */
void console_conn_step(struct console_conn *c);
/* FATAL, then the end of the connection. */
void console_conn_fatal(struct console_conn *c, const char *sqlstate,
			const char *message, const char *hint);

/* console_query.c. */
void console_query_message(struct console_conn *c, const struct frame *f);
void console_query_woken(struct console_conn *c); /* by the task */
void console_query_free(struct console_conn *c);

#endif

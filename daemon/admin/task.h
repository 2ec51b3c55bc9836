/*
 * One console command at work in a thread of its own.
 *
 * Owns the thread and the messages that the command has produced so far:
 * rows, notices, and at the end CommandComplete or ErrorResponse.  The
 * connection takes them over in the loop, whenever it is woken.  Must never
 * know of sockets.
 */
#ifndef DAEMON_ADMIN_TASK_H
#define DAEMON_ADMIN_TASK_H

#include <stdbool.h>

#include "daemon/admin/command.h"
#include "proto/buf.h"

struct task;

struct task_input {
	struct admin *admin;
	const struct command *command; /* borrowed until task_free */
	const char *user;	       /* borrowed until task_free */
	bool describe;		       /* send RowDescription (simple query) */
	void (*wake)(void *arg);       /* called in the thread */
	void *arg;
};

/* NULL if no thread could be had. */
struct task *task_start(const struct task_input *in);

/* Appends what has been produced since the last call, or drops it if `to` is
 * NULL; true at the end. */
bool task_take(struct task *t, struct buf *to, bool *ret_failed);
const struct command *task_command(const struct task *t);

/* The command hears of it when it next asks. */
void task_cancel(struct task *t);

void task_free(struct task *t); /* joins: only after task_take said true */

#endif

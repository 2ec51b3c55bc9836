#include "daemon/admin/task.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "proto/message.h"
#include "rewrite/rewrite.h"

/* A result that is larger is an error rather than memory. */
enum { MAX_OUTPUT = 64 << 20, WAKE_BYTES = 64 << 10 };

struct task {
	struct task_input in;
	const char *const *columns;
	size_t n_columns;
	bool described;
	uv_thread_t thread;
	uv_mutex_t lock; /* for the next three */
	struct buf out;
	bool ended, failed;
	atomic_bool cancelled;
	atomic_bool heard; /* the command was told to stop */
};

/* Before the first row, or at the end of a result without one. */
static void describe_once(struct task *t)
{
	if (t->described || t->n_columns == 0)
		return;
	t->described = true;
	if (t->in.describe)
		msg_put_text_columns(&t->out, (uint16_t)t->n_columns,
				     t->columns);
}

static void on_row(void *arg, const char *const *values)
{
	struct task *t = arg;
	bool wake;

	uv_mutex_lock(&t->lock);
	describe_once(t);
	msg_put_text_row(&t->out, (uint16_t)t->n_columns, values);
	wake = buf_len(&t->out) > WAKE_BYTES;
	uv_mutex_unlock(&t->lock);
	if (wake)
		t->in.wake(t->in.arg);
}

static void on_notice(void *arg, const char *text)
{
	struct task *t = arg;
	struct msg_fault fault = {
	    .severity = "NOTICE", .sqlstate = "00000", .message = text};

	uv_mutex_lock(&t->lock);
	msg_put_error(&t->out, 'N', &fault);
	uv_mutex_unlock(&t->lock);
	t->in.wake(t->in.arg);
}

static bool on_cancelled(void *arg)
{
	struct task *t = arg;

	if (!atomic_load(&t->cancelled))
		return false;
	atomic_store(&t->heard, true);
	return true;
}

static void put_failure(struct task *t, struct problem *p)
{
	struct msg_fault fault = {
	    .severity = "ERROR",
	    .sqlstate = p->sqlstate[0] ? p->sqlstate : "XX000",
	    .message = p->message,
	    .detail = p->detail[0] ? p->detail : NULL,
	    .hint = p->hint[0] ? p->hint : NULL,
	    .position = p->position,
	};

	msg_put_error(&t->out, 'E', &fault);
}

static void put_end(struct task *t, bool ok, struct problem *p)
{
	if (!ok && atomic_load(&t->heard) && strcmp(p->sqlstate, "57014") != 0)
		problem_set(p, "57014",
			    "canceling statement due to user request");
	uv_mutex_lock(&t->lock);
	if (t->out.failed) {
		buf_clear(&t->out);
		ok = problem_set(p, "54000", "the result is too large");
	}
	if (ok) {
		describe_once(t);
		msg_put_complete(&t->out, t->in.command->def->tag);
	} else {
		put_failure(t, p);
	}
	t->failed = !ok;
	t->ended = true;
	uv_mutex_unlock(&t->lock);
	t->in.wake(t->in.arg);
}

static void run(void *arg)
{
	struct task *t = arg;
	struct progress progress = {on_notice, on_cancelled, t, t->in.user};
	struct command_run run = {
	    .command = t->in.command,
	    .admin = t->in.admin,
	    .user = t->in.user,
	    .progress = &progress,
	    .row = on_row,
	    .row_arg = t,
	};
	struct problem p = {0};
	bool ok = t->in.command->def->run(&run, &p);

	/* Explaining a statement parses it in this thread. */
	rewrite_thread_end();
	put_end(t, ok, &p);
}

struct task *task_start(const struct task_input *in)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->in = *in;
	t->columns = command_columns(in->command->def, &t->n_columns);
	buf_init(&t->out, MAX_OUTPUT);
	uv_mutex_init(&t->lock);
	if (uv_thread_create(&t->thread, run, t) == 0)
		return t;
	uv_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

bool task_take(struct task *t, struct buf *to, bool *ret_failed)
{
	bool ended;

	uv_mutex_lock(&t->lock);
	if (to && buf_len(&t->out) > 0)
		buf_put(to, buf_bytes(&t->out), buf_len(&t->out));
	buf_drain(&t->out, buf_len(&t->out));
	ended = t->ended;
	*ret_failed = t->failed;
	uv_mutex_unlock(&t->lock);
	return ended;
}

const struct command *task_command(const struct task *t)
{
	return t->in.command;
}

void task_cancel(struct task *t)
{
	atomic_store(&t->cancelled, true);
}

void task_free(struct task *t)
{
	uv_thread_join(&t->thread);
	uv_mutex_destroy(&t->lock);
	buf_free(&t->out);
	free(t);
}

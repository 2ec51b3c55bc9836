/*
 * What a logged-in client asks: simple queries and the extended protocol, as
 * far as statements without parameters need it.
 *
 * A command runs as a task; its connection is CONSOLE_BUSY until the task ends.
 * A simple query's commands run one behind the other; the first that fails
 * ends the query.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/admin/console_conn.h"
#include "daemon/log.h"
#include "proto/message.h"

enum { MAX_PREPARED = 128 };

static void put_ready(struct console_conn *c)
{
	msg_put_ready(&c->out, c->in_tx ? 'T' : 'I');
}

static void put_problem(struct console_conn *c, const struct problem *p)
{
	struct msg_fault fault = {
	    .severity = "ERROR",
	    .sqlstate = p->sqlstate,
	    .message = p->message,
	    .detail = p->detail[0] ? p->detail : NULL,
	    .hint = p->hint[0] ? p->hint : NULL,
	    .position = p->position,
	};

	msg_put_error(&c->out, 'E', &fault);
}

/* -- statements and portals -- */

static void drop(struct prepared **at)
{
	struct prepared *gone = *at;

	*at = gone->next;
	arena_free(&gone->arena);
	free(gone);
}

static struct prepared **find(struct prepared **list, const char *name)
{
	while (*list && strcmp((*list)->name, name) != 0)
		list = &(*list)->next;
	return list;
}

static size_t count(const struct prepared *list)
{
	size_t n = 0;

	for (; list; list = list->next)
		n++;
	return n;
}

static void drop_all(struct prepared **list)
{
	while (*list)
		drop(list);
}

static bool parse_one(struct prepared *s, struct problem *p)
{
	size_t n;

	if (!command_parse(s->text, strlen(s->text), &s->arena, &s->command, &n,
			   p))
		return false;
	if (n > 1)
		return problem_set(p, "42601",
				   "cannot insert multiple commands into a "
				   "prepared statement");
	if (n == 0)
		s->command = NULL;
	return true;
}

/* Replaces the unnamed one and refuses to replace a named one. */
static bool add(struct prepared **list, const char *name, const char *text,
		struct problem *p)
{
	struct prepared **at = find(list, name), *s;

	if (*at && name[0])
		return problem_set(p, "42P05", "\"%s\" exists already", name);
	if (*at)
		drop(at);
	if (count(*list) >= MAX_PREPARED)
		return problem_set(p, "54000",
				   "more than %d statements or portals",
				   MAX_PREPARED);
	s = calloc(1, sizeof(*s));
	if (!s)
		return problem_set(p, "53200", "out of memory");
	arena_init(&s->arena);
	s->name = arena_str(&s->arena, name);
	s->text = arena_str(&s->arena, text);
	s->next = *list;
	*list = s;
	if (parse_one(s, p))
		return true;
	drop(list);
	return false;
}

static bool missing(const char *what, const char *name, struct problem *p)
{
	return problem_set(p, *what == 'p' ? "34000" : "26000",
			   "%s \"%s\" does not exist", what, name);
}

static bool malformed(struct problem *p)
{
	return problem_set(p, "08P01", "malformed message");
}

/* -- running -- */

static void on_task_wake(void *arg)
{
	struct console_conn *c = arg;

	uv_async_send(&c->wake);
}

static bool check_tx(struct console_conn *c, const struct command *cmd,
		     struct problem *p)
{
	if (cmd->def->effect != END_TX || c->in_tx)
		return true;
	problem_set(p, "25P01", "there is no transaction in progress");
	problem_hint(p, "ROLLBACK m moves migration m one phase back.");
	p->position = (uint32_t)cmd->position;
	return false;
}

/* What changes something is told in the log, with who did it. */
static void log_command(const struct console_conn *c, const struct command *cmd)
{
	const char *tag = cmd->def->tag;

	if (strcmp(tag, "SHOW") == 0 || strcmp(tag, "EXPLAIN") == 0 ||
	    cmd->def->effect != KEEP)
		return;
	log_info("console: %s from %s runs %s", c->user, c->address, cmd->text);
}

static bool start(struct console_conn *c, const struct command *cmd,
		  bool extended, struct problem *p)
{
	struct task_input in = {
	    .admin = c->console->admin,
	    .command = cmd,
	    .user = c->user,
	    .describe = !extended,
	    .wake = on_task_wake,
	    .arg = c,
	};

	if (!check_tx(c, cmd, p))
		return false;
	log_command(c, cmd);
	c->task = task_start(&in);
	if (!c->task)
		return problem_set(p, "53000", "no thread for the command");
	c->extended = extended;
	console_conn_enter(c, CONSOLE_BUSY);
	return true;
}

static void take_effect(struct console_conn *c, enum command_effect e)
{
	switch (e) {
	case KEEP:
		return;
	case BEGIN_TX:
	case END_TX:
		c->in_tx = e == BEGIN_TX;
		return;
	case FORGET_PREPARED:
		drop_all(&c->statements);
		return;
	}
}

static void end_batch(struct console_conn *c)
{
	c->n_commands = 0;
	c->done = 0;
	arena_reset(&c->batch);
	put_ready(c);
	console_conn_enter(c, CONSOLE_READY);
}

static void run_next(struct console_conn *c)
{
	struct problem p;

	if (c->done == c->n_commands) {
		end_batch(c);
	} else if (!start(c, &c->commands[c->done++], false, &p)) {
		put_problem(c, &p);
		end_batch(c);
	}
}

void console_query_woken(struct console_conn *c)
{
	const struct command *cmd;
	bool failed, gone = c->state != CONSOLE_BUSY;

	if (!c->task || !task_take(c->task, gone ? NULL : &c->out, &failed))
		return;
	cmd = task_command(c->task);
	task_free(c->task);
	c->task = NULL;
	if (gone)
		return;
	if (!failed)
		take_effect(c, cmd->def->effect);
	if (c->extended) {
		c->skip_to_sync = failed;
		console_conn_enter(c, CONSOLE_READY);
	} else if (failed) {
		end_batch(c);
	} else {
		run_next(c);
	}
}

static void on_query(struct console_conn *c, const struct frame *f,
		     struct problem *p)
{
	struct msg_query m;

	if (!msg_query_decode(f, &m)) {
		console_conn_fatal(c, "08P01", "malformed query message", NULL);
		return;
	}
	if (!command_parse(m.sql.s, m.sql.len, &c->batch, &c->commands,
			   &c->n_commands, p)) {
		put_problem(c, p);
		end_batch(c);
		return;
	}
	if (c->n_commands == 0)
		msg_put_simple(&c->out, 'I'); /* EmptyQueryResponse */
	run_next(c);
}

/* -- the extended protocol's messages: false with a problem -- */

static bool on_parse(struct console_conn *c, const struct frame *f,
		     struct problem *p)
{
	struct msg_parse m;

	if (!msg_parse_decode(f, &m))
		return malformed(p);
	if (!add(&c->statements, m.name.s, m.sql.s, p))
		return false;
	msg_put_simple(&c->out, '1'); /* ParseComplete */
	return true;
}

static unsigned get_u16(const uint8_t *b)
{
	return (unsigned)b[0] << 8 | b[1];
}

/* The parameters' count stands behind their formats; -1 if it does not. */
static int bind_parameters(const struct frame *f, const struct msg_bind *m)
{
	size_t at = (size_t)m->portal.len + m->statement.len + 2;

	if (at + 4 > f->body_len)
		return -1;
	at += 2 + 2 * (size_t)get_u16(f->body + at);
	return at + 2 > f->body_len ? -1 : (int)get_u16(f->body + at);
}

static bool on_bind(struct console_conn *c, const struct frame *f,
		    struct problem *p)
{
	struct prepared *s;
	struct msg_bind m;
	int n;

	if (!msg_bind_decode(f, &m))
		return malformed(p);
	n = bind_parameters(f, &m);
	if (n != 0)
		return problem_set(p, "08P01",
				   "bind message supplies %d parameters, but "
				   "console commands have none",
				   n);
	s = *find(&c->statements, m.statement.s);
	if (!s)
		return missing("prepared statement", m.statement.s, p);
	if (!add(&c->portals, m.portal.s, s->text, p))
		return false;
	msg_put_simple(&c->out, '2'); /* BindComplete */
	return true;
}

static void put_description(struct console_conn *c, const struct prepared *s)
{
	const char *const *columns = NULL;
	size_t n = 0;

	if (s->command)
		columns = command_columns(s->command->def, &n);
	if (n > 0)
		msg_put_text_columns(&c->out, (uint16_t)n, columns);
	else
		msg_put_simple(&c->out, 'n'); /* NoData */
}

static bool on_describe(struct console_conn *c, const struct frame *f,
			struct problem *p)
{
	struct msg_target m;
	struct prepared *s;
	size_t mark;

	if (!msg_target_decode(f, &m))
		return malformed(p);
	s = *find(m.kind == 'S' ? &c->statements : &c->portals, m.name.s);
	if (!s)
		return missing(m.kind == 'S' ? "prepared statement" : "portal",
			       m.name.s, p);
	if (m.kind == 'S') {
		mark = buf_message_begin(&c->out, 't'); /* no parameters */
		buf_put_u16(&c->out, 0);
		buf_message_end(&c->out, mark);
	}
	put_description(c, s);
	return true;
}

static bool on_execute(struct console_conn *c, const struct frame *f,
		       struct problem *p)
{
	struct msg_execute m;
	struct prepared *s;

	if (!msg_execute_decode(f, &m))
		return malformed(p);
	s = *find(&c->portals, m.portal.s);
	if (!s)
		return missing("portal", m.portal.s, p);
	if (s->command)
		return start(c, s->command, true, p);
	msg_put_simple(&c->out, 'I'); /* EmptyQueryResponse */
	return true;
}

static bool on_close(struct console_conn *c, const struct frame *f,
		     struct problem *p)
{
	struct msg_target m;
	struct prepared **at;

	if (!msg_target_decode(f, &m))
		return malformed(p);
	at = find(m.kind == 'S' ? &c->statements : &c->portals, m.name.s);
	if (*at)
		drop(at);
	msg_put_simple(&c->out, '3'); /* CloseComplete */
	return true;
}

static bool on_function_call(struct console_conn *c, const struct frame *f,
			     struct problem *p)
{
	return problem_set(p, "0A000", "the console has no function calls");
}

/* What is written is sent after every step anyway; COPY messages outside of
 * a COPY are ignored, as by PostgreSQL. */
static bool on_ignored(struct console_conn *c, const struct frame *f,
		       struct problem *p)
{
	return true;
}

static void on_sync(struct console_conn *c)
{
	c->skip_to_sync = false;
	if (!c->in_tx)
		drop_all(&c->portals);
	put_ready(c);
}

/* clang-format off */
static const struct {
	char type;
	bool (*handle)(struct console_conn *c, const struct frame *f,
		       struct problem *p);
} extended_messages[] = {
	{'P', on_parse},
	{'B', on_bind},
	{'D', on_describe},
	{'E', on_execute},
	{'C', on_close},
	{'F', on_function_call},
	{'H', on_ignored},
	{'d', on_ignored},
	{'c', on_ignored},
	{'f', on_ignored},
};
/* clang-format on */

static void on_extended(struct console_conn *c, const struct frame *f,
			struct problem *p)
{
	size_t n = sizeof(extended_messages) / sizeof(extended_messages[0]);

	for (size_t i = 0; i < n; i++) {
		if (extended_messages[i].type != f->type)
			continue;
		if (c->skip_to_sync || extended_messages[i].handle(c, f, p))
			return;
		put_problem(c, p);
		c->skip_to_sync = true;
		return;
	}
	console_conn_fatal(c, "08P01", "unknown type of message", NULL);
}

void console_query_message(struct console_conn *c, const struct frame *f)
{
	struct problem p = {0};

	switch (f->type) {
	case 'X':
		console_conn_close(c);
		return;
	case 'S':
		on_sync(c);
		return;
	case 'Q':
		if (!c->skip_to_sync)
			on_query(c, f, &p);
		return;
	default:
		on_extended(c, f, &p);
		return;
	}
}

void console_query_free(struct console_conn *c)
{
	drop_all(&c->statements);
	drop_all(&c->portals);
	arena_free(&c->batch);
}

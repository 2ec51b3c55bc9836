/*
 * The admin port: listens on TCP and on a unix socket, tells HTTP from
 * PostgreSQL by the first byte, and keeps the connections.
 *
 * Runs in main's loop and never blocks it: commands run in threads of their
 * own (task.h), pages in the HTTP library's (http.h).
 */
#ifndef DAEMON_ADMIN_CONSOLE_H
#define DAEMON_ADMIN_CONSOLE_H

#include <stdbool.h>
#include <uv.h>

#include "config/problem.h"
#include "daemon/admin/admin.h"

struct console;

/* Listens where the settings say.  On failure nothing is left. */
bool console_start(struct admin *a, uv_loop_t *loop, struct console **ret,
		   struct problem *p) __attribute__((warn_unused_result));

/* Closes the listeners and every connection, and tells running commands to
 * stop.  Frees itself in the loop once the last of them has ended. */
void console_stop(struct console *c);

#endif

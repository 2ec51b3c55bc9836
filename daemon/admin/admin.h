/*
 * What the console, the status pages and the signals act on: the control
 * side, the workers, and the settings in force.
 *
 * Owns one reference to the settings, which a reload swaps.  Lives in main's
 * frame, longer than every connection and command.  Every function may be
 * called from any thread.  Must never know how it was asked: signal, console
 * or page.
 */
#ifndef DAEMON_ADMIN_ADMIN_H
#define DAEMON_ADMIN_ADMIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/problem.h"
#include "config/settings.h"
#include "daemon/net/server.h"
#include "daemon/phase/control.h"

struct admin {
	struct control *control;   /* borrowed */
	struct server *server;	   /* borrowed */
	uv_mutex_t lock;	   /* for settings */
	struct settings *settings; /* owned reference */
	uv_mutex_t reload_lock;	   /* one reload at a time */
	uv_async_t *stop;	   /* borrowed: tells main to shut down */
	atomic_bool stopping;	   /* drain has begun */
	atomic_bool paused;
	uint64_t started_ns; /* uv_hrtime */
};

/* Takes over the reference to `settings`.  The two sides are set before the
 * first command can come. */
void admin_init(struct admin *a, struct settings *settings, uv_async_t *stop);
void admin_free(struct admin *a);

/* A reference of the caller's own. */
struct settings *admin_settings(struct admin *a);

/* Reads the configuration file again.  A failure leaves everything as it
 * was. */
bool admin_reload(struct admin *a, struct problem *p)
    __attribute__((warn_unused_result));

/* Asks main to drain and end; returns at once. */
void admin_stop(struct admin *a);

#endif

/*
 * SIGTERM, SIGINT or SHUTDOWN begin the drain; its end stops the admin port,
 * whose last handle ends the loop; then the control side and the workers are
 * freed.  A second SIGTERM or SIGINT ends the process at once.
 */
#include "daemon/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "config/settings.h"
#include "daemon/admin/admin.h"
#include "daemon/admin/console.h"
#include "daemon/log.h"
#include "daemon/net/server.h"
#include "daemon/phase/control.h"

/* A command that hears of its cancellation ends long before. */
enum { LAST_COMMANDS_MS = 10000, SIGNAL_COUNT = 3 };

struct daemon {
	uv_loop_t loop;
	struct admin admin;
	struct console *console; /* owned; NULL once stopped */
	struct control *control; /* owned */
	struct server *server;	 /* owned */
	uv_signal_t signals[SIGNAL_COUNT];
	uv_async_t stop; /* the console's SHUTDOWN */
	uv_timer_t last; /* bounds the end of commands */
	uv_work_t drain, reload;
	bool draining, reloading, reload_again;
};

static void log_problem(const char *what, const struct problem *p)
{
	char text[sizeof(*p) + 32];

	problem_print(p, text, sizeof(text));
	log_error("%s: %s", what, text);
}

/* -- ending -- */

static void work_drain(uv_work_t *w)
{
	struct daemon *d = w->data;
	struct settings *s = admin_settings(&d->admin);

	server_drain(d->server, s->drain_timeout_ms);
	settings_unref(s);
}

static void on_last_timeout(uv_timer_t *t)
{
	log_error("stop: a command did not end in %d s; ending without it",
		  LAST_COMMANDS_MS / 1000);
	_exit(EXIT_FAILURE);
}

static void stop_admin(struct daemon *d)
{
	if (d->console)
		console_stop(d->console);
	d->console = NULL;
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	uv_close((uv_handle_t *)&d->stop, NULL);
	uv_timer_start(&d->last, on_last_timeout, LAST_COMMANDS_MS, 0);
	uv_unref((uv_handle_t *)&d->last);
}

static void on_drained(uv_work_t *w, int status)
{
	log_info("stop: all clients are gone");
	stop_admin(w->data);
}

static void begin_drain(struct daemon *d)
{
	if (d->draining)
		return;
	d->draining = true;
	atomic_store(&d->admin.stopping, true);
	log_info("stop: draining; a second signal ends at once");
	uv_queue_work(&d->loop, &d->drain, work_drain, on_drained);
}

static void on_stop(uv_async_t *h)
{
	begin_drain(h->data);
}

static void on_end_signal(uv_signal_t *h, int number)
{
	struct daemon *d = h->data;

	if (d->draining) {
		log_warn("stop: second signal, ending at once");
		_exit(EXIT_FAILURE);
	}
	begin_drain(d);
}

/* -- reloading: reads files and the database, so not in the loop -- */

static void work_reload(uv_work_t *w)
{
	struct daemon *d = w->data;
	struct problem p;

	if (admin_reload(&d->admin, &p))
		log_info("reload: done");
	else
		log_problem("reload: refused, everything stays as it was", &p);
}

static void begin_reload(struct daemon *d);

static void on_reloaded(uv_work_t *w, int status)
{
	struct daemon *d = w->data;

	d->reloading = false;
	if (d->reload_again)
		begin_reload(d);
}

static void begin_reload(struct daemon *d)
{
	d->reload_again = d->reloading;
	if (d->reloading || d->draining)
		return;
	d->reloading = true;
	uv_queue_work(&d->loop, &d->reload, work_reload, on_reloaded);
}

static void on_reload_signal(uv_signal_t *h, int number)
{
	begin_reload(h->data);
}

/* -- starting -- */

static void open_handles(struct daemon *d)
{
	static const struct {
		int number;
		uv_signal_cb on;
	} signals[SIGNAL_COUNT] = {
	    {SIGTERM, on_end_signal},
	    {SIGINT, on_end_signal},
	    {SIGHUP, on_reload_signal},
	};

	uv_async_init(&d->loop, &d->stop, on_stop);
	uv_timer_init(&d->loop, &d->last);
	d->stop.data = d;
	d->drain.data = d;
	d->reload.data = d;
	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		uv_signal_init(&d->loop, &d->signals[i]);
		d->signals[i].data = d;
		uv_signal_start(&d->signals[i], signals[i].on,
				signals[i].number);
	}
}

static bool start_sides(struct daemon *d, struct settings *s, struct problem *p)
{
	struct snapshot *first;

	if (!control_start(s, &d->control, &first, p))
		return false;
	if (!server_start(first, &d->server, p)) {
		snapshot_unref(first);
		control_stop(d->control);
		return false;
	}
	control_attach(d->control, d->server);
	d->admin.control = d->control;
	d->admin.server = d->server;
	return true;
}

static void end_sides(struct daemon *d)
{
	control_stop(d->control);
	server_free(d->server);
}

static void run_loop(struct daemon *d)
{
	uv_run(&d->loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&d->last, NULL);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->loop);
}

/*
 * Takes over the settings.  The admin port is bound first, so that a second
 * daemon with the same configuration ends before it has touched anything;
 * nobody is answered there before the loop runs.
 */
static bool run_daemon(struct daemon *d, struct settings *s, struct problem *p)
{
	bool ok;

	uv_loop_init(&d->loop);
	open_handles(d);
	admin_init(&d->admin, s, &d->stop);
	ok = console_start(&d->admin, &d->loop, &d->console, p) &&
	     start_sides(d, s, p);
	if (ok)
		log_info("pgtandem %s serves %s", PGTANDEM_VERSION, s->file);
	else
		stop_admin(d);
	run_loop(d);
	if (ok)
		end_sides(d);
	admin_free(&d->admin);
	return ok;
}

bool serve(const char *config)
{
	struct daemon d = {0};
	struct settings *s;
	struct problem p;

	/* A peer that is gone is an error of the write, not a signal. */
	signal(SIGPIPE, SIG_IGN);
	if (!settings_read(config, &s, &p)) {
		log_problem("configuration", &p);
		return false;
	}
	log_setup(s->log_level, s->log_format);
	if (!run_daemon(&d, s, &p)) {
		log_problem("start", &p);
		return false;
	}
	log_info("stop: ended");
	return true;
}

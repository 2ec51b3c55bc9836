#include "daemon/net/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/net/listener.h"
#include "daemon/net/session.h"

static void on_wake(uv_async_t *async);
static void on_tick(uv_timer_t *timer);

static void *worker_memory(size_t n, size_t size)
{
	void *m = calloc(n, size);

	if (m == NULL)
		abort();
	return m;
}

static struct pin *pin_create(struct worker *w, struct snapshot *snapshot)
{
	struct pin *p = worker_memory(1, sizeof(*p));

	p->snapshot = snapshot;
	p->sessions = 1; /* being the current one counts */
	LIST_INSERT_HEAD(&w->pins, p, link);
	return p;
}

void worker_init(struct worker *w, struct server *s, unsigned number,
		 struct snapshot *first, struct tls_setup *tls)
{
	memset(w, 0, sizeof(*w));
	w->server = s;
	w->number = number;
	w->tls = tls;
	w->tasks_end = &w->tasks;
	TAILQ_INIT(&w->sessions);
	TAILQ_INIT(&w->timed);
	TAILQ_INIT(&w->resuming);
	LIST_INIT(&w->pins);
	if (uv_loop_init(&w->loop) != 0 || uv_mutex_init(&w->lock) != 0 ||
	    uv_async_init(&w->loop, &w->wake, on_wake) != 0)
		abort();
	uv_timer_init(&w->loop, &w->tick);
	w->wake.data = w;
	w->tick.data = w;
	w->current = pin_create(w, first);
	atomic_store(&w->oldest_serial, first->serial);
	w->n_listeners = first->settings->n_listen;
	w->listeners = worker_memory(w->n_listeners + 1, sizeof(*w->listeners));
	w->cache = cache_create(first->settings->statement_cache);
	w->plain = worker_memory(1, WORKER_BUFFER);
	w->cipher = worker_memory(1, WORKER_BUFFER);
	gather_init(&w->to_client);
	gather_init(&w->to_server);
}

bool worker_listen(struct worker *w, size_t index, int fd, bool is_pipe,
		   struct problem *p)
{
	return listener_open(&w->listeners[index], w, index, fd, is_pipe, p);
}

static void worker_main(void *arg)
{
	struct worker *w = arg;

	uv_run(&w->loop, UV_RUN_DEFAULT);
	rewrite_thread_end();
}

bool worker_run(struct worker *w)
{
	return uv_thread_create(&w->thread, worker_main, w) == 0;
}

void worker_join(struct worker *w)
{
	uv_thread_join(&w->thread);
}

static void worker_close_handles(struct worker *w)
{
	for (size_t i = 0; i < w->n_listeners; i++)
		listener_close(&w->listeners[i]);
	if (!uv_is_closing((uv_handle_t *)&w->wake))
		uv_close((uv_handle_t *)&w->wake, NULL);
	if (!uv_is_closing((uv_handle_t *)&w->tick))
		uv_close((uv_handle_t *)&w->tick, NULL);
}

/* The thread has ended, or never ran: its handles are closed here. */
void worker_free(struct worker *w)
{
	worker_close_handles(w);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&w->loop) != 0)
		abort();
	worker_unpin(w, w->current);
	assert(LIST_EMPTY(&w->pins));
	cache_free(w->cache);
	gather_free(&w->to_client);
	gather_free(&w->to_server);
	tls_setup_unref(w->tls);
	uv_mutex_destroy(&w->lock);
	free(w->listeners);
	free(w->plain);
	free(w->cipher);
}

void worker_post(struct worker *w, struct task *task)
{
	task->next = NULL;
	uv_mutex_lock(&w->lock);
	*w->tasks_end = task;
	w->tasks_end = &task->next;
	uv_mutex_unlock(&w->lock);
	uv_async_send(&w->wake);
}

static void on_wake(uv_async_t *async)
{
	struct worker *w = async->data;
	struct task *task, *next;

	uv_mutex_lock(&w->lock);
	task = w->tasks;
	w->tasks = NULL;
	w->tasks_end = &w->tasks;
	uv_mutex_unlock(&w->lock);
	for (; task != NULL; task = next) {
		next = task->next; /* run may free or reuse the task */
		task->run(w, task->arg);
	}
}

static void worker_note_oldest(struct worker *w)
{
	uint64_t oldest = UINT64_MAX;
	struct pin *p;

	LIST_FOREACH(p, &w->pins, link)
	if (p->snapshot->serial < oldest)
		oldest = p->snapshot->serial;
	atomic_store(&w->oldest_serial, oldest);
}

struct pin *worker_pin(struct worker *w)
{
	w->current->sessions++;
	return w->current;
}

void worker_unpin(struct worker *w, struct pin *p)
{
	if (--p->sessions > 0)
		return;
	LIST_REMOVE(p, link);
	snapshot_unref(p->snapshot);
	free(p);
	worker_note_oldest(w);
}

void worker_adopt(struct worker *w, struct snapshot *next,
		  struct tls_setup *tls)
{
	struct pin *before = w->current;
	struct session *s, *after;

	tls_setup_unref(w->tls);
	w->tls = tls;
	w->current = pin_create(w, next);
	worker_unpin(w, before);
	worker_note_oldest(w);
	for (s = TAILQ_FIRST(&w->sessions); s != NULL; s = after) {
		after = session_next(s);
		session_snapshot_changed(s);
	}
}

void worker_pause(struct worker *w, bool paused)
{
	struct session *s, *after;

	w->paused = paused;
	if (paused)
		return;
	for (s = TAILQ_FIRST(&w->sessions); s != NULL; s = after) {
		after = session_next(s);
		session_unpaused(s);
	}
}

static void worker_end_if_empty(struct worker *w)
{
	if (w->stopping && TAILQ_EMPTY(&w->sessions))
		worker_close_handles(w);
}

void worker_drain(struct worker *w)
{
	struct session *s, *after;

	w->draining = true;
	for (size_t i = 0; i < w->n_listeners; i++)
		listener_close(&w->listeners[i]);
	for (s = TAILQ_FIRST(&w->sessions); s != NULL; s = after) {
		after = session_next(s);
		session_drain(s);
	}
}

void worker_stop(struct worker *w)
{
	struct session *s, *after;

	w->stopping = true;
	for (s = TAILQ_FIRST(&w->sessions); s != NULL; s = after) {
		after = session_next(s);
		session_kill(s);
	}
	worker_end_if_empty(w);
}

void worker_session_gone(struct worker *w, struct session *s)
{
	worker_set_deadline(w, s, 0);
	session_unlink(s);
	worker_end_if_empty(w);
}

void worker_set_deadline(struct worker *w, struct session *s, uint64_t at)
{
	session_move_deadline(s, &w->timed, at);
	if (TAILQ_EMPTY(&w->timed))
		uv_timer_stop(&w->tick);
	else if (!uv_is_active((uv_handle_t *)&w->tick) &&
		 !uv_is_closing((uv_handle_t *)&w->tick))
		uv_timer_start(&w->tick, on_tick, WORKER_TICK_MS,
			       WORKER_TICK_MS);
}

static void on_tick(uv_timer_t *timer)
{
	struct worker *w = timer->data;
	struct session *s, *after;

	for (s = TAILQ_FIRST(&w->timed); s != NULL; s = after) {
		after = session_next_timed(s);
		session_tick(s, uv_now(&w->loop));
	}
}

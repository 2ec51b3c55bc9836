#include "daemon/net/server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/log.h"
#include "daemon/net/listener.h"
#include "daemon/net/session.h"
#include "daemon/net/worker.h"

struct server {
	unsigned n_workers;
	struct worker *workers;	   /* owned array */
	uv_mutex_t lock;	   /* below, and against a second drain */
	struct settings *settings; /* owned reference: the last published */
	struct tls_setup *tls;	   /* owned reference: made from them */
	bool stopped;
};

/* The same Unix socket for all workers, a TCP socket for each. */
static bool server_listen(struct server *s, const struct settings *set,
			  size_t i, struct problem *p)
{
	const struct listen_setting *l = &set->listen[i];
	bool is_pipe = l->socket != NULL;
	int fd = -1, shared = -1;

	for (unsigned k = 0; k < s->n_workers; k++) {
		if (is_pipe && k > 0)
			fd = dup(shared);
		else if (!listener_bind(l, &fd, p))
			return false;
		if (fd < 0)
			return problem_set(p, "58000", "too many open files");
		shared = fd;
		if (!worker_listen(&s->workers[k], i, fd, is_pipe, p))
			return false;
	}
	if (is_pipe)
		log_info("listening on %s/.s.PGSQL.%u", l->socket, l->port);
	else
		log_info("listening on %s port %u", l->address, l->port);
	return true;
}

static bool server_listen_all(struct server *s, const struct settings *set,
			      struct problem *p)
{
	for (size_t i = 0; i < set->n_listen; i++)
		if (!server_listen(s, set, i, p))
			return false;
	return true;
}

static void server_release(struct server *s)
{
	for (unsigned k = 0; k < s->n_workers; k++)
		worker_free(&s->workers[k]);
	settings_unref(s->settings);
	tls_setup_unref(s->tls);
	uv_mutex_destroy(&s->lock);
	free(s->workers);
	free(s);
}

static void server_run(struct server *s)
{
	for (unsigned k = 0; k < s->n_workers; k++)
		if (!worker_run(&s->workers[k]))
			abort(); /* no thread at start-up: no memory */
}

bool server_start(struct snapshot *first, struct server **ret,
		  struct problem *p)
{
	struct settings *set = first->settings;
	struct server *s;
	struct tls_setup *tls;

	if (!tls_setup_create(set, &tls, p))
		return false;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		abort();
	uv_mutex_init(&s->lock);
	s->settings = settings_ref(set);
	s->tls = tls;
	s->n_workers =
	    set->workers > 0 ? set->workers : uv_available_parallelism();
	s->workers = calloc(s->n_workers, sizeof(*s->workers));
	if (s->workers == NULL)
		abort();
	for (unsigned k = 0; k < s->n_workers; k++)
		worker_init(&s->workers[k], s, k, snapshot_ref(first),
			    tls_setup_ref(tls));
	if (!server_listen_all(s, set, p)) {
		server_release(s);
		return false;
	}
	snapshot_unref(first);
	server_run(s);
	*ret = s;
	return true;
}

/* One errand for all workers; the last one wakes who waits. */
struct errand {
	struct server *server;
	void (*run)(struct worker *w, struct errand *e);
	struct task *tasks; /* owned, one per worker */
	uv_sem_t done;
	const void *in;
	void *out;
	size_t max, n;
};

static void on_errand(struct worker *w, void *arg)
{
	struct errand *e = arg;

	e->run(w, e);
	uv_sem_post(&e->done);
}

/* Runs on one worker after the other, so that `out` needs no lock. */
static void errand_run(struct server *s, struct errand *e)
{
	struct task task = {.run = on_errand, .arg = e};

	uv_sem_init(&e->done, 0);
	for (unsigned k = 0; k < s->n_workers; k++) {
		worker_post(&s->workers[k], &task);
		uv_sem_wait(&e->done);
	}
	uv_sem_destroy(&e->done);
}

/* A message that nobody waits for; the worker frees it. */
struct letter {
	struct task task;
	void (*run)(struct worker *w, struct letter *l);
	struct snapshot *snapshot;
	struct tls_setup *tls;
	bool flag;
};

static void on_letter(struct worker *w, void *arg)
{
	struct letter *l = arg;

	l->run(w, l);
	free(l);
}

static void letter_send(struct worker *w, const struct letter *model)
{
	struct letter *l = malloc(sizeof(*l));

	if (l == NULL)
		abort();
	*l = *model;
	l->task.run = on_letter;
	l->task.arg = l;
	worker_post(w, &l->task);
}

static void deliver_snapshot(struct worker *w, struct letter *l)
{
	worker_adopt(w, l->snapshot, l->tls);
}

/* New settings may name new certificates; bad ones leave the old in force. */
static void server_renew_tls(struct server *s, struct settings *set)
{
	struct tls_setup *tls;
	struct problem p;

	if (set == s->settings)
		return;
	if (set->n_listen != s->settings->n_listen) {
		log_error("changes under `listen` need a restart; the rest of "
			  "the new settings is in force");
		return;
	}
	if (tls_setup_create(set, &tls, &p)) {
		tls_setup_unref(s->tls);
		s->tls = tls;
	} else {
		log_error("TLS settings stay as they were: %s", p.message);
	}
	settings_unref(s->settings);
	s->settings = settings_ref(set);
}

void server_publish(struct server *s, struct snapshot *next)
{
	struct letter l = {.run = deliver_snapshot};

	uv_mutex_lock(&s->lock);
	if (!s->stopped) {
		server_renew_tls(s, next->settings);
		for (unsigned k = 0; k < s->n_workers; k++) {
			l.snapshot = snapshot_ref(next);
			l.tls = tls_setup_ref(s->tls);
			letter_send(&s->workers[k], &l);
		}
	}
	uv_mutex_unlock(&s->lock);
	snapshot_unref(next);
}

uint64_t server_oldest_serial(struct server *s)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned k = 0; k < s->n_workers; k++) {
		uint64_t n = atomic_load(&s->workers[k].oldest_serial);

		if (n < oldest)
			oldest = n;
	}
	return oldest;
}

static void collect_clients(struct worker *w, struct errand *e)
{
	struct client_info *rows = e->out;
	struct session *s;

	for (s = TAILQ_FIRST(&w->sessions); s != NULL && e->n < e->max;
	     s = session_next(s))
		session_info(s, &rows[e->n++]);
}

size_t server_list_clients(struct server *s, struct client_info *ret,
			   size_t max)
{
	struct errand e = {.run = collect_clients, .out = ret, .max = max};

	uv_mutex_lock(&s->lock);
	if (!s->stopped)
		errand_run(s, &e);
	uv_mutex_unlock(&s->lock);
	return e.n;
}

void server_get_stats(struct server *s, struct server_stats *ret)
{
	struct latency_counts latency;

	memset(ret, 0, sizeof(*ret));
	for (unsigned k = 0; k < s->n_workers; k++) {
		struct counters *c = &s->workers[k].count;

#define X(name) \
	ret->name += atomic_load_explicit(&c->name, memory_order_relaxed);
		COUNTERS(X)
#undef X
	}
	server_get_latency(s, &latency);
	ret->p50_us = latency_percentile(&latency, 50);
	ret->p99_us = latency_percentile(&latency, 99);
}

void server_get_latency(const struct server *s, struct latency_counts *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned k = 0; k < s->n_workers; k++)
		latency_collect(&s->workers[k].latency, ret);
}

static void deliver_pause(struct worker *w, struct letter *l)
{
	worker_pause(w, l->flag);
}

static void server_tell(struct server *s, const struct letter *l)
{
	uv_mutex_lock(&s->lock);
	for (unsigned k = 0; k < s->n_workers && !s->stopped; k++)
		letter_send(&s->workers[k], l);
	uv_mutex_unlock(&s->lock);
}

void server_pause(struct server *s)
{
	server_tell(s, &(struct letter){.run = deliver_pause, .flag = true});
}

void server_resume(struct server *s)
{
	server_tell(s, &(struct letter){.run = deliver_pause});
}

static void deliver_drain(struct worker *w, struct letter *l)
{
	(void)l;
	worker_drain(w);
}

static void deliver_stop(struct worker *w, struct letter *l)
{
	(void)l;
	worker_stop(w);
}

static bool server_is_empty(struct server *s)
{
	struct server_stats stats;

	server_get_stats(s, &stats);
	return stats.clients == 0;
}

void server_drain(struct server *s, uint64_t timeout_ms)
{
	uint64_t until = uv_hrtime() + timeout_ms * 1000000;
	struct letter stop = {.run = deliver_stop};

	server_tell(s, &(struct letter){.run = deliver_drain});
	while (!server_is_empty(s) && uv_hrtime() < until)
		uv_sleep(20);
	/* From here on nobody else may post: a worker may have ended. */
	uv_mutex_lock(&s->lock);
	if (!s->stopped) {
		s->stopped = true;
		for (unsigned k = 0; k < s->n_workers; k++)
			letter_send(&s->workers[k], &stop);
		for (unsigned k = 0; k < s->n_workers; k++)
			worker_join(&s->workers[k]);
	}
	uv_mutex_unlock(&s->lock);
}

static void remove_sockets(const struct settings *set)
{
	char path[512];

	for (size_t i = 0; i < set->n_listen; i++) {
		if (set->listen[i].socket == NULL)
			continue;
		listener_path(&set->listen[i], path, sizeof(path));
		unlink(path);
	}
}

void server_free(struct server *s)
{
	remove_sockets(s->settings);
	server_release(s);
}

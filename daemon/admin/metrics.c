#include "daemon/admin/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/phase.h"
#include "daemon/admin/view.h"

/* Where a metric's value comes from. */
enum source {
	FROM_SERVER = 1, /* a field of struct server_stats */
	FROM_PROCESS,	 /* seconds since the start */
	FROM_MIGRATIONS, /* a column of VIEW_MIGRATIONS */
	FROM_BACKFILL,	 /* a column of VIEW_BACKFILL */
};

#define FIELD(name) offsetof(struct server_stats, name)

/* clang-format off */
static const struct metric {
	const char *name, *type, *help;
	enum source source;
	size_t field;		/* FROM_SERVER */
	const char *column;	/* FROM_MIGRATIONS, FROM_BACKFILL */
} metrics[] = {
	{"pgtandem_uptime_seconds", "gauge", "Seconds since the start.",
	 FROM_PROCESS, 0, NULL},
	{"pgtandem_clients", "gauge", "Client connections now.",
	 FROM_SERVER, FIELD(clients), NULL},
	{"pgtandem_clients_total", "counter", "Client connections so far.",
	 FROM_SERVER, FIELD(clients_total), NULL},
	{"pgtandem_refused_logins_total", "counter",
	 "Logins that the server or pgtandem refused.",
	 FROM_SERVER, FIELD(refused_logins), NULL},
	{"pgtandem_statements_total", "counter", "Statements carried.",
	 FROM_SERVER, FIELD(statements), NULL},
	{"pgtandem_rewritten_statements_total", "counter",
	 "Statements sent in another text than the client's.",
	 FROM_SERVER, FIELD(rewritten), NULL},
	{"pgtandem_refused_statements_total", "counter",
	 "Statements refused because they cannot be rewritten.",
	 FROM_SERVER, FIELD(refused), NULL},
	{"pgtandem_held_statements", "gauge",
	 "Statements held now, by PAUSE or by a phase move.",
	 FROM_SERVER, FIELD(held), NULL},
	{"pgtandem_client_received_bytes_total", "counter",
	 "Bytes received from clients.",
	 FROM_SERVER, FIELD(bytes_in), NULL},
	{"pgtandem_client_sent_bytes_total", "counter",
	 "Bytes sent to clients.",
	 FROM_SERVER, FIELD(bytes_out), NULL},
	{"pgtandem_cache_hits_total", "counter",
	 "Statements whose plan was in the statement cache.",
	 FROM_SERVER, FIELD(cache_hits), NULL},
	{"pgtandem_cache_misses_total", "counter",
	 "Statements that had to be planned.",
	 FROM_SERVER, FIELD(cache_misses), NULL},
	{"pgtandem_cache_entries", "gauge", "Plans in the statement caches.",
	 FROM_SERVER, FIELD(cache_entries), NULL},
	{"pgtandem_reprepared_statements_total", "counter",
	 "Prepared statements prepared again after a phase change.",
	 FROM_SERVER, FIELD(reprepared), NULL},
	{"pgtandem_timed_statements_total", "counter",
	 "Statements on relations under migration that were timed.",
	 FROM_SERVER, FIELD(timed), NULL},
	{"pgtandem_timed_microseconds_total", "counter",
	 "How long they took together.",
	 FROM_SERVER, FIELD(timed_us), NULL},
	{"pgtandem_timed_median_microseconds", "gauge",
	 "Their median since the start.",
	 FROM_SERVER, FIELD(p50_us), NULL},
	{"pgtandem_timed_p99_microseconds", "gauge",
	 "What 99 of 100 of them did not exceed since the start.",
	 FROM_SERVER, FIELD(p99_us), NULL},
	{"pgtandem_errors_total", "counter",
	 "Errors that clients got from pgtandem itself.",
	 FROM_SERVER, FIELD(errors_made), NULL},
	{"pgtandem_migration_phase", "gauge",
	 "Phase of the migration: 0 planned to 6 contracted.",
	 FROM_MIGRATIONS, 0, "phase"},
	{"pgtandem_migration_epoch", "gauge",
	 "Epoch of the migration: raised by every move.",
	 FROM_MIGRATIONS, 0, "epoch"},
	{"pgtandem_migration_findings", "gauge", "Open findings.",
	 FROM_MIGRATIONS, 0, "findings"},
	{"pgtandem_backfill_rows_done", "gauge", "Rows walked so far.",
	 FROM_BACKFILL, 0, "rows_done"},
	{"pgtandem_backfill_rows_total", "gauge", "Rows to walk.",
	 FROM_BACKFILL, 0, "rows_total"},
	{"pgtandem_backfill_rows_per_second", "gauge", "Rows walked a second.",
	 FROM_BACKFILL, 0, "rows_per_s"},
};
/* clang-format on */

/* One round's knowledge: every sample of it tells the same moment. */
struct round {
	struct admin *admin;
	struct arena arena;
	struct server_stats stats;
	struct view_rows migrations;
	struct view_rows *backfills; /* one per migration */
	metric_fn fn;
	void *arg;
};

/* Backslash, quote and newline are escaped in a label's value. */
static const char *label_text(const char *s, struct arena *a)
{
	char *ret = arena_alloc(a, strlen(s) * 2 + 1), *w = ret;

	for (; *s; s++) {
		if (*s == '\\' || *s == '"' || *s == '\n')
			*w++ = '\\';
		*w++ = *s == '\n' ? 'n' : *s;
	}
	return ret;
}

static const char *migration_labels(struct round *r, size_t row)
{
	const char *name = view_get(&r->migrations, row, "name");
	const char *database = view_get(&r->migrations, row, "database");

	return arena_fmt(&r->arena, "{migration=\"%s\",database=\"%s\"}",
			 label_text(name ? name : "", &r->arena),
			 label_text(database ? database : "", &r->arena));
}

/* A view's text as a number, or NULL: not known now. */
static const char *number_text(const char *s, struct arena *a)
{
	enum phase phase;
	char *end;

	if (!s || !*s)
		return NULL;
	if (phase_from_name(s, strlen(s), &phase))
		return arena_fmt(a, "%d", (int)phase);
	strtod(s, &end);
	return *end == '\0' ? s : NULL;
}

static void tell(struct round *r, const struct metric *m, const char *labels,
		 const char *value)
{
	struct metric_sample s = {m->name, m->type, m->help, labels, value};

	if (value)
		r->fn(r->arg, &s);
}

static void tell_migrations(struct round *r, const struct metric *m)
{
	for (size_t i = 0; i < r->migrations.n; i++) {
		const struct view_rows *v = m->source == FROM_BACKFILL
						? &r->backfills[i]
						: &r->migrations;
		size_t row = m->source == FROM_BACKFILL ? 0 : i;
		const char *value =
		    row < v->n ? view_get(v, row, m->column) : NULL;

		tell(r, m, migration_labels(r, i),
		     number_text(value, &r->arena));
	}
}

static void tell_metric(struct round *r, const struct metric *m)
{
	uint64_t value = 0;

	switch (m->source) {
	case FROM_SERVER:
		memcpy(&value, (const char *)&r->stats + m->field,
		       sizeof(value));
		break;
	case FROM_PROCESS:
		value = (uv_hrtime() - r->admin->started_ns) / 1000000000;
		break;
	case FROM_MIGRATIONS:
	case FROM_BACKFILL:
		tell_migrations(r, m);
		return;
	}
	tell(r, m, "", arena_fmt(&r->arena, "%" PRIu64, value));
}

static bool round_read(struct round *r, struct problem *p)
{
	struct control *c = r->admin->control;

	server_get_stats(r->admin->server, &r->stats);
	if (!view_collect(c, VIEW_MIGRATIONS, NULL, &r->arena, &r->migrations,
			  p))
		return false;
	r->backfills = arena_alloc(
	    &r->arena, (r->migrations.n + 1) * sizeof(*r->backfills));
	for (size_t i = 0; i < r->migrations.n; i++)
		/* A migration whose walk cannot be told has no samples. */
		if (!view_collect(c, VIEW_BACKFILL,
				  view_get(&r->migrations, i, "name"),
				  &r->arena, &r->backfills[i], p))
			r->backfills[i].n = 0;
	return true;
}

bool metrics_each(struct admin *admin, metric_fn fn, void *arg,
		  struct problem *p)
{
	struct round r = {.admin = admin, .fn = fn, .arg = arg};
	bool ok;

	arena_init(&r.arena);
	ok = round_read(&r, p);
	for (size_t i = 0; ok && i < sizeof(metrics) / sizeof(metrics[0]); i++)
		tell_metric(&r, &metrics[i]);
	arena_free(&r.arena);
	return ok;
}

/* -- the exposition format -- */

struct exposition {
	struct buf *buf;
	const char *name; /* of the last metric */
};

static void write_sample(void *arg, const struct metric_sample *s)
{
	struct exposition *e = arg;

	if (!e->name || strcmp(e->name, s->name) != 0)
		buf_put_fmt(e->buf, "# HELP %s %s\n# TYPE %s %s\n", s->name,
			    s->help, s->name, s->type);
	e->name = s->name;
	buf_put_fmt(e->buf, "%s%s %s\n", s->name, s->labels, s->value);
}

bool metrics_write(struct admin *admin, struct buf *b, struct problem *p)
{
	struct exposition e = {b, NULL};

	buf_put_fmt(b,
		    "# HELP pgtandem_info The version that runs.\n"
		    "# TYPE pgtandem_info gauge\n"
		    "pgtandem_info{version=\"%s\"} 1\n",
		    PGTANDEM_VERSION);
	return metrics_each(admin, write_sample, &e, p);
}

#include "daemon/admin/http_status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config/phase.h"
#include "daemon/admin/view.h"

enum { MAX_ROWS = 100, REFRESH_S = 2 };

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>pgtandem</title>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --line: #8886; --on: #2a7; }\n"
    "body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem;\n"
    "  margin: 2rem auto; padding: 0 1rem; }\n"
    "h1 { font-size: 1.3rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }\n"
    "h3 { font-size: 1rem; margin-bottom: .3rem; }\n"
    "ol.phases { display: flex; flex-wrap: wrap; gap: .3rem; padding: 0;\n"
    "  list-style: none; }\n"
    ".phases li { border: 1px solid var(--line); border-radius: .3rem;\n"
    "  padding: .15rem .6rem; opacity: .6; }\n"
    ".phases .past { border-color: var(--on); opacity: 1; }\n"
    ".phases .now { background: var(--on); border-color: var(--on);\n"
    "  color: #fff; font-weight: 600; opacity: 1; }\n"
    "progress { width: 100%; height: 1.2rem; accent-color: var(--on); }\n"
    ".wide { overflow-x: auto; }\n"
    "table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n"
    "th, td { border-bottom: 1px solid var(--line); padding: .2rem 1rem .2rem "
    "0;\n"
    "  text-align: left; vertical-align: top; overflow-wrap: anywhere; }\n"
    ".bad { color: #c33; }\n"
    "</style>\n";

/* Text into HTML, also into a quoted attribute. */
static void put_escaped(struct buf *b, const char *s)
{
	static const char special[] = "&<>\"'";

	while (s && *s) {
		size_t n = strcspn(s, special);

		buf_put(b, s, n);
		s += n;
		if (*s)
			buf_put_fmt(b, "&#%d;", *s++);
	}
}

static void put_element(struct buf *b, const char *tag, const char *text)
{
	buf_put_fmt(b, "<%s>", tag);
	put_escaped(b, text);
	buf_put_fmt(b, "</%s>", tag);
}

static void put_note(struct buf *b, const struct problem *p)
{
	buf_put_fmt(b, "<p class=\"bad\">");
	put_escaped(b, p->message);
	buf_put_fmt(b, "</p>\n");
}

static void put_ladder(struct buf *b, const char *now)
{
	enum phase phase = PHASE_COUNT;

	if (!now || !phase_from_name(now, strlen(now), &phase))
		buf_put_fmt(b, "<p class=\"bad\">The phase is not known: the "
			       "database cannot be reached.</p>\n");
	buf_put_fmt(b, "<ol class=\"phases\">\n");
	for (int i = 0; i < PHASE_COUNT; i++) {
		bool is_now = i == (int)phase;
		const char *css = phase == PHASE_COUNT ? ""
				  : is_now	       ? "now"
				  : i < (int)phase     ? "past"
						       : "";

		buf_put_fmt(b, "<li class=\"%s\"%s title=\"", css,
			    is_now ? " aria-current=\"step\"" : "");
		put_escaped(b, phase_what((enum phase)i));
		buf_put_fmt(b, "\">%s</li>\n", phase_name((enum phase)i));
	}
	buf_put_fmt(b, "</ol>\n");
}

static void put_table(struct buf *b, const struct view_rows *v)
{
	size_t shown = v->n < MAX_ROWS ? v->n : MAX_ROWS;

	buf_put_fmt(b, "<div class=\"wide\"><table>\n<tr>");
	for (size_t i = 0; i < v->n_columns; i++)
		put_element(b, "th", v->columns[i]);
	buf_put_fmt(b, "</tr>\n");
	for (size_t r = 0; r < shown; r++) {
		buf_put_fmt(b, "<tr>");
		for (size_t i = 0; i < v->n_columns; i++)
			put_element(b, "td", v->rows[r][i]);
		buf_put_fmt(b, "</tr>\n");
	}
	buf_put_fmt(b, "</table></div>\n");
	if (shown < v->n)
		buf_put_fmt(b, "<p>and %zu more</p>\n", v->n - shown);
}

static void put_bar(struct buf *b, const struct view_rows *v, size_t row)
{
	const char *done = view_get(v, row, "rows_done");
	const char *total = view_get(v, row, "rows_total");
	const char *rate = view_get(v, row, "rows_per_s");
	const char *eta = view_get(v, row, "eta_s");
	const char *error = view_get(v, row, "error");
	double n = done ? strtod(done, NULL) : 0;
	double of = total ? strtod(total, NULL) : 0;

	buf_put_fmt(b, "<p>");
	put_escaped(b, view_get(v, row, "mode"));
	buf_put_fmt(b, " ");
	put_escaped(b, view_get(v, row, "state"));
	buf_put_fmt(b, ": ");
	put_escaped(b, done ? done : "0");
	buf_put_fmt(b, " of ");
	put_escaped(b, total ? total : "?");
	buf_put_fmt(b, " rows, ");
	put_escaped(b, rate ? rate : "0");
	buf_put_fmt(b, " a second, ");
	put_escaped(b, eta ? eta : "?");
	buf_put_fmt(b,
		    " s left</p>\n<progress max=\"%.0f\" value=\"%.0f\">"
		    "</progress>\n",
		    of > 0 ? of : 1, n);
	if (error && *error) {
		buf_put_fmt(b, "<p class=\"bad\">");
		put_escaped(b, error);
		buf_put_fmt(b, "</p>\n");
	}
}

/* One page being written. */
struct page {
	struct admin *admin;
	struct buf *buf;
	struct arena arena;
};

static void put_backfill(struct page *g, const char *migration)
{
	struct view_rows v;
	struct problem p;

	buf_put_fmt(g->buf, "<h3>Backfill</h3>\n");
	if (!view_collect(g->admin->control, VIEW_BACKFILL, migration,
			  &g->arena, &v, &p))
		put_note(g->buf, &p);
	else if (v.n == 0)
		buf_put_fmt(g->buf, "<p>none yet</p>\n");
	else
		for (size_t i = 0; i < v.n; i++)
			put_bar(g->buf, &v, i);
}

static void put_view(struct page *g, const char *title, enum control_view view,
		     const char *migration, const char *empty)
{
	struct view_rows v;
	struct problem p;

	buf_put_fmt(g->buf, "<h3>%s</h3>\n", title);
	if (!view_collect(g->admin->control, view, migration, &g->arena, &v,
			  &p))
		put_note(g->buf, &p);
	else if (v.n == 0)
		buf_put_fmt(g->buf, "<p>%s</p>\n", empty);
	else
		put_table(g->buf, &v);
}

static void put_migration(struct page *g, const struct view_rows *all,
			  size_t row)
{
	const char *name = view_get(all, row, "name");

	buf_put_fmt(g->buf, "<section>\n<h2>");
	put_escaped(g->buf, name);
	buf_put_fmt(g->buf, " <small>in database ");
	put_escaped(g->buf, view_get(all, row, "database"));
	buf_put_fmt(g->buf, "</small></h2>\n");
	put_ladder(g->buf, view_get(all, row, "phase"));
	put_backfill(g, name);
	put_view(g, "State, and who still uses the old model", VIEW_MIGRATION,
		 name, "nothing known");
	put_view(g, "Findings", VIEW_FINDINGS, name, "none");
	buf_put_fmt(g->buf, "</section>\n");
}

static void put_summary(struct page *g)
{
	struct server_stats s;

	server_get_stats(g->admin->server, &s);
	buf_put_fmt(g->buf,
		    "<h1>pgtandem %s</h1>\n"
		    "<p>%" PRIu64 " clients, %" PRIu64 " statements carried, "
		    "%" PRIu64 " rewritten, %" PRIu64 " refused, %" PRIu64
		    " held now</p>\n",
		    PGTANDEM_VERSION, s.clients, s.statements, s.rewritten,
		    s.refused, s.held);
	if (atomic_load(&g->admin->paused))
		buf_put_fmt(g->buf, "<p class=\"bad\">Paused: new transactions "
				    "wait for RESUME.</p>\n");
	if (atomic_load(&g->admin->stopping))
		buf_put_fmt(g->buf, "<p class=\"bad\">Shutting down.</p>\n");
}

void http_status_write(struct admin *a, struct buf *b)
{
	struct page g = {.admin = a, .buf = b};
	struct view_rows all;
	struct problem p;

	arena_init(&g.arena);
	buf_put(b, head, sizeof(head) - 1);
	buf_put_fmt(b,
		    "<meta http-equiv=\"refresh\" content=\"%d\">\n"
		    "</head>\n<body>\n",
		    REFRESH_S);
	put_summary(&g);
	if (!view_collect(a->control, VIEW_MIGRATIONS, NULL, &g.arena, &all,
			  &p))
		put_note(b, &p);
	for (size_t i = 0; i < all.n; i++)
		put_migration(&g, &all, i);
	buf_put_fmt(b, "</body>\n</html>\n");
	arena_free(&g.arena);
}

#include "daemon/net/gather.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/net/conn.h"

enum { MADE_KEEP = 64 * 1024 };

void gather_init(struct gather *g)
{
	g->n = 0;
	g->bytes = 0;
	g->made_used = 0;
	g->to = NULL;
	buf_init(&g->made, 0);
}

void gather_free(struct gather *g)
{
	buf_free(&g->made);
}

void gather_to(struct gather *g, struct conn *c)
{
	assert(g->n == 0);
	g->to = c;
}

void gather_ref(struct gather *g, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	if (len == 0)
		return;
	g->bytes += len;
	if (g->n > 0 && g->segment[g->n - 1].at != NULL &&
	    g->segment[g->n - 1].at + g->segment[g->n - 1].len == at) {
		g->segment[g->n - 1].len += len;
		return;
	}
	if (g->n == GATHER_SEGMENTS) {
		gather_flush(g);
		g->bytes = len;
	}
	g->segment[g->n].at = at;
	g->segment[g->n].len = len;
	g->n++;
}

struct buf *gather_made(struct gather *g)
{
	if (g->n == GATHER_SEGMENTS)
		gather_flush(g);
	return &g->made;
}

void gather_made_done(struct gather *g)
{
	size_t len = buf_len(&g->made) - g->made_used;

	if (g->made.failed)
		abort(); /* sized by our own texts, not by the wire */
	if (len == 0)
		return;
	g->segment[g->n].at = NULL;
	g->segment[g->n].offset = g->made_used;
	g->segment[g->n].len = len;
	g->n++;
	g->bytes += len;
	g->made_used += len;
}

void gather_flush(struct gather *g)
{
	uv_buf_t bufs[GATHER_SEGMENTS];
	const uint8_t *made = g->made.data == NULL ? NULL : buf_bytes(&g->made);

	for (unsigned i = 0; i < g->n; i++) {
		const uint8_t *at = g->segment[i].at;

		if (at == NULL)
			at = made + g->segment[i].offset;
		/* uv_buf_t is not const; the bytes are only read. */
		bufs[i].base = (char *)(uintptr_t)at;
		bufs[i].len = g->segment[i].len;
	}
	if (g->n > 0 && g->to != NULL)
		conn_write(g->to, bufs, g->n);
	g->n = 0;
	g->bytes = 0;
	if (g->made_used > 0) {
		buf_clear(&g->made);
		buf_shrink(&g->made, MADE_KEEP);
		g->made_used = 0;
	}
}

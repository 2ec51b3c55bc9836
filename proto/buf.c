#include "proto/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Smaller steps would only buy calls to realloc. */
#define CAP_MIN 256

/* What PostgreSQL can read back: the length is a positive Int32. */
#define LENGTH_MAX 0x7fffffff

void buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf){.limit = limit};
}

void buf_free(struct buf *b)
{
	free(b->data);
	buf_init(b, b->limit);
}

void buf_clear(struct buf *b)
{
	b->start = 0;
	b->end = 0;
	b->failed = false;
}

void buf_shrink(struct buf *b, size_t keep)
{
	if (buf_len(b) > 0 || b->cap <= keep)
		return;
	free(b->data);
	b->data = NULL;
	b->start = 0;
	b->end = 0;
	b->cap = 0;
}

static void buf_compact(struct buf *b)
{
	size_t len = buf_len(b);

	if (!b->data || b->start == 0)
		return;
	memmove(b->data, b->data + b->start, len);
	b->start = 0;
	b->end = len;
}

/* Doubling keeps the copying linear; the limit caps what a peer can cause. */
static bool buf_grow(struct buf *b, size_t need)
{
	size_t cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
	uint8_t *data;

	if (cap < CAP_MIN)
		cap = CAP_MIN;
	if (cap < need)
		cap = need;
	if (b->limit > 0 && cap > b->limit)
		cap = b->limit;
	data = realloc(b->data, cap);
	if (!data)
		return false;
	b->data = data;
	b->cap = cap;
	return true;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t max = b->limit > 0 ? b->limit : SIZE_MAX;

	if (b->failed)
		return NULL;
	if (b->data && n <= b->cap - b->end)
		return b->data + b->end;
	if (n > max - buf_len(b)) {
		b->failed = true;
		return NULL;
	}
	buf_compact(b);
	if ((!b->data || n > b->cap - b->end) && !buf_grow(b, b->end + n)) {
		b->failed = true;
		return NULL;
	}
	return b->data + b->end;
}

void buf_added(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->end);
	b->end += n;
}

void buf_put(struct buf *b, const void *bytes, size_t n)
{
	uint8_t *p;

	if (n == 0)
		return;
	p = buf_reserve(b, n);
	if (!p)
		return;
	memcpy(p, bytes, n);
	b->end += n;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
	uint8_t be[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	buf_put(b, be, sizeof(be));
}

static void store_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void buf_put_u32(struct buf *b, uint32_t v)
{
	uint8_t be[4];

	store_u32(be, v);
	buf_put(b, be, sizeof(be));
}

void buf_put_cstr(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s) + 1);
}

void buf_put_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	uint8_t *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	/* vsnprintf also writes a NUL, which is not kept. */
	p = buf_reserve(b, (size_t)n + 1);
	if (!p)
		return;
	va_start(ap, fmt);
	vsnprintf((char *)p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->end += (size_t)n;
}

void buf_drain(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->start += n;
	/* Empty: going back to the front costs nothing and saves a move. */
	if (b->start == b->end) {
		b->start = 0;
		b->end = 0;
	}
}

size_t buf_message_begin(struct buf *b, char type)
{
	size_t mark;

	if (type)
		buf_put_u8(b, (uint8_t)type);
	/* Counted from the first live byte: growing may move the bytes. */
	mark = buf_len(b);
	buf_put_u32(b, 0);
	return mark;
}

void buf_message_end(struct buf *b, size_t mark)
{
	size_t len;

	if (b->failed)
		return;
	assert(mark + 4 <= buf_len(b));
	len = buf_len(b) - mark;
	if (len > LENGTH_MAX) {
		b->failed = true;
		return;
	}
	store_u32(b->data + b->start + mark, (uint32_t)len);
}

/*
 * A growable byte buffer with a limit and a sticky failure flag.
 *
 * Owns its bytes.  Everything that a peer can make large is written through
 * one of these: write all of it, test `failed` once, and lose that session
 * only.  Must never know what the bytes mean.
 *
 * Invariant: start <= end <= cap <= limit, live bytes are data[start, end).
 * Once `failed` is set, every further write does nothing.
 */
#ifndef PROTO_BUF_H
#define PROTO_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned; NULL while cap is 0 */
	size_t start;  /* first live byte */
	size_t end;    /* one past the last live byte */
	size_t cap;
	size_t limit; /* cap never grows past this; 0 means no limit */
	bool failed;  /* a write did not fit or memory ran out */
};

/* Life.  buf_init allocates nothing; buf_free leaves an empty buffer. */
void buf_init(struct buf *b, size_t limit);
void buf_free(struct buf *b);  /* keeps the limit, clears failed */
void buf_clear(struct buf *b); /* keeps the memory, clears failed */
void buf_shrink(struct buf *b, size_t keep); /* if empty and cap > keep: free */

/* Use.  All integers go out in network byte order. */
/*
 * Room for n bytes behind the live ones, or NULL with failed set.  Moves the
 * live bytes to the front, then doubles: pointers into them are stale after
 * this and after every put.  In steady state nothing is allocated.
 */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n); /* n bytes written after reserve */
void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_cstr(struct buf *b, const char *s); /* with its NUL */
/* Without a NUL, but it needs the room of one. */
void buf_put_fmt(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buf_drain(struct buf *b, size_t n); /* drop n from the front */

/*
 * A protocol message: type byte (0: none, as in start-up), length, body.
 * buf_message_end writes the length; returns nothing, failure is sticky.
 * Nothing may be drained between the two: the mark counts from `start`.
 */
size_t buf_message_begin(struct buf *b, char type); /* mark for _end */
void buf_message_end(struct buf *b, size_t mark);

/* Inspect. */
static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

/* NULL before the first write. */
static inline const uint8_t *buf_bytes(const struct buf *b)
{
	return b->data ? b->data + b->start : NULL;
}

#endif

/*
 * Blocks of growing size, handed out from the front; the newest block serves
 * until it is full.  A request larger than a block gets one of its own.
 */
#include "config/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#endif
#ifdef ARENA_POISONS
/* What is not handed out is out of bounds for the sanitizer too. */
#include <sanitizer/asan_interface.h>
#define poison(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define poison(p, n)   ((void)(p), (void)(n))
#define unpoison(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGN = 16, FIRST_BLOCK = 4000, LARGEST_BLOCK = 256 * 1024 };

struct arena_block {
	struct arena_block *older;
	size_t size, used; /* of bytes */
	_Alignas(ALIGN) unsigned char bytes[];
};

void arena_init(struct arena *a)
{
	a->blocks = NULL;
	a->used = 0;
}

static void block_free(struct arena_block *b)
{
	unpoison(b->bytes, b->size);
	free(b);
}

/* The first block stays: a message's arena then costs no malloc. */
void arena_reset(struct arena *a)
{
	struct arena_block *b = a->blocks;

	while (b != NULL && b->older != NULL) {
		a->blocks = b->older;
		block_free(b);
		b = a->blocks;
	}
	if (b != NULL) {
		b->used = 0;
		poison(b->bytes, b->size);
	}
	a->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	if (a->blocks != NULL)
		block_free(a->blocks);
	arena_init(a);
}

static struct arena_block *block_add(struct arena *a, size_t n)
{
	size_t size = a->blocks ? a->blocks->size * 2 : FIRST_BLOCK;
	struct arena_block *b;

	if (size > LARGEST_BLOCK)
		size = LARGEST_BLOCK;
	if (size < n)
		size = n;
	b = malloc(sizeof(*b) + size);
	if (b == NULL)
		abort();
	b->older = a->blocks;
	b->size = size;
	b->used = 0;
	poison(b->bytes, size);
	a->blocks = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	size_t rounded = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	void *p;

	assert(n <= PTRDIFF_MAX - sizeof(*b) - ALIGN);
	if (b == NULL || b->size - b->used < rounded)
		b = block_add(a, rounded);
	p = b->bytes + b->used;
	b->used += rounded;
	a->used += rounded;
	unpoison(p, n);
	return memset(p, 0, n);
}

char *arena_dup(struct arena *a, const char *s, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (len > 0)
		memcpy(copy, s, len);
	return copy;
}

char *arena_str(struct arena *a, const char *s)
{
	return arena_dup(a, s, strlen(s));
}

char *arena_fmt(struct arena *a, const char *fmt, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	assert(len >= 0);
	text = arena_alloc(a, (size_t)len + 1);
	va_start(args, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, args);
	va_end(args);
	return text;
}

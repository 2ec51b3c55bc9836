/*
 * A region of memory that is given back as a whole.
 *
 * For the four lifetimes (process, snapshot, session, message): what is
 * allocated here is freed by arena_reset or arena_free and never by hand.
 * Running out of memory aborts: callers bound what a peer can ask for before
 * they come here.
 */
#ifndef CONFIG_ARENA_H
#define CONFIG_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks; /* owned, newest first */
	size_t used;		    /* bytes handed out since the last reset */
};

void arena_init(struct arena *a);
void arena_reset(struct arena *a); /* keeps the first block */
void arena_free(struct arena *a);

void *arena_alloc(struct arena *a, size_t n) /* zeroed, aligned to 16 */
    __attribute__((malloc, returns_nonnull));
char *arena_dup(struct arena *a, const char *s, size_t len) /* adds a NUL */
    __attribute__((returns_nonnull));
char *arena_str(struct arena *a, const char *s)
    __attribute__((returns_nonnull));
char *arena_fmt(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

#endif

/*
 * A text that grows piece by piece, for generated SQL.
 *
 * Owns nothing: the text lives in the arena that it was begun in, always
 * NUL-terminated.  Sizes come from specifications and catalogs, never from a
 * peer, so that running out of memory aborts as everywhere in an arena.
 */
#ifndef REWRITE_SQLTEXT_H
#define REWRITE_SQLTEXT_H

#include <stddef.h>

#include "config/arena.h"

struct sqltext {
	struct arena *a; /* borrowed */
	char *s;	 /* "" until something is put */
	size_t len, cap;
};

void sqltext_begin(struct sqltext *t, struct arena *a);
void sqltext_put(struct sqltext *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The separator, unless nothing stands there yet; then the rest. */
void sqltext_item(struct sqltext *t, const char *separator, const char *fmt,
		  ...) __attribute__((format(printf, 3, 4)));

#endif

#include "rewrite/text/sqltext.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 256 };

void sqltext_begin(struct sqltext *t, struct arena *a)
{
	*t = (struct sqltext){.a = a, .cap = FIRST_CAP};
	t->s = arena_alloc(a, FIRST_CAP);
}

static void reserve(struct sqltext *t, size_t n)
{
	char *bigger;

	if (t->len + n < t->cap)
		return;
	while (t->len + n >= t->cap)
		t->cap *= 2;
	bigger = arena_alloc(t->a, t->cap);
	memcpy(bigger, t->s, t->len + 1);
	t->s = bigger;
}

__attribute__((format(printf, 2, 0))) static void
put(struct sqltext *t, const char *fmt, va_list args)
{
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		abort();
	reserve(t, (size_t)n);
	vsnprintf(t->s + t->len, (size_t)n + 1, fmt, args);
	t->len += (size_t)n;
}

void sqltext_put(struct sqltext *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	put(t, fmt, args);
	va_end(args);
}

void sqltext_item(struct sqltext *t, const char *separator, const char *fmt,
		  ...)
{
	va_list args;

	if (t->len > 0)
		sqltext_put(t, "%s", separator);
	va_start(args, fmt);
	put(t, fmt, args);
	va_end(args);
}

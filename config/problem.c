#include "config/problem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void fill(char *text, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

static void fill(char *text, size_t size, const char *fmt, va_list args)
{
	size_t end = size - 1;
	int len = vsnprintf(text, size, fmt, args);

	if (len < 0)
		text[0] = '\0';
	if (len < 0 || (size_t)len < size)
		return;
	/* Half a character at the cut would not be UTF-8: it goes whole. */
	while (end > 0 && ((unsigned char)text[end - 1] & 0xC0) == 0x80)
		end--;
	if (end > 0 && ((unsigned char)text[end - 1] & 0xC0) == 0xC0)
		text[end - 1] = '\0';
}

bool problem_set(struct problem *p, const char *sqlstate, const char *fmt, ...)
{
	va_list args;

	assert(strlen(sqlstate) == 5);
	memcpy(p->sqlstate, sqlstate, sizeof(p->sqlstate));
	p->position = 0;
	p->detail[0] = '\0';
	p->hint[0] = '\0';
	va_start(args, fmt);
	fill(p->message, sizeof(p->message), fmt, args);
	va_end(args);
	return false;
}

void problem_detail(struct problem *p, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fill(p->detail, sizeof(p->detail), fmt, args);
	va_end(args);
}

void problem_hint(struct problem *p, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fill(p->hint, sizeof(p->hint), fmt, args);
	va_end(args);
}

void problem_print(const struct problem *p, char *ret_text, unsigned size)
{
	const char *detail = p->detail[0] ? "\nDETAIL: " : "";
	const char *hint = p->hint[0] ? "\nHINT: " : "";

	snprintf(ret_text, size, "%s%s%s%s%s", p->message, detail, p->detail,
		 hint, p->hint);
}

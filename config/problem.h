/*
 * Their mistake, told once: what a peer, a statement or a file did wrong.
 *
 * Filled where the cause is known, carried up unchanged, and turned into an
 * ErrorResponse, a log line or a command's output in one place each.  Holds
 * its text itself, so that it may outlive whatever it speaks of.
 */
#ifndef CONFIG_PROBLEM_H
#define CONFIG_PROBLEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

struct problem {
	char sqlstate[6];  /* "0A000"; never empty once filled */
	uint32_t position; /* in the statement's characters, from 1; or 0 */
	char message[512]; /* what happened; cut, never overrun */
	char detail[1024]; /* why; "" if there is nothing to add */
	char hint[512];	   /* what to do */
};

/* Sets SQLSTATE and message, empties the rest; returns false, so that a
 * function may end with `return problem_set(...)`. */
bool problem_set(struct problem *p, const char *sqlstate, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void problem_detail(struct problem *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void problem_hint(struct problem *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* As "MESSAGE\nDETAIL: ...\nHINT: ...", for the terminal and the log. */
void problem_print(const struct problem *p, char *ret_text, unsigned size);

#endif

/*
 * Decode a message, write it once more: the same bytes must come out.
 *
 * One entry per decoder, for the unit tests and the fuzz target alike.  The
 * writing goes through the decoded fields alone wherever they carry all of
 * the message.
 */
#ifndef TESTS_UNIT_AGAIN_H
#define TESTS_UNIT_AGAIN_H

#include "proto/buf.h"
#include "proto/frame.h"

struct again {
	char key;	  /* names the entry in tables and seed files */
	bool open_ended;  /* the last field takes what is left */
	const char *name; /* the message */
	/* False if the body is refused, else `out` holds what it decodes to,
	 * as a whole message (with no type byte for a start-up packet). */
	bool (*run)(const struct frame *f, struct buf *out);
};

extern const struct again again_table[];
extern const size_t again_count;

const struct again *again_find(char key); /* NULL if there is none */

#endif

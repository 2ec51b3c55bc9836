/*
 * Edits of a text at byte ranges, and the text that they make.
 *
 * Owns nothing but a list in the message's arena.  What is not edited stays
 * byte for byte; that is why comments, hints and parameters survive.
 */
#ifndef REWRITE_EDIT_H
#define REWRITE_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "rewrite/rewrite.h"

struct edit {
	uint32_t from, removed;
	uint32_t order;	  /* insertions at one place: as they were made */
	const char *text; /* borrowed from the arena; NULL: a copy */
	uint32_t copy_from, copy_to;
};

struct edits {
	struct arena *a;
	size_t n, room;
	struct edit *v;
};

void edits_init(struct edits *e, struct arena *a);
void edit_insert(struct edits *e, uint32_t at, const char *text);
void edit_replace(struct edits *e, uint32_t from, uint32_t to,
		  const char *text);
/* Inserts the text of [from, to), with what is edited inside it, copies too,
 * at `at`, which is not inside it. */
void edit_copy(struct edits *e, uint32_t at, uint32_t from, uint32_t to);

/* Fills text, len, edits and n_edits of the plan.  False when two edits
 * overlap: then nothing is written. */
bool edits_apply(struct edits *e, const char *sql, size_t len, struct plan *ret)
    __attribute__((warn_unused_result));

#endif

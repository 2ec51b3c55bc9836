/*
 * A control view's rows, collected, for those who look at them more than
 * once: metrics, the status page, gates of single commands.
 */
#ifndef DAEMON_ADMIN_VIEW_H
#define DAEMON_ADMIN_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "config/arena.h"
#include "daemon/phase/control.h"

struct view_rows {
	struct arena *arena; /* borrowed: holds everything below */
	size_t n_columns;
	const char *const *columns;
	size_t n, cap;
	const char *const **rows; /* n rows of n_columns values */
};

bool view_collect(struct control *c, enum control_view v, const char *migration,
		  struct arena *a, struct view_rows *ret, struct problem *p)
    __attribute__((warn_unused_result));

/* A value by its column's name; NULL if it is NULL or there is no such
 * column. */
const char *view_get(const struct view_rows *v, size_t row, const char *column);

/* The row whose `column` is `value`; false if there is none. */
bool view_find(const struct view_rows *v, const char *column, const char *value,
	       size_t *ret_row) __attribute__((warn_unused_result));

#endif

/*
 * All metrics, as one table: /metrics and SHOW STATS both read it.
 */
#ifndef DAEMON_ADMIN_METRICS_H
#define DAEMON_ADMIN_METRICS_H

#include <stdbool.h>

#include "config/problem.h"
#include "daemon/admin/admin.h"
#include "proto/buf.h"

struct metric_sample {
	const char *name, *type, *help;
	const char *labels; /* `{migration="m",database="d"}`, or "" */
	const char *value;  /* a number */
};

/* Samples of one metric come one behind the other.  Fails if a view of the
 * control side cannot be read; nothing is told then. */
typedef void (*metric_fn)(void *arg, const struct metric_sample *s);
bool metrics_each(struct admin *admin, metric_fn fn, void *arg,
		  struct problem *p) __attribute__((warn_unused_result));

/* Prometheus's text exposition format, version 0.0.4. */
bool metrics_write(struct admin *admin, struct buf *b, struct problem *p)
    __attribute__((warn_unused_result));

#endif

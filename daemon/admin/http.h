/*
 * The admin port's pages: /metrics, /healthz, /readyz and / (status).
 *
 * Owns the HTTP library's threads.  Read only, and generated whole for each
 * request: no state, no assets.  Connections are accepted elsewhere and
 * handed over.
 */
#ifndef DAEMON_ADMIN_HTTP_H
#define DAEMON_ADMIN_HTTP_H

#include <stdbool.h>

#include "config/problem.h"
#include "daemon/admin/admin.h"

struct http;

bool http_start(struct admin *a, struct http **ret, struct problem *p)
    __attribute__((warn_unused_result));
/* Takes over an accepted, non-blocking socket from which nothing has been
 * read. */
void http_adopt(struct http *h, int fd);
void http_stop(struct http *h); /* ends every connection; NULL is fine */

#endif

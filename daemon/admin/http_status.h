/*
 * The status page: where each migration stands, for a person.
 *
 * Made whole on the server from the control side's views; every value is
 * escaped.
 */
#ifndef DAEMON_ADMIN_HTTP_STATUS_H
#define DAEMON_ADMIN_HTTP_STATUS_H

#include "daemon/admin/admin.h"
#include "proto/buf.h"

void http_status_write(struct admin *a, struct buf *b);

#endif

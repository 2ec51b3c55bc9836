/*
 * RowDescriptions of statements that run on the new model: where the columns
 * come from, told as the old one has it.  Pure: bytes of one message, in
 * place, and what the plan knows (rewrite/read/origin.h).
 */
#ifndef DAEMON_NET_ORIGINS_H
#define DAEMON_NET_ORIGINS_H

#include <stdint.h>

struct plan_origins;

/* `body` is that of a RowDescription, found sound before, of whose columns
 * the client is to see the first `n`. */
void origins_apply(const struct plan_origins *o, uint8_t *body, uint16_t n);

#endif

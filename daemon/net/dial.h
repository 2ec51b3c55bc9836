/*
 * Getting a connection to the server: resolves the name, tries each address.
 *
 * Owns the attempt until `done` is called, once, or dial_cancel.
 */
#ifndef DAEMON_NET_DIAL_H
#define DAEMON_NET_DIAL_H

#include "config/settings.h"
#include "daemon/net/conn.h"

struct dial;

/* `c` is connected, and the owner's from here on (its ops and owner are set
 * by the owner); or NULL, and `why` says why. Never called from inside
 * dial_start. */
typedef void (*dial_done_fn)(void *owner, struct conn *c, const char *why);

struct dial *dial_start(struct worker *w, const struct settings *settings,
			dial_done_fn done, void *owner);
void dial_cancel(struct dial *d); /* done will not be called */

#endif

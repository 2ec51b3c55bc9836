/*
 * Which databases and migrations there are: from settings to what is held in
 * memory, at start and at every reload.
 */
#ifndef DAEMON_PHASE_CONFIGURE_H
#define DAEMON_PHASE_CONFIGURE_H

#include "daemon/phase/migration.h"

/*
 * Takes `settings` into force: connects to each database with new or changed
 * specifications, makes or reads its state, and checks one against the other.
 * All or nothing; on success the control side holds a reference of its own.
 */
bool configure(struct control *c, struct settings *settings, struct problem *p)
    __attribute__((warn_unused_result));

#endif

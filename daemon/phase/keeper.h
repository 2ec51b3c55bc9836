/*
 * The keeper: one thread per database that keeps its instance honest.
 *
 *   - confirms the epochs with the database and moves the lease, so that
 *     statements on relations under migration are refused when it cannot
 *   - adopts what other instances and clients' DDL have changed (NOTIFY
 *     pgtandem, and a look every second)
 *   - holds the shared advisory lock of (migration, epoch), from which a
 *     mover sees that no instance is behind
 *   - starts the walks that are due, and writes down their end
 *   - writes down when the old shape was last used
 */
#ifndef DAEMON_PHASE_KEEPER_H
#define DAEMON_PHASE_KEEPER_H

#include "daemon/phase/migration.h"

void keeper_start(struct database *d);
/* control.stopping must be set; wakes and joins the thread. */
void keeper_join(struct database *d);

#endif

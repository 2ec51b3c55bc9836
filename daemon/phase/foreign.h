/*
 * The validation of foreign keys that a move has added.
 *
 * They are added NOT VALID, which needs no look at the rows and holds for all
 * that is written from then on; looking takes long and locks nobody out, so
 * it comes after the move.
 */
#ifndef DAEMON_PHASE_FOREIGN_H
#define DAEMON_PHASE_FOREIGN_H

#include "daemon/phase/job.h"

/* Every one that the state knows as unvalidated; true if none is left. */
bool foreign_validate(struct job *j, struct problem *p)
    __attribute__((warn_unused_result));

#endif

/*
 * The daemon's life: start, signals, drain, end.
 *
 * Owns main's loop, in which the admin port lives; everything else has its
 * own threads.
 */
#ifndef DAEMON_SERVE_H
#define DAEMON_SERVE_H

#include <stdbool.h>

/* Runs until it is told to stop; false if it could not start. */
bool serve(const char *config);

#endif

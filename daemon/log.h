/*
 * The log: one line per event on standard error, text or JSON, any thread.
 *
 * The one file-scope state of the program.  Every line says what happened, to
 * which session or migration, in which phase, and what to do where something
 * can be done.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include "config/settings.h"

void log_setup(enum log_level level, enum log_format format);
enum log_level log_current_level(void);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

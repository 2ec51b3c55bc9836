/*
 * libpq's connection strings, `key=value key='quoted value'`, as far as the
 * configuration must look into them.
 *
 * libpq itself is the daemon's: here only the keys are looked at, by the
 * grammar of the libpq documentation, "Connection Strings".
 */
#ifndef CONFIG_CONNINFO_H
#define CONFIG_CONNINFO_H

#include "config/arena.h"

/* What is wrong with it as the `control` setting ("names host, ..."), or
 * NULL.  Never repeats the string: it may hold a password. */
const char *conninfo_check(const char *conninfo, struct arena *a);

/* A copy with every password's value masked. */
const char *conninfo_mask(const char *conninfo, struct arena *a);

#endif

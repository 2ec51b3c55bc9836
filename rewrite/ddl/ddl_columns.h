/*
 * Kind columns, shared by the files that make its moves (ddl_columns*.c).
 */
#ifndef REWRITE_DDL_COLUMNS_H
#define REWRITE_DDL_COLUMNS_H

#include "rewrite/ddl/ddl_part.h"

/* Is new column i one that the table gets? */
bool columns_is_added(const struct lens *l, size_t i);
/* Names, quoted. */
const char *columns_new(const struct lens *l, size_t i, struct arena *a);
const char *columns_old(const struct lens *l, size_t i, struct arena *a);

#endif

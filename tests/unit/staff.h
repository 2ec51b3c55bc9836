/*
 * A table of which one column becomes rows of a child table, for the tests of
 * what is made for a lens of that kind.
 */
#ifndef TESTS_UNIT_STAFF_H
#define TESTS_UNIT_STAFF_H

#include "rewrite/lens/lens.h"

/* employees.store_id to employeestores; NULL when it does not compile. */
const struct lens *staff_lens(struct arena *a);

/* Fails the test unless the text is SQL. */
void staff_parses(const char *sql);

#endif

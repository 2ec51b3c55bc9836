/*
 * What a server needs before the statement cases of one model can run on it,
 * as lines of JSON for check_against_server.  Knows no case.
 */
#ifndef TESTS_CASES_SETUP_H
#define TESTS_CASES_SETUP_H

#include "tests/cases/model.h"

/*
 * Lines: {"base": [SQL]} makes the old model; per phase {"enter": phase,
 * "ddl": [SQL]}; per lens {"fill": SQL, "old": SQL, "shown": SQL}: makes new
 * equal to old, reads the old relation, reads it through the lens.
 */
void setup_print(const struct model *m, struct arena *a);

#endif

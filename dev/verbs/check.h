/* Comparing one run with an expectation. */
#ifndef CHECK_H
#define CHECK_H
#include "expect.h"

/* Prints the comparison as a table. 1: every number is inside and the settings are the same; 0: not; -1: the run could
 * not be compared (*e). */
int check_run(FILE *f, const struct expectation *x, const struct run_files *r, struct error *e);

#endif

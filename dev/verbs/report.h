/* The figures of a run. */
#ifndef REPORT_H
#define REPORT_H
#include "../../model/base/error.h"

/* Reads log.jsonl, eval.jsonl (may be missing) and recipe.ini of a run directory and writes curves.svg there, and
 * curves.png when the build can. A log whose last line was cut off by a crash is good up to there. */
int report_curves(const char *run_dir, struct error *e);

#endif

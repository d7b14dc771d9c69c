/* CISPO: short names of the bounds. */
#include "../method.h"

static const char *const alias[] = {"lo", "cispo_lo", "hi", "cispo_hi", NULL};

const struct method method_cispo = {.name = "cispo", .alias = alias};

/* RLOO-LP is trained with leave one out only. */
#include "../method.h"

static const char *const alias[] = {"estimator", "", NULL};

const struct method method_rloo_lp = {.name = "rloo_lp", .alias = alias};

/* Dr. GRPO: the paper's spelling of its constant. */
#include "../method.h"

static const char *const alias[] = {"L_max", "l_max", NULL};

const struct method method_dr_grpo = {.name = "dr_grpo", .alias = alias};

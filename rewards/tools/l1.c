/* L1's targets stand on the samples: positive to be met, negative a budget. */
#include "../method.h"

static const struct datum data[] = {{"target", DATUM_COMPONENT, "target", LEVEL_SEQUENCE, NULL}, {0}};

const struct method method_l1 = {.name = "l1", .data = data};

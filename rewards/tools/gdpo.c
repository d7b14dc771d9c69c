/* GDPO's sums before they are whitened over the step. */
#include "../method.h"

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    json_object_set_new(c->answer, "pre_bn",
                        method_samples(c->b, c->b->component[batch_find_component(c->b, "gdpo")].value));
    return 0;
}

const struct method method_gdpo = {.name = "gdpo", .extra = extra};

/* DAPO: what the length of each response cost. */
#include "../method.h"

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    int at = batch_find_component(b, "overlong");
    if (at >= 0)
        json_object_set_new(c->answer, "overlong", method_samples(b, b->component[at].value));
    return 0;
}

static const char *const alias[] = {"L_max", "l_max", "L_cache", "l_cache", NULL};

const struct method method_dapo = {.name = "dapo", .alias = alias, .extra = extra};

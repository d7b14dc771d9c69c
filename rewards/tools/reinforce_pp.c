/* REINFORCE++: the returns before they are whitened. */
#include "../method.h"

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    json_object_set_new(c->answer, "returns", method_tokens(c->b, c->b->token_reward));
    return 0;
}

const struct method method_reinforce_pp = {.name = "reinforce_pp", .extra = extra};

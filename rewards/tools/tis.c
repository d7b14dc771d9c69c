/* Truncated importance sampling: the weight of each token. The advantages of the answer are those before weighting. */
#include "../method.h"

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const struct batch *b = c->b;
    int weight = batch_find_component(b, "tis"), before = batch_find_component(b, "unweighted");
    json_object_set_new(c->answer, "is_weight", method_tokens(b, b->component[weight].value));
    for (int i = 0; i < b->samples; i++) {
        json_t *list = json_array();
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            json_array_append_new(list, method_real(b->component[before].value[t]));
        json_object_set_new(method_sample(c, i), "advantage", list);
    }
    return 0;
}

const struct method method_tis = {.name = "tis", .extra = extra};

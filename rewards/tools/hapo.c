/* HAPO's memory: the record of a prompt and how many right answers are behind it, before and after. */
#include "../method.h"

/* The stage of the phase that remembers. */
static struct state *history(const struct phase *p)
{
    for (int i = 0; i < p->stages; i++)
        if (p->stage[i].state[0].row && p->stage[i].stage->kind == STAGE_SHAPE)
            return (struct state *)&p->stage[i].state[0];
    return NULL;
}

static int before(struct method_call *c, struct error *e)
{
    const json_t *groups = json_object_get(c->input, "groups");
    for (int g = 0; g < c->b->groups; g++) {
        const json_t *group = json_array_get(groups, (size_t)g);
        double *to = state_at(history(c->phase), batch_prompt(c->b, g)), record;
        long count;
        if (json_get_number(group, "history", 0, &record, e) ||
            json_get_int(group, "history_count", 0, 1L << 40, record > 0, &count, e))
            return fail_in(e, "groups[%d]", g);
        to[0] = record;
        to[1] = (double)count;
    }
    return 0;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    json_t *after = json_array();
    for (int g = 0; g < c->b->groups; g++) {
        const double *at = state_find(history(c->phase), batch_prompt(c->b, g));
        json_array_append_new(after, at && at[1] > 0 ? method_real(at[0]) : json_null());
    }
    json_object_set_new(c->answer, "history", after);
    return 0;
}

const struct method method_hapo = {.name = "hapo", .before = before, .extra = extra};

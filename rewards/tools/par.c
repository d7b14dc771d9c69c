/* PAR: scores of reference answers and running statistics in; the statistics and the scores that were shaped out. */
#include "../method.h"
#include <math.h>

static const struct datum data[] = {{"rm", DATUM_COMPONENT, "rm", LEVEL_SEQUENCE, "proxy"},
                                    {"rm", DATUM_COMPONENT, "rm", LEVEL_SEQUENCE, "process"},
                                    {0}};
static const char *const alias[] = {"M", "max_ref", NULL};
enum { STATS = 5 };
static const char *const names[STATS] = {"n", "mean", "m2", "min", "max"};
static const double none_yet[STATS] = {0, 0, 0, 1e4, -1e4}; /* as the authors' program begins */

static int read_references(struct method_call *c, int g, const json_t *list, struct error *e)
{
    struct state *s = method_state(c, "references");
    if (!json_is_array(list) || (int)json_array_size(list) >= s->row->width)
        return fail(e, "groups[%d]: \"ref_rewards\" must be an array of at most %d numbers", g, s->row->width - 1);
    double *to = state_at(s, batch_prompt(c->b, g));
    for (size_t m = 0; m < json_array_size(list); m++) {
        if (!json_is_number(json_array_get(list, m)))
            return fail(e, "groups[%d]: ref_rewards[%zu] is no number", g, m);
        to[1 + m] = json_number_value(json_array_get(list, m));
    }
    to[0] = (double)json_array_size(list);
    return 0;
}

static int before(struct method_call *c, struct error *e)
{
    const json_t *groups = json_object_get(c->input, "groups"), *stats = json_object_get(c->params, "stats");
    for (int g = 0; g < c->b->groups; g++) {
        const json_t *list = json_object_get(json_array_get(groups, (size_t)g), "ref_rewards");
        if (list && !json_is_null(list) && read_references(c, g, list, e))
            return -1;
    }
    if (!json_is_object(stats))
        return 0;
    double *running = state_at(method_state(c, "running"), 0);
    for (int k = 0; k < STATS; k++)
        if (json_get_number(stats, names[k], none_yet[k], &running[k], e))
            return fail_in(e, "stats");
    return 0;
}

static int extra(struct method_call *c, struct error *e)
{
    (void)e;
    const double *running = state_find(method_state(c, "running"), 0);
    json_t *stats = json_object();
    for (int k = 0; k < STATS; k++) {
        double x = running ? running[k] : none_yet[k];
        json_object_set_new(stats, names[k], k ? method_real(x) : json_integer((json_int_t)x));
    }
    json_object_set_new(c->answer, "stats", stats);
    json_object_set_new(c->answer, "raw", method_samples(c->b, batch_given(c->b, "raw", LEVEL_SEQUENCE)));
    return 0;
}

const struct method method_par = {.name = "par", .alias = alias, .data = data, .before = before, .extra = extra};

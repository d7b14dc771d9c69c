/* FAPO's schedule in figures, group by group, and the reward of its detector, which is trained by a recipe of its own.
 */
#include "../method.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>

static const struct datum data[] = {{"flawed", DATUM_COMPONENT, "flawed", LEVEL_SEQUENCE, "process"}, {0}};

/* Fractions of clean right, wrong and flawed right answers of a group; where their ratio turns flawed ones. */
static json_t *group_figures(const struct method_call *c, int g)
{
    const struct batch *b = c->b;
    const double *flawed = b->component[batch_find_component(b, "flawed")].value;
    double lambda = method_number(c, "lambda"), used = method_number(c, "use_penalty") != 0 ? lambda : 0;
    double right = method_number(c, "reward_correct"), wrong = method_number(c, "reward_wrong");
    double n = b->group_first[g + 1] - b->group_first[g], clean = 0, bad = 0, mean = 0, square = 0;
    for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
        int is_right = b->strict[i] == 1, is_bad = is_right && flawed[i] > 0.5;
        double r = is_right ? right - (is_bad ? used : 0) : wrong;
        clean += is_right && !is_bad;
        bad += is_bad;
        mean += r / n;
        square += r * r / n;
    }
    json_t *o = json_object();
    json_object_set_new(o, "alpha", method_real(clean / n));
    json_object_set_new(o, "beta", method_real((n - clean - bad) / n));
    json_object_set_new(o, "gamma", method_real(bad / n));
    json_object_set_new(o, "mean", method_real(mean));
    json_object_set_new(o, "std_pop", method_real(sqrt(fmax(square - mean * mean, 0))));
    json_object_set_new(o, "rho", method_real(clean / (n - clean - bad)));
    json_object_set_new(o, "flip_rho", method_real(2 / lambda - 1));
    json_object_set_new(o, "std_rho", method_real(4 / lambda - 1));
    if (bad > 0)
        json_object_set_new(o, "flawed_centred_reward", method_real(right - used - mean));
    return o;
}

/* Detector: the first wrong step of n (-1: none) was predicted. Invalid predictions and misses cost 1. */
static double detector_reward(long predicted, long gold, long n)
{
    int valid = predicted >= -1 && predicted < n;
    if (!valid || (gold < 0) != (predicted < 0))
        return -1;
    return gold < 0 ? 1 : 1 - labs(predicted - gold) / (double)n;
}

static int add_detector(struct method_call *c, struct error *e)
{
    const json_t *list = json_object_get(c->input, "genrm");
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        long predicted, gold, n;
        if (json_get_int(x, "pred", LONG_MIN / 2, LONG_MAX / 2, -2, &predicted,
                         e) || /* null: unparsed, as out of range */
            json_need_int(x, "n_steps", 0, 1 << 30, &n, e) ||
            json_need_int(x, "gold", -1, n - 1, &gold, e)) {
            json_decref(out);
            return fail_in(e, "genrm[%zu]", i);
        }
        json_t *o = json_object();
        json_object_set_new(o, "reward", method_real(detector_reward(predicted, gold, n)));
        json_array_append_new(out, o);
    }
    json_object_set_new(c->answer, "genrm", out);
    return 0;
}

static int extra(struct method_call *c, struct error *e)
{
    json_t *groups = json_array();
    for (int g = 0; g < c->b->groups && batch_find_component(c->b, "flawed") >= 0; g++)
        json_array_append_new(groups, group_figures(c, g));
    json_object_set_new(c->answer, "fapo", groups);
    return json_object_get(c->input, "genrm") ? add_detector(c, e) : 0;
}

const struct method method_fapo = {.name = "fapo", .data = data, .extra = extra};

/* The part of a trace about distributions: where the gradient of the logits is largest, the probabilities of the next
 * token before and after the update.
 */
#include "trace.h"
#include "micro.h"
#include <math.h>
#include <string.h>

enum { MOVES = 5 }; /* tokens shown that gained most, and that lost most */

/* The entry of the micro-batch where the gradient of the logits is largest, apart from those chosen already and from
 * those whose distribution is one of theirs. -1: none has any. d loss / d logit = d loss / d logp (onehot - p), whose
 * largest element is d loss / d logp (1 - p). */
static int next_entry(const struct trace *x, const struct trainer *t)
{
    const struct micro *u = &t->worker->micro;
    const double *logp = trainer_values(t, "policy", "logp"), *grad = trainer_channel(t, "policy", "logp")->grad;
    double largest = 0;
    int best = -1;
    for (int j = 0; j < u->entries; j++) {
        int k = u->entry_token[j], same = 0;
        for (int c = 0; c < x->entries; c++)
            same |= u->entry_row[x->entry[c]] == u->entry_row[j];
        double size = fabs(grad[k]) * -expm1(logp[k]);
        if (!same && size > largest) {
            largest = size;
            best = j;
        }
    }
    return best;
}

static void choose_entries(struct trace *x, const struct trainer *t)
{
    x->entries = 0;
    x->entry = mem_alloc((size_t)x->positions, sizeof *x->entry);
    for (int j; x->entries < x->positions && (j = next_entry(x, t)) >= 0; x->entries++)
        x->entry[x->entries] = j;
    for (int i = 1; i < x->entries; i++) /* in the order of the text */
        for (int k = i; k > 0 && x->entry[k] < x->entry[k - 1]; k--) {
            int other = x->entry[k];
            x->entry[k] = x->entry[k - 1];
            x->entry[k - 1] = other;
        }
}

/* Logits of the chosen entries after forward_group: [entries][V]. */
static double *chosen_logits(const struct trace *x, struct trainer *t)
{
    const struct micro *u = &t->worker->micro;
    int n = x->entries, all[2] = {0, n};
    double *logits = mem_alloc((size_t)n * t->s.arch.V, sizeof *logits);
    int32_t *row = mem_alloc(2 * (size_t)n, sizeof *row), *target = row + n;
    double *temperature = mem_alloc((size_t)n, sizeof *temperature);
    for (int c = 0; c < n; c++) {
        row[c] = u->entry_row[x->entry[c]];
        target[c] = u->entry_target[x->entry[c]];
        temperature[c] = 1;
    }
    layout_entries(&t->worker->layout, n, row, target, temperature, NULL, NULL, all, 1);
    if (n)
        model_logits(&t->s.policy, &t->worker->tape, &t->worker->layout, logits);
    mem_free(row);
    mem_free(temperature);
    return logits;
}

/* Probabilities of logits at a temperature over the support: 0 outside. */
static void probabilities(const double *logit, int V, double temperature, const int32_t *support, int supports,
                          double *p)
{
    double largest = -INFINITY, sum = 0;
    int n = supports ? supports : V;
    memset(p, 0, (size_t)V * sizeof *p);
    for (int i = 0; i < n; i++)
        largest = fmax(largest, logit[supports ? support[i] : i] / temperature);
    for (int i = 0; i < n; i++) {
        int id = supports ? support[i] : i;
        sum += p[id] = exp(logit[id] / temperature - largest);
    }
    for (int i = 0; i < V; i++)
        p[i] /= sum;
}

static json_t *pair(double before, double after)
{
    json_t *list = json_array();
    json_array_append_new(list, trace_real(before));
    json_array_append_new(list, trace_real(after));
    return list;
}

/* The MOVES tokens whose probability rose most (sign 1) or fell most (sign -1). */
static json_t *moved_list(const struct trainer *t, const double *z[2], const double *p[2], double sign)
{
    json_t *list = json_array();
    int shown[MOVES];
    for (int n = 0; n < MOVES; n++) {
        int best = -1;
        double largest = 0;
        for (int id = 0; id < t->s.arch.V; id++) {
            int again = 0;
            for (int k = 0; k < n; k++)
                again |= shown[k] == id;
            if (!again && sign * (p[1][id] - p[0][id]) > largest) {
                largest = sign * (p[1][id] - p[0][id]);
                best = id;
            }
        }
        if (best < 0)
            break;
        shown[n] = best;
        json_t *o = json_object();
        json_object_set_new(o, "id", json_integer(best));
        json_object_set_new(o, "piece", trace_piece(t, best));
        json_object_set_new(o, "logit", pair(z[0][best], z[1][best]));
        json_object_set_new(o, "p", pair(p[0][best], p[1][best]));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *move_object(const struct trace *x, const struct trainer *t, int c, const double *after)
{
    const struct batch *b = &t->batch;
    int V = t->s.arch.V, k = t->worker->micro.entry_token[x->entry[c]], i = b->group_first[x->group];
    const double *z[2] = {x->before + (size_t)c * V, after + (size_t)c * V};
    double *p = mem_alloc(2 * (size_t)V, sizeof *p);
    while (b->sample_first[i + 1] <= k)
        i++;
    int supports = b->max_support ? b->supports[k] : 0;
    for (int w = 0; w < 2; w++)
        probabilities(z[w], V, b->temperature[i], supports ? b->support + (size_t)k * b->max_support : NULL, supports,
                      p + (size_t)w * V);
    const double *both[2] = {p, p + V};
    json_t *o = json_object();
    json_object_set_new(o, "sample", json_integer(i - b->group_first[x->group]));
    json_object_set_new(o, "token", json_integer(k - b->sample_first[i]));
    json_object_set_new(o, "id", json_integer(b->id[k]));
    json_object_set_new(o, "piece", trace_piece(t, b->id[k]));
    json_object_set_new(o, "gradient", trace_real(trainer_channel(t, "policy", "logp")->grad[k]));
    json_object_set_new(o, "p", pair(both[0][b->id[k]], both[1][b->id[k]]));
    json_object_set_new(o, "up", moved_list(t, z, both, 1));
    json_object_set_new(o, "down", moved_list(t, z, both, -1));
    mem_free(p);
    return o;
}

void trace_choose(struct trace *x, struct trainer *t)
{
    choose_entries(x, t);
    x->before = chosen_logits(x, t);
}

json_t *trace_moves(struct trace *x, struct trainer *t)
{
    json_t *moves = json_array();
    double *after = chosen_logits(x, t);
    for (int c = 0; c < x->entries; c++)
        json_array_append_new(moves, move_object(x, t, c, after));
    mem_free(after);
    mem_free(x->entry);
    mem_free(x->before);
    x->entry = NULL;
    x->before = NULL;
    return moves;
}

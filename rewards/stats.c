/* Group statistics, loss aggregation, the clipped surrogate, KL estimates: the only place where they are written, so
 * that "mean", "std" and "token_mean" mean the same in every stage. Not here: which samples count (select) and what is
 * done with the numbers.
 */
#include "stage.h"
#include "../model/base/error.h"
#include "../model/base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_kept(const unsigned char *kept, int i)
{
    return !kept || kept[i];
}

int stat_count(const unsigned char *kept, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++)
        count += is_kept(kept, i);
    return count;
}

int kept_in_group(const struct batch *b, int group)
{
    int first = b->group_first[group];
    return stat_count(b->kept + first, b->group_first[group + 1] - first);
}

void drop_lone_samples(struct batch *b)
{
    for (int g = 0; g < b->groups; g++)
        if (kept_in_group(b, g) == 1)
            memset(b->kept + b->group_first[g], 0, (size_t)(b->group_first[g + 1] - b->group_first[g]));
}

int rewards_finite(const struct batch *b, const char *stage, struct error *e)
{
    for (int i = 0; i < b->samples; i++) {
        if (!b->kept[i])
            continue;
        if (!isfinite(b->reward[i]))
            return fail(e, "%s: the reward of sample %d is not a finite number", stage, i);
        for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
            if (b->trained[t] && !isfinite(b->token_reward[t]))
                return fail(e, "%s: the reward on token %d of sample %d is not a finite number", stage,
                            t - b->sample_first[i], i);
    }
    return 0;
}

int last_trained(const struct batch *b, int from, int to)
{
    for (int t = to - 1; t >= from; t--)
        if (b->trained[t])
            return t;
    return -1;
}

double log_logistic(double x)
{
    return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
}

double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

struct ranked {
    double x;
    int positive;
};

static int by_value(const void *a, const void *b)
{
    double x = ((const struct ranked *)a)->x, y = ((const struct ranked *)b)->x;
    return (x > y) - (x < y);
}

double stat_auc(const double *x, const unsigned char *label, int n)
{
    struct ranked *r = mem_alloc((size_t)n, sizeof *r);
    double below = 0, won = 0, positives = 0;
    for (int i = 0; i < n; i++)
        r[i] = (struct ranked){x[i], label[i] != 0};
    qsort(r, (size_t)n, sizeof *r, by_value);
    for (int i = 0, end; i < n; i = end) {
        double here[2] = {0, 0};
        for (end = i; end < n && r[end].x == r[i].x; end++)
            here[r[end].positive]++;
        won += here[1] * (below + here[0] / 2);
        below += here[0];
        positives += here[1];
    }
    mem_free(r);
    return below > 0 && positives > 0 ? won / (below * positives) : -1;
}

static int first_kept(const unsigned char *kept, int n)
{
    int i = 0;
    while (i < n && !is_kept(kept, i))
        i++;
    return i;
}

int stat_equal(const double *x, const unsigned char *kept, int n)
{
    int first = first_kept(kept, n);
    for (int i = first; i < n; i++)
        if (is_kept(kept, i) && x[i] != x[first])
            return 0;
    return 1;
}

/* Summed as differences from the first value: exact when all are equal, where sum / n need not be (0.1 three times). */
double stat_mean(const double *x, const unsigned char *kept, int n)
{
    int first = first_kept(kept, n), count = stat_count(kept, n);
    double sum = 0;
    if (count == 0)
        return 0;
    for (int i = first; i < n; i++)
        if (is_kept(kept, i))
            sum += x[i] - x[first];
    return x[first] + sum / count;
}

double stat_std(const double *x, const unsigned char *kept, int n, int ddof)
{
    int count = stat_count(kept, n);
    if (count < 2 || stat_equal(x, kept, n))
        return 0;
    double mean = stat_mean(x, kept, n), sum = 0;
    for (int i = 0; i < n; i++)
        if (is_kept(kept, i))
            sum += (x[i] - mean) * (x[i] - mean);
    return sqrt(sum / (count - ddof));
}

enum aggregation { TOKEN_MEAN, SEQ_MEAN_TOKEN_MEAN, SEQ_MEAN_TOKEN_SUM, SEQ_SUM_CONST };
const char aggregation_choices[] = "token_mean|seq_mean_token_mean|seq_mean_token_sum|seq_sum_const";

double aggregation_weight(int agg, int n, const struct denominators *d)
{
    double sequences = d->sequences;
    switch ((enum aggregation)agg) {
    case TOKEN_MEAN:
        return 1 / (double)d->tokens;
    case SEQ_MEAN_TOKEN_MEAN:
        return 1 / (sequences * n);
    case SEQ_MEAN_TOKEN_SUM:
        return 1 / sequences;
    default:
        return 1 / (sequences * d->longest);
    }
}

double aggregation_by(const struct value *rows, int n, const struct denominators *d)
{
    struct denominators by = *d;
    if (!rows[1].off)
        by.longest = (int)rows[1].num;
    if ((int)rows[0].num == SEQ_SUM_CONST && rows[2].num == 0)
        by.sequences = 1;
    return aggregation_weight((int)rows[0].num, n, &by);
}

static const double log_ratio_limit = 20;

double held_ratio(double log_ratio)
{
    return exp(fabs(log_ratio) > log_ratio_limit ? copysign(log_ratio_limit, log_ratio) : log_ratio);
}

struct surrogate surrogate_clip(double log_ratio, double a, double low, double high, double dual)
{
    int inside = !(fabs(log_ratio) > log_ratio_limit); /* so that what is no number shows in the loss */
    double ratio = held_ratio(log_ratio);
    double bounded = fmin(fmax(ratio, low), high);
    struct surrogate t = {-a * ratio, inside ? -a * ratio : 0, 0};
    if (-a * bounded > t.loss)
        t = (struct surrogate){-a * bounded, 0, 1};
    if (a < 0 && t.loss > -a * dual)
        t = (struct surrogate){-a * dual, 0, 1};
    return t;
}

const char kl_choices[] = "k1|k2|k3|k3plus|reversed";
enum { K1, K2, K3, K3_PLUS, REVERSED };

/* exp(d) - d - 1, held where it would leave the range of numbers. */
static double reversed_estimate(double d, double *grad)
{
    int inside = !(d > log_ratio_limit);
    double held = inside ? d : log_ratio_limit;
    *grad = inside ? expm1(held) : 0;
    return expm1(held) - held;
}

/* k3 of a token that the policy has all but given up is held at d = -20, where the derivative is 0. */
double kl_estimate(int kind, double d, double *grad)
{
    if (kind == REVERSED)
        return reversed_estimate(d, grad);
    int inside = !(d < -log_ratio_limit);
    double held = inside ? d : -log_ratio_limit;
    *grad = kind == K1 ? 1 : kind == K3 ? (inside ? -expm1(-d) : 0) : d;
    if (kind == K1)
        return d;
    return kind == K2 ? d * d / 2 : expm1(-held) + held;
}

double component_weight(const char *weights, const char *name)
{
    size_t len = strlen(name);
    for (const char *s = weights; s && *s;) {
        if (!strncmp(s, name, len) && !strncmp(s + len, " = ", 3))
            return strtod(s + len + 3, NULL);
        s = strstr(s, ", ");
        s = s ? s + 2 : NULL;
    }
    return 1;
}

int list_piece(const char **list, char piece[64])
{
    const char *s = *list + strspn(*list, " ,");
    size_t n = strcspn(s, ",");
    *list = s + n;
    while (n > 0 && s[n - 1] == ' ')
        n--;
    snprintf(piece, 64, "%.*s", (int)n, s);
    return n > 0;
}

static double token_mean(const struct batch *b, const double *value, int sample)
{
    double sum = 0;
    int n = 0;
    for (int t = b->sample_first[sample]; t < b->sample_first[sample + 1]; t++)
        if (b->trained[t]) {
            sum += value[t];
            n++;
        }
    return n > 0 ? sum / n : 0;
}

double component_mean(const struct batch *b, const struct component *k, int sample)
{
    if (k->level == LEVEL_SEQUENCE)
        return k->value[sample];
    if (k->level == LEVEL_TOKEN)
        return token_mean(b, k->value, sample);
    int first = b->step_first[sample], n = b->step_first[sample + 1] - first;
    double sum = 0;
    for (int s = 0; s < n; s++)
        sum += k->value[first + s];
    return n > 0 ? sum / n : 0;
}

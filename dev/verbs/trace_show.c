/* What the two views of a trace share: the words, and numbers and hostile text in a form that can be shown. */
#include "trace.h"
#include "../../data/unicode.h"
#include <math.h>
#include <string.h>

const struct trace_section trace_sections[] = {
    {"prompt",
     "Prompt",
     "The next item of the training split becomes a prompt; the policy never sees the answer.",
     {{"add_group", "train_rl.c"}, {"session_prompt", "dev/verbs/session_prompts.c"}}},
    {"rollout",
     "Rollout",
     "The policy answers the prompt several times, token by token; the task's verifier judges each response.",
     {{"rollout", "train_rl.c"}, {"sampler_run", "model/generate.c"}}},
    {"gold",
     "Text to learn from",
     "A supervised phase: the teacher's text for the prompt takes the place of a response.",
     {{"collect_gold", "train_rl.c"}, {NULL, NULL}}},
    {"forward",
     "Forward",
     "The policy reads prompt and responses once more; until the first update it finds the sampler's numbers, bit for "
     "bit.",
     {{"channels_forward", "dev/verbs/channels.c"}, {"model_forward", "model/transformer.c"}}},
    {"backward",
     "Backward",
     "What the loss wants of every log-probability becomes the gradient of every weight, over all groups of the step.",
     {{"channels_backward", "dev/verbs/channels.c"}, {"model_backward", "model/transformer.c"}}},
    {"update",
     "Update",
     "The gradient is scaled down if it is too long, then AdamW moves the weights.",
     {{"optimiser_step", "train_rl.c"}, {"model_step", "model/optim.c"}}},
    {"after",
     "What changed",
     "The same tokens under the new weights: what the whole step, all groups together, did to this group.",
     {{"model_head", "model/transformer.c"}, {NULL, NULL}}},
    {"moves",
     "Distributions that moved",
     "The next-token distributions where the gradient of the logits is largest, before and after the update.",
     {{"model_logits", "model/transformer.c"}, {NULL, NULL}}},
    {0}};

const struct trace_section *trace_section(const char *name)
{
    const struct trace_section *s = trace_sections;
    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s;
}

/* ---- text ---- */

/* Characters that move the cursor, change the direction of text or cannot be seen at all. */
static int is_invisible(int c)
{
    return c < 32 || (c >= 127 && c < 160) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xe0000 && c <= 0xe0fff);
}

void trace_visible(const char *s, int len, struct text *out)
{
    for (int i = 0, n; i < len; i += n) {
        enum utf8_kind kind;
        n = utf8_next(s + i, len - i, &kind);
        int c = kind == UTF8_CHARACTER ? utf8_point(s + i, n) : 0xfffd;
        if (c == '\n')
            text_add(out, "\\n", 2);
        else if (c == '\t')
            text_add(out, "\\t", 2);
        else if (is_invisible(c))
            text_addf(out, "\\u{%x}", (unsigned)c);
        else if (kind == UTF8_CHARACTER)
            text_add(out, s + i, n);
        else
            text_add(out, "\xef\xbf\xbd", 3);
    }
}

int trace_columns(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void trace_visible_json(const json_t *string, struct text *out)
{
    text_add(out, "", 0);
    if (json_is_string(string))
        trace_visible(json_string_value(string), (int)json_string_length(string), out);
}

/* ---- numbers ---- */

double trace_number(const json_t *list, size_t i)
{
    const json_t *x = json_array_get(list, i);
    return json_is_number(x) ? json_number_value(x) : json_is_boolean(x) ? json_is_true(x) : NAN;
}

double trace_member(const json_t *object, const char *key)
{
    const json_t *x = json_object_get(object, key);
    return json_is_number(x) ? json_number_value(x) : json_is_boolean(x) ? json_is_true(x) : NAN;
}

double trace_sum(const json_t *list)
{
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        double x = trace_number(list, i);
        sum += isnan(x) ? 0 : x;
    }
    return sum;
}

const char *trace_short(double x, char buf[32])
{
    if (isnan(x))
        return "-";
    if (x == floor(x) && fabs(x) < 1e7)
        snprintf(buf, 32, "%.0f", x == 0 ? 0 : x);
    else
        snprintf(buf, 32, fabs(x) >= 1e-3 && fabs(x) < 1e5 ? "%.4f" : "%.2e", x);
    return buf;
}

void trace_runs(const json_t *list, struct text *out)
{
    size_t n = json_array_size(list);
    for (size_t i = 0, end; i < n; i = end) {
        char buf[32];
        double x = trace_number(list, i);
        for (end = i + 1; end < n; end++) {
            double y = trace_number(list, end);
            if (!(x == y || (isnan(x) && isnan(y))))
                break;
        }
        text_addf(out, end - i > 1 ? "%s%s x%zu" : "%s%s", i ? ", " : "", trace_short(x, buf), end - i);
    }
    text_add(out, n ? "" : "none", -1);
}

double trace_at(const json_t *lists, size_t sample, size_t token)
{
    return trace_number(json_array_get(lists, sample), token);
}

json_t *trace_constants(const json_t *lists)
{
    json_t *values = json_array();
    for (size_t i = 0; i < json_array_size(lists); i++) {
        const json_t *list = json_array_get(lists, i);
        double value = NAN;
        for (size_t k = 0; k < json_array_size(list); k++) {
            double x = trace_number(list, k);
            if (!isnan(x) && !isnan(value) && x != value) {
                json_decref(values);
                return NULL;
            }
            value = isnan(x) ? value : x;
        }
        json_array_append_new(values, trace_real(value));
    }
    return values;
}

const char *trace_string(const json_t *object, const char *key)
{
    return json_get_string(object, key, "");
}

json_t *trace_sums(const json_t *lists)
{
    json_t *sums = json_array();
    for (size_t i = 0; i < json_array_size(lists); i++) {
        const json_t *list = json_array_get(lists, i);
        int any = 0;
        for (size_t k = 0; k < json_array_size(list); k++)
            any |= json_is_number(json_array_get(list, k));
        json_array_append_new(sums, any ? json_real(trace_sum(list)) : json_null());
    }
    return sums;
}

json_t *trace_differences(const json_t *a, const json_t *b)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(a); i++)
        json_array_append_new(list, trace_real(trace_number(a, i) - trace_number(b, i)));
    return list;
}

/* ---- what the object holds ---- */

void trace_where(const struct trace_section *s, struct text *out)
{
    text_add(out, "", 0);
    for (int i = 0; i < 2 && s->where[i][0]; i++)
        text_addf(out, "%s%s() %s", i ? ", " : "", s->where[i][0], s->where[i][1]);
}

const json_t *trace_last(const json_t *stages, const char *key)
{
    const json_t *found = NULL;
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *lists = json_object_get(json_array_get(stages, i), key);
        found = lists ? lists : found;
    }
    return found;
}

const json_t *trace_gradient(const json_t *update, const char *channel)
{
    const json_t *losses = json_object_get(update, "losses"), *found = NULL;
    for (size_t i = 0; i < json_array_size(losses); i++) {
        const json_t *g = json_object_get(json_object_get(json_array_get(losses, i), "gradients"), channel);
        found = g ? g : found;
    }
    return found;
}

enum { CONTEXT = 120 }; /* bytes of text, about */

void trace_context(const json_t *trace, const json_t *move, struct text *out)
{
    const json_t *sample = json_array_get(json_object_get(trace, "samples"), (size_t)trace_member(move, "sample"));
    const json_t *pieces = json_object_get(sample, "pieces");
    size_t token = (size_t)trace_member(move, "token"), from = token;
    for (size_t len = 0; from > 0 && len < CONTEXT; from--)
        len += json_string_length(json_array_get(pieces, from - 1));
    if (from > 0)
        text_add(out, "...", 3);
    else
        trace_visible_json(json_object_get(json_object_get(trace, "prompt"), "text"), out);
    for (size_t k = from; k < token; k++)
        trace_visible_json(json_array_get(pieces, k), out);
}

/* ---- which samples ---- */

static double advantage_of(const json_t *trace, int i)
{
    const json_t *sample = json_array_get(json_object_get(trace, "samples"), (size_t)i);
    double a = trace_member(sample, "advantage");
    return json_is_true(json_object_get(sample, "kept")) && !isnan(a) ? a : 0;
}

/* Of those not yet taken, the one with the largest advantage (sign 1) or the smallest (-1); the first among equals. */
static int extreme(const json_t *trace, int n, const int *taken, int count, double sign)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        int again = 0;
        for (int k = 0; k < count; k++)
            again |= taken[k] == i;
        if (!again && (best < 0 || sign * advantage_of(trace, i) > sign * advantage_of(trace, best)))
            best = i;
    }
    return best;
}

int trace_pick(const json_t *trace, int max, int *sample)
{
    int n = (int)json_array_size(json_object_get(trace, "samples")), count = 0;
    while (count < n && count < max) {
        sample[count] = extreme(trace, n, sample, count, count % 2 ? -1 : 1);
        count++;
    }
    return count;
}

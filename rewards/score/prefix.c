/* Partial credit for the beginning of the right answer, placed on the tokens that wrote it: with L the length of the
 * answer in bytes, each leading byte of the response that matches earns 1 / (L + 1), until the first mismatch or the
 * end of the answer. What follows earns nothing, unless `end` also wants the response to end there.
 *
 * A policy that starts from random weights finds the first byte long before the whole answer, so it needs no warm-up.
 * Tokens of several bytes earn what their matching bytes earn.
 */
#include "../../data/task.h"
#include "../stage.h"

enum { P_END };

static const struct param params[] = {
    {"end", PARAM_BOOL, "false", 0, 0, NULL,
     "The last token earns the missing 1 / (L + 1) when the response is the whole answer and not cut off.", NULL},
    {0}};

static int matching_bytes(const struct text *answer, const char *text, int len)
{
    int n = 0;
    while (n < answer->len && n < len && answer->s[n] == text[n])
        n++;
    return n;
}

/* Credit of the tokens of one sample. */
static void place(const struct batch *b, int sample, const struct text *answer, int end, double *value)
{
    const char *text = b->text[sample] ? b->text[sample] : "";
    int len = b->text[sample] ? b->text_len[sample] : 0, first = b->sample_first[sample];
    int last = b->sample_first[sample + 1] - 1, match = matching_bytes(answer, text, len), before = 0;
    for (int t = first; t <= last; t++) {
        int now = b->text_end[t] < match ? b->text_end[t] : match, bytes = now - before;
        before = now;
        if (t == last && end && len == answer->len && match == len && !b->truncated[sample])
            bytes++;
        if (!b->trained[t])
            bytes = 0;
        value[t] = bytes / (answer->len + 1.0);
    }
}

static int run(struct stage_call *c, struct error *e)
{
    (void)e;
    struct batch *b = c->b;
    double *value = batch_component(b, "prefix", LEVEL_TOKEN)->value;
    for (int g = 0; g < b->groups; g++)
        for (int i = b->group_first[g]; i < b->group_first[g + 1]; i++) {
            static const struct text none = {0};
            if (b->kept[i])
                place(b, i, b->item[g] ? &b->item[g]->answer : &none, c->p[P_END].num != 0, value);
            else
                for (int t = b->sample_first[i]; t < b->sample_first[i + 1]; t++)
                    value[t] = 0;
        }
    return 0;
}

const struct stage score_prefix = {
    .name = "prefix",
    .kind = STAGE_SCORE,
    .sentence = "1 / (L + 1) for each leading byte of the right answer (L bytes long), on the token that wrote it.",
    .citation = "the reward of the digit completion check of TinyZero (Jiayi-Pan/TinyZero, after verl), 2025",
    .formula = "prefix_it = (bytes of token t that continue the match with the answer) / (L + 1)",
    .params = params,
    .reads = FIELD_TEXT,
    .writes = FIELD_COMPONENTS,
    .zero_on_equal = 1,
    .permutable = 1,
    .run = run,
};

/* Evaluation: the same prompts for every run seed; draws depend on the prompt's number only. */
#include "evaluate.h"
#include "../../model/base/clock.h"
#include <math.h>
#include <string.h>

double pass_at_k(int n, int c, int k)
{
    double all_wrong = 1;
    if (n - c < k)
        return 1;
    for (int i = 0; i < k; i++)
        all_wrong *= (double)(n - c - i) / (n - i);
    return 1 - all_wrong;
}

enum { EVAL_SEED = 20260101 }; /* draws of evaluations are the same for every run seed */

/* Buffers of one pass over the prompts: requests and responses. */
struct pass {
    struct item *item;
    struct request *request;
    struct response *response;
    int32_t *prompt_ids, *response_ids, *support, *supports;
    double *logp;
    struct text text;
};

static void pass_alloc(struct pass *p, int prompts, int k, int max_prompt, int max_new, int max_support)
{
    size_t n = (size_t)prompts * k, tokens = n * max_new;
    p->item = mem_alloc((size_t)prompts, sizeof *p->item);
    p->request = mem_alloc((size_t)prompts, sizeof *p->request);
    p->response = mem_alloc(n, sizeof *p->response);
    p->prompt_ids = mem_alloc((size_t)prompts * max_prompt, sizeof *p->prompt_ids);
    p->response_ids = mem_alloc(tokens, sizeof *p->response_ids);
    p->logp = mem_alloc(2 * tokens, sizeof *p->logp);
    p->support = mem_alloc(tokens * max_support, sizeof *p->support);
    p->supports = mem_alloc(max_support ? tokens : 0, sizeof *p->supports);
    for (size_t i = 0; i < n; i++) {
        struct response *r = &p->response[i];
        r->ids = p->response_ids + i * max_new;
        r->logp = p->logp + 2 * i * max_new;
        r->entropy = r->logp + max_new;
        r->support = max_support ? p->support + i * max_new * max_support : NULL;
        r->supports = max_support ? p->supports + i * max_new : NULL;
    }
}

static void pass_free(struct pass *p, int prompts)
{
    for (int i = 0; i < prompts; i++)
        item_free(&p->item[i]);
    mem_free(p->item);
    mem_free(p->request);
    mem_free(p->response);
    mem_free(p->prompt_ids);
    mem_free(p->response_ids);
    mem_free(p->logp);
    mem_free(p->support);
    mem_free(p->supports);
    text_free(&p->text);
}

static int make_requests(const struct session *s, struct pass *p, int prompts, int k, int max_new, struct error *e)
{
    int32_t *ids = NULL;
    int cap = 0;
    for (int i = 0; i < prompts; i++) {
        struct item *it = &p->item[i];
        s->task.row->make(&s->task, SPLIT_TEST, (uint64_t)i, it);
        int n = session_prompt(s, it, &ids, &cap, e);
        if (n < 0) {
            mem_free(ids);
            return -1;
        }
        int32_t *to = p->prompt_ids + (size_t)i * s->max_prompt;
        memcpy(to, ids, (size_t)n * sizeof *to);
        p->request[i] = (struct request){to, n, k, max_new, 0, (uint64_t)i, 0};
    }
    mem_free(ids);
    return 0;
}

static void decode(const struct session *s, struct pass *p, const struct response *r)
{
    text_clear(&p->text);
    text_add(&p->text, "", 0);
    tokenizer_decode(s->tokenizer, r->ids, r->len, 0, &p->text, NULL);
}

static double partial_of(const struct session *s, const struct item *it, const struct text *response)
{
    const struct task_row *row = s->task.row;
    return row->partial ? row->partial(&s->task, it, response->s, response->len) : NAN;
}

static double standard_error(double mean, double mean_square, int n)
{
    return n > 1 ? sqrt(fmax(0, mean_square - mean * mean) / (n - 1)) : 0;
}

static int greedy_pass(struct session *s, const struct model *m, struct sampler *sampler, int prompts, int max_new,
                       struct evaluation *v, struct shown *shown, struct error *e)
{
    struct pass p = {0};
    struct sampling greedy = {0, 0, 1, 0, 0};
    pass_alloc(&p, prompts, 1, s->max_prompt, max_new, 0);
    int bad = make_requests(s, &p, prompts, 1, max_new, e) ||
              sampler_run(sampler, m, p.request, prompts, &greedy, EVAL_SEED, RNG_EVAL, s->special.end, s->special.ends,
                          p.response, e);
    for (int i = 0; i < prompts && !bad; i++) {
        enum verdict strict, lenient;
        decode(s, &p, &p.response[i]);
        s->task.row->check(&s->task, &p.item[i], p.text.s, p.text.len, &strict, &lenient);
        v->accuracy += strict == VERDICT_RIGHT;
        v->lenient += lenient == VERDICT_RIGHT;
        v->unparsed += strict == VERDICT_UNPARSABLE;
        v->truncated += p.response[i].truncated;
        v->length += p.response[i].len;
        v->partial += partial_of(s, &p.item[i], &p.text);
        if (shown && i < SHOWN) {
            text_clear(&shown->prompt[i]);
            text_clear(&shown->response[i]);
            text_add(&shown->prompt[i], p.item[i].prompt.s, p.item[i].prompt.len);
            text_add(&shown->response[i], p.text.s, p.text.len);
            shown->verdict[i] = strict;
        }
    }
    v->accuracy /= prompts;
    v->accuracy_se = standard_error(v->accuracy, v->accuracy, prompts);
    v->lenient /= prompts;
    v->unparsed /= prompts;
    v->truncated /= prompts;
    v->length /= prompts;
    v->partial /= prompts;
    pass_free(&p, prompts);
    return bad ? -1 : 0;
}

static int sampled_pass(struct session *s, const struct model *m, struct sampler *sampler, int prompts, int n,
                        double temperature, int max_new, struct evaluation *v, struct error *e)
{
    struct pass p = {0};
    struct sampling how = {(float)temperature, 0, 1, 0, 0};
    double all_right = 0, mean_square = 0, pass = 0, pass_square = 0, length = 0, partial = 0;
    pass_alloc(&p, prompts, n, s->max_prompt, max_new, 0);
    int bad = make_requests(s, &p, prompts, n, max_new, e) ||
              sampler_run(sampler, m, p.request, prompts, &how, EVAL_SEED, RNG_EVAL, s->special.end, s->special.ends,
                          p.response, e);
    for (int i = 0; i < prompts && !bad; i++) {
        int right = 0;
        for (int j = 0; j < n; j++) {
            enum verdict strict, lenient;
            const struct response *r = &p.response[(size_t)i * n + j];
            decode(s, &p, r);
            s->task.row->check(&s->task, &p.item[i], p.text.s, p.text.len, &strict, &lenient);
            right += strict == VERDICT_RIGHT;
            length += r->len;
            partial += partial_of(s, &p.item[i], &p.text);
        }
        double share = (double)right / n, at_k = pass_at_k(n, right, v->k);
        all_right += right;
        mean_square += share * share;
        pass += at_k;
        pass_square += at_k * at_k;
    }
    double mean = all_right / ((double)prompts * n);
    pass /= prompts;
    v->sampled = mean;
    v->sampled_se = prompts > 1 ? standard_error(mean, mean_square / prompts, prompts) : standard_error(mean, mean, n);
    v->pass_k = pass;
    v->pass_k_se = standard_error(pass, pass_square / prompts, prompts);
    v->sampled_length = length / ((double)prompts * n);
    v->sampled_partial = partial / ((double)prompts * n);
    pass_free(&p, prompts);
    return bad ? -1 : 0;
}

int evaluate(struct session *s, const struct model *m, struct sampler *sampler, int prompts, int samples,
             double temperature, int max_new, struct evaluation *out, struct shown *shown, struct error *e)
{
    double start = clock_now();
    uint64_t size = s->task.size[SPLIT_TEST];
    memset(out, 0, sizeof *out);
    if (size && (uint64_t)prompts > size)
        prompts = (int)size;
    out->prompts = prompts;
    out->samples = samples;
    out->k = samples < PASS_K ? samples : PASS_K;
    out->sampled = out->sampled_se = out->pass_k = out->pass_k_se = out->sampled_length = out->sampled_partial = NAN;
    if (greedy_pass(s, m, sampler, prompts, max_new, out, shown, e))
        return -1;
    if (samples > 0 && sampled_pass(s, m, sampler, prompts, samples, temperature, max_new, out, e))
        return -1;
    out->seconds = clock_now() - start;
    return 0;
}

/* ---- lines of eval.jsonl ---- */

static void set_shown(json_t *o, const struct shown *shown)
{
    json_t *list = json_array();
    for (int i = 0; i < SHOWN && shown->prompt[i].s; i++) {
        const struct text *prompt = &shown->prompt[i], *response = &shown->response[i];
        json_t *one = json_object(), *text = json_stringn(response->s ? response->s : "", (size_t)response->len);
        json_object_set_new(one, "prompt", json_stringn(prompt->s, (size_t)prompt->len));
        json_object_set_new(one, "response", text ? text : json_null()); /* null: not valid UTF-8 */
        json_object_set_new(one, "verdict", json_integer(shown->verdict[i]));
        json_array_append_new(list, one);
    }
    json_object_set_new(o, "shown", list);
}

json_t *evaluation_json(const struct evaluation *v, long step, const char *phase, const struct milestone *milestone)
{
    json_t *o = json_object();
    char pass[32], pass_se[32];
    snprintf(pass, sizeof pass, "pass@%d", v->k);
    snprintf(pass_se, sizeof pass_se, "pass@%d_se", v->k);
    json_object_set_new(o, "step", json_integer(step));
    json_object_set_new(o, "phase", json_string(phase));
    if (milestone)
        json_object_set_new(o, "milestone", json_string(milestone->name));
    json_object_set_new(o, "split", json_string("test"));
    json_object_set_new(o, "prompts", json_integer(v->prompts));
    json_object_set_new(o, "samples", json_integer(v->samples));
    json_object_set_new(o, "accuracy", json_real(v->accuracy));
    json_object_set_new(o, "accuracy_se", json_real(v->accuracy_se));
    json_object_set_new(o, "lenient", json_real(v->lenient));
    json_object_set_new(o, "unparsed", json_real(v->unparsed));
    json_object_set_new(o, "truncated", json_real(v->truncated));
    json_object_set_new(o, "length", json_real(v->length));
    if (!isnan(v->partial))
        json_object_set_new(o, "partial", json_real(v->partial));
    if (!isnan(v->sampled_partial))
        json_object_set_new(o, "sampled_partial", json_real(v->sampled_partial));
    if (v->k > 0) {
        json_object_set_new(o, "sampled", json_real(v->sampled));
        json_object_set_new(o, "sampled_se", json_real(v->sampled_se));
        json_object_set_new(o, "sampled_length", json_real(v->sampled_length));
        json_object_set_new(o, pass, json_real(v->pass_k));
        json_object_set_new(o, pass_se, json_real(v->pass_k_se));
    }
    if (milestone)
        set_shown(o, &milestone->shown);
    json_object_set_new(o, "t_seconds", json_real(v->seconds));
    if (milestone)
        json_object_set_new(o, "t_train_seconds", json_real(milestone->train_seconds));
    return o;
}

static void read_shown(const json_t *list, struct shown *shown)
{
    for (size_t i = 0; i < SHOWN && i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *prompt = json_get_string(one, "prompt", ""), *response = json_get_string(one, "response", "");
        text_add(&shown->prompt[i], prompt, (int)strlen(prompt));
        text_add(&shown->response[i], response, (int)strlen(response));
        shown->verdict[i] = (enum verdict)json_integer_value(json_object_get(one, "verdict"));
    }
}

int milestone_read(const json_t *line, struct milestone *m)
{
    const struct {
        const char *key;
        size_t at;
    } number[] = {{"accuracy", offsetof(struct evaluation, accuracy)},
                  {"accuracy_se", offsetof(struct evaluation, accuracy_se)},
                  {"lenient", offsetof(struct evaluation, lenient)},
                  {"unparsed", offsetof(struct evaluation, unparsed)},
                  {"truncated", offsetof(struct evaluation, truncated)},
                  {"length", offsetof(struct evaluation, length)},
                  {"sampled", offsetof(struct evaluation, sampled)},
                  {"sampled_se", offsetof(struct evaluation, sampled_se)},
                  {"sampled_length", offsetof(struct evaluation, sampled_length)},
                  {"partial", offsetof(struct evaluation, partial)},
                  {"sampled_partial", offsetof(struct evaluation, sampled_partial)},
                  {"t_seconds", offsetof(struct evaluation, seconds)}};
    const char *name = json_get_string(line, "milestone", NULL);
    char pass[32];
    if (!name)
        return 0;
    *m = (struct milestone){0};
    snprintf(m->name, sizeof m->name, "%s", name);
    for (unsigned i = 0; i < sizeof number / sizeof *number; i++) {
        const json_t *x = json_object_get(line, number[i].key);
        *(double *)((char *)&m->v + number[i].at) = x ? json_number_value(x) : NAN;
    }
    m->v.prompts = (int)json_integer_value(json_object_get(line, "prompts"));
    m->v.samples = (int)json_integer_value(json_object_get(line, "samples"));
    m->v.k = m->v.samples < PASS_K ? m->v.samples : PASS_K;
    snprintf(pass, sizeof pass, "pass@%d", m->v.k);
    m->v.pass_k = json_number_value(json_object_get(line, pass));
    m->train_seconds = json_number_value(json_object_get(line, "t_train_seconds"));
    read_shown(json_object_get(line, "shown"), &m->shown);
    return 1;
}

void shown_free(struct shown *s)
{
    for (int i = 0; i < SHOWN; i++) {
        text_free(&s->prompt[i]);
        text_free(&s->response[i]);
    }
}

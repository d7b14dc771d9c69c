/* Evaluation on test prompts: greedy accuracy, sampled accuracy, unbiased pass@k, length, strict and lenient. */
#ifndef EVALUATE_H
#define EVALUATE_H
#include "session.h"

enum { PASS_K = 8 };
struct evaluation {
    int prompts, samples, k; /* pass@k of `samples` drawn for a prompt, k = min(samples, PASS_K) */
    double accuracy, accuracy_se, lenient, unparsed, truncated, length; /* greedy */
    double sampled, sampled_se, pass_k,
        pass_k_se; /* NAN without samples. One prompt: its standard error is over samples */
    double sampled_length;
    double partial, sampled_partial; /* mean of the task's partial reward, greedy and sampled; NAN: the task has none */
    double seconds;
};
/* Some answers kept to show: text of prompt, response and verdict of the first items, greedy. */
enum { SHOWN = 2 };
struct shown {
    struct text prompt[SHOWN], response[SHOWN];
    enum verdict verdict[SHOWN];
};

/* prompts test items answered greedily, and `samples` times at `temperature` when samples > 0. shown may be NULL. */
int evaluate(struct session *s, const struct model *m, struct sampler *sampler, int prompts, int samples,
             double temperature, int max_new, struct evaluation *out, struct shown *shown, struct error *e);
/* pass@k of c right ones among n, unbiased: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, Evaluating Large Language Models
 * Trained on Code, eq. 1). */
double pass_at_k(int n, int c, int k);
void shown_free(struct shown *s);

/* An evaluation that the closing table shows: before reinforcement learning, and at the end of each phase. */
struct milestone {
    char name[40];
    struct evaluation v;
    double train_seconds; /* of the phase before it */
    struct shown shown;   /* empty in a branch */
};
/* A line of eval.jsonl. milestone: NULL, or what the line also keeps of one. */
json_t *evaluation_json(const struct evaluation *v, long step, const char *phase, const struct milestone *milestone);
/* The milestone in a line that evaluation_json wrote; 0: the line has none. */
int milestone_read(const json_t *line, struct milestone *m);

#endif

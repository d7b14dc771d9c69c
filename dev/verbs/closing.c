#include "closing.h"
#include "figure.h"
#include "../../data/unicode.h"
#include "../../model/base/clock.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

void report_opening(const struct trainer *t)
{
    const struct arch *a = &t->s.arch;
    const struct memory *m = &t->memory;
    double megabyte = 1 << 20, rest = m->batch + m->scratch;
    fprintf(stderr,
            "%s: task %s, %ld weights (width %d, %d layers, %d heads, vocabulary %d), seed %llu, %d threads%s\n",
            t->s.recipe.name, t->s.task.row->name, arch_parameters(a), a->C, a->layers, a->H, a->V,
            (unsigned long long)t->s.recipe.run.seed, t->s.device.threads,
            t->s.recipe.run.precision == PRECISION_BF16 ? ", bf16" : "");
    if (a->lora.rank)
        fprintf(stderr, "adapters of rank %d train %ld of %ld parameters; the weights below them stay as they are\n",
                a->lora.rank, arch_trained(a), arch_parameters(a) + arch_trained(a));
    fprintf(
        stderr,
        "memory %.1f MB: policy and optimiser %.1f, other models %.1f, activations of %d x %d rows %.1f, %d rollout "
        "slots %.1f, the rest %.1f\n",
        (m->policy + m->models + m->activations + m->sampler + rest) / megabyte, m->policy / megabyte,
        m->models / megabyte, t->workers, t->micro_rows, m->activations / megabyte, t->sampler.slots,
        m->sampler / megabyte, rest / megabyte);
    struct text note = {0};
    session_chat_note(&t->s, &note);
    if (note.len)
        fprintf(stderr, "note: %s\n", note.s);
    text_free(&note);
    fprintf(stderr, "run directory %s\n", t->dir.path);
}

static int count_verdict(const struct batch *b, int verdict)
{
    int n = 0;
    for (int i = 0; i < b->samples; i++)
        n += b->strict[i] == verdict;
    return n;
}

/* Does nothing pull on a token? Not every method compares rewards within a group, nor does every loss read advantages:
 * without a stage that does, a gradient of exactly 0 tells. */
static int nothing_pulls(const struct trainer *t, const struct phase *ph)
{
    const struct batch *b = &t->batch;
    int reads = 0;
    for (int i = 0; i < ph->stages; i++)
        reads |= ph->stage[i].stage->kind == STAGE_LOSS && ph->stage[i].stage->reads & FIELD_ADVANTAGE;
    if (!reads)
        return metric_value(&t->metrics, "grad_norm", 0) == 0;
    for (int i = 0; i < b->samples; i++)
        for (int k = b->sample_first[i]; b->kept[i] && k < b->sample_first[i + 1]; k++)
            if (b->trained[k] && b->advantage[k] != 0)
                return 0;
    return 1;
}

static int equal_groups(const struct batch *b)
{
    int n = 0;
    for (int g = 0; g < b->groups; g++)
        n += stat_equal(b->reward + b->group_first[g], NULL, b->group_first[g + 1] - b->group_first[g]);
    return n;
}

const char *report_diagnosis(const struct trainer *t, const struct phase *ph)
{
    const struct batch *b = &t->batch;
    int truncated = 0;
    for (int i = 0; i < b->samples; i++)
        truncated += b->truncated[i];
    if (truncated == b->samples && count_verdict(b, VERDICT_RIGHT) == 0)
        return "no response ended before rollout.max_new: raise it, or warm up until the end-of-sequence token is used";
    if (count_verdict(b, VERDICT_UNPARSABLE) == b->samples)
        return "no response had the form of an answer: warm up longer, or reward the form (score = outcome, format)";
    if (!nothing_pulls(t, ph))
        return NULL;
    if (equal_groups(b) < b->groups)
        return "rewards differ, but no token of a sample that was kept has an advantage: `train_rl trace` shows which "
               "stage takes it away";
    if (count_verdict(b, VERDICT_RIGHT) == b->samples)
        return "every response is right: there is nothing left to learn from this task; make it harder";
    return "all rewards of every group are equal, and no token has an advantage: make the task easier, raise "
           "rollout.samples, or warm up longer";
}

static void print_row(const struct milestone *m)
{
    const struct evaluation *v = &m->v;
    char time[32];
    fprintf(stderr, "  %-10s %6.1f %% +- %.1f", m->name, 100 * v->accuracy, 100 * v->accuracy_se);
    if (v->k > 0)
        fprintf(stderr, "   %6.1f %%   %6.1f %%", 100 * v->sampled, 100 * v->pass_k);
    if (!isnan(v->partial))
        fprintf(stderr, "   %6.1f %%", 100 * (v->k > 0 ? v->sampled_partial : v->partial));
    fprintf(stderr, "   %7.1f   %s\n", v->length, clock_text(time, m->train_seconds));
}

/* One line of text: newlines as "\n", control characters as '?', U+FFFD for bytes that are no character. */
static void print_text(const struct text *x)
{
    enum utf8_kind kind;
    for (int i = 0, n; i < x->len; i += n) {
        n = utf8_next(x->s + i, x->len - i, &kind);
        int point = kind == UTF8_CHARACTER ? utf8_point(x->s + i, n) : 0xfffd;
        if (point == '\n')
            fputs("\\n", stderr);
        else if (point < 32 || (point >= 127 && point < 160))
            fputc('?', stderr);
        else if (kind == UTF8_CHARACTER)
            fwrite(x->s + i, 1, (size_t)n, stderr);
        else
            fputs("\xef\xbf\xbd", stderr);
    }
}

static void print_samples(const struct trainer *t)
{
    static const char *const verdict[] = {"unparsable", "wrong", "right"};
    const struct shown *both[2] = {NULL, NULL}; /* first and last that kept any */
    for (int i = 0; i < t->milestones; i++)
        if (t->milestone[i].shown.prompt[0].len)
            both[both[0] != NULL] = &t->milestone[i].shown;
    for (int i = 0; i < SHOWN && both[1]; i++) {
        if (!both[0]->prompt[i].len || !both[1]->prompt[i].len)
            continue;
        fprintf(stderr, "\n  prompt  ");
        print_text(&both[0]->prompt[i]);
        for (int k = 0; k < 2; k++) {
            fprintf(stderr, "\n  %s  ", k ? "after " : "before");
            print_text(&both[k]->response[i]);
            fprintf(stderr, "   (%s)", verdict[both[k]->verdict[i] + 1]);
        }
        fputc('\n', stderr);
    }
}

/* A prompt that was shown, where a shell takes it as it is in single quotes. */
static const struct text *prompt_to_try(const struct trainer *t)
{
    for (int i = 0; i < t->milestones; i++)
        for (int k = 0; k < SHOWN; k++) {
            const struct text *x = &t->milestone[i].shown.prompt[k];
            int plain = x->len > 0 && x->len <= 60;
            for (int c = 0; c < x->len; c++)
                plain &= (unsigned char)x->s[c] >= 32 && x->s[c] != 127 && x->s[c] != '\'';
            if (plain)
                return x;
        }
    return NULL;
}

static void print_next(const struct trainer *t)
{
    const char *dir = t->dir.path;
    const struct text *prompt = prompt_to_try(t);
    fprintf(stderr,
            "Next:\n  ./train_rl eval %s eval.samples=16\n  ./train_rl sample model.path=%s/checkpoint prompt=", dir,
            dir);
    fprintf(stderr, prompt ? "'%.*s'" : "\"...\"", prompt ? prompt->len : 0, prompt ? prompt->s : "");
    fprintf(stderr,
            "\n  ./train_rl %s/recipe.ini seed=%llu     or edit that file and run it\n  ./train_rl list stages\n", dir,
            (unsigned long long)t->s.recipe.run.seed + 1);
}

void report_closing(const struct trainer *t)
{
    char time[32];
    if (t->milestones) {
        int k = t->milestone[0].v.k;
        fprintf(stderr, "\nOn %d unseen prompts:\n  %-10s %-16s", t->milestone[0].v.prompts, "", "greedy");
        if (k > 0)
            fprintf(stderr, "%-11s pass@%-5d", "sampled", k);
        if (!isnan(t->milestone[0].v.partial))
            fprintf(stderr, "partial    ");
        fprintf(stderr, " length   time\n");
        for (int i = 0; i < t->milestones; i++)
            print_row(&t->milestone[i]);
        print_samples(t);
    }
    int learned = t->milestones > 1 && t->milestone[1].v.accuracy > t->milestone[0].v.accuracy;
    if (t->diagnosis && !learned)
        fprintf(stderr, "\nNothing is being learned: %s.\n", t->diagnosis);
    fprintf(stderr, "\nFigure: %s/curves.%s; weights: %s/checkpoint; %s in all.\n", t->dir.path,
            figure_has_png ? "png" : "svg", t->dir.path, clock_text(time, clock_now() - t->started));
    print_next(t);
}

void report_interrupted(const struct trainer *t)
{
    fprintf(stderr,
            "\nInterrupted in phase %s after step %ld of the run; saved. Go on with: ./train_rl rl run.resume=%s\n",
            t->s.recipe.phase[t->phase].name, t->step, t->dir.path);
}

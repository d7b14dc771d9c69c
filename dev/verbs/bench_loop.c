/* The training loop itself for bench, watched while it works: how long a step takes and what its parts are. */
#include "bench.h"
#include "loop.h"
#include "../../model/base/clock.h"
#include <math.h>
#include <stdio.h>

enum { STEPS = 12, PARTS = 5 };
static const char *const part_name[PARTS] = {"rollout", "stages", "gradient", "optimiser", "step"};

struct watched {
    const struct bench *b;
    double mark, begun, last_stage, part[PARTS][STEPS];
    int rollouts, steps; /* steps of the phase that samples */
    double tokens[STEPS];
    int stages; /* seen in this step */
};

/* The clock at the moments that the loop tells of. The gradient begins with the last stage before the update; losses
 * are stages too, and belong to it. */
static void look(void *context, struct trainer *t, const struct sight *s)
{
    struct watched *w = context;
    double now = bench_clock(w->b);
    if (s->phase->source != SOURCE_ROLLOUT || w->steps == STEPS) {
        w->mark = w->begun = now;
        return;
    }
    double *part[PARTS];
    for (int i = 0; i < PARTS; i++)
        part[i] = &w->part[i][w->steps];
    if (s->moment == AFTER_STAGE && s->stage->stage->kind < STAGE_LOSS) {
        *part[w->stages++ ? 1 : 0] += now - w->mark;
        w->mark = now;
    } else if (s->moment == AFTER_BACKWARD) {
        *part[2] += now - w->mark;
        w->mark = now;
    } else if (s->moment == AFTER_UPDATE) {
        *part[3] += now - w->mark;
        w->mark = now;
    } else if (s->moment == AFTER_STEP) {
        *part[4] = now - w->begun;
        w->tokens[w->steps++] = t->batch.sample_first[t->batch.samples];
        w->mark = w->begun = now;
        w->stages = 0;
    }
}

static void show(struct bench *b, const char *preset, struct watched *w)
{
    double speed[STEPS], whole[STEPS];
    for (int i = 1; i < w->steps; i++) {
        speed[i - 1] = w->tokens[i] / w->part[PARTS - 1][i];
        whole[i - 1] = w->part[PARTS - 1][i];
    }
    double step = bench_median(whole, w->steps - 1);
    char name[96];
    for (int p = 0; p < PARTS; p++) {
        double *x = w->part[p] + 1; /* the first step warms up */
        snprintf(name, sizeof name, "%s.rlvr.%s", preset, part_name[p]);
        double seconds = bench_median(x, w->steps - 1);
        if (bench_wants(b, name))
            bench_line(b, name, 1000 * seconds, "ms", p + 1 < PARTS ? seconds / step : NAN);
    }
    snprintf(name, sizeof name, "%s.rlvr.tokens", preset);
    if (bench_wants(b, name))
        bench_line(b, name, bench_median(speed, w->steps - 1), "tokens/s", NAN);
}

static int wants_any(const struct bench *b, const char *preset)
{
    char name[96];
    for (int p = 0; p < PARTS; p++) {
        snprintf(name, sizeof name, "%s.rlvr.%s", preset, part_name[p]);
        if (bench_wants(b, name))
            return 1;
    }
    snprintf(name, sizeof name, "%s.rlvr.tokens", preset);
    return bench_wants(b, name);
}

int bench_rlvr(struct bench *b, const char *preset, struct error *e)
{
    static struct trainer trainer;
    static struct watched watched;
    int small = preset_find(preset)->small;
    char model[64], steps[32], threads[32];
    snprintf(model, sizeof model, "model.preset=%s", preset);
    snprintf(steps, sizeof steps, "rl.steps=%d", b->quick || !small ? 4 : STEPS);
    snprintf(threads, sizeof threads, "run.threads=%d", b->dev->threads);
    const char *const settings[] = {model,
                                    steps,
                                    threads,
                                    b->bf16 ? "run.precision=bf16" : "run.precision=fp32",
                                    "warmup.steps=1",
                                    "control.steps=1",
                                    "warmup.lr=1e-9", /* responses keep the length of an untrained model's */
                                    "rl.lr=1e-9",
                                    small ? "rollout.prompts=32" : "rollout.prompts=4",
                                    "rollout.max_new=32"};
    if (!wants_any(b, preset) || clock_now() - b->started > 240)
        return 0;
    watched = (struct watched){.b = b};
    int status = trainer_open(&trainer, "chain", settings, sizeof settings / sizeof *settings, e);
    trainer.watch = look;
    trainer.watch_context = &watched;
    if (!status)
        status = run_phases(&trainer, e);
    trainer_close(&trainer);
    if (!status)
        show(b, preset, &watched);
    return status;
}

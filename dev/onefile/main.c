/* The program: open what the recipe says, train its phases, say what came of it. */
#include "../../model/base/clock.h"
#include "../../model/base/file.h"
#include "../verbs/loop.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_session(struct session *s, struct error *e)
{
    s->recipe = the_recipe;
    for (int p = 0; p < s->recipe.phases; p++)
        for (int i = 0; i < s->recipe.phase[p].stages; i++) {
            struct stage_use *u = &s->recipe.phase[p].stage[i];
            for (int k = 0; u->stage->state && u->stage->state[k].name; k++)
                u->state[k].row = &u->stage->state[k];
        }
    if (task_open(&s->task, s->recipe.task_row, s->recipe.task_value, e))
        return -1;
    s->tokenizer = tokenizer_chars(the_alphabet, END_OF_SEQUENCE, e);
    s->chat.tokenizer = s->tokenizer;
    s->special = (struct token_ids){-1, -1, END_OF_SEQUENCE, {tokenizer_eos(s->tokenizer)}};
    s->max_prompt = s->task.longest_prompt + 2;
    s->max_gold = s->task.longest_gold + 1;
    s->arch = the_arch;
    s->small_init = SMALL_INIT;
    if (device_open(&s->device, the_operations, s->recipe.run.threads, e) ||
        model_create(&s->policy, &s->arch, s->small_init, &s->device, 1, e))
        return -1;
    model_init(&s->policy, s->recipe.run.seed);
    return 0;
}

/* A directory for log.jsonl, samples.jsonl and eval.jsonl, which must not hold them yet. */
static int open_directory(struct rundir *d, const char *path, struct error *e)
{
    char log[700];
    *d = (struct rundir){.live = isatty(STDERR_FILENO), .lock = -1};
    snprintf(d->path, sizeof d->path, "%s", path);
    rundir_path(d, run_file_names[RUN_LOG], log);
    if (file_size(log) >= 0)
        return fail(e, "%s is there already; give another directory: ./a.out DIRECTORY", log);
    return file_make_directory(d->path, e);
}

int main(int argc, char **argv)
{
    static struct trainer trainer; /* large */
    struct trainer *t = &trainer;
    struct error e;
    char default_path[100];
    t->started = t->opened = clock_now();
    snprintf(default_path, sizeof default_path, "out/onefile-%s", the_recipe.name);
    if (open_session(&t->s, &e) || trainer_reserve(t, &e) ||
        open_directory(&t->dir, argc > 1 ? argv[1] : default_path, &e) || run_phases(t, &e)) {
        fprintf(stderr, "%s: %s\n", argv[0], e.text);
        return 1;
    }
    fprintf(stderr, "\nOn %d unseen prompts:      greedy   sampled\n", t->milestone[0].v.prompts);
    for (int i = 0; i < t->milestones; i++)
        fprintf(stderr, "  %-20s %9.1f %% %7.1f %%\n", t->milestone[i].name, 100 * t->milestone[i].v.accuracy,
                100 * t->milestone[i].v.sampled);
    fprintf(stderr, "Written: %s/log.jsonl, samples.jsonl, eval.jsonl\n", t->dir.path);
    return 0;
}

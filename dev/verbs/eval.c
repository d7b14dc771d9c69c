/* eval: a checkpoint on the test prompts of a recipe's task. The measuring itself is in evaluate.c.
 */
#include "verbs.h"
#include "evaluate.h"
#include "rundir.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 32, MAX_WORDS = 256 }; /* SLOTS: sequences at once when the recipe leaves it open */

static void print_row(const char *name, double x, double se)
{
    fprintf(stderr, "  %-26s %6.1f %%", name, 100 * x);
    if (se >= 0)
        fprintf(stderr, " +- %.1f", 100 * se);
    fputc('\n', stderr);
}

static void print_table(const struct session *s, const struct evaluation *v)
{
    char pass[40];
    snprintf(pass, sizeof pass, "pass@%d", v->k);
    fprintf(stderr, "%s: %d test prompts of task %s, model %s\n", s->recipe.name, v->prompts, s->task.row->name,
            s->recipe.model.path[0] ? s->recipe.model.path : "as initialised (model.path=DIR names a trained one)");
    struct text note = {0};
    session_chat_note(s, &note);
    if (note.len)
        fprintf(stderr, "note: %s\n", note.s);
    text_free(&note);
    print_row("greedy accuracy, strict", v->accuracy, v->accuracy_se);
    print_row("greedy accuracy, lenient", v->lenient, -1);
    print_row("without an answer", v->unparsed, -1);
    print_row("cut off at max_new", v->truncated, -1);
    if (v->k > 0) {
        print_row("sampled accuracy, strict", v->sampled, v->sampled_se);
        print_row(pass, v->pass_k, v->pass_k_se);
    }
    if (!isnan(v->partial))
        print_row("partial reward, greedy", v->partial, -1);
    if (!isnan(v->sampled_partial))
        print_row("partial reward, sampled", v->sampled_partial, -1);
    fprintf(stderr, "  %-26s %6.1f tokens\n", "length of greedy answers", v->length);
}

static void print_json(const struct session *s, const struct evaluation *v)
{
    json_t *o = evaluation_json(v, s->policy.steps, "eval", NULL);
    json_object_set_new(o, "recipe", json_string(s->recipe.name));
    json_object_set_new(o, "task", json_string(s->task.row->name));
    json_t *model = json_string(s->recipe.model.path);
    json_object_set_new(o, "model", model ? model : json_null());
    char *text = json_text(o);
    puts(text);
    free(text);
    json_decref(o);
}

static int measure(struct session *s, struct error *e)
{
    const struct eval_config *c = &s->recipe.eval;
    struct sampler sampler;
    struct evaluation v;
    int slots = session_max_slots(s), max_new = session_max_new(&s->recipe);
    if (max_new >= s->arch.context)
        return fail(e, "rollout.max_new=%d leaves no room for a prompt in the model's context of %d", max_new,
                    s->arch.context);
    double room = session_memory_limit(s) - (double)model_bytes(&s->policy, 0);
    sampler_fit(&sampler, &s->arch, &s->device, session_asked_slots(&s->recipe), slots > 1 ? slots : SLOTS,
                s->max_prompt, max_new, 0, room);
    sampler_commit(&sampler);
    int bad = evaluate(s, &s->policy, &sampler, c->prompts, c->samples, c->temperature, max_new, &v, NULL, e);
    sampler_free(&sampler);
    if (bad)
        return -1;
    print_table(s, &v);
    print_json(s, &v);
    return 0;
}

static int run(int argc, const char *const *argv)
{
    struct session s;
    struct error e;
    char run_recipe[700], run_path[700], run_adapter[700];
    const char *recipe = "chain", *word[MAX_WORDS];
    int n = 0, named = argc > 0 && !strchr(argv[0], '='), of_run = named ? rundir_meant(argv[0], &e) : 0;
    if (of_run < 0)
        return verb_usage(&verb_row_eval, &e);
    if (named)
        recipe = argv[0];
    if (of_run) { /* stands for its recipe and its checkpoint; words that follow still come last */
        snprintf(run_recipe, sizeof run_recipe, "%.600s/recipe.ini", argv[0]);
        snprintf(run_path, sizeof run_path, "model.path=%.600s/checkpoint", argv[0]);
        recipe = run_recipe;
        word[n++] = run_path;
        word[n++] = "model.tokenizer="; /* the checkpoint has it */
        snprintf(run_adapter, sizeof run_adapter, "model.lora_path=%.600s/checkpoint", argv[0]);
        if (lora_exists(strchr(run_path, '=') + 1))
            word[n++] = run_adapter;
    }
    for (int i = named; i < argc; i++) {
        if (n == MAX_WORDS) {
            fail(&e, "more than %d words", MAX_WORDS);
            return verb_usage(&verb_row_eval, &e);
        }
        word[n++] = argv[i];
    }
    if (session_open(&s, recipe, word, n, 0, &e)) {
        int understood = s.recipe.text != NULL; /* then it is the checkpoint, not the words */
        session_close(&s);
        verb_failed(&verb_row_eval, &e);
        return understood ? EXIT_FAILED : EXIT_USAGE;
    }
    int status = measure(&s, &e) ? verb_failed(&verb_row_eval, &e) : EXIT_DONE;
    session_close(&s);
    return status;
}

const struct verb verb_row_eval = {
    "eval",
    "Measure a checkpoint on test prompts: greedy accuracy, sampled accuracy, pass@k, length.",
    "[RECIPE|RUN] [key=value ...]",
    "RECIPE names the task, as for rl; model.path=DIR the checkpoint. A directory that a run has written stands for "
    "its\n"
    "recipe and its checkpoint together. eval.prompts, eval.samples (the k of pass@k) and eval.temperature are keys "
    "of\n"
    "the recipe; the prompts and the draws are the same for every seed, so that models can be compared.\n"
    "\n"
    "A table for people goes to standard error, the same as one JSON object to standard output. Strict: the answer in\n"
    "the form the task asks for; lenient: wherever it can be found. +- is one standard error over prompts. pass@k is\n"
    "the unbiased estimate of Chen et al. 2021, equation 1.\n"
    "\n"
    "Examples:\n"
    "  train_rl eval out/chain-1 eval.prompts=1000\n"
    "  train_rl eval chain model.path=out/chain-1/checkpoint eval.samples=16\n",
    NULL,
    run,
};

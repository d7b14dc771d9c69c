/* Recipes: every built-in one resolves and its resolved text means the same; overrides land where they should; and
 * wrong recipes are refused with the line and the remedy. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../model/base/file.h"
#include "../model/base/mem.h"
#include "../rewards/recipe.h"
#include <cmocka.h> /* after ours: it has a macro fail */

static char directory[] = "/tmp/test_recipes_XXXXXX", path[128];

static void write_recipe(const char *text, size_t len)
{
    struct error e;
    snprintf(path, sizeof path, "%s/r.ini", directory);
    if (file_write(path, text, len, &e))
        fail_msg("%s", e.text);
}

static struct recipe *load(const char *name, const char *const *overrides, int n)
{
    static struct recipe r;
    struct error e;
    if (recipe_load(&r, name, overrides, n, &e))
        fail_msg("%s", e.text);
    return &r;
}

/* One override, or NULL. */
static struct recipe *load_with(const char *name, const char *override)
{
    return load(name, &override, override != NULL);
}

/* ---- built in */

static void same_stages(const struct phase *a, const struct phase *b)
{
    assert_int_equal(a->stages, b->stages);
    for (int i = 0; i < a->stages; i++) {
        const struct stage *s = a->stage[i].stage;
        assert_ptr_equal(s, b->stage[i].stage);
        for (int k = 0; k < param_count(s->params); k++) {
            const struct value *x = &a->stage[i].value[k], *y = &b->stage[i].value[k];
            if (x->num != y->num || x->off != y->off || (s->params[k].type == PARAM_TEXT && strcmp(x->text, y->text)))
                fail_msg("%s.%s", s->name, s->params[k].key);
        }
    }
}

static void every_recipe_resolves_to_itself(void **state)
{
    (void)state;
    static struct recipe a;
    struct error e;
    int n = 0;
    for (; recipe_files[n].name; n++) {
        const char *model = "model.path=somewhere";
        int given = !strncmp(recipe_files[n].name, "stories", 7);
        if (recipe_load(&a, recipe_files[n].name, &model, given, &e))
            fail_msg("%s", e.text);
        write_recipe(a.text, strlen(a.text));
        struct recipe *b = load(path, NULL, 0);
        assert_string_equal(a.text, b->text);
        assert_string_equal(a.title, b->title);
        assert_true(strlen(a.title) > 20);
        assert_int_equal(a.phases, b->phases);
        for (int p = 0; p < a.phases; p++) {
            same_stages(&a.phase[p], &b->phase[p]);
            assert_memory_equal(&a.phase[p].rollout, &b->phase[p].rollout, sizeof a.phase[p].rollout);
            assert_memory_equal(&a.phase[p].optim, &b->phase[p].optim, sizeof a.phase[p].optim);
            assert_int_equal(a.phase[p].steps, b->phase[p].steps);
            assert_int_equal(a.phase[p].source, b->phase[p].source);
            assert_int_equal(a.phase[p].reset_optimiser, b->phase[p].reset_optimiser);
        }
        assert_int_equal(a.model_count, b->model_count);
        recipe_free(&a);
        recipe_free(b);
    }
    assert_true(n >= 4);
}

/* ---- a recipe to change */

static const char base[] = "# A title\n"                     /* 1 */
                           "[params]\n"                      /* 2 */
                           "lo = 0.2\n"                      /* 3 */
                           "[task]\n"                        /* 4 */
                           "name = chain # the task\n"       /* 5 */
                           "[models]\n"                      /* 6 */
                           "ref = init frozen\n"             /* 7 */
                           "[rollout]\n"                     /* 8 */
                           "samples = 4\n"                   /* 9 */
                           "[optim]\n"                       /* 10 */
                           "lr = 1e-3\n"                     /* 11 */
                           "[stages]\n"                      /* 12 */
                           "score = outcome, format\n"       /* 13 */
                           "shape = sum(format = 0.1)\n"     /* 14 */
                           "advantage = group(eps = 1e-4)\n" /* 15 */
                           "loss = clip(eps-low = $lo)\n"    /* 16 */
                           "regular = kl(coef = 0.1)\n"      /* 17 */
                           "[phase warm]\n"                  /* 18 */
                           "source = gold\n"                 /* 19 */
                           "steps = 3\n"                     /* 20 */
                           "loss = nll\n"                    /* 21 */
                           "[phase rl]\n"                    /* 22 */
                           "steps = 5\n";                    /* 23 */

/* The base with the first `find` replaced. */
static void write_changed(const char *find, const char *replace)
{
    struct text t = {0};
    const char *at = find ? strstr(base, find) : base;
    if (!at)
        fail_msg("'%s' is not in the base", find);
    text_add(&t, base, (int)(at - base));
    text_add(&t, find ? replace : "", -1);
    text_add(&t, at + (find ? strlen(find) : 0), -1);
    write_recipe(t.s, (size_t)t.len);
    text_free(&t);
}

static const struct stage_use *use(const struct recipe *r, int phase, enum stage_kind kind, const char *name)
{
    for (int i = 0; i < r->phase[phase].stages; i++)
        if (r->phase[phase].stage[i].stage == stage_find(kind, name))
            return &r->phase[phase].stage[i];
    fail_msg("no stage %s", name);
    return NULL;
}

static double value_of(const struct recipe *r, int phase, enum stage_kind kind, const char *name, const char *key)
{
    const struct stage_use *u = use(r, phase, kind, name);
    return u->value[param_find(u->stage->params, key)].num;
}

static void the_base_means_what_it_says(void **state)
{
    (void)state;
    write_changed(NULL, NULL);
    struct recipe *r = load(path, NULL, 0);
    assert_string_equal(r->title, "A title");
    assert_string_equal(r->name, "r");
    assert_string_equal(r->task.name, "chain");
    assert_int_equal(r->phases, 2);
    assert_int_equal(r->phase[0].source, SOURCE_GOLD);
    assert_int_equal(r->phase[0].stages, 1); /* not the lines of [stages] */
    assert_int_equal(r->phase[0].batch, 32);
    const struct phase *p = &r->phase[1];
    static const char *const order[] = {"outcome", "format", "sum", "outcome", "group", "clip", "kl"};
    static const enum stage_kind kinds[] = {STAGE_SCORE,     STAGE_SCORE, STAGE_SHAPE,  STAGE_CREDIT,
                                            STAGE_ADVANTAGE, STAGE_LOSS,  STAGE_REGULAR};
    assert_int_equal(p->stages, 7);
    for (int i = 0; i < 7; i++) {
        assert_string_equal(p->stage[i].stage->name, order[i]);
        assert_int_equal(p->stage[i].stage->kind, kinds[i]);
    }
    assert_string_equal(use(r, 1, STAGE_SHAPE, "sum")->value[0].text, "format = 0.1");
    assert_true(value_of(r, 1, STAGE_LOSS, "clip", "eps_low") == 0.2);
    assert_true(value_of(r, 1, STAGE_ADVANTAGE, "group", "eps") == 1e-4);
    assert_true(isinf(value_of(r, 1, STAGE_LOSS, "clip", "dual_clip")) && use(r, 1, STAGE_LOSS, "clip")->line == 16);
    assert_int_equal(p->rollout.samples, 4);
    assert_true(p->optim.lr == 1e-3 && p->steps == 5 && p->optim.clip == 1);
    assert_int_equal(r->model_count, 1);
    assert_true(r->models[0].init && r->models[0].frozen && !strcmp(r->models[0].name, "ref"));
    assert_int_equal(r->run.seed, 1);
    recipe_free(r);
}

static void overrides_land(void **state)
{
    (void)state;
    write_changed(NULL, NULL);
    const char *many[] = {"lo=0.3",       "clip.eps-high=0.5", "rl.samples=16",  "task.mod=7",     "seed=9",
                          "optim.lr=0.5", "warm.lr=0.25",      "sum.outcome=2",  "optim.clip=off", "model.preset=x#y",
                          "kl.coef=0",    "run.out=\"a b\"",   "outcome.right=3"};
    struct recipe *r = load(path, many, sizeof many / sizeof *many);
    assert_true(value_of(r, 1, STAGE_LOSS, "clip", "eps_low") == 0.3);
    assert_true(value_of(r, 1, STAGE_LOSS, "clip", "eps_high") == 0.5);
    assert_true(value_of(r, 1, STAGE_SCORE, "outcome", "right") == 3);
    assert_string_equal(use(r, 1, STAGE_SHAPE, "sum")->value[0].text, "format = 0.1, outcome = 2");
    assert_int_equal(r->phase[1].rollout.samples, 16);
    assert_int_equal(r->rollout.samples, 4);
    assert_true(r->task_value[param_find(r->task_row->params, "mod")].num == 7);
    assert_int_equal(r->run.seed, 9);
    assert_true(r->phase[0].optim.lr == 0.25 && r->phase[1].optim.lr == 0.5 && isinf(r->phase[1].optim.clip));
    assert_string_equal(r->model.preset, "x#y");
    assert_string_equal(r->run.out, "a b");
    assert_null(strstr(r->text, "a b")); /* where a run is written is not part of what it is */
    char *text = mem_strdup(r->text);
    recipe_free(r);
    write_recipe(text, strlen(text));
    r = load(path, NULL, 0);
    assert_string_equal(r->text, text);
    mem_free(text);
    recipe_free(r);

    write_changed(NULL, NULL);
    r = load_with(path, "rl.advantage=group(std=false)"); /* a phase's line in place of [stages] */
    assert_true(value_of(r, 1, STAGE_ADVANTAGE, "group", "std") == 0);
    recipe_free(r);
    r = load_with(path, "rl.select=dynamic"); /* a kind that [stages] lacks goes where the table has it */
    assert_string_equal(r->phase[1].stage[3].stage->name, "dynamic");
    recipe_free(r);
    r = load_with(path, "loss.clip.eps_low=0.4"); /* the knob no longer reaches a stage and leaves the text */
    assert_null(strstr(r->text, "[params]"));
    recipe_free(r);
    write_changed("kl(coef = 0.1)", "entropy(coef = 0.1, agg = token_mean), kl");
    r = load_with(path, "entropy.coef=0"); /* what only mattered with a coefficient is left out, not refused */
    assert_non_null(strstr(r->text, "entropy(coef = 0)"));
    recipe_free(r);
}

static void small_recipes(void **state)
{
    (void)state;
    static const char bare[] = "[task]\nname = chain\n[stages]\nscore = outcome\nadvantage = group\nloss = clip\n";
    write_recipe(bare, sizeof bare - 1);
    struct recipe *r = load_with(path, "rl.steps=4"); /* no phase: one called rl */
    assert_int_equal(r->phases, 1);
    assert_int_equal(r->phase[0].steps, 4);
    assert_int_equal(r->phase[0].stages, 5); /* sum and credit were inserted */
    recipe_free(r);
    static const char windows[] =
        "\xef\xbb\xbf[task]\r\nname = \"chain\"\r\n[phase a]\r\nsource = gold\r\nsteps = 1\r\nloss = nll";
    write_recipe(windows, sizeof windows - 1);
    r = load(path, NULL, 0);
    assert_string_equal(r->phase[0].name, "a");
    recipe_free(r);
    static const char order[] =
        "[task]\nname = chain\n[stages]\nregular = entropy\nscore = outcome\nadvantage = group\n"
        "loss = clip\n[phase p]\nseconds = 2\n";
    write_recipe(order, sizeof order - 1);
    r = load(path, NULL, 0);
    assert_string_equal(r->phase[0].stage[0].stage->name, "entropy"); /* the order written */
    recipe_free(r);
}

/* ---- refused */

static const struct {
    const char *find, *replace, *override, *message;
} wrong[] = {
    {"[rollout]", "[rolout]", NULL, "r.ini:8: unknown section 'rolout', did you mean 'rollout'?"},
    {"samples = 4", "sampels = 4", NULL, "r.ini:9: unknown key 'sampels' in [rollout], did you mean 'samples'?"},
    {"samples = 4", "samples = 4\nsamples = 5", NULL, "r.ini:10: duplicate key 'samples', first in line 9"},
    {"[optim]", "[rollout]", NULL, "r.ini:10: the section stands already in line 8"},
    {"samples = 4", "samples = 0", NULL, "r.ini:9: samples = 0: out of bounds (from 1 to 65536)"},
    {"samples = 4", "samples = 4.5", NULL, "r.ini:9: samples = 4.5: not a whole number"},
    {"lr = 1e-3", "lr = fast", NULL, "r.ini:11: lr = fast: not a number"},
    {"lr = 1e-3", "schedule = linaer", NULL,
     "r.ini:11: schedule = linaer: not one of constant|linear|cosine; did you mean 'linear'?"},
    {"lr = 1e-3", "min_lr = 0.5", NULL,
     "r.ini:11: min_lr would change nothing: it only matters with schedule!=constant"},
    {"lr = 1e-3", "lr = $lo", NULL, "r.ini:11: lr = $lo: only stage parameters refer to [params]"},
    {"samples = 4", "top_k = 5", NULL, "r.ini:9: top_k needs max_support"},
    {"samples = 4", "max_support = 5", NULL, "r.ini:9: max_support would change nothing without top_k"},
    {"samples = 4", "top_k = 9\nmax_support = 5", NULL, "r.ini:10: max_support = 5 keeps fewer ids than top_k = 9"},
    {"name = chain", "name = chian", NULL, "r.ini:5: unknown task 'chian', did you mean 'chain'?"},
    {"name = chain", "mod = 7", NULL, "r.ini: no task; add a section [task]"},
    {"# the task", "\nmodd = 7", NULL, "r.ini:6: unknown key 'modd' of the task 'chain', did you mean 'mod'?"},
    {"# the task", "\nmod = 1", NULL, "r.ini:6: mod = 1: out of bounds (from 2 to 1000)"},
    {"# the task", "\nwrong_facts = 0\nwrong_rate = 0.5", NULL,
     "r.ini:7: wrong_rate would change nothing: it only matters with wrong_facts!=0"},
    {"name = chain", "name = stories", NULL, "r.ini:19: source = gold: the task 'stories' has no gold texts"},
    {"score = outcome", "scores = outcome", NULL, "r.ini:13: unknown kind of stage 'scores', did you mean 'score'?"},
    {"score = outcome", "score = outcme", NULL, "r.ini:13: unknown score stage 'outcme', did you mean 'outcome'?"},
    {"score = outcome", "score = clip", NULL, "r.ini:13: 'clip' is a loss stage, not a score; write it under 'loss ='"},
    {"score = outcome, format", "score = outcome format", NULL, "r.ini:13: score: ',' is missing at 'format'"},
    {"score = outcome, format", "score = outcome, ", NULL, "r.ini:13: score: a stage's name is missing"},
    {"score = outcome, format", "score = outcome, format, noise", NULL,
     "r.ini:13: the score stage 'noise' changes the verdicts after 'outcome' has read them; put it before"},
    {"score = outcome, format", "score = outcome, outcome", NULL,
     "r.ini:13: the score stage 'outcome' stands twice in phase 'rl'"},
    {"format = 0.1", "formt = 0.1", NULL, "r.ini:14: unknown component 'formt', did you mean 'format'?"},
    {"format = 0.1", "format = much", NULL, "r.ini:14: format = much: not a number"},
    {"format = 0.1", "length = 0.1", NULL, "r.ini:14: unknown component 'length'; there are outcome and format"},
    {"shape = sum(format = 0.1)", "shape = sum(format = 0.1", NULL, "r.ini:14: sum: ',' or ')' is missing"},
    {"eps = 1e-4", "eps = ", NULL, "r.ini:15: eps has no value"},
    {"eps = 1e-4", "eps", NULL, "r.ini:15: group: parameters are written as (key = value, ...)"},
    {"eps = 1e-4", "eps = 1e-4, eps = 1", NULL, "r.ini:15: group: duplicate parameter 'eps'"},
    {"eps = 1e-4", "epss = 1e-4", NULL, "r.ini:15: unknown parameter 'epss' of 'group', did you mean 'eps'?"},
    {"eps = 1e-4", "std = false, ddof = 0", NULL,
     "r.ini:15: group.ddof would change nothing: it only matters with std=true"},
    {"eps = 1e-4)", ")\ncredit = group", NULL,
     "r.ini:16: 'group' is an advantage stage, not a credit; write it under 'advantage ='"},
    {"group(eps = 1e-4)", "group, group", NULL, "r.ini:15: the advantage stage 'group' stands twice in phase 'rl'"},
    {"$lo", "$low", NULL, "r.ini:16: eps_low = $low: [params] has no such name"},
    {"$lo", "0.2", NULL, "r.ini:3: the knob 'lo' would change nothing: no stage refers to $lo"},
    {"lo = 0.2", "lo = 7", NULL, "r.ini:3: eps_low = 7: out of bounds (from 0 to 1)"},
    {"eps-low = $lo", "eps_low = $lo, agg = \"token mean", NULL, "r.ini:16: agg: the closing quote is missing"},
    {"loss = clip", "loss = nll(agg = token_mean)#", NULL,
     "r.ini:15: the advantage stage 'group' writes the advantage, but no later stage"},
    {"advantage = group(eps = 1e-4)", "", NULL,
     "r.ini:16: the loss stage 'clip' reads the advantage before anything wrote it in phase 'rl'; put an advantage "
     "stage before it"},
    {"score = outcome, format\nshape = sum(format = 0.1)", "\n", NULL,
     "r.ini:22: the credit stage 'outcome' reads the reward before anything wrote it"},
    {"shape = sum(format = 0.1)", "shape = crf", NULL,
     "r.ini:14: the shape stage 'crf' reads the component 'concise', which no score stage before it writes"},
    {"shape = sum(format = 0.1)", "shape = mix(components = \"outcome, length\")", NULL,
     "r.ini:14: the shape stage 'mix' reads the component 'length', which no score stage before it writes; add "
     "`length` to the line `score = ...`"},
    {"shape = sum(format = 0.1)", "shape = mix(components = \"outcome, format\", weights = \"1, many\")", NULL,
     "r.ini:14: the shape stage 'mix': weights: 'many' is no number"},
    {"shape = sum(format = 0.1)", "shape = mix(components = \"outcome, format\", weights = \"1\")", NULL,
     "r.ini:14: the shape stage 'mix': 1 weights for 2 components (outcome, format); give one each, or none"},
    {"shape = sum(format = 0.1)", "shape = mix(components = outcome, weights = inf)", NULL,
     "r.ini:14: the shape stage 'mix': weights: 'inf' is no number"},
    {"group(eps = 1e-4)", "gdpo(condition = \"format:outcome\")", NULL,
     "r.ini:15: the advantage stage 'gdpo': condition 'format:outcome' is not A:B:T"},
    {"group(eps = 1e-4)", "gdpo(condition = \"format:outcome:1, format:outcome:one\")", NULL,
     "r.ini:15: the advantage stage 'gdpo': condition 'format:outcome:one' is not A:B:T"},
    {"group(eps = 1e-4)", "gdpo(condition = \"length:outcome:1\")", NULL,
     "r.ini:15: the advantage stage 'gdpo': condition 'length:outcome:1': 'length' is none of the components "
     "outcome,format"},
    {"group(eps = 1e-4)", "gdpo(condition = \"format:length:1\")", NULL,
     "r.ini:15: the advantage stage 'gdpo' reads the component 'length', which no score stage before it writes"},
    {"eps = 1e-4", "mode = process", NULL, "r.ini:15: the advantage stage 'group' reads the component 'process'"},
    {"score = outcome", "loss = clip\nscore = outcome", NULL, "r.ini:17: duplicate key 'loss', first in line 13"},
    {"advantage = group(eps = 1e-4)\nloss = clip(eps-low = $lo)", "loss = clip(eps-low = $lo)\nadvantage = group", NULL,
     "r.ini:15: the loss stage 'clip' reads the advantage before"},
    {"loss = clip(eps-low = $lo)", "", NULL, "r.ini:22: phase 'rl' has no loss; add a line such as `loss = clip`"},
    {"loss = nll", "", NULL, "r.ini:18: phase 'warm' has no loss; add a line such as `loss = nll`"},
    {"ref = init frozen", "", NULL,
     "r.ini:17: the regular stage 'kl' reads ref.logp, but [models] declares no 'ref'; add the line `ref = init "
     "frozen` under [models]"},
    {"ref = init frozen", "ref = init", NULL, "r.ini:7: the model 'ref' is not frozen, but no phase trains it"},
    {"ref = init frozen", "ref = frozen", NULL, "r.ini:7: ref: a model begins as `init`"},
    {"ref = init frozen", "ref = init icy", NULL,
     "r.ini:7: ref = ... 'icy': a model is `init`, `preset:NAME` or `path:DIR`"},
    {"ref = init frozen", "ref = init frozen\nrm = path:x frozen", NULL,
     "r.ini:8: the model 'rm' would change nothing: no stage reads it"},
    {"ref = init frozen", "policy = init", NULL, "r.ini:7: the policy is what [model] describes"},
    {"steps = 3\nloss = nll", "steps = 3\nloss = nll\ntrain = ref", NULL,
     "r.ini:22: phase 'warm' trains 'ref', which [models] declares frozen"},
    {"steps = 3", "steps = 3\nsamples = 2", NULL,
     "r.ini:21: samples would change nothing: phase 'warm' learns from gold texts"},
    {"steps = 3", "steps = 3\nscore = outcome", NULL,
     "r.ini:21: a phase with source = gold runs only loss and regular stages, not 'outcome'"},
    {"steps = 3", "stepps = 3", NULL, "r.ini:20: unknown key 'stepps' in a phase, did you mean 'steps'?"},
    {"steps = 5", "", NULL, "r.ini:22: phase 'rl' has no steps; write `steps = 100` in [phase rl] or rl.steps=100"},
    {"steps = 5", "steps = 5\nbatch = 3", NULL,
     "r.ini:24: batch would change nothing: it only matters with source=gold"},
    {"steps = 5", "steps = 5\nloss = clip", NULL, "r.ini:16: the line 'loss = ...' would change nothing"},
    {"steps = 5", "steps = 5\nbranch = wram", NULL, "r.ini:24: unknown earlier phase 'wram', did you mean 'warm'?"},
    {"steps = 5", "steps = 5\nbranch = rl", NULL, "r.ini:24: unknown earlier phase 'rl'; there is only warm"},
    {"[phase rl]", "[phase]", NULL, "r.ini:22: a phase needs a name: [phase rl]"},
    {"[phase rl]", "[phase rl", NULL, "r.ini:22: the section's ']' is missing"},
    {"[phase rl]", "[phase warm]", NULL, "r.ini:22: the section stands already in line 18"},
    {"[phase rl]", "[phase a+b]", NULL, "r.ini:22: 'a+b' is no name for a phase"},
    {"samples = 4", "samples", NULL, "r.ini:9: neither [section] nor key = value: 'samples'"},
    {"samples = 4", "sam ples = 4", NULL, "r.ini:9: 'sam ples' is no name"},
    {"samples = 4", "samples = \"4", NULL, "r.ini:9: \"4: the closing quote is missing"},
    {"# A title\n[params]", "x = 1\n[params]", NULL, "r.ini:1: 'x' stands before the first section"},
    {"samples = 4", "samples = \001", NULL, "r.ini:9: a control character"},
    {"name = chain # the task", "name = stories\n", "warm.source=rollout", "r.ini:"},
    {NULL, NULL, "lambda=1", "on the command line: lambda=1: unknown name 'lambda'; there are lo and seed"},
    {NULL, NULL, "lr=1", "on the command line: lr=1: unknown name 'lr', did you mean 'optim.lr'?"},
    {NULL, NULL, "params.hi=1", "on the command line: params.hi=1: unknown name 'hi'"},
    {NULL, NULL, "clip.eps_lo=1", "unknown parameter 'eps_lo' of 'clip', did you mean 'eps_low'?"},
    {NULL, NULL, "clip.eps_low=2", "on the command line: clip.eps_low=2: eps_low = 2: out of bounds"},
    {NULL, NULL, "rll.steps=2", "unknown section, phase or stage 'rll', did you mean 'rl'?"},
    {NULL, NULL, "nonsense", "on the command line: nonsense: an override is written as key=value"},
    {NULL, NULL, "a.b.c.d=1", "'a.b.c.d' is no key"},
    {NULL, NULL, "lose.clip.eps_low=1", "unknown kind of stage 'lose', did you mean 'loss'?"},
    {NULL, NULL, "length.per=3", "on the command line: length.per=3: no phase of this recipe runs the stage 'length'"},
    {NULL, NULL, "rl.source=gold", "phase 'rl' has no loss"},
    {"steps = 5", "steps = 5\nlr = 1", "warm.lr=1", ""},
    {"steps = 5", "steps = 5\nsamples = 3", "rollout.samples=9",
     "on the command line: rollout.samples=9: samples would change nothing: every phase has its own; write "
     "rl.samples=..."},
    {"[phase rl]", "[phase clip]", "clip.eps_high=1", ""},
    {"[phase rl]", "[phase group]", "group.eps=1",
     "on the command line: group.eps=1: 'group' is a section or phase and a stage; write advantage.group.eps"},
    {"[phase rl]", "[phase optim]", "optim.lr=1",
     "on the command line: optim.lr=1: 'optim' is a section and a phase; rename the phase"},
    {"lo = 0.2", "lo = 0.2\nseed = 1", "seed=2",
     "on the command line: seed=2: 'seed' is both a knob of [params] and run.seed"},
    {NULL, NULL, "kl.coef=1e99", "coef = 1e99: out of bounds"},
};

static void wrong_recipes_are_refused(void **state)
{
    (void)state;
    static struct recipe r;
    int refused = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct error e = {""};
        write_changed(wrong[i].find, wrong[i].replace);
        int bad = recipe_load(&r, path, &wrong[i].override, wrong[i].override != NULL, &e);
        if (!bad != !*wrong[i].message)
            fail_msg("case %zu (%s -> %s, %s) was %s: %s", i, wrong[i].find, wrong[i].replace, wrong[i].override,
                     bad ? "refused" : "accepted", e.text);
        if (bad && !strstr(e.text, wrong[i].message))
            fail_msg("case %zu: got    %s\n       expected %s", i, e.text, wrong[i].message);
        refused += bad != 0;
        recipe_free(&r);
    }
    assert_true(refused >= 40);
}

static void steps_need_a_task_that_has_them(void **state)
{
    (void)state;
    static struct recipe r;
    static const char text[] =
        "[task]\nname = stories\n[model]\npath = x\n[stages]\nscore = process\nadvantage = group\n"
        "loss = clip\n[phase rl]\nsteps = 1\n";
    struct error e;
    write_recipe(text, sizeof text - 1);
    assert_int_equal(recipe_load(&r, path, NULL, 0, &e), -1);
    assert_non_null(strstr(e.text, "r.ini:6: the score stage 'process' reads steps, but the task 'stories' has none"));
    assert_int_equal(recipe_load(&r, "stories", NULL, 0, &e), -1);
    assert_non_null(
        strstr(e.text, "the task 'stories' needs a trained model with its own tokenizer; give model.path=DIR"));
    assert_int_equal(recipe_load(&r, "chane", NULL, 0, &e), -1);
    assert_string_equal(e.text, "no recipe is called 'chane'; did you mean 'chain'?");
    const char *twice[] = {"seed=1", "run.seed=2"};
    assert_int_equal(recipe_load(&r, "chain", twice, 2, &e), -1);
    assert_non_null(strstr(e.text, "on the command line: run.seed=2: duplicate key 'seed', given before as seed=1"));
    const char *again[] = {"clip.eps_low=0.1", "loss.clip.eps_low=0.3"};
    assert_int_equal(recipe_load(&r, "chain", again, 2, &e), -1);
    assert_non_null(strstr(e.text, "duplicate key 'eps_low', given before as clip.eps_low=0.1"));
    assert_int_equal(recipe_load(&r, "no/such/file.ini", NULL, 0, &e), -1);
}

/* Hostile text: any single byte changed or the text cut anywhere either loads or is refused, and frees what it took. */
static void damaged_recipes_do_no_harm(void **state)
{
    (void)state;
    static struct recipe r;
    static const char bytes[] = "\"(),=[]#$\\x\0\n";
    struct error e;
    char text[sizeof base];
    for (size_t at = 0; at < sizeof base - 1; at++) {
        memcpy(text, base, sizeof base);
        text[at] = bytes[at % (sizeof bytes - 1)];
        write_recipe(text, sizeof base - 1);
        if (recipe_load(&r, path, NULL, 0, &e) == 0)
            recipe_free(&r);
        write_recipe(base, at);
        if (recipe_load(&r, path, NULL, 0, &e) == 0)
            recipe_free(&r);
    }
    struct text big = {0};
    text_add(&big, "[stages]\nscore = ", -1);
    for (int i = 0; i < 500; i++)
        text_add(&big, "outcome,", -1);
    write_recipe(big.s, (size_t)big.len);
    assert_int_equal(recipe_load(&r, path, NULL, 0, &e), -1);
    for (int i = 0; i < 500; i++)
        text_add(&big, "outcome,", -1);
    write_recipe(big.s, (size_t)big.len);
    assert_int_equal(recipe_load(&r, path, NULL, 0, &e), -1);
    assert_non_null(strstr(e.text, "r.ini:2: the line is longer than 4096 bytes"));
    text_clear(&big);
    for (int i = 0; i < 40; i++)
        text_addf(&big, "[phase p%d]\n", i);
    write_recipe(big.s, (size_t)big.len);
    assert_int_equal(recipe_load(&r, path, NULL, 0, &e), -1);
    assert_non_null(strstr(e.text, "r.ini:9: more than 8 phases"));
    text_free(&big);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}
static int remove_directory(void **state)
{
    (void)state;
    return file_remove_directory(directory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe_resolves_to_itself),
        cmocka_unit_test(the_base_means_what_it_says),
        cmocka_unit_test(overrides_land),
        cmocka_unit_test(small_recipes),
        cmocka_unit_test(wrong_recipes_are_refused),
        cmocka_unit_test(steps_need_a_task_that_has_them),
        cmocka_unit_test(damaged_recipes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

/* The verb trace: its numbers are those of the run, bit for bit, whether it starts from the beginning or from a
 * checkpoint; they fit together; nothing is written. Both views hold hostile text. And the debug build, in which a
 * learner steps through the same code: it computes the same with other operations.
 */
#define FOLDER "/tmp/test_trace.XXXXXX"
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <time.h>
#include "../dev/verbs/trace.h"
#include "../rewards/stage.h"
#include "runs.h"
#include "page.h"

static const char recipe[] = "# Small\n[task]\nname = chain\nbare = 0.3\n"
                             "[model]\npreset = nano-llama\n[models]\nref = init frozen\n"
                             "[rollout]\nprompts = 4\nsamples = 4\nmax_new = 12\n"
                             "[eval]\nprompts = 10\nevery = 0\nsamples = 2\n[run]\nlog_samples = 16\n"
                             "[optim]\nepochs = 2\nclip = 0.05\n"
                             "[stages]\nscore = outcome, length, process\nshape = sum(length = 0.01, process = 0.1)\n"
                             "advantage = group(std = true)\nloss = clip\nregular = kl(coef = 0.1)\n"
                             "[phase warmup]\nsource = gold\nsteps = 6\nbatch = 4\nlr = 6e-3\nloss = nll\n"
                             "[phase rl]\nsource = rollout\nsteps = 12\nlr = 1e-3\nreset_optimiser = true\n";

static char file[600];

static int make_whole(void **state)
{
    char words[900];
    if (set_up(state))
        return -1;
    write_recipe("all.ini", recipe);
    snprintf(words, sizeof words, "rl|%s|run.threads=1", in_folder(file, "all.ini"));
    train("whole", words);
    return 0;
}

/* ---- reading what a trace printed ---- */

static json_t *parse(const char *s, size_t len)
{
    struct error e;
    json_t *o = json_parse(s, len, &e);
    if (!o)
        fail_msg("%s", e.text);
    return o;
}

/* The object of a trace; words as for call(). */
static json_t *trace_of(const char *words)
{
    int status = call("trace|%s|json=1|run.threads=1", words);
    struct bytes b = slurp("", "printed");
    char *line = strstr(b.p, "\n{");
    if (status || !line)
        fail_msg("status %d: %s", status, b.p);
    json_t *o = parse(line + 1, strcspn(line + 1, "\n"));
    mem_free(b.p);
    return o;
}

static json_t *trace_with(const char *words)
{
    char all[900];
    snprintf(all, sizeof all, "%s|%s", file, words);
    return trace_of(all);
}

static const json_t *get(const json_t *o, const char *path)
{
    char text[200];
    snprintf(text, sizeof text, "%s", path);
    for (char *save = NULL, *key = strtok_r(text, "/", &save); key; key = strtok_r(NULL, "/", &save)) {
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(key)) : json_object_get(o, key);
        if (!o)
            fail_msg("the trace has no %s (at %s)", path, key);
    }
    return o;
}

static double number(const json_t *o, const char *path)
{
    const json_t *x = get(o, path);
    if (!json_is_number(x))
        fail_msg("%s is no number", path);
    return json_number_value(x);
}

static double at(const json_t *lists, size_t i, size_t k)
{
    const json_t *x = json_array_get(json_array_get(lists, i), k);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

static size_t length(const json_t *lists, size_t i)
{
    return json_array_size(json_array_get(lists, i));
}

/* ---- equal to the run ---- */

/* Same value; a whole number may be written with or without a point. */
static int same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

/* The line of the run's log with this phase and step, less the clock, and nothing else. */
static void assert_logged(const json_t *trace, const char *run)
{
    struct bytes b = slurp(run, "log.jsonl");
    int found = 0;
    for (char *line = b.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *o = parse(line, (size_t)(end - line));
        const char *key;
        json_t *value;
        if (number(o, "step") == number(trace, "step") && json_equal(get(o, "phase"), get(trace, "phase"))) {
            size_t keys = 0;
            json_object_foreach(o, key, value)
            {
                if (strncmp(key, "t_", 2) == 0)
                    continue;
                keys++;
                if (!same_value(value, get(get(trace, "log"), key)))
                    fail_msg("%s differs from the run's log", key);
            }
            assert_int_equal(keys, json_object_size(get(trace, "log")));
            found++;
        }
        json_decref(o);
    }
    mem_free(b.p);
    assert_int_equal(found, 1);
}

static double component(const json_t *trace, const char *name, size_t i)
{
    const json_t *stages = get(trace, "stages"), *stage, *c;
    size_t s, k;
    json_array_foreach(stages, s, stage)
    {
        json_array_foreach(get(stage, "components"), k, c)
        {
            if (strcmp(json_string_value(get(c, "name")), name) == 0)
                return json_number_value(json_array_get(get(c, "values"), i));
        }
    }
    fail_msg("no component %s", name);
    return 0;
}

/* Sample i of the group against its line of samples.jsonl. */
static void check_sample(const json_t *trace, size_t i, const json_t *line)
{
    const json_t *s = json_array_get(get(trace, "samples"), i), *value;
    const char *key;
    assert_true(json_equal(get(line, "prompt"), get(trace, "prompt/text")));
    assert_true(json_equal(get(line, "answer"), get(trace, "prompt/answer")));
    assert_true(json_equal(get(line, "response"), get(s, "text")));
    assert_true(same_value(get(line, "reward"), get(s, "reward")));
    assert_true(same_value(get(line, "advantage"), get(s, "advantage")));
    assert_true(same_value(get(line, "verdict"), get(s, "verdict")));
    assert_true(same_value(get(line, "truncated"), get(s, "truncated")));
    json_object_foreach(json_object_get(line, "rewards"), key, value)
    {
        assert_true(json_number_value(value) == component(trace, key, i));
    }
}

static void assert_sampled(const json_t *trace, const char *run)
{
    enum { SAMPLES = 4 };
    struct bytes b = slurp(run, "samples.jsonl");
    int seen = 0, first = (int)number(trace, "group") * SAMPLES, checked = 0;
    assert_int_equal(json_array_size(get(trace, "samples")), SAMPLES);
    for (char *line = b.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *o = parse(line, (size_t)(end - line));
        if (number(o, "step") == number(trace, "step")) {
            if (seen >= first && seen < first + SAMPLES) {
                check_sample(trace, (size_t)(seen - first), o);
                checked++;
            }
            seen++;
        }
        json_decref(o);
    }
    mem_free(b.p);
    assert_int_equal(checked, SAMPLES);
}

static void same_as_the_run(void **state)
{
    (void)state;
    for (int g = 0; g < 4; g += 3) {
        char words[60];
        snprintf(words, sizeof words, "step=10|group=%d", g);
        json_t *t = trace_with(words);
        assert_int_equal(number(t, "group"), g);
        assert_int_equal(number(t, "step"), 16);
        assert_logged(t, "whole");
        assert_sampled(t, "whole");
        json_decref(t);
    }
    json_t *t = trace_with("phase=warmup|step=5");
    assert_logged(t, "whole");
    assert_string_equal(json_string_value(get(t, "source")), "gold");
    json_decref(t);
}

/* ---- from a checkpoint ---- */

/* Every file of the run, names and bytes, in one text. */
static struct bytes whole_directory(const char *run)
{
    static const char *const names[] = {"recipe.ini",
                                        "log.jsonl",
                                        "samples.jsonl",
                                        "eval.jsonl",
                                        "checkpoint/recipe.ini",
                                        "checkpoint/config.json",
                                        "checkpoint/tokenizer.json",
                                        "checkpoint/model.safetensors",
                                        "checkpoint/trainer.safetensors"};
    struct text all = {0};
    char path[900];
    for (int d = 0; d < 2; d++) {
        int files = 0;
        snprintf(path, sizeof path, "%s/%s%s", folder, run, d ? "/checkpoint" : "");
        DIR *dir = opendir(path);
        assert_non_null(dir);
        while (readdir(dir))
            files++;
        closedir(dir);
        text_addf(&all, "%d entries\n", files);
    }
    for (int i = 0; i < 9; i++) {
        struct bytes b = slurp(run, names[i]);
        text_addf(&all, "%s %zu\n", names[i], b.len);
        text_add(&all, b.p, (int)b.len);
        mem_free(b.p);
    }
    return (struct bytes){all.s, (size_t)all.len};
}

static void wait_for_lines(const char *run, int lines)
{
    struct timespec t = {0, 20000000};
    for (int i = 0; i < 3000; i++, nanosleep(&t, NULL)) {
        char path[900];
        int n = 0;
        snprintf(path, sizeof path, "%s/%s/log.jsonl", folder, run);
        if (file_size(path) < 0)
            continue;
        struct bytes b = slurp(run, "log.jsonl");
        for (char *c = b.p; (c = strchr(c, '\n')); c++)
            n++;
        mem_free(b.p);
        if (n >= lines)
            return;
    }
    fail_msg("%s never wrote %d lines", run, lines);
}

static void same_from_a_checkpoint(void **state)
{
    (void)state;
    char words[1600], long_run[700], scratch[900];
    snprintf(long_run, sizeof long_run, "%s|rl.steps=100000", file);
    snprintf(words, sizeof words, "rl|%s|run.threads=1|run.save_every=1|run.out=%s/cut", long_run, folder);
    pid_t pid = start(words);
    wait_for_lines("cut", 10); /* some steps of rl */
    assert_int_equal(call("trace|%s/cut|run.threads=1", folder), 1);
    assert_printed("another train_rl is working in");
    kill(pid, SIGKILL);
    finish(pid);

    struct bytes before = whole_directory("cut");
    snprintf(words, sizeof words, "%s/cut", folder);
    json_t *from = trace_of(words); /* the step after the checkpoint */
    assert_string_equal(json_string_value(get(from, "phase")), "rl");
    snprintf(scratch, sizeof scratch, "%s|step=%.0f", long_run, number(from, "phase_step"));
    json_t *whole = trace_of(scratch);
    json_object_set(from, "recipe", json_object_get(whole, "recipe")); /* named by its file */
    assert_true(json_equal(from, whole));
    json_decref(from);
    json_decref(whole);

    snprintf(words, sizeof words, "%s/cut|phase=warmup|step=3", folder); /* before the checkpoint */
    from = trace_of(words);
    snprintf(scratch, sizeof scratch, "%s|phase=warmup|step=3", long_run);
    whole = trace_of(scratch);
    json_object_set(from, "recipe", json_object_get(whole, "recipe"));
    assert_true(json_equal(from, whole));
    json_decref(from);
    json_decref(whole);
    assert_int_equal(call("trace|%s/cut|rl.lr=2e-3", folder), 1);
    assert_printed("lr = 0.002");
    assert_true(equal(before, whole_directory("cut")));
}

/* ---- the numbers among themselves ---- */

/* Update u: advantages, ratios, gradients of clip (before anything clips) and of k3, sums. */
static void check_first_update(const json_t *t)
{
    const json_t *u = get(t, "updates/0"), *ratio = get(u, "ratio"), *logp = get(u, "channels/policy.logp");
    const json_t *clip = get(u, "losses/0/gradients/policy.logp"), *both = get(u, "losses/1/gradients/policy.logp");
    const json_t *ref = get(u, "channels/ref.logp"), *reward = get(t, "stages/3/reward");
    const json_t *advantage = get(t, "stages/5/advantage");
    double tokens = number(u, "denominators/tokens"), mean = 0, square = 0;
    assert_true(number(t, "log/tokens") == tokens);
    for (size_t i = 0; i < 4; i++)
        mean += json_number_value(json_array_get(reward, i)) / 4;
    for (size_t i = 0; i < 4; i++)
        square += pow(json_number_value(json_array_get(reward, i)) - mean, 2) / 3;
    assert_true(square > 0);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < length(ratio, i); k++) {
            double a = (json_number_value(json_array_get(reward, i)) - mean) / (sqrt(square) + 1e-6);
            double d = at(logp, i, k) - at(ref, i, k), kl = at(both, i, k) - at(clip, i, k);
            assert_true(at(ratio, i, k) == 1);
            assert_true(at(logp, i, k) == json_number_value(json_array_get(
                                              get(json_array_get(get(t, "samples"), i), "logp_rollout"), k)));
            assert_true(fabs(at(advantage, i, k) - a) < 1e-12);
            assert_true(fabs(at(clip, i, k) + a / tokens) < 1e-14);
            assert_true(fabs(kl - 0.1 / tokens * (1 - exp(-d))) < 1e-14);
            assert_true(at(get(u, "held"), i, k) == 0);
        }
}

static void check_step(const json_t *u)
{
    const json_t *tensors = get(u, "tensors"), *one;
    double squares = 0, norm = number(u, "grad_norm");
    size_t i;
    json_array_foreach(tensors, i, one)
    {
        squares += pow(number(one, "norm"), 2);
    }
    assert_true(fabs(sqrt(squares) / norm - 1) < 1e-9);
    assert_true(fabs(number(u, "losses/0/part") + number(u, "losses/1/part") - number(u, "loss")) < 1e-14);
    assert_true(norm > 0.05 ? number(u, "clip_factor") == 0.05 / norm : number(u, "clip_factor") == 1);
}

/* Where a token was chosen, its probability before is the one the model gave it, and what rises and falls does. */
static void check_moves(const json_t *u)
{
    const json_t *moves = get(u, "moves"), *m, *o;
    size_t n, k;
    assert_true(json_array_size(moves) > 0 && json_array_size(moves) <= 6);
    json_array_foreach(moves, n, m)
    {
        size_t i = (size_t)number(m, "sample"), t = (size_t)number(m, "token");
        assert_true(fabs(log(number(m, "p/0")) - at(get(u, "channels/policy.logp"), i, t)) < 1e-5);
        assert_true(fabs(log(number(m, "p/1")) - at(get(u, "logp_after"), i, t)) < 1e-5);
        assert_true(number(m, "gradient") == at(get(u, "losses/1/gradients/policy.logp"), i, t));
        double last = INFINITY;
        json_array_foreach(get(m, "up"), k, o)
        {
            double rise = number(o, "p/1") - number(o, "p/0");
            assert_true(rise > 0 && rise <= last);
            last = rise;
        }
        last = -INFINITY;
        json_array_foreach(get(m, "down"), k, o)
        {
            double rise = number(o, "p/1") - number(o, "p/0");
            assert_true(rise < 0 && rise >= last);
            last = rise;
        }
    }
}

static void numbers_fit_together(void **state)
{
    (void)state;
    json_t *t = trace_with("step=3"); /* the first group with different rewards */
    const json_t *first = get(t, "updates/0"), *second = get(t, "updates/1");
    assert_int_equal(json_array_size(get(t, "updates")), 2);
    check_first_update(t);
    check_step(first);
    check_step(second);
    check_moves(first);
    check_moves(second);
    /* the trace's own look after the first update is what the second finds, and the ratio follows from it */
    assert_true(json_equal(get(first, "logp_after"), get(second, "channels/policy.logp")));
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < length(get(second, "ratio"), i); k++)
            assert_true(at(get(second, "ratio"), i, k) ==
                        exp(at(get(first, "logp_after"), i, k) - at(get(first, "channels/policy.logp"), i, k)));
    assert_true(number(t, "log/loss") == (number(first, "loss") + number(second, "loss")) / 2);
    assert_true(number(t, "log/grad_norm") == (number(first, "grad_norm") + number(second, "grad_norm")) / 2);
    json_decref(t);
}

/* ---- the text ---- */

static int columns(const char *line, const char *end)
{
    int n = 0;
    for (; line < end; line++)
        n += ((unsigned char)*line & 0xc0) != 0x80;
    return n;
}

static void text_reads_well(void **state)
{
    (void)state;
    static const char *const order[] = {"Prompt",         "Rollout",           "score = outcome",
                                        "score = length", "score = process",   "shape = sum",
                                        "credit = ",      "advantage = group", "Forward",
                                        "loss = clip",    "regular = kl",      "Backward",
                                        "Update",         "What changed",      "Distributions that moved"};
    assert_int_equal(call("trace|%s|step=3|samples=4|run.threads=1", file), 0);
    struct bytes b = slurp("", "printed");
    char *p = strstr(b.p, "trace of ");
    assert_non_null(p);
    for (char *line = p, *end; (end = strchr(line, '\n')); line = end + 1)
        if (columns(line, end) > 100)
            fail_msg("wider than 100 columns: %.*s", (int)(end - line), line);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (strcmp(order[i], "credit = ") == 0)
            continue; /* the recipe may leave it to the default */
        p = strstr(p, order[i]);
        if (!p)
            fail_msg("no section '%s' after the one before", order[i]);
    }
    mem_free(b.p);
}

/* ---- hostile text ---- */

static const char hostile[] = "</span></td><script>alert('1')</script><img src=x onerror=\"x\">&lt;&\"' \x1b[2J\r\n\t"
                              "\xe2\x80\xae\xc2\x9b-->]]>\x01";

/* Every text of a model, or (all) every text whatsoever, becomes the hostile one. */
static void poison(json_t *o, int all)
{
    static const char *const keys[] = {"text", "answer", "piece", "pieces"};
    const char *key;
    json_t *value;
    void *next;
    size_t i;
    if (json_is_array(o))
        json_array_foreach(o, i, value)
        {
            if (json_is_string(value))
                json_array_set_new(o, i, json_string(hostile));
            else
                poison(value, all);
        }
    json_object_foreach_safe(o, next, key, value)
    {
        int text = all;
        for (int k = 0; k < 4; k++)
            text |= strcmp(key, keys[k]) == 0;
        if (json_is_string(value) && text)
            json_object_set_new(o, key, json_string(hostile));
        else if (!json_is_array(value) || text || !json_is_string(json_array_get(value, 0)))
            poison(value, all);
    }
}

static void absent(const char *text, const char *piece)
{
    if (strstr(text, piece))
        fail_msg("'%s' stands in it", piece);
}

static void check_hostile_page(const json_t *t)
{
    char *page = NULL;
    size_t len;
    FILE *f = open_memstream(&page, &len);
    trace_html(f, t);
    fclose(f);
    check_page(page);
    static const char *const never[] = {"<script",  "<img", "\x1b",  "\xe2\x80\xae",
                                        "\xc2\x9b", "\x01", "http:", "https:"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        absent(page, never[i]);
    free(page);
}

static void hostile_text_stays_text(void **state)
{
    (void)state;
    json_t *t = trace_with("step=3");
    char *text = NULL;
    size_t len;
    poison(t, 0);
    FILE *f = open_memstream(&text, &len);
    trace_text(f, t, 4);
    fclose(f);
    for (const char *c = text; *c; c++)
        if (*c != '\n' && (unsigned char)*c < 32)
            fail_msg("control character %d in: %.80s", *c, c > text + 40 ? c - 40 : text);
    absent(text, "\xe2\x80\xae");
    absent(text, "\xc2\x9b");
    assert_non_null(strstr(text, "\\u{1b}[2J"));
    free(text);
    check_hostile_page(t);
    poison(t, 1);
    check_hostile_page(t);
    json_decref(t);
}

/* The page of the command, of a step with rollouts and of one without; nothing else is written. */
static void page_is_sound(void **state)
{
    (void)state;
    char *here = getcwd(NULL, 0), path[600];
    struct bytes before = whole_directory("whole");
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(call("trace|all.ini|step=3|html=page.html|run.threads=1"), 0);
    assert_int_equal(call("trace|all.ini|phase=warmup|step=1|html=gold.html|run.threads=1"), 0);
    assert_int_equal(call("trace|whole|run.threads=1|html=whole.html"), 0);
    assert_false(file_is_directory("out"));
    assert_int_equal(chdir(here), 0);
    free(here);
    assert_true(equal(before, whole_directory("whole")));
    static const char *const pages[] = {"page.html", "gold.html", "whole.html"};
    for (int i = 0; i < 3; i++) {
        struct bytes b = slurp("", pages[i]);
        check_page(b.p);
        assert_non_null(strstr(b.p, "prefers-color-scheme:dark"));
        mem_free(b.p);
        assert_int_equal(unlink(in_folder(path, pages[i])), 0);
    }
}

/* ---- words and refusals ---- */

/* A learner finds what a section names: the function in its file. */
static void assert_holds(const char *name, const char *function)
{
    struct error e;
    char call_of[80];
    size_t len;
    char *source = file_read(name, 1 << 20, &len, &e);
    if (!source)
        fail_msg("%s", e.text);
    snprintf(call_of, sizeof call_of, "%s(", function);
    if (!strstr(source, call_of))
        fail_msg("%s has no %s", name, call_of);
    mem_free(source);
}

static void sections_name_what_exists(void **state)
{
    (void)state;
    for (const struct trace_section *s = trace_sections; s->name; s++)
        for (int i = 0; i < 2 && s->where[i][0]; i++)
            assert_holds(s->where[i][1], s->where[i][0]);
    for (int i = 0; stages[i]; i++) {
        char path[200];
        snprintf(path, sizeof path, "rewards/%s/%s.c", stage_kind_names[stages[i]->kind], stages[i]->name);
        assert_holds(path, "run");
    }
}

static void refused(const char *words, int status, const char *piece)
{
    assert_int_equal(call("trace|%s|%s|run.threads=1", file, words), status);
    assert_printed(piece);
}

static void refusals(void **state)
{
    (void)state;
    refused("phase=rk", 2, "did you mean 'rl'");
    refused("step=12", 2, "steps 0 to 11");
    refused("step=-1", 2, "step");
    refused("group=4|step=0", 2, "groups 0 to 3");
    refused("grup=1", 2, "grup");
    refused("run.out=elsewhere", 2, "writes no run directory");
    refused("step=0|html=/nowhere/at/all.html", 1, "/nowhere/at/all.html");
    assert_int_equal(call("trace|no-such-recipe"), 2);
}

/* ---- the debug build ---- */

static double first_loss(const char *run)
{
    struct bytes b = slurp(run, "log.jsonl");
    json_t *o = parse(b.p, strcspn(b.p, "\n"));
    double loss = number(o, "loss");
    json_decref(o);
    mem_free(b.p);
    return loss;
}

static int shell(const char *format, ...)
{
    char command[1600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void debug_build_runs(void **state)
{
    (void)state;
    static const char tiny[] = "warmup.steps=2 warmup.batch=2 rl.steps=2 rollout.prompts=2 rollout.samples=2 "
                               "rollout.max_new=6 eval.prompts=2 eval.samples=1 optim.epochs=1";
    if (shell("env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s VARIANT=debug .build/debug/train_rl >%s/printed 2>&1",
              folder)) {
        struct bytes b = slurp("", "printed");
        fail_msg("make: %s", b.p);
    }
    assert_int_equal(
        shell(".build/debug/train_rl rl %s %s run.out=%s/slow >%s/printed 2>&1", file, tiny, folder, folder), 0);
    assert_printed("1 threads");
    char words[700];
    snprintf(words, sizeof words, "rl|%s|run.threads=1", file);
    for (char text[400], *save = NULL, *w = strtok_r(strcpy(text, tiny), " ", &save); w;
         w = strtok_r(NULL, " ", &save)) {
        size_t n = strlen(words);
        snprintf(words + n, sizeof words - n, "|%s", w);
    }
    train("fast", words);
    double slow = first_loss("slow"), fast = first_loss("fast"); /* one in double precision, one in single */
    assert_true(fabs(slow - fast) < 1e-5);
    assert_true(slow != fast);
    assert_int_equal(shell(".build/debug/train_rl trace %s %s step=1 >%s/printed 2>&1", file, tiny, folder), 0);
    assert_printed("operations ref");
    assert_printed("What changed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_run),           cmocka_unit_test(same_from_a_checkpoint),
        cmocka_unit_test(numbers_fit_together),      cmocka_unit_test(text_reads_well),
        cmocka_unit_test(hostile_text_stays_text),   cmocka_unit_test(page_is_sound),
        cmocka_unit_test(sections_name_what_exists), cmocka_unit_test(refusals),
        cmocka_unit_test(debug_build_runs),
    };
    return cmocka_run_group_tests(tests, make_whole, tear_down);
}

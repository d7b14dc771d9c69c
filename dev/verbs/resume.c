#include "resume.h"
#include "../../model/base/clock.h"
#include "../../model/base/file.h"
#include "../../model/base/mem.h"
#include "../../model/safetensors.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 1, WEIGHTS = 0, MOMENT1 = 2, MOMENT2 = 3 }; /* the last three as model_read counts them */
static const char *const list_name[] = {"weights", NULL, "moment1", "moment2"};
/* ---- which tensors, in which order: the same for writing and for reading ---- */

struct saved {
    const char *name;
    struct model *model;
    int list[3], lists;
};
enum { MAX_SAVED = 1 + MAX_MODELS + MAX_PHASES };

/* Does a phase at or after `from` branch from the end of phase p? */
static int still_needed(const struct recipe *r, int p, int from)
{
    for (int i = from; i < r->phases; i++)
        if (trainer_branch(r, i) == p && p < from)
            return 1;
    return 0;
}

static int saved_models(struct trainer *t, struct saved *s)
{
    const struct recipe *r = &t->s.recipe;
    int n = 0;
    s[n++] = (struct saved){"policy", &t->s.policy, {MOMENT1, MOMENT2}, 2};
    for (int i = 0; i < r->model_count; i++)
        if (t->model_ready[i] && (r->models[i].init || !r->models[i].frozen))
            s[n++] = (struct saved){
                r->models[i].name, &t->model[i], {WEIGHTS, MOMENT1, MOMENT2}, r->models[i].frozen ? 1 : 3};
    for (int p = 0; p < r->phases; p++)
        if (still_needed(r, p, t->phase))
            s[n++] = (struct saved){r->phase[p].name, &t->snapshot[p], {WEIGHTS, MOMENT1, MOMENT2}, 3};
    return n;
}

static void tensor_name(char name[96], const struct saved *s, int list, int tensor)
{
    snprintf(name, 96, "%s.%s.%s", s->name, list_name[list], s->model->tensor[tensor].name);
}

enum { CHUNK = 1 << 18 }; /* numbers held at a time */
static int rows_at_once(const struct tensor *w)
{
    int n = CHUNK / w->K;
    return n < 1 ? 1 : n < w->N ? n : w->N;
}

/* ---- what stages remember: keys and values of each state that holds something ---- */

struct kept_state {
    struct state *state;
    char name[96]; /* of its two tensors, less ".keys" and ".values" */
};
enum { MAX_KEPT = MAX_PHASES * MAX_STAGES * MAX_STATES };

static int kept_states(struct recipe *r, struct kept_state *k)
{
    int n = 0;
    for (int f = 0; f < r->phases; f++)
        for (int i = 0; i < r->phase[f].stages; i++)
            for (int j = 0; j < MAX_STATES && r->phase[f].stage[i].state[j].row; j++) {
                struct stage_use *u = &r->phase[f].stage[i];
                k[n].state = &u->state[j];
                snprintf(k[n++].name, sizeof k->name, "state.%.20s.%.20s.%.30s", r->phase[f].name, u->stage->name,
                         u->state[j].row->name);
            }
    return n;
}

/* ---- writing ---- */

static int describe(const struct saved *s, int n, const struct kept_state *kept, int states, struct st_entry **entries)
{
    int total = 2 * states, at = 0;
    for (int i = 0; i < n; i++)
        total += s[i].lists * (s[i].model->tensors - s[i].model->first);
    *entries = mem_alloc((size_t)total, sizeof **entries);
    for (int i = 0; i < n; i++)
        for (int l = 0; l < s[i].lists; l++)
            for (int k = s[i].model->first; k < s[i].model->tensors; k++, at++) {
                struct st_entry *x = &(*entries)[at];
                *x = (struct st_entry){.dtype = DTYPE_F32, .dims = 2};
                x->shape[0] = s[i].model->tensor[k].N;
                x->shape[1] = s[i].model->tensor[k].K;
                tensor_name(x->name, &s[i], s[i].list[l], k);
            }
    for (int i = 0; i < states; i++) {
        const struct state *x = kept[i].state;
        struct st_entry *e = &(*entries)[at];
        e[0] = (struct st_entry){.dtype = DTYPE_I64, .dims = 1, .shape = {x->n}};
        e[1] = (struct st_entry){.dtype = DTYPE_F64, .dims = 2, .shape = {x->n, x->row->width}};
        snprintf(e[0].name, sizeof e->name, "%s.keys", kept[i].name);
        snprintf(e[1].name, sizeof e->name, "%s.values", kept[i].name);
        at += 2;
    }
    return total;
}

static int put_state(struct st_writer *w, const struct state *s, struct error *e)
{
    if (st_put_bytes(w, s->key, (int64_t)s->n * (int64_t)sizeof *s->key, e))
        return -1;
    return st_put(w, s->value, (int64_t)s->n * s->row->width, e);
}

static int put_tensor(struct st_writer *w, const struct model *m, int tensor, int list, struct error *e)
{
    const struct tensor *x = &m->tensor[tensor];
    int at_once = rows_at_once(x), status = 0;
    double *numbers = mem_alloc((size_t)at_once * x->K, sizeof *numbers);
    for (int row = 0; row < x->N && !status; row += at_once) {
        int rows = row + at_once <= x->N ? at_once : x->N - row;
        model_read(m, tensor, list, row, rows, numbers);
        status = st_put(w, numbers, (int64_t)rows * x->K, e);
    }
    mem_free(numbers);
    return status;
}

/* The counters, as the one text that safetensors metadata allows. */
static char *state_text(const struct trainer *t, const struct saved *s, int n)
{
    json_t *o = json_object(), *lines = json_object(), *steps = json_object(), *outer = json_object();
    json_object_set_new(o, "format", json_integer(FORMAT));
    json_object_set_new(o, "phase", json_integer(t->phase));
    json_object_set_new(o, "phase_step", json_integer(t->phase_step));
    json_object_set_new(o, "step", json_integer(t->step));
    json_object_set_new(o, "prompts", json_integer((json_int_t)t->cursor));
    for (int i = 0; i < RUN_FILES; i++)
        json_object_set_new(lines, run_file_names[i], json_integer(t->dir.lines[i]));
    for (int i = 0; i < n; i++)
        json_object_set_new(steps, s[i].name, json_integer(s[i].model->steps));
    json_object_set_new(o, "lines", lines);
    json_object_set_new(o, "optimiser_steps", steps);
    char *inner = json_text(o);
    json_object_set_new(outer, "trainer", json_string(inner));
    char *text = json_text(outer);
    free(inner);
    json_decref(o);
    json_decref(outer);
    return text;
}

static int save_trainer(struct trainer *t, const char *directory, struct error *e)
{
    struct saved s[MAX_SAVED];
    struct kept_state kept[MAX_KEPT];
    struct st_entry *entry;
    struct st_writer w;
    char path[800];
    if (rundir_sync(&t->dir, e))
        return -1;
    int n = saved_models(t, s), all = kept_states(&t->s.recipe, kept), states = 0;
    for (int i = 0; i < all; i++)
        if (kept[i].state->n > 0)
            kept[states++] = kept[i];
    int entries = describe(s, n, kept, states, &entry);
    char *state = state_text(t, s, n);
    snprintf(path, sizeof path, "%s/trainer.safetensors", directory);
    int status = st_create(&w, path, entry, entries, state, e);
    for (int i = 0; i < n && !status; i++)
        for (int l = 0; l < s[i].lists && !status; l++)
            for (int k = s[i].model->first; k < s[i].model->tensors && !status; k++)
                status = put_tensor(&w, s[i].model, k, s[i].list[l], e);
    for (int i = 0; i < states && !status; i++)
        status = put_state(&w, kept[i].state, e);
    if (!status)
        status = st_commit(&w, e);
    free(state);
    mem_free(entry);
    return status;
}

static int link_file(const char *from, const char *to, const char *name)
{
    char source[800], target[800];
    snprintf(source, sizeof source, "%.700s/%s", from, name);
    snprintf(target, sizeof target, "%.700s/%s", to, name);
    return link(source, target);
}

/* Weights under adapters never change: the files of the checkpoint before serve again, under a second name, where the
 * file system has such. */
static int save_policy(const struct trainer *t, const char *before, const char *directory, struct error *e)
{
    const struct model *m = &t->s.policy;
    int frozen = m->arch.lora.rank > 0;
    int linked =
        frozen && !link_file(before, directory, "model.safetensors") && !link_file(before, directory, "config.json");
    if (!linked && checkpoint_save(m, directory, &t->s.special, e))
        return -1;
    return frozen ? lora_save(m, directory, t->s.recipe.model.path, e) : 0;
}

static int save_tokenizer(const struct session *s, const char *directory, struct error *e)
{
    const struct text *settings = &s->tokenizer_settings;
    char path[800];
    snprintf(path, sizeof path, "%s/tokenizer_config.json", directory);
    if (tokenizer_save(s->tokenizer, directory, e))
        return -1;
    return settings->len ? file_write(path, settings->s, (size_t)settings->len, e) : 0;
}

int resume_checkpoint(struct trainer *t, struct error *e)
{
    char directory[700], temporary[700], recipe[800];
    double start = clock_now();
    if (!trainer_records(t))
        return 0;
    rundir_path(&t->dir, "checkpoint", directory);
    rundir_path(&t->dir, "checkpoint.new", temporary);
    if (file_remove_directory(temporary, e) || file_make_directory(temporary, e))
        return -1;
    if (save_policy(t, directory, temporary, e) || save_tokenizer(&t->s, temporary, e))
        return -1;
    snprintf(recipe, sizeof recipe, "%s/recipe.ini", temporary);
    if (file_write(recipe, t->s.recipe.text, strlen(t->s.recipe.text), e) || save_trainer(t, temporary, e) ||
        file_swap_directory(temporary, directory, e))
        return -1;
    t->saved_at = clock_now();
    t->save_cost = t->saved_at - start;
    return 0;
}

int resume_is_due(const struct trainer *t)
{
    int every = t->s.recipe.run.save_every;
    return every > 0 && t->step % every == 0 && clock_now() - t->saved_at >= 19 * t->save_cost;
}

/* ---- reading ---- */

/* The first line in which two texts differ: its number, and both lines. */
static int refuse_other_recipe(const char *saved, const char *now, const char *path, struct error *e)
{
    for (int line = 1;; line++) {
        int a = (int)strcspn(saved, "\n"), b = (int)strcspn(now, "\n");
        if (a != b || memcmp(saved, now, (size_t)a) != 0)
            return fail(e,
                        "%s:%d: the run was started with '%.*s', now it is '%.*s'; a resumed run keeps its recipe (for "
                        "a new run from its weights: model.path=)",
                        path, line, a, saved, b, now);
        saved += a + (saved[a] != 0);
        now += b + (now[b] != 0);
    }
}

static int check_recipe(const struct trainer *t, const char *directory, struct error *e)
{
    char path[800];
    size_t len;
    snprintf(path, sizeof path, "%s/recipe.ini", directory);
    char *text = file_read(path, 1 << 20, &len, e);
    if (!text)
        return -1;
    int status = strcmp(text, t->s.recipe.text) ? refuse_other_recipe(text, t->s.recipe.text, path, e) : 0;
    mem_free(text);
    return status;
}

static int read_counters(struct trainer *t, const json_t *o, long lines[RUN_FILES], struct error *e)
{
    const struct recipe *r = &t->s.recipe;
    const json_t *files = json_object_get(o, "lines");
    long format, phase, phase_step, prompts;
    if (json_need_int(o, "format", FORMAT, FORMAT, &format, e) || json_need_int(o, "phase", 0, r->phases, &phase, e) ||
        json_need_int(o, "phase_step", 0, phase < r->phases ? r->phase[phase].steps : 0, &phase_step, e) ||
        json_need_int(o, "step", 0, LONG_MAX, &t->step, e) || json_need_int(o, "prompts", 0, LONG_MAX, &prompts, e))
        return -1;
    for (int i = 0; i < RUN_FILES; i++)
        if (json_need_int(files, run_file_names[i], 0, LONG_MAX, &lines[i], e))
            return -1;
    t->phase = (int)phase;
    t->phase_step = phase_step;
    t->cursor = (uint64_t)prompts;
    return 0;
}

/* Which of the models that begin as copies of the policy had begun. */
static void mark_ready(struct trainer *t, const struct safetensors *f)
{
    const struct recipe *r = &t->s.recipe;
    for (int i = 0; i < r->model_count; i++) {
        char name[96];
        const struct saved s = {r->models[i].name, &t->model[i], {WEIGHTS}, 1};
        tensor_name(name, &s, WEIGHTS, t->model[i].first);
        if (r->models[i].init)
            t->model_ready[i] = safetensors_find(f, name) != NULL;
    }
}

static int get_tensor(const struct safetensors *f, const struct saved *s, int list, int tensor, struct error *e)
{
    const struct tensor *x = &s->model->tensor[tensor];
    const int64_t shape[2] = {x->N, x->K};
    char name[96];
    tensor_name(name, s, list, tensor);
    const struct st_tensor *from = safetensors_need(f, name, 2, shape, e);
    if (!from)
        return -1;
    int at_once = rows_at_once(x), status = 0;
    double *numbers = mem_alloc((size_t)at_once * x->K, sizeof *numbers);
    for (int row = 0; row < x->N && !status; row += at_once) {
        int rows = row + at_once <= x->N ? at_once : x->N - row;
        st_read(from, (int64_t)row * x->K, (int64_t)rows * x->K, numbers);
        for (int i = 0; i < rows * x->K && !status; i++)
            if (!isfinite(numbers[i]) || (list == MOMENT2 && numbers[i] < 0))
                status = fail(e, "%s: tensor '%s' holds %g", f->path, name, numbers[i]);
        if (!status)
            model_write(s->model, tensor, list, row, rows, numbers);
    }
    mem_free(numbers);
    return status;
}

/* The numbers of a state, if the file has any. Returns how many tensors those were, or -1. */
static int get_state(const struct safetensors *f, const struct kept_state *kept, struct error *e)
{
    struct state *s = kept->state;
    char name[112];
    snprintf(name, sizeof name, "%s.keys", kept->name);
    const struct st_tensor *keys = safetensors_find(f, name);
    if (!keys)
        return 0;
    if (keys->dtype != DTYPE_I64 || keys->dims != 1 || keys->count > 1 << 28)
        return fail(e, "%s: tensor '%s' is no list of prompts", f->path, name);
    const int64_t shape[2] = {keys->count, s->row->width};
    snprintf(name, sizeof name, "%s.values", kept->name);
    const struct st_tensor *values = safetensors_need(f, name, 2, shape, e);
    if (!values)
        return -1;
    for (int64_t i = 0; i < keys->count; i++) {
        uint64_t key;
        memcpy(&key, keys->data + i * (int64_t)sizeof key, sizeof key);
        st_read(values, i * s->row->width, s->row->width, state_at(s, key));
    }
    return 2;
}

static int read_tensors(struct trainer *t, const struct safetensors *f, const json_t *state, struct error *e)
{
    struct saved s[MAX_SAVED];
    struct kept_state kept[MAX_KEPT];
    const json_t *steps = json_object_get(state, "optimiser_steps");
    mark_ready(t, f);
    int n = saved_models(t, s), total = 0;
    for (int i = 0; i < n; i++) {
        if (json_need_int(steps, s[i].name, 0, LONG_MAX, &s[i].model->steps, e))
            return fail_in(e, "%s: optimiser_steps", f->path);
        for (int l = 0; l < s[i].lists; l++)
            for (int k = s[i].model->first; k < s[i].model->tensors; k++, total++)
                if (get_tensor(f, &s[i], s[i].list[l], k, e))
                    return -1;
    }
    for (int i = 0; i < n; i++)
        lora_settle(s[i].model);
    int states = kept_states(&t->s.recipe, kept);
    for (int i = 0; i < states; i++) {
        int found = get_state(f, &kept[i], e);
        if (found < 0)
            return -1;
        total += found;
    }
    return total == f->tensors ? 0 : fail(e, "%s holds %d tensors, %d belong to this run", f->path, f->tensors, total);
}

static json_t *read_state(const struct safetensors *f, struct error *e)
{
    json_t *outer = json_parse(f->metadata ? f->metadata : "{}", f->metadata ? strlen(f->metadata) : 2, e);
    const char *inner = outer ? json_get_string(outer, "trainer", "{}") : NULL;
    json_t *state = inner ? json_parse(inner, strlen(inner), e) : NULL;
    json_decref(outer);
    return state;
}

static int load_policy(struct trainer *t, const char *directory, struct error *e)
{
    struct model *m = &t->s.policy;
    struct arch a = m->arch;
    const struct lora *l = &m->arch.lora;
    if (checkpoint_load(m, directory, e))
        return -1;
    if (!l->rank)
        return 0;
    if (lora_read(directory, &a, NULL, e))
        return -1;
    if (a.lora.rank != l->rank || a.lora.alpha != l->alpha || a.lora.root != l->root || a.lora.targets != l->targets)
        return fail(e,
                    "%s: its adapter has another rank, alpha or other linear maps than the one that the recipe begins "
                    "with; was model.lora_path changed?",
                    directory);
    return lora_load(m, directory, e);
}

int resume_read(struct trainer *t, const char *directory, long lines[RUN_FILES], struct error *e)
{
    struct safetensors f;
    char path[800];
    snprintf(path, sizeof path, "%s/trainer.safetensors", directory);
    if (check_recipe(t, directory, e) || load_policy(t, directory, e) || safetensors_open(&f, path, e))
        return -1;
    json_t *state = read_state(&f, e);
    int status = state ? read_counters(t, state, lines, e) : -1;
    if (status)
        fail_in(e, "%s: counters of the run", path);
    else
        status = read_tensors(t, &f, state, e);
    json_decref(state);
    safetensors_close(&f);
    return status;
}

/* ---- what the run's own lines say: times, and milestones for the closing table ---- */

static void use_line(struct trainer *t, enum run_file file, const json_t *line)
{
    if (file == RUN_EVAL && t->milestones < 2 * MAX_PHASES) {
        t->milestones += milestone_read(line, &t->milestone[t->milestones]);
        return;
    }
    const char *phase = json_get_string(line, "phase", "");
    double seconds =
        json_number_value(json_object_get(line, "t_collect")) + json_number_value(json_object_get(line, "t_update"));
    if (t->phase < t->s.recipe.phases && strcmp(phase, t->s.recipe.phase[t->phase].name) == 0)
        t->phase_seconds += seconds;
    else
        t->done_seconds += seconds;
    t->started = clock_now() - json_number_value(json_object_get(line, "t_seconds"));
}

static int use_lines(struct trainer *t, enum run_file file, struct error *e)
{
    size_t len;
    char *text = rundir_read(&t->dir, file, &len, e);
    if (!text)
        return -1;
    int status = 0, number = 1;
    for (char *c = text, *end; !status && (end = memchr(c, '\n', len - (size_t)(c - text))); c = end + 1, number++) {
        json_t *line = json_parse(c, (size_t)(end - c), e);
        if (line)
            use_line(t, file, line);
        else
            status = fail_in(e, "%s/%s, line %d", t->dir.path, run_file_names[file], number);
        json_decref(line);
    }
    mem_free(text);
    return status;
}

int resume_load(struct trainer *t, struct error *e)
{
    char directory[700];
    long lines[RUN_FILES] = {0};
    rundir_path(&t->dir, "checkpoint", directory);
    if (file_is_directory(directory) ? resume_read(t, directory, lines, e) : check_recipe(t, t->dir.path, e))
        return -1;
    if (rundir_cut(&t->dir, lines, e))
        return -1;
    return use_lines(t, RUN_LOG, e) || use_lines(t, RUN_EVAL, e) ? -1 : 0;
}

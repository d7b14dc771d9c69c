/* list and show: what there is, from the rows that the program itself runs by; nothing here is written twice.
 */
#include "verbs.h"
#include "expect.h"
#include "methods.h"
#include "../../data/task.h"
#include "../../model/base/mem.h"
#include "../../model/transformer.h"
#include "../../rewards/method.h"
#include "../../rewards/recipe.h"
#include <math.h>
#include <string.h>

static int same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
            return 0;
    return *a == *b;
}

/* ---- rows of parameters ---- */

static void print_bounds(FILE *f, const struct param *row)
{
    int numeric = row->type == PARAM_NUMBER || row->type == PARAM_INT;
    if (row->type == PARAM_CHOICE)
        fprintf(f, "one of %s", row->choices);
    else if (row->type == PARAM_BOOL)
        fputs("true or false", f);
    else if (!numeric)
        fputs("text", f);
    else if (isinf(row->max))
        fprintf(f, "%s at least %.10g, or off", row->type == PARAM_INT ? "whole number," : "number,", row->min);
    else
        fprintf(f, "%s %.10g to %.10g", row->type == PARAM_INT ? "whole number," : "number,", row->min, row->max);
}

/* As a recipe takes it: in quotes where it is empty or holds what would end the line. */
static void print_default(FILE *f, const char *def)
{
    int plain = def[0] && !strpbrk(def, "\n\t#");
    fputs(plain ? "" : "\"", f);
    for (; *def; def++)
        if (*def == '\n' || *def == '\t')
            fputs(*def == '\n' ? "\\n" : "\\t", f);
        else
            fputc(*def, f);
    fputs(plain ? "" : "\"", f);
}

static void param_row_print(FILE *f, const struct param *row)
{
    if (strcmp(row->key, "*") == 0) {
        fprintf(f, "  NAME = number ...\n      %s\n", row->help);
        return;
    }
    fprintf(f, "  %s = ", row->key);
    print_default(f, row->def ? row->def : "");
    fprintf(f, "\n      %s\n      ", row->help);
    print_bounds(f, row);
    if (row->only_if)
        fprintf(f, "; only with %s%s", row->only_if, row->only_if[strlen(row->only_if) - 1] == '=' ? "\"\"" : "");
    fputc('\n', f);
}

void param_rows_print(FILE *f, const struct param *rows)
{
    for (int i = 0; i < param_count(rows); i++)
        param_row_print(f, &rows[i]);
}

static void print_parameters(FILE *f, const struct param *rows)
{
    fputs(param_count(rows) ? "\nparameters (with defaults)\n" : "\nno parameters\n", f);
    param_rows_print(f, rows);
}

/* ---- one thing in full ---- */

static void print_fields(FILE *f, const char *what, unsigned fields)
{
    static const char *const names[] = {"components", "reward",  "kept",     "token rewards", "advantage",
                                        "steps",      "outcome", "old logp", "text",          "returns"};
    if (!fields)
        return;
    fprintf(f, "%s", what);
    for (unsigned i = 0, n = 0; i < sizeof names / sizeof *names; i++)
        if (fields >> i & 1)
            fprintf(f, "%s%s", n++ ? ", " : " ", names[i]);
    fputc('\n', f);
}

static void show_stage(FILE *f, const struct stage *s)
{
    static const char *const couples[] = {"own tokens one by one", "own tokens together", "group", "whole batch"};
    fprintf(f, "%s (%s stage)\n%s\n", s->name, stage_kind_names[s->kind], s->sentence);
    if (s->formula && s->formula[0])
        fprintf(f, "\n  %s\n", s->formula);
    if (s->citation && s->citation[0])
        fprintf(f, "\nsource: %s\n", s->citation);
    print_fields(f, "reads:", s->reads);
    print_fields(f, "writes:", s->writes);
    for (int i = 0; i < 6 && s->channels[i]; i++)
        fprintf(f, "channel: %s%s\n", s->channels[i], s->gradients >> i & 1 ? " (with gradient)" : "");
    for (const struct state_row *r = s->state; r && r->name; r++)
        fprintf(f, "remembers: %s\n", r->name);
    if (s->kind == STAGE_LOSS)
        fprintf(f, "a sample's gradient depends on its %s\n", couples[s->couples]);
    if (s->kind == STAGE_ADVANTAGE || s->kind == STAGE_LOSS) {
        fprintf(f, "equal rewards in a group give no policy gradient: %s\n", s->zero_on_equal ? "yes" : "no");
        fprintf(f, "the order of samples in a group does not matter: %s\n", s->permutable ? "yes" : "no");
        if (s->why_not && s->why_not[0])
            fprintf(f, "why not: %s\n", s->why_not);
    }
    print_parameters(f, s->params);
    fprintf(f, "\nin a recipe: %s = %s\n", stage_kind_names[s->kind], s->name);
}

static void show_task(FILE *f, const struct task_row *t)
{
    fprintf(f, "%s (task)\n%s\n\n", t->name, t->sentence);
    if (t->alphabet)
        fprintf(f, "needs no trained model: one token a character%s\n", t->alphabet[0] ? "" : " of its texts");
    else
        fprintf(f, "needs a trained model and its tokenizer: model.path=DIR\n");
    fprintf(f, "texts to warm up on: %s\n", t->gold ? "yes" : "no");
    fprintf(f, "steps: %s\n", !t->steps ? "no" : t->check_step ? "yes, each can be judged" : "yes");
    print_parameters(f, t->params);
}

static void show_model(FILE *f, const struct preset *p)
{
    const struct arch *a = &p->arch;
    fprintf(f, "%s (model preset)\n%s\n\n", p->name, p->sentence);
    fprintf(f, "%ld weights with the vocabulary and context given here; a task may bring its own\n",
            arch_parameters(a));
    fprintf(f, "width %d, %d layers, %d heads of %d, %d key/value heads, MLP %d\n", a->C, a->layers, a->H, a->D, a->G,
            a->F);
    fprintf(f, "vocabulary %d, context %d\n", a->V, a->context);
    fprintf(f, "%s, %s, %s, output matrix %s\n", a->norm == NORM_RMS ? "RMS norm" : "layer norm",
            a->position == POSITION_ROTARY ? "rotary positions" : "learned positions",
            a->mlp == MLP_SWIGLU ? "SwiGLU" : "GELU", a->tied ? "shared with the embedding" : "of its own");
    fprintf(f, "initialised %s\n", p->small ? "by fan-in, as small models like it" : "as GPT-2");
}

static void show_section(FILE *f, const struct section_row *s)
{
    fprintf(f, "[%s] (section of a recipe)\n%s\n\nkeys (with defaults)\n", s->name, s->sentence);
    for (int i = 0; i < s->count; i++)
        param_row_print(f, &s->keys[i].row);
}

/* Sections without fixed keys of their own. */
static const struct {
    const char *name, *sentence, *text;
} free_sections[] = {
    {"params", "The method's knobs, under the names of its paper.",
     "  NAME = VALUE ...\n      Parameters of stages refer to a knob as $NAME; on the command line NAME=VALUE sets "
     "it.\n"},
    {"task", "The task and its parameters.",
     "  name = TASK\n      `train_rl list tasks` has the names, `train_rl show TASK` the parameters.\n"
     "  chat = none|plain|chatml|llama3|llama31\n      Prompts as turns of a conversation, in this format; the answer "
     "ends as its turns do.\n"
     "  system = TEXT\n      Message of the system, in front of the conversation.\n"},
    {"models", "Models beside the policy.",
     "  NAME = init frozen\n      A copy of the policy as the warm-up leaves it.\n"
     "  NAME = path:DIR frozen\n      A model of its own. Stages read it through channels, as ref.logp.\n"
     "  NAME = preset:PRESET head=step\n      A new one, to be trained in a phase with `train = NAME`. head=scalar: "
     "one "
     "number a response (or a token, for critics);\n      head=step: one a step.\n"},
    {"variant", "Other values of the knobs, what other programs compute under the same name.",
     "  [variant NAME]\n  KNOB = VALUE ...\n      Taken with variant=NAME on the command line.\n"
     "  [variant NAME: SECTION]\n  KEY = VALUE ...\n      What the variant adds to a section, or a whole one, as "
     "[variant NAME: phase rm].\n"},
    {"stages", "What is done with the samples of a rollout, a line a kind.",
     "  KIND = NAME(key = value, ...), ...\n      `train_rl list stages` has kinds and names. They run in the order of "
     "the "
     "lines; a phase may have its own lines.\n"},
};
enum { FREE_SECTIONS = sizeof free_sections / sizeof *free_sections };

static void show_method(FILE *f, const struct method *m)
{
    fprintf(f, "%s (%s)\n", m->name, m->sentence && m->sentence[0] ? "tool" : "method, for objective");
    if (m->sentence && m->sentence[0])
        fprintf(f, "%s\n", m->sentence);
    if (m->citation && m->citation[0])
        fprintf(f, "\nsource: %s\n", m->citation);
    for (int i = 0; m->alias && m->alias[i]; i += 2)
        fprintf(f, "params: %s is also written %s\n", m->alias[i + 1], m->alias[i]);
    for (const struct datum *d = m->data; d && d->key; d++)
        fprintf(f, "reads: %s\n", d->key);
}

/* The recipe's text, and what runs of it have given. */
static void show_recipe(FILE *f, const struct recipe_file *r)
{
    struct expectation *x = mem_alloc(1, sizeof *x);
    struct error e;
    fprintf(f, "%s (recipe)\n%s", r->name, r->text);
    if (variants_of(f, r, "\nvariants, taken with variant=NAME: "))
        fputc('\n', f);
    if (!r->expect)
        fprintf(f, "\nexpectation: none yet; train_rl check %s seeds=1..5 write=FILE makes one\n", r->name);
    else if (expect_parse(x, r->expect, strlen(r->expect), &e))
        fprintf(f, "\nexpectation: cannot be read: %s\n", e.text);
    else {
        fputs("\nexpectation: ", f);
        expect_print(f, x);
    }
    expect_free(x);
    mem_free(x);
}

/* Things of one name are separated by an empty line. */
static void begin(FILE *f, int *found)
{
    if ((*found)++)
        fputc('\n', f);
}

static int show_stages(FILE *f, const char *name, int *found)
{
    char full[160];
    for (int i = 0; stages[i]; i++) {
        snprintf(full, sizeof full, "%s.%s", stage_kind_names[stages[i]->kind], stages[i]->name);
        if (!same_name(stages[i]->name, name) && !same_name(full, name))
            continue;
        begin(f, found);
        show_stage(f, stages[i]);
    }
    return *found;
}

int show_print(FILE *f, const char *name)
{
    int found = 0;
    show_stages(f, name, &found);
    for (int i = 0; task_rows[i]; i++)
        if (same_name(task_rows[i]->name, name)) {
            begin(f, &found);
            show_task(f, task_rows[i]);
        }
    for (const struct recipe_file *r = recipe_files; r->name; r++)
        if (same_name(r->name, name)) {
            begin(f, &found);
            show_recipe(f, r);
        }
    for (const struct preset *p = presets; p->name; p++)
        if (same_name(p->name, name)) {
            begin(f, &found);
            show_model(f, p);
        }
    for (const struct section_row *s = recipe_sections; s->name; s++)
        if (same_name(s->name, name)) {
            begin(f, &found);
            show_section(f, s);
        }
    for (int i = 0; i < FREE_SECTIONS; i++)
        if (same_name(free_sections[i].name, name)) {
            begin(f, &found);
            fprintf(f, "[%s] (section of a recipe)\n%s\n\n%s", free_sections[i].name, free_sections[i].sentence,
                    free_sections[i].text);
        }
    for (int i = 0; methods[i]; i++)
        if (same_name(methods[i]->name, name) && (methods[i]->sentence || methods[i]->alias || methods[i]->data)) {
            begin(f, &found);
            show_method(f, methods[i]);
        }
    return found;
}

static int add_name(const char **names, int n, int max, const char *name)
{
    if (n < max)
        names[n++] = name;
    return n;
}

int show_names(const char **names, int max)
{
    int n = 0;
    for (int i = 0; stages[i]; i++)
        n = add_name(names, n, max, stages[i]->name);
    for (int i = 0; task_rows[i]; i++)
        n = add_name(names, n, max, task_rows[i]->name);
    for (const struct recipe_file *r = recipe_files; r->name; r++)
        n = add_name(names, n, max, r->name);
    for (const struct preset *p = presets; p->name; p++)
        n = add_name(names, n, max, p->name);
    for (const struct section_row *s = recipe_sections; s->name; s++)
        n = add_name(names, n, max, s->name);
    for (int i = 0; i < FREE_SECTIONS; i++)
        n = add_name(names, n, max, free_sections[i].name);
    for (int i = 0; methods[i]; i++)
        n = add_name(names, n, max, methods[i]->name);
    for (int i = 0; verbs[i]; i++)
        n = add_name(names, n, max, verbs[i]->name);
    return n;
}

static int run_show(int argc, const char *const *argv)
{
    struct error e;
    const char *names[512];
    if (argc != 1) {
        fail(&e, argc ? "one name at a time" : "a name is missing");
        return verb_usage(&verb_row_show, &e);
    }
    if (show_print(stdout, argv[0]))
        return EXIT_DONE;
    if (verb_find(argv[0]))
        return verb_row_help.run(1, argv);
    const char *near = nearest_name(argv[0], names, show_names(names, 512));
    if (near)
        fail(&e, "there is no '%.80s', did you mean '%s'?", argv[0], near);
    else
        fail(&e, "there is no '%.80s'; `train_rl list` shows the names", argv[0]);
    return verb_usage(&verb_row_show, &e);
}

/* ---- listings ---- */

static void print_item(const char *name, const char *sentence)
{
    printf("  %-16s %s\n", name, sentence);
}

static void list_stages(void)
{
    for (int kind = 0; kind < STAGE_KINDS; kind++) {
        for (int i = 0, n = 0; stages[i]; i++) {
            if ((int)stages[i]->kind != kind)
                continue;
            if (n++ == 0)
                printf(" %s\n", stage_kind_names[kind]);
            print_item(stages[i]->name, stages[i]->sentence);
        }
    }
}

static void list_tasks(void)
{
    for (int i = 0; task_rows[i]; i++)
        print_item(task_rows[i]->name, task_rows[i]->sentence);
}

/* A recipe's sentence is its first line of comment, mostly "Name: sentence". */
static void list_recipes(void)
{
    for (const struct recipe_file *r = recipe_files; r->name; r++) {
        const char *line = r->text + strspn(r->text, "# ");
        printf("  %-16s %.*s\n", r->name, (int)strcspn(line, "\n"), line);
    }
}

static void list_models(void)
{
    for (const struct preset *p = presets; p->name; p++)
        print_item(p->name, p->sentence);
}

static void list_sections(void)
{
    for (const struct section_row *s = recipe_sections; s->name; s++)
        print_item(s->name, s->sentence);
    for (int i = 0; i < FREE_SECTIONS; i++)
        print_item(free_sections[i].name, free_sections[i].sentence);
}

static void list_methods(void)
{
    methods_print(stdout);
}

static void list_variants(void)
{
    if (!variants_print(stdout))
        puts("  (none)");
}

/* Methods that compute and do not train: those with a recipe are listed there. */
static void list_tools(void)
{
    int n = 0;
    for (int i = 0; methods[i]; i++)
        if (methods[i]->sentence && methods[i]->sentence[0] && ++n)
            print_item(methods[i]->name, methods[i]->sentence);
    if (n == 0)
        puts("  (none)");
}

static void list_verbs(void)
{
    for (int i = 0; verbs[i]; i++)
        print_item(verbs[i]->name, verbs[i]->sentence);
}

static const struct {
    const char *name;
    void (*print)(void);
} listing[] = {{"verbs", list_verbs},     {"recipes", list_recipes},   {"tasks", list_tasks},
               {"stages", list_stages},   {"sections", list_sections}, {"models", list_models},
               {"methods", list_methods}, {"variants", list_variants}, {"tools", list_tools}};
enum { LISTINGS = sizeof listing / sizeof *listing };

static const struct param list_options[] = {
    {"format", PARAM_CHOICE, "text", 0, 0, "text|markdown", "With methods: markdown is the table of the README.", NULL},
    {0}};

/* The last word may be an option; only methods have another format than text. */
static int read_format(int *argc, const char *const *argv, struct error *e)
{
    struct value format;
    int last = *argc > 0 && strchr(argv[*argc - 1], '=') != NULL;
    if (verb_options(&verb_row_list, last, argv + *argc - last, &format, e))
        return -1;
    *argc -= last;
    if (format.num == 1 && (*argc != 1 || (strcmp(argv[0], "methods") && strcmp(argv[0], "method"))))
        return fail(e, "format=markdown goes with methods only");
    return (int)format.num;
}

static int run_list(int argc, const char *const *argv)
{
    struct error e;
    const char *names[LISTINGS];
    int markdown = read_format(&argc, argv, &e);
    if (markdown < 0)
        return verb_usage(&verb_row_list, &e);
    if (markdown) {
        methods_markdown(stdout);
        return EXIT_DONE;
    }
    if (argc > 1) {
        fail(&e, "one kind at a time");
        return verb_usage(&verb_row_list, &e);
    }
    for (int i = 0; i < LISTINGS; i++) {
        names[i] = listing[i].name;
        size_t len = strlen(names[i]);
        int one = argc == 1 && strncmp(names[i], argv[0], len - 1) == 0 && /* also in the singular */
                  (!argv[0][len - 1] || strcmp(argv[0] + len - 1, "s") == 0);
        if (argc == 1 && !one)
            continue;
        if (argc == 0)
            printf("%s%s\n", i ? "\n" : "", names[i]);
        listing[i].print();
        if (one)
            return EXIT_DONE;
    }
    if (argc == 0)
        return EXIT_DONE;
    const char *near = nearest_name(argv[0], names, LISTINGS);
    if (near)
        fail(&e, "there are no '%.80s', did you mean '%s'?", argv[0], near);
    else
        fail(&e, "there are no '%.80s'", argv[0]);
    return verb_usage(&verb_row_list, &e);
}

const struct verb verb_row_list = {
    "list",
    "Names and sentences of everything there is.",
    "[verbs|recipes|tasks|stages|sections|models|methods|variants|tools] [format=markdown]",
    "Without a word, all of them. `train_rl show NAME` has one in full. Methods are the recipes whose title names a "
    "paper;\n"
    "variants are other values of their knobs, what other programs compute under the same name.\n"
    "\n"
    "Examples:\n"
    "  train_rl list\n"
    "  train_rl list stages\n"
    "  train_rl list methods format=markdown\n",
    list_options,
    run_list,
};
const struct verb verb_row_show = {
    "show",
    "One stage, task, recipe, model, section or tool in full: parameters, bounds, formula, source.",
    "NAME",
    "NAME is a stage (KIND.NAME where two kinds share a name), a task, a recipe, a model preset, or a section of a\n"
    "recipe; everything of that name is shown. With a recipe stands what runs of it have given, where that was "
    "measured:\n"
    "mean and deviation over seeds, and the interval by which check judges one more run; and the variants it has.\n"
    "\n"
    "Examples:\n"
    "  train_rl show clip\n"
    "  train_rl show score.outcome\n"
    "  train_rl show rollout\n"
    "  train_rl show chain\n",
    NULL,
    run_show,
};

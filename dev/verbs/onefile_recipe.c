/* A checked recipe as constants of C (onefile.h): what the program would read, override and resolve stands there
 * resolved. Fields that are 0 or empty are left out.
 */
#include "onefile.h"
#include <math.h>
#include <string.h>

static void print_number(struct text *out, double x)
{
    char s[64];
    if (isinf(x)) {
        text_add(out, x > 0 ? "INFINITY" : "-INFINITY", -1);
        return;
    }
    if (x == floor(x) && fabs(x) < 1e15) {
        text_addf(out, "%.0f", x);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            break;
    }
    text_add(out, s, -1);
}

static void print_string(struct text *out, const char *s)
{
    text_add(out, "\"", 1);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            text_addf(out, "\\%c", *s);
        else if (*s == '\n')
            text_add(out, "\\n", 2);
        else if ((unsigned char)*s < 32)
            text_addf(out, "\\%03o", (unsigned char)*s);
        else
            text_add(out, s, 1);
    text_add(out, "\"", 1);
}

static void print_value(struct text *out, const struct value *v)
{
    text_add(out, "{.num = ", -1);
    print_number(out, v->num);
    if (v->off)
        text_add(out, ", .off = 1", -1);
    if (v->text && *v->text) {
        text_add(out, ", .text = ", -1);
        print_string(out, v->text);
    }
    text_add(out, "}", 1);
}

/* Values of a table of parameters, one a line with its key. */
static void print_values(struct text *out, const struct param *row, const struct value *v, const char *indent)
{
    text_add(out, "{", 1);
    for (int i = 0; i < param_count(row); i++) {
        text_addf(out, "\n%s", indent);
        print_value(out, &v[i]);
        text_addf(out, ", /* %s */", row[i].key);
    }
    if (param_count(row) == 0)
        text_add(out, "{0}", 3);
    text_add(out, "}", 1);
}

/* The name behind the number of a choice of "a|b|c". */
static void print_choice(struct text *out, const char *choices, int n)
{
    for (; n > 0 && strchr(choices, '|'); n--)
        choices = strchr(choices, '|') + 1;
    text_addf(out, " /* %.*s */", (int)strcspn(choices, "|"), choices);
}

/* The keys of a section: fields of the same names. */
static void print_section(struct text *out, const char *name, const void *config)
{
    const struct section_row *s = recipe_sections;
    while (s->name && strcmp(s->name, name))
        s++;
    for (int i = 0, any = 0; i < s->count; i++) {
        const struct key_row *k = &s->keys[i];
        const char *at = (const char *)config + k->offset;
        double x = 0;
        if (k->store == KEY_INT)
            x = *(const int *)(const void *)at;
        else if (k->store == KEY_U64)
            x = (double)*(const uint64_t *)(const void *)at;
        else if (k->store == KEY_DOUBLE)
            x = *(const double *)(const void *)at;
        else if (!*at)
            continue;
        if (k->store != KEY_STRING && x == 0)
            continue;
        text_addf(out, "%s.%s = ", any++ ? ", " : "", k->row.key);
        if (k->store == KEY_STRING)
            print_string(out, at);
        else
            print_number(out, x);
        if (k->store == KEY_INT && k->row.type == PARAM_CHOICE)
            print_choice(out, k->row.choices, (int)x);
    }
}

static void print_stage(struct text *out, const struct stage_use *u)
{
    const char *kind = stage_kind_names[u->stage->kind];
    text_addf(out, "            {.stage = &%s_%s", kind, u->stage->name);
    if (param_count(u->stage->params)) {
        text_add(out, ",\n             .value = ", -1);
        print_values(out, u->stage->params, u->value, "                 ");
    }
    for (int c = 0; c < 6; c++)
        if (u->channel_name[c][0])
            text_addf(out, ",\n             .channel_name[%d] = \"%s\"", c, u->channel_name[c]);
    text_add(out, "},\n", -1);
}

static void print_phase(struct text *out, const struct phase *p)
{
    text_add(out, "        {.name = ", -1);
    print_string(out, p->name);
    text_add(out, ", ", 2);
    print_section(out, "phase", p);
    text_add(out, ",\n         .rollout = {", -1);
    print_section(out, "rollout", &p->rollout);
    text_add(out, "},\n         .optim = {", -1);
    print_section(out, "optim", &p->optim);
    text_addf(out, "},\n         .stages = %d,\n         .stage = {\n", p->stages);
    for (int i = 0; i < p->stages; i++)
        print_stage(out, &p->stage[i]);
    text_add(out, "         }},\n", -1);
}

static void print_models(struct text *out, const struct recipe *r)
{
    text_addf(out, "    .model_count = %d,\n    .models = {\n", r->model_count);
    for (int i = 0; i < r->model_count; i++) {
        const struct model_use *m = &r->models[i];
        static const char *const heads[] = {"HEAD_NONE", "HEAD_SCALAR", "HEAD_STEP"};
        text_addf(out, "        {.name = \"%s\", .init = %d, .frozen = %d, .head = %s},\n", m->name, m->init, m->frozen,
                  heads[m->head]);
    }
    text_add(out, "    },\n", -1);
}

static void print_recipe(struct text *out, const struct recipe *r)
{
    text_addf(out, "static const struct recipe the_recipe = {\n    .name = ");
    print_string(out, r->name);
    text_addf(out, ",\n    .task_row = &task_%s,\n    .task_value = ", r->task_row->name);
    print_values(out, r->task_row->params, r->task_value, "        ");
    text_add(out, ",\n    .eval = {", -1);
    print_section(out, "eval", &r->eval);
    text_add(out, "},\n    .run = {", -1);
    print_section(out, "run", &r->run);
    text_add(out, "},\n", -1);
    if (r->model_count)
        print_models(out, r);
    text_addf(out, "    .phases = %d,\n    .phase = {\n", r->phases);
    for (int i = 0; i < r->phases; i++)
        print_phase(out, &r->phase[i]);
    text_add(out, "    },\n};\n", -1);
}

static void print_arch(struct text *out, const struct session *s)
{
    const struct arch *a = &s->arch;
    text_addf(out,
              "/* vocabulary, context, width, layers, heads, key heads, head size, MLP width */\n"
              "static const struct arch the_arch = {\n    .V = %d, .context = %d, .C = %d, .layers = %d, .H = %d, "
              ".G = %d, .D = %d, .F = %d,\n    .norm = %s, .position = %s, .mlp = %s,\n    .qkv_bias = %d, "
              ".out_bias = %d, .mlp_bias = %d, .tied = %d, .qk_norm = %d, .norm_eps = %.9gf, .rope_theta = ",
              a->V, a->context, a->C, a->layers, a->H, a->G, a->D, a->F,
              a->norm == NORM_LAYER ? "NORM_LAYER" : "NORM_RMS",
              a->position == POSITION_ROTARY ? "POSITION_ROTARY" : "POSITION_LEARNED",
              a->mlp == MLP_GELU ? "MLP_GELU" : "MLP_SWIGLU", a->qkv_bias, a->out_bias, a->mlp_bias, a->tied,
              a->qk_norm, (double)a->norm_eps);
    print_number(out, a->rope_theta);
    if (a->lora.rank)
        text_addf(out, ",\n    .lora = {.rank = %d, .alpha = %.17g, .root = %d, .targets = %u}", a->lora.rank,
                  a->lora.alpha, a->lora.root, a->lora.targets);
    text_add(out, "};\n", -1);
}

int onefile_recipe(const struct session *s, struct text *out, struct error *e)
{
    const struct recipe *r = &s->recipe;
    if (r->model.path[0] || !s->task.alphabet)
        return fail(e, "a recipe with a trained model, whose files need their readers, cannot be one file");
    if (r->task.chat || s->task.shots)
        return fail(e, "the recipe cannot be one file: chat formats and worked examples are in train_rl alone");
    if (strcmp(tokenizer_kind(s->tokenizer), "characters") != 0)
        return fail(e, "the recipe cannot be one file: its tokenizer is no list of characters");
    for (int i = 0; i < r->model_count; i++)
        if (!r->models[i].init)
            return fail(e,
                        "the model %s is no copy of the policy; one that comes from a directory or a preset needs "
                        "more than one file has",
                        r->models[i].name);
    text_add(out,
             "/* The recipe, resolved: every key and parameter with its value. Sizes follow from each other (the "
             "context from the\n * longest response, the room for a batch from prompts and samples): learning rates, "
             "steps, seeds and parameters of\n * stages may be edited here; for other sizes make the file anew.\n */\n"
             "#include \"../../rewards/recipe.h\"\n#include \"../../model/transformer.h\"\n\n",
             -1);
    print_arch(out, s);
    text_add(out, "static const char the_alphabet[] = ", -1);
    print_string(out, s->task.alphabet);
    text_addf(out, ";\nstatic const struct ops *const the_operations = &%s;",
              r->run.precision == PRECISION_BF16 ? "cpu_bf16_ops" : "cpu_ops");
    text_addf(out, "\nenum { SMALL_INIT = %d, END_OF_SEQUENCE = %d }; /* how weights begin; id 0 ends a text */\n\n",
              s->small_init, tokenizer_eos(s->tokenizer) == 0);
    print_recipe(out, r);
    return 0;
}

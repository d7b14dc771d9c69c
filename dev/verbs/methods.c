/* What the texts of the recipes say of themselves: title, first sentence, stages, variants, and what runs have shown.
 * Nothing is written twice: a better word is put into the recipe.
 */
#include "methods.h"
#include <ctype.h>
#include <string.h>
#include "../../model/base/mem.h"
#include "../../rewards/stage.h"
#include "expect.h"
#include "settings.h"

/* ---- the comment that a recipe begins with ---- */

static const char *title_of(const struct recipe_file *r)
{
    return r->text + strspn(r->text, "# ");
}

/* "(1999)" to "(2099)" within the first len characters. */
static int names_year(const char *s, size_t len)
{
    for (size_t i = 0; i + 6 <= len; i++)
        if (s[i] == '(' && (s[i + 1] == '1' || s[i + 1] == '2') && isdigit((unsigned char)s[i + 2]) &&
            isdigit((unsigned char)s[i + 3]) && isdigit((unsigned char)s[i + 4]) && s[i + 5] == ')')
            return 1;
    return 0;
}

int is_method(const struct recipe_file *r)
{
    const char *title = title_of(r);
    return strstr(r->text, "\n[params]") && names_year(title, strcspn(title, "\n"));
}

/* Of the comment as one line the sentence after `word`: up to a full stop before a capital, or to the end. */
static void add_sentence(struct text *t, const struct recipe_file *r, const char *word)
{
    struct text all = {0};
    for (const char *p = r->text; *p == '#'; p += strcspn(p, "\n"), p += *p == '\n') {
        const char *line = p + strspn(p, "# ");
        text_addf(&all, "%s%.*s", all.len ? " " : "", (int)strcspn(line, "\n"), line);
    }
    const char *from = all.s ? strstr(all.s, word) : NULL;
    from = from ? from + strlen(word) : "";
    size_t n = strlen(from);
    for (size_t i = 0; from[i]; i++)
        if (from[i] == '.' && from[i + 1] == ' ' && isupper((unsigned char)from[i + 2])) {
            n = i;
            break;
        }
    n -= n > 0 && from[n - 1] == '.';
    text_add(t, from, (int)n);
    text_free(&all);
}

/* Name and paper are on the two sides of the title's colon; what follows says on which task the recipe stands. */
static void split_title(const struct recipe_file *r, struct text *name, struct text *paper)
{
    const char *title = title_of(r);
    size_t len = strcspn(title, "\n"), colon = strcspn(title, ":"), end = len;
    for (size_t i = colon; i + 5 < len; i++)
        if (!strncmp(title + i, ", on ", 5) && strstr(title + i, "chain.ini") &&
            strstr(title + i, "chain.ini") < title + len)
            end = i;
    text_add(name, title, (int)(colon < len ? colon : len));
    if (colon + 2 < end)
        text_add(paper, title + colon + 2, (int)(end - colon - 2));
}

/* ---- stages and variants, by the form of the text ---- */

/* "kind = stage, stage": a stage is a link to its file, which begins with its formula. */
static void add_stages(struct text *t, const struct settings *s)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        const char *kind = s->row[i].name + 7, *list = s->row[i].value;
        if (strncmp(s->row[i].name, "stages.", 7) || !s->row[i].line)
            continue;
        text_addf(t, "%s%s = ", n++ ? "; " : "", kind);
        for (char piece[64], *comma = ""; list_piece(&list, piece); comma = ", ")
            text_addf(t, "%s[%s](rewards/%s/%s.c)", comma, piece, kind, piece);
    }
}

static const char prefix[] = "variant ";
enum { PREFIX = sizeof prefix - 1 };

/* Length of the variant's name in row i; 0: the row is of no variant, or a parameter of a stage line that stands
 * before. first: no row before it is of that variant. Rows are "variant NAME.knob" or "variant NAME: SECTION.key". */
static size_t variant_at(const struct settings *s, int i, int *first)
{
    const char *name = s->row[i].name, *dot = strchr(name, '.');
    if (strncmp(name, prefix, PREFIX) || !dot || strchr(dot + 1, '.'))
        return 0;
    size_t n = strcspn(name + PREFIX, ".:");
    *first = 1;
    for (int k = 0; k < i; k++) {
        const char *before = s->row[k].name;
        *first &= strncmp(before, name, PREFIX + n) != 0 || !before[PREFIX + n] || !strchr(".:", before[PREFIX + n]);
    }
    return n;
}

int variants_of(FILE *f, const struct recipe_file *r, const char *before)
{
    struct settings s;
    int found = 0, first;
    settings_read(&s, r->text);
    for (int i = 0; i < s.n; i++) {
        size_t n = variant_at(&s, i, &first);
        if (n && first)
            fprintf(f, "%s%.*s", found++ ? ", " : before, (int)n, s.row[i].name + PREFIX);
    }
    settings_free(&s);
    return found;
}

int variants_print(FILE *f)
{
    int found = 0;
    for (const struct recipe_file *r = recipe_files; r->name; r++) {
        struct settings s;
        int first, here = 0;
        settings_read(&s, r->text);
        for (int i = 0; i < s.n; i++) {
            size_t n = variant_at(&s, i, &first);
            if (n == 0)
                continue;
            if (first)
                fprintf(f, "%s  %-16s variant=%.*s:", here++ ? "\n" : "", r->name, (int)n, s.row[i].name + PREFIX);
            const char *key = s.row[i].name + PREFIX + n + 1;
            fprintf(f, "%s %s = %s", first ? "" : ",", key + (*key == ' '),
                    s.row[i].line ? s.row[i].line : s.row[i].value);
        }
        fputs(here ? "\n" : "", f);
        found += here;
        settings_free(&s);
    }
    return found;
}

/* ---- what runs have shown ---- */

static const struct expected *find_expected(const struct expectation *x, const char *name)
{
    for (int i = 0; i < x->metrics; i++)
        if (!strcmp(x->metric[i].name, name))
            return &x->metric[i];
    return NULL;
}

/* dev/papers/NAME in the text becomes a link to that study's page. */
static void link_studies(struct text *t)
{
    static const char folder[] = "dev/papers/";
    struct text out = {0};
    for (const char *p = t->s, *at; *p; p = at) {
        at = strstr(p, folder);
        text_add(&out, p, at ? (int)(at - p) : -1);
        if (!at)
            break;
        size_t name = strspn(at + sizeof folder - 1, "abcdefghijklmnopqrstuvwxyz-"), len = sizeof folder - 1 + name;
        text_addf(&out, "[%.*s](%.*s/README.md)", (int)len, at, (int)len, at);
        at += len;
    }
    text_free(t);
    *t = out;
}

/* Greedy accuracy before and after, where the recipe ships what its runs gave; else what its comment says. */
static void add_shown(struct text *t, const struct recipe_file *r)
{
    struct expectation *x = mem_alloc(1, sizeof *x);
    struct error e;
    if (r->expect && expect_parse(x, r->expect, strlen(r->expect), &e) == 0) {
        const struct expected *before = find_expected(x, "before.accuracy"), *after = find_expected(x, "rl.accuracy");
        if (before && after)
            text_addf(t, "greedy %.1f to %.1f %%, %d seeds", 100 * before->mean, 100 * after->mean, x->seeds);
    } else {
        add_sentence(t, r, "Shown: ");
    }
    if (t->len == 0)
        text_add(t, "not yet", -1);
    link_studies(t);
    expect_free(x);
    mem_free(x);
}

/* ---- how it is checked ---- */

/* Recipes whose published worked numbers are rows of test/test_worked.c. That every method's examples are run is taken
 * for granted; test/test_methods.c holds both to be true. */
static const char *const worked[] = {"alp",           "cispo",       "dapo",    "dr_grpo",      "drpo",
                                     "fapo",          "grpo_lambda", "gspo",    "hapo",         "rloo",
                                     "kl_estimators", "sar",         "rloo_lp", "reinforce_pp", "tis"};

static void print_checks(FILE *f, const struct recipe_file *r)
{
    fputs("examples to 1e-9", f);
    for (size_t i = 0; i < sizeof worked / sizeof *worked; i++)
        if (!strcmp(worked[i], r->name))
            fputs(", worked numbers", f);
}

/* ---- tables ---- */

static void print_cell(FILE *f, const struct text *t)
{
    for (int i = 0; i < t->len; i++)
        fprintf(f, t->s[i] == '|' ? "\\%c" : "%c", t->s[i]);
}

static void print_row(FILE *f, const struct recipe_file *r)
{
    struct text cell[5] = {{0}};
    struct settings s;
    settings_read(&s, r->text);
    split_title(r, &cell[0], &cell[2]);
    add_sentence(&cell[1], r, "Reproduces: ");
    add_stages(&cell[3], &s);
    add_shown(&cell[4], r);
    for (int i = 0; i < 3; i++) {
        fputs("| ", f);
        print_cell(f, &cell[i]);
        fputc(' ', f);
    }
    fprintf(f, "| [`%s`](rewards/recipes/%s.ini): ", r->name, r->name);
    print_cell(f, &cell[3]);
    variants_of(f, r, "; variants ");
    fputs(" | ", f);
    print_checks(f, r);
    fputs(" | ", f);
    print_cell(f, &cell[4]);
    fputs(" |\n", f);
    for (int i = 0; i < 5; i++)
        text_free(&cell[i]);
    settings_free(&s);
}

void methods_markdown(FILE *f)
{
    fputs("| method | what it does | paper | recipe | checked | shown |\n|---|---|---|---|---|---|\n", f);
    for (const struct recipe_file *r = recipe_files; r->name; r++)
        if (is_method(r))
            print_row(f, r);
}

void methods_print(FILE *f)
{
    for (const struct recipe_file *r = recipe_files; r->name; r++) {
        struct text t = {0};
        if (!is_method(r))
            continue;
        add_sentence(&t, r, "Reproduces: ");
        fprintf(f, "  %-16s %s\n", r->name, t.s ? t.s : "");
        text_free(&t);
    }
}

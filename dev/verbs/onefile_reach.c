/* What main needs, in which order it stands, and which names have to differ (onefile.h). */
#include "onefile.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int least = x->len < y->len ? x->len : y->len, order = memcmp(x->s, y->s, (size_t)least);
    order = order ? order : x->len - y->len;
    order = order ? order : x->tag - y->tag;
    return order ? order : x->item - y->item;
}

/* The first entry of a name, and behind the last one in *end. */
static int find_name(const struct onefile *f, const char *s, int len, int tag, int *end)
{
    struct name key = {s, len, tag, -1};
    int lo = 0, hi = f->names;
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (compare_names(&f->name[middle], &key) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    for (*end = lo; *end < f->names; (*end)++) {
        const struct name *n = &f->name[*end];
        if (n->len != len || n->tag != tag || memcmp(n->s, s, (size_t)len))
            break;
    }
    return lo;
}

/* A name that only its own file knows. */
static int is_local(const struct onefile *f, const struct code_item *x)
{
    const struct code_file *s = &f->source[x->source];
    if (s->is_header || s->is_part)
        return 0;
    return x->is_static || (!x->is_shared && x->kind != ITEM_FUNCTION && x->kind != ITEM_PROTOTYPE &&
                            x->kind != ITEM_VARIABLE && x->kind != ITEM_EXTERN);
}

/* A type that headers only point to is everybody's although it stands in a file of its own. */
static void share_announced(struct onefile *f)
{
    for (int k = 0; k < f->sources; k++) {
        const struct code_file *s = &f->source[k];
        for (int i = s->tokens_first; s->is_header && i < s->tokens_last; i++) {
            const struct token *t = &f->token[i];
            int end, n = t->kind == TOKEN_TAG ? find_name(f, s->text + t->at, t->len, 1, &end) : 0, defined = 0;
            for (int j = n; t->kind == TOKEN_TAG && j < end; j++)
                defined |= f->source[f->item[f->name[j].item].source].is_header &&
                           f->item[f->name[j].item].kind != ITEM_FORWARD;
            for (int j = n; t->kind == TOKEN_TAG && !defined && j < end; j++)
                f->item[f->name[j].item].is_shared = 1;
        }
    }
}

static int in_part(const struct onefile *f, const struct code_item *x)
{
    return f->source[x->source].is_part;
}

/* ---- what is reached ---- */

struct work {
    struct onefile *f;
    int *todo, n, cap;
};

static void reach(struct work *w, int item)
{
    struct code_item *x = &w->f->item[item];
    if (x->reached)
        return;
    x->reached = 1;
    mem_grow(&w->todo, &w->cap, w->n + 1, sizeof *w->todo);
    w->todo[w->n++] = item;
}

static void use(struct work *w, int user, int item)
{
    struct code_item *x = &w->f->item[user];
    if (user == item)
        return;
    for (int i = 0; i < x->uses_n; i++)
        if (x->uses[i] == item)
            return;
    mem_grow(&x->uses, &x->uses_cap, x->uses_n + 1, sizeof *x->uses);
    x->uses[x->uses_n++] = item;
    reach(w, item);
}

/* Everything that a word of an item may mean: what its own file declares; else what a part of the one file does, which
 * takes the place of all others; else what the headers do. */
static void resolve(struct work *w, int user, const char *s, int len, int tag)
{
    struct onefile *f = w->f;
    int end, first = find_name(f, s, len, tag, &end), own = 0, part = 0;
    for (int i = first; i < end; i++) {
        const struct code_item *x = &f->item[f->name[i].item];
        own |= x->source == f->item[user].source && is_local(f, x);
        part |= in_part(f, x);
    }
    int declares_only = f->item[user].kind == ITEM_EXTERN || f->item[user].kind == ITEM_PROTOTYPE;
    for (int i = first; i < end; i++) {
        const struct code_item *x = &f->item[f->name[i].item];
        if (declares_only && (x->kind == ITEM_FUNCTION || x->kind == ITEM_VARIABLE))
            continue; /* a line may declare several, of which one is needed */
        int mine = x->source == f->item[user].source && is_local(f, x);
        if (own ? mine : !is_local(f, x) && (!part || in_part(f, x)))
            use(w, user, f->name[i].item);
    }
}

static int is_keyword(const struct code_file *s, const struct token *t)
{
    static const char *const words[] = {"return", "else", "case", "goto", "do", "sizeof"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (token_is(s, t, words[i]))
            return 1;
    return 0;
}

static int is_char(const struct code_file *s, const struct token *t, char c)
{
    return t->len == 1 && s->text[t->at] == c;
}

/* Token i declares a parameter or a variable of a function: "int run", "struct row x", "const double *run,". */
static int declares(const struct onefile *f, const struct code_file *s, const struct code_item *x, int i)
{
    const struct token *t = &f->token[i];
    if (t->kind != TOKEN_NAME || i == x->first || i + 1 == x->last || is_char(s, t + 1, '('))
        return 0;
    int k = i - 1;
    while (k > x->first && (is_char(s, &f->token[k], '*') || token_is(s, &f->token[k], "const")))
        k--;
    const struct token *before = &f->token[k];
    if (before->kind == TOKEN_OTHER || before->kind == TOKEN_MEMBER || is_keyword(s, before))
        return 0;
    if (k == i - 1 || before->kind == TOKEN_TAG)
        return 1;
    /* "a * b" looks like a declaration; one stands at the beginning of a statement or of a parameter */
    const struct token *start = before;
    while (start > &f->token[x->first] && (start - 1)->kind == TOKEN_NAME && !is_keyword(s, start - 1))
        start--;
    const struct token *edge = start > &f->token[x->first] ? start - 1 : start;
    return is_char(s, edge, '(') || is_char(s, edge, ',') || is_char(s, edge, ';') || is_char(s, edge, '{') ||
           is_char(s, edge, '}');
}

static int compare_tokens(const struct code_file *s, const struct token *a, const struct token *b)
{
    return a->len == b->len && !memcmp(s->text + a->at, s->text + b->at, (size_t)a->len);
}

/* Token i of a struct names a member, or a parameter of a function that a member points to. */
static int is_member(const struct onefile *f, const struct code_file *s, const struct code_item *x, int i)
{
    int bracket = 0;
    if (token_is(s, &f->token[x->first], "enum") || token_is(s, &f->token[x->first + 1], "enum"))
        return 0;
    for (int k = x->first; k < i; k++)
        bracket += is_char(s, &f->token[k], '[') - is_char(s, &f->token[k], ']');
    const struct token *next = &f->token[i + 1];
    return !bracket && (is_char(s, next, ';') || is_char(s, next, ',') || is_char(s, next, '[') ||
                        is_char(s, next, ')') || is_char(s, next, ':'));
}

/* Token i is a name of the function's own, or of the struct's. */
static int is_own(const struct onefile *f, const struct code_file *s, const struct code_item *x, int i)
{
    if (x->kind == ITEM_TYPE)
        return is_member(f, s, x, i);
    if (x->kind != ITEM_FUNCTION && x->kind != ITEM_PROTOTYPE)
        return 0;
    for (int k = x->first; k < x->last; k++)
        if (f->token[k].kind == TOKEN_NAME && compare_tokens(s, &f->token[k], &f->token[i]) && declares(f, s, x, k))
            return 1;
    return 0;
}

static void follow(struct work *w, int user)
{
    struct onefile *f = w->f;
    const struct code_item x = f->item[user];
    const struct code_file *s = &f->source[x.source];
    for (int i = x.first; i < x.last; i++) {
        const struct token *t = &f->token[i];
        if (t->gone || (t->kind != TOKEN_NAME && t->kind != TOKEN_TAG))
            continue;
        int end, known = find_name(f, s->text + t->at, t->len, t->kind == TOKEN_TAG, &end);
        if (known < end && !(t->kind == TOKEN_NAME && is_own(f, s, &x, i)))
            resolve(w, user, s->text + t->at, t->len, t->kind == TOKEN_TAG);
    }
}

static int is_constructor(const struct onefile *f, const struct code_item *x)
{
    for (int i = x->first; i < x->last; i++)
        if (token_is(&f->source[x->source], &f->token[i], "constructor"))
            return 1;
    return 0;
}

/* Items without a name, and what runs before main, stand where anything of their file does. A macro's #undef needs the
 * macro. */
static int stands_by(const struct onefile *f, const struct code_item *x)
{
    const struct code_file *s = &f->source[x->source];
    int named = 0;
    if (x->kind == ITEM_OTHER && token_is(s, &f->token[x->first + 1], "undef")) {
        const struct token *t = &f->token[x->first + 2];
        int end, i = find_name(f, s->text + t->at, t->len, 0, &end);
        for (; i < end; i++)
            named |= f->item[f->name[i].item].reached && f->item[f->name[i].item].source == x->source;
        return named;
    }
    if (x->kind == ITEM_GROUP) {
        for (int i = 0; i < f->names && !named; i++)
            named = &f->item[f->name[i].item] == x;
        return !named || is_constructor(f, x);
    }
    return x->kind == ITEM_OTHER || (x->kind == ITEM_FUNCTION && is_constructor(f, x));
}

static int reach_all(struct onefile *f, struct error *e)
{
    struct work w = {.f = f};
    int end, first = find_name(f, "main", 4, 0, &end);
    for (int i = first; i < end; i++)
        if (in_part(f, &f->item[f->name[i].item]))
            reach(&w, f->name[i].item);
    if (w.n == 0)
        return fail(e, "dev/onefile/ has no function main");
    while (w.n > 0) {
        while (w.n > 0)
            follow(&w, w.todo[--w.n]);
        for (int k = 0; k < f->sources; k++) {
            const struct code_file *s = &f->source[k];
            int any = 0;
            for (int i = s->first; i < s->last; i++)
                any |= f->item[i].reached && f->item[i].kind != ITEM_PROTOTYPE && f->item[i].kind != ITEM_EXTERN;
            for (int i = s->first; any && i < s->last; i++)
                if (!f->item[i].reached && stands_by(f, &f->item[i]))
                    reach(&w, i);
        }
    }
    mem_free(w.todo);
    return 0;
}

/* ---- order ---- */

static void place(struct onefile *f, int source, int *order)
{
    struct code_file *s = &f->source[source];
    if (s->placed)
        return;
    s->placed = 1;
    for (int i = 0; i < s->includes; i++)
        for (int k = 0; k < f->sources; k++)
            if (!strcmp(f->source[k].path, s->include[i]))
                place(f, k, order);
    for (int i = s->first; i < s->last; i++)
        f->item[i].order = (*order)++;
}

const struct code_item *item_definition(const struct onefile *f, const struct code_item *x)
{
    const struct code_item *found = NULL;
    for (int i = 0; i < f->names; i++) {
        if (&f->item[f->name[i].item] != x)
            continue;
        int end, k = find_name(f, f->name[i].s, f->name[i].len, f->name[i].tag, &end);
        for (; k < end; k++) {
            const struct code_item *y = &f->item[f->name[k].item];
            int whole = y->kind == ITEM_FUNCTION || y->kind == ITEM_VARIABLE || y->kind == ITEM_TYPE;
            if (y->reached && whole && (!is_local(f, y) || y->source == x->source))
                found = y;
        }
    }
    return found;
}

int item_needed(const struct onefile *f, const struct code_item *x)
{
    const struct code_item *d = item_definition(f, x);
    int own = (int)(x - f->item), other = d ? (int)(d - f->item) : -1;
    if (!d || d->order < x->order)
        return !d;
    for (int i = 0; i < f->items; i++) {
        const struct code_item *y = &f->item[i];
        if (!y->reached || y == x || y->order >= d->order)
            continue;
        for (int k = 0; k < y->uses_n; k++)
            if (y->uses[k] == own || y->uses[k] == other)
                return 1;
    }
    return 0;
}

/* ---- names that two files have ---- */

/* "clip" of rewards/loss/clip.c; with its folder where two files are called so: "loss_clip", "cpu_optim". */
static void stem_of(const struct onefile *f, const struct code_file *s, int with_folder, char stem[80])
{
    const char *base = strrchr(s->path, '/'), *folder = base;
    base = base ? base + 1 : s->path;
    while (folder && folder > s->path && folder[-1] != '/')
        folder--;
    int len = (int)strcspn(base, ".");
    if (with_folder && folder)
        snprintf(stem, 80, "%.*s_%.*s", (int)(base - 1 - folder), folder, len, base);
    else
        snprintf(stem, 80, "%.*s", len, base);
    (void)f;
}

static int has_reached(const struct onefile *f, const struct code_file *s)
{
    for (int i = s->first; i < s->last; i++)
        if (f->item[i].reached)
            return 1;
    return 0;
}

static void prefix_of(const struct onefile *f, const struct code_file *s, char prefix[80])
{
    char other[80];
    stem_of(f, s, 0, prefix);
    for (int k = 0; k < f->sources; k++) {
        stem_of(f, &f->source[k], 0, other);
        if (&f->source[k] != s && !f->source[k].is_header && has_reached(f, &f->source[k]) && !strcmp(other, prefix)) {
            stem_of(f, s, 1, prefix);
            return;
        }
    }
}

static void rename_in(struct onefile *f, const struct name *n)
{
    struct code_file *s = &f->source[f->item[n->item].source];
    for (int i = 0; i < s->renames; i++)
        if (s->rename[i].tag == n->tag && s->rename[i].len == n->len && !memcmp(s->rename[i].s, n->s, (size_t)n->len))
            return;
    mem_grow(&s->rename, &s->rename_cap, s->renames + 1, sizeof *s->rename);
    struct rename *r = &s->rename[s->renames++];
    *r = (struct rename){.s = n->s, .len = n->len, .tag = n->tag};
    char prefix[80];
    int capitals = 1;
    prefix_of(f, s, prefix);
    for (int i = 0; i < n->len; i++)
        capitals &= !islower((unsigned char)n->s[i]);
    for (char *c = prefix; capitals && *c; c++)
        *c = (char)toupper((unsigned char)*c);
    snprintf(r->to, sizeof r->to, "%.40s_%.*s", prefix, n->len > 38 ? 38 : n->len, n->s);
}

/* Names of the C library that a file here uses for a function of its own, where it does not include their header. */
static int is_of_system(const struct name *n)
{
    static const char *const words[] = {"open", "close", "read", "write", "index", "link", "remove", "time", "select"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (!n->tag && n->len == (int)strlen(words[i]) && !memcmp(n->s, words[i], (size_t)n->len))
            return 1;
    return 0;
}

/* A name that is reached in two files, one of which keeps it to itself, gets the file's name in front there. */
static void make_names_differ(struct onefile *f)
{
    for (int i = 0, end; i < f->names; i = end) {
        find_name(f, f->name[i].s, f->name[i].len, f->name[i].tag, &end);
        int owner = -2, several = is_of_system(&f->name[i]); /* owner -1: all files know it */
        for (int k = i; k < end; k++) {
            const struct code_item *x = &f->item[f->name[k].item];
            int of = is_local(f, x) ? x->source : -1;
            several |= x->reached && owner != -2 && owner != of;
            owner = x->reached ? of : owner;
        }
        for (int k = i; several && k < end; k++)
            if (f->item[f->name[k].item].reached && is_local(f, &f->item[f->name[k].item]))
                rename_in(f, &f->name[k]);
    }
}

int onefile_reach(struct onefile *f, struct error *e)
{
    int order = 0;
    qsort(f->name, (size_t)f->names, sizeof *f->name, compare_names);
    share_announced(f);
    if (reach_all(f, e))
        return -1;
    for (int k = 0; k < f->sources; k++)
        if (!f->source[k].is_header)
            place(f, k, &order);
    make_names_differ(f);
    return 0;
}

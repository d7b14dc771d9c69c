/* Cutting sources into tokens and items (onefile.h). */
#include "onefile.h"
#include "../../model/base/file.h"
#include <ctype.h>
#include <string.h>

/* The reader of one file. */
struct reader {
    struct onefile *f;
    struct code_file *s;
    int source;
    const char *const *left_out;
    int token, lead; /* where it is: the next token, the end of the item before */
    int guard;       /* 1 after a header's #ifndef X, #define X */
    int group;       /* item that the present #if began, or -1 */
    int nesting;     /* #if within it */
};

int token_is(const struct code_file *s, const struct token *t, const char *word)
{
    return t->len == (int)strlen(word) && !memcmp(s->text + t->at, word, (size_t)t->len);
}

/* ---- tokens ---- */

static int is_word(int c)
{
    return isalnum(c) || c == '_';
}

/* End of the comment, text or character that begins at i; i itself where none does. */
static int skip_opaque(const char *s, int len, int i)
{
    if (s[i] == '/' && i + 1 < len && s[i + 1] == '*') {
        const char *end = strstr(s + i + 2, "*/");
        return end ? (int)(end - s) + 2 : len;
    }
    if (s[i] != '"' && s[i] != '\'')
        return i;
    int k = i + 1;
    while (k < len && s[k] != s[i])
        k += s[k] == '\\' ? 2 : 1;
    return k < len ? k + 1 : len;
}

static void add_token(struct reader *r, int at, int len, int line)
{
    struct onefile *f = r->f;
    const char *s = r->s->text;
    enum token_kind kind = TOKEN_OTHER;
    if (isalpha((unsigned char)s[at]) || s[at] == '_') {
        const struct token *before = f->tokens > r->s->tokens_first ? &f->token[f->tokens - 1] : NULL;
        int b = before ? s[before->at] : 0;
        int arrow = b == '>' && before->at > 0 && s[before->at - 1] == '-';
        kind = arrow || (b == '.' && s[before->at - 1] != '.') ? TOKEN_MEMBER : TOKEN_NAME;
        if (before &&
            (token_is(r->s, before, "struct") || token_is(r->s, before, "enum") || token_is(r->s, before, "union")))
            kind = TOKEN_TAG;
    }
    mem_grow(&f->token, &f->token_cap, f->tokens + 1, sizeof *f->token);
    f->token[f->tokens++] = (struct token){at, len, line, kind, 0};
}

static void cut_tokens(struct reader *r)
{
    const char *s = r->s->text;
    int line = 1;
    for (int i = 0; i < r->s->len;) {
        int end = skip_opaque(s, r->s->len, i);
        if (end == i && is_word((unsigned char)s[i]))
            while (end < r->s->len &&
                   (is_word((unsigned char)s[end]) || (s[end] == '.' && isdigit((unsigned char)s[i]))))
                end++;
        else if (end == i)
            end++;
        if (!isspace((unsigned char)s[i]) && s[i] != '\\' && !(s[i] == '/' && end > i + 1))
            add_token(r, i, end - i, line);
        for (; i < end; i++)
            line += s[i] == '\n';
    }
}

/* Blank out what stands under #ifdef REFERENCE_OPERATIONS: one file has one table of operations. */
static void choose_operations(char *s)
{
    char *from = strstr(s, "#ifdef REFERENCE_OPERATIONS\n");
    char *middle = from ? strstr(from, "#else\n") : NULL, *end = middle ? strstr(middle, "#endif\n") : NULL;
    if (!end)
        return;
    for (char *c = from; c < middle + 5; c++)
        *c = *c == '\n' ? '\n' : ' ';
    memset(end, ' ', 6);
}

/* ---- what an item declares ---- */

static const struct token *tok(const struct reader *r, int i)
{
    return &r->f->token[i];
}

static int is(const struct reader *r, int i, const char *word)
{
    return i < r->s->tokens_last && token_is(r->s, tok(r, i), word);
}

static void declare(struct reader *r, int item, int token, int tag)
{
    struct onefile *f = r->f;
    mem_grow(&f->name, &f->name_cap, f->names + 1, sizeof *f->name);
    f->name[f->names++] = (struct name){r->s->text + tok(r, token)->at, tok(r, token)->len, tag, item};
}

/* The token behind the bracket that closes the one at i. */
static int behind(const struct reader *r, int i)
{
    int depth = 0;
    for (; i < r->s->tokens_last; i++) {
        int c = tok(r, i)->len == 1 ? r->s->text[tok(r, i)->at] : 0;
        depth += (c == '(' || c == '{' || c == '[') - (c == ')' || c == '}' || c == ']');
        if (depth == 0)
            return i + 1;
    }
    return i;
}

/* The body of "enum TAG {A, B = 1}" or "struct TAG {...}" at the word itself; returns the token behind it. */
static int declare_type(struct reader *r, int item, int i)
{
    int is_enum = is(r, i, "enum"), tag = tok(r, i + 1)->kind == TOKEN_TAG, open = i + 1 + tag;
    if (!is(r, open, "{"))
        return i + 1 + tag;
    if (tag)
        declare(r, item, i + 1, 1);
    int end = behind(r, open);
    for (int k = open; is_enum && k < end - 1; k++)
        if ((k == open || is(r, k, ",")) && tok(r, k + 1)->kind == TOKEN_NAME)
            declare(r, item, k + 1, 0);
        else if (is(r, k, "(") && k > open)
            k = behind(r, k) - 1;
    return end;
}

/* Names that tokens first..last declare beside types; *function: one of them is a function. */
static void declare_names(struct reader *r, int item, int first, int last, int *function)
{
    for (int i = first; i < last; i++) {
        if (is(r, i, "__attribute__"))
            i = behind(r, i + 1) - 1;
        else if (is(r, i, "struct") || is(r, i, "union") || is(r, i, "enum"))
            i = declare_type(r, item, i) - 1;
        else if (is(r, i, "(") && is(r, i + 1, "*") && tok(r, i + 2)->kind == TOKEN_NAME) {
            declare(r, item, i + 2, 0); /* a pointer to a function */
            return;
        } else if (is(r, i, "=") || is(r, i, "["))
            while (i + 1 < last && !is(r, i + 1, ",") && !is(r, i + 1, ";"))
                i = is(r, i + 1, "(") || is(r, i + 1, "{") || is(r, i + 1, "[") ? behind(r, i + 1) - 1 : i + 1;
        else if (tok(r, i)->kind == TOKEN_NAME && i + 1 < last) {
            int call = is(r, i + 1, "(");
            if (!call && !is(r, i + 1, "=") && !is(r, i + 1, "[") && !is(r, i + 1, ",") && !is(r, i + 1, ";") &&
                !is(r, i + 1, "__attribute__"))
                continue;
            declare(r, item, i, 0);
            *function |= call;
            if (call)
                return;
        }
    }
}

static void classify(struct reader *r, int item, int body)
{
    struct code_item *x = &r->f->item[item];
    int first = x->first, last = x->last, function = 0, names = r->f->names;
    for (int i = first; i < last; i++) {
        x->is_static |= is(r, i, "static") || is(r, i, "INLINE");
        if (is(r, i, "(") || is(r, i, "{") || is(r, i, "="))
            break;
    }
    if (is(r, first, "_Static_assert"))
        x->kind = ITEM_OTHER;
    else if (last - first == 3 && tok(r, first + 1)->kind == TOKEN_TAG) {
        x->kind = ITEM_FORWARD;
        declare(r, item, first + 1, 1);
    } else {
        declare_names(r, item, first, last, &function);
        int plain = 0; /* names that are no tags and no enumerators: a variable beside its type */
        for (int i = first, depth = 0; i < last; i++) {
            depth += is(r, i, "{") - is(r, i, "}");
            plain |= depth == 0 && (is(r, i, "=") || is(r, i, "["));
        }
        int type = is(r, first, "typedef") || is(r, first, "struct") || is(r, first, "enum") || is(r, first, "union");
        x->kind = body                                     ? ITEM_FUNCTION
                  : is(r, first, "typedef")                ? ITEM_TYPE
                  : function                               ? ITEM_PROTOTYPE
                  : is(r, first, "extern")                 ? ITEM_EXTERN
                  : type && is(r, last - 2, "}") && !plain ? ITEM_TYPE
                                                           : ITEM_VARIABLE;
    }
    if (r->f->names == names)
        x->kind = ITEM_OTHER;
}

/* ---- items ---- */

static int line_end(const char *s, int at)
{
    return at + (int)strcspn(s + at, "\n");
}

/* End of code at `at`, with a comment that begins on the same line. */
static int with_comment(const struct code_file *s, int at)
{
    int i = at;
    while (s->text[i] == ' ')
        i++;
    if (s->text[i] == '/' && s->text[i + 1] == '*')
        return skip_opaque(s->text, s->len, i);
    return at;
}

static int add_item(struct reader *r, enum item_kind kind, int first, int last, int end)
{
    struct onefile *f = r->f;
    mem_grow(&f->item, &f->item_cap, f->items + 1, sizeof *f->item);
    struct code_item *x = &f->item[f->items];
    *x = (struct code_item){.source = r->source, .kind = kind, .first = first, .last = last};
    x->lead = r->lead;
    x->at = tok(r, first)->at;
    x->end = end;
    r->lead = end;
    return f->items++;
}

/* A piece of code became whole: an item of its own, or a part of the present group. */
static void finish(struct reader *r, enum item_kind kind, int first, int last, int body)
{
    const struct token *end = tok(r, last - 1);
    int item = add_item(r, kind, first, last, with_comment(r->s, end->at + end->len));
    if (kind == ITEM_MACRO)
        declare(r, item, first + 2, 0);
    else if (kind == ITEM_VARIABLE)
        classify(r, item, body);
    if (r->group >= 0) { /* its names belong to the group */
        for (int i = r->f->names - 1; i >= 0 && r->f->name[i].item == item; i--)
            r->f->name[i].item = r->group;
        r->f->items--;
    }
}

static void remember_include(struct reader *r, const char *line, int len)
{
    const char *open = memchr(line, '"', (size_t)len), *slash = strrchr(r->s->path, '/');
    char path[160];
    if (!open)
        return; /* of the system: onefile_print looks for them */
    snprintf(path, sizeof path, "%.*s%.*s", slash ? (int)(slash - r->s->path) + 1 : 0, r->s->path,
             (int)strcspn(open + 1, "\""), open + 1);
    for (char *up; (up = strstr(path, "/../"));) { /* a/b/../c is a/c */
        char *dir = up;
        while (dir > path && dir[-1] != '/')
            dir--;
        memmove(dir, up + 4, strlen(up + 4) + 1);
    }
    mem_grow(&r->s->include, &r->s->include_cap, r->s->includes + 1, sizeof *r->s->include);
    memcpy(r->s->include[r->s->includes++], path, sizeof path);
}

/* A line that begins with #; last: the token behind it. */
static void directive(struct reader *r, int first, int last)
{
    int end = line_end(r->s->text, tok(r, last - 1)->at), nested = r->group >= 0;
    if (is(r, first + 1, "include") && !nested) {
        remember_include(r, r->s->text + tok(r, first)->at, end - tok(r, first)->at);
        r->lead = end;
    } else if (is(r, first + 1, "define") && r->guard == 1) {
        r->guard = 2;
        r->lead = end;
    } else if (is(r, first + 1, "define"))
        finish(r, ITEM_MACRO, first, last, 0);
    else if (is(r, first + 1, "ifndef") && r->s->is_header && r->guard == 0 && !nested) {
        r->guard = 1;
        r->lead = end;
    } else if (strchr("i", r->s->text[tok(r, first + 1)->at]) && !is(r, first + 1, "include")) { /* if, ifdef, ifndef */
        if (!nested)
            r->group = add_item(r, ITEM_GROUP, first, last, end);
        r->nesting += nested;
    } else if (is(r, first + 1, "endif") && nested && r->nesting > 0)
        r->nesting--;
    else if (is(r, first + 1, "endif") && nested) {
        struct code_item *x = &r->f->item[r->group];
        x->last = last;
        x->end = r->lead = end;
        r->group = -1;
    } else if (is(r, first + 1, "endif"))
        r->lead = end; /* of the guard */
    else if (!nested)
        finish(r, ITEM_OTHER, first, last, 0);
}

/* A macro that is called at the top of a file, alone on its line. */
static int is_called_macro(const struct reader *r, int first, int after)
{
    const struct token *t = tok(r, first);
    for (int i = 0; i < t->len; i++)
        if (islower((unsigned char)r->s->text[t->at + i]))
            return 0;
    return after == behind(r, first + 1) && !is(r, after, "{") && !is(r, after, ";");
}

static void cut_items(struct reader *r)
{
    struct code_file *s = r->s;
    for (int i = r->token, first = i, body = 0; i < s->tokens_last;) {
        if (i == first && is(r, i, "#")) {
            int end = tok(r, i)->at;
            do
                end = line_end(s->text, end + 1);
            while (end < s->len && s->text[end - 1] == '\\');
            while (i < s->tokens_last && tok(r, i)->at < end)
                i++;
            directive(r, first, i);
            first = i;
        } else if (is(r, i, ";")) {
            i++;
            finish(r, ITEM_VARIABLE, first, i, 0);
            first = i;
        } else if (is(r, i, "(") || is(r, i, "[") || is(r, i, "{")) {
            body = is(r, i, "{") && i > first && is(r, i - 1, ")");
            i = behind(r, i);
            if (body || (i > first + 1 && is(r, first + 1, "(") && is_called_macro(r, first, i))) {
                finish(r, body ? ITEM_VARIABLE : ITEM_OTHER, first, i, body);
                first = i;
            }
        } else
            i++;
    }
}

/* ---- statements that are left out ---- */

static int is_left_out(const struct reader *r, int i)
{
    for (const char *const *w = r->left_out; *w; w++)
        if (token_is(r->s, tok(r, i), *w))
            return 1;
    return 0;
}

/* The statement or the member around token i of an item; one that returns a value becomes "return 0;". */
static void leave_out(struct reader *r, const struct code_item *x, int i)
{
    int first = i, last = i;
    while (first > x->first && !is(r, first - 1, ";") && !is(r, first - 1, "{") && !is(r, first - 1, "}"))
        first--;
    while (last < x->last && !is(r, last, ";"))
        last = is(r, last, "(") || is(r, last, "{") ? behind(r, last) : last + 1;
    for (int k = first; k <= last; k++)
        r->f->token[k].gone = is(r, first, "return") ? 2 : 1;
}

static void leave_statements_out(struct reader *r)
{
    for (int k = r->s->first; k < r->f->items; k++) {
        const struct code_item *x = &r->f->item[k];
        for (int i = x->first, depth = 0; i < x->last; i++) {
            depth += is(r, i, "{") - is(r, i, "}");
            if (depth > 0 && !r->f->token[i].gone && is_left_out(r, i))
                leave_out(r, x, i);
        }
    }
}

void onefile_read_text(struct onefile *f, const char *path, char *text, const char *const *left_out)
{
    mem_grow(&f->source, &f->source_cap, f->sources + 1, sizeof *f->source);
    struct code_file *s = &f->source[f->sources];
    *s = (struct code_file){.text = text, .len = (int)strlen(text)};
    snprintf(s->path, sizeof s->path, "%s", path);
    s->is_header = s->path[strlen(s->path) - 1] == 'h';
    s->is_part = strncmp(path, "dev/onefile/", 12) == 0;
    s->head = skip_opaque(text, s->len, 0);
    s->tokens_first = f->tokens;
    s->first = f->items;
    struct reader r = {.f = f, .s = s, .source = f->sources++, .left_out = left_out, .lead = s->head, .group = -1};
    choose_operations(text);
    cut_tokens(&r);
    s->tokens_last = f->tokens;
    r.token = s->tokens_first;
    cut_items(&r);
    s->last = f->items;
    leave_statements_out(&r);
}

int onefile_read(struct onefile *f, const char *path, const char *const *left_out, struct error *e)
{
    size_t len;
    char *text = file_read(path, 1 << 22, &len, e);
    if (!text)
        return -1;
    onefile_read_text(f, path, text, left_out);
    for (int i = f->sources - 1, k = 0; k < f->source[i].includes; k++) {
        const char *header = f->source[i].include[k];
        int known = strcmp(header, "model/base/json.h") == 0; /* dev/onefile/json.c takes its place */
        for (int j = 0; j < f->sources; j++)
            known |= !strcmp(f->source[j].path, header);
        char name[160];
        snprintf(name, sizeof name, "%s", header);
        if (!known && onefile_read(f, name, left_out, e))
            return -1;
    }
    return 0;
}

void onefile_free(struct onefile *f)
{
    for (int i = 0; i < f->sources; i++) {
        mem_free(f->source[i].text);
        mem_free(f->source[i].include);
        mem_free(f->source[i].rename);
    }
    for (int i = 0; i < f->items; i++)
        mem_free(f->item[i].uses);
    mem_free(f->source);
    mem_free(f->token);
    mem_free(f->item);
    mem_free(f->name);
    *f = (struct onefile){0};
}

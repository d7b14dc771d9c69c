/* Writing what was reached (onefile.h): parts with a heading, comments kept, a function's comment moved from its
 * prototype in a header to the function where the prototype is not needed any more.
 */
#include "onefile.h"
#include <string.h>

/* A piece of the source from byte `at` to `end` without statements that are left out, with the names as they are now.
 * shift: blanks that follow every newline before byte `shift_end`, since something was put in front. */
static void print_code(const struct onefile *f, const struct code_item *x, int at, int end, int shift_end,
                       struct text *out)
{
    const struct code_file *s = &f->source[x->source];
    int done = at;
    for (int i = x->first; i < x->last; i++) {
        const struct token *t = &f->token[i];
        if (t->gone) { /* to the end of its statement, with the line where nothing else stands on it */
            int first = i;
            while (i + 1 < x->last && f->token[i + 1].gone == t->gone && !token_is(s, &f->token[i], ";"))
                i++;
            int stop = f->token[i].at + f->token[i].len, begin = f->token[first].at, comment;
            for (comment = stop; s->text[comment] == ' '; comment++)
                ;
            if (!strncmp(s->text + comment, "/*", 2))
                stop = (int)(strstr(s->text + comment, "*/") - s->text) + 2;
            text_add(out, s->text + done, begin - done);
            if (t->gone == 2)
                text_add(out, "return 0;", -1);
            else
                while (out->len > 0 && out->s[out->len - 1] == ' ')
                    out->s[--out->len] = 0;
            if (t->gone == 1 && out->len > 0 && out->s[out->len - 1] == '\n')
                out->s[--out->len] = 0;
            done = stop;
            continue;
        }
        for (int k = 0; k < s->renames && t->kind != TOKEN_MEMBER; k++) {
            const struct rename *r = &s->rename[k];
            if (r->tag != (t->kind == TOKEN_TAG) || r->len != t->len || memcmp(r->s, s->text + t->at, (size_t)r->len))
                continue;
            text_add(out, s->text + done, t->at - done);
            text_add(out, r->to, -1);
            done = t->at + t->len;
            break;
        }
        for (int k = done; k < (i + 1 < x->last ? f->token[i + 1].at : end) && k < shift_end; k++)
            if (s->text[k] == '\n') {
                text_add(out, s->text + done, k + 1 - done);
                text_add(out, "       ", 7);
                done = k + 1;
            }
    }
    text_add(out, s->text + done, end - done);
}

/* The end of a function's parameters. */
static int parameters_end(const struct onefile *f, const struct code_item *x)
{
    const struct code_file *s = &f->source[x->source];
    int depth = 0;
    for (int i = x->first; i < x->last; i++) {
        depth += token_is(s, &f->token[i], "(") - token_is(s, &f->token[i], ")");
        if (depth == 0 && token_is(s, &f->token[i], ")"))
            return f->token[i].at;
    }
    return x->at;
}

static int is_main(const struct onefile *f, const struct code_item *x)
{
    return x->kind == ITEM_FUNCTION && token_is(&f->source[x->source], &f->token[x->first + 1], "main");
}

/* The last comment of a lead, which stands directly above its item; 0: none. */
static int own_comment(const struct code_file *s, const struct code_item *x, int *from, int *to)
{
    int end = x->at;
    while (end > x->lead && strchr(" \n", s->text[end - 1]))
        end--;
    int lines = 0;
    for (int i = end; i < x->at; i++)
        lines += s->text[i] == '\n';
    if (lines != 1 || end - x->lead < 4 || strncmp(s->text + end - 2, "*/", 2))
        return 0;
    int begin = end - 2;
    while (begin > x->lead && strncmp(s->text + begin, "/*", 2))
        begin--;
    *from = begin;
    *to = end;
    return strncmp(s->text + begin, "/* --", 5) != 0;
}

/* What prototypes say about a function that no longer has one. */
static void print_moved_comments(const struct onefile *f, const struct code_item *d, struct text *out)
{
    for (int i = 0; i < f->items; i++) {
        const struct code_item *x = &f->item[i];
        const struct code_file *s = &f->source[x->source];
        int from, to;
        if (!x->reached || x->kind != ITEM_PROTOTYPE || item_needed(f, x) || item_definition(f, x) != d)
            continue;
        if (own_comment(s, x, &from, &to)) {
            text_add(out, s->text + from, to - from);
            text_add(out, "\n", 1);
        }
        int end = f->token[x->last - 1].at + 1;
        while (end < x->end && s->text[end] == ' ')
            end++;
        for (; end < x->end; end++) /* behind it on its line; further lines were indented to stand below it */
            if (s->text[end] == '\n') {
                text_add(out, "\n  ", 3);
                while (s->text[end + 1] == ' ')
                    end++;
            } else
                text_add(out, s->text + end, 1);
        if (x->end > f->token[x->last - 1].at + 1)
            text_add(out, "\n", 1);
    }
}

static void heading(const struct code_file *s, struct text *out)
{
    char line[101];
    memset(line, '=', 100);
    line[100] = 0;
    text_addf(out, "\n/* %s\n * %s\n */\n", line, s->path);
    if (s->head)
        text_addf(out, "%.*s\n", s->head, s->text);
}

/* A comment of the lead that begins a section, "/ * ---- x ---- * /"; it stays where the first item of the section was
 * dropped. */
static void note_section(const struct code_file *s, const struct code_item *x, struct text *section)
{
    for (int i = x->lead; i + 7 < x->at; i++)
        if (!strncmp(s->text + i, "/* ----", 7)) {
            int end = (int)(strstr(s->text + i, "*/") - s->text) + 2;
            text_clear(section);
            text_addf(section, "%.*s\n\n", end - i, s->text + i);
        }
}

static void print_item(const struct onefile *f, const struct code_item *x, int keep_lead, struct text *out)
{
    const struct code_file *s = &f->source[x->source];
    int lead = x->lead;
    while (lead < x->at && strchr(" \n", s->text[lead]))
        lead++;
    int blank = lead - x->lead > 1 && s->text[x->lead] == '\n' && s->text[x->lead + 1] == '\n';
    if (blank || x->kind == ITEM_FUNCTION)
        if (out->len > 1 && out->s[out->len - 2] != '\n')
            text_add(out, "\n", 1);
    if (x->kind == ITEM_FUNCTION)
        print_moved_comments(f, x, out);
    if (keep_lead)
        text_add(out, s->text + lead, x->at - lead);
    int make_static = (x->kind == ITEM_FUNCTION || x->kind == ITEM_PROTOTYPE) && !x->is_static && !is_main(f, x);
    if (make_static)
        text_add(out, "static ", 7);
    print_code(f, x, x->at, x->end, make_static ? parameters_end(f, x) : 0, out);
    text_add(out, "\n", 1);
}

static int is_printed(const struct onefile *f, const struct code_item *x)
{
    if (!x->reached)
        return 0;
    return x->kind == ITEM_PROTOTYPE || x->kind == ITEM_EXTERN || x->kind == ITEM_FORWARD ? item_needed(f, x) : 1;
}

static int is_in_group(const struct onefile *f, const struct code_file *s, int at)
{
    for (int i = s->first; i < s->last; i++)
        if (f->item[i].kind == ITEM_GROUP && f->item[i].at <= at && at < f->item[i].end)
            return 1;
    return 0;
}

/* #include <...> of every file that something was reached in, each once. */
static void print_includes(const struct onefile *f, struct text *out)
{
    struct text all = {0};
    text_add(&all, "\n", 1);
    for (int k = 0; k < f->sources; k++) {
        const struct code_file *s = &f->source[k];
        int any = 0;
        for (int i = s->first; i < s->last; i++)
            any |= f->item[i].reached;
        for (const char *c = s->text; any && (c = strstr(c, "\n#include <")); c++) {
            char line[100];
            snprintf(line, sizeof line, "\n%.*s\n", (int)strcspn(c + 1, "\n"), c + 1);
            if (!is_in_group(f, s, (int)(c + 1 - s->text)) && !strstr(all.s, line) && !strstr(line, "jansson.h"))
                text_add(&all, line + 1, -1);
        }
    }
    text_add(out, all.s + 1, -1);
    text_free(&all);
}

void onefile_print(const struct onefile *f, struct text *out)
{
    print_includes(f, out);
    const struct code_item **by_order = mem_alloc((size_t)f->items + 1, sizeof *by_order);
    int present = -1;
    struct text section = {0};
    for (int i = 0; i < f->items; i++)
        if (f->source[f->item[i].source].placed)
            by_order[f->item[i].order] = &f->item[i];
    for (int i = 0; i < f->items; i++) {
        const struct code_item *x = by_order[i];
        if (!x)
            continue;
        const struct code_file *s = &f->source[x->source];
        if (i == 0 || !by_order[i - 1] || by_order[i - 1]->source != x->source)
            text_clear(&section);
        if (!is_printed(f, x)) {
            note_section(s, x, &section);
            continue;
        }
        if (x->source != present)
            heading(s, out);
        present = x->source;
        struct text own = {0};
        note_section(s, x, &own);
        if (section.len && !own.len) {
            if (out->len > 1 && out->s[out->len - 2] != '\n')
                text_add(out, "\n", 1);
            text_add(out, section.s, section.len);
        }
        text_clear(&section);
        text_free(&own);
        print_item(f, x, 1, out);
    }
    text_free(&section);
    mem_free(by_order);
}

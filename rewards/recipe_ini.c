/* From text to sections, entries and stage calls; nothing here knows what the names mean. Hostile input is bounded: a
 * recipe is at most 1 MB, a line 4096 bytes, a name 31; every complaint carries the line.
 */
#include "recipe_inner.h"
#include "../model/base/mem.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20, MAX_LINE = 4096, MAX_ENTRIES = 256 };

struct memory {
    struct memory *next;
    max_align_t bytes[];
};

void *ini_memory(struct ini *ini, size_t bytes)
{
    struct memory *m = mem_alloc(1, sizeof *m + bytes);
    m->next = ini->memory;
    ini->memory = m;
    return m->bytes;
}

char *ini_text(struct ini *ini, const char *s, int len)
{
    size_t n = len < 0 ? strlen(s) : (size_t)len;
    char *to = ini_memory(ini, n + 1);
    memcpy(to, s, n);
    to[n] = 0;
    return to;
}

void ini_free(struct ini *ini)
{
    if (!ini)
        return;
    for (int i = 0; i < ini->sections; i++)
        mem_free(ini->section[i].entry);
    for (struct memory *m = ini->memory, *next; m; m = next) {
        next = m->next;
        mem_free(m);
    }
    mem_free(ini);
}

int blame(const struct ini *ini, struct origin at, struct error *e)
{
    if (at.given)
        return fail_in(e, "on the command line: %.200s", at.given);
    if (at.line > 0)
        return fail_in(e, "%s:%d", ini->path, at.line);
    return fail_in(e, "%s", ini->path);
}

int complain(const struct ini *ini, struct origin at, struct error *e, const char *format, ...)
{
    char text[900];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail(e, "%s", text);
    return blame(ini, at, e);
}

int unknown(const struct ini *ini, struct origin at, const char *what, const char *name, const char *const *names,
            int n, struct error *e)
{
    const char *near = nearest_name(name, names, n), *place = strchr(what, '%');
    int noun = place ? (int)(place - what) - 1 : (int)strlen(what); /* without the blank before the % */
    place = place ? place + 1 : "";
    if (near)
        return complain(ini, at, e, "unknown %.*s '%.100s'%s, did you mean '%s'?", noun, what, name, place, near);
    struct text list = {0};
    for (int i = 0; i < n && list.len < 500; i++)
        text_addf(&list, "%s%s", i == 0 ? "" : i == n - 1 ? " and " : ", ", names[i]);
    complain(ini, at, e, "unknown %.*s '%.100s'%s; there %s %s", noun, what, name, place,
             n == 1  ? "is only"
             : n > 1 ? "are"
                     : "is",
             n ? list.s : "none here");
    text_free(&list);
    return -1;
}

int kind_find(const char *name)
{
    for (int k = 0; k < STAGE_KINDS; k++)
        if (!strcmp(stage_kind_names[k], name))
            return k;
    return -1;
}

int ini_name(char *s)
{
    if (!isalpha((unsigned char)*s) || strlen(s) > MAX_NAME)
        return 0;
    for (; *s; s++) {
        if (*s == '-')
            *s = '_';
        if (!isalnum((unsigned char)*s) && *s != '_')
            return 0;
    }
    return 1;
}

static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = 0;
    return s;
}

struct section *ini_section(struct ini *ini, const char *name, const char *phase)
{
    for (int i = 0; i < ini->sections; i++) {
        struct section *s = &ini->section[i];
        if (!strcmp(s->name, name) && (phase ? s->phase && !strcmp(s->phase, phase) : !s->phase))
            return s;
    }
    return NULL;
}

struct section *ini_add_section(struct ini *ini, const char *name, const char *phase, struct origin at)
{
    if (ini->sections == MAX_SECTIONS)
        die("a recipe has room for %d sections", MAX_SECTIONS);
    struct section *s = &ini->section[ini->sections++];
    *s = (struct section){.name = ini_text(ini, name, -1), .phase = phase ? ini_text(ini, phase, -1) : NULL, .at = at};
    return s;
}

struct entry *ini_entry(struct section *s, const char *key)
{
    for (int i = 0; s && i < s->entries; i++)
        if (!strcmp(s->entry[i].key, key))
            return &s->entry[i];
    return NULL;
}

void ini_set(struct ini *ini, struct section *s, const char *key, const char *text, struct origin at)
{
    struct entry *n = ini_entry(s, key);
    if (!n) {
        mem_grow(&s->entry, &s->cap, s->entries + 1, sizeof *s->entry);
        n = &s->entry[s->entries++];
        *n = (struct entry){.key = ini_text(ini, key, -1)};
    }
    n->text = ini_text(ini, text, -1);
    n->at = at;
}

/* End of the quoted string that starts at s, one past its closing quote; NULL: it does not end. */
static const char *quoted_end(const char *s)
{
    for (s++; *s; s++) {
        if (*s == '\\' && s[1])
            s++;
        else if (*s == '"')
            return s + 1;
    }
    return NULL;
}

char *ini_unquote(struct ini *ini, const char *text, struct error *e)
{
    if (*text != '"')
        return ini_text(ini, text, -1);
    const char *end = quoted_end(text);
    if (!end || *end) {
        fail(e, "%.100s: %s", text, end ? "something follows the closing quote" : "the closing quote is missing");
        return NULL;
    }
    char *to = ini_text(ini, text + 1, (int)(end - text) - 2), *put = to;
    for (char *s = to; *s; s++) {
        if (*s == '\\' && s[1]) {
            s++;
            *put++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
        } else {
            *put++ = *s;
        }
    }
    *put = 0;
    return to;
}

/* ---- lines */

/* Cut the comment off; returns where it starts, or NULL. */
static char *cut_comment(char *s)
{
    for (; *s && *s != '#'; s++)
        if (*s == '"') {
            const char *end = quoted_end(s);
            if (!end)
                return NULL;
            s += end - s - 1;
        }
    if (*s != '#')
        return NULL;
    *s = 0;
    return s + 1;
}

/* "phase rl" -> "rl", "variant trl" -> "trl"; NULL: not a section of that kind. */
static char *header_name(char *s, const char *kind)
{
    size_t n = strlen(kind);
    return !strncmp(s, kind, n) && (s[n] == ' ' || s[n] == '\t') ? trim(s + n + 1) : NULL;
}

/* "phase rl", "models" ...: *name and *phase (NULL: none) of a section that is not a variant. */
static int parse_place(struct ini *ini, char *s, struct origin at, const char **name, char **phase, struct error *e)
{
    static const char *const names[] = {"params", "task", "model",  "models",       "rollout",   "optim",
                                        "eval",   "run",  "stages", "variant NAME", "phase NAME"};
    *phase = header_name(s, "phase");
    if (!*phase && !strcmp(s, "phase"))
        return complain(ini, at, e, "a phase needs a name: [phase rl]");
    int known = *phase != NULL;
    for (size_t i = 0; !known && i + 2 < sizeof names / sizeof *names; i++)
        known = !strcmp(s, names[i]);
    if (!known)
        return unknown(ini, at, "section", s, names, sizeof names / sizeof *names, e);
    if (*phase && !ini_name(*phase))
        return complain(ini, at, e, "'%.40s' is no name for a phase: letters, digits and '_', at most %d", *phase,
                        MAX_NAME);
    *name = *phase ? "phase" : s;
    return 0;
}

/* [variant NAME] has its knobs; [variant NAME: SECTION] has what the variant adds to another section, or all of it.
 * One section each, under a name that nobody but `variant=NAME` reads. */
static int parse_variant(struct ini *ini, char *variant, struct origin at, char joined[MAX_JOINED], struct error *e)
{
    char *colon = strchr(variant, ':'), *phase;
    const char *name;
    int n = 0;
    if (colon) {
        *colon = 0;
        variant = trim(variant);
        if (parse_place(ini, trim(colon + 1), at, &name, &phase, e))
            return -1;
    }
    if (!ini_name(variant))
        return complain(ini, at, e, "'%.40s' is no name for a variant: letters, digits and '_', at most %d", variant,
                        MAX_NAME);
    snprintf(joined, MAX_JOINED, "variant %s", variant);
    if (colon && !ini_section(ini, joined, NULL))
        return complain(ini, at, e, "the section [%s] has to stand before this one", joined);
    if (colon)
        snprintf(joined, MAX_JOINED, "variant %s: %s%s%s", variant, name, phase ? " " : "", phase ? phase : "");
    for (int i = 0; i < ini->sections; i++)
        n += !strncmp(ini->section[i].name, "variant ", 8);
    return n == MAX_VARIANTS ? complain(ini, at, e, "more than %d sections of variants", MAX_VARIANTS) : 0;
}

int ini_phases(const struct ini *ini)
{
    int n = 0;
    for (int i = 0; i < ini->sections; i++)
        n += ini->section[i].phase != NULL;
    return n;
}

static int parse_header(struct ini *ini, char *s, struct origin at, struct section **now, struct error *e)
{
    size_t n = strlen(s);
    if (s[n - 1] != ']')
        return complain(ini, at, e, "the section's ']' is missing");
    s[n - 1] = 0;
    s = trim(s + 1);
    char *phase = NULL, *variant = header_name(s, "variant"), joined[MAX_JOINED];
    const char *name = joined;
    if (variant ? parse_variant(ini, variant, at, joined, e) : parse_place(ini, s, at, &name, &phase, e))
        return -1;
    struct section *old = ini_section(ini, name, phase);
    if (old)
        return complain(ini, at, e, "the section stands already in line %d", old->at.line);
    if (phase && ini_phases(ini) == MAX_PHASES)
        return complain(ini, at, e, "more than %d phases", MAX_PHASES);
    *now = ini_add_section(ini, name, phase, at);
    return 0;
}

static int parse_entry(struct ini *ini, char *s, struct origin at, struct section *now, struct error *e)
{
    char *equals = strchr(s, '=');
    if (!equals)
        return complain(ini, at, e, "neither [section] nor key = value: '%.60s'", s);
    *equals = 0;
    char *key = trim(s), *text = trim(equals + 1);
    if (!ini_name(key))
        return complain(ini, at, e, "'%.60s' is no name: letters, digits and '_', at most %d", key, MAX_NAME);
    if (!now)
        return complain(ini, at, e, "'%s' stands before the first section", key);
    struct entry *old = ini_entry(now, key);
    if (old)
        return complain(ini, at, e, "duplicate key '%s', first in line %d", key, old->at.line);
    if (now->entries == MAX_ENTRIES)
        return complain(ini, at, e, "more than %d keys in one section", MAX_ENTRIES);
    ini_set(ini, now, key, text, at);
    return 0;
}

static int parse_line(struct ini *ini, const char *line, size_t len, struct origin at, struct section **now,
                      char **title, struct error *e)
{
    char buf[MAX_LINE + 1];
    if (len > MAX_LINE)
        return complain(ini, at, e, "the line is longer than %d bytes", MAX_LINE);
    memcpy(buf, line, len);
    buf[len] = 0;
    if (len > 0 && buf[len - 1] == '\r')
        buf[--len] = 0;
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)buf[i]) && buf[i] != '\t')
            return complain(ini, at, e, "a control character (code %d): recipes are plain text", buf[i]);
    char *comment = cut_comment(buf), *s = trim(buf);
    if (comment && *s == 0 && !*title && *trim(comment))
        *title = mem_strdup(trim(comment));
    if (*s == 0)
        return 0;
    return *s == '[' ? parse_header(ini, s, at, now, e) : parse_entry(ini, s, at, *now, e);
}

int ini_parse(struct ini *ini, const char *text, size_t len, char **title, struct error *e)
{
    struct section *now = NULL;
    struct origin at = {0};
    if (len > MAX_TEXT)
        return fail(e, "%s: a recipe is at most %d bytes long", ini->path, MAX_TEXT);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) { /* a byte order mark */
        text += 3;
        len -= 3;
    }
    for (size_t i = 0; i < len;) {
        const char *end = memchr(text + i, '\n', len - i);
        size_t n = end ? (size_t)(end - text) - i : len - i;
        at.line++;
        if (parse_line(ini, text + i, n, at, &now, title, e))
            return -1;
        i += n + 1;
    }
    return 0;
}

/* ---- stage lists */

static const char *skip(const char *s)
{
    return s + strspn(s, " \t");
}

/* A bare or quoted value; *s goes past it. */
static int parse_value(struct ini *ini, const char **s, struct argument *a, struct error *e)
{
    const char *from = *s, *end = *from == '"' ? quoted_end(from) : from + strcspn(from, ",()\"");
    if (!end)
        return complain(ini, a->at, e, "%s: the closing quote is missing", a->key);
    *s = end;
    while (*from != '"' && end > from && strchr(" \t", end[-1]))
        end--;
    if (end == from)
        return complain(ini, a->at, e, "%s has no value", a->key);
    char *raw = ini_text(ini, from, (int)(end - from));
    if (*raw == '$') {
        a->knob = raw;
        struct entry *knob = ini_name(raw + 1) ? ini_entry(ini_section(ini, "params", NULL), raw + 1) : NULL;
        if (!knob)
            return complain(ini, a->at, e, "%s = %.60s: [params] has no such name", a->key, raw);
        knob->used = 1;
        a->at = knob->at;
        raw = knob->text;
    }
    a->text = ini_unquote(ini, raw, e);
    return a->text ? 0 : blame(ini, a->at, e);
}

static char *parse_word(struct ini *ini, const char **s)
{
    size_t n = 0;
    while (isalnum((unsigned char)(*s)[n]) || (*s)[n] == '_' || (*s)[n] == '-')
        n++;
    char *word = ini_text(ini, *s, (int)n);
    *s = skip(*s + n);
    return ini_name(word) ? word : NULL;
}

/* What stands between the parentheses, and the closing one. */
static int parse_arguments(struct ini *ini, const char **s, struct call *c, struct error *e)
{
    for (*s = skip(*s + 1); **s != ')'; *s = skip(*s)) {
        if (c->args > 0 && *(*s)++ != ',')
            return complain(ini, c->at, e, "%s: ',' or ')' is missing at '%.30s'", c->name, *s - 1);
        *s = skip(*s);
        if (c->args == MAX_PARAMS)
            return complain(ini, c->at, e, "%s: more than %d parameters", c->name, MAX_PARAMS);
        struct argument *a = &c->arg[c->args];
        *a = (struct argument){.at = c->at, .key = parse_word(ini, s)};
        if (!a->key || **s != '=')
            return complain(ini, c->at, e, "%s: parameters are written as (key = value, ...)", c->name);
        for (int i = 0; i < c->args; i++)
            if (!strcmp(c->arg[i].key, a->key))
                return complain(ini, c->at, e, "%s: duplicate parameter '%s'", c->name, a->key);
        *s = skip(*s + 1);
        if (parse_value(ini, s, a, e))
            return -1;
        c->args++;
    }
    (*s)++;
    return 0;
}

int ini_calls(struct ini *ini, const struct entry *line, enum stage_kind kind, struct call **call, int *calls,
              struct error *e)
{
    const char *s = skip(line->text);
    for (int first = 1; *s; first = 0, s = skip(s)) {
        if (!first && *s++ != ',')
            return complain(ini, line->at, e, "%s: ',' is missing at '%.30s'", line->key, s - 1);
        s = skip(s);
        if (*calls == MAX_STAGES)
            return complain(ini, line->at, e, "more than %d stages in one phase", MAX_STAGES);
        struct call *c = call[*calls] = ini_memory(ini, sizeof *c);
        *c = (struct call){.kind = kind, .at = line->at, .name = parse_word(ini, &s)};
        if (!c->name)
            return complain(ini, line->at, e, "%s: a stage's name is missing at '%.30s'", line->key, s);
        if (*s == '(' && parse_arguments(ini, &s, c, e))
            return -1;
        ++*calls;
    }
    return 0;
}

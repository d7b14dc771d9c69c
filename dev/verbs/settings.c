/* A resolved recipe taken apart by its form: sections, entries, the calls of stage lines. What a missing entry means is
 * looked up in the rows by which the program itself reads recipes.
 */
#include "settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../model/base/mem.h"
#include "../../rewards/recipe.h"

/* ---- reading ---- */

static char *piece(const char *s, size_t len)
{
    char *out = mem_alloc(len + 1, 1);
    memcpy(out, s, len);
    return out;
}

static void add(struct settings *s, const char *name, const char *value, size_t len, const char *line)
{
    if (s->n == MAX_SETTINGS)
        return;
    mem_grow(&s->row, &s->cap, s->n + 1, sizeof *s->row);
    s->row[s->n++] = (struct setting){mem_strdup(name), piece(value, len), line ? mem_strdup(line) : NULL};
}

static void trim(const char **s, size_t *len)
{
    while (*len && strchr(" \t\r", **s))
        ++*s, --*len;
    while (*len && strchr(" \t\r", (*s)[*len - 1]))
        --*len;
}

size_t settings_span(const char *s, size_t len, const char *ends)
{
    int depth = 0, quoted = 0;
    for (size_t i = 0; i < len; i++) {
        if (quoted) {
            if (s[i] == '\\')
                i++;
            else
                quoted = s[i] != '"';
            continue;
        }
        if (depth == 0 && strchr(ends, s[i]))
            return i;
        quoted = s[i] == '"';
        depth += s[i] == '(';
        depth -= s[i] == ')' && depth > 0;
    }
    return len;
}

/* key = value, ... between the parentheses of a call. */
static void read_arguments(struct settings *s, const char *call, const char *p, size_t len)
{
    char name[300];
    for (size_t n, left = len; left; p += n, left -= n) {
        n = settings_span(p, left, ",");
        size_t equals = settings_span(p, n, "="), key = equals, rest = n > equals ? n - equals - 1 : 0;
        const char *k = p, *v = p + equals + 1;
        trim(&k, &key);
        if (key && n > equals) {
            trim(&v, &rest);
            snprintf(name, sizeof name, "%s.%.*s", call, (int)(key < 80 ? key : 80), k);
            add(s, name, v, rest, NULL);
        }
        n += n < left; /* the comma */
    }
}

/* NAME(key = value, ...), ...: the names under PHASE.KIND, then every parameter. */
static void read_stages(struct settings *s, const char *name, const char *p, size_t len)
{
    struct text names = {0};
    char call[200], *line = piece(p, len);
    int at = s->n;
    add(s, name, "", 0, line);
    for (size_t n, left = len; left; p += n, left -= n) {
        n = settings_span(p, left, ",");
        const char *stage = p, *open = memchr(p, '(', n);
        size_t bytes = open ? (size_t)(open - p) : n;
        trim(&stage, &bytes);
        text_addf(&names, "%s%.*s", names.len ? ", " : "", (int)(bytes < 80 ? bytes : 80), stage);
        snprintf(call, sizeof call, "%s.%.*s", name, (int)(bytes < 80 ? bytes : 80), stage);
        if (open) {
            size_t inside = (size_t)(p + n - open) - 1;
            const char *close = open + 1 + inside;
            while (inside && *--close != ')')
                inside--;
            read_arguments(s, call, open + 1, inside ? inside - 1 : 0);
        }
        n += n < left;
    }
    if (s->n > at) {
        mem_free(s->row[at].value);
        s->row[at].value = mem_strdup(names.s ? names.s : "");
    }
    mem_free(line);
    text_free(&names);
}

static int stage_kind(const char *key)
{
    for (int i = 0; i < STAGE_KINDS; i++)
        if (!strcmp(stage_kind_names[i], key))
            return i;
    return -1;
}

static void read_entry(struct settings *s, const char *place, const char *line, size_t len)
{
    char name[120], key[64];
    const char *equals = memchr(line, '=', len);
    if (!equals || !place[0])
        return;
    size_t bytes = (size_t)(equals - line), rest = len - bytes - 1;
    const char *k = line, *v = equals + 1;
    trim(&k, &bytes);
    trim(&v, &rest);
    if (!bytes || bytes >= sizeof key)
        return;
    snprintf(key, sizeof key, "%.*s", (int)bytes, k);
    snprintf(name, sizeof name, "%s.%s", place, key);
    if (stage_kind(key) >= 0)
        read_stages(s, name, v, rest);
    else
        add(s, name, v, rest, NULL);
}

/* [section] or [phase NAME]; anything else is no place. */
static void read_place(char place[40], const char *line, size_t len)
{
    const char *p = line + 1, *end = memchr(line, ']', len);
    size_t n = end ? (size_t)(end - p) : 0;
    trim(&p, &n);
    if (n > 6 && !memcmp(p, "phase ", 6)) {
        p += 6, n -= 6;
        trim(&p, &n);
    }
    snprintf(place, 40, "%.*s", (int)(n < 39 ? n : 0), p);
}

void settings_read(struct settings *s, const char *text)
{
    char place[40] = "";
    *s = (struct settings){0};
    for (const char *p = text, *end; *p; p = end + (*end != 0)) {
        const char *line = p;
        end = p + strcspn(p, "\n");
        size_t len = (size_t)(end - p);
        trim(&line, &len);
        if (!len)
            continue;
        if (*line == '#' && !s->title[0]) {
            const char *title = line + 1;
            size_t n = len - 1;
            trim(&title, &n);
            snprintf(s->title, sizeof s->title, "%.*s", (int)(n < sizeof s->title ? n : sizeof s->title - 1), title);
        } else if (*line == '[') {
            read_place(place, line, len);
        } else if (*line != '#') {
            read_entry(s, place, line, len);
        }
    }
}

int settings_from_json(struct settings *s, const json_t *o, struct error *e)
{
    const char *key;
    json_t *v;
    *s = (struct settings){0};
    if (!json_is_object(o))
        return fail(e, "settings: not an object");
    json_object_foreach((json_t *)o, key, v)
    {
        if (!json_is_string(v)) {
            settings_free(s);
            return fail(e, "settings: %.80s is not a text", key);
        }
        add(s, key, json_string_value(v), json_string_length(v), NULL);
    }
    return 0;
}

json_t *settings_json(const struct settings *s)
{
    json_t *o = json_object();
    for (int i = 0; i < s->n; i++) {
        json_t *v = json_string(s->row[i].value);
        json_object_set_new(o, s->row[i].name, v ? v : json_string("")); /* not UTF-8 */
    }
    return o;
}

void settings_free(struct settings *s)
{
    for (int i = 0; i < s->n; i++) {
        mem_free(s->row[i].name);
        mem_free(s->row[i].value);
        mem_free(s->row[i].line);
    }
    mem_free(s->row);
    *s = (struct settings){0};
}

/* ---- looking up ---- */

static const struct setting *row_of(const struct settings *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->row[i].name, name))
            return &s->row[i];
    return NULL;
}

const char *settings_get(const struct settings *s, const char *name)
{
    const struct setting *row = row_of(s, name);
    return row ? row->value : NULL;
}

/* The line of a kind of stages: of the first phase with rollouts that has one, else of the first phase. */
static const char *stage_line(const struct settings *s, const char *kind)
{
    const char *first = NULL;
    for (int i = 0; i < s->n; i++) {
        char source[120];
        const char *name = s->row[i].name, *dot = strchr(name, '.');
        if (!s->row[i].line || !dot || strcmp(dot + 1, kind))
            continue;
        snprintf(source, sizeof source, "%.*s.source", (int)(dot - name), name);
        const char *from = settings_get(s, source);
        if (from && !strcmp(from, "rollout"))
            return s->row[i].line;
        first = first ? first : s->row[i].line;
    }
    return first;
}

static int ends_in(const char *name, const char *key)
{
    size_t n = strlen(name), k = strlen(key);
    return n > k && name[n - k - 1] == '.' && !strcmp(name + n - k, key);
}

/* ---- what holds where nothing is written ---- */

static const char *section_default(const char *section, const char *key)
{
    for (const struct section_row *r = recipe_sections; r->name; r++)
        for (int i = 0; !strcmp(r->name, section) && i < r->count; i++)
            if (!strcmp(r->keys[i].row.key, key))
                return r->keys[i].row.def;
    return NULL;
}

static const char *row_default(const struct param *rows, const char *key)
{
    int i = param_find(rows, key);
    return i < 0 ? NULL : rows[i].def;
}

/* PHASE.KIND.STAGE.key of a stage that the phase has. */
static const char *stage_default(const struct settings *s, const char *name)
{
    char part[4][80] = {"", "", "", ""}, line[200];
    if (sscanf(name, "%79[^.].%79[^.].%79[^.].%79s", part[0], part[1], part[2], part[3]) != 4)
        return NULL;
    int kind = stage_kind(part[1]);
    snprintf(line, sizeof line, "%s.%s", part[0], part[1]);
    const char *has = settings_get(s, line);
    const struct stage *stage = kind < 0 ? NULL : stage_find((enum stage_kind)kind, part[2]);
    return stage && has && strstr(has, part[2]) ? row_default(stage->params, part[3]) : NULL;
}

/* The value that holds under a name: written, inherited from the section of the same key, or the default. */
static const char *effective(const struct settings *s, const char *name)
{
    char section[120];
    const char *dot = strchr(name, '.'), *written = settings_get(s, name), *task = settings_get(s, "task.name");
    if (written || !dot)
        return written;
    if (strchr(dot + 1, '.'))
        return stage_default(s, name);
    if (!strncmp(name, "task.", 5))
        return task && task_find(task) ? row_default(task_find(task)->params, dot + 1) : NULL;
    snprintf(section, sizeof section, "%.*s", (int)(dot - name), name);
    const char *def = section_default(section, dot + 1);
    if (def)
        return def;
    snprintf(section, sizeof section, "%.*s.source", (int)(dot - name), name);
    if (!settings_get(s, section)) /* no phase of this name */
        return NULL;
    static const char *const base[] = {"rollout", "optim"};
    for (int i = 0; i < 2; i++) {
        snprintf(section, sizeof section, "%s.%.80s", base[i], dot + 1);
        written = settings_get(s, section);
        def = section_default(base[i], dot + 1);
        if (written || def)
            return written ? written : def;
    }
    return section_default("phase", dot + 1);
}

const char *settings_find(const struct settings *s, const char *key)
{
    char name[200];
    const struct setting *exact = row_of(s, key);
    if (exact)
        return exact->line ? exact->line : exact->value;
    snprintf(name, sizeof name, "params.%.100s", key);
    if (row_of(s, name))
        return settings_get(s, name);
    if (!strncmp(key, "stages.", 7))
        return stage_line(s, key + 7);
    for (int i = 0; i < s->n; i++)
        if (ends_in(s->row[i].name, key))
            return s->row[i].line ? s->row[i].line : s->row[i].value;
    return effective(s, key);
}

/* ---- comparing ---- */

static int same_text(const char *a, const char *b)
{
    char *end_a, *end_b;
    if (!a || !b)
        return a == b;
    if (!strcmp(a, b) || (!strcmp(a, "\"\"") && !b[0]) || (!strcmp(b, "\"\"") && !a[0]))
        return 1;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);
    return end_a != a && end_b != b && !*end_a && !*end_b && x == y;
}

int settings_is_file(const char *name)
{
    return !strcmp(name, "task.train") || !strcmp(name, "task.test");
}

/* The last piece of a path, which may stand in quotes. */
static size_t last_piece(const char **path)
{
    const char *slash = strrchr(*path, '/');
    *path = slash ? slash + 1 : *path + (**path == '"');
    return strcspn(*path, "\"");
}

static int same_piece(const char *a, const char *b)
{
    size_t n = last_piece(&a), m = last_piece(&b);
    return n == m && !memcmp(a, b, n);
}

/* Cannot change a measured number. Where a model or a file lies is no setting either, but whether there is one is, and
 * so is the name of a file. */
static int is_idle(const char *name, const char *a, const char *b)
{
    int empty_a = !a || !a[0] || !strcmp(a, "\"\""), empty_b = !b || !b[0] || !strcmp(b, "\"\"");
    return !strcmp(name, "run.seed") || !strcmp(name, "run.log_samples") || !strcmp(name, "eval.every") ||
           (!strcmp(name, "model.path") && empty_a == empty_b) ||
           (settings_is_file(name) && !empty_a && !empty_b && same_piece(a, b));
}

int settings_compare(const struct settings *a, const struct settings *b, struct difference *d, int max)
{
    int n = 0;
    for (int side = 0; side < 2; side++) {
        const struct settings *s = side ? b : a, *other = side ? a : b;
        for (int i = 0; i < s->n; i++) {
            const char *name = s->row[i].name;
            if (side && settings_get(other, name))
                continue; /* met from the other side */
            const char *mine = s->row[i].value, *theirs = effective(other, name);
            const char *va = side ? theirs : mine, *vb = side ? mine : theirs;
            if (same_text(va, vb) || is_idle(name, va, vb))
                continue;
            if (n < max)
                d[n] = (struct difference){name, va, vb};
            n++;
        }
    }
    return n;
}

/* Questions and answers from JSONL files: one object a line, with a question and an answer under names of your choice.
 *
 *     ./train_rl RECIPE task=jsonl task.train=FILE task.verify=number model.path=DIR
 *
 * The prompt is a template: {question} stands for the question, {name} for any other field. Where the answers are
 * worked solutions that end with a marker and the result (GSM8K: "#### 72"), the result is the truth and the whole text
 * is what a warm-up imitates. With `test` the second file is held out, and what it asks is left out of the first;
 * without it one question in ten is held out by its hash.
 *
 * Files are read once and every line is checked then, so a mistake is refused with its line number before anything
 * runs. Verifiers beyond text and numbers belong into files of their own, as decimal.c is one. */
#include "task.h"
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "decimal.h"
#include "unicode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 30, MAX_LINE = 16 << 20, MAX_NAME = 64, MAX_POINT = 0x110000 };
enum { P_TRAIN, P_TEST, P_QUESTION, P_ANSWER, P_GOLD, P_PROMPT, P_MARKER, P_VERIFY, P_CASE, P_SHOTS };
enum { VERIFY_EXACT, VERIFY_NUMBER };

static const struct param params[] = {
    {"train", PARAM_TEXT, "", 0, 0, NULL, "JSONL file to train on (at most 1 GiB, lines of at most 16 MiB).", NULL},
    {"test", PARAM_TEXT, "", 0, 0, NULL, "JSONL file to test on; empty: one question in ten of the other.", NULL},
    {"question", PARAM_TEXT, "question", 0, 0, NULL, "Field of the question.", NULL},
    {"answer", PARAM_TEXT, "answer", 0, 0, NULL, "Field of the answer.", NULL},
    {"gold", PARAM_TEXT, "", 0, 0, NULL, "Field of a worked solution to warm up on; empty: the answer.", NULL},
    {"prompt", PARAM_TEXT, "Question: {question}\nAnswer:", 0, 0, NULL,
     "Template: {question} is the question, {name} any other field.", NULL},
    {"marker", PARAM_TEXT, "####", 0, 0, NULL,
     "Where a worked solution has a line that begins so, the answer is what follows; empty: never.", NULL},
    {"verify", PARAM_CHOICE, "exact", 0, 0, "exact|number", "Compare texts, or the last numbers in them.", NULL},
    {"case", PARAM_BOOL, "true", 0, 0, NULL, "Upper and lower case are different.", "verify=exact"},
    {"shots", PARAM_INT, "0", 0, MAX_SHOTS, NULL,
     "Worked examples in front of every prompt: questions of the training file with their texts to warm up on.", NULL},
    {0}};

struct line {
    const char *s;
    int len;
    enum split split; /* by the hash of its prompt */
};
struct source {
    char *text;
    const char *path;
    struct line *line;
    uint64_t *hash; /* of its prompt */
    int lines, cap, hashes;
};
struct jsonl {
    struct source file[2];             /* train, test; or one for both */
    struct line *line[2];              /* by split */
    unsigned char seen[MAX_POINT / 8]; /* a bit for each character that occurs in prompts and gold texts */
    struct text alphabet;
    struct line shot[MAX_SHOTS + 1];  /* the examples, and one more for the prompt that is among them */
    struct text shown[MAX_SHOTS + 1]; /* their prompts */
};

/* The texts of one line. */
struct row {
    struct text prompt, answer, working;
};

static const char *option(const struct task *t, int p)
{
    return t->value[p].text ? t->value[p].text : "";
}

static void row_free(struct row *r)
{
    text_free(&r->prompt);
    text_free(&r->answer);
    text_free(&r->working);
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct line trimmed(const char *s, int len)
{
    while (len && is_blank(s[len - 1]))
        len--;
    while (len && is_blank(*s)) {
        s++;
        len--;
    }
    return (struct line){.s = s, .len = len};
}

/* What follows the last marker that begins a line (anywhere: or stands elsewhere); s NULL: there is none. */
static struct line after_marker(const struct task *t, const char *s, int len, int anywhere)
{
    const char *marker = option(t, P_MARKER);
    int n = (int)strlen(marker);
    for (int at = len - n; n && at >= 0; at--)
        if (!memcmp(s + at, marker, (size_t)n) && (anywhere || at == 0 || s[at - 1] == '\n'))
            return (struct line){.s = s + at + n, .len = len - at - n};
    return (struct line){0};
}

/* ---- a line of the file */

/* The shortest decimal text that reads back as the same number. */
static void add_number(double x, struct text *out)
{
    char s[40];
    int digits = 15;
    do
        snprintf(s, sizeof s, "%.*g", digits, x);
    while (digits++ < 17 && strtod(s, NULL) != x);
    text_add(out, s, -1);
}

static int add_field(const json_t *o, const char *name, struct text *out, struct error *e)
{
    const json_t *v = json_object_get(o, name);
    if (json_is_string(v))
        text_add(out, json_string_value(v), (int)json_string_length(v));
    else if (json_is_integer(v))
        text_addf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        add_number(json_real_value(v), out);
    else
        return v ? fail(e, "the field '%s' is neither a text nor a number", name)
                 : fail(e, "there is no field '%s'", name);
    text_add(out, "", 0);
    return 0;
}

/* The name in "{name}" at s; returns the bytes up to and with the brace, 0: it is none. */
static int placeholder(const char *s, char name[MAX_NAME])
{
    int n = 0;
    while (s[1 + n] && s[1 + n] != '{' && s[1 + n] != '}' && s[1 + n] != '\n')
        n++;
    if (s[0] != '{' || s[1 + n] != '}' || n == 0 || n >= MAX_NAME)
        return 0;
    memcpy(name, s + 1, (size_t)n);
    name[n] = 0;
    return n + 2;
}

static int write_prompt(const struct task *t, const json_t *o, struct text *out, struct error *e)
{
    char name[MAX_NAME];
    for (const char *s = option(t, P_PROMPT); *s;) {
        int n = placeholder(s, name);
        if (n && add_field(o, strcmp(name, "question") ? name : option(t, P_QUESTION), out, e))
            return -1;
        if (!n)
            text_add(out, s, 1);
        s += n ? n : 1;
    }
    return 0;
}

/* The truth: what follows the marker in a worked answer, else the answer; a number in canonical form. */
static int take_answer(const struct task *t, struct row *r, struct error *e)
{
    struct line marked = after_marker(t, r->answer.s, r->answer.len, 0);
    struct line truth = marked.s ? trimmed(marked.s, marked.len) : trimmed(r->answer.s, r->answer.len);
    struct text text = {0};
    text_add(&text, truth.s, truth.len);
    int number = t->value[P_VERIFY].num != VERIFY_NUMBER || decimal_whole(text.s, text.len, &r->answer);
    if (number && t->value[P_VERIFY].num != VERIFY_NUMBER) {
        text_clear(&r->answer);
        text_add(&r->answer, text.s, text.len);
    }
    int status = !text.len ? fail(e, "the answer is empty")
                 : !number ? fail(e, "the answer '%.60s' is not a number; verify = exact compares texts", text.s)
                           : 0;
    text_free(&text);
    return status;
}

/* Fill r, whose texts are replaced, from a line. */
static int read_row(const struct task *t, struct line l, struct row *r, struct error *e)
{
    text_clear(&r->prompt);
    text_clear(&r->answer);
    text_clear(&r->working);
    json_t *o = json_parse(l.s, (size_t)l.len, e);
    if (!o)
        return -1;
    int bad = json_is_object(o) ? 0 : fail(e, "it is not an object");
    bad = bad || write_prompt(t, o, &r->prompt, e) || add_field(o, option(t, P_ANSWER), &r->answer, e) ||
          add_field(o, option(t, option(t, P_GOLD)[0] ? P_GOLD : P_ANSWER), &r->working, e);
    json_decref(o);
    if (bad || take_answer(t, r, e))
        return -1;
    return r->prompt.len ? 0 : fail(e, "the prompt is empty");
}

/* ---- opening */

/* The texts come from JSON, which is always good UTF-8. */
static void note_characters(struct jsonl *j, const struct text *s)
{
    enum utf8_kind kind;
    for (int i = 0, n; i < s->len; i += n) {
        n = utf8_next(s->s + i, s->len - i, &kind);
        int point = utf8_point(s->s + i, n);
        j->seen[point / 8] |= (unsigned char)(1 << point % 8);
    }
}

/* A prompt that ends without a blank is followed by one. */
static int needs_blank(const struct text *prompt)
{
    return !is_blank(prompt->s[prompt->len - 1]);
}

static int add_line(struct task *t, struct source *f, struct line l, struct row *r, struct error *e)
{
    struct jsonl *j = t->state;
    if (l.len > MAX_LINE)
        return fail(e, "it is longer than %d bytes", MAX_LINE);
    if (read_row(t, l, r, e))
        return -1;
    mem_grow(&f->line, &f->cap, f->lines + 1, sizeof *f->line);
    mem_grow(&f->hash, &f->hashes, f->lines + 1, sizeof *f->hash);
    f->hash[f->lines] = hash_bytes(r->prompt.s, r->prompt.len, 0);
    l.split = task_split(r->prompt.s, r->prompt.len);
    f->line[f->lines++] = l;
    int gold = r->working.len + needs_blank(&r->prompt);
    t->longest_prompt = r->prompt.len > t->longest_prompt ? r->prompt.len : t->longest_prompt;
    t->longest_gold = gold > t->longest_gold ? gold : t->longest_gold;
    note_characters(j, &r->prompt);
    note_characters(j, &r->working);
    if (needs_blank(&r->prompt))
        note_characters(j, &(struct text){.s = " ", .len = 1});
    return 0;
}

static int read_source(struct task *t, struct source *f, const char *path, struct error *e)
{
    struct row row = {0};
    size_t size, at = 0;
    int bad = 0;
    f->path = path;
    f->text = file_read(path, MAX_FILE, &size, e);
    if (!f->text) {
        const struct error why = *e;
        return fail(e,
                    "%.800s (task.train and task.test name the files; show RECIPE: where those of a recipe come from)",
                    why.text);
    }
    for (int number = 1; at < size && !bad; number++) {
        const char *newline = memchr(f->text + at, '\n', size - at);
        size_t end = newline ? (size_t)(newline - f->text) : size;
        struct line l = trimmed(f->text + at, (int)(end - at));
        if (l.len && add_line(t, f, l, &row, e))
            bad = fail_in(e, "%s:%d", path, number);
        at = end + 1;
    }
    row_free(&row);
    if (!bad && !f->lines)
        return fail(e, "%s holds no line", path);
    return bad;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Lines into their splits: the second file is held out and its questions leave the first, or the hash decides. */
static int deal(struct task *t, struct error *e)
{
    struct jsonl *j = t->state;
    struct source *train = &j->file[SPLIT_TRAIN], *test = &j->file[SPLIT_TEST];
    if (test->text)
        qsort(test->hash, (size_t)test->lines, sizeof *test->hash, by_value);
    for (int split = 0; split < 2; split++)
        j->line[split] = mem_alloc((size_t)train->lines + (size_t)test->lines, sizeof(struct line));
    for (int i = 0; i < train->lines; i++) {
        int asked =
            test->text && bsearch(&train->hash[i], test->hash, (size_t)test->lines, sizeof *test->hash, by_value);
        enum split split = test->text ? SPLIT_TRAIN : train->line[i].split;
        if (!asked)
            j->line[split][t->size[split]++] = train->line[i];
    }
    for (int i = 0; i < test->lines; i++)
        j->line[SPLIT_TEST][t->size[SPLIT_TEST]++] = test->line[i];
    if (!t->size[SPLIT_TRAIN])
        return fail(e, "%s: no question is left to train on: %s", train->path,
                    test->text ? "all stand in the test file too" : "too few lines");
    if (!t->size[SPLIT_TEST])
        return fail(e, "%s: of %d lines none is held out; give test = FILE", train->path, train->lines);
    return 0;
}

/* ---- worked examples */

/* Which of the first n examples has this prompt; n: none. */
static int find_shown(const struct jsonl *j, int n, const struct text *prompt)
{
    int k = 0;
    while (k < n && (j->shown[k].len != prompt->len || memcmp(j->shown[k].s, prompt->s, (size_t)prompt->len)))
        k++;
    return k;
}

/* The same for every prompt and every run: the training lines whose prompts have the smallest hashes, each prompt once.
 */
static int choose_shots(struct task *t, struct error *e)
{
    enum { SEED = 0x73686f74 };
    struct jsonl *j = t->state;
    int want = t->shots + 1, n = 0;
    uint64_t hash[MAX_SHOTS + 1];
    struct row r = {0};
    for (uint64_t i = 0; i < t->size[SPLIT_TRAIN]; i++) {
        if (read_row(t, j->line[SPLIT_TRAIN][i], &r, e))
            die("a line that was good when the file was opened: %s", e->text);
        uint64_t h = hash_bytes(r.prompt.s, r.prompt.len, SEED);
        int at = n;
        if (find_shown(j, n, &r.prompt) < n || (n == want && h >= hash[n - 1]))
            continue;
        if (n == want)
            text_free(&j->shown[--n]);
        for (at = n++; at > 0 && hash[at - 1] > h; at--) {
            hash[at] = hash[at - 1];
            j->shot[at] = j->shot[at - 1];
            j->shown[at] = j->shown[at - 1];
        }
        hash[at] = h;
        j->shot[at] = j->line[SPLIT_TRAIN][i];
        j->shown[at] = (struct text){0};
        text_add(&j->shown[at], r.prompt.s, r.prompt.len);
    }
    row_free(&r);
    return n < want
               ? fail(e, "shots = %d: %s has only %d different questions to train on, and one has to be left to ask",
                      t->shots, j->file[SPLIT_TRAIN].path, n)
               : 0;
}

static int open(struct task *t, struct error *e)
{
    char name[MAX_NAME];
    int fields = 0;
    struct jsonl *j = t->state = mem_alloc(1, sizeof *j);
    if (!option(t, P_TRAIN)[0])
        return fail(e, "it needs a file: task.train=FILE");
    for (const char *s = option(t, P_PROMPT); *s; s++)
        fields += placeholder(s, name) > 0;
    if (!fields)
        return fail(e, "prompt = \"%s\" has no field such as {question}, so all prompts would be the same",
                    option(t, P_PROMPT));
    for (int split = 0; split < 2; split++)
        if (option(t, P_TRAIN + split)[0] && read_source(t, &j->file[split], option(t, P_TRAIN + split), e))
            return -1;
    for (int point = 1; point < MAX_POINT; point++)
        if (j->seen[point / 8] >> point % 8 & 1) {
            char one[4];
            text_add(&j->alphabet, one, utf8_put(one, point));
        }
    t->alphabet = j->alphabet.s;
    t->shots = (int)t->value[P_SHOTS].num;
    return deal(t, e) || (t->shots && choose_shots(t, e)) ? -1 : 0;
}

static void close(struct task *t)
{
    struct jsonl *j = t->state;
    for (int k = 0; j && k < 2; k++) {
        mem_free(j->file[k].text);
        mem_free(j->file[k].line);
        mem_free(j->file[k].hash);
        mem_free(j->line[k]);
    }
    for (int k = 0; j && k <= MAX_SHOTS; k++)
        text_free(&j->shown[k]);
    if (j)
        text_free(&j->alphabet);
    mem_free(j);
}

static void fill_item(const struct task *t, struct line l, enum split split, uint64_t index, struct item *out)
{
    struct error e;
    struct row r = {out->prompt, out->answer, out->extra};
    if (read_row(t, l, &r, &e))
        die("a line that was good when the file was opened: %s", e.text);
    *out = (struct item){split, index, r.prompt, r.answer, r.working};
}

static void make(const struct task *t, enum split split, uint64_t index, struct item *out)
{
    const struct jsonl *j = t->state;
    fill_item(t, j->line[split][index % t->size[split]], split, index, out);
}

static void shot(const struct task *t, const struct item *it, int k, struct item *out)
{
    const struct jsonl *j = t->state;
    int own = find_shown(j, t->shots + 1, &it->prompt);
    fill_item(t, j->shot[k + (own <= k)], SPLIT_TRAIN, 0, out); /* from the question itself on, the next one */
}

static void gold(const struct task *t, const struct item *it, struct rng r, struct text *out)
{
    (void)t;
    (void)r;
    text_clear(out);
    text_add(out, " ", needs_blank(&it->prompt));
    text_add(out, it->extra.s, it->extra.len);
}

/* ---- the verifier */

static int same_byte(char a, char b, int cases)
{
    int x = (unsigned char)a, y = (unsigned char)b;
    if (!cases) {
        x += x >= 'A' && x <= 'Z' ? 'a' - 'A' : 0;
        y += y >= 'A' && y <= 'Z' ? 'a' - 'A' : 0;
    }
    return x == y;
}

static int same_text(struct line a, const struct text *b, int cases)
{
    if (a.len != b->len)
        return 0;
    for (int i = 0; i < a.len; i++)
        if (!same_byte(a.s[i], b->s[i], cases))
            return 0;
    return 1;
}

/* Runs of blanks count as one, case does not matter, nor does a full stop at the end. */
static int similar_text(struct line a, const struct text *b)
{
    int i = 0, k = 0;
    if (a.len && a.s[a.len - 1] == '.')
        a.len--;
    int end = b->len - (b->len && b->s[b->len - 1] == '.');
    while (i < a.len && k < end) {
        int blank = is_blank(a.s[i]);
        if (blank ? !is_blank(b->s[k]) : !same_byte(a.s[i], b->s[k], 0))
            return 0;
        for (i++, k++; blank && i < a.len && is_blank(a.s[i]);)
            i++;
        while (blank && k < end && is_blank(b->s[k]))
            k++;
    }
    return i == a.len && k == end;
}

static enum verdict compare_number(struct line s, int whole, const struct text *truth)
{
    struct text number = {0};
    int found = whole ? decimal_whole(s.s, s.len, &number) : decimal_last(s.s, s.len, &number) >= 0;
    enum verdict v = !found                                                                        ? VERDICT_UNPARSABLE
                     : number.len == truth->len && !memcmp(number.s, truth->s, (size_t)truth->len) ? VERDICT_RIGHT
                                                                                                   : VERDICT_WRONG;
    text_free(&number);
    return v;
}

/* Strict: where the file's own solution has the marker the response needs it too, and behind its last one nothing but
 * the answer; elsewhere the whole response is the answer, or its last number. Lenient: behind a marker anywhere, else
 * in the whole text; numbers: the last there, texts: see similar_text. */
static void check(const struct task *t, const struct item *it, const char *response, int len, enum verdict *strict,
                  enum verdict *lenient)
{
    int number = t->value[P_VERIFY].num == VERIFY_NUMBER;
    int marked = after_marker(t, it->extra.s, it->extra.len, 0).s != NULL;
    struct line whole = trimmed(response, len), exact = whole, loose = after_marker(t, response, len, 1);
    loose = loose.s ? trimmed(loose.s, loose.len) : whole;
    if (marked) {
        exact = after_marker(t, response, len, 0);
        exact = exact.s ? trimmed(exact.s, exact.len) : exact;
    }
    if (!exact.s || !exact.len)
        *strict = VERDICT_UNPARSABLE;
    else if (number)
        *strict = compare_number(exact, marked, &it->answer);
    else
        *strict = same_text(exact, &it->answer, t->value[P_CASE].num != 0) ? VERDICT_RIGHT : VERDICT_WRONG;
    if (!loose.len)
        *lenient = VERDICT_UNPARSABLE;
    else if (number)
        *lenient = compare_number(loose, 0, &it->answer);
    else
        *lenient = similar_text(loose, &it->answer) ? VERDICT_RIGHT : VERDICT_WRONG;
}

const struct task_row task_jsonl = {
    .name = "jsonl",
    .sentence = "Questions with answers from JSONL files of your own, compared as texts or as numbers.",
    .params = params,
    .open = open,
    .close = close,
    .alphabet = "",
    .make = make,
    .gold = gold,
    .shot = shot,
    .check = check,
};

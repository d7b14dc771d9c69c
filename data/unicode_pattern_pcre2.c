/* Patterns (unicode.h) with PCRE2.
 *
 * tokenizer.json files write Oniguruma's syntax. What is the same in both goes through; what differs is rewritten
 * (\s of PCRE2 has U+180E, \v is another class, its letters may be those of an older Unicode); what would need more
 * thought (\w, \b, ^, $, back references, classes in classes ...) is refused by name. To support more: translate(). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "unicode.h"
#include <pcre2.h>
#include <string.h>

enum { MAX_PATTERN = 1 << 14, MATCH_LIMIT = 20 * 1000 * 1000, JIT_STACK = 1 << 20 };

struct pattern {
    pcre2_code *code;
};
struct matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* White_Space, to stand in a class. */
#define SPACE "\\t-\\r\\x{85}\\p{Z}"

/* What Unicode 15 and 16 added to some categories: the reference knows it, PCRE2 before 10.44 does not. */
#define NEW_UPPER    "\\x{1C89}\\x{A7CB}\\x{A7CC}\\x{A7DA}\\x{A7DC}\\x{10D50}-\\x{10D65}"
#define NEW_LOWER    "\\x{1C8A}\\x{A7CD}\\x{A7DB}\\x{10D70}-\\x{10D85}\\x{1DF25}-\\x{1DF2A}"
#define NEW_MODIFIER "\\x{10D4E}\\x{10D6F}\\x{16D40}-\\x{16D42}\\x{16D6B}\\x{16D6C}\\x{1E030}-\\x{1E06D}\\x{1E4EB}"
#define NEW_OTHER                                                                                                      \
    "\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D4D}\\x{10D4F}\\x{10EC2}-\\x{10EC4}\\x{1123F}\\x{11240}"                    \
    "\\x{11380}-\\x{11389}\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}\\x{113D3}"                     \
    "\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}"         \
    "\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}\\x{16D43}-\\x{16D6A}\\x{18CFF}\\x{1B132}\\x{1B155}"                    \
    "\\x{1E4D0}-\\x{1E4EA}\\x{1E5D0}-\\x{1E5ED}\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"
#define NEW_DIGITS                                                                                                     \
    "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}\\x{11F50}-\\x{11F59}\\x{16130}-\\x{16139}"        \
    "\\x{16D70}-\\x{16D79}\\x{1CCF0}-\\x{1CCF9}\\x{1E4F0}-\\x{1E4F9}\\x{1E5F1}-\\x{1E5FA}"
#define NEW_MARKS                                                                                                      \
    "\\x{897}\\x{CF3}\\x{ECE}\\x{10D69}-\\x{10D6D}\\x{10EFC}-\\x{10EFF}\\x{11241}\\x{113B8}-\\x{113C0}\\x{113C2}"      \
    "\\x{113C5}\\x{113C7}-\\x{113CA}\\x{113CC}-\\x{113D0}\\x{113D2}\\x{113E1}\\x{113E2}\\x{11F00}\\x{11F01}"           \
    "\\x{11F03}\\x{11F34}-\\x{11F3A}\\x{11F3E}-\\x{11F42}\\x{11F5A}\\x{13440}\\x{13447}-\\x{13455}"                    \
    "\\x{1611E}-\\x{1612F}\\x{1E08F}\\x{1E4EC}-\\x{1E4EF}\\x{1E5EE}\\x{1E5EF}"

static const struct {
    const char *name, *more;
} categories[] = {
    {"L", NEW_UPPER NEW_LOWER NEW_MODIFIER NEW_OTHER},
    {"Lu", NEW_UPPER},
    {"Ll", NEW_LOWER},
    {"Lm", NEW_MODIFIER},
    {"Lo", NEW_OTHER},
    {"M", NEW_MARKS},
    {"N", NEW_DIGITS "\\x{1D2C0}-\\x{1D2D3}"},
    {"Nd", NEW_DIGITS},
    {"Lt", ""},
    {"Mn", ""},
    {"Mc", ""},
    {"Me", ""},
    {"Nl", ""},
    {"No", ""},
    {"P", ""},
    {"Pc", ""},
    {"Pd", ""},
    {"Ps", ""},
    {"Pe", ""},
    {"Pi", ""},
    {"Pf", ""},
    {"Po", ""},
    {"S", ""},
    {"Sm", ""},
    {"Sc", ""},
    {"Sk", ""},
    {"So", ""},
    {"Z", ""},
    {"Zs", ""},
    {"Zl", ""},
    {"Zp", ""},
};
enum { CATEGORIES = sizeof categories / sizeof *categories };

struct translation {
    const char *s; /* terminated */
    int at, len;
    struct text out;
    struct error *e;
};

static int not_supported(struct translation *t, int from, int n)
{
    n = t->len - from < n ? t->len - from : n;
    return fail(t->e, "\"%.*s\" at byte %d of the pattern is not supported", n, t->s + from, from);
}

/* A set, written as the inside of a class, where it stands: in a class or by itself. */
static int add_set(struct translation *t, const char *inside, int negated, int in_class, int from)
{
    if (in_class && negated)
        return not_supported(t, from, t->at - from);
    text_addf(&t->out, in_class ? "%s" : negated ? "[^%s]" : "[%s]", inside);
    return 0;
}

/* \p{..}, after the p: general categories. */
static int property(struct translation *t, int negated, int in_class, int from)
{
    const char *close = memchr(t->s + t->at, '}', (size_t)(t->len - t->at));
    int begin = t->at + 1, n = close ? (int)(close - t->s) - begin : 0, k = CATEGORIES;
    if (n > 0 && t->s[begin] == '^') {
        negated = !negated;
        begin++;
        n--;
    }
    if (n > 0 && t->s[t->at] == '{')
        for (k = 0; k < CATEGORIES && (strncmp(categories[k].name, t->s + begin, (size_t)n) || categories[k].name[n]);)
            k++;
    if (k == CATEGORIES)
        return not_supported(t, from, close ? (int)(close - t->s) + 1 - from : 8);
    t->at = (int)(close - t->s) + 1;
    struct text set = {0};
    text_addf(&set, "\\p{%s}%s", categories[k].name, categories[k].more);
    int status = add_set(t, set.s, negated, in_class, from);
    text_free(&set);
    return status;
}

static int hex_value(const char *s, int n)
{
    unsigned value = 0;
    for (int i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef", *d = s[i] ? strchr(digits, s[i] | 0x20) : NULL;
        if (!d || n > 6)
            return -1;
        value = value * 16 + (unsigned)(d - digits);
    }
    return n > 0 && value < 0x110000 && (value < 0xd800 || value > 0xdfff) ? (int)value : -1;
}

/* \x41, \x{1F600}, \u00e9, after the letter. */
static int code_point(struct translation *t, int letter, int from)
{
    const char *s = t->s + t->at, *close = strchr(s, '}');
    int braced = letter == 'x' && *s == '{' && close, n = braced ? (int)(close - s) - 1 : letter == 'x' ? 2 : 4;
    int value = n + braced <= t->len - t->at ? hex_value(s + braced, n) : -1;
    if (value < 0 || (letter == 'x' && !braced && value > 0x7f))
        return not_supported(t, from, 8);
    t->at += n + 2 * braced;
    text_addf(&t->out, "\\x{%x}", (unsigned)value);
    return 0;
}

static int escape(struct translation *t, int in_class)
{
    int from = t->at;
    unsigned char c = (unsigned char)t->s[t->at + 1];
    t->at += 2;
    if (t->at > t->len)
        return not_supported(t, from, 1);
    switch (c) {
    case 's':
    case 'S':
        return add_set(t, SPACE, c == 'S', in_class, from);
    case 'd':
    case 'D':
        return add_set(t, "\\p{Nd}" NEW_DIGITS, c == 'D', in_class, from);
    case 'p':
    case 'P':
        return property(t, c == 'P', in_class, from);
    case 'x':
    case 'u':
        return code_point(t, c, from);
    case 'r':
    case 'n':
    case 't':
    case 'f':
        text_add(&t->out, t->s + from, 2);
        return 0;
    case 'v':
        text_add(&t->out, "\\x{b}", -1);
        return 0;
    }
    if (c < 33 || c > 126 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
        return not_supported(t, from, 2);
    text_add(&t->out, t->s + from, 2);
    return 0;
}

/* [...], whose members are characters, ranges and sets; a class within a class and && are others' business. */
static int class(struct translation *t)
{
    int from = t->at++;
    text_add(&t->out, "[", 1);
    if (t->at < t->len && t->s[t->at] == '^') {
        text_add(&t->out, "^", 1);
        t->at++;
    }
    for (int first = t->at; t->at < t->len;) {
        char c = t->s[t->at];
        if (c == ']' && t->at > first) {
            text_add(&t->out, "]", 1);
            t->at++;
            return 0;
        }
        if (c == '[' || c == ']' || (c == '&' && t->s[t->at + 1] == '&'))
            return not_supported(t, t->at, 2);
        if (c == '\\') {
            if (escape(t, 1))
                return -1;
            continue;
        }
        text_add(&t->out, &c, 1);
        t->at++;
    }
    return not_supported(t, from, 8);
}

/* {3}, {1,3}, {2,}: a lazy or possessive one means something else in Oniguruma. */
static int interval(struct translation *t)
{
    int from = t->at, digits = 0, commas = 0, i = t->at + 1;
    for (; i < t->len && t->s[i] != '}'; i++) {
        int comma = t->s[i] == ',';
        if ((!comma && (t->s[i] < '0' || t->s[i] > '9')) || (comma && (digits == 0 || commas)))
            return not_supported(t, from, 8);
        digits += !comma;
        commas += comma;
    }
    if (i == t->len || digits == 0 || digits > 6 || (i + 1 < t->len && strchr("+?*{", t->s[i + 1])))
        return not_supported(t, from, i - from + 2);
    text_add(&t->out, t->s + from, i + 1 - from);
    t->at = i + 1;
    return 0;
}

static int group(struct translation *t)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?i:"};
    const char *s = t->s + t->at;
    int n = 1;
    if (s[1] == '?') {
        n = 0;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (!strncmp(s, known[k], strlen(known[k])))
                n = (int)strlen(known[k]);
    }
    if (n == 0 || s[1] == '*')
        return not_supported(t, t->at, 4);
    text_add(&t->out, n > 1 ? s : "(?:", n > 1 ? n : 3);
    t->at += n;
    return 0;
}

static int translate(struct translation *t)
{
    while (t->at < t->len) {
        char c = t->s[t->at];
        int status = 0;
        switch (c) {
        case '\\':
            status = escape(t, 0);
            break;
        case '[':
            status = class(t);
            break;
        case '(':
            status = group(t);
            break;
        case '{':
            status = interval(t);
            break;
        case '^':
        case '$':
        case '}':
        case ']':
        case 0:
            status = not_supported(t, t->at, 1);
            break;
        case '.':
            text_add(&t->out, "[^\\n]", -1);
            t->at++;
            break;
        default:
            text_add(&t->out, &c, 1);
            t->at++;
        }
        if (status)
            return -1;
    }
    return 0;
}

static pcre2_code *compile(const struct text *regex, struct error *e)
{
    int number;
    PCRE2_SIZE at;
    uint32_t empty = 0, options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)regex->s, (PCRE2_SIZE)regex->len, options, &number, &at, NULL);
    if (!code) {
        unsigned char message[256];
        pcre2_get_error_message(number, message, sizeof message);
        fail(e, "the pattern is not understood: %s", (char *)message);
        return NULL;
    }
    pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty) {
        fail(e, "a pattern that matches the empty text is not supported");
        pcre2_code_free(code);
        return NULL;
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where there is no JIT, it is interpreted */
    return code;
}

struct pattern *pattern_open(const char *regex, int len, struct error *e)
{
    struct translation t = {.s = regex, .len = len, .e = e};
    if (len < 1 || len > MAX_PATTERN) {
        fail(e, "a pattern of %d bytes is not supported, 1 to %d", len, MAX_PATTERN);
        return NULL;
    }
    pcre2_code *code = translate(&t) ? NULL : compile(&t.out, e);
    text_free(&t.out);
    if (!code) {
        fail_in(e, "pattern %.200s", regex);
        return NULL;
    }
    struct pattern *p = mem_alloc(1, sizeof *p);
    p->code = code;
    return p;
}

void pattern_free(struct pattern *p)
{
    if (p)
        pcre2_code_free(p->code);
    mem_free(p);
}

struct matcher *matcher_open(void)
{
    struct matcher *m = mem_alloc(1, sizeof *m);
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK, NULL); /* NULL where there is no JIT */
    if (!m->data || !m->context)
        die("no memory to match a pattern");
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    if (m->stack)
        pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return m;
}

void matcher_free(struct matcher *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    mem_free(m);
}

int pattern_find(const struct pattern *p, struct matcher *m, const char *s, int len, int from, int *begin, int *end,
                 struct error *e)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)s;
    int found =
        pcre2_match(p->code, subject, (PCRE2_SIZE)len, (PCRE2_SIZE)from, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter takes its memory from the heap */
        found = pcre2_match(p->code, subject, (PCRE2_SIZE)len, (PCRE2_SIZE)from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            m->data, m->context);
    if (found == PCRE2_ERROR_NOMATCH)
        return 0;
    if (found < 0)
        return fail(e, "the pattern gives up on a text of %d bytes at byte %d (PCRE2 error %d)", len, from, found);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
    *begin = (int)at[0];
    *end = (int)at[1];
    return 1;
}

/* Reading the parts of tokenizer.json that surround the model: normalizer, pre_tokenizer, decoder, post_processor. Each
 * becomes rows of struct tokenizer; what the rows cannot say is refused by its name, because a guess would train on
 * other tokens than the model was made with.
 *
 * To support another type: a line in the table of its kind and a reader beside the others. */
#include "tokenizer_inner.h"
#include <string.h>

/* How GPT-2 cuts text: ByteLevel with use_regex. */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef int part_reader(struct tokenizer *t, const json_t *o, struct error *e);
struct part {
    const char *type;
    part_reader *read;
};

static part_reader *reader_of(const struct part *table, const json_t *o, const char *what, struct error *e)
{
    for (; table->type; table++)
        if (!strcmp(type_of(o), table->type))
            return table->read;
    fail(e, "a %s of type %.60s is not supported", what, type_of(o));
    return NULL;
}

/* The parts of a Sequence, or the one thing itself; null is none. list: the member of a Sequence that holds them. */
static int parts_of(const json_t *o, const char *list, const json_t *part[MAX_PARTS], int *n, struct error *e)
{
    part[0] = o;
    *n = o && !json_is_null(o);
    if (!*n || strcmp(type_of(o), "Sequence"))
        return 0;
    char members[40] = "type|";
    strcat(members, list);
    const json_t *parts = json_object_get(o, list);
    if (!json_is_array(parts))
        return fail(e, "\"%s\" of a Sequence is missing or not a list", list);
    if (only_members(o, members, "Sequence", e))
        return -1;
    if (json_array_size(parts) > MAX_PARTS)
        return fail(e, "a Sequence of %zu parts is not supported, at most %d", json_array_size(parts), MAX_PARTS);
    *n = (int)json_array_size(parts);
    for (int i = 0; i < *n; i++)
        part[i] = json_array_get(parts, (size_t)i);
    return 0;
}

static int read_literal(const json_t *o, const char *key, struct literal *to, struct error *e)
{
    const char *s = need_string(o, key, &to->len, e);
    if (!s)
        return -1;
    if (to->len > MAX_LITERAL)
        return fail(e, "a \"%s\" of %d bytes is not supported, at most %d", key, to->len, MAX_LITERAL);
    memcpy(to->s, s, (size_t)to->len);
    return 0;
}

/* {"String":"a"}: *to. */
static int read_pattern_string(const json_t *pattern, struct literal *to, const char *where, struct error *e)
{
    if (read_literal(pattern, "String", to, e))
        return -1;
    return to->len ? 0 : fail(e, "%s of an empty text is not supported", where);
}

/* {"type":"Replace","pattern":{"String":"a"},"content":"b"} */
static int read_replace(const json_t *o, struct rewrite *w, struct error *e)
{
    const json_t *pattern = json_object_get(o, "pattern");
    w->kind = REWRITE_REPLACE;
    return only_members(o, "type|pattern|content", "Replace", e) || only_members(pattern, "String", "pattern", e) ||
                   read_pattern_string(pattern, &w->from, "Replace", e) || read_literal(o, "content", &w->to, e)
               ? -1
               : 0;
}

/* ---- normalizer ---- */

static int normal_replace(struct tokenizer *t, const json_t *o, struct error *e)
{
    return read_replace(o, &t->normal[t->normals++], e);
}

static int normal_prepend(struct tokenizer *t, const json_t *o, struct error *e)
{
    struct rewrite *w = &t->normal[t->normals++];
    w->kind = REWRITE_PREPEND;
    return only_members(o, "type|prepend", "Prepend", e) || read_literal(o, "prepend", &w->to, e) ? -1 : 0;
}

static int normal_form(struct tokenizer *t, const json_t *o, struct error *e)
{
    static const char *const name[] = {"NFC", "NFD", "NFKC", "NFKD"};
    struct rewrite *w = &t->normal[t->normals++];
    w->kind = REWRITE_FORM;
    for (int form = 0; form < 4; form++)
        if (!strcmp(type_of(o), name[form]))
            w->form = (enum normal_form)form;
    return only_members(o, "type", type_of(o), e) || normal_available(e) ? -1 : 0;
}

int read_normalizer(struct tokenizer *t, const json_t *o, struct error *e)
{
    static const struct part table[] = {
        {"Replace", normal_replace}, {"Prepend", normal_prepend}, {"NFC", normal_form}, {"NFD", normal_form},
        {"NFKC", normal_form},       {"NFKD", normal_form},       {NULL, NULL}};
    const json_t *part[MAX_PARTS];
    int n;
    if (parts_of(o, "normalizers", part, &n, e))
        return -1;
    for (int i = 0; i < n; i++) {
        part_reader *read = reader_of(table, part[i], "normalizer", e);
        if (!read || read(t, part[i], e))
            return -1;
    }
    return 0;
}

/* ---- pre_tokenizer ---- */

static struct cut *new_cut(struct tokenizer *t, enum cut_kind kind, struct error *e)
{
    if (t->cuts == MAX_PARTS) {
        fail(e, "more than %d steps of the pre_tokenizer are not supported", MAX_PARTS);
        return NULL;
    }
    struct cut *c = &t->cut[t->cuts++];
    c->kind = kind;
    return c;
}

static int cut_pattern(struct tokenizer *t, const char *regex, int len, enum cut_behavior behavior, struct error *e)
{
    struct cut *c = new_cut(t, CUT_SPLIT, e);
    if (!c)
        return -1;
    c->behavior = behavior;
    c->pattern = pattern_open(regex, len, e);
    return c->pattern ? 0 : -1;
}

static int cut_split(struct tokenizer *t, const json_t *o, struct error *e)
{
    static const char *const name[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const json_t *pattern = json_object_get(o, "pattern");
    int len, invert, behavior = 0;
    const char *regex = json_object_get(pattern, "Regex") ? need_string(pattern, "Regex", &len, e) : NULL;
    const char *how = json_get_string(o, "behavior", "(without a behavior)");
    while (behavior < 5 && strcmp(how, name[behavior]))
        behavior++;
    if (behavior == 5)
        return fail(e, "Split with behavior %.60s is not supported", how);
    if (only_members(o, "type|pattern|behavior|invert", "Split", e) ||
        only_members(pattern, "String|Regex", "pattern", e) || json_get_bool(o, "invert", 0, &invert, e))
        return -1;
    if (json_object_size(pattern) != 1)
        return fail(e, "\"pattern\" of Split is not one text");
    if (regex) {
        if (cut_pattern(t, regex, len, (enum cut_behavior)behavior, e))
            return -1;
    } else {
        struct cut *c = new_cut(t, CUT_SPLIT, e);
        if (!c || read_pattern_string(pattern, &c->literal, "Split", e))
            return -1;
        c->behavior = (enum cut_behavior)behavior;
    }
    t->cut[t->cuts - 1].invert = invert;
    return 0;
}

static int cut_digits(struct tokenizer *t, const json_t *o, struct error *e)
{
    /* What Rust calls numeric: it keeps to Unicode 17, which added the last two ranges. */
    static const char number[] = "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]";
    int single;
    if (only_members(o, "type|individual_digits", "Digits", e) || json_get_bool(o, "individual_digits", 0, &single, e))
        return -1;
    return cut_pattern(t, number, sizeof number - 1, single ? CUT_ISOLATED : CUT_CONTIGUOUS, e);
}

static int cut_byte_level(struct tokenizer *t, const json_t *o, struct error *e)
{
    int space, regex, unused;
    if (only_members(o, "type|add_prefix_space|trim_offsets|use_regex", "ByteLevel", e) ||
        json_get_bool(o, "add_prefix_space", 1, &space, e) || json_get_bool(o, "trim_offsets", 1, &unused, e) ||
        json_get_bool(o, "use_regex", 1, &regex, e))
        return -1;
    t->byte_level = 1;
    if (space) {
        struct cut *c = new_cut(t, CUT_SPACE, e);
        if (!c)
            return -1;
        c->prepend = PREPEND_ALWAYS;
    }
    return regex ? cut_pattern(t, gpt2_pattern, (int)sizeof gpt2_pattern - 1, CUT_ISOLATED, e) : 0;
}

static int one_character(const struct literal *l, const char *where, struct error *e)
{
    enum utf8_kind kind;
    if (l->len > 0 && utf8_next(l->s, l->len, &kind) == l->len)
        return 0;
    return fail(e, "\"replacement\" of %s is not one character", where);
}

/* prepend_scheme of a Metaspace, "always" where an old file does not say. */
static int read_scheme(const json_t *o, enum cut_prepend *scheme, struct error *e)
{
    static const char *const name[] = {"never", "first", "always"};
    const char *s = json_get_string(o, "prepend_scheme", "always");
    int prefix, k = 0;
    while (k < 3 && strcmp(s, name[k]))
        k++;
    if (k == 3)
        return fail(e, "\"prepend_scheme\" %.60s of Metaspace is not supported", s);
    if (json_get_bool(o, "add_prefix_space", 1, &prefix, e))
        return -1;
    if (!prefix && k && json_object_get(o, "prepend_scheme"))
        return fail(e, "\"add_prefix_space\" and \"prepend_scheme\" of Metaspace contradict each other");
    *scheme = prefix ? (enum cut_prepend)k : PREPEND_NEVER;
    return 0;
}

static const char metaspace_members[] = "type|replacement|prepend_scheme|add_prefix_space|split|str_rep";

static int cut_metaspace(struct tokenizer *t, const json_t *o, struct error *e)
{
    int splits;
    struct cut *c = new_cut(t, CUT_REPLACE, e);
    if (!c || only_members(o, metaspace_members, "Metaspace", e) || read_literal(o, "replacement", &c->literal, e) ||
        one_character(&c->literal, "Metaspace", e) || read_scheme(o, &c->prepend, e) ||
        json_get_bool(o, "split", 1, &splits, e))
        return -1;
    if (!splits)
        return 0;
    struct cut *s = new_cut(t, CUT_SPLIT, e);
    if (!s)
        return -1;
    s->literal = c->literal;
    s->behavior = CUT_WITH_NEXT;
    return 0;
}

int read_pre_tokenizer(struct tokenizer *t, const json_t *o, struct error *e)
{
    static const struct part table[] = {{"Split", cut_split},
                                        {"Digits", cut_digits},
                                        {"ByteLevel", cut_byte_level},
                                        {"Metaspace", cut_metaspace},
                                        {NULL, NULL}};
    const json_t *part[MAX_PARTS];
    int n;
    if (parts_of(o, "pretokenizers", part, &n, e))
        return -1;
    for (int i = 0; i < n; i++) {
        if (t->byte_level)
            return fail(e, "the pre_tokenizer %.60s after ByteLevel is not supported", type_of(part[i]));
        part_reader *read = reader_of(table, part[i], "pre_tokenizer", e);
        if (!read || read(t, part[i], e))
            return -1;
    }
    return 0;
}

/* ---- decoder ---- */

static int back_replace(struct tokenizer *t, const json_t *o, struct error *e)
{
    return read_replace(o, &t->back[t->backs++], e);
}

static int back_bytes(struct tokenizer *t, const json_t *o, struct error *e)
{
    t->bytes_back = 1;
    return only_members(o, "type", "ByteFallback", e);
}

static int back_fuse(struct tokenizer *t, const json_t *o, struct error *e)
{
    (void)t;
    return only_members(o, "type", "Fuse", e);
}

static int back_strip(struct tokenizer *t, const json_t *o, struct error *e)
{
    struct literal content;
    long start, stop;
    if (only_members(o, "type|content|start|stop", "Strip", e) || read_literal(o, "content", &content, e) ||
        json_need_int(o, "start", 0, 1, &start, e) || json_need_int(o, "stop", 0, 0, &stop, e))
        return -1;
    if (content.len != 1)
        return fail(e, "Strip of \"%.*s\" is not supported, only of one ASCII character", content.len, content.s);
    t->strip = start ? (unsigned char)content.s[0] : -1;
    return 0;
}

static int back_byte_level(struct tokenizer *t, const json_t *o, struct error *e)
{
    if (!t->byte_level)
        return fail(e, "the decoder ByteLevel without the pre_tokenizer ByteLevel is not supported");
    return only_members(o, "type|add_prefix_space|trim_offsets|use_regex", "ByteLevel", e);
}

/* The replacement becomes a space; in the first token it gives nothing, unless nothing was put in front. */
static int back_metaspace(struct tokenizer *t, const json_t *o, struct error *e)
{
    enum cut_prepend scheme;
    struct rewrite *w = &t->back[t->backs++];
    *w = (struct rewrite){.kind = REWRITE_REPLACE, .to = {1, " "}};
    if (only_members(o, metaspace_members, "Metaspace", e) || read_literal(o, "replacement", &w->from, e) ||
        one_character(&w->from, "Metaspace", e) || read_scheme(o, &scheme, e))
        return -1;
    t->strip = scheme == PREPEND_NEVER ? -1 : ' ';
    t->strip_all = 1;
    return 0;
}

/* Their order has to be Replace, ByteFallback, Fuse, Strip, each if at all: then pieces can be decoded one by one.
 * ByteLevel and Metaspace stand alone. */
int read_decoder(struct tokenizer *t, const json_t *o, struct error *e)
{
    enum { REPLACE, BYTES, FUSE, STRIP, ALONE };
    static const struct part table[] = {
        {"Replace", back_replace},      {"ByteFallback", back_bytes},  {"Fuse", back_fuse}, {"Strip", back_strip},
        {"ByteLevel", back_byte_level}, {"Metaspace", back_metaspace}, {NULL, NULL}};
    const json_t *part[MAX_PARTS];
    int n, last = 0, fused = 0;
    if (parts_of(o, "decoders", part, &n, e))
        return -1;
    if (n == 0)
        return fail(e, "\"decoder\" is missing or empty: tokens joined by spaces are not supported");
    for (int i = 0; i < n; i++) {
        int kind = 0;
        part_reader *read = reader_of(table, part[i], "decoder", e);
        if (!read)
            return -1;
        while (table[kind].read != read)
            kind++;
        if (t->byte_level && read != back_byte_level)
            return fail(e, "the decoder %s with the pre_tokenizer ByteLevel is not supported", table[kind].type);
        if (kind < last || (kind > REPLACE && kind == last) || (kind == STRIP && !fused) || (kind >= ALONE && n > 1))
            return fail(e, "the decoder %s after %s is not supported", table[kind].type,
                        i ? table[last].type : "nothing");
        last = kind;
        fused |= kind == FUSE;
        if (read(t, part[i], e))
            return -1;
    }
    return 0;
}

/* ---- post_processor ---- */

/* {"SpecialToken":{"id":"<s>"}}, whose id the member special_tokens has. */
static int template_token(struct tokenizer *t, const json_t *o, const json_t *part, int behind, struct error *e)
{
    const char *name = json_get_string(json_object_get(part, "SpecialToken"), "id", NULL);
    const json_t *ids =
        name ? json_object_get(json_object_get(json_object_get(o, "special_tokens"), name), "ids") : NULL;
    const json_t *id = json_array_get(ids, 0);
    int *n = behind ? &t->behinds : &t->fronts;
    if (!name)
        return fail(e, "\"single\" of the post_processor holds something that is neither text nor SpecialToken");
    if (json_array_size(ids) != 1 || !json_is_integer(id))
        return fail(e, "the post_processor's token \"%.60s\" has no single id", name);
    if (json_integer_value(id) < 0 || json_integer_value(id) >= t->vocab || t->piece[json_integer_value(id)].start < 0)
        return fail(e, "the post_processor's token \"%.60s\" has id %lld, which is not in the vocabulary", name,
                    (long long)json_integer_value(id));
    if (*n == MAX_PARTS)
        return fail(e, "more than %d tokens around the text are not supported", MAX_PARTS);
    (behind ? t->behind : t->front)[(*n)++] = (int32_t)json_integer_value(id);
    return 0;
}

/* TemplateProcessing: tokens in front of the text and behind it. The form for pairs of texts is never used here. */
static int post_template(struct tokenizer *t, const json_t *o, struct error *e)
{
    const json_t *single = json_object_get(o, "single");
    int texts = 0;
    if (t->fronts || t->behinds)
        return fail(e, "two templates of the post_processor are not supported");
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        if (json_object_get(part, "Sequence"))
            texts++;
        else if (template_token(t, o, part, texts, e))
            return -1;
    }
    if (texts != 1)
        return fail(e, "\"single\" of the post_processor holds the text %d times", texts);
    t->bos = t->fronts ? t->front[0] : -1;
    return 0;
}

/* ByteLevel only moves the offsets of tokens, which are not kept here. */
static int post_byte_level(struct tokenizer *t, const json_t *o, struct error *e)
{
    (void)t;
    return only_members(o, "type|add_prefix_space|trim_offsets|use_regex", "ByteLevel", e);
}

int read_post_processor(struct tokenizer *t, const json_t *o, struct error *e)
{
    static const struct part table[] = {
        {"TemplateProcessing", post_template}, {"ByteLevel", post_byte_level}, {NULL, NULL}};
    const json_t *part[MAX_PARTS];
    int n;
    if (parts_of(o, "processors", part, &n, e))
        return -1;
    for (int i = 0; i < n; i++) {
        part_reader *read = reader_of(table, part[i], "post_processor", e);
        if (!read || read(t, part[i], e))
            return -1;
    }
    return 0;
}

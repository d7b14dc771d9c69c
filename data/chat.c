/* Chat formats as data, and conversations put together from them (chat.h). Texts are encoded piece by piece between the
 * format's tokens, each of which is an id from the start: nothing that a text says can become one. The ids are those
 * that `apply_chat_template` of transformers gives for texts that spell no special token (dev/reference/chat.py).
 */
#include "chat.h"
#include "../model/base/file.h"
#include "../model/base/json.h"
#include "unicode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEMPLATE = 1 << 20 };

struct format {
    const char *name;
    const char *begin, *open, *close, *end; /* special tokens; NULL: none */
    const char *gap, *after;                /* between the role and the text; behind the end of a turn */
    int trimmed;                            /* texts lose the blanks around them */
    const char *preface;                    /* begins the system's turn, which then is always there; NULL: neither */
    const char *tool[2];                    /* other special tokens that its templates spell, for calls of tools */
    const char *template;
};
#define LLAMA31_PREFACE(NEWLINE)                                                                                       \
    "Cutting Knowledge Date: December 2023" NEWLINE "Today Date: 26 Jul 2024" NEWLINE NEWLINE
#define LLAMA3_TURNS(MESSAGES)                                                                                         \
    "{% for m in " MESSAGES " %}"                                                                                      \
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}"         \
    "{% endfor %}"                                                                                                     \
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
static const struct format formats[] = {
    [CHAT_NONE] = {.name = "none"},
    [CHAT_PLAIN] = {.name = "plain",
                    .template = "{{ bos_token }}{% for m in messages %}"
                                "{% if m['role'] == 'system' %}{{ m['content'] }}"
                                "{% elif m['role'] == 'assistant' %}{{ 'Assistant:\\n' + m['content'].lstrip() }}"
                                "{% else %}{{ 'User: ' + m['content'] }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
                                "{% if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"},
    [CHAT_CHATML] = {.name = "chatml",
                     .open = "<|im_start|>",
                     .end = "<|im_end|>",
                     .gap = "\n",
                     .after = "\n",
                     .template = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
                                 "{{ m['content'].lstrip() if m['role'] == 'assistant' else m['content'] }}"
                                 "{{ '<|im_end|>\\n' }}{% endfor %}"
                                 "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    [CHAT_LLAMA3] = {.name = "llama3",
                     .begin = "<|begin_of_text|>",
                     .open = "<|start_header_id|>",
                     .close = "<|end_header_id|>",
                     .end = "<|eot_id|>",
                     .gap = "\n\n",
                     .after = "",
                     .trimmed = 1,
                     .template = "{{ '<|begin_of_text|>' }}" LLAMA3_TURNS("messages")},
    [CHAT_LLAMA31] =
        {.name = "llama31",
         .begin = "<|begin_of_text|>",
         .open = "<|start_header_id|>",
         .close = "<|end_header_id|>",
         .end = "<|eot_id|>",
         .gap = "\n\n",
         .after = "",
         .trimmed = 1,
         .preface = LLAMA31_PREFACE("\n"),
         .tool = {"<|python_tag|>", "<|eom_id|>"},
         .template =
             "{% set given = messages[0]['role'] == 'system' %}"
             "{{ '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\\n\\n' }}"
             "{{ '" LLAMA31_PREFACE(
                 "\\n") "' }}"
                        "{% if given %}{{ messages[0]['content'] | trim }}{% endif %}{{ '<|eot_id|>' }}" LLAMA3_TURNS(
                            "messages[given | int:]")},
};

const char *chat_name(enum chat_format format)
{
    return formats[format].name;
}

static int find_token(const struct chat *c, const char *token, int *id, struct error *e)
{
    *id = token ? tokenizer_special(c->tokenizer, token) : -1;
    return token && *id < 0 ? fail(e,
                                   "the chat format %s needs the special token %s, which the tokenizer does not have; "
                                   "plain needs none",
                                   formats[c->format].name, token)
                            : 0;
}

int chat_open(struct chat *c, enum chat_format format, const struct tokenizer *t, struct error *e)
{
    const struct format *f = &formats[format];
    *c = (struct chat){.format = format, .tokenizer = t};
    return find_token(c, f->begin, &c->begin, e) || find_token(c, f->open, &c->open, e) ||
                   find_token(c, f->close, &c->close, e) || find_token(c, f->end, &c->end, e)
               ? -1
               : 0;
}

/* ---- putting a conversation together ---- */

struct writer {
    const struct chat *c;
    int32_t **ids;
    int *cap, n;
    struct text part; /* not encoded yet */
    struct error *e;
};

/* Encode what waits. */
static int flush(struct writer *w)
{
    if (!w->part.len)
        return 0;
    int n = tokenizer_encode_part(w->c->tokenizer, w->part.s, w->part.len, w->n == 0, w->ids, w->cap, w->n, w->e);
    text_clear(&w->part);
    w->n = n < 0 ? w->n : n;
    return n < 0 ? -1 : 0;
}

static int put_id(struct writer *w, int id)
{
    if (id < 0)
        return 0;
    if (flush(w))
        return -1;
    mem_grow(w->ids, w->cap, w->n + 1, sizeof **w->ids);
    (*w->ids)[w->n++] = id;
    return 0;
}

/* White space as Python's str.strip() has it, which templates use. */
static int blank_at(const char *s, int len)
{
    return *s >= 0x1c && *s <= 0x1f ? 1 : white_space(s, len);
}

static void add_trimmed(struct text *to, const char *s, int len, int front, int back)
{
    int from = 0, until = 0;
    enum utf8_kind kind;
    for (int n; front && from < len && (n = blank_at(s + from, len - from)) > 0;)
        from += n;
    for (int i = from, n; back && i < len; i += n) {
        n = blank_at(s + i, len - i);
        if (n)
            continue;
        n = utf8_next(s + i, len - i, &kind);
        until = i + n;
    }
    until = back ? until : len;
    if (until > from)
        text_add(to, s + from, until - from);
}

/* The assistant's texts begin where the line does. */
static int put_turn(struct writer *w, const char *role, const char *s, int len)
{
    const struct format *f = &formats[w->c->format];
    if (put_id(w, w->c->open))
        return -1;
    text_add(&w->part, role, -1);
    if (put_id(w, w->c->close))
        return -1;
    text_add(&w->part, f->gap, -1);
    if (f->preface && !strcmp(role, "system"))
        text_add(&w->part, f->preface, -1);
    if (!s)
        return flush(w);
    add_trimmed(&w->part, s, len, f->trimmed || !strcmp(role, "assistant"), f->trimmed);
    if (put_id(w, w->c->end))
        return -1;
    text_add(&w->part, f->after, -1);
    return 0;
}

static int put_format(struct writer *w, const char *system, const struct text *turn, int turns)
{
    int has_system = *system || formats[w->c->format].preface;
    if (put_id(w, w->c->begin) || (has_system && put_turn(w, "system", system, (int)strlen(system))))
        return -1;
    for (int i = 0; i < turns; i++)
        if (put_turn(w, i % 2 ? "assistant" : "user", turn[i].s ? turn[i].s : "", turn[i].len))
            return -1;
    return put_turn(w, "assistant", NULL, 0);
}

static void write_plain(struct text *out, const char *system, const struct text *turn, int turns)
{
    if (*system)
        text_addf(out, "%s\n\n", system);
    for (int i = 0; i < turns; i++) {
        text_add(out, i % 2 ? "Assistant:\n" : "User: ", -1);
        add_trimmed(out, turn[i].s ? turn[i].s : "", turn[i].len, i % 2, 0);
        text_add(out, "\n\n", 2);
    }
    text_add(out, "Assistant:\n", -1);
}

static void write_bare(struct text *out, const struct text *turn, int turns)
{
    text_add(out, "", 0);
    for (int i = 0; i < turns; i++) {
        text_add(out, turn[i].s ? turn[i].s : "", turn[i].len);
        if (i % 2)
            text_add(out, "\n\n", 2);
    }
}

int chat_prompt(const struct chat *c, const char *system, const struct text *turn, int turns, int32_t **ids, int *cap,
                struct error *e)
{
    struct writer w = {.c = c, .ids = ids, .cap = cap, .e = e};
    int status = 0;
    if (c->format == CHAT_NONE && turns == 1) { /* nothing to put together, nothing is allocated */
        return tokenizer_encode(c->tokenizer, turn->s ? turn->s : "", turn->len, 1, ids, cap, e);
    } else if (c->format == CHAT_NONE) {
        write_bare(&w.part, turn, turns);
        w.n = tokenizer_encode(c->tokenizer, w.part.s, w.part.len, 1, ids, cap, e);
        status = w.n < 0;
    } else if (c->format == CHAT_PLAIN) {
        w.n = tokenizer_encode(c->tokenizer, "", 0, 1, ids, cap, e); /* what stands in front of a text */
        write_plain(&w.part, system, turn, turns);
        status = w.n < 0 || flush(&w);
    } else {
        status = put_format(&w, system, turn, turns);
    }
    text_free(&w.part);
    return status ? -1 : w.n;
}

int chat_answer(const struct chat *c, const struct text *answer, int32_t **ids, int *cap, struct error *e)
{
    const char *s = answer->s ? answer->s : "";
    if (c->format == CHAT_NONE)
        return tokenizer_encode(c->tokenizer, s, answer->len, 0, ids, cap, e);
    struct text text = {0};
    text_add(&text, "", 0);
    add_trimmed(&text, s, answer->len, 1, formats[c->format].trimmed);
    int n = tokenizer_encode_part(c->tokenizer, text.s, text.len, 0, ids, cap, 0, e);
    text_free(&text);
    return n;
}

/* ---- templates of a model ---- */

/* "chat_template" is a text, or a list of named ones, of which "default" is meant. */
static int template_of(const json_t *settings, struct text *out, struct error *e)
{
    const json_t *v = json_object_get(settings, "chat_template");
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        const json_t *one = json_array_get(v, i);
        if (!strcmp(json_get_string(one, "name", ""), "default"))
            v = json_object_get(one, "template");
    }
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v))
        return fail(e, "\"chat_template\" is neither a text nor a list with one named \"default\"");
    text_add(out, json_string_value(v), (int)json_string_length(v));
    return 1;
}

int chat_template_read(const char *dir, struct text *out, struct error *e)
{
    static const char *const files[] = {"chat_template.jinja", "chat_template.json", "tokenizer_config.json"};
    char path[1024];
    size_t len;
    for (int i = 0; i < 3; i++) {
        if (snprintf(path, sizeof path, "%s/%s", dir, files[i]) >= (int)sizeof path || file_size(path) < 0)
            continue;
        int status;
        if (i == 0) {
            char *s = file_read(path, MAX_TEMPLATE, &len, e);
            status = s ? 1 : -1;
            text_add(out, s ? s : "", s ? (int)len : 0);
            mem_free(s);
        } else {
            json_t *settings = json_read_wide(path, e);
            status = settings ? template_of(settings, out, e) : -1;
            if (settings && status < 0)
                fail_in(e, "%s", path);
            json_decref(settings);
        }
        if (status)
            return status;
    }
    return 0;
}

/* Every special token "<|name|>" in the template is one of the format's, or an end of text; those that open and end its
 * turns are there. */
static int has_tokens_of(const char *s, int len, const struct format *f)
{
    const char *const known[] = {f->begin, f->open, f->close, f->end, "<|endoftext|>", f->tool[0], f->tool[1]};
    const int all = sizeof known / sizeof *known;
    int opens = 0, ends = 0;
    for (int i = 0, n; i + 1 < len; i++) {
        if (s[i] != '<' || s[i + 1] != '|')
            continue;
        for (n = 2; i + n < len && (s[i + n] == '_' || (s[i + n] >= 'a' && s[i + n] <= 'z'));)
            n++;
        if (i + n + 1 >= len || s[i + n] != '|' || s[i + n + 1] != '>')
            continue;
        n += 2;
        int which = 0;
        while (which < all &&
               !(known[which] && (int)strlen(known[which]) == n && !memcmp(known[which], s + i, (size_t)n)))
            which++;
        if (which == all)
            return 0;
        opens |= which == 1;
        ends |= which == 3;
    }
    return opens && ends;
}

static int has(const char *s, int len, const char *what)
{
    return memmem(s, (size_t)len, what, strlen(what)) != NULL;
}

/* A literal '...' or "..." behind `mark`, without the quotes; \n as a newline. */
static int take_literal(const char *s, int len, const char *mark, struct text *out)
{
    const char *at = memmem(s, (size_t)len, mark, strlen(mark));
    const char *end = s + len;
    if (!at)
        return 0;
    at += strlen(mark);
    char quote = at < end ? *at : 0;
    if (quote != '\'' && quote != '"')
        return 0;
    for (at++; at < end && *at != quote; at++) {
        int newline = *at == '\\' && at + 1 < end && at[1] == 'n';
        text_add(out, newline ? "\n" : at, 1);
        at += newline;
    }
    return 1;
}

/* What stands between "<|im_start|>system", a newline and "<|im_end|>" when it is all one literal. The newline is one,
 * or is written \n. */
static void take_system_turn(const char *s, int len, struct text *out)
{
    static const char open[] = "<|im_start|>system", close[] = "<|im_end|>";
    const char *at = s;
    while ((at = memmem(at, (size_t)(s + len - at), open, sizeof open - 1))) {
        at += sizeof open - 1;
        at += at < s + len && *at == '\n' ? 1 : s + len - at >= 2 && at[0] == '\\' && at[1] == 'n' ? 2 : 0;
        const char *end = memmem(at, (size_t)(s + len - at), close, sizeof close - 1);
        if (!end)
            return;
        if (end > at && !memchr(at, '\'', (size_t)(end - at)) && !memchr(at, '"', (size_t)(end - at))) {
            text_add(out, at, (int)(end - at));
            return;
        }
    }
}

enum chat_format chat_recognise(const char *template, int len, struct text *system)
{
    /* Llama 3.1 and later have the tokens of Llama 3 but begin every conversation with a system turn that names dates.
     */
    if (has_tokens_of(template, len, &formats[CHAT_LLAMA31]) && has(template, len, "Cutting Knowledge"))
        return has(template, len, "Cutting Knowledge Date: December 2023") && has(template, len, "26 Jul 2024")
                   ? CHAT_LLAMA31
                   : CHAT_NONE;
    if (has_tokens_of(template, len, &formats[CHAT_LLAMA3]))
        return CHAT_LLAMA3;
    const char *plain = formats[CHAT_PLAIN].template;
    if ((int)strlen(plain) == len && !memcmp(plain, template, (size_t)len))
        return CHAT_PLAIN;
    if (!has_tokens_of(template, len, &formats[CHAT_CHATML]))
        return CHAT_NONE;
    if (!take_literal(template, len, "set system_message = ", system))
        take_system_turn(template, len, system);
    return CHAT_CHATML;
}

/* ---- for other programs ---- */

const char *chat_template(enum chat_format format)
{
    return formats[format].template;
}

static json_t *settings_of(const char *dir)
{
    char path[1024];
    struct error e;
    int n = snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    json_t *o = !dir[0] || n >= (int)sizeof path || file_size(path) < 0 ? NULL : json_read_wide(path, &e);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

static void name_token(json_t *settings, const char *key, const struct tokenizer *t, int id)
{
    int len = 0;
    const char *piece = id < 0 ? NULL : tokenizer_piece(t, id, &len);
    json_t *name = piece ? json_stringn(piece, (size_t)len) : NULL; /* NULL where it is not UTF-8 */
    if (name)
        json_object_set_new(settings, key, name);
}

/* With this class transformers takes tokenizer.json as it stands, whatever the family of the model. */
static json_t *new_settings(const struct chat *c)
{
    json_t *settings =
        json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0);
    name_token(settings, "bos_token", c->tokenizer, c->begin >= 0 ? c->begin : tokenizer_bos(c->tokenizer));
    name_token(settings, "eos_token", c->tokenizer, c->end >= 0 ? c->end : tokenizer_eos(c->tokenizer));
    return settings;
}

void chat_settings(const struct chat *c, const char *from, struct text *out)
{
    struct text own = {0}, system = {0};
    json_t *settings = settings_of(from), *theirs = NULL;
    if (from[0] && chat_template_read(from, &own, NULL) > 0 && own.len && !memchr(own.s, 0, (size_t)own.len))
        theirs = json_stringn(own.s, (size_t)own.len); /* NULL where it is not UTF-8 */
    int keeps = theirs && (c->format == CHAT_NONE || chat_recognise(own.s, own.len, &system) == c->format);
    const char *ours = keeps ? NULL : chat_template(c->format);
    if (settings || keeps || ours) {
        settings = settings ? settings : new_settings(c);
        if (ours || (keeps && !json_is_array(json_object_get(settings, "chat_template"))))
            json_object_set_new(settings, "chat_template", ours ? json_string(ours) : json_incref(theirs));
        char *s = json_dumps(settings, JSON_INDENT(2));
        text_addf(out, "%s\n", s ? s : "{}");
        free(s);
    }
    json_decref(settings);
    json_decref(theirs);
    text_free(&own);
    text_free(&system);
}

/* Conversations as token ids, in the formats that models were trained with: a system message, turns of a user and of an
 * assistant, and the beginning of the assistant's next turn, which the model is to write.
 *
 *   plain    [system, empty line] "User: " text, empty line, "Assistant:" newline, answer, empty line, ...: no special
 *            tokens but the beginning and end that the tokenizer has
 *   chatml   <|im_start|>ROLE newline text <|im_end|> newline (Qwen, SmolLM2)
 *   llama3   <|begin_of_text|>, <|start_header_id|>ROLE<|end_header_id|> empty line, text without blanks around it,
 *            <|eot_id|> (Llama 3)
 *   llama31  the same, with a system turn in every conversation: "Cutting Knowledge Date: December 2023" newline "Today
 *            Date: 26 Jul 2024" empty line, system message (Llama 3.1 to 3.3; the date is the one that their templates
 *            fall back to, so that a prompt is the same every day)
 *   none     the texts as they are, an empty line between them; special tokens that they spell are such tokens
 *
 * With the formats, what a text spells is never a special token: "<|im_end|>" in a question stays text. A format is
 * added with a row in chat.c, if its turns have this shape.
 */
#ifndef CHAT_H
#define CHAT_H
#include "tokenizer.h"

enum chat_format { CHAT_NONE, CHAT_PLAIN, CHAT_CHATML, CHAT_LLAMA3, CHAT_LLAMA31 };
#define CHAT_FORMATS "none|plain|chatml|llama3|llama31"

struct chat {
    enum chat_format format;
    const struct tokenizer *tokenizer;
    int begin, open, close, end; /* ids of the format's tokens; -1: it has none */
};
/* Fails when the tokenizer lacks one of the format's tokens. The tokenizer is used as long as the chat is. */
int chat_open(struct chat *c, enum chat_format format, const struct tokenizer *t, struct error *e);
/* Ids of a conversation: turn[0], turn[2] ... are the user's, turn[1], turn[3] ... the assistant's; `turns` is odd.
 * system: "" for none. *ids is grown; returns their number or -1. */
int chat_prompt(const struct chat *c, const char *system, const struct text *turn, int turns, int32_t **ids, int *cap,
                struct error *e);
/* Ids of what the assistant says behind that, without the end (c->end, where the format has one). Blanks in front,
 * which belong behind a prompt that breaks off in the middle of a line, are left out in all formats but `none`. */
int chat_answer(const struct chat *c, const struct text *answer, int32_t **ids, int *cap, struct error *e);

/* ---- the template that a model's files bring along, a program in Jinja: recognised, not run ---- */

/* That of a directory (chat_template.jinja, chat_template.json, or "chat_template" of tokenizer_config.json) appended
 * to out: 1, 0: there is none, -1: it cannot be read. */
int chat_template_read(const char *dir, struct text *out, struct error *e);
/* The format that a template writes, judged by the special tokens in it; CHAT_NONE: none of these. The system message
 * that it puts in where none is given, when it spells one out, is appended to system. */
enum chat_format chat_recognise(const char *template, int len, struct text *system);
const char *chat_name(enum chat_format format);

/* ---- for other programs ---- */

/* A template that writes the format, as apply_chat_template of transformers runs it; NULL for CHAT_NONE. */
const char *chat_template(enum chat_format format);
/* The tokenizer_config.json to go beside the chat's tokenizer, appended to out: that of the directory `from` with the
 * template that c->format asks for, or the directory's own where that is of this format or c->format is none. Without
 * such a file ("": no directory) it names the first token and the end. Nothing: no format, no file, no template. */
void chat_settings(const struct chat *c, const char *from, struct text *out);

#endif

/* Prompts and texts to learn from, as token ids: the texts as they are. (train_rl has chat formats and worked examples
 * too.)
 */
#include "../verbs/session.h"

int session_prompt(const struct session *s, const struct item *it, int32_t **ids, int *cap, struct error *e)
{
    return tokenizer_encode(s->tokenizer, it->prompt.s, it->prompt.len, 1, ids, cap, e);
}

int chat_answer(const struct chat *c, const struct text *answer, int32_t **ids, int *cap, struct error *e)
{
    return tokenizer_encode(c->tokenizer, answer->s, answer->len, 0, ids, cap, e);
}

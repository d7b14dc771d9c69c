/* Parts of opening a session that concern prompts: how long they become. */
#ifndef SESSION_PROMPTS_H
#define SESSION_PROMPTS_H
#include "session.h"

/* Fills max_prompt, an upper bound. Task, tokenizer and chat are open. */
int session_measure_prompts(struct session *s, struct error *e);
/* Fails when the longest prompt and rollout.max_new exceed the context of the model, which is open. */
int session_check_prompts(const struct session *s, struct error *e);

#endif

/* launch/eval/eval_prompts.h - prompts made of parts: pieces of a text that is already
 * tokenized, the filler, and sentences between them. Each part is encoded by itself, so that the
 * length of a prompt is known to the token. Knows no task. */
#ifndef SL_EVAL_PROMPTS_H
#define SL_EVAL_PROMPTS_H

#include <stdbool.h>

#include "runtime/text/tokenizer.h"

/* A sentence is looked for within so many tokens. */
enum { SL_SENTENCE_TOKENS = 64 };

/* A text's tokens, for a filler; ended with sl_tokens_free. SL_ERR_FILE, SL_ERR_MEMORY, logged. */
sl_status sl_filler_read(const char *path, const sl_tokenizer *tokenizer, sl_tokens *out);

/* Append a part of a prompt. One that begins with a space has one, whether or not encoding adds
 * it. SL_ERR_MEMORY. */
sl_status sl_prompt_add_text(const sl_tokenizer *tokenizer, const char *text, sl_tokens *out);

/* The end of a sentence of ids [n] near `place` and not behind it, or that place itself. */
size_t sl_sentence_before(const sl_tokenizer *tokenizer, const int32_t *ids, size_t n,
                          size_t place);
/* The same, not before it. */
size_t sl_sentence_after(const sl_tokenizer *tokenizer, const int32_t *ids, size_t n, size_t place);

#endif

/* runtime/model/chat.h - a conversation as the model was trained to read it.
 * The file's Jinja template is recognized, not executed. */
#ifndef SL_CHAT_H
#define SL_CHAT_H

#include "runtime/base/status.h"
#include "runtime/model/gguf.h"
#include "runtime/model/tokenizer.h"

typedef struct sl_chat sl_chat;

typedef struct {
    sl_text role;    /* "system", "user", "assistant" */
    sl_text content; /* never parsed for special tokens */
} sl_chat_message;

/* SL_ERR_UNSUPPORTED when the file has no template or one not known: *chat_out is then NULL
 * and sl_chat_unknown_text says what to do instead; not logged, since only chat needs it. */
sl_status sl_chat_open(const sl_gguf *gguf, const sl_tokenizer *tokenizer, sl_chat **chat_out);
void sl_chat_close(sl_chat *chat); /* NULL is fine */
/* One sentence for the user: no template known; use /v1/completions or `run` without --chat. */
const char *sl_chat_unknown_text(void);

/* Append the ids of the whole conversation, ending where the assistant's reply starts.
 * Equal to the template rendered by Jinja and tokenized with specials parsed in the
 * template's own text only. SL_ERR_REQUEST: a role the template does not know. */
sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out);

#endif

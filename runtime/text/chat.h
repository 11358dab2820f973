/* runtime/text/chat.h - a conversation as the model was trained to read it.
 * The file's Jinja template is recognized, not executed: those of llama 2, 3 and 3.1 to 3.3,
 * mistral (v0.1 to v3, nemo, v7), zephyr, qwen 2.5 and 3, phi 3 and 3.5, and ChatML with or without
 * a default system message (chat_forms.c). One that says anything else is not known: nothing is
 * guessed. Its whole text is compared, but for blanks, spelling, the words of errors and code for
 * tools. */
#ifndef SL_CHAT_H
#define SL_CHAT_H

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"
#include "runtime/text/tokenizer.h"

typedef struct sl_chat sl_chat;

typedef struct {
    sl_text role;    /* "system", "user", "assistant" */
    sl_text content; /* never parsed for special tokens */
} sl_chat_message;

/* *chat_out is NULL, and SL_OK returned, when the file has no template or one not known: only chat
 * needs it, and sl_chat_unknown_text says what to do instead. */
sl_status sl_chat_open(const sl_gguf *gguf, const sl_tokenizer *tokenizer, sl_chat **chat_out);
void sl_chat_close(sl_chat *chat); /* NULL is fine */
/* The same with a template of the caller's, which need not outlive the call; not known:
 * SL_ERR_UNSUPPORTED. */
sl_status sl_chat_open_template(sl_text template, const sl_tokenizer *tokenizer,
                                sl_chat **chat_out);
/* Which of the known templates it is; static storage. */
const char *sl_chat_name(const sl_chat *chat);
/* One sentence for the user: no template known; use /v1/completions or `run` without --chat. */
const char *sl_chat_unknown_text(void);

/* Append the ids of the whole conversation, ending where the assistant's reply starts.
 * Equal to the template rendered by Jinja and tokenized with specials parsed in the
 * template's own text only, and to llama.cpp in this: BOS is at the beginning once, if the template
 * prints it or the file asks for it. "Today" is the date that llama 3.1's template has of its own,
 * so that a job gives the same bytes on another day.
 * SL_ERR_REQUEST: a role the template does not know, or does not take in this place, also where
 * Jinja would leave the message out in silence. SL_ERR_MEMORY, logged. */
sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out);

#endif

/* runtime/text/chat.h - a conversation as the model was trained to read it: the file's Jinja
 * template is run (jinja/jinja.h), and what it prints becomes tokens. */
#ifndef SL_CHAT_H
#define SL_CHAT_H

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"
#include "runtime/text/jinja/jinja.h"
#include "runtime/text/tokenizer.h"

typedef struct sl_chat sl_chat;

typedef struct {
    sl_text role;    /* "system", "user", "assistant" */
    sl_text content; /* never parsed for special tokens */
} sl_chat_message;

/* *chat_out is NULL, and SL_OK returned, when the file has no template: only chat needs it, and
 * sl_chat_missing_text says what to do instead. A template that cannot be run is opened all the
 * same, and refuses each conversation with what is wrong with it. The tokenizer outlives it. */
sl_status sl_chat_open(const sl_gguf *gguf, const sl_tokenizer *tokenizer, sl_chat **chat_out);
void sl_chat_close(sl_chat *chat); /* NULL is fine */
/* The same with a template of the caller's, which need not outlive the call. */
sl_status sl_chat_open_template(sl_text template, const sl_tokenizer *tokenizer,
                                sl_chat **chat_out);
/* Why the template cannot be run, lent; NULL: it can. */
const char *sl_chat_wrong(const sl_chat *chat);
/* One sentence for the user: no template; use /v1/completions or `run` without --chat. */
const char *sl_chat_missing_text(void);

/* Append the ids of the whole conversation, ending where the assistant's reply starts.
 * Equal to the template rendered by Jinja and tokenized with specials parsed in the
 * template's own text only, and to llama.cpp in this: BOS is at the beginning once, if the template
 * prints it or the file asks for it. Templates have no strftime_now, so llama 3.1's takes the date
 * that it has of its own, and a job gives the same bytes on another day.
 * SL_ERR_REQUEST: the template does not take the conversation, or cannot be run; *error says why,
 * in one sentence. SL_ERR_MEMORY, logged. */
sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out, sl_jinja_error *error);
/* The same with all names that a template may use, a dictionary in `memory`: messages, tools ...
 * What is not in it is added, as transformers does: bos_token, eos_token, add_generation_prompt,
 * which is true, tools and documents, which are none. What prints more than bytes_max is
 * refused. */
sl_status sl_chat_encode_names(const sl_chat *chat, sl_jinja_memory *memory, sl_jinja_value names,
                               size_t bytes_max, sl_tokens *out, sl_jinja_error *error);
/* A role as a message has it: those that are known are the template's words, so that one which
 * prints "<|" and a role and "|>" has printed a special token. */
sl_jinja_value sl_chat_role(sl_jinja_memory *memory, sl_text role);

#endif

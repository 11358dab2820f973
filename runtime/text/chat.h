/* runtime/text/chat.h - a conversation as the model was trained to read it: the file's Jinja
 * template is run (jinja/jinja.h), and what it prints becomes tokens. */
#ifndef SL_CHAT_H
#define SL_CHAT_H

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"
#include "runtime/text/chat_probe.h"
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

/* The day that the template's strftime_now tells, at midnight. Without it a template that cannot do
 * without refuses the conversation, and one like llama 3.1's takes the date that it has of its own:
 * a job gives the same bytes on another day. */
void sl_chat_set_date(sl_chat *chat, struct tm date);
/* In what form messages are handed over, lent. */
const sl_chat_form *sl_chat_form_of(const sl_chat *chat);

/* Append the ids of the whole conversation, ending where the assistant's reply starts.
 * Equal to the template rendered by Jinja and tokenized with specials parsed in the
 * template's own text only, and to llama.cpp in this: BOS is at the beginning once, if the template
 * prints it or the file asks for it; EOS is where the template prints it, since an answer is to
 * follow.
 * SL_ERR_REQUEST: the template does not take the conversation, or cannot be run; *error says why,
 * in one sentence. SL_ERR_MEMORY, logged. */
sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out, sl_jinja_error *error);

/* What the template has the model think before it answers: all between <think> and </think>. */
typedef enum {
    SL_CHAT_NO_THOUGHT, /* the template knows neither mark: the answer is one text */
    SL_CHAT_MAY_THINK,  /* the answer may begin with <think> */
    SL_CHAT_THINKS      /* the prompt ends with <think>: the answer begins inside */
} sl_chat_thought;

typedef struct {
    size_t given_bytes;   /* of the text that the names were read from */
    size_t printed_bytes; /* what prints more is refused, with the cause SL_JINJA_TOO_LONG */
} sl_chat_bounds;
/* Memory that a template may take, its output included, for what was read from so many bytes; one
 * that needs more is refused. Callers plan it. */
size_t sl_chat_render_bytes(size_t given_bytes);

/* And what it may print: more than that no template makes of what is meant to be read. */
size_t sl_chat_printed_bytes_max(size_t given_bytes);
/* Memory that sl_chat_encode may take for messages of so many bytes: both, and their tokens. */
size_t sl_chat_encode_bytes(size_t given_bytes);

/* sl_chat_encode with all names that a template may use, a dictionary in `memory`: messages, tools
 * ... What is not in it is added, as transformers does: bos_token, eos_token,
 * add_generation_prompt, which is true, tools and documents, which are none. */
sl_status sl_chat_encode_names(const sl_chat *chat, sl_jinja_memory *memory, sl_jinja_value names,
                               const sl_chat_bounds *bounds, sl_tokens *out,
                               sl_chat_thought *thought_out, sl_jinja_error *error);
/* A role as a message has it: those that are known are the template's words, so that one which
 * prints "<|" and a role and "|>" has printed a special token. */
sl_jinja_value sl_chat_role(sl_jinja_memory *memory, sl_text role);

#endif

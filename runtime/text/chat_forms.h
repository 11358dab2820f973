/* runtime/text/chat_forms.h - the chat templates that are known: the whole text of each, and what
 * it prints for plain messages. The table is data; chat.c reads it. */
#ifndef SL_CHAT_FORMS_H
#define SL_CHAT_FORMS_H

#include <stdbool.h>

#include "runtime/gguf/gguf.h"

/* Text around a content; {bos} and {eos} stand for the model's own. before NULL: no such
 * message. */
typedef struct {
    const char *before, *after;
} sl_chat_wrap;

enum {
    SL_CHAT_TRIMS_ALL = 1, /* contents lose the white space at their ends */
    SL_CHAT_TRIMS_ASSISTANT = 2,
    SL_CHAT_ALTERNATES = 4,           /* user, assistant, user ... after the system message */
    SL_CHAT_SYSTEM_IN_FIRST_USER = 8, /* the system message is put in front of a user's */
    SL_CHAT_SYSTEM_IN_LAST_USER = 16,
    SL_CHAT_SYSTEM_ALWAYS = 32,    /* an empty one is there when the conversation has none */
    SL_CHAT_SYSTEM_DEFAULT = 64,   /* the template says what it is then */
    SL_CHAT_NO_EMPTY_SYSTEM = 128, /* an empty one prints nothing */
    SL_CHAT_THINKS = 256,          /* Qwen 3: what stands in <think> */
    SL_CHAT_PRINTS_BOS = 512,      /* in front of the first message */
};

enum { SL_CHAT_TEXTS_MAX = 3 };

typedef struct {
    const char *name;
    const char *texts[SL_CHAT_TEXTS_MAX]; /* each is a whole template, as chat_forms.c explains */
    sl_chat_wrap first_system;            /* a system message that begins the conversation */
    sl_chat_wrap system;                  /* a later one */
    sl_chat_wrap user_system; /* SL_CHAT_SYSTEM_IN_*: it, in front of a user's content */
    sl_chat_wrap user, assistant;
    const char *reply; /* in front of the answer */
    unsigned traits;   /* SL_CHAT_* */
} sl_chat_form;

typedef struct {
    const sl_chat_form *form;
    bool prints_bos;        /* before all else */
    sl_text default_system; /* lent by the template, still escaped; SL_CHAT_SYSTEM_DEFAULT only */
} sl_chat_match;

/* False: not known, *match_out is meaningless. `template` is spelt by sl_template_text. Linear
 * time. */
bool sl_chat_form_find(const char *template, sl_chat_match *match_out);

#endif

/* runtime/model/chat_forms.h - the chat templates that are known: how each is told from its text, and
 * what it prints for plain messages. The table is data; chat.c reads it. */
#ifndef SL_CHAT_FORMS_H
#define SL_CHAT_FORMS_H

#include "runtime/model/gguf.h"

/* Text around a content; {bos} and {eos} stand for the model's own. before NULL: no such message. */
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
};

enum { SL_CHAT_MARKS_MAX = 5, SL_CHAT_FOREIGN_MAX = 2 };

typedef struct {
    const char *name;
    const char *marks[SL_CHAT_MARKS_MAX]; /* each is in the template, as template_text.h spells */
    const char *foreign[SL_CHAT_FOREIGN_MAX]; /* and none of these */
    sl_chat_wrap first_system;                /* a system message that begins the conversation */
    sl_chat_wrap system;                      /* a later one */
    sl_chat_wrap user, assistant;
    const char *reply; /* in front of the answer */
    unsigned traits;   /* SL_CHAT_* */
} sl_chat_form;

/* NULL: not known. `template` is spelt by sl_template_text. */
const sl_chat_form *sl_chat_form_find(sl_text template);

#endif

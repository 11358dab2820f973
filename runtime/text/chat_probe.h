/* runtime/text/chat_probe.h - what a chat template takes, found by printing small conversations
 * with it and looking at what came out, as llama.cpp does (common/jinja/caps.cpp): templates say
 * nowhere in which form they want a request. Knows no models, tokens or requests. */
#ifndef SL_CHAT_PROBE_H
#define SL_CHAT_PROBE_H

#include "runtime/text/jinja/jinja.h"

typedef enum { SL_CHAT_SYSTEM, SL_CHAT_USER, SL_CHAT_ASSISTANT, SL_CHAT_TOOL } sl_chat_role_kind;
enum { SL_CHAT_N_ROLES = 4 };
extern const char *const sl_chat_role_names[SL_CHAT_N_ROLES];

typedef struct {
    bool text_arguments;         /* of a call: the text of a JSON object; else the object */
    bool none_content;           /* beside calls and nothing said: none; else "" */
    bool parts[SL_CHAT_N_ROLES]; /* a content may be a list of parts; else it is one text */
    bool needs_date;             /* what a user says alone is refused without strftime_now */
} sl_chat_form;

/* The form that the template prints whole. One that is hostile, or prints no calls, takes objects,
 * "" and texts. Costs a few milliseconds, and a second at most. Cannot fail. */
sl_chat_form sl_chat_probe(const sl_jinja *jinja);

#endif

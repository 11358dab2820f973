/* runtime/text/chat_forms.c - see chat_forms.h. A template is known by its whole text: one that
 * prints one blank more, or does anything before or after, is another one. What is left open in a
 * text below is named there; tool code may stand anywhere, where its condition says that it is
 * never reached. */
#include "runtime/text/chat_forms.h"

#include <stdbool.h>
#include <string.h>

/* In a form's text, for what is not the same in all templates of the form: */
#define UNREACHED "\1" /* the body of a branch: tool code */
#define ANY       "\2" /* a string up to its end, or to what must follow in it: an error's words */
#define DEFAULT   "\3" /* the same: the default system message */
#define BOS       "\4" /* {{bos_token}}, or nothing */

/* A conversation here has no tools, so the branches of these conditions are never taken ... */
static const char *const UNREACHED_IFS[] = {
    "{%if custom_tools is defined%}",
    "{%if builtin_tools is defined%}",
    "{%if builtin_tools is defined or tools is not none%}",
    "{%if tools is not none%}",
    "{%if tools is not none and not tools_in_user_message%}",
    "{%if tools is not none and(message==user_messages[-1])%}",
    "{%if tools_in_user_message and not tools is none%}",
    "{%if message['tool_calls']%}",
    NULL,
};
static const char *const UNREACHED_ELIFS[] = {
    "{%elif message['role']=='tool'%}",
    "{%elif message['role']=='tool'or message['role']=='ipython'%}",
    "{%elif message['role']=='tool_results'or message['role']=='tool'%}",
    "{%elif'tool_calls'in message%}",
    "{%elif message['tool_calls']is defined and message['tool_calls']is not none%}",
    "{%elif(message['tool_calls']is defined and message['tool_calls']is not none)%}",
    NULL,
};
/* ... and these print nothing and set what only those read. */
static const char *const SILENT[] = {
    "{%if not tools_in_user_message is defined%}{%set tools_in_user_message=true%}{%endif%}",
    "{%if not tools is defined%}{%set tools=none%}{%endif%}",
    "{%set user_messages=loop_messages|selectattr('role','equalto','user')|list%}",
    NULL,
};

#define IM_SYSTEM                              \
    {                                          \
        "<|im_start|>system\n", "<|im_end|>\n" \
    }
#define IM_USER                              \
    {                                        \
        "<|im_start|>user\n", "<|im_end|>\n" \
    }
#define IM_ASSISTANT                              \
    {                                             \
        "<|im_start|>assistant\n", "<|im_end|>\n" \
    }
#define IM_REPLY    "<|im_start|>assistant\n"
#define IM_MESSAGE  "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>\n'}}"
#define IM_REPLY_IF "{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}"
#define IM_LOOP     "%}" IM_MESSAGE "{%endfor%}" IM_REPLY_IF "{%endif%}"
#define IM_FIRST_SYSTEM                                                     \
    "{%if tools%}" UNREACHED "{%else%}{%if messages[0]['role']=='system'%}" \
    "{{'<|im_start|>system\n'+messages[0]['content']+'<|im_end|>\n'}}"

#define QWEN25(tool_calls)                                                                  \
    IM_FIRST_SYSTEM                                                                         \
    "{%else%}{{'<|im_start|>system\n" DEFAULT "<|im_end|>\n'}}{%endif%}"                    \
    "{%endif%}{%for message in messages%}{%if(message['role']=='user')"                     \
    "or(message['role']=='system'and not loop['first'])"                                    \
    "or(message['role']=='assistant'and not message['tool_calls'])%}" IM_MESSAGE tool_calls \
    "{%endif%}{%endfor%}" IM_REPLY_IF "{%endif%}"

#define IS_QUESTION                                                       \
    "and message['role']=='user'and not(message['content']['startswith']" \
    "('<tool_response>')and message['content']['endswith']('</tool_response>'))%}"
#define QWEN3_THOUGHTS                                                                   \
    "{%if'</think>'in message['content']%}"                                              \
    "{%set content=message['content']['split']('</think>')[-1]['lstrip']('\n')%}"        \
    "{%set reasoning_content=message['content']['split']('</think>')[0]['rstrip']('\n')" \
    "['split']('<think>')[-1]['lstrip']('\n')%}{%endif%}"
#define QWEN3(find_last_question, find_thoughts)                                                   \
    IM_FIRST_SYSTEM                                                                                \
    "{%endif%}{%endif%}" find_last_question "{%endfor%}{%for message in messages%}"                \
    "{%if(message['role']=='user')or(message['role']=='system'and not loop['first'])%}" IM_MESSAGE \
    "{%elif message['role']=='assistant'%}{%set content=message['content']%}"                      \
    "{%set reasoning_content=''%}" find_thoughts "{%if loop['index0']>ns['last_query_index']%}"    \
    "{%if loop['last']or(not loop['last']and reasoning_content)%}"                                 \
    "{{'<|im_start|>'+message['role']+'\n<think>\n'+reasoning_content['strip']('\n')"              \
    "+'\n</think>\n\n'+content['lstrip']('\n')}}"                                                  \
    "{%else%}{{'<|im_start|>'+message['role']+'\n'+content}}{%endif%}"                             \
    "{%else%}{{'<|im_start|>'+message['role']+'\n'+content}}{%endif%}{{'<|im_end|>\n'}}"           \
    "{%endif%}{%endfor%}" IM_REPLY_IF                                                              \
    "{%if enable_thinking is defined and enable_thinking is false%}"                               \
    "{{'<think>\n\n</think>\n\n'}}{%endif%}{%endif%}"

#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define HEADER_MESSAGE                                                                      \
    "'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+message['content']|trim" \
    "+'<|eot_id|>'"
#define LLAMA3(messages, reply)                                                     \
    "{%for message in " messages "%}{%set content=" HEADER_MESSAGE "%}"             \
    "{%if loop['index0']==0%}{%set content=bos_token+content%}{%endif%}{{content}}" \
    "{%endfor%}" reply
#define LLAMA3_REPLY  "{{'" HEADER("assistant") "'}}"
/* 3.2 would print today's date: its own default instead, so that tomorrow's run gives the same. */
#define LLAMA31_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
#define LLAMA31_SYSTEM                                                             \
    "{{'<|start_header_id|>system<|end_header_id|>\n\n'}}"                         \
    "{{'Cutting Knowledge Date: December 2023\nToday Date: '+date_string+'\n\n'}}" \
    "{{system_message+'<|eot_id|>'}}"
#define LLAMA31(date, not_a_tool)                                                         \
    BOS "{%if not date_string is defined%}" date "{%endif%}"                              \
        "{%if messages[0]['role']=='system'%}"                                            \
        "{%set system_message=messages[0]['content']|trim%}{%set messages=messages[1:]%}" \
        "{%else%}{%set system_message=''%}{%endif%}" LLAMA31_SYSTEM                       \
        "{%for message in messages%}{%if " not_a_tool "%}{{" HEADER_MESSAGE "}}{%endif%}" \
        "{%endfor%}{%if add_generation_prompt%}" LLAMA3_REPLY "{%endif%}"
#define DATE_SET "{%set date_string='26 Jul 2024'%}"

#define ALTERNATES(index)                               \
    "{%if(message['role']=='user')!=(" index "%2==0)%}" \
    "{{raise_exception('" ANY "')}}{%endif%}"
#define ALTERNATE      ALTERNATES("loop['index0']")
#define NO_OTHER_ROLES "{%else%}{{raise_exception('" ANY "')}}{%endif%}{%endfor%}"
#define IF_USER        "{%if message['role']=='user'%}"
#define ELIF_ASSISTANT "{%elif message['role']=='assistant'%}"
#define MISTRAL_V0(after)                                            \
    BOS "{%for message in messages%}" ALTERNATE IF_USER              \
        "{{'[INST] '+message['content']+' [/INST]'}}" ELIF_ASSISTANT \
        "{{message['content']+eos_token" after "}}" NO_OTHER_ROLES
#define MISTRAL(check, alternate, place, before, after, answer)                                   \
    "{%if messages[0]['role']=='system'%}{%set system_message=messages[0]['content']%}"           \
    "{%set loop_messages=messages[1:]%}{%else%}{%set loop_messages=messages%}{%endif%}" check BOS \
    "{%for message in loop_messages%}" alternate IF_USER "{%if loop['" place                      \
    "']and system_message is defined%}"                                                           \
    "{{'" before "'+system_message+'\n\n'+message['content']+'" after "'}}{%else%}"               \
    "{{'" before "'+message['content']+'" after "'}}{%endif%}" ELIF_ASSISTANT "{{" answer         \
    "+eos_token}}" NO_OTHER_ROLES
/* Those that take tools look at the order of messages before they print. */
#define TOOL_CHECK                                                                            \
    "{%set ns=namespace()%}{%set ns['index']=0%}{%for message in loop_messages%}"             \
    "{%if not(message['role']=='tool'or message['role']=='tool_results'"                      \
    "or(message['tool_calls']is defined and message['tool_calls']is not none))%}" ALTERNATES( \
        "ns['index']") "{%set ns['index']=ns['index']+1%}{%endif%}{%endfor%}"

#define PHI3_TURNS                                                                         \
    "{{'<|system|>\n'+message['content']+'<|end|>\n'}}{%elif message['role']=='user'%}"    \
    "{{'<|user|>\n'+message['content']+'<|end|>\n'}}{%elif message['role']=='assistant'%}" \
    "{{'<|assistant|>\n'+message['content']+'<|end|>\n'}}{%endif%}{%endfor%}"              \
    "{%if add_generation_prompt%}{{'<|assistant|>\n'}}{%else%}{{eos_token}}{%endif%}"

static const sl_chat_form FORMS[] = {
    {.name = "chatml",
     .texts = {BOS "{%for message in messages" IM_LOOP},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY},
    {.name = "chatml with a default system message",
     .texts = {BOS "{%for message in messages%}"
                   "{%if loop['first']and messages[0]['role']!='system'%}"
                   "{{'<|im_start|>system\n" DEFAULT "<|im_end|>\n'}}{%endif" IM_LOOP},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY,
     .traits = SL_CHAT_SYSTEM_DEFAULT},
    {.name = "qwen 2.5",
     .texts = {QWEN25(""), QWEN25(ELIF_ASSISTANT UNREACHED)},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY,
     .traits = SL_CHAT_SYSTEM_DEFAULT},
    {.name = "qwen 3",
     .texts = {QWEN3("{%set ns=namespace(last_query_index=messages|length-1,found=false)%}"
                     "{%for message in messages[::-1]%}{%if not ns['found']" IS_QUESTION
                     "{%set ns['found']=true%}"
                     "{%set ns['last_query_index']=messages|length-1-loop['index0']%}{%endif%}",
                     QWEN3_THOUGHTS),
               QWEN3("{%set ns=namespace(multi_step_tool=true,last_query_index=messages|length-1)%}"
                     "{%for message in messages[::-1]%}"
                     "{%set index=(messages|length-1)-loop['index0']%}{%if "
                     "ns['multi_step_tool']" IS_QUESTION "{%set ns['multi_step_tool']=false%}"
                     "{%set ns['last_query_index']=index%}{%endif%}",
                     "{%if message['reasoning_content']is defined and "
                     "message['reasoning_content']is not none%}"
                     "{%set reasoning_content=message['reasoning_content']%}"
                     "{%else%}" QWEN3_THOUGHTS "{%endif%}")},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY,
     .traits = SL_CHAT_THINKS},
    {.name = "llama 3",
     .texts = {LLAMA3("messages", "{%if add_generation_prompt%}" LLAMA3_REPLY "{%endif%}"),
               "{%set loop_messages=messages%}" LLAMA3("loop_messages", LLAMA3_REPLY)},
     .first_system = {HEADER("system"), "<|eot_id|>"},
     .system = {HEADER("system"), "<|eot_id|>"},
     .user = {HEADER("user"), "<|eot_id|>"},
     .assistant = {HEADER("assistant"), "<|eot_id|>"},
     .reply = HEADER("assistant"),
     .traits = SL_CHAT_TRIMS_ALL | SL_CHAT_PRINTS_BOS},
    {.name = "llama 3.1 to 3.3",
     .texts = {LLAMA31(DATE_SET, "not(message['role']=='tool'or'tool_calls'in message)"),
               LLAMA31(DATE_SET, "not(message['role']=='ipython'or message['role']=='tool'"
                                 "or'tool_calls'in message)"),
               LLAMA31("{%if strftime_now is defined%}{%set date_string=strftime_now('%d %b %Y')%}"
                       "{%else%}" DATE_SET "{%endif%}",
                       "not(message['role']=='ipython'or message['role']=='tool'"
                       "or'tool_calls'in message)")},
     .first_system = {HEADER("system") LLAMA31_DATES, "<|eot_id|>"},
     .system = {HEADER("system"), "<|eot_id|>"},
     .user = {HEADER("user"), "<|eot_id|>"},
     .assistant = {HEADER("assistant"), "<|eot_id|>"},
     .reply = HEADER("assistant"),
     .traits = SL_CHAT_TRIMS_ALL | SL_CHAT_SYSTEM_ALWAYS},
    {.name = "llama 2",
     .texts = {"{%if messages[0]['role']=='system'%}{%set loop_messages=messages[1:]%}"
               "{%set system_message=messages[0]['content']%}{%else%}"
               "{%set loop_messages=messages%}{%set system_message=false%}{%endif%}"
               "{%for message in loop_messages%}" ALTERNATE
               "{%if loop['index0']==0 and system_message!=false%}"
               "{%set content='<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message['content']%}"
               "{%else%}{%set content=message['content']%}{%endif%}" IF_USER
               "{{bos_token+'[INST] '+content['strip']()+' [/INST]'}}" ELIF_ASSISTANT
               "{{' '+content['strip']()+' '+eos_token}}{%endif%}{%endfor%}"},
     .user_system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {"{bos}[INST] ", " [/INST]"},
     .assistant = {" ", " {eos}"},
     .reply = "",
     .traits = SL_CHAT_TRIMS_ALL | SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_FIRST_USER},
    {.name = "mistral 7B v0.1",
     .texts = {MISTRAL_V0("+' '")},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos} "},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES},
    {.name = "mistral 7B v0.2",
     .texts = {MISTRAL_V0("")},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES},
    {.name = "mistral v1",
     .texts = {MISTRAL("", ALTERNATE, "first", " [INST] ", " [/INST]", "' '+message['content']")},
     .user_system = {"", "\n\n"},
     .user = {" [INST] ", " [/INST]"},
     .assistant = {" ", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_FIRST_USER},
    {.name = "mistral v3",
     .texts = {MISTRAL("", ALTERNATE, "last", "[INST] ", "[/INST]", "' '+message['content']|trim"),
               MISTRAL(TOOL_CHECK, "", "last", "[INST] ", "[/INST]",
                       "' '+message['content']|trim")},
     .user_system = {"", "\n\n"},
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_LAST_USER | SL_CHAT_TRIMS_ASSISTANT},
    {.name = "mistral nemo",
     .texts = {MISTRAL("", ALTERNATE, "last", "[INST]", "[/INST]", "message['content']"),
               MISTRAL(TOOL_CHECK, "", "last", "[INST]", "[/INST]", "message['content']")},
     .user_system = {"", "\n\n"},
     .user = {"[INST]", "[/INST]"},
     .assistant = {"", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_LAST_USER},
    {.name = "mistral v7",
     .texts = {BOS "{%for message in messages%}" IF_USER
                   "{{'[INST] '+message['content']+'[/INST]'}}{%elif message['role']=='system'%}"
                   "{{'[SYSTEM_PROMPT] '+message['content']+'[/SYSTEM_PROMPT]'}}" ELIF_ASSISTANT
                   "{{' '+message['content']+eos_token}}" NO_OTHER_ROLES},
     .first_system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", "{eos}"},
     .reply = ""},
    {.name = "zephyr",
     .texts = {BOS "{%for message in messages%}" IF_USER
                   "{{'<|user|>\n'+message['content']+eos_token+'\n'}}"
                   "{%elif message['role']=='system'%}"
                   "{{'<|system|>\n'+message['content']+eos_token+'\n'}}" ELIF_ASSISTANT
                   "{{'<|assistant|>\n'+message['content']+eos_token+'\n'}}{%endif%}"
                   "{%if loop['last']and add_generation_prompt%}{{'<|assistant|>\n'}}{%endif%}"
                   "{%endfor%}"},
     .first_system = {"<|system|>\n", "{eos}\n"},
     .system = {"<|system|>\n", "{eos}\n"},
     .user = {"<|user|>\n", "{eos}\n"},
     .assistant = {"<|assistant|>\n", "{eos}\n"},
     .reply = "<|assistant|>\n"},
    {.name = "phi 3, without a system message",
     .texts = {BOS "{%for message in messages%}{%if(message['role']=='user')%}"
                   "{{'<|user|>\n'+message['content']+'<|end|>\n<|assistant|>\n'}}"
                   "{%elif(message['role']=='assistant')%}"
                   "{{message['content']+'<|end|>\n'}}{%endif%}{%endfor%}"},
     .user = {"<|user|>\n", "<|end|>\n<|assistant|>\n"},
     .assistant = {"", "<|end|>\n"},
     .reply = ""},
    {.name = "phi 3",
     .texts = {BOS "{%for message in messages%}{%if message['role']=='system'%}" PHI3_TURNS},
     .first_system = {"<|system|>\n", "<|end|>\n"},
     .system = {"<|system|>\n", "<|end|>\n"},
     .user = {"<|user|>\n", "<|end|>\n"},
     .assistant = {"<|assistant|>\n", "<|end|>\n"},
     .reply = "<|assistant|>\n"},
    {.name = "phi 3.5",
     .texts = {BOS "{%for message in messages%}"
                   "{%if message['role']=='system'and message['content']%}" PHI3_TURNS},
     .first_system = {"<|system|>\n", "<|end|>\n"},
     .system = {"<|system|>\n", "<|end|>\n"},
     .user = {"<|user|>\n", "<|end|>\n"},
     .assistant = {"<|assistant|>\n", "<|end|>\n"},
     .reply = "<|assistant|>\n",
     .traits = SL_CHAT_NO_EMPTY_SYSTEM},
};
enum { N_FORMS = sizeof FORMS / sizeof *FORMS };

/* ---- matching ---- */

static size_t prefix_bytes(const char *text, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return strncmp(text, prefix, bytes) == 0 ? bytes : 0;
}

/* Bytes of the one of a list that the text begins with, or 0. */
static size_t listed_bytes(const char *text, const char *const *list)
{
    size_t bytes = 0;
    while (*list && bytes == 0) bytes = prefix_bytes(text, *list++);
    return bytes;
}

/* Past one tag. Its strings may hold what ends one. */
static const char *skip_tag(const char *at)
{
    char closing = at[1] == '{' ? '}' : '%';
    bool quoted = false;
    for (; *at && (quoted || at[0] != closing || at[1] != '}'); at++) {
        if (quoted && *at == '\\')
            at++;
        else if (*at == '\'')
            quoted = !quoted;
    }
    return *at ? at + 2 : at;
}

/* From inside of an "if" to the {%elif, {%else%} or {%endif%} that ends the branch; NULL: none. */
static const char *skip_branch(const char *at)
{
    for (size_t depth = 0; *at; at = skip_tag(at)) {
        if (prefix_bytes(at, "{%raw")) return NULL; /* what looks like a tag may be none then */
        bool ends = prefix_bytes(at, "{%endif") || prefix_bytes(at, "{%endfor");
        if (depth == 0 && (ends || prefix_bytes(at, "{%el"))) return at;
        if (prefix_bytes(at, "{%if") || prefix_bytes(at, "{%for")) depth++;
        if (ends) depth--;
    }
    return NULL;
}

/* Past all statements that mean nothing without tools; NULL: one has no end. */
static const char *skip_unreached(const char *at)
{
    for (size_t n; at;) {
        if ((n = listed_bytes(at, SILENT)) > 0) {
            at += n;
        } else if ((n = listed_bytes(at, UNREACHED_ELIFS)) > 0) {
            at = skip_branch(at + n);
        } else if ((n = listed_bytes(at, UNREACHED_IFS)) > 0) {
            at = skip_branch(at + n);
            n = at ? prefix_bytes(at, "{%endif%}") : 0;
            at = n > 0 ? at + n : NULL;
        } else {
            return at;
        }
    }
    return NULL;
}

/* In a string, up to where `rest`, which goes on to its closing quote, ends it; NULL: it does
 * not. */
static const char *skip_string(const char *at, const char *rest)
{
    size_t bytes = strcspn(rest, "'") + 1;
    while (*at && strncmp(at, rest, bytes) != 0) {
        if (*at == '\'') return NULL;
        at += *at == '\\' ? 2 : 1; /* an escape has two bytes */
    }
    return *at ? at : NULL;
}

static bool matches(const char *text, const char *at, sl_chat_match *match)
{
    for (; at && *text; text++) {
        const char *from = at;
        if (*text == '{' && !(at = skip_unreached(at))) return false;
        switch (*text) {
        case '\1': /* UNREACHED */ at = skip_branch(at); break;
        case '\2': /* ANY */ at = skip_string(at, text + 1); break;
        case '\3': /* DEFAULT */
            at = skip_string(at, text + 1);
            if (at) match->default_system = (sl_text){from, (size_t)(at - from)};
            break;
        case '\4': /* BOS */
            at += prefix_bytes(at, "{{bos_token}}");
            match->prints_bos = at > from;
            break;
        default:
            if (*at++ != *text) return false;
        }
    }
    return at && (at = skip_unreached(at)) && !*at;
}

bool sl_chat_form_find(const char *template, sl_chat_match *match_out)
{
    for (const sl_chat_form *form = FORMS; form < FORMS + N_FORMS; form++) {
        for (int i = 0; i < SL_CHAT_TEXTS_MAX && form->texts[i]; i++) {
            *match_out = (sl_chat_match){.form = form,
                                         .prints_bos = form->traits & SL_CHAT_PRINTS_BOS};
            if (matches(form->texts[i], template, match_out)) return true;
        }
    }
    return false;
}

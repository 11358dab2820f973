/* runtime/model/chat_forms.c - see chat_forms.h. A mark is a whole statement of the template, so a
 * template that prints one blank more is another one. Tool code around the marks is never reached: a
 * conversation here has no tools. */
#include "runtime/model/chat_forms.h"

#include <stdbool.h>
#include <string.h>

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
#define IM_REPLY   "<|im_start|>assistant\n"
#define IM_MESSAGE "{{'<|im_start|>'+message['role']+'\n'+message['content']+'<|im_end|>\n'}}"
#define IM_LOOP \
    "%}" IM_MESSAGE "{%endfor%}{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}"
#define IM_FIRST_SYSTEM                            \
    "{%else%}{%if messages[0]['role']=='system'%}" \
    "{{'<|im_start|>system\n'+messages[0]['content']+'<|im_end|>\n'}}"
#define IM_USER_OR_LATER_SYSTEM                                          \
    "{%endfor%}{%for message in messages%}{%if(message['role']=='user')" \
    "or(message['role']=='system'and not loop['first'])%}" IM_MESSAGE

#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define HEADER_MESSAGE                                                                      \
    "'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+message['content']|trim" \
    "+'<|eot_id|>'"
/* 3.2 would print today's date: its own default instead, so that tomorrow's run gives the same. */
#define LLAMA31_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

#define ALTERNATION                                                                     \
    "{%for message in messages%}{%if(message['role']=='user')!=(loop['index0']%2==0)%}" \
    "{{raise_exception("

#define PHI3_TURNS                                                                         \
    "{{'<|system|>\n'+message['content']+'<|end|>\n'}}{%elif message['role']=='user'%}"    \
    "{{'<|user|>\n'+message['content']+'<|end|>\n'}}{%elif message['role']=='assistant'%}" \
    "{{'<|assistant|>\n'+message['content']+'<|end|>\n'}}{%endif%}{%endfor%}"              \
    "{%if add_generation_prompt%}{{'<|assistant|>\n'}}{%else%}"

static const sl_chat_form FORMS[] = {
    {.name = "chatml",
     .marks = {IM_LOOP},
     .foreign = {"system", "raise_exception"},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY},
    {.name = "chatml with a default system message",
     .marks = {"{%for message in messages%}{%if loop['first']and messages[0]['role']!='system'%}"
               "{{'<|im_start|>system\n",
               "<|im_end|>\n'}}{%endif" IM_LOOP},
     .foreign = {"raise_exception"},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY,
     .traits = SL_CHAT_SYSTEM_DEFAULT},
    {.name = "qwen 2.5",
     .marks = {IM_FIRST_SYSTEM "{%else%}{{'<|im_start|>system\n",
               "<|im_end|>\n'}}{%endif%}{%endif%}{%for message in messages%}"
               "{%if(message['role']=='user')or(message['role']=='system'and not loop['first'])"
               "or(message['role']=='assistant'and not message['tool_calls'])%}" IM_MESSAGE
               "{%elif",
               "{%endfor%}{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}{%endif%}"},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY,
     .traits = SL_CHAT_SYSTEM_DEFAULT},
    {.name = "qwen 3",
     .marks = {IM_FIRST_SYSTEM "{%endif%}{%endif%}{%set ns=namespace(",
               IM_USER_OR_LATER_SYSTEM "{%elif message['role']=='assistant'%}",
               "{%set content=message['content']['split']('</think>')[-1]['lstrip']('\n')%}"
               "{%set reasoning_content=message['content']['split']('</think>')[0]['rstrip']('\n')"
               "['split']('<think>')[-1]['lstrip']('\n')%}",
               "{%if loop['index0']>ns['last_query_index']%}"
               "{%if loop['last']or(not loop['last']and reasoning_content)%}"
               "{{'<|im_start|>'+message['role']+'\n<think>\n'+reasoning_content['strip']('\n')"
               "+'\n</think>\n\n'+content['lstrip']('\n')}}"
               "{%else%}{{'<|im_start|>'+message['role']+'\n'+content}}{%endif%}"
               "{%else%}{{'<|im_start|>'+message['role']+'\n'+content}}{%endif%}",
               "{%endfor%}{%if add_generation_prompt%}{{'<|im_start|>assistant\n'}}"
               "{%if enable_thinking is defined and enable_thinking is false%}"},
     .first_system = IM_SYSTEM,
     .system = IM_SYSTEM,
     .user = IM_USER,
     .assistant = IM_ASSISTANT,
     .reply = IM_REPLY,
     .traits = SL_CHAT_THINKS},
    {.name = "llama 3",
     .marks = {"{%set content=" HEADER_MESSAGE "%}{%if loop['index0']==0%}"
               "{%set content=bos_token+content%}{%endif%}{{content}}{%endfor%}",
               "{{'" HEADER("assistant") "'}}"},
     .foreign = {"tool"},
     .first_system = {HEADER("system"), "<|eot_id|>"},
     .system = {HEADER("system"), "<|eot_id|>"},
     .user = {HEADER("user"), "<|eot_id|>"},
     .assistant = {HEADER("assistant"), "<|eot_id|>"},
     .reply = HEADER("assistant"),
     .traits = SL_CHAT_TRIMS_ALL},
    {.name = "llama 3.1 to 3.3",
     .marks = {"{%set date_string='26 Jul 2024'%}",
               "{%set system_message=messages[0]['content']|trim%}{%set messages=messages[1:]%}"
               "{%else%}{%set system_message=''%}{%endif%}{{'" HEADER("system") "'}}",
               "{{'Cutting Knowledge Date: December 2023\nToday Date: '+date_string+'\n\n'}}"
               "{%if tools is not none and not tools_in_user_message%}",
               "{%endif%}{{system_message+'<|eot_id|>'}}{%if tools_in_user_message and",
               "'tool_calls'in message)%}{{" HEADER_MESSAGE "}}{%elif"},
     .first_system = {HEADER("system") LLAMA31_DATES, "<|eot_id|>"},
     .system = {HEADER("system"), "<|eot_id|>"},
     .user = {HEADER("user"), "<|eot_id|>"},
     .assistant = {HEADER("assistant"), "<|eot_id|>"},
     .reply = HEADER("assistant"),
     .traits = SL_CHAT_TRIMS_ALL | SL_CHAT_SYSTEM_ALWAYS},
    {.name = "llama 2",
     .marks = {"{%set system_message=messages[0]['content']%}{%else%}"
               "{%set loop_messages=messages%}{%set system_message=false%}{%endif%}",
               "{%set content='<<SYS>>\n'+system_message+'\n<</SYS>>\n\n'+message['content']%}"
               "{%else%}{%set content=message['content']%}{%endif%}",
               "{{bos_token+'[INST] '+content['strip']()+' [/INST]'}}",
               "{%elif message['role']=='assistant'%}{{' '+content['strip']()+' '+eos_token}}"},
     .first_system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
     .user = {"{bos}[INST] ", " [/INST]"},
     .assistant = {" ", " {eos}"},
     .reply = "",
     .traits = SL_CHAT_TRIMS_ALL | SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_FIRST_USER},
    {.name = "mistral 7B v0.1",
     .marks = {ALTERNATION, "{{'[INST] '+message['content']+' [/INST]'}}"
                            "{%elif message['role']=='assistant'%}"
                            "{{message['content']+eos_token+' '}}{%else%}"},
     .foreign = {"system"},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos} "},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES},
    {.name = "mistral 7B v0.2",
     .marks = {ALTERNATION, "{{'[INST] '+message['content']+' [/INST]'}}"
                            "{%elif message['role']=='assistant'%}"
                            "{{message['content']+eos_token}}{%else%}"},
     .foreign = {"system"},
     .user = {"[INST] ", " [/INST]"},
     .assistant = {"", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES},
    {.name = "mistral v1",
     .marks = {"{%if loop['first']and system_message is defined%}"
               "{{' [INST] '+system_message+'\n\n'+message['content']+' [/INST]'}}"
               "{%else%}{{' [INST] '+message['content']+' [/INST]'}}{%endif%}",
               "{%elif message['role']=='assistant'%}{{' '+message['content']+eos_token}}{%else%}"},
     .first_system = {"", "\n\n"},
     .user = {" [INST] ", " [/INST]"},
     .assistant = {" ", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_FIRST_USER},
    {.name = "mistral v3",
     .marks = {"{%if loop['last']and system_message is defined%}"
               "{{'[INST] '+system_message+'\n\n'+message['content']+'[/INST]'}}"
               "{%else%}{{'[INST] '+message['content']+'[/INST]'}}{%endif%}",
               "{%elif message['role']=='assistant'%}{{' '+message['content']|trim+eos_token}}"},
     .first_system = {"", "\n\n"},
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_LAST_USER | SL_CHAT_TRIMS_ASSISTANT},
    {.name = "mistral nemo",
     .marks = {"{%if loop['last']and system_message is defined%}"
               "{{'[INST]'+system_message+'\n\n'+message['content']+'[/INST]'}}"
               "{%else%}{{'[INST]'+message['content']+'[/INST]'}}{%endif%}",
               "{%elif message['role']=='assistant'%}{{message['content']+eos_token}}"},
     .first_system = {"", "\n\n"},
     .user = {"[INST]", "[/INST]"},
     .assistant = {"", "{eos}"},
     .reply = "",
     .traits = SL_CHAT_ALTERNATES | SL_CHAT_SYSTEM_IN_LAST_USER},
    {.name = "mistral v7",
     .marks = {"{{bos_token}}{%for message in messages%}{%if message['role']=='user'%}"
               "{{'[INST] '+message['content']+'[/INST]'}}{%elif message['role']=='system'%}"
               "{{'[SYSTEM_PROMPT] '+message['content']+'[/SYSTEM_PROMPT]'}}"
               "{%elif message['role']=='assistant'%}{{' '+message['content']+eos_token}}"},
     .first_system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .system = {"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"},
     .user = {"[INST] ", "[/INST]"},
     .assistant = {" ", "{eos}"},
     .reply = ""},
    {.name = "zephyr",
     .marks =
         {"{{'<|user|>\n'+message['content']+eos_token+'\n'}}{%elif message['role']=='system'%}"
          "{{'<|system|>\n'+message['content']+eos_token+'\n'}}"
          "{%elif message['role']=='assistant'%}"
          "{{'<|assistant|>\n'+message['content']+eos_token+'\n'}}{%endif%}"
          "{%if loop['last']and add_generation_prompt%}{{'<|assistant|>\n'}}{%endif%}"
          "{%endfor%}"},
     .first_system = {"<|system|>\n", "{eos}\n"},
     .system = {"<|system|>\n", "{eos}\n"},
     .user = {"<|user|>\n", "{eos}\n"},
     .assistant = {"<|assistant|>\n", "{eos}\n"},
     .reply = "<|assistant|>\n"},
    {.name = "phi 3, without a system message",
     .marks = {"{%if(message['role']=='user')%}"
               "{{'<|user|>\n'+message['content']+'<|end|>\n<|assistant|>\n'}}"
               "{%elif(message['role']=='assistant')%}{{message['content']+'<|end|>\n'}}{%endif%}"
               "{%endfor%}"},
     .foreign = {"system"},
     .user = {"<|user|>\n", "<|end|>\n<|assistant|>\n"},
     .assistant = {"", "<|end|>\n"},
     .reply = ""},
    {.name = "phi 3",
     .marks = {"{%for message in messages%}{%if message['role']=='system'%}" PHI3_TURNS},
     .first_system = {"<|system|>\n", "<|end|>\n"},
     .system = {"<|system|>\n", "<|end|>\n"},
     .user = {"<|user|>\n", "<|end|>\n"},
     .assistant = {"<|assistant|>\n", "<|end|>\n"},
     .reply = "<|assistant|>\n"},
    {.name = "phi 3.5",
     .marks = {"{%for message in messages%}"
               "{%if message['role']=='system'and message['content']%}" PHI3_TURNS},
     .first_system = {"<|system|>\n", "<|end|>\n"},
     .system = {"<|system|>\n", "<|end|>\n"},
     .user = {"<|user|>\n", "<|end|>\n"},
     .assistant = {"<|assistant|>\n", "<|end|>\n"},
     .reply = "<|assistant|>\n",
     .traits = SL_CHAT_NO_EMPTY_SYSTEM},
};
enum { N_FORMS = sizeof FORMS / sizeof *FORMS };

static bool holds(sl_text template, const char *text)
{
    return memmem(template.data, template.bytes, text, strlen(text)) != NULL;
}

static bool is_form(const sl_chat_form *form, sl_text template)
{
    for (int i = 0; i < SL_CHAT_MARKS_MAX && form->marks[i]; i++)
        if (!holds(template, form->marks[i])) return false;
    for (int i = 0; i < SL_CHAT_FOREIGN_MAX && form->foreign[i]; i++)
        if (holds(template, form->foreign[i])) return false;
    return true;
}

const sl_chat_form *sl_chat_form_find(sl_text template)
{
    for (int i = 0; i < N_FORMS; i++)
        if (is_form(&FORMS[i], template)) return &FORMS[i];
    return NULL;
}

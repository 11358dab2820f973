/* runtime/model/chat.c - see chat.h. A table of templates, each known by what it must contain. */
#include "runtime/model/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

/* A message is: before_role role after_role content after_content; the reply starts after
 * before_role "assistant" after_role. Only this text is parsed for special tokens. */
typedef struct {
    const char *name;
    const char *marks[3]; /* all of them are in the template */
    const char *foreign;  /* and this is not: a template that does more than we know */
    const char *before_role, *after_role, *after_content;
} template_form;

static const template_form FORMS[] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>", "message['role']"},
     "tool",
     "<|im_start|>",
     "\n",
     "<|im_end|>\n"},
};
enum { N_FORMS = sizeof FORMS / sizeof *FORMS };

struct sl_chat {
    const template_form *form;
    const sl_tokenizer *tokenizer;
    char *default_system; /* what the template says when the conversation has no system message */
};

const char *sl_chat_unknown_text(void)
{
    return "the model's chat template is missing or not known: send the whole prompt as text "
           "instead "
           "(/v1/completions, or run without --chat)";
}

static const char *find(sl_text text, const char *mark)
{
    return memmem(text.data, text.bytes, mark, strlen(mark));
}

/* Templates that speak for a silent user hold, inside one Jinja string, before_role "system"
 * after_role TEXT after_content, with newlines written \n or as they are. */
static sl_status read_default_system(const template_form *form, sl_text template, char **out)
{
    *out = NULL;
    char start[64];
    snprintf(start, sizeof start, "'%ssystem", form->before_role);
    const char *at = find(template, start);
    if (!at) return SL_OK;
    at += strlen(start);
    size_t left = template.bytes - (size_t)(at - template.data),
           stem = strcspn(form->after_content, "\n");
    size_t line_end = left >= 1 && at[0] == '\n'               ? 1
                      : left >= 2 && memcmp(at, "\\n", 2) == 0 ? 2
                                                               : 0;
    if (line_end == 0) return SL_OK;
    at += line_end;
    left -= line_end;
    const char *end = memmem(at, left, form->after_content, stem);
    if (!end || memchr(at, '\'', (size_t)(end - at))) return SL_OK;
    char *to = *out = malloc((size_t)(end - at) + 1);
    if (!to) return SL_ERR_MEMORY;
    while (at < end) { /* a newline may be written as it is, or escaped */
        bool escaped = end - at >= 2 && memcmp(at, "\\n", 2) == 0;
        *to++ = escaped ? '\n' : *at;
        at += escaped ? 2 : 1;
    }
    *to = '\0';
    return SL_OK;
}

sl_status sl_chat_open(const sl_gguf *gguf, const sl_tokenizer *tokenizer, sl_chat **chat_out)
{
    *chat_out = NULL;
    sl_text template;
    if (!sl_gguf_text(gguf, "tokenizer.chat_template", &template)) return SL_ERR_UNSUPPORTED;
    for (int i = 0; i < N_FORMS; i++) {
        const template_form *form = &FORMS[i];
        bool known = !find(template, form->foreign);
        for (int m = 0; m < 3; m++) known &= find(template, form->marks[m]) != NULL;
        if (!known) continue;
        sl_chat *chat = calloc(1, sizeof *chat);
        if (!chat) return SL_ERR_MEMORY;
        *chat = (sl_chat){.form = form, .tokenizer = tokenizer};
        sl_status status = read_default_system(form, template, &chat->default_system);
        if (status != SL_OK) {
            sl_chat_close(chat);
            return status;
        }
        *chat_out = chat;
        return SL_OK;
    }
    return SL_ERR_UNSUPPORTED;
}

void sl_chat_close(sl_chat *chat)
{
    if (!chat) return;
    free(chat->default_system);
    free(chat);
}

static sl_status add(const sl_chat *chat, const char *text, size_t bytes, sl_special special,
                     sl_tokens *out)
{
    return sl_tokenizer_encode(chat->tokenizer, text, bytes, special, out);
}

static bool is(sl_text text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.data, word, text.bytes) == 0;
}

/* `head` and `text` and `tail` are one string to the model's own tokenizer, so what is merged across
 * their borders must be merged here: text between two special tokens is encoded as one. */
static sl_status add_message(const sl_chat *chat, sl_text role, sl_text content, sl_tokens *out)
{
    const template_form *f = chat->form;
    size_t n_after = strlen(f->after_role);
    char *text = malloc(role.bytes + n_after + content.bytes + 1);
    if (!text) return SL_ERR_MEMORY;
    memcpy(text, role.data, role.bytes);
    memcpy(text + role.bytes, f->after_role, n_after);
    if (content.bytes) memcpy(text + role.bytes + n_after, content.data, content.bytes);
    sl_status status = add(chat, f->before_role, strlen(f->before_role), SL_SPECIAL_PARSED, out);
    if (status == SL_OK)
        status = add(chat, text, role.bytes + n_after + content.bytes, SL_SPECIAL_AS_TEXT, out);
    if (status == SL_OK)
        status = add(chat, f->after_content, strlen(f->after_content), SL_SPECIAL_PARSED, out);
    free(text);
    return status;
}

sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out)
{
    const template_form *f = chat->form;
    sl_status status = SL_OK;
    if (chat->default_system && n_messages > 0 && !is(messages[0].role, "system")) {
        sl_text role = {"system", 6},
                content = {chat->default_system, strlen(chat->default_system)};
        status = add_message(chat, role, content, out);
    }
    for (size_t i = 0; i < n_messages && status == SL_OK; i++) {
        sl_text role = messages[i].role;
        if (!is(role, "system") && !is(role, "user") && !is(role, "assistant"))
            return SL_ERR_REQUEST;
        status = add_message(chat, role, messages[i].content, out);
    }
    if (status != SL_OK) return status;
    char reply[64];
    int n = snprintf(reply, sizeof reply, "%sassistant%s", f->before_role, f->after_role);
    return add(chat, reply, (size_t)n, SL_SPECIAL_PARSED, out);
}

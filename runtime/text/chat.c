/* runtime/text/chat.c - see chat.h. A conversation becomes parts: the template's own text, where
 * special tokens are parsed, and contents, where they are not. The tokenizer takes all of them as
 * one text, so what merges across their borders is merged, as it would be in the rendered
 * template. */
#include "runtime/text/chat.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/utf8.h"
#include "runtime/text/chat_forms.h"
#include "runtime/text/template_text.h"

struct sl_chat {
    const sl_chat_form *form;
    const sl_tokenizer *tokenizer;
    bool begins_with_bos;
    char *default_system; /* what the template says when the conversation has no system message */
};

const char *sl_chat_unknown_text(void)
{
    return "the model's chat template is missing or not known (known: llama 2 and 3, mistral, "
           "zephyr, "
           "qwen, phi 3, ChatML): send the whole prompt as text instead "
           "(/v1/completions, or run without --chat)";
}

/* ---- recognizing ---- */

static char *unescape(sl_text text)
{
    char *out = malloc(text.bytes + 1), *to = out;
    if (!out) return NULL;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == '\\') i++;
        *to++ = text.data[i];
    }
    *to = '\0';
    return out;
}

static sl_status recognize(sl_chat *chat, sl_text template)
{
    char *text;
    sl_chat_match match;
    sl_status status = sl_template_text(template, &text);
    if (status != SL_OK) return status;
    if (sl_chat_form_find(text, &match)) {
        const sl_tokenizer *t = chat->tokenizer;
        chat->form = match.form;
        chat->begins_with_bos = sl_tokenizer_adds_bos(t) ||
                                (match.prints_bos && sl_tokenizer_bos(t) >= 0);
        if (match.form->traits & SL_CHAT_SYSTEM_DEFAULT &&
            !(chat->default_system = unescape(match.default_system)))
            status = SL_ERR_MEMORY;
    } else {
        status = SL_ERR_UNSUPPORTED;
    }
    free(text);
    return status;
}

sl_status sl_chat_open_template(sl_text template, const sl_tokenizer *tokenizer, sl_chat **chat_out)
{
    *chat_out = NULL;
    sl_chat *chat = calloc(1, sizeof *chat);
    if (!chat) return SL_ERR_MEMORY;
    chat->tokenizer = tokenizer;
    sl_status status = recognize(chat, template);
    if (status == SL_OK) {
        *chat_out = chat;
    } else {
        sl_chat_close(chat);
    }
    return status;
}

sl_status sl_chat_open(const sl_gguf *gguf, const sl_tokenizer *tokenizer, sl_chat **chat_out)
{
    *chat_out = NULL;
    sl_text template;
    if (!sl_gguf_text(gguf, "tokenizer.chat_template", &template)) return SL_OK;
    sl_status status = sl_chat_open_template(template, tokenizer, chat_out);
    return status == SL_ERR_UNSUPPORTED ? SL_OK : status;
}

void sl_chat_close(sl_chat *chat)
{
    if (!chat) return;
    free(chat->default_system);
    free(chat);
}

const char *sl_chat_name(const sl_chat *chat) { return chat->form->name; }

/* ---- parts ---- */

typedef struct {
    const sl_chat *chat;
    sl_text_part *parts;
    size_t n, capacity;
    sl_status status; /* of memory: what comes after an error is left out */
} rendering;

static void add_part(rendering *r, sl_text text, sl_special special)
{
    if (r->status != SL_OK) return;
    if (r->n == r->capacity) {
        size_t capacity = 2 * r->capacity + 16;
        sl_text_part *parts = realloc(r->parts, capacity * sizeof *parts);
        if (!parts) {
            sl_error("no memory for a conversation of %zu parts", capacity);
            r->status = SL_ERR_MEMORY;
            return;
        }
        r->parts = parts;
        r->capacity = capacity;
    }
    r->parts[r->n++] = (sl_text_part){text, special};
}

static void add_content(rendering *r, sl_text text) { add_part(r, text, SL_SPECIAL_AS_TEXT); }

/* Text of the form, {bos} and {eos} replaced. */
static void add_own(rendering *r, const char *text)
{
    const sl_tokenizer *t = r->chat->tokenizer;
    while (*text) {
        bool bos = strncmp(text, "{bos}", 5) == 0, eos = strncmp(text, "{eos}", 5) == 0;
        if (bos || eos) {
            int32_t id = bos ? sl_tokenizer_bos(t) : sl_tokenizer_eos(t);
            add_part(r, sl_tokenizer_piece(t, id), SL_SPECIAL_PARSED);
            text += 5;
            continue;
        }
        size_t n = 1 + strcspn(text + 1, "{");
        add_part(r, (sl_text){text, n}, SL_SPECIAL_PARSED);
        text += n;
    }
}

/* ---- white space, as Python's str.strip has it ---- */

static sl_text strip_left(sl_text text)
{
    for (size_t n; (n = sl_utf8_blank_bytes(text.data, text.bytes)) > 0; text.bytes -= n)
        text.data += n;
    return text;
}

static sl_text strip_right(sl_text text)
{
    for (size_t n; (n = sl_utf8_blank_bytes_before(text.data, text.bytes)) > 0;) text.bytes -= n;
    return text;
}

/* Parts from `first` on are one text to be stripped. */
static void strip_parts(rendering *r, size_t first)
{
    for (size_t i = first; i < r->n; i++) {
        r->parts[i].text = strip_left(r->parts[i].text);
        if (r->parts[i].text.bytes > 0) break;
    }
    for (size_t i = r->n; i-- > first;) {
        r->parts[i].text = strip_right(r->parts[i].text);
        if (r->parts[i].text.bytes > 0) break;
    }
}

/* ---- messages ---- */

/* `system`, NULL or a message to put in front of the content. */
static void add_turn(rendering *r, const sl_chat_wrap *wrap, const sl_text *system, sl_text content,
                     unsigned trims)
{
    const sl_chat_form *form = r->chat->form;
    add_own(r, wrap->before);
    size_t first = r->n;
    if (system) {
        add_own(r, form->user_system.before);
        add_content(r, *system);
        add_own(r, form->user_system.after);
    }
    add_content(r, content);
    if (form->traits & trims) strip_parts(r, first);
    add_own(r, wrap->after);
}

static sl_text strip_lines(sl_text text)
{
    for (; text.bytes > 0 && text.data[0] == '\n'; text.bytes--) text.data++;
    while (text.bytes > 0 && text.data[text.bytes - 1] == '\n') text.bytes--;
    return text;
}

/* The last place in the text after `mark`, or NULL. */
static const char *after_last(sl_text text, const char *mark)
{
    size_t bytes = strlen(mark);
    const char *found = NULL, *at = text.data, *end = text.data + text.bytes;
    while ((at = memmem(at, (size_t)(end - at), mark, bytes))) found = at += bytes;
    return found;
}

/* Qwen 3 leaves out what was thought before the last question, and writes it again after it. */
static void add_thoughts(rendering *r, sl_text content, bool asked, bool last)
{
    const sl_chat_wrap *wrap = &r->chat->form->assistant;
    const char *end = content.data + content.bytes, *answer = after_last(content, "</think>");
    sl_text thought = {content.data, 0};
    if (answer) {
        const char *closed = memmem(content.data, content.bytes, "</think>", 8);
        thought.bytes = (size_t)(closed - content.data);
        const char *opened = after_last(thought, "<think>");
        if (opened) thought = (sl_text){opened, (size_t)(closed - opened)};
        thought = strip_lines(thought);
        content = (sl_text){answer, (size_t)(end - answer)};
    }
    bool shown = asked && (last || thought.bytes > 0);
    while ((answer || shown) && content.bytes > 0 && *content.data == '\n')
        content = (sl_text){content.data + 1, content.bytes - 1};
    add_own(r, wrap->before);
    if (shown) {
        add_own(r, "<think>\n");
        add_content(r, thought);
        add_own(r, "\n</think>\n\n");
    }
    add_content(r, content);
    add_own(r, wrap->after);
}

static bool is_tool_response(sl_text text)
{
    static const char open[] = "<tool_response>", close[] = "</tool_response>";
    size_t n_open = sizeof open - 1, n_close = sizeof close - 1;
    return text.bytes >= n_close && memcmp(text.data, open, n_open) == 0 &&
           memcmp(text.data + text.bytes - n_close, close, n_close) == 0;
}

/* The index of the last question; n when there is none. */
static size_t last_question(const sl_chat_message *messages, size_t n)
{
    for (size_t i = n; i-- > 0;)
        if (sl_text_is(messages[i].role, "user") && !is_tool_response(messages[i].content))
            return i;
    return n;
}

/* ---- a conversation ---- */

static const sl_chat_wrap *wrap_of(const sl_chat_form *form, sl_text role)
{
    const sl_chat_wrap *wrap = sl_text_is(role, "user")        ? &form->user
                               : sl_text_is(role, "assistant") ? &form->assistant
                               : sl_text_is(role, "system")    ? &form->system
                                                               : NULL;
    return wrap && wrap->before ? wrap : NULL;
}

/* What the messages after a first system message print. *system: one that must go into a user's
 * message; NULL once it has. */
static sl_status add_messages(rendering *r, const sl_chat_message *messages, size_t n,
                              const sl_text **system)
{
    const sl_chat_form *form = r->chat->form;
    size_t question = last_question(messages, n);
    for (size_t i = 0; i < n; i++) {
        sl_text content = messages[i].content;
        bool user = sl_text_is(messages[i].role, "user"),
             assistant = sl_text_is(messages[i].role, "assistant");
        const sl_chat_wrap *wrap = wrap_of(form, messages[i].role);
        if (!wrap || (form->traits & SL_CHAT_ALTERNATES && user != (i % 2 == 0)))
            return SL_ERR_REQUEST;
        if (assistant && form->traits & SL_CHAT_THINKS) {
            add_thoughts(r, content, i > question, i == n - 1);
        } else if (user && *system && (form->traits & SL_CHAT_SYSTEM_IN_FIRST_USER || i == n - 1)) {
            add_turn(r, wrap, *system, content, SL_CHAT_TRIMS_ALL);
            *system = NULL;
        } else if (user || assistant || content.bytes > 0 ||
                   !(form->traits & SL_CHAT_NO_EMPTY_SYSTEM)) {
            add_turn(r, wrap, NULL, content,
                     assistant ? SL_CHAT_TRIMS_ALL | SL_CHAT_TRIMS_ASSISTANT : SL_CHAT_TRIMS_ALL);
        }
    }
    return SL_OK;
}

static sl_status add_conversation(rendering *r, const sl_chat_message *messages, size_t n)
{
    const sl_chat_form *form = r->chat->form;
    const sl_text none = {"", 0}, *system = NULL;
    sl_text said = none;
    if (r->chat->default_system)
        said = (sl_text){r->chat->default_system, strlen(r->chat->default_system)};
    size_t first = n > 0 && sl_text_is(messages[0].role, "system");
    if (first) {
        system = &messages[0].content;
    } else if (n > 0 && form->traits & (SL_CHAT_SYSTEM_DEFAULT | SL_CHAT_SYSTEM_ALWAYS)) {
        system = &said;
    }
    if (system && !form->user_system.before) {
        if (!form->first_system.before) return SL_ERR_REQUEST;
        if (system->bytes > 0 || !(form->traits & SL_CHAT_NO_EMPTY_SYSTEM))
            add_turn(r, &form->first_system, NULL, *system, SL_CHAT_TRIMS_ALL);
        system = NULL;
    }
    sl_status status = add_messages(r, messages + first, n - first, &system);
    if (status == SL_OK && system) status = SL_ERR_REQUEST; /* it would be lost */
    if (status == SL_OK) add_own(r, form->reply);
    return status == SL_OK ? r->status : status;
}

sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out)
{
    rendering r = {.chat = chat};
    int32_t bos = sl_tokenizer_bos(chat->tokenizer);
    size_t at = out->n;
    sl_status status = add_conversation(&r, messages, n_messages);
    if (status == SL_OK && chat->begins_with_bos) status = sl_tokens_add(out, bos);
    if (status == SL_OK) status = sl_tokenizer_encode_parts(chat->tokenizer, r.parts, r.n, out);
    bool twice = status == SL_OK && out->n - at >= 2 && out->ids[at] == bos &&
                 out->ids[at + 1] == bos && chat->begins_with_bos;
    if (twice) memmove(&out->ids[at], &out->ids[at + 1], (--out->n - at) * sizeof *out->ids);
    free(r.parts);
    return status;
}

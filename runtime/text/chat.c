/* runtime/text/chat.c - see chat.h. What the template prints becomes parts: its own text, where
 * special tokens are parsed, and what the conversation said, where they are not. The tokenizer
 * takes all of them as one text, so what merges across their borders is merged, as it would be in
 * the rendered template. */
#include "runtime/text/chat.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/utf8.h"

struct sl_chat {
    sl_jinja *jinja;      /* NULL: the template cannot be run */
    sl_jinja_error error; /* why */
    const sl_tokenizer *tokenizer;
    sl_chat_form form;
    bool knows_thoughts; /* the template mentions <think> or </think> */
    bool has_date;
    struct tm date;
};

const char *sl_chat_missing_text(void)
{
    return "the model has no chat template: send the whole prompt as text instead "
           "(/v1/completions, or run without --chat)";
}

static bool mentions(sl_text text, const char *word)
{
    return text.bytes > 0 && memmem(text.data, text.bytes, word, strlen(word));
}

sl_status sl_chat_open_template(sl_text template, const sl_tokenizer *tokenizer, sl_chat **chat_out)
{
    *chat_out = NULL;
    sl_chat *chat = calloc(1, sizeof *chat);
    const sl_status status = chat ? sl_jinja_open(template.data, template.bytes, &chat->jinja,
                                                  &chat->error)
                                  : SL_ERR_MEMORY;
    if (status == SL_ERR_MEMORY) {
        sl_error("no memory for a chat template of %zu bytes", template.bytes);
        free(chat);
        return status;
    }
    chat->tokenizer = tokenizer;
    chat->knows_thoughts = mentions(template, "<think>") || mentions(template, "</think>");
    if (chat->jinja) chat->form = sl_chat_probe(chat->jinja);
    *chat_out = chat;
    return SL_OK;
}

sl_status sl_chat_open(const sl_gguf *gguf, const sl_tokenizer *tokenizer, sl_chat **chat_out)
{
    *chat_out = NULL;
    sl_text template;
    if (!sl_gguf_text(gguf, "tokenizer.chat_template", &template)) return SL_OK;
    return sl_chat_open_template(template, tokenizer, chat_out);
}

void sl_chat_close(sl_chat *chat)
{
    if (!chat) return;
    sl_jinja_close(chat->jinja);
    free(chat);
}

const char *sl_chat_wrong(const sl_chat *chat) { return chat->jinja ? NULL : chat->error.text; }

void sl_chat_set_date(sl_chat *chat, struct tm date)
{
    chat->date = date;
    chat->has_date = true;
}

const sl_chat_form *sl_chat_form_of(const sl_chat *chat) { return &chat->form; }

/* ---- names ---- */

sl_jinja_value sl_chat_role(sl_jinja_memory *memory, sl_text role)
{
    static const char *const known[] = {"system", "developer", "user", "assistant", "tool"};
    sl_jinja_origin origin = SL_JINJA_GIVEN;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (sl_text_is(role, known[i])) origin = SL_JINJA_OWN;
    return sl_jinja_string_copy(memory, role.data, role.bytes, origin);
}

static sl_jinja_value messages_of(sl_jinja_memory *memory, const sl_chat_message *messages,
                                  size_t n)
{
    const sl_jinja_value list = sl_jinja_list_new(memory, SL_JINJA_LIST);
    for (size_t i = 0; i < n; i++) {
        const sl_jinja_value message = sl_jinja_dict_new(memory);
        const sl_text content = messages[i].content;
        sl_jinja_dict_set_own(memory, message, "role", sl_chat_role(memory, messages[i].role));
        sl_jinja_dict_set_own(
            memory, message, "content",
            sl_jinja_string_copy(memory, content.data, content.bytes, SL_JINJA_GIVEN));
        sl_jinja_list_add(memory, list, message);
    }
    return list;
}

static void add_default(sl_jinja_memory *memory, sl_jinja_value names, const char *name,
                        sl_jinja_value value)
{
    if (names.kind == SL_JINJA_DICT &&
        !sl_jinja_dict_find_text(names.dict, sl_jinja_text_own(name)))
        sl_jinja_dict_set_own(memory, names, name, value);
}

/* The text of a special token, "" where the file has none. */
static sl_jinja_value token_text(sl_jinja_memory *memory, const sl_tokenizer *tokenizer, int32_t id)
{
    const sl_text piece = sl_tokenizer_piece(tokenizer, id);
    return sl_jinja_string_copy(memory, piece.data, piece.bytes, SL_JINJA_OWN);
}

/* ---- tokens ---- */

static sl_status encode_output(const sl_chat *chat, const sl_jinja_output *printed, sl_tokens *out)
{
    sl_text_part *parts = malloc((printed->n_parts + 1) * sizeof *parts);
    if (!parts) {
        sl_error("no memory for a conversation of %zu parts", printed->n_parts);
        return SL_ERR_MEMORY;
    }
    size_t at = 0;
    for (size_t i = 0; i < printed->n_parts; at = printed->parts[i++].end)
        parts[i] = (sl_text_part){{printed->text + at, printed->parts[i].end - at},
                                  printed->parts[i].given ? SL_SPECIAL_AS_TEXT : SL_SPECIAL_PARSED};
    const sl_status status = sl_tokenizer_encode_parts(chat->tokenizer, parts, printed->n_parts,
                                                       out);
    free(parts);
    return status;
}

/* Once, at the beginning of what was added from `at` on: a template may begin with the BOS that it
 * prints before. */
static sl_status put_bos(const sl_chat *chat, size_t at, sl_tokens *out)
{
    const int32_t bos = sl_tokenizer_bos(chat->tokenizer), *ids = out->ids;
    const size_t n = out->n - at;
    if (bos >= 0 && n >= 2 && ids[at] == bos && ids[at + 1] == bos) {
        memmove(&out->ids[at], &ids[at + 1], (n - 1) * sizeof *ids);
        out->n--;
    }
    if (!sl_tokenizer_adds_bos(chat->tokenizer) || (n > 0 && ids[at] == bos)) return SL_OK;
    const sl_status status = sl_tokens_add(out, bos);
    if (status != SL_OK) return status;
    memmove(&out->ids[at + 1], &out->ids[at], n * sizeof *ids);
    out->ids[at] = bos;
    return SL_OK;
}

/* ---- printing ---- */

/* Of the templates in tests/golden/templates, with a text of 200 KB, they take up to 15 times its
 * bytes, since each "+" makes a new text; with 2,000 short messages up to 12 MB, with 60 tools up
 * to 3 MB, since some put everything together again for each message or tool. */
enum { RENDER_BYTES = 16 << 20, RENDER_BYTES_EACH = 24 };

size_t sl_chat_render_bytes(size_t given_bytes)
{
    return RENDER_BYTES + RENDER_BYTES_EACH * given_bytes;
}

/* The longest of those templates has 17 KB, and each prints a text that it is given once; tools may
 * be indented. Each of these bytes is planned to take SL_ENCODE_BYTES. */
enum { PRINTED_BYTES = 128 << 10, PRINTED_BYTES_EACH = 2 };

size_t sl_chat_printed_bytes_max(size_t given_bytes)
{
    return PRINTED_BYTES + PRINTED_BYTES_EACH * given_bytes;
}

size_t sl_chat_encode_bytes(size_t given_bytes)
{
    return sl_chat_render_bytes(given_bytes) +
           SL_ENCODE_BYTES * sl_chat_printed_bytes_max(given_bytes);
}

/* What is not among the names yet, as transformers has it. SL_ERR_MEMORY, logged. */
static sl_status complete_names(const sl_chat *chat, sl_jinja_memory *memory, sl_jinja_value names)
{
    const sl_tokenizer *t = chat->tokenizer;
    add_default(memory, names, "bos_token", token_text(memory, t, sl_tokenizer_bos(t)));
    add_default(memory, names, "eos_token", token_text(memory, t, sl_tokenizer_eos(t)));
    add_default(memory, names, "add_generation_prompt", sl_jinja_boolean(true));
    add_default(memory, names, "tools", sl_jinja_none);
    add_default(memory, names, "documents", sl_jinja_none);
    if (!memory->refused) return SL_OK;
    sl_error("no memory for what a chat template is given");
    return SL_ERR_MEMORY;
}

static sl_status render(const sl_chat *chat, sl_jinja_value names, const sl_chat_bounds *bounds,
                        sl_jinja_output *out, sl_jinja_error *error)
{
    sl_jinja_options options = {.limits = sl_jinja_limits_usual(),
                                .now = chat->has_date ? &chat->date : NULL};
    options.limits.memory_bytes = sl_chat_render_bytes(bounds->given_bytes);
    options.limits.output_bytes = bounds->printed_bytes;
    const sl_status status = sl_jinja_run(chat->jinja, names, &options, out, error);
    if (status == SL_ERR_MEMORY) sl_error("no memory for what a chat template prints");
    if (status == SL_ERR_REQUEST && error->cause == SL_JINJA_TIME_UNSET)
        snprintf(error->text, sizeof error->text,
                 "chat template, line %u: it tells the model the date: give one with "
                 "--template-date YYYY-MM-DD",
                 (unsigned)error->line);
    if (status == SL_ERR_REQUEST && error->cause == SL_JINJA_TOO_LONG)
        snprintf(error->text, sizeof error->text,
                 "chat template, line %u: it prints more than %zu bytes of a conversation of %zu: "
                 "is it meant for chats? --chat-template takes another",
                 (unsigned)error->line, bounds->printed_bytes, bounds->given_bytes);
    return status;
}

/* The template's own words at the end of the prompt decide, not what somebody said in it. */
static sl_chat_thought thought_of(const sl_chat *chat, const sl_jinja_output *printed)
{
    static const char mark[] = "<think>";
    const size_t mark_bytes = sizeof mark - 1;
    if (!chat->knows_thoughts) return SL_CHAT_NO_THOUGHT;
    if (printed->n_parts == 0 || printed->parts[printed->n_parts - 1].given)
        return SL_CHAT_MAY_THINK;
    size_t end = printed->bytes;
    for (size_t n; (n = sl_utf8_blank_bytes_before(printed->text, end)) > 0;) end -= n;
    return end >= mark_bytes && memcmp(printed->text + end - mark_bytes, mark, mark_bytes) == 0
               ? SL_CHAT_THINKS
               : SL_CHAT_MAY_THINK;
}

sl_status sl_chat_encode_names(const sl_chat *chat, sl_jinja_memory *memory, sl_jinja_value names,
                               const sl_chat_bounds *bounds, sl_tokens *out,
                               sl_chat_thought *thought_out, sl_jinja_error *error)
{
    sl_jinja_output printed;
    *error = chat->error;
    if (!chat->jinja) return SL_ERR_REQUEST;
    sl_status status = complete_names(chat, memory, names);
    if (status == SL_OK) status = render(chat, names, bounds, &printed, error);
    if (status != SL_OK) return status;
    const size_t at = out->n;
    *thought_out = thought_of(chat, &printed);
    status = encode_output(chat, &printed, out);
    if (status == SL_OK) status = put_bos(chat, at, out);
    sl_jinja_output_free(&printed);
    return status;
}

sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out, sl_jinja_error *error)
{
    sl_jinja_memory memory;
    sl_jinja_memory_init(&memory, SIZE_MAX);
    const sl_jinja_value names = sl_jinja_dict_new(&memory);
    sl_jinja_dict_set_own(&memory, names, "messages", messages_of(&memory, messages, n_messages));
    sl_chat_bounds bounds = {.given_bytes = 0};
    for (size_t i = 0; i < n_messages; i++) bounds.given_bytes += messages[i].content.bytes;
    bounds.printed_bytes = sl_chat_printed_bytes_max(bounds.given_bytes);
    sl_chat_thought thought;
    const sl_status status = sl_chat_encode_names(chat, &memory, names, &bounds, out, &thought,
                                                  error);
    sl_jinja_memory_fini(&memory);
    return status;
}

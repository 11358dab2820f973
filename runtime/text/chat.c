/* runtime/text/chat.c - see chat.h. What the template prints becomes parts: its own text, where
 * special tokens are parsed, and what the conversation said, where they are not. The tokenizer
 * takes all of them as one text, so what merges across their borders is merged, as it would be in
 * the rendered template. */
#include "runtime/text/chat.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

struct sl_chat {
    sl_jinja *jinja;      /* NULL: the template cannot be run */
    sl_jinja_error error; /* why */
    const sl_tokenizer *tokenizer;
};

const char *sl_chat_missing_text(void)
{
    return "the model has no chat template: send the whole prompt as text instead "
           "(/v1/completions, or run without --chat)";
}

sl_status sl_chat_open_template(sl_text template, const sl_tokenizer *tokenizer, sl_chat **chat_out)
{
    *chat_out = NULL;
    sl_chat *chat = calloc(1, sizeof *chat);
    if (!chat) return SL_ERR_MEMORY;
    chat->tokenizer = tokenizer;
    const sl_status status = sl_jinja_open(template.data, template.bytes, &chat->jinja,
                                           &chat->error);
    if (status == SL_OK || status == SL_ERR_FORMAT) {
        *chat_out = chat;
        return SL_OK;
    }
    sl_chat_close(chat);
    return status;
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

sl_status sl_chat_encode_names(const sl_chat *chat, sl_jinja_memory *memory, sl_jinja_value names,
                               size_t bytes_max, sl_tokens *out, sl_jinja_error *error)
{
    const sl_tokenizer *t = chat->tokenizer;
    sl_jinja_options options = {.limits = sl_jinja_limits_usual()};
    sl_jinja_output printed;
    if (bytes_max < options.limits.output_bytes) options.limits.output_bytes = bytes_max;
    *error = chat->error;
    if (!chat->jinja) return SL_ERR_REQUEST;
    add_default(memory, names, "bos_token", token_text(memory, t, sl_tokenizer_bos(t)));
    add_default(memory, names, "eos_token", token_text(memory, t, sl_tokenizer_eos(t)));
    add_default(memory, names, "add_generation_prompt", sl_jinja_boolean(true));
    add_default(memory, names, "tools", sl_jinja_none);
    add_default(memory, names, "documents", sl_jinja_none);
    if (memory->refused) {
        sl_error("no memory for what a chat template is given");
        return SL_ERR_MEMORY;
    }
    sl_status status = sl_jinja_run(chat->jinja, names, &options, &printed, error);
    if (status != SL_OK) return status;
    const size_t at = out->n;
    status = encode_output(chat, &printed, out);
    if (status == SL_OK) status = put_bos(chat, at, out);
    sl_jinja_output_free(&printed);
    return status;
}

/* More than that no template makes of a conversation that is meant to be read. */
enum { TEMPLATE_ADDS_BYTES = 1 << 20, TEMPLATE_REPEATS = 4 };

sl_status sl_chat_encode(const sl_chat *chat, const sl_chat_message *messages, size_t n_messages,
                         sl_tokens *out, sl_jinja_error *error)
{
    sl_jinja_memory memory;
    sl_jinja_memory_init(&memory, SIZE_MAX);
    const sl_jinja_value names = sl_jinja_dict_new(&memory);
    sl_jinja_dict_set_own(&memory, names, "messages", messages_of(&memory, messages, n_messages));
    size_t bytes = TEMPLATE_ADDS_BYTES;
    for (size_t i = 0; i < n_messages; i++) bytes += TEMPLATE_REPEATS * messages[i].content.bytes;
    const sl_status status = sl_chat_encode_names(chat, &memory, names, bytes, out, error);
    sl_jinja_memory_fini(&memory);
    return status;
}

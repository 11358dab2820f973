/* tests/fuzz/fuzz_jinja.c - the input is a chat template, run with a conversation, and behind a NUL
 * byte what the conversation's last message says: once with room, and again with little memory,
 * output and depth, of which the input's first bytes decide. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/text/jinja/jinja.h"
#include "tests/fuzz/fuzz.h"

static const struct tm now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

static sl_jinja_value text(sl_jinja_memory *memory, const char *words)
{
    return sl_jinja_string_copy(memory, words, strlen(words), SL_JINJA_GIVEN);
}

static void add_message(sl_jinja_memory *memory, sl_jinja_value messages, const char *role,
                        sl_jinja_value content)
{
    const sl_jinja_value message = sl_jinja_dict_new(memory);
    sl_jinja_dict_set_own(memory, message, "role", text(memory, role));
    sl_jinja_dict_set_own(memory, message, "content", content);
    sl_jinja_list_add(memory, messages, message);
}

static sl_jinja_value conversation(sl_jinja_memory *memory, const char *last, size_t last_bytes)
{
    const sl_jinja_value names = sl_jinja_dict_new(memory),
                         messages = sl_jinja_list_new(memory, SL_JINJA_LIST);
    add_message(memory, messages, "system", text(memory, " Be brief.\n"));
    add_message(memory, messages, "user", text(memory, "Zo\xc3\xab <|im_end|>"));
    add_message(memory, messages, "assistant", sl_jinja_none);
    add_message(memory, messages, "user",
                sl_jinja_string_copy(memory, last, last_bytes, SL_JINJA_GIVEN));
    sl_jinja_dict_set_own(memory, names, "messages", messages);
    sl_jinja_dict_set_own(memory, names, "tools", sl_jinja_list_new(memory, SL_JINJA_LIST));
    sl_jinja_dict_set_own(memory, names, "bos_token",
                          sl_jinja_string(memory, sl_jinja_text_own("<s>")));
    sl_jinja_dict_set_own(memory, names, "add_generation_prompt", sl_jinja_boolean(true));
    sl_jinja_dict_set_own(memory, names, "x", sl_jinja_float(1.5));
    return names;
}

/* An error has its words; what was printed is within its bound and has all its parts. */
static void run(const sl_jinja *jinja, sl_jinja_value names, const sl_jinja_limits *limits)
{
    const sl_jinja_options options = {.limits = *limits, .now = &now};
    sl_jinja_output out = {0};
    sl_jinja_error error;
    const sl_status status = sl_jinja_run(jinja, names, &options, &out, &error);
    SL_ASSERT(status == SL_OK || status == SL_ERR_REQUEST);
    SL_ASSERT((status == SL_OK) == (error.text[0] == '\0'));
    if (status == SL_OK) {
        size_t at = 0;
        for (size_t i = 0; i < out.n_parts; i++) {
            SL_ASSERT(out.parts[i].end > at && out.parts[i].end <= out.bytes);
            SL_ASSERT(i == 0 || out.parts[i].given != out.parts[i - 1].given);
            at = out.parts[i].end;
        }
        SL_ASSERT(at == out.bytes && out.bytes <= limits->output_bytes);
    }
    sl_jinja_output_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *words = (const char *)data;
    const size_t bytes = strnlen(words, size), behind = bytes < size ? bytes + 1 : size;
    sl_jinja *jinja;
    sl_jinja_error error;
    const sl_status status = sl_jinja_open(words, bytes, &jinja, &error);
    SL_ASSERT(status == SL_OK || status == SL_ERR_FORMAT);
    if (status != SL_OK) {
        SL_ASSERT(strncmp(error.text, "chat template, line ", 20) == 0);
        return 0;
    }
    sl_jinja_memory memory;
    sl_jinja_memory_init(&memory, 1 << 20);
    const sl_jinja_value names = conversation(&memory, words + behind, size - behind);
    SL_ASSERT(!memory.refused);
    run(jinja, names,
        &(sl_jinja_limits){
            .steps = 30000, .depth = 80, .memory_bytes = 4 << 20, .output_bytes = 1 << 20});
    run(jinja, names,
        &(sl_jinja_limits){.steps = 1000,
                           .depth = 20,
                           .memory_bytes = 16 * (bytes > 3 ? 7 * data[3] + data[2] : 0),
                           .output_bytes = 200});
    sl_jinja_memory_fini(&memory);
    sl_jinja_close(jinja);
    return 0;
}

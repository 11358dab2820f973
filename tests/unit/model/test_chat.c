/* tests/unit/model/test_chat.c - every template that is known prints what Jinja prints
 * (tests/golden/tokenizer/templates.jsonl), and one that prints anything else is not known. On a small
 * vocabulary, where ids say the text back; real ones are in test_vocabs_golden.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/model/chat.h"
#include "tests/support/golden_rows.h"
#include "tests/support/seeded.h"
#include "tests/support/synth_vocab.h"

static uint8_t *bytes;
static sl_gguf *gguf;
static sl_tokenizer *tokenizer;

/* No space and no BOS of its own: all there is comes from the template. */
static int setup(void **state)
{
    (void)state;
    size_t n;
    synth_spm spm;
    gguf_writer w = {0};
    synth_spm_init(&spm);
    synth_spm_put(&w, &spm);
    gguf_put_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    gguf_put_bool(&w, "tokenizer.ggml.add_bos_token", false);
    bytes = gguf_writer_encode(&w, &n);
    gguf_writer_fini(&w);
    if (sl_gguf_open_memory(bytes, n, "spm", &gguf) != SL_OK) return -1;
    return sl_tokenizer_open(gguf, &tokenizer);
}

static int teardown(void **state)
{
    (void)state;
    sl_tokenizer_close(tokenizer);
    sl_gguf_close(gguf);
    free(bytes);
    return 0;
}

/* BOS and EOS as the goldens write them. */
static sl_text piece(int32_t id)
{
    if (id == SYNTH_SPM_BOS) return (sl_text){"\xee\x80\x80", 3};
    if (id == SYNTH_SPM_EOS) return (sl_text){"\xee\x80\x81", 3};
    return sl_tokenizer_piece(tokenizer, id);
}

static void check_chat(const json_t *row, const sl_chat *chat)
{
    sl_chat_message messages[GOLDEN_MESSAGES_MAX];
    size_t n = golden_messages(row, messages), at = 0;
    const json_t *text = json_object_get(row, "text");
    sl_tokens got = {0};
    sl_status status = sl_chat_encode(chat, messages, n, &got);
    assert_int_equal(status, json_is_null(text) ? SL_ERR_REQUEST : SL_OK);
    const char *expected = json_string_value(text);
    for (size_t i = 0; status == SL_OK && i < got.n; i++) {
        sl_text said = piece(got.ids[i]);
        if (said.bytes > json_string_length(text) - at ||
            memcmp(expected + at, said.data, said.bytes) != 0)
            fail_msg("%s: at %zu of '%s'", sl_chat_name(chat), at, expected);
        at += said.bytes;
    }
    if (status == SL_OK) assert_int_equal(at, json_string_length(text));
    sl_tokens_free(&got);
}

static void check_template(const json_t *row, void *context)
{
    (void)context;
    const json_t *template = json_object_get(row, "template");
    if (!template) return;
    sl_text text = {json_string_value(template), json_string_length(template)};
    sl_chat *chat;
    sl_status status = sl_chat_open_template(text, tokenizer, &chat);
    if (status != SL_OK) fail_msg("not recognized: %s", text.data);
    assert_string_equal(sl_chat_name(chat), json_string_value(json_object_get(row, "form")));
    size_t i;
    json_t *chat_row;
    json_array_foreach(json_object_get(row, "chats"), i, chat_row) check_chat(chat_row, chat);
    sl_chat_close(chat);
}

static void test_known_templates(void **state)
{
    (void)state;
    golden_each_row("templates.jsonl", 17, check_template, NULL);
}

static sl_status open_text(const char *text, size_t n)
{
    sl_chat *chat;
    char *exact = malloc(n ? n : 1); /* so that a sanitizer sees a step too far */
    memcpy(exact, text, n);
    sl_status status = sl_chat_open_template((sl_text){exact, n}, tokenizer, &chat);
    assert_true((status == SL_OK) == (chat != NULL));
    sl_chat_close(chat);
    free(exact);
    return status;
}

static void test_unknown_templates(void **state)
{
    (void)state;
    static const char *const unknown[] = {
        "",
        "{{ bos_token }}",
        "{%",
        "{{",
        "{#",
        "{#-",
        "{{'",
        "{%- set x = \"",
        "{%+ if x %}",
        "}}{{-}}",
        "{{a.b",
        "{#}",
        /* ChatML but for a blank, a trim, a role of its own, a missing answer */
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + "
        "'<|im_end|>' + '\\n'}} {% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] | trim + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt "
        "%}"
        "{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{{ '<|im_start|>system\\nme<|im_end|>\\n' }}{% for message in messages %}{{'<|im_start|>' "
        "+ "
        "message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
        "message['content'] + "
        "'<|im_end|>' + '\\n'}}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_int_equal(open_text(unknown[i], strlen(unknown[i])), SL_ERR_UNSUPPORTED);
    size_t huge = 1 << 20;
    char *text = calloc(1, huge);
    assert_int_equal(open_text(text, huge), SL_ERR_UNSUPPORTED);
    free(text);
}

/* Any prefix, and any change of some bytes, is known or not, and nothing worse. */
static void check_broken(const json_t *row, void *context)
{
    seeded *random = context;
    const json_t *template = json_object_get(row, "template");
    size_t n = json_string_length(template); /* 0: the row has a file instead */
    if (n == 0) return;
    for (size_t cut = 0; cut < n; cut += 7) open_text(json_string_value(template), cut);
    for (int round = 0; round < 50; round++) {
        static const char odd[] = "{}%#-'\"\\. \n+a";
        char *text = strdup(json_string_value(template));
        for (int i = 0; i < 3; i++)
            text[seeded_below(random, n)] = odd[seeded_below(random, sizeof odd - 1)];
        open_text(text, n);
        free(text);
    }
}

static void test_broken_templates(void **state)
{
    (void)state;
    seeded random = seeded_from(8);
    golden_each_row("templates.jsonl", 17, check_broken, &random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_templates),
        cmocka_unit_test(test_unknown_templates),
        cmocka_unit_test(test_broken_templates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* tests/unit/text/test_chat.c - every template that is known prints what Jinja prints
 * (tests/golden/tokenizer/templates.jsonl), and one that prints anything else is not known. On a
 * small vocabulary, where ids say the text back; real ones are in test_vocabs_golden.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/chat.h"
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
    sl_gguf_writer w = {0};
    synth_spm_init(&spm);
    synth_spm_put(&w, &spm);
    sl_gguf_put_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    sl_gguf_put_bool(&w, "tokenizer.ggml.add_bos_token", false);
    bytes = sl_gguf_writer_encode(&w, &n);
    sl_gguf_writer_fini(&w);
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
    sl_jinja_error error;
    sl_status status = sl_chat_encode(chat, messages, n, &got, &error);
    /* null: Jinja refuses it, or leaves a message out in silence */
    if (!json_is_null(text) && status != SL_OK) fail_msg("%s", error.text);
    if (json_is_null(text)) {
        sl_tokens_free(&got);
        return;
    }
    const char *expected = json_string_value(text);
    for (size_t i = 0; status == SL_OK && i < got.n; i++) {
        sl_text said = piece(got.ids[i]);
        if (said.bytes > json_string_length(text) - at ||
            memcmp(expected + at, said.data, said.bytes) != 0)
            fail_msg("at %zu of '%s'", at, expected);
        at += said.bytes;
    }
    if (status == SL_OK) assert_int_equal(at, json_string_length(text));
    sl_tokens_free(&got);
}

static void check_template(const json_t *row, void *context)
{
    const json_t *template = json_object_get(row, "template");
    if (!template) return;
    sl_text text = {json_string_value(template), json_string_length(template)};
    golden_check_template(row, text, tokenizer, check_chat, context);
}

static void test_known_templates(void **state)
{
    (void)state;
    golden_counts counts = {0};
    golden_each_row("templates.jsonl", 33, check_template, &counts);
    assert_int_equal(counts.templates, 18);
    assert_int_equal(counts.chats, 360);
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

/* What is wrong with a template is said for each conversation. */
static void test_templates_that_cannot_run(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"{% include 'x' %}",
         "chat template, line 1: the statement 'include' is not known or stands in a wrong place"},
        {"a\n{{ messages | foo }}", "chat template, line 2: the filter 'foo' is not known"},
        {"{{ raise_exception('No users') }}", "chat template, line 1: No users"},
    };
    const sl_chat_message message = {{"user", 4}, {"Hi", 2}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sl_chat *chat;
        sl_tokens ids = {0};
        sl_jinja_error error;
        const sl_text text = {wrong[i][0], strlen(wrong[i][0])};
        assert_int_equal(sl_chat_open_template(text, tokenizer, &chat), SL_OK);
        assert_int_equal(sl_chat_encode(chat, &message, 1, &ids, &error), SL_ERR_REQUEST);
        assert_string_equal(error.text, wrong[i][1]);
        assert_int_equal(ids.n, 0);
        sl_chat_close(chat);
    }
}

#define CHATML_LOOP                                                                       \
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'}}" \
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
#define CHATML "{% for message in messages %}" CHATML_LOOP
#define CHATML_DEFAULT(said)                                                               \
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}" \
    "{{ '<|im_start|>system\\n" said "<|im_end|>\\n' }}{% endif %}" CHATML_LOOP
#define LLAMA3                                                                               \
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] " \
    "+ '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}"              \
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"            \
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"                                \
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"

/* ---- what one message prints ---- */

static void assert_says(const sl_tokenizer *t, const char *template, const char *content,
                        const char *expected)
{
    sl_chat *chat;
    sl_chat_message message = {{"user", 4}, {content, strlen(content)}};
    sl_tokens ids = {0};
    char said[256];
    size_t n = 0;
    assert_int_equal(sl_chat_open_template((sl_text){template, strlen(template)}, t, &chat), SL_OK);
    sl_jinja_error error;
    assert_int_equal(sl_chat_encode(chat, &message, 1, &ids, &error), SL_OK);
    for (size_t i = 0; i < ids.n; i++) {
        sl_text piece = sl_tokenizer_piece(t, ids.ids[i]);
        assert_true(n + piece.bytes < sizeof said);
        memcpy(said + n, piece.data, piece.bytes);
        n += piece.bytes;
    }
    said[n] = '\0';
    assert_string_equal(said, expected);
    sl_tokens_free(&ids);
    sl_chat_close(chat);
}
#define IM(role, text) "<|im_start|>" role "\n" text "<|im_end|>\n"
#define IM_ANSWER      "<|im_start|>assistant\n"

static void test_default_system(void **state)
{
    (void)state;
    assert_says(tokenizer, CHATML_DEFAULT("\\ta\\r\\\\n\\'"), "Hi",
                IM("system", "\ta\r\\n'") IM("user", "Hi") IM_ANSWER);
    /* a word in it is no BOS */
    assert_says(tokenizer, CHATML_DEFAULT("bos_token"), "Hi",
                IM("system", "bos_token") IM("user", "Hi") IM_ANSWER);
}

static void test_trims_white_space_only(void **state)
{
    (void)state;
    static const char *const contents[] = {"\xe3@@hello", "hello\xe2", "\xe3\x80@hello",
                                           "\xe3\x80\x80 hello\xe2\x80\x83"};
    for (int i = 0; i < 4; i++) {
        char expected[256];
        snprintf(expected, sizeof expected,
                 "<s><|start_header_id|>user<|end_header_id|>\n\n%s<|eot_id|>"
                 "<|start_header_id|>assistant<|end_header_id|>\n\n",
                 i < 3 ? contents[i] : "hello");
        assert_says(tokenizer, LLAMA3, contents[i], expected);
    }
}

/* SmolLM2's BOS is what its template begins with. */
static void test_bos_once(void **state)
{
    (void)state;
    size_t n;
    synth_spm spm;
    sl_gguf_writer w = {0};
    sl_gguf *other;
    sl_tokenizer *t;
    synth_spm_init(&spm);
    spm.texts[SYNTH_SPM_USER] = "<|im_start|>";
    spm.types[SYNTH_SPM_USER] = spm.types[SYNTH_SPM_BOS];
    synth_spm_put(&w, &spm);
    sl_gguf_put_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    sl_gguf_put_u32(&w, "tokenizer.ggml.bos_token_id", SYNTH_SPM_USER);
    uint8_t *file = sl_gguf_writer_encode(&w, &n);
    sl_gguf_writer_fini(&w);
    assert_int_equal(sl_gguf_open_memory(file, n, "spm", &other), SL_OK);
    assert_int_equal(sl_tokenizer_open(other, &t), SL_OK);
    assert_true(sl_tokenizer_adds_bos(t));
    assert_says(t, CHATML, "Hi", IM("user", "Hi") IM_ANSWER);
    assert_says(t, "{{ bos_token }}" CHATML, "Hi", IM("user", "Hi") IM_ANSWER);
    assert_says(t, LLAMA3, "Hi",
                "<|im_start|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
    sl_tokenizer_close(t);
    sl_gguf_close(other);
    free(file);
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
    golden_each_row("templates.jsonl", 33, check_broken, &random);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_templates), cmocka_unit_test(test_templates_that_cannot_run),
        cmocka_unit_test(test_default_system),  cmocka_unit_test(test_trims_white_space_only),
        cmocka_unit_test(test_bos_once),        cmocka_unit_test(test_broken_templates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

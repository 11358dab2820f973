/* tests/unit/text/test_gemma_golden.c - ids of Gemma 3's vocabulary equal llama.cpp's, which equal
 * SentencePiece's (tests/golden/tokenizer/README.md). Needs SLUICE_TEST_GEMMA, the model's path,
 * and for whole texts SLUICE_TEST_DATA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/tokenizer.h"
#include "tests/support/encode_time.h"
#include "tests/support/golden_rows.h"

enum { CANNOT_RUN = 77, BOS = 2, NEWLINE = 107 };

static sl_gguf *gguf;
static sl_tokenizer *tokenizer;

static void test_hard_strings(void **state)
{
    (void)state;
    golden_each_row("gemma.jsonl", 120, golden_check_text, tokenizer);
}

static void test_whole_texts(void **state)
{
    (void)state;
    golden_check_whole_texts("gemma_texts.json", tokenizer, SL_SPECIAL_AS_TEXT);
}

/* The file asks for BOS, and for no space in front of a text. */
static void test_begins(void **state)
{
    (void)state;
    sl_tokens got = {0};
    assert_true(sl_tokenizer_adds_bos(tokenizer) && !sl_tokenizer_adds_eos(tokenizer));
    assert_int_equal(sl_tokenizer_encode_whole(tokenizer, "<bos>\n", 6, SL_SPECIAL_PARSED, &got),
                     SL_OK);
    assert_int_equal(got.n, 2);
    assert_int_equal(got.ids[0], BOS);
    assert_int_equal(got.ids[1], NEWLINE);
    sl_tokens_free(&got);
}

static void decode_row(const json_t *row, void *context)
{
    (void)context;
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids_as_text");
    if (!text || strstr(json_string_value(text), "\xe2\x96\x81"))
        return; /* comes back as a space */
    size_t room = sl_tokenizer_decode_bytes_max(tokenizer), n = 0;
    char *out = malloc((json_array_size(ids) + 1) * room);
    sl_decode_state decode = {.begins = true};
    for (size_t i = 0; i < json_array_size(ids); i++)
        n += sl_tokenizer_decode(tokenizer, &decode,
                                 (int32_t)json_integer_value(json_array_get(ids, i)), out + n);
    n += sl_tokenizer_decode_end(&decode, out + n);
    assert_int_equal(n, json_string_length(text));
    assert_memory_equal(out, json_string_value(text), n);
    free(out);
}

static void test_back_to_text(void **state)
{
    (void)state;
    golden_each_row("gemma.jsonl", 120, decode_row, NULL);
}

static void test_time_is_near_linear(void **state)
{
    (void)state;
    static const char *const units[] = {"a",  " ",    "\n",           "\t",          " \n",
                                        "<",  "\xff", "\xe3\x80\x80", "<unused9",    "lo ",
                                        "</", "1",    "\xe2\x96\x81", "\xf0\x9f\x98"};
    check_encode_time(tokenizer, units, sizeof units / sizeof *units);
}

int main(void)
{
    const char *path = getenv("SLUICE_TEST_GEMMA");
    if (!path) {
        printf(
            "skipped: SLUICE_TEST_GEMMA is not set: launch/fetch_model.sh gemma3 gives its path\n");
        return CANNOT_RUN;
    }
    if (sl_gguf_open(path, &gguf) != SL_OK || sl_tokenizer_open(gguf, &tokenizer) != SL_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_strings),
        cmocka_unit_test(test_whole_texts),
        cmocka_unit_test(test_begins),
        cmocka_unit_test(test_back_to_text),
        cmocka_unit_test(test_time_is_near_linear),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sl_tokenizer_close(tokenizer);
    sl_gguf_close(gguf);
    return failed;
}

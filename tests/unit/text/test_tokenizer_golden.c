/* tests/unit/text/test_tokenizer_golden.c - ids of the real model's vocabulary equal those of
 * other people's tools (tests/golden/tokenizer/README.md). Needs SLUICE_TEST_MODEL, and for whole
 * texts SLUICE_TEST_DATA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/golden_rows.h"

enum { CANNOT_RUN = 77 };

static sl_gguf *gguf;
static sl_tokenizer *tokenizer;
static sl_chat *chat;

static void check_chat(const json_t *row, void *context)
{
    (void)context;
    sl_chat_message messages[GOLDEN_MESSAGES_MAX];
    size_t n = golden_messages(row, messages);
    sl_tokens got = {0};
    sl_jinja_error error;
    assert_int_equal(sl_chat_encode(chat, messages, n, &got, &error), SL_OK);
    char what[64];
    snprintf(what, sizeof what, "conversation of %zu messages", n);
    golden_assert_ids(what, json_object_get(row, "ids"), &got);
    sl_tokens_free(&got);
}

static void test_hard_strings(void **state)
{
    (void)state;
    golden_each_row("smollm.jsonl", 60, golden_check_text, tokenizer);
}

static void test_conversations(void **state)
{
    (void)state;
    assert_non_null(chat);
    golden_each_row("chat.jsonl", 9, check_chat, NULL);
}

static void test_whole_texts(void **state)
{
    (void)state;
    golden_check_whole_texts("texts.json", tokenizer, SL_SPECIAL_PARSED);
}

/* A megabyte that is one piece, where the vocabulary has long runs of it. */
static void test_long_pieces(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    char *text = malloc(BYTES);
    for (const char *letter = "a =\n"; *letter; letter++) {
        memset(text, *letter, BYTES);
        sl_tokens got = {0};
        int64_t start = sl_clock_now_ns();
        assert_int_equal(sl_tokenizer_encode(tokenizer, text, BYTES, SL_SPECIAL_PARSED, &got),
                         SL_OK);
        double seconds = (double)(sl_clock_now_ns() - start) / (double)SL_SECOND;
        print_message("1 MB of 0x%02x: %zu ids, %.3f s\n", (unsigned)*letter, got.n, seconds);
        assert_true(got.n < BYTES / 2);
        if (seconds > 20) fail_msg("%.1f s", seconds); /* sanitizers on a busy host */
        sl_tokens_free(&got);
    }
    free(text);
}

int main(void)
{
    const char *path = getenv("SLUICE_TEST_MODEL");
    if (!path) {
        printf("skipped: SLUICE_TEST_MODEL is not set: nothing to compare\n");
        return CANNOT_RUN;
    }
    if (sl_gguf_open(path, &gguf) != SL_OK || sl_tokenizer_open(gguf, &tokenizer) != SL_OK ||
        sl_chat_open(gguf, tokenizer, &chat) != SL_OK || !chat)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_strings),
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_whole_texts),
        cmocka_unit_test(test_long_pieces),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sl_chat_close(chat);
    sl_tokenizer_close(tokenizer);
    sl_gguf_close(gguf);
    return failed;
}

/* tests/unit/launch/eval/test_eval_needles.c - hidden things have the length, the place and the
 * words they were asked to have, and only what was said exactly counts as found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/eval/eval_needles.h"
#include "tests/support/drawn_filler.h"
#include "tests/support/tiny_model.h"

static tiny_model model;
static sl_tokens filler;

static int open_model(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    return drawn_filler(model.tokenizer, "abcdefgh ijklmnopqr stuvwxyz.\n", 20000, &filler);
}

static int close_model(void **state)
{
    (void)state;
    sl_tokens_free(&filler);
    tiny_model_close(&model);
    return 0;
}

/* Where ids of `part` first lie in `whole`; -1: nowhere. */
static int64_t place_of(const char *part, const char *whole)
{
    const char *at = strstr(whole, part);
    return at ? at - whole : -1;
}

static void make(const sl_needle *needle, char *prompt, size_t bytes, char *expected)
{
    sl_tokens tokens = {0};
    uint32_t n_answer;
    assert_int_equal(sl_needle_make(needle, model.tokenizer, &filler, &tokens, expected, &n_answer),
                     SL_OK);
    assert_int_equal(tokens.n, needle->n_tokens);
    assert_in_range(n_answer, 1, 128);
    size_t used = 0;
    for (size_t i = 0; i < tokens.n; i++) {
        sl_text piece = sl_tokenizer_piece(model.tokenizer, tokens.ids[i]);
        assert_true(used + piece.bytes < bytes);
        memcpy(prompt + used, piece.data, piece.bytes);
        used += piece.bytes;
    }
    prompt[used] = '\0';
    sl_tokens_free(&tokens);
}

static void test_prompts(void **state)
{
    (void)state;
    static const char *const ASKED[] = {"The favourite colour of ", "The secret number of ",
                                        "The secret key of "};
    static char prompt[1 << 16], expected[SL_NEEDLE_TEXT_BYTES], other[SL_NEEDLE_TEXT_BYTES];
    for (uint32_t i = 0; i < 90; i++) {
        double depth = (double)(i % 11) / 10;
        sl_needle needle = {
            .kind = (sl_needle_kind)(i % 3), .n_tokens = 900, .depth = depth, .seed = i};
        make(&needle, prompt, sizeof prompt, expected);
        int64_t hidden = place_of(ASKED[needle.kind], prompt);
        assert_true(hidden >= 0);
        assert_true(place_of(expected, prompt) > hidden);
        const char *question = prompt + hidden + 1;
        int64_t again = place_of(ASKED[needle.kind], question);
        assert_true(again >= 0);
        assert_int_equal(place_of(expected, question + again), -1); /* not given away */
        double found = (double)hidden / (double)(hidden + 1 + again);
        assert_true(found > depth - 0.25 && found < depth + 0.15);
        make(&needle, prompt, sizeof prompt, other);
        assert_string_equal(expected, other);
    }
    sl_needle key = {.kind = SL_NEEDLE_KEY, .n_tokens = 900, .depth = 0.5};
    make(&key, prompt, sizeof prompt, expected);
    assert_int_equal(strlen(expected), 64);
    sl_needle digits = {.kind = SL_NEEDLE_DIGITS, .n_tokens = 900, .depth = 0.5};
    make(&digits, prompt, sizeof prompt, expected);
    assert_int_equal(strlen(expected), 7);
}

static void test_copies(void **state)
{
    (void)state;
    static char prompt[1 << 16], expected[SL_NEEDLE_TEXT_BYTES];
    for (uint32_t i = 0; i < 30; i++) {
        sl_needle needle = {
            .kind = SL_NEEDLE_COPY, .n_tokens = 700, .depth = (double)(i % 5) / 4, .seed = i};
        make(&needle, prompt, sizeof prompt, expected);
        const char *asked = strstr(prompt, "\n\n");
        for (const char *next; asked && (next = strstr(asked + 1, "\n\n"));) asked = next;
        assert_non_null(asked);
        char whole[2 * SL_NEEDLE_TEXT_BYTES];
        snprintf(whole, sizeof whole, "%s%s", asked + 2,
                 expected); /* 16 tokens and the 48 behind */
        assert_non_null(strstr(prompt, whole));
    }
}

/* Where the file asks for BOS, a prompt of the same length begins with it, and once. */
static void test_bos(void **state)
{
    (void)state;
    tiny_model with_bos;
    tiny_model_open(TINY_WITH_BOS, &with_bos);
    for (int kind = 0; kind < SL_NEEDLE_KINDS; kind++) {
        sl_needle needle = {.kind = (sl_needle_kind)kind, .n_tokens = 900, .depth = 0.5};
        char expected[SL_NEEDLE_TEXT_BYTES];
        sl_tokens tokens = {0};
        uint32_t n_answer;
        assert_int_equal(
            sl_needle_make(&needle, with_bos.tokenizer, &filler, &tokens, expected, &n_answer),
            SL_OK);
        assert_int_equal(tokens.n, 900);
        for (size_t i = 0; i < tokens.n; i++)
            assert_int_equal(tokens.ids[i] == sl_tokenizer_bos(with_bos.tokenizer), i == 0);
        sl_tokens_free(&tokens);
    }
    tiny_model_close(&with_bos);
}

static void test_too_short(void **state)
{
    (void)state;
    char expected[SL_NEEDLE_TEXT_BYTES];
    sl_tokens tokens = {0};
    uint32_t n_answer;
    for (int kind = 0; kind < SL_NEEDLE_KINDS; kind++) {
        sl_needle needle = {.kind = (sl_needle_kind)kind, .n_tokens = 20};
        assert_int_equal(
            sl_needle_make(&needle, model.tokenizer, &filler, &tokens, expected, &n_answer),
            SL_ERR_OPTION);
        needle.n_tokens = (uint32_t)filler.n + 1;
        assert_int_equal(
            sl_needle_make(&needle, model.tokenizer, &filler, &tokens, expected, &n_answer),
            SL_ERR_OPTION);
    }
    sl_tokens_free(&tokens);
}

static void test_found(void **state)
{
    (void)state;
    static const struct {
        const char *expected, *said;
        size_t found;
    } rows[] = {{"1234567", " 1234567.", 7},  {"1234567", "1234567", 7}, {"1234567", "12345678", 6},
                {"1234567", "1234 567", 4},   {"1234567", "", 0},        {"blue", "\n\nblue", 4},
                {"blue", "bluest", 3},        {"blue", "Blue", 0},       {"a b.", "a b.c", 4},
                {" a b", "a b and so on", 4}, {" a b", "c", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(sl_needle_found(rows[i].expected, rows[i].said), rows[i].found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts),   cmocka_unit_test(test_copies), cmocka_unit_test(test_bos),
        cmocka_unit_test(test_too_short), cmocka_unit_test(test_found),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

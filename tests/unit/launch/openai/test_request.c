/* A request's memory, errors and text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/openai/request.h"
#include "tests/support/tiny_model.h"

static sl_request *make_request(uint32_t n_choices, uint32_t max_tokens, int32_t n_logprobs)
{
    sl_request *request = calloc(1, sizeof *request);
    assert_non_null(request);
    request->n_choices = n_choices;
    request->max_tokens = max_tokens;
    request->sampling.n_logprobs = n_logprobs;
    request->score_from = SIZE_MAX;
    return request;
}

static void fill_details(sl_token_detail *details, size_t n, uint32_t n_top, float mark)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(details[i].n_top, 0);
        details[i].logprob = mark + (float)i;
        for (uint32_t j = 0; j < n_top; j++)
            details[i].top[j] = (sl_token_logprob){(int32_t)j, mark + (float)i};
    }
}

static void check_details(const sl_token_detail *details, size_t n, uint32_t n_top, float mark)
{
    for (size_t i = 0; i < n; i++) {
        assert_true(details[i].logprob == mark + (float)i);
        for (uint32_t j = 0; j < n_top; j++) {
            assert_int_equal(details[i].top[j].token, j);
            assert_true(details[i].top[j].logprob == mark + (float)i);
        }
    }
}

/* Every array is filled to its end, then all are read again: nothing overlaps. */
static void test_bind_gives_each_its_own(void **state)
{
    (void)state;
    enum { CHOICES = 3, TOKENS = 7, TOP = 5, PROMPT = 4 };
    sl_request *request = make_request(CHOICES, TOKENS, TOP);
    request->n_prompt = PROMPT;
    request->score_from = 0;
    assert_int_equal(sl_request_bind(request), SL_OK);
    fill_details(request->prompt_details, PROMPT, TOP, -1000);
    for (int i = 0; i < CHOICES; i++) {
        const sl_choice *choice = &request->choices[i];
        assert_int_equal(choice->n_tokens, 0);
        assert_int_equal(choice->finish, SL_FINISH_NONE);
        assert_true(choice->stop_text_end == SIZE_MAX);
        fill_details(choice->details, TOKENS, TOP, (float)(100 * i));
        for (int j = 0; j < TOKENS; j++) choice->tokens[j] = 100 * i + j;
    }
    check_details(request->prompt_details, PROMPT, TOP, -1000);
    for (int i = 0; i < CHOICES; i++) {
        check_details(request->choices[i].details, TOKENS, TOP, (float)(100 * i));
        for (int j = 0; j < TOKENS; j++)
            assert_int_equal(request->choices[i].tokens[j], 100 * i + j);
    }
    sl_request_free(request);
}

static void test_bind_takes_no_more_than_asked(void **state)
{
    (void)state;
    sl_request *request = make_request(2, 8, -1);
    assert_int_equal(sl_request_bind(request), SL_OK);
    assert_null(request->choices[1].details);
    assert_null(request->prompt_details);
    sl_request_free(request);

    request = make_request(1, 8, 0);
    assert_int_equal(sl_request_bind(request), SL_OK);
    assert_non_null(request->choices[0].details);
    assert_null(request->choices[0].details[7].top);
    assert_null(request->prompt_details);
    sl_request_free(request);

    request = make_request(1, 0, -1); /* scored for its sum only, as perplexity does */
    request->n_prompt = 3;
    request->score_from = 1;
    assert_int_equal(sl_request_bind(request), SL_OK);
    assert_non_null(request->prompt_details);
    assert_null(request->choices[0].details);
    sl_request_free(request);
}

/* 128 choices of 8192 tokens: more than 2^32 bits of anything would show here. */
static void test_bind_the_largest(void **state)
{
    (void)state;
    sl_request *request = make_request(SL_CHOICES_MAX, 8192, 20);
    assert_int_equal(sl_request_bind(request), SL_OK);
    sl_choice *last = &request->choices[SL_CHOICES_MAX - 1];
    last->tokens[8191] = 1;
    last->details[8191].top[19] = (sl_token_logprob){1, -1};
    assert_ptr_equal(last->tokens, request->choices[0].tokens + (size_t)8192 * 127);
    assert_ptr_equal(last->details, request->choices[0].details + (size_t)8192 * 127);
    assert_ptr_equal(last->details[8191].top,
                     request->choices[0].details[0].top + ((size_t)8192 * 128 - 1) * 20);
    sl_request_free(request);
}

static void test_fail_keeps_the_first_and_is_printable(void **state)
{
    (void)state;
    sl_request *request = make_request(1, 1, -1);
    sl_request_fail(request, 400, "invalid_value", "n", "a\x1b[31m\n%s", "\xc3\xa9z\x7f");
    sl_request_fail(request, 500, "other", "m", "second");
    assert_int_equal(request->error.http_status, 400);
    assert_string_equal(request->error.code, "invalid_value");
    assert_string_equal(request->error.param, "n");
    assert_string_equal(request->error.message, "a?[31m???z?");
    sl_request_free(request);

    request = make_request(1, 1, -1);
    char longest[1000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    sl_request_fail(request, 500, longest, longest, "%s", longest);
    assert_int_equal(strlen(request->error.message), sizeof request->error.message - 1);
    assert_int_equal(strlen(request->error.code), sizeof request->error.code - 1);
    sl_request_free(request);
    sl_request_free(NULL);
}

/* "aé", an end of turn, the first two bytes of a euro sign, "b". */
static void test_text_of_tokens(void **state)
{
    const tiny_model *model = *state;
    const int32_t ids[] = {tiny_byte('a'),  tiny_byte(0xc3), tiny_byte(0xa9), TINY_IM_END,
                           tiny_byte(0xe2), tiny_byte(0x82), tiny_byte('b')};
    size_t before[7], bytes;
    char *text = sl_request_text(model->tokenizer, SL_TEXT_CONTINUES, ids, 7, before, &bytes);
    assert_memory_equal(text, "a\xc3\xa9", 3);
    assert_int_equal(bytes, strlen(text));
    assert_int_equal(text[bytes - 1], 'b');
    assert_non_null(strstr(text, "\xef\xbf\xbd"));
    const size_t expected[] = {0, 1, 1, 2, 2, 2};
    assert_memory_equal(before, expected, sizeof expected);
    assert_int_equal(before[6], 2); /* what was held back comes out with the next token */
    free(text);

    text = sl_request_text(model->tokenizer, SL_TEXT_CONTINUES, ids, 2, NULL,
                           &bytes); /* half a character at the end */
    assert_string_equal(text, "a\xef\xbf\xbd");
    assert_int_equal(bytes, 4);
    free(text);
    text = sl_request_text(model->tokenizer, SL_TEXT_CONTINUES, ids, 0, NULL, &bytes);
    assert_string_equal(text, "");
    assert_int_equal(bytes, 0);
    free(text);
}

static void test_choice_text_is_cut(void **state)
{
    const tiny_model *model = *state;
    sl_request *request = make_request(1, 8, -1);
    assert_int_equal(sl_request_bind(request), SL_OK);
    sl_choice *choice = &request->choices[0];
    const char *word = "stopped";
    for (; *word; word++) choice->tokens[choice->n_tokens++] = tiny_byte((unsigned char)*word);
    choice->tokens[choice->n_tokens++] = tiny_byte('!');

    size_t bytes;
    char *text = sl_request_choice_text(request, choice, model->tokenizer, &bytes);
    assert_string_equal(text, "stopped!");
    assert_int_equal(bytes, 8);
    free(text);
    choice->ended_by_token = true;
    text = sl_request_choice_text(request, choice, model->tokenizer, &bytes);
    assert_string_equal(text, "stopped");
    free(text);
    choice->ended_by_token = false;
    choice->stop_text_end = 4;
    text = sl_request_choice_text(request, choice, model->tokenizer, &bytes);
    assert_string_equal(text, "stop");
    assert_int_equal(bytes, 4);
    free(text);
    sl_request_free(request);
}

static int open_model(void **state)
{
    static tiny_model model;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    *state = &model;
    return 0;
}

static int close_model(void **state)
{
    tiny_model_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bind_gives_each_its_own),
        cmocka_unit_test(test_bind_takes_no_more_than_asked),
        cmocka_unit_test(test_bind_the_largest),
        cmocka_unit_test(test_fail_keeps_the_first_and_is_printable),
        cmocka_unit_test(test_text_of_tokens),
        cmocka_unit_test(test_choice_text_is_cut),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

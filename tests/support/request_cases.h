/* tests/support/request_cases.h - lines of a job read as requests over two small models, one of
 * which begins its prompts with BOS. For the tests of launch/openai. */
#ifndef SL_TEST_REQUEST_CASES_H
#define SL_TEST_REQUEST_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/openai/openai.h"
#include "tests/support/tiny_model.h"

enum { CONTEXT = 200, CHOICES = 8, LINE = 7 };
#define COMPLETIONS "/v1/completions"
#define CHAT        "/v1/chat/completions"
#define NO_ID       "line-7 (no custom_id)" /* made up */
#define HELLO       "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

static tiny_model plain, with_bos;

/* Add to the end of to[size]. */
static inline void add(char *to, size_t size, const char *text)
{
    const size_t at = strlen(to);
    assert_true((size_t)snprintf(to + at, size - at, "%s", text) < size - at);
}

static inline sl_request_reader reader_of(const tiny_model *model)
{
    return (sl_request_reader){.tokenizer = model->tokenizer,
                               .chat = model->chat,
                               .model = "the model",
                               .context = CONTEXT,
                               .choices_max = CHOICES};
}

static inline sl_request *read_with(const sl_request_reader *reader, const char *line, size_t bytes)
{
    /* A copy of its exact size, so that a sanitizer sees a byte read too far. */
    char *exact = malloc(bytes ? bytes : 1);
    memcpy(exact, line, bytes);
    sl_request *request = NULL;
    assert_int_equal(sl_request_read(reader, exact, bytes, LINE, &request), SL_OK);
    sl_request_key key;
    assert_int_equal(sl_request_line_key(exact, bytes, LINE, &key), SL_OK);
    assert_string_equal(key.custom_id, request->custom_id);
    assert_int_equal(request->line, LINE);
    assert_true((request->error.http_status == 0) == (request->choices != NULL));
    free(key.custom_id);
    free(exact);
    return request;
}

static inline sl_request *read_line(const char *line)
{
    const sl_request_reader reader = reader_of(&plain);
    return read_with(&reader, line, strlen(line));
}

/* A line for `url` with these fields in its body. */
static inline sl_request *read_fields(const tiny_model *model, const char *url, const char *fields)
{
    const sl_request_reader reader = reader_of(model);
    const size_t bytes = strlen(fields) + 200;
    char *line = malloc(bytes);
    snprintf(line, bytes, "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"%s\",\"body\":{%s}}",
             url, fields);
    sl_request *request = read_with(&reader, line, strlen(line));
    free(line);
    return request;
}

static inline sl_request *served(const tiny_model *model, const char *url, const char *fields)
{
    sl_request *request = read_fields(model, url, fields);
    if (request->error.http_status != 0) fail_msg("%s: %s", fields, request->error.message);
    return request;
}

static inline void check_failed(sl_request *request, const char *what, const char *code,
                                const char *param)
{
    if (request->error.http_status != 400 || strcmp(request->error.code, code) != 0 ||
        strcmp(request->error.param, param) != 0 || request->error.message[0] == '\0')
        fail_msg("%.200s: %d %s '%s' %s", what, request->error.http_status, request->error.code,
                 request->error.param, request->error.message);
    sl_request_free(request);
}

static inline void check_prompt(const sl_request *request, int32_t bos, const char *text)
{
    const size_t n_bos = bos >= 0 ? 1 : 0;
    sl_tokens expected = {0};
    assert_int_equal(
        sl_tokenizer_encode(plain.tokenizer, text, strlen(text), SL_SPECIAL_PARSED, &expected),
        SL_OK);
    assert_int_equal(request->n_prompt, expected.n + n_bos);
    if (bos >= 0) assert_int_equal(request->prompt[0], bos);
    assert_memory_equal(request->prompt + n_bos, expected.ids, expected.n * sizeof(int32_t));
    sl_tokens_free(&expected);
}

static inline int open_models(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &plain);
    tiny_model_open(TINY_WITH_BOS, &with_bos);
    return 0;
}

static inline int close_models(void **state)
{
    (void)state;
    tiny_model_close(&plain);
    tiny_model_close(&with_bos);
    return 0;
}

#endif

/* Job lines in: what is served, with which values, and what is an error record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "launch/openai/openai.h"
#include "tests/support/count_malloc.h"
#include "tests/support/tiny_model.h"

enum { CONTEXT = 200, CHOICES = 8, LINE = 7 };
#define COMPLETIONS "/v1/completions"
#define CHAT        "/v1/chat/completions"
#define NO_ID       "line-7 (no custom_id)" /* made up */
#define HELLO       "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"

static tiny_model plain, with_bos;

/* Add to the end of to[size]. */
static void add(char *to, size_t size, const char *text)
{
    const size_t at = strlen(to);
    assert_true((size_t)snprintf(to + at, size - at, "%s", text) < size - at);
}

static sl_request_reader reader_of(const tiny_model *model)
{
    return (sl_request_reader){.tokenizer = model->tokenizer,
                               .chat = model->chat,
                               .model = "the model",
                               .context = CONTEXT,
                               .choices_max = CHOICES};
}

static sl_request *read_with(const sl_request_reader *reader, const char *line, size_t bytes)
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

static sl_request *read_line(const char *line)
{
    const sl_request_reader reader = reader_of(&plain);
    return read_with(&reader, line, strlen(line));
}

/* A line for `url` with these fields in its body. */
static sl_request *read_fields(const tiny_model *model, const char *url, const char *fields)
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

static sl_request *served(const tiny_model *model, const char *url, const char *fields)
{
    sl_request *request = read_fields(model, url, fields);
    if (request->error.http_status != 0) fail_msg("%s: %s", fields, request->error.message);
    return request;
}

static void check_failed(sl_request *request, const char *what, const char *code, const char *param)
{
    if (request->error.http_status != 400 || strcmp(request->error.code, code) != 0 ||
        strcmp(request->error.param, param) != 0 || request->error.message[0] == '\0')
        fail_msg("%.200s: %d %s '%s' %s", what, request->error.http_status, request->error.code,
                 request->error.param, request->error.message);
    sl_request_free(request);
}

static void check_prompt(const sl_request *request, int32_t bos, const char *text)
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

/* --- prompts --- */

static void test_completion_defaults(void **state)
{
    (void)state;
    sl_request *r = served(&plain, COMPLETIONS, "\"model\":\"m\\u00e9\",\"prompt\":\"the end\"");
    check_prompt(r, -1, "the end");
    assert_string_equal(r->custom_id, "a");
    assert_string_equal(r->model, "m\xc3\xa9");
    assert_false(r->chat);
    assert_int_equal(r->max_tokens, 16);
    assert_int_equal(r->n_choices, 1);
    assert_false(r->echo || r->ignore_eos);
    assert_int_equal(r->n_stops, 0);
    assert_true(r->score_from == SIZE_MAX);
    const sl_sampling *s = &r->sampling;
    assert_true(s->temperature == 1 && s->top_p == 1 && s->min_p == 0 && s->top_k == 0);
    assert_true(s->repetition_penalty == 1 && s->presence_penalty == 0 &&
                s->frequency_penalty == 0);
    assert_int_equal(s->n_logprobs, -1);
    assert_int_equal(s->n_bias, 0);
    assert_true(s->seed == XXH3_64bits("a", 1));
    sl_request_free(r);

    /* null means default everywhere */
    r = served(
        &plain, COMPLETIONS,
        "\"prompt\":\"x\",\"model\":null,\"max_tokens\":null,\"n\":null,\"temperature\":null,"
        "\"stop\":null,\"seed\":null,\"logit_bias\":null,\"echo\":null,\"logprobs\":null,"
        "\"suffix\":null,\"best_of\":null,\"stream\":null,\"tools\":null,\"user\":null,"
        "\"response_format\":null,\"stream_options\":null,\"top_k\":null");
    assert_int_equal(r->max_tokens, 16);
    assert_int_equal(r->sampling.n_logprobs, -1);
    assert_string_equal(r->model, "the model"); /* its own name */
    sl_request_free(r);
}

static void test_all_values(void **state)
{
    (void)state;
    sl_request *r = served(
        &plain, COMPLETIONS,
        "\"prompt\":\"x\",\"max_tokens\":5,\"n\":3,\"best_of\":3,\"temperature\":0.5,\"top_p\":0."
        "25,"
        "\"top_k\":40,\"min_p\":0.125,\"seed\":-2,\"presence_penalty\":-1.5,"
        "\"frequency_penalty\":2,\"repetition_penalty\":1.25,\"ignore_eos\":true,\"echo\":true,"
        "\"logprobs\":4,\"stop\":[\"one\",\"\\u00e9\"],\"logit_bias\":{\"7\":-100,\"0\":1.5},"
        "\"stream\":false,\"tool_choice\":\"none\",\"tools\":[],\"user\":\"me\",\"metadata\":{},"
        "\"response_format\":{\"type\":\"text\"},\"modalities\":[\"text\"],\"store\":true");
    const sl_sampling *s = &r->sampling;
    assert_int_equal(r->max_tokens, 5);
    assert_int_equal(r->n_choices, 3);
    assert_true(s->temperature == 0.5f && s->top_p == 0.25f && s->min_p == 0.125f &&
                s->top_k == 40);
    assert_true(s->presence_penalty == -1.5f && s->frequency_penalty == 2.0f);
    assert_true(s->repetition_penalty == 1.25f && s->seed == UINT64_MAX - 1);
    assert_true(r->ignore_eos && r->echo);
    assert_int_equal(s->n_logprobs, 4);
    assert_int_equal(r->score_from, 0);
    assert_non_null(r->prompt_details);
    assert_int_equal(r->n_stops, 2);
    assert_int_equal(r->stops[1].bytes, 2);
    assert_memory_equal(r->stops[0].data, "one\xc3\xa9", 5);
    assert_int_equal(s->n_bias, 2);
    assert_true(s->bias[0].token == 7 && s->bias[0].value == -100);
    assert_true(s->bias[1].token == 0 && s->bias[1].value == 1.5f);
    sl_request_free(r);
}

static void test_seeds(void **state)
{
    (void)state;
    static const char *const beyond[] = {"18446744073709551615", "-99999999999999999999", "1e30"};
    sl_request *r = served(&plain, COMPLETIONS, "\"prompt\":\"x\",\"seed\":9223372036854775807");
    assert_true(r->sampling.seed == INT64_MAX);
    sl_request_free(r);
    for (size_t i = 0; i < 3; i++) { /* beyond 64 bits, and all else still read as it is */
        char fields[200];
        snprintf(fields, sizeof fields, "\"prompt\":[1,2],\"seed\":%s,\"n\":2,\"max_tokens\":3",
                 beyond[i]);
        r = served(&plain, COMPLETIONS, fields);
        assert_int_equal(r->n_prompt, 2);
        assert_int_equal(r->prompt[1], 2);
        assert_int_equal(r->n_choices, 2);
        assert_int_equal(r->max_tokens, 3);
        sl_request_free(r);
    }
}

static void test_prompt_forms(void **state)
{
    (void)state;
    const int32_t im_start = TINY_IM_START;
    sl_request *r = served(&plain, COMPLETIONS, "\"prompt\":\"a<|im_end|>b\\u0000c\"");
    const int32_t special[] = {tiny_byte('a'), TINY_IM_END, tiny_byte('b'), tiny_byte(0),
                               tiny_byte('c')};
    assert_int_equal(r->n_prompt, 5);
    assert_memory_equal(r->prompt, special, sizeof special);
    sl_request_free(r);

    r = served(&plain, COMPLETIONS, "\"prompt\":[\"to be\"]");
    check_prompt(r, -1, "to be");
    sl_request_free(r);
    r = served(&with_bos, COMPLETIONS, "\"prompt\":\"to be\"");
    check_prompt(r, im_start, "to be");
    sl_request_free(r);
    r = served(&with_bos, COMPLETIONS, "\"prompt\":\"\"");
    check_prompt(r, im_start, "");
    sl_request_free(r);

    static const char *const lists[] = {"\"prompt\":[7,299,0]", "\"prompt\":[[7,299,0]]"};
    for (int i = 0; i < 2; i++) { /* taken as they are: no BOS */
        const int32_t ids[] = {7, TINY_VOCAB - 1, 0};
        r = served(&with_bos, COMPLETIONS, lists[i]);
        assert_int_equal(r->n_prompt, 3);
        assert_memory_equal(r->prompt, ids, sizeof ids);
        sl_request_free(r);
    }
    check_failed(read_fields(&with_bos, COMPLETIONS, "\"prompt\":[]"), "[]", "invalid_value",
                 "prompt");
}

/* A request each, in order, with the same fields. */
static void test_prompts(void **state)
{
    (void)state;
    sl_request *r = served(&plain, COMPLETIONS,
                           "\"prompt\":[\"to be\",[7,9],\"or\"],\"n\":2,\"stop\":\"x\","
                           "\"max_tokens\":5");
    const sl_request *second = r->also, *third = second->also;
    assert_null(third->also);
    check_prompt(r, -1, "to be");
    check_prompt(third, -1, "or");
    assert_int_equal(second->n_prompt, 2);
    assert_int_equal(second->prompt[1], 9);
    assert_ptr_equal(second->first, r);
    assert_true(second->n_choices == 2 && third->max_tokens == 5 && third->n_stops == 1);
    assert_non_null(third->choices);
    assert_true(second->sampling.seed == r->sampling.seed + 2);
    assert_true(third->sampling.seed == r->sampling.seed + 4);
    assert_true(sl_request_bytes(r) > sl_request_bytes(second));
    sl_request_free(r);

    r = served(&plain, COMPLETIONS, "\"prompt\":[[1],[2]],\"seed\":3");
    assert_true(r->sampling.seed == 3 && r->also->sampling.seed == 3);
    sl_request_free(r);
    static const char *const bad[] = {"[\"a\",5]", "[\"a\",[300]]", "[\"a\",[]]",
                                      "[[1],[2],[[3]]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char fields[100];
        snprintf(fields, sizeof fields, "\"prompt\":%s", bad[i]);
        r = read_fields(&plain, COMPLETIONS, fields);
        check_failed(r, bad[i], i == 0 ? "invalid_type" : "invalid_value", "prompt");
    }
    char many[2000] = "\"prompt\":[[1]";
    for (int i = 1; i < SL_CHOICES_MAX; i++) add(many, sizeof many, ",[1]");
    add(many, sizeof many, "],\"n\":1");
    sl_request_free(served(&plain, COMPLETIONS, many));
    many[strlen(many) - 1] = '2';
    check_failed(read_fields(&plain, COMPLETIONS, many), "many", "invalid_value", "prompt");
}

static void test_chat(void **state)
{
    (void)state;
    static const char expected[] = "<|im_start|>system\nBe brief.<|im_end|>\n"
                                   "<|im_start|>user\nred\nblue<|im_end|>\n<|im_start|>assistant\n";
    sl_request *r = served(&plain, CHAT,
                           "\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
                           "{\"role\":\"user\",\"name\":null,\"content\":[{\"type\":\"text\","
                           "\"text\":\"red\"},{\"type\":\"text\",\"text\":\"blue\"}]}]");
    assert_true(r->chat);
    check_prompt(r, -1, expected);
    assert_int_equal(r->max_tokens, CONTEXT - r->n_prompt); /* the rest of the context */
    assert_int_equal(r->sampling.n_logprobs, -1);
    sl_request_free(r);

    /* What a user writes is never a special token. */
    r = served(&plain, CHAT,
               "\"messages\":[{\"role\":\"system\",\"content\":\"<|im_end|>\"}],"
               "\"logprobs\":true,\"max_completion_tokens\":9,\"max_tokens\":4");
    size_t ends = 0;
    for (size_t i = 0; i < r->n_prompt; i++) ends += r->prompt[i] == TINY_IM_END;
    assert_int_equal(ends, 1);
    assert_int_equal(r->max_tokens, 9);
    assert_int_equal(r->sampling.n_logprobs, 0);
    assert_true(r->score_from == SIZE_MAX);
    sl_request_free(r);

    r = served(&plain, CHAT, HELLO ",\"logprobs\":true,\"top_logprobs\":20");
    assert_int_equal(r->sampling.n_logprobs, 20);
    assert_false(r->echo); /* not a field of chats */
    sl_request_free(r);
    r = served(&plain, CHAT, HELLO ",\"logprobs\":false,\"top_logprobs\":0,\"top_k\":-1");
    assert_int_equal(r->sampling.n_logprobs, -1);
    assert_int_equal(r->sampling.top_k, 0);
    sl_request_free(r);

    sl_request_reader reader = reader_of(&plain);
    reader.chat = NULL;
    const char *line = "{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"" CHAT
                       "\",\"body\":{" HELLO "}}";
    r = read_with(&reader, line, strlen(line));
    assert_string_equal(r->error.message, sl_chat_unknown_text());
    check_failed(r, "no template", "unsupported_value", "url");
}

/* --- lengths --- */

static sl_request *read_ids(size_t n, const char *more)
{
    char fields[8 * CONTEXT] = "\"prompt\":[1";
    for (size_t i = 1; i < n; i++) add(fields, sizeof fields, ",1");
    add(fields, sizeof fields, "]");
    add(fields, sizeof fields, more);
    return read_fields(&plain, COMPLETIONS, fields);
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        size_t n_prompt;
        const char *more;
        uint32_t max_tokens;
    } fits[] = {
        {CONTEXT - 1, "", 1},
        {CONTEXT - 16, "", 16},
        {CONTEXT - 15, "", 15},
        {10, ",\"max_tokens\":100000000000", CONTEXT - 10},
        {10, ",\"max_tokens\":190", 190},
        {10, ",\"max_completion_tokens\":20.0", 20},
        {10, ",\"max_tokens\":0,\"echo\":true,\"logprobs\":0", 0},
        {CONTEXT, ",\"max_tokens\":0,\"echo\":true,\"logprobs\":0", 0},
    };
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        sl_request *r = read_ids(fits[i].n_prompt, fits[i].more);
        assert_int_equal(r->error.http_status, 0);
        assert_int_equal(r->max_tokens, fits[i].max_tokens);
        sl_request_free(r);
    }
    sl_request *r = read_ids(CONTEXT, "");
    assert_non_null(strstr(r->error.message, "200 tokens"));
    check_failed(r, "full", "context_length_exceeded", "prompt");
    check_failed(read_ids(CONTEXT + 1, ",\"max_tokens\":0,\"echo\":true"), "longer",
                 "context_length_exceeded", "prompt");

    char chat[3 * CONTEXT] = "\"messages\":[{\"role\":\"user\",\"content\":\"";
    for (int i = 0; i < CONTEXT; i++) add(chat, sizeof chat, "1");
    add(chat, sizeof chat, "\"}]");
    check_failed(read_fields(&plain, CHAT, chat), "chat", "context_length_exceeded", "messages");
}

/* --- errors --- */

static void test_bad_fields(void **state)
{
    (void)state;
    static const struct {
        const char *url, *fields, *code, *param;
    } rows[] = {
        {COMPLETIONS, "", "missing_required_parameter", "prompt"},
        {COMPLETIONS, "\"prompt\":\"\"", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":5", "invalid_type", "prompt"},
        {COMPLETIONS, "\"prompt\":{}", "invalid_type", "prompt"},
        {COMPLETIONS, "\"prompt\":[[[1]]]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":[1,\"a\"]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":[1.5]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":[true]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":[300]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":[-1]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":[4294967297]", "invalid_value", "prompt"},
        {COMPLETIONS, "\"prompt\":\"x\",\"model\":5", "invalid_type", "model"},
        {COMPLETIONS, "\"prompt\":\"x\",\"max_tokens\":0", "invalid_value", "max_tokens"},
        {COMPLETIONS, "\"prompt\":\"x\",\"max_tokens\":-1", "invalid_value", "max_tokens"},
        {COMPLETIONS, "\"prompt\":\"x\",\"max_tokens\":1.5", "invalid_type", "max_tokens"},
        {COMPLETIONS, "\"prompt\":\"x\",\"max_tokens\":\"9\"", "invalid_type", "max_tokens"},
        {COMPLETIONS, "\"prompt\":\"x\",\"max_tokens\":true", "invalid_type", "max_tokens"},
        {CHAT, HELLO ",\"max_completion_tokens\":0", "invalid_value", "max_completion_tokens"},
        {COMPLETIONS, "\"prompt\":\"x\",\"n\":0", "invalid_value", "n"},
        {COMPLETIONS, "\"prompt\":\"x\",\"n\":9", "invalid_value", "n"},
        {COMPLETIONS, "\"prompt\":\"x\",\"n\":2,\"best_of\":3", "unsupported_value", "best_of"},
        {COMPLETIONS, "\"prompt\":\"x\",\"temperature\":2.01", "invalid_value", "temperature"},
        {COMPLETIONS, "\"prompt\":\"x\",\"temperature\":-0.1", "invalid_value", "temperature"},
        {COMPLETIONS, "\"prompt\":\"x\",\"temperature\":\"hot\"", "invalid_type", "temperature"},
        {COMPLETIONS, "\"prompt\":\"x\",\"top_p\":0", "invalid_value", "top_p"},
        {COMPLETIONS, "\"prompt\":\"x\",\"top_p\":1e-60", "invalid_value", "top_p"},
        {COMPLETIONS, "\"prompt\":\"x\",\"top_p\":1.1", "invalid_value", "top_p"},
        {COMPLETIONS, "\"prompt\":\"x\",\"top_k\":-2", "invalid_value", "top_k"},
        {COMPLETIONS, "\"prompt\":\"x\",\"top_k\":0.5", "invalid_type", "top_k"},
        {COMPLETIONS, "\"prompt\":\"x\",\"min_p\":1.5", "invalid_value", "min_p"},
        {COMPLETIONS, "\"prompt\":\"x\",\"seed\":1.5", "invalid_type", "seed"},
        {COMPLETIONS, "\"prompt\":\"x\",\"seed\":\"1\"", "invalid_type", "seed"},
        {COMPLETIONS, "\"prompt\":\"x\",\"presence_penalty\":3", "invalid_value",
         "presence_penalty"},
        {COMPLETIONS, "\"prompt\":\"x\",\"frequency_penalty\":-3", "invalid_value",
         "frequency_penalty"},
        {COMPLETIONS, "\"prompt\":\"x\",\"repetition_penalty\":0", "invalid_value",
         "repetition_penalty"},
        {COMPLETIONS, "\"prompt\":\"x\",\"repetition_penalty\":1e300", "invalid_value",
         "repetition_penalty"},
        {COMPLETIONS, "\"prompt\":\"x\",\"echo\":1", "invalid_type", "echo"},
        {COMPLETIONS, "\"prompt\":\"x\",\"ignore_eos\":\"yes\"", "invalid_type", "ignore_eos"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logprobs\":21", "invalid_value", "logprobs"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logprobs\":true", "invalid_type", "logprobs"},
        {CHAT, HELLO ",\"logprobs\":1", "invalid_type", "logprobs"},
        {CHAT, HELLO ",\"top_logprobs\":1", "invalid_value", "top_logprobs"},
        {CHAT, HELLO ",\"logprobs\":true,\"top_logprobs\":21", "invalid_value", "top_logprobs"},
        {COMPLETIONS, "\"prompt\":\"x\",\"stop\":\"\"", "invalid_value", "stop"},
        {COMPLETIONS, "\"prompt\":\"x\",\"stop\":5", "invalid_value", "stop"},
        {COMPLETIONS, "\"prompt\":\"x\",\"stop\":[\"a\",null]", "invalid_value", "stop"},
        {COMPLETIONS,
         "\"prompt\":\"x\",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
         "\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]",
         "invalid_value", "stop"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":[1]", "invalid_type", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"300\":1}", "invalid_value", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"-1\":1}", "invalid_value", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"\":1}", "invalid_value", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"99999999999999999999999\":1}",
         "invalid_value", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"1x\":1}", "invalid_value", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"1\":101}", "invalid_value", "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"logit_bias\":{\"1\":\"1\"}", "invalid_value",
         "logit_bias"},
        {COMPLETIONS, "\"prompt\":\"x\",\"suffix\":\"y\"", "unsupported_value", "suffix"},
        {COMPLETIONS, "\"prompt\":\"x\",\"stream\":true", "unsupported_value", "stream"},
        {CHAT, HELLO ",\"max_token\":2", "unknown_parameter", "max_token"},
        {CHAT, HELLO ",\"truncation_side\":\"right\"", "unsupported_value", "truncation_side"},
        {CHAT, HELLO ",\"maxTokens\":2", "unknown_parameter", "maxTokens"},
        {CHAT, HELLO ",\"temprature\":2", "unknown_parameter", "temprature"},
        {COMPLETIONS, "\"prompt\":\"x\",\"sotp\":\"y\"", "unknown_parameter", "sotp"},
        {CHAT, HELLO ",\"tools\":[{\"type\":\"function\"}]", "unsupported_value", "tools"},
        {CHAT, HELLO ",\"tool_choice\":\"required\"", "unsupported_value", "tool_choice"},
        {CHAT, HELLO ",\"functions\":[{}]", "unsupported_value", "functions"},
        {CHAT, HELLO ",\"response_format\":{\"type\":\"json_object\"}", "unsupported_value",
         "response_format"},
        {CHAT, HELLO ",\"response_format\":\"text\"", "unsupported_value", "response_format"},
        {CHAT, HELLO ",\"modalities\":[\"text\",\"audio\"]", "unsupported_value", "modalities"},
        {CHAT, HELLO ",\"audio\":{\"voice\":\"x\"}", "unsupported_value", "audio"},
        {CHAT, "", "missing_required_parameter", "messages"},
        {CHAT, "\"messages\":[]", "invalid_value", "messages"},
        {CHAT, "\"messages\":\"hello\"", "invalid_value", "messages"},
        {CHAT, "\"messages\":[\"hello\"]", "invalid_value", "messages"},
        {CHAT, "\"messages\":[{\"role\":\"user\"}]", "invalid_value", "messages"},
        {CHAT, "\"messages\":[{\"content\":\"a\"}]", "invalid_value", "messages"},
        {CHAT, "\"messages\":[{\"role\":\"user\",\"content\":null}]", "invalid_value", "messages"},
        {CHAT,
         "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}"
         "]",
         "unsupported_value", "messages"},
        {CHAT, "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]",
         "unsupported_value", "messages"},
        {CHAT, "\"messages\":[{\"role\":\"user\",\"content\":[\"text\"]}]", "unsupported_value",
         "messages"},
        {CHAT, "\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{}]}]",
         "unsupported_value", "messages"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_failed(read_fields(&plain, rows[i].url, rows[i].fields), rows[i].fields, rows[i].code,
                     rows[i].param);
}

static void test_stop_bounds(void **state)
{
    (void)state;
    char fields[SL_STOPS_MAX * (SL_STOP_BYTES_MAX + 4) + 100] = "\"prompt\":\"x\",\"stop\":[";
    char stop[SL_STOP_BYTES_MAX + 2];
    memset(stop, 's', sizeof stop - 1);
    stop[sizeof stop - 1] = '\0';
    for (int i = 0; i < SL_STOPS_MAX; i++) {
        add(fields, sizeof fields, i ? ",\"" : "\"");
        add(fields, sizeof fields, stop + 1); /* 256 bytes */
        add(fields, sizeof fields, "\"");
    }
    add(fields, sizeof fields, "]");
    sl_request *r = served(&plain, COMPLETIONS, fields);
    assert_int_equal(r->n_stops, SL_STOPS_MAX);
    assert_memory_equal(r->stops[SL_STOPS_MAX - 1].data, stop, SL_STOP_BYTES_MAX);
    sl_request_free(r);
    snprintf(fields, sizeof fields, "\"prompt\":\"x\",\"stop\":\"%s\"", stop);
    check_failed(read_fields(&plain, COMPLETIONS, fields), "257 bytes", "invalid_value", "stop");
}

static void test_bias_bounds(void **state)
{
    (void)state;
    char fields[6000] = "\"prompt\":\"x\",\"logit_bias\":{\"0\":0";
    for (int i = 1; i < SL_LOGIT_BIAS_MAX; i++) {
        char one[20];
        snprintf(one, sizeof one, ",\"%d\":-1", i);
        add(fields, sizeof fields, one);
    }
    const size_t end = strlen(fields);
    add(fields, sizeof fields, "}");
    sl_request *r = served(&plain, COMPLETIONS, fields);
    assert_int_equal(r->sampling.n_bias, SL_LOGIT_BIAS_MAX);
    sl_request_free(r);
    fields[end] = '\0';
    add(fields, sizeof fields, ",\"00\":1}");
    check_failed(read_fields(&plain, COMPLETIONS, fields), "301", "invalid_value", "logit_bias");
}

/* --- envelopes --- */

/* The id of a line that is refused, however it is broken. */
static void test_ids_of_broken_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id;
    } rows[] = {
        {"{\"custom_id\":\"a\"", "a"}, /* torn */
        {"{\"custom_id\":\"a\",\"body\":{\"prompt\":\"x", "a"},
        {"{\"custom_id\":\"a", NO_ID},
        {"{\"custom_id\":12", NO_ID},
        {"{\"custom_id\":", NO_ID},
        {"{\"custom_id\"", NO_ID},
        {"{\"custom_id\":\"a\"} x", "a"},
        {"{\"custom_id\":\"a\"}{\"custom_id\":\"b\"}", "a"},
        {"{\"body\":{},\"custom_id\" : \t\"a\",,}", "a"},
        {"[{\"custom_id\":\"a\"},", "a"},
        {"{\"body\":{\"custom_id\":\"b\"},\"x\":[\"custom_id\",{\"custom_id\":\"c\"}]", NO_ID},
        {"{\"x\":\"custom_id\",\"y\":NaN}", NO_ID},
        {"{\"x\":\"\\\"custom_id\\\":\\\"b\\\"\",\"custom_id\":\"a\",\"y\":-Infinity}", "a"},
        {"{'custom_id': 'a', 'body': {'echo': True}}", "a"},
        {"{\"custom_id\":\"a\",\"custom_id\":\"b\"}", "b"}, /* as Python's json */
        {"{\"custom_id\":\"a\",\"custom_id\":[],\"custom_id\":null}", "a"},
        {"{\"custom\\u005fid\":\"\\u0061\\\\\\/\\n\",\"x\":\"\\ud83d\\ude00\",}", "a\\/\n"},
        {"{\"custom_id\":\"\\ud83d\\ude00\\ud83d\",}", "\xf0\x9f\x98\x80\xef\xbf\xbd"},
        {"{\"custom_id\":\"a\xff\xc3\"}", "a\xef\xbf\xbd\xef\xbf\xbd"},
        {"{\"custom_id\":\"a\",\"x\\u0000y\":1}", "a"},
        {"{\"custom_id\":\"a\",\"x\":\"\xff\"}", "a"},
        {"{\"custom_id\":\"a\",\"x\":\"\x01\"}", "a"},
        {"{\"custom_id\":\"a\",\"x\":\"\\ud83\"}", "a"},
        {"{\"custom_id\":\"a\",\"body\":{\"seed\":1e999}}", "a"},
        {"{\"custom_id\":-007,}", "-007"},
        {"{\"custom_id\":123456789012345678901234567890 , \"x\":NaN}",
         "123456789012345678901234567890"},
        {"{\"custom_id\":NaN}", NO_ID},
        {"{\"custom_id\":-}", NO_ID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_request *r = read_line(rows[i].line);
        if (strcmp(r->custom_id, rows[i].id) != 0)
            fail_msg("%s: id %s, expected %s", rows[i].line, r->custom_id, rows[i].id);
        check_failed(r, rows[i].line, "invalid_json", "");
    }
}

#define ENVELOPE(id, prompt)                                                 \
    "{\"custom_id\":" id ",\"method\":\"POST\",\"url\":\"/v1/completions\"," \
    "\"body\":{\"prompt\":\"" prompt "\"}}"

static void test_ids_that_are_served(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id;
    } rows[] = {
        {ENVELOPE("12345", "x"), "12345"},
        {ENVELOPE("-1.50e3", "x"), "-1.50e3"},
        {ENVELOPE("123456789012345678901234567890", "x"), "123456789012345678901234567890"},
        {ENVELOPE("\"\\ud83d\"", "x"), "\xef\xbf\xbd"},
        {ENVELOPE("\"line-7\"", "x"), "line-7"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_request *r = read_line(rows[i].line);
        assert_int_equal(r->error.http_status, 0);
        assert_string_equal(r->custom_id, rows[i].id);
        sl_request_free(r);
    }
}

/* Half a character, which Python writes when a text was cut inside one, is U+FFFD; whole ones stay.
 */
static void test_lone_surrogates(void **state)
{
    (void)state;
    static const struct {
        const char *prompt, *text;
    } rows[] = {
        {"\\ud83d", "\xef\xbf\xbd"},
        {"\\udE00x", "\xef\xbf\xbdx"},
        {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
        {"\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\\ud83d\\n", "\xef\xbf\xbd\n"},
        {"\\\\ud83d", "\\ud83d"},
        {"\\\\\\ud83d", "\\\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char fields[64];
        snprintf(fields, sizeof fields, "\"prompt\":\"%s\"", rows[i].prompt);
        sl_request *r = served(&plain, COMPLETIONS, fields);
        check_prompt(r, -1, rows[i].text);
        sl_request_free(r);
    }
}

static uint64_t hash_of(const char *line)
{
    sl_request_key key;
    assert_int_equal(sl_request_line_key(line, strlen(line), LINE, &key), SL_OK);
    free(key.custom_id);
    return key.body_hash;
}

/* The hash is of what is asked for. */
static void test_hashes(void **state)
{
    (void)state;
    const uint64_t hash = hash_of("{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"u\","
                                  "\"body\":{\"x\":1,\"y\":{\"z\":\"\\u0061\",\"a\":1.50}}}");
    assert_true(hash == hash_of(" {\"body\": {\"y\": {\"a\": 1.5, \"z\": \"a\"}, \"x\": 1},"
                                "\"url\":\"u\", \"method\":\"POST\", \"custom_id\":\"b\"}\r"));
    static const char *const others[] = {
        "{\"method\":\"POST\",\"url\":\"u\",\"body\":{\"x\":2,\"y\":{\"z\":\"a\",\"a\":1.5}}}",
        "{\"method\":\"POST\",\"url\":\"v\",\"body\":{\"x\":1,\"y\":{\"z\":\"a\",\"a\":1.5}}}",
        "{\"method\":\"GET\",\"url\":\"u\",\"body\":{\"x\":1,\"y\":{\"z\":\"a\",\"a\":1.5}}}",
        "{\"method\":\"POST\",\"url\":\"u\",\"body\":{\"x\":1,\"y\":[{\"z\":\"a\",\"a\":1.5}]}}",
        "{\"method\":\"POST\",\"url\":\"u\"}",
        "not json",
        "not json ",
        "",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_true(hash != hash_of(others[i]));
        assert_true(hash_of(others[i]) != hash_of(others[(i + 1) % 8]));
    }
}

static void test_bad_envelopes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id, *code, *param;
    } rows[] = {
        {"", NO_ID, "invalid_json", ""},
        {"not json", NO_ID, "invalid_json", ""},
        {"[]", NO_ID, "invalid_json", ""},
        {"\"text\"", NO_ID, "invalid_json", ""},
        {"null", NO_ID, "invalid_json", ""},
        {"{\"custom_id\":\"\"}", NO_ID, "invalid_value", "custom_id"},
        {"{\"custom_id\":\"a\\u0000b\"}", NO_ID, "invalid_value", "custom_id"},
        {"{\"custom_id\":true}", NO_ID, "invalid_value", "custom_id"},
        {"{\"custom_id\":null}", NO_ID, "invalid_value", "method"},
        {"{\"custom_id\":\"a\"}", "a", "invalid_value", "method"},
        {"{\"custom_id\":\"a\",\"method\":\"GET\"}", "a", "invalid_value", "method"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\\u0000\"}", "a", "invalid_value", "method"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\"}", "a", "invalid_url", "url"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/embeddings\"}", "a", "invalid_url",
         "url"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\"}", "a",
         "missing_required_parameter", "body"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":[]}", "a",
         "missing_required_parameter", "body"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_request *r = read_line(rows[i].line);
        assert_string_equal(r->custom_id, rows[i].id);
        check_failed(r, rows[i].line, rows[i].code, rows[i].param);
    }
    sl_request *r = read_line(" {\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":"
                              "{\"prompt\":\"x\"}}\r");
    assert_int_equal(r->error.http_status, 0);
    assert_string_equal(r->custom_id, NO_ID);
    sl_request_free(r);
}

static void test_long_ids(void **state)
{
    (void)state;
    char line[700], id[514];
    memset(id, 'i', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    snprintf(line, sizeof line, "{\"custom_id\":\"%s\"}", id + 1);
    sl_request *r = read_line(line);
    assert_string_equal(r->custom_id, id + 1);
    sl_request_free(r);
    snprintf(line, sizeof line, "{\"custom_id\":\"%s\"}", id);
    r = read_line(line);
    assert_string_equal(r->custom_id, id);
    check_failed(r, line, "invalid_value", "custom_id");
}

/* --- hostile lines --- */

/* `open` ten thousand times in front, alone and as a field of a body. */
static void test_deep_nesting(void **state)
{
    (void)state;
    static const char *const opens[] = {"[", "{\"a\":", "{\"body\":["};
    for (size_t i = 0; i < 3; i++) {
        const size_t step = strlen(opens[i]), bytes = 10000 * step;
        char *line = malloc(bytes);
        for (size_t j = 0; j < bytes; j++) line[j] = opens[i][j % step];
        const sl_request_reader reader = reader_of(&plain);
        check_failed(read_with(&reader, line, bytes), opens[i], "invalid_json", "");
        free(line);
    }
    /* As deep as the parser allows is data like any other. */
    char fields[4100] = "\"prompt\":\"x\",\"metadata\":";
    const size_t start = strlen(fields);
    memset(fields + start, '[', 2000);
    memset(fields + start + 2000, ']', 2000);
    fields[start + 4000] = '\0';
    sl_request_free(served(&plain, COMPLETIONS, fields));
}

static void test_a_20_mb_line(void **state)
{
    (void)state;
    static const char head[] =
        "{\"custom_id\":\"big\",\"method\":\"POST\",\"url\":\"/v1/completions\","
        "\"body\":{\"prompt\":\"";
    static const char *const bodies[] = {"the rain ", "\\u00e9", "\\n"};
    const size_t bytes = 20u << 20;
    const sl_request_reader reader = reader_of(&plain);
    char *line = malloc(bytes);
    for (size_t i = 0; i < 3; i++) {
        const size_t step = strlen(bodies[i]);
        size_t at = strlen(head);
        memcpy(line, head, at);
        for (; at + step + 3 <= bytes; at += step) memcpy(line + at, bodies[i], step);
        memcpy(line + at, "\"}}", 3);
        sl_request *r = read_with(&reader, line, at + 3);
        assert_string_equal(r->custom_id, "big");
        check_failed(r, "20 MB", "context_length_exceeded", "prompt");
        check_failed(read_with(&reader, line, at), "20 MB, cut", "invalid_json", "");
    }
    free(line);
}

/* What would take many times its line's bytes is refused before it does: with the limit of values,
 * and without it in strings. */
static void test_greedy_lines(void **state)
{
    (void)state;
    static const struct {
        const char *url, *field, *item, *end, *code, *param;
    } cases[] = {
        {COMPLETIONS, "\"prompt\":\"x\",\"metadata\":[", "{},", "0]}}", "invalid_json", ""},
        {COMPLETIONS, "\"prompt\":\"x\",\"metadata\":[", "[],", "0]}}", "invalid_json", ""},
        {COMPLETIONS, "\"prompt\":[", "5,", "5]}}", "invalid_json", ""},
        {COMPLETIONS, "\"prompt\":\"", "aaaa", "\"}}", "context_length_exceeded", "prompt"},
        {COMPLETIONS, "\"prompt\":\"", "[,\\\"{", "\"}}", "context_length_exceeded", "prompt"},
        {CHAT, "\"messages\":[{\"role\":\"user\",\"content\":\"", "aaaa", "\"}]}}",
         "context_length_exceeded", "messages"},
        {COMPLETIONS, "\"prompt\":\"x\",\"model\":\"", "m", "\"}}", "invalid_value", "model"},
    };
    const size_t bytes_max = 8u << 20;
    const sl_request_reader reader = reader_of(&plain);
    char *line = malloc(bytes_max);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t step = strlen(cases[i].item), n_end = strlen(cases[i].end);
        size_t at = (size_t)snprintf(
            line, bytes_max, "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"%s\",\"body\":{%s",
            cases[i].url, cases[i].field);
        for (; at + step + n_end <= bytes_max; at += step) memcpy(line + at, cases[i].item, step);
        memcpy(line + at, cases[i].end, n_end);
#if COUNTS_MALLOC
        const size_t asked = malloc_count.bytes;
#endif
        check_failed(read_with(&reader, line, at + n_end), cases[i].item, cases[i].code,
                     cases[i].param);
#if COUNTS_MALLOC /* jansson doubles a text's room, and the line is read twice here */
        assert_in_range(malloc_count.bytes - asked, 0, 12 * bytes_max);
#endif
    }
    /* As many token ids as a context could ever have are read, and then counted. */
    size_t at = (size_t)sprintf(line, "{\"method\":\"POST\",\"url\":\"" COMPLETIONS
                                      "\",\"body\":{\"prompt\":[");
    for (int i = 0; i < 1000000; i++) at += (size_t)sprintf(line + at, "5,");
    at += (size_t)sprintf(line + at, "5]}}");
    check_failed(read_with(&reader, line, at), "ids", "context_length_exceeded", "prompt");
    free(line);
}

/* Every prefix of a good line is an error record; every line with one byte changed is something. */
static void test_broken_lines(void **state)
{
    (void)state;
    static const char line[] =
        "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":"
        "[3,4,5],\"stop\":[\"x\"],\"logit_bias\":{\"5\":1},\"logprobs\":2,\"echo\":true,\"seed\":"
        "12}}";
    const sl_request_reader reader = reader_of(&plain);
    for (size_t bytes = 0; bytes + 1 < sizeof line; bytes++)
        check_failed(read_with(&reader, line, bytes), "cut", "invalid_json", "");
    char changed[sizeof line];
    for (size_t at = 0; at + 1 < sizeof line; at++)
        for (const char *c = "\xff\"{[],:09-\\ tx"; *c; c++) {
            memcpy(changed, line, sizeof line);
            changed[at] = *c;
            sl_request_free(read_with(&reader, changed, sizeof line - 1));
        }
}

/* What others know is honoured, harmless, or an error: never only warned about. */
static void test_known_fields(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "\"guided_json\":{}",
        "\"guided_regex\":\"[0-9]\"",
        "\"guided_choice\":[\"a\"]",
        "\"guided_grammar\":\"root\"",
        "\"structured_outputs\":{\"choice\":[\"a\"]}",
        "\"include_stop_str_in_output\":true",
        "\"skip_special_tokens\":false",
        "\"prompt_logprobs\":0",
        "\"allowed_token_ids\":[1]",
        "\"bad_words\":[\"a\"]",
        "\"use_beam_search\":true",
        "\"length_penalty\":0.5",
        "\"early_stopping\":true",
        "\"logits_processors\":[\"a\"]",
        "\"chat_template\":\"x\"",
        "\"chat_template_kwargs\":{\"enable_thinking\":false}",
        "\"add_generation_prompt\":false",
        "\"continue_final_message\":true",
        "\"documents\":[{}]",
        "\"kv_transfer_params\":{\"a\":1}",
        "\"return_tokens_as_token_ids\":true",
        "\"vllm_xargs\":{\"a\":1}",
        "\"grammar\":\"root\"",
        "\"json_schema\":{}",
        "\"mirostat\":2",
        "\"typical_p\":0.9",
        "\"dynatemp_range\":0.5",
        "\"dry_multiplier\":0.8",
        "\"xtc_probability\":0.5",
        "\"top_n_sigma\":1",
        "\"n_probs\":2",
        "\"samplers\":[\"top_k\"]",
        "\"t_max_predict_ms\":10",
        "\"input_prefix\":\"a\"",
        "\"lora\":[{\"id\":0}]",
        "\"post_sampling_probs\":true",
        "\"return_tokens\":true",
        "\"regex\":\"a\"",
        "\"ebnf\":\"a\"",
        "\"no_stop_trim\":true",
        "\"separate_reasoning\":true",
        "\"reasoning_effort\":\"low\"",
        "\"verbosity\":\"low\"",
        "\"web_search_options\":{}",
        "\"extra_body\":{\"top_k\":1}",
        "\"max_new_tokens\":5",
        "\"options\":{\"num_predict\":1}",
        "\"format\":\"json\"",
        "\"enable_thinking\":false",
        "\"thinking\":{\"type\":\"disabled\"}",
        "\"repeat_penalty\":1.5",
        "\"repeat_penalty\":1.5,\"repeat_last_n\":32",
    };
    static const char *const served_as_is[] = {
        "\"guided_json\":null,\"guided_regex\":\"\",\"guided_choice\":[],\"structured_outputs\":{}",
        "\"guided_decoding_backend\":\"outlines\",\"spaces_between_special_tokens\":false",
        "\"include_stop_str_in_output\":false,\"skip_special_tokens\":true,\"bad_words\":[]",
        "\"use_beam_search\":false,\"length_penalty\":1.0,\"early_stopping\":false,\"best_of\":1",
        "\"chat_template_kwargs\":{},\"add_generation_prompt\":true,\"priority\":5",
        "\"min_tokens\":0,\"max_tokens\":5",
        "\"mirostat\":0,\"mirostat_tau\":5.0,\"mirostat_eta\":0.1,\"typical_p\":1,\"n_probs\":0",
        "\"dry_multiplier\":0.0,\"dry_base\":1.75,\"xtc_probability\":0,\"xtc_threshold\":0.1",
        "\"repeat_penalty\":1.0,\"repeat_last_n\":64,\"top_n_sigma\":-1,\"min_keep\":0",
        "\"repeat_last_n\":32,\"cache_prompt\":true,\"id_slot\":-1,\"n_keep\":5,\"grammar\":\"\"",
        "\"t_max_predict_ms\":-1,\"lora\":[],\"samplers\":[],\"timings_per_token\":true",
        "\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":true,\"service_tier\":\"flex\"",
        "\"safety_identifier\":\"u\",\"parallel_tool_calls\":true,\"tools\":[],\"suffix\":\"\"",
        "\"stream_options\":{\"include_usage\":true},\"prediction\":{\"type\":\"content\"}",
        "\"verbosity\":\"medium\",\"reasoning_effort\":null,\"separate_reasoning\":false",
    };
    sl_request_warnings warnings = {0};
    sl_request_reader reader = reader_of(&plain);
    reader.warnings = &warnings;
    for (int chat = 0; chat < 2; chat++) {
        char line[600];
        static const char form[] = "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"%s\","
                                   "\"body\":{%s,%s}}";
        const char *url = chat ? CHAT : COMPLETIONS, *prompt = chat ? HELLO : "\"prompt\":\"x\"";
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            snprintf(line, sizeof line, form, url, prompt, refused[i]);
            sl_request *r = read_with(&reader, line, strlen(line));
            if (strcmp(r->error.code, "unsupported_value") != 0 ||
                !strstr(refused[i], r->error.param))
                fail_msg("%s: %s", refused[i], r->error.message);
            sl_request_free(r);
        }
        for (size_t i = 0; i < sizeof served_as_is / sizeof *served_as_is; i++) {
            snprintf(line, sizeof line, form, url, prompt, served_as_is[i]);
            sl_request *r = read_with(&reader, line, strlen(line));
            if (r->error.http_status != 0) fail_msg("%s: %s", served_as_is[i], r->error.message);
            sl_request_free(r);
        }
        assert_int_equal(warnings.n, 0);
    }
}

static void test_ends(void **state)
{
    (void)state;
    sl_request *r = served(&plain, COMPLETIONS,
                           "\"prompt\":\"x\",\"stop_token_ids\":[7,299],\"min_tokens\":3");
    assert_int_equal(r->n_stop_tokens, 2);
    assert_int_equal(r->stop_tokens[1], 299);
    assert_int_equal(r->sampling.min_tokens, 3);
    assert_in_range(r->sampling.n_ends, 3, SL_ENDS_MAX);
    assert_int_equal(r->sampling.ends[0], 7);
    for (uint32_t i = 2; i < r->sampling.n_ends; i++)
        assert_true(sl_tokenizer_ends(plain.tokenizer, r->sampling.ends[i]));
    sl_request_free(r);
    r = served(&plain, COMPLETIONS, "\"prompt\":\"x\",\"stop_token_ids\":[7]");
    assert_true(r->sampling.min_tokens == 0 && r->sampling.n_ends == 0);
    sl_request_free(r);
    static const struct {
        const char *fields, *param;
    } rows[] = {
        {"\"stop_token_ids\":7", "stop_token_ids"},
        {"\"stop_token_ids\":[300]", "stop_token_ids"},
        {"\"stop_token_ids\":[-1]", "stop_token_ids"},
        {"\"stop_token_ids\":[\"a\"]", "stop_token_ids"},
        {"\"min_tokens\":-1", "min_tokens"},
        {"\"min_tokens\":6,\"max_tokens\":5", "min_tokens"},
        {"\"min_tokens\":17", "min_tokens"}, /* the default is 16 */
        {"\"n_predict\":3,\"max_tokens\":5", "n_predict"},
        {"\"truncate_prompt_tokens\":0", "truncate_prompt_tokens"},
        {"\"truncate_prompt_tokens\":-2", "truncate_prompt_tokens"},
        {"\"repeat_penalty\":2,\"repetition_penalty\":3,\"repeat_last_n\":-1", "repeat_penalty"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char fields[200];
        snprintf(fields, sizeof fields, "\"prompt\":\"x\",%s", rows[i].fields);
        check_failed(read_fields(&plain, COMPLETIONS, fields), fields, "invalid_value",
                     rows[i].param);
    }
}

/* Other names of what is there. */
static void test_aliases(void **state)
{
    (void)state;
    sl_request *r = served(&plain, COMPLETIONS,
                           "\"prompt\":\"x\",\"n_predict\":5,\"repeat_penalty\":1.5,"
                           "\"repeat_last_n\":-1");
    assert_int_equal(r->max_tokens, 5);
    assert_true(r->sampling.repetition_penalty == 1.5f);
    sl_request_free(r);
    r = served(&plain, "/completions", "\"prompt\":\"x\",\"n_predict\":-1");
    assert_int_equal(r->max_tokens, CONTEXT - 1);
    sl_request_free(r);
    r = served(&plain, "/chat/completions", HELLO);
    assert_true(r->chat);
    sl_request_free(r);

    sl_request *system = served(&plain, CHAT,
                                "\"messages\":[{\"role\":\"system\",\"content\":\"a\"},"
                                "{\"role\":\"assistant\",\"content\":\"\"}]");
    r = served(&plain, CHAT,
               "\"messages\":[{\"role\":\"developer\",\"content\":\"a\"},"
               "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":null}]");
    assert_int_equal(r->n_prompt, system->n_prompt);
    assert_memory_equal(r->prompt, system->prompt, r->n_prompt * sizeof *r->prompt);
    sl_request_free(r);
    sl_request_free(system);
}

static void check_truncated(const char *fields, size_t n, int32_t first)
{
    sl_request *r = served(&plain, COMPLETIONS, fields);
    assert_int_equal(r->n_prompt, n);
    assert_int_equal(r->prompt[0], first);
    assert_int_equal(r->prompt[n - 1], 9);
    sl_request_free(r);
}

static void test_truncation(void **state)
{
    (void)state;
    check_truncated("\"prompt\":[1,2,3,9],\"truncate_prompt_tokens\":2", 2, 3);
    check_truncated("\"prompt\":[1,2,3,9],\"truncate_prompt_tokens\":9", 4, 1);
    check_truncated("\"prompt\":[1,2,3,9],\"truncate_prompt_tokens\":-1", 4, 1);
    check_truncated("\"prompt\":[1,2,3,9],\"truncate_prompt_tokens\":-1,\"max_tokens\":198", 2, 3);
    check_truncated("\"prompt\":[1,2,3,9],\"truncate_prompt_tokens\":-1,\"max_tokens\":1000", 1, 9);

    /* A text that could never fit. */
    const size_t bytes = 200000;
    char *fields = malloc(bytes + 100);
    char *at = stpcpy(fields, "\"truncate_prompt_tokens\":3,\"prompt\":\"");
    for (size_t i = 0; i < bytes / 2; i++) at = stpcpy(at, "\xc3\xa9");
    stpcpy(at, "abc\"");
    sl_request *r = served(&plain, COMPLETIONS, fields);
    assert_int_equal(r->n_prompt, 3);
    sl_request_free(r);
    free(fields);
}

static void test_unknown_fields(void **state)
{
    (void)state;
    sl_request_warnings warnings = {0};
    sl_request_reader reader = reader_of(&plain);
    reader.warnings = &warnings;
    static const char line[] =
        "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"extra\":1,\"body\":"
        "{\"prompt\":\"x\",\"user\":\"u\",\"new\\u001b\":1,\"newer\":[]}}";
    for (int i = 0; i < 3; i++) {
        sl_request *r = read_with(&reader, line, strlen(line));
        assert_int_equal(r->error.http_status, 0);
        sl_request_free(r);
        assert_int_equal(warnings.n, 3); /* extra, new, newer: each told once */
    }
    for (int i = 0; i < 100; i++) {
        char many[200];
        snprintf(many, sizeof many,
                 "{\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":"
                 "{\"prompt\":\"x\",\"unknown%d\":1}}",
                 i);
        sl_request *r = read_with(&reader, many, strlen(many));
        assert_int_equal(r->error.http_status, 0);
        sl_request_free(r);
    }
    assert_int_equal(warnings.n, SL_REQUEST_WARNINGS_MAX + 1);
}

static int open_models(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &plain);
    tiny_model_open(TINY_WITH_BOS, &with_bos);
    return 0;
}

static int close_models(void **state)
{
    (void)state;
    tiny_model_close(&plain);
    tiny_model_close(&with_bos);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completion_defaults),
        cmocka_unit_test(test_all_values),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_prompt_forms),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_stop_bounds),
        cmocka_unit_test(test_bias_bounds),
        cmocka_unit_test(test_ids_of_broken_lines),
        cmocka_unit_test(test_ids_that_are_served),
        cmocka_unit_test(test_lone_surrogates),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_bad_envelopes),
        cmocka_unit_test(test_long_ids),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_a_20_mb_line),
        cmocka_unit_test(test_greedy_lines),
        cmocka_unit_test(test_broken_lines),
        cmocka_unit_test(test_known_fields),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_unknown_fields),
    };
    sl_log_set_level(SL_LOG_ERROR);
    return cmocka_run_group_tests(tests, open_models, close_models);
}

/* A request's prompts and the values of its fields: what is served, and what is an error record. */

#include <xxhash.h>

#include "tests/support/request_cases.h"

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
    assert_string_equal(r->error.message, sl_chat_missing_text());
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
        {CHAT, HELLO ",\"tools\":{\"type\":\"function\"}", "invalid_type", "tools"},
        {COMPLETIONS, "\"prompt\":\"x\",\"tools\":[{}]", "unsupported_value", "tools"},
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
         "invalid_value", "messages"},
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
    };
    sl_log_set_level(SL_LOG_ERROR);
    return cmocka_run_group_tests(tests, open_models, close_models);
}

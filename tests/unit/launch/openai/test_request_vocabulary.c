/* Fields that peers know, slips of their names, and fields that are not known. */
#include "tests/support/request_cases.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_fields),   cmocka_unit_test(test_ends),
        cmocka_unit_test(test_aliases),        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_unknown_fields),
    };
    sl_log_set_level(SL_LOG_ERROR);
    return cmocka_run_group_tests(tests, open_models, close_models);
}

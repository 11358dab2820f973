/* Records out: their shape to the byte, what no JSON can hold, and reading them back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "launch/openai/openai.h"
#include "runtime/base/append.h"
#include "tests/support/tiny_model_group.h"

enum { CREATED = 1700000000 };

static sl_request *make_request(const char *url, const char *fields)
{
    const sl_request_reader reader = {
        .tokenizer = model.tokenizer, .chat = model.chat, .context = 500, .choices_max = 4};
    char line[1000];
    snprintf(line, sizeof line,
             "{\"custom_id\":\"id \\\"1\\\" "
             "\xc3\xa9\",\"method\":\"POST\",\"url\":\"%s\",\"body\":{%s}}",
             url, fields);
    sl_request *request;
    assert_int_equal(sl_request_read(&reader, line, strlen(line), 3, &request), SL_OK);
    return request;
}

/* What the driver would have done: one token a byte, with one made-up log-probability each. */
static void generate(sl_choice *choice, const char *text, sl_finish finish)
{
    for (; *text; text++) {
        if (choice->details) choice->details[choice->n_tokens].logprob = -0.5f;
        choice->tokens[choice->n_tokens++] = tiny_byte((unsigned char)*text);
    }
    choice->finish = finish;
}

static void end_by_token(sl_choice *choice)
{
    choice->tokens[choice->n_tokens++] = TINY_IM_END;
    choice->ended_by_token = true;
    choice->finish = SL_FINISH_STOP;
}

static void set_top(sl_token_detail *detail, int32_t token, float logprob)
{
    detail->top[detail->n_top++] = (sl_token_logprob){token, logprob};
}

static char *tell(const sl_request *request)
{
    size_t bytes;
    char *line = sl_result_line(request, model.tokenizer, CREATED, &bytes);
    assert_non_null(line);
    assert_int_equal(strlen(line), bytes);
    assert_ptr_equal(strchr(line, '\n'), line + bytes - 1);
    return line;
}

/* `expected` with every '#' standing for the request's hash. */
static void check_line(const sl_request *request, const char *expected)
{
    char *line = tell(request), *again = tell(request);
    assert_string_equal(line, again);
    static const char head[] = "{\"id\":\"batch_req_";
    assert_memory_equal(line, head, sizeof head - 1);
    const char *hash = line + sizeof head - 1;
    char whole[4000];
    size_t n = 0;
    for (const char *c = expected; *c; c++)
        sl_append(whole, sizeof whole, &n, "%.*s", *c == '#' ? 16 : 1, *c == '#' ? hash : c);
    assert_string_equal(line, whole);
    free(line);
    free(again);
}

static json_t *first_choice(const sl_request *request, json_t **root_out)
{
    char *line = tell(request);
    *root_out = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    free(line);
    json_t *choice = NULL;
    assert_int_equal(
        json_unpack(*root_out, "{s:{s:{s:[o]}}}", "response", "body", "choices", &choice), 0);
    return choice;
}

static void test_completion_to_the_byte(void **state)
{
    (void)state;
    sl_request *r = make_request("/v1/completions",
                                 "\"model\":\"m\",\"prompt\":[3,4],\"n\":2,\"max_tokens\":20");
    generate(&r->choices[0], "say \"\xc3\xa9\"\n", SL_FINISH_LENGTH);
    generate(&r->choices[1], "cut here", SL_FINISH_STOP);
    r->choices[1].stop_text_end = 4;
    r->choices[0].seen = 60, r->choices[0].kept = 20, r->choices[0].cache_bytes = 1000;
    r->choices[1].seen = 20, r->choices[1].kept = 0, r->choices[1].cache_bytes = 2000;
    check_line(r,
               "{\"id\":\"batch_req_#\",\"custom_id\":\"id \\\"1\\\" \xc3\xa9\",\"response\":"
               "{\"status_code\":200,\"request_id\":\"#\",\"body\":{\"id\":\"cmpl-#\",\"object\":"
               "\"text_completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":["
               "{\"index\":0,\"text\":\"say \\\"\xc3\xa9\\\"\\n\",\"logprobs\":null,"
               "\"finish_reason\":\"length\"},{\"index\":1,\"text\":\"cut \",\"logprobs\":null,"
               "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,"
               "\"completion_tokens\":17,\"total_tokens\":19,"
               "\"sluice\":{\"retention\":0.25,\"cache_bytes\":3000}}}},\"error\":null}\n");
    sl_request_free(r);
}

static void test_chat_to_the_byte(void **state)
{
    (void)state;
    sl_request *r = make_request("/v1/chat/completions",
                                 "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                                 "\"logprobs\":true,\"top_logprobs\":1,\"max_tokens\":9");
    r->n_prompt = 5;
    generate(&r->choices[0], "A", SL_FINISH_NONE);
    set_top(&r->choices[0].details[0], tiny_byte('B'), -0.1f);
    r->choices[0].details[1].logprob = 0;
    end_by_token(&r->choices[0]);
    check_line(
        r, "{\"id\":\"batch_req_#\",\"custom_id\":\"id \\\"1\\\" \xc3\xa9\",\"response\":"
           "{\"status_code\":200,\"request_id\":\"#\",\"body\":{\"id\":\"chatcmpl-#\","
           "\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"\",\"choices\":["
           "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A\",\"refusal\":null},"
           "\"logprobs\":{\"content\":[{\"token\":\"A\",\"logprob\":-0.5,\"bytes\":[65],"
           "\"top_logprobs\":[{\"token\":\"B\",\"logprob\":-0.100000001,\"bytes\":[66]}]},"
           "{\"token\":\"<|im_end|>\",\"logprob\":0.0,\"bytes\":[60,124,105,109,95,101,110,"
           "100,124,62],\"top_logprobs\":[]}],\"refusal\":null},\"finish_reason\":\"stop\"}],"
           "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7,"
           "\"sluice\":{\"retention\":1.0,\"cache_bytes\":0}}}},"
           "\"error\":null}\n");
    sl_request_free(r);
}

/* What is thought becomes reasoning_content, beside the content. */
static void test_reasoning(void **state)
{
    (void)state;
    static const struct {
        sl_chat_thought thought;
        const char *text, *reasoning, *content;
    } rows[] = {
        {SL_CHAT_NO_THOUGHT, "<think>a</think>b", NULL, "<think>a</think>b"},
        {SL_CHAT_MAY_THINK, "<think>\n\na\n b\n</think>\n\n c\n", "a\n b", " c\n"},
        {SL_CHAT_MAY_THINK, "\n <think>a</think>", "a", ""},
        {SL_CHAT_MAY_THINK, "<think>\r\na <think> b", "a <think> b", ""},
        {SL_CHAT_MAY_THINK, "<think>\n\n</think>\n\nb", NULL, "b"},
        {SL_CHAT_MAY_THINK, "b <think>a</think>", NULL, "b <think>a</think>"},
        {SL_CHAT_MAY_THINK, "<thin", NULL, "<thin"},
        {SL_CHAT_MAY_THINK, "a</think>b", NULL, "a</think>b"},
        {SL_CHAT_THINKS, "a\n</think>\nb</think>c", "a", "b</think>c"},
        {SL_CHAT_THINKS, "a\n", "a", ""},
        {SL_CHAT_THINKS, "<think>a</think>b", "a", "b"},
        {SL_CHAT_THINKS, "</think>b", NULL, "b"},
        {SL_CHAT_THINKS, "", NULL, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_request *r = make_request("/v1/chat/completions",
                                     "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                                     "\"max_tokens\":100");
        r->thought = rows[i].thought;
        generate(&r->choices[0], rows[i].text, SL_FINISH_LENGTH);
        json_t *root;
        const json_t *message = json_object_get(first_choice(r, &root), "message");
        const char *content = json_string_value(json_object_get(message, "content"));
        const json_t *reasoning = json_object_get(message, "reasoning_content");
        assert_string_equal(content, rows[i].content);
        assert_int_equal(reasoning != NULL, rows[i].reasoning != NULL);
        if (reasoning) assert_string_equal(json_string_value(reasoning), rows[i].reasoning);
        json_decref(root);
        sl_request_free(r);
    }
}

static void test_error_to_the_byte(void **state)
{
    (void)state;
    sl_request *r = make_request("/v1/completions", "\"prompt\":\"x\",\"suffix\":\"y\"");
    check_line(r,
               "{\"id\":\"batch_req_#\",\"custom_id\":\"id \\\"1\\\" \xc3\xa9\",\"response\":"
               "{\"status_code\":400,\"request_id\":\"#\",\"body\":{\"error\":{\"message\":"
               "\"'suffix' is not supported: text cannot be inserted before a suffix\",\"type\":"
               "\"invalid_request_error\",\"param\":\"suffix\",\"code\":\"unsupported_value\"}}},"
               "\"error\":{\"code\":\"unsupported_value\",\"message\":\"'suffix' is not supported: "
               "text cannot be inserted before a suffix\"}}\n");
    sl_request_free(r);

    /* Ours, after some tokens came: no choices, no param. */
    r = make_request("/v1/completions", "\"prompt\":\"x\"");
    generate(&r->choices[0], "half", SL_FINISH_NONE);
    sl_request_fail(r, 500, "out_of_pages", "", "needs %d pages", 9);
    char *line = tell(r);
    assert_non_null(strstr(line, "\"status_code\":500"));
    assert_non_null(strstr(line, "{\"message\":\"needs 9 pages\",\"type\":\"server_error\","
                                 "\"param\":null,\"code\":\"out_of_pages\"}"));
    assert_null(strstr(line, "half"));
    free(line);
    sl_request_free(r);
}

/* echo: the prompt's text in front, its first token without a log-probability. */
static void test_echo(void **state)
{
    (void)state;
    sl_request *r = make_request(
        "/v1/completions",
        "\"prompt\":[198,172,2,68],\"echo\":true,\"logprobs\":2,\"max_tokens\":9");
    assert_int_equal(tiny_byte(0xc3), 198); /* the prompt: e acute, <|im_end|>, A */
    r->prompt_details[1].logprob = -INFINITY;
    r->prompt_details[2].logprob = NAN;
    r->prompt_details[3].logprob = -0.25f;
    set_top(&r->prompt_details[3], tiny_byte('z'), -0.125f);
    set_top(&r->prompt_details[3], tiny_byte('A'), -0.25f);
    generate(&r->choices[0], "bye", SL_FINISH_STOP);
    set_top(&r->choices[0].details[0], tiny_byte(0), -1);
    r->choices[0].stop_text_end = 1;

    json_t *root, *choice = first_choice(r, &root), *lists = json_object_get(choice, "logprobs");
    assert_string_equal(json_string_value(json_object_get(choice, "text")), "\xc3\xa9"
                                                                            "Ab");
    char *told = json_dumps(lists, JSON_COMPACT);
    assert_string_equal(
        told,
        "{\"tokens\":[\"bytes:\\\\xc3\",\"bytes:\\\\xa9\",\"<|im_end|>\",\"A\",\"b\",\"y\",\"e\"],"
        "\"token_logprobs\":[null,-9999.0,null,-0.25,-0.5,-0.5,-0.5],"
        "\"top_logprobs\":[null,{\"bytes:\\\\xa9\":-9999.0},{\"<|im_end|>\":null},"
        "{\"z\":-0.125,\"A\":-0.25},{\"bytes:\\\\x00\":-1.0,\"b\":-0.5},{\"y\":-0.5},"
        "{\"e\":-0.5}],\"text_offset\":[0,0,1,1,2,3,3]}");
    free(told);
    json_decref(root);
    sl_request_free(r);
}

/* Scoring alone: no completion, all in the prompt. */
static void test_score_only(void **state)
{
    (void)state;
    sl_request *r = make_request(
        "/v1/completions", "\"prompt\":[68,69],\"echo\":true,\"logprobs\":0,\"max_tokens\":0");
    r->prompt_details[1].logprob = -3;
    r->choices[0].finish = SL_FINISH_LENGTH;
    json_t *root, *choice = first_choice(r, &root);
    char *told = json_dumps(choice, JSON_COMPACT);
    assert_string_equal(told, "{\"index\":0,\"text\":\"AB\",\"logprobs\":{\"tokens\":[\"A\",\"B\"],"
                              "\"token_logprobs\":[null,-3.0],\"top_logprobs\":[null,{\"B\":-3.0}],"
                              "\"text_offset\":[0,1]},\"finish_reason\":\"length\"}");
    free(told);
    json_decref(root);
    sl_request_free(r);
}

static void test_halves_are_valid_text(void **state)
{
    (void)state;
    sl_request *r = make_request("/v1/chat/completions",
                                 "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                                 "\"logprobs\":true,\"max_tokens\":9");
    generate(&r->choices[0], "a\xe2\x82", SL_FINISH_LENGTH);
    json_t *root, *choice = first_choice(r, &root);
    const char *content = NULL, *token = NULL;
    int byte = 0;
    assert_int_equal(json_unpack(choice, "{s:{s:s}, s:{s:[o, {s:s, s:[i]}, o]}}", "message",
                                 "content", &content, "logprobs", "content", &(json_t *){NULL},
                                 "token", &token, "bytes", &byte, &(json_t *){NULL}),
                     0);
    assert_memory_equal(content, "a\xef\xbf\xbd", 4);
    assert_string_equal(token, "bytes:\\xe2");
    assert_int_equal(byte, 0xe2);
    json_decref(root);
    sl_request_free(r);
}

/* Every float comes back as the float it was. */
static void test_floats_round_trip(void **state)
{
    (void)state;
    sl_request *r = make_request("/v1/completions",
                                 "\"prompt\":\"x\",\"logprobs\":0,\"max_tokens\":400");
    sl_choice *choice = &r->choices[0];
    uint64_t random = 11;
    for (; choice->n_tokens < 400; choice->n_tokens++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        choice->tokens[choice->n_tokens] = tiny_byte('a');
        choice->details[choice->n_tokens].logprob = -ldexpf((float)(random >> 40),
                                                            -(int)(choice->n_tokens % 60));
    }
    json_t *root, *packed = first_choice(r, &root);
    const json_t *lists = json_object_get(packed, "logprobs");
    for (size_t i = 0; i < 400; i++) {
        const json_t *value = json_array_get(json_object_get(lists, "token_logprobs"), i);
        assert_true((float)json_real_value(value) == choice->details[i].logprob);
    }
    json_decref(root);
    sl_request_free(r);
}

/* Ids of records depend on the request's id and line, and on nothing else. */
static void test_hash(void **state)
{
    (void)state;
    sl_request *r = make_request("/v1/completions", "\"prompt\":\"x\"");
    char *first = tell(r);
    r->line++;
    char *second = tell(r);
    assert_memory_not_equal(first, second, 33);
    free(first);
    free(second);
    sl_request_free(r);
}

/* --- reading back --- */

static void test_reads_its_own(void **state)
{
    (void)state;
    sl_request *r = make_request(
        "/v1/completions", "\"prompt\":[68,69],\"echo\":true,\"logprobs\":1,\"max_tokens\":2");
    set_top(&r->prompt_details[1], tiny_byte(0), -1); /* a NUL among the keys */
    generate(&r->choices[0], "ab", SL_FINISH_LENGTH);
    for (int failed = 0; failed < 2; failed++) {
        if (failed) sl_request_fail(r, 400, "c", "", "m");
        char *line = tell(r);
        const size_t bytes = strlen(line);
        sl_result_known known = {0};
        assert_int_equal(sl_result_read(line, bytes, &known), SL_OK);
        assert_string_equal(known.custom_id, r->custom_id);
        assert_int_equal(known.failed, failed);
        free(known.custom_id);
        for (size_t cut = 0; cut + 1 < bytes; cut++) { /* a torn line is never a record */
            char *exact = malloc(cut + 1);
            memcpy(exact, line, cut);
            assert_int_equal(sl_result_read(exact, cut, &known), SL_ERR_FORMAT);
            free(exact);
        }
        free(line);
    }
    sl_request_free(r);
}

static void test_reads_others(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        sl_status status;
        bool failed;
    } rows[] = {
        {"{\"custom_id\":\"a\",\"response\":{\"status_code\":200},\"error\":null}", SL_OK, false},
        {"{\"custom_id\":\"a\",\"response\":{\"status_code\":429},\"error\":null}", SL_OK, true},
        {"{\"custom_id\":\"a\",\"response\":null,\"error\":{}}", SL_OK, true},
        {"{\"custom_id\":\"a\",\"response\":null,\"error\":null}", SL_ERR_FORMAT, false},
        {"{\"custom_id\":\"a\",\"response\":{\"status_code\":200}}", SL_ERR_FORMAT, false},
        {"{\"custom_id\":\"a\",\"response\":{},\"error\":null}", SL_ERR_FORMAT, false},
        {"{\"custom_id\":\"a\",\"error\":null}", SL_ERR_FORMAT, false},
        {"{\"custom_id\":\"\",\"response\":{\"status_code\":200},\"error\":null}", SL_ERR_FORMAT,
         false},
        {"{\"custom_id\":5,\"response\":{\"status_code\":200},\"error\":null}", SL_ERR_FORMAT,
         false},
        {"[]", SL_ERR_FORMAT, false},
        {"\xff", SL_ERR_FORMAT, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sl_result_known known = {0};
        assert_int_equal(sl_result_read(rows[i].line, strlen(rows[i].line), &known),
                         rows[i].status);
        assert_int_equal(known.failed, rows[i].failed);
        free(known.custom_id);
    }
}

static void test_deep_and_long_lines(void **state)
{
    (void)state;
    const size_t bytes = 20u << 20;
    char *line = malloc(bytes);
    memset(line, '[', bytes);
    sl_result_known known;
    assert_int_equal(sl_result_read(line, 10000, &known), SL_ERR_FORMAT);
    assert_int_equal(sl_result_read(line, bytes, &known), SL_ERR_FORMAT);
    memset(line, 'x', bytes);
    line[0] = '"';
    assert_int_equal(sl_result_read(line, bytes, &known), SL_ERR_FORMAT);
    free(line);
}

/* --- memory --- */

static long allocations_left;

static void *failing_malloc(size_t bytes) { return allocations_left-- > 0 ? malloc(bytes) : NULL; }

/* Whichever allocation of the JSON library fails: NULL, and nothing leaks (a sanitizer tells). */
static void test_out_of_memory(void **state)
{
    (void)state;
    sl_request *requests[] = {
        make_request("/v1/completions",
                     "\"prompt\":[198,69],\"n\":2,\"echo\":true,\"logprobs\":1,\"max_tokens\":2"),
        make_request("/v1/chat/completions",
                     "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                     "\"logprobs\":true,\"top_logprobs\":1,\"max_tokens\":2"),
        make_request("/v1/completions", ""),
    };
    set_top(&requests[0]->prompt_details[1], tiny_byte('z'), -1);
    generate(&requests[0]->choices[0], "ab", SL_FINISH_LENGTH);
    generate(&requests[1]->choices[0], "ab", SL_FINISH_LENGTH);
    set_top(&requests[1]->choices[0].details[0], tiny_byte('z'), -1);
    for (size_t i = 0; i < 3; i++) {
        long n = 0;
        size_t bytes;
        char *line = NULL;
        for (; !line; n++) {
            allocations_left = n;
            json_set_alloc_funcs(failing_malloc, free);
            line = sl_result_line(requests[i], model.tokenizer, CREATED, &bytes);
            json_set_alloc_funcs(malloc, free);
        }
        assert_true(n > 20);
        char *whole = tell(requests[i]);
        assert_string_equal(line, whole);
        free(line);
        free(whole);
        sl_request_free(requests[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completion_to_the_byte),
        cmocka_unit_test(test_chat_to_the_byte),
        cmocka_unit_test(test_reasoning),
        cmocka_unit_test(test_error_to_the_byte),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_score_only),
        cmocka_unit_test(test_halves_are_valid_text),
        cmocka_unit_test(test_floats_round_trip),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_reads_its_own),
        cmocka_unit_test(test_reads_others),
        cmocka_unit_test(test_deep_and_long_lines),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

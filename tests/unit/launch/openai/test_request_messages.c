/* tests/unit/launch/openai/test_request_messages.c - what of a chat request reaches the model's
 * template: messages, calls of tools, tools, and chat_template_kwargs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/openai/openai.h"
#include "tests/support/tiny_model.h"

static tiny_model model;

/* The request of a body whose template is this one. */
static sl_request *read_body(const char *template, const char *body)
{
    sl_chat *chat;
    sl_request *request = NULL;
    const sl_text text = {template, strlen(template)};
    assert_int_equal(sl_chat_open_template(text, model.tokenizer, &chat), SL_OK);
    const sl_request_reader reader = {
        .tokenizer = model.tokenizer, .chat = chat, .context = 500, .choices_max = 1};
    char line[2000];
    const int n = snprintf(line, sizeof line,
                           "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":"
                           "\"/v1/chat/completions\",\"body\":{%s}}",
                           body);
    assert_int_equal(sl_request_read(&reader, line, (size_t)n, 1, &request), SL_OK);
    sl_chat_close(chat);
    return request;
}

/* The prompt is this text. */
static void assert_prompt(const char *template, const char *body, const char *expected)
{
    sl_tokens ids = {0};
    sl_request *r = read_body(template, body);
    if (r->error.http_status != 0) fail_msg("%s: %s", body, r->error.message);
    assert_int_equal(
        sl_tokenizer_encode(model.tokenizer, expected, strlen(expected), SL_SPECIAL_AS_TEXT, &ids),
        SL_OK);
    if (r->n_prompt != ids.n || memcmp(r->prompt, ids.ids, ids.n * sizeof *ids.ids) != 0)
        fail_msg("%s: %zu tokens, not those of '%s'", body, r->n_prompt, expected);
    sl_tokens_free(&ids);
    sl_request_free(r);
}

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}]"

static void test_names(void **state)
{
    (void)state;
    assert_prompt("{{ messages | tojson }}{{ add_generation_prompt }}{{ tools }}{{ documents }}",
                  HELLO, "[{\"role\": \"user\", \"content\": \"ab\"}]TrueNoneNone");
    assert_prompt("{{ tools | tojson }}", HELLO ",\"tools\":[{\"type\":\"function\",\"b\":1}]",
                  "[{\"type\": \"function\", \"b\": 1}]");
    assert_prompt("{{ tools }}", HELLO ",\"tools\":[]", "None");
    assert_prompt("{{ enable_thinking }}{{ x.y[1] }}{{ messages | length }}",
                  HELLO ",\"chat_template_kwargs\":{\"enable_thinking\":false,"
                        "\"x\":{\"y\":[1,2.5]},\"messages\":[]}",
                  "False2.51");
}

static void test_messages(void **state)
{
    (void)state;
    static const char printed[] = "{% for m in messages %}{{ m | tojson }}{% endfor %}";
    assert_prompt(printed,
                  "\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\","
                  "\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
                  "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"c\"}]",
                  "{\"role\": \"system\", \"content\": \"a\\nb\"}"
                  "{\"role\": \"assistant\", \"content\": \"\", \"reasoning_content\": \"c\"}");
    assert_prompt(printed,
                  "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\",\"type\":"
                  "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":[1]}\"}}]},"
                  "{\"role\":\"tool\",\"content\":\"d\",\"tool_call_id\":\"1\",\"name\":\"f\"}]",
                  "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"id\": \"1\", "
                  "\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": {\"x\": "
                  "[1]}}}]}"
                  "{\"role\": \"tool\", \"content\": \"d\", \"name\": \"f\", \"tool_call_id\": "
                  "\"1\"}");
    /* nothing is an object without members, and a number beyond 64 bits changes no other */
    assert_prompt("{{ messages[0].tool_calls[0].function.arguments }}",
                  "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
                  "{\"name\":\"f\",\"arguments\":\"\"}}]}]",
                  "{}");
    assert_prompt("{{ messages[0].tool_calls[0].function.arguments }}",
                  "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
                  "{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":-18446744073709551616,"
                  "\\\"b\\\":9223372036854775807}\"}}]}]",
                  "{'a': -1.8446744073709552e+19, 'b': 9223372036854775807}");
    assert_prompt("{{ x }}",
                  HELLO ",\"chat_template_kwargs\":{\"x\":[1,9223372036854775808,\"1\\\"2\",-1]}",
                  "[1, 9.223372036854776e+18, '1\"2', -1]");
    /* arguments that are no object stay as they were */
    assert_prompt("{{ messages[0].tool_calls[0].function.arguments }}",
                  "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
                  "{\"name\":\"f\",\"arguments\":\"{x\"}}]}]",
                  "{x");
}

static void assert_refused(const char *template, const char *body, const char *param,
                           const char *message)
{
    sl_request *r = read_body(template, body);
    assert_int_equal(r->error.http_status, 400);
    assert_string_equal(r->error.param, param);
    assert_string_equal(r->error.message, message);
    sl_request_free(r);
}

static void test_refused(void **state)
{
    (void)state;
    assert_refused("a", HELLO ",\"chat_template_kwargs\":[1]", "chat_template_kwargs",
                   "'chat_template_kwargs' must be an object");
    assert_refused("a", HELLO ",\"tools\":\"x\"", "tools", "'tools' must be an array");
    assert_refused("a\n{{ raise_exception('Only users') }}", HELLO, "messages",
                   "chat template, line 2: Only users");
    assert_refused("{% block x %}", HELLO, "messages",
                   "chat template, line 1: the statement 'block' is not known or stands in a wrong "
                   "place");
    assert_refused("a", "\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]", "messages",
                   "message 0: 'tool_calls' must be an array of calls, each with a 'function' that "
                   "has a 'name'");
}

/* A template that prints without end costs what fits in the context, and its steps. */
static void test_hostile_template(void **state)
{
    (void)state;
    sl_request *r = read_body("{% for i in range(99) %}{{ messages[0].content * 100000 }}"
                              "{% endfor %}",
                              HELLO);
    assert_int_equal(r->error.http_status, 400);
    if (strcmp(r->error.code, "context_length_exceeded") != 0) fail_msg("%s", r->error.message);
    assert_non_null(strstr(r->error.message, "cannot fit in the context of 500 tokens"));
    sl_request_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile_template),
    };
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_model_close(&model);
    return failed;
}

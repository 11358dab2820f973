/* tests/unit/launch/openai/test_request_templates.c - chat requests in the form that a template
 * takes: contents that are null or parts, arguments of calls, the date. On small templates, and on
 * those of real models in $SLUICE_TEST_TEMPLATES, the folder that
 * tests/golden/templates/fetch_templates.sh prints. */
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

enum { CONTEXT = 50000, TEXT_BYTES = 60000 };

static tiny_model model;
static const struct tm MARCH = {.tm_year = 125, .tm_mon = 2, .tm_mday = 4};

/* A template, and what the last request printed with it. */
typedef struct {
    sl_chat *chat;
    char said[TEXT_BYTES]; /* or what is wrong */
    sl_chat_thought thought;
} trial;

static void begin(trial *t, const char *template, size_t bytes)
{
    const sl_text text = {template, bytes};
    assert_int_equal(sl_chat_open_template(text, model.tokenizer, &t->chat), SL_OK);
}

static void end(trial *t) { sl_chat_close(t->chat); }

/* False: no templates are there, and the test is skipped. */
static bool begin_file(trial *t, const char *name)
{
    const char *folder = getenv("SLUICE_TEST_TEMPLATES");
    char path[4096], *text = NULL;
    size_t capacity = 0;
    if (!folder) {
        print_message("SLUICE_TEST_TEMPLATES is not set: %s is not tried\n", name);
        return false;
    }
    snprintf(path, sizeof path, "%s/%s.jinja", folder, name);
    FILE *file = fopen(path, "rb");
    const ssize_t n = file ? getdelim(&text, &capacity, '\0', file) : -1;
    if (n < 0) fail_msg("%s is missing", path);
    begin(t, text, (size_t)n);
    fclose(file);
    free(text);
    return true;
}

static void ask(trial *t, const char *body)
{
    sl_request *r = NULL;
    const sl_request_reader reader = {
        .tokenizer = model.tokenizer, .chat = t->chat, .context = CONTEXT, .choices_max = 1};
    char line[4000];
    const int n = snprintf(line, sizeof line,
                           "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":"
                           "\"/v1/chat/completions\",\"body\":{%s}}",
                           body);
    assert_int_equal(sl_request_read(&reader, line, (size_t)n, 1, &r), SL_OK);
    size_t at = 0;
    for (size_t i = 0; i < r->n_prompt; i++) {
        const sl_text piece = sl_tokenizer_piece(model.tokenizer, r->prompt[i]);
        assert_true(at + piece.bytes < sizeof t->said);
        memcpy(t->said + at, piece.data, piece.bytes);
        at += piece.bytes;
    }
    t->said[at] = '\0';
    if (r->error.http_status) snprintf(t->said, sizeof t->said, "ERROR %s", r->error.message);
    t->thought = r->thought;
    sl_request_free(r);
}

static void assert_says(const trial *t, const char *words)
{
    if (!strstr(t->said, words)) fail_msg("'%s' is not in '%s'", words, t->said);
}

static void assert_says_not(const trial *t, const char *words)
{
    if (strstr(t->said, words)) fail_msg("'%s' is in '%s'", words, t->said);
}

/* The second turn of a conversation with a tool, as OpenAI's clients send it. */
#define SECOND_TURN(content, arguments)                                                          \
    "\"messages\":[{\"role\":\"user\",\"content\":\"How warm is it?\"},{\"role\":\"assistant\"," \
    "\"content\":" content ",\"tool_calls\":[{\"id\":\"call00001\",\"type\":\"function\","       \
    "\"function\":{\"name\":\"get_weather\",\"arguments\":" arguments "}}]},"                    \
    "{\"role\":\"tool\",\"tool_call_id\":\"call00001\",\"content\":\"21 degrees\"}],\"tools\":"  \
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"d\","      \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"town\":{\"type\":\"string\","         \
    "\"description\":\"t\"}},\"required\":[\"town\"]}}}]"
#define BERN "\"{\\\"town\\\": \\\"Bern\\\"}\""

static void test_second_turns(void **state)
{
    (void)state;
    static const struct {
        const char *file, *call; /* what the call becomes */
    } rows[] = {
        {"Qwen-Qwen3-0.6B", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"town\": "
                            "\"Bern\"}}\n</tool_call>"},
        {"GLM-4.6", "<tool_call>get_weather\n<arg_key>town</arg_key>\n<arg_value>Bern</arg_value>"},
        {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "{\"town\": \"Bern\"}\n```"},
        {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "{\"town\": \"Bern\"}\n```"},
        {"meetkai-functionary-medium-v3.2", ">>>get_weather\n{\"town\": \"Bern\"}"},
        {"Qwen-QwQ-32B", "{\"name\": \"get_weather\", \"arguments\": {\"town\": \"Bern\"}}"},
        {"HuggingFaceTB-SmolLM3-3B", "21 degrees"},
    };
    static trial t;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!begin_file(&t, rows[i].file)) skip();
        ask(&t, SECOND_TURN("null", BERN));
        assert_says(&t, rows[i].call);
        assert_says(&t, "21 degrees");
        assert_says_not(&t, "None");
        assert_says_not(&t, "ERROR");
        end(&t);
    }
}

/* Null beside calls is none where that makes a difference, and prints no word. */
static void test_null(void **state)
{
    (void)state;
    static const struct {
        const char *template, *says;
    } rows[] = {
        {"{% for m in messages %}{{ m.content }};{% endfor %}", ";;21 degrees;"},
        {"{% for m in messages %}{{ m.content is none }};"
         "{{ m.tool_calls[0].function.arguments | tojson if m.tool_calls }}{% endfor %}",
         "True;{\"town\": \"Bern\"}"},
        {"{% for m in messages %}{{ m.content + '' }};"
         "{{ m.tool_calls[0].function.arguments | tojson if m.tool_calls }}{% endfor %}",
         ";;{\"town\": \"Bern\"}"},
    };
    static trial t;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(&t, rows[i].template, strlen(rows[i].template));
        ask(&t, SECOND_TURN("null", BERN));
        assert_says(&t, rows[i].says);
        end(&t);
    }
}

/* A template that adds arguments up wants their text, whichever form the request has. */
static void test_arguments(void **state)
{
    (void)state;
    static const char adds[] = "{% for m in messages if m.tool_calls %}"
                               "{{ '<' + m.tool_calls[0].function.arguments + '>' }}{% endfor %}",
                      dumps[] = "{% for m in messages if m.tool_calls %}"
                                "{{ m.tool_calls[0].function.arguments | tojson }}{% endfor %}";
    static trial t;
    begin(&t, adds, sizeof adds - 1);
    ask(&t, SECOND_TURN("null", BERN));
    assert_says(&t, "<{\"town\": \"Bern\"}>");
    ask(&t, SECOND_TURN("null", "{\"town\":\"Bern\"}"));
    assert_says(&t, "<{\"town\": \"Bern\"}>");
    ask(&t, SECOND_TURN("null", "\"\""));
    assert_says(&t, "<{}>");
    end(&t);
    begin(&t, dumps, sizeof dumps - 1);
    ask(&t, SECOND_TURN("null", BERN));
    assert_string_equal(t.said, "{\"town\": \"Bern\"}");
    end(&t);
}

#define PARTS                                                                          \
    "\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"Be" \
    " brief\"},{\"type\":\"text\",\"text\":\"Or not\"}]},{\"role\":\"user\","          \
    "\"content\":[{\"type\":\"text\",\"text\":\"Look\"},{\"type\":\"text\",\"text\":"  \
    "\"there\"}]}]"

/* Where the template walks parts they are its to join; else they are lines of one text. */
static void test_parts(void **state)
{
    (void)state;
    static const char walks[] = "{% for m in messages %}{% if m.role == 'user' and m.content is "
                                "not string %}{% for p in m.content %}[{{ p.text }}]{% endfor %}"
                                "{% else %}{{ '(' + m.content + ')' }}{% endif %}{% endfor %}";
    static trial t;
    begin(&t, walks, sizeof walks - 1);
    ask(&t, PARTS);
    assert_string_equal(t.said, "(Be brief\nOr not)[Look][there]");
    end(&t);
    if (!begin_file(&t, "Qwen3.5-4B")) skip();
    ask(&t, PARTS);
    assert_says(&t, "Be briefOr not");
    assert_says(&t, "user\nLookthere<|im_end|>");
    end(&t);
    begin_file(&t, "Qwen-Qwen3-0.6B");
    ask(&t, PARTS);
    assert_says(&t, "user\nLook\nthere<|im_end|>");
    end(&t);
}

static void test_date(void **state)
{
    (void)state;
    static trial t;
    if (!begin_file(&t, "Mistral-Small-3.2-24B-Instruct-2506")) skip();
    assert_true(sl_chat_form_of(t.chat)->needs_date);
    ask(&t, "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]");
    assert_says(&t, "ERROR chat template, line ");
    assert_says(&t, ": it tells the model the date: give one with --template-date YYYY-MM-DD");
    sl_chat_set_date(t.chat, MARCH);
    ask(&t, "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]");
    assert_says(&t, "2025-03-04");
    end(&t);
    begin_file(&t, "meta-llama-Llama-3.1-8B-Instruct");
    assert_false(sl_chat_form_of(t.chat)->needs_date);
    ask(&t, "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]");
    assert_says(&t, "Today Date: 26 Jul 2024");
    end(&t);
}

static void test_thoughts(void **state)
{
    (void)state;
    static const struct {
        const char *template, *content;
        sl_chat_thought thought;
    } rows[] = {
        {"{{ messages[0].content }}", "<think>", SL_CHAT_NO_THOUGHT},
        {"{{ messages[0].content }}{# <think> #}", "<think>", SL_CHAT_MAY_THINK},
        {"{{ messages[0].content.split('</think>')[-1] }}", "a", SL_CHAT_MAY_THINK},
        {"{{ messages[0].content }}<think>\n\n{{ '' }}", "a", SL_CHAT_THINKS},
        {"{{ messages[0].content }}<think>\n\n</think>\n{{ '' }}", "a", SL_CHAT_MAY_THINK},
    };
    static trial t;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[200];
        begin(&t, rows[i].template, strlen(rows[i].template));
        snprintf(body, sizeof body, "\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]",
                 rows[i].content);
        ask(&t, body);
        assert_int_equal(t.thought, rows[i].thought);
        end(&t);
    }
    if (!begin_file(&t, "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")) skip();
    ask(&t, "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]");
    assert_int_equal(t.thought, SL_CHAT_THINKS);
    end(&t);
    begin_file(&t, "Qwen-Qwen3-0.6B");
    ask(&t, "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
            "\"content\":\"Ho\",\"reasoning_content\":\"Hm\",\"tool_calls\":[{\"function\":{"
            "\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"content\":\"x\"}]");
    assert_int_equal(t.thought, SL_CHAT_MAY_THINK);
    assert_says(&t, "<think>\nHm\n</think>\n\nHo");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_turns), cmocka_unit_test(test_null),
        cmocka_unit_test(test_arguments),    cmocka_unit_test(test_parts),
        cmocka_unit_test(test_date),         cmocka_unit_test(test_thoughts),
    };
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_model_close(&model);
    return failed;
}

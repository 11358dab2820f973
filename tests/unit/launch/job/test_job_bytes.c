/* The bounds that memory is planned by: what reading a line and writing a record really take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/job/job_file.h"
#include "launch/openai/openai.h"
#include "tests/support/count_malloc.h"
#include "tests/support/tiny_model.h"

static tiny_model model;

static sl_request_reader reader_of(void)
{
    return (sl_request_reader){
        .tokenizer = model.tokenizer, .chat = model.chat, .context = 500, .choices_max = 4};
}

static sl_request *read_line(const char *line, size_t bytes)
{
    const sl_request_reader reader = reader_of();
    sl_request *request;
    assert_int_equal(sl_request_read(&reader, line, bytes, 1, &request), SL_OK);
    return request;
}

/* A line of `piece` again and again between head and tail, about so many bytes. */
static char *repeat(const char *head, const char *piece, const char *tail, size_t about)
{
    size_t n = about / strlen(piece) + 1;
    char *line = malloc(strlen(head) + n * strlen(piece) + strlen(tail) + 1), *to = line;
    assert_non_null(line);
    to = stpcpy(to, head);
    for (size_t i = 0; i < n; i++) to = stpcpy(to, piece);
    stpcpy(to, tail);
    return line;
}

#if COUNTS_MALLOC
static const struct {
    const char *head, *piece, *tail;
} LINES[] = {
    {"[0", ",0", "]"},
    {"[0", ",{}", "]"},
    {"[0", ",[]", "]"},
    {"[0", ",\"\"", "]"},
    {"[0", ",{\"a\":{}}", "]"},
    {"[0", ",\"\\u00e9\\\"\"", "]"},
    {"{\"a\":\"", "xy", "\"}"},
    {"{\"a\":\"", "\\\\", "\"}"},
    {"{\"body\":{\"prompt\":\"", "[{,:", "\"}}"},
    {"[0", ",1.5e3", "]"},
    {"[", "[", ""},
    {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":[1",
     ",65", "]}}"},
    {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"",
     "long ", "\"}}"},
    {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\","
     "\"body\":{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}",
     ",{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"}]}", "]}}"},
};

/* The most that is held while a line is read is within what was counted for it. */
static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        char *line = repeat(LINES[i].head, LINES[i].piece, LINES[i].tail, 1 << 18);
        size_t bytes = strlen(line), before = malloc_count.peak = malloc_count.live;
        sl_request *request = read_line(line, bytes);
        size_t taken = malloc_count.peak - before;
        if (taken > sl_request_json_bytes(line, bytes))
            fail_msg("%s...: took %zu bytes, counted %zu", LINES[i].piece, taken,
                     sl_request_json_bytes(line, bytes));
        assert_int_not_equal(request->error.http_status, 0); /* none of them can be served */
        sl_request_free(request);
        free(line);
    }
}

/* The same of tokenizing, whatever repeats: one long piece is the worst. */
static void test_encoding(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", " ", "ab", "\xc3\xa9", "word ", "<|im_end|>", "\xff"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        char *text = repeat("", pieces[i], "", 1 << 18);
        size_t bytes = strlen(text), before = malloc_count.peak = malloc_count.live;
        sl_tokens ids = {0};
        assert_int_equal(sl_tokenizer_encode(model.tokenizer, text, bytes, SL_SPECIAL_PARSED, &ids),
                         SL_OK);
        size_t taken = malloc_count.peak - before;
        if (taken > SL_ENCODE_BYTES * bytes) fail_msg("%s: %zu of %zu", pieces[i], taken, bytes);
        sl_tokens_free(&ids);
        free(text);
    }
}

/* The same of templates that take what they can get: for values, for text, for many short parts. */
static void test_templates(void **state)
{
    (void)state;
    static const char *const templates[] = {
        "{% set ns = namespace(l=[1]) %}{% for i in range(99999) %}"
        "{% set ns.l = ns.l + ns.l %}{% endfor %}",
        "{% for i in range(99999) %}{{ messages[0].content * 9999 }}{% endfor %}",
        "{% set x = messages[0].content[0] %}"
        "{% for i in range(30000) %}a{{ x }}{% endfor %}",
        "{% for i in range(4) %}{{ messages[0].content | upper }}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        sl_request_reader reader = reader_of();
        sl_chat *chat;
        const sl_text template = {templates[i], strlen(templates[i])};
        assert_int_equal(sl_chat_open_template(template, model.tokenizer, &chat), SL_OK);
        reader.chat = chat;
        reader.context = 100000;
        char *line = repeat("{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":"
                            "\"/v1/chat/completions\",\"body\":{\"max_tokens\":1,\"messages\":"
                            "[{\"role\":\"user\",\"content\":\"",
                            "xy ", "\"}]}}", 1 << 16);
        const size_t bytes = strlen(line), before = malloc_count.peak = malloc_count.live;
        sl_request_line_need need;
        sl_request *request;
        assert_int_equal(sl_request_line_plan(&reader, line, bytes, &need), SL_OK);
        assert_int_equal(sl_request_read(&reader, line, bytes, 1, &request), SL_OK);
        const size_t taken = malloc_count.peak - before,
                     counted = sl_request_json_bytes(line, bytes) + need.prompt;
        if (taken > counted)
            fail_msg("%s: took %zu bytes, counted %zu", templates[i], taken, counted);
        print_message("%zu of %zu bytes: %s\n", taken, counted, request->error.message);
        sl_request_free(request);
        sl_chat_close(chat);
        free(line);
    }
}
#endif

/* A line of more values than there is memory for is an error record, before anything is taken. */
static void test_too_many_values(void **state)
{
    (void)state;
    char *line = repeat("{\"custom_id\":\"a\",\"x\":[0", ",{}", "]}", 3 << 20);
    sl_request *request = read_line(line, strlen(line));
    assert_non_null(strstr(request->error.message, "too many values"));
    assert_int_equal(request->error.http_status, 400);
    assert_string_equal(request->custom_id, "a");
    sl_request_free(request);
    free(line);
}

static char asked[512];

static size_t write_line(const char *url, const char *fields)
{
    int bytes = snprintf(asked, sizeof asked,
                         "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"%s\",\"body\":{%s}}",
                         url, fields);
    return (size_t)bytes;
}

#define CHAT  "/v1/chat/completions"
#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"

#if COUNTS_MALLOC
/* The ordinary token of most bytes. */
static int32_t longest_token(void)
{
    int32_t longest = tiny_byte('a');
    for (int32_t id = 0; id < sl_tokenizer_n_tokens(model.tokenizer); id++)
        if (!sl_tokenizer_is_control(model.tokenizer, id) &&
            sl_tokenizer_piece(model.tokenizer, id).bytes >
                sl_tokenizer_piece(model.tokenizer, longest).bytes)
            longest = id;
    return longest;
}

/* As long as it may become: every choice full of one token, all alternatives told. */
static void fill(sl_request *request, int32_t token)
{
    for (uint32_t c = 0; c < request->n_choices; c++) {
        sl_choice *choice = &request->choices[c];
        for (; choice->n_tokens < request->max_tokens; choice->n_tokens++) {
            choice->tokens[choice->n_tokens] = token;
            sl_token_detail *detail = choice->details ? &choice->details[choice->n_tokens] : NULL;
            for (int32_t i = 0; detail && i < request->sampling.n_logprobs; i++)
                detail->top[detail->n_top++] = (sl_token_logprob){token, -1.0F / (float)(3 + i)};
        }
        choice->finish = SL_FINISH_LENGTH;
    }
}

static void test_records(void **state)
{
    (void)state;
    static const struct {
        const char *url, *fields;
    } rows[] = {
        {CHAT, HELLO},
        {CHAT, HELLO ",\"n\":4"},
        {CHAT, HELLO ",\"logprobs\":true,\"top_logprobs\":20"},
        {CHAT, HELLO ",\"logprobs\":true,\"n\":3"},
        {"/v1/completions", "\"prompt\":\"abc\",\"max_tokens\":400,\"logprobs\":5,\"echo\":true"},
        {"/v1/completions", "\"prompt\":\"abc\",\"max_tokens\":1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const sl_request_reader reader = reader_of();
        size_t line_bytes = write_line(rows[i].url, rows[i].fields), bytes;
        sl_request_line_need need;
        assert_int_equal(sl_request_line_plan(&reader, asked, line_bytes, &need), SL_OK);
        const int32_t tokens[] = {tiny_byte(0x80), longest_token()};
        for (int k = 0; k < 2; k++) {
            size_t before = malloc_count.live;
            sl_request *request = read_line(asked, line_bytes);
            assert_int_equal(request->error.http_status, 0);
            size_t held = malloc_count.live - before;
            if (held > need.request) fail_msg("%s: holds %zu", rows[i].fields, held);
            fill(request, tokens[k]);
            before = malloc_count.peak = malloc_count.live;
            char *record = sl_result_line(request, model.tokenizer, 0, &bytes);
            assert_non_null(record);
            size_t taken = malloc_count.peak - before;
            if (taken > need.record)
                fail_msg("%s, token %d: writing takes %zu, bound %zu", rows[i].fields, tokens[k],
                         taken, (size_t)need.record);
            free(record);
            sl_request_free(request);
        }
    }
}
#endif

/* What may become absurdly long is planned for up to a bound; the record says if it is reached. */
static void test_too_large(void **state)
{
    (void)state;
    sl_request_reader reader = reader_of();
    reader.context = 1 << 20;
    size_t bytes = write_line(CHAT, HELLO ",\"logprobs\":true,\"top_logprobs\":20");
    sl_request_line_need need;
    assert_int_equal(sl_request_line_plan(&reader, asked, bytes, &need), SL_OK);
    assert_int_equal(need.record, SL_RESULT_BYTES_MAX);
    assert_true(need.request > (20 * sizeof(sl_token_logprob)) << 20);
    sl_request *request;
    assert_int_equal(sl_request_read(&reader, asked, bytes, 1, &request), SL_OK);
    assert_int_equal(request->error.http_status, 0);
    assert_true(sl_result_bytes(request, 1000, model.tokenizer) < SL_RESULT_BYTES_MAX);
    assert_true(sl_result_bytes(request, 1 << 20, model.tokenizer) > SL_RESULT_BYTES_MAX);
    sl_request_free(request);
}

/* The file's share: ids, its longest and its richest line; then the largest request and record. */
static void test_file(void **state)
{
    (void)state;
    const sl_request_reader reader = reader_of();
    char path[] = "/tmp/sluice_plan_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    sl_job_plan plan;
    sl_job_plan_make(path, &reader, 7, &plan);
    assert_true(plan.file + plan.waiting + plan.request + plan.record == 0);
    size_t bytes = write_line(CHAT, HELLO);
    assert_int_equal(dprintf(file, "{}\n\n%s\n", asked), (int)bytes + 5);
    close(file);
    sl_request_line_need need;
    assert_int_equal(sl_request_line_plan(&reader, asked, bytes, &need), SL_OK);
    sl_job_plan_make(path, &reader, 7, &plan);
    assert_int_equal(plan.file,
                     2 * 216 + 2 * bytes + sl_request_json_bytes(asked, bytes) + need.prompt);
    assert_true(need.prompt > 0);
    assert_true(need.request > 500 * sizeof(int32_t) && plan.request == need.request);
    assert_int_equal(plan.waiting, 7 * need.request);
    assert_int_equal(plan.record, need.record);
    unlink(path);
    sl_job_plan_make(path, &reader, 7, &plan);
    assert_true(plan.file + plan.waiting + plan.request + plan.record == 0);
}

int main(void)
{
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    const struct CMUnitTest tests[] = {
#if COUNTS_MALLOC
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_records),
#endif
        cmocka_unit_test(test_too_many_values),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_file),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_model_close(&model);
    return failed;
}

/* Lines of a job: ids and hashes of whole and broken ones, envelopes, and lines that are too much.
 */
#include <stdlib.h>

#include "tests/support/count_malloc.h"
#include "tests/support/request_cases.h"

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

/* Half a character, which Python writes when a text was cut inside one, is U+FFFD; whole ones
 * stay. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_of_broken_lines), cmocka_unit_test(test_ids_that_are_served),
        cmocka_unit_test(test_lone_surrogates),     cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_bad_envelopes),       cmocka_unit_test(test_long_ids),
        cmocka_unit_test(test_deep_nesting),        cmocka_unit_test(test_a_20_mb_line),
        cmocka_unit_test(test_greedy_lines),        cmocka_unit_test(test_broken_lines),
    };
    sl_log_set_level(SL_LOG_ERROR);
    return cmocka_run_group_tests(tests, open_models, close_models);
}

/* tests/unit/model/test_tokenizer_golden.c - ids of the real model's vocabulary equal those of
 * other people's tools (tests/golden/tokenizer/README.md). Needs SLUICE_TEST_MODEL, and for whole
 * texts SLUICE_TEST_DATA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "runtime/base/clock.h"
#include "runtime/model/chat.h"
#include "runtime/model/tokenizer.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 1 << 16, CANNOT_RUN = 77 };

static sl_gguf *gguf;
static sl_tokenizer *tokenizer;
static sl_chat *chat;

/* The goldens lie two folders up from this file. */
static void golden_path(const char *name, char *out)
{
    const char *slash = strrchr(__FILE__, '/');
    int folder = slash ? (int)(slash - __FILE__) : 1;
    snprintf(out, PATH_BYTES, "%.*s/../../golden/tokenizer/%s", folder, slash ? __FILE__ : ".",
             name);
}

static void assert_ids(const char *what, const json_t *expected, const sl_tokens *got)
{
    bool same = json_array_size(expected) == got->n;
    for (size_t i = 0; same && i < got->n; i++)
        same = json_integer_value(json_array_get(expected, i)) == got->ids[i];
    if (!same) fail_msg("%s: %zu ids, expected %zu", what, got->n, json_array_size(expected));
}

static void check_string(const json_t *row)
{
    const json_t *text = json_object_get(row, "text");
    static const char *const keys[] = {"ids_as_text", "ids"};
    static const sl_special modes[] = {SL_SPECIAL_AS_TEXT, SL_SPECIAL_PARSED};
    for (int i = 0; i < 2; i++) {
        sl_tokens got = {0};
        assert_int_equal(sl_tokenizer_encode(tokenizer, json_string_value(text),
                                             json_string_length(text), modes[i], &got),
                         SL_OK);
        assert_ids(json_string_value(text), json_object_get(row, keys[i]), &got);
        sl_tokens_free(&got);
    }
}

static void check_chat(const json_t *row)
{
    sl_chat_message messages[8];
    const json_t *list = json_object_get(row, "messages");
    size_t n = json_array_size(list);
    assert_true(n <= 8);
    for (size_t i = 0; i < n; i++) {
        const json_t *role = json_array_get(json_array_get(list, i), 0);
        const json_t *content = json_array_get(json_array_get(list, i), 1);
        messages[i] = (sl_chat_message){{json_string_value(role), json_string_length(role)},
                                        {json_string_value(content), json_string_length(content)}};
    }
    sl_tokens got = {0};
    assert_int_equal(sl_chat_encode(chat, messages, n, &got), SL_OK);
    char what[64];
    snprintf(what, sizeof what, "conversation of %zu messages", n);
    assert_ids(what, json_object_get(row, "ids"), &got);
    sl_tokens_free(&got);
}

static void each_row(const char *name, void (*check)(const json_t *row))
{
    static char line[LINE_BYTES];
    char path[PATH_BYTES];
    golden_path(name, path);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s is missing", path);
    size_t n = 0;
    for (; fgets(line, sizeof line, file); n++) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        check(row);
        json_decref(row);
    }
    fclose(file);
    assert_true(n > 5);
}

static void test_hard_strings(void **state)
{
    (void)state;
    each_row("smollm.jsonl", check_string);
}

static void test_conversations(void **state)
{
    (void)state;
    assert_non_null(chat);
    each_row("chat.jsonl", check_chat);
}

static char *read_text(const char *name, size_t bytes)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/text/%s", getenv("SLUICE_TEST_DATA"), name);
    FILE *file = fopen(path, "rb");
    char *text = malloc(bytes + 1);
    if (!file || !text || fread(text, 1, bytes + 1, file) != bytes)
        fail_msg("%s is missing or has not %zu bytes", path, bytes);
    fclose(file);
    return text;
}

static void test_whole_texts(void **state)
{
    (void)state;
    if (!getenv("SLUICE_TEST_DATA")) {
        print_message("SLUICE_TEST_DATA is not set: whole texts are not compared\n");
        skip();
    }
    char path[PATH_BYTES];
    golden_path("texts.json", path);
    json_t *texts = json_load_file(path, 0, NULL);
    assert_non_null(texts);
    const char *name;
    json_t *row;
    json_object_foreach(texts, name, row)
    {
        size_t bytes = (size_t)json_integer_value(json_object_get(row, "bytes"));
        char *text = read_text(name, bytes), hash[17];
        sl_tokens got = {0};
        int64_t start = sl_clock_now_ns();
        assert_int_equal(sl_tokenizer_encode(tokenizer, text, bytes, SL_SPECIAL_PARSED, &got),
                         SL_OK);
        print_message("%s: %zu ids, %.3f s\n", name, got.n,
                      (double)(sl_clock_now_ns() - start) / (double)SL_SECOND);
        assert_int_equal(got.n, json_integer_value(json_object_get(row, "n")));
        uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, an id at a time */
        for (size_t i = 0; i < got.n; i++) h = (h ^ (uint64_t)got.ids[i]) * 0x100000001b3u;
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)h);
        assert_string_equal(hash, json_string_value(json_object_get(row, "hash")));
        sl_tokens_free(&got);
        free(text);
    }
    json_decref(texts);
}

/* A megabyte that is one piece, where the vocabulary has long runs of it. */
static void test_long_pieces(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    char *text = malloc(BYTES);
    for (const char *letter = "a =\n"; *letter; letter++) {
        memset(text, *letter, BYTES);
        sl_tokens got = {0};
        int64_t start = sl_clock_now_ns();
        assert_int_equal(sl_tokenizer_encode(tokenizer, text, BYTES, SL_SPECIAL_PARSED, &got),
                         SL_OK);
        double seconds = (double)(sl_clock_now_ns() - start) / (double)SL_SECOND;
        print_message("1 MB of 0x%02x: %zu ids, %.3f s\n", (unsigned)*letter, got.n, seconds);
        assert_true(got.n < BYTES / 2);
        if (seconds > 20) fail_msg("%.1f s", seconds); /* sanitizers on a busy host */
        sl_tokens_free(&got);
    }
    free(text);
}

int main(void)
{
    const char *path = getenv("SLUICE_TEST_MODEL");
    if (!path) {
        printf("SLUICE_TEST_MODEL is not set: nothing to compare\n");
        return CANNOT_RUN;
    }
    if (sl_gguf_open(path, &gguf) != SL_OK || sl_tokenizer_open(gguf, &tokenizer) != SL_OK ||
        sl_chat_open(gguf, tokenizer, &chat) != SL_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_strings),
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_whole_texts),
        cmocka_unit_test(test_long_pieces),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sl_chat_close(chat);
    sl_tokenizer_close(tokenizer);
    sl_gguf_close(gguf);
    return failed;
}

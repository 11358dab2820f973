/* tests/support/golden_rows.h - reading tests/golden/tokenizer's files from tests/unit/text. In a
 * header, so that the library of test support needs neither cmocka nor a room. */
#ifndef SL_TEST_GOLDEN_ROWS_H
#define SL_TEST_GOLDEN_ROWS_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

enum { GOLDEN_PATH_BYTES = 4096, GOLDEN_MESSAGES_MAX = 8 };

/* What of templates.jsonl was compared: a key renamed must not leave a test green. */
typedef struct {
    size_t templates, chats;
} golden_counts;

/* Tests of the room run in their build folder; CMake tells where the sources are. */
static inline void golden_path(const char *name, char *out)
{
    snprintf(out, GOLDEN_PATH_BYTES, "%s/golden/tokenizer/%s", SL_TESTS_FOLDER, name);
}

/* Call `check` for each line of a file of JSON lines. */
static inline void golden_each_row(const char *name, size_t rows_min,
                                   void (*check)(const json_t *row, void *context), void *context)
{
    char path[GOLDEN_PATH_BYTES], *line = NULL;
    size_t capacity = 0, n = 0;
    golden_path(name, path);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s is missing", path);
    for (; getline(&line, &capacity, file) > 0; n++) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        check(row, context);
        json_decref(row);
    }
    free(line);
    fclose(file);
    assert_true(n >= rows_min);
}

static inline void golden_assert_ids(const char *what, const json_t *expected, const sl_tokens *got)
{
    bool same = json_array_size(expected) == got->n;
    size_t i = 0;
    for (; same && i < got->n; i++)
        same = json_integer_value(json_array_get(expected, i)) == got->ids[i];
    if (!same)
        fail_msg("%s: %zu ids, expected %zu; first difference by %zu", what, got->n,
                 json_array_size(expected), i);
}

/* "text" of a row, or its "bytes" as hexadecimal digits, with special tokens as text and parsed:
 * "ids_as_text" and "ids". */
static inline void golden_check_text(const json_t *row, void *tokenizer)
{
    static const char *const keys[] = {"ids_as_text", "ids"};
    static const sl_special modes[] = {SL_SPECIAL_AS_TEXT, SL_SPECIAL_PARSED};
    const char *digits = json_string_value(json_object_get(row, "bytes"));
    const json_t *string = json_object_get(row, "text");
    char bytes[64];
    size_t n = json_string_length(string);
    if (digits) n = strlen(digits) / 2;
    assert_true(!digits || n <= sizeof bytes);
    for (size_t i = 0; digits && i < n; i++) {
        const char pair[] = {digits[2 * i], digits[2 * i + 1], '\0'};
        bytes[i] = (char)strtol(pair, NULL, 16);
    }
    for (int i = 0; i < 2; i++) {
        const char *text = digits ? bytes : json_string_value(string);
        sl_tokens got = {0};
        assert_int_equal(sl_tokenizer_encode(tokenizer, text, n, modes[i], &got), SL_OK);
        golden_assert_ids(digits ? digits : text, json_object_get(row, keys[i]), &got);
        sl_tokens_free(&got);
    }
}

/* [[role, content] ...], lent by the row. */
static inline size_t golden_messages(const json_t *row, sl_chat_message *messages)
{
    const json_t *list = json_object_get(row, "messages");
    size_t n = json_array_size(list);
    assert_true(n <= GOLDEN_MESSAGES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *role = json_array_get(json_array_get(list, i), 0);
        const json_t *content = json_array_get(json_array_get(list, i), 1);
        messages[i] = (sl_chat_message){{json_string_value(role), json_string_length(role)},
                                        {json_string_value(content), json_string_length(content)}};
    }
    return n;
}

/* Each chat of the row is as check_chat expects. */
static inline void golden_check_template(const json_t *row, sl_text text,
                                         const sl_tokenizer *tokenizer,
                                         void (*check_chat)(const json_t *row, const sl_chat *chat),
                                         golden_counts *counts)
{
    const char *file = json_string_value(json_object_get(row, "file"));
    sl_chat *chat;
    counts->templates++;
    if (sl_chat_open_template(text, tokenizer, &chat) != SL_OK)
        fail_msg("%s is not opened", file ? file : text.data);
    size_t i;
    json_t *chat_row;
    json_array_foreach(json_object_get(row, "chats"), i, chat_row)
    {
        check_chat(chat_row, chat);
        counts->chats++;
    }
    sl_chat_close(chat);
}

/* FNV-1a, an id at a time, as 16 digits. */
static inline void golden_assert_hash(const json_t *row, const sl_tokens *got)
{
    char hash[17];
    uint64_t h = 0xcbf29ce484222325U;
    for (size_t i = 0; i < got->n; i++) h = (h ^ (uint64_t)got->ids[i]) * 0x100000001b3U;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)h);
    assert_int_equal(got->n, json_integer_value(json_object_get(row, "n")));
    assert_string_equal(hash, json_string_value(json_object_get(row, "hash")));
}

/* A file's first `bytes` bytes, the caller's to free; NULL when it cannot be read. */
static inline char *golden_read(const char *folder, const char *name, size_t bytes)
{
    char path[GOLDEN_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    char *text = malloc(bytes + 1);
    if (!file || !text || fread(text, 1, bytes, file) != bytes)
        fail_msg("%s is missing or has not %zu bytes", path, bytes);
    fclose(file);
    return text;
}

/* A text's ids as `special` says are those of which the row has the hash; how long it took is
 * printed. */
static inline void golden_check_long(const json_t *row, const char *what,
                                     const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                                     sl_special special)
{
    sl_tokens got = {0};
    int64_t start = sl_clock_now_ns();
    assert_int_equal(sl_tokenizer_encode(tokenizer, text, bytes, special, &got), SL_OK);
    print_message("%s: %zu bytes, %zu ids, %.3f s\n", what, bytes, got.n,
                  (double)(sl_clock_now_ns() - start) / (double)SL_SECOND);
    golden_assert_hash(row, &got);
    sl_tokens_free(&got);
}

/* Every text of $SLUICE_TEST_DATA/text that the file of goldens has. Skips the test without. */
static inline void golden_check_whole_texts(const char *goldens, const sl_tokenizer *tokenizer,
                                            sl_special special)
{
    if (!getenv("SLUICE_TEST_DATA")) {
        print_message("SLUICE_TEST_DATA is not set: whole texts are not compared\n");
        skip();
    }
    char path[GOLDEN_PATH_BYTES], folder[GOLDEN_PATH_BYTES / 2];
    snprintf(folder, sizeof folder, "%s/text", getenv("SLUICE_TEST_DATA"));
    golden_path(goldens, path);
    json_t *texts = json_load_file(path, 0, NULL), *row;
    assert_true(json_object_size(texts) >= 4);
    const char *name;
    json_object_foreach(texts, name, row)
    {
        size_t bytes = (size_t)json_integer_value(json_object_get(row, "bytes"));
        char *text = golden_read(folder, name, bytes);
        golden_check_long(row, name, tokenizer, text, bytes, special);
        free(text);
    }
    json_decref(texts);
}

#endif

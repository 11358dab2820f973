/* tests/unit/launch/train/test_train_records.c - what of a file of instructions is learned from:
 * the prompt, the answer and its end; what is no record is told by its number and skipped; files
 * that are too large are refused with the numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/train/train_record_file.h"
#include "launch/train/train_records.h"
#include "tests/support/capture.h"
#include "tests/support/tiny_model.h"

static tiny_model model;
static char talk[4096];

static int open_model(void **state)
{
    (void)state;
    tiny_model_open(TINY_WITHOUT_BOS, &model);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    tiny_model_close(&model);
    return 0;
}

static sl_status parse(const sl_chat *chat, const char *text, sl_train_record_file *out)
{
    const sl_train_record_reading reading = {.tokenizer = model.tokenizer,
                                             .chat = chat,
                                             .shortest = 3,
                                             .longest = 512,
                                             .shortest_prompt = 1};
    capture c;
    capture_begin(&c);
    sl_status status = sl_train_record_file_parse(&reading, "some.json", text, strlen(text), out);
    capture_end(&c, talk, sizeof talk);
    return status;
}

/* The record's tokens are those of `prompt`, of `answer`, and EOS where there is one. */
static void check_record(const sl_train_record_file *file, size_t index, const char *prompt,
                         const char *answer)
{
    sl_tokens expected = {0};
    assert_true(index < file->n);
    const sl_train_record_place *place = &file->records[index];
    assert_int_equal(sl_tokenizer_encode_whole(model.tokenizer, prompt, strlen(prompt),
                                               SL_SPECIAL_AS_TEXT, &expected),
                     SL_OK);
    assert_int_equal(place->n_prompt, expected.n);
    assert_int_equal(
        sl_tokenizer_encode(model.tokenizer, answer, strlen(answer), SL_SPECIAL_AS_TEXT, &expected),
        SL_OK);
    if (sl_tokenizer_eos(model.tokenizer) >= 0)
        assert_int_equal(sl_tokens_add(&expected, sl_tokenizer_eos(model.tokenizer)), SL_OK);
    assert_int_equal(place->n, expected.n);
    assert_memory_equal(file->tokens.ids + place->begin, expected.ids,
                        expected.n * sizeof *expected.ids);
    sl_tokens_free(&expected);
}

static void test_both_forms(void **state)
{
    (void)state;
    static const char *const forms[] = {
        " [{\"instruction\": \"a b\", \"output\": \"c d\"},"
        "  {\"instruction\": \"e\", \"input\": \"f g\", \"output\": \"h\"}]",
        "{\"instruction\": \"a b\", \"output\": \"c d\", \"input\": null}\n\n"
        "{\"instruction\": \"e\", \"input\": \"f g\", \"output\": \"h\"}"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        sl_train_record_file file;
        assert_int_equal(parse(NULL, forms[i], &file), SL_OK);
        assert_string_equal(talk, "");
        assert_int_equal(file.n, 2);
        check_record(&file, 0, "a b\n", "c d");
        check_record(&file, 1, "e\n\nf g\n", "h");
        sl_train_record_file_fini(&file);
    }
}

static void test_many(void **state)
{
    (void)state;
    enum { RECORDS = 300 };
    static char text[RECORDS * 64];
    sl_train_record_file file;
    size_t used = 0;
    for (int i = 0; i < RECORDS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "{\"instruction\": \"say %d\", \"output\": \"%d\"}\n", i, i);
    assert_int_equal(parse(NULL, text, &file), SL_OK);
    assert_int_equal(file.n, RECORDS);
    check_record(&file, RECORDS - 1, "say 299\n", "299");
    sl_train_record_file_fini(&file);
}

/* One of these lines between two that are records. */
static void test_skipped(void **state)
{
    (void)state;
    static const struct {
        const char *line, *said;
    } cases[] = {
        {"{", "no JSON"},
        {"{\"instruction\": \"a\"}", "neither \"messages\" nor"},
        {"{\"instruction\": \"a\", \"output\": 7}", "neither \"messages\" nor"},
        {"{\"instruction\": \"a\", \"output\": \"\"}", "an empty answer"},
        {"{\"instruction\": \"a\", \"output\": \" \\n\"}", "an empty answer"},
        {"{\"instruction\": \"a\", \"input\": [\"b\"], \"output\": \"c\"}", "\"input\" is no text"},
        {"{\"instruction\": \"a\", \"input\": 7, \"output\": \"c\"}", "\"input\" is no text"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "fewer than two messages"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
         " {\"role\": \"user\", \"content\": \"b\"}]}",
         "the last message is not assistant's"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
         " {\"role\": \"assistant\", \"content\": \"\"}]}",
         "an empty answer"},
    };
    static const char GOOD[] = "{\"instruction\": \"a b\", \"output\": \"c d\"}";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int chat = 0; chat < 2; chat++) {
            char text[512];
            sl_train_record_file file;
            snprintf(text, sizeof text, "%s\n%s\n%s\n", GOOD, cases[i].line, GOOD);
            assert_int_equal(parse(chat ? model.chat : NULL, text, &file), SL_OK);
            assert_int_equal(file.n, 2);
            assert_non_null(strstr(talk, "some.json, line 2 is skipped"));
            assert_non_null(strstr(talk, cases[i].said));
            sl_train_record_file_fini(&file);
        }
}

/* Wherever an array is cut it is refused, with the line. */
static void test_truncated(void **state)
{
    (void)state;
    static const char WHOLE[] = "[{\"instruction\": \"a b\",\n \"output\": \"c d\"}]";
    for (size_t n = 1; n < strlen(WHOLE); n++) {
        char text[sizeof WHOLE];
        sl_train_record_file file;
        snprintf(text, sizeof text, "%.*s", (int)n, WHOLE);
        assert_int_equal(parse(NULL, text, &file), SL_ERR_OPTION);
        assert_non_null(strstr(talk, "some.json, line "));
        sl_train_record_file_fini(&file);
    }
}

/* ---- files ---- */

static sl_status open_files(size_t bytes_max)
{
    enum { RECORDS = 4 };
    static const char LINE[] = "{\"instruction\": \"a b\", \"output\": \"c d\"}\n";
    char names[2][32] = {"/tmp/test_train_records.XXXXXX", "/tmp/test_train_records.XXXXXX"};
    char paths[80];
    for (int i = 0; i < 2; i++) {
        FILE *file = fdopen(mkstemp(names[i]), "w");
        assert_non_null(file);
        for (int k = 0; k < RECORDS; k++) fputs(LINE, file);
        fclose(file);
    }
    snprintf(paths, sizeof paths, "%s,%s", names[0], names[1]);
    const sl_train_records_options options = {
        .paths = paths, .shortest = 3, .longest = 64, .bytes_max = bytes_max};
    sl_train_records *records = NULL;
    capture c;
    capture_begin(&c);
    sl_status status = sl_train_records_open(&options, model.tokenizer, NULL, &records);
    capture_end(&c, talk, sizeof talk);
    if (status == SL_OK) assert_int_equal(sl_train_records_n_held_out(records), 2);
    if (status == SL_ERR_OPTION)
        assert_non_null(strstr(talk, names[bytes_max >= RECORDS * (sizeof LINE - 1)]));
    sl_train_records_close(records);
    for (int i = 0; i < 2; i++) unlink(names[i]);
    return status;
}

static void test_bounded(void **state)
{
    (void)state;
    const size_t bytes = 4 * strlen("{\"instruction\": \"a b\", \"output\": \"c d\"}\n");
    char numbers[80];
    assert_int_equal(open_files(2 * bytes), SL_OK);
    assert_string_equal(talk, "");
    for (size_t less = 1; less < 2 * bytes; less += bytes) {
        assert_int_equal(open_files(2 * bytes - less), SL_ERR_OPTION);
        snprintf(numbers, sizeof numbers, "more than %zu bytes", 2 * bytes - less);
        assert_non_null(strstr(talk, numbers));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms), cmocka_unit_test(test_many),
        cmocka_unit_test(test_skipped),    cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

/* tests/unit/launch/eval/test_eval_questions.c - records are cut into the question and the texts of
 * its answers, and asked in words that can be told from the tokens; what is wrong with a record is
 * found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/eval/eval_questions.h"
#include "tests/support/tiny_model_group.h"

/* Records from the text of a file. */
static sl_status read_text(const char *json, uint32_t limit, sl_eval_records *out)
{
    char path[] = "test_eval_questions.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, json, strlen(json)), strlen(json));
    close(fd);
    sl_status status = sl_eval_records_read(path, limit, out);
    unlink(path);
    return status;
}

#define RECORD_TOLD(instruction, output, answer)                                    \
    "{\"instruction\": \"" instruction "\", \"input\": \"\", \"output\": \"" output \
    "\", \"answer\": \"" answer "\"}"
#define RECORD(instruction, answer) \
    RECORD_TOLD(instruction, "the correct answer is " answer, answer)
#define LISTED                                                                                  \
    RECORD("Please choose the correct answer to the question: Who purrs?\\n\\nAnswer1: A dog. " \
           "Answer2:  The cat \\nAnswer3: A fish\\n\\nAnswer format: answer1/answer2/answer3",  \
           "answer2")
#define LETTERS RECORD("question: Which data: b or B? A: b B: data: c  Answer format: a/b", "a")
#define WORDS                                                                              \
    RECORD("Please answer with true or false, question: is ice cold?\\n\\nAnswer format: " \
           "true/false",                                                                   \
           "false")

static void test_texts(void **state)
{
    (void)state;
    sl_eval_records records;
    assert_int_equal(read_text("[" LISTED "," WORDS "]", 0, &records), SL_OK);
    assert_int_equal(records.n, 2);
    const sl_eval_record *r = &records.records[0];
    assert_string_equal(r->question, "Who purrs?");
    assert_true(r->listed && r->n_answers == 3 && r->right == 1);
    assert_string_equal(r->answers[0], "A dog.");
    assert_string_equal(r->answers[1], "The cat");
    assert_string_equal(r->answers[2], "A fish");
    assert_string_equal(r->outputs[2], "the correct answer is answer3");
    r = &records.records[1];
    assert_string_equal(r->question, "is ice cold?");
    assert_true(!r->listed && r->n_answers == 2 && r->right == 1);
    assert_string_equal(r->answers[0], "true");
    assert_string_equal(r->outputs[0], "the correct answer is true");
    sl_eval_records_free(&records);
    assert_int_equal(read_text("[" LETTERS "]", 0, &records), SL_OK);
    assert_string_equal(records.records[0].question, "Which data: b or B?");
    assert_string_equal(records.records[0].answers[0], "b");
    assert_string_equal(records.records[0].outputs[0], "the correct answer is a");
    assert_string_equal(records.records[0].outputs[1], "the correct answer is b");
    assert_string_equal(records.records[0].answers[1], "data: c");
    sl_eval_records_free(&records);
}

/* Bad ones are counted; the one good record is left. */
static void test_bad_records(void **state)
{
    (void)state;
    static const char *BAD[] = {
        "7",
        "{}",
        RECORD("no format", "a"),
        RECORD("question: q Answer format: a", "a"),
        RECORD("question: q Answer format: a//b", "a"),
        RECORD("question: q Answer format: b/c", "a"),
        RECORD("question: q Answer format: a/b/c/d/e/f/g/h/i", "a"),
        RECORD("question: q Answer1: x Answer format: answer1/answer2", "answer1"),
        RECORD("question: q Answer1: Answer2: y Answer format: answer1/answer2", "answer1"),
        RECORD("question: Answer format: a/b", "a"),
        RECORD_TOLD("question: q Answer format: a/b", "no", "a"),
    };
    enum { N_BAD = sizeof BAD / sizeof *BAD };
    for (int i = 0; i < N_BAD; i++) {
        char json[2048];
        snprintf(json, sizeof json, "[%s, " WORDS "]", BAD[i]);
        sl_eval_records records;
        assert_int_equal(read_text(json, 0, &records), SL_OK);
        if (records.n != 1 || records.n_bad != 1) fail_msg("record %d was taken: %s", i, BAD[i]);
        sl_eval_records_free(&records);
    }
    sl_eval_records records;
    assert_int_equal(read_text("[{}]", 0, &records), SL_ERR_FORMAT);
    sl_eval_records_free(&records);
    assert_int_equal(read_text("{}", 0, &records), SL_ERR_FORMAT);
    sl_eval_records_free(&records);
}

/* The text that is asked, a bar before the answer. */
static void ask(const sl_eval_asking *asking, const sl_eval_records *records, size_t index,
                uint32_t answer, char *text)
{
    sl_tokens tokens = {0};
    size_t n_question, used = 0;
    assert_int_equal(sl_eval_question_encode(asking, records, index, answer, &tokens, &n_question),
                     SL_OK);
    assert_true(n_question > 0 && n_question < tokens.n);
    for (size_t i = 0; i < tokens.n; i++) {
        sl_text piece = sl_tokenizer_piece(model.tokenizer, tokens.ids[i]);
        if (i == n_question) text[used++] = '|';
        memcpy(text + used, piece.data, piece.bytes);
        used += piece.bytes;
    }
    text[used] = '\0';
    sl_tokens_free(&tokens);
}

static void test_forms(void **state)
{
    (void)state;
    sl_eval_records records;
    char text[1024];
    sl_eval_asking asking = {.tokenizer = model.tokenizer, .form = SL_EVAL_CLOZE};
    assert_int_equal(read_text("[" LISTED "," WORDS "]", 0, &records), SL_OK);
    ask(&asking, &records, 0, 1, text);
    assert_string_equal(text, "Question: Who purrs?\nAnswer:| The cat");
    asking.n_shots = 1;
    ask(&asking, &records, 0, 2, text);
    assert_string_equal(text, "Question: is ice cold?\nAnswer: false\n\n"
                              "Question: Who purrs?\nAnswer:| A fish");
    asking.form = SL_EVAL_LABELS;
    ask(&asking, &records, 1, 0, text);
    assert_non_null(strstr(text, "Answer format: answer1/answer2/answer3\nthe correct answer is "
                                 "answer2\n\nPlease answer with true"));
    assert_non_null(strstr(text, "Answer format: true/false\n|the correct answer is true"));
    sl_eval_records_free(&records);
}

/* No question is a shot of its own, and none is two of them. */
static void test_shots(void **state)
{
    (void)state;
    enum { N = 7 };
    char json[4096] = "[", text[2048];
    for (int i = 0; i < N; i++)
        snprintf(json + strlen(json), sizeof json - strlen(json), "%s%s%c%s", i ? "," : "",
                 "{\"instruction\": \"question: is ", 'a' + i,
                 " here? Answer format: yes/no\", \"output\": \"yes\", \"answer\": \"yes\"}");
    strcat(json, "]");
    sl_eval_records records;
    assert_int_equal(read_text(json, 0, &records), SL_OK);
    assert_int_equal(records.n, N);
    for (uint32_t n_shots = 0; n_shots < N; n_shots++)
        for (size_t index = 0; index < N; index++) {
            sl_eval_asking asking = {
                .tokenizer = model.tokenizer, .form = SL_EVAL_CLOZE, .n_shots = n_shots};
            ask(&asking, &records, index, 0, text);
            uint32_t times[N] = {0}, all = 0;
            for (const char *at = text; (at = strstr(at, "is ")); at++, all++) times[at[3] - 'a']++;
            assert_int_equal(all, n_shots + 1);
            for (int i = 0; i < N; i++) assert_true(times[i] <= 1);
            assert_int_equal(times[index], 1);
        }
    sl_eval_records_free(&records);
}

static void test_scores(void **state)
{
    (void)state;
    sl_eval_records records;
    assert_int_equal(read_text("[" LISTED "," WORDS "]", 0, &records), SL_OK);
    sl_eval_asking cloze = {.form = SL_EVAL_CLOZE}, labels = {.form = SL_EVAL_LABELS};
    assert_float_equal(sl_eval_question_score(&cloze, &records.records[0], 1, -14), -2, 1e-12);
    assert_float_equal(sl_eval_question_score(&cloze, &records.records[1], 1, -14), -14, 1e-12);
    assert_float_equal(sl_eval_question_score(&labels, &records.records[0], 1, -14), -14, 1e-12);
    sl_eval_records_free(&records);
    sl_eval_form form;
    assert_int_equal(sl_eval_form_find("cloze", &form), SL_OK);
    assert_int_equal(form, SL_EVAL_CLOZE);
    assert_int_equal(sl_eval_form_find("labels", &form), SL_OK);
    assert_int_equal(form, SL_EVAL_LABELS);
    assert_int_equal(sl_eval_form_find("clozes", &form), SL_ERR_OPTION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),  cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_forms),  cmocka_unit_test(test_shots),
        cmocka_unit_test(test_scores),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

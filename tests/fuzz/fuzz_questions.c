/* tests/fuzz/fuzz_questions.c - the input is a file of questions for `eval tasks`, its first byte a
 * limit; each question that was understood is asked in both forms. */
#include "launch/eval/eval_questions.h"
#include "launch/eval/eval_records.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

static tiny_model model;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    tiny_model_open(TINY_WITH_BOS, &model);
    return 0;
}

static void check(const sl_eval_record *record)
{
    SL_ASSERT(record->instruction[0] && record->question[0]);
    SL_ASSERT(record->n_answers >= 2 && record->n_answers <= SL_EVAL_CHOICES_MAX);
    SL_ASSERT(record->right < record->n_answers);
    for (uint32_t i = 0; i < SL_EVAL_CHOICES_MAX; i++) {
        SL_ASSERT((i < record->n_answers) == (record->outputs[i] != NULL));
        SL_ASSERT((i < record->n_answers) == (record->answers[i] != NULL));
        SL_ASSERT(i >= record->n_answers || record->answers[i][0]);
    }
}

/* Its answer has at least one token of its own, else every answer would be as likely. */
static void ask(const sl_eval_records *records, size_t index, const sl_eval_asking *asking)
{
    for (uint32_t answer = 0; answer < records->records[index].n_answers; answer++) {
        sl_tokens tokens = {0};
        size_t n_question = 0;
        sl_status status = sl_eval_question_encode(asking, records, index, answer, &tokens,
                                                   &n_question);
        SL_ASSERT(status != SL_OK || n_question < tokens.n);
        sl_tokens_free(&tokens);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { ASKED_MAX = 4, LIMITS = 4 };
    if (size == 0) return 0;
    sl_eval_records records;
    sl_status status = sl_eval_records_parse("fuzz", (const char *)data + 1, size - 1,
                                             data[0] % LIMITS, &records);
    SL_ASSERT((status == SL_OK) == (records.n > 0));
    for (size_t i = 0; i < records.n; i++) {
        check(&records.records[i]);
        for (int form = 0; form < 3 && i < ASKED_MAX; form++)
            ask(&records, i,
                &(sl_eval_asking){.tokenizer = model.tokenizer,
                                  .chat = form == 2 ? model.chat : NULL,
                                  .form = form == 0 ? SL_EVAL_CLOZE : SL_EVAL_LABELS,
                                  .n_shots = records.n > 1});
    }
    sl_eval_records_free(&records);
    return 0;
}

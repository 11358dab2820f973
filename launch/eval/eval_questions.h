/* launch/eval/eval_questions.h - a question with several answers as a model is asked it. */
#ifndef SL_EVAL_QUESTIONS_H
#define SL_EVAL_QUESTIONS_H

#include "launch/eval/eval_records.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"

typedef enum {
    /* "Question: ...\nAnswer:", then an answer's own text: as lm-evaluation-harness asks ARC, for
     * models that know an answer but not the game of naming its number. */
    SL_EVAL_CLOZE,
    /* The instruction, through the chat template if there is one, then the output that names an
     * answer: as models are asked that were tuned on such records. */
    SL_EVAL_LABELS,
} sl_eval_form;

#define SL_EVAL_FORM_NAMES "cloze, labels"

typedef struct {
    const sl_tokenizer *tokenizer;
    const sl_chat *chat; /* NULL: instructions are plain text */
    sl_eval_form form;
    /* Other questions of the file, with their right answers, before each; fewer than the file
     * has. */
    uint32_t n_shots;
} sl_eval_asking;

/* SL_ERR_OPTION, logged: no form has this name. */
sl_status sl_eval_form_find(const char *name, sl_eval_form *form_out);

/* Question `index`, then one of its answers, which begins with token *n_question_out. `out` is
 * empty before, and the caller's, also after an error. What sl_tokenizer_encode_whole and
 * sl_chat_encode return. */
sl_status sl_eval_question_encode(const sl_eval_asking *asking, const sl_eval_records *records,
                                  size_t index, uint32_t answer, sl_tokens *out,
                                  size_t *n_question_out);

/* The log-likelihood of an answer as it is compared with others: per byte where answers have texts
 * of their own, of any length (acc_norm of lm-evaluation-harness), else as it is. */
double sl_eval_question_score(const sl_eval_asking *asking, const sl_eval_record *record,
                              uint32_t answer, double log_likelihood);

#endif

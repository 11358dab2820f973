/* launch/eval/eval_ruler_tasks.h - the tasks of `sluice eval ruler`, in one table: what each
 * asks, how a prompt is made of a seed and a length, and what share of it an answer has right.
 * Definitions after RULER, Hsieh et al. 2024, arXiv:2404.06654; sentences are our own. Prompts
 * are completions, since that is what small models do best: text, and then the beginning of what
 * the model shall say. Knows no policy, no request and no score of a model. */
#ifndef SL_EVAL_RULER_TASKS_H
#define SL_EVAL_RULER_TASKS_H

#include "launch/eval/eval_ruler_make.h"

enum { SL_RULER_TASKS = 11 };

typedef struct sl_ruler_task {
    const char *name;
    const char *asks;   /* in a few words */
    bool needs_text;    /* a filler that repeats itself would give the answer away */
    bool is_likelihood; /* scored in nats, and neither solved nor not */
    sl_ruler_maker *make;
} sl_ruler_task;
extern const sl_ruler_task sl_ruler_tasks[SL_RULER_TASKS];
#define SL_RULER_TASK_NAMES                                                                  \
    "single, multikey, multivalue, multiquery, tracking, common, frequent, copy, keyvalue, " \
    "questions, "                                                                            \
    "likelihood"

/* The task of this name, or NULL. */
const sl_ruler_task *sl_ruler_task_named(const char *name, size_t bytes);

/* A filler of so many tokens or more from a few sentences that repeat, as RULER's noise; the
 * caller's, also after an error. SL_ERR_MEMORY. */
sl_status sl_ruler_noise(const sl_tokenizer *tokenizer, size_t n_tokens, sl_tokens *out);

/* Trial t of n: depths and phases are swept evenly, each by itself and the two together (Hammersley
 * points), and the seed is drawn from `seed`, the task, the length and t. */
sl_ruler_trial sl_ruler_trial_of(const sl_ruler_task *task, uint32_t n_tokens, uint64_t seed,
                                 uint32_t t, uint32_t n);

/* The prompt of a trial, as long as its n_tokens with the answer; of a list shorter, by some of its
 * items. The caller ends it, also after an error. SL_ERR_OPTION, logged: too short for what is
 * hidden, or a filler that is. SL_ERR_MEMORY. */
sl_status sl_ruler_prompt_make(const sl_ruler_task *task, const sl_ruler_source *source,
                               const sl_ruler_trial *trial, sl_ruler_prompt *out);
/* Whether `said` has `expected` in it, as whole words, in any case of letters: RULER's match, which
 * takes parts of words too. */
bool sl_ruler_found(const char *expected, const char *said);
/* The share of the expected strings that are found: said [1], or one of each question. */
double sl_ruler_score(const sl_ruler_prompt *prompt, const char *const *said);

#endif

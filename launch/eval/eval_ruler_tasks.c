/* launch/eval/eval_ruler_tasks.c - see eval_ruler_tasks.h. The table, the sweep of trials, and the
 * scoring. */
#include "launch/eval/eval_ruler_tasks.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_ruler_words.h"
#include "runtime/base/log.h"

const sl_ruler_task sl_ruler_tasks[SL_RULER_TASKS] = {
    {.name = "single", .asks = "a number, hidden once", .make = sl_ruler_make_single},
    {.name = "multikey", .asks = "one of four such numbers", .make = sl_ruler_make_multikey},
    {.name = "multivalue", .asks = "four numbers of one name", .make = sl_ruler_make_multivalue},
    {.name = "multiquery", .asks = "the numbers of four names", .make = sl_ruler_make_multiquery},
    {.name = "tracking", .asks = "five variables of one value", .make = sl_ruler_make_tracking},
    {.name = "common", .asks = "the ten words listed most", .make = sl_ruler_make_common},
    {.name = "frequent", .asks = "the three words met most", .make = sl_ruler_make_frequent},
    {.name = "copy",
     .asks = "how a passage goes on",
     .needs_text = true,
     .make = sl_ruler_make_copy},
    {.name = "keyvalue", .asks = "a key's value in a list", .make = sl_ruler_make_keyvalue},
    {.name = "questions",
     .asks = "four questions, text read once",
     .make = sl_ruler_make_questions},
    {.name = "likelihood",
     .asks = "a text's later half",
     .needs_text = true,
     .is_likelihood = true,
     .make = sl_ruler_make_likelihood},
};

const sl_ruler_task *sl_ruler_task_named(const char *name, size_t bytes)
{
    for (size_t i = 0; i < SL_RULER_TASKS; i++)
        if (strlen(sl_ruler_tasks[i].name) == bytes &&
            memcmp(sl_ruler_tasks[i].name, name, bytes) == 0)
            return &sl_ruler_tasks[i];
    return NULL;
}

/* ---- fillers ---- */

sl_status sl_ruler_noise(const sl_tokenizer *tokenizer, size_t n_tokens, sl_tokens *out)
{
    static const char NOISE[] =
        " The river is wide. The hills are low. The road is dry. We walk on. Then we walk home.";
    sl_status status = SL_OK;
    while (status == SL_OK && out->n < n_tokens) status = sl_prompt_add_text(tokenizer, NOISE, out);
    return status;
}

/* ---- trials ---- */

/* The bits of t behind the point, the lowest first: 0, 1/2, 1/4, 3/4, 1/8 ... */
static double radical_inverse(uint32_t t)
{
    double value = 0, weight = 0.5;
    for (; t; t >>= 1, weight /= 2) value += (t & 1) * weight;
    return value;
}

sl_ruler_trial sl_ruler_trial_of(const sl_ruler_task *task, uint32_t n_tokens, uint64_t seed,
                                 uint32_t t, uint32_t n)
{
    uint64_t of_task = XXH3_64bits_withSeed(task->name, strlen(task->name), seed);
    return (sl_ruler_trial){
        .n_tokens = n_tokens,
        .depth = radical_inverse(t),
        .phase = (uint32_t)((2 * (uint64_t)t + 1) * SL_RULER_PHASE / (2 * (uint64_t)n)),
        .seed = sl_ruler_draw(of_task, ((uint64_t)n_tokens << 32) | t),
    };
}

/* ---- prompts ---- */

sl_status sl_ruler_prompt_make(const sl_ruler_task *task, const sl_ruler_source *source,
                               const sl_ruler_trial *trial, sl_ruler_prompt *out)
{
    *out = (sl_ruler_prompt){.at = SIZE_MAX, .score_from = SIZE_MAX};
    if (source->filler->n < sl_ruler_filler_tokens(trial->n_tokens)) {
        sl_error("the text has %zu tokens; prompts of %u are made of %zu: give a longer --text, or "
                 "shorter --lengths",
                 source->filler->n, trial->n_tokens, sl_ruler_filler_tokens(trial->n_tokens));
        return SL_ERR_OPTION;
    }
    out->expected = calloc(SL_RULER_EXPECTED_MAX, sizeof *out->expected);
    if (!out->expected) return SL_ERR_MEMORY;
    sl_status status = sl_tokenizer_begin(source->tokenizer, &out->prompt);
    if (status == SL_OK) status = task->make(source, trial, out);
    if (status == SL_ERR_OPTION)
        sl_error("--lengths: %u tokens are too few for the task %s", trial->n_tokens, task->name);
    return status;
}

/* ---- scoring ---- */

bool sl_ruler_found(const char *expected, const char *said)
{
    size_t n = strlen(expected);
    for (const char *at = said; (at = strcasestr(at, expected)); at++) {
        bool begins = at == said || !isalnum((unsigned char)at[-1]);
        if (begins && !isalnum((unsigned char)at[n])) return n > 0;
    }
    return false;
}

double sl_ruler_score(const sl_ruler_prompt *prompt, const char *const *said)
{
    uint32_t n_found = 0;
    for (uint32_t i = 0; i < prompt->n_expected; i++)
        n_found += sl_ruler_found(prompt->expected[i], said[prompt->n_tails > 0 ? i : 0]);
    return (double)n_found / prompt->n_expected;
}

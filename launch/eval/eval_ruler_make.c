/* launch/eval/eval_ruler_make.c - see eval_ruler_make.h. The makers are in files of their own. */
#include "launch/eval/eval_ruler_make.h"

#include <stdio.h>
#include <stdlib.h>

#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_ruler_words.h"
#include "runtime/base/log.h"

enum { PAGE = 64, SPARE_TOKENS = 8 * SL_SENTENCE_TOKENS, DRAW_PART = 1 };

size_t sl_ruler_filler_tokens(uint32_t n_tokens) { return (size_t)n_tokens + SPARE_TOKENS; }

const int32_t *sl_ruler_filler_part(const sl_ruler_source *source, const sl_ruler_trial *trial)
{
    size_t n = sl_ruler_filler_tokens(trial->n_tokens);
    SL_ASSERT(source->filler->n >= n);
    return source->filler->ids +
           sl_ruler_draw(trial->seed, DRAW_PART) % (source->filler->n - n + 1);
}

bool sl_ruler_place(const sl_ruler_trial *trial, size_t first, size_t last, size_t *at_out)
{
    size_t period = SL_RULER_PHASE;
    while (period > PAGE && (last < first || last - first < 2 * period)) period /= 2;
    first += (trial->phase + period - first % period) % period;
    if (first > last) return false;
    size_t n = (last - first) / period + 1;
    *at_out = first + (size_t)(trial->depth * (double)n) * period;
    return true;
}

void sl_ruler_prompt_fini(sl_ruler_prompt *prompt)
{
    sl_tokens_free(&prompt->prompt);
    for (uint32_t i = 0; prompt->tails && i < prompt->n_tails; i++)
        sl_tokens_free(&prompt->tails[i]);
    free(prompt->tails);
    free(prompt->expected);
    *prompt = (sl_ruler_prompt){0};
}

void sl_ruler_expect(sl_ruler_prompt *out, const char *text)
{
    SL_ASSERT(out->n_expected < SL_RULER_EXPECTED_MAX);
    snprintf(out->expected[out->n_expected++], SL_RULER_EXPECTED_BYTES, "%s", text);
}

sl_status sl_ruler_answer_room(const sl_ruler_source *source, const char *form,
                               sl_ruler_prompt *out)
{
    enum { BETWEEN = 3 }; /* a comma, "and", a number in front */
    sl_tokens answer = {0};
    sl_status status = SL_OK;
    uint32_t most = 0, sum = 0;
    for (uint32_t i = 0; status == SL_OK && i < out->n_expected; i++) {
        char text[2 * SL_RULER_EXPECTED_BYTES];
        snprintf(text, sizeof text, "%s %s", form, out->expected[i]);
        answer.n = 0;
        status = sl_prompt_add_text(source->tokenizer, text, &answer);
        uint32_t n = (uint32_t)answer.n + BETWEEN;
        sum += n;
        if (n > most) most = n;
    }
    out->n_answer = out->n_tails > 0 ? most : sum;
    sl_tokens_free(&answer);
    return status;
}

sl_status sl_ruler_body_end(const sl_ruler_trial *trial, const sl_ruler_prompt *out, size_t n_after,
                            size_t n_least, size_t *end_out)
{
    size_t behind = n_after + out->n_answer;
    if (trial->n_tokens < out->prompt.n + n_least + behind) return SL_ERR_OPTION;
    *end_out = trial->n_tokens - behind;
    return SL_OK;
}

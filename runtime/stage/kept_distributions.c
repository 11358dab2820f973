/* runtime/stage/kept_distributions.c - see kept_distributions.h. Log-probabilities are stored as
 * f32, and those they are compared with are rounded in the same way. */
#include "runtime/stage/kept_distributions.h"

#include <math.h>
#include <string.h>

#include "runtime/stage/sampler.h"

void sl_kept_distributions_init(sl_kept_distributions *kept, uint32_t n_rows, size_t vocab,
                                sl_arena *arena)
{
    *kept = (sl_kept_distributions){.n_rows = n_rows, .vocab = vocab};
    if (n_rows == 0) return;
    kept->marks = sl_arena_array(arena, sl_kept_mark, n_rows);
    kept->logprobs = sl_arena_array(arena, float, (size_t)n_rows *vocab);
}

void sl_kept_distributions_clear(sl_kept_distributions *kept)
{
    if (kept->n_rows == 0) return;
    memset(kept->marks, 0, kept->n_rows * sizeof *kept->marks);
}

static void store(const float *logits, size_t vocab, float *logprobs)
{
    double normalizer = sl_sampler_log_sum_exp(logits, vocab);
    for (size_t i = 0; i < vocab; i++) logprobs[i] = (float)(logits[i] - normalizer);
}

/* One token's part of the sum. */
static double divergence(float log_p, float log_q)
{
    double p = exp((double)log_p), d = (double)log_p - (double)log_q;
    if (p == 0) return exp((double)log_q); /* also where d is none */
    return p * (d + expm1(-d));
}

static double compare(const float *logprobs, const float *logits, size_t vocab)
{
    double normalizer = sl_sampler_log_sum_exp(logits, vocab), sum = 0;
    for (size_t i = 0; i < vocab; i++)
        sum += divergence(logprobs[i], (float)(logits[i] - normalizer));
    return sum;
}

void sl_kept_distributions_compare(sl_kept_distributions *kept, const sl_comparison *comparison,
                                   const float *logits, sl_token_result *result)
{
    if (comparison->kind == SL_COMPARISON_NONE || result->position < comparison->from) return;
    uint32_t behind = result->position - comparison->from, row = behind / comparison->step;
    if (behind % comparison->step != 0 || row >= kept->n_rows) return;

    sl_kept_mark *mark = &kept->marks[row];
    float *logprobs = kept->logprobs + row * kept->vocab;
    int32_t top = sl_sampler_argmax(logits, kept->vocab);
    if (comparison->kind == SL_COMPARISON_STORE) {
        store(logits, kept->vocab, logprobs);
        *mark = (sl_kept_mark){.position = result->position, .top = top};
    } else if (mark->position == result->position) {
        result->compared = true;
        result->agrees = mark->top == top;
        result->kl = (float)compare(logprobs, logits, kept->vocab);
    }
}

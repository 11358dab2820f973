/* runtime/stage/sampler.h - from a row of logits to a token and what is told about it.
 * Pure functions of one sequence's own row and history: a result never depends on what runs
 * beside it. Randomness is a hash of (seed, position), so there is no state to carry. */
#ifndef SL_SAMPLER_H
#define SL_SAMPLER_H

#include "runtime/base/arena.h"
#include "runtime/frame/frame.h"

/* One thread's room. */
typedef struct {
    float *logits;                /* [vocab] a copy that penalties change */
    uint8_t *seen;                /* [vocab] marks, zero between calls */
    sl_token_logprob *candidates; /* [vocab] */
} sl_sampler_scratch;
void sl_sampler_scratch_init(sl_sampler_scratch *scratch, size_t vocab, sl_arena *arena);

/* Draw the token at `result->position` from logits [vocab], given the sequence's tokens so far
 * (`n_prompt` of them its prompt). Fills token, and logprob and top when sampling asks. Order, as
 * vLLM's sampler: bias, no end before min_tokens, penalties (repetition: Keskar et al. 2019,
 * arXiv:1909.05858; presence, frequency: OpenAI), temperature, min-p (arXiv:2407.01082), top-k,
 * top-p (Holtzman et al. 2019, arXiv:1904.09751). Equal logits: the lower id first.
 * Log-probabilities are of the model's own distribution, before any of it. */
void sl_sampler_draw(const sl_sampling *sampling, const int32_t *tokens, size_t n_prompt,
                     size_t n_tokens, const float *logits, size_t vocab,
                     sl_sampler_scratch *scratch, sl_token_result *result);

/* Log-probability of result->token under logits [vocab], and the n_top best. */
void sl_sampler_score(const float *logits, size_t vocab, uint32_t n_top,
                      sl_sampler_scratch *scratch, sl_token_result *result);

/* The most likely token of logits [vocab], of equal ones the lower id; and log(sum(exp(logits))),
 * what logits are above log-probabilities. Sums in f64, in order. */
int32_t sl_sampler_argmax(const float *logits, size_t vocab);
double sl_sampler_log_sum_exp(const float *logits, size_t vocab);

/* The uniform number in [0, 1) that a seed draws with at a position. */
double sl_sampler_uniform(uint64_t seed, uint64_t position);

#endif

/* runtime/stage/sampler.c - see sampler.h. Sums run in double in a fixed order. */
#include "runtime/stage/sampler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"

void sl_sampler_scratch_init(sl_sampler_scratch *scratch, size_t vocab, sl_arena *arena)
{
    scratch->logits = sl_arena_array(arena, float, vocab);
    scratch->seen = sl_arena_array(arena, uint8_t, vocab);
    scratch->candidates = sl_arena_array(arena, sl_token_logprob, vocab);
}

double sl_sampler_uniform(uint64_t seed, uint64_t position)
{
    uint64_t bits = XXH3_64bits_withSeed(&position, sizeof position, seed);
    return (double)(bits >> 11) * 0x1p-53;
}

/* Order of candidates: more likely first, then lower id. (`logprob` holds a logit or a weight.) */
static bool precedes(sl_token_logprob a, sl_token_logprob b)
{
    return a.logprob > b.logprob || (a.logprob == b.logprob && a.token < b.token);
}

static void swap_candidates(sl_token_logprob *a, sl_token_logprob *b)
{
    sl_token_logprob swap = *a;
    *a = *b;
    *b = swap;
}

/* Restore the heap below i; its root is the candidate that all others precede. */
static void sift_down(sl_token_logprob *heap, size_t n, size_t i)
{
    for (;;) {
        size_t last = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (precedes(heap[last], heap[child])) last = child;
        if (last == i) return;
        swap_candidates(&heap[i], &heap[last]);
        i = last;
    }
}

/* Keep the first k of n candidates in order, sorted, at the front; returns how many. A heap, not
 * qsort, which takes memory for more than a few. */
static size_t keep_first(sl_token_logprob *candidates, size_t n, size_t k)
{
    if (k > n) k = n;
    for (size_t i = k / 2; i-- > 0;) sift_down(candidates, k, i);
    for (size_t i = k; i < n && k > 0; i++) {
        if (!precedes(candidates[i], candidates[0])) continue;
        candidates[0] = candidates[i];
        sift_down(candidates, k, 0);
    }
    for (size_t end = k; end-- > 1;) {
        swap_candidates(&candidates[0], &candidates[end]);
        sift_down(candidates, end, 0);
    }
    return k;
}

static size_t all_candidates(const float *logits, size_t vocab, sl_token_logprob *out)
{
    for (size_t i = 0; i < vocab; i++)
        out[i] = (sl_token_logprob){.token = (int32_t)i, .logprob = logits[i]};
    return vocab;
}

int32_t sl_sampler_argmax(const float *logits, size_t vocab)
{
    size_t best = 0;
    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

double sl_sampler_log_sum_exp(const float *logits, size_t vocab)
{
    float max = logits[sl_sampler_argmax(logits, vocab)];
    double sum = 0;
    for (size_t i = 0; i < vocab; i++) sum += expf(logits[i] - max);
    return max + log(sum);
}

void sl_sampler_score(const float *logits, size_t vocab, uint32_t n_top,
                      sl_sampler_scratch *scratch, sl_token_result *result)
{
    SL_ASSERT(n_top <= SL_TOP_LOGPROBS_MAX);
    double normalizer = sl_sampler_log_sum_exp(logits, vocab);
    result->logprob = (float)(logits[result->token] - normalizer);
    result->n_top = 0;
    if (n_top == 0) return;
    size_t n = all_candidates(logits, vocab, scratch->candidates);
    n = keep_first(scratch->candidates, n, n_top);
    for (size_t i = 0; i < n; i++)
        result->top[i] = (sl_token_logprob){
            .token = scratch->candidates[i].token,
            .logprob = (float)(scratch->candidates[i].logprob - normalizer)};
    result->n_top = (uint32_t)n;
}

static void penalize(const sl_sampling *s, const int32_t *tokens, size_t n_prompt, size_t n_tokens,
                     uint8_t *seen, float *logits)
{
    for (uint32_t i = 0; i < s->n_bias; i++) logits[s->bias[i].token] += s->bias[i].value;
    if (n_tokens - n_prompt < s->min_tokens) /* no penalty brings it back */
        for (uint32_t i = 0; i < s->n_ends; i++) logits[s->ends[i]] = -INFINITY;

    for (size_t i = 0; i < n_tokens && s->repetition_penalty != 1.0F; i++) {
        int32_t token = tokens[i];
        if (seen[token]) continue;
        seen[token] = 1;
        logits[token] = logits[token] > 0 ? logits[token] / s->repetition_penalty
                                          : logits[token] * s->repetition_penalty;
    }
    for (size_t i = 0; i < n_tokens; i++) seen[tokens[i]] = 0;

    if (s->presence_penalty == 0 && s->frequency_penalty == 0) return;
    for (size_t i = n_prompt; i < n_tokens; i++) {
        int32_t token = tokens[i];
        logits[token] -= s->frequency_penalty;
        if (!seen[token]) logits[token] -= s->presence_penalty;
        seen[token] = 1;
    }
    for (size_t i = n_prompt; i < n_tokens; i++) seen[tokens[i]] = 0;
}

static float weight_of(const sl_sampling *s, float logit, float max)
{
    return expf((logit - max) / s->temperature);
}

static double total_weight(const sl_token_logprob *candidates, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += candidates[i].logprob;
    return sum;
}

/* Candidates, by id, that can be drawn at all and whose weight (the most likely one's is 1) is at
 * least `floor`. */
static size_t at_least(const sl_sampling *s, const float *logits, size_t vocab, double floor,
                       sl_token_logprob *out)
{
    float max = logits[sl_sampler_argmax(logits, vocab)];
    size_t n = 0;
    for (size_t i = 0; i < vocab; i++) {
        float weight = weight_of(s, logits[i], max);
        if (weight > 0 && weight >= floor)
            out[n++] = (sl_token_logprob){.token = (int32_t)i, .logprob = weight};
    }
    return n;
}

/* Cut sorted candidates where they reach `mass`, after one at least. */
static size_t nucleus(const sl_token_logprob *candidates, size_t n, double mass)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += candidates[i].logprob;
        if (sum >= mass) return i + 1;
    }
    return n;
}

/* Sorting a whole vocabulary costs milliseconds, so only what can be chosen is sorted: top-k by
 * selection; for top-p alone, a candidate lighter than (1 - top_p) / vocab of the total cannot be
 * in the nucleus, since all such together weigh less than 1 - top_p. */
static int32_t draw(const sl_sampling *s, const float *logits, size_t vocab, double uniform,
                    sl_token_logprob *candidates)
{
    size_t n = at_least(s, logits, vocab, s->min_p, candidates);
    double total = total_weight(candidates, n);
    if (s->top_k > 0) {
        n = keep_first(candidates, n, (size_t)s->top_k);
        total = total_weight(candidates, n);
    } else if (s->top_p < 1) {
        double floor = (1.0 - (double)s->top_p) / (double)vocab * total;
        n = at_least(s, logits, vocab, fmax(floor, s->min_p), candidates);
        n = keep_first(candidates, n, n);
    }
    if (s->top_p < 1) n = nucleus(candidates, n, (double)s->top_p * total);
    if (n == 0) return (int32_t)sl_sampler_argmax(logits, vocab); /* not a number anywhere */

    double target = uniform * total_weight(candidates, n), sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += candidates[i].logprob;
        if (sum > target) return candidates[i].token;
    }
    return candidates[n - 1].token;
}

void sl_sampler_draw(const sl_sampling *sampling, const int32_t *tokens, size_t n_prompt,
                     size_t n_tokens, const float *logits, size_t vocab,
                     sl_sampler_scratch *scratch, sl_token_result *result)
{
    memcpy(scratch->logits, logits, vocab * sizeof *logits);
    penalize(sampling, tokens, n_prompt, n_tokens, scratch->seen, scratch->logits);
    if (sampling->temperature > 0)
        result->token = draw(sampling, scratch->logits, vocab,
                             sl_sampler_uniform(sampling->seed, result->position),
                             scratch->candidates);
    else
        result->token = (int32_t)sl_sampler_argmax(scratch->logits, vocab);
    result->logprob = 0;
    result->n_top = 0;
    if (sampling->n_logprobs >= 0)
        sl_sampler_score(logits, vocab, (uint32_t)sampling->n_logprobs, scratch, result);
}

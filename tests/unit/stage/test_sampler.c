/* tests/unit/stage/test_sampler.c - the sampler against a plain one that sorts everything and works
 * in double; seeds replay; frequencies are the probabilities; no logits make it crash. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/stage/sampler.h"
#include "tests/support/seeded.h"

enum { VOCAB_MAX = 3000 };

typedef struct {
    sl_sampler_scratch scratch;
    void *storage;
    size_t bytes;
} rig;

static rig sampler;

static int open_rig(void **state)
{
    (void)state;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_sampler_scratch_init(&sampler.scratch, VOCAB_MAX, &arena);
    sampler.bytes = arena.used_bytes;
    if (sl_storage_take(sampler.bytes, "sampler", &sampler.storage) != SL_OK) return -1;
    sl_arena_init(&arena, sampler.storage, sampler.bytes);
    sl_sampler_scratch_init(&sampler.scratch, VOCAB_MAX, &arena);
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    sl_storage_release(sampler.storage, sampler.bytes);
    return 0;
}

static sl_sampling plain_sampling(void)
{
    return (sl_sampling){.temperature = 1, .top_p = 1, .repetition_penalty = 1, .n_logprobs = -1};
}

static float uniform(seeded *random) { return (float)(seeded_bits(random) >> 40) * 0x1p-24F; }

/* A token drawn at a position, without history. */
static int32_t draw(const sl_sampling *sampling, const float *logits, size_t vocab,
                    uint32_t position)
{
    sl_token_result result = {.position = position};
    sl_sampler_draw(sampling, NULL, 0, 0, logits, vocab, &sampler.scratch, &result);
    assert_in_range(result.token, 0, vocab - 1);
    return result.token;
}

/* ---- a plain sampler ---- */

typedef struct {
    int32_t token;
    double weight;
} weighed;

static int compare(const void *a, const void *b)
{
    const weighed *x = a, *y = b;
    if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
    return x->token - y->token;
}

/* Who can be drawn, most likely first, weights adding up to 1. `slack` > 0 widens every cut that
 * rounding may move, < 0 narrows it. */
static size_t plain_choices(const sl_sampling *s, const float *logits, size_t vocab, double slack,
                            weighed *out)
{
    double max = -INFINITY, total = 0, sum = 0;
    size_t n = 0, kept;
    for (size_t i = 0; i < vocab; i++) max = fmax(max, logits[i]);
    for (size_t i = 0; i < vocab; i++) {
        double weight = exp((logits[i] - max) / s->temperature);
        if (weight >= s->min_p * (1 - slack)) out[n++] = (weighed){(int32_t)i, weight};
    }
    qsort(out, n, sizeof *out, compare);
    if (s->top_k > 0 && (size_t)s->top_k < n) n = (size_t)s->top_k;
    for (size_t i = 0; i < n; i++) total += out[i].weight;
    for (kept = 0; kept < n; kept++) {
        if (kept > 0 && s->top_p < 1 && sum >= (s->top_p + slack) * total) break;
        sum += out[kept].weight;
    }
    for (size_t i = 0; i < kept; i++) out[i].weight /= sum;
    return kept;
}

static bool chosen(const weighed *choices, size_t n, int32_t token)
{
    for (size_t i = 0; i < n; i++)
        if (choices[i].token == token) return true;
    return false;
}

static sl_sampling random_sampling(seeded *random)
{
    static const float top_ps[] = {1, 1, 0, 0.1F, 0.5F, 0.9F, 0.95F, 0.999F};
    static const float min_ps[] = {0, 0, 0.02F, 0.3F, 1};
    static const int32_t top_ks[] = {0, 0, 1, 2, 10, 40, 5000};
    sl_sampling s = plain_sampling();
    s.temperature = 0.2F + 2 * uniform(random);
    s.top_p = top_ps[seeded_below(random, 8)];
    s.min_p = min_ps[seeded_below(random, 5)];
    s.top_k = top_ks[seeded_below(random, 7)];
    s.seed = seeded_bits(random);
    return s;
}

/* Some logits are equal to others, on purpose. */
static size_t random_logits(seeded *random, float *logits)
{
    size_t vocab = 1 + seeded_below(random, seeded_below(random, 3) ? 60 : VOCAB_MAX);
    float spread = 1 + 10 * uniform(random);
    for (size_t i = 0; i < vocab; i++) {
        logits[i] = spread * (2 * uniform(random) - 1);
        if (seeded_below(random, 4) == 0) logits[i] = logits[seeded_below(random, (uint32_t)i + 1)];
    }
    return vocab;
}

static void test_choices(void **state)
{
    (void)state;
    static float logits[VOCAB_MAX];
    static weighed wide[VOCAB_MAX], narrow[VOCAB_MAX];
    for (uint64_t seed = 1; seed <= 600; seed++) {
        seeded random = seeded_from(seed);
        size_t vocab = random_logits(&random, logits), missing;
        sl_sampling s = random_sampling(&random);
        size_t n_wide = plain_choices(&s, logits, vocab, 1e-5, wide);
        size_t n_narrow = plain_choices(&s, logits, vocab, -1e-5, narrow);
        uint8_t drawn[VOCAB_MAX] = {0};
        for (uint32_t position = 0; position < 60; position++) {
            int32_t token = draw(&s, logits, vocab, position);
            assert_seeded(&random, chosen(wide, n_wide, token));
            assert_seeded(&random, draw(&s, logits, vocab, position) == token);
            drawn[token] = 1;
        }
        /* 60 draws miss one of these with a chance of 3e-9. */
        missing = 0;
        for (size_t i = 0; i < n_narrow; i++)
            missing += narrow[i].weight > 0.28 && !drawn[narrow[i].token];
        assert_seeded(&random, missing == 0);
    }
}

static void test_greedy(void **state)
{
    (void)state;
    static float logits[VOCAB_MAX];
    for (uint64_t seed = 1; seed <= 300; seed++) {
        seeded random = seeded_from(seed);
        size_t vocab = random_logits(&random, logits), best = 0;
        sl_sampling s = random_sampling(&random);
        for (size_t i = 0; i < vocab; i++)
            if (logits[i] > logits[best]) best = i;
        if (seeded_below(&random, 2)) /* ties: the lower id */
            for (size_t i = best + 1; i < vocab; i += 1 + seeded_below(&random, 9))
                logits[i] = logits[best];
        s.temperature = 0;
        assert_seeded(&random, draw(&s, logits, vocab, 3) == (int32_t)best);
        s.temperature = 1, s.top_k = 1;
        assert_seeded(&random, draw(&s, logits, vocab, 3) == (int32_t)best);
        s.top_k = 0, s.top_p = 0;
        assert_seeded(&random, draw(&s, logits, vocab, 3) == (int32_t)best);
        /* so cold that all else weighs nothing: still one of the best */
        s.top_p = 1, s.min_p = 0, s.temperature = 1e-30F;
        assert_seeded(&random, logits[draw(&s, logits, vocab, 3)] == logits[best]);
    }
}

/* ---- frequencies ---- */

/* Draws at many positions against the plain probabilities: sum of (seen - expected)^2 / expected
 * is about its degrees of freedom, with deviation sqrt(2 x them). */
static void check_frequencies(const sl_sampling *s, const float *logits, size_t vocab)
{
    enum { DRAWS = 20000 };
    static weighed choices[VOCAB_MAX];
    static uint32_t seen[VOCAB_MAX];
    size_t n = plain_choices(s, logits, vocab, 0, choices);
    memset(seen, 0, sizeof seen);
    for (uint32_t position = 0; position < DRAWS; position++)
        seen[draw(s, logits, vocab, position)]++;
    double chi = 0, rest = 0, rest_seen = 0, cells = 0;
    for (size_t i = 0; i < n; i++) {
        double expected = choices[i].weight * DRAWS, count = seen[choices[i].token];
        if (expected < 10) {
            rest += expected, rest_seen += count;
            continue;
        }
        chi += (count - expected) * (count - expected) / expected;
        cells++;
    }
    if (rest > 1) {
        chi += (rest_seen - rest) * (rest_seen - rest) / rest;
        cells++;
    }
    double freedom = cells - 1;
    if (chi > freedom + 5 * sqrt(2 * freedom + 1))
        fail_msg("seed %llu, temperature %g, top_k %d, top_p %g, min_p %g: chi square %.1f for %g",
                 (unsigned long long)s->seed, (double)s->temperature, s->top_k, (double)s->top_p,
                 (double)s->min_p, chi, freedom);
}

static void test_frequencies(void **state)
{
    (void)state;
    static float logits[40];
    seeded random = seeded_from(11);
    for (size_t i = 0; i < 40; i++) logits[i] = 4 * uniform(&random);
    sl_sampling s = plain_sampling();
    for (s.seed = 0; s.seed < 3; s.seed++) check_frequencies(&s, logits, 40);
    s.temperature = 0.7F;
    check_frequencies(&s, logits, 40);
    s.top_k = 7;
    check_frequencies(&s, logits, 40);
    s.top_p = 0.8F;
    check_frequencies(&s, logits, 40);
    s.top_k = 0;
    check_frequencies(&s, logits, 40);
    s.top_p = 1, s.min_p = 0.2F;
    check_frequencies(&s, logits, 40);
    s.temperature = 3, s.top_p = 0.9F;
    check_frequencies(&s, logits, 40);
}

static void test_uniform(void **state)
{
    (void)state;
    double sum = 0, squares = 0, steps = 0, before = 0.5;
    enum { N = 100000 };
    for (uint64_t i = 0; i < N; i++) {
        double u = sl_sampler_uniform(5, i);
        assert_true(u >= 0 && u < 1);
        assert_true(u == sl_sampler_uniform(5, i));
        sum += u, squares += u * u, steps += (u - 0.5) * (before - 0.5);
        before = u;
    }
    assert_true(fabs(sum / N - 0.5) < 0.004);
    assert_true(fabs(squares / N - 1.0 / 3) < 0.004);
    assert_true(fabs(steps / N) < 0.0015); /* a position tells nothing of the next */
    uint32_t differ = 0;
    for (uint64_t seed = 0; seed < 100; seed++)
        differ += sl_sampler_uniform(seed, 9) != sl_sampler_uniform(seed + 1, 9);
    assert_int_equal(differ, 100);
}

/* ---- bias and penalties ---- */

/* What the most likely token's logit is after them, in double. */
static void plain_penalties(const sl_sampling *s, const int32_t *tokens, size_t n_prompt,
                            size_t n_tokens, const float *logits, size_t vocab, double *out)
{
    for (size_t i = 0; i < vocab; i++) {
        size_t anywhere = 0, generated = 0;
        double logit = logits[i];
        for (uint32_t k = 0; k < s->n_bias; k++)
            if (s->bias[k].token == (int32_t)i) logit += s->bias[k].value;
        for (size_t k = 0; k < n_tokens; k++) {
            anywhere += tokens[k] == (int32_t)i;
            generated += k >= n_prompt && tokens[k] == (int32_t)i;
        }
        if (anywhere > 0)
            logit = logit > 0 ? logit / s->repetition_penalty : logit * s->repetition_penalty;
        logit -= (double)generated * s->frequency_penalty + (generated > 0) * s->presence_penalty;
        out[i] = logit;
    }
}

/* Before min_tokens none of the ends is drawn, however likely; after them they are. */
static void test_min_tokens(void **state)
{
    (void)state;
    enum { VOCAB = 16 };
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        seeded random = seeded_from(seed);
        float logits[VOCAB];
        int32_t tokens[9] = {0};
        for (size_t i = 0; i < VOCAB; i++) logits[i] = 4 * uniform(&random) - 2;
        sl_sampling s = plain_sampling();
        s.temperature = seeded_below(&random, 2) ? 0 : 2;
        s.repetition_penalty = 0.5F;
        s.presence_penalty = -2;
        s.top_k = (int32_t)seeded_below(&random, 5);
        s.seed = seed;
        s.min_tokens = 5;
        s.n_bias = 1;
        s.bias[0] = (sl_logit_bias){3, 100};
        s.n_ends = 2;
        s.ends[0] = 3;
        s.ends[1] = (int32_t)seeded_below(&random, VOCAB);
        s.n_logprobs = 1;
        tokens[5] = 3;
        sl_token_result result = {.position = 9};
        for (size_t n = 2; n <= 9; n++) { /* two of them are the prompt */
            sl_sampler_draw(&s, tokens, 2, n, logits, VOCAB, &sampler.scratch, &result);
            bool held = n - 2 < s.min_tokens;
            assert_seeded(&random, held ? result.token != 3 && result.token != s.ends[1]
                                        : result.token == 3);
        }
    }
}

static void test_penalties(void **state)
{
    (void)state;
    enum { VOCAB = 24 };
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        seeded random = seeded_from(seed);
        float logits[VOCAB], before[VOCAB];
        int32_t tokens[40];
        double expected[VOCAB], best = -INFINITY;
        size_t n_tokens = seeded_below(&random, 40);
        size_t n_prompt = seeded_below(&random, (uint32_t)n_tokens + 1);
        for (size_t i = 0; i < VOCAB; i++) logits[i] = 4 * uniform(&random) - 2;
        for (size_t i = 0; i < n_tokens; i++) tokens[i] = (int32_t)seeded_below(&random, VOCAB);
        sl_sampling s = plain_sampling();
        s.temperature = 0;
        if (seeded_below(&random, 2)) s.repetition_penalty = 0.5F + 2 * uniform(&random);
        if (seeded_below(&random, 2)) s.presence_penalty = 4 * uniform(&random) - 2;
        if (seeded_below(&random, 2)) s.frequency_penalty = 2 * uniform(&random) - 1;
        s.n_bias = seeded_below(&random, 6);
        for (uint32_t i = 0; i < s.n_bias; i++)
            s.bias[i] = (sl_logit_bias){(int32_t)seeded_below(&random, VOCAB),
                                        8 * uniform(&random) - 4};
        s.n_logprobs = (int32_t)seeded_below(&random, 5) - 1;
        memcpy(before, logits, sizeof before);

        sl_token_result result = {.position = (uint32_t)n_tokens};
        sl_sampler_draw(&s, tokens, n_prompt, n_tokens, logits, VOCAB, &sampler.scratch, &result);
        plain_penalties(&s, tokens, n_prompt, n_tokens, logits, VOCAB, expected);
        for (size_t i = 0; i < VOCAB; i++) best = fmax(best, expected[i]);
        assert_seeded(&random, expected[result.token] >= best - 1e-4);
        assert_seeded(&random, memcmp(before, logits, sizeof before) == 0);
        for (size_t i = 0; i < VOCAB; i++) assert_seeded(&random, sampler.scratch.seen[i] == 0);

        /* What is told is of the model's own distribution. */
        sl_token_result own = {.token = result.token};
        if (s.n_logprobs < 0) {
            assert_seeded(&random, result.logprob == 0 && result.n_top == 0);
            continue;
        }
        sl_sampler_score(logits, VOCAB, (uint32_t)s.n_logprobs, &sampler.scratch, &own);
        assert_seeded(&random, own.logprob == result.logprob && own.n_top == result.n_top);
        assert_seeded(&random, memcmp(own.top, result.top, own.n_top * sizeof *own.top) == 0);
    }
}

/* ---- log-probabilities ---- */

static void test_scores(void **state)
{
    (void)state;
    static float logits[VOCAB_MAX];
    static weighed order[VOCAB_MAX];
    for (uint64_t seed = 1; seed <= 300; seed++) {
        seeded random = seeded_from(seed);
        size_t vocab = random_logits(&random, logits);
        double max = -INFINITY, sum = 0;
        for (size_t i = 0; i < vocab; i++) {
            max = fmax(max, logits[i]);
            order[i] = (weighed){(int32_t)i, logits[i]};
        }
        for (size_t i = 0; i < vocab; i++) sum += exp(logits[i] - max);
        double normalizer = max + log(sum);
        SL_ASSERT(vocab > 0);
        qsort(order, vocab, sizeof *order, compare);

        sl_token_result result = {.token = (int32_t)seeded_below(&random, (uint32_t)vocab)};
        uint32_t n_top = seeded_below(&random, SL_TOP_LOGPROBS_MAX + 1);
        sl_sampler_score(logits, vocab, n_top, &sampler.scratch, &result);
        /* expf is right to an ulp or so, and the answer is rounded to f32 */
        double tolerance = 4 * (double)FLT_EPSILON * (1 + fabs(normalizer) + fabs(max));
        assert_seeded(&random,
                      fabs(result.logprob - (logits[result.token] - normalizer)) <= tolerance);
        assert_seeded(&random, result.n_top == (n_top < vocab ? n_top : vocab));
        for (uint32_t i = 0; i < result.n_top; i++) {
            assert_seeded(&random, result.top[i].token == order[i].token);
            double value = order[i].weight - normalizer;
            assert_seeded(&random, fabs(result.top[i].logprob - value) <= tolerance);
        }
    }
}

/* ---- logits that are no numbers ---- */

static void test_not_numbers(void **state)
{
    (void)state;
    static const float odd[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0};
    static float logits[VOCAB_MAX];
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        seeded random = seeded_from(seed);
        size_t vocab = random_logits(&random, logits);
        uint32_t kinds = 1 + seeded_below(&random, 6), rare = seeded_below(&random, 30);
        for (size_t i = 0; i < vocab; i++)
            if (seeded_below(&random, rare + 1) == 0) logits[i] = odd[seeded_below(&random, kinds)];
        sl_sampling s = random_sampling(&random);
        if (seeded_below(&random, 3) == 0) s.temperature = 0;
        s.n_logprobs = (int32_t)seeded_below(&random, SL_TOP_LOGPROBS_MAX + 1);
        sl_token_result result = {.position = 1};
        sl_sampler_draw(&s, NULL, 0, 0, logits, vocab, &sampler.scratch, &result);
        assert_seeded(&random, result.token >= 0 && (size_t)result.token < vocab);
        assert_seeded(&random, result.n_top <= (uint32_t)s.n_logprobs);
        for (uint32_t i = 0; i < result.n_top; i++) {
            assert_seeded(&random, result.top[i].token >= 0 && (size_t)result.top[i].token < vocab);
            for (uint32_t k = 0; k < i; k++)
                assert_seeded(&random, result.top[i].token != result.top[k].token);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),     cmocka_unit_test(test_choices),
        cmocka_unit_test(test_uniform),    cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_min_tokens), cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_scores),     cmocka_unit_test(test_not_numbers),
    };
    return cmocka_run_group_tests(tests, open_rig, close_rig);
}

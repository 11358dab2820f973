/* tests/unit/stage/test_kept_distributions.c - distributions compared with stored ones: equal bits
 * diverge by exactly 0, others by the sum written out in double, and only positions that were asked
 * for count. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/stage/kept_distributions.h"
#include "tests/support/seeded.h"

enum { ROWS = 5, VOCAB = 700, FROM = 20, STEP = 3 };

static sl_kept_distributions kept;
static void *storage;
static size_t storage_bytes;

static const sl_comparison store = {SL_COMPARISON_STORE, FROM, STEP};
static const sl_comparison with = {SL_COMPARISON_WITH, FROM, STEP};

static int open_reference(void **state)
{
    (void)state;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_kept_distributions_init(&kept, ROWS, VOCAB, &arena);
    storage_bytes = arena.used_bytes;
    if (sl_storage_take(storage_bytes, "reference", &storage) != SL_OK) return -1;
    sl_arena_init(&arena, storage, storage_bytes);
    sl_kept_distributions_init(&kept, ROWS, VOCAB, &arena);
    return 0;
}

static int close_reference(void **state)
{
    (void)state;
    sl_storage_release(storage, storage_bytes);
    return 0;
}

static void make_logits(seeded *random, float *logits)
{
    for (int i = 0; i < VOCAB; i++)
        logits[i] = (float)(seeded_bits(random) >> 40) * 0x1p-24F * 20 - 10;
}

static double log_normalizer(const float *logits)
{
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += exp((double)logits[i]);
    return log(sum);
}

static double kl_of(const float *p, const float *q)
{
    double sum = 0, zp = log_normalizer(p), zq = log_normalizer(q);
    for (int i = 0; i < VOCAB; i++) sum += exp(p[i] - zp) * ((p[i] - zp) - (q[i] - zq));
    return sum;
}

static sl_token_result meet(const sl_comparison *comparison, uint32_t position, const float *logits)
{
    sl_token_result result = {.kind = SL_RESULT_SCORED, .position = position};
    sl_kept_distributions_compare(&kept, comparison, logits, &result);
    return result;
}

static void test_divergence(void **state)
{
    (void)state;
    static float p[VOCAB], q[VOCAB];
    for (uint64_t seed = 0; seed < 50; seed++) {
        seeded random = seeded_from(seed);
        uint32_t position = FROM + STEP * seeded_below(&random, ROWS);
        make_logits(&random, p);
        make_logits(&random, q);
        meet(&store, position, p);
        sl_token_result same = meet(&with, position, p), other = meet(&with, position, q);
        assert_seeded(&random, same.compared && same.agrees && same.kl == 0);
        double expected = kl_of(p, q);
        assert_seeded(&random, other.compared && !other.agrees);
        assert_seeded(&random, fabs((double)other.kl - expected) < 1e-5 * expected);
        for (int i = 0; i < VOCAB; i++) q[i] = p[i] + (i % 2 ? 1e-3F : 0); /* close by */
        other = meet(&with, position, q);
        assert_seeded(&random, fabs((double)other.kl - kl_of(p, q)) < 1e-9 && other.kl > 0);
    }
}

/* A token that one of them rules out: nothing of p is there, or all of q is missing. */
static void test_impossible_tokens(void **state)
{
    (void)state;
    static float p[VOCAB], q[VOCAB];
    seeded random = seeded_from(9);
    make_logits(&random, p);
    for (int i = 0; i < VOCAB; i++) q[i] = p[i];
    p[3] = q[3] = -INFINITY;
    meet(&store, FROM, p);
    assert_true(meet(&with, FROM, q).kl == 0);
    p[4] = -INFINITY;
    meet(&store, FROM, p);
    assert_true(isfinite(meet(&with, FROM, q).kl));
    meet(&store, FROM, q);
    assert_true(isinf(meet(&with, FROM, p).kl));
}

static void test_positions(void **state)
{
    (void)state;
    static float p[VOCAB];
    seeded random = seeded_from(1);
    make_logits(&random, p);
    sl_kept_distributions_clear(&kept);
    assert_false(meet(&with, FROM, p).compared); /* nothing is stored */
    for (uint32_t i = 0; i < 30; i++) assert_false(meet(&store, i, p).compared);
    static const sl_comparison none = {0};
    for (uint32_t i = 1; i < 60; i++) {
        bool asked = i == 20 || i == 23 || i == 26 || i == 29; /* 32 has a row, but is not stored */
        assert_int_equal(meet(&with, i, p).compared, asked);
        assert_false(meet(&none, i, p).compared);
    }
    sl_comparison shifted = {SL_COMPARISON_WITH, FROM + 1, STEP}; /* other tokens have these rows */
    for (uint32_t i = 1; i < 60; i++) assert_false(meet(&shifted, i, p).compared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_impossible_tokens),
        cmocka_unit_test(test_positions),
    };
    return cmocka_run_group_tests(tests, open_reference, close_reference);
}

/* test_rope.c - rotary embedding against the rotation in long double, and every scaling against
 * what the published formulas give for Llama 3.1 and a Llama 2 of 64k tokens. */
#include "runtime/kernels/rows/rope.h"

#include "tests/unit/kernels/kernel_cases.h"

static void check_turns(sl_rope_pairing pairing)
{
    enum { HEADS = 3, HEAD_DIM = 48, ROPE_DIM = 32 };
    static const uint32_t positions[] = {0, 1, 2, 63, 511, 8191, 131071};
    const sl_rope rope = {.dim = ROPE_DIM, .pairing = pairing, .base = 100000, .magnitude = 1};
    double frequency[ROPE_DIM / 2];
    sl_rope_table table = {.frequency = frequency};
    sl_rope_table_fill(&rope, NULL, &table);
    dice d = dice_of(1);
    for (size_t p = 0; p < sizeof positions / sizeof positions[0]; p++) {
        float x[HEADS * HEAD_DIM], before[HEADS * HEAD_DIM], cos_sin[ROPE_DIM];
        for (size_t i = 0; i < HEADS * HEAD_DIM; i++) before[i] = x[i] = dice_float(&d);
        sl_rope_angles(&table, positions[p], cos_sin);
        sl_rope_apply(&table, cos_sin, HEADS, HEAD_DIM, x);

        for (size_t h = 0; h < HEADS; h++) {
            const float *was = before + h * HEAD_DIM, *is = x + h * HEAD_DIM;
            for (size_t i = 0; i < ROPE_DIM / 2; i++) {
                size_t a = pairing == SL_ROPE_HALVES ? i : 2 * i;
                size_t b = pairing == SL_ROPE_HALVES ? i + ROPE_DIM / 2 : 2 * i + 1;
                long double angle = positions[p] *
                                    powl(100000, -2.0L * (long double)i / (long double)ROPE_DIM);
                double c = (double)cosl(angle), s = (double)sinl(angle);
                double first = was[a], second = was[b];
                assert_true(fabs(cos_sin[2 * i] - c) <= UNIT * fabs(c) + 1e-10);
                assert_true(fabs(cos_sin[2 * i + 1] - s) <= UNIT * fabs(s) + 1e-10);
                double bound = 4 * UNIT * (fabs(first) + fabs(second));
                assert_true(fabs(is[a] - (first * c - second * s)) <= bound);
                assert_true(fabs(is[b] - (first * s + second * c)) <= bound);
            }
            assert_memory_equal(is + ROPE_DIM, was + ROPE_DIM,
                                sizeof(float) * (HEAD_DIM - ROPE_DIM));
        }
    }
}

static void turns_by_position(void **unused)
{
    (void)unused;
    check_turns(SL_ROPE_ADJACENT);
    check_turns(SL_ROPE_HALVES);
}

/* ---- scalings of a head of 128: pairs turn so many times slower than plain ones ---- */

enum { DIM = 128 };

typedef struct {
    uint32_t pair;
    double slower;
} slowed;

static double fill(const sl_rope *rope, const float *divisors, double frequency[DIM / 2])
{
    sl_rope_table table = {.frequency = frequency};
    sl_rope_table_fill(rope, divisors, &table);
    assert_int_equal(table.dim, DIM);
    return table.magnitude;
}

static void check_slowed(const sl_rope *rope, const float *divisors, const slowed *expected,
                         size_t n)
{
    double is[DIM / 2];
    fill(rope, divisors, is);
    for (size_t i = 0; i < n; i++) {
        double plain = pow((double)rope->base, -2.0 * expected[i].pair / DIM);
        double slower = plain / is[expected[i].pair];
        if (fabs(slower - expected[i].slower) > 1e-10 * expected[i].slower)
            fail_msg("pair %u is %.12g times slower, not %.12g", expected[i].pair, slower,
                     expected[i].slower);
    }
}

static void scales_linearly(void **unused)
{
    (void)unused;
    const sl_rope rope = {
        .dim = DIM, .base = 10000, .magnitude = 1, .scaling = SL_ROPE_LINEAR, .factor = 4};
    static const slowed expected[] = {{0, 4}, {1, 4}, {31, 4}, {63, 4}};
    check_slowed(&rope, NULL, expected, 4);
}

static void divides_by_freqs(void **unused)
{
    (void)unused;
    float divisors[DIM / 2];
    for (size_t i = 0; i < DIM / 2; i++) divisors[i] = 1 + (float)i / 4;
    sl_rope rope = {.dim = DIM, .base = 10000, .magnitude = 1};
    static const slowed expected[] = {{0, 1}, {1, 1.25}, {63, 16.75}};
    check_slowed(&rope, divisors, expected, 3);
    rope.scaling = SL_ROPE_LINEAR; /* they come on top */
    rope.factor = 2;
    static const slowed both[] = {{0, 2}, {1, 2.5}, {63, 33.5}};
    check_slowed(&rope, divisors, both, 3);
}

static void scales_as_llama3(void **unused)
{
    (void)unused;
    const sl_rope rope = {.dim = DIM,
                          .base = 500000,
                          .magnitude = 1,
                          .scaling = SL_ROPE_LLAMA3,
                          .factor = 8,
                          .context = 8192,
                          .low = 1,
                          .high = 4};
    static const slowed expected[] = {
        {0, 1},  {28, 1}, {29, 1.20748387128}, {31, 2.02631320591}, {34, 5.25732658871},
        {35, 8}, {63, 8}};
    check_slowed(&rope, NULL, expected, sizeof expected / sizeof *expected);
}

static const sl_rope yarn = {.dim = DIM,
                             .base = 10000,
                             .magnitude = 1,
                             .scaling = SL_ROPE_YARN,
                             .factor = 16,
                             .context = 4096,
                             .slow = 1,
                             .fast = 32,
                             .extrapolated = 1};

static void scales_as_yarn(void **unused)
{
    (void)unused;
    static const slowed expected[] = {
        {0, 1},   {20, 1}, {21, 1.03740648379}, {33, 1.88235294118}, {45, 10.1463414634},
        {46, 16}, {63, 16}};
    check_slowed(&yarn, NULL, expected, sizeof expected / sizeof *expected);
    double unused_frequency[DIM / 2];
    assert_true(fabs(fill(&yarn, NULL, unused_frequency) - 1.2772588722239782) <= 1e-15);
}

/* Nothing kept is linear scaling, and then attention is no sharper; nor is it when texts shrink. */
static void yarn_can_be_off(void **unused)
{
    (void)unused;
    double frequency[DIM / 2];
    sl_rope rope = yarn;
    rope.extrapolated = 0;
    static const slowed linear[] = {{0, 16}, {30, 16}, {63, 16}};
    check_slowed(&rope, NULL, linear, 3);
    assert_true(fill(&rope, NULL, frequency) == 1);
    rope = yarn;
    rope.factor = 1;
    assert_true(fill(&rope, NULL, frequency) == 1);
    rope.factor = 0.5F;
    assert_true(fill(&rope, NULL, frequency) == 1);
}

/* Bounds of YaRN that lie outside the head, meet, or are swapped leave finite frequencies. */
static void yarn_bounds_are_clamped(void **unused)
{
    (void)unused;
    static const float turns[][2] = {
        {1e-6F, 1e-6F}, {1e30F, 1e30F}, {32, 1}, {1, 1}, {1e-6F, 1e30F}};
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        double frequency[DIM / 2];
        sl_rope rope = yarn;
        rope.slow = turns[i][0], rope.fast = turns[i][1];
        fill(&rope, NULL, frequency);
        for (uint32_t pair = 0; pair < DIM / 2; pair++) {
            double plain = pow(10000, -2.0 * pair / DIM);
            assert_true(frequency[pair] <= plain && frequency[pair] >= plain / 16 * (1 - 1e-12));
        }
    }
}

/* On the cosines and sines, so on the product of a query and a key twice. */
static void magnitude_scales_angles(void **unused)
{
    (void)unused;
    double frequency[DIM / 2];
    sl_rope rope = {.dim = DIM, .base = 10000, .magnitude = 1.5F};
    sl_rope_table table = {.frequency = frequency};
    float cos_sin[DIM];
    sl_rope_table_fill(&rope, NULL, &table);
    sl_rope_angles(&table, 0, cos_sin);
    for (size_t i = 0; i < DIM; i += 2) assert_true(cos_sin[i] == 1.5F && cos_sin[i + 1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_by_position),       cmocka_unit_test(scales_linearly),
        cmocka_unit_test(divides_by_freqs),        cmocka_unit_test(scales_as_llama3),
        cmocka_unit_test(scales_as_yarn),          cmocka_unit_test(yarn_can_be_off),
        cmocka_unit_test(yarn_bounds_are_clamped), cmocka_unit_test(magnitude_scales_angles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_rope.c - rotary embedding against the rotation in long double. */
#include "tests/unit/kernels/kernel_cases.h"

static void turns_by_position(void **unused)
{
    (void)unused;
    enum { HEADS = 3, HEAD_DIM = 48, ROPE_DIM = 32 };
    static const uint32_t positions[] = {0, 1, 2, 63, 511, 8191, 131071};
    dice d = dice_of(1);
    for (size_t p = 0; p < sizeof positions / sizeof positions[0]; p++) {
        float x[HEADS * HEAD_DIM], before[HEADS * HEAD_DIM], cos_sin[ROPE_DIM];
        for (size_t i = 0; i < HEADS * HEAD_DIM; i++) before[i] = x[i] = dice_float(&d);
        sl_rope_angles(positions[p], ROPE_DIM, 100000, cos_sin);
        sl_rope_apply(x, HEADS, HEAD_DIM, ROPE_DIM, cos_sin);

        for (size_t h = 0; h < HEADS; h++) {
            const float *was = before + h * HEAD_DIM, *is = x + h * HEAD_DIM;
            for (size_t i = 0; i < ROPE_DIM / 2; i++) {
                long double angle = positions[p] *
                                    powl(100000, -2.0L * (long double)i / (long double)ROPE_DIM);
                double c = (double)cosl(angle), s = (double)sinl(angle);
                double even = was[2 * i], odd = was[2 * i + 1];
                assert_true(fabs(cos_sin[2 * i] - c) <= UNIT * fabs(c) + 1e-11);
                assert_true(fabs(cos_sin[2 * i + 1] - s) <= UNIT * fabs(s) + 1e-11);
                double bound = 4 * UNIT * (fabs(even) + fabs(odd));
                assert_true(fabs(is[2 * i] - (even * c - odd * s)) <= bound);
                assert_true(fabs(is[2 * i + 1] - (even * s + odd * c)) <= bound);
            }
            assert_memory_equal(is + ROPE_DIM, was + ROPE_DIM,
                                sizeof(float) * (HEAD_DIM - ROPE_DIM));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(turns_by_position)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

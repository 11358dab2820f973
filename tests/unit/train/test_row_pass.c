/* test_row_pass.c - gradients of norms, gated units and rotation against central differences of the
 * same steps in doubles, and those steps against the kernels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/kernels/kernels.h"
#include "runtime/kernels/rows/rope.h"
#include "runtime/train/row_pass.h"
#include "tests/support/seeded.h"

enum { WIDTH = 48 };
static const double STEP = 1e-5, EPS = 1e-5;

static void fill(seeded *random, size_t n, float size, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = size * seeded_real(random);
}

static bool is_near(double got, double want) { return fabs(got - want) < 2e-4 * (1 + fabs(want)); }

/* ---- norms ---- */

/* sum of d_y * y, x[moved] being off by `by`. */
static double norm_weighed(const float *x, const float *gain, const float *d_y, size_t moved,
                           double by)
{
    double square = 0, sum = 0;
    for (size_t i = 0; i < WIDTH; i++) {
        double xi = (double)x[i] + (i == moved ? by : 0);
        square += xi * xi / WIDTH;
        sum += (double)d_y[i] * (double)gain[i] * xi;
    }
    return sum / sqrt(square + EPS);
}

static void test_norm(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        seeded random = seeded_from(seed);
        float x[WIDTH], gain[WIDTH], d_y[WIDTH], d_x[WIDTH], was[WIDTH], y[WIDTH];
        fill(&random, WIDTH, seed % 2 ? 3 : 0.01F, x);
        fill(&random, WIDTH, 2, gain), fill(&random, WIDTH, 1, d_y), fill(&random, WIDTH, 1, was);
        memset(d_x, 0xff, sizeof d_x);
        sl_norm_backward(x, gain, WIDTH, (float)EPS, 0, d_y, d_x);
        double told = 0;
        sl_kernels_named("ref")->rmsnorm(x, gain, 1, WIDTH, (float)EPS, y);
        for (size_t i = 0; i < WIDTH; i++) told += (double)d_y[i] * (double)y[i];
        assert_seeded(&random, is_near(told, norm_weighed(x, gain, d_y, 0, 0)));
        for (size_t i = 0; i < WIDTH; i++) {
            double step = STEP * (seed % 2 ? 1 : 0.01);
            double want = (norm_weighed(x, gain, d_y, i, step) -
                           norm_weighed(x, gain, d_y, i, -step)) /
                          (2 * step);
            assert_seeded(&random, is_near((double)d_x[i], want));
        }
        memcpy(y, was, sizeof y);
        sl_norm_backward(x, gain, WIDTH, (float)EPS, 1, d_y, y); /* added to what is there */
        for (size_t i = 0; i < WIDTH; i++)
            assert_seeded(&random, fabsf(y[i] - was[i] - d_x[i]) <= 1e-5F * (1 + fabsf(d_x[i])));
    }
}

/* ---- gated units ---- */

static double glu(sl_activation activation, double gate, double up)
{
    double u = activation == SL_GEGLU ? 2 * sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate)
                                      : gate;
    return gate / (1 + exp(-u)) * up;
}

static void check_glu(sl_activation activation, uint64_t seed)
{
    seeded random = seeded_from(seed);
    float gate[WIDTH], up[WIDTH], d_out[WIDTH], d_gate[WIDTH], d_up[WIDTH], out[WIDTH];
    fill(&random, WIDTH, 8, gate), fill(&random, WIDTH, 2, up), fill(&random, WIDTH, 1, d_out);
    const sl_kernels *kernels = sl_kernels_named("ref");
    (activation == SL_GEGLU ? kernels->geglu : kernels->swiglu)(gate, up, WIDTH, out);
    sl_glu_backward(activation, gate, up, d_out, WIDTH, d_gate, d_up);
    for (size_t i = 0; i < WIDTH; i++) {
        double g = (double)gate[i], u = (double)up[i], d = (double)d_out[i];
        double by_gate = (glu(activation, g + STEP, u) - glu(activation, g - STEP, u)) / (2 * STEP);
        assert_seeded(&random, is_near((double)out[i], glu(activation, g, u)));
        assert_seeded(&random, is_near((double)d_gate[i], d * by_gate));
        assert_seeded(&random, is_near((double)d_up[i], d * glu(activation, g, 1)));
    }
    float over[WIDTH];
    memcpy(over, d_out, sizeof over);
    sl_glu_backward(activation, gate, up, over, WIDTH, over, out); /* in the place of d_out */
    assert_memory_equal(over, d_gate, sizeof over);
    sl_glu_backward(activation, gate, up, d_out, WIDTH, gate, up); /* in that of what it is of */
    assert_memory_equal(gate, d_gate, sizeof gate);
    assert_memory_equal(up, d_up, sizeof up);
}

static void test_glu(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        check_glu(SL_SWIGLU, seed);
        check_glu(SL_GEGLU, seed);
    }
}

/* ---- rotation ---- */

/* It is linear: d_y * turn(e_i) for each unit vector e_i. */
static void test_rope(void **state)
{
    (void)state;
    enum { HEADS = 2, DIM = 16, HEAD_DIM = 24 };
    for (uint64_t seed = 1; seed <= 8; seed++) {
        seeded random = seeded_from(seed);
        double frequency[DIM / 2];
        sl_rope_table table = {.frequency = frequency};
        const sl_rope rope = {.dim = DIM,
                              .pairing = seed % 2 ? SL_ROPE_HALVES : SL_ROPE_ADJACENT,
                              .base = 10000,
                              .magnitude = seed % 3 ? 1 : 1.3F};
        float cos_sin[DIM], back[DIM], d_y[HEADS * HEAD_DIM], d_x[HEADS * HEAD_DIM];
        sl_rope_table_fill(&rope, NULL, &table);
        sl_rope_angles(&table, seeded_below(&random, 5000), cos_sin);
        fill(&random, HEADS * HEAD_DIM, 1, d_y);
        memcpy(d_x, d_y, sizeof d_x);
        sl_rope_angles_back(cos_sin, DIM, back);
        sl_rope_apply(&table, back, HEADS, HEAD_DIM, d_x);
        for (size_t i = 0; i < HEADS * HEAD_DIM; i++) {
            float unit[HEADS * HEAD_DIM] = {0};
            double want = 0;
            unit[i] = 1;
            sl_rope_apply(&table, cos_sin, HEADS, HEAD_DIM, unit);
            for (size_t k = 0; k < HEADS * HEAD_DIM; k++) want += (double)unit[k] * (double)d_y[k];
            assert_seeded(&random, is_near((double)d_x[i], want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_glu),
        cmocka_unit_test(test_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

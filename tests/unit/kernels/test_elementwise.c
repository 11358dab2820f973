/* test_elementwise.c - rmsnorm, swiglu, geglu and add against double precision, and bits that do
 * not depend on where a call begins or ends. */
#include "tests/unit/kernels/kernel_cases.h"

/* Relative error: squares and their sum are off by (width + 2) units, the root halves that, and
 * three more operations follow. */
static void rmsnorm_case(const sl_kernels *k, dice *d)
{
    size_t n_rows = 1 + dice_below(d, 4), width = 1 + dice_below(d, 100), n = n_rows * width;
    float *x = take(n * 4), *gain = take(width * 4), *whole = take(n * 4), eps = 1e-5F;
    float magnitude = ldexpf(1, (int)dice_below(d, 80) - 40);
    for (size_t i = 0; i < n; i++) x[i] = magnitude * dice_float(d);
    for (size_t i = 0; i < width; i++) gain[i] = dice_float(d);
    k->rmsnorm(x, gain, n_rows, width, eps, whole);
    for (size_t t = 0; t < n_rows; t++) {
        double sum = 0;
        for (size_t i = 0; i < width; i++) sum += (double)x[t * width + i] * x[t * width + i];
        double rms = sqrt(sum / (double)width + eps);
        for (size_t i = 0; i < width; i++) {
            double expected = (double)gain[i] * x[t * width + i] / rms;
            check(fabs(whole[t * width + i] - expected) <=
                      ((double)width / 2 + 5) * UNIT * fabs(expected) + 0x1p-149,
                  k, d, "rmsnorm: %g, not %g\n", (double)whole[t * width + i], expected);
        }
    }
    for (size_t t = 0; t < n_rows; t++) /* row by row, in place */
        k->rmsnorm(x + t * width, gain, 1, width, eps, x + t * width);
    check(memcmp(x, whole, n * 4) == 0, k, d, "rmsnorm: rows alone differ\n");
    free(x), free(gain), free(whole);
}

/* Relative error 5e-7: e^x to 2e-7 and three operations. Where e^-gate is beyond f32 the result
 * is 0, off by less than 1e-36 |up|. */
static void check_swiglu(const sl_kernels *k, dice *d, double gate, double up, double out)
{
    double expected = gate / (1 + exp(-gate)) * up;
    check(fabs(out - expected) <= 5e-7 * fabs(expected) + 1e-36 * fabs(up) + 0x1p-148, k, d,
          "swiglu(%.9g, %.9g) = %.9g, not %.9g\n", gate, up, out, expected);
}

/* Of the tanh form itself. u is off by 3 units, and so e^-u by |u| times that. */
static void check_geglu(const sl_kernels *k, dice *d, double gate, double up, double out)
{
    double u = 2 * sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate);
    double expected = gate / (1 + exp(-u)) * up, part = fmin(fabs(u), 100) * 3 * UNIT;
    check(fabs(out - expected) <= (5e-7 + part) * fabs(expected) + 1e-36 * fabs(up) + 0x1p-148, k,
          d, "geglu(%.9g, %.9g) = %.9g, not %.9g\n", gate, up, out, expected);
}

/* Gates within `range`, some far beyond; pieces are as the whole, also into `up`. */
static void glu_case(const sl_kernels *k, dice *d, const char *name, sl_glu *glu, float range,
                     void (*check_one)(const sl_kernels *k, dice *d, double gate, double up,
                                       double out))
{
    size_t n = 1 + dice_below(d, 200);
    float *gate = take(n * 4), *up = take(n * 4), *whole = take(n * 4);
    for (size_t i = 0; i < n; i++) {
        gate[i] = dice_below(d, 10) ? range * dice_float(d) : dice_wild(d) * 0x1p60F;
        up[i] = dice_float(d);
    }
    glu(gate, up, n, whole);
    for (size_t i = 0; i < n; i++)
        check_one(k, d, (double)gate[i], (double)up[i], (double)whole[i]);
    for (size_t i = 0, m; i < n; i += m) {
        m = 1 + dice_below(d, n - i);
        glu(gate + i, up + i, m, up + i);
    }
    check(memcmp(up, whole, n * 4) == 0, k, d, "%s: pieces differ\n", name);
    free(gate), free(up), free(whole);
}

static void swiglu_case(const sl_kernels *k, dice *d)
{
    glu_case(k, d, "swiglu", k->swiglu, 110, check_swiglu);
}

static void geglu_case(const sl_kernels *k, dice *d)
{
    glu_case(k, d, "geglu", k->geglu, 12, check_geglu);
}

static void geglu_ends(const sl_kernels *k, dice *d)
{
    const float gate[] = {0, -0.0F, 3e38F, 1e-45F, -1e-45F, -3e38F, NAN};
    enum { N = sizeof gate / sizeof gate[0] };
    float up[N], out[N];
    for (size_t i = 0; i < N; i++) up[i] = 1;
    k->geglu(gate, up, N, out);
    for (size_t i = 0; i + 2 < N; i++) check_geglu(k, d, (double)gate[i], 1, (double)out[i]);
    check(out[N - 2] == 0 && isnan(out[N - 1]), k, d, "far below and NaN: %g %g\n",
          (double)out[N - 2], (double)out[N - 1]);
}

static void swiglu_ends(const sl_kernels *k, dice *d)
{
    const float gate[] = {0, -0.0F, 3e38F, -3e38F, 1e-45F, -1e-45F, NAN, -88.8F, 88.8F};
    enum { N = sizeof gate / sizeof gate[0] };
    float up[N], out[N];
    for (size_t i = 0; i < N; i++) up[i] = 1;
    k->swiglu(gate, up, N, out);
    for (size_t i = 0; i < N; i++) {
        if (isnan(gate[i]))
            check(isnan(out[i]), k, d, "a NaN is lost\n");
        else if (gate[i] > -3e38F)
            check_swiglu(k, d, (double)gate[i], 1, (double)out[i]);
        else
            check(out[i] == 0, k, d, "far below, but %g\n", (double)out[i]);
    }
}

static void add_case(const sl_kernels *k, dice *d)
{
    size_t n = dice_below(d, 70);
    float *x = take(n * 4 + 4), *y = take(n * 4), *before = take(n * 4);
    for (size_t i = 0; i < n; i++) before[i] = x[i] = dice_wild(d), y[i] = dice_wild(d);
    x[n] = 7;
    k->add(y, n, x);
    for (size_t i = 0; i < n; i++) check(x[i] == before[i] + y[i], k, d, "add\n");
    check(x[n] == 7, k, d, "add went too far\n");
    free(x), free(y), free(before);
}

static void rmsnorm(void **unused) { (void)unused, for_all_sets(rmsnorm_case, 300); }
static void swiglu(void **unused) { (void)unused, for_all_sets(swiglu_case, 500); }
static void swiglu_extremes(void **unused) { (void)unused, for_all_sets(swiglu_ends, 1); }
static void geglu(void **unused) { (void)unused, for_all_sets(geglu_case, 500); }
static void geglu_extremes(void **unused) { (void)unused, for_all_sets(geglu_ends, 1); }
static void add(void **unused) { (void)unused, for_all_sets(add_case, 100); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rmsnorm),         cmocka_unit_test(swiglu),
                                       cmocka_unit_test(swiglu_extremes), cmocka_unit_test(geglu),
                                       cmocka_unit_test(geglu_extremes),  cmocka_unit_test(add)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

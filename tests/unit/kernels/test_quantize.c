/* test_quantize.c - activations to int8: the definition, extreme values, equal bits in every set
 * and every partition. */
#include "tests/unit/kernels/kernel_cases.h"

static sl_activations activations_of(size_t n_rows, size_t width, const float *x)
{
    size_t n = n_rows * width;
    return (sl_activations){.n_rows = n_rows,
                            .width = width,
                            .x = (float *)(uintptr_t)x,
                            .q = take(n),
                            .scale = take(n / SL_BLOCK * 4),
                            .sum = take(n / SL_BLOCK * 4),
                            .sum_16 = take(n / SL_BLOCK * 4)};
}

/* Blocks [begin, end). */
static void quantize(const sl_kernels *k, const sl_activations *a, size_t begin, size_t end)
{
    k->quantize(a->x + begin * SL_BLOCK, end - begin, a->q + begin * SL_BLOCK, a->scale + begin,
                a->sum + begin, a->sum_16 + 2 * begin);
}

static void release(sl_activations *a)
{
    free(a->q);
    free(a->scale);
    free(a->sum);
    free(a->sum_16);
}

static bool equal(const sl_activations *a, const sl_activations *b)
{
    size_t n = a->n_rows * a->width, blocks = n / SL_BLOCK;
    return memcmp(a->q, b->q, n) == 0 && memcmp(a->scale, b->scale, blocks * 4) == 0 &&
           memcmp(a->sum, b->sum, blocks * 4) == 0 && memcmp(a->sum_16, b->sum_16, blocks * 4) == 0;
}

static void check_sum(const sl_kernels *k, dice *d, const int8_t *q, size_t n, double scale,
                      double sum)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) total += q[i];
    check(fabs(sum - scale * total) <= UNIT * fabs(scale * total), k, d, "sum %g\n", sum);
}

/* Block b of a. */
static void check_block(const sl_kernels *k, dice *d, const sl_activations *a, size_t b)
{
    const float *x = a->x + b * SL_BLOCK;
    const int8_t *q = a->q + b * SL_BLOCK;
    double largest = 0, scale = (double)a->scale[b];
    for (size_t i = 0; i < SL_BLOCK; i++) largest = fmax(largest, fabs((double)x[i]));
    double wanted = fmin(largest / 127, 65504); /* to half a step of f16 */
    check(fabs(scale - wanted) <= fmax(wanted * 0x1p-11, 0x1p-25) * (1 + 1e-6), k, d,
          "scale %g of %g\n", scale, wanted);
    check_sum(k, d, q, SL_BLOCK, scale, (double)a->sum[b]);
    for (size_t h = 0; h < 2; h++)
        check_sum(k, d, q + h * (SL_BLOCK / 2), SL_BLOCK / 2, 1, a->sum_16[2 * b + h]);
    for (size_t i = 0; i < SL_BLOCK; i++) {
        double nearest = scale > 0 ? fmin(fmax((double)x[i] / scale, -127), 127) : 0;
        check(fabs(q[i] - nearest) <= 0.5 + 1e-4, k, d, "q %d of %g\n", q[i], nearest);
    }
}

static void quantizes_as_defined(const sl_kernels *k, dice *d)
{
    size_t n_rows = 1 + dice_below(d, 5), width = SL_BLOCK * (1 + dice_below(d, 9));
    float *x = take(n_rows * width * sizeof *x);
    float magnitude = ldexpf(1, (int)dice_below(d, 70) - 45); /* blocks of all sizes, some huge */
    for (size_t i = 0; i < n_rows * width; i++)
        x[i] = magnitude * (dice_below(d, 2) ? dice_float(d) : dice_wild(d));
    sl_activations a = activations_of(n_rows, width, x), pieces = activations_of(n_rows, width, x);
    sl_activations ref = activations_of(n_rows, width, x);

    size_t n_blocks = n_rows * width / SL_BLOCK;
    quantize(k, &a, 0, n_blocks);
    for (size_t b = 0; b < n_blocks; b++) check_block(k, d, &a, b);

    for (size_t b = 0, n; b < n_blocks; b += n) {
        n = 1 + dice_below(d, n_blocks - b);
        quantize(k, &pieces, b, b + n);
    }
    check(equal(&a, &pieces), k, d, "parts differ from the whole\n");
    quantize(sl_kernels_named("ref"), &ref, 0, n_blocks);
    check(equal(&a, &ref), k, d, "differs from ref\n");
    release(&a), release(&pieces), release(&ref);
    free(x);
}

/* Halves of a scale whose reciprocal is not a float: only a division finds them in the middle. */
static void ties_go_to_even(const sl_kernels *k, dice *d)
{
    static const float steps[SL_BLOCK] = {127,   0.5F,   1.5F,   2.5F,  -0.5F, -1.5F,
                                          -2.5F, 126.5F, -62.5F, 31.5F, 75.5F, -99.5F};
    static const int8_t expected[SL_BLOCK] = {127, 0, 2, 2, 0, -2, -2, 126, -62, 32, 76, -100};
    float scale = sl_f16_to_f32((uint16_t)(0x2000 + dice_below(d, 0x2000))), x[SL_BLOCK];
    for (size_t i = 0; i < SL_BLOCK; i++) x[i] = steps[i] * scale; /* exact */
    sl_activations a = activations_of(1, SL_BLOCK, x);
    quantize(k, &a, 0, 1);
    check(a.scale[0] == scale && a.sum[0] == scale * 199, k, d, "scale %g\n", (double)scale);
    check(memcmp(a.q, expected, SL_BLOCK) == 0, k, d, "ties of scale %g\n", (double)scale);
    release(&a);
}

static void nan_stays_visible(const sl_kernels *k, dice *d)
{
    float x[3 * SL_BLOCK] = {0};
    for (size_t i = 0; i < 3 * SL_BLOCK; i++) x[i] = dice_float(d);
    x[SL_BLOCK + dice_below(d, SL_BLOCK)] = dice_below(d, 2) ? NAN : -NAN;
    x[2 * SL_BLOCK + dice_below(d, SL_BLOCK)] = -INFINITY;
    sl_activations a = activations_of(1, 3 * SL_BLOCK, x);
    quantize(k, &a, 0, 3);
    check(isfinite(a.scale[0]) && isnan(a.scale[1]) && isnan(a.sum[1]), k, d, "NaN\n");
    check(a.scale[2] == 65504 && isfinite(a.sum[2]), k, d, "infinity\n");
    release(&a);
}

static void definition(void **unused) { (void)unused, for_all_sets(quantizes_as_defined, 300); }
static void ties(void **unused) { (void)unused, for_all_sets(ties_go_to_even, 200); }
static void not_a_number(void **unused) { (void)unused, for_all_sets(nan_stays_visible, 20); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(definition), cmocka_unit_test(ties),
                                       cmocka_unit_test(not_a_number)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

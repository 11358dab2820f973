/* test_kv_layout.c - the bytes of a slot: rounding, clamping, moving, reading back. */
#include "tests/unit/kernels/kernel_cases.h"

enum { PAGE_BYTES_MAX = 2 * 256 * 64 * 2 };

static float half(float x)
{
    return sl_f16_to_f32(sl_f32_to_f16(x > 65504 ? 65504 : x < -65504 ? -65504 : x));
}

/* Rounded in arithmetic of doubles, to 8 digits of the mantissa. */
static float bfloat(float x)
{
    int exponent;
    if (isnan(x) || x == 0) return x;
    if (isinf(x)) return copysignf(ldexpf(255, 120), x);
    frexp((double)x, &exponent);
    exponent = exponent < -125 ? -125 : exponent;
    double rounded = ldexp(rint(ldexp((double)x, 8 - exponent)), exponent - 8);
    return (float)(fabs(rounded) > ldexp(255, 120) ? copysign(ldexp(255, 120), rounded) : rounded);
}

static void q8_block(const float *x, float *out)
{
    double largest = 0;
    bool number = true;
    for (size_t i = 0; i < SL_BLOCK; i++) {
        number = number && !isnan(x[i]);
        largest = fmax(largest, fabs((double)x[i]));
    }
    float scale = half((float)largest / 127);
    for (size_t i = 0; i < SL_BLOCK; i++) {
        float q = scale > 0 ? rintf(fmaxf(-127, fminf(127, x[i] / scale))) : 0;
        out[i] = number ? (q == 0 ? 0 : q * scale) : NAN;
    }
}

/* What remains of a row. */
static void stored(const sl_kernels *k, const sl_kv_layout *l, const float *x, size_t n, float *out)
{
    if (l == k->kv[SL_KV_F16])
        for (size_t i = 0; i < n; i++) out[i] = half(x[i]);
    else if (l == k->kv[SL_KV_BF16])
        for (size_t i = 0; i < n; i++) out[i] = bfloat(x[i]);
    else
        for (size_t i = 0; i < n; i += SL_BLOCK) q8_block(x + i, out + i);
}

/* Blocks of ordinary numbers, of wild ones, and of what is not a number or none we can hold. */
static void fill(dice *d, float *x, size_t n)
{
    static const float odd[] = {0,      -0.0F,    65504,     65519.9F, 65520,
                                -7e37F, INFINITY, -INFINITY, 1e-8F,    NAN};
    enum { ODD = sizeof odd / sizeof odd[0] };
    for (size_t i = 0, kind = 0; i < n; i++) {
        if (i % 16 == 0) kind = dice_below(d, 4);
        bool is_odd = kind == 3 && dice_below(d, 5) == 0;
        x[i] = is_odd ? odd[dice_below(d, ODD - dice_below(d, 2))]
               : kind ? dice_wild(d)
                      : dice_float(d);
    }
}

static void check_row(const sl_kernels *k, const sl_kv_layout *l, dice *d, const char *what,
                      const float *x, const float *got, size_t head_dim)
{
    float expected[256];
    stored(k, l, x, head_dim, expected);
    for (size_t i = 0; i < head_dim; i++)
        check((isnan(expected[i]) && isnan(got[i])) || memcmp(&expected[i], &got[i], 4) == 0, k, d,
              "%s %zu of %zu: %.9g, not %.9g\n", what, i, head_dim, (double)got[i],
              (double)expected[i]);
}

static void check_slot(const sl_kernels *k, const sl_kv_layout *l, dice *d, const void *page,
                       size_t slot, size_t head_dim, float (*token)[256])
{
    float got[2][256];
    bool odd = false;
    l->get(page, slot, got[0], got[1], head_dim);
    for (size_t i = 0; i < head_dim; i++) odd = odd || isnan(token[0][i]) || isnan(token[1][i]);
    if (odd && l == k->kv[SL_KV_BF16]) { /* all keys say so, values can be multiplied */
        for (size_t i = 0; i < head_dim; i++)
            check(isnan(got[0][i]) && got[1][i] == 0, k, d, "of a NaN: %g, %g\n", (double)got[0][i],
                  (double)got[1][i]);
        return;
    }
    check_row(k, l, d, "key", token[0], got[0], head_dim);
    check_row(k, l, d, "value", token[1], got[1], head_dim);
}

static void keeps_tokens(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    size_t head_dim = dice_head_dim(d, l), bytes = l->page_bytes(head_dim);
    sl_kv_type type = SL_KV_F16;
    assert_int_equal(sl_kv_type_named(l->name, &type), SL_OK);
    const sl_kv_layout *plain = sl_kernels_named("ref")->kv[type];
    size_t token_bytes = type == SL_KV_Q8_0 ? head_dim / 32 * 34 : 2 * head_dim;
    assert_int_equal(bytes, SL_PAGE_TOKENS * 2 * token_bytes);
    float(*tokens)[2][256] = take(SL_PAGE_TOKENS * sizeof *tokens);
    uint8_t *page = take(bytes), *other = take(bytes), *ref = take(bytes);
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) {
        fill(d, tokens[slot][0], head_dim);
        fill(d, tokens[slot][1], head_dim);
        l->put(page, slot, tokens[slot][0], tokens[slot][1], head_dim);
        plain->put(ref, slot, tokens[slot][0], tokens[slot][1], head_dim);
    }
    bool own = l->put != plain->put && type == SL_KV_BF16; /* tiles have a page of their own */
    check(own || memcmp(page, ref, bytes) == 0, k, d, "head_dim %zu: not the bits of ref\n",
          head_dim);
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) {
        check_slot(k, l, d, page, slot, head_dim, tokens[slot]);
        l->copy(other, SL_PAGE_TOKENS - 1 - slot, page, slot, head_dim); /* reversed */
    }
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++)
        check_slot(k, l, d, other, SL_PAGE_TOKENS - 1 - slot, head_dim, tokens[slot]);

    l->copy(page, 3, page, 60, head_dim); /* within a page; its neighbours stay */
    check_slot(k, l, d, page, 3, head_dim, tokens[60]);
    check_slot(k, l, d, page, 2, head_dim, tokens[2]);
    check_slot(k, l, d, page, 4, head_dim, tokens[4]);
    free(tokens), free(page), free(other), free(ref);
}

static void every_pattern_moves(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    uint8_t *from = take(PAGE_BYTES_MAX), *to = take(PAGE_BYTES_MAX);
    size_t head_dim = dice_head_dim(d, l), bytes = l->page_bytes(head_dim);
    for (size_t i = 0; i < PAGE_BYTES_MAX; i++) from[i] = (uint8_t)dice_bits(d);
    memcpy(to + bytes, from + bytes,
           PAGE_BYTES_MAX - bytes); /* beyond the page nothing is written */
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) l->copy(to, slot, from, slot, head_dim);
    check(memcmp(from, to, PAGE_BYTES_MAX) == 0, k, d, "head_dim %zu: copy changed bits\n",
          head_dim);
    free(from), free(to);
}

static void slots(void **unused) { (void)unused, for_all_layouts(keeps_tokens, 60); }
static void moves(void **unused) { (void)unused, for_all_layouts(every_pattern_moves, 34); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(slots), cmocka_unit_test(moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_kv_f16.c - the bytes of a slot: rounding, clamping, moving, reading back. */
#include "tests/unit/kernels/kernel_cases.h"

enum { PAGE_BYTES_MAX = 2 * 256 * 64 * 2 };

static float stored(float x)
{
    return sl_f16_to_f32(sl_f32_to_f16(x > 65504 ? 65504 : x < -65504 ? -65504 : x));
}

static void fill(dice *d, float *x, size_t n)
{
    static const float odd[] = {0,      -0.0F,    65504,     65519.9F, 65520,
                                -7e37F, INFINITY, -INFINITY, 1e-8F,    NAN};
    for (size_t i = 0; i < n; i++)
        x[i] = dice_below(d, 5) ? dice_wild(d) : odd[dice_below(d, sizeof odd / sizeof odd[0])];
}

static void check_slot(const sl_kernels *k, dice *d, const void *page, size_t slot, size_t head_dim,
                       const float *keys, const float *values)
{
    float got[2][256];
    k->kv_layout->get(page, slot, got[0], got[1], head_dim);
    for (size_t i = 0; i < head_dim; i++) {
        float key = stored(keys[i]), value = stored(values[i]);
        check((isnan(key) && isnan(got[0][i])) || memcmp(&key, &got[0][i], 4) == 0, k, d,
              "slot %zu key %zu\n", slot, i);
        check((isnan(value) && isnan(got[1][i])) || memcmp(&value, &got[1][i], 4) == 0, k, d,
              "slot %zu value %zu\n", slot, i);
    }
}

static void keeps_tokens(const sl_kernels *k, dice *d)
{
    const sl_kv_layout *l = k->kv_layout;
    size_t head_dim = 16 * (1 + dice_below(d, 16)), bytes = l->page_bytes(head_dim);
    assert_int_equal(bytes, 2 * head_dim * SL_PAGE_TOKENS * 2);
    float(*tokens)[2][256] = take(SL_PAGE_TOKENS * sizeof *tokens);
    uint8_t *page = take(bytes), *other = take(bytes), *ref = take(bytes);
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) {
        fill(d, tokens[slot][0], head_dim);
        fill(d, tokens[slot][1], head_dim);
        l->put(page, slot, tokens[slot][0], tokens[slot][1], head_dim);
        sl_kernels_named("ref")->kv_layout->put(ref, slot, tokens[slot][0], tokens[slot][1],
                                                head_dim);
    }
    check(memcmp(page, ref, bytes) == 0, k, d, "head_dim %zu: not the bits of ref\n", head_dim);
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) {
        check_slot(k, d, page, slot, head_dim, tokens[slot][0], tokens[slot][1]);
        l->copy(other, SL_PAGE_TOKENS - 1 - slot, page, slot, head_dim); /* reversed */
    }
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++)
        check_slot(k, d, other, SL_PAGE_TOKENS - 1 - slot, head_dim, tokens[slot][0],
                   tokens[slot][1]);

    l->copy(page, 3, page, 60, head_dim); /* within a page; its neighbours stay */
    check_slot(k, d, page, 3, head_dim, tokens[60][0], tokens[60][1]);
    check_slot(k, d, page, 2, head_dim, tokens[2][0], tokens[2][1]);
    check_slot(k, d, page, 4, head_dim, tokens[4][0], tokens[4][1]);
    free(tokens), free(page), free(other), free(ref);
}

static void every_pattern_moves(const sl_kernels *k, dice *d)
{
    const sl_kv_layout *l = k->kv_layout;
    uint8_t *from = take(PAGE_BYTES_MAX), *to = take(PAGE_BYTES_MAX);
    for (size_t i = 0; i < PAGE_BYTES_MAX; i++) from[i] = (uint8_t)dice_bits(d);
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) l->copy(to, slot, from, slot, 256);
    check(memcmp(from, to, PAGE_BYTES_MAX) == 0, k, d, "copy changed bits\n");
    free(from), free(to);
}

static void slots(void **unused) { (void)unused, for_all_sets(keeps_tokens, 60); }
static void moves(void **unused) { (void)unused, for_all_sets(every_pattern_moves, 1); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(slots), cmocka_unit_test(moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

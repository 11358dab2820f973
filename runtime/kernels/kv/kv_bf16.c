/* runtime/kernels/kv/kv_bf16.c - a token into a page of bf16, which is laid out as one of f16, and
 * back. */
#include <stdbool.h>

#include "runtime/base/float_bits.h"
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum { BF16_MAX = 0x7f7f, BF16_NAN = 0x7fc0 };

static uint16_t bounded(float x)
{
    uint16_t half = sl_bf16_of(x);
    return (half & 0x7fff) > BF16_MAX ? (half & 0x8000) | BF16_MAX : half;
}

void sl_kv_bf16_round(const float *k, const float *v, size_t head_dim, uint16_t *key,
                      uint16_t *value)
{
    int odd = 0;
    for (size_t i = 0; i < head_dim; i++) odd |= (k[i] != k[i]) | (v[i] != v[i]);
    for (size_t i = 0; i < head_dim; i++) {
        key[i] = odd ? BF16_NAN : bounded(k[i]);
        value[i] = odd ? 0 : bounded(v[i]);
    }
}

void sl_kv_bf16_put(void *page, size_t slot, const float *k, const float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    uint16_t key[SL_HEAD_DIM_MAX], *keys = page, *values = keys + head_dim * SL_PAGE_TOKENS;
    sl_kv_bf16_round(k, v, head_dim, key, values + slot * head_dim);
    for (size_t i = 0; i < head_dim; i++) keys[i * SL_PAGE_TOKENS + slot] = key[i];
}

void sl_kv_bf16_get(const void *page, size_t slot, float *k, float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    const uint16_t *keys = sl_page_keys(page), *values = sl_page_values(page, head_dim);
    for (size_t i = 0; i < head_dim; i++) {
        k[i] = sl_bf16_to_f32(keys[i * SL_PAGE_TOKENS + slot]);
        v[i] = sl_bf16_to_f32(values[slot * head_dim + i]);
    }
}

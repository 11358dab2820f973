/* runtime/kernels/kv/kv_f16.c - pages of f16: the bytes of a slot. Which page belongs to whom is
 * the cache's business. */
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

size_t sl_kv_f16_page_bytes(size_t head_dim)
{
    SL_ASSERT(head_dim % 16 == 0 && head_dim <= SL_HEAD_DIM_MAX);
    return 2 * head_dim * SL_PAGE_TOKENS * sizeof(uint16_t);
}

static float clamped(float x) { return x > 65504 ? 65504 : x < -65504 ? -65504 : x; }

void sl_kv_f16_put_ref(void *page, size_t slot, const float *k, const float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    uint16_t *keys = page, *values = keys + head_dim * SL_PAGE_TOKENS;
    for (size_t i = 0; i < head_dim; i++) {
        keys[i * SL_PAGE_TOKENS + slot] = sl_f32_to_f16(clamped(k[i]));
        values[slot * head_dim + i] = sl_f32_to_f16(clamped(v[i]));
    }
}

void sl_kv_f16_copy(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim)
{
    SL_DEBUG_ASSERT(to_slot < SL_PAGE_TOKENS && from_slot < SL_PAGE_TOKENS);
    uint16_t *to_keys = to, *to_values = to_keys + head_dim * SL_PAGE_TOKENS;
    const uint16_t *keys = sl_page_keys(from), *values = sl_page_values(from, head_dim);
    for (size_t i = 0; i < head_dim; i++) {
        to_keys[i * SL_PAGE_TOKENS + to_slot] = keys[i * SL_PAGE_TOKENS + from_slot];
        to_values[to_slot * head_dim + i] = values[from_slot * head_dim + i];
    }
}

void sl_kv_f16_get(const void *page, size_t slot, float *k, float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    const uint16_t *keys = sl_page_keys(page), *values = sl_page_values(page, head_dim);
    for (size_t i = 0; i < head_dim; i++) {
        k[i] = sl_f16_to_f32(keys[i * SL_PAGE_TOKENS + slot]);
        v[i] = sl_f16_to_f32(values[slot * head_dim + i]);
    }
}

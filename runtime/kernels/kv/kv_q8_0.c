/* runtime/kernels/kv/kv_q8_0.c - pages of q8_0: the bytes of a slot. A token is quantized as a row
 * that enters a linear map is, so a NaN spoils the 32 it belongs to and what is too large is
 * clipped. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum { BLOCKS_MAX = SL_HEAD_DIM_MAX / SL_BLOCK };

size_t sl_kv_q8_0_page_bytes(size_t head_dim)
{
    SL_ASSERT(head_dim % SL_BLOCK == 0 && head_dim <= SL_HEAD_DIM_MAX);
    return sl_q8_page_of(head_dim).end;
}

void sl_kv_q8_0_put(sl_quantize *quantize, void *page, size_t slot, const float *k, const float *v,
                    size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    sl_q8_page at = sl_q8_page_of(head_dim);
    size_t n_blocks = head_dim / SL_BLOCK;
    int8_t key[SL_HEAD_DIM_MAX], *keys = page, *values = keys + at.values;
    uint16_t *key_scales = (void *)(keys + at.key_scales);
    uint16_t *value_scales = (void *)(keys + at.value_scales);
    float scale[BLOCKS_MAX], sum[BLOCKS_MAX];
    int16_t sum_16[2 * BLOCKS_MAX];

    quantize(k, n_blocks, key, scale, sum, sum_16);
    for (size_t i = 0; i < head_dim; i++) keys[i * SL_PAGE_TOKENS + slot] = key[i];
    for (size_t b = 0; b < n_blocks; b++)
        key_scales[b * SL_PAGE_TOKENS + slot] = sl_f32_to_f16(scale[b]);

    quantize(v, n_blocks, values + slot * head_dim, scale, sum, sum_16);
    for (size_t b = 0; b < n_blocks; b++)
        value_scales[slot * n_blocks + b] = sl_f32_to_f16(scale[b]);
}

void sl_kv_q8_0_put_ref(void *page, size_t slot, const float *k, const float *v, size_t head_dim)
{
    sl_kv_q8_0_put(sl_quantize_ref, page, slot, k, v, head_dim);
}

void sl_kv_q8_0_copy(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim)
{
    SL_DEBUG_ASSERT(to_slot < SL_PAGE_TOKENS && from_slot < SL_PAGE_TOKENS);
    sl_q8_page at = sl_q8_page_of(head_dim);
    size_t n_blocks = head_dim / SL_BLOCK;
    uint8_t *out = to;
    const uint8_t *in = from;
    for (size_t i = 0; i < head_dim; i++)
        out[i * SL_PAGE_TOKENS + to_slot] = in[i * SL_PAGE_TOKENS + from_slot];
    uint16_t *out_scales = (void *)(out + at.key_scales);
    const uint16_t *in_scales = (const void *)(in + at.key_scales);
    for (size_t b = 0; b < n_blocks; b++)
        out_scales[b * SL_PAGE_TOKENS + to_slot] = in_scales[b * SL_PAGE_TOKENS + from_slot];

    memcpy(out + at.values + to_slot * head_dim, in + at.values + from_slot * head_dim, head_dim);
    size_t scale_bytes = n_blocks * sizeof(uint16_t);
    memcpy(out + at.value_scales + to_slot * scale_bytes,
           in + at.value_scales + from_slot * scale_bytes, scale_bytes);
}

void sl_kv_q8_0_get(const void *page, size_t slot, float *k, float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    sl_q8_page at = sl_q8_page_of(head_dim);
    const int8_t *keys = page, *value = keys + at.values + slot * head_dim;
    const uint16_t *key_scales = (const void *)(keys + at.key_scales);
    const uint16_t *value_scales = (const void *)(keys + at.value_scales);
    value_scales += slot * (head_dim / SL_BLOCK);
    for (size_t i = 0; i < head_dim; i++) {
        size_t b = i / SL_BLOCK;
        k[i] = keys[i * SL_PAGE_TOKENS + slot] *
               sl_f16_to_f32(key_scales[b * SL_PAGE_TOKENS + slot]);
        v[i] = value[i] * sl_f16_to_f32(value_scales[b]);
    }
}

/* runtime/kernels/kv/kv_bf16_tiled.c - pages of bf16 for tiles: keys as they come, values
 * transposed, so that both are the left side of a product whose columns are queries (attend_amx.c):
 *   K [64 tokens][head_dim], then V [2][head_dim][32 tokens]. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

/* Of its first number; the others follow SL_BLOCK apart. */
static size_t value_at(size_t slot, size_t head_dim)
{
    return SL_PAGE_TOKENS * head_dim + slot / SL_BLOCK * head_dim * SL_BLOCK + slot % SL_BLOCK;
}

void sl_kv_tiled_put(void *page, size_t slot, const float *k, const float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    uint16_t *keys = page, value[SL_HEAD_DIM_MAX], *to = keys + value_at(slot, head_dim);
    sl_kv_bf16_round(k, v, head_dim, keys + slot * head_dim, value);
    for (size_t i = 0; i < head_dim; i++) to[i * SL_BLOCK] = value[i];
}

void sl_kv_tiled_copy(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim)
{
    SL_DEBUG_ASSERT(to_slot < SL_PAGE_TOKENS && from_slot < SL_PAGE_TOKENS);
    uint16_t *out = to;
    const uint16_t *in = from;
    memmove(out + to_slot * head_dim, in + from_slot * head_dim, head_dim * sizeof *out);
    out += value_at(to_slot, head_dim), in += value_at(from_slot, head_dim);
    for (size_t i = 0; i < head_dim; i++) out[i * SL_BLOCK] = in[i * SL_BLOCK];
}

void sl_kv_tiled_get(const void *page, size_t slot, float *k, float *v, size_t head_dim)
{
    SL_DEBUG_ASSERT(slot < SL_PAGE_TOKENS);
    const uint16_t *key = (const uint16_t *)page + slot * head_dim;
    const uint16_t *value = (const uint16_t *)page + value_at(slot, head_dim);
    for (size_t i = 0; i < head_dim; i++) {
        k[i] = sl_bf16_to_f32(key[i]);
        v[i] = sl_bf16_to_f32(value[i * SL_BLOCK]);
    }
}

/* runtime/kernels/attend_ref.c - online softmax (Milakov & Gimelshein 2018, arXiv:1805.02867), a
 * tile at a time: with scores s = q k over the visible slots of a tile,
 *   max' = max(max, s), sum' = sum e^(max - max') + sum_s e^(s - max'),
 *   acc' = acc e^(max - max') + sum_s e^(s - max') v. */
#include <math.h>

#include "runtime/kernels/kernel_sets.h"

static float score(const uint16_t *keys, size_t slot, const float *q, size_t head_dim)
{
    float sum = 0;
    for (size_t i = 0; i < head_dim; i++)
        sum += q[i] * sl_f16_to_f32(keys[i * SL_PAGE_TOKENS + slot]);
    return sum;
}

static void attend_row(const void *page, sl_slots see, const float *q, size_t head_dim,
                       sl_softmax *state, float *acc)
{
    float scores[SL_PAGE_TOKENS], max = state->max;
    for (size_t slot = see.begin; slot < see.end; slot++) {
        scores[slot] = score(sl_page_keys(page), slot, q, head_dim);
        max = fmaxf(max, scores[slot]);
    }

    float scale = expf(state->max - max);
    state->max = max;
    state->sum *= scale;
    for (size_t i = 0; i < head_dim; i++) acc[i] *= scale;

    for (size_t slot = see.begin; slot < see.end; slot++) {
        const uint16_t *value = sl_page_values(page, head_dim) + slot * head_dim;
        float p = expf(scores[slot] - max);
        state->sum += p;
        for (size_t i = 0; i < head_dim; i++) acc[i] += p * sl_f16_to_f32(value[i]);
    }
}

void sl_attend_ref(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                   size_t head_dim, sl_softmax *state, float *acc)
{
    for (size_t t = 0; t < n_tiles; t++) {
        for (size_t r = 0; r < n_rows; r++) {
            sl_slots see = sl_tile_visible(&tiles[t], r);
            if (see.begin < see.end)
                attend_row(tiles[t].page, see, q + r * head_dim, head_dim, &state[r],
                           acc + r * head_dim);
        }
    }
}

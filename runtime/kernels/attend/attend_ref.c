/* runtime/kernels/attend/attend_ref.c - online softmax (Milakov & Gimelshein 2018,
 * arXiv:1805.02867), a tile at a time: with scores s = q k over the visible slots of a tile,
 *   max' = max(max, s), sum' = sum e^(max - max') + sum_s e^(s - max'),
 *   acc' = acc e^(max - max') + sum_s e^(s - max') v. */
#include <math.h>

#include "runtime/kernels/kernel_sets.h"

/* A page as its layout's get tells it. */
typedef struct {
    float keys[SL_PAGE_TOKENS][SL_HEAD_DIM_MAX], values[SL_PAGE_TOKENS][SL_HEAD_DIM_MAX];
} widened;

typedef void page_get(const void *page, size_t slot, float *k, float *v, size_t head_dim);

static void widen(page_get *get, const void *page, size_t head_dim, widened *out)
{
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++)
        get(page, slot, out->keys[slot], out->values[slot], head_dim);
}

static float score(const float *key, const float *q, size_t head_dim)
{
    float sum = 0;
    for (size_t i = 0; i < head_dim; i++) sum += q[i] * key[i];
    return sum;
}

static void attend_row(const widened *page, sl_slots see, const float *q, size_t head_dim,
                       sl_softmax *state, float *acc)
{
    float scores[SL_PAGE_TOKENS], max = state->max;
    for (size_t slot = see.begin; slot < see.end; slot++) {
        scores[slot] = score(page->keys[slot], q, head_dim);
        max = fmaxf(max, scores[slot]);
    }

    float scale = expf(state->max - max);
    state->max = max;
    state->sum *= scale;
    for (size_t i = 0; i < head_dim; i++) acc[i] *= scale;

    for (size_t slot = see.begin; slot < see.end; slot++) {
        float p = expf(scores[slot] - max);
        state->sum += p;
        for (size_t i = 0; i < head_dim; i++) acc[i] += p * page->values[slot][i];
    }
}

static void attend(page_get *get, const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                   size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    widened page;
    for (size_t t = 0; t < n_tiles; t++) {
        widen(get, tiles[t].page, head_dim, &page);
        for (size_t r = 0; r < n_rows; r++) {
            sl_slots see = sl_tile_visible(&tiles[t], r);
            if (see.begin < see.end)
                attend_row(&page, see, q + r * head_dim, head_dim, &state[r], acc + r * head_dim);
        }
    }
}

static void scores(page_get *get, const void *page, const float *q, size_t n_rows, size_t head_dim,
                   float *out)
{
    widened wide;
    widen(get, page, head_dim, &wide);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++)
            *out++ = score(wide.keys[slot], q + r * head_dim, head_dim);
}

void sl_kv_f16_attend_ref(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                          size_t head_dim, sl_softmax *state, float *acc)
{
    attend(sl_kv_f16_get, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_bf16_attend_ref(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                           size_t head_dim, sl_softmax *state, float *acc)
{
    attend(sl_kv_bf16_get, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_q8_0_attend_ref(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                           size_t head_dim, sl_softmax *state, float *acc)
{
    attend(sl_kv_q8_0_get, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_f16_scores_ref(const void *page, const float *q, size_t n_rows, size_t head_dim,
                          float *out)
{
    scores(sl_kv_f16_get, page, q, n_rows, head_dim, out);
}

void sl_kv_bf16_scores_ref(const void *page, const float *q, size_t n_rows, size_t head_dim,
                           float *out)
{
    scores(sl_kv_bf16_get, page, q, n_rows, head_dim, out);
}

void sl_kv_q8_0_scores_ref(const void *page, const float *q, size_t n_rows, size_t head_dim,
                           float *out)
{
    scores(sl_kv_q8_0_get, page, q, n_rows, head_dim, out);
}

/* runtime/kernels/attend/attend_amx.c - the attend of attend_ref.c over pages of bf16 laid out for
 * tiles (kv_bf16_tiled.c), for prompts and generated tokens alike. Both products are transposed,
 *   S^T = K Q^T and O^T = V^T P^T,
 * so that a lane is a query row: maximum, weights, sums and what the past is scaled by are
 * vertical, and what belongs to one row never meets another's (contract 1). Queries and weights are
 * rounded to bf16; sums of weights are of the exact ones. A slot a row does not see has weight 0,
 * and stored values are finite. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/attend/lanes_avx512.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx512.h"
#include "runtime/kernels/tiles_amx.h"

enum {
    GROUPS_MAX = 16, /* so many rows meet a page while it is in the cache */
    DEPTH_MAX = SL_HEAD_DIM_MAX / SL_TILE_DEPTH,
    HALVES = SL_PAGE_TOKENS / SL_TILE_DEPTH,
};

/* LANES query rows and where their softmax stands; unused lanes see nothing. */
typedef struct {
    _Alignas(64) uint16_t q[DEPTH_MAX][SL_TILE_NUMBERS]; /* [..][pair of numbers][row][2] */
    _Alignas(64) float out[SL_HEAD_DIM_MAX][LANES];
    _Alignas(64) float max[LANES], sum[LANES];
    size_t n_rows;
} group;

/* ---- rows into lanes, and back ---- */

static void group_load(const float *q, size_t n_rows, size_t head_dim, const sl_softmax *state,
                       const float *acc, group *g)
{
    memset(g->q, 0, head_dim / SL_TILE_DEPTH * sizeof g->q[0]);
    memset(g->out, 0, head_dim * sizeof g->out[0]);
    g->n_rows = n_rows;
    for (size_t r = 0; r < LANES; r++) {
        g->max[r] = r < n_rows ? state[r].max : -INFINITY;
        g->sum[r] = r < n_rows ? state[r].sum : 0;
    }
    for (size_t r = 0; r < n_rows; r++) {
        uint16_t rounded[SL_HEAD_DIM_MAX];
        SL_AMX(sl_round)(q + r * head_dim, head_dim, rounded);
        for (size_t i = 0; i < head_dim; i++) {
            g->q[i / SL_TILE_DEPTH][i % SL_TILE_DEPTH / 2 * 2 * LANES + 2 * r + i % 2] = rounded[i];
            g->out[i][r] = acc[r * head_dim + i];
        }
    }
}

static void group_store(const group *g, size_t head_dim, sl_softmax *state, float *acc)
{
    for (size_t r = 0; r < g->n_rows; r++) {
        state[r] = (sl_softmax){.max = g->max[r], .sum = g->sum[r]};
        for (size_t i = 0; i < head_dim; i++) acc[r * head_dim + i] = g->out[i][r];
    }
}

/* ---- the two products ---- */

/* scores [SL_PAGE_TOKENS][LANES] */
static void score(const uint16_t *page, const group *g, size_t head_dim, float (*scores)[LANES])
{
    const size_t rows = SL_TILE_ROWS, row_bytes = head_dim * sizeof *page, tile = rows * head_dim;
    sl_tile_zero(0);
    sl_tile_zero(1);
    sl_tile_zero(2);
    sl_tile_zero(3);
    for (size_t d = 0; d < head_dim / SL_TILE_DEPTH; d++) {
        const uint16_t *keys = page + d * SL_TILE_DEPTH;
        sl_tile_load(6, g->q[d], 64);
        sl_tile_load(4, keys, row_bytes);
        sl_tile_multiply(0, 4, 6);
        sl_tile_load(5, keys + tile, row_bytes);
        sl_tile_multiply(1, 5, 6);
        sl_tile_load(4, keys + 2 * tile, row_bytes);
        sl_tile_multiply(2, 4, 6);
        sl_tile_load(5, keys + 3 * tile, row_bytes);
        sl_tile_multiply(3, 5, 6);
    }
    sl_tile_store(0, scores[0], 64);
    sl_tile_store(1, scores[rows], 64);
    sl_tile_store(2, scores[2 * rows], 64);
    sl_tile_store(3, scores[3 * rows], 64);
}

/* out[32][LANES] += values x weights: of 32 numbers of the head. values: [HALVES][head_dim][32]. */
static void gather(const uint16_t *values, size_t head_dim,
                   const uint16_t (*weights)[SL_TILE_NUMBERS], float (*out)[LANES])
{
    sl_tile_load(0, out[0], 64);
    sl_tile_load(1, out[SL_TILE_ROWS], 64);
    for (size_t h = 0; h < HALVES; h++, values += head_dim * SL_TILE_DEPTH) {
        sl_tile_load(6, weights[h], 64);
        sl_tile_load(4, values, 64);
        sl_tile_multiply(0, 4, 6);
        sl_tile_load(5, values + SL_TILE_NUMBERS, 64);
        sl_tile_multiply(1, 5, 6);
    }
    sl_tile_store(0, out[0], 64);
    sl_tile_store(1, out[SL_TILE_ROWS], 64);
}

/* ---- weights ---- */

/* Slots of even and odd number side by side, as bf16. What rounding makes of an odd NaN does not
 * matter: the sum of the weights tells it. */
static inline __m512i pairs_of(__m512 even, __m512 odd)
{
    const __m512i half = _mm512_set1_epi32(0x8000);
    __m512i low = _mm512_add_epi32(_mm512_castps_si512(even), half);
    __m512i high = _mm512_add_epi32(_mm512_castps_si512(odd), half);
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(low, 16), high);
}

/* e^(score - max), by 2^x; shift is the maximum in powers of two. */
static inline __m512 weight_of(const float *score, __m512 shift)
{
    __m512 x = _mm512_fmsub_ps(_mm512_load_ps(score), _mm512_set1_ps(SL_LOG2_E), shift);
    __mmask16 some = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-100), _CMP_NLE_UQ);
    return _mm512_maskz_mov_ps(some, sl_exp2_avx512(x));
}

/* Scores to weights, [HALVES][pair of slots][LANES][2]; moves the lanes' state. Returns what their
 * past is scaled by. */
static __m512 weigh(const float (*scores)[LANES], __mmask16 some, group *g,
                    uint16_t (*weights)[SL_TILE_NUMBERS])
{
    __m512 before = _mm512_load_ps(g->max), max = before;
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++)
        max = _mm512_max_ps(max, _mm512_load_ps(scores[slot]));
    __m512 shift = _mm512_mul_ps(max, _mm512_set1_ps(SL_LOG2_E));
    __m512 even = _mm512_setzero_ps(), odd = even;
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot += 2) {
        __m512 a = weight_of(scores[slot], shift), b = weight_of(scores[slot + 1], shift);
        _mm512_store_si512(&weights[slot / SL_TILE_DEPTH][slot % SL_TILE_DEPTH * LANES],
                           pairs_of(a, b));
        even = _mm512_add_ps(even, a);
        odd = _mm512_add_ps(odd, b);
    }
    /* the past was counted from the rounded product, too */
    __m512 past = sl_exp2_avx512(
        _mm512_sub_ps(_mm512_mul_ps(before, _mm512_set1_ps(SL_LOG2_E)), shift));
    __mmask16 had = _mm512_cmp_ps_mask(before, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    past = _mm512_maskz_mov_ps(had, past);
    past = _mm512_mask_mov_ps(past, _mm512_cmp_ps_mask(before, max, _CMP_EQ_OQ) & had,
                              _mm512_set1_ps(1));
    __m512 sum = _mm512_fmadd_ps(_mm512_load_ps(g->sum), past, _mm512_add_ps(even, odd));
    _mm512_mask_store_ps(g->max, some, max);
    _mm512_mask_store_ps(g->sum, some, sum);
    return past;
}

/* ---- pages ---- */

static void attend_page(const uint16_t *page, const sl_sight *s, size_t head_dim, group *g)
{
    _Alignas(64) float scores[SL_PAGE_TOKENS][LANES], out[SL_TILE_DEPTH][LANES];
    _Alignas(64) uint16_t weights[HALVES][SL_TILE_NUMBERS];
    const uint16_t *values = page + SL_PAGE_TOKENS * head_dim;
    score(page, g, head_dim, scores);
    if (!s->all) sl_hide(s, scores);
    __m512 past = weigh(scores, s->some, g, weights);
    for (size_t i = 0; i < head_dim; i += SL_TILE_DEPTH) {
        for (size_t d = 0; d < SL_TILE_DEPTH; d++)
            _mm512_store_ps(out[d], _mm512_mul_ps(_mm512_load_ps(g->out[i + d]), past));
        gather(values + i * SL_TILE_DEPTH, head_dim, weights, out);
        for (size_t d = 0; d < SL_TILE_DEPTH; d++)
            _mm512_mask_store_ps(g->out[i + d], s->some, _mm512_load_ps(out[d]));
    }
}

/* Of the next page, for rows so few that memory is what is waited for. */
static void fetch_page(const void *page, size_t head_dim)
{
    for (size_t i = 0; i < 2 * head_dim * SL_PAGE_TOKENS * sizeof(uint16_t); i += 64)
        __builtin_prefetch((const uint8_t *)page + i, 0, 2);
}

static void attend_groups(const sl_kv_tile *tiles, size_t n_tiles, size_t first, const float *q,
                          size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    group groups[GROUPS_MAX];
    size_t n_groups = (n_rows + LANES - 1) / LANES;
    for (size_t i = 0; i < n_groups; i++) {
        size_t row = i * LANES, n = n_rows - row < LANES ? n_rows - row : LANES;
        group_load(q + row * head_dim, n, head_dim, state + row, acc + row * head_dim, &groups[i]);
    }
    for (size_t t = 0; t < n_tiles; t++) {
        if (n_groups == 1 && t + 1 < n_tiles) fetch_page(tiles[t + 1].page, head_dim);
        for (size_t i = 0; i < n_groups; i++) {
            sl_sight s = sl_sight_of(&tiles[t], first + i * LANES, groups[i].n_rows);
            if (s.some) attend_page(tiles[t].page, &s, head_dim, &groups[i]);
        }
    }
    for (size_t i = 0; i < n_groups; i++)
        group_store(&groups[i], head_dim, state + i * LANES, acc + i * LANES * head_dim);
}

void SL_AMX(sl_kv_bf16_attend)(const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                               size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    enum { ROWS_MAX = GROUPS_MAX * LANES };
    SL_ASSERT(head_dim % SL_TILE_DEPTH == 0 && head_dim <= SL_HEAD_DIM_MAX);
    sl_tiles_begin();
    for (size_t row = 0; row < n_rows; row += ROWS_MAX)
        attend_groups(tiles, n_tiles, row, q + row * head_dim,
                      n_rows - row < ROWS_MAX ? n_rows - row : ROWS_MAX, head_dim, state + row,
                      acc + row * head_dim);
    sl_tiles_end();
}

void SL_AMX(sl_kv_bf16_scores)(const void *page, const float *q, size_t n_rows, size_t head_dim,
                               float *out)
{
    _Alignas(64) float scores[SL_PAGE_TOKENS][LANES];
    const sl_softmax none[LANES] = {{0}};
    group g;
    SL_ASSERT(head_dim % SL_TILE_DEPTH == 0 && head_dim <= SL_HEAD_DIM_MAX);
    sl_tiles_begin();
    for (size_t row = 0; row < n_rows; row += LANES) {
        size_t n = n_rows - row < LANES ? n_rows - row : LANES;
        group_load(q + row * head_dim, n, head_dim, none, q + row * head_dim, &g);
        score(page, &g, head_dim, scores);
        for (size_t r = 0; r < n; r++)
            for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++)
                out[(row + r) * SL_PAGE_TOKENS + slot] = scores[slot][r];
    }
    sl_tiles_end();
}

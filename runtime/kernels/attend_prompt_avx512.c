/* runtime/kernels/attend_prompt_avx512.c - attention of many queries, in int8 with VNNI's byte dot
 * product. A tile is quantized once for all rows that look at it:
 *   keys    int8, a scale for 32 numbers of a slot, as activations are everywhere; queries alike;
 *   values  int8, a scale a slot, which goes into the weights: sum_s p_s v_s = sum_s (p_s d_s) q_s;
 *   weights uint8, a scale a row and tile, so that a tile of small weights keeps its digits.
 * Sums of weights are of the exact ones. A slot's numbers depend on that slot alone, and a row's on the
 * row and what it sees, so neither blocks nor chunks can change a bit (contract 1); what a row does not
 * see has weight 0, whatever is left over there. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx512.h"
#include "runtime/kernels/vnni_avx512.h"

enum {
    LANES = 16,
    TILE_VECTORS = SL_PAGE_TOKENS / LANES,
    GROUP_ROWS = 6, /* x 4 vectors: 24 sums, 4 of keys, a factor: 29 of 32 registers */
    ROWS_MAX = 192,
    BLOCKS_MAX = SL_HEAD_DIM_MAX / SL_BLOCK,
    SLOT_QUADS = SL_PAGE_TOKENS / 4,
};

/* A page, quantized. A quad of keys is 4 numbers of each slot, one of values 4 slots of each column. */
typedef struct {
    _Alignas(64) int8_t keys[SL_HEAD_DIM_MAX / 4][SL_PAGE_TOKENS][4];
    _Alignas(64) float key_scale[BLOCKS_MAX][SL_PAGE_TOKENS];
    _Alignas(64) int32_t
        key_offset[BLOCKS_MAX][SL_PAGE_TOKENS]; /* -128 * the sum of a block's keys */
    _Alignas(64) int8_t values[SLOT_QUADS * SL_HEAD_DIM_MAX * 4]; /* [SLOT_QUADS][head_dim][4] */
    _Alignas(64) float value_scale[SL_PAGE_TOKENS];
} int8_page;

/* Query rows: bytes are q + 128, since the instruction wants unsigned times signed. */
typedef struct {
    _Alignas(64) uint8_t q[ROWS_MAX * SL_HEAD_DIM_MAX];
    float scale[ROWS_MAX * BLOCKS_MAX];
} int8_queries;

/* ---- quantizing ---- */

SL_ALWAYS_INLINE __m512 widen(sl_kv_type type, const uint16_t *halves)
{
    __m256i v = _mm256_loadu_si256((const void *)halves);
    if (type == SL_KV_BF16)
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
    return _mm512_cvtph_ps(v);
}

/* 4 integers of each lane, as its bytes. */
static inline __m512i pack_quad(const __m512i v[4])
{
    const __m512i byte = _mm512_set1_epi32(255);
    __m512i low = _mm512_or_si512(_mm512_and_si512(v[0], byte),
                                  _mm512_slli_epi32(_mm512_and_si512(v[1], byte), 8));
    __m512i high = _mm512_or_si512(_mm512_slli_epi32(_mm512_and_si512(v[2], byte), 16),
                                   _mm512_slli_epi32(v[3], 24));
    return _mm512_or_si512(low, high);
}

/* The larger magnitude, compared as bits: a NaN is larger than all. */
static inline __m512i larger(__m512i most, __m512 x)
{
    return _mm512_max_epu32(most, _mm512_castps_si512(_mm512_abs_ps(x)));
}

/* 127 / largest; 0 where there is nothing, or a NaN. */
static inline __m512 inverse_of(__m512 largest)
{
    __mmask16 some = _mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_maskz_div_ps(some, _mm512_set1_ps(127), largest);
}

static inline __m512i quantized(__m512 x, __m512 inverse)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
}

/* One block of the keys of 16 slots. */
SL_ALWAYS_INLINE void quantize_keys(sl_kv_type type, const uint16_t *keys, size_t block,
                                    size_t slot, int8_page *out)
{
    const uint16_t *from = keys + block * SL_BLOCK * SL_PAGE_TOKENS + slot;
    __m512i bits = _mm512_setzero_si512(), sum = bits;
    for (size_t i = 0; i < SL_BLOCK; i++)
        bits = larger(bits, widen(type, from + i * SL_PAGE_TOKENS));
    __m512 most = _mm512_castsi512_ps(bits), inverse = inverse_of(most);
    for (size_t i = 0; i < SL_BLOCK; i += 4) {
        __m512i v[4];
        for (size_t k = 0; k < 4; k++) {
            v[k] = quantized(widen(type, from + (i + k) * SL_PAGE_TOKENS), inverse);
            sum = _mm512_add_epi32(sum, v[k]);
        }
        _mm512_store_si512(out->keys[(block * SL_BLOCK + i) / 4][slot], pack_quad(v));
    }
    _mm512_store_ps(&out->key_scale[block][slot], _mm512_mul_ps(most, _mm512_set1_ps(1.0F / 127)));
    _mm512_store_si512(&out->key_offset[block][slot],
                       _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7)));
}

/* The same of a page that has them in int8 already. */
static void take_keys(const uint8_t *page, size_t head_dim, size_t block, size_t slot,
                      int8_page *out)
{
    const int8_t *from = (const int8_t *)page + block * SL_BLOCK * SL_PAGE_TOKENS + slot;
    const uint16_t *scales = (const void *)(page + sl_q8_page_of(head_dim).key_scales);
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < SL_BLOCK; i += 4) {
        __m512i v[4];
        for (size_t k = 0; k < 4; k++) {
            v[k] = _mm512_cvtepi8_epi32(
                _mm_loadu_si128((const void *)(from + (i + k) * SL_PAGE_TOKENS)));
            sum = _mm512_add_epi32(sum, v[k]);
        }
        _mm512_store_si512(out->keys[(block * SL_BLOCK + i) / 4][slot], pack_quad(v));
    }
    _mm512_store_ps(&out->key_scale[block][slot],
                    widen(SL_KV_F16, scales + block * SL_PAGE_TOKENS + slot));
    _mm512_store_si512(&out->key_offset[block][slot],
                       _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7)));
}

/* Columns [column, column + 16) of a slot's value, f32. */
SL_ALWAYS_INLINE __m512 value_at(sl_kv_type type, const uint8_t *page, size_t head_dim, size_t slot,
                                 size_t column)
{
    size_t i = slot * head_dim + column;
    if (type != SL_KV_Q8_0) return widen(type, sl_page_values(page, head_dim) + i);
    sl_q8_page at = sl_q8_page_of(head_dim);
    const uint16_t *scales = (const void *)(page + at.value_scales);
    __m512i v = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(page + at.values + i)));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(v), _mm512_set1_ps(_cvtsh_ss(scales[i / SL_BLOCK])));
}

SL_ALWAYS_INLINE void quantize_values(sl_kv_type type, const uint8_t *page, size_t head_dim,
                                      size_t slot, int8_page *out)
{
    __m512 inverse[4];
    for (size_t k = 0; k < 4; k++) {
        __m512i bits = _mm512_setzero_si512();
        for (size_t i = 0; i < head_dim; i += LANES)
            bits = larger(bits, value_at(type, page, head_dim, slot + k, i));
        uint32_t most = _mm512_reduce_max_epu32(bits);
        float largest;
        memcpy(&largest, &most, sizeof largest);
        out->value_scale[slot + k] = largest * (1.0F / 127);
        inverse[k] = _mm512_set1_ps(largest > 0 ? 127 / largest : 0);
    }
    for (size_t i = 0; i < head_dim; i += LANES) {
        __m512i v[4];
        for (size_t k = 0; k < 4; k++)
            v[k] = quantized(value_at(type, page, head_dim, slot + k, i), inverse[k]);
        _mm512_store_si512(out->values + (slot / 4 * head_dim + i) * 4, pack_quad(v));
    }
}

SL_ALWAYS_INLINE void quantize_page(sl_kv_type type, const void *page, size_t head_dim,
                                    int8_page *out)
{
    for (size_t block = 0; block < head_dim / SL_BLOCK; block++)
        for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot += LANES) {
            if (type != SL_KV_Q8_0)
                quantize_keys(type, page, block, slot, out);
            else
                take_keys(page, head_dim, block, slot, out);
        }
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot += 4)
        quantize_values(type, page, head_dim, slot, out);
}

static void quantize_queries(const float *q, size_t n_rows, size_t head_dim, int8_queries *out)
{
    float sum[ROWS_MAX * BLOCKS_MAX];
    size_t n_blocks = n_rows * head_dim / SL_BLOCK;
    sl_quantize_avx512(q, n_blocks, (int8_t *)out->q, out->scale, sum);
    for (size_t i = 0; i < n_rows * head_dim; i++) out->q[i] ^= 0x80;
}

/* ---- scores, weights, values ---- */

/* scores [rows][SL_PAGE_TOKENS] of rows of q. */
SL_ALWAYS_INLINE void score(size_t rows, const int8_page *page, const uint8_t *q,
                            const float *scale, size_t head_dim, float *scores)
{
    size_t n_blocks = head_dim / SL_BLOCK;
    for (size_t block = 0; block < n_blocks; block++) {
        __m512i dot[GROUP_ROWS][TILE_VECTORS];
        for (size_t r = 0; r < rows; r++)
            for (size_t v = 0; v < TILE_VECTORS; v++)
                dot[r][v] = _mm512_load_si512(&page->key_offset[block][v * LANES]);
        for (size_t i = block * SL_BLOCK; i < (block + 1) * SL_BLOCK; i += 4) {
            __m512i keys[TILE_VECTORS];
            for (size_t v = 0; v < TILE_VECTORS; v++)
                keys[v] = _mm512_load_si512(page->keys[i / 4][v * LANES]);
            for (size_t r = 0; r < rows; r++) {
                __m512i x = sl_broadcast_quad(q + r * head_dim + i);
                for (size_t v = 0; v < TILE_VECTORS; v++)
                    dot[r][v] = sl_dot_add(dot[r][v], x, keys[v]);
            }
        }
        for (size_t v = 0; v < TILE_VECTORS; v++) {
            __m512 key_scale = _mm512_load_ps(&page->key_scale[block][v * LANES]);
            for (size_t r = 0; r < rows; r++) {
                float *at = scores + r * SL_PAGE_TOKENS + v * LANES;
                __m512 s = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[r][v]), key_scale);
                __m512 factor = _mm512_set1_ps(scale[r * n_blocks + block]);
                s = block == 0 ? _mm512_mul_ps(s, factor)
                               : _mm512_fmadd_ps(s, factor, _mm512_load_ps(at));
                _mm512_store_ps(at, s);
            }
        }
    }
}

static inline __mmask64 slots_mask(sl_slots see)
{
    return (see.end == 64 ? ~0ULL : (1ULL << see.end) - 1) & ~0ULL << see.begin;
}

/* A row's scores to weights in uint8, times *scale_out; moves the row's state and returns what its past
 * is scaled by. */
static float weigh(const float *scores, const float *value_scale, sl_slots see, sl_softmax *state,
                   uint8_t *weights, float *scale_out)
{
    __mmask64 mask = slots_mask(see);
    __m512 s[TILE_VECTORS], most = _mm512_set1_ps(state->max);
    for (size_t v = 0; v < TILE_VECTORS; v++) {
        s[v] = _mm512_load_ps(scores + v * LANES);
        most = _mm512_mask_max_ps(most, (__mmask16)(mask >> v * LANES), most, s[v]);
    }
    float max = _mm512_reduce_max_ps(most);
    __mmask16 odd = 0; /* a NaN among the values is told by the scale */
    const __m512 log2_e = _mm512_set1_ps(SL_LOG2_E);
    __m512 shift = _mm512_mul_ps(_mm512_set1_ps(max), log2_e), sum = _mm512_setzero_ps(),
           highest = sum;
    for (size_t v = 0; v < TILE_VECTORS; v++) {
        __mmask16 seen = (__mmask16)(mask >> v * LANES);
        __m512 p = _mm512_maskz_mov_ps(
            seen, sl_power_of_two_avx512(_mm512_fmsub_ps(s[v], log2_e, shift)));
        sum = _mm512_add_ps(sum, p);
        s[v] = _mm512_maskz_mul_ps(seen, p, _mm512_load_ps(value_scale + v * LANES));
        highest = _mm512_max_ps(highest, s[v]);
        odd |= _mm512_cmp_ps_mask(s[v], s[v], _CMP_UNORD_Q);
    }
    float top = _mm512_reduce_max_ps(highest), past = 0;
    __m512 inverse = _mm512_set1_ps(top > 0 ? 255 / top : 0);
    for (size_t v = 0; v < TILE_VECTORS; v++)
        _mm_store_si128((__m128i *)(void *)(weights + v * LANES),
                        _mm512_cvtusepi32_epi8(_mm512_cvtps_epu32(_mm512_mul_ps(s[v], inverse))));
    if (state->max == max)
        past = 1;
    else if (state->max > -INFINITY)
        past = _mm512_cvtss_f32(
            sl_power_of_two_avx512(_mm512_fmsub_ps(_mm512_set1_ps(state->max), log2_e, shift)));
    state->sum = state->sum * past + _mm512_reduce_add_ps(sum);
    state->max = max;
    *scale_out = odd ? NAN : top * (1.0F / 255);
    return past;
}

/* A row that does not see the tile keeps its bits. */
static inline bool is_same(float past, float scale) { return past == 1 && scale == 0; }

/* acc = acc * past + scale * (weights x values), of `rows` rows over `vectors` vectors of columns. */
SL_ALWAYS_INLINE void gather(size_t rows, size_t vectors, const int8_page *page, size_t head_dim,
                             size_t column, const uint8_t *weights, const float *past,
                             const float *scale, float *acc)
{
    __m512i dot[GROUP_ROWS][TILE_VECTORS];
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors; v++) dot[r][v] = _mm512_setzero_si512();
    for (size_t i = 0; i < SLOT_QUADS; i++) {
        __m512i values[TILE_VECTORS];
        for (size_t v = 0; v < vectors; v++)
            values[v] = _mm512_load_si512(page->values + (i * head_dim + column + v * LANES) * 4);
        for (size_t r = 0; r < rows; r++) {
            __m512i x = sl_broadcast_quad(weights + r * SL_PAGE_TOKENS + 4 * i);
            for (size_t v = 0; v < vectors; v++) dot[r][v] = sl_dot_add(dot[r][v], x, values[v]);
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vectors && !is_same(past[r], scale[r]); v++) {
            float *at = acc + r * head_dim + column + v * LANES;
            __m512 sum = _mm512_mul_ps(_mm512_loadu_ps(at), _mm512_set1_ps(past[r]));
            _mm512_storeu_ps(
                at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r][v]), _mm512_set1_ps(scale[r]), sum));
        }
}

/* ---- tiles ---- */

static bool sees(sl_slots slots) { return slots.begin < slots.end; }

/* `rows` rows from `row` on over one tile. */
SL_ALWAYS_INLINE void attend_group(size_t rows, const sl_kv_tile *tile, const int8_page *page,
                                   size_t row, const int8_queries *queries, size_t head_dim,
                                   sl_softmax *state, float *acc)
{
    _Alignas(64) float scores[GROUP_ROWS * SL_PAGE_TOKENS];
    _Alignas(64) uint8_t weights[GROUP_ROWS * SL_PAGE_TOKENS];
    float past[GROUP_ROWS], scale[GROUP_ROWS];
    bool any = false;
    for (size_t r = 0; r < rows; r++) any = any || sees(sl_tile_visible(tile, row + r));
    if (!any) return;
    score(rows, page, queries->q + row * head_dim, queries->scale + row * head_dim / SL_BLOCK,
          head_dim, scores);
    for (size_t r = 0; r < rows; r++) {
        sl_slots see = sl_tile_visible(tile, row + r);
        uint8_t *own = weights + r * SL_PAGE_TOKENS;
        past[r] = 1, scale[r] = 0;
        if (sees(see))
            past[r] = weigh(scores + r * SL_PAGE_TOKENS, page->value_scale, see, &state[row + r],
                            own, &scale[r]);
        else
            memset(own, 0, SL_PAGE_TOKENS);
    }
    size_t column = 0;
    for (; column + SL_PAGE_TOKENS <= head_dim; column += SL_PAGE_TOKENS)
        gather(rows, TILE_VECTORS, page, head_dim, column, weights, past, scale,
               acc + row * head_dim);
    for (; column < head_dim; column += SL_BLOCK)
        gather(rows, 2, page, head_dim, column, weights, past, scale, acc + row * head_dim);
}

SL_ALWAYS_INLINE void attend_rows(sl_kv_type type, const sl_kv_tile *tiles, size_t n_tiles,
                                  size_t first, size_t n_rows, const int8_queries *queries,
                                  size_t head_dim, sl_softmax *state, float *acc)
{
    int8_page page;
    for (size_t t = 0; t < n_tiles; t++) {
        sl_kv_tile tile = tiles[t];
        if (tile.visible) tile.visible += first;
        quantize_page(type, tile.page, head_dim, &page);
        size_t row = 0;
        for (; row + GROUP_ROWS <= n_rows; row += GROUP_ROWS)
            attend_group(GROUP_ROWS, &tile, &page, row, queries, head_dim, state, acc);
        for (; row < n_rows; row++)
            attend_group(1, &tile, &page, row, queries, head_dim, state, acc);
    }
}

SL_ALWAYS_INLINE void attend_prompt(sl_kv_type type, const sl_kv_tile *tiles, size_t n_tiles,
                                    const float *q, size_t n_rows, size_t head_dim,
                                    sl_softmax *state, float *acc)
{
    int8_queries queries;
    SL_ASSERT(head_dim % SL_BLOCK == 0 && head_dim <= SL_HEAD_DIM_MAX);
    for (size_t first = 0; first < n_rows; first += ROWS_MAX) {
        size_t n = n_rows - first < ROWS_MAX ? n_rows - first : ROWS_MAX, at = first * head_dim;
        quantize_queries(q + at, n, head_dim, &queries);
        attend_rows(type, tiles, n_tiles, first, n, &queries, head_dim, state + first, acc + at);
    }
}

void sl_kv_f16_attend_prompt_avx512(const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                                    size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    if (head_dim % SL_BLOCK == 0)
        attend_prompt(SL_KV_F16, tiles, n_tiles, q, n_rows, head_dim, state, acc);
    else
        sl_kv_f16_attend_avx512(tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_bf16_attend_prompt_avx512(const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                                     size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    if (head_dim % SL_BLOCK == 0)
        attend_prompt(SL_KV_BF16, tiles, n_tiles, q, n_rows, head_dim, state, acc);
    else
        sl_kv_bf16_attend_avx512(tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_q8_0_attend_prompt_avx512(const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                                     size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    attend_prompt(SL_KV_Q8_0, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

/* runtime/kernels/attend/attend_prompt_avx512.c - attention of many queries, in int8 with VNNI's
 * byte dot product. A tile is quantized once for all rows that look at it:
 *   keys    int8, a scale for 32 numbers of a slot, as activations are everywhere; queries alike;
 *   values  int8, a scale a slot, which goes into the weights: sum_s p_s v_s = sum_s (p_s d_s) q_s.
 * Its
 *           logarithm is added to the score, so that 2^x makes p_s d_s at once;
 *   weights uint8, the largest of a row and tile 255, so that a tile of small weights keeps its
 * digits. Sums of weights are of the exact ones. A lane is a query row, and keys and values are
 * broadcast: maximum, weights and sums are vertical (lanes_avx512.h). A slot's numbers depend on
 * that slot alone, and a row's on the row and what it sees, so neither blocks nor chunks can change
 * a bit (contract 1); what a row does not see has weight 0, whatever is left over there. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/attend/lanes_avx512.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx512.h"
#include "runtime/kernels/vnni_avx512.h"

enum {
    GROUPS_MAX = 16, /* of LANES rows: so many meet a page while it is in the cache */
    ROWS_MAX = GROUPS_MAX * LANES,
    PAIR = 2, /* groups that share a broadcast, */
    STEP = 8, /* of so many slots or numbers of the head: 16 sums */
    BLOCKS_MAX = SL_HEAD_DIM_MAX / SL_BLOCK,
    QUADS_MAX = SL_HEAD_DIM_MAX / 4,
    SLOT_QUADS = SL_PAGE_TOKENS / 4,
};

/* What is smaller than f16 can tell is nothing; so logarithms of scales lie close enough for
 * 2^x. */
#define VALUE_LEAST 0x1p-24F

/* A page, quantized. A quad of keys is 4 numbers of each slot, one of values 4 slots of each
 * column. */
typedef struct {
    _Alignas(64) int8_t keys[SL_HEAD_DIM_MAX / 4][SL_PAGE_TOKENS][4];
    _Alignas(64) float key_scale[BLOCKS_MAX][SL_PAGE_TOKENS];
    _Alignas(64) int32_t
        key_offset[BLOCKS_MAX][SL_PAGE_TOKENS]; /* -128 * the sum of a block's keys */
    _Alignas(64) int8_t values[SLOT_QUADS * SL_HEAD_DIM_MAX * 4]; /* [SLOT_QUADS][head_dim][4] */
    _Alignas(64) float log_scale[SL_PAGE_TOKENS], inverse_scale[SL_PAGE_TOKENS]; /* of values */
} int8_page;

/* LANES query rows and where their softmax stands; unused lanes see nothing. Bytes of q are q +
 * 128, since the instruction wants unsigned times signed; its scales make scores in powers of
 * two. */
typedef struct {
    _Alignas(64) uint8_t q[QUADS_MAX][LANES][4];
    _Alignas(64) float scale[BLOCKS_MAX][LANES];
    _Alignas(64) float out[SL_HEAD_DIM_MAX][LANES], max[LANES], sum[LANES];
    size_t n_rows;
} group;

/* Of a group and a page: [slot][lane]; [quad of slots][lane][4], and what is made of them and of
 * the past. */
typedef struct {
    _Alignas(64) float scores[SL_PAGE_TOKENS][LANES];
    _Alignas(64) uint8_t weights[SLOT_QUADS][LANES][4];
    _Alignas(64) float past[LANES], scale[LANES];
} meeting;

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
        out->inverse_scale[slot + k] = largest; /* for now */
        inverse[k] = _mm512_set1_ps(largest >= VALUE_LEAST ? 127 / largest : 0);
    }
    for (size_t i = 0; i < head_dim; i += LANES) {
        __m512i v[4];
        for (size_t k = 0; k < 4; k++)
            v[k] = quantized(value_at(type, page, head_dim, slot + k, i), inverse[k]);
        _mm512_store_si512(out->values + (slot / 4 * head_dim + i) * 4, pack_quad(v));
    }
}

/* log2 x of x > 0, within 2e-5; a NaN of one. */
static inline __m512 log_of_two(__m512 x)
{
    __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
    __m512 p = _mm512_set1_ps(4.39286279e-02F);
    p = _mm512_fmadd_ps(p, m, _mm512_set1_ps(-4.09475586e-01F));
    p = _mm512_fmadd_ps(p, m, _mm512_set1_ps(1.61017755F));
    p = _mm512_fmadd_ps(p, m, _mm512_set1_ps(-3.52021884F));
    p = _mm512_fmadd_ps(p, m, _mm512_set1_ps(5.06975632F));
    p = _mm512_fmadd_ps(p, m, _mm512_set1_ps(-2.79415368F));
    return _mm512_add_ps(_mm512_getexp_ps(x), p);
}

/* From the largest magnitudes of values. The logarithm tells a NaN; the inverse meets weights of
 * 0. */
static void finish_scales(int8_page *out)
{
    const __m512 least = _mm512_set1_ps(VALUE_LEAST), step = _mm512_set1_ps(1.0F / 127);
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot += LANES) {
        __m512 most = _mm512_load_ps(&out->inverse_scale[slot]);
        __m512 number = _mm512_max_ps(most, least); /* the second if the first is none */
        __m512 told = _mm512_max_ps(least, most);
        _mm512_store_ps(&out->log_scale[slot], log_of_two(_mm512_mul_ps(told, step)));
        _mm512_store_ps(&out->inverse_scale[slot],
                        _mm512_div_ps(_mm512_set1_ps(1), _mm512_mul_ps(number, step)));
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
    finish_scales(out);
}

/* ---- rows into lanes, and back ---- */

static void group_load(const float *q, size_t n_rows, size_t head_dim, const sl_softmax *state,
                       const float *acc, group *g)
{
    memset(g->q, 0, head_dim / 4 * sizeof g->q[0]);
    memset(g->scale, 0, head_dim / SL_BLOCK * sizeof g->scale[0]);
    memset(g->out, 0, head_dim * sizeof g->out[0]);
    g->n_rows = n_rows;
    for (size_t r = 0; r < LANES; r++) {
        g->max[r] = r < n_rows ? state[r].max : -INFINITY;
        g->sum[r] = r < n_rows ? state[r].sum : 0;
    }
    for (size_t r = 0; r < n_rows; r++) {
        int8_t bytes[SL_HEAD_DIM_MAX];
        float scale[BLOCKS_MAX], sum[BLOCKS_MAX];
        int16_t sum_16[2 * BLOCKS_MAX];
        sl_quantize_avx512(q + r * head_dim, head_dim / SL_BLOCK, bytes, scale, sum, sum_16);
        for (size_t b = 0; b < head_dim / SL_BLOCK; b++) g->scale[b][r] = scale[b] * SL_LOG2_E;
        for (size_t i = 0; i < head_dim; i++) {
            g->q[i / 4][r][i % 4] = (uint8_t)bytes[i] ^ 0x80;
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

/* ---- scores, weights, values: of n groups ---- */

static inline __m512 each(const float *x) { return _mm512_set1_ps(*x); }

/* Of STEP slots: log2 of weights times value scales. */
SL_ALWAYS_INLINE void score(size_t n, const int8_page *page, const group *g, size_t head_dim,
                            size_t slot, meeting *m)
{
    size_t block = 0;
    do {
        __m512i dot[STEP][PAIR];
        for (size_t s = 0; s < STEP; s++)
            for (size_t v = 0; v < n; v++)
                dot[s][v] = _mm512_set1_epi32(page->key_offset[block][slot + s]);
        for (size_t i = block * SL_BLOCK / 4; i < (block + 1) * SL_BLOCK / 4; i++) {
            __m512i q[PAIR];
            for (size_t v = 0; v < n; v++) q[v] = _mm512_load_si512(g[v].q[i]);
            for (size_t s = 0; s < STEP; s++) {
                __m512i key = sl_broadcast_quad(page->keys[i][slot + s]);
                for (size_t v = 0; v < n; v++) dot[s][v] = sl_dot_add(dot[s][v], q[v], key);
            }
        }
        for (size_t s = 0; s < STEP; s++) {
            __m512 key_scale = each(&page->key_scale[block][slot + s]);
            for (size_t v = 0; v < n; v++) {
                float *at = m[v].scores[slot + s];
                __m512 sum = block == 0 ? each(&page->log_scale[slot + s]) : _mm512_load_ps(at);
                __m512 scale = _mm512_mul_ps(key_scale, _mm512_load_ps(g[v].scale[block]));
                _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[s][v]), scale, sum));
            }
        }
    } while (++block < head_dim / SL_BLOCK);
}

/* Scores to weights, from the lanes' highest score, `top`. Returns the sum of those without value
 * scales. */
SL_ALWAYS_INLINE __m512 weigh_slots(bool all, const int8_page *page, __m512 top, meeting *m)
{
    __m512 sum[4];
    for (size_t k = 0; k < 4; k++) sum[k] = _mm512_setzero_ps();
    for (size_t i = 0; i < SLOT_QUADS; i++) {
        __m512i quad = _mm512_setzero_si512();
        for (size_t k = 0; k < 4; k++) {
            __m512 x = _mm512_sub_ps(_mm512_load_ps(m->scores[4 * i + k]), top);
            __m512 p = sl_exp2_avx512(x);
            if (!all) /* of what is hidden */
                p = _mm512_mask_mov_ps(p,
                                       _mm512_cmp_ps_mask(x, _mm512_set1_ps(-INFINITY), _CMP_EQ_OQ),
                                       _mm512_setzero_ps());
            sum[k] = _mm512_fmadd_ps(p, each(&page->inverse_scale[4 * i + k]), sum[k]);
            __m512i byte = _mm512_cvtps_epi32(_mm512_mul_ps(p, _mm512_set1_ps(255)));
            quad = _mm512_or_si512(quad, _mm512_slli_epi32(byte, 8 * (unsigned)k));
        }
        _mm512_store_si512(m->weights[i], quad);
    }
    return _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
}

/* Moves the lanes' state, whose max is where their weights are counted from. */
static void weigh(const int8_page *page, const sl_sight *see, group *g, meeting *m)
{
    __m512 most[4], one = _mm512_set1_ps(1), max = _mm512_load_ps(g->max);
    if (!see->all) sl_hide(see, m->scores);
    for (size_t k = 0; k < 4; k++) most[k] = _mm512_load_ps(m->scores[k]);
    for (size_t slot = 4; slot < SL_PAGE_TOKENS; slot += 4)
        for (size_t k = 0; k < 4; k++)
            most[k] = _mm512_max_ps(most[k], _mm512_load_ps(m->scores[slot + k]));
    __m512 top = _mm512_max_ps(_mm512_max_ps(most[0], most[1]), _mm512_max_ps(most[2], most[3]));
    __m512 total = see->all ? weigh_slots(true, page, top, m) : weigh_slots(false, page, top, m);

    __m512 before = _mm512_mul_ps(max, _mm512_set1_ps(SL_LOG2_E)),
           apart = _mm512_sub_ps(top, before);
    __mmask16 rises = _mm512_cmp_ps_mask(top, before, _CMP_NLE_UQ);
    __m512 smaller = sl_exp2_avx512(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_abs_ps(apart)));
    __m512 past = _mm512_mask_mov_ps(one, rises, smaller);
    __m512 present = _mm512_mask_mov_ps(smaller, rises, one);
    total = _mm512_mul_ps(total, present);
    /* a NaN among scores or values is told by the sum, and must be by the rest */
    __mmask16 odd = _mm512_cmp_ps_mask(total, total, _CMP_UNORD_Q);
    present = _mm512_mask_mov_ps(present, odd, total);
    _mm512_store_ps(m->past, past);
    _mm512_store_ps(m->scale, _mm512_mul_ps(present, _mm512_set1_ps(1.0F / 255)));
    _mm512_mask_store_ps(g->sum, see->some, _mm512_fmadd_ps(_mm512_load_ps(g->sum), past, total));
    _mm512_mask_store_ps(g->max, see->some & rises,
                         _mm512_mul_ps(top, _mm512_set1_ps(1 / SL_LOG2_E)));
}

/* Of STEP numbers of the head: out = out * past + scale * (weights x values), of lanes that see
 * something. */
SL_ALWAYS_INLINE void gather(size_t n, const int8_page *page, const sl_sight *see, size_t head_dim,
                             size_t first, const meeting *m, group *g)
{
    __m512i dot[STEP][PAIR];
    for (size_t d = 0; d < STEP; d++)
        for (size_t v = 0; v < n; v++) dot[d][v] = _mm512_setzero_si512();
    for (size_t i = 0; i < SLOT_QUADS; i++) {
        const int8_t *values = page->values + (i * head_dim + first) * 4;
        __m512i weights[PAIR];
        for (size_t v = 0; v < n; v++) weights[v] = _mm512_load_si512(m[v].weights[i]);
        for (size_t d = 0; d < STEP; d++) {
            __m512i value = sl_broadcast_quad(values + 4 * d);
            for (size_t v = 0; v < n; v++) dot[d][v] = sl_dot_add(dot[d][v], weights[v], value);
        }
    }
    for (size_t d = 0; d < STEP; d++)
        for (size_t v = 0; v < n; v++) {
            float *at = g[v].out[first + d];
            __m512 sum = _mm512_mul_ps(_mm512_load_ps(at), _mm512_load_ps(m[v].past));
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[d][v]), _mm512_load_ps(m[v].scale), sum);
            _mm512_mask_store_ps(at, see[v].some, sum);
        }
}

/* ---- tiles ---- */

SL_ALWAYS_INLINE void attend_page(size_t n, const int8_page *page, const sl_sight *see,
                                  size_t head_dim, group *g)
{
    meeting m[PAIR];
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot += STEP) score(n, page, g, head_dim, slot, m);
    for (size_t v = 0; v < n; v++) weigh(page, &see[v], &g[v], &m[v]);
    for (size_t d = 0; d < head_dim; d += STEP) gather(n, page, see, head_dim, d, m, g);
}

static size_t page_bytes(sl_kv_type type, size_t head_dim)
{
    return type == SL_KV_Q8_0 ? sl_kv_q8_0_page_bytes(head_dim) : sl_kv_f16_page_bytes(head_dim);
}

/* Part `part` of n of the next tile, while groups meet this one: all at once would be waited
 * for. */
static void fetch_part(const void *page, size_t bytes, size_t part, size_t n)
{
    for (size_t i = bytes * part / n / 64 * 64; i < bytes * (part + 1) / n; i += 64)
        __builtin_prefetch((const uint8_t *)page + i, 0, 2);
}

SL_ALWAYS_INLINE void attend_groups(sl_kv_type type, const sl_kv_tile *tiles, size_t n_tiles,
                                    size_t first, size_t n_groups, size_t head_dim, group *groups)
{
    int8_page page;
    for (size_t t = 0; t < n_tiles; t++) {
        quantize_page(type, tiles[t].page, head_dim, &page);
        for (size_t i = 0; i < n_groups; i += PAIR) {
            sl_sight see[PAIR] = {0};
            size_t n = n_groups - i < PAIR ? n_groups - i : PAIR;
            if (t + 1 < n_tiles)
                fetch_part(tiles[t + 1].page, page_bytes(type, head_dim), i / PAIR,
                           (n_groups + 1) / PAIR);
            for (size_t v = 0; v < n; v++)
                see[v] = sl_sight_of(&tiles[t], first + (i + v) * LANES, groups[i + v].n_rows);
            if (!see[0].some && !see[1].some) continue;
            if (n == PAIR)
                attend_page(PAIR, &page, see, head_dim, &groups[i]);
            else
                attend_page(1, &page, see, head_dim, &groups[i]);
        }
    }
}

SL_ALWAYS_INLINE void attend_prompt(sl_kv_type type, const sl_kv_tile *tiles, size_t n_tiles,
                                    const float *q, size_t n_rows, size_t head_dim,
                                    sl_softmax *state, float *acc)
{
    group groups[GROUPS_MAX];
    SL_ASSERT(head_dim % SL_BLOCK == 0 && head_dim <= SL_HEAD_DIM_MAX);
    for (size_t first = 0; first < n_rows; first += ROWS_MAX) {
        size_t n_groups = 0;
        for (size_t row = first; row < n_rows && n_groups < GROUPS_MAX; row += LANES, n_groups++)
            group_load(q + row * head_dim, n_rows - row < LANES ? n_rows - row : LANES, head_dim,
                       state + row, acc + row * head_dim, &groups[n_groups]);
        attend_groups(type, tiles, n_tiles, first, n_groups, head_dim, groups);
        for (size_t i = 0; i < n_groups; i++)
            group_store(&groups[i], head_dim, state + first + i * LANES,
                        acc + (first + i * LANES) * head_dim);
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

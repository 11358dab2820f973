/* runtime/kernels/attend/attend_avx512.c - attention sixteen lanes at a time: see attend_simd.h. */
#include <stddef.h>
#include <stdint.h>

#include "runtime/kernels/math_avx512.h"

enum {
    LANES = 16,
    GROUP_ROWS = 6, /* x 4 vectors: 24 sums, 4 panel vectors, a factor: 29 of 32 registers */
    GROUP_VECTORS = 4,
    TRIO_VECTORS = 4,
    ROW_VECTORS = 4,
};

typedef __m512 vec;

static inline vec v_set1(float x) { return _mm512_set1_ps(x); }
static inline vec v_set1_half(uint16_t x) { return v_set1(_cvtsh_ss(x)); }
static inline vec v_load(const float *x) { return _mm512_loadu_ps(x); }
static inline vec v_load_f16(const void *x) { return _mm512_cvtph_ps(_mm256_loadu_si256(x)); }
static inline vec v_load_bfloat(const void *x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(x)), 16));
}
static inline vec v_load_int8(const void *x)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x)));
}
static inline void v_store(float *x, vec v) { _mm512_storeu_ps(x, v); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline float v_first(vec v) { return _mm512_cvtss_f32(v); }
static inline float v_sum(vec v) { return _mm512_reduce_add_ps(v); }
static inline float v_highest(vec v) { return _mm512_reduce_max_ps(v); }

/* v where x >= bound or x is NaN, else 0. */
static inline vec v_zero_if_below(vec v, vec x, float bound)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(bound), _CMP_NLT_UQ), v);
}

static inline vec v_exp(vec x) { return sl_exp_avx512(x); }

#include "runtime/kernels/attend/attend_simd.h"

void sl_kv_f16_attend_avx512(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                             size_t head_dim, sl_softmax *state, float *acc)
{
    attend(SL_KV_F16, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_bf16_attend_avx512(const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                              size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    attend(SL_KV_BF16, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_q8_0_attend_avx512(const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                              size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    attend(SL_KV_Q8_0, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_f16_scores_avx512(const void *page, const float *q, size_t n_rows, size_t head_dim,
                             float *out)
{
    page_scores(SL_KV_F16, page, q, n_rows, head_dim, out);
}

void sl_kv_bf16_scores_avx512(const void *page, const float *q, size_t n_rows, size_t head_dim,
                              float *out)
{
    page_scores(SL_KV_BF16, page, q, n_rows, head_dim, out);
}

void sl_kv_q8_0_scores_avx512(const void *page, const float *q, size_t n_rows, size_t head_dim,
                              float *out)
{
    page_scores(SL_KV_Q8_0, page, q, n_rows, head_dim, out);
}

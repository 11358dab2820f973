/* runtime/kernels/attend/attend_avx2.c - attention eight lanes at a time: see attend_simd.h. */
#include <stdint.h>

#include "runtime/kernels/math_avx2.h"

enum {
    LANES = 8,
    GROUP_ROWS = 6, /* x 2 vectors: 12 sums, 2 panel vectors, a factor: 15 of 16 registers */
    GROUP_VECTORS = 2,
    TRIO_VECTORS = 2, /* 4 spill once f16 is widened on the way: 53 instead of 70 GFLOP/s */
    ROW_VECTORS = 8,
};

typedef __m256 vec;

static inline vec v_set1(float x) { return _mm256_set1_ps(x); }
static inline vec v_set1_half(uint16_t x) { return v_set1(_cvtsh_ss(x)); }
static inline vec v_load(const float *x) { return _mm256_loadu_ps(x); }
static inline vec v_load_f16(const void *x) { return _mm256_cvtph_ps(_mm_loadu_si128(x)); }
static inline vec v_load_bfloat(const void *x)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(x)), 16));
}
static inline vec v_load_int8(const void *x)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(x)));
}
static inline void v_store(float *x, vec v) { _mm256_storeu_ps(x, v); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec v_exp(vec x) { return sl_exp_avx2(x); }
static inline float v_first(vec v) { return _mm256_cvtss_f32(v); }
static inline float v_sum(vec v) { return sl_sum_avx2(v); }

/* v where x >= bound or x is NaN, else 0. */
static inline vec v_zero_if_below(vec v, vec x, float bound)
{
    return _mm256_and_ps(v, _mm256_cmp_ps(x, _mm256_set1_ps(bound), _CMP_NLT_UQ));
}

static inline float v_highest(vec v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

#include "runtime/kernels/attend/attend_simd.h"

void sl_kv_f16_attend_avx2(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                           size_t head_dim, sl_softmax *state, float *acc)
{
    attend(SL_KV_F16, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_bf16_attend_avx2(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                            size_t head_dim, sl_softmax *state, float *acc)
{
    attend(SL_KV_BF16, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_q8_0_attend_avx2(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                            size_t head_dim, sl_softmax *state, float *acc)
{
    attend(SL_KV_Q8_0, tiles, n_tiles, q, n_rows, head_dim, state, acc);
}

void sl_kv_f16_scores_avx2(const void *page, const float *q, size_t n_rows, size_t head_dim,
                           float *out)
{
    page_scores(SL_KV_F16, page, q, n_rows, head_dim, out);
}

void sl_kv_bf16_scores_avx2(const void *page, const float *q, size_t n_rows, size_t head_dim,
                            float *out)
{
    page_scores(SL_KV_BF16, page, q, n_rows, head_dim, out);
}

void sl_kv_q8_0_scores_avx2(const void *page, const float *q, size_t n_rows, size_t head_dim,
                            float *out)
{
    page_scores(SL_KV_Q8_0, page, q, n_rows, head_dim, out);
}

/* runtime/kernels/matmul/matmul_avx2.c - quantized weights, 8 columns at a time: see
 * matmul_simd.h. */
#include <string.h>

#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx2.h"

enum { LANES = 8, TILE_ROWS = 4, TILE_VECTORS = 1 };

typedef __m256 vec;
typedef __m256i ivec;

static inline vec v_set1(float x) { return _mm256_set1_ps(x); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec v_from_integers(ivec v) { return _mm256_cvtepi32_ps(v); }

static inline vec v_load_first(const float *x, size_t n)
{
    return _mm256_maskload_ps(x, sl_tail_mask_avx2(n));
}
static inline void v_store_first(float *x, size_t n, vec v)
{
    _mm256_maskstore_ps(x, sl_tail_mask_avx2(n), v);
}

static inline vec v_load_f16(const void *x) { return _mm256_cvtph_ps(_mm_loadu_si128(x)); }
static inline ivec i_load(const void *x) { return _mm256_loadu_si256(x); }
static inline ivec i_and(ivec v, char mask) { return _mm256_and_si256(v, _mm256_set1_epi8(mask)); }
static inline ivec i_or(ivec a, ivec b) { return _mm256_or_si256(a, b); }
/* Of bytes, whose neighbours' bits come in. */
static inline ivec i_shift_right(ivec v, int n) { return _mm256_srli_epi16(v, n); }
static inline ivec i_shift_left(ivec v, int n) { return _mm256_slli_epi16(v, n); }
static inline ivec i_look_up(const int8_t table[16], ivec code)
{
    __m128i values = _mm_loadu_si128((const void *)table);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values), code);
}

/* Bytes to integers of 32 bits, and those. */
static inline ivec i_widen_signed(const void *x)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(x));
}
static inline ivec i_widen_unsigned(const void *x)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(x));
}
static inline ivec i_shift_right_32(ivec v, int n) { return _mm256_srli_epi32(v, n); }
static inline ivec i_add_32(ivec v, int n) { return _mm256_add_epi32(v, _mm256_set1_epi32(n)); }
static inline ivec i_sub_32(ivec a, ivec b) { return _mm256_sub_epi32(a, b); }
static inline vec v_exponent(ivec v) { return _mm256_castsi256_ps(_mm256_slli_epi32(v, 23)); }

static inline ivec i_zero(void) { return _mm256_setzero_si256(); }

/* Four bytes of a row in every lane. */
static inline ivec i_broadcast(const int8_t *q)
{
    int32_t quad;
    memcpy(&quad, q, sizeof quad);
    return _mm256_set1_epi32(quad);
}

/* Keep a running sum as it is: gcc would rather add the products up in a tree, and spill them,
 * at half the speed. */
static inline ivec held(ivec sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

#include "runtime/kernels/matmul/panel_simd.h"

/* The instruction wants unsigned times signed and adds two products in 16 bits, which are at most
 * 2 * 63 * 127; of codes to 15, 8 such pairs fit, too. Signed weights give it |w| times q with w's
 * sign; |q| <= 127, so a pair is at most 2 * 128 * 127. */
static inline ivec dot_add(dot_kind kind, ivec sum, ivec w, ivec x)
{
    if (kind == DOT_SMALL) return held(_mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x)));
    ivec pairs = kind == DOT_UNSIGNED
                     ? _mm256_maddubs_epi16(w, x)
                     : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return held(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
static inline ivec dot_extra(dot_kind kind, ivec sum, ivec w)
{
    (void)kind, (void)w;
    return sum;
}
static inline ivec dot_end(dot_kind kind, ivec sum, ivec extra)
{
    (void)extra;
    return kind == DOT_SMALL ? _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) : sum;
}

#include "runtime/kernels/matmul/matmul_simd.h"

sl_matmul *const sl_matmul_avx2[SL_TYPES] = MULTIPLY_BY_TYPE;

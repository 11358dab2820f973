/* runtime/kernels/matmul/vectors_avx512.h - `vec`, `ivec` and the operations that panel_simd.h asks
 * for, a panel wide. */
#ifndef SL_VECTORS_AVX512_H
#define SL_VECTORS_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 vec;
typedef __m512i ivec;

static inline vec v_set1(float x) { return _mm512_set1_ps(x); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_from_integers(ivec v) { return _mm512_cvtepi32_ps(v); }
static inline vec v_load_f16(const void *x) { return _mm512_cvtph_ps(_mm256_loadu_si256(x)); }
static inline vec v_exponent(ivec v) { return _mm512_castsi512_ps(_mm512_slli_epi32(v, 23)); }

static inline ivec i_load(const void *x) { return _mm512_loadu_si512(x); }
static inline ivec i_and(ivec v, char mask) { return _mm512_and_si512(v, _mm512_set1_epi8(mask)); }
static inline ivec i_or(ivec a, ivec b) { return _mm512_or_si512(a, b); }
/* Of bytes, whose neighbours' bits come in. */
static inline ivec i_shift_right(ivec v, int n) { return _mm512_srli_epi16(v, (unsigned)n); }
static inline ivec i_shift_left(ivec v, int n) { return _mm512_slli_epi16(v, (unsigned)n); }
static inline ivec i_look_up(const int8_t table[16], ivec code)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const void *)table)), code);
}

/* Bytes to integers of 32 bits, and those. */
static inline ivec i_widen_signed(const void *x)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(x));
}
static inline ivec i_widen_unsigned(const void *x)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(x));
}
static inline ivec i_shift_right_32(ivec v, int n) { return _mm512_srli_epi32(v, (unsigned)n); }
static inline ivec i_add_32(ivec v, int n) { return _mm512_add_epi32(v, _mm512_set1_epi32(n)); }
static inline ivec i_sub_32(ivec a, ivec b) { return _mm512_sub_epi32(a, b); }
static inline ivec i_mul_32(ivec v, int n) { return _mm512_mullo_epi32(v, _mm512_set1_epi32(n)); }

/* Two numbers of 16 bits a lane, a's and b's; and the sums of such pairs' products. */
static inline ivec i_pairs_of(ivec a, ivec b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
}
static inline ivec i_dot_pairs(ivec a, ivec b) { return _mm512_madd_epi16(a, b); }
static inline ivec i_factor(ivec v) { return v; }
static inline ivec i_pairs_1(int n) { return _mm512_set1_epi16((short)n); }
static inline ivec i_factor_1(void) { return _mm512_set1_epi32(1); }

#endif

/* runtime/kernels/matmul/matmul_avx2.c - quantized weights, 8 columns at a time: see
 * matmul_simd.h. */
#include <string.h>

#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx2.h"
#include "runtime/kernels/matmul/weight_form.h"

/* A tile whose codes are made on the way has one vector. */
enum { LANES = 8, TILE_ROWS = 4, TILE_VECTORS = 2, FEW_VECTORS = 1 };

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
static inline ivec i_mul_32(ivec v, int n) { return _mm256_mullo_epi32(v, _mm256_set1_epi32(n)); }
static inline vec v_exponent(ivec v) { return _mm256_castsi256_ps(_mm256_slli_epi32(v, 23)); }

/* Two numbers of 16 bits a lane, a's and b's; and the sums of such pairs' products. */
static inline ivec i_pairs_of(ivec a, ivec b)
{
    return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}
static inline ivec i_dot_pairs(ivec a, ivec b) { return _mm256_madd_epi16(a, b); }
static inline ivec i_factor(ivec v) { return i_pairs_of(v, v); }
static inline ivec i_pairs_1(int n) { return _mm256_set1_epi16((short)n); }
static inline ivec i_factor_1(void) { return i_pairs_1(1); }

static inline ivec i_zero(void) { return _mm256_setzero_si256(); }

/* Four bytes in every lane. */
static inline ivec i_broadcast(const void *bytes)
{
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Keep a running sum as it is: gcc would rather add the products up in a tree, and spill them,
 * at half the speed. */
static inline ivec held(ivec sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

#include "runtime/kernels/matmul/panel_simd.h"

/* The instruction multiplies unsigned by signed bytes and adds two products in 16 bits. Codes of 8
 * bits give it their magnitude, and their sign to the row's bytes; MXFP4's get a bias. */
SL_ALWAYS_INLINE bool dot_signs(sl_weight_form form)
{
    return form.codes == SL_CODE_SIGNED || form.codes == SL_CODE_IQ4;
}
SL_ALWAYS_INLINE int dot_bias(sl_weight_form form)
{
    return form.codes == SL_CODE_FP4 ? sl_form_largest_code(form) : 0;
}
SL_ALWAYS_INLINE ivec dot_prepare(sl_weight_form form, ivec code)
{
    if (dot_bias(form) == 0) return code;
    return _mm256_add_epi8(code, _mm256_set1_epi8((char)dot_bias(form)));
}

/* Magnitudes take an instruction, and are as well made again for each tile (bench/README.md). */
SL_ALWAYS_INLINE bool dot_prepares(sl_weight_form form, size_t n_rows)
{
    return n_rows > 7 && !dot_signs(form);
}
/* |q| <= 127. */
SL_ALWAYS_INLINE size_t dot_sums(sl_weight_form form)
{
    int n = INT16_MAX / (2 * 127 * (sl_form_largest_code(form) + dot_bias(form)));
    return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}
SL_ALWAYS_INLINE ivec dot_add(sl_weight_form form, ivec sum, ivec w, ivec x)
{
    ivec pairs = dot_signs(form) ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                                 : _mm256_maddubs_epi16(w, x);
    return held(_mm256_add_epi16(sum, pairs));
}
static inline ivec dot_gather(ivec total, ivec sum, ivec factor)
{
    return held(_mm256_add_epi32(total, _mm256_madd_epi16(sum, factor)));
}

#include "runtime/kernels/matmul/matmul_simd.h"

sl_matmul *const sl_matmul_avx2[SL_TYPES] = MULTIPLY_BY_TYPE;

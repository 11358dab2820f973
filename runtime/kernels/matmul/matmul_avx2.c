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

static inline vec v_load_half(const void *x) { return _mm256_cvtph_ps(_mm_loadu_si128(x)); }
static inline ivec i_load(const void *x) { return _mm256_loadu_si256(x); }
static inline ivec i_low_nibbles(ivec v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
static inline ivec i_high_nibbles(ivec v) { return i_low_nibbles(_mm256_srli_epi16(v, 4)); }

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

/* Nibbles: a product pair is at most 2 * 15 * 127, so 8 of them fit 16 bits. The instruction wants
 * unsigned times signed: of q8_0 it gets |w| times q with w's sign; |q| <= 127, so a pair is at
 * most 2 * 128 * 127. */
static inline ivec dot_add(uint32_t type, ivec sum, ivec w, ivec x)
{
    if (type != SL_TYPE_Q8_0) return held(_mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x)));
    ivec pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return held(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
static inline ivec dot_extra(uint32_t type, ivec sum, ivec w)
{
    (void)type, (void)w;
    return sum;
}
static inline ivec dot_end(uint32_t type, ivec sum, ivec extra)
{
    (void)extra;
    return type == SL_TYPE_Q8_0 ? sum : _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

#include "runtime/kernels/matmul/matmul_simd.h"

void sl_matmul_avx2(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                    bool add, float *out, size_t out_stride)
{
    if (sl_type_is_float(w->type))
        sl_matmul_float_avx2(w, a, out_begin, out_end, add, out, out_stride);
    else
        multiply(w, a, out_begin, out_end, add, out, out_stride);
}

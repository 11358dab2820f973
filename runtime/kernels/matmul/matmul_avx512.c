/* runtime/kernels/matmul/matmul_avx512.c - quantized weights, 16 columns at a time with VNNI's byte
 * dot product: see matmul_simd.h. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/vnni_avx512.h"

/* 8 sums, 8 of a block, weights and their halves, a row's quad: 24 of 32 registers */
enum { LANES = 16, TILE_ROWS = 4, TILE_VECTORS = 2 };

typedef __m512 vec;
typedef __m512i ivec;

static inline vec v_set1(float x) { return _mm512_set1_ps(x); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_from_integers(ivec v) { return _mm512_cvtepi32_ps(v); }

static inline __mmask16 first_lanes(size_t n) { return (__mmask16)((1U << n) - 1); }

static inline vec v_load_first(const float *x, size_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), x);
}
static inline void v_store_first(float *x, size_t n, vec v)
{
    _mm512_mask_storeu_ps(x, first_lanes(n), v);
}

static inline vec v_load_half(const void *x) { return _mm512_cvtph_ps(_mm256_loadu_si256(x)); }
static inline ivec i_load(const void *x) { return _mm512_loadu_si512(x); }
static inline ivec i_low_nibbles(ivec v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
static inline ivec i_high_nibbles(ivec v) { return i_low_nibbles(_mm512_srli_epi16(v, 4)); }

static inline ivec i_zero(void) { return _mm512_setzero_si512(); }
static inline ivec i_broadcast(const int8_t *q) { return sl_broadcast_quad(q); }

/* The instruction wants unsigned times signed. Of q8_0 it gets q + 128 times w, which is 128 times
 * the sum of w too much. */
static inline ivec dot_add(uint32_t type, ivec sum, ivec w, ivec x)
{
    if (type != SL_TYPE_Q8_0) return sl_dot_add(sum, w, x);
    return sl_dot_add(sum, _mm512_xor_si512(x, _mm512_set1_epi8((char)0x80)), w);
}
static inline ivec dot_extra(uint32_t type, ivec sum, ivec w)
{
    (void)type;
    return sl_dot_add(sum, _mm512_set1_epi8((char)0x80), w);
}
static inline ivec dot_end(uint32_t type, ivec sum, ivec extra)
{
    return type == SL_TYPE_Q8_0 ? _mm512_sub_epi32(sum, extra) : sum;
}

#include "runtime/kernels/matmul/matmul_simd.h"

void sl_matmul_avx512(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                      bool add, float *out, size_t out_stride)
{
    if (sl_type_is_float(w->type))
        sl_matmul_float_avx2(w, a, out_begin, out_end, add, out, out_stride);
    else
        multiply(w, a, out_begin, out_end, add, out, out_stride);
}

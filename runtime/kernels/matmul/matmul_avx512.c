/* runtime/kernels/matmul/matmul_avx512.c - quantized weights, 16 columns at a time with VNNI's byte
 * dot product: see matmul_simd.h. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/matmul/vectors_avx512.h"
#include "runtime/kernels/vnni_avx512.h"

/* 8 sums, 8 of a block, weights and their halves, a row's quad: 24 of 32 registers */
enum { LANES = 16, TILE_ROWS = 4, TILE_VECTORS = 2 };

static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }

static inline __mmask16 first_lanes(size_t n) { return (__mmask16)((1U << n) - 1); }

static inline vec v_load_first(const float *x, size_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), x);
}
static inline void v_store_first(float *x, size_t n, vec v)
{
    _mm512_mask_storeu_ps(x, first_lanes(n), v);
}

static inline ivec i_zero(void) { return _mm512_setzero_si512(); }
static inline ivec i_broadcast(const int8_t *q) { return sl_broadcast_quad(q); }

#include "runtime/kernels/matmul/panel_simd.h"

/* The instruction wants unsigned times signed. Of signed weights it gets q + 128 times w, which is
 * 128 times the sum of w too much. */
static inline ivec dot_add(dot_kind kind, ivec sum, ivec w, ivec x)
{
    if (kind != DOT_SIGNED) return sl_dot_add(sum, w, x);
    return sl_dot_add(sum, _mm512_xor_si512(x, _mm512_set1_epi8((char)0x80)), w);
}
static inline ivec dot_extra(dot_kind kind, ivec sum, ivec w)
{
    (void)kind;
    return sl_dot_add(sum, _mm512_set1_epi8((char)0x80), w);
}
static inline ivec dot_end(dot_kind kind, ivec sum, ivec extra)
{
    return kind == DOT_SIGNED ? _mm512_sub_epi32(sum, extra) : sum;
}

#include "runtime/kernels/matmul/matmul_simd.h"

sl_matmul *const sl_matmul_avx512[SL_TYPES] = MULTIPLY_BY_TYPE;

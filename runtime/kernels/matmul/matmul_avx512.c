/* runtime/kernels/matmul/matmul_avx512.c - quantized weights, 16 columns at a time with VNNI's byte
 * dot product: see matmul_simd.h. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/matmul/vectors_avx512.h"
#include "runtime/kernels/vnni_avx512.h"

/* 8 sums, 8 of a block, weights and their halves, a row's quad: 24 of 32 registers */
enum { LANES = 16, TILE_ROWS = 4, TILE_VECTORS = 2, FEW_VECTORS = 2 };

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
static inline ivec i_broadcast(const void *bytes) { return sl_broadcast_quad(bytes); }

#include "runtime/kernels/matmul/panel_simd.h"

/* The instruction multiplies unsigned by signed bytes: signed codes get a bias. */
SL_ALWAYS_INLINE int dot_bias(sl_weight_form form)
{
    return form.codes == SL_CODE_UNSIGNED ? 0 : sl_form_largest_code(form);
}
SL_ALWAYS_INLINE ivec dot_prepare(sl_weight_form form, ivec code)
{
    return _mm512_add_epi8(code, _mm512_set1_epi8((char)dot_bias(form)));
}
SL_ALWAYS_INLINE bool dot_prepares(sl_weight_form form, size_t n_rows)
{
    (void)form, (void)n_rows;
    return false; /* has not been measured */
}
SL_ALWAYS_INLINE size_t dot_sums(sl_weight_form form)
{
    (void)form;
    return SL_BLOCK / 4;
}
SL_ALWAYS_INLINE ivec dot_add(sl_weight_form form, ivec sum, ivec w, ivec x)
{
    (void)form;
    return sl_dot_add(sum, w, x);
}
static inline ivec dot_gather(ivec total, ivec sum, ivec factor)
{
    return _mm512_add_epi32(total, _mm512_mullo_epi32(sum, factor));
}

#include "runtime/kernels/matmul/matmul_simd.h"

sl_matmul *const sl_matmul_avx512[SL_TYPES] = MULTIPLY_BY_TYPE;

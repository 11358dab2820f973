/* runtime/kernels/matmul_avx512.c - quantized weights, 16 columns at a time with VNNI's byte
 * dot product: see matmul_simd.h. */
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/vnni_avx512.h"

enum { LANES = 16, TILE_ROWS = 8 };

typedef __m512 vec;
typedef __m512i ivec;

static inline vec v_set1(float x) { return _mm512_set1_ps(x); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline vec v_from_integers(ivec v) { return _mm512_cvtepi32_ps(v); }

static inline __mmask16 first_lanes(size_t n) { return (__mmask16)((1U << n) - 1); }

static inline void v_store_first(float *x, size_t n, vec v)
{
    _mm512_mask_storeu_ps(x, first_lanes(n), v);
}

static inline vec v_load_half(const void *x) { return _mm512_cvtph_ps(_mm256_loadu_si256(x)); }
static inline ivec i_load(const void *x) { return _mm512_loadu_si512(x); }
static inline ivec i_low_nibbles(ivec v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
static inline ivec i_high_nibbles(ivec v) { return i_low_nibbles(_mm512_srli_epi16(v, 4)); }

/* ---- dot[r] = sum_i w_i q_i of a block, per column, for rows of q that lie `width` apart ---- */

SL_ALWAYS_INLINE void dot_nibbles(int rows, const ivec quad[SL_BLOCK / 4], const int8_t *q,
                                  size_t width, ivec dot[TILE_ROWS])
{
    for (int r = 0; r < rows; r++) dot[r] = _mm512_setzero_si512();
    for (size_t i = 0; i < SL_BLOCK / 4; i++)
        for (int r = 0; r < rows; r++)
            dot[r] = sl_dot_add_each(dot[r], quad[i], q + (size_t)r * width + 4 * i);
}

SL_ALWAYS_INLINE void dot_q8_0(int rows, const ivec quad[SL_BLOCK / 4], const int8_t *q,
                               size_t width, ivec dot[TILE_ROWS])
{
    /* the instruction wants unsigned times signed: q + 128 times w, less 128 times the sum of w */
    const ivec offset = _mm512_set1_epi8((char)0x80);
    ivec excess = _mm512_setzero_si512();
    for (int r = 0; r < rows; r++) dot[r] = _mm512_setzero_si512();
    for (size_t i = 0; i < SL_BLOCK / 4; i++) {
        excess = sl_dot_add(excess, offset, quad[i]);
        for (int r = 0; r < rows; r++) {
            ivec x = sl_broadcast_quad(q + (size_t)r * width + 4 * i);
            dot[r] = sl_dot_add(dot[r], _mm512_xor_si512(x, offset), quad[i]);
        }
    }
    for (int r = 0; r < rows; r++) dot[r] = _mm512_sub_epi32(dot[r], excess);
}

#include "runtime/kernels/matmul_simd.h"

void sl_matmul_avx512(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                      float *out, size_t out_stride)
{
    if (sl_type_is_float(w->type))
        sl_matmul_float_avx2(w, a, out_begin, out_end, out, out_stride);
    else
        multiply(w, a, out_begin, out_end, out, out_stride);
}

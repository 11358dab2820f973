/* runtime/kernels/matmul_avx2.c - quantized weights, 8 columns at a time: see matmul_simd.h. */
#include <string.h>

#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/math_avx2.h"

enum { LANES = 8, QUADS = SL_BLOCK / 4, TILE_ROWS = 4 };

typedef __m256 vec;
typedef __m256i ivec;

static inline vec v_set1(float x) { return _mm256_set1_ps(x); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
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

/* ---- unpacking: column[c] + offset is a block ---- */

static inline ivec load_pair(const uint8_t *low, const uint8_t *high)
{
    __m128i a = _mm_loadu_si128((const __m128i *)low), b = _mm_loadu_si128((const __m128i *)high);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

/* 16 bytes of each column: quad[i] gets bytes 4i..4i+3 of all. */
static inline void transpose(const uint8_t *const *column, size_t offset, ivec quad[4])
{
    ivec a = load_pair(column[0] + offset, column[4] + offset);
    ivec b = load_pair(column[1] + offset, column[5] + offset);
    ivec c = load_pair(column[2] + offset, column[6] + offset);
    ivec d = load_pair(column[3] + offset, column[7] + offset);
    ivec ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    quad[0] = _mm256_unpacklo_epi64(ab, cd);
    quad[1] = _mm256_unpackhi_epi64(ab, cd);
    ab = _mm256_unpackhi_epi32(a, b), cd = _mm256_unpackhi_epi32(c, d);
    quad[2] = _mm256_unpacklo_epi64(ab, cd);
    quad[3] = _mm256_unpackhi_epi64(ab, cd);
}

/* The first 4 bytes of each block. */
static inline ivec load_heads(const uint8_t *const *column, size_t offset)
{
    int32_t h[LANES];
    for (int c = 0; c < LANES; c++) memcpy(&h[c], column[c] + offset, sizeof h[c]);
    return _mm256_setr_epi32(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]);
}

/* The low 16 bits of the lanes as f16. */
static inline vec widen_low_halves(ivec v)
{
    v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    v = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}

SL_ALWAYS_INLINE void unpack_nibbles(const uint8_t *const *column, size_t offset, ivec quad[QUADS])
{
    const ivec low = _mm256_set1_epi8(15);
    ivec packed[4];
    transpose(column, offset, packed);
    for (int i = 0; i < 4; i++) {
        quad[i] = _mm256_and_si256(packed[i], low);
        quad[4 + i] = _mm256_and_si256(_mm256_srli_epi16(packed[i], 4), low);
    }
}

SL_ALWAYS_INLINE void unpack_q4_0(const uint8_t *const *column, size_t offset, ivec quad[QUADS],
                                  vec *scale, vec *minimum)
{
    *scale = widen_low_halves(load_heads(column, offset));
    *minimum = v_mul(*scale, v_set1(-8));
    unpack_nibbles(column, offset + offsetof(sl_block_q4_0, q), quad);
}

SL_ALWAYS_INLINE void unpack_q4_1(const uint8_t *const *column, size_t offset, ivec quad[QUADS],
                                  vec *scale, vec *minimum)
{
    ivec heads = load_heads(column, offset);
    *scale = widen_low_halves(heads);
    *minimum = widen_low_halves(_mm256_srli_epi32(heads, 16));
    unpack_nibbles(column, offset + offsetof(sl_block_q4_1, q), quad);
}

SL_ALWAYS_INLINE void unpack_q8_0(const uint8_t *const *column, size_t offset, ivec quad[QUADS],
                                  vec *scale)
{
    *scale = widen_low_halves(load_heads(column, offset));
    transpose(column, offset + offsetof(sl_block_q8_0, q), quad);
    transpose(column, offset + offsetof(sl_block_q8_0, q) + 16, quad + 4);
}

/* ---- dot[r] = sum_i w_i q_i of a block, per column, for rows of q that lie `width` apart ---- */

/* Four bytes of a row in every lane. */
static inline ivec broadcast_quad(const int8_t *q)
{
    int32_t quad;
    memcpy(&quad, q, sizeof quad);
    return _mm256_set1_epi32(quad);
}

/* Keep a running sum as it is: gcc would rather add the products up in a tree, and spill them,
 * at half the speed. */
static inline void hold(ivec *sum) { __asm__("" : "+x"(*sum)); }

SL_ALWAYS_INLINE void dot_nibbles(int rows, const ivec quad[QUADS], const int8_t *q, size_t width,
                                  ivec dot[TILE_ROWS])
{
    /* a product pair is at most 2 * 15 * 127, so 8 of them fit 16 bits */
    for (int r = 0; r < rows; r++) dot[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < QUADS; i++) {
        for (int r = 0; r < rows; r++) {
            ivec x = broadcast_quad(q + (size_t)r * width + 4 * i);
            dot[r] = _mm256_add_epi16(dot[r], _mm256_maddubs_epi16(quad[i], x));
            hold(&dot[r]);
        }
    }
    for (int r = 0; r < rows; r++) dot[r] = _mm256_madd_epi16(dot[r], _mm256_set1_epi16(1));
}

SL_ALWAYS_INLINE void dot_q8_0(int rows, const ivec quad[QUADS], const int8_t *q, size_t width,
                               ivec dot[TILE_ROWS])
{
    /* the instruction wants unsigned times signed: |w| times q with w's sign; |q| <= 127, so a
     * pair is at most 2 * 128 * 127 */
    for (int r = 0; r < rows; r++) dot[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < QUADS; i++) {
        ivec magnitude = _mm256_abs_epi8(quad[i]);
        for (int r = 0; r < rows; r++) {
            ivec x = broadcast_quad(q + (size_t)r * width + 4 * i);
            x = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, quad[i]));
            dot[r] = _mm256_add_epi32(dot[r], _mm256_madd_epi16(x, _mm256_set1_epi16(1)));
            hold(&dot[r]);
        }
    }
}

#include "runtime/kernels/matmul_simd.h"

void sl_matmul_avx2(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                    float *out, size_t out_stride)
{
    if (sl_type_is_float(w->type))
        sl_matmul_float_avx2(w, a, out_begin, out_end, out, out_stride);
    else
        multiply(w, a, out_begin, out_end, out, out_stride);
}

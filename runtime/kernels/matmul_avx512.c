/* runtime/kernels/matmul_avx512.c - quantized weights, 16 columns at a time with VNNI's byte
 * dot product: see matmul_simd.h. */
#include <immintrin.h>
#include <string.h>

#include "runtime/kernels/kernel_sets.h"

enum { LANES = 16, QUADS = SL_BLOCK / 4, TILE_ROWS = 8 };

typedef __m512 vec;
typedef __m512i ivec;

static inline vec v_set1(float x) { return _mm512_set1_ps(x); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
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

/* ---- unpacking: column[c] + offset is a block ---- */

/* 16 bytes of columns c, c + 4, c + 8, c + 12. */
static inline ivec load_four(const uint8_t *const *column, size_t c, size_t offset)
{
    ivec v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(column[c] + offset)));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(column[c + 4] + offset)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(column[c + 8] + offset)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(column[c + 12] + offset)), 3);
}

/* 16 bytes of each column: quad[i] gets bytes 4i..4i+3 of all. */
static inline void transpose(const uint8_t *const *column, size_t offset, ivec quad[4])
{
    ivec a = load_four(column, 0, offset), b = load_four(column, 1, offset);
    ivec c = load_four(column, 2, offset), d = load_four(column, 3, offset);
    ivec ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    quad[0] = _mm512_unpacklo_epi64(ab, cd);
    quad[1] = _mm512_unpackhi_epi64(ab, cd);
    ab = _mm512_unpackhi_epi32(a, b), cd = _mm512_unpackhi_epi32(c, d);
    quad[2] = _mm512_unpacklo_epi64(ab, cd);
    quad[3] = _mm512_unpackhi_epi64(ab, cd);
}

/* The first 4 bytes of each block. */
static inline ivec load_heads(const uint8_t *const *column, size_t offset)
{
    int32_t h[LANES];
    for (int c = 0; c < LANES; c++) memcpy(&h[c], column[c] + offset, sizeof h[c]);
    return _mm512_setr_epi32(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10],
                             h[11], h[12], h[13], h[14], h[15]);
}

/* The low 16 bits of the lanes as f16. */
static inline vec widen_low_halves(ivec v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }

SL_ALWAYS_INLINE void unpack_nibbles(const uint8_t *const *column, size_t offset, ivec quad[QUADS])
{
    const ivec low = _mm512_set1_epi8(15);
    ivec packed[4];
    transpose(column, offset, packed);
    for (int i = 0; i < 4; i++) {
        quad[i] = _mm512_and_si512(packed[i], low);
        quad[4 + i] = _mm512_and_si512(_mm512_srli_epi16(packed[i], 4), low);
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
    *minimum = widen_low_halves(_mm512_srli_epi32(heads, 16));
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
    return _mm512_set1_epi32(quad);
}

SL_ALWAYS_INLINE void dot_nibbles(int rows, const ivec quad[QUADS], const int8_t *q, size_t width,
                                  ivec dot[TILE_ROWS])
{
    for (int r = 0; r < rows; r++) dot[r] = _mm512_setzero_si512();
    for (size_t i = 0; i < QUADS; i++)
        for (int r = 0; r < rows; r++)
            dot[r] = _mm512_dpbusd_epi32(dot[r], quad[i],
                                         broadcast_quad(q + (size_t)r * width + 4 * i));
}

SL_ALWAYS_INLINE void dot_q8_0(int rows, const ivec quad[QUADS], const int8_t *q, size_t width,
                               ivec dot[TILE_ROWS])
{
    /* the instruction wants unsigned times signed: q + 128 times w, less 128 times the sum of w */
    const ivec offset = _mm512_set1_epi8((char)0x80);
    ivec excess = _mm512_setzero_si512();
    for (int r = 0; r < rows; r++) dot[r] = _mm512_setzero_si512();
    for (size_t i = 0; i < QUADS; i++) {
        excess = _mm512_dpbusd_epi32(excess, offset, quad[i]);
        for (int r = 0; r < rows; r++) {
            ivec x = _mm512_xor_si512(broadcast_quad(q + (size_t)r * width + 4 * i), offset);
            dot[r] = _mm512_dpbusd_epi32(dot[r], x, quad[i]);
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

/* runtime/kernels/matmul_avx2.c - q4_1 and q8_0 weights. Eight columns are a strip: their blocks
 * are unpacked once so that a vector holds 4 neighbouring elements of each column, and lane c of
 * every sum belongs to column c alone. A sum is then matmul_ref.c's, block by block: exact
 * integers, one multiply-add into f32. No lanes are ever added up, so neither tiles, strips nor
 * chunks can change an element's bits. */
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/model/gguf.h"

enum {
    STRIP = 8,         /* columns */
    QUADS = 8,         /* groups of 4 elements in a block */
    CHUNK_BLOCKS = 48, /* of a strip unpacked at a time: 15 KB, half of the smallest L1 */
    TILE_ROWS = 4,
};

/* Blocks of 8 columns. q4_1: bytes 0..15; q8_0: signed bytes, no minimum. */
typedef struct {
    __m256i quad[CHUNK_BLOCKS][QUADS];
    __m256 scale[CHUNK_BLOCKS], minimum[CHUNK_BLOCKS];
} strip;

/* What a strip is unpacked from: a partial one repeats its last column. */
typedef struct {
    const uint8_t *column[STRIP];
    size_t n_columns, row_bytes;
} strip_source;

/* Fetch a block's share of the bytes of the strip that follows in memory; one row alone waits for
 * memory, not for arithmetic, and the CPU by itself looks less far ahead. */
static inline void prefetch_next(const strip_source *s, size_t block, size_t block_bytes)
{
    uintptr_t next = (uintptr_t)s->column[0] + STRIP * (s->row_bytes + block * block_bytes);
    for (size_t i = 0; i < STRIP * block_bytes; i += 64)
        _mm_prefetch((const char *)(next + i), _MM_HINT_T0);
}

static __m256i load_pair(const uint8_t *low, const uint8_t *high)
{
    __m128i a = _mm_loadu_si128((const __m128i *)low), b = _mm_loadu_si128((const __m128i *)high);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
}

/* 16 bytes of each of 8 columns, at `offset` in each: quad[i] gets bytes 4i..4i+3 of all. */
static inline void transpose(const strip_source *s, size_t offset, __m256i quad[4])
{
    __m256i a = load_pair(s->column[0] + offset, s->column[4] + offset);
    __m256i b = load_pair(s->column[1] + offset, s->column[5] + offset);
    __m256i c = load_pair(s->column[2] + offset, s->column[6] + offset);
    __m256i d = load_pair(s->column[3] + offset, s->column[7] + offset);
    __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    quad[0] = _mm256_unpacklo_epi64(ab, cd);
    quad[1] = _mm256_unpackhi_epi64(ab, cd);
    ab = _mm256_unpackhi_epi32(a, b), cd = _mm256_unpackhi_epi32(c, d);
    quad[2] = _mm256_unpacklo_epi64(ab, cd);
    quad[3] = _mm256_unpackhi_epi64(ab, cd);
}

/* The 4 bytes at `offset` of each column. */
static inline __m256i load_heads(const strip_source *s, size_t offset)
{
    int32_t head[STRIP];
    for (int c = 0; c < STRIP; c++)
        memcpy(&head[c], s->column[c] + offset, sizeof head[c]);
    return _mm256_setr_epi32(head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]);
}

/* The low 16 bits of 8 lanes as f16. */
static inline __m256 widen_low_halves(__m256i v)
{
    v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    v = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}

static inline void unpack_q4_1(const strip_source *s, size_t block, size_t i, strip *out)
{
    size_t offset = block * sizeof(sl_block_q4_1);
    prefetch_next(s, block, sizeof(sl_block_q4_1));
    __m256i heads = load_heads(s, offset), packed[4];
    out->scale[i] = widen_low_halves(heads);
    out->minimum[i] = widen_low_halves(_mm256_srli_epi32(heads, 16));

    const __m256i low = _mm256_set1_epi8(15);
    transpose(s, offset + offsetof(sl_block_q4_1, q), packed);
    for (int k = 0; k < 4; k++) {
        out->quad[i][k] = _mm256_and_si256(packed[k], low);
        out->quad[i][4 + k] = _mm256_and_si256(_mm256_srli_epi16(packed[k], 4), low);
    }
}

static inline void unpack_q8_0(const strip_source *s, size_t block, size_t i, strip *out)
{
    size_t offset = block * sizeof(sl_block_q8_0), q = offset + offsetof(sl_block_q8_0, q);
    prefetch_next(s, block, sizeof(sl_block_q8_0));
    out->scale[i] = widen_low_halves(load_heads(s, offset));
    transpose(s, q, out->quad[i]);
    transpose(s, q + 16, out->quad[i] + 4);
}

/* Four bytes of a row's q in every lane. */
static inline __m256i broadcast_quad(const int8_t *q)
{
    int32_t quad;
    memcpy(&quad, q, sizeof quad);
    return _mm256_set1_epi32(quad);
}

/* Keep a running sum as it is: gcc would rather add the products up in a tree, and spill them. */
SL_ALWAYS_INLINE void hold(__m256i *sum) { __asm__("" : "+x"(*sum)); }

/* sum_i w_i q_i of a block, per column. */
SL_ALWAYS_INLINE void dot_q4_1(int rows, const __m256i quad[QUADS], const int8_t *q, size_t width,
                               __m256i dot[TILE_ROWS])
{
    /* a product pair is at most 2 * 15 * 127, so 8 of them fit 16 bits */
    for (int r = 0; r < rows; r++)
        dot[r] = _mm256_setzero_si256();
    for (int k = 0; k < QUADS; k++) {
        for (int r = 0; r < rows; r++) {
            __m256i x = broadcast_quad(q + (size_t)r * width + 4 * k);
            dot[r] = _mm256_add_epi16(dot[r], _mm256_maddubs_epi16(quad[k], x));
            hold(&dot[r]);
        }
    }
    for (int r = 0; r < rows; r++)
        dot[r] = _mm256_madd_epi16(dot[r], _mm256_set1_epi16(1));
}

SL_ALWAYS_INLINE void dot_q8_0(int rows, const __m256i quad[QUADS], const int8_t *q, size_t width,
                               __m256i dot[TILE_ROWS])
{
    /* the instruction wants unsigned times signed: |w| times q with w's sign; |q| <= 127, so a
     * pair is at most 2 * 128 * 127 */
    for (int r = 0; r < rows; r++)
        dot[r] = _mm256_setzero_si256();
    for (int k = 0; k < QUADS; k++) {
        __m256i magnitude = _mm256_abs_epi8(quad[k]);
        for (int r = 0; r < rows; r++) {
            __m256i x = broadcast_quad(q + (size_t)r * width + 4 * k);
            x = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, quad[k]));
            dot[r] = _mm256_add_epi32(dot[r], _mm256_madd_epi16(x, _mm256_set1_epi16(1)));
            hold(&dot[r]);
        }
    }
}

/* Add blocks [first, first + n_blocks) of the strip to a tile of outputs; the first ones begin
 * from zero. */
SL_ALWAYS_INLINE void multiply_tile(int rows, bool q8, const strip *w, const sl_activations *a,
                                    size_t row, size_t first, size_t n_blocks, __m256i mask,
                                    float *out, size_t out_stride)
{
    __m256 sum[TILE_ROWS];
    for (int r = 0; r < rows; r++)
        sum[r] = first ? _mm256_maskload_ps(out + (size_t)r * out_stride, mask) : _mm256_setzero_ps();

    size_t row_blocks = a->width / SL_BLOCK;
    for (size_t b = 0; b < n_blocks; b++) {
        size_t at = row * row_blocks + first + b;
        __m256i dot[TILE_ROWS];
        if (q8)
            dot_q8_0(rows, w->quad[b], a->q + at * SL_BLOCK, a->width, dot);
        else
            dot_q4_1(rows, w->quad[b], a->q + at * SL_BLOCK, a->width, dot);
        for (int r = 0; r < rows; r++, at += row_blocks) {
            __m256 scale = _mm256_mul_ps(w->scale[b], _mm256_set1_ps(a->scale[at]));
            sum[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[r]), scale, sum[r]);
            if (!q8) sum[r] = _mm256_fmadd_ps(w->minimum[b], _mm256_set1_ps(a->sum[at]), sum[r]);
        }
    }
    for (int r = 0; r < rows; r++)
        _mm256_maskstore_ps(out + (size_t)r * out_stride, mask, sum[r]);
}

SL_ALWAYS_INLINE void multiply_strip(bool q8, const strip_source *s, const sl_activations *a,
                                     float *out, size_t out_stride)
{
    strip w;
    __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)s->n_columns),
                                      _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    size_t row_blocks = a->width / SL_BLOCK;
    for (size_t first = 0; first < row_blocks; first += CHUNK_BLOCKS) {
        size_t n = row_blocks - first < CHUNK_BLOCKS ? row_blocks - first : CHUNK_BLOCKS, row = 0;
        for (size_t b = 0; b < n; b++) {
            if (q8)
                unpack_q8_0(s, first + b, b, &w);
            else
                unpack_q4_1(s, first + b, b, &w);
        }
        for (; row + TILE_ROWS <= a->n_rows; row += TILE_ROWS)
            multiply_tile(TILE_ROWS, q8, &w, a, row, first, n, mask, out + row * out_stride,
                          out_stride);
        for (; row < a->n_rows; row++)
            multiply_tile(1, q8, &w, a, row, first, n, mask, out + row * out_stride, out_stride);
    }
}

static strip_source source_of(const sl_matrix *w, size_t begin, size_t end)
{
    strip_source s = {.n_columns = end - begin < STRIP ? end - begin : STRIP,
                      .row_bytes = w->row_bytes};
    for (size_t c = 0; c < STRIP; c++)
        s.column[c] = sl_matrix_row_data(w, begin + (c < s.n_columns ? c : s.n_columns - 1));
    return s;
}

void sl_matmul_avx2(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                    float *out, size_t out_stride)
{
    if (w->type == SL_TYPE_F32 || w->type == SL_TYPE_F16) {
        sl_matmul_float_avx2(w, a, out_begin, out_end, out, out_stride);
        return;
    }
    SL_ASSERT(w->type == SL_TYPE_Q4_1 || w->type == SL_TYPE_Q8_0);
    SL_ASSERT(a->width == w->n_in && w->n_in % SL_BLOCK == 0 && out_end <= w->n_out);
    for (size_t column = out_begin; column < out_end; column += STRIP) {
        strip_source s = source_of(w, column, out_end);
        if (w->type == SL_TYPE_Q8_0)
            multiply_strip(true, &s, a, out + column, out_stride);
        else
            multiply_strip(false, &s, a, out + column, out_stride);
    }
}

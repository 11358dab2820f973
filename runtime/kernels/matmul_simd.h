/* runtime/kernels/matmul_simd.h - linear maps of quantized weights over vectors of any width:
 * the body of matmul_avx2.c and its wider kin, which say before including it what `vec` (floats)
 * and `ivec` (bytes, integers) are, their LANES, TILE_ROWS, the v_ operations and how blocks are
 * unpacked and multiplied.
 *
 * LANES columns are a strip: their blocks are unpacked once so that an ivec, a quad, holds 4
 * neighbouring elements of each column, and lane c of every sum belongs to column c alone. A sum
 * is then matmul_ref.c's, block by block: exact integers, one multiply-add into f32. No lanes are
 * ever added up, so neither tiles, strips nor chunks can change an element's bits. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum {
    CHUNK_BLOCKS = 384 / LANES, /* of a strip unpacked at a time: 15 KB, half of the smallest L1 */
};

/* Blocks of LANES columns; q8_0 has no minimum. */
typedef struct {
    ivec quad[CHUNK_BLOCKS][QUADS];
    vec scale[CHUNK_BLOCKS], minimum[CHUNK_BLOCKS];
} strip;

/* What a strip is unpacked from: a partial one repeats its last column. */
typedef struct {
    const uint8_t *column[LANES];
    size_t n_columns, row_bytes;
} strip_source;

static strip_source source_of(const sl_matrix *w, size_t begin, size_t end)
{
    strip_source s = {.n_columns = end - begin < LANES ? end - begin : LANES,
                      .row_bytes = w->row_bytes};
    for (size_t c = 0; c < LANES; c++)
        s.column[c] = sl_matrix_row_data(w, begin + (c < s.n_columns ? c : s.n_columns - 1));
    return s;
}

/* Fetch a block's share of the strip that follows in memory. One row alone waits for memory, not
 * for arithmetic, and the CPU by itself looks less far ahead: 19 GB/s instead of 12. */
static inline void prefetch_next(const strip_source *s, size_t offset, size_t block_bytes)
{
    uintptr_t next = (uintptr_t)s->column[0] + LANES * (s->row_bytes + offset);
    for (size_t i = 0; i < LANES * block_bytes; i += 64)
        __builtin_prefetch((const void *)(next + i));
}

SL_ALWAYS_INLINE size_t block_bytes_of(uint32_t type)
{
    return type == SL_TYPE_Q8_0   ? sizeof(sl_block_q8_0)
           : type == SL_TYPE_Q4_1 ? sizeof(sl_block_q4_1)
                                  : sizeof(sl_block_q4_0);
}

SL_ALWAYS_INLINE void unpack(uint32_t type, const strip_source *s, size_t first, size_t n,
                             strip *out)
{
    size_t block_bytes = block_bytes_of(type);
    for (size_t b = 0; b < n; b++) {
        size_t offset = (first + b) * block_bytes;
        prefetch_next(s, offset, block_bytes);
        if (type == SL_TYPE_Q8_0)
            unpack_q8_0(s->column, offset, out->quad[b], &out->scale[b]);
        else if (type == SL_TYPE_Q4_1)
            unpack_q4_1(s->column, offset, out->quad[b], &out->scale[b], &out->minimum[b]);
        else
            unpack_q4_0(s->column, offset, out->quad[b], &out->scale[b], &out->minimum[b]);
    }
}

/* Add blocks [first, first + n_blocks), unpacked in w, to `rows` rows of the strip's outputs; the
 * first ones begin from zero. */
SL_ALWAYS_INLINE void multiply_tile(int rows, uint32_t type, const strip *w,
                                    const sl_activations *a, size_t row, size_t first,
                                    size_t n_blocks, size_t n_columns, float *out,
                                    size_t out_stride)
{
    bool q8 = type == SL_TYPE_Q8_0;
    vec sum[TILE_ROWS];
    for (int r = 0; r < rows; r++)
        sum[r] = first ? v_load_first(out + (size_t)r * out_stride, n_columns) : v_set1(0);

    size_t row_blocks = a->width / SL_BLOCK;
    for (size_t b = 0; b < n_blocks; b++) {
        size_t at = row * row_blocks + first + b;
        ivec dot[TILE_ROWS];
        if (q8)
            dot_q8_0(rows, w->quad[b], a->q + at * SL_BLOCK, a->width, dot);
        else
            dot_nibbles(rows, w->quad[b], a->q + at * SL_BLOCK, a->width, dot);
        for (int r = 0; r < rows; r++, at += row_blocks) {
            vec scale = v_mul(w->scale[b], v_set1(a->scale[at]));
            sum[r] = v_fma(v_from_integers(dot[r]), scale, sum[r]);
            if (!q8) sum[r] = v_fma(w->minimum[b], v_set1(a->sum[at]), sum[r]);
        }
    }
    for (int r = 0; r < rows; r++) v_store_first(out + (size_t)r * out_stride, n_columns, sum[r]);
}

SL_ALWAYS_INLINE void multiply_strip(uint32_t type, const strip_source *s, const sl_activations *a,
                                     float *out, size_t stride)
{
    strip w;
    size_t row_blocks = a->width / SL_BLOCK, columns = s->n_columns;
    for (size_t first = 0; first < row_blocks; first += CHUNK_BLOCKS) {
        size_t n = row_blocks - first < CHUNK_BLOCKS ? row_blocks - first : CHUNK_BLOCKS, row = 0;
        unpack(type, s, first, n, &w);
        for (; row + TILE_ROWS <= a->n_rows; row += TILE_ROWS)
            multiply_tile(TILE_ROWS, type, &w, a, row, first, n, columns, out + row * stride,
                          stride);
        for (; row + 2 <= a->n_rows; row += 2)
            multiply_tile(2, type, &w, a, row, first, n, columns, out + row * stride, stride);
        for (; row < a->n_rows; row++)
            multiply_tile(1, type, &w, a, row, first, n, columns, out + row * stride, stride);
    }
}

static void multiply(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                     float *out, size_t out_stride)
{
    SL_ASSERT(a->width == w->n_in && w->n_in % SL_BLOCK == 0 && out_end <= w->n_out);
    for (size_t column = out_begin; column < out_end; column += LANES) {
        strip_source s = source_of(w, column, out_end);
        switch (w->type) {
        case SL_TYPE_Q4_0: multiply_strip(SL_TYPE_Q4_0, &s, a, out + column, out_stride); break;
        case SL_TYPE_Q4_1: multiply_strip(SL_TYPE_Q4_1, &s, a, out + column, out_stride); break;
        case SL_TYPE_Q8_0: multiply_strip(SL_TYPE_Q8_0, &s, a, out + column, out_stride); break;
        default: SL_ASSERT(!"a type without kernels");
        }
    }
}

/* runtime/kernels/matmul_simd.h - linear maps of packed weights (pack.h) over vectors of any width: the
 * body of matmul_avx2.c and its wider kin, which say before including it what `vec` (floats) and
 * `ivec` (bytes, integers) are, their LANES (half a panel or a panel), TILE_ROWS, the v_ operations and
 * how quads are multiplied.
 *
 * Lane c of every sum belongs to column c of the panel alone, and is matmul_ref.c's, block by block:
 * exact integers, one multiply-add into f32. No lanes are ever added up, so neither tiles nor ranges
 * can change an element's bits. A panel is read from memory once, however many rows there are. */
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum {
    QUADS = SL_BLOCK / 4,
    HEAD_BYTES = SL_PANEL * sizeof(uint16_t), /* scales, or minimums */
    QUAD_BYTES = SL_PANEL * 4,
    AHEAD_BYTES = 2560, /* a few rows alone wait for memory, not for arithmetic: fetched so early */
};

/* One block of LANES columns. */
typedef struct {
    ivec quad[QUADS];
    vec scale, minimum; /* q8_0 has no minimum */
} weights;

/* `part` counts vectors of LANES columns within the panel. */
SL_ALWAYS_INLINE weights unpack(uint32_t type, const uint8_t *block, size_t part)
{
    weights w;
    const uint8_t *halves = block + part * LANES * sizeof(uint16_t);
    const uint8_t *quads = block + HEAD_BYTES + part * LANES * 4;
    w.scale = v_load_half(halves);
    w.minimum = v_mul(w.scale, v_set1(-8));
    if (type == SL_TYPE_Q4_1) {
        w.minimum = v_load_half(halves + HEAD_BYTES);
        quads += HEAD_BYTES;
    }
    for (size_t i = 0; i < QUADS; i++) {
        if (type == SL_TYPE_Q8_0)
            w.quad[i] = i_load(quads + i * QUAD_BYTES);
        else if (i < QUADS / 2)
            w.quad[i] = i_low_nibbles(i_load(quads + i * QUAD_BYTES));
        else
            w.quad[i] = i_high_nibbles(i_load(quads + (i - QUADS / 2) * QUAD_BYTES));
    }
    return w;
}

/* Rows [row, row + rows) of a panel's columns; out: of the first row. */
SL_ALWAYS_INLINE void multiply_tile(int rows, uint32_t type, const uint8_t *panel, size_t part,
                                    const sl_activations *a, size_t row, size_t n_columns,
                                    float *out, size_t out_stride)
{
    size_t n_blocks = a->width / SL_BLOCK, at = row * n_blocks;
    vec sum[TILE_ROWS];
    for (int r = 0; r < rows; r++) sum[r] = v_set1(0);
    for (size_t b = 0; b < n_blocks; b++, at++, panel += sl_panel_form_of(type).bytes) {
        for (size_t i = 0; rows < TILE_ROWS && i < sl_panel_form_of(type).bytes; i += 64)
            __builtin_prefetch(panel + AHEAD_BYTES + i);
        weights w = unpack(type, panel, part);
        ivec dot[TILE_ROWS];
        if (type == SL_TYPE_Q8_0)
            dot_q8_0(rows, w.quad, a->q + at * SL_BLOCK, a->width, dot);
        else
            dot_nibbles(rows, w.quad, a->q + at * SL_BLOCK, a->width, dot);
        for (int r = 0; r < rows; r++) {
            size_t i = at + (size_t)r * n_blocks;
            sum[r] = v_fma(v_from_integers(dot[r]), v_mul(w.scale, v_set1(a->scale[i])), sum[r]);
            if (type != SL_TYPE_Q8_0) sum[r] = v_fma(w.minimum, v_set1(a->sum[i]), sum[r]);
        }
    }
    for (int r = 0; r < rows; r++) v_store_first(out + (size_t)r * out_stride, n_columns, sum[r]);
}

SL_ALWAYS_INLINE void multiply_panel(uint32_t type, const uint8_t *panel, size_t part,
                                     const sl_activations *a, size_t n_columns, float *out,
                                     size_t stride)
{
    size_t row = 0;
    for (; row + TILE_ROWS <= a->n_rows; row += TILE_ROWS)
        multiply_tile(TILE_ROWS, type, panel, part, a, row, n_columns, out + row * stride, stride);
    for (; row + 4 <= a->n_rows; row += 4)
        multiply_tile(4, type, panel, part, a, row, n_columns, out + row * stride, stride);
    for (; row < a->n_rows; row++)
        multiply_tile(1, type, panel, part, a, row, n_columns, out + row * stride, stride);
}

static void multiply(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                     float *out, size_t stride)
{
    SL_ASSERT(w->packed && a->width == w->n_in && out_begin % SL_PANEL == 0 && out_end <= w->n_out);
    for (size_t column = out_begin; column < out_end; column += LANES) {
        const uint8_t *panel = (const uint8_t *)w->data +
                               column / SL_PANEL * SL_PANEL * w->row_bytes;
        size_t n = out_end - column < LANES ? out_end - column : LANES;
        size_t part = column % SL_PANEL / LANES;
        float *at = out + column - out_begin;
        switch (w->type) {
        case SL_TYPE_Q4_0: multiply_panel(SL_TYPE_Q4_0, panel, part, a, n, at, stride); break;
        case SL_TYPE_Q4_1: multiply_panel(SL_TYPE_Q4_1, panel, part, a, n, at, stride); break;
        case SL_TYPE_Q8_0: multiply_panel(SL_TYPE_Q8_0, panel, part, a, n, at, stride); break;
        default: SL_ASSERT(!"a type without kernels");
        }
    }
}

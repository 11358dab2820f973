/* runtime/kernels/matmul/matmul_simd.h - linear maps of packed weights (pack.h) over vectors of any
 * width: the body of matmul_avx2.c and its wider kin, which say before including it what `vec`
 * (floats) and `ivec` (bytes, integers) are, their LANES (half a panel or a panel), the TILE_ROWS
 * times TILE_VECTORS that fit their registers, the v_ and i_ operations, and how bytes are
 * multiplied:
 *   dot_add(type, sum, w, x)   sum plus the products of a vector of weights with one of rows;
 *   dot_extra(type, sum, w)    what dot_add then has too much of, whatever the rows are;
 *   dot_end(type, sum, extra)  the exact sums of a block, in 32 bits.
 *
 * Lane c of every sum belongs to column c of the panel alone, and is matmul_ref.c's, block by
 * block: exact integers, one multiply-add into f32. No lanes are ever added up, so neither tiles
 * nor ranges can change an element's bits. A panel is read from memory once, however many rows
 * there are. */
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum {
    HEAD_BYTES = SL_PANEL * sizeof(uint16_t), /* scales, or minimums */
    QUAD_BYTES = SL_PANEL * 4,
    TILE_COLUMNS = TILE_VECTORS * LANES,
    FETCH_ROWS = 16, /* they wait for memory: the last of them fetches the next strip */
};

/* Neighbouring vectors of columns: where the first block of the first is, and how far apart they
 * are. */
typedef struct {
    const uint8_t *halves, *quads;
    size_t step;
} strip;

static strip strip_of(const sl_matrix *w, size_t column)
{
    size_t panel_bytes = SL_PANEL * w->row_bytes, part = column % SL_PANEL;
    const uint8_t *panel = (const uint8_t *)w->data + column / SL_PANEL * panel_bytes;
    return (strip){.halves = panel + part * sizeof(uint16_t),
                   .quads = panel + sl_panel_form_of(w->type).quads + part * 4,
                   .step = panel_bytes};
}

/* dot[r][v] += products of vector v's quads with those of rows, which lie `width` apart. */
SL_ALWAYS_INLINE void dot_quads(int rows, int vectors, uint32_t type, const ivec *w,
                                const int8_t *q, size_t width, ivec (*dot)[TILE_VECTORS])
{
    for (int r = 0; r < rows; r++) {
        ivec x = i_broadcast(q + (size_t)r * width);
        for (int v = 0; v < vectors; v++) dot[r][v] = dot_add(type, dot[r][v], w[v], x);
    }
}

/* dot[r][v] = sum_i w_i q_i of a block. */
SL_ALWAYS_INLINE void dot_block(int rows, int vectors, uint32_t type, const strip *s,
                                const int8_t *q, size_t width, ivec (*dot)[TILE_VECTORS])
{
    ivec extra[TILE_VECTORS], w[TILE_VECTORS], high[TILE_VECTORS];
    for (int v = 0; v < vectors; v++) extra[v] = i_zero();
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) dot[r][v] = i_zero();
    for (size_t i = 0; i < sl_panel_form_of(type).n_quads; i++, q += 4) {
        for (int v = 0; v < vectors; v++) {
            w[v] = i_load(s->quads + (size_t)v * s->step + i * QUAD_BYTES);
            if (type == SL_TYPE_Q8_0) {
                extra[v] = dot_extra(type, extra[v], w[v]);
            } else {
                high[v] = i_high_nibbles(w[v]);
                w[v] = i_low_nibbles(w[v]);
            }
        }
        dot_quads(rows, vectors, type, w, q, width, dot);
        if (type != SL_TYPE_Q8_0)
            dot_quads(rows, vectors, type, high, q + SL_BLOCK / 2, width, dot);
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) dot[r][v] = dot_end(type, dot[r][v], extra[v]);
}

/* The same block of the vectors behind these. */
SL_ALWAYS_INLINE void fetch_next(int vectors, const strip *s, size_t bytes)
{
    const uint8_t *next = s->halves + (size_t)vectors * s->step;
    for (int v = 0; v < vectors; v++)
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(next + (size_t)v * s->step + i);
}

/* Rows [row, row + rows) of so many vectors; out: of the first row, n_columns of it. */
SL_ALWAYS_INLINE void multiply_tile(int rows, int vectors, uint32_t type, strip s,
                                    const sl_activations *a, size_t row, size_t n_columns, bool add,
                                    float *out, size_t out_stride)
{
    size_t n_blocks = a->width / SL_BLOCK, at = row * n_blocks,
           bytes = sl_panel_form_of(type).bytes;
    bool fetches = a->n_rows <= FETCH_ROWS && row + (size_t)rows == a->n_rows;
    vec sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = v_set1(0);
    for (size_t b = 0; b < n_blocks; b++, at++, s.halves += bytes, s.quads += bytes) {
        ivec dot[TILE_ROWS][TILE_VECTORS];
        if (fetches) fetch_next(vectors, &s, bytes);
        dot_block(rows, vectors, type, &s, a->q + at * SL_BLOCK, a->width, dot);
        for (int v = 0; v < vectors; v++) {
            const uint8_t *halves = s.halves + (size_t)v * s.step;
            vec scale = v_load_half(halves), minimum = v_mul(scale, v_set1(-8));
            if (type == SL_TYPE_Q4_1) minimum = v_load_half(halves + HEAD_BYTES);
            for (int r = 0; r < rows; r++) {
                size_t i = at + (size_t)r * n_blocks;
                vec factor = v_mul(scale, v_set1(a->scale[i]));
                sum[r][v] = v_fma(v_from_integers(dot[r][v]), factor, sum[r][v]);
                if (type != SL_TYPE_Q8_0) sum[r][v] = v_fma(minimum, v_set1(a->sum[i]), sum[r][v]);
            }
        }
    }
    for (int v = 0; v < vectors; v++) {
        size_t first = (size_t)v * LANES, n = n_columns - first < LANES ? n_columns - first : LANES;
        for (int r = 0; r < rows; r++) {
            float *to = out + (size_t)r * out_stride + first;
            v_store_first(to, n, add ? v_add(v_load_first(to, n), sum[r][v]) : sum[r][v]);
        }
    }
}

/* Rows from `row` on, of n_columns columns: whole tiles, then row by row, which is one vector at a
 * time since memory gives more in one stream than in two. */
SL_ALWAYS_INLINE void multiply_strip(int vectors, uint32_t type, strip s, const sl_activations *a,
                                     size_t n_columns, bool add, float *out, size_t stride)
{
    size_t row = 0;
    for (; row + TILE_ROWS <= a->n_rows; row += TILE_ROWS)
        multiply_tile(TILE_ROWS, vectors, type, s, a, row, n_columns, add, out + row * stride,
                      stride);
    for (size_t first = 0; first < n_columns; first += LANES) {
        size_t n = n_columns - first < LANES ? n_columns - first : LANES;
        for (size_t r = row; r < a->n_rows; r++)
            multiply_tile(1, 1, type, s, a, r, n, add, out + r * stride + first, stride);
        s.halves += s.step, s.quads += s.step;
    }
}

SL_ALWAYS_INLINE void multiply_type(uint32_t type, const sl_matrix *w, const sl_activations *a,
                                    size_t begin, size_t end, bool add, float *out, size_t stride)
{
    for (size_t column = begin, n; column < end; column += n, out += n) {
        n = end - column < TILE_COLUMNS ? end - column : TILE_COLUMNS;
        if (n + LANES > TILE_COLUMNS) {
            multiply_strip(TILE_VECTORS, type, strip_of(w, column), a, n, add, out, stride);
        } else {
            n = n < LANES ? n : LANES;
            multiply_strip(1, type, strip_of(w, column), a, n, add, out, stride);
        }
    }
}

static void multiply(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                     bool add, float *out, size_t stride)
{
    SL_ASSERT(w->packed && a->width == w->n_in && out_begin % SL_PANEL == 0 && out_end <= w->n_out);
    switch (w->type) {
    case SL_TYPE_Q4_0:
        multiply_type(SL_TYPE_Q4_0, w, a, out_begin, out_end, add, out, stride);
        break;
    case SL_TYPE_Q4_1:
        multiply_type(SL_TYPE_Q4_1, w, a, out_begin, out_end, add, out, stride);
        break;
    case SL_TYPE_Q8_0:
        multiply_type(SL_TYPE_Q8_0, w, a, out_begin, out_end, add, out, stride);
        break;
    default: SL_ASSERT(!"a type without kernels");
    }
}

/* runtime/kernels/matmul/matmul_simd.h - linear maps of packed weights (pack.h) over vectors of any
 * width: the body of matmul_avx2.c and its wider kin, which say before including it what `vec`
 * (floats) and `ivec` (bytes, integers) are, their LANES (half a panel or a panel), the TILE_ROWS
 * times TILE_VECTORS that fit their registers, the v_ and i_ operations, and how bytes are
 * multiplied:
 *   dot_add(kind, sum, w, x)   sum plus the products of a vector of weights with one of rows;
 *   dot_extra(kind, sum, w)    what dot_add then has too much of, whatever the rows are;
 *   dot_end(kind, sum, extra)  the exact sums of a sub-block, in 32 bits.
 *
 * Lane c of every sum belongs to column c of the panel alone, and is matmul_ref.c's, sub-block by
 * sub-block: exact integers, one multiply-add into f32. No lanes are ever added up, so neither
 * tiles nor ranges can change an element's bits. A panel is read from memory once, however many
 * rows there are. */
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/matmul/panel.h"
#include "runtime/kernels/matmul/panel_simd.h"

enum {
    TILE_COLUMNS = TILE_VECTORS * LANES,
    FETCH_ROWS = 16, /* they wait for memory: the last of them fetches the next strip */
};

/* Neighbouring vectors of columns: the panel of the first, the first column within it, and how far
 * apart panels are. */
typedef struct {
    const uint8_t *panel;
    size_t column, step;
} strip;

/* Vectors of a strip are panels apart. */
_Static_assert((int)TILE_VECTORS == 1 || (int)LANES == (int)SL_PANEL, "a vector is a panel");

static strip strip_of(const sl_matrix *w, size_t column)
{
    size_t panel_bytes = sl_panel_bytes(w);
    return (strip){.panel = (const uint8_t *)w->data + column / SL_PANEL * panel_bytes,
                   .column = column % SL_PANEL,
                   .step = panel_bytes};
}

/* dot[r][v] = sum_i w_i q_i of a sub-block, which begins at quad `first` of 32 inputs' planes. */
SL_ALWAYS_INLINE void dot_sub_block(int rows, int vectors, sl_weight_form form, const strip *s,
                                    const uint8_t *planes, size_t first, const int8_t *q,
                                    size_t width, ivec (*dot)[TILE_VECTORS])
{
    const dot_kind kind = dot_kind_of(form);
    const size_t n = sl_form_sub_block(form) / 4;
    ivec extra[TILE_VECTORS];
    for (int v = 0; v < vectors; v++) extra[v] = i_zero();
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) dot[r][v] = i_zero();
    SL_UNROLL
    for (size_t i = 0; i < n; i++) {
        /* two quads of the same bytes are taken in a row, so that these are loaded once;
         * sub-blocks of 8 quads begin at quad 0 */
        size_t quad = form.low_bits == 4 && n == 8 ? i / 2 + i % 2 * 4 : first + i;
        ivec w[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) {
            w[v] = panel_codes(form, planes + (size_t)v * s->step, quad);
            if (kind == DOT_SIGNED) extra[v] = dot_extra(kind, extra[v], w[v]);
        }
        for (int r = 0; r < rows; r++) {
            ivec x = i_broadcast(q + (size_t)r * width + 4 * quad);
            for (int v = 0; v < vectors; v++) dot[r][v] = dot_add(kind, dot[r][v], w[v], x);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) dot[r][v] = dot_end(kind, dot[r][v], extra[v]);
}

/* The same place of the vectors behind these. */
SL_ALWAYS_INLINE void fetch_next(int vectors, const strip *s, const uint8_t *at, size_t bytes)
{
    const uint8_t *next = at + (size_t)vectors * s->step;
    for (int v = 0; v < vectors; v++)
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(next + (size_t)v * s->step + i);
}

/* Rows [row, row + rows) of so many vectors; out: of the first row, n_columns of it. */
SL_ALWAYS_INLINE void multiply_tile(int rows, int vectors, uint32_t type, strip s,
                                    const sl_activations *a, size_t row, size_t n_columns, bool add,
                                    float *out, size_t out_stride)
{
    const sl_weight_form form = sl_weight_form_of(type);
    const size_t f16_bytes = sl_form_n_f16(form) * SL_PANEL * sizeof(uint16_t),
                 small_bytes = sl_form_n_small(form) * SL_PANEL,
                 code_bytes = sl_form_code_bytes(form) * SL_PANEL;
    const size_t n_sub_blocks = SL_BLOCK / sl_form_sub_block(form);
    const bool has_minimum = sl_form_has_minimum(form) || form.offset > 0;
    const float *sums = n_sub_blocks == 1 ? a->sum : a->sum_16;
    size_t n_blocks = a->width / SL_BLOCK, block = row * n_blocks;
    bool fetches = a->n_rows <= FETCH_ROWS && row + (size_t)rows == a->n_rows;
    const uint8_t *at = s.panel, *f16 = at;
    vec sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = v_set1(0);
    for (size_t b = 0; b < n_blocks; b++, block++) {
        if (fetches) fetch_next(vectors, &s, at, f16_bytes + small_bytes + code_bytes);
        if (b % (form.super_block / SL_BLOCK) == 0) f16 = at, at += f16_bytes;
        const uint8_t *small = at, *planes = at + small_bytes + s.column * 4;
        for (size_t sub = 0; sub < n_sub_blocks; sub++) {
            ivec dot[TILE_ROWS][TILE_VECTORS];
            dot_sub_block(rows, vectors, form, &s, planes, 4 * sub, a->q + block * SL_BLOCK,
                          a->width, dot);
            for (int v = 0; v < vectors; v++) {
                panel_scale w = panel_scale_of(form, f16 + (size_t)v * s.step,
                                               small + (size_t)v * s.step, s.column, sub);
                for (int r = 0; r < rows; r++) {
                    size_t i = block + (size_t)r * n_blocks;
                    vec factor = v_mul(w.scale, v_set1(a->scale[i]));
                    sum[r][v] = v_fma(v_from_integers(dot[r][v]), factor, sum[r][v]);
                    if (has_minimum)
                        sum[r][v] = v_fma(w.minimum, v_set1(sums[i * n_sub_blocks + sub]),
                                          sum[r][v]);
                }
            }
        }
        at += small_bytes + code_bytes;
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
        s.panel += s.step;
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

#define DEFINE(name)                                                                       \
    static void multiply_##name(const sl_matrix *w, const sl_activations *a, size_t begin, \
                                size_t end, bool add, float *out, size_t stride)           \
    {                                                                                      \
        SL_ASSERT(w->type == SL_TYPE_##name && w->packed && a->width == w->n_in &&         \
                  begin % SL_PANEL == 0 && end <= w->n_out);                               \
        multiply_type(SL_TYPE_##name, w, a, begin, end, add, out, stride);                 \
    }
SL_FOR_QUANTIZED_TYPES(DEFINE)

#define QUANTIZED(name) [SL_TYPE_##name] = multiply_##name,
#define FLOAT(name)     [SL_TYPE_##name] = sl_matmul_##name##_avx2,
/* The table of the set, by type. */
#define MULTIPLY_BY_TYPE                                            \
    {                                                               \
        SL_FOR_QUANTIZED_TYPES(QUANTIZED) SL_FOR_FLOAT_TYPES(FLOAT) \
    }

/* runtime/kernels/matmul/matmul_simd.h - linear maps of packed weights (pack.h) over vectors of any
 * width: the body of matmul_avx2.c and its wider kin, which say before including it what `vec`
 * (floats) and `ivec` (bytes, integers) are, their LANES (half a panel or a panel), the TILE_ROWS
 * times TILE_VECTORS that fit their registers, FEW_VECTORS where codes are made on the way, the v_
 * and i_ operations, and how bytes are multiplied:
 *   dot_prepares(form, n_rows) whether codes are prepared once for so many rows;
 *   dot_prepare(form, code)    a vector of codes as dot_add wants it, dot_bias(form) added to each;
 *   dot_add(form, sum, w, x)   sum plus the products of such a vector with one of rows;
 *   dot_sums(form)             how many may be summed before they are gathered;
 *   dot_gather(total, sum, factor)  total + factor * sum in 32 bits; factor: see i_factor.
 *
 * Lane c of every sum belongs to column c of the panel alone, and is matmul_ref.c's, block by
 * block: exact integers, one multiply-add into f32. No lanes are ever added up, so neither tiles
 * nor ranges can change an element's bits. A panel is read from memory once, however many rows
 * there are; where they are many, the codes of a run of its blocks are prepared once for up to
 * RUN_ROWS of them. */
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/matmul/panel.h"
#include "runtime/kernels/matmul/panel_simd.h"

enum {
    TILE_COLUMNS = TILE_VECTORS * LANES,
    PANEL_VECTORS = SL_PANEL / LANES,
    FETCH_ROWS = 16, /* they wait for memory: the last of them fetches the next strip */
    RUN_BLOCKS = 16, /* prepared at once: with their rows they stay in the first cache */
    RUN_ROWS = 256,  /* rows of a run, whose sums wait for the next */
};

/* Neighbouring vectors of columns: the panel of the first, the first column within it, and how far
 * apart panels are. */
typedef struct {
    const uint8_t *panel;
    size_t column, step;
} strip;

static strip strip_of(const sl_matrix *w, size_t column)
{
    size_t panel_bytes = sl_panel_bytes(w);
    return (strip){.panel = (const uint8_t *)w->data + column / SL_PANEL * panel_bytes,
                   .column = column % SL_PANEL,
                   .step = panel_bytes};
}

/* Vector v of a strip: how far its panel is from the first, and its first column there. */
SL_ALWAYS_INLINE size_t panel_offset(const strip *s, int v)
{
    return (s->column + (size_t)v * LANES) / SL_PANEL * s->step;
}
SL_ALWAYS_INLINE size_t first_column(const strip *s, int v)
{
    return (s->column + (size_t)v * LANES) % SL_PANEL;
}

/* Codes of a block that were prepared for many rows. */
typedef struct {
    ivec quad[SL_BLOCK / 4];
} prepared_codes;

/* From `prepared`, or made on the way where that is NULL. */
SL_ALWAYS_INLINE ivec code_of(sl_weight_form form, const panel_block *w,
                              const prepared_codes *prepared, size_t quad)
{
    if (prepared) return prepared->quad[quad];
    return dot_prepare(form, panel_codes(form, w->planes, quad));
}

/* The exact sums of a block's products with `rows` rows; w, prepared: [vectors]; q: of the first
 * row. */
SL_ALWAYS_INLINE void dot_block(int rows, int vectors, sl_weight_form form, const panel_block *w,
                                const prepared_codes *prepared, const int8_t *q, size_t width,
                                ivec (*total)[TILE_VECTORS])
{
    enum { QUADS = SL_BLOCK / 4 };
    const size_t per_scale = QUADS * sl_form_sub_block(form) / SL_BLOCK,
                 n = dot_sums(form) < per_scale ? dot_sums(form) : per_scale;
    const int8_t *at[TILE_ROWS];
    for (int r = 0; r < rows; r++) {
        at[r] = q + (size_t)r * width;
        __asm__("" : "+r"(at[r])); /* a register a row, not an offset a quad, of which most spill */
        for (int v = 0; v < vectors; v++) total[r][v] = i_zero();
    }
    SL_UNROLL
    for (size_t first = 0; first < QUADS; first += n) {
        ivec sum[TILE_ROWS][TILE_VECTORS];
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] = i_zero();
        SL_UNROLL
        for (size_t i = 0; i < n; i++) {
            /* nibbles of the same bytes one after the other, so that these are loaded once */
            size_t quad = form.low_bits == 4 && n == QUADS ? i / 2 + i % 2 * 4 : first + i;
            ivec code[TILE_VECTORS];
            for (int v = 0; v < vectors; v++)
                code[v] = code_of(form, &w[v], prepared ? &prepared[v] : NULL, quad);
            for (int r = 0; r < rows; r++) {
                ivec x = i_broadcast(at[r] + 4 * quad);
                for (int v = 0; v < vectors; v++) sum[r][v] = dot_add(form, sum[r][v], code[v], x);
            }
        }
        for (int v = 0; v < vectors; v++) {
            ivec factor = per_scale < QUADS ? w[v].sub_scale[first / per_scale] : i_factor_1();
            for (int r = 0; r < rows; r++) total[r][v] = dot_gather(total[r][v], sum[r][v], factor);
        }
    }
}

/* A block of `rows` rows from row `row` on; sum: what is added to. */
SL_ALWAYS_INLINE void multiply_block(int rows, int vectors, sl_weight_form form,
                                     const panel_block *w, const prepared_codes *prepared,
                                     const sl_activations *a, size_t row, size_t block,
                                     vec (*sum)[TILE_VECTORS])
{
    const bool is_of_16 = sl_form_sub_block(form) < SL_BLOCK,
               has_minimum = sl_form_has_minimum(form);
    ivec total[TILE_ROWS][TILE_VECTORS];
    dot_block(rows, vectors, form, w, prepared, a->q + row * a->width + block * SL_BLOCK, a->width,
              total);
    for (int r = 0; r < rows; r++) {
        size_t i = (row + (size_t)r) * (a->width / SL_BLOCK) + block;
        vec scale = v_set1(a->scale[i]);
        for (int v = 0; v < vectors; v++) {
            ivec sums = i_zero(); /* of the row's bytes, times integers of the weights */
            if (is_of_16)
                sums = i_dot_pairs(w[v].sub_minimum, i_broadcast(a->sum_16 + 2 * i));
            else if (dot_bias(form) > 0)
                sums = i_dot_pairs(i_pairs_1(dot_bias(form)), i_broadcast(a->sum_16 + 2 * i));
            if (!has_minimum) total[r][v] = i_sub_32(total[r][v], sums);
            sum[r][v] = v_fma(v_from_integers(total[r][v]), v_mul(w[v].scale, scale), sum[r][v]);
            if (is_of_16 && has_minimum)
                sum[r][v] = v_fma(v_from_integers(sums), v_mul(w[v].minimum, scale), sum[r][v]);
            else if (!is_of_16 && (has_minimum || form.offset > 0))
                sum[r][v] = v_fma(w[v].minimum, v_set1(a->sum[i]), sum[r][v]);
        }
    }
}

/* The same place of the vectors behind these. */
SL_ALWAYS_INLINE void fetch_next(int vectors, const strip *s, const uint8_t *at, size_t bytes)
{
    const size_t first = panel_offset(s, vectors); /* 0: they are in the same panel */
    for (size_t offset = first; offset < 2 * first; offset += s->step)
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + offset + i);
}

/* Where blocks of a strip's first panel are, one after the other. */
typedef struct {
    const uint8_t *f16, *small;
} place;

/* Of block b, given that of the block before; of block 0, where the panel begins. */
SL_ALWAYS_INLINE place next_block(sl_weight_form form, size_t b, place last)
{
    const size_t bytes = (sl_form_n_small(form) + sl_form_code_bytes(form)) * SL_PANEL;
    place at = {last.f16, b == 0 ? last.f16 : last.small + bytes};
    if (b % (form.super_block / SL_BLOCK) == 0) {
        at.f16 = at.small;
        at.small += sl_form_n_f16(form) * SL_PANEL * sizeof(uint16_t);
    }
    return at;
}

SL_ALWAYS_INLINE void load_blocks(int vectors, sl_weight_form form, const strip *s, place at,
                                  panel_block *out)
{
    for (int v = 0; v < vectors; v++)
        load_panel_block(form, at.f16 + panel_offset(s, v), at.small + panel_offset(s, v),
                         first_column(s, v), &out[v]);
}

/* Sums to the columns of a row. */
SL_ALWAYS_INLINE void store_sums(int vectors, const vec *sum, size_t n_columns, bool add,
                                 float *out)
{
    for (int v = 0; v < vectors; v++) {
        size_t first = (size_t)v * LANES, n = n_columns - first < LANES ? n_columns - first : LANES;
        float *to = out + first;
        v_store_first(to, n, add ? v_add(v_load_first(to, n), sum[v]) : sum[v]);
    }
}

/* Rows [row, row + rows) of so many vectors, whose codes are made for them alone; out: of the first
 * row, n_columns of it. */
SL_ALWAYS_INLINE void multiply_tile(int rows, int vectors, uint32_t type, strip s,
                                    const sl_activations *a, size_t row, size_t n_columns, bool add,
                                    float *out, size_t out_stride)
{
    const sl_weight_form form = sl_weight_form_of(type);
    const size_t bytes = sl_form_super_block_bytes(form) * SL_PANEL / (form.super_block / SL_BLOCK);
    bool fetches = a->n_rows <= FETCH_ROWS && row + (size_t)rows == a->n_rows;
    place at = {s.panel, s.panel};
    vec sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = v_set1(0);
    for (size_t b = 0; b < a->width / SL_BLOCK; b++) {
        panel_block w[TILE_VECTORS];
        at = next_block(form, b, at);
        if (fetches) fetch_next(vectors, &s, at.small, bytes + SL_PANEL);
        load_blocks(vectors, form, &s, at, w);
        multiply_block(rows, vectors, form, w, NULL, a, row, b, sum);
    }
    for (int r = 0; r < rows; r++)
        store_sums(vectors, sum[r], n_columns, add, out + (size_t)r * out_stride);
}

/* The strip that begins so many columns behind another. */
SL_ALWAYS_INLINE strip strip_behind(const strip *s, size_t columns)
{
    return (strip){.panel = s->panel + (s->column + columns) / SL_PANEL * s->step,
                   .column = (s->column + columns) % SL_PANEL,
                   .step = s->step};
}

/* Rows [begin, end), so many at once, and of the columns so many vectors. */
SL_ALWAYS_INLINE void multiply_tiles(int rows, int vectors, uint32_t type, const strip *s,
                                     const sl_activations *a, size_t begin, size_t end,
                                     size_t n_columns, bool add, float *out, size_t stride)
{
    for (size_t first = 0, n; first < n_columns; first += n) {
        size_t left = n_columns - first, whole = (size_t)vectors * LANES;
        n = left < whole ? left : whole;
        for (size_t row = begin; row < end; row += (size_t)rows)
            multiply_tile(rows, vectors, type, strip_behind(s, first), a, row, n, add,
                          out + row * stride + first, stride);
    }
}

/* Few rows: whole tiles, then row by row, which is one panel at a time since memory gives more in
 * one stream than in two. */
SL_ALWAYS_INLINE void multiply_few(int vectors, uint32_t type, strip s, const sl_activations *a,
                                   size_t n_columns, bool add, float *out, size_t stride)
{
    const size_t in_tiles = a->n_rows / TILE_ROWS * TILE_ROWS;
    const int of_tile = vectors < FEW_VECTORS ? vectors : FEW_VECTORS,
              of_row = vectors < PANEL_VECTORS ? vectors : PANEL_VECTORS;
    multiply_tiles(TILE_ROWS, of_tile, type, &s, a, 0, in_tiles, n_columns, add, out, stride);
    multiply_tiles(1, of_row, type, &s, a, in_tiles, a->n_rows, n_columns, add, out, stride);
}

typedef struct {
    panel_block block[RUN_BLOCKS][TILE_VECTORS];
    prepared_codes codes[RUN_BLOCKS][TILE_VECTORS];
    vec sum[RUN_ROWS][TILE_VECTORS];
} unpacked_run;

/* Rows [row, row + rows) with n blocks from `first` on. */
SL_ALWAYS_INLINE void multiply_run(int rows, int vectors, sl_weight_form form, unpacked_run *run,
                                   size_t first, size_t n, const sl_activations *a, size_t row,
                                   size_t at)
{
    vec sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = first == 0 ? v_set1(0) : run->sum[at + (size_t)r][v];
    for (size_t b = 0; b < n; b++)
        multiply_block(rows, vectors, form, run->block[b], run->codes[b], a, row, first + b, sum);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) run->sum[at + (size_t)r][v] = sum[r][v];
}

/* Rows [row, row + n_rows), at most RUN_ROWS. */
SL_ALWAYS_INLINE void multiply_many(int vectors, uint32_t type, strip s, const sl_activations *a,
                                    size_t row, size_t n_rows, size_t n_columns, bool add,
                                    float *out, size_t stride)
{
    const sl_weight_form form = sl_weight_form_of(type);
    const size_t n_blocks = a->width / SL_BLOCK;
    unpacked_run run;
    place at = {s.panel, s.panel};
    for (size_t first = 0, n; first < n_blocks; first += n) {
        n = n_blocks - first < RUN_BLOCKS ? n_blocks - first : RUN_BLOCKS;
        for (size_t b = 0; b < n; b++) {
            at = next_block(form, first + b, at);
            load_blocks(vectors, form, &s, at, run.block[b]);
            for (int v = 0; v < vectors; v++)
                for (size_t quad = 0; quad < SL_BLOCK / 4; quad++)
                    run.codes[b][v].quad[quad] = code_of(form, &run.block[b][v], NULL, quad);
        }
        /* what is gathered more than once a block takes registers, too */
        const size_t tile = dot_sums(form) < SL_BLOCK / 4 ? TILE_ROWS - 1 : TILE_ROWS;
        size_t r = 0;
        for (; r + tile <= n_rows; r += tile)
            multiply_run((int)tile, vectors, form, &run, first, n, a, row + r, r);
        for (; r < n_rows; r++) multiply_run(1, vectors, form, &run, first, n, a, row + r, r);
    }
    for (size_t r = 0; r < n_rows; r++)
        store_sums(vectors, run.sum[r], n_columns, add, out + (row + r) * stride);
}

SL_ALWAYS_INLINE void multiply_strip(int vectors, uint32_t type, strip s, const sl_activations *a,
                                     size_t n_columns, bool add, float *out, size_t stride)
{
    if (!dot_prepares(sl_weight_form_of(type), a->n_rows)) {
        multiply_few(vectors, type, s, a, n_columns, add, out, stride);
        return;
    }
    for (size_t row = 0, n; row < a->n_rows; row += n) {
        n = a->n_rows - row < RUN_ROWS ? a->n_rows - row : RUN_ROWS;
        multiply_many(vectors, type, s, a, row, n, n_columns, add, out, stride);
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

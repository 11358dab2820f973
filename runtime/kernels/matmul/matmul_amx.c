/* runtime/kernels/matmul/matmul_amx.c - rows of prompts through tiles of bf16; generated tokens as
 * in matmul_avx512.c. Weights d q + m are computed in f32 and rounded to bf16, 32 columns and some
 * inputs at a time, so that they are in the cache while all rows meet them; the rows were rounded
 * before. That is closer to the exact product than int8 rows are, and several times as fast.
 *
 * An element is a chain over the inputs, 32 at a time in order: neither which rows go together nor
 * where a range starts can change its bits (contract 1). */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"
#include "runtime/kernels/matmul/panel.h"
#include "runtime/kernels/matmul/vectors_avx512.h"
#include "runtime/kernels/tiles_amx.h"

/* with the vectors of avx512 */
#include "runtime/kernels/matmul/panel_simd.h"

enum {
    COLUMNS = 2 * SL_PANEL, /* of weights unpacked together */
    ROWS = 2 * SL_TILE_ROWS,
    STEP_BLOCKS = 16, /* of inputs: 32 KB of weights */
    STEP = STEP_BLOCKS * SL_BLOCK,
};

_Static_assert((int)SL_PANEL == SL_TILE_ROWS && (int)SL_BLOCK == SL_TILE_DEPTH,
               "a block of a panel is a tile");

/* [panel][block][pair of inputs][column][2] */
typedef struct {
    _Alignas(64) uint16_t tile[2][STEP_BLOCKS][SL_TILE_NUMBERS];
} weights;

/* ---- weights to bf16 ---- */

/* Columns of two inputs side by side, as bf16. */
static inline __m512i pairs_of(__m512 even, __m512 odd)
{
    static const uint16_t order[SL_TILE_DEPTH] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                  21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                  11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order),
                                    (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* Byte i of every lane, signed, times scale plus minimum. */
SL_ALWAYS_INLINE __m512 weight(__m512i codes, int i, panel_scale w)
{
    __m512i code = _mm512_srai_epi32(_mm512_slli_epi32(codes, 24 - 8 * (unsigned)i), 24);
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), w.scale, w.minimum);
}

/* 32 inputs of a panel to one tile; f16, small: see panel_scale_of. */
SL_ALWAYS_INLINE void unpack_block(sl_weight_form form, const uint8_t *f16, const uint8_t *small,
                                   uint16_t *tile)
{
    const uint8_t *planes = small + sl_form_n_small(form) * SL_PANEL;
    const size_t n_sub_blocks = SL_BLOCK / sl_form_sub_block(form),
                 n_quads = SL_BLOCK / 4 / n_sub_blocks;
    for (size_t sub = 0; sub < n_sub_blocks; sub++) {
        panel_scale w = panel_scale_of(form, f16, small, 0, sub);
        SL_UNROLL
        for (size_t i = 0; i < n_quads; i++) {
            size_t quad = sub * n_quads + i;
            __m512i codes = panel_codes(form, planes, quad);
            for (int k = 0; k < 4; k += 2)
                _mm512_store_si512(tile + (4 * quad + (size_t)k) * SL_PANEL,
                                   pairs_of(weight(codes, k, w), weight(codes, k + 1, w)));
        }
    }
}

/* Blocks of 32 inputs [begin, begin + n) of a panel to tiles. */
SL_ALWAYS_INLINE void unpack_panel(uint32_t type, const uint8_t *panel, size_t begin, size_t n,
                                   uint16_t (*tile)[SL_TILE_NUMBERS])
{
    const sl_weight_form form = sl_weight_form_of(type);
    const size_t per_super = form.super_block / SL_BLOCK,
                 step = (sl_form_n_small(form) + sl_form_code_bytes(form)) * SL_PANEL,
                 super_bytes = sl_form_super_block_bytes(form) * SL_PANEL;
    for (size_t b = begin; b < begin + n; b++) {
        const uint8_t *f16 = panel + b / per_super * super_bytes;
        const uint8_t *first = f16 + sl_form_n_f16(form) * SL_PANEL * sizeof(uint16_t);
        unpack_block(form, f16, first + b % per_super * step, tile[b - begin]);
    }
}

typedef void unpack_function(const uint8_t *panel, size_t begin, size_t n,
                             uint16_t (*tile)[SL_TILE_NUMBERS]);
#define DEFINE_UNPACK(name)                                                 \
    static void unpack_##name(const uint8_t *panel, size_t begin, size_t n, \
                              uint16_t(*tile)[SL_TILE_NUMBERS])             \
    {                                                                       \
        unpack_panel(SL_TYPE_##name, panel, begin, n, tile);                \
    }
SL_FOR_QUANTIZED_TYPES(DEFINE_UNPACK)
#define UNPACK(name) [SL_TYPE_##name] = unpack_##name,
static unpack_function *const UNPACK_BY_TYPE[SL_TYPES] = {SL_FOR_QUANTIZED_TYPES(UNPACK)};

/* Blocks of 32 inputs [block, block + n_blocks) of the panels from that of `column` on; a panel
 * that is not there is left as it was. */
static void unpack(const sl_matrix *w, size_t column, size_t block, size_t n_blocks, weights *out)
{
    const uint8_t *panel = (const uint8_t *)w->data + column / SL_PANEL * sl_panel_bytes(w);
    for (size_t p = 0; p < 2 && column + p * SL_PANEL < w->n_out; p++)
        UNPACK_BY_TYPE[w->type](panel + p * sl_panel_bytes(w), block, n_blocks, out->tile[p]);
}

/* ---- products ---- */

/* out += x w, or fresh, of ROWS rows and COLUMNS columns; x: the rows' inputs of this step. */
static void multiply_tiles(const uint16_t *x, size_t width, const weights *w, size_t n_blocks,
                           bool fresh, float *out, size_t out_stride)
{
    size_t x_bytes = width * sizeof *x, out_bytes = out_stride * sizeof *out;
    float *lower = out + SL_TILE_ROWS * out_stride;
    if (fresh) {
        sl_tile_zero(0);
        sl_tile_zero(1);
        sl_tile_zero(2);
        sl_tile_zero(3);
    } else {
        sl_tile_load(0, out, out_bytes);
        sl_tile_load(1, out + SL_PANEL, out_bytes);
        sl_tile_load(2, lower, out_bytes);
        sl_tile_load(3, lower + SL_PANEL, out_bytes);
    }
    for (size_t b = 0; b < n_blocks; b++, x += SL_BLOCK) {
        sl_tile_load(4, x, x_bytes);
        sl_tile_load(6, w->tile[0][b], 64);
        sl_tile_multiply(0, 4, 6);
        sl_tile_load(7, w->tile[1][b], 64);
        sl_tile_multiply(1, 4, 7);
        sl_tile_load(5, x + SL_TILE_ROWS * width, x_bytes);
        sl_tile_multiply(2, 5, 6);
        sl_tile_multiply(3, 5, 7);
    }
    sl_tile_store(0, out, out_bytes);
    sl_tile_store(1, out + SL_PANEL, out_bytes);
    sl_tile_store(2, lower, out_bytes);
    sl_tile_store(3, lower + SL_PANEL, out_bytes);
}

static void copy_floats(const float *from, size_t from_stride, size_t n_rows, size_t n_columns,
                        float *to, size_t to_stride)
{
    for (size_t r = 0; r < n_rows; r++)
        memcpy(to + r * to_stride, from + r * from_stride, n_columns * sizeof *to);
}

/* The same of fewer rows or columns: what tiles want beyond them is made up. */
static void multiply_edge(const uint16_t *x, size_t width, size_t n_rows, const weights *w,
                          size_t n_blocks, bool fresh, size_t n_columns, float *out,
                          size_t out_stride)
{
    _Alignas(64) uint16_t rows[ROWS * STEP] = {0};
    _Alignas(64) float product[ROWS * COLUMNS] = {0};
    size_t n = n_blocks * SL_BLOCK;
    for (size_t r = 0; r < n_rows; r++) memcpy(rows + r * n, x + r * width, n * sizeof *x);
    if (!fresh) copy_floats(out, out_stride, n_rows, n_columns, product, COLUMNS);
    multiply_tiles(rows, n, w, n_blocks, fresh, product, COLUMNS);
    copy_floats(product, COLUMNS, n_rows, n_columns, out, out_stride);
}

/* COLUMNS columns from `column` on of n_rows rows of bf16, or as many as there are. */
static void multiply_columns(const sl_matrix *w, const uint16_t *x, size_t n_rows, size_t column,
                             size_t n_columns, bool add, float *out, size_t out_stride)
{
    weights unpacked;
    size_t n_blocks = w->n_in / SL_BLOCK;
    if (n_columns <= SL_PANEL) memset(&unpacked.tile[1], 0, sizeof unpacked.tile[1]);
    for (size_t block = 0; block < n_blocks; block += STEP_BLOCKS) {
        size_t n = n_blocks - block < STEP_BLOCKS ? n_blocks - block : STEP_BLOCKS;
        bool fresh = block == 0 && !add;
        unpack(w, column, block, n, &unpacked);
        for (size_t row = 0; row < n_rows; row += ROWS) {
            const uint16_t *from = x + row * w->n_in + block * SL_BLOCK;
            float *to = out + row * out_stride;
            if (n_rows - row < ROWS || n_columns < COLUMNS)
                multiply_edge(from, w->n_in, n_rows - row < ROWS ? n_rows - row : ROWS, &unpacked,
                              n, fresh, n_columns, to, out_stride);
            else
                multiply_tiles(from, w->n_in, &unpacked, n, fresh, to, out_stride);
        }
    }
}

static void multiply(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                     bool add, float *out, size_t out_stride)
{
    sl_activations generated = *a;
    SL_ASSERT(a->n_bf16 <= a->n_rows && out_begin % SL_PANEL == 0 && out_end <= w->n_out);
    SL_ASSERT(w->packed && a->width == w->n_in);
    generated.n_rows -= a->n_bf16;
    generated.n_bf16 = 0;
    if (generated.n_rows > 0)
        sl_matmul_avx512[w->type](w, &generated, out_begin, out_end, add, out, out_stride);
    if (a->n_bf16 == 0) return;
    sl_tiles_begin();
    for (size_t column = out_begin; column < out_end; column += COLUMNS)
        multiply_columns(w, a->bf16 + generated.n_rows * a->width, a->n_bf16, column,
                         out_end - column < COLUMNS ? out_end - column : COLUMNS, add,
                         out + generated.n_rows * out_stride + column - out_begin, out_stride);
    sl_tiles_end();
}

#define QUANTIZED(name) [SL_TYPE_##name] = multiply,
#define FLOAT(name)     [SL_TYPE_##name] = sl_matmul_##name##_avx2,
sl_matmul *const SL_AMX(sl_matmul)[SL_TYPES] = {SL_FOR_QUANTIZED_TYPES(QUANTIZED)
                                                    SL_FOR_FLOAT_TYPES(FLOAT)};

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
#include "runtime/kernels/tiles_amx.h"

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

static inline __m512 load_halves(const uint8_t *halves)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)halves));
}

/* Columns of two inputs side by side, as bf16. */
static inline __m512i pairs_of(__m512 even, __m512 odd)
{
    static const uint16_t order[SL_TILE_DEPTH] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                  21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                  11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order),
                                    (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* Byte i of every lane, as it is or signed, times scale plus minimum. */
SL_ALWAYS_INLINE __m512 weight(uint32_t type, __m512i quad, int i, __m512 scale, __m512 minimum)
{
    __m512i q = type == SL_TYPE_Q8_0
                    ? _mm512_srai_epi32(_mm512_slli_epi32(quad, 24 - 8 * (unsigned)i), 24)
                    : _mm512_and_si512(_mm512_srli_epi32(quad, 8 * (unsigned)i),
                                       _mm512_set1_epi32(255));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), scale, minimum);
}

/* One block of a panel (pack.h) to one tile. */
SL_ALWAYS_INLINE void unpack_block(uint32_t type, const uint8_t *block, uint16_t *tile)
{
    sl_panel_form form = sl_panel_form_of(type);
    const __m512i low = _mm512_set1_epi8(15);
    __m512 scale = load_halves(block), minimum = _mm512_setzero_ps();
    if (type == SL_TYPE_Q4_0) minimum = _mm512_mul_ps(scale, _mm512_set1_ps(-8));
    if (type == SL_TYPE_Q4_1) minimum = load_halves(block + SL_PANEL * sizeof(uint16_t));
    for (size_t i = 0; i < SL_BLOCK / 4; i++) {
        size_t n = i % form.n_quads;
        __m512i quad = _mm512_loadu_si512(block + form.quads + n * SL_PANEL * 4);
        if (type != SL_TYPE_Q8_0)
            quad = _mm512_and_si512(i < form.n_quads ? quad : _mm512_srli_epi16(quad, 4), low);
        for (int k = 0; k < 4; k += 2)
            _mm512_store_si512(tile + (4 * i + (size_t)k) * SL_PANEL,
                               pairs_of(weight(type, quad, k, scale, minimum),
                                        weight(type, quad, k + 1, scale, minimum)));
    }
}

/* Blocks [block, block + n_blocks) of the panels from that of `column` on; a panel that is not
 * there is left as it was. */
static void unpack(const sl_matrix *w, size_t column, size_t block, size_t n_blocks, weights *out)
{
    size_t block_bytes = sl_panel_form_of(w->type).bytes;
    for (size_t p = 0; p < 2 && column + p * SL_PANEL < w->n_out; p++) {
        const uint8_t *from = (const uint8_t *)w->data + (column + p * SL_PANEL) * w->row_bytes +
                              block * block_bytes;
        for (size_t b = 0; b < n_blocks; b++, from += block_bytes) {
            switch (w->type) {
            case SL_TYPE_Q4_0: unpack_block(SL_TYPE_Q4_0, from, out->tile[p][b]); break;
            case SL_TYPE_Q4_1: unpack_block(SL_TYPE_Q4_1, from, out->tile[p][b]); break;
            case SL_TYPE_Q8_0: unpack_block(SL_TYPE_Q8_0, from, out->tile[p][b]); break;
            default: SL_ASSERT(!"a type without kernels");
            }
        }
    }
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

void SL_AMX(sl_matmul)(const sl_matrix *w, const sl_activations *a, size_t out_begin,
                       size_t out_end, bool add, float *out, size_t out_stride)
{
    sl_activations generated = *a;
    SL_ASSERT(a->n_bf16 <= a->n_rows && out_begin % SL_PANEL == 0 && out_end <= w->n_out);
    if (sl_type_is_float(w->type)) {
        sl_matmul_avx512(w, a, out_begin, out_end, add, out, out_stride);
        return;
    }
    SL_ASSERT(w->packed && a->width == w->n_in);
    generated.n_rows -= a->n_bf16;
    generated.n_bf16 = 0;
    if (generated.n_rows > 0)
        sl_matmul_avx512(w, &generated, out_begin, out_end, add, out, out_stride);
    if (a->n_bf16 == 0) return;
    sl_tiles_begin();
    for (size_t column = out_begin; column < out_end; column += COLUMNS)
        multiply_columns(w, a->bf16 + generated.n_rows * a->width, a->n_bf16, column,
                         out_end - column < COLUMNS ? out_end - column : COLUMNS, add,
                         out + generated.n_rows * out_stride + column - out_begin, out_stride);
    sl_tiles_end();
}

/* runtime/kernels/attend_simd.h - the attend of attend_ref.c over vectors of any width: the body
 * of attend_avx2.c and its wider kin, which say before including it what a `vec` is, its LANES,
 * the v_ operations, and the shapes that fit their registers:
 *   GROUP_ROWS query rows go together over GROUP_VECTORS vectors of columns; 3 rows (a decoded
 *   token's queries of one KV head, often) over TRIO_VECTORS, a single one over ROW_VECTORS.
 *
 * Both products of a tile, queries with keys and weights with values, are small dense ones: rows
 * of f32 times a panel of f16 whose rows are contiguous. A score is one chain of fused
 * multiply-adds over the head, an output one over the slots its row sees, whatever rows share
 * registers: that is contract 1 here. */
#include <math.h>
#include <stdbool.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum {
    VECTORS_MAX = SL_PAGE_TOKENS / LANES,
    LAST_VECTORS = 16 / LANES, /* panels are multiples of 16 columns wide */
    WIDEN_ROWS = 12,           /* from so many rows on, a tile is first widened to f32 */
};

/* [..][width], f16 or the same values as f32. */
typedef struct {
    const void *data;
    size_t width;
    bool widened;
    ptrdiff_t next; /* from f16 data to that of the next tile, in bytes */
} panel;

typedef struct {
    size_t begin, end;
} range;

/* Vector v from element i on. f16 is read once, straight from memory, so it fetches ahead. */
SL_ALWAYS_INLINE vec panel_load(panel b, bool widened, size_t i, int v)
{
    i += (size_t)v * LANES;
    if (widened) return v_load((const float *)b.data + i);
    const uint16_t *at = (const uint16_t *)b.data + i;
    if (v * LANES % 32 == 0) __builtin_prefetch((const void *)((uintptr_t)at + (uintptr_t)b.next));
    return v_load_half(at);
}

/* out[r][c] = sum_{i in inner} a[r][i] b[i][c], for `vectors` vectors of columns from `column`. */
SL_ALWAYS_INLINE void multiply_columns(int rows, int vectors, bool widened, const float *a,
                                       size_t a_stride, panel b, range inner, size_t column,
                                       float *out)
{
    vec sum[GROUP_ROWS][VECTORS_MAX];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = v_set1(0);
    for (size_t i = inner.begin; i < inner.end; i++) {
        vec x[VECTORS_MAX];
        for (int v = 0; v < vectors; v++) x[v] = panel_load(b, widened, i * b.width + column, v);
        for (int r = 0; r < rows; r++) {
            vec factor = v_set1(a[(size_t)r * a_stride + i]);
            for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(factor, x[v], sum[r][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            v_store(out + (size_t)r * b.width + column + (size_t)v * LANES, sum[r][v]);
}

SL_ALWAYS_INLINE void multiply_rows(int rows, int vectors, bool widened, const float *a,
                                    size_t a_stride, panel b, range inner, float *out)
{
    size_t column = 0, step = (size_t)vectors * LANES;
    for (; column + step <= b.width; column += step)
        multiply_columns(rows, vectors, widened, a, a_stride, b, inner, column, out);
    for (; column < b.width; column += 16)
        multiply_columns(rows, LAST_VECTORS, widened, a, a_stride, b, inner, column, out);
}

/* The same for any number of rows up to GROUP_ROWS. */
static void multiply(size_t rows, const float *a, size_t a_stride, panel b, range inner, float *out)
{
    if (rows == GROUP_ROWS && b.widened) {
        multiply_rows(GROUP_ROWS, GROUP_VECTORS, true, a, a_stride, b, inner, out);
        return;
    }
    for (; rows >= 3; rows -= 3, a += 3 * a_stride, out += 3 * b.width) {
        if (b.widened)
            multiply_rows(3, TRIO_VECTORS, true, a, a_stride, b, inner, out);
        else
            multiply_rows(3, TRIO_VECTORS, false, a, a_stride, b, inner, out);
    }
    for (; rows > 0; rows--, a += a_stride, out += b.width) {
        if (b.widened)
            multiply_rows(1, ROW_VECTORS, true, a, a_stride, b, inner, out);
        else
            multiply_rows(1, ROW_VECTORS, false, a, a_stride, b, inner, out);
    }
}

/* e^x, but 0 below e^-69: such a weight is lost beside the maximum's 1 anyway, and its products
 * would be denormal numbers, which some CPUs take very slowly. */
static vec weight_of(vec x) { return v_zero_if_below(v_exp(x), x, -69); }

/* Turn a row's scores into weights and move its state; slots it does not see weigh 0. Returns
 * what the row's past is scaled by. */
static float weigh(float *scores, range see, sl_softmax *state)
{
    for (size_t i = 0; i < see.begin; i++) scores[i] = -INFINITY;
    for (size_t i = see.end; i < SL_PAGE_TOKENS; i++) scores[i] = -INFINITY;

    vec highest = v_set1(state->max);
    for (size_t i = 0; i < SL_PAGE_TOKENS; i += LANES) highest = v_max(highest, v_load(scores + i));
    float max = v_highest(highest);

    vec shift = v_set1(max), sum = v_set1(0);
    for (size_t i = 0; i < SL_PAGE_TOKENS; i += LANES) {
        vec p = weight_of(v_sub(v_load(scores + i), shift));
        v_store(scores + i, p);
        sum = v_add(sum, p);
    }
    float scale = v_first(weight_of(v_set1(state->max - max)));
    state->sum = state->sum * scale + v_sum(sum);
    state->max = max;
    return scale;
}

/* acc = acc * scale + value */
static void gather(const float *value, float scale, size_t head_dim, float *acc)
{
    vec factor = v_set1(scale);
    for (size_t i = 0; i < head_dim; i += LANES)
        v_store(acc + i, v_fma(v_load(acc + i), factor, v_load(value + i)));
}

static bool sees(range see) { return see.begin < see.end; }

/* Up to GROUP_ROWS rows over one tile. */
static void attend_group(panel keys, panel values, const range *see, size_t rows, const float *q,
                         sl_softmax *state, float *acc)
{
    float scale[GROUP_ROWS];
    _Alignas(64) float weights[GROUP_ROWS * SL_PAGE_TOKENS];
    _Alignas(64) float products[GROUP_ROWS * SL_HEAD_DIM_MAX];
    size_t head_dim = values.width;
    bool alike = true, any = false;
    for (size_t r = 0; r < rows; r++) {
        alike = alike && see[r].begin == see[0].begin && see[r].end == see[0].end;
        any = any || sees(see[r]);
    }
    if (!any) return;

    multiply(rows, q, head_dim, keys, (range){0, head_dim}, weights);
    for (size_t r = 0; r < rows; r++)
        if (sees(see[r])) scale[r] = weigh(weights + r * SL_PAGE_TOKENS, see[r], &state[r]);

    /* rows that see different slots go alone: one must not touch a value, which may be left over
     * from another sequence or not a number, because its neighbour sees it */
    for (size_t r = 0, n = alike ? rows : 1; r < rows; r += n)
        if (sees(see[r]))
            multiply(n, weights + r * SL_PAGE_TOKENS, SL_PAGE_TOKENS, values, see[r],
                     products + r * head_dim);
    for (size_t r = 0; r < rows; r++)
        if (sees(see[r])) gather(products + r * head_dim, scale[r], head_dim, acc + r * head_dim);
}

static void attend_tile(const sl_kv_tile *tile, panel keys, panel values, const float *q,
                        size_t n_rows, sl_softmax *state, float *acc)
{
    size_t head_dim = values.width;
    for (size_t row = 0; row < n_rows; row += GROUP_ROWS) {
        size_t rows = n_rows - row < GROUP_ROWS ? n_rows - row : GROUP_ROWS;
        range see[GROUP_ROWS];
        for (size_t r = 0; r < rows; r++) {
            sl_slots slots = sl_tile_visible(tile, row + r);
            see[r] = (range){slots.begin, slots.end};
        }
        attend_group(keys, values, see, rows, q + row * head_dim, state + row,
                     acc + row * head_dim);
    }
}

static panel widen(panel from, size_t height, float *to)
{
    for (size_t i = 0; i < height * from.width; i += LANES)
        v_store(to + i, panel_load(from, false, i, 0));
    return (panel){to, from.width, true, 0};
}

static void attend(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                   size_t head_dim, sl_softmax *state, float *acc)
{
    _Alignas(64) float widened[2][SL_HEAD_DIM_MAX * SL_PAGE_TOKENS];
    SL_ASSERT(head_dim % 16 == 0 && head_dim <= SL_HEAD_DIM_MAX);
    for (size_t t = 0; t < n_tiles; t++) {
        const void *page = tiles[t].page, *next = tiles[t + 1 < n_tiles ? t + 1 : t].page;
        ptrdiff_t ahead = (ptrdiff_t)((uintptr_t)next - (uintptr_t)page);
        panel keys = {sl_page_keys(page), SL_PAGE_TOKENS, false, ahead};
        panel values = {sl_page_values(page, head_dim), head_dim, false, ahead};
        if (n_rows >= WIDEN_ROWS) {
            keys = widen(keys, head_dim, widened[0]);
            values = widen(values, SL_PAGE_TOKENS, widened[1]);
        }
        attend_tile(&tiles[t], keys, values, q, n_rows, state, acc);
    }
}

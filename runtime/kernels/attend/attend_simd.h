/* runtime/kernels/attend/attend_simd.h - the attend of attend_ref.c over vectors of any width: the
 * body of attend_avx2.c and its wider kin, which say before including it what a `vec` is, its
 * LANES, the v_ operations, and the shapes that fit their registers:
 *   GROUP_ROWS query rows go together over GROUP_VECTORS vectors of columns; 3 rows (a decoded
 *   token's queries of one KV head, often) over TRIO_VECTORS, a single one over ROW_VECTORS.
 *
 * Both products of a tile, queries with keys and weights with values, are small dense ones: rows
 * of f32 times a panel of the page's numbers, widened exactly, whose rows are contiguous. A score
 * is one chain of fused multiply-adds over the head, an output one over the slots its row sees,
 * whatever rows share registers: that is contract 1 here. */
#include <math.h>
#include <stdbool.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

enum {
    VECTORS_MAX = SL_PAGE_TOKENS / LANES,
    LAST_VECTORS = 16 / LANES, /* panels are multiples of 16 columns wide */
};

/* What the numbers of a panel are. int8 has a scale for 32 rows of a column of keys, and for 32
 * columns of a row of values. */
typedef enum { F32, F16, BF16, Q8_KEYS, Q8_VALUES } form;

/* [..][width] */
typedef struct {
    const void *data;
    const uint16_t *scales; /* of int8, f16 */
    size_t width;
    form form;
    ptrdiff_t next; /* from a page to that of the next tile, in bytes */
} panel;

typedef struct {
    panel keys, values;
} panels;

typedef struct {
    size_t begin, end;
} range;

/* Of the next tile, at the start of each cache line: pages are read once, straight from memory, and
 * lie anywhere. Measured: 14 GB/s without, 40 with it, of 42 that two threads can read here. */
SL_ALWAYS_INLINE void fetch_ahead(panel b, const void *at, size_t bytes)
{
    if (bytes % 64 == 0)
        __builtin_prefetch((const void *)((uintptr_t)at + (uintptr_t)b.next), 0, 2);
}

/* The first tile has none before it. */
static void fetch_page(const void *page, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const uint8_t *)page + i, 0, 2);
}

/* Vector v of a row from `column` on, of a panel whose form is f. */
SL_ALWAYS_INLINE vec panel_load(panel b, form f, size_t row, size_t column, int v)
{
    column += (size_t)v * LANES;
    size_t i = row * b.width + column, first = (size_t)v * LANES;
    const uint16_t *halves = (const uint16_t *)b.data + i;
    const int8_t *bytes = (const int8_t *)b.data + i;
    switch (f) {
    case F32: return v_load((const float *)b.data + i);
    case F16: fetch_ahead(b, halves, 2 * first); return v_load_f16(halves);
    case BF16: fetch_ahead(b, halves, 2 * first); return v_load_bfloat(halves);
    case Q8_KEYS:
        fetch_ahead(b, bytes, first);
        return v_mul(v_load_int8(bytes), v_load_f16(b.scales + row / SL_BLOCK * b.width + column));
    case Q8_VALUES:
        fetch_ahead(b, bytes, first);
        return v_mul(v_load_int8(bytes), v_set1_half(b.scales[i / SL_BLOCK]));
    }
    return v_set1(0);
}

/* out[r][c] = sum_{i in inner} a[r][i] b[i][c], for `vectors` vectors of columns from `column`. */
SL_ALWAYS_INLINE void multiply_columns(int rows, int vectors, form f, const float *a,
                                       size_t a_stride, panel b, range inner, size_t column,
                                       float *out)
{
    vec sum[GROUP_ROWS][VECTORS_MAX];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = v_set1(0);
    for (size_t i = inner.begin; i < inner.end; i++) {
        vec x[VECTORS_MAX];
        for (int v = 0; v < vectors; v++) x[v] = panel_load(b, f, i, column, v);
        for (int r = 0; r < rows; r++) {
            vec factor = v_set1(a[(size_t)r * a_stride + i]);
            for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(factor, x[v], sum[r][v]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            v_store(out + (size_t)r * b.width + column + (size_t)v * LANES, sum[r][v]);
}

SL_ALWAYS_INLINE void multiply_rows(int rows, int vectors, form f, const float *a, size_t a_stride,
                                    panel b, range inner, float *out)
{
    size_t column = 0, step = (size_t)vectors * LANES;
    for (; column + step <= b.width; column += step)
        multiply_columns(rows, vectors, f, a, a_stride, b, inner, column, out);
    for (; column < b.width; column += 16)
        multiply_columns(rows, LAST_VECTORS, f, a, a_stride, b, inner, column, out);
}

SL_ALWAYS_INLINE void multiply_few(form f, size_t rows, const float *a, size_t a_stride, panel b,
                                   range inner, float *out)
{
    if (rows == 4) { /* so that the last does not wait for its own sums alone */
        multiply_rows(4, TRIO_VECTORS, f, a, a_stride, b, inner, out);
        return;
    }
    for (; rows >= 3; rows -= 3, a += 3 * a_stride, out += 3 * b.width)
        multiply_rows(3, TRIO_VECTORS, f, a, a_stride, b, inner, out);
    for (; rows > 0; rows--, a += a_stride, out += b.width)
        multiply_rows(1, ROW_VECTORS, f, a, a_stride, b, inner, out);
}

/* The same for any number of rows up to GROUP_ROWS. */
static void multiply(size_t rows, const float *a, size_t a_stride, panel b, range inner, float *out)
{
    if (rows == GROUP_ROWS && b.form == F32) {
        multiply_rows(GROUP_ROWS, GROUP_VECTORS, F32, a, a_stride, b, inner, out);
        return;
    }
    switch (b.form) {
    case F32: multiply_few(F32, rows, a, a_stride, b, inner, out); break;
    case F16: multiply_few(F16, rows, a, a_stride, b, inner, out); break;
    case BF16: multiply_few(BF16, rows, a, a_stride, b, inner, out); break;
    case Q8_KEYS: multiply_few(Q8_KEYS, rows, a, a_stride, b, inner, out); break;
    case Q8_VALUES: multiply_few(Q8_VALUES, rows, a, a_stride, b, inner, out); break;
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
static bool alike(range a, range b) { return a.begin == b.begin && a.end == b.end; }

/* Up to GROUP_ROWS rows over one tile. */
static void attend_group(panel keys, panel values, const range *see, size_t rows, const float *q,
                         sl_softmax *state, float *acc)
{
    float scale[GROUP_ROWS];
    _Alignas(64) float weights[GROUP_ROWS * SL_PAGE_TOKENS];
    _Alignas(64) float products[GROUP_ROWS * SL_HEAD_DIM_MAX];
    size_t head_dim = values.width;
    bool any = false;
    for (size_t r = 0; r < rows; r++) any = any || sees(see[r]);
    if (!any) return;

    multiply(rows, q, head_dim, keys, (range){0, head_dim}, weights);
    for (size_t r = 0; r < rows; r++)
        if (sees(see[r])) scale[r] = weigh(weights + r * SL_PAGE_TOKENS, see[r], &state[r]);

    /* only rows that see the same slots go together: one must not touch a value, which may be left
     * over from another sequence or not a number, because its neighbour sees it */
    for (size_t r = 0, n; r < rows; r += n) {
        for (n = 1; r + n < rows && alike(see[r], see[r + n]);) n++;
        if (sees(see[r]))
            multiply(n, weights + r * SL_PAGE_TOKENS, SL_PAGE_TOKENS, values, see[r],
                     products + r * head_dim);
    }
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

SL_ALWAYS_INLINE void widen_form(form f, panel from, size_t height, float *to)
{
    for (size_t row = 0; row < height; row++)
        for (size_t column = 0; column < from.width; column += 16, to += 16)
            for (int v = 0; v < LAST_VECTORS; v++)
                v_store(to + (size_t)v * LANES, panel_load(from, f, row, column, v));
}

/* Whether so many rows are done sooner when a tile is widened to f32 for all of them first. Three
 * of q8_0, a decoded token's, would take 1.4 times as long. */
static bool shares_widened(sl_kv_type type, size_t n_rows)
{
    return n_rows >= (type == SL_KV_Q8_0 ? 4 : 12);
}

static panel widen(panel from, size_t height, float *to)
{
    switch (from.form) {
    case F32: return from;
    case F16: widen_form(F16, from, height, to); break;
    case BF16: widen_form(BF16, from, height, to); break;
    case Q8_KEYS: widen_form(Q8_KEYS, from, height, to); break;
    case Q8_VALUES: widen_form(Q8_VALUES, from, height, to); break;
    }
    return (panel){.data = to, .width = from.width, .form = F32};
}

static panels panels_of(sl_kv_type type, const void *page, size_t head_dim, ptrdiff_t next)
{
    form halves = type == SL_KV_BF16 ? BF16 : F16;
    panel keys = {page, NULL, SL_PAGE_TOKENS, halves, next};
    panel values = {sl_page_values(page, head_dim), NULL, head_dim, halves, next};
    if (type == SL_KV_Q8_0) {
        const uint8_t *bytes = page;
        sl_q8_page at = sl_q8_page_of(head_dim);
        keys.form = Q8_KEYS;
        keys.scales = (const void *)(bytes + at.key_scales);
        values.form = Q8_VALUES;
        values.data = bytes + at.values;
        values.scales = (const void *)(bytes + at.value_scales);
    }
    return (panels){keys, values};
}

static void attend(sl_kv_type type, const sl_kv_tile *tiles, size_t n_tiles, const float *q,
                   size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    _Alignas(64) float widened[2][SL_HEAD_DIM_MAX * SL_PAGE_TOKENS];
    SL_ASSERT(head_dim % 16 == 0 && head_dim <= SL_HEAD_DIM_MAX);
    if (n_tiles > 0 && !shares_widened(type, n_rows))
        fetch_page(tiles[0].page, 2 * head_dim * SL_PAGE_TOKENS * (type == SL_KV_Q8_0 ? 1 : 2));
    for (size_t t = 0; t < n_tiles; t++) {
        const void *page = tiles[t].page, *next = tiles[t + 1 < n_tiles ? t + 1 : t].page;
        ptrdiff_t ahead = (ptrdiff_t)((uintptr_t)next - (uintptr_t)page);
        panels p = panels_of(type, page, head_dim, ahead);
        if (shares_widened(type, n_rows)) {
            p.keys = widen(p.keys, head_dim, widened[0]);
            p.values = widen(p.values, SL_PAGE_TOKENS, widened[1]);
        }
        attend_tile(&tiles[t], p.keys, p.values, q, n_rows, state, acc);
    }
}

static void page_scores(sl_kv_type type, const void *page, const float *q, size_t n_rows,
                        size_t head_dim, float *out)
{
    _Alignas(64) float widened[SL_HEAD_DIM_MAX * SL_PAGE_TOKENS];
    SL_ASSERT(head_dim % 16 == 0 && head_dim <= SL_HEAD_DIM_MAX);
    panel keys = panels_of(type, page, head_dim, 0).keys;
    if (shares_widened(type, n_rows)) keys = widen(keys, head_dim, widened);
    for (size_t row = 0; row < n_rows; row += GROUP_ROWS)
        multiply(n_rows - row < GROUP_ROWS ? n_rows - row : GROUP_ROWS, q + row * head_dim,
                 head_dim, keys, (range){0, head_dim}, out + row * SL_PAGE_TOKENS);
}

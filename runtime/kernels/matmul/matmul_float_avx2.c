/* runtime/kernels/matmul/matmul_float_avx2.c - f32, f16 and bf16 weights. An element's sum runs in
 * 8 lanes, lane l over i = l, l + 8, ..., and ends in one fixed addition of the lanes. Tiles of
 * rows and columns only share loads. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/math_avx2.h"
#include "runtime/kernels/matmul/weight_form.h"

enum { LANES = 8, TILE_ROWS = 4, TILE_COLUMNS = 2 };

SL_ALWAYS_INLINE __m256 load_weights(const void *w, uint32_t type, size_t i)
{
    if (type == SL_TYPE_F32) return _mm256_loadu_ps((const float *)w + i);
    __m128i bits = _mm_loadu_si128((const __m128i *)((const uint16_t *)w + i));
    if (type == SL_TYPE_F16) return _mm256_cvtph_ps(bits);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)); /* bf16 */
}

/* The last n < 8, zeros behind them. */
static __m256 load_last_weights(const void *w, uint32_t type, size_t i, size_t n)
{
    if (type == SL_TYPE_F32) return _mm256_maskload_ps((const float *)w + i, sl_tail_mask_avx2(n));
    uint16_t last[LANES] = {0};
    memcpy(last, (const uint16_t *)w + i, n * sizeof *last);
    return load_weights(last, type, 0);
}

SL_ALWAYS_INLINE void multiply_tile(int rows, int columns, uint32_t type, const sl_matrix *w,
                                    const float *x, size_t column, bool add, float *out,
                                    size_t out_stride)
{
    size_t n = w->n_in, i = 0;
    const void *weights[TILE_COLUMNS];
    __m256 sum[TILE_ROWS][TILE_COLUMNS], last_w[TILE_COLUMNS];
    for (int c = 0; c < columns; c++) {
        weights[c] = sl_matrix_row_data(w, column + (size_t)c);
        for (int r = 0; r < rows; r++) sum[r][c] = _mm256_setzero_ps();
    }
    for (; i + LANES <= n; i += LANES) {
        __m256 v[TILE_COLUMNS];
        for (int c = 0; c < columns; c++) v[c] = load_weights(weights[c], type, i);
        for (int r = 0; r < rows; r++) {
            __m256 in = _mm256_loadu_ps(x + (size_t)r * n + i);
            for (int c = 0; c < columns; c++) sum[r][c] = _mm256_fmadd_ps(v[c], in, sum[r][c]);
        }
    }
    for (int c = 0; c < columns; c++) last_w[c] = load_last_weights(weights[c], type, i, n - i);
    for (int r = 0; r < rows; r++) {
        __m256 in = _mm256_maskload_ps(x + (size_t)r * n + i, sl_tail_mask_avx2(n - i));
        for (int c = 0; c < columns; c++) {
            float *at = out + (size_t)r * out_stride + c;
            float product = sl_sum_avx2(_mm256_fmadd_ps(last_w[c], in, sum[r][c]));
            *at = add ? *at + product : product;
        }
    }
}

SL_ALWAYS_INLINE void multiply_rows(int rows, uint32_t type, const sl_matrix *w, const float *x,
                                    size_t begin, size_t end, bool add, float *out,
                                    size_t out_stride)
{
    size_t column = begin;
    for (; column + TILE_COLUMNS <= end; column += TILE_COLUMNS)
        multiply_tile(rows, TILE_COLUMNS, type, w, x, column, add, out + column - begin,
                      out_stride);
    for (; column < end; column++)
        multiply_tile(rows, 1, type, w, x, column, add, out + column - begin, out_stride);
}

SL_ALWAYS_INLINE void multiply(uint32_t type, const sl_matrix *w, const sl_activations *a,
                               size_t begin, size_t end, bool add, float *out, size_t out_stride)
{
    size_t row = 0;
    for (; row + TILE_ROWS <= a->n_rows; row += TILE_ROWS)
        multiply_rows(TILE_ROWS, type, w, a->x + row * a->width, begin, end, add,
                      out + row * out_stride, out_stride);
    for (; row < a->n_rows; row++)
        multiply_rows(1, type, w, a->x + row * a->width, begin, end, add, out + row * out_stride,
                      out_stride);
}

#define DEFINE(name)                                                                        \
    void sl_matmul_##name##_avx2(const sl_matrix *w, const sl_activations *a, size_t begin, \
                                 size_t end, bool add, float *out, size_t out_stride)       \
    {                                                                                       \
        SL_ASSERT(w->type == SL_TYPE_##name && a->width == w->n_in && end <= w->n_out);     \
        multiply(SL_TYPE_##name, w, a, begin, end, add, out, out_stride);                   \
    }
SL_FOR_FLOAT_TYPES(DEFINE)

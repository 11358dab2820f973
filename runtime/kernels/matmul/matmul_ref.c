/* runtime/kernels/matmul/matmul_ref.c - out[t][j] = sum_i w[j][i] x[t][i], one element at a time.
 * With w = scale (q_w - offset) + minimum and x = d_a q_a in blocks B of inputs:
 *   out = sum_B (scale d_a) sum_{i in B} q_w q_a + (minimum - offset scale) d_a sum_{i in B} q_a
 * where the inner sums are exact integers. Where 16 inputs share a scale it is d s with an integer
 * s: the s and offsets of a block's halves are in its integer sums, and so are the integers of
 * their minimums. Sums over blocks, and over i of float weights, are f32 in ascending order. */
#include "runtime/base/log.h"
#include "runtime/kernels/matmul/panel.h"

/* ---- rows of numbers: one element ---- */

static float dot_f32(const float *w, const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += w[i] * x[i];
    return sum;
}

static float dot_f16(const uint16_t *w, const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += sl_f16_to_f32(w[i]) * x[i];
    return sum;
}

static float dot_bf16(const uint16_t *w, const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += sl_bf16_to_f32(w[i]) * x[i];
    return sum;
}

/* ---- rows of codes ---- */

static int32_t dot_codes(sl_weight_form form, const sl_super_block *super, size_t first, size_t n,
                         const int8_t *q)
{
    int32_t dot = 0;
    for (size_t i = first; i < first + n; i++) dot += sl_weight_code(form, super, i) * q[i];
    return dot;
}

/* Block `block` of a, which begins at `first` of the super-block; q: of the super-block. */
static float add_block(sl_weight_form form, const sl_super_block *super, size_t first,
                       const sl_activations *a, const int8_t *q, size_t block, float out)
{
    float scale, minimum;
    sl_weight_scale(form, super, first / (SL_BLOCK / 2), &scale, &minimum);
    if (form.offset > 0) minimum = (float)-form.offset * scale;
    out += scale * a->scale[block] * (float)dot_codes(form, super, first, SL_BLOCK, q);
    if (sl_form_has_minimum(form) || form.offset > 0) out += minimum * a->sum[block];
    return out;
}

/* The same with two sub-blocks of 16. */
static float add_block_of_16(sl_weight_form form, const sl_super_block *super, size_t first,
                             const sl_activations *a, const int8_t *q, size_t block, float out)
{
    int32_t products = 0, minimums = 0;
    for (size_t sub = 0; sub < 2; sub++) {
        const size_t n = SL_BLOCK / 2, i = first + sub * n;
        sl_integer_scale by = sl_weight_integer_scale(form, super, i / n);
        products += by.scale * dot_codes(form, super, i, n, q);
        minimums += by.minimum * a->sum_16[2 * block + sub];
    }
    float d = sl_f16_to_f32(super->f16[0]) * a->scale[block];
    if (form.offset > 0) return out + d * (float)(products - minimums);
    out += d * (float)products;
    return out - sl_f16_to_f32(super->f16[1]) * a->scale[block] * (float)minimums;
}

/* A super-block of w with the row of a that begins at input `at` of all rows' inputs. */
static float add_super_block(sl_weight_form form, const sl_super_block *super,
                             const sl_activations *a, size_t at, float out)
{
    for (size_t first = 0; first < form.super_block; first += SL_BLOCK) {
        size_t block = (at + first) / SL_BLOCK;
        out = sl_form_sub_block(form) == SL_BLOCK
                  ? add_block(form, super, first, a, a->q + at, block, out)
                  : add_block_of_16(form, super, first, a, a->q + at, block, out);
    }
    return out;
}

static float dot_quantized(const sl_matrix *w, size_t j, const sl_activations *a, size_t t)
{
    sl_weight_form form = sl_weight_form_of(w->type);
    size_t n_super_blocks = sl_matrix_n_super_blocks(w);
    float out = 0;
    for (size_t b = 0; b < n_super_blocks; b++) {
        sl_super_block super;
        sl_matrix_super_block(w, j, b, &super);
        out = add_super_block(form, &super, a, t * a->width + b * form.super_block, out);
    }
    return out;
}

static float dot(const sl_matrix *w, size_t j, const sl_activations *a, size_t t)
{
    const void *row = sl_matrix_row_data(w, j);
    const float *x = a->x + t * a->width;
    switch (w->type) {
    case SL_TYPE_F32: return dot_f32(row, x, a->width);
    case SL_TYPE_F16: return dot_f16(row, x, a->width);
    case SL_TYPE_BF16: return dot_bf16(row, x, a->width);
    default: return dot_quantized(w, j, a, t);
    }
}

static void multiply(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                     bool add, float *out, size_t out_stride)
{
    SL_ASSERT(a->width == w->n_in && out_end <= w->n_out);
    for (size_t t = 0; t < a->n_rows; t++)
        for (size_t j = out_begin; j < out_end; j++) {
            float *at = out + t * out_stride + j - out_begin, product = dot(w, j, a, t);
            *at = add ? *at + product : product;
        }
}

#define ENTRY(name) [SL_TYPE_##name] = multiply,
sl_matmul *const sl_matmul_ref[SL_TYPES] = {SL_FOR_QUANTIZED_TYPES(ENTRY)
                                                SL_FOR_FLOAT_TYPES(ENTRY)};

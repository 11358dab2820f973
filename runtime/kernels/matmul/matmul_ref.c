/* runtime/kernels/matmul/matmul_ref.c - out[t][j] = sum_i w[j][i] x[t][i], one element at a time.
 * With w = scale (q_w - offset) + minimum and x = d_a q_a in sub-blocks G of inputs:
 *   out = sum_G (scale d_a) sum_{i in G} q_w q_a + (minimum - offset scale) d_a sum_{i in G} q_a
 * where the inner sums are exact integers. Sums over sub-blocks, and over i of float weights, are
 * f32 in ascending order. */
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

/* A super-block of w with the row of a that begins at input `at` of all rows' inputs. */
static float add_super_block(sl_weight_form form, const sl_super_block *super,
                             const sl_activations *a, size_t at, float out)
{
    size_t sub_block = sl_form_sub_block(form);
    const float *sums = sub_block == SL_BLOCK ? a->sum : a->sum_16;
    bool has_minimum = sl_form_has_minimum(form) || form.offset > 0;
    for (size_t first = 0; first < form.super_block; first += sub_block) {
        int32_t dot = 0;
        float scale, minimum;
        sl_weight_scale(form, super, first / (SL_BLOCK / 2), &scale, &minimum);
        if (form.offset > 0) minimum = (float)-form.offset * scale;
        for (size_t i = first; i < first + sub_block; i++)
            dot += sl_weight_code(form, super, i) * a->q[at + i];
        out += scale * a->scale[(at + first) / SL_BLOCK] * (float)dot;
        if (has_minimum) out += minimum * sums[(at + first) / sub_block];
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

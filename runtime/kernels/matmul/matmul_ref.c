/* runtime/kernels/matmul/matmul_ref.c - out[t][j] = sum_i w[j][i] x[t][i], one element at a time.
 * With w = d_w q_w (+ m_w) and x = d_a q_a in blocks B of 32:
 *   out = sum_B (d_w d_a) sum_{i in B} q_w q_a (+ m_w d_a sum_{i in B} q_a)
 * where the inner sums are exact integers; of q4_0, d (q - 8), m is -8 d. Sums over blocks, and
 * over i of float weights, are f32 in ascending order. */
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

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

static int32_t dot_nibbles(const uint8_t w[SL_BLOCK / 2], const int8_t *q)
{
    int32_t dot = 0;
    for (size_t i = 0; i < SL_BLOCK / 2; i++)
        dot += (w[i] & 15) * q[i] + (w[i] >> 4) * q[i + SL_BLOCK / 2];
    return dot;
}

static float dot_q4_0(const sl_matrix *w, size_t j, const int8_t *q, const float *scale,
                      const float *sum)
{
    float out = 0;
    for (size_t b = 0; b < w->n_in / SL_BLOCK; b++, q += SL_BLOCK) {
        sl_block_q4_0 block;
        sl_matrix_block(w, j, b, &block);
        float d = sl_f16_to_f32(block.d);
        out += d * scale[b] * (float)dot_nibbles(block.q, q);
        out += -8 * d * sum[b];
    }
    return out;
}

static float dot_q4_1(const sl_matrix *w, size_t j, const int8_t *q, const float *scale,
                      const float *sum)
{
    float out = 0;
    for (size_t b = 0; b < w->n_in / SL_BLOCK; b++, q += SL_BLOCK) {
        sl_block_q4_1 block;
        sl_matrix_block(w, j, b, &block);
        out += sl_f16_to_f32(block.d) * scale[b] * (float)dot_nibbles(block.q, q);
        out += sl_f16_to_f32(block.m) * sum[b];
    }
    return out;
}

static float dot_q8_0(const sl_matrix *w, size_t j, const int8_t *q, const float *scale)
{
    float out = 0;
    for (size_t b = 0; b < w->n_in / SL_BLOCK; b++, q += SL_BLOCK) {
        sl_block_q8_0 block;
        sl_matrix_block(w, j, b, &block);
        int32_t dot = 0;
        for (size_t i = 0; i < SL_BLOCK; i++) dot += block.q[i] * q[i];
        out += sl_f16_to_f32(block.d) * scale[b] * (float)dot;
    }
    return out;
}

static float dot(const sl_matrix *w, size_t j, const sl_activations *a, size_t t)
{
    const void *row = sl_matrix_row_data(w, j);
    size_t at = t * a->width, block = at / SL_BLOCK;
    switch (w->type) {
    case SL_TYPE_F32: return dot_f32(row, a->x + at, a->width);
    case SL_TYPE_F16: return dot_f16(row, a->x + at, a->width);
    case SL_TYPE_BF16: return dot_bf16(row, a->x + at, a->width);
    case SL_TYPE_Q4_0: return dot_q4_0(w, j, a->q + at, a->scale + block, a->sum + block);
    case SL_TYPE_Q4_1: return dot_q4_1(w, j, a->q + at, a->scale + block, a->sum + block);
    case SL_TYPE_Q8_0: return dot_q8_0(w, j, a->q + at, a->scale + block);
    default: SL_ASSERT(!"a type without kernels"); return 0;
    }
}

void sl_matmul_ref(const sl_matrix *w, const sl_activations *a, size_t out_begin, size_t out_end,
                   bool add, float *out, size_t out_stride)
{
    SL_ASSERT(a->width == w->n_in && out_end <= w->n_out);
    for (size_t t = 0; t < a->n_rows; t++)
        for (size_t j = out_begin; j < out_end; j++) {
            float *at = out + t * out_stride + j - out_begin, product = dot(w, j, a, t);
            *at = add ? *at + product : product;
        }
}

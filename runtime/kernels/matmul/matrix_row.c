/* runtime/kernels/matmul/matrix_row.c - one row of weights as f32: how a token enters the model. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

static void widen_nibbles(const uint8_t q[SL_BLOCK / 2], float d, float m, float *out)
{
    for (size_t i = 0; i < SL_BLOCK / 2; i++) {
        out[i] = d * (float)(q[i] & 15) + m;
        out[i + SL_BLOCK / 2] = d * (float)(q[i] >> 4) + m;
    }
}

static void widen_q4_0(const sl_block_q4_0 *block, float *out)
{
    float d = sl_f16_to_f32(block->d);
    widen_nibbles(block->q, d, -8 * d, out);
}

static void widen_q4_1(const sl_block_q4_1 *block, float *out)
{
    widen_nibbles(block->q, sl_f16_to_f32(block->d), sl_f16_to_f32(block->m), out);
}

static void widen_q8_0(const sl_block_q8_0 *block, float *out)
{
    float d = sl_f16_to_f32(block->d);
    for (size_t i = 0; i < SL_BLOCK; i++) out[i] = d * (float)block->q[i];
}

void sl_matrix_row(const sl_matrix *w, size_t row, float *out)
{
    SL_ASSERT(row < w->n_out);
    const void *data = sl_matrix_row_data(w, row);
    switch (w->type) {
    case SL_TYPE_F32: memcpy(out, data, w->n_in * sizeof *out); return;
    case SL_TYPE_F16:
        for (size_t i = 0; i < w->n_in; i++) out[i] = sl_f16_to_f32(((const uint16_t *)data)[i]);
        return;
    case SL_TYPE_BF16:
        for (size_t i = 0; i < w->n_in; i++) out[i] = sl_bf16_to_f32(((const uint16_t *)data)[i]);
        return;
    case SL_TYPE_Q4_0:
        for (size_t b = 0; b < w->n_in / SL_BLOCK; b++) {
            sl_block_q4_0 block;
            sl_matrix_block(w, row, b, &block);
            widen_q4_0(&block, out + b * SL_BLOCK);
        }
        return;
    case SL_TYPE_Q4_1:
        for (size_t b = 0; b < w->n_in / SL_BLOCK; b++) {
            sl_block_q4_1 block;
            sl_matrix_block(w, row, b, &block);
            widen_q4_1(&block, out + b * SL_BLOCK);
        }
        return;
    case SL_TYPE_Q8_0:
        for (size_t b = 0; b < w->n_in / SL_BLOCK; b++) {
            sl_block_q8_0 block;
            sl_matrix_block(w, row, b, &block);
            widen_q8_0(&block, out + b * SL_BLOCK);
        }
        return;
    default: SL_ASSERT(!"a type without kernels");
    }
}

/* runtime/kernels/matmul/matrix_row.c - one row of weights as f32: how a token enters the model. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/matmul/panel.h"

static void widen_super_block(sl_weight_form form, const sl_super_block *super, float *out)
{
    enum { SUB_BLOCK = SL_BLOCK / 2 }; /* inputs whose scale is surely one */
    bool has_minimum = sl_form_has_minimum(form);
    for (size_t first = 0; first < form.super_block; first += SUB_BLOCK) {
        float scale, minimum;
        sl_weight_scale(form, super, first / SUB_BLOCK, &scale, &minimum);
        for (size_t i = first; i < first + SUB_BLOCK; i++) {
            out[i] = scale * (float)(sl_weight_code(form, super, i) - form.offset);
            if (has_minimum) out[i] += minimum;
        }
    }
}

void sl_matrix_row(const sl_matrix *w, size_t row, float *out)
{
    sl_weight_form form = sl_weight_form_of(w->type);
    const void *data = sl_matrix_row_data(w, row);
    SL_ASSERT(row < w->n_out);
    switch (w->type) {
    case SL_TYPE_F32: memcpy(out, data, w->n_in * sizeof *out); return;
    case SL_TYPE_F16:
        for (size_t i = 0; i < w->n_in; i++) out[i] = sl_f16_to_f32(((const uint16_t *)data)[i]);
        return;
    case SL_TYPE_BF16:
        for (size_t i = 0; i < w->n_in; i++) out[i] = sl_bf16_to_f32(((const uint16_t *)data)[i]);
        return;
    default:
        for (size_t b = 0; b < sl_matrix_n_super_blocks(w); b++) {
            sl_super_block super;
            sl_matrix_super_block(w, row, b, &super);
            widen_super_block(form, &super, out + b * form.super_block);
        }
    }
}

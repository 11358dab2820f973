/* runtime/kernels/matmul/pack.c - see pack.h. */
#include "runtime/kernels/matmul/pack.h"

#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/matmul/panel.h"

size_t sl_n_panels(const sl_matrix *w) { return (w->n_out + SL_PANEL - 1) / SL_PANEL; }

size_t sl_packed_bytes(const sl_matrix *w)
{
    return sl_type_is_float(w->type) ? 0 : sl_n_panels(w) * sl_panel_bytes(w);
}

void sl_pack(const sl_matrix *w, size_t begin, size_t end, void *out)
{
    sl_weight_form form = sl_weight_form_of(w->type);
    size_t n_super_blocks = sl_matrix_n_super_blocks(w),
           super_bytes = w->row_bytes / n_super_blocks,
           step = sl_form_super_block_bytes(form) * SL_PANEL;
    SL_ASSERT(!w->packed && end <= sl_n_panels(w) && w->row_bytes == n_super_blocks * super_bytes);
    for (size_t panel = begin; panel < end; panel++) {
        uint8_t *to = (uint8_t *)out + panel * n_super_blocks * step;
        size_t first = panel * SL_PANEL,
               n = w->n_out - first < SL_PANEL ? w->n_out - first : SL_PANEL;
        if (n < SL_PANEL) memset(to, 0, n_super_blocks * step);
        for (size_t b = 0; b < n_super_blocks; b++)
            for (size_t row = 0; row < n; row++) {
                sl_super_block super;
                const uint8_t *from = sl_matrix_row_data(w, first + row);
                sl_weight_split(w->type, from + b * super_bytes, &super);
                sl_panel_put(w->type, &super, row, to + b * step);
            }
    }
}

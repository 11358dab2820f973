/* runtime/kernels/matmul/pack.c - see pack.h. */
#include "runtime/kernels/matmul/pack.h"

#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

size_t sl_n_panels(const sl_matrix *w) { return (w->n_out + SL_PANEL - 1) / SL_PANEL; }

size_t sl_packed_bytes(const sl_matrix *w)
{
    return sl_type_is_float(w->type) ? 0 : sl_n_panels(w) * SL_PANEL * w->row_bytes;
}

/* A block of a row: in the file its halves, scale and minimum, come first. */
static void put_block(const sl_panel_form *form, const uint8_t *block, size_t row, uint8_t *out)
{
    size_t halves = form->quads / SL_PANEL;
    for (size_t i = 0; i < halves; i += sizeof(uint16_t))
        memcpy(out + i * SL_PANEL + row * sizeof(uint16_t), block + i, sizeof(uint16_t));
    for (size_t i = 0; i < form->n_quads; i++)
        memcpy(out + form->quads + (i * SL_PANEL + row) * 4, block + halves + 4 * i, 4);
}

void sl_pack(const sl_matrix *w, size_t begin, size_t end, void *out)
{
    sl_panel_form form = sl_panel_form_of(w->type);
    size_t n_blocks = w->n_in / SL_BLOCK, block_bytes = form.bytes / SL_PANEL;
    SL_ASSERT(!w->packed && end <= sl_n_panels(w) && w->row_bytes == n_blocks * block_bytes);
    for (size_t panel = begin; panel < end; panel++) {
        uint8_t *to = (uint8_t *)out + panel * n_blocks * form.bytes;
        size_t first = panel * SL_PANEL,
               n = w->n_out - first < SL_PANEL ? w->n_out - first : SL_PANEL;
        if (n < SL_PANEL) memset(to, 0, n_blocks * form.bytes);
        for (size_t b = 0; b < n_blocks; b++)
            for (size_t row = 0; row < n; row++)
                put_block(&form,
                          (const uint8_t *)sl_matrix_row_data(w, first + row) + b * block_bytes,
                          row, to + b * form.bytes);
    }
}

void sl_matrix_block(const sl_matrix *w, size_t row, size_t b, void *out)
{
    sl_panel_form form = sl_panel_form_of(w->type);
    size_t block_bytes = form.bytes / SL_PANEL, halves = form.quads / SL_PANEL, r = row % SL_PANEL;
    uint8_t *block = out;
    if (!w->packed) {
        memcpy(block, (const uint8_t *)sl_matrix_row_data(w, row) + b * block_bytes, block_bytes);
        return;
    }
    const uint8_t *from = (const uint8_t *)w->data + row / SL_PANEL * SL_PANEL * w->row_bytes +
                          b * form.bytes;
    for (size_t i = 0; i < halves; i += sizeof(uint16_t))
        memcpy(block + i, from + i * SL_PANEL + r * sizeof(uint16_t), sizeof(uint16_t));
    for (size_t i = 0; i < form.n_quads; i++)
        memcpy(block + halves + 4 * i, from + form.quads + (i * SL_PANEL + r) * 4, 4);
}

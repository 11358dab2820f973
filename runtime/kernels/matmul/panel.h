/* runtime/kernels/matmul/panel.h - super-blocks of rows in and out of panels (pack.h says how they
 * lie there). For the files of this folder. */
#ifndef SL_PANEL_H
#define SL_PANEL_H

#include "runtime/kernels/matmul/weight_form.h"

/* Super-blocks of a row, and bytes of a panel, of a matrix of codes. */
size_t sl_matrix_n_super_blocks(const sl_matrix *w);
size_t sl_panel_bytes(const sl_matrix *w);
/* Write a super-block of row `row` of a panel; panel: where that of all its rows is. */
void sl_panel_put(uint32_t type, const sl_super_block *super, size_t row, uint8_t *panel);
/* Super-block b of a row of w, packed or not. */
void sl_matrix_super_block(const sl_matrix *w, size_t row, size_t b, sl_super_block *out);

#endif

/* runtime/kernels/matmul/pack.h - quantized weights in the order that kernels read them.
 *
 * A panel is SL_PANEL rows of a matrix (16 outputs), the last one filled up with zeros. It holds
 * block after block of SL_BLOCK inputs, of all its rows together:
 *   f16 scale[16]; of q4_1 f16 minimum[16]; then quads: uint8 quad[..][16][4], where quad i has
 * four
 *   neighbouring numbers of every row, so that a vector over the rows is loaded at once.
 * Of q8_0 quad i has elements 4i .. 4i + 3, of q4_0 and q4_1 those in its low nibbles, and elements
 * 16 + 4i .. 16 + 4i + 3 in the high ones. A panel takes the bytes that its rows take in the file.
 * Float weights stay as they are. */
#ifndef SL_PACK_H
#define SL_PACK_H

#include "runtime/kernels/kernels.h"

/* Bytes of the packed matrix; 0: its type is not packed. */
size_t sl_packed_bytes(const sl_matrix *w);
/* Panels of a matrix. */
size_t sl_n_panels(const sl_matrix *w);
/* Write panels [begin, end) of w, which is in rows, to their places in out, the whole packed
 * matrix. */
void sl_pack(const sl_matrix *w, size_t begin, size_t end, void *out);

#endif

/* runtime/kernels/matmul/pack.h - quantized weights in the order that kernels read them.
 *
 * A panel is SL_PANEL rows of a matrix (16 outputs), the last one filled up with zeros. It holds
 * super-block after super-block, of all its rows together (weight_form.h says how many of what):
 *   uint16 f16[..][16]: scales, then minimums;
 *   then of each SL_BLOCK inputs: uint8 small[..][16]: small scales;
 *   and planes of their codes' bits, the low ones first.
 * A plane of k bits is uint8 quad[k][16][4], so that a vector over the rows is loaded at once. Its
 * quad q has, at bits k s of its bytes, those of the four inputs from 4 (q + k s) on: of 4 bits,
 * the low nibbles are inputs 0 .. 15 and the high ones 16 .. 31. A panel takes the bytes that its
 * rows take in the file, at most 1.04 times. Float weights stay as they are. */
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

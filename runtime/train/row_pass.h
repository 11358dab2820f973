/* runtime/train/row_pass.h - backward of what a layer does to single rows: norms, gated units and
 * rotation. Forward they are the kernels' (runtime/kernels/kernels.h, rows/rope.h); nothing is
 * learnt in them, so gradients are those of what goes in. */
#ifndef SL_ROW_PASS_H
#define SL_ROW_PASS_H

#include <stddef.h>

#include "runtime/model/shape.h"

/* d_x = keep d_x + the gradient of y = gain x / sqrt(mean x^2 + eps), from d_y. All [width]; with
 * keep 0, d_x may be d_y, and need not be set. */
void sl_norm_backward(const float *x, const float *gain, size_t width, float eps, float keep,
                      const float *d_y, float *d_x);

/* d_gate and d_up of out[i] = act(gate[i]) up[i], from d_out. All [n]; d_gate may be gate or
 * d_out, d_up may be up. */
void sl_glu_backward(sl_activation activation, const float *gate, const float *up,
                     const float *d_out, size_t n, float *d_gate, float *d_up);

/* Angles [dim] with which sl_rope_apply is its own gradient: heads turn back, magnitudes stay. */
void sl_rope_angles_back(const float *cos_sin, size_t dim, float *back_out);

#endif

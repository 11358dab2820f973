/* runtime/stage/layer.h - one transformer layer over the rows of a frame (Touvron et al. 2023,
 * arXiv:2302.13971): x += Wo attention(norm(x)); x += Wdown glu(norm(x)). The layer's weights and
 * its kind (runtime/model/shape.h) say which steps there are between. */
#ifndef SL_LAYER_H
#define SL_LAYER_H

#include "runtime/stage/layer_context.h"

/* Both are called by all threads of the team, and end with a barrier. What layers share of a frame,
 * the angles of its rows: once, before its layers. */
void sl_layer_begin_frame(sl_layer_context *context, sl_member me, const sl_frame *frame);
/* Layer `index` of this stage; frame->hidden [n_rows][width] in place. */
void sl_layer_forward(sl_layer_context *context, sl_member me, uint32_t index, sl_frame *frame);

#endif

/* runtime/stage/attention.h - the attention of one layer over a frame's spans: who leaves the
 * window and is kept, then every query against what it may see. */
#ifndef SL_ATTENTION_H
#define SL_ATTENTION_H

#include "runtime/stage/layer_context.h"

/* From q, k, v of all rows (in c->shared, not yet rotated) to shared.attended, quantized too. By
 * all threads of the team; ends with a barrier. */
void sl_attention_run(sl_layer_context *c, sl_member me, sl_frame *frame, uint32_t layer);

#endif

/* runtime/stage/attention.h - the attention of one layer over a frame's spans: who leaves the window
 * and is kept, then every query against what it may see. */
#ifndef SL_ATTENTION_H
#define SL_ATTENTION_H

#include "runtime/stage/layer.h"

/* From q, k, v of all rows (in c->shared, not yet rotated) to shared.attended, quantized too. By all
 * threads of the team; ends with a barrier. */
void sl_attention_run(sl_layer_context *c, sl_member me, sl_frame *frame, uint32_t layer);

/* Query heads of one KV head. */
uint32_t sl_attention_group(const sl_model_shape *shape);
/* Query tokens of one block: SL_QUERY_ROWS rows, or one token's group if that is more. */
uint32_t sl_attention_block_tokens(const sl_model_shape *shape);
/* Queries of one KV head's group for rows [row, row + n), scaled, as [n * group][head_dim]. */
void sl_attention_queries(const sl_layer_context *c, uint32_t head, size_t row, size_t n,
                          float *out);
/* Where softmax of a prompt row ended, [group]; kept for prompt-end policies only. */
sl_softmax *sl_attention_row_state(const sl_layer_context *c, uint32_t head, size_t row);

#endif

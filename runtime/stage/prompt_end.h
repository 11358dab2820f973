/* runtime/stage/prompt_end.h - prompt-end policies at work: attention that prompt tokens receive is
 * added up as the prompt is read; when all of it has been, each head retains its best tokens. */
#ifndef SL_PROMPT_END_H
#define SL_PROMPT_END_H

#include "runtime/stage/layer_context.h"

/* After a prompt span has been attended to in one layer. By all threads of the team; ends with a
 * barrier. */
void sl_prompt_end_after(sl_layer_context *context, sl_member me, sl_frame *frame,
                         const sl_span *span, uint32_t layer);

#endif

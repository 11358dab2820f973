/* runtime/model/transformer_keys.h - the keys that all architectures have in common, in llama.cpp's
 * meaning, each within bounds that keep later arithmetic from overflow. A key that changes what the
 * model says, and that would be ignored, is an error. Knows no architecture by name. */
#ifndef SL_TRANSFORMER_KEYS_H
#define SL_TRANSFORMER_KEYS_H

#include "runtime/model/model_keys.h"
#include "runtime/model/shape.h"

/* All of the shape but vocab and tied, as a Llama has it: every layer of one kind, with rope; scales
 * and activation are the common ones. Statuses as those of sl_architecture's read_shape. */
sl_status sl_transformer_keys_read(const sl_model_keys *keys, sl_rope_pairing pairing,
                                   sl_model_shape *shape_out);

#endif

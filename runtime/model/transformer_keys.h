/* runtime/model/transformer_keys.h - the keys that all architectures have in common, in llama.cpp's
 * meaning, each within bounds that keep later arithmetic from overflow. A key that changes what the
 * model says, and that would be ignored, is an error. Knows no architecture by name. */
#ifndef SL_TRANSFORMER_KEYS_H
#define SL_TRANSFORMER_KEYS_H

#include "runtime/model/architecture.h"
#include "runtime/model/shape.h"

/* A read_shape (architecture.h) that gives what a Llama has: every layer of one kind, with rope;
 * scales and activation are the common ones. */
sl_status sl_transformer_keys_read(const sl_gguf *gguf, const sl_architecture *architecture,
                                   sl_model_shape *shape_out);

#endif

/* runtime/model/shape.h - the numbers of a model of the `llama` architecture, from its file's
 * keys. */
#ifndef SL_SHAPE_H
#define SL_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/gguf/gguf.h"
#include "runtime/kernels/rows/rope.h"

typedef struct {
    uint32_t n_layers, width, ffn_width;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t context; /* trained length, tokens; after any scaling of rope */
    float rms_eps;
    sl_rope rope;
    uint32_t vocab; /* what tensors tell: sl_model_shape_read */
    bool tied;      /* the head is the embedding; likewise */
} sl_model_shape;

/* All but vocab and tied; use sl_model_shape_read (weights.h), which checks the tensors, too.
 * SL_ERR_FORMAT: a key is missing or makes no sense. SL_ERR_UNSUPPORTED: a key says that the model
 * computes something we do not. Logged, naming the key. */
sl_status sl_shape_read_keys(const sl_gguf *gguf, sl_model_shape *shape_out);

#endif

/* runtime/model/shape.h - the numbers of a model, whatever its architecture (architecture.h): read
 * by sl_model_shape_read (weights.h), which checks the tensors, too. */
#ifndef SL_SHAPE_H
#define SL_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/kernels/rows/rope.h"

typedef struct {
    uint32_t n_layers, width, ffn_width;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t context; /* trained length, tokens; after any scaling of rope */
    float rms_eps;
    sl_rope rope;
    /* these from the tensors, all else from keys */
    uint32_t vocab;
    bool tied; /* the head is the embedding */
} sl_model_shape;

#endif

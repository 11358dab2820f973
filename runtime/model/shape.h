/* runtime/model/shape.h - the numbers of a model, whatever its architecture (architecture.h): read
 * by sl_model_shape_read (weights.h), which checks the tensors, too. */
#ifndef SL_SHAPE_H
#define SL_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/kernels/rows/rope.h"

enum { SL_LAYERS_MAX = 1024, SL_LAYER_KINDS_MAX = 4 };

/* The steps of a layer that its tensors do not tell. A norm or a bias is a step of the layers that
 * have its tensor (layer_weights.h). */
typedef struct {
    sl_rope rope; /* of queries and keys; dim 0: none */
    /* Sliding attention: latest tokens that a query sees, itself among them. 0: all tokens. */
    uint32_t window;
} sl_layer_kind;

/* The FFN's gated linear unit (kernels.h). */
typedef enum { SL_SWIGLU, SL_GEGLU } sl_activation;

typedef struct {
    uint32_t n_layers, width, ffn_width;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t context; /* trained length, tokens; after any scaling of rope */
    float rms_eps;
    float embedding_scale; /* of what the embedding gives; 1 mostly */
    float attention_scale; /* of scores, 1/sqrt(head_dim) mostly */
    sl_activation activation;
    /* The plan: layer i is of kinds[kind_of[i]]. */
    uint32_t n_kinds;
    sl_layer_kind kinds[SL_LAYER_KINDS_MAX];
    uint8_t kind_of[SL_LAYERS_MAX];
    /* these from the tensors, all else from keys */
    uint32_t vocab;
    bool tied; /* the head is the embedding */
} sl_model_shape;

static inline const sl_layer_kind *sl_layer_kind_of(const sl_model_shape *shape, uint32_t layer)
{
    return &shape->kinds[shape->kind_of[layer]];
}

/* The window of a layer of sliding attention; 0: it attends to all tokens. */
static inline uint32_t sl_sliding_window(const sl_model_shape *shape, uint32_t layer)
{
    return sl_layer_kind_of(shape, layer)->window;
}

/* KV heads of layers [first, end) that attend to all tokens. */
static inline uint32_t sl_full_heads(const sl_model_shape *shape, uint32_t first, uint32_t end)
{
    uint32_t n = 0;
    for (uint32_t layer = first; layer < end; layer++)
        n += sl_sliding_window(shape, layer) ? 0 : shape->n_kv_heads;
    return n;
}

#endif

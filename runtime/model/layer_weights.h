/* runtime/model/layer_weights.h - the weights of one layer, whatever the architecture, and the one
 * table of the tensors they come from. An architecture (architecture.h) names the sets of tensors
 * its layers have. Constants; knows no file. */
#ifndef SL_LAYER_WEIGHTS_H
#define SL_LAYER_WEIGHTS_H

#include <stddef.h>

#include "runtime/kernels/kernels.h"
#include "runtime/model/shape.h"

/* NULL: the file has none, and the layer leaves that step out. */
typedef struct {
    const float *attn_norm, *ffn_norm; /* [width] */
    sl_matrix q, k, v, o;              /* [heads * head_dim][width] and back */
    sl_matrix gate, up, down;          /* [ffn_width][width] and back */
    const float *q_norm, *k_norm;      /* [head_dim] of each head, before it is turned */
    /* [width] of what attention and FFN add to the hidden state */
    const float *attn_post_norm, *ffn_post_norm;
    /* added to what the maps give */
    const float *q_bias, *k_bias, *v_bias, *o_bias;
    const float *gate_bias, *up_bias, *down_bias;
} sl_layer_weights;

/* Sets of tensors that architectures have or have not. */
typedef enum {
    SL_TENSORS_TRANSFORMER = 1 << 0, /* the norms of attention and FFN, and their seven matrices */
    SL_TENSORS_QKV_BIASES = 1 << 1,
    SL_TENSORS_OTHER_BIASES = 1 << 2, /* of all other matrices */
    SL_TENSORS_QK_NORMS = 1 << 3,
    SL_TENSORS_POST_NORMS = 1 << 4,
    SL_TENSORS_ROPE_FREQS = 1 << 5, /* of no layer: rope_freqs.weight */
} sl_tensor_set;

/* The sides that a tensor's rows and columns have. */
typedef enum {
    SL_DIM_NONE,
    SL_DIM_WIDTH,
    SL_DIM_HEAD, /* one */
    SL_DIM_HEADS,
    SL_DIM_KV_HEADS,
    SL_DIM_FFN
} sl_dim;

/* Its length in a model. */
uint64_t sl_dim_size(const sl_model_shape *shape, sl_dim dim);

/* The linear maps of a layer, those of the same input one behind the other. */
typedef enum {
    SL_MAP_Q,
    SL_MAP_K,
    SL_MAP_V,
    SL_MAP_O,
    SL_MAP_GATE,
    SL_MAP_UP,
    SL_MAP_DOWN,
    SL_LAYER_MAPS
} sl_layer_map;

/* A tensor called "blk.LAYER.SUFFIX". */
typedef struct {
    const char *suffix;
    sl_tensor_set set;
    sl_dim in, out; /* out SL_DIM_NONE: a vector */
    size_t offset;  /* of its place in sl_layer_weights */
} sl_layer_tensor;

enum { SL_LAYER_TENSORS = 20 };
extern const sl_layer_tensor sl_layer_tensors[SL_LAYER_TENSORS];
/* The row of a map's matrix. */
const sl_layer_tensor *sl_layer_map_tensor(sl_layer_map map);

#endif

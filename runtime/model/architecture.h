/* runtime/model/architecture.h - the seam between a model file and the rest of the runtime. A row
 * says how the keys and tensors of one architecture make a shape and the weights of a layer.
 * llama.c is the first; another is a file like it, its row declared below and listed in
 * architecture.c. Knows no arithmetic and reads no weights. Rows are constants. */
#ifndef SL_ARCHITECTURE_H
#define SL_ARCHITECTURE_H

#include <stddef.h>

#include "runtime/gguf/gguf.h"
#include "runtime/model/shape.h"

/* The sides that a tensor's rows and columns have. */
typedef enum { SL_DIM_NONE, SL_DIM_WIDTH, SL_DIM_HEADS, SL_DIM_KV_HEADS, SL_DIM_FFN } sl_dim;

/* A tensor that each layer has, called "blk.LAYER.SUFFIX". */
typedef struct {
    const char *suffix;
    enum { SL_TENSOR_REQUIRED, SL_TENSOR_OPTIONAL } presence;
    sl_dim in, out; /* out SL_DIM_NONE: a vector */
    size_t offset;  /* of its place in sl_layer_weights */
} sl_layer_tensor;

typedef struct {
    const char *name; /* as the key general.architecture has it */
    /* Read the keys: all of the shape but vocab and tied. SL_ERR_FORMAT: a key is missing or makes
     * no sense. SL_ERR_UNSUPPORTED: a key says that the model computes something that the runtime
     * does not. Logged, naming the key. */
    sl_status (*read_shape)(const sl_gguf *gguf, sl_model_shape *shape_out);
    const sl_layer_tensor *layer_tensors; /* [n_layer_tensors] */
    size_t n_layer_tensors;
} sl_architecture;

extern const sl_architecture sl_architecture_llama;

/* The architecture of a file. SL_ERR_FORMAT, SL_ERR_UNSUPPORTED: it has none, or an unknown one;
 * logged. */
sl_status sl_architecture_find(const sl_gguf *gguf, const sl_architecture **out);
/* The same of a file that sl_architecture_find accepted. */
const sl_architecture *sl_architecture_of(const sl_gguf *gguf);

#endif

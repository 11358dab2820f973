/* runtime/model/architecture.h - the seam between a model file and the rest of the runtime: how the
 * keys of an architecture make a shape, with the plan of its layers (shape.h), and which tensors it
 * has. Another architecture is a file like llama.c or gemma3.c, its row declared below
 * and listed in architecture.c; the stage follows the plan and asks for no names. Knows no
 * arithmetic and reads no weights. Rows are constants. */
#ifndef SL_ARCHITECTURE_H
#define SL_ARCHITECTURE_H

#include "runtime/gguf/gguf.h"
#include "runtime/model/layer_weights.h"
#include "runtime/model/shape.h"

typedef struct sl_architecture {
    const char *name; /* as the key general.architecture has it; its keys begin with it */
    sl_rope_pairing pairing;
    /* Read the keys: all of the shape but vocab and tied. SL_ERR_FORMAT: a key is missing or makes
     * no sense. SL_ERR_UNSUPPORTED: a key says that the model computes something that the runtime
     * does not. Logged, naming the key. */
    sl_status (*read_shape)(const sl_gguf *gguf, const struct sl_architecture *architecture,
                            sl_model_shape *shape_out);
    /* NAMEs of keys beside those that all have in common, up to NULL: read_shape reads them. NULL:
     * none. */
    const char *const *own_keys;
    uint32_t required, optional; /* sl_tensor_set of its files; one in neither is refused */
} sl_architecture;

extern const sl_architecture sl_architecture_gemma3;
extern const sl_architecture sl_architecture_llama;
extern const sl_architecture sl_architecture_qwen2;
extern const sl_architecture sl_architecture_qwen3;
extern const sl_architecture sl_architecture_smollm3;

/* The architecture of a file. SL_ERR_FORMAT, SL_ERR_UNSUPPORTED: it has none, or an unknown one;
 * logged. */
sl_status sl_architecture_find(const sl_gguf *gguf, const sl_architecture **out);
/* The same of a file that sl_architecture_find accepted. */
const sl_architecture *sl_architecture_of(const sl_gguf *gguf);

#endif

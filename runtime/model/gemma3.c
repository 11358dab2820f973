/* runtime/model/gemma3.c - the architecture `gemma3` (Gemma 3, arXiv:2503.19786): embeddings are
 * scaled, queries and keys are normed head by head, what attention and FFN give is normed before it
 * is added, and the FFN's gate is a GELU. Of the family, those without sliding windows: a file with
 * them is refused by its key. */
#include <math.h>

#include "runtime/model/architecture.h"
#include "runtime/model/transformer_keys.h"

/* Gemma 3 27B, which files tell by nothing else, scales scores by the width a head would have if all
 * heads together were as wide as the model. llama.cpp knows it by the same number. */
enum { LAYERS_27B = 62 };

static sl_status read_shape(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    sl_model_shape s;
    sl_model_keys keys = {gguf, "gemma3."};
    sl_status status = sl_transformer_keys_read(&keys, SL_ROPE_HALVES, &s);
    if (status != SL_OK) return status;
    s.embedding_scale = sqrtf((float)s.width);
    s.activation = SL_GEGLU;
    uint32_t share = s.width / s.n_heads; /* of a head */
    if (s.n_layers == LAYERS_27B) s.attention_scale = 1.0F / sqrtf((float)share);
    *shape_out = s;
    return SL_OK;
}

const sl_architecture sl_architecture_gemma3 = {
    .name = "gemma3",
    .read_shape = read_shape,
    .required = SL_TENSORS_TRANSFORMER | SL_TENSORS_QK_NORMS | SL_TENSORS_POST_NORMS,
    .optional = 0,
};

/* runtime/model/gemma3.c - the architecture `gemma3` (Gemma 3, arXiv:2503.19786): embeddings are
 * scaled, queries and keys are normed head by head, what attention and FFN give is normed before it
 * is added, and the FFN's gate is a GELU. Of the family, those without sliding windows: a file with
 * them is refused by its key. */
#include <math.h>

#include "runtime/base/log.h"
#include "runtime/model/transformer_keys.h"

/* Gemma 3 27B scales scores by the width that a head would have if all heads together were as wide
 * as the model. Its files have no key for that: llama.cpp knows the model by the same number of
 * layers. */
enum { LAYERS_27B = 62 };

static sl_status scale_27b(const sl_gguf *gguf, sl_model_shape *s)
{
    uint32_t head_width = s->width / s->n_heads;
    if (head_width == 0) {
        sl_error("%s: gemma3.attention.head_count is %u, more than gemma3.embedding_length, %u",
                 sl_gguf_path(gguf), s->n_heads, s->width);
        return SL_ERR_FORMAT;
    }
    s->attention_scale = 1.0F / sqrtf((float)head_width);
    return SL_OK;
}

static sl_status read_shape(const sl_gguf *gguf, const sl_architecture *architecture,
                            sl_model_shape *shape_out)
{
    sl_model_shape s;
    sl_status status = sl_transformer_keys_read(gguf, architecture, &s);
    if (status != SL_OK) return status;
    s.embedding_scale = sqrtf((float)s.width);
    s.activation = SL_GEGLU;
    if (s.n_layers == LAYERS_27B) status = scale_27b(gguf, &s);
    if (status == SL_OK) *shape_out = s;
    return status;
}

const sl_architecture sl_architecture_gemma3 = {
    .name = "gemma3",
    .pairing = SL_ROPE_HALVES,
    .read_shape = read_shape,
    .required = SL_TENSORS_TRANSFORMER | SL_TENSORS_QK_NORMS | SL_TENSORS_POST_NORMS,
    .optional = 0,
};

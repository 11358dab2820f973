/* runtime/model/smollm3.c - the architecture `smollm3`: a Llama without rope in every fourth layer
 * (NoPE; Yang et al. 2025, arXiv:2501.18795). Files have no key for that interval: llama.cpp has
 * the same constant. */
#include "runtime/model/transformer_keys.h"

enum { NO_ROPE_INTERVAL = 4 };
enum { TURNED, NOT_TURNED, KINDS };

static sl_status read_shape(const sl_gguf *gguf, const sl_architecture *architecture,
                            sl_model_shape *shape_out)
{
    sl_model_shape s;
    sl_status status = sl_transformer_keys_read(gguf, architecture, &s);
    if (status != SL_OK) return status;
    s.n_kinds = KINDS;
    s.kinds[NOT_TURNED] = (sl_layer_kind){.rope = {.dim = 0}};
    for (uint32_t layer = 0; layer < s.n_layers; layer++)
        s.kind_of[layer] = (layer + 1) % NO_ROPE_INTERVAL == 0 ? NOT_TURNED : TURNED;
    *shape_out = s;
    return SL_OK;
}

const sl_architecture sl_architecture_smollm3 = {
    .name = "smollm3",
    .pairing = SL_ROPE_ADJACENT,
    .read_shape = read_shape,
    .required = SL_TENSORS_TRANSFORMER,
    .optional = SL_TENSORS_QKV_BIASES,
};

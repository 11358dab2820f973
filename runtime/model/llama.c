/* runtime/model/llama.c - the architecture `llama`: Llama 2 and 3, Mistral, SmolLM2 (Touvron et al.
 * 2023, arXiv:2302.13971). Any of its matrices may have a bias. */
#include "runtime/model/architecture.h"
#include "runtime/model/transformer_keys.h"

static sl_status read_shape(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    return sl_transformer_keys_read(&(sl_model_keys){gguf, "llama."}, SL_ROPE_ADJACENT, shape_out);
}

const sl_architecture sl_architecture_llama = {
    .name = "llama",
    .read_shape = read_shape,
    .required = SL_TENSORS_TRANSFORMER,
    .optional = SL_TENSORS_QKV_BIASES | SL_TENSORS_OTHER_BIASES | SL_TENSORS_ROPE_FREQS,
};

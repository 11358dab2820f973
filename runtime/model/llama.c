/* runtime/model/llama.c - the architecture `llama`: Llama 2 and 3, Mistral, SmolLM2 (Touvron et al.
 * 2023, arXiv:2302.13971). Any of its matrices may have a bias. */
#include "runtime/model/transformer_keys.h"

const sl_architecture sl_architecture_llama = {
    .name = "llama",
    .pairing = SL_ROPE_ADJACENT,
    .read_shape = sl_transformer_keys_read,
    .required = SL_TENSORS_TRANSFORMER,
    .optional = SL_TENSORS_QKV_BIASES | SL_TENSORS_OTHER_BIASES | SL_TENSORS_ROPE_FREQS,
};

/* runtime/model/qwen.c - the architectures `qwen2` (Qwen2 and 2.5, arXiv:2407.10671), whose
 * queries, keys and values have biases, and `qwen3` (arXiv:2505.09388), whose queries and keys are
 * normed head by head instead. As in llama.cpp, a file of either may leave biases out; it has no
 * rope_freqs. */
#include "runtime/model/transformer_keys.h"

const sl_architecture sl_architecture_qwen2 = {
    .name = "qwen2",
    .pairing = SL_ROPE_HALVES,
    .read_shape = sl_transformer_keys_read,
    .required = SL_TENSORS_TRANSFORMER,
    .optional = SL_TENSORS_QKV_BIASES,
};

const sl_architecture sl_architecture_qwen3 = {
    .name = "qwen3",
    .pairing = SL_ROPE_HALVES,
    .read_shape = sl_transformer_keys_read,
    .required = SL_TENSORS_TRANSFORMER | SL_TENSORS_QK_NORMS,
    .optional = SL_TENSORS_QKV_BIASES,
};

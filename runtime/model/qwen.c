/* runtime/model/qwen.c - the architectures `qwen2` (Qwen2 and 2.5, arXiv:2407.10671), whose queries,
 * keys and values have biases, and `qwen3` (arXiv:2505.09388), whose queries and keys are normed
 * head by head instead. Rope turns halves of a head. As in llama.cpp, a file of either may leave
 * biases out; it has no rope_freqs. */
#include "runtime/model/architecture.h"
#include "runtime/model/transformer_keys.h"

static sl_status read_qwen2(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    return sl_transformer_keys_read(&(sl_model_keys){gguf, "qwen2."}, SL_ROPE_HALVES, shape_out);
}

static sl_status read_qwen3(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    return sl_transformer_keys_read(&(sl_model_keys){gguf, "qwen3."}, SL_ROPE_HALVES, shape_out);
}

const sl_architecture sl_architecture_qwen2 = {
    .name = "qwen2",
    .read_shape = read_qwen2,
    .required = SL_TENSORS_TRANSFORMER,
    .optional = SL_TENSORS_QKV_BIASES,
};

const sl_architecture sl_architecture_qwen3 = {
    .name = "qwen3",
    .read_shape = read_qwen3,
    .required = SL_TENSORS_TRANSFORMER | SL_TENSORS_QK_NORMS,
    .optional = SL_TENSORS_QKV_BIASES,
};

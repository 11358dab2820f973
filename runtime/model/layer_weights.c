/* runtime/model/layer_weights.c - see layer_weights.h. */
#include "runtime/model/layer_weights.h"

#include "runtime/base/log.h"

#define PLACE(member) offsetof(sl_layer_weights, member)

const sl_layer_tensor sl_layer_tensors[SL_LAYER_TENSORS] = {
    {"attn_norm.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_NONE, PLACE(attn_norm)},
    {"attn_q.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_HEADS, PLACE(q)},
    {"attn_k.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_KV_HEADS, PLACE(k)},
    {"attn_v.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_KV_HEADS, PLACE(v)},
    {"attn_output.weight", SL_TENSORS_TRANSFORMER, SL_DIM_HEADS, SL_DIM_WIDTH, PLACE(o)},
    {"ffn_norm.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_NONE, PLACE(ffn_norm)},
    {"ffn_gate.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_FFN, PLACE(gate)},
    {"ffn_up.weight", SL_TENSORS_TRANSFORMER, SL_DIM_WIDTH, SL_DIM_FFN, PLACE(up)},
    {"ffn_down.weight", SL_TENSORS_TRANSFORMER, SL_DIM_FFN, SL_DIM_WIDTH, PLACE(down)},
    {"attn_q.bias", SL_TENSORS_QKV_BIASES, SL_DIM_HEADS, SL_DIM_NONE, PLACE(q_bias)},
    {"attn_k.bias", SL_TENSORS_QKV_BIASES, SL_DIM_KV_HEADS, SL_DIM_NONE, PLACE(k_bias)},
    {"attn_v.bias", SL_TENSORS_QKV_BIASES, SL_DIM_KV_HEADS, SL_DIM_NONE, PLACE(v_bias)},
    {"attn_output.bias", SL_TENSORS_OTHER_BIASES, SL_DIM_WIDTH, SL_DIM_NONE, PLACE(o_bias)},
    {"ffn_gate.bias", SL_TENSORS_OTHER_BIASES, SL_DIM_FFN, SL_DIM_NONE, PLACE(gate_bias)},
    {"ffn_up.bias", SL_TENSORS_OTHER_BIASES, SL_DIM_FFN, SL_DIM_NONE, PLACE(up_bias)},
    {"ffn_down.bias", SL_TENSORS_OTHER_BIASES, SL_DIM_WIDTH, SL_DIM_NONE, PLACE(down_bias)},
    {"attn_q_norm.weight", SL_TENSORS_QK_NORMS, SL_DIM_HEAD, SL_DIM_NONE, PLACE(q_norm)},
    {"attn_k_norm.weight", SL_TENSORS_QK_NORMS, SL_DIM_HEAD, SL_DIM_NONE, PLACE(k_norm)},
    {"post_attention_norm.weight", SL_TENSORS_POST_NORMS, SL_DIM_WIDTH, SL_DIM_NONE,
     PLACE(attn_post_norm)},
    {"post_ffw_norm.weight", SL_TENSORS_POST_NORMS, SL_DIM_WIDTH, SL_DIM_NONE,
     PLACE(ffn_post_norm)},
};

uint64_t sl_dim_size(const sl_model_shape *shape, sl_dim dim)
{
    switch (dim) {
    case SL_DIM_NONE: return 1;
    case SL_DIM_WIDTH: return shape->width;
    case SL_DIM_HEAD: return shape->head_dim;
    case SL_DIM_HEADS: return (uint64_t)shape->n_heads * shape->head_dim;
    case SL_DIM_KV_HEADS: return (uint64_t)shape->n_kv_heads * shape->head_dim;
    case SL_DIM_FFN: return shape->ffn_width;
    }
    return 0;
}

const sl_layer_tensor *sl_layer_map_tensor(sl_layer_map map)
{
    static const size_t PLACES[SL_LAYER_MAPS] = {PLACE(q),    PLACE(k),  PLACE(v),   PLACE(o),
                                                 PLACE(gate), PLACE(up), PLACE(down)};
    size_t k = 0;
    while (k < SL_LAYER_TENSORS && sl_layer_tensors[k].offset != PLACES[map]) k++;
    SL_ASSERT(k < SL_LAYER_TENSORS);
    return &sl_layer_tensors[k];
}

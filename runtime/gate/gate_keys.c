/* runtime/gate/gate_keys.c - see gate_keys.h. */
#include "runtime/gate/gate_keys.h"

#include <stddef.h>

const char *const SL_GATE_KEY_LIST[SL_GATE_KEYS] = {
    SL_GATE_KEY_VERSION,    SL_GATE_KEY_MODEL_HASH,    SL_GATE_KEY_MODEL_NAME,
    SL_GATE_KEY_LAYERS,     SL_GATE_KEY_WIDTH,         SL_GATE_KEY_KV_HEADS,
    SL_GATE_KEY_SINKS,      SL_GATE_KEY_WINDOW,        SL_GATE_KEY_THRESHOLD,
    SL_GATE_KEY_KEEP,       SL_GATE_KEY_SPAN,          SL_GATE_KEY_BACK,
    SL_GATE_KEY_AHEAD,      SL_GATE_KEY_HEADS,         SL_GATE_KEY_HEAD_WIDTH,
    SL_GATE_KEY_KV,         SL_GATE_KEY_HIDDEN,        SL_GATE_KEY_ROW_KEEP,
    SL_GATE_KEY_ROW_WINDOW, SL_GATE_KEY_ROW_THRESHOLD, SL_GATE_KEY_ROW_RETENTION,
    SL_GATE_KEY_ROW_STEER,  SL_GATE_KEY_ADAPTER_HASH,
};

const sl_gate_tensor SL_GATE_TENSOR_TABLE[SL_GATE_TENSORS] = {
    {"gate_q.weight", SL_GATE_WIDE, offsetof(sl_gate_layer, q)},
    {"gate_k.weight", SL_GATE_WIDE, offsetof(sl_gate_layer, k)},
    {"gate_v.weight", SL_GATE_WIDE, offsetof(sl_gate_layer, v)},
    {"gate_x.weight", SL_GATE_WIDE, offsetof(sl_gate_layer, x)},
    {"gate_x.bias", SL_GATE_VECTOR, offsetof(sl_gate_layer, x_bias)},
    {"gate_a.weight", SL_GATE_SMALL, offsetof(sl_gate_layer, a)},
    {"gate_out.weight", SL_GATE_SMALL, offsetof(sl_gate_layer, out)},
    {"gate_out.bias", SL_GATE_VECTOR, offsetof(sl_gate_layer, out_bias)},
};

bool sl_gate_tensor_size(const sl_gate *gate, const sl_gate_shape *shape,
                         const sl_gate_tensor *tensor, uint32_t *n_in_out, uint32_t *n_out_out)
{
    if (shape->span == SL_GATE_ABSENT) return false;
    const uint32_t heads_width = shape->heads * shape->width;
    const uint32_t kv_width = sl_gate_kv_heads(shape) * shape->width;
    const uint32_t inner = sl_gate_inner(shape, gate->n_kv_heads);
    *n_in_out = gate->model_width;
    switch (tensor->offset) {
    case offsetof(sl_gate_layer, q): *n_out_out = heads_width; return shape->heads > 0;
    case offsetof(sl_gate_layer, k):
    case offsetof(sl_gate_layer, v): *n_out_out = kv_width; return shape->heads > 0;
    case offsetof(sl_gate_layer, x):
    case offsetof(sl_gate_layer, x_bias): *n_out_out = inner; return true;
    case offsetof(sl_gate_layer, a):
        *n_in_out = heads_width;
        *n_out_out = inner;
        return shape->heads > 0;
    case offsetof(sl_gate_layer, out):
    case offsetof(sl_gate_layer, out_bias):
        *n_in_out = shape->hidden;
        *n_out_out = gate->n_kv_heads;
        return shape->hidden > 0;
    }
    return false;
}

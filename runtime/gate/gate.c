/* runtime/gate/gate.c - see gate.h. */
#include "runtime/gate/gate.h"

const char *const SL_GATE_SPANS[4] = {[SL_GATE_ABSENT] = "absent",
                                      [SL_GATE_PROMPT] = "prompt",
                                      [SL_GATE_CAUSAL] = "causal",
                                      [SL_GATE_WINDOW] = "window"};
const char *const SL_GATE_KVS[2] = {[SL_GATE_SHARED_KV] = "shared", [SL_GATE_OWN_KV] = "own"};

const char *sl_gate_span_name(sl_gate_span span) { return SL_GATE_SPANS[span]; }
const char *sl_gate_kv_name(sl_gate_kv kv) { return SL_GATE_KVS[kv]; }

bool sl_gate_has_prompt_span(const sl_gate *gate)
{
    for (uint32_t i = 0; i < gate->n_layers; i++)
        if (gate->layers[i].shape.span == SL_GATE_PROMPT) return true;
    return false;
}

uint32_t sl_gate_kv_heads(const sl_gate_shape *shape)
{
    if (shape->heads == 0) return 0;
    return shape->kv == SL_GATE_OWN_KV ? shape->heads : 1;
}

uint32_t sl_gate_inner(const sl_gate_shape *shape, uint32_t n_kv_heads)
{
    return shape->hidden > 0 ? shape->hidden : n_kv_heads;
}

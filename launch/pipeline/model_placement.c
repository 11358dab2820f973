/* launch/pipeline/model_placement.c - see model_placement.h. */
#include "launch/pipeline/model_placement.h"

#include "runtime/base/log.h"
#include "runtime/cache/cache.h"

/* A tied embedding is one matrix on a rank that is first and last. */
static uint64_t last_extra_bytes(const sl_gguf *gguf, const sl_model_shape *shape, int ranks)
{
    uint64_t bytes = sl_weights_head_bytes(gguf, shape);
    return ranks == 1 && shape->tied ? bytes - sl_weights_embedding_bytes(gguf) : bytes;
}

void sl_model_placement_init(const sl_gguf *gguf, const sl_model_shape *shape, const sl_lora *lora,
                             int ranks, const sl_policy *policy, uint32_t sequences,
                             uint64_t page_bytes, sl_model_placement *out)
{
    SL_ASSERT(shape->n_layers <= SL_SPLIT_LAYERS_MAX);
    for (uint32_t i = 0; i < shape->n_layers; i++) {
        out->layer_weights[i] = sl_weights_layer_bytes(gguf, i) +
                                (lora ? sl_lora_layer_bytes(lora, shape, i) : 0);
        out->keep[i] = 1;
        out->sliding_windows[i] = sl_sliding_window(shape, i);
    }
    out->options = (sl_placement_options){
        .n_layers = shape->n_layers,
        .layer_weights = out->layer_weights,
        .first_extra_bytes = sl_weights_embedding_bytes(gguf),
        .last_extra_bytes = last_extra_bytes(gguf, shape, ranks),
        .n_kv_heads = shape->n_kv_heads,
        .sequences = sequences,
        .sinks = policy->sinks,
        .window = policy->window,
        .page_bytes = page_bytes,
        .keep = out->keep,
        .sliding_windows = out->sliding_windows,
    };
}

uint64_t sl_model_ring_pages(const sl_model_shape *shape, uint32_t first, uint32_t n,
                             uint32_t window, uint32_t context)
{
    uint64_t pages = 0;
    for (uint32_t i = first; i < first + n; i++) {
        uint32_t sliding = sl_sliding_window(shape, i);
        pages += sl_cache_ring_pages(sliding ? sliding : window, context);
    }
    return pages;
}

/* sched/placement.c - see placement.h. */
#include "sched/placement.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/log.h"

static uint64_t pages_for(double n_tokens)
{
    return (uint64_t)ceil(n_tokens / SL_PLACEMENT_PAGE_TOKENS);
}

uint64_t sl_placement_cache_bytes(const sl_placement_options *options, uint32_t layer,
                                  uint32_t context)
{
    const sl_placement_options *o = options;
    uint32_t left = context > o->window ? context - o->window : 0;
    uint32_t n_sinks = left < o->sinks ? left : o->sinks;
    uint64_t pages = pages_for(o->window) + pages_for(n_sinks + o->keep[layer] * (left - n_sinks));
    return pages * o->page_bytes * o->n_kv_heads * o->sequences;
}

/* The arrays that a split at this context is made of. */
typedef struct {
    uint64_t bytes[SL_SPLIT_LAYERS_MAX];
    sl_split_options split;
} layers;

static void fill(const sl_placement_options *o, uint32_t context, layers *l)
{
    SL_ASSERT(o->n_layers <= SL_SPLIT_LAYERS_MAX);
    for (uint32_t i = 0; i < o->n_layers; i++)
        l->bytes[i] = o->layer_weights[i] + sl_placement_cache_bytes(o, i, context);
    l->split = (sl_split_options){.n_layers = o->n_layers,
                                  .n_ranks = o->n_ranks,
                                  .layer_bytes = l->bytes,
                                  .first_extra_bytes = o->first_extra_bytes,
                                  .last_extra_bytes = o->last_extra_bytes,
                                  .rank_limits = o->rank_limits};
}

uint64_t sl_placement_split(const sl_placement_options *options, uint32_t context,
                            uint32_t *first_layer_out)
{
    layers l;
    fill(options, context, &l);
    return sl_split_layers(&l.split, first_layer_out);
}

void sl_placement_even(uint32_t n_layers, uint32_t n_ranks, uint32_t *first_layer_out)
{
    for (uint32_t r = 0; r <= n_ranks; r++)
        first_layer_out[r] = (uint32_t)((uint64_t)n_layers * r / n_ranks);
}

sl_placement_rank sl_placement_of(const sl_placement_options *options, uint32_t context,
                                  const uint32_t *first_layer, uint32_t rank)
{
    const sl_placement_options *o = options;
    sl_placement_rank held = {.weights = (rank == 0 ? o->first_extra_bytes : 0) +
                                         (rank + 1 == o->n_ranks ? o->last_extra_bytes : 0)};
    for (uint32_t i = first_layer[rank]; i < first_layer[rank + 1]; i++) {
        held.weights += o->layer_weights[i];
        held.cache += sl_placement_cache_bytes(o, i, context);
    }
    return held;
}

/* first_layer NULL: some split does. */
static bool fits(const sl_placement_options *o, const uint32_t *first_layer, uint32_t context)
{
    uint32_t best[SL_SPLIT_LAYERS_MAX + 1];
    layers l;
    fill(o, context, &l);
    if (!first_layer) return sl_split_layers(&l.split, best) == 0;
    for (uint32_t r = 0; r < o->n_ranks; r++)
        if (sl_split_rank_excess(&l.split, r, first_layer[r], first_layer[r + 1]) > 0) return false;
    return true;
}

/* Caches only grow with the context, so halving finds it. */
static uint32_t longest(const sl_placement_options *o, const uint32_t *first_layer,
                        uint32_t context_max)
{
    uint32_t good = 0, bad = context_max / SL_PLACEMENT_PAGE_TOKENS + 1;
    while (bad - good > 1) {
        uint32_t middle = good + (bad - good) / 2;
        if (fits(o, first_layer, middle * SL_PLACEMENT_PAGE_TOKENS))
            good = middle;
        else
            bad = middle;
    }
    return good * SL_PLACEMENT_PAGE_TOKENS;
}

uint32_t sl_placement_longest(const sl_placement_options *options, const uint32_t *first_layer,
                              uint32_t context_max)
{
    return longest(options, first_layer, context_max);
}

uint32_t sl_placement_longest_of_all(const sl_placement_options *options, uint32_t context_max)
{
    return longest(options, NULL, context_max);
}

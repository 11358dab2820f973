/* sched/placement.c - see placement.h. */
#include "sched/placement.h"

#include <stdbool.h>

#include "runtime/base/log.h"
#include "sched/head_pages.h"

uint64_t sl_placement_cache_bytes(const sl_placement_options *options, uint32_t layer,
                                  uint32_t context)
{
    const sl_placement_options *o = options;
    sl_head_retention retention = {.sinks = o->sinks, .window = o->window, .keep = o->keep[layer]};
    uint32_t sliding = o->sliding_windows[layer];
    uint64_t pages = sl_head_pages_ring(sliding ? sliding : o->window, context);
    if (!sliding) pages += sl_head_pages_expected(retention, context);
    return pages * o->page_bytes * o->n_kv_heads * o->sequences;
}

/* The arrays that a split at this context is made of. */
typedef struct {
    uint64_t layer_bytes[SL_SPLIT_LAYERS_MAX], rank_limits[SL_SPLIT_LAYERS_MAX];
    sl_split_options split;
} split_input;

static void fill(const sl_placement_options *o, const sl_plan *plan, uint32_t context,
                 split_input *in)
{
    SL_ASSERT(o->n_layers <= SL_SPLIT_LAYERS_MAX && plan->n_ranks <= o->n_layers);
    for (uint32_t i = 0; i < o->n_layers; i++)
        in->layer_bytes[i] = o->layer_weights[i] + sl_placement_cache_bytes(o, i, context);
    for (uint32_t r = 0; r < plan->n_ranks; r++) in->rank_limits[r] = plan->ranks[r].limit_bytes;
    in->split = (sl_split_options){.n_layers = o->n_layers,
                                   .n_ranks = plan->n_ranks,
                                   .layer_bytes = in->layer_bytes,
                                   .first_extra_bytes = o->first_extra_bytes,
                                   .last_extra_bytes = o->last_extra_bytes,
                                   .rank_limits = in->rank_limits};
}

/* first_layer: [n_ranks + 1] */
static void set_layers(const sl_placement_options *o, const uint32_t *first_layer, sl_plan *plan)
{
    for (uint32_t r = 0; r < plan->n_ranks; r++) {
        sl_plan_rank *rank = &plan->ranks[r];
        rank->first_layer = first_layer[r];
        rank->n_layers = first_layer[r + 1] - first_layer[r];
        rank->n_paged_heads = 0;
        for (uint32_t i = first_layer[r]; i < first_layer[r + 1]; i++)
            if (o->sliding_windows[i] == 0) rank->n_paged_heads += o->n_kv_heads;
    }
}

uint64_t sl_placement_split(const sl_placement_options *options, uint32_t context, sl_plan *plan)
{
    uint32_t first_layer[SL_SPLIT_LAYERS_MAX + 1];
    split_input in;
    fill(options, plan, context, &in);
    uint64_t excess = sl_split_layers(&in.split, first_layer);
    set_layers(options, first_layer, plan);
    return excess;
}

void sl_placement_even(const sl_placement_options *options, sl_plan *plan)
{
    uint32_t first_layer[SL_SPLIT_LAYERS_MAX + 1];
    SL_ASSERT(plan->n_ranks <= SL_SPLIT_LAYERS_MAX);
    for (uint32_t r = 0; r <= plan->n_ranks; r++)
        first_layer[r] = (uint32_t)((uint64_t)options->n_layers * r / plan->n_ranks);
    set_layers(options, first_layer, plan);
}

sl_placement_rank sl_placement_of(const sl_placement_options *options, uint32_t context,
                                  const sl_plan *plan, uint32_t rank)
{
    const sl_placement_options *o = options;
    const sl_plan_rank *p = &plan->ranks[rank];
    sl_placement_rank held = {.weights = (rank == 0 ? o->first_extra_bytes : 0) +
                                         (rank + 1 == plan->n_ranks ? o->last_extra_bytes : 0)};
    for (uint32_t i = p->first_layer; i < p->first_layer + p->n_layers; i++) {
        held.weights += o->layer_weights[i];
        held.cache += sl_placement_cache_bytes(o, i, context);
    }
    return held;
}

uint32_t sl_placement_largest_rank(const sl_placement_options *options, uint32_t context,
                                   const sl_plan *plan)
{
    uint32_t largest = 0;
    uint64_t most = 0;
    for (uint32_t r = 0; r < plan->n_ranks; r++) {
        sl_placement_rank held = sl_placement_of(options, context, plan, r);
        if (held.weights + held.cache <= most) continue;
        most = held.weights + held.cache;
        largest = r;
    }
    return largest;
}

/* ---- the longest context ---- */

typedef bool fits_at(const sl_placement_options *o, const sl_plan *plan, uint32_t context);

/* With the layers where the plan has them. */
static bool plan_fits(const sl_placement_options *o, const sl_plan *plan, uint32_t context)
{
    split_input in;
    fill(o, plan, context, &in);
    for (uint32_t r = 0; r < plan->n_ranks; r++) {
        const sl_plan_rank *p = &plan->ranks[r];
        if (sl_split_rank_excess(&in.split, r, p->first_layer, p->first_layer + p->n_layers) > 0)
            return false;
    }
    return true;
}

static bool some_split_fits(const sl_placement_options *o, const sl_plan *plan, uint32_t context)
{
    uint32_t first_layer[SL_SPLIT_LAYERS_MAX + 1];
    split_input in;
    fill(o, plan, context, &in);
    return sl_split_layers(&in.split, first_layer) == 0;
}

/* Caches only grow with the context, so halving finds it. */
static uint32_t longest(const sl_placement_options *o, const sl_plan *plan, fits_at *fits,
                        uint32_t context_max)
{
    uint32_t good = 0, bad = context_max / SL_HEAD_PAGE_TOKENS + 1;
    while (bad - good > 1) {
        uint32_t middle = good + (bad - good) / 2;
        if (fits(o, plan, middle * SL_HEAD_PAGE_TOKENS))
            good = middle;
        else
            bad = middle;
    }
    return good * SL_HEAD_PAGE_TOKENS;
}

uint32_t sl_placement_longest(const sl_placement_options *options, const sl_plan *plan,
                              uint32_t context_max)
{
    return longest(options, plan, plan_fits, context_max);
}

uint32_t sl_placement_longest_of_all(const sl_placement_options *options, const sl_plan *plan,
                                     uint32_t context_max)
{
    return longest(options, plan, some_split_fits, context_max);
}

/* sched/placement.h - which rank holds which layers, by what their weights and their caches take: a
 * layer that keeps little of what it sees needs little. A pure function. */
#ifndef SL_PLACEMENT_H
#define SL_PLACEMENT_H

#include <stdint.h>

#include "sched/plan.h"
#include "sched/split.h"

typedef struct {
    uint32_t n_layers;
    const uint64_t *layer_weights; /* [n_layers] bytes */
    uint64_t first_extra_bytes, last_extra_bytes;
    uint32_t n_kv_heads, sequences, sinks, window;
    uint64_t page_bytes; /* of one KV head */
    const double *keep;  /* [n_layers] of eligible tokens, 0 .. 1 */
    /* [n_layers] windows of layers of sliding attention, which have no pages; 0: it is none */
    const uint32_t *sliding_windows;
} sl_placement_options;

typedef struct {
    uint64_t weights, cache; /* bytes, weights with embedding and head */
} sl_placement_rank;

/* The cache of a layer when all sequences have so many tokens: of each head a ring of the window,
 * and pages of the sinks and what is kept; of sliding attention the ring alone. */
uint64_t sl_placement_cache_bytes(const sl_placement_options *options, uint32_t layer,
                                  uint32_t context);

/* The split for sequences of `context` tokens, within the limits of the plan, whose rows get their
 * layers and heads. Returns by how many bytes the fullest rank is beyond its limit: 0, it fits
 * (split.h). */
uint64_t sl_placement_split(const sl_placement_options *options, uint32_t context, sl_plan *plan);
/* As many layers on each rank as on any other, or one more, whatever they take; the later ranks
 * have more. */
void sl_placement_even(const sl_placement_options *options, sl_plan *plan);

/* What a rank holds. */
sl_placement_rank sl_placement_of(const sl_placement_options *options, uint32_t context,
                                  const sl_plan *plan, uint32_t rank);
/* The rank that holds most: a split is chosen to make it as small as possible. */
uint32_t sl_placement_largest_rank(const sl_placement_options *options, uint32_t context,
                                   const sl_plan *plan);
/* The longest context, a multiple of 64 up to context_max, that the plan's split holds within its
 * limits; 0: not even 64 tokens. */
uint32_t sl_placement_longest(const sl_placement_options *options, const sl_plan *plan,
                              uint32_t context_max);
/* The same of the best split for each length; only the plan's limits count. */
uint32_t sl_placement_longest_of_all(const sl_placement_options *options, const sl_plan *plan,
                                     uint32_t context_max);

#endif

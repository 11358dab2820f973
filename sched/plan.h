/* sched/plan.h - the front door of sched: what was decided for the ranks of a pipeline, one row a
 * rank.
 *
 * The room decides and does nothing else. It owns the split of layers (split.h) and their placement
 * by weights and expected caches (placement.h), the admission of requests by a budget of cache
 * pages (page_budget.h), the batching of rows into frames (batching.h), the credit of pages that
 * every frame is sent on (credit.h), and the choice of a link's codec (link_choice.h). Counts,
 * bytes and seconds come in, decisions go out, and launch carries them out. The room knows no
 * transport, tensors, files, clocks, texts or tokens.
 *
 * The rows are the caller's, and live as long as what runs by them. */
#ifndef SL_PLAN_H
#define SL_PLAN_H

#include <stdint.h>

typedef struct {
    uint32_t first_layer, n_layers; /* placement.h sets them, and n_paged_heads */
    uint32_t n_paged_heads;         /* KV heads with pages: of layers that attend to all tokens */
    double keep;                    /* of eligible tokens, expected to be kept: 0 .. 1 */
    uint64_t limit_bytes;           /* of weights and cache; UINT64_MAX: none */
    uint64_t n_pages;               /* of the pool */
} sl_plan_rank;

typedef struct {
    uint32_t n_ranks;
    sl_plan_rank *ranks; /* [n_ranks] in the order of the pipeline */
} sl_plan;

/* Nothing is decided yet: no rank has layers, all is kept, nothing is limited.
 * ranks: [n_ranks], any content. */
void sl_plan_init(uint32_t n_ranks, sl_plan_rank *ranks, sl_plan *plan_out);

/* The rank that has this layer. Asserts that one does. */
uint32_t sl_plan_rank_of(const sl_plan *plan, uint32_t layer);

#endif

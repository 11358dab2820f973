/* sched/plan.c - see plan.h. */
#include "sched/plan.h"

#include "runtime/base/log.h"

void sl_plan_init(uint32_t n_ranks, sl_plan_rank *ranks, sl_plan *plan_out)
{
    for (uint32_t r = 0; r < n_ranks; r++)
        ranks[r] = (sl_plan_rank){.keep = 1, .limit_bytes = UINT64_MAX};
    *plan_out = (sl_plan){.n_ranks = n_ranks, .ranks = ranks};
}

uint32_t sl_plan_rank_of(const sl_plan *plan, uint32_t layer)
{
    uint32_t rank = 0;
    while (rank < plan->n_ranks &&
           layer >= plan->ranks[rank].first_layer + plan->ranks[rank].n_layers)
        rank++;
    SL_ASSERT(rank < plan->n_ranks);
    return rank;
}

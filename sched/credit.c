/* sched/credit.c - confirmed plus pending never exceeds a pool, unless a rank reports more pages
 * than it was granted; then nothing is free there until it reports less. */
#include "sched/credit.h"

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "sched/head_pages.h"

void sl_credit_init(sl_credit *credit, const sl_plan *plan, sl_credit_rank *ranks)
{
    *credit = (sl_credit){.plan = plan, .ranks = ranks};
    for (uint32_t r = 0; r < plan->n_ranks; r++) ranks[r] = (sl_credit_rank){0};
}

uint32_t sl_credit_tokens_pages(uint32_t n_tokens) { return sl_head_pages_for(n_tokens); }

uint64_t sl_credit_pages_free(const sl_credit *credit, uint32_t rank)
{
    const sl_credit_rank *c = &credit->ranks[rank];
    uint64_t left = sl_saturating_sub_u64(credit->plan->ranks[rank].n_pages, c->confirmed);
    return sl_saturating_sub_u64(left, c->pending);
}

static uint64_t rank_head_pages_free(const sl_credit *credit, uint32_t rank)
{
    uint32_t n_paged_heads = credit->plan->ranks[rank].n_paged_heads;
    return n_paged_heads > 0 ? sl_credit_pages_free(credit, rank) / n_paged_heads : UINT64_MAX;
}

uint32_t sl_credit_fullest_rank(const sl_credit *credit)
{
    uint32_t fullest = 0;
    for (uint32_t r = 1; r < credit->plan->n_ranks; r++)
        if (rank_head_pages_free(credit, r) < rank_head_pages_free(credit, fullest)) fullest = r;
    return fullest;
}

uint32_t sl_credit_head_pages_free(const sl_credit *credit)
{
    uint64_t least = rank_head_pages_free(credit, sl_credit_fullest_rank(credit));
    return (uint32_t)sl_min_u64(least, UINT32_MAX);
}

bool sl_credit_fits(const sl_credit *credit, uint32_t head_pages)
{
    return head_pages <= sl_credit_head_pages_free(credit);
}

void sl_credit_take(sl_credit *credit, uint32_t head_pages)
{
    SL_ASSERT(sl_credit_fits(credit, head_pages));
    for (uint32_t r = 0; r < credit->plan->n_ranks; r++)
        credit->ranks[r].pending += (uint64_t)credit->plan->ranks[r].n_paged_heads * head_pages;
}

void sl_credit_settle(sl_credit *credit, uint32_t rank, uint32_t head_pages, uint64_t pages_used)
{
    SL_ASSERT(rank < credit->plan->n_ranks);
    sl_credit_rank *c = &credit->ranks[rank];
    uint64_t pages = (uint64_t)credit->plan->ranks[rank].n_paged_heads * head_pages;
    SL_ASSERT(pages <= c->pending);
    c->pending -= pages;
    c->confirmed = pages_used;
}

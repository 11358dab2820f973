/* sched/credit.c - confirmed plus pending never exceeds a pool, unless a rank reports more pages
 * than it was granted; then nothing is free there until it reports less. */
#include "sched/credit.h"

#include "runtime/base/log.h"

void sl_credit_init(sl_credit *credit, const sl_plan *plan, sl_credit_rank *ranks)
{
    *credit = (sl_credit){.plan = plan, .ranks = ranks};
    for (uint32_t r = 0; r < plan->n_ranks; r++) {
        SL_ASSERT(plan->ranks[r].n_heads > 0);
        ranks[r] = (sl_credit_rank){0};
    }
}

uint32_t sl_credit_tokens_pages(uint32_t n_tokens)
{
    return n_tokens / SL_CREDIT_PAGE_TOKENS + (n_tokens % SL_CREDIT_PAGE_TOKENS != 0);
}

uint32_t sl_credit_head_pages_free(const sl_credit *credit)
{
    uint64_t least = UINT32_MAX;
    for (uint32_t r = 0; r < credit->plan->n_ranks; r++) {
        const sl_credit_rank *c = &credit->ranks[r];
        uint64_t total = credit->plan->ranks[r].n_pages;
        bool over = c->confirmed > total || c->pending > total - c->confirmed;
        uint64_t free_pages = over ? 0 : total - c->confirmed - c->pending;
        uint64_t head_pages = free_pages / credit->plan->ranks[r].n_heads;
        if (head_pages < least) least = head_pages;
    }
    return (uint32_t)least;
}

bool sl_credit_fits(const sl_credit *credit, uint32_t head_pages)
{
    return head_pages <= sl_credit_head_pages_free(credit);
}

void sl_credit_take(sl_credit *credit, uint32_t head_pages)
{
    SL_ASSERT(sl_credit_fits(credit, head_pages));
    for (uint32_t r = 0; r < credit->plan->n_ranks; r++)
        credit->ranks[r].pending += (uint64_t)credit->plan->ranks[r].n_heads * head_pages;
}

void sl_credit_settle(sl_credit *credit, uint32_t rank, uint32_t head_pages, uint64_t pages_used)
{
    SL_ASSERT(rank < credit->plan->n_ranks);
    sl_credit_rank *c = &credit->ranks[rank];
    uint64_t pages = (uint64_t)credit->plan->ranks[rank].n_heads * head_pages;
    SL_ASSERT(pages <= c->pending);
    c->pending -= pages;
    c->confirmed = pages_used;
}

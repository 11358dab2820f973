/* sched/credit.c - confirmed plus pending never exceeds a pool, unless a rank reports more pages
 * than it was granted; then nothing is free there until it reports less. */
#include "sched/credit.h"

#include "runtime/base/log.h"

void sl_credit_init(sl_credit *credit, uint32_t ranks, const uint32_t *heads_of_rank,
                    const uint64_t *pages_total, uint64_t *pages_confirmed, uint64_t *pages_pending)
{
    *credit = (sl_credit){.ranks = ranks,
                          .heads_of_rank = heads_of_rank,
                          .pages_total = pages_total,
                          .pages_confirmed = pages_confirmed,
                          .pages_pending = pages_pending};
    for (uint32_t r = 0; r < ranks; r++) {
        SL_ASSERT(heads_of_rank[r] > 0);
        pages_confirmed[r] = pages_pending[r] = 0;
    }
}

uint32_t sl_credit_tokens_pages(uint32_t n_tokens)
{
    return n_tokens / SL_CREDIT_PAGE_TOKENS + (n_tokens % SL_CREDIT_PAGE_TOKENS != 0);
}

uint32_t sl_credit_head_pages_free(const sl_credit *credit)
{
    uint64_t least = UINT32_MAX;
    for (uint32_t r = 0; r < credit->ranks; r++) {
        uint64_t total = credit->pages_total[r], pending = credit->pages_pending[r];
        uint64_t confirmed = credit->pages_confirmed[r];
        bool over = confirmed > total || pending > total - confirmed;
        uint64_t free_pages = over ? 0 : total - confirmed - pending;
        uint64_t head_pages = free_pages / credit->heads_of_rank[r];
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
    for (uint32_t r = 0; r < credit->ranks; r++)
        credit->pages_pending[r] += (uint64_t)credit->heads_of_rank[r] * head_pages;
}

void sl_credit_settle(sl_credit *credit, uint32_t rank, uint32_t head_pages, uint64_t pages_used)
{
    SL_ASSERT(rank < credit->ranks);
    uint64_t pages = (uint64_t)credit->heads_of_rank[rank] * head_pages;
    SL_ASSERT(pages <= credit->pages_pending[rank]);
    credit->pages_pending[rank] -= pages;
    credit->pages_confirmed[rank] = pages_used;
}

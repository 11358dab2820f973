/* sched/page_budget.c - see page_budget.h. */
#include "sched/page_budget.h"

#include "runtime/base/numbers.h"
#include "sched/head_pages.h"

/* All of the prompt, shared by the choices, and for each choice its own copy of what survives and
 * what it generates. */
static uint64_t pruned_pages(const sl_page_budget *b, const sl_page_request *request,
                             uint32_t generated)
{
    uint64_t whole = sl_head_pages_whole(b->window, request->n_prompt);
    return whole + (uint64_t)request->n_choices * sl_head_pages_for(request->survivors + generated);
}

/* Head pages on a rank that keeps this share. A fork costs a page more than what it does not share:
 * its copy of the last one. */
static uint64_t expected_head_pages(const sl_page_budget *b, const sl_page_request *request,
                                    double keep)
{
    uint32_t generated = sl_min_u32(request->max_tokens, b->expected_tokens);
    if (request->prunes_prompt) return pruned_pages(b, request, generated);
    sl_head_retention retention = {
        .sinks = b->sinks, .window = b->window, .keep = sl_head_retention_with_margin(keep)};
    uint64_t first = sl_head_pages_expected(retention, request->n_prompt + generated);
    uint64_t shared = b->forks ? sl_head_pages_expected(retention, request->n_prompt) : 0;
    return first + (request->n_choices - 1) * (first - shared + 1);
}

static uint64_t expected_on(const sl_page_budget *b, const sl_page_request *request, uint32_t rank)
{
    const sl_plan_rank *p = &b->plan->ranks[rank];
    return expected_head_pages(b, request, p->keep) * p->n_paged_heads;
}

static bool fits(const sl_page_budget *b, const sl_page_request *request)
{
    for (uint32_t r = 0; r < b->plan->n_ranks; r++)
        if (b->expected[r] + expected_on(b, request, r) > b->plan->ranks[r].n_pages) return false;
    return true;
}

uint32_t sl_page_budget_least(const sl_page_budget *budget, const sl_page_request *request)
{
    return request->holds_prompt ? sl_head_pages_whole(budget->window, request->n_prompt) : 0;
}

sl_request_admission sl_page_budget_decide(const sl_page_budget *budget,
                                           const sl_page_request *request,
                                           const sl_request_admission_state *state)
{
    if (request->n_choices > budget->sequences_max ||
        sl_page_budget_least(budget, request) > budget->head_pages)
        return SL_REQUEST_REFUSED;
    if (request->n_choices > state->sequences_free) return SL_REQUEST_WAITS;
    if (state->requests_active == 0) return SL_REQUEST_ADMITTED;
    return !state->closed && fits(budget, request) ? SL_REQUEST_ADMITTED : SL_REQUEST_WAITS;
}

void sl_page_budget_take(sl_page_budget *budget, const sl_page_request *request)
{
    for (uint32_t r = 0; r < budget->plan->n_ranks; r++)
        budget->expected[r] += expected_on(budget, request, r);
}

void sl_page_budget_give_back(sl_page_budget *budget, const sl_page_request *request)
{
    for (uint32_t r = 0; r < budget->plan->n_ranks; r++)
        budget->expected[r] -= expected_on(budget, request, r);
}

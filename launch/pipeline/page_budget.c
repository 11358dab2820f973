/* launch/pipeline/page_budget.c - see page_budget.h. */
#include "launch/pipeline/page_budget.h"

#include <math.h>

#include "runtime/cache/cache.h"

double sl_page_budget_with_margin(double keep) { return fmin(1.1 * keep, 1); }

uint32_t sl_page_budget_expected(const sl_policy *policy, double keep, uint32_t n_tokens)
{
    uint32_t all = sl_cache_head_pages(policy->window, n_tokens);
    double kept = sl_page_budget_with_margin(keep) * sl_policy_eligible(policy, n_tokens);
    double pages = ceil((policy->sinks + kept) / SL_PAGE_TOKENS);
    return pages < all ? (uint32_t)pages : all;
}

/* Under a policy that prunes at the prompt's end: all of the prompt, shared by the choices, and
 * for each choice its own copy of what survives and what it generates. */
static uint64_t pruned_pages(const sl_policy *p, const sl_request *request, uint32_t generated)
{
    uint32_t n_prompt = (uint32_t)request->n_prompt;
    uint64_t whole = sl_cache_head_pages(p->window, n_prompt);
    uint32_t survivors = p->sinks + sl_policy_survivors(p, n_prompt);
    return whole + (uint64_t)request->n_choices * sl_cache_pages_for(survivors + generated);
}

/* Choices share the pages of the prompt, unless each reads it for itself. */
static uint64_t expected_on(const sl_page_budget *b, const sl_request *request, uint32_t rank)
{
    const sl_policy *p = &b->policy;
    uint32_t n_prompt = (uint32_t)request->n_prompt, most = b->expected_tokens;
    uint32_t generated = request->max_tokens < most ? request->max_tokens : most;
    if (sl_policy_at_prompt_end(p->kind))
        return pruned_pages(p, request, generated) * b->plan->ranks[rank].n_heads;
    uint64_t alone = sl_page_budget_expected(p, b->plan->ranks[rank].keep, n_prompt + generated);
    uint64_t shared = p->whole_prompts
                          ? 0
                          : sl_page_budget_expected(p, b->plan->ranks[rank].keep, n_prompt);
    return (alone + (request->n_choices - 1) * (alone - shared + 1)) * b->plan->ranks[rank].n_heads;
}

bool sl_page_budget_fits(const sl_page_budget *budget, const sl_request *request)
{
    for (uint32_t r = 0; r < budget->plan->n_ranks; r++)
        if (budget->expected[r] + expected_on(budget, request, r) > budget->plan->ranks[r].n_pages)
            return false;
    return true;
}

void sl_page_budget_take(sl_page_budget *budget, const sl_request *request)
{
    for (uint32_t r = 0; r < budget->plan->n_ranks; r++)
        budget->expected[r] += expected_on(budget, request, r);
}

void sl_page_budget_give_back(sl_page_budget *budget, const sl_request *request)
{
    for (uint32_t r = 0; r < budget->plan->n_ranks; r++)
        budget->expected[r] -= expected_on(budget, request, r);
}

bool sl_page_budget_refuses(const sl_page_budget *budget, sl_request *request,
                            uint32_t sequences_max)
{
    const sl_policy *p = &budget->policy;
    bool all = p->kind == SL_POLICY_FULL || p->whole_prompts || request->keeps_all ||
               sl_policy_at_prompt_end(p->kind);
    uint32_t least = all ? sl_cache_head_pages(p->window, (uint32_t)request->n_prompt) : 0;
    if (request->n_choices <= sequences_max && least <= budget->head_pages) return false;
    sl_request_fail(request, 400, "out_of_memory", "",
                    "the prompt's %zu tokens need %u pages of each KV head's cache and %u "
                    "sequences; the pool has %u and %u: give --memory more, use more ranks, or "
                    "evict as the prompt is read (--policy, --keep)",
                    request->n_prompt, least, request->n_choices, budget->head_pages,
                    sequences_max);
    return true;
}

/* The rank with the least room for one more page of each of its heads. */
static uint32_t fullest_rank(const sl_page_budget *b, const sl_credit *credit)
{
    uint32_t fullest = 0;
    uint64_t least = UINT64_MAX;
    for (uint32_t r = 0; r < b->plan->n_ranks; r++) {
        const sl_plan_rank *rank = &b->plan->ranks[r];
        uint64_t head_pages = (rank->n_pages - credit->ranks[r].confirmed) / rank->n_heads;
        if (head_pages >= least) continue;
        least = head_pages;
        fullest = r;
    }
    return fullest;
}

void sl_page_budget_fail_alone(const sl_page_budget *budget, sl_request *request, uint32_t n_sent,
                               const sl_credit *credit)
{
    const sl_choice *first = &request->choices[0];
    const sl_policy_kind kind = budget->policy.kind;
    uint32_t r = fullest_rank(budget, credit);
    double kept = first->seen > 0 ? (double)first->kept / (double)first->seen : 1;
    sl_request_fail(
        request, 400, "out_of_memory", "",
        "alone, it filled the cache after %u tokens (prompt %zu, up to %u to "
        "generate): policy %s kept %.1f%%, and rank %u has %llu of %llu pages left "
        "for the next ones; give --memory more, use more ranks, or %s",
        n_sent, request->n_prompt, request->max_tokens, sl_policy_name(kind), 100 * kept, r,
        (unsigned long long)(budget->plan->ranks[r].n_pages - credit->ranks[r].confirmed),
        (unsigned long long)budget->plan->ranks[r].n_pages,
        sl_policy_has_rate(kind) ? "a smaller --keep" : "a policy that evicts");
}

/* launch/pipeline/page_budget.h - which requests are let in, by the pages they are expected to
 * need, and the error of those that cannot be served. Pages for what is sent are covered by credit
 * (sched/credit.h); when requests need more than was expected, the youngest is restarted. */
#ifndef SL_PAGE_BUDGET_H
#define SL_PAGE_BUDGET_H

#include "launch/openai/request.h"
#include "runtime/gate/policy.h"
#include "sched/credit.h"

typedef struct {
    const sl_plan *plan;
    sl_policy policy;
    uint32_t expected_tokens; /* that a request generates, unless it may only fewer */
    uint32_t head_pages;      /* what every rank has for one head, at most */
    uint64_t *expected;       /* [ranks] pages of the requests let in */
} sl_page_budget;

/* A tenth more than is expected, but no more than all. */
double sl_page_budget_with_margin(double keep);
/* Pages of one KV head that n tokens of a sequence are expected to fill, where the share `keep` of
 * the eligible ones is kept; with the margin. */
uint32_t sl_page_budget_expected(const sl_policy *policy, double keep, uint32_t n_tokens);

/* Every rank expects to have room for it beside those let in. */
bool sl_page_budget_fits(const sl_page_budget *budget, const sl_request *request);
void sl_page_budget_take(sl_page_budget *budget, const sl_request *request);
void sl_page_budget_give_back(sl_page_budget *budget, const sl_request *request);

/* Whether it can never be served: then it fails with the numbers. Only a policy that keeps
 * everything is judged here; what others will keep shows when they run. */
bool sl_page_budget_refuses(const sl_page_budget *budget, sl_request *request,
                            uint32_t sequences_max);
/* The request had all pools for itself, and they were full after n_sent tokens: it fails with the
 * numbers. */
void sl_page_budget_fail_alone(const sl_page_budget *budget, sl_request *request, uint32_t n_sent,
                               const sl_credit *credit);

#endif

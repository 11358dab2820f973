/* launch/pipeline/page_budget.h - which requests are let in, by the pages they are expected to need, and what is
 * said to those that cannot be served. Expectations admit; what is sent is covered by credit
 * (sched/credit.h), and a wrong expectation is paid for by restarting the youngest. */
#ifndef SL_PAGE_BUDGET_H
#define SL_PAGE_BUDGET_H

#include "launch/openai/request.h"
#include "runtime/gate/policy.h"

typedef struct {
    uint32_t ranks;
    sl_policy policy;
    uint32_t expected_tokens;   /* that a request generates, unless it may only fewer */
    const uint32_t *rank_heads; /* [ranks] layers * KV heads */
    const uint64_t *rank_pages; /* [ranks] pages of the pool */
    const double *rank_keep;    /* [ranks] of eligible tokens, expected to be kept there */
    uint32_t head_pages;        /* what every rank has for one head, at most */
    uint64_t *expected;         /* [ranks] pages of the requests let in */
} sl_page_budget;

/* A tenth more than is expected, but no more than all. */
double sl_page_budget_with_margin(double keep);
/* Pages of one KV head that n tokens of a sequence are expected to fill where so much of what is
 * eligible is kept, with the margin. */
uint32_t sl_page_budget_expected(const sl_policy *policy, double keep, uint32_t n_tokens);

/* Every rank expects to have room for it beside those let in. */
bool sl_page_budget_fits(const sl_page_budget *budget, const sl_request *request);
void sl_page_budget_take(sl_page_budget *budget, const sl_request *request);
void sl_page_budget_give_back(sl_page_budget *budget, const sl_request *request);

/* It can never be served: fails the request with the numbers. What a policy will keep is found out by
 * running, unless it is all. */
bool sl_page_budget_refuses(const sl_page_budget *budget, sl_request *request,
                            uint32_t sequences_max);
/* It had all pools for itself, and after n_sent tokens they were full: fails it with the numbers.
 * pages_used: [ranks]. */
void sl_page_budget_fail_alone(const sl_page_budget *budget, sl_request *request, uint32_t n_sent,
                               const uint64_t *pages_used);

#endif

/* sched/page_budget.h - which requests are let in, by the pages they are expected to need. Pages
 * for what is sent are covered by credit (credit.h); when requests need more than was expected, the
 * youngest is restarted. Pure arithmetic on a request's numbers. */
#ifndef SL_PAGE_BUDGET_H
#define SL_PAGE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/plan.h"

typedef struct {
    const sl_plan *plan;      /* heads, pages and expected retention of each rank, lent */
    uint32_t sinks, window;   /* head_pages.h */
    bool forks;               /* choices share the pages of the prompt; else each reads it */
    uint32_t expected_tokens; /* that a request generates, unless it may only fewer */
    uint32_t sequences_max;   /* slots of the pipeline */
    uint32_t head_pages;      /* what every rank has for one head, at most */
    uint64_t *expected;       /* [n_ranks] pages of the requests let in, the caller's */
} sl_page_budget;

/* A request in numbers. What is given back must be the numbers that were
 * taken. */
typedef struct {
    uint32_t n_prompt, max_tokens, n_choices;
    /* All tokens of the prompt are in pages when its last one is read. */
    bool holds_prompt;
    /* At that moment each choice gets its own copy of `survivors` of them, sinks among them, and
     * the rest is given back. */
    bool prunes_prompt;
    uint32_t survivors;
} sl_page_request;

typedef enum {
    SL_REQUEST_ADMITTED,
    SL_REQUEST_WAITS,  /* for others to finish */
    SL_REQUEST_REFUSED /* it can never be served */
} sl_request_admission;

/* What the decision depends on beside pages. */
typedef struct {
    uint32_t sequences_free; /* slots */
    uint32_t requests_active;
    bool closed; /* pages ran out: none is let in beside others */
} sl_request_admission_state;

/* Whether the oldest waiting request is let in: if there are slots for it, and every rank expects
 * to have room for it beside those let in. With no other active it needs only slots, since it may
 * have the whole pool. It is refused only for what it needs at least; what else it keeps shows when
 * it runs. */
sl_request_admission sl_page_budget_decide(const sl_page_budget *budget,
                                           const sl_page_request *request,
                                           const sl_request_admission_state *state);
/* Head pages that the request needs at least. */
uint32_t sl_page_budget_least(const sl_page_budget *budget, const sl_page_request *request);

/* It is let in. */
void sl_page_budget_take(sl_page_budget *budget, const sl_page_request *request);
/* It is finished, or waits again. */
void sl_page_budget_give_back(sl_page_budget *budget, const sl_page_request *request);

#endif

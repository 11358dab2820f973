/* sched/credit.h - pages are credit: the driver's account of every rank's page pool. Pure
 * arithmetic on pages and heads.
 *
 * For every rank: the pages its last ledger row confirmed, plus the worst case of every span in
 * flight. A span is sent only if all ranks could keep every token of it, so a stage never runs
 * dry. Costs are in head pages (head_pages.h), on all ranks at once. Frames come back in the order
 * they were sent.
 *
 *     head_pages = sum over the frame's spans of sl_credit_tokens_pages(n_tokens), and
 *                  SL_CREDIT_FORK_PAGES for each fork
 *     if (sl_credit_fits(&credit, head_pages)) sl_credit_take(&credit, head_pages), send;
 *     when it is back, for every ledger row: sl_credit_settle(&credit, rank, head_pages, used) */
#ifndef SL_CREDIT_H
#define SL_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "sched/plan.h"

enum { SL_CREDIT_FORK_PAGES = 1 }; /* full pages are shared, a partly filled one is copied */

typedef struct {
    uint64_t confirmed; /* pages, by the last ledger row that came back */
    uint64_t pending;   /* worst case of all that is in flight */
} sl_credit_rank;

typedef struct {
    const sl_plan *plan;   /* heads and pages of each rank, lent */
    sl_credit_rank *ranks; /* [plan->n_ranks], the caller's */
} sl_credit;

/* Nothing used yet. */
void sl_credit_init(sl_credit *credit, const sl_plan *plan, sl_credit_rank *ranks);

/* Most new pages a head needs for n more tokens: ceil(n / 64), whatever its last page holds.
 * With f tokens kept, ceil((f + n) / 64) - ceil(f / 64) is at most ceil(n / 64), and is just
 * that when f fills its pages; so there is no need to know f. */
uint32_t sl_credit_tokens_pages(uint32_t n_tokens);

/* Pages of a rank's pool that are neither confirmed nor pending. */
uint64_t sl_credit_pages_free(const sl_credit *credit, uint32_t rank);
/* The rank that could take the fewest head pages now; of equals the first. */
uint32_t sl_credit_fullest_rank(const sl_credit *credit);
/* The most head pages all ranks could take now; a rank without paged heads takes any number. */
uint32_t sl_credit_head_pages_free(const sl_credit *credit);
/* Every rank could take head_pages more. */
bool sl_credit_fits(const sl_credit *credit, uint32_t head_pages);
/* A frame with this worst case leaves. Asserts that it fits. */
void sl_credit_take(sl_credit *credit, uint32_t head_pages);
/* `rank` has applied the oldest frame it had not yet confirmed, taken as head_pages, and its
 * pool then held pages_used. Asserts that it was taken. */
void sl_credit_settle(sl_credit *credit, uint32_t rank, uint32_t head_pages, uint64_t pages_used);

#endif

/* sched/head_pages.h - how many cache pages the tokens of a sequence fill. Costs are in head pages,
 * pages of one KV head of one layer: a rank with H such heads pays H pages for a head page. Pure
 * arithmetic on how many tokens are expected to be kept; which ones, runtime/gate decides. */
#ifndef SL_HEAD_PAGES_H
#define SL_HEAD_PAGES_H

#include <stdint.h>

enum { SL_HEAD_PAGE_TOKENS = 64 };

/* What a head is expected to keep. The latest `window` tokens are in a ring beside the pages. */
typedef struct {
    uint32_t sinks, window; /* kept always: the first tokens, and the latest */
    double keep;            /* of all others, the eligible ones: 0 .. 1 */
} sl_head_retention;

/* A tenth more than is expected, but no more than all. */
double sl_head_retention_with_margin(double keep);

/* Head pages that so many tokens fill. */
uint32_t sl_head_pages_for(uint32_t n_tokens);
/* Head pages of a ring, which every sequence has beside: no more than its tokens fill. */
uint32_t sl_head_pages_ring(uint32_t window, uint32_t context);
/* Head pages when all of a sequence's tokens are kept: those outside the window. */
uint32_t sl_head_pages_whole(uint32_t window, uint32_t n_tokens);
/* Head pages that n tokens of a sequence are expected to fill. */
uint32_t sl_head_pages_expected(sl_head_retention retention, uint32_t n_tokens);

#endif

/* sched/head_pages.c - see head_pages.h. */
#include "sched/head_pages.h"

#include <math.h>

#include "runtime/base/numbers.h"

double sl_head_retention_with_margin(double keep) { return fmin(1.1 * keep, 1); }

uint32_t sl_head_pages_for(uint32_t n_tokens)
{
    return n_tokens / SL_HEAD_PAGE_TOKENS + (n_tokens % SL_HEAD_PAGE_TOKENS != 0);
}

uint32_t sl_head_pages_ring(uint32_t window, uint32_t context)
{
    return sl_head_pages_for(sl_min_u32(window, context));
}

uint32_t sl_head_pages_whole(uint32_t window, uint32_t n_tokens)
{
    return sl_head_pages_for(sl_saturating_sub_u32(n_tokens, window));
}

uint32_t sl_head_pages_expected(sl_head_retention retention, uint32_t n_tokens)
{
    uint32_t left = sl_saturating_sub_u32(n_tokens, retention.window);
    uint32_t sinks = sl_min_u32(retention.sinks, left);
    return (uint32_t)ceil((sinks + retention.keep * (left - sinks)) / SL_HEAD_PAGE_TOKENS);
}

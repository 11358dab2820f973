/* launch/memory_plan.c - see memory_plan.h. */
#include "launch/memory_plan.h"

#include "runtime/base/log.h"

static uint64_t above(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static double mb(uint64_t bytes) { return (double)bytes / 1e6; }

static sl_status refuse(const sl_memory_needs *n, uint64_t budget, const char *source)
{
    uint64_t least = n->pages_least * n->page;
    sl_error(
        "does not fit: %.1f MB of weights, %.1f MB of frames, scratch and rings, %.1f MB for the "
        "least of cache pages, %.1f MB of messages and stacks and %.1f MB for the job's lines "
        "and requests are %.1f MB beside the %.1f MB in use; %s leaves %.1f MB for pages and "
        "frames. More ranks, a smaller --chunk or --context, fewer --sequences take less; a "
        "job's lines do with lower max_tokens, n or logprobs",
        mb(n->weights), mb(n->fixed), mb(least), mb(n->messages + n->stacks), mb(n->job),
        mb(n->weights + n->fixed + least + n->messages + n->stacks + n->job), mb(n->in_use), source,
        mb(budget));
    return SL_ERR_MEMORY;
}

sl_status sl_memory_plan_make(const sl_memory_needs *needs, const sl_memory_limits *limits,
                              sl_memory_plan *plan_out)
{
    const sl_memory_needs *n = needs;
    const char *source = limits->source;
    uint64_t under_limit = above(limits->data, n->in_use);
    sl_memory_plan plan = {0};
    uint64_t beside = n->weights + n->messages + n->stacks + n->job;
    uint64_t budget = above(limits->allowed, beside);
    if (limits->data != UINT64_MAX && above(under_limit, beside) < budget) {
        budget = above(under_limit, beside);
        source = "the limit of the data segment (ulimit -d)";
    }
    uint64_t fitting = above(budget, n->fixed) / n->page;
    if (budget < n->fixed || fitting < n->pages_least) return refuse(n, budget, source);
    plan.n_pages = smaller(smaller(n->pages_wanted, fitting), UINT32_MAX);
    plan.total = n->in_use + beside + n->fixed + plan.n_pages * n->page;
    sl_debug("memory: %.1f MB in use, %.1f weights, %.1f cache pages, %.1f frames, scratch and "
             "rings, %.1f messages and stacks, %.1f lines and requests: %.1f MB planned",
             mb(n->in_use), mb(n->weights), mb(plan.n_pages * n->page), mb(n->fixed),
             mb(n->messages + n->stacks), mb(n->job), mb(plan.total));
    *plan_out = plan;
    return SL_OK;
}

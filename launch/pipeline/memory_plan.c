/* launch/pipeline/memory_plan.c - see memory_plan.h. */
#include "launch/pipeline/memory_plan.h"

#include <stdio.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

/* Libraries, MPI above all, took less under this limit than they will take under a higher one. */
static const uint64_t SPARE_BYTES = 64 << 20;

/* Which of the limits leaves least. */
typedef struct {
    uint64_t left;
    const char *source;
    const char *ulimit; /* the option of ulimit that sets it, or NULL */
    sl_limit limit;
} tightest;

static tightest find_tightest(const sl_memory_limits *l)
{
    tightest t = {.left = l->allowed, .source = l->source};
    if (sl_limit_left(l->data) < t.left)
        t = (tightest){sl_limit_left(l->data), "the limit of the data segment (ulimit -d)", "-d",
                       l->data};
    if (sl_limit_left(l->address) < t.left)
        t = (tightest){sl_limit_left(l->address), "the limit of address space (ulimit -v)", "-v",
                       l->address};
    return t;
}

uint64_t sl_memory_limits_left(const sl_memory_limits *limits)
{
    return find_tightest(limits).left;
}

static uint64_t beside_pages(const sl_memory_needs *n)
{
    return n->weights + n->messages + n->stacks + n->job;
}

static sl_status refuse(const sl_memory_needs *n, const tightest *t)
{
    uint64_t pages = n->pages_least * n->page, least = beside_pages(n) + n->fixed + pages;
    uint64_t in_use = t->ulimit ? t->limit.taken : n->in_use;
    char enough[64] = "";
    if (t->ulimit)
        snprintf(enough, sizeof enough, ": ulimit %s %llu is enough", t->ulimit,
                 (unsigned long long)sl_limit_enough(t->limit, least + SPARE_BYTES));
    sl_error(
        "does not fit: %.1f MB of weights, %.1f MB of frames, scratch and rings, %.1f MB for the "
        "least of cache pages, %.1f MB of messages and stacks and %.1f MB for the job's lines "
        "and requests are %.1f MB beside the %.1f MB %s; %s leaves %.1f MB for pages and "
        "frames%s. More ranks, a smaller --chunk or --context, fewer --sequences take less; a "
        "job's lines do with lower max_tokens, n or logprobs",
        sl_megabytes(n->weights), sl_megabytes(n->fixed), sl_megabytes(pages),
        sl_megabytes(n->messages + n->stacks), sl_megabytes(n->job), sl_megabytes(least),
        sl_megabytes(in_use), t->ulimit ? "taken already" : "in use", t->source,
        sl_megabytes(sl_saturating_sub_u64(t->left, beside_pages(n))), enough);
    return SL_ERR_MEMORY;
}

sl_status sl_memory_plan_make(const sl_memory_needs *needs, const sl_memory_limits *limits,
                              sl_memory_plan *plan_out)
{
    const sl_memory_needs *n = needs;
    tightest t = find_tightest(limits);
    sl_memory_plan plan = {0};
    uint64_t budget = sl_saturating_sub_u64(t.left, beside_pages(n));
    uint64_t fitting = sl_saturating_sub_u64(budget, n->fixed) / n->page;
    if (budget < n->fixed || fitting < n->pages_least) return refuse(n, &t);
    plan.n_pages = sl_min_u64(sl_min_u64(n->pages_wanted, fitting), UINT32_MAX);
    plan.total = n->in_use + beside_pages(n) + n->fixed + plan.n_pages * n->page;
    sl_debug("memory: %.1f MB in use, %.1f weights, %.1f cache pages, %.1f frames, scratch and "
             "rings, %.1f messages and stacks, %.1f lines and requests: %.1f MB planned",
             sl_megabytes(n->in_use), sl_megabytes(n->weights),
             sl_megabytes(plan.n_pages * n->page), sl_megabytes(n->fixed),
             sl_megabytes(n->messages + n->stacks), sl_megabytes(n->job), sl_megabytes(plan.total));
    *plan_out = plan;
    return SL_OK;
}

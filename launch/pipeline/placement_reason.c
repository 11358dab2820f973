/* launch/pipeline/placement_reason.c - see placement_reason.h. */
#include "launch/pipeline/placement_reason.h"

#include <stdbool.h>
#include <stdio.h>

#include "runtime/base/append.h"
#include "runtime/base/numbers.h"

static bool has_limits(const sl_plan *plan)
{
    for (uint32_t r = 0; r < plan->n_ranks; r++)
        if (plan->ranks[r].limit_bytes != UINT64_MAX) return true;
    return false;
}

void sl_placement_reason(const sl_placement_options *options, uint32_t context, const sl_plan *plan,
                         uint64_t excess, char *out, size_t out_bytes)
{
    uint32_t r = sl_placement_largest_rank(options, context, plan);
    uint32_t first = plan->ranks[r].first_layer;
    sl_placement_rank held = sl_placement_of(options, context, plan, r);
    size_t used = 0;
    sl_append(out, out_bytes, &used,
              "split by weights and expected cache (%u sequences of %u tokens): rank %u is the "
              "largest with layers %u-%u, %.1f MB of weights and %.1f MB of cache; ",
              options->sequences, context, r, first, first + plan->ranks[r].n_layers - 1,
              sl_megabytes(held.weights), sl_megabytes(held.cache));
    if (excess > 0)
        sl_append(out, out_bytes, &used,
                  "all of them fit no split: here a rank would be %.1f MB beyond its limit, "
                  "elsewhere one would be further, so fewer are computed at once",
                  sl_megabytes(excess));
    else
        sl_append(out, out_bytes, &used, "no other split%s has a smaller largest",
                  has_limits(plan) ? " within the limits" : "");
}

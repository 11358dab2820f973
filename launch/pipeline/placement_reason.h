/* launch/pipeline/placement_reason.h - explains a split of layers to people. */
#ifndef SL_PLACEMENT_REASON_H
#define SL_PLACEMENT_REASON_H

#include <stddef.h>

#include "sched/placement.h"

enum { SL_PLACEMENT_REASON_BYTES = 480 }; /* enough for every sl_placement_reason */
/* Why the split is as it is, in a sentence or two, without a newline. excess: what
 * sl_placement_split returned. */
void sl_placement_reason(const sl_placement_options *options, uint32_t context, const sl_plan *plan,
                         uint64_t excess, char *out, size_t out_bytes);

#endif
